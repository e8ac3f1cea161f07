"""How many mirrors have to agree in a refresh: a full quorum, one, or none. Pure: time and chance come in.

Volunteers bear every request; stock yum and dnf ask one mirror when metadata_expire is over. Rules, in order:
    1. A full quorum if the package manager's cache does not hold what this host has resolved and accepted last (a new host,
       an emptied cache, --refresh, clean expire-cache), if other keys are pinned since, or if no mirror that was proven then
       is still offered.
    2. A full quorum, too, if this host is about to install, or somebody looks at a terminal, and the redirector names another
       digest (there is something new) or none (it is late, or gives only a plain list). A look that nobody attends (cron, a
       program) waits until half of the mirrors have the new snapshot, and for this host's own part of ``SPREAD_SECONDS``:
       otherwise all hosts of the world would ask the first few of them, or the origin. Until then nobody is asked as long as
       no mirror is due (rule 3), as without this plugin. It waits no longer than ``SPREAD_SECONDS`` after the last proof.
    3. Otherwise nobody until a mirror is due, and then one. Whatever the redirector says, a mirror is asked at least as often
       as by the package manager alone, so a redirector that is stuck cannot hide an update for longer than a stuck mirror
       can from stock. That mirror is drawn anew each time. If it serves the known snapshot, this is proven once more with the
       signature that is kept.
    4. The redirector is asked for its digest alone where a list would change nothing if it named what is held: by rule 3
       nobody is asked then. Any other answer, and the list is asked for in the same run. The list at hand is younger than
       ``LIST_EXPIRE_SECONDS``, and has a mirror that was proven: a host that had only the origin must learn of mirrors soon.
       A redirector that does not know this request is not asked so again for ``DIGEST_RETRY_SECONDS``.
    5. A digest that came by plain http counts as none here: anybody on the way may have named the old one.
    6. To wait is no proof. Only a redirector that names what is held, by https, or a mirror says that it is the newest; without
       them the time of the last proof and the age of the cache stay as they are, so that whoever installs next asks. The part
       of rule 2 was drawn with the last answer of a mirror, and is not drawn again at each look. Looks that nobody attends ask
       the redirector again after ``refresh_after`` at the earliest; without any word of it a mirror is asked once in
       ``UNHEARD_SECONDS``.
"""
from typing import Any, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..model import Mirror, Repository, Snapshot
from ..state.memory import Memory
from ..trust.freshness import duration, is_rollback
from .candidates import Candidates
from .selection import OWN

MAX_EXPIRE_SECONDS = 48 * 3600.0  # dnf.conf(5): the default of metadata_expire; also for "never"
WIDELY = 0.5  # of the mirrors have the new snapshot
SPREAD_SECONDS = 3 * 3600.0
UNHEARD_SECONDS = 18 * 3600.0  # well below a day, after which status calls it a problem that nothing was heard
LIST_EXPIRE_SECONDS = 6 * 3600.0  # yum.conf(5): the default of mirrorlist_expire
DIGEST_RETRY_SECONDS = 24 * 3600.0
MAX_PROVEN = 8  # each mirror that is asked alone joins those of before


class RefreshPlan(NamedTuple):
    """What a refresh has to ask."""

    quorum: int  # mirrors that must agree; 0: nobody is asked, the last resolution holds
    proven: Tuple[Mirror, ...] = ()  # for the last resolution and still offered, best first; empty where that does not count


def with_run(repository: Repository, values: Mapping[str, Any]) -> Repository:
    """Add what a plugin says about its run; a value that cannot be understood counts as missing.

    Args:
        repository: as it is without.
        values: of the request: "installs", "attended", and "metadata_expire" in seconds, negative for never.
    """
    repository = repository._replace(installs=values.get("installs") is True, attended=values.get("attended") is True)
    expire = values.get("metadata_expire")
    if isinstance(expire, (int, float)):
        within = 0 <= expire <= MAX_EXPIRE_SECONDS
        repository = repository._replace(expire_seconds=float(expire) if within else MAX_EXPIRE_SECONDS)
    return repository


def plan_refresh(repository: Repository, memory: Memory, accepted: Optional[Snapshot], found: Candidates, enough: int,
                 now: float) -> RefreshPlan:
    """Apply the rules.

    Args:
        repository: with what the package manager's cache holds.
        memory: with the last resolution.
        accepted: the high-water mark of this host, if it has one.
        found: which mirrors could be asked now, and the digest that the redirector names.
        enough: a full quorum.
        now: seconds since 1970.

    Returns:
        The plan.
    """
    known, full = memory.snapshot, RefreshPlan(enough)
    if known is None or accepted is None or repository.cached_sha256 != known.sha256 or is_rollback(known, accepted):
        return full
    if memory.fingerprints != repository.fingerprints:
        return full
    named = found.listed.sha256
    if named != known.sha256 and (repository.installs or repository.attended):
        return full
    none_due = memory.confirmed_at <= memory.resolved_at <= now < due_at(memory, repository)
    if named not in ("", known.sha256):
        waited = now - memory.resolved_at
        having = [mirror for mirror in found.mirrors if mirror.source not in (OWN, "baseurl")]
        few = len(having) < WIDELY * len(_mirrors_of(memory))
        early = few and (waited < SPREAD_SECONDS or len(having) < 2) or waited < _jitter_of(memory) * SPREAD_SECONDS
        proven = _still_offered(memory, memory.mirrors)
        return RefreshPlan(0, proven) if proven and none_due and early else full
    proven = _still_offered(memory, found.mirrors) or (() if found.mirrors else _still_offered(memory, found.origins))
    is_unheard = not named and now - memory.resolved_at >= UNHEARD_SECONDS
    return RefreshPlan(0 if none_due and not is_unheard else 1, proven) if proven else full


def digest_suffices(repository: Repository, memory: Memory, accepted: Optional[Snapshot], at_hand: Candidates,
                    now: float) -> bool:
    """Apply rule 4; arguments as of ``plan_refresh``.

    Args:
        at_hand: from the list that is remembered; its digest is not looked at.
    """
    if memory.snapshot is None or not 0 <= now - memory.listed_at < LIST_EXPIRE_SECONDS:
        return False
    if 0 <= now - memory.digest_unknown_at < DIGEST_RETRY_SECONDS:
        return False
    named = at_hand._replace(listed=at_hand.listed._replace(sha256=memory.snapshot.sha256))
    plan = plan_refresh(repository, memory, accepted, named, 1, now)
    return plan.quorum == 0 and any(mirror.source != "origin" for mirror in plan.proven)


def still_waits(repository: Repository, memory: Memory, accepted: Optional[Snapshot], at_hand: Candidates, refresh_after: float,
                now: float) -> Optional[RefreshPlan]:
    """Return the plan of a look that has nobody to ask, not even the redirector (rule 6); None for any other.

    Args:
        repository, memory, accepted, now: as of ``plan_refresh``.
        at_hand: from the list that is remembered.
        refresh_after: seconds.
    """
    if repository.installs or repository.attended or not 0 <= now - memory.waited_at < refresh_after:
        return None
    told = at_hand._replace(listed=at_hand.listed._replace(sha256=memory.awaited_sha256))
    plan = plan_refresh(repository, memory, accepted, told, 1, now)
    return plan if plan.quorum == 0 else None


def waiting_words(memory: Memory, now: float) -> str:
    """Say what is known while looks wait (rule 6), and until when they do."""
    if not memory.awaited_sha256:
        return "the redirector named nothing, and no mirror is due: looks that nobody attends ask nobody"
    left = max(0.0, memory.resolved_at + SPREAD_SECONDS - now)
    known = duration(int(max(0.0, now - memory.awaited_since)))
    return ("the redirector names something newer, {}, for {} now; looks that nobody attends take it within {}, commands at a "
            "terminal and updates at once").format(memory.awaited_sha256[:12], known, duration(int(left)))


def due_at(memory: Memory, repository: Repository) -> float:
    """Return when a mirror is to be asked again, seconds since 1970: never later than the package manager would ask one.

    A random moment of the last quarter of that time: hosts that have learnt of something at once must not ask again at once.
    """
    return memory.confirmed_at + repository.expire_seconds * (3 + _jitter_of(memory)) / 4


def _jitter_of(memory: Memory) -> float:
    return min(1.0, max(0.0, memory.jitter))


def _mirrors_of(memory: Memory) -> Sequence[Mirror]:
    """Return the mirrors that the last list offered."""
    return [mirror for mirror in memory.mirrors if not mirror.excluded and mirror.source != "origin"]


def _still_offered(memory: Memory, offered: Sequence[Mirror]) -> Tuple[Mirror, ...]:
    """Return those of the offered mirrors that were proven last, best first."""
    usable = set(memory.usable)
    found = {mirror.url: mirror for mirror in offered if mirror.url in usable}
    return tuple(found[url] for url in memory.usable if url in found)[:MAX_PROVEN]
