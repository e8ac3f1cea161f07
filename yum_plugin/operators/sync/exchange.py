"""Replaces a folder so that readers see either the old or the new one, and completes that after a kill.

renameat2(2) with RENAME_EXCHANGE (Linux 3.15; ext4, XFS, Btrfs, tmpfs) swaps two folders in one step: no reader and no kill can
come in between. Python has no function for it, so the C library's is called, or the system call where an older C library has
none (CentOS 7: x86_64 only). A symbolic link would do as well for readers, but then the tree would differ from the source's, and
a web server or an rsync daemon may be configured not to follow it.

Where a file system cannot exchange (NFS), two renames do it: between them the folder is missing, and it stays missing after a
kill just then. A note that is written before names it, and ``recover``, the first step of the next run, completes the rename.
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
_SYSTEM_CALLS = {"x86_64": 316, "aarch64": 276}  # renameat2(2), which glibc has as a function since 2.28
# ENOSYS: the kernel has no such call; EINVAL: the file system does not know the flag (renameat2(2)).
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
NOTE = "switching"  # in the work folder: the two paths of a rename in progress
MAX_NOTE_BYTES = 16 * 1024  # two paths
OLD = "old"  # in the work folder: the published folder, between the two renames


def exchange(one: str, other: str, library: Any = None) -> bool:
    """Swap two folders of one file system in one step.

    Args:
        one: a folder.
        other: a folder.
        library: the C library; this process's own if left out.

    Returns:
        False: this system or file system does not support it; nothing was done.

    Raises:
        OSError: it failed for another reason.
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
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), other)


def flush(folder: str) -> None:
    """Wait until the folder's file system is on the disk: one syncfs(2) is much faster than one fsync(2) for each file."""
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
    """Publish a folder; it replaces another one, if there is one.

    Args:
        new: complete and on the disk; afterwards it is gone, or holds what was published before.
        live: its published path.
        work: for the note and the old folder, on the same file system.
        step: called before each step with its name.

    Returns:
        Whether it was done in one step.

    Raises:
        OSError: it failed; the old folder is still there, or ``recover`` restores it.
    """
    step("exchange")
    atomic = True
    if not os.path.lexists(live):
        os.rename(new, live)
    elif not exchange(new, live):
        atomic = False
        _two_renames(new, live, work, step)
    sync_folder(os.path.dirname(live))
    return atomic


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
    """Complete two renames that a kill interrupted.

    Args:
        work: the work folder.
        root: of DEST; nothing outside of it is changed.

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
