"""A private certificate authority: one root, one intermediate, and leaves that are good or wrong in one way.

``cryptography`` is imported when a certificate is made, so that help texts work without it.
"""
import os
import ssl
import threading
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any, Dict, Tuple

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
        root_key, key = _new_key(), _new_key()
        root = self._certificate("Lab Root CA", root_key, "Lab Root CA", root_key, authority=True)
        intermediate = self._certificate("Lab Intermediate CA", key, "Lab Root CA", root_key, authority=True)
        _write(os.path.join(self.folder, "intermediate.pem"), _pem(intermediate))
        _write(os.path.join(self.folder, "intermediate.key"), _pem_key(key))
        _write(self.bundle, _pem(root))

    def _leaf(self, address: str, kind: str) -> bytes:
        """Return key, leaf and what else this kind of server sends, in PEM."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        with open(os.path.join(self.folder, "intermediate.key"), "rb") as stream:
            issuer_key = load_pem_private_key(stream.read(), None)
        with open(os.path.join(self.folder, "intermediate.pem"), "rb") as stream:
            intermediate = stream.read()
        key = _new_key()
        name = WRONG_ADDRESS if kind == "wrong-host" else address
        days = -10 if kind == "expired" else 90
        if kind == "self-signed":
            return _pem_key(key) + _pem(self._certificate(name, key, name, key, days))
        leaf = _pem(self._certificate(name, key, "Lab Intermediate CA", issuer_key, days))
        return _pem_key(key) + leaf + (b"" if kind == "incomplete" else intermediate)

    def _certificate(self, subject: str, key: Any, issuer: str, issuer_key: Any, days: int = 90, authority: bool = False) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(days=100))
            .not_valid_after(self._now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if authority:
            builder = builder.add_extension(_ca_usage(), critical=True)
        else:
            host = "wrong.invalid" if subject == WRONG_ADDRESS else "localhost"
            names = [x509.IPAddress(ip_address(subject)), x509.DNSName(host)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())


def _ca_usage() -> Any:
    from cryptography import x509

    off = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    rest = dict.fromkeys(off + ("encipher_only", "decipher_only"), False)
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **rest)


def _name(text: str) -> Any:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.PEM))


def _pem_key(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
