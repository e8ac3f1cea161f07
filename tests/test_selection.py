"""Whom to ask and when to stop: time-lines on a virtual clock. Nothing sleeps, nothing is sent."""
import random
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yum_plugin.model import Mirror, Snapshot
from yum_plugin.net.fanout import TaskResult, run_until
from yum_plugin.resolve.patience import STAGGER
from yum_plugin.resolve.selection import HEDGE_SECONDS, NO_ANSWER_SECONDS, Poll, PollRules, order_proven, rank_candidates

from .support.virtual_time import VirtualClock, VirtualTasks
from .support.world import mirror, mirrors, snapshot

STAGGER_SECONDS = STAGGER.least_seconds
DEAD_SECONDS = 7.0  # when a client gives up
DEADLINE_SECONDS = 60.0  # far beyond the real one: a poll must end by itself
RULES = PollRules(probe_mirrors=6, enough=3)
OLD, NEW = snapshot(1), snapshot(2)
ORIGIN = mirror("origin", source="origin")


class Behaviour(NamedTuple):
    """What a mirror does when it is asked."""

    seconds: float
    snapshot: Optional[Snapshot]


def good(seconds: float = 0.02, serves: Snapshot = NEW) -> Behaviour:
    return Behaviour(seconds, serves)


REFUSED = Behaviour(0.001, None)
DEAD = Behaviour(DEAD_SECONDS, None)


class Course(NamedTuple):
    """What happened."""

    asked: List[Tuple[float, str]]  # seconds after the start, name
    seconds: float
    steps: int

    @property
    def names(self) -> List[str]:
        return [name for _, name in self.asked]

    def asked_at(self, name: str) -> float:
        return dict((who, when) for when, who in self.asked)[name]


def play(listed: Sequence[Mirror], behaviours: Dict[str, Behaviour], named: str = NEW.sha256, rules: PollRules = RULES,
         origins: Sequence[Mirror] = (ORIGIN,), accepted: Optional[Snapshot] = None) -> Course:
    """Let a poll run as the resolver drives it; mirrors not mentioned are good, in order of their rank."""
    poll = Poll(listed, origins, named, rules, accepted)
    clock = VirtualClock()
    tasks, began, asked = VirtualTasks(clock), clock.now, []

    def advance(now: float) -> Optional[float]:
        for each in poll.to_ask(now):
            asked.append((now - began, each.name))
            does = behaviours.get(each.name, good(0.02 + each.rank / 1000.0))
            tasks.deliver(TaskResult(each, does), does.seconds)
        if poll.done(now):
            return None
        wait_seconds = poll.next_look(now)
        assert wait_seconds > 0, "a busy loop"
        return wait_seconds

    run_until(began + DEADLINE_SECONDS, tasks, lambda: clock.now, advance,
              lambda result: poll.answered(result.key, result.value.snapshot, result.value.seconds, clock.now))
    assert clock.now < began + DEADLINE_SECONDS, "the poll did not end by itself"
    return Course(asked, clock.now - began, tasks.waits)


def all_of(listed: Sequence[Mirror], does: Behaviour) -> Dict[str, Behaviour]:
    return {each.name: does for each in listed}


def test_on_a_good_day_just_enough_of_40_are_asked_and_two_with_the_redirectors_word_end_it():
    course = play(mirrors(40), {})
    assert course.names == ["m1", "m2"]
    assert course.seconds == pytest.approx(0.022)


@pytest.mark.parametrize("enough, named, asked", [(1, NEW.sha256, 1), (2, NEW.sha256, 2), (3, NEW.sha256, 2), (5, NEW.sha256, 4), (6, "", 6)])
def test_the_redirectors_word_counts_as_one_mirror_but_never_makes_one_out_of_two(enough, named, asked):
    assert len(play(mirrors(40), {}, named=named, rules=PollRules(6, enough)).names) == asked


def test_one_mirror_that_is_late_gets_one_for_company_and_not_all_of_the_round():
    course = play(mirrors(40), {"m1": good(0.5)}, rules=PollRules(6, 1))
    assert course.names == ["m1", "m2"] and course.asked_at("m2") == pytest.approx(STAGGER_SECONDS)


def test_without_a_named_digest_the_whole_round_is_asked_at_once():
    assert [when for when, _ in play(mirrors(40), {}, named="").asked] == [0.0] * 6


def test_as_many_more_as_are_missing_are_asked_when_the_first_are_late_and_no_sooner():
    course = play(mirrors(40), {"m1": DEAD, "m2": DEAD})
    assert course.names == ["m1", "m2", "m3", "m4"]
    assert course.asked_at("m2") == 0.0
    assert [course.asked_at(name) for name in ("m3", "m4")] == pytest.approx([STAGGER_SECONDS] * 2)


def test_the_rest_of_the_round_is_asked_at_once_when_the_first_of_it_all_answered_with_something_old():
    listed = mirrors(40)
    course = play(listed, dict(all_of(listed[:4], good(0.02, OLD))))
    assert course.names[:6] == ["m1", "m2", "m3", "m4", "m5", "m6"]
    assert course.asked_at("m5") == pytest.approx(0.02)


def test_mirrors_asked_in_place_of_failed_ones_count_as_of_the_first_round():
    course = play(mirrors(40), {"m1": REFUSED, "m2": REFUSED, "m3": DEAD, "m4": DEAD})
    assert course.names == ["m{}".format(number) for number in range(1, 7)]
    assert course.seconds < STAGGER_SECONDS + HEDGE_SECONDS


def test_dead_mirrors_cost_next_to_nothing_once_enough_agree():
    assert play(mirrors(6), {"m1": REFUSED}).seconds == pytest.approx(0.024)
    course = play(mirrors(6), {"m1": DEAD, "m2": DEAD, "m5": DEAD})
    assert course.seconds == pytest.approx(STAGGER_SECONDS + 0.024)


def test_two_good_mirrors_among_dead_ones_end_it():
    course = play(mirrors(6), {"m1": DEAD, "m2": DEAD, "m3": DEAD, "m4": DEAD})
    assert course.names == ["m1", "m2", "m3", "m4", "m5", "m6"]
    assert course.seconds == pytest.approx(2 * STAGGER_SECONDS + 0.026)


def test_a_single_good_mirror_among_dead_ones_gets_company_from_another_round():
    course = play(mirrors(40), dict(all_of(mirrors(5), DEAD)))
    assert course.names[6:] == ["m7", "m8", "m9", "m10", "m11", "m12"]
    assert course.asked_at("m7") == pytest.approx(2 * STAGGER_SECONDS + 0.026 + HEDGE_SECONDS)
    assert course.seconds < 1.0


def test_a_single_listed_mirror_is_enough_without_asking_the_origin():
    course = play(mirrors(1), {})
    assert course.names == ["m1"] and course.seconds == pytest.approx(0.021)


def test_slow_answers_are_waited_for_as_long_as_the_best_one_took():
    course = play(mirrors(2), {"m1": good(0.8), "m2": DEAD})
    assert course.seconds == pytest.approx(1.6)


def test_without_a_named_digest_the_others_still_get_the_hedge_time_to_show_something_newer():
    course = play(mirrors(6), {"m6": good(0.2, snapshot(3))}, named="", rules=PollRules(6, 3))
    assert course.seconds >= 0.2
    assert course.names == ["m1", "m2", "m3", "m4", "m5", "m6", "origin"], "nobody else has it, and the origin is the second voice"


def test_three_stale_mirrors_that_agree_do_not_end_it_when_the_redirector_names_another_digest():
    listed = mirrors(8)
    course = play(listed, dict(all_of(listed[:6], good(0.02, OLD))))
    assert course.names == [each.name for each in listed], "one more batch, and the origin left in peace"
    assert course.seconds == pytest.approx(0.068, abs=0.01), "all had answered each time: no hedge is due"


def test_a_named_digest_that_nobody_serves_costs_one_more_batch_then_the_origin_then_it_stops():
    course = play(mirrors(40), {}, named="f" * 64)
    assert course.names == [each.name for each in mirrors(12)] + ["origin"]
    assert course.seconds < 3 * HEDGE_SECONDS


def test_a_named_digest_that_only_the_origin_serves_is_found_there():
    listed = mirrors(3)
    course = play(listed, dict(all_of(listed, good(0.02, OLD)), origin=good(0.02, NEW)))
    assert course.names == ["m1", "m2", "m3", "origin"]


def test_when_all_fail_the_next_are_asked_at_once():
    listed = mirrors(40)
    course = play(listed, dict(all_of(listed[:20], REFUSED)))
    assert course.seconds < 0.1
    assert "origin" not in course.names


def test_the_origin_is_asked_when_every_mirror_failed():
    listed = mirrors(7)
    course = play(listed, dict(all_of(listed, REFUSED)))
    assert course.names[-1] == "origin" and course.names.count("origin") == 1
    assert course.seconds < 0.1


def test_without_any_mirror_the_origin_is_asked_at_once():
    course = play([], {})
    assert course.asked == [(0.0, "origin")]


def test_without_anybody_to_ask_it_ends_at_once():
    assert play([], {}, origins=()).seconds == 0


def test_a_round_of_blackholes_is_followed_by_another_after_the_patience():
    listed = mirrors(20)
    course = play(listed, all_of(listed[:12], DEAD))
    assert course.asked_at("m7") == pytest.approx(2 * STAGGER_SECONDS + NO_ANSWER_SECONDS)
    assert course.asked_at("m13") == pytest.approx(2 * STAGGER_SECONDS + 2 * NO_ANSWER_SECONDS)
    assert course.seconds < 2 * STAGGER_SECONDS + 2 * NO_ANSWER_SECONDS + 0.1
    assert "origin" not in course.names


def test_when_all_are_blackholes_the_origin_saves_the_day():
    listed = mirrors(6)
    course = play(listed, all_of(listed, DEAD))
    assert course.asked_at("origin") == pytest.approx(2 * STAGGER_SECONDS + NO_ANSWER_SECONDS)
    assert course.seconds < 2 * STAGGER_SECONDS + NO_ANSWER_SECONDS + HEDGE_SECONDS + 0.1


def test_mirrors_rolled_back_behind_the_high_water_mark_do_not_end_it_however_many_agree():
    """Else three stale mirrors at the head of the list could stop every update with "rollback"."""
    listed = mirrors(12)
    course = play(listed, all_of(listed[:8], good(0.02, OLD)), named="", accepted=NEW)
    assert {"m9", "m10", "m11"} <= set(course.names)
    assert "origin" not in course.names


def test_the_origin_is_heard_before_a_rollback_is_declared():
    listed = mirrors(4)
    assert "origin" in play(listed, all_of(listed, good(0.02, OLD)), named="", accepted=NEW).names


def test_everyone_is_waited_for_when_everyone_is_to_be_shown():
    listed = mirrors(40)
    course = play(listed, {"m1": DEAD}, named="", rules=PollRules(256, 256, everyone=True), origins=())
    assert len(course.names) == 40
    assert course.seconds == pytest.approx(DEAD_SECONDS)
    assert course.steps < 100, "no busy loop while the last ones are awaited"


def test_enough_may_be_more_than_are_asked_at_first():
    course = play(mirrors(40), {}, rules=PollRules(probe_mirrors=1, enough=3))
    assert course.names[0] == "m1" and len(course.names) <= 6


_BEHAVIOURS = st.builds(
    Behaviour, st.sampled_from([0.0, 0.001, 0.02, 0.3, 0.999, 2.5, DEAD_SECONDS]),
    st.sampled_from([None, None, snapshot(1), snapshot(2), snapshot(3), snapshot(2)._replace(sha256="e" * 64)]))


@given(st.data(), st.integers(0, 30), st.integers(0, 2), st.integers(1, 8), st.integers(1, 5), st.booleans(),
       st.sampled_from(["", "f" * 64, NEW.sha256]), st.sampled_from([None, OLD, snapshot(9)]))
def test_every_poll_ends_without_spinning_whatever_mirrors_do(data, count, origins, probe, enough, everyone, named, accepted):
    listed = mirrors(count)
    last = [mirror("o{}".format(number), source="origin") for number in range(origins)]
    behaviours = {each.name: data.draw(_BEHAVIOURS) for each in listed + last}
    rules = PollRules(256, 256, True) if everyone else PollRules(probe, enough)
    course = play(listed, behaviours, named, rules, last, accepted)
    assert len(course.names) == len(set(course.names)), "nobody is asked twice"
    assert course.steps <= 4 * (count + origins) + 100
    answered = [name for name in course.names if behaviours[name].snapshot is not None]
    if not answered:
        assert len(course.names) == count + origins, "it gave up although somebody was not asked yet"


# The order of asking and of handing over.


def test_hosts_of_one_place_share_out_their_requests_as_the_redirector_means_it():
    """Else the first mirrors of every place bear all of it."""
    weights = {"a": 60, "b": 30, "c": 10}
    listed = [mirror("far", rank=1)] + [mirror(name, weight=weight) for name, weight in weights.items()]
    draw = random.Random(1).random
    orders = [[each.name for each in rank_candidates(listed, [], [], [], False, draw)[0]] for _ in range(3000)]
    assert {order[-1] for order in orders} == {"far"}, "what the redirector means to have nothing comes behind"
    for name, weight in weights.items():
        assert [order[0] for order in orders].count(name) == pytest.approx(30 * weight, rel=0.1)
    assert [order[1] for order in orders if order[0] == "a"].count("b") == pytest.approx(0.75 * 1800, rel=0.1), "of those left"


@pytest.mark.parametrize("chance", [0.0, 1 - 2.0 ** -53])
def test_any_chance_gives_an_order(chance):
    listed = [mirror("a", weight=1), mirror("b", weight=100), mirror("c")]
    assert len(rank_candidates(listed, [], [], [], False, lambda: chance)[0]) == 3


def test_favour_and_rest_count_more_than_the_draw():
    listed = [mirror("a", weight=98), mirror("b", weight=1), mirror("c", weight=1)]
    ranked, _ = rank_candidates(listed, ["c.test"], [], ["a.test"], False, random.Random(1).random)
    assert [each.name for each in ranked] == ["c", "b", "a"]


def test_candidates_preferred_first_resting_last_and_the_order_kept_otherwise():
    listed = [mirror("a"), mirror("b", country="DE"), mirror("c"), mirror("d"), mirror("e", country="DE")]
    ranked, left_out = rank_candidates(listed, ["de", "D.TEST"], [], ["b.test", "a.test"], allow_http=False)
    assert [each.name for each in ranked] == ["d", "e", "c", "b", "a"]
    assert left_out == []


@pytest.mark.parametrize("each, deny, allow_http, words", [
    (mirror("a", country="US"), ["us"], True, "denied by the .conf"),
    (mirror("a"), ["a.test"], True, "denied by the .conf"),
    (mirror("a")._replace(url="https://a.test:8443/"), ["A.test:8443"], True, "denied by the .conf"),
    (mirror("a", excluded="Down"), [], True, "excluded by the redirector: Down"),
    (mirror("a")._replace(url="http://a.test/"), [], False, "no https"),
])
def test_a_mirror_is_left_out_with_the_reason(each, deny, allow_http, words):
    ranked, left_out = rank_candidates([each], [], deny, [], allow_http)
    assert ranked == [] and left_out[0][0] == each and words in left_out[0][1]


@pytest.mark.parametrize("deny", [["b.test"], ["a.test:8443"], ["test"], ["US"]])
def test_a_mirror_is_not_denied_by_another_ones_name(deny):
    assert rank_candidates([mirror("a")], [], deny, [], True)[0] == [mirror("a")]


def test_http_mirrors_are_used_where_https_is_not_required():
    plain = mirror("a")._replace(url="http://a.test/")
    assert rank_candidates([plain], [], [], [], allow_http=True)[0] == [plain]


@pytest.mark.parametrize("proven, prefer, order", [
    ([("slow", 1, 0.3), ("quick", 2, 0.1)], [], ["quick", "slow"]),
    ([("near", 1, 0.10), ("far", 9, 0.10)], [], ["near", "far"]),
    ([("near", 1, 0.15), ("far", 9, 0.10)], [], ["near", "far"]),
    ([("drawn", 9, 0.15), ("second", 1, 0.24), ("third", 2, 0.10)], [], ["drawn", "second", "third"]),
    ([("near", 1, 0.30), ("far", 9, 0.10)], [], ["far", "near"]),
    ([("quick", 1, 0.01), ("own", 9, 3.0)], ["own.test"], ["own", "quick"]),
])
def test_proven_mirrors_stay_as_they_were_drawn_but_for_slow_ones_and_favour(proven: Any, prefer: Any, order: Any):
    pairs = [(mirror(name, rank=rank), seconds) for name, rank, seconds in proven]
    assert [each.name for each in order_proven(pairs, prefer)] == order


def test_the_origin_comes_last_however_quick_it_is():
    assert order_proven([(ORIGIN, 0.001), (mirror("a", rank=1), 5.0)], ["origin.test"]) == [mirror("a", rank=1), ORIGIN]
