"""What is shown: the table of docs/scale.md, and the figures behind it."""
from statistics import median
from typing import List, NamedTuple, Sequence

from .count import METADATA, PACKAGE
from .run import Outcome
from .world import DAY, HOUR

NEGLIGIBLE = 0.05  # of the average mirror's part: less is no part that a ratio says anything about
HEADER = (
    "| mirrors | design | requests a mirror and day, median - most | on its worst day | KB a mirror and day, median - most "
    "| metadata: got/weight | packages: got/weight | worst minute / mean | origin, requests a day | redirector, requests "
    "(GB) a day | hours until half, 95 %, all know |",
    "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")


class Row(NamedTuple):
    """One line of the table; all but the last columns are of metadata, by what is asked to find and get it."""

    mirrors: int
    design: str
    requests: List[float]  # a mirror and day, in order
    worst_day: float  # of any mirror
    sizes: List[float]  # bytes a mirror and day, in order
    ratio: List[float]  # least and most of requests got / due by weight
    package_ratio: List[float]  # the same of bytes of packages
    peak: float  # requests to all mirrors in the worst minute / in a mean one
    origin: float  # requests a day
    redirector: float
    redirector_bytes: float
    hours: List[float]  # half, 95 %, all


def row_of(outcome: Outcome) -> Row:
    """Sum an outcome up."""
    count, mirrors = outcome.count, outcome.mirrors
    requests = [sum(hours) / count.days for hours in count.requests[METADATA]]
    sizes = [sum(hours) / count.days for hours in count.bytes[METADATA]]
    delays = outcome.delays or [0.0]
    return Row(
        mirrors, outcome.design, sorted(requests[:mirrors]), max(map(worst_day, count.requests[METADATA][:mirrors])),
        sorted(sizes[:mirrors]), _ratios(outcome, METADATA), _ratios(outcome, PACKAGE),
        max(count.minutes) / (sum(count.minutes) / len(count.minutes)), requests[count.origin], requests[count.redirector],
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
    """Return the table."""
    return "\n".join(HEADER + tuple(map(_line, rows)))


def _line(row: Row) -> str:
    cells = [
        str(row.mirrors), row.design, "{:,.0f} - {:,.0f}".format(median(row.requests), row.requests[-1]),
        "{:,.0f}".format(row.worst_day), "{:,.0f} - {:,.0f}".format(median(row.sizes) / 1e3, row.sizes[-1] / 1e3),
        "{:.2f} - {:.2f}".format(*row.ratio), "{:.2f} - {:.2f}".format(*row.package_ratio), "{:.1f}".format(row.peak),
        "{:,.0f}".format(row.origin), "{:,.0f} ({:.1f})".format(row.redirector, row.redirector_bytes / 1e9),
        ", ".join(map(_hours, row.hours))]
    return "| {} |".format(" | ".join(cells))


def _hours(value: float) -> str:
    return "later" if value == float("inf") else "{:.1f}".format(value)
