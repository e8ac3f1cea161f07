"""Whether everything that the signed lists of checksums name is there: installation images, and the .repo files.

The lists sign no sizes: those are compared with the origin's.
"""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, TrustError
from ...net.fetch import HttpSession
from ...trust.checksum_file import MAX_SUMS_BYTES
from ...util.urls import quoted_path
from ...verify.files import SUMS_NAME
from ..facts import IMAGE_FOLDERS, SYNC_COMMAND
from .client import session, timeouts_of
from .image_lists import ChecksumList, ImageFolder, read_folders, read_list
from .inventory import Completeness, compare, first_lines
from .listings import STATUSES, size_in
from .model import MIRROR, OK, PROBLEM, UNKNOWN, WARNING, Check, Cost, Finding, Subject, keys_missing

CHECK = Check("images", Cost(2, 4 * MAX_SUMS_BYTES), 120.0, needs=MIRROR)


class OriginFolder(NamedTuple):
    """What the origin has of a folder."""

    sums: ChecksumList
    sizes: Dict[str, Optional[int]]  # path -> bytes


class ComparedFolder(NamedTuple):
    """A folder of the mirror, compared with the origin's."""

    found: ImageFolder
    completeness: Optional[Completeness] = None  # None where the mirror has no good list
    origin_signed_at: Optional[int] = None  # of the origin's list, if that is another one


def run(subject: Subject) -> List[Finding]:
    """Ask for everything that the signed lists name."""
    if not subject.keys:
        return [keys_missing(CHECK.name, subject)]
    with session(subject) as client:
        found = read_folders(client, subject)
        origin = _read_origin(subject)
        compared = [_compare(client, subject, each, origin.get(each.folder))
                    for each in found if each.folder in origin or each.sums]
    return [judge(compared, subject.options.yes)]


def _read_origin(subject: Subject) -> Dict[str, OriginFolder]:
    """Read the origin's lists, and ask for the sizes of what they name; empty where it does not answer."""
    folders: Dict[str, OriginFolder] = {}
    if not subject.settings.fallbacks:
        return folders
    root = subject.settings.fallbacks[0]
    try:
        with session(subject, subject.others_network) as client:
            for folder in IMAGE_FOLDERS:
                try:
                    sums = read_list(client, subject, root, folder)
                except TrustError:
                    continue
                except FetchError as error:
                    if error.reference in ("http-status", "redirect-refused"):
                        continue
                    raise
                folders[folder] = OriginFolder(sums, _sizes(client, subject, root, sums))
    except FetchError:
        pass  # without the origin, names are compared and sizes are not
    return folders


def _sizes(client: HttpSession, subject: Subject, root: str, sums: ChecksumList) -> Dict[str, Optional[int]]:
    sizes = {}
    for path in [sums.folder + name for name, _ in sums.first()]:
        answer = client.get(root + quoted_path(path), timeouts_of(subject).limits(0), accept=STATUSES, method="HEAD")
        if answer.status == 200:
            sizes[path] = size_in(answer.headers)
    return sizes


def _compare(client: HttpSession, subject: Subject, found: ImageFolder, origin: Optional[OriginFolder]) -> ComparedFolder:
    if found.sums is None:
        return ComparedFolder(found)
    wanted = {path: origin.sizes.get(path) if origin else None for path in map(found.folder.__add__, found.sums.sums)}
    completeness = compare(wanted, _sizes(client, subject, subject.url, found.sums))
    differs = origin is not None and origin.sums.raw != found.sums.raw
    return ComparedFolder(found, completeness, origin.sums.signed_at if origin and differs else None)


def judge(compared: Sequence[ComparedFolder], bytes_follow: bool) -> Finding:
    """Make one verdict of all folders.

    Args:
        compared: the folders that the mirror or the origin has.
        bytes_follow: whether another check reads the images.
    """
    verdict, evidence = OK, []
    for each in compared:
        problem, lines = _judge_folder(each)
        evidence += lines
        verdict = problem if verdict != PROBLEM and problem != OK else verdict
    if not compared:
        return Finding(CHECK.name, UNKNOWN, ("neither the mirror nor the origin has signed lists of images",))
    if verdict == OK and not bytes_follow:
        evidence.append("names and sizes only; --yes reads every image and compares its SHA-256")
    values = {each.found.folder: {"signed_at": each.found.sums.signed_at if each.found.sums else None,
                                  "error": each.found.error and each.found.error.reference,
                                  "missing": list(each.completeness.missing) if each.completeness else []} for each in compared}
    return Finding(CHECK.name, verdict, tuple(evidence), SYNC_COMMAND if verdict == PROBLEM else "", values)


def _judge_folder(each: ComparedFolder) -> Tuple[str, List[str]]:
    path, sums, completeness = each.found.folder + SUMS_NAME, each.found.sums, each.completeness
    if sums is None or completeness is None:
        error = each.found.error
        return PROBLEM, ["{}: {}".format(path, "{}: {}".format(error.reference, error.what) if error else "")]
    lines = ["{}: signed, {} of {} files are there".format(path, completeness.found, completeness.wanted)]
    lines += first_lines("missing", completeness.missing)
    wrong = ["{}: {} bytes, {} at the origin".format(path, got, size) for path, size, got in completeness.wrong]
    lines += first_lines("wrong size", wrong)
    verdict = OK if completeness.is_complete else PROBLEM
    if each.origin_signed_at is not None:
        older = each.origin_signed_at > sums.signed_at
        lines.append("the origin has a {} list".format("newer" if older else "different"))
        verdict = PROBLEM if older else WARNING if verdict == OK else verdict
    return verdict, lines
