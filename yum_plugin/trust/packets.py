"""OpenPGP packets (RFC 9580 sections 4 and 5.2): a strict reader that decides nothing about trust.

Every length is checked against the bytes that are left before anything is taken, every byte must belong to a field,
and the cost is linear in the size of the input. RFC 9580 replaces RFC 4880; only the latter describes V3 signatures.

Pure.
"""
from typing import Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import TrustError

MAX_SIGNATURES = 4  # in one file
MAX_SUBPACKETS = 64  # in one signature
MAX_NUMBER_BITS = 16384  # of one multiprecision integer; the largest RSA key that OpenSSL verifies with

# Packet types, RFC 9580 section 5
TAG_SIGNATURE = 2
TAG_PUBLIC_KEY = 6
TAG_USER_ID = 13
TAG_PUBLIC_SUBKEY = 14
TAG_USER_ATTRIBUTE = 17

# Signature subpacket types, RFC 9580 section 5.2.3.7
CREATION_TIME = 2
SIGNATURE_EXPIRATION = 3
KEY_EXPIRATION = 9
ISSUER_KEY_ID = 16
KEY_FLAGS = 27
ISSUER_FINGERPRINT = 33
# The types that may be marked critical. The six above are obeyed; the others (preferences, features, policy, signer)
# do not change what a signature means here. A critical notation (20) or intended recipient (35) would, so these are
# not among them.
_KNOWN_SUBPACKETS = frozenset(
    [CREATION_TIME, SIGNATURE_EXPIRATION, KEY_EXPIRATION, ISSUER_KEY_ID, KEY_FLAGS, ISSUER_FINGERPRINT]
    + [11, 21, 22, 23, 25, 26, 28, 30]
)
_CRITICAL = 0x80  # a bit of the type octet, section 5.2.3.7

ALGORITHMS = {1: "RSA", 3: "RSA", 17: "DSA", 19: "ECDSA", 22: "EdDSA"}  # RFC 9580 section 9.1; only those that sign
NUMBERS = {"RSA": 1, "DSA": 2, "ECDSA": 2, "EdDSA": 2}  # how many multiprecision integers, RFC 9580 section 5.2.3
# RFC 9580 section 9.5
_DIGESTS = {1: "md5", 2: "sha1", 3: "ripemd160", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}

Subpacket = Tuple[int, bytes]  # type without the critical bit, body


class Signature(NamedTuple):
    """One signature packet; nothing in it is proven."""

    kind: int  # signature type, RFC 9580 section 5.2.1
    algorithm: str  # a value of ALGORITHMS
    digest: str  # as hashlib names it
    made: int  # seconds since 1970
    expires_after: int  # seconds after ``made``; 0 = never
    issuers: Tuple[str, ...]  # key ids (16) and fingerprints (40 upper-case hex digits), hashed or not
    hashed: Tuple[Subpacket, ...]  # V3 has none
    trailer: bytes  # the signature's own bytes, hashed after the document; RFC 9580 section 5.2.4
    left16: bytes  # the first two octets that the digest must have
    numbers: Tuple[int, ...]  # the multiprecision integers


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


def read_signatures(data: bytes, allow_v3: bool = False) -> Tuple[Signature, ...]:
    """Read a file of signature packets and nothing else.

    Args:
        data: the binary packets, as ``armor.dearmor`` returns them.
        allow_v3: True only for signatures inside RPM files, because EL7's rpmsign makes V3 ones.

    Returns:
        At most ``MAX_SIGNATURES`` signatures in their order; none if ``data`` is empty.

    Raises:
        TrustError: "malformed" or "unsupported".
    """
    signatures: List[Signature] = []
    for tag, body in read_packets(data):
        if tag != TAG_SIGNATURE:
            raise TrustError("malformed", "a packet of type {} where only signatures belong".format(tag))
        if len(signatures) == MAX_SIGNATURES:
            raise TrustError("malformed", "more than {} signatures".format(MAX_SIGNATURES))
        signatures.append(read_signature(body, allow_v3))
    return tuple(signatures)


def read_signature(body: bytes, allow_v3: bool = False) -> Signature:
    """Read the body of one signature packet (RFC 9580 section 5.2).

    Args:
        body: all of it.
        allow_v3: see ``read_signatures``.

    Returns:
        The signature.

    Raises:
        TrustError: "malformed", or "unsupported" for an unknown version, algorithm or digest.
    """
    version = body[:1]
    if version == b"\x04":
        return _read_v4(body)
    if version == b"\x03" and allow_v3:
        return _read_v3(body)
    raise TrustError("unsupported", "a signature of version {}".format(version.hex() or "none"))


def _read_v4(body: bytes) -> Signature:
    """Read a signature of version 4 (RFC 9580 section 5.2.3)."""
    reader = _PacketReader(body)
    _, kind, algorithm, digest = reader.take(4)
    hashed = _read_area(reader, MAX_SUBPACKETS)
    signed_bytes = reader.position
    unhashed = _read_area(reader, MAX_SUBPACKETS - len(hashed))
    made = subpacket_number(hashed, CREATION_TIME)
    if made is None:
        raise TrustError("malformed", "a signature without a signed creation time")
    return Signature(
        kind=kind,
        algorithm=_known(ALGORITHMS, algorithm, "public-key algorithm"),
        digest=_known(_DIGESTS, digest, "digest"),
        made=made,
        expires_after=subpacket_number(hashed, SIGNATURE_EXPIRATION) or 0,
        issuers=_issuers(hashed + unhashed),
        hashed=hashed,
        trailer=body[:signed_bytes] + b"\x04\xff" + signed_bytes.to_bytes(4, "big"),
        left16=reader.take(2),
        numbers=_read_numbers(reader, NUMBERS[ALGORITHMS[algorithm]]),
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
    return Signature(
        kind=trailer[0],
        algorithm=_known(ALGORITHMS, algorithm, "public-key algorithm"),
        digest=_known(_DIGESTS, digest, "digest"),
        made=int.from_bytes(trailer[1:], "big"),
        expires_after=0,
        issuers=(issuer.hex().upper(),),
        hashed=(),
        trailer=trailer,
        left16=reader.take(2),
        numbers=_read_numbers(reader, NUMBERS[ALGORITHMS[algorithm]]),
    )


def _known(table: Mapping[int, str], number: int, what: str) -> str:
    if number not in table:
        raise TrustError("unsupported", "{} {}".format(what, number))
    return table[number]


def _read_area(reader: _PacketReader, most: int) -> Tuple[Subpacket, ...]:
    """Read one subpacket area, which its subpackets must fill exactly (RFC 9580 section 5.2.3.7)."""
    area = _PacketReader(reader.take(reader.number(2)))
    subpackets: List[Subpacket] = []
    while area.left:
        if len(subpackets) == most:
            raise TrustError("malformed", "more than {} subpackets in a signature".format(MAX_SUBPACKETS))
        subpacket = _PacketReader(area.take(_read_length(area, first_partial=255)))
        kind = subpacket.number(1)
        if kind & _CRITICAL and kind & ~_CRITICAL not in _KNOWN_SUBPACKETS:
            raise TrustError("unsupported", "a critical subpacket of unknown type {}".format(kind & ~_CRITICAL))
        subpackets.append((kind & ~_CRITICAL, subpacket.take(subpacket.left)))
    return tuple(subpackets)


def subpacket_number(area: Sequence[Subpacket], kind: int) -> Optional[int]:
    """Return the four-octet number in the only subpacket of this type; None if there is no such subpacket.

    Raises:
        TrustError: "malformed": there are several, or the number is not four octets long.
    """
    bodies = [body for found, body in area if found == kind]
    if len(bodies) > 1 or any(len(body) != 4 for body in bodies):
        raise TrustError("malformed", "a repeated or misshapen subpacket of type {}".format(kind))
    return int.from_bytes(bodies[0], "big") if bodies else None


def _issuers(subpackets: Sequence[Subpacket]) -> Tuple[str, ...]:
    """Return every key that the signature names as its issuer (RFC 9580 sections 5.2.3.12 and 5.2.3.35)."""
    key_ids = [body for kind, body in subpackets if kind == ISSUER_KEY_ID]
    fingerprints = [body for kind, body in subpackets if kind == ISSUER_FINGERPRINT]
    if any(len(body) != 8 for body in key_ids) or any(len(body) != 21 or body[0] != 4 for body in fingerprints):
        raise TrustError("malformed", "an issuer that is not a V4 key id or fingerprint")
    return tuple(name.hex().upper() for name in key_ids + [body[1:] for body in fingerprints])


def names_only(signature: Signature, fingerprint: str) -> bool:
    """Tell whether a signature names this key as its issuer, and no other key.

    Args:
        signature: as ``read_signature`` returns it.
        fingerprint: of a V4 key, 40 upper-case hex digits; its last 16 are the key id (RFC 9580 section 5.5.4.2).
    """
    return bool(signature.issuers) and set(signature.issuers) <= {fingerprint, fingerprint[-16:]}


def read_rsa_key(body: bytes) -> Tuple[int, int]:
    """Read modulus and exponent of an RSA key (RFC 9580 section 5.5.5.1).

    Args:
        body: of a V4 public-key packet: version, creation time and algorithm come first (section 5.5.2.2).

    Returns:
        Modulus and exponent.

    Raises:
        TrustError: "malformed": they do not fill the packet, or have another length than they state.
    """
    reader = _PacketReader(body)
    reader.take(6)
    modulus, exponent = _read_numbers(reader, 2)
    return modulus, exponent


def _read_numbers(reader: _PacketReader, count: int) -> Tuple[int, ...]:
    """Read the multiprecision integers, which must fill the rest of the packet (RFC 9580 section 3.2)."""
    numbers: List[int] = []
    for _ in range(count):
        bits = reader.number(2)
        if bits > MAX_NUMBER_BITS:
            raise TrustError("malformed", "a number of more than {} bits".format(MAX_NUMBER_BITS))
        number = reader.number((bits + 7) // 8)
        if number.bit_length() != bits:
            raise TrustError("malformed", "a number of another length than it states")
        numbers.append(number)
    if reader.left:
        raise TrustError("malformed", "bytes after the last number")
    return tuple(numbers)
