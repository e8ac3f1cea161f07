"""The contents of a mirror according to its own signed metadata: repomd.xml and the primary metadata, proven, then read."""
import hashlib
from typing import Dict, List, NamedTuple, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...model import REPOMD, Mirror
from ...net.fetch import HttpSession
from ...resolve.probe import ask_repomd
from ...trust.digest import DigestChecker
from ...trust.metadata import RepomdProver
from ...trust.primary import MAX_OPEN_BYTES, MAX_PRIMARY_BYTES, PrimaryPackage, read_primary
from ...trust.repomd import MAX_REPOMD_BYTES, PRIMARY, Repomd, RepomdFile, primary_file
from ...trust.unpack import unpacked
from .client import fetch, timeouts_of
from .inventory import RepositoryContent
from .model import Subject


class MetadataResult(NamedTuple):
    """The metadata of all repositories, as far as it could be read."""

    contents: Tuple[RepositoryContent, ...]  # whose repomd.xml is proven; without packages if the primary metadata is not
    digests: Dict[str, str]  # path of the repository -> SHA-256 of its repomd.xml
    problems: Tuple[Tuple[str, MirrorsError], ...]  # path of a file, and what is wrong with it
    verified: int  # number of metadata files that were read and are right
    unread: Tuple[Tuple[str, int], ...]  # path and bytes of the files that were not read because they are too large


def read_all(client: HttpSession, subject: Subject, max_bytes: int) -> MetadataResult:
    """Read and verify the metadata of every repository of the subject.

    Args:
        client: to talk through.
        subject: with keys.
        max_bytes: for metadata files beside repomd.xml and primary, the smallest first.
    """
    reader = _MetadataReader(client, subject)
    for path in subject.repositories:
        reader.read_repository(path)
    reader.read_rest(max_bytes)
    return MetadataResult(tuple(reader.contents), reader.digests, tuple(reader.problems), reader.verified, tuple(reader.unread))


class _MetadataReader:
    """Collects a ``MetadataResult``."""

    def __init__(self, client: HttpSession, subject: Subject) -> None:
        self._client = client
        self._subject = subject
        self._prover = RepomdProver(subject.keys, subject.now)
        self._rest: List[Tuple[int, str, RepomdFile]] = []
        self.contents: List[RepositoryContent] = []
        self.digests: Dict[str, str] = {}
        self.problems: List[Tuple[str, MirrorsError]] = []
        self.verified = 0
        self.unread: List[Tuple[str, int]] = []

    def read_repository(self, path: str) -> None:
        """Read repomd.xml and the primary metadata."""
        self._subject.on_step("metadata of {}".format(path))
        try:
            signed = ask_repomd(self._client, Mirror(self._subject.url + path), self._prover, timeouts_of(self._subject))
        except (FetchError, TrustError) as error:
            self.problems.append((path + REPOMD, error))
            return
        self._subject.budget.receive(signed.bytes)
        repomd = signed.proven.content
        self.digests[path] = signed.proven.snapshot.sha256
        self.contents.append(RepositoryContent(path, repomd, self._packages(path, repomd)))
        self._rest += [(file.size or 0, path, file) for file in repomd.files if file.type != PRIMARY]

    def _packages(self, path: str, repomd: Repomd) -> Tuple[PrimaryPackage, ...]:
        """Return the packages that the primary metadata lists; none if it is bad."""
        named = REPOMD
        try:
            file = primary_file(repomd)
            named = file.href
            packages = fetch_packages(self._client, self._subject, path, file)
        except (FetchError, TrustError) as error:
            self.problems.append((path + named, error))
            return ()
        self.verified += 1
        return packages

    def read_rest(self, max_bytes: int) -> None:
        """Read the other metadata files, as many as the limit allows."""
        for size, path, file in sorted(self._rest, key=lambda item: item[:2]):
            if size > max_bytes:
                self.unread.append((path + file.href, size))
                continue
            max_bytes -= size
            try:
                fetch_metadata(self._client, self._subject, path, file, size or MAX_PRIMARY_BYTES)
                self.verified += 1
            except (FetchError, TrustError) as error:
                self.problems.append((path + file.href, error))


def fetch_packages(client: HttpSession, subject: Subject, path: str, file: RepomdFile) -> Tuple[PrimaryPackage, ...]:
    """Fetch and read a repository's primary metadata; arguments and errors as of ``fetch_metadata``."""
    raw = fetch_metadata(client, subject, path, file, file.size or MAX_PRIMARY_BYTES, keep=True)
    return tuple(read_primary(unpacked(raw, file.open_size or MAX_OPEN_BYTES)))


def fetch_metadata(client: HttpSession, subject: Subject, path: str, file: RepomdFile, max_bytes: int,
                   keep: bool = False) -> bytes:
    """Fetch one file that repomd.xml names, and compare it with its size and checksum there.

    Args:
        client: to talk through.
        subject: for time-outs and budget.
        path: of the repository.
        file: as repomd.xml has it.
        max_bytes: what may arrive.
        keep: whether the content is wanted.

    Returns:
        The content; b"" unless it is wanted.

    Raises:
        FetchError: it could not be fetched.
        TrustError: payload-mismatch: it is not what was signed.
    """
    checker = DigestChecker(file.checksum_type, file.checksum, max_bytes if keep else 0)
    received = 0
    with client.open(subject.url + path + file.href, timeouts_of(subject).limits(max_bytes)) as stream:
        for chunk in stream.chunks():
            received += len(chunk)
            subject.budget.receive(len(chunk))
            checker.update(chunk)
    if file.size not in (None, received):
        raise TrustError("payload-mismatch", "{} bytes instead of the {} that were signed".format(received, file.size))
    return checker.finish()


def changed_since(client: HttpSession, subject: Subject, metadata: MetadataResult) -> List[str]:
    """Fetch each repomd.xml again.

    Returns:
        The repositories whose repomd.xml has changed since.
    """
    changed = []
    for path, digest in metadata.digests.items():
        try:
            body = fetch(client, subject, subject.url + path + REPOMD, MAX_REPOMD_BYTES).body
        except FetchError:
            body = b""
        if hashlib.sha256(body).hexdigest() != digest:
            changed.append(path)
    return changed
