"""The xapi plugin: whatever is asked, and whatever the command does, the answer is one XML-RPC response and nothing else."""
import importlib.util
import json
import os
import subprocess
import sys
import time
from xmlrpc.client import dumps, loads

import pytest

from tests.conftest import REPOSITORY_ROOT
from tests.lab.pool import PoolHost
from tests.support.waiting import ends

SOURCE = REPOSITORY_ROOT / "yum_plugin" / "plugins" / "xapi.py"
SESSION = "OpaqueRef:0"
BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def call(function="status", **values):
    """The argument that xapi gives."""
    return dumps((SESSION, values), function)


def ask(plugin, *arguments, python=sys.executable):
    """Run the plugin as xapi does and return its answer's struct; nothing else may be on either stream."""
    done = subprocess.run([python, plugin] + list(arguments), cwd="/", env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"<?xml") and done.stdout.endswith(b"</methodResponse>\n")
    (answer,), method = loads(done.stdout)
    assert method is None
    return answer


def refusal(plugin, *arguments, **how):
    """The texts of an answer that is a failure."""
    answer = ask(plugin, *arguments, **how)
    assert sorted(answer) == ["ErrorDescription", "Status"] and answer["Status"] == "Failure"
    assert all(isinstance(text, str) and text.isprintable() for text in answer["ErrorDescription"])
    return answer["ErrorDescription"]


@pytest.fixture
def tree(tmp_path):
    """A root with the plugin and a command that a test writes: a function from its lines of shell to the plugin's path."""
    plugin = tmp_path / "etc/xapi.d/plugins/xcpng-mirrors"
    command = tmp_path / "usr/bin/xcpng-mirrors"
    for path in (plugin, command):
        path.parent.mkdir(parents=True)
    plugin.symlink_to(SOURCE)

    def make(*lines):
        command.write_text("\n".join(("#!/bin/sh",) + lines) + "\n")
        command.chmod(0o755)
        return str(plugin)

    return make


@pytest.mark.parametrize("function, words", [
    ("status", []), ("precheck", ["can_update"]), ("refresh", ["refreshed_at"]), ("doctor", ["checks", "fine"])])  # fmt: skip
def test_each_function_gives_what_the_command_prints(lab, tmp_path, function, words):
    lab.add_mirror("good")
    plugin = PoolHost(lab, str(tmp_path / "host")).plugin
    answer = ask(plugin, call(function, repo="xcp-ng-updates"))
    assert sorted(answer) == ["Status", "Value"] and answer["Status"] == "Success", answer
    values = json.loads(answer["Value"])
    assert values["command"] == function and set(words) <= set(values)
    assert [item["id"] for item in values.get("repositories", [{"id": "xcp-ng-updates"}])] == ["xcp-ng-updates"]


@pytest.mark.parametrize("version", ["2.7", "3.6"])
def test_the_oldest_pythons_answer_too(tree, interpreter, version):
    plugin = tree('echo "{\\"words\\": \\"$*\\", \\"name\\": \\"\\303\\251 <&>\\"}"')
    python = interpreter(version)
    answer = ask(plugin, call("precheck", repo="a, b", pin="1/2", unpin="true"), python=python)
    assert json.loads(answer["Value"]) == {"words": "precheck --json --pin=1/2 --repo=a --repo=b --unpin", "name": "\u00e9 <&>"}
    assert refusal(plugin, call("reboot"), python=python) == ["UNKNOWN_XENAPI_PLUGIN_FUNCTION", "reboot"]
    assert "DOCTYPE" in refusal(plugin, BOMB + call(), python=python)[-1]
    assert not list(SOURCE.parent.glob("*.pyc"))


@pytest.mark.parametrize("arguments, word", [
    ([], "one argument"), ([call(), call()], "one argument"), (["x" * 130000], "no XML-RPC"), ([""], "no XML-RPC"),
    (["<methodCall/>"], "no XML-RPC"), ([BOMB + call()], "DOCTYPE"), ([call()[:-20]], "no XML-RPC"),
    ([dumps((SESSION,), "status")], "no XML-RPC"), ([dumps((SESSION, []), "status")], "a struct"),
    ([dumps((SESSION, {"repo": 7}), "status")], "a text"), ([dumps((SESSION, {"repo": ["x"]}), "status")], "a text"),
    ([call(repos="x")], "keys repo and no other"), ([call(pin="1/2")], "keys repo and no other"),
    ([call("doctor", unpin="true")], "keys repo and no other"),
    ([call(repo="--config=/etc/shadow")], "ids of repositories"), ([call(repo="$(reboot)")], "ids of repositories"),
    ([call(repo="../../etc")], "ids of repositories"), ([call(repo="x\x7f")], "ids of repositories"),
    ([call(repo="x " * 65)], "ids of repositories"), ([call(repo="x" * 129)], "ids of repositories"),
    ([call("precheck", pin="1;reboot")], "a token"), ([call("precheck", pin="")], "a token"),
    ([call("precheck", pin="1" * 4097)], "a token"), ([call("precheck", unpin="maybe")], "true or false"),
])
def test_a_hostile_call_is_refused_and_runs_nothing(tree, tmp_path, arguments, word):
    plugin = tree("touch {}/ran".format(tmp_path), "echo '{}'")
    texts = refusal(plugin, *arguments)
    assert texts[0] == "XENAPI_PLUGIN_FAILURE" and word in texts[-1]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("function", ["", "dispatch", "__init__", "Status", "status "])
def test_an_unknown_function_is_told_by_xapis_name_for_it(tree, function):
    assert refusal(tree("echo '{}'"), call(function or "x")) == ["UNKNOWN_XENAPI_PLUGIN_FUNCTION", function or "x"]


@pytest.mark.parametrize("lines, word", [
    (["echo rubbish"], "it printed no JSON object"), (["echo '[1]'"], "it printed no JSON object"), (["exit 0"], "exit code 0"),
    (["echo '<methodResponse>'; echo worse >&2; exit 5"], "exit code 5: worse"), (["kill -9 $$"], "exit code -9"),
    (["printf '\\377\\376'; printf '\\033[2J' >&2; exit 1"], "exit code 1: ?[2J"),
    (["head -c 40000 /dev/zero | tr '\\0' '['"], "it printed no JSON object"),
    (["exec yes"], "or an endless one"),
])
def test_a_command_that_answers_rubbish_is_a_failure_with_its_last_words(tree, lines, word):
    assert word in refusal(tree(*lines), call())[-1]


def test_no_command_is_a_failure_that_names_it(tree, tmp_path):
    plugin = tree("")
    os.unlink(str(tmp_path / "usr/bin/xcpng-mirrors"))
    assert "usr/bin/xcpng-mirrors cannot be run" in refusal(plugin, call())[-1]


def test_what_the_command_says_on_stderr_and_writes_for_long_does_not_stop_it(tree):
    plugin = tree("head -c 3000000 /dev/zero >&2", "printf '{\"a\": \"'; head -c 3000000 /dev/zero | tr '\\0' x; printf '\"}'")
    assert len(json.loads(ask(plugin, call())["Value"])["a"]) == 3000000


@pytest.fixture
def xapi(monkeypatch):
    """The plugin as a module."""
    monkeypatch.syspath_prepend(str(SOURCE.parent))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    spec = importlib.util.spec_from_file_location("xcpng_mirrors_xapi", str(SOURCE))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("bridge", None)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tree, tmp_path, xapi):
    plugin = tree("echo $$ >{0}/pid; sleep 600 & echo $! >>{0}/pid; wait".format(tmp_path))
    started = time.monotonic()
    with pytest.raises(xapi.Failure, match="no answer within 1 s"):
        xapi.FUNCTIONS["status"] = 1.0
        xapi.ask(xapi.command_beside(plugin), "status", [])
    assert time.monotonic() - started < 20
    assert [pid for pid in (tmp_path / "pid").read_text().split() if not ends(pid)] == []


def test_a_crash_of_the_plugin_itself_is_an_answer_too(xapi, monkeypatch):
    monkeypatch.setattr(xapi, "ask", lambda *words: 1 / 0)
    (answer,), _ = loads(xapi.main([call()]))
    assert answer["ErrorDescription"][:3] == ["XENAPI_PLUGIN_FAILURE", "status", "ZeroDivisionError"]
