"""The files that a mirror must have according to signed metadata, those that a listing shows, and the difference.

Pure.
"""
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...model import REPOMD
from ...trust.primary import PrimaryPackage
from ...trust.repomd import Repomd

FILE, FOLDER, LINK = "file", "folder", "link"  # as operators/rsync.py has them, and others


class TreeEntry(NamedTuple):
    """A file, folder or link of a mirror."""

    path: str  # below the mirror's root, without a final "/"; bytes that are no UTF-8 as surrogates
    kind: str  # FILE, FOLDER, LINK, or another word
    size: Optional[int] = None  # bytes; None: not known exactly
    target: str = ""  # of a link, as it is written


class RepositoryContent(NamedTuple):
    """The contents of one repository according to its signed repomd.xml and primary metadata."""

    path: str  # below the mirror's root, "8/8.3/updates/x86_64/"
    repomd: Repomd
    packages: Tuple[PrimaryPackage, ...]


class Completeness(NamedTuple):
    """How many of the wanted files are there."""

    wanted: int
    found: int  # with the right size, as far as the listing tells sizes
    missing: Tuple[str, ...]
    wrong: Tuple[Tuple[str, int, int], ...]  # path, bytes wanted, bytes found
    unsized: int  # found, but without a size to compare

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


def compare(wanted: Mapping[str, Optional[int]], found: Mapping[str, Optional[int]]) -> Completeness:
    """Compare the files that are there with those that must be.

    Args:
        wanted: from ``wanted_files``.
        found: path -> bytes of the files that are there; None where that is not known.
    """
    missing, wrong, unsized = [], [], 0
    for path, size in wanted.items():
        if path not in found:
            missing.append(path)
            continue
        size_found = found[path]
        if size is None or size_found is None:
            unsized += size is not None
        elif size != size_found:
            wrong.append((path, size, size_found))
    return Completeness(len(wanted), len(wanted) - len(missing) - len(wrong), tuple(missing), tuple(wrong), unsized)


def first_lines(prefix: str, items: Sequence[str], most: int = 3) -> List[str]:
    """Return a line for each of the first items, and one with the number of the others.

    Args:
        prefix: of each line, e.g. "missing".
        items: any number.
        most: how many are shown.
    """
    more = ["{}: {} more".format(prefix, len(items) - most)] if len(items) > most else []
    return ["{}: {}".format(prefix, item) for item in items[:most]] + more


def examples(paths: Sequence[str], most: int = 3) -> str:
    """Return the first paths, and the number of the others, in one line."""
    more = ", and {} more".format(len(paths) - most) if len(paths) > most else ""
    return ", ".join(paths[:most]) + more
