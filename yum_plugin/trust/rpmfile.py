"""Whether all of an RPM is signed by a pinned key, and which package it is.

A file is believed only if it obeys all of these rules:
    1. Its structure is sound (``rpmheader``), with nothing but zeros between the headers.
    2. It has a signature: over the main header (tags 267, 268; rpm 6's list, 278) or over main header and
       payload (1002, 1005). Every signature in it is good by rules 2 to 7 of ``openpgp``; V3 signatures too.
       A tag holds one signature packet and not a byte more; each string of 278 is the base64 of one.
    3. The payload is covered: by a signature over header and payload, or by its SHA-256 (tag 5092, algorithm
       in tag 5093) in a header that is signed. MD5, SHA-1 and sizes prove nothing.
    4. If the signature header states the SHA-256 or the SHA-1 of the main header (tags 273, 269), it is correct: it proves
       nothing, but rpm refuses the package otherwise. The MD5 of header and payload (1004), which rpm refuses too, is not
       computed: it would double the cost, and the checksum in the metadata covers it.
    5. The signed header names the package; the names in the lead and of the file mean nothing.
Where a signature covers the payload, the payload's SHA-256 is not computed as well: it would prove nothing more
and cost as much again. A bad signature over the header is refused before the payload is read.

Post-quantum and V6 signatures, which rpm 6 may put into 278, are "unsupported".

Pure, except that ``verify_rpm`` reads the stream it is given.
"""
import base64
import binascii
from typing import BinaryIO, Callable, Generator, NamedTuple, Optional, Sequence, Tuple, Union

from ..errors import TrustError
from . import rpmheader
from .hashing import new_hash
from .keys import PublicKey
from .openpgp import Verdict, Verifier
from .packets import Signature, read_signatures
from .rpmheader import Header

READ_BYTES = 256 * 1024
BY_DIGEST = "payload digest"
BY_SIGNATURE = "header+payload"
_SHA256 = b"\0\0\0\x08"  # RFC 9580 section 9.5


class RpmVerdict(NamedTuple):
    """A proof: this file is this package, signed by this key."""

    name: str
    epoch: Optional[int]
    version: str
    release: str
    arch: str  # "src" for source packages
    signed_at: int  # seconds since 1970; of the newest of the signatures that cover the payload
    fingerprint: str  # of the pinned primary key, 40 upper-case hex digits
    coverage: str  # what covers the payload: BY_DIGEST or BY_SIGNATURE

    @property
    def nevra(self) -> str:
        """The package's full name, as dnf writes it."""
        return "{}-{}:{}-{}.{}".format(self.name, self.epoch or 0, self.version, self.release, self.arch)


class _PayloadDigest:
    """Proves a payload by its digest in a header that is already proven."""

    def __init__(self, expected: str, header: Verdict) -> None:
        self._expected = expected
        self._header = header
        self._running = new_hash("sha256")

    def update(self, chunk: bytes) -> None:
        self._running.update(chunk)

    def finish(self) -> Verdict:
        if self._running.hexdigest() != self._expected:
            raise TrustError("payload-mismatch", "the payload is not the one that was signed")
        return self._header


_Identity = Tuple[str, Optional[int], str, str, str]
_Cover = Union[Verifier, _PayloadDigest]


class RpmVerifier:
    """Proves an RPM that arrives in pieces, in one pass.

    Call ``update`` with the file's bytes in order, then ``finish``: only its return value is a proof.
    The headers are kept in memory, at most 17 MiB; the payload is only hashed.

    Args:
        keys: the pinned keys.
        now: seconds since 1970.
        where: the file or mirror, for the messages.
    """

    def __init__(self, keys: Sequence[PublicKey], now: int, where: str = "") -> None:
        self._keys = keys
        self._now = now
        self._where = where
        self._held = bytearray()
        self._reader = self._read_headers()
        self._awaited = next(self._reader)  # bytes that the reader wants next
        self._identity: _Identity = ("", None, "", "", "")
        self._cover: Optional[_Cover] = None  # takes the payload, once the headers are done
        self._refusal: Optional[TrustError] = None

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the file, any number of them.

        Raises:
            TrustError: as ``finish``, as soon as it is known; ``finish`` then raises the same.
        """
        try:
            if self._refusal is None:
                self._take(chunk)
        except TrustError as error:
            self._refusal = self._located(error)
        if self._refusal is not None:
            raise self._refusal

    def finish(self) -> RpmVerdict:
        """Prove the file that ``update`` has taken.

        Returns:
            The verdict: which package it is, and that the key's owner signed all of the file.

        Raises:
            TrustError: the first rule of this module that is broken: "malformed", "unsupported", "unsigned",
                "not-covered", "payload-mismatch", or one of ``openpgp``.
        """
        self.update(b"")
        try:
            verdict = self._prove()
        except TrustError as error:
            raise self._located(error) from error
        return RpmVerdict(
            *self._identity,
            signed_at=verdict.signed_at,
            fingerprint=verdict.fingerprint,
            coverage=BY_DIGEST if isinstance(self._cover, _PayloadDigest) else BY_SIGNATURE,
        )

    def _prove(self) -> Verdict:
        if self._cover is None:
            if self._awaited == len(rpmheader.MAGIC):
                rpmheader.check_magic(bytes(self._held))
            raise TrustError("malformed", "an RPM that ends before its payload begins")
        return self._cover.finish()

    def _located(self, error: TrustError) -> TrustError:
        return TrustError(error.reference, error.what, ", ".join(filter(None, (self._where, error.where))))

    def _take(self, chunk: bytes) -> None:
        taken = 0
        while self._cover is None and taken < len(chunk):
            piece = chunk[taken : taken + self._awaited - len(self._held)]
            taken += len(piece)
            self._held += piece
            if len(self._held) == self._awaited:
                wanted, self._held = bytes(self._held), bytearray()
                self._awaited = self._reader.send(wanted)
        if self._cover is not None:
            self._cover.update(chunk[taken:] if taken else chunk)

    def _read_headers(self) -> Generator[int, bytes, None]:
        """Read all that precedes the payload: yields the number of bytes that it needs, and is sent exactly those."""
        magic = yield len(rpmheader.MAGIC)
        rpmheader.check_magic(magic)
        lead = yield rpmheader.LEAD_BYTES - len(magic)
        is_source = rpmheader.read_lead(magic + lead)
        introduction = yield rpmheader.INTRODUCTION_BYTES
        body = yield rpmheader.body_bytes(introduction, rpmheader.SIGNATURE)
        claims = rpmheader.read_header(introduction + body, rpmheader.SIGNATURE)
        over_header = self._verifier(claims, rpmheader.HEADER_SIGNATURES)
        over_all = self._verifier(claims, rpmheader.PAYLOAD_SIGNATURES)
        if over_header is None and over_all is None:
            raise TrustError("unsigned", "an RPM without a signature")
        introduction = yield rpmheader.INTRODUCTION_BYTES
        body = yield rpmheader.body_bytes(introduction, rpmheader.MAIN)
        header = introduction + body
        for verifier in filter(None, (over_header, over_all)):
            verifier.update(header)
        proof = over_header.finish() if over_header else None
        _check_header_digests(claims, header)
        main = rpmheader.read_header(header, rpmheader.MAIN)
        self._identity = _identify(main, is_source)
        self._cover = _choose_cover(main, over_all, proof)
        yield 0

    def _verifier(self, claims: Header, tags: Sequence[int]) -> Optional[Verifier]:
        """Return the verifier of the signatures in these tags; None if there are none."""
        signatures = [_read_signature(tag, value) for tag in tags for value in claims.get(tag, ())]
        return Verifier(signatures, self._keys, self._now) if signatures else None


def _read_signature(tag: int, value: bytes) -> Signature:
    """Read a value of a tag, which must be exactly one signature."""
    try:
        packets = base64.b64decode(value, validate=True) if tag == rpmheader.SIGNATURE_LIST else value
    except binascii.Error as error:
        raise TrustError("malformed", "an RPM with a list of signatures that is not base64") from error
    signatures = read_signatures(packets, allow_v3=True)
    if len(signatures) != 1:
        raise TrustError("malformed", "an RPM whose tag {} is not one signature".format(tag))
    return signatures[0]


def _check_header_digests(claims: Header, header: bytes) -> None:
    """Check rule 4."""
    for tag, name in ((rpmheader.HEADER_SHA256, "sha256"), (rpmheader.HEADER_SHA1, "sha1")):
        try:
            running = new_hash(name)
        except TrustError:
            continue  # a host that computes no SHA-1, on which rpm does not either
        running.update(header)
        digest = running.hexdigest().encode("ascii")
        if claims.get(tag, (digest,)) != (digest,):
            raise TrustError("payload-mismatch", "the main header does not match its {} (tag {})".format(name, tag))


def _identify(main: Header, is_source: bool) -> _Identity:
    """Return name, epoch, version, release and architecture."""
    tags = (rpmheader.NAME, rpmheader.VERSION, rpmheader.RELEASE, rpmheader.ARCH)
    if not main.keys() >= set(tags):
        raise TrustError("malformed", "an RPM without a name, version, release or architecture")
    if is_source == (rpmheader.SOURCE_RPM in main):
        raise TrustError("malformed", "an RPM whose lead and header differ on whether it is a source package")
    name, version, release, arch = (main[tag][0].decode("ascii") for tag in tags)
    epoch = int.from_bytes(main[rpmheader.EPOCH][0], "big") if rpmheader.EPOCH in main else None
    return name, epoch, version, release, "src" if is_source else arch


def _choose_cover(main: Header, over_all: Optional[Verifier], proof: Optional[Verdict]) -> _Cover:
    """Return what will prove the payload (rule 3).

    Args:
        main: the main header.
        over_all: the verifier of the signatures over header and payload; None if there are none.
        proof: that the header is signed; None if no signature covers only the header.
    """
    if main.get(rpmheader.PAYLOAD_DIGEST_ALGORITHM, (_SHA256,)) != (_SHA256,):
        raise TrustError("unsupported", "an RPM whose payload digest is not SHA-256")
    if over_all is not None:
        return over_all
    if proof is None or rpmheader.PAYLOAD_SHA256 not in main:
        raise TrustError("not-covered", "only the header is signed, and no digest of the payload is in it")
    return _PayloadDigest(main[rpmheader.PAYLOAD_SHA256][0].decode("ascii"), proof)


def verify_rpm(
    stream: BinaryIO,
    keys: Sequence[PublicKey],
    now: int,
    where: str = "",
    progress: Callable[[int], None] = lambda taken: None,
) -> RpmVerdict:
    """Prove an RPM that is read from a stream to its end.

    Args:
        stream: at the start of the file; keep it open for the next user, so that it is the same file.
        keys, now, where: as ``RpmVerifier``.
        progress: called with the number of bytes of each piece after it.

    Returns:
        The verdict.

    Raises:
        TrustError: as ``RpmVerifier.finish``.
        OSError: the stream's own.
    """
    verifier = RpmVerifier(keys, now, where)
    while True:
        chunk = stream.read(READ_BYTES)
        if not chunk:
            return verifier.finish()
        verifier.update(chunk)
        progress(len(chunk))


def require_identity(verdict: RpmVerdict, name: str, epoch: Optional[int], version: str, release: str, arch: str) -> None:
    """Refuse a good package that is not the one asked for.

    Args:
        verdict: of the file.
        name, epoch, version, release, arch: what was asked for; no epoch is the same as epoch 0.

    Raises:
        TrustError: "wrong-package".
    """
    asked = (name, epoch or 0, version, release, arch)
    if (verdict.name, verdict.epoch or 0, verdict.version, verdict.release, verdict.arch) != asked:
        raise TrustError("wrong-package", "the file is {}, not {}-{}:{}-{}.{}".format(verdict.nevra, *asked))
