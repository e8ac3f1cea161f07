"""The cache as the hand-over, with yum (test_yum.py says which), on the days when something is wrong with it."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab.plugin import command_path
from tests.support.dying_engine import DyingEngine
from tests.support.faults_table import good_mirrors
from tests.support.file_faults import plant
from tests.support.yum_host import PYTHONS, UPDATES, YumHost, own_warnings

BASE = "xcp-ng-base"


@pytest.fixture(params=PYTHONS[:1])
def host(request, lab, tmp_path):
    """A host with the plugin that has seen the old state, and two good mirrors."""
    made = YumHost(lab, str(tmp_path / "host"), request.param)
    made.install_plugin()
    good_mirrors(lab)
    return made


def by_yum(lab):
    """What yum itself asked for of the metadata."""
    return [entry for entry in lab.log.requests()
            if "/repodata/" in entry.path and not entry.headers.get("user-agent", "").startswith("xcpng-mirrors")]


def cached(host, repository, name):
    """The path of a file in yum's cache of a repository: by its name, by the end of it, or "" for the folder."""
    folder = os.path.dirname(host.cached("repomd.xml", repository))
    return os.path.join(folder, next((each for each in os.listdir(folder) if each.endswith(name)), name) if name else "")


@pytest.mark.parametrize("kind", ["missing", "damaged", "truncated", "link", "dangling link", "directory", "huge"])
@pytest.mark.parametrize("name", ["", "-primary.xml.gz", "repomd.xml", "repomd.xml.asc", "cachecookie"])
def test_what_is_wrong_with_the_cache_is_mended_when_it_is_filled(name, kind, lab, host):
    if not name and kind != "missing":
        pytest.skip("a folder is missing, or there")
    lab.publish("old")
    assert host.yum("check-update").returncode in (0, 100)
    lab.publish("new")
    for repository in (BASE, UPDATES):
        path = cached(host, repository, name)
        if not name:
            shutil.rmtree(path)
        elif kind == "damaged":
            with open(path, "r+b") as stream:
                stream.write(b"damaged")
        else:
            os.rename(path, path + ".away")
            if kind == "truncated":
                open(path, "w").close()
            elif kind != "missing":
                plant(Path(path), kind)
    host.expire()
    lab.log.clear()
    done = host.yum("install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_warnings(done)) == (0, "2.0", []), done.stdout + done.stderr
    assert by_yum(lab) == []


@pytest.mark.parametrize("what", ["full", "read-only"])
def test_a_cache_that_cannot_be_filled_is_told_once_and_nothing_is_lost(what, lab, host, disk):
    folder = os.path.join(host.root, "var/cache/yum")
    disk(folder, 4 << 20)
    lab.publish("old")
    assert host.yum("check-update").returncode in (0, 100)
    lab.publish("new")
    host.expire()
    if what == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    else:
        with open(os.path.join(folder, "ballast"), "wb", buffering=0) as stream, pytest.raises(OSError):
            while True:
                stream.write(b"x" * 4096)
    before = {name: open(cached(host, UPDATES, name), "rb").read() for name in ("repomd.xml", "-primary.xml.gz", "cachecookie")}
    done = host.yum("check-update")
    assert len([line for line in own_warnings(done) if "xcp-ng-base, xcp-ng-updates are left as they are: state: " in line]) == 1, done.stderr
    if what == "read-only":
        assert before == {name: open(cached(host, UPDATES, name), "rb").read() for name in before}
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    else:
        assert open(cached(host, UPDATES, "-primary.xml.gz"), "rb").read() == before["-primary.xml.gz"]
        os.unlink(os.path.join(folder, "ballast"))
    host.expire()
    done = host.yum("install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_warnings(done)) == (0, "2.0", [])


@pytest.mark.parametrize("where", ["another file system", "relative link"])
def test_a_cache_in_an_odd_place(where, lab, host, disk):
    folder = os.path.join(host.root, "var/cache/yum")
    if where == "another file system":
        disk(folder, 32 << 20)
    else:
        os.makedirs(os.path.join(host.root, "srv/elsewhere"))
        os.symlink("../../srv/elsewhere", folder)
    done = host.yum("install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_warnings(done), by_yum(lab)) == (0, "2.0", [], [])
    lab.log.clear()
    assert host.yum("check-update").returncode in (0, 100) and lab.log.connections() == []


def test_another_base_url_in_the_same_folder_begins_anew(lab, host):
    """yum's folder has no base URL in its name: what was filled for the first one is not used for the second, nor its mark."""
    host.yum("check-update")
    lab.publish("old")
    path = lab.repo_file(host.repos, ["updates"])
    with open(path) as stream:
        text = stream.read()
    with open(path, "w") as stream:
        stream.write(text.replace("8/8.3/updates/x86_64", "8/8.3/base/x86_64"))
    done = host.yum("install", "lab-base")
    assert (done.returncode, host.version("lab-base"), own_warnings(done), by_yum(lab)) == (0, "1.0", [], []), done.stdout + done.stderr
    lab.repo_file(host.repos)
    done = host.yum("check-update")
    assert done.returncode == 1 and "rollback" in done.stderr


def test_switched_off_afterwards_yum_goes_on_from_the_same_cache(lab, host):
    host.yum("check-update")
    lab.publish("old")
    lab.log.clear()
    host.install_plugin(enabled=0)
    done = host.yum("check-update")
    assert done.returncode in (0, 100) and lab.log.connections() == []
    assert os.path.getsize(cached(host, UPDATES, "cachecookie")) > 0


def test_an_engine_that_died_after_the_metadata_is_started_anew_for_the_packages(lab, host):
    engine = DyingEngine(host.folder, command_path(), dies=True)
    host.install_plugin(command=engine.command)
    done = host.yum("install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_warnings(done), by_yum(lab)) == (0, "2.0", [], []), done.stderr
    assert engine.count() == 2


def test_an_engine_that_hangs_during_the_fill_is_ended_and_yum_goes_on(lab, host):
    lab.publish("old")
    host.yum("check-update")
    lab.publish("new")
    host.expire()
    engine = DyingEngine(host.folder, command_path(), hangs=True)
    host.install_plugin(command=engine.command, deadline=1)
    done = host.yum("check-update")
    assert engine.count() == 1 and len([line for line in own_warnings(done) if "xcp-ng-base, xcp-ng-updates are left as they are: " in line]) == 1
    host.install_plugin()
    host.expire()
    done = host.yum("install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_warnings(done)) == (0, "2.0", [])
