"""What the findings about one repository amount to: a resolution. Pure."""
from typing import Dict, List, Optional, Sequence, Tuple

from ..errors import FetchError, MirrorsError, TrustError
from ..host.settings import Settings
from ..model import Mirror, Probe, Repository, Snapshot
from ..state.history import Observation
from ..state.memory import MAX_SIGNATURE_BYTES, Decision, Memory, Record, judge_record, with_decision
from ..trust.freshness import Choice, Offer, choose, duration, note_of
from ..util.urls import authority_of
from .patience import remembered_seconds
from .refresh_policy import RefreshPlan
from .resolution import NO_CANDIDATES, Rejection, Resolution
from .selection import order_proven

# If every mirror fails for one of these, this host's clock is the likelier cause.
CLOCK_REFERENCES = ("signature-from-future", "fast-forward", "signature-expired", "key-expired", "tls-expired")


class Findings:
    """What was found out about one repository; filled in by the resolver.

    Args:
        repository: which.
        memory: what was known before.
        accepted: the high-water mark.
        plan: how many mirrors have to agree.
    """

    def __init__(self, repository: Repository, memory: Memory, accepted: Optional[Snapshot], plan: RefreshPlan) -> None:
        self.repository = repository
        self.memory = memory
        self.accepted = accepted
        self.plan = plan
        self.candidates = NO_CANDIDATES
        self.asked: List[Mirror] = []
        self.probes: List[Probe] = []  # of those that answered or failed
        self.errors: Dict[str, MirrorsError] = {}  # by Mirror.url
        self.error: Optional[MirrorsError] = None  # what ended the job early
        self.jitter = 0.0  # see ``Memory``
        self.listed_now = False  # the redirector has sent a list in this run
        self.digest = ""  # that the redirector named, where it was asked for that alone
        self.digest_unknown = False  # it did not know that request
        self.answer_seconds = 0.0  # that its first answer took, or that it was waited for in vain; 0: it was not asked


def conclude(findings: Findings, settings: Settings, now: float, accept_rollback: bool) -> Resolution:
    """Judge the findings.

    Args:
        findings: all that is known.
        settings: prefer and max_age are used.
        now: seconds since 1970.
        accept_rollback: the admin says that the repository really went back.

    Returns:
        The resolution.
    """
    made = _concluded(findings, settings, now, accept_rollback)
    return made._replace(memory=_with_redirector(findings, made.memory, now))


def _concluded(findings: Findings, settings: Settings, now: float, accept_rollback: bool) -> Resolution:
    if findings.plan.quorum == 0 and findings.error is None and findings.memory.snapshot is not None:
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
    made = Resolution(findings.repository, error=error, probes=tuple(probes), candidates=findings.candidates)
    if choice is not None:
        made = _chosen(findings, made, choice, settings, now)
    decision = _decision(findings, made)._replace(at=int(now))
    if accept_rollback and made.snapshot is not None:
        decision = decision._replace(note="accept-rollback")
    return made._replace(memory=with_decision(_memory(findings, made, now), decision))


def _with_redirector(findings: Findings, memory: Memory, now: float) -> Memory:
    """Return a memory that also holds what was learnt about the redirector itself."""
    return memory._replace(
        listed_at=now if findings.listed_now else findings.memory.listed_at,
        digest_unknown_at=now if findings.digest_unknown else findings.memory.digest_unknown_at,
        answer_seconds=remembered_seconds(findings.memory.answer_seconds, findings.answer_seconds))


def _kept(findings: Findings, snapshot: Snapshot, settings: Settings, now: float) -> Resolution:
    """Resolve to the last snapshot, with those of its mirrors that are still offered; nothing new was decided."""
    listed, proven = findings.candidates.listed, findings.plan.proven
    note = _note(findings, snapshot, [snapshot.sha256], settings, now)
    memory = findings.memory._replace(usable=tuple(mirror.url for mirror in proven), resolved_at=now, note=note)
    if listed.mirrors and listed.sha256 in ("", snapshot.sha256):  # else it is a list of who has what is to come
        memory = memory._replace(mirrors=listed.mirrors, sha256=listed.sha256)
    warnings = _warnings(findings.repository, snapshot, [], note, now)
    return Resolution(findings.repository, snapshot, mirrors=proven, note=note, warnings=warnings,
                      candidates=findings.candidates, memory=memory, unchanged=findings.digest == snapshot.sha256)


def _note(findings: Findings, snapshot: Snapshot, seen: Sequence[str], settings: Settings, now: float) -> str:
    max_age = 0 if findings.repository.id == "xcp-ng-base" else settings.max_age
    return note_of(snapshot, findings.candidates.listed.sha256, seen, max_age, int(now))


def observations_of(resolution: Resolution, now: float) -> List[Observation]:
    """Return what is worth keeping of the probes of a resolution: one observation for each mirror that answered or failed.

    Args:
        resolution: from ``conclude``.
        now: seconds since 1970.
    """
    return [_observation(probe, resolution.snapshot, int(now)) for probe in resolution.probes]


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


def _chosen(findings: Findings, made: Resolution, choice: Choice, settings: Settings, now: float) -> Resolution:
    """Add the chosen snapshot, and who serves it."""
    in_turn = sorted(made.probes, key=lambda probe: findings.asked.index(probe.mirror))
    proven = [(probe.mirror, probe.seconds) for probe in in_turn if probe.outcome == "ok"]
    rejected = [Rejection(probe.mirror, probe.outcome, probe.detail) for probe in made.probes if probe.outcome != "ok"]
    seen = [probe.snapshot.sha256 for probe in made.probes if probe.snapshot is not None]
    mirrors = order_proven(proven, settings.prefer)
    if findings.memory.snapshot is not None and findings.memory.snapshot.sha256 == choice.snapshot.sha256:
        asked = {mirror.url for mirror in findings.asked}
        mirrors += [mirror for mirror in findings.plan.proven if mirror.url not in asked]
        mirrors.sort(key=lambda mirror: mirror.source == "origin")
    note = _note(findings, choice.snapshot, seen, settings, now)
    return made._replace(snapshot=choice.snapshot, mirrors=tuple(mirrors), rejected=tuple(rejected), note=note,
                         warnings=_warnings(findings.repository, choice.snapshot, rejected, note, now))


def _warnings(repository: Repository, snapshot: Snapshot, rejected: Sequence[Rejection], note: str,
              now: float) -> Tuple[str, ...]:
    """Word what an admin should know although the update goes on: one line for distrusted mirrors, one for a freeze."""
    lines = []
    distrusted = [rejection for rejection in rejected if rejection.reference in TrustError.REFERENCES]
    if distrusted:
        first = distrusted[0]
        more = " and {} more".format(len(distrusted) - 1) if len(distrusted) > 1 else ""
        what = "{}; refused{}, other mirrors are used".format(first.detail, more)
        hint = "see 'xcpng-mirrors mirrors --repo {}'".format(repository.id)
        lines.append(str(TrustError(first.reference, what, where=first.mirror.url, hint=hint)))
    if note == "freeze":
        age = duration(int(now) - snapshot.timestamp)
        lines.append("freeze: the newest metadata on all mirrors asked is {} old; see max_age= in the .conf".format(age))
    return tuple(lines)


def _memory(findings: Findings, made: Resolution, now: float) -> Memory:
    """Keep the last list that had mirrors, the records of those on it, and the last good resolution."""
    previous = findings.memory
    listed = findings.candidates.listed
    mirrors = listed.mirrors or previous.mirrors
    records: Dict[str, Record] = {probe.mirror.url: judge_record(previous.records.get(probe.mirror.url), probe, int(now))
                                  for probe in made.probes}
    for mirror in mirrors:
        if mirror.url in previous.records:
            records.setdefault(mirror.url, previous.records[mirror.url])
    if made.snapshot is None:
        return previous._replace(mirrors=mirrors, records=records, place=findings.repository.place)
    usable = tuple(mirror.url for mirror in made.mirrors)
    snapshot = made.snapshot._replace(raw=b"", signature=b"")
    signature = made.snapshot.signature if len(made.snapshot.signature) <= MAX_SIGNATURE_BYTES else b""
    return Memory(mirrors, listed.sha256, records, snapshot, usable, now, made.note, previous.decisions,
                  now, findings.jitter, findings.repository.fingerprints, signature.decode("latin-1"),
                  findings.repository.place)


def _decision(findings: Findings, made: Resolution) -> Decision:
    """Return the decision with its reasons, for ``explain``."""
    refusal = made.error.reference if made.error else ""  # what is proven and refused all the same: a rollback
    rejected = [(authority_of(probe.mirror.url), refusal if probe.outcome == "ok" else probe.outcome, probe.detail)
                for probe in made.probes if probe.outcome != "ok" or refusal]
    rejected += [(authority_of(mirror.url), "not-asked", reason) for mirror, reason in findings.candidates.left_out]
    decision = Decision(0, "metadata", len(findings.asked), rejected=tuple(rejected), error=str(made.error or ""))
    if made.snapshot is None:
        return decision
    used = tuple(authority_of(mirror.url) for mirror in made.mirrors)
    return decision._replace(revision=made.snapshot.revision, used=used, note=made.note)


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
