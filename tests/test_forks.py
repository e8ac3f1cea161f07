"""Work shared among processes: everything is done, in order, whatever becomes of a child."""
import os
import signal

import pytest

from yum_plugin.forks import processes, shared


def test_every_part_is_done_in_order_and_those_after_the_first_in_children():
    parts = [[1, 2], [3], [], [4, 5]]
    found = list(shared(parts, lambda part: [os.getpid()] + part))
    assert [each[1:] for each in found] == parts
    assert [each[0] == os.getpid() for each in found] == [True, False, False, False]


def test_more_than_a_pipe_holds_comes_through():
    assert [len(each) for each in shared([[1], [2]], lambda part: part * 100000)] == [100000, 100000]


@pytest.mark.parametrize("end", [lambda: os._exit(0), lambda: os._exit(3), lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: 1 / 0],
                         ids=["nothing", "an exit code", "a signal", "an exception"])
def test_what_a_child_does_not_deliver_is_done_here(end):
    here = os.getpid()

    def work(part):
        if os.getpid() != here:
            end()
        return [part]

    assert list(shared(["a", "b", "c"], work)) == [["a"], ["b"], ["c"]]


def test_an_exception_of_the_work_reaches_the_caller_and_no_child_is_left():
    with pytest.raises(ZeroDivisionError):
        list(shared([1, 0, 1], lambda part: [1 / part]))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_who_stops_listening_leaves_no_child_behind():
    found = shared([1, 2, 3], lambda part: [part])
    assert next(found) == [1]
    found.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_as_many_processes_as_this_one_may_use_cpus():
    assert 1 <= processes() <= (os.cpu_count() or 1)


def test_where_the_system_does_not_tell_which_cpus_all_of_them_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert processes() == 3
