"""The numbers of state/, each at its edge: what is kept, for how long, and what is cut."""
import errno
import json
import os

import pytest

from tests.support.world import NOW, mirror, snapshot
from yum_plugin.errors import UsageError
from yum_plugin.model import Probe
from yum_plugin.state import encoding, memory, store
from yum_plugin.state.history import Observation, append, read
from yum_plugin.state.memory import Decision, Memory, Record, SnapshotPin, judge_record, known_list, quarantined, with_decision
from yum_plugin.state.pool_token import Agreed, Token, read_token
from yum_plugin.state.snapshot_pin import folder_of, lift, remove_folders, until, warning, warning_without_packages, words
from yum_plugin.state.store import State

DAY = 86400
ID = "xcp-ng-updates"
SEEN = Observation(NOW, "https://a.test/", "ok")
PIN = SnapshotPin(snapshot(2), 1700000000, 1690000000)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "history.jsonl")


# History


def test_observations_are_read_for_400_days(path):
    kept = [SEEN._replace(at=NOW - 400 * DAY), SEEN]
    append(path, [SEEN._replace(at=NOW - 400 * DAY - 1)] + kept + [SEEN._replace(at=NOW + 1)])
    assert read(path, NOW) == kept


def test_a_url_of_a_history_has_at_most_2048_characters(path):
    append(path, [SEEN._replace(url="u" * 2049), SEEN._replace(url="u" * 2048)])
    assert [len(each.url) for each in read(path, NOW)] == [2048]


def test_a_line_is_cut_after_its_last_value_and_its_times_to_a_tenth_of_a_millisecond(path):
    append(path, [SEEN, SEEN._replace(first_byte_seconds=0.123456, seconds=2.00006)])
    with open(path, "rb") as stream:
        assert stream.read().split(b"\n") == [
            b"", b'[%d, "https://a.test/", "ok", "metadata"]' % NOW,
            b'[%d, "https://a.test/", "ok", "metadata", null, 0.1235, 2.0001]' % NOW, b""]


@pytest.mark.parametrize("place", range(11))
def test_only_what_is_not_known_may_be_missing(path, place):
    values = list(SEEN._replace(lag_seconds=0, first_byte_seconds=0.5, seconds=0.5, bytes=1, certificate_expires=1, address="::1", revision=1))
    values[place] = None
    with open(path, "w") as stream:
        stream.write(json.dumps(values) + "\n")
    assert len(read(path, NOW)) == (place > 3)


def test_a_history_of_1_mib_stays_and_the_next_byte_costs_its_older_half(path):
    line = json.dumps([NOW, "https://a.test/", "ok", "metadata"]).encode() + b"\n"
    with open(path, "wb") as stream:
        stream.write((line * 30000)[:1048576 - len(line) - 1 - 40] + b"\n".rjust(40, b"x"))
    append(path, [SEEN])
    assert os.path.getsize(path) == 1048576
    append(path, [SEEN._replace(url="https://last.test/")])
    assert 524288 - len(line) <= os.path.getsize(path) <= 524288
    with open(path, "rb") as stream:
        assert stream.read().startswith(line)
    assert read(path, NOW)[-1].url == "https://last.test/"
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_history_of_2_mib_is_read_and_none_that_is_larger(path):
    append(path, [SEEN])
    os.truncate(path, 2 * 1048576)
    assert read(path, NOW) == [SEEN]
    os.truncate(path, 2 * 1048576 + 1)
    with pytest.raises(OSError):
        read(path, NOW)


def test_nobody_waits_for_the_disk_because_of_a_history_and_no_file_stays_open(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("a history is only for charts"))
    append(path, [SEEN])
    before = os.listdir("/proc/self/fd")
    os.truncate(path, 1048576)
    append(path, [SEEN])
    assert os.path.getsize(path) < 1048576 and os.listdir("/proc/self/fd") == before


def test_a_fifo_that_somebody_reads_is_replaced(path):
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    append(path, [SEEN])
    os.close(reader)
    assert os.path.isfile(path) and read(path, NOW) == [SEEN]


def test_a_history_that_may_not_be_written_is_not_replaced(path, monkeypatch):
    append(path, [SEEN])
    real = os.open

    def refuse(name, flags, *more, **settings):
        if name == path and flags & os.O_APPEND:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(name, flags, *more, **settings)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        append(path, [SEEN])
    assert read(path, NOW) == [SEEN]


# Memory


def test_a_decision_is_kept_with_12_mirrors_200_characters_and_20_others():
    rejected = tuple(("m{}.test".format(number), "malformed", "x" * 201) for number in range(14))
    decision = Decision(NOW, "metadata", used=("a.test",) * 13, rejected=rejected, more=5, error="y" * 401)
    kept = with_decision(Memory(decisions=(Decision(1, "pin"),) * 20), decision).decisions
    assert len(kept) == 20 and len(kept[-1].used) == len(kept[-1].rejected) == 12
    assert (kept[-1].more, len(kept[-1].rejected[0][2]), len(kept[-1].error)) == (7, 200, 400)
    few = decision._replace(rejected=rejected[:12], used=("a.test",) * 12)
    assert (with_decision(Memory(), few).decisions[0].more, len(with_decision(Memory(), few).decisions)) == (5, 1)


def test_a_pin_holds_from_a_day_before_it_was_taken_until_it_expires():
    pin = SnapshotPin(snapshot(1), NOW + 10, NOW)
    assert [pin.holds(NOW + later) for later in (-DAY - 1, -DAY, 9.9, 10)] == [False, True, True, False]


def test_a_record_keeps_what_the_probe_gave():
    probe = Probe(mirror("a"), "ok", "fine", seconds=0.5, certificate_expires=7)
    assert judge_record(None, probe, NOW) == Record("ok", "fine", NOW, 0, 0, 0.5, 7)
    failed = judge_record(None, probe._replace(outcome="timed-out"), NOW)
    assert failed == Record("timed-out", "fine", NOW, 1, NOW + 3600, 0.5, 7)
    assert judge_record(failed._replace(failures=2000), probe._replace(outcome="malformed"), NOW).quarantined_until == NOW + DAY


def test_a_quarantine_lasts_at_most_a_day():
    held = {str(end): Record("timed-out", "", 0, 1, NOW + end, 0.0, None) for end in (0, 1, DAY, DAY + 1)}
    assert list(quarantined(Memory(records={"https://m{}.test/".format(end): each for end, each in held.items()}), NOW)) == [
        "m1.test", "m86400.test"]


def test_the_known_list_names_itself_as_its_source_but_for_the_origin():
    listed = known_list(Memory((mirror("a")._replace(source="json"), mirror("b")._replace(source="origin")), "ab"))
    assert [each.source for each in listed.mirrors] == ["known", "origin"] and listed.sha256 == "ab"


def test_what_is_not_known_is_zero_or_empty():
    assert Memory() == ((), "", {}, None, (), 0.0, "", (), 0.0, 0.0, (), "", "", 0.0, 0.0, 0.0, False, 0.0, 0.0, {}, 0.0, "", 0.0, "")
    assert Decision(1, "pin") == (1, "pin", 0, 0, (), (), 0, "", "")
    assert SEEN == (NOW, "https://a.test/", "ok", "metadata", None, None, None, None, None, "", None)


def test_the_numbers_that_other_modules_use():
    assert (memory.MAX_SIGNATURE_BYTES, encoding.SCHEMA) == (8192, 1)


@pytest.mark.parametrize("story, rates, measured, remembered", [
    ("a new mirror", {}, 4e6, (4e6, NOW)),
    ("halfway between old and new", {"u": (2e6, NOW - 60)}, 4e6, (3e6, NOW)),
    ("nothing new in it", {"u": (3.9e6, NOW - 60)}, 4e6, (3.9e6, NOW - 60)),
    ("the same, after long", {"u": (4e6, NOW - memory.RATE_WORTH_SECONDS - 1)}, 4e6, (4e6, NOW)),
    ("too old to count", {"u": (2e6, NOW - memory.RATE_SECONDS - 1)}, 4e6, (4e6, NOW)),
    ("from the future: a clock was set back", {"u": (2e6, NOW + 60)}, 4e6, (4e6, NOW)),
])
def test_a_rate_is_remembered(story, rates, measured, remembered):
    made = memory.with_rates(Memory(rates=rates), {"u": measured}, NOW)
    assert made.rates == {"u": remembered} and memory.known_rate(made, "u", NOW) == remembered[0]


def test_a_rate_is_forgotten_after_a_day_so_that_a_mirror_gets_its_chance():
    slow = Memory(rates={"u": (5e4, NOW)})
    assert [memory.known_rate(slow, "u", NOW + seconds) for seconds in (0, 24 * 3600, 24 * 3600 + 1)] == [5e4, 5e4, 0.0]
    assert memory.known_rate(slow, "other", NOW) == 0.0
    many = memory.with_rates(slow, {str(number): 1e6 for number in range(300)}, NOW + 1)
    assert len(many.rates) == memory.MAX_RATES and "u" not in many.rates


# The files of the state


def test_every_value_of_a_memory_is_written_and_read_again():
    full = Memory((mirror("a"),), "a" * 64, {"https://a.test/": Record("ok", "d", 1, 2, 3, 0.5, None)}, snapshot(3), ("u",), 1.5, "freeze",
                  (Decision(1, "pin", 2, 3, ("a",), (("b", "c", "d"),), 4, "note", "error"),), 2.5, 0.25, ("F" * 40,), "sig", "8/8.3/base/x86_64/",
                  3.5, 4.5, 5.5, True, 6.5, 7.5, {"https://a.test/": (8.5, 9)},
                  10.5, "b" * 64, 11.5, "own-copy")
    assert all(value != Memory._field_defaults[name] for name, value in full._asdict().items())
    values = json.loads(json.dumps(dict(encoding.memory_to(full), schema=1)))
    assert encoding.memory_of(values) == full
    for name in ("decisions", "heard_at", "luck", "pins", "signature", "place", "listed_at", "digest_unknown_at", "answer_seconds",
                 "listed_securely", "blocked_at", "unauthenticated_since", "rates"):
        del values[name]
    assert encoding.memory_of(values) == full._replace(
        decisions=(), confirmed_at=0, jitter=0, fingerprints=(), signature="", place="", listed_at=0, digest_unknown_at=0, answer_seconds=0,
        listed_securely=False, blocked_at=0, unauthenticated_since=0, rates={})


def test_a_digest_has_64_characters_and_that_of_a_pin_hex_digits():
    good = encoding.snapshot_to(snapshot(1))
    for sha256 in ("a" * 63, "a" * 65, 5, None):
        with pytest.raises(ValueError):
            encoding.snapshot_of(dict(good, sha256=sha256))
    pin = {"snapshot": dict(good, sha256="g" * 64), "expires": 2, "taken_at": 1}
    assert encoding.snapshot_of(pin["snapshot"])
    with pytest.raises(ValueError):
        encoding.pin_of(pin)
    assert encoding.pin_of(dict(pin, snapshot=good)) == SnapshotPin(snapshot(1)._replace(raw=b"", signature=b""), 2, 1)


def test_a_file_of_the_state_has_at_most_4_mib(tmp_path):
    state = State(str(tmp_path))
    state.update(ID, accepted=snapshot(3))
    name = state.path(ID, "accepted.json")
    with open(name) as stream:
        text = stream.read()
    for more, mark in ((0, snapshot(3)), (1, None)):
        with open(name, "w") as stream:
            stream.write(text.ljust(4 * 1048576 + more))
        assert state.load(ID).accepted == mark


def test_a_file_of_the_state_is_for_people_too_a_value_in_a_line(tmp_path):
    state = State(str(tmp_path))
    state.update(ID, accepted=snapshot(3))
    with open(state.path(ID, "accepted.json")) as stream:
        lines = stream.read().split("\n")
    assert (lines[0], lines[-1], len(lines)) == ("{", "}", 10) and all(line[0] == " " != line[1] for line in lines[1:-1])
    assert lines[1:-1] == sorted(lines[1:-1])
    assert state.write_metalink(ID, b"x") == state.path(ID, "metalink.xml")


def test_other_bytes_of_the_same_age_become_the_mark(tmp_path):
    state = State(str(tmp_path))
    for sha256 in ("a" * 64, "b" * 64):
        state.update(ID, accepted=snapshot(3)._replace(sha256=sha256))
        assert state.load(ID).accepted.sha256 == sha256


def test_a_state_that_this_user_may_not_read_says_who_may(tmp_path, monkeypatch):
    def refuse(path, limit):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(store, "read_capped", refuse)
    state = State(str(tmp_path))
    state.load(ID)
    assert [problem.split(" (")[0] for problem in state.problems] == ["state: this user may not read it"] * 3
    assert all(problem.endswith("; call it as root: sudo xcpng-mirrors") for problem in state.problems)


def test_a_problem_that_is_met_twice_is_reported_once(tmp_path):
    state = State(str(tmp_path))
    os.makedirs(str(tmp_path / ID))
    (tmp_path / ID / "accepted.json").write_text("{")
    (tmp_path / ID / "pin.json").write_text("{")
    for _ in range(2):
        state.load(ID)
    assert [problem.split(": ")[:2] for problem in state.problems] == [["state", "ignored, it cannot be understood"]] * 2


def test_a_pin_that_is_not_there_is_removed_without_a_word_and_one_that_cannot_be_is_named(tmp_path):
    state = State(str(tmp_path))
    state.write_pin(ID, None)
    os.makedirs(str(tmp_path / ID / "pin.json"))
    with pytest.raises(UsageError, match="state: the pin cannot be removed: .*pin.json"):
        state.write_pin(ID, None)


# Tokens


def token(count=1, expires=NOW + 60):
    return str(Token(expires, tuple(Agreed("r{}".format(number), number, "ab" * 32) for number in range(count))))


@pytest.mark.parametrize("text, problem", [
    (token(16), ""), (token(17), "for up to 16 repositories"), (token(expires=NOW + 1), ""), (token(expires=NOW), "the token has expired"),
    (token(expires=NOW + 8 * DAY), ""), (token(expires=NOW + 8 * DAY + 1), "the token is for more than 8 days"),
    ("1/{}/x/{}/{}".format(NOW + 60, "9" * 18, "ab" * 32), ""), ("1/{}/x/{}/{}".format(NOW + 60, "9" * 19, "ab" * 32), "no ID/REVISION/SHA256"),
    ("1/" + "/" * 4094, "not 1/EXPIRES"), ("1/" + "/" * 4095, "longer than 4096 characters"),
])  # fmt: skip
def test_a_token_is_read_up_to_each_of_its_limits(text, problem):
    if not problem:
        assert str(read_token(text, NOW)) == text
        return
    with pytest.raises(UsageError, match=problem):
        read_token(text, NOW)


# Pins


def test_only_the_folders_of_other_pins_are_removed(tmp_path):
    for name in ("pinned-a/repodata", "pinned-b", "other"):
        os.makedirs(str(tmp_path / name))
    (tmp_path / "pinned-file").write_text("")  # nothing of ours: cannot be removed as a folder, and stops nothing
    remove_folders(str(tmp_path), str(tmp_path / "pinned-b"))
    assert sorted(os.listdir(str(tmp_path))) == ["other", "pinned-b", "pinned-file"]
    remove_folders(str(tmp_path))
    assert sorted(os.listdir(str(tmp_path))) == ["other", "pinned-file"]
    remove_folders(str(tmp_path / "missing"))


def test_a_pin_that_is_lifted_is_logged_and_remembered(tmp_path, caplog):
    state = State(str(tmp_path))
    with caplog.at_level("INFO", "xcpng-mirrors"):
        assert lift(state, ID, NOW, "nothing") is False and caplog.messages == []
        state.write_pin(ID, PIN)
        assert lift(state, ID, NOW, "the admin said so") is True
    assert caplog.messages == ["the pin on revision {}, {}, has ended: the admin said so".format(PIN.snapshot.revision, PIN.snapshot.sha256)]
    remembered = state.load(ID)
    assert remembered.pin is None and remembered.memory.decisions == (Decision(NOW, "pin", revision=PIN.snapshot.revision),)


def test_a_folder_of_a_pin_has_16_digits_of_the_digest():
    assert folder_of("/state/id", "0123456789abcdef" * 4) == "/state/id/pinned-0123456789abcdef"


def test_what_a_pin_holds_back_is_said_only_if_it_is_newer():
    assert until(PIN) == "2023-11-14 22:13 UTC"
    plain = "revision {} is taken until 2023-11-14 22:13 UTC, as agreed for the pool".format(PIN.snapshot.revision)
    for newest in (None, PIN.snapshot, snapshot(1)):
        assert (words(PIN, newest), warning(PIN, newest)) == (plain, "")
    held = "{}; revision {} is held back".format(plain, snapshot(3).revision)
    assert words(PIN, snapshot(3)) == held and warning(PIN, snapshot(3)).startswith("pinned: " + held + "; ")
    assert warning_without_packages(PIN).startswith("pinned: packages of revision {}, ".format(PIN.snapshot.revision))
