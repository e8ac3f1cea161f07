"""HTTP requests: ``Session.get`` returns a response within a byte limit and a deadline, or raises FetchError.

No redirect is followed, no cookie kept, no netrc read, nothing decompressed, no credential sent
to a host that the .repo file does not name (requests CVE-2018-18074, CVE-2024-47081).
"""
import contextlib
import http.client
import http.cookiejar
import socket
import threading
import time
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple
from urllib.parse import urlsplit

import requests
import urllib3

from .. import __version__
from ..errors import FetchError
from ..model import Network
from ..util.text import whole_number
from .session import FetchLimits, Response, Session, Stream, whole
from .tls import causes_of, find_tls_problem, make_context, tls_error
from .transport import Guard, GuardedAdapter, KeptConnections, proxies_for

READ_BYTES = 64 * 1024
USER_AGENT = "xcpng-mirrors/" + __version__


class _HttpStream(Stream):
    """The response to a request of this process."""

    def __init__(self, response: requests.Response, session: "HttpSession", limits: FetchLimits, started: float) -> None:
        self._response = response
        self._session = session
        self._limits = limits
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.links = tuple(response.raw.headers.getlist("Link"))
        self.first_byte_seconds = time.monotonic() - started
        self.received_bytes = 0

    def __exit__(self, *_: object) -> None:
        self._response.close()

    def chunks(self) -> Iterator[bytes]:
        """See Stream."""
        expected = self._expected_bytes()
        # http.client's own read1 returns what has arrived. urllib3's read waits in 1.26 (Python 3.6) for a full buffer, and its
        # read1 costs a third more time.
        body: Any = self._response.raw._fp
        with self._session.translated(self._response.url):
            for chunk in iter(lambda: body.read1(READ_BYTES), b""):
                self.received_bytes += len(chunk)
                if self.received_bytes > self._limits.max_bytes:
                    raise self._too_large()
                yield chunk
        self._session.check_time(self._response.url)
        if expected is not None and self.received_bytes != expected:
            raise FetchError("truncated", "{} of {} bytes arrived".format(self.received_bytes, expected),
                             where=self._response.url)
        body.close()  # http.client's response, not the connection: the next request may use that
        self._response.raw.release_conn()

    def _expected_bytes(self) -> Optional[int]:
        if self.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise FetchError("bad-answer", "an encoding that was not asked for", where=self._response.url)
        if self._response.request.method == "HEAD":
            return 0
        length = self.headers.get("content-length")
        if length is None or "transfer-encoding" in self.headers:
            return None
        expected = whole_number(length)
        if expected is None:
            raise FetchError("bad-answer", "an invalid Content-Length", where=self._response.url)
        if expected > self._limits.max_bytes:
            raise self._too_large()
        return expected

    def _too_large(self) -> FetchError:
        return FetchError("too-large", "more than the {} bytes that are allowed".format(self._limits.max_bytes),
                          where=self._response.url)


class _RequestsSession(requests.Session):
    """A session that ignores redirects."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return no target; requests calls this even when redirects are not followed, and parses what it returns."""


class HttpSessions:
    """Opens the sessions of this process, with one TLS context for each network's settings: loading a CA bundle takes 20 ms."""

    def __init__(self) -> None:
        self._contexts: Dict[Network, Any] = {}
        self._kept: Dict[Network, KeptConnections] = {}

    def open(self, network: Network, seconds: float, trusted_hosts: Tuple[str, ...] = ()) -> "HttpSession":
        """Open a session; arguments as of HttpSession.

        Raises:
            UsageError: the TLS settings of ``network`` cannot be used.
        """
        if network not in self._contexts:
            self._contexts[network] = make_context(network)
            self._kept[network] = KeptConnections()
        return HttpSession(network, self._contexts[network], seconds, trusted_hosts, kept=self._kept[network])


class HttpSession(Session):
    """A session of this process, on kept-alive connections.

    Args:
        network: proxy, TLS and credential settings.
        context: from ``tls.make_context(network)``; shared among sessions.
        seconds: after which every call fails with timed-out.
        trusted_hosts: host names that may receive ``network.username``.
        address: numeric address of the server, used without name resolution and without proxy; "": resolve the name.
        kept: idle connections of earlier sessions with the same settings.
    """

    def __init__(self, network: Network, context: Any, seconds: float, trusted_hosts: Tuple[str, ...] = (),
                 address: str = "", kept: Optional[KeptConnections] = None) -> None:
        self._network = network._replace(proxy="") if address else network
        self._trusted_hosts = trusted_hosts
        self._guard = Guard()
        self._proxied = False
        self._ends_at = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._guard.abort)
        self._timer.daemon = True
        self._session = _RequestsSession()
        self._session.trust_env = False
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._adapter = GuardedAdapter(self._guard, context, network.ip_resolve, address, kept)
        self._session.mount("https://", self._adapter)
        self._session.mount("http://", self._adapter)

    def __enter__(self) -> "HttpSession":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._adapter.keep_connections()
        self._session.close()
        self._guard.release()

    def abort(self) -> None:
        """See Session."""
        self._guard.abort()

    @property
    def certificate_expires(self) -> Optional[int]:
        """See Session."""
        return self._guard.certificate_expires

    @property
    def address(self) -> str:
        """See Session."""
        return "" if self._proxied else self._guard.address

    @property
    def connections(self) -> int:
        """The number of connections opened so far."""
        return self._guard.connections

    def get(self, url: str, limits: FetchLimits, headers: Optional[Mapping[str, str]] = None,
            accept: Tuple[int, ...] = (200,), method: str = "GET", target: str = "") -> Response:
        """See Session; more arguments as of ``open``."""
        started = time.monotonic()
        return whole(self.open(url, limits, headers, accept, method, target), started)

    def open(self, url: str, limits: FetchLimits, headers: Optional[Mapping[str, str]] = None,
             accept: Tuple[int, ...] = (200,), method: str = "GET", target: str = "") -> Stream:
        """See Session.

        Args:
            url, limits, headers, accept: as there.
            method: GET, or HEAD for the headers only.
            target: sent as it is in place of the URL's path, because requests would resolve the dot segments of a probe.
        """
        started = time.monotonic()
        wanted = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"}
        wanted.update(headers or {})
        with self.translated(url):
            proxies = proxies_for(self._network, url)
            self._proxied = bool(proxies)
            request = self._session.prepare_request(requests.Request(method, url, wanted, auth=self._credentials(url)))
            if target:
                request.url = "{0.scheme}://{0.netloc}{1}".format(urlsplit(url), target)
            response = self._session.send(
                request, stream=True, allow_redirects=False, timeout=(limits.connect_seconds, limits.read_seconds),
                proxies=proxies)
        if response.status_code not in accept:
            response.close()
            raise status_error(response.status_code, response.url)
        return _HttpStream(response, self, limits, started)

    @contextlib.contextmanager
    def translated(self, url: str) -> Iterator[None]:
        """Raise every exception of a block that talks to the server as a FetchError."""
        try:
            yield
        except FetchError:
            raise
        except Exception as error:
            self.check_time(url)
            raise translate(error, url) from error

    def check_time(self, url: str) -> None:
        """Raise FetchError timed-out if the deadline or ``abort`` has ended this session."""
        if self._guard.aborted:
            spent = "no complete answer before the deadline" if time.monotonic() >= self._ends_at else "given up"
            raise FetchError("timed-out", spent, where=url)

    def _credentials(self, url: str) -> Optional[Tuple[str, str]]:
        host = urllib3.util.parse_url(url).host or ""
        if self._network.username and host.strip("[]").lower() in self._trusted_hosts:
            return (self._network.username, self._network.password)
        return None


def status_error(status: int, url: str) -> FetchError:
    """Make the error for a status that is not accepted."""
    if 300 <= status < 400:
        return FetchError("redirect-refused", "it redirects (HTTP {})".format(status), where=url)
    return FetchError("http-status", "HTTP {}".format(status), where=url)


def translate(error: Exception, url: str) -> FetchError:
    """Turn an exception of requests, urllib3, ssl or the socket into a FetchError.

    Args:
        error: any exception of a request.
        url: what was asked.

    Returns:
        The FetchError to raise.
    """
    problem = find_tls_problem(error)
    if problem is not None:
        return tls_error(problem, url)
    if _has_cause(error, urllib3.exceptions.NewConnectionError):  # before the time-outs: in urllib3 1.26 it is a subclass of one
        return FetchError("unreachable", _shortest_cause(error), where=url)
    if _has_cause(error, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, socket.timeout):
        return FetchError("timed-out", "no answer in time", where=url)
    if _has_cause(error, urllib3.exceptions.IncompleteRead, http.client.IncompleteRead):
        return FetchError("truncated", "the connection was closed in the middle", where=url)
    if _has_cause(error, http.client.HTTPException) and not _has_cause(error, http.client.RemoteDisconnected):
        return FetchError("bad-answer", "what came is no HTTP", where=url)
    if isinstance(error, requests.exceptions.ConnectionError):
        return FetchError("unreachable", _shortest_cause(error), where=url)
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return FetchError("bad-answer", "an address that cannot be used", where=url)
    return FetchError("bad-answer", _shortest_cause(error), where=url)


def _has_cause(error: BaseException, *kinds: Any) -> bool:
    return any(isinstance(cause, kinds) for cause in causes_of(error))


def _shortest_cause(error: BaseException) -> str:
    """Return the words of the innermost system error, else the exception's name."""
    words = [cause.strerror for cause in causes_of(error) if isinstance(cause, OSError) and cause.strerror]
    return words[-1] if words else type(error).__name__
