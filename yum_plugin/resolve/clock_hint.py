"""What is said about a wrong clock of this host. Servers' Date headers are hints for people, and decide nothing. Pure."""
from typing import List, Sequence

from ..errors import CLOCK_REMEDY, describe
from ..trust.freshness import duration, seconds_ahead
from ..util.text import http_time
from .resolution import Resolution

ALIKE_SECONDS = 300


def offset_of(date: str, now: float) -> List[float]:
    """Return by how many seconds the clock of a server is ahead of this host's, by its Date header; none without one."""
    said = http_time(date)
    return [] if said is None else [said - now]


def offset_words(offsets: Sequence[float]) -> str:
    """Word what several servers' clocks say of this host's; "" if none has said anything."""
    if not offsets:
        return ""
    ahead = 60 * round(sorted(offsets)[len(offsets) // 2] / 60)  # the median: one wrong server does not count
    if abs(ahead) <= ALIKE_SECONDS:
        return "the servers' clocks (Date) agree with this host's"
    side = "behind" if ahead > 0 else "ahead"
    return "by the servers' clocks (Date) this host's is {} {}".format(duration(int(abs(ahead))), side)


def with_clock_told(resolutions: Sequence[Resolution], now: float) -> List[Resolution]:
    """Mark the resolutions whose metadata is of the future, and add one warning about all of them to the first."""
    judged = [item if item.snapshot is None else item._replace(ahead=seconds_ahead(item.snapshot, now)) for item in resolutions]
    future = [item for item in judged if item.ahead]
    if future:
        most = duration(max(item.ahead for item in future))
        what = "the metadata is {} ahead of this host's clock; it is used, and not accepted for good".format(most)
        said = offset_words([offset for item in judged for offset in item.offsets])
        names = ", ".join(item.repository.id for item in future)
        told = describe("clock", "; ".join(filter(None, [what, said])), names, CLOCK_REMEDY)
        first = judged.index(future[0])
        judged[first] = future[0]._replace(warnings=future[0].warnings + (told,))
    return judged
