"""The messages between parent and child.

The control socket (SOCK_SEQPACKET) carries whole messages, each one JSON object:
    parent -> child, once: {"networks": [..], "cpu_seconds": NUMBER, "environment": {..}, "task": TASK or null}
        what sessions may be opened with; TASK: {"module": NAME, "given": {..}, "programs": BOOLEAN}, see task.py
    child -> parent, once: {"ready": [null or ERROR for each network], "problems": [TEXT...]}
        root is given up; ERROR: its TLS settings are unusable; problems: what could not be given up here
    parent -> child: {"network": INDEX, "seconds": NUMBER} with a socket: a session begins on it
A session's socket (SOCK_STREAM) carries frames: a kind, a length (4 bytes, big-endian), and so many bytes.
    parent -> child: REQUEST, the next one only after the answer to the last has ended
        {"do": "open", "url": URL, "limits": [..], "headers": {..}, "accept": [..]}      -> HEAD DATA* END, or ERROR
        {"do": "list", "form": FORM, "roots": [..], "path": PATH, "timeouts": [..]}      -> VALUE, or ERROR
        {"do": "explain", "reference": REFERENCE, "what": TEXT, "url": URL, "seconds": NUMBER}    -> ERROR, refined
        {"do": "reachability", "url": URL, "seconds": NUMBER}                            -> VALUE
        {"do": "certificate", "url": URL, "seconds": NUMBER}                             -> VALUE, or ERROR
        {"do": "task"}                                                                   -> VALUE* END, or ERROR
        {"do": "stop"}, while the task waits: it ends early
    Either side ends the session by closing the socket.
"""
import json
import socket
import struct
from typing import Any, BinaryIO, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple, Type

from ..errors import FetchError, MirrorsError, UsageError
from ..model import Network, Reach
from ..net.connect import clean_address
from ..util.text import MAX_TIME

REQUEST, HEAD, DATA, END, VALUE, ERROR = (b"R", b"H", b"D", b"E", b"V", b"X")
MAX_VALUE_BYTES = 2 * 1024 * 1024  # of JSON: 256 mirrors with URLs of 2048 characters are a quarter of that
MAX_DATA_BYTES = 64 * 1024  # net/fetch.py:READ_BYTES
MAX_CONTROL_BYTES = 64 * 1024
MAX_WORDS_CHARACTERS = 1000
MAX_HEADERS = 200  # http.client reads 100 at most
MAX_SECONDS = 1e6  # refuses NaN and Infinity too, which Python reads in JSON
_FAMILIES: Dict[str, Type[MirrorsError]] = {"fetch": FetchError, "usage": UsageError, "internal": MirrorsError}
_FRAME = struct.Struct(">cI")


class WireError(Exception):
    """A message is malformed, or the other end has closed the socket."""


def send(sock: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    """Send a frame; OSError if the other end is gone."""
    sock.sendall(_FRAME.pack(kind, len(payload)) + payload)


def send_value(sock: socket.socket, kind: bytes, value: Any) -> None:
    """Send a frame of JSON."""
    send(sock, kind, encoded(value))


def encoded(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value).encode("ascii")


def network_of(values: Sequence[Any]) -> Network:
    """Return the network settings that were sent as JSON, which knows lists only."""
    network = Network(*values)
    return network._replace(reach=None if network.reach is None else Reach(*map(tuple, network.reach)))


def receive(stream: BinaryIO) -> Tuple[bytes, bytes]:
    """Return kind and content of the next frame.

    Raises:
        WireError: there is none, or it is too large.
        OSError: the socket's time-out.
    """
    kind, size = _FRAME.unpack(_exactly(stream, _FRAME.size))
    if size > (MAX_DATA_BYTES if kind == DATA else MAX_VALUE_BYTES):
        raise WireError("a frame of {} bytes".format(size))
    return kind, _exactly(stream, size)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if data is None or len(data) != size:
        raise WireError("it has ended")
    return data


def decoded(payload: bytes) -> Dict[str, Any]:
    """Read a JSON object; WireError for anything else."""
    try:
        value = json.loads(payload.decode("ascii"))
    except (ValueError, RecursionError):
        raise WireError("no JSON") from None
    if not isinstance(value, dict):
        raise WireError("no JSON object")
    return value


def error_values(error: MirrorsError) -> Dict[str, str]:
    """Return an error as the content of a frame."""
    family = "fetch" if isinstance(error, FetchError) else "usage" if isinstance(error, UsageError) else "internal"
    return {"family": family, "reference": error.reference, "what": error.what, "where": error.where, "hint": error.hint}


def error_of(said: Mapping[str, Any]) -> MirrorsError:
    """Return the error that the other end sent; WireError if it is none of errors.py."""
    family = _FAMILIES.get(str(said.get("family")))
    texts = [said.get(name) for name in ("reference", "what", "where", "hint")]
    if family is None or not all(isinstance(text, str) for text in texts) or texts[0] not in family.REFERENCES:
        raise WireError("an error that is none")
    return family(*(text[:MAX_WORDS_CHARACTERS] for text in texts if text is not None))


class ResponseHead(NamedTuple):
    """The beginning of an answer."""

    status: int
    headers: Dict[str, str]
    links: Tuple[str, ...]
    first_byte_seconds: float
    certificate_expires: Optional[int]
    address: str


def head_of(said: Mapping[str, Any], accept: Tuple[int, ...]) -> ResponseHead:
    """Read the beginning of an answer; WireError if it cannot be one, or its status is none of those that are accepted."""
    try:
        headers = {str(name): str(value) for name, value in said["headers"].items()}
        expires = said["certificate_expires"]
        links = tuple(str(link) for link in said["links"])
        head = ResponseHead(said["status"], headers, links, float(said["first_byte_seconds"]),
                            None if expires is None else int(expires), clean_address(said["address"]))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise WireError("a malformed head")
    is_number = isinstance(head.status, int) and head.status in accept and 0 <= head.first_byte_seconds < MAX_SECONDS
    if not is_number or abs(head.certificate_expires or 0) > MAX_TIME or len(headers) > MAX_HEADERS:
        raise WireError("a malformed head")
    return head
