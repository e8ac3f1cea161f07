"""All hosts through one world."""
from random import Random
from typing import Any, List, NamedTuple, Sequence

from .count import Count
from .habits import ASKED_DAILY, Event, events_of, make_pools
from .ours import Network, OurHost
from .redirector import Redirector
from .stock import StockHost
from .world import DAY, HOUR, World, make_world

DAYS, BEGINS_AT, PUBLISHED_AT = 8, DAY, 2 * DAY + 10 * HOUR
STOCK, BEFORE, OURS = DESIGNS = ("stock", "before", "ours")


class Outcome(NamedTuple):
    """What became of one world with one design."""

    design: str
    mirrors: int
    count: Count
    redirector: Redirector
    delays: List[float]  # hours from the publication to when a host that is asked daily knew; inf: not in this world


def run(design: str, mirrors: int, hosts: int, seed: int) -> Outcome:
    """Let hosts live through a world.

    Args:
        design: of DESIGNS.
        mirrors, hosts: how many.
        seed: of everything random.
    """
    seconds = DAYS * DAY
    world = make_world(mirrors, seed, (PUBLISHED_AT,), seconds)
    redirector, count = Redirector(world), Count(world, BEGINS_AT)
    network = redirector if design == STOCK else Network(world, redirector, with_policy=design == OURS)
    delays: List[float] = []
    for pool in make_pools(hosts, seed):
        common, alone = events_of(pool, world.publications, seconds)
        for number in range(pool.hosts):
            random = Random((seed << 32 | pool.number) << 8 | number)
            host = StockHost(pool, random) if design == STOCK else OurHost(pool, random)
            known_at = _live(host, sorted(common + alone[number]), world, network, count)
            if pool.kind in ASKED_DAILY:
                delays.append((known_at - PUBLISHED_AT) / HOUR)
    return Outcome(design, mirrors, count, redirector, sorted(delays))


def _live(host: Any, events: Sequence[Event], world: World, network: Any, count: Count) -> float:
    """Take a host through its events; return when it knew of the publication."""
    known_at = float("inf")
    for event in events:
        if event.at < 0:
            continue
        host.take(event, world.moment(event.at), network, count)
        if host.version and known_at == float("inf"):
            known_at = event.at
    return known_at
