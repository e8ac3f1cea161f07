"""One TCP connection to a host that may have several addresses, some of them unreachable.

A host with broken IPv6 must not wait for a time-out at each mirror. So the next address is tried shortly after the previous
one, whose attempt goes on (Happy Eyeballs, RFC 8305 section 5).
"""
import contextlib
import errno
import ipaddress
import os
import selectors
import socket
import time
from typing import Any, Callable, List, Tuple

from ..model import Network
from ..util.urls import host_of, port_of
from .reach import PRIVATE, address_refusal, kind_of

ATTEMPT_DELAY_SECONDS = 0.25  # RFC 8305 section 8: recommended Connection Attempt Delay
MAX_ADDRESSES = 8  # of one host; with the delay above the last one is tried after 2 s

_Address = Tuple[Any, Any, int, str, Any]


class AddressRefused(OSError):
    """No address of a name may be connected to; the text says why."""


def connect(host: str, port: int, timeout_seconds: float, ip_resolve: int = 0,
            refuse: Callable[[str], str] = lambda address: "") -> socket.socket:
    """Open a TCP connection.

    Args:
        host: a name or an address, IPv6 without brackets.
        port: the port.
        timeout_seconds: for all attempts together, without the name resolution (the system's resolver has its own).
        ip_resolve: 4 or 6 for that family only, 0 for both.
        refuse: says of an address that the name has why it must not be connected to; "" if it may.

    Returns:
        A connected, blocking socket.

    Raises:
        OSError: no address could be reached (``socket.timeout`` if none answered in time,
            ``socket.gaierror`` if the name is unknown, ``AddressRefused``).
    """
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(ip_resolve, socket.AF_UNSPEC)
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    reasons = [refuse(str(address[4][0])) for address in found]
    addresses = _interleave([address for address, reason in zip(found, reasons) if not reason])
    if not addresses:
        raise AddressRefused(next(filter(None, reasons), "the name has no address"))
    race = _Race(addresses, time.monotonic() + timeout_seconds)
    try:
        winner = race.run()
    finally:
        race.close_losers()
    winner.setblocking(True)
    return winner


def connect_to(url: str, network: Network, timeout_seconds: float, ip_resolve: int = 0) -> socket.socket:
    """Open a TCP connection to the server of a URL, if that may be asked; else as ``connect``."""
    return connect(host_of(url), port_of(url), timeout_seconds, ip_resolve or network.ip_resolve, refusal_of(url, network))


def refusal_of(url: str, network: Network) -> Callable[[str], str]:
    """Return the judge of the addresses that the server of a URL may have."""
    return lambda address: address_refusal(url, address, network, lambda: _is_redirector_private(network))


def _is_redirector_private(network: Network) -> bool:
    """Whether a redirector of the admin is on a private network: it may list mirrors that are there as well."""
    for host in network.reach.redirectors if network.reach is not None else ():
        with contextlib.suppress(OSError):  # a redirector that has no address is on no network
            if any(kind_of(str(address[4][0])) == PRIVATE for address in socket.getaddrinfo(host, 80, 0, socket.SOCK_STREAM)):
                return True
    return False


def clean_address(text: object) -> str:
    """Return an IP address without its zone; "" for an empty text.

    Raises:
        TypeError, ValueError: it is no address.
    """
    if not isinstance(text, str):
        raise TypeError("no text")
    address = text.partition("%")[0]
    if text:
        ipaddress.ip_address(address)
    return address


def _interleave(addresses: List[_Address]) -> List[_Address]:
    """Alternate the families, the resolver's first choice first (RFC 8305 section 4)."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    second = [address for address in addresses if address[0] != addresses[0][0]]
    mixed = []
    for index in range(max(len(first), len(second))):
        mixed += first[index:index + 1] + second[index:index + 1]
    return mixed[:MAX_ADDRESSES]


class _Race:
    """Connection attempts at the same time, of which the first to succeed wins."""

    def __init__(self, addresses: List[_Address], deadline: float) -> None:
        self._waiting = list(addresses)
        self._deadline = deadline
        self._selector = selectors.DefaultSelector()
        self._attempts: List[socket.socket] = []
        self._error = OSError(errno.EHOSTUNREACH, "no address to connect to")

    def run(self) -> socket.socket:
        while self._waiting or self._attempts:
            if self._waiting:
                self._start(self._waiting.pop(0))
            for attempt in self._finished():
                failure = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self._drop(attempt)
                if not failure:
                    return attempt
                attempt.close()
                self._error = OSError(failure, os.strerror(failure))
            if time.monotonic() >= self._deadline:
                raise socket.timeout("no address answered in time")
        raise self._error

    def _start(self, address: _Address) -> None:
        family, kind, protocol, _, place = address
        try:
            attempt = socket.socket(family, kind, protocol)
        except OSError as error:  # e.g. an IPv6 address on a kernel without IPv6
            self._error = error
            return
        attempt.setblocking(False)
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._attempts.append(attempt)
        self._selector.register(attempt, selectors.EVENT_WRITE)
        failure = attempt.connect_ex(place)
        if failure not in (0, errno.EINPROGRESS):
            self._drop(attempt)
            attempt.close()
            self._error = OSError(failure, os.strerror(failure))

    def _finished(self) -> List[socket.socket]:
        if not self._attempts:
            return []
        left = max(0.0, self._deadline - time.monotonic())
        events = self._selector.select(min(left, ATTEMPT_DELAY_SECONDS) if self._waiting else left)
        return [attempt for attempt in self._attempts if any(key.fileobj is attempt for key, _ in events)]

    def _drop(self, attempt: socket.socket) -> None:
        self._attempts.remove(attempt)
        self._selector.unregister(attempt)

    def close_losers(self) -> None:
        self._selector.close()
        for attempt in self._attempts:
            attempt.close()
