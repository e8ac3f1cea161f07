"""Waiting for what will surely happen, and limits for what must not take long; both hold on the busiest machine."""
import time
from typing import Callable

# What is done at once takes less than this even where six test processes share two cores. What a test tells it from must
# take three times as long, so that the two cannot be confused.
AT_ONCE_SECONDS = 20.0
LONG_SECONDS = 3 * AT_ONCE_SECONDS  # for time limits that a test must not meet


def wait_until(condition: Callable[[], object], seconds: float = LONG_SECONDS) -> bool:
    """Wait until ``condition()`` is true, and no longer than ``seconds``; return whether it is."""
    ends_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.01)
    return True


def ends(pid: object) -> bool:
    """Wait until a process that has been killed is gone, or is a zombie that its own parent must reap."""

    def is_gone() -> bool:
        try:
            with open("/proc/{}/stat".format(pid)) as stream:
                return stream.read().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            return True

    return wait_until(is_gone)
