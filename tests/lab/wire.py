"""A small threaded HTTP/1.1 server that can misbehave on purpose and be stopped at any moment.

One thread accepts, one more serves each connection. Nothing here knows mirrors: an ``answer``
function turns a Request into a Response, which also says how badly it is to be sent.
"""
import socket
import ssl
import threading
from email.utils import formatdate
from typing import Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple, Union
from urllib.parse import unquote

from .accesslog import AccessLog, Connection, Entry

PIECE_BYTES = 1 << 18
MAX_HEADER_BYTES = 1 << 16
TICKS_PER_SECOND = 10  # in how many pieces a slow answer's second is cut
REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 404: "Not Found", 416: "Range Not Satisfiable"}
CONNECTION_ERRORS = (OSError, ssl.SSLError, ValueError)  # ValueError: ssl on a socket shut down by close()
TLS_HANDSHAKE = b"\x16"  # the first byte a TLS client sends (RFC 8446, section 5.1)

AnySocket = Union[socket.socket, ssl.SSLSocket]


class Request(NamedTuple):
    """What a client asked."""

    method: str
    target: str  # as sent
    path: str  # decoded
    query: str
    headers: Dict[str, str]  # names in lower case
    tls: bool
    client: Tuple[str, int] = ("", 0)  # address and port of the client's end of the connection
    server: Tuple[str, int] = ("", 0)  # of the server's end; both together tell the process that asks, and its user


class Response(NamedTuple):
    """What to send, and how."""

    status: int = 200
    headers: Tuple[Tuple[str, str], ...] = ()  # sent as they are, line breaks included
    body: Iterable[bytes] = ()
    length: Optional[int] = 0  # Content-Length; None: none is sent and the connection ends with the body
    rate: int = 0  # bytes per second of everything, header included; 0: as fast as possible
    stop_at: Optional[int] = None  # bytes of the body after which no more is sent
    hang: bool = False  # after the last byte (or stop_at): keep the connection and stay silent
    silent: bool = False  # never answer at all


SILENCE = Response(silent=True)


def document(content: bytes, kind: str, status: int = 200, headers: Tuple[Tuple[str, str], ...] = ()) -> Response:
    """Return a whole document of the given Content-Type."""
    return Response(status, headers + (("Content-Type", kind),), (content,), len(content))


def redirect(location: str, headers: Tuple[Tuple[str, str], ...] = ()) -> Response:
    """Return a 302 without a body."""
    return Response(302, headers + (("Location", location),))


class Server:
    """One listening address.

    Args:
        name: for the access log.
        answer: decides what each request gets.
        log: the access log.
        address: to bind to; the port is chosen by the system.
        tls: the TLS context; None: plain http.
        plain_too: with ``tls``: serve plain http on the same port as well.
        deaf: accept connections and never send a byte, not even of TLS.
        listening: False: the port is bound, but connections are refused.
    """

    def __init__(
        self,
        name: str,
        answer: Callable[[Request], Response],
        log: AccessLog,
        address: str,
        tls: Optional[ssl.SSLContext] = None,
        plain_too: bool = False,
        deaf: bool = False,
        listening: bool = True,
    ) -> None:
        self.name = name
        self.tls = tls
        self.deaf = deaf
        self.address = address
        self._answer = answer
        self._log = log
        self._plain_too = plain_too
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._open: Dict[threading.Thread, socket.socket] = {}
        self._acceptor: Optional[threading.Thread] = None
        self._listener = self._bind(0)
        self.port: int = self._listener.getsockname()[1]
        if listening:
            self.listen()

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        return "{}:{}".format("[{}]".format(self.address) if ":" in self.address else self.address, self.port)

    def _bind(self, port: int) -> socket.socket:
        listener = socket.socket(self._family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, port))
        return listener

    def listen(self) -> None:
        """Accept connections from now on."""
        if self._acceptor is None:
            self._listener.listen(128)
            self._acceptor = threading.Thread(target=self._accept, name="lab-accept-" + self.name, daemon=True)
            self._acceptor.start()

    def refuse(self) -> None:
        """Refuse new connections from now on; the port stays ours."""
        self._end_listening()
        self._listener = self._bind(self.port)

    def close(self) -> None:
        """End at once, with every connection, whatever state it is in."""
        self._stopped.set()
        self._end_listening()
        with self._lock:
            threads = list(self._open.items())
        for _, connection in threads:
            _shut_down(connection)
        for thread, _ in threads:
            thread.join(5)

    def _end_listening(self) -> None:
        _shut_down(self._listener)  # this wakes accept(); close() alone does not
        self._listener.close()
        if self._acceptor is not None:
            self._acceptor.join(5)
            self._acceptor = None

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="lab-serve-" + self.name, daemon=True)
            with self._lock:
                self._open[thread] = connection.dup()  # survives ssl's detaching of the first one
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._converse(connection)
        except CONNECTION_ERRORS:
            pass  # the client left, or close() was called
        finally:
            with self._lock:
                mine = self._open.pop(threading.current_thread())
            _shut_down(mine)
            mine.close()
            connection.close()

    def _converse(self, raw: socket.socket) -> None:
        seen = self._log.connected(self.name)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.deaf:
            _wait_for_end(raw)
            return
        connection = self._secured(raw, seen)
        try:
            client, server = connection.getpeername()[:2], connection.getsockname()[:2]
            buffered = b""
            while not self._stopped.is_set():
                head, buffered = _read_head(connection, buffered)
                request = _parse(head, seen.tls)._replace(client=client, server=server)
                entry = self._log.requested(seen, request.method, request.target, request.headers)
                if not self._reply(connection, entry, request):
                    return
        finally:
            connection.close()

    def _secured(self, raw: socket.socket, seen: Connection) -> AnySocket:
        if self.tls is None or (self._plain_too and raw.recv(1, socket.MSG_PEEK) != TLS_HANDSHAKE):
            return raw
        seen.tls = True
        try:
            return self.tls.wrap_socket(raw, server_side=True)
        except CONNECTION_ERRORS as problem:
            seen.failure = str(problem)
            raise

    def _reply(self, connection: AnySocket, entry: Entry, request: Request) -> bool:
        """Send the answer; return whether another request may follow on this connection."""
        response = self._answer(request)
        complete = False
        try:
            if not response.silent:
                entry.status = response.status
                complete = self._send(connection, entry, response, () if request.method == "HEAD" else response.body)
            if response.silent or response.hang:
                _wait_for_end(connection)
                return False
        finally:
            self._log.end(entry, complete)
        return complete and response.length is not None and request.headers.get("connection", "").lower() != "close"

    def _send(self, connection: AnySocket, entry: Entry, response: Response, body: Iterable[bytes]) -> bool:
        """Send header and body; return False if ``stop_at`` cut it short."""
        pending = _head(response)
        left = response.stop_at
        for piece in body:
            cut = left is not None and len(piece) >= left
            pending += piece[:left]
            self._write(connection, entry, pending, response.rate)
            pending = b""
            if cut:
                return False
            left = None if left is None else left - len(piece)
        self._write(connection, entry, pending, response.rate)
        return True

    def _write(self, connection: AnySocket, entry: Entry, content: bytes, rate: int) -> None:
        step = max(1, rate // TICKS_PER_SECOND) if rate else PIECE_BYTES
        for start in range(0, len(content), step):
            if rate and self._stopped.wait(1.0 / TICKS_PER_SECOND):
                raise ConnectionAbortedError("the server was closed")
            piece = content[start : start + step]
            connection.sendall(piece)
            entry.bytes += len(piece)


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not connected, or the other side was quicker


def _wait_for_end(connection: AnySocket) -> None:
    """Read until the client leaves or close() shuts the connection."""
    while connection.recv(1 << 16):
        pass


def _read_head(connection: AnySocket, buffered: bytes) -> Tuple[bytes, bytes]:
    """Return the next request's header and what was read beyond it; bodies of requests are not expected."""
    while b"\r\n\r\n" not in buffered:
        piece = connection.recv(1 << 16)
        if not piece or len(buffered) > MAX_HEADER_BYTES:
            raise ConnectionAbortedError("no request")
        buffered += piece
    head, _, rest = buffered.partition(b"\r\n\r\n")
    return head, rest


def _parse(head: bytes, tls: bool) -> Request:
    first, *rest = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    fields = (line.partition(":") for line in rest)
    path, _, query = target.partition("?")
    return Request(method, target, unquote(path), query, {name.lower(): value.strip() for name, _, value in fields}, tls)


def _head(response: Response) -> bytes:
    lines = ["HTTP/1.1 {} {}".format(response.status, REASONS.get(response.status, "Something"))]
    lines += ["{}: {}".format(name, value) for name, value in response.headers]
    if not any(name.lower() == "date" for name, _ in response.headers):
        lines.append("Date: {}".format(formatdate(usegmt=True)))
    lines.append("Connection: close" if response.length is None else "Content-Length: {}".format(response.length))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def pieces_of(path: str, start: int, length: int) -> Iterator[bytes]:
    """Read ``length`` bytes of a file from ``start`` on, piece by piece."""
    with open(path, "rb") as stream:
        stream.seek(start)
        while length > 0:
            piece = stream.read(min(PIECE_BYTES, length))
            if not piece:
                return
            length -= len(piece)
            yield piece
