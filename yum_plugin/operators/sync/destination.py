"""DEST on this disk: whether a folder may be one, what it holds, and every change that is made to it.

    1. DEST may be a link: it is followed once, at the beginning. Below it no link is followed: where the source has a folder
       and DEST a link or a file, that is an error, and nothing is changed there.
    2. Nothing is ever written under its published name. Everything arrives in ``DEST/.xcpng-mirrors-sync/stage``, mode
       0700, and is renamed from there; the folder is gone after a good run, and used again after a bad one.
    3. Files get mode 0644 and folders 0755, whatever the source has.
    4. The lock is a flock(2) on a file of our own, mode 0600 in the work folder: a lock on a folder that others can open, others
       can hold. It is there while it is held, in DEST itself, so that every process uses the same, whatever name it has for DEST.
    5. A work folder that belongs to another user is not used: its owner could change a file between its proof and its name.

Paths are below DEST, with "/" between names and bytes that are no UTF-8 as surrogates, whatever this process's locale is.
"""
import contextlib
import errno
import fcntl
import os
import pwd
import shutil
import stat
from typing import Dict, Iterator, Optional, Sequence, Set, Tuple

from ...errors import UsageError
from ...net.partial_file import disk_error
from ...privsep.program import renew
from ...util.files import sync_folder
from .plan import WORK, is_inside

FILE_MODE, FOLDER_MODE, WORK_MODE, LOCK_MODE = 0o644, 0o755, 0o700, 0o600
STAGE, NEXT, LINKED, LIST, LOCK = "stage", "next", "link", "wanted", "lock"  # in the work folder
PARTS = ".xcpng-part"  # rsync's --partial-dir in each folder of the stage
# DEST may be below the first ones, e.g. /var/lib/mirror, but nowhere in the second ones.
_SYSTEM_FOLDERS = ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run",
                   "/sbin", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log", "/var/tmp")
_SYSTEM_TREES = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys")


def open_destination(path: str, make: bool = True) -> "Destination":
    """Open a folder as DEST.

    Args:
        path: of the folder.
        make: create it if only its last part is missing.

    Raises:
        UsageError: it must not or cannot be used.
    """
    real = os.path.realpath(path)
    reason = _reason_against(real)
    if reason:
        what = "{} cannot be DEST: {}".format(path, reason)
        raise UsageError("usage", what, where=real, hint="use a folder of its own")
    try:
        with contextlib.suppress(FileExistsError):
            if make:
                os.mkdir(real, FOLDER_MODE)
        status = os.stat(real)
    except OSError as error:
        raise disk_error(error, real) from error
    if not stat.S_ISDIR(status.st_mode):
        raise UsageError("usage", "DEST is not a folder", where=real)
    if status.st_mode & stat.S_IWOTH or status.st_uid not in (0, os.geteuid()):
        raise UsageError("usage", "others can change DEST", where=real, hint="sync as its owner, and run chmod o-w")
    return Destination(real)


def _reason_against(real: str) -> str:
    homes = {os.path.realpath(os.path.expanduser("~")), "/root"}
    with contextlib.suppress(KeyError):
        homes.add(os.path.realpath(pwd.getpwuid(os.geteuid()).pw_dir))
    if real in _SYSTEM_FOLDERS or any(is_inside(real, tree) for tree in _SYSTEM_TREES):
        return "it is a system folder"
    if any(real == home or is_inside(home, real) for home in homes - {"/"}):
        return "it is a home directory, or above one"
    return ""


def to_native(path: str) -> str:
    """Return a path in the encoding of this process's locale."""
    return os.fsdecode(path.encode("utf-8", "surrogateescape"))


def staged_path(stage: str, below: str) -> str:
    """Return the path of a file in the stage."""
    return os.path.join(stage, to_native(below))


def from_native(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "surrogateescape")


class Destination:
    """DEST.

    Args:
        root: its real path.
        work: another work folder than DEST's own; nothing can be published from there.
    """

    def __init__(self, root: str, work: str = "") -> None:
        self.root = root
        self.work = work or os.path.join(root, WORK)
        self.stage = os.path.join(self.work, STAGE)
        self._folders: Dict[str, bool] = {"": True}  # whether it is a real folder

    def path(self, below: str) -> str:
        """Return the path of a published file."""
        return os.path.join(self.root, to_native(below))

    def staged(self, below: str) -> str:
        """Return the path of a file in the stage."""
        return staged_path(self.stage, below)

    @contextlib.contextmanager
    def locked(self, make: bool = True) -> Iterator[int]:
        """Hold DEST's lock while the block runs (rule 4).

        Args:
            make: the work folder and the lock if they are missing; otherwise there is nothing to lock then.

        Yields:
            The descriptor: a child that inherits it holds the lock too. -1 if there is nothing to lock.

        Raises:
            UsageError: another sync holds it, or this file system has no locks.
        """
        handle = self._lock() if make or os.path.lexists(os.path.join(self.work, LOCK)) else -1
        try:
            yield handle
        finally:
            if handle >= 0:
                if make:
                    self._tidy(handle)
                os.close(handle)

    def _lock(self) -> int:
        path = os.path.join(self.work, LOCK)
        while True:
            handle = -1
            try:
                self.make_work()
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, LOCK_MODE)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_lock(handle):
                    return handle
            except FileNotFoundError:
                pass  # as below, a moment later
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES) and handle >= 0:
                    os.close(handle)
                    raise UsageError("busy", "another sync of DEST is running", where=self.root) from None
                raise disk_error(error, self.work) from error
            if handle >= 0:
                os.close(handle)  # who held it has just removed it: it is nobody's lock any more

    def _is_lock(self, handle: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(handle), os.lstat(os.path.join(self.work, LOCK)))
        return False

    def _tidy(self, handle: int) -> None:
        """Remove the lock, held, and the work folder, if nothing else is there."""
        with contextlib.suppress(OSError):  # something is there, or another process has just made it anew
            if self._is_lock(handle) and set(os.listdir(self.work)) <= {LOCK, STAGE}:
                if os.path.lexists(self.stage):
                    os.rmdir(self.stage)
                os.unlink(os.path.join(self.work, LOCK))
                os.rmdir(self.work)

    def make_work(self) -> None:
        """Make the work folder, or take over that of an interrupted run; whatever else is in its place is removed."""
        try:
            status = os.lstat(self.work)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                _remove(self.work)  # what others can write into, they could change after it was proven
        except FileNotFoundError:
            pass
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.work, WORK_MODE)
        status = os.lstat(self.work)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise UsageError("in-the-way", "somebody else makes our work folder here", where=self.work)
        os.chmod(self.work, WORK_MODE)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.stage, WORK_MODE)

    def clean_work(self) -> None:
        """Remove what an interrupted run has left beside the stage, and take back the stage; the lock is held."""
        renew(self.stage)  # it was lent to rsync when both were killed
        for name in (NEXT, LINKED):
            _remove(os.path.join(self.work, name))

    def end_work(self, keep_files: bool) -> None:
        """Remove what is in the work folder, but for the lock, with which it goes.

        Args:
            keep_files: keep it if it holds files that a later run can use.
        """
        if not (keep_files and any(names for _, _, names in os.walk(self.stage))):
            for name in set(os.listdir(self.work)) - {LOCK}:
                _remove(os.path.join(self.work, name))

    def prune_stage(self, wanted: Set[str]) -> None:
        """Remove files of an earlier run that are no longer wanted; partial files stay."""
        for place, _, names in os.walk(self.stage):
            for name in names:
                path = os.path.join(place, name)
                below = from_native(os.path.relpath(path, self.stage))
                if below not in wanted and not _is_part(below):
                    os.unlink(path)

    def forget_staged(self, below: str) -> None:
        """Remove a file from the stage, if it is there."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self.staged(below))

    def set_time(self, below: str, mtime: int) -> os.stat_result:
        """Give a file the time that it has at the source; rsync compares it when others mirror from here."""
        os.utime(self.path(below), (mtime, mtime), follow_symlinks=False)
        return os.lstat(self.path(below))

    def find(self, below: str) -> Optional[os.stat_result]:
        """Return the status of a file or link of DEST, without following any link; None if there is none."""
        if not self._is_folder(os.path.dirname(below)):
            return None
        with contextlib.suppress(FileNotFoundError):
            return os.lstat(self.path(below))
        return None

    def find_file(self, below: str) -> Optional[os.stat_result]:
        """Return the status of a regular file of DEST; None if there is none."""
        status = self.find(below)
        return status if status is not None and stat.S_ISREG(status.st_mode) else None

    def _is_folder(self, below: str) -> bool:
        """Whether a path is a folder of DEST, and every part of it is."""
        if below not in self._folders:
            good = False
            if self._is_folder(os.path.dirname(below)):
                with contextlib.suppress(FileNotFoundError):
                    good = stat.S_ISDIR(os.lstat(self.path(below)).st_mode)
            self._folders[below] = good
        return self._folders[below]

    def make_folder(self, below: str) -> None:
        """Make a folder and those above it.

        Raises:
            UsageError: in-the-way: a link or a file is there.
        """
        if self._is_folder(below):
            return
        self.make_folder(os.path.dirname(below))
        try:
            os.mkdir(self.path(below), FOLDER_MODE)
            os.chmod(self.path(below), FOLDER_MODE)  # whatever the umask says
        except FileExistsError:
            raise UsageError("in-the-way", "the source has a folder here", where=self.path(below)) from None
        self._folders[below] = True

    def require_folder(self, below: str) -> None:
        """Make sure that a path is a folder, or that one can be made there; raises as ``make_folder`` does."""
        self.make_folder(os.path.dirname(below))
        if not self._is_folder(below) and os.path.lexists(self.path(below)):
            raise UsageError("in-the-way", "the source has a folder here", where=self.path(below))

    def place(self, below: str) -> os.stat_result:
        """Move a file from the stage to its published name, where it replaces another one.

        Returns:
            Its status there.

        Raises:
            UsageError: in-the-way: a folder is there.
        """
        self.make_folder(os.path.dirname(below))
        source = self.staged(below)
        os.chmod(source, FILE_MODE)
        try:
            os.rename(source, self.path(below))
        except IsADirectoryError:
            raise UsageError("in-the-way", "the source has a file here", where=self.path(below)) from None
        return os.lstat(self.path(below))

    def place_link(self, below: str, target: str) -> os.stat_result:
        """Make a link; it replaces another one or a file."""
        self.make_folder(os.path.dirname(below))
        made = os.path.join(self.work, LINKED)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(made)
        os.symlink(to_native(target), made)
        try:
            os.rename(made, self.path(below))
        except IsADirectoryError:
            raise UsageError("in-the-way", "the source has a link here", where=self.path(below)) from None
        return os.lstat(self.path(below))

    def target(self, below: str) -> str:
        """Return the target of a link."""
        return from_native(os.readlink(self.path(below)))

    def files(self) -> Iterator[Tuple[str, os.stat_result]]:
        """Yield everything in DEST but folders and the work folder."""
        for place, folders, names in os.walk(self.root):
            if place == self.root and WORK in folders:
                folders.remove(WORK)
            links = [name for name in folders if os.path.islink(os.path.join(place, name))]
            for name in names + links:
                path = os.path.join(place, name)
                with contextlib.suppress(FileNotFoundError):
                    yield from_native(os.path.relpath(path, self.root)), os.lstat(path)

    def has_folders(self, below: str) -> bool:
        """Whether a folder of DEST holds other folders."""
        if not self._is_folder(below):
            return False
        with os.scandir(self.path(below)) as entries:
            return any(entry.is_dir(follow_symlinks=False) for entry in entries)

    def build_successor(self, below: str, names: Sequence[str]) -> str:
        """Build the new version of a folder: its files of the stage, and hard links to all others that it has now.

        Args:
            below: the folder.
            names: paths below DEST of the files of the stage.

        Returns:
            Its path in the work folder: complete and on the disk.
        """
        new = os.path.join(self.work, NEXT)
        _remove(new)
        os.mkdir(new, FOLDER_MODE)
        os.chmod(new, FOLDER_MODE)
        for path in names:
            target = os.path.join(new, os.path.relpath(self.staged(path), self.staged(below)))
            os.makedirs(os.path.dirname(target), FOLDER_MODE, exist_ok=True)
            os.chmod(self.staged(path), FILE_MODE)
            os.rename(self.staged(path), target)
        if self._is_folder(below):
            self._link_the_rest(self.path(below), new)
        for place, _, _ in os.walk(new):
            sync_folder(place)
        return new

    def _link_the_rest(self, live: str, new: str) -> None:
        for place, folders, names in os.walk(live):
            into = os.path.join(new, os.path.relpath(place, live))
            os.makedirs(into, FOLDER_MODE, exist_ok=True)
            links = [name for name in folders if os.path.islink(os.path.join(place, name))]
            for name in names + links:
                if not os.path.lexists(os.path.join(into, name)):
                    os.link(os.path.join(place, name), os.path.join(into, name), follow_symlinks=False)

    def remove_replaced(self) -> None:
        """Remove the old version of a folder that was exchanged."""
        _remove(os.path.join(self.work, NEXT))
        self._folders = {"": True}

    def delete(self, below: str) -> bool:
        """Delete a file or link, and the folders that are then empty.

        Returns:
            Whether it was there.
        """
        status = self.find(below)
        if status is None or stat.S_ISDIR(status.st_mode):
            return False
        os.unlink(self.path(below))
        folder = os.path.dirname(below)
        with contextlib.suppress(OSError):  # it is not empty
            while folder:
                os.rmdir(self.path(folder))
                self._folders.pop(folder, None)
                folder = os.path.dirname(folder)
        return True


def _is_part(below: str) -> bool:
    """Whether a file of the stage is a partial one: rsync's, or of our own downloads (``net/partial_file.py``)."""
    names = below.split("/")
    return PARTS in names or (names[-1].startswith(".") and names[-1].endswith(".part"))


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
