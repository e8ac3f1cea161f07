"""The process that keeps root: a child without root does its network requests, and it checks each answer's form."""
import array
import contextlib
import logging
import os
import socket
import threading
import time
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Callable,
    Dict,
    Iterator,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    cast,
)

from ..errors import FetchError, MirrorsError, UsageError
from ..model import Mirror, MirrorList, Network
from ..net.session import FetchLimits, Session, Stream
from ..sources.collector import MAX_DROPPED, MAX_MIRRORS, clean_mirror, clean_sha256, clean_text
from ..sources.redirector import Timeouts
from .gateway import Gateway, here
from .process import ChildProcess, can_separate
from .wire import (
    DATA,
    END,
    ERROR,
    HEAD,
    MAX_CONTROL_BYTES,
    REQUEST,
    VALUE,
    ResponseHead,
    WireError,
    decoded,
    encoded,
    error_of,
    head_of,
    receive,
    send_value,
)

if TYPE_CHECKING:
    from ..net.certificate import ServedCertificate
    from ..net.reachability import Reachability

READY_SECONDS = 10.0  # for the child to start, which takes a tenth of a second, and to give up root
GRACE_SECONDS = 1.0  # after a session's deadline, which a healthy child keeps itself
MAX_PROBLEMS = 10
MALFORMED = "sends malformed answers"
log = logging.getLogger("xcpng-mirrors")
log.addHandler(logging.NullHandler())  # a subcommand without a log must not print what belongs there


def sandbox_error(what: str) -> UsageError:
    """Make the error for a child that cannot be started or sends malformed answers."""
    return UsageError("sandbox", "the process that talks to the mirrors {}".format(what))


@contextlib.contextmanager
def separated(networks: Sequence[Network], cpu_seconds: int, process: Optional[ChildProcess] = None) -> Iterator[Gateway]:
    """Use the network through a child without root while the block runs; without root this process does it itself.

    Args:
        networks: of all sessions that will be opened.
        cpu_seconds: after which the child is killed.
        process: was started before; default: a new one.

    Yields:
        The gateway. Its sessions raise UsageError "sandbox" if the child could not give up root, has died, does not answer or
        sends malformed answers.
    """
    if not can_separate():
        yield here()
        return
    child = Child(list(dict.fromkeys(networks)), cpu_seconds, process or ChildProcess(examines=True))
    try:
        yield child.gateway()
    finally:
        child.end()


class Child:
    """The parent's handle of the child.

    Args:
        networks: each once.
        cpu_seconds: after which it is killed.
        process: the child, which waits for these.
        task: that it is to run, see wire.py.
    """

    def __init__(self, networks: Sequence[Network], cpu_seconds: int, process: ChildProcess,
                 task: Optional[Mapping[str, Any]] = None) -> None:
        self._networks = networks
        self._process = process
        self._control = process.control
        self._states: Optional[Sequence[Optional[MirrorsError]]] = None
        self._problems: Sequence[str] = ()
        environment = {name: value for name, value in os.environ.items()
                       if name.lower().endswith("_proxy") or name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
        with contextlib.suppress(OSError):  # it has died, as the first session will say
            self._control.sendall(encoded({"networks": networks, "cpu_seconds": cpu_seconds, "environment": environment,
                                            "task": task}))

    def gateway(self) -> Gateway:
        """Return the gateway that uses this child."""
        return Gateway(self.open, _ask_list, _ask_digest, _explain, _reachability, _certificate, self._confinement)

    def end(self) -> None:
        """Kill the child."""
        self._process.end()

    def open(self, network: Network, seconds: float) -> Session:
        """Open a session; arguments as of ``fetch.HttpSessions.open``.

        Raises:
            UsageError: sandbox, or the TLS settings of ``network`` cannot be used.
        """
        number = self._networks.index(network)
        problem = self._ready()[number]
        if problem is not None:
            raise problem
        request = encoded({"network": number, "seconds": seconds})
        return RemoteSession(lambda: self._new_socket(request), seconds)

    def _confinement(self) -> str:
        """See Gateway."""
        self._ready()
        return "; ".join(self._problems) or "complete"

    def _new_socket(self, request: bytes) -> socket.socket:
        """Let the child begin a session; return this end of its socket."""
        mine, theirs = socket.socketpair()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
        try:
            self._control.sendmsg([request], [rights])
        except OSError:
            mine.close()
            raise sandbox_error("has died")
        finally:
            theirs.close()
        return mine

    def _ready(self) -> Sequence[Optional[MirrorsError]]:
        """Wait until the child has given up root; return the error of each network, or None."""
        if self._states is None:
            self._control.settimeout(READY_SECONDS)
            try:
                said = decoded(self._control.recv(MAX_CONTROL_BYTES))
                states = [None if words is None else error_of(words) for words in said["ready"]]
                self._problems = [clean_text(str(text)) for text in said["problems"][:MAX_PROBLEMS]]
            except (OSError, WireError, KeyError, TypeError):
                raise sandbox_error("could not give up root, or has died")
            if len(states) != len(self._networks):
                raise sandbox_error(MALFORMED)
            self._states = states
            for text in self._problems:
                log.warning("the process that talks to the mirrors: %s", text)
        return self._states


class RemoteSession(Session):
    """A session that the child serves.

    Args:
        connect: opens a socket for requests to the child.
        seconds: as of ``fetch.HttpSession``; the child keeps this deadline, and is given up GRACE_SECONDS later.
    """

    def __init__(self, connect: Callable[[], socket.socket], seconds: float) -> None:
        self._connect = connect
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds + GRACE_SECONDS
        self._lock = threading.Lock()
        self._sock: Optional[socket.socket] = None
        self._answers: Optional[BinaryIO] = None
        self._aborted = False
        self._certificate_expires: Optional[int] = None
        self._address = ""

    def __enter__(self) -> "RemoteSession":
        self._ends_at = time.monotonic() + self._seconds + GRACE_SECONDS
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """End the running request; the next one begins on a new socket."""
        with self._lock:
            sock, self._sock = self._sock, None
            answers, self._answers = self._answers, None
        for end in (answers, sock):
            if end is not None:
                end.close()

    def abort(self) -> None:
        """See Session."""
        with self._lock:
            self._aborted = True
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)

    @property
    def certificate_expires(self) -> Optional[int]:
        """See Session."""
        return self._certificate_expires

    @property
    def address(self) -> str:
        """See Session."""
        return self._address

    def open(self, url: str, limits: FetchLimits, headers: Optional[Mapping[str, str]] = None,
             accept: Tuple[int, ...] = (200,)) -> Stream:
        """See Session."""
        self.ask(do="open", url=url, limits=list(limits), headers=dict(headers or {}), accept=accept)
        try:
            head = head_of(self.value(url, HEAD), accept)
        except WireError:
            raise sandbox_error(MALFORMED)
        self._certificate_expires = head.certificate_expires
        self._address = head.address
        return _RemoteStream(self, url, limits.max_bytes, head)

    def ask(self, **request: Any) -> None:
        """Send a request to the child.

        Raises:
            UsageError: sandbox.
            FetchError: timed-out: this session was aborted.
        """
        sock = self._sock
        if sock is None:
            sock = self._connect()
            with self._lock:
                self._sock, self._answers = sock, sock.makefile("rb")
        try:
            self._set_timeout(sock)
            send_value(sock, REQUEST, request)
        except OSError:
            raise self._ended(str(request.get("url", "")), "has died")

    def answer(self, url: str, *kinds: bytes) -> Tuple[bytes, bytes]:
        """Wait for the next frame of an answer.

        Args:
            url: what was asked, for the error.
            kinds: that are expected; an error may always come.

        Returns:
            Kind and content.

        Raises:
            FetchError, MirrorsError: sent by the child, or this session was aborted.
            UsageError: sandbox.
        """
        sock, answers = self._sock, self._answers
        if sock is None or answers is None:
            raise self._ended(url, "was not asked")
        try:
            self._set_timeout(sock)
            kind, payload = receive(answers)
            error = error_of(decoded(payload)) if kind == ERROR else None
        except socket.timeout:
            raise self._ended(url, "gives no answer")
        except (OSError, ValueError, WireError) as problem:
            raise self._ended(url, "has died, or sends malformed answers ({})".format(problem))
        if error is not None:
            raise error
        if kind not in kinds:
            raise sandbox_error(MALFORMED)
        return kind, payload

    def value(self, url: str, kind: bytes) -> Dict[str, Any]:
        """Wait for a frame of JSON; arguments and errors as of ``answer``."""
        payload = self.answer(url, kind)[1]
        try:
            return decoded(payload)
        except WireError:
            raise sandbox_error(MALFORMED)

    def _set_timeout(self, sock: socket.socket) -> None:
        sock.settimeout(max(0.001, self._ends_at - time.monotonic()))

    def _ended(self, url: str, what: str) -> MirrorsError:
        """Make the error for a closed socket: this session was aborted, or the child has died."""
        return FetchError("timed-out", "given up", where=url) if self._aborted else sandbox_error(what)


class _RemoteStream(Stream):
    """A response that the child reads.

    Args:
        session: that the response belongs to.
        url: that was asked for.
        max_bytes: the limit, which holds also if the child ignores it.
        head: the first frame of the answer.
    """

    def __init__(self, session: RemoteSession, url: str, max_bytes: int, head: ResponseHead) -> None:
        self._session = session
        self._url = url
        self._most = max_bytes
        self._ended = False
        self.status, self.headers, self.links, self.first_byte_seconds = head[:4]

    def __exit__(self, *_: object) -> None:
        if not self._ended:
            self._session.hang_up()

    def chunks(self) -> Iterator[bytes]:
        """See Stream."""
        received = 0
        while True:
            kind, chunk = self._session.answer(self._url, DATA, END)
            if kind == END:
                self._ended = True
                return
            received += len(chunk)
            if received > self._most:
                raise FetchError("too-large", "more than the {} bytes that are allowed".format(self._most), where=self._url)
            yield chunk


def _ask_list(session: Session, form: str, roots: Sequence[str], path: str, timeouts: Timeouts) -> MirrorList:
    """As ``gateway.ask_list``: the child parses the redirector's answer, and this process checks each mirror in it."""
    remote = cast(RemoteSession, session)  # ``Child.open`` made it
    remote.ask(do="list", form=form, roots=roots, path=path, timeouts=list(timeouts))
    said = remote.value(roots[0], VALUE)
    try:
        mirrors = [clean_mirror(Mirror(*values)) for values in said["mirrors"][:MAX_MIRRORS]]
        dropped = tuple(clean_text(str(text)) for text in said["dropped"][:MAX_DROPPED])
        return MirrorList(tuple(mirrors), clean_sha256(said["sha256"]), dropped)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise sandbox_error(MALFORMED)


def _ask_digest(session: Session, roots: Sequence[str], path: str, timeouts: Timeouts) -> str:
    """As ``sources.redirector.ask_digest``: the child parses the answer, and this process checks it."""
    cast(RemoteSession, session).ask(do="digest", roots=roots, path=path, timeouts=list(timeouts))
    sha256 = cast(RemoteSession, session).value(roots[0], VALUE).get("sha256")
    if not isinstance(sha256, str) or clean_sha256(sha256) != sha256:
        raise sandbox_error(MALFORMED)
    return sha256


def _explain(session: Session, error: FetchError, url: str, network: Network, timeout_seconds: float) -> FetchError:
    """As ``gateway.explain``: the child examines the chain of certificates."""
    if error.reference != "tls-untrusted":
        return error
    remote = cast(RemoteSession, session)
    remote.ask(do="explain", reference=error.reference, what=error.what, url=url, seconds=timeout_seconds)
    try:
        remote.answer(url)
    except FetchError as refined:
        return refined
    except MirrorsError as problem:  # it is no more than a diagnosis
        log.warning("%s: its certificates are not examined: %s", url, problem)
    return error


def _reachability(session: Session, url: str, network: Network, timeout_seconds: float) -> "Reachability":
    """As ``gateway.reachability``: the child connects."""
    from ..net.reachability import ANSWERS, Reachability
    remote = cast(RemoteSession, session)
    remote.ask(do="reachability", url=url, seconds=timeout_seconds)
    said = remote.value(url, VALUE)
    found = [said.get(name) for name in Reachability._fields]
    if not all(answer in ANSWERS for answer in found):
        raise sandbox_error(MALFORMED)
    return Reachability(*map(str, found))


def _certificate(session: Session, url: str, network: Network, timeout_seconds: float) -> "ServedCertificate":
    """As ``gateway.certificate``: the child makes the handshake and reads the certificate."""
    from ..net.certificate import clean_certificate
    remote = cast(RemoteSession, session)
    remote.ask(do="certificate", url=url, seconds=timeout_seconds)
    said = remote.value(url, VALUE)
    try:
        return clean_certificate(said)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise sandbox_error(MALFORMED)
