"""The partial file: beside its target, under another name until all of it is proven.

``.NAME.part`` is opened without following links, is locked by one process at a time (flock), and is renamed only when it
is complete and on disk. A later run hashes again what an interrupted one left, and continues it. Where parts have arrived
out of order, ``.NAME.map.part`` says which: a line with start and end for each. It need not be right, for all is proven.
"""
import contextlib
import errno
import fcntl
import os
import shutil
import stat
from typing import BinaryIO, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from ..errors import UsageError
from ..util.files import read_capped, write_whole

READ_BYTES = 256 * 1024
WRITE_BACK_BYTES = 8 * 1024 * 1024
FINAL_MODE = 0o644
MAX_MAP_BYTES = 64 * 1024
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def disk_error(error: OSError, path: str) -> UsageError:
    """Turn an error of the disk into a message, which names ``df`` if it is about free space.

    Args:
        error: of the system call.
        path: of the file that is to be written.

    Returns:
        The UsageError to raise.
    """
    what = "the file cannot be written: {}".format(error.strerror or error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(what, path)
    return UsageError("state", what, where=path, hint="check the permissions of its folder")


@contextlib.contextmanager
def _disk_errors(path: str) -> Iterator[None]:
    """Raise an OSError of the block as a UsageError."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


def _no_space(what: str, path: str) -> UsageError:
    return UsageError("state", what, where=path, hint="free some space: see 'df -h {}'".format(os.path.dirname(path)))


def require_space(files: Iterable[Tuple[str, Optional[int]]]) -> None:
    """Make sure that files will have enough space before they are fetched.

    Args:
        files: target and size in bytes (None: unknown) of each file.

    Raises:
        UsageError: state: a file system has less free space than its files need.
    """
    needed: Dict[int, int] = {}
    for target, size in files:
        with _disk_errors(target):
            folder = _existing_folder(target)
            device = os.stat(folder).st_dev
            needed[device] = needed.get(device, 0) + (size or 0)
            free = shutil.disk_usage(folder).free
        if needed[device] > free:
            raise _no_space("not enough free space: {} bytes are needed, {} are free".format(needed[device], free), target)


def _existing_folder(path: str) -> str:
    folder = os.path.dirname(path)
    while folder != "/" and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


class PartialFile:
    """One file while it is fetched.

    Args:
        target: absolute path of the complete file; its folder is made if missing.
    """

    def __init__(self, target: str) -> None:
        folder, name = os.path.split(target)
        self.target = target
        self.path = os.path.join(folder, ".{}.part".format(name))
        self._map = os.path.join(folder, ".{}.map.part".format(name))
        self._has_map = False
        self._stream: Optional[BinaryIO] = None
        self._next = 0  # the byte behind the last write
        self._unflushed = 0  # bytes written up to there since the kernel was asked to write them to the disk

    @property
    def stream(self) -> BinaryIO:
        """The open file; opened on first use."""
        if self._stream is None:
            with _disk_errors(self.path):
                os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
                self._stream = self._open()
        return self._stream

    def _open(self) -> BinaryIO:
        """Open and lock the file; one that this program would not have made is removed first."""
        while True:
            if os.path.islink(self.path):
                os.unlink(self.path)
            stream = os.fdopen(os.open(self.path, _OPEN_FLAGS, 0o600), "r+b", buffering=0)
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                status = os.fstat(stream.fileno())
                if _is_named(status, self.path):
                    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid():
                        return stream
                    os.unlink(self.path)
            except BlockingIOError:
                stream.close()
                raise UsageError("state", "another process is fetching this file", where=self.target, hint="wait for it to end")
            except BaseException:
                stream.close()
                raise
            stream.close()

    def size(self) -> int:
        """Return the size, of an earlier run's part if nothing was written yet."""
        with _disk_errors(self.path):
            return os.fstat(self.stream.fileno()).st_size

    def parts(self) -> List[Tuple[int, int]]:
        """Return what an earlier run left, as start and end of each part."""
        size = self.size()
        try:
            lines = read_capped(self._map, MAX_MAP_BYTES).decode("ascii").splitlines()
            found = sorted((int(start), int(end)) for start, end in (line.split() for line in lines))
        except FileNotFoundError:
            return [(0, size)] if size else []
        except (OSError, ValueError):
            found = []
        self._has_map = True
        ends = [0] + [end for _, end in found]
        return found if all(ends[place] <= start < end <= size for place, (start, end) in enumerate(found)) else []

    def note_parts(self, parts: Sequence[Tuple[int, int]]) -> None:
        """Write down for a later run which parts have arrived; unneeded, and not done, for one part from byte 0."""
        if len(parts) > 1 or parts and parts[0][0]:
            with _disk_errors(self._map):
                write_whole(self._map, "".join("{} {}\n".format(*part) for part in parts).encode("ascii"), 0o600, durable=False)
            self._has_map = True
        else:
            self._forget_parts()

    def _forget_parts(self) -> None:
        if self._has_map:
            with _disk_errors(self._map), contextlib.suppress(FileNotFoundError):
                os.unlink(self._map)
            self._has_map = False

    def read_at(self, position: int, size: int) -> bytes:
        """Return bytes that were written, at most so many."""
        with _disk_errors(self.path):
            return os.pread(self.stream.fileno(), min(size, READ_BYTES), position)

    def write_at(self, position: int, data: bytes) -> None:
        """Write at a place.

        Raises:
            UsageError: state: no space, no permission.
        """
        with _disk_errors(self.path):
            self.stream.seek(position)
            written = self.stream.write(data)
            while written < len(data):  # an almost full disk writes a part, and fails at the next write
                written += self.stream.write(data[written:])
        self._unflushed = written + (self._unflushed if position == self._next else 0)
        self._next = position + written
        if self._unflushed >= WRITE_BACK_BYTES and hasattr(os, "posix_fadvise"):  # macOS has none
            # on Linux this advice makes the kernel start writing (mm/fadvise.c), so that less is left for fsync
            begin = self._next - self._unflushed
            os.posix_fadvise(self.stream.fileno(), begin, self._unflushed, os.POSIX_FADV_DONTNEED)
            self._unflushed = 0

    def restart(self) -> None:
        """Discard the content and begin at byte 0."""
        with _disk_errors(self.path):
            self.stream.seek(0)
            self.stream.truncate()
        self._forget_parts()
        self._unflushed = 0

    def commit(self) -> None:
        """Write everything to the disk, then give the file its final name.

        Raises:
            UsageError: state: this failed; the target does not exist, or is still the old file.
        """
        with _disk_errors(self.path):
            os.fchmod(self.stream.fileno(), FINAL_MODE)
            os.fsync(self.stream.fileno())
            os.rename(self.path, self.target)
        self._forget_parts()
        self._close()

    def end(self, keep: bool) -> None:
        """Close the file, and remove it unless ``keep`` and there is something in it for a later run."""
        if self._stream is None:
            return
        with _disk_errors(self.path):
            if not keep or os.fstat(self._stream.fileno()).st_size == 0:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)
                self._forget_parts()
        self._close()

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _is_named(status: os.stat_result, path: str) -> bool:
    """Whether a path still names the opened file: another process may have renamed or removed it meanwhile."""
    try:
        return os.path.samestat(status, os.lstat(path))
    except FileNotFoundError:
        return False
