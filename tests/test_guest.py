"""What an admin typed counts from the next command on, and to look at what is there hides nothing: on the real dnf and with yum."""
import glob
import json
import os
import re
import shutil
import time

import pytest

from tests.lab.plugin import cache_path, install_plugin, state_path
from tests.lab.tools import environment, run
from tests.support.faults_table import good_mirrors, listed, own_lines
from tests.support.own_fragments import OwnFragments
from tests.support.terminal import Terminal
from tests.support.yum_host import PYTHONS, UPDATES, YumHost, own_warnings

REPOSITORIES = ("xcp-ng-base", UPDATES)
AN_HOUR = 3600.0


class Admin:
    """A host with the plugin, and its package manager.

    Args:
        lab: the lab.
        folder: of the host.
        manager: "dnf", or an interpreter of PYTHONS for yum.
    """

    def __init__(self, lab, folder, manager):
        self.lab, self.is_dnf = lab, manager == "dnf"
        self.host = lab.installroot(folder) if self.is_dnf else YumHost(lab, folder, manager)
        self.plugin()

    def plugin(self, **settings):
        """Write the .conf."""
        if self.is_dnf:
            install_plugin(self.host, self.lab, **settings)
        else:
            self.host.install_plugin(**settings)

    def run(self, *arguments):
        """Run a command without a terminal."""
        return self.host.dnf(*arguments) if self.is_dnf else self.host.yum(*arguments)

    def told(self, done):
        """What the plugin said."""
        return own_lines(done) if self.is_dnf else own_warnings(done)

    def cached(self, name, repository=UPDATES):
        """The path of a file in the cache."""
        return cache_path(self.host, repository, name) if self.is_dnf else self.host.cached(name, repository)

    def age(self, seconds, jitter=1.0):
        """Let everything that the last command found be as old as that."""
        then = int(time.time() - seconds)
        for path in glob.glob(state_path(self.host, "*", "mirrors.json")):
            with open(path) as stream:
                values = json.load(stream)
            values.update(heard_at=then, resolved_at=then, luck=jitter)
            with open(path, "w") as stream:
                json.dump(values, stream)
        for repository in REPOSITORIES:
            os.utime(self.cached("cachecookie", repository), (then, then))

    def memory(self):
        """What is remembered of the updates."""
        with open(state_path(self.host, UPDATES, "mirrors.json")) as stream:
            return json.load(stream)

    def edit(self, pattern, text):
        """Change the .repo file."""
        path = os.path.join(self.host.repos, "xcp-ng.repo")
        with open(path) as stream:
            content = stream.read()
        assert re.search(pattern, content)
        with open(path, "w") as stream:
            stream.write(re.sub(pattern, text, content))


@pytest.fixture(params=[pytest.param("dnf", marks=pytest.mark.dnf)] + PYTHONS[:1])
def admin(request, lab, tmp_path):
    return Admin(lab, str(tmp_path / "host"), request.param)


@pytest.fixture
def dnf(lab, tmp_path):
    return Admin(lab, str(tmp_path / "host"), "dnf")


# check-update, then update.


def test_check_update_from_cron_then_update_installs_what_was_published_an_hour_ago(lab, admin):
    good_mirrors(lab)
    lab.publish("old")
    assert admin.run("-y", "install", "lab-agent").returncode == 0
    lab.publish("new")
    admin.age(AN_HOUR)
    before, aged = admin.memory(), os.stat(admin.cached("cachecookie")).st_mtime
    looked = admin.run("check-update")
    assert (looked.returncode, admin.told(looked)) == (0, []), looked.stdout + looked.stderr
    assert os.stat(admin.cached("cachecookie")).st_mtime == aged, "what was not proven is as old as it was"
    after = admin.memory()
    assert (after["resolved_at"], after["heard_at"]) == (before["resolved_at"], before["heard_at"]) and after["awaited_sha256"]
    done = admin.run("-y", "update")
    assert (done.returncode, admin.host.version("lab-agent"), admin.told(done)) == (0, "2.0", []), done.stdout + done.stderr
    assert admin.memory()["awaited_sha256"] == ""


@pytest.mark.dnf
def test_the_age_that_dnf_prints_while_it_waits_is_that_of_the_last_proof(lab, dnf):
    good_mirrors(lab)
    lab.publish("old")
    dnf.run("check-update")
    dnf.age(AN_HOUR)
    then = time.time() - AN_HOUR
    for repository in REPOSITORIES:
        folder = cache_path(dnf.host, repository, "repodata")
        for name in os.listdir(folder):
            os.utime(os.path.join(folder, name), (then, then))
    lab.publish("new")
    looked = dnf.run("list", "lab-agent")
    assert "Last metadata expiration check: 1:0" in looked.stdout + looked.stderr and "1.0" in listed(looked)


@pytest.mark.dnf
@pytest.mark.parametrize("streams", [("stdout", "stderr"), ("stderr",)], ids=["terminal", "into a pager"])
def test_who_types_check_update_sees_a_publication_at_once(streams, lab, dnf):
    good_mirrors(lab)
    lab.publish("old")
    dnf.run("-y", "install", "lab-agent")
    lab.publish("new")
    dnf.age(AN_HOUR)
    terminal = Terminal(dnf.host.command("check-update"), streams=streams, **dnf.host.environment)
    code, piped = terminal.end()
    assert code == 100 and "lab-agent" in piped + terminal.text


# The key of a filled cache.


def added_url(admin):
    admin.edit(r"(?m)^(baseurl=.*)$", r"\1 http://127.0.0.9/8/8.3/x/")


def another_key_file(admin):
    copy = os.path.join(admin.host.folder, "key.asc")
    shutil.copyfile(admin.lab.key_file, copy)
    admin.edit(r"(?m)^gpgkey=.*$", "gpgkey=file://" + copy)


def another_user(admin):
    admin.edit(r"(?m)^(gpgkey=.*)$", r"\1" + "\nusername=somebody\npassword=secret")


def denied(admin):
    admin.plugin(deny="good1.example")


def shorter_expiry(admin):
    admin.edit(r"(?m)^(gpgkey=.*)$", r"\1" + "\nmetadata_expire=60")
    admin.age(61.0)


def no_expiry(admin):
    admin.edit(r"(?m)^(gpgkey=.*)$", r"\1" + "\nmetadata_expire=0")


DOORS = (added_url, another_key_file, another_user, denied, shorter_expiry, no_expiry)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_filled_cache_is_good_for_nothing_else_than_what_it_was_filled_for(door, lab, admin):
    good_mirrors(lab)
    admin.run("check-update")
    lab.log.clear()
    admin.run("check-update")
    assert lab.log.requests() == [], "else this test would notice nothing"
    door(admin)
    done = admin.run("check-update")
    assert lab.log.requests() != [] and admin.told(done) == []
    assert {entry.headers.get("user-agent", "").split("/")[0] for entry in lab.log.requests()} == {"xcpng-mirrors"}


@pytest.mark.dnf
@pytest.mark.parametrize("option, keeps", [
    ("--releasever=9", True), ("--setopt=xcp-ng-updates.baseurl={0}", True), ("--setopt=xcp-ng-updates.username=somebody", False),
    ("--setopt=xcp-ng-updates.ip_resolve=4", False), ("--setopt=xcp-ng-updates.metadata_expire=0", True)])
def test_what_is_typed_on_the_command_line_counts_in_that_command_and_in_no_other(option, keeps, lab, dnf):
    good_mirrors(lab)
    urls = " ".join(lab.base_urls("updates"))
    dnf.edit(r"(?m)^baseurl=.*updates/x86_64/$", "baseurl=" + urls.replace("/8/8.3/", "/$releasever/8.3/"))
    dnf.run("check-update")
    lab.log.clear()
    dnf.run(option.format(urls.split()[1]), "check-update")
    assert lab.log.requests() != []
    lab.log.clear()
    dnf.run("check-update")
    assert bool(lab.log.requests()) != keeps, "a folder holds for one set of options at a time"


@pytest.mark.dnf
def test_a_variable_and_a_fragment_that_change_count_from_the_next_command_on(lab, dnf):
    fragments = OwnFragments(os.path.join(dnf.host.folder, "copy"), os.path.join(dnf.host.folder, "fragments"))
    fragments.link(dnf.host.plugins, "dnf")
    dnf.plugin(command=fragments.command)
    good_mirrors(lab)
    variable = os.path.join(dnf.host.folder, "vars", "stage")
    for value in ("8.3", "8.9"):
        with open(variable, "w") as stream:
            stream.write(value + "\n")
        if value == "8.3":
            dnf.edit(r"/8\.3/", "/$stage/")
            dnf.run("-y", "install", "lab-base")
            fragments.write("site.conf", "deny={}\n".format(lab.mirrors["good1"].server.authority))
            lab.log.clear()
            assert dnf.run("-y", "install", "lab-agent").returncode == 0
            assert "good1" not in lab.log.contacted() and "good2" in lab.log.contacted()
            lab.log.clear()
    dnf.run("check-update")
    assert any("/8.9/" in entry.path for entry in lab.log.requests()) and not any("/8.3/" in entry.path for entry in lab.log.requests())


# A copy of one's own.


@pytest.fixture
def copy(lab, tmp_path):
    """The packages of the updates in a folder, with metadata that nobody has signed."""
    folder = str(tmp_path / "copy")
    shutil.copytree(os.path.join(lab.trees.path("new"), "8/8.3/updates/x86_64/Packages"), os.path.join(folder, "Packages"))
    run(["createrepo_c", "-q", folder], environment(str(tmp_path)))
    return "file://" + folder + "/"


def own(admin, copy, *lines):
    """Let the updates come from there, with these lines in their section."""
    admin.edit(r"(?m)^baseurl=.*/updates/x86_64/$", "baseurl=" + copy)
    admin.edit(r"(?m)^repo_gpgcheck=1\n", "")
    admin.edit(r"(?m)^(baseurl=file:.*)$", "\n".join((r"\1",) + lines))


def test_a_copy_of_ones_own_is_left_as_typed_with_one_line_once(lab, copy, admin):
    good_mirrors(lab)
    own(admin, copy, "repo_gpgcheck=0")
    told = [line for line in admin.told(admin.run("check-update")) if "own-copy" in line]
    assert len(told) == 1 and "repos=" in told[0] and "fingerprints=" in told[0]
    assert admin.told(admin.run("check-update")) == []
    done = admin.run("-y", "install", "lab-agent")
    assert (done.returncode, admin.host.version("lab-agent"), admin.told(done)) == (0, "2.0", []), done.stdout + done.stderr
    assert not os.path.exists(state_path(admin.host, UPDATES, "accepted.json"))


@pytest.mark.dnf
def test_the_packages_of_a_copy_of_ones_own_are_verified_by_the_keys_that_were_named(lab, copy, dnf):
    own(dnf, copy, "repo_gpgcheck=0")
    dnf.edit(r"(?s)(\[xcp-ng-updates\].*)gpgkey=[^\n]*", r"\1gpgkey=file://" + os.path.join(dnf.host.folder, "none.asc"))
    done = dnf.run("-y", "--setopt=xcp-ng-updates.gpgcheck=0", "install", "lab-agent")
    assert (done.returncode, dnf.host.version("lab-agent")) == (1, "")


@pytest.mark.dnf
@pytest.mark.parametrize("lines", [(), ("repo_gpgcheck=1",)], ids=["not written", "wanted"])
def test_metadata_without_signature_is_refused_unless_the_file_says_that_it_is_a_copy(lines, lab, copy, dnf):
    own(dnf, copy, *lines)
    done = dnf.run("-y", "install", "lab-agent", "--setopt=xcp-ng-updates.repo_gpgcheck=0")
    assert (done.returncode, dnf.host.version("lab-agent")) == (1, "") and dnf.told(done) != []


# A place of one's own.


def test_a_mirror_of_ones_own_that_is_typed_before_the_redirector_sends_what_is_installed(lab, admin):
    good_mirrors(lab)
    lab.add_mirror("own")
    lab.set_order(["good1", "good2"])
    admin.edit(r"(?m)^baseurl=(.*/updates/x86_64/)$", r"baseurl={}8/8.3/updates/x86_64/ \1".format(lab.mirrors["own"].url))
    done = admin.run("-y", "install", "lab-agent")
    assert (done.returncode, admin.host.version("lab-agent"), admin.told(done)) == (0, "2.0", [])
    assert {entry.server for entry in lab.log.requests(path_ends=".rpm")} == {"own"}


@pytest.mark.dnf
def test_a_mirror_of_ones_own_that_is_behind_does_not_hold_the_host_back(lab, dnf):
    good_mirrors(lab)
    lab.add_mirror("own", fault="stale")
    lab.set_order(["good1", "good2"])
    dnf.edit(r"(?m)^baseurl=(.*/updates/x86_64/)$", r"baseurl={}8/8.3/updates/x86_64/ \1".format(lab.mirrors["own"].url))
    done = dnf.run("-y", "install", "lab-agent")
    assert (done.returncode, dnf.host.version("lab-agent")) == (0, "2.0")
