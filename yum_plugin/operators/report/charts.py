"""Small charts of the observations over time, as inline SVG, each with a sentence for screen readers."""
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...state.history import Observation
from ...trust.freshness import duration
from ...util.text import utc_words
from .markup import Content, Markup, element, joined
from .values import ORDER, SHOWN_ORDER, MirrorSite, state_of

HOUR, DAY = 3600, 86400
SPANS = (DAY, 7 * DAY, 30 * DAY, 90 * DAY)
BARS = 30
BAR_WIDTH, BAR_GAP, STRIP_HEIGHT = 3, 1, 18
WIDTH, HEIGHT = 320.0, 96.0  # of a chart, with its margins
LEFT, RIGHT, TOP, BOTTOM = 46.0, 6.0, 8.0, 18.0
# How much of the strip's height a bar fills: the state shows without colours too.
_FILL = {"ok": 1.0, "stale": 0.62, "failed": 0.3, "refused": 0.3}


class ChartSpan(NamedTuple):
    """The time that all charts of a page show."""

    begin: int  # seconds since 1970
    end: int

    @property
    def words(self) -> str:
        """E.g. "last 30 days"."""
        seconds = self.end - self.begin
        return "last 24 hours" if seconds <= DAY else "last {} days".format(seconds // DAY)


def span_of(sites: Sequence[MirrorSite], now: int) -> ChartSpan:
    """Choose the time that the charts show: the shortest with every observation, up to 90 days."""
    oldest = min((each.at for site in sites for each in site.observations[:1]), default=now)
    return ChartSpan(now - next((span for span in SPANS if oldest >= now - span), SPANS[-1]), now)


def strip(observations: Sequence[Observation], span: ChartSpan) -> Markup:
    """Draw a bar for each part of the time, for its worst state.

    Args:
        observations: of a site, the oldest first.
        span: of all strips.
    """
    worst = _buckets(observations, span)
    bars = [_bar(place, worst.get(place)) for place in range(BARS)]
    width = BARS * (BAR_WIDTH + BAR_GAP) - BAR_GAP
    return element("svg", element("title", _counted(observations, span)), joined(bars), class_="strip", role="img",
                   width=width, height=STRIP_HEIGHT, viewBox="0 0 {} {}".format(width, STRIP_HEIGHT))


def _buckets(observations: Sequence[Observation], span: ChartSpan) -> Dict[int, str]:
    worst: Dict[int, str] = {}
    for each in observations:
        if span.begin <= each.at <= span.end:
            place = min(BARS - 1, (each.at - span.begin) * BARS // max(1, span.end - span.begin))
            worst[place] = min(worst.get(place, "ok"), state_of(each.outcome), key=ORDER.index)
    return worst


def _bar(place: int, state: Optional[str]) -> Markup:
    x = place * (BAR_WIDTH + BAR_GAP)
    if state is None:
        return element("rect", x=x, y=STRIP_HEIGHT - 1, width=BAR_WIDTH, height=1, class_="none")
    height = round(STRIP_HEIGHT * _FILL[state])
    return element("rect", x=x, y=STRIP_HEIGHT - height, width=BAR_WIDTH, height=height, class_=state)


def _counted(observations: Sequence[Observation], span: ChartSpan) -> str:
    states = [state_of(each.outcome) for each in observations if span.begin <= each.at <= span.end]
    if not states:
        return "Nothing observed in the {}".format(span.words)
    counts = ", ".join("{} {}".format(states.count(name), name) for name in SHOWN_ORDER if name in states)
    return "{} observations in the {}: {}".format(len(states), span.words, counts)


class Axis(NamedTuple):
    """The vertical axis of a chart."""

    title: str
    value: Callable[[Observation], Optional[float]]
    words: Callable[[float], str]
    least: float  # the smallest value that reaches the top


def _milliseconds(seconds: float) -> str:
    return "{:.0f} ms".format(seconds * 1000) if seconds < 1 else "{:.1f} s".format(seconds)


FIRST_BYTE = Axis("Time to the first byte", lambda seen: seen.first_byte_seconds, _milliseconds, 0.05)
LAG = Axis("Behind the newest", lambda seen: seen.lag_seconds, lambda value: duration(int(value)) if value else "0", float(HOUR))
AXES = (FIRST_BYTE, LAG)


def chart(observations: Sequence[Observation], span: ChartSpan, axis: Axis) -> Content:
    """Draw one value over time; nothing for fewer than two observations.

    Args:
        observations: the oldest first.
        span: what is shown.
        axis: which value.
    """
    seen = [(each.at, float(value)) for each, value in ((each, axis.value(each)) for each in observations)
            if value is not None and span.begin <= each.at <= span.end]
    if len(seen) < 2:
        return ""
    values = [value for _, value in seen]
    top = max([axis.least] + values)
    title = "{} in the {}: from {} to {}, last {}".format(
        axis.title, span.words, axis.words(min(values)), axis.words(max(values)), axis.words(values[-1]))
    points = [(_x(at, span), _y(value, top)) for at, value in _thinned(seen)]
    line = "M" + "L".join("{:.1f} {:.1f}".format(x, y) for x, y in points)
    # Many dots would hide the line.
    dots = [element("circle", cx=round(x, 1), cy=round(y, 1), r=1.6) for x, y in points if len(points) <= 2 * BARS]
    return element("figure", element("figcaption", axis.title), element(
        "svg", element("title", title), _frame(axis, top, span),
        element("path", d=Markup(line), class_="line"), joined(dots),
        viewBox="0 0 {:.0f} {:.0f}".format(WIDTH, HEIGHT), role="img", class_="chart"), class_="plot")


def _thinned(seen: Sequence[Tuple[int, float]]) -> List[Tuple[int, float]]:
    """Keep at most one point for each unit of the width: the largest."""
    size = -(-len(seen) // int(WIDTH - LEFT - RIGHT))
    groups = [seen[start:start + size] for start in range(0, len(seen), size)]
    return [(group[0][0], max(value for _, value in group)) for group in groups]


def _x(at: int, span: ChartSpan) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (at - span.begin) / max(1, span.end - span.begin)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _frame(axis: Axis, top: float, span: ChartSpan) -> Markup:
    bottom = HEIGHT - BOTTOM
    lines = "M{0} {1}H{2}M{0} {3}H{2}".format(LEFT, bottom, WIDTH - RIGHT, TOP)
    return joined([
        element("path", d=Markup(lines), class_="frame"),
        element("text", axis.words(top), x=LEFT - 6, y=TOP + 4, class_="end"),
        element("text", "0", x=LEFT - 6, y=bottom, class_="end"),
        element("text", utc_words(span.begin)[5:10], x=LEFT, y=HEIGHT - 4),
        element("text", "now", x=WIDTH - RIGHT, y=HEIGHT - 4, class_="end"),
    ])
