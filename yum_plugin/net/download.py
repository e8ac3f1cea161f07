"""Files from several mirrors at once: who gets which, when one is left, what is tried again where.

Rules, in order:
    1. Mirrors are asked in the order given, those that failed less first, the last resort last; at most ``PER_MIRROR``
       requests to one, ``OVERALL`` in all. A file waits for a mirror that did not fail rather than ask one that did.
    2. A mirror that fails, stalls, is slow (``rate.py``) or does not announce what the signed metadata says is left; the
       part that has arrived is kept, and the next mirror continues it (Range, RFC 9110 section 14). The checker goes on with it.
    3. Wrong bytes: all of the file is thrown away. A single mirror that gave them is not asked for it again; if several
       did, each gives the whole file alone from now on, so that the guilty one is told.
    4. Each mirror is tried ``ROUNDS`` times a file; a try that brought ``WORTHWHILE_BYTES`` does not count, as long as it
       went on from what was there: the file's size bounds those. Wrong bytes, a bad certificate, "404": not again.
"""
import queue
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import FetchError, MirrorsError, TrustError
from ..model import Network
from .fetch import FetchLimits, HttpSessions, OpenSession, Session
from .partial_file import disk_error, require_space
from .stall import HEDGE_SECONDS, Leave, RateRules, RateView, judge
from .transfer import EARLIER, Attempt, File, Item, Source, Transfer

OVERALL = 3  # as dnf's max_parallel_downloads: more only divides the host's line
PER_MIRROR = 2  # a volunteer's server; two hide the pause between two small files
ROUNDS = 2
WORTHWHILE_BYTES = 4 * 1024 * 1024
SESSION_SECONDS = 24 * 3600.0  # nothing goes on for longer
TICK_SECONDS = 0.1
HEARTBEAT_SECONDS = 2.0
MIN_MEASURED_BYTES = 64 * 1024
# A second try cannot mend these.
_LASTING = frozenset(["http-status", "redirect-refused", "too-large", "bad-answer",
                      "tls-expired", "tls-hostname", "tls-untrusted", "tls-incomplete"])


class Rules(NamedTuple):
    """What a download may cost."""

    minrate: int = 1000  # bytes per second; see rate.py
    timeout_seconds: float = 30.0  # of silence, where no other mirror is left
    hedge_seconds: float = HEDGE_SECONDS  # of silence, where another mirror is left
    connect_seconds: float = 3.0
    max_bytes: int = 16 * 1024 * 1024 * 1024  # of a file whose size is not known
    keep_parts: bool = False  # whether what has arrived of a file that failed stays for a later run; an interrupt keeps it always


class Fetched(NamedTuple):
    """What became of one item."""

    number: int  # its place among the items
    verdict: Any = None  # of the checker
    error: Optional[MirrorsError] = None  # None: the file is in its place, proven
    attempts: Tuple[Attempt, ...] = ()

    @property
    def bytes(self) -> int:
        """What arrived for it, over all tries."""
        return sum(attempt.bytes for attempt in self.attempts)


class Events(NamedTuple):
    """Who wants to know. ``progress`` and ``done`` are called by the caller's own thread, ``wrong`` by another, one at a time."""

    # its number, bytes so far, bytes in all (None: unknown), mirror; ten times a second at most, every two seconds at least
    progress: Callable[[int, int, Optional[int], str], None] = lambda number, received, total, mirror: None
    done: Callable[[Fetched], None] = lambda fetched: None
    # its number, path of what arrived (gone after the call), mirrors that gave it, why it is wrong
    wrong: Callable[[int, str, Tuple[str, ...], TrustError], None] = lambda number, path, mirrors, error: None


def download(items: Sequence[Item], sources: Sequence[Source], network: Network, rules: Rules = Rules(),
             events: Events = Events(), trusted_hosts: Tuple[str, ...] = (),
             open_session: Optional[OpenSession] = None) -> List[Fetched]:
    """Fetch files from proven mirrors, verified before they get their names.

    Args:
        items: what to fetch, each with a target of its own.
        sources: best first.
        network: how they are reached.
        rules: bounds.
        events: callbacks.
        trusted_hosts: see ``fetch.Client``.
        open_session: makes the sessions; those of this process if left out.

    Returns:
        One result an item, in the same order.

    Raises:
        UsageError: the TLS settings cannot be used, or there is not enough free space for all.
    """
    require_space((item.target, item.size) for item in items)
    open_ = open_session or HttpSessions().open
    workers = _Workers(lambda: open_(network, SESSION_SECONDS, trusted_hosts), events)
    return _Download(items, sources, rules, events, workers).run()


class _Workers:
    """Threads that run transfers, each with a session of its own whose connections live from file to file."""

    def __init__(self, open_session: Callable[[], Session], events: Events) -> None:
        self.results: "queue.Queue[Tuple[Transfer, Optional[Exception]]]" = queue.Queue()
        self._open = open_session
        self._jobs: "queue.Queue[Optional[Transfer]]" = queue.Queue()
        self._events = events
        self._wrong_lock = threading.Lock()
        self._clients: Dict[threading.Thread, Session] = {}
        self._threads: List[threading.Thread] = []
        self._dismissed = False

    def hire(self) -> None:
        """Add a thread.

        Raises:
            UsageError: no session can be had: the TLS settings cannot be used, or what makes them has died.
        """
        thread = threading.Thread(target=self._work, args=(self._open(),), daemon=True)
        self._threads.append(thread)
        thread.start()

    def start(self, transfer: Transfer) -> None:
        """Let the next free thread run a transfer; its result comes into ``results``."""
        self._jobs.put(transfer)

    def dismiss(self) -> None:
        """End all threads: those at rest by themselves, those in a read because their connection ends."""
        self._dismissed = True
        for _ in self._threads:
            self._jobs.put(None)
        for client in list(self._clients.values()):
            client.abort()

    def join(self, seconds: float) -> None:
        """Wait for the threads to end, for so long in all."""
        ends_at = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _work(self, first: Session) -> None:
        client: Optional[Session] = first
        while client is not None:
            with client:
                self._clients[threading.current_thread()] = client
                if self._serve(client):
                    return
            client = self._next_client()

    def _next_client(self) -> Optional[Session]:
        """Make another session; if none can be had, report that for every transfer there is, and return None."""
        try:
            return self._open()
        except MirrorsError as error:
            for transfer in iter(self._jobs.get, None):
                self.results.put((transfer, error))
            return None

    def _serve(self, client: Session) -> bool:
        """Run transfers until one fails, for its connection is spoilt then; return True when there are no more."""
        while True:
            transfer = self._jobs.get()
            if transfer is None or self._dismissed:
                return True
            error = self._run(transfer, client)
            if transfer.disowned:
                return True  # another thread was hired in place of this one
            self.results.put((transfer, error))
            if error is not None or transfer.stopped:
                return False

    def _run(self, transfer: Transfer, client: Session) -> Optional[Exception]:
        try:
            transfer.run(client)
        except TrustError as error:
            return self._throw_away(transfer, error)
        except OSError as error:
            return disk_error(error, transfer.file.spool.path)
        except Exception as error:  # the scheduler hands it to the caller
            return error
        return None

    def _throw_away(self, transfer: Transfer, wrong: TrustError) -> Exception:
        file = transfer.file
        transfer.wrong_origins = tuple(file.origins)
        try:
            if EARLIER not in file.origins:
                with self._wrong_lock:
                    self._events.wrong(file.number, file.spool.path, transfer.wrong_origins, wrong)
            file.throw_away()
        except Exception as error:  # as in _run
            return error
        return wrong


class _Download:
    """The scheduler: runs in the caller's thread, decides, watches, tells."""

    def __init__(self, items: Sequence[Item], sources: Sequence[Source], rules: Rules, events: Events, workers: _Workers) -> None:
        self._sources = list(sources)
        self._rules = rules
        self._rate_rules = RateRules(rules.minrate, rules.timeout_seconds, rules.hedge_seconds)
        self._events = events
        self._workers = workers
        self._files = [File(index, item, rules.max_bytes) for index, item in enumerate(items)]
        self._pending = list(self._files)
        self._active: List[Transfer] = []
        self._strikes: Dict[str, int] = {source.url: 0 for source in sources}
        self._kept_word: Set[str] = set()  # mirrors that gave a file, whole and right
        self._rates: Dict[str, float] = {source.url: source.rate for source in sources}
        self._results: Dict[int, Fetched] = {}
        self._told: Dict[int, Tuple[int, float]] = {}  # bytes and time of the last progress event

    def run(self) -> List[Fetched]:
        """Work until every item has a result."""
        for _ in self._files[:OVERALL]:
            self._workers.hire()
        try:
            self._fill()
            while self._active:
                self._next()
                self._fill()
        finally:
            self._workers.dismiss()
            if self._active:  # an interrupt: what has arrived stays, and the threads must not write to it any more
                self._workers.join(self._rules.connect_seconds)
            for file in self._files:
                file.spool.end(keep=True)
        return [self._results[file.number] for file in self._files]

    def _fill(self) -> None:
        """Start what can be started; give up what nobody is left for."""
        busy = False  # what is true of one file that was not tried yet is true of all of them
        for file in list(self._pending):
            if len(self._active) >= OVERALL:
                return
            if busy and not file.tries:
                continue
            candidates = self._candidates(file)
            free = [source for source in candidates if self._load(source) < self._room(source)]
            if not candidates:
                self._pending.remove(file)
                self._conclude(file, file.error or FetchError("unreachable", "no mirror is known", where=file.item.path))
            elif free:
                self._pending.remove(file)
                self._start(file, free[0])
            else:
                busy = busy or not file.tries

    def _may_be_asked(self, file: File) -> List[Source]:
        return [source for source in self._sources if source.url not in file.out and file.tries.get(source.url, 0) < ROUNDS]

    def _candidates(self, file: File) -> List[Source]:
        """Return the mirrors that are best to ask next, all of them equally good but for their order."""
        def standing(source: Source) -> Tuple[int, bool, int]:
            return (file.tries.get(source.url, 0), source.last_resort, self._strikes[source.url])

        usable = self._may_be_asked(file)
        best = min((standing(source) for source in usable), default=None)
        return [source for source in usable if standing(source) == best]

    def _load(self, source: Source) -> int:
        return sum(1 for transfer in self._active if transfer.source.url == source.url)

    def _room(self, source: Source) -> int:
        """How many transfers a mirror may have at once: one until it has given a whole file, for all would share its fault."""
        return PER_MIRROR if source.url in self._kept_word else 1

    def _start(self, file: File, source: Source) -> None:
        file.tries[source.url] = file.tries.get(source.url, 0) + 1
        limits = FetchLimits(file.cap, self._rules.connect_seconds, self._rules.timeout_seconds)
        transfer = Transfer(file, source, limits, trusting=source.url in self._kept_word)
        self._active.append(transfer)
        self._workers.start(transfer)

    def _next(self) -> None:
        """Wait for a result, a tick at most; look after those under way."""
        try:
            transfer, error = self._workers.results.get(timeout=TICK_SECONDS)
        except queue.Empty:
            pass
        else:
            self._ended(transfer, error)
        now = time.monotonic()
        for transfer in list(self._active):
            self._watch(transfer, now)
            self._tell(transfer, now)

    def _watch(self, transfer: Transfer, now: float) -> None:
        rate, long_rate = transfer.measure(now)
        self._measured(transfer.source, rate)
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
            moves=transfer.file.moves)
        leave = judge(view, self._rate_rules)
        if leave is not None and transfer.stop(leave):
            self._workers.hire()
            self._ended(transfer, _error_of(leave, transfer))

    def _measured(self, source: Source, rate: Optional[float]) -> None:
        self._rates[source.url] = max(self._rates[source.url], rate or 0.0)

    def _ended(self, transfer: Transfer, error: Optional[Exception]) -> None:
        """Take a result: conclude the file, or put it first in the queue again."""
        self._active.remove(transfer)
        file = transfer.file
        if error is not None and not isinstance(error, MirrorsError):
            raise error
        if isinstance(error, TrustError) and EARLIER in transfer.wrong_origins:
            file.tries[transfer.source.url] -= 1  # what an earlier run left was wrong, or did not fit: nobody's fault, once
            self._pending.insert(0, file)
            return
        mirror = transfer.culprit
        file.attempts.append(Attempt(mirror, error.reference if error else "ok", error.what if error else "", transfer.received))
        if error is None:
            self._kept_word.add(transfer.source.url)
            self._credit(transfer)
            self._conclude(file, None)
        elif isinstance(error, (FetchError, TrustError)):
            self._strikes[mirror] += 1
            self._blame(transfer, error)
            self._pending.insert(0, file)
        else:
            self._conclude(file, error)

    def _credit(self, transfer: Transfer) -> None:
        """Remember how fast a mirror gave a file that was too quick for the watch."""
        if transfer.answered_at is not None and transfer.received >= MIN_MEASURED_BYTES:
            seconds = max(TICK_SECONDS, time.monotonic() - transfer.answered_at)
            self._measured(transfer.source, transfer.received / seconds)

    def _blame(self, transfer: Transfer, error: MirrorsError) -> None:
        """Draw the consequences of a failure for the file."""
        file, mirror = transfer.file, transfer.culprit
        if isinstance(error, TrustError):
            if len(transfer.wrong_origins) > 1:
                file.alone = True
            else:
                file.out.add(mirror)
            file.error = error
            return
        if not isinstance(file.error, TrustError):
            file.error = error
        if error.reference in _LASTING:
            file.out.add(mirror)
        if error.reference == "timed-out":
            file.moves += 1
        if transfer.received >= WORTHWHILE_BYTES and not (file.alone or transfer.restarted):
            file.tries[mirror] -= 1

    def _conclude(self, file: File, error: Optional[MirrorsError]) -> None:
        """Hand over a file's result."""
        file.spool.end(keep=self._rules.keep_parts and isinstance(error, FetchError))
        fetched = Fetched(file.number, file.verdict if error is None else None, error, tuple(file.attempts))
        self._results[file.number] = fetched
        self._events.done(fetched)

    def _tell(self, transfer: Transfer, now: float) -> None:
        """Tell the progress of a transfer where it is news, or where nothing was told for long."""
        file = transfer.file
        told, told_at = self._told.get(file.number, (-1, 0.0))
        silent_seconds = now - told_at
        if (file.received != told and silent_seconds >= TICK_SECONDS) or silent_seconds >= HEARTBEAT_SECONDS:
            self._told[file.number] = (file.received, now)
            self._events.progress(file.number, file.received, file.total, transfer.source.url)


def _error_of(leave: Leave, transfer: Transfer) -> FetchError:
    return FetchError(leave.reference, leave.what, where=transfer.source.url)
