"""Host names are looked up by a process of their own, which returns addresses only.

The C library's resolver reads files, loads libraries, and speaks to local daemons; the process that reads TLS and HTTP may do
none of that. This one may (seccomp.py, rule 6), but it knows nothing worth having: it is started before any setting is read.

Over a socket (SOCK_SEQPACKET) go JSON objects:
    -> {"id": NUMBER, "host": NAME, "port": NUMBER, "family": NUMBER}
    <- {"id": NUMBER, "found": [[FAMILY, ADDRESS, SCOPE]...]}, in the resolver's order
    <- {"id": NUMBER, "error": NUMBER, "text": TEXT}, of getaddrinfo(3)
"""
import codecs
import contextlib
import os
import socket
import threading
from typing import Any, Dict, List, NoReturn, Optional, Sequence, Tuple

from ..net.connect import clean_address
from .confine import ResourceLimits, confine
from .seccomp import NAMES
from .wire import MAX_CONTROL_BYTES, WireError, decoded, encoded

CPU_SECONDS = 600  # of the process; looking up a name takes less than a millisecond
READABLE = ("/etc", "/usr", "/lib", "/lib64", "/run", "/var/run", "/var/lib/sss", "/var/db/nscd", "/var/cache/nscd")
ANSWER_SECONDS = 5.5  # resolv.conf(5): after five the second name server is asked, and one that is alive answers at once
MAX_FOUND = 32  # addresses of one name that are passed on
MAX_TEXT_CHARACTERS = 200
_Found = List[Tuple[Any, Any, int, str, Any]]


def run_names(sock: socket.socket, parent: int) -> NoReturn:
    """Run the process that looks up names until its parent ends.

    Args:
        sock: the only file that stays open, beside standard input and output.
        parent: process id of the parent.
    """
    try:
        codecs.lookup("idna")  # socket.getaddrinfo encodes by it; later this user may not be able to read the folder of Python
        sock.sendall(encoded({"problems": confine(NAMES, ResourceLimits(CPU_SECONDS), parent, READABLE)}))
        while True:
            request = decoded(sock.recv(MAX_CONTROL_BYTES))  # WireError at the end
            threading.Thread(target=_answer, args=(sock, request), daemon=True).start()
    finally:
        os._exit(0)  # also after an exception: its parent's code must not run twice


def _answer(sock: socket.socket, request: Dict[str, Any]) -> None:
    said = {"id": request["id"]}
    try:
        found = socket.getaddrinfo(request["host"], None, request["family"], socket.SOCK_STREAM)
        said["found"] = [[int(family), place[0], _scope_of(place)] for family, _, _, _, place in found[:MAX_FOUND]]
    except Exception as error:  # also of a codec or a library that cannot be loaded: somebody waits for the answer
        said.update(error=getattr(error, "errno", None) or socket.EAI_NONAME, text=str(getattr(error, "strerror", "") or error))
    with contextlib.suppress(OSError):  # the parent has ended
        sock.sendall(encoded(said))


def _scope_of(place: Tuple[Any, ...]) -> int:
    return int(place[3]) if len(place) == 4 else 0  # of IPv6 only


class _Lookup:
    """A name that is being looked up."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.said: Optional[Dict[str, Any]] = None  # None once it is done: the process has died


class NameClient:
    """Asks the process that looks up names; in any thread.

    Where no name server answers, that costs one time-out: what waits then, and what is asked later, fails at once until one does.

    Args:
        sock: to that process.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._lookups: Dict[int, _Lookup] = {}
        self._last = 0
        self._silent = False  # the name servers have not answered in time, and not since then

    def start(self) -> None:
        """Begin to read the answers."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, WireError):
            while True:
                said = decoded(self._sock.recv(MAX_CONTROL_BYTES))
                with self._lock:
                    lookup = self._lookups.pop(said["id"], None) if isinstance(said.get("id"), int) else None
                self._silent = self._silent and said.get("error") == socket.EAI_AGAIN
                if lookup is not None:
                    lookup.said = said
                    lookup.done.set()
        with self._lock:
            waiting, self._lookups, self._last = list(self._lookups.values()), {}, -1
        for lookup in waiting:
            lookup.done.set()

    def _give_up(self) -> None:
        """Let all that wait for an answer wait no longer."""
        with self._lock:
            self._silent = True
            waiting, self._lookups = list(self._lookups.values()), {}
        for lookup in waiting:
            lookup.done.set()

    def getaddrinfo(self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> _Found:
        """As ``socket.getaddrinfo``, for a TCP connection to a numeric port.

        Raises:
            socket.gaierror: the name has no address.
            OSError: the process has died, or answers what is none.
        """
        lookup = _Lookup()
        with self._lock:
            if self._last >= 0:
                self._last += 1
                self._lookups[self._last] = lookup
                number = self._last
        if self._last < 0:
            raise OSError("the process that looks up names has died")
        self._sock.sendall(encoded({"id": number, "host": str(host), "port": int(port), "family": int(family)}))
        if not lookup.done.wait(0.0 if self._silent else ANSWER_SECONDS):
            self._give_up()
        if lookup.said is None and self._silent:
            raise socket.gaierror(socket.EAI_AGAIN, "no name server answers; see /etc/resolv.conf")
        if lookup.said is None:
            raise OSError("the process that looks up names has died")
        return found_in(lookup.said, int(port), int(family))


def found_in(said: Dict[str, Any], port: int, family: int) -> _Found:
    """Return what an answer says, in the form of ``socket.getaddrinfo``.

    Args:
        said: by a process that may be in an attacker's hands.
        port: that was asked for.
        family: that was asked for; 0: any.

    Raises:
        socket.gaierror: it says that the name has no address.
        OSError: it is malformed.
    """
    try:
        if "error" in said:
            raise socket.gaierror(int(said["error"]), str(said["text"])[:MAX_TEXT_CHARACTERS])
        found = [_entry(port, *each) for each in said["found"][:MAX_FOUND]]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise OSError("the process that looks up names sends malformed answers") from None
    if not found or any(family not in (0, entry[0]) for entry in found):
        raise OSError("the process that looks up names sends malformed answers")
    return found


def _entry(port: int, family: Any, address: Any, scope: Any) -> Tuple[Any, Any, int, str, Any]:
    text = clean_address(address)
    expected = socket.AF_INET6 if ":" in text else socket.AF_INET
    if not text or family != expected or not isinstance(scope, int) or not 0 <= scope < 2 ** 32:
        raise ValueError("no address")
    place: Sequence[Any] = (text, port, 0, scope) if expected == socket.AF_INET6 else (text, port)
    return expected, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", tuple(place)
