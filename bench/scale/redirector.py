"""The redirector: mirrorbits' choice for a place (http/selection.go of mirrorbits 0.5 and 0.6)."""
from random import Random
from typing import Dict, List, NamedTuple, Optional, Tuple

from .world import PLACES, World

RANGE = 1.5  # WeightDistributionRange
NEAREST_KM = 1e-6
PAGE_BYTES, PAGE_BYTES_PER_MIRROR = 9500, 690  # of the list page, as measured
REDIRECT_BYTES = 670
MISMATCH, DOWN = "File size mismatch", "Not HTTP / Unreachable"


class Offer(NamedTuple):
    """What the redirector says to one place at one moment."""

    named: int  # version of the origin's file
    ranked: Tuple[int, ...]  # mirrors, best first; empty: the fallback
    weights: Tuple[float, ...]  # of these, 1 in all; 0: offered, but not drawn
    excluded: Tuple[Tuple[int, str], ...]


class Redirector:
    """Chooses mirrors.

    Args:
        world: where they are.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._offers: Dict[Tuple[int, int, bool], Offer] = {}

    def offer(self, place: int, moment: int, changes: bool = True) -> Offer:
        """Return what a host of a place gets for the repository that changes, or of the one that never does."""
        key = place, moment, changes
        if key not in self._offers:
            self._offers[key] = self._choose(place, moment, changes)
        return self._offers[key]

    def draw(self, offer: Offer, random: Random) -> Optional[int]:
        """Choose a mirror for one request as the redirect does; None: the fallback."""
        if not offer.ranked:
            return None
        if not any(offer.weights):
            return offer.ranked[0]
        return random.choices(offer.ranked, offer.weights)[0]

    def _choose(self, place: int, moment: int, changes: bool) -> Offer:
        state = self._world.moments[moment]
        count = len(self._world.sites)
        named = state.named if changes else 0
        usable = [site for site in range(count) if (state.offered[site] if changes else not state.known_dead[site])]
        excluded = tuple((site, DOWN if state.known_dead[site] else MISMATCH) for site in range(count) if site not in usable)
        if not usable:
            return Offer(named, (), (), excluded)
        scores, weights = self._scores(place, usable)
        ranked = sorted(usable, key=lambda site: -scores[site])
        total = sum(weights.values())
        parts = tuple(weights.get(site, 0) / (total or 1) for site in ranked)
        return Offer(named, tuple(ranked), parts, excluded)

    def _scores(self, place: int, usable: List[int]) -> Tuple[Dict[int, int], Dict[int, int]]:
        """Return each mirror's score, and the weights of those that are drawn."""
        distances = {site: max(NEAREST_KM, self._world.distances[place][site]) for site in usable}
        nearest, base = min(distances.values()), int(max(distances.values()))
        scores = {}
        for site, distance in distances.items():
            same = PLACES[self._world.sites[site].place].country == PLACES[place].country
            scores[site] = max(1, int(base - int(distance) + 1 + _bonus(distance, nearest, base, same) + 0.5))
        return scores, {site: score - base for site, score in scores.items() if score > base}


def _bonus(distance: float, nearest: float, base: int, same_country: bool) -> int:
    if distance <= nearest * RANGE:
        return int((base - distance) / (1 if same_country else 2))
    return int(base - 5 * distance) if same_country else 0


def page_bytes(offer: Offer) -> int:
    """Return the size of the list page."""
    return PAGE_BYTES + PAGE_BYTES_PER_MIRROR * (len(offer.ranked) + len(offer.excluded))
