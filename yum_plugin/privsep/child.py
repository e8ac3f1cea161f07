"""The process without root: it uses the network, and can do nothing else.

It is started anew, as root, with an empty environment, and tells nobody about itself. In this order it
1. starts the process that looks up names, which so knows nothing;
2. loads all that it will need;
3. takes the settings of the network from its parent, and loads the TLS files that they name;
4. gives up root and all files (confine.py), says that it is ready, and only then talks to a server.
Of its parent's secrets it has only the passwords and keys for mirrors and proxies.
"""
import array
import codecs
import contextlib
import ctypes
import gc
import importlib
import os
import select
import socket
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, NoReturn, Optional, Sequence

from ..errors import EXIT_BUG, EXIT_OK, FetchError, MirrorsError, UsageError
from ..model import Network
from ..net.fetch import HttpSession
from ..net.session import FetchLimits
from ..net.tls import make_contexts
from ..net.transport import KeptConnections
from ..sources.redirector import Timeouts, ask_digest
from .confine import ResourceLimits, confine
from .gateway import ask_list, certificate, explain, reachability
from .names import NameClient, run_names
from .seccomp import NETWORK, STARTER
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
    error_values,
    network_of,
    receive,
    send,
    send_value,
)

STACK_BYTES = 512 * 1024  # of a thread; the default of 8 MiB would use up the address space with a thousand of them
GC_THRESHOLD = 100000  # cli/main.py
# What is otherwise loaded at its first use.
LATE_MODULES = ("_strptime", "encodings.idna", "ipaddress", "stringprep", "lxml.etree", "yum_plugin.net.tls_chain",
                "yum_plugin.sources.list_forms")
LATE_ENCODINGS = ("ascii", "latin-1", "iso-8859-1", "utf-8", "utf-8-sig", "idna", "punycode")
CERTIFICATE_MODULES = ("cryptography.x509", "yum_plugin.net.certificate", "yum_plugin.net.reachability")


Say = Callable[[Dict[str, Any]], None]
Wait = Callable[[float], None]
Task = Callable[[Say, Wait], None]


class ServedSession(NamedTuple):
    """One session of the parent, and the HTTP session that serves it."""

    sock: socket.socket
    http: HttpSession
    network: Network
    busy: threading.Event  # while a request is answered
    task: Optional[Task]  # of this process


def main(control: int, parent: int, examines: int) -> NoReturn:
    """Run the process without root until its parent ends.

    Args:
        control: file number of the control socket, the only file that stays open.
        parent: process id of the parent.
        examines: 1 if it will examine certificates.
    """
    code = EXIT_BUG
    try:
        gc.set_threshold(GC_THRESHOLD)
        sock = socket.socket(fileno=control)
        names = _start_names(sock)
        _load(LATE_MODULES + CERTIFICATE_MODULES * examines)
        _serve(sock, names, parent)
        code = EXIT_OK
    finally:
        os._exit(code)  # a thread may still wait for a server


def _serve(control: socket.socket, names: socket.socket, parent: int) -> None:
    """Take the settings, give up root, and answer."""
    try:
        hello = decoded(control.recv(MAX_CONTROL_BYTES))
    except WireError:
        return  # the parent has ended, and needed no network
    os.environ.update(hello["environment"])
    networks = [network_of(values) for values in hello["networks"]]
    contexts = [_context_or_error(network) for network in networks]
    task = hello["task"] and _prepared(hello["task"], dict(zip(networks, contexts)))
    problems = decoded(names.recv(MAX_CONTROL_BYTES))["problems"]
    role = STARTER if hello["task"] and hello["task"]["programs"] else NETWORK
    problems += confine(role, ResourceLimits(hello["cpu_seconds"]), parent)
    threading.stack_size(STACK_BYTES)
    client = NameClient(names)
    client.start()
    socket.getaddrinfo = client.getaddrinfo  # whoever calls it here, also in a library
    _Server(control, networks, contexts, list(dict.fromkeys(problems)), task).run()


def _prepared(task: Mapping[str, Any], contexts: Mapping[Network, Any]) -> Task:
    """Load the module of a task, and let it load what it will need."""
    module: Any = importlib.import_module(task["module"])
    prepared: Task = module.prepare(task["given"], contexts)
    return prepared


def _start_names(control: socket.socket) -> socket.socket:
    """Start the process that looks up names, before this one knows anything; return the socket to it."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    if os.fork() == 0:
        control.close()
        mine.close()
        run_names(theirs, parent)
    theirs.close()
    return mine


def _load(modules: Sequence[str]) -> None:
    """Load what would be loaded later, when no file can be opened any more."""
    for name in modules:
        importlib.import_module(name)
    for encoding in LATE_ENCODINGS:
        codecs.lookup(encoding)
    with contextlib.suppress(OSError):  # musl has none
        ctypes.CDLL("libgcc_s.so.1")  # pthread_exit(3) of glibc loads it, by which an older Python ends each thread
    time.strptime("2020", "%Y")
    time.localtime()


def _context_or_error(network: Network) -> Any:
    """Load the TLS files of a network while this is root: a client's key may be readable by root only."""
    try:
        return make_contexts(network)
    except UsageError as error:
        return error


class _Server:
    """Opens sessions for the parent, and ends those that it has closed.

    Args:
        control: see main.
        networks: what sessions may be opened with.
        contexts: for each network its TLS context, or the error why there is none.
        problems: of confinement.
        task: the one of this process.
    """

    def __init__(self, control: socket.socket, networks: Sequence[Network], contexts: Sequence[Any],
                 problems: Sequence[str], task: Optional[Task]) -> None:
        self._task = task
        self._control = control
        self._networks = networks
        self._contexts = contexts
        self._problems = problems
        self._kept = [KeptConnections() for _ in contexts]
        self._sessions: Dict[int, ServedSession] = {}  # by file number
        self._poll = select.poll()

    def run(self) -> None:
        """Serve until the control socket ends."""
        states = [error_values(context) if isinstance(context, MirrorsError) else None for context in self._contexts]
        self._control.sendall(encoded({"ready": states, "problems": self._problems}))
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
        http = HttpSession(self._networks[network], self._contexts[network], float(request["seconds"]),
                           kept=self._kept[network])
        served = ServedSession(sock, http, self._networks[network], threading.Event(), self._task)
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
        send_value(served.sock, ERROR, error_values(error))
    except Exception as error:  # a fault of this program: the parent logs it; if the parent has gone, this fails, too
        send_value(served.sock, ERROR, error_values(MirrorsError("internal", "{}: {}".format(type(error).__name__, error))))


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


def _run_task(served: ServedSession, request: Dict[str, Any]) -> None:
    def wait(seconds: float) -> None:
        if select.select([served.sock], [], [], seconds)[0]:
            raise KeyboardInterrupt

    if served.task is None:
        raise MirrorsError("internal", "there is no task")
    try:
        served.task(lambda value: send_value(served.sock, VALUE, value), wait)
    except OSError as error:  # of the task: if the parent has gone, the next line fails, too
        raise MirrorsError("internal", "{}: {}".format(type(error).__name__, error))
    send(served.sock, END)


_ANSWERS: Dict[str, Callable[[ServedSession, Dict[str, Any]], None]] = {
    "open": _open, "list": _list, "digest": _digest, "explain": _explain, "reachability": _reachability,
    "certificate": _certificate, "task": _run_task}
