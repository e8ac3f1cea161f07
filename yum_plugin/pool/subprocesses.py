"""Commands run side by side, limited in time and in output, and ended together with all that they started."""
import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Callable, List, NamedTuple, Optional, Sequence

READ_BYTES = 65536
MAX_OUTPUT_BYTES = 8 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
STOP_CHECK_SECONDS = 0.2  # how soon Ctrl-C ends the commands; short for a person, and no load with 64 of them
EXIT_SECONDS = 1.0  # a command that has closed its output is about to end


class CommandResult(NamedTuple):
    """What a command printed and how it ended."""

    output: str = ""
    error: str = ""  # its stderr in one line
    code: Optional[int] = None  # None: it could not be started or was killed, and error says why


def run_all(commands: Sequence[Sequence[str]], seconds: float,
            on_done: Callable[[int], None] = lambda count: None) -> List[CommandResult]:
    """Run commands side by side.

    Args:
        commands: the arguments of each, the program's name first.
        seconds: after which those that still run are killed.
        on_done: called with the number of commands that have ended.

    Returns:
        The result of each, in the same order.
    """
    ends_at = time.monotonic() + seconds
    stop = threading.Event()
    with ThreadPoolExecutor(max(1, len(commands))) as threads:
        try:
            runs = [threads.submit(_run, command, ends_at, stop) for command in commands]
            for count, _ in enumerate(as_completed(runs), 1):
                on_done(count)
        finally:
            stop.set()  # for Ctrl-C: the executor waits for its threads
    return [run.result() for run in runs]


def _run(command: Sequence[str], ends_at: float, stop: threading.Event) -> CommandResult:
    """Run one command to its end or its limit."""
    try:
        child = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 start_new_session=True, env=dict(os.environ, LC_ALL="C"))
    except OSError as error:
        return CommandResult(error="{}: {}".format(command[0], error.strerror))
    with child:
        try:
            return _read(child, ends_at, stop)
        finally:
            if child.returncode is None:  # the group exists as long as nobody has waited for its leader
                os.killpg(child.pid, signal.SIGKILL)


def _read(child: "subprocess.Popen[bytes]", ends_at: float, stop: threading.Event) -> CommandResult:
    """Read both streams of a command until it ends, says too much or takes too long."""
    limits = {child.stdout: MAX_OUTPUT_BYTES, child.stderr: MAX_ERROR_BYTES}
    texts = dict.fromkeys(limits, b"")
    reading: List[Any] = list(limits)
    while reading and not stop.is_set() and time.monotonic() < ends_at:
        for stream in select.select(reading, [], [], min(STOP_CHECK_SECONDS, max(0.0, ends_at - time.monotonic())))[0]:
            data = os.read(stream.fileno(), READ_BYTES)
            texts[stream] += data
            if len(texts[stream]) > limits[stream]:
                return CommandResult(error="an endless answer")
            if not data:
                reading.remove(stream)
    if not reading:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = child.wait(timeout=EXIT_SECONDS)
            output, error = (text.decode("utf-8", "replace") for text in texts.values())
            return CommandResult(output, " ".join(error.split()), code)
    return CommandResult(error="no answer in time")
