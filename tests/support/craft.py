"""Builds OpenPGP keys, signatures and armor byte by byte, right or wrong in any one place.

RSA signatures are computed here in plain numbers, so that digests which a platform refuses can be tried as well.
"""
import base64
import hashlib
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DAY = 24 * 3600
BORN = 1500000000  # when the keys were made, seconds since 1970
MADE = BORN + 100 * DAY  # when the signatures were made
NOW = MADE + 30 * DAY
DOCUMENT = b"<repomd>the very bytes</repomd>\n"

DIGEST_IDS = {"md5": 1, "sha1": 2, "ripemd160": 3, "sha256": 8, "sha384": 9, "sha512": 10, "sha224": 11}
# The DER in front of a digest inside an RSA signature, RFC 9580 section 5.2.3.1
DIGEST_INFO = {
    "md5": "3020300c06082a864886f70d020505000410",
    "sha1": "3021300906052b0e03021a05000414",
    "sha224": "302d300d06096086480165030402040500041c",
    "sha256": "3031300d060960864801650304020105000420",
    "sha384": "3041300d060960864801650304020205000430",
    "sha512": "3051300d060960864801650304020305000440",
}


def u16(number):
    return number.to_bytes(2, "big")


def u32(number):
    return number.to_bytes(4, "big")


def new_packet(tag, body, octets=None):
    """A packet in the new format; ``octets`` = 1, 2 or 5 forces the form of its length."""
    return bytes([0xC0 | tag]) + length(len(body), octets) + body


def old_packet(tag, body, octets=2):
    """A packet in the old format, its length in 1, 2 or 4 octets."""
    return bytes([0x80 | tag << 2 | {1: 0, 2: 1, 4: 2}[octets]]) + len(body).to_bytes(octets, "big") + body


def length(number, octets=None):
    """A length of packets and subpackets: 1, 2 or 5 octets, the shortest form if not said."""
    octets = octets or (1 if number < 192 else 2 if number < 8384 else 5)
    if octets == 1:
        return bytes([number])
    if octets == 2:
        return bytes([192 + (number - 192 >> 8), number - 192 & 0xFF])
    return b"\xff" + u32(number)


def mpi(number, bits=None):
    """A multiprecision integer; ``bits`` lets it lie about its length."""
    return u16(number.bit_length() if bits is None else bits) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def subpacket(kind, body=b"", critical=False, octets=None):
    return length(len(body) + 1, octets) + bytes([kind | (0x80 if critical else 0)]) + body


def created(moment=MADE, **form):
    return subpacket(2, u32(moment), **form)


def issuer(key, **form):
    return subpacket(16, bytes.fromhex(key.key_id), **form)


def issuer_fingerprint(key, **form):
    return subpacket(33, b"\x04" + bytes.fromhex(key.fingerprint), **form)


class CraftKey:
    """A key pair as OpenPGP sees it.

    Args:
        private: of ``cryptography``.
        algorithm: its number in RFC 9580 section 9.1.
        fields: the public key's own fields, encoded.
        version: of the key packet.
    """

    def __init__(self, private, algorithm, fields, made=BORN, version=4):
        self.private = private
        self.algorithm = algorithm
        self.body = bytes([version]) + u32(made) + bytes([algorithm]) + fields
        self.framed = b"\x99" + u16(len(self.body)) + self.body
        self.fingerprint = hashlib.sha1(self.framed).hexdigest().upper()
        self.key_id = self.fingerprint[-16:]

    def sign(self, name, digest):
        """The numbers of a signature over a digest."""
        if self.algorithm in (1, 3):
            return [_rsa_sign(self.private.private_numbers(), name, digest)]
        if self.algorithm == 22:
            both = self.private.sign(digest)
            return [int.from_bytes(both[:32], "big"), int.from_bytes(both[32:], "big")]
        prehashed = Prehashed(getattr(hashes, name.upper())())
        signed = self.private.sign(digest, ec.ECDSA(prehashed)) if self.algorithm == 19 else self.private.sign(digest, prehashed)
        return list(decode_dss_signature(signed))


def _rsa_sign(private, name, digest):
    octets = (private.public_numbers.n.bit_length() + 7) // 8
    info = bytes.fromhex(DIGEST_INFO[name]) + digest
    padded = int.from_bytes(b"\x00\x01" + b"\xff" * (octets - len(info) - 3) + b"\x00" + info, "big")
    first, second = pow(padded, private.dmp1, private.p), pow(padded, private.dmq1, private.q)
    return second + private.q * ((first - second) * private.iqmp % private.p)


@lru_cache(maxsize=None)
def rsa_key(name="pinned", bits=2048, made=BORN, algorithm=1, version=4):
    """An RSA key; each name has its own."""
    private = rsa.generate_private_key(65537, bits)
    public = private.public_key().public_numbers()
    return CraftKey(private, algorithm, mpi(public.n) + mpi(public.e), made, version)


@lru_cache(maxsize=None)
def dsa_key(bits=2048):
    private = dsa.generate_private_key(bits)
    public = private.public_key().public_numbers()
    group = public.parameter_numbers
    return CraftKey(private, 17, mpi(group.p) + mpi(group.q) + mpi(group.g) + mpi(public.y))


@lru_cache(maxsize=None)
def ecdsa_key():
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return CraftKey(private, 19, bytes.fromhex("082a8648ce3d030107") + mpi(int.from_bytes(point, "big")))


@lru_cache(maxsize=None)
def eddsa_key():
    private = ed25519.Ed25519PrivateKey.generate()
    point = b"\x40" + private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return CraftKey(private, 22, bytes.fromhex("092b06010401da470f01") + mpi(int.from_bytes(point, "big")))


def signature_body(
    key, document=DOCUMENT, kind=0, version=4, digest="sha256", hashed=None, unhashed=None,
    algorithm=None, digest_id=None, left16=None, numbers=None, tail=b"",
):  # fmt: skip
    """The body of a V4 signature packet, good unless told otherwise.

    Args:
        document: what is hashed before the trailer.
        hashed, unhashed: the encoded subpackets.
        algorithm, digest_id, left16: written instead of the right ones.
        numbers: a function that encodes the numbers.
        tail: bytes after them.
    """
    hashed = created() + issuer_fingerprint(key) if hashed is None else hashed
    unhashed = issuer(key) if unhashed is None else unhashed
    ids = bytes([version, kind, algorithm or key.algorithm, DIGEST_IDS[digest] if digest_id is None else digest_id])
    head = ids + u16(len(hashed)) + hashed
    value = hashlib.new(digest, document + head + bytes([version, 0xFF]) + u32(len(head))).digest()
    encoded = (numbers or encode_numbers)(key.sign(digest, value))
    return head + u16(len(unhashed)) + unhashed + (value[:2] if left16 is None else left16) + encoded + tail


def encode_numbers(numbers):
    return b"".join(mpi(number) for number in numbers)


def signature(key, **changes):
    """A V4 signature packet."""
    return new_packet(2, signature_body(key, **changes))


def v3_signature(key, document=DOCUMENT, kind=0, made=MADE, digest="sha256", signed_octets=5):
    """A V3 signature packet, RFC 4880 section 5.2.2."""
    signed = bytes([kind]) + u32(made)
    value = hashlib.new(digest, document + signed).digest()
    ids = bytes.fromhex(key.key_id) + bytes([key.algorithm, DIGEST_IDS[digest]])
    return new_packet(2, bytes([3, signed_octets]) + signed + ids + value[:2] + encode_numbers(key.sign(digest, value)))


def user_id_packets(
    key, user_id=b"XCP-ng Key <security@example.org>", flags=b"\x03", lifetime=None, digest="sha1", made=BORN, kind=0x13,
    by=None, extra=b"", **changes
):  # fmt: skip
    """A user id and a self-signature on it, ``extra`` among its signed subpackets."""
    hashed = created(made)
    hashed += subpacket(27, flags) if flags is not None else b""
    hashed += subpacket(9, u32(lifetime)) if lifetime is not None else b""
    hashed += extra
    document = key.framed + b"\xb4" + u32(len(user_id)) + user_id
    changes.setdefault("unhashed", issuer(key))
    return new_packet(13, user_id) + signature(by or key, document=document, kind=kind, digest=digest, hashed=hashed, **changes)


def subkey_packets(primary, subkey, bound=True, back=None, by=None, flags=b"\x02", lifetime=None, made=BORN, digest="sha256"):
    """A subkey, bound by the primary key or not.

    Args:
        back: who signs in return; b"": nobody.
        by: who binds it in the primary key's name.
    """
    packets = new_packet(14, subkey.body)
    if bound:
        both = primary.framed + subkey.framed
        hashed = created(made) + (subpacket(27, flags) if flags is not None else b"")
        hashed += subpacket(9, u32(lifetime)) if lifetime is not None else b""
        if back != b"":
            hashed += subpacket(32, signature_body(back or subkey, document=both, kind=0x19, digest=digest, hashed=created(made) + issuer(subkey)))
        packets += signature(by or primary, document=both, kind=0x18, hashed=hashed, unhashed=issuer(primary), digest=digest)
    return packets


def revocation(key, by=None, **changes):
    """A revocation of a key, by itself or by somebody else."""
    return signature(by or key, document=key.framed, kind=0x20, **changes)


def direct(key=None, by=None, made=BORN, flags=None, lifetime=None, extra=b"", digest="sha256", **changes):
    """A direct-key signature (0x1F), of the key named "pinned" if not said."""
    key = key or rsa_key()
    hashed = created(made)
    hashed += subpacket(27, flags) if flags is not None else b""
    hashed += subpacket(9, u32(lifetime)) if lifetime is not None else b""
    changes.setdefault("unhashed", issuer(key))
    return signature(by or key, document=key.framed, kind=0x1F, hashed=hashed + extra, digest=digest, **changes)


def designated(key):
    """A subpacket that lets another key revoke this one."""
    return subpacket(12, b"\x80" + bytes([key.algorithm]) + bytes.fromhex(key.fingerprint))


def key_packets(key, *following, **user_id):
    """A key file's packets: the primary key, a user id with its self-signature, and what follows."""
    return new_packet(6, key.body) + user_id_packets(key, **user_id) + b"".join(following)


def armor(packets, label="SIGNATURE", crc=True, headers="", width=64):
    """One armored block; ``crc`` = False leaves the CRC24 out, bytes are written in its place."""
    text = base64.b64encode(packets).decode("ascii")
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    if crc:
        lines.append("=" + base64.b64encode(crc24(packets) if crc is True else crc).decode("ascii"))
    return "-----BEGIN PGP {0}-----\n{1}\n{2}\n-----END PGP {0}-----\n".format(label, headers, "\n".join(lines)).encode("ascii")


def crc24(data):
    """RFC 9580 section 6.1.1, bit by bit."""
    crc = 0xB704CE
    for octet in data:
        crc ^= octet << 16
        for _ in range(8):
            crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return (crc & 0xFFFFFF).to_bytes(3, "big")
