"""Mirrors that send only so many bytes per second, all their connections together: what is made of several of them.

Each server divides its rate among its connections, as a line does. Our downloader runs in a process of its own.
"""
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from tests.lab.accesslog import AccessLog
from tests.lab.faults import Fault
from tests.lab.packages import noise
from tests.lab.wire import Request, Response, Server

from .files import digest_of
from .measure import Goal, Measure, Quantity, Samples
from .stage import MeasureError, Stage

MB = 1000 * 1000
GOOD = 20 * MB  # bytes per second of a good mirror
PIECE_BYTES = 4 * 1024
SLACK_SECONDS = 0.05  # a server that was not scheduled in time makes up for so much
BROWN = {"20k": 20 * 1000, "50k": 50 * 1000, "200k": 200 * 1000, "1m": MB}
# prints the seconds and the bytes that arrived
_DOWNLOAD = """\
import sys, time
from yum_plugin.model import Network
from yum_plugin.net import fetch  # loaded before the time is taken
from yum_plugin.net.download import download
from yum_plugin.net.items import Item, Source
from yum_plugin.trust.digest import DigestChecker
folder, urls, files = sys.argv[1], sys.argv[2].split(), [word.split(":") for word in sys.argv[3].split()]
items = [Item(name, folder + "/" + name, (lambda digest: lambda: DigestChecker("sha256", digest))(digest), int(size))
         for name, size, digest in files]
started = time.monotonic()
fetched = download(items, [Source(url, proven=True) for url in urls], Network(proxy=""))
print(time.monotonic() - started, sum(each.bytes for each in fetched))
sys.exit(any(each.error for each in fetched))
"""


class _Bucket:
    """Gives so many bytes per second to all who ask; ``later`` is the rate after the first second."""

    def __init__(self, rate: int, later: int = 0) -> None:
        self._rate, self._later = rate, later or rate
        self._lock = threading.Lock()
        self._began = 0.0
        self._free_at = 0.0

    def take(self, size: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._began = self._began or now
            rate = self._rate if now - self._began < 1.0 else self._later
            self._free_at = max(self._free_at, now - SLACK_SECONDS) + size / rate
            wait = self._free_at - now
        time.sleep(max(0.0, wait))


class Pace(NamedTuple):
    """How a mirror sends."""

    rate: int = GOOD  # bytes per second
    later: int = 0  # after the first second; 0: the same
    delay_seconds: float = 0.0  # before each answer


class _Mirrors:
    """Running mirrors of one folder."""

    def __init__(self, folder: str, paces: Sequence[Pace]) -> None:
        self.log = AccessLog()
        self._folder = folder
        self._servers = [Server("mirror{}".format(number), self._answer(pace), self.log, "127.0.2.{}".format(number))
                         for number, pace in enumerate(paces, 1)]

    def _answer(self, pace: Pace) -> Callable[[Request], Response]:
        bucket = _Bucket(pace.rate, pace.later)

        def answer(request: Request) -> Response:
            time.sleep(pace.delay_seconds)
            path = os.path.join(self._folder, os.path.basename(request.path))
            size = os.path.getsize(path)
            first, last = 0, size - 1
            asked = request.headers.get("range", "")
            if asked:
                words = asked[len("bytes="):].split("-")
                first, last = int(words[0]), int(words[1] or last)
            place = (("Content-Range", "bytes {}-{}/{}".format(first, last, size)),) if asked else ()
            return Response(206 if asked else 200, place, _pieces(path, first, last + 1, bucket), last + 1 - first)

        return answer

    @property
    def urls(self) -> List[str]:
        return ["http://{}/".format(server.authority) for server in self._servers]

    def close(self) -> None:
        for server in self._servers:
            server.close()


def _pieces(path: str, first: int, end: int, bucket: _Bucket) -> Iterator[bytes]:
    with open(path, "rb") as stream:
        stream.seek(first)
        while first < end:
            piece = stream.read(min(PIECE_BYTES, end - first))
            first += len(piece)
            bucket.take(len(piece))
            yield piece


class _Bench:
    """Files, and what fetches them."""

    def __init__(self, stage: Stage, sizes: Sequence[int]) -> None:
        self.folder = os.path.join(stage.folder, "brownout")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.size = sum(sizes)
        self._files = []
        for number, size in enumerate(sizes):
            path = os.path.join(self.folder, "file{}".format(number))
            with open(path, "wb") as stream:
                stream.write(noise("brownout{}".format(number), size))
            self._files.append("file{}:{}:{}".format(number, size, digest_of(path)))

    def ours(self, paces: Sequence[Pace]) -> Tuple[float, float]:
        """Fetch all; return the seconds, and the bytes over one copy."""
        with self._target() as target, contextlib.closing(_Mirrors(self.folder, paces)) as mirrors:
            done = subprocess.run([sys.executable, "-c", _DOWNLOAD, target, " ".join(mirrors.urls), " ".join(self._files)],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if done.returncode:
                raise MeasureError("the download: {}".format(done.stderr[-300:].decode("utf-8", "replace")))
            return float(done.stdout.split()[0]), mirrors.log.bytes() / self.size

    def aria2c(self, paces: Sequence[Pace]) -> float:
        """Fetch the only file with aria2c in segments; return the seconds."""
        with self._target() as target, contextlib.closing(_Mirrors(self.folder, paces)) as mirrors:
            started = time.monotonic()
            subprocess.run(["aria2c", "-q", "-d", target, "-k", "1M", "-s", str(len(paces)), "-j", "3"] +
                           [url + "file0" for url in mirrors.urls], check=True, stdin=subprocess.DEVNULL)
            return time.monotonic() - started

    @contextlib.contextmanager
    def _target(self) -> Iterator[str]:
        target = os.path.join(self.folder, "target")
        os.makedirs(target)
        try:
            yield target
        finally:
            shutil.rmtree(target)


def take_brownouts(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """A full dnf install; the best-ranked mirror sends packages slowly, beside two good ones."""
    samples: Dict[str, List[float]] = {}
    for _ in range(runs):
        good, copy = _install(stage, 0)
        for name, rate in BROWN.items():
            if {"brownout." + name, "brownout.{}.bytes".format(name)} & set(wanted):
                seconds, sent = _install(stage, rate)
                samples.setdefault("brownout." + name, []).append(seconds / good)
                samples.setdefault("brownout.{}.bytes".format(name), []).append(sent / copy)
    return samples


def _install(stage: Stage, rate: int) -> Tuple[float, float]:
    """Install; return the seconds and the bytes of packages that were sent."""
    stage.set_mirrors(("", "", ""))
    first = stage.lab.mirrors["mirror1"]
    if rate:
        first.faults = (Fault("brown", "sends packages slowly", lambda mirror, request: (
            mirror.serve(request)._replace(rate=rate) if request.path.endswith(".rpm") else None)),)
    seconds = stage.install(stage.host(True, prefer=first.server.authority))
    return seconds, float(stage.lab.log.bytes(path_ends=".rpm"))


def take_segments(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """One file of 15.4 MB, or ten of 2 MB, from three mirrors that are slower than the host's line."""
    samples: Dict[str, List[float]] = {}
    for name, (sizes, paces, least) in KINDS.items():
        bench = _Bench(stage, sizes)
        for _ in range(runs if {name, name + ".bytes"} & set(wanted) else 0):
            seconds, copies = bench.ours(paces)
            samples.setdefault(name, []).append(seconds / least)
            samples.setdefault(name + ".bytes", []).append(copies)
            if name == "segments.one" and shutil.which("aria2c"):
                samples.setdefault("segments.aria2c", []).append(bench.aria2c(paces) / least)
    return samples


_ONE, _SLOW = [154 * MB // 10], Pace(2 * MB)
# by name: sizes, mirrors, and the seconds that these mirrors need at least
KINDS: Dict[str, Tuple[List[int], List[Pace], float]] = {
    "segments.one": (_ONE, [_SLOW] * 3, 15.4 / 6),
    "segments.fades": (_ONE, [Pace(2 * MB, later=50 * 1000), _SLOW, _SLOW], 1.0 + (15.4 - 6) / 4.05),
    "segments.far": (_ONE, [Pace(2 * MB, delay_seconds=0.5), _SLOW, _SLOW], (15.4 + 1.0) / 6),
    "segments.ten": ([2 * MB] * 10, [Pace(4 * MB), _SLOW, Pace(MB)], 20 / 7),
}
_SAYS = {
    "segments.one": "15.4 MB, three mirrors of 2 MB/s each / size over sum of rates",
    "segments.fades": "the same, the first fades to 50 kB/s after a second",
    "segments.far": "the same, the first answers after 0.5 s",
    "segments.ten": "ten files of 2 MB, mirrors of 4, 2 and 1 MB/s / size over sum of rates",
}
_BYTES = Goal(1.1)
_PEER = ((Quantity("segments.aria2c", "", "the one file by aria2c", why_no_goal="a peer"),) if shutil.which("aria2c") else ())
MEASURES = (
    Measure(take_brownouts, tuple(
        quantity for name in BROWN for quantity in (
            Quantity("brownout." + name, "", "install of 30 MB, best mirror sends {}B/s / good".format(name), Goal(1.5)),
            Quantity("brownout.{}.bytes".format(name), "", "its package bytes / good", _BYTES))
    ), runs=5),
    Measure(take_segments, tuple(
        quantity for name, says in _SAYS.items() for quantity in (
            Quantity(name, "", says, Goal(1.15)), Quantity(name + ".bytes", "", "its bytes / one copy", _BYTES))
    ) + _PEER, runs=5),
)
