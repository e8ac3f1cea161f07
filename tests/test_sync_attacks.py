"""Attacks of a source on the mirror that is synced from it, each over rsync and over https: nothing that was proven is lost or replaced."""
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys

import pytest

from tests.lab.mirror import NOT_FOUND, Fault
from tests.lab.wire import document
from tests.support.command import ROOT
from tests.support.mirrored import FOLDERS, ISO, UPDATES, CopyOrigin, Mirrored
from yum_plugin.errors import FetchError
from yum_plugin.model import Network
from yum_plugin.operators.sync.destination import LOCK, open_destination
from yum_plugin.operators.sync.http_source import HttpSource
from yum_plugin.operators.sync.identity import SecondVoice
from yum_plugin.operators.sync.plan import WORK, DeletionLimits

BASE = FOLDERS[0]
AGENT = UPDATES + "/Packages/lab-agent-1.0-1.noarch.rpm"
REPO_FILE = "8/xcp-ng-8.3.repo"


class Attacked(Mirrored):
    """A source whose folder is served by rsync and by https, in the old state; DEST has that state.

    Args:
        lab: see Mirrored.
        folder: see there.
        kind: "rsync" or "http".
    """

    def __init__(self, lab, folder, kind):
        super().__init__(lab, folder)
        self.kind = kind
        self.mirror = lab.add_mirror("web", tree="old")
        self.mirror.faults = (Fault("folder", "", self._serve),)

    def _serve(self, mirror, request):
        path = os.path.join(self.source, mirror.relative(request))
        if not os.path.isfile(path):
            return NOT_FOUND
        with open(path, "rb") as stream:
            return document(stream.read(), "application/octet-stream")

    def run(self, **options):
        if self.kind == "rsync":
            return self.sync(**options)
        first = {} if os.path.exists(self.dest) else {"repos": FOLDERS}
        return self.sync(source=HttpSource(self.mirror.url, Network(ssl_ca_cert=self.lab.ca_bundle, proxy="")), **dict(first, **options))

    def command(self, *more):
        """Run the command with these arguments; return its exit code and JSON."""
        source = [] if self.kind == "rsync" else ["--from", self.mirror.url, "--cacert", self.lab.ca_bundle]
        done = subprocess.run([sys.executable, "-m", "yum_plugin"] + self.words("--json", *source, *more), cwd=ROOT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        return done.returncode, json.loads(done.stdout)

    def content(self):
        """All of DEST but the work folder: path -> bytes, or a link's target."""
        found = {}
        for name in [name for name in self.names() if not name.startswith(WORK)]:
            path = os.path.join(self.dest, name)
            if os.path.islink(path):
                found[name] = os.readlink(path)
                continue
            with open(path, "rb") as stream:
                found[name] = stream.read()
        return found

    def drop(self, *paths):
        for path in paths:
            os.unlink(os.path.join(self.source, path))

    def forge(self, path, text="TROJAN " * 2000):
        """Replace or add a file; its size and time are those of the good one if there is one."""
        full = os.path.join(self.source, path)
        status = os.stat(full) if os.path.exists(full) else None
        self.write(path, text[:status.st_size] if status else text)
        if status:
            os.utime(full, ns=(status.st_atime_ns, status.st_mtime_ns + 10 ** 9))

    def replace(self, folder, state, other):
        """Serve one folder of a state in the place of another folder."""
        shutil.rmtree(os.path.join(self.source, other))
        shutil.copytree(os.path.join(self.lab.trees.path(state), folder), os.path.join(self.source, other))


@pytest.fixture(params=["rsync", "http"])
def site(request, lab, tmp_path):
    site = Attacked(lab, tmp_path, request.param)
    site.run()
    yield site
    site.close()


def images_without_their_list(site):
    site.drop("isos/8.3/SHA256SUMS", "isos/8.3/SHA256SUMS.asc")
    site.forge(ISO)


def images_whose_list_has_no_signature(site):
    site.drop("isos/8.3/SHA256SUMS.asc")
    site.forge("isos/8.3/SHA256SUMS")
    site.forge(ISO)


def a_repo_file_without_its_list(site):
    site.drop("8/SHA256SUMS", "8/SHA256SUMS.asc")
    site.forge(REPO_FILE, "[xcp-ng-base]\nbaseurl=http://evil.invalid/\ngpgcheck=0\n" * 9)


def a_repository_without_repomd(site):
    site.drop(UPDATES + "/repodata/repomd.xml", UPDATES + "/repodata/repomd.xml.asc")
    site.forge(AGENT)


def a_repository_without_its_signature(site):
    site.drop(UPDATES + "/repodata/repomd.xml.asc")
    site.forge(AGENT)


def a_repository_inside_another(site):
    a_repository_without_repomd(site)
    for name in ("repomd.xml", "repomd.xml.asc"):
        path = os.path.join(site.source, "8/8.3/repodata", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(os.path.join(site.source, BASE, "repodata", name), path)


def base_in_the_place_of_updates(site):
    site.replace(BASE, "old", UPDATES)


def a_base_that_nobody_knows_in_the_place_of_updates(site):
    site.replace(BASE, "new", UPDATES)


def nothing_of_the_images(site):
    shutil.rmtree(os.path.join(site.source, "isos"))


def nothing_of_a_repository(site):
    shutil.rmtree(os.path.join(site.source, UPDATES))


def a_list_without_its_images(site):
    site.drop(ISO, REPO_FILE)


ATTACKS = [
    (images_without_their_list, 4, "isos/8.3", "signature-missing"), (images_whose_list_has_no_signature, 4, "isos/8.3", "signature-missing"),
    (a_repo_file_without_its_list, 4, "8", "signature-missing"), (a_repository_without_repomd, 4, UPDATES, "signature-missing"),
    (a_repository_without_its_signature, 4, UPDATES, "signature-missing"), (a_repository_inside_another, 4, UPDATES, "signature-missing"),
    (base_in_the_place_of_updates, 4, UPDATES, "wrong-repository"), (a_base_that_nobody_knows_in_the_place_of_updates, 4, UPDATES, "unconfirmed"),
    (nothing_of_the_images, 1, "isos/8.3", "gone"), (nothing_of_a_repository, 1, UPDATES, "gone"), (a_list_without_its_images, 0, "8", "unchanged"),
]
# A web server cannot be listed: where both files of a signed list are missing, all of it is.
UNLISTED = {images_without_their_list, a_repo_file_without_its_list, a_repository_without_repomd, a_repository_inside_another}


@pytest.mark.parametrize("attack, code, folder, outcome", ATTACKS, ids=[row[0].__name__ for row in ATTACKS])
def test_what_was_proven_is_never_replaced_or_deleted_unproven(attack, code, folder, outcome, site):
    before = site.content()
    attack(site)
    if site.kind == "http" and attack in UNLISTED:
        code, outcome = 1, "gone"
    found, values = site.command("--dry-run")
    told = {unit["folder"]: unit["error"]["reference"] if unit["error"] else unit["outcome"] for unit in values["units"]}
    assert (found, told[folder], values["deleted"], site.content()) == (code, outcome, [], before), values
    everything = {"unsigned": ("*",), "includes": ("*",), "deletion_limits": DeletionLimits(100, delete_foreign=True), "accept_rollback": True}
    for options in ({}, {}, everything):
        report = site.run(**options)
        assert (site.outcomes(report)[folder], report.deletions.paths) == (outcome, ()) and site.content() == before, options


@pytest.mark.parametrize("attack, code, folder, outcome", ATTACKS[:-1], ids=[row[0].__name__ for row in ATTACKS[:-1]])
def test_a_tree_that_another_program_has_mirrored_is_protected_from_the_first_run_on(attack, code, folder, outcome, site):
    shutil.rmtree(site.state)
    attack(site)
    before = site.content()
    report = site.run(unsigned=("*",), includes=("*",))
    if not (site.kind == "http" and attack in UNLISTED):
        assert site.outcomes(report)[folder] == outcome
    changed = {name for name, content in site.content().items() if before.get(name) != content}
    assert before.keys() <= site.content().keys() and not changed & before.keys() and not report.deletions.paths


def test_what_a_web_server_runs_and_what_nobody_signs_does_not_get_in(lab, tmp_path):
    site = Attacked(lab, tmp_path, "rsync")
    bad = [".htaccess", ".well-known/acme-challenge/token", "index.html", "8/index.PHP", UPDATES + "/x.cgi", "isos/8.3/x.php.iso", UPDATES + "/.a.rpm",
           "cgi-bin/x", "netinstall/8.3/boot/x.phtml"]
    unknown = ["x.txt", "isos/8.3/other.iso", "8/other.repo", "8/8.3/updates/x.rpm"]
    for path in bad + unknown + [UPDATES + "/Packages/evil-1-1.noarch.rpm", "netinstall/8.3/.treeinfo", "README.txt"]:
        site.write(path, "bad")
    os.mkdir(site.dest)
    code, values = site.command("--dry-run")
    report = site.run()
    assert {each["path"] for each in values["left_out"]} == {path for path, _ in report.left_out} == set(bad + unknown)
    assert (code, values["unsigned"], values["not_taken"]) == (1, list(report.unsigned), list(report.earlier))
    assert report.unsigned == ("README.txt", "netinstall/8.3/.treeinfo") and report.earlier == (UPDATES + "/Packages/evil-1-1.noarch.rpm",)
    assert not set(bad + unknown) & set(site.names()) and site.problems(stray_too=True) == []
    site.run(includes=(".well-known", "index.html", "x.txt"))
    assert set(bad + unknown) & set(site.names()) == {".well-known/acme-challenge/token", "index.html", "x.txt"}
    site.close()


def test_the_network_installers_tree_is_mirrored_whole_and_stays_so_without_its_signed_list(lab, tmp_path):
    """As the origin has it: an installation image's content, of which only the packages and their metadata are signed."""
    site = Attacked(lab, tmp_path, "rsync")
    release = "netinstall/8.3"
    shutil.copytree(os.path.join(lab.trees.path("middle"), BASE), os.path.join(site.source, release))
    boot = [".treeinfo", "EULA", "LICENSES", "RPM-GPG-KEY-xcpng", "install.img", "boot/vmlinuz", "boot/alt/vmlinuz", "boot/xen.gz", "boot/isolinux/isolinux.cfg",
            "boot/pxelinux/pxelinux.0", "EFI/xenserver/grubx64.efi", "EFI/xenserver/grub.cfg"]
    for name in boot:
        site.write("{}/{}".format(release, name), "good")
    os.symlink("8.3", os.path.join(site.source, "netinstall/latest"))
    code, values = site.command()
    assert (code, len(values["unsigned"])) == (0, len(boot)) and site.same()
    before = site.content()
    site.drop(release + "/repodata/repomd.xml", release + "/repodata/repomd.xml.asc", release + "/.treeinfo")
    site.forge(release + "/install.img", "EVIL")
    site.forge(release + "/boot/xen", "EVIL")
    assert site.outcomes(site.run())[release] == "signature-missing" and site.content() == before
    site.close()


def test_a_link_or_an_unsigned_file_never_takes_the_place_of_what_was_proven(lab, tmp_path):
    site = Attacked(lab, tmp_path, "rsync")
    site.run()
    before = site.content()
    site.drop(ISO, AGENT, REPO_FILE)
    for path, target in ((ISO, "../../README.txt"), (AGENT, "../../../base"), (REPO_FILE, "../README.txt")):
        os.symlink(target, os.path.join(site.source, path))
    site.write("README.txt", "mine")
    report = site.run(includes=("*",))
    assert site.outcomes(report)[UPDATES] == "unchanged"
    now = site.content()
    assert now.pop("README.txt") == b"mine" and now == before
    site.close()


def test_a_unit_that_has_gone_is_told_also_where_it_alone_is_synced(site):
    nothing_of_the_images(site)
    report = site.run(repos=("isos/8.3",))
    assert site.outcomes(report) == {"isos/8.3": "gone"} and os.path.exists(os.path.join(site.dest, ISO)) and report.deletions.paths == ()


def test_a_unit_that_has_gone_goes_from_here_by_its_name_only(site):
    nothing_of_the_images(site)
    assert site.command("--delete-unit", "isos")[1]["deleted"] == []
    code, values = site.command("--delete-unit", "isos/8.3/", "--dry-run")
    assert code == 0 and len(values["deleted"]) == 3 and os.path.exists(os.path.join(site.dest, ISO))
    code, values = site.command("--delete-unit", "isos/8.3/")
    assert code == 0 and values["deleted"][0] == "isos/8.3/SHA256SUMS" and not os.path.exists(os.path.join(site.dest, "isos"))
    assert site.command()[0] == 0


# A second voice.


def other_content(site):
    """A publication after which nothing has the name that it had: what testing looks like when all of it has become an update."""
    site.replace(BASE, "new", UPDATES)


def test_what_the_origin_names_for_this_place_is_believed_whatever_it_looks_like(site):
    other_content(site)
    assert site.outcomes(site.run())[UPDATES] == "unconfirmed"
    site.second_voice = SecondVoice(CopyOrigin(site.source))
    assert site.outcomes(site.run())[UPDATES] == "switched"
    assert site.outcomes(site.run(accept_rollback=True))[UPDATES] == "unchanged"


def test_what_the_origin_does_not_have_yet_cannot_be_this_place_s(site):
    site.second_voice = SecondVoice(CopyOrigin(site.lab.trees.path("old")))
    site.publish("new")
    report = site.run()
    assert set(site.outcomes(report).values()) == {"wrong-repository"} and "older one" in report.units[0].error.what and site.version() == "old"
    assert set(site.outcomes(site.run(accepted=FOLDERS)).values()) == {"switched"}


@pytest.mark.parametrize("state", ["middle", "future", ""])
def test_an_origin_that_is_silent_lagging_or_damaged_stops_no_honest_source(state, site, tmp_path):
    """A source may lag behind the origin; metadata "from the future" cannot be proven there."""
    site.second_voice = SecondVoice(CopyOrigin(site.lab.trees.path(state) if state else str(tmp_path / "none")))
    site.publish("middle")
    assert set(site.outcomes(site.run()).values()) == {"switched"}


def test_the_command_asks_the_origin_of_the_conf_and_asks_once_a_change(site):
    with open(os.path.join(site.folder, "x.conf"), "w") as stream:
        stream.write("[main]\nlog_file={}/log\nfallbacks={}\n".format(site.folder, site.lab.origin.url))
    site.lab.trees.published = "new"
    other_content(site)
    site.lab.log.clear()
    code, values = site.command("--cacert", site.lab.ca_bundle, "--repo", UPDATES)
    assert code == 4 and "of the" in values["units"][0]["error"]["what"], "the origin has something else there"
    site.publish("new")
    assert site.command("--cacert", site.lab.ca_bundle)[0] == 0
    asked = [entry.path for entry in site.lab.log.requests(site.lab.origin.name, "")]
    assert len(asked) == 2 + 2 * len(FOLDERS), asked
    site.command("--cacert", site.lab.ca_bundle)
    assert len(site.lab.log.requests(site.lab.origin.name, "")) == len(asked), "nothing has changed"


def test_an_origin_that_cannot_be_reached_is_asked_once(lab, tmp_path):
    asked = []

    class Unreachable(CopyOrigin):
        def fetch(self, wants, stage, on_progress, lock):
            asked.append(list(wants))
            return {path: FetchError("unreachable", "no route", path) for path in wants}

    site = Attacked(lab, tmp_path, "rsync")
    site.second_voice = SecondVoice(Unreachable("x"))
    assert set(site.outcomes(site.run()).values()) == {"switched"} and len(asked) == 1
    site.close()


# The lock.


@pytest.fixture
def plain(lab, tmp_path):
    site = Attacked(lab, tmp_path, "rsync")
    yield site
    site.close()


def test_no_other_user_can_hold_the_lock(plain):
    """A flock(2) on a folder needs no more than to be able to read it."""
    os.mkdir(plain.dest)
    seen = []

    def look(name, detail):
        if name == "files":
            status = os.stat(os.path.join(plain.dest, WORK, LOCK))
            seen.append((stat.S_IMODE(status.st_mode), status.st_uid, stat.S_IMODE(os.stat(os.path.join(plain.dest, WORK)).st_mode)))

    handle = os.open(plain.dest, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    report = plain.sync(look)
    os.close(handle)
    assert set(plain.outcomes(report).values()) == {"switched"} and seen == [(0o600, os.geteuid(), 0o700)]
    assert not os.path.exists(os.path.join(plain.dest, WORK))


def test_a_lock_that_its_holder_has_removed_is_nobodys(plain):
    os.mkdir(plain.dest)
    destination = open_destination(plain.dest)
    with destination.locked():
        os.unlink(os.path.join(destination.work, LOCK))
        with destination.locked() as second:
            assert second >= 0 and os.path.exists(os.path.join(destination.work, LOCK))
    assert not os.path.exists(destination.work)


def test_a_dry_run_leaves_no_lock_and_respects_one(plain):
    os.mkdir(plain.dest)
    assert plain.command("--dry-run")[0] == 0 and os.listdir(plain.dest) == []
    with open_destination(plain.dest).locked():
        done = subprocess.run([sys.executable, "-m", "yum_plugin"] + plain.words("--dry-run"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"busy" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_work_folder_that_another_user_has_made_is_not_used(plain):
    stage = os.path.join(plain.dest, WORK, "stage")
    os.makedirs(stage)
    for path in (os.path.dirname(stage), stage):
        os.chown(path, 65534, 65534)
    held = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
    owners = []
    plain.sync(lambda name, detail: name == "files" and owners.append((os.stat(stage).st_uid, os.stat(os.path.dirname(stage)).st_uid)))
    assert owners == [(0, 0)] and os.listdir(held) == [] and plain.same()
    os.close(held)


def test_what_a_place_has_had_stays_known_as_its_own(plain):
    """An earlier state of base in the place of updates, when base has long gone on."""
    plain.run()
    plain.replace(BASE, "new", BASE)
    plain.run()
    plain.replace(BASE, "old", UPDATES)
    report = plain.run(accept_rollback=True, deletion_limits=DeletionLimits(1000))
    assert plain.outcomes(report)[UPDATES] == "wrong-repository" and BASE in report.units[1].error.what
