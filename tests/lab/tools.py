"""Running the real tools (gpg, rpmbuild, rpmsign, createrepo_c, rpm) in a lab's own surroundings."""
import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import Dict, Iterable, Iterator, List, Optional, Sequence

NEEDED = ("gpg", "gpgconf", "rpm", "rpmbuild", "rpmsign", "createrepo_c")


class ToolError(Exception):
    """A tool is missing or failed; the message holds its command line and its words."""


def missing(names: Iterable[str] = NEEDED) -> List[str]:
    """Return those of ``names`` that are not installed."""
    return [name for name in names if shutil.which(name) is None]


def environment(folder: str) -> Dict[str, str]:
    """Return an environment whose home and temporary files are inside ``folder``."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return dict(kept, HOME=folder, TMPDIR=folder, LC_ALL="C.UTF-8", TZ="UTC")


def run(command: Sequence[str], env: Dict[str, str], stdin: Optional[bytes] = None) -> bytes:
    """Run a tool to its end and return its standard output.

    Raises:
        ToolError: it is not installed or exits with another code than 0.
    """
    try:
        done = subprocess.run(command, env=env, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise ToolError("{} is not installed".format(command[0])) from None
    if done.returncode:
        words = (done.stderr or done.stdout).decode("utf-8", "replace")
        raise ToolError("{} -> {}: {}".format(" ".join(command), done.returncode, words))
    return done.stdout


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold an exclusive lock on a file, so that two processes can share a lab's folder."""
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
