"""The decisions of a sync, made before anything is changed: what is taken, what belongs together, and what is deleted.

What is never taken from a source:
    1. names with control and invisible characters, with dot segments, absolute ones, too long ones, and those that are no UTF-8,
    2. devices, FIFOs and sockets,
    3. links that lead out of the tree, and entries that are listed below a link or a file,
    4. our own work folder, and what rsync has under way (``.~tmp~``, ``.NAME.XXXXXX``).
By which names, and unsigned, nothing is taken: ``admission.py``.
What is deleted, only after everything else has succeeded:
    1. files that an earlier run has seen in the source, that the source no longer has, and that nothing signed names; a file that
       never came from the source only with ``delete_foreign``,
    2. nothing at all after an incomplete listing, or if anything of this run was refused or missing,
    3. nothing below a folder that was switched in this run: clients that have just read the old metadata still find its files,
    4. of a unit only what its signed list at the source names no longer; without that list all of it stays, and so does what was
       proven once and belongs to no unit now. A whole unit goes if it is named by ``units``, and no other way,
    5. at most ``max_delete`` files of any kind, but for those of 4 that were named; and of the files that nobody vouches for at
       most half, if they are more than FEW_FILES, unless ``max_delete`` was given.

Pure.
"""
import fnmatch
import posixpath
import re
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..rsync import FILE, FOLDER, LINK, RsyncEntry

WORK = ".xcpng-mirrors-sync"  # in DEST, while a sync is running
RSYNC_WORK = ".~tmp~"  # rsync(1), --delay-updates
_RSYNC_PART = re.compile(r"\..+\.[A-Za-z0-9]{6}\Z")  # rsync's name of a file under way (receiver.c:get_tmpname)
MAX_NAME_BYTES = 255  # NAME_MAX of Linux
MAX_PATH_BYTES = 3072  # PATH_MAX is 4096: this leaves room for the path of DEST
MAX_DELETE = 1000  # files, without --max-delete
FEW_FILES = 10  # as many that nobody vouches for may go at once
REPODATA = "repodata"
REPOMD_NAME = "repomd.xml"
SUMS_NAME = "SHA256SUMS"
SIGNATURE_SUFFIX = ".asc"


class Demand(NamedTuple):
    """Size and digest of a file, as something signed states them."""

    size: Optional[int]  # bytes; None if not stated
    kind: str  # of the digest, as hashlib names it
    digest: str  # lower-case hex digits


class ListedFile(NamedTuple):
    """A file of the source."""

    size: int  # bytes
    mtime: int  # seconds since 1970


class Want(NamedTuple):
    """A file to fetch."""

    listed: Optional[ListedFile]  # None where the source cannot be listed
    demand: Optional[Demand]  # None where nothing signed names it


class Unit(NamedTuple):
    """Files that one signature covers, and that must be published together."""

    folder: str  # below the root; "" is the root itself
    is_repository: bool  # else a folder with SHA256SUMS

    @property
    def head(self) -> str:
        """The signed file."""
        return joined(self.folder, REPODATA + "/" + REPOMD_NAME if self.is_repository else SUMS_NAME)

    @property
    def heads(self) -> Tuple[str, str]:
        """The signed file and its signature."""
        return (self.head, self.head + SIGNATURE_SUFFIX)

    @property
    def switched_folder(self) -> str:
        """The folder that is exchanged as a whole."""
        return joined(self.folder, REPODATA) if self.is_repository else self.folder

    def covers(self, path: str) -> bool:
        """Whether a file belongs to this unit."""
        return is_inside(path, self.folder) if self.is_repository else posixpath.dirname(path) == self.folder


class Catalogue(NamedTuple):
    """What a source has."""

    files: Dict[str, ListedFile]
    links: Dict[str, str]  # path -> target
    left_out: Tuple[Tuple[str, str], ...] = ()  # path, reason
    complete: bool = True  # everything could be listed


class Deletions(NamedTuple):
    """What is to be deleted, and what stays."""

    paths: Tuple[str, ...] = ()
    later: int = 0  # files that the next run deletes
    postponed: int = 0  # files that are not deleted because something of this run failed
    foreign: int = 0  # files that never came from the source
    refusal: str = ""  # why nothing is deleted
    kept: int = 0  # files that were proven once, and whose signed list is gone here and there


def joined(folder: str, name: str) -> str:
    """Return the path of a file of a folder; "" is the root."""
    return "{}/{}".format(folder, name) if folder else name


def is_inside(path: str, folder: str) -> bool:
    """Whether a path lies below a folder; everything lies below ""."""
    return not folder or path.startswith(folder + "/")


def matches(path: str, pattern: str) -> bool:
    """Whether a pattern matches a path or a folder above it.

    Args:
        path: below the root.
        pattern: as a shell's, but "*" matches "/" too; with a "/" in it for the path from the root, otherwise for a single name.
    """
    names, wanted = path.split("/"), pattern.strip("/")
    if "/" not in pattern.rstrip("/"):
        return any(fnmatch.fnmatchcase(name, wanted) for name in names)
    return any(fnmatch.fnmatchcase("/".join(names[:count]), wanted) for count in range(1, len(names) + 1))


def is_excluded(path: str, patterns: Sequence[str]) -> bool:
    """Whether any pattern matches the path."""
    return any(matches(path, pattern) for pattern in patterns)


def filter_listing(entries: Iterable[RsyncEntry], excludes: Sequence[str] = ()) -> Catalogue:
    """Decide which entries of a listing are taken.

    Args:
        entries: of the source.
        excludes: patterns of what is ignored without a report.

    Returns:
        Files and links, each with a safe name; and what is left out, with the reason.
    """
    kinds: Dict[str, str] = {}
    found = Catalogue({}, {})
    left_out: List[Tuple[str, str]] = []
    for entry in entries:
        names = entry.path.split("/")
        if names[0] == WORK or RSYNC_WORK in names or _RSYNC_PART.match(names[-1]) or (
                excludes and is_excluded(entry.path, excludes)):
            continue
        reason = _reason_against(entry, kinds)
        if reason:
            left_out.append((entry.path, reason))
            continue
        kinds[entry.path] = entry.kind
        if entry.kind == FILE:
            found.files[entry.path] = ListedFile(entry.size, entry.mtime)
        elif entry.kind == LINK:
            found.links[entry.path] = entry.target
    return found._replace(left_out=tuple(left_out))


def _reason_against(entry: RsyncEntry, kinds: Dict[str, str]) -> str:
    """Say why an entry is left out; "" if it is not."""
    if entry.unsafe:
        return entry.unsafe
    if not entry.is_utf8:
        return "a name that is not UTF-8"
    reason = reason_against_path(entry.path)
    if reason:
        return reason
    if entry.kind not in (FILE, FOLDER, LINK):
        return "a {}".format(entry.kind)
    if entry.path in kinds:
        return "listed twice"
    folder = posixpath.dirname(entry.path)
    if folder and kinds.get(folder) != FOLDER:
        return "its parent is not a folder"
    if entry.kind == LINK and not link_stays_inside(entry.path, entry.target):
        return "a link that leads out of the tree"
    return ""


def reason_against_path(path: str) -> str:
    """Say why no file can have this path, whoever names it; "" if it can."""
    if not path.isprintable():  # what is not seen, or turns the direction of writing; also bytes that are no UTF-8
        return "a control character in a name"
    # A character has at most four bytes of UTF-8, so most names need no closer look.
    if len(path) > MAX_NAME_BYTES // 4 and _is_too_long(path.encode("utf-8")):
        return "a name that is too long"
    return "a name of the work folder" if WORK in path.split("/") else ""


def _is_too_long(raw: bytes) -> bool:
    return len(raw) > MAX_PATH_BYTES or any(len(name) > MAX_NAME_BYTES for name in raw.split(b"/"))


def link_stays_inside(path: str, target: str) -> bool:
    """Whether a link stays in the tree, whatever other links of the tree its target passes.

    Only the beginning of the target may be "..", at most as often as the link is deep: after the name of another link, ".." may
    lead anywhere.
    """
    names = target.split("/")
    ups = 0
    while ups < len(names) and names[ups] == "..":
        ups += 1
    rest = names[ups:]
    if not target or any(name in ("", ".", "..") for name in rest) or any(ord(letter) < 32 for letter in target):
        return False
    folder = path.split("/")[:-1]
    return ups <= len(folder) and (folder[:len(folder) - ups] + rest)[:1] != [WORK]


def find_units(paths: Iterable[str]) -> List[Unit]:
    """Find the repositories and the folders with signed checksums among the paths of files."""
    units = []
    for path in sorted(paths):
        folder, name = posixpath.split(path)
        if name == REPOMD_NAME and posixpath.basename(folder) == REPODATA:
            units.append(Unit(posixpath.dirname(folder), True))
        elif name == SUMS_NAME:
            units.append(Unit(folder, False))
    return units


class UnitIndex:
    """Finds the unit that a file belongs to.

    Args:
        units: all of them.
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        self._repositories: Dict[str, Unit] = {}
        self._lists: Dict[str, Unit] = {}
        for unit in units:
            (self._repositories if unit.is_repository else self._lists)[unit.folder] = unit

    def unit_of(self, path: str) -> Optional[Unit]:
        """Return the innermost unit that covers a path; None if none does."""
        folder = posixpath.dirname(path)
        if folder in self._lists:
            return self._lists[folder]
        while folder and folder not in self._repositories:
            folder = posixpath.dirname(folder)
        return self._repositories.get(folder)


class DestinationFiles(NamedTuple):
    """What DEST has."""

    paths: Sequence[str]  # files and links
    ours: Set[str]  # those that an earlier run has seen in the source
    proven: Set[str]  # those that are proven, or were once


class RunOutcome(NamedTuple):
    """The outcome of the run so far."""

    expected: Set[str]  # paths that the source has, or that something signed names
    complete: bool  # the whole source was listed, and nothing was refused or missing
    unit_of: Callable[[str], Optional[Unit]]  # of source and DEST
    vouched: Set[Unit]  # whose signed list at the source is proven
    unsigned: Set[Unit]  # of the source, accepted without a signature
    switched: Sequence[Unit] = ()  # in this run


class DeletionLimits(NamedTuple):
    """Limits of what is deleted."""

    max_delete: Optional[int] = None  # None: MAX_DELETE, and at most half of what nobody vouches for
    delete_foreign: bool = False  # also files that were never the source's
    units: Tuple[str, ...] = ()  # folders of units that may go as a whole


_SIGNED, _UNSIGNED, _NAMED, _KEPT = "signed", "unsigned", "named", "kept"  # why a file may be deleted, or not


def deletions(before: DestinationFiles, outcome: RunOutcome, limits: DeletionLimits) -> Deletions:
    """Decide what is deleted, by the rules of this module.

    Args:
        before: of DEST, only what is in the scope of this run and not excluded.
        outcome: of this run.
        limits: of what is deleted.
    """
    gone = [path for path in before.paths if path not in outcome.expected]
    standings = {path: _standing(path, before, outcome, limits) for path in gone}
    foreign = set() if limits.delete_foreign else {
        path for path, standing in standings.items() if path not in before.ours and standing != _NAMED}
    mine = [path for path, standing in standings.items() if standing != _KEPT and path not in foreign]
    later = [path for path in mine if any(unit.covers(path) for unit in outcome.switched)]
    now = sorted(set(mine) - set(later), key=lambda path: (not find_units([path]), path))  # metadata before what it names
    orphans = [path for path in gone if standings[path] == _KEPT and path not in foreign and outcome.unit_of(path) is None]
    result = Deletions((), len(later), 0, len(foreign), kept=len(orphans))
    if not outcome.complete:
        return result._replace(postponed=len(now))
    counted = [path for path in now if standings[path] != _NAMED]
    refusal = _refusal(counted, [path for path in counted if standings[path] == _UNSIGNED], before, outcome, limits)
    return result._replace(refusal=refusal) if refusal else result._replace(paths=tuple(now))


def _standing(path: str, before: DestinationFiles, outcome: RunOutcome, limits: DeletionLimits) -> str:
    """Rule 4."""
    unit = outcome.unit_of(path)
    if unit in outcome.vouched:
        return _SIGNED
    if unit is not None and unit not in outcome.unsigned:
        return _NAMED if unit.folder in limits.units else _KEPT
    if path in before.proven:
        return _NAMED if any(is_inside(path, folder) for folder in limits.units) else _KEPT
    return _UNSIGNED


def _refusal(now: Sequence[str], unsigned: Sequence[str], before: DestinationFiles, outcome: RunOutcome,
             limits: DeletionLimits) -> str:
    """Rule 5: say why too much would be deleted; "" if it is not."""
    most = MAX_DELETE if limits.max_delete is None else limits.max_delete
    if len(now) > most:
        return "{} files would be deleted, more than {}".format(len(now), most)
    if limits.max_delete is None and len(unsigned) > FEW_FILES:
        every = sum(path in before.ours and path not in before.proven and outcome.unit_of(path) not in outcome.vouched
                    for path in before.paths)
        if 2 * len(unsigned) > every:
            return "{} of the {} files that nothing signs would be deleted".format(len(unsigned), every)
    return ""
