"""Whether all of an RPM is signed by a pinned key, and which package it is.

A file is believed only if it obeys all of these rules:
    1. Its structure is sound (``rpmheader``), with nothing but zeros between the headers.
    2. It has signatures over the main header (tags 267, 268; rpm 6's list, 278) or over main header and payload (1002, 1005).
       By the rules of ``openpgp`` at least one of all of them counts, and none is bad. A tag holds one signature
       packet and not a byte more, and each string of 278 is the base64 of one; anything else in them does not count.
    3. The payload is covered by signatures that count: by one over header and payload, or by its SHA-256 (tag 5092,
       algorithm in tag 5093) in a header that one signs. MD5, SHA-1 and sizes prove nothing.
    4. If the signature header states the SHA-256 or the SHA-1 of the main header (tags 273, 269), it is correct: it proves
       nothing, but rpm refuses the package otherwise. The MD5 of header and payload (1004), which rpm refuses too, is not
       computed: it would double the cost, and the checksum in the metadata covers it.
    5. The signed header names the package; the names in the lead and of the file mean nothing.
Where a signature covers the payload, the payload's SHA-256 is not computed as well: it would prove nothing more
and cost as much again. A bad signature over the header is refused before the payload is read.

Post-quantum and V6 signatures, which rpm 6 puts into 278 beside an older one in 268, are "unsupported", and do not count.

Pure, except that ``verify_rpm`` reads the stream it is given.
"""
import base64
import binascii
import contextlib
from typing import BinaryIO, Callable, Generator, NamedTuple, Optional, Sequence, Tuple, Union

from ..errors import TrustError
from . import rpmheader
from .hashing import new_hash
from .keys import PublicKey
from .openpgp import Verdict, Verifier, most_telling, told
from .packets import TAG_SIGNATURE, Signature, read_packets, read_signature
from .rpmheader import Header, HeaderReader

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
    ignored: Tuple[str, ...] = ()  # why signatures in it did not count, for -v and the log

    @property
    def nevra(self) -> str:
        """The package's full name, as dnf writes it."""
        return "{}-{}:{}-{}.{}".format(self.name, self.epoch or 0, self.version, self.release, self.arch)


class _PayloadDigest:
    """Proves a payload by its digest in a header that is already proven.

    Args:
        expected: the digest, 64 hex digits.
        header: the proof of the header.
        beside: verifier of signatures that do not count, but must not be bad.
    """

    def __init__(self, expected: str, header: Verdict, beside: Verifier) -> None:
        self._expected = expected
        self._header = header
        self._beside = beside
        self._running = new_hash("sha256")

    def update(self, chunk: bytes) -> None:
        self._running.update(chunk)
        self._beside.update(chunk)

    def finish(self) -> Verdict:
        beside = self._beside.prove()
        if self._running.hexdigest() != self._expected:
            raise TrustError("payload-mismatch", "the payload is not the one that was signed")
        return self._header if self._beside.is_empty else _with_ignored(self._header, beside)


def _with_ignored(verdict: Verdict, more: Union[Verdict, TrustError]) -> Verdict:
    """Add the signatures that did not count elsewhere in the file."""
    return verdict._replace(ignored=verdict.ignored + (more.ignored if isinstance(more, Verdict) else (told(more),)))


_Identity = Tuple[str, Optional[int], str, str, str]
_Cover = Union[Verifier, _PayloadDigest]


class RpmVerifier:
    """Proves an RPM that arrives in pieces, in one pass.

    Call ``update`` with the file's bytes in order, then ``finish``: only its return value is a proof.
    Of the headers only what is used is kept in memory; everything else is only hashed.

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
        self._header_proof: Union[Verdict, TrustError, None] = None  # None: no signature is over the header alone
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
            ignored=verdict.ignored,
        )

    def _prove(self) -> Verdict:
        if self._cover is None:
            if self._awaited == len(rpmheader.MAGIC):
                rpmheader.check_magic(bytes(self._held))
            raise TrustError("malformed", "an RPM that ends before its payload begins")
        verdict = self._cover.finish()
        if self._header_proof is None or isinstance(self._cover, _PayloadDigest):
            return verdict
        return _with_ignored(verdict, self._header_proof)

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
        claims = (yield from self._read_header(rpmheader.SIGNATURE, ())).finish()
        over_header = self._verifier(claims, rpmheader.HEADER_SIGNATURES)
        over_all = self._verifier(claims, rpmheader.PAYLOAD_SIGNATURES)
        if over_header.is_empty and over_all.is_empty:
            raise TrustError("unsigned", "an RPM without a signature")
        hopeless = [error for error in (over_header.hopeless(), over_all.hopeless()) if error is not None]
        if len(hopeless) == 2:
            raise most_telling(hopeless)
        digests = _HeaderDigests(claims)
        reader = yield from self._read_header(rpmheader.MAIN, (over_header, over_all, digests))
        proof = over_header.prove()
        self._header_proof = None if over_header.is_empty else proof
        digests.check()
        main = reader.finish()
        self._identity = _identify(main, is_source)
        self._cover = _choose_cover(main, over_all, proof)
        yield 0

    def _read_header(self, kind: rpmheader.HeaderFormat, takers: "Sequence[Union[Verifier, _HeaderDigests]]") -> Generator[
            int, bytes, HeaderReader]:
        """Read a header, and pass all of it on."""
        piece = yield rpmheader.INTRODUCTION_BYTES
        reader = HeaderReader(piece, kind)
        while True:
            for taker in takers:
                taker.update(piece)
            if not reader.left:
                return reader
            piece = yield min(reader.left, READ_BYTES)
            reader.update(piece)

    def _verifier(self, claims: Header, tags: Sequence[int]) -> Verifier:
        """Return the verifier of the signatures in these tags."""
        return Verifier([_read_signature(tag, value) for tag in tags for value in claims.get(tag, ())], self._keys, self._now)


def _read_signature(tag: int, value: bytes) -> Union[Signature, TrustError]:
    """Read a value of a tag, which must be exactly one packet to count; rpm does not read more, either."""
    try:
        found = list(read_packets(base64.b64decode(value, validate=True) if tag == rpmheader.SIGNATURE_LIST else value))
        if [tag for tag, _ in found] == [TAG_SIGNATURE]:
            signature = read_signature(found[0][1])
            if signature.is_exact:
                return signature
    except binascii.Error:
        return TrustError("malformed", "a list of signatures that is not base64")
    except TrustError as error:
        return error
    return TrustError("malformed", "a tag {} that is not one signature".format(tag))


class _HeaderDigests:
    """Checks rule 4."""

    def __init__(self, claims: Header) -> None:
        self._running = []
        for tag, name in ((rpmheader.HEADER_SHA256, "sha256"), (rpmheader.HEADER_SHA1, "sha1")):
            with contextlib.suppress(TrustError):  # a host that computes no SHA-1, on which rpm does not either
                self._running += [(tag, name, claims[tag][0], new_hash(name))] if tag in claims else []

    def update(self, piece: bytes) -> None:
        for _, _, _, running in self._running:
            running.update(piece)

    def check(self) -> None:
        for tag, name, claim, running in self._running:
            if running.hexdigest().encode("ascii") != claim:
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


def _choose_cover(main: Header, over_all: Verifier, proof: Union[Verdict, TrustError]) -> _Cover:
    """Return what will prove the payload (rule 3).

    Args:
        main: the main header.
        over_all: the verifier of the signatures over header and payload.
        proof: that the header is signed, or why no signature over the header alone counts.
    """
    if main.get(rpmheader.PAYLOAD_DIGEST_ALGORITHM, (_SHA256,)) != (_SHA256,):
        raise TrustError("unsupported", "an RPM whose payload digest is not SHA-256")
    hopeless = over_all.hopeless()
    if over_all.may_count or (isinstance(proof, TrustError) and hopeless is None):
        return over_all
    if isinstance(proof, TrustError):
        raise most_telling([proof] if hopeless is None else [proof, hopeless])
    if rpmheader.PAYLOAD_SHA256 not in main:
        if hopeless is None:
            return over_all
        raise TrustError("not-covered", "only the header is signed, and no digest of the payload is in it")
    return _PayloadDigest(main[rpmheader.PAYLOAD_SHA256][0].decode("ascii"), proof, over_all)


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
