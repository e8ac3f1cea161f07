"""Paths that decide what root does: resolved inside the root that they belong to, and who could have changed them.

Rules:
    1. A path inside an installroot is resolved as a process in that root would see it: a link or ".." never leaves the root.
    2. What decides is used only if root or the user of this process owns it, and each folder and link on the way to it, and
       nobody else can write to them. A folder with the sticky bit may stand on the way, for there others can make new
       names but take none away; so may not the last part of the path, or the last one that exists.

Python 2.7 and 3, standard library only: plugins/bridge.py loads this file too, so that the package managers' process and
the engine judge alike.
"""
import os
import stat

MAX_LINKS = 40  # as many as the kernel follows
NOWHERE = os.devnull  # nothing can lie below it
HINT = "chown root:root {0} && chmod go-w {0}"


def inside(root, path):
    # type: (str, str) -> str
    """Return an absolute path of a host as it lies in an installroot (rule 1); the last parts may be missing."""
    return os.path.join("/", path) if root == "/" else walk(root, path)[0]


def weak_point(path, root="/"):
    # type: (str, str) -> str
    """Return the first part of a path by which others than root and this user could change what is there; "" if there is none.

    Args:
        path: absolute; what is missing cannot be changed, only made.
        root: the installroot that the path is in.
    """
    passed = (walk("/", root)[1] if root != "/" else []) + walk(root, path)[1]
    statuses = [status for _, status in passed] + [None]
    for (part, status), after in zip(passed, statuses[1:]):
        if status is None:
            break
        is_shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(status.st_mode)
        is_passed = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX and after is not None
        if status.st_uid not in (0, os.geteuid()) or (is_shared and not is_passed):
            return part
    return ""


def remedy(part):
    # type: (str) -> str
    """Return the command that mends a weak point."""
    try:
        from shlex import quote  # late: it takes 4 ms to load
    except ImportError:
        from pipes import quote
    return HINT.format(quote(part))


def walk(root, path):
    # type: (str, str) -> tuple[str, list[tuple[str, os.stat_result | None]]]
    """Walk a path from a root on, and through its links.

    Returns:
        Where it leads, without links and ".."; and each part on the way with its own status, None for what is missing.
    """
    base, at, links = root.rstrip("/"), "", 0
    passed = [(root, _status(root))]
    waiting = path.split("/")[::-1]
    while waiting:
        name = waiting.pop()
        if name == "..":
            at = at.rpartition("/")[0]
        if name in ("", ".", ".."):
            continue
        part = base + at + "/" + name
        status = _status(part)
        passed.append((part, status))
        if status is None or not stat.S_ISLNK(status.st_mode):
            at += "/" + name
            continue
        links += 1
        target = _target(part)
        if links > MAX_LINKS or not target:
            return NOWHERE + part, passed
        at = "" if target.startswith("/") else at
        waiting += target.split("/")[::-1]
    return base + at or "/", passed


def _status(path):
    # type: (str) -> os.stat_result | None
    """Return the status of a path itself, None if there is none."""
    try:
        return os.lstat(path)
    except (OSError, TypeError, ValueError):  # the last two for a NUL, on Python 2.7 and 3
        return None


def _target(path):
    # type: (str) -> str
    """Return where a link leads, "" if it is none any more."""
    try:
        return os.readlink(path)
    except OSError:
        return ""
