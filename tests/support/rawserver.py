"""Servers that say any bytes at any pace, and a small proxy: for what no HTTP library would send."""
import socket
import ssl
import threading
from typing import Any, Callable, Iterator, List, Optional, Tuple
from urllib.parse import urlsplit

PACE_SECONDS = 0.02  # between two bytes of a drip


class RawServer:
    """Hands every connection to ``behave(connection, server)`` in a thread of its own.

    Attributes:
        heads: the request heads that ``read_head`` saw.
        asked: set when the first of them is complete.
        stopped: set at the end; a behaviour that waits must wait for it.
    """

    def __init__(self, behave: Callable[[Any, "RawServer"], None], address: str = "127.0.0.1",
                 tls: Optional[ssl.SSLContext] = None) -> None:
        self.behave = behave
        self.tls = tls
        self.heads: List[bytes] = []
        self.connected, self.asked, self.stopped = threading.Event(), threading.Event(), threading.Event()
        self._listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._listener.bind((address, 0))
        self._listener.listen(16)
        self.address, self.port = self._listener.getsockname()[:2]
        self._open: List[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "RawServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for each in [self._listener] + self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was over already
            each.close()

    @property
    def url(self) -> str:
        host = "[{}]".format(self.address) if ":" in self.address else self.address
        return "{}://{}:{}/".format("https" if self.tls else "http", host, self.port)

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            self._open.append(connection)
            self.connected.set()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            self.behave(connection, self)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        except (OSError, ValueError):
            pass  # the client left, or the test ended

    def read_head(self, connection: Any) -> bytes:
        """Read a request up to its empty line; ConnectionError if the client leaves before."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError("no request")
            head += piece
        self.heads.append(head)
        self.asked.set()
        return head


def says(*pieces: bytes) -> Callable[[Any, RawServer], None]:
    """Read a request, send these bytes, close."""
    def behave(connection: Any, server: RawServer) -> None:
        server.read_head(connection)
        for piece in pieces:
            connection.sendall(piece)
    return behave


def serves(reply: bytes) -> Callable[[Any, RawServer], None]:
    """Answer every request with these bytes, on kept connections."""
    def behave(connection: Any, server: RawServer) -> None:
        while server.read_head(connection):
            connection.sendall(reply)
    return behave


def says_for_ever(before: bytes, repeated: bytes) -> Callable[[Any, RawServer], None]:
    """Read a request, send ``before``, then ``repeated`` until the client leaves."""
    def behave(connection: Any, server: RawServer) -> None:
        server.read_head(connection)
        connection.sendall(before)
        while not server.stopped.is_set():
            connection.sendall(repeated)
    return behave


def drips(before: bytes, drop: bytes) -> Callable[[Any, RawServer], None]:
    """Read a request, send ``before``, then ``drop`` again and again, slowly."""
    def behave(connection: Any, server: RawServer) -> None:
        server.read_head(connection)
        connection.sendall(before)
        while not server.stopped.wait(PACE_SECONDS):
            connection.sendall(drop)
    return behave


def stays_silent_after(before: bytes) -> Callable[[Any, RawServer], None]:
    """Read a request, send ``before`` and nothing more."""
    def behave(connection: Any, server: RawServer) -> None:
        server.read_head(connection)
        connection.sendall(before)
        server.stopped.wait()
    return behave


def never_speaks(connection: Any, server: RawServer) -> None:
    """Neither read nor send."""
    server.stopped.wait()


def ok(body: bytes, *headers: str) -> bytes:
    """A whole 200 response."""
    lines = ["HTTP/1.1 200 OK", "Content-Length: {}".format(len(body))] + list(headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def proxies(connection: Any, server: RawServer) -> None:
    """A forward proxy: CONNECT makes a tunnel, anything else is answered by the proxy itself."""
    head = server.read_head(connection)
    method, target = head.decode("latin-1").split(" ")[:2]
    if method != "CONNECT":
        connection.sendall(ok(b"by the proxy"))
        return
    host, port = target.rsplit(":", 1)
    relay(connection, (host.strip("[]"), int(port)), b"HTTP/1.1 200 Established\r\n\r\n")


def relay(connection: Any, target: Tuple[str, int], greeting: bytes = b"") -> None:
    """Carry a connection on to another server until either side ends it."""
    with socket.create_connection(target) as beyond:
        connection.sendall(greeting)
        back = threading.Thread(target=_pump, args=(beyond, connection), daemon=True)
        back.start()
        _pump(connection, beyond)
        back.join(5)


def challenges(*offers: str) -> Callable[[Any, RawServer], None]:
    """A forward proxy that asks for a password before it does anything, and then takes any.

    Args:
        offers: the values of Proxy-Authenticate.
    """
    lines = "".join("Proxy-Authenticate: {}\r\n".format(offer) for offer in offers)
    refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n{}Content-Length: 4\r\n\r\nwho?".format(lines).encode()

    def behave(connection: Any, server: RawServer) -> None:
        first = connection.recv(65536, socket.MSG_PEEK).lower()
        if b"proxy-authorization" in first:
            proxies(connection, server)
        else:
            server.read_head(connection)
            connection.sendall(refusal)
    return behave


def _pump(source: Any, target: Any) -> None:
    try:
        for piece in iter(lambda: source.recv(65536), b""):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one side left


class Blackhole:
    """An address of the loopback that drops every SYN: the backlog is full and nobody accepts."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def __enter__(self) -> "Blackhole":
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._fillers + [self._listener]:
            each.close()


def authority(url: str) -> Tuple[str, int]:
    """Host and port of a URL with both."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def addresses(*places: Tuple[str, int]) -> Callable[..., Iterator[Any]]:
    """A stand-in for getaddrinfo that answers with these places, in this order."""
    def getaddrinfo(host: str, port: int, family: int = 0, kind: int = 0, *_: Any, **__: Any) -> Any:
        found = [(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, number))
                 for address, number in places]
        return [each for each in found if family in (0, each[0])]
    return getaddrinfo
