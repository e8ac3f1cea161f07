"""What signed metadata says a mirror must hold, what a listing says it holds, and the difference.

Pure.
"""
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...model import REPOMD
from ...trust.primary import PrimaryPackage
from ...trust.repomd import Repomd

FILE, FOLDER, LINK = "file", "folder", "link"  # as operators/rsync.py has them, and others


class TreeEntry(NamedTuple):
    """Something that a mirror holds."""

    path: str  # below the mirror's root, without a final "/"; bytes that are no UTF-8 as surrogates
    kind: str  # FILE, FOLDER, LINK, or another word
    size: Optional[int] = None  # bytes; None: not known exactly
    target: str = ""  # of a link, as it is written


class RepositoryContent(NamedTuple):
    """What a signed repomd.xml, and the primary metadata that it names, say of one repository."""

    path: str  # below the mirror's root, "8/8.3/updates/x86_64/"
    repomd: Repomd
    packages: Tuple[PrimaryPackage, ...]


class Completeness(NamedTuple):
    """How much of what is wanted is there."""

    wanted: int
    found: int  # with the right size, as far as that is told
    missing: Tuple[str, ...]
    wrong: Tuple[Tuple[str, int, int], ...]  # path, bytes wanted, bytes held
    unsized: int  # found, but nobody tells a size to compare

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing or wrong."""
        return not self.missing and not self.wrong


def wanted_files(content: RepositoryContent) -> Dict[str, Optional[int]]:
    """List the files of a repository.

    Args:
        content: proven.

    Returns:
        Path below the mirror's root -> bytes; None where the metadata does not tell.
    """
    wanted: Dict[str, Optional[int]] = {content.path + REPOMD: None, content.path + REPOMD + ".asc": None}
    wanted.update((content.path + file.href, file.size) for file in content.repomd.files)
    wanted.update((content.path + package.href, package.size) for package in content.packages)
    return wanted


def compare(wanted: Mapping[str, Optional[int]], held: Mapping[str, Optional[int]]) -> Completeness:
    """Hold what is there against what must be.

    Args:
        wanted: from ``wanted_files``.
        held: path -> bytes of the files that are there; None where that is not known.
    """
    missing, wrong, unsized = [], [], 0
    for path, size in wanted.items():
        if path not in held:
            missing.append(path)
            continue
        found = held[path]
        if size is None or found is None:
            unsized += size is not None
        elif size != found:
            wrong.append((path, size, found))
    return Completeness(len(wanted), len(wanted) - len(missing) - len(wrong), tuple(missing), tuple(wrong), unsized)


def first_lines(prefix: str, items: Sequence[str], most: int = 3) -> List[str]:
    """Word a list, a line each: the first ones, and how many more.

    Args:
        prefix: what they are, e.g. "missing".
        items: any number.
        most: how many are told.
    """
    more = ["{}: {} more".format(prefix, len(items) - most)] if len(items) > most else []
    return ["{}: {}".format(prefix, item) for item in items[:most]] + more


def examples(paths: Sequence[str], most: int = 3) -> str:
    """Word a list of paths: the first ones, and how many more."""
    more = ", and {} more".format(len(paths) - most) if len(paths) > most else ""
    return ", ".join(paths[:most]) + more
