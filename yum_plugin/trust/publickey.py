"""Verifies a signature's numbers over a digest; ``cryptography`` does the public-key mathematics.

Its parts are imported where they are used, because importing all of them takes tens of milliseconds.

Pure.
"""
from typing import Any, Tuple

from ..errors import TrustError


def verify_digest(material: Any, algorithm: str, digest_name: str, digest: bytes, numbers: Tuple[int, ...]) -> None:
    """Verify a signature over a digest that is already computed.

    Args:
        material: the public key, an object of ``cryptography`` that belongs to ``algorithm``.
        algorithm: a value of ``packets.ALGORITHMS``.
        digest_name: as hashlib names it.
        digest: its value.
        numbers: the signature's multiprecision integers (RFC 9580 section 5.2.3).

    Raises:
        TrustError: "signature-invalid", or "unsupported": this platform refuses such signatures.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    prehashed = Prehashed(getattr(hashes, digest_name.upper())())
    try:
        _VERIFIERS[algorithm](material, prehashed, digest, numbers)
    except (InvalidSignature, OverflowError) as error:  # OverflowError: a number longer than the key's own
        raise TrustError("signature-invalid", "the signature is not by this key over this file") from error
    except UnsupportedAlgorithm as error:
        raise TrustError("unsupported", "this host does not verify {} with {}".format(algorithm, digest_name)) from error


def _verify_rsa(material: Any, prehashed: Any, digest: bytes, numbers: Tuple[int, ...]) -> None:
    """PKCS#1 v1.5, RFC 9580 section 5.2.3.1."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    material.verify(numbers[0].to_bytes((material.key_size + 7) // 8, "big"), digest, PKCS1v15(), prehashed)


def _verify_dsa(material: Any, prehashed: Any, digest: bytes, numbers: Tuple[int, ...]) -> None:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    material.verify(encode_dss_signature(*numbers), digest, prehashed)


def _verify_ecdsa(material: Any, prehashed: Any, digest: bytes, numbers: Tuple[int, ...]) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    material.verify(encode_dss_signature(*numbers), digest, ECDSA(prehashed))


def _verify_eddsa(material: Any, prehashed: Any, digest: bytes, numbers: Tuple[int, ...]) -> None:
    """Ed25519 signs the digest itself; R and S, stored as numbers, lost their leading zeros (RFC 9580 section 5.2.3.3)."""
    material.verify(b"".join(number.to_bytes(32, "big") for number in numbers), digest)


_VERIFIERS = {"RSA": _verify_rsa, "DSA": _verify_dsa, "ECDSA": _verify_ecdsa, "EdDSA": _verify_eddsa}
