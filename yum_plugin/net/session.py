"""The interface of a conversation with servers: whoever only uses one need not load what makes it (fetch.py)."""
import abc
import time
from typing import Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

from ..model import Network

# For repomd.xml, lists of checksums and their signatures, as librepo asks for repomd.xml: a cache on the way that keeps one of a
# pair makes an honest mirror look like one that was tampered with (RFC 9111 section 5.2.1.4; Pragma for those of HTTP/1.0).
NO_CACHE = {"Cache-Control": "no-cache", "Pragma": "no-cache"}
NO_RANGE = (403, 416)  # how servers that want no Range answer one, although they have the file
MISSING = (404, 410)  # RFC 9110: there is no such file. Any other failure says nothing about that.


class FetchLimits(NamedTuple):
    """The limits of one request."""

    max_bytes: int
    connect_seconds: float = 3.0
    read_seconds: float = 4.0  # between two arrivals of bytes; the session's deadline limits the whole


class Response(NamedTuple):
    """A complete response."""

    status: int
    headers: Dict[str, str]  # names in lower case; of a repeated one the last
    links: Tuple[str, ...]  # all Link header lines
    body: bytes
    first_byte_seconds: float  # from the call to the end of the headers, connecting included
    seconds: float


class Stream(abc.ABC):
    """A response whose body is still arriving; made by ``Session.open``, a context manager."""

    status: int
    headers: Dict[str, str]  # names in lower case; of a repeated one the last
    links: Tuple[str, ...]  # all Link header lines
    first_byte_seconds: float  # from the call to the end of the headers, connecting included

    def __enter__(self) -> "Stream":
        return self

    @abc.abstractmethod
    def __exit__(self, *_: object) -> None:
        """Release the response, read to its end or not."""

    @abc.abstractmethod
    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            FetchError: too-large, truncated, timed-out, unreachable, bad-answer.
        """


class Session(abc.ABC):
    """Requests to servers that end at a deadline whatever the servers do.

    Use it as a context manager. ``abort`` may be called from any thread and ends a blocked call at once.
    """

    @property
    @abc.abstractmethod
    def certificate_expires(self) -> Optional[int]:
        """End of validity of the server's certificate, seconds since 1970; None if none was seen."""

    @property
    @abc.abstractmethod
    def address(self) -> str:
        """The IP address that was connected to last; "" if there is none yet, or proxies hide it."""

    @abc.abstractmethod
    def __enter__(self) -> "Session":
        """Start the time."""

    @abc.abstractmethod
    def __exit__(self, *_: object) -> None:
        """End all connections."""

    @abc.abstractmethod
    def abort(self) -> None:
        """End every running call with a FetchError; later ones fail at once."""

    @abc.abstractmethod
    def open(self, url: str, limits: FetchLimits, headers: Optional[Mapping[str, str]] = None,
             accept: Tuple[int, ...] = (200,)) -> Stream:
        """Send a request and read the response's headers; arguments and errors as of ``get``."""

    def get(self, url: str, limits: FetchLimits, headers: Optional[Mapping[str, str]] = None,
            accept: Tuple[int, ...] = (200,)) -> Response:
        """Fetch a whole (small) response.

        Args:
            url: http or https.
            limits: byte limit and time-outs.
            headers: added to the request.
            accept: the status codes that are not an error.

        Returns:
            The response; its status is one of ``accept``.

        Raises:
            FetchError: there is no such response; the reference says why.
        """
        started = time.monotonic()
        return whole(self.open(url, limits, headers, accept), started)


def whole(response: Stream, started: float) -> Response:
    """Read a response to its end; ``started``: by ``time.monotonic``, when it was asked for."""
    with response as stream:
        body = b"".join(stream.chunks())
    return Response(stream.status, stream.headers, stream.links, body, stream.first_byte_seconds, time.monotonic() - started)


OpenSession = Callable[[Network, float], Session]  # arguments as of ``HttpSessions.open``
