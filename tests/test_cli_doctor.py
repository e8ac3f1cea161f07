"""``doctor``: what is wrong on a host is found, and the command that is named mends it."""
import json
import os
import shutil
import stat
import subprocess

import pytest

from tests.lab.plugin import install_plugin
from tests.support.command import Admin
from yum_plugin.cli import doctor
from yum_plugin.cli.common import host_checks
from yum_plugin.cli.main import main

pytestmark = pytest.mark.dnf
NAMES = ["settings", "plugin", "keys", "gpgcheck", "space", "tls", "confinement", "network", "mirrors"]


class Clinic(Admin):
    """A healthy host in an installroot, whose only package manager is the real dnf."""

    def __init__(self, lab, folder, capsys, monkeypatch):
        super().__init__(lab, folder)
        self._capsys = capsys
        self.host = lab.installroot(self.path("host"))
        self.conf = install_plugin(self.host, lab, connect_timeout=10, read_timeout=10)
        self.repos = self.host.repos
        monkeypatch.setenv("HOME", self.host.folder)
        self.tools = self.path("bin")
        os.makedirs(self.tools)
        for name in ("rpm", "sh", "sed", "python3"):
            os.symlink(shutil.which(name), os.path.join(self.tools, name))
        self.manager("dnf", 'exec {} --config {} "$@"'.format(shutil.which("dnf"), self.host.dnf_conf))
        monkeypatch.setenv("PATH", self.tools)

    def manager(self, name, script):
        path = os.path.join(self.tools, name)
        with open(path, "w") as stream:
            stream.write("#!/bin/sh\n{}\n".format(script))
        os.chmod(path, 0o755)

    def words(self, *arguments):
        return ["doctor", "--installroot", self.host.root, "--config", self.conf, "--reposdir", self.repos] + list(arguments)

    def examine(self):
        """Exit code, and the checks that found something: name -> problems."""
        code = main(self.words("--json"))
        answer = json.loads(self._capsys.readouterr().out)
        assert [check["name"] for check in answer["checks"]] == NAMES and answer["fine"] == (code == 0)
        assert all(problem["what"] and problem["remedy"] for check in answer["checks"] for problem in check["problems"])
        return code, {check["name"]: check["problems"] for check in answer["checks"] if check["problems"]}

    def only(self, name):
        """The problems of a check that must be the only one to find any."""
        code, found = self.examine()
        assert code == 1 and list(found) == [name], found
        return found[name]

    def put(self, path, text):
        path = os.path.join(self.host.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as stream:
            stream.write(text)
        return path


@pytest.fixture
def clinic(lab, tmp_path, capsys, monkeypatch):
    lab.add_mirror("good1")
    lab.add_mirror("good2")
    return Clinic(lab, tmp_path, capsys, monkeypatch)


def test_a_healthy_host_is_fine_and_dnf_itself_says_that_the_plugin_is_loaded(clinic, capsys):
    assert clinic.examine() == (0, {})
    assert main(clinic.words()) == 0
    out = capsys.readouterr().out
    assert "ok       plugin: loaded by dnf" in out and "its clock differs by" in out and "PROBLEM" not in out


def test_a_plugin_file_that_is_gone_is_noticed(clinic):
    os.unlink(os.path.join(clinic.host.plugins, "xcpng-mirrors.py"))
    (problem,) = clinic.only("plugin")
    assert "dnf does not load the plugin" in problem["what"] and "reinstall python3-dnf-plugin-xcpng-mirrors" in problem["remedy"]


def test_a_plugin_that_is_there_and_cannot_be_loaded_is_noticed(clinic):
    path = os.path.join(clinic.host.plugins, "xcpng-mirrors.py")
    os.unlink(path)
    with open(path, "w") as stream:
        stream.write("raise RuntimeError('broken')\n")
    assert "dnf does not load" in clinic.only("plugin")[0]["what"]


def test_a_plugin_switched_off_is_mended_by_the_command(clinic):
    with open(clinic.conf) as stream:
        text = stream.read()
    with open(clinic.conf, "w") as stream:
        stream.write(text.replace("enabled=1", "enabled=0"))
    code, found = clinic.examine()
    assert code == 1 and set(found) == {"settings", "plugin"} and "switched off" in found["settings"][0]["what"]
    subprocess.run(found["settings"][0]["remedy"], shell=True, check=True)
    assert clinic.examine() == (0, {})


def test_a_value_that_cannot_be_used_and_a_missing_command_are_told(clinic):
    install_plugin(clinic.host, clinic.lab, command="/", deadline="soon")
    bad, missing = clinic.only("settings")
    assert "deadline" in bad["what"] and bad["remedy"] == "xcpng-mirrors config" and missing["what"] == "/ is no program"


@pytest.mark.parametrize("change", [("repo_gpgcheck=1", "repo_gpgcheck=0"), ("gpgcheck=1\nrepo", "gpgcheck = no\nrepo"),
                                    ("repo_gpgcheck=1\n", "")])
def test_checks_that_are_off_are_mended_by_the_command(change, clinic):
    path = clinic.lab.repo_file(clinic.repos)
    with open(path) as stream:
        text = stream.read()
    before, after = text.split("[xcp-ng-updates]") if text.index("[xcp-ng-updates]") else ("", text)
    with open(path, "w") as stream:
        stream.write(before + "[xcp-ng-updates]" + after.replace(*change))
    (problem,) = clinic.only("gpgcheck")
    assert problem["what"].startswith("xcp-ng-updates: ") and path in problem["what"]
    subprocess.run(problem["remedy"], shell=True, check=True)
    assert clinic.examine() == (0, {})


def test_a_key_that_was_never_imported_is_mended_by_the_command(clinic):
    for key in clinic.host.rpm("-qa", "gpg-pubkey*").decode().split():
        clinic.host.rpm("-e", key)
    (problem,) = clinic.only("keys")
    subprocess.run(problem["remedy"], shell=True, check=True, env=dict(os.environ, **clinic.host.environment))
    assert clinic.examine() == (0, {})


def test_no_package_manager_is_told(clinic):
    os.unlink(os.path.join(clinic.tools, "dnf"))
    assert "neither yum nor dnf" in clinic.only("plugin")[0]["what"]


YUM_SAYS = "echo 'Loaded plugins: fastestmirror, priorities,'; echo '              : xcpng-mirrors'"


@pytest.mark.parametrize("script, words", [(YUM_SAYS, []), ("echo Loaded plugins: fastestmirror", ["does not load", "fastestmirror removes"]),
                                           ("exit 1", ["does not load", "fastestmirror removes"])])
def test_fastestmirrors_exclude_matters_only_where_yum_does_not_load_the_plugin(script, words, clinic):
    os.unlink(os.path.join(clinic.tools, "dnf"))
    clinic.manager("yum", script)
    host = clinic.lab.origin.server.authority.split(":")[0]
    path = clinic.put("etc/yum/pluginconf.d/fastestmirror.conf", "[main]\nenabled=1\nexclude=other.test, {}\n".format(host))
    code, found = clinic.examine()
    problems = found.pop("plugin", [])
    assert found == {} and [word in problem["what"] for word, problem in zip(words, problems)] == [True] * len(words)
    if problems:
        subprocess.run(problems[1]["remedy"], shell=True, check=True)
        with open(path) as stream:
            assert "#exclude=" in stream.read()


def test_a_yum_that_is_dnf_counts_once(clinic):
    os.symlink("dnf", os.path.join(clinic.tools, "yum"))
    assert clinic.examine() == (0, {})


@pytest.mark.parametrize("seconds, words", [(-7200, " min behind that of "), (86400, " ahead of that of ")])
def test_a_wrong_clock_is_told_by_the_servers(seconds, words, clinic, monkeypatch):
    real = host_checks.time.time
    for module in (doctor, host_checks):
        monkeypatch.setattr(module, "time", type("Clock", (), {"time": staticmethod(lambda: real() + seconds)}))
    code, found = clinic.examine()
    assert code == 1 and words in found["network"][0]["what"] and "timedatectl" in found["network"][0]["remedy"]


def test_a_redirector_that_is_down_and_a_name_that_is_unknown_are_told_apart(clinic):
    clinic.lab.redirector.server.refuse()
    problems = clinic.only("network")
    assert all("unreachable" in problem["what"] for problem in problems) and problems


def test_an_unknown_proxy_is_named(clinic):
    path = clinic.lab.repo_file(clinic.repos)
    with open(path) as stream:
        text = stream.read()
    with open(path, "w") as stream:
        stream.write(text.replace("gpgcheck=1\nrepo", "proxy=http://user:secret@proxy.invalid:3128/\ngpgcheck=1\nrepo"))
    code, found = clinic.examine()
    assert code == 1 and "proxy.invalid cannot be resolved" in found["network"][0]["what"] and "secret" not in json.dumps(found)


def test_a_ca_bundle_that_is_missing_is_named(clinic):
    path = clinic.lab.repo_file(clinic.repos)
    with open(path) as stream:
        text = stream.read()
    with open(path, "w") as stream:
        stream.write(text.replace(clinic.lab.ca_bundle, "/nonexistent.pem"))
    code, found = clinic.examine()
    assert code == 1 and "/nonexistent.pem" in found["tls"][0]["what"]


def test_little_room_is_told(clinic, monkeypatch):
    monkeypatch.setattr(host_checks, "LEAST_FREE_BYTES", 10**18)
    problems = clinic.only("space")
    assert "free on" in problems[0]["what"] and problems[0]["remedy"] == "dnf clean packages"


def test_a_mirror_that_is_refused_is_a_problem_and_one_that_fails_is_not(clinic):
    clinic.lab.add_mirror("down", "http-503")
    assert clinic.examine() == (0, {})
    clinic.lab.add_mirror("liar", "bad-signature")
    problems = clinic.only("mirrors")
    assert all("signature-invalid" in problem["what"] for problem in problems)


def test_the_doctor_changes_nothing(clinic):
    clinic.examine()
    state = os.path.join(clinic.host.root, "var/lib/xcpng-mirrors")
    assert not os.path.exists(state) and stat.S_IMODE(os.stat(clinic.conf).st_mode) & 0o600
