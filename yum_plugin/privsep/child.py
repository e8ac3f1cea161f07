"""The process without root: it uses the network, and can do nothing else.

It begins as a copy of its parent (fork), which has just started and has no other thread. Of the parent's secrets it keeps only
the passwords for mirrors and proxies.
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
from ..net.transport import KeptConnections
from ..sources.redirector import Timeouts, ask_digest
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

STACK_BYTES = 512 * 1024  # of a thread; the default of 8 MiB would use up the address space with a thousand of them
# Modules that would be imported later, when a Python or a package below /root cannot be read any more.
LATE_MODULES = ("_strptime", "encodings.idna", "ipaddress", "stringprep", "cryptography.x509", "lxml.etree",
                "yum_plugin.sources.list_forms")


class ServedSession(NamedTuple):
    """One session of the parent, and the HTTP session that serves it."""

    sock: socket.socket
    http: HttpSession
    network: Network
    busy: threading.Event  # while a request is answered


def run_child(control: socket.socket, networks: Sequence[Network], limits: ResourceLimits, parent: int) -> NoReturn:
    """Run the process without root until its parent ends.

    Args:
        control: the only file that stays open.
        networks: what sessions may be opened with.
        limits: of this process.
        parent: process id of the parent.
    """
    code = EXIT_BUG
    try:
        _close_files(control)
        contexts = [_context_or_error(network) for network in networks]
        if not (_is_open_to_all(os.__file__) and _is_open_to_all(__file__)):
            for name in LATE_MODULES:
                importlib.import_module(name)
        confine(limits, parent)
        threading.stack_size(STACK_BYTES)
        _Server(control, networks, contexts).run()
        code = EXIT_OK
    finally:
        os._exit(code)  # also after an exception: nothing of the parent's own code may run twice


def _close_files(control: socket.socket) -> None:
    """Close every file but the control socket, and discard what is printed."""
    logging.getLogger("xcpng-mirrors").handlers = [logging.NullHandler()]
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    for number in map(int, os.listdir("/proc/self/fd")):  # not up to the limit: if that is a billion, it takes minutes
        if number > 2 and number != control.fileno():
            with contextlib.suppress(OSError):  # the descriptor by which listdir read the folder
                os.close(number)


def _context_or_error(network: Network) -> Any:
    """Load the TLS files of a network while this is root: a client's key may be readable by root only."""
    try:
        return make_context(network)
    except UsageError as error:
        return error


def _is_open_to_all(path: str) -> bool:
    """Whether all users may enter each folder above a file."""
    folder = os.path.dirname(os.path.realpath(path))
    above = os.path.dirname(folder)
    return bool(os.stat(folder).st_mode & stat.S_IXOTH) and (above == folder or _is_open_to_all(folder))


class _Server:
    """Opens sessions for the parent, and ends those that it has closed.

    Args:
        control: see run_child.
        networks: see run_child.
        contexts: for each network its TLS context, or the error why there is none.
    """

    def __init__(self, control: socket.socket, networks: Sequence[Network], contexts: Sequence[Any]) -> None:
        self._control = control
        self._networks = networks
        self._contexts = contexts
        self._kept = [KeptConnections() for _ in contexts]
        self._sessions: Dict[int, ServedSession] = {}  # by file number
        self._poll = select.poll()

    def run(self) -> None:
        """Serve until the control socket ends."""
        states = [_error_values(context) if isinstance(context, MirrorsError) else None for context in self._contexts]
        self._control.sendall(encoded({"ready": states}))
        self._poll.register(self._control, select.POLLIN)
        while True:
            for number, event in self._poll.poll():
                if number in self._sessions:
                    self._end(number)
                elif not event & select.POLLIN or not self._begin():
                    return

    def _begin(self) -> bool:
        """Open a session; return False if the parent has ended."""
        size = array.array("i").itemsize
        data, ancillary, _, _ = self._control.recvmsg(MAX_CONTROL_BYTES, socket.CMSG_SPACE(size))
        if not data:
            return False
        numbers = array.array("i")
        for _, _, content in ancillary:
            numbers.frombytes(content[:size])
        request = decoded(data)
        network, sock = int(request["network"]), socket.socket(fileno=numbers[0])
        http = HttpSession(self._networks[network], self._contexts[network], float(request["seconds"]), tuple(request["hosts"]),
                           kept=self._kept[network])
        served = ServedSession(sock, http, self._networks[network], threading.Event())
        self._sessions[sock.fileno()] = served
        self._poll.register(sock, select.POLLRDHUP)  # only its end: the thread reads the requests
        threading.Thread(target=serve_session, args=(served,), daemon=True).start()
        return True

    def _end(self, number: int) -> None:
        """End a session that the parent has closed; this wakes its thread."""
        self._poll.unregister(number)
        served = self._sessions.pop(number)
        if served.busy.is_set():
            served.http.abort()  # else its connections are kept for the next session
        with contextlib.suppress(OSError):  # it has ended on this side, too
            served.sock.shutdown(socket.SHUT_RDWR)


def serve_session(served: ServedSession) -> None:
    """Answer the requests of one session, one after the other, until the parent closes it.

    Args:
        served: the session; only this thread uses it.
    """
    try:
        with served.http, served.sock.makefile("rb") as requests:
            while True:
                kind, payload = receive(requests)
                if kind != REQUEST:
                    return
                served.busy.set()
                _answer(served, decoded(payload))
                served.busy.clear()
    except (OSError, WireError):
        return  # the parent has closed it


def _answer(served: ServedSession, request: Dict[str, Any]) -> None:
    try:
        _ANSWERS[request["do"]](served, request)
    except MirrorsError as error:
        send_value(served.sock, ERROR, _error_values(error))
    except OSError:
        raise
    except Exception as error:  # a fault of this program: the parent logs it
        send_value(served.sock, ERROR, _error_values(MirrorsError("internal", "{}: {}".format(type(error).__name__, error))))


def _open(served: ServedSession, request: Dict[str, Any]) -> None:
    fetch_limits, accept = FetchLimits(*request["limits"]), tuple(request["accept"])
    with served.http.open(request["url"], fetch_limits, request["headers"], accept) as stream:
        head = {"status": stream.status, "headers": stream.headers, "links": stream.links,
                "first_byte_seconds": stream.first_byte_seconds, "certificate_expires": served.http.certificate_expires,
                "address": served.http.address}
        payload = encoded(head)
        if len(payload) > MAX_VALUE_BYTES:
            raise FetchError("bad-answer", "headers larger than {} bytes".format(MAX_VALUE_BYTES), where=request["url"])
        send(served.sock, HEAD, payload)
        for chunk in stream.chunks():
            send(served.sock, DATA, chunk)
    send(served.sock, END)


def _list(served: ServedSession, request: Dict[str, Any]) -> None:
    found = ask_list(served.http, request["form"], request["roots"], request["path"], Timeouts(*request["timeouts"]))
    mirrors: List[Any] = [list(mirror) for mirror in found.mirrors]
    send_value(served.sock, VALUE, {"mirrors": mirrors, "sha256": found.sha256, "dropped": found.dropped})


def _digest(served: ServedSession, request: Dict[str, Any]) -> None:
    found = ask_digest(served.http, request["roots"], request["path"], Timeouts(*request["timeouts"]))
    send_value(served.sock, VALUE, {"sha256": found})


def _explain(served: ServedSession, request: Dict[str, Any]) -> None:
    error = FetchError(request["reference"], request["what"], where=request["url"])
    raise explain(served.http, error, request["url"], served.network, request["seconds"])


def _reachability(served: ServedSession, request: Dict[str, Any]) -> None:
    found = reachability(served.http, request["url"], served.network, request["seconds"])
    send_value(served.sock, VALUE, dict(found._asdict()))


def _certificate(served: ServedSession, request: Dict[str, Any]) -> None:
    found = certificate(served.http, request["url"], served.network, request["seconds"])
    send_value(served.sock, VALUE, dict(found._asdict()))


_ANSWERS: Dict[str, Callable[[ServedSession, Dict[str, Any]], None]] = {
    "open": _open, "list": _list, "digest": _digest, "explain": _explain, "reachability": _reachability,
    "certificate": _certificate}


def _error_values(error: MirrorsError) -> Dict[str, str]:
    family = "fetch" if isinstance(error, FetchError) else "usage" if isinstance(error, UsageError) else "internal"
    return {"family": family, "reference": error.reference, "what": error.what, "where": error.where, "hint": error.hint}

