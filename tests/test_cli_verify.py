"""``verify``: what is proven, what is refused, what is missing, and that nothing a file is called or holds can mislead."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from tests.lab.keys import OTHER
from tests.lab.packages import UNSIGNED, Package, build
from tests.lab.repositories import ISO_PATH, REPO_FILE_PATH, repository_path
from tests.support.craft import armor, key_packets, rsa_key, signature
from tests.support.terminal import Terminal
from yum_plugin.cli.main import main
from yum_plugin.cli.verify import MANY

FIELDS = {"file", "kind", "ok", "reference", "detail", "fingerprint", "signed_at", "ignored_signatures"}
WITHOUT_NETWORK = "import sys; sys.modules.update(dict.fromkeys(('requests', 'urllib3', 'lxml'))); " \
                  "from yum_plugin.cli.main import main; sys.exit(main(sys.argv[1:]))"


class Desk:
    """A folder of downloads, and the command in this process."""

    def __init__(self, lab, folder, capsys):
        self.lab, self.folder, self._capsys = lab, str(folder), capsys
        self.options = ["--key", lab.key_file, "--fingerprint", lab.key_fingerprint]

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as stream:
            stream.write(content)
        return self.path(name)

    def read(self, path):
        with open(path, "rb") as stream:
            return stream.read()

    def copy(self, path, name=""):
        """Copy a file out of the lab's tree."""
        source = os.path.join(self.lab.trees.path("new"), path)
        return shutil.copy(source, self.path(name or os.path.basename(path)))

    def iso(self):
        """The lab's ISO with its proven checksums."""
        folder = os.path.dirname(ISO_PATH)
        self.copy(folder + "/SHA256SUMS")
        self.copy(folder + "/SHA256SUMS.asc")
        return self.copy(ISO_PATH)

    def rpm(self):
        return self.copy(repository_path("updates") + "Packages/lab-agent-2.0-1.noarch.rpm")

    def sign(self, path, owner="repository", **options):
        return self.write(os.path.basename(path) + ".asc", self.lab.keys.sign(self.read(path), owner, **options))

    def sums(self, entries):
        """A signed SHA256SUMS with these lines."""
        path = self.write("SHA256SUMS", "".join("{}  {}\n".format(digest, name) for name, digest in entries).encode())
        self.sign(path)
        return path

    def repository(self):
        target = self.path("repository")
        shutil.copytree(os.path.join(self.lab.trees.path("new"), repository_path("updates")), target)
        return target

    def verify(self, *arguments):
        """Exit code and output lines."""
        code = main(["verify"] + list(arguments) + self.options)
        return code, self._capsys.readouterr().out.splitlines()

    def json(self, *arguments):
        """Exit code and findings by the names of their files."""
        code = main(["verify", "--json"] + list(arguments) + self.options)
        found = json.loads(self._capsys.readouterr().out)
        assert all(set(item) == FIELDS for item in found)
        return code, {os.path.basename(item["file"]): item for item in found}


@pytest.fixture
def desk(lab, tmp_path, capsys):
    return Desk(lab, tmp_path, capsys)


def flip(path, at):
    """Change one bit of a file."""
    with open(path, "r+b") as stream:
        stream.seek(at)
        octet = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([octet ^ 1]))


# What is proven.


def test_every_kind_is_told_by_its_content_and_proven(desk):
    desk.iso()
    os.rename(desk.rpm(), desk.path("no-extension"))
    desk.copy(REPO_FILE_PATH, "renamed.iso")
    desk.sign(desk.path("renamed.iso"))
    for name in ("repomd.xml", "repomd.xml.asc"):
        desk.copy(repository_path("updates") + "repodata/" + name)
    names = ("xcp-ng-8.3.0.iso", "no-extension", "renamed.iso", "repomd.xml", "repomd.xml.asc", "SHA256SUMS")
    code, found = desk.json(*[desk.path(name) for name in names])
    assert code == 0 and all(item["ok"] and item["reference"] == "" for item in found.values())
    assert [found[name]["kind"] for name in names] == ["iso", "rpm", "repo", "repomd", "signature", "checksums"]
    assert {item["fingerprint"] for item in found.values()} == {desk.lab.key_fingerprint}
    assert all(item["signed_at"].endswith("Z") for item in found.values())
    assert found["no-extension"]["detail"] == "lab-agent-2.0-1.noarch"


def test_a_good_package_is_one_line(desk):
    path = desk.rpm()
    code, lines = desk.verify(path)
    assert code == 0 and len(lines) == 1
    assert lines[0].startswith("ok  {}  rpm lab-agent-2.0-1.noarch, signed 20".format(path))
    assert lines[0].endswith(" by " + desk.lab.key_fingerprint)


def test_a_list_of_checksums_brings_the_files_that_are_there_each_once(desk):
    iso = desk.iso()
    code, lines = desk.verify(desk.path("SHA256SUMS"))
    assert code == 0 and [line.split()[1] for line in lines] == [desk.path("SHA256SUMS"), iso]
    code, lines = desk.verify(iso, desk.path("SHA256SUMS"), desk.path("SHA256SUMS.asc"))
    assert code == 0 and len(lines) == 3


def test_files_that_a_list_names_and_that_are_not_here_are_no_error(desk):
    code, found = desk.json(desk.sums([("elsewhere.iso", "0" * 64)]))
    assert code == 0 and found["SHA256SUMS"]["detail"] == "of 1 files, 0 of them here"


@pytest.mark.parametrize("suffix, is_armored", [(".asc", True), (".sig", False)])
def test_a_detached_signature_beside_any_file_proves_it(desk, suffix, is_armored):
    path = desk.write("anything", b"some bytes")
    desk.write("anything" + suffix, desk.lab.keys.sign(b"some bytes", armor=is_armored))
    assert desk.verify(path)[0] == 0
    flip(path, 3)
    assert desk.json(path)[1]["anything"]["reference"] == "signature-invalid"


def test_a_named_signature_counts_and_not_the_one_beside_the_file(desk):
    path = desk.write("anything", b"some bytes")
    desk.write("anything.asc", b"rubbish")
    good = desk.write("elsewhere", desk.lab.keys.sign(b"some bytes"))
    assert desk.verify(path)[0] == 4
    assert desk.verify(path, "--signature", good)[0] == 0
    assert desk.verify(path, "--signature", desk.path("none"))[0] == 3


def test_verify_rule_1_a_named_signature_proves_exactly_that_whatever_the_file_is(desk):
    """Also a package, an image or a list of checksums that is none: only the bytes count, and no file beside it."""
    desk.iso()
    files = [desk.rpm(), desk.path("SHA256SUMS"), desk.copy(repository_path("updates") + "repodata/repomd.xml"),
             desk.write("list", b"0" * 64 + b"  no such file\n" + b"0" * 64 + b" rubbish\n"), desk.write("x.repo", b"[a]\nbaseurl=b\n"),
             desk.write("s.asc", desk.lab.keys.sign(b"x")), desk.write("empty", b""), desk.write("lead", b"\xed\xab\xee\xdb\3\0")]
    for path in files:
        good = desk.write("good.sig", desk.lab.keys.sign(desk.read(path)))
        code, lines = desk.verify(path, "--signature", good)
        assert code == 0 and len(lines) == 1 and "by good.sig" in lines[0]
        bad = desk.write("bad.sig", desk.lab.keys.sign(desk.read(path) + b"!"))
        code, found = desk.json(path, "--signature", bad)
        assert (code, [item["reference"] for item in found.values()]) == (4, ["signature-invalid"])
        stranger = desk.write("other.sig", desk.lab.keys.sign(desk.read(path), OTHER))
        assert desk.json(path, "--signature", stranger)[0] == 4
        assert desk.json(path, "--signature", desk.path("none"))[0] == 3
        assert desk.json(path, "--signature", path)[0] in (3, 4)


def test_an_exit_code_of_4_is_a_contradiction_or_a_missing_proof_and_3_what_cannot_be_read(desk):
    path = desk.write("x", b"some bytes")
    key = rsa_key()
    for made, expected in ((b"", 4), (signature(key, document=b"some bytes"), 4), (signature(key, version=6), 3), (b"\xc2", 4)):
        assert desk.verify(path, "--signature", desk.write("sig", made))[0] == expected
    assert desk.verify(desk.path("missing"), "--signature", desk.write("sig", b""))[0] == 3
    assert desk.verify(desk.folder + "/none/x")[0] == 3


def test_signatures_that_do_not_count_are_told_with_v(desk):
    path = desk.write("x", b"some bytes")
    both = desk.lab.keys.sign(b"some bytes") + desk.lab.keys.sign(b"some bytes", OTHER)
    desk.write("x.asc", both)
    assert len(desk.verify(path)[1]) == 1
    code, lines = desk.verify(path, "-v")
    assert code == 0 and len(lines) == 2 and lines[1].startswith("    a signature that does not count: unknown-key: ")
    assert desk.json(path)[1]["x"]["ignored_signatures"][0].startswith("unknown-key: ")


def test_a_link_to_a_good_file_is_followed(desk):
    os.symlink(desk.rpm(), desk.path("link"))
    assert desk.json(desk.path("link"))[1]["link"]["ok"]


# What is refused.


def tampered_rpm(desk):
    path = desk.rpm()
    flip(path, os.path.getsize(path) * 3 // 4)
    return path


def cut_rpm(desk):
    path = desk.rpm()
    os.truncate(path, os.path.getsize(path) - 1)
    return path


def rpm_signed_by(owner):
    def make(desk):
        return build(Package("other", "1.0"), desk.folder, desk.folder, desk.lab.trees.present, desk.lab.keys, owner)

    return make


def page_called_rpm(desk):
    return desk.write("package.rpm", b"<html>Please accept our terms</html>")


def tampered_iso(desk):
    path = desk.iso()
    flip(path, 40000)
    return path


def iso_without_sums(desk):
    return desk.copy(ISO_PATH)


def iso_with_unsigned_sums(desk):
    path = desk.iso()
    os.unlink(desk.path("SHA256SUMS.asc"))
    return path


def iso_with_changed_sums(desk):
    path = desk.iso()
    flip(path, 40000)
    name = os.path.basename(path)
    desk.write("SHA256SUMS", "{}  {}\n".format(hashlib.sha256(desk.read(path)).hexdigest(), name).encode())
    return path


def iso_with_sums_of_another_key(desk):
    path = desk.iso()
    desk.sign(desk.path("SHA256SUMS"), OTHER)
    return path


def iso_that_is_not_listed(desk):
    return os.rename(desk.iso(), desk.path("other.iso")) or desk.path("other.iso")


def sums_signed_with_sha1(desk):
    path = desk.write("SHA256SUMS", b"0" * 64 + b"  a\n")
    desk.sign(path, digest="SHA1")
    return path


def sums_signed_in_the_future(desk):
    path = desk.write("SHA256SUMS", b"0" * 64 + b"  a\n")
    desk.sign(path, at=4000000000)
    return path


def sums_without_end(desk):
    return desk.sums([("{:0200d}".format(number), "0" * 64) for number in range(4100)])


def old_repomd_with_new_signature(desk):
    inside = repository_path("updates") + "repodata/repomd.xml"
    shutil.copy(os.path.join(desk.lab.trees.path("old"), inside), desk.path("repomd.xml"))
    desk.copy(inside + ".asc")
    return desk.path("repomd.xml")


def huge_signature(desk):
    path = desk.iso()
    desk.write("SHA256SUMS.asc", b"-----BEGIN PGP SIGNATURE-----\n" + b"A" * 100000)
    return path


def fifo(desk):
    os.mkfifo(desk.path("fifo"))
    return desk.path("fifo")


def fifo_for_a_signature(desk):
    os.mkfifo(desk.path("x.asc"))
    return desk.write("x", b"x")


def signature_alone(desk):
    return desk.write("strange-name", desk.lab.keys.sign(b"x"))


@pytest.mark.parametrize("make, reference", [
    (tampered_rpm, "payload-mismatch"), (cut_rpm, "payload-mismatch"), (rpm_signed_by(OTHER), "unknown-key"),
    (rpm_signed_by(UNSIGNED), "unsigned"), (page_called_rpm, "signature-missing"),
    (tampered_iso, "payload-mismatch"), (iso_without_sums, "signature-missing"), (iso_with_unsigned_sums, "signature-missing"),
    (iso_with_changed_sums, "signature-invalid"), (iso_with_sums_of_another_key, "unknown-key"),
    (iso_that_is_not_listed, "not-covered"), (huge_signature, "unsupported"),
    (sums_signed_with_sha1, "weak-digest"),
    (sums_without_end, "unsupported"), (old_repomd_with_new_signature, "signature-invalid"),
    (fifo, "unsupported"), (fifo_for_a_signature, "unsupported"), (signature_alone, "unsupported"),
    (lambda desk: "/dev/null", "unsupported"), (lambda desk: desk.write("empty", b""), "signature-missing"),
])  # fmt: skip
def test_refused(make, reference, desk):
    path = make(desk)
    code, found = desk.json(path)
    item = found[os.path.basename(path)]
    expected = 3 if reference == "unsupported" else 4  # what cannot be read contradicts nothing
    assert (code, item["ok"], item["reference"], item["fingerprint"]) == (expected, False, reference, None), item
    assert item["detail"]


def test_a_signature_from_the_future_counts_for_this_hosts_clock_may_be_wrong(desk):
    code, found = desk.json(sums_signed_in_the_future(desk))
    assert code == 0 and all(item["ok"] for item in found.values())


def test_what_a_refused_list_names_is_not_even_looked_at(desk):
    desk.iso()
    desk.sign(desk.path("SHA256SUMS"), OTHER)
    assert len(desk.verify(desk.path("SHA256SUMS"))[1]) == 1


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "sub/../good", "/etc/passwd"])
def test_a_name_that_leads_out_costs_its_own_line_of_a_list_and_no_other(desk, name):
    good = desk.write("good", b"good")
    code, found = desk.json(desk.sums([(name, "0" * 64), ("good", hashlib.sha256(b"good").hexdigest()), ("twice", "0" * 64), ("twice", "1" * 64)]))
    assert code == 0 and sorted(found) == ["SHA256SUMS", os.path.basename(good)] and found["good"]["ok"]
    assert desk.json(desk.sums([(name, "0" * 64)]))[0] == 4  # it vouches for nothing


LISTS = {
    "CRLF": ("# images\r\n\r\n{0}  ./good\r\n{1} *sub/a b\r\n", 0), "--tag": ("SHA256 (good) = {0}\nSHA256 (sub/a b) = {1}\n", 0),
    "upper case": ("{0}  good\n?\n{2}  sub/a b\n", 0), "a changed file": ("{0}  good\n{0}  sub/a b\n", 4),
}


@pytest.mark.parametrize("form", sorted(LISTS))
def test_a_signed_list_in_any_form_vouches_for_its_files(desk, form):
    os.mkdir(desk.path("sub"))
    desk.write("good", b"good"), desk.write("sub/a b", b"ab")
    text, expected = LISTS[form]
    first, second = (hashlib.sha256(content).hexdigest() for content in (b"good", b"ab"))
    path = desk.write("SHA256SUMS", text.format(first, second, second.upper()).encode())
    desk.sign(path)
    code, found = desk.json(path)
    assert code == expected and len(found) == 3 and found["SHA256SUMS"]["ok"] and found["good"]["ok"]
    assert desk.json(desk.path("good"))[0] == 0


def test_a_fifo_that_a_list_names_is_not_read_and_not_waited_for(desk):
    os.mkfifo(desk.path("pipe"))
    code, found = desk.json(desk.sums([("pipe", "0" * 64)]))
    assert code == 3 and found["pipe"]["reference"] == "unsupported" and found["SHA256SUMS"]["ok"]


def test_a_name_cannot_forge_a_line_or_steer_the_terminal(desk):
    name = "x\nok  forged.rpm  rpm good\x1b[2J\u202egnp"
    os.rename(desk.rpm(), desk.path(name))
    code, lines = desk.verify(desk.path(name))
    assert code == 0 and len(lines) == 1 and lines[0].isprintable()
    assert desk.json(desk.path(name))[1][name]["ok"]


def test_a_name_that_is_no_unicode_is_no_error(desk):
    path = os.fsdecode(os.fsencode(desk.folder) + b"/bad-\xff")
    os.rename(desk.rpm(), path)
    assert desk.verify(path)[0] == 0
    assert desk.json(path)[0] == 0


# Exit codes: refused before missing before fine.


@pytest.mark.parametrize("names, expected", [
    (["good"], 0), (["good", "bad"], 4), (["bad", "good"], 4), (["good", "missing"], 3), (["missing", "bad", "good"], 4),
])
def test_the_worst_file_decides_the_exit_code_and_the_others_are_still_told(names, expected, desk):
    os.rename(desk.rpm(), desk.path("good"))
    desk.write("bad", b"rubbish")
    code, found = desk.json(*[desk.path(name) for name in names])
    assert code == expected and {name: found[name]["ok"] for name in names} == {name: name == "good" for name in names}


def test_many_files_are_told_in_their_order_and_each_as_if_it_were_alone(desk):
    good = shutil.copy(desk.rpm(), desk.path("good"))
    bad = tampered_rpm(desk)
    names = ["{:03}.rpm".format(number) for number in range(MANY + 5)]
    for number, name in enumerate(names):
        os.link(bad if number % 30 == 7 else good, desk.path(name))
    code, found = desk.json(*map(desk.path, names))
    assert code == 4 and list(found) == names
    assert [name for name in names if not found[name]["ok"]] == ["007.rpm", "037.rpm", "067.rpm"]
    for name in ("007.rpm", "008.rpm", "067.rpm", "068.rpm"):
        assert desk.json(desk.path(name))[1] == {name: found[name]}


def test_quiet_tells_only_what_is_wrong(desk):
    good, bad = desk.rpm(), desk.write("bad", b"rubbish")
    assert desk.verify("-q", good) == (0, [])
    code, lines = desk.verify("-q", good, bad)
    assert code == 4 and len(lines) == 1 and lines[0].startswith("REFUSED  ")


@pytest.mark.parametrize("arguments, expected", [
    (["a", "b", "--signature", "s"], 2), (["/tmp", "--signature", "s"], 2), (["a", "--config", "/nonexistent"], 2),
    (["a", "--key", "/nonexistent"], 2), (["a", "--fingerprint", "1234"], 2), (["a"], 2),
])
def test_usage_errors(arguments, expected, capsys):
    assert main(["verify"] + arguments) == expected
    assert "; " in capsys.readouterr().err


def test_no_file_at_all_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as end:
        main(["verify"])
    assert end.value.code == 2


# Keys.


def test_without_a_key_the_message_names_the_option(desk, capsys, monkeypatch):
    monkeypatch.setattr("yum_plugin.cli.common.key_options.DEFAULT_KEY_PATH", desk.path("none"))
    code = main(["verify", "--fingerprint", desk.lab.key_fingerprint, desk.path("x")])
    assert (code, "--key FILE" in capsys.readouterr().err) == (2, True)


def test_a_key_that_is_not_pinned_is_not_believed(desk, capsys):
    assert main(["verify", "--key", desk.lab.key_file, desk.rpm()]) == 4
    error = capsys.readouterr().err
    assert "key-mismatch" in error and "--fingerprint" in error


def test_the_pin_may_come_from_the_conf_and_be_written_in_groups(desk, capsys):
    config = desk.write("x.conf", "[main]\nfingerprints={}\n".format(desk.lab.key_fingerprint).encode())
    assert main(["verify", "--key", desk.lab.key_file, "--config", config, desk.rpm()]) == 0
    spaced = " ".join(desk.lab.key_fingerprint[place : place + 4].lower() for place in range(0, 40, 4))
    assert main(["verify", "--key", desk.lab.key_file, "--fingerprint", spaced, desk.rpm()]) == 0


def test_two_keys_of_a_change_over_are_both_believed(desk):
    desk.options += ["--key", desk.lab.other_key_file, "--fingerprint", desk.lab.keys.fingerprint(OTHER)]
    other = desk.write("by-other", b"x")
    desk.sign(other, OTHER)
    code, found = desk.json(desk.rpm(), other)
    assert code == 0 and len({item["fingerprint"] for item in found.values()}) == 2


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_key_file_that_others_can_change_is_refused(mode, desk):
    copy = shutil.copy(desk.lab.key_file, desk.path("key"))
    os.chmod(copy, mode)
    assert main(["verify", "--key", copy, "--fingerprint", desk.lab.key_fingerprint, desk.rpm()]) == 2


def test_an_expired_key_proves_nothing(desk):
    key = rsa_key("expired")
    desk.write("key", armor(key_packets(key, lifetime=1000), "PUBLIC KEY BLOCK"))
    desk.options = ["--key", desk.path("key"), "--fingerprint", key.fingerprint]
    desk.write("x", b"x")
    desk.write("x.asc", armor(signature(key, document=b"x")))
    assert desk.json(desk.path("x"))[1]["x"]["reference"] == "key-expired"


# A whole repository.


def test_a_whole_repository_is_proven_to_its_last_file(desk):
    folder = desk.repository()
    code, found = desk.json(folder)
    assert code == 0 and all(item["ok"] for item in found.values())
    kinds = [item["kind"] for item in found.values()]
    assert kinds[0] == "repomd" and kinds[-1] == "repository" and kinds.count("rpm") == 1 and kinds.count("metadata") >= 3


def of_repository(change):
    """Change a copy of the repository, and return what became of it."""
    def make(desk):
        folder = desk.repository()
        change(folder)
        return desk.json(folder)

    return make


def inside(folder, start):
    return next(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names if start in name)


@pytest.mark.parametrize("change, expected, name, reference", [
    (lambda folder: flip(inside(folder, "lab-agent"), 25000), 4, "lab-agent-2.0-1.noarch.rpm", "payload-mismatch"),
    (lambda folder: os.unlink(inside(folder, "lab-agent")), 3, "lab-agent-2.0-1.noarch.rpm", "unreachable"),
    (lambda folder: flip(inside(folder, "primary.xml"), 100), 4, "primary.xml.gz", "payload-mismatch"),
    (lambda folder: os.truncate(inside(folder, "filelists.xml"), 10), 4, "filelists.xml.gz", "payload-mismatch"),
    (lambda folder: os.unlink(inside(folder, "other.xml")), 3, "other.xml.gz", "unreachable"),
    (lambda folder: os.unlink(folder + "/repodata/repomd.xml.asc"), 4, "repomd.xml", "signature-missing"),
    (lambda folder: flip(folder + "/repodata/repomd.xml", 300), 4, "repomd.xml", "signature-invalid"),
    (lambda folder: shutil.rmtree(folder + "/repodata"), 3, "repomd.xml", "unreachable"),
    (lambda folder: shutil.copy(inside(folder, "lab-agent"), folder + "/Packages/stray.rpm"), 4, "stray.rpm", "not-covered"),
    (lambda folder: os.symlink("/etc", folder + "/Packages/link"), 4, "link", "not-covered"),
    (lambda folder: os.mkfifo(folder + "/pipe"), 4, "pipe", "not-covered"),
])  # fmt: skip
def test_what_is_wrong_in_a_repository_is_found(change, expected, name, reference, desk):
    code, found = of_repository(change)(desk)
    wrong = {item["file"]: item["reference"] for item in found.values() if not item["ok"] and item["kind"] != "repository"}
    assert code == expected and list(wrong.values()) == [reference] and list(wrong)[0].endswith(name)
    assert found["repository"]["reference"] == reference and not found["repository"]["ok"]


def test_a_valid_package_in_anothers_place_is_refused(desk):
    folder = desk.repository()
    older = os.path.join(desk.lab.trees.path("old"), repository_path("updates"), "Packages/lab-agent-1.0-1.noarch.rpm")
    shutil.copy(older, inside(folder, "lab-agent"))
    code, found = desk.json(folder)
    assert code == 4 and found["lab-agent-2.0-1.noarch.rpm"]["reference"] == "wrong-package"


def test_a_repository_whose_packages_another_key_signed_is_refused(desk):
    tree = desk.lab.trees.path("other-key-packages")
    code, found = desk.json(os.path.join(tree, repository_path("updates")))
    assert code == 4 and found["lab-agent-2.0-1.noarch.rpm"]["reference"] == "unknown-key"


def test_a_folder_of_packages_behind_a_link_is_no_stray(desk):
    folder = desk.repository()
    os.rename(folder + "/Packages", desk.path("elsewhere"))
    os.symlink(desk.path("elsewhere"), folder + "/Packages")
    assert desk.json(folder)[0] == 0


@pytest.mark.parametrize("target", ["elsewhere", "pool"])
def test_a_stray_behind_a_link_to_the_packages_is_told_wherever_that_leads(desk, target):
    """A web server serves what is behind the link, as it serves the folder."""
    folder = desk.repository()
    target = desk.path("elsewhere") if target == "elsewhere" else folder + "/pool"
    os.rename(folder + "/Packages", target)
    os.symlink(target, folder + "/Packages")
    assert desk.json(folder)[0] == 0
    shutil.copy(inside(target, "lab-agent"), target + "/stray.rpm")
    code, found = desk.json(folder)
    assert code == 4 and found["stray.rpm"]["reference"] == "not-covered"


def test_links_in_a_circle_end(desk):
    folder = desk.repository()
    os.rename(folder + "/Packages", folder + "/real")
    os.symlink("real", folder + "/Packages")
    os.symlink("..", folder + "/real/up")
    code, found = desk.json(folder)
    assert code == 4 and found["up"]["reference"] == "not-covered"


def test_thousands_of_strays_are_counted(desk):
    folder = desk.repository()
    for number in range(150):
        open("{}/{}".format(folder, number), "w").close()
    code, lines = desk.verify(folder)
    assert code == 4 and sum("not-covered" in line for line in lines) == 102 and any("names 50 more files" in line for line in lines)


# Cost.


def test_nothing_of_the_network_is_imported_for_a_file(desk):
    done = subprocess.run([sys.executable, "-c", WITHOUT_NETWORK, "verify", desk.rpm(), desk.iso()] + desk.options,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert (done.returncode, done.stderr) == (0, "")


def large_image(desk):
    """A proven image of 300 MiB."""
    path = desk.path("large.iso")
    with open(path, "wb") as stream:
        stream.truncate(300 * 1024 * 1024)
    digest = subprocess.run(["sha256sum", path], stdout=subprocess.PIPE, check=True).stdout[:64].decode()
    desk.sums([("large.iso", digest)])
    return path


def test_a_terminal_shows_how_far_a_large_file_is_and_then_only_the_result(desk):
    path = large_image(desk)
    terminal = Terminal([sys.executable, "-m", "yum_plugin", "verify", path] + desk.options, columns=300)
    assert terminal.end()[0] == 0
    assert re.search(r"\d+%", terminal.text) and "\x1b[32mok" in terminal.text
    assert [line for line in terminal.screen() if line] == ["ok  {}  file in SHA256SUMS, signed {} by {}".format(
        path, time.strftime("%Y-%m-%d", time.gmtime()), desk.lab.key_fingerprint)]


def test_a_large_image_takes_little_memory(desk):
    path = large_image(desk)
    script = "import sys; from yum_plugin.cli.main import main; code = main(sys.argv[1:]); " \
             "print(code, open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    done = subprocess.run([sys.executable, "-c", script, "verify", path] + desk.options, stdout=subprocess.PIPE, check=True,
                          universal_newlines=True)
    code, kibibytes = done.stdout.splitlines()[-1].split()
    assert code == "0" and int(kibibytes) < 48 * 1024
