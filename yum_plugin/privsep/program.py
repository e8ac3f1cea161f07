"""A program that is not ours, such as rsync, started so that it can do little more than its work. Linux only.

1. Its user is the one of the network's process (confine.py), where root starts it. It has no capabilities and gets no new ones.
2. The kernel refuses it other processes, keys, namespaces and devices (seccomp.py, rule 7). It cannot leave its group of
   processes, so that its caller can end all of it. If the caller is killed, it gets SIGTERM, at which rsync ends its other
   processes and keeps what it has of a file; one that was taken over may ignore that.
3. It may read what all users may. It writes into one folder, which is its own while it runs, and is then taken back: plain files
   with one name and folders stay, all else is removed. What was not taken back, because the caller was killed, is copied
   at the next start, for somebody may still have it open.
"""
import contextlib
import errno
import os
import resource
import shutil
import signal
import stat
import sys
from typing import Callable, Iterator, List, Optional

from .confine import PASSWD, ResourceLimits, confine, user_in
from .process import can_separate
from .seccomp import PROGRAM

CPU_SECONDS = 24 * 3600
MEMORY_BYTES = 4 * 1024 ** 3  # rsync needs a hundred bytes for each file
COPY = ".copy"
FOLDER_MODE, FILE_MODE = 0o700, 0o600  # of what is taken back


def confining() -> Optional[Callable[[], None]]:
    """Return what a new process calls before it becomes the program (``preexec_fn``); None where nothing can be confined."""
    if not sys.platform.startswith("linux"):
        return None
    threads = ResourceLimits(0).threads if can_separate() else resource.RLIM_INFINITY  # a user's own programs count, too
    limits = ResourceLimits(CPU_SECONDS, MEMORY_BYTES, threads=threads, file_bytes=resource.RLIM_INFINITY)
    parent = os.getpid()

    def confine_this() -> None:
        confine(PROGRAM, limits, parent, ended_by=signal.SIGTERM)

    return confine_this


@contextlib.contextmanager
def lent(folder: str) -> Iterator[None]:
    """Lend a folder to the program's user while the block runs; without root it is that of this process already.

    Args:
        folder: nobody else can change it, or a folder above it.
    """
    if not can_separate() or not _lend(folder):
        yield
        return
    try:
        yield
    finally:
        take_back(folder)


def _lend(folder: str) -> bool:
    """Give a folder to the program's user; return False in a container that has no such user, where it has to stay root."""
    user, group, _ = user_in(PASSWD)
    try:
        for _, folders, files, handle in os.fwalk(folder):
            for name in folders + files:
                os.chown(name, user, group, dir_fd=handle, follow_symlinks=False)
        os.chown(folder, user, group)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
        return False
    return True


def take_back(folder: str) -> List[str]:
    """Make a folder this process's own again: plain files with one name, and folders stay; all else is removed.

    Args:
        folder: nothing that it was lent to runs any more; else see ``renew``.

    Returns:
        The paths of the files that were another user's.
    """
    lent_files = []
    os.chown(folder, os.geteuid(), os.getegid())  # first: nobody else gets in from now on
    os.chmod(folder, FOLDER_MODE)
    for place, folders, files, handle in os.fwalk(folder):
        for name in folders + files:
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            is_folder = stat.S_ISDIR(status.st_mode)
            if is_folder or stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                os.chown(name, os.geteuid(), os.getegid(), dir_fd=handle, follow_symlinks=False)
                os.chmod(name, FOLDER_MODE if is_folder else FILE_MODE, dir_fd=handle)  # no link: nobody else can put one there
            else:
                os.unlink(name, dir_fd=handle)
                continue
            if not is_folder and status.st_uid != os.geteuid():
                lent_files.append(os.path.join(place, name))
    return lent_files


def renew(folder: str) -> None:
    """Take back a folder to which something that it was lent to may still have files open."""
    for path in take_back(folder):
        shutil.copyfile(path, path + COPY)
        os.replace(path + COPY, path)
