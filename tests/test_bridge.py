"""The bridge and engines that misbehave: a verdict within the deadline and no process left, on Python 3 and 2.7."""
import glob
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY_ROOT
from tests.support.waiting import AT_ONCE_SECONDS, LONG_SECONDS, wait_until

BRIDGE = str(REPOSITORY_ROOT / "yum_plugin" / "plugins" / "bridge.py")
SHORT_SECONDS = 0.6  # the deadline of an engine that hangs; one that answers has LONG_SECONDS

# Runs on Python 2.7 and 3: loads the bridge, plays one case, prints what came of it as JSON.
DRIVER = """
import json, sys, time
case = json.loads(sys.argv[1])
bridge = {"__name__": "bridge"}
exec(compile(open(case["bridge"]).read(), case["bridge"], "exec"), bridge)
bridge["ACCEPT_SECONDS"] = case["deadline"]
class Parser(object):
    values = {}
    def has_option(self, section, key):
        return key in self.values
    def get(self, section, key):
        return self.values[key]
parser = Parser()
parser.values = {"command": case["command"], "deadline": "0.1"}
settings = bridge["BridgeSettings"](parser, "/etc/x.conf")
engine = bridge["Engine"](settings.command)
started = time.time()
try:
    verdicts, warnings = engine.ask(settings.request("resolve", case["repositories"]), case["deadline"])
except KeyboardInterrupt:
    print(json.dumps({"interrupted": True}))
    sys.exit(0)
asked = time.time() - started
if case["accept"] is not None:
    engine.accept(case["accept"])
    engine.finish()
engine.close()
engine.close()
print(json.dumps({"verdicts": verdicts, "warnings": warnings, "asked": asked, "seconds": time.time() - started}))
"""


@pytest.fixture(params=["3", "2.7"])
def python(request, interpreter):
    return sys.executable if request.param == "3" else interpreter(request.param)


def living_members(group):
    """The processes of a process group but those that only wait to be reaped."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as stream:
                state, _, member_of = stream.read().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # it has just ended
        if int(member_of) == group and state not in "ZX":
            found.append(path)
    return found


class Play:
    """Plays cases; ``engine`` is a shell script that finds its own process id noted already."""

    def __init__(self, python, folder):
        self.python, self.folder = python, folder
        self.command = str(folder / "engine")
        self.pid = str(folder / "pid")

    def write(self, script, mode=0o755):
        with open(self.command, "w") as stream:
            stream.write("#!/bin/sh\necho $$ > {}\n{}\n".format(self.pid, script))
        os.chmod(self.command, mode)

    def arguments(self, accept=None, repositories=None, deadline=LONG_SECONDS):
        case = {"bridge": BRIDGE, "command": self.command, "deadline": deadline, "accept": accept,
                "repositories": repositories or [{"id": "one"}, {"id": "two"}]}
        return [self.python, "-c", DRIVER, json.dumps(case)]

    def run(self, accept=None, environment=None, **options):
        if "repositories" in options and len(json.dumps(options["repositories"])) > 100000:
            path = self.folder / "driver.py"
            arguments = self.arguments(accept, **options)
            path.write_text(DRIVER.replace("sys.argv[1]", "open({!r}).read()".format(str(self.folder / "case"))))
            (self.folder / "case").write_text(arguments[3])
            arguments = [self.python, str(path)]
        else:
            arguments = self.arguments(accept, **options)
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=3 * LONG_SECONDS,
                              env=dict(os.environ, **(environment or {})))
        assert done.returncode == 0, done.stderr.decode()
        self.assert_nothing_left()
        return json.loads(done.stdout.decode())

    def assert_nothing_left(self):
        if os.path.exists(self.pid):
            with open(self.pid) as stream:
                group = int(stream.read())
            assert wait_until(lambda: not living_members(group))  # killed; it ends when it next runs


@pytest.fixture
def play(python, tmp_path):
    return Play(python, tmp_path)


def result(**repositories):
    return json.dumps({"event": "result", "repositories": repositories})


def says(*lines):
    return "read request\n" + "\n".join("echo '{}'".format(line) for line in lines) + "\nread more"


RESOLVED = {"status": "resolved", "sha256": "a" * 64, "mirrors": []}
LEFT = {"status": "left", "text": "why"}


def test_a_result_reaches_the_plugin_with_its_warnings(play):
    play.write(says('{"event": "warning", "repository": "one", "text": "beware"}', '{"event": "warning", "repository": "", "text": "all"}',
                    '{"event": "progress", "x": 1}', result(one=RESOLVED, two=LEFT)))
    got = play.run()
    assert got["verdicts"] == {"one": RESOLVED, "two": LEFT} and got["warnings"] == ["one: beware", "all"]
    assert got["asked"] < AT_ONCE_SECONDS, "nobody waits for more, once there is a result"


def test_a_repository_that_the_engine_says_nothing_of_is_left(play):
    play.write(says(result(one=RESOLVED)))
    assert play.run()["verdicts"]["two"]["status"] == "left"


def test_a_verdict_for_the_whole_request_is_everyones(play):
    play.write(says(json.dumps({"event": "result", "repositories": {"": LEFT}})))
    assert play.run()["verdicts"] == {"one": LEFT, "two": LEFT}


ENDLESS = "while echo '{}'; do :; done"
BAD_ENGINES = {
    "dies": "exit 3",
    "dies with words": "echo lost its way >&2; exit 1",
    "is killed": "kill -9 $$",
    "hangs": "exec sleep 1000",
    "hangs after the request": "read request; exec sleep 1000",
    "ignores SIGTERM": "trap '' TERM INT HUP; while :; do sleep 1000; done",
    "leaves a child that holds the pipe": "sleep 1000 & exit 0",
    "closes its output and stays": "exec >&-; exec sleep 1000",
    "says rubbish": says("rubbish"),
    "says bytes": "printf '\\377\\376\\n'; read more",
    "says half a line": "printf '{\"event\": '; exec sleep 1000",
    "says an empty line": says(""),
    "says a number": says("5"),
    "says a list": says("[]"),
    "says an event without a name": says("{}"),
    "says a result without repositories": says('{"event": "result"}'),
    "says a result that is a list": says('{"event": "result", "repositories": [1]}'),
    "says a verdict that is a number": says(result(one=5)),
    "says a verdict without a status": says(result(one={})),
    "says a verdict of an unknown status": says(result(one={"status": "perhaps", "text": "x"})),
    "says a refusal without a text": says(result(one={"status": "refused"})),
    "says resolved without a digest": says(result(one={"status": "resolved", "mirrors": []})),
    "says a warning that is no text": says('{"event": "warning", "repository": 5, "text": [1]}'),
    "nests deeply": "read request; head -c 200000 /dev/zero | tr '\\0' '['; echo; read more",
    "writes for ever without an end of line": "exec tr '\\0' 'x' < /dev/zero",
    "writes for ever lines of no meaning": ENDLESS.format('{"event": "progress"}'),
    "writes for ever warnings": ENDLESS.format('{"event": "warning", "repository": "", "text": "again"}'),
    "writes for ever quickly": "exec yes '{\"event\": \"progress\"}'",
}


@pytest.mark.parametrize("engine", sorted(BAD_ENGINES))
def test_the_repositories_are_left_alone_by_an_engine_that(engine, play):
    play.write(BAD_ENGINES[engine])
    got = play.run(deadline=SHORT_SECONDS)
    assert [verdict["status"] for verdict in got["verdicts"].values()] == ["left", "left"]
    assert all(verdict["text"] for verdict in got["verdicts"].values())
    assert got["seconds"] < AT_ONCE_SECONDS


def test_the_last_words_of_an_engine_are_told(play):
    play.write(BAD_ENGINES["dies with words"])
    assert play.run()["verdicts"]["one"]["text"].endswith("lost its way")


@pytest.mark.parametrize("kind", ["missing", "not executable", "a folder", "no program"])
def test_without_an_engine_the_repositories_are_left_alone_and_its_path_is_told(kind, play):
    if kind == "a folder":
        os.mkdir(play.command)
    elif kind != "missing":
        play.write("exit 0", 0o644 if kind == "not executable" else 0o755)
    if kind == "no program":
        with open(play.command, "w") as stream:
            stream.write("\x7fELF rubbish")
    got = play.run()
    assert got["verdicts"]["one"]["status"] == "left" and play.command in got["verdicts"]["one"]["text"]


def test_a_request_larger_than_any_buffer_does_not_block_on_an_engine_that_does_not_read(play):
    play.write("exec sleep 1000")
    got = play.run(repositories=[{"id": "one", "base_urls": ["x" * 4000000]}], deadline=SHORT_SECONDS)
    assert got["verdicts"]["one"]["status"] == "left" and got["seconds"] < AT_ONCE_SECONDS


def test_an_engine_gets_the_request_as_one_line_and_no_python_settings(play):
    play.write("read request; echo \"$request\" > {0}/request; env > {0}/environment; exit 1".format(play.folder))
    play.run(environment={"PYTHONPATH": "/evil", "PYTHONDONTWRITEBYTECODE": "1"})
    request = json.loads((play.folder / "request").read_text())
    assert request == {"schema": 1, "action": "resolve", "config": "/etc/x.conf", "installroot": "/", "repositories": [{"id": "one"}, {"id": "two"}]}
    assert not [line for line in (play.folder / "environment").read_text().splitlines() if line.startswith("PYTHON")]


def test_acceptance_is_waited_for_until_it_is_written(play):
    play.write("read request; echo '{}'; read accepted; echo \"$accepted\" > {}/accepted; exit 0".format(result(one=RESOLVED), play.folder))
    play.run(accept=["two", "one"])
    assert json.loads((play.folder / "accepted").read_text()) == {"schema": 1, "action": "accept", "accepted": ["one", "two"]}


@pytest.mark.parametrize("then", ["exit 0", "exec sleep 1000", "kill -9 $$", "read more; exec sleep 1000"])
def test_acceptance_does_not_wait_for_an_engine_that_is_gone_or_hangs(then, play):
    play.write("read request; echo '{}'; {}".format(result(one=RESOLVED), then))
    assert play.run(accept=["one"], deadline=SHORT_SECONDS)["seconds"] < AT_ONCE_SECONDS


def test_ctrl_c_ends_the_engine_too(play):
    os.mkfifo(play.pid)
    with open(play.command, "w") as script:  # it notes its process id when the bridge waits for an answer
        script.write("#!/bin/sh\ntrap '' INT\nread request\necho $$ > {}\nwhile :; do sleep 1000; done\n".format(play.pid))
    os.chmod(play.command, 0o755)
    driver = subprocess.Popen(play.arguments(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with open(play.pid) as stream:  # opened when the engine runs
        engine = int(stream.read())
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=LONG_SECONDS)
    assert json.loads(out.decode()) == {"interrupted": True}, err
    assert wait_until(lambda: not living_members(engine))


# The settings and the warm check.


@pytest.fixture(scope="module")
def bridge():
    namespace = {"__name__": "bridge"}
    with open(BRIDGE) as stream:
        exec(compile(stream.read(), BRIDGE, "exec"), namespace)
    return namespace


class Parser:
    """What a package manager has read of our .conf."""

    def __init__(self, **values):
        self.values = values

    def has_option(self, section, key):
        return key in self.values

    def get(self, section, key):
        return self.values[key]

    def read(self, path):
        raise ValueError("a damaged fragment")


def settings(bridge, root="/", **values):
    return bridge["BridgeSettings"](Parser(**values), "/etc/x.conf", root)


@pytest.mark.parametrize("name, urls, wanted", [
    ("xcp-ng-base", ["http://m.test/"], True), ("epel", ["http://m.test/"], False), ("xcp-ng-base", [], False),
    ("xcp-ng-base", ["http://HTTPS///m.test/"], False), ("xcp-ng-base", ["http://m.test/", "http://https///m.test/"], False)])
def test_only_our_repositories_are_wanted(bridge, name, urls, wanted):
    assert settings(bridge).wants(name, urls) == wanted


def test_settings_that_are_none_are_the_defaults_and_the_state_lies_in_the_installroot(bridge):
    made = settings(bridge, "/install/tree", deadline="soon", repos="a, b*")
    assert (made.deadline, made.repos) == (8.0, ["a", "b*"])
    assert made.state_dir == "/install/tree/var/lib/xcpng-mirrors"


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-5", "1e999"])
def test_a_number_without_sense_is_the_default(bridge, text):
    made = settings(bridge, deadline=text, refresh_after=text)
    assert (made.deadline, made.refresh_after) == (8.0, 900.0)


class Repo:
    """A repository object of yum or dnf, as far as the bridge reads it."""

    def __init__(self, **changes):
        self.id, self.baseurl, self.metadata_expire = "xcp-ng-base", ("http://mirrors.test/8/8.3/base/x86_64/",), 172800
        self.gpgkey, self.sslverify, self.repo_gpgcheck = (), True, True
        for name in ("username", "password", "proxy_username", "proxy_password", "sslcacert", "sslclientcert", "sslclientkey",
                     "ip_resolve"):
            setattr(self, name, "")
        self.__dict__.update(changes)


class Filled:
    """A host whose cache was filled; ``is_warm`` asks as a plugin does, with something changed since."""

    def __init__(self, bridge, folder, layout):
        self.bridge, self.folder, self.layout, self.repo, self.proxy = bridge, folder, layout, Repo(), None
        self.values = {"state_dir": "/state"}  # inside the installroot
        bridge["FRAGMENTS"] = str(folder / "fragments")
        (folder / "key").write_bytes(b"the key")
        self.repo.gpgkey = ("file://" + str(folder / "key"),)
        cache = self.cache()
        digest = hashlib.sha256(b"<repomd/>").hexdigest()
        os.makedirs(os.path.dirname(cache.repomd))
        os.makedirs(str(folder / "state" / "xcp-ng-base"))
        (folder / "state" / "xcp-ng-base" / "accepted.json").write_text('{{"sha256": "{}"}}'.format(digest))
        for path, content in ((cache.repomd, "<repomd/>"), (cache.cookie, "xcpng-mirrors {} {}\n".format(cache.key, digest))):
            with open(path, "w") as stream:
                stream.write(content)
        self.filled_at = os.stat(cache.cookie).st_mtime

    def cache(self):
        made = self.bridge["BridgeSettings"](Parser(**self.values), str(self.folder / "x.conf"), str(self.folder))
        return self.bridge["Cache"](made, self.bridge["describe"](self.repo, self.proxy), str(self.folder / "cache"), self.layout, ())

    def is_warm(self, seconds_later=1.0):
        return self.cache().is_warm(self.filled_at + seconds_later)


@pytest.fixture(params=["dnf", "yum"])
def filled(bridge, tmp_path, request):
    return Filled(bridge, tmp_path, request.param)


@pytest.mark.parametrize("seconds, expire, expected", [
    (0, 172800, True), (899, 172800, True), (900, 172800, False), (-1, 172800, False), (899, -1, True), (900, -1, False),
    (59, 60, True), (60, 60, False), (0, 0, False)])
def test_a_filled_cache_is_good_for_the_shorter_of_refresh_after_and_metadata_expire(filled, seconds, expire, expected):
    filled.repo.metadata_expire = expire
    assert filled.is_warm(seconds) == expected


@pytest.mark.parametrize("damaged", ["repomd", "cookie", "accepted"])
@pytest.mark.parametrize("damage", ["gone", "other", "huge", "folder"])
def test_a_cache_that_does_not_fit_is_not_warm(filled, damaged, damage):
    assert filled.is_warm()
    cache = filled.cache()
    target = {"repomd": cache.repomd, "cookie": cache.cookie}.get(damaged, str(filled.folder / "state/xcp-ng-base/accepted.json"))
    stamp = os.stat(target).st_mtime
    os.unlink(target)
    if damage == "other":
        with open(target, "wb") as stream:
            stream.write(b"<other/>" + b"0" * 64)
    elif damage == "huge":
        with open(target, "wb") as stream:
            stream.truncate(1 << 40)
    elif damage == "folder":
        os.mkdir(target)
    if damage != "gone":
        os.utime(target, (stamp, stamp))
    assert not filled.is_warm()


@pytest.mark.parametrize("change", [
    lambda filled: setattr(filled.repo, "baseurl", ("http://mirrors.test/9/9.0/base/x86_64/",)),
    lambda filled: setattr(filled.repo, "username", "alice"), lambda filled: setattr(filled.repo, "sslverify", False),
    lambda filled: setattr(filled, "proxy", "http://proxy.test:3128"),
    lambda filled: (filled.folder / "x.conf").write_text("[main]\ndeny=a.test\n"),
    lambda filled: ((filled.folder / "fragments").mkdir(), (filled.folder / "fragments/50.conf").write_text("[main]\nprefer=DE\n")),
    lambda filled: (filled.folder / "key").write_bytes(b"the key, revoked"),
    lambda filled: (filled.folder / "state/xcp-ng-base/pin.json").write_text("{}"),
], ids=["base URL", "user name", "sslverify", "proxy", ".conf", "fragment", "key file", "snapshot pin"])
def test_a_cache_is_good_only_for_what_it_was_filled_for(filled, change):
    assert filled.is_warm()
    change(filled)
    assert not filled.is_warm()


def test_a_cache_is_not_used_without_asking_if_others_could_have_changed_the_state(filled):
    assert filled.is_warm()
    (filled.folder / "state").chmod(0o777)
    assert not filled.is_warm()


def test_an_engine_that_others_can_change_is_not_started(play):
    play.write(says(result(one=RESOLVED)), mode=0o777)
    answer = play.run()
    assert answer["verdicts"]["one"]["status"] == "left" and not os.path.exists(play.pid)
    assert "others than root can change {0}; chown root:root {0} && chmod go-w {0}".format(play.command) in (
        answer["verdicts"]["one"]["text"])


def test_where_a_conf_is_ignored_and_its_engine_with_it_the_conf_is_named(bridge, tmp_path, monkeypatch):
    (tmp_path / "x.conf").write_text("[main]\n")
    (tmp_path / "x.conf").chmod(0o666)
    monkeypatch.setitem(bridge["DEFAULTS"], "command", str(tmp_path / "missing"))
    made = bridge["BridgeSettings"](Parser(command="/bin/true", deadline="50"), str(tmp_path / "x.conf"))
    assert (made.command, made.deadline) == (str(tmp_path / "missing"), 8.0)
    verdicts, _ = bridge["Engine"](made.command, made.reason).ask(made.request("resolve", [{"id": "one"}]), LONG_SECONDS)
    assert verdicts["one"]["text"].endswith("{0} is ignored: others than root can change {0}; chown root:root {0} && chmod go-w {0}".format(
        tmp_path / "x.conf"))


def test_ending_takes_no_time_when_all_is_well(play):
    play.write(says(result(one=RESOLVED)))
    started = time.monotonic()
    play.run(accept=["one"])
    assert time.monotonic() - started < AT_ONCE_SECONDS
