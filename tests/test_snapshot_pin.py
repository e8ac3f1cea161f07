"""A pinned host: it takes what was agreed, tells that something newer is held back, and never goes elsewhere in silence."""
import hashlib
import json
import os
import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.plugin import state_path
from tests.lab.pool import PoolHost
from tests.lab.repositories import repository_path
from tests.support.world import NOW
from tests.support.yum_host import PYTHONS, YumHost
from yum_plugin.cli.main import main
from yum_plugin.errors import UsageError
from yum_plugin.model import REPOMD, Snapshot
from yum_plugin.state.memory import MAX_CLOCK_STEP_SECONDS, SnapshotPin
from yum_plugin.state.pool_token import MAX_SECONDS, Agreed, Token, read_token
from yum_plugin.state.store import State

UPDATES = "xcp-ng-updates"
DIGEST = "ab" * 32
ONE = "xcp-ng-updates/1795142969/" + DIGEST


# The token


def test_a_token_says_what_it_was_made_of():
    token = Token(NOW + 60, (Agreed("xcp-ng-base", 7, DIGEST), Agreed("x_y.z:1-2", 0, "0" * 64)))
    assert str(token) == "1/{}/xcp-ng-base/7/{}/x_y.z:1-2/0/{}".format(NOW + 60, DIGEST, "0" * 64)
    assert read_token(str(token), NOW) == token


@pytest.mark.parametrize("text, words", [
    ("", "not 1/EXPIRES"), ("1", "not 1/EXPIRES"), ("1/5", "not 1/EXPIRES"), ("2/5/" + ONE, "not 1/EXPIRES"),
    ("1/x/" + ONE, "no time"), ("1/-5/" + ONE, "no time"), ("1/\u0665/" + ONE, "no time"), ("1/" + "9" * 19 + "/" + ONE, "no time"),
    ("1/5/" + ONE[:-1], "no ID/"), ("1/5/" + ONE.upper(), "no ID/"), ("1/5/" + ONE + "\n", "no ID/"), ("1/5/" + ONE + "/", "not 1/"),
    ("1/5/../" + ONE, "not 1/"), ("1/5/../1/" + DIGEST, "no safe file name"), ("1/5/a b/1/" + DIGEST, "no safe file name"),
    ("1/5//1/" + DIGEST, "no safe file name"), ("1/5/" + ONE + "/" + ONE, "twice"), ("1/5/" + "/".join([ONE] * 17), "up to 16"),
    ("1/5/x/-1/" + DIGEST, "no ID/"), ("1/5/x/1/" + DIGEST[:-1] + "g", "no ID/"),
    ("1/5/" + "a" * 5000, "longer than"), ("1/{}/{}".format(NOW, ONE), "has expired"), ("1/5/" + ONE, "has expired"),
    ("1/{}/{}".format(NOW + MAX_SECONDS + 1, ONE), "more than 8 days"),
])
def test_any_other_text_is_no_token(text, words):
    with pytest.raises(UsageError) as problem:
        read_token(text, NOW)
    assert problem.value.reference == "pin" and words in str(problem.value) and "\n" not in str(problem.value)


@pytest.mark.fuzz
@given(st.text() | st.lists(st.sampled_from(["1", "/", "=", "/x/1/" + DIGEST, "1/{}/".format(NOW + 9), ONE, str(NOW + 5), "..", "\0"]), max_size=12).map("".join))
def test_a_token_is_read_as_it_is_written_or_not_at_all(text):
    try:
        token = read_token(text, NOW)
    except UsageError:
        return
    assert NOW < token.expires <= NOW + MAX_SECONDS and read_token(str(token), NOW) == token


# The pin in the state


def test_a_clock_that_is_set_back_makes_no_pin_longer():
    pin = SnapshotPin(Snapshot(DIGEST, 1, 1, 1, 1), NOW + 100, NOW)
    assert [pin.holds(NOW + later) for later in (-MAX_CLOCK_STEP_SECONDS - 1, -60, 0, 99, 100)] == [False, True, True, True, False]


@pytest.mark.parametrize("content", ["", "{}", "[" * 9999, '{"snapshot": {"sha256": "%s", "size": 1, "revision": 1, "timestamp": 1,'
                                     ' "signed_at": 1}, "expires": 1, "taken_at": 1}' % ("../" * 22)[:64]])
def test_a_damaged_pin_counts_as_missing_and_is_told(tmp_path, content):
    state = State(str(tmp_path))
    state.write_pin(UPDATES, SnapshotPin(Snapshot(DIGEST, 1, 1, 1, 1), 2, 1))
    assert state.load(UPDATES).pin is not None and oct(os.stat(state.path(UPDATES, "pin.json")).st_mode)[-3:] == "600"
    with open(state.path(UPDATES, "pin.json"), "w") as stream:
        stream.write(content)
    assert state.load(UPDATES).pin is None and len(state.problems) == 1


# The host


class Guest:
    """A host of a pool, and what its admin types."""

    def __init__(self, lab, folder, capsys):
        self.lab, self._capsys = lab, capsys
        self.member = PoolHost(lab, str(folder / "host"))
        self.host = self.member.host

    def run(self, *words):
        """Exit code, stdout, stderr."""
        code = main(list(words) + self.member.places)
        return (code,) + tuple(self._capsys.readouterr())

    def precheck(self, *words):
        """Exit code and references of the reasons."""
        code, out, _ = self.run("precheck", "--json", *words)
        return code, [reason["reference"] for reason in json.loads(out)["reasons"]]

    def token(self, state, **digests):
        """A token for a state of the lab."""
        for name in ("base", "updates"):
            with open(os.path.join(self.lab.trees.path(state), repository_path(name), REPOMD), "rb") as stream:
                digests.setdefault("xcp-ng-" + name, hashlib.sha256(stream.read()).hexdigest())
        return str(Token(int(time.time()) + 3600, tuple(
            Agreed(name, self.lab.trees.stamp(state), digest) for name, digest in digests.items())))

    def pin(self, state):
        """Pin what is published now, and publish the newest then."""
        self.lab.publish(state)
        assert self.precheck("--pin", self.token(state)) == (0, [])
        self.lab.publish("new")

    def path(self, *parts):
        return state_path(self.host, UPDATES, *parts)

    @property
    def pinned_folder(self):
        [name] = [name for name in os.listdir(self.path()) if name.startswith("pinned-")]
        return self.path(name)

    def files(self):
        return sorted(os.listdir(self.path())) if os.path.isdir(self.path()) else []


@pytest.fixture
def guest(lab, tmp_path, capsys):
    lab.add_mirror("good1")
    lab.add_mirror("good2")
    return Guest(lab, tmp_path, capsys)


def test_what_is_pinned_is_all_of_the_metadata_and_nothing_else(guest):
    guest.pin("old")
    tree = os.path.join(guest.lab.trees.path("old"), repository_path("updates"), "repodata")
    kept = os.path.join(guest.pinned_folder, "repodata")
    assert sorted(os.listdir(kept)) == sorted(os.listdir(tree)) and len(os.listdir(kept)) > 4
    for name in os.listdir(kept):
        with open(os.path.join(kept, name), "rb") as first, open(os.path.join(tree, name), "rb") as second:
            assert first.read() == second.read()


def test_precheck_status_and_explain_tell_of_the_pin_and_what_it_holds_back(guest):
    guest.pin("old")
    old, new = (guest.lab.trees.stamp(state) for state in ("old", "new"))
    assert guest.run("refresh", "-q")[0] == 1
    for command in (["status"], ["precheck"]):
        code, out, _ = guest.run(*command)
        told = " ".join(out.split())
        assert code == 0 and "pinned: revision {} is taken until ".format(old) in told, out
        assert "revision {} is held back; 'xcpng-mirrors precheck --unpin' removes the pin".format(new) in told
    out = guest.run("explain", UPDATES)[1]
    assert "pinned to revision {} until 2".format(old) in out and "revision {} from ".format(new) in out
    assert "the revision that the pool agreed on was used" in out
    pin = [item["pin"] for item in json.loads(guest.run("status", "--json")[1])["repositories"] if item["id"] == UPDATES][0]
    assert (pin["revision"], pin["sha256"] in guest.token("old")) == (old, True)
    assert guest.precheck("--unpin") == (0, [])
    assert "pinned" not in guest.run("status")[1] and "the pin on revision {} has ended".format(old) in guest.run("explain", UPDATES)[1]


def test_pinning_again_extends_what_nobody_serves_any_more(guest):
    guest.pin("old")
    with open(guest.path("pin.json")) as stream:
        before = json.load(stream)["expires"]
    longer = guest.token("old").split("/")
    longer[1] = str(before + 600)
    assert guest.precheck("--pin", "/".join(longer)) == (0, [])
    with open(guest.path("pin.json")) as stream:
        assert json.load(stream)["expires"] == before + 600


def test_another_pin_takes_the_place_of_the_first_and_its_files(guest):
    guest.pin("old")
    first = guest.pinned_folder
    assert guest.precheck("--pin", guest.token("new")) == (0, [])
    assert guest.pinned_folder != first and not os.path.exists(first)


def test_a_token_below_the_high_water_mark_is_refused_as_rollback(guest):
    assert guest.run("refresh", "--accept-rollback", "--repo", UPDATES, "-q")[0] == 0  # this host has accepted the new state
    guest.lab.add_mirror("lags", tree="old")
    assert guest.precheck("--pin", guest.token("old")) == (1, ["rollback"])
    assert not [name for name in guest.files() if name.startswith("pin")]


def test_one_repository_that_cannot_be_pinned_keeps_the_other_from_it(guest):
    token = guest.token("new", **{"xcp-ng-base": "0" * 64})
    assert guest.precheck("--pin", token) == (3, ["unreachable"])
    assert not [name for name in guest.files() if name.startswith("pin")]


def test_a_pin_that_cannot_be_written_leaves_the_one_that_was_there(guest, monkeypatch):
    guest.pin("old")
    real, written = State.write_pin, []

    def full(self, name, pin):
        written.append(name)
        if len(written) == 2:
            raise UsageError("state", "No space left on device")
        real(self, name, pin)

    monkeypatch.setattr(State, "write_pin", full)
    assert guest.precheck("--pin", guest.token("new")) == (1, ["state"])
    state = State(state_path(guest.host))
    assert {state.load(name).pin.snapshot.revision for name in ("xcp-ng-base", UPDATES)} == {guest.lab.trees.stamp("old")}
    assert guest.precheck() == (0, [])


def test_a_token_for_other_repositories_is_told(guest):
    token = str(Token(int(time.time()) + 60, (Agreed("epel", 1, DIGEST),)))
    code, _, err = guest.run("precheck", "--pin", token)
    assert code == 1 and "pin: the token names no repository of this host" in err
    assert guest.run("precheck", "--pin", "rubbish")[0] == 2


def test_an_expired_pin_is_taken_away_and_the_newest_handed_over(guest):
    guest.pin("old")
    state = State(state_path(guest.host))
    for name in ("xcp-ng-base", UPDATES):
        pin = state.load(name).pin
        state.write_pin(name, pin._replace(expires=int(time.time()) - 1))
    code, out, err = guest.run("refresh")
    assert (code, err) == (0, "") and out.count("revision {} ".format(guest.lab.trees.stamp("new"))) == 2
    assert not [name for name in guest.files() if name.startswith("pin")]
    assert "the pin on revision {} has ended".format(guest.lab.trees.stamp("old")) in guest.run("explain", UPDATES)[1]


def test_no_mirror_in_reach_changes_nothing_about_what_is_taken(guest):
    guest.pin("old")
    for server in [guest.lab.redirector, guest.lab.origin] + list(guest.lab.mirrors.values()):
        server.server.refuse()
    code, out, err = guest.run("refresh", "--repo", UPDATES)
    assert code == 1 and "revision {} ".format(guest.lab.trees.stamp("old")) in out
    assert "is held back" not in err and "none of " in err  # what is newer was never heard of
    assert guest.precheck() == (3, ["unreachable"] * 2)


@pytest.mark.dnf
@pytest.mark.parametrize("damage, words", [
    (lambda path: os.unlink(os.path.join(path, REPOMD)), "No such file"),
    (lambda path: shutil.copy(os.path.join(path, REPOMD + ".asc"), os.path.join(path, REPOMD)), "signature-invalid"),
])
def test_a_pin_that_cannot_be_kept_stops_the_update_with_the_command_that_lifts_it(guest, damage, words):
    guest.pin("old")
    damage(guest.pinned_folder)
    done = guest.host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, guest.host.version("lab-agent")) == (1, "")
    assert "xcp-ng-updates: pinned: revision " in done.stderr and words in done.stderr and "precheck --unpin" in done.stderr
    assert "pinned: revision" in guest.run("explain", UPDATES)[1]
    assert guest.precheck() == (1, ["pinned"])
    assert guest.precheck("--unpin") == (0, [])
    assert guest.host.dnf("-y", "install", "lab-agent").returncode == 0 and guest.host.version("lab-agent") == "2.0"


@pytest.mark.dnf
def test_packages_that_nobody_has_any_more_are_told_with_the_pin_and_the_command_that_lifts_it(guest, monkeypatch):
    guest.pin("old")
    monkeypatch.setattr(guest.lab.trees, "_before", lambda state: [])
    done = guest.host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, guest.host.version("lab-agent")) == (1, "")
    assert "pinned: packages of revision {}, which is to be taken until ".format(guest.lab.trees.stamp("old")) in done.stderr
    assert "'xcpng-mirrors precheck --unpin' on this host" in done.stderr


@pytest.mark.parametrize("python", PYTHONS)
def test_yum_takes_what_is_pinned_too(guest, python, tmp_path):
    yum = YumHost(guest.lab, str(tmp_path / "yum"), python)
    config = yum.install_plugin()
    guest.lab.publish("old")
    places = ["--installroot", yum.root, "--config", config, "--reposdir", yum.repos]
    assert main(["precheck", "-q", "--pin", guest.token("old")] + places) == 0
    guest.lab.publish("new")
    done = yum.yum("install", "lab-agent")
    assert (done.returncode, yum.version("lab-agent")) == (0, "1.0"), done.stdout + done.stderr
    assert "is held back" in done.stderr
    assert main(["precheck", "-q", "--unpin"] + places) == 0
    done = yum.yum("update")
    assert (done.returncode, yum.version("lab-agent")) == (0, "2.0"), done.stdout + done.stderr
