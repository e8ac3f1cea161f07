"""Files that a mirror should not have: leftovers of tools, dot-files, links out of the tree, misleading names.

A file in a repository that its signed metadata does not name is not necessarily a fault: the origin keeps packages and metadata
of earlier revisions, so that a client in the middle of an update still finds them. Those are only counted.

Pure.
"""
import posixpath
import re
from typing import AbstractSet, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from .inventory import FILE, FOLDER, LINK, TreeEntry

LEFTOVER, DOTFILE, LEAVING, MISLEADING, SPECIAL, UNKNOWN, EARLIER = (
    "leftover", "dot-file", "leaving", "misleading", "special", "unknown", "earlier")
WORDS = {
    LEFTOVER: "left over by a tool (a transfer, an editor, a lock)",
    DOTFILE: "hidden",
    LEAVING: "a link that leads out of the tree",
    MISLEADING: "a name with control characters, bytes that are no UTF-8, or dot segments",
    SPECIAL: "neither a file nor a folder nor a link",
    UNKNOWN: "in a repository, and not named by anything signed",
    EARLIER: "packages or metadata that the signed metadata does not name (any longer)",
}
MAX_LISTED = 1000  # of each kind; the others are only counted
MUNGED = "/rsyncd-munged/"  # what an rsync daemon without chroot puts before a link's target (rsyncd.conf(5), munge symlinks)
_LEFTOVER = re.compile(
    r"\.~tmp~\Z|\..+\.[A-Za-z0-9]{6}\Z"  # rsync(1): --delay-updates, and the name of a file under way
    r"|.*~\Z|#.*#\Z|\.#|.*\.(?:bak|orig|rej|swp|swo|tmp|temp|part|partial|lock|lck|pid|dpkg-old|rpmsave|rpmnew)\Z"
    r"|\.nfs[0-9a-f]+\Z|core(?:\.\d+)?\Z|nohup\.out\Z|\.repodata\Z|\.olddata\Z", re.IGNORECASE)
# createrepo_c's names with and without the checksum before them
_METADATA = re.compile(r"repodata/(?:[0-9a-f]{40,128}-)?[A-Za-z0-9_.-]+\.(?:xml|sqlite|yaml)(?:\.(?:gz|bz2|xz|zst|zck))?\Z")


class UnexpectedFiles(NamedTuple):
    """All unexpected files of one kind."""

    kind: str
    number: int
    paths: Tuple[str, ...]  # the first MAX_LISTED


def find_unexpected(entries: Iterable[TreeEntry], wanted: AbstractSet[str], repositories: Sequence[str]) -> List[UnexpectedFiles]:
    """Find the files that should not be there.

    Args:
        entries: of the mirror.
        wanted: paths that something signed names.
        repositories: paths of those whose signed metadata was read, each ending in "/".

    Returns:
        The kinds that were found, in the order of WORDS.
    """
    counts = dict.fromkeys(WORDS, 0)
    paths: Dict[str, List[str]] = {kind: [] for kind in WORDS}
    for item in entries:
        kind = None if item.path in wanted and item.kind == FILE else _kind_of(item, repositories)
        if kind is not None:
            counts[kind] += 1
            if counts[kind] <= MAX_LISTED:
                paths[kind].append(item.path)
    return [UnexpectedFiles(kind, counts[kind], tuple(paths[kind])) for kind in WORDS if counts[kind]]


def _kind_of(item: TreeEntry, repositories: Sequence[str]) -> Optional[str]:
    name = posixpath.basename(item.path)
    # Whatever is not what it looks like on a terminal.
    if not item.path.isprintable() or "\\" in item.path or any(part in ("", ".", "..") for part in item.path.split("/")):
        return MISLEADING
    if item.kind == LINK:
        return LEAVING if leaves(item.path, item.target) else None
    if item.kind not in (FILE, FOLDER):
        return SPECIAL
    if _LEFTOVER.match(name):
        return LEFTOVER
    if name.startswith("."):
        return DOTFILE
    home = next((path for path in repositories if item.path.startswith(path)), None)
    if item.kind == FOLDER or home is None:
        return None
    return EARLIER if name.endswith(".rpm") or _METADATA.match(item.path[len(home):]) else UNKNOWN


def leaves(path: str, target: str) -> bool:
    """Whether a link leads out of the tree.

    Args:
        path: of the link, below the root.
        target: as it is written in the link.
    """
    if target.startswith(MUNGED):
        target = target[len(MUNGED):]
    if not target or target.startswith("/"):
        return True
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return resolved == ".." or resolved.startswith("../")
