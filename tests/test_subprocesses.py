"""Commands run side by side: each is limited in time and output, and none is left behind."""
import os
import signal
import time

import pytest

from tests.support.waiting import ends
from yum_plugin.pool.subprocesses import CommandResult, run_all


def shell(line):
    return ["/bin/sh", "-c", line]


def test_the_results_come_in_the_order_of_the_commands():
    counts = []
    lines = ["sleep 0.3; echo late", "echo soon; echo word >&2; exit 3", "cat"]
    assert run_all([shell(line) for line in lines], 30, counts.append) == [
        CommandResult("late\n", "", 0), CommandResult("soon\n", "word", 3), CommandResult("", "", 0)]
    assert counts == [1, 2, 3] and run_all([], 1) == []


def test_a_missing_program_costs_no_other():
    missing, good = run_all([["/nonexistent/xe"], shell("echo good")], 30)
    assert missing == CommandResult("", "/nonexistent/xe: No such file or directory", None) and good.output == "good\n"


@pytest.mark.parametrize("line", ["sleep 600", "trap '' TERM; while :; do sleep 600; done", "exec >&- 2>&-; sleep 600"])
def test_a_command_that_hangs_is_killed_with_all_that_it_started(tmp_path, line):
    started = time.monotonic()
    note = "echo $$ >{0}; sleep 600 & echo $! >>{0}; ".format(tmp_path / "pids")
    hung, good = run_all([shell(note + line), shell("echo good")], 1.0)
    assert (hung.code, hung.error, good.output) == (None, "no answer in time", "good\n")
    assert time.monotonic() - started < 20
    assert [pid for pid in (tmp_path / "pids").read_text().split() if not ends(pid)] == []


@pytest.mark.parametrize("line", ["yes", "yes >&2"])
def test_a_command_that_does_not_stop_talking_is_killed(line):
    assert run_all([shell(line)], 60) == [CommandResult("", "an endless answer", None)]


def test_an_interrupt_leaves_nobody_behind(tmp_path):
    def interrupt(count):
        raise KeyboardInterrupt

    started = time.monotonic()
    note = "echo $$ >{0}/pid; ".format(tmp_path)
    first = "until [ -s {0}/pid ] && [ -s {0}/other ]; do sleep 0.1; done".format(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_all([shell(first), shell(note + "exec sleep 600"), shell("sleep 600 & echo $! >{}/other; wait".format(tmp_path))], 300,
                interrupt)
    assert time.monotonic() - started < 60
    assert [name for name in ("pid", "other") if not ends((tmp_path / name).read_text().strip())] == []


def test_a_process_that_left_the_session_and_holds_the_output_costs_the_time_limit_and_no_more(tmp_path):
    started = time.monotonic()
    line = "setsid sleep 600 & echo $! >{}".format(tmp_path / "pid")
    try:
        assert run_all([shell(line)], 1.0) == [CommandResult("", "no answer in time", None)]
        assert time.monotonic() - started < 60
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
