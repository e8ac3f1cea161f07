"""A source that the lab's states are published at, and a mirror of it: what the tests of sync are made of."""
import os
import shutil
import signal
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from tests.lab.lab import Lab
from tests.lab.rsyncd import RsyncDaemon
from yum_plugin.host.keyring import load_keys
from yum_plugin.operators.rsync import FILE, FOLDER, RsyncEntry, RsyncLimits, parse_address
from yum_plugin.operators.sync.destination import open_destination
from yum_plugin.operators.sync.file_cache import FileCache, cache_path
from yum_plugin.operators.sync.identity import SecondVoice
from yum_plugin.operators.sync.job import SyncJob, SyncOptions, TrustContext
from yum_plugin.operators.sync.plan import filter_listing
from yum_plugin.operators.sync.rsync_source import RsyncSource
from yum_plugin.operators.sync.source import OnProgress, SourceLimits, SyncSource
from yum_plugin.operators.sync.sync import Sync, SyncReport
from yum_plugin.verify.files import Examiner
from yum_plugin.verify.repository import RepositoryExaminer

FOLDERS = ("8/8.3/base/x86_64", "8/8.3/updates/x86_64", "8", "isos/8.3")
UPDATES = FOLDERS[1]
ISO = "isos/8.3/xcp-ng-8.3.0.iso"
LIMITS = RsyncLimits(connect_seconds=60, silent_seconds=60, seconds=180)


class CopyOrigin(SyncSource):
    """A source on this disk, for tests that sync some hundred times and are not about how files arrive.

    Args:
        folder: the tree.
    """

    lists = True

    def __init__(self, folder: str) -> None:
        self.url = folder

    def catalogue(self, excludes: Sequence[str], named: Sequence[str] = ()) -> Any:
        """List everything."""
        found = []
        for place, folders, names in sorted(os.walk(self.url)):
            for kind, each in [(FOLDER, folders), (FILE, names)]:
                for name in each:
                    path = os.path.join(place, name)
                    status = os.stat(path)
                    below = os.path.relpath(path, self.url)
                    found.append(RsyncEntry(below, kind, status.st_size, int(status.st_mtime), "rw-r--r--"))
        return filter_listing(found, excludes)

    def fetch(self, wants: Any, stage: str, on_progress: OnProgress, lock: int) -> Dict[str, Any]:
        """Copy."""
        for path in wants:
            if os.path.exists(os.path.join(self.url, path)):
                os.makedirs(os.path.dirname(os.path.join(stage, path)), exist_ok=True)
                shutil.copy2(os.path.join(self.url, path), os.path.join(stage, path))
        return {}


class Mirrored:
    """A source served by a real rsync daemon, and DEST.

    Args:
        lab: whose states are published.
        folder: of everything.
    """

    def __init__(self, lab: Lab, folder: Any) -> None:
        self.lab = lab
        self.folder = str(folder)
        self.source = os.path.join(self.folder, "source")
        self.dest = os.path.join(self.folder, "dest")
        self.state = os.path.join(self.folder, "state")
        self.keys = load_keys([lab.key_file], [lab.key_fingerprint])
        self.steps: List[Tuple[str, str]] = []
        self.second_voice: Optional[SecondVoice] = None
        self.publish("old")
        self.daemon = RsyncDaemon(os.path.join(self.folder, "daemon"), {"repo": self.source})

    def close(self) -> None:
        """End the daemon."""
        self.daemon.close()

    def publish(self, state: str, folders: Sequence[str] = ("8", "isos")) -> None:
        """Let the source have a state of the lab, and nothing else below these folders."""
        for name in folders:
            target = os.path.join(self.source, name)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(os.path.join(self.lab.trees.path(state), name), target)

    def write(self, path: str, text: str, where: str = "") -> str:
        """Write a file of the source, or of ``where``, and return its path."""
        full = os.path.join(where or self.source, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w") as stream:
            stream.write(text)
        return full

    @property
    def url(self) -> str:
        """The source's address."""
        return self.daemon.url("repo/")

    def sync_source(self, **limits: Any) -> RsyncSource:
        """The source."""
        return RsyncSource(parse_address(self.url), SourceLimits(**limits), LIMITS)

    def sync(self, step: Optional[Callable[[str, str], None]] = None, source: Optional[SyncSource] = None, **options: Any) -> SyncReport:
        """Sync once; ``steps`` holds what it told."""
        self.steps = []

        def on_progress(name: str, detail: str) -> None:
            self.steps.append((name, detail))
            if step is not None:
                step(name, detail)

        destination = open_destination(self.dest)
        file_cache = FileCache(cache_path(self.state, destination.root))
        trust = TrustContext(self.keys, int(time.time()), self.second_voice)
        return Sync(SyncJob(source or self.sync_source(), destination, file_cache, SyncOptions(**options), trust, OnProgress(on_progress))).run()

    def words(self, *more: str) -> List[str]:
        """The arguments of the command."""
        config = os.path.join(self.folder, "x.conf")
        if not os.path.exists(config):
            with open(config, "w") as stream:
                stream.write("[main]\nlog_file={}/log\nfallbacks=\n".format(self.folder))
        return ["sync", self.dest, "--from", self.url, "--key", self.lab.key_file, "--fingerprint", self.lab.key_fingerprint,
                "--state-dir", self.state, "--config", config] + list(more)

    def outcomes(self, report: SyncReport) -> Dict[str, str]:
        """What became of each folder: the outcome, or the error's reference."""
        return {result.unit.folder: result.error.reference if result.error else result.outcome for result in report.units}

    def copy(self, step: Optional[Callable[[str, str], None]] = None, **options: Any) -> SyncReport:
        """Sync once from the source's folder itself."""
        return self.sync(step, CopyOrigin(self.source), **options)

    def killed_at(self, number: int, **options: Any) -> bool:
        """As ``copy``, in another process that SIGKILL ends before its step of this number; whether it got so far."""
        child = os.fork()
        if child == 0:
            try:
                count = [0]

                def step(name: str, detail: str) -> None:
                    if count[0] == number:
                        os.kill(os.getpid(), signal.SIGKILL)
                    count[0] += 1

                self.copy(step, **options)
            finally:
                os._exit(0)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])

    def problems(self, stray_too: bool = False) -> List[str]:
        """What ``verify`` finds wrong with the repositories of DEST, by code that sync does not use."""
        examiner = Examiner(self.keys, int(time.time()))
        found = []
        for folder in FOLDERS[:2]:
            last = [finding for finding in RepositoryExaminer(examiner, os.path.join(self.dest, folder)).examine()][:-1]
            found += ["{}: {}".format(each.file, each.error) for each in last
                      if each.error is not None and (stray_too or each.error.reference != "not-covered")]
        for each in examiner.examine(os.path.join(self.dest, "isos/8.3/SHA256SUMS")):
            found += ["{}: {}".format(each.file, each.error)] if each.error is not None else []
        return found

    def version(self) -> str:
        """Which state of "updates" DEST publishes, "" for none of the lab's."""
        path = UPDATES + "/repodata/repomd.xml"
        for state in ("old", "new"):
            with open(os.path.join(self.dest, path), "rb") as mine, open(os.path.join(self.lab.trees.path(state), path), "rb") as theirs:
                if mine.read() == theirs.read():
                    return state
        return ""

    def names(self, folder: str = "") -> List[str]:
        """The files and links below DEST, or another folder."""
        root = folder or self.dest
        return sorted(os.path.relpath(os.path.join(place, name), root) for place, folders, names in os.walk(root)
                      for name in names + [each for each in folders if os.path.islink(os.path.join(place, each))])

    def same(self) -> bool:
        """Whether DEST has exactly the files of the source, byte for byte, and the same times."""
        def content(path: str) -> Any:
            if os.path.islink(path):
                return os.readlink(path)
            with open(path, "rb") as stream:
                return stream.read(), int(os.stat(path).st_mtime)

        return self.names() == self.names(self.source) and all(
            content(os.path.join(self.dest, name)) == content(os.path.join(self.source, name)) for name in self.names())
