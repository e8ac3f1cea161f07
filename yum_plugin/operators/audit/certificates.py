"""The parts of a certificate that an audit needs, read once; and the relations between two certificates as OpenSSL defines them.

Certificates come from an unknown server: one that cannot be read is counted, and never causes a crash.
"""
from ipaddress import ip_address
from typing import Any, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

from ...net.tls_chain import time_of

MAX_CERTIFICATE_BYTES = 32 * 1024  # usual ones have 1 to 2 KiB
MAX_SERVED = 16  # certificates read of one chain; real chains have two or three
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion,
               x509.UnsupportedGeneralNameType)


class ChainCertificate(NamedTuple):
    """A certificate that was served, or of a store."""

    subject: str  # RFC 4514, in lower case, as OpenSSL compares names
    issuer: str
    name: str  # of the subject, to be shown
    issuer_name: str
    not_before: int  # seconds since 1970
    not_after: int
    key_id: bytes = b""  # subject key identifier; b"" if it has none
    authority_key_id: bytes = b""
    may_sign: bool = True  # keyUsage, if present, allows it to sign certificates
    hosts: Tuple[str, ...] = ()  # subject alternative names: DNS names and addresses
    key: str = ""  # kind and bits, e.g. "RSA 2048"
    weakness: str = ""  # why its key or its signature is too weak
    der: bytes = b""
    parsed: Any = None  # cryptography's; None for a root that is known by its name only


def read_certificate(der: bytes) -> Optional[ChainCertificate]:
    """Read a certificate; None if that cannot be done."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        return None
    try:
        return _read(der, x509.load_der_x509_certificate(der))
    except _UNREADABLE:
        return None


def _read(der: bytes, parsed: x509.Certificate) -> ChainCertificate:
    key_id, authority = _extension(parsed, x509.SubjectKeyIdentifier), _extension(parsed, x509.AuthorityKeyIdentifier)
    usage = _extension(parsed, x509.KeyUsage)
    key, weakness = _strength(parsed)
    return ChainCertificate(
        comparable(parsed.subject), comparable(parsed.issuer), _short(parsed.subject), _short(parsed.issuer),
        time_of(parsed, "not_valid_before"), time_of(parsed, "not_valid_after"),
        key_id.digest if key_id else b"", (authority.key_identifier or b"") if authority else b"",
        usage is None or bool(usage.key_cert_sign), _hosts(parsed), key, weakness, der, parsed)


def _extension(parsed: x509.Certificate, kind: Any) -> Any:
    try:
        return parsed.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def comparable(name: x509.Name) -> str:
    """Return a name in canonical form (as OpenSSL's X509_NAME_cmp: letter case and spaces do not count)."""
    return " ".join(name.rfc4514_string().lower().split())


def _short(name: x509.Name) -> str:
    for oid in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATIONAL_UNIT_NAME, x509.NameOID.ORGANIZATION_NAME):
        found = name.get_attributes_for_oid(oid)
        if found:
            return str(found[0].value)
    return name.rfc4514_string() or "(no name)"


def _hosts(parsed: x509.Certificate) -> Tuple[str, ...]:
    names = _extension(parsed, x509.SubjectAlternativeName)
    if names is None:
        return ()
    return tuple(str(name).lower() for kind in (x509.DNSName, x509.IPAddress) for name in names.get_values_for_type(kind))


def _strength(parsed: x509.Certificate) -> Tuple[str, str]:
    """Return the kind of key, and what is too weak (CA/Browser Forum, Baseline Requirements 6.1.5 and 7.1.3.2)."""
    key = parsed.public_key()
    kind, bits, least = type(key).__name__.strip("_").replace("PublicKey", ""), getattr(key, "key_size", 0), 0
    if isinstance(key, rsa.RSAPublicKey):
        kind, least = "RSA", 2048
    elif isinstance(key, ec.EllipticCurvePublicKey):
        kind, least = "EC", 256
    elif isinstance(key, dsa.DSAPublicKey):
        return "DSA {}".format(bits), "a DSA key"
    words = "{} {}".format(kind, bits) if bits else kind
    if bits < least:
        return words, "a key of {} bits".format(bits)
    digest = parsed.signature_hash_algorithm
    if digest is not None and digest.name in ("md5", "sha1"):
        return words, "signed with {}".format(digest.name.upper())
    return words, ""


def is_issuer(issuer: ChainCertificate, child: ChainCertificate) -> bool:
    """Whether ``issuer`` may have issued ``child``, judged by names and identifiers as X509_check_issued of OpenSSL does."""
    if issuer.subject != child.issuer or not issuer.may_sign:
        return False
    return not (issuer.key_id and child.authority_key_id) or issuer.key_id == child.authority_key_id


def is_self_issued(certificate: ChainCertificate) -> bool:
    """Whether it names itself as its issuer (OpenSSL: EXFLAG_SI)."""
    return certificate.subject == certificate.issuer


def is_self_signed(certificate: ChainCertificate) -> bool:
    """Whether it does so and is allowed to, as a root (OpenSSL: EXFLAG_SS)."""
    return is_issuer(certificate, certificate)


def has_signed(issuer: ChainCertificate, child: ChainCertificate) -> bool:
    """Whether the key of ``issuer`` made the signature of ``child``; assumed for a root that is known by its name only."""
    if issuer.parsed is None or child.parsed is None:
        return True
    try:
        _verify(issuer.parsed.public_key(), child.parsed)
    except (InvalidSignature,) + _UNREADABLE:
        return False
    return True


def _verify(key: Any, child: x509.Certificate) -> None:
    """Raise InvalidSignature unless ``key`` has signed; cryptography has verify_directly_issued_by only since 40."""
    signed, digest = (child.signature, child.tbs_certificate_bytes), child.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey):
        chosen = getattr(child, "signature_algorithm_parameters", None)  # since 41; before, PSS counts as a bad signature
        key.verify(*signed, chosen or padding.PKCS1v15(), digest)  # type: ignore[arg-type]
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(*signed, ec.ECDSA(digest))  # type: ignore[arg-type]
    else:  # Ed25519 and Ed448; anything else takes other arguments, which is a TypeError
        key.verify(*signed)


def is_for_host(certificate: ChainCertificate, host: str) -> bool:
    """Whether a certificate names a host (RFC 6125 section 6.4); a "*" stands for one whole label."""
    wanted = host.strip("[]").lower().rstrip(".")
    try:
        address = str(ip_address(wanted))
        return address in certificate.hosts
    except ValueError:
        parent = wanted.partition(".")[2]
    return wanted in certificate.hosts or ("." in parent and "*." + parent in certificate.hosts)


def read_chain(served: Sequence[bytes]) -> Tuple[List[ChainCertificate], int]:
    """Read a chain as served.

    Returns:
        Those that can be read, in order, and how many cannot, or are more than MAX_SERVED.
    """
    found = [certificate for certificate in map(read_certificate, served[:MAX_SERVED]) if certificate is not None]
    return found, len(served) - len(found)


def read_store(roots: Iterable[bytes]) -> List[ChainCertificate]:
    """Read the roots of a store; what cannot be read is left out."""
    return [certificate for certificate in map(read_certificate, roots) if certificate is not None]
