"""Pools: every host asked through xe, one table; and all hosts take the same revision, whatever is published meanwhile."""
import hashlib
import json
import os
import time

import pytest

from tests.lab.plugin import state_path
from tests.lab.pool import PoolHost, write_xe
from tests.lab.repositories import repository_path
from yum_plugin.cli.main import main
from yum_plugin.pool.members import Member, Pool, read_members
from yum_plugin.state.pool_token import Agreed, Token
from yum_plugin.state.store import State
from yum_plugin.util.urls import host_of

MISSING = "The requested plugin could not be found.\nname: xcpng-mirrors\n"
OFFLINE = "You attempted an operation which involves a host which could not be contacted.\nhost: 7b2c (hv3)\n"
HOSTILE = json.dumps({"schema": 1, "command": "precheck", "can_update": True, "reasons": [], "warnings": [], "repositories": [
    {"id": "x", "pin": None, "newest": None, "current": {"revision": "1" * 99, "sha256": "", "age_seconds": 0, "updated_at": ""}}]})


class Master:
    """The pool's master, with as many hosts as a test wants, and an xe that leads to them."""

    def __init__(self, lab, folder, capsys):
        self.lab, self._folder, self._capsys = lab, folder, capsys
        self.hosts, self.broken = {}, {}
        (folder / "root/etc/xensource").mkdir(parents=True)
        self.say("master")

    def say(self, role):
        (self._folder / "root/etc/xensource/pool.conf").write_text(role)

    def add(self, name, **settings):
        self.hosts[name] = PoolHost(self.lab, str(self._folder / name), **settings)
        return self.hosts[name]

    def run(self, *words):
        """Exit code, stdout, stderr."""
        write_xe(str(self._folder), self.hosts, self.broken)
        code = main(["pool", "--installroot", str(self._folder / "root")] + list(words))
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *words):
        code, out, err = self.run("--json", *words)
        values = json.loads(out)
        assert (values["schema"], values["command"]) == (1, "pool")
        return code, values, err


@pytest.fixture
def master(lab, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return Master(lab, tmp_path, capsys)


@pytest.fixture
def pool(master):
    """A master of two good hosts, and good mirrors."""
    for name in ("good1", "good2"):
        master.lab.add_mirror(name)
    for name in ("hv1", "hv2"):
        master.add(name)
    return master


def precheck(host, capsys, *words):
    """A host's own precheck."""
    code = main(["precheck", "--json"] + list(words) + host.places)
    return code, json.loads(capsys.readouterr().out)


# Asking


def test_one_table_says_for_each_host_whether_it_can_update(pool):
    code, out, err = pool.run()
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["HOST", "UPDATE", "xcp-ng-base", "xcp-ng-updates", "AGE", "PROBLEM"]
    stamp = str(pool.lab.trees.stamp("new"))
    assert [line.split() for line in lines[1:]] == [[name, "yes", stamp, stamp, "48", "h"] for name in ("hv1", "hv2")]


@pytest.mark.parametrize("answer, reference, words", [
    ((1, "", OFFLINE), "unreachable", "could not be contacted"), ((1, "", MISSING), "no-plugin", "yum install xcpng-mirrors"),
    ((1, "", "Error code: XENAPI_MISSING_PLUGIN\nError parameters: xcpng-mirrors\n"), "no-plugin", "not installed"),
    ((1, "", "Error code: UNKNOWN_XENAPI_PLUGIN_FUNCTION\nError parameters: precheck\n"), "no-plugin", "yum update xcpng-mirrors"),
    ((1, "", "Error code: XENAPI_PLUGIN_FAILURE\nError parameters: precheck, xcpng-mirrors, exit code 2: x\n"), "state", "exit code 2: x"),
    ((0, "rubbish\n", ""), "bad-answer", "no JSON"), ((0, "", ""), "bad-answer", "no JSON"), ((0, "{}", ""), "bad-answer", "KeyError"),
    ((0, "[" * 100000, ""), "bad-answer", "no precheck"), ((0, '{"schema": 1, "command": "status"}', ""), "bad-answer", ""),
    ((0, HOSTILE, ""), "bad-answer", "TypeError"), ((7, "", ""), "unreachable", "exit code 7"),
    ((0, "x" * (9 << 20), ""), "timed-out", "an endless answer"), ((None, "", ""), "timed-out", "no answer in time"),
])  # fmt: skip
def test_a_host_without_an_answer_is_a_row_with_the_reason_and_a_hint(master, monkeypatch, answer, reference, words):
    monkeypatch.setattr("yum_plugin.cli.pool.Pool", lambda xe: Pool(xe, 1.0 if answer[0] is None else 60.0))
    master.broken["hv\x1b[2J3"] = answer
    code, values, err = master.json()
    [host] = values["hosts"]
    assert (host["can_update"], [reason["reference"] for reason in host["reasons"]]) == (None, [reference])
    assert code == (1 if reference in ("no-plugin", "state") else 3)
    [line] = err.splitlines()
    assert line.startswith("xcpng-mirrors: hv?[2J3: {}: ".format(reference)) and words in line and "; " in line
    if answer[0] is not None:
        assert master.run()[1].splitlines()[1].split() == ["hv?[2J3", "?", reference]


def test_a_broken_host_keeps_no_other_from_its_row(pool):
    pool.broken["hv0"] = (1, "", OFFLINE)
    code, values, _ = pool.json()
    assert (code, [(host["name"], host["can_update"]) for host in values["hosts"]]) == (
        3, [("hv0", None), ("hv1", True), ("hv2", True)])


def test_a_host_that_cannot_update_is_shown_with_its_own_reason(pool):
    pool.add("hv3", fingerprints="0" * 40)
    code, values, err = pool.json()
    assert (code, [host["can_update"] for host in values["hosts"]]) == (1, [True, True, False])
    assert {reason["reference"] for reason in values["hosts"][2]["reasons"]} == {"key-mismatch"} and "hv3: key-mismatch: " in err


def test_hosts_that_would_take_different_revisions_are_reported(pool, capsys):
    pool.lab.publish("old")
    code, answer = precheck(pool.hosts["hv1"], capsys, "--pin", token_of(pool, capsys))
    assert code == 0
    pool.lab.publish("new")
    code, out, _ = pool.run()
    assert code == 0 and "would install different revisions of xcp-ng-base, xcp-ng-updates; 'xcpng-mirrors pool --agree'" in out
    assert "{} pin".format(pool.lab.trees.stamp("old")) in out


@pytest.mark.parametrize("role, words", [("slave:10.0.0.7", "run it on the master: 10.0.0.7"), ("", "run it on the master"),
                                         ("broken\x1b[2J", "run it on the master")])
def test_another_host_than_the_master_says_where_to_go(master, role, words):
    master.say(role)
    code, out, err = master.run()
    assert (code, out) == (2, "")
    assert err.startswith("xcpng-mirrors: usage: this host is not its pool's master") and words in err


def test_without_xe_it_says_so(master, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("yum_plugin.pool.members.XE_PATHS", ())
    code, out, err = master.run()
    assert (code, out, err.splitlines()) == (2, "", ["xcpng-mirrors: usage: there is no xe here; run it on the master of the pool"])


def test_an_xe_that_lists_no_host_is_reported(master):
    code, out, err = master.run()
    assert (code, out) == (3, "") and "bad-answer: xe lists no host" in err


@pytest.mark.parametrize("words", [["--hours", "0"], ["--hours", "169"], ["--hours", "x"], ["--hours", "-1"], ["--agree", "--disagree"]])
def test_wrong_words_are_refused_before_anybody_is_asked(master, words, capsys):
    with pytest.raises(SystemExit) as end:
        master.run(*words)
    assert end.value.code == 2 and capsys.readouterr().out == ""


def test_quiet_is_quiet_unless_something_is_wrong(pool):
    assert pool.run("-q") == (0, "", "")
    pool.broken["hv0"] = (1, "", MISSING)
    code, out, err = pool.run("-q")
    assert (code, out, len(err.splitlines())) == (1, "", 1)


def test_names_are_taken_from_xe_as_they_are():
    text = "uuid ( RO)                : a-1\n          name-label ( RW): one : uuid ( RO): b\n\n\nuuid ( RO): ../x\n  name-label ( RW): two\n" \
        "garbage\nuuid ( RO)    : c-3\n          name-label ( RW): \n"
    assert read_members(text) == [Member("a-1", "one : uuid ( RO): b"), Member("c-3", "c-3")]
    assert len(read_members("".join("uuid ( RO): {0}\nname-label ( RW): {0}\n".format(number) for number in range(1000)))) == 64


# Agreeing


def token_of(pool, capsys, state="", expires=3600):
    """A token for a state of the lab, as the master would make it."""
    trees = pool.lab.trees
    agreed = []
    for name in ("base", "updates"):
        with open(os.path.join(trees.path(state), repository_path(name), "repodata/repomd.xml"), "rb") as stream:
            agreed.append(Agreed("xcp-ng-" + name, trees.stamp(state or trees.published), hashlib.sha256(stream.read()).hexdigest()))
    return str(Token(int(time.time()) + expires, tuple(agreed)))


def pins(host):
    """The repositories that a host has pinned."""
    return sorted(name for name in os.listdir(state_path(host.host)) if os.path.exists(state_path(host.host, name, "pin.json"))) \
        if os.path.isdir(state_path(host.host)) else []


def update(host, version):
    """Update a host by dnf, and return what was said on stderr."""
    done = host.host.dnf("-y", "upgrade" if host.host.version("lab-agent") else "install", "lab-agent")
    assert (done.returncode, host.host.version("lab-agent")) == (0, version), done.stdout + done.stderr
    return done.stderr


@pytest.mark.dnf
def test_all_hosts_take_the_same_revision_although_an_update_is_published_between_them(pool, capsys):
    lab, (first, second) = pool.lab, pool.hosts.values()
    old, new = (lab.trees.stamp(state) for state in ("old", "new"))
    lab.publish("old")
    code, out, err = pool.run("--agree")
    assert (code, err) == (0, "") and "all hosts use these revisions until " in out
    assert [line.split()[2:6] for line in out.splitlines()[1:3]] == [[str(old), "pin", str(old), "pin"]] * 2
    assert update(first, "1.0") == ""

    lab.publish("new")
    lab.log.clear()
    said = update(second, "1.0")
    assert "pinned: revision {} is taken until ".format(old) in said and "revision {} is held back; ".format(new) in said
    assert "precheck --unpin" in said and len(said.splitlines()) == 2  # one a repository
    assert first.host.dnf("--refresh", "check-update").stderr == said
    assert pool.run()[0] == 0

    code, out, err = pool.run("--disagree")
    assert (code, err) == (0, "") and "pin" not in out and str(new) in out
    assert update(first, "2.0") == update(second, "2.0") == ""
    assert [os.listdir(state_path(host.host, "xcp-ng-updates")) for host in (first, second)] == [
        [name for name in os.listdir(state_path(first.host, "xcp-ng-updates")) if "pin" not in name]] * 2
    assert {host.host.version("lab-agent") for host in (first, second)} == {"2.0"}


def test_the_token_lets_a_host_that_joins_take_the_same_from_a_mirror_that_lags(pool, capsys):
    lab = pool.lab
    lab.publish("old")
    token = pool.json("--agree")[1]["agreed"]["token"]
    lab.publish("new")
    late = pool.add("hv3")
    code, answer = precheck(late, capsys, "--pin", token)
    assert code == 3 and pins(late) == []
    assert {reason["reference"] for reason in answer["reasons"]} == {"unreachable"}
    assert "serves the agreed revision {} any more; they serve revision {}".format(
        lab.trees.stamp("old"), lab.trees.stamp("new")) in answer["reasons"][0]["what"]
    for number in range(6):
        lab.add_mirror("more{}".format(number))
    lab.add_mirror("lags", tree="old")
    code, answer = precheck(late, capsys, "--pin", token)
    assert code == 0 and pins(late) == ["xcp-ng-base", "xcp-ng-updates"], answer["reasons"]
    assert [(item["current"]["revision"], item["newest"]["revision"], item["pin"]["sha256"]) for item in answer["repositories"]] == [
        (lab.trees.stamp("old"), lab.trees.stamp("new"), item["current"]["sha256"]) for item in answer["repositories"]]


def test_a_token_does_not_pin_what_this_host_knows_as_another_repositorys(pool, capsys):
    """It is a voice for something new, and none for what is another's."""
    lab = pool.lab
    lab.publish("old")
    token = pool.json("--agree")[1]["agreed"]["token"]
    lab.publish("new")
    late = pool.add("hv3")
    for number in range(2):
        lab.add_mirror("lags{}".format(number), tree="old")
    agreed = State(state_path(pool.hosts["hv1"].host)).load("xcp-ng-updates").memory.snapshot
    State(state_path(late.host)).update("xcp-ng-testing", accepted=agreed, place="t/")
    code, answer = precheck(late, capsys, "--pin", token)
    assert code != 0 and pins(late) == [], answer["reasons"]
    assert "wrong-repository" in {reason["reference"] for reason in answer["reasons"]}


def test_one_host_that_cannot_leaves_none_pinned(pool):
    pool.add("hv3", fingerprints="0" * 40)
    code, values, err = pool.json("--agree")
    assert (code, values["agreed"]) == (1, None) and "there is no agreement: not every host reports" in err
    assert [pins(host) for host in pool.hosts.values()] == [[], [], []]


def test_one_host_that_sees_older_mirrors_only_lifts_the_pins_of_the_others(pool):
    pool.lab.add_mirror("lags", tree="old")
    others = [pool.lab.origin] + [mirror for name, mirror in pool.lab.mirrors.items() if name != "lags"]
    pool.add("hv3", deny=" ".join(host_of(mirror.url) for mirror in others))
    code, values, err = pool.json("--agree")
    assert (code, values["agreed"]) == (3, None) and "no host is pinned" in err and "except perhaps" not in err
    assert [pins(host) for host in pool.hosts.values()] == [[], [], []]
    assert "hv3: unreachable: " in err


def test_a_host_that_falls_silent_within_an_agreement_is_named(pool):
    pool.hosts["hv2"].set_command('case "$*" in *--pin=*) exit 1 ;; *--unpin*) exit 1 ;; *) {} ;; esac'.format(
        pool.hosts["hv2"].command_line))
    code, values, err = pool.json("--agree")
    assert (code, values["agreed"]) == (1, None) and "no host is pinned, except perhaps hv2, until" in err
    assert pins(pool.hosts["hv1"]) == []
