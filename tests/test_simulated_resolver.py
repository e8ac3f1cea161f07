"""Which mirrors a refresh asks, when, and what it believes: every rule and corner, on the simulator (tests/simulator.py).

The same attacks on real sockets and package managers are in test_resolve.py, test_dnf.py and test_yum.py.
"""
import random

import pytest

from tests.support.faults_table import METADATA_FAULTS
from tests.support.world import DAY
from yum_plugin.resolve.patience import (
    BLOCKED,
    FAR_SECONDS,
    LIST,
    OTHER_FORM,
    QUICKER_SHARE,
    STAGGER,
    patience_of,
    remembered_seconds,
)
from yum_plugin.resolve.resolver import NO_LIST_TIMEOUT_SECONDS
from yum_plugin.resolve.selection import HEDGE_SECONDS, NO_ANSWER_SECONDS
from yum_plugin.state.memory import Memory
from yum_plugin.trust.freshness import MAX_AHEAD_SECONDS

from .lab import pages
from .simulator import FAULTS, MIRROR_SECONDS, PUBLISHED, REDIRECTOR_SECONDS, Simulator, signed, snapshot_of

OLD, NEW = PUBLISHED - 1, PUBLISHED
STAGGER_SECONDS = STAGGER.least_seconds  # the simulator's redirector is near
UNKNOWN_FORM_SECONDS = OTHER_FORM.after(FAR_SECONDS)  # before anything is known of it
PROBE_SECONDS = 3 * MIRROR_SECONDS  # of a mirror whose signature is proven: repomd.xml, its signature, a sample
LIES = sorted(name for name, fault in FAULTS.items() if fault.reference in (
    "signature-invalid", "signature-missing", "unknown-key", "weak-digest", "wrong-signature-type", "signature-expired"))
CONTESTED = "fast-forward"  # it is signed by the key's owner: another voice decides
HARMLESS = ("mid-sync",)
SOON = [name for name in sorted(FAULTS) if name not in ("mute", "blackhole")]  # known to be bad at once


@pytest.fixture
def sim(tmp_path):
    return Simulator(tmp_path)


def names(first, last):
    return ["m{}".format(number) for number in range(first, last + 1)]


def many(sim, count=40, bad=0, fault="", **attributes):
    """Add m1, m2, ..., of which the first ones have a fault."""
    sim.add_many(count, **attributes)
    if bad:
        sim.change(*names(1, bad), fault=fault)


# selection.py, rule 1: which mirrors are asked first.


def test_selection_rule_1_without_a_digest_a_whole_round_is_asked_at_once(sim):
    many(sim)
    sim.redirector.digest = ""
    sim.refresh()
    assert sim.asked_at == dict.fromkeys(names(1, sim.settings.probe_mirrors), 0.0)


@pytest.mark.parametrize("probe_mirrors", [1, 2, 64])
def test_selection_rule_1_the_first_round_is_as_large_as_the_setting(probe_mirrors, sim):
    many(sim, 80)
    sim.redirector.digest = ""
    sim.configure(probe_mirrors=probe_mirrors, enough=1)
    sim.accept(snapshot_of(NEW))  # what is known needs no second voice
    sim.accepted.clear()
    assert sim.refresh().error == "" and sim.asked == names(1, probe_mirrors)


def test_selection_rule_1_with_a_digest_no_more_mirrors_are_asked_than_must_agree(sim):
    many(sim)
    assert sim.refresh().mirrors == ["m1", "m2"] == sim.asked


def test_selection_rule_1_as_many_more_as_are_missing_are_asked_when_the_first_are_late(sim):
    many(sim, bad=2, fault="mute")
    assert sim.refresh().mirrors == ["m3", "m4"]
    assert sim.asked_at == dict(m1=0.0, m2=0.0, m3=pytest.approx(STAGGER_SECONDS), m4=pytest.approx(STAGGER_SECONDS))


def test_selection_rule_1_the_rest_of_the_round_follows_when_all_asked_so_far_were_stale(sim):
    many(sim, bad=4, fault="stale")
    assert sim.refresh().mirrors == ["m5", "m6"]
    assert sim.asked_at["m3"] == pytest.approx(PROBE_SECONDS) and sim.asked_at["m5"] == sim.asked_at["m6"]


@pytest.mark.parametrize("stale", [1, 2, 3, 5])
def test_selection_rule_1_an_answer_older_than_the_accepted_counts_as_none(stale, sim):
    many(sim, bad=stale, fault="stale")
    sim.redirector.digest = ""
    sim.accept(sim.refresh().snapshot)
    sim.accepted.clear()
    outcome = sim.refresh()
    assert outcome.version == NEW and not set(names(1, stale)) & set(outcome.mirrors) and "origin" not in sim.asked


# Rule 2: when enough have answered.


@pytest.mark.parametrize("enough, digest, asked", [(1, None, 1), (2, None, 2), (3, None, 2), (5, None, 4), (3, "", 6), (6, "", 6)])
def test_selection_rule_2_the_redirectors_word_counts_as_one_mirror_but_never_as_one_of_two(enough, digest, asked, sim):
    many(sim)
    sim.configure(enough=enough)
    sim.redirector.digest = digest
    sim.refresh()
    assert sim.asked == names(1, asked)


def test_selection_rule_2_the_digest_that_is_named_has_to_be_seen(sim):
    many(sim, 6, bad=5, fault="stale")
    assert sim.refresh().mirrors == ["m6"], "five agree, but on another one"


def test_selection_rule_2_enough_end_it_at_once_if_the_digest_is_seen(sim):
    many(sim)
    sim.refresh()
    assert sim.took_seconds == pytest.approx(REDIRECTOR_SECONDS + PROBE_SECONDS)


def test_selection_rule_2_without_a_digest_the_others_get_the_hedge_time_to_show_something_newer(sim):
    many(sim, 6, bad=5, fault="stale")
    sim.redirector.digest = ""
    sim.mirrors["m6"].seconds = (PROBE_SECONDS + HEDGE_SECONDS) / 3 - 0.001
    assert sim.refresh().mirrors == ["m6", "origin"], "which is the second voice"


def test_selection_rule_2_and_no_longer_than_the_hedge_time(sim):
    many(sim, 6, bad=5, fault="stale")
    sim.redirector.digest = ""
    sim.mirrors["m6"].seconds = (PROBE_SECONDS + HEDGE_SECONDS) / 3 + 0.001
    assert sim.refresh().version == OLD


# Rule 3: failed ones are replaced at once.


@pytest.mark.parametrize("digest", [None, ""])
@pytest.mark.parametrize("dead", [1, 2, 3, 10, 38])
def test_selection_rule_3_failed_mirrors_are_replaced_at_once(digest, dead, sim):
    many(sim, bad=dead, fault="refused")
    sim.redirector.digest = digest
    outcome = sim.refresh()
    assert outcome.version == NEW and not set(outcome.mirrors) & set(names(1, dead)) and "origin" not in sim.asked
    assert max(sim.asked_at.values()) < 0.05, "nobody was waited for"


# Rule 4: when to stop.


def test_selection_rule_4_the_hedge_time_after_the_best_answer_ends_it_whatever_dead_mirrors_do(sim):
    many(sim, 6, bad=4, fault="mute")
    sim.redirector.digest = ""
    assert sim.refresh().mirrors == ["m5", "m6"]
    assert sim.took_seconds == pytest.approx(REDIRECTOR_SECONDS + PROBE_SECONDS + HEDGE_SECONDS, abs=0.01)


@pytest.mark.parametrize("seconds, waited", [(0.02, HEDGE_SECONDS), (0.2, 0.4), (0.7, 1.0)])
def test_selection_rule_4_a_slow_best_answer_is_waited_for_as_long_again_up_to_a_second(seconds, waited, sim):
    """``seconds`` of a request; what is compared is the first byte of repomd.xml and of a sample."""
    many(sim, 2, seconds=seconds)
    sim.without_origin()
    sim.mirrors["m2"].fault = "mute"
    assert sim.refresh().mirrors == ["m1"]
    assert sim.took_seconds == pytest.approx(REDIRECTOR_SECONDS + 3 * seconds + waited, abs=0.01)


def test_selection_rule_4_after_a_single_good_answer_another_round_is_asked(sim):
    many(sim, bad=5, fault="mute")
    outcome = sim.refresh()
    assert sim.asked == names(1, 12) and outcome.mirrors == ["m6", "m7"]
    assert sim.asked_at["m7"] == pytest.approx(sim.asked_at["m6"] + PROBE_SECONDS + HEDGE_SECONDS)


def test_selection_rule_4_a_single_good_mirror_is_enough_where_one_is_enough(sim):
    many(sim, bad=5, fault="mute")
    sim.configure(enough=1)
    sim.redirector.digest = ""
    sim.accept(snapshot_of(NEW))  # what is known needs no second voice
    sim.accepted.clear()
    assert sim.refresh().mirrors == ["m6"] and sim.asked == names(1, 6)


def test_selection_rule_4_a_digest_that_nobody_serves_costs_one_more_round_and_the_origin_and_is_reported(sim):
    many(sim)
    sim.redirector.digest = "f" * 64
    outcome = sim.refresh()
    assert sim.asked == names(1, 12) + ["origin"]
    assert (outcome.note, outcome.version, outcome.mirrors[-1]) == ("propagating", NEW, "origin")


def test_selection_rule_4_no_more_than_two_rounds_are_added(sim):
    many(sim, bad=40, fault="stale")
    sim.origin.fault = "refused"
    assert sim.refresh().version == OLD
    assert len(set(sim.asked) - {"origin"}) <= 3 * sim.settings.probe_mirrors


# Rule 5: mirrors that hang.


def test_selection_rule_5_another_round_is_asked_beside_those_that_hang(sim):
    many(sim, bad=12, fault="mute")
    assert sim.refresh().mirrors == ["m13", "m14"]
    assert sim.asked_at["m7"] == pytest.approx(2 * STAGGER_SECONDS + NO_ANSWER_SECONDS)
    assert sim.asked_at["m13"] == pytest.approx(2 * STAGGER_SECONDS + 2 * NO_ANSWER_SECONDS)
    assert sim.took_seconds < sim.settings.deadline


# Rule 6: the origin.


def test_selection_rule_6_the_origin_is_not_asked_while_a_mirror_is_expected(sim):
    sim.add("late", seconds=0.3)
    sim.add("dead", "refused")
    assert sim.refresh().mirrors == ["late"] and "origin" not in sim.asked


def test_selection_rule_6_the_origin_is_asked_once_those_under_way_have_had_their_time(sim):
    sim.add_many(6, "mute")
    assert sim.refresh().mirrors == ["origin"]
    assert sim.asked_at["origin"] == pytest.approx(2 * STAGGER_SECONDS + NO_ANSWER_SECONDS)


def test_selection_rule_6_the_origin_is_not_asked_while_a_mirror_is_left_that_was_not_asked(sim):
    many(sim, 20, bad=19, fault="refused")
    assert sim.refresh().mirrors == ["m20"] and "origin" not in sim.asked


def test_selection_rule_6_the_origin_is_asked_at_once_when_every_mirror_failed(sim):
    sim.add_many(7, "refused")
    assert sim.refresh().mirrors == ["origin"] and sim.asked[-1] == "origin"
    assert sim.asked_at["origin"] < 0.05


def test_selection_rule_6_a_single_good_mirror_is_enough_to_leave_the_origin_alone(sim):
    sim.add("only")
    sim.add("dead", "refused")
    assert sim.refresh().mirrors == ["only"] and "origin" not in sim.asked


@pytest.mark.parametrize("slow_seconds, asked", [(0.08, False), (0.2, True)])
def test_selection_rule_6_what_only_the_origin_serves_is_asked_of_it_when_the_others_have_had_their_time(slow_seconds, asked, sim):
    """The slow mirror has what the redirector names; the quick one is a day behind."""
    sim.add("quick", "stale")
    sim.add("slow", seconds=slow_seconds)
    outcome = sim.refresh()
    assert outcome.version == NEW and ("origin" in sim.asked) == asked


def test_selection_rule_6_what_a_mirror_has_shown_is_not_asked_of_the_origin(sim):
    sim.add("stale", "stale")
    sim.add("good")
    assert sim.refresh().mirrors == ["good"] and "origin" not in sim.asked


def test_selection_rule_6_mirrors_that_failed_lately_are_still_asked_before_the_origin(sim):
    sim.add_many(3, "http-503")
    assert sim.refresh().mirrors == ["origin"]
    sim.change(fault="")
    assert sim.refresh().mirrors == ["m1", "m2"] and "origin" not in sim.asked


def test_selection_rule_6_the_origin_is_asked_before_a_rollback_is_declared(sim):
    sim.add_many(4)
    sim.update()
    sim.change(fault="stale")
    sim.accepted.clear()
    sim.redirector.digest = ""
    assert sim.refresh().mirrors == ["origin"]


def test_selection_rule_6_the_origin_is_handed_over_last_however_quick_it_is(sim):
    sim.add("slow", seconds=0.2)
    sim.origin.seconds = 0.001
    assert sim.refresh(ask_everyone=True).mirrors == ["slow", "origin"]


# The order of asking, and of handing over.


def test_weighted_mirrors_are_drawn_and_those_without_a_weight_come_last(sim):
    weights = {"a": 60, "b": 30, "c": 10}
    sim.add("far")
    for name, weight in weights.items():
        sim.add(name, weight=weight)
    sim.configure(enough=1, probe_mirrors=1)
    sim.clock.chance = random.Random(1).random
    firsts = []
    for _ in range(100):
        sim.refresh()
        firsts += sim.asked[:1]
    for name, weight in weights.items():
        assert firsts.count(name) == pytest.approx(weight, abs=15)
    assert "far" not in firsts


@pytest.mark.parametrize("changes, settings, asked", [
    ({}, {}, ["a", "b"]),
    ({}, dict(prefer=("c.test",)), ["c", "a"]),
    (dict(c=dict(country="DE")), dict(prefer=("de",)), ["c", "a"]),
    ({}, dict(deny=("a.test",)), ["b", "c"]),
    (dict(a=dict(country="DE")), dict(deny=("DE",)), ["b", "c"]),
    (dict(a=dict(excluded="Down")), {}, ["b", "c"]),
    (dict(a=dict(listed=False)), {}, ["b", "c"]),
    (dict(a=dict(scheme="http")), {}, ["b", "c"]),
    (dict(a=dict(scheme="http")), dict(require_https=False), ["a", "b"]),
    (dict(a=dict(scheme="http")), dict(prefer=("a.test",)), ["b", "c"]),
    (dict(a=dict(country="DE")), dict(deny=("DE",), prefer=("DE",)), ["b", "c"]),
])
def test_who_is_asked_first_and_who_never(changes, settings, asked, sim):
    for name in "abc":
        sim.add(name, **changes.get(name, {}))
    sim.configure(**settings)
    sim.refresh()
    assert sim.asked == asked


def test_a_mirror_that_failed_is_asked_last_for_an_hour_doubling_each_time_up_to_a_day(sim):
    sim.add("bad", "http-503")
    for name in "abc":
        sim.add(name)

    def asked_first(hours):
        sim.later(hours=hours)
        sim.refresh()
        return "bad" in sim.asked

    assert [asked_first(0), asked_first(0.9), asked_first(0.2)] == [True, False, True], "an hour"
    assert [asked_first(1.9), asked_first(0.2)] == [False, True], "two"
    for hours in (4, 8, 16, 24, 24):
        assert [asked_first(hours - 0.1), asked_first(0.2)] == [False, True]
    sim.later(hours=24)
    sim.mirrors["bad"].fault = ""
    sim.refresh()
    assert asked_first(0), "one good answer makes all good"


def test_a_mirror_in_quarantine_comes_last_though_it_is_preferred(sim):
    sim.add("own", "http-503")
    sim.add_many(2)
    sim.configure(prefer=("own.test",))
    sim.refresh(ask_everyone=True)
    sim.refresh()
    assert sim.asked == ["m1", "m2"]


def test_mirrors_are_handed_over_as_they_were_drawn_but_for_slow_ones_and_favour(sim):
    for name, seconds in (("a", 0.03), ("slow", 0.3), ("b", 0.02), ("own", 0.5)):
        sim.add(name, seconds=seconds)
    sim.configure(prefer=("own.test",))
    assert sim.refresh(ask_everyone=True).mirrors == ["own", "a", "b", "slow", "origin"]


# candidates.py and the redirector's bad days.


@pytest.mark.parametrize("digest, shown", [(None, ["a", "b"]), ("", ["a", "b", "c"])])
@pytest.mark.parametrize("forms", [
    {}, dict(list_page=False), dict(json=False), dict(http_only=True), dict(http_only=True, list_page=False)])
def test_each_form_of_the_list_is_enough(forms, digest, shown, sim):
    for name in "abc":
        sim.add(name)
    sim.redirector.digest = digest
    for attribute, value in forms.items():
        setattr(sim.redirector, attribute, value)
    # what comes by http is not enough: the origin is heard, too
    assert sim.refresh().mirrors == shown + ["origin"] * sim.redirector.http_only


def test_a_redirect_names_mirrors_too_but_no_digest(sim):
    for name in "abc":
        sim.add(name)
    sim.redirector.list_page = sim.redirector.json = False
    assert sim.refresh().mirrors == ["a", "b", "c"]


@pytest.mark.parametrize("page_seconds, asked", [
    (UNKNOWN_FORM_SECONDS - REDIRECTOR_SECONDS - 0.01, ["mirrorlist"]),
    (UNKNOWN_FORM_SECONDS - REDIRECTOR_SECONDS + 0.01, ["mirrorlist", "https=1"])])
def test_the_selection_is_asked_for_too_when_the_list_page_is_late(page_seconds, asked, sim):
    sim.add_many(3)
    sim.redirector.page_seconds = page_seconds
    assert sim.refresh().error == ""
    assert list(dict.fromkeys(sim.files_asked("redirector"))) == asked  # by http, too, for this takes more than a second


# patience.py: the times of a host that is far from everybody.


def far(sim, round_trip, trips=4):
    """Put a host ``round_trip`` seconds from every server: TLS 1.2, and a request each."""
    sim.redirector.seconds = trips * round_trip
    sim.change(seconds=2 * round_trip)  # of three requests: as long as TCP, TLS and three of them


@pytest.mark.parametrize("round_trip", [0.0, 0.01, 0.05, 0.1, 0.25])
@pytest.mark.parametrize("trips", [3, 4, 5])
def test_patience_rule_1_on_a_good_day_one_form_of_the_list_and_two_mirrors_are_asked_from_everywhere(trips, round_trip, sim):
    sim.add_many(10)
    far(sim, round_trip, trips)
    for number in range(3):
        assert sim.refresh().mirrors == ["m1", "m2"] == sim.asked
        is_slow = number == 0 and sim.redirector.seconds > BLOCKED.least_seconds  # in the first run https may as well be blocked
        assert sim.files_asked("redirector") == ["mirrorlist"] * (1 + is_slow)
    sim.update()
    sim.refresh()
    assert sim.files_asked("redirector") == ["sha256"] and sim.asked == []
    sim.version += 1
    sim.refresh(sim.repository(installs=True))
    assert sim.files_asked("redirector") == ["sha256", "mirrorlist"] and sim.asked == ["m1", "m2"]


def test_patience_rule_1_mirrors_that_are_near_count_more_than_a_redirector_that_is_far(sim):
    many(sim)
    sim.redirector.seconds = 1.0
    sim.refresh()
    sim.change("m1", "m2", fault="mute")
    assert sim.refresh().mirrors == ["m3", "m4"]
    assert sim.asked_at["m3"] == pytest.approx(STAGGER_SECONDS)


def test_patience_rule_1_one_mirror_that_has_answered_shows_what_the_other_may_take(sim):
    many(sim)
    sim.redirector.seconds = 1.0
    sim.change("m2", fault="mute")
    assert sim.refresh().mirrors == ["m1", "m3"]
    assert sim.asked_at["m3"] == pytest.approx(STAGGER_SECONDS), "and not twice the second of the redirector"


@pytest.mark.parametrize("answer_seconds, waits", [
    (0.001, (0.25, 1.0, 0.3)), (0.2, (0.3, 1.0, 0.5)), (0.5, (0.75, 1.0, 1.25)), (0.6, (0.9, 1.2, 1.5)), (1.0, (1.5, 2.0, 1.75)),
    (9.0, (1.5, 2.0, 1.75))])
def test_patience_rule_2_a_wait_has_a_floor_and_a_limit(answer_seconds, waits):
    assert patience_of(Memory(answer_seconds=answer_seconds))[:3] == pytest.approx(waits)
    assert patience_of(Memory(answer_seconds=5.0), answer_seconds)[:3] == pytest.approx(waits), "what this run has shown counts more"


def test_patience_rule_2_a_far_host_with_many_dead_mirrors_still_ends_in_time(sim):
    many(sim, bad=6, fault="mute")
    far(sim, 0.25)
    outcome = sim.refresh()
    assert outcome.mirrors == ["m7", "m8"] and sim.took_seconds < sim.settings.deadline


@pytest.mark.parametrize("answer_seconds", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_patience_rule_3_where_nothing_is_known_everybody_is_taken_for_far(answer_seconds):
    found = patience_of(Memory(answer_seconds=answer_seconds))
    assert found[:3] == patience_of(Memory(answer_seconds=FAR_SECONDS))[:3]
    assert found.blocked_seconds == BLOCKED.least_seconds, "http is asked beside https, not in its place"


@pytest.mark.parametrize("before, seconds, after", [
    (0.0, 0.4, 0.4), (0.4, 0.0, 0.4), (0.4, 0.8, 0.8), (0.8, 0.4, 0.8 - QUICKER_SHARE * 0.4), (float("nan"), 0.4, 0.4), (0.0, 0.0, 0.0)])
def test_patience_rule_4_what_is_slower_counts_at_once_and_what_is_quicker_by_and_by(before, seconds, after):
    assert remembered_seconds(before, seconds) == pytest.approx(after)


def test_patience_rule_4_a_redirector_that_is_given_up_gets_more_time_in_the_next_run(sim):
    """A host that was moved: without this, no answer would ever come in time, and so none would be measured."""
    sim.add_many(4)
    sim.refresh()
    assert sim.memory().answer_seconds == pytest.approx(REDIRECTOR_SECONDS)
    sim.redirector.seconds = 1.35
    assert sim.refresh().sources == {"known"}
    assert sim.memory().answer_seconds == pytest.approx(LIST.least_seconds + OTHER_FORM.least_seconds, abs=0.03)
    assert sim.refresh().sources == {"list-page"}
    assert sim.memory().answer_seconds == pytest.approx(1.35)


def test_patience_rule_4_a_redirector_that_refuses_at_once_teaches_nothing(sim):
    sim.add_many(4)
    sim.refresh()
    sim.redirector.fault = "refused"
    sim.refresh()
    assert sim.memory().answer_seconds == pytest.approx(REDIRECTOR_SECONDS)


def test_a_list_page_that_hangs_does_not_hide_the_selection_that_came(sim):
    sim.add_many(3)
    sim.redirector.page_seconds = 1e6
    assert sim.refresh().mirrors == ["m1", "m2"]
    assert sim.took_seconds == pytest.approx(LIST.after(FAR_SECONDS) + PROBE_SECONDS, abs=0.01)


def test_the_list_page_counts_more_than_the_selection(sim):
    sim.add("listed")
    sim.add("down", excluded="Down")

    def selection(request):
        if request.query == "mirrorlist":
            return None
        offered = sim.redirector.selection(request)
        everybody = list(offered.mirrors) + [each._replace(reason="") for each in offered.excluded]
        return pages.as_json(offered._replace(mirrors=everybody, selected=2, excluded=()), "127.0.0.1")

    sim.redirector.override = selection
    sim.redirector.page_seconds = UNKNOWN_FORM_SECONDS + 0.01
    sim.refresh()
    assert list(dict.fromkeys(sim.files_asked("redirector"))) == ["mirrorlist", "https=1"] and sim.asked == ["listed"]


TROUBLES = ("refused", "mute", "http-503", "captive")


@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_last_list_stands_in_for_a_redirector_in_trouble_and_its_old_digest_is_no_advice(trouble, sim):
    sim.add_many(4)
    assert sim.refresh().error == ""
    sim.redirector.fault = trouble
    sim.version += 1
    outcome = sim.refresh()
    assert outcome.version == NEW + 1 and outcome.mirrors == names(1, 4) and outcome.note == ""
    assert outcome.sources == {"known"}
    assert sim.took_seconds < LIST.least_seconds + PROBE_SECONDS + HEDGE_SECONDS + 0.01


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_redirector_in_trouble_without_any_list_leads_to_the_origin_well_before_the_deadline(trouble, sim):
    sim.add_many(4)
    sim.redirector.fault = trouble
    assert sim.refresh().mirrors == ["origin"]
    assert sim.took_seconds < NO_LIST_TIMEOUT_SECONDS + 1 < sim.settings.deadline


@pytest.mark.parametrize("body", [b"", b"<html>", b"\x00" * 10000, b"<html><title>Mirrorlist x</title>" + b"<tr>" * 10000,
                                  b"{}", b"[]", b"https://a.test/\n", b"\xff" * 100])
def test_rubbish_for_a_list_leads_to_the_origin(body, sim):
    sim.add_many(2)
    sim.redirector.override = lambda request: body or b" "
    assert sim.refresh().mirrors == ["origin"]


def test_a_list_that_names_only_the_fallback_leads_to_the_origin(sim):
    sim.add("a", excluded="Down")
    assert sim.refresh().mirrors == ["origin"] and sim.asked == ["origin"]


def test_the_admins_own_baseurl_is_used_though_it_is_http(sim):
    sim.add("own", listed=False, scheme="http")
    repository = sim.repository(base_urls=("http://own.test/8/8.3/updates/x86_64/",), path="")
    assert sim.refresh(repository).mirrors == ["own"] and sim.files_asked("redirector") == []


def test_a_denied_origin_is_not_asked(sim):
    sim.add("a", "refused")
    sim.without_origin()
    outcome = sim.refresh()
    assert (outcome.error, outcome.refused, sim.asked) == ("unreachable", False, ["a"])


def test_no_mirror_at_all_is_reported_as_such(sim):
    sim.without_origin()
    outcome = sim.refresh()
    assert outcome.error == "unreachable" and "no mirror is known" in outcome.message and sim.asked == []


# What is believed: bad mirrors, and attacks by their names.


def test_the_simulators_mirrors_are_no_better_than_the_labs():
    """Whose references test_resolve.py holds on real sockets; "" is one that depends on the time there."""
    both = {name: reference for name, reference in METADATA_FAULTS.items() if name in FAULTS and reference}
    assert both == {name: FAULTS[name].reference for name in both}
    assert set(METADATA_FAULTS) - set(FAULTS) == {
        "crlf-location", "drip-1k", "drip-500", "endless-headers", "endless-unframed", "redirect-to-http", "rolled-back"}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_bad_mirror_is_rejected_by_its_own_reference_and_the_others_are_used(fault, sim):
    sim.add("bad", fault)
    sim.add("good1")
    sim.add("good2")
    outcome = sim.refresh(ask_everyone=True)
    assert (outcome.error, outcome.version) == ("", NEW)
    assert outcome.probes == dict(bad=FAULTS[fault].reference, good1="ok", good2="ok", origin="ok")
    assert ("bad" in outcome.mirrors) == (fault in HARMLESS)
    assert len(outcome.warnings) == int(fault in LIES or fault == CONTESTED), "a warning of lies, and of nothing else"


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_bad_mirror_at_the_head_of_the_list_costs_less_than_half_a_second(fault, sim):
    sim.add("bad", fault)
    for name in ("good1", "good2"):
        sim.add(name)
    outcome = sim.refresh()
    assert outcome.error == "" and "good1" in outcome.mirrors and ("origin" in sim.asked) == (fault == CONTESTED)
    assert sim.took_seconds < 0.5


@pytest.mark.parametrize("fault", LIES)
def test_a_warning_names_the_mirror_that_lies_in_one_line(fault, sim):
    sim.add("bad", fault)
    sim.add("good")
    [line] = sim.refresh(ask_everyone=True).warnings
    assert line.startswith(FAULTS[fault].reference + ": ") and "https://bad.test/" in line


def test_one_line_warns_of_many_mirrors_that_lie(sim):
    sim.add_many(4, "tampered")
    sim.add("good")
    [line] = sim.refresh(ask_everyone=True).warnings
    assert "https://m1.test/" in line and " and 3 more" in line


@pytest.mark.parametrize("fault", LIES)
def test_sybil_attack_a_majority_that_agrees_on_a_lie_does_not_win(fault, sim):
    sim.add_many(5, fault)
    sim.add("good")
    assert sim.refresh().mirrors == ["good"]


@pytest.mark.parametrize("fault", LIES)
def test_if_every_mirror_lies_the_update_is_refused_and_nothing_is_handed_over(fault, sim):
    sim.without_origin()
    sim.add_many(2, fault)
    outcome = sim.refresh()
    assert (outcome.error, outcome.refused, outcome.mirrors, outcome.snapshot) == (FAULTS[fault].reference, True, [], None)


@pytest.mark.parametrize("fault", sorted(set(SOON) - set(LIES) - set(HARMLESS) - {
    "stale", "other-repository", "asc-of-another", CONTESTED}))
def test_mirrors_that_give_nothing_leave_the_repository_as_it_was_unless_the_admin_wants_to_stop(fault, sim):
    sim.without_origin()
    sim.add_many(2, fault)
    outcome = sim.refresh()
    assert (outcome.error, outcome.refused) == (FAULTS[fault].reference, False)
    sim.configure(on_unreachable="abort")
    assert sim.refresh().refused


def test_one_liar_among_dead_mirrors_names_the_error(sim):
    sim.without_origin()
    for name, fault in (("a", "refused"), ("b", "expired-certificate"), ("c", "other-key"), ("d", "tampered")):
        sim.add(name, fault)
    outcome = sim.refresh()
    assert outcome.error == "unknown-key" and "https://c.test/" in outcome.message, "the first of them"


@pytest.mark.parametrize("faults, reference, words", [
    (("http-503", "refused"), "http-status", ["none of 2 mirrors can be used: HTTP 503", "https://a.test/"]),
    (("refused", "http-503"), "unreachable", ["none of 2 mirrors can be used: as simulated", "https://a.test/"]),
    (("tampered", "other-key"), "signature-invalid", [
        "none of 2 mirrors offers metadata that the pinned key has signed", "made over other bytes", "https://a.test/"]),
])
def test_the_error_of_mirrors_that_all_failed_counts_them_and_names_the_first(faults, reference, words, sim):
    sim.without_origin()
    for name, fault in zip("ab", faults):
        sim.add(name, fault)
    outcome = sim.refresh()
    assert outcome.error == reference and all(text in outcome.message for text in words)
    assert "see 'xcpng-mirrors mirrors --repo xcp-ng-updates'" in outcome.message


@pytest.mark.parametrize("fault, detail", [
    ("http-503", "HTTP 503"), ("redirect-loop", "it redirects (HTTP 302)"), ("no-asc", "repomd.xml has no signature beside it"),
    ("half-synced", "repomd.xml is there, the files it names are not: HTTP 404"), ("mute", "no answer in time")])
def test_a_rejection_says_in_words_what_was_wrong(fault, detail, sim):
    sim.add("bad", fault)
    sim.add("good")
    assert sim.refresh(ask_everyone=True).rejected["bad"] == (FAULTS[fault].reference, detail)


@pytest.mark.parametrize("fault", ["signature-expired", "expired-certificate"])
def test_where_every_mirror_looks_wrong_in_time_the_clock_is_named(fault, sim):
    sim.without_origin()
    sim.add_many(2, fault)
    assert "timedatectl" in sim.refresh().message
    sim.add("m3", "http-503")
    assert "timedatectl" not in sim.refresh().message, "not all of them"


def test_rollback_attack_by_every_mirror_is_refused_and_the_mark_stays(sim):
    sim.add_many(3)
    sim.update()
    sim.version = OLD
    sim.accepted.clear()
    outcome = sim.refresh()
    assert (outcome.error, outcome.refused, outcome.mirrors) == ("rollback", True, [])
    assert sim.state.load("xcp-ng-updates").accepted.sha256 == signed("updates", NEW).sha256


def test_modifyrepo_remove_older_data_under_a_newer_signature_is_used_and_becomes_the_mark(sim):
    sim.without_origin()
    sim.add_many(3)
    sim.update()
    before = sim.state.load("xcp-ng-updates").accepted
    sim.version = OLD
    sim.change("m1", "m2", "m3", signed_at=before.signed_at + 60)
    sim.accepted.clear()
    outcome = sim.update()
    assert (outcome.error, outcome.version) == ("", OLD)
    assert sim.state.load("xcp-ng-updates").accepted.sha256 == signed("updates", OLD).sha256
    sim.change("m1", signed_at=None, version=NEW)
    sim.accepted.clear()
    outcome = sim.refresh(ask_everyone=True)
    assert (outcome.error, outcome.version, outcome.rejected["m1"][0]) == ("", OLD, "stale"), "what was there before holds nobody back"


def test_replay_attack_what_was_signed_once_and_is_served_again_by_most_loses_against_one_newer(sim):
    many(sim, 7, bad=6, fault="stale")
    outcome = sim.refresh()
    assert outcome.mirrors == ["m7"] and outcome.warnings == [], "staleness is no distrust"
    assert outcome.rejected["m1"] == ("stale", "24 h behind")


def test_fast_forward_attack_does_not_win_and_does_not_raise_the_mark(sim):
    sim.add("bad", "fast-forward")
    sim.add("good")
    sim.add("also")
    assert sim.update().version == NEW
    assert sim.state.load("xcp-ng-updates").accepted.timestamp < sim.clock.wall() + MAX_AHEAD_SECONDS


def test_endless_data_attack_ends_at_the_limit(sim):
    sim.add("bad", "endless-repomd")
    sim.add("good")
    assert sim.refresh(ask_everyone=True).rejected["bad"][0] == "too-large"


def test_slow_retrieval_attack_by_everybody_ends_at_the_deadline(sim):
    sim.without_origin()
    sim.add_many(40, "mute")
    sim.redirector.fault = "mute"
    outcome = sim.refresh()
    assert (outcome.error, outcome.refused) == ("unreachable", False)
    sim.redirector.fault = ""
    sim.configure(deadline=3.0)
    outcome = sim.refresh()
    assert outcome.error == "timed-out" and "mirrors answered in time" in outcome.message
    assert sim.took_seconds == pytest.approx(3.0)


def test_mix_and_match_attack_the_list_without_its_packages_is_not_used(sim):
    sim.add("bad", "half-synced")
    sim.add("good")
    assert sim.refresh(ask_everyone=True).mirrors == ["good", "origin"]


@pytest.mark.parametrize("digest", [signed("updates", OLD).sha256, signed("base", NEW).sha256, "f" * 64])
def test_a_lying_redirector_whose_digest_is_false_changes_nothing_about_what_is_taken(digest, sim):
    sim.add_many(4)
    sim.redirector.digest = digest
    outcome = sim.refresh()
    assert (outcome.version, outcome.error, outcome.warnings) == (NEW, "", [])


def test_a_lying_redirector_that_offers_stale_mirrors_only_cannot_go_below_the_mark(sim):
    sim.add_many(3)
    sim.update()
    sim.accepted.clear()
    sim.change(fault="stale")
    sim.redirector.digest = signed("updates", OLD).sha256
    sim.origin.fault = "refused"
    assert sim.refresh().error == "rollback"


def test_a_mirror_that_is_tampered_with_is_asked_once_more_and_no_more(sim):
    sim.add("bad", "tampered")
    sim.without_origin()
    assert sim.refresh().error == "signature-invalid"
    assert sim.files_asked("bad") == ["repomd.xml", "repomd.xml.asc"] * 2


def test_a_mirror_in_the_middle_of_a_sync_is_asked_once_more_and_used(sim):
    sim.without_origin()
    sim.add("busy", "mid-sync")
    assert sim.refresh().mirrors == ["busy"]
    assert sim.files_asked("busy") == ["repomd.xml", "repomd.xml.asc"] * 2 + ["primary"]


def test_each_good_mirror_is_asked_for_three_files_and_no_more(sim):
    sim.add_many(6)
    sim.refresh()
    assert all(sim.files_asked(name) == ["repomd.xml", "repomd.xml.asc", "primary"] for name in sim.asked)


# resolver.py: several repositories, and mistakes on this host.


def test_repositories_are_resolved_side_by_side(sim):
    sim.add_many(3)
    outcomes = sim.refresh_all([sim.repository("base"), sim.repository("updates")])
    assert [outcome.mirrors for outcome in outcomes] == [["m1", "m2"]] * 2
    assert sim.took_seconds == pytest.approx(REDIRECTOR_SECONDS + PROBE_SECONDS)


def test_a_repository_without_a_key_leaves_the_other_alone(sim):
    sim.add_many(2)
    bad, good = sim.refresh_all([sim.repository("base", key_paths=("/nowhere",)), sim.repository()])
    assert (bad.error, good.error) == ("key-file", "")


@pytest.mark.parametrize("changes, reference", [(dict(fingerprints=("A" * 40,)), "key-mismatch"), (dict(key_paths=()), "key-file")])
def test_without_the_pinned_key_nothing_is_believed(changes, reference, sim):
    sim.add_many(2)
    outcome = sim.refresh(sim.repository(**changes))
    assert (outcome.error, outcome.mirrors) == (reference, [])


def test_a_bug_in_a_probe_is_that_mirrors_problem_and_logged(sim, monkeypatch, caplog):
    sim.add_many(3)
    real = Simulator.answer

    def buggy(self, url, *rest):
        if "m1.test" in url:
            raise ZeroDivisionError("a bug")
        return real(self, url, *rest)

    monkeypatch.setattr(Simulator, "answer", buggy)
    outcome = sim.refresh()
    assert outcome.mirrors == ["m2", "m3"] and outcome.probes["m1"] == "internal" and "a bug of ours" in caplog.text


def test_everyone_is_asked_and_waited_for_when_everyone_is_to_be_shown(sim):
    many(sim, 40, bad=1, fault="mute")
    outcome = sim.refresh(ask_everyone=True)
    assert sorted(outcome.probes) == sorted(names(1, 40) + ["origin"]) and outcome.probes["m1"] == "timed-out"


def test_age_alone_is_no_alarm(sim):
    sim.add_many(2)
    sim.later(hours=24 * 900)
    outcome = sim.refresh()
    assert (outcome.error, outcome.warnings, outcome.note) == ("", [], "")


@pytest.mark.parametrize("seconds, warned", [(-3, False), (0, True)])
def test_freeze_attack_is_reported_once_the_newest_is_older_than_max_age_and_changes_nothing(seconds, warned, sim):
    sim.configure(max_age=180 * DAY)
    sim.add_many(2)
    sim.later(hours=24 * (180 - 30 + PUBLISHED), seconds=seconds)
    base, updates = sim.refresh_all([sim.repository("base"), sim.repository()])
    assert [len(outcome.warnings) for outcome in (base, updates)] == [0, int(warned)], "the base never changes"
    assert [outcome.note for outcome in (base, updates)] == ["", "freeze" * warned]
    assert (updates.version, updates.mirrors) == (NEW, ["m1", "m2"])
