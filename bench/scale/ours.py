"""What a host with the plugin sends. The product's own code makes every decision: candidates, selection and refresh_policy of
resolve/, trust/freshness.py, state/memory.py, and the loop of net/fanout.py on the virtual time of the tests.

Left out: the whole Resolver, which would read state and settings for each host, the command line, proxies. A host asks the
redirector for its digest or its list page, and mirrors directly. Packages come from the first three proven mirrors at once
(net/download.py: OVERALL, PER_MIRROR).
"""
from random import Random
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from tests.support.virtual_time import VirtualClock, VirtualTasks
from yum_plugin.model import Mirror, MirrorList, Probe, Repository, Snapshot
from yum_plugin.net.download import OVERALL
from yum_plugin.net.fanout import TaskResult, run_until
from yum_plugin.resolve.candidates import Candidates, ListRules, candidates
from yum_plugin.resolve.refresh_policy import MAX_EXPIRE_SECONDS, RefreshPlan, digest_suffices, plan_refresh
from yum_plugin.resolve.selection import Poll, PollRules, drawn_by_weight, order_proven
from yum_plugin.state.memory import Memory, judge_record, quarantined
from yum_plugin.trust.freshness import Offer as Proven
from yum_plugin.trust.freshness import choose
from yum_plugin.trust.identity import Evidence, sift
from yum_plugin.util.urls import authority_of

from .count import METADATA, PACKAGE, PACKAGES, PACKAGES_BYTES, PRIMARY_BYTES, REPOMD_BYTES, SAMPLE_BYTES, SIGNATURE_BYTES, Count
from .habits import INSTALL, TIMER, Event, Pool
from .redirector import Offer, Redirector, page_bytes
from .stock import DNF_EXPIRE_SECONDS, YUM_EXPIRE_SECONDS
from .world import BROKEN_TLS, PLACES, World

REFRESH_AFTER_SECONDS = 900.0
PROBE_MIRRORS, ENOUGH = 6, 3
DEADLINE_SECONDS = 8.0
DIGEST_BYTES = 75  # 64 digits and the name of the file
LIST_RULES = ListRules(("mirrors.test",), ("https://origin.test/",), (), (), True)
BASE = Repository("xcp-ng-base", (), "base/", (), ())
UPDATES = Repository("xcp-ng-updates", (), "updates/", (), ())
# Requests to a mirror: repomd.xml, its signature and, by the timer alone, a sample; one that serves what is known.
WITH_SAMPLE, ALL_OF_IT, REPOMD_ONLY = 3, 2, 1
DEAD_SECONDS = 1e6
ORIGIN_SECONDS = 0.15
SIZES = {WITH_SAMPLE: REPOMD_BYTES + SIGNATURE_BYTES + SAMPLE_BYTES, ALL_OF_IT: REPOMD_BYTES + SIGNATURE_BYTES,
         REPOMD_ONLY: REPOMD_BYTES}


def snapshot_of(version: int) -> Snapshot:
    """Return the signed repomd.xml of a version."""
    return Snapshot("{:064x}".format(version + 1), REPOMD_BYTES, version + 1, version + 1, version + 1)


class Answer(NamedTuple):
    """What asking one mirror gives."""

    seconds: float
    snapshot: Optional[Snapshot]
    requests: int


class Asked(NamedTuple):
    """What came of asking mirrors."""

    answers: Tuple[Tuple[int, Answer], ...]  # of all that were asked, with the server
    best: Tuple[Mirror, ...]  # that serve the newest snapshot
    snapshot: Optional[Snapshot]


class Network:
    """The mirrors as hosts see them, in the product's own values.

    Args:
        world, redirector: what they are made of.
        with_policy: False for the design as it was before refresh_policy.py: enough mirrors are asked, in the redirector's
            order.
    """

    def __init__(self, world: World, redirector: Redirector, with_policy: bool) -> None:
        self.world = world
        self.redirector = redirector
        self.with_policy = with_policy
        self.origin = len(world.sites)
        self._found: Dict[Any, Candidates] = {}
        self._asked: Dict[Any, Asked] = {}
        self._numbers = {"m{}.test".format(site): site for site in range(self.origin)}
        self._numbers["origin.test"] = self.origin

    def number(self, mirror: Mirror) -> int:
        """Return which server that is."""
        return self._numbers[authority_of(mirror.url)]

    def found(self, place: int, moment: int, repository: Repository) -> Candidates:
        """Return the candidates of a host, in the redirector's order."""
        key = place, moment, repository.id
        if key not in self._found:
            offer = self.redirector.offer(place, moment, repository.id == UPDATES.id)
            if (repository.id, offer) not in self._found:
                self._found[repository.id, offer] = candidates(repository, self._list(offer, repository), (), LIST_RULES)
            self._found[key] = self._found[repository.id, offer]
        return self._found[key]

    def _list(self, offer: Offer, repository: Repository) -> MirrorList:
        """Return what the parser of the list page makes of it."""
        mirrors = [self._mirror(site, repository)._replace(rank=rank, weight=round(100 * weight) if self.with_policy else 0)
                   for rank, (site, weight) in enumerate(zip(offer.ranked, offer.weights), 1)]
        if not mirrors:
            mirrors = [Mirror("https://origin.test/" + repository.path, "origin", source="origin", rank=1)]
        mirrors += [self._mirror(site, repository)._replace(excluded=reason) for site, reason in offer.excluded]
        return MirrorList(tuple(mirrors), snapshot_of(offer.named).sha256)

    def _mirror(self, site: int, repository: Repository) -> Mirror:
        country = PLACES[self.world.sites[site].place].country
        return Mirror("https://m{}.test/{}".format(site, repository.path), "m{}".format(site), country, "list-page")

    def answer(self, server: int, place: int, moment: int, updates: bool, known: Optional[Snapshot], full: int) -> Answer:
        """Ask a server; ``known``: what it need not prove; ``full``: requests to one that has to."""
        if server == self.origin:
            snapshot = snapshot_of(self.world.published(moment) if updates else 0)
            return Answer(ORIGIN_SECONDS, snapshot, REPOMD_ONLY if known == snapshot else full)
        state = self.world.moments[moment]
        if not state.alive[server]:
            return Answer(DEAD_SECONDS, None, 1)
        if self.world.sites[server].fault == BROKEN_TLS:
            return Answer(self.world.seconds_of(place, server, 0), None, 1)
        snapshot = snapshot_of(state.serves[server] if updates else 0)
        requests = REPOMD_ONLY if known == snapshot else full
        return Answer(self.world.seconds_of(place, server, requests), snapshot, requests)

    def ask(self, place: int, moment: int, updates: bool, found: Candidates, plan: RefreshPlan, known: Snapshot,
            full: int) -> Asked:
        """Ask as many as are needed; what depends on nothing else is asked once for all hosts."""
        if self.with_policy:
            return self._ask(place, moment, updates, found, plan, known, full)
        key = place, moment, updates, found.mirrors[:2 * PROBE_MIRRORS], known, full
        if key not in self._asked:
            self._asked[key] = self._ask(place, moment, updates, found, plan, known, full)
        return self._asked[key]

    def _ask(self, place: int, moment: int, updates: bool, found: Candidates, plan: RefreshPlan, known: Snapshot,
             full: int) -> Asked:
        own = frozenset(mirror.url for mirror in found.origins)
        evidence = Evidence(found.listed.sha256, own, frozenset([known.sha256]))
        poll = Poll(found.mirrors, found.origins, found.listed.sha256, PollRules(PROBE_MIRRORS, plan.quorum), known, evidence)

        def ask(mirror: Mirror) -> Answer:
            doubtful = poll.unconfirmed() if mirror.source == "origin" else None
            needless = doubtful or (known if plan.proven else None)
            return self.answer(self.number(mirror), place, moment, updates, needless, full)

        asked = _play(poll, ask)
        proven = [Proven(mirror, answer.snapshot) for mirror, answer, in_time in asked if in_time and answer.snapshot]
        answers = tuple((self.number(mirror), answer) for mirror, answer, _ in asked)
        proven = sift(proven, evidence, known).offers
        if not proven:
            return Asked(answers, (), None)
        choice = choose(proven, None)
        seconds = {mirror: answer.seconds for mirror, answer, _ in asked}
        best = order_proven([(mirror, seconds[mirror]) for mirror in choice.usable], ())
        return Asked(answers, tuple(best), choice.snapshot)


def _play(poll: Poll, ask: Callable[[Mirror], Answer]) -> List[Tuple[Mirror, Answer, bool]]:
    """Ask mirrors as the resolver does, on a clock of its own; return each with its answer, and whether that came in time."""
    clock = VirtualClock()
    tasks = VirtualTasks(clock)
    asked: List[Tuple[Mirror, Answer]] = []
    came: Set[int] = set()

    def advance(now: float) -> Optional[float]:
        for mirror in poll.to_ask(now):
            answer = ask(mirror)
            tasks.deliver(TaskResult(len(asked), answer), answer.seconds)
            asked.append((mirror, answer))
        return None if poll.done(now) else poll.next_look(now)

    def take(result: TaskResult) -> None:
        mirror, answer = asked[result.key]
        poll.answered(mirror, answer.snapshot, answer.seconds, clock.now)
        came.add(result.key)

    run_until(clock.now + DEADLINE_SECONDS, tasks, lambda: clock.now, advance, take)
    return [(mirror, answer, index in came) for index, (mirror, answer) in enumerate(asked)]


def _at_hand(memory: Memory) -> Candidates:
    """Return what is remembered of the last list; ``candidates`` would look at the settings of each host again."""
    mirrors = tuple(mirror for mirror in memory.mirrors if not mirror.excluded and mirror.source != "origin")
    return Candidates(MirrorList(memory.mirrors), mirrors, (), ())


class OurHost:
    """A host.

    Args:
        pool: where it belongs.
        random: for all chance.
    """

    def __init__(self, pool: Pool, random: Random) -> None:
        self._place = pool.place
        self._random = random
        expire = DNF_EXPIRE_SECONDS if pool.dnf else YUM_EXPIRE_SECONDS
        self._repositories = [repository._replace(expire_seconds=float(expire)) for repository in (BASE, UPDATES)]
        self._held = [snapshot_of(0), snapshot_of(0)]  # what the package manager has loaded
        self._memory = [self._begin(repository) for repository in self._repositories]
        self._warm_since = [memory.resolved_at for memory in self._memory]
        self._installed = 0

    def _begin(self, repository: Repository) -> Memory:
        """Return what a host remembers that has asked some time in the last days."""
        at = -self._random.uniform(0, repository.expire_seconds)
        urls = ["https://m{}.test/{}".format(site, repository.path) for site in range(10)]
        return Memory(snapshot=snapshot_of(0), usable=tuple(urls), resolved_at=at,
                      confirmed_at=at, jitter=self._random.random())

    @property
    def version(self) -> int:
        """The version of the updates that the host has seen."""
        return self._held[1].revision - 1

    def take(self, event: Event, moment: int, network: Network, count: Count) -> None:
        """Live through an event."""
        for number in (0, 1):
            if event.what == TIMER or not self._is_warm(number, event.at):
                self._refresh(number, event, moment, network, count)
        if event.what == INSTALL and self.version > self._installed:
            self._installed = self.version
            self._install(event.at, moment, network, count)

    def _is_warm(self, number: int, now: float) -> bool:
        """Decide as ``bridge.is_warm``."""
        return now - self._warm_since[number] < REFRESH_AFTER_SECONDS and self._held[number] == self._memory[number].snapshot

    def _refresh(self, number: int, event: Event, moment: int, network: Network, count: Count) -> None:
        now, memory, held = event.at, self._memory[number], self._held[number]
        repository = self._repositories[number]._replace(cached_sha256=held.sha256, installs=event.what == INSTALL)
        if event.what == TIMER and memory.snapshot is not None:  # refresh --if-needed
            repository = repository._replace(cached_sha256=memory.snapshot.sha256, expire_seconds=MAX_EXPIRE_SECONDS)
        found = network.found(self._place, moment, repository)
        if network.with_policy and digest_suffices(repository, memory, held, _at_hand(memory), now):
            count.add(now, count.redirector, 1, DIGEST_BYTES)
            if found.listed.sha256 == held.sha256:
                self._memory[number] = memory._replace(resolved_at=now)
                self._warm_since[number] = now
                return
        count.add(now, count.redirector, 1, page_bytes(network.redirector.offer(self._place, moment)))
        memory = self._memory[number] = memory._replace(listed_at=now)
        plan = RefreshPlan(ENOUGH)
        if network.with_policy:
            plan = plan_refresh(repository, memory, held, found, ENOUGH, now)
        if plan.quorum == 0 and found.listed.sha256 != held.sha256:
            return  # it waits, which is no proof
        if plan.quorum == 0:
            memory = memory._replace(resolved_at=now, usable=tuple(mirror.url for mirror in plan.proven))
            listed = found.listed.mirrors if found.listed.sha256 == repository.cached_sha256 else memory.mirrors
            self._memory[number] = memory._replace(mirrors=listed)
        elif not self._ask(number, event, moment, network, count, found, plan):
            return
        self._warm_since[number] = now

    def _ask(self, number: int, event: Event, moment: int, network: Network, count: Count, found: Candidates,
             plan: RefreshPlan) -> bool:
        """Ask mirrors; say whether there is a resolution."""
        now, held = event.at, self._held[number]
        found = found._replace(mirrors=self._ordered(found.mirrors, self._memory[number], network, now))
        full = WITH_SAMPLE if event.what == TIMER or not network.with_policy else ALL_OF_IT
        came = network.ask(self._place, moment, number == 1, found, plan, held, full)
        for server, answer in came.answers:
            self._count(now, moment, count, server, answer.requests, SIZES[answer.requests] if answer.snapshot else 0)
        self._remember(number, now, network, came, plan, found)
        if came.snapshot is None or came.snapshot.age_key < held.age_key:
            return False
        if came.snapshot != held and event.what != TIMER:
            server = network.number(came.best[0])
            more = (1, PRIMARY_BYTES) if network.with_policy else (3, REPOMD_BYTES + SIGNATURE_BYTES + PRIMARY_BYTES)
            self._count(now, moment, count, server, *more)
            self._held[number] = came.snapshot
        return True

    def _ordered(self, mirrors: Tuple[Mirror, ...], memory: Memory, network: Network, now: float) -> Tuple[Mirror, ...]:
        """Order mirrors as ``rank_candidates`` does, which would look at the settings of each host again."""
        drawn = drawn_by_weight(mirrors, self._random.random) if network.with_policy else list(mirrors)
        tired = quarantined(memory, int(now)) if memory.records else ()
        if tired:
            drawn.sort(key=lambda mirror: authority_of(mirror.url) in tired)
        return tuple(drawn)

    def _count(self, now: float, moment: int, count: Count, server: int, requests: float, size: float,
               kind: int = METADATA) -> None:
        count.add(now, server, requests, size, kind)
        count.want(now, self._place, moment, requests, size, kind)

    def _remember(self, number: int, now: float, network: Network, came: Asked, plan: RefreshPlan, found: Candidates) -> None:
        memory = self._memory[number]
        asked = {server for server, _ in came.answers}
        usable = came.best
        if came.snapshot == memory.snapshot:
            usable += tuple(mirror for mirror in plan.proven if network.number(mirror) not in asked)
        records = dict(memory.records)
        for server, answer in came.answers:
            if answer.snapshot is None and answer.seconds < DEAD_SECONDS:
                url = "https://m{}.test/".format(server)
                records[url] = judge_record(records.get(url), Probe(Mirror(url), "tls-expired"), int(now))
        if came.snapshot is not None:
            memory = memory._replace(usable=tuple(mirror.url for mirror in usable), snapshot=came.snapshot, resolved_at=now,
                                     mirrors=found.listed.mirrors, confirmed_at=now, jitter=self._random.random())
        self._memory[number] = memory._replace(records=records)

    def _install(self, now: float, moment: int, network: Network, count: Count) -> None:
        urls = self._memory[1].usable[:OVERALL]
        for url in urls:
            server = network.number(Mirror(url))
            self._count(now, moment, count, server, PACKAGES / len(urls), PACKAGES_BYTES / len(urls), PACKAGE)
