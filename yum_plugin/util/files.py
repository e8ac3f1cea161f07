"""Files written whole and read safely: no link is followed (as in rpm's CVE-2021-35937 to 35939), no file is half-written."""
import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import Iterator, List, Optional

from ..errors import UsageError
from .places import remedy, weak_point

PRIVATE_MODE, PUBLIC_MODE = 0o600, 0o644  # readable by the owner only; by everybody
LOCK_POLL_SECONDS = 0.05  # flock(2) has no time-out


def listed(folder: str, suffix: str, most: int) -> List[str]:
    """Return the paths of the first ``most`` files of a folder by name; none if there is no such folder."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(suffix) and not name.startswith("."))
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names[:most]]


def write_whole(path: str, data: bytes, mode: int = 0o644, durable: bool = True) -> None:
    """Write a file so that readers see the old one or the new one, never a part, even if this process is killed.

    Args:
        path: the file; its folder is made if missing. One writer at a time: callers hold a lock.
        data: the content.
        mode: permission bits.
        durable: wait until it is on the disk. Without this a power failure may leave an empty file, so only for replaceable ones.

    Raises:
        OSError: no space, no permission; the old file is still there.
    """
    folder, name = os.path.split(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    temporary = os.path.join(folder, ".{}.new".format(name))  # constant: a killed writer's file is removed here
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if durable:
                os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if durable:
        sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_capped(path: str, max_bytes: int) -> bytes:
    """Read a small regular file without following a link at its last part.

    Args:
        path: the file.
        max_bytes: a larger file is an error.

    Returns:
        The content.

    Raises:
        OSError: missing, no permission, a link, no regular file, or too large (``EFBIG``).
    """
    # O_NONBLOCK: to open a FIFO in its place would wait for a writer
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        with os.fdopen(handle, "rb", closefd=False) as stream:
            data = stream.read(max_bytes + 1)
    finally:
        os.close(handle)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, "larger than {} bytes".format(max_bytes), path)
    return data


def read_trusted(path: str, max_bytes: int) -> bytes:
    """Read a file that decides about trust: nobody but root, and the user who runs this, can change it (``places``, rule 2).

    Args:
        path: links are followed, because distributions install keys through them.
        max_bytes: a larger file is an error.

    Returns:
        The content.

    Raises:
        UsageError: key-file: it is missing, not regular or too large, or others can write it.
    """
    weak = weak_point(path)
    if weak:
        raise UsageError("key-file", "others than root can change the key", where=path, hint=remedy(weak))
    try:
        return read_capped(os.path.realpath(path), max_bytes)
    except OSError as error:
        raise UsageError("key-file", "the key cannot be read: {}".format(error.strerror), where=path)


@contextlib.contextmanager
def locked(path: str, wait_seconds: float) -> Iterator[bool]:
    """Hold an exclusive flock(2) while the block runs; the kernel releases it if this process is killed.

    Args:
        path: the lock file; made if missing.
        wait_seconds: how long to wait for another holder.

    Yields:
        Whether the lock is held. False: another process holds it too long, or the file cannot be written; the caller then
        goes on without the lock and writes nothing.
    """
    handle = _open_lock(path)
    try:
        yield handle is not None and _wait_for_lock(handle, wait_seconds)
    finally:
        if handle is not None:
            os.close(handle)


def _open_lock(path: str) -> Optional[int]:
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def _wait_for_lock(handle: int, wait_seconds: float) -> bool:
    ends_at = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() >= ends_at:
                return False
        time.sleep(LOCK_POLL_SECONDS)
