"""Downloads of several files from several mirrors at once: which mirror sends which file, and what is tried again where.

Rules, in order:
    1. Mirrors are asked in the given order; those that failed less often come first, the last resort comes last. One mirror
       gets at most ``PER_MIRROR`` requests at a time, all together at most ``OVERALL``. A file waits for a mirror that did
       not fail rather than ask one that did.
    2. A mirror is left when it fails, stalls or is slow (``stall.py``), or announces another size than the signed metadata.
       The part that has arrived is kept, and the next mirror continues it (Range, RFC 9110 section 14); so does the checker.
    3. After wrong bytes the whole file is discarded. If a single mirror sent them, it is not asked for the file again; if
       several did, the file comes from one mirror alone from now on, so that the bad one can be found.
    4. Each mirror is tried ``ROUNDS`` times for a file. A try that brought ``WORTHWHILE_BYTES`` does not count if it
       continued the file: the file's size limits how many there can be. After wrong bytes, a bad certificate or "404" the
       mirror is not tried again.
"""
import queue
import threading
import time
from collections import Counter
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import FetchError, MirrorsError, TrustError
from ..model import Network
from .partial_file import disk_error, require_space
from .session import FetchLimits, OpenSession, Session
from .stall import HEDGE_SECONDS, RateRules, RateView, stop_reason
from .transfer import EARLIER, Attempt, FileDownload, Item, Source, Transfer

OVERALL = 3  # dnf's default for max_parallel_downloads; more only divide the bandwidth of the host
PER_MIRROR = 2  # mirrors are run by volunteers; two requests hide the pause between two small files
ROUNDS = 2  # rule 4
WORTHWHILE_BYTES = 4 * 1024 * 1024  # rule 4
SESSION_SECONDS = 24 * 3600.0  # no download takes longer
TICK_SECONDS = 0.1  # between two checks of the pace; a fifth of stall.py:WINDOW_SECONDS
HEARTBEAT_SECONDS = 2.0  # far below plugins/bridge.py:IDLE_SECONDS, after which the engine counts as dead
MIN_MEASURED_BYTES = 64 * 1024  # a smaller file says more about the answer's delay than about the speed
# These cannot be fixed by a second try.
_LASTING = frozenset(["http-status", "redirect-refused", "too-large", "bad-answer",
                      "tls-expired", "tls-hostname", "tls-untrusted", "tls-incomplete"])


class Rules(NamedTuple):
    """The limits of a download."""

    minrate: int = 1000  # bytes per second; see stall.py
    timeout_seconds: float = 30.0  # without a byte, if no other mirror is left
    hedge_seconds: float = HEDGE_SECONDS  # without a byte, if another mirror is left
    connect_seconds: float = 3.0
    max_bytes: int = 16 * 1024 * 1024 * 1024  # of a file whose size is not known
    keep_parts: bool = False  # keep the part of a file that failed for a later run; after an interrupt it is always kept


class Fetched(NamedTuple):
    """The result of one item."""

    number: int  # of the item in the caller's list
    verdict: Any = None  # of the checker
    error: Optional[MirrorsError] = None  # None: the file is at its target, proven
    attempts: Tuple[Attempt, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes that arrived in all tries."""
        return sum(attempt.bytes for attempt in self.attempts)


class Events(NamedTuple):
    """Callbacks. ``progress`` and ``done`` are called in the caller's thread, ``wrong`` in others, but one at a time."""

    # number of the item, bytes so far, bytes in all (None: unknown), mirror; ten times a second to every two seconds
    progress: Callable[[int, int, Optional[int], str], None] = lambda number, received, total, mirror: None
    done: Callable[[Fetched], None] = lambda fetched: None
    # number of the item, path of the wrong file (removed after the call), mirrors that sent it, what is wrong
    wrong: Callable[[int, str, Tuple[str, ...], TrustError], None] = lambda number, path, mirrors, error: None


def download(items: Sequence[Item], sources: Sequence[Source], network: Network, rules: Rules = Rules(),
             events: Events = Events(),
             open_session: Optional[OpenSession] = None) -> List[Fetched]:
    """Fetch files from proven mirrors; they are verified before they get their names.

    Args:
        items: what to fetch, each with a target of its own.
        sources: best first.
        network: how they are reached.
        rules: limits.
        events: callbacks.
        open_session: makes the sessions; None: this process does.

    Returns:
        One result for each item, in the same order.

    Raises:
        UsageError: the TLS settings cannot be used, or there is not enough free space for all.
    """
    require_space((item.target, item.size) for item in items)
    if open_session is None:
        from .fetch import HttpSessions  # late: a process that keeps root has another one do this
        open_session = HttpSessions().open
    open_ = open_session
    workers = _Workers(lambda: open_(network, SESSION_SECONDS), events)
    return _Download(items, sources, rules, events, workers).run()


class _Workers:
    """Threads that run transfers, each with its own session, whose connections are used for several files."""

    def __init__(self, open_session: Callable[[], Session], events: Events) -> None:
        self.results: "queue.Queue[Tuple[Transfer, Optional[Exception]]]" = queue.Queue()
        self._open = open_session
        self._jobs: "queue.Queue[Optional[Transfer]]" = queue.Queue()
        self._events = events
        self._wrong_lock = threading.Lock()
        self._sessions: Dict[threading.Thread, Session] = {}
        self._threads: List[threading.Thread] = []
        self._stopped = False

    def add_thread(self) -> None:
        """Add a thread.

        Raises:
            UsageError: no session can be opened: the TLS settings cannot be used, or the process that opens them has died.
        """
        thread = threading.Thread(target=self._work, args=(self._open(),), daemon=True)
        self._threads.append(thread)
        thread.start()

    def start(self, transfer: Transfer) -> None:
        """Let the next free thread run a transfer, which ends up in ``results``."""
        self._jobs.put(transfer)

    def stop(self) -> None:
        """End all threads: idle ones by an empty job, reading ones by ending their connection."""
        self._stopped = True
        for _ in self._threads:
            self._jobs.put(None)
        for session in list(self._sessions.values()):
            session.abort()

    def join(self, seconds: float) -> None:
        """Wait for the threads to end, at most so long for all of them."""
        ends_at = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _work(self, first: Session) -> None:
        session: Optional[Session] = first
        while session is not None:
            with session:
                self._sessions[threading.current_thread()] = session
                if self._serve(session):
                    return
            session = self._next_session()

    def _next_session(self) -> Optional[Session]:
        """Open another session; if that fails, report the error for every waiting transfer and return None."""
        try:
            return self._open()
        except MirrorsError as error:
            for transfer in iter(self._jobs.get, None):
                self.results.put((transfer, error))
            return None

    def _serve(self, session: Session) -> bool:
        """Run transfers until one fails, which makes its connection unusable; return True if there are no more."""
        while True:
            transfer = self._jobs.get()
            if transfer is None or self._stopped:
                return True
            error = self._run(transfer, session)
            if transfer.abandoned:
                return True  # another thread has been added in place of this one
            self.results.put((transfer, error))
            if error is not None or transfer.stopped:
                return False

    def _run(self, transfer: Transfer, session: Session) -> Optional[Exception]:
        try:
            transfer.run(session)
        except TrustError as error:
            return self._discard(transfer, error)
        except OSError as error:
            return disk_error(error, transfer.file.partial.path)
        except Exception as error:  # the scheduler raises it in the caller's thread
            return error
        return None

    def _discard(self, transfer: Transfer, wrong: TrustError) -> Exception:
        file = transfer.file
        transfer.wrong_origins = tuple(file.origins)
        try:
            if EARLIER not in file.origins:
                with self._wrong_lock:
                    self._events.wrong(file.number, file.partial.path, transfer.wrong_origins, wrong)
            file.discard()
        except Exception as error:  # as in _run
            return error
        return wrong


class _Download:
    """The scheduler: runs in the caller's thread, starts and stops transfers, and reports the progress."""

    def __init__(self, items: Sequence[Item], sources: Sequence[Source], rules: Rules, events: Events, workers: _Workers) -> None:
        self._sources = list(sources)
        self._rules = rules
        self._rate_rules = RateRules(rules.minrate, rules.timeout_seconds, rules.hedge_seconds)
        self._events = events
        self._workers = workers
        self._files = [FileDownload(index, item, rules.max_bytes) for index, item in enumerate(items)]
        self._pending = list(self._files)
        self._active: List[Transfer] = []
        self._failures: Dict[str, int] = {source.url: 0 for source in sources}
        self._reliable: Set[str] = set()  # mirrors that have sent a whole file, and a right one
        self._rates: Dict[str, float] = {source.url: source.rate for source in sources}
        self._results: Dict[int, Fetched] = {}
        self._reported: Dict[int, Tuple[int, float]] = {}  # bytes and time of the last progress event

    def run(self) -> List[Fetched]:
        """Work until every item has a result."""
        for _ in self._files[:OVERALL]:
            self._workers.add_thread()
        try:
            self._start_transfers()
            while self._active:
                self._wait()
                self._start_transfers()
        finally:
            self._workers.stop()
            if self._active:  # an interrupt: partial files are kept, and the threads must not write to them any more
                self._workers.join(self._rules.connect_seconds)
            for file in self._files:
                file.partial.end(keep=True)
        return [self._results[file.number] for file in self._files]

    def _start_transfers(self) -> None:
        """Start what can be started; conclude the files that no mirror is left for."""
        busy = False  # if all mirrors are busy for one untried file, they are for every other: no need to look again
        for file in list(self._pending):
            if len(self._active) >= OVERALL:
                return
            if busy and not file.tries:
                continue
            candidates = self._candidates(file)
            loads = Counter(transfer.source.url for transfer in self._active)
            # one transfer at a time until the mirror has sent a good file: all of them would share its fault
            free = [source for source in candidates if loads[source.url] < (PER_MIRROR if source.url in self._reliable else 1)]
            if not candidates:
                self._pending.remove(file)
                self._conclude(file, file.error or FetchError("unreachable", "no mirror is known", where=file.item.path))
            elif free:
                self._pending.remove(file)
                self._start(file, free[0])
            else:
                busy = busy or not file.tries

    def _may_be_asked(self, file: FileDownload) -> List[Source]:
        return [source for source in self._sources if source.url not in file.excluded and file.tries.get(source.url, 0) < ROUNDS]

    def _candidates(self, file: FileDownload) -> List[Source]:
        """Return the mirrors that are best to ask next, all of them equally good but for their order."""
        def standing(source: Source) -> Tuple[int, bool, int]:
            return (file.tries.get(source.url, 0), source.last_resort, self._failures[source.url])

        usable = self._may_be_asked(file)
        best = min((standing(source) for source in usable), default=None)
        return [source for source in usable if standing(source) == best]

    def _start(self, file: FileDownload, source: Source) -> None:
        file.tries[source.url] = file.tries.get(source.url, 0) + 1
        limits = FetchLimits(file.max_bytes, self._rules.connect_seconds, self._rules.timeout_seconds)
        transfer = Transfer(file, source, limits, is_reliable=source.url in self._reliable)
        self._active.append(transfer)
        self._workers.start(transfer)

    def _wait(self) -> None:
        """Wait for a result, at most one tick; then check the running transfers."""
        try:
            transfer, error = self._workers.results.get(timeout=TICK_SECONDS)
        except queue.Empty:
            pass
        else:
            self._ended(transfer, error)
        now = time.monotonic()
        for transfer in list(self._active):
            self._check_pace(transfer, now)
            self._report_progress(transfer, now)

    def _check_pace(self, transfer: Transfer, now: float) -> None:
        rate, long_rate = transfer.measure(now)
        self._note_rate(transfer.source, rate)
        since = transfer.waiting_since
        others = [source for source in self._may_be_asked(transfer.file) if source.url != transfer.source.url]
        mine = transfer.file.tries[transfer.source.url]
        untried = [source for source in others if transfer.file.tries.get(source.url, 0) < mine]
        view = RateView(
            idle_seconds=now - since if since is not None else 0.0,
            answered=transfer.answered_at is not None,
            rate=rate,
            long_rate=long_rate,
            answer_seconds=transfer.source.answer_seconds,
            untried=bool(untried),
            unmeasured=any(not self._rates[source.url] for source in untried),
            best_rate=max((self._rates[source.url] for source in others), default=0.0),
            switches=transfer.file.switches)
        reason = stop_reason(view, self._rate_rules)
        if reason is not None and transfer.stop(reason):
            self._workers.add_thread()
            self._ended(transfer, FetchError(reason.reference, reason.what, where=transfer.source.url))

    def _note_rate(self, source: Source, rate: Optional[float]) -> None:
        self._rates[source.url] = max(self._rates[source.url], rate or 0.0)

    def _ended(self, transfer: Transfer, error: Optional[Exception]) -> None:
        """Handle a result: conclude the file, or put it at the head of the queue again."""
        self._active.remove(transfer)
        file = transfer.file
        if error is not None and not isinstance(error, MirrorsError):
            raise error
        if isinstance(error, TrustError) and EARLIER in transfer.wrong_origins:
            file.tries[transfer.source.url] -= 1  # the part of an earlier run was wrong, or did not fit: no mirror's fault
            self._pending.insert(0, file)
            return
        mirror = transfer.culprit
        file.attempts.append(Attempt(mirror, error.reference if error else "ok", error.what if error else "", transfer.received))
        if error is None:
            self._reliable.add(transfer.source.url)
            self._note_speed(transfer)
            self._conclude(file, None)
        elif isinstance(error, (FetchError, TrustError)):
            self._failures[mirror] += 1
            self._blame(transfer, error)
            self._pending.insert(0, file)
        else:
            self._conclude(file, error)

    def _note_speed(self, transfer: Transfer) -> None:
        """Remember how fast a mirror sent a file that was done before its rate could be measured."""
        if transfer.answered_at is not None and transfer.received >= MIN_MEASURED_BYTES:
            seconds = max(TICK_SECONDS, time.monotonic() - transfer.answered_at)
            self._note_rate(transfer.source, transfer.received / seconds)

    def _blame(self, transfer: Transfer, error: MirrorsError) -> None:
        """Decide what a failure means for the next tries of the file."""
        file, mirror = transfer.file, transfer.culprit
        if isinstance(error, TrustError):
            if len(transfer.wrong_origins) > 1:
                file.single_source = True
            else:
                file.excluded.add(mirror)
            file.error = error
            return
        if not isinstance(file.error, TrustError):
            file.error = error
        if error.reference in _LASTING:
            file.excluded.add(mirror)
        if error.reference == "timed-out":
            file.switches += 1
        if transfer.received >= WORTHWHILE_BYTES and not (file.single_source or transfer.restarted):
            file.tries[mirror] -= 1

    def _conclude(self, file: FileDownload, error: Optional[MirrorsError]) -> None:
        """Close a file and report its result."""
        file.partial.end(keep=self._rules.keep_parts and isinstance(error, FetchError))
        fetched = Fetched(file.number, file.verdict if error is None else None, error, tuple(file.attempts))
        self._results[file.number] = fetched
        self._events.done(fetched)

    def _report_progress(self, transfer: Transfer, now: float) -> None:
        """Report the progress of a transfer if it has changed, or if nothing was reported for long."""
        file = transfer.file
        reported, reported_at = self._reported.get(file.number, (-1, 0.0))
        silent_seconds = now - reported_at
        if (file.received != reported and silent_seconds >= TICK_SECONDS) or silent_seconds >= HEARTBEAT_SECONDS:
            self._reported[file.number] = (file.received, now)
            self._events.progress(file.number, file.received, file.total, transfer.source.url)
