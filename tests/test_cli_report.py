"""``report`` and ``report-mirror`` on a lab of good and bad mirrors: what is asked, remembered, written and said."""
import argparse
import io
import json
import os
import socket
import stat
import time

import pytest

from tests.lab.faults import faults_named
from tests.support.command import TABLE, TIME, UPDATES, everybody
from tests.support.rawserver import RawServer, never_speaks
from tests.support.report_readers import Reader, parse_exposition
from tests.support.report_world import HOSTILE
from yum_plugin.cli.common.host_options import open_host
from yum_plugin.model import Mirror, Network
from yum_plugin.net.reachability import RSYNC_PORT, Reachability, reachability_of
from yum_plugin.operators.cli.report_data import MOST_AT_ONCE, probe_reachability, sites_named
from yum_plugin.operators.report.values import MirrorFinding, MirrorSite
from yum_plugin.packages.quarantine import MAX_FILES, quarantine_file, quarantine_notes
from yum_plugin.state.store import State
from yum_plugin.util.urls import authority_of

ID = "xcp-ng-updates"


def read(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def observed(admin):
    return State(admin.path("state")).observed(ID, time.time() + 5)


# report: what it asks and remembers.


def test_every_mirror_is_asked_and_what_was_seen_is_remembered(admin):
    everybody(admin)
    found = admin.json("report", *UPDATES)
    states = {row["name"]: (row["state"], row["repositories"][0]["reference"] or "") for row in found["mirrors"]}
    assert states == dict({name: (state, reference) for name, _, state, reference in TABLE}, origin=("ok", ""))
    seen = {each.url: each for each in observed(admin)}
    assert len(seen) == 7, "all but the two that are left out"
    rows = {row["name"]: row for row in found["mirrors"]}
    good = seen[rows["good"]["repositories"][0]["url"]]
    assert (good.outcome, good.lag_seconds, good.address) == ("ok", 0, admin.lab.mirrors["good"].server.address)
    assert seen[rows["old"]["repositories"][0]["url"]].lag_seconds == rows["old"]["lag_seconds"] > 0


def test_what_was_asked_is_reported_again_without_asking_anybody(admin):
    everybody(admin)
    admin.run("refresh", *UPDATES)
    online = admin.json("report", *UPDATES)
    admin.lab.log.clear()
    offline = admin.json("report", "--offline", *UPDATES)
    assert admin.lab.log.contacted() == set() and offline["offline"]
    assert offline["repositories"][0]["current"]["sha256"] == online["repositories"][0]["current"]["sha256"]
    asked = {row["name"]: row for row in offline["mirrors"] if row["state"] not in ("not asked", "excluded", "denied")}
    assert set(asked) >= {"good", "old", "tampered"}
    assert asked["old"]["state"] == "stale" and asked["tampered"]["state"] == "refused"
    assert asked["good"]["certificate_expires_at"] and asked["good"]["repositories"][0]["observations"]
    assert {row["name"]: row["state"] for row in offline["mirrors"]}["denied"] == "denied"


def test_a_host_that_knows_nothing_yet_reports_so(admin):
    done = admin.run("report", admin.path("out.html"), "--offline", *UPDATES)
    assert done.returncode == 0 and "No mirror has been asked yet." in read(admin.path("out.html"))
    assert not os.path.exists(admin.path("state")), "nothing is written offline"


def test_each_refresh_adds_to_the_history(admin):
    admin.lab.add_mirror("good")
    for _ in range(2):
        assert admin.run("refresh", *UPDATES).returncode == 0
    assert [each.outcome for each in observed(admin)] == ["ok", "ok"]


def test_a_damaged_history_is_told_and_costs_only_the_charts(admin):
    admin.lab.add_mirror("good")
    os.makedirs(admin.path("state/" + ID + "/history.jsonl"))
    done = admin.run("report", admin.path("out.html"), *UPDATES)
    assert done.returncode == 0 and "history.jsonl" in done.stderr and "Nothing is remembered" not in done.stderr
    assert admin.run("refresh", *UPDATES).returncode == 0


def test_that_nobody_can_be_reached_is_a_report_too(admin):
    admin.lab.add_mirror("gone", "refused")
    admin.lab.origin.server.refuse()
    done = admin.run("report", admin.path("out.html"), "--prom", admin.path("out.prom"), *UPDATES)
    assert done.returncode == 0
    assert "xcp-ng-updates cannot be updated from any mirror." in read(admin.path("out.html"))
    metrics = parse_exposition(read(admin.path("out.prom")))
    assert list(metrics["xcpng_mirrors_repository_updatable"].values()) == [0]


# report: what it writes.


def test_page_json_and_prometheus_tell_the_same(admin):
    everybody(admin)
    done = admin.run("report", admin.path("out.html"), "--json", "--prom", admin.path("out.prom"))
    values, page = json.loads(done.stdout), read(admin.path("out.html"))
    Reader(page)
    assert list(values)[:2] == ["schema", "command"] and TIME.match(values["made_at"]) and len(values["repositories"]) == 2
    up = parse_exposition(read(admin.path("out.prom")))["xcpng_mirrors_mirror_current"]
    for row in values["mirrors"]:
        assert row["authority"] in page
        for each in row["repositories"]:
            labels = (("repository", each["id"]), ("mirror", row["url"]))
            assert up.get(labels) == {"ok": 1, "excluded": None, "denied": None}.get(each["state"], 0)
    assert "{} of 7 mirrors".format(values["counts"]["ok"]) in page
    assert stat.S_IMODE(os.stat(admin.path("out.prom")).st_mode) == 0o644, "the collector runs as somebody else"
    assert [name for name in os.listdir(admin.folder) if ".new" in name] == []


@pytest.mark.parametrize("words", [["-"], ["--prom", "-"]])
def test_either_can_go_to_stdout(words, admin):
    admin.lab.add_mirror("good")
    done = admin.run("report", "-q", *(words + UPDATES))
    assert (done.returncode, done.stderr) == (0, "")
    Reader(done.stdout) if words == ["-"] else parse_exposition(done.stdout)


@pytest.mark.parametrize("words, reason", [
    ([], "no output is named"), (["-", "--json"], "only one"), (["-", "--prom", "-"], "only one"),
    (["--prom", "mirrors.txt"], "end in .prom"), (["/proc/no/such/place.html"], "cannot be written"),
])
def test_what_cannot_be_written_is_said_with_exit_code_2(words, reason, admin):
    done = admin.run("report", "--offline", *(words + UPDATES))
    assert done.returncode == 2 and reason in done.stderr and done.stdout == ""


def test_names_and_reasons_of_servers_stay_text_on_the_page(admin):
    admin.lab.add_mirror("good", sponsor=HOSTILE[:120])
    admin.lab.add_mirror("left", sponsor="\u202eleft")
    admin.lab.exclude("left", HOSTILE[:90])
    assert admin.run("report", admin.path("out.html"), "--prom", admin.path("out.prom"), *UPDATES).returncode == 0
    page = read(admin.path("out.html"))
    read_page = Reader(page)
    assert len(read_page.scripts) == 1 and "<script>alert(1)</script>" in "".join(read_page.texts) and "\u202e" not in page
    parse_exposition(read(admin.path("out.prom")))


# Ways to reach a server.


def greets(greeting):
    """Speak first, as rsync's daemon does."""
    return lambda connection, server: connection.sendall(greeting)


def test_each_way_to_a_server_is_tried_by_connecting():
    with RawServer(never_speaks, "127.0.0.1") as four, RawServer(never_speaks, "::1") as six, \
            RawServer(greets(b"@RSYNCD: 31.0 sha512\n")) as rsync, RawServer(greets(b"220 ftp\r\n")) as ftp:
        direct = Network(proxy="")
        assert reachability_of(four.url, direct, 2, rsync.port) == Reachability("yes", "none", "yes")
        assert reachability_of(six.url, direct, 2, rsync.port) == Reachability("none", "yes", "no")
        assert reachability_of(four.url, direct, 2, ftp.port).rsync == reachability_of(four.url, direct, 0.3, four.port).rsync == "no"
        assert reachability_of("http://127.0.0.1:{}/".format(free_port()), direct, 2, free_port()) == Reachability("no", "none", "no")
        assert reachability_of("http://no.such.host.invalid/", direct, 2) == Reachability("none", "none", "none")
        assert reachability_of(four.url, Network(proxy="http://127.0.0.1:1/"), 2) == Reachability()
    assert RSYNC_PORT == 873


def test_the_ways_to_many_servers_are_tried_side_by_side_by_the_process_without_root(admin):
    arguments = argparse.Namespace(installroot="/", config=admin.path("x.conf"), reposdir=[admin.repos], repo=[ID], state_dir=None, verbose=0)
    host = open_host(arguments)
    done = []
    with RawServer(never_speaks) as server, host.gateway() as gateway:
        urls = {number: server.url for number in range(MOST_AT_ONCE + 9)}
        found = probe_reachability(gateway, urls, host, done.append)
    assert found == dict.fromkeys(urls, Reachability("yes", "none", "no")) and done == list(range(1, len(urls) + 1))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# report-mirror.


@pytest.mark.parametrize("fault, reference, evidence", [
    ("stale", "stale", "4 days older than the newest"), ("expired-certificate", "tls-expired", "sha256 fingerprint"),
    ("wrong-host-certificate", "tls-hostname", "wrong.invalid"), ("incomplete-chain", "tls-incomplete", "fullchain.pem"),
    ("bad-signature", "signature-invalid", "HTTP 200"), ("no-asc", "signature-missing", "HTTP 404"), ("http-503", "http-status", "HTTP 503"),
    ("mute", "timed-out", "no answer in time"), ("refused", "unreachable", "does not answer"), ("half-synced", "http-status", "files it names"),
    ("redirect-loop", "redirect-refused", "location"), ("endless-repomd", "too-large", "bytes that are allowed"),
])
def test_a_bad_mirror_gets_a_report_with_the_evidence(fault, reference, evidence, admin):
    admin.lab.add_mirror("bad", fault, sponsor="Some University")
    admin.lab.add_mirror("good")
    done = admin.run("report-mirror", "some university", *UPDATES)
    authority = admin.lab.mirrors["bad"].server.authority
    assert (done.returncode, done.stderr) == (1, "")
    assert "Subject: Mirror {}: {}\n".format(authority, reference) in done.stdout
    assert evidence in done.stdout and "newest signed revision" in done.stdout


def test_a_good_mirror_is_said_to_be_good(admin):
    admin.lab.add_mirror("good")
    authority = admin.lab.mirrors["good"].server.authority
    done = admin.run("report-mirror", authority, *UPDATES)
    assert done.returncode == 0 and done.stdout.startswith("{}: nothing is wrong with it".format(authority))
    assert "Nothing is wrong with it." in admin.run("report-mirror", "good", "-v", *UPDATES).stdout
    assert not os.path.exists(admin.path("state")), "nothing is written"


@pytest.mark.parametrize("name, found", [
    ("m.test:8443", 1), ("M.test", 1), ("https://m.test:8443/pub/", 1), ("http://m.test/other", 1), ("some university", 1), ("::1", 1),
    ("http://[::1]:8000/", 1), ("m.test:8444", 0), ("some", 0), ("", 0), ("../..", 0), ("<script>", 0), ("[", 0), ("http://[::1", 0),
    ("x" * 5000, 0),
])
def test_a_mirror_is_meant_by_its_host_address_url_or_name(name, found):
    sites = [MirrorSite(url, authority_of(url), (MirrorFinding(ID, Mirror(url, mirror), "ok"),))
             for url, mirror in (("https://m.test:8443/pub/", "Some University"), ("http://[::1]:8000/", ""))]
    assert len(sites_named(sites, name)) == found


@pytest.mark.parametrize("name", ["nobody.test", "http://[::1"])
def test_a_mirror_that_nobody_knows_is_a_usage_error_that_names_some(name, admin):
    admin.lab.add_mirror("good")
    done = admin.run("report-mirror", name, *UPDATES)
    assert (done.returncode, done.stdout) == (2, "") and admin.lab.mirrors["good"].server.authority in done.stderr


def test_a_name_that_two_mirrors_have_is_not_guessed_at(admin):
    for name in ("one", "two"):
        admin.lab.add_mirror(name, sponsor="Same")
    done = admin.run("report-mirror", "same", *UPDATES)
    assert done.returncode == 2 and all(mirror.server.authority in done.stderr for mirror in admin.lab.mirrors.values())


def test_the_json_holds_the_looks_the_problems_and_the_letter(admin):
    admin.lab.add_mirror("bad", "stale")
    admin.lab.add_mirror("good")
    admin.run("refresh", *UPDATES)
    values = admin.json("report-mirror", "bad", *UPDATES)
    [problem], [inspection] = values["problems"], values["looks"]
    assert (problem["reference"], problem["subjects"]) == ("stale", [ID])
    assert inspection["repomd"]["status"] == 200 and inspection["repomd"]["headers"]["server"] == "lab"
    assert inspection["repomd"]["sha256"] == inspection["serves"]["sha256"] != inspection["newest"]["sha256"]
    assert len(values["certificate"]["sha256"]) == 64 and TIME.match(values["certificate"]["not_after"])
    assert values["mirror"]["repositories"][0]["observations"][0]["outcome"] == "stale"
    assert values["letter"].startswith("To: the owner of bad")


def test_packages_of_it_that_were_refused_are_part_of_the_report(admin):
    admin.lab.add_mirror("bad")
    admin.lab.add_mirror("good")
    url = admin.lab.mirrors["bad"].url + "8/8.3/updates/x86_64/"
    quarantine_file(admin.path("state/{}/refused".format(ID)), io.BytesIO(b"wrong bytes"), {
        "when": int(time.time()), "repository": ID, "package": "lab-agent-2.0-1.x86_64", "location": "Packages/lab-agent.rpm",
        "mirrors": [url], "reference": "payload-mismatch", "what": "its payload was changed"})
    done = admin.run("report-mirror", "bad", *UPDATES)
    assert done.returncode == 1 and "lab-agent-2.0-1.x86_64" in done.stdout and "11 bytes, sha256" in done.stdout
    assert admin.run("report-mirror", "good", *UPDATES).returncode == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"when": "today"}', b"\xff", b"[" * 50000, b'{"when": 1e999}'])
def test_a_damaged_note_beside_a_refused_file_is_passed_over(content, tmp_path):
    quarantine_file(str(tmp_path), io.BytesIO(b"x"), {"when": 5, "package": "p", "location": "l", "mirrors": [], "reference": "r", "what": "w"})
    (tmp_path / "0.json").write_bytes(content)
    assert [note.package for note in quarantine_notes(str(tmp_path))] == ["p"] and quarantine_notes(str(tmp_path / "none")) == []
    assert MAX_FILES < 100


def test_the_mirror_is_looked_at_even_if_its_neighbours_are_gone(admin):
    admin.lab.add_mirror("bad", "bad-signature")
    admin.lab.origin.faults = faults_named("http-503")
    done = admin.run("report-mirror", "bad", *UPDATES)
    assert done.returncode == 1 and "signature-invalid" in done.stdout
