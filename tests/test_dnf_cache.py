"""The cache as the hand-over, with a real dnf, on the days when something is wrong with it or somebody is in the way.

On each of them dnf ends as it would without the plugin, or better; what is wrong is reported once a repository, and dnf asks
nobody for metadata by itself unless it was left to it.
"""
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.lab.faults import Fault
from tests.lab.mirror import NOT_FOUND
from tests.lab.plugin import NAME, cache_path, command_path, install_plugin
from tests.lab.wire import SILENCE
from tests.support.dying_engine import DyingEngine
from tests.support.faults_table import good_mirrors, left_alone, listed, own_lines
from tests.support.file_faults import plant
from tests.support.texts import edit

pytestmark = pytest.mark.dnf

BASE, UPDATES = "xcp-ng-base", "xcp-ng-updates"
LEFT = "xcp-ng-base, xcp-ng-updates are left as they are: "


@pytest.fixture
def host(lab, tmp_path):
    """A host with the plugin, and two good mirrors."""
    good_mirrors(lab)
    made = lab.installroot(str(tmp_path / "host"))
    install_plugin(made, lab)
    return made


@pytest.fixture
def stock(lab, tmp_path):
    """A host without plugins."""
    return lab.installroot(str(tmp_path / "stock"), plugins=False)


def by_dnf(lab):
    """What dnf itself asked for of the metadata."""
    return [entry for entry in lab.log.requests() if "libdnf" in entry.headers.get("user-agent", "") and "/repodata/" in entry.path]


def cached(host, repository, name):
    """The path of a file in dnf's cache, by its beginning below the repository's folder or by the end of its name."""
    path = cache_path(host, repository, name)
    if name in ("", "repodata", "pubring", "cachecookie") or "/" in name:
        return path
    folder = cache_path(host, repository, "repodata")
    return os.path.join(folder, next(each for each in os.listdir(folder) if each.endswith(name)))


# Whatever has become of the cache.


def damage(host, what):
    """Do something to the caches of both repositories."""
    for repository in (BASE, UPDATES):
        name, _, kind = what.partition(" ")
        path = cached(host, repository, {"folder": "", "primary": "-primary.xml.gz", "repomd": "repodata/repomd.xml",
                                         "asc": "repodata/repomd.xml.asc"}.get(name, name))
        is_folder = os.path.isdir(path)
        if kind == "damaged":
            with open(path, "r+b") as stream:
                stream.write(b"damaged")
            continue
        os.rename(path, path + ".away") if name != "folder" else shutil.rmtree(path)
        if kind == "link":
            os.symlink(path + ".away", path)
        elif kind == "file" and is_folder:
            open(path, "w").close()
        elif kind == "truncated":
            open(path, "w").close()
        elif kind in ("directory", "dangling"):
            plant(Path(path), {"dangling": "dangling link"}.get(kind, kind))


# All other kinds are in the table of test_metadata_cache.py.
DAMAGES = ["folder missing", "primary missing", "primary truncated", "primary link", "repomd damaged", "asc missing", "pubring missing",
           "repodata link"]


@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_wrong_with_the_cache_is_mended_when_it_is_filled(what, lab, host):
    lab.publish("old")
    assert host.dnf("check-update").returncode in (0, 100)
    lab.publish("new")
    damage(host, what)
    lab.log.clear()
    done = host.dnf("-y", "--refresh", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", []), done.stdout + done.stderr
    assert by_dnf(lab) == []


@pytest.mark.parametrize("what", ["folder missing", "primary truncated", "repomd damaged", "asc damaged", "pubring missing",
                                  "cachecookie directory"])
def test_a_cache_that_is_damaged_while_it_is_young_ends_no_worse_than_stock(what, lab, host, stock):
    results = {}
    for each in (stock, host):
        assert each.dnf("-y", "check-update").returncode in (0, 100)
        if not (each is stock and what.startswith("cachecookie")):
            damage(each, what)
        done = each.dnf("-y", "install", "lab-agent")
        results[each] = (done.returncode, each.version("lab-agent"))
    assert results[host] in (results[stock], (0, "2.0")) and own_lines(done) == [], done.stdout + done.stderr


# A cache folder that cannot be filled, or is somewhere else.


def spoil(folder, what):
    """Fill a small file system, or make it read-only; return the function that undoes it."""
    if what == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        return lambda: subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    ballast = os.path.join(folder, "ballast")
    with open(ballast, "wb", buffering=0) as stream, pytest.raises(OSError):
        while True:
            stream.write(b"x" * 4096)
    return lambda: os.unlink(ballast)


@pytest.mark.parametrize("where", ["all of the cache", "the folder of each repository"])
@pytest.mark.parametrize("what", ["full", "read-only"])
def test_a_cache_that_cannot_be_filled_is_told_once_and_dnf_goes_on_as_stock(what, where, lab, host, stock, disk):
    results = {}
    for each in (stock, host):
        folders = [os.path.join(each.root, "var/cache/dnf")]
        lab.publish("old")
        if where != "all of the cache":
            assert each.dnf("-y", "check-update").returncode in (0, 100)
            folders = [cached(each, repository, "") for repository in (BASE, UPDATES)]
        for folder in folders:
            disk(folder, 4 << 20)
        assert each.dnf("-y", "--refresh", "check-update").returncode in (0, 100)
        lab.publish("new")
        undo = [spoil(folder, what) for folder in folders]
        done = each.dnf("-y", "--refresh", "list", "lab-agent")
        results[each] = (done.returncode, listed(done))
        for action in undo:
            action()
    assert results[host] == results[stock], done.stderr
    said = [line for line in own_lines(done) if "left as " in line and ": state: " in line]
    assert len(said) == 1 if where == "all of the cache" else left_alone(said) == [BASE, UPDATES], done.stderr
    old = host.dnf("-C", "list", "lab-agent")
    assert old.returncode == 0 and "1.0" in listed(old), "nothing is lost"


def test_a_cache_on_another_file_system_than_the_state(lab, host, disk):
    disk(os.path.join(host.root, "var/cache/dnf"), 32 << 20)
    lab.publish("old")
    assert host.dnf("check-update").returncode in (0, 100)
    lab.publish("new")
    done = host.dnf("-y", "--refresh", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done), by_dnf(lab)) == (0, "2.0", [], [])


@pytest.mark.parametrize("cachedir", ["relative link", "absolute link", "new folder", "dots"])
def test_a_cachedir_in_an_odd_place(cachedir, lab, host):
    where, usual = os.path.join(host.root, "srv/elsewhere"), os.path.join(host.root, "var/cache/dnf")
    os.makedirs(where)
    if cachedir.endswith("link"):
        os.rmdir(usual)
        os.symlink("../../srv/elsewhere" if cachedir == "relative link" else where, usual)
    else:
        edit(host.dnf_conf, "cachedir=/var/cache/dnf", "cachedir=/srv/" + {"new folder": "a/b/c"}.get(cachedir, "elsewhere/../elsewhere"))
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done), by_dnf(lab)) == (0, "2.0", [], [])
    lab.log.clear()
    assert host.dnf("check-update").returncode in (0, 100) and lab.log.connections() == []


def test_clean_all_leaves_nothing_of_ours_but_the_key_ring(lab, host):
    host.dnf("check-update")
    lab.publish("old")
    assert host.dnf("clean", "all").returncode == 0
    base = os.path.join(host.root, "var/cache/dnf")
    left = {os.path.relpath(os.path.join(folder, name), base).split("/", 1)[-1] for folder, _, names in os.walk(base) for name in names}
    # gpg's own files and dnf's; stock leaves a key ring, too
    assert {name for name in left if not name.startswith("pubring/")} <= {"tempfiles.json", "expired_repos.json"}, left
    lab.publish("new")
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done), by_dnf(lab)) == (0, "2.0", [], [])


# Somebody else.


def test_two_dnf_and_clean_all_at_once(lab, host):
    """dnf's own lock keeps them apart; whoever comes second goes on from what the first has left."""
    words = [["--refresh", "makecache"], ["clean", "all"], ["-y", "--refresh", "list", "lab-agent"], ["clean", "metadata"],
             ["--refresh", "check-update"]]
    runs = [subprocess.Popen(host.command(*each), env=host.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, universal_newlines=True) for each in words]
    outputs = [run.communicate(timeout=120) for run in runs]
    assert all(run.returncode in (0, 100) for run in runs), outputs
    assert not any("xcpng-mirrors" in text for output in outputs for text in output), outputs
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])


@pytest.mark.parametrize("gpgcheck", ["1", "0"])
@pytest.mark.parametrize("how", ["--disableplugin", "enabled=0", "removed"])
def test_switched_off_afterwards_dnf_goes_on_from_the_same_cache(how, gpgcheck, lab, host):
    edit(os.path.join(host.repos, "xcp-ng.repo"), "repo_gpgcheck=1", "repo_gpgcheck=" + gpgcheck)
    assert host.dnf("check-update").returncode in (0, 100) and by_dnf(lab) == []
    lab.publish("old")
    lab.log.clear()
    if how == "enabled=0":
        install_plugin(host, lab, enabled=0)
    elif how == "removed":
        os.unlink(os.path.join(host.plugins, NAME + ".py"))
    done = host.dnf(*(["--disableplugin=" + NAME] if how == "--disableplugin" else []) + ["list", "lab-agent"])
    assert done.returncode == 0 and "2.0" in listed(done) and lab.log.connections() == []


def test_after_refresh_the_cache_is_young_for_dnf_too(lab, host):
    """dnf notes a repository as expired for the next run if it was told to refresh it and has not fetched it itself."""
    host.dnf("check-update")
    host.dnf("--refresh", "check-update")
    lab.log.clear()
    done = host.dnf("--disableplugin=" + NAME, "list", "lab-agent")
    assert done.returncode == 0 and "2.0" in listed(done) and lab.log.connections() == []


def test_after_clean_expire_cache_mirrors_are_asked_once(lab, host):
    lab.publish("old")
    host.dnf("check-update")
    lab.publish("new")
    assert host.dnf("clean", "expire-cache").returncode == 0
    done = host.dnf("list", "lab-agent")
    assert "2.0" in listed(done) and (own_lines(done), by_dnf(lab)) == ([], [])
    lab.log.clear()
    assert "2.0" in listed(host.dnf("list", "lab-agent")) and lab.log.connections() == []


def test_a_user_who_is_not_root_has_a_cache_of_his_own_and_leaves_ours(lab, host):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    host.dnf("check-update")
    before = {name: os.stat(cached(host, UPDATES, name)).st_mtime_ns for name in ("cachecookie", "repodata")}
    folder = tempfile.mkdtemp(prefix="lab-user-")
    try:
        os.chmod(folder, 0o777)
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] + host.command("-y", "list", "lab-agent"),
                              env=dict(host.environment, HOME=folder, TMPDIR=folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
        assert not any("Loaded" not in line for line in own_lines(done)), done.stderr
        assert before == {name: os.stat(cached(host, UPDATES, name)).st_mtime_ns for name in before}
    finally:
        shutil.rmtree(folder)


# How long a cache holds.


@pytest.mark.parametrize("expire,age,asks", [(0, 1, True), (1, 5, True), (60, 5, False), (60, 120, True), (-1, 120, False), (-1, 3600, True)])
def test_a_cache_holds_as_long_as_both_metadata_expire_and_refresh_after_say(expire, age, asks, lab, host):
    option = "--setopt=metadata_expire={}".format(expire)
    host.dnf(option, "check-update")
    past = time.time() - age
    for repository in (BASE, UPDATES):
        os.utime(cached(host, repository, "cachecookie"), (past, past))
    lab.log.clear()
    done = host.dnf("-y", option, "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done), by_dnf(lab)) == (0, "2.0", [], [])
    asked = [entry for entry in lab.log.requests() if not entry.path.endswith(".rpm")]
    assert bool(asked) == asks, asked


def test_another_base_url_begins_anew_and_what_was_accepted_of_the_first_stays(lab, host):
    """As --releasever or another release gives it: a folder of its own, a mark of its own."""
    host.dnf("check-update")
    path = os.path.join(host.repos, "xcp-ng.repo")
    edit(path, "8/8.3/updates/x86_64", "8/8.3/base/x86_64")
    lab.publish("old")
    done = host.dnf("-y", "install", "lab-base")
    assert (done.returncode, host.version("lab-base")) == (1, ""), "the base repository itself went back"
    edit(path, "[xcp-ng-base]", "[other]")
    done = host.dnf("-y", "install", "lab-base", "--disablerepo=other")
    assert (done.returncode, host.version("lab-base"), own_lines(done)) == (0, "1.0", []), done.stderr
    edit(path, "8/8.3/base/x86_64", "8/8.3/updates/x86_64")
    done = host.dnf("check-update", "--disablerepo=other", "--refresh")
    assert done.returncode == 1 and "rollback" in done.stderr


# An engine or a mirror that dies or hangs.


def test_an_engine_that_died_after_the_metadata_is_started_anew_for_the_packages(lab, host):
    engine = DyingEngine(host.folder, command_path(), dies=True)
    install_plugin(host, lab, command=engine.command)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done), by_dnf(lab)) == (0, "2.0", [], []), done.stderr
    assert engine.count() == 2
    agents = {entry.headers.get("user-agent", "").split("/")[0] for entry in lab.log.requests(path_ends=".rpm")}
    assert agents == {NAME}


def test_an_engine_that_hangs_during_the_fill_is_ended_and_the_old_cache_is_whole(lab, host):
    lab.publish("old")
    host.dnf("check-update")
    lab.publish("new")
    engine = DyingEngine(host.folder, command_path(), hangs=True)
    install_plugin(host, lab, command=engine.command, deadline=1)
    done = host.dnf("--refresh", "list", "lab-agent")
    assert engine.count() == 1 and len([line for line in own_lines(done) if LEFT in line]) == 1
    assert done.returncode == 0 and "2.0" in listed(done), "dnf has fetched it as stock"
    install_plugin(host, lab)
    done = host.dnf("-y", "--refresh", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])


def silent(path_end):
    """A mirror that never answers the engine where a path ends so, and has no such file for dnf, which would wait long."""
    def answer(mirror, request):
        if not request.path.endswith(path_end):
            return None
        return SILENCE if request.headers.get("user-agent", "").startswith(NAME) else NOT_FOUND

    return (Fault("silent", "", answer),)


def test_mirrors_that_hang_during_the_fill_are_given_up_and_the_old_cache_stays(lab, host):
    install_plugin(host, lab, timeout=3, deadline=2)
    lab.publish("old")
    host.dnf("check-update")
    before = open(cached(host, UPDATES, "repodata/repomd.xml"), "rb").read()
    lab.publish("new")
    for mirror in list(lab.mirrors.values()) + [lab.origin]:
        mirror.faults = silent("-filelists.xml.gz")
    done = host.dnf("--refresh", "--setopt=timeout=3", "--setopt=retries=1", "list", "lab-agent", timeout_seconds=240)
    assert len([line for line in own_lines(done) if LEFT in line and "timed-out" in line]) == 1, done.stderr
    assert open(cached(host, UPDATES, "repodata/repomd.xml"), "rb").read() == before
    old = host.dnf("-C", "list", "lab-agent")
    assert old.returncode == 0 and "1.0" in listed(old)


def test_one_mirror_that_hangs_during_the_fill_costs_no_more_than_its_time_out(lab, host):
    lab.mirrors["good1"].faults = silent("-filelists.xml.gz")
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done), by_dnf(lab)) == (0, "2.0", [], [])


# What is seen.


def test_there_is_a_line_of_progress_a_repository_only_if_something_is_fetched(lab, host):
    first, second = host.dnf("check-update"), host.dnf("--refresh", "list", "lab-agent")
    assert [done.stdout.count("XCP-ng updates repository of the lab") for done in (first, second)] == [1, 0], second.stdout
    past = time.time() - 70
    for repository in (BASE, UPDATES):
        for name in os.listdir(cached(host, repository, "repodata")):
            os.utime(cached(host, repository, "repodata/" + name), (past, past))
    warm = host.dnf("list", "lab-agent")
    assert "Last metadata expiration check: 0:01:1" in warm.stdout + warm.stderr and by_dnf(lab) == []


def test_changelogs_are_loaded_from_the_same_cache(lab, host):
    """Metadata that is asked for later: "other" is filled for a command that reads it, and from then on."""
    host.dnf("check-update")
    assert host.dnf("repoquery", "--changelogs", "lab-agent").returncode == 0
    assert by_dnf(lab) == []
