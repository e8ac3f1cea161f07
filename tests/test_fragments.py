"""Fragments of /etc/xcpng-mirrors.d: the plugins and the engine read the same out of them; ``config`` shows what came of it."""
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY_ROOT
from tests.support.terminal import Terminal
from tests.support.waiting import LONG_SECONDS
from tests.support.world import DEFAULTS
from yum_plugin.cli.main import main
from yum_plugin.errors import UsageError
from yum_plugin.host import settings as settings_module
from yum_plugin.host.settings import FRAGMENT_FOLDER, KEYS, MAX_FRAGMENTS, config_file, fragment_paths, read_settings
from yum_plugin.plugins import bridge
from yum_plugin.util.places import inside

BRIDGE = str(REPOSITORY_ROOT / "yum_plugin" / "plugins" / "bridge.py")
OTHER_PIN = "0123456789ABCDEF" * 2 + "01234567"
# Prints what a plugin makes of a .conf and its fragments, with the parser of its package manager.
DRIVER = """
import json, sys
bridge = {"__name__": "bridge"}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), bridge)
if sys.argv[2] == "libdnf":
    from libdnf.conf import ConfigParser as Parser
elif sys.version_info[0] == 2:
    from ConfigParser import RawConfigParser as Parser
else:
    from configparser import RawConfigParser as Parser
bridge["FRAGMENTS"] = sys.argv[5]
parser = Parser()
parser.read(sys.argv[3])
made = bridge["BridgeSettings"](parser, sys.argv[3], sys.argv[4])
print(json.dumps(dict(vars(made), ours=made.wants("xcp-ng-base", ["https://m.test/"]))))
"""
# The command with fragments in a folder of its own.
COMMAND = """
import sys
from yum_plugin.host import settings
settings.FRAGMENT_FOLDER = sys.argv.pop(1)
from yum_plugin.cli.main import main
sys.exit(main())
"""


class Fleet:
    """A host whose settings an admin keeps in files."""

    def __init__(self, folder):
        self.root = str(folder / "root")
        os.mkdir(self.root)
        self.folder = str(folder / "fragments")
        os.mkdir(self.folder)
        self.conf = str(folder / "x.conf")
        self.write(self.conf, "[main]\nenabled=1\n")

    @staticmethod
    def write(path, data):
        with open(path, "wb") as stream:
            stream.write(data if isinstance(data, bytes) else data.encode("utf-8"))

    def fragment(self, name, data):
        self.write(os.path.join(self.folder, name), data)

    def read(self):
        return read_settings(self.conf, fragment_paths(), self.root)

    def config(self, *arguments):
        return main(["config", "--config", self.conf, "--installroot", self.root] + list(arguments))

    def as_plugin(self, python, parser):
        command = [python, "-c", DRIVER, BRIDGE, parser, self.conf, self.root, self.folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout.decode())


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    made = Fleet(tmp_path)
    monkeypatch.setattr(settings_module, "FRAGMENT_FOLDER", made.folder)
    return made


@pytest.fixture(params=["3", "2.7", "libdnf"])
def plugin(request, interpreter, fleet):
    """What a plugin makes of the files."""
    if request.param == "libdnf":
        if shutil.which("dnf") is None:
            pytest.skip("no dnf here")
        with open(shutil.which("dnf")) as stream:
            python = stream.readline().strip("#!\n")
    else:
        python = sys.executable if request.param == "3" else interpreter(request.param)
    return lambda: fleet.as_plugin(python, request.param)


def expected(fleet):
    """What the engine's reading means for a plugin."""
    settings = fleet.read().settings
    values = {name: getattr(settings, name) for name in bridge.DEFAULTS if name != "enabled"}
    values.update(config=fleet.conf, reason="", root=fleet.root, files=[fleet.conf] + fragment_paths(), repos=list(settings.repos) if settings.enabled else [],
                  state_dir=inside(fleet.root, settings.state_dir), ours=settings.enabled and "xcp-ng-*" in settings.repos)
    return values


CASES = {
    "none": {},
    "every key that a plugin reads": {"site.conf": (
        "[main]\ncommand=/opt/x\nstate_dir=/srv/x\nrepos=a, b*\ndeadline=20\nrefresh_after=60\nverify_packages=no\n")},
    "the last of two": {"90.conf": "[main]\ndeadline=3\n", "10.conf": "[main]\ndeadline=5\nrefresh_after=9\n"},
    "no fragments": {".hidden.conf": "[main]\ndeadline=3\n", "x.conf.rpmnew": "[main]\ndeadline=5\n", "README": "[main]\ndeadline=6\n"},
    "switched off": {"off.conf": "[main]\nenabled=0\n"},
    "switched off and on again": {"1.conf": "[main]\nenabled=no\n", "2.conf": "[main]\nenabled=1\n"},
    "an unusable value": {"bad.conf": "[main]\ndeadline=soon\n"},
    "an empty value": {"1.conf": "[main]\ndeadline=5\n", "2.conf": "[main]\ndeadline=\n"},
    "a damaged line": {"bad.conf": "[main]\ndeadline=5\nnonsense\n", "good.conf": "[main]\nrefresh_after=9\n"},
    "no section": {"bad.conf": "deadline=5\n"},
    "other sections": {"other.conf": "[other]\ndeadline=5\n[main]\nrefresh_after=9\n"},
    "comments and white space": {"x.conf": "# caf\u00e9\n\n[main]\n; x\nrefresh_after = 9\n"},
    "a continued list": {"x.conf": "[main]\nrepos=xcp-ng-*\n  more\n"},
    "empty": {"x.conf": ""},
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_plugin_and_the_engine_read_the_same(case, fleet, plugin):
    fleet.write(fleet.conf, "[main]\nenabled=1\ndeadline=7\nrefresh_after=70\n")
    for name, text in CASES[case].items():
        fleet.fragment(name, text)
    assert plugin() == expected(fleet)


# What others than root and this user could change is not used: where -> (what is weak, what then counts).
WEAK = {
    ".conf": ("x.conf", DEFAULTS._replace(deadline=5, state_dir="/srv/x")),
    "a fragment": ("fragments/50.conf", DEFAULTS._replace(enough=2)),
    "the folder of the fragments": ("fragments", DEFAULTS._replace(enough=2)),
    "the state folder": ("root/srv/x", DEFAULTS._replace(enough=2, deadline=5)),
    "a folder above the state folder": ("root/srv", DEFAULTS._replace(enough=2, deadline=5)),
}


@pytest.mark.parametrize("case", sorted(WEAK))
def test_what_others_can_change_is_told_once_and_not_used_by_plugin_or_engine(case, fleet, plugin, tmp_path):
    weak, settings = WEAK[case]
    os.makedirs(str(tmp_path / "root/srv/x"))
    fleet.write(fleet.conf, "[main]\nenabled=1\nenough=2\n")
    fleet.fragment("50.conf", "[main]\ndeadline=5\nstate_dir=/srv/x\n")
    assert fleet.read().settings == DEFAULTS._replace(enough=2, deadline=5, state_dir="/srv/x") and not fleet.read().warnings
    os.chmod(str(tmp_path / weak), 0o777)
    reading = fleet.read()
    assert reading.settings == settings
    (told,) = reading.warnings
    path = str(tmp_path / weak)
    assert "others than root can change" in told and told.count("chown root:root {0} && chmod go-w {0}".format(path)) == 1
    made, wanted = plugin(), expected(fleet)
    wanted["files"] = [path for path in wanted["files"] if os.path.basename(path) in [os.path.basename(used) for used in reading.files]]
    assert (weak in made["reason"]) == (case == ".conf") == bool(made["reason"])
    assert dict(made, reason="") == wanted


def test_a_conf_that_the_caller_names_may_belong_to_anybody(fleet, capsys):
    fleet.write(fleet.conf, "[main]\nenough=2\n")
    os.chmod(fleet.conf, 0o666)
    assert fleet.config("--json") == 0 and '"files": [\n  "' + fleet.conf in capsys.readouterr().out


def test_a_command_that_others_can_change_is_told_and_not_used(fleet, tmp_path):
    (tmp_path / "evil").write_text("#!/bin/sh\n")
    (tmp_path / "evil").chmod(0o777)
    fleet.fragment("50.conf", "[main]\ncommand={}\n".format(tmp_path / "evil"))
    settings, (told,), _, _ = fleet.read()
    assert settings == DEFAULTS and "50.conf: line 2: command: others than root can change " + str(tmp_path / "evil") in told


def test_a_folder_that_cannot_be_read_is_no_reason_to_fail(fleet, plugin):
    os.rmdir(fleet.folder)
    fleet.write(fleet.folder, "a file")
    assert plugin() == expected(fleet) and fleet.read().warnings == ()


def test_the_bridge_looks_where_the_engine_does():
    assert bridge.FRAGMENTS == FRAGMENT_FOLDER


def test_the_last_file_that_has_a_key_counts_and_is_named(fleet):
    fleet.write(fleet.conf, "[main]\nenabled=1\nenough=2\nprefer=de\n")
    fleet.fragment("20-site.conf", "[main]\n# ours\nprefer=fr\n")
    fleet.fragment("10-site.conf", "[main]\nprefer=it\nmax_age=90\n")
    reading = fleet.read()
    assert reading.settings == DEFAULTS._replace(enough=2, prefer=("fr",), max_age=90 * 86400) and reading.warnings == ()
    lines = {key: (os.path.basename(origin.path), origin.line) for key, origin in reading.origins.items()}
    assert lines == {"enabled": ("x.conf", 2), "enough": ("x.conf", 3), "prefer": ("20-site.conf", 3), "max_age": ("10-site.conf", 3)}
    assert [os.path.basename(path) for path in reading.files] == ["x.conf", "10-site.conf", "20-site.conf"]


@pytest.mark.parametrize("data", [b"[main]\nenough=2\nnonsense\n", b"enough=2\n", b"\xff\xfe[\0m\0", b"[main]\nenough=2\n\xe9\n"])
def test_a_damaged_fragment_is_left_out_as_a_whole_and_told(fleet, data):
    fleet.fragment("bad.conf", data)
    fleet.fragment("good.conf", "[main]\nenough=1\n")
    settings, warnings, origins, files = fleet.read()
    assert settings == DEFAULTS._replace(enough=1) and len(files) == 2
    assert warnings and all("bad.conf: " in warning and "it is ignored" in warning for warning in warnings)


def test_a_fragment_that_is_a_folder_is_told(fleet):
    os.mkdir(os.path.join(fleet.folder, "x.conf"))
    settings, (warning,), _, _ = fleet.read()
    assert settings == DEFAULTS and "cannot be read" in warning


def test_a_fragment_cannot_switch_on_what_the_conf_has_switched_off(fleet):
    fleet.write(fleet.conf, "[main]\nenabled=0\n")
    fleet.fragment("on.conf", "[main]\nenabled=1\n")
    settings, (warning,), origins, _ = fleet.read()
    assert not settings.enabled and origins["enabled"].path == fleet.conf
    assert "on.conf: line 2: enabled" in warning and "x.conf: line 2" in warning
    fleet.fragment("on.conf", "[main]\nenabled=0\n")
    assert fleet.read().warnings == ()


def test_a_folder_full_of_fragments_is_read_in_bounds(fleet):
    for number in range(MAX_FRAGMENTS + 5):
        fleet.fragment("{:04}.conf".format(number), "[main]\ntimeout={}\n".format(number))
    assert fleet.read().settings.timeout == MAX_FRAGMENTS - 1


# The command


def test_every_setting_is_shown_with_its_origin(fleet, capsys):
    fleet.fragment("10-site.conf", "[main]\nmax_age=90\nprefer=de, fr\n")
    assert fleet.config() == 0
    out, err = capsys.readouterr()
    rows = [line.split(None, 2) for line in out.splitlines()]
    assert [row[0] for row in rows[1:-1]] == [key.name for key in KEYS] and err == ""
    assert ["max_age", "10-site.conf:2", "90"] in rows and ["prefer", "10-site.conf:3", "de fr"] in rows
    assert ["enabled", "x.conf:2", "1"] in rows and ["deny", "default"] in rows and ["deadline", "default", "8"] in rows
    assert out.splitlines()[-1].endswith("counts: {}, {}/10-site.conf".format(fleet.conf, fleet.folder))


def test_json_has_types_units_and_places(fleet, capsys):
    fleet.fragment("10-site.conf", "[main]\nmax_age=90\nprefer=de, fr\nconnect_timeout=2.5\n")
    assert fleet.config("--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema"], answer["command"], answer["warnings"]) == (1, "config", [])
    values = {item["key"]: item for item in answer["settings"]}
    assert list(values) == [key.name for key in KEYS]
    assert values["max_age"] == {"key": "max_age", "value": 90, "unit": "days", "default": "0",
                                 "file": fleet.folder + "/10-site.conf", "line": 2}
    shown = {name: values[name]["value"] for name in ("enabled", "prefer", "connect_timeout", "deny")}
    assert shown == {"enabled": True, "prefer": ["de", "fr"], "connect_timeout": 2.5, "deny": []}
    assert (values["deny"]["file"], values["deny"]["line"]) == (None, None)


@pytest.mark.parametrize("text, word", [
    ("[main]\ndeadline=soon\n", "line 2: deadline"), ("[main]\nprobe=3\n", "line 2: unknown key"), ("deadline=5\n", "line 1: "),
    ("[main]\nenough=9\n", "line 2: enough=9 is more than probe_mirrors=6")])  # fmt: skip
def test_what_cannot_be_used_is_told_with_file_and_line_and_fails(text, word, fleet, capsys):
    fleet.fragment("bad.conf", text)
    assert fleet.config("-q") == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "{}/bad.conf: {}".format(fleet.folder, word) in err


def test_the_table_fits_a_terminal_and_loses_nothing(fleet):
    fleet.fragment("20-long-lists-of-a-site.conf", "[main]\nfingerprints={0} {0}\ndeny={1}\n".format(OTHER_PIN, "bad.example " * 40))
    words = [sys.executable, "-c", COMMAND, fleet.folder, "config", "--config", fleet.conf]
    terminal = Terminal(words)
    assert terminal.child.wait(LONG_SECONDS) == 0
    terminal.reader.join(LONG_SECONDS)
    lines = terminal.text.replace("\r", "").replace("\x1b[0m", "").split("\n")
    plain = [line.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[32m", "") for line in lines]
    assert max(len(line) for line in plain) <= 80
    values = "".join(line[plain[0].index("VALUE"):].replace(" ", "") for line in plain)
    assert values.count(OTHER_PIN) == 2 and values.count("bad.example") == 40
    piped = subprocess.run(words, cwd=str(REPOSITORY_ROOT), stdout=subprocess.PIPE, universal_newlines=True)
    assert piped.stdout.count("bad.example") == 40


def test_a_conf_that_is_named_and_missing_is_a_usage_error(fleet, capsys):
    fleet.conf += ".not"
    assert fleet.config() == 2 and "no such file" in capsys.readouterr().err
    with pytest.raises(UsageError):
        config_file(fleet.conf)


def test_a_guest_in_an_installroot_has_no_say_in_the_settings(fleet, capsys, monkeypatch):
    monkeypatch.setattr(settings_module, "CONFIG_FILES", (fleet.conf,))
    for path in ("etc/yum/pluginconf.d/xcpng-mirrors.conf", "etc/dnf/plugins/xcpng-mirrors.conf", "etc/xcpng-mirrors.d/9.conf"):
        os.makedirs(os.path.dirname(os.path.join(fleet.root, path)))
        fleet.write(os.path.join(fleet.root, path), "[main]\ncommand=/tmp/evil\n")
    assert main(["config", "--installroot", fleet.root, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["files"] == [fleet.conf] and "/tmp/evil" not in str(answer)
