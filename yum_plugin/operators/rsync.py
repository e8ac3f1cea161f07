"""The rsync program as a client of rsync daemons: every run is started in the same safe way, with limits and a deadline.

True for every run: there is no shell; the arguments after ``--`` are our own, or an address that ``parse_address`` has made; the
environment has only PATH, the C locale and UTC, so that RSYNC_RSH, RSYNC_PROXY and RSYNC_PASSWORD have no effect; it cannot ask
on a terminal; it runs in its own process group, which is killed at the deadline, or when its caller is done with it; it has given
up root, and what else it does not need (privsep/program.py), and is killed with its caller.
"""
import calendar
import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from typing import BinaryIO, Dict, Iterator, List, NamedTuple, Sequence, cast

from ..errors import FetchError, MirrorsError, UsageError
from ..privsep.program import confining

DEFAULT_PORT = 873
MAX_ERROR_BYTES = 16 * 1024  # of stderr
MAX_ERROR_LINES = 3  # in a message
TERMINATE_SECONDS = 2.0  # between SIGTERM and SIGKILL
FILE, FOLDER, LINK, DEVICE, SPECIAL = "file", "folder", "link", "device", "special"
_KINDS = {b"-": FILE, b"d": FOLDER, b"l": LINK, b"b": DEVICE, b"c": DEVICE, b"p": SPECIAL, b"s": SPECIAL}
_ADDRESS = re.compile(r"rsync://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
                      r"(?::(?P<port>[0-9]{1,5}))?/(?P<module>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?P<path>(?:/[^/]*)*)\Z")
_SEGMENT = re.compile(r"[A-Za-z0-9_.,+=@~-]{1,255}\Z")  # no character that is special for a shell or for rsync
# rsync 3.x, generator.c:list_file_entry; with --no-human-readable the size has no thousands' marks
_LINE = re.compile(rb"([-dlbcps])([-rwxsStT]{9}) +([0-9]{1,18}) "
                   rb"([0-9]{4})/([0-9]{2})/([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) (.+)\Z", re.DOTALL)
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_DOTS = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)")  # segments "", "." and ".."
_ESCAPE = re.compile(rb"\\#([0-7]{3})")  # rsync(1), --8-bit-output
_ARROW = b" -> "
# rsync(1), EXIT VALUES
_TIMED_OUT = (30, 35)  # in the transfer; when connecting to the daemon
_PARTIAL = (23, 24)  # an error; source files that vanished meanwhile


class RsyncAddress(NamedTuple):
    """A folder of a module of an rsync daemon."""

    host: str  # an IPv6 address in brackets
    port: int
    module: str  # "": the list of modules
    path: str  # below the module, without slashes around it; "" is the module itself

    @property
    def url(self) -> str:
        """The address as a URL that ends in "/"."""
        port = "" if self.port == DEFAULT_PORT else ":{}".format(self.port)
        return "rsync://{}{}/{}".format(self.host, port, "".join(part + "/" for part in (self.module, self.path) if part))


class RsyncLimits(NamedTuple):
    """Limits of a run."""

    connect_seconds: int = 10
    silent_seconds: int = 60  # without a byte from the daemon
    seconds: float = 900.0  # in all
    max_entries: int = 1000000  # of a listing
    max_line_bytes: int = 32 * 1024  # a path of PATH_MAX with every byte escaped, and the target of a link
    proxy: str = ""  # HOST:PORT of an http proxy that lets rsync pass (rsync(1), RSYNC_PROXY); "": none


class RsyncEntry(NamedTuple):
    """A line of a listing. Its names are untrusted: check ``unsafe`` before one is used as a path."""

    path: str  # below the address, bytes that are no UTF-8 as surrogates (PEP 383): os.fsencode gives them back
    kind: str  # FILE, FOLDER, LINK, DEVICE or SPECIAL (a FIFO or a socket)
    size: int  # bytes
    mtime: int  # seconds since 1970; before that it is negative
    permissions: str  # as ls writes them, e.g. "rwxr-xr-x"
    target: str = ""  # of a link; as the name

    @property
    def unsafe(self) -> str:
        """Why the name must not be used as a path on this disk; "" if it may."""
        return unsafe_name(self.path)

    @property
    def is_utf8(self) -> bool:
        """Whether name and target are UTF-8."""
        try:
            (self.path + self.target).encode("utf-8")
        except UnicodeEncodeError:
            return False
        return True


def unsafe_name(path: str) -> str:
    """Say why an untrusted relative path must not be used; "" if it may.

    Args:
        path: its segments separated by "/".
    """
    if _CONTROL.search(path):
        return "a control character in a name"
    if path.startswith("/"):
        return "an absolute path"
    if _DOTS.search(path):
        return "a path with empty or dot segments"
    return ""


def parse_address(text: str) -> RsyncAddress:
    """Parse an rsync:// URL.

    Args:
        text: rsync://HOST[:PORT]/MODULE[/PATH], with or without a final "/"; IPv6 addresses in brackets.

    Returns:
        Its parts, without any character that is special for rsync, its daemon or a shell.

    Raises:
        ValueError: it is not valid; the message says why and repeats no part of it.
    """
    if not text.startswith("rsync://"):
        raise ValueError("not a URL of the form rsync://HOST/MODULE/")
    if "@" in text[len("rsync://"):].split("/")[0]:
        raise ValueError("a user or password in the URL")
    match = _ADDRESS.match(text)
    if match is None or ".." in match.group("host"):
        raise ValueError("no valid host, port or module in the URL")
    port = int(match.group("port") or DEFAULT_PORT)
    if not 0 < port < 65536:
        raise ValueError("no valid port in the URL")
    path = re.sub("/\\Z", "", match.group("path")[1:])
    if path and any(not _SEGMENT.match(segment) or segment in (".", "..") for segment in path.split("/")):
        raise ValueError("a path with empty or dot segments, or with other characters than A-Z a-z 0-9 _ . , + = @ ~ -")
    return RsyncAddress(match.group("host"), port, match.group("module") or "", path)


def parse_entry(line: bytes) -> RsyncEntry:
    """Parse a line of ``rsync --list-only --no-human-readable --links`` of the C locale and UTC.

    A link's name ends at the first " -> ": one that has this text itself cannot be distinguished from its target.

    Args:
        line: without its line feed.

    Raises:
        ValueError: it is not such a line.
    """
    match = _LINE.match(line)
    if match is None:
        raise ValueError("not a line of a listing")
    kind, permissions, size, name = match.group(1, 2, 3, 10)
    mtime = calendar.timegm(tuple(map(int, match.group(4, 5, 6, 7, 8, 9))))
    target = b""
    if kind == b"l":
        name, _, target = name.partition(_ARROW)
    return RsyncEntry(_decoded(name), _KINDS[kind], int(size), mtime, permissions.decode("ascii"), _decoded(target))


def _decoded(text: bytes) -> str:
    plain = _ESCAPE.sub(lambda match: bytes([int(match.group(1), 8) & 0xFF]), text)
    return plain.decode("utf-8", "surrogateescape")


def listing(address: RsyncAddress, limits: RsyncLimits = RsyncLimits(), recursive: bool = True, below: str = "",
            without: Sequence[str] = ()) -> Iterator[RsyncEntry]:
    """List a folder of a daemon, and yield the entries as they arrive.

    Args:
        address: from ``parse_address``, with a module.
        limits: of the run.
        recursive: everything below it too.
        below: a path below the address to begin at, checked like the path of an address.
        without: rsync's patterns of what the daemon leaves out.

    Yields:
        The entries in rsync's order, without the folder itself. Closing the iterator early ends the program.

    Raises:
        FetchError: "rsync-partial", after the last entry: the daemon could not read everything;
            "too-large", "bad-answer", "rsync-refused", "unreachable", "timed-out", "truncated".
        UsageError: rsync is not installed.
    """
    place = parse_address(address.url + below) if below else address
    options = ["--list-only", "--links", "--recursive" if recursive else "--dirs"]
    options += ["--exclude=" + pattern for pattern in without]
    count = 0
    with run_rsync(options + ["--", place.url], limits, place.url) as run:
        for line in run.lines(limits.max_line_bytes):
            try:
                entry = parse_entry(line)
            except ValueError as error:
                raise FetchError("bad-answer", "{} in its listing".format(error), where=place.url) from None
            if entry.path == ".":
                continue
            count += 1
            if count > limits.max_entries:
                raise FetchError("too-large", "it lists more than {} entries".format(limits.max_entries), where=place.url)
            yield entry
        run.finish()


class RsyncRun:
    """The program while it runs; made by ``run_rsync``.

    Args:
        process: with pipes for stdout and stderr.
        seconds: until it is ended.
        where: the address, for messages.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", seconds: float, where: str) -> None:
        self._process = process
        self._seconds = seconds
        self._where = where
        self._stderr = b""
        self._timed_out = False
        self._timer = threading.Timer(seconds, self._end_at_deadline)
        self._timer.daemon = True
        self._timer.start()
        self._stderr_reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._stderr_reader.start()

    @property
    def output(self) -> BinaryIO:
        """Its stdout."""
        return cast(BinaryIO, self._process.stdout)

    def lines(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the lines of its stdout; raise FetchError too-large for a line longer than ``max_bytes``."""
        for line in iter(lambda: self.output.readline(max_bytes + 1), b""):
            if len(line) > max_bytes:
                raise FetchError("too-large", "a line longer than {} bytes".format(max_bytes), where=self._where)
            if line.endswith(b"\n"):  # a last line without it was cut off
                yield line[:-1]

    def finish(self) -> None:
        """Wait until it ends.

        Raises:
            FetchError, UsageError: it failed.
        """
        code = self._process.wait()
        self._stderr_reader.join()
        if self._timed_out:
            raise FetchError("timed-out", "rsync had not ended after {:.0f} s".format(self._seconds), where=self._where)
        if code != 0:
            raise rsync_error(code, self._stderr, self._where)

    def close(self) -> None:
        """End it, and every process that it has started."""
        self._timer.cancel()
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)  # then it keeps a partial file
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(TERMINATE_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._stderr_reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            cast(BinaryIO, stream).close()

    def _end_at_deadline(self) -> None:
        self._timed_out = True
        self._signal(signal.SIGTERM)
        time.sleep(TERMINATE_SECONDS)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is gone (PermissionError: macOS)
            os.killpg(self._process.pid, number)

    def _read_stderr(self) -> None:
        stream = cast(BinaryIO, self._process.stderr)
        for chunk in iter(lambda: stream.read(4096), b""):
            self._stderr = (self._stderr + chunk)[-MAX_ERROR_BYTES:]


@contextlib.contextmanager
def run_rsync(arguments: Sequence[str], limits: RsyncLimits, where: str, keep_open: Sequence[int] = (), folder: str = "/",
              names: int = subprocess.DEVNULL) -> Iterator[RsyncRun]:
    """Run rsync; it has ended when the block is left.

    Args:
        arguments: after the options of every run; the last ones are "--" and paths or addresses.
        limits: of the run.
        where: the address, for messages.
        keep_open: descriptors that it inherits: a lock that must be held while it runs.
        folder: that it begins in, and may write to if it was lent (``privsep.program.lent``); as "." in the arguments, for it may
            not be able to enter the folders above.
        names: descriptor of what it reads as its input.

    Raises:
        UsageError: rsync is not installed, or "sandbox".
    """
    fixed = ["rsync", "--no-motd", "--no-human-readable", "--timeout={}".format(limits.silent_seconds),
             "--contimeout={}".format(limits.connect_seconds)]
    try:
        process = subprocess.Popen(
            fixed + list(arguments), stdin=names, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
            env=_environment(limits), start_new_session=True, pass_fds=keep_open, preexec_fn=confining())
    except subprocess.SubprocessError:
        raise UsageError("sandbox", "rsync could not give up what it does not need", where=where) from None
    except (FileNotFoundError, PermissionError):
        raise UsageError("configuration", "there is no rsync program on this machine",
                         hint="install rsync: 'dnf install rsync' or 'apt-get install rsync'") from None
    run = RsyncRun(process, limits.seconds, where)
    try:
        yield run
    finally:
        run.close()


def _environment(limits: RsyncLimits) -> Dict[str, str]:
    wanted = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    if limits.proxy:
        wanted["RSYNC_PROXY"] = limits.proxy
    return wanted


def rsync_error(code: int, stderr: bytes, where: str) -> MirrorsError:
    """Return the error that stands for a failure of rsync.

    Args:
        code: its exit code, rsync(1), EXIT VALUES; negative: the signal that ended it.
        stderr: its output there.
        where: the address.
    """
    lines = _error_lines(stderr)
    what = "; ".join(lines[:MAX_ERROR_LINES]) or "rsync ended with code {}".format(code)
    if code == 5:
        return FetchError("rsync-refused", what, where=where)
    if code == 10:
        return FetchError("unreachable", what, where=where)
    if code in _TIMED_OUT:
        return FetchError("timed-out", what, where=where)
    if code in _PARTIAL:
        return FetchError("rsync-partial", what, where=where)
    if code == 12:
        return FetchError("truncated", what, where=where)
    if code in (2, 4, 6):
        return FetchError("bad-answer", what, where=where)
    if code == 11 and "[sender]" not in what:
        return UsageError("state", what, where=where, hint="check free space and permissions here: see 'df -h'")
    if code == 1:
        return UsageError("configuration", what, where=where, hint="rsync 3.1 or newer is needed: see 'rsync --version'")
    return FetchError("rsync-failed", "{} (code {})".format(what, code), where=where)


def _error_lines(stderr: bytes) -> List[str]:
    """Return the lines that say what is wrong; the last line of rsync only repeats the exit code."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith("rsync error:")]
    return list(dict.fromkeys(reason.partition("@ERROR: ")[2] or reason for reason in reasons))
