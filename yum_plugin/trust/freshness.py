"""Which of the repomd.xml files that mirrors offer is to be used.

Rules, in order:
    1. Only snapshots whose signature was proven reach this module. One that was signed, or whose data is dated, later than
       now + 24 h is used and told, for most often this host's clock is wrong. It never becomes the high-water mark, so it
       keeps nobody from what comes after it (fast-forward).
    2. Newer is what its owner signed later: snapshots are ordered by (signing time, newest data timestamp, revision). The data
       alone says little: without a file of metadata (modifyrepo_c --remove) it is older, and times may be missing.
    3. The newest snapshot is current. It is a rollback if both its data and its signature are older than those of the high-water
       mark; nobody but the key's owner can make a newer one. The very bytes that were accepted are never one.
    4. A mirror is usable if it serves exactly the current bytes; otherwise it is stale.
    5. If the redirector names another digest, one that no mirror serves, this is reported and changes nothing.
    6. If the current snapshot is older than ``max_age``, this is reported as a possible freeze and changes nothing.

Pure: no network, no disk, no clock.
"""
from typing import List, NamedTuple, Optional, Sequence, Tuple

from ..errors import TrustError
from ..model import Mirror, Snapshot

MAX_AHEAD_SECONDS = 24 * 3600  # more than any time zone: a clock set to local time still works


class Offer(NamedTuple):
    """A proven snapshot, and the mirror that served it."""

    mirror: Mirror
    snapshot: Snapshot


class Choice(NamedTuple):
    """The snapshot to use, the mirrors that serve it, and the others with their lag."""

    snapshot: Snapshot
    usable: List[Mirror]
    stale: List[Tuple[Mirror, int]]  # seconds behind; 0 for a snapshot that differs only in revision or signing time


def seconds_ahead(snapshot: Snapshot, now: float) -> int:
    """Return how far in the future a snapshot was signed or is dated (rule 1); 0 up to ``MAX_AHEAD_SECONDS``.

    Args:
        snapshot: a proven one.
        now: seconds since 1970.
    """
    ahead = int(max(snapshot.timestamp, snapshot.signed_at) - now)
    return ahead if ahead > MAX_AHEAD_SECONDS else 0


def choose(offers: Sequence[Offer], accepted: Optional[Snapshot]) -> Choice:
    """Choose the current snapshot, and tell usable mirrors from stale ones (rules 2 to 4).

    Args:
        offers: at least one, in the order of preference.
        accepted: the high-water mark of this host; None if it has none.

    Returns:
        The choice; ``usable`` keeps the order of ``offers``.

    Raises:
        TrustError: rollback: the newest snapshot is older than the accepted one.
    """
    current = newest(offers)
    refuse_rollback(current, accepted)
    usable = [offer.mirror for offer in offers if offer.snapshot.sha256 == current.sha256]
    stale = [(offer.mirror, max(0, current.timestamp - offer.snapshot.timestamp))
             for offer in offers if offer.snapshot.sha256 != current.sha256]
    return Choice(current, usable, stale)


def newest(offers: Sequence[Offer]) -> Snapshot:
    """Return the newest snapshot offered; the first one if several are equally new."""
    return max((offer.snapshot for offer in offers), key=lambda snapshot: snapshot.age_key)


def is_rollback(current: Snapshot, accepted: Optional[Snapshot]) -> bool:
    """Tell whether a snapshot is older than what this host has accepted, and other bytes (rule 3)."""
    return (accepted is not None and current.sha256 != accepted.sha256
            and current.signed_at < accepted.signed_at and current.data_key <= accepted.data_key)


def refuse_rollback(current: Snapshot, accepted: Optional[Snapshot]) -> None:
    """Refuse a snapshot that is a rollback (rule 3).

    Args:
        current: a proven one.
        accepted: the high-water mark of this host; None if it has none.

    Raises:
        TrustError: rollback.
    """
    if accepted is None or not is_rollback(current, accepted):
        return
    behind = (accepted.timestamp - current.timestamp) or (accepted.signed_at - current.signed_at)
    raise TrustError(
        "rollback", "the newest metadata offered is {} older than what this host has accepted".format(duration(behind)),
        where="revision {}, accepted {}".format(current.revision, accepted.revision))


def note_of(current: Snapshot, named_sha256: str, seen: Sequence[str], max_age_seconds: int, now: int) -> str:
    """Return the note that a snapshot deserves, if any (rules 5 and 6).

    Args:
        current: the snapshot chosen.
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
    """Word a length of time for people, in the largest unit that is not misleading.

    Args:
        seconds: 0 or more.

    Returns:
        E.g. "40 s", "25 min", "26 h", "12 days".
    """
    for size, limit, unit in ((1, 120, "s"), (60, 120, "min"), (3600, 72, "h")):
        if seconds < size * limit:
            return "{} {}".format(int(seconds // size), unit)
    return "{} days".format(int(seconds // 86400))
