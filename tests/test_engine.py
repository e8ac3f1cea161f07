"""The engine's protocol: one request in, events out, and the high-water mark only after the package manager's word."""
import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yum_plugin import engine
from yum_plugin.errors import EXIT_BUG, EXIT_OK, EXIT_USAGE
from yum_plugin.model import Snapshot
from yum_plugin.state.memory import SnapshotPin
from yum_plugin.state.snapshot_pin import folder_of
from yum_plugin.state.store import State

from .conftest import REPOSITORY_ROOT
from .lab.lab import ALLOWED
from .lab.plugin import patient_command

ID = "xcp-ng-updates"


@pytest.fixture(autouse=True)
def the_log_as_before():
    logger = logging.getLogger("xcpng-mirrors")
    before = logger.propagate, logger.level, logger.handlers
    yield
    logger.propagate, logger.level, logger.handlers = before


class Host:
    """What an engine finds: a lab with three mirrors, a .conf, an empty installroot."""

    def __init__(self, lab, folder):
        self.lab = lab
        self.root = str(folder / "root")
        self.config = str(folder / "xcpng-mirrors.conf")
        os.makedirs(self.root)
        self.configure()
        self.state = State(self.root + "/var/lib/xcpng-mirrors")

    def configure(self, **more):
        values = dict({"redirectors": self.lab.redirector.authority, "fallbacks": self.lab.origin.url, "allow_networks": ALLOWED,
                       "fingerprints": self.lab.key_fingerprint}, **more)
        with open(self.config, "w") as stream:
            stream.write("[main]\n" + "".join("{}={}\n".format(*item) for item in values.items()))

    def repository(self, name="updates", **changes):
        return dict({"id": "xcp-ng-" + name, "base_urls": self.lab.base_urls(name), "gpgkeys": ["file://" + self.lab.key_file],
                     "proxy": "", "sslcacert": self.lab.ca_bundle}, **changes)

    def request(self, *repositories, **changes):
        wanted = list(repositories) or [self.repository()]
        return dict({"schema": 1, "action": "resolve", "config": self.config, "installroot": self.root,
                     "repositories": wanted}, **changes)

    def cache(self, **changes):
        """The cache folder of a repository, as the dnf plugin describes it."""
        return dict({"folder": self.root + "/var/cache/dnf/updates", "layout": "dnf", "types": ["primary"], "key": "ab" * 32},
                    **changes)

    def serve(self, request, *later):
        """Return exit code, result and warnings for a request and the lines after it."""
        return serve(b"".join(json.dumps(line).encode() + b"\n" for line in (request,) + later))


def serve(sent):
    out = io.BytesIO()
    code = engine.serve(io.BytesIO(sent), out)
    lines = out.getvalue().splitlines()
    events = [json.loads(line.decode("ascii")) for line in lines]
    results = [event["repositories"] for event in events if event["event"] == "result"]
    assert results and events[-1]["event"] == "result", "a result, and it comes last"
    assert len(results) == 1 or list(results[1]) == [""], "one result for each request"
    return code, results[0], [(event["repository"], event["text"]) for event in events if event["event"] == "warning"]


@pytest.fixture
def host(lab, tmp_path):
    for name in "abc":
        lab.add_mirror(name)
    return Host(lab, tmp_path)


def accepted(*names):
    """The package manager's word."""
    return {"schema": 1, "action": "accept", "accepted": list(names)}


def test_a_repository_is_resolved_and_its_cache_filled(host):
    code, result, warnings = host.serve(host.request(host.repository(cache=host.cache())))
    assert (code, warnings) == (EXIT_OK, [])
    verdict, folder = result[ID], host.cache()["folder"]
    assert verdict["status"] == "resolved" and verdict["mirrors"]
    with open(folder + "/repodata/repomd.xml", "rb") as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == verdict["sha256"]
    with open(folder + "/cachecookie") as stream:
        assert stream.read().split() == ["xcpng-mirrors", "ab" * 32, verdict["sha256"]]
    assert [name for name in os.listdir(folder + "/repodata") if name.endswith("-primary.xml.gz")]
    assert os.path.exists(host.root + "/var/log/xcpng-mirrors.log")


@pytest.mark.parametrize("changes", [{"folder": "relative"}, {"folder": None}, {"layout": "apt"}, {"types": 5}, {"key": "../x"},
                                     {"key": "a" * 200}])
def test_a_cache_that_cannot_be_used_is_reported_and_the_others_are_filled(host, changes):
    code, result, warnings = host.serve(host.request(host.repository("base", cache=host.cache(**changes)),
                                                     host.repository(cache=host.cache())))
    assert (code, result[ID]["status"], result["xcp-ng-base"]["status"], warnings) == (EXIT_OK, "resolved", "left", [])


def test_one_engine_serves_a_whole_run(host):
    request = host.request(host.repository(cache=host.cache()))
    packages = dict(host.request(host.repository(packages=[])), action="packages", mode="fetch")
    out = io.BytesIO()
    lines = [request, accepted(ID), packages, request]
    assert engine.serve(io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines)), out) == EXIT_OK
    results = [event for event in map(json.loads, out.getvalue().decode().splitlines()) if event["event"] == "result"]
    assert [each["repositories"][ID]["status"] for each in results] == ["resolved", "verified", "resolved"]
    assert host.state.load(ID).accepted is not None


class Loaded:
    """A package manager's cache, as it has loaded it by itself from a tree of the lab."""

    def __init__(self, host, state="new"):
        self.host, self.folder = host, host.root + "/var/cache/dnf/updates"
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(os.path.join(host.lab.trees.path(state), "8/8.3/updates/x86_64/repodata"), self.folder + "/repodata")

    def path(self, name):
        return os.path.join(self.folder, "repodata", name)

    def prove(self, **changes):
        """Return status and text or digest."""
        values = dict({"cache": self.host.cache(), "base_urls": ["file:///srv/updates/"]}, **changes)
        request = dict(self.host.request(self.host.repository(**values)), action="prove")
        verdict = self.host.serve(request)[1][ID]
        return verdict["status"], verdict.get("text", verdict.get("sha256"))


def test_loaded_rule_2_what_the_key_has_signed_is_proven_without_any_request_and_becomes_the_mark(host):
    status, digest = Loaded(host).prove(ip_resolve="odd")
    assert (status, host.state.load(ID).accepted.sha256) == ("proven", digest) and host.lab.log.connections() == []


def test_loaded_rule_1_what_was_accepted_needs_neither_signature_nor_key(host):
    loaded = Loaded(host)
    digest = loaded.prove()[1]
    os.unlink(loaded.path("repomd.xml.asc"))
    assert loaded.prove(gpgkeys=["file:///nonexistent"]) == ("proven", digest)
    assert loaded.prove(base_urls=["https://elsewhere.test/"])[0] == "left", "another place has a mark of its own"


def test_loaded_rule_2_a_rollback_or_a_changed_file_is_refused(host):
    Loaded(host).prove()
    before = host.state.load(ID).accepted
    status, text = Loaded(host, "old").prove()
    assert status == "refused" and text.startswith("rollback: ") and host.state.load(ID).accepted == before
    loaded = Loaded(host)
    with open(loaded.path("repomd.xml"), "ab") as stream:
        stream.write(b" ")
    status, text = loaded.prove()
    assert status == "refused" and text.startswith("signature-invalid: ")


def test_loaded_rule_2_what_is_known_as_another_repositorys_is_refused(host):
    host.serve(host.request(host.repository("base")), accepted("xcp-ng-base"))
    loaded = Loaded(host)
    shutil.rmtree(loaded.folder)
    shutil.copytree(os.path.join(host.lab.trees.path("new"), "8/8.3/base/x86_64/repodata"), loaded.folder + "/repodata")
    status, text = loaded.prove(base_urls=host.lab.base_urls("updates"))
    assert status == "refused" and text.startswith("wrong-repository: ") and "xcp-ng-base" in text


def test_loaded_rule_3_a_single_voice_is_used_on_first_contact_not_marked_and_replaces_nothing(host):
    listed = {"base_urls": host.lab.base_urls("updates")}
    assert Loaded(host, "old").prove(**listed)[0] == "proven" and host.state.load(ID).accepted is None
    host.lab.publish("old")
    host.serve(host.request(), accepted(ID))
    before = host.state.load(ID).accepted
    status, text = Loaded(host).prove(**listed)
    assert status == "left" and text.startswith("unconfirmed: ") and host.state.load(ID).accepted == before is not None
    host.lab.publish("new")
    host.serve(host.request())
    assert Loaded(host).prove(**listed)[0] == "proven" and host.state.load(ID).accepted != before


@pytest.mark.parametrize("missing", ["repomd.xml", "repomd.xml.asc", "key", "cache"])
def test_loaded_rule_5_what_is_missing_leaves_it_unproven(host, missing):
    loaded = Loaded(host)
    if missing.startswith("repomd"):
        os.unlink(loaded.path(missing))
    status, text = loaded.prove(**{"key": {"gpgkeys": ["file:///nonexistent"]}, "cache": {"cache": None}}.get(missing, {}))
    assert status == "left" and text and host.state.load(ID).accepted is None


def test_loaded_rule_4_while_a_pin_holds_it_has_to_be_the_pinned_one(host):
    loaded = Loaded(host, "old")
    raw, signature = (open(loaded.path(name), "rb").read() for name in ("repomd.xml", "repomd.xml.asc"))
    old = Snapshot(hashlib.sha256(raw).hexdigest(), len(raw), 0, 0, 0)
    folder = os.path.join(folder_of(os.path.dirname(host.state.path(ID, "x")), old.sha256), "repodata")
    os.makedirs(folder)
    for name, content in (("repomd.xml", raw), ("repomd.xml.asc", signature)):
        with open(os.path.join(folder, name), "wb") as stream:
            stream.write(content)
    host.state.write_pin(ID, SnapshotPin(old, int(time.time()) + 3600, int(time.time())))
    assert Loaded(host, "old").prove()[0] == "proven"
    status, text = Loaded(host).prove()
    assert status == "left" and text.startswith("pin: ")


def test_the_mark_is_raised_when_the_package_manager_has_accepted_and_not_before(host):
    host.serve(host.request())
    assert host.state.load(ID).accepted is None, "EOF: it died, or refused the metadata"
    host.serve(host.request(), accepted("another"))
    assert host.state.load(ID).accepted is None
    _, result, _ = host.serve(host.request(), accepted(ID))
    assert host.state.load(ID).accepted.sha256 == result[ID]["sha256"]


@pytest.mark.parametrize("line", [b"", b"\n", b"rubbish\n", b"[]\n", b"5\n", b'{"accepted": ["xcp-ng-updates"]}\n', b'{}\n',
                                  b"\xff\xfe\n", b"[" * 100000 + b"\n"] + [
    b'{"schema": 1, "action": "accept", "accepted": ' + rest for rest in (
        b'5}\n', b'null}\n', b'"xcp-ng-updates and more"}\n', b'{"xcp-ng-updates": 1}}\n', b'["xcp-ng-updates"')])
def test_an_acceptance_that_is_none_raises_nothing(host, line):
    code, result, _ = serve(json.dumps(host.request()).encode() + b"\n" + line)
    assert result[ID]["status"] == "resolved" and code != EXIT_BUG
    assert host.state.load(ID).accepted is None


def test_a_rollback_is_refused_by_its_name(host):
    host.serve(host.request(), accepted(ID))
    host.lab.publish("old")
    _, result, _ = host.serve(host.request(), accepted(ID))
    assert result[ID]["status"] == "refused" and result[ID]["text"].startswith("rollback: ")
    host.lab.publish("new")
    assert host.serve(host.request())[1][ID]["status"] == "resolved"


def test_distrust_is_a_warning_with_its_repository(host):
    host.lab.add_mirror("bad", "bad-signature")
    host.lab.set_order(["bad", "a"])
    _, result, warnings = host.serve(host.request())
    assert result[ID]["status"] == "resolved"
    assert [name for name, _ in warnings] == [ID] and "signature-invalid" in warnings[0][1]


@pytest.mark.parametrize("setting, status", [("stock", "left"), ("abort", "refused")])
def test_what_cannot_be_reached_is_left_alone_unless_the_admin_wants_it_refused(host, setting, status):
    host.lab.set_order([])
    host.lab.redirector.down()
    host.lab.origin.server.refuse()
    host.configure(on_unreachable=setting)
    _, result, _ = host.serve(host.request())
    assert result[ID]["status"] == status and "unreachable" in result[ID]["text"]


def test_a_bad_setting_is_told_and_the_default_used(host):
    host.configure(enough="many", colour="blue")
    _, result, warnings = host.serve(host.request())
    assert result[ID]["status"] == "resolved"
    assert len(warnings) == 2 and all(host.config in text for _, text in warnings)


def test_a_damaged_memory_is_told_and_no_hindrance(host):
    host.serve(host.request(), accepted(ID))
    for name in ("accepted.json", "mirrors.json"):
        with open(host.state.path(ID, name), "w") as stream:
            stream.write("{")
    _, result, warnings = host.serve(host.request())
    assert result[ID]["status"] == "resolved" and len(warnings) == 2


@pytest.mark.parametrize("changes", [{"id": "../evil"}, {"base_urls": ["http://HTTPS///x/"]}, {"base_urls": "http://x/"},
                                     {"gpgkeys": []}, {"gpgkeys": ["https://k.test/"]}, {"ip_resolve": 5}, {"sslverify": "perhaps"}])
def test_a_repository_that_cannot_be_used_is_told_and_the_others_go_on(host, changes):
    bad = host.repository("base", **changes)
    code, result, warnings = host.serve(host.request(bad, host.repository()))
    assert (code, result[ID]["status"], warnings) == (EXIT_OK, "resolved", [])
    assert result[bad["id"]]["status"] == "left" and "configuration" in result[bad["id"]]["text"]


@pytest.mark.parametrize("values", [{"id": None}, {"id": ""}, {}, 5, None])
def test_a_request_with_a_repository_without_a_name_is_none(host, values):
    code, result, _ = host.serve(host.request(values, host.repository()))
    assert (code, list(result), result[""]["status"]) == (EXIT_USAGE, [""], "left")


def test_an_engine_that_was_prepared_for_all_serves_packages_of_a_repository_that_was_not_resolved(host):
    other = host.repository("base", proxy_username="u")
    prepare = dict(host.request(host.repository(), other), action="prepare", packages=False)
    packages = host.request(dict(other, packages=[]), action="packages", mode="fetch")
    for first, text in ((prepare, ""), (host.request(), "other network settings")):
        out = io.BytesIO()
        engine.serve(io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in (first, host.request(), packages))), out)
        last = json.loads(out.getvalue().splitlines()[-1].decode())
        assert last["event"] == "result" and text in str(last), last
        assert bool(text) or list(last["repositories"]) == ["xcp-ng-base"]


@pytest.mark.parametrize("sent", [
    b"\n", b"rubbish\n", b"[]\n", b"null\n", b"{}\n", b"\xff\xfe\x00\n", b"[" * 200000 + b"\n", b'{"schema": 1}\n',
    b'{"schema": 1, "action": "explode"}\n', b'{"schema": 2, "action": "resolve"}\n', b'{"schema": "1", "action": "resolve"}\n',
    b'{"schema": 1, "action": "resolve"', b'{"schema": 1, "action": ["resolve"]}\n',
])
def test_a_request_that_is_none_is_answered_with_left(sent):
    code, result, _ = serve(sent)
    assert (code, list(result), result[""]["status"]) == (EXIT_USAGE, [""], "left")
    assert result[""]["text"].startswith("usage: ")


def test_a_huge_request_is_refused_without_reading_it_whole(monkeypatch):
    monkeypatch.setattr(engine, "MAX_REQUEST_BYTES", 1000)
    sent = io.BytesIO(b'{"schema": 1, "x": "' + b"x" * 100000 + b'"}\n')
    out = io.BytesIO()
    assert engine.serve(sent, out) == EXIT_USAGE and sent.tell() <= 1000


@pytest.mark.parametrize("wanted", [None, 5, {}, [[]] * 65, "xcp-ng-base"])
def test_repositories_that_are_no_list_or_too_many_are_refused(host, wanted):
    code, result, _ = host.serve(host.request(repositories=wanted))
    assert code == EXIT_USAGE and result[""]["status"] == "left"


def test_a_bug_of_ours_is_heard_of_by_the_bridge_and_stops_nothing(host, monkeypatch):
    monkeypatch.setattr(engine, "refresh", lambda *_, **__: 1 // 0)
    code, result, _ = host.serve(host.request())
    assert code == EXIT_BUG and result[""]["status"] == "left" and "ZeroDivisionError" in result[""]["text"]


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                     lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                         st.sampled_from(["id", "base_urls", "gpgkeys", "proxy", "sslverify", "ip_resolve", "x"]), inner, max_size=5),
                     max_leaves=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({"repositories": _JSON}))
def test_whatever_a_request_holds_there_is_one_result_and_no_bug(tmp_path, rest):
    rest.update(schema=1, action="resolve", installroot=str(tmp_path), config="/nonexistent")
    code, result, _ = serve(json.dumps(rest).encode() + b"\n")
    assert code in (EXIT_OK, EXIT_USAGE)


def test_the_real_process_prints_nothing_but_events_and_ends_when_the_bridge_does(host):
    starter = "import sys; sys.path.insert(0, sys.argv.pop(1)); from yum_plugin.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-I", "-c", starter, str(REPOSITORY_ROOT), "engine"], timeout=30,
                          input=json.dumps(host.request()).encode() + b"\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == EXIT_OK and done.stderr == b""
    events = [json.loads(line.decode()) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["result"] and events[0]["repositories"][ID]["status"] == "resolved"


HEAVY = {"lxml", "lxml.etree", "cryptography", "pgpy", "argparse", "xml.sax"}
REPORT = """import os, sys
atexit, os._exit = os._exit, lambda code: (print(*sys.modules, file=sys.stderr, flush=True), atexit(code))
sys.argv = [__file__, "engine"]
exec(open(__file__.replace("report", "patient")).read())
"""


def test_a_look_that_finds_nothing_new_loads_nothing_heavy_and_touches_nothing_that_is_proven(host, tmp_path):
    """As a process of its own, with its child where this is root."""
    request = host.request(host.repository(cache=host.cache()))
    host.serve(request, accepted(ID))
    patient_command(str(tmp_path))
    (tmp_path / "report").write_text(REPORT)

    def look():
        done = subprocess.run([sys.executable, "-I", str(tmp_path / "report")], timeout=60,
                              input=json.dumps(request).encode() + b"\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        [event] = [json.loads(line.decode()) for line in done.stdout.splitlines()]
        return event["repositories"][ID]["status"], set(done.stderr.decode().split())

    def files():
        return {path: (os.lstat(path).st_ino, os.lstat(path).st_ctime_ns) for folder, _, names in os.walk(host.root) for path in
                (os.path.join(folder, name) for name in names) if path.endswith(("pubring.gpg", ".asc", "accepted.json"))}

    before, asked = files(), len(host.lab.log.requests())
    status, loaded = look()
    assert (status, HEAVY & loaded, "yum_plugin.resolve.refresh" in loaded) == ("resolved", set(), True)
    assert [entry.target.partition("?")[2] for entry in host.lab.log.requests()[asked:]] == ["sha256"]
    assert files() == before and len(before) == 3
