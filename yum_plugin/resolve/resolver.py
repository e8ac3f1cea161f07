"""From repositories to proven mirrors. The reader's way down starts at ``Resolver.run``.

All repositories at once, in one loop over what the tasks report:
    lists      the redirector's digest, if that may be enough (refresh_policy.py, rule 4); its list page, and its selection if
               the page is late (patience.py); or the last known list (candidates.py)
    polls      repomd.xml and its signature from several mirrors (how a mirror is asked: probe.py; which: selection.py)
    outcome    which snapshot is current and who serves it (outcome.py, trust/freshness.py)
Only this thread decides, and nothing here writes. Time, chance and the task pool are passed in.
"""
import logging
import random
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import FetchError, MirrorsError, UsageError
from ..host.keyring import load_keys
from ..host.settings import Settings
from ..model import REPOMD, Mirror, MirrorList, Probe, Repository, Snapshot
from ..net.fanout import TaskPool, TaskResult, run_until
from ..net.session import OpenSession, Session
from ..privsep.gateway import Gateway, here
from ..sources.redirector import DIGEST, FORMS, PAGE, SELECTION, Timeouts, redirector_roots
from ..state.memory import Remembered, known_list, quarantined
from ..trust.identity import owner_of
from ..trust.metadata import RepomdProver
from .candidates import Candidates, ListRules, candidates, own_urls, settled_list
from .clock_hint import offset_of
from .dialogue import BLOCKED_RETRY_SECONDS, Dialogue, Question
from .outcome import Findings, compare, conclude
from .patience import patience_of
from .probe import Known, ask_mirror
from .refresh_policy import RefreshPlan, digest_suffices, plan_refresh, still_waits
from .resolution import Resolution
from .selection import Poll, PollRules

NO_LIST_TIMEOUT_SECONDS = 3.0  # without any list: the .repo file's other baseurls and the origin still have time after it
EVERYONE = 256
TICK_SECONDS = 0.02  # between two looks at what time alone may change
KEPT_VOICES = 2  # of the mirrors that https has named, beside an http list

MakeTasks = Callable[[OpenSession], TaskPool]

log = logging.getLogger("xcpng-mirrors")


class Clock(NamedTuple):
    """Where time and chance come from."""

    wall: Callable[[], float] = time.time  # seconds since 1970
    steady: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


class ResolveOptions(NamedTuple):
    """What a caller may want differently."""

    ask_everyone: bool = False  # for the table of the command: no early stop
    accept_rollback: bool = False
    on_candidates: Callable[[Repository, Candidates], None] = lambda repository, found: None
    on_probe: Callable[[Repository, Probe], None] = lambda repository, probe: None


class _Job:
    """One repository on its way."""

    def __init__(self, findings: Findings, started: float) -> None:
        self.findings = findings
        self.repository = findings.repository
        self.started = started  # then the digest of the redirector was asked for, or its list
        self.patience = patience_of(findings.memory)
        self.asked_at: Dict[str, float] = {}  # by form; seconds as of ``started``
        self.dialogue = findings.dialogue
        self.failed: Dict[str, Optional[MirrorList]] = {}  # forms that are not to be expected any more
        self.at_hand: Optional[Candidates] = None  # of the list that is remembered, if the digest alone was asked for
        self.prover: Optional[RepomdProver] = None  # None: the keys are not loaded yet
        self.poll: Optional[Poll] = None
        self.finished = False

    @property
    def lists(self) -> Dict[str, Optional[MirrorList]]:
        """What arrived, by form; None for what failed."""
        return dict(self.failed, **self.dialogue.lists())

    def fail(self, error: MirrorsError) -> None:
        self.findings.error = error
        self.finished = True


class Resolver:
    """Resolves repositories.

    Args:
        settings: of the .conf.
        remembered: what the host remembers, by the repositories' ids.
        options: see ``ResolveOptions``.
        clock: time and chance.
        gateway: how the network is reached; by this process if left out.
        make_tasks: makes the task pool, from what opens sessions.
    """

    def __init__(self, settings: Settings, remembered: Mapping[str, Remembered], options: ResolveOptions = ResolveOptions(),
                 clock: Clock = Clock(), gateway: Optional[Gateway] = None, make_tasks: MakeTasks = TaskPool) -> None:
        self._settings = settings
        self._remembered = remembered
        self._options = options
        self._clock = clock
        self._gateway = gateway or here()
        self._tasks = make_tasks(self._gateway.open)
        self._timeouts = Timeouts(settings.connect_timeout, settings.read_timeout)
        self._findings: List[Findings] = []  # of all repositories of this run

    def run(self, repositories: Sequence[Repository]) -> List[Resolution]:
        """Find the proven mirrors of each repository.

        Args:
            repositories: each with a different id.

        Returns:
            A resolution for each, in the same order, after ``settings.deadline`` seconds at most.
        """
        started = self._clock.steady()
        jobs = {item.id: _Job(self._begin(item), started) for item in repositories}
        self._findings = [job.findings for job in jobs.values()]
        try:
            for job in jobs.values():
                self._guarded(job, self._ask_lists)
            for job in jobs.values():
                if DIGEST not in job.asked_at:  # else it may be that nobody has anything to prove
                    self._guarded(job, self._prover)  # while the requests travel
            run_until(started + self._settings.deadline, self._tasks, self._clock.steady,
                      lambda now: self._advance_all(list(jobs.values()), now),
                      lambda result: self._take(jobs[result.key[0]], result))
        finally:
            self._tasks.dismiss()
        now = self._clock.wall()
        self._compare(self._findings)
        for findings in self._findings:
            findings.blocked_at = findings.dialogue.blocked_at(findings.memory.blocked_at, now, self._clock.steady())
        return [conclude(jobs[item.id].findings, self._settings, now, self._options.accept_rollback) for item in repositories]

    def _compare(self, judged: Sequence[Findings]) -> None:
        compare(judged, self._findings, {each.repository.id: self._remembered[each.repository.id].others for each in judged})

    def _begin(self, repository: Repository) -> Findings:
        remembered = self._remembered[repository.id]
        findings = Findings(repository, remembered.memory, remembered.accepted, RefreshPlan(self._settings.enough))
        findings.jitter = self._clock.chance()
        findings.own, findings.others = own_urls(repository, self._list_rules()), remembered.others
        return findings

    def _guarded(self, job: _Job, step: Callable[[_Job], object]) -> None:
        """Run a step; an error of ours ends this job and no other."""
        if job.finished:
            return
        try:
            step(job)
        except MirrorsError as error:
            job.fail(error)

    def _ask_lists(self, job: _Job) -> None:
        roots = redirector_roots(job.repository, self._settings.redirectors) if job.repository.path else ()
        since = self._clock.wall() - job.findings.memory.blocked_at
        job.dialogue = job.findings.dialogue = Dialogue(roots, 0 <= since < BLOCKED_RETRY_SECONDS, job.patience.blocked_seconds)
        job.at_hand = self._list_at_hand(job)
        if self._still_waits(job):
            return
        if roots:
            self._ask_list(job, DIGEST if self._digest_suffices(job) else PAGE)
        else:
            job.failed = {PAGE: None, SELECTION: None}

    def _list_at_hand(self, job: _Job) -> Optional[Candidates]:
        """Return whom the remembered list offers; None where all is to be asked anew."""
        if self._options != ResolveOptions():
            return None
        memory = job.findings.memory
        failed = quarantined(memory, int(self._clock.wall()))
        return candidates(job.repository, MirrorList(memory.mirrors), failed, self._list_rules())

    def _still_waits(self, job: _Job) -> bool:
        findings, now = job.findings, self._clock.wall()
        plan = job.at_hand and still_waits(job.repository, findings.memory, findings.accepted, job.at_hand,
                                           self._settings.refresh_after, now)
        if plan is None or job.at_hand is None:
            return False
        findings.plan, findings.candidates, findings.still_waits = plan, job.at_hand, True
        job.finished = True
        return True

    def _digest_suffices(self, job: _Job) -> bool:
        findings = job.findings
        return job.at_hand is not None and digest_suffices(job.repository, findings.memory, findings.accepted, job.at_hand,
                                                           self._clock.wall())

    def _ask_list(self, job: _Job, form: str) -> None:
        """Ask the redirector for one form of the list, or for the digest."""
        for question in job.dialogue.questions(form):
            self._ask(job, question)
        job.asked_at[form] = self._clock.steady()  # not before: the first session waits for the process without root
        if form != SELECTION:
            job.started = job.asked_at[form]

    def _ask(self, job: _Job, question: Question) -> None:
        form, roots, timeouts, path = question.form, (question.root,), self._timeouts, job.repository.path + REPOMD
        ask_list, ask_digest = self._gateway.ask_list, self._gateway.ask_digest
        if form == DIGEST:
            self._start(job, question, lambda session: ask_digest(session, roots, path, timeouts))
        else:
            self._start(job, question, lambda session: ask_list(session, form, roots, path, timeouts))
        job.dialogue.asked[question] = self._clock.steady()

    def _ask_http(self, job: _Job, now: float) -> None:
        """Ask by http as well where https gives nothing (dialogue.py, rule 2)."""
        for question in job.dialogue.more(now):
            self._ask(job, question)

    def _start(self, job: _Job, subject: Any, task: Callable[[Session], Any]) -> None:
        seconds = self._settings.connect_timeout + self._settings.read_timeout
        self._tasks.start((job.repository.id, subject), task, job.repository.network, seconds)

    def _prover(self, job: _Job) -> RepomdProver:
        if job.prover is None:
            keys = load_keys(job.repository.key_paths, job.repository.fingerprints)
            job.prover = RepomdProver(keys, int(self._clock.wall()))
        return job.prover

    def _advance_all(self, jobs: Sequence[_Job], now: float) -> Optional[float]:
        waits = [self._advance(job, now) for job in jobs if not job.finished]
        return None if all(job.finished for job in jobs) else min(waits)

    def _advance(self, job: _Job, now: float) -> float:
        """Do what is due for a job; return the seconds after which time alone makes something due."""
        if job.poll is None:
            self._guarded(job, lambda job: self._ask_http(job, now))
        poll = job.poll or self._begin_poll(job, now)
        if poll is None:
            return self._await_lists(job, now)
        for mirror in poll.to_ask(now):
            job.findings.asked.append(mirror)
            self._guarded(job, lambda job, mirror=mirror: self._ask_mirror(job, mirror))  # type: ignore[misc]
        job.finished = job.finished or poll.done(now)
        return poll.next_look(now)

    def _await_lists(self, job: _Job, now: float) -> float:
        """Ask for the other form once the first has failed or is late; return the seconds until there is more to decide."""
        other_due = job.started + job.patience.other_form_seconds
        if SELECTION not in job.asked_at and job.asked_at and (PAGE in job.lists or now >= other_due):
            self._guarded(job, lambda job: self._ask_list(job, SELECTION))
            if PAGE not in job.asked_at:
                job.failed[PAGE] = None  # the digest has failed or is late: the selection is the list then
        due = [max(job.started + self._list_timeout(job), now + TICK_SECONDS)]
        due += [other_due] if SELECTION not in job.asked_at else []
        due += [job.dialogue.silent_at()] if job.dialogue.may_turn and job.dialogue.asked else []
        return min(due) - now

    def _begin_poll(self, job: _Job, now: float) -> Optional[Poll]:
        memory = job.findings.memory
        waited_enough = now >= job.started + self._list_timeout(job) and not job.dialogue.awaits_http(
            now, job.patience.other_form_seconds)
        listed = settled_list(job.lists, known_list(memory), job.repository.path, waited_enough)
        if listed is None:
            return None
        if waited_enough and not job.findings.answer_seconds and not job.dialogue.blocked and len(job.lists) < len(FORMS):
            job.findings.answer_seconds = now - job.started
        job.findings.listed_now = any(arrived is not None and arrived.mirrors for arrived in job.lists.values())
        job.findings.authenticated = job.dialogue.listed_securely and job.repository.network.ssl_verify
        failed = quarantined(memory, int(self._clock.wall()))
        found = candidates(job.repository, listed, failed, self._list_rules(), self._clock.chance)
        job.findings.candidates = found
        self._options.on_candidates(job.repository, found)
        job.poll = self._poll(job, found)
        return job.poll

    def _poll(self, job: _Job, found: Candidates) -> Poll:
        if self._options.ask_everyone:
            return Poll(found.mirrors + found.origins, (), "", PollRules(EVERYONE, EVERYONE, everyone=True))
        findings, stagger = job.findings, patience_of(job.findings.memory, job.findings.answer_seconds).stagger_seconds
        rules = PollRules(self._settings.probe_mirrors, self._settings.enough, stagger_seconds=stagger)
        if self._options.accept_rollback:
            return Poll(found.mirrors, found.origins, found.listed.sha256, rules, evidence=findings.evidence(anew=True))
        told = found if findings.authenticated else found._replace(listed=found.listed._replace(sha256=""))
        plan = findings.plan = plan_refresh(job.repository, findings.memory, findings.accepted, told, rules.enough,
                                            self._clock.wall())
        if plan.quorum == 0:
            return Poll((), (), "", rules)
        return Poll(found.mirrors, found.origins, found.listed.sha256, rules._replace(enough=plan.quorum), findings.accepted,
                    findings.evidence(), self._voices(job, found))

    def _voices(self, job: _Job, found: Candidates) -> Sequence[Mirror]:
        """Return who must be heard, too, before "nothing new" is believed: those whom no http list has named."""
        findings = job.findings
        is_remembered = findings.memory.listed_securely and not findings.listed_now  # those who are asked are voices themselves
        if is_remembered or findings.authenticated or not job.repository.path or not job.repository.network.ssl_verify:
            return ()
        known = MirrorList(findings.memory.mirrors if findings.memory.listed_securely else ())
        kept = candidates(job.repository, known, quarantined(findings.memory, int(self._clock.wall())),
                          self._list_rules()._replace(require_https=True), self._clock.chance).mirrors[:KEPT_VOICES]
        origins = [mirror for mirror in found.origins if mirror.url in findings.own and mirror.url.startswith("https:")]
        return list(kept) + origins

    def _list_timeout(self, job: _Job) -> float:
        if job.dialogue.blocked and len(redirector_roots(job.repository, self._settings.redirectors)) == 1:
            return 0.0
        at_hand = bool(job.findings.memory.mirrors) or any(job.lists.values())
        return job.patience.list_seconds if at_hand else NO_LIST_TIMEOUT_SECONDS

    def _list_rules(self) -> ListRules:
        settings = self._settings
        return ListRules(settings.redirectors, settings.fallbacks, settings.prefer, settings.deny, settings.require_https)

    def _ask_mirror(self, job: _Job, mirror: Mirror) -> None:
        prover, timeouts, network, explain = self._prover(job), self._timeouts, job.repository.network, self._gateway.explain
        known, is_sampled = _known(job.findings), job.repository.is_sampled
        doubtful = job.poll.unconfirmed() if job.poll is not None and mirror.source == "origin" else None
        if doubtful is not None:
            # One small answer says whether the origin knows it; a sample is of no use.
            known, is_sampled = Known(doubtful.sha256, doubtful.signature), False

        def hear(date: str) -> None:
            job.findings.offsets += offset_of(date, self._clock.wall())

        def task(session: Session) -> Probe:
            try:
                return ask_mirror(session, mirror, prover, timeouts, known, is_sampled, hear)
            except FetchError as error:
                raise explain(session, error, mirror.url, network, timeouts.connect_seconds)

        self._start(job, mirror, task)

    def _take(self, job: _Job, result: TaskResult) -> None:
        """Record what one task reports."""
        subject = result.key[1]
        error = result.error
        if error is not None and not isinstance(error, MirrorsError):
            log.error("%s: a bug of ours", subject, exc_info=error)
            error = MirrorsError("internal", "{}: {}".format(type(error).__name__, error), where=str(subject))
        if isinstance(error, UsageError):  # of this host: no server is to blame
            job.fail(error)
        elif not isinstance(subject, Mirror):
            self._take_list(job, subject, result.value, error)
        elif not job.finished and job.poll is not None:
            self._take_probe(job, subject, result.value, error)

    def _take_list(self, job: _Job, question: Question, value: Any, error: Optional[MirrorsError]) -> None:
        """Record an answer of the redirector."""
        form = question.form
        job.dialogue.answered(question, value if form != DIGEST else None, error.reference if error is not None else "")
        found = value if error or form == DIGEST else "{} mirrors".format(len(value.mirrors))
        log.info("%s: %s: %s", job.repository.id, form, error or found)
        if error is None and form == next(iter(job.asked_at)):  # a later one may be on a connection that was kept
            job.findings.answer_seconds = self._clock.steady() - job.dialogue.asked[question]
        if form != DIGEST:
            return
        if error is not None:
            if job.dialogue.is_over(form):
                job.failed[PAGE] = None  # the list page would fail alike
        elif job.poll is None and not self._holds(job, value, question) and PAGE not in job.lists and PAGE not in job.asked_at:
            self._guarded(job, lambda job: self._ask_list(job, PAGE))
            self._guarded(job, self._prover)

    def _holds(self, job: _Job, digest: str, question: Question) -> bool:
        """Whether the last resolution holds by the redirector's digest alone (refresh_policy.py, rule 4)."""
        findings, snapshot = job.findings, job.findings.memory.snapshot
        findings.digest_unknown = not digest
        if job.at_hand is None or snapshot is None or not digest:
            return False
        findings.authenticated = job.dialogue.is_authenticated(question) and job.repository.network.ssl_verify
        found = job.at_hand._replace(listed=job.at_hand.listed._replace(sha256=digest))
        poll = self._poll(job, found)
        if findings.plan.quorum:
            return False  # a mirror has become due just now
        findings.candidates, findings.digest, job.poll = found, digest, poll
        return True

    def _take_probe(self, job: _Job, mirror: Mirror, probe: Optional[Probe], error: Optional[MirrorsError]) -> None:
        now = self._clock.steady()
        if error is not None:
            job.findings.errors[mirror.url] = error
        answer = probe or Probe(mirror, error.reference if error else "internal", error.what if error else "")
        log.info("%s: %s: %s %s", job.repository.id, mirror.url, answer.outcome, answer.detail)
        job.findings.probes.append(answer)
        if job.poll is not None:
            job.poll.answered(mirror, self._own_snapshot(job, answer), answer.seconds, now)
        self._options.on_probe(job.repository, answer)

    def _own_snapshot(self, job: _Job, answer: Probe) -> Optional[Snapshot]:
        """Return the snapshot of an answer, unless it is another repository's."""
        if answer.snapshot is None:
            return None
        self._compare([job.findings])
        evidence = job.findings.evidence(anew=self._options.accept_rollback)
        return None if owner_of(answer.snapshot.sha256, job.findings.offers, evidence) else answer.snapshot


def _known(findings: Findings) -> Known:
    """Return what a mirror need not prove again: what the package manager's cache holds, if the plan relies on that."""
    snapshot, signature = findings.memory.snapshot, findings.memory.signature
    if not findings.plan.proven or snapshot is None or not signature:
        return Known()
    return Known(snapshot.sha256, signature.encode("latin-1"))
