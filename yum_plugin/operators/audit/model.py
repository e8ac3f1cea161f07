"""The values of an audit: the mirror that is examined, the limits of a check, and what a check found."""
import socket
import time
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...host.settings import Settings
from ...model import Network
from ...net.tls import TlsContexts, make_contexts
from ...trust.keys import PublicKey

OK, WARNING, PROBLEM, UNKNOWN = "ok", "warning", "problem", "unknown"  # verdicts; UNKNOWN: the check could not decide
MIRROR = "mirror"  # Check.needs: the server must be a mirror of XCP-ng

Address = Tuple[int, str]  # socket.AF_INET or AF_INET6, and the numeric address


class Finding(NamedTuple):
    """One verdict about one prerequisite."""

    check: str  # kebab-case and stable: scripts rely on it
    verdict: str  # OK, WARNING, PROBLEM or UNKNOWN
    evidence: Tuple[str, ...]  # what was seen, a line each
    remedy: str = ""  # the command or the lines of configuration that fix it; may have several lines
    values: Mapping[str, Any] = {}  # the evidence for --json; names end in their unit


class Cost(NamedTuple):
    """The most that a check may take from the mirror."""

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
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds

    @property
    def seconds_left(self) -> float:
        """The remaining time; 0 when it is over."""
        return max(0.0, self._ends_at - time.monotonic())

    @property
    def bytes_left(self) -> int:
        """How much may still be received; negative when too much was."""
        return self.cap.bytes - self.spent.bytes

    def connect(self, count: int = 1) -> None:
        """Account for connections before they are opened.

        Raises:
            OverBudget: there are too many, or the time is over.
        """
        if self.spent.connections + count > self.cap.connections:
            raise OverBudget("it may open only {} connections".format(self.cap.connections))
        if not self.seconds_left:
            raise OverBudget("it may take only {:.0f} s".format(self._seconds))
        self.spent = self.spent._replace(connections=self.spent.connections + count)

    def receive(self, count: int) -> None:
        """Account for bytes that have arrived.

        Raises:
            OverBudget: there were too many.
        """
        self.spent = self.spent._replace(bytes=self.spent.bytes + count)
        if self.bytes_left < 0:
            raise OverBudget("it may receive only {} bytes".format(self.cap.bytes))


class AuditOptions(NamedTuple):
    """What the command line asks for beyond the plain audit."""

    bandwidth: bool = False
    watch_seconds: float = 0.0  # 0: do not watch
    every_seconds: float = 300.0  # between two samples of the watch
    seed: int = 0  # of the random samples
    yes: bool = False  # run the expensive checks too


class Check(NamedTuple):
    """What the auditor must know of a check before it runs: the ``CHECK`` of the check's module.

    The module also has ``run``, a function from a Subject to a sequence of Findings. A module may return several findings, each
    with its own name, where one look at the mirror answers several questions.
    """

    name: str  # kebab-case, as in Finding.check
    cost: Cost
    seconds: float = 30.0  # for the whole check
    needs: str = ""  # MIRROR, or "": nothing
    wanted: Callable[[AuditOptions], bool] = lambda options: True  # if not, the check is left out without a word
    limits: Optional[Callable[[AuditOptions], Tuple[Cost, float]]] = None  # where cost and seconds depend on the options

    def with_limits(self, options: AuditOptions) -> "Check":
        """Return the check with the cost and the seconds that apply to these options."""
        if self.limits is None:
            return self
        cost, seconds = self.limits(options)
        return self._replace(cost=cost, seconds=seconds)


def look_up(host: str, port: int) -> List[Address]:
    """Ask the system's resolver for every address of a host, each once, in its order.

    Raises:
        OSError: the name is unknown (``socket.gaierror``).
    """
    found = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    return list(dict.fromkeys((int(family), str(place[0])) for family, _, _, _, place in found))


class Subject(NamedTuple):
    """The mirror that is examined, and everything that a check needs for it."""

    url: str  # root of the mirror: 8/ and isos/ are below; ends in "/"
    rsync_url: str  # rsync://HOST/MODULE/; "" if it has none
    network: Network  # for the mirror itself; without ssl_verify once its certificate was found bad
    others_network: Network  # for the origin and the other mirrors
    keys: Tuple[PublicKey, ...]  # the pinned ones; empty if they cannot be loaded
    keys_problem: str  # why ``keys`` is empty
    repositories: Tuple[str, ...]  # paths below the root, each ending in "/"
    settings: Settings
    options: AuditOptions
    now: int  # seconds since 1970
    budget: Budget  # of the check that is running
    also_url: str = ""  # the same root by the other scheme; "": its port is not known
    make_contexts: Callable[[Network], TlsContexts] = make_contexts  # TLS, for each of the networks
    look_up: Callable[[str, int], Sequence[Address]] = look_up
    on_bytes: Callable[[str, int, int], None] = lambda what, done, total: None  # progress in bytes; total 0: unknown
    on_step: Callable[[str], None] = lambda what: None  # progress where there is nothing to count
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def https_url(self) -> str:
        """The root by https; "" if it is not known."""
        return self.url if self.url.startswith("https:") else self.also_url

    @property
    def http_url(self) -> str:
        """The root by plain http; "" if it is not known."""
        return self.url if self.url.startswith("http:") else self.also_url


def port_unknown(check: str, subject: Subject) -> Finding:
    """Return the finding of a check that needs the other one of http and https, whose port is not known."""
    other = "http" if subject.url.startswith("https:") else "https"
    what = "the port of {} is not known: {} uses a non-standard port".format(other.upper(), subject.url)
    return Finding(check, UNKNOWN, (what,), "xcpng-mirrors audit {} --also {}://HOST:PORT/".format(subject.url, other))


def keys_missing(check: str, subject: Subject) -> Finding:
    """Return the finding of a check that cannot judge anything without a pinned key."""
    return Finding(check, UNKNOWN, ("no key: {}".format(subject.keys_problem),))
