"""The installed key file: which key may sign, found by its pinned fingerprint.

The pinned fingerprint is the trust anchor. The numbers of an RSA key are read by ``packets``, those of other keys by PGPy;
``load_pinned_key`` has them read only after it has found the fingerprint among the pinned ones.
Subkeys are never looked at (CVE-2021-3521: an unbound one was accepted).
The self-signatures only say what the key is for and until when. SHA-1 is tolerated in them and nowhere else,
even where the platform refuses to verify it: XCP-ng's key of 2018 has SHA-1 self-signatures, and its fingerprint vouches for it.

Pure.
"""
import hashlib
import warnings
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import TrustError
from . import armor, packets
from .hashing import STRONG_DIGESTS, new_hash
from .packets import Signature
from .publickey import verify_digest

MIN_BITS = {"RSA": 2048, "DSA": 2048, "ECDSA": 256, "EdDSA": 256}
_KEY_TAGS = frozenset(
    [packets.TAG_SIGNATURE, packets.TAG_PUBLIC_KEY, packets.TAG_USER_ID, packets.TAG_PUBLIC_SUBKEY, packets.TAG_USER_ATTRIBUTE]
)
_CERTIFICATIONS = (0x10, 0x11, 0x12, 0x13)  # RFC 9580 section 5.2.1: a key certifies a user id
_KEY_REVOCATION = 0x20
_CERTIFICATION_REVOCATION = 0x30
_MAY_SIGN = 0x02  # key flags, RFC 9580 section 5.2.3.29
# What PGPy raises for a key packet that it does not understand; there is no common base class.
_PGPY_ERRORS = (ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError)


class PublicKey(NamedTuple):
    """A primary key and what its self-signature says of it."""

    fingerprint: str  # 40 upper-case hex digits
    key_id: str  # the last 16 of them
    algorithm: str  # a value of packets.ALGORITHMS
    bits: int
    created: int  # seconds since 1970
    expires: Optional[int]  # seconds since 1970; None = never
    revoked: bool
    user_id: str  # for display only; "" if no self-signature is valid
    may_sign: bool
    material: Any  # the public key as an object of ``cryptography``


class _SelfSignature(NamedTuple):
    """What the key's owner says about it, bound to one user id."""

    made: int  # seconds since 1970; first, so that the newest is the largest
    revokes: bool
    may_sign: bool
    expires: int  # the key's end or this signature's own, seconds since 1970; 0 = never
    user_id: bytes


def load_pinned_key(data: bytes, fingerprints: Sequence[str]) -> PublicKey:
    """Load the key that may sign from an installed key file.

    Args:
        data: the file's bytes, armored or binary, at most 64 KiB.
        fingerprints: the pinned ones, of primary keys, 40 upper-case hex digits.

    Returns:
        The key. Whether it is revoked or has expired is left to the verifier.

    Raises:
        TrustError: "key-mismatch": the key is not pinned; "key-invalid": the file does not hold exactly one
            public V4 key, or the key is too short or not for signing.
    """
    primary, others = _split(data)
    fingerprint = _fingerprint(primary)
    if fingerprint not in fingerprints:
        raise TrustError("key-mismatch", "the key in the file is not pinned", fingerprint)
    key = _describe(primary, others)
    if key.bits < MIN_BITS[key.algorithm]:
        raise TrustError("key-invalid", "{} of {} bits is too short".format(key.algorithm, key.bits), fingerprint)
    if not key.may_sign:
        raise TrustError("key-invalid", "no self-signature says that the key is for signing", fingerprint)
    return key


def describe_key(data: bytes) -> PublicKey:
    """Describe the key in a file for display, whether it is pinned and usable or not.

    Args:
        data: the file's bytes, armored or binary, at most 64 KiB.

    Returns:
        The key.

    Raises:
        TrustError: "key-invalid": the file does not hold exactly one public V4 key of a known algorithm.
    """
    return _describe(*_split(data))


def _split(data: bytes) -> Tuple[bytes, List[Tuple[int, bytes]]]:
    """Return the primary key's body and the packets between it and the first subkey."""
    try:
        found = list(packets.read_packets(armor.dearmor(data, armor.PUBLIC_KEY)))
    except TrustError as error:
        raise TrustError("key-invalid", "not an OpenPGP key file: " + error.what) from error
    tags = [tag for tag, _ in found]
    if tags[:1] != [packets.TAG_PUBLIC_KEY] or tags.count(packets.TAG_PUBLIC_KEY) != 1 or not _KEY_TAGS.issuperset(tags):
        raise TrustError("key-invalid", "the file does not hold exactly one public key")
    primary = found[0][1]
    if len(primary) < 6 or primary[0] != 4:
        raise TrustError("key-invalid", "the key is not of version 4")
    end = tags.index(packets.TAG_PUBLIC_SUBKEY) if packets.TAG_PUBLIC_SUBKEY in tags else len(tags)
    return primary, found[1:end]


def _framed(primary: bytes) -> bytes:
    """Return the key packet as it is hashed for fingerprints and self-signatures (RFC 9580 sections 5.2.4 and 5.5.4.2)."""
    return b"\x99" + len(primary).to_bytes(2, "big") + primary


def _fingerprint(primary: bytes) -> str:
    return hashlib.sha1(_framed(primary)).hexdigest().upper()


def _describe(primary: bytes, others: Sequence[Tuple[int, bytes]]) -> PublicKey:
    algorithm = packets.ALGORITHMS.get(primary[5], "")
    if not algorithm:
        raise TrustError("key-invalid", "public-key algorithm {} does not sign".format(primary[5]))
    fingerprint = _fingerprint(primary)
    created = int.from_bytes(primary[1:5], "big")
    material = _load_material(primary)
    key = PublicKey(
        fingerprint=fingerprint,
        key_id=fingerprint[-16:],
        algorithm=algorithm,
        bits=getattr(material, "key_size", 256),  # Ed25519 has one size only
        created=created,
        expires=None,
        revoked=any(tag == packets.TAG_SIGNATURE and _is_revocation(body) for tag, body in others),
        user_id="",
        may_sign=False,
        material=material,
    )
    said = _newest_statement(key, primary, others)
    if said is None:
        return key
    user_id = "".join(character if character.isprintable() else "?" for character in said.user_id.decode("utf-8", "replace"))
    return key._replace(expires=said.expires or None, user_id=user_id, may_sign=said.may_sign)


def _load_material(primary: bytes) -> Any:
    """Make the public key. PGPy reads all but RSA keys: importing it at each start costs too much to read two numbers."""
    if packets.ALGORITHMS[primary[5]] == "RSA":
        return _load_rsa(primary)
    with warnings.catch_warnings():  # importing PGPy warns of ciphers that we do not use
        warnings.simplefilter("ignore")
        from cryptography.exceptions import UnsupportedAlgorithm
        from pgpy.errors import PGPError
        from pgpy.packet import Packet

        try:
            packet = Packet(bytearray(b"\xc6\xff" + len(primary).to_bytes(4, "big") + primary))
            return packet.keymaterial.__pubkey__()
        except _PGPY_ERRORS + (PGPError, UnsupportedAlgorithm) as error:
            raise TrustError("key-invalid", "the key cannot be read: {}".format(error)) from error


def _load_rsa(primary: bytes) -> Any:
    with warnings.catch_warnings():  # importing cryptography 40 warns that Python 3.6 is old
        warnings.simplefilter("ignore")
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    try:
        modulus, exponent = packets.read_rsa_key(primary)
        return RSAPublicNumbers(exponent, modulus).public_key()
    except (TrustError, ValueError) as error:
        raise TrustError("key-invalid", "the key cannot be read: {}".format(error)) from error


def _is_revocation(body: bytes) -> bool:
    """Tell a key revocation by its type octet alone (one octet later in V3): if in doubt, the key is revoked."""
    return _KEY_REVOCATION in (body[2:3] if body[:1] == b"\x03" else body[1:2])


def _newest_statement(key: PublicKey, primary: bytes, others: Sequence[Tuple[int, bytes]]) -> Optional[_SelfSignature]:
    """Return the newest self-signature on a user id that is not revoked."""
    newest: Dict[bytes, _SelfSignature] = {}
    user_id: Optional[bytes] = None
    for tag, body in others:
        if tag != packets.TAG_SIGNATURE:
            user_id = body if tag == packets.TAG_USER_ID else None
        elif user_id is not None:
            said = _read_self_signature(key, primary, user_id, body)
            if said is not None:
                newest[user_id] = max(said, newest.get(user_id, said))
    return max((said for said in newest.values() if not said.revokes), default=None)


def _read_self_signature(key: PublicKey, primary: bytes, user_id: bytes, body: bytes) -> Optional[_SelfSignature]:
    """Read a self-signature on a user id; None if it is by another key, not valid, or of an unknown kind."""
    try:
        signature = packets.read_signature(body)
        lifetime = packets.subpacket_number(signature.hashed, packets.KEY_EXPIRATION)
        by_key = signature.algorithm == key.algorithm and packets.names_only(signature, key.fingerprint)
        if not by_key or signature.kind not in _CERTIFICATIONS + (_CERTIFICATION_REVOCATION,):
            return None
        _prove_self_signature(key, primary, user_id, signature)
    except TrustError:
        return None
    flags = [value for kind, value in signature.hashed if kind == packets.KEY_FLAGS]
    may_sign = len(flags) == 1 and bool(flags[0][:1]) and bool(flags[0][0] & _MAY_SIGN)
    spans = ((key.created, lifetime), (signature.made, signature.expires_after))
    expires = min((start + seconds for start, seconds in spans if seconds), default=0)
    return _SelfSignature(signature.made, signature.kind == _CERTIFICATION_REVOCATION, may_sign, expires, user_id)


def _prove_self_signature(key: PublicKey, primary: bytes, user_id: bytes, signature: Signature) -> None:
    """Verify a signature of the key on its own user id (RFC 9580 section 5.2.4)."""
    if signature.digest not in STRONG_DIGESTS and signature.digest != "sha1":
        raise TrustError("weak-digest", "a self-signature with {}".format(signature.digest))
    try:
        running = new_hash(signature.digest)
        running.update(_framed(primary) + b"\xb4" + len(user_id).to_bytes(4, "big") + user_id + signature.trailer)
        verify_digest(key.material, key.algorithm, signature.digest, running.digest(), signature.numbers)
    except TrustError as error:
        if signature.digest != "sha1" or error.reference != "unsupported":
            raise  # where the platform refuses SHA-1, the pinned fingerprint vouches for the key
