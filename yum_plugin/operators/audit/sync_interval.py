"""How often a mirror syncs, and how long after a publication it has it: from repeated looks at it and at its origin.

A mirror's sync shows only where something changed meanwhile. So both are told as bounds, between two looks.

Pure, but for ``watch``, whose clock and sleep are passed in.
"""
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .model import OverBudget

MAX_LOOKS = 100000
SYNC_SECONDS = 3600  # the documentation's prerequisite: at least hourly


class SignedRevision(NamedTuple):
    """A signed repomd.xml at one place."""

    sha256: str
    signed_at: int  # seconds since 1970


class RevisionSample(NamedTuple):
    """What one look at one repository saw; None: nothing that can be believed."""

    at: float  # seconds since 1970
    mirror: Optional[SignedRevision]
    origin: Optional[SignedRevision]


class SecondsRange(NamedTuple):
    """A number of seconds that is known within bounds."""

    least: float
    most: Optional[float]  # None: no upper bound is known


class Publication(NamedTuple):
    """A publication at the origin, and how the mirror came by it."""

    sha256: str
    published_at: float  # seconds since 1970, the earliest that it can have been
    seen_at: float  # seconds since 1970, when the origin was first seen with it
    lag: SecondsRange
    arrived: bool  # whether the mirror has it


class WatchSummary(NamedTuple):
    """What the looks at one repository amount to."""

    publications: Tuple[Publication, ...]
    intervals: Tuple[SecondsRange, ...]  # between one change at the mirror and the next
    looks: int
    unseen: int  # looks that saw nothing at the mirror


def summarize_watch(looks: Sequence[RevisionSample]) -> WatchSummary:
    """Make of the looks at one repository what can be said.

    Args:
        looks: in the order of their times.

    Returns:
        Publications in their order: those seen to happen, and the one that the mirror lacked at the first look.
    """
    changes = _changes([(look.at, look.mirror) for look in looks])
    intervals = tuple(SecondsRange(max(0.0, late[0] - early[1]), late[1] - early[0]) for early, late in zip(changes, changes[1:]))
    return WatchSummary(tuple(_publications(looks)), intervals, len(looks), sum(look.mirror is None for look in looks))


def _changes(seen: Sequence[Tuple[float, Optional[SignedRevision]]]) -> List[Tuple[float, float]]:
    """Return the times between which what is seen became another."""
    believed = [(at, each) for at, each in seen if each is not None]
    return [(before[0], after[0]) for before, after in zip(believed, believed[1:]) if before[1].sha256 != after[1].sha256]


def _publications(looks: Sequence[RevisionSample]) -> List[Publication]:
    found = []
    before: Optional[RevisionSample] = None
    for number, look in enumerate(looks):
        if look.origin is None:
            continue
        is_new = before is not None and before.origin is not None and before.origin.sha256 != look.origin.sha256
        lacked = before is None and look.mirror is not None and look.mirror.sha256 != look.origin.sha256
        if (is_new or lacked) and not _is_newer(look.mirror, look.origin):
            earliest = max(float(look.origin.signed_at), before.at if before is not None else 0.0)
            found.append(_follow(look.origin, min(earliest, look.at), look.at, looks[number:]))
        before = look
    return found


def _is_newer(mirror: Optional[SignedRevision], origin: SignedRevision) -> bool:
    return mirror is not None and mirror.signed_at > origin.signed_at


def _follow(published: SignedRevision, earliest: float, latest: float, looks: Sequence[RevisionSample]) -> Publication:
    """Find when the mirror came to have what was published between two times; what it had later counts as well."""
    lacking_at = latest
    for look in looks:
        if look.mirror is None:
            continue
        if look.mirror.sha256 == published.sha256 or look.mirror.signed_at > published.signed_at:
            lag = SecondsRange(max(0.0, lacking_at - latest), look.at - earliest)
            return Publication(published.sha256, earliest, latest, lag, True)
        lacking_at = look.at
    return Publication(published.sha256, earliest, latest, SecondsRange(max(0.0, lacking_at - latest), None), False)


def worst_lag(watched: Sequence[WatchSummary]) -> Optional[SecondsRange]:
    """Return the longest lag of all, by its least bound and then by its most; None if nothing was published."""
    lags = [followed.lag for each in watched for followed in each.publications]
    return max(lags, key=lambda lag: (lag.least, float("inf") if lag.most is None else lag.most), default=None)


def keeps_up(lag: SecondsRange) -> Optional[bool]:
    """Tell whether a mirror with this lag syncs often enough; None: it cannot be told from what was seen."""
    if lag.least > SYNC_SECONDS:
        return False
    return True if lag.most is not None and lag.most <= SYNC_SECONDS else None


class WatchSchedule(NamedTuple):
    """When to look."""

    every_seconds: float
    for_seconds: float
    clock: Callable[[], float]  # seconds since 1970
    sleep: Callable[[float], None]


def watch(look: Callable[[], Mapping[str, RevisionSample]], schedule: WatchSchedule,
          on_look: Callable[[int, float], None]) -> Dict[str, List[RevisionSample]]:
    """Look again and again; Ctrl-C, or a budget that is spent, ends it as the time's end does.

    Args:
        look: at all repositories, by their paths.
        schedule: when.
        on_look: called before each sleep with the looks so far and the seconds that are left.

    Returns:
        The looks at each repository.
    """
    began = schedule.clock()
    looks: Dict[str, List[RevisionSample]] = {}
    try:
        for number in range(1, MAX_LOOKS + 1):
            for path, seen in look().items():
                looks.setdefault(path, []).append(seen)
            left = began + schedule.for_seconds - schedule.clock()
            if left <= 0:
                break
            on_look(number, left)
            schedule.sleep(min(left, schedule.every_seconds))
    except (KeyboardInterrupt, OverBudget):
        pass  # what was seen counts
    return looks
