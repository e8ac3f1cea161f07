"""The main job with yum 3.4.3: the plugin file, the bridge and the engine behind yum's plugin interface.

By default a stand-in of yum runs the plugin, under Python 2.7 where there is one and under Python 3. With YUM=PATH of a
yum 3.4.3 (`make test-yum`) the same tests run that yum in an installroot; what only the stand-in can show is skipped then.
"""
import glob
import hashlib
import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.plugin import NAME, command_path, state_path
from tests.support.faults_table import METADATA_FAULTS, PACKAGE_FAULTS, TRUST_FAULTS, good_mirrors, own_lines
from tests.support.own_fragments import OwnFragments
from tests.support.yum_host import OLDEST, PLUGIN, PYTHONS, STAND_IN, UPDATES, YUM, YumHost, own_warnings

# Takes repo.urls in hand as fastestmirror does: asks for them, removes excluded hosts for good, builds the mirror group.
_FASTESTMIRROR = '''\
from yum.plugins import TYPE_CORE

requires_api_version = "2.5"
plugin_type = (TYPE_CORE,)
done_repos = set()


def prereposetup_hook(conduit):
    if conduit._base.conf.cache:
        return
    conduit.info(2, "Checking for new repos for mirrors" if done_repos else "Determining fastest mirrors")
    exclude = conduit.confString("main", "exclude", "")
    for repo in conduit.getRepos().listEnabled():
        if repo.id in done_repos or len(repo.urls) == 1:
            continue
        repo.urls = [url for url in repo.urls if url.split("/")[2] != exclude]
        conduit.info(2, " * %s: %s" % (repo.id, repo.urls[0].split("/")[2]))
        repo.failovermethod = "priority"
        repo.check()
        repo.setupGrab()
        done_repos.add(repo.id)
'''

@pytest.fixture(params=PYTHONS)
def host(request, lab, tmp_path):
    """A host with the plugin."""
    made = YumHost(lab, str(tmp_path / "host"), request.param)
    made.install_plugin()
    return made


@pytest.fixture
def stand_in(host):
    """A host whose yum is the stand-in, for what the real one does not let be seen or done."""
    if host.python == "yum":
        pytest.skip("only the stand-in shows this")
    return host


def resolved(lab, name, mirrors=("good1",), fills=True):
    """What the engine says about a repository whose mirrors are these, best first, after it has filled the cache."""
    folder = os.path.join(lab.trees.path("new"), "8/8.3", name, "x86_64/repodata")
    with open(os.path.join(folder, "repomd.xml"), "rb") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()
    return dict({"status": "resolved", "sha256": digest, "mirrors": list(mirrors)}, **({"fill": folder} if fills else {}))


def both_resolved(lab, **options):
    """The engine's last event if both repositories are resolved."""
    return result(xcp_ng_base=resolved(lab, "base", **options), xcp_ng_updates=resolved(lab, "updates", **options))


def result(**repositories):
    """The engine's last event; "_" in a name is "-"."""
    return {"event": "result", "repositories": {name.replace("_", "-"): value for name, value in repositories.items()}}


def left(text="no network"):
    """A result that leaves everything as it is."""
    return {"event": "result", "repositories": {"": {"status": "left", "text": text}}}


# The goal: with every fault at the first mirror, in all three columns of the table of faults.

COLUMNS = [("cold", "3"), ("fastestmirror", OLDEST), ("warm", OLDEST)]


@pytest.mark.parametrize("fault", sorted(METADATA_FAULTS) + PACKAGE_FAULTS)
@pytest.mark.parametrize("column,python", COLUMNS, ids=[column for column, _ in COLUMNS])
def test_an_update_survives_a_first_mirror_that_is(fault, column, python, lab, tmp_path):
    host = YumHost(lab, str(tmp_path / "host"), "yum" if YUM else python)
    host.install_plugin()
    if column != "cold":
        host.add_plugin("fastestmirror", _FASTESTMIRROR, exclude=lab.origin.server.authority)
    if column == "warm":
        lab.add_mirror("early")
        lab.publish("old")
        assert host.yum("install", "lab-agent").returncode == 0 and host.version("lab-agent") == "1.0"
        lab.publish("new")
        lab.set_order([])
        host.expire()
    good_mirrors(lab, fault)
    done = host.yum("update" if column == "warm" else "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stdout + done.stderr
    if fault not in TRUST_FAULTS:
        assert own_lines(done) in ([], ["Loaded plugins: fastestmirror, xcpng-mirrors"], ["Loaded plugins: xcpng-mirrors"])


def test_cve_2018_0501_the_mirror_after_a_bad_one_is_proven_too(lab, host):
    good_mirrors(lab, "http-503", "bad-signature")
    done = host.yum("install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0")
    with open(state_path(host, UPDATES, "mirrors.json")) as stream:
        usable = " ".join(json.load(stream)["usable"])
    assert lab.mirrors["good1"].url in usable and lab.mirrors["bad1"].url not in usable


@pytest.mark.parametrize("fault,reference", [("bad-signature", "signature-invalid"), ("no-asc", "signature-missing"),
                                             ("other-key", "unknown-key"), ("weak-digest", "weak-digest")])
def test_no_mirror_with_a_good_signature_stops_the_update_by_name(fault, reference, lab, host):
    for number in range(3):
        lab.add_mirror("bad{}".format(number), fault=fault)
    lab.origin.server.refuse()
    done = host.yum("install", "lab-agent")
    assert done.returncode == 1 and host.version("lab-agent") == ""
    assert "xcpng-mirrors: xcp-ng-" in done.stderr and reference in done.stderr


def test_rollback_after_clean_all_is_refused_even_if_every_mirror_agrees(lab, host):
    good_mirrors(lab)
    host.yum("check-update")
    lab.publish("old")
    host.yum("clean", "all")
    done = host.yum("install", "lab-agent")
    assert done.returncode == 1 and host.version("lab-agent") == ""
    assert "rollback" in done.stderr and "--accept-rollback" in done.stderr


def test_all_unreachable_warns_once_and_leaves_stock_behaviour(lab, host):
    for number in range(3):
        lab.add_mirror("bad{}".format(number), fault="refused")
    lab.origin.server.refuse()
    done = host.yum("install", "lab-agent")
    assert len([line for line in done.stderr.splitlines() if "xcp-ng-base, xcp-ng-updates are left as they are: " in line]) == 1
    assert host.version("lab-agent") == ""


def test_all_unreachable_with_old_metadata_only_warns(lab, host):
    good_mirrors(lab)
    host.yum("check-update")
    host.expire()
    for server in [lab.redirector, lab.origin] + list(lab.mirrors.values()):
        server.server.refuse()
    done = host.yum("check-update")
    assert done.returncode == 0 and "unreachable" in done.stderr


@pytest.mark.parametrize("command", ["/nonexistent", "/bin/false", "/bin/cat", "/dev/null"])
def test_an_engine_that_fails_is_told_once_to_who_looks_and_stops_who_installs(command, lab, stand_in):
    good_mirrors(lab)
    stand_in.install_plugin(command=command, deadline=1)
    for words, code in ((["list"], 0), (["install", "lab-agent"], 1)):
        done = stand_in.yum(*words)
        said = [line for line in own_warnings(done) if "xcp-ng-base, xcp-ng-updates: unproven: " in line]
        assert (done.returncode, stand_in.version("lab-agent"), len(said)) == (code, "", 1), done.stderr
        assert len(own_warnings(done)) == 1 + code and all("--disableplugin=xcpng-mirrors" in line for line in own_warnings(done))


# What yum.md says of hooks.


def test_trap_prereposetup_may_run_more_than_once(lab, host):
    good_mirrors(lab)
    host.fake_engine({"event": "warning", "repository": "", "text": "once"}, left())
    done = host.yum("makecache")  # sets the repositories up twice
    assert len([line for line in host.heard() if "action" in line]) == 1 and done.stderr.count("once") == 1


@pytest.mark.parametrize("content", ["2147483647", "rubbish"])
def test_a_lock_that_nobody_holds_any_more_costs_nothing_and_yums_own_is_released(content, lab, stand_in):
    good_mirrors(lab)
    path = os.path.join(stand_in.root, "var/run/yum.pid")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as stream:
        stream.write(content)
    done = stand_in.yum("install", "lab-agent")
    assert (done.returncode, stand_in.version("lab-agent"), own_lines(done)) == (0, "2.0", ["Loaded plugins: xcpng-mirrors"])
    assert not os.path.exists(path)


def test_two_yums_at_once_work_one_after_the_other(lab, stand_in):
    good_mirrors(lab)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: stand_in.yum("check-update"), range(2)))
    assert [run.returncode for run in runs] == [0, 0] and not any("internal" in run.stderr for run in runs)
    assert not os.path.exists(os.path.join(stand_in.root, "var/run/yum.pid"))


def test_trap_all_repositories_are_resolved_in_one_call(lab, host):
    good_mirrors(lab)
    host.fake_engine(left())
    host.yum("check-update")
    (request,) = host.heard()
    assert [repo["id"] for repo in request["repositories"]] == ["xcp-ng-base", UPDATES]
    assert request["config"] == os.path.join(host.pluginconf, NAME + ".conf") and request["installroot"] == host.root


def test_trap_prelistenabledrepos_also_fires_for_yum_config_manager_and_nothing_of_ours_reaches_a_repo_file(lab, stand_in):
    good_mirrors(lab)
    path = os.path.join(stand_in.repos, "xcp-ng.repo")
    assert stand_in.yum("config-manager-save", UPDATES).returncode == 0
    with open(path) as stream:
        saved = stream.read()
    os.unlink(os.path.join(stand_in.plugins, NAME + ".py"))
    lab.repo_file(stand_in.repos)
    stand_in.yum("config-manager-save", UPDATES)
    with open(path) as stream:
        assert stream.read() == saved and "metalink" not in saved


def test_trap_list_enabled_within_its_own_hook_never_returns(lab, host):
    good_mirrors(lab)
    host.add_plugin("fastestmirror", _FASTESTMIRROR, exclude="nobody")
    done = host.yum("check-update")
    assert done.returncode in (0, 100) and "internal" not in done.stderr


def test_trap_api_users_load_core_plugins_only(lab, stand_in):
    good_mirrors(lab)
    lab.publish("old")
    stand_in.yum("install", "lab-agent")
    lab.publish("new")
    stand_in.yum("clean", "expire-cache")
    done = stand_in.yum("api-check-update")
    assert done.returncode == 100 and "lab-agent.noarch 2.0-1" in done.stdout and done.stderr == ""
    with open(stand_in.cached("cachecookie")) as stream:
        assert stream.read().startswith("xcpng-mirrors ")


def test_trap_an_uncaught_exception_would_be_a_traceback(lab, stand_in):
    good_mirrors(lab)
    odd = {"status": "resolved", "sha256": "0" * 64, "mirrors": None}
    stand_in.fake_engine(result(xcp_ng_base=odd, xcp_ng_updates=odd))
    done = stand_in.yum("list")
    assert done.returncode == 0 and "2.0" in done.stdout
    assert "Traceback" not in done.stderr and done.stderr.count("the repositories are left as they are: internal: ") == 1


def test_trap_a_refusal_with_foreign_letters_still_reaches_the_admin(lab, host):
    host.fake_engine(result(xcp_ng_base={"status": "refused", "text": "rollback: \u00e4lter"}, xcp_ng_updates={"status": "left", "text": ""}))
    done = host.yum("check-update")
    assert done.returncode == 1 and "xcpng-mirrors: xcp-ng-base: rollback: ?lter" in done.stderr


@pytest.mark.parametrize("command", [["-C", "list"], ["history"], ["clean", "all"], ["clean", "expire-cache"]])
def test_trap_these_commands_cause_no_request_and_no_change(command, lab, host):
    good_mirrors(lab)
    host.yum(*command)
    assert lab.log.connections() == [] and not os.path.exists(state_path(host))


def test_trap_cache_only_works_with_the_cache_that_the_plugin_made(lab, host):
    good_mirrors(lab)
    host.yum("check-update")
    lab.log.clear()
    done = host.yum("-C", "list", "lab-agent")
    assert done.returncode == 0 and "2.0" in done.stdout and lab.log.connections() == []


@pytest.mark.parametrize("off", ["enabled=0", "no .conf", "--disableplugin", "--noplugins", "another user", "outside repos=",
                                 "user's metalink", "user's mirrorlist", "HTTPS proxy form"])
def test_trap_switched_off_in_any_way_a_repository_is_untouched_byte_for_byte(off, lab, tmp_path):
    good_mirrors(lab)
    words = [off + "=" + NAME] if off == "--disableplugin" else [off] if off == "--noplugins" else []
    user = {"STAND_IN_USER": "1000"} if off == "another user" else {}
    settings = {"enabled=0": {"enabled": 0}, "outside repos=": {"repos": "other-*"}}.get(off, {})
    seen = []
    for name in ("stock", "ours"):
        host = YumHost(lab, str(tmp_path / name), OLDEST)
        edit_repo_file(host, off, str(tmp_path / "list"), lab.mirrors["good1"].url)
        if name == "ours":
            conf = host.install_plugin(**settings)
            if off == "no .conf":
                os.unlink(conf)
        done = host.yum(*(words + ["makecache"]), **user)
        seen.append((done.returncode, dict(host.repository(), cachedir="")))
        assert "xcpng-mirrors:" not in done.stderr and not os.path.exists(state_path(host))
    assert seen[0] == seen[1]


def edit_repo_file(host, off, list_path, mirror):
    """Change the .repo file as the user, or Xen Orchestra's proxy, has."""
    path = os.path.join(host.repos, "xcp-ng.repo")
    with open(path) as stream:
        text = stream.read()
    if off.startswith("user's"):
        text = re.sub("(?m)^baseurl=.*$", "{}=file://{}".format(off[7:], list_path), text)
        with open(list_path, "w") as stream:
            stream.write(mirror + "8/8.3/updates/x86_64/\n")
    elif off == "HTTPS proxy form":
        text = text.replace("baseurl=http://", "baseurl=http://HTTPS///")
    with open(path, "w") as stream:
        stream.write(text)


# What yum.md says of a repository's attributes.


def test_a_repository_stays_as_the_admin_wrote_it_but_for_what_says_that_its_cache_is_fresh(lab, stand_in):
    good_mirrors(lab)
    stand_in.yum("history")
    before = stand_in.repository()
    assert stand_in.yum("check-update").returncode == 0
    after = stand_in.repository()
    changed = {name: after[name] for name in before if before[name] != after[name]}
    changed.pop("_urls", None)  # yum's own copy of baseurl=, made on first use
    assert changed == {"_metadataCurrent": True}


@pytest.mark.parametrize("expire", ["0", "1", "60", "-1"])
def test_no_request_for_metadata_is_left_to_yum_whatever_metadata_expire_says(expire, lab, host):
    good_mirrors(lab)
    lab.repo_file(host.repos, extra="metadata_expire={}\n".format(expire))
    for command in ("makecache", "check-update", "list"):
        lab.log.clear()
        assert host.yum(command).returncode in (0, 100)
        assert [entry for entry in lab.log.requests() if "urlgrabber" in entry.headers.get("user-agent", "")] == []


def test_new_metadata_is_listed_though_yum_would_go_on_with_its_cache_for_hours(lab, host):
    good_mirrors(lab)
    lab.publish("old")
    host.yum("check-update")
    lab.publish("new")
    host.expire()
    assert "2.0" in host.yum("install", "lab-agent").stdout


def test_a_filled_cache_costs_no_request_and_no_engine(lab, host, tmp_path):
    good_mirrors(lab)
    command = str(tmp_path / "command")
    os.symlink(command_path(), command)
    host.install_plugin(command=command)
    host.yum("check-update")
    os.unlink(command)
    lab.log.clear()
    done = host.yum("check-update")
    assert own_lines(done) in ([], ["Loaded plugins: xcpng-mirrors"]) and lab.log.connections() == []


@pytest.mark.parametrize("command", [["clean", "expire-cache"], ["clean", "metadata"], ["clean", "all"]])
def test_after_clean_the_mirrors_are_asked_again(command, lab, host):
    good_mirrors(lab)
    host.yum("check-update")
    host.yum(*command)
    lab.log.clear()
    assert host.yum("check-update").returncode in (0, 100)
    assert "redirector" in lab.log.contacted()


def test_makecache_asks_again_though_the_last_answer_is_young(lab, host):
    good_mirrors(lab)
    host.yum("check-update")
    lab.log.clear()
    host.yum("makecache")
    assert "redirector" in lab.log.contacted()


def test_trap_what_the_admin_has_set_is_not_tuned(lab, stand_in):
    good_mirrors(lab)
    lab.repo_file(stand_in.repos, extra="timeout=77\nminrate=88\n")
    stand_in.yum("check-update")
    assert (stand_in.repository()["timeout"], stand_in.repository()["minrate"]) == (77.0, 88)


# What yum.md says of the silent fall-back.


def test_trap_yum_falls_back_to_old_metadata_in_silence(lab, host):
    good_mirrors(lab)
    lab.publish("old")
    host.yum("install", "lab-agent")
    lab.publish("new")
    host.fake_engine(both_resolved(lab, fills=False))
    host.expire()
    done = host.yum("update")
    assert done.returncode == 1 and host.version("lab-agent") == "1.0"
    assert "xcpng-mirrors: xcp-ng-base, xcp-ng-updates: stale" in done.stderr
    assert not any("accepted" in line and line["accepted"] for line in host.heard())


def test_an_install_from_a_warm_cache_starts_the_engine_while_yum_loads(lab, stand_in, tmp_path):
    good_mirrors(lab)
    engine, heard = tmp_path / "recording-engine", tmp_path / "recorded"
    engine.write_text("#!/bin/sh\ntee -a {} | {} engine\n".format(heard, command_path()))
    engine.chmod(0o755)
    stand_in.install_plugin(command=str(engine))
    stand_in.yum("check-update")
    heard.write_text("")
    stand_in.yum("check-update")
    assert heard.read_text() == ""
    assert stand_in.yum("install", "lab-agent").returncode == 0
    said = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [each["action"] for each in said] == ["prepare", "accept", "packages"]
    assert said[0]["packages"] and sorted(each["id"] for each in said[0]["repositories"]) == ["xcp-ng-base", "xcp-ng-updates"]


def test_the_high_water_mark_is_raised_only_when_yum_has_accepted(lab, host):
    good_mirrors(lab)
    accepted = state_path(host, UPDATES, "accepted.json")
    host.yum("history")
    assert not os.path.exists(accepted)
    host.yum("check-update")
    with open(accepted) as stream:
        mark = json.load(stream)
    with open(os.path.join(lab.trees.path("new"), "8/8.3/updates/x86_64/repodata/repomd.xml"), "rb") as stream:
        assert mark["sha256"] == hashlib.sha256(stream.read()).hexdigest()


# What yum.md says of fastestmirror.


def test_trap_fastestmirror_leaves_ours_alone_and_does_for_others_what_it_did_before(lab, host):
    good_mirrors(lab)
    other = "http://{}/8/8.3/updates/x86_64/".format(lab.origin.server.authority)
    with open(os.path.join(host.repos, "other.repo"), "w") as stream:
        stream.write("[other]\nname=other\nbaseurl={0} {0}again/\nenabled=1\nrepo_gpgcheck=0\n".format(other))
    host.add_plugin("fastestmirror", _FASTESTMIRROR, exclude="nobody")
    with_ours = host.yum("makecache").stdout
    assert "Determining fastest mirrors" in with_ours and " * other: " in with_ours and " * xcp-ng" not in with_ours


def test_trap_fastestmirror_is_undocumented_inside(lab, host):
    good_mirrors(lab)
    host.add_plugin("fastestmirror", _FASTESTMIRROR.replace("done_repos", "other_name"), exclude="nobody")
    done = host.yum("makecache")
    assert done.returncode == 0 and "internal" not in done.stderr


# What yum.md says of downloads; more of job 2 is in the table above.


def test_trap_downloadonly_runs_predownload_only(lab, host):
    good_mirrors(lab, "corrupt-packages")
    done = host.yum("--downloadonly", "install", "lab-agent")
    assert done.returncode == 0 and host.version("lab-agent") == "", done.stderr
    with open(host.cached("packages/lab-agent*.rpm"), "rb") as stream:
        content = stream.read()
    with open(os.path.join(lab.trees.path("new"), "8/8.3/updates/x86_64/Packages/lab-agent-2.0-1.noarch.rpm"), "rb") as stream:
        assert stream.read() == content


def test_trap_localinstall_is_not_ours(lab, host):
    good_mirrors(lab)
    path = os.path.join(lab.trees.path("new"), "8/8.3/updates/x86_64/Packages/lab-agent-2.0-1.noarch.rpm")
    done = host.yum("localinstall", path)
    assert done.returncode == 0 and host.version("lab-agent") and os.path.exists(path) and "internal" not in done.stderr


def package_event(status, text=""):
    """The engine's last word on the first package of the updates."""
    return {"event": "package", "repository": UPDATES, "package": 0, "status": status, "reference": text, "text": text}


def status(word, text=""):
    """The engine's result of a request for packages."""
    return result(xcp_ng_updates={"status": word, "reference": text, "text": text})


@pytest.fixture
def one_mirror(lab, stand_in):
    """A function from what the engine says of packages to what comes of installing one; yum's own mirror is "good1"."""
    lab.add_mirror("good1")
    package = os.path.join(lab.trees.path("new"), "8/8.3/updates/x86_64/Packages/lab-agent-2.0-1.noarch.rpm")

    def install(*answers, own_fault=""):
        if own_fault:
            lab.origin.server.refuse()  # yum's own mirrors: the redirector's, and the origin
            lab.mirrors.pop("good1").close()
            lab.add_mirror("good1", fault=own_fault)
        stand_in.fake_engine(both_resolved(lab), packages=[[{"place": package} if event == "place" else event for event in answer] for answer in answers])
        done = stand_in.yum("install", "lab-agent")
        return done, stand_in.version("lab-agent")

    return install


def test_trap_a_package_in_its_place_is_not_asked_for(lab, stand_in, one_mirror):
    done, version = one_mirror(["place", package_event("verified"), status("verified")])
    assert (done.returncode, version, done.stderr) == (0, "2.0", "")
    assert not [entry for entry in lab.log.requests() if entry.target.endswith(".rpm")]
    (package,) = stand_in.heard()[-1]["repositories"][0]["packages"]
    assert package["target"] == stand_in.cached("packages") + "/lab-agent-2.0-1.noarch.rpm"
    assert [package[key] for key in ("name", "epoch", "version", "release", "arch")] == ["lab-agent", 0, "2.0", "1", "noarch"]
    assert package["location"] == "Packages/lab-agent-2.0-1.noarch.rpm" and package["size"] > 20000 and len(package["checksum"]) == 64


def test_what_yum_fetched_itself_is_verified_before_it_is_installed(stand_in, one_mirror):
    unavailable = [package_event("unavailable", "http-status"), status("unavailable", "http-status")]
    done, version = one_mirror(unavailable, [package_event("verified"), status("verified")])
    assert (done.returncode, version) == (0, "2.0")
    assert len([line for line in stand_in.heard() if line.get("action") == "packages"]) == 2


@pytest.mark.parametrize("second,said", [
    ([package_event("refused", "unknown-key"), status("refused", "unknown-key")], "unknown-key"),
    ([package_event("unavailable", "x"), status("unavailable", "x")], "could not be verified"),
    ([status("left", "busy")], "could not be verified"), ([], "could not be verified")])
def test_what_stays_bad_or_unproven_is_refused(second, said, one_mirror):
    done, version = one_mirror([package_event("unavailable", "x"), status("unavailable", "x")], second)
    assert (done.returncode, version) == (1, "") and said in done.stderr


def test_trap_what_yum_could_not_get_is_put_in_place_and_its_error_taken_back(one_mirror):
    unavailable = [package_event("unavailable", "x"), status("unavailable", "x")]
    done, version = one_mirror(unavailable, ["place", package_event("verified"), status("verified")], own_fault="packages-404")
    assert (done.returncode, version) == (0, "2.0")


def test_what_nobody_could_get_is_yums_own_error(one_mirror):
    unavailable = [package_event("unavailable", "x"), status("unavailable", "x")]
    done, version = one_mirror(unavailable, unavailable, own_fault="packages-404")
    assert (done.returncode, version) == (1, "") and "Error downloading packages" in done.stderr


def test_an_engine_that_cannot_do_packages_leaves_them_to_yum_and_says_so_and_what_it_cannot_verify_is_not_installed(one_mirror):
    done, version = one_mirror([])
    assert (done.returncode, version) == (1, "")
    assert done.stderr.count("xcpng-mirrors: packages are left to yum, and verified after it: ") == 1
    assert "xcpng-mirrors: xcp-ng-updates: unverified: " in done.stderr and "internal" not in done.stderr


def test_trap_a_package_that_the_engine_said_nothing_of_hides_no_other(lab, stand_in):
    """An attribute that a package object lacks is a KeyError: two packages by another key went in when our hook died of it."""
    lab.add_mirror("good1")
    left_and_unavailable = result(xcp_ng_base={"status": "left", "text": "busy"},
                                  xcp_ng_updates={"status": "unavailable", "reference": "x", "text": "x"})
    stand_in.fake_engine(both_resolved(lab), packages=[
        [package_event("unavailable", "x"), left_and_unavailable], [package_event("refused", "unknown-key"), status("refused", "unknown-key")]])
    done = stand_in.yum("install", "lab-base", "lab-agent")
    assert (done.returncode, stand_in.version("lab-base"), stand_in.version("lab-agent")) == (1, "", "") and "unknown-key" in done.stderr


@pytest.mark.parametrize("options", [[], ["--downloadonly"]])
@pytest.mark.parametrize("state,reference", [("other-key-packages", "unknown-key"), ("unsigned-packages", "unsigned")])
def test_packages_without_the_pinned_signature_are_refused_by_name(state, reference, options, lab, host):
    good_mirrors(lab)
    lab.publish(state)
    done = host.yum("install", "lab-agent", *options)
    assert done.returncode == 1 and host.version("lab-agent") == ""
    assert "xcpng-mirrors: xcp-ng-updates: " + reference in done.stderr
    assert not glob.glob(host.cached("packages") + "/*.rpm")


def test_a_progress_line_in_yums_manner(lab, stand_in):
    good_mirrors(lab)
    assert "lab-agent-2.0-1.noarch.rpm | 100%" in stand_in.yum("install", "lab-agent").stdout


# Settings handed on, and what is shown.


@pytest.mark.parametrize("line,expected", [("", None), ("proxy=_none_", "_none_"), ("proxy=http://127.0.0.9:3128", "http://127.0.0.9:3128")])
def test_yums_proxy_settings_reach_the_engine(line, expected, lab, host):
    lab.repo_file(host.repos, extra=line + "\nproxy_username=me\nproxy_password=secret\n")
    host.fake_engine({"event": "result", "repositories": {"": {"status": "refused", "text": "stop here"}}})
    host.yum("check-update")
    asked = host.heard()[0]["repositories"][1]
    assert (asked["proxy"], asked["proxy_username"], asked["proxy_password"]) == (expected, "me", "secret")
    assert (asked["base_urls"], asked["sslcacert"], asked["sslverify"]) == (lab.base_urls("updates"), lab.ca_bundle, True)
    assert asked["gpgkeys"] == ["file://" + lab.key_file]


def test_verbose_tells_which_mirrors_are_used_and_a_good_day_tells_nothing(lab, host):
    good_mirrors(lab)
    quiet = host.yum("check-update")
    assert own_lines(quiet) in ([], ["Loaded plugins: xcpng-mirrors"])
    assert "xcpng-mirrors: xcp-ng-updates: its cache still holds" in host.yum("-v", "check-update").stdout
    host.yum("clean", "all")
    assert re.search("xcpng-mirrors: xcp-ng-updates: mirrors, best first: https://127", host.yum("-v", "check-update").stdout)


def test_a_repository_without_repo_gpgcheck_is_told(lab, host):
    good_mirrors(lab)
    path = os.path.join(host.repos, "xcp-ng.repo")
    with open(path) as stream:
        text = stream.read()
    with open(path, "w") as stream:
        stream.write(text.replace("repo_gpgcheck=1", "repo_gpgcheck=0", 1))
    done = host.yum("check-update")
    assert done.stderr.count("repo_gpgcheck=0 in its .repo file") == 1


def test_trap_the_pyc_of_a_link_is_no_link(lab, tmp_path, interpreter):
    python = interpreter("2.7")
    host = YumHost(lab, str(tmp_path / "host"), "2.7")
    host.install_plugin()
    good_mirrors(lab)
    for _ in range(2):
        command = [python, STAND_IN, "-c", host.conf, "--installroot", host.root, "check-update"]
        environment = dict(host.environment, PYTHONDONTWRITEBYTECODE="")
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
    assert os.path.exists(os.path.join(host.plugins, NAME + ".pyc"))
    assert not glob.glob(str(PLUGIN.parent / "*.pyc"))


def test_a_fragment_counts_for_the_plugin_and_for_the_engine(lab, host, tmp_path):
    fragments = OwnFragments(str(tmp_path / "copy"), str(tmp_path / "fragments"))
    fragments.link(host.plugins, "yum")
    host.install_plugin(command=fragments.command)
    good_mirrors(lab)
    fragments.write("site.conf", "state_dir=/srv/remembered\n")
    done = host.yum("install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stdout + done.stderr
    assert os.path.exists(os.path.join(host.root, "srv/remembered", UPDATES, "accepted.json"))
    fragments.write("zz-off.conf", "enabled=0\nstate_dir=/srv/other\n")
    assert host.yum("check-update").returncode == 0 and not os.path.exists(os.path.join(host.root, "srv/other"))
