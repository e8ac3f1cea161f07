"""Whether the mirror answers the same each time: several servers that differ may share one name."""
import hashlib
from collections import Counter
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

from ...errors import FetchError, TrustError
from ...model import REPOMD
from ...trust.repomd import MAX_REPOMD_BYTES, parse_repomd
from .client import ANY_STATUS, session, timeouts_of
from .model import MIRROR, OK, PROBLEM, WARNING, Check, Cost, Finding, Subject

TIMES = 5  # two servers that take turns at random are noticed in 15 runs of 16
MAX_PATHS = 2  # repositories; of each repomd.xml and its signature
CHECK = Check("same-answers", Cost(TIMES, TIMES * MAX_PATHS * 2 * 64 * 1024), needs=MIRROR)
COMPARED = ("content-length", "last-modified", "etag", "accept-ranges")  # resuming and caching need them (RFC 9110 section 8.8)
REMEDY = "sync all servers behind the name from one source, and switch them together; or keep each client on one of them"


class BackendSample(NamedTuple):
    """One answer, on a new connection."""

    path: str
    status: int
    sha256: str  # of the body; "" if it was not read
    headers: Mapping[str, str]  # names in lower case
    note: str = ""  # describes the body: its revision


class Disagreement(NamedTuple):
    """Answers that differ."""

    path: str
    what: str  # "status", "content", or the name of a header
    values: Tuple[str, ...]  # each once, in the order of their first appearance, with how often


def disagreements(samples: Sequence[BackendSample]) -> List[Disagreement]:
    """Find what differs between answers to the same question.

    Args:
        samples: of any number of paths, several each.

    Returns:
        What differs; headers are compared only where statuses and contents are equal.
    """
    found: List[Disagreement] = []
    for path in dict.fromkeys(sample.path for sample in samples):
        mine = [sample for sample in samples if sample.path == path]
        views: Dict[str, List[str]] = {
            "status": ["HTTP {}".format(sample.status) for sample in mine],
            "content": ["{} {}".format(sample.sha256[:12], sample.note).strip() for sample in mine],
        }
        differing = [what for what, values in views.items() if len(set(values)) > 1]
        if not differing:
            views = {name: [sample.headers.get(name, "none") for sample in mine] for name in COMPARED}
            differing = [what for what, values in views.items() if len(set(values)) > 1]
        for what in differing:
            counts = Counter(views[what])
            values = tuple("{} ({} of {})".format(value, count, len(mine)) for value, count in counts.items())
            found.append(Disagreement(path, what, values))
    return found


def run(subject: Subject) -> List[Finding]:
    """Fetch the same files on several new connections."""
    paths = [path + REPOMD + suffix for path in subject.repositories[:MAX_PATHS] for suffix in ("", ".asc")]
    samples: List[BackendSample] = []
    lost: List[FetchError] = []
    for _ in range(TIMES):
        try:
            with session(subject) as client:
                for path in paths:
                    answer = client.get(subject.url + path, timeouts_of(subject).limits(MAX_REPOMD_BYTES), accept=ANY_STATUS)
                    subject.budget.receive(len(answer.body))
                    samples.append(BackendSample(path, answer.status, hashlib.sha256(answer.body).hexdigest(), answer.headers,
                                                 _revision(answer.body)))
        except FetchError as error:
            lost.append(error)
    return [judge(disagreements(samples), lost, len(paths))]


def _revision(body: bytes) -> str:
    """Return the revision that a repomd.xml claims, unproven."""
    try:
        return "(revision {})".format(parse_repomd(body).revision)
    except TrustError:
        return ""


def judge(found: List[Disagreement], lost: List[FetchError], paths: int) -> Finding:
    """Judge what differed.

    Args:
        found: what differed.
        lost: connections that failed.
        paths: how many files were fetched each time.
    """
    evidence = ["{} files fetched on each of {} new connections".format(paths, TIMES)]
    evidence += ["{}: {} differs: {}".format(each.path, each.what, ", ".join(each.values)) for each in found]
    if lost:
        evidence.append("{} of {} connections failed: {}: {}".format(len(lost), TIMES, lost[0].reference, lost[0].what))
    serious = bool(lost) or any(each.what in ("status", "content", "content-length") for each in found)
    verdict = PROBLEM if serious else WARNING if found else OK
    values = {"differences": [{"path": each.path, "what": each.what, "values": list(each.values)} for each in found],
              "failed_connections": len(lost)}
    return Finding(CHECK.name, verdict, tuple(evidence), REMEDY if found else "", values)
