"""Whether a server accepts connections over IPv4, over IPv6 and by rsync. For reports only."""
import ipaddress
import socket
from typing import NamedTuple

from ..model import Network
from ..util.urls import host_of, port_of
from .connect import connect
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
    host, port = host_of(url), port_of(url)
    return Reachability(_answers(host, port, timeout_seconds, 4), _answers(host, port, timeout_seconds, 6),
                        _greets(host, rsync_port, timeout_seconds))


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
