"""The certificate chain as a server sends it, which Python's ssl module does not show after a failed handshake.

Up to TLS 1.2 the Certificate message travels in the clear (RFC 5246 section 7.4.2), so a handshake that
stops there shows it. TLS 1.3 encrypts it; there a newer Python shows it after the handshake.
For diagnosis only, never for trust.
"""
import calendar
import socket
import ssl
import time
from typing import Any, List, Optional, Tuple

from ..errors import FetchError
from ..model import Network
from ..util.urls import host_of
from .connect import connect_to
from .transport import proxies_for

_RECORD_HANDSHAKE = 22  # RFC 5246 section 6.2.1
_MESSAGE_CERTIFICATE = 11  # section 7.4
_MAX_FLIGHT_BYTES = 128 * 1024  # of a server's first messages; chains have about 5 KiB
_VERSION, _UTC_TIME = 0xA0, 0x17  # tags of DER; the version is optional
_READ_BYTES = 16 * 1024  # a record has no more (section 6.2.1)


def served_chain(sock: socket.socket, host: str, timeout_seconds: float) -> List[bytes]:
    """Ask a server for its chain without verifying it.

    Args:
        sock: a connected socket; the caller closes it.
        host: for the server name indication.
        timeout_seconds: for the whole exchange.

    Returns:
        The DER certificates in the order sent; empty if the server speaks only TLS 1.3 or no TLS.

    Raises:
        OSError: the connection broke or timed out.
    """
    context = unchecked_context()
    if hasattr(ssl, "TLSVersion"):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    elif hasattr(ssl, "OP_NO_TLSv1_3"):  # Python 3.6
        context.options |= ssl.OP_NO_TLSv1_3
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = context.wrap_bio(incoming, outgoing, server_hostname=host)
    ends_at = time.monotonic() + timeout_seconds
    sock.settimeout(timeout_seconds)
    try:
        handshake.do_handshake()
    except ssl.SSLWantReadError:
        sock.sendall(outgoing.read())
    return _read_certificates(sock, ends_at)


def unchecked_context() -> ssl.SSLContext:
    """Return a context that verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def finished_chain(sock: socket.socket, host: str, timeout_seconds: float) -> List[bytes]:
    """Ask for the chain by a complete handshake, which a server with TLS 1.3 only needs; arguments as of served_chain.

    Returns:
        The DER certificates in the order sent; empty if this Python does not show it (before 3.10).

    Raises:
        OSError: the handshake failed, or the connection broke or timed out.
    """
    sock.settimeout(timeout_seconds)
    with unchecked_context().wrap_socket(sock, server_hostname=host) as secure:
        public = getattr(secure, "get_unverified_chain", None)  # Python 3.13
        if public is not None:
            return [bytes(certificate) for certificate in public()]
        inner = getattr(getattr(secure, "_sslobj", None), "get_unverified_chain", None)  # Python 3.10: not public yet
        if inner is None:
            return []
        return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in inner()]


def _read_certificates(sock: socket.socket, ends_at: float) -> List[bytes]:
    flight = b""
    while len(flight) < _MAX_FLIGHT_BYTES and time.monotonic() < ends_at:
        data = sock.recv(_READ_BYTES)
        flight += data
        message = _certificate_message(_handshake_bytes(flight))
        if message is not None:
            return _split_certificates(message)
        if not data:
            break
    return []


def _handshake_bytes(flight: bytes) -> bytes:
    """Join the payloads of the complete handshake records at the start of ``flight``."""
    joined, at = b"", 0
    while at + 5 <= len(flight) and flight[at] == _RECORD_HANDSHAKE:
        end = at + 5 + int.from_bytes(flight[at + 3:at + 5], "big")
        if end > len(flight):
            break
        joined += flight[at + 5:end]
        at = end
    return joined


def _certificate_message(messages: bytes) -> Optional[bytes]:
    at = 0
    while at + 4 <= len(messages):
        end = at + 4 + int.from_bytes(messages[at + 1:at + 4], "big")
        if end > len(messages):
            return None
        if messages[at] == _MESSAGE_CERTIFICATE:
            return messages[at + 4:end]
        at = end
    return None


def _split_certificates(message: bytes) -> List[bytes]:
    chain, at = [], 3  # a 3-byte total length comes first
    while at + 3 <= len(message):
        end = at + 3 + int.from_bytes(message[at:at + 3], "big")
        chain.append(message[at + 3:end])
        at = end
    return chain


def lacks_intermediates(chain: List[bytes]) -> bool:
    """Return whether a chain is incomplete, rather than one whose root is not trusted here.

    Args:
        chain: from served_chain.

    Returns:
        True if the server sent only its own certificate and another one has issued it.
    """
    try:
        issuer, _, subject = _leaf(chain[0])
    except (IndexError, ValueError):  # no certificate
        return False
    return len(chain) == 1 and issuer != subject


def has_ended(chain: List[bytes], now: float) -> bool:
    """Return whether a server's certificate has expired, for Python 3.6, whose ssl gives no reason.

    Args:
        chain: from served_chain.
        now: seconds since 1970.
    """
    try:
        _, validity, _ = _leaf(chain[0])
        tag, end = _elements(validity)[1]
        century = "" if tag != _UTC_TIME else "19" if end >= b"5" else "20"  # RFC 5280 section 4.1.2.5.1
        return calendar.timegm(time.strptime(century + end.decode("ascii"), "%Y%m%d%H%M%SZ")) < now
    except (IndexError, ValueError):  # no certificate, or no date
        return False


def _leaf(der: bytes) -> List[bytes]:
    """Return issuer, validity and subject of a certificate as they are encoded (RFC 5280 section 4.1).

    Whatever fetches metadata needs this for a rare failure only. cryptography would take 40 ms of every start for it, because it
    cannot be loaded any more once the process is confined (privsep/child.py).

    Raises:
        IndexError, ValueError: it is none.
    """
    fields = [content for tag, content in _elements(_elements(_elements(der)[0][1])[0][1]) if tag != _VERSION]
    issuer, validity, subject = fields[2:5]  # after the serial number and the algorithm
    return [issuer, validity, subject]


def _elements(data: bytes) -> List[Tuple[int, bytes]]:
    """Split DER into its elements, each with its tag (X.690 section 8.1).

    Raises:
        IndexError, ValueError: one is cut off.
    """
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            octets = length & 0x7F
            length, at = int.from_bytes(data[at:at + octets], "big"), at + octets
        if at + length > len(data):
            raise ValueError("an element that is cut off")
        found.append((tag, data[at:at + length]))
        at += length
    return found


def time_of(certificate: Any, which: str) -> int:
    """Return a time of a certificate in seconds since 1970; cryptography before 42 gives it without a zone.

    Args:
        certificate: of cryptography.
        which: not_valid_before or not_valid_after.

    Raises:
        ValueError: it is not a date.
    """
    aware = getattr(certificate, which + "_utc", None)
    return calendar.timegm((aware or getattr(certificate, which)).utctimetuple())


def explain_tls(error: FetchError, url: str, network: Network, timeout_seconds: float) -> FetchError:
    """Find out from the served chain why it is not trusted: has it expired, or is an intermediate certificate missing?

    Args:
        error: of a fetch of ``url``; returned as it is unless its reference is tls-untrusted.
        url: of the server.
        network: for ip_resolve and the proxy; through a proxy the chain cannot be seen.
        timeout_seconds: for the extra connection.

    Returns:
        ``error``, a tls-expired one (for Python 3.6, whose ssl gives no reason) or a tls-incomplete one.
    """
    if error.reference != "tls-untrusted" or proxies_for(network, url):
        return error
    try:
        with connect_to(url, network, timeout_seconds) as sock:
            chain = served_chain(sock, host_of(url), timeout_seconds)
    except OSError:
        return error
    if has_ended(chain, time.time()):
        return FetchError("tls-expired", "TLS failed: the certificate has expired", where=url)
    if lacks_intermediates(chain):
        return FetchError("tls-incomplete", "TLS failed: the server sends no intermediate certificate", where=url)
    return error

