"""What lies beside the repositories with a signed list of checksums: installation images, and the .repo files.

The list signs names and contents, not sizes: those are compared with the origin's.
"""
from typing import Dict, List, NamedTuple, Optional, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...net.fetch import HttpSession
from ...trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ...trust.checksum_file import MAX_SUMS_BYTES, parse_checksums
from ...trust.digest import DigestChecker
from ...trust.openpgp import verify_detached
from ...verify.files import SUMS_NAME
from .client import fetch, session, timeouts_of
from .inventory import Completeness, compare, first_lines
from .listings import STATUSES, size_in
from .model import OK, PROBLEM, SYNC_COMMAND, UNKNOWN, WARNING, Cost, Finding, Subject

CHECK, BYTES = "images", "image-bytes"
FOLDERS = ("isos/8.3/", "isos/8.2/", "8/")
MAX_NAMES = 256
MAX_IMAGE_BYTES = 16 * 10**9
UNREAD = "not read: it is larger than what may still be taken"
COST = Cost(2, 4 * MAX_SUMS_BYTES)
BYTES_COST = Cost(1, 24 * 10**9)
BYTES_SECONDS = 6 * 3600.0


class ChecksumList(NamedTuple):
    """A folder with a proven list."""

    folder: str
    sums: Dict[str, str]  # name -> SHA-256
    signed_at: int
    raw: bytes


class ImageFolder(NamedTuple):
    """What was found of one folder."""

    folder: str
    sums: Optional[ChecksumList] = None
    error: Optional[MirrorsError] = None  # why there is no list
    origin_signed_at: Optional[int] = None  # of the origin's list, if that is another one
    completeness: Optional[Completeness] = None


def read_sums(client: HttpSession, subject: Subject, root: str, folder: str) -> ChecksumList:
    """Fetch a list of checksums and prove it.

    Args:
        client: to talk through.
        subject: for keys and budget.
        root: of the mirror or the origin.
        folder: below it, ending in "/".

    Raises:
        FetchError: it could not be had.
        TrustError: it must not be believed.
    """
    raw = fetch(client, subject, root + folder + SUMS_NAME, MAX_SUMS_BYTES).body
    try:
        signature = fetch(client, subject, root + folder + SUMS_NAME + ".asc", MAX_SIGNATURE_BYTES).body
    except FetchError as error:
        if error.reference != "http-status":
            raise
        raise TrustError("signature-missing", "{} has no signature beside it".format(SUMS_NAME)) from error
    verdict = verify_detached(raw, signature, subject.keys, subject.now)
    return ChecksumList(folder, parse_checksums(raw), verdict.signed_at, raw)


def check_images(subject: Subject) -> List[Finding]:
    """Look whether everything that the signed lists name is there."""
    if not subject.keys:
        return [Finding(CHECK, UNKNOWN, ("no key: {}".format(subject.keys_problem),))]
    with session(subject) as client:
        found = [_look(client, subject, folder) for folder in FOLDERS]
        wanted = _origin_view(subject, found)
        found = [_with_presence(client, subject, each, wanted) for each in found if each.folder in wanted or each.sums]
    return [judge(found, subject.options.yes)]


def _look(client: HttpSession, subject: Subject, folder: str) -> ImageFolder:
    """Read a list; once more if it is not to be believed, for it may have been synced between list and signature."""
    error: Optional[MirrorsError] = None
    for _ in range(2):
        try:
            return ImageFolder(folder, read_sums(client, subject, subject.url, folder))
        except FetchError as failure:
            return ImageFolder(folder, error=failure)
        except TrustError as refusal:
            error = refusal
    return ImageFolder(folder, error=error)


class _OriginFolder(NamedTuple):
    """The origin's view of a folder."""

    signed_at: int
    raw: bytes
    sizes: Dict[str, Optional[int]]  # path -> bytes


def _origin_view(subject: Subject, found: List[ImageFolder]) -> Dict[str, _OriginFolder]:
    """Ask the origin for the same lists, and for the sizes of what they name; empty where it does not answer."""
    views: Dict[str, _OriginFolder] = {}
    if not subject.settings.fallbacks:
        return views
    root = subject.settings.fallbacks[0]
    try:
        with session(subject, subject.others_network) as client:
            for folder in FOLDERS:
                try:
                    sums = read_sums(client, subject, root, folder)
                except (FetchError, TrustError) as error:
                    if error.reference in ("http-status", "redirect-refused") or isinstance(error, TrustError):
                        continue
                    raise
                views[folder] = _OriginFolder(sums.signed_at, sums.raw, _sizes(client, subject, root, sums))
    except FetchError:
        pass  # then names are looked at, and no sizes
    return views


def _sizes(client: HttpSession, subject: Subject, root: str, sums: ChecksumList) -> Dict[str, Optional[int]]:
    sizes = {}
    for name in list(sums.sums)[:MAX_NAMES]:
        path = sums.folder + name
        answer = client.get(root + path, timeouts_of(subject).limits(0), accept=STATUSES, method="HEAD")
        if answer.status == 200:
            sizes[path] = size_in(answer.headers)
    return sizes


def _with_presence(client: HttpSession, subject: Subject, found: ImageFolder, views: Dict[str, _OriginFolder]) -> ImageFolder:
    if found.sums is None:
        return found
    view = views.get(found.folder)
    wanted = {found.folder + name: None for name in found.sums.sums}  # type: Dict[str, Optional[int]]
    if view is not None:
        wanted = {path: view.sizes.get(path) for path in wanted}
    completeness = compare(wanted, _sizes(client, subject, subject.url, found.sums))
    differs = view is not None and view.raw != found.sums.raw
    return found._replace(completeness=completeness, origin_signed_at=view.signed_at if differs and view else None)


def judge(found: List[ImageFolder], bytes_follow: bool) -> Finding:
    """Make one verdict of all folders.

    Args:
        found: of each.
        bytes_follow: whether another check reads the images.
    """
    verdict, evidence = OK, []
    for each in found:
        problem, lines = _judge_folder(each)
        evidence += lines
        verdict = problem if verdict != PROBLEM and problem != OK else verdict
    if not found:
        return Finding(CHECK, UNKNOWN, ("neither mirror nor origin has signed lists of images",))
    if verdict == OK and not bytes_follow:
        evidence.append("names and sizes only; --yes reads every image and compares its SHA-256")
    values = {each.folder: {"signed_at": each.sums.signed_at if each.sums else None, "error": each.error and each.error.reference,
                            "missing": list(each.completeness.missing) if each.completeness else []} for each in found}
    return Finding(CHECK, verdict, tuple(evidence), SYNC_COMMAND if verdict == PROBLEM else "", values)


def _judge_folder(each: ImageFolder) -> Tuple[str, List[str]]:
    if each.sums is None or each.completeness is None:
        error = each.error
        return PROBLEM, ["{}{}: {}".format(each.folder, SUMS_NAME, "{}: {}".format(error.reference, error.what) if error else "")]
    completeness = each.completeness
    lines = ["{}{}: signed, {} of {} files are there".format(each.folder, SUMS_NAME, completeness.found, completeness.wanted)]
    lines += first_lines("missing", completeness.missing)
    wrong = ["{}: {} bytes, {} at the origin".format(path, got, size) for path, size, got in completeness.wrong]
    lines += first_lines("wrong size", wrong)
    verdict = OK if completeness.is_complete else PROBLEM
    if each.origin_signed_at is not None:
        older = each.origin_signed_at > each.sums.signed_at
        lines.append("the origin has a {} list".format("newer" if older else "different"))
        verdict = PROBLEM if older else WARNING if verdict == OK else verdict
    return verdict, lines


def check_image_bytes(subject: Subject) -> List[Finding]:
    """Read every image that the signed lists name."""
    evidence, wrong = [], {}
    with session(subject) as client:
        for found in [_look(client, subject, folder) for folder in FOLDERS]:
            for name, digest in list(found.sums.sums.items())[:MAX_NAMES] if found.sums else []:
                path = found.folder + name
                try:
                    evidence.append("{}: {}".format(path, _read_image(client, subject, path, digest)))
                except (FetchError, TrustError) as error:
                    wrong[path] = error.reference
                    evidence.append("{}: {}: {}".format(path, error.reference, error.what))
    if not evidence:
        return [Finding(BYTES, UNKNOWN, ("no signed list of images to go by",))]
    verdict = PROBLEM if wrong else UNKNOWN if any(line.endswith(UNREAD) for line in evidence) else OK
    values = {"read_bytes": subject.budget.spent.bytes, "wrong": wrong}
    return [Finding(BYTES, verdict, tuple(evidence), SYNC_COMMAND if wrong else "", values)]


def _read_image(client: HttpSession, subject: Subject, path: str, digest: str) -> str:
    """Read an image to its end; return what became of it."""
    checker, received = DigestChecker("sha256", digest), 0
    with client.open(subject.url + path, timeouts_of(subject).limits(MAX_IMAGE_BYTES)) as stream:
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
