"""What a signature covers: a repository's repomd.xml, or a list of checksums; and what follows from it for each file.

    1. The signed file is verified with a pinned key, and then parsed from the same bytes (``trust/metadata.py``,
       ``trust/openpgp.py``).
    2. It is never older than the one that DEST has, if that is proven too: repomd.xml by data and signature, as on a host
       (``trust/freshness.py``), a list of checksums by its signing time.
    3. A repository demands every metadata file by the checksum in repomd.xml, and every package by size and checksum in the
       primary metadata. A list of checksums demands the right bytes of each file that the source has.
"""
import hashlib
from typing import Dict, NamedTuple, Optional, Sequence, Tuple, Union

from ...errors import TrustError
from ...trust.checksum_file import parse_checksums
from ...trust.freshness import duration
from ...trust.keys import PublicKey
from ...trust.metadata import RepomdProver
from ...trust.openpgp import verify_detached
from ...trust.primary import MAX_OPEN_BYTES, read_primary
from ...trust.repomd import Repomd, RepomdFile, primary_file
from ...trust.unpack import unpacked
from .plan import WORK, Demand, Unit, find_units, joined


class Head(NamedTuple):
    """A proven repomd.xml or SHA256SUMS."""

    raw: bytes
    signature: bytes
    age_key: Tuple[int, ...]  # sorts newer after older; the signing time, then that of the data
    revision: int  # 0 for a list of checksums
    timestamp: int  # seconds since 1970: newest data, or when the list was signed
    fingerprint: str
    content: Union[Repomd, Dict[str, str]]

    @property
    def sha256(self) -> str:
        """Of the signed file."""
        return hashlib.sha256(self.raw).hexdigest()


def prove_head(unit: Unit, raw: bytes, signature: bytes, keys: Sequence[PublicKey], now: int) -> Head:
    """Rule 1.

    Args:
        unit: of the signed file.
        raw: the signed file.
        signature: the file beside it.
        keys: the pinned ones.
        now: seconds since 1970.

    Raises:
        TrustError: the first rule that is broken.
    """
    if unit.is_repository:
        snapshot, content, verdict = RepomdProver(keys, now).prove(raw, signature)
        return Head(raw, signature, snapshot.age_key, snapshot.revision, snapshot.timestamp, verdict.fingerprint, content)
    signed = verify_detached(raw, signature, keys, now)
    return Head(raw, signature, (signed.signed_at,), 0, signed.signed_at, signed.fingerprint, parse_checksums(raw))


def refuse_rollback(unit: Unit, offered: Head, published: Optional[Head]) -> None:
    """Rule 2.

    Raises:
        TrustError: rollback.
    """
    if published is None or offered.raw == published.raw or offered.age_key[0] >= published.age_key[0] or (
            offered.age_key[1:] > published.age_key[1:]):
        return
    behind = duration((published.timestamp - offered.timestamp) or (published.age_key[0] - offered.age_key[0]))
    raise TrustError("rollback", "the source is {} older than what is published here".format(behind),
                     hint="if it really went back: xcpng-mirrors sync --accept-rollback")


def metadata_demands(unit: Unit, head: Head) -> Dict[str, Demand]:
    """Rule 3 for the metadata files of a repository; a list of checksums has none.

    Raises:
        TrustError: unsafe-path: a file is not inside the repository.
    """
    if not isinstance(head.content, Repomd):
        return {}
    return {_place(unit, file.href): Demand(file.size, file.checksum_type, file.checksum) for file in head.content.files}


def primary_of(unit: Unit, head: Head) -> Tuple[str, RepomdFile]:
    """Return path and description of a repository's primary metadata.

    Raises:
        TrustError: unsupported: there is none.
    """
    content = head.content if isinstance(head.content, Repomd) else Repomd(0, 0, ())
    found = primary_file(content, unit.folder or "/")
    return _place(unit, found.href), found


def read_packages(unit: Unit, file: RepomdFile, primary: bytes) -> Dict[str, Tuple[str, Demand]]:
    """Rule 3 for the packages of a repository.

    Args:
        unit: the repository.
        file: of the primary metadata.
        primary: its content, proven, compressed or not.

    Returns:
        Path -> name of the package, and what is demanded.

    Raises:
        TrustError: it cannot be read.
    """
    return {_place(unit, package.href): (package.name, Demand(package.size, package.checksum_type, package.checksum))
            for package in read_primary(unpacked(primary, file.open_size or MAX_OPEN_BYTES))}


def listed_demands(unit: Unit, head: Head) -> Dict[str, Demand]:
    """Rule 3 for the files that a list of checksums names; other signed lists below it speak for themselves."""
    sums = head.content if isinstance(head.content, dict) else {}
    listed = {joined(unit.folder, name): Demand(None, "sha256", digest) for name, digest in sums.items()}
    lists = set(find_units(listed)) | {unit}
    heads = {path for each in lists for path in each.heads}
    return {path: demand for path, demand in listed.items() if path not in heads}


def _place(unit: Unit, href: str) -> str:
    """Return the path of a file of a repository; it must be neither a head nor in the work folder."""
    path = joined(unit.folder, href)
    if path in unit.heads or WORK in path.split("/"):
        raise TrustError("unsafe-path", "the metadata names a file that cannot be the repository's", where=unit.folder or "/")
    return path
