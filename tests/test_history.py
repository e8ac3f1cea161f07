"""What was seen of the mirrors over time: cheap to keep, bounded, and no harm whatever lies in its place."""
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.file_faults import plant
from tests.support.findings import NEW, OLD, A, B, C, fetch, judged
from tests.support.world import NOW, mirror
from yum_plugin.host.log import open_log
from yum_plugin.model import Probe
from yum_plugin.resolve.outcome import observations_of
from yum_plugin.state.history import MAX_AGE_SECONDS, MAX_HISTORY_BYTES, Observation, address_family, append, read
from yum_plugin.state.store import State, history

GOOD = Observation(NOW - 60, "https://a.test/", "ok", "metadata", 0, 0.0213, 0.0401, 3500, NOW + 99, "::1", 7)
FAILED = Observation(NOW - 50, "https://b.test/", "tls-expired")
PACKAGE = Observation(NOW - 40, "https://b.test/", "too-slow", "packages")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "xcp-ng-updates" / "history.jsonl")


def test_what_was_seen_is_read_again_in_the_order_of_time(path):
    append(path, [FAILED, PACKAGE])
    append(path, [GOOD])
    assert read(path, NOW) == [GOOD, FAILED, PACKAGE]


def test_nothing_seen_yet_is_no_history_and_nothing_new_writes_none(path):
    append(path, [])
    assert read(path, NOW) == [] and not os.path.exists(path)


def test_what_a_resolution_saw_is_kept_with_lag_and_revision():
    answer = judged((A, OLD), (B, NEW), (C, fetch("timed-out")))
    found = observations_of(answer, NOW + 0.7)
    assert [(each.url, each.outcome, each.lag_seconds, each.revision) for each in found] == [
        (A.url, "stale", NEW.timestamp - OLD.timestamp, OLD.revision), (B.url, "ok", 0, NEW.revision), (C.url, "timed-out", None, None)]
    assert {each.at for each in found} == {NOW}


def test_without_a_newest_revision_no_lag_is_claimed():
    [seen] = observations_of(judged((A, OLD), accepted=NEW), NOW)
    assert (seen.outcome, seen.lag_seconds, seen.revision) == ("ok", None, OLD.revision)


def test_it_never_grows_beyond_its_bound_and_keeps_the_newest(path):
    many = [GOOD._replace(at=NOW - 10000 + number, url="https://{}.test/".format("m" * 200)) for number in range(1500)]
    for _ in range(5):
        append(path, many)
        assert os.path.getsize(path) <= MAX_HISTORY_BYTES
    append(path, [PACKAGE])
    found = read(path, NOW)
    assert found[-1] == PACKAGE and len(found) > 1000 and {each.url for each in found[:-1]} == {many[0].url}


def test_what_is_too_old_or_of_the_future_is_not_read(path):
    append(path, [GOOD._replace(at=NOW - MAX_AGE_SECONDS - 1), GOOD, GOOD._replace(at=NOW + 1)])
    assert read(path, NOW) == [GOOD]


def test_a_killed_writer_costs_its_own_last_line_only(path):
    append(path, [GOOD, FAILED])
    os.truncate(path, os.path.getsize(path) - 5)
    append(path, [PACKAGE])
    assert read(path, NOW) == [GOOD, PACKAGE]


@pytest.mark.parametrize("line", [
    "", "{", "null", "5", "[]", '["x"]', "[1]", '[1, "u"]', '[1, 2, "ok"]', '[1.5, "u", "ok"]', '["1", "u", "ok"]', "[" * 9999,
    '[1, "u", "ok", "metadata", "late"]', '[1, "u", "ok", "metadata", true]', '[1, "u", "ok", null]', "\u00e9", "[1e999, 1, 2]",
    json.dumps(list(GOOD) + [1]), json.dumps([NOW, "u" * 5000, "ok"]),
])
def test_a_line_that_cannot_be_understood_is_passed_over(path, line):
    append(path, [GOOD])
    with open(path, "ab") as stream:
        stream.write(line.encode("utf-8") + b"\n")
    append(path, [PACKAGE])
    assert read(path, NOW) == [GOOD, PACKAGE]


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_at_all_make_reading_crash(tmp_path, data):
    path = str(tmp_path / "history.jsonl")
    with open(path, "wb") as stream:
        stream.write(data)
    read(path, NOW)


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo"])
def test_something_else_in_its_place_is_told_and_replaced(tmp_path, kind):
    state = State(str(tmp_path))
    os.makedirs(str(tmp_path / "id"))
    plant(tmp_path / "id" / "history.jsonl", kind)
    assert state.observed("id", NOW) == [] and len(state.problems) == 1
    state.observe("id", [GOOD])
    assert State(str(tmp_path)).observed("id", NOW) == [GOOD]


def test_a_place_that_cannot_be_written_is_logged_and_stops_nothing(tmp_path):
    os.makedirs(str(tmp_path / "id" / "history.jsonl"))
    open_log(str(tmp_path / "log"), "info")
    State(str(tmp_path)).observe("id", [GOOD])
    assert "history.jsonl: the history cannot be written" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("address, family", [("192.0.2.1", "ipv4"), ("2001:db8::1", "ipv6"), ("", "")])
def test_the_family_follows_from_the_address(address, family):
    assert address_family(address) == family


def test_every_field_of_an_observation_has_a_type_to_be_held_to():
    assert len(history._SAMPLE) == len(Observation._fields)
    assert Probe(mirror("a"), "ok").address == GOOD._field_defaults["address"] == ""
