"""The publisher's key changes: from the old one, by files that both have signed, to the new one alone.

The first half has every rule on keys of our own making; the second is the whole story with gpg's keys on the real dnf: a
publisher in four states, and hosts that are up to date, one step behind, and off for a year.
"""
import json
import os
import subprocess
from types import SimpleNamespace

import pytest

from tests.lab.keys import OTHER, REPOSITORY, KeyRing
from tests.lab.packages import Package, build
from tests.lab.repositories import STATES, State, repository_path
from tests.lab.tools import environment, run
from tests.support.craft import (
    DAY,
    DOCUMENT,
    MADE,
    NOW,
    armor,
    created,
    issuer,
    issuer_fingerprint,
    key_packets,
    revocation,
    rsa_key,
    signature,
    subpacket,
    u32,
)
from tests.support.own_fragments import OwnFragments
from yum_plugin.errors import TrustError
from yum_plugin.host.key_standing import (
    ANNOUNCED,
    EXPIRED,
    IN_USE,
    MISSING,
    REVOKED,
    STRANGE,
    UNUSABLE,
    LastSignature,
    next_steps,
    overruled,
    signers_of,
    standings,
)
from yum_plugin.host.keyring import load_keys
from yum_plugin.host.settings import read_settings
from yum_plugin.trust.openpgp import verify_detached

OLD, NEW, STRANGER = rsa_key("old"), rsa_key("new"), rsa_key("stranger")
USER_ID = b"XCP-ng Key <security@example.org>"
OLD_KEY, NEW_KEY = key_packets(OLD, digest="sha256"), key_packets(NEW, digest="sha256")
OLD_REVOKED = key_packets(OLD, revocation(OLD), digest="sha256")


def certified(by=OLD, user_id=USER_ID, kind=0x10, made=MADE, more=b"", **changes):
    """A signature of one key on the user id of the new one."""
    document = NEW.framed + b"\xb4" + u32(len(user_id)) + user_id
    return signature(by, document=document, kind=kind, hashed=created(made) + issuer_fingerprint(by) + more, **changes)


ANNOUNCEMENT = NEW_KEY + certified()


def by(*signers):
    """repomd.xml.asc by these keys."""
    return armor(b"".join(signature(key, document=DOCUMENT) for key in signers))


def key_file(folder, *keys):
    """An installed key file, a block for each key."""
    path = folder / "RPM-GPG-KEY-xcpng"
    path.write_bytes(b"".join(armor(key, "PUBLIC KEY BLOCK") for key in keys))
    return str(path)


def verdict(path, pinned, signed):
    try:
        keys = load_keys([path], [key.fingerprint for key in pinned])
        return verify_detached(DOCUMENT, signed, keys, NOW).fingerprint
    except TrustError as error:
        return error.reference


OLD_ONE, NEW_ONE = OLD.fingerprint, NEW.fingerprint
HOSTS = {
    # name: key file, fingerprints=, what comes of a file that the old key, both, the new key have signed
    "before": ([OLD_KEY], [OLD], OLD_ONE, OLD_ONE, "unknown-key"),
    "told": ([OLD_KEY, ANNOUNCEMENT], [OLD], OLD_ONE, OLD_ONE, "unknown-key"),
    "bridged": ([OLD_KEY, ANNOUNCEMENT], [OLD, NEW], OLD_ONE, OLD_ONE, NEW_ONE),
    "old revoked": ([OLD_REVOKED, ANNOUNCEMENT], [OLD, NEW], "key-revoked", NEW_ONE, NEW_ONE),
    "old revoked, not yet bridged": ([OLD_REVOKED, ANNOUNCEMENT], [OLD], "key-revoked", "key-revoked", "unknown-key"),
    "after": ([ANNOUNCEMENT], [NEW], "unknown-key", NEW_ONE, NEW_ONE),
}


@pytest.mark.parametrize("name", sorted(HOSTS))
def test_a_key_is_trusted_by_its_fingerprint_alone_and_revoked_it_vouches_for_nothing(name, tmp_path):
    keys, pinned, old, both, new = HOSTS[name]
    path = key_file(tmp_path, *keys)
    assert [verdict(path, pinned, by(*signers)) for signers in ([OLD], [OLD, NEW], [NEW])] == [old, both, new]
    assert verdict(path, pinned, by(NEW, OLD)) in ((OLD_ONE, NEW_ONE) if name == "bridged" else (both,)), "the order never matters"


def test_the_fragment_of_a_package_pins_as_many_keys_as_it_takes(tmp_path):
    conf, fragment = tmp_path / "x.conf", tmp_path / "10-xcp-ng-release.conf"
    conf.write_text("[main]\nfingerprints={}\n".format(OLD_ONE))
    names = ["{:040X}".format(number) for number in range(16)]
    fragment.write_text("[main]\nfingerprints={}\n".format(" ".join(names)))
    for path in (conf, fragment):
        path.chmod(0o644)
    reading = read_settings(str(conf), [str(fragment)], is_named=True)
    assert (reading.settings.fingerprints, reading.warnings) == (tuple(names), ())
    fragment.chmod(0o666)
    reading = read_settings(str(conf), [str(fragment)], is_named=True)
    assert reading.settings.fingerprints == (OLD_ONE,) and "others than root can change it" in reading.warnings[0]


STANDINGS = {
    # name: key file, fingerprints=, the states of the old key and of the new one
    "nothing announced": ([OLD_KEY, NEW_KEY], [OLD], IN_USE, STRANGE),
    "announced": ([OLD_KEY, ANNOUNCEMENT], [OLD], IN_USE, ANNOUNCED),
    "bridged": ([OLD_KEY, ANNOUNCEMENT], [OLD, NEW], IN_USE, IN_USE),
    "pinned before its key came": ([OLD_KEY], [OLD, NEW], IN_USE, MISSING),
    "revoked, so it announces nothing": ([OLD_REVOKED, ANNOUNCEMENT], [OLD], REVOKED, STRANGE),
    "revoked after a bridge": ([OLD_REVOKED, ANNOUNCEMENT], [OLD, NEW], REVOKED, IN_USE),
    "expired, so it announces nothing": ([key_packets(OLD, digest="sha256", lifetime=DAY), ANNOUNCEMENT], [OLD], EXPIRED, STRANGE),
    "for encryption": ([key_packets(OLD, digest="sha256", flags=b"\x0c"), NEW_KEY], [OLD], UNUSABLE, STRANGE),
    "certified by a stranger": ([OLD_KEY, NEW_KEY + certified(STRANGER)], [OLD], IN_USE, STRANGE),
    "certified in the old key's name": ([OLD_KEY, NEW_KEY + certified(STRANGER, unhashed=issuer(OLD))], [OLD], IN_USE, STRANGE),
    "certified by SHA-1": ([OLD_KEY, NEW_KEY + certified(digest="sha1")], [OLD], IN_USE, STRANGE),
    "another name certified": ([OLD_KEY, NEW_KEY + certified(user_id=b"Another <a@example.org>")], [OLD], IN_USE, STRANGE),
    "an unknown critical subpacket": ([OLD_KEY, NEW_KEY + certified(more=subpacket(0x80 | 99, b""))], [OLD], IN_USE, STRANGE),
    "taken back": ([OLD_KEY, ANNOUNCEMENT + certified(kind=0x30, made=MADE + 1)], [OLD], IN_USE, STRANGE),
    "taken back, written before": ([OLD_KEY, NEW_KEY + certified(kind=0x30, made=MADE + 1) + certified()], [OLD], IN_USE, STRANGE),
    "taken back by a stranger": ([OLD_KEY, ANNOUNCEMENT + certified(STRANGER, kind=0x30, made=MADE + 1)], [OLD], IN_USE, ANNOUNCED),
    "announced again": ([OLD_KEY, ANNOUNCEMENT + certified(kind=0x30, made=MADE - 1)], [OLD], IN_USE, ANNOUNCED),
    "for a time that is over": ([OLD_KEY, NEW_KEY + certified(more=subpacket(3, u32(DAY)))], [OLD], IN_USE, STRANGE),
    "for a time that is not": ([OLD_KEY, NEW_KEY + certified(more=subpacket(3, u32(NOW - MADE + 1)))], [OLD], IN_USE, ANNOUNCED),
}


@pytest.mark.parametrize("name", sorted(STANDINGS))
def test_announcement_rules_1_to_3_it_is_told_trusts_nothing_and_is_not_heard_from_a_key_that_is_dead(name, tmp_path):
    keys, pinned, old, new = STANDINGS[name]
    path = key_file(tmp_path, *keys)
    found = {each.fingerprint: each for each in standings([path], [key.fingerprint for key in pinned], None, NOW)}
    assert (found[OLD_ONE].state, found[NEW_ONE].state if NEW_ONE in found else None) == (old, new)
    assert found[NEW_ONE].announced_by == ((OLD_ONE,) if new == ANNOUNCED else ())
    assert new == IN_USE or verdict(path, pinned, by(NEW)) in ("unknown-key", "key-invalid")


def test_key_standing_rule_1_what_all_files_say_is_put_together_but_for_a_file_that_others_can_change(tmp_path):
    (tmp_path / "more").mkdir()
    first, second = key_file(tmp_path, OLD_KEY), key_file(tmp_path / "more", OLD_REVOKED)
    assert [each.state for each in standings([first, second], [OLD_ONE], None, NOW)] == [REVOKED]
    os.chmod(second, 0o666)
    assert [(each.state, each.paths) for each in standings([first, second], [OLD_ONE], None, NOW)] == [(IN_USE, (first,))]


def test_key_standing_rule_2_whom_the_last_signature_names_is_told_by_fingerprint(tmp_path):
    found = standings([key_file(tmp_path, OLD_KEY, NEW_KEY)], [OLD_ONE], [], NOW)
    assert signers_of(by(OLD, NEW, STRANGER, OLD), found) == (OLD_ONE, NEW_ONE, STRANGER.fingerprint)
    assert signers_of(armor(signature(NEW, document=DOCUMENT, hashed=created())), found) == (NEW_ONE,)
    assert signers_of(b"rubbish", found) == () and [each.imported for each in found] == [False, False]


def steps(tmp_path, keys, pinned, signers=(OLD_ONE,), refusal="", fragments=()):
    found = standings([key_file(tmp_path, *keys)], [key.fingerprint for key in pinned], [], NOW)
    return "\n".join(next_steps(found, [LastSignature("xcp-ng-updates", MADE, signers, refusal)], fragments))


def test_what_an_admin_is_told_to_do_in_each_state_of_the_change(tmp_path):
    assert steps(tmp_path, [OLD_KEY], [OLD]) == "" == steps(tmp_path, [OLD_KEY, NEW_KEY], [OLD, NEW], (OLD_ONE, NEW_ONE))
    gradual = "'yum update xcp-ng-release', that package alone; then 'yum update'"
    for told in (steps(tmp_path, [OLD_KEY], [OLD], (OLD_ONE, NEW_ONE)), steps(tmp_path, [OLD_KEY], [OLD], refusal="packages"),
                 steps(tmp_path, [OLD_KEY, ANNOUNCEMENT], [OLD])):
        assert gradual in told and "verify" not in told
    told = steps(tmp_path, [OLD_KEY], [OLD], refusal="metadata")
    assert "'xcpng-mirrors verify xcp-ng-release-*.rpm && rpm -U xcp-ng-release-*.rpm'" in told and "then 'yum update'" in told
    for keys in ([OLD_REVOKED], [key_packets(OLD, digest="sha256", lifetime=DAY)]):
        assert "no pinned key can vouch for anything" in steps(tmp_path, keys, [OLD])
    told = steps(tmp_path, [OLD_REVOKED, NEW_KEY], [OLD, NEW], (NEW_ONE,))
    assert told == "{} is revoked and vouches for nothing; fingerprints= needs it no longer".format(OLD_ONE)


def test_a_fragment_of_before_the_change_that_overrules_the_packages_is_named(tmp_path):
    texts = {"10-xcp-ng-release.conf": "{} {}".format(OLD_ONE, NEW_ONE), "50-site.conf": OLD_ONE, "60-other.conf": ""}
    paths = [str(tmp_path / name) for name in texts]
    for path, (_, pinned) in zip(paths, texts.items()):
        with open(path, "w") as stream:
            stream.write("[main]\n" + ("fingerprints={}\n".format(pinned) if pinned else "max_age=9\n"))
        os.chmod(path, 0o644)
    assert overruled(paths) == [(paths[0], paths[1], (NEW_ONE,))]
    assert overruled(paths[:1]) == overruled(paths[2:]) == overruled(paths[1::-1]) == []
    told = steps(tmp_path, [OLD_KEY, NEW_KEY], [OLD], fragments=paths)
    assert "{} is not trusted: {} names it, but {}".format(NEW_ONE, paths[0], paths[1]) in told


# The story, on the real dnf.

KEY_PATH, FRAGMENT_PATH = "/etc/pki/rpm-gpg/RPM-GPG-KEY-xcpng", "/etc/xcpng-mirrors.d/10-xcp-ng-release.conf"
UPDATES = repository_path("updates")


class Publisher:
    """One who changes his key, and the repository in each state of that.

    1: the old key alone. 2: repomd.xml is signed by both; xcp-ng-release 2, by the old key, brings the new one and its
    fingerprint. 3: other packages are signed by the new key. 4: the new key alone; xcp-ng-release 3, by it, brings the old
    one's revocation, and its fingerprint alone.
    """

    def __init__(self, lab, folder, monkeypatch):
        self.lab, self.folder = lab, str(folder)
        self._monkeypatch = monkeypatch
        self.keys = KeyRing(os.path.join(self.folder, "keys"), lab.trees.present - 1000 * DAY)
        self.old, self.new = self.keys.fingerprint(REPOSITORY), self.keys.fingerprint(OTHER)
        self.old_key = self.keys.public_key(REPOSITORY)
        self.keys.gpg("--local-user", self.old, "--quick-sign-key", self.new)
        self.new_key = self.keys.public_key(OTHER)
        self.revoked_key = self._revoked()

    def _revoked(self):
        """The old key with its revocation, which the key ring that signs does not know of."""
        with open(os.path.join(self.keys.homedir, "openpgp-revocs.d", self.old + ".rev"), "rb") as stream:
            text = stream.read().replace(b":-----BEGIN", b"-----BEGIN")
        judge = KeyRing(os.path.join(self.folder, "judge"), 0)
        try:
            judge.gpg("--import", stdin=self.old_key)
            judge.gpg("--trust-model", "pgp", "--import", stdin=text[text.index(b"-----BEGIN"):])
            return judge.gpg("--armor", "--export", self.old)
        finally:
            judge.close()

    def release(self, version, *key_blocks, pinned):
        fragment = "[main]\nfingerprints={}\n".format(" ".join(pinned)).encode("ascii")
        return Package("xcp-ng-release", version, files=((KEY_PATH, b"".join(key_blocks)), (FRAGMENT_PATH, fragment)))

    def publish(self, number):
        """Let all mirrors serve a state."""
        releases = [(self.release("1", self.old_key, pinned=[self.old]), REPOSITORY)]
        if number > 1:
            releases.append((self.release("2", self.old_key, self.new_key, pinned=[self.old, self.new]), REPOSITORY))
        if number > 3:
            releases.append((self.release("3", self.revoked_key, self.new_key, pinned=[self.new]), OTHER))
        root = os.path.join(self.folder, "state-{}".format(number))
        if not os.path.isdir(root):
            agent = Package("lab-agent", str(number))
            self._build(root, number, releases + [(agent, REPOSITORY if number < 3 else OTHER)])
        self._monkeypatch.setitem(STATES, root, State(str(number), (5 - number) * DAY))
        self.lab.trees.published = root

    def _build(self, root, number, packages):
        stamp, target = self.lab.trees.present - (5 - number) * DAY, os.path.join(root, UPDATES)
        work = os.path.join(root, "work")
        os.makedirs(work)
        for package, signer in packages:
            build(package, os.path.join(target, "Packages"), work, stamp, self.keys, signer)
        run(["createrepo_c", "--quiet", "--workers", "1", "--revision", str(stamp), "--set-timestamp-to-revision", target],
            environment(work))
        repomd = os.path.join(target, "repodata", "repomd.xml")
        with open(repomd, "rb") as stream:
            document = stream.read()
        signers = [owner for owner, states in ((REPOSITORY, (1, 2, 3)), (OTHER, (2, 3, 4))) if number in states]
        with open(repomd + ".asc", "wb") as stream:
            stream.write(b"".join(self.keys.sign(document, owner, stamp + 60) for owner in signers))
        with open(repomd + ".key", "wb") as stream:  # as zypper wants it; nobody here may ask for it
            stream.write(self.new_key)

    def package(self, name):
        return os.path.join(self.lab.trees.published, UPDATES, "Packages", name)


class ChangingHost:
    """A host that has xcp-ng-release 1 and lab-agent 1."""

    def __init__(self, publisher, folder):
        self.publisher, lab = publisher, publisher.lab
        self.made = lab.installroot(str(folder / "host"), import_key=False)
        self.key_file = self.made.root + KEY_PATH
        fragments = OwnFragments(str(folder), self.made.root + os.path.dirname(FRAGMENT_PATH))
        fragments.link(self.made.plugins, "dnf")
        self._command = fragments.command
        self._conf = os.path.join(self.made.pluginconf, "xcpng-mirrors.conf")
        with open(self._conf, "w") as stream:
            stream.write("[main]\ncommand={}\nredirectors={}\nfallbacks={}\nallow_networks=127.0.0.0/8 ::1/128\nfingerprints={}\n".format(
                fragments.command, lab.redirector.authority, lab.origin.url, publisher.old))
        os.makedirs(os.path.dirname(self.key_file))
        with open(self.key_file, "wb") as stream:
            stream.write(publisher.old_key)
        self.made.import_key(self.key_file)
        path = lab.repo_file(self.made.repos, ("updates",))
        with open(path) as stream:
            text = stream.read().replace(lab.key_file, self.key_file)
        with open(path, "w") as stream:
            stream.write(text)

    def update(self, *packages):
        """What ``dnf -y update`` came to: exit code, the versions of xcp-ng-release and lab-agent, and what was said."""
        return self._done("update", *packages)

    def _done(self, *arguments):
        done = self.made.dnf("-y", "--refresh", *arguments)
        versions = self.made.version("xcp-ng-release"), self.made.version("lab-agent")
        return SimpleNamespace(result=(done.returncode,) + versions, said=done.stdout + done.stderr)

    def install(self):
        self.publisher.publish(1)
        done = self._done("install", "xcp-ng-release", "lab-agent")
        assert done.result == (0, "1", "1"), done.said

    def command(self, *arguments):
        words = [self._command, *arguments, "--config", self._conf]
        return subprocess.run(words, env=dict(self.made.environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=120)

    def keys(self):
        done = self.command("key", "show", "--json", "--installroot", self.made.root, "--reposdir", self.made.repos)
        return json.loads(done.stdout)

    def imported(self):
        return {key["fingerprint"] for key in self.keys()["imported"]}




@pytest.fixture
def publisher(lab, tmp_path, monkeypatch):
    lab.add_mirror("one")
    lab.add_mirror("two")
    made = Publisher(lab, tmp_path / "publisher", monkeypatch)
    yield made
    made.keys.close()


@pytest.fixture
def host(publisher, tmp_path):
    made = ChangingHost(publisher, tmp_path)
    made.install()
    return made


def asked_for_keys(lab):
    return [entry.path for entry in lab.log.requests() if ".key" in entry.path or "GPG" in entry.path]


@pytest.mark.dnf
def test_the_story_a_host_that_is_up_to_date_comes_through_without_a_word(publisher, host, lab):
    for number, expected in ((2, (0, "2", "2")), (3, (0, "2", "3")), (4, (0, "3", "4"))):
        publisher.publish(number)
        done = host.update()
        assert done.result == expected and "xcpng-mirrors:" not in done.said, done.said
        assert done.said.count("Importing GPG key") == (number == 3), "dnf's own prompt, once, which -y answers"
        assert host.imported() == {publisher.old} | ({publisher.new} if number > 2 else set()), "dnf imports a key when it needs it"
    shown = host.keys()
    assert "-e --allmatches gpg-pubkey-" + publisher.old[-8:].lower() in shown["next"][0]
    assert shown["pinned"] == [publisher.new] and shown["last_signatures"][0]["signers"] == [publisher.new]
    assert asked_for_keys(lab) == []


@pytest.mark.dnf
def test_unattended_without_y_dnf_imports_no_key_and_the_command_that_helps_is_named(publisher, host):
    """gpgcheck=1 is rpm's own check, by rpm's own keys: that a key is pinned here does not import it there."""
    publisher.publish(2)
    assert host.update().result == (0, "2", "2")
    publisher.publish(3)

    def update():
        done = subprocess.run(host.made.command("--refresh", "update"), env=host.made.environment, input="y\n", timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        return done.returncode, host.made.version("lab-agent"), done.stdout

    code, version, said = update()
    assert (code, version) == (1, "2") and "Refusing to automatically import keys" in said and "xcpng-mirrors:" not in said, said
    [problem] = host.keys()["problems"]
    assert problem["where"] == publisher.new and problem["hint"] == "rpm --root {} --import {}".format(host.made.root, host.key_file)
    host.made.import_key(host.key_file)
    code, version, said = update()
    assert (code, version) == (0, "3"), said


@pytest.mark.dnf
@pytest.mark.parametrize("state", [3, 4])
def test_a_key_that_a_repo_file_names_in_the_network_is_neither_fetched_nor_believed(state, publisher, host, lab):
    """It lies on the mirrors, and -y would import it: what it has signed is refused before dnf comes to that."""
    [path] = [os.path.join(host.made.repos, name) for name in os.listdir(host.made.repos)]
    with open(path) as stream:
        text = stream.read().replace("gpgkey=", "gpgkey={}{}repodata/repomd.xml.key ".format(lab.origin.url, UPDATES))
    with open(path, "w") as stream:
        stream.write(text)
    publisher.publish(state)
    assert os.path.exists(publisher.package("../repodata/repomd.xml.key"))
    done = host.update("lab-agent")
    assert done.result == (1, "1", "1") and "unknown-key: " in done.said, done.said
    assert asked_for_keys(lab) == [] and host.imported() == {publisher.old}


@pytest.mark.dnf
def test_the_story_a_host_that_is_a_step_behind_is_told_the_two_commands(publisher, host, lab):
    publisher.publish(3)
    done = host.update()
    assert done.result == (1, "1", "1") and "unknown-key: " in done.said and "xcpng-mirrors key show" in done.said, done.said
    [step] = host.keys()["next"]
    assert "'yum update xcp-ng-release', that package alone; then 'yum update'" in step
    assert host.update("xcp-ng-release").result == (0, "2", "1")
    assert host.update().result == (0, "2", "3") and asked_for_keys(lab) == []


@pytest.mark.dnf
def test_the_story_a_host_that_was_off_for_a_year_is_told_the_two_commands(publisher, host, lab):
    publisher.publish(4)
    done = host.update()
    assert done.result == (1, "1", "1") and "unknown-key: " in done.said and "xcpng-mirrors key show" in done.said, done.said
    shown = host.keys()
    assert shown["pinned"] == [publisher.old] and shown["last_signatures"][0]["refused"] == "metadata"
    assert "verify xcp-ng-release-*.rpm && rpm -U xcp-ng-release-*.rpm" in shown["next"][0]
    for name, code in (("xcp-ng-release-3-1.noarch.rpm", 4), ("xcp-ng-release-2-1.noarch.rpm", 0)):
        assert host.command("verify", publisher.package(name), "--key", host.key_file).returncode == code
    host.made.rpm("-U", publisher.package("xcp-ng-release-2-1.noarch.rpm"))
    done = host.update()
    assert done.result == (0, "3", "4"), done.said
    assert asked_for_keys(lab) == []
