"""Downloads of several files from several mirrors at once: which mirror sends which file, and what is tried again where.

Rules, in order (which mirror sends which part of which file: ``assignment.py``):
    1. One mirror gets at most ``PER_MIRROR`` requests at a time, all together at most ``OVERALL``.
    2. A mirror is left when it fails, stalls or is slow (``stall.py``), or announces another size than the signed metadata.
       The part that has arrived is kept, and the next mirror continues it (Range, RFC 9110 section 14); so does the checker.
       One that sends the whole file in place of a part is asked for whole files only.
    3. After wrong bytes of a single mirror the file is discarded, and that mirror is not asked for it again. If several sent
       them, the bytes of one after the other are fetched again from others, those of the least first, until the file is
       right: that one sent the wrong ones. If this does not help, the file comes from one mirror alone from now on.
    4. Each mirror is tried ``ROUNDS`` times for a file. A try that brought its part, or ``WORTHWHILE_BYTES`` and continued the
       file, does not count: the file's size limits how many there can be. After wrong bytes, a bad certificate or "404" the
       mirror is not tried again.
    5. Where the host's own line is away (``stall.py`` rule 4) the tries since then do not count.
"""
import queue
import time
from collections import Counter
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import FetchError, MirrorsError, TrustError
from ..model import Network
from .assignment import MirrorLoad, Running, next_cut, next_mirror
from .file_download import FileDownload
from .items import EARLIER, LEFT, Attempt, Item, Source
from .own_line import OwnLine
from .partial_file import require_space
from .session import FetchLimits, OpenSession
from .spans import Part
from .stall import HEDGE_SECONDS, RateRules, RateView, is_silence, stop_reason
from .transfer import Transfer
from .workers import Workers

OVERALL = 3  # dnf's default for max_parallel_downloads; more only divide the bandwidth of the host
PER_MIRROR = 2  # mirrors are run by volunteers; two requests hide the pause between two small files
ROUNDS = 2  # rule 4
WORTHWHILE_BYTES = 4 * 1024 * 1024  # rule 4
SESSION_SECONDS = 24 * 3600.0  # no download takes longer
TICK_SECONDS = 0.05  # between two checks of the pace; a tenth of stall.py:WINDOW_SECONDS
PROGRESS_SECONDS = 0.1  # between two reports of a file's progress
HEARTBEAT_SECONDS = 2.0  # far below plugins/bridge.py:IDLE_SECONDS, after which the engine counts as dead
PAUSE_SECONDS = 1.0  # between two rounds while the line is away
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
    workers = Workers(lambda: open_(network, SESSION_SECONDS),
                      lambda file, error: events.wrong(file.number, file.partial.path, file.suspects(), error))
    return _Download(items, sources, rules, events, workers).run()


class _Download:
    """The scheduler: runs in the caller's thread, starts and stops transfers, and reports the progress."""

    def __init__(self, items: Sequence[Item], sources: Sequence[Source], rules: Rules, events: Events, workers: Workers) -> None:
        self._sources = {source.url: source for source in sources}
        self._rules = rules
        self._rate_rules = RateRules(rules.minrate, rules.timeout_seconds, rules.hedge_seconds)
        self._events = events
        self._workers = workers
        self._files = [FileDownload(index, item, rules.max_bytes) for index, item in enumerate(items)]
        self._unfinished = sum(file.item.size or 0 for file in self._files)  # bytes of the files without a result
        self._pending = list(self._files)  # those with a part that nobody fetches
        self._active: List[Transfer] = []
        self._failures: Dict[str, int] = {source.url: 0 for source in sources}
        self._reliable: Set[str] = set()  # mirrors that have sent a whole file, and a right one
        self._whole_only: Set[str] = set()  # mirrors without ranges
        self._rates: Dict[str, float] = {source.url: source.rate for source in sources}
        self._answers: Dict[str, float] = {}  # what the slowest answer of each has taken, in seconds
        self._line = OwnLine()
        self._resume_at = 0.0  # the own line is away: nobody is asked before
        self._results: Dict[int, Fetched] = {}
        self._reported: Dict[int, Tuple[int, float]] = {}  # bytes and time of the last progress event

    def run(self) -> List[Fetched]:
        """Work until every item has a result."""
        try:
            self._start_transfers()
            while self._active or self._pending:
                self._wait()
                self._start_transfers()
        finally:
            self._workers.stop()
            if self._active:  # an interrupt: partial files are kept, and the threads must not write to them any more
                self._workers.join(self._rules.connect_seconds)
            for file in self._files:
                file.end(keep=True)
        return [self._results[file.number] for file in self._files]

    def _start_transfers(self) -> None:
        """Start what can be started; conclude the files that no mirror is left for."""
        if time.monotonic() < self._resume_at:
            return
        busy = False  # if all mirrors are busy for one untried file, they are for every other: no need to look again
        for file in list(self._pending):
            if len(self._active) >= OVERALL:
                return
            if busy and not file.tries:
                continue
            part = file.unowned()
            if part is not None:
                is_any, url = next_mirror(self._choices(file), part.missing, self._missing())
                if url is not None:
                    self._start(file, part, url)
                elif is_any:
                    busy = busy or not file.tries
                elif not any(transfer.file is file for transfer in self._active):
                    self._give_up(file)
            if file.unowned() is None and file.number not in self._results:
                self._pending.remove(file)
        if not self._pending:
            self._share_out()

    def _missing(self) -> int:
        """Return the bytes that are still to come, as far as sizes are known."""
        return self._unfinished - sum(file.received for file in {transfer.file for transfer in self._active})

    def _may_be_asked(self, file: FileDownload, whole: bool = False) -> List[Source]:
        """Return the mirrors that are left for a file, or for all of it at once."""
        in_parts = file.in_parts and not whole
        usable = [source for url, source in self._sources.items()
                  if url not in file.excluded and file.tries.get(url, 0) < ROUNDS
                  and not (in_parts and url in self._whole_only) and (whole or url != file.repairing)]
        if not file.repairing or whole:
            return usable
        return [source for source in usable if source.url not in file.spans.origins()] or usable  # rather than another suspect

    def _choices(self, file: FileDownload) -> List[MirrorLoad]:
        loads = Counter(transfer.source.url for transfer in self._active)

        def choice(source: Source) -> MirrorLoad:
            url = source.url
            # one transfer at a time until the mirror has sent a good file: all of them would share its fault
            room = (PER_MIRROR if url in self._reliable else 1) - loads[url]
            return MirrorLoad(url, file.tries.get(url, 0), source.last_resort, self._failures[url], self._rates[url], loads[url],
                          room, source.answer_seconds)

        return [choice(source) for source in self._may_be_asked(file)]

    def _start(self, file: FileDownload, part: Part, url: str) -> None:
        file.tries[url] = file.tries.get(url, 0) + 1
        limits = FetchLimits(file.max_bytes, self._rules.connect_seconds, self._rules.timeout_seconds)
        source = self._sources[url]
        transfer = Transfer(file, part, source, limits, is_reliable=source.proven or url in self._reliable)
        self._active.append(transfer)
        self._workers.provide(len(self._active))
        self._workers.start(transfer)

    def _share_out(self) -> None:
        """Let idle mirrors help those that have much left to send."""
        for transfer in list(self._active):
            part, file = transfer.part, transfer.file
            if len(self._active) >= OVERALL or len(self._active) == len(self._sources):
                return
            if part.end is None or file.single_source or file.repairing or transfer.answered_at is None:
                continue
            running = Running(transfer.source.url, max(part.position, transfer.passed), part.end,
                              transfer.rate or self._rates[transfer.source.url])
            idle = [choice for choice in self._choices(file)
                    if not (choice.under_way or choice.last_resort or choice.failures or choice.url in self._whole_only)]
            cut = next_cut(running, idle)
            if cut is not None:
                rest = file.cut(part, cut.at)
                if rest is not None:
                    self._start(file, rest, cut.url)

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
        self._note(transfer)
        self._queue(transfer.file)
        since, part, file = transfer.waiting_since, transfer.part, transfer.file
        others = [source for source in self._may_be_asked(file) if source.url != transfer.source.url]
        mine = file.tries[transfer.source.url]
        untried = [source for source in others if file.tries.get(source.url, 0) < mine]
        rates = [self._rates[source.url] for source in others if not source.last_resort]
        view = RateView(
            idle_seconds=now - since if since is not None else 0.0,
            answered=transfer.answered_at is not None,
            rate=rate,
            long_rate=long_rate,
            answer_seconds=transfer.source.answer_seconds,
            untried=bool(untried),
            unmeasured=any(not self._rates[source.url] for source in untried),
            best_rate=max(rates, default=0.0),
            switches=file.switches,
            remaining=part.missing or None,
            others_seconds=max(self._missing(), part.missing) / max(sum(rates), 1.0),
            idle_answer_seconds=self._idle_answer_seconds(untried),
            early_rate=transfer.rate)
        reason = stop_reason(view, self._rate_rules)
        if reason is not None and transfer.stop(reason):
            self._workers.give_up()
            self._ended(transfer, FetchError(reason.reference, reason.what, where=transfer.source.url))

    def _idle_answer_seconds(self, others: Sequence[Source]) -> float:
        """Return the longest answer of a download in which one of the others has nothing to do; 0: all are busy."""
        busy = {transfer.source.url for transfer in self._active}
        is_idle = not self._pending and any(self._answers.get(source.url) and source.url not in busy for source in others)
        return max(self._answers.values()) if is_idle else 0.0

    def _note(self, transfer: Transfer) -> None:
        """Note how fast a mirror is, and that it was heard."""
        url = transfer.source.url
        self._answers[url] = max(self._answers.get(url, 0.0), transfer.answer_seconds)
        if transfer.rate:
            self._rates[url] = transfer.rate
        if transfer.heard_at is not None:
            self._heard(url, transfer.heard_at)

    def _queue(self, file: FileDownload) -> None:
        """Put a file at the head of the queue if a part of it is free: given back, or between what an earlier run has left."""
        if file.number not in self._results and file.unowned() is not None and file not in self._pending:
            self._pending.insert(0, file)

    def _heard(self, url: str, at: float) -> None:
        for number, mirror in self._line.heard(url, at):
            self._files[number].forgive()
            self._failures[mirror] -= 1

    def _ended(self, transfer: Transfer, error: Optional[Exception]) -> None:
        """Handle a result: conclude the file, or put it at the head of the queue again."""
        self._active.remove(transfer)
        transfer.part.owned = False
        file, url = transfer.file, transfer.source.url
        if error is not None and not isinstance(error, MirrorsError):
            raise error
        if file.number in self._results:
            return
        transfer.end_measure(time.monotonic())
        self._note(transfer)
        if isinstance(error, TrustError):
            self._refused(transfer, error)
        elif error is None or transfer.part.dropped or transfer.knows_no_ranges:
            file.tries[url] -= 1
            if transfer.knows_no_ranges:
                self._whole_only.add(url)
            self._add_attempt(transfer, LEFT if transfer.knows_no_ranges or transfer.part.dropped else "ok")
            if file.finished:
                self._finished(file)
        elif isinstance(error, FetchError):
            self._failed(transfer, error)
        else:
            self._add_attempt(transfer, error.reference, error.what)
            self._conclude(file, error)
        self._queue(file)

    @staticmethod
    def _add_attempt(transfer: Transfer, reference: str, what: str = "", mirror: str = "") -> None:
        transfer.file.attempts.append(
            Attempt(mirror or transfer.source.url, reference, what, transfer.received, transfer.rate))

    def _refused(self, transfer: Transfer, error: TrustError) -> None:
        """Decide what wrong bytes mean for the next tries of the file (rule 3)."""
        file, origins = transfer.file, transfer.wrong_origins
        if EARLIER in origins:
            file.tries[transfer.source.url] -= 1  # the part of an earlier run was wrong, or did not fit: no mirror's fault
            return
        file.error = error
        if len(origins) > 1:
            file.tries[transfer.source.url] -= 1
            self._add_attempt(transfer, LEFT, error.what)
            return
        self._add_attempt(transfer, error.reference, error.what, transfer.culprit)
        file.excluded.add(transfer.culprit)
        self._failures[transfer.culprit] += 1

    def _failed(self, transfer: Transfer, error: FetchError) -> None:
        """Decide what a failure means for the next tries of the file."""
        file, url = transfer.file, transfer.source.url
        if not isinstance(file.error, TrustError):
            file.error = error
        if error.reference == "too-slow" and (transfer.answered_at is None or transfer.rate >= self._rules.minrate):
            self._add_attempt(transfer, LEFT, error.what)
            return
        self._add_attempt(transfer, error.reference, error.what)
        self._failures[url] += 1
        if error.reference in _LASTING:
            file.excluded.add(url)
        if not is_silence(error):
            self._heard("", time.monotonic())
        else:
            self._line.silent(file.number, url, transfer.answered_at is not None)
        if error.reference == "timed-out":
            file.switches += 1
        if transfer.received >= WORTHWHILE_BYTES and not (file.single_source or transfer.restarted):
            file.tries[url] -= 1

    def _give_up(self, file: FileDownload) -> None:
        """Conclude a file that no mirror is left for, unless waiting for the line, or asking for all of it at once, may help."""
        unanswered = self._line.unanswered(file.number, time.monotonic(), self._rate_rules)
        if unanswered:
            for url in unanswered:
                file.tries[url] -= 1
            self._resume_at = time.monotonic() + PAUSE_SECONDS
        elif file.in_parts and self._may_be_asked(file, whole=True):
            file.repairing, file.single_source = "", True
            file.discard()
        else:
            if self._line.is_lost(len(self._sources)):
                file.forgive()  # nobody answers any more: that is nobody's fault
            self._conclude(file, file.error or FetchError("unreachable", "no mirror is known", where=file.item.path))

    def _finished(self, file: FileDownload) -> None:
        if file.repairing and file.error is not None:  # without its bytes the file is right
            file.attempts.append(Attempt(file.repairing, file.error.reference, file.error.what, 0))
            self._failures[file.repairing] += 1
        self._reliable.update(file.spans.origins())
        self._conclude(file, None)

    def _conclude(self, file: FileDownload, error: Optional[MirrorsError]) -> None:
        """Close a file and report its result."""
        if file in self._pending:
            self._pending.remove(file)
        file.end(keep=self._rules.keep_parts and isinstance(error, FetchError))
        fetched = Fetched(file.number, file.verdict if error is None else None, error, tuple(file.attempts))
        self._results[file.number] = fetched
        self._unfinished -= file.item.size or 0
        self._events.done(fetched)

    def _report_progress(self, transfer: Transfer, now: float) -> None:
        """Report the progress of a transfer if it has changed, or if nothing was reported for long."""
        file = transfer.file
        reported, reported_at = self._reported.get(file.number, (-1, 0.0))
        silent_seconds = now - reported_at
        if (file.received != reported and silent_seconds >= PROGRESS_SECONDS) or silent_seconds >= HEARTBEAT_SECONDS:
            self._reported[file.number] = (file.received, now)
            self._events.progress(file.number, file.received, file.total, transfer.source.url)
