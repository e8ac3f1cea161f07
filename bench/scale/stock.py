"""What a stock host sends: yum 3.4.3 with fastestmirror as XCP-ng ships it, and dnf 4 (facts measured on both).

The cache is good for metadata_expire (yum 6 h, dnf 48 h). Then repomd.xml and repomd.xml.asc are fetched through the
redirector, which chooses a mirror for each request; what has changed, and packages, too. What fails leaves the old cache, in
silence, and is tried again the next time somebody asks.
"""
from random import Random
from typing import Optional

from .count import PACKAGE, PACKAGES, PACKAGES_BYTES, PRIMARY_BYTES, REPOMD_BYTES, SIGNATURE_BYTES, Count, shares
from .habits import INSTALL, LOOK, Event, Pool
from .redirector import REDIRECT_BYTES, Offer, Redirector
from .world import BROKEN_TLS, HOUR

YUM_EXPIRE_SECONDS, DNF_EXPIRE_SECONDS = 6 * HOUR, 48 * HOUR


class StockHost:
    """A host.

    Args:
        pool: where it belongs.
        random: for the redirector's draws, and when its cache was filled.
    """

    repositories = (False, True)  # does it ever change: base, updates

    def __init__(self, pool: Pool, random: Random) -> None:
        self._place = pool.place
        self._random = random
        self._expire = DNF_EXPIRE_SECONDS if pool.dnf else YUM_EXPIRE_SECONDS
        self._fetched_at = [-random.uniform(0, self._expire) for _ in self.repositories]
        self.version = 0  # of the updates
        self._installed = 0

    def take(self, event: Event, moment: int, redirector: Redirector, count: Count) -> None:
        """Live through an event."""
        if event.what not in (LOOK, INSTALL):
            return
        for number, changes in enumerate(self.repositories):
            if event.at - self._fetched_at[number] >= self._expire and self._fetch(event.at, moment, redirector, count, changes):
                self._fetched_at[number] = event.at
        if event.what == INSTALL and self.version > self._installed:
            self._installed = self.version
            install_by_weight(event.at, self._place, moment, redirector, count)

    def _fetch(self, now: float, moment: int, redirector: Redirector, count: Count, changes: bool) -> bool:
        """Fetch metadata; say whether it is there."""
        offer = redirector.offer(self._place, moment, changes)
        found = self._get(now, moment, redirector, count, offer, REPOMD_BYTES)
        if found is None:
            return False
        signature = self._get(now, moment, redirector, count, offer, SIGNATURE_BYTES)
        if not changes:
            return signature is not None
        if signature != found:  # of another mirror, and another version
            return False
        if found > self.version:
            if self._get(now, moment, redirector, count, offer, PRIMARY_BYTES) != found:
                return False
            self.version = found
        return True

    def _get(self, now: float, moment: int, redirector: Redirector, count: Count, offer: Offer, size: int) -> Optional[int]:
        """Ask for one file; return the version that the mirror serves, None if it cannot be had."""
        count.add(now, count.redirector, 1, REDIRECT_BYTES)
        count.want(now, self._place, moment, 1, size)
        site = redirector.draw(offer, self._random)
        if site is None:
            count.add(now, count.origin, 1, size)
            return offer.named
        state = count.world.moments[moment]
        good = state.alive[site] and count.world.sites[site].fault != BROKEN_TLS
        count.add(now, site, 1, size if good else 0)
        return state.serves[site] if good else None


def install_by_weight(now: float, place: int, moment: int, redirector: Redirector, count: Count) -> None:
    """Fetch the packages of an update, each through the redirector: many, so they are shared out as expected and not drawn."""
    count.add(now, count.redirector, PACKAGES, PACKAGES * REDIRECT_BYTES, PACKAGE)
    count.want(now, place, moment, PACKAGES, PACKAGES_BYTES, PACKAGE)
    for server, weight in shares(redirector, place, moment, count.origin):
        count.add(now, server, PACKAGES * weight, PACKAGES_BYTES * weight, PACKAGE)
