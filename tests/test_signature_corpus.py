"""Detached signatures and packages beside gpgv and rpmkeys: each row has what they say, asked in the same test, and what we say."""
import io
import json
import os
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY_ROOT
from tests.support.craft import (
    BORN,
    DAY,
    DOCUMENT,
    NOW,
    armor,
    created,
    dsa_key,
    ecdsa_key,
    eddsa_key,
    issuer,
    issuer_fingerprint,
    key_packets,
    mpi,
    new_packet,
    old_packet,
    rsa_key,
    signature,
    signature_body,
    subkey_packets,
    subpacket,
    u16,
    u32,
    v3_signature,
)
from tests.support.craft_rpm import PAYLOAD, binary, int32, main_header, rpm, strings
from tests.support.judges import OURS, Folder, Gpgv, Rpmkeys, explains, need
from yum_plugin.errors import TrustError
from yum_plugin.trust.armor import read_blocks
from yum_plugin.trust.keys import describe_key, load_pinned_key
from yum_plugin.trust.openpgp import verify_detached
from yum_plugin.trust.rpmfile import verify_rpm

KEY, OTHER, SUBKEY = rsa_key(), rsa_key("other"), rsa_key("subkey")
RING = key_packets(KEY, subkey_packets(KEY, SUBKEY), digest="sha256")
PINNED = load_pinned_key(RING, [KEY.fingerprint])
EXPLAINED = (REPOSITORY_ROOT / "docs" / "signatures.md").read_text(encoding="utf-8")


def good(**changes):
    return signature(KEY, **changes)


def ids(key=KEY):
    return created() + issuer_fingerprint(key)


def go(numbers):
    """Octets as Go's x/crypto/openpgp says them: all bits of each, leading zeros too."""
    return b"".join(u16((number.bit_length() + 7) // 8 * 8) + mpi(number)[2:] for number in numbers)


# name -> file, what gpgv says, what we say, why they differ (a heading of docs/signatures.md)
ROWS = {
    "binary": (good(), "good", "good", ""),
    "old packet format": (old_packet(2, signature_body(KEY)), "good", "good", ""),
    "armored": (armor(good()), "good", "good", ""),
    "V3": (v3_signature(KEY), "good", "good", ""),
    "V3 whose signed part says 6 octets": (v3_signature(KEY, signed_octets=6), "good", "malformed", "V3 form"),
    "SHA-512": (good(digest="sha512"), "good", "good", ""),
    "SHA-224": (good(digest="sha224"), "good", "weak-digest", "weak digest"),
    "SHA-1": (good(digest="sha1"), "good", "weak-digest", "weak digest"),
    "MD5": (good(digest="md5"), "none", "weak-digest", ""),
    "by a subkey": (signature(SUBKEY), "good", "good", ""),
    "Go's number": (good(numbers=go), "good", "good", ""),
    "another key's": (signature(OTHER), "none", "unknown-key", ""),
    "another key's first": (signature(OTHER) + good(), "good", "good", ""),
    "another key's last": (good() + signature(OTHER), "good", "good", ""),
    "bad first": (good(document=b"other") + good(), "bad", "signature-invalid", ""),
    "bad last": (good() + good(document=b"other"), "bad", "signature-invalid", ""),
    "SHA-1 beside": (good(digest="sha1") + good(), "good", "good", ""),
    "MD5 beside": (good(digest="md5") + good(), "good", "good", ""),
    "V6 first": (good(version=6) + good(), "none", "good", "unreadable beside"),
    "V6 last": (good() + good(version=6), "good", "good", ""),
    "one that is cut first": (new_packet(2, signature_body(KEY)[:30]) + good(), "none", "good", "unreadable beside"),
    "one that is cut last": (good() + new_packet(2, signature_body(KEY)[:30]), "good", "good", ""),
    "of text": (good(kind=1), "bad", "wrong-signature-type", ""),
    "of nothing": (good(kind=2), "none", "wrong-signature-type", ""),
    "of nothing, beside": (good(kind=2) + good(), "none", "good", "another type beside"),
    "of text, beside": (good(kind=1) + good(), "bad", "good", "another type beside"),
    "unknown critical subpacket": (good(hashed=ids() + subpacket(100, critical=True)), "critical", "unsupported", ""),
    "unknown critical subpacket, beside": (good(hashed=ids() + subpacket(100, critical=True)) + good(), "critical", "good", "unreadable beside"),
    "critical notation": (good(hashed=ids() + subpacket(20, b"\0\0\0\0\0\1\0\1ab", critical=True)), "critical", "unsupported", ""),
    "two creation times": (good(hashed=ids() + created(BORN)), "good", "good", ""),
    "no creation time": (good(hashed=issuer_fingerprint(KEY)), "none", "malformed", ""),
    "issuers that differ": (good(unhashed=issuer(OTHER)), "good", "good", ""),
    "no issuer": (good(hashed=created(), unhashed=b""), "none", "unknown-key", ""),
    "16 bits wrong": (good(left16=b"\0\0"), "good", "signature-invalid", "16 bits"),
    "bytes after the number": (good(tail=b"\0"), "good", "good", ""),
    "expired": (good(hashed=ids() + subpacket(3, u32(1))), "none", "signature-expired", ""),
    "from the future": (good(hashed=created(0xFFFFFFFF) + issuer(KEY)), "good", "good", ""),
    "older than its key": (good(hashed=created(BORN - 1) + issuer(KEY)), "none", "signature-invalid", ""),
    "marker before": (new_packet(10, b"PGP") + good(), "good", "good", ""),
    "padding after": (good() + new_packet(21, bytes(8)), "good", "good", ""),
    "user id after": (good() + new_packet(13, b"me"), "good", "good", ""),
    "bytes after": (good() + b"junk", "good", "good", ""),
    "literal data before": (new_packet(11, b"b\0\0\0\0\0" + DOCUMENT) + good(), "none", "malformed", ""),
    "packed": (new_packet(8, b"\0" + good()), "good", "malformed", "message"),
    "partial length": (b"\xc2\xe8" + signature_body(KEY), "none", "malformed", ""),
    "armor, no CRC24": (armor(good(), crc=False), "good", "good", ""),
    "armor, wrong CRC24": (armor(good(), crc=b"abc"), "none", "good", "form"),
    "armor, empty comment": (armor(good(), headers="Comment:\n"), "good", "good", ""),
    "armor, text before and after": (b"hello\n\n" + armor(good()) + b"bye\n", "good", "good", ""),
    "armor, two blocks": (armor(good()) * 2, "good", "good", ""),
    "armor, another key's block first": (armor(signature(OTHER)) + armor(good()), "good", "good", ""),
    "armor, a bad block last": (armor(good()) + armor(good(document=b"other")), "bad", "signature-invalid", ""),
    "armor, one long line": (armor(good(), width=9999), "good", "good", ""),
    "armor, Windows line ends": (armor(good()).replace(b"\n", b"\r\n"), "good", "good", ""),
    "armor, a byte order mark": (b"\xef\xbb\xbf" + armor(good()), "none", "good", "form"),
    "armor, Macintosh line ends": (armor(good()).replace(b"\n", b"\r"), "none", "malformed", ""),
    "armor, no end": (armor(good()).split(b"-----END")[0], "good", "good", ""),
    "a page": (b"<html></html>", "none", "signature-missing", ""),
}  # fmt: skip


def ours(signature_file, document=DOCUMENT, keys=(PINNED,), now=NOW):
    try:
        verify_detached(document, signature_file, keys, now)
    except TrustError as refused:
        return refused
    return None


@pytest.fixture(scope="module")
def gpgv():
    judge = Gpgv(RING)
    yield judge
    judge.close()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_is_judged_as_by_gpgv_or_the_difference_is_explained(name, gpgv):
    data, theirs, expected, reason = ROWS[name]
    refused = ours(data)
    assert (gpgv.says(data, DOCUMENT), refused.reference if refused else "good") == (theirs, expected)
    assert bool(reason) == ((theirs == "good") != (expected == "good"))
    if reason:
        assert "| {} |".format(reason) in EXPLAINED
        assert reason in OURS if expected == "good" else explains(refused) == reason
    if expected == "good":  # one packet of it is good for gpgv by itself
        assert "good" in gpgv.says_of_each(data, DOCUMENT) and "bad" not in gpgv.says_of_each(data, DOCUMENT)
    assert ours(data, DOCUMENT + b"!") is not None


@pytest.mark.parametrize("key", [dsa_key(), ecdsa_key(), eddsa_key(), rsa_key(bits=3072)], ids=lambda key: str(key.algorithm))
def test_every_kind_of_key_is_judged_as_by_gpgv(key):
    ring = key_packets(key, digest="sha256")
    judge = Gpgv(ring)
    for made, document in ((signature(key), DOCUMENT), (signature(key), DOCUMENT + b"!"), (signature(key, numbers=go), DOCUMENT)):
        refused = ours(made, document, [load_pinned_key(ring, [key.fingerprint])])
        assert (judge.says(made, document) == "good") == (refused is None)
    judge.close()


@pytest.mark.parametrize("curve", ["brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "nistp521", "secp256k1", "ed25519"])
def test_what_gpg_signs_with_a_key_of_every_curve_is_proven(curve, gpg_home):
    gpg_home("--quick-generate-key", curve, curve, "sign", "never")
    ring = gpg_home("--export", curve)
    key = load_pinned_key(ring, [describe_key(ring).fingerprint])
    assert (key.algorithm, key.may_sign) == ("EdDSA" if curve == "ed25519" else "ECDSA", True)
    judge_both(ring, gpg_home("--local-user", curve, "--detach-sign", "--output", "-", data=b"document"), key)


@pytest.fixture(scope="module")
def gpg_home():
    need("gpg")
    folder = Folder()

    def run(*arguments, data=b""):
        command = ["gpg", "--homedir", folder.folder, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
        return subprocess.run(command + list(arguments), input=data, stdout=subprocess.PIPE, check=True).stdout

    os.chmod(folder.folder, 0o700)
    yield run
    subprocess.run(["gpgconf", "--homedir", folder.folder, "--kill", "all"], check=False)
    folder.close()


# --- packages ---

PLAIN = main_header(t5092=None, t5093=None)
WHOLE = main_header() + PAYLOAD


def beside(packet, **changes):
    return rpm(claims={"t267": binary(packet)}, **changes)


# name -> file, what rpmkeys finds wrong, what we say, why they differ
PACKAGES = {
    "header signature": (rpm(), set(), "good", ""),
    "header and all": (rpm(signed=(268, 1002)), set(), "good", ""),
    "EL7": (rpm(PLAIN, signed=(268, 1002)), set(), "good", ""),
    "V3": (rpm(sign=v3_signature), set(), "good", ""),
    "rpm 6's list beside": (rpm(signed=(268, 278)), set(), "good", ""),
    "by a subkey": (rpm(key=SUBKEY), set(), "good", ""),
    "Go's number": (rpm(numbers=go), set(), "good", ""),
    "SHA-1": (rpm(digest="sha1"), set(), "weak-digest", "weak digest"),
    "unsigned": (rpm(signed=()), set(), "unsigned", "covered"),
    "only the header": (rpm(PLAIN), {"error"}, "not-covered", ""),
    "another key's": (rpm(key=OTHER), {"no key"}, "unknown-key", ""),
    "another key's beside": (beside(signature(OTHER, document=main_header())), {"no key"}, "good", "another key beside"),
    "another key's of another header beside": (beside(signature(OTHER, document=b"other")), {"bad"}, "good", "another key beside"),
    "of text beside": (beside(signature(KEY, document=b"other", kind=1)), {"bad"}, "good", "another type beside"),
    "SHA-1 beside": (beside(signature(KEY, document=main_header(), digest="sha1")), set(), "good", ""),
    "V6 in the old tag, beside": (beside(signature(KEY, document=main_header(), version=6)), {"unreadable"}, "good", "unreadable beside"),
    "V6 in rpm 6's list": (
        rpm(claims={"t278": strings("xsBz")}), set(), "good", ""),
    "one that is cut, beside": (beside(signature(KEY, document=main_header())[:-9]), {"unreadable"}, "good", "unreadable beside"),
    "two in one tag": (rpm(signed=(), claims={"t268": binary(signature(KEY, document=main_header()) * 2)}), {"unreadable"}, "malformed", ""),
    "a user id after it": (
        rpm(signed=(), claims={"t268": binary(signature(KEY, document=main_header()) + new_packet(13, b"me"))}), {"unreadable"}, "malformed", ""),
    "bytes after the number": (rpm(tail=b"\0"), {"unreadable"}, "malformed", ""),
    "another id beside the right fingerprint": (rpm(unhashed=issuer(OTHER)), {"no key"}, "good", "by fingerprint"),
    "bad beside": (beside(signature(KEY, document=b"other")), {"bad"}, "signature-invalid", ""),
    "another payload": (rpm(main_header(), PAYLOAD + b"!"), {"digest"}, "payload-mismatch", ""),
    "a wrong MD5": (rpm(claims={"t1004": binary(bytes(16))}), {"digest"}, "good", "unsigned digests"),
    "expired": (rpm(hashed=ids() + subpacket(3, u32(DAY))), set(), "signature-expired", "dates"),
    "from the future": (rpm(hashed=created(0xFFFFFFFF) + issuer(KEY)), set(), "good", ""),
    "an unknown tag in the signature header": (rpm(form={"outside": [(5000, int32(1))]}), set(), "unsupported", "header form"),
}  # fmt: skip


@pytest.fixture(scope="module")
def rpmkeys():
    judge = Rpmkeys(RING)
    yield judge
    judge.close()


def our_package(data, keys=(PINNED,), now=NOW):
    try:
        verify_rpm(io.BytesIO(data), keys, now)
    except TrustError as refused:
        return refused
    return None


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_package_is_judged_as_by_rpmkeys_or_the_difference_is_explained(name, rpmkeys):
    data, theirs, expected, reason = PACKAGES[name]
    refused = our_package(data)
    found, signed, text = rpmkeys.says(data)
    assert (found, refused.reference if refused else "good") == (theirs, expected), text
    assert bool(reason) == (bool(theirs) != (expected != "good"))
    if reason:
        assert "| {} |".format(reason) in EXPLAINED
        assert reason in OURS if expected == "good" else explains(refused) == reason
        assert expected != "good" or signed or reason == "by fingerprint"


# --- tools of registries: `make corpus-tools` installs them ---

NODE = str(REPOSITORY_ROOT / "build" / "corpus")
OPENPGP_JS = """
import * as openpgp from 'openpgp';
const ago = seconds => new Date(Date.now() - 1000 * seconds);
const made = [];
for (const options of [{type: 'rsa', rsaBits: 2048}, {type: 'ecc', curve: 'ed25519Legacy'}, {type: 'ecc', curve: 'nistP384'}]) {
  for (const subkeys of [[], [{sign: true}]]) {
    const keys = await openpgp.generateKey({...options, subkeys, userIDs: [{name: 'js'}], format: 'object', date: ago(86400)});
    const message = await openpgp.createMessage({binary: new Uint8Array(Buffer.from(process.argv[2]))});
    const signature = await openpgp.sign({message, signingKeys: keys.privateKey, detached: true, date: ago(3600)});
    made.push({key: keys.publicKey.armor(), signature});
  }
}
console.log(JSON.stringify(made));
"""


def test_what_openpgp_js_signs_is_proven(tmp_path):
    need("node")
    if not os.path.isdir(NODE + "/node_modules/openpgp"):
        pytest.skip("openpgp.js is not installed: make corpus-tools")
    script = os.path.join(NODE, "sign.mjs")
    with open(script, "w") as stream:
        stream.write(OPENPGP_JS)
    done = subprocess.run(["node", script, "document"], stdout=subprocess.PIPE, check=True, cwd=NODE)
    rows = json.loads(done.stdout.decode())
    assert len(rows) == 6
    for number, row in enumerate(rows):
        key = describe_key(row["key"].encode())
        assert len(key.subkeys) == number % 2
        judge_both(row["key"].encode(), row["signature"].encode(), key)


def judge_both(ring, made, key, document=b"document"):
    judge = Gpgv(b"".join(read_blocks(ring)))
    for content in (document, document + b"!"):
        refused = ours(made, content, [key], int(time.time()))
        assert (judge.says(made, content) == "good") == (refused is None), refused
    judge.close()


@pytest.mark.parametrize("suite", ["RSA2k", "Cv25519", "P256", "P521"])
def test_what_sequoia_signs_is_proven_and_what_is_newer_does_not_count(suite):
    """Its primary keys only certify, and a subkey signs."""
    pysequoia = pytest.importorskip("pysequoia", reason="pysequoia is not installed: make corpus-tools")
    key = pysequoia.Tsk.generate("Seq <s@example.org>", profile=pysequoia.Profile.RFC4880, cipher_suite=getattr(pysequoia.CipherSuite, suite))
    ring = str(key.extract_certificate()).encode()
    pinned = load_pinned_key(ring, [describe_key(ring).fingerprint])
    made = pysequoia.sign(key.signer(), b"document", mode=pysequoia.SignatureMode.DETACHED)
    assert not pinned.may_sign and len(pinned.subkeys) == 1
    judge_both(ring, made, pinned)
    for newer in (dict(profile=pysequoia.Profile.RFC9580), dict(profile=pysequoia.Profile.RFC9580, cipher_suite=pysequoia.CipherSuite.MLDSA65_Ed25519)):
        other = pysequoia.Tsk.generate("New", **newer)
        beside = pysequoia.sign(other.signer(), b"document", mode=pysequoia.SignatureMode.DETACHED)
        for both in (made + beside, beside + made):
            verdict = verify_detached(b"document", both, [pinned], int(time.time()))
            assert [told.partition(": ")[0] for told in verdict.ignored] == ["unsupported"]
        assert ours(beside, b"document", [pinned], int(time.time())).reference == "unsupported"


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """A key of gpg, whose secret half other tools sign packages with: (public, secret, fingerprint)."""
    need("gpg")
    from tests.lab.keys import KeyRing

    ring = KeyRing(str(tmp_path_factory.mktemp("secret")), int(time.time()) - 100 * DAY)
    fingerprint = ring.fingerprint()
    yield ring.public_key(), ring.gpg("--armor", "--export-secret-keys", fingerprint), fingerprint
    ring.close()


def judge_package(data, public, fingerprint):
    judge = Rpmkeys(b"".join(read_blocks(public)))
    pinned, now = load_pinned_key(public, [fingerprint]), int(time.time())
    verdict = verify_rpm(io.BytesIO(data), [pinned], now)
    assert judge.says(data)[:2] == (set(), True)
    changed = data[:-1] + bytes([data[-1] ^ 1])
    assert our_package(changed, [pinned], now) is not None and judge.says(changed)[0]
    judge.close()
    return verdict


def test_what_nfpm_packs_and_signs_with_gos_library_is_proven(secret, tmp_path):
    command = os.path.join(os.path.dirname(sys.executable), "nfpm")
    if not os.path.exists(command):
        pytest.skip("nfpm is not installed: make corpus-tools")
    public, private, fingerprint = secret
    (tmp_path / "key.asc").write_bytes(private)
    (tmp_path / "file").write_text("content\n")
    for number in range(6):  # most of Go's numbers have leading zero bits, some have a zero octet
        (tmp_path / "nfpm.yaml").write_text(
            "name: lab-go\narch: amd64\nversion: 1.{}.0\nmaintainer: a <a@example.org>\ndescription: d\nlicense: MIT\n"
            "contents: [{{src: file, dst: /usr/share/lab-go}}]\nrpm: {{signature: {{key_file: key.asc}}}}\n".format(number))
        subprocess.run([command, "package", "-p", "rpm", "-t", "out.rpm"], cwd=str(tmp_path), check=True, stdout=subprocess.PIPE)
        assert judge_package((tmp_path / "out.rpm").read_bytes(), public, fingerprint).name == "lab-go"


def test_what_rpm_rs_packs_and_signs_is_proven(secret, tmp_path):
    rpm_rs = pytest.importorskip("rpm_rs", reason="rpm-rs is not installed: make corpus-tools")
    public, private, fingerprint = secret
    (tmp_path / "key.asc").write_bytes(private)
    builder = rpm_rs.PackageBuilder("lab-rust", "1.0", "MIT", "noarch", "a package")
    package = builder.build_and_sign(rpm_rs.Signer.from_file(str(tmp_path / "key.asc")))
    assert judge_package(bytes(package.to_bytes()), public, fingerprint).name == "lab-rust"
