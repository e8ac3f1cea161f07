"""How many mirrors a refresh needs to ask: as many as must agree, one, or none. Pure: time and chance come in.

Volunteers bear every request; stock yum and dnf ask one mirror when metadata_expire is over. Rules, in order:
    1. Enough that must agree, if the package manager does not hold what this host has resolved and accepted last (a new
       host, an emptied cache), wants to be sure (--refresh, clean expire-cache), other keys are pinned since, or nobody
       proven then is still offered.
    2. Enough, too, if the redirector names another digest, for there is something new, or none (it is late, or says no
       more than a list), and this host is about to install. One that only looks waits until half of the mirrors have it:
       all hosts of the world would be upon these few, or on the origin. Until then, and for a while that is drawn, none
       until one is due, as without us.
    3. Otherwise none until one is due, and then one: whatever the redirector says, a mirror is heard at least as often as
       by the package manager alone, so a redirector that is stuck can hide an update no longer than one does from stock.
       It is drawn anew each time. If it serves what is known, that is proven once more, with the signature that is kept.
"""
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..model import Mirror, Repository, Snapshot
from ..state.store import Memory
from ..trust.freshness import is_rollback
from .candidates import Candidates

MAX_EXPIRE_SECONDS = 48 * 3600.0  # dnf.conf(5): what it asks after by default; also for "never"
WIDELY = 0.5
SPREAD_SECONDS = 3 * 3600.0
MAX_STILL = 8  # each mirror that is heard alone joins those of before


class Need(NamedTuple):
    """What has to be asked."""

    most: Optional[int] = None  # mirrors that must agree: 0, 1, or None for what the settings say
    still: Tuple[Mirror, ...] = ()  # unless None: proven for the last resolution and still offered, best first


def holding(repository: Repository, values: Mapping[str, Any]) -> Repository:
    """Add what a plugin says of the package manager's cache; what cannot be understood counts as not said.

    Args:
        repository: as it is without.
        values: of the request: "held_sha256", "installs", and "metadata_expire" in seconds, negative for never.
    """
    repository = repository._replace(installs=values.get("installs") is True)
    held, expire = values.get("held_sha256"), values.get("metadata_expire")
    if isinstance(held, str):
        repository = repository._replace(held_sha256=held)
    if isinstance(expire, (int, float)):
        within = 0 <= expire <= MAX_EXPIRE_SECONDS
        repository = repository._replace(expire_seconds=float(expire) if within else MAX_EXPIRE_SECONDS)
    return repository


def needed(repository: Repository, memory: Memory, accepted: Optional[Snapshot], found: Candidates, now: float,
           chance: Callable[[], float]) -> Need:
    """Apply the rules.

    Args:
        repository: with what the package manager holds.
        memory: with the last resolution.
        accepted: the high-water mark of this host, if it has one.
        found: whom could be asked now, and what the redirector names.
        now: seconds since 1970.
        chance: gives numbers from 0 to 1.

    Returns:
        The need.
    """
    known = memory.snapshot
    if known is None or accepted is None or repository.held_sha256 != known.sha256 or is_rollback(known, accepted):
        return Need()
    if memory.pins != repository.pins:
        return Need()
    named = found.listed.sha256
    if named != known.sha256 and repository.installs:
        return Need()
    quiet = memory.heard_at <= memory.resolved_at <= now < due_at(memory, repository)
    if named not in ("", known.sha256):
        early = len(found.mirrors) < WIDELY * len(_mirrors_of(memory)) or chance() > (now - memory.resolved_at) / SPREAD_SECONDS
        return Need(0, _still(memory, memory.mirrors)) if quiet and early else Need()
    still = _still(memory, found.mirrors) or (() if found.mirrors else _still(memory, found.origins))
    return Need(0 if quiet else 1, still) if still else Need()


def due_at(memory: Memory, repository: Repository) -> float:
    """Return when a mirror is to be heard again, seconds since 1970: never later than the package manager would hear one.

    Within the last quarter of that time, for hosts that have learnt of something at once must not ask again at once.
    """
    luck = min(1.0, max(0.0, memory.luck))
    return memory.heard_at + repository.expire_seconds * (3 + luck) / 4


def _mirrors_of(memory: Memory) -> Sequence[Mirror]:
    """Return the mirrors that the last list offered."""
    return [mirror for mirror in memory.mirrors if not mirror.excluded and mirror.source != "origin"]


def _still(memory: Memory, offered: Sequence[Mirror]) -> Tuple[Mirror, ...]:
    """Return those of the offered ones that were proven last, best first."""
    usable = set(memory.usable)
    found = {mirror.url: mirror for mirror in offered if mirror.url in usable}
    return tuple(found[url] for url in memory.usable if url in found)[:MAX_STILL]
