"""Programs run side by side: each has its time and its room, and none is left behind."""
import os
import time

import pytest

from tests.support.world import ends
from yum_plugin import programs
from yum_plugin.programs import Done, run_all


def shell(line):
    return ["/bin/sh", "-c", line]


def test_each_gets_what_it_said_in_the_order_of_the_asking():
    counts = []
    lines = ["sleep 0.3; echo late", "echo soon; echo word >&2; exit 3", "cat"]
    assert run_all([shell(line) for line in lines], 30, counts.append) == [
        Done("late\n", "", 0), Done("soon\n", "word", 3), Done("", "", 0)]
    assert counts == [1, 2, 3] and run_all([], 1) == []


def test_one_that_is_not_there_costs_no_other():
    missing, good = run_all([["/nonexistent/xe"], shell("echo good")], 30)
    assert missing == Done("", "/nonexistent/xe: No such file or directory", None) and good.output == "good\n"


@pytest.mark.parametrize("line", ["sleep 600", "trap '' TERM; while :; do sleep 600; done", "exec >&- 2>&-; sleep 600"])
def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path, line):
    started = time.monotonic()
    note = "echo $$ >{0}; sleep 600 & echo $! >>{0}; ".format(tmp_path / "pids")
    hung, good = run_all([shell(note + line), shell("echo good")], 1.0)
    assert (hung.code, hung.complaint, good.output) == (None, "no answer in time", "good\n")
    assert time.monotonic() - started < 20
    assert [pid for pid in (tmp_path / "pids").read_text().split() if not ends(pid)] == []


@pytest.mark.parametrize("line", ["yes", "yes >&2"])
def test_one_that_does_not_stop_talking_is_ended(line):
    assert run_all([shell(line)], 60) == [Done("", "an endless answer", None)]


def test_an_interrupt_leaves_nobody_behind(tmp_path, monkeypatch):
    def interrupt(owners, ends_at):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            os.sched_yield()
        raise KeyboardInterrupt

    monkeypatch.setattr(programs, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_all([shell("echo $$ >{}; exec sleep 600".format(tmp_path / "pid"))], 60)
    assert ends((tmp_path / "pid").read_text().strip())
