"""What the findings about one repository amount to: a resolution. Pure."""
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import CLOCK_REMEDY, FetchError, MirrorsError, TrustError
from ..host.settings import Settings
from ..model import Mirror, MirrorList, Probe, Repository, Snapshot
from ..state.history import Observation
from ..state.memory import MAX_SIGNATURE_BYTES, Decision, Memory, Record, is_own_outage, judge_record, with_decision
from ..trust.freshness import Choice, Offer, choose, duration, note_of
from ..trust.identity import (
    SINGLE_VOICE,
    UNCONFIRMED,
    WRONG_REPOSITORY,
    Evidence,
    Sifted,
    is_confirmed,
    others_in_run,
    sift,
    voices,
)
from ..util.urls import authority_of
from .clock_hint import offset_words
from .dialogue import Dialogue
from .patience import remembered_seconds
from .probe import DoesNotFit
from .refresh_policy import RefreshPlan
from .resolution import NO_CANDIDATES, Rejection, Resolution
from .selection import order_proven

# If every mirror fails for one of these, this host's clock is the likelier cause.
UNAUTHENTICATED_SECONDS = 7 * 86400  # without a voice that proves who it is, before a warning
CLOCK_REFERENCES = ("signature-expired", "key-expired", "tls-expired")


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
        self.still_waits = False  # nobody was asked, not even the redirector
        self.digest = ""  # that the redirector named, where it was asked for that alone
        self.digest_unknown = False  # it did not know that request
        self.own: FrozenSet[str] = frozenset()  # base URLs that the admin has named
        self.others: Mapping[str, str] = {}  # digest -> another repository, that the host knows or this run has shown
        self.dialogue = Dialogue((), False, 0.0)
        self.authenticated = False  # what the redirector said in this run came by https
        self.blocked_at = 0.0  # see ``Memory``
        self.offsets: List[float] = []  # see ``Resolution``
        self.answer_seconds = 0.0  # that its first answer took, or that it was waited for in vain; 0: it was not asked

    @property
    def offers(self) -> List[Offer]:
        """What was proven so far, whoever's it is."""
        return [Offer(probe.mirror, probe.snapshot) for probe in self.probes if probe.snapshot is not None]

    def evidence(self, anew: bool = False) -> Evidence:
        """Return what else speaks for a snapshot.

        Args:
            anew: whatever this host has believed until now does not count: the admin wants to leave it.
        """
        held = [self.accepted, self.memory.snapshot if self.memory.note != SINGLE_VOICE else None]
        known = frozenset(snapshot.sha256 for snapshot in held if snapshot is not None and not anew)
        return Evidence(self.candidates.listed.sha256 if self.authenticated else "", self.own, known, self.others)


def compare(judged: Sequence[Findings], all_findings: Sequence[Findings], known: Mapping[str, Mapping[str, str]]) -> None:
    """Let the findings about some repositories know of those about all repositories of the run.

    Args:
        judged: those that are to know.
        all_findings: of the run so far.
        known: what the host knows of others, by the ids of those that are judged.
    """
    found = {(each.repository.id, each.repository.place): voices(each.offers, each.evidence()) for each in all_findings}
    for each in judged:
        repository = each.repository
        each.others = dict(known[repository.id], **others_in_run(found, (repository.id, repository.place)))


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
    made = made._replace(memory=_with_redirector(findings, made.memory, now), offsets=tuple(findings.offsets))
    since = made.memory.unauthenticated_since
    is_meant = not (settings.require_https and findings.repository.network.ssl_verify)
    if made.snapshot is None or is_meant or not since or now - since < UNAUTHENTICATED_SECONDS:
        return made
    return made._replace(warnings=made.warnings + (unauthenticated_words(since, now),))


def unauthenticated_words(since: float, now: float) -> str:
    """Word the warning of a host that hears only what anybody on the way can forge."""
    return ("freeze: for {} nothing was heard but answers that anybody on the way can forge; https to the redirector, "
            "its mirrors and the origin is blocked: see 'xcpng-mirrors doctor'").format(duration(int(now - since)))


def _concluded(findings: Findings, settings: Settings, now: float, accept_rollback: bool) -> Resolution:
    if findings.plan.quorum == 0 and findings.error is None and findings.memory.snapshot is not None:
        return _kept(findings, findings.memory.snapshot, settings, now)
    _tell_out_of_step(findings)
    judged = _judge(findings, accept_rollback)
    made = Resolution(findings.repository, error=judged.error, probes=judged.probes, candidates=findings.candidates,
                      stays=judged.stays)
    if judged.choice is not None:
        made = _chosen(findings, made, judged.choice, SINGLE_VOICE if judged.is_single else "", settings, now)
    decision = _decision(findings, made)._replace(at=int(now))
    if judged.stays is not None:
        decision = decision._replace(note=UNCONFIRMED)
    if accept_rollback and made.snapshot is not None:
        decision = decision._replace(note="accept-rollback")
    return made._replace(memory=with_decision(_memory(findings, made, now), decision))


def _tell_out_of_step(findings: Findings) -> None:
    """Tell pairs that do not fit, and whose repomd.xml is proven elsewhere, from those that somebody may have changed.

    Such a mirror is in the middle of its sync, or a cache on the way has kept one of the two files.
    """
    held = [findings.accepted, findings.memory.snapshot, *(offer.snapshot for offer in findings.offers)]
    genuine = {snapshot.sha256 for snapshot in held if snapshot is not None}
    for number, probe in enumerate(findings.probes):
        error = findings.errors.get(probe.mirror.url)
        if isinstance(error, DoesNotFit) and error.sha256 in genuine:
            what = "repomd.xml is good, and the signature beside it of another state, also when asked for anew"
            findings.errors[probe.mirror.url] = told = FetchError("out-of-step", what, where=probe.mirror.url)
            findings.probes[number] = probe._replace(outcome=told.reference, detail=told.what)


class _Judgement(NamedTuple):
    """What the answers of the mirrors amount to."""

    probes: Tuple[Probe, ...]  # with what became of each
    choice: Optional[Choice] = None
    is_single: bool = False  # nobody else names what was chosen
    error: Optional[MirrorsError] = None  # None exactly if there is a choice
    stays: Optional[Snapshot] = None  # see ``Resolution``


def _judge(findings: Findings, anew: bool) -> _Judgement:
    """Choose the snapshot; ``anew``: as if this host had accepted nothing."""
    accepted, evidence = None if anew else findings.accepted, findings.evidence(anew)
    sifted = sift(findings.offers, evidence, accepted)
    probes = [_judged(probe, sifted) for probe in findings.probes]
    error, choice = findings.error, None
    try:
        if error is None and sifted.offers:
            choice = choose(sifted.offers, accepted)
    except TrustError as refusal:
        error = refusal
    if findings.error is None and choice is None and sifted.unconfirmed:
        return _Judgement(_with_lag(probes, accepted), error=_unconfirmed(probes), stays=accepted)
    is_single = choice is not None and not is_confirmed(choice.snapshot.sha256, findings.offers, evidence)
    if choice is not None and is_single and anew:
        what = "nobody else names what a single mirror offers"
        error, choice = TrustError(UNCONFIRMED, what, where=choice.usable[0].url), None
    if choice is None and error is None:
        error = _nobody(findings, probes)
    return _Judgement(_with_lag(probes, choice and choice.snapshot), choice, is_single, error)


def _judged(probe: Probe, sifted: Sifted) -> Probe:
    """Mark what is another repository's, or perhaps."""
    if probe.snapshot is None:
        return probe
    if probe.snapshot.sha256 in sifted.refused:
        return probe._replace(outcome=WRONG_REPOSITORY, detail=sifted.refused[probe.snapshot.sha256])
    if probe.snapshot.sha256 in sifted.unconfirmed:
        what = "revision {} is new, and neither the redirector, the origin nor a second mirror names it"
        return probe._replace(outcome=UNCONFIRMED, detail=what.format(probe.snapshot.revision))
    return probe


def _unconfirmed(probes: Sequence[Probe]) -> TrustError:
    """Word the error of a newer snapshot that only one host serves; what this host has accepted may stay in use."""
    doubtful = next(probe for probe in probes if probe.outcome == UNCONFIRMED)
    return TrustError(UNCONFIRMED, doubtful.detail, where=doubtful.mirror.url)


def _with_redirector(findings: Findings, memory: Memory, now: float) -> Memory:
    """Return a memory that also holds what was learnt about the redirector itself."""
    return memory._replace(
        listed_at=now if findings.listed_now else findings.memory.listed_at,
        listed_securely=findings.authenticated if _replaces(findings) else findings.memory.listed_securely,
        blocked_at=findings.blocked_at, unauthenticated_since=_unauthenticated_since(findings, now),
        digest_unknown_at=now if findings.digest_unknown else findings.memory.digest_unknown_at,
        answer_seconds=remembered_seconds(findings.memory.answer_seconds, findings.answer_seconds))


def _replaces(findings: Findings) -> bool:
    """Whether a list that has come takes the place of the remembered one: http does not displace what https said."""
    return findings.listed_now and (findings.authenticated or not findings.memory.listed_securely)


def _unauthenticated_since(findings: Findings, now: float) -> float:
    """Return since when nobody was heard whose answer proves who sent it; who that is: see ``Resolver._voices``."""
    before, network = findings.memory.unauthenticated_since, findings.repository.network
    voices = set(findings.own)
    if findings.memory.listed_securely:
        voices.update(mirror.url for mirror in findings.memory.mirrors)
    heard = [offer.mirror.url for offer in findings.offers]
    proven = network.ssl_verify and any(url in voices and url.startswith("https:") for url in heard)
    if findings.authenticated or proven or not findings.repository.path:
        return 0.0
    return (before or now) if heard or findings.listed_now or findings.digest else before


def _kept(findings: Findings, snapshot: Snapshot, settings: Settings, now: float) -> Resolution:
    """Resolve to the last snapshot, with those of its mirrors that are still offered; nothing new was decided.

    Whether the redirector has named it makes the difference between a proof and a decision to wait (refresh_policy.py, rule 6).
    """
    listed, proven = findings.candidates.listed, findings.plan.proven
    named = listed.sha256 if findings.authenticated else ""
    note = _note(findings, snapshot, [snapshot.sha256], settings, now)
    if findings.memory.note == SINGLE_VOICE and findings.candidates.listed.sha256 != snapshot.sha256:
        note = SINGLE_VOICE
    memory = findings.memory
    if named == snapshot.sha256:
        memory = memory._replace(usable=tuple(mirror.url for mirror in proven), resolved_at=now, note=note, waited_at=0.0,
                                 awaited_sha256="", awaited_since=0.0)
    elif not findings.still_waits:
        memory = memory._replace(waited_at=now, awaited_sha256=named or memory.awaited_sha256,
                                 awaited_since=memory.awaited_since or (now if named else 0.0))
    # else it is a list of who has what is to come
    if listed.mirrors and _replaces(findings) and listed.sha256 in ("", snapshot.sha256):
        memory = memory._replace(mirrors=listed.mirrors, sha256=listed.sha256)
    warnings = _warnings(findings.repository, snapshot, [], note, now)
    return Resolution(findings.repository, snapshot, mirrors=proven, note=note, warnings=warnings,
                      candidates=findings.candidates, memory=memory, waits=named != snapshot.sha256,
                      unchanged=findings.digest == snapshot.sha256)


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


def _with_lag(probes: Sequence[Probe], current: Optional[Snapshot]) -> Tuple[Probe, ...]:
    """Call proven mirrors stale that do not serve the current snapshot."""
    def with_lag(probe: Probe) -> Probe:
        if current is None or probe.outcome != "ok" or probe.snapshot is None or probe.snapshot.sha256 == current.sha256:
            return probe
        behind = current.timestamp - probe.snapshot.timestamp
        return probe._replace(outcome="stale", detail="{} behind".format(duration(max(0, behind))))

    return tuple(map(with_lag, probes))


def _chosen(findings: Findings, made: Resolution, choice: Choice, note: str, settings: Settings, now: float) -> Resolution:
    """Add the chosen snapshot, who serves it, and a note: the one that is given, or what it deserves."""
    in_turn = sorted(made.probes, key=lambda probe: findings.asked.index(probe.mirror))
    proven = [(probe.mirror, probe.seconds) for probe in in_turn if probe.outcome == "ok"]
    rejected = [Rejection(probe.mirror, probe.outcome, probe.detail) for probe in made.probes if probe.outcome != "ok"]
    seen = [probe.snapshot.sha256 for probe in made.probes if probe.snapshot is not None]
    mirrors = order_proven(proven, settings.prefer)
    if findings.memory.snapshot is not None and findings.memory.snapshot.sha256 == choice.snapshot.sha256:
        asked = {mirror.url for mirror in findings.asked}
        mirrors += [mirror for mirror in findings.plan.proven if mirror.url not in asked]
        mirrors.sort(key=lambda mirror: mirror.source == "origin")
    note = note or _note(findings, choice.snapshot, seen, settings, now)
    return made._replace(snapshot=choice.snapshot, mirrors=tuple(mirrors), rejected=tuple(rejected), note=note,
                         warnings=_warnings(findings.repository, choice.snapshot, rejected, note, now))


def _warnings(repository: Repository, snapshot: Snapshot, rejected: Sequence[Rejection], note: str,
              now: float) -> Tuple[str, ...]:
    """Word what an admin should know although the update goes on: one line for distrusted mirrors, one for a freeze."""
    lines = []
    distrusted = [rejection for rejection in rejected if rejection.reference in TrustError.REFERENCES]
    if distrusted:
        first = min(distrusted, key=lambda rejection: rejection.reference not in (WRONG_REPOSITORY, UNCONFIRMED))
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
    if findings.listed_now and not _replaces(findings):
        listed = MirrorList(previous.mirrors, previous.sha256)
    mirrors = listed.mirrors or previous.mirrors
    is_blamed = not _is_own_outage(findings, made)
    records: Dict[str, Record] = {
        probe.mirror.url: judge_record(previous.records.get(probe.mirror.url), probe, int(now), is_blamed)
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
                  findings.repository.place, rates=previous.rates)


def _is_own_outage(findings: Findings, made: Resolution) -> bool:
    """Whether nobody at all could be reached, the redirector included, so that no mirror is to blame."""
    if made.snapshot is not None or findings.listed_now or findings.digest or findings.dialogue.reached:
        return False
    asked = [(question.root, "unreachable") for question in findings.dialogue.asked]
    return is_own_outage(asked + [(probe.mirror.url, probe.outcome) for probe in made.probes])


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


_KEY_REFERENCES = ("unknown-key", "key-revoked", "key-expired")  # what a host meets that was off while the key changed


def _nobody(findings: Findings, probes: Sequence[Probe]) -> MirrorsError:
    """Name why no mirror is proven: the first distrust if any mirror answered at all, else what kept them away."""
    asked = len(findings.asked)
    hint = "see 'xcpng-mirrors mirrors --repo {}'".format(findings.repository.id)
    wrong = {probe.mirror.url: TrustError(WRONG_REPOSITORY, probe.detail, where=probe.mirror.url) for probe in probes
             if probe.outcome == WRONG_REPOSITORY}
    errors: Dict[str, MirrorsError] = dict(findings.errors, **wrong)
    failures = [errors[mirror.url] for mirror in findings.asked if mirror.url in errors]
    if failures and all(error.reference in CLOCK_REFERENCES for error in failures):
        wrong_clock = "check this host's clock (timedatectl): every mirror looks wrong in time"
        hint = "; ".join(filter(None, [wrong_clock, offset_words(findings.offsets), CLOCK_REMEDY]))
    distrusted = [error for error in failures if isinstance(error, TrustError)]
    if distrusted:
        first = distrusted[0]
        if any(error.reference in _KEY_REFERENCES for error in distrusted):
            hint = "if its key was changed, 'xcpng-mirrors key show' names the commands; else " + hint
        what = "none of {} mirrors offers metadata that the pinned key has signed{}: {}".format(
            asked, " for this repository" if wrong else "", first.what)
        return TrustError(first.reference, what, where=first.where, hint=hint)
    if not failures:
        return FetchError("timed-out" if asked else "unreachable",
                          "none of {} mirrors answered in time".format(asked) if asked else "no mirror is known", hint=hint)
    return FetchError(failures[0].reference if isinstance(failures[0], FetchError) else "unreachable",
                      "none of {} mirrors can be used: {}".format(asked, failures[0].what), where=failures[0].where, hint=hint)
