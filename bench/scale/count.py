"""Requests and bytes a server and hour, beside what the redirector's weights would have given each mirror."""
from typing import Dict, List, Tuple

from .redirector import Redirector
from .world import DAY, HOUR, MINUTE, World

# Bodies; headers and TLS come on top of each alike.
REPOMD_BYTES, SIGNATURE_BYTES, SAMPLE_BYTES = 3000, 900, 4096
PRIMARY_BYTES = 200 * 1000
PACKAGES, PACKAGES_BYTES = 40, 60 * 1000 * 1000  # of one update of one host
METADATA, PACKAGE = 0, 1  # kinds of traffic


class Count:
    """Counts.

    Args:
        world: how many mirrors, how long.
        begins_at: what comes before is warming up and is not counted.
    """

    def __init__(self, world: World, begins_at: int) -> None:
        self.world = world
        self.begins_at = begins_at
        self.origin, self.redirector = len(world.sites), len(world.sites) + 1
        hours = (world.seconds - begins_at) // HOUR
        self.days = (world.seconds - begins_at) / DAY
        self.requests = [[[0.0] * hours for _ in range(self.redirector + 1)] for _ in (METADATA, PACKAGE)]
        self.bytes = [[[0.0] * hours for _ in range(self.redirector + 1)] for _ in (METADATA, PACKAGE)]
        self.minutes = [0.0] * (hours * 60)  # requests for metadata to all mirrors
        self._wanted: Dict[Tuple[int, int, int], List[float]] = {}

    def add(self, now: float, server: int, requests: float, size: float, kind: int = METADATA) -> None:
        """Count requests to one server, and the bytes of their answers."""
        since = now - self.begins_at
        if since < 0:
            return
        hour = int(since // HOUR)
        self.requests[kind][server][hour] += requests
        self.bytes[kind][server][hour] += size
        if kind == METADATA and server < self.origin:
            self.minutes[int(since // MINUTE)] += requests

    def want(self, now: float, place: int, moment: int, requests: float, size: float, kind: int = METADATA) -> None:
        """Note that a host wants something of the mirrors; the redirector would divide it among them by weight."""
        if now >= self.begins_at:
            wanted = self._wanted.setdefault((place, moment, kind), [0.0, 0.0])
            wanted[0] += requests
            wanted[1] += size

    def due(self, redirector: Redirector, kind: int) -> Tuple[List[float], List[float]]:
        """Return requests and bytes a server if all that was wanted had been shared out by the redirector's weights."""
        requests, sizes = [0.0] * (self.origin + 1), [0.0] * (self.origin + 1)
        for (place, moment, of_kind), (count, size) in self._wanted.items():
            if of_kind == kind:
                for server, weight in shares(redirector, place, moment, self.origin):
                    requests[server] += count * weight
                    sizes[server] += size * weight
        return requests, sizes


def shares(redirector: Redirector, place: int, moment: int, origin: int) -> List[Tuple[int, float]]:
    """Return which part of a place's requests the redirector sends to each mirror."""
    offer = redirector.offer(place, moment)
    if not offer.ranked:
        return [(origin, 1.0)]
    if not any(offer.weights):
        return [(offer.ranked[0], 1.0)]
    return [(site, weight) for site, weight in zip(offer.ranked, offer.weights) if weight]
