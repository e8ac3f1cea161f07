"""Files on this disk: the kind of each, found out from its content, and whether a pinned key vouches for all of it.

The first of these that exists vouches for a file:
    1. the detached signature that the caller names: then nothing else counts, and what is in the file does not matter,
    2. an RPM's own signatures (``trust/rpmfile.py``),
    3. a detached signature beside it, FILE.asc or FILE.sig,
    4. a SHA256SUMS beside it that lists it, itself signed by SHA256SUMS.asc or .sig.
Without 1, a list of checksums or a repomd.xml needs 3, and is parsed only after that, from the very bytes that were hashed.
Every file is opened once, and hashed from that descriptor. Links are followed, because only the content counts; a FIFO
or a device is not even opened. No network.
"""
import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO, Callable, Dict, Iterator, NamedTuple, Optional, Sequence, Tuple, Union

from ..errors import FetchError, MirrorsError, TrustError, describe
from ..trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ..trust.checksum_file import MAX_SUMS_BYTES, find_checksum, is_checksum_list, parse_checksums
from ..trust.digest import DigestChecker
from ..trust.keys import PublicKey
from ..trust.openpgp import DetachedVerifier, Verdict, verify_detached
from ..trust.rpmfile import READ_BYTES, RpmVerdict, verify_rpm

if TYPE_CHECKING:  # lxml is slow to import, and needed for repomd.xml only
    from ..trust.repomd import Repomd

RPM, ISO, CHECKSUMS, REPO_FILE, REPOMD, SIGNATURE, OTHER = "rpm", "iso", "checksums", "repo", "repomd", "signature", "file"
METADATA, REPOSITORY = "metadata", "repository"  # known from the repository that they belong to
SUMS_NAME = "SHA256SUMS"
SUFFIXES = (".asc", ".sig")
HEAD_BYTES = 4096
_ISO_AT, _ISO_MAGIC = 32769, b"CD001"  # ECMA-119 section 8.1.2: sector 16 of 2048 bytes, after one byte for the type
_RPM_MAGIC = b"\xed\xab\xee\xdb"
_ARMORED = b"-----BEGIN PGP SIGNATURE-----"
_SECTION = re.compile(rb"^\[[^\]\r\n]+\][ \t]*\r?$", re.MULTILINE)
_SOURCE_KEY = re.compile(rb"^(?:baseurl|mirrorlist|metalink)[ \t]*=", re.MULTILINE)
# For references whose own hint is about mirrors; here the file is on this disk already.
_HINTS = dict.fromkeys(("signature-missing", "signature-invalid", "wrong-signature-type", "payload-mismatch"),
                       "do not use it; fetch it again: 'xcpng-mirrors get'")


class FileFinding(NamedTuple):
    """The result for one file."""

    file: str  # its path, as the caller gave it
    kind: str  # RPM, ISO, ...
    detail: str = ""  # a description, without what is wrong
    fingerprint: str = ""  # of the key that vouches for it
    signed_at: Optional[int] = None  # seconds since 1970
    ignored: Tuple[str, ...] = ()  # why signatures beside the good one did not count
    error: Optional[MirrorsError] = None  # None: all of it is proven

    @property
    def problem(self) -> str:
        """What is wrong and where, without reference and hint; "" for a good file."""
        return describe("", self.error.what, self.error.where, "")[2:] if self.error else ""


class Proof(NamedTuple):
    """The reason why a file is good."""

    detail: str
    fingerprint: str
    signed_at: int
    ignored: Tuple[str, ...] = ()


class _LocalSums(NamedTuple):
    """A proven list of checksums."""

    sums: Dict[str, str]  # name -> SHA-256
    proof: Proof  # of the list itself


class Examiner:
    """Examines files with one set of keys.

    Args:
        keys: the pinned ones.
        now: seconds since 1970.
        named: paths that the caller examines itself, so that a list of checksums leaves them out.
        progress: called while a file is read, with its path, the bytes done and its size.
    """

    def __init__(self, keys: Sequence[PublicKey], now: int, named: Sequence[str] = (),
                 progress: Callable[[str, int, int], None] = lambda path, done, size: None) -> None:
        self.keys = keys
        self.now = now
        self.progress = progress
        self._named = {os.path.abspath(path) for path in named}
        self._sums: Dict[str, Union[MirrorsError, _LocalSums]] = {}  # by the list's path

    def examine(self, path: str, signature: str = "") -> Iterator[FileFinding]:
        """Examine a file; for a good list of checksums also the files beside it that it lists.

        Args:
            path: of the file.
            signature: path of its detached signature; "": it is looked for beside the file.

        Yields:
            A finding for each file.
        """
        kind, proof, error = OTHER, Proof("", "", 0), None
        try:
            with opened(path) as stream:
                kind = kind_of(stream)
                proof = self._prove(kind, path, stream, signature)
        except MirrorsError as problem:
            error = localized(problem)
        yield FileFinding(path, kind, proof.detail, proof.fingerprint, proof.signed_at or None, proof.ignored, error)
        if kind == CHECKSUMS and error is None and not signature:
            yield from self._listed_files(path)

    def _prove(self, kind: str, path: str, stream: BinaryIO, signature: str) -> Proof:
        if signature:
            return self._prove_detached(path, stream, signature)
        signature = "" if kind == RPM else signature_beside(path)
        if kind == CHECKSUMS:
            return self._prove_sums(path, stream, signature).proof
        if kind == REPOMD:
            return self.prove_repomd(path, stream, signature)[1]
        if kind == SIGNATURE and not signature:
            return self._prove_by_signature(path)
        if signature:
            return self._prove_detached(path, stream, signature)
        return self._prove_rpm(path, stream) if kind == RPM else self._prove_listed(path, stream)

    def _prove_rpm(self, path: str, stream: BinaryIO) -> Proof:
        size, done = _size(stream), 0

        def progress(taken: int) -> None:
            nonlocal done
            done += taken
            self.progress(path, done, size)

        verdict = verify_rpm(stream, self.keys, self.now, progress=progress)
        return rpm_proof(verdict)

    def _prove_detached(self, path: str, stream: BinaryIO, signature: str) -> Proof:
        verifier = DetachedVerifier(read_small(signature, MAX_SIGNATURE_BYTES), self.keys, self.now)
        for chunk in self.pieces(path, stream):
            verifier.update(chunk)
        return _proof("by {}".format(os.path.basename(signature)), verifier.finish())

    def _prove_by_signature(self, signature: str) -> Proof:
        """Prove the file that belongs to a signature, as gpg --verify does."""
        base, suffix = os.path.splitext(signature)
        if suffix not in SUFFIXES:
            raise TrustError("unsupported", "a signature whose file is not known", hint="name its file")
        with opened(base) as stream:
            return self._prove_detached(base, stream, signature)._replace(detail="of {}".format(os.path.basename(base)))

    def _prove_listed(self, path: str, stream: BinaryIO) -> Proof:
        folder, name = os.path.split(path)
        listed = self._sums_beside(os.path.join(folder, SUMS_NAME), name)
        self.hash_matches(path, stream, "sha256", find_checksum(listed.sums, name))
        return listed.proof._replace(detail="in {}".format(SUMS_NAME))

    def hash_matches(self, path: str, stream: BinaryIO, kind: str, digest: str, keep_bytes: int = 0) -> bytes:
        """Read a file to its end and compare its digest with the proven one.

        Args:
            path: for the progress.
            stream: at its start.
            kind: as hashlib names it.
            digest: hex digits.
            keep_bytes: the limit of a file whose content is wanted; 0: the content is not wanted.

        Returns:
            The content, if it is wanted.

        Raises:
            TrustError: payload-mismatch; unsupported: larger than ``keep_bytes``.
        """
        checker = DigestChecker(kind, digest, keep_bytes)
        for chunk in self.pieces(path, stream):
            checker.update(chunk)
        return checker.finish()

    def pieces(self, path: str, stream: BinaryIO) -> Iterator[bytes]:
        """Yield a file's content to its end, and report the progress."""
        size, done = _size(stream), 0
        while True:
            chunk = _read(stream, READ_BYTES)
            if not chunk:
                return
            yield chunk
            done += len(chunk)
            self.progress(path, done, size)

    def _sums_beside(self, path: str, name: str) -> _LocalSums:
        """Return the proven list of checksums beside a file, which is read only once."""
        if not os.path.lexists(path):
            raise TrustError("signature-missing", "neither {}.asc nor a signed {} vouches for it".format(name, SUMS_NAME))
        if path not in self._sums:
            try:
                with opened(path) as stream:
                    self._prove_sums(path, stream, signature_beside(path))
            except MirrorsError as error:
                self._sums[path] = type(error)(error.reference, error.what, error.where or path, error.hint)
        found = self._sums[path]
        if isinstance(found, MirrorsError):
            raise found
        return found

    def _prove_sums(self, path: str, stream: BinaryIO, signature: str) -> _LocalSums:
        raw, vouched = _signed_bytes(path, stream, signature, MAX_SUMS_BYTES)
        verdict = verify_detached(raw, vouched, self.keys, self.now)
        sums = parse_checksums(raw)
        here = sum(os.path.lexists(os.path.join(os.path.dirname(path), name)) for name in sums)
        proven = _LocalSums(sums, _proof("of {} files, {} of them here".format(len(sums), here), verdict))
        self._sums[path] = proven
        return proven

    def prove_repomd(self, path: str, stream: BinaryIO, signature: str) -> Tuple["Repomd", Proof]:
        """Prove a repomd.xml, then parse it.

        Args:
            path: of the file, for the messages.
            stream: at its start.
            signature: path of its signature; "": there is none.

        Raises:
            TrustError: the first rule that is broken.
        """
        from ..trust.metadata import RepomdProver
        from ..trust.repomd import MAX_REPOMD_BYTES

        raw, vouched = _signed_bytes(path, stream, signature, MAX_REPOMD_BYTES)
        content, verdict = RepomdProver(self.keys, self.now).prove(raw, vouched)[1:]
        return content, _proof("revision {} of {} files".format(content.revision, len(content.files)), verdict)

    def _listed_files(self, path: str) -> Iterator[FileFinding]:
        """Examine the existing files that a proven list names."""
        listed = self._sums_beside(path, "")
        proof = listed.proof._replace(detail="in {}".format(os.path.basename(path)))
        for name, digest in listed.sums.items():
            file = os.path.join(os.path.dirname(path), name)
            if os.path.lexists(file) and os.path.abspath(file) not in self._named:
                yield self._listed_file(file, digest, proof)

    def _listed_file(self, path: str, digest: str, proof: Proof) -> FileFinding:
        kind = OTHER
        try:
            with opened(path) as stream:
                kind = kind_of(stream)
                self.hash_matches(path, stream, "sha256", digest)
        except MirrorsError as error:
            return FileFinding(path, kind, error=localized(error))
        return FileFinding(path, kind, *proof)


def rpm_proof(verdict: RpmVerdict) -> Proof:
    """Describe an RPM's verdict."""
    epoch = "{}:".format(verdict.epoch) if verdict.epoch else ""
    name = "{}-{}{}-{}.{}".format(verdict.name, epoch, verdict.version, verdict.release, verdict.arch)
    return Proof(name, verdict.fingerprint, verdict.signed_at, verdict.ignored)


def _proof(detail: str, verdict: Verdict) -> Proof:
    return Proof(detail, verdict.fingerprint, verdict.signed_at, verdict.ignored)


def localized(error: MirrorsError, hints: Dict[str, str] = _HINTS) -> MirrorsError:
    """Replace the hint of a reference that is about mirrors by one that fits, by default for a file on this disk."""
    if error.hint != error.REFERENCES[error.reference] or error.reference not in hints:
        return error
    return type(error)(error.reference, error.what, error.where, hints[error.reference])


def missing(path: str, what: str) -> FetchError:
    """Make the error for a file that cannot be read."""
    return FetchError("unreachable", what, where=path, hint="check its name and permissions")


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    Raises:
        FetchError: unreachable: it is missing, may not be read, or its disk fails while the block runs.
        TrustError: unsupported: it is no regular file.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened: opening a device may have effects
            raise _no_file()
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise missing("", "it cannot be read: {}".format(getattr(error, "strerror", None) or error)) from error
    with os.fdopen(handle, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _no_file()
        try:
            yield stream
        except OSError as error:
            raise missing("", "it cannot be read: {}".format(error.strerror)) from error


def _no_file() -> TrustError:
    return TrustError("unsupported", "it is neither a regular file nor a repository's folder", hint="name a file")


def _read(stream: BinaryIO, most: int) -> bytes:
    return stream.read(most) or b""


def _size(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_size


def _signed_bytes(path: str, stream: BinaryIO, signature: str, max_bytes: int) -> Tuple[bytes, bytes]:
    """Read a small file and its detached signature."""
    if not signature:
        raise TrustError("signature-missing", "there is no {}.asc beside it".format(os.path.basename(path)))
    raw = _read(stream, max_bytes + 1)
    if len(raw) > max_bytes:
        raise TrustError("unsupported", "larger than {} bytes, the limit of this program".format(max_bytes))
    return raw, read_small(signature, MAX_SIGNATURE_BYTES)


def read_small(path: str, max_bytes: int) -> bytes:
    """Read a small file whole; errors as of ``opened``, and TrustError unsupported if it is larger."""
    with opened(path) as stream:
        data = _read(stream, max_bytes + 1)
    if len(data) > max_bytes:
        raise TrustError("unsupported", "larger than {} bytes, the limit of this program".format(max_bytes), path)
    return data


def signature_beside(path: str) -> str:
    """Return the path of the signature beside a file, "" if there is none."""
    return next((path + suffix for suffix in SUFFIXES if os.path.lexists(path + suffix)), "")


def kind_of(stream: BinaryIO) -> str:
    """Find out the kind of a file from its content; the stream's position stays.

    Returns:
        RPM, ISO, CHECKSUMS, REPO_FILE, REPOMD, SIGNATURE or OTHER.
    """
    head = os.pread(stream.fileno(), HEAD_BYTES, 0)
    if head.startswith(_RPM_MAGIC):
        return RPM
    if os.pread(stream.fileno(), len(_ISO_MAGIC), _ISO_AT) == _ISO_MAGIC:
        return ISO
    if is_checksum_list(head):
        return CHECKSUMS
    if head.startswith(_ARMORED):
        return SIGNATURE
    if head.lstrip().startswith(b"<") and b"<repomd" in head:
        return REPOMD
    return REPO_FILE if _SECTION.search(head) and _SOURCE_KEY.search(head) else OTHER
