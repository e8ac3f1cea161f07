"""Which of the repomd.xml files that mirrors offered is the one to use.

Rules, in order:
    1. Only snapshots whose signature was proven reach this module (trust/openpgp.py checks the
       signing time); one whose data claims to be from later than now + 24 h is refused (fast-forward).
    2. They order by (newest data timestamp, revision, signing time).
    3. The newest is current. If it orders below the high-water mark it is a rollback,
       unless it is byte for byte the accepted one.
    4. A mirror is usable if it serves exactly the current bytes; otherwise it is stale.
    5. If the redirector names another digest that nobody serves, that is told and changes nothing.
    6. A current snapshot older than ``max_age`` is told as a possible freeze and changes nothing.

Pure: no network, no disk, no clock.
"""
from typing import List, NamedTuple, Optional, Sequence, Tuple

from ..errors import TrustError
from ..model import Mirror, Snapshot

MAX_AHEAD_SECONDS = 24 * 3600


class Offer(NamedTuple):
    """What one mirror served, proven."""

    mirror: Mirror
    snapshot: Snapshot


class Choice(NamedTuple):
    """The verdict: the snapshot to use, the mirrors that serve it, the others with their lag."""

    snapshot: Snapshot
    usable: List[Mirror]
    stale: List[Tuple[Mirror, int]]  # seconds behind; may be 0 for a snapshot that differs in revision only


def refuse_fast_forward(snapshot: Snapshot, now: int) -> None:
    """Rule 1.

    Args:
        snapshot: a proven one.
        now: seconds since 1970.

    Raises:
        TrustError: fast-forward.
    """
    ahead = snapshot.timestamp - now
    if ahead > MAX_AHEAD_SECONDS:
        raise TrustError("fast-forward", "metadata from {} in the future".format(duration(ahead)))


def choose(offers: Sequence[Offer], accepted: Optional[Snapshot]) -> Choice:
    """Rules 2 to 4.

    Args:
        offers: proven offers, in the order of preference; at least one.
        accepted: the high-water mark of this host, if it has one.

    Returns:
        The choice; ``usable`` keeps the order of ``offers``.

    Raises:
        TrustError: rollback.
    """
    current = newest(offers)
    _refuse_rollback(current, accepted)
    usable = [offer.mirror for offer in offers if offer.snapshot.sha256 == current.sha256]
    stale = [(offer.mirror, current.timestamp - offer.snapshot.timestamp)
             for offer in offers if offer.snapshot.sha256 != current.sha256]
    return Choice(current, usable, stale)


def newest(offers: Sequence[Offer]) -> Snapshot:
    """Return the newest snapshot offered; of equal age the first."""
    return max((offer.snapshot for offer in offers), key=lambda snapshot: snapshot.age_key)


def is_rollback(current: Snapshot, accepted: Optional[Snapshot]) -> bool:
    """Rule 3: whether a snapshot is older than what this host has accepted, and not that itself."""
    return accepted is not None and current.sha256 != accepted.sha256 and current.age_key < accepted.age_key


def _refuse_rollback(current: Snapshot, accepted: Optional[Snapshot]) -> None:
    if accepted is None or not is_rollback(current, accepted):
        return
    behind = accepted.timestamp - current.timestamp
    raise TrustError(
        "rollback", "the newest metadata offered is {} older than what this host has accepted".format(duration(behind)),
        where="revision {}, accepted {}".format(current.revision, accepted.revision))


def note_of(current: Snapshot, named_sha256: str, seen: Sequence[str], max_age_seconds: int, now: int) -> str:
    """Rules 5 and 6.

    Args:
        current: the choice's snapshot.
        named_sha256: the digest that the redirector names for its origin; "" if none.
        seen: digests of all proven offers.
        max_age_seconds: 0 switches rule 6 off.
        now: seconds since 1970.

    Returns:
        "propagating", "freeze", or "".
    """
    if max_age_seconds and now - current.timestamp > max_age_seconds:
        return "freeze"
    if named_sha256 and named_sha256 not in seen:
        return "propagating"
    return ""


def duration(seconds: int) -> str:
    """Word a length of time for a person, in the largest unit that keeps it honest.

    Args:
        seconds: 0 or more.

    Returns:
        E.g. "40 s", "25 min", "26 h", "12 days".
    """
    for size, limit, unit in ((1, 120, "s"), (60, 120, "min"), (3600, 72, "h")):
        if seconds < size * limit:
            return "{} {}".format(int(seconds // size), unit)
    return "{} days".format(int(seconds // 86400))
