"""A folder put in the place of another one, so that who reads sees the old or the new one, and what to do after a kill.

renameat2(2) with RENAME_EXCHANGE (Linux 3.15; ext4, XFS, Btrfs, tmpfs) swaps two folders in one step: no reader and no
kill can come in between. Python has no function for it, so the C library's is called, or the kernel's where an older C
library has none (CentOS 7: x86_64 only). A symbolic link would be as good for readers, but the tree would not be the
source's any more, and a web server or an rsync may be told not to follow it.

Where a file system cannot exchange (NFS), two renames do it: for as long as the second takes, the folder is missing, and
stays so after a kill just then. A note written before says which, and ``recover``, the first thing of the next run, ends it.
"""
import contextlib
import ctypes
import errno
import os
import platform
import shutil
from typing import Any, Callable

from ...util.files import read_capped, sync_folder, write_whole

_AT_FDCWD = -100  # <fcntl.h>
_RENAME_EXCHANGE = 2  # <linux/fs.h>
_SYSTEM_CALLS = {"x86_64": 316, "aarch64": 276}
_NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
NOTE = "switching"  # in the work folder: what two renames are about
MAX_NOTE_BYTES = 16 * 1024  # two paths
OLD = "old"  # in the work folder: what was published, between the two


def exchange(one: str, other: str, library: Any = None) -> bool:
    """Swap two folders of one file system in one step.

    Args:
        one: a folder.
        other: a folder.
        library: the C library; this process's own if left out.

    Returns:
        False: this system or file system cannot; nothing was done.

    Raises:
        OSError: it can, and it failed.
    """
    library = library or ctypes.CDLL(None, use_errno=True)
    arguments = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    call: Callable[..., Any]
    if hasattr(library, "renameat2"):
        call = library.renameat2
    elif platform.machine() in _SYSTEM_CALLS and hasattr(library, "syscall"):
        call, arguments = library.syscall, (_SYSTEM_CALLS[platform.machine()],) + arguments  # type: ignore[assignment]
    else:
        return False
    if call(*arguments) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), other)


def flush(folder: str) -> None:
    """Wait until everything on a folder's file system is on the disk: syncfs(2), once, is far less than a fsync a file."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:  # before glibc 2.14, or not on Linux
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), folder)
    finally:
        os.close(handle)


def switch_folder(new: str, live: str, work: str, step: Callable[[str], None] = lambda name: None) -> bool:
    """Publish a folder in the place of another one, or where there is none yet.

    Args:
        new: complete and on the disk; afterwards it is gone, or holds what was published before.
        live: what readers see.
        work: for the note and the old folder, on the same file system.
        step: called before each step that a kill may come after, with its name.

    Returns:
        Whether no reader could see anything in between.

    Raises:
        OSError: it could not be done; the old one is still there, or ``recover`` brings it back.
    """
    step("exchange")
    at_once = True
    if not os.path.lexists(live):
        os.rename(new, live)
    elif not exchange(new, live):
        at_once = False
        _two_renames(new, live, work, step)
    sync_folder(os.path.dirname(live))
    return at_once


def _two_renames(new: str, live: str, work: str, step: Callable[[str], None]) -> None:
    old = os.path.join(work, OLD)
    shutil.rmtree(old, ignore_errors=True)
    write_whole(os.path.join(work, NOTE), os.fsencode("{}\0{}".format(new, live)), 0o600)
    step("first-rename")
    os.rename(live, old)
    step("second-rename")
    os.rename(new, live)
    step("renamed")
    os.unlink(os.path.join(work, NOTE))
    os.rename(old, new)


def recover(work: str, root: str) -> bool:
    """End what two renames left undone.

    Args:
        work: the work folder.
        root: nothing outside of it is touched.

    Returns:
        Whether there was anything to do.
    """
    note = os.path.join(work, NOTE)
    try:
        new, _, live = os.fsdecode(read_capped(note, MAX_NOTE_BYTES)).partition("\0")
    except OSError:
        return False
    missing = live.startswith(root + "/") and new.startswith(work + "/") and not os.path.lexists(live)
    if missing:
        source = new if os.path.isdir(new) else os.path.join(work, OLD)
        os.rename(source, live)
        sync_folder(os.path.dirname(live))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(note)
    return missing
