"""Work shared among forked copies of this process: for many small things that one Python does too slowly."""
import json
import os
import signal
import sys
from typing import Any, BinaryIO, Callable, Iterator, List, NamedTuple, NoReturn, Optional, Sequence, TypeVar

MAX_PROCESSES = 8

_Part = TypeVar("_Part")


class _Child(NamedTuple):
    process: int
    pipe: BinaryIO


def processes() -> int:
    """Return how many may work side by side: one a CPU that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS has none
    return min(MAX_PROCESSES, usable)


def shared(parts: Sequence[_Part], work: Callable[[_Part], List[Any]]) -> Iterator[List[Any]]:
    """Do the work on every part: on the first one here, on each other one in a child.

    Args:
        parts: what is to be done.
        work: returns what JSON can carry; called without any other thread running.

    Yields:
        What came of each part, in their order. What a child did not deliver whole is done here: nothing is ever left out.
    """
    children = [_start(part, work) for part in parts[1:]]
    try:
        for number, part in enumerate(parts):
            found = _collect(children[number - 1]) if number else None
            yield work(part) if found is None else found
    finally:
        for child in children:
            child.pipe.close()
            os.kill(child.process, signal.SIGKILL)  # one that has ended stays until it is waited for
            os.waitpid(child.process, 0)


def _start(part: _Part, work: Callable[[_Part], List[Any]]) -> _Child:
    mine, theirs = os.pipe()
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _be_child(theirs, lambda: work(part))
    os.close(theirs)
    return _Child(process, os.fdopen(mine, "rb"))


def _be_child(pipe: int, work: Callable[[], List[Any]]) -> NoReturn:
    """Do the work and end, saying nothing of what goes wrong: the parent does the part itself, and meets it too."""
    code = 1
    try:
        with os.fdopen(pipe, "wb") as stream:
            stream.write(json.dumps(work()).encode("ascii"))
        code = 0
    finally:
        os._exit(code)


def _collect(child: _Child) -> Optional[List[Any]]:
    """Wait for what a child delivers; None if that is not all of it."""
    try:
        found: List[Any] = json.loads(child.pipe.read().decode("ascii"))
    except ValueError:
        return None
    return found
