"""Work divided among processes, for many small files that one Python process checks too slowly."""
import contextlib
import multiprocessing
import os
import signal
from typing import Any, Callable, Iterator, List, Sequence, TypeVar

MAX_WORKERS = 8  # beyond that the disk is the limit

_Part = TypeVar("_Part")


def worker_count() -> int:
    """Return how many processes may work side by side: one for each CPU that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS has none
    return min(MAX_WORKERS, usable)


def map_parts(work: Callable[[_Part], List[Any]], parts: Sequence[_Part]) -> Iterator[List[Any]]:
    """Do the work on the first part in this process, and on each other part in a child process.

    ``concurrent.futures`` and ``multiprocessing.Pool`` do not fit: the first gives up all parts when one child is killed,
    the second waits for it forever.

    Args:
        work: what is done with a part; its results must be picklable. Call this while no other thread runs.
        parts: shared out in this order.

    Yields:
        The results of each part, in the order of the parts. A part whose child fails is done again in this process, so
        that nothing is left out and an exception of the work reaches the caller.
    """
    fork = multiprocessing.get_context("fork")  # the default is another one since Python 3.14, and cannot run a closure
    children = []
    pipes = []
    try:
        for part in parts[1:]:
            receiver, sender = fork.Pipe(duplex=False)
            child = fork.Process(target=_work_in_child, args=(work, part, sender), daemon=True)
            pipes.append(receiver)
            child.start()
            children.append(child)
            sender.close()  # so that the end of the child is the end of the pipe
        if parts:
            yield work(parts[0])
        for part, pipe in zip(parts[1:], pipes):
            try:
                results = pipe.recv()
            except (EOFError, OSError):
                results = work(part)
            yield results
    finally:
        for child in children:
            if child.pid and child.is_alive():
                os.kill(child.pid, signal.SIGKILL)  # Python 3.6 has no child.kill()
            child.join()


def _work_in_child(work: Callable[[_Part], List[Any]], part: _Part, sender: Any) -> None:
    """Send the results; say nothing of a failure, for the parent meets it when it does the part itself."""
    with contextlib.suppress(BaseException):
        sender.send(work(part))
