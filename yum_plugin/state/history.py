"""The history of each mirror, one line per observation: for charts and reports, never for a decision.

``history.jsonl`` in a repository's state folder is only appended to, which costs next to nothing; when it has grown to
MAX_HISTORY_BYTES, its older half is removed. A line that cannot be understood (a killed writer, a damaged disk) is skipped.
"""
import contextlib
import errno
import json
import os
import stat
from typing import Any, List, NamedTuple, Optional, Sequence

from ..util.files import PRIVATE_MODE, read_capped, write_whole
from ..util.text import MAX_TIME

MAX_HISTORY_BYTES = 1024 * 1024  # some 6000 observations: a year of refreshes every six hours
MAX_AGE_SECONDS = 400 * 86400  # what is older is not read
MAX_URL_CHARACTERS = 2048
_DAMAGE = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)


class Observation(NamedTuple):
    """The result of one look at one mirror."""

    at: int  # seconds since 1970
    url: str  # Mirror.url: the repository's base on it
    outcome: str  # "ok", "stale" or a reference of errors.py
    about: str = "metadata"  # or "packages"
    lag_seconds: Optional[int] = None  # behind the newest signed metadata seen then; None: unknown
    first_byte_seconds: Optional[float] = None
    seconds: Optional[float] = None  # of repomd.xml and a sample of the metadata
    bytes: Optional[int] = None
    certificate_expires: Optional[int] = None  # seconds since 1970
    address: str = ""  # that answered; "" if not known, or behind a proxy
    revision: Optional[int] = None  # of the signed metadata it served


def address_family(address: str) -> str:
    """Return "ipv4" or "ipv6", "" for an unknown address."""
    return ("ipv6" if ":" in address else "ipv4") if address else ""


def append(path: str, observations: Sequence[Observation]) -> None:
    """Add observations to a history, without waiting for the disk.

    Args:
        path: of the file; its folder is made if missing. One writer at a time: callers hold a lock.
        observations: in the order of time.

    Raises:
        OSError: it could not be written.
    """
    if not observations:
        return
    # The first newline ends what a killed writer may have left.
    data = b"\n" + b"".join(json.dumps(_values(each)).encode("ascii") + b"\n" for each in observations)
    size = _append(path, data)
    if size is None:  # something that is no regular file stands there, or nothing at all
        write_whole(path, data, PRIVATE_MODE, durable=False)
    elif size > MAX_HISTORY_BYTES:
        _forget_older_half(path, size)


def _append(path: str, data: bytes) -> Optional[int]:
    """Append to a regular file and return its new size; None if there is none."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):  # missing, a link, a fifo
            return None
        raise
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return None
        os.write(handle, data)
        return status.st_size + len(data)
    finally:
        os.close(handle)


def _forget_older_half(path: str, size: int) -> None:
    keep = MAX_HISTORY_BYTES // 2
    with open(path, "rb") as stream:
        stream.seek(size - keep)
        stream.readline()  # a part of one
        data = stream.read(keep)
    write_whole(path, data, PRIVATE_MODE, durable=False)


def read(path: str, now: float) -> List[Observation]:
    """Read a history.

    Args:
        path: of the file.
        now: seconds since 1970; what is older than MAX_AGE_SECONDS, or of the future, is left out.

    Returns:
        The observations in the order of time; none if there is no such file.

    Raises:
        OSError: it is there and cannot be read, or is no regular file, or larger than we make one.
    """
    with contextlib.suppress(FileNotFoundError):
        lines = read_capped(path, 2 * MAX_HISTORY_BYTES).split(b"\n")
        found = (_observation(line) for line in lines if line)
        recent = (each for each in found if each is not None and now - MAX_AGE_SECONDS <= each.at <= now)
        return sorted(recent, key=lambda each: each.at)
    return []


def _values(observation: Observation) -> List[Any]:
    """Shorten an observation to a list that ends with its last value that says something."""
    values: List[Any] = [round(value, 4) if isinstance(value, float) else value for value in observation]
    while values[-1] in (None, ""):
        values.pop()
    return values


# Only the types count
_SAMPLE = Observation(int(), str(), str(), str(), int(), float(), float(), int(), int(), str(), int())


def _observation(line: bytes) -> Optional[Observation]:
    """Read a line; None if it is none of ours."""
    try:
        made = Observation(*json.loads(line.decode("ascii")))
        if len(made.url) > MAX_URL_CHARACTERS or max(abs(made.at), abs(made.certificate_expires or 0)) > MAX_TIME:
            return None
        for place, (sample, value) in enumerate(zip(_SAMPLE, made)):
            if type(value) is not type(sample) and not (place > 3 and value is None):
                return None
        return made
    except _DAMAGE:
        return None
