"""How far a mirror is behind, repository by repository: its signed metadata against the origin's and other mirrors'.

Only what a pinned key has signed is compared (``trust/metadata.py``), and newer is what ``trust/freshness.py`` calls newer.
"""
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...model import REPOMD, Mirror, Snapshot
from ...net.fetch import HttpSession
from ...packages.get_files import FetchSite, list_mirrors
from ...resolve.probe import ask_repomd
from ...trust.freshness import Offer, duration, newest
from ...trust.metadata import RepomdProver
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.urls import authority_of
from .client import session, timeouts_of
from .model import OK, PROBLEM, SYNC_COMMAND, UNKNOWN, WARNING, AuditOptions, Budget, Check, Cost, Finding, OverBudget, Subject
from .sync_interval import (
    SYNC_SECONDS,
    RevisionSample,
    SecondsRange,
    SignedRevision,
    WatchSchedule,
    WatchSummary,
    keeps_up,
    summarize_watch,
    watch,
    worst_lag,
)

CHECK, INTERVAL = "freshness", "sync-interval"
OTHERS = 2  # mirrors beside the origin: enough to see an origin that is behind, and no crowd at anybody's door
MAX_REPOSITORIES = 64
WATCHED = 4  # repositories: those that changed last
LOOK_BYTES = 32 * 1024  # of one repository at one place: a repomd.xml and its signature have less than 10 KiB
LOOK_SECONDS = 60.0
COST = Cost(2 + OTHERS, (2 + OTHERS) * MAX_REPOSITORIES * LOOK_BYTES)
SYNC_REMEDY = "sync at least hourly, better 4 times: {}".format(SYNC_COMMAND)
ONE_FILE = ("http-status", "redirect-refused", "too-large", "truncated", "bad-answer")  # references that are about one file


class ServedMetadata(NamedTuple):
    """What one place says of one repository."""

    snapshot: Optional[Snapshot] = None
    error: Optional[MirrorsError] = None  # if there is no snapshot


class RepositoryFreshness(NamedTuple):
    """Where a mirror stands with one repository."""

    path: str
    verdict: str
    words: str
    behind_seconds: Optional[int] = None  # None: not known
    behind_revisions: Optional[int] = None  # of those that were seen
    revision: Optional[int] = None


def ask_place(client: HttpSession, subject: Subject, root: str, paths: Sequence[str]) -> Dict[str, ServedMetadata]:
    """Prove what one place serves.

    Args:
        client: to talk through.
        subject: for keys, time-outs and budget.
        root: of the place.
        paths: of the repositories.
    """
    found: Dict[str, ServedMetadata] = {}
    prover = RepomdProver(subject.keys, subject.now)
    for path in paths:
        try:
            signed = ask_repomd(client, Mirror(root + path), prover, timeouts_of(subject))
            subject.budget.receive(signed.bytes)
            found[path] = ServedMetadata(signed.proven.snapshot)
        except TrustError as error:
            found[path] = ServedMetadata(error=error)
        except FetchError as failure:
            found[path] = ServedMetadata(error=failure)
            if failure.reference not in ONE_FILE:  # a dead server is not waited for once more with each repository
                return dict(dict.fromkeys(paths, ServedMetadata(error=failure)), **found)
    return found


def judge(path: str, mine: ServedMetadata, others: Sequence[Tuple[str, ServedMetadata]], now: int) -> RepositoryFreshness:
    """Hold what a mirror serves against what others do.

    Args:
        path: of the repository.
        mine: the mirror's answer.
        others: name and answer of the origin and other mirrors.
        now: seconds since 1970.
    """
    seen = [Offer(Mirror(name), answer.snapshot) for name, answer in others if answer.snapshot is not None]
    if mine.error is not None:
        return RepositoryFreshness(path, PROBLEM, "{}: {}".format(mine.error.reference, mine.error.what))
    if mine.snapshot is None or not seen:
        return RepositoryFreshness(path, UNKNOWN, "there is nothing to compare it with",
                                   revision=mine.snapshot and mine.snapshot.revision)
    current = newest([Offer(Mirror("it"), mine.snapshot)] + seen)
    revision = "revision {}".format(mine.snapshot.revision)
    if current.sha256 == mine.snapshot.sha256:
        return RepositoryFreshness(path, OK, "{}, the newest of {}".format(revision, len(seen) + 1), 0, 0, mine.snapshot.revision)
    newer = {offer.snapshot.sha256: offer.snapshot for offer in seen if offer.snapshot.age_key > mine.snapshot.age_key}
    behind = max(0, current.timestamp - mine.snapshot.timestamp)
    server = next(offer.mirror.url for offer in seen if offer.snapshot.sha256 == current.sha256)
    waiting = max(0, now - min(snapshot.signed_at for snapshot in newer.values()))
    words = "{}, {} behind {}; {} newer revision{} seen, the first of them signed {} ago".format(
        revision, duration(behind), server, len(newer), "s" if len(newer) > 1 else "", duration(waiting))
    verdict = WARNING if waiting < SYNC_SECONDS else PROBLEM
    return RepositoryFreshness(path, verdict, words, behind, len(newer), mine.snapshot.revision)


def finding_of(standings: Sequence[RepositoryFreshness], places: Sequence[str]) -> Finding:
    """Make one verdict of all repositories: the worst."""
    order = (OK, UNKNOWN, WARNING, PROBLEM)
    verdict = max((result.verdict for result in standings), key=order.index, default=UNKNOWN)
    evidence = ["{}: {}".format(result.path, result.words) for result in standings]
    evidence.append("compared with {}".format(", ".join(places) or "nobody"))
    references = [result.words.partition(":")[0] for result in standings]
    distrusted = [reference for reference in references if reference in TrustError.REFERENCES]
    remedy = SYNC_REMEDY if verdict in (PROBLEM, WARNING) else ""
    if distrusted:
        remedy = "sync repomd.xml and repomd.xml.asc together and unchanged: xcpng-mirrors sync DEST"
    values = {"repositories": {result.path: {"verdict": result.verdict, "behind_seconds": result.behind_seconds,
                                               "behind_revisions": result.behind_revisions, "revision": result.revision}
                               for result in standings}, "compared_with": list(places)}
    return Finding(CHECK, verdict, tuple(evidence), remedy, values)


def check_freshness(subject: Subject) -> List[Finding]:
    """Compare the mirror with the origin and a few others."""
    if not subject.keys:
        return [Finding(CHECK, UNKNOWN, ("no key: {}".format(subject.keys_problem),))]
    paths = subject.repositories[:MAX_REPOSITORIES]
    with session(subject) as client:
        mine = ask_place(client, subject, subject.url, paths)
    others: Dict[str, Dict[str, ServedMetadata]] = {}
    for root in places_to_compare(subject, paths):
        try:
            with session(subject, subject.others_network) as client:
                others[authority_of(root)] = ask_place(client, subject, root, paths)
        except OverBudget:
            break
    standings = [judge(path, mine[path], [(name, answers[path]) for name, answers in others.items()], subject.now)
                 for path in paths]
    return [finding_of(standings, list(others))]


def places_to_compare(subject: Subject, paths: Sequence[str]) -> List[str]:
    """List the origin, and a few mirrors of the redirector's list; the one that is examined is not among them."""
    site = FetchSite(subject.settings, subject.keys, subject.now, subject.others_network)
    try:
        listed = [mirror.url for mirror in list_mirrors(paths[0] + REPOMD, site)[0]]
    except MirrorsError:
        listed = []  # the origin is enough
    mine = authority_of(subject.url)
    roots = list(subject.settings.fallbacks) + [url for url in listed if authority_of(url) != mine][:OTHERS]
    return [root for root in dict.fromkeys(roots) if authority_of(root) != mine]


def check_interval(subject: Subject, schedule: WatchSchedule) -> List[Finding]:
    """Look at mirror and origin again and again, and tell what that says of the mirror's syncs.

    Args:
        subject: whom to watch.
        schedule: when.
    """
    if not subject.keys or not subject.settings.fallbacks:
        return [Finding(INTERVAL, UNKNOWN, ("no key, or no origin to compare with: fallbacks= in the .conf",))]
    origin = subject.settings.fallbacks[0]
    found = _look_at(subject, origin, subject.repositories[:MAX_REPOSITORIES], True)
    paths = last_signed(found, WATCHED)
    if not paths:
        return [Finding(INTERVAL, UNKNOWN, ("the origin {} gave nothing to compare with".format(authority_of(origin)),))]

    def look() -> Dict[str, RevisionSample]:
        at = schedule.clock()
        then = subject._replace(now=int(at))  # signatures are made while it is watched
        mine, its = _look_at(then, subject.url, paths, False), _look_at(then, origin, paths, True)
        return {path: RevisionSample(at, mine[path], its[path]) for path in paths}

    def first_lines(number: int, left: float) -> None:
        subject.on_step("looks so far: {}, {} left; Ctrl-C ends it".format(number, duration(int(left))))

    looks = watch(look, schedule, first_lines)
    return [interval_finding({path: summarize_watch(seen) for path, seen in looks.items()}, authority_of(origin))]


def last_signed(found: Mapping[str, Optional[SignedRevision]], most: int) -> List[str]:
    """Return the repositories that were signed last: those that change most often; none that was not seen."""
    signed = {path: seen.signed_at for path, seen in found.items() if seen is not None}
    return sorted(signed, key=lambda path: -signed[path])[:most]


def _look_at(subject: Subject, root: str, paths: Sequence[str], is_other: bool) -> Dict[str, Optional[SignedRevision]]:
    once = Budget(Cost(1, len(paths) * 2 * MAX_REPOMD_BYTES), LOOK_SECONDS)
    subject.budget.connect()
    try:
        with session(subject._replace(budget=once), subject.others_network if is_other else None) as client:
            answers = ask_place(client, subject._replace(budget=once), root, paths)
    except (MirrorsError, OverBudget):
        answers = {}
    subject.budget.receive(once.spent.bytes)
    snapshots = {path: answers[path].snapshot if path in answers else None for path in paths}
    return {path: SignedRevision(each.sha256, each.signed_at) if each else None for path, each in snapshots.items()}


def interval_finding(watched: Dict[str, WatchSummary], origin: str) -> Finding:
    """Word what was seen."""
    evidence = []
    for path, each in watched.items():
        lost = ", {} of them without an answer that can be believed".format(each.unseen) if each.unseen else ""
        evidence.append("{}: {} look{}{}".format(path, each.looks, "" if each.looks == 1 else "s", lost))
        for followed in each.publications:
            state = "the mirror had it after {}" if followed.arrived else "the mirror still lacks it, after {}"
            seen = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(followed.seen_at))
            evidence.append("  published at {}, seen {}: {}".format(origin, seen, state.format(span_words(followed.lag))))
        evidence += ["  between two changes at the mirror: {}".format(span_words(span)) for span in each.intervals]
    lag = worst_lag(list(watched.values()))
    if lag is None:
        evidence.append("nothing was published while it was watched: the interval shows only after a publication")
    verdict = UNKNOWN if lag is None else {True: OK, False: PROBLEM, None: UNKNOWN}[keeps_up(lag)]
    values = {path: {"looks": each.looks, "publications": [
        {"sha256": followed.sha256, "arrived": followed.arrived, "lag_seconds": list(followed.lag)}
        for followed in each.publications], "interval_seconds": [list(span) for span in each.intervals]}
        for path, each in watched.items()}
    return Finding(INTERVAL, verdict, tuple(evidence), SYNC_REMEDY if verdict == PROBLEM else "", values)


def span_words(span: SecondsRange) -> str:
    """Word a span of time, e.g. "10 min to 15 min"."""
    if span.most is None:
        return "more than {}".format(duration(int(span.least)))
    return "{} to {}".format(duration(int(span.least)), duration(int(span.most)))


def interval_check(options: AuditOptions, clock: Callable[[], float], sleep: Callable[[float], None]) -> Check:
    """Return the entry of the table of checks: what it costs depends on how long it takes.

    Args:
        options: how long, and how often.
        clock: seconds since 1970.
        sleep: for so many seconds.
    """
    looks = int(options.watch_seconds // options.every_seconds) + 2
    cost = Cost(2 * looks + 1, 2 * looks * WATCHED * LOOK_BYTES + MAX_REPOSITORIES * 2 * LOOK_BYTES)
    schedule = WatchSchedule(options.every_seconds, options.watch_seconds, clock, sleep)
    return Check(INTERVAL, lambda subject: check_interval(subject, schedule), cost, options.watch_seconds + 10 * LOOK_SECONDS,
                 needs="mirror", wanted=lambda subject: subject.options.watch_seconds > 0)
