"""The certificate that a server presents, valid or not: for diagnosis and reports only, never for trust."""
import hashlib
import re
import socket
from typing import Any, Mapping, NamedTuple, Tuple

from ..errors import FetchError
from ..model import Network
from ..util.text import MAX_TIME
from ..util.urls import host_of
from .connect import clean_address, connect_to
from .tls_chain import time_of, unchecked_context
from .translate import translate

MAX_NAMES = 20
MAX_TEXT_CHARACTERS = 1000
_DIGEST = re.compile("[0-9a-f]{64}\\Z")


class ServedCertificate(NamedTuple):
    """The content of a server's own certificate; the server chose its texts."""

    sha256: str  # of the DER form: the fingerprint, 64 lower-case hex digits
    subject: str  # RFC 4514
    issuer: str
    names: Tuple[str, ...]  # subject alternative names, MAX_NAMES at most
    not_before: int  # seconds since 1970
    not_after: int
    protocol: str  # e.g. "TLSv1.3"
    address: str  # of the server that answered


def served_certificate(url: str, network: Network, timeout_seconds: float) -> ServedCertificate:
    """Make a TLS handshake without verification, and read the certificate.

    Args:
        url: of the server.
        network: for ip_resolve, and for where a list may lead.
        timeout_seconds: for connecting, and for each step of the handshake.

    Raises:
        FetchError: there is no connection, no TLS, or no certificate that can be read.
    """
    try:
        with connect_to(url, network, timeout_seconds) as sock:
            sock.settimeout(timeout_seconds)
            address = str(sock.getpeername()[0])
            with unchecked_context().wrap_socket(sock, server_hostname=host_of(url)) as secure:
                der, protocol = secure.getpeercert(binary_form=True), secure.version()
    except socket.timeout:
        raise FetchError("timed-out", "no TLS handshake in time", where=url)
    except (OSError, ValueError) as error:
        raise translate(error, url)
    try:
        return _described(der or b"", protocol or "", address)
    except ValueError:
        raise FetchError("tls-failed", "TLS failed: the certificate cannot be read", where=url)


def clean_certificate(said: Mapping[str, Any]) -> ServedCertificate:
    """Check the values that another process sent, and return the certificate that they describe.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: they describe none.
    """
    texts = [str(said[name])[:MAX_TEXT_CHARACTERS] for name in ("subject", "issuer", "protocol")]
    names = tuple(str(name)[:MAX_TEXT_CHARACTERS] for name in said["names"][:MAX_NAMES])
    begin, end = int(said["not_before"]), int(said["not_after"])
    if not (_DIGEST.match(said["sha256"]) and max(abs(begin), abs(end)) <= MAX_TIME):
        raise ValueError("no certificate")
    return ServedCertificate(said["sha256"], texts[0], texts[1], names, begin, end, texts[2], clean_address(said["address"]))


def _described(der: bytes, protocol: str, address: str) -> ServedCertificate:
    from cryptography import x509  # late: it takes 40 ms to load, and only reports need it

    certificate = x509.load_der_x509_certificate(der)
    try:
        extension: Any = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(str(name.value) for name in list(extension)[:MAX_NAMES])
    except (x509.ExtensionNotFound, x509.DuplicateExtension):
        names = ()
    subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    begin, end = (time_of(certificate, which) for which in ("not_valid_before", "not_valid_after"))
    return ServedCertificate(hashlib.sha256(der).hexdigest(), subject, issuer, names, begin, end, protocol, address)
