"""One mirror: a server of its own, on an address of its own, serving a shared tree with its faults laid over it."""
import os
import posixpath
import ssl
import threading
from email.utils import formatdate
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from .accesslog import AccessLog
from .repositories import Trees
from .wire import Request, Response, Server, document, pieces_of

TYPES = {".xml": "text/xml", ".asc": "application/pgp-signature", ".rpm": "application/x-rpm", ".gz": "application/x-gzip"}
NOT_FOUND = document(b"<html><body><h1>404 Not Found</h1></body></html>\n", "text/html", 404)

Decide = Callable[["Mirror", Request], Optional[Response]]


class Fault(NamedTuple):
    """One way to be a bad mirror."""

    name: str
    description: str
    answer: Optional[Decide] = None  # None, or what it returns is None: as a healthy mirror does
    certificate: str = "good"  # a key of ca.KINDS
    rate: int = 0  # bytes per second of every answer
    deaf: bool = False
    listening: bool = True


class Mirror:
    """A running mirror.

    Args:
        name: unique in the lab; also its name in the access log.
        trees: what there is to serve.
        log: the access log.
        address: of 127.0.0.0/8, or ::1.
        tls: the context to serve https with; None: http.
        faults: any number of them; the first that decides about a request wins.
        state: the state it serves; "": the published one.
        base: path of the base URL, beginning and ending in "/".
        country: ISO 3166 code in upper case.
        sponsor: what the redirector calls it.
        plain_too: serve http on the port of https as well.
    """

    def __init__(
        self,
        name: str,
        trees: Trees,
        log: AccessLog,
        address: str,
        tls: Optional[ssl.SSLContext],
        faults: Tuple[Fault, ...] = (),
        state: str = "",
        base: str = "/",
        country: str = "FR",
        sponsor: str = "",
        plain_too: bool = False,
    ) -> None:
        self.name = name
        self.trees = trees
        self.faults = faults
        self.state = state
        self.base = base
        self.country = country
        self.sponsor = sponsor or name
        self.elsewhere = ""  # base URL of the plain http server that some faults redirect to
        self.mid_sync_requests = 1  # how many requests for each repomd.xml fault "mid-sync" answers with the old one
        self._counts: Dict[str, int] = {}
        self._lock = threading.Lock()
        deaf = any(fault.deaf for fault in faults)
        listening = all(fault.listening for fault in faults)
        self.server = Server(name, self.answer, log, address, tls, plain_too, deaf, listening=listening)
        self.url = "{}://{}{}".format("https" if tls else "http", self.server.authority, base)

    def close(self) -> None:
        """End the server and all its connections."""
        self.server.close()

    def answer(self, request: Request) -> Response:
        """Decide what a request gets: the first fault with an opinion, else the file."""
        opinions = (fault.answer(self, request) for fault in self.faults if fault.answer)
        response = next((opinion for opinion in opinions if opinion is not None), None) or self.serve(request)
        rates = [fault.rate for fault in self.faults if fault.rate]
        return response._replace(rate=min(rates)) if rates else response

    def relative(self, request: Request) -> str:
        """Return the requested path below the base, "" if it is outside."""
        path = posixpath.normpath(request.path)
        return path[len(self.base) :] if path.startswith(self.base) else ""

    def file(self, request: Request, state: str = "", variant: str = "") -> str:
        """Return where the requested file lies on disk in the given state, "" if there is none."""
        path = self.relative(request)
        return self.trees.file(path, state or self.state, variant) if path else ""

    def serve(self, request: Request, state: str = "", variant: str = "") -> Response:
        """Answer as a healthy mirror does, from the given state and its signature variant."""
        path = self.file(request, state, variant)
        if not path or request.method not in ("GET", "HEAD"):
            return NOT_FOUND
        size = os.path.getsize(path)
        start, end = _range(request.headers.get("range", ""), size)
        headers = _file_headers(path)
        if start >= end and size:
            return Response(416, (("Content-Range", "bytes */{}".format(size)),))
        if "range" not in request.headers:
            return Response(200, headers, pieces_of(path, 0, size), size)
        headers += (("Content-Range", "bytes {}-{}/{}".format(start, end - 1, size)),)
        return Response(206, headers, pieces_of(path, start, end - start), end - start)

    def count(self, path: str) -> int:
        """Count the requests for ``path``; the first call returns 1."""
        with self._lock:
            self._counts[path] = self._counts.get(path, 0) + 1
            return self._counts[path]


def _file_headers(path: str) -> Tuple[Tuple[str, str], ...]:
    kind = TYPES.get(os.path.splitext(path)[1], "application/octet-stream")
    changed = formatdate(os.stat(path).st_mtime, usegmt=True)
    return (("Server", "lab"), ("Content-Type", kind), ("Last-Modified", changed), ("Accept-Ranges", "bytes"))


def _range(header: str, size: int) -> Tuple[int, int]:
    """Return the first byte and the end (not included) of a single-range request (RFC 9110, section 14.1.2)."""
    words: List[str] = header.replace("bytes=", "").split(",")[0].split("-")
    if len(words) != 2 or not (words[0] + words[1]).isdigit():
        return 0, size
    if not words[0]:
        return max(0, size - int(words[1])), size
    return int(words[0]), min(size, int(words[1]) + 1) if words[1] else size
