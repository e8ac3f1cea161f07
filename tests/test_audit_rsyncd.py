"""A mirror's rsync daemon, examined: real daemons that are as they must be, and others that are not."""
import os

import pytest

from tests.lab.rsyncd import RsyncDaemon, free_port
from tests.support.auditing import found, subject_of, words
from tests.support.rawserver import RawServer, never_speaks
from yum_plugin.operators.audit.rsyncd import judge_refusal, judge_top, run
from yum_plugin.operators.rsync import RsyncEntry, rsync_error

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start daemons that may write")


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    for name in ("8", "isos"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def examine(lab, tmp_path):
    """A function from an rsync URL, and how long a daemon may be silent, to the findings by their names."""
    subject = subject_of(lab, "https://mirror.test/", tmp_path)

    def audited(url, silent_seconds=20.0):
        settings = subject.settings._replace(connect_timeout=silent_seconds / 2, read_timeout=silent_seconds / 2)
        return found(run(subject._replace(rsync_url=url, settings=settings)))

    return audited


def test_a_daemon_as_it_must_be(examine, tmp_path, tree):
    with RsyncDaemon(tmp_path / "daemon", {"repo": tree}) as daemon:
        findings = examine(daemon.url("repo/"))
    assert {name: finding.verdict for name, finding in findings.items()} == {"rsync": "ok", "rsync-uploads": "ok"}
    assert "tried and refused: ERROR: module is read only" in words(findings["rsync-uploads"])
    assert sorted(os.listdir(str(tree))) == ["8", "isos"]


def test_an_upload_that_is_accepted_is_told_and_taken_away_again(examine, tmp_path, tree):
    (tree / ".hidden").write_text("stays")
    with RsyncDaemon(tmp_path / "daemon", {"repo": tree}, **{"read only": "no", "uid": "root"}) as daemon:
        finding = examine(daemon.url("repo/"))["rsync-uploads"]
    assert finding.verdict == "problem" and "it was removed again: anybody may also delete" in words(finding)
    assert finding.values == {"accepted": True, "left": None}
    assert sorted(os.listdir(str(tree))) == [".hidden", "8", "isos"]


def test_an_upload_that_cannot_be_taken_away_is_told_by_its_name(examine, tmp_path, tree):
    with RsyncDaemon(tmp_path / "daemon", {"repo": tree}, **{"read only": "no", "uid": "root", "refuse options": "delete"}) as daemon:
        finding = examine(daemon.url("repo/"))["rsync-uploads"]
    [left] = set(os.listdir(str(tree))) - {"8", "isos"}
    assert left.startswith(".xcpng-mirrors-audit-") and finding.values == {"accepted": True, "left": left}
    assert "{} is left there".format(left) in words(finding) and (tree / left).read_text() == ""


def test_a_module_that_only_file_permissions_protect_is_a_problem(examine, tmp_path, tree):
    tree.chmod(0o755)
    with RsyncDaemon(tmp_path / "daemon", {"repo": tree}, **{"read only": "no", "uid": "nobody"}) as daemon:
        finding = examine(daemon.url("repo/"))["rsync-uploads"]
    assert finding.verdict == "problem" and "only the server's file permissions stopped it" in words(finding)


@pytest.mark.parametrize("options, path, said", [
    ({}, "none/", "it has no such module: rsync-refused: Unknown module 'none'"),
    ({"auth users": "bob", "secrets file": "/dev/null"}, "repo/", "it asks for a password: rsync-refused"),
    ({"write only": "yes", "read only": "no"}, "repo/", "module is write only"),
    ({"hosts deny": "*"}, "repo/", "the daemon refuses: rsync-refused"),
    ({"refuse options": "dirs list-only"}, "repo/", "refuse"),
    ({}, "repo/none/", "rsync-partial"),
])
def test_a_module_that_cannot_be_listed_is_told_with_the_reason(examine, tmp_path, tree, options, path, said):
    with RsyncDaemon(tmp_path / "daemon", {"repo": tree}, **options) as daemon:
        findings = examine(daemon.url(path))
    assert list(findings) == ["rsync"] and findings["rsync"].verdict == "problem"
    assert said in words(findings["rsync"]) and "read only = yes" in findings["rsync"].remedy


def test_an_empty_module_and_one_of_something_else_are_no_mirror(examine, tmp_path):
    (tmp_path / "modules" / "empty").mkdir(parents=True)
    (tmp_path / "modules" / "debian" / "dists").mkdir(parents=True)
    for name, said in (("empty", "the module is empty"), ("debian", "not a mirror of XCP-ng: ")):
        with RsyncDaemon(tmp_path / name, {"repo": tmp_path / "modules" / name}) as daemon:
            findings = examine(daemon.url("repo/"))
        assert list(findings) == ["rsync"]  # nothing is uploaded there
        assert findings["rsync"].verdict == "problem" and said in words(findings["rsync"])


def answers_http(connection, server):
    connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    connection.recv(4096)


def greets_and_stays_silent(connection, server):
    connection.sendall(b"@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n")
    server.stopped.wait()


def ends_early(connection, server):
    connection.sendall(b"@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n")
    said = b""
    while b"repo\n" not in said:  # the client's greeting, then the module
        said += connection.recv(4096)


@pytest.mark.parametrize("behave, said", [
    (never_speaks, "it accepts connections and sends nothing: timed-out"),
    (greets_and_stays_silent, "it accepts connections and sends nothing: timed-out"),
])
def test_a_daemon_that_hangs_is_told_within_its_time(examine, behave, said):
    with RawServer(behave) as server:
        finding = examine("rsync://127.0.0.1:{}/repo/".format(server.port), 1.0)["rsync"]
    assert finding.verdict == "problem" and said in words(finding)


@pytest.mark.parametrize("behave, said", [
    (answers_http, 'server sent "HTTP/1.0 400 Bad Request" rather than greeting'),
    (ends_early, "the server is not an rsync daemon, or closes the connection: rsync-refused"),
])
def test_what_is_no_daemon_is_told(examine, behave, said):
    with RawServer(behave) as server:
        finding = examine("rsync://127.0.0.1:{}/repo/".format(server.port))["rsync"]
    assert finding.verdict == "problem" and said in words(finding)


def test_a_port_that_nobody_listens_on(examine):
    finding = examine("rsync://127.0.0.1:{}/repo/".format(free_port()))["rsync"]
    assert finding.verdict == "problem" and "it does not answer: unreachable" in words(finding)


def test_without_an_rsync_url_the_prerequisite_is_open(examine):
    finding = examine("")["rsync"]
    assert finding.verdict == "unknown" and "--rsync rsync://HOST/MODULE/" in finding.remedy


def test_without_an_rsync_program_nothing_is_said_against_the_mirror(examine, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = examine("rsync://127.0.0.1/repo/")["rsync"]
    assert finding.verdict == "unknown" and "install rsync" in finding.remedy


@pytest.mark.parametrize("code, said, verdict", [
    (1, b"ERROR: module is read only\nrsync: [sender] read error: Connection reset by peer (104)\n", "ok"),
    (5, b"@ERROR: auth failed on module repo\n", "ok"),
    (10, b"rsync: [sender] read error: Connection reset by peer (104)\n", "ok"),  # the words before it are lost at times
    (12, b"rsync: connection unexpectedly closed (0 bytes received so far) [sender]\n", "ok"),
    (10, b"rsync: failed to connect to 127.0.0.1: Connection refused (111)\n", "unknown"),
    (30, b"[sender] io timeout after 4 seconds -- exiting\n", "unknown"),
    (23, b'rsync: mkstemp ".x.Ab12Cd" (in repo) failed: Permission denied (13)\n', "problem"),
])
def test_an_upload_counts_as_refused_only_if_the_daemon_refused_it(code, said, verdict):
    finding = judge_refusal(rsync_error(code, said, "rsync://h/m/"))
    assert finding.verdict == verdict and not finding.values.get("accepted")


def test_files_that_anybody_on_the_server_may_write_are_told():
    entries = [RsyncEntry("8", "folder", 0, 0, "rwxrwxrwx"), RsyncEntry("isos", "folder", 0, 0, "rwxr-xr-x")]
    finding = judge_top(entries, "rsync://h/m/")
    assert finding.verdict == "warning" and "writable by every user of the server: 8" in words(finding)
