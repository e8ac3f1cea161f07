"""A whole task in the process without root, for what cannot be cut into single requests, such as an audit.

    1. Its module has ``prepare(given, contexts)``, which is called while that process still has root. It loads all that the task
       will need, and returns the task: a function that says values, and can wait.
    2. Values are JSON objects. Nothing else comes out of the task, and the caller checks the form of each.
    3. Once the task has said WAITING, Ctrl-C ends its wait, and it may still say what it has; a second one ends it at once.
"""
import signal
from types import FrameType
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence, cast

from ..model import Network
from .parent import MALFORMED, Child, RemoteSession, sandbox_error
from .process import ChildProcess, can_separate
from .wire import END, VALUE, WireError, decoded, encoded

WAITING = {"waiting": True}  # what a task says before its first wait
OnValue = Callable[[Dict[str, Any]], None]


class ApartTask(NamedTuple):
    """A task, and what it needs."""

    module: str  # full name
    given: Mapping[str, Any]  # for its ``prepare``: JSON
    networks: Sequence[Network]  # at least one
    programs: bool  # whether it starts programs; files and processes are open to it then
    cpu_seconds: int
    seconds: float  # for the whole task


def run_apart(task: ApartTask, on_value: OnValue, here: Callable[[OnValue], None]) -> None:
    """Run a task in a process that has given up root; without root in this one.

    Args:
        task: see there.
        on_value: called in this process with each value.
        here: does the same task in this process, for those without root.

    Raises:
        UsageError: "sandbox", or the TLS settings of the first network cannot be used.
        MirrorsError: the task's own, or what ``on_value`` raises.
    """
    if not can_separate():
        here(lambda value: on_value(decoded(encoded(value))))
        return
    words = {"module": task.module, "given": task.given, "programs": task.programs}
    child = Child(list(dict.fromkeys(task.networks)), task.cpu_seconds, ChildProcess(examines=True), words)
    try:
        session = cast(RemoteSession, child.open(task.networks[0], task.seconds))
        with session, _Interrupts(session) as interrupts:
            session.ask(do="task")
            _take(session, on_value, interrupts)
    finally:
        child.end()


class _Interrupts:
    """Hands Ctrl-C to a task that waits; where it is ignored, it stays ignored.

    Args:
        session: that the task runs in.
    """

    def __init__(self, session: RemoteSession) -> None:
        self._session = session
        self._before: Any = None
        self.wanted = False

    def __enter__(self) -> "_Interrupts":
        self._before = signal.getsignal(signal.SIGINT)
        return self

    def __exit__(self, *_: object) -> None:
        if self.wanted:
            signal.signal(signal.SIGINT, self._before)

    def begin(self) -> None:
        """Hand over the next one."""
        if not self.wanted and self._before != signal.SIG_IGN:
            self.wanted = True
            signal.signal(signal.SIGINT, self._take)

    def _take(self, number: int, frame: Optional[FrameType]) -> None:
        signal.signal(signal.SIGINT, self._before)
        self._session.ask(do="stop")


def _take(session: RemoteSession, on_value: OnValue, interrupts: _Interrupts) -> None:
    """Receive values until the task has ended."""
    while True:
        kind, payload = session.answer("", VALUE, END)
        if kind == END:
            return
        try:
            value = decoded(payload)
        except WireError:
            raise sandbox_error(MALFORMED)
        if value == WAITING:
            interrupts.begin()
        else:
            on_value(value)
