"""``audit``: what it says, how it ends, what it may cost, and the application that it writes."""
import json
import socket
import time
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from tests.support.auditing import subject_of
from tests.support.rawserver import RawServer, never_speaks, says, serves
from yum_plugin.cli.main import main
from yum_plugin.errors import FetchError
from yum_plugin.operators.audit import auditor
from yum_plugin.operators.audit.application import application
from yum_plugin.operators.audit.model import Budget, Check, Cost, Finding, OverBudget
from yum_plugin.privsep import task

HERE = "http://127.0.0.1:1/"
FIELDS = [
    "Server name", "City", "Country", "GPS coordinates", "Bandwidth", "Source mirror", "Hostname, IPv4 and IPv6", "Sync frequency",
    "HTTP(S) URL", "RSYNC URL", "Workaround for Let's Encrypt certificates",
    "Other prerequisites from https://docs.xcp-ng.org/project/mirrors checked", "Main contact",
]


class Desk:
    """The command in this process, about the lab."""

    def __init__(self, lab, folder, capsys):
        self.lab, self._capsys = lab, capsys
        self._config = folder / "audit.conf"
        self._config.write_text("[main]\nredirectors={}\nfallbacks={}\nfingerprints={}\nread_timeout=2\n".format(
            lab.redirector.authority, lab.origin.url, lab.key_fingerprint))

    def run(self, url, *options):
        """Exit code, stdout and stderr."""
        code = main(["audit", url, "--config", str(self._config), "--key", self.lab.key_file, "--cacert", self.lab.ca_bundle]
                    + list(options))
        return (code,) + tuple(self._capsys.readouterr())

    def json(self, url, *options):
        code, out, _ = self.run(url, "--json", "-q", *options)
        return code, json.loads(out)


@pytest.fixture
def desk(lab, tmp_path, capsys):
    return Desk(lab, tmp_path, capsys)


def only(monkeypatch, *checks):
    """Leave the table these checks, which are in no other process."""
    monkeypatch.setattr(task, "can_separate", lambda: False)
    monkeypatch.setattr(auditor, "CHECKS", checks)
    monkeypatch.setattr(auditor, "TREE_CHECKS", ())


def check(name, run, cost):
    """What the auditor needs of a check's module."""
    return SimpleNamespace(CHECK=Check(name, cost), run=run)


# What it says


def test_each_verdict_has_its_word_its_evidence_and_its_mend(desk, monkeypatch):
    findings = [Finding("a", "ok", ("fine", "indeed")), Finding("b", "problem", ("bad \x1b[31m",), "do this\nthen that"),
                Finding("c", "warning", ("hm",), "mend it"), Finding("d", "unknown", ("?",))]
    only(monkeypatch, check("all", lambda subject: findings, Cost(1, 10)))
    url = desk.lab.add_mirror("m").url
    code, out, err = desk.run(url)
    reported = out[out.index("ok       a"):].split("\n")
    assert code == 1 and reported[:8] == [
        "ok       a: fine", "  indeed", "PROBLEM  b: bad ?[31m", "    fix: do this", "         then that", "warning  c: hm",
        "    fix: mend it", "unknown  d: ?"]
    assert err.startswith("xcpng-mirrors: one connection at a time, ") and "at most" in err
    assert [line.split(":")[0] for line in desk.run(url, "-q")[1].splitlines() if line[:1].strip()] == [
        "PROBLEM  b", "warning  c", "unknown  d"]


def test_json_has_every_check_with_its_values_and_what_was_spent(desk):
    code, reported = desk.json(desk.lab.add_mirror("m").url)
    assert {"schema", "command", "audited_at", "url", "rsync_url", "fine", "spent", "application", "checks"} == set(reported)
    assert reported["fine"] == (code == 0) and reported["spent"]["connections"] > 5
    by_name = {check["name"]: check for check in reported["checks"]}
    assert {"mirror", "https", "chain", "lets-encrypt", "tls-versions", "http-and-https", "ipv4", "ipv6", "range", "keep-alive", "head",
            "headers", "freshness"} <= set(by_name)
    assert all(set(check) == {"name", "verdict", "evidence", "mend", "values"} for check in reported["checks"])
    assert by_name["https"]["values"]["days_left"] > 14 and by_name["lets-encrypt"]["values"]["installer"] is True


# What it may cost


def test_an_expensive_check_is_done_with_yes_only_and_told_beforehand(desk, monkeypatch):
    only(monkeypatch, check("dear", lambda subject: [Finding("dear", "ok", ("done",))], Cost(1, 10**9)))
    url = desk.lab.add_mirror("m").url
    _, out, err = desk.run(url)
    assert "unknown  dear: left out: it may transfer 1.0 GB\n    fix: xcpng-mirrors audit {} --yes\n".format(url) in out
    assert "GB in all" not in err
    _, out, err = desk.run(url, "--yes")
    assert "ok       dear: done" in out and "1.0 GB in all" in err


@pytest.mark.parametrize("error, word", [
    (OverBudget("it may open only 0 connections"), "stopped: it may open only 0 connections"),
    (FetchError("timed-out", "no answer in time"), "timed-out: no answer in time"),
])
def test_a_check_that_fails_or_wants_too_much_is_unknown_and_the_next_one_is_done(desk, monkeypatch, error, word):
    def fails(subject):
        raise error

    only(monkeypatch, check("bad", fails, Cost(1, 1)), check("next", lambda subject: [Finding("next", "ok", ())], Cost(1, 1)))
    _, reported = desk.json(desk.lab.add_mirror("m").url)
    assert [(check["name"], check["verdict"]) for check in reported["checks"][1:3]] == [("bad", "unknown"), ("next", "ok")]
    assert reported["checks"][1]["evidence"] == [word]


def test_a_budget_ends_connections_bytes_and_time(lab, tmp_path):
    budget = Budget(Cost(2, 100), 60.0)
    budget.connect(2)
    budget.receive(100)
    for excess in (budget.connect, lambda: budget.receive(1), Budget(Cost(9, 9), 0.0).connect):
        with pytest.raises(OverBudget):
            excess()


# Bad input


@pytest.mark.parametrize("arguments", [
    ["ftp://mirror.test/"], ["mirror.test"], ["https://user:secret@mirror.test/"], ["https://mirror.test/?a=b"], ["https://mirror.test/\n"],
    ["https://mirror.test/../"], ["https:///"], [""], ["https://[::1/"], ["https://mirror.test:99999/"], [HERE, "--also", "http://127.0.0.1/"],
    [HERE, "--also", "https://u:secret@h/"], [HERE, "--rsync", "https://h/m"], [HERE, "--rsync", "rsync://h"], [HERE, "--watch", "soon"],
    [HERE, "--watch", "99d"], [HERE, "--path", "../../etc"], [HERE, "--cacert", "/nonexistent"], [HERE, "--config", "/nonexistent"],
    [HERE, "--key", "/nonexistent"], [HERE, "--fingerprint", "xyz"],
])
def test_what_cannot_be_used_ends_with_2_and_no_secret_is_repeated(arguments, capsys):
    assert main(["audit"] + arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("xcpng-mirrors: ") and "secret" not in err


@pytest.mark.parametrize("options", [(), ("--application",), ("--application", "--force"), ("--json",)])
def test_a_mirror_that_does_not_answer_ends_with_3(desk, options):
    code, out, _ = desk.run(HERE, *options)
    assert code == 3
    if "--json" in options:
        assert [check["name"] for check in json.loads(out)["checks"]][0] == "mirror"
    elif options:
        assert out == ""


@pytest.mark.parametrize("behave, code, word", [
    (says(b"SSH-2.0-OpenSSH_9.2\r\n"), 3, "bad-answer"),
    (never_speaks, 3, "timed-out"),
    (serves(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), 1, "xcpng-mirrors audit http://127.0.0.1:"),
], ids=["ssh", "hangs", "404"])
def test_a_server_that_is_no_mirror_is_told_in_its_first_line(desk, behave, code, word):
    with RawServer(behave) as server:
        started = time.monotonic()
        found_code, out, _ = desk.run(server.url)
    assert found_code == code and out.startswith("PROBLEM  mirror: ") and word in out
    assert time.monotonic() - started < 30


# The application


GOOD = (
    Finding("ipv4", "ok", (), values={"addresses": [{"address": "203.0.113.7", "sha256": "a"}]}),
    Finding("ipv6", "ok", (), values={"addresses": [{"address": "2001:db8::7", "sha256": "a"}, {"address": "2001:db8::8", "sha256": ""}]}),
    Finding("lets-encrypt", "ok", (), values={"is_lets_encrypt": True, "installer": True}),
)


def fields_of(mail):
    return dict(line.split(": ", 1) for line in mail.body.splitlines())


@pytest.fixture
def mirror(lab, tmp_path):
    return subject_of(lab, "https://mirror.test/xcp-ng/", tmp_path, rsync_url="rsync://mirror.test/xcp-ng/")


def test_the_application_has_the_fields_of_the_documentation_in_their_order(mirror):
    mail = application(mirror, GOOD)
    assert (mail.to, mail.subject) == ("mirrors@xcp-ng.org", "Mirror application for mirror.test")
    assert [line.split(": ")[0] for line in mail.body.splitlines()] == FIELDS
    assert str(mail).startswith("To: mirrors@xcp-ng.org\nSubject: Mirror application for mirror.test\n\nServer name: mirror.test\n")


def test_what_was_found_is_filled_in_and_what_only_a_person_knows_is_marked(mirror):
    fields = fields_of(application(mirror, GOOD))
    assert fields["Hostname, IPv4 and IPv6"] == "mirror.test, 203.0.113.7, 2001:db8::7"
    assert fields["HTTP(S) URL"] == "https://mirror.test/xcp-ng/" and fields["RSYNC URL"] == "rsync://mirror.test/xcp-ng/"
    assert fields["Workaround for Let's Encrypt certificates"] == "applied"
    assert {name for name, value in fields.items() if "[FILL IN: " in value} == {
        "City", "Country", "GPS coordinates", "Bandwidth", "Source mirror", "Sync frequency", FIELDS[11], "Main contact"}


@pytest.mark.parametrize("findings, field, value", [
    ([Finding("lets-encrypt", "ok", (), values={"is_lets_encrypt": False, "installer": True})], FIELDS[10], "not required"),
    ([Finding("lets-encrypt", "problem", (), values={"is_lets_encrypt": True, "installer": False})], FIELDS[10], "NOT APPLIED YET"),
    ([Finding("lets-encrypt", "unknown", ())], FIELDS[10], "[FILL IN: "),
    ([Finding("range", "problem", ()), Finding("head", "problem", ())], FIELDS[11], "NO: range, head"),
    ([Finding("freshness", "unknown", ())], FIELDS[11], "yes, but not checked from outside: freshness [FILL IN: "),
    ([Finding("headers", "warning", ())], FIELDS[11], "yes, with warnings [FILL IN: "),
    ([Finding("bandwidth", "ok", (), values={"bits_per_second": 940000000})], "Bandwidth", "[FILL IN: of the line] (940 Mbit/s were measured"),
    ([Finding("sync-interval", "ok", (), values={"8/": {"publications": [{"arrived": True, "lag_seconds": [100, 700]}]}})], "Sync frequency",
     "[FILL IN: e.g. every 15 min] (a publication arrived within 11 min)"),
    ([], "Hostname, IPv4 and IPv6", "mirror.test, [FILL IN: IPv4], [FILL IN: IPv6]"),
])
def test_each_field_says_what_the_audit_knows_of_it(mirror, findings, field, value):
    assert fields_of(application(mirror, findings))[field].startswith(value)


def test_no_application_is_written_while_a_prerequisite_fails_unless_it_is_forced(desk, monkeypatch):
    only(monkeypatch, check("range", lambda subject: [Finding("range", "problem", ("Range is ignored",), "mend")], Cost(1, 1)))
    url = desk.lab.add_mirror("m").url
    code, out, err = desk.run(url, "--application")
    assert (code, out) == (1, "") and "no application yet: fix range first; --force writes it anyway" in err
    assert "PROBLEM  range: Range is ignored" in err
    code, out, err = desk.run(url, "--application", "--force")
    assert code == 1 and out.startswith("To: mirrors@xcp-ng.org\n") and "checked: NO: range" in out
    code, reported = desk.json(url, "--application")
    assert (code, reported["application"]) == (1, None)


def test_a_mirror_without_a_fault_gets_its_application_and_nothing_else_on_stdout(desk, monkeypatch):
    only(monkeypatch, check("range", lambda subject: [Finding("range", "ok", ("fine",))], Cost(1, 1)))
    url = desk.lab.add_mirror("m").url
    code, out, err = desk.run(url, "--application")
    assert code == 0 and [line.split(": ")[0] for line in out.splitlines()[3:]] == FIELDS and "ok       range: fine" in err
    code, reported = desk.json(url, "--application")
    assert code == 0 and reported["application"]["subject"] == "Mirror application for " + "127.0.1.{}".format(url.split(".")[3].split(":")[0])


def test_for_an_application_nobody_is_asked_but_the_mirror_and_the_origin(desk, monkeypatch):
    only(monkeypatch)
    mirror = desk.lab.add_mirror("m")
    asked = []
    connect = socket.socket.connect_ex
    monkeypatch.setattr(socket.socket, "connect_ex", lambda self, place: asked.append(place[1]) or connect(self, place))
    assert desk.run(mirror.url, "--application")[1].startswith("To: ")
    assert set(asked) <= {urlsplit(url).port for url in (mirror.url, desk.lab.origin.url)}


# The table of checks


def test_every_module_with_a_check_is_run_by_the_auditor_under_a_name_of_its_own():
    folder = Path(auditor.__file__).parent
    modules = [import_module("yum_plugin.operators.audit." + path.stem) for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
    checks = [module for module in modules if isinstance(getattr(module, "CHECK", None), Check)]
    assert set(checks) == set(auditor.CHECKS) | set(auditor.TREE_CHECKS) | {auditor.reachable, auditor.repositories}
    assert len({module.CHECK.name for module in checks}) == len(checks)
    assert all(list(signature(module.run).parameters)[0] == "subject" for module in checks)
