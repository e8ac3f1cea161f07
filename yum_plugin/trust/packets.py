"""OpenPGP packets (RFC 9580 sections 4 and 5.2): a reader that decides nothing about trust.

Every length is checked against the bytes that are left before anything is taken, and the cost is linear in the size of the
input. A signature whose numbers can be found is read, whatever else is wrong with it: ``flaw`` says so, and whether it was
made by a key is still proven. RFC 9580 replaces RFC 4880; only the latter describes V3 signatures.

Pure.
"""
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from ..errors import TrustError

MAX_SIGNATURES = 64  # in one file; each may cost the proof of a key's numbers
MAX_SUBPACKETS = 1024  # in one signature
MAX_NUMBER_BITS = 16384  # of one multiprecision integer; the largest RSA key that OpenSSL verifies with

# Packet types, RFC 9580 section 5
TAG_SIGNATURE = 2
TAG_PUBLIC_KEY = 6
TAG_USER_ID = 13
TAG_PUBLIC_SUBKEY = 14
TAG_USER_ATTRIBUTE = 17
TAG_SECRET_KEY = 5
# Session keys, one-pass signature, compressed, encrypted and literal data: a message, of which a signature is only a part
_MESSAGE_TAGS = frozenset([1, 3, 4, 8, 9, 11, 18, 20])

# Signature subpacket types, RFC 9580 section 5.2.3.7
CREATION_TIME = 2
SIGNATURE_EXPIRATION = 3
KEY_EXPIRATION = 9
REVOCATION_KEY = 12
ISSUER_KEY_ID = 16
PRIMARY_USER_ID = 25
KEY_FLAGS = 27
EMBEDDED_SIGNATURE = 32
ISSUER_FINGERPRINT = 33
# The types that may be marked critical. The nine above are obeyed; the others (exportable, trust, revocable, preferences,
# features, policy, signer, reason for a revocation) do not change what a signature means here. A critical notation (20) or
# intended recipient (35) would, so these are not among them.
_KNOWN_SUBPACKETS = frozenset(
    [CREATION_TIME, SIGNATURE_EXPIRATION, KEY_EXPIRATION, REVOCATION_KEY, ISSUER_KEY_ID, PRIMARY_USER_ID, KEY_FLAGS]
    + [EMBEDDED_SIGNATURE, ISSUER_FINGERPRINT]
    + [4, 5, 7, 11, 21, 22, 23, 26, 28, 29, 30]
)
_CRITICAL = 0x80  # a bit of the type octet, section 5.2.3.7

ALGORITHMS = {1: "RSA", 3: "RSA", 17: "DSA", 19: "ECDSA", 22: "EdDSA"}  # RFC 9580 section 9.1; only those that sign
NUMBERS = {"RSA": 1, "DSA": 2, "ECDSA": 2, "EdDSA": 2}  # how many multiprecision integers, RFC 9580 section 5.2.3
# RFC 9580 section 9.5
_DIGESTS = {1: "md5", 2: "sha1", 3: "ripemd160", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}

Subpacket = Tuple[int, bytes]  # type without the critical bit, body


class Signature(NamedTuple):
    """One signature packet; nothing in it is proven."""

    version: int  # 3 or 4
    kind: int  # signature type, RFC 9580 section 5.2.1
    algorithm: str  # a value of ALGORITHMS; "" if it is another one
    digest: str  # as hashlib names it; "" if it is an unknown one
    made: int  # seconds since 1970; 0 if it does not say
    expires_after: int  # seconds after ``made``; 0 = never
    issuers: Tuple[str, ...]  # key ids (16) and fingerprints (40 upper-case hex digits), hashed or not
    hashed: Tuple[Subpacket, ...]  # V3 has none
    unhashed: Tuple[Subpacket, ...]
    trailer: bytes  # the signature's own bytes, hashed after the document; RFC 9580 section 5.2.4
    left16: bytes  # the first two octets that the digest must have
    numbers: Tuple[int, ...]  # the multiprecision integers; none of an unknown algorithm
    flaw: Optional[TrustError]  # why it counts for nothing, even if its key has made it: "unsupported" or "malformed"
    is_exact: bool  # whether nothing follows its last number, if they are known; gpg reads over that, rpm does not


class _PacketReader:
    """A cursor that cannot run past the end of its bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    @property
    def left(self) -> int:
        """The number of bytes that were not taken yet."""
        return len(self._data) - self.position

    def take(self, count: int) -> bytes:
        """Return the next bytes; raises TrustError malformed if there are fewer."""
        if count > self.left:
            raise TrustError("malformed", "a truncated OpenPGP packet")
        self.position += count
        return self._data[self.position - count : self.position]

    def number(self, octets: int) -> int:
        """Take this many octets as a big-endian number."""
        return int.from_bytes(self.take(octets), "big")


def read_packets(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """Read packets of the old or new format that fill ``data`` exactly (RFC 9580 section 4.2).

    Yields:
        Tag and body.

    Raises:
        TrustError: "malformed": not a packet, a partial or indeterminate length, or a length beyond the end of ``data``.
    """
    reader = _PacketReader(data)
    while reader.left:
        head = reader.number(1)
        if not head & 0x80:
            raise TrustError("malformed", "bytes that are not an OpenPGP packet")
        if head & 0x40:
            tag, length = head & 0x3F, _read_length(reader, first_partial=224)
        elif head & 0x03 == 3:
            raise TrustError("malformed", "an OpenPGP packet of indeterminate length")
        else:  # the old format, section 4.2.2
            tag, length = (head >> 2) & 0x0F, reader.number(1 << (head & 0x03))
        yield tag, reader.take(length)


def _read_length(reader: _PacketReader, first_partial: int) -> int:
    """Read a length of one, two or five octets, not necessarily the shortest form (RFC 9580 sections 4.2.1 and 5.2.3.7)."""
    first = reader.number(1)
    if first < 192:
        return first
    if first == 255:
        return reader.number(4)
    if first >= first_partial:
        raise TrustError("malformed", "an OpenPGP packet of partial length")
    return ((first - 192) << 8) + reader.number(1) + 192


def read_signatures(blocks: Sequence[bytes]) -> Tuple[Union[Signature, TrustError], ...]:
    """Read all signature packets of a file.

    Args:
        blocks: binary packets, as ``armor.read_blocks`` returns them.

    Returns:
        In their order, for each packet the signature or the reason why it cannot be read; also why the rest of a block
        cannot be read, if it cannot. Packets of other types are left out. Of more than MAX_SIGNATURES none is read.
    """
    found: List[Union[Signature, TrustError]] = []
    for block in blocks:
        first = len(found)
        try:
            for tag, body in read_packets(block):
                if tag in _MESSAGE_TAGS:
                    del found[first:]  # they are about the message
                    raise TrustError("malformed", "a message, and no signature beside a file")
                if tag == TAG_SIGNATURE:
                    found.append(_signature_or_error(body))
                if len(found) > MAX_SIGNATURES:
                    limit = "more than {} signatures, the limit of this program".format(MAX_SIGNATURES)
                    return (TrustError("unsupported", limit),)
        except TrustError as error:
            found.append(error)
    return tuple(found)


def _signature_or_error(body: bytes) -> Union[Signature, TrustError]:
    try:
        return read_signature(body)
    except TrustError as error:
        return error


def read_signature(body: bytes) -> Signature:
    """Read the body of one signature packet (RFC 9580 section 5.2, RFC 4880 section 5.2.2).

    Args:
        body: all of it.

    Returns:
        The signature, perhaps with a flaw.

    Raises:
        TrustError: "unsupported": of another version than 3 or 4; "malformed": its parts cannot be told apart.
    """
    if body[:1] == b"\x04":
        return _read_v4(body)
    if body[:1] == b"\x03":
        return _read_v3(body)
    raise TrustError("unsupported", "a signature of version {}".format(body[0] if body else "none"))


def _read_v4(body: bytes) -> Signature:
    """Read a signature of version 4 (RFC 9580 section 5.2.3)."""
    reader = _PacketReader(body)
    _, kind, algorithm, digest = reader.take(4)
    hashed, hashed_flaw = _read_area(reader)
    signed_bytes = reader.position
    unhashed, unhashed_flaw = _read_area(reader)
    left16 = reader.take(2)
    numbers, flaw = _read_signature_numbers(reader, algorithm, digest)
    made = subpacket_number(hashed, CREATION_TIME)
    if made is None:
        flaw = flaw or TrustError("malformed", "a signature without a signed creation time")
    return Signature(
        version=4,
        kind=kind,
        algorithm=ALGORITHMS.get(algorithm, ""),
        digest=_DIGESTS.get(digest, ""),
        made=made or 0,
        expires_after=subpacket_number(hashed, SIGNATURE_EXPIRATION) or 0,
        issuers=_issuers(hashed + unhashed),
        hashed=hashed,
        unhashed=unhashed,
        trailer=body[:signed_bytes] + b"\x04\xff" + signed_bytes.to_bytes(4, "big"),
        left16=left16,
        numbers=numbers,
        flaw=hashed_flaw or unhashed_flaw or flaw,
        is_exact=not (numbers and reader.left),
    )


def _read_v3(body: bytes) -> Signature:
    """Read a signature of version 3 (RFC 4880 section 5.2.2)."""
    reader = _PacketReader(body)
    reader.take(1)
    if reader.number(1) != 5:
        raise TrustError("malformed", "a V3 signature whose signed part is not 5 octets long")
    trailer = reader.take(5)
    issuer = reader.take(8)
    algorithm, digest = reader.take(2)
    left16 = reader.take(2)
    numbers, flaw = _read_signature_numbers(reader, algorithm, digest)
    made = int.from_bytes(trailer[1:], "big")
    return Signature(3, trailer[0], ALGORITHMS.get(algorithm, ""), _DIGESTS.get(digest, ""), made, 0, (issuer.hex().upper(),),
                     (), (), trailer, left16, numbers, flaw, not (numbers and reader.left))


def _read_signature_numbers(reader: _PacketReader, algorithm: int, digest: int) -> Tuple[Tuple[int, ...], Optional[TrustError]]:
    if algorithm not in ALGORITHMS:
        return (), TrustError("unsupported", "a signature of public-key algorithm {}".format(algorithm))
    numbers = _read_numbers(reader, NUMBERS[ALGORITHMS[algorithm]])
    return numbers, None if digest in _DIGESTS else TrustError("unsupported", "a signature with digest {}".format(digest))


def _read_area(reader: _PacketReader) -> Tuple[Tuple[Subpacket, ...], Optional[TrustError]]:
    """Read one subpacket area (RFC 9580 section 5.2.3.7), and what is wrong with it."""
    area = _PacketReader(reader.take(reader.number(2)))
    subpackets: List[Subpacket] = []
    flaw: Optional[TrustError] = None
    try:
        while area.left:
            subpacket = _PacketReader(area.take(_read_length(area, first_partial=255)))
            kind = subpacket.number(1)
            if kind & _CRITICAL and kind & ~_CRITICAL not in _KNOWN_SUBPACKETS:
                flaw = flaw or TrustError("unsupported", "a critical subpacket of unknown type {}".format(kind & ~_CRITICAL))
            subpackets.append((kind & ~_CRITICAL, subpacket.take(subpacket.left)))
            if len(subpackets) > MAX_SUBPACKETS:
                raise TrustError("unsupported", "more than {} subpackets, the limit of this program".format(MAX_SUBPACKETS))
    except TrustError as error:  # what was read before may name a key
        flaw = error
    return tuple(subpackets), flaw


def subpacket_value(area: Sequence[Subpacket], kind: int) -> Optional[bytes]:
    """Return the body of the first subpacket of this type, which counts as it does for gpg; None if there is none."""
    return next((body for found, body in area if found == kind), None)


def subpacket_number(area: Sequence[Subpacket], kind: int) -> Optional[int]:
    """Return the four-octet number that the first subpacket of this type begins with; None if there is none."""
    body = subpacket_value(area, kind)
    return None if body is None or len(body) < 4 else int.from_bytes(body[:4], "big")


def _issuers(subpackets: Sequence[Subpacket]) -> Tuple[str, ...]:
    """Return every key that the signature names as its issuer (RFC 9580 sections 5.2.3.12 and 5.2.3.35)."""
    return tuple(body.hex().upper() if kind == ISSUER_KEY_ID else body[1:].hex().upper() for kind, body in subpackets
                 if (kind == ISSUER_KEY_ID and len(body) == 8)
                 or (kind == ISSUER_FINGERPRINT and len(body) == 21 and body[0] == 4))


def names(signature: Signature, fingerprint: str) -> bool:
    """Tell whether a signature names this key as an issuer.

    Args:
        signature: as ``read_signature`` returns it.
        fingerprint: of a V4 key, 40 upper-case hex digits; its last 16 are the key id (RFC 9580 section 5.5.4.2).
    """
    return fingerprint in signature.issuers or fingerprint[-16:] in signature.issuers


def read_key_numbers(fields: bytes, count: int) -> Tuple[int, ...]:
    """Read the multiprecision integers of a public key, which must fill its packet (RFC 9580 section 5.5.5).

    Args:
        fields: of the packet, after version, creation time, algorithm and curve.
        count: how many they are.

    Raises:
        TrustError: "malformed".
    """
    reader = _PacketReader(fields)
    numbers = _read_numbers(reader, count)
    if reader.left:
        raise TrustError("malformed", "bytes after the last number")
    return numbers


def _read_numbers(reader: _PacketReader, count: int) -> Tuple[int, ...]:
    """Read multiprecision integers (RFC 9580 section 3.2).

    Go's x/crypto/openpgp writes leading zero bits, and says that they are there; gpg and rpm go by the octets, too.
    """
    numbers: List[int] = []
    for _ in range(count):
        bits = reader.number(2)
        if bits > MAX_NUMBER_BITS:
            raise TrustError("malformed", "a number of more than {} bits".format(MAX_NUMBER_BITS))
        numbers.append(reader.number((bits + 7) // 8))
    return tuple(numbers)
