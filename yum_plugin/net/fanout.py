"""Requests to many mirrors at once, each in its own thread with a session that can be ended from outside."""
import queue
import threading
from typing import Any, Callable, List, NamedTuple, Optional

from ..model import Network
from .session import OpenSession, Session

Task = Callable[[Session], Any]


class TaskResult(NamedTuple):
    """The result of one task: a value or an error."""

    key: Any  # as given to ``TaskPool.start``
    value: Any = None
    error: Optional[Exception] = None


class TaskPool:
    """Runs tasks side by side and returns their results in the order of completion.

    Every task gets its own session. Nothing waits for a thread: an abandoned one ends when its session is aborted, and is a
    daemon in case a system call holds it longer.

    Args:
        open_session: makes the sessions; None: this process does.
    """

    def __init__(self, open_session: Optional[OpenSession] = None) -> None:
        if open_session is None:
            from .fetch import HttpSessions  # late: a process that keeps root has another one do this
            open_session = HttpSessions().open
        self._open = open_session
        self._results: "queue.Queue[TaskResult]" = queue.Queue()
        self._sessions: List[Session] = []
        self._lock = threading.Lock()

    def start(self, key: Any, task: Task, network: Network, seconds: float) -> None:
        """Begin a task.

        Args:
            key: comes back with the result.
            task: called in a new thread with a session; what it returns is the result's value.
            network, seconds: see ``fetch.HttpSession``.

        Raises:
            UsageError: the TLS settings of ``network`` cannot be used.
        """
        session = self._open(network, seconds)
        with self._lock:
            self._sessions.append(session)
        threading.Thread(target=self._run, args=(key, task, session), daemon=True).start()

    def _run(self, key: Any, task: Task, session: Session) -> None:
        try:
            with session:
                result = TaskResult(key, task(session))
        except Exception as error:  # it is handed over: the task_pool's owner decides what it means
            result = TaskResult(key, None, error)
        self._results.put(result)

    def next(self, timeout_seconds: float) -> Optional[TaskResult]:
        """Wait for the next result; None if there is none in time."""
        try:
            return self._results.get(timeout=max(0.0, timeout_seconds))
        except queue.Empty:
            return None

    def dismiss(self) -> None:
        """End all tasks that still run."""
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
