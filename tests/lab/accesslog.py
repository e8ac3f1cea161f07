"""One access log for all servers of a lab: who was asked what, and how many bytes went out."""
import threading
import time
from typing import Callable, Dict, List, Optional, Set


class Connection:
    """One accepted TCP connection, even if nothing was ever asked on it."""

    def __init__(self, server: str, number: int, seconds: float) -> None:
        self.server = server
        self.number = number
        self.seconds = seconds  # since the log was made
        self.tls = False
        self.requests = 0
        self.failure = ""  # why TLS failed, if it did


class Entry:
    """One request. ``bytes`` counts header and body as handed to the system: a little may not have left."""

    def __init__(self, connection: Connection, seconds: float, method: str, target: str, headers: Dict[str, str]) -> None:
        self.connection = connection
        self.server = connection.server
        self.tls = connection.tls
        self.seconds = seconds
        self.method = method
        self.target = target  # path and query, as sent
        self.headers = headers  # names in lower case
        self.status = 0  # 0: never answered
        self.bytes = 0
        self.finished = False  # the whole answer was handed over
        self.ended = False  # nothing more will be sent for it

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.target.split("?", 1)[0]

    def __repr__(self) -> str:
        end = "" if self.finished else " (unfinished)"
        scheme = "https" if self.tls else "http"
        return "{:8.3f} {} {} {} {} -> {} {} bytes{}".format(
            self.seconds, self.server, scheme, self.method, self.target, self.status, self.bytes, end
        )


class AccessLog:
    """Written by the servers' threads, asked by tests."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._started = time.monotonic()
        self._number = 0
        self._entries: List[Entry] = []
        self._connections: List[Connection] = []

    def seconds(self) -> float:
        """Return the time now, as connections and entries have it."""
        return time.monotonic() - self._started

    def connected(self, server: str) -> Connection:
        """Note a new connection."""
        with self._changed:
            self._number += 1
            connection = Connection(server, self._number, time.monotonic() - self._started)
            self._connections.append(connection)
            self._changed.notify_all()
            return connection

    def requested(self, connection: Connection, method: str, target: str, headers: Dict[str, str]) -> Entry:
        """Note a request whose header is complete."""
        with self._changed:
            connection.requests += 1
            entry = Entry(connection, time.monotonic() - self._started, method, target, headers)
            self._entries.append(entry)
            self._changed.notify_all()
            return entry

    def end(self, entry: Entry, finished: bool) -> None:
        """Note that nothing more is sent, and whether the answer was handed over whole."""
        with self._changed:
            entry.ended = True
            entry.finished = finished
            self._changed.notify_all()

    def requests(self, server: Optional[str] = None, path_ends: str = "", method: str = "") -> List[Entry]:
        """Return the requests in their order; each argument that is given narrows the choice."""
        with self._changed:
            return [
                entry
                for entry in self._entries
                if server in (None, entry.server) and entry.path.endswith(path_ends) and method in ("", entry.method)
            ]

    def connections(self, server: Optional[str] = None) -> List[Connection]:
        """Return the connections, those without any request included."""
        with self._changed:
            return [connection for connection in self._connections if server in (None, connection.server)]

    def contacted(self) -> Set[str]:
        """Return the names of all servers that saw a connection."""
        return {connection.server for connection in self.connections()}

    def bytes(self, server: Optional[str] = None, path_ends: str = "") -> int:
        """Return the bytes sent for the requests that match."""
        return sum(entry.bytes for entry in self.requests(server, path_ends))

    def clear(self) -> None:
        """Forget everything; what is under way goes on unseen."""
        with self._changed:
            self._entries = []
            self._connections = []

    def wait(self, condition: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Wait until ``condition()`` is true, asked again at each change; return what it was at last."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)
