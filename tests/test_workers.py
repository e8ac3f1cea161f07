"""Work divided among processes: everything is done, in order, whatever becomes of a child."""
import multiprocessing
import os
import signal
import time

import pytest

from yum_plugin.verify.workers import map_parts, worker_count


def test_every_part_is_done_in_order_and_those_after_the_first_in_children():
    parts = [[1, 2], [3], [], [4, 5]]
    found = list(map_parts(lambda part: [os.getpid()] + part, parts))
    assert [each[1:] for each in found] == parts
    assert [each[0] == os.getpid() for each in found] == [True, False, False, False]


def test_more_than_a_pipe_holds_comes_through():
    assert [len(each) for each in map_parts(lambda part: part * 100000, [[1], [2]])] == [100000, 100000]


@pytest.mark.parametrize("end", [lambda: os._exit(0), lambda: os._exit(3), lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: 1 / 0],
                         ids=["nothing", "an exit code", "a signal", "an exception"])
def test_a_part_whose_child_fails_is_done_here_without_a_word(end, capfd):
    here = os.getpid()

    def work(part):
        if os.getpid() != here:
            end()
        return [part]

    assert list(map_parts(work, ["a", "b", "c"])) == [["a"], ["b"], ["c"]]
    assert capfd.readouterr() == ("", "")


def test_an_exception_of_the_work_reaches_the_caller_and_no_child_is_left():
    with pytest.raises(ZeroDivisionError):
        list(map_parts(lambda part: [1 / part], [1, 0, 1]))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("behaviour", [lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), lambda: None], ids=["hardened", "usual"])
def test_an_interrupt_ends_children_that_still_work(behaviour, tmp_path):
    here = os.getpid()

    def work(part):
        if os.getpid() != here:
            behaviour()
            (tmp_path / str(os.getpid())).touch()
            time.sleep(600)
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(map_parts(work, [1, 2, 3]))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_caller_that_stops_early_leaves_no_child_behind():
    found = map_parts(lambda part: [part], [1, 2, 3])
    assert next(found) == [1]
    found.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_there_are_as_many_workers_as_usable_cpus():
    assert 1 <= worker_count() <= (os.cpu_count() or 1)


def test_all_cpus_count_where_the_system_does_not_say_which_are_usable(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert worker_count() == 3


def test_it_forks_whatever_the_default_of_this_python_is(monkeypatch):
    monkeypatch.setattr(multiprocessing.context._default_context, "_actual_context", multiprocessing.get_context("spawn"))
    assert list(map_parts(lambda part: [part], [1, 2])) == [[1], [2]]
