"""Pools of hosts and when somebody asks them for updates. The same for stock and for ours, but for our timer."""
from random import Random
from typing import Iterator, List, NamedTuple, Sequence, Tuple

from .world import DAY, HOUR, MINUTE, PLACES

LOOK, INSTALL, TIMER = "look", "install", "timer"

# How a pool is asked, and its share of all pools.
WATCHED, LOOKED_AT, MONITORED, NIGHTLY, BY_HAND = KINDS = ("watched", "looked at", "monitored", "nightly", "by hand")
SHARES = (5, 40, 15, 10, 30)
ASKED_DAILY = (WATCHED, MONITORED, NIGHTLY)  # by themselves: these count for the time to the last host
POOL_SIZES = ((1, 45), (2, 20), (3, 20), (5, 10), (12, 5))
DNF_SHARE = 0.1  # XCP-ng 9; the others have yum
TIMER_SHARE = 0.1  # switched on xcpng-mirrors-refresh.timer
TIMER_SECONDS, TIMER_SPREAD_SECONDS = 6 * HOUR, HOUR  # etc/xcpng-mirrors-refresh.timer
WATCH_SECONDS = 10 * MINUTE
INSTALL_DELAY_SECONDS = 5 * DAY  # mean, after the publication
BETWEEN_HOSTS_SECONDS = 15 * MINUTE  # of a rolling pool update


class Event(NamedTuple):
    """Somebody asks a host."""

    at: float
    what: str


class Pool(NamedTuple):
    """Hosts with one admin."""

    number: int
    place: int
    kind: str
    dnf: bool
    hosts: int
    random: Random  # for the rest of its story


def make_pools(hosts: int, seed: int) -> Iterator[Pool]:
    """Yield pools until they have so many hosts."""
    left, number = hosts, 0
    weights = [place.hosts for place in PLACES]
    while left > 0:
        random = Random(seed << 32 | number)
        size = min(left, random.choices([size for size, _ in POOL_SIZES], [share for _, share in POOL_SIZES])[0])
        place = random.choices(range(len(PLACES)), weights)[0]
        yield Pool(number, place, random.choices(KINDS, SHARES)[0], random.random() < DNF_SHARE, size, random)
        left, number = left - size, number + 1


def events_of(pool: Pool, publications: Sequence[float], seconds: int) -> Tuple[List[Event], List[List[Event]]]:
    """Return when the hosts are asked: what concerns all of a pool, and what concerns each host alone, in order of time."""
    random = pool.random
    common = [Event(at + random.random(), LOOK) for at in _LOOKS[pool.kind](pool, seconds) if at < seconds - 1]
    common.sort()
    alone = [_timer(random, seconds) if random.random() < TIMER_SHARE else [] for _ in range(pool.hosts)]
    for published in publications:
        begin = published + random.expovariate(1 / INSTALL_DELAY_SECONDS)
        for number, events in enumerate(alone):
            at = begin + number * BETWEEN_HOSTS_SECONDS
            if at < seconds:
                events.append(Event(at, INSTALL))
    return common, alone


def _timer(random: Random, seconds: int) -> List[Event]:
    events, booted_at = [], random.uniform(0, TIMER_SECONDS)
    at = booted_at + 15 * MINUTE + random.uniform(0, TIMER_SPREAD_SECONDS)
    while at < seconds:
        events.append(Event(at, TIMER))
        at += TIMER_SECONDS + random.uniform(0, TIMER_SPREAD_SECONDS)
    return events


def _local(pool: Pool, day: int, hour: float) -> float:
    """Return the second at which it is ``hour`` o'clock at the pool's place."""
    return day + (hour - PLACES[pool.place].hour) * HOUR


def _watched(pool: Pool, seconds: int) -> List[float]:
    begin, phase = _working_hours(pool), pool.random.uniform(0, WATCH_SECONDS)
    first = [_local(pool, day, begin) + phase for day in range(0, seconds, DAY)]
    return [at + tick for at in first for tick in range(0, 9 * HOUR, WATCH_SECONDS)]


def _working_hours(pool: Pool) -> float:
    return pool.random.uniform(7.5, 9.5)


def _looked_at(pool: Pool, seconds: int) -> List[float]:
    return [_local(pool, day, pool.random.uniform(8, 18)) for day in range(0, seconds, DAY) for _ in range(2)]


def _monitored(pool: Pool, seconds: int) -> List[float]:
    """Every hour; half of them by a job at the full hour."""
    phase = pool.random.choice((0.0, pool.random.uniform(0, HOUR)))
    return [hour + phase for hour in range(0, seconds, HOUR)]


def _nightly(pool: Pool, seconds: int) -> List[float]:
    """A job at three o'clock sharp."""
    return [_local(pool, day, 3) for day in range(0, seconds, DAY)]


def _by_hand(pool: Pool, seconds: int) -> List[float]:
    """About once a week in working hours."""
    return [_local(pool, day, pool.random.uniform(8, 18)) for day in range(0, seconds, DAY) if pool.random.random() < 1 / 7]


_LOOKS = {WATCHED: _watched, LOOKED_AT: _looked_at, MONITORED: _monitored, NIGHTLY: _nightly, BY_HAND: _by_hand}
