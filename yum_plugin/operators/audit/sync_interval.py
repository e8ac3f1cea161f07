"""How often the mirror syncs: it is watched beside the origin for as long as --watch says (``publication_lag.py`` concludes)."""
import time
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ...errors import MirrorsError
from ...trust.freshness import duration
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.urls import authority_of
from .client import session
from .freshness import MAX_REPOSITORIES, READ_BYTES, SYNC_REMEDY, ask_server
from .model import MIRROR, OK, PROBLEM, UNKNOWN, AuditOptions, Budget, Check, Cost, Finding, OverBudget, Subject
from .publication_lag import (
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

MAX_WATCHED = 4  # repositories; each adds two files to every sample of both servers
SAMPLE_SECONDS = 60.0  # for all repositories of one server


def limits(options: AuditOptions) -> Tuple[Cost, float]:
    """Return what watching for so long costs, and how many seconds it may take."""
    samples = int(options.watch_seconds // options.every_seconds) + 2  # the first and the last one
    cost = Cost(2 * samples + 1, 2 * samples * MAX_WATCHED * READ_BYTES + MAX_REPOSITORIES * 2 * READ_BYTES)
    # The first samples precede the watch, and the last one may begin when its time is over.
    return cost, options.watch_seconds + 10 * SAMPLE_SECONDS


CHECK = Check("sync-interval", Cost(0, 0), needs=MIRROR, wanted=lambda options: options.watch_seconds > 0, limits=limits)


def run(subject: Subject) -> List[Finding]:
    """Sample mirror and origin repeatedly, and say what that shows of the mirror's syncs."""
    if not subject.keys or not subject.settings.fallbacks:
        return [Finding(CHECK.name, UNKNOWN, ("no key, or no origin to compare with: fallbacks= in the .conf",))]
    origin = subject.settings.fallbacks[0]
    found = _read(subject, origin, subject.repositories[:MAX_REPOSITORIES], True)
    paths = last_signed(found, MAX_WATCHED)
    if not paths:
        return [Finding(CHECK.name, UNKNOWN, ("the origin {} gave nothing to compare with".format(authority_of(origin)),))]

    def take() -> Dict[str, RevisionSample]:
        at = subject.clock()
        then = subject._replace(now=int(at))  # else what is signed during the watch would be from the future
        mirrors, origins = _read(then, subject.url, paths, False), _read(then, origin, paths, True)
        return {path: RevisionSample(at, mirrors[path], origins[path]) for path in paths}

    def on_sample(number: int, left: float) -> None:
        subject.on_step("samples so far: {}, {} left; Ctrl-C ends it".format(number, duration(int(left))))

    options = subject.options
    samples = watch(take, WatchSchedule(options.every_seconds, options.watch_seconds, subject.clock, subject.sleep), on_sample)
    return [judge({path: summarize_watch(each) for path, each in samples.items()}, authority_of(origin))]


def last_signed(found: Mapping[str, Optional[SignedRevision]], most: int) -> List[str]:
    """Return the repositories that were signed last, for they change most often; none that could not be proven."""
    signed = {path: seen.signed_at for path, seen in found.items() if seen is not None}
    return sorted(signed, key=lambda path: -signed[path])[:most]


def _read(subject: Subject, root: str, paths: Sequence[str], is_other: bool) -> Dict[str, Optional[SignedRevision]]:
    once = Budget(Cost(1, len(paths) * 2 * MAX_REPOMD_BYTES), SAMPLE_SECONDS)
    subject.budget.connect()
    try:
        with session(subject._replace(budget=once), subject.others_network if is_other else None) as client:
            answers = ask_server(client, subject._replace(budget=once), root, paths)
    except (MirrorsError, OverBudget):
        answers = {}
    subject.budget.receive(once.spent.bytes)
    snapshots = {path: answers[path].snapshot if path in answers else None for path in paths}
    return {path: SignedRevision(each.sha256, each.signed_at) if each else None for path, each in snapshots.items()}


def judge(watched: Dict[str, WatchSummary], origin: str) -> Finding:
    """Make one verdict of all repositories: by the longest lag."""
    evidence = []
    for path, each in watched.items():
        lost = ", {} of them without a proven answer".format(each.unproven) if each.unproven else ""
        evidence.append("{}: {} sample{}{}".format(path, each.samples, "" if each.samples == 1 else "s", lost))
        for publication in each.publications:
            state = "the mirror had it after {}" if publication.arrived else "the mirror still lacks it, after {}"
            seen = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(publication.seen_at))
            evidence.append("  published at {}, seen {}: {}".format(origin, seen, state.format(range_words(publication.lag))))
        evidence += ["  between two changes at the mirror: {}".format(range_words(interval)) for interval in each.intervals]
    lag = worst_lag(list(watched.values()))
    if lag is None:
        evidence.append("nothing was published during the watch: the interval shows only after a publication")
    verdict = UNKNOWN if lag is None else {True: OK, False: PROBLEM, None: UNKNOWN}[keeps_up(lag)]
    values = {path: {"looks": each.samples, "publications": [
        {"sha256": publication.sha256, "arrived": publication.arrived, "lag_seconds": list(publication.lag)}
        for publication in each.publications], "interval_seconds": [list(interval) for interval in each.intervals]}
        for path, each in watched.items()}
    return Finding(CHECK.name, verdict, tuple(evidence), SYNC_REMEDY if verdict == PROBLEM else "", values)


def range_words(seconds: SecondsRange) -> str:
    """Word a range, e.g. "10 min to 15 min"."""
    if seconds.most is None:
        return "more than {}".format(duration(int(seconds.least)))
    return "{} to {}".format(duration(int(seconds.least)), duration(int(seconds.most)))
