"""Measures of ``verify`` and of the downloader, beside openssl, rpmkeys, sha256sum and curl, which do the nearest thing."""
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from typing import Dict, List, Sequence, Tuple

from tests.lab.keys import REPOSITORY
from tests.lab.lab import Lab
from tests.lab.packages import Package, build, build_family, noise
from tests.lab.plugin import command_path

from .measure import Goal, Measure, Quantity, Samples, differences, in_turn, ratios
from .stage import MeasureError, Stage, Watcher

MIB = 1024 * 1024
LARGE_BYTES = 200 * 1000 * 1000
SMALL_BYTES, SMALL_COUNT = 24 * 1000, 500  # with its headers such a package has 26 KB
ISO_BYTES = 600 * 1000 * 1000
_ISO_HEAD = bytes(32769) + b"CD001"  # ECMA-119 section 8.1.2
# The downloader as the packages of dnf use it, in a process of its own; prints the seconds.
_DOWNLOAD = """\
import sys, time
from yum_plugin.model import Network
from yum_plugin.net.download import download
from yum_plugin.net.items import Item, Source
from yum_plugin.trust.digest import DigestChecker
url, path, size, digest, bundle, target = sys.argv[1:]
item = Item(path, target, lambda: DigestChecker("sha256", digest), int(size))
started = time.monotonic()
[fetched] = download([item], [Source(url)], Network(proxy="", ssl_ca_cert=bundle))
print(time.monotonic() - started)
sys.exit(fetched.error is not None)
"""


_NGINX = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ }}
http {{
  access_log off;
  sendfile on;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen {address}:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem}; root {folder}; }}
}}
"""
_ADDRESS = "127.0.0.1"
START_SECONDS = 10.0


class _Bench:
    """Files to verify, a key ring for rpmkeys, and the commands."""

    def __init__(self, stage: Stage) -> None:
        self.folder = os.path.join(stage.lab.folder, "bench-files")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(os.path.join(self.folder, "work"))
        self.stage = stage
        self.watcher = Watcher(self.folder)
        self.db = os.path.join(self.folder, "db")
        run(["rpmkeys", "--dbpath", self.db, "--import", stage.lab.key_file])

    def __enter__(self) -> "_Bench":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)

    def package(self, size: int) -> str:
        """Build one signed package."""
        return build(Package("bench", "1.0", size), self.folder, self._work(), self._built_at(), self.stage.lab.keys, REPOSITORY)

    def family(self, count: int, size: int) -> List[str]:
        """Build many signed packages."""
        return build_family("many", count, size, self.folder, self._work(), self._built_at(), self.stage.lab.keys)

    def image(self, size: int) -> str:
        """Make an ISO's likeness, with a signed SHA256SUMS beside it."""
        path = os.path.join(self.folder, "bench.iso")
        piece = noise("iso", MIB)
        with open(path, "wb") as stream:
            stream.write(_ISO_HEAD)
            for _ in range(size // MIB):
                stream.write(piece)
        sums = "{}  bench.iso\n".format(digest_of(path)).encode("ascii")
        for name, content in (("SHA256SUMS", sums), ("SHA256SUMS.asc", self.stage.lab.keys.sign(sums, at=self._built_at()))):
            with open(os.path.join(self.folder, name), "wb") as stream:
                stream.write(content)
        return path

    def _work(self) -> str:
        return os.path.join(self.folder, "work")

    def _built_at(self) -> int:
        return self.stage.lab.trees.stamp("new")

    def verify(self, *files: str) -> float:
        """Verify files; return the seconds. What is refused raises MeasureError."""
        return run(self._verify(command_path(), files))

    def peak_of_verify(self, *files: str) -> float:
        """Verify files; return the peak memory in MiB."""
        run(self._verify(self.watcher.command, files))
        return self.watcher.peak_mib()

    def _verify(self, command: str, files: Sequence[str]) -> List[str]:
        lab = self.stage.lab
        return [command, "verify", "-q", "--key", lab.key_file, "--fingerprint", lab.key_fingerprint] + list(files)

    def rpmkeys(self, *files: str) -> float:
        """Check files with rpm's own tool; return the seconds."""
        return run(["rpmkeys", "--dbpath", self.db, "-K"] + list(files))


def run(command: Sequence[str]) -> float:
    """Run a command and return the seconds it took.

    Raises:
        MeasureError: it failed.
    """
    return _run(command)[0]


def timed(command: Sequence[str]) -> float:
    """Run a command that prints the seconds it took; return them. Errors as of ``run``."""
    return float(_run(command)[1])


def _run(command: Sequence[str]) -> Tuple[float, bytes]:
    started = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    seconds = time.monotonic() - started
    if done.returncode:
        words = (done.stderr or done.stdout)[-200:].decode("utf-8", "replace")
        raise MeasureError("{}: exit {}: {}".format(command[0], done.returncode, words))
    return seconds, done.stdout


def digest_of(path: str) -> str:
    """Return the SHA-256 of a file in hex."""
    running = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(MIB), b""):
            running.update(chunk)
    return running.hexdigest()


def take_large(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """One large package, beside openssl and rpmkeys."""
    with _Bench(stage) as bench:
        small, large = bench.family(1, SMALL_BYTES)[0], bench.package(LARGE_BYTES)
        bench.verify(large), bench.rpmkeys(large)  # the first ones fill the disk's cache
        found: Dict[str, List[float]] = {name: [] for name in ("start", "ours", "openssl", "rpmkeys", "peak")}
        for _ in range(runs):
            found["start"].append(bench.verify(small))
            found["ours"].append(bench.verify(large))
            found["peak"].append(bench.peak_of_verify(large))
            found["openssl"].append(run(["openssl", "dgst", "-sha256", large]))
            found["rpmkeys"].append(bench.rpmkeys(large))
    hashing = differences(found["ours"], found["start"])
    return {"verify.start_s": found["start"], "verify.rpm_s": found["ours"],
            "verify.rpm_over_openssl": ratios(hashing, found["openssl"]),
            "verify.rpmkeys_over_rpm": ratios(found["rpmkeys"], found["ours"]), "verify.rpm_peak_mib": found["peak"]}


def take_many(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """Many small packages in one call, beside rpmkeys."""
    with _Bench(stage) as bench:
        files = bench.family(SMALL_COUNT, SMALL_BYTES)
        bench.verify(*files), bench.rpmkeys(*files)
        ours, theirs = in_turn(runs, lambda: bench.verify(*files), lambda: bench.rpmkeys(*files))
    return {"verify.many_s": ours, "verify.many_over_rpmkeys": ratios(ours, theirs)}


def take_image(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """A large image by its signed checksum, beside sha256sum."""
    with _Bench(stage) as bench:
        path = bench.image(ISO_BYTES)
        bench.verify(path)
        seconds, theirs = in_turn(runs, lambda: bench.verify(path), lambda: run(["sha256sum", path]))
        peaks = [bench.peak_of_verify(path) for _ in range(runs)]
    return {"verify.iso_s": seconds, "verify.iso_over_sha256sum": ratios(seconds, theirs), "verify.iso_peak_mib": peaks}


def take_download(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """One large file from nginx on loopback, https, beside curl."""
    lab = stage.lab
    with _Bench(stage) as bench, Nginx(bench.folder, lab) as server:
        path = bench.image(LARGE_BYTES)
        target, digest = os.path.join(bench.folder, "copy"), digest_of(path)

        def ours() -> float:
            what = ["bench.iso", str(os.path.getsize(path)), digest]
            return timed([sys.executable, "-c", _DOWNLOAD, server.url] + what + [lab.ca_bundle, target])

        def curl() -> float:
            return run(["curl", "-sf", "--cacert", lab.ca_bundle, "-o", target, server.url + "bench.iso"])

        ours(), curl()
        seconds, theirs = in_turn(runs, ours, curl)
    return {"download.large_s": seconds, "download.over_curl": ratios(theirs, seconds)}


class Nginx:
    """A fast web server of one folder on 127.0.0.1, https; a context manager.

    Args:
        folder: to serve, and for the server's own files.
        lab: its CA signs the certificate.
    """

    def __init__(self, folder: str, lab: Lab) -> None:
        lab.ca.context(_ADDRESS)  # writes key and chain beside the lab's others
        port = _free_port()
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w") as stream:
            stream.write(_NGINX.format(folder=folder, address=_ADDRESS, port=port, user="user root;" if os.geteuid() == 0 else "",
                                       pem=os.path.join(lab.ca.folder, "good-{}.pem".format(_ADDRESS))))
        self.url = "https://{}:{}/".format(_ADDRESS, port)
        self._process = subprocess.Popen(["nginx", "-p", folder, "-c", path], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                         env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin"))
        self._await(port)

    def _await(self, port: int) -> None:
        ends_at = time.monotonic() + START_SECONDS
        while socket.socket().connect_ex((_ADDRESS, port)):
            if time.monotonic() > ends_at or self._process.poll() is not None:
                raise MeasureError("nginx does not start")
            time.sleep(0.02)

    def __enter__(self) -> "Nginx":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((_ADDRESS, 0))
        return int(sock.getsockname()[1])


MEASURES = (
    Measure(take_large, (
        Quantity("verify.start_s", "s", "verify of a package of 26 KB: the command's start", why_no_goal="taken off below"),
        Quantity("verify.rpm_s", "s", "verify of a package of 200 MB", why_no_goal="the next ones are bounded"),
        Quantity("verify.rpm_over_openssl", "", "the same without the start / openssl dgst -sha256", Goal(1.15)),
        Quantity("verify.rpmkeys_over_rpm", "", "rpmkeys -K / the same with its start", Goal(2, least=True)),
        Quantity("verify.rpm_peak_mib", "MiB", "its peak memory", Goal(40)),
    ), runs=7),
    Measure(take_many, (
        Quantity("verify.many_s", "s", "verify of 500 packages of 26 KB", why_no_goal="the next is bounded"),
        Quantity("verify.many_over_rpmkeys", "", "the same / rpmkeys -K", Goal(2)),
    ), runs=7),
    Measure(take_image, (
        Quantity("verify.iso_s", "s", "verify of an image of 600 MB", why_no_goal="the next is bounded"),
        Quantity("verify.iso_over_sha256sum", "", "the same / sha256sum", Goal(1.2)),
        Quantity("verify.iso_peak_mib", "MiB", "its peak memory", Goal(40)),
    ), runs=5),
    Measure(take_download, (
        Quantity("download.large_s", "s", "our downloader, 200 MB from nginx over https", why_no_goal="the next is bounded"),
        Quantity("download.over_curl", "", "its throughput / curl's", Goal(0.8, least=True)),
    ), runs=9),
)
