"""What measures act on: a running lab with the mirrors they want, hosts, and the engine as the plugin runs it."""
import configparser
import os
import shutil
import sys
import time
from typing import Callable, Dict, NamedTuple, Sequence

from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.plugin import command_path, install_plugin, state_path
from yum_plugin.plugins import bridge

REPOSITORIES = ("base", "updates")
PACKAGES = ("lab-agent", "lab-data", "lab-tools")
SMALL_PACKAGES = ("lab-one", "lab-two", "lab-three")
SMALL_BYTES = 20 * 1000  # of each
RUN_SECONDS = 120.0  # no run that works takes a tenth of it
YUM_EXPIRE_SECONDS = 6 * 3600  # yum.conf(5): the default of metadata_expire
YUM_TYPES = ("primary", "primary_db", "group", "updateinfo")  # what "yum check-update" reads

# A command that runs ours and notes its peak memory. It is small itself, which matters: a process begins
# with the peak of the one that it was forked from (Linux, fs/exec.c: exec_mmap).
_WATCHER = """\
#!{python} -IS
import os, sys
child = os.spawnv(os.P_NOWAIT, {command!r}, [{command!r}] + sys.argv[1:])
status, usage = os.wait4(child, 0)[1:]
with open({report!r}, "w") as stream:
    stream.write(str(usage.ru_maxrss))
sys.exit(os.WEXITSTATUS(status))
"""


class MeasureError(Exception):
    """What was to be measured did not work."""


class Resolved(NamedTuple):
    """One run of the engine."""

    seconds: float  # from the start of the process to its result, or to its end
    peak_mib: float  # 0 if not watched


def package_sizes(total_bytes: int) -> Dict[str, Dict[str, int]]:
    """Return the lab's ``sizes`` for an install of about ``total_bytes``."""
    base = dict(dict.fromkeys(SMALL_PACKAGES, SMALL_BYTES), **{"lab-base": 2000})
    return {"base": base, "updates": dict.fromkeys(PACKAGES, total_bytes // len(PACKAGES))}


class Stage:
    """The lab and its hosts.

    Args:
        lab: running; its packages are PACKAGES and SMALL_PACKAGES.
        folder: for hosts, which each ``set_mirrors`` removes, and for what measures keep.
        note: told what is going on.
    """

    def __init__(self, lab: Lab, folder: str, note: Callable[[str], None]) -> None:
        self.lab = lab
        self.note = note
        self.folder = folder
        self._hosts = os.path.join(folder, "hosts")
        self._made = 0

    def set_mirrors(self, faults: Sequence[str]) -> None:
        """Begin afresh: no hosts, and mirrors with these faults ("": none) in the redirector's order."""
        self.lab.reset()
        shutil.rmtree(self._hosts, ignore_errors=True)
        for number, fault in enumerate(faults, 1):
            self.lab.add_mirror("mirror{}".format(number), fault)

    def host(self, plugin: bool, prefer: str = "") -> Host:
        """Make a host. Stock is the same dnf, with plugins enabled and none there; ``prefer`` goes into the .conf."""
        self._made += 1
        made = self.lab.installroot(os.path.join(self._hosts, str(self._made)))
        if plugin:
            install_plugin(made, self.lab, prefer=prefer)
        return made

    def make_cold(self, host: Host) -> None:
        """Let a host forget all metadata and all we know about mirrors."""
        host.close()
        for path in (os.path.join(host.root, "var", "cache", "dnf"), state_path(host)):
            shutil.rmtree(path, ignore_errors=True)

    def dnf(self, host: Host, *arguments: str) -> float:
        """Run dnf and return the seconds it took.

        Raises:
            MeasureError: it failed.
            subprocess.TimeoutExpired: it took longer than RUN_SECONDS.
        """
        started = time.monotonic()
        done = host.dnf(*arguments, timeout_seconds=RUN_SECONDS)
        seconds = time.monotonic() - started
        if done.returncode not in (0, 100):  # 100: check-update has found updates
            words = (done.stderr or done.stdout).strip().splitlines()
            raise MeasureError("dnf {}: exit {}: {}".format(" ".join(arguments), done.returncode, words[-1] if words else ""))
        return seconds

    def install(self, host: Host, packages: Sequence[str] = PACKAGES) -> float:
        """Install packages on a host that has none; return the seconds."""
        seconds = self.dnf(host, "-y", "install", *packages)
        if host.version(packages[0]) != "2.0":
            raise MeasureError("dnf install brought version {!r}".format(host.version(packages[0])))
        return seconds

    def resolve(self, host: Host, repositories: Sequence[str] = REPOSITORIES, watched: bool = False, command: str = "",
                cached: bool = False) -> Resolved:
        """Let the engine resolve repositories as a plugin does, from its start to its result.

        Args:
            host: has the plugin.
            repositories: of REPOSITORIES.
            watched: measure the peak memory; costs the start of another Python.
            command: another one than that of this Python.
            cached: as yum's plugin, with cache folders that the engine fills; the time then includes the engine's end.

        Raises:
            MeasureError: a repository was not resolved.
        """
        watcher = Watcher(host.folder)
        parser = configparser.ConfigParser()
        parser.read(os.path.join(host.pluginconf, "xcpng-mirrors.conf"))
        settings = bridge.BridgeSettings(parser, os.path.join(host.pluginconf, "xcpng-mirrors.conf"), host.root)
        requests = [self._request(name) for name in repositories]
        if cached:
            requests = [bridge.Cache(settings, each, self.yum_cache(host, str(each["id"])), "yum", YUM_TYPES).request(False)
                        for each in requests]
        started = time.monotonic()
        engine = bridge.Engine(watcher.command if watched else command or command_path())
        verdicts, _ = engine.ask(settings.request("resolve", requests), RUN_SECONDS)
        seconds = time.monotonic() - started
        engine.accept(list(verdicts))
        engine.finish()
        if cached:
            seconds = time.monotonic() - started
        for name, verdict in verdicts.items():
            if verdict["status"] != "resolved":
                raise MeasureError("the engine: {}: {}".format(name, verdict["text"]))
        return Resolved(seconds, watcher.peak_mib() if watched else 0.0)

    def yum_cache(self, host: Host, repository_id: str) -> str:
        """Return yum's cache folder of a repository; made if missing."""
        path = os.path.join(host.root, "var", "cache", "yum", repository_id)
        os.makedirs(path, exist_ok=True)
        return path

    def _request(self, name: str) -> Dict[str, object]:
        lab = self.lab
        return {"id": "xcp-ng-" + name, "base_urls": lab.base_urls(name), "gpgkeys": ["file://" + lab.key_file],
                "sslcacert": lab.ca_bundle, "proxy": "", "installs": False, "metadata_expire": YUM_EXPIRE_SECONDS}


class Watcher:
    """A command that runs ours and notes its peak memory.

    Args:
        folder: for the command and its notes.
    """

    def __init__(self, folder: str) -> None:
        self.command = os.path.join(folder, "watcher")
        self._report = os.path.join(folder, "peak")
        with open(self.command, "w") as stream:
            stream.write(_WATCHER.format(python=sys.executable, command=command_path(), report=self._report))
        os.chmod(self.command, 0o755)

    def peak_mib(self) -> float:
        """Read what the last run has noted.

        Raises:
            MeasureError: it did not end by itself.
        """
        try:
            with open(self._report) as stream:
                return float(stream.read()) / 1024
        except (OSError, ValueError):
            raise MeasureError("the command did not end by itself, its peak memory is not known") from None
