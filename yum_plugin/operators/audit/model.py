"""The values of an audit: who is examined, what it may cost, and what was found."""
import socket
import time
from typing import Any, Callable, List, Mapping, NamedTuple, Sequence, Tuple

from ...host.settings import Settings
from ...model import Network
from ...trust.keys import PublicKey

OK, WARNING, PROBLEM, UNKNOWN = "ok", "warning", "problem", "unknown"  # verdicts; UNKNOWN: it could not be found out
# Below the root of every complete mirror: the repositories that are enabled on every host.
REPOSITORIES = ("8/8.3/base/x86_64/", "8/8.3/updates/x86_64/")
# What the documentation tells the owners of mirrors to run.
SYNC_COMMAND = "rsync -rlptv --delete-delay updates.xcp-ng.org::repo/ /local/path/to/mirror"

Address = Tuple[int, str]  # socket.AF_INET or AF_INET6, and the numeric address


class Finding(NamedTuple):
    """One verdict about one prerequisite."""

    check: str  # kebab-case and stable: scripts rely on it
    verdict: str  # OK, WARNING, PROBLEM or UNKNOWN
    evidence: Tuple[str, ...]  # what was seen, a line each
    remedy: str = ""  # the command or the lines of configuration that mend it; may have several lines
    values: Mapping[str, Any] = {}  # the same for --json; names end in their unit


class Cost(NamedTuple):
    """The most that something takes from the mirror."""

    connections: int
    bytes: int


class OverBudget(Exception):
    """A check wanted more than it may take; its finding becomes UNKNOWN."""


class Budget:
    """What one check may still take.

    Args:
        cap: the most.
        seconds: for the whole check.
    """

    def __init__(self, cap: Cost, seconds: float) -> None:
        self.cap = cap
        self.spent = Cost(0, 0)
        self._ends_at = time.monotonic() + seconds

    @property
    def seconds_left(self) -> float:
        """What is left of the time; 0 at least."""
        return max(0.0, self._ends_at - time.monotonic())

    @property
    def bytes_left(self) -> int:
        """What may still be received."""
        return self.cap.bytes - self.spent.bytes

    def connect(self, count: int = 1) -> None:
        """Account for connections before they are opened.

        Raises:
            OverBudget: there are too many, or the time is up.
        """
        if self.spent.connections + count > self.cap.connections or not self.seconds_left:
            raise OverBudget("it may open {} connections and take {:.0f} s".format(self.cap.connections, self.seconds_left))
        self.spent = self.spent._replace(connections=self.spent.connections + count)

    def receive(self, count: int) -> None:
        """Account for bytes that have arrived.

        Raises:
            OverBudget: there were too many.
        """
        self.spent = self.spent._replace(bytes=self.spent.bytes + count)
        if self.bytes_left < 0:
            raise OverBudget("it may receive {} bytes".format(self.cap.bytes))


class AuditOptions(NamedTuple):
    """What was asked for beyond the plain audit."""

    bandwidth: bool = False
    watch_seconds: float = 0.0  # 0: look once
    every_seconds: float = 300.0  # between two looks
    seed: int = 0  # of the random samples
    yes: bool = False  # the expensive checks too


def look_up(host: str, port: int) -> List[Address]:
    """Ask the system's resolver for every address of a host, each once, in its order.

    Raises:
        OSError: the name is unknown (``socket.gaierror``).
    """
    found = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    return list(dict.fromkeys((int(family), str(place[0])) for family, _, _, _, place in found))


class Subject(NamedTuple):
    """The mirror that is examined, and all that a check needs to do so."""

    url: str  # root of the mirror: 8/ and isos/ are below; ends in "/"
    rsync_url: str  # rsync://HOST/MODULE/; "" if it has none
    network: Network  # for the mirror itself; its certificate is not checked any more if it was found bad
    others_network: Network  # for the origin and the other mirrors
    keys: Tuple[PublicKey, ...]  # the pinned ones; empty if there is none to be had
    keys_problem: str  # why ``keys`` is empty
    repositories: Tuple[str, ...]  # paths below the root, each ending in "/"
    settings: Settings
    options: AuditOptions
    now: int  # seconds since 1970
    budget: Budget  # of the check that is under way
    also_url: str = ""  # the same root by the other scheme; "": it is not known where
    look_up: Callable[[str, int], Sequence[Address]] = look_up
    on_bytes: Callable[[str, int, int], None] = lambda what, done, total: None  # progress: bytes so far, and in all or 0
    on_step: Callable[[str], None] = lambda what: None  # progress where there is nothing to count

    @property
    def https_url(self) -> str:
        """The root by https; "" if it is not known."""
        return self.url if self.url.startswith("https:") else self.also_url

    @property
    def http_url(self) -> str:
        """The root by plain http; "" if it is not known."""
        return self.url if self.url.startswith("http:") else self.also_url


class Check(NamedTuple):
    """One entry of the table of checks."""

    name: str
    run: Callable[[Subject], Sequence[Finding]]
    cost: Cost
    seconds: float = 30.0  # for the whole check
    needs: str = ""  # what must have been found: "" nothing, "answer" an HTTP server, "mirror" a tree of XCP-ng
    wanted: Callable[[Subject], bool] = lambda subject: True  # otherwise it is left out without a word
