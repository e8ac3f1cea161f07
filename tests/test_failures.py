"""What is remembered of the downloads of a run: who failed, who served, and never a fault of this host."""
import pytest

from tests.support.world import NOW, mirror
from yum_plugin.net.items import Attempt
from yum_plugin.state.failures import remember_failures
from yum_plugin.state.memory import quarantined
from yum_plugin.state.store import State

ID = "xcp-ng-updates"
ONE, TWO = mirror("one").url, mirror("two").url


def remembered(folder, *attempts, about="packages"):
    state = State(str(folder))
    remember_failures(state, ID, about, [Attempt(url, reference, what, 0) for url, reference, what in attempts], NOW)
    return state, state.load(ID).memory


@pytest.mark.parametrize("about, words", [("packages", "a package: no answer"), ("metadata", "a file of metadata: no answer")])
def test_a_mirror_that_failed_is_quarantined_and_one_that_served_is_not(about, words, tmp_path):
    state, memory = remembered(tmp_path, (ONE, "timed-out", "no answer"), (TWO, "ok", ""), about=about)
    assert set(quarantined(memory, NOW)) == {"one.test"}
    assert (memory.records[ONE].outcome, memory.records[ONE].detail) == ("timed-out", words)
    [decision] = memory.decisions
    assert (decision.about, decision.asked, decision.used) == (about, 2, ("two.test",))
    assert decision.rejected == (("one.test", "timed-out", "no answer"),)
    assert [(each.url, each.outcome, each.about) for each in state.observed(ID, NOW)] == [(ONE, "timed-out", about)]


@pytest.mark.parametrize("references, counts", [
    (["timed-out", "weak-digest"], "weak-digest"), (["weak-digest", "timed-out"], "weak-digest"),
    (["weak-digest", "ok"], "weak-digest"), (["timed-out", "http-status"], "http-status")])
def test_of_several_attempts_a_lie_counts_and_else_the_last_one(references, counts, tmp_path):
    memory = remembered(tmp_path, *[(ONE, reference, "") for reference in references])[1]
    assert memory.records[ONE].outcome == counts


@pytest.mark.parametrize("attempts", [[], [(ONE, "ok", "")], [(ONE, "timed-out", ""), (ONE, "ok", "")], [(ONE, "state", "no space")]])
def test_where_no_mirror_is_to_blame_nothing_is_written(attempts, tmp_path):
    state, memory = remembered(tmp_path, *attempts)
    assert not memory.records and not memory.decisions and state.observed(ID, NOW) == []


def test_how_fast_mirrors_were_is_remembered_and_one_that_was_left_for_a_quicker_one_is_not_quarantined(tmp_path):
    state = State(str(tmp_path))
    attempts = [Attempt(ONE, "left", "50000 bytes per second", 12500, 5e4), Attempt(TWO, "ok", "", 3000000, 9e6),
                Attempt("https://small.test/", "ok", "", 70000, 1e5)]  # too little to tell anything
    remember_failures(state, ID, "packages", attempts, NOW)
    memory = state.load(ID).memory
    assert memory.rates == {ONE: (5e4, NOW), TWO: (9e6, NOW)}
    assert not quarantined(memory, NOW) and not memory.decisions
