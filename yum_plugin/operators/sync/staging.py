"""Which demanded files DEST has, and the stage for those that it lacks: each is proven there, or removed."""
import os
import stat
from typing import Dict, Iterable, Mapping, Optional, Set, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...net.partial_file import require_space
from ...trust.digest import DigestChecker
from ...trust.primary import MAX_PRIMARY_BYTES
from ...util.files import read_capped
from .destination import Destination
from .file_cache import FileCache
from .plan import Demand, Want
from .source import OnProgress, SyncSource

READ_BYTES = 1024 * 1024


class Staging:
    """The stage of one round.

    Args:
        source: the source.
        destination: DEST.
        file_cache: of DEST.
        on_progress: callbacks.
        lock: DEST's.
        verify_all: read every demanded file once, whatever the file cache says.
        dry_run: read no file, and compare sizes only.

    Attributes:
        wants: the files to fetch.
        staged: those that have arrived and are right.
        reasons: why the others are missing.
    """

    def __init__(self, source: SyncSource, destination: Destination, file_cache: FileCache, on_progress: OnProgress, lock: int,
                 verify_all: bool, dry_run: bool) -> None:
        self._source = source
        self._destination = destination
        self._file_cache = file_cache
        self._told = on_progress
        self._lock = lock
        self._verify_all = verify_all
        self._dry_run = dry_run
        self.wants: Dict[str, Want] = {}
        self.staged: Set[str] = set()
        self.reasons: Dict[str, MirrorsError] = {}
        self._verified: Set[str] = set()

    def drop(self, paths: Iterable[str]) -> None:
        """Remove files from the stage that DEST has already."""
        for path in paths:
            self.staged.discard(path)
            self.wants.pop(path, None)
            self._destination.forget_staged(path)

    def has(self, path: str, demand: Demand) -> bool:
        """Whether DEST has the demanded file; it is read unless the file cache knows."""
        status = self._destination.find_file(path)
        if status is None or demand.size not in (None, status.st_size):
            return False
        if self._verify_all and path not in self._verified and not self._dry_run:
            self._verified.add(path)
        elif self._file_cache.proves(path, status, demand):
            return True
        elif self._file_cache.disproves(path, status, demand):
            return False
        if self._dry_run:
            return True
        return self._prove(path, self._destination.path(path), status, demand) is None

    def _prove(self, path: str, here: str, status: os.stat_result, demand: Demand) -> Optional[MirrorsError]:
        """Read a file; return what is wrong with it. None if it is what is demanded: then it goes into the file cache."""
        if demand.size not in (None, status.st_size):
            what = "it has {} bytes instead of the {} that were signed".format(status.st_size, demand.size)
            return TrustError("payload-mismatch", what, where=path)
        checker, done = DigestChecker(demand.kind, demand.digest), 0
        try:
            handle = os.open(here, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "rb", buffering=0) as stream:
                for chunk in iter(lambda: stream.read(READ_BYTES), b""):
                    checker.update(chunk)
                    done += len(chunk)
                    self._told.progress(path, done, status.st_size)
            checker.finish()
        except OSError as error:
            return FetchError("rsync-partial", "it cannot be read here: {}".format(error.strerror), where=path)
        except TrustError as error:
            return TrustError(error.reference, error.what, where=path)
        self._file_cache.learn(path, status, demand)
        return None

    def fetch(self, wants: Mapping[str, Want]) -> None:
        """Fetch files into the stage, and check each of them there.

        Raises:
            FetchError: the source cannot be reached.
            UsageError: there is not enough space, or the disk cannot do it.
        """
        if not wants:
            return
        self.wants.update(wants)
        self._require_space(wants)
        reasons = self._source.fetch(wants, self._destination.stage, self._told, self._lock)
        for path, want in wants.items():
            error = self._check_staged(path, want, reasons.get(path))
            if error is None:
                self.staged.add(path)
            else:
                self.reasons[path] = error

    def _require_space(self, wants: Mapping[str, Want]) -> None:
        def missing() -> Iterable[Tuple[str, Optional[int]]]:
            for path, want in wants.items():
                here = self._destination.staged(path)
                size = want.listed.size if want.listed else 0
                yield here, max(0, size - (os.lstat(here).st_size if os.path.lexists(here) else 0))

        require_space(missing())

    def _check_staged(self, path: str, want: Want, reason: Optional[MirrorsError]) -> Optional[MirrorsError]:
        """Return what is wrong with a file that should have arrived; such a file is removed, so that it is never published."""
        here = self._destination.staged(path)
        try:
            status = os.lstat(here)
        except OSError:
            return reason or FetchError("rsync-partial", "the source does not send it", where=path)
        error: Optional[MirrorsError] = None
        # Through another hard link the file could be changed after it was proven.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            error = TrustError("unsupported", "it is not a plain file", where=path)
        elif want.demand is not None:
            if not self._file_cache.proves(path, status, want.demand):
                error = self._prove(path, here, status, want.demand)
        elif want.listed is not None and self._source.lists and status.st_size != want.listed.size:
            error = FetchError("rsync-partial", "the source is changing it", where=path)
        if error is not None:
            os.unlink(here)
        return error

    def here(self, path: str) -> str:
        """Return the path of a file: in the stage, or else published."""
        return self._destination.staged(path) if path in self.staged else self._destination.path(path)

    def read_proven(self, path: str, demand: Demand) -> bytes:
        """Read a metadata file, and prove it again, because its content is used.

        Raises:
            FetchError, TrustError: it has not arrived, or is not what is demanded.
        """
        if path in self.reasons:
            raise self.reasons[path]
        return _read(self.here(path), path, demand)

    def read_published(self, path: str, demand: Demand) -> bytes:
        """Read a metadata file of DEST, and prove it; raises as ``read_proven`` does."""
        return _read(self._destination.path(path), path, demand)


def _read(here: str, path: str, demand: Demand) -> bytes:
    checker = DigestChecker(demand.kind, demand.digest, MAX_PRIMARY_BYTES)
    try:
        checker.update(read_capped(here, MAX_PRIMARY_BYTES))
    except OSError as error:
        raise FetchError("rsync-partial", "the source does not send it", where=path) from error
    return checker.finish()
