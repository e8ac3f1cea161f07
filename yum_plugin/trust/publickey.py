"""Loads public keys, and verifies a signature's numbers over a digest; ``cryptography`` does the mathematics.

Its parts are imported where they are used, because importing all of them takes tens of milliseconds.

Pure.
"""
import warnings
from typing import Any, Optional, Tuple

from ..errors import TrustError
from .packets import ALGORITHMS, read_key_numbers

# What libraries raise for a key that they do not understand; there is no common base class.
_KEY_ERRORS = (ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError, TrustError)
# Object identifiers of the curves that PGPy may refuse, RFC 9580 section 9.2 -> their names in ``cryptography``
_CURVES = {
    "2b2403030208010107": "BrainpoolP256R1",
    "2b240303020801010b": "BrainpoolP384R1",
    "2b240303020801010d": "BrainpoolP512R1",
}


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


def load_material(body: bytes) -> Any:
    """Make the public key of a V4 key packet (RFC 9580 sections 5.5.2.2 and 5.5.5).

    PGPy reads all but RSA keys, of which importing it at each start costs too much to read two numbers; what PGPy refuses,
    as it refuses Brainpool curves with newer versions of ``cryptography``, is read here.

    Args:
        body: of the packet; its algorithm is one of ``packets.ALGORITHMS``.

    Raises:
        TrustError: "key-invalid".
    """
    readers = (_load_rsa,) if ALGORITHMS[body[5]] == "RSA" else (_load_by_pgpy, _load_curve)
    problem: Optional[Exception] = None
    for reader in readers:
        with warnings.catch_warnings():  # importing cryptography 40 warns that Python 3.6 is old, PGPy of unused ciphers
            warnings.simplefilter("ignore")
            try:
                return reader(body)
            except _KEY_ERRORS as error:
                problem = problem or error
    raise TrustError("key-invalid", "the key cannot be read: {}".format(problem)) from problem


def _load_rsa(body: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    modulus, exponent = read_key_numbers(body[6:], 2)
    return RSAPublicNumbers(exponent, modulus).public_key()


def _load_by_pgpy(body: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from pgpy.errors import PGPError
    from pgpy.packet import Packet

    try:
        packet = Packet(bytearray(b"\xc6\xff" + len(body).to_bytes(4, "big") + body))
        return packet.keymaterial.__pubkey__()
    except (PGPError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from error


def _load_curve(body: bytes) -> Any:
    """Read an ECDSA key: a curve by its identifier, and an uncompressed point on it (RFC 9580 sections 5.5.5.4 and 9.2)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    end = 7 + body[6]
    name = _CURVES.get(body[7:end].hex(), "") if ALGORITHMS[body[5]] == "ECDSA" else ""
    if not name:
        raise ValueError("an unknown curve")
    (point,) = read_key_numbers(body[end:], 1)
    try:
        curve = getattr(ec, name)()
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, point.to_bytes(1 + 2 * ((curve.key_size + 7) // 8), "big"))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
