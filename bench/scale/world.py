"""Places, mirrors and publications: who serves what at which second. Seconds count from the begin of the first day, UTC."""
import math
from bisect import bisect_right
from random import Random
from typing import Dict, List, NamedTuple, Sequence, Tuple

MINUTE, HOUR, DAY = 60, 3600, 86400
SOURCE_SCAN_SECONDS = 5 * MINUTE  # how often the redirector looks at the origin
MIRROR_SCAN_SECONDS = 30 * MINUTE  # ... and at each mirror's tree (facts: rsync every 30 min)
TRIP_SECONDS, TRIP_SECONDS_PER_KM = 0.004, 15e-6  # there and back
DOWN_SEEN_SECONDS = 60  # ... and at its web server
BROKEN_TLS, OLD_COPY = "broken-tls", "old-copy"  # hosts refuse its certificate; an old cache before a right tree


class Place(NamedTuple):
    """Where hosts and mirrors stand."""

    country: str
    latitude: float
    longitude: float
    hosts: int  # weight among all hosts
    hour: int  # offset of local time to UTC


PLACES = tuple(Place(*values) for values in (
    ("FR", 48.9, 2.4, 14, 1), ("DE", 50.1, 8.7, 13, 1), ("GB", 51.5, -0.1, 6, 0), ("NL", 52.4, 4.9, 4, 1),
    ("IT", 45.5, 9.2, 4, 1), ("ES", 40.4, -3.7, 3, 1), ("PL", 52.2, 21.0, 3, 1), ("CZ", 50.1, 14.4, 2, 1),
    ("SE", 59.3, 18.1, 2, 1), ("CH", 47.4, 8.5, 3, 1), ("RU", 55.8, 37.6, 4, 3), ("TR", 41.0, 29.0, 1, 3),
    ("US", 40.7, -74.0, 9, -5), ("US", 41.9, -87.6, 5, -6), ("US", 34.1, -118.2, 7, -8), ("CA", 43.7, -79.4, 4, -5),
    ("BR", -23.6, -46.6, 4, -3), ("CN", 31.2, 121.5, 3, 8), ("JP", 35.7, 139.7, 2, 9), ("SG", 1.3, 103.8, 2, 8),
    ("IN", 19.1, 72.9, 2, 5), ("AU", -33.9, 151.2, 2, 10), ("ZA", -26.2, 28.0, 1, 2)))


class Site(NamedTuple):
    """A mirror."""

    place: int  # index into PLACES
    latitude: float
    longitude: float
    answer_seconds: float  # its own part of the time to the first byte
    sync_seconds: int
    sync_phase: float
    scan_phase: float
    fault: str  # "" or one of the two that the redirector does not see
    down: Tuple[Tuple[float, float], ...]


class Moment(NamedTuple):
    """What is true from one change to the next; the tuples have an entry a mirror."""

    named: int  # the version that the redirector sees at the origin
    alive: Tuple[bool, ...]
    serves: Tuple[int, ...]
    offered: Tuple[bool, ...]  # the redirector thinks that it is up and has the origin's file
    known_dead: Tuple[bool, ...]


class World:
    """The mirrors and all that happens to them.

    Args:
        sites: the mirrors.
        publications: when the origin gets version 1, 2, ...; version 0 is there from the begin.
        seconds: how long it lasts.
    """

    def __init__(self, sites: Sequence[Site], publications: Sequence[float], seconds: int) -> None:
        self.sites = tuple(sites)
        self.publications = tuple(publications)
        self.seconds = seconds
        self.distances = [[distance_km(place, site) for site in sites] for place in PLACES]
        self._times, self.moments = _moments(self.sites, self.publications, seconds)

    def moment(self, now: float) -> int:
        """Return the index into ``moments`` of a time."""
        return bisect_right(self._times, now) - 1

    def published(self, moment: int) -> int:
        """Return the version of the origin at a moment."""
        return bisect_right(self.publications, self._times[moment])

    def seconds_of(self, place: int, site: int, requests: int) -> float:
        """Return the time from calling a mirror to its last answer: three round trips for TCP and TLS, one a request."""
        trip = TRIP_SECONDS + TRIP_SECONDS_PER_KM * self.distances[place][site]
        return 3 * trip + requests * (trip + self.sites[site].answer_seconds)


def make_world(count: int, seed: int, publications: Sequence[float], seconds: int) -> World:
    """Make a world of ``count`` mirrors: one in 20 old, one in 20 (at least one) with a broken certificate, one down at times."""
    random = Random("{}/mirrors/{}".format(seed, count))
    rare = count // 20
    faults = [BROKEN_TLS] * max(1, rare) + [OLD_COPY] * rare
    faults += [""] * (count - len(faults))
    random.shuffle(faults)
    return World([_site(random, fault, number == 0, seconds) for number, fault in enumerate(faults)], publications, seconds)


def _site(random: Random, fault: str, unsteady: bool, seconds: int) -> Site:
    place = random.choices(range(len(PLACES)), [each.hosts for each in PLACES])[0]
    sync = random.choices((15 * MINUTE, HOUR, 6 * HOUR), (35, 50, 15))[0]
    down = tuple((day + 9 * HOUR, day + 13 * HOUR) for day in range(0, seconds, DAY)) if unsteady else ()
    return Site(place, PLACES[place].latitude + random.uniform(-2, 2), PLACES[place].longitude + random.uniform(-2, 2),
                random.lognormvariate(math.log(0.03), 0.6), sync, random.uniform(0, sync),
                random.uniform(0, MIRROR_SCAN_SECONDS), fault, down)


def distance_km(place: Place, site: Site) -> float:
    """Return the great-circle distance."""
    first, second = math.radians(place.latitude), math.radians(site.latitude)
    apart = math.radians(place.longitude - site.longitude)
    cosine = math.sin(first) * math.sin(second) + math.cos(first) * math.cos(second) * math.cos(apart)
    return 6371 * math.acos(max(-1.0, min(1.0, cosine)))


def _next_tick(after: float, every: float, phase: float) -> float:
    return phase + every * math.ceil((after - phase) / every)


def _moments(sites: Sequence[Site], publications: Sequence[float], seconds: int) -> Tuple[List[float], List[Moment]]:
    changes: Dict[float, List[Tuple[str, int, int]]] = {0.0: []}

    def at(time: float, what: str, site: int, value: int) -> None:
        if time < seconds:
            changes.setdefault(time, []).append((what, site, value))

    for version, published in enumerate(publications, 1):
        at(published, "published", 0, version)
        at(_next_tick(published, SOURCE_SCAN_SECONDS, 0), "named", 0, version)
        for number, site in enumerate(sites):
            synced = _next_tick(published, site.sync_seconds, site.sync_phase) + 4 * MINUTE
            if site.fault != OLD_COPY:
                at(synced, "serves", number, version)
            at(_next_tick(synced, MIRROR_SCAN_SECONDS, site.scan_phase), "scanned", number, version)
    for number, site in enumerate(sites):
        for begin, end in site.down:
            for time, value in ((begin, 0), (end, 1)):
                at(time, "alive", number, value)
                at(time + DOWN_SEEN_SECONDS, "seen", number, value)
    times = sorted(changes)
    return times, list(_replay([changes[time] for time in times], len(sites)))


def _replay(changes: Sequence[Sequence[Tuple[str, int, int]]], count: int) -> List[Moment]:
    state = {"published": [0], "named": [0], "serves": [0] * count, "scanned": [0] * count}
    state.update(alive=[1] * count, seen=[1] * count)
    moments = []
    for batch in changes:
        for what, site, value in batch:
            state[what][site] = value
        named = state["named"][0]
        offered = tuple(bool(up) and had == named for up, had in zip(state["seen"], state["scanned"]))
        moments.append(Moment(named, tuple(map(bool, state["alive"])), tuple(state["serves"]), offered,
                              tuple(not up for up in state["seen"])))
    return moments
