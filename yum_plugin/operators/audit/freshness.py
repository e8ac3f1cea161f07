"""How far a mirror is behind, repository by repository: its signed metadata is compared with the origin's and other mirrors'.

Only what a pinned key has signed is compared (``trust/metadata.py``), and newer is what ``trust/freshness.py`` calls newer.
"""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...model import REPOMD, Mirror, Snapshot
from ...net.fetch import HttpSession, HttpSessions
from ...packages.get_files import FetchSite, list_mirrors
from ...privsep.gateway import here
from ...resolve.probe import ask_repomd
from ...trust.freshness import Offer, duration, newest
from ...trust.metadata import RepomdProver
from ...util.urls import authority_of
from ..facts import SYNC_COMMAND, SYNC_SECONDS
from .client import session, timeouts_of
from .model import MIRROR, OK, PROBLEM, UNKNOWN, WARNING, Check, Cost, Finding, OverBudget, Subject, keys_missing

OTHERS = 2  # mirrors beside the origin: enough to notice an origin that is behind, and little load for anybody
MAX_REPOSITORIES = 64
READ_BYTES = 32 * 1024  # of one repository on one server: a repomd.xml and its signature have less than 10 KiB
CHECK = Check("freshness", Cost(2 + OTHERS, (2 + OTHERS) * MAX_REPOSITORIES * READ_BYTES), 120.0, needs=MIRROR)
SYNC_REMEDY = "sync at least hourly, better four times an hour: {}".format(SYNC_COMMAND)
ONE_FILE = ("http-status", "redirect-refused", "too-large", "truncated", "bad-answer")  # references that are about one file


class ServedMetadata(NamedTuple):
    """What one server has of one repository."""

    snapshot: Optional[Snapshot] = None
    error: Optional[MirrorsError] = None  # if there is no snapshot


class RepositoryFreshness(NamedTuple):
    """How far a mirror is behind with one repository."""

    path: str
    verdict: str
    words: str
    behind_seconds: Optional[int] = None  # None: not known
    behind_revisions: Optional[int] = None  # of those that were seen
    revision: Optional[int] = None


def run(subject: Subject) -> List[Finding]:
    """Compare the mirror with the origin and a few other mirrors."""
    if not subject.keys:
        return [keys_missing(CHECK.name, subject)]
    paths = subject.repositories[:MAX_REPOSITORIES]
    with session(subject) as client:
        mine = ask_server(client, subject, subject.url, paths)
    others: Dict[str, Dict[str, ServedMetadata]] = {}
    for root in roots_to_compare(subject, paths):
        try:
            with session(subject, subject.others_network) as client:
                others[authority_of(root)] = ask_server(client, subject, root, paths)
        except OverBudget:
            break
    results = [judge_repository(path, mine[path], [(name, answers[path]) for name, answers in others.items()], subject.now)
               for path in paths]
    return [judge(results, list(others))]


def roots_to_compare(subject: Subject, paths: Sequence[str]) -> List[str]:
    """Return the origin, and a few mirrors of the redirector's list; the one that is examined is not among them."""
    gateway = here()._replace(open=HttpSessions(subject.make_contexts).open)
    site = FetchSite(subject.settings, subject.keys, subject.now, gateway, subject.others_network)
    try:
        listed = [mirror.url for mirror in list_mirrors(paths[0] + REPOMD, site)[0]]
    except MirrorsError:
        listed = []  # the origin is enough
    mine = authority_of(subject.url)
    roots = list(subject.settings.fallbacks) + [url for url in listed if authority_of(url) != mine][:OTHERS]
    return [root for root in dict.fromkeys(roots) if authority_of(root) != mine]


def ask_server(client: HttpSession, subject: Subject, root: str, paths: Sequence[str]) -> Dict[str, ServedMetadata]:
    """Fetch and prove the metadata of some repositories of one server.

    Args:
        client: to talk through.
        subject: for keys, timeouts and budget.
        root: of the server's tree.
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
            if failure.reference not in ONE_FILE:  # do not wait again for a dead server with each further repository
                return dict(dict.fromkeys(paths, ServedMetadata(error=failure)), **found)
    return found


def judge_repository(path: str, mine: ServedMetadata, others: Sequence[Tuple[str, ServedMetadata]],
                     now: int) -> RepositoryFreshness:
    """Compare what a mirror serves with what others do.

    Args:
        path: of the repository.
        mine: what the mirror has.
        others: the origin and other mirrors by name, and what they have.
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
    # Since the first revision that it lacks: a mirror that misses every sync is not excused by a publication of a minute ago.
    waiting = max(0, now - min(snapshot.signed_at for snapshot in newer.values()))
    words = "{}, {} behind {}; {} newer revision{} seen, the first of them signed {} ago".format(
        revision, duration(behind), server, len(newer), "s" if len(newer) > 1 else "", duration(waiting))
    verdict = WARNING if waiting < SYNC_SECONDS else PROBLEM
    return RepositoryFreshness(path, verdict, words, behind, len(newer), mine.snapshot.revision)


def judge(results: Sequence[RepositoryFreshness], compared: Sequence[str]) -> Finding:
    """Make one verdict of all repositories: the worst.

    Args:
        results: of each.
        compared: the servers that the mirror was compared with.
    """
    order = (OK, UNKNOWN, WARNING, PROBLEM)
    verdict = max((result.verdict for result in results), key=order.index, default=UNKNOWN)
    evidence = ["{}: {}".format(result.path, result.words) for result in results]
    evidence.append("compared with {}".format(", ".join(compared) or "nobody"))
    references = [result.words.partition(":")[0] for result in results]
    remedy = SYNC_REMEDY if verdict in (PROBLEM, WARNING) else ""
    if any(reference in TrustError.REFERENCES for reference in references):
        remedy = "sync repomd.xml and repomd.xml.asc together and unchanged: xcpng-mirrors sync DEST"
    values = {"repositories": {result.path: {"verdict": result.verdict, "behind_seconds": result.behind_seconds,
                                             "behind_revisions": result.behind_revisions, "revision": result.revision}
                               for result in results}, "compared_with": list(compared)}
    return Finding(CHECK.name, verdict, tuple(evidence), remedy, values)
