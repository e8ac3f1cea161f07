"""The signed lists of checksums (SHA256SUMS) of the folders with installation images and .repo files, fetched and proven.

Such a list signs names and contents, not sizes.
"""
from typing import Dict, List, NamedTuple, Optional, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...net.fetch import HttpSession
from ...net.session import MISSING, NO_CACHE
from ...trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ...trust.checksum_file import MAX_SUMS_BYTES, parse_checksums
from ...trust.openpgp import verify_detached
from ...verify.files import SUMS_NAME
from ..facts import IMAGE_FOLDERS
from .client import fetch
from .model import Subject

MAX_NAMES = 256


class ChecksumList(NamedTuple):
    """A proven list."""

    folder: str
    sums: Dict[str, str]  # name -> SHA-256
    signed_at: int
    raw: bytes

    def first(self) -> List[Tuple[str, str]]:
        """Return names and digests of the first MAX_NAMES files; more are not requested."""
        return list(self.sums.items())[:MAX_NAMES]


class ImageFolder(NamedTuple):
    """A folder, and its list if it has a good one."""

    folder: str
    sums: Optional[ChecksumList] = None
    error: Optional[MirrorsError] = None  # why there is no list


def read_list(client: HttpSession, subject: Subject, root: str, folder: str) -> ChecksumList:
    """Fetch a list of checksums and prove it.

    Args:
        client: to talk through.
        subject: for keys and budget.
        root: of the mirror or the origin.
        folder: below it, ending in "/".

    Raises:
        FetchError: it could not be fetched.
        TrustError: it must not be trusted.
    """
    url = root + folder + SUMS_NAME
    raw = fetch(client, subject, url, MAX_SUMS_BYTES, NO_CACHE).body
    signature = fetch(client, subject, url + ".asc", MAX_SIGNATURE_BYTES, NO_CACHE, accept=(200,) + MISSING)
    if signature.status != 200:
        raise TrustError("signature-missing", "{} has no signature beside it".format(SUMS_NAME))
    verdict = verify_detached(raw, signature.body, subject.keys, subject.now)
    return ChecksumList(folder, parse_checksums(raw), verdict.signed_at, raw)


def read_folders(client: HttpSession, subject: Subject) -> List[ImageFolder]:
    """Read the mirror's list of each folder that may have one."""
    return [_read_folder(client, subject, folder) for folder in IMAGE_FOLDERS]


def _read_folder(client: HttpSession, subject: Subject, folder: str) -> ImageFolder:
    error: Optional[MirrorsError] = None
    for _ in range(2):  # once more after a bad signature: the mirror may have synced between the list and its signature
        try:
            return ImageFolder(folder, read_list(client, subject, subject.url, folder))
        except FetchError as failure:
            return ImageFolder(folder, error=failure)
        except TrustError as refusal:
            error = refusal
    return ImageFolder(folder, error=error)
