"""A web server as the source: only files that something signed names are fetched (``net/download.py``).

A web server cannot be listed. The repositories are those that the command line names, or that DEST has; the files are those that
repomd.xml, the primary metadata and SHA256SUMS name. Each file is proven while it arrives, and resumes where an interrupted run
stopped.
"""
import fnmatch
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from ...errors import FetchError, MirrorsError, UsageError
from ...model import Network
from ...net.download import Events, Rules, download
from ...net.items import Item, Source
from ...net.partial_file import disk_error
from ...net.session import NO_CACHE, FetchLimits, OpenSession, Session
from ...privsep.gateway import here
from ...trust.digest import DigestChecker
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.files import write_whole
from ...util.urls import safe_path
from ..facts import EXAMPLE_FOLDER
from .destination import staged_path
from .plan import Demand, Unit, Want
from .source import OnProgress, SourceLimits, SyncSource

MAX_FILE_BYTES = 64 * 1024 * 1024 * 1024  # of a file whose size is not signed
HEADS_SECONDS = 600.0  # for all signed lists
_WILD = frozenset("*?[")


class HttpSource(SyncSource):
    """A web server.

    Args:
        url: of the mirror's root, from ``urls.clean_base_url``.
        network: how it is reached.
        limits: see there.
        open_session: makes the sessions; None: this process does.
    """

    def __init__(self, url: str, network: Network = Network(), limits: SourceLimits = SourceLimits(),
                 open_session: Optional[OpenSession] = None) -> None:
        self.url = url
        self._open = open_session or here().open
        self._network = network
        self._limits = limits
        self._limiter = RateLimiter(limits.bytes_per_second)

    def units(self, named: Sequence[str], known: Sequence[Unit]) -> List[Unit]:
        """Return the named folders, and those of DEST that match a pattern; without names, all of DEST."""
        if not named and not known:
            raise UsageError("usage", "a web server cannot be listed, and DEST is empty", where=self.url,
                             hint="name folders: --repo {} --repo isos/8.3".format(EXAMPLE_FOLDER))
        found = [unit for unit in known if not named or any(fnmatch.fnmatchcase(unit.folder, _clean(name)) for name in named)]
        with self._client(HEADS_SECONDS) as client:
            for name in map(_clean, named):
                if not (_WILD & set(name) or any(unit.folder == name for unit in found)):
                    found.append(self._ask(client, name))
        if not found:
            raise UsageError("no-repository", "DEST has no such folder", where=", ".join(named), hint="name it without wildcards")
        return found

    def _client(self, seconds: float) -> Session:
        return self._open(self._network, seconds)

    def _ask(self, client: Session, folder: str) -> Unit:
        """Find out whether a folder is a repository or has a list of checksums."""
        repository, images = Unit(folder, True), Unit(folder, False)
        for unit in (repository, images):
            try:
                client.get(self.url + unit.head, FetchLimits(MAX_REPOMD_BYTES))
                return unit
            except FetchError as error:
                if error.reference != "http-status":
                    raise
        raise FetchError("http-status", "neither repodata/repomd.xml nor SHA256SUMS is there", where=self.url + folder)

    def fetch(self, wants: Mapping[str, Want], stage: str, on_progress: OnProgress, lock: int) -> Dict[str, MirrorsError]:
        """Fetch files into the stage."""
        reasons: Dict[str, MirrorsError] = {}
        lists = [path for path, want in wants.items() if want.demand is None]
        if lists:
            self._fetch_lists(lists, stage, reasons)
        demands = {path: want.demand for path, want in wants.items() if want.demand is not None}
        paths = list(demands)
        items = [Item(path, staged_path(stage, path), self._checker(demand), demand.size) for path, demand in demands.items()]

        def progress(number: int, received: int, total: Any, mirror: str) -> None:
            on_progress.progress(paths[number], received, total or 0)

        rules = Rules(max_bytes=MAX_FILE_BYTES, keep_parts=True)
        for fetched in download(items, [Source(self.url)], self._network, rules, Events(progress=progress),
                                open_session=self._open) if items else []:
            if fetched.error is not None:
                reasons[paths[fetched.number]] = fetched.error
        return reasons

    def _fetch_lists(self, paths: Sequence[str], stage: str, reasons: Dict[str, MirrorsError]) -> None:
        """Fetch the signed lists and their signatures, on one connection."""
        with self._client(HEADS_SECONDS) as client:
            for path in paths:
                try:
                    body = client.get(self.url + path, FetchLimits(MAX_REPOMD_BYTES), NO_CACHE).body
                    write_whole(staged_path(stage, path), body, durable=False)
                except FetchError as error:
                    reasons[path] = error
                except OSError as error:
                    raise disk_error(error, staged_path(stage, path)) from error

    def _checker(self, demand: Demand) -> Callable[[], "RateLimitedChecker"]:
        return lambda: RateLimitedChecker(DigestChecker(demand.kind, demand.digest), self._limiter)


def _clean(name: str) -> str:
    """Return the path of a folder below the root; UsageError if it is not valid."""
    stripped = name.strip("/")
    try:
        return stripped and safe_path(stripped.replace("?", "x") if "?" in stripped else stripped) and stripped
    except ValueError as error:
        raise UsageError("usage", "--repo is not a folder of a mirror: {}".format(error), where=name) from None


class RateLimiter:
    """Limits the bytes per second of several threads together.

    Args:
        bytes_per_second: 0: no limit.
        clock: monotonic seconds.
        wait: sleeps.
    """

    def __init__(self, bytes_per_second: int, clock: Callable[[], float] = time.monotonic,
                 wait: Callable[[float], None] = time.sleep) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._free_at = clock()

    def acquire(self, count: int) -> None:
        """Wait until so many bytes are allowed; meanwhile the socket's buffer fills, which makes the server wait."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock()  # read once: a second, later reading could make a short wait negative
            self._free_at = max(self._free_at, now) + count / self._rate
            seconds = self._free_at - now
        self._wait(seconds)


class RateLimitedChecker:
    """A checker that waits after each chunk.

    Args:
        checker: checks the chunks.
        limiter: shared by all downloads.
    """

    def __init__(self, checker: DigestChecker, limiter: RateLimiter) -> None:
        self._checker = checker
        self._limiter = limiter

    def update(self, chunk: bytes) -> None:
        """Check the next bytes, then wait."""
        self._checker.update(chunk)
        self._limiter.acquire(len(chunk))

    def finish(self) -> bytes:
        """Return what the checker returns."""
        return self._checker.finish()
