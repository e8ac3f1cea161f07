"""Whether a server accepts connections over IPv4, over IPv6 and by rsync. For reports only."""
import ipaddress
import socket
from typing import NamedTuple

from ..model import Network
from ..util.urls import host_of
from .connect import connect, connect_to, refusal_of
from .transport import proxies_for

RSYNC_PORT = 873  # IANA's for rsync; the daemon begins with "@RSYNCD: " and its version, see rsync's csprotocol.txt
RSYNC_GREETING = b"@RSYNCD:"
ANSWERS = ("yes", "no", "none", "")


class Reachability(NamedTuple):
    """The answers: "yes", "no" (there is an address and no connection), "none" (no address), "" (not known)."""

    ipv4: str = ""
    ipv6: str = ""
    rsync: str = ""


def reachability_of(url: str, network: Network, timeout_seconds: float, rsync_port: int = RSYNC_PORT) -> Reachability:
    """Connect to a server over IPv4, over IPv6 and by rsync, one after the other.

    Args:
        url: of the server.
        network: for its proxy; through one, nothing can be found out.
        timeout_seconds: for each connection.
        rsync_port: that rsync is expected at.
    """
    if proxies_for(network, url):
        return Reachability()
    return Reachability(_answers(url, network, timeout_seconds, 4), _answers(url, network, timeout_seconds, 6),
                        _greets(url, network, rsync_port, timeout_seconds))


def _answers(url: str, network: Network, timeout_seconds: float, version: int) -> str:
    try:
        if ipaddress.ip_address(host_of(url)).version != version:
            return "none"
    except ValueError:
        pass  # a name
    try:
        connect_to(url, network, timeout_seconds, version).close()
    except socket.gaierror:
        return "none"
    except OSError:
        return "no"
    return "yes"


def _greets(url: str, network: Network, port: int, timeout_seconds: float) -> str:
    # rsync proves no name: its address is judged as that of plain http
    refuse = refusal_of("http:" + url.partition(":")[2], network)
    try:
        with connect(host_of(url), port, timeout_seconds, network.ip_resolve, refuse) as sock:
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
