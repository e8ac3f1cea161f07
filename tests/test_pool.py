"""Pools: every host asked through xe, one table; and all hosts take the same revision, whatever is published meanwhile."""
import json
import os

import pytest

from tests.lab.plugin import state_path
from tests.lab.pool import PoolHost, write_xe
from yum_plugin.cli.main import main

MISSING = "The requested plugin could not be found.\nname: xcpng-mirrors\n"
OFFLINE = "You attempted an operation which involves a host which could not be contacted.\nhost: 7b2c (hv3)\n"


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


@pytest.mark.dnf
def test_all_hosts_take_the_same_revision_although_an_update_is_published_between_them(pool, capsys):
    lab, hosts = pool.lab, pool.hosts
    lab.publish("middle")
    code, values, err = pool.json("--agree")
    assert (code, err, values["problem"], values["would_differ"]) == (0, "", None, []), err
    assert all(item["pinned_until"] for host in values["hosts"] for item in host["repositories"])

    def update(name, version):
        done = hosts[name].host.dnf("-y", "upgrade" if hosts[name].host.version("lab-agent") else "install", "lab-agent")
        assert (done.returncode, hosts[name].host.version("lab-agent")) == (0, version), done.stdout + done.stderr
        return done.stderr

    assert update("hv1", "1.5") == ""
    lab.publish("new")
    said = update("hv2", "1.5")
    assert "pinned: revision {} is taken until ".format(lab.trees.stamp("middle")) in said and "precheck --unpin" in said
    assert "revision {} is held back".format(lab.trees.stamp("new")) in said
    code, values, err = pool.json("--disagree")
    assert code == 0
    assert update("hv1", "2.0") == "" and update("hv2", "2.0") == ""
