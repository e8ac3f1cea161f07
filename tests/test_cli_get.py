"""``get``: files and packages from good and bad mirrors, proven before they get their names, continued after an interrupt."""
import hashlib
import json
import os
import shutil
import signal
import subprocess

import pytest

from tests.lab.faults import faults_named, served, spoil_armor
from tests.lab.keys import OTHER
from tests.lab.repositories import ISO_BYTES, ISO_PATH, REPO_FILE_PATH
from tests.support.command import ROOT, UPDATES, Admin
from tests.support.terminal import Terminal
from tests.support.waiting import LONG_SECONDS, wait_until
from yum_plugin.cli.main import main

ISO = os.path.basename(ISO_PATH)
PACKAGE = "lab-agent-2.0-1.noarch.rpm"


class Fetcher(Admin):
    """An admin who fetches into a folder of his."""

    def __init__(self, lab, folder, capsys):
        super().__init__(lab, folder)
        self._capsys = capsys
        self.out = self.path("out")

    def get(self, *arguments):
        """Exit code, and the files of --json by what was asked for."""
        words = ["get", "--json", "--output", self.out, "--config", self.path("x.conf"), "--reposdir", self.repos]
        code = main(words + list(arguments))
        answer = json.loads(self._capsys.readouterr().out)
        assert (answer["schema"], answer["command"]) == (1, "get")
        return code, {item["wish"]: item for item in answer["files"]}

    def digest(self, name):
        with open(os.path.join(self.out, name), "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()

    def names(self):
        return sorted(os.listdir(self.out)) if os.path.isdir(self.out) else []


@pytest.fixture
def admin(lab, tmp_path, capsys):
    return Fetcher(lab, tmp_path, capsys)


def of_tree(admin, path, state="new"):
    with open(os.path.join(admin.lab.trees.path(state), path), "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


# Paths.


def test_a_path_is_fetched_with_its_sums_and_can_be_verified_afterwards(admin):
    admin.lab.add_mirror("good")
    code, found = admin.get(ISO_PATH)
    item = found[ISO_PATH]
    assert code == 0 and item["ok"] and item["file"] == os.path.join(admin.out, ISO)
    assert item["fingerprint"] == admin.lab.key_fingerprint and item["signed_at"].endswith("Z")
    assert [attempt["reference"] for attempt in item["attempts"]] == ["ok"] and item["attempts"][0]["bytes"] == ISO_BYTES
    assert admin.names() == ["SHA256SUMS", "SHA256SUMS.asc", ISO] and admin.digest(ISO) == of_tree(admin, ISO_PATH)
    options = ["--key", admin.lab.key_file, "--fingerprint", admin.lab.key_fingerprint]
    assert main(["verify", "-q", os.path.join(admin.out, ISO)] + options) == 0


def test_files_of_two_folders_and_a_leading_slash(admin):
    admin.lab.add_mirror("good")
    code, found = admin.get(ISO_PATH, "/" + REPO_FILE_PATH)
    assert code == 0 and {item["ok"] for item in found.values()} == {True}
    assert "another folder's" in found[REPO_FILE_PATH]["detail"] and "another" not in found[ISO_PATH]["detail"]
    assert admin.digest("xcp-ng-8.3.repo") == of_tree(admin, REPO_FILE_PATH)


def test_the_sums_themselves_can_be_asked_for(admin):
    admin.lab.add_mirror("good")
    assert admin.get("isos/8.3/SHA256SUMS")[0] == 0 and admin.names() == ["SHA256SUMS", "SHA256SUMS.asc"]


def test_what_is_there_and_good_is_not_fetched_again(admin):
    admin.lab.add_mirror("good")
    admin.get(ISO_PATH)
    admin.lab.log.clear()
    code, found = admin.get(ISO_PATH)
    assert code == 0 and found[ISO_PATH]["attempts"] == [] and not admin.lab.log.requests("good", ISO)


def test_what_is_there_and_wrong_is_replaced_only_by_what_is_right(admin):
    admin.lab.add_mirror("good", "corrupt-packages")
    admin.lab.origin.faults = faults_named("corrupt-packages")
    os.makedirs(admin.out)
    with open(os.path.join(admin.out, ISO), "w") as stream:
        stream.write("mine")
    assert admin.get(ISO_PATH)[0] == 4 and admin.digest(ISO) == hashlib.sha256(b"mine").hexdigest()
    admin.lab.mirrors["good"].faults = ()
    assert admin.get(ISO_PATH)[0] == 0 and admin.digest(ISO) == of_tree(admin, ISO_PATH)


@pytest.mark.parametrize("fault", [
    "corrupt-packages", "truncated-packages", "short-packages", "stalling-packages", "packages-404", "stale", "captive", "http-503",
    "refused", "expired-certificate", "redirect-to-http",
])  # fmt: skip
def test_a_bad_first_mirror_costs_nothing_but_time(fault, admin):
    admin.lab.add_mirror("bad", fault)
    admin.lab.add_mirror("good")
    code, found = admin.get(ISO_PATH)
    assert code == 0 and admin.digest(ISO) == of_tree(admin, ISO_PATH)
    assert found[ISO_PATH]["attempts"][-1]["reference"] == "ok"


@pytest.mark.parametrize("name, make, reference", [
    ("SHA256SUMS.asc", lambda lab, sums, good: spoil_armor(good), "signature-invalid"),
    ("SHA256SUMS.asc", lambda lab, sums, good: lab.keys.sign(sums, OTHER), "unknown-key"),
    ("SHA256SUMS.asc", lambda lab, sums, good: b"<html>welcome</html>", "signature-missing"),
    ("SHA256SUMS", lambda lab, sums, good: sums.replace(b"a", b"b"), "signature-invalid"),
])  # fmt: skip
def test_sums_that_nobody_pinned_has_signed_are_refused_wherever_they_come_from(name, make, reference, admin):
    with open(os.path.join(admin.lab.trees.path("new"), "isos/8.3/SHA256SUMS"), "rb") as stream:
        sums = stream.read()
    fault = served("/" + name, make(admin.lab, sums, admin.lab.keys.sign(sums)))
    admin.lab.add_mirror("forged").faults = fault
    admin.lab.add_mirror("good")
    assert admin.get(ISO_PATH)[0] == 0
    shutil.rmtree(admin.out)
    admin.lab.mirrors["good"].faults = admin.lab.origin.faults = fault
    code, found = admin.get(ISO_PATH)
    assert (code, found[ISO_PATH]["reference"]) == (4, reference) and admin.names() == []


@pytest.mark.parametrize("form", [
    "# images\r\n\r\n{0}  ./{1}\r\n", "SHA256 ({1}) = {0}\n", "?\n{0}  ../elsewhere\n{0}  other\n{2}  other\n{3} *{1}\n",
])  # fmt: skip
def test_a_signed_list_in_any_form_vouches_for_what_is_fetched(form, admin):
    """Its bad lines cost nothing but what they name."""
    digest = of_tree(admin, ISO_PATH)
    sums = form.format(digest, ISO, "0" * 64, digest.upper()).encode()
    fault = served("/SHA256SUMS", sums) + served("/SHA256SUMS.asc", admin.lab.keys.sign(sums))
    admin.lab.add_mirror("good").faults = fault
    code, found = admin.get(ISO_PATH)
    assert code == 0 and found[ISO_PATH]["ok"] and admin.digest(ISO) == digest
    if b"other" in sums:
        code, found = admin.get("isos/8.3/other")
        assert code == 3 and found["isos/8.3/other"]["reference"] == "unreachable"


def test_of_several_good_lists_the_newest_counts(admin):
    """A mirror that replays an old list with its old file must not win because it is asked first."""
    admin.lab.add_mirror("replay", "stale")
    admin.lab.add_mirror("good")
    assert admin.get(REPO_FILE_PATH)[0] == 0 and admin.digest("xcp-ng-8.3.repo") == of_tree(admin, REPO_FILE_PATH)
    assert of_tree(admin, REPO_FILE_PATH) != of_tree(admin, REPO_FILE_PATH, "old")


@pytest.mark.parametrize("path, code, reference", [
    ("isos/8.3/none.iso", 3, "unreachable"), ("none/at-all", 3, "http-status"), ("8/8.3/updates/x86_64/Packages/" + PACKAGE, 3, "http-status"),
])
def test_what_no_signed_list_names_is_not_fetched(path, code, reference, admin):
    admin.lab.add_mirror("good")
    found = admin.get(path)
    assert (found[0], found[1][path]["reference"]) == (code, reference) and admin.names() == []


@pytest.mark.parametrize("path", ["../../etc/passwd", "isos/../../x", "a//b", "isos/%2e%2e/x", "isos/8.3/", "http://host/x", "", "a\\b"])
def test_a_path_that_leaves_the_mirror_is_a_usage_error(path, admin):
    done = admin.run("get", "--output", admin.out, "--", path)
    assert done.returncode in (2, 3) and "Traceback" not in done.stderr
    assert done.returncode == 2 or path == "isos/8.3/"
    assert admin.names() == []


def test_without_redirector_the_remembered_mirrors_are_asked_then_the_origin(admin):
    admin.lab.add_mirror("good")
    assert admin.run("refresh", *UPDATES).returncode == 0
    admin.lab.redirector.down()
    admin.lab.log.clear()
    assert admin.get(ISO_PATH)[0] == 0 and admin.lab.log.requests("good", ISO)
    shutil.rmtree(admin.path("state"))
    shutil.rmtree(admin.out)
    assert admin.get(ISO_PATH)[0] == 0 and admin.lab.log.requests("origin", ISO)


def test_without_any_repository_file_the_key_option_is_enough(admin):
    admin.lab.add_mirror("good")
    os.unlink(os.path.join(admin.repos, "xcp-ng.repo"))
    done = admin.run("get", REPO_FILE_PATH, "--output", admin.out)
    assert done.returncode == 2 and "--key" in done.stderr
    # the lab's certificates are its own, and only the .repo file names them: here the mirrors cannot be reached
    done = admin.run("get", REPO_FILE_PATH, "--output", admin.out, "--key", admin.lab.key_file)
    assert done.returncode == 3 and "MISSING" in done.stdout


def test_nobody_to_be_reached_is_exit_code_3(admin):
    admin.lab.add_mirror("silent", "refused")
    admin.lab.origin.faults = faults_named("http-503")
    code, found = admin.get(ISO_PATH)
    assert code == 3 and not found[ISO_PATH]["ok"] and found[ISO_PATH]["error"]["exit_code"] == 3


def test_the_hostile_words_of_a_mirror_stay_on_one_line(admin):
    admin.lab.add_mirror("good").faults = served("SHA256SUMS", b"\x1b[2J\nok  forged")
    admin.lab.origin.faults = served("SHA256SUMS", b"\x1b[2J\nok  forged")
    done = admin.run("get", ISO_PATH, "--output", admin.out)
    assert done.returncode == 4 and len(done.stdout.splitlines()) == 1 and done.stdout.strip().isprintable()


# Interrupts.


def test_an_interrupted_download_goes_on_where_it_stopped(admin):
    admin.lab.add_mirror("only")
    admin.lab.mirrors["only"].faults = admin.lab.origin.faults = faults_named("stalling-packages")
    admin.settings(timeout=600)
    child = subprocess.Popen(admin.words("get", ISO_PATH, "--output", admin.out), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    part = os.path.join(admin.out, ".{}.part".format(ISO))
    assert admin.lab.log.wait(lambda: any(entry.bytes >= ISO_BYTES // 2 for entry in admin.lab.log.requests("only", ISO)))
    assert wait_until(lambda: os.path.exists(part) and os.path.getsize(part) == ISO_BYTES // 2)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=LONG_SECONDS)
    assert child.returncode == 130 and b"Traceback" not in err
    assert ISO not in admin.names() and os.path.getsize(part) == ISO_BYTES // 2
    admin.lab.mirrors["only"].faults = admin.lab.origin.faults = ()
    admin.lab.log.clear()
    assert admin.get(ISO_PATH)[0] == 0 and admin.digest(ISO) == of_tree(admin, ISO_PATH)
    assert admin.lab.log.requests("only", ISO)[0].headers["range"] == "bytes={}-".format(ISO_BYTES // 2)
    assert not os.path.exists(part)


def test_a_terminal_shows_how_far_it_is_and_whom_it_comes_from(admin):
    admin.lab.add_mirror("only", "stalling-packages")
    admin.lab.origin.faults = faults_named("stalling-packages")
    admin.settings(timeout=600)
    terminal = Terminal(admin.words("get", ISO_PATH, "--output", admin.out), columns=120)
    terminal.wait_for(r"50%  [\d.]+ [KM]?B/s  127\.0\.[01]\.\d+:\d+  " + ISO_PATH)
    terminal.child.send_signal(signal.SIGINT)
    assert terminal.end()[0] == 130 and "Traceback" not in terminal.text
    assert "".join(terminal.screen()) == "", "nothing of the line is left"


def test_a_part_of_something_else_is_thrown_away(admin):
    admin.lab.add_mirror("good")
    os.makedirs(admin.out)
    with open(os.path.join(admin.out, ".{}.part".format(ISO)), "wb") as stream:
        stream.write(b"x" * 1000)
    assert admin.get(ISO_PATH)[0] == 0 and admin.digest(ISO) == of_tree(admin, ISO_PATH)


def test_an_output_that_is_no_folder_is_a_usage_error(admin):
    done = admin.run("get", ISO_PATH, "--output", admin.path("x.conf"))
    assert done.returncode == 2 and "x.conf" in done.stderr


# Packages.


@pytest.mark.parametrize("word", ["lab-agent", "lab-agent.noarch", "lab-agent-2.0", "lab-agent-2.0-1", "lab-agent-0:2.0-1.noarch"])
def test_a_package_is_found_by_any_of_its_spellings(word, admin):
    admin.lab.add_mirror("good")
    code, found = admin.get(word, *UPDATES)
    assert code == 0 and found[word]["ok"] and found[word]["detail"] == "lab-agent-0:2.0-1.noarch" and admin.names() == [PACKAGE]


@pytest.mark.parametrize("words", [["lab-agent-1.0"], ["lab"], ["lab-agent", "--arch", "x86_64"]])
def test_a_package_that_is_not_there_is_missing(words, admin):
    admin.lab.add_mirror("good")
    code, found = admin.get(*(words + UPDATES))
    assert code == 3 and found[words[0]]["reference"] == "unreachable" and admin.names() == []


def test_two_words_for_one_package_and_one_for_another_repositorys(admin):
    admin.lab.add_mirror("good")
    words = ["lab-agent", "lab-agent-2.0", "lab-base", "none"]
    code, found = admin.get(*(words + UPDATES + ["--repo", "xcp-ng-base"]))
    assert code == 3 and [found[word]["ok"] for word in words] == [True, True, True, False]


@pytest.mark.parametrize("fault", ["corrupt-packages", "stalling-packages", "packages-404", "bad-signature", "stale", "half-synced"])
def test_a_package_survives_a_bad_first_mirror(fault, admin):
    admin.lab.add_mirror("bad", fault)
    admin.lab.add_mirror("good")
    code, found = admin.get("lab-agent", *UPDATES)
    assert code == 0 and found["lab-agent"]["attempts"][-1]["reference"] == "ok"


def test_a_package_that_is_wrong_everywhere_is_refused_and_leaves_nothing(admin):
    admin.lab.add_mirror("bad", "corrupt-packages")
    admin.lab.origin.faults = faults_named("corrupt-packages")
    code, found = admin.get("lab-agent", *UPDATES)
    assert (code, found["lab-agent"]["reference"]) == (4, "payload-mismatch") and admin.names() == []
    assert {attempt["reference"] for attempt in found["lab-agent"]["attempts"]} == {"payload-mismatch"}


def test_packages_of_a_rolled_back_repository_are_refused(admin):
    admin.lab.add_mirror("good")
    admin.accept("new")
    admin.lab.publish("old")
    done = admin.run("get", "lab-agent", "--output", admin.out, *UPDATES)
    assert done.returncode == 4 and "rollback" in done.stderr and admin.names() == []
