"""The command's entrance. ``engine`` is for the package managers' plugins and must start fast: nothing else is loaded for it."""
import os
import sys
from typing import Optional, Sequence


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command.

    Args:
        argv: the arguments after the program's name; those of this process if left out.

    Returns:
        The exit code, see errors.py.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments == ["engine"]:
        _run_engine()
    from .program import run
    return run(arguments)


def _run_engine() -> None:
    """Serve one request and end this process at once, even if a thread still hangs in a system call.

    Events go to a copy of stdout, and stdout becomes stderr: what a library may print cannot get among them.
    """
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from ..engine import serve
    try:
        code = serve(sys.stdin.buffer, events)
    except BrokenPipeError:  # the plugin was ended; nobody is left to be told
        code = 1
    os._exit(code)
