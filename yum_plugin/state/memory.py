"""The values that a host remembers of one repository, and how they change. Pure."""
from typing import Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..model import Mirror, MirrorList, Probe, Snapshot
from ..trust.identity import UNCONFIRMED
from ..util.urls import authority_of

QUARANTINE_SECONDS = 3600  # a failed mirror is left alone for an hour, doubling with each failure in a row ...
MAX_QUARANTINE_SECONDS = 24 * 3600  # ... up to a day, for mirrors sync daily and are repaired by volunteers
MAX_DECISIONS = 20  # with the next two, mirrors.json grows by 60 KB at most, usually by 10
MAX_REJECTED = 12
MAX_REASON_CHARACTERS = 200
MAX_CLOCK_STEP_SECONDS = 24 * 3600
RATE_SECONDS = 24 * 3600  # so long a mirror counts as quick or slow; then it gets its chance
RATE_CHANGE = 1.25  # a rate that is so much higher or lower is written down ...
RATE_WORTH_SECONDS = 6 * 3600  # ... and any rate after so long
MAX_RATES = 200
MAX_SIGNATURE_BYTES = 8 * 1024  # kept; XCP-ng's have 800


class Record(NamedTuple):
    """What is remembered of one mirror of one repository."""

    outcome: str  # "ok", "stale" or a reference of errors.py
    detail: str
    at: int  # seconds since 1970
    failures: int  # in a row
    quarantined_until: int  # seconds since 1970; 0: not quarantined
    seconds: float
    certificate_expires: Optional[int]


class Decision(NamedTuple):
    """What was decided once, and why."""

    at: int  # seconds since 1970
    about: str  # "metadata", "packages" (only where a mirror failed) or "pin"
    asked: int = 0  # mirrors
    revision: int = 0  # of the metadata chosen
    used: Tuple[str, ...] = ()  # authorities (host:port), best first
    rejected: Tuple[Tuple[str, str, str], ...] = ()  # authority, reference or "not-asked", reason in words
    more: int = 0  # rejected too, but not kept
    note: str = ""  # of a Resolution, or "accept-rollback"; of a pin: until when, "" if it was lifted
    error: str = ""  # reference and words, if nothing could be used


class Memory(NamedTuple):
    """The mirrors of a repository and the last resolution: the content of mirrors.json."""

    mirrors: Tuple[Mirror, ...] = ()
    sha256: str = ""  # the redirector's advice when the list was fetched
    records: Dict[str, Record] = {}  # by Mirror.url
    snapshot: Optional[Snapshot] = None  # of the last resolution, without raw
    usable: Tuple[str, ...] = ()  # Mirror.url of the last resolution, best first
    resolved_at: float = 0.0  # seconds since 1970
    note: str = ""
    decisions: Tuple[Decision, ...] = ()  # the newest last
    confirmed_at: float = 0.0  # seconds since 1970; when a mirror has last served the snapshot
    jitter: float = 0.0  # 0 to 1, drawn then; see resolve/refresh_policy.py
    fingerprints: Tuple[str, ...] = ()  # of the keys under which the snapshot was proven
    signature: str = ""  # repomd.xml.asc of the snapshot, a character a byte; "" if there is none or it is long
    place: str = ""  # ``Repository.place`` that all of this is about; "": written by a version that knew none
    listed_at: float = 0.0  # seconds since 1970; when the redirector has last sent its list
    digest_unknown_at: float = 0.0  # seconds since 1970; when it did not know the request for the digest alone; 0: it does
    answer_seconds: float = 0.0  # that its answers take, connecting included, see resolve/patience.py; 0: not known
    listed_securely: bool = False  # ``mirrors`` came by https: an http list does not replace them
    blocked_at: float = 0.0  # seconds since 1970; when https to the redirector was waited for in vain; 0: it is not blocked
    unauthenticated_since: float = 0.0  # seconds since 1970; only answers that anybody can forge were heard since; 0: others, too
    rates: Dict[str, Tuple[float, int]] = {}  # by Mirror.url: bytes per second of downloads, and when, in seconds since 1970
    waited_at: float = 0.0  # seconds since 1970; when a look has last waited, which proves nothing (refresh_policy.py, rule 6)
    awaited_sha256: str = ""  # that the redirector named then in place of ``snapshot``; "": nothing is known to be new
    awaited_since: float = 0.0  # seconds since 1970; when it first did
    told: str = ""  # what the admin has been told once, of a copy of his own


class SnapshotPin(NamedTuple):
    """Metadata that this host takes until a time, whatever is newer: the content of pin.json."""

    snapshot: Snapshot  # without raw
    expires: int  # seconds since 1970
    taken_at: int
    place: str = ""  # as of ``Memory``

    def holds(self, now: float) -> bool:
        """Whether it counts; a clock that was set back makes no pin longer."""
        return self.taken_at - MAX_CLOCK_STEP_SECONDS <= now < self.expires


class Remembered(NamedTuple):
    """All that decides about one repository, read together."""

    folder: str  # of the repository, on this disk
    memory: Memory = Memory()
    accepted: Optional[Snapshot] = None  # the high-water mark: the newest metadata that the package manager has accepted
    pin: Optional[SnapshotPin] = None  # whether it still holds or not
    others: Mapping[str, str] = {}  # digest -> another repository, in words; see trust/identity.py


def is_own_outage(outcomes: Sequence[Tuple[str, str]]) -> bool:
    """Whether failures are this host's: several servers were asked, and not one of them could be reached.

    Args:
        outcomes: URL and outcome of each server.
    """
    servers = {authority_of(url) for url, _ in outcomes}
    return len(servers) > 1 and all(outcome in ("unreachable", "timed-out") for _, outcome in outcomes)


def judge_record(previous: Optional[Record], probe: Probe, now: int, is_blamed: bool = True) -> Record:
    """Turn a probe into what is remembered of the mirror, and decide how long it is quarantined.

    Args:
        previous: what was remembered before.
        probe: what asking it gave; outcome "stale" counts as healthy, for it may catch up any minute, and so does "unconfirmed",
            for it may be the first one to have something new.
        now: seconds since 1970.
        is_blamed: whether a failure is the mirror's; that of this host quarantines nobody.

    Returns:
        The new record.
    """
    if probe.outcome in ("ok", "stale", UNCONFIRMED):
        return Record(probe.outcome, probe.detail, now, 0, 0, probe.seconds, probe.certificate_expires)
    if not is_blamed:
        failures, until = (previous.failures, previous.quarantined_until) if previous else (0, 0)
        return Record(probe.outcome, probe.detail, now, failures, until, probe.seconds, probe.certificate_expires)
    failures = (previous.failures if previous else 0) + 1
    seconds = min(MAX_QUARANTINE_SECONDS, QUARANTINE_SECONDS * 2 ** min(failures - 1, 10))
    return Record(probe.outcome, probe.detail, now, failures, now + seconds, probe.seconds, probe.certificate_expires)


def with_decision(memory: Memory, decision: Decision) -> Memory:
    """Return a memory that also holds a decision, cut to what is worth keeping; the oldest one goes."""
    rejected = tuple((authority, reference, reason[:MAX_REASON_CHARACTERS]) for authority, reference, reason in decision.rejected)
    kept = decision._replace(
        used=decision.used[:MAX_REJECTED], rejected=rejected[:MAX_REJECTED], error=decision.error[:2 * MAX_REASON_CHARACTERS],
        more=decision.more + max(0, len(rejected) - MAX_REJECTED))
    return memory._replace(decisions=(memory.decisions + (kept,))[-MAX_DECISIONS:])


def quarantined(memory: Memory, now: int) -> Sequence[str]:
    """Return the authorities (host:port) of the mirrors that are quarantined at ``now``."""
    # An end further away than any quarantine lasts was written under a wrong clock.
    return [authority_of(url) for url, record in memory.records.items()
            if now < record.quarantined_until <= now + MAX_QUARANTINE_SECONDS]


def known_rate(memory: Memory, url: str, now: int) -> float:
    """Return the bytes per second that a mirror has sent lately; 0 if that is not known."""
    rate, at = memory.rates.get(url, (0.0, 0))
    return rate if 0 <= now - at <= RATE_SECONDS else 0.0


def with_rates(memory: Memory, measured: Mapping[str, float], now: int) -> Memory:
    """Return a memory that also holds new rates, each halfway between what was known and what was measured; old ones go.

    It is the same one if nothing is new in them.
    """
    known = {url: known_rate(memory, url, now) for url in measured}
    news = {url: (rate + (known[url] or rate)) / 2 for url, rate in measured.items()
            if not known[url] / RATE_CHANGE <= rate <= known[url] * RATE_CHANGE
            or now - memory.rates[url][1] > RATE_WORTH_SECONDS}
    if not news:
        return memory
    rates = {url: entry for url, entry in memory.rates.items() if known_rate(memory, url, now)}
    rates.update((url, (rate, now)) for url, rate in news.items())
    newest = sorted(rates, key=lambda url: rates[url][1])[-MAX_RATES:]
    return memory._replace(rates={url: rates[url] for url in newest})


def known_list(memory: Memory) -> MirrorList:
    """Return the last known mirror list as a source of its own."""
    mirrors = (mirror if mirror.source == "origin" else mirror._replace(source="known") for mirror in memory.mirrors)
    return MirrorList(tuple(mirrors), memory.sha256)
