"""What this host remembers, a folder a repository: the metalink, the high-water mark, the mirrors and how they did.

Files of ``<state_dir>/<repository id>/``:
    metalink.xml   what dnf reads, at a constant path: dnf names its cache folder after it
    accepted.json  the high-water mark: the newest metadata that the package manager has accepted
    mirrors.json   the last list, the last resolution, what became of each mirror, and the last decisions
    pin.json       only while the host is pinned: to which metadata, and until when (pool/freeze.py)
    pinned-*/      that metadata's files
    history.jsonl  what was seen of each mirror over time, see state/history.py; nothing is decided by it

Everything is written whole. A file that cannot be understood counts as missing and is told:
a damaged memory must not keep a host from its updates. All but the metalink is for the eyes of its owner only, which
the process that talks to the mirrors is not (privsep/).
"""
import json
import logging
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

from ..errors import UsageError
from ..model import Mirror, MirrorList, Probe, Snapshot
from ..util.files import PRIVATE_MODE, PUBLIC_MODE, locked, read_capped, write_whole
from ..util.urls import authority_of, clean_base_url, safe_repository_id
from . import history

SCHEMA = 1
MAX_FILE_BYTES = 4 * 1024 * 1024
REST_SECONDS = 3600  # a failed mirror rests an hour, doubling with each failure in a row ...
MAX_REST_SECONDS = 24 * 3600  # ... up to a day
MAX_DECISIONS = 20  # with these three mirrors.json grows by 60 KB at most, usually by 10
MAX_REJECTED = 12
MAX_CLOCK_STEP_SECONDS = 24 * 3600
MAX_REASON_CHARACTERS = 200
MAX_SIGNATURE_BYTES = 8 * 1024  # kept; XCP-ng's have 800
# What a damaged file may do to the code that reads it.
_DAMAGE = (OSError, ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError)

_Values = TypeVar("_Values")

log = logging.getLogger("xcpng-mirrors")


class Record(NamedTuple):
    """What is remembered of one mirror of one repository."""

    outcome: str  # "ok", "stale" or a reference of errors.py
    detail: str
    at: int  # seconds since 1970
    failures: int  # in a row
    rests_until: int  # seconds since 1970; 0: not resting
    seconds: float
    certificate_expires: Optional[int]


_NO_RECORD = Record("", "", 0, 0, 0, 0.0, 0)


class Decision(NamedTuple):
    """What was decided once, and why."""

    at: int  # seconds since 1970
    about: str  # "metadata" (job 1), "packages" (job 2, only where a mirror failed) or "pin"
    asked: int = 0  # mirrors
    revision: int = 0  # of the metadata chosen
    used: Tuple[str, ...] = ()  # authorities (host:port), best first
    rejected: Tuple[Tuple[str, str, str], ...] = ()  # authority, reference or "not-asked", reason in words
    more: int = 0  # rejected too, but not kept
    note: str = ""  # "propagating", "freeze", "accept-rollback", "pinned"; of a pin: until when, "" if it was lifted
    error: str = ""  # reference and words, if nothing could be used


class Memory(NamedTuple):
    """The content of mirrors.json."""

    mirrors: Tuple[Mirror, ...] = ()
    sha256: str = ""  # the redirector's advice when the list was fetched
    records: Dict[str, Record] = {}  # by Mirror.url
    snapshot: Optional[Snapshot] = None  # of the last resolution, without raw
    usable: Tuple[str, ...] = ()  # Mirror.url of the last resolution, best first
    resolved_at: float = 0.0  # seconds since 1970
    note: str = ""
    decisions: Tuple[Decision, ...] = ()  # the newest last
    heard_at: float = 0.0  # seconds since 1970; when a mirror has last served the snapshot
    luck: float = 0.0  # 0 to 1, drawn then; see resolve/refresh_policy.py
    pins: Tuple[str, ...] = ()  # under which the snapshot was proven
    signature: str = ""  # repomd.xml.asc of the snapshot, a character a byte; "" if there is none or it is long


class SnapshotPin(NamedTuple):
    """Metadata that this host takes until a time, whatever is newer: the content of pin.json."""

    snapshot: Snapshot  # without raw
    expires: int  # seconds since 1970
    taken_at: int

    def holds(self, now: float) -> bool:
        """Whether it counts; a clock that was set back makes no pin longer."""
        return self.taken_at - MAX_CLOCK_STEP_SECONDS <= now < self.expires


class State:
    """The state folder of a host.

    Args:
        folder: ``state_dir`` of the .conf, already inside the installroot if there is one.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.problems: List[str] = []

    def path(self, repository_id: str, name: str) -> str:
        """Return the path of a repository's file; ValueError for an id that is no safe file name."""
        return os.path.join(self.folder, safe_repository_id(repository_id), name)

    def locked(self, wait_seconds: float) -> Any:
        """Return the context manager of the one lock of this state; see ``files.locked``."""
        return locked(os.path.join(self.folder, ".lock"), wait_seconds)

    def accepted(self, repository_id: str) -> Optional[Snapshot]:
        """Read the high-water mark; None if there is none."""
        return self._read(repository_id, "accepted.json", _snapshot_of)

    def accept(self, repository_id: str, snapshot: Snapshot, allow_rollback: bool = False) -> None:
        """Raise the high-water mark; a lower one is not written unless ``allow_rollback``.

        Raises:
            UsageError: state: it could not be written.
        """
        mark = self.accepted(repository_id)
        if mark is not None and not allow_rollback and snapshot.age_key < mark.age_key:
            return
        if mark is not None and snapshot.sha256 == mark.sha256:
            return
        self._write(repository_id, "accepted.json", _snapshot_to(snapshot))

    def pin(self, repository_id: str) -> Optional[SnapshotPin]:
        """Read the pin, whether it still holds or not; None if there is none."""
        return self._read(repository_id, "pin.json", _pin_of)

    def write_pin(self, repository_id: str, pin: Optional[SnapshotPin]) -> None:
        """Write the pin, or remove it.

        Raises:
            UsageError: state: it could not be written.
        """
        if pin is not None:
            values = {"snapshot": _snapshot_to(pin.snapshot), "expires": pin.expires, "taken_at": pin.taken_at}
            self._write(repository_id, "pin.json", values)
            return
        path = self.path(repository_id, "pin.json")
        try:
            if os.path.lexists(path):
                os.unlink(path)
        except OSError as error:
            raise UsageError("state", "the pin cannot be removed: {}".format(error.strerror), where=path)

    def memory(self, repository_id: str) -> Memory:
        """Read what is known of the mirrors; empty if nothing is."""
        return self._read(repository_id, "mirrors.json", _memory_of) or Memory()

    def remember(self, repository_id: str, memory: Memory) -> None:
        """Write what is known of the mirrors, which is found again by asking: nobody waits for the disk.

        Raises:
            UsageError: state: it could not be written.
        """
        self._write(repository_id, "mirrors.json", _memory_to(memory), durable=False)

    def observe(self, repository_id: str, observations: Sequence[history.Observation]) -> None:
        """Add to what was seen of the mirrors over time; that it cannot be kept is logged, and no reason to fail."""
        path = self.path(repository_id, "history.jsonl")
        try:
            history.append(path, observations)
        except OSError as error:
            log.info("%s: the history cannot be written: %s", path, error.strerror)

    def observed(self, repository_id: str, now: float) -> List[history.Observation]:
        """Read what was seen of the mirrors over time, up to ``now`` (seconds since 1970); the oldest first."""
        path = self.path(repository_id, "history.jsonl")
        try:
            return history.read(path, now)
        except OSError as error:
            self._tell(path, error)
            return []

    def write_metalink(self, repository_id: str, data: bytes) -> str:
        """Write the metalink and return its path; an empty one after a power failure is not warm, and is made anew.

        Raises:
            UsageError: state: it could not be written.
        """
        path = self.path(repository_id, "metalink.xml")
        self._write_bytes(path, data, durable=False, mode=PUBLIC_MODE)
        return path

    def _write(self, repository_id: str, name: str, values: Dict[str, Any], durable: bool = True) -> None:
        values["schema"] = SCHEMA
        data = json.dumps(values, indent=1, sort_keys=True).encode()
        self._write_bytes(self.path(repository_id, name), data, durable, PRIVATE_MODE)

    def _write_bytes(self, path: str, data: bytes, durable: bool, mode: int) -> None:
        try:
            write_whole(path, data, mode, durable)
        except OSError as error:
            raise UsageError("state", "the state cannot be written: {}".format(error.strerror), where=path)

    def _read(self, repository_id: str, name: str, decode: Callable[[Any], _Values]) -> Optional[_Values]:
        path = self.path(repository_id, name)
        try:
            return decode(json.loads(read_capped(path, MAX_FILE_BYTES).decode("utf-8")))
        except FileNotFoundError:
            return None
        except _DAMAGE as error:
            self._tell(path, error)
            return None

    def _tell(self, path: str, error: Exception) -> None:
        """Tell of a file that cannot be read; it may be read more than once."""
        problem = UsageError("state", "ignored, it cannot be understood: {}".format(error), where=path)
        if isinstance(error, PermissionError):
            problem = UsageError("state", "this user may not read it", where=path, hint="call it as root: sudo xcpng-mirrors")
        if str(problem) not in self.problems:
            self.problems.append(str(problem))


def judge_record(previous: Optional[Record], probe: Probe, now: int) -> Record:
    """Turn a probe into what is remembered of the mirror, and decide how long it rests.

    Args:
        previous: what was remembered before.
        probe: what asking it gave; outcome "stale" counts as healthy, for it may catch up any minute.
        now: seconds since 1970.

    Returns:
        The new record.
    """
    failed = probe.outcome not in ("ok", "stale")
    failures = (previous.failures if previous else 0) + 1 if failed else 0
    rest = min(MAX_REST_SECONDS, REST_SECONDS * 2 ** min(failures - 1, 10)) if failed else 0
    return Record(probe.outcome, probe.detail, now, failures, now + rest if failed else 0,
                  probe.seconds, probe.certificate_expires)


def with_decision(memory: Memory, decision: Decision) -> Memory:
    """Return a memory that also holds a decision, cut to what is worth keeping; the oldest one goes."""
    rejected = tuple((authority, reference, reason[:MAX_REASON_CHARACTERS]) for authority, reference, reason in decision.rejected)
    kept = decision._replace(
        used=decision.used[:MAX_REJECTED], rejected=rejected[:MAX_REJECTED], error=decision.error[:2 * MAX_REASON_CHARACTERS],
        more=decision.more + max(0, len(rejected) - MAX_REJECTED))
    return memory._replace(decisions=(memory.decisions + (kept,))[-MAX_DECISIONS:])


def resting(memory: Memory, now: int) -> Sequence[str]:
    """Return the authorities (host:port) of the mirrors that rest at ``now``."""
    return [authority_of(url) for url, record in memory.records.items()
            if now < record.rests_until <= now + MAX_REST_SECONDS]


def known_list(memory: Memory) -> MirrorList:
    """Return the last known mirror list as a source of its own."""
    mirrors = (mirror if mirror.source == "origin" else mirror._replace(source="known") for mirror in memory.mirrors)
    return MirrorList(tuple(mirrors), memory.sha256)


def _snapshot_to(snapshot: Snapshot) -> Dict[str, Any]:
    values = dict(snapshot._asdict())
    del values["raw"], values["signature"]
    return values


def _snapshot_of(values: Dict[str, Any]) -> Snapshot:
    sha256 = values["sha256"]
    if not (isinstance(sha256, str) and len(sha256) == 64):
        raise ValueError("no digest")
    return Snapshot(sha256, int(values["size"]), int(values["revision"]), int(values["timestamp"]), int(values["signed_at"]))


def _pin_of(values: Dict[str, Any]) -> SnapshotPin:
    pin = SnapshotPin(_snapshot_of(values["snapshot"]), int(values["expires"]), int(values["taken_at"]))
    int(pin.snapshot.sha256, 16)  # it becomes a part of a folder's name
    return pin


def _memory_to(memory: Memory) -> Dict[str, Any]:
    return {
        "mirrors": [dict(mirror._asdict()) for mirror in memory.mirrors],
        "sha256": memory.sha256,
        "records": {url: dict(record._asdict()) for url, record in memory.records.items()},
        "snapshot": _snapshot_to(memory.snapshot) if memory.snapshot else None,
        "usable": list(memory.usable),
        "resolved_at": memory.resolved_at,
        "note": memory.note,
        "decisions": [dict(decision._asdict()) for decision in memory.decisions],
        "heard_at": memory.heard_at,
        "luck": memory.luck,
        "pins": list(memory.pins),
        "signature": memory.signature,
    }


def _typed(sample: Any, values: Dict[str, Any]) -> Any:
    """Fill in a NamedTuple; raise TypeError for a value of another type than the sample's."""
    made = sample._replace(**values)
    for name, expected, value in zip(made._fields, sample, made):
        if type(value) is not type(expected) and not (value is None and name == "certificate_expires"):
            raise TypeError("{} is no {}".format(name, type(expected).__name__))
    return made


def _memory_of(values: Dict[str, Any]) -> Memory:
    if values["schema"] != SCHEMA:  # the high-water mark is read whatever wrote it, if it has the fields; this is only a memory
        raise ValueError("written by another version (schema {})".format(values["schema"]))
    mirrors = tuple(_typed(Mirror(""), mirror) for mirror in values["mirrors"])
    for mirror in mirrors:
        clean_base_url(mirror.url)
    return Memory(
        mirrors, str(values["sha256"]),
        {str(url): _typed(_NO_RECORD, record) for url, record in values["records"].items()},
        _snapshot_of(values["snapshot"]) if values["snapshot"] else None,
        tuple(str(url) for url in values["usable"]), float(values["resolved_at"]), str(values["note"]),
        # What follows is missing in a file of an earlier version.
        tuple(_decision_of(decision) for decision in values.get("decisions", ())), float(values.get("heard_at", 0)),
        float(values.get("luck", 0)), tuple(str(pin) for pin in values.get("pins", ())), str(values.get("signature", "")))


def _decision_of(values: Dict[str, Any]) -> Decision:
    rejected = tuple((str(authority), str(reference), str(reason)) for authority, reference, reason in values["rejected"])
    used = tuple(str(authority) for authority in values["used"])
    decision: Decision = _typed(Decision(0, ""), dict(values, used=used, rejected=rejected))
    return decision
