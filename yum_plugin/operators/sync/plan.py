"""What a sync does, decided before anything is touched: what is taken of a source, what belongs together, what is deleted.

What is left out of a source, whatever else it says:
    1. names with control characters, with dot segments, absolute ones, too long ones, and those that are no UTF-8,
    2. devices, FIFOs and sockets,
    3. links that lead out of the tree, and whatever is said to lie below a link or a file,
    4. our own folder for what is under way, and those of rsync (``.~tmp~``).
What is deleted, and only after everything else has been done:
    1. what an earlier run has seen in the source, the source has no longer, and nothing signed names; never a file that was
       never the source's, unless that is asked for,
    2. nothing at all after an incomplete listing, or if anything of this run was refused or missing,
    3. nothing below a folder that was switched in this run: who has just read the old metadata still finds its files,
    4. not more than ``max_delete`` files, and no whole repository unless ``max_delete`` was given.

Pure.
"""
import fnmatch
import posixpath
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..rsync import FILE, FOLDER, LINK, RsyncEntry

WORK = ".xcpng-mirrors-sync"  # in DEST, while a sync is under way
RSYNC_WORK = ".~tmp~"  # rsync(1), --delay-updates
MAX_NAME_BYTES = 255  # NAME_MAX of Linux
MAX_PATH_BYTES = 3072  # PATH_MAX without what stands before it
MAX_DELETE = 1000  # files, unless told otherwise
REPODATA = "repodata"
REPOMD_NAME = "repomd.xml"
SUMS_NAME = "SHA256SUMS"
SIGNATURE_SUFFIX = ".asc"


class Demand(NamedTuple):
    """What something signed says of a file."""

    size: Optional[int]  # bytes; None if not told
    kind: str  # of the digest, as hashlib names it
    digest: str  # lower-case hex digits


class ListedFile(NamedTuple):
    """A file of the source."""

    size: int  # bytes
    mtime: int  # seconds since 1970


class Want(NamedTuple):
    """A file to bring."""

    listed: Optional[ListedFile]  # None where the source cannot be listed
    demand: Optional[Demand]  # None where nothing signed names it


class Unit(NamedTuple):
    """Files that one signature vouches for, and that readers must see change together."""

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
        """Whether a file stands or falls with this unit."""
        return is_inside(path, self.folder) if self.is_repository else posixpath.dirname(path) == self.folder


class Catalogue(NamedTuple):
    """What a source has."""

    files: Dict[str, ListedFile]
    links: Dict[str, str]  # path -> target
    left_out: Tuple[Tuple[str, str], ...] = ()  # path, reason
    complete: bool = True  # the source could read all of it


class Deletions(NamedTuple):
    """What is to be deleted, and what stays."""

    paths: Tuple[str, ...] = ()
    later: int = 0  # files that the next run deletes
    held: int = 0  # files that are not deleted because the run was not all right
    foreign: int = 0  # files that were never the source's
    refusal: str = ""  # why nothing is deleted, in words


def joined(folder: str, name: str) -> str:
    """Return the path of a file of a folder; "" is the root."""
    return "{}/{}".format(folder, name) if folder else name


def is_inside(path: str, folder: str) -> bool:
    """Whether a path lies below a folder; everything lies below ""."""
    return not folder or path.startswith(folder + "/")


def matches(path: str, pattern: str) -> bool:
    """Whether a path, or a folder that it lies in, is meant by a pattern.

    Args:
        path: below the root.
        pattern: as a shell's, "*" also of "/": with a "/" in it of the path from the root on, else of a single name.
    """
    names, wanted = path.split("/"), pattern.strip("/")
    if "/" not in pattern.rstrip("/"):
        return any(fnmatch.fnmatchcase(name, wanted) for name in names)
    return any(fnmatch.fnmatchcase("/".join(names[:count]), wanted) for count in range(1, len(names) + 1))


def is_excluded(path: str, patterns: Sequence[str]) -> bool:
    """Whether any pattern means the path."""
    return any(matches(path, pattern) for pattern in patterns)


def sift(entries: Iterable[RsyncEntry], excludes: Sequence[str] = ()) -> Catalogue:
    """Decide what is taken of a listing.

    Args:
        entries: the source's.
        excludes: patterns of what is not wanted; that is not even told.

    Returns:
        Files and links, each with a safe name; what is left out is told with the reason.
    """
    kinds: Dict[str, str] = {}
    found = Catalogue({}, {})
    left_out: List[Tuple[str, str]] = []
    for entry in entries:
        names = entry.path.split("/")
        if names[0] == WORK or RSYNC_WORK in names or (excludes and is_excluded(entry.path, excludes)):
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
        return "a name that is no UTF-8"
    if len(entry.path) > MAX_NAME_BYTES // 4 and _is_too_long(entry.path.encode("utf-8")):
        return "a name that is too long"
    if entry.kind not in (FILE, FOLDER, LINK):
        return "a {}".format(entry.kind)
    if entry.path in kinds:
        return "listed twice"
    folder = posixpath.dirname(entry.path)
    if folder and kinds.get(folder) != FOLDER:
        return "its folder is none"
    if entry.kind == LINK and not link_stays_inside(entry.path, entry.target):
        return "a link that leads out of the tree"
    return ""


def _is_too_long(raw: bytes) -> bool:
    return len(raw) > MAX_PATH_BYTES or any(len(name) > MAX_NAME_BYTES for name in raw.split(b"/"))


def link_stays_inside(path: str, target: str) -> bool:
    """Whether a link leads to somewhere in the tree, also if other links of the tree lie on its way.

    Only the beginning of the target may be "..", as often as the link lies deep: behind the name of another link ".." may
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
    """Finds the unit that a file stands or falls with.

    Args:
        units: all of them.
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        self._repositories: Dict[str, Unit] = {}
        self._lists: Dict[str, Unit] = {}
        for unit in units:
            (self._repositories if unit.is_repository else self._lists)[unit.folder] = unit

    def unit_of(self, path: str) -> Optional[Unit]:
        """Return the innermost unit that covers a path, None if none does."""
        folder = posixpath.dirname(path)
        if folder in self._lists:
            return self._lists[folder]
        while folder and folder not in self._repositories:
            folder = posixpath.dirname(folder)
        return self._repositories.get(folder)


def _is_head(path: str) -> bool:
    return bool(find_units([path]))


class Before(NamedTuple):
    """What lies in DEST."""

    paths: Sequence[str]  # files and links
    ours: Set[str]  # those that an earlier run has seen in the source


class PlanOutcome(NamedTuple):
    """How the run went so far."""

    expected: Set[str]  # what the source has, or something signed names
    complete: bool  # the source is known wholly, and nothing was refused or missing
    switched: Sequence[Unit] = ()  # in this run
    units: Sequence[Unit] = ()  # of the source


class Brake(NamedTuple):
    """What deleting may cost."""

    max_delete: Optional[int] = None  # None: MAX_DELETE, and no whole repository
    foreign_too: bool = False


def deletions(before: Before, outcome: PlanOutcome, brake: Brake) -> Deletions:
    """Decide what is deleted; the rules are this module's.

    Args:
        before: only what is in the scope of this run, and not excluded.
        outcome: see there.
        brake: see there.
    """
    gone = [path for path in before.paths if path not in outcome.expected]
    foreign = [path for path in gone if path not in before.ours]
    mine = gone if brake.foreign_too else [path for path in gone if path in before.ours]
    later = [path for path in mine if any(unit.covers(path) for unit in outcome.switched)]
    now = sorted(set(mine) - set(later), key=lambda path: (not _is_head(path), path))  # metadata before what it names
    told = Deletions((), len(later), 0, 0 if brake.foreign_too else len(foreign))
    if not now:
        return told
    if not outcome.complete:
        return told._replace(held=len(now))
    limit = MAX_DELETE if brake.max_delete is None else brake.max_delete
    if len(now) > limit:
        return told._replace(refusal="{} files are to be deleted, more than {}".format(len(now), limit))
    lost = [unit for unit in find_units(now) if unit.is_repository]
    if lost and brake.max_delete is None:
        what = "the source has no longer the repository {}".format(lost[0].folder or "/")
        return told._replace(refusal=what + (" and {} more".format(len(lost) - 1) if lost[1:] else ""))
    return told._replace(paths=tuple(now))
