"""What a host with the plugin sends. Every decision is the product's own: listing, choose, trust.freshness, state.

Left out: time-outs of the engine, the command line, what goes over a proxy. A host asks the redirector's list page; mirrors
straight. Packages come from the first three mirrors of the metalink at once (net/download.py: OVERALL, PER_MIRROR).
"""
import heapq
from random import Random
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from yum_plugin.choose import Poll, PollRules, order_proven
from yum_plugin.listing import Candidates, ListRules, candidates
from yum_plugin.model import Mirror, MirrorList, Probe, Repository, Snapshot
from yum_plugin.net.download import OVERALL
from yum_plugin.state import Memory, Record, judge_record, resting
from yum_plugin.trust.freshness import Offer as Proven
from yum_plugin.trust.freshness import choose
from yum_plugin.urls import authority_of

from .count import PACKAGE, PACKAGES, PACKAGES_BYTES, PRIMARY_BYTES, REPOMD_BYTES, SAMPLE_BYTES, SIGNATURE_BYTES, Count
from .habits import INSTALL, TIMER, Event, Pool
from .redirector import Redirector, page_bytes
from .world import BROKEN_TLS, PLACES, World

REFRESH_AFTER_SECONDS = 900.0
RULES = PollRules(probe_mirrors=6, enough=3)
LIST_RULES = ListRules(("mirrors.test",), ("https://origin.test/",), (), (), True)
BASE = Repository("xcp-ng-base", (), "base/", (), ())
UPDATES = Repository("xcp-ng-updates", (), "updates/", (), ())
DEAD_SECONDS = 1e6


def snapshot_of(version: int) -> Snapshot:
    """Return the signed repomd.xml of a version."""
    return Snapshot("{:064x}".format(version + 1), REPOMD_BYTES, version + 1, version + 1, version + 1)


class Asked(NamedTuple):
    """What came of asking mirrors."""

    asked: Tuple[int, ...]
    proven: Tuple[int, ...]  # serve the newest snapshot, best first
    snapshot: Optional[Snapshot]
    failed: Tuple[int, ...]
    seconds: Dict[int, float]


class Network:
    """The mirrors as hosts see them, in the product's own values."""

    def __init__(self, world: World, redirector: Redirector) -> None:
        self.world = world
        self.redirector = redirector
        self.origin = len(world.sites)
        self._lists: Dict[Tuple[int, int, bool], MirrorList] = {}
        self._courses: Dict[Any, Asked] = {}
        self._numbers = {authority_of(self.url(site)): site for site in range(self.origin)}
        self._numbers["origin.test"] = self.origin

    def url(self, site: int) -> str:
        """Return a mirror's root."""
        return "https://m{}.test/".format(site)

    def number(self, mirror: Mirror) -> int:
        """Return which server that is."""
        return self._numbers[authority_of(mirror.url)]

    def listed(self, place: int, moment: int, repository: Repository) -> MirrorList:
        """Return what the parser of the list page makes of it."""
        key = place, moment, repository is UPDATES
        if key not in self._lists:
            self._lists[key] = self._list(place, moment, repository)
        return self._lists[key]

    def course(self, place: int, moment: int, repository: Repository, tired: Sequence[str], accepted: Snapshot) -> Asked:
        """Ask mirrors; what depends on nothing else is asked once for all hosts."""
        key = place, moment, repository.id, tuple(tired), accepted
        if key not in self._courses:
            found = candidates(repository, self.listed(place, moment, repository), tired, LIST_RULES)
            self._courses[key] = ask(self, place, moment, found, accepted, repository, RULES)
        return self._courses[key]

    def _list(self, place: int, moment: int, repository: Repository) -> MirrorList:
        offer = self.redirector.offer(place, moment)
        mirrors = [self._mirror(site, repository, rank=rank) for rank, site in enumerate(offer.ranked, 1)]
        if not mirrors:
            mirrors = [Mirror("https://origin.test/" + repository.path, "origin", source="origin", rank=1)]
        mirrors += [self._mirror(site, repository, excluded=reason) for site, reason in offer.excluded]
        version = offer.named if repository is UPDATES else 0
        return MirrorList(tuple(mirrors), snapshot_of(version).sha256)

    def _mirror(self, site: int, repository: Repository, rank: int = 0, excluded: str = "") -> Mirror:
        country = PLACES[self.world.sites[site].place].country
        return Mirror(self.url(site) + repository.path, "m{}".format(site), country, "list-page", rank, excluded)

    def behaviour(self, server: int, place: int, moment: int, repository: Repository) -> Tuple[float, Optional[Snapshot]]:
        """Return after which time a server answers with what."""
        state = self.world.moments[moment]
        changes = repository is UPDATES
        if server == self.origin:
            return 0.15, snapshot_of(self.world.published(moment) if changes else 0)
        if not state.alive[server]:
            return DEAD_SECONDS, None
        seconds = self.world.latency(place, server)
        if self.world.sites[server].fault == BROKEN_TLS:
            return seconds, None
        return seconds, snapshot_of(state.serves[server] if changes else 0)


def ask(network: Network, place: int, moment: int, found: Candidates, accepted: Optional[Snapshot], repository: Repository,
        rules: PollRules) -> Asked:
    """Ask mirrors as resolve.py does, on a clock of its own."""
    poll = Poll(found.mirrors, found.origins, found.listed.sha256, rules, accepted)
    now, asked, answers = 0.0, [], []  # type: float, List[Mirror], List[Tuple[float, int]]
    seconds: Dict[int, float] = {}
    proven: List[Proven] = []
    failed: List[int] = []
    while now < 8.0:
        for mirror in poll.to_ask(now):
            heapq.heappush(answers, (now + network.behaviour(network.number(mirror), place, moment, repository)[0], len(asked)))
            asked.append(mirror)
        if poll.done(now):
            break
        due = now + poll.next_look(now)
        if not answers or answers[0][0] > due:
            now = due
            continue
        now, index = heapq.heappop(answers)
        server = network.number(asked[index])
        took, snapshot = network.behaviour(server, place, moment, repository)
        poll.answered(asked[index], snapshot, took, now)
        seconds[server] = took
        if snapshot is not None:
            proven.append(Proven(asked[index], snapshot))
        else:
            failed.append(server)
    numbers = tuple(network.number(mirror) for mirror in asked)
    if not proven:
        return Asked(numbers, (), None, tuple(failed), seconds)
    choice = choose(proven, None)
    best = order_proven([(mirror, seconds[network.number(mirror)]) for mirror in choice.usable], ())
    return Asked(numbers, tuple(network.number(mirror) for mirror in best), choice.snapshot, tuple(failed), seconds)


class _Known:
    """What a host knows of one repository."""

    def __init__(self, found_at: float) -> None:
        self.snapshot = snapshot_of(0)
        self.found_at = found_at
        self.usable: Tuple[int, ...] = ()
        self.records: Dict[str, Record] = {}


class OurHost:
    """A host.

    Args:
        pool: where it belongs.
        random: when it asked last.
    """

    def __init__(self, pool: Pool, random: Random) -> None:
        self._place = pool.place
        self._random = random
        self._known = {repository.id: _Known(-random.uniform(0, REFRESH_AFTER_SECONDS)) for repository in (BASE, UPDATES)}
        self._installed = 0

    @property
    def version(self) -> int:
        """The version of the updates that the host has seen."""
        return self._known[UPDATES.id].snapshot.revision - 1

    def take(self, event: Event, moment: int, network: Network, count: Count) -> None:
        """Live through an event."""
        for repository in (BASE, UPDATES):
            known = self._known[repository.id]
            if event.what == TIMER or event.at - known.found_at >= REFRESH_AFTER_SECONDS:
                self._refresh(event, moment, network, count, repository, known)
        if event.what == INSTALL and self.version > self._installed:
            self._installed = self.version
            self._install(event.at, moment, network, count)

    def _refresh(self, event: Event, moment: int, network: Network, count: Count, repository: Repository, known: _Known) -> None:
        now = event.at
        count.add(now, count.redirector, 1, page_bytes(network.redirector.offer(self._place, moment)))
        tired = resting(Memory(records=known.records), int(now)) if known.records else ()
        came = network.course(self._place, moment, repository, tired, known.snapshot)
        for server in came.asked:
            good = server in came.seconds and server not in came.failed
            requests, size = (3, REPOMD_BYTES + SIGNATURE_BYTES + SAMPLE_BYTES) if good else (1, 0)
            self._count(now, moment, count, server, requests, size)
        for server in came.failed:
            self._remember_failure(network, known, server, now)
        if came.snapshot is None or came.snapshot.age_key < known.snapshot.age_key:
            return
        known.usable, known.found_at = came.proven, now
        if came.snapshot.sha256 != known.snapshot.sha256 and event.what != TIMER:
            self._count(now, moment, count, came.proven[0], 3, REPOMD_BYTES + SIGNATURE_BYTES + PRIMARY_BYTES)
            known.snapshot = came.snapshot

    def _count(self, now: float, moment: int, count: Count, server: int, requests: float, size: float, kind: int = 0) -> None:
        count.add(now, server, requests, size, kind)
        count.want(now, self._place, moment, requests, size, kind)

    def _remember_failure(self, network: Network, known: _Known, server: int, now: float) -> None:
        url = network.url(server)
        known.records[url] = judge_record(known.records.get(url), Probe(Mirror(url), "tls-expired"), int(now))

    def _install(self, now: float, moment: int, network: Network, count: Count) -> None:
        mirrors: Sequence[int] = self._known[UPDATES.id].usable[:OVERALL]
        for server in mirrors:
            self._count(now, moment, count, server, PACKAGES / len(mirrors), PACKAGES_BYTES / len(mirrors), PACKAGE)
