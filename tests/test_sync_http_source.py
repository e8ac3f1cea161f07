"""A mirror kept right over https, and what the command says and does: from web servers of the lab, good and bad ones."""
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from tests.lab.accesslog import AccessLog  # noqa: F401  (what lab.log is)
from tests.lab.faults import faults_named, served
from tests.support.command import ROOT
from tests.support.mirrored import FOLDERS, ISO, UPDATES, Mirrored
from tests.support.terminal import Terminal
from yum_plugin.cli.main import main
from yum_plugin.errors import UsageError
from yum_plugin.model import Network
from yum_plugin.operators.sync.http_source import HttpSource, RateLimiter
from yum_plugin.operators.sync.plan import WORK, Unit
from yum_plugin.operators.sync.source import SourceLimits

ALL = ("8/8.3/base/x86_64", UPDATES, "isos/8.3", "8")


class Site(Mirrored):
    """A mirror of a web server."""

    def __init__(self, lab, folder):
        super().__init__(lab, folder)
        self.mirror = lab.add_mirror("web", tree="old")

    def web(self, **limits):
        return HttpSource(self.mirror.url, Network(ssl_ca_cert=self.lab.ca_bundle, proxy=""), SourceLimits(**limits))

    def fetch(self, *repos, **options):
        return self.sync(options.pop("step", None), self.web(), repos=repos, **options)


@pytest.fixture
def site(lab, tmp_path):
    site = Site(lab, tmp_path)
    yield site
    site.close()


def test_what_is_signed_and_named_is_fetched_and_nothing_else(site):
    report = site.fetch(*ALL)
    assert site.outcomes(report) == dict.fromkeys(ALL, "switched") and site.problems(stray_too=True) == []
    tree = site.lab.trees.path("old")
    assert site.names() == site.names(tree)
    asked = {entry.path for entry in site.lab.log.requests("web", "")}
    assert {path[len("/pub/xcp-ng/"):] for path in asked} - {"elsewhere/repodata/repomd.xml"} <= set(site.names(tree)) | {
        unit.head for folder in ALL for unit in (Unit(folder, True),)}


def test_without_names_what_dest_has_is_brought_up_to_date_and_old_files_go_a_run_later(site):
    site.fetch(*ALL)
    site.mirror.state = "new"
    report = site.fetch()
    assert site.outcomes(report) == dict.fromkeys(ALL, "switched") and site.version() == "new" and site.problems() == []
    assert report.deletions.later == 14
    assert len(site.fetch().deletions.paths) == 14 and site.names() == site.names(site.lab.trees.path("new"))
    site.lab.log.clear()
    report = site.fetch()
    assert report.files == 0 and len(site.lab.log.requests("web", "")) == 8, "the signed lists and their signatures"


def test_a_web_server_and_rsync_may_take_turns(site):
    site.fetch(UPDATES)
    report = site.sync(repos=(UPDATES,))
    assert report.files == 0
    site.sync()
    assert site.same()
    site.publish("new")
    site.mirror.state = "new"
    site.fetch(UPDATES)
    site.sync()
    site.sync()
    assert site.same()


def test_a_first_sync_over_https_must_be_told_what_to_fetch(site):
    for names, reference in (((), "usage"), (("8/*",), "no-repository"), (("../x",), "usage")):
        with pytest.raises(UsageError) as refused:
            site.fetch(*names)
        assert refused.value.reference == reference


@pytest.mark.parametrize("fault, reference", [
    ("corrupt-packages", "payload-mismatch"), ("truncated-packages", "truncated"), ("packages-404", "http-status"),
    ("bad-signature", "signature-invalid"), ("no-asc", "signature-missing"), ("half-synced", "http-status"),
])  # fmt: skip
def test_a_bad_web_server_leaves_the_old_state_and_a_good_one_ends_it(fault, reference, site):
    site.fetch(UPDATES)
    site.mirror.state = "new"
    site.mirror.faults = faults_named(fault)
    assert site.outcomes(site.fetch())[UPDATES] == reference
    site.mirror.faults = ()
    with open(os.path.join(site.dest, UPDATES, "repodata/repomd.xml"), "rb") as stream:
        assert stream.read() == open(os.path.join(site.lab.trees.path("old"), UPDATES, "repodata/repomd.xml"), "rb").read()
    assert site.outcomes(site.fetch())[UPDATES] == "switched"


def test_an_older_web_server_is_a_rollback(site):
    site.mirror.state = "new"
    site.fetch(UPDATES)
    site.mirror.state = "old"
    assert site.outcomes(site.fetch()) == {UPDATES: "rollback"}
    assert site.outcomes(site.fetch(accept_rollback=True)) == {UPDATES: "switched"}


def test_a_list_may_name_an_image_that_the_server_does_not_have(site):
    site.mirror.faults = served(".iso", None)
    assert site.outcomes(site.fetch("isos/8.3")) == {"isos/8.3": "switched"} and not os.path.exists(os.path.join(site.dest, ISO))


def test_several_threads_share_one_pace():
    now, waited, lock = [100.0], [], threading.Lock()

    def wait(seconds):
        with lock:
            waited.append(seconds)

    limiter = RateLimiter(1000, clock=lambda: now[0], wait=wait)
    for _ in range(3):
        limiter.acquire(500)
    assert waited == [0.5, 1.0, 1.5]
    now[0] = 200.0
    limiter.acquire(100)
    assert waited[-1] == pytest.approx(0.1)
    RateLimiter(0, wait=wait).acquire(10 ** 9)
    assert len(waited) == 4


def test_a_clock_that_goes_on_meanwhile_makes_no_wait_negative():
    times, waited = iter(range(100)), []
    limiter = RateLimiter(10 ** 9, clock=lambda: next(times), wait=waited.append)
    limiter.acquire(1)
    limiter.acquire(1)
    assert waited == pytest.approx([1e-9, 1e-9]) and min(waited) >= 0


# The command.


def run(site, *more):
    return subprocess.run([sys.executable, "-m", "yum_plugin"] + site.words(*more), cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def test_the_command_syncs_and_says_what_it_did(site):
    done = run(site)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 6 and re.match(r"fetched 24 files, 352\.\d KB; deleted 0$", lines[-1]) and all("switched" in line for line in lines[1:-1])
    site.publish("new")
    done = run(site, "--json")
    values = json.loads(done.stdout)
    assert (values["schema"], values["command"], values["exit_code"], done.returncode) == (1, "sync", 0, 0)
    assert {unit["folder"]: unit["outcome"] for unit in values["units"]} == dict.fromkeys(FOLDERS, "switched")
    assert values["units"][0]["fingerprint"] == site.lab.key_fingerprint and values["switched_at_once"] and values["deleted_later"] == 14
    assert (run(site, "-q").stdout, site.same()) == ("", True)


def test_the_command_stops_where_others_can_change_what_it_remembers_as_proven(site, tmp_path):
    (tmp_path / "weak").mkdir()
    (tmp_path / "weak").chmod(0o777)
    done = run(site, "--state-dir", str(tmp_path / "weak"))
    assert done.returncode == 2 and "state: " in done.stderr and "chmod go-w {}".format(tmp_path / "weak") in done.stderr
    assert os.listdir(str(tmp_path / "weak")) == []


def test_the_command_over_https(site):
    done = run(site, "--from", site.mirror.url, "--cacert", site.lab.ca_bundle, "--repo", UPDATES, "--bwlimit", "50M")
    assert done.returncode == 0 and "switched" in done.stdout, done.stderr
    done = run(site, "--from", site.mirror.url)
    assert done.returncode == 3 and "tls-untrusted" in done.stderr


def test_what_is_wrong_is_said_on_stderr_with_its_exit_code(site):
    site.sync()
    site.write("new\nline", "x")
    done = run(site, "-q")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr == "xcpng-mirrors: left out: new?line: a control character in a name\n"
    site.publish("new")
    os.unlink(os.path.join(site.source, UPDATES, "repodata/repomd.xml.asc"))
    done = run(site)
    assert done.returncode == 4 and "{}: stays as it is: signature-missing".format(UPDATES) in done.stderr and "kept" in done.stdout
    site.publish("old")
    done = run(site, "-q")
    assert done.returncode == 4 and "rollback" in done.stderr and "--accept-rollback" in done.stderr


@pytest.mark.parametrize("more, code, words_of_it", [
    (["--from", "ftp://host/"], 2, "--from cannot be used"), (["--from", "rsync://-e/m"], 2, "--from cannot be used"),
    (["--from", "rsync://user@host/m"], 2, "a user or password"), (["--from", "rsync://127.0.0.1/"], 2, "a module is missing"),
    (["--bwlimit", "fast"], 2, "--bwlimit"), (["--bwlimit", "0"], 2, "--bwlimit"), (["--max-delete", "-1"], 2, "--max-delete"),
    (["--repo", "none"], 2, "no-repository"), (["--fingerprint", "x"], 2, "--fingerprint"),
])
def test_what_cannot_be_meant_is_a_usage_error_before_anything_is_touched(more, code, words_of_it, site, capsys):
    assert main(site.words(*more)) == code
    told = capsys.readouterr().err
    assert words_of_it in told and len(told.splitlines()) == 1


def test_a_module_that_does_not_exist_is_told_in_the_daemons_words(site):
    done = run(site, "--from", site.daemon.url("none/"))
    assert done.returncode == 3 and "rsync-refused: Unknown module 'none'" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_terminal_shows_how_far_it_is_and_an_interrupt_leaves_nothing_of_it(site):
    with open(os.path.join(site.source, "large"), "wb") as stream:
        stream.write(b"x" * 4000000)
    terminal = Terminal([sys.executable, "-m", "yum_plugin"] + site.words("--bwlimit", "1M", "--include", "large"), columns=100)
    terminal.wait_for(r"listing rsync://127.0.0.1:\d+/repo/")
    terminal.wait_for(r" [1-9]\d?%  [\d.]+ [KM]B/s  rsync://127.0.0.1")
    terminal.child.send_signal(signal.SIGINT)
    assert terminal.end()[0] == 130 and "Traceback" not in terminal.text and "".join(terminal.screen()) == ""
    assert os.listdir(site.dest) == [WORK]
    assert run(site, "-q", "--include", "large").returncode == 0 and site.same()


def test_the_log_says_what_was_switched_and_what_was_kept(site):
    run(site)
    site.publish("new")
    os.unlink(os.path.join(site.source, UPDATES, "repodata/repomd.xml.asc"))
    run(site)
    with open(os.path.join(site.folder, "log")) as stream:
        log = stream.read()
    assert re.search(r"INFO sync \S+: isos/8.3 switched", log) and re.search(r"WARNING sync \S+: {} kept: signature-missing".format(UPDATES), log)
