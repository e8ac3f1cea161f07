"""The rsync program as a client: its command line and environment, its listings, its ways to fail; a real daemon."""
import os
import shutil
import socket
import stat
import sys
import threading
import time

import pytest

from tests.lab.rsyncd import RsyncDaemon, free_port
from tests.support.waiting import AT_ONCE_SECONDS, ends
from yum_plugin.errors import FetchError, UsageError
from yum_plugin.operators.rsync import (
    RsyncAddress,
    RsyncLimits,
    listing,
    parse_address,
    parse_entry,
    rsync_error,
    run_rsync,
    unsafe_name,
)
from yum_plugin.privsep.confine import PASSWD, user_in
from yum_plugin.privsep.program import lent, renew

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="only root can give up root")
LIMITS = RsyncLimits(connect_seconds=60, silent_seconds=60, seconds=180)


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "f").write_text("hello")
    os.utime(str(folder / "a" / "b" / "f"), (1000000000, 1000000000))
    return folder


@pytest.fixture
def daemon(tmp_path, tree):
    with RsyncDaemon(tmp_path / "daemon", {"repo": tree}) as daemon:
        yield daemon


# Addresses.


@pytest.mark.parametrize("text, address, url", [
    ("rsync://updates.xcp-ng.org/repo/", RsyncAddress("updates.xcp-ng.org", 873, "repo", ""), "rsync://updates.xcp-ng.org/repo/"),
    ("rsync://updates.xcp-ng.org/repo", RsyncAddress("updates.xcp-ng.org", 873, "repo", ""), "rsync://updates.xcp-ng.org/repo/"),
    ("rsync://h:8873/m/a/b.c-d~1/", RsyncAddress("h", 8873, "m", "a/b.c-d~1"), "rsync://h:8873/m/a/b.c-d~1/"),
    ("rsync://[::1]:8873/m", RsyncAddress("[::1]", 8873, "m", ""), "rsync://[::1]:8873/m/"),
    ("rsync://127.0.0.1", None, ""),
    ("rsync://127.0.0.1/", RsyncAddress("127.0.0.1", 873, "", ""), "rsync://127.0.0.1/"),
])
def test_an_address_is_read_and_written(text, address, url):
    if address is None:
        with pytest.raises(ValueError):
            parse_address(text)
    else:
        assert parse_address(text) == address and address.url == url


@pytest.mark.parametrize("text", [
    "", "repo", "host::repo/", "ssh://h/m", "rsync:h/m", "RSYNC://h/m", "rsync://user@h/m", "rsync://user:word@h/m", "rsync://-e/m",
    "rsync://h/-m", "rsync://h/--daemon", "rsync://h:0/m", "rsync://h:65536/m", "rsync://h:x/m", "rsync://h/m/../x", "rsync://h/m/./x",
    "rsync://h/m//x", "rsync://h/..", "rsync://h/m/*", "rsync://h/m/a[1]", "rsync://h/m/$(id)", "rsync://h/m/a b", "rsync://h/m/a\nb",
    "rsync://h/m\n", "rsync://h/m/\\#012", "rsync://h/m/%2e%2e", "rsync://h/é", "rsync://a..b/m", "rsync:///m", "rsync://[::1/m",
])  # fmt: skip
def test_what_is_no_plain_address_is_refused_in_words_that_repeat_nothing_of_it(text):
    with pytest.raises(ValueError) as refused:
        parse_address(text)
    assert "$" not in str(refused.value) and "\n" not in str(refused.value)


# Lines.


@pytest.mark.parametrize("line, path, kind, size, mtime, target", [
    (b"-rw-r--r--        1234 2026/11/26 03:03:31 a b", "a b", "file", 1234, 1795662211, ""),
    (b"drwxr-xr-x        4096 1960/01/01 00:00:00 d", "d", "folder", 4096, -315619200, ""),
    (b"lrwxrwxrwx           1 2026/11/26 03:03:31 l -> m -> n", "l", "link", 1, 1795662211, "m -> n"),
    (b"-rwsr-sr-t           1 2026/11/26 03:03:31 x -> y", "x -> y", "file", 1, 1795662211, ""),
    (b"brw-rw----           0 2026/11/26 03:03:31 sda", "sda", "device", 0, 1795662211, ""),
    (b"crw-rw----           0 2026/11/26 03:03:31 null", "null", "device", 0, 1795662211, ""),
    (b"prw-r--r--           0 2026/11/26 03:03:31 fifo", "fifo", "special", 0, 1795662211, ""),
    (b"srw-r--r--           0 2026/11/26 03:03:31 socket", "socket", "special", 0, 1795662211, ""),
    (b"-rw-r--r--           1 2026/11/26 03:03:31  lead ", " lead ", "file", 1, 1795662211, ""),
    (b"-rw-r--r--           1 2026/11/26 03:03:31 new\\#012line", "new\nline", "file", 1, 1795662211, ""),
    (b"-rw-r--r--           1 2026/11/26 03:03:31 bad\\#377", "bad\udcff", "file", 1, 1795662211, ""),
    (b"-rw-r--r--           1 2026/11/26 03:03:31 \\#303\\#251\\#134#012", "é\\#012", "file", 1, 1795662211, ""),
    (b"-rw-r--r--           1 2026/11/26 03:03:31 ../../etc/cron.d/x", "../../etc/cron.d/x", "file", 1, 1795662211, ""),
])  # fmt: skip
def test_a_line_of_a_listing_is_read_to_the_byte(line, path, kind, size, mtime, target):
    entry = parse_entry(line)
    assert (entry.path, entry.kind, entry.size, entry.mtime, entry.target) == (path, kind, size, mtime, target)


@pytest.mark.parametrize("line", [
    b"", b"hello", b"-rw-r--r-- 1 2026/11/26 03:03:31 ", b"-rw-r--r-- 1 2026/13/26 03:03:31 x", b"?rw-r--r-- 1 2026/11/26 03:03:31 x",
    b"-rw-r--r-- 1,234 2026/11/26 03:03:31 x", b"-rw-r--r-- -1 2026/11/26 03:03:31 x", b"-rw-r--r-- 1 20266/11/26 03:03:31 x",
])
def test_what_is_no_line_of_a_listing_is_refused(line):
    with pytest.raises(ValueError):
        parse_entry(line)


@pytest.mark.parametrize("path, safe", [
    ("a/b", True), ("a -> b", True), ("é", True), ("bad\udcff", True), ("...", True), ("..", False), ("a/../b", False), ("/etc/passwd", False),
    ("a//b", False), ("a/", False), ("", False), ("a\nb", False), ("a\x7f", False), ("./a", False),
])
def test_a_name_that_leaves_its_folder_or_breaks_lines_is_told(path, safe):
    assert (unsafe_name(path) == "") == safe


# A real daemon.


def test_a_module_is_listed_without_the_words_of_its_host(daemon):
    found = {entry.path: entry for entry in listing(parse_address(daemon.url("repo")), LIMITS)}
    assert set(found) == {"a", "a/b", "a/b/f"}
    assert found["a/b/f"][1:] == ("file", 5, 1000000000, "rw-r--r--", "") and found["a"].kind == "folder"


def test_a_part_of_a_module_and_a_single_folder_are_listed(daemon):
    assert [entry.path for entry in listing(parse_address(daemon.url("repo/a")), LIMITS)] == ["b", "b/f"]
    assert [entry.path for entry in listing(parse_address(daemon.url("repo")), LIMITS, below="a/b")] == ["f"]
    assert [entry.path for entry in listing(parse_address(daemon.url("repo")), LIMITS, recursive=False)] == ["a"]


def test_every_name_and_kind_arrives_as_it_is(daemon, tree):
    for name in ("new\nline", "bad\udcff", "b\\#012", "é", " -> "):
        (tree / name).write_text("x")
    (tree / "link").symlink_to("/etc/passwd")
    os.mkfifo(str(tree / "fifo"))
    (tree / "setuid").write_text("x")
    (tree / "setuid").chmod(0o4755)
    found = {entry.path: entry for entry in listing(parse_address(daemon.url("repo")), LIMITS)}
    assert {name for name, entry in found.items() if entry.unsafe} == {"new\nline"}
    assert {name for name, entry in found.items() if not entry.is_utf8} == {"bad\udcff"}
    assert (found["link"].kind, found["link"].target, found["fifo"].kind) == ("link", "/etc/passwd", "special")
    assert found["setuid"].permissions == "rwsr-xr-x" and {"b\\#012", "é", " -> "} <= set(found)


@pytest.mark.parametrize("change, reference", [({"max_entries": 2}, "too-large"), ({"max_line_bytes": 40}, "too-large")])
def test_an_endless_listing_ends_at_its_cap(change, reference, daemon):
    with pytest.raises(FetchError) as refused:
        list(listing(parse_address(daemon.url("repo")), LIMITS._replace(**change)))
    assert refused.value.reference == reference


@pytest.mark.parametrize("path, reference, words", [
    ("none", "rsync-refused", "Unknown module 'none'"), ("repo/none", "rsync-partial", "No such file or directory"),
])
def test_what_is_not_there_is_told_in_the_daemons_words(path, reference, words, daemon):
    with pytest.raises(FetchError) as refused:
        list(listing(parse_address(daemon.url(path)), LIMITS))
    assert refused.value.reference == reference and words in refused.value.what and daemon.url(path) in refused.value.where


def test_a_module_with_a_password_asks_nobody(tmp_path, tree):
    with RsyncDaemon(tmp_path / "daemon", {"repo": tree}, **{"auth users": "somebody", "secrets file": "/none"}) as daemon:
        with pytest.raises(FetchError) as refused:
            list(listing(parse_address(daemon.url("repo")), LIMITS))
    assert refused.value.reference == "rsync-refused" and "auth failed" in refused.value.what


def test_a_listing_follows_no_link(daemon, tree):
    os.symlink("loop", str(tree / "loop"))
    shutil.rmtree(str(tree / "a" / "b"))
    os.symlink("../a", str(tree / "a" / "b"))
    assert {entry.path for entry in listing(parse_address(daemon.url("repo")), LIMITS)} == {"a", "a/b", "loop"}


def test_nobody_listening_is_unreachable():
    with pytest.raises(FetchError) as refused:
        list(listing(RsyncAddress("127.0.0.1", free_port(), "repo", ""), LIMITS))
    assert refused.value.reference == "unreachable"


@pytest.mark.parametrize("greeting, bounds, reference", [
    (b"", LIMITS._replace(connect_seconds=1, silent_seconds=1), "timed-out"),
    (b"", LIMITS._replace(seconds=0.5), "timed-out"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", LIMITS, "rsync-refused"),
    (b"@RSYNCD: 31.0\n", LIMITS._replace(silent_seconds=1), "timed-out"),
])
def test_a_server_that_is_silent_or_none_ends_in_time(greeting, bounds, reference):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        held = []

        def answer():
            connection = server.accept()[0]
            held.append(connection)
            connection.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        began = time.monotonic()
        with pytest.raises(FetchError) as refused:
            list(listing(RsyncAddress("127.0.0.1", server.getsockname()[1], "repo", ""), bounds))
        thread.join()
        held[0].close()
    assert refused.value.reference == reference and time.monotonic() - began < AT_ONCE_SECONDS


# The program itself.


def test_nothing_of_the_callers_environment_says_how_rsync_runs(rsync_stand_in, open_path, monkeypatch):
    rsync_stand_in('env >{0}/env; echo "$@" >{0}/words\n'.format(open_path))
    for name in ("RSYNC_RSH", "RSYNC_PROXY", "RSYNC_PASSWORD", "RSYNC_CONNECT_PROG", "RSYNC_OLD_ARGS", "TZ", "LANG", "LD_PRELOAD_X"):
        monkeypatch.setenv(name, "trap")
    assert list(listing(RsyncAddress("h", 873, "m", ""), LIMITS)) == []
    assert "trap" not in (open_path / "env").read_text() and "TZ=UTC" in (open_path / "env").read_text()
    words = (open_path / "words").read_text().split()
    assert words[-2:] == ["--", "rsync://h/m/"] and {"--no-motd", "--timeout=60", "--contimeout=60", "--list-only"} <= set(words)
    assert list(listing(RsyncAddress("h", 873, "m", ""), LIMITS._replace(proxy="proxy:3128"))) == []
    assert "RSYNC_PROXY=proxy:3128" in (open_path / "env").read_text()


def test_a_machine_without_rsync_says_so(monkeypatch, open_path):
    monkeypatch.setenv("PATH", str(open_path))
    with pytest.raises(UsageError) as refused:
        list(listing(RsyncAddress("h", 873, "m", ""), LIMITS))
    assert "install" in refused.value.hint


def test_who_reads_no_further_ends_the_program_and_all_that_it_started(rsync_stand_in, open_path):
    rsync_stand_in("echo $$ >{}/pid\nwhile :; do echo '-rw-r--r-- 1 2026/11/26 03:03:31 x'; done\n".format(open_path))
    entries = listing(RsyncAddress("h", 873, "m", ""), LIMITS)
    assert next(entries).path == "x"
    entries.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((open_path / "pid").read_text()), 0)


def test_what_it_says_endlessly_on_stderr_is_kept_in_part(rsync_stand_in):
    rsync_stand_in("head -c 3000000 /dev/zero | tr '\\0' 'x' >&2\necho >&2\necho '@ERROR: full' >&2\nexit 5\n")
    with pytest.raises(FetchError) as refused:
        list(listing(RsyncAddress("h", 873, "m", ""), LIMITS))
    assert refused.value.reference == "rsync-refused" and "full" in refused.value.what and len(refused.value.what) < 20000


@pytest.mark.parametrize("line", ["Welcome!", "-rw-r--r-- x", "receiving file list"])
def test_what_is_no_listing_is_a_bad_answer_and_not_an_empty_one(line, rsync_stand_in):
    rsync_stand_in("echo '{}'\n".format(line))
    with pytest.raises(FetchError) as refused:
        list(listing(RsyncAddress("h", 873, "m", ""), LIMITS))
    assert refused.value.reference == "bad-answer"


def test_a_line_that_was_cut_off_is_no_entry(rsync_stand_in):
    rsync_stand_in("printf -- '-rw-r--r-- 1 2026/11/26 03:03:31 whole\\n-rw-r--r-- 1 2026/11/26 03:03:31 ha'\nexit 12\n")
    found = []
    with pytest.raises(FetchError) as refused:
        for entry in listing(RsyncAddress("h", 873, "m", ""), LIMITS):
            found.append(entry.path)
    assert found == ["whole"] and refused.value.reference == "truncated"


@pytest.mark.parametrize("code, said, kind, reference", [
    (1, b"rsync: --x: unknown option\n", UsageError, "configuration"), (2, b"", FetchError, "bad-answer"), (5, b"@ERROR: x\n", FetchError, "rsync-refused"),
    (10, b"", FetchError, "unreachable"), (11, b"rsync: [receiver] write failed: No space left on device (28)\n", UsageError, "state"),
    (11, b"rsync: [sender] read failed\n", FetchError, "rsync-failed"), (12, b"", FetchError, "truncated"), (23, b"", FetchError, "rsync-partial"),
    (24, b"", FetchError, "rsync-partial"), (30, b"", FetchError, "timed-out"), (35, b"", FetchError, "timed-out"), (-9, b"", FetchError, "rsync-failed"),
])
def test_every_exit_code_has_a_reference(code, said, kind, reference):
    error = rsync_error(code, said, "rsync://h/m/")
    assert type(error) is kind and error.reference == reference and error.what


def test_the_group_is_gone_when_the_block_is_left(rsync_stand_in, open_path):
    rsync_stand_in("sleep 600 & echo $! >{0}/child; echo x; wait\n".format(open_path))
    with run_rsync(["--", "rsync://h/m/"], LIMITS, "h") as run:
        assert next(run.lines(100)) == b"x"
    assert ends((open_path / "child").read_text().strip())


# What a program that has been taken over can do.


@needs_root
def test_rsync_has_no_root_no_capability_and_no_new_privilege_and_its_calls_are_filtered(rsync_stand_in):
    rsync_stand_in("cat /proc/self/status\n")
    with run_rsync(["--", "rsync://h/m/"], LIMITS, "h") as run:
        status = dict(line.decode("ascii").split(":\t", 1) for line in run.lines(1000) if b":\t" in line)
    user = str(user_in(PASSWD)[0])
    assert status["Uid"].split() == [user] * 4 and status["Groups"].split() == []
    assert (int(status["CapEff"], 16), status["NoNewPrivs"], status["Seccomp"]) == (0, "1", "2")


@needs_root
def test_a_program_that_was_taken_over_stays_in_its_group_and_reaches_no_other_process_key_namespace_or_file_of_root(rsync_stand_in, open_path):
    secret = open_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    tries = {"leave its group": "os.setsid()", "group": "os.setpgid(0, 0)", "a namespace": "call(272, 0x10000000)", "ptrace": "call(101, 16, 1)",
             "keyring": "call(250, 0)", "io_uring": "call(425, 1, 0)", "bpf": "call(321, 0)", "packets": "socket.socket(17, 3)",
             "signal root": "os.kill({}, 0)".format(os.getpid()), "read": "open({!r})".format(str(secret)), "root": "os.setuid(0)",
             "clone a namespace": "call(56, 0x10000011)", "clone3": "call(435, 0, 0)"}
    script = ("import ctypes, os, socket\ndef call(number, *rest):\n    libc = ctypes.CDLL(None, use_errno=True)\n"
              "    if libc.syscall(number, *rest) < 0:\n        raise OSError(ctypes.get_errno(), '')\n"
              "for name, words in {!r}.items():\n    try:\n        eval(words)\n        print(name, 0, flush=True)\n"
              "    except OSError as error:\n        print(name, error.errno, flush=True)\n").format(tries)
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the calls are those of x86_64")
    rsync_stand_in("exec /usr/bin/env python3 - <<'END'\n{}END\n".format(script))
    with run_rsync(["--", "rsync://h/m/"], LIMITS, "h") as run:
        found = dict(line.decode("ascii").rsplit(" ", 1) for line in run.lines(1000))
        run.finish()
    assert set(found) == set(tries) and found.pop("clone3") == "38" and found.pop("read") == "13"
    assert set(found.values()) == {"1"}, found


@needs_root
def test_a_folder_that_was_lent_comes_back_with_plain_files_and_folders_only(open_path):
    stage = open_path / "stage"
    (stage / "old").mkdir(parents=True)
    (stage / "old" / "whole").write_text("x")
    user = user_in(PASSWD)[0]
    with lent(str(stage)):
        assert {path.stat().st_uid for path in [stage] + list(stage.rglob("*"))} == {user}
        (stage / "old" / "link").symlink_to("/etc")
        os.mkfifo(str(stage / "pipe"))
        (stage / "twice").write_text("y")
        os.link(str(stage / "twice"), str(open_path / "elsewhere"))
        (stage / "mine").write_text("#!/bin/sh")
        (stage / "mine").chmod(0o4777)
        os.chmod(str(stage), 0o777)
    left = {str(path.relative_to(stage)): (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) for path in stage.rglob("*")}
    assert left == {"old": (0, 0o700), "old/whole": (0, 0o600), "mine": (0, 0o600)}
    assert (stage.stat().st_uid, stat.S_IMODE(stage.stat().st_mode)) == (0, 0o700) and os.listdir("/etc")


@needs_root
def test_a_folder_that_was_never_taken_back_is_copied_at_the_next_start(open_path):
    """Whoever still has a file of it open has another one than that which is proven."""
    (open_path / "link").symlink_to("/etc")
    (open_path / "part").write_text("so far")
    os.chown(str(open_path / "part"), *user_in(PASSWD)[:2])
    with open(str(open_path / "part"), "a") as held:
        renew(str(open_path))
        held.write(", and evil")
    assert os.listdir(str(open_path)) == ["part"] and (open_path / "part").read_text() == "so far"
    assert {path.stat().st_uid for path in (open_path, open_path / "part")} == {os.geteuid()}
