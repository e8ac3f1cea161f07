"""What is shown: the table of docs/scale.md, and the figures behind it."""
from statistics import median
from typing import List, NamedTuple, Sequence

from .count import METADATA, PACKAGE
from .run import Outcome
from .world import DAY, HOUR

NEGLIGIBLE = 0.05  # of the average mirror's part: less is no part that a ratio says anything about
COLUMNS = (
    "mirrors", "design", "requests a mirror and day, mean", "median", "most", "KB a mirror and day, mean", "median", "most",
    "requests, got/weight", "packages, got/weight", "requests on a mirror's worst day", "in its worst hour",
    "to all mirrors in the worst minute", "requests to the origin a day", "KB from it",
    "requests to the origin on its worst day", "KB from it on its worst day", "GB of packages from it a day",
    "requests to the redirector a day", "MB of that",
    "hours until half, 95 %, all know")


class Row(NamedTuple):
    """One column of the table; all but the last columns are of metadata, by what is asked to find and get it."""

    mirrors: int
    design: str
    requests: List[float]  # a mirror and day, in order
    worst_day: float  # of any mirror
    sizes: List[float]  # bytes a mirror and day, in order
    ratio: List[float]  # least and most of requests got / due by weight
    package_ratio: List[float]  # the same of bytes of packages
    peak: float  # requests to all mirrors in the worst minute
    worst_hour: float  # requests to any mirror
    origin: float  # requests a day
    origin_bytes: float
    origin_worst_day: float
    origin_worst_bytes: float
    origin_package_bytes: float  # a day
    redirector: float
    redirector_bytes: float
    hours: List[float]  # half, 95 %, all


def row_of(outcome: Outcome) -> Row:
    """Sum an outcome up."""
    count, mirrors = outcome.count, outcome.mirrors
    requests = [sum(hours) / count.days for hours in count.requests[METADATA]]
    sizes = [sum(hours) / count.days for hours in count.bytes[METADATA]]
    delays = outcome.delays or [0.0]
    worst_hour = max(max(hours) for hours in count.requests[METADATA][:mirrors])
    return Row(
        mirrors, outcome.design, sorted(requests[:mirrors]), max(map(worst_day, count.requests[METADATA][:mirrors])),
        sorted(sizes[:mirrors]), _ratios(outcome, METADATA), _ratios(outcome, PACKAGE),
        max(count.minutes), worst_hour, requests[count.origin], sizes[count.origin],
        worst_day(count.requests[METADATA][count.origin]), worst_day(count.bytes[METADATA][count.origin]),
        sum(count.bytes[PACKAGE][count.origin]) / count.days, requests[count.redirector],
        sizes[count.redirector], [delays[len(delays) // 2], delays[int(len(delays) * 0.95)], delays[-1]])


def worst_day(hours: Sequence[float]) -> float:
    """Return what came in the day that brought most."""
    width = DAY // HOUR
    return max(sum(hours[begin:begin + width]) for begin in range(0, len(hours), width))


def _ratios(outcome: Outcome, kind: int) -> List[float]:
    """Return least and most of what a mirror got over what the weights would have given it."""
    place = (outcome.count.requests, outcome.count.bytes)[kind == PACKAGE]
    due = outcome.count.due(outcome.redirector, kind)[kind == PACKAGE]
    got = [sum(hours) for hours in place[kind]]
    few = NEGLIGIBLE * sum(due) / outcome.mirrors
    found = [got[site] / due[site] for site in range(outcome.mirrors) if due[site] > few]
    return [min(found), max(found)] if found else [0.0, 0.0]


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the table: a column a world, a line a measure."""
    columns = [COLUMNS] + [_cells(row) for row in rows]
    lines = ["| {} |".format(" | ".join(cells)) for cells in zip(*columns)]
    return "\n".join([lines[0], "|---|" + "--:|" * len(rows)] + lines[1:])


def _cells(row: Row) -> List[str]:
    """Word a row, in the order of COLUMNS."""
    numbers = [sum(row.requests) / row.mirrors, median(row.requests), row.requests[-1]]
    numbers += [size / 1e3 for size in (sum(row.sizes) / row.mirrors, median(row.sizes), row.sizes[-1])]
    cells = [str(row.mirrors), row.design] + ["{:,.0f}".format(number) for number in numbers]
    cells += ["{:.1f} - {:.1f}".format(*ratio) for ratio in (row.ratio, row.package_ratio)]
    rest = (row.worst_day, row.worst_hour, row.peak, row.origin, row.origin_bytes / 1e3, row.origin_worst_day,
            row.origin_worst_bytes / 1e3, row.origin_package_bytes / 1e9, row.redirector, row.redirector_bytes / 1e6)
    return cells + ["{:,.0f}".format(number) for number in rest] + [", ".join(map(_hours, row.hours))]


def _hours(value: float) -> str:
    return "later" if value == float("inf") else "{:.1f}".format(value)
