"""What the findings about one repository amount to: a resolution, or the error that stands in its place. Pure."""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import FetchError, MirrorsError, TrustError
from ..host.settings import Settings
from ..model import Mirror, MirrorList, Probe, Rejection, Repository, Resolution, Snapshot
from ..state.history import Observation
from ..state.store import MAX_SIGNATURE_BYTES, Decision, Memory, Record, judge_record, with_decision
from ..trust.freshness import Choice, Offer, choose, duration, note_of
from ..util.urls import authority_of
from .candidates import Candidates
from .refresh_policy import Need
from .selection import order_proven

CLOCK_REFERENCES = ("signature-from-future", "fast-forward", "signature-expired", "key-expired", "tls-expired")


class Findings:
    """What was found out about one repository; filled in by the resolver.

    Args:
        repository: which.
        memory: what was known before.
        accepted: the high-water mark.
    """

    def __init__(self, repository: Repository, memory: Memory, accepted: Optional[Snapshot]) -> None:
        self.repository = repository
        self.memory = memory
        self.accepted = accepted
        self.candidates = Candidates(MirrorList(()), (), (), ())
        self.asked: List[Mirror] = []
        self.probes: List[Probe] = []  # of those that answered or failed
        self.errors: Dict[str, MirrorsError] = {}  # by Mirror.url
        self.error: Optional[MirrorsError] = None  # what ended the job early
        self.need = Need()
        self.luck = 0.0  # see ``Memory``


class Answer(NamedTuple):
    """What became of one repository: ``resolution`` or ``error``, never both."""

    repository: Repository
    resolution: Optional[Resolution]
    error: Optional[MirrorsError]
    memory: Memory  # to be remembered
    probes: Tuple[Probe, ...] = ()  # outcome "stale" where the choice says so
    candidates: Candidates = Candidates(MirrorList(()), (), (), ())


def conclude(findings: Findings, settings: Settings, now: float, accept_rollback: bool) -> Answer:
    """Judge the findings.

    Args:
        findings: all that is known.
        settings: prefer and max_age are used.
        now: seconds since 1970.
        accept_rollback: the admin says that the repository really went back.

    Returns:
        The answer.
    """
    if findings.need.most == 0 and findings.error is None and findings.memory.snapshot is not None:
        return _kept(findings, findings.memory.snapshot, settings, now)
    error, choice = findings.error, None
    offers = [Offer(probe.mirror, probe.snapshot) for probe in findings.probes if probe.snapshot is not None]
    if error is None and not offers:
        error = _nobody(findings)
    try:
        if error is None:
            choice = choose(offers, None if accept_rollback else findings.accepted)
    except TrustError as refusal:
        error = refusal
    probes = [_with_lag(probe, choice) for probe in findings.probes]
    resolution = _resolution(findings, choice, probes, settings, now) if choice is not None else None
    decision = _decision(findings, probes, resolution, error)._replace(at=int(now))
    if accept_rollback and resolution is not None:
        decision = decision._replace(note="accept-rollback")
    memory = with_decision(_memory(findings, probes, resolution, now), decision)
    return Answer(findings.repository, resolution, error, memory, tuple(probes), findings.candidates)


def _kept(findings: Findings, snapshot: Snapshot, settings: Settings, now: float) -> Answer:
    """Answer with the last resolution, cut to the mirrors that are still offered; nothing new was decided."""
    listed, still = findings.candidates.listed, findings.need.still
    note = _note(findings, snapshot, [snapshot.sha256], settings, now)
    resolution = Resolution(findings.repository, snapshot, still, note=note)
    memory = findings.memory._replace(usable=tuple(mirror.url for mirror in still), resolved_at=now, note=note)
    if listed.mirrors and listed.sha256 in ("", snapshot.sha256):  # else it is a list of who has what is to come
        memory = memory._replace(mirrors=listed.mirrors, sha256=listed.sha256)
    return Answer(findings.repository, resolution, None, memory, candidates=findings.candidates)


def _note(findings: Findings, snapshot: Snapshot, seen: Sequence[str], settings: Settings, now: float) -> str:
    max_age = 0 if findings.repository.id == "xcp-ng-base" else settings.max_age
    return note_of(snapshot, findings.candidates.listed.sha256, seen, max_age, int(now))


def observations_of(answer: Answer, now: float) -> List[Observation]:
    """Return what is worth keeping of the probes of an answer: one observation for each mirror that answered or failed.

    Args:
        answer: from ``conclude``.
        now: seconds since 1970.
    """
    current = answer.resolution.snapshot if answer.resolution is not None else None
    return [_observation(probe, current, int(now)) for probe in answer.probes]


def _observation(probe: Probe, current: Optional[Snapshot], now: int) -> Observation:
    served = probe.snapshot
    if served is None:
        return Observation(now, probe.mirror.url, probe.outcome, certificate_expires=probe.certificate_expires)
    lag = max(0, current.timestamp - served.timestamp) if current is not None else None
    return Observation(now, probe.mirror.url, probe.outcome, "metadata", lag, probe.first_byte_seconds, probe.seconds,
                       probe.bytes, probe.certificate_expires, probe.address, served.revision)


def _with_lag(probe: Probe, choice: Optional[Choice]) -> Probe:
    """Call a proven mirror stale that does not serve the current snapshot."""
    if choice is None:
        return probe
    for mirror, behind in choice.stale:
        if mirror == probe.mirror:
            return probe._replace(outcome="stale", detail="{} behind".format(duration(max(0, behind))))
    return probe


def _resolution(findings: Findings, choice: Choice, probes: List[Probe], settings: Settings, now: float) -> Resolution:
    in_turn = sorted(probes, key=lambda probe: findings.asked.index(probe.mirror))
    proven = [(probe.mirror, probe.seconds) for probe in in_turn if probe.outcome == "ok"]
    rejected = [Rejection(probe.mirror, probe.outcome, probe.detail) for probe in probes if probe.outcome != "ok"]
    seen = [probe.snapshot.sha256 for probe in probes if probe.snapshot is not None]
    mirrors = order_proven(proven, settings.prefer)
    if findings.memory.snapshot is not None and findings.memory.snapshot.sha256 == choice.snapshot.sha256:
        asked = {mirror.url for mirror in findings.asked}
        mirrors += [mirror for mirror in findings.need.still if mirror.url not in asked]
        mirrors.sort(key=lambda mirror: mirror.source == "origin")
    note = _note(findings, choice.snapshot, seen, settings, now)
    return Resolution(findings.repository, choice.snapshot, tuple(mirrors), tuple(rejected), note)


def _memory(findings: Findings, probes: List[Probe], resolution: Optional[Resolution], now: float) -> Memory:
    """Keep the last list that had mirrors, what became of those on it, and the last good resolution."""
    previous = findings.memory
    listed = findings.candidates.listed
    mirrors = listed.mirrors or previous.mirrors
    records: Dict[str, Record] = {probe.mirror.url: judge_record(previous.records.get(probe.mirror.url), probe, int(now))
                                  for probe in probes}
    for mirror in mirrors:
        if mirror.url in previous.records:
            records.setdefault(mirror.url, previous.records[mirror.url])
    if resolution is None:
        return previous._replace(mirrors=mirrors, records=records)
    usable = tuple(mirror.url for mirror in resolution.mirrors)
    snapshot = resolution.snapshot._replace(raw=b"", signature=b"")
    signature = resolution.snapshot.signature if len(resolution.snapshot.signature) <= MAX_SIGNATURE_BYTES else b""
    return Memory(mirrors, listed.sha256, records, snapshot, usable, now, resolution.note, previous.decisions,
                  now, findings.luck, findings.repository.pins, signature.decode("latin-1"))


def _decision(findings: Findings, probes: List[Probe], resolution: Optional[Resolution],
              error: Optional[MirrorsError]) -> Decision:
    """Say what is decided, for who asks why."""
    proven = error.reference if error else ""  # what is proven and refused all the same: a rollback
    rejected = [(authority_of(probe.mirror.url), proven if probe.outcome == "ok" else probe.outcome, probe.detail)
                for probe in probes if probe.outcome != "ok" or proven]
    rejected += [(authority_of(mirror.url), "not-asked", reason) for mirror, reason in findings.candidates.left_out]
    made = Decision(0, "metadata", len(findings.asked), rejected=tuple(rejected), error=str(error or ""))
    if resolution is None:
        return made
    used = tuple(authority_of(mirror.url) for mirror in resolution.mirrors)
    return made._replace(revision=resolution.snapshot.revision, used=used, note=resolution.note)


def _nobody(findings: Findings) -> MirrorsError:
    """Name why no mirror is proven: the first distrust if any mirror answered at all, else what kept them away."""
    asked = len(findings.asked)
    hint = "see 'xcpng-mirrors mirrors --repo {}'".format(findings.repository.id)
    failures = [findings.errors[mirror.url] for mirror in findings.asked if mirror.url in findings.errors]
    if failures and all(error.reference in CLOCK_REFERENCES for error in failures):
        hint = "check this host's clock (timedatectl): every mirror looks wrong in time"
    distrusted = [error for error in failures if isinstance(error, TrustError)]
    if distrusted:
        first = distrusted[0]
        return TrustError(first.reference, "none of {} mirrors offers metadata that the pinned key has signed: {}".format(
            asked, first.what), where=first.where, hint=hint)
    if not failures:
        return FetchError("timed-out" if asked else "unreachable",
                          "none of {} mirrors answered in time".format(asked) if asked else "no mirror is known", hint=hint)
    return FetchError(failures[0].reference if isinstance(failures[0], FetchError) else "unreachable",
                      "none of {} mirrors can be used: {}".format(asked, failures[0].what), where=failures[0].where, hint=hint)
