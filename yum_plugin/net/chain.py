"""The certificate chain exactly as a server sends it, which Python's ssl module hides after a failed handshake.

Up to TLS 1.2 the Certificate message travels in the clear (RFC 5246 section 7.4.2), so a handshake that
stops there shows it. Used for diagnosis only, never for trust.
"""
import datetime
import socket
import ssl
import time
from typing import Any, List, Optional, Tuple

_RECORD_HANDSHAKE = 22  # RFC 5246 section 6.2.1
_MESSAGE_CERTIFICATE = 11  # section 7.4
_MAX_FLIGHT_BYTES = 128 * 1024
_READ_BYTES = 16 * 1024


def served_chain(sock: socket.socket, host: str, timeout_seconds: float) -> List[bytes]:
    """Ask a server for its chain without judging it.

    Args:
        sock: a connected socket; the caller closes it.
        host: for the server name indication.
        timeout_seconds: for the whole.

    Returns:
        The DER certificates in the order sent; empty if the server speaks only TLS 1.3 or no TLS.

    Raises:
        OSError: the connection broke or timed out.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
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


def has_ended(chain: List[bytes], now: float) -> bool:
    """Tell an expired certificate from one whose issuer is not trusted: Python 3.6 has one word for both.

    Args:
        chain: what served_chain gave.
        now: seconds since 1970.

    Returns:
        True if the server's own certificate is no longer valid.
    """
    from cryptography import x509  # 40 ms, for a rare failure only
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    try:
        certificate = x509.load_der_x509_certificate(chain[0])
    except (IndexError, ValueError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return validity(certificate)[1] <= now


def validity(certificate: Any) -> Tuple[int, int]:
    """Return begin and end of a certificate of ``cryptography``, which before version 42 gives UTC without saying so."""
    moments = [getattr(certificate, name + "_utc", None) or getattr(certificate, name).replace(tzinfo=datetime.timezone.utc)
               for name in ("not_valid_before", "not_valid_after")]
    return int(moments[0].timestamp()), int(moments[1].timestamp())


def lacks_intermediates(chain: List[bytes]) -> bool:
    """Tell an incomplete chain from one whose root is just not trusted here.

    Args:
        chain: what served_chain gave.

    Returns:
        True if the server sent only a leaf that somebody else has issued.
    """
    if len(chain) != 1:
        return False
    from cryptography import x509  # 40 ms, for a rare failure only
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return leaf.issuer != leaf.subject
