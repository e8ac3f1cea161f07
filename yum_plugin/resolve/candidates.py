"""The mirrors that a repository may be asked from: what the sources list, and what is remembered. Pure."""
from typing import Callable, Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple

from ..model import Mirror, MirrorList, Reach, Repository
from ..sources.collector import merge
from ..sources.redirector import FORMS, PAGE
from ..util.urls import authority_of, host_of
from .selection import OWN, is_named, rank_candidates


class Candidates(NamedTuple):
    """The mirrors to ask for a repository; every URL is the repository's base on that mirror."""

    listed: MirrorList  # all that the list names, also mirrors that are not asked
    mirrors: Tuple[Mirror, ...]  # in the order of asking
    origins: Tuple[Mirror, ...]  # asked last
    left_out: Tuple[Tuple[Mirror, str], ...]  # with the reason in words


class ListRules(NamedTuple):
    """The settings that shape the list."""

    redirectors: Sequence[str]
    fallbacks: Sequence[str]
    prefer: Sequence[str]
    deny: Sequence[str]
    require_https: bool


def settled_list(arrived: Dict[str, Optional[MirrorList]], known: MirrorList, path: str,
                 waited_enough: bool) -> Optional[MirrorList]:
    """Decide whether there is a list to work with.

    Args:
        arrived: by form; None for one that failed; a form that is still awaited is missing.
        known: the last known list, already with repository bases.
        path: of the repository, appended to the roots that the sources give.
        waited_enough: whether a slow redirector is given up in favour of the list at hand.

    Returns:
        The list with repository bases, empty if there is none at all; None: go on waiting.
        The list page alone is enough, because it is complete.
    """
    answers = [arrived.get(form) or MirrorList(()) for form in FORMS]
    if arrived.get(PAGE) is not None or len(arrived) == len(FORMS) or waited_enough:
        fresh = merge(answers)
        if fresh.mirrors:
            return fresh._replace(mirrors=tuple(mirror._replace(url=mirror.url + path) for mirror in fresh.mirrors))
    if len(arrived) == len(FORMS) or waited_enough:
        return known._replace(sha256="")  # the digest of then is no advice for now
    return None


def candidates(repository: Repository, listed: MirrorList, quarantined: Sequence[str], rules: ListRules,
               chance: Optional[Callable[[], float]] = None) -> Candidates:
    """Order the mirrors of a repository for asking.

    Args:
        repository: its own baseurls count too, if they are no redirector.
        listed: from ``settled_list``; empty for a repository without redirector.
        quarantined: authorities that failed lately.
        rules: settings.
        chance: see ``rank_candidates``.

    Returns:
        The candidates. The admin's own baseurl and fallbacks= are used as they are typed, also with require_https; what a
        list names, its fallbacks included, obeys the settings and net/reach.py. A place of his own that he typed before the
        redirector is asked first, as yum and dnf take it; any other one last, unless prefer= names it.
    """
    own, reach = _own_mirrors(repository, rules.redirectors), repository.network.reach
    if not repository.path:
        ranked, left_out = rank_candidates(own, rules.prefer, rules.deny, quarantined, allow_http=True)
        return Candidates(listed, tuple(ranked), (), tuple(left_out))
    mirrors = [mirror for mirror in listed.mirrors if mirror.source != "origin"]
    ranked, left_out = rank_candidates(mirrors, rules.prefer, rules.deny, quarantined, not rules.require_https, chance, reach)
    chosen, _ = rank_candidates(_chosen_first(own, repository, rules), rules.prefer, rules.deny, (), allow_http=True)
    for mirror in chosen[::-1]:
        twin = next((each for each in ranked if each.url.partition(":")[2] == mirror.url.partition(":")[2]), mirror)
        ranked = [each for each in ranked if each is not twin]
        ranked.insert(len(ranked) if authority_of(mirror.url) in quarantined else 0, twin._replace(source=mirror.source))
    fallbacks = [Mirror(url + repository.path, "origin", source="origin") for url in rules.fallbacks]
    listed_origins, refused = listed_fallbacks(listed, rules.deny, rules.require_https, reach)
    fallbacks += listed_origins
    everyone = merge([MirrorList(tuple(ranked)), MirrorList(tuple(fallbacks)), MirrorList(tuple(own))]).mirrors
    origins, denied = rank_candidates(everyone[len(ranked):], (), rules.deny, (), allow_http=True)
    return Candidates(listed, tuple(ranked), tuple(origins), tuple(left_out + refused + denied))


def listed_fallbacks(listed: MirrorList, deny: Sequence[str], require_https: bool,
                     reach: Optional[Reach]) -> Tuple[List[Mirror], List[Tuple[Mirror, str]]]:
    """Return the fallbacks that a list names and that may be asked, and those left out with the reason in words."""
    origins = [mirror for mirror in listed.mirrors if mirror.source == "origin"]
    return rank_candidates(origins, (), deny, (), not require_https, reach=reach)


def _chosen_first(own: Sequence[Mirror], repository: Repository, rules: ListRules) -> List[Mirror]:
    """Return the admin's own mirrors that come before those of a list; the fallbacks, which serve everybody, never do."""
    fallbacks = {host_of(url) for url in rules.fallbacks}
    own_places = {mirror.url for mirror in own}
    redirected = min((rank for rank, url in enumerate(repository.base_urls, 1) if url not in own_places), default=0)
    found = []
    for mirror in own:
        if mirror.rank < redirected and host_of(mirror.url) not in fallbacks:
            found.append(mirror._replace(source=OWN))
        elif is_named(mirror, rules.prefer):
            found.append(mirror)
    return found


def own_urls(repository: Repository, rules: ListRules) -> FrozenSet[str]:
    """Return the bases that the admin has named, which need no second voice; https counts where http was typed."""
    urls = [mirror.url for mirror in _own_mirrors(repository, rules.redirectors)]
    urls += [url + repository.path for url in rules.fallbacks if repository.path]
    return frozenset(urls + ["https:" + url[len("http:"):] for url in urls if url.startswith("http:")])


def _own_mirrors(repository: Repository, redirectors: Sequence[str]) -> List[Mirror]:
    return [Mirror(url, "baseurl", source="baseurl", rank=rank) for rank, url in enumerate(repository.base_urls, 1)
            if host_of(url) not in redirectors and authority_of(url) not in redirectors]
