"""Volunteers' mirrors are asked no more than stock asks them, and an update is hidden no longer than from stock."""
import pytest

from yum_plugin.cli.status import STALE_SECONDS
from yum_plugin.model import MirrorList, Repository
from yum_plugin.resolve.candidates import Candidates
from yum_plugin.resolve.refresh_policy import (
    MAX_EXPIRE_SECONDS,
    MAX_PROVEN,
    UNHEARD_SECONDS,
    RefreshPlan,
    due_at,
    plan_refresh,
    still_waits,
    with_run,
)
from yum_plugin.state.memory import Memory

from .support.world import NOW, mirror, mirrors, snapshot

HOUR = 3600.0
HELD, NEWER = snapshot(1), snapshot(2)
LISTED = tuple(mirrors(6))
USABLE = tuple(each.url for each in LISTED[1:4])
ORIGIN = mirror("origin", source="origin")
REPOSITORY = Repository("xcp-ng-updates", ("https://r.test/x/",), "x/", ("/key",), ("A" * 40,), cached_sha256=HELD.sha256)
MEMORY = Memory(LISTED, HELD.sha256, snapshot=HELD, usable=USABLE, resolved_at=NOW - HOUR, confirmed_at=NOW - HOUR, jitter=0.5,
                fingerprints=REPOSITORY.fingerprints)
ENOUGH = 3
FULL = RefreshPlan(ENOUGH)


def found(*offered, named=HELD.sha256):
    return Candidates(MirrorList(offered, named), tuple(offered), (ORIGIN,), ())


def plan(repository=REPOSITORY, memory=MEMORY, accepted=HELD, offer=found(*LISTED), now=NOW):
    return plan_refresh(repository, memory, accepted, offer, ENOUGH, now)


def test_nobody_is_asked_while_the_redirector_names_what_is_held_and_nobody_is_due():
    assert plan() == RefreshPlan(0, LISTED[1:4])
    assert plan(offer=found(*LISTED, named="")) == RefreshPlan(0, LISTED[1:4]), "stock would go on with its cache too"


def test_what_the_timer_has_found_is_kept_also_before_the_package_manager_takes_it():
    assert plan(accepted=snapshot(0)) == RefreshPlan(0, LISTED[1:4])


def test_mirrors_that_are_no_longer_offered_are_left_out_of_what_is_kept():
    assert plan(offer=found(LISTED[3], LISTED[0], LISTED[1])) == RefreshPlan(0, (LISTED[1], LISTED[3]))


@pytest.mark.parametrize("jitter, hours", [(0.0, 4.5), (0.5, 5.25), (1.0, 6.0), (-9.0, 4.5), (1e300, 6.0), (float("inf"), 6.0)])
def test_one_is_asked_when_it_is_due_and_never_later_than_stock_would_ask(jitter, hours):
    """A redirector that is stuck, or lies, hides an update no longer than a cache does from yum."""
    memory = MEMORY._replace(jitter=jitter, confirmed_at=NOW - hours * HOUR)
    assert plan(memory=memory, now=NOW - 1).quorum == 0
    assert plan(memory=memory).quorum == 1


def test_asking_the_redirector_alone_does_not_put_off_when_one_is_due():
    assert plan(memory=MEMORY._replace(confirmed_at=NOW - 7 * HOUR, resolved_at=NOW - 60.0)).quorum == 1


@pytest.mark.parametrize("heard, resolved", [(NOW + 60.0, NOW + 60.0), (NOW - HOUR, NOW + 60.0), (NOW + 60.0, NOW - 60.0), (0.0, 0.0)])
def test_a_clock_that_was_set_proves_nothing(heard, resolved):
    assert plan(memory=MEMORY._replace(confirmed_at=heard, resolved_at=resolved)).quorum == 1


@pytest.mark.parametrize("change", [
    dict(repository=REPOSITORY._replace(cached_sha256="")),  # --refresh, an empty cache
    dict(repository=REPOSITORY._replace(cached_sha256=NEWER.sha256)),
    dict(repository=REPOSITORY._replace(fingerprints=("B" * 40,))),
    dict(accepted=None), dict(accepted=NEWER),
    dict(memory=Memory()), dict(memory=MEMORY._replace(snapshot=NEWER)), dict(memory=MEMORY._replace(usable=())),
    dict(offer=found(LISTED[0], LISTED[5])),
    dict(memory=MEMORY._replace(usable=(ORIGIN.url,))),  # found while no mirror had it: packages must not all come from there
])
def test_as_many_as_must_agree_are_asked_where_what_was_found_last_does_not_count(change):
    assert plan(**change) == FULL


def test_the_origin_is_kept_where_nobody_else_is_offered():
    assert plan(memory=MEMORY._replace(usable=(ORIGIN.url,)), offer=found()) == RefreshPlan(0, (ORIGIN,))


def test_something_new_is_asked_for_once_half_of_the_mirrors_have_it():
    """Else all hosts of the world are upon the first mirror that has it, or on the origin."""
    few, half = found(*LISTED[:2], named=NEWER.sha256), found(*LISTED[:3], named=NEWER.sha256)
    turn = MEMORY._replace(jitter=0.3)
    assert plan(offer=few, memory=turn) == RefreshPlan(0, LISTED[1:4])
    assert plan(offer=found(named=NEWER.sha256), memory=turn) == RefreshPlan(0, LISTED[1:4])
    assert plan(offer=half, memory=turn) == FULL


def test_a_look_that_nobody_attends_waits_for_three_hours_at_most():
    turn = MEMORY._replace(jitter=1.0, resolved_at=NOW - 3 * HOUR, confirmed_at=NOW - 3 * HOUR)
    few = found(*LISTED[:2], named=NEWER.sha256)
    assert [plan(offer=few, memory=turn, now=NOW + seconds).quorum for seconds in (-1, 0)] == [0, ENOUGH]
    assert plan(offer=found(named=NEWER.sha256), memory=turn).quorum == 0, "no mirror has it: not all upon the origin"


def test_without_any_word_of_the_redirector_a_mirror_is_asked_before_status_calls_that_a_problem():
    dnf, silent = REPOSITORY._replace(expire_seconds=48 * HOUR), found(*LISTED, named="")
    held = MEMORY._replace(resolved_at=NOW - UNHEARD_SECONDS, confirmed_at=NOW - UNHEARD_SECONDS)
    assert [plan(dnf, held, offer=silent, now=NOW + seconds).quorum for seconds in (-1, 0)] == [0, 1]
    assert plan(dnf, held).quorum == 0 and UNHEARD_SECONDS < STALE_SECONDS


def test_a_look_that_has_waited_asks_nobody_again_for_refresh_after_and_whoever_attends_or_installs_does():
    waited = MEMORY._replace(waited_at=NOW - 60.0, awaited_sha256=NEWER.sha256, jitter=0.9)

    def still(repository=REPOSITORY, memory=waited, now=NOW, refresh_after=900.0):
        made = still_waits(repository, memory, HELD, found(*LISTED), refresh_after, now)
        return made is not None

    assert still() and still(memory=waited._replace(awaited_sha256=""))
    assert not still(REPOSITORY._replace(installs=True)) and not still(REPOSITORY._replace(attended=True))
    assert not still(now=NOW + 840.0) and not still(now=NOW - 61.0) and not still(refresh_after=0.0)
    assert not still(memory=waited._replace(jitter=0.1)), "its turn has come"
    assert not still(REPOSITORY._replace(cached_sha256="")) and not still(memory=MEMORY)


def test_who_is_about_to_install_hears_of_something_new_at_once():
    """"Nothing to do" while a newer update is out there would be the worst answer to somebody who updates a host."""
    for word in ("installs", "attended"):
        urgent = REPOSITORY._replace(**{word: True})
        assert plan(urgent, MEMORY._replace(jitter=1.0), offer=found(*LISTED[:1], named=NEWER.sha256)) == FULL
        assert plan(urgent, offer=found(*LISTED, named="")) == FULL, "the redirector was late"
        assert plan(urgent) == RefreshPlan(0, LISTED[1:4]), "where nothing is new nobody is asked"
        said = [getattr(with_run(REPOSITORY, {word: value}), word) for value in (True, False, None, 1, "yes")]
        assert said == [True] + [False] * 4


def test_hosts_that_ask_often_learn_of_something_new_one_after_another():
    new = found(*LISTED, named=NEWER.sha256)
    turns = [MEMORY._replace(jitter=jitter) for jitter in (0.3, 0.4, float("inf"), -1.0)]
    assert [plan(offer=new, memory=memory).quorum for memory in turns] == [ENOUGH, 0, 0, ENOUGH], "an hour of three has passed"
    assert plan(offer=new, memory=turns[1]._replace(confirmed_at=NOW - 4 * HOUR, resolved_at=NOW - 3 * HOUR)) == FULL


def test_whatever_hinders_something_new_ends_when_one_is_due():
    memory = MEMORY._replace(confirmed_at=NOW - 6 * HOUR, resolved_at=NOW - 60.0)
    assert plan(offer=found(named=NEWER.sha256), memory=memory._replace(jitter=0.99)) == FULL


def test_what_is_kept_does_not_grow_without_end():
    many = tuple(mirrors(40))
    assert plan(memory=MEMORY._replace(usable=tuple(each.url for each in many)), offer=found(*many)).proven == many[:MAX_PROVEN]


@pytest.mark.parametrize("values, held, expire", [
    ({}, "", 6 * HOUR), ({"held_sha256": "ab", "metadata_expire": 60}, "", 60.0), ({"metadata_expire": -1}, "", MAX_EXPIRE_SECONDS),
    ({"metadata_expire": 10 ** 400}, "", MAX_EXPIRE_SECONDS), ({"metadata_expire": float("nan")}, "", MAX_EXPIRE_SECONDS),
    ({"held_sha256": 5, "metadata_expire": "soon"}, "", 6 * HOUR), ({"held_sha256": None, "metadata_expire": None}, "", 6 * HOUR)])
def test_what_a_plugin_says_of_its_cache_is_taken_as_far_as_it_makes_sense(values, held, expire):
    made = with_run(REPOSITORY._replace(cached_sha256=""), values)
    assert (made.cached_sha256, made.expire_seconds) == (held, expire)


def test_an_expiry_of_nothing_makes_a_mirror_due_at_once():
    assert due_at(MEMORY, REPOSITORY._replace(expire_seconds=0.0)) == MEMORY.confirmed_at
    assert plan(repository=REPOSITORY._replace(expire_seconds=0.0)).quorum == 1
