"""The process without root: it has the network, and nothing else.

It begins as a copy of its parent (fork), which has just started, has no other thread, and keeps nothing from it
but the passwords that mirrors and proxies are to get.
"""
import array
import contextlib
import importlib
import logging
import os
import select
import socket
import stat
import threading
from typing import Any, Callable, Dict, List, NamedTuple, NoReturn, Sequence

from ..errors import EXIT_BUG, EXIT_OK, FetchError, MirrorsError, UsageError
from ..model import Network
from ..net.fetch import FetchLimits, HttpSession
from ..net.tls import make_context
from ..sources.redirector import Timeouts
from .confine import ResourceLimits, confine
from .gateway import ask_list, certificate, explain, reachability
from .wire import (
    DATA,
    END,
    ERROR,
    HEAD,
    MAX_CONTROL_BYTES,
    MAX_VALUE_BYTES,
    REQUEST,
    VALUE,
    WireError,
    decoded,
    encoded,
    receive,
    send,
    send_value,
)

STACK_BYTES = 512 * 1024  # of a thread
# What would be imported later, when a Python in root's own folder is out of reach.
LATE_MODULES = ("_strptime", "encodings.idna", "ipaddress", "stringprep", "cryptography.x509")


class Served(NamedTuple):
    """One session: the parent's end and ours."""

    sock: socket.socket
    client: HttpSession
    network: Network


def be_child(control: socket.socket, networks: Sequence[Network], bounds: ResourceLimits, parent: int) -> NoReturn:
    """Be the process without root until the parent ends it or itself.

    Args:
        control: the only file that stays open.
        networks: what sessions may be opened with.
        bounds: limits.
        parent: its process id.
    """
    code = EXIT_BUG
    try:
        _forget(control)
        contexts = [_context_or_error(network) for network in networks]
        _import_late_modules()
        confine(bounds, parent)
        threading.stack_size(STACK_BYTES)
        _Server(control, networks, contexts).run()
        code = EXIT_OK
    finally:
        os._exit(code)  # whatever was raised: the parent sees the end, and nothing of its own is done twice


def _forget(control: socket.socket) -> None:
    """Close every file but the control socket; what is printed goes nowhere."""
    logging.getLogger("xcpng-mirrors").handlers = [logging.NullHandler()]
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    for number in map(int, os.listdir("/proc/self/fd")):  # not up to the limit: where that is a billion it takes minutes
        if number > 2 and number != control.fileno():
            with contextlib.suppress(OSError):  # the one that the list was read by
                os.close(number)


def _context_or_error(network: Network) -> Any:
    """Load the TLS files of a network: a client's key may be for root's eyes only."""
    try:
        return make_context(network)
    except UsageError as error:
        return error


def _import_late_modules() -> None:
    if not _open_to_all(os.__file__):
        for name in LATE_MODULES:
            importlib.import_module(name)


def _open_to_all(path: str) -> bool:
    """Whether everybody may enter each folder above a file."""
    folder = os.path.dirname(os.path.realpath(path))
    above = os.path.dirname(folder)
    return bool(os.stat(folder).st_mode & stat.S_IXOTH) and (above == folder or _open_to_all(folder))


class _Server:
    """Opens sessions as the parent wants them, and ends those that it has closed.

    Args:
        control: see be_child.
        networks: see be_child.
        contexts: of each of them: a TLS context, or why there is none.
    """

    def __init__(self, control: socket.socket, networks: Sequence[Network], contexts: Sequence[Any]) -> None:
        self._control = control
        self._networks = networks
        self._contexts = contexts
        self._served: Dict[int, Served] = {}  # by file number
        self._poll = select.poll()

    def run(self) -> None:
        """Serve until the control socket ends."""
        states = [_words(context) if isinstance(context, MirrorsError) else None for context in self._contexts]
        self._control.sendall(encoded({"ready": states}))
        self._poll.register(self._control, select.POLLIN)
        while True:
            for number, event in self._poll.poll():
                if number in self._served:
                    self._end(number)
                elif not event & select.POLLIN or not self._begin():
                    return

    def _begin(self) -> bool:
        """Take a wish for a session; return False at the end."""
        size = array.array("i").itemsize
        data, ancillary, _, _ = self._control.recvmsg(MAX_CONTROL_BYTES, socket.CMSG_SPACE(size))
        if not data:
            return False
        numbers = array.array("i")
        for _, _, content in ancillary:
            numbers.frombytes(content[:size])
        wish = decoded(data)
        network, sock = int(wish["network"]), socket.socket(fileno=numbers[0])
        client = HttpSession(self._networks[network], self._contexts[network], float(wish["seconds"]), tuple(wish["hosts"]))
        served = Served(sock, client, self._networks[network])
        self._served[sock.fileno()] = served
        self._poll.register(sock, select.POLLRDHUP)  # only the end: requests are for the thread to read
        threading.Thread(target=converse, args=(served,), daemon=True).start()
        return True

    def _end(self, number: int) -> None:
        """Wake the thread of a session that the parent has closed, wherever it waits."""
        self._poll.unregister(number)
        served = self._served.pop(number)
        served.client.abort()
        with contextlib.suppress(OSError):  # it is over on this side, too
            served.sock.shutdown(socket.SHUT_RDWR)


def converse(served: Served) -> None:
    """Answer the requests of one session, one after the other, until it is closed.

    Args:
        served: which; its client is used in this thread only.
    """
    try:
        with served.client, served.sock.makefile("rb") as requests:
            while True:
                kind, payload = receive(requests)
                if kind != REQUEST:
                    return
                _answer(served, decoded(payload))
    except (OSError, WireError):
        return  # it was closed


def _answer(served: Served, request: Dict[str, Any]) -> None:
    try:
        _ANSWERS[request["do"]](served, request)
    except MirrorsError as error:
        send_value(served.sock, ERROR, _words(error))
    except OSError:
        raise
    except Exception as error:  # a bug of ours: the parent has the log
        send_value(served.sock, ERROR, _words(MirrorsError("internal", "{}: {}".format(type(error).__name__, error))))


def _open(served: Served, request: Dict[str, Any]) -> None:
    limits, accept = FetchLimits(*request["limits"]), tuple(request["accept"])
    with served.client.open(request["url"], limits, request["headers"], accept) as stream:
        head = {"status": stream.status, "headers": stream.headers, "links": stream.links,
                "first_byte_seconds": stream.first_byte_seconds, "certificate_expires": served.client.certificate_expires,
                "address": served.client.address}
        payload = encoded(head)
        if len(payload) > MAX_VALUE_BYTES:
            raise FetchError("bad-answer", "headers larger than {} bytes".format(MAX_VALUE_BYTES), where=request["url"])
        send(served.sock, HEAD, payload)
        for chunk in stream.chunks():
            send(served.sock, DATA, chunk)
    send(served.sock, END)


def _list(served: Served, request: Dict[str, Any]) -> None:
    found = ask_list(served.client, request["form"], request["roots"], request["path"], Timeouts(*request["timeouts"]))
    mirrors: List[Any] = [list(mirror) for mirror in found.mirrors]
    send_value(served.sock, VALUE, {"mirrors": mirrors, "sha256": found.sha256, "dropped": found.dropped})


def _explain(served: Served, request: Dict[str, Any]) -> None:
    error = FetchError(request["reference"], request["what"], where=request["url"])
    raise explain(served.client, error, request["url"], served.network, request["seconds"])


def _reachability(served: Served, request: Dict[str, Any]) -> None:
    found = reachability(served.client, request["url"], served.network, request["seconds"])
    send_value(served.sock, VALUE, dict(found._asdict()))


def _certificate(served: Served, request: Dict[str, Any]) -> None:
    found = certificate(served.client, request["url"], served.network, request["seconds"])
    send_value(served.sock, VALUE, dict(found._asdict()))


_ANSWERS: Dict[str, Callable[[Served, Dict[str, Any]], None]] = {
    "open": _open, "list": _list, "explain": _explain, "reachability": _reachability, "certificate": _certificate}


def _words(error: MirrorsError) -> Dict[str, str]:
    family = "fetch" if isinstance(error, FetchError) else "usage" if isinstance(error, UsageError) else "internal"
    return {"family": family, "reference": error.reference, "what": error.what, "where": error.where, "hint": error.hint}

