"""One try to get the rest of one file from one mirror: asked, held to its word, checked while it arrives.

Runs in a worker of ``download.py``, whose scheduler watches it and may end it from outside.
"""
import re
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple
from urllib.parse import quote

from ..errors import FetchError, MirrorsError, TrustError
from .fetch import FetchLimits, Session, Stream
from .partial_file import PartialFile
from .stall import LONG_WINDOW_SECONDS, WINDOW_SECONDS, Leave, RateMeter
from .writer_thread import WriterThread

FIRST_BYTES = 1024 * 1024  # of a mirror that has not kept its word yet
EARLIER = ""  # instead of a mirror's URL: the part that an earlier run left
_CONTENT_RANGE = re.compile(r"^bytes (\d{1,15})-(\d{1,15})/(\d{1,15})$")  # RFC 9110 section 14.4, the length known
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~"  # not quoted: RFC 3986 section 3.3, and what is quoted already


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
    """What became of one try."""

    mirror: str  # Source.url
    reference: str  # "ok" or a reference of errors.py
    what: str
    bytes: int  # that arrived in this try


class File:
    """What is known of one item while it is under way; in the hands of one transfer or of the scheduler.

    Args:
        number: its place among the items.
        item: what to fetch.
        max_bytes: the cap where the size is not known.
    """

    def __init__(self, number: int, item: Item, max_bytes: int) -> None:
        self.number = number
        self.item = item
        self.cap = max_bytes if item.size is None else item.size
        self.total = item.size  # bytes; what a mirror says where metadata does not
        self.spool = PartialFile(item.target)
        self.checker: Any = None
        self.verdict: Any = None
        self.received = 0  # bytes in the spool, all of them seen by the checker
        self.origins: List[str] = []  # whose bytes these are
        self.alone = False  # after wrong bytes of several mirrors' making: one mirror gives all, so that the guilty one is told
        self.tries: Dict[str, int] = {}
        self.out: Set[str] = set()  # mirrors that are not asked for this file again
        self.moves = 0
        self.attempts: List[Attempt] = []
        self.error: Optional[MirrorsError] = None  # the last one, but a TrustError stays

    def prepare(self) -> None:
        """Start checking; hash what an earlier run left: where it came from is unknown, the end will tell."""
        if self.checker is not None:
            return
        if not 0 < self.spool.size() <= self.cap:
            self.restart()
            return
        self.checker = self.item.make_checker()
        try:
            for chunk in self.spool.read_back():
                self.checker.update(chunk)
                self.received += len(chunk)
        except TrustError:
            self.restart()
        else:
            self.origins = [EARLIER]

    def throw_away(self) -> None:
        """Forget what has arrived."""
        self.spool.restart()
        self.checker = None
        self.received = 0
        self.origins = []

    def restart(self) -> None:
        """Begin at byte 0."""
        self.throw_away()
        self.checker = self.item.make_checker()

    def take(self, chunk: bytes) -> None:
        """Store and check what has arrived; raises TrustError, UsageError, or FetchError for endless data."""
        if self.received + len(chunk) > self.cap:
            raise FetchError("too-large", "more than the {} bytes that the file has or may have".format(self.cap))
        self.spool.write(chunk)
        self.received += len(chunk)
        self.checker.update(chunk)

    def finish(self) -> None:
        """Ask the checker; only then give the file its name."""
        self.verdict = self.checker.finish()
        self.spool.commit()


class Transfer:
    """One try.

    Args:
        file: whose rest is wanted.
        source: from whom.
        limits: time-outs; the byte cap is the file's own.
        trusting: the mirror has kept its word before. One that has not is asked for ``FIRST_BYTES`` of a larger file at first:
            that its file is of another size is told by the answer's header, and little has been sent in vain.
        clock: monotonic seconds.
    """

    def __init__(self, file: File, source: Source, limits: FetchLimits, trusting: bool = True,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.file = file
        self.source = source
        self._trusting = trusting
        self.disowned = False  # the scheduler has given the file to another transfer
        self.answered_at: Optional[float] = None
        self.waiting_since: Optional[float] = None  # None: not waiting for the mirror
        self.restarted = False
        self.wrong_origins: Tuple[str, ...] = ()  # File.origins when the checker refused
        self.received = 0
        self.meters: Tuple[RateMeter, ...] = ()
        self._limits = limits._replace(max_bytes=file.cap)
        self._clock = clock
        self._lock = threading.Lock()
        self._leave: Optional[Leave] = None
        self._client: Optional[Session] = None

    def run(self, client: Session) -> None:
        """Fetch, check and name the file.

        Raises:
            FetchError, TrustError, UsageError: why it did not come to that.
        """
        self.file.prepare()
        if self.file.total is None or self.file.received < self.file.total:
            try:
                first_end = self._first_end()
                self._receive(client, first_end)
                if first_end is not None and self.file.received != self.file.total:
                    self._receive(client, None)
            except FetchError as error:
                raise self._reason(error)
            finally:
                self.waiting_since = None
        self.file.finish()

    def _first_end(self) -> Optional[int]:
        """Return where the first request ends: the byte behind the last one, None for all there is."""
        first_end = self._offset() + FIRST_BYTES
        return None if self._trusting or self.file.item.size is None or self.file.item.size <= first_end else first_end

    def _receive(self, client: Session, end: Optional[int]) -> None:
        """Fetch what is missing, or what of it comes before ``end``."""
        offset = self._offset()
        part = "bytes={}-{}".format(offset, "" if end is None else end - 1)
        headers = {"Range": part} if part != "bytes=0-" else {}
        url = self.source.url + quote(self.file.item.path, safe=_PATH_CHARACTERS)
        self._client = client
        self.waiting_since = self._clock()
        with client.open(url, self._limits, headers, accept=(200, 206, 416) if headers else (200,)) as stream:
            self._own(stream, offset, end)
            with WriterThread(self.file.take) as sink:
                for chunk in stream.chunks():
                    self.waiting_since = None
                    self.received += len(chunk)
                    sink.put(chunk)
                    self.waiting_since = self._clock()
        if end is None and self.file.item.size not in (None, self.file.received):
            raise FetchError("truncated", "{} of {} bytes arrived".format(self.file.received, self.file.item.size), where=url)

    def _offset(self) -> int:
        mine = self.file.origins in ([], [self.source.url])
        return self.file.received if mine or not self.file.alone else 0

    def _own(self, stream: Stream, offset: int, end: Optional[int]) -> None:
        """Hold the answer to its header; from here on the file is this transfer's, unless it was taken away meanwhile."""
        start = _check_header(stream, offset, end, self.file.item.size)
        with self._lock:
            if self.disowned:
                raise FetchError("timed-out", "given up")
            self.answered_at = self._clock()
        if start < self.file.received:
            self.restarted = True
            self.file.restart()
        if stream.status == 416:
            raise FetchError("http-status", "HTTP 416")
        length = stream.headers.get("content-length", "")
        if self.file.item.size is None and length.isdigit():
            self.file.total = start + int(length)
        if self.source.url not in self.file.origins:
            self.file.origins.append(self.source.url)

    def stop(self, leave: Leave) -> bool:
        """End the try from outside.

        Args:
            leave: the reason.

        Returns:
            True: it has not touched the file and never will: a worker that the system holds (a name that does not
            resolve, a connection that is not made) need not be waited for. False: the worker reports soon.
        """
        with self._lock:
            if self.waiting_since is None:
                return False
            self._leave = leave
            self.disowned = self.answered_at is None
            if self._client is not None:
                self._client.abort()
            return self.disowned

    @property
    def culprit(self) -> str:
        """The mirror that an outcome is about: wrong bytes that one alone gave are its, whoever was to give the rest."""
        return self.wrong_origins[0] if len(self.wrong_origins) == 1 else self.source.url

    @property
    def stopped(self) -> bool:
        """Whether ``stop`` has ended the client's connections."""
        return self._leave is not None

    def _reason(self, error: FetchError) -> FetchError:
        """Put the reason of ``stop`` in place of what the broken connection said."""
        if self._leave is None:
            return FetchError(error.reference, error.what, where=self.source.url)
        return FetchError(self._leave.reference, self._leave.what, where=self.source.url)

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
    """Return at which byte of the file an answer begins: ``offset`` or 0; refuse one that will not give what is missing.

    "Nothing there" (416) to a file of unknown size means that all has arrived, or that what has arrived is
    another file: it begins anew. ``end`` is as of ``Transfer._receive``; who does not know ranges sends the whole file.
    """
    start, expected_end = 0, size
    if stream.status == 416 and size is not None:
        raise FetchError("http-status", "HTTP 416")
    if stream.status == 206:
        start = offset
        first, last, total = _content_range(stream)
        if first != offset:
            raise FetchError("bad-answer", "a part of the file that was not asked for")
        _check_size(total, size)
        expected_end = total if end is None else end
        if last != expected_end - 1:
            raise FetchError("bad-answer", "another part of the file than was asked for")
    length = stream.headers.get("content-length", "")
    if size is not None and expected_end is not None and length.isdigit() and "transfer-encoding" not in stream.headers:
        _check_size(int(length), expected_end - start)
    return start


def _content_range(stream: Stream) -> Tuple[int, ...]:
    """Return the first and the last byte of a part, and the size of the whole file; bad-answer if they are not told."""
    match = _CONTENT_RANGE.match(stream.headers.get("content-range", ""))
    if match is None:
        raise FetchError("bad-answer", "a part of the file, and it does not say which")
    return tuple(int(digits) for digits in match.groups())


def _check_size(announced: int, expected: Optional[int]) -> None:
    if expected not in (None, announced):
        reference = "truncated" if announced < (expected or 0) else "too-large"
        raise FetchError(reference, "it announces {} bytes instead of {}".format(announced, expected))
