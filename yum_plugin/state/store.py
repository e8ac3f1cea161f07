"""The state folder of a host: a folder for each repository, read in one step and written in one step.

Files of ``<state_dir>/<repository id>/``:
    metalink.xml   only where "xcpng-mirrors refresh" has run: for clients without a plugin
    accepted.json  the high-water mark: the newest metadata that the package manager has accepted
    mirrors.json   the last list, the last resolution, the record of each mirror, and the last decisions
    pin.json       only while the host is pinned: to which metadata, and until when (snapshot_pin.py)
    pinned-*/      that metadata's files
    history.jsonl  what was seen of each mirror over time (history.py); no decision depends on it

Rules, in order:
    1. Every file is written whole, and under the lock of the state.
    2. The high-water mark never goes down, whatever another process wrote since it was read; only ``lower_mark`` does that.
       It belongs to a repository at one place: another release or base URL has a mark of its own.
    3. The mark is on the disk before the caller goes on. Memory and metalink need not be: the next refresh finds them again.
    4. A file that cannot be understood counts as missing and is reported: a damaged memory must not keep a host from updating.
    5. All but the metalink is readable by its owner only, which the process that talks to the mirrors is not (privsep/).
    6. A state that others than root and this user could change is neither read nor written. A private one that is removed at
       the end of the process takes its place, as on the first day; that is told once, and nothing can be pinned there.
"""
import atexit
import json
import logging
import os
import shutil
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, TypeVar

from ..errors import UsageError
from ..model import Repository, Snapshot
from ..trust.identity import SINGLE_VOICE, Known, others_of
from ..util.files import PRIVATE_MODE, PUBLIC_MODE, locked, read_capped, write_whole
from ..util.places import remedy, weak_point
from ..util.urls import is_safe_repository_id, safe_repository_id
from . import history
from .encoding import DAMAGE, SCHEMA, marks_of, marks_to, memory_of, memory_to, pin_of, pin_to
from .memory import Memory, Remembered, SnapshotPin

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_OTHER_PLACES = 15  # whose marks are kept: a host with more releases and base URLs than that forgets the oldest
MEMORY, MARK, PIN, METALINK, HISTORY = "mirrors.json", "accepted.json", "pin.json", "metalink.xml", "history.jsonl"

_Values = TypeVar("_Values")

log = logging.getLogger("xcpng-mirrors")


class _Files(NamedTuple):
    """What the files of one repository say."""

    memory: Memory
    marks: Dict[str, Snapshot]  # by place
    pin: Optional[SnapshotPin]


def _known(found: Mapping[str, _Files]) -> Known:
    """Collect the digests of what is known of each repository; what a single voice has said is not known."""
    known: Dict[Tuple[str, str], Set[str]] = {}
    for name, (memory, marks, pin) in found.items():
        snapshots = list(marks.items()) + ([(pin.place, pin.snapshot)] if pin is not None else [])
        if memory.snapshot is not None and memory.note != SINGLE_VOICE:
            snapshots.append((memory.place, memory.snapshot))
        for place, snapshot in snapshots:
            known.setdefault((name, place), set()).add(snapshot.sha256)
    return known


class State:
    """The state folder of a host.

    Args:
        folder: ``state_dir`` of the .conf, already inside the installroot if there is one.
    """

    def __init__(self, folder: str) -> None:
        self.problems: List[str] = []
        self.weakness = _weakness(folder)
        self.folder = folder
        if self.weakness is not None:
            self.problems.append(str(self.weakness))
            self.folder = _private_folder()

    def path(self, repository_id: str, name: str) -> str:
        """Return the path of a repository's file; ValueError for an id that is no safe file name."""
        return os.path.join(self.folder, safe_repository_id(repository_id), name)

    def locked(self, wait_seconds: float) -> Any:
        """Return the context manager of the one lock of this state; see ``files.locked``."""
        return locked(os.path.join(self.folder, ".lock"), wait_seconds)

    def load(self, repository_id: str, place: str = "") -> Remembered:
        """Read all that decides about a repository; what is missing, damaged or about another place has its default.

        Args:
            repository_id: which.
            place: ``Repository.place``; "": the one that was used last.
        """
        return self._at(repository_id, place, self._files_of(repository_id))

    def load_all(self, repositories: Iterable[Repository]) -> Dict[str, Remembered]:
        """Read what is remembered of several repositories, by their ids, and which snapshots are other repositories'."""
        wanted = list(repositories)
        found = {name: self._files_of(name) for name in set(self._ids()).union(repository.id for repository in wanted)}
        known = _known(found)
        return {repository.id: self._at(repository.id, repository.place, found[repository.id])._replace(
            others=others_of(known, repository.id, repository.place)) for repository in wanted}

    def known(self) -> Known:
        """Return the digests of all marks, resolutions and snapshot pins, for ``trust.identity.other_owner``."""
        return _known({name: self._files_of(name) for name in self._ids()})

    def marks(self, repository_id: str) -> Dict[str, Snapshot]:
        """Return the high-water marks of a repository by their places, that of the last place at the end."""
        return self._files_of(repository_id).marks

    def _ids(self) -> List[str]:
        try:
            return sorted(name for name in os.listdir(self.folder) if os.path.isdir(os.path.join(self.folder, name))
                          and is_safe_repository_id(name))
        except OSError:
            return []

    def _files_of(self, repository_id: str) -> "_Files":
        return _Files(self._read(repository_id, MEMORY, memory_of) or Memory(),
                      self._read(repository_id, MARK, marks_of) or {}, self._read(repository_id, PIN, pin_of))

    def _at(self, repository_id: str, place: str, files: "_Files") -> Remembered:
        """Choose what is about a place."""
        memory, marks, pin = files
        last = next(reversed(list(marks)), "")  # marks_of puts it at the end
        return Remembered(os.path.dirname(self.path(repository_id, MEMORY)),
                          memory if place in ("", memory.place) or not memory.place else Memory(),
                          marks.get(place or last, marks.get("")),
                          pin if pin is None or place in ("", pin.place) or not pin.place else None)

    def update(self, repository_id: str, memory: Optional[Memory] = None, accepted: Optional[Snapshot] = None,
               lower_mark: bool = False, place: str = "") -> None:
        """Write what has changed; the caller holds the lock.

        Args:
            repository_id: whose.
            memory: None: it stays.
            accepted: the new high-water mark; None, or one below the present mark: that stays.
            lower_mark: the mark becomes ``accepted`` even if that is older (rule 2).
            place: that the mark belongs to.

        Raises:
            UsageError: state: it could not be written.
        """
        if memory is not None:
            self._write(repository_id, MEMORY, memory_to(memory), durable=False)
        if accepted is None:
            return
        marks = self._read(repository_id, MARK, marks_of) or {}
        is_new, last = place not in marks, next(reversed(list(marks)), None)
        mark = marks.pop(place, None) or marks.pop("", None)  # that of a version without places is this place's from now on
        if mark is None or mark.sha256 != accepted.sha256 and (lower_mark or accepted.age_key >= mark.age_key):
            mark, is_new = accepted, True
        if is_new or place != last:
            kept = dict(list(marks.items())[-MAX_OTHER_PLACES:])
            self._write(repository_id, MARK, marks_to(dict(kept, **{place: mark}), place))

    def write_pin(self, repository_id: str, pin: Optional[SnapshotPin]) -> None:
        """Write the snapshot pin, or remove it if it is None; the caller holds the lock.

        Raises:
            UsageError: state: it could not be written.
        """
        if self.weakness is not None:
            raise self.weakness
        if pin is not None:
            self._write(repository_id, PIN, pin_to(pin))
            return
        path = self.path(repository_id, PIN)
        try:
            if os.path.lexists(path):
                os.unlink(path)
        except OSError as error:
            raise UsageError("state", "the pin cannot be removed: {}".format(error.strerror), where=path)

    def observe(self, repository_id: str, observations: Sequence[history.Observation]) -> None:
        """Add to the history of the mirrors; that it cannot be kept is logged, and no reason to fail."""
        path = self.path(repository_id, HISTORY)
        try:
            history.append(path, observations)
        except OSError as error:
            log.info("%s: the history cannot be written: %s", path, error.strerror)

    def observed(self, repository_id: str, now: float) -> List[history.Observation]:
        """Read the history of the mirrors up to ``now`` (seconds since 1970); the oldest observation first."""
        path = self.path(repository_id, HISTORY)
        try:
            return history.read(path, now)
        except OSError as error:
            self._report(path, error)
            return []

    def write_metalink(self, repository_id: str, data: bytes) -> str:
        """Write the metalink and return its path; after a power failure it may be empty until the next refresh.

        Raises:
            UsageError: state: it could not be written.
        """
        path = self.path(repository_id, METALINK)
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
        except DAMAGE as error:
            self._report(path, error)
            return None

    def _report(self, path: str, error: Exception) -> None:
        """Report a file that cannot be read, once: it may be read more than once."""
        problem = UsageError("state", "ignored, it cannot be understood: {}".format(error), where=path)
        if isinstance(error, PermissionError):
            problem = UsageError("state", "this user may not read it", where=path, hint="call it as root: sudo xcpng-mirrors")
        if str(problem) not in self.problems:
            self.problems.append(str(problem))


def _weakness(folder: str) -> Optional[UsageError]:
    """Return why a state is not used (rule 6); None if it is. The folders of the repositories must be safe, too."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK) else []
    inner = [path for path in (os.path.join(folder, name) for name in names) if os.path.isdir(path)]
    weak = next(filter(None, map(weak_point, [folder] + inner)), "")
    what = "what this host remembers is ignored: others than root can change it"
    return UsageError("state", what, where=weak, hint=remedy(weak)) if weak else None


def _private_folder() -> str:
    import tempfile  # late: hardly ever needed

    try:
        folder = tempfile.mkdtemp(prefix="xcpng-mirrors-")
    except OSError as error:
        raise UsageError("state", "no folder can be made for what is to be remembered: {}".format(error.strerror))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
