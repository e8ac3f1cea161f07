"""The installed key file: which key may sign, and what is not believed about it."""
import hashlib
import subprocess
import sys
from unittest.mock import ANY

import pytest

from tests.conftest import REPOSITORY_ROOT
from tests.support.craft import (
    BORN,
    DAY,
    MADE,
    armor,
    dsa_key,
    ecdsa_key,
    eddsa_key,
    encode_numbers,
    issuer,
    key_packets,
    mpi,
    new_packet,
    old_packet,
    revocation,
    rsa_key,
    signature,
    subkey_packets,
    subpacket,
    u32,
    user_id_packets,
    v3_signature,
)
from yum_plugin.errors import TrustError
from yum_plugin.trust import hashing, keys, publickey
from yum_plugin.trust.keys import describe_key, load_pinned_key
from yum_plugin.trust.packets import read_packets

KEY = rsa_key()
OTHER = rsa_key("other")
XCP_NG_FINGERPRINT = "34AC2EB68248FED6D076838ACD75783A3FD3AC9E"
BARE = new_packet(6, KEY.body)


def load(data, key=KEY):
    return load_pinned_key(data, [key.fingerprint])


def refusal(data, pins=(KEY.fingerprint,)):
    with pytest.raises(TrustError) as refused:
        load_pinned_key(data, pins)
    return refused.value.reference


def test_the_key_of_xcp_ng_loads_in_spite_of_its_sha1_self_signatures(shared_data):
    data = (shared_data / "RPM-GPG-KEY-xcpng").read_bytes()
    key = load_pinned_key(data, [XCP_NG_FINGERPRINT])
    assert (key.fingerprint, key.key_id) == (XCP_NG_FINGERPRINT, "CD75783A3FD3AC9E")
    assert (key.algorithm, key.bits, key.created, key.expires) == ("RSA", 2048, 1538561033, None)
    assert key.may_sign and not key.revoked
    assert key.user_id == "XCP-ng Key (XCP-ng Official Signing Key) <security@xcp-ng.org>"
    assert key.material.public_numbers().n.bit_length() == 2048
    assert refusal(data) == "key-mismatch"


@pytest.mark.parametrize("data", [key_packets(KEY), armor(key_packets(KEY), label="PUBLIC KEY BLOCK")], ids=["binary", "armored"])
def test_a_pinned_key_is_loaded_and_described(data):
    key = load(data)
    assert key == describe_key(data)._replace(material=key.material)
    assert key.material.public_numbers() == KEY.private.public_key().public_numbers()
    assert key._replace(material=None) == (
        KEY.fingerprint, KEY.key_id, "RSA", 2048, BORN, None, False, "XCP-ng Key <security@example.org>", True, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    "key, algorithm, bits",
    [(dsa_key(), "DSA", 2048), (ecdsa_key(), "ECDSA", 256), (eddsa_key(), "EdDSA", 256), (rsa_key(bits=3072), "RSA", 3072)],
)
def test_every_kind_of_key_that_signs_is_loaded(key, algorithm, bits):
    loaded = load(key_packets(key, digest="sha256"), key)
    assert (loaded.algorithm, loaded.bits, loaded.may_sign) == (algorithm, bits, True)


def test_one_of_two_pins_is_enough():
    assert load_pinned_key(key_packets(KEY), [OTHER.fingerprint, KEY.fingerprint])


NOT_PINNED = {
    "another pin": [OTHER.fingerprint],
    "no pin": [],
    "the key id": [KEY.key_id],
    "lower case": [KEY.fingerprint.lower()],
    "a part of it": [KEY.fingerprint[:-1]],
}


@pytest.mark.parametrize("name", sorted(NOT_PINNED))
def test_only_the_full_fingerprint_is_a_pin(name):
    assert refusal(key_packets(KEY), NOT_PINNED[name]) == "key-mismatch"


def test_pgpy_never_sees_a_key_that_is_not_pinned(monkeypatch):
    monkeypatch.setitem(sys.modules, "pgpy.packet", None)
    key = ecdsa_key()
    assert refusal(key_packets(key)) == "key-mismatch"
    with pytest.raises(ImportError):
        load(key_packets(key, digest="sha256"), key)
    assert load(key_packets(KEY))  # an RSA key, as XCP-ng's is, needs no PGPy


@pytest.mark.parametrize("change", [
    lambda body: body[:-1], lambda body: body + b"\0", lambda body: body[:6] + b"\xff\xff" + body[8:], lambda body: body[:6],
    lambda body: body[:-1] + b"\0"], ids=["cut", "longer", "a number of 65535 bits", "no numbers", "an even exponent"])
def test_an_rsa_key_whose_numbers_are_not_as_they_say_is_invalid(change):
    tag, body = next(iter(read_packets(key_packets(KEY))))
    changed = change(body)
    fingerprint = hashlib.sha1(b"\x99" + len(changed).to_bytes(2, "big") + changed).hexdigest().upper()
    framed = bytes([0xC0 | tag, 0xFF]) + len(changed).to_bytes(4, "big") + changed
    assert refusal(framed, [fingerprint]) == "key-invalid"


def test_cve_2021_3521_subkeys_are_not_looked_at():
    plain = load(key_packets(KEY))
    for bound in (False, True):
        with_subkey = load(key_packets(KEY, subkey_packets(KEY, OTHER, bound)))
        assert with_subkey._replace(material=None) == plain._replace(material=None)
        assert with_subkey.material.public_numbers() == plain.material.public_numbers()


# --- files that are no key file ---

BROKEN = {
    "empty": b"",
    "text": b"not a key",
    "a page": b"<html></html>",
    "a signature": signature(KEY),
    "an armored signature": armor(signature(KEY)),
    "too large": key_packets(KEY) + new_packet(13, b"x" * 70000),
    "two keys": key_packets(KEY) + key_packets(OTHER),
    "two keys, the pinned one second": key_packets(OTHER) + key_packets(KEY),
    "the same key twice": key_packets(KEY) * 2,
    "two blocks": armor(key_packets(KEY), label="PUBLIC KEY BLOCK") * 2,
    "a secret key": new_packet(5, KEY.body) + user_id_packets(KEY),
    "a secret subkey": key_packets(KEY, new_packet(7, OTHER.body)),
    "a user id first": user_id_packets(KEY) + BARE,
    "the key as a user id": new_packet(13, KEY.body) + user_id_packets(KEY) + new_packet(6, OTHER.body),
    "a subkey first": new_packet(14, KEY.body) + user_id_packets(KEY),
    "a literal packet after": key_packets(KEY, new_packet(11, b"b\0\0\0\0\0")),
    "bytes after": key_packets(KEY) + b"\n",
    "cut": key_packets(KEY)[:-1],
    "an empty key": new_packet(6, b"") + user_id_packets(KEY),
    "five octets of a key": new_packet(6, KEY.body[:5]),
    "a key of V3": new_packet(6, b"\3" + KEY.body[1:]),
    "a key of V5": new_packet(6, b"\5" + KEY.body[1:]),
    "partial length": b"\xc6\xe1" + KEY.body,
    "wrong CRC24": armor(key_packets(KEY), label="PUBLIC KEY BLOCK", crc=b"abc"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_is_not_one_public_key_is_refused(name):
    assert refusal(BROKEN[name]) == "key-invalid"
    with pytest.raises(TrustError) as refused:
        describe_key(BROKEN[name])
    assert refused.value.reference == "key-invalid"


def with_own_pin(data):
    """Refuse what its own fingerprint pins."""
    return refusal(data, [keys._fingerprint(keys._split(data)[0])])


UNREADABLE = {
    "RSA for encryption": b"\2" + mpi(3) * 2,
    "Elgamal": b"\x10" + mpi(3) * 3,
    "Ed25519 of RFC 9580": b"\x1b" + bytes(32),
    "unknown algorithm": b"\x63",
    "RSA without numbers": b"\1",
    "RSA with one number": b"\1" + mpi(1 << 2047),
    "RSA with an even exponent": b"\1" + mpi((1 << 2047) + 1) + mpi(4),
    "RSA of no bits": b"\1" + mpi(0) + mpi(0),
    "ECDSA of an unknown curve": b"\x13\3\x2a\3\4" + mpi(4),
    "ECDSA off its curve": bytes.fromhex("13082a8648ce3d030107") + mpi(int.from_bytes(b"\4" + b"\1" * 64, "big")),
    "EdDSA without a point": bytes.fromhex("16092b06010401da470f01"),
    "EdDSA with a short point": bytes.fromhex("16092b06010401da470f01") + mpi(0x40),
    "DSA of zeros": b"\x11" + mpi(0) * 4,
}


@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_a_key_whose_numbers_make_no_sense_is_refused(name):
    data = new_packet(6, b"\4" + u32(BORN) + UNREADABLE[name])
    assert with_own_pin(data) == "key-invalid"
    with pytest.raises(TrustError, match="key-invalid: "):
        describe_key(data)


def test_a_key_that_does_not_sign_is_named_by_its_algorithm():
    with pytest.raises(TrustError, match="public-key algorithm 99 does not sign"):
        describe_key(new_packet(6, b"\4" + u32(BORN) + b"\x63"))


# --- what the self-signature says ---

USER_ID = b"XCP-ng Key <security@example.org>"
SELF_SIGNATURE = user_id_packets(KEY)[len(new_packet(13, USER_ID)) :]
NOT_FOR_SIGNING = {
    "no user id": BARE,
    "no self-signature": BARE + new_packet(13, b"me"),
    "no flags": key_packets(KEY, flags=None),
    "empty flags": key_packets(KEY, flags=b""),
    "certifying only": key_packets(KEY, flags=b"\x01"),
    "encryption only": key_packets(KEY, flags=b"\x0c"),
    "repeated flags": key_packets(KEY, extra=subpacket(27, b"\2")),
    "flags not signed": key_packets(KEY, flags=None, unhashed=issuer(KEY) + subpacket(27, b"\2")),
    "self-signature by another key in its name": key_packets(KEY, by=OTHER),
    "self-signature by another key": key_packets(KEY, by=OTHER, unhashed=issuer(OTHER)),
    "self-signature naming nobody": key_packets(KEY, unhashed=b""),
    "self-signature naming two": key_packets(KEY, unhashed=issuer(KEY) + issuer(OTHER)),
    "self-signature on another user id": BARE + new_packet(13, b"me") + SELF_SIGNATURE,
    "self-signature with MD5": key_packets(KEY, digest="md5"),
    "self-signature with SHA-224": key_packets(KEY, digest="sha224"),
    "self-signature of another algorithm": key_packets(KEY, algorithm=17, numbers=lambda numbers: encode_numbers(numbers * 2)),
    "self-signature of V3": BARE + new_packet(13, b"me") + v3_signature(KEY, kind=0x13),
    "self-signature of type 0x00": key_packets(KEY, kind=0),
    "self-signature damaged": key_packets(KEY, tail=b"\0"),
    "self-signature on an attribute": BARE + new_packet(17, USER_ID) + SELF_SIGNATURE,
    "self-signature after a subkey": BARE + new_packet(14, OTHER.body) + user_id_packets(KEY),
    "lifetime of three octets": key_packets(KEY, extra=subpacket(9, b"abc")),
    "two lifetimes": key_packets(KEY, lifetime=0, extra=subpacket(9, u32(DAY))),
    "flags changed after signing": key_packets(KEY, flags=b"\1").replace(subpacket(27, b"\1"), subpacket(27, b"\3")),
    "unknown critical subpacket": key_packets(KEY, extra=subpacket(100, critical=True)),
    "user id revoked": key_packets(KEY, user_id_packets(KEY, kind=0x30, made=MADE)),
    "user id revoked in the same second": key_packets(KEY, user_id_packets(KEY, kind=0x30)),
    "a newer one takes the flag away": key_packets(KEY, user_id_packets(KEY, made=MADE, flags=b"\1")),
}


@pytest.mark.parametrize("name", sorted(NOT_FOR_SIGNING))
def test_a_key_without_a_proof_that_it_may_sign_is_refused(name):
    assert refusal(NOT_FOR_SIGNING[name]) == "key-invalid"
    assert not describe_key(NOT_FOR_SIGNING[name]).may_sign


@pytest.mark.parametrize("kind", range(0x0E, 0x16))
def test_a_self_signature_is_of_one_of_the_four_kinds_of_certification(kind):
    """RFC 9580 section 5.2.1: 0x10 to 0x13."""
    assert describe_key(key_packets(KEY, kind=kind)).may_sign == (0x10 <= kind <= 0x13)


def test_the_least_size_of_a_key():
    """NIST SP 800-57 part 1, table 2: 112 bits of security. Elliptic curves of fewer than 256 bits are not among ours."""
    assert keys.MIN_BITS == {"RSA": 2048, "DSA": 2048, "ECDSA": 256, "EdDSA": 256}


SHORT = {"RSA-1024": rsa_key("weak", bits=1024), "RSA-2047": rsa_key("odd", bits=2047), "DSA-1024": dsa_key(1024)}


@pytest.mark.parametrize("name", sorted(SHORT))
def test_a_short_key_is_refused_even_if_pinned(name):
    assert refusal(key_packets(SHORT[name], digest="sha256"), [SHORT[name].fingerprint]) == "key-invalid"


def test_the_newest_self_signature_counts_wherever_it_stands():
    newer = user_id_packets(KEY, made=MADE, lifetime=2000 * DAY)
    older = user_id_packets(KEY, lifetime=1000 * DAY)
    for packets in (newer + older, older + newer):
        assert load(BARE + packets).expires == BORN + 2000 * DAY


def test_the_lifetime_counts_from_the_making_of_the_key():
    assert load(key_packets(KEY, made=MADE, lifetime=DAY)).expires == BORN + DAY
    assert load(key_packets(KEY, lifetime=0)).expires is None


@pytest.mark.parametrize("lifetime, expires", [(None, MADE + DAY), (1, BORN + 1), (1000 * DAY, MADE + DAY)])
def test_a_key_ends_with_its_self_signature_or_its_own_lifetime_whichever_is_first(lifetime, expires):
    assert load(key_packets(KEY, made=MADE, lifetime=lifetime, extra=subpacket(3, u32(DAY)))).expires == expires


def test_two_self_signatures_of_one_second_are_no_puzzle():
    packets = [user_id_packets(KEY, lifetime=lifetime) for lifetime in (None, DAY)]
    assert load(BARE + packets[0] + packets[1]) == load(BARE + packets[1] + packets[0])._replace(material=ANY)


def test_an_expired_or_revoked_key_is_loaded_for_the_verifier_to_judge():
    assert load(key_packets(KEY, lifetime=1)).expires == BORN + 1
    assert load(BARE + revocation(KEY) + user_id_packets(KEY)).revoked


REVOKED = {
    "before the user id": BARE + revocation(KEY) + user_id_packets(KEY),
    "after it": key_packets(KEY, revocation(KEY)),
    "with MD5": BARE + revocation(KEY, digest="md5") + user_id_packets(KEY),
    "with a wrong number": BARE + revocation(KEY, left16=b"\0\0") + user_id_packets(KEY),
    "by another key": BARE + revocation(OTHER) + user_id_packets(KEY),
    "of V3": BARE + v3_signature(KEY, kind=0x20) + user_id_packets(KEY),
    "of old format": BARE + old_packet(2, b"\4\x20") + user_id_packets(KEY),
}


@pytest.mark.parametrize("name", sorted(REVOKED))
def test_a_revocation_counts_however_it_is_made(name):
    assert load(REVOKED[name]).revoked


NO_REVOCATION = {
    "an algorithm of this number": user_id_packets(KEY, algorithm=0x20),
    "a version of this number": new_packet(2, b"\x20\x13"),
    "V3, a length of this number": new_packet(2, b"\3\x20\x13\0"),
    "V3, a time that begins with this number": v3_signature(KEY, kind=0x13, made=0x20000000),
    "V4, a third octet of this number": new_packet(2, b"\4\x13\x20"),
}


@pytest.mark.parametrize("name", sorted(NO_REVOCATION))
def test_only_the_type_octet_makes_a_revocation(name):
    assert not load(key_packets(KEY, NO_REVOCATION[name])).revoked


def test_the_first_octet_of_the_key_flags_counts():
    """RFC 9580 section 5.2.3.29: "may sign" is a bit of the first octet."""
    assert load(key_packets(KEY, flags=b"\x02\x01")).may_sign
    assert refusal(key_packets(KEY, flags=b"\x01\x02")) == "key-invalid"


def test_foreign_certifications_change_nothing():
    foreign = user_id_packets(KEY, by=OTHER, unhashed=issuer(OTHER), made=MADE, lifetime=1)
    assert load(key_packets(KEY, foreign)).expires is None


def test_a_user_id_cannot_write_to_the_terminal():
    assert load(key_packets(KEY, user_id=b"\x1b[2JXCP-ng\n\xff \xe2\x80\xaeevil")).user_id == "?[2JXCP-ng?\ufffd ?evil"


# --- platforms ---


@pytest.fixture
def no_sha1(monkeypatch):
    """A platform whose cryptography refuses SHA-1 signatures, as RHEL 9's does."""
    real = publickey.verify_digest

    def refuse(material, algorithm, digest_name, digest, numbers):
        if digest_name == "sha1":
            raise TrustError("unsupported", "this host does not verify SHA-1")
        real(material, algorithm, digest_name, digest, numbers)

    monkeypatch.setattr(keys, "verify_digest", refuse)


@pytest.fixture
def no_sha1_at_all(monkeypatch):
    """A platform that does not even compute it, save for hashlib's own implementation."""
    real = hashing.hashlib.new

    def refuse(name, data=b""):
        if name.lower() == "sha1":
            raise ValueError("unsupported hash type")
        return real(name, data)

    monkeypatch.setattr(hashing.hashlib, "new", refuse)


@pytest.mark.parametrize("platform", ["no_sha1", "no_sha1_at_all"])
def test_a_sha1_self_signature_is_tolerated_where_the_platform_refuses_sha1(request, platform, shared_data):
    mine, forged = key_packets(KEY, lifetime=DAY), key_packets(KEY, by=OTHER, digest="sha256")
    request.getfixturevalue(platform)
    assert load(mine).expires == BORN + DAY
    assert refusal(forged) == "key-invalid"
    assert load_pinned_key((shared_data / "RPM-GPG-KEY-xcpng").read_bytes(), [XCP_NG_FINGERPRINT]).may_sign


def test_only_sha1_may_be_refused_by_the_platform(monkeypatch):
    def refuse(material, algorithm, digest_name, digest, numbers):
        raise TrustError("unsupported", "this host verifies nothing")

    monkeypatch.setattr(keys, "verify_digest", refuse)
    assert load(key_packets(KEY)).may_sign
    assert refusal(key_packets(KEY, digest="sha256")) == "key-invalid"


def test_cryptography_that_refuses_a_digest_is_reported_as_unsupported(monkeypatch):
    from cryptography.exceptions import UnsupportedAlgorithm

    class Refusing:
        key_size = 2048

        def verify(self, *arguments):
            raise UnsupportedAlgorithm("SHA-1 is not for signatures here")

    with pytest.raises(TrustError) as refused:
        publickey.verify_digest(Refusing(), "RSA", "sha1", bytes(20), (1,))
    assert refused.value.reference == "unsupported"


def test_loading_a_key_prints_no_warning():
    """PGPy's import makes ``cryptography`` warn about old ciphers; xapi would take that for an answer."""
    script = "import sys; from yum_plugin.trust import keys; keys.describe_key(sys.stdin.buffer.read())"
    command = [sys.executable, "-W", "always", "-c", script]
    done = subprocess.run(command, input=key_packets(KEY), cwd=str(REPOSITORY_ROOT), stderr=subprocess.PIPE, check=True)
    assert done.stderr == b""
