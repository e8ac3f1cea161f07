"""Whose a snapshot is, for a host that asks: a mirror serves another repository, signed by the same key. On the simulator.

The rules themselves are in test_identity.py; the attack on the real dnf is in test_attacks.py.
"""
import hashlib

import pytest

from yum_plugin.cli.common.host_options import NOTES
from yum_plugin.model import REPOMD
from yum_plugin.resolve.metadata_cache import YUM, MetadataCache
from yum_plugin.resolve.refresh import accept, refresh
from yum_plugin.resolve.resolver import ResolveOptions
from yum_plugin.trust.identity import SINGLE_VOICE, UNCONFIRMED, WRONG_REPOSITORY
from yum_plugin.util.files import write_whole

from .simulator import MIRROR_SECONDS, PUBLISHED, SIGNATURE, Simulator, signed, snapshot_of
from .support.virtual_time import VirtualTasks

OLD, NEW, NEWER = PUBLISHED - 1, PUBLISHED, PUBLISHED + 1
ID, TESTING = "xcp-ng-updates", "xcp-ng-testing"


@pytest.fixture
def sim(tmp_path):
    return Simulator(tmp_path)


@pytest.fixture
def settled(sim):
    """A host that has taken NEW; then a mirror at the head of the list begins to serve a newer ``testing`` at every path."""
    evil = sim.add("evil")
    sim.add_many(3)
    assert sim.update().version == NEW
    evil.serves, evil.version = "testing", NEWER
    sim.accepted.clear()  # as after an emptied cache: enough mirrors are asked
    return sim


def mark(sim, repository_id=ID):
    return sim.state.load(repository_id).accepted


def silence(sim, *names):
    """Let the origin and some mirrors be out of reach, and the redirector name no digest."""
    sim.redirector.digest = ""
    sim.origin.fault = "refused"
    if names:
        sim.change(*names, fault="refused")


# One mirror serves another repository.


@pytest.mark.parametrize("digest", [None, "", "f" * 64], ids=["named", "withheld", "false"])
def test_cross_repository_replay_by_one_mirror_is_seen_through_by_the_origin(digest, settled):
    settled.redirector.digest = digest
    outcome = settled.update()
    assert (outcome.error, outcome.version) == ("", NEW) and "evil" not in outcome.mirrors
    assert outcome.rejected["evil"][0] == WRONG_REPOSITORY
    [line] = outcome.warnings
    assert line.startswith("wrong-repository: the origin does not know ") and "https://evil.test/" in line
    assert mark(settled).sha256 == signed("updates", NEW).sha256


def test_cross_repository_replay_poisons_no_mark_so_that_honest_mirrors_are_no_rollback_afterwards(settled):
    settled.update()
    settled.change("evil", fault="refused")
    settled.accepted.clear()
    assert (settled.refresh().error, settled.refresh().version) == ("", NEW)


def test_a_mirror_that_serves_another_repository_is_left_alone_for_a_while(settled):
    settled.refresh()
    settled.refresh()
    assert "evil" not in settled.asked
    settled.later(hours=1.1)
    settled.refresh()
    assert "evil" in settled.asked


def test_without_a_digest_and_origin_the_other_mirrors_are_believed_and_the_single_voice_is_told(settled):
    silence(settled)
    outcome = settled.update()
    assert (outcome.error, outcome.version) == ("", NEW) and outcome.rejected["evil"][0] == UNCONFIRMED
    [line] = outcome.warnings
    assert line.startswith("unconfirmed: ") and "https://evil.test/" in line
    settled.accepted.clear()
    settled.refresh()
    assert "evil" in settled.asked, "it may be honest, and the first to have something new"


@pytest.mark.parametrize("repeated", [1, 3])
def test_if_all_others_are_silent_what_was_accepted_stays_in_use_and_one_line_names_it(repeated, settled):
    silence(settled, "m1", "m2", "m3")
    before = settled.memory()
    for _ in range(repeated):
        settled.accepted.clear()
        outcome = settled.update()
        assert (outcome.error, outcome.version, outcome.note) == ("", NEW, UNCONFIRMED)
        [line] = outcome.warnings
        assert line.startswith("unconfirmed: ") and "revision {}, which this host has accepted, stays".format(
            snapshot_of(NEW).revision) in line and "https://evil.test/" in line
    memory = settled.memory()
    assert mark(settled).sha256 == signed("updates", NEW).sha256 == memory.snapshot.sha256
    assert (memory.resolved_at, memory.usable) == (before.resolved_at, before.usable), "nothing was proven, so the next run asks again"
    assert memory.decisions[-1].error.startswith("unconfirmed: ") and memory.decisions[-1].note == UNCONFIRMED


def test_an_honest_mirror_that_is_the_only_one_to_be_reached_is_believed_when_a_second_one_is_back(sim):
    sim.add_many(2)
    sim.update()
    sim.version = NEWER
    silence(sim, "m2")
    sim.accepted.clear()
    assert sim.refresh().version == NEW
    sim.change(fault="")
    outcome = sim.update()
    assert (outcome.version, outcome.mirrors, outcome.warnings) == (NEWER, ["m1", "m2"], [])
    assert mark(sim).sha256 == signed("updates", NEWER).sha256


def fill(sim, folder, version):
    """Refresh for a package manager whose cache holds a version."""
    cache = MetadataCache(str(folder), YUM, (), "0" * 64, False)
    if version is not None:
        for path, content in zip((REPOMD, SIGNATURE), signed("updates", version)):
            write_whole(cache.path(path), content, durable=False)
    sim.later(seconds=1)
    [found] = refresh([sim.repository()], sim.settings, sim.state, ResolveOptions(), sim.clock.as_clock(), sim.gateway(),
                      lambda open_session: VirtualTasks(sim.clock, open_session), {ID: cache})
    return found, cache


def test_refresh_rule_5_the_package_manager_goes_on_from_its_cache_of_what_was_accepted(settled, tmp_path):
    silence(settled, "m1", "m2", "m3")
    found, cache = fill(settled, tmp_path / "cache", NEW)
    assert found.error is None and found.proven().sha256 == signed("updates", NEW).sha256
    with open(cache.path(REPOMD), "rb") as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == found.proven().sha256
    accept([found], [ID], settled.state, settled.settings)
    assert mark(settled).sha256 == found.proven().sha256


@pytest.mark.parametrize("version", [None, OLD, NEWER], ids=["an empty one", "an older one", "a newer one"])
def test_refresh_rule_5_without_it_in_the_cache_the_package_manager_is_stopped(version, settled, tmp_path):
    silence(settled, "m1", "m2", "m3")
    found, _ = fill(settled, tmp_path / "cache", version)
    assert (found.error.reference, found.snapshot, found.warnings) == (UNCONFIRMED, None, ())


# A publication.


def test_selection_rule_7_on_a_publication_day_the_origin_confirms_the_first_mirror_that_has_it_with_one_small_answer(sim):
    sim.add_many(6)
    sim.update()
    sim.redirector.digest = signed("updates", NEW).sha256  # it has not looked yet
    sim.version = NEWER
    sim.change("m2", "m3", "m4", "m5", "m6", version=NEW)
    sim.accepted.clear()
    outcome = sim.update()
    assert (outcome.version, outcome.mirrors, outcome.warnings) == (NEWER, ["m1", "origin"], [])
    assert sim.asked == ["m1", "m2", "origin"] and sim.files_asked("origin") == ["repomd.xml"]
    assert mark(sim).sha256 == signed("updates", NEWER).sha256


def test_selection_rule_7_what_the_redirector_names_is_not_asked_of_the_origin(sim):
    sim.add_many(6)
    sim.update()
    sim.version = NEWER
    sim.change("m2", "m3", "m4", "m5", "m6", version=NEW)
    sim.accepted.clear()
    assert sim.update().version == NEWER and "origin" not in sim.asked


def test_selection_rule_7_as_long_as_nobody_contradicts_one_more_mirror_is_the_second_voice(sim):
    sim.add_many(6)
    sim.configure(enough=1, probe_mirrors=1)
    sim.redirector.digest = ""
    outcome = sim.update()
    assert (outcome.mirrors, sim.asked, outcome.note) == (["m1", "m2"], ["m1", "m2"], "")
    assert mark(sim) is not None


def test_selection_rule_7_a_lone_attacker_makes_a_host_ask_the_origin_and_not_all_mirrors(settled):
    settled.add_many(60)
    settled.redirector.digest = ""
    settled.refresh()
    assert settled.asked.count("origin") == 1 and len(settled.asked) <= settled.settings.probe_mirrors + 2


@pytest.mark.parametrize("fault", ["refused", "mute", "blackhole", "http-503", "bad-signature"])
def test_selection_rule_7_an_origin_that_gives_no_answer_costs_a_last_round_and_a_bounded_time(fault, settled):
    settled.add_many(60)
    settled.redirector.digest, settled.origin.fault = "", fault
    assert settled.refresh().version == NEW
    assert len(settled.asked) <= 2 * settled.settings.probe_mirrors + 2 and settled.took_seconds < 4


@pytest.mark.parametrize("seconds", [MIRROR_SECONDS, 0.7])
def test_selection_rule_7_an_origin_that_is_far_away_gets_its_time(seconds, settled):
    settled.redirector.digest, settled.origin.seconds = "", seconds
    assert settled.refresh().rejected["evil"][0] == WRONG_REPOSITORY


def test_a_mirror_that_lags_makes_no_difference_between_the_two_that_agree(sim):
    sim.add_many(3)
    sim.redirector.digest = ""
    sim.change("m1", version=OLD)
    outcome = sim.refresh()
    assert (outcome.version, outcome.mirrors, outcome.warnings) == (NEW, ["m2", "m3"], []) and "origin" not in sim.asked


def test_two_mirrors_of_which_one_lags_do_not_confirm_each_other(sim):
    sim.add_many(2)
    sim.redirector.digest = ""
    sim.change("m2", version=OLD)
    assert sim.update().mirrors == ["m1", "origin"]


# Known snapshots of other repositories.


@pytest.fixture
def known(sim):
    """A host that knows base and updates; then two mirrors serve base in the place of updates."""
    sim.add_many(2)
    sim.add("e1", listed=False)
    sim.add("e2", listed=False)
    base, updates = (sim.repository(name) for name in ("base", "updates"))
    for each in sim.refresh_all([base, updates]):
        accept([each.resolution], [each.repository.id], sim.state, sim.settings)
    sim.change("e1", "e2", serves="base", listed=True)
    sim.accepted.clear()
    return sim


@pytest.mark.parametrize("digest", [None, ""], ids=["named", "withheld"])
def test_another_known_repositorys_snapshot_is_refused_though_two_mirrors_serve_it(digest, known):
    known.redirector.digest = digest
    known.change("m1", "m2", fault="refused")
    outcome = known.refresh(ask_everyone=True)
    assert outcome.mirrors == ["origin"] and outcome.rejected["e1"] == (
        WRONG_REPOSITORY, "it serves what this host knows as xcp-ng-base")
    [line] = outcome.warnings
    assert line.startswith("wrong-repository: ") and " and 1 more" in line


def test_if_all_serve_another_known_repository_the_update_is_refused(known):
    known.without_origin()
    known.redirector.digest = ""
    known.change("m1", "m2", fault="refused")
    outcome = known.refresh()
    assert (outcome.error, outcome.refused, outcome.snapshot) == (WRONG_REPOSITORY, True, None)
    assert "signed for this repository" in outcome.message


def test_mirrors_that_serve_another_repository_do_not_keep_others_from_being_asked(known):
    known.redirector.digest = ""
    known.configure(prefer=("e1.test", "e2.test"), probe_mirrors=2, enough=2)
    assert known.refresh().mirrors == ["m1", "m2"] and known.asked == ["e1", "e2", "m1", "m2"]


@pytest.mark.parametrize("digest", [None, ""], ids=["named", "withheld"])
def test_a_repository_of_the_same_run_tells_on_first_contact_whose_it_is(digest, sim):
    sim.add("evil", serves="base")
    sim.add_many(4)
    sim.redirector.digest = digest
    base, updates = sim.refresh_all([sim.repository("base"), sim.repository()])
    assert (base.error, updates.error) == ("", "") and "evil" in base.mirrors and "evil" not in updates.mirrors
    assert updates.rejected["evil"][0] == WRONG_REPOSITORY and updates.snapshot.sha256 == signed("updates", NEW).sha256


@pytest.mark.parametrize("who", ["redirector", "origin", "baseurl"])
def test_two_repositories_may_be_the_same_bytes_where_somebody_who_knows_says_so(who, sim):
    """Both are empty."""
    sim.add_many(2)
    [base] = sim.refresh_all([sim.repository("base")])
    accept([base.resolution], ["xcp-ng-base"], sim.state, sim.settings)
    sim.change(serves="base")
    sim.redirector.digest = signed("base", NEW).sha256 if who == "redirector" else ""
    sim.origin.serves = "base" if who == "origin" else ""
    repository = sim.repository()
    if who == "baseurl":
        repository = repository._replace(base_urls=repository.base_urls[:1] + sim.urls("m1"))
    outcome = sim.refresh(repository, ask_everyone=who != "redirector")
    assert outcome.snapshot.sha256 == signed("base", NEW).sha256 or who == "baseurl"
    assert not any(reference == WRONG_REPOSITORY for reference, _ in outcome.rejected.values())


# First contact.


@pytest.fixture
def alone(sim):
    """A new host that hears one mirror and nobody else."""
    sim.add("only")
    silence(sim)
    return sim


def test_a_single_voice_on_first_contact_is_used_told_and_not_marked(alone):
    outcome = alone.update()
    assert (outcome.error, outcome.version, outcome.mirrors, outcome.warnings) == ("", NEW, ["only"], [])
    assert outcome.note == SINGLE_VOICE == alone.memory().decisions[-1].note and mark(alone) is None
    assert {SINGLE_VOICE, UNCONFIRMED} <= set(NOTES), "explain has words for it"


def test_it_is_marked_as_soon_as_a_second_one_says_the_same(alone):
    alone.update()
    assert alone.update().note == SINGLE_VOICE and mark(alone) is None, "the same voice twice is one"
    alone.add("second")
    assert alone.update().note == "" and mark(alone).sha256 == signed("updates", NEW).sha256


def test_a_single_voice_of_first_contact_does_not_make_honest_mirrors_a_rollback(alone):
    alone.change("only", serves="testing", version=NEWER)
    alone.update()
    alone.change("only", fault="refused")
    alone.add_many(2)
    outcome = alone.update()
    assert (outcome.error, outcome.version, outcome.mirrors) == ("", NEW, ["m1", "m2"])


def test_what_confirmed_mirrors_serve_wins_over_a_newer_single_voice_on_first_contact(sim):
    sim.add("evil", serves="testing", version=NEWER)
    sim.add_many(3)
    silence(sim)
    assert sim.update().version == NEW and mark(sim).sha256 == signed("updates", NEW).sha256


def test_the_admins_own_baseurl_needs_no_second_voice(sim):
    sim.add("own", listed=False)
    repository = sim.repository(base_urls=sim.urls("own"), path="")
    assert sim.update(repository).note == "" and sim.state.load(ID, repository.place).accepted is not None
    sim.version = NEWER
    sim.accepted.clear()
    outcome = sim.update(repository)
    assert (outcome.version, outcome.warnings, sim.asked) == (NEWER, [], ["own"])


# The mark, by name; pins.


def poison(sim):
    """A host that an earlier version has let take ``testing`` in the place of updates."""
    sim.accept(snapshot_of(NEWER, "testing"))
    sim.accepted.clear()


def test_a_poisoned_mark_is_lowered_on_request_though_the_mirror_still_serves_the_same(settled):
    poison(settled)
    settled.redirector.digest = ""
    outcome = settled.refresh(accept_rollback=True)
    assert (outcome.error, outcome.version) == ("", NEW)
    assert mark(settled).sha256 == signed("updates", NEW).sha256


def test_a_mark_is_not_lowered_to_what_a_single_voice_says(settled):
    poison(settled)
    silence(settled, "m1", "m2", "m3")
    outcome = settled.refresh(accept_rollback=True)
    assert (outcome.error, outcome.refused) == (UNCONFIRMED, True)
    assert mark(settled).sha256 == signed("testing", NEWER).sha256


def test_a_pin_holds_though_a_newer_snapshot_is_nobody_elses(settled):
    settled.pin(NEW)
    silence(settled, "m1", "m2", "m3")
    outcome = settled.refresh()
    assert (outcome.error, outcome.version) == ("", NEW) and len(outcome.warnings) == 1


def test_asking_everyone_judges_as_always(settled):
    outcome = settled.refresh(ask_everyone=True)
    assert outcome.version == NEW and outcome.rejected["evil"][0] == WRONG_REPOSITORY
