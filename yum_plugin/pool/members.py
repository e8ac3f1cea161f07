"""The hosts of a pool, asked through xe on the pool's master, all at the same time.

A host answers with its own precheck (cli/precheck.py), through its xapi plugin (plugins/xapi.py). The answers are shown in a
table and choose the snapshot that the pool agrees on; each host proves that itself before it updates.
"""
import json
import os
import re
import shutil
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import FetchError, MirrorsError, UsageError
from ..state.pool_token import Agreed, Token
from ..util.files import read_capped
from ..util.places import inside
from .subprocesses import CommandResult, run_all

PLUGIN = "xcpng-mirrors"
POOL_FILE = "/etc/xensource/pool.conf"  # "master", or "slave:" and the master's address
XE_PATHS = ("/opt/xensource/bin/xe",)
LIST_SECONDS = 30.0
ANSWER_SECONDS = 300.0  # a little longer than plugins/xapi.py waits itself
MAX_HOSTS = 64  # the limit of a pool
MAX_POOL_FILE_BYTES = 4096  # "master", or "slave:" and an address
MAX_REPOSITORIES = 64
MAX_REASONS = 32
# "uuid ( RO)    : 1234..." (xe's manual, "param-list"); a name may hold anything but a line break.
_FIELD = re.compile(r"^\s*(uuid|name-label) \( ?[A-Z]{1,3}\)\s*: (.*)$")
_UUID = re.compile(r"[0-9A-Za-z-]{1,64}\Z")
_MISSING = ("XENAPI_MISSING_PLUGIN", "plugin could not be found")
_OLD = ("UNKNOWN_XENAPI_PLUGIN_FUNCTION",)
ASK_THERE = "on that host: xcpng-mirrors precheck"


class Member(NamedTuple):
    """A host of the pool."""

    uuid: str
    name: str  # given by an admin; may hold any characters


class SeenSnapshot(NamedTuple):
    """A signed repomd.xml as a host describes it."""

    revision: int
    sha256: str
    age_seconds: int
    updated_at: str  # ISO 8601

    @property
    def age_key(self) -> Tuple[str, int]:
        """Sorts newer ones after older ones."""
        return (self.updated_at, self.revision)


class Offered(NamedTuple):
    """A repository as one host has it."""

    id: str
    current: SeenSnapshot  # the one that an update would use
    newest: SeenSnapshot  # on the mirrors; the same unless the host is pinned
    pinned_until: str = ""  # ISO 8601; "": it is not pinned


class MemberReport(NamedTuple):
    """The answer of one host, or why there is none."""

    member: Member
    can_update: Optional[bool] = None  # None: there is no usable answer, and reasons say why
    reasons: Tuple[MirrorsError, ...] = ()
    repositories: Tuple[Offered, ...] = ()
    warnings: Tuple[str, ...] = ()


def require_master(root: str) -> None:
    """Make sure that this host is its pool's master.

    Raises:
        UsageError: usage: it is another host of the pool.
    """
    try:
        text = read_capped(inside(root, POOL_FILE), MAX_POOL_FILE_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return  # no host of a pool, or its file cannot be read: xe will fail
    if text != "master":
        address = text.partition(":")[2]
        raise UsageError("usage", "this host is not its pool's master", where=inside(root, POOL_FILE),
                         hint="run it on the master{}".format(": " + address if address else ""))


def find_xe() -> str:
    """Return the path of the xe program.

    Raises:
        UsageError: usage: there is none.
    """
    found = [path for path in (shutil.which("xe"),) + XE_PATHS if path and os.access(path, os.X_OK)]
    if not found:
        raise UsageError("usage", "there is no xe here", hint="run it on the master of the pool")
    return found[0]


class Pool:
    """The hosts of the pool, asked through xe.

    Args:
        xe: path of the program.
        answer_seconds: time-out of the answers.
    """

    def __init__(self, xe: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._xe = xe
        self._seconds = answer_seconds

    def members(self) -> List[Member]:
        """List the hosts, by name.

        Raises:
            FetchError: xe lists no host.
        """
        result = run_all([[self._xe, "host-list", "params=uuid,name-label"]], LIST_SECONDS)[0]
        found = read_members(result.output) if result.code == 0 else []
        if not found:
            raise FetchError("bad-answer", "xe lists no host: {}".format(result.error), hint="see 'xe host-list'")
        return sorted(found, key=lambda member: (member.name, member.uuid))

    def precheck(self, members: Sequence[Member], words: Mapping[str, str],
                 on_answer: Callable[[int], None] = lambda count: None) -> List[MemberReport]:
        """Let every host check whether it can update, all at the same time.

        Args:
            members: the hosts.
            words: keys and values for the plugin.
            on_answer: called with the number of hosts that have answered.

        Returns:
            A report for each, in the same order.
        """
        given = ["args:{}={}".format(*item) for item in sorted(words.items())]
        calls = [[self._xe, "host-call-plugin", "host-uuid=" + member.uuid, "plugin=" + PLUGIN, "fn=precheck"] + given
                 for member in members]
        return [report_of(member, result) for member, result in zip(members, run_all(calls, self._seconds, on_answer))]


def report_of(member: Member, result: CommandResult) -> MemberReport:
    """Turn xe's output for a host into a report, with a hint if there is no answer."""
    try:
        if result.code == 0:
            return read_report(member, result.output)
        error = _worded(result.error or "exit code {}".format(result.code), result.code is None)
    except ValueError as problem:
        error = FetchError("bad-answer", "its answer is no precheck: {}".format(problem), hint=ASK_THERE)
    return MemberReport(member, reasons=(error,))


def _worded(text: str, was_ended: bool) -> MirrorsError:
    if was_ended:
        return FetchError("timed-out", text, hint=ASK_THERE)
    if any(word in text for word in _MISSING):
        return UsageError("no-plugin", "xcpng-mirrors is not installed on it")
    if any(word in text for word in _OLD):
        return UsageError("no-plugin", "its xcpng-mirrors is too old", hint="on that host: yum update xcpng-mirrors")
    if "XENAPI_PLUGIN_FAILURE" in text:
        return UsageError("state", text.rpartition("Error parameters: ")[2], hint=ASK_THERE)
    return FetchError("unreachable", "xe: {}".format(text), hint="see 'xe host-list params=name-label,enabled,host-metrics-live'")


def read_members(text: str) -> List[Member]:
    """Parse the output of ``xe host-list params=uuid,name-label``; any other block is left out."""
    found: List[Member] = []
    values: Dict[str, str] = {}
    for line in text.splitlines():
        match = _FIELD.match(line)
        if match is None:
            continue
        values[match.group(1)] = match.group(2)
        if len(values) == 2:
            if _UUID.match(values["uuid"]) and len(found) < MAX_HOSTS:
                found.append(Member(values["uuid"], values["name-label"].strip() or values["uuid"]))
            values = {}
    return found


def read_report(member: Member, text: str) -> MemberReport:
    """Parse a host's precheck, the JSON of cli/precheck.py.

    Args:
        member: the host.
        text: untrusted, of bounded length.

    Returns:
        The report.

    Raises:
        ValueError: it is no precheck; the message repeats nothing of the text.
    """
    try:
        values = json.loads(text)
        if values["schema"] != 1 or values["command"] != "precheck" or not isinstance(values["can_update"], bool):
            raise ValueError("another schema or command")
        reasons = tuple(_read_reason(reason) for reason in values["reasons"][:MAX_REASONS])
        found = [_read_repository(item) for item in values["repositories"][:MAX_REPOSITORIES]]
        warnings = tuple(str(warning) for warning in values["warnings"][:MAX_REASONS])
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError("it lacks something, or is nested too deeply ({})".format(type(error).__name__)) from None
    except json.JSONDecodeError:
        raise ValueError("no JSON") from None
    return MemberReport(member, values["can_update"], reasons, tuple(filter(None, found)), warnings)


def _read_reason(values: Dict[str, Any]) -> MirrorsError:
    """Make an error from a host's description of one."""
    reference, code = str(values["reference"]), values["exit_code"]
    family = next((each for each in (UsageError, FetchError) if each.exit_code == code), MirrorsError)
    error = family("internal" if family is MirrorsError else next(iter(family.REFERENCES)), str(values["what"]),
                   str(values["where"]), str(values["hint"]))
    error.reference = reference
    return error


def _read_repository(values: Dict[str, Any]) -> Optional[Offered]:
    """Read one repository; None if an update would use none of its snapshots."""
    if values["current"] is None:
        return None
    current, pin = _read_seen(values["current"]), values["pin"]
    newest_seen = _read_seen(values["newest"]) if values["newest"] is not None else current
    return Offered(str(values["id"]), current, newest_seen, str(pin["expires_at"]) if pin else "")


def _read_seen(values: Dict[str, Any]) -> SeenSnapshot:
    revision, age = values["revision"], values["age_seconds"]
    if not (isinstance(revision, int) and isinstance(age, int) and 0 <= revision < 10**18):
        raise TypeError("no number")
    return SeenSnapshot(revision, str(values["sha256"]), age, str(values["updated_at"]))


def newest(reports: Sequence[MemberReport]) -> Dict[str, SeenSnapshot]:
    """Return the newest snapshot that any host sees of each repository, by id."""
    found: Dict[str, SeenSnapshot] = {}
    for offered in (each for report in reports for each in report.repositories):
        if offered.id not in found or found[offered.id].age_key < offered.newest.age_key:
            found[offered.id] = offered.newest
    return found


def token_for(reports: Sequence[MemberReport], expires: int) -> Token:
    """Make the token of an agreement on the newest snapshots that any host sees.

    Args:
        reports: of all hosts.
        expires: seconds since 1970.
    """
    return Token(expires, tuple(Agreed(name, seen.revision, seen.sha256) for name, seen in sorted(newest(reports).items())))


def has_agreed(report: MemberReport, token: Token) -> bool:
    """Whether a host is pinned to the snapshots of a token, in each repository that it has."""
    agreed = {each.repository_id: each.sha256 for each in token.repositories}
    return bool(report.repositories) and all(
        offered.pinned_until and offered.current.sha256 == agreed.get(offered.id) for offered in report.repositories)


def would_differ(reports: Sequence[MemberReport]) -> List[str]:
    """Return the ids of the repositories that the hosts would not update to the same revision of."""
    taken: Dict[str, Set[str]] = {}
    for offered in (each for report in reports for each in report.repositories):
        taken.setdefault(offered.id, set()).add(offered.current.sha256)
    return sorted(name for name, digests in taken.items() if len(digests) > 1)
