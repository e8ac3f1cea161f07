"""The map: the world in dots, and a mark for each country with mirrors: its state by shape and colour, and their number."""
import math
from typing import Dict, List, NamedTuple, Sequence, Tuple

from .countries import CountryLocation, place_of
from .icons import icon
from .markup import Markup, element, joined, when
from .values import LEFT_OUT, ORDER, SHOWN_ORDER, MirrorSite
from .world import land_along, rings

NORTH, SOUTH, WEST, EAST = 79.0, -56.0, -170.0, 180.0  # what is shown, in degrees
STRETCH = 1.25  # of latitudes: an equirectangular map that is true to scale at 37 degrees (1 / cos 37)
STEP = 1.9  # between dots, in units of the drawing
SCALE = 2.75  # units of the drawing in a degree of longitude
DOT = 2.6
SIZE = 15.0  # of a mark
ROUNDS = 60  # of moving marks apart
NUDGE = 0.55  # of the overlap in each round: a little more than half, so that it ends


class MapMark(NamedTuple):
    """The mark of one country."""

    code: str
    place: CountryLocation
    x: float  # where the country is
    y: float
    sites: Tuple[MirrorSite, ...]  # the worst first

    @property
    def state(self) -> str:
        """The worst state of those that are asked; of one left out only if all are."""
        states = [site.worst.state for site in self.sites]
        asked = [state for state in states if state not in LEFT_OUT]
        return min(asked or states, key=ORDER.index)


def project(latitude: float, longitude: float) -> Tuple[float, float]:
    """Return where a point of the earth is in the drawing."""
    return (longitude - WEST) * SCALE, (NORTH - latitude) * STRETCH * SCALE


def world_map(sites: Sequence[MirrorSite]) -> Markup:
    """Draw the map.

    Args:
        sites: those without a known country are counted below the map.

    Returns:
        A figure element.
    """
    marks = marks_of(sites)
    width, height = project(SOUTH, EAST)
    title = element("title", "The mirrors of each country")
    shown = [title, element("path", class_="land", d=Markup(land_dots())), _marks(marks)]
    drawing = element("svg", *shown, viewBox="0 0 {:.0f} {:.0f}".format(width, height), role="group", class_="world",
                      aria_labelledby="places")
    missing = sum(place_of(site.mirror.country) is None for site in sites)
    caption = element("figcaption", element("span", _words(marks), id="places"),
                      when(missing, " Not on the map, for their country is not known: {}.".format(missing)))
    return element("figure", drawing, caption, class_="map")


def land_dots() -> str:
    """Return the path of the land: lines that a dash pattern turns into dots."""
    outlines, pieces = rings(), []
    step = STEP * SCALE
    for row in range(int((NORTH - SOUTH) * STRETCH / STEP)):
        latitude = NORTH - (row + 0.5) * STEP / STRETCH
        for west, east in land_along(outlines, latitude):
            first = math.ceil((west - WEST) / STEP - 0.5)
            last = math.floor((east - WEST) / STEP - 0.5)
            if 0 <= first <= last:
                length = (last - first) * step + 0.01  # a line without length has no first dot
                pieces.append("M{:.1f} {:.1f}h{:.2f}".format((first + 0.5) * step, (row + 0.5) * step, length))
    return "".join(pieces)


def marks_of(sites: Sequence[MirrorSite]) -> List[MapMark]:
    """Return a mark for each country, from west to east."""
    countries: Dict[str, List[MirrorSite]] = {}
    for site in sites:
        countries.setdefault(site.mirror.country.upper(), []).append(site)
    marks = []
    for code, found in countries.items():
        place = place_of(code)
        if place is not None:
            x, y = project(place.latitude, place.longitude)
            marks.append(MapMark(code, place, x, y, tuple(sorted(found, key=lambda site: ORDER.index(site.worst.state)))))
    return sorted(marks, key=lambda mark: (mark.x, mark.code))


def spread(points: Sequence[Tuple[float, float]], distance: float) -> List[Tuple[float, float]]:
    """Move points apart until no two are nearer than a distance, or until ROUNDS are over; the result is deterministic.

    Args:
        points: in the drawing.
        distance: wanted between any two.
    """
    moved = [(x + 0.01 * number, y + 0.013 * number) for number, (x, y) in enumerate(points)]  # no two are equal
    for _ in range(ROUNDS):
        for one in range(len(moved)):
            for other in range(one):
                dx, dy = moved[one][0] - moved[other][0], moved[one][1] - moved[other][1]
                apart = math.hypot(dx, dy)
                if apart < distance:
                    push = NUDGE * (distance - apart) / apart / 2
                    moved[one] = (moved[one][0] + dx * push, moved[one][1] + dy * push)
                    moved[other] = (moved[other][0] - dx * push, moved[other][1] - dy * push)
    return moved


def _marks(marks: Sequence[MapMark]) -> Markup:
    """Draw the marks, each with a line to its country if it had to move away."""
    places = spread([(mark.x, mark.y) for mark in marks], SIZE * 1.4)
    leaders = [element("path", class_="leader", d=Markup("M{:.1f} {:.1f}L{:.1f} {:.1f}".format(mark.x, mark.y, x, y)))
               for mark, (x, y) in zip(marks, places) if math.hypot(x - mark.x, y - mark.y) > SIZE / 3]
    numbers = [element("text", str(len(mark.sites)), x=x + SIZE * 0.55, y=y - SIZE * 0.28)
               for mark, (x, y) in zip(marks, places) if len(mark.sites) > 1]
    return joined(leaders + [_mark(mark, x, y) for mark, (x, y) in zip(marks, places)] + numbers)


def _mark(mark: MapMark, x: float, y: float) -> Markup:
    title = "{}: {}".format(mark.place.name, _counted(mark))
    sign = icon(mark.state, x=x - SIZE / 2, y=y - SIZE / 2, width=SIZE, height=SIZE)
    return element("g", element("title", title), sign, class_="mark")


def _counted(mark: MapMark) -> str:
    states = [site.worst.state for site in mark.sites]
    return ", ".join("{} {}".format(states.count(state), state) for state in SHOWN_ORDER if state in states)


def _words(marks: Sequence[MapMark]) -> Markup:
    """Return what the map shows as text, for screen readers."""
    named = sorted(marks, key=lambda mark: mark.place.name)
    told = joined(["{}: {}".format(mark.place.name, _counted(mark)) for mark in named], "; ")
    return joined([told, "."]) if named else told
