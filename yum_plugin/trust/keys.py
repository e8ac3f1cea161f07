"""The installed key: which keys may sign, found by the pinned fingerprint, and what the key's owner says about them.

    1. The pinned fingerprint of a primary key is the trust anchor. Only the pinned keys of a file are looked at
       (``keyfile`` finds them among others), and only what a pinned key itself has signed counts, wherever it stands.
    2. A revocation by the key (0x20) ends it for ever, whatever its date and its reason say; one that cannot be computed
       here, or that names a revoker whom the key has designated, does too.
    3. Expiry and flags come from the newest direct-key signature (0x1F); what that does not say, from the user id with the
       newest self-signature that says it. Of two self-signatures of one second the later in the file counts. Without any
       flags the key may sign. All of that is as gpg does it, but for a self-signature's own expiry: the key ends with it.
    4. A key without any self-signature that is proven may not sign.
    5. A subkey signs if the newest signature that binds it (0x18) lets it, if it has signed in return that it belongs to the
       primary key (0x19; CVE-2021-3521: an unbound one was accepted), and if no 0x28 of the primary key revokes it.
    6. SHA-1 is tolerated in what a key says about itself and nowhere else: XCP-ng's key of 2018 has SHA-1 self-signatures,
       and its fingerprint vouches for it. Where the platform refuses to verify SHA-1, a self-signature on a user id counts
       all the same; a subkey is not believed then.

The numbers of an RSA key are read by ``packets``, those of other keys by PGPy, or, where that refuses them, by ``publickey``.

Pure.
"""
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import TrustError
from . import packets
from .hashing import STRONG_DIGESTS, new_hash
from .keyfile import KeyPackets, fingerprint_of, framed, merge, read_key_file
from .packets import Signature
from .publickey import load_material, verify_digest

MIN_BITS = {"RSA": 2048, "DSA": 2048, "ECDSA": 256, "EdDSA": 256}
MAX_USER_ID_BYTES = 2048  # gpg's limit
_MAX_PLACES = 8  # how many user ids or subkeys a signature is tried on that does not stand behind its own
CERTIFICATIONS = (0x10, 0x11, 0x12, 0x13)  # RFC 9580 section 5.2.1: a key certifies a user id
CERTIFICATION_REVOCATION = 0x30
_DIRECT, _BINDING, _BACK_SIGNATURE = 0x1F, 0x18, 0x19
_KEY_REVOCATION, _SUBKEY_REVOCATION = 0x20, 0x28
_SELF_DIGESTS = frozenset(STRONG_DIGESTS) | {"sha1", "sha224"}  # gpg takes these
_MAY_SIGN = 0x02  # key flags, RFC 9580 section 5.2.3.29


class Subkey(NamedTuple):
    """A subkey that the owner of the primary key has made a signing key."""

    fingerprint: str  # 40 upper-case hex digits
    algorithm: str  # a value of packets.ALGORITHMS
    created: int  # seconds since 1970
    expires: Optional[int]  # seconds since 1970; None = never
    revoked: bool
    may_sign: bool
    material: Any  # the public key as an object of ``cryptography``


class PublicKey(NamedTuple):
    """A primary key and what its self-signatures say of it."""

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
    subkeys: Tuple[Subkey, ...] = ()  # those that sign
    sha1_only: bool = False  # whether all self-signatures have SHA-1, which newer systems refuse


class _Statement(NamedTuple):
    """What one self-signature says."""

    made: int  # seconds since 1970
    revokes: bool  # the user id
    flags: Optional[bytes]  # None: it says nothing of them
    expires: int  # the key's end or this signature's own, seconds since 1970; 0 = never
    primary: bool  # whether its user id is the main one
    strong: bool  # whether its digest is stronger than SHA-1


def pinned_in(data: bytes, fingerprints: Sequence[str]) -> List[KeyPackets]:
    """Find the pinned keys in a key file.

    Args:
        data: the file's bytes, at most MAX_KEY_FILE_BYTES.
        fingerprints: the pinned ones, of primary keys, 40 upper-case hex digits.

    Returns:
        At least one.

    Raises:
        TrustError: "key-mismatch": no key in it is pinned; "key-invalid": there is no key in it.
    """
    found = read_key_file(data)
    pinned = [key for key in found if key.fingerprint in fingerprints]
    if not pinned:
        what = "the key in the file is not pinned" if len(found) == 1 else "none of its {} keys is pinned".format(len(found))
        raise TrustError("key-mismatch", what, ", ".join(key.fingerprint for key in found[:4]))
    return pinned


def load_pinned_keys(pinned: Sequence[KeyPackets]) -> List[PublicKey]:
    """Load the keys that may sign.

    Args:
        pinned: of all key files, as ``pinned_in`` returns them; what several say about one key is put together.

    Returns:
        At least one key. Whether it is revoked or has expired is left to the verifier.

    Raises:
        TrustError: "key-invalid": none of them can be read, is long enough, and is for signing.
    """
    keys: List[PublicKey] = []
    refusals: List[TrustError] = []
    for packet in merge(pinned):
        try:
            keys.append(_usable(_describe(packet)))
        except TrustError as error:
            refusals.append(error)
    if not keys:
        raise refusals[0] if refusals else TrustError("key-invalid", "there is no key")
    return keys


def load_pinned_key(data: bytes, fingerprints: Sequence[str]) -> PublicKey:
    """Load the first pinned key of one file; errors as of ``pinned_in`` and ``load_pinned_keys``."""
    return load_pinned_keys(pinned_in(data, fingerprints))[0]


def describe_keys(data: bytes) -> List[PublicKey]:
    """Describe the keys in a file for display, whether they are pinned and usable or not.

    Raises:
        TrustError: "key-invalid": the file does not hold a public V4 key of a known algorithm.
    """
    keys: List[PublicKey] = []
    refusals: List[TrustError] = []
    for packet in read_key_file(data):
        try:
            keys.append(_describe(packet))
        except TrustError as error:
            refusals.append(error)
    if not keys:
        raise refusals[0]
    return keys


def describe_key(data: bytes) -> PublicKey:
    """Describe the first key in a file; see ``describe_keys``."""
    return describe_keys(data)[0]


def _usable(key: PublicKey) -> PublicKey:
    if key.bits < MIN_BITS[key.algorithm]:
        raise TrustError("key-invalid", "{} of {} bits is too short".format(key.algorithm, key.bits), key.fingerprint)
    if not key.may_sign and not key.subkeys:
        raise TrustError("key-invalid", "no self-signature says that the key is for signing", key.fingerprint)
    return key


def _describe(key: KeyPackets) -> PublicKey:
    bare = _bare_key(key.primary)
    said = _SelfStatements(bare, key)
    newest = sorted(said.users.items(), key=lambda item: item[1].made, reverse=True)  # of equal ones the first in the file
    alive = [(user_id, statement) for user_id, statement in newest if not statement.revokes]
    holders = ([said.direct] if said.direct else []) + [statement for _, statement in alive]
    flags = next((statement.flags for statement in holders if statement.flags is not None), None)
    shown = next((user_id for user_id, statement in alive if statement.primary), alive[0][0] if alive else b"")
    return bare._replace(
        expires=next((statement.expires for statement in holders if statement.expires), None),
        revoked=said.revoked,
        user_id="".join(character if character.isprintable() else "?" for character in shown.decode("utf-8", "replace")),
        may_sign=bool(said.direct or newest) and _lets_sign(flags),
        subkeys=tuple(said.signing_subkeys()),
        sha1_only=bool(holders) and not any(statement.strong for statement in holders),
    )


def _lets_sign(flags: Optional[bytes]) -> bool:
    return flags is None or bool(flags[:1]) and bool(flags[0] & _MAY_SIGN)


def _bare_key(body: bytes) -> PublicKey:
    """Describe a key packet alone, primary key or subkey."""
    algorithm = packets.ALGORITHMS.get(body[5], "")
    if not algorithm:
        raise TrustError("key-invalid", "public-key algorithm {} does not sign".format(body[5]))
    fingerprint, material = fingerprint_of(body), load_material(body)
    bits = getattr(material, "key_size", 256)  # Ed25519 has one size only
    created = int.from_bytes(body[1:5], "big")
    return PublicKey(fingerprint, fingerprint[-16:], algorithm, bits, created, None, False, "", False, material)


class _SelfStatements:
    """Collects what a key's owner says about it (rules 1 to 3 and 5)."""

    def __init__(self, key: PublicKey, found: KeyPackets) -> None:
        self._key = key
        self._framed = framed(found.primary)
        self._bindings: Dict[bytes, Tuple[Signature, _Statement]] = {}
        self._revoked_subkeys: Dict[bytes, bool] = {}
        self._revokers: List[str] = []
        self.direct: Optional[_Statement] = None
        self.users: Dict[bytes, _Statement] = {}
        self.revoked = False
        user_ids = _Places(packets.TAG_USER_ID, found.following, MAX_USER_ID_BYTES)
        subkeys = _Places(packets.TAG_PUBLIC_SUBKEY, found.following, 0xFFFF)
        others = []
        for number, (tag, body) in enumerate(found.following):
            signature = _read_or_none(body) if tag == packets.TAG_SIGNATURE else None
            if signature is not None and packets.names(signature, key.fingerprint):
                self._take(signature, user_ids.around(number), subkeys.around(number))
            elif signature is not None and signature.kind == _KEY_REVOCATION:
                others.append(signature)
        self.revoked = self.revoked or any(packets.names(signature, name) for signature in others for name in self._revokers[:4])

    def _take(self, signature: Signature, user_ids: Iterator[bytes], subkeys: Iterator[bytes]) -> None:
        kind, key = signature.kind, self._framed
        if kind == _KEY_REVOCATION:
            self.revoked = self.revoked or self._is_made(signature, key, in_doubt=True)
        elif kind == _SUBKEY_REVOCATION:
            for subkey in subkeys:
                if self._is_made(signature, key + framed(subkey), in_doubt=True):
                    self._revoked_subkeys[subkey] = True
                    return
        elif signature.flaw is not None or signature.digest not in _SELF_DIGESTS or signature.made < self._key.created:
            return
        elif kind == _DIRECT and self._is_made(signature, key, signature.digest == "sha1"):
            self._designate(signature)
            if self.direct is None or signature.made >= self.direct.made:
                self.direct = self._statement(signature)
        elif kind == _BINDING:
            self._bind(signature, subkeys)
        elif kind in CERTIFICATIONS or kind == CERTIFICATION_REVOCATION:
            self._take_on_user_id(signature, user_ids)

    def _take_on_user_id(self, signature: Signature, user_ids: Iterator[bytes]) -> None:
        for user_id in user_ids:
            prefix = b"\xb4" + len(user_id).to_bytes(4, "big") if signature.version == 4 else b""  # RFC 4880 section 5.2.4
            document = self._framed + prefix + user_id
            if self._is_made(signature, document, signature.digest == "sha1"):
                self._designate(signature)
                if user_id not in self.users or signature.made >= self.users[user_id].made:
                    self.users[user_id] = self._statement(signature)
                return

    def _bind(self, signature: Signature, subkeys: Iterator[bytes]) -> None:
        for subkey in subkeys:
            if self._is_made(signature, self._framed + framed(subkey)):
                if subkey not in self._bindings or signature.made >= self._bindings[subkey][0].made:
                    self._bindings[subkey] = signature, self._statement(signature, int.from_bytes(subkey[1:5], "big"))
                return

    def _designate(self, signature: Signature) -> None:
        self._revokers += [body[2:].hex().upper() for kind, body in signature.hashed
                           if kind == packets.REVOCATION_KEY and len(body) == 22]

    def _statement(self, signature: Signature, created: Optional[int] = None) -> _Statement:
        start = self._key.created if created is None else created
        lifetime = packets.subpacket_number(signature.hashed, packets.KEY_EXPIRATION)
        spans = ((start, lifetime), (signature.made, signature.expires_after))
        expires = min((begin + seconds for begin, seconds in spans if seconds), default=0)
        flags = packets.subpacket_value(signature.hashed, packets.KEY_FLAGS)
        primary = bool(packets.subpacket_value(signature.hashed, packets.PRIMARY_USER_ID))
        return _Statement(signature.made, signature.kind == CERTIFICATION_REVOCATION, flags, expires, primary,
                          signature.digest != "sha1")

    def _is_made(self, signature: Signature, document: bytes, in_doubt: bool = False) -> bool:
        return is_made_by(self._key, signature, document, in_doubt)

    def signing_subkeys(self) -> Iterator[Subkey]:
        """Yield the subkeys that obey rule 5, revoked and expired ones as well."""
        for body, (signature, statement) in self._bindings.items():
            if not _lets_sign(statement.flags):
                continue
            try:
                subkey = _bare_key(body)
            except TrustError:
                continue  # of a kind that this program cannot read, or that does not sign
            document = self._framed + framed(body)
            returned = [_read_or_none(value) for kind, value in signature.hashed + signature.unhashed
                        if kind == packets.EMBEDDED_SIGNATURE]
            if subkey.bits >= MIN_BITS[subkey.algorithm] and any(
                    back is not None and back.kind == _BACK_SIGNATURE and back.flaw is None and back.digest in _SELF_DIGESTS
                    and is_made_by(subkey, back, document) for back in returned[:_MAX_PLACES]):
                yield Subkey(subkey.fingerprint, subkey.algorithm, subkey.created, statement.expires or None,
                             body in self._revoked_subkeys, True, subkey.material)


class _Places:
    """The user ids or the subkeys of a key, to find the one that a signature is about."""

    def __init__(self, tag: int, following: Sequence[Tuple[int, bytes]], max_bytes: int) -> None:
        self._places = [(number, body) for number, (found, body) in enumerate(following)
                        if found == tag and len(body) <= max_bytes and (tag == packets.TAG_USER_ID or _is_v4_key(body))]
        self._next = 0

    def around(self, number: int) -> Iterator[bytes]:
        """Return what stands before this packet, the nearest first, then some of the others; ``number`` must never fall."""
        while self._next < len(self._places) and self._places[self._next][0] < number:
            self._next += 1
        before = self._places[max(0, self._next - _MAX_PLACES) : self._next][::-1]
        after = self._places[self._next : self._next + _MAX_PLACES]
        return iter([body for _, body in before + after])


def _is_v4_key(body: bytes) -> bool:
    return body[:1] == b"\4" and len(body) >= 6


def _read_or_none(body: bytes) -> Optional[Signature]:
    try:
        return packets.read_signature(body)
    except TrustError:
        return None


def is_made_by(key: PublicKey, signature: Signature, document: bytes, in_doubt: bool = False) -> bool:
    """Tell whether a key has made a signature over a document (RFC 9580 section 5.2.4).

    Args:
        in_doubt: what to return if this host or this program cannot compute it.
    """
    if not signature.algorithm or not signature.digest:
        return in_doubt
    if signature.algorithm != key.algorithm:
        return False
    left16 = signature.left16
    try:
        running = new_hash(signature.digest)
        running.update(document + signature.trailer)
        left16 = running.digest()[:2]
        verify_digest(key.material, key.algorithm, signature.digest, running.digest(), signature.numbers)
    except TrustError as error:
        # The 16 bits tell what it is about only where nothing better can: gpg does not look at them
        return in_doubt and error.reference == "unsupported" and left16 == signature.left16
    return True
