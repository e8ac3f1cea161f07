"""Which versions of TLS a server offers, asked with a hand-made ClientHello for each.

The local OpenSSL cannot do it: a current one refuses TLS 1.0 by itself, that of Python 3.6's time may lack TLS 1.3. No handshake
is completed, and nothing in the answer is trusted. Used for diagnosis only.
"""
import os
import socket
import struct
import time
from ipaddress import ip_address
from typing import Callable, List, NamedTuple, Sequence, Tuple

from ...util.urls import host_of
from .client import open_socket
from .model import OK, PROBLEM, UNKNOWN, WARNING, Check, Cost, Finding, Subject, port_unknown

VERSIONS = (("TLS 1.0", 0x0301), ("TLS 1.1", 0x0302), ("TLS 1.2", 0x0303), ("TLS 1.3", 0x0304))
OFFERED, REFUSED, SILENT = "offered", "refused", "no answer"
_HANDSHAKE = 22  # RFC 8446 section 5.1
_CLIENT_HELLO, _SERVER_HELLO = 1, 2  # section 4
_SERVER_NAME, _GROUPS, _POINT_FORMATS, _SIGNATURES, _SUPPORTED_VERSIONS, _KEY_SHARE = 0, 10, 11, 13, 43, 51  # section 4.2
_GROUP_IDS = (0x001D, 0x0017, 0x0018, 0x0019)  # x25519 and the NIST curves of section 4.2.7
# Section 4.2.3; those with SHA-1 come last.
_SIGNATURE_IDS = (0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
_SUITES_1_3 = (0x1301, 0x1302, 0x1303)  # section B.4
# ECDHE, DHE and RSA key exchange with GCM, ChaCha20, CBC and 3DES (IANA's registry), and RFC 5746's signal: some of them
# are known to every server that anybody has set up since 1999
_SUITES = (0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0x009E, 0x009F, 0xC009, 0xC013, 0xC00A, 0xC014, 0x0033, 0x0039,
           0x009C, 0x009D, 0x003C, 0x002F, 0x0035, 0x000A, 0x00FF)
_MAX_ANSWER_BYTES = 64 * 1024
CHECK = Check("tls-versions", Cost(len(VERSIONS), 0))
REMEDY = "nginx: ssl_protocols TLSv1.2 TLSv1.3;\nApache: SSLProtocol -all +TLSv1.2 +TLSv1.3"


class TlsOffer(NamedTuple):
    """What a server answers to one version."""

    name: str  # as in VERSIONS
    state: str  # OFFERED, REFUSED or SILENT


def run(subject: Subject) -> List[Finding]:
    """Ask for each version of TLS."""
    url = subject.https_url
    if not url:
        return [port_unknown(CHECK.name, subject)]
    return [judge(offers(lambda: open_socket(subject, url), host_of(url), subject.settings.read_timeout))]


def judge(found: Sequence[TlsOffer]) -> Finding:
    """Judge the versions: hosts of 8.x and their installer end at TLS 1.2, and 1.0 and 1.1 are deprecated (RFC 8996)."""
    states = {offer.name: offer.state for offer in found}
    evidence = ["{}: {}".format(name, state) for name, state in states.items()]
    verdict = OK
    old = [name for name in ("TLS 1.0", "TLS 1.1") if states[name] == OFFERED]
    if OFFERED not in states.values():
        verdict = UNKNOWN if SILENT in states.values() else PROBLEM
    elif states["TLS 1.2"] != OFFERED:
        verdict = PROBLEM
        evidence.insert(0, "without TLS 1.2 the network installer and hosts of 8.x cannot connect")
    elif old:
        verdict = WARNING
        evidence.insert(0, "{} should be off (RFC 8996)".format(" and ".join(old)))
    return Finding(CHECK.name, verdict, tuple(evidence), REMEDY if verdict in (PROBLEM, WARNING) else "", {"versions": states})


def offers(connect: Callable[[], socket.socket], host: str, timeout_seconds: float) -> Tuple[TlsOffer, ...]:
    """Ask for each version, on a connection of its own, one after the other.

    Args:
        connect: opens a connection; its OSErrors count as no answer.
        host: for the server name indication.
        timeout_seconds: for each answer.

    Returns:
        An offer for each of VERSIONS.
    """
    return tuple(TlsOffer(name, _ask(connect, client_hello(version, host, os.urandom(32)), version, timeout_seconds))
                 for name, version in VERSIONS)


def _ask(connect: Callable[[], socket.socket], hello: bytes, version: int, timeout_seconds: float) -> str:
    try:
        with connect() as sock:
            ends_at = time.monotonic() + timeout_seconds
            sock.settimeout(timeout_seconds)
            sock.sendall(hello)
            answer = b""
            while len(answer) < _MAX_ANSWER_BYTES and time.monotonic() < ends_at:
                piece = sock.recv(4096)
                answer += piece
                state = read_answer(answer, version)
                if state or not piece:
                    return state or REFUSED  # some servers close without an alert
    except ConnectionResetError:
        return REFUSED
    except OSError:  # socket.timeout is one
        pass
    return SILENT


def client_hello(version: int, host: str, random: bytes) -> bytes:
    """Make a record with a ClientHello that offers exactly one version (RFC 5246 section 7.4.1.2, RFC 8446 section 4.1.2).

    Args:
        version: 0x0301 (TLS 1.0) to 0x0304 (TLS 1.3).
        host: the server's name; an address is not sent (RFC 6066 section 3).
        random: 32 bytes.
    """
    is_1_3 = version == 0x0304
    suites = _uint16s(_SUITES_1_3 if is_1_3 else _SUITES)
    extensions = _server_name(host) + _extension(_GROUPS, _prefixed(_uint16s(_GROUP_IDS)))
    extensions += _extension(_POINT_FORMATS, b"\x01\x00")
    if version >= 0x0303:
        extensions += _extension(_SIGNATURES, _prefixed(_uint16s(_SIGNATURE_IDS)))
    if is_1_3:  # no key is offered, so that the server asks for one: a HelloRetryRequest says yes as well
        extensions += _extension(_SUPPORTED_VERSIONS, b"\x02\x03\x04") + _extension(_KEY_SHARE, _prefixed(b""))
    session = random if is_1_3 else b""  # section 4.1.2: filled, for the sake of middleboxes
    body = (struct.pack("!H", min(version, 0x0303)) + random + bytes([len(session)]) + session + _prefixed(suites) + b"\x01\x00"
            + _prefixed(extensions))
    message = bytes([_CLIENT_HELLO]) + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BH", _HANDSHAKE, 0x0301) + _prefixed(message)


def _uint16s(numbers: Sequence[int]) -> bytes:
    return b"".join(struct.pack("!H", number) for number in numbers)


def _prefixed(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def _extension(number: int, data: bytes) -> bytes:
    return struct.pack("!H", number) + _prefixed(data)


def _server_name(host: str) -> bytes:
    try:
        ip_address(host.strip("[]"))
        return b""
    except ValueError:
        return _extension(_SERVER_NAME, _prefixed(b"\x00" + _prefixed(host.encode("ascii", "replace"))))


def read_answer(answer: bytes, version: int) -> str:
    """Read what a server has sent so far.

    Args:
        answer: its first bytes.
        version: that was offered.

    Returns:
        OFFERED, REFUSED (an alert, another version, or no TLS at all), or "" if more bytes are needed.
    """
    if len(answer) < 5:
        return ""
    if answer[0] != _HANDSHAKE:
        return REFUSED
    size = struct.unpack("!H", answer[3:5])[0]
    message = answer[5:5 + size]
    if size < 4:  # RFC 8446 section 5.1 forbids an empty one, and no server splits the head of a message
        return REFUSED
    if len(message) < 4:
        return ""
    if message[0] != _SERVER_HELLO:
        return REFUSED
    end = 4 + int.from_bytes(message[1:4], "big")
    if len(message) < end:
        return "" if len(message) < size else REFUSED  # no server splits a ServerHello into two records
    return OFFERED if _version_of(message[4:end]) == version else REFUSED


def _version_of(hello: bytes) -> int:
    """Return the version that a ServerHello chooses (RFC 8446 section 4.1.3); 0 if it cannot be read."""
    if len(hello) < 38:
        return 0
    legacy = int.from_bytes(hello[:2], "big")
    at = 35 + hello[34] + 3 + 2  # random, session, suite and compression, size of the extensions
    while at + 4 <= len(hello):
        number, size = struct.unpack("!HH", hello[at:at + 4])
        if number == _SUPPORTED_VERSIONS and size == 2:
            return int.from_bytes(hello[at + 4:at + 6], "big")
        at += 4 + size
    return legacy
