"""Whether servers answer over IPv4, over IPv6 and by rsync: connected to, not just looked up. For reports only."""
import ipaddress
import queue
import socket
import threading
import time
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from ..model import Network
from ..urls import host_of, port_of
from .connect import connect
from .transport import proxies_for

RSYNC_PORT = 873  # IANA's for rsync; the daemon greets with "@RSYNCD: " and its version, see rsync's csprotocol.txt
RSYNC_GREETING = b"@RSYNCD:"
MAX_THREADS = 24


class Reach(NamedTuple):
    """How a server is reached: "yes", "no" (there is an address, nobody answers), "none" (no address), "" (not known)."""

    ipv4: str = ""
    ipv6: str = ""
    rsync: str = ""


Check = Callable[[], str]


def reach_all(urls: Sequence[str], network: Network, timeout_seconds: float, deadline_seconds: float,
              on_done: Callable[[int, int], None] = lambda done, total: None, rsync_port: int = RSYNC_PORT) -> Dict[str, Reach]:
    """Connect to the servers of some URLs, side by side.

    Args:
        urls: one of each server.
        network: for a proxy, behind which nothing can be seen.
        timeout_seconds: for each connection.
        deadline_seconds: for the whole; what has not come by then is not known.
        on_done: called with the number of connections that are tried, and of all.
        rsync_port: where rsync is looked for.

    Returns:
        How each is reached, by URL.
    """
    checks: List[Tuple[Tuple[str, str], Check]] = []
    for url in urls:
        if not proxies_for(network, url):
            checks += [((url, field), check) for field, check in _checks(url, timeout_seconds, rsync_port)]
    found = _side_by_side(checks, time.monotonic() + deadline_seconds, on_done)
    return {url: Reach(*(found.get((url, field), "") for field in Reach._fields)) for url in urls}


def _checks(url: str, timeout_seconds: float, rsync_port: int) -> List[Tuple[str, Check]]:
    host, port = host_of(url), port_of(url)
    return [("ipv4", lambda: _answers(host, port, timeout_seconds, 4)),
            ("ipv6", lambda: _answers(host, port, timeout_seconds, 6)),
            ("rsync", lambda: _greets(host, rsync_port, timeout_seconds))]


def _side_by_side(checks: Sequence[Tuple[Tuple[str, str], Check]], ends_at: float,
                  on_done: Callable[[int, int], None]) -> Dict[Tuple[str, str], str]:
    """Run checks in daemon threads: one that hangs in the system's resolver keeps nobody."""
    waiting: "queue.Queue[Tuple[Tuple[str, str], Check]]" = queue.Queue()
    done: "queue.Queue[Tuple[Tuple[str, str], str]]" = queue.Queue()
    for item in checks:
        waiting.put(item)

    def work() -> None:
        while time.monotonic() < ends_at:
            try:
                key, check = waiting.get_nowait()
            except queue.Empty:
                return
            done.put((key, check()))

    for _ in range(min(MAX_THREADS, len(checks))):
        threading.Thread(target=work, daemon=True).start()
    found: Dict[Tuple[str, str], str] = {}
    while len(found) < len(checks):
        try:
            key, answer = done.get(timeout=max(0.0, ends_at - time.monotonic()))
        except queue.Empty:
            break
        found[key] = answer
        on_done(len(found), len(checks))
    return found


def _answers(host: str, port: int, timeout_seconds: float, version: int) -> str:
    try:
        if ipaddress.ip_address(host).version != version:
            return "none"
    except ValueError:
        pass  # a name
    try:
        connect(host, port, timeout_seconds, version).close()
    except socket.gaierror:
        return "none"
    except OSError:
        return "no"
    return "yes"


def _greets(host: str, port: int, timeout_seconds: float) -> str:
    try:
        with connect(host, port, timeout_seconds) as sock:
            sock.settimeout(timeout_seconds)
            greeting = b""
            while len(greeting) < len(RSYNC_GREETING):
                piece = sock.recv(len(RSYNC_GREETING) - len(greeting))
                if not piece:
                    break
                greeting += piece
    except socket.gaierror:
        return "none"
    except OSError:
        return "no"
    return "yes" if greeting == RSYNC_GREETING else "no"
