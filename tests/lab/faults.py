"""Every way in which a mirror of the lab can be bad, by name."""
import base64
import gzip
import itertools
import os
from functools import lru_cache
from typing import Dict, Iterator, Optional, Tuple

from .mirror import NOT_FOUND, Fault, Mirror
from .wire import PIECE_BYTES, SILENCE, Request, Response, document, pieces_of, redirect

BOMB_BYTES = 1 << 27  # of the decompressed gzip bomb
SLOW_BYTES_PER_SECOND = 2048
_WELCOME = b"<html><head><title>Welcome</title></head><body>Please accept our terms to use the network.</body></html>\n"
CAPTIVE = document(_WELCOME, "text/html")
UNAVAILABLE = document(b"Service Unavailable\n", "text/plain", 503)


def _is_repomd(request: Request) -> bool:
    return request.path.endswith("/repodata/repomd.xml")


def _is_signature(request: Request) -> bool:
    return request.path.endswith("/repodata/repomd.xml.asc")


def _is_package(request: Request) -> bool:
    """Whether a package is asked for, or an ISO image: the faults of large files."""
    return request.path.endswith((".rpm", ".iso"))


def _mute(mirror: Mirror, request: Request) -> Response:
    return SILENCE


def _unavailable(mirror: Mirror, request: Request) -> Response:
    return UNAVAILABLE


def _captive(mirror: Mirror, request: Request) -> Response:
    return CAPTIVE


def _stale(mirror: Mirror, request: Request) -> Response:
    return mirror.serve(request, "old")


def _future(mirror: Mirror, request: Request) -> Response:
    return mirror.serve(request, "future")


def _other_key_packages(mirror: Mirror, request: Request) -> Response:
    return mirror.serve(request, "other-key-packages")


def _unsigned_packages(mirror: Mirror, request: Request) -> Response:
    return mirror.serve(request, "unsigned-packages")


def _bad_signature(mirror: Mirror, request: Request) -> Optional[Response]:
    path = mirror.file(request) if _is_signature(request) else ""
    if not path:
        return None
    with open(path, "rb") as stream:
        return document(spoil_armor(stream.read()), "application/pgp-signature")


def spoil_armor(armored: bytes) -> bytes:
    """Flip the last bit of the signature's number and write valid armor around it (RFC 9580, section 6)."""
    lines = armored.decode("ascii").splitlines()
    start, end = lines.index("") + 1, next(index for index, line in enumerate(lines) if line.startswith("="))
    packet = bytearray(base64.b64decode("".join(lines[start:end])))
    packet[-1] ^= 1
    text = base64.b64encode(bytes(packet)).decode("ascii")
    body = [text[index : index + 64] for index in range(0, len(text), 64)]
    checksum = base64.b64encode(_crc24(bytes(packet)).to_bytes(3, "big")).decode("ascii")
    return "\n".join(lines[:start] + body + ["=" + checksum] + lines[end + 1 :] + [""]).encode("ascii")


def _crc24(content: bytes) -> int:
    """Return the armor checksum (RFC 9580, section 6.1.1)."""
    crc = 0xB704CE
    for byte in content:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc & 0xFFFFFF


def _other_key(mirror: Mirror, request: Request) -> Optional[Response]:
    return mirror.serve(request, variant="other-key") if _is_signature(request) else None


def _weak_digest(mirror: Mirror, request: Request) -> Optional[Response]:
    return mirror.serve(request, variant="weak-digest") if _is_signature(request) else None


def _no_signature(mirror: Mirror, request: Request) -> Optional[Response]:
    return NOT_FOUND if _is_signature(request) else None


def _signature_of_another(mirror: Mirror, request: Request) -> Optional[Response]:
    return mirror.serve(request, "old") if _is_signature(request) else None


def _half_synced(mirror: Mirror, request: Request) -> Optional[Response]:
    return None if _is_repomd(request) or _is_signature(request) else NOT_FOUND


def _mid_sync(mirror: Mirror, request: Request) -> Optional[Response]:
    early = _is_repomd(request) and mirror.count(request.path) <= mirror.mid_sync_requests
    return mirror.serve(request, "old") if early else None


def _endless(framed: bool) -> Iterator[bytes]:
    piece = b"<!-- and on it goes -->\n" * (PIECE_BYTES // 64)
    content = b"%x\r\n%s\r\n" % (len(piece), piece) if framed else piece
    return itertools.repeat(content)


def _endless_repomd(mirror: Mirror, request: Request) -> Optional[Response]:
    chunked = (("Content-Type", "text/xml"), ("Transfer-Encoding", "chunked"))
    return Response(200, chunked, _endless(framed=True), None) if _is_repomd(request) else None


def _endless_unframed(mirror: Mirror, request: Request) -> Optional[Response]:
    return Response(200, (("Content-Type", "text/xml"),), _endless(framed=False), None) if _is_repomd(request) else None


def _endless_headers(mirror: Mirror, request: Request) -> Optional[Response]:
    many = tuple(("X-Lab-{}".format(number), "x" * 1000) for number in range(4000))
    return Response(200, many, (b"",), 0) if _is_repomd(request) else None


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    return gzip.compress(b"\n" * BOMB_BYTES, 9)


def _gzip_bomb(mirror: Mirror, request: Request) -> Optional[Response]:
    encoded = (("Content-Encoding", "gzip"),)
    return document(_bomb(), "text/xml", headers=encoded) if _is_repomd(request) else None


def _redirect_loop(mirror: Mirror, request: Request) -> Response:
    return redirect("{}?turn={}".format(request.path, mirror.count("loop")))


def _redirect_to_http(mirror: Mirror, request: Request) -> Response:
    return redirect(mirror.elsewhere + mirror.relative(request))


def _crlf_location(mirror: Mirror, request: Request) -> Response:
    injected = "%0d%0aX-Encoded: yes\rX-Return: yes\nX-Feed: yes\r\nX-Both: yes"
    return redirect(mirror.elsewhere + mirror.relative(request) + injected)


def _no_packages(mirror: Mirror, request: Request) -> Optional[Response]:
    return NOT_FOUND if _is_package(request) else None


def _package(mirror: Mirror, request: Request) -> Tuple[str, int]:
    """Return path and size of the requested package, ("", 0) if it is none or there is none."""
    path = mirror.file(request) if _is_package(request) else ""
    return path, os.path.getsize(path) if path else 0


def _corrupt(mirror: Mirror, request: Request) -> Optional[Response]:
    path, size = _package(mirror, request)
    return mirror.serve(request)._replace(status=200, body=_flipped(path, size), length=size) if path else None


def _flipped(path: str, size: int) -> Iterator[bytes]:
    """Read a file whole, with one bit flipped three quarters into it."""
    position = size * 3 // 4
    yield from pieces_of(path, 0, position)
    yield bytes([next(pieces_of(path, position, 1))[0] ^ 1])
    yield from pieces_of(path, position + 1, size - position - 1)


def _truncated(mirror: Mirror, request: Request) -> Optional[Response]:
    path, size = _package(mirror, request)
    return mirror.serve(request)._replace(status=200, body=pieces_of(path, 0, size // 2), length=size // 2) if path else None


def _cut(mirror: Mirror, request: Request, hang: bool) -> Optional[Response]:
    """Serve the first half of a package; a request that begins beyond it gets a header and no more."""
    path, size = _package(mirror, request)
    if not path:
        return None
    response = mirror.serve(request)
    start = size - (response.length or 0) if response.status == 206 else 0
    return response._replace(stop_at=max(0, size // 2 - start), hang=hang)


def _short(mirror: Mirror, request: Request) -> Optional[Response]:
    return _cut(mirror, request, hang=False)


def _stalling(mirror: Mirror, request: Request) -> Optional[Response]:
    return _cut(mirror, request, hang=True)


def _slow_packages(mirror: Mirror, request: Request) -> Optional[Response]:
    return mirror.serve(request)._replace(rate=SLOW_BYTES_PER_SECOND) if _is_package(request) else None


_ALL = (
    Fault("refused", "refuses connections", listening=False),
    Fault("blackhole", "accepts connections and never sends a byte", deaf=True),
    Fault("mute", "reads the request and never answers", _mute),
    Fault("http-503", "answers 503 to everything", _unavailable),
    Fault("drip-500", "sends 500 bytes per second, of everything", rate=500),
    Fault("drip-1k", "sends 1100 bytes per second, of everything: just above dnf's minrate", rate=1100),
    Fault("captive", "answers 200 and a welcome page to everything", _captive),
    Fault("stale", "serves the old state, well signed", _stale),
    Fault("rolled-back", "the same as stale, for a host that has accepted a newer state", _stale),
    Fault("fast-forward", "serves a state of the future, well signed", _future),
    Fault("bad-signature", "one bit of repomd.xml.asc is wrong, its armor is valid", _bad_signature),
    Fault("other-key", "repomd.xml.asc was made by another key", _other_key),
    Fault("weak-digest", "repomd.xml.asc was made with SHA-1", _weak_digest),
    Fault("no-asc", "repomd.xml.asc is missing", _no_signature),
    Fault("asc-of-another", "repomd.xml.asc is the old state's", _signature_of_another),
    Fault("half-synced", "new repomd.xml and .asc, all other files are missing", _half_synced),
    Fault("mid-sync", "the first requests for repomd.xml get the old one, everything else is new", _mid_sync),
    Fault("endless-repomd", "repomd.xml never ends (chunked)", _endless_repomd),
    Fault("endless-unframed", "repomd.xml never ends (no length, not chunked)", _endless_unframed),
    Fault("endless-headers", "repomd.xml comes with 4 MB of headers", _endless_headers),
    Fault("gzip-bomb", "repomd.xml is compressed, unasked, and grows to 128 MiB", _gzip_bomb),
    Fault("redirect-loop", "redirects everything to itself", _redirect_loop),
    Fault("redirect-to-http", "redirects everything to plain http", _redirect_to_http),
    Fault("crlf-location", "redirects with encoded and plain line breaks in Location", _crlf_location),
    Fault("packages-404", "metadata is fine, packages are missing", _no_packages),
    Fault("corrupt-packages", "one bit of each package is wrong", _corrupt),
    Fault("truncated-packages", "half of each package, with an honest Content-Length", _truncated),
    Fault("short-packages", "half of each package, then the connection closes", _short),
    Fault("stalling-packages", "half of each package, then silence", _stalling),
    Fault("slow-packages", "packages at 2 KB per second", _slow_packages),
    Fault("other-key-packages", "packages signed by another key, in newer and well signed repodata", _other_key_packages),
    Fault("unsigned-packages", "packages without signature, in newer and well signed repodata", _unsigned_packages),
    Fault("expired-certificate", "its certificate has expired", certificate="expired"),
    Fault("wrong-host-certificate", "its certificate is for another host", certificate="wrong-host"),
    Fault("self-signed-certificate", "its certificate is signed by itself", certificate="self-signed"),
    Fault("incomplete-chain", "does not send the intermediate certificate", certificate="incomplete"),
)
FAULTS: Dict[str, Fault] = {fault.name: fault for fault in _ALL}


def faults_named(names: str) -> Tuple[Fault, ...]:
    """Return the faults of a "+"-separated list; "" and "good" are none.

    Raises:
        ValueError: a name is unknown; the message lists the known ones.
    """
    wanted = [name for name in names.split("+") if name not in ("", "good")]
    unknown = [name for name in wanted if name not in FAULTS]
    if unknown:
        raise ValueError("unknown fault {}; known: {}".format(", ".join(unknown), ", ".join(FAULTS)))
    return tuple(FAULTS[name] for name in wanted)


def served(path_end: str, content: Optional[bytes]) -> Tuple[Fault, ...]:
    """The fault of a mirror that answers with this content where a path ends so; with 404 if it is None."""
    answer = NOT_FOUND if content is None else document(content, "text/plain")
    return (Fault("served", "", lambda mirror, request: answer if request.path.endswith(path_end) else None),)
