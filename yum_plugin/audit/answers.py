"""Asking the same several times, each time on a new connection: behind one name may stand servers that differ."""
import hashlib
from typing import List

from ..errors import FetchError, TrustError
from ..model import REPOMD
from ..trust.repomd import MAX_REPOMD_BYTES, parse_repomd
from .agreement import Disagreement, Sample, disagreements
from .asking import conversation, patience_of
from .model import OK, PROBLEM, WARNING, Cost, Finding, Subject

CHECK = "same-answers"
TIMES = 5
MAX_PATHS = 2  # repositories; of each repomd.xml and its signature
COST = Cost(TIMES, TIMES * MAX_PATHS * 2 * MAX_REPOMD_BYTES)
EVERYTHING = tuple(range(200, 600))
MEND = "sync all servers behind the name from one place, and switch them over together; or keep a client on one of them"


def check_answers(subject: Subject) -> List[Finding]:
    """Fetch the same files on several new connections."""
    paths = [path + REPOMD + suffix for path in subject.repositories[:MAX_PATHS] for suffix in ("", ".asc")]
    samples: List[Sample] = []
    lost: List[FetchError] = []
    for _ in range(TIMES):
        try:
            with conversation(subject) as client:
                for path in paths:
                    answer = client.get(subject.url + path, patience_of(subject).limits(MAX_REPOMD_BYTES), accept=EVERYTHING)
                    subject.budget.receive(len(answer.body))
                    samples.append(Sample(path, answer.status, hashlib.sha256(answer.body).hexdigest(), answer.headers,
                                          _revision(answer.body)))
        except FetchError as error:
            lost.append(error)
    return [judge(disagreements(samples), lost, len(paths))]


def _revision(body: bytes) -> str:
    """Say which revision a repomd.xml claims to be; nothing of it is believed."""
    try:
        return "(revision {})".format(parse_repomd(body).revision)
    except TrustError:
        return ""


def judge(found: List[Disagreement], lost: List[FetchError], paths: int) -> Finding:
    """Word what differed.

    Args:
        found: what differed.
        lost: connections that failed.
        paths: how many files were asked for each time.
    """
    evidence = ["{} files asked for on each of {} new connections".format(paths, TIMES)]
    evidence += ["{}: {} differs: {}".format(each.path, each.what, ", ".join(each.values)) for each in found]
    if lost:
        evidence.append("{} of {} connections failed: {}: {}".format(len(lost), TIMES, lost[0].reference, lost[0].what))
    serious = bool(lost) or any(each.what in ("status", "content", "content-length") for each in found)
    verdict = PROBLEM if serious else WARNING if found else OK
    values = {"differences": [{"path": each.path, "what": each.what, "values": list(each.values)} for each in found],
              "failed_connections": len(lost)}
    return Finding(CHECK, verdict, tuple(evidence), MEND if found else "", values)
