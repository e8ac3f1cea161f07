"""Where requests may go, and what they may show there: what the admin has named, and what a list may name. Pure.

Rules, in order:
    1. What the admin has named (baseurl=, fallbacks=, prefer=, redirectors=) may be anywhere, at any port.
    2. What lies in allow_networks= is as if the admin had named it. Behind a proxy the address is the proxy's affair: the name
       of the list is judged alone.
    3. A list names hosts by their names: no address, in whatever spelling, and no port but the scheme's own.
    4. No name of a list leads to this host, its link, or to what is no address of one host (loopback, link-local, unspecified,
       multicast, reserved), nor does an IPv6 address that stands for such an IPv4 one (mapped, NAT64, 6to4).
    5. It leads to a private address only by https, whose certificate proves the name, or if the redirector itself is on a
       private network. Without a check of certificates (sslverify=0) https counts as http.
    6. The address that counts is the one that is connected to. It is judged there, for a name can have another one the next
       time (DNS rebinding).
    7. User name, password and client certificate belong to scheme, host and port of a baseurl=.
    8. A server of a baseurl= that is no redirector may redirect, as it may for yum and dnf; never from https to http. Each hop
       is judged as a URL of a list, and is shown no credentials of another place. A mirror of a list may not.
"""
import ipaddress
import re
from typing import Callable, Iterable, Optional, Sequence, Tuple, Union

from ..model import Network, Reach
from ..util.urls import DEFAULT_PORTS, host_of, port_of

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

PUBLIC, PRIVATE, NEVER = "public", "private", "never"
_NEVER = tuple(map(ipaddress.ip_network, (
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",  # RFC 6890
    "::/96", "fe80::/10", "ff00::/8", "100::/64")))  # RFC 4291 section 2.5, RFC 6666
_PRIVATE = tuple(map(ipaddress.ip_network, (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
    "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15",  # RFC 6598, RFC 6890; proxies hand out the last one
    "fc00::/7", "fec0::/10")))  # RFC 4193, RFC 3879
# IPv6 addresses that stand for an IPv4 one, and where that is in them (RFC 4291, RFC 6052, RFC 8215, RFC 3056).
_EMBEDDING = tuple((ipaddress.ip_network(text), shift) for text, shift in (
    ("::ffff:0:0/96", 0), ("::ffff:0:0:0/96", 0), ("64:ff9b::/96", 0), ("64:ff9b:1::/48", 0), ("2002::/16", 80)))
_NUMBER = re.compile(r"^(0[xX][0-9A-Fa-f]*|[0-9]+)\Z")  # of inet_aton(3): no name ends in such a label
_OWN_NAMES = ("localhost", "localdomain")  # RFC 6761 section 6.3
_INNER_NAMES = ("local", "internal", "home.arpa")  # RFC 6762, RFC 8375, ICANN


def place_of(url: str) -> str:
    """Return scheme, host and port of an http or https URL."""
    return "{}://{}:{}".format(url.partition(":")[0].lower(), host_of(url), port_of(url))


def is_own(network: Network, url: str) -> bool:
    """Whether credentials may be shown to the server of a URL (rule 7)."""
    return network.reach is not None and place_of(url) in network.reach.own


def may_redirect(network: Network, url: str) -> bool:
    """Whether redirects of the server of a URL are followed (rule 8). What a redirector answers is an answer of its own."""
    return is_own(network, url) and network.reach is not None and host_of(url) not in network.reach.redirectors


def name_refusal(url: str, reach: Optional[Reach], secure: bool = True, proxied: bool = False) -> str:
    """Judge a URL of a list before its name is looked up (rules 1 to 4).

    Args:
        url: http or https.
        reach: what the admin has named; None: every URL is the admin's.
        secure: whether https proves the name.
        proxied: whether the name is all that will be known.

    Returns:
        Why it may not be asked, in words; "" if it may.
    """
    host = host_of(url).rstrip(".")
    if reach is None or host_of(url) in reach.hosts:
        return ""
    address = _literal(host)
    if address is not None and within(str(address), reach.networks):
        return ""
    if address is not None or _NUMBER.match(host.rpartition(".")[2]):
        return "the list gives an address in place of a name, and allow_networks= does not contain it"
    if port_of(url) != DEFAULT_PORTS[url.partition(":")[0].lower()] and (proxied or not reach.networks):
        return "the list gives a port that is not the scheme's own, and allow_networks= does not contain the mirror"
    if not proxied:
        return ""
    if _ends_in(host, _OWN_NAMES):
        return "the list gives a name that means this host itself"
    inner = "." not in host or _ends_in(host, _INNER_NAMES)
    return "the list gives a private name, without https" if inner and not (secure and url.startswith("https:")) else ""


def address_refusal(url: str, address: str, network: Network,
                    is_redirector_private: Callable[[], bool] = lambda: False) -> str:
    """Judge the address that is about to be connected to for a URL (rules 1 to 6).

    Args:
        url: that is asked for.
        address: IPv4 or IPv6, as the system's resolver gave it.
        network: with what the admin has named; without that every address is the admin's.
        is_redirector_private: asked only where the answer hangs on it.

    Returns:
        As ``name_refusal``.
    """
    reach = network.reach
    if reach is None or host_of(url) in reach.hosts or within(address, reach.networks):
        return ""
    refused = name_refusal(url, reach._replace(networks=()))
    if refused:
        return refused
    kind = kind_of(address)
    if kind == NEVER:
        return "its name leads to {}, where no mirror of a list can be".format(address)
    secure = url.startswith("https:") and network.ssl_verify
    if kind == PRIVATE and not secure and not is_redirector_private():
        return "its name leads to {}, a private address, without a certificate that proves the name".format(address)
    return ""


def kind_of(text: str) -> str:
    """Return PUBLIC, PRIVATE or NEVER for an address; an IPv6 zone counts for nothing."""
    address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    if _in(address, _NEVER):
        return NEVER
    return PRIVATE if _in(address, _PRIVATE) else PUBLIC


def within(text: str, networks: Sequence[str]) -> bool:
    """Whether an address is in one of some networks, as it is or as the IPv4 one that it stands for."""
    address = ipaddress.ip_address(text.partition("%")[0])
    nets = [ipaddress.ip_network(network) for network in networks]
    return _in(address, nets) or _in(_plain(address), nets)


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for; any other as it is."""
    for network, shift in _EMBEDDING:
        if _in(address, (network,)):
            return ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return address


def _in(address: Address, networks: Iterable[Union[ipaddress.IPv4Network, ipaddress.IPv6Network]]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _literal(host: str) -> Optional[Address]:
    """Return the address that a host of a URL is in the usual spelling; None for a name, and for the other spellings."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _ends_in(host: str, suffixes: Tuple[str, ...]) -> bool:
    return any(host == suffix or host.endswith("." + suffix) for suffix in suffixes)
