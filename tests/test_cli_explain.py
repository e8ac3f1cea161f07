"""``explain``: what was decided and why, out of a real refresh and out of a memory made by hand."""
import json
import re

import pytest

from tests.support.command import UPDATES
from tests.support.world import NOW
from yum_plugin.cli.main import main
from yum_plugin.state.memory import Decision, Memory, Record, with_decision
from yum_plugin.state.store import State
from yum_plugin.util.urls import authority_of

REFUSED = Decision(NOW - 7200, "metadata", 2, rejected=(("a.test", "rollback", ""),), error="rollback: older than accepted")
CHOSEN = Decision(NOW - 3600, "metadata", 3, 7, ("b.test:8443", "a.test"),
                  (("c.test", "stale", "26 h behind"), ("d.test", "not-asked", "denied by the .conf")), 2, "freeze")
PACKAGES = Decision(NOW - 60, "packages", 2, 0, ("a.test",), (("b.test:8443", "too-slow", "1 KB/s"),))


@pytest.fixture
def teller(admin, capsys, monkeypatch):
    """Runs ``explain`` in this process on what is remembered."""
    monkeypatch.setattr("yum_plugin.cli.explain.time.time", lambda: NOW)
    memory = Memory(records={"https://c.test/8/": Record("stale", "26 h behind", NOW - 3600, 0, 0, 0.1, None),
                             "https://b.test:8443/8/": Record("too-slow", "1 KB/s", NOW - 60, 2, NOW + 7140, 0.1, None)})
    for decision in (REFUSED, CHOSEN, PACKAGES):
        memory = with_decision(memory, decision)

    def tell(*words):
        State(admin.path("state")).update("xcp-ng-updates", memory)
        code = main(["explain"] + list(words) + ["--config", admin.path("x.conf"), "--reposdir", admin.repos])
        return (code,) + tuple(capsys.readouterr())

    return tell


def test_a_repositorys_decisions_are_told_newest_first_with_their_reasons(teller):
    code, out, err = teller("xcp-ng-updates")
    assert (code, err) == (0, "")
    assert re.findall(r"\((.*?) ago\)", out) == ["60 s", "60 min", "2 h"]
    places = [out.index(words) for words in (
        "packages came from a.test", "not used: b.test:8443: too-slow: 1 KB/s", "revision 7 from b.test:8443, a.test: of 3 mirrors asked",
        "freeze: nothing newer", "not used: c.test: stale: 26 h behind", "not used: d.test: not-asked: denied by the .conf",
        "not used: 2 more", "no mirror was used; 2 asked: rollback: older than accepted", "not used: a.test: rollback")]
    assert places == sorted(places)


@pytest.mark.parametrize("subject", ["b.test", "b.test:8443", "https://b.test:8443/8/8.3/"])
def test_a_mirrors_part_is_told_with_how_it_stands_now(subject, teller):
    code, out, _ = teller(subject)
    assert code == 0 and "b.test:8443: used, number 1 of 2" in out and "c.test" not in out and "rollback" not in out
    assert "now: b.test:8443: not on the last list" in out and "last answer 60 s ago: too-slow" in out
    assert "asked last for" in out and "after 2 failures" in out


def test_json_has_all_of_it(teller):
    code, out, _ = teller("xcp-ng-updates", "--json")
    answer = json.loads(out)
    assert (code, answer["schema"], answer["command"], answer["subject"]) == (0, 1, "explain", "xcp-ng-updates")
    newest, chosen, refused = answer["repositories"][0]["decisions"]
    assert chosen["decided_at"] == "2027-01-15T07:00:00Z" and chosen["used"] == ["b.test:8443", "a.test"]
    assert chosen["rejected"][0] == {"mirror": "c.test", "reference": "stale", "reason": "26 h behind"}
    assert (chosen["revision"], chosen["more_rejected"], chosen["note"], chosen["error"]) == (7, 2, "freeze", None)
    assert refused["error"].startswith("rollback") and newest["about"] == "packages"


@pytest.mark.parametrize("subject", ["epel", "unknown.test", "https://unknown.test/", "b.test:1", "://", ""])
def test_what_nobody_knows_is_a_usage_error(subject, teller):
    code, out, err = teller(subject)
    assert (code, out) == (2, "") and "neither a repository" in err


def test_a_repository_without_decisions_says_so(teller):
    code, out, _ = teller("xcp-ng-base")
    assert code == 0 and "there is no decision yet" in out


def test_a_refresh_is_explained(admin):
    admin.lab.add_mirror("ill", "http-503")
    admin.lab.add_mirror("good")
    assert admin.run("refresh", *UPDATES).returncode == 0
    admin.lab.log.clear()
    done = admin.run("explain", "xcp-ng-updates")
    good, ill = (authority_of(admin.lab.mirrors[name].url) for name in ("good", "ill"))
    assert (done.returncode, done.stderr) == (0, "") and admin.lab.log.contacted() == set()
    assert re.search(r"revision \d+ from {}".format(re.escape(good)), done.stdout)
    assert "not used: {}: http-status".format(ill) in done.stdout
    about = admin.run("explain", ill).stdout
    assert "on the last list, number 1" in about and "asked last for" in about
    admin.settings(deny=good)
    assert "denied by the .conf" in admin.run("explain", good).stdout
