"""Which proven mirrors a download uses, and within which limits. Pure."""
from typing import List

from ..host.settings import Settings
from ..model import MirrorList, Repository
from ..net.download import Rules
from ..net.items import Source
from ..state.memory import Memory, known_rate, quarantined
from ..util.urls import authority_of
from .candidates import listed_fallbacks

MAX_PACKAGE_BYTES = 64 * 1024 * 1024 * 1024  # rpm's 64-bit size tags (LONGSIGSIZE) express more than any disk has
STOCK_TIMEOUT_SECONDS = 30.0  # dnf.conf(5), for timeout=0
STOCK_MINRATE = 1000  # bytes per second, for minrate=0


def rules_of(settings: Settings) -> Rules:
    """Return the limits of a download of packages."""
    return Rules(settings.minrate or STOCK_MINRATE, float(settings.timeout or STOCK_TIMEOUT_SECONDS),
                 connect_seconds=settings.connect_timeout, max_bytes=MAX_PACKAGE_BYTES)


def sources_of(repository: Repository, memory: Memory, settings: Settings, now: int) -> List[Source]:
    """List the sources of packages.

    Args:
        repository: for its path on the fallbacks.
        memory: of the last resolution, for the mirrors that it proved.
        settings: for the fallbacks.
        now: seconds since 1970.

    Returns:
        The proven mirrors, those that have failed since then last, followed by the origin; empty if none is proven.
    """
    if not memory.usable:
        return []
    failed = set(quarantined(memory, now))
    listed, _ = listed_fallbacks(MirrorList(memory.mirrors), settings.deny, settings.require_https, repository.network.reach)
    origins = {mirror.url for mirror in listed}
    origins.update(url + repository.path for url in settings.fallbacks if repository.path)
    mirrors = [Source(url, memory.records[url].seconds if url in memory.records else 0.0, known_rate(memory, url, now),
                      proven=True)
               for url in memory.usable if url not in origins]
    mirrors.sort(key=lambda source: authority_of(source.url) in failed)
    return mirrors + [Source(url, last_resort=True) for url in sorted(origins)]
