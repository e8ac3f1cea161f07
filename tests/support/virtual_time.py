"""Time that passes only when somebody waits: a clock, and a pool whose tasks end after their virtual seconds.

``VirtualTasks`` stands in for ``net.fanout.TaskPool``. It copies that results come in the order of completion, that an
exception of a task is its result, and that a result later than the time-out leaves ``next`` with None. It does not
copy threads: a task runs to its end when it is started, and its result arrives when its session has spent its seconds.
"""
import heapq
from typing import Any, Callable, List, Optional, Tuple

from yum_plugin.model import Network
from yum_plugin.net.fanout import Task, TaskPool, TaskResult
from yum_plugin.resolve.resolver import Clock

TICK_SECONDS = 1e-6  # the least that passes in a wait: the owner's float arithmetic must not stop the time
MAX_WAITS = 5000  # of one pool; more of them is a busy loop


class VirtualClock:
    """Steady and wall time in one, and the source of chance.

    Args:
        wall: seconds since 1970 at the beginning.
    """

    def __init__(self, wall: float = 0.0) -> None:
        self.now = 1000.0  # steady seconds; not 0, which would hide a forgotten "minus the start"
        self.began = self.now
        self.ahead = wall - self.now  # of the wall clock before the steady one; may be set, as clocks are
        self.chance: Callable[[], float] = lambda: 0.5

    def wall(self) -> float:
        """Return seconds since 1970."""
        return self.now + self.ahead

    def as_clock(self) -> Clock:
        """Return what the resolver takes."""
        return Clock(self.wall, lambda: self.now, lambda: self.chance())


class VirtualTasks(TaskPool):
    """A task pool on virtual time.

    Args:
        clock: moved by ``next``.
        open_session: as of TaskPool; its sessions have ``spent``, the virtual seconds they took so far.
    """

    def __init__(self, clock: VirtualClock, open_session: Any = None) -> None:
        self._clock = clock
        self._open = open_session
        self._arrivals: List[Tuple[float, int, TaskResult]] = []
        self._started = 0
        self.waits = 0

    def start(self, key: Any, task: Task, network: Network, seconds: float) -> None:
        """See TaskPool."""
        session = self._open(network, seconds)
        try:
            with session:
                result = TaskResult(key, task(session))
        except Exception as error:  # as TaskPool hands it over
            result = TaskResult(key, None, error)
        self.deliver(result, session.spent)

    def deliver(self, result: TaskResult, after_seconds: float) -> None:
        """Let a result arrive later; of two at the same time the first one started comes first."""
        self._started += 1
        heapq.heappush(self._arrivals, (self._clock.now + after_seconds, self._started, result))

    def next(self, timeout_seconds: float) -> Optional[TaskResult]:
        """See TaskPool."""
        self.waits += 1
        if self.waits > MAX_WAITS:
            raise AssertionError("a busy loop: more than {} waits".format(MAX_WAITS))
        due = self._clock.now + max(TICK_SECONDS, timeout_seconds)
        if self._arrivals and self._arrivals[0][0] <= due:
            arrives_at, _, result = heapq.heappop(self._arrivals)
            self._clock.now = max(self._clock.now, arrives_at)
            return result
        self._clock.now = due
        return None

    def dismiss(self) -> None:
        """See TaskPool."""
        self._arrivals = []
