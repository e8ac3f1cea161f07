"""``precheck``: whether a host can update now, as an exit code and as JSON for Xen Orchestra."""
import json
import os
from collections import namedtuple

import pytest

from tests.support.command import UPDATES, Admin
from yum_plugin.cli.main import main
from yum_plugin.host.rpmdb import Installed, installed_packages
from yum_plugin.pool import precheck
from yum_plugin.pool.precheck import DiskSpace, disk_space, fetch_bytes, install_bytes, updates
from yum_plugin.trust.primary import PrimaryPackage
from yum_plugin.util.places import inside

AGENT = "lab-agent-2.0-1.noarch.rpm"


class Orchestra(Admin):
    """Somebody who asks a host in an installroot."""

    def __init__(self, lab, folder, capsys, monkeypatch):
        super().__init__(lab, folder)
        self._capsys = capsys
        self.host = lab.installroot(self.path("host"))
        monkeypatch.setenv("HOME", self.host.folder)

    def ask(self, *arguments):
        """Exit code, the JSON, stderr."""
        code = self.command("precheck", "--json", *arguments)
        out, err = self._capsys.readouterr()
        answer = json.loads(out)
        assert (answer["schema"], answer["command"], answer["can_update"]) == (1, "precheck", code == 0)
        return code, answer, err

    def command(self, *words):
        return main(list(words) + ["--installroot", self.host.root, "--config", self.path("x.conf"), "--reposdir", self.repos])

    def references(self):
        code, answer, err = self.ask()
        assert len(err.splitlines()) == len(answer["reasons"])
        return code, [reason["reference"] for reason in answer["reasons"]]


@pytest.fixture
def orchestra(lab, tmp_path, capsys, monkeypatch):
    return Orchestra(lab, tmp_path, capsys, monkeypatch)


def test_a_host_that_lags_is_told_what_an_update_takes(orchestra, lab):
    lab.add_mirror("good")
    lab.publish("old")
    assert orchestra.host.dnf("-y", "install", "lab-agent", "lab-base").returncode == 0
    lab.publish("new")
    code, answer, err = orchestra.ask()
    assert (code, err, answer["reasons"]) == (0, "", [])
    path = os.path.join(lab.trees.path("new"), "8/8.3/updates/x86_64")
    (size,) = [os.path.getsize(os.path.join(folder, AGENT)) for folder, _, names in os.walk(path) if AGENT in names]
    assert "lab-agent-0:2.0-1.noarch" in answer["packages"] and answer["install_bytes"] > 20000
    assert answer["fetch_bytes"] >= size and (len(answer["packages"]) > 1 or answer["fetch_bytes"] == size)
    assert sum(space["needed_bytes"] for space in answer["space"]) == answer["fetch_bytes"] + answer["install_bytes"]
    by_id = {item["id"]: item for item in answer["repositories"]}
    updates_found = by_id["xcp-ng-updates"]
    assert updates_found["proven"] == [lab.mirrors["good"].url + "8/8.3/updates/x86_64/", lab.origin.url + "8/8.3/updates/x86_64/"][
        :len(updates_found["proven"])]
    assert updates_found["error"] is None and updates_found["current"]["age_seconds"] > 0
    assert not os.path.exists(inside(orchestra.host.root, orchestra.path("state")))  # it only looks


def test_a_host_without_anything_newer_can_update_too(orchestra, lab):
    lab.add_mirror("good")
    code, answer, _ = orchestra.ask()
    assert (code, answer["packages"], answer["fetch_bytes"]) == (0, [], 0)


def test_no_mirror_in_reach_is_an_exit_code_of_its_own(orchestra, lab):
    lab.redirector.server.refuse()
    lab.origin.server.refuse()
    assert orchestra.references() == (3, ["unreachable", "unreachable"])


def test_a_rollback_is_a_reason(orchestra, lab):
    lab.add_mirror("good")
    assert orchestra.command("refresh", "--accept-rollback", *UPDATES, "-q") == 0
    lab.publish("old")
    code, answer, err = orchestra.ask()
    assert (code, [reason["reference"] for reason in answer["reasons"]]) == (1, ["rollback"])
    assert answer["reasons"][0]["what"].startswith("xcp-ng-updates: ") and "rollback: xcp-ng-updates: " in err


def test_no_rpm_program_is_a_reason(orchestra, lab, monkeypatch):
    lab.add_mirror("good")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert orchestra.references() == (1, ["state"])


def test_no_room_is_a_reason(orchestra, lab, monkeypatch):
    lab.add_mirror("good")
    lab.publish("old")
    assert orchestra.host.dnf("-y", "install", "lab-agent").returncode == 0
    lab.publish("new")
    monkeypatch.setattr("yum_plugin.cli.precheck.disk_space", lambda packages, root: [DiskSpace(root, fetch_bytes(packages), 512)])
    code, answer, err = orchestra.ask()
    assert (code, [reason["reference"] for reason in answer["reasons"]]) == (1, ["state"]) and "512 B are free" in err


def test_a_plugin_that_is_switched_off_is_told(orchestra, lab):
    lab.add_mirror("good")
    orchestra.settings(enabled=0)
    code, answer, err = orchestra.ask()
    assert code == 0 and "switched off" in err and "switched off" in answer["warnings"][-1]


def test_people_get_it_in_words(orchestra, lab, capsys):
    lab.add_mirror("good")
    assert orchestra.command("precheck") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "this host can update now" and "0 packages to update, 0 B to fetch, 0 B installed" in lines
    assert any(line.startswith("xcp-ng-updates: revision ") and "proven: " in line for line in lines)


def package(version, name="a", arch="noarch", size=10, installed=None):
    return PrimaryPackage(name, 0, version, "1", arch, name + ".rpm", size, "sha256", "0" * 64, installed)


@pytest.mark.parametrize("installed, offered, newer", [
    (["1"], ["1"], []), (["1"], ["2"], ["2"]), (["2"], ["1"], []), (["1"], ["2", "10", "9"], ["10"]), (["1", "3"], ["2"], []),
    (["1", "3"], ["4"], ["4"]), ([], ["1"], []), (["1"], [], [])])  # fmt: skip
def test_the_newest_of_each_name_counts_if_it_is_newer(installed, offered, newer):
    host = [Installed("a", 0, version, "1", "noarch") for version in installed]
    assert [found.version for found in updates(host, [package(version) for version in offered])] == newer


def test_another_architecture_or_name_is_another_package():
    host = [Installed("a", 0, "1", "1", "x86_64"), Installed("b", 1, "1", "1", "noarch")]
    assert updates(host, [package("2"), package("9", "b"), package("3", "c")]) == []
    assert updates(host, [package("2", arch="x86_64")]) != []


def test_sizes_that_nobody_told_do_not_count():
    assert fetch_bytes([package("1"), package("1", size=None)]) == 10
    assert install_bytes([package("1"), package("1", installed=7)]) == 7


def test_cache_and_root_on_one_disk_need_room_together_and_apart_if_not(tmp_path, monkeypatch):
    (space,) = disk_space([package("1", installed=5)], str(tmp_path))
    assert (space.path, space.needed_bytes) == (str(tmp_path), 15) and space.free_bytes > 0
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "yum.conf").write_text("[main]\ncachedir=/srv/$basearch/yum\n")
    (tmp_path / "srv").mkdir()
    real = os.stat
    other = namedtuple("Other", "st_dev st_mode")
    monkeypatch.setattr(precheck.os, "stat", lambda path: other(-1, real(path).st_mode) if path.endswith("srv") else real(path))
    spaces = disk_space([package("1", installed=5)], str(tmp_path))
    assert [(os.path.basename(space.path), space.needed_bytes) for space in spaces] == [("srv", 10), (tmp_path.name, 5)]


def test_what_is_installed_is_read_without_the_keys(lab, tmp_path, monkeypatch):
    host = lab.installroot(str(tmp_path / "host"))
    monkeypatch.setenv("HOME", host.folder)
    assert installed_packages(host.root) == []
    assert host.dnf("-y", "install", "lab-agent").returncode == 0
    assert Installed("lab-agent", 0, "2.0", "1", "noarch") in installed_packages(host.root)
