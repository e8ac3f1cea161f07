"""Which file, or which part of one, comes next from which mirror. Pure: counts, rates and times come in.

Rules, in order:
    1. A part that nobody fetches goes to a mirror that was tried least often for its file; of those to one that is no last
       resort, then to one that failed least often, then to one that is not slow. It waits for such a mirror rather
       than ask another.
    2. A mirror is slow if another one was measured to send ``MUCH_FASTER`` times as fast, and it would not be done with the part
       before all together are done with all that is missing. One that was never measured is not: that is its chance.
    3. Among equals the one with the fewest requests under way comes next, then the given order: three mirrors give more than one.
    4. If no file waits, a mirror without a request takes over the rear of a part, so that all end at
       the same time by their rates; one that was never measured counts as the one that it helps. So large files come from
       several mirrors at once, the last files are not waited for, and no byte is asked for twice.
    5. That happens only if it saves ``WORTH_SECONDS`` and both keep ``LEAST_BYTES``: a request costs a volunteer something.
"""
from typing import NamedTuple, Optional, Sequence, Tuple

from .stall import MUCH_FASTER

WORTH_SECONDS = 0.3  # a new connection to a mirror of the same continent costs as much
LEAST_BYTES = 256 * 1024  # a shorter part is mostly the answer's delay


class MirrorLoad(NamedTuple):
    """A mirror that may be asked for a part."""

    url: str
    tries: int = 0  # for this file
    last_resort: bool = False
    failures: int = 0  # for all files
    rate: float = 0.0  # bytes per second of one request; 0: never measured
    under_way: int = 0  # requests
    room: int = 1  # how many more requests it may get
    answer_seconds: float = 0.0  # what an answer takes; 0: unknown


class Running(NamedTuple):
    """A part that is being fetched."""

    mirror: str
    position: int  # the next byte
    end: int
    rate: float  # bytes per second; 0: not known yet


class Cut(NamedTuple):
    """Who takes over what (rule 4)."""

    at: int  # the first byte for the other mirror
    url: str


def next_mirror(choices: Sequence[MirrorLoad], wanted: int = 0, missing: int = 0) -> Tuple[bool, Optional[str]]:
    """Apply rules 1 to 3.

    Args:
        choices: the mirrors that may be asked for the part at all, in the given order.
        wanted: bytes of the part; 0: unknown.
        missing: bytes of all files.

    Returns:
        Whether there is any, and which one is asked now; None: the best are busy.
    """
    rates = [choice.rate for choice in choices]
    all_seconds = missing / max(sum(rates), 1.0)

    def standing(choice: MirrorLoad) -> Tuple[int, bool, int, bool]:
        slow = _is_outdone(choice.rate, max(rates)) and (not wanted or wanted / choice.rate > all_seconds)
        return (choice.tries, choice.last_resort, choice.failures, slow)

    best = min((standing(choice) for choice in choices), default=None)
    free = [choice for choice in choices if standing(choice) == best and choice.room > 0]
    return bool(choices), min(free, key=lambda choice: choice.under_way).url if free else None


def _is_outdone(rate: float, best: float) -> bool:
    return 0.0 < rate * MUCH_FASTER < best


def next_cut(part: Running, idle: Sequence[MirrorLoad]) -> Optional[Cut]:
    """Apply rules 4 and 5.

    Args:
        part: that may be divided.
        idle: mirrors that may help and have no request under way, in the given order.

    Returns:
        What to take over, or None.
    """
    helpers = [choice for choice in idle if not _is_outdone(choice.rate, part.rate)]
    if not helpers or part.rate <= 0.0:
        return None
    helper = max(helpers, key=lambda choice: choice.rate or part.rate)  # of equal ones the first
    rest = part.end - part.position
    rates = part.rate + sum(choice.rate or part.rate for choice in helpers)
    taken = int(rest * (helper.rate or part.rate) / rates)
    if min(taken, rest - taken) < LEAST_BYTES or taken / part.rate < WORTH_SECONDS + helper.answer_seconds:
        return None
    return Cut(part.end - taken, helper.url)
