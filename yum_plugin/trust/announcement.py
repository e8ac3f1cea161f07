"""Which new keys the pinned ones have announced: certified, as ``gpg --sign-key`` does it (RFC 9580 section 5.2.1.4).

    1. An announcement makes nothing trusted: only fingerprints= does. It tells an admin that a change of keys has begun.
    2. A key is announced if a pinned primary key has certified one of its user ids, with a digest that is strong; that
       signature has no flaw and has not expired, and the pinned key has not taken it back since (0x30).
    3. A pinned key that is revoked or has expired announces nothing, whenever it has certified: who has stolen it can date a
       certification as he likes.

Pure.
"""
from typing import Dict, List, Sequence, Tuple

from ..errors import TrustError
from . import packets
from .hashing import STRONG_DIGESTS
from .keyfile import KeyPackets, framed
from .keys import CERTIFICATION_REVOCATION, CERTIFICATIONS, MAX_USER_ID_BYTES, PublicKey, is_made_by
from .packets import Signature


def announcers(candidate: KeyPackets, pinned: Sequence[PublicKey], now: int) -> Tuple[str, ...]:
    """Return which of the pinned keys announce a key.

    Args:
        candidate: the packets of one that is not pinned.
        pinned: the pinned keys, with all that their owners say about them.
        now: seconds since 1970.

    Returns:
        Fingerprints, 40 upper-case hex digits.
    """
    return tuple(key.fingerprint for key in pinned if _may_announce(key, now) and _certifies(key, candidate, now))


def _may_announce(key: PublicKey, now: int) -> bool:
    """Check rule 3."""
    return not key.revoked and (key.expires is None or now < key.expires)


def _certifies(key: PublicKey, candidate: KeyPackets, now: int) -> bool:
    newest: Dict[bytes, Signature] = {}
    for user_id, signature in _about_user_ids(key, candidate):
        document = framed(candidate.primary) + b"\xb4" + len(user_id).to_bytes(4, "big") + user_id
        if (user_id not in newest or signature.made >= newest[user_id].made) and is_made_by(key, signature, document):
            newest[user_id] = signature
    return any(last.kind in CERTIFICATIONS and not (last.expires_after and now >= last.made + last.expires_after)
               for last in newest.values())


def _about_user_ids(key: PublicKey, candidate: KeyPackets) -> List[Tuple[bytes, Signature]]:
    """Return the user ids that this key says something about, and what, as far as rule 2 can be checked by form."""
    found: List[Tuple[bytes, Signature]] = []
    user_id = b""
    for tag, body in candidate.following:
        if tag != packets.TAG_SIGNATURE:
            user_id = body if tag == packets.TAG_USER_ID and len(body) <= MAX_USER_ID_BYTES else b""
            continue
        try:
            signature = packets.read_signature(body)
        except TrustError:
            continue  # of a version that nobody can use here
        if user_id and signature.version == 4 and signature.flaw is None and signature.digest in STRONG_DIGESTS and (
                packets.names(signature, key.fingerprint)) and signature.kind in (*CERTIFICATIONS, CERTIFICATION_REVOCATION):
            found.append((user_id, signature))
    return found
