"""Whether a file is signed by a pinned key.

    1. A file is believed if at least one of the signatures beside it counts, and none is bad. Their order never matters.
    2. The signature file is at most 64 KiB, and has at most 64 signatures of version 3 or 4, binary or armored, whatever
       stands beside them (``armor``, ``packets``). What cannot be read does not count.
    3. Of those, the ones that matter name a pinned key as an issuer, by fingerprint or key id: a primary key, or a subkey
       that is bound to one (``keys``, rule 5). The others are somebody else's, and do not count.
    4. One of type 0x00, "binary document", with SHA-256, SHA-384 or SHA-512, is bad if the digest over the file and the
       signature's own bytes does not start with the 16 bits that the signature states, or its numbers do not verify it by a
       key that it names. Other types are no statements about a file, and other digests prove nothing: they do not count.
    5. One that is not bad counts if it has no flaw (a critical subpacket that is not known, no signed date), and its key and
       the primary key that vouches for that may sign, and are neither revoked nor expired,
    6. and if it was made after the key's creation and before the key expired, and has not expired itself. One from the future
       counts: this host's clock may be wrong, and what follows from its date is the caller's to decide (freshness, rule 1).
       This comes last, because a date means something only once it is proven who wrote it.
What does not count is named in the verdict, and is the error if nothing counts.

Pure.
"""
from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

from ..errors import TrustError
from .armor import read_blocks
from .hashing import new_hash, require_strong
from .keys import PublicKey, Subkey
from .packets import Signature, names, read_signatures
from .publickey import verify_digest

_BINARY_DOCUMENT = 0x00  # RFC 9580 section 5.2.1.1
# Of several reasons the one that concerns the pinned key most is reported
_MOST_TELLING_FIRST = ("signature-invalid", "key-revoked", "key-expired", "signature-expired",
                       "key-invalid", "weak-digest", "wrong-signature-type", "unknown-key", "unsupported", "malformed",
                       "signature-missing")


class OtherBytes(TrustError):
    """The signature may be good: it is not one over this document."""


class Verdict(NamedTuple):
    """A proof: this file is signed by this key."""

    signed_at: int  # seconds since 1970; of the newest signature that counts
    fingerprint: str  # of the pinned primary key, 40 upper-case hex digits
    digest: str  # "sha256", "sha384" or "sha512"
    ignored: Tuple[str, ...] = ()  # why other signatures beside it did not count, for -v and the log


class _Signer(NamedTuple):
    """A key that may have made a signature, and the pinned primary key that vouches for it, often itself."""

    key: Union[PublicKey, Subkey]
    primary: PublicKey


class _Claim(NamedTuple):
    """A signature that names pinned keys, and must not be bad."""

    signature: Signature
    signers: Sequence[_Signer]


class Verifier:
    """Proves signatures over a document that arrives in pieces.

    Call ``update`` with the document's bytes in order, then ``finish``: only its return value is a proof.

    Args:
        signatures: as ``packets.read_signatures`` returns them.
        keys: the pinned keys.
        now: seconds since 1970.
    """

    def __init__(self, signatures: Sequence[Union[Signature, TrustError]], keys: Sequence[PublicKey], now: int) -> None:
        self._now = now
        self._claims: List[_Claim] = []
        self._ignored: List[TrustError] = []
        signers = [_Signer(primary, primary) for primary in keys]
        signers += [_Signer(subkey, primary) for primary in keys for subkey in primary.subkeys]
        for signature in signatures:
            try:
                self._claims.append(_read_claim(signature, signers))
            except TrustError as error:
                self._ignored.append(error)
        self._hashes = {claim.signature.digest: new_hash(claim.signature.digest) for claim in self._claims}

    @property
    def is_empty(self) -> bool:
        """Whether there is no signature at all."""
        return not self._claims and not self._ignored

    @property
    def may_count(self) -> bool:
        """Whether any of the signatures counts if it is not bad."""
        return any(_obstacle(claim.signature, signer, self._now) is None for claim in self._claims for signer in claim.signers)

    def hopeless(self) -> Optional[TrustError]:
        """Return why none of the signatures can count, whatever the document is (rules 2 to 5); None if one may.

        Its reference is "signature-missing", "wrong-signature-type", "weak-digest", "unsupported", "malformed",
        "unknown-key", "key-revoked", "key-expired" or "key-invalid".
        """
        obstacles = [_early_obstacle(claim.signature, signer, self._now) for claim in self._claims for signer in claim.signers]
        return self._most_telling([error for error in obstacles if error]) if all(obstacles) else None

    def _most_telling(self, obstacles: Sequence[TrustError]) -> TrustError:
        return most_telling([*obstacles, *self._ignored, TrustError("signature-missing", "there is no signature")])

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the document, any number of them."""
        for running in self._hashes.values():
            running.update(chunk)

    def finish(self) -> Verdict:
        """Prove the signatures over the bytes that ``update`` has taken.

        Returns:
            The verdict: the document is what the key's owner signed.

        Raises:
            TrustError: "signature-invalid": one is bad; or why none counts.
        """
        result = self.prove()
        if isinstance(result, TrustError):
            raise result
        return result

    def prove(self) -> Union[Verdict, TrustError]:
        """Do as ``finish``, but return why none counts; only a bad signature is raised."""
        verdicts: List[Verdict] = []
        obstacles: List[TrustError] = []
        for signature, signers in self._claims:
            try:
                signer = self._maker(signature, signers)
            except TrustError as error:
                if error.reference != "unsupported":
                    raise
                obstacles.append(error)
                continue
            obstacle = _obstacle(signature, signer, self._now)
            if obstacle is None:
                verdicts.append(Verdict(signature.made, signer.primary.fingerprint, signature.digest))
            else:
                obstacles.append(obstacle)
        if not verdicts:
            return self._most_telling(obstacles)
        newest = max(verdicts, key=lambda verdict: verdict.signed_at)
        return newest._replace(ignored=tuple(told(error) for error in [*self._ignored, *obstacles]))

    def _maker(self, signature: Signature, signers: Sequence[_Signer]) -> _Signer:
        """Return the one who has made a signature over the document (rule 4)."""
        running = self._hashes[signature.digest].copy()
        running.update(signature.trailer)
        digest = running.digest()
        if digest[:2] != signature.left16:
            raise OtherBytes("signature-invalid", "the signature was made over other bytes", signers[0].primary.fingerprint)
        problems: List[TrustError] = []
        for signer in signers:
            try:
                if signer.key.algorithm != signature.algorithm:
                    what = "a signature of {} by a key for {}".format(signature.algorithm, signer.key.algorithm)
                    raise TrustError("signature-invalid", what, signer.primary.fingerprint)
                verify_digest(signer.key.material, signature.algorithm, signature.digest, digest, signature.numbers)
                return signer
            except TrustError as error:
                problems.append(error)
        raise next((error for error in problems if error.reference == "unsupported"), problems[0])


class DetachedVerifier(Verifier):
    """Proves a detached signature over a document that arrives in pieces.

    Args:
        signature: the bytes of the .asc or .sig file.
        keys: the pinned keys.
        now: seconds since 1970.

    Raises:
        TrustError: as ``hopeless`` returns it.
    """

    def __init__(self, signature: bytes, keys: Sequence[PublicKey], now: int) -> None:
        super().__init__(read_signatures(read_blocks(signature)), keys, now)
        error = self.hopeless()
        if error is not None:
            raise error


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
        TrustError: as ``Verifier.finish``.
    """
    verifier = DetachedVerifier(signature, keys, now)
    verifier.update(document)
    return verifier.finish()


def most_telling(errors: Sequence[TrustError]) -> TrustError:
    """Return the one of several errors that says most about the pinned key."""
    return min(errors, key=lambda error: _MOST_TELLING_FIRST.index(error.reference))


def told(error: TrustError) -> str:
    """Return in words why a signature does not count."""
    return "{}: {}{}".format(error.reference, error.what, " ({})".format(error.where) if error.where else "")


def _read_claim(signature: Union[Signature, TrustError], signers: Sequence[_Signer]) -> _Claim:
    """Check what of rules 2 to 4 does not depend on the document."""
    if isinstance(signature, TrustError):
        raise signature
    named = [signer for signer in signers if names(signature, signer.key.fingerprint)]
    if not named:
        issuers = ", ".join(sorted(set(signature.issuers))) or "nobody"
        raise TrustError("unknown-key", "the signature is by a key that is not pinned", issuers)
    if signature.kind != _BINARY_DOCUMENT:
        raise TrustError("wrong-signature-type", "a signature of type 0x{:02x} is not one over a file".format(signature.kind))
    if not (signature.algorithm and signature.digest):
        raise signature.flaw or TrustError("unsupported", "a signature of an unknown kind")
    require_strong(signature.digest)
    return _Claim(signature, named)


def _early_obstacle(signature: Signature, signer: _Signer, now: int) -> Optional[TrustError]:
    """Check rule 5."""
    primary, key = signer.primary, signer.key
    if signature.flaw is not None:
        return signature.flaw
    if primary.revoked or key.revoked:
        return TrustError("key-revoked", "the key was revoked by its owner", key.fingerprint)
    if not key.may_sign:
        return TrustError("key-invalid", "the key is not for signing", key.fingerprint)
    return _expired_key(signer, now)


def _expired_key(signer: _Signer, moment: int) -> Optional[TrustError]:
    for key in (signer.primary, signer.key):
        if key.expires is not None and moment >= key.expires:
            return TrustError("key-expired", "the key has expired", key.fingerprint)
    return None


def _obstacle(signature: Signature, signer: _Signer, now: int) -> Optional[TrustError]:
    """Check rules 5 and 6."""
    obstacle = _early_obstacle(signature, signer, now)
    if obstacle is not None:
        return obstacle
    if signature.made < signer.key.created:
        return TrustError("signature-invalid", "the signature is dated before its key was made", signer.key.fingerprint)
    if signature.expires_after and now >= signature.made + signature.expires_after:
        return TrustError("signature-expired", "the signature has expired", signer.key.fingerprint)
    return _expired_key(signer, signature.made)
