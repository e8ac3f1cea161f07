"""The transport below requests: sockets that can be ended from outside, our TLS context, and the proxies that curl would use."""
import contextlib
import http.client
import io
import os
import queue
import re
import socket
import ssl
import threading
import time
import urllib.request
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple
from urllib.parse import quote, urlsplit, urlunsplit

import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import should_bypass_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import is_connection_dropped

from ..model import Network
from .connect import clean_address, connect

HTTP_PROXY_AUTHENTICATION = 407
_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]*)(?=\s*(?:,|$)|\s+[^\s=,])")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_STRONGER = {"digest", "negotiate", "ntlm"}  # than Basic; neither of them is spoken here
MAX_IDLE_SECONDS = 3.0  # nginx closes an idle connection after 75 s, Apache after 5: younger ones are used only


class Guard:
    """Holds a second handle of each socket of one session, to end them from outside.

    The first handle does not serve: ssl detaches it during the handshake.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: List[socket.socket] = []
        self.aborted = False
        self.connections = 0
        self.certificate_expires: Optional[int] = None
        self.address = ""  # of the last server or proxy that was connected to
        self.refuse: Callable[[str], str] = lambda address: ""  # see ``connect``; for the next request
        self.challenges: Sequence[str] = ()  # of the proxy that has refused to connect

    def watch(self, sock: socket.socket) -> None:
        """Remember a connection; end it at once if the session is already aborted."""
        with self._lock:
            with contextlib.suppress(OSError):  # it may be closed already
                self.address = clean_address(sock.getpeername()[0])
            self._sockets.append(sock.dup())
            self.connections += 1
            if self.aborted:
                _shut(sock)

    def adopt(self, sock: socket.socket) -> None:
        """Watch the connection of an earlier session; of its TLS, too, only the socket below is needed."""
        with self._lock:
            with contextlib.suppress(OSError):
                self.address = clean_address(sock.getpeername()[0])
            self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
            if self.aborted:
                _shut(sock)
        self.certificate_expires = _certificate_end(sock)

    def abort(self) -> None:
        """End all sockets, also future ones: a thread that is blocked in a read wakes up."""
        with self._lock:
            self.aborted = True
            for sock in self._sockets:
                _shut(sock)

    def release(self) -> None:
        """Close all handles; called once, after the last request."""
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets = []


def _certificate_end(sock: Any) -> Optional[int]:
    """Return when the server's certificate expires, seconds since 1970; None without TLS or verification."""
    certificate = sock.getpeercert() if hasattr(sock, "getpeercert") else None
    try:
        return int(ssl.cert_time_to_seconds(certificate["notAfter"])) if certificate else None
    except (KeyError, ValueError):  # no date
        return None


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is not connected any more
        sock.shutdown(socket.SHUT_RDWR)


class KeptConnections:
    """Idle connections of sessions that have ended, for the next session to the same server with the same settings.

    A mirror that was just probed sends the metadata next: on a line of 250 ms a new connection with TLS costs 0.75 s.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: Dict[Any, List[Tuple[Any, float]]] = {}  # with the time when it became idle
        self.basic_proxies: Set[str] = set()  # that have asked for a password as Basic

    def put(self, key: Any, connection: Any) -> None:
        """Keep an idle connection."""
        with self._lock:
            self._kept.setdefault(key, []).append((connection, time.monotonic()))

    def take(self, key: Any) -> Any:
        """Return a connection that the server has not closed; None if there is none."""
        with self._lock:
            kept = self._kept.get(key, [])
            while kept:
                connection, since = kept.pop()
                if time.monotonic() - since < MAX_IDLE_SECONDS and not is_connection_dropped(connection):
                    return connection
                connection.close()
        return None


class GuardedAdapter(HTTPAdapter):
    """The transport of one session: its connections are watched by the guard and use our TLS context; no retries.

    Args:
        guard: watches the sockets.
        context: the TLS context; requests' own bundle is never loaded.
        network: for ip_resolve and proxy_auth_method.
        address: numeric address of the server; "": resolve the name. The names in TLS and HTTP stay those of the URL.
        kept: connections of earlier sessions with the same settings.
    """

    def __init__(self, guard: Guard, context: ssl.SSLContext, network: Network, address: str = "",
                 kept: Optional[KeptConnections] = None) -> None:
        self._context = context
        self._guard = guard
        self._kept = kept
        if urllib3.__version__.startswith("1."):  # type: ignore[attr-defined]
            # 1.26 (Python 3.6) gives OpenSSL no name if the host is an address; it compares names itself if OpenSSL does not
            context.check_hostname = False
        self._auth_method = network.proxy_auth_method
        self._basic_proxies = kept.basic_proxies if kept is not None else set()
        self._pools = _pool_classes(guard, network.ip_resolve, address, kept)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Called by requests; adds our context and connection classes."""
        super().init_poolmanager(*args, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def keep_connections(self) -> None:
        """Leave the idle direct connections to the next session, instead of closing them; called once, at the end."""
        pools = self.poolmanager.pools
        kept = self._kept
        for pool in [pools.get(key) for key in pools.keys()] if kept is not None and not self._guard.aborted else ():
            with contextlib.suppress(queue.Empty):
                while True:
                    connection = pool.pool.get_nowait()
                    if kept is not None and connection is not None and connection.sock is not None:
                        kept.put((pool.scheme, pool.host, pool.port), connection)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Called by requests; the same for connections through a proxy."""
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def proxy_headers(self, proxy: str) -> Dict[str, str]:
        """Called by requests: the password is sent where the proxy has asked for it, or the admin wants it so."""
        return super().proxy_headers(proxy) if self._sends_basic(proxy) else {}

    def _sends_basic(self, proxy: str) -> bool:
        return self._auth_method == "basic" or proxy in self._basic_proxies

    def accept_challenge(self, proxy: str, challenges: Sequence[str]) -> bool:
        """Send the password from now on if the proxy asks for it as Basic; return whether that is new."""
        if not urlsplit(proxy).username or self._sends_basic(proxy) or not is_basic_wanted(challenges, self._auth_method):
            return False
        self._basic_proxies.add(proxy)
        self.proxy_manager.pop(proxy, None)
        return True

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Called by requests to load certifi's bundle: our context has its own."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Called by requests >= 2.32 for the same purpose: return the server, and leave TLS to our context."""
        parts = urlsplit(request.url)
        return {"scheme": parts.scheme, "host": parts.hostname, "port": parts.port}, {}


def _pool_classes(guard: Guard, ip_resolve: int, address: str, kept: Optional[KeptConnections]) -> Dict[str, Any]:
    """Make connection classes bound to one guard: urllib3 offers no other way to pass a value to them."""
    plain, secure = _connection_classes(guard, ip_resolve, address)
    pool = _pool_class(guard, kept)
    return {
        "http": type("PlainPool", (pool,), {"ConnectionCls": plain}),
        "https": type("SecurePool", (pool, HTTPSConnectionPool), {"ConnectionCls": secure}),
    }


def _connection_classes(guard: Guard, ip_resolve: int, address: str) -> Tuple[Any, Any]:
    def open_socket(connection: Any) -> socket.socket:
        if guard.aborted:
            raise urllib3.exceptions.NewConnectionError(connection, "given up")
        host = address or getattr(connection, "_dns_host", connection.host).strip("[]")
        sock = connect(host, connection.port, connection.timeout, ip_resolve, guard.refuse)
        sock.settimeout(connection.timeout)
        guard.watch(sock)
        return sock

    class Plain(HTTPConnection):
        def _new_conn(self) -> Any:
            return _translated_socket(self, open_socket)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> Any:
            return _translated_socket(self, open_socket)

        def _tunnel(self) -> None:
            self.response_class = _tunnel_response(guard)
            try:
                super()._tunnel()
            finally:
                del self.response_class

        def connect(self) -> None:
            super().connect()
            guard.certificate_expires = _certificate_end(self.sock)

    return Plain, Secure


def _tunnel_response(guard: Guard) -> Any:
    """Make the class that reads a proxy's answer to CONNECT: http.client's own throws away what the proxy asks for."""
    class TunnelResponse(http.client.HTTPResponse):
        def _read_status(self) -> Any:
            status = super()._read_status()  # type: ignore[misc]
            if status[1] == HTTP_PROXY_AUTHENTICATION:
                guard.challenges = http.client.parse_headers(self.fp).get_all("Proxy-Authenticate", ())
                self.fp = io.BufferedReader(io.BytesIO(b"\r\n"))  # Python 3.12 reads the headers itself
            return status

    return TunnelResponse


def _pool_class(guard: Guard, kept: Optional[KeptConnections]) -> Any:
    class KeepingPool(HTTPConnectionPool):
        def _get_conn(self, timeout: Any = None) -> Any:
            connection: Any = super()._get_conn(timeout)
            if kept is not None and self.proxy is None and connection.sock is None:
                earlier = kept.take((self.scheme, self.host, self.port))
                if earlier is not None:
                    guard.adopt(earlier.sock)
                    return earlier
            return connection

        def urlopen(self, *args: Any, **options: Any) -> Any:
            """Ask again if the server has closed an idle connection while the request was on its way (RFC 9112, 9.3.1)."""
            opened = guard.connections
            while True:
                try:
                    return super().urlopen(*args, **options)
                except urllib3.exceptions.ProtocolError as error:
                    was_new = guard.connections > opened
                    if was_new or guard.aborted or not isinstance(error.args[-1], (ConnectionResetError, BrokenPipeError)):
                        raise

    return KeepingPool


def _translated_socket(connection: Any, open_socket: Any) -> socket.socket:
    try:
        return open_socket(connection)  # type: ignore[no-any-return]
    except socket.timeout as error:
        raise urllib3.exceptions.ConnectTimeoutError(connection, "connection timed out") from error
    except OSError as error:
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error


def proxies_for(network: Network, url: str) -> Dict[str, str]:
    """Choose the proxy for a URL.

    Args:
        network: its ``proxy``; if that is None, the environment's http_proxy, https_proxy, all_proxy and no_proxy are used,
            as dnf does through libcurl.
        url: what is to be fetched.

    Returns:
        What requests takes as ``proxies``; empty for a direct connection.
    """
    parts = urlsplit(url)
    if network.proxy is not None:
        return {parts.scheme: _with_credentials(network)} if network.proxy else {}
    environment = urllib.request.getproxies_environment()
    if parts.scheme == "http":  # curl(1): only in lower case, because a CGI program gets a client's header as HTTP_PROXY
        environment["http"] = os.environ.get("http_proxy", "")
    chosen = environment.get(parts.scheme) or environment.get("all")
    if not chosen or _is_exempt(url):
        return {}
    return {parts.scheme: chosen}


def _is_exempt(url: str) -> bool:
    """Return whether no_proxy names the server of a URL, as curl reads it: by whole labels.

    requests 2.27, the last one for Python 3.6, takes "est" for the end of "m.test": such names are left out here.
    """
    parts = urlsplit(url)
    places = ["." + (parts.hostname or ""), ".{}:{}".format(parts.hostname, parts.port)]
    names = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").replace(" ", "").split(",")
    whole = [name for name in names
             if not any(place.endswith(name) and not place.endswith("." + name.lstrip(".")) for place in places)]
    return bool(should_bypass_proxies(url, no_proxy=",".join(whole)))


def is_basic_wanted(challenges: Sequence[str], method: str) -> bool:
    """Whether a proxy's challenges are to be answered by a password in the clear (Basic), as the package manager would.

    dnf has proxy_auth_method=any unless it is set: libcurl first asks without a password, and then takes the strongest method
    that the proxy offers (CURLAUTH_ANY). yum has no such setting, and sends Basic in any case.

    Args:
        challenges: the values of Proxy-Authenticate (RFC 9110 section 11.7.1).
        method: proxy_auth_method; "": there is no such setting.
    """
    offered = {name.lower() for line in challenges for name in _SCHEME.findall(_QUOTED.sub("", line))}
    if method not in ("", "any", "basic") or "basic" not in offered:
        return False
    return method != "any" or not offered & _STRONGER


def _with_credentials(network: Network) -> str:
    """Put proxy_username and proxy_password into the proxy's URL, where requests expects them."""
    proxy = network.proxy or ""
    if not network.proxy_username or "@" in proxy:
        return proxy
    parts = urlsplit(proxy)
    user = "{}:{}@{}".format(quote(network.proxy_username, safe=""), quote(network.proxy_password, safe=""), parts.netloc)
    return urlunsplit(parts._replace(netloc=user))
