"""What a host remembers, on good days and bad ones. The high-water mark is never lowered."""
import json
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.file_faults import in_child, killed_at, plant
from tests.support.world import NOW, mirror, snapshot
from yum_plugin.errors import UsageError
from yum_plugin.model import Mirror, Probe
from yum_plugin.state.memory import (
    MAX_DECISIONS,
    MAX_QUARANTINE_SECONDS,
    MAX_REASON_CHARACTERS,
    MAX_REJECTED,
    Decision,
    Memory,
    Record,
    SnapshotPin,
    judge_record,
    quarantined,
    with_decision,
)
from yum_plugin.state.store import State

ID = "xcp-ng-updates"
RECORD = Record("timed-out", "no answer in time", NOW, 2, NOW + 7200, 0.25, NOW + 99)
MEMORY = Memory((mirror("a", rank=1, country="FR"), mirror("b", excluded="Down")), "a" * 64, {"https://a.test/": RECORD},
                snapshot(3), ("https://a.test/",), NOW + 0.5, "propagating",
                (Decision(NOW, "metadata", 2, 7, ("a.test",), (("b.test", "timed-out", "no answer"),), 0, "freeze"),))
FILES = ("accepted.json", "mirrors.json")


@pytest.fixture
def state(tmp_path):
    return State(str(tmp_path / "state"))


def test_what_was_written_is_read_again(state):
    state.update(ID, MEMORY)
    state.update(ID, accepted=snapshot(3))
    again = State(state.folder)
    assert again.load(ID).memory == MEMORY and again.load(ID).accepted == snapshot(3) and again.problems == []


def test_a_new_host_remembers_nothing_and_that_is_no_problem(state):
    assert state.load(ID).memory == Memory() and state.load(ID).accepted is None and state.problems == []


def test_repositories_are_kept_apart(state):
    state.update("xcp-ng-base", accepted=snapshot(5))
    assert state.load(ID).accepted is None


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "", ".hidden", "a\x00b"])
def test_a_repository_id_never_leads_out_of_the_state(state, name):
    with pytest.raises(ValueError):
        state.path(name, "accepted.json")


# The high-water mark.


def test_the_mark_is_not_lowered(state):
    state.update(ID, accepted=snapshot(3))
    state.update(ID, accepted=snapshot(2))
    assert state.load(ID).accepted == snapshot(3)


def test_store_rule_2_the_mark_is_lowered_only_when_the_admin_says_so(state):
    state.update(ID, accepted=snapshot(3))
    state.update(ID, accepted=snapshot(2), lower_mark=True)
    assert state.load(ID).accepted == snapshot(2)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=1, max_size=12))
def test_the_mark_is_always_the_newest_ever_accepted(tmp_path, accepted):
    state = State(str(tmp_path / "state-{}".format(len(os.listdir(str(tmp_path))))))
    given_so_far = []
    for version, later in accepted:
        given_so_far.append(snapshot(version * 3 + later)._replace(timestamp=version))
        state.update(ID, accepted=given_so_far[-1])
        assert state.load(ID).accepted.age_key == max(each.age_key for each in given_so_far)


def test_the_mark_of_another_version_of_this_program_counts(state):
    state.update(ID, accepted=snapshot(3))
    path = state.path(ID, "accepted.json")
    values = json.load(open(path))
    values.update(schema=99, more="fields")
    json.dump(values, open(path, "w"))
    assert state.load(ID).accepted == snapshot(3) and state.problems == []


# Marks of several places: another release, another base URL.

PLACE, OTHER = "8/8.3/updates/x86_64/", "9/9.0/updates/x86_64/"


def earlier_version(state, version):
    """What a version that knew no places has left."""
    state.update(ID, accepted=snapshot(version))
    values = json.load(open(state.path(ID, "accepted.json")))
    del values["place"], values["others"]
    json.dump(values, open(state.path(ID, "accepted.json"), "w"))


def test_store_rule_2_another_place_begins_without_a_mark_and_leaves_the_first_ones(state):
    state.update(ID, accepted=snapshot(5), place=PLACE)
    assert state.load(ID, OTHER).accepted is None
    state.update(ID, accepted=snapshot(2), place=OTHER)
    state.update(ID, accepted=snapshot(4), place=PLACE)
    assert state.load(ID, PLACE).accepted == snapshot(5) and state.load(ID, OTHER).accepted == snapshot(2)


@pytest.mark.parametrize("accepted,mark", [(3, 5), (5, 5), (7, 7)], ids=["older", "the same", "newer"])
def test_store_rule_2_the_mark_of_an_earlier_version_counts_until_a_place_takes_it_over(state, accepted, mark):
    earlier_version(state, 5)
    assert state.load(ID, PLACE).accepted == state.load(ID, OTHER).accepted == state.load(ID).accepted == snapshot(5)
    state.update(ID, accepted=snapshot(accepted), place=PLACE)
    assert state.load(ID, PLACE).accepted == snapshot(mark) and state.load(ID, OTHER).accepted is None


def test_store_rule_2_an_earlier_version_reads_the_mark_of_the_last_place(state):
    state.update(ID, accepted=snapshot(5), place=PLACE)
    state.update(ID, accepted=snapshot(2), place=OTHER)
    assert json.load(open(state.path(ID, "accepted.json")))["sha256"] == snapshot(2).sha256
    state.update(ID, accepted=snapshot(5), place=PLACE)  # nothing new there: it is the last place all the same
    assert json.load(open(state.path(ID, "accepted.json")))["sha256"] == snapshot(5).sha256
    assert state.load(ID).accepted == snapshot(5) and state.load(ID, OTHER).accepted == snapshot(2)


def test_store_rule_2_of_twenty_places_the_marks_of_the_last_sixteen_are_kept(state):
    places = ["{}/".format((number * 7) % 20) for number in range(20)]  # in another order than that of their names
    for version, place in enumerate(places, 1):
        state.update(ID, accepted=snapshot(version), place=place)
    kept = [place for place in places if state.load(ID, place).accepted is not None]
    assert kept == places[4:] and state.load(ID).accepted == snapshot(20)
    state.update(ID, accepted=snapshot(5), place=places[4])  # used again: not the oldest any more
    state.update(ID, accepted=snapshot(1), place="new/")
    assert state.load(ID, places[4]).accepted == snapshot(5) and state.load(ID, places[5]).accepted is None


def test_store_rule_2_a_mark_that_is_lowered_is_that_of_its_place(state):
    state.update(ID, accepted=snapshot(5), place=PLACE)
    state.update(ID, accepted=snapshot(5), place=OTHER)
    state.update(ID, accepted=snapshot(1), place=PLACE, lower_mark=True)
    assert state.load(ID, PLACE).accepted == snapshot(1) and state.load(ID, OTHER).accepted == snapshot(5)


@pytest.mark.parametrize("others", [5, {"a": 5}, [5], [{}], [{"place": "x"}], [dict(snapshot(3)._asdict(), raw="", signature="")]])
def test_store_rule_4_damaged_marks_of_other_places_count_as_a_damaged_file(state, others):
    state.update(ID, accepted=snapshot(5), place=PLACE)
    values = dict(json.load(open(state.path(ID, "accepted.json"))), others=others)
    json.dump(values, open(state.path(ID, "accepted.json"), "w"))
    assert state.load(ID, PLACE).accepted is None and len(state.problems) == 1


@pytest.mark.parametrize("place,holds", [(PLACE, True), (OTHER, False), ("", True)])
def test_the_memory_and_the_pin_of_another_place_do_not_count(state, place, holds):
    state.update(ID, MEMORY._replace(place=PLACE))
    state.write_pin(ID, SnapshotPin(snapshot(3), NOW + 60, NOW, PLACE))
    loaded = state.load(ID, place)
    assert (loaded.pin is not None, loaded.memory != Memory()) == (holds, holds)


@pytest.mark.parametrize("place", [PLACE, OTHER, ""])
def test_the_memory_and_the_pin_of_an_earlier_version_count_at_every_place(state, place):
    state.update(ID, MEMORY)
    state.write_pin(ID, SnapshotPin(snapshot(3), NOW + 60, NOW))
    assert state.load(ID, place).pin is not None and state.load(ID, place).memory == MEMORY


# Damage.

_FILED = {"rests_until" if name == "quarantined_until" else name: value for name, value in RECORD._asdict().items()}
_GOOD = {"mirrors": [dict(Mirror("https://a.test/")._asdict())], "sha256": "", "records": {"https://a.test/": _FILED},
         "snapshot": None, "usable": [], "resolved_at": 0, "note": "", "schema": 1}


def _changed(**values):
    return json.dumps(dict(_GOOD, **values)).encode()


def test_what_the_damage_is_done_to_is_good(state):
    os.makedirs(os.path.dirname(state.path(ID, "")))
    with open(state.path(ID, "mirrors.json"), "wb") as stream:
        stream.write(_changed(decisions=[MEMORY.decisions[0]._asdict()]))
    assert state.load(ID).memory == Memory((Mirror("https://a.test/"),), records={"https://a.test/": RECORD}, decisions=MEMORY.decisions)
    assert state.problems == []


@pytest.mark.parametrize("content", [
    b"", b"{", b"null", b"[]", b"5", b"\"x\"", b"\xff\xfe", b"[" * 100000, b"{}", b'{"schema": 1}', b"\x00" * 4096,
    _changed(schema=2), _changed(schema=None), _changed(records=[]), _changed(records=None), _changed(records={"a": 5}),
    _changed(records={"https://a.test/": dict(_FILED, failures="many")}),
    _changed(records={"https://a.test/": dict(_FILED, rests_until=None)}),
    _changed(records={"https://a.test/": dict(_FILED, extra=1)}),
    _changed(mirrors=5), _changed(mirrors=[5]), _changed(mirrors=[{}]), _changed(mirrors=[{"url": 5}]),
    _changed(mirrors=[{"url": "file:///etc/passwd"}]), _changed(mirrors=[{"url": "https://a.test/", "rank": "first"}]),
    _changed(mirrors=[{"url": "https://a.test/", "country": None}]), _changed(resolved_at="yesterday"),
    _changed(decisions=5), _changed(decisions=[5]), _changed(decisions=[{"at": NOW, "about": "metadata"}]),
    _changed(decisions=[dict(MEMORY.decisions[0]._asdict(), at="today")]),
    _changed(decisions=[dict(MEMORY.decisions[0]._asdict(), rejected=[["b.test"]])]),
    _changed(resolved_at=10**400), _changed(usable=5), _changed(snapshot=5), _changed(snapshot={"sha256": "a" * 64}),
    _changed(snapshot={"sha256": "a" * 64, "size": float("inf"), "revision": 1, "timestamp": 1, "signed_at": 1}),
])
@pytest.mark.parametrize("name", FILES)
def test_store_rule_4_a_damaged_file_counts_as_missing_and_is_reported(state, name, content):
    path = state.path(ID, name)
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as stream:
        stream.write(content)
    missing = state.load(ID).accepted if name == "accepted.json" else state.load(ID).memory
    assert missing == (None if name == "accepted.json" else Memory())
    assert len(state.problems) == 1 and path in state.problems[0] and "\n" not in state.problems[0]
    state.update(ID, MEMORY)
    state.update(ID, accepted=snapshot(3))
    assert State(state.folder).load(ID).memory == MEMORY and State(state.folder).load(ID).accepted == snapshot(3)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "directory", "huge"])
def test_something_else_in_the_place_of_a_file_counts_as_missing_and_is_told(state, tmp_path, name, kind):
    os.makedirs(os.path.join(state.folder, ID))
    plant(tmp_path / "state" / ID / name, kind)
    assert state.load(ID).accepted is None and state.load(ID).memory == Memory()
    assert len(state.problems) == 1 and name in state.problems[0]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(sorted(_GOOD) + list(_FILED) + list(Mirror._fields)), inner, max_size=8), max_leaves=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_at_all_makes_reading_crash(tmp_path, values):
    state = State(str(tmp_path))
    os.makedirs(os.path.join(state.folder, ID), exist_ok=True)
    merged = dict(_GOOD, **values) if isinstance(values, dict) else values
    for name in FILES:
        with open(state.path(ID, name), "w") as stream:
            json.dump(merged, stream)
    memory = state.load(ID).memory
    quarantined(memory, NOW)
    for each in memory.mirrors:
        judge_record(memory.records.get(each.url), Probe(each, "timed-out"), NOW)


# Places that cannot be written.


def test_a_state_that_cannot_be_made_is_told_with_its_path(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError) as refusal:
        State(str(tmp_path / "file" / "state")).update(ID, accepted=snapshot(1))
    assert refusal.value.reference == "state" and "accepted.json" in refusal.value.where


def test_a_read_only_state_is_told_and_still_read(state):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    state.update(ID, accepted=snapshot(3))
    os.chmod(os.path.join(state.folder, ID), 0o755)

    def as_nobody():
        os.setuid(65534)
        state.update(ID, accepted=snapshot(4))

    folder = state.folder
    while folder != "/":
        os.chmod(folder, 0o755)
        folder = os.path.dirname(folder) if folder.count("/") > 2 else "/"
    assert in_child(as_nobody) == 200, "a UsageError"
    assert state.load(ID).accepted == snapshot(3)


# Kills.


def test_store_rule_1_fifty_kills_in_a_row_at_varying_moments_lose_nothing_and_stop_nothing(state):
    """SIGKILL before the k-th call of the system, for every k: the mark only rises, the next run works."""
    state.update(ID, accepted=snapshot(1))
    mark, finished = 1, 0
    for version in range(2, 52):
        def write(version=version):
            state.update(ID, MEMORY._replace(resolved_at=float(version)))
            state.write_metalink(ID, b"<metalink/>" * version)
            state.update(ID, accepted=snapshot(version))

        finished += not killed_at(version % 30 + 1, write)
        survivor = State(state.folder)
        now = survivor.load(ID).accepted
        assert now in (snapshot(mark), snapshot(version)), "lost or lowered"
        mark = mark if now == snapshot(mark) else version
        assert survivor.problems == []
    assert 0 < finished < 50, "kills before, between and after all steps"
    state.update(ID, MEMORY)
    state.write_metalink(ID, b"x")
    state.update(ID, accepted=snapshot(99))
    assert sorted(os.listdir(os.path.join(state.folder, ID))) == ["accepted.json", "metalink.xml", "mirrors.json"]


# Quarantine.


def test_a_failed_mirror_is_quarantined_an_hour_doubling_to_a_day_and_one_good_answer_ends_it():
    record, hours = None, []
    for _ in range(8):
        record = judge_record(record, Probe(mirror("a"), "timed-out"), NOW)
        hours.append((record.quarantined_until - NOW) / 3600)
    assert hours == [1, 2, 4, 8, 16, 24, 24, 24]
    assert judge_record(record, Probe(mirror("a"), "ok"), NOW)[3:5] == (0, 0)


@pytest.mark.parametrize("outcome, is_quarantined", [("ok", False), ("stale", False), ("timed-out", True), ("signature-invalid", True)])
def test_a_stale_mirror_is_not_quarantined_for_it_may_catch_up_any_minute(outcome, is_quarantined):
    assert (judge_record(None, Probe(mirror("a"), outcome), NOW).quarantined_until > NOW) == is_quarantined


@pytest.mark.parametrize("until, is_quarantined", [(NOW, False), (NOW + 1, True), (NOW + MAX_QUARANTINE_SECONDS, True),
                                          (NOW + MAX_QUARANTINE_SECONDS + 1, False), (0, False)])
def test_a_mirror_is_not_quarantined_for_years_because_the_clock_once_was_far_ahead(until, is_quarantined):
    memory = Memory(records={"https://a.test:8443/x/": RECORD._replace(quarantined_until=until)})
    assert list(quarantined(memory, NOW)) == (["a.test:8443"] if is_quarantined else [])


def test_a_memory_of_a_version_that_kept_no_decisions_is_read(state):
    state.update(ID, MEMORY)
    path = state.path(ID, "mirrors.json")
    with open(path) as stream:
        values = json.load(stream)
    del values["decisions"]
    with open(path, "w") as stream:
        json.dump(values, stream)
    assert state.load(ID).memory == MEMORY._replace(decisions=()) and state.problems == []


def test_decisions_are_few_and_short_however_much_happens(state):
    memory = Memory()
    rejected = tuple(("m{}.test:8443".format(number), "malformed", "x" * 5000) for number in range(MAX_REJECTED + 3))
    for number in range(MAX_DECISIONS + 5):
        used = tuple(authority for authority, _, _ in rejected)
        memory = with_decision(memory, Decision(NOW + number, "metadata", 3, used=used, rejected=rejected, error="y" * 5000))
    assert [decision.at - NOW for decision in memory.decisions] == list(range(5, MAX_DECISIONS + 5))
    last = memory.decisions[-1]
    assert (len(last.rejected), last.more, len(last.used), len(last.rejected[0][2])) == (MAX_REJECTED, 3, MAX_REJECTED, MAX_REASON_CHARACTERS)
    state.update(ID, memory)
    assert os.path.getsize(state.path(ID, "mirrors.json")) < 120000 and state.load(ID).memory == memory


def test_store_rule_2_of_two_engines_at_once_the_mark_keeps_the_newest(state):
    """Real processes, each with a state of its own: however their writes mix, the mark only rises and ends at the newest."""
    def engine(first):
        mine = State(state.folder)
        for version in range(first, 60, 2):
            loaded = mine.load(ID).accepted  # what this engine decides by; the other one raises the mark meanwhile
            with mine.locked(60.0) as is_locked:
                assert is_locked
                mine.update(ID, accepted=snapshot(version))
            assert loaded is None or mine.load(ID).accepted.age_key >= loaded.age_key

    other = threading.Thread(target=lambda: outcomes.append(in_child(lambda: engine(2))))
    outcomes = []
    other.start()
    outcomes.append(in_child(lambda: engine(1)))
    other.join()
    assert outcomes == [0, 0] and state.load(ID).accepted == snapshot(59)


def test_store_rule_5_all_but_the_metalink_is_readable_by_its_owner_only(state):
    state.update(ID, MEMORY, snapshot(3))
    state.write_pin(ID, SnapshotPin(snapshot(3), NOW + 60, NOW))
    state.write_metalink(ID, b"<metalink/>")
    modes = {name: os.stat(state.path(ID, name)).st_mode & 0o777 for name in os.listdir(os.path.dirname(state.path(ID, "")))}
    assert modes == {"accepted.json": 0o600, "mirrors.json": 0o600, "pin.json": 0o600, "metalink.xml": 0o644}


@pytest.mark.parametrize("weak", ["state", "state/" + ID])
def test_store_rule_6_a_state_that_others_can_change_is_neither_read_nor_written_and_that_is_told_once(tmp_path, weak):
    folder = str(tmp_path / "state")
    State(folder).update(ID, MEMORY, snapshot(3))
    os.chmod(str(tmp_path / weak), 0o777)
    before = {name: os.stat(os.path.join(folder, ID, name)).st_mtime_ns for name in os.listdir(os.path.join(folder, ID))}
    state = State(folder)
    assert state.load(ID).accepted is None and state.load(ID).memory == Memory()
    state.update(ID, MEMORY, snapshot(1))
    with state.locked(0.0) as held:
        assert held and State(folder).load(ID).accepted is None  # not in the folder that others can change
    assert before == {name: os.stat(os.path.join(folder, ID, name)).st_mtime_ns for name in os.listdir(os.path.join(folder, ID))}
    (told,) = state.problems
    assert told.startswith("state: ") and "chown root:root {0} && chmod go-w {0}".format(tmp_path / weak) in told
    assert os.stat(state.folder).st_mode & 0o777 == 0o700


def test_store_rule_6_nothing_is_pinned_in_a_state_that_others_can_change(tmp_path):
    os.makedirs(str(tmp_path / "state"))
    os.chmod(str(tmp_path / "state"), 0o777)
    with pytest.raises(UsageError) as refusal:
        State(str(tmp_path / "state")).write_pin(ID, None)
    assert refusal.value.reference == "state"
