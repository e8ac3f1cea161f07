"""The main job with a real dnf: what an admin sees when he types ``dnf update`` amid bad mirrors."""
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time

import pytest

from tests.lab.faults import FAULTS
from tests.lab.plugin import cache_path, command_path, install_plugin, patient_command, state_path
from tests.support.faults_table import METADATA_FAULTS, PACKAGE_FAULTS, TRUST_FAULTS, good_mirrors, listed, own_lines
from tests.support.own_fragments import OwnFragments

pytestmark = pytest.mark.dnf


@pytest.fixture
def host(lab, tmp_path):
    """A host with the plugin, whose rpmdb trusts the key."""
    made = lab.installroot(str(tmp_path / "host"))
    install_plugin(made, lab)
    return made


def test_every_fault_of_the_lab_is_in_one_of_these_tables():
    later = {"stalling-packages", "slow-packages", "other-key-packages", "unsigned-packages"}
    assert set(METADATA_FAULTS) | set(PACKAGE_FAULTS) | later == set(FAULTS)


@pytest.mark.parametrize("fault", sorted(METADATA_FAULTS) + PACKAGE_FAULTS)
def test_an_update_survives_a_first_mirror_that_is(fault, lab, host):
    good_mirrors(lab, fault)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stdout + done.stderr
    said = own_lines(done)
    if fault not in TRUST_FAULTS:  # such a mirror may answer after the good ones have decided; the next test has no others
        assert said == []


@pytest.mark.parametrize("fault", sorted(fault for fault, reference in METADATA_FAULTS.items() if reference))
def test_memory_and_warning_name_what_was_wrong_with_a_mirror_that_is(fault, lab, host):
    good_mirrors(lab, fault)
    lab.set_order(["bad0"])
    done = host.dnf("check-update")
    said = own_lines(done)
    assert len(said) == (2 if fault in TRUST_FAULTS else 0)  # one a repository
    assert all(line in done.stderr and METADATA_FAULTS[fault] in line for line in said)
    with open(state_path(host, "xcp-ng-updates", "mirrors.json")) as stream:
        records = json.load(stream)["records"]
    assert records[lab.mirrors["bad0"].url + "8/8.3/updates/x86_64/"]["outcome"] == METADATA_FAULTS[fault]


def test_cve_2018_0501_the_mirror_after_a_bad_one_is_proven_too(lab, host):
    good_mirrors(lab, "http-503", "bad-signature")
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0")
    with open(state_path(host, "xcp-ng-updates", "mirrors.json")) as stream:
        usable = " ".join(json.load(stream)["usable"])
    assert lab.mirrors["good1"].url in usable and lab.mirrors["bad1"].url not in usable


@pytest.mark.parametrize("fault,reference", [("bad-signature", "signature-invalid"), ("no-asc", "signature-missing"),
                                             ("other-key", "unknown-key"), ("weak-digest", "weak-digest")])
def test_no_mirror_with_a_good_signature_stops_the_update_by_name(fault, reference, lab, host):
    for number in range(3):
        lab.add_mirror("bad{}".format(number), fault=fault)
    lab.origin.server.refuse()
    done = host.dnf("-y", "install", "lab-agent")
    assert done.returncode == 1 and host.version("lab-agent") == ""
    assert "xcpng-mirrors: xcp-ng-" in done.stderr and reference in done.stderr


def test_all_unreachable_leaves_stock_behaviour_and_one_warning(lab, host):
    for number in range(3):
        lab.add_mirror("bad{}".format(number), fault="refused")
    lab.origin.server.refuse()
    done = host.dnf("-y", "install", "lab-agent")
    assert len([line for line in own_lines(done) if "xcp-ng-base, xcp-ng-updates are left as they are: " in line]) == 1
    assert host.version("lab-agent") == ""


def test_redirector_down_on_the_first_run_uses_the_origin(lab, host):
    lab.redirector.server.refuse()
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])


def test_redirector_down_later_uses_the_list_of_last_time(lab, host):
    good_mirrors(lab)
    assert host.dnf("check-update").returncode in (0, 100)
    lab.redirector.server.refuse()
    lab.log.clear()
    done = host.dnf("-y", "--refresh", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])
    assert {"good1", "good2"} <= lab.log.contacted() and "origin" not in lab.log.contacted()


def test_redirector_alternating_between_a_stale_and_a_good_mirror(lab, host):
    lab.add_mirror("old", fault="stale")
    lab.add_mirror("new")
    lab.alternate(["old", "new"])
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])


def test_rollback_after_clean_all_is_refused_even_if_every_mirror_agrees(lab, host):
    good_mirrors(lab)
    host.dnf("check-update")
    lab.publish("old")
    host.dnf("clean", "all")
    done = host.dnf("-y", "install", "lab-agent")
    assert done.returncode == 1 and host.version("lab-agent") == ""
    assert "rollback" in done.stderr and "--accept-rollback" in done.stderr


def test_what_was_published_since_the_last_look_is_installed_at_once(lab, host):
    """Who only looks may hear of it later, for the mirrors' sake; who updates must not be told "nothing to do"."""
    good_mirrors(lab)
    lab.publish("old")
    host.dnf("check-update")
    lab.publish("new")
    past = time.time() - 3600
    for name in ("xcp-ng-base", "xcp-ng-updates"):
        os.utime(cache_path(host, name, "cachecookie"), (past, past))
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])


def test_a_look_that_finds_nothing_new_asks_the_redirector_for_one_digest_a_repository_and_nobody_else(lab, host, tmp_path):
    install_plugin(host, lab, patient_command(str(tmp_path)))
    good_mirrors(lab)
    first = host.dnf("check-update")
    past, ids = time.time() - 1200, ("xcp-ng-base", "xcp-ng-updates")
    for name in ids:
        os.utime(cache_path(host, name, "cachecookie"), (past, past))
        os.utime(cache_path(host, name, "repodata", "repomd.xml"), (past, past))
    asked = len(lab.log.requests())
    second = host.dnf("check-update")
    assert (second.returncode, own_lines(second), "of the lab" in second.stdout) == (first.returncode, [], False)
    assert sorted(entry.target for entry in lab.log.requests()[asked:]) == sorted(
        "/8/8.3/{}/x86_64/repodata/repomd.xml?sha256".format(name[len("xcp-ng-"):]) for name in ids)
    asked = len(lab.log.requests())
    assert host.dnf("check-update").returncode == first.returncode
    assert len(lab.log.requests()) == asked, "the cache is as good as new"


def test_first_run_without_yes_asks_nothing_if_the_rpmdb_has_the_key(lab, host):
    good_mirrors(lab)
    done = host.dnf("check-update")
    assert done.returncode in (0, 100) and "Importing GPG key" not in done.stdout + done.stderr
    assert "xcp-ng" in host.dnf("repolist", "-v").stdout


def test_first_run_of_a_host_without_the_key_asks_for_packages_only_because_metadata_is_proven_by_the_pinned_key(lab, tmp_path):
    good_mirrors(lab)
    stock = lab.installroot(str(tmp_path / "stock"), import_key=False)
    ours = lab.installroot(str(tmp_path / "ours"), import_key=False)
    install_plugin(ours, lab)
    answers = [host.dnf("makecache") for host in (stock, ours)]
    assert [answer.returncode for answer in answers] == [1, 0]
    assert ["Importing GPG key" in answer.stdout + answer.stderr for answer in answers] == [True, False]
    answers = [host.dnf("install", "lab-agent") for host in (stock, ours)]
    assert [answer.returncode for answer in answers] == [1, 1] and ours.version("lab-agent") == ""


def test_a_warm_second_run_asks_nobody_and_starts_no_engine(lab, host, tmp_path):
    good_mirrors(lab)
    command = str(tmp_path / "command")
    os.symlink(command_path(), command)
    install_plugin(host, lab, command=command)
    host.dnf("check-update")
    lab.log.clear()
    log = os.path.join(host.root, "var", "log", "xcpng-mirrors.log")
    before = os.stat(log)
    os.unlink(command)
    done = host.dnf("check-update")
    assert done.returncode in (0, 100) and own_lines(done) == []
    assert lab.log.connections() == [] and os.stat(log).st_mtime_ns == before.st_mtime_ns


def test_an_install_from_a_warm_cache_starts_the_engine_while_dnf_loads(lab, host, tmp_path):
    good_mirrors(lab)
    engine, heard = tmp_path / "engine", tmp_path / "heard"
    engine.write_text("#!/bin/sh\ntee -a {} | {} engine\n".format(heard, command_path()))
    engine.chmod(0o755)
    install_plugin(host, lab, command=str(engine))
    host.dnf("check-update")
    heard.write_text("")
    assert host.dnf("-y", "install", "lab-agent").returncode == 0 and host.version("lab-agent") == "2.0"
    said = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [each["action"] for each in said] == ["prepare", "accept", "packages"]
    assert said[0]["packages"] and [each["id"] for each in said[0]["repositories"]] == ["xcp-ng-base", "xcp-ng-updates"]


def requests_of(lab):
    """What was asked of whom, without what differs from run to run (order is dnf's own, it downloads in parallel)."""
    return sorted((entry.server, entry.method, entry.target, sorted(entry.headers.items())) for entry in lab.log.requests())


@pytest.mark.parametrize("off", ["enabled=0", "--disableplugin", "outside repos=", "user's metalink", "HTTPS proxy form"])
def test_switched_off_in_any_way_the_requests_are_those_of_stock_dnf(off, lab, tmp_path):
    good_mirrors(lab)
    hosts = {name: lab.installroot(str(tmp_path / name), plugins=name == "ours") for name in ("stock", "ours")}
    settings = {"enabled=0": {"enabled": 0}, "outside repos=": {"repos": "other-*"}}.get(off, {})
    install_plugin(hosts["ours"], lab, **settings)
    arguments = ["--disableplugin=xcpng-mirrors"] if off == "--disableplugin" else []
    for host in hosts.values():
        if off == "user's metalink":
            lab.repo_file(host.repos, extra="mirrorlist=file://{}/list\n".format(host.folder))
            with open(os.path.join(host.folder, "list"), "w") as stream:
                stream.write(lab.mirrors["good1"].url + "8/8.3/updates/x86_64/\n")
        if off == "HTTPS proxy form":
            lab.repo_file(host.repos, extra="")
            path = os.path.join(host.repos, "xcp-ng.repo")
            with open(path) as stream:
                text = stream.read()
            with open(path, "w") as stream:
                stream.write(text.replace("baseurl=http://", "baseurl=http://HTTPS///"))
    seen = {}
    for name, host in hosts.items():
        lab.log.clear()
        done = host.dnf("-y", *(arguments + ["install", "lab-agent"]))
        seen[name] = (done.returncode, host.version("lab-agent"), requests_of(lab))
    assert seen["ours"] == seen["stock"]
    assert not os.path.exists(state_path(hosts["ours"]))


@pytest.mark.parametrize("command", [["history"], ["clean", "all"], ["repolist"], ["-C", "check-update"]])
def test_these_commands_cause_no_request_and_no_change(command, lab, host):
    good_mirrors(lab)
    host.dnf(*command)
    assert lab.log.connections() == [] and not os.path.exists(state_path(host))


def test_cache_only_finds_the_cache_that_the_plugin_made(lab, host):
    good_mirrors(lab)
    host.dnf("check-update")
    lab.log.clear()
    done = host.dnf("-C", "list", "lab-agent")
    assert done.returncode == 0 and "2.0" in listed(done) and lab.log.connections() == []


def test_refresh_asks_again_though_the_last_answer_is_young(lab, host):
    good_mirrors(lab)
    lab.publish("old")
    host.dnf("check-update")
    lab.publish("new")
    assert "2.0" not in listed(host.dnf("list", "lab-agent"))
    done = host.dnf("--refresh", "list", "lab-agent")
    assert "2.0" in listed(done) and own_lines(done) == []


@pytest.mark.parametrize("command", ["/nonexistent", "/bin/false", "/bin/cat", "/dev/null"])
def test_an_engine_that_fails_is_told_once_to_who_looks_and_stops_who_installs(command, lab, host):
    good_mirrors(lab)
    install_plugin(host, lab, command=command, deadline=1)
    for words, code in ((["-y", "list", "lab-agent"], 0), (["-y", "install", "lab-agent"], 1)):
        done = host.dnf(*words)
        said = [line for line in own_lines(done) if "xcp-ng-base, xcp-ng-updates: unproven: " in line]
        assert (done.returncode, host.version("lab-agent"), own_lines(done)[:1]) == (code, "", said[:1]), done.stderr
        assert len(own_lines(done)) == 1 + code and all("--disableplugin=xcpng-mirrors" in line for line in own_lines(done))


def test_the_high_water_mark_is_raised_only_when_dnf_has_accepted(lab, host):
    good_mirrors(lab)
    accepted = state_path(host, "xcp-ng-updates", "accepted.json")
    host.dnf("history")
    assert not os.path.exists(accepted)
    host.dnf("check-update")
    with open(accepted) as stream:
        mark = json.load(stream)
    with open(os.path.join(lab.trees.path("new"), "8/8.3/updates/x86_64/repodata/repomd.xml"), "rb") as stream:
        raw = stream.read()
    assert mark["sha256"] == hashlib.sha256(raw).hexdigest()


def test_old_metadata_in_the_place_of_what_was_proven_is_refused(lab, host, tmp_path):
    """dnf would load it without a word: "nothing to do" on a vulnerable host."""
    good_mirrors(lab)
    lab.publish("old")
    host.dnf("-y", "install", "lab-agent")
    engine, answer = tmp_path / "engine", {"status": "resolved", "mirrors": [], "sha256": "a" * 64}
    engine.write_text("#!/bin/sh\nread request\necho '{}'\n".format(
        json.dumps({"event": "result", "repositories": {"xcp-ng-base": answer, "xcp-ng-updates": answer}})))
    engine.chmod(0o755)
    install_plugin(host, lab, command=str(engine))
    done = host.dnf("-y", "--refresh", "update")
    assert done.returncode == 1 and "Nothing to do" not in done.stdout
    assert "xcpng-mirrors: xcp-ng-base, xcp-ng-updates: stale" in done.stderr and "try again" in done.stderr


def test_two_dnf_at_once_both_succeed(lab, tmp_path, host):
    good_mirrors(lab, "mute")
    runs = [subprocess.Popen(host.command("check-update"), env=host.environment, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert all(run.returncode in (0, 100) for run in runs), outputs
    assert all(b"xcpng-mirrors" not in stdout + stderr for stdout, stderr in outputs)


def test_a_repository_whose_file_turns_repo_gpgcheck_off_is_proven_all_the_same_and_told(lab, host):
    good_mirrors(lab, "bad-signature")
    path = os.path.join(host.repos, "xcp-ng.repo")
    with open(path) as stream:
        text = stream.read()
    with open(path, "w") as stream:
        stream.write(text.replace("repo_gpgcheck=1", "repo_gpgcheck=0"))
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0")
    assert done.stderr.count("repo_gpgcheck=0 in its .repo file") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_is_not_root_starts_no_engine_and_changes_no_state(lab):
    good_mirrors(lab)
    folder = tempfile.mkdtemp(prefix="lab-user-")
    try:
        os.chmod(folder, 0o755)
        host = lab.installroot(os.path.join(folder, "host"))
        install_plugin(host, lab)
        subprocess.run(["chmod", "-R", "a+rwX", host.folder], check=True)
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] + host.command("-y", "repolist", "-v"),
                              env=dict(host.environment, HOME=folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
        assert all("Loaded plugins" in line for line in own_lines(done)) and own_lines(done)
        assert "redirector" in lab.log.contacted()  # dnf itself went on as stock dnf does, from its own cache folder
        assert not any("mirrorlist" in entry.target for entry in lab.log.requests())
        assert not os.path.exists(state_path(host))
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("damage", ["missing", "read-only", "half-written", "another version"])
def test_the_next_update_works_with_a_state_that_is(damage, lab, host):
    good_mirrors(lab)
    state = state_path(host)
    if damage != "missing":
        host.dnf("check-update")
        for repository in ("xcp-ng-base", "xcp-ng-updates"):
            for name in ("mirrors.json", "accepted.json"):
                path = os.path.join(state, repository, name)
                if damage == "half-written":
                    os.truncate(path, os.path.getsize(path) // 2)
                if damage == "another version":
                    with open(path) as stream:
                        text = stream.read()
                    with open(path, "w") as stream:
                        stream.write(text.replace('"schema": 1', '"schema": 99'))
    if damage == "read-only":  # also for root: a file where the folder should be
        shutil.rmtree(state)
        with open(state, "w"):
            pass
    done = host.dnf("-y", "--refresh", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stderr
    assert bool(own_lines(done)) == (damage != "missing")
    assert all(": state: " in line for line in own_lines(done))


@pytest.fixture
def fragments(lab, host, tmp_path):
    """The host's fragments."""
    own = OwnFragments(str(tmp_path / "copy"), str(tmp_path / "fragments"))
    own.link(host.plugins, "dnf")
    install_plugin(host, lab, own.command)
    return own


def test_a_fragment_counts_for_the_plugin_and_for_the_engine(lab, host, fragments):
    good_mirrors(lab)
    fragments.write("site.conf", "state_dir=/srv/remembered\n")
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])
    log = os.path.join(host.root, "var/log/xcpng-mirrors.log")
    assert os.path.exists(os.path.join(host.root, "srv/remembered/xcp-ng-updates/accepted.json"))
    before = os.stat(log).st_size
    assert host.dnf("check-update").returncode == 0 and os.stat(log).st_size == before  # warm by what the plugin itself found there


def test_a_fragment_switches_the_plugin_off(lab, host, fragments):
    good_mirrors(lab)
    fragments.write("off.conf", "enabled=0\n")
    done = host.dnf("-y", "install", "lab-agent")
    assert done.returncode == 0 and own_lines(done) == [] and not os.path.exists(state_path(host))


@pytest.mark.parametrize("weak", ["50.conf", ""])
def test_a_fragment_that_others_can_change_is_ignored_with_one_line_and_the_plugin_stays_on(weak, lab, host, fragments):
    good_mirrors(lab)
    fragments.write("50.conf", "command=/tmp/evil\nrepos=nothing\n")
    path = os.path.join(fragments.path, weak).rstrip("/")
    os.chmod(path, 0o777)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0") and os.path.exists(state_path(host, "xcp-ng-updates"))
    (line,) = own_lines(done)
    assert "configuration: " in line and line.endswith("chown root:root {0} && chmod go-w {0}".format(path))


def test_a_state_that_others_can_change_is_ignored_with_one_line_and_the_plugin_stays_on(lab, host):
    good_mirrors(lab)
    os.makedirs(state_path(host))
    os.chmod(state_path(host), 0o777)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0") and os.listdir(state_path(host)) == []
    (line,) = own_lines(done)
    assert "state: " in line and line.endswith("chown root:root {0} && chmod go-w {0}".format(state_path(host)))


def test_a_damaged_fragment_is_told_and_left_out(lab, host, fragments):
    good_mirrors(lab)
    fragments.write("bad.conf", "state_dir=/srv/remembered\nnonsense\n")
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0") and os.path.exists(state_path(host, "xcp-ng-updates"))
    assert any("bad.conf: line 3" in line and "it is ignored" in line for line in own_lines(done))
