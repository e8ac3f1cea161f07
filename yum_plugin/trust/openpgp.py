"""Whether a file is signed by a pinned key.

A file is believed only if every signature beside it obeys all of these rules, checked in this order:
    1. The signature file is at most 64 KiB, binary or one armored block, and holds 1 to 4 V4 signature packets
       and not a byte more (``armor``, ``packets``). V3 signatures are read only inside RPM files.
    2. It is of type 0x00, "binary document". A key's other signatures are no statements about a file.
    3. Its digest is SHA-256, SHA-384 or SHA-512.
    4. It names at least one issuer, and all issuers that it names are one pinned primary key. Subkeys sign nothing here.
    5. That key is neither revoked nor expired, and has the signature's algorithm.
    6. The digest over the file and the signature's own bytes starts with the 16 bits that the signature states,
       and the signature's numbers verify it.
    7. It was made between the key's creation and now + 24 h, before the key expired, and has not expired itself.
Rules 1 to 5 are checked before the file is read, 6 and 7 after; 7 comes last, because a date means
something only once it is proven who wrote it.

Pure.
"""
from typing import NamedTuple, Sequence

from ..errors import TrustError
from .armor import dearmor
from .hashing import new_hash, require_strong
from .keys import PublicKey
from .packets import Signature, names_only, read_signatures
from .publickey import verify_digest

MAX_CLOCK_SKEW_SECONDS = 24 * 3600  # more than any time zone: a clock set to local time still works
_BINARY_DOCUMENT = 0x00  # RFC 9580 section 5.2.1.1


class Verdict(NamedTuple):
    """A proof: this file is signed by this key."""

    signed_at: int  # seconds since 1970; of the newest one, if several were made
    fingerprint: str  # of the pinned primary key, 40 upper-case hex digits
    digest: str  # "sha256", "sha384" or "sha512"


class Verifier:
    """Proves signatures over a document that arrives in pieces.

    Call ``update`` with the document's bytes in order, then ``finish``: only its return value is a proof.

    Args:
        signatures: as ``packets.read_signatures`` returns them; all must be good.
        keys: the pinned keys.
        now: seconds since 1970.

    Raises:
        TrustError: rules 2 to 5 of this module are broken: "signature-missing", "wrong-signature-type",
            "weak-digest", "unsupported", "unknown-key", "key-revoked", "key-expired" or "signature-invalid".
    """

    def __init__(self, signatures: Sequence[Signature], keys: Sequence[PublicKey], now: int) -> None:
        if not signatures:
            raise TrustError("signature-missing", "there is no signature")
        self._now = now
        self._claims = [(signature, _claimed_key(signature, keys, now)) for signature in signatures]
        self._hashes = {signature.digest: new_hash(signature.digest) for signature in signatures}

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the document, any number of them."""
        for running in self._hashes.values():
            running.update(chunk)

    def finish(self) -> Verdict:
        """Prove every signature over the bytes that ``update`` has taken.

        Returns:
            The verdict: the document is what the key's owner signed.

        Raises:
            TrustError: rule 6 or 7 is broken: "signature-invalid", "signature-from-future",
                "signature-expired", "key-expired" or "unsupported".
        """
        verdicts = [self._prove(signature, key) for signature, key in self._claims]
        return max(verdicts, key=lambda verdict: verdict.signed_at)

    def _prove(self, signature: Signature, key: PublicKey) -> Verdict:
        running = self._hashes[signature.digest].copy()
        running.update(signature.trailer)
        digest = running.digest()
        if digest[:2] != signature.left16:
            raise TrustError("signature-invalid", "the signature was made over other bytes", key.fingerprint)
        verify_digest(key.material, key.algorithm, signature.digest, digest, signature.numbers)
        _check_dates(signature, key, self._now)
        return Verdict(signature.made, key.fingerprint, signature.digest)


class DetachedVerifier(Verifier):
    """Proves a detached signature over a document that arrives in pieces.

    Args:
        signature: the bytes of the .asc or .sig file.
        keys: the pinned keys.
        now: seconds since 1970.

    Raises:
        TrustError: rules 1 to 5 of this module are broken: as ``Verifier``, and "malformed".
    """

    def __init__(self, signature: bytes, keys: Sequence[PublicKey], now: int) -> None:
        super().__init__(read_signatures(dearmor(signature)), keys, now)


def verify_detached(document: bytes, signature: bytes, keys: Sequence[PublicKey], now: int) -> Verdict:
    """Prove that a document is signed by a pinned key.

    Args:
        document: its exact bytes.
        signature: the bytes of its .asc or .sig file.
        keys: the pinned keys.
        now: seconds since 1970.

    Returns:
        The verdict; nothing else proves a signature.

    Raises:
        TrustError: the first rule of this module that is broken.
    """
    verifier = DetachedVerifier(signature, keys, now)
    verifier.update(document)
    return verifier.finish()


def _claimed_key(signature: Signature, keys: Sequence[PublicKey], now: int) -> PublicKey:
    """Return the pinned key that the signature names, after rules 2 to 5."""
    if signature.kind != _BINARY_DOCUMENT:
        raise TrustError("wrong-signature-type", "a signature of type 0x{:02x} is not one over a file".format(signature.kind))
    require_strong(signature.digest)
    key = _named_key(signature, keys)
    if key.revoked:
        raise TrustError("key-revoked", "the key was revoked by its owner", key.fingerprint)
    _check_key_expiry(key, now)
    if key.algorithm != signature.algorithm:
        raise TrustError("signature-invalid", "a {} signature by a key for {}".format(signature.algorithm, key.algorithm))
    return key


def _named_key(signature: Signature, keys: Sequence[PublicKey]) -> PublicKey:
    for key in keys:
        if names_only(signature, key.fingerprint):
            return key
    names = ", ".join(sorted(set(signature.issuers))) or "nobody"
    raise TrustError("unknown-key", "the signature is by a key that is not pinned", names)


def _check_key_expiry(key: PublicKey, moment: int) -> None:
    if key.expires is not None and moment >= key.expires:
        raise TrustError("key-expired", "the key has expired", key.fingerprint)


def _check_dates(signature: Signature, key: PublicKey, now: int) -> None:
    """Check rule 7."""
    if signature.made < key.created:
        raise TrustError("signature-invalid", "the signature is dated before its key was made", key.fingerprint)
    if signature.made > now + MAX_CLOCK_SKEW_SECONDS:
        raise TrustError("signature-from-future", "the signature was made more than 24 h in the future")
    _check_key_expiry(key, signature.made)
    if signature.expires_after and now >= signature.made + signature.expires_after:
        raise TrustError("signature-expired", "the signature has expired", key.fingerprint)
