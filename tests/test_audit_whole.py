"""The audit of a whole mirror, web server and rsync daemon, as its owner runs it: everything in one command."""
import json
import os
import shutil
import time
from types import SimpleNamespace

import pytest

from tests.lab.rsyncd import RsyncDaemon
from tests.support.nginx import Nginx, site
from yum_plugin.cli.main import main
from yum_plugin.operators.cli import audit
from yum_plugin.privsep import task

CHECKS = ["traversal", "repositories", "same-answers", "freshness", "rsync", "rsync-uploads", "metadata", "rsync-tree", "packages",
          "stray-files", "package-bytes", "images", "image-bytes", "bandwidth"]
HIDDEN = b".\x1b[2J\nok  all: fine\xff"


class Owner:
    """Somebody who has copied or synced the lab's tree to a server of their own, and types the commands."""

    def __init__(self, lab, folder, capsys, synced=False):
        self.lab, self._capsys, self.root = lab, capsys, folder / "srv"
        self._config = folder / "audit.conf"
        self._config.write_text("[main]\nredirectors={}\nfallbacks={}\nfingerprints={}\nread_timeout=20\nlog_file={}/log\n".format(
            lab.redirector.authority, lab.origin.url, lab.key_fingerprint, folder))
        self._common = ["--config", str(self._config), "--key", lab.key_file, "--cacert", lab.ca_bundle]
        if synced:
            with RsyncDaemon(folder / "source", {"repo": lab.trees.path("new")}) as source:
                words = ["sync", str(self.root), "--from", source.url("repo/"), "--state-dir", str(folder / "state"), "-q"]
                assert main(words + self._common) == 0
        else:
            shutil.copytree(lab.trees.path("new"), str(self.root))
        self.web = Nginx(folder / "nginx", lambda http, https: site(self.root, ["127.0.0.1:{}".format(http)], more="autoindex on;"))
        self.rsyncd = RsyncDaemon(folder / "rsyncd", {"repo": self.root})

    def close(self):
        self.web.__exit__()
        self.rsyncd.close()

    def audit(self, *options):
        """Exit code, stdout and stderr."""
        url = "http://127.0.0.1:{}/".format(self.web.http_port)
        code = main(["audit", url] + self._common + ["--rsync", self.rsyncd.url("repo/")] + list(options))
        return (code,) + tuple(self._capsys.readouterr())

    def checks(self, *options):
        """The findings by their names, in their order."""
        return {check["name"]: check for check in json.loads(self.audit("--json", "-q", *options)[1])["checks"]}


@pytest.fixture
def owner(lab, tmp_path, capsys, request):
    lab.add_mirror("other")
    owner = Owner(lab, tmp_path, capsys, synced=getattr(request, "param", False))
    yield owner
    owner.close()


def interrupt(seconds):
    raise KeyboardInterrupt


def let_sleep(monkeypatch, sleep):
    """Give the command another sleep than the system's; it waits in this process then."""
    monkeypatch.setattr(task, "can_separate", lambda: False)
    monkeypatch.setattr(audit, "time", SimpleNamespace(time=time.time, sleep=sleep))


@pytest.mark.parametrize("owner", [False, True], indirect=True, ids=["copied", "made by our sync"])
def test_a_mirror_that_is_whole_gets_a_good_verdict_on_each_prerequisite(owner):
    checks = owner.checks("--yes", "--bandwidth")
    named = [name for name in checks if name in CHECKS]
    assert named == CHECKS
    assert {name: checks[name]["verdict"] for name in CHECKS} == dict(
        dict.fromkeys(CHECKS, "ok"), bandwidth=checks["bandwidth"]["verdict"])
    assert checks["freshness"]["values"]["compared_with"] == [
        owner.lab.origin.server.authority, owner.lab.mirrors["other"].server.authority]
    assert checks["bandwidth"]["values"]["bits_per_second"] > 0


def test_hostile_names_on_a_mirror_never_reach_the_terminal_as_they_are(owner):
    with open(os.path.join(os.fsencode(str(owner.root)), b"8", HIDDEN), "wb"):
        pass
    code, out, _ = owner.audit()
    assert code == 1 and "PROBLEM  stray-files" in out and ".?[2J?ok  all: fine?" in out
    assert all(line.isprintable() for line in out.splitlines())
    assert owner.checks()["stray-files"]["values"]["misleading"]["paths"] == ["8/" + HIDDEN.decode("utf-8", "surrogateescape")]


def test_ctrl_c_ends_the_watch_and_not_the_audit(owner, monkeypatch):
    let_sleep(monkeypatch, interrupt)
    found = owner.checks("--watch", "1h", "--path", "8/8.3/updates/x86_64")["sync-interval"]
    assert found["values"]["8/8.3/updates/x86_64/"]["looks"] == 1 and "nothing was published" in found["evidence"][-1]


def test_a_mirror_is_asked_politely(owner):
    """With rsync's list nobody asks for every file."""
    owner.audit()
    requests = owner.web.requests.splitlines()
    assert sum("HEAD " in line and "/Packages/" in line for line in requests) <= 2
    assert len(requests) < 200


@pytest.mark.parametrize("options, said", [
    (["--every", "59s"], "--every must be at least 60 s"), (["--watch", "15d"], "--watch must be a time such as"),
    (["--watch", "soon"], "--watch must be a time such as"), (["--rsync", "rsync://127.0.0.1/"], "no module in the URL"),
    (["--rsync", "rsync://h/m/../x"], "dot segments"), (["--path", "../etc"], "dot segments"),
])
def test_what_cannot_be_meant_is_refused_before_anybody_is_asked(owner, options, said):
    code, out, err = owner.audit(*options)
    assert (code, out) == (2, "") and said in err and owner.web.requests == ""
