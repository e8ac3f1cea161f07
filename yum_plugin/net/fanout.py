"""Asking many mirrors at once, each in a thread of its own with a session that can be ended from outside."""
import queue
import threading
import time
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from ..errors import FetchError
from ..model import Network
from ..util.urls import host_of, port_of
from .connect import connect
from .fetch import HttpSessions, OpenSession, Session
from .tls_chain import has_ended, lacks_intermediates, served_chain
from .transport import proxies_for

Task = Callable[[Session], Any]


class TaskResult(NamedTuple):
    """What became of one task: a value or an error."""

    key: Any  # as given to ``TaskPool.start``
    value: Any = None
    error: Optional[Exception] = None


class TaskPool:
    """Runs tasks side by side and hands over what comes of them in the order of completion.

    Every task gets its own session. Nothing waits for a thread: an abandoned one ends
    when its session is aborted, and is a daemon in case a system call holds it longer.

    Args:
        open_session: makes the sessions; those of this process if left out.
    """

    def __init__(self, open_session: Optional[OpenSession] = None) -> None:
        self._open = open_session or HttpSessions().open
        self._done: "queue.Queue[TaskResult]" = queue.Queue()
        self._sessions: List[Session] = []
        self._lock = threading.Lock()

    def start(self, key: Any, task: Task, network: Network, seconds: float,
              trusted_hosts: Tuple[str, ...] = ()) -> None:
        """Begin a task.

        Args:
            key: comes back with the outcome.
            task: called in a new thread with a session; its return value is the outcome's value.
            network, seconds, trusted_hosts: see ``fetch.Client``.

        Raises:
            UsageError: the TLS settings of ``network`` cannot be used.
        """
        session = self._open(network, seconds, trusted_hosts)
        with self._lock:
            self._sessions.append(session)
        threading.Thread(target=self._run, args=(key, task, session), daemon=True).start()

    def _run(self, key: Any, task: Task, session: Session) -> None:
        try:
            with session:
                outcome = TaskResult(key, task(session))
        except Exception as error:  # it is handed over: the task_pool's owner decides what it means
            outcome = TaskResult(key, None, error)
        self._done.put(outcome)

    def next(self, timeout_seconds: float) -> Optional[TaskResult]:
        """Wait for the next outcome; None if there is none in time."""
        try:
            return self._done.get(timeout=max(0.0, timeout_seconds))
        except queue.Empty:
            return None

    def dismiss(self) -> None:
        """End all tasks that are still under way."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.abort()


def run_until(ends_at: float, tasks: TaskPool, steady: Callable[[], float], advance: Callable[[float], Optional[float]],
              take: Callable[[TaskResult], None]) -> None:
    """Start what is due, take the next result, and so on until nothing is left to do or the time is over.

    Args:
        ends_at: in seconds of ``steady``.
        tasks: where ``advance`` starts tasks.
        steady: monotonic seconds.
        advance: called with the time before each wait; starts what is due, and returns the seconds after which time alone
            makes more of it due, or None if nothing is left to do.
        take: called with each result.
    """
    while True:
        now = steady()
        wait_seconds = advance(now)
        if wait_seconds is None or now >= ends_at:
            return
        result = tasks.next(min(wait_seconds, ends_at - now))
        if result is not None:
            take(result)


def explain_tls(error: FetchError, url: str, network: Network, timeout_seconds: float) -> FetchError:
    """Refine "not trusted" by a look at the chain as served: has it expired, or is an intermediate certificate missing?

    Args:
        error: what a fetch of ``url`` raised; returned as it is unless its reference is tls-untrusted.
        url: of the server.
        network: for ip_resolve; through a proxy the chain cannot be seen and nothing is refined.
        timeout_seconds: for the extra connection.

    Returns:
        ``error``, or a tls-expired one (for Python 3.6, whose ssl gives no reason) or a tls-incomplete one.
    """
    if error.reference != "tls-untrusted" or proxies_for(network, url):
        return error
    try:
        with connect(host_of(url), port_of(url), timeout_seconds, network.ip_resolve) as sock:
            chain = served_chain(sock, host_of(url), timeout_seconds)
    except OSError:
        return error
    if has_ended(chain, time.time()):
        return FetchError("tls-expired", "TLS failed: the certificate has expired", where=url)
    if lacks_intermediates(chain):
        return FetchError("tls-incomplete", "TLS failed: the server sends no intermediate certificate", where=url)
    return error

