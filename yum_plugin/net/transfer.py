"""One try to fetch the rest of one file from one mirror; the bytes are checked while they arrive.

It runs in a thread of ``download.py``, whose scheduler watches it and may end it from outside.
"""
import re
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from ..errors import FetchError, MirrorsError, TrustError
from ..util.text import whole_number
from ..util.urls import quoted_path
from .partial_file import PartialFile
from .session import NO_RANGE, FetchLimits, Session, Stream
from .stall import LONG_WINDOW_SECONDS, WINDOW_SECONDS, RateMeter
from .writer_thread import WriterThread

FIRST_BYTES = 1024 * 1024  # asked first of a mirror that has not sent a good file yet
EARLIER = ""  # in place of a mirror's URL: the part that an earlier run left
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})\Z")  # RFC 9110 section 14.4, the length known


class Item(NamedTuple):
    """A file to fetch."""

    path: str  # below a mirror's base, from ``urls.safe_path``
    target: str  # absolute path of the file to be
    make_checker: Callable[[], Any]  # a new object with update(chunk) and finish(), which raise TrustError
    size: Optional[int] = None  # bytes, where signed metadata gives them


class Source(NamedTuple):
    """A mirror to fetch from."""

    url: str  # base of all items, ends in "/"
    answer_seconds: float = 0.0  # what an answer took when it was measured; 0: unknown
    rate: float = 0.0  # bytes per second, measured; 0: unknown
    last_resort: bool = False  # asked after every other one: the origin


class Attempt(NamedTuple):
    """The result of one try."""

    mirror: str  # Source.url
    reference: str  # "ok" or a reference of errors.py
    what: str
    bytes: int  # that arrived in this try


class FileDownload:
    """One item while it is fetched; one transfer or the scheduler uses it at a time.

    Args:
        number: of the item in the caller's list.
        item: what to fetch.
        max_bytes: the limit if the size is not known.
    """

    def __init__(self, number: int, item: Item, max_bytes: int) -> None:
        self.number = number
        self.item = item
        self.max_bytes = max_bytes if item.size is None else item.size
        self.total = item.size  # bytes; as a mirror announces it if metadata does not
        self.partial = PartialFile(item.target)
        self.checker: Any = None
        self.verdict: Any = None
        self.received = 0  # bytes in the partial file, all of them seen by the checker
        self.origins: List[str] = []  # the mirrors that sent them
        self.single_source = False  # after wrong bytes from several mirrors: each sends all of it, so that the bad one is found
        self.tries: Dict[str, int] = {}
        self.excluded: Set[str] = set()  # mirrors that are not asked for this file again
        self.switches = 0  # how often it went to another mirror after a silence
        self.attempts: List[Attempt] = []
        self.error: Optional[MirrorsError] = None  # the last one; a TrustError is not replaced by another kind

    def prepare(self) -> None:
        """Start checking, with the part of an earlier run: nothing is known of its origin, so it is hashed again."""
        if self.checker is not None:
            return
        if not 0 < self.partial.size() <= self.max_bytes:
            self.restart()
            return
        self.checker = self.item.make_checker()
        try:
            for chunk in self.partial.read_back():
                self.checker.update(chunk)
                self.received += len(chunk)
        except TrustError:
            self.restart()
        else:
            self.origins = [EARLIER]

    def discard(self) -> None:
        """Discard what has arrived."""
        self.partial.restart()
        self.checker = None
        self.received = 0
        self.origins = []

    def restart(self) -> None:
        """Begin at byte 0."""
        self.discard()
        self.checker = self.item.make_checker()

    def store(self, chunk: bytes) -> None:
        """Write and check the next bytes; raises TrustError, UsageError, or FetchError for endless data."""
        if self.received + len(chunk) > self.max_bytes:
            raise FetchError("too-large", "more than the {} bytes that the file has or may have".format(self.max_bytes))
        self.partial.write(chunk)
        self.received += len(chunk)
        self.checker.update(chunk)

    def finish(self) -> None:
        """Ask the checker for its verdict; only after a good one give the file its name."""
        self.verdict = self.checker.finish()
        self.partial.commit()


class Transfer:
    """One try.

    Args:
        file: that is to be completed.
        source: that is asked.
        limits: time-outs; the byte limit is the file's own.
        is_reliable: the mirror has sent a good file before. Any other is first asked for ``FIRST_BYTES`` of a larger file: the
            header of the answer shows whether the mirror's file has another size, and few bytes have been sent in vain.
        clock: monotonic seconds.
    """

    def __init__(self, file: FileDownload, source: Source, limits: FetchLimits, is_reliable: bool = True,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.file = file
        self.source = source
        self._is_reliable = is_reliable
        self.abandoned = False  # the scheduler has given the file to another transfer
        self.answered_at: Optional[float] = None
        self.waiting_since: Optional[float] = None  # None: not waiting for the mirror
        self.restarted = False
        self.wrong_origins: Tuple[str, ...] = ()  # FileDownload.origins when the checker refused
        self.received = 0
        self.meters: Tuple[RateMeter, ...] = ()
        self._limits = limits._replace(max_bytes=file.max_bytes)
        self._clock = clock
        self._lock = threading.Lock()
        self._stop_reason: Optional[FetchError] = None
        self._session: Optional[Session] = None

    def run(self, session: Session) -> None:
        """Fetch, check and name the file.

        Raises:
            FetchError, TrustError, UsageError: the reason why it failed.
        """
        self.file.prepare()
        if self.file.total is None or self.file.received < self.file.total:
            try:
                first_end = self._first_end()
                self._receive(session, first_end)
                if first_end is not None and self.file.received != self.file.total:
                    self._receive(session, None)
            except FetchError as error:
                reason = self._stop_reason or error  # rather than what the broken connection said
                raise FetchError(reason.reference, reason.what, where=self.source.url)
            finally:
                self.waiting_since = None
        self.file.finish()

    def _first_end(self) -> Optional[int]:
        """Return the end of the first request: the byte behind its last one, None for the whole rest."""
        first_end = self._offset() + FIRST_BYTES
        return None if self._is_reliable or self.file.item.size is None or self.file.item.size <= first_end else first_end

    def _receive(self, session: Session, end: Optional[int]) -> None:
        """Fetch the missing bytes, or those of them before ``end``."""
        offset = self._offset()
        part = "bytes={}-{}".format(offset, "" if end is None else end - 1)
        headers = {"Range": part} if part != "bytes=0-" else {}
        url = self.source.url + quoted_path(self.file.item.path)
        self._session = session
        self.waiting_since = self._clock()
        with session.open(url, self._limits, headers, accept=(200, 206) + NO_RANGE if headers else (200,)) as stream:
            if stream.status not in NO_RANGE:
                self._take(stream, offset, end)
                return
        with session.open(url, self._limits) as stream:  # it wants no ranges, but may have the file
            self._take(stream, offset, None)

    def _take(self, stream: Stream, offset: int, end: Optional[int]) -> None:
        self._accept(stream, offset, end)
        with WriterThread(self.file.store) as writer:
            for chunk in stream.chunks():
                self.waiting_since = None
                self.received += len(chunk)
                writer.put(chunk)
                self.waiting_since = self._clock()
        size = self.file.item.size
        if end is None and size not in (None, self.file.received):
            raise FetchError("truncated", "{} of {} bytes arrived".format(self.file.received, size), where=self.source.url)

    def _offset(self) -> int:
        mine = self.file.origins in ([], [self.source.url])
        return self.file.received if mine or not self.file.single_source else 0

    def _accept(self, stream: Stream, offset: int, end: Optional[int]) -> None:
        """Check the answer's header; from here on only this transfer writes to the file, unless it was abandoned meanwhile."""
        start = _check_header(stream, offset, end, self.file.item.size)
        with self._lock:
            if self.abandoned:
                raise FetchError("timed-out", "given up")
            self.answered_at = self._clock()
        if start < self.file.received:
            self.restarted = True
            self.file.restart()
        length = whole_number(stream.headers.get("content-length", ""))
        if self.file.item.size is None and length is not None:
            self.file.total = start + length
        if self.source.url not in self.file.origins:
            self.file.origins.append(self.source.url)

    def stop(self, reason: FetchError) -> bool:
        """End the try from outside.

        Args:
            leave: the reason.

        Returns:
            True: it has not touched the file and never will, so its thread need not be waited for; a system call may hold
            that for long (a name that is not resolved, a connection that is not made). False: the thread reports soon.
        """
        with self._lock:
            if self.waiting_since is None:
                return False
            self._stop_reason = reason
            self.abandoned = self.answered_at is None
            if self._session is not None:
                self._session.abort()
            return self.abandoned

    @property
    def culprit(self) -> str:
        """The mirror that a failure is about: of wrong bytes the one that sent all of them, whichever was to send the rest."""
        return self.wrong_origins[0] if len(self.wrong_origins) == 1 else self.source.url

    @property
    def stopped(self) -> bool:
        """Whether ``stop`` has ended the session's connections."""
        return self._stop_reason is not None

    def measure(self, now: float) -> Tuple[Optional[float], Optional[float]]:
        """Take a sample; return the bytes per second of the short and of the long window, None while they are not full."""
        if self.answered_at is None:
            return None, None
        if not self.meters:
            self.meters = tuple(RateMeter(self.answered_at, 0, window) for window in (WINDOW_SECONDS, LONG_WINDOW_SECONDS))
        for meter in self.meters:
            meter.note(now, self.received)
        return self.meters[0].rate(), self.meters[1].rate()


def _check_header(stream: Stream, offset: int, end: Optional[int], size: Optional[int]) -> int:
    """Return at which byte of the file an answer begins, ``offset`` or 0; raise FetchError if it is not the missing part.

    ``end`` is as of ``Transfer._receive``; a server without ranges sends the whole file.
    """
    start, expected_end = 0, size
    if stream.status == 206:
        start = offset
        first, last, total = _content_range(stream)
        if first != offset:
            raise FetchError("bad-answer", "a part of the file that was not asked for")
        _check_size(total, size)
        expected_end = total if end is None else end
        if last != expected_end - 1:
            raise FetchError("bad-answer", "another part of the file than was asked for")
    length = whole_number(stream.headers.get("content-length", ""))
    if size is not None and expected_end is not None and length is not None and "transfer-encoding" not in stream.headers:
        _check_size(length, expected_end - start)
    return start


def _content_range(stream: Stream) -> Tuple[int, ...]:
    """Return the first and the last byte of a part, and the size of the whole file; bad-answer if the header lacks them."""
    match = _CONTENT_RANGE.match(stream.headers.get("content-range", ""))
    if match is None:
        raise FetchError("bad-answer", "a part of the file, and it does not say which")
    return tuple(int(digits) for digits in match.groups())


def _check_size(announced: int, expected: Optional[int]) -> None:
    if expected not in (None, announced):
        reference = "truncated" if announced < (expected or 0) else "too-large"
        raise FetchError(reference, "it announces {} bytes instead of {}".format(announced, expected))
