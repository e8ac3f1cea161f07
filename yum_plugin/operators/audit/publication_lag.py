"""How often a mirror syncs, and how long after a publication it has it, concluded from repeated samples of mirror and origin.

A sync shows only where something had changed meanwhile. So both are known only within bounds: the times of two samples.

Pure, but for ``watch``, whose clock and sleep are passed in.
"""
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..facts import SYNC_SECONDS
from .model import OverBudget

MAX_SAMPLES = 100000  # the command allows 14 days of one a minute, which are 20,160


class SignedRevision(NamedTuple):
    """A proven repomd.xml."""

    sha256: str
    signed_at: int  # seconds since 1970


class RevisionSample(NamedTuple):
    """What mirror and origin served of one repository at one time; None: nothing that could be proven."""

    at: float  # seconds since 1970
    mirror: Optional[SignedRevision]
    origin: Optional[SignedRevision]


class SecondsRange(NamedTuple):
    """A number of seconds that is known within bounds."""

    least: float
    most: Optional[float]  # None: no upper bound is known


class Publication(NamedTuple):
    """A publication at the origin, and when the mirror had it."""

    sha256: str
    published_at: float  # seconds since 1970, the earliest that it can have been
    seen_at: float  # seconds since 1970, when the origin was first seen with it
    lag: SecondsRange
    arrived: bool  # whether the mirror has it


class WatchSummary(NamedTuple):
    """What the samples of one repository show."""

    publications: Tuple[Publication, ...]
    intervals: Tuple[SecondsRange, ...]  # between one change at the mirror and the next
    samples: int
    unproven: int  # samples in which nothing of the mirror could be proven


def summarize_watch(samples: Sequence[RevisionSample]) -> WatchSummary:
    """Conclude what can be said of one repository.

    Args:
        samples: in the order of their times.

    Returns:
        Publications in their order: those seen to happen, and the one that the mirror lacked in the first sample.
    """
    proven = [(sample.at, sample.mirror.sha256) for sample in samples if sample.mirror is not None]
    changes = [(before[0], after[0]) for before, after in zip(proven, proven[1:]) if before[1] != after[1]]
    intervals = tuple(SecondsRange(max(0.0, late[0] - early[1]), late[1] - early[0]) for early, late in zip(changes, changes[1:]))
    return WatchSummary(tuple(_publications(samples)), intervals, len(samples), sum(sample.mirror is None for sample in samples))


def _publications(samples: Sequence[RevisionSample]) -> List[Publication]:
    found = []
    before: Optional[RevisionSample] = None
    for number, sample in enumerate(samples):
        origin, mirror = sample.origin, sample.mirror
        if origin is None:
            continue
        is_new = before is not None and before.origin is not None and before.origin.sha256 != origin.sha256
        lacked = before is None and mirror is not None and mirror.sha256 != origin.sha256
        mirror_is_ahead = mirror is not None and mirror.signed_at > origin.signed_at
        if (is_new or lacked) and not mirror_is_ahead:
            earliest = max(float(origin.signed_at), before.at if before is not None else 0.0)
            found.append(_follow(origin, min(earliest, sample.at), sample.at, samples[number:]))
        before = sample
    return found


def _follow(published: SignedRevision, earliest: float, latest: float, samples: Sequence[RevisionSample]) -> Publication:
    """Find when the mirror had what was published between two times; a later revision counts as well."""
    lacking_at = latest
    for sample in samples:
        if sample.mirror is None:
            continue
        if sample.mirror.sha256 == published.sha256 or sample.mirror.signed_at > published.signed_at:
            lag = SecondsRange(max(0.0, lacking_at - latest), sample.at - earliest)
            return Publication(published.sha256, earliest, latest, lag, True)
        lacking_at = sample.at
    return Publication(published.sha256, earliest, latest, SecondsRange(max(0.0, lacking_at - latest), None), False)


def worst_lag(watched: Sequence[WatchSummary]) -> Optional[SecondsRange]:
    """Return the longest lag, by its lower bound and then by its upper one; None if nothing was published."""
    lags = [publication.lag for each in watched for publication in each.publications]
    return max(lags, key=lambda lag: (lag.least, float("inf") if lag.most is None else lag.most), default=None)


def keeps_up(lag: SecondsRange) -> Optional[bool]:
    """Tell whether a mirror with this lag syncs often enough; None: the bounds do not decide it."""
    if lag.least > SYNC_SECONDS:
        return False
    return True if lag.most is not None and lag.most <= SYNC_SECONDS else None


class WatchSchedule(NamedTuple):
    """When samples are taken."""

    every_seconds: float
    for_seconds: float
    clock: Callable[[], float]  # seconds since 1970
    sleep: Callable[[float], None]


def watch(take: Callable[[], Mapping[str, RevisionSample]], schedule: WatchSchedule,
          on_sample: Callable[[int, float], None]) -> Dict[str, List[RevisionSample]]:
    """Take samples until the time is over; Ctrl-C, or a budget that is spent, ends it early.

    Args:
        take: takes a sample of all repositories, by their paths.
        schedule: see there.
        on_sample: called before each sleep with the number of samples and the seconds that are left.

    Returns:
        The samples of each repository.
    """
    began = schedule.clock()
    samples: Dict[str, List[RevisionSample]] = {}
    try:
        for number in range(1, MAX_SAMPLES + 1):
            for path, sample in take().items():
                samples.setdefault(path, []).append(sample)
            left = began + schedule.for_seconds - schedule.clock()
            if left <= 0:
                break
            on_sample(number, left)
            schedule.sleep(min(left, schedule.every_seconds))
    except (KeyboardInterrupt, OverBudget):
        pass  # the samples so far count
    return samples
