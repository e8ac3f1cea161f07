"""``key``: key files, pins and the rpm database held against each other."""
import json
import os
import shutil

import pytest

from tests.lab.keys import OTHER
from tests.support.command import UPDATES, Admin
from tests.support.craft import BORN, armor, direct, key_packets, revocation, rsa_key, subkey_packets
from yum_plugin.cli.main import main
from yum_plugin.host.rpmdb import read_imported


class KeyKeeper(Admin):
    """An admin of a host in an installroot, with a key file of his own to spoil."""

    def __init__(self, lab, folder, capsys, monkeypatch, import_key=True):
        super().__init__(lab, folder)
        self._capsys = capsys
        self.host = lab.installroot(self.path("host"), import_key)
        monkeypatch.setenv("HOME", self.host.folder)
        self.key_file = shutil.copy(lab.key_file, self.path("the-key"))
        os.chmod(self.key_file, 0o644)
        self.use(self.key_file)

    def use(self, *paths):
        """Let gpgkey= name these files."""
        with open(self.lab.repo_file(self.repos), "r+") as stream:
            text = stream.read().replace("file://" + self.lab.key_file, " ".join("file://" + path for path in paths))
            stream.seek(0)
            stream.truncate()
            stream.write(text)

    def key(self, *arguments):
        """Exit code, stdout and stderr."""
        words = ["key"] + list(arguments) + UPDATES + ["--installroot", self.host.root, "--config", self.path("x.conf")]
        code = main(words + ["--reposdir", self.repos])
        return (code,) + tuple(self._capsys.readouterr())

    def references(self):
        """What ``key check --json`` says is wrong: exit code and references."""
        code, out, _ = self.key("check", "--json")
        answer = json.loads(out)
        assert answer["agree"] == (code == 0)
        return code, [problem["reference"] for problem in answer["problems"]]


@pytest.fixture
def keeper(lab, tmp_path, capsys, monkeypatch):
    return KeyKeeper(lab, tmp_path, capsys, monkeypatch)


def test_three_that_agree_are_fine(keeper):
    assert keeper.key("check") == (0, "key files, pinned fingerprints and rpm database agree\n", "")
    assert keeper.key("check", "-q") == (0, "", "")


def test_show_tells_all_that_an_admin_may_ask(keeper):
    code, out, err = keeper.key()
    assert (code, err) == (0, "") and out == keeper.key("show")[1]
    for text in ("pinned: " + keeper.lab.key_fingerprint, keeper.key_file + ", owner root, mode 0644: good", "RSA of 2048 bits",
                 "Lab Repository (test key)", "expires never", "rpm database: 1 keys"):
        assert text in out


def test_json_has_everything_in_it(keeper):
    answer = json.loads(keeper.key("show", "--json")[1])
    assert (answer["schema"], answer["command"], answer["agree"], answer["problems"]) == (1, "key", True, [])
    file = answer["repositories"][0]["key_files"][0]
    assert (file["path"], file["owner"], file["mode"], file["error"]) == (keeper.key_file, "root", "0644", None)
    expected = {"fingerprint": keeper.lab.key_fingerprint, "algorithm": "RSA", "bits": 2048, "expires_at": None, "revoked": False,
                "may_sign": True}
    assert {name: file["key"][name] for name in expected} == expected and file["key"]["created_at"].endswith("Z")
    assert [key["pinned"] for key in answer["imported"]] == [True]


def crafted(keeper, name, *following, **user_id):
    """Install and pin a key of our own making."""
    key = rsa_key(name)
    with open(keeper.key_file, "wb") as stream:
        stream.write(armor(key_packets(key, *[make(key) for make in following], **user_id), "PUBLIC KEY BLOCK"))
    keeper.settings(fingerprints=key.fingerprint)


def group_writable(keeper):
    os.chmod(keeper.key_file, 0o664)


def of_a_stranger(keeper):
    os.chown(keeper.key_file, 12345, 12345)


def another_key(keeper):
    shutil.copy(keeper.lab.other_key_file, keeper.key_file)


def no_file(keeper):
    os.unlink(keeper.key_file)


def rubbish(keeper):
    with open(keeper.key_file, "w") as stream:
        stream.write("rubbish")


def endless(keeper):
    with open(keeper.key_file, "ab") as stream:
        stream.write(b"\n" * (1 << 20))


def pipe(keeper):
    os.unlink(keeper.key_file)
    os.mkfifo(keeper.key_file)


@pytest.mark.parametrize("spoil, references", [
    (group_writable, ["key-file"]), (of_a_stranger, ["key-file"]),
    (another_key, ["key-mismatch", "key-mismatch"]), (no_file, ["key-file", "key-mismatch"]), (pipe, ["key-file", "key-mismatch"]),
    (rubbish, ["key-invalid", "key-mismatch"]), (endless, ["key-file", "key-mismatch"]),
    (lambda keeper: crafted(keeper, "expired", lifetime=1000), ["key-expired", "key-file"]),
    (lambda keeper: crafted(keeper, "revoked", revocation), ["key-revoked"]),
    (lambda keeper: crafted(keeper, "encrypts", flags=b"\x0c"), ["key-invalid", "key-file"]),
    (lambda keeper: keeper.settings(fingerprints="0" * 40), ["key-mismatch", "key-mismatch"]),
])  # fmt: skip
def test_what_is_wrong_is_told_with_what_to_do(spoil, references, keeper):
    spoil(keeper)
    assert keeper.references() == (1, references)
    code, out, err = keeper.key("check")
    steps = references[0] in ("key-expired", "key-revoked")
    assert (code, out.startswith("next: no pinned key can vouch")) == (1, steps) and bool(out) == steps
    assert len(err.splitlines()) == len(references) and all("; " in line for line in err.splitlines())
    assert keeper.key("show")[0] == 0


def test_show_describes_a_bad_key_too(keeper):
    another_key(keeper)
    out = keeper.key("show")[1]
    assert "key-mismatch" in out and keeper.lab.keys.fingerprint(OTHER) in out
    crafted(keeper, "expired", lifetime=1000)
    assert "key-expired" in keeper.key("show")[1]
    assert json.loads(keeper.key("show", "--json")[1])["repositories"][0]["key_files"][0]["key"]["created_at"] == "2017-07-14T02:40:00Z"
    assert BORN == 1500000000


def test_a_revocation_or_an_end_that_stands_behind_a_subkey_is_seen(keeper):
    key, subkey = rsa_key("late"), rsa_key("subkey")
    for late, reference in ((revocation(key), "key-revoked"), (direct(key, lifetime=1000), "key-expired")):
        with open(keeper.key_file, "wb") as stream:
            stream.write(key_packets(key, subkey_packets(key, subkey), late))
        keeper.settings(fingerprints=key.fingerprint)
        assert keeper.references()[1][0] == reference


def test_several_keys_in_one_file_are_all_shown_and_the_pinned_one_is_found(keeper):
    with open(keeper.key_file, "rb") as stream:
        own = stream.read()
    with open(keeper.key_file, "wb") as stream:
        stream.write(b"\xef\xbb\xbfThe keys:\r\n" + armor(key_packets(rsa_key("first")), "PUBLIC KEY BLOCK") + own)
    assert keeper.references() == (0, [])
    out = keeper.key("show")[1]
    assert rsa_key("first").fingerprint in out and "not pinned, so not trusted" in out and keeper.lab.key_fingerprint in out
    file = json.loads(keeper.key("show", "--json")[1])["repositories"][0]["key_files"][0]
    assert [key["fingerprint"] for key in file["keys"]] == [keeper.lab.key_fingerprint, rsa_key("first").fingerprint]
    assert file["key"] == file["keys"][0]


def test_what_el_10_will_refuse_about_a_key_with_sha1_only_is_noted_with_what_helps_and_is_no_problem(keeper):
    assert json.loads(keeper.key("check", "--json")[1])["notes"] == []
    crafted(keeper, "sha1")
    keeper.host.import_key(keeper.key_file)
    code, out, err = keeper.key("check")
    assert (code, err) == (0, "") and out.startswith("key files, pinned fingerprints and rpm database agree\n")
    note = " ".join(out.split())
    assert rsa_key("sha1").fingerprint in note and "SHA-256" in note and "update-crypto-policies --set DEFAULT:SHA1" in note
    crafted(keeper, "sha1", digest="sha256")
    assert json.loads(keeper.key("check", "--json")[1])["notes"] == []


def test_a_key_that_was_never_imported_is_told_with_the_command(lab, tmp_path, capsys, monkeypatch):
    keeper = KeyKeeper(lab, tmp_path, capsys, monkeypatch, import_key=False)
    code, _, err = keeper.key("check")
    command = "rpm --root {} --import {}".format(keeper.host.root, keeper.key_file)
    assert code == 1 and command in err
    keeper.host.import_key(keeper.key_file)
    assert keeper.key("check")[0] == 0


def test_a_foreign_key_in_the_rpm_database_is_shown_and_no_disagreement(keeper):
    keeper.host.import_key(keeper.lab.other_key_file)
    assert keeper.key("check")[0] == 0
    assert "{} Somebody Else (test key) <other@lab.invalid> (not pinned".format(keeper.lab.keys.fingerprint(OTHER)) in keeper.key()[1]


def test_a_change_over_is_complete_when_both_keys_are_everywhere(keeper):
    other = keeper.lab.keys.fingerprint(OTHER)
    keeper.settings(fingerprints="{} {}".format(keeper.lab.key_fingerprint, other))
    assert keeper.references() == (1, ["key-mismatch"])
    second = shutil.copy(keeper.lab.other_key_file, keeper.path("second"))
    keeper.use(keeper.key_file, second)
    assert keeper.references() == (1, ["key-file"])
    keeper.host.import_key(second)
    assert keeper.references() == (0, [])


def test_a_key_that_was_announced_or_revoked_beside_one_that_is_good_is_in_order_and_told(keeper):
    """Whether in the same key file or in one of its own."""
    old, other = keeper.lab.key_fingerprint, keeper.lab.keys.fingerprint(OTHER)
    retired = rsa_key("retired")
    path = keeper.path("retired")
    with open(path, "wb") as stream:
        stream.write(armor(key_packets(retired, revocation(retired)), "PUBLIC KEY BLOCK"))
    keeper.use(keeper.key_file, path, shutil.copy(keeper.lab.other_key_file, keeper.path("second")))
    keeper.settings(fingerprints="{} {}".format(old, retired.fingerprint))
    assert keeper.references() == (0, [])
    code, out, _ = keeper.key("check")
    assert code == 0 and "next: {} is revoked and vouches for nothing".format(retired.fingerprint) in " ".join(out.split())
    answer = json.loads(keeper.key("show", "--json")[1])
    assert [(each["fingerprint"], each["state"], each["imported"], each["announced_by"]) for each in answer["standings"]] == [
        (old, "in use", True, []), (retired.fingerprint, "revoked", False, []), (other, "not trusted", False, [])]
    assert answer["last_signatures"] == [{"id": "xcp-ng-updates", "signed_at": None, "signers": [], "refused": None}]
    assert keeper.path("x.conf") in answer["pinned_by"]
    out = keeper.key("show")[1]
    assert "pinned: {}: in use ({}".format(old, keeper.path("x.conf")) in out and "revoked, vouches for nothing" in out


def test_a_revoked_key_that_rpm_still_believes_is_told_with_the_command(keeper):
    crafted(keeper, "revoked", revocation)
    keeper.host.import_key(keeper.key_file)
    name = "gpg-pubkey-" + rsa_key("revoked").fingerprint[-8:].lower()
    command = "rpm --root {} -e --allmatches {}".format(keeper.host.root, name)
    assert command in " ".join(json.loads(keeper.key("check", "--json")[1])["next"])
    keeper.host.rpm("-e", "--allmatches", name)
    assert command not in " ".join(json.loads(keeper.key("check", "--json")[1])["next"])


def test_no_rpm_program_is_told(keeper, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert keeper.references() == (1, ["key-file"])
    assert "rpm database: not known" in keeper.key()[1]


@pytest.mark.parametrize("text", [b"", b"(none)\n", b"-----BEGIN PGP PUBLIC KEY BLOCK-----", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n" * 3])
def test_what_rpm_prints_and_is_no_key_is_left_out(text):
    assert read_imported(text) == []
    good = armor(key_packets(rsa_key()), "PUBLIC KEY BLOCK")
    assert [key.fingerprint for key in read_imported(text + b"\n" + good + text)] == [rsa_key().fingerprint]


def test_an_unknown_action_is_a_usage_error(keeper):
    with pytest.raises(SystemExit) as end:
        keeper.key("trust")
    assert end.value.code == 2
