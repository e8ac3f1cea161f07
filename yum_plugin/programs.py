"""Programs run at the same time, bounded in time and in what they may say, and ended with all that they started."""
import contextlib
import os
import select
import signal
import subprocess
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

READ_BYTES = 65536
MAX_OUTPUT_BYTES = 8 * 1024 * 1024
MAX_COMPLAINT_BYTES = 64 * 1024


class Done(NamedTuple):
    """What became of a program."""

    output: str = ""
    complaint: str = ""  # of stderr, in one line
    code: Optional[int] = None  # None: it was ended, and complaint says why


def run_all(commands: Sequence[Sequence[str]], seconds: float, on_done: Callable[[int], None] = lambda count: None) -> List[Done]:
    """Run programs side by side.

    Args:
        commands: the words of each.
        seconds: how long each may take.
        on_done: called with how many have ended.

    Returns:
        What became of each, in the same order.
    """
    found: Dict[int, Done] = {}
    running: Dict[int, _Program] = {}
    ends_at = time.monotonic() + seconds
    try:
        for place, words in enumerate(commands):
            try:
                running[place] = _Program(words)
            except OSError as error:
                found[place] = Done(complaint="{}: {}".format(words[0], error.strerror))
        while running:
            _read(list(running.values()), ends_at)
            for place, program in list(running.items()):
                done = program.result(time.monotonic() >= ends_at)
                if done is not None:
                    found[place] = done
                    running.pop(place).end()
                    on_done(len(found))
    finally:
        for program in running.values():
            program.end()
    return [found[place] for place in range(len(commands))]


class _Program:
    """One of them.

    Args:
        words: its command line.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.child = subprocess.Popen(list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      start_new_session=True, env=dict(os.environ, LC_ALL="C"))
        self.open: List[Any] = [self.child.stdout, self.child.stderr]
        self._texts: Dict[Any, bytes] = dict.fromkeys(self.open, b"")

    def read(self, stream: Any) -> None:
        """Read what is there."""
        data = os.read(stream.fileno(), READ_BYTES)
        self._texts[stream] += data
        if not data:
            self.open.remove(stream)

    def result(self, is_late: bool) -> Optional[Done]:
        """Return what became of it; None: it still runs."""
        output, complaint = (self._texts[stream] for stream in (self.child.stdout, self.child.stderr))
        if len(output) > MAX_OUTPUT_BYTES or len(complaint) > MAX_COMPLAINT_BYTES:
            return Done(complaint="an endless answer")
        if not self.open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self.child.wait(timeout=1.0)  # who has closed both streams is about to end
                return Done(output.decode("utf-8", "replace"), " ".join(complaint.decode("utf-8", "replace").split()), code)
        return Done(complaint="no answer in time") if is_late or not self.open else None

    def end(self) -> None:
        """Kill it, with all that it started, unless it has ended."""
        with self.child:
            if self.child.returncode is None:  # its group is there as long as nobody has waited for it
                os.killpg(self.child.pid, signal.SIGKILL)


def _read(programs: Sequence[_Program], ends_at: float) -> None:
    """Wait for something to read, or the end of the time, and read it."""
    owners = {stream: program for program in programs for stream in program.open}
    for stream in select.select(list(owners), [], [], max(0.0, ends_at - time.monotonic()))[0]:
        owners[stream].read(stream)
