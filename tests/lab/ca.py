"""A private certificate authority: one root, one intermediate, and leaves that are good or wrong in one way.

``cryptography`` is imported when a certificate is made, so that help texts work without it.
"""
import os
import ssl
import threading
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any, Dict, Sequence, Tuple

GOOD = "good"
WRONG_ADDRESS = "192.0.2.1"  # for documentation only (RFC 5737)
KINDS: Dict[str, str] = {
    GOOD: "valid for the address, complete chain",
    "expired": "ended ten days ago",
    "wrong-host": "valid, but for another name and address",
    "self-signed": "signed by its own key",
    "incomplete": "valid, but the intermediate certificate is not sent",
}


class CertificateAuthority:
    """Makes certificates below ``folder`` on first use and hands out TLS contexts for servers.

    Args:
        folder: where keys and certificates are kept.
        present: seconds since 1970 around which the certificates are valid.
    """

    def __init__(self, folder: str, present: int) -> None:
        self.folder = folder
        self._now = datetime.fromtimestamp(present, timezone.utc).replace(tzinfo=None)
        self._contexts: Dict[Tuple[str, str], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(self.bundle):
            self._make_authority()

    @property
    def bundle(self) -> str:
        """The root certificate, as a file for ``sslcacert=``."""
        return os.path.join(self.folder, "root.pem")

    def context(self, address: str, kind: str = GOOD) -> ssl.SSLContext:
        """Return a server's TLS context with a leaf certificate for ``address`` of the given kind."""
        with self._lock:
            if (address, kind) not in self._contexts:
                path = os.path.join(self.folder, "{}-{}.pem".format(kind, address.replace(":", "_")))
                if not os.path.exists(path):
                    _write(path, self._leaf(address, kind))
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(path)
                self._contexts[address, kind] = context
            return self._contexts[address, kind]

    def _make_authority(self) -> None:
        root_key, key = new_key(), new_key()
        root = self._certificate("Lab Root CA", root_key, "Lab Root CA", root_key, authority=True)
        intermediate = self._certificate("Lab Intermediate CA", key, "Lab Root CA", root_key, authority=True)
        _write(os.path.join(self.folder, "intermediate.pem"), pem(intermediate))
        _write(os.path.join(self.folder, "intermediate.key"), pem_key(key))
        _write(self.bundle, pem(root))

    def _leaf(self, address: str, kind: str) -> bytes:
        """Return key, leaf and what else this kind of server sends, in PEM."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        with open(os.path.join(self.folder, "intermediate.key"), "rb") as stream:
            issuer_key = load_pem_private_key(stream.read(), None)
        with open(os.path.join(self.folder, "intermediate.pem"), "rb") as stream:
            intermediate = stream.read()
        key = new_key()
        name = WRONG_ADDRESS if kind == "wrong-host" else address
        days = -10 if kind == "expired" else 90
        if kind == "self-signed":
            return pem_key(key) + pem(self._certificate(name, key, name, key, days))
        leaf = pem(self._certificate(name, key, "Lab Intermediate CA", issuer_key, days))
        return pem_key(key) + leaf + (b"" if kind == "incomplete" else intermediate)

    def _certificate(self, subject: str, key: Any, issuer: str, issuer_key: Any, days: int = 90, authority: bool = False) -> Any:
        names = () if authority else (subject, "wrong.invalid" if subject == WRONG_ADDRESS else "localhost")
        times = (self._now - timedelta(days=100), self._now + timedelta(days=days))
        return make_certificate(common_name(subject), key, common_name(issuer), issuer_key, times, names)


def make_certificate(subject: Any, key: Any, issuer: Any, issuer_key: Any, times: Tuple[datetime, datetime],
                     names: Sequence[str] = (), forger_key: Any = None) -> Any:
    """Make a certificate.

    Args:
        subject: its name, as cryptography has it.
        key: its private key.
        issuer: the issuer's name.
        issuer_key: the issuer's private key.
        times: begin and end of its validity, UTC without a zone.
        names: host names and addresses that it is for; empty: it is an authority's.
        forger_key: what really signs it, if that is not the issuer's.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(times[0])
        .not_valid_after(times[1])
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(name) for name in names]), critical=False)
    builder = builder.add_extension(_usage(not names), critical=True)
    return builder.sign(forger_key or issuer_key, hashes.SHA256())


def _host(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(authority: bool) -> Any:
    from cryptography import x509

    off = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **dict.fromkeys(off, False))


def common_name(text: str, organization: str = "") -> Any:
    """Return a name, as cryptography has it."""
    from cryptography import x509

    parts = [(x509.NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts + [(x509.NameOID.COMMON_NAME, text)]])


def new_key() -> Any:
    """Make a private key."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def pem(certificate: Any) -> bytes:
    """Write a certificate down."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.PEM))


def pem_key(key: Any) -> bytes:
    """Write a private key down, in the clear."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
