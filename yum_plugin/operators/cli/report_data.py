"""The data of a report: the answers of the mirrors, or what is remembered of them, and earlier observations."""
import sys
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ... import __version__
from ...cli.common.console import Console
from ...cli.common.host_options import NOTES, Host
from ...cli.common.mirrors_view import Display, MirrorsView, Row, ask_through, views_of
from ...model import Mirror, Repository
from ...net.fanout import TaskPool
from ...net.reachability import Reachability
from ...net.session import Session
from ...privsep.gateway import Gateway
from ...resolve.outcome import observations_of
from ...resolve.selection import rank_candidates
from ...state.history import Observation
from ...state.memory import Memory, Record, Remembered
from ...util.urls import authority_of, clean_base_url, host_of
from ..report.values import MirrorFinding, MirrorSite, MirrorsReport, RepositoryReport, sites_of, state_of

MOST_AT_ONCE = 24  # servers that are probed in parallel


class SiteFinding(NamedTuple):
    """A finding, and the mirror that it belongs to."""

    root: str  # URL
    authority: str
    finding: MirrorFinding


def asked_report(host: Host, shown: bool) -> MirrorsReport:
    """Ask every mirror now, probe how each is reached, add the results to the history, and report.

    Args:
        host: of the options.
        shown: whether progress is shown.
    """
    views = views_of(host)
    with host.gateway() as gateway:
        ask_through(gateway, host, views, Display(views, shown, as_table=False))
        now = time.time()
        site_findings = _site_findings(views, host, now)
        reachability = _probe_sites(gateway, host, site_findings, shown)
    _keep(views, host, now)
    repositories = [_asked_repository(view, host.state.load(view.repository.id).memory) for view in views]
    return MirrorsReport(int(now), False, __version__, tuple(repositories), sites_of(site_findings, reachability))


def _site_findings(views: Sequence[MirrorsView], host: Host, now: float) -> List[SiteFinding]:
    site_findings: List[SiteFinding] = []
    for view in views:
        past = host.state.observed(view.repository.id, now)
        memory = host.state.load(view.repository.id).memory
        new = observations_of(view.resolution, now) if view.resolution is not None else []
        site_findings += [_asked(view, row, memory, past + new, int(now)) for row in view.rows()]
    return site_findings


def remembered_report(host: Host) -> MirrorsReport:
    """Report from the memory alone: without the network, and without writing anything."""
    now = time.time()
    site_findings: List[SiteFinding] = []
    repositories = []
    for repository in host.repositories:
        remembered = host.state.load(repository.id)
        site_findings += _remembered(repository, remembered.memory, host, host.state.observed(repository.id, now))
        repositories.append(_remembered_repository(repository, remembered))
    return MirrorsReport(int(now), True, __version__, tuple(repositories), sites_of(site_findings, {}))


def _keep(views: Sequence[MirrorsView], host: Host, now: float) -> None:
    with host.state.locked(host.settings.deadline) as held:
        for view in views:
            if held and view.resolution is not None:
                host.state.observe(view.repository.id, observations_of(view.resolution, now))


def _probe_sites(gateway: Gateway, host: Host, site_findings: Sequence[SiteFinding], shown: bool) -> Dict[str, Reachability]:
    """Probe the servers of all mirrors that are not left out."""
    urls = {each.authority: each.root for each in site_findings if each.finding.state not in ("excluded", "denied")}
    console = Console(sys.stderr)
    live = shown and console.can_redraw

    def on_done(done: int) -> None:
        if live:
            console.write("\r{} of {} servers probed\x1b[K".format(done, len(urls)))

    try:
        return probe_reachability(gateway, urls, host, on_done)
    finally:
        if live:
            console.write("\r\x1b[K")


def probe_reachability(gateway: Gateway, urls: Mapping[str, str], host: Host,
             on_done: Callable[[int], None] = lambda done: None) -> Dict[str, Reachability]:
    """Probe how some servers are reached, MOST_AT_ONCE in parallel.

    Args:
        gateway: to the network.
        urls: of the servers, by any key.
        host: its connect_timeout is used, and the network settings of its first repository.
        on_done: called with the number of servers done.

    Returns:
        How each is reached, by the same key; empty values where that could not be found out.
    """
    network, seconds = host.repositories[0].network, host.settings.connect_timeout
    task_pool, waiting, found = TaskPool(gateway.open), list(urls.items()), {key: Reachability() for key in urls}

    def start(key: str, url: str) -> None:
        def task(client: Session) -> Reachability:
            return gateway.reachability(client, url, network, seconds)

        # Three connections, one after the other: IPv4, IPv6, rsync.
        task_pool.start(key, task, network, 3 * seconds + 1)

    for item in waiting[:MOST_AT_ONCE]:
        start(*item)
    for done in range(1, len(waiting) + 1):
        outcome = task_pool.next(4 * seconds + 1)
        if outcome is None:  # a system call hangs: report what is known
            break
        found[outcome.key] = outcome.value or Reachability()
        on_done(done)
        for item in waiting[MOST_AT_ONCE + done - 1:MOST_AT_ONCE + done]:
            start(*item)
    task_pool.dismiss()
    return found


def site_finding(repository: Repository, finding: MirrorFinding) -> SiteFinding:
    """Return a finding with its mirror, whose root is the repository's base URL without the repository's path."""
    url, path = finding.mirror.url, repository.path
    root = url[:-len(path)] if path and url.endswith("/" + path) else url
    return SiteFinding(root, authority_of(url), finding)


def of_url(url: str, observations: Sequence[Observation]) -> Tuple[Observation, ...]:
    """Return the observations of the repository at this base URL."""
    return tuple(each for each in observations if each.url == url)


def _asked(view: MirrorsView, row: Row, memory: Memory, observations: Sequence[Observation], now: int) -> SiteFinding:
    url = row.mirror.url
    probe, record = view.probes.get(url), memory.records.get(url)
    served = probe.snapshot if probe is not None else None
    lag = 0 if row.state == "ok" else row.lag_seconds
    return site_finding(view.repository, MirrorFinding(
        view.repository.id, row.mirror, row.state, row.reference, row.detail, now if probe is not None else None, lag,
        row.first_byte_seconds, row.certificate_expires, served.revision if served else None, probe.address if probe else "",
        record.failures if record else 0, of_url(url, observations)))


def _asked_repository(view: MirrorsView, memory: Memory) -> RepositoryReport:
    error = view.error
    return RepositoryReport(view.repository.id, view.current, view.accepted, str(error or ""), error.reference if error else "",
                            tuple(view.remarks()), int(memory.resolved_at) or None)


def _remembered(repository: Repository, memory: Memory, host: Host, observations: Sequence[Observation]) -> List[SiteFinding]:
    settings = host.settings
    left_out = {mirror.url: reason for mirror, reason in
                rank_candidates(memory.mirrors, (), settings.deny, (), not settings.require_https,
                                reach=repository.network.reach)[1]}
    mirrors = {mirror.url: mirror for mirror in memory.mirrors}
    for url in memory.records:
        if url not in mirrors and _is_clean(url):
            is_origin = url.startswith(tuple(settings.fallbacks))
            mirrors[url] = Mirror(url, "origin" if is_origin else "", source="origin" if is_origin else "known")
    return [site_finding(repository, _remembered_finding(
        repository, mirror, memory.records.get(mirror.url), left_out.get(mirror.url, ""), of_url(mirror.url, observations)))
            for mirror in mirrors.values()]


def _is_clean(url: str) -> bool:
    try:
        return clean_base_url(url) == url
    except ValueError:
        return False


def _remembered_finding(repository: Repository, mirror: Mirror, record: Optional[Record], left_out: str,
                        observations: Tuple[Observation, ...]) -> MirrorFinding:
    if left_out:
        state = "excluded" if mirror.excluded else "denied"
        return MirrorFinding(repository.id, mirror, state, detail=mirror.excluded or left_out, observations=observations)
    if record is None:
        return MirrorFinding(repository.id, mirror, "not asked", observations=observations)
    state = state_of(record.outcome)
    reference = record.outcome if state in ("failed", "refused") else ""
    made = MirrorFinding(repository.id, mirror, state, reference, record.detail, record.at, failures=record.failures,
                         certificate_expires=record.certificate_expires, observations=observations)
    last = next((each for each in reversed(observations) if each.at == record.at and each.about == "metadata"), None)
    if last is None:
        return made
    return made._replace(lag_seconds=last.lag_seconds, first_byte_seconds=last.first_byte_seconds, revision=last.revision,
                         address=last.address)


def _remembered_repository(repository: Repository, remembered: Remembered) -> RepositoryReport:
    memory = remembered.memory
    last = next((each for each in reversed(memory.decisions) if each.about == "metadata"), None)
    error = last.error if last is not None else ""
    remarks = (NOTES[memory.note],) if memory.note in NOTES else ()
    return RepositoryReport(repository.id, memory.snapshot, remembered.accepted, error, error.partition(":")[0],
                            remarks, int(memory.resolved_at) or None)


def sites_named(sites: Sequence[MirrorSite], name: str) -> List[MirrorSite]:
    """Return the sites with a name.

    Args:
        sites: of a report.
        name: a URL, host, host:port, or the name on the redirector's list, in either case.
    """
    wanted = name.strip().lower()
    bare = wanted.split("://", 1)[-1].split("/", 1)[0]

    def fits(site: MirrorSite) -> bool:
        return bare in (site.authority, host_of(site.url)) or wanted == site.mirror.name.lower()

    return [site for site in sites if wanted and fits(site)]
