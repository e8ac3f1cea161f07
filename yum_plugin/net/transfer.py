"""One try to fetch the rest of one file from one mirror; the bytes are checked while they arrive.

It runs in a thread of ``download.py``, whose scheduler watches it and may end it from outside.
"""
import threading
import time
from typing import Callable, Optional, Tuple

from ..errors import FetchError
from ..util.text import whole_number
from ..util.urls import quoted_path
from .answer import start_of_answer
from .file_download import FileDownload
from .items import Source
from .session import NO_RANGE, FetchLimits, Session, Stream
from .spans import Part
from .stall import LONG_WINDOW_SECONDS, WINDOW_SECONDS, RateMeter
from .writer_thread import WriterThread

FIRST_BYTES = 1024 * 1024  # asked first of a mirror that has not sent a good file yet
MIN_MEASURED_BYTES = 64 * 1024  # a smaller file says more about the answer's delay than about the speed
MIN_SECONDS = 0.1  # the scheduler's tick: what took less is not known better
EARLY_SECONDS = 0.1  # after these the first guess is made whether another mirror should help
SLOW_SECONDS = 0.25  # what has not sent MIN_MEASURED_BYTES by then is slow, or far away


class Transfer:
    """One try.

    Args:
        file: that is to be completed.
        part: of it, which this one fetches.
        source: that is asked.
        limits: time-outs; the byte limit is the file's own.
        is_reliable: the mirror has sent a good file before. Any other is first asked for ``FIRST_BYTES`` of a larger file: the
            header of the answer shows whether the mirror's file has another size, and few bytes have been sent in vain.
        clock: monotonic seconds.
    """

    def __init__(self, file: FileDownload, part: Part, source: Source, limits: FetchLimits, is_reliable: bool = True,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.file = file
        self.part = part
        part.owned = True
        self.source = source
        self._is_reliable = is_reliable
        self.abandoned = False  # the scheduler has given the part to another transfer
        self.answered_at: Optional[float] = None
        self.answer_seconds = 0.0  # from the request to the answer's header; 0: there was none yet
        self.waiting_since: Optional[float] = None  # None: not waiting for the mirror
        self.restarted = False
        self.knows_no_ranges = False  # it sends whole files only
        self.cut_short = False  # not all of the answer was read
        self.wrong_origins: Tuple[str, ...] = ()  # FileDownload.suspects when the checker refused
        self.received = 0
        self.passed = 0  # the byte behind the last one that arrived; it may not be written yet
        self.rate = 0.0  # bytes per second, as far as it is known
        self.heard_at: Optional[float] = None  # when something has last arrived
        self.meters: Tuple[RateMeter, ...] = ()
        self._limits = limits._replace(max_bytes=file.max_bytes)
        self._clock = clock
        self._lock = threading.Lock()
        self._stop_reason: Optional[FetchError] = None
        self._session: Optional[Session] = None

    def run(self, session: Session) -> None:
        """Fetch and check the part; name the file if it was the last one.

        Raises:
            FetchError, TrustError, UsageError: the reason why it failed.
        """
        self.file.prepare(self.part)
        if not self.part.complete:
            try:
                first_end = self._first_end()
                self._receive(session, first_end)
                if first_end is not None and not (self.part.complete or self.part.dropped):
                    self._receive(session, None)
            except FetchError as error:
                reason = self._stop_reason or error  # rather than what the broken connection said
                raise FetchError(reason.reference, reason.what, where=self.source.url)
            finally:
                self.waiting_since = None
        self.file.finish(self.part)

    def _first_end(self) -> Optional[int]:
        """Return the end of the first request: the byte behind its last one, None for the whole rest."""
        first_end, end = self._offset() + FIRST_BYTES, self.part.end
        return None if self._is_reliable or self.file.item.size is None or end is None or end <= first_end else first_end

    def _receive(self, session: Session, first_end: Optional[int]) -> None:
        """Fetch the missing bytes of the part, or those of them before ``first_end``."""
        offset, end = self._offset(), first_end if first_end is not None or not self.part.bounded else self.part.end
        asked = "bytes={}-{}".format(offset, "" if end is None else end - 1)
        headers = {"Range": asked} if asked != "bytes=0-" else {}
        asked_at = self._clock()
        url = self.source.url + quoted_path(self.file.item.path)
        self._session = session
        self.waiting_since = asked_at
        with session.open(url, self._limits, headers, accept=(200, 206) + NO_RANGE if headers else (200,)) as stream:
            wants_none = stream.status in NO_RANGE and not self.file.in_parts  # but it may have the file
            if not wants_none:
                self._take(stream, offset, end, asked_at)
        if wants_none:
            with session.open(url, self._limits) as stream:
                self._take(stream, offset, None, asked_at)
        if self.part.end is None:
            self.part.end = self.file.total = self.part.position
        if first_end is None and not (self.part.complete or self.part.dropped):
            raise FetchError("truncated", "{} of {} bytes arrived".format(self.part.position, self.part.end), where=url)

    def _take(self, stream: Stream, offset: int, end: Optional[int], asked_at: float) -> None:
        self._accept(stream, offset, end)
        self.answer_seconds = max(self.answer_seconds, self._clock() - asked_at)
        self._read(stream, end if stream.status == 206 else None)

    def _read(self, stream: Stream, end: Optional[int]) -> None:
        """Store the body, which ends before ``end``; what another transfer has been given meanwhile is not read."""
        part, self.passed = self.part, self.part.position
        with WriterThread(lambda chunk: self.file.store(part, chunk, self.source.url)) as writer:
            for chunk in stream.chunks():
                self.waiting_since = None
                self.received += len(chunk)
                self.passed += len(chunk)
                writer.put(chunk)
                self.waiting_since = self.heard_at = self._clock()
                if part.dropped or part.bounded and part.end is not None and part.end != end and self.passed >= part.end:
                    self.cut_short = True
                    return

    def _offset(self) -> int:
        file = self.file
        mine = file.spans.origins() in ((), (self.source.url,))
        return self.part.position if mine or not file.single_source else 0

    def _accept(self, stream: Stream, offset: int, end: Optional[int]) -> None:
        """Check the answer's header; from here on only this transfer writes to the part, unless it was abandoned meanwhile."""
        alone = not self.file.in_parts
        try:
            start = start_of_answer(stream, offset, end, self.file.item.size if alone else self.file.total)
            if not alone and start != offset:
                raise FetchError("bad-answer", "the whole file in place of a part")
        except FetchError as error:
            of_parts = stream.status != 206 or error.reference == "bad-answer" or self.file.item.size is None
            self.knows_no_ranges = of_parts and not alone
            raise
        with self._lock:
            if self.abandoned:
                raise FetchError("timed-out", "given up")
            self.answered_at = self.heard_at = self._clock()
        if start < self.part.position:
            self.restarted = True
            self.file.restart(self.part)
        length = whole_number(stream.headers.get("content-length", ""))
        if self.part.end is None and length is not None:
            self.part.end = self.file.total = start + length

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
        rate = self.meters[0].rate()
        if rate is not None:
            self.rate = rate
        elif now - self.answered_at >= EARLY_SECONDS:
            self.end_measure(now)
        return rate, self.meters[1].rate()

    def end_measure(self, now: float) -> None:
        """Note the rate of a try that was done before its window was full."""
        unmeasured = not self.meters or self.meters[0].rate() is None
        if self.answered_at is None or not unmeasured:
            return
        if self.received >= MIN_MEASURED_BYTES or now - self.answered_at >= SLOW_SECONDS:
            self.rate = max(1, self.received) / max(MIN_SECONDS, now - self.answered_at)
