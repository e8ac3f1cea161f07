"""A cache of the digests of DEST's files, so that an hourly run need not read them all again.

A file counts as proven without being read if its inode, size and modification time are those it had when it was read and had
the digest that is demanded now. A file that was changed with its time set back, or by a bad disk, is not noticed:
``--verify-all`` reads everything again.
Every file in the cache came from the source once; others are never deleted.
Beside the files it has the digests of the signed lists that each place has had: what once was proven stays known as proven, and
as this place's (``identity.py``).
"""
import hashlib
import json
import os
from typing import Dict, List, NamedTuple, Optional, Set

from ...util.files import read_capped, write_whole
from .plan import Demand

SCHEMA = 1
MAX_HEADS = 32  # of each place
MAX_BYTES = 256 * 1024 * 1024  # enough for a million files
_DAMAGE = (OSError, ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError)


class _CacheEntry(NamedTuple):
    inode: int
    size: int
    mtime_ns: int
    digest: str  # "sha256:..."; "" if nothing signed named it


class FileCache:
    """The cache of one DEST.

    Args:
        path: of its file; it is read now, and counts as empty if that fails.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._files: Dict[str, _CacheEntry] = {}
        self._heads: Dict[str, List[str]] = {}
        try:
            values = json.loads(read_capped(path, MAX_BYTES).decode("utf-8"))
            if values["schema"] == SCHEMA:
                self._files = {str(name): _CacheEntry(int(known[0]), int(known[1]), int(known[2]), str(known[3]))
                               for name, known in values["files"].items()}
                self._heads = {str(name): list(map(str, digests)) for name, digests in values.get("heads", {}).items()}
        except _DAMAGE:
            self._files, self._heads = {}, {}

    @property
    def paths(self) -> Set[str]:
        """The paths that came from the source once."""
        return set(self._files)

    @property
    def proven_paths(self) -> Set[str]:
        """The paths whose files were proven once."""
        return {path for path, known in self._files.items() if known.digest}

    @property
    def heads(self) -> Dict[str, Set[str]]:
        """The SHA-256 of all signed lists that each path has had, as far as they are remembered."""
        return {path: set(digests) for path, digests in self._heads.items()}

    def learn_head(self, path: str, sha256: str) -> None:
        """Add a signed list that is published, and proven."""
        digests = [digest for digest in self._heads.get(path, []) if digest != sha256]
        self._heads[path] = (digests + [sha256])[-MAX_HEADS:]

    def proves(self, path: str, status: os.stat_result, demand: Demand) -> bool:
        """Whether a file is known to be what is demanded."""
        return self._files.get(path) == _entry_of(status, _digest(demand))

    def disproves(self, path: str, status: os.stat_result, demand: Demand) -> bool:
        """Whether a file is known not to be what is demanded."""
        known = self._files.get(path)
        return known is not None and known.digest not in ("", _digest(demand)) and known == _entry_of(status, known.digest)

    def learn(self, path: str, status: os.stat_result, demand: Optional[Demand] = None) -> None:
        """Add a file of the source.

        Args:
            path: below DEST.
            status: of the file there, or in the stage.
            demand: what it was proven to be; None: it was not read, so an earlier proof of the same file stays.
        """
        known = _entry_of(status, _digest(demand) if demand else "")
        before = self._files.get(path)
        if demand is not None or before is None or before[:3] != known[:3]:
            self._files[path] = known

    def forget(self, path: str) -> None:
        """Remove a file that was deleted."""
        self._files.pop(path, None)

    def forget_head(self, path: str) -> None:
        """Forget what a place has had, because it was deleted as a whole."""
        self._heads.pop(path, None)

    def save(self) -> None:
        """Write the cache to its file.

        Raises:
            OSError: it could not be written.
        """
        values = {"schema": SCHEMA, "files": {path: list(known) for path, known in sorted(self._files.items())},
                  "heads": dict(sorted(self._heads.items()))}
        write_whole(self.path, json.dumps(values, separators=(",", ":")).encode("ascii"), durable=False)


def cache_path(state_dir: str, destination: str) -> str:
    """Return the path of the cache of a DEST.

    Args:
        state_dir: of the .conf.
        destination: its real path.
    """
    name = hashlib.sha256(os.fsencode(destination)).hexdigest()[:16]
    return os.path.join(state_dir, "sync", name + ".json")


def _entry_of(status: os.stat_result, digest: str) -> _CacheEntry:
    return _CacheEntry(status.st_ino, status.st_size, status.st_mtime_ns, digest)


def _digest(demand: Demand) -> str:
    return "{}:{}".format(demand.kind, demand.digest)
