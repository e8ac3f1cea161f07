"""How many mirrors a refresh asks, and what a host keeps: the mark, the pin, the memory. On the simulator (tests/simulator.py)."""
import ast
import importlib
import os
import re
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest

from yum_plugin.errors import UsageError
from yum_plugin.model import REPOMD, Mirror
from yum_plugin.resolve.refresh import accept
from yum_plugin.resolve.refresh_policy import DIGEST_RETRY_SECONDS, LIST_EXPIRE_SECONDS, MAX_PROVEN, SPREAD_SECONDS
from yum_plugin.state.memory import MAX_CLOCK_STEP_SECONDS
from yum_plugin.state.snapshot_pin import lift
from yum_plugin.state.store import State
from yum_plugin.util.files import write_whole

from .simulator import BEGIN, DAY, PUBLISHED, SIGNATURE, Simulator, signed, snapshot_of

OLD, NEW, NEWER = PUBLISHED - 1, PUBLISHED, PUBLISHED + 1
ID = "xcp-ng-updates"
EXPIRE_HOURS = 6.0  # metadata_expire of yum; a mirror is due after 5.25 of them, for the simulator's chance is a half
NOT_DUE, DUE = 4.0, 5.5  # hours
RULED = ("resolve.resolver", "resolve.candidates", "resolve.outcome", "resolve.refresh", "resolve.selection",
         "resolve.refresh_policy", "resolve.patience", "resolve.metadata_cache", "resolve.cache_age", "trust.identity",
         "state.snapshot_pin", "state.store", "resolve.dialogue")


@pytest.fixture
def sim(tmp_path):
    return Simulator(tmp_path)


@pytest.fixture
def settled(sim):
    """A host that has taken NEW from m1 and m2, of six mirrors."""
    sim.add_many(6)
    assert sim.update().mirrors == ["m1", "m2"]
    return sim


def publish(sim, *having, names=True):
    """Publish NEWER; only some mirrors have it, the redirector offers these alone, and names its digest or not."""
    sim.version = NEWER
    for name, mirror in sim.mirrors.items():
        mirror.version = NEWER if name in having else NEW
        mirror.excluded = "" if name in having or not names else "File size mismatch"
    sim.redirector.digest = None if names else ""


def at_once(sim, jitter=0.0):
    """Let the host's part of the time over which looks are spread be another one."""
    sim.state.update(ID, sim.memory()._replace(jitter=jitter))


def test_every_numbered_rule_of_these_modules_has_a_test_named_for_it():
    tested = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        functions = [node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
        tested |= {match.group(1) for match in (re.match(r"test_([a-z_]+_rule_[0-9]+)_", name) for name in functions) if match}
    rules, modules = set(), {module.partition(".")[2] for module in RULED}
    for module in RULED:
        text = importlib.import_module("yum_plugin." + module).__doc__
        rules |= {"{}_rule_{}".format(module.partition(".")[2], number) for number in re.findall(r"^ {4}([0-9]+)\. ", text, re.M)}
    assert len(rules) >= 20 and rules == {rule for rule in tested if rule.rpartition("_rule_")[0] in modules}


# refresh_policy.py, rule 1: when as many as must agree are asked.


@pytest.mark.parametrize("changes", [dict(cached_sha256=""), dict(cached_sha256=signed("updates", OLD).sha256)],
                         ids=["an emptied cache, or --refresh", "a cache of something else"])
def test_refresh_policy_rule_1_without_a_cache_that_fits_enough_are_asked(changes, settled):
    assert settled.refresh(settled.repository(**changes)).error == ""
    assert settled.asked == ["m1", "m2"] and settled.files_asked("m1") == ["repomd.xml", "repomd.xml.asc", "primary"]


def test_refresh_policy_rule_1_a_new_host_asks_enough(sim):
    sim.add_many(6)
    sim.refresh()
    assert len(sim.asked) == 2


def test_refresh_policy_rule_1_what_was_found_and_not_loaded_does_not_count(settled):
    settled.version = NEWER
    settled.refresh(settled.repository(installs=True))  # as the timer does: found, but the package manager has not loaded it
    settled.refresh()
    assert len(settled.asked) == 2


def test_refresh_policy_rule_1_what_is_below_the_mark_does_not_count(settled):
    settled.accept(snapshot_of(NEWER))
    settled.accepted[ID] = signed("updates", NEW).sha256
    settled.version = NEWER
    settled.refresh()
    assert len(settled.asked) == 2


def test_refresh_policy_rule_1_without_a_mark_enough_are_asked(settled):
    os.unlink(settled.state.path(ID, "accepted.json"))
    settled.refresh()
    assert len(settled.asked) == 2


def test_refresh_policy_rule_1_a_key_that_is_pinned_since_has_proven_nothing_yet(settled):
    outcome = settled.refresh(settled.repository(fingerprints=("A" * 40,) + settled.settings.fingerprints))
    assert outcome.error == "" and len(settled.asked) == 2


def test_refresh_policy_rule_1_where_nobody_proven_is_still_offered_enough_are_asked(settled):
    settled.change("m1", "m2", listed=False)
    settled.redirector.digests = False
    assert settled.refresh().mirrors == ["m3", "m4"] == settled.asked


def test_refresh_policy_rule_1_nobody_proven_is_left_while_something_new_is_waited_for(settled):
    """What came from the origin alone, while all mirrors were down: without mirrors nothing could be installed."""
    settled.change(fault="refused")
    settled.accepted.clear()
    assert settled.update().mirrors == ["origin"]
    settled.change(fault="")
    publish(settled, "m4")
    outcome = settled.refresh()
    assert outcome.version == NEWER and "m4" in settled.asked and outcome.mirrors != []


# Rule 2: the redirector names another digest.


def test_refresh_policy_rule_2_an_installing_host_gets_what_is_new_at_once_though_only_one_mirror_has_it(settled):
    publish(settled, "m3")
    settled.clock.chance = lambda: 0.999
    assert settled.refresh(settled.repository(installs=True)).version == NEWER and "m3" in settled.asked


def test_refresh_policy_rule_2_an_installing_host_asks_enough_where_the_redirector_names_no_digest(settled):
    publish(settled, *settled.mirrors, names=False)
    assert settled.refresh(settled.repository(installs=True)).version == NEWER
    assert len(settled.asked) == settled.settings.probe_mirrors


def test_refresh_policy_rule_2_an_installing_host_asks_nobody_where_nothing_is_new(settled):
    assert settled.refresh(settled.repository(installs=True)).mirrors == ["m1", "m2"] and settled.asked == []


@pytest.mark.parametrize("having, asked", [(0, False), (1, False), (2, False), (3, True), (6, True)])
def test_refresh_policy_rule_2_a_host_that_only_looks_waits_until_half_of_the_mirrors_have_it(having, asked, settled):
    at_once(settled)
    publish(settled, *list(settled.mirrors)[:having])
    outcome = settled.refresh()
    assert bool(settled.asked) == asked and outcome.version == (NEWER if asked else NEW) and "origin" not in settled.asked
    assert asked or outcome.mirrors == ["m1", "m2"], "those that were proven then; they keep what they had"


@pytest.mark.parametrize("having, hours", [(2, 3.0), (0, 5.25)])
def test_refresh_policy_rule_2_what_few_have_is_waited_for_three_hours_and_what_no_mirror_has_until_one_is_due(having, hours, settled):
    publish(settled, *list(settled.mirrors)[:having])
    at_once(settled, 0.5)
    settled.later(hours=hours - 0.1)
    assert settled.refresh().version == NEW and settled.asked == []
    settled.later(hours=0.1, seconds=settled.settings.refresh_after)
    assert settled.refresh().version == NEWER


def test_refresh_policy_rule_2_who_looks_at_a_terminal_sees_a_publication_at_once(settled):
    publish(settled, "m3")
    at_once(settled, 0.999)
    assert settled.refresh().version == NEW
    assert settled.refresh(settled.repository(attended=True)).version == NEWER


@pytest.mark.parametrize("extra", [dict(excluded="Down"), dict(source="origin")], ids=["an excluded one", "the origin"])
def test_refresh_policy_rule_2_neither_excluded_mirrors_nor_the_origin_count_for_half_of_the_mirrors(extra, sim):
    """Two were offered, so one is half of them, whatever else the list named."""
    sim.add_many(2)
    sim.update()
    memory = sim.memory()
    others = tuple(Mirror("https://x{}.test/".format(number), **extra) for number in range(3))
    sim.state.update(ID, memory._replace(mirrors=memory.mirrors + others, jitter=0.0))
    publish(sim, "m1")
    assert sim.refresh().version == NEWER and "m1" in sim.asked


def test_refresh_policy_rule_2_where_no_mirror_had_anything_the_first_that_has_something_new_is_asked(sim):
    """While no mirror had it the list was the fallback alone."""
    sim.add("a", excluded="Down")
    sim.update()
    assert [mirror.source for mirror in sim.memory().mirrors if not mirror.excluded] == ["origin"]
    at_once(sim)
    publish(sim, "a")
    assert sim.refresh().mirrors == ["a"]


def test_refresh_policy_rule_2_what_is_missing_on_a_denied_mirror_is_waited_for_too(settled):
    """Half of those that the redirector offered then; a denied one is offered and cannot be asked."""
    settled.configure(deny=("m1.test",))
    at_once(settled)
    publish(settled, "m1", "m3", "m4")
    settled.refresh()
    assert settled.asked == []


@pytest.mark.parametrize("hours, chance, asked", [
    (0.0, 0.01, False), (1.0, 0.32, True), (1.0, 0.35, False), (2.9, 0.96, True), (2.9, 0.98, False), (3.0, 0.999, True)])
def test_refresh_policy_rule_2_hosts_that_only_look_ask_for_something_new_at_different_times(hours, chance, asked, settled):
    """Within SPREAD_SECONDS after their last proof."""
    assert SPREAD_SECONDS == 3 * 3600
    at_once(settled, chance)
    publish(settled, *settled.mirrors)
    settled.later(hours=hours)
    settled.refresh()
    assert bool(settled.asked) == asked


def test_refresh_policy_rule_2_waiting_ends_when_a_mirror_is_due(settled):
    publish(settled, "m3")
    settled.clock.chance = lambda: 0.999
    settled.later(hours=DUE)
    assert settled.refresh().version == NEWER


# Rule 3: nobody, until one is due.


@pytest.mark.parametrize("digest", [None, ""])
def test_refresh_policy_rule_3_nobody_is_asked_until_one_is_due(digest, settled):
    settled.redirector.digest = digest
    settled.later(hours=NOT_DUE)
    assert settled.refresh().mirrors == ["m1", "m2"] and settled.asked == []


def test_refresh_policy_rule_3_one_is_asked_for_one_file_when_it_is_due(settled):
    settled.later(hours=DUE)
    assert settled.refresh().mirrors == ["m1", "m2"]
    assert [(request.server, request.file) for request in settled.requests if request.server != "redirector"] == [("m1", "repomd.xml")]


@pytest.mark.parametrize("jitter, hours", [(0.0, 4.5), (0.5, 5.25), (0.999999, 6.0)])
def test_refresh_policy_rule_3_one_is_due_in_the_last_quarter_of_metadata_expire_and_never_later(jitter, hours, sim):
    sim.add_many(4)
    sim.clock.chance = lambda: jitter
    sim.update()
    confirmed_at = sim.memory().confirmed_at
    for seconds, asked in ((-3, []), (1, ["m1"])):
        sim.later(seconds=confirmed_at + 3600 * hours + seconds - sim.clock.wall() - 1)
        sim.refresh()
        assert sim.asked == asked


def test_freeze_attack_by_a_stuck_redirector_hides_an_update_no_longer_than_a_cache_does_from_stock(settled):
    """Rule 3: looking every half an hour, which asks the redirector alone, does not put off when a mirror is due."""
    settled.redirector.digest = signed("updates", NEW).sha256
    settled.version = NEWER
    for _ in range(11):
        settled.later(hours=0.5)
        if settled.refresh().version == NEWER:
            break
    assert settled.refresh(settled.repository(installs=True)).version == NEWER
    assert settled.clock.wall() < settled.memory().confirmed_at + 3600 * EXPIRE_HOURS


@pytest.mark.parametrize("step_hours", [-1, -1000, 1000])
def test_refresh_policy_rule_3_a_clock_that_was_set_proves_nothing(step_hours, settled):
    settled.clock.ahead += 3600 * step_hours
    settled.refresh()
    assert settled.asked[:1] == ["m1"]


def test_refresh_policy_rule_3_the_one_that_is_due_is_drawn_anew_each_time(sim):
    sim.add_many(4, weight=25)
    draws = iter([0.9, 0.5, 0.5, 0.5, 0.5] + [0.5, 0.5, 0.1, 0.5, 0.5] * 9)  # the host's jitter, then a draw a mirror
    sim.clock.chance = lambda: next(draws)
    sim.update()
    sim.later(hours=2 * EXPIRE_HOURS)
    sim.refresh()
    assert sim.asked == ["m2"]


def test_refresh_policy_rule_3_what_is_known_is_proven_once_more_with_the_signature_that_is_kept(settled):
    memory = settled.memory()
    assert memory.signature.encode("latin-1") == signed("updates", NEW).signature
    settled.state.update(ID, memory._replace(signature="spoilt \xff"))
    settled.later(hours=DUE)
    assert settled.refresh().error == "" and "repomd.xml.asc" in settled.files_asked("m1")


def test_refresh_policy_rule_3_a_mirror_that_went_back_when_it_is_asked_alone_does_not_take_the_host_with_it(settled):
    settled.mirrors["m1"].fault = "stale"
    settled.later(hours=DUE)
    outcome = settled.refresh()
    assert (outcome.error, outcome.version, outcome.mirrors) == ("", NEW, ["m2"])


def test_refresh_policy_rule_3_what_is_kept_does_not_grow_without_end(sim):
    sim.add_many(30)
    sim.update(ask_everyone=True)
    assert sim.refresh().mirrors == ["m{}".format(number) for number in range(1, MAX_PROVEN + 1)]


def test_refresh_policy_rule_3_mirrors_that_are_no_longer_offered_are_left_out_of_what_is_kept(settled):
    settled.change("m1", excluded="Down")
    settled.redirector.digests = False
    assert settled.refresh().mirrors == ["m2"] and settled.asked == []


def test_refresh_policy_rule_3_the_origin_is_kept_where_nobody_else_is_offered(sim):
    sim.add("a", excluded="Down")
    assert sim.update().mirrors == ["origin"]
    assert sim.refresh().mirrors == ["origin"] and sim.asked == []
    sim.change("a", excluded="")
    assert sim.refresh().mirrors == ["a"], "packages must not all come from there"


# Rule 6: to wait is no proof.


@pytest.mark.parametrize("silence", ["a new digest", "no digest", "dead", "by http", "no redirector"])
def test_refresh_policy_rule_6_check_update_then_update_finds_what_was_published_though_the_look_waited(silence, settled):
    """The look must leave the memory as it was proven: what it writes decides whether "update" asks anybody."""
    at_once(settled, 0.999)
    publish(settled, *settled.mirrors, names=silence != "no digest")
    settled.redirector.fault = "refused" if silence == "dead" else ""
    settled.redirector.http_only = silence == "by http"
    changes = dict(base_urls=settled.urls("m1", "m2"), path="") if silence == "no redirector" else {}
    if changes:
        settled.change(version=NEW)
        settled.update(settled.repository(**changes))
        settled.change(version=NEWER)
    place = settled.repository(**changes).place
    before = settled.state.load(ID, place).memory
    settled.later(hours=1.0)
    outcome = settled.refresh(settled.repository(**changes))
    after = settled.state.load(ID, place).memory
    assert (outcome.version, settled.asked, outcome.resolution.waits, outcome.resolution.unchanged) == (NEW, [], True, False)
    kept = ("snapshot", "usable", "resolved_at", "confirmed_at", "jitter", "note", "decisions")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert after.waited_at > before.resolved_at
    assert settled.refresh(settled.repository(installs=True, **changes)).version == NEWER


def test_refresh_policy_rule_6_looks_however_often_do_not_draw_again_when_it_is_this_hosts_turn(settled):
    at_once(settled, 0.5)
    publish(settled, *settled.mirrors)
    settled.clock.chance = lambda: 0.999
    for _ in range(12):
        assert settled.refresh().version == NEW and settled.memory().jitter == 0.5
        settled.later(seconds=440.0)
    settled.later(seconds=200.0)  # an hour and a half in all
    assert settled.refresh().version == NEWER


def test_refresh_policy_rule_6_a_look_that_waits_asks_the_redirector_for_one_digest_and_not_again_for_refresh_after(settled):
    at_once(settled, 0.999)
    publish(settled, *settled.mirrors)
    settled.later(hours=0.5)
    asked = []
    for _ in range(4):
        settled.refresh()
        asked.append([(request.server, request.file) for request in settled.requests])
        settled.later(seconds=settled.settings.refresh_after / 2)
    once = [("redirector", "sha256")]
    assert asked == [once, [], once, []]


def test_refresh_policy_rule_6_what_is_known_and_since_when_is_kept_until_it_is_taken_or_named_no_more(settled):
    at_once(settled, 0.999)
    publish(settled, *settled.mirrors)
    settled.later(hours=0.5)
    settled.refresh()
    first = settled.memory()
    assert (first.awaited_sha256, first.awaited_since) == (signed("updates", NEWER).sha256, first.waited_at)
    settled.later(hours=0.5)
    settled.refresh()
    assert settled.memory().awaited_since == first.awaited_since < settled.memory().waited_at
    settled.redirector.digest = signed("updates", NEW).sha256
    settled.later(hours=0.5)
    settled.refresh()
    assert (settled.memory().awaited_sha256, settled.memory().awaited_since) == ("", 0.0)
    settled.redirector.digest = None
    settled.later(hours=0.5)
    settled.refresh()
    settled.update(settled.repository(installs=True))
    assert (settled.memory().awaited_sha256, settled.memory().awaited_since, settled.memory().waited_at) == ("", 0.0, 0.0)


# The host's own outage.


@pytest.mark.parametrize("fault", ["refused", "mute"])
@pytest.mark.parametrize("answers", ["", "redirector", "origin"])
def test_after_the_hosts_own_outage_no_mirror_is_avoided(answers, fault, settled):
    """Nobody could be reached: the cable was out. If anybody answers, those that do not are to blame."""
    settled.change(fault=fault)
    settled.redirector.fault = "" if answers == "redirector" else fault
    settled.origin.fault = "" if answers == "origin" else fault
    settled.accepted.clear()
    settled.later(hours=1.0)
    assert bool(settled.refresh().error) == (answers != "origin")
    asked = [record for record in settled.memory().records.values() if record.outcome in ("unreachable", "timed-out")]
    assert all(bool(record.quarantined_until) == bool(answers) for record in asked)
    assert len(asked) >= 6 or (answers, fault) == ("origin", "mute"), "there the origin's answer ended the asking"


# Rule 4: the redirector's digest alone.


def test_refresh_policy_rule_4_a_look_that_finds_nothing_new_asks_the_redirector_for_its_digest_alone(settled):
    settled.later(hours=NOT_DUE)
    for installs in (False, True):
        outcome = settled.refresh(settled.repository(installs=installs))
        assert (outcome.error, outcome.version, outcome.mirrors) == ("", NEW, ["m1", "m2"])
        assert [(request.server, request.file) for request in settled.requests] == [("redirector", "sha256")]
        assert outcome.resolution.unchanged


def test_refresh_policy_rule_4_it_changes_only_when_it_was_asked_last(settled):
    before = settled.memory()
    settled.refresh()
    after = settled.memory()
    assert after._replace(resolved_at=0, answer_seconds=0) == before._replace(resolved_at=0, answer_seconds=0)
    assert after.resolved_at > before.resolved_at


@pytest.mark.parametrize("installs, hours", [(True, 0.0), (False, 4.0)])
def test_refresh_policy_rule_4_another_digest_and_the_list_is_asked_for_in_the_same_run(installs, hours, settled):
    publish(settled, *settled.mirrors)
    settled.later(hours=hours)
    outcome = settled.refresh(settled.repository(installs=installs))
    assert (outcome.version, outcome.mirrors, outcome.resolution.unchanged) == (NEWER, ["m1", "m2"], False)
    assert settled.files_asked("redirector") == ["sha256", "mirrorlist"]


@pytest.mark.parametrize("published, asked", [(NEWER, ["sha256", "mirrorlist"]), (NEW, ["mirrorlist"])])
def test_refresh_policy_rule_4_a_list_is_asked_for_once_more_when_the_known_one_is_old(published, asked, settled):
    """A host with dnf asks no mirror for two days; without the list it would not learn which ones have gone."""
    repository = settled.repository(expire_seconds=48 * 3600.0)
    settled.later(seconds=LIST_EXPIRE_SECONDS - 10 if published == NEWER else LIST_EXPIRE_SECONDS)
    settled.version = published
    settled.clock.chance = lambda: 0.0
    settled.refresh(repository)
    assert settled.files_asked("redirector") == asked
    settled.version = NEW
    settled.refresh(repository._replace(cached_sha256=settled.memory().snapshot.sha256))
    assert settled.asked == [] or published == NEWER


@pytest.mark.parametrize("changes", [dict(cached_sha256=""), dict(fingerprints=("A" * 40,)), dict(path="")], ids=str)
def test_refresh_policy_rule_4_where_the_last_resolution_does_not_count_the_list_is_asked_for_at_once(changes, settled):
    settled.refresh(settled.repository(**changes))
    assert "sha256" not in settled.files_asked("redirector")


@pytest.mark.parametrize("options", [dict(ask_everyone=True), dict(accept_rollback=True)], ids=str)
def test_refresh_policy_rule_4_not_for_a_command_that_wants_to_see_the_mirrors(options, settled):
    settled.refresh(**options)
    assert settled.files_asked("redirector") == ["mirrorlist"]


def test_refresh_policy_rule_4_a_mirror_that_is_due_is_asked_and_the_list_before_it(settled):
    settled.later(hours=DUE)
    settled.refresh()
    assert settled.files_asked("redirector") == ["mirrorlist"] and settled.asked == ["m1"]


@pytest.mark.parametrize("answer", [
    None, b"", b"<html>Welcome</html>", b"x" * 100000, b"N/A  repomd.xml", b"0" * 63, b"0" * 65, b"g" * 64,
    b"0" * 64 + b"\n" + b"0" * 64, b"\xff" * 64], ids=lambda answer: repr(answer)[:20])
def test_refresh_policy_rule_4_a_redirector_that_does_not_know_it_costs_one_request_a_day(answer, settled):
    """None: it answers as to any other request for the file, here by a redirect."""
    if answer is None:
        settled.redirector.digests = settled.redirector.json = False
    else:
        settled.redirector.override = lambda request: (answer or b" ") if request.query == "sha256" else None
    asked = []
    for _ in range(3):
        outcome = settled.refresh()
        assert (outcome.error, outcome.mirrors, settled.asked) == ("", ["m1", "m2"], [])
        asked.append(settled.files_asked("redirector"))
    assert asked == [["sha256", "mirrorlist"], ["mirrorlist"], ["mirrorlist"]]
    settled.later(seconds=DIGEST_RETRY_SECONDS)
    settled.refresh()
    settled.refresh()
    assert settled.files_asked("redirector")[0] == "sha256"


@pytest.mark.parametrize("trouble", ["refused", "mute", "http-503"])
def test_refresh_policy_rule_4_a_redirector_in_trouble_is_not_asked_twice_for_the_same(trouble, settled):
    settled.redirector.fault = trouble
    outcome = settled.refresh()
    assert (outcome.error, outcome.mirrors, settled.asked) == ("", ["m1", "m2"], [])
    files = settled.files_asked("redirector")
    assert sorted(files) in (["https=1", "sha256"], ["https=1", "https=1", "sha256", "sha256"]), "once by each scheme"
    assert settled.took_seconds < 1.1 + 0.25 * (trouble == "mute") and settled.memory().digest_unknown_at == 0


def test_refresh_policy_rule_4_a_digest_that_is_late_does_not_stop_the_selection(settled):
    real = settled.redirector.answer

    def late(request, scheme):
        return real(request, scheme)._replace(seconds=1e6) if request.query == "sha256" else real(request, scheme)

    settled.redirector.answer = late
    settled.version = NEWER
    assert settled.refresh(settled.repository(installs=True)).version == NEWER
    assert settled.files_asked("redirector") == ["sha256", "https=1"] and settled.took_seconds < 0.5


def test_freeze_attack_by_a_false_digest_hides_an_update_no_longer_than_a_stuck_list(settled):
    """Rule 4 ends where rule 3 does: a mirror is asked when it is due."""
    settled.redirector.override = lambda request: (
        signed("updates", NEW).sha256.encode() if request.query == "sha256" else None)
    settled.version = NEWER
    for _ in range(11):
        settled.later(hours=0.5)
        if settled.refresh().version == NEWER:
            break
    assert settled.clock.wall() < settled.memory().confirmed_at + 1 and settled.memory().snapshot.sha256 == signed("updates", NEWER).sha256


def test_refresh_policy_rule_4_a_missing_key_file_is_told_when_something_is_to_be_proven(settled):
    lost = settled.repository(key_paths=("/nowhere",))
    assert settled.refresh(lost).error == ""
    settled.version = NEWER
    assert settled.refresh(lost._replace(installs=True)).error == "key-file"


def test_a_look_at_the_redirector_alone_is_no_decision_and_keeps_the_records(settled):
    before = settled.memory()
    settled.refresh()
    after = settled.memory()
    assert (after.decisions, after.records, after.confirmed_at, after.snapshot) == (
        before.decisions, before.records, before.confirmed_at, before.snapshot)
    assert after.resolved_at > before.resolved_at


# What is handed over: only mirrors proven for the snapshot that is taken (outcome.py).


def test_mirrors_proven_for_an_old_snapshot_are_never_listed_for_a_new_one(settled):
    """One mirror is asked, and has something new. m2 was proven too, but for what was before; the origin is the second voice."""
    settled.configure(probe_mirrors=1, enough=1)
    publish(settled, "m1", names=False)
    settled.later(hours=DUE)
    outcome = settled.refresh()
    assert settled.asked == ["m1", "m2", "origin"] and (outcome.version, outcome.mirrors) == (NEWER, ["m1", "origin"])
    assert not set(settled.memory().usable) & set(settled.urls("m2"))


def test_mirrors_proven_for_the_same_snapshot_stay_behind_the_one_that_was_asked(settled):
    settled.later(hours=DUE)
    settled.change("m1", fault="refused")
    assert settled.refresh().mirrors == ["m2"], "the one that failed is not handed over"
    settled.later(hours=DUE)
    settled.configure(prefer=("m5.test",))
    assert settled.refresh().mirrors == ["m5", "m2"]


def test_a_mirror_that_fell_behind_is_not_handed_over_though_it_was_proven_before(settled):
    settled.version = NEWER
    settled.change("m1", version=NEW)
    outcome = settled.refresh(settled.repository(installs=True))
    assert outcome.version == NEWER and "m1" not in outcome.mirrors and outcome.rejected["m1"][0] == "stale"


def test_the_origin_is_kept_last_behind_mirrors_that_were_proven_later(sim):
    sim.add("a", "refused")
    assert sim.update().mirrors == ["origin"]
    sim.change("a", fault="")
    sim.later(hours=DUE)
    assert sim.refresh(ask_everyone=True).mirrors == ["a", "origin"]


def test_refresh_rule_2_a_decision_says_which_mirrors_were_asked_and_used_and_why_the_others_are_not(sim):
    for name, fault in (("bad", "tampered"), ("good", ""), ("old", "stale")):
        sim.add(name, fault)
    sim.configure(deny=("never.test",))
    sim.add("never")
    sim.refresh(ask_everyone=True)
    last = sim.memory().decisions[-1]
    assert (last.asked, last.used, last.revision) == (4, ("good.test", "updates.test"), snapshot_of(NEW).revision)
    assert {authority: reference for authority, reference, _ in last.rejected} == {
        "bad.test": "signature-invalid", "old.test": "stale", "never.test": "not-asked"}


def test_a_refused_rollback_is_remembered_with_the_mirrors_that_offered_it_and_changes_nothing_else(settled):
    before = settled.memory()
    settled.change(fault="stale")
    settled.origin.fault = "refused"
    settled.accepted.clear()
    assert settled.refresh().error == "rollback"
    memory = settled.memory()
    assert {reference for _, reference, _ in memory.decisions[-1].rejected} == {"rollback", "unreachable"}
    assert (memory.snapshot, memory.usable, memory.confirmed_at) == (before.snapshot, before.usable, before.confirmed_at)


def test_what_was_seen_of_each_mirror_is_added_to_its_history(sim):
    for name, fault in (("good", ""), ("old", "stale"), ("dead", "refused")):
        sim.add(name, fault)
    sim.refresh(ask_everyone=True)
    seen = {sim.name_of(each.url): (each.outcome, each.lag_seconds) for each in sim.state.observed(ID, sim.clock.wall())}
    assert seen == dict(good=("ok", 0), origin=("ok", 0), old=("stale", DAY), dead=("unreachable", None))


def test_lifting_what_is_not_pinned_does_nothing(settled):
    before = settled.memory()
    assert lift(settled.state, ID, settled.clock.wall(), "in a test") is False
    assert settled.memory() == before


@pytest.mark.parametrize("refreshed", [False, True])
def test_lifting_a_pin_removes_it_and_is_remembered(refreshed, sim):
    sim.add_many(2)
    folder = sim.pin(NEW)
    if refreshed:
        sim.refresh()
    assert lift(sim.state, ID, sim.clock.wall(), "in a test") is True
    assert not os.path.exists(folder) and sim.state.load(ID).pin is None
    assert sim.memory().decisions[-1][:4] == (int(sim.clock.wall()), "pin", 0, snapshot_of(NEW).revision)


# The high-water mark.


def test_refresh_rule_4_a_refresh_alone_raises_no_mark(sim):
    sim.add_many(2)
    sim.refresh()
    assert sim.state.load(ID).accepted is None


def test_refresh_rule_4_of_two_engines_at_once_the_mark_keeps_the_newer(sim):
    """Each has resolved before the other's package manager has loaded anything; the slower one has the older snapshot."""
    sim.add_many(3)
    slower, sim.version = sim.refresh(), NEWER
    quicker = sim.refresh()
    for outcome in (quicker, slower):
        accept([outcome.resolution], [ID], State(sim.state.folder), sim.settings)
    assert sim.state.load(ID).accepted.sha256 == signed("updates", NEWER).sha256


def test_an_admin_may_go_back_and_the_mark_follows(settled):
    settled.version = OLD
    outcome = settled.refresh(accept_rollback=True)
    assert (outcome.error, outcome.version) == ("", OLD)
    assert settled.state.load(ID).accepted.sha256 == signed("updates", OLD).sha256
    assert settled.memory().decisions[-1].note == "accept-rollback"


def test_going_back_needs_proof_too(settled):
    settled.without_origin()
    settled.change(fault="tampered")
    assert settled.refresh(accept_rollback=True).error == "signature-invalid"
    assert settled.state.load(ID).accepted.sha256 == signed("updates", NEW).sha256


def test_refresh_rule_2_what_cannot_be_written_is_not_handed_over_and_stops_nothing(settled, monkeypatch):
    def full(*_, **__):
        raise UsageError("state", "No space left on device")

    monkeypatch.setattr(State, "update", full)
    outcome = settled.refresh()
    assert (outcome.error, outcome.refused, outcome.mirrors, outcome.snapshot) == ("state", False, [], None)


class Disk:
    """Records what a write asks of the disk, in order."""

    def __init__(self, monkeypatch):
        self.calls = []
        real = {"fsync": os.fsync, "rename": os.rename}

        def fsync(handle):
            self.calls.append("fsync of " + ("the folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "the file"))
            real["fsync"](handle)

        def rename(source, target):
            self.calls.append("rename to " + os.path.basename(target))
            real["rename"](source, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "rename", rename)


@pytest.mark.parametrize("name, write", [
    ("accepted.json", lambda sim: sim.accept(snapshot_of(NEW))),
    ("accepted.json", lambda sim: sim.refresh(accept_rollback=True)),
    ("pin.json", lambda sim: sim.pin(NEW)),
])
def test_a_power_failure_leaves_the_mark_and_the_pin_whole(name, write, sim, monkeypatch):
    """The bytes are on the disk before the rename, and the new name is before the caller goes on."""
    sim.add_many(2)
    disk = Disk(monkeypatch)
    write(sim)
    at = disk.calls.index("rename to " + name)
    assert disk.calls[at - 1:at + 2] == ["fsync of the file", "rename to " + name, "fsync of the folder"]


def test_store_rule_3_nobody_waits_for_the_disk_for_what_can_be_found_again(sim, monkeypatch):
    sim.add_many(2)
    disk = Disk(monkeypatch)
    assert sim.refresh().error == ""
    assert sorted(disk.calls) == ["rename to history.jsonl", "rename to mirrors.json"]


def test_store_rule_1_a_mark_that_cannot_be_written_leaves_the_old_one(settled, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(UsageError) as problem:
        settled.state.update(ID, accepted=snapshot_of(NEWER))
    assert problem.value.reference == "state"
    monkeypatch.undo()
    assert settled.state.load(ID).accepted.sha256 == signed("updates", NEW).sha256
    assert not [name for name in os.listdir(os.path.dirname(settled.state.path(ID, ""))) if name.endswith(".new")]


# snapshot_pin.py.


def test_snapshot_pin_rule_1_a_pin_holds_until_it_expires_then_the_newest_is_taken_again(settled):
    folder = settled.pin(NEW, hours=2)
    settled.version = NEWER
    settled.accepted.clear()
    settled.later(hours=2, seconds=-3)
    assert settled.refresh().version == NEW
    settled.later(seconds=3)
    assert settled.refresh().version == NEWER
    assert settled.state.load(ID).pin is None and not os.path.exists(folder)
    assert [decision.about for decision in settled.memory().decisions][-2:] == ["metadata", "pin"]


def test_snapshot_pin_rule_1_a_clock_that_was_set_back_makes_no_pin_longer(settled):
    settled.pin(NEW, hours=2)
    settled.accepted.clear()
    settled.version = NEWER
    settled.clock.ahead -= MAX_CLOCK_STEP_SECONDS + 10
    assert settled.refresh().version == NEWER


def test_snapshot_pin_rule_2_the_pinned_metadata_is_proven_anew_each_time(settled):
    folder = settled.pin(NEW)
    settled.accepted.clear()
    assert settled.refresh().version == NEW
    write_whole(os.path.join(folder, SIGNATURE), signed("updates", NEW, key="other").signature)
    outcome = settled.refresh()
    assert (outcome.error, outcome.refused) == ("pinned", True) and "unknown-key" in outcome.message


@pytest.mark.parametrize("other", [signed("updates", OLD), signed("updates", NEWER), signed("base", NEW)],
                         ids=["older", "newer", "of another repository"])
def test_snapshot_pin_rule_2_other_metadata_in_its_place_is_not_what_was_pinned_though_the_key_has_signed_it(other, sim):
    sim.add_many(2)
    folder = sim.pin(NEW)
    for path, content in ((REPOMD, other.repomd), (SIGNATURE, other.signature)):
        write_whole(os.path.join(folder, path), content)
    outcome = sim.refresh()
    assert (outcome.error, outcome.mirrors) == ("pinned", []) and "it is not what was pinned" in outcome.message


@pytest.mark.parametrize("accepted, error", [(OLD, ""), (NEW, ""), (NEWER, "pinned")])
def test_snapshot_pin_rule_2_a_pin_does_not_lead_below_the_high_water_mark(accepted, error, sim):
    sim.add_many(2)
    sim.pin(NEW)
    sim.version = NEWER
    sim.accept(snapshot_of(accepted))
    sim.accepted.clear()
    outcome = sim.refresh()
    assert (outcome.error, outcome.version) == (error, None if error else NEW)
    assert not error or "older than what this host has accepted" in outcome.message


def test_snapshot_pin_rule_3_its_metadata_comes_from_the_state_and_packages_from_the_mirrors(settled):
    folder = settled.pin(NEW)
    settled.version = NEWER
    outcome = settled.refresh(settled.repository(cached_sha256=""))
    assert outcome.version == NEW and outcome.mirrors == ["m1", "m2"]
    assert outcome.resolution.local_folder == folder


def test_snapshot_pin_rule_3_it_is_kept_while_no_mirror_can_be_reached(settled):
    settled.pin(NEW)
    settled.accepted.clear()
    settled.redirector.fault = settled.origin.fault = "refused"
    settled.change(fault="refused")
    outcome = settled.refresh()
    assert (outcome.error, outcome.version, outcome.mirrors) == ("", NEW, ["m1", "m2"])
    assert [line.partition(":")[0] for line in outcome.warnings] == ["unreachable"]


@pytest.mark.parametrize("damage, words", [
    (lambda folder: shutil.rmtree(folder), "No such file"),
    (lambda folder: os.unlink(os.path.join(folder, REPOMD)), "No such file"),
    (lambda folder: write_whole(os.path.join(folder, REPOMD), b"x"), "signature-invalid"),
    (lambda folder: write_whole(os.path.join(folder, SIGNATURE), b"x" * (1 << 20)), "larger than 65536 bytes"),
])
def test_snapshot_pin_rule_4_a_pin_that_cannot_be_kept_stops_the_update(damage, words, settled):
    damage(settled.pin(NEW))
    settled.version = NEWER
    outcome = settled.refresh(settled.repository(cached_sha256=""))
    assert (outcome.error, outcome.refused, outcome.mirrors, outcome.snapshot) == ("pinned", True, [], None)
    assert words in outcome.message and "precheck --unpin" in outcome.message
    assert settled.memory().decisions[-1].error.startswith("pinned: ")


def test_snapshot_pin_rule_4_an_attack_on_the_mirrors_stops_it_too(settled):
    settled.pin(NEW)
    settled.without_origin()
    settled.change(fault="tampered")
    settled.accepted.clear()
    assert (settled.refresh().error, settled.refresh().refused) == ("signature-invalid", True)


def test_snapshot_pin_rule_5_that_something_newer_is_held_back_is_reported_every_time(settled):
    settled.pin(NEW)
    settled.accepted.clear()
    assert settled.refresh().warnings == [], "nothing is"
    settled.version = NEWER
    for _ in range(3):
        [line] = settled.refresh().warnings
        assert line.startswith("pinned: revision {} is taken until ".format(BEGIN + NEW * DAY))
        assert "revision {} is held back".format(BEGIN + NEWER * DAY) in line and "precheck --unpin" in line
        assert settled.memory().decisions[-1].note == "pinned"


# refresh.py: two at once.


def meanwhile(monkeypatch, do):
    """Let something be done while the lock is waited for."""
    real = State.locked

    @contextmanager
    def locked(self, wait_seconds):
        monkeypatch.setattr(State, "locked", real)
        do()
        with real(self, wait_seconds) as held:
            yield held

    monkeypatch.setattr(State, "locked", locked)


def test_refresh_rule_1_the_second_of_two_at_once_works_from_what_the_first_wrote(sim, monkeypatch):
    sim.add_many(3)
    meanwhile(monkeypatch, lambda: sim.refresh())
    requests = len(sim.log)
    outcome = sim.refresh()
    assert outcome.reused and outcome.mirrors == ["m1", "m2"] and outcome.version == NEW
    assert sim.requests == [] or len(sim.log) > requests, "all of the requests are the first one's"
    assert len([request for request in sim.log if request.server == "redirector"]) == 1


def test_refresh_rule_1_what_was_written_before_this_one_was_called_is_not_used_again(sim):
    sim.add_many(3)
    assert [sim.refresh().reused, sim.refresh().reused] == [False, False]


def test_a_refresh_with_other_options_does_not_use_what_another_wrote(sim, monkeypatch):
    sim.add_many(3)
    meanwhile(monkeypatch, lambda: sim.refresh())
    outcome = sim.refresh(ask_everyone=True)
    assert not outcome.reused and len(outcome.probes) == 4


def test_refresh_rule_3_the_second_of_two_at_once_takes_the_pin_of_the_first(sim, monkeypatch):
    sim.add_many(3)

    def pin():
        sim.refresh()
        sim.pin(OLD)

    meanwhile(monkeypatch, pin)
    outcome = sim.refresh()
    assert outcome.reused and outcome.version == OLD


def test_the_second_of_two_at_once_does_not_take_a_pin_that_cannot_be_kept(sim, monkeypatch):
    sim.add_many(3)

    def pin():
        sim.refresh()
        shutil.rmtree(sim.pin(OLD))

    meanwhile(monkeypatch, pin)
    assert sim.refresh().error == "pinned"


def test_a_state_that_another_process_holds_leaves_the_repositories_alone(sim, monkeypatch):
    sim.add_many(2)
    sim.configure(deadline=0.01)
    with State(sim.settings.state_dir).locked(0.0) as held:
        assert held
        outcome = sim.refresh()
    assert (outcome.error, outcome.refused, sim.requests) == ("state", False, [])


def test_refresh_rule_3_a_pin_of_another_place_holds_nothing_back_and_stays(settled):
    """Of another release or base URL under the same id: the pool agreed on something else."""
    settled.pin(NEW)
    pin = settled.state.load(ID).pin
    settled.state.write_pin(ID, pin._replace(place="9/9.0/updates/x86_64/"))
    settled.version = NEWER
    outcome = settled.refresh(settled.repository(installs=True))
    assert (outcome.version, outcome.warnings) == (NEWER, [])
    assert settled.state.load(ID, "9/9.0/updates/x86_64/").pin is not None
    settled.state.write_pin(ID, pin._replace(place=settled.repository().place))
    assert settled.refresh(settled.repository(installs=True)).version == NEW


def test_store_rule_2_another_base_url_begins_anew_and_is_no_rollback(settled):
    os.unlink(settled.state.path(ID, "accepted.json"))
    here, moved = settled.repository(cached_sha256=""), settled.repository(path="9/9.0/updates/x86_64/", cached_sha256="")
    settled.state.update(ID, accepted=snapshot_of(NEW), place=here.place)
    settled.version = OLD
    assert [settled.refresh(repository).error for repository in (moved, here)] == ["", "rollback"]


@pytest.mark.parametrize("was_resolved", [True, False], ids=["the first was resolved", "the first had nothing but bad mirrors"])
def test_another_base_url_is_not_resolved_by_what_is_remembered_of_the_first(was_resolved, sim):
    """Its mirrors' URLs and its last snapshot are another place's."""
    sim.add_many(3, "" if was_resolved else "bad-signature")
    if not was_resolved:
        sim.without_origin()
    assert (sim.refresh().error == "") == was_resolved
    sim.redirector.fault = "refused"
    sim.change(fault="")
    moved = sim.repository("base", id=ID)
    outcome = sim.refresh(moved)
    assert not any("updates" in request.path for request in sim.requests)
    assert outcome.mirrors == (["origin"] if was_resolved else [])
    sim.redirector.fault = ""
    assert sim.refresh(moved).version == sim.version
