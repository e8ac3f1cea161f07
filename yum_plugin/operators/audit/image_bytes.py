"""Whether every installation image has the very bytes that its signed list names: each is read whole."""
from typing import List

from ...errors import FetchError, TrustError
from ...net.fetch import HttpSession
from ...trust.digest import DigestChecker
from ...util.urls import quoted_path
from ..facts import SYNC_COMMAND
from .client import session, timeouts_of
from .image_lists import read_folders
from .listings import size_in
from .model import MIRROR, OK, PROBLEM, UNKNOWN, Check, Cost, Finding, Subject

MAX_IMAGE_BYTES = 16 * 10**9
UNREAD = "not read: it is larger than what may still be transferred"
CHECK = Check("image-bytes", Cost(1, 24 * 10**9), 6 * 3600.0, needs=MIRROR)


def run(subject: Subject) -> List[Finding]:
    """Read every image that the signed lists name."""
    evidence, wrong = [], {}
    with session(subject) as client:
        for found in read_folders(client, subject):
            for name, digest in found.sums.first() if found.sums else []:
                path = found.folder + name
                try:
                    evidence.append("{}: {}".format(path, _read_image(client, subject, path, digest)))
                except (FetchError, TrustError) as error:
                    wrong[path] = error.reference
                    evidence.append("{}: {}: {}".format(path, error.reference, error.what))
    if not evidence:
        return [Finding(CHECK.name, UNKNOWN, ("there is no signed list of images to compare with",))]
    verdict = PROBLEM if wrong else UNKNOWN if any(line.endswith(UNREAD) for line in evidence) else OK
    values = {"read_bytes": subject.budget.spent.bytes, "wrong": wrong}
    return [Finding(CHECK.name, verdict, tuple(evidence), SYNC_COMMAND if wrong else "", values)]


def _read_image(client: HttpSession, subject: Subject, path: str, digest: str) -> str:
    """Read an image to its end, and return the outcome in words."""
    checker, received = DigestChecker("sha256", digest), 0
    with client.open(subject.url + quoted_path(path), timeouts_of(subject).limits(MAX_IMAGE_BYTES)) as stream:
        total = size_in(stream.headers) or 0
        if total > subject.budget.bytes_left:
            return UNREAD
        for chunk in stream.chunks():
            received += len(chunk)
            subject.budget.receive(len(chunk))
            checker.update(chunk)
            subject.on_bytes(path, received, total)
    checker.finish()
    return "as signed"
