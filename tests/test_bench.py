"""The benchmark's arithmetic and names; the numbers themselves are no business of the tests."""
import json
import re

import pytest

from bench import __main__ as bench
from bench import waterfall
from bench.dnf import METADATA_FAULTS
from bench.line import Asked, connections
from bench.measure import Figure, Goal, Measure, Quantity, differences, figure, in_turn, ratios
from bench.report import as_json, as_markdown, number
from bench.stage import MeasureError
from tests.lab.tools import NEEDED, missing
from tests.support.faults_table import METADATA_FAULTS as TESTED
from yum_plugin.net.fetch import USER_AGENT

QUANTITIES = [quantity for measure in bench.MEASURES for quantity in measure.quantities]
DNF_LAB = NEEDED + ("dnf",)
SPEED = Quantity("test.seconds", "s", "some speed", Goal(0.4))
FREE = Quantity("test.free", "", "a ratio", why_no_goal="for comparison")


@pytest.mark.parametrize("samples, expected", [
    ([3.0], (3.0, 3.0, 3.0, 1)),
    ([9.0, 1.0, 2.0], (2.0, 1.0, 9.0, 3)),
    ([4.0, 1.0, 2.0, 100.0], (3.0, 1.0, 100.0, 4)),
])
def test_a_figure_is_median_extremes_and_count(samples, expected):
    assert figure(SPEED, samples)[1:] == expected


def test_pairs_are_compared_with_what_was_taken_beside_them():
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    assert differences([2.0, 9.0], [1.0, 3.0]) == [1.0, 6.0]


def test_two_kinds_are_taken_in_turn():
    taken = []

    def sample(kind):
        taken.append(kind)
        return float(len(taken))

    assert in_turn(3, lambda: sample("A"), lambda: sample("B")) == ([1.0, 3.0, 5.0], [2.0, 4.0, 6.0])
    assert taken == ["A", "B"] * 3


@pytest.mark.parametrize("goal, value, met", [
    (Goal(0.4), 0.4, True), (Goal(0.4), 0.41, False), (Goal(0.4), -1.0, True),
    (Goal(2, least=True), 2.0, True), (Goal(2, least=True), 1.9, False), (None, 5.0, None),
])
def test_a_goal_is_met_up_to_its_number(goal, value, met):
    assert figure(SPEED._replace(goal=goal), [value]).met is met


def test_every_name_is_stable_in_form_and_used_once():
    names = [quantity.name for quantity in QUANTITIES]
    assert len(names) == len(set(names))
    assert [name for name in names if not re.match(r"^[a-z]+(\.[a-z0-9_-]+)+\Z", name)] == []


def test_every_quantity_has_a_goal_or_a_reason_for_none():
    assert [item.name for item in QUANTITIES if bool(item.goal) == bool(item.why_no_goal) or not item.says] == []


def test_every_fault_of_the_metadata_is_measured():
    assert set(METADATA_FAULTS) == set(TESTED) - {"rolled-back"}  # which is "stale" on a host that knows better


def test_the_results_hold_each_figure_and_nothing_that_names_the_machine():
    found = as_json([Figure(SPEED, 1 / 3, 0.1, 0.5, 7), Figure(FREE, 2.0, 2.0, 2.0, 1)], "2026-01-31")
    assert (found["schema"], found["date"], set(found["machine"])) == (1, "2026-01-31", {"cores", "memory_mib", "python"})
    assert found["figures"] == {
        "test.seconds": {"median": 0.3333, "min": 0.1, "max": 0.5, "n": 7, "unit": "s", "goal": {"at_most": 0.4}, "met": True},
        "test.free": {"median": 2.0, "min": 2.0, "max": 2.0, "n": 1, "unit": "", "goal": None, "met": None},
    }


def test_the_table_marks_a_goal_that_is_missed():
    table = as_markdown([Figure(SPEED, 0.5, 0.4, 47.42, 3), Figure(FREE, 2.0, 2.0, 2.0, 1),
                         Figure(SPEED._replace(goal=Goal(0.4, least=True)), 0.5, 0.4, 47.42, 3)])
    assert table.splitlines()[2:] == [
        "| test.seconds | some speed | 0.5 s | 0.4 - 47.4 | 3 | &le; 0.4 | **no** |",
        "| test.free | a ratio | 2 | 2 - 2 | 1 |  |  |",
        "| test.seconds | some speed | 0.5 s | 0.4 - 47.4 | 3 | &ge; 0.4 | yes |",
    ]


@pytest.mark.parametrize("value, text", [(6.0, "6"), (0.35, "0.35"), (1.1, "1.1"), (100.0, "100"), (54.84, "54.8"), (0.0, "0"),
                                         (-0.123, "-0.12")])
def test_numbers_are_written_short(value, text):
    assert number(value) == text


def test_a_measure_that_fails_costs_no_other(capsys):
    def fail(stage, runs, wanted):
        raise MeasureError("the mirror is on fire")

    broken = Measure(fail, (FREE,))
    partial = Measure(lambda stage, runs, wanted: {SPEED.name: [0.1] * runs}, (SPEED, FREE), runs=3)
    figures, complete = bench.measure_all(None, [(broken, [FREE.name]), (partial, [SPEED.name, FREE.name])], 0)
    assert figures == [Figure(SPEED, 0.1, 0.1, 0.1, 3)] and not complete
    assert "the mirror is on fire" in capsys.readouterr().err


def test_only_the_wanted_names_are_shown():
    both = Measure(lambda stage, runs, wanted: {SPEED.name: [0.1] * runs, FREE.name: [1.0] * runs}, (SPEED, FREE), runs=3)
    assert bench.wanted_names(both, "*.free") == [FREE.name]
    assert bench.measure_all(None, [(both, [FREE.name])], 2) == ([Figure(FREE, 1.0, 1.0, 1.0, 2)], True)


@pytest.mark.parametrize("arguments", [["--only", "no.such.name"], ["--runs", "0"]])
def test_wrong_arguments_are_refused_before_anything_is_built(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        bench.main(arguments)
    assert end.value.code == 2 and "building" not in capsys.readouterr().err


def test_the_list_has_every_name(capsys):
    assert bench.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == [quantity.name for quantity in QUANTITIES]


def test_connections_are_counted_for_our_engine_and_for_dnf():
    def asked(server, connection, agent):
        return Asked(1.0, server, connection, 200, 10, "/x", agent)

    dnf = "libdnf (XCP-ng 8.3.0; generic; Linux.x86_64)"
    requests = [asked("a", "n1", USER_AGENT), asked("a", "n1", USER_AGENT), asked("b", "n2", USER_AGENT), asked("a", "n3", dnf),
                asked("redirector", "r1", ""), asked("redirector", "r1", "")]
    assert connections(requests) == (2, 2)


@pytest.mark.skipif(bool(missing()), reason="not installed: {}".format(", ".join(missing())))
def test_a_quick_look_at_one_measure_leaves_the_record_alone(tmp_path, monkeypatch, capsys):
    record, output = tmp_path / "results.json", tmp_path / "quick.json"
    monkeypatch.setattr(bench, "RESULTS", str(record))
    assert bench.main(["--quick", "--only", "resolve.mirror_kib", "--output", str(output)]) == 0
    figures = json.loads(output.read_text())["figures"]
    assert list(figures) == ["resolve.mirror_kib"] and figures["resolve.mirror_kib"]["n"] == 1
    assert figures["resolve.mirror_kib"]["median"] > 1
    assert "| resolve.mirror_kib |" in capsys.readouterr().out and not record.exists()


@pytest.mark.skipif(bool(missing(DNF_LAB)), reason="not installed: {}".format(", ".join(missing(DNF_LAB))))
@pytest.mark.parametrize("options, whose", [([], "ours"), (["--stock"], "dnf")])
def test_the_waterfall_shows_each_request_of_a_dnf_on_a_line(options, whose, capsys):
    assert waterfall.main(["--rtt", "20"] + options) == 0
    *requests, end = capsys.readouterr().out.splitlines()
    rows = [re.match(r"^ *([0-9.]+) s  (\S+) +([nr]\d+)\.(\d+) +(\d+) +\d+ B  (\S+) +(/\S+)\Z", line).groups() for line in requests]
    assert [float(row[0]) for row in rows] == sorted(float(row[0]) for row in rows)
    assert {row[1] for row in rows} >= {"redirector", "mirror1"} and whose in {row[5] for row in rows}
    assert {path.rpartition("/")[2] for *_, path in rows} >= {"repomd.xml", "repomd.xml.asc"}
    assert re.match(r"^ *[0-9.]+ s  end; connections: \d+ of ours, \d+ of dnf\Z", end) and float(end.split()[0]) > float(rows[-1][0])
