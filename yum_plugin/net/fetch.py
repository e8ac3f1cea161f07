"""HTTP requests: ``Session.get`` returns a response within a byte limit and a deadline, or raises FetchError.

Only the admin's own baseurl= may redirect (reach.py, rule 8). No cookie is kept, no netrc read, nothing decompressed, no
credential sent to a place that the .repo file does not name (requests CVE-2018-18074, CVE-2024-47081), no server asked that a
list may not name (reach.py).
"""
import contextlib
import http.client
import http.cookiejar
import threading
import time
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Tuple, cast
from urllib.parse import urljoin, urlsplit

import requests

from .. import __version__
from ..errors import FetchError
from ..model import Network
from ..util.text import whole_number
from .connect import refusal_of
from .reach import is_own, may_redirect, name_refusal, place_of
from .session import FetchLimits, Response, Session, Stream, whole
from .tls import TlsContexts, make_contexts
from .translate import status_error, translate
from .transport import HTTP_PROXY_AUTHENTICATION, Guard, GuardedAdapter, KeptConnections, proxies_for

READ_BYTES = 64 * 1024
REDIRECTS = (301, 302, 303, 307, 308)  # RFC 9110 section 15.4
MAX_REDIRECTS = 6  # librepo's CURLOPT_MAXREDIRS
USER_AGENT = "xcpng-mirrors/" + __version__


_OWN = "own:"  # no scheme of a URL: the .repo file's own places


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
        encoding = self.headers.get("content-encoding", "identity").lower()
        # Apache's AddEncoding names what a .gz file is, not what was done to it: the file is these bytes, as for librepo.
        is_own_form = encoding in ("gzip", "x-gzip") and urlsplit(self._response.url).path.endswith(".gz")
        if encoding not in ("identity", "") and not is_own_form:
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
    """A session that ignores redirects.

    Args:
        is_own: whether a URL is at a place that gets the client certificate.
    """

    def __init__(self, is_own: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_own = is_own

    def get_adapter(self, url: str) -> Any:
        """Called by requests: the transport with the client certificate is for the .repo file's own places."""
        return super().get_adapter(_OWN if self._is_own(url) else url)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return no target; requests calls this even when redirects are not followed, and parses what it returns."""


class HttpSessions:
    """Opens the sessions of this process, with TLS contexts made once for each network: loading a CA bundle takes 20 ms.

    Args:
        make_contexts: as ``tls.make_contexts``, where the files have been loaded already.
    """

    def __init__(self, make_contexts: Callable[[Network], TlsContexts] = make_contexts) -> None:
        self._make_contexts = make_contexts
        self._contexts: Dict[Network, TlsContexts] = {}
        self._kept: Dict[Network, KeptConnections] = {}

    def open(self, network: Network, seconds: float) -> "HttpSession":
        """Open a session; arguments as of HttpSession.

        Raises:
            UsageError: the TLS settings of ``network`` cannot be used.
        """
        if network not in self._contexts:
            self._contexts[network] = self._make_contexts(network)
            self._kept[network] = KeptConnections()
        return HttpSession(network, self._contexts[network], seconds, kept=self._kept[network])


class HttpSession(Session):
    """A session of this process, on kept-alive connections.

    Args:
        network: proxy, TLS and credential settings.
        contexts: from ``tls.make_contexts(network)``; shared among sessions.
        seconds: after which every call fails with timed-out.
        address: numeric address of the server, used without name resolution and without proxy; "": resolve the name.
        kept: idle connections of earlier sessions with the same settings.
    """

    def __init__(self, network: Network, contexts: TlsContexts, seconds: float,
                 address: str = "", kept: Optional[KeptConnections] = None) -> None:
        self._network = network._replace(proxy="") if address else network
        self._guard = Guard()
        self._proxied = False
        self._ends_at = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._guard.abort)
        self._timer.daemon = True
        self._session = _RequestsSession(lambda url: is_own(network, url))
        self._session.trust_env = False
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        own, others = (GuardedAdapter(self._guard, context, network, address, kept) for context in contexts)
        for prefix, adapter in ((_OWN, own), ("https://", others), ("http://", others)):
            self._session.mount(prefix, adapter)
        self._adapters = (own, others)

    def __enter__(self) -> "HttpSession":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for adapter in self._adapters:
            adapter.keep_connections()
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
        response = self._ask(url, url, wanted, limits, method, target)
        for _ in range(MAX_REDIRECTS if may_redirect(self._network, url) else 0):
            if response.status_code in accept or response.status_code not in REDIRECTS:
                break
            response.close()
            response = self._ask(self._next_hop(response), url, wanted, limits, method)
        if response.status_code not in accept:
            response.close()
            raise status_error(response.status_code, response.url, response.headers.get("Retry-After", ""))
        return _HttpStream(response, self, limits, started)

    def _ask(self, url: str, first: str, headers: Mapping[str, str], limits: FetchLimits, method: str,
             target: str = "") -> requests.Response:
        """Send one request; credentials go with it if it goes where the ``first`` one went."""
        proxies = self._route(url)
        with self.translated(url):
            auth = self._credentials(url) if place_of(url) == place_of(first) else None
            request = self._session.prepare_request(requests.Request(method, url, headers, auth=auth))
            if target:
                request.url = "{0.scheme}://{0.netloc}{1}".format(urlsplit(url), target)
            return self._send(request, limits, proxies)

    def _next_hop(self, response: requests.Response) -> str:
        """Return where a redirect leads; raise FetchError redirect-refused if it is not followed."""
        location = response.headers.get("Location", "")
        url = urljoin(response.url, location).partition("#")[0]
        if not location.isprintable() or not url.startswith(("https://", "http://")) or "@" in urlsplit(url).netloc:
            raise FetchError("redirect-refused", "it redirects to what is no address of a file", where=response.url)
        if response.url.startswith("https:") and not url.startswith("https:"):
            raise FetchError("redirect-refused", "it redirects from https to http", where=response.url)
        return url

    def _route(self, url: str) -> Dict[str, str]:
        """Return the proxies for a URL; raise FetchError address-refused if a list may not lead there (net/reach.py)."""
        proxies = proxies_for(self._network, url)
        self._proxied = bool(proxies)
        self._guard.refuse = (lambda address: "") if proxies else refusal_of(url, self._network)
        refused = name_refusal(url, self._network.reach, self._network.ssl_verify, self._proxied)
        if refused:
            raise FetchError("address-refused", refused, where=url)
        return proxies

    def _send(self, request: requests.PreparedRequest, limits: FetchLimits, proxies: Dict[str, str]) -> requests.Response:
        """Send a request; once more with the password of the proxy if that asks for it."""
        adapter = cast(GuardedAdapter, self._session.get_adapter(str(request.url)))
        while True:
            self._guard.challenges = ()
            try:
                response = self._session.send(request, stream=True, allow_redirects=False, proxies=proxies,
                                              timeout=(limits.connect_seconds, limits.read_seconds))
            except requests.exceptions.RequestException:
                if not any(adapter.accept_challenge(proxy, self._guard.challenges) for proxy in proxies.values()):
                    raise
                continue
            challenges = response.raw.headers.getlist("Proxy-Authenticate")
            if response.status_code != HTTP_PROXY_AUTHENTICATION or not any(
                    adapter.accept_challenge(proxy, challenges) for proxy in proxies.values()):
                return response
            response.close()

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
        if self._network.username and is_own(self._network, url):
            return (self._network.username, self._network.password)
        return None
