"""Which part of which file comes next from which mirror: tables, and downloads on virtual time."""
import itertools

import pytest

from yum_plugin.net.assignment import LEAST_BYTES, MirrorLoad, Running, next_cut, next_mirror
from yum_plugin.net.own_line import OwnLine
from yum_plugin.net.stall import RateRules

MB = 1000 * 1000
A, B, C = MirrorLoad("a"), MirrorLoad("b"), MirrorLoad("c")


@pytest.mark.parametrize("story, choices, expected", [
    ("nobody is left", [], (False, None)),
    ("the given order", [A, B], (True, "a")),
    ("rule 1: the one that was tried less", [A._replace(tries=1), B], (True, "b")),
    ("rule 1: rather than the last resort", [A._replace(last_resort=True), B._replace(failures=9)], (True, "b")),
    ("rule 1: the one that failed less", [A._replace(failures=1), B], (True, "b")),
    ("rule 1: it waits for the good one", [A._replace(failures=1), B._replace(room=0)], (True, None)),
    ("rule 2: a slow one comes last", [A._replace(rate=1e6), B._replace(rate=4.1e6)], (True, "b")),
    ("rule 2: not that much slower", [A._replace(rate=1e6), B._replace(rate=4e6)], (True, "a")),
    ("rule 2: an unknown one has its chance", [A, B._replace(rate=9e6)], (True, "a")),
    ("rule 2: a slow one is better than the last resort", [A._replace(rate=1e6), B._replace(rate=9e6, last_resort=True)], (True, "a")),
    ("rule 3: the one that has less to do", [A._replace(under_way=1), B], (True, "b")),
    ("rule 3: the order again", [A._replace(under_way=1), B._replace(under_way=1)], (True, "a")),
])
def test_assignment_of_a_part_to_a_mirror(story, choices, expected):
    assert next_mirror(choices) == expected


@pytest.mark.parametrize("wanted, missing, expected", [(2 * MB, 20 * MB, "a"), (2 * MB, 8 * MB, "b"), (0, 20 * MB, "b")])
def test_assignment_rule_2_a_slow_mirror_helps_as_long_as_it_holds_nobody_up(wanted, missing, expected):
    slow, quick = A._replace(rate=1e6), B._replace(rate=8e6, under_way=1)
    assert next_mirror([slow, quick], wanted, missing) == (True, expected)


PART = Running("x", 0, 12 * MB, 2e6)


@pytest.mark.parametrize("story, part, idle, expected", [
    ("rule 4: an equal one takes half", PART, [A._replace(rate=2e6)], (6 * MB, "a")),
    ("rule 4: an unknown one counts as the one it helps", PART, [A], (6 * MB, "a")),
    ("rule 4: two of them take a third each", PART, [A, B], (8 * MB, "a")),
    ("rule 4: by their rates, the quickest first", PART, [A._replace(rate=1e6), B._replace(rate=3e6)], (6 * MB, "b")),
    ("rule 4: nobody helps", PART, [], None),
    ("rule 4: a slow one does not help", PART, [A._replace(rate=0.49e6)], None),
    ("rule 4: how fast the part comes is not known yet", PART._replace(rate=0.0), [A], None),
    ("rule 5: too little is left", PART._replace(position=12 * MB - 2 * LEAST_BYTES + 10, rate=1e4), [A], None),
    ("rule 5: not worth a request", PART._replace(rate=21e6), [A], None),
    ("rule 5: just worth it", PART._replace(rate=19e6), [A], (6 * MB, "a")),
    ("rule 5: its answer would take as long", PART._replace(rate=19e6), [A._replace(answer_seconds=0.2)], None),
])
def test_assignment_of_the_rear_of_a_part(story, part, idle, expected):
    cut = next_cut(part, idle)
    assert cut == expected if expected is None else tuple(cut) == expected


class Virtual:
    """One file from mirrors that each send at their rate, cut by ``next_cut``; answers take no time, and rates are known."""

    def __init__(self, size, rates):
        self.rates, self.parts, self.now, self.requests = dict(rates), [], 0.0, 0
        self.begin(0, size, next(iter(self.rates)))

    def begin(self, start, end, mirror):
        self.parts.append([mirror, start, end])
        self.requests += 1

    def step(self, seconds):
        self.now += seconds
        for part in self.parts:
            part[1] = min(part[2], part[1] + self.rates[part[0]] * seconds)
        self.parts = [part for part in self.parts if part[1] < part[2]]
        for part in list(self.parts):
            busy = {each[0] for each in self.parts}
            idle = [MirrorLoad(mirror, rate=rate) for mirror, rate in self.rates.items() if mirror not in busy]
            cut = next_cut(Running(part[0], int(part[1]), int(part[2]), self.rates[part[0]]), idle)
            if cut is not None:
                part[2], end = cut.at, part[2]
                self.begin(cut.at, end, cut.url)


@pytest.mark.parametrize("rates", [(2, 2, 2), (4, 2, 1), (1, 4, 4), (3, 3, 0.1), (8, 1, 1)])
def test_assignment_rule_4_a_large_file_takes_what_all_rates_together_allow(rates):
    run = Virtual(30 * MB, zip("abc", [rate * MB for rate in rates]))
    for _ in itertools.takewhile(lambda _: run.parts, range(10000)):
        run.step(0.05)
    useful = sum(rate for rate in rates if rate * 4 >= rates[0])
    assert run.now <= 1.15 * 30 / useful and run.requests <= 8


# The host's own line, on virtual time

RULES = RateRules(minrate=1000, timeout_seconds=30.0)


def test_stall_rule_4_silence_of_all_and_then_one_of_them_again_was_the_line():
    line = OwnLine()
    assert line.heard("a", 10.0) == []
    line.silent(0, "a", answered=True)
    line.silent(1, "b", answered=False)
    assert line.heard("a", 85.0) == [(0, "a"), (1, "b")] and line.heard("a", 86.0) == []


def test_stall_rule_4_mirrors_that_are_dead_are_to_blame_if_another_one_answers():
    line = OwnLine()
    line.heard("c", 10.0)
    line.silent(0, "a", answered=False)
    line.silent(0, "b", answered=False)
    assert not line.is_lost(3) and line.heard("c", 12.0) == [] and line.unanswered(0, 13.0, RULES) == []


def test_stall_rule_4_the_tries_of_an_outage_do_not_count_until_it_has_lasted_too_long():
    line = OwnLine()
    line.silent(0, "a", answered=False)
    assert line.unanswered(0, 5.0, RULES) == []  # nobody was heard yet
    line.heard("a", 10.0)
    for now, expected in ((85.0, ["a"]), (129.0, ["a"]), (130.0, [])):
        line.silent(0, "a", answered=False)
        assert line.unanswered(0, now, RULES) == expected
    assert line.is_lost(1) and not line.is_lost(2)
