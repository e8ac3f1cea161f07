"""The command as people and programs meet it: tables, JSON, exit codes, Ctrl-C, hostile names."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.faults import faults_named
from tests.lab.lab import ALLOWED
from tests.support.command import COMMAND, ROOT, TABLE, TIME, UPDATES, everybody
from tests.support.terminal import Terminal
from tests.support.world import NOW
from yum_plugin.cli.common.console import Cell, Column, printable, shortened, table, width_of
from yum_plugin.cli.status import STALE_SECONDS, status_of
from yum_plugin.host.settings import read_settings
from yum_plugin.model import Repository, Snapshot
from yum_plugin.state.memory import Decision, Memory, Record
from yum_plugin.state.store import State

HOSTILE = "evil \x1b]0;owned\x07\x1b[2J \u202egnp.exe z\u0301\u0302 \u4e2d\u6587 <b>&amp;"
RUN = "import os, sys; from yum_plugin.cli.main import main; {}; sys.exit(main(sys.argv[1:]))"


def bad_origin(lab, fault):
    lab.origin.faults = faults_named(fault)


# The table.


def test_every_mirror_is_shown_with_what_is_wrong_with_it(admin):
    everybody(admin)
    found = admin.json("mirrors", *UPDATES)["repositories"][0]
    rows = {row["name"]: row for row in found["mirrors"]}
    assert {name: (row["state"], row["reference"]) for name, row in rows.items()} == dict(
        {name: (state, reference) for name, _, state, reference in TABLE}, origin=("ok", ""))
    assert rows["left"]["detail"] == "File size mismatch" and rows["good"]["country"] == "DE"
    assert rows["good"]["rank"] == 1 and rows["origin"]["rank"] is None
    assert rows["old"]["lag_seconds"] > 0 and rows["good"]["lag_seconds"] is None
    assert 0 < rows["good"]["first_byte_seconds"] < 5 and TIME.match(rows["good"]["certificate_expires_at"])
    assert found["usable"][0] == rows["good"]["url"] and found["updatable"] and found["error"] is None


def test_the_plain_table_has_one_line_a_mirror_and_a_summary(admin):
    everybody(admin)
    done = admin.run("mirrors", *UPDATES)
    lines = done.stdout.splitlines()
    assert lines[0] == "xcp-ng-updates" and len(lines) == 2 + len(TABLE) + 1 + 1
    for name, _, state, reference in TABLE:
        assert sum(1 for line in lines if re.search(r"\b{}  +{}\b.*{}".format(name, state, reference), line)) == 1
    assert re.match(r"2 of 9 mirrors serve revision \d+ \(updated \d+ \w+ ago\); xcp-ng-updates can be updated$", lines[-1])
    assert "\x1b" not in done.stdout + done.stderr
    assert not os.path.exists(admin.path("state")), "looking must not write"


def test_both_repositories_are_shown_when_none_is_named(admin):
    admin.lab.add_mirror("good")
    done = admin.run("mirrors")
    assert done.returncode == 0
    assert done.stdout.count("can be updated") == 2 and done.stdout.startswith("xcp-ng-base\n")


def test_the_known_list_is_used_and_told_when_the_redirector_is_down(admin):
    admin.lab.add_mirror("good")
    assert admin.run("refresh", *UPDATES).returncode == 0
    admin.lab.redirector.down()
    done = admin.run("mirrors", *UPDATES)
    assert "the redirector sent no list" in done.stdout and "can be updated" in done.stdout


def test_quiet_says_only_what_is_wrong(admin):
    admin.lab.add_mirror("good")
    for subcommand in ("mirrors", "refresh", "status"):
        done = admin.run(subcommand, "-q", *UPDATES)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_names_and_reasons_of_servers_cannot_steer_the_terminal(admin):
    admin.lab.add_mirror("good", sponsor=HOSTILE)
    admin.lab.add_mirror("left", sponsor=HOSTILE)
    admin.lab.exclude("left", HOSTILE)
    for done in (admin.run("mirrors", *UPDATES), admin.run("mirrors", "--json", *UPDATES)):
        assert "evil" in done.stdout
        assert all(letter.isprintable() for letter in done.stdout.replace("\n", ""))
    terminal = Terminal(admin.words("mirrors", *UPDATES), columns=200)
    assert terminal.end()[0] == 0
    assert "evil" in "".join(terminal.screen())  # Screen refuses any sequence that is not ours


def test_a_locale_without_unicode_is_no_error(admin):
    admin.lab.add_mirror("good", sponsor="Universit\u00e9 \u4e2d")
    done = subprocess.run(admin.words("mirrors", *UPDATES), cwd=ROOT, stdout=subprocess.PIPE, timeout=30,
                          env=dict(os.environ, PYTHONIOENCODING="ascii"))
    assert done.returncode == 0 and b"Universit? ?" in done.stdout


# On a terminal.


def test_rows_fill_in_live_and_fit_80_columns(admin):
    everybody(admin)
    terminal = Terminal(admin.words("mirrors", *UPDATES))
    terminal.wait_for(r"\d of 9 mirrors answered")
    assert terminal.end()[0] == 1
    assert "\x1b[2masking" in terminal.text and "\x1b[32mok" in terminal.text
    lines = terminal.screen()
    assert max(width_of(line) for line in lines) == 80
    assert any(len(line) == 80 and line.endswith("..") for line in lines), "a shortened reason, its last character still there"
    assert lines[0] == "xcp-ng-updates" and "asking" not in "".join(lines)
    assert sum(": " in line and "of 9" not in line for line in lines if line.startswith(tuple("123456789"))) >= 3
    assert "can be updated" in " ".join(line.strip() for line in lines[-5:])


def test_a_narrow_terminal_still_gets_whole_lines(admin):
    everybody(admin)
    terminal = Terminal(admin.words("mirrors", *UPDATES), columns=50)
    terminal.end()
    assert max(width_of(line) for line in terminal.screen()) <= 50


def test_a_table_longer_than_the_terminal_is_shown_once_and_whole(admin):
    everybody(admin)
    terminal = Terminal(admin.words("mirrors"), rows=8)
    terminal.end()
    lines = terminal.screen()
    for mirror in admin.lab.mirrors.values():
        assert sum(mirror.server.authority in line for line in lines if not line.startswith("xcpng")) == 2  # one a repository
    assert sum(line.startswith("xcp-ng-") for line in lines) == 2


@pytest.mark.parametrize("environment, escapes", [({"NO_COLOR": "1"}, r"\x1b\[\d*m"), ({"TERM": "dumb"}, r"\x1b")])
def test_no_colour_where_none_is_wanted(environment, escapes, admin):
    admin.lab.add_mirror("good")
    terminal = Terminal(admin.words("mirrors", *UPDATES), columns=120, **environment)
    assert terminal.end()[0] == 0
    assert "can be updated" in terminal.text and not re.search(escapes, terminal.text)


@pytest.mark.parametrize("json_wanted", [[], ["--json"]])
def test_progress_goes_to_stderr_when_stdout_is_a_pipe(json_wanted, admin):
    admin.lab.add_mirror("good")
    terminal = Terminal(admin.words("mirrors", *(UPDATES + json_wanted)), streams=("stderr",))
    code, stdout = terminal.end()
    assert code == 0 and "2 of 2 mirrors answered" in terminal.text
    assert "".join(terminal.screen()) == "" and "\x1b" not in stdout


def test_ctrl_c_ends_at_once_and_leaves_the_terminal_sane(admin):
    admin.lab.add_mirror("silent", "mute")
    admin.settings(read_timeout=60, deadline=100)
    terminal = Terminal(admin.words("mirrors", *UPDATES))
    terminal.wait_for("1 of 2 mirrors answered")
    terminal.child.send_signal(signal.SIGINT)
    assert terminal.end()[0] == 130
    assert "Traceback" not in terminal.text and "\x1b[?25l" not in terminal.text  # the cursor was never hidden
    assert terminal.screen()[-1] == ""  # the prompt starts on a line of its own


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=400)), max_size=5), st.integers(min_value=12, max_value=200))
def test_a_table_of_any_texts_fits_any_width(rows, width):
    columns = (Column("#", right=True), Column("A", least=5), Column("B", least=3, optional=True))
    lines = table(columns, [[Cell("7"), Cell(first), Cell(second, "bad")] for first, second in rows], width, colour=False)
    assert len(lines) == 1 + len(rows)
    assert all(width_of(line) <= width and line.isprintable() for line in lines)


@pytest.mark.parametrize("text, width, expected", [
    ("mirror.example.org", 10, "mirror.e.."), ("short", 10, "short"), ("\u4e2d\u6587\u4e2d\u6587", 6, "\u4e2d\u6587.."),
    ("ab", 1, "."), ("any", 0, "any"),
])
def test_texts_are_shortened_by_the_columns_they_take(text, width, expected):
    assert shortened(text, width) == expected


@pytest.mark.parametrize("text, expected", [
    ("a\x1b[31mb\r\nc", "a?[31mb??c"), ("\u202egnp", "?gnp"), ("e\u0301", "\u00e9"), ("z\u0334\u0335", "z??"),
    ("x" * 1000, "x" * 300),
])
def test_only_printable_characters_are_kept(text, expected):
    assert printable(text) == expected


# Exit codes.


def test_exit_code_0_all_is_well_is_said_in_one_line(admin):
    admin.lab.add_mirror("good")
    done = admin.run("refresh", *UPDATES)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"xcp-ng-updates: revision \d+ \(updated .* ago\), best first: 127.*\n\Z", done.stdout)
    assert os.path.exists(admin.path("state/xcp-ng-updates/metalink.xml"))


@pytest.mark.parametrize("subcommand", ["mirrors", "refresh"])
def test_exit_code_1_a_mirror_was_refused_beside_good_ones(subcommand, admin):
    for name, fault in (("tampered", "bad-signature"), ("good", ""), ("better", "")):
        admin.lab.add_mirror(name, fault)
    assert admin.run(subcommand, *UPDATES).returncode == 1


@pytest.mark.parametrize("arguments, reference", [
    (["mirrors", "--repo", "xcp-ng-nowhere"], "no-repository"),
    (["refresh", "--accept-rollback"], "--accept-rollback needs --repo"),
    (["status", "--reposdir", "/nowhere/at/all"], "no such file or folder"),
    (["mirrors", "--colour"], "unrecognized arguments"),
    (["mirors"], "invalid choice"),
    ([], "a subcommand is missing"),
])
def test_exit_code_2_what_was_asked_is_wrong(arguments, reference, admin):
    done = subprocess.run(COMMAND + arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert reference in done.stderr and "Traceback" not in done.stderr


def test_exit_code_2_a_key_that_others_can_change(admin):
    key = admin.path("key")
    with open(key, "w"):
        os.chmod(key, 0o666)
    with open(os.path.join(admin.repos, "xcp-ng.repo")) as stream:
        text = stream.read()
    with open(os.path.join(admin.repos, "xcp-ng.repo"), "w") as stream:
        stream.write(text.replace(admin.lab.key_file, key))
    done = admin.run("mirrors", *UPDATES)
    assert done.returncode == 2 and "key-file: " in done.stderr and "chmod go-w" in done.stderr


def test_exit_code_3_nobody_can_be_reached(admin):
    admin.lab.add_mirror("gone", "refused")
    admin.lab.origin.server.refuse()
    for subcommand in ("mirrors", "refresh"):
        done = admin.run(subcommand, *UPDATES)
        assert done.returncode == 3 and done.stderr.startswith("xcpng-mirrors: xcp-ng-updates: unreachable: ")


def test_exit_code_4_nobody_offers_what_the_key_has_signed(admin):
    admin.lab.add_mirror("tampered", "bad-signature")
    bad_origin(admin.lab, "bad-signature")
    for subcommand in ("mirrors", "refresh"):
        done = admin.run(subcommand, *UPDATES)
        assert done.returncode == 4 and "signature-invalid: " in done.stderr


def test_exit_code_4_refused_beats_unreachable(admin):
    """One repository cannot be reached, the other is a rollback."""
    admin.lab.add_mirror("good")
    admin.accept()
    admin.lab.publish("old")
    gone = admin.lab.add_mirror("gone", "refused").server.authority
    with open(os.path.join(admin.repos, "z.repo"), "w") as stream:
        stream.write("[xcp-ng-gone]\nbaseurl=https://{}/\ngpgkey=file://{}\n".format(gone, admin.lab.key_file))
    assert admin.run("refresh", "--repo", "xcp-ng-gone").returncode == 3
    assert admin.run("refresh", "--repo", "xcp-ng-gone", *UPDATES).returncode == 4


@pytest.mark.parametrize("verbose", [False, True])
def test_exit_code_5_a_bug_is_one_line_and_its_traceback_is_in_the_log(verbose, admin):
    break_it = "import yum_plugin.cli.status as status; status.status_of = lambda *any: 1 // 0"
    words = admin.words("status", *(["-v"] if verbose else []))
    done = subprocess.run([sys.executable, "-c", RUN.format(break_it)] + words[3:], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith("xcpng-mirrors: internal: ZeroDivisionError")
    assert ("Traceback" in done.stderr) == verbose
    with open(admin.path("log")) as stream:
        assert "ZeroDivisionError" in stream.read()


def test_head_closing_the_pipe_is_no_error(admin):
    admin.lab.add_mirror("good")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    for words in (admin.words("mirrors", *UPDATES), COMMAND + ["--version"]):
        done = subprocess.run(words, cwd=ROOT, env=environment, stdout=writer, stderr=subprocess.PIPE, timeout=30)
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(writer)


# JSON.


@pytest.mark.parametrize("subcommand, moment", [("mirrors", "asked_at"), ("refresh", "refreshed_at"), ("status", "now")])
def test_json_is_one_object_with_a_schema_number(subcommand, moment, admin):
    admin.lab.add_mirror("good")
    admin.accept()
    done = admin.run(subcommand, "--json", *UPDATES)
    values = json.loads(done.stdout)
    assert list(values)[:2] == ["schema", "command"]
    assert (values["schema"], values["command"], values["warnings"]) == (1, subcommand, [])
    assert TIME.match(values[moment])
    snapshot = values["repositories"][0]["resolved" if subcommand == "status" else "current"]
    assert TIME.match(snapshot["updated_at"]) and snapshot["age_seconds"] > 0 and len(snapshot["sha256"]) == 64
    assert [repository["id"] for repository in values["repositories"]] == ["xcp-ng-updates"]


@pytest.mark.parametrize("subcommand", ["mirrors", "refresh"])
def test_json_names_the_error_and_stderr_words_it(subcommand, admin):
    admin.lab.add_mirror("tampered", "bad-signature")
    bad_origin(admin.lab, "bad-signature")
    done = admin.run(subcommand, "--json", *UPDATES)
    error = json.loads(done.stdout)["repositories"][0]["error"]
    assert (error["reference"], error["exit_code"], done.returncode) == ("signature-invalid", 4, 4)
    assert error["what"] in done.stderr


def test_a_bad_setting_is_told_with_file_and_line_and_stops_nothing(admin):
    admin.lab.add_mirror("good")
    admin.settings(enough="many")
    done = admin.run("mirrors", "--json", *UPDATES)
    assert done.returncode == 0 and re.search(r"x\.conf: line \d+: enough: ", done.stderr)
    assert len(json.loads(done.stdout)["warnings"]) == 1


# refresh: the high-water mark.


def test_a_rollback_is_refused_until_the_admin_says_that_it_is_none(admin):
    admin.lab.add_mirror("good")
    admin.accept("new")
    admin.lab.publish("old")
    for subcommand in ("mirrors", "refresh"):
        done = admin.run(subcommand, *UPDATES)
        assert done.returncode == 4 and "rollback: " in done.stderr
    rows = admin.json("mirrors", *UPDATES)["repositories"][0]["mirrors"]
    assert {(row["state"], row["reference"]) for row in rows} == {("refused", "rollback")}
    mark = admin.json("status", *UPDATES)["repositories"][0]["accepted"]["sha256"]
    done = admin.run("refresh", "--accept-rollback", "--dry-run", *UPDATES)
    assert done.returncode == 0 and re.search(
        r"the high-water mark would be lowered from revision \d+ \(data of [0-9TZ:-]+, signed [0-9TZ:-]+\) to revision", done.stderr)
    assert admin.json("status", *UPDATES)["repositories"][0]["accepted"]["sha256"] == mark, "nothing was changed"
    done = admin.run("refresh", "--accept-rollback", *UPDATES)
    assert done.returncode == 0 and "the high-water mark was lowered from revision " in done.stderr
    assert admin.run("refresh", *UPDATES).returncode == 0


def test_a_refresh_alone_does_not_raise_the_high_water_mark(admin):
    admin.lab.add_mirror("good")
    assert admin.run("refresh", *UPDATES).returncode == 0
    assert admin.json("status", *UPDATES)["repositories"][0]["accepted"] is None


def test_the_timer_asks_no_mirror_where_nothing_is_new_and_an_admin_does(admin):
    admin.lab.add_mirror("good")
    admin.accept("new")
    before, listed = len(admin.lab.log.requests("good")), len(admin.lab.log.requests("redirector"))
    done = admin.run("refresh", "--if-needed", "--quiet", *UPDATES)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(admin.lab.log.requests("good")) == before
    assert [entry.target.partition("?")[2] for entry in admin.lab.log.requests("redirector")[listed:]][0] == "sha256"
    assert admin.run("refresh", *UPDATES).returncode == 0
    assert len(admin.lab.log.requests("good")) > before


# status.

REPOSITORY = Repository("xcp-ng-updates", ("http://mirrors.xcp-ng.org/8/",), "8/", ("/key",), ("A" * 40,))
SNAPSHOT = Snapshot("ab" * 32, 3000, 7, NOW - 90000, NOW - 80000)
URLS = ("https://a.example/8/", "https://b.example/8/")
HEALTHY = Memory(snapshot=SNAPSHOT, usable=URLS, resolved_at=float(NOW - 180),
                 records={url: Record("ok", "", NOW - 180, 0, 0, 0.1, None) for url in URLS})
FAILED = Record("unreachable", "refused", NOW - 60, 1, NOW + 3540, 0.0, None)


def remembered(folder, memory):
    state = State(str(folder))
    if memory.snapshot is not None:
        state.update(REPOSITORY.id, memory)
    return state


@pytest.mark.parametrize("memory, problem", [
    (HEALTHY, ""),
    (Memory(), "never resolved"),
    (HEALTHY._replace(resolved_at=float(NOW - STALE_SECONDS - 1), records={}), "not resolved for 24 h"),
    (HEALTHY._replace(resolved_at=float(NOW + 600)), "resolved 10 min in the future"),
    (HEALTHY._replace(records=dict(HEALTHY.records, **{URLS[0]: FAILED})), "the last attempt, 60 s ago, found no usable mirror"),
    (HEALTHY._replace(records=dict(HEALTHY.records, **{URLS[0]: FAILED}), decisions=(Decision(NOW, "metadata", note="unconfirmed"),)),
     "the last attempt, 60 s ago, found something newer that only one mirror offers"),
    (HEALTHY._replace(records={url: FAILED._replace(at=NOW - 180) for url in URLS}), "all mirrors of the last resolution are avoided for a while"),
    (HEALTHY._replace(records={URLS[0]: FAILED._replace(at=NOW - 180)}), ""),
])
def test_status_says_what_is_wrong_with_the_memory(memory, problem, tmp_path):
    problems = status_of(REPOSITORY, remembered(tmp_path, memory), NOW).problems
    assert [text[:len(problem)] for text in problems] == ([problem] if problem else [])


def test_status_words_what_is_remembered_and_asks_nobody(admin):
    admin.lab.add_mirror("ill", "http-503")
    admin.lab.add_mirror("good")
    admin.accept()
    admin.lab.log.clear()
    done = admin.run("status", *UPDATES)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (r"plugin enabled in .*x\.conf", r"accepted: revision \d+ \(updated", r"resolved: \d+ s ago: revision",
                  r"usable:   127\.", r"resting:  127.* more: http-status: "):
        assert re.search(words, done.stdout)
    assert admin.lab.log.requests() == []


def test_a_poisoned_mark_can_be_looked_at_by_name(admin):
    """The host knows the same snapshot as base: two repositories are rarely the same."""
    admin.lab.add_mirror("good")
    admin.accept()
    state = State(admin.path("state"))
    state.update("xcp-ng-base", accepted=state.load("xcp-ng-updates").accepted, place="8/8.3/base/x86_64/")
    [mark] = admin.json("status", *UPDATES)["repositories"][0]["marks"]
    assert (mark["place"], mark["also_known_as"]) == ("8/8.3/updates/x86_64/", "xcp-ng-base") and mark["signed_at"] > mark["updated_at"]
    assert "also known as xcp-ng-base" in admin.run("status", "--marks", *UPDATES).stdout
    assert "mark:" not in admin.run("status", *UPDATES).stdout


def test_a_mirror_that_serves_another_repository_is_shown_as_refused(admin):
    admin.lab.add_mirror("evil", tree="testing")
    admin.lab.add_mirror("good")
    rows = {row["name"]: row for row in admin.json("mirrors", *UPDATES)["repositories"][0]["mirrors"]}
    assert (rows["evil"]["state"], rows["evil"]["reference"], rows["good"]["state"]) == ("refused", "wrong-repository", "ok")


def test_status_1_before_anything_was_resolved(admin):
    done = admin.run("status", *UPDATES)
    assert done.returncode == 1 and "xcp-ng-updates: never resolved; run" in done.stderr


def test_status_1_when_the_plugin_is_switched_off(admin):
    admin.lab.add_mirror("good")
    admin.accept()
    admin.settings(enabled=0)
    done = admin.run("status", *UPDATES)
    assert done.returncode == 1 and "switched off: enabled=0" in done.stderr


def test_status_1_when_a_file_of_the_state_is_damaged(admin):
    admin.lab.add_mirror("good")
    admin.accept()
    with open(admin.path("state/xcp-ng-updates/accepted.json"), "w") as stream:
        stream.write("{half")
    done = admin.run("status", *UPDATES)
    assert done.returncode == 1 and "accepted.json" in done.stderr


# Where things are.


def test_an_installroot_has_its_own_repositories_and_state_and_the_settings_of_this_host(lab, tmp_path):
    lab.add_mirror("good")
    root, conf = tmp_path / "root", tmp_path / "x.conf"
    (root / "etc" / "yum.repos.d").mkdir(parents=True)
    (root / "etc" / "dnf" / "plugins").mkdir(parents=True)
    lab.repo_file(str(root / "etc" / "yum.repos.d"))
    text = "[main]\nallow_networks={}\nredirectors={}\nfallbacks={}\nfingerprints={}\n"
    conf.write_text(text.format(ALLOWED, lab.redirector.authority, lab.origin.url, lab.key_fingerprint))
    (root / "etc" / "dnf" / "plugins" / "xcpng-mirrors.conf").write_text("[main]\nstate_dir=/elsewhere\n")
    done = subprocess.run(COMMAND + ["refresh", "--config", str(conf), "--installroot", str(root)], cwd=ROOT, stdout=subprocess.PIPE)
    assert done.returncode == 0 and done.stdout.count(b"best first") == 2
    assert (root / "var/lib/xcpng-mirrors/xcp-ng-base/metalink.xml").exists() and (root / "var/log/xcpng-mirrors.log").exists()


def test_the_state_can_be_elsewhere(admin):
    admin.lab.add_mirror("good")
    assert admin.run("refresh", "--state-dir", admin.path("other"), *UPDATES).returncode == 0
    assert os.path.exists(admin.path("other/xcp-ng-updates/mirrors.json")) and not os.path.exists(admin.path("state"))


def test_the_same_repository_in_two_folders_counts_once(admin):
    admin.lab.add_mirror("good")
    second = admin.path("second")
    os.makedirs(second)
    admin.lab.repo_file(second)
    assert len(admin.json("mirrors", "--reposdir", second)["repositories"]) == 2


# engine, and what every start costs.


RUBBISH = [b"rubbish\n", b"[]\n", b"{}\n", b"\xff\xfe\n", b"[" * 100000, b'{"schema": 1, "action": "x"}\n']


def ask_engine(line, stdout=subprocess.PIPE):
    return subprocess.run(COMMAND + ["engine"], cwd=ROOT, input=line, stdout=stdout, stderr=subprocess.PIPE, timeout=30)


@pytest.mark.parametrize("line", RUBBISH, ids=lambda line: line[:10])
def test_engine_answers_rubbish_with_one_json_line(line):
    done = ask_engine(line)
    (line,) = done.stdout.splitlines()
    event = json.loads(line.decode("ascii"))
    assert event["event"] == "result" and event["repositories"][""]["status"] == "left"
    assert (done.returncode, done.stderr) == (2, b"")


def run_engine(preparation):
    """Run the engine after some Python statement; its request is rubbish."""
    return subprocess.run([sys.executable, "-c", RUN.format(preparation), "engine"], cwd=ROOT, input=b"rubbish\n",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)


def test_what_a_library_prints_does_not_get_among_the_events():
    done = run_engine("import yum_plugin.engine as e; s = e.serve; "
                      "e.serve = lambda *io: (print('stray'), os.system('echo child'), s(*io))[2]")
    assert len(done.stdout.splitlines()) == 1 and json.loads(done.stdout.decode("ascii"))
    assert b"child" in done.stderr


def test_what_libraries_tell_developers_is_not_shown():
    done = run_engine("import warnings, yum_plugin.engine as e; s = e.serve; "
                      "e.serve = lambda *io: (warnings.warn('old Python'), s(*io))[1]")
    assert (done.returncode, done.stderr) == (2, b"")


def test_the_engine_ends_although_a_thread_hangs():
    started = time.monotonic()
    run_engine("import threading, time; threading.Thread(target=time.sleep, args=(25,)).start()")
    assert time.monotonic() - started < 15


def test_the_engine_survives_a_plugin_that_went_away():
    reader, writer = os.pipe()
    os.close(reader)
    done = ask_engine(b"rubbish\n", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (5, b"")


@pytest.mark.parametrize("arguments, unwanted", [
    (["--version"], {"argparse", "lxml", "requests", "json", "logging"}),
    (["--help"], {"lxml", "requests", "json", "logging"}),
    (["engine"], {"argparse"}),
])
def test_nothing_heavy_is_loaded_that_is_not_needed(arguments, unwanted):
    report = "import atexit; ex = os._exit; out = lambda: print(*sys.modules, file=sys.stderr, flush=True)"
    report += "; atexit.register(out); os._exit = lambda code: (out(), ex(code))"
    done = subprocess.run([sys.executable, "-c", RUN.format(report)] + arguments, cwd=ROOT, input=b"rubbish\n",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert not unwanted & set(done.stderr.decode().split())
    assert "yum_plugin.cli.main" in done.stderr.decode()


def test_the_command_runs_on_the_oldest_python(interpreter):
    done = subprocess.run([interpreter("3.6"), "-m", "yum_plugin", "--version"], cwd=ROOT, stdout=subprocess.PIPE)
    assert done.returncode == 0 and done.stdout.startswith(b"xcpng-mirrors ")


def test_defaults_need_no_conf_at_all(tmp_path):
    assert read_settings("")[0] == read_settings(str(tmp_path / "none"))[0]
