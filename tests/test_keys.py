"""The installed key file: which key may sign, and what is not believed about it."""
import hashlib
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY_ROOT
from tests.support.craft import (
    BORN,
    DAY,
    MADE,
    armor,
    created,
    designated,
    direct,
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
from yum_plugin.trust.keyfile import read_key_file
from yum_plugin.trust.keys import describe_key, load_pinned_key, load_pinned_keys, pinned_in
from yum_plugin.trust.packets import read_packets

KEY = rsa_key()
OTHER = rsa_key("other")
XCP_NG_FINGERPRINT = "34AC2EB68248FED6D076838ACD75783A3FD3AC9E"
BARE = new_packet(6, KEY.body)
USER_ID = b"XCP-ng Key <security@example.org>"
SELF_SIGNATURE = user_id_packets(KEY)[len(new_packet(13, USER_ID)) :]


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
        (), True,
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


def test_cve_2021_3521_a_subkey_counts_only_if_it_is_bound_both_ways():
    plain = load(key_packets(KEY))
    for unbound in ({"bound": False}, {"back": b""}, {"by": OTHER}, {"back": rsa_key("third")}, {"flags": b"\x0c"}):
        key = load(key_packets(KEY, subkey_packets(KEY, OTHER, **unbound)))
        assert key._replace(material=None) == plain._replace(material=None)
        assert key.material.public_numbers() == plain.material.public_numbers()
    [subkey] = load(key_packets(KEY, subkey_packets(KEY, OTHER))).subkeys
    assert subkey._replace(material=None) == (OTHER.fingerprint, "RSA", BORN, None, False, True, None)
    assert subkey.material.public_numbers() == OTHER.private.public_key().public_numbers()


SUBKEYS = {"RSA-1024": rsa_key("weak", bits=1024), "DSA": dsa_key(), "ECDSA": ecdsa_key(), "Ed25519": eddsa_key(), "RSA": OTHER}


@pytest.mark.parametrize("name", sorted(SUBKEYS))
def test_a_subkey_of_every_kind_signs_unless_it_is_short(name):
    found = load(key_packets(KEY, subkey_packets(KEY, SUBKEYS[name]))).subkeys
    assert [each.fingerprint for each in found] == ([] if name == "RSA-1024" else [SUBKEYS[name].fingerprint])


# --- files that are no key file, and forms that are one ---

BLOCK = {"label": "PUBLIC KEY BLOCK"}
FORMS = {
    "two keys": key_packets(KEY) + key_packets(OTHER),
    "two keys, the pinned one second": key_packets(OTHER) + key_packets(KEY),
    "the same key twice": key_packets(KEY) * 2,
    "two blocks": armor(key_packets(OTHER), **BLOCK) + armor(key_packets(KEY), **BLOCK),
    "two keys in one block": armor(key_packets(OTHER) + key_packets(KEY), **BLOCK),
    "text around": b"The keys of example.org:\n\n" + armor(key_packets(KEY), **BLOCK) + b"\nEnd: of them\n" + armor(key_packets(OTHER), **BLOCK),
    "a byte order mark": b"\xef\xbb\xbf" + armor(key_packets(KEY), **BLOCK),
    "Windows line ends": armor(key_packets(KEY), **BLOCK).replace(b"\n", b"\r\n"),
    "long lines": armor(key_packets(KEY), width=4000, **BLOCK),
    "an empty comment": armor(key_packets(KEY), headers="Comment:\n", **BLOCK),
    "a wrong CRC24": armor(key_packets(KEY), crc=b"abc", **BLOCK),
    "no end": armor(key_packets(KEY), **BLOCK).split(b"-----END")[0],
    "trust packets, as in old keyrings": new_packet(12, b"\0\3") + BARE + new_packet(12, b"\0\3") + user_id_packets(KEY) + new_packet(12, b"\0\3"),
    "the old packet format": old_packet(6, KEY.body) + user_id_packets(KEY),
    "a key of V3 before": new_packet(6, b"\3" + KEY.body[1:]) + user_id_packets(OTHER) + key_packets(KEY),
    "a key of V6 after": key_packets(KEY) + new_packet(6, b"\6" + KEY.body[1:]) + user_id_packets(OTHER),
    "a key of an unknown algorithm before": new_packet(6, b"\4" + u32(BORN) + b"\x63") + new_packet(13, b"x") + key_packets(KEY),
    "an empty key before": new_packet(6, b"") + key_packets(KEY),
    "a secret key before": new_packet(5, OTHER.body) + user_id_packets(OTHER) + key_packets(KEY),
    "a secret subkey": key_packets(KEY, new_packet(7, OTHER.body)),
    "a user id first": new_packet(13, b"x") + key_packets(KEY),
    "a literal packet after": key_packets(KEY, new_packet(11, b"b\0\0\0\0\0")),
    "another key after it that is cut": key_packets(KEY) + key_packets(OTHER)[:-1],
    "larger than 64 KiB": key_packets(KEY) + new_packet(13, b"x" * 70000),
    "a keyring of 300 other keys": b"".join(new_packet(6, OTHER.body[:1] + u32(number) + OTHER.body[5:]) for number in range(300)) + key_packets(KEY),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FORMS))
def test_keyfile_the_pinned_key_is_found_in_every_form(name):
    key = load(FORMS[name])
    assert key._replace(material=None) == load(key_packets(KEY))._replace(material=None)


def test_keyfile_both_keys_of_a_change_over_are_loaded_from_one_file_or_two():
    pins = [KEY.fingerprint, OTHER.fingerprint]
    one = pinned_in(key_packets(OTHER) + key_packets(KEY), pins)
    two = pinned_in(key_packets(KEY), pins) + pinned_in(armor(key_packets(OTHER), **BLOCK), pins)
    assert [key.fingerprint for key in load_pinned_keys(one)] == pins[::-1]
    assert [key.fingerprint for key in load_pinned_keys(two)] == pins
    assert [key.fingerprint for key in pinned_in(key_packets(OTHER) + key_packets(KEY), pins[:1])] == pins[:1]


def test_keyfile_a_pinned_key_that_cannot_sign_does_not_hide_another():
    pins = [KEY.fingerprint, OTHER.fingerprint]
    [key] = load_pinned_keys(pinned_in(key_packets(OTHER, flags=b"\1") + key_packets(KEY), pins))
    assert key.fingerprint == KEY.fingerprint
    with pytest.raises(TrustError, match="no self-signature says that the key is for signing"):
        load_pinned_keys(pinned_in(key_packets(OTHER, flags=b"\1"), pins))
    with pytest.raises(TrustError, match="there is no key"):
        load_pinned_keys([])


def test_keyfile_the_newest_statements_of_two_files_count():
    old, new = key_packets(KEY, lifetime=DAY), key_packets(KEY, made=MADE, lifetime=1000 * DAY)
    for files in ((old, new), (new, old)):
        assert load_pinned_keys([key for data in files for key in pinned_in(data, [KEY.fingerprint])])[0].expires == BORN + 1000 * DAY
    revoked = BARE + revocation(KEY) + user_id_packets(KEY)
    for files in ((revoked, new), (new, revoked)):
        [key] = load_pinned_keys([key for data in files for key in pinned_in(data, [KEY.fingerprint])])
        assert key.revoked and key.expires == BORN + 1000 * DAY


@pytest.mark.parametrize("other", [new_packet(6, b"\6" + OTHER.body[1:]), new_packet(5, OTHER.body), new_packet(6, OTHER.body)],
                         ids=["V6", "secret", "another"])
def test_keyfile_what_follows_another_key_says_nothing_about_the_one_before(other):
    assert not load(key_packets(KEY) + other + revocation(KEY)).revoked


BROKEN = {
    "empty": b"",
    "text": b"not a key",
    "a page": b"<html></html>",
    "a signature": signature(KEY),
    "an armored signature": armor(signature(KEY)),
    "more than 1 MiB": key_packets(KEY) + new_packet(13, b"x" * (1 << 20)),
    "a secret key": new_packet(5, KEY.body) + user_id_packets(KEY),
    "a user id first": user_id_packets(KEY),
    "a subkey first": new_packet(14, KEY.body) + user_id_packets(KEY),
    "bytes after, as gpg refuses": key_packets(KEY) + b"\n",
    "cut: a revocation might be what is missing": key_packets(KEY)[:-1],
    "an empty key": new_packet(6, b"") + user_id_packets(KEY),
    "five octets of a key": new_packet(6, KEY.body[:5]),
    "a key of V3": new_packet(6, b"\3" + KEY.body[1:]),
    "a key of V5": new_packet(6, b"\5" + KEY.body[1:]),
    "partial length": b"\xc6\xe1" + KEY.body,
    "armor around nothing": armor(b"", **BLOCK),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_holds_no_public_key_is_refused(name):
    assert refusal(BROKEN[name]) == "key-invalid"
    with pytest.raises(TrustError) as refused:
        describe_key(BROKEN[name])
    assert refused.value.reference == "key-invalid"


def with_own_pin(data):
    """Refuse what its own fingerprint pins."""
    return refusal(data, [key.fingerprint for key in read_key_file(data)])


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

NOT_FOR_SIGNING = {
    "no user id": BARE,
    "no self-signature": BARE + new_packet(13, b"me"),
    "empty flags": key_packets(KEY, flags=b""),
    "certifying only": key_packets(KEY, flags=b"\x01"),
    "encryption only": key_packets(KEY, flags=b"\x0c"),
    "self-signature by another key in its name": key_packets(KEY, by=OTHER),
    "self-signature by another key": key_packets(KEY, by=OTHER, unhashed=issuer(OTHER)),
    "self-signature naming nobody": key_packets(KEY, unhashed=b""),
    "self-signature on another user id": BARE + new_packet(13, b"me") + SELF_SIGNATURE,
    "self-signature with MD5": key_packets(KEY, digest="md5"),
    "self-signature of another algorithm": key_packets(KEY, algorithm=17, numbers=lambda numbers: encode_numbers(numbers * 2)),
    "self-signature of V3 with the prefix of V4": BARE + new_packet(13, b"me") + v3_signature(
        KEY, document=KEY.framed + b"\xb4\0\0\0\2me", kind=0x13),
    "self-signature older than the key": key_packets(KEY, made=BORN - 1),
    "direct-key signature of another key": BARE + direct(by=OTHER),
    "direct-key signature that takes it away": key_packets(KEY, direct(flags=b"\1")),
    "self-signature of type 0x00": key_packets(KEY, kind=0),
    "self-signature damaged": key_packets(KEY, numbers=lambda numbers: mpi(numbers[0] ^ 1)),
    "self-signature on an attribute": BARE + new_packet(17, USER_ID) + SELF_SIGNATURE,
    "flags changed after signing": key_packets(KEY, flags=b"\1").replace(subpacket(27, b"\1"), subpacket(27, b"\3")),
    "unknown critical subpacket": key_packets(KEY, extra=subpacket(100, critical=True)),
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


def test_an_expired_or_revoked_key_is_loaded_for_the_verifier_to_judge():
    assert load(key_packets(KEY, lifetime=1)).expires == BORN + 1
    assert load(BARE + revocation(KEY) + user_id_packets(KEY)).revoked


REVOKED = {
    "before the user id": BARE + revocation(KEY) + user_id_packets(KEY),
    "after it": key_packets(KEY, revocation(KEY)),
    "behind a subkey": key_packets(KEY, subkey_packets(KEY, OTHER), revocation(KEY)),
    "behind a subkey that is not bound": key_packets(KEY, subkey_packets(KEY, OTHER, bound=False), revocation(KEY)),
    "in the second copy of the key": key_packets(KEY) + BARE + revocation(KEY),
    "with MD5": BARE + revocation(KEY, digest="md5") + user_id_packets(KEY),
    "with SHA-1": BARE + revocation(KEY, digest="sha1") + user_id_packets(KEY),
    "with a digest that nobody here knows": BARE + revocation(KEY, digest_id=99) + user_id_packets(KEY),
    "with wrong 16 bits, which gpg does not look at": BARE + revocation(KEY, left16=b"\0\0") + user_id_packets(KEY),
    "of V3": BARE + v3_signature(KEY, document=KEY.framed, kind=0x20) + user_id_packets(KEY),
    "flawed": BARE + revocation(KEY, hashed=subpacket(100, critical=True)) + user_id_packets(KEY),
    "that has expired itself": BARE + revocation(KEY, hashed=created() + subpacket(3, u32(1))) + user_id_packets(KEY),
    "before a newer self-signature": BARE + revocation(KEY) + user_id_packets(KEY, made=MADE + DAY),
    "by a revoker whom the key has designated": BARE + direct(extra=designated(OTHER)) + revocation(KEY, by=OTHER) + user_id_packets(KEY),
    **{"for the reason %d" % reason: BARE + revocation(KEY, hashed=created() + subpacket(29, bytes([reason]) + b"why")) + user_id_packets(KEY)
       for reason in (0, 1, 2, 3)},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REVOKED))
def test_keys_rule_2_a_revocation_counts_wherever_it_stands_and_whatever_it_says(name):
    assert load(REVOKED[name]).revoked


NO_REVOCATION = {
    "with a wrong number": revocation(KEY, numbers=lambda numbers: mpi(numbers[0] ^ 1)),
    "by another key": revocation(KEY, by=OTHER),
    "by another key in this one's name": revocation(KEY, by=OTHER, unhashed=issuer(KEY)),
    "of another key": revocation(OTHER) + revocation(OTHER, by=KEY),
    "cut": new_packet(2, b"\4\x20"),
    "of a subkey": signature(KEY, document=KEY.framed + OTHER.framed, kind=0x28),
    "an algorithm of this number": user_id_packets(KEY, algorithm=0x20),
    "V3, a time that begins with this number": v3_signature(KEY, kind=0x13, made=0x20000000),
}


@pytest.mark.parametrize("name", sorted(NO_REVOCATION))
def test_keys_rule_2_what_the_key_has_not_signed_revokes_nothing(name):
    assert not load(key_packets(KEY, NO_REVOCATION[name])).revoked


# --- rule 3: whatever stands where, compare tests/test_key_corpus.py ---

A, B = b"A <a@example.org>", b"B <b@example.org>"
STATEMENTS = {  # name -> packets after the key, days until the end (None: never), may sign
    "no flags": (user_id_packets(KEY, flags=None), None, True),
    "flags that nobody signs": (user_id_packets(KEY, flags=None, unhashed=issuer(KEY) + subpacket(27, b"\1")), None, True),
    "repeated flags: the first": (user_id_packets(KEY, extra=subpacket(27, b"\1")), None, True),
    "two lifetimes: the first": (user_id_packets(KEY, lifetime=50 * DAY, extra=subpacket(9, u32(60 * DAY))), 50, True),
    "a lifetime of three octets is none": (user_id_packets(KEY, extra=subpacket(9, b"abc")), None, True),
    "a self-signature naming two": (user_id_packets(KEY, unhashed=issuer(KEY) + issuer(OTHER)), None, True),
    "a self-signature with SHA-224": (user_id_packets(KEY, digest="sha224"), None, True),
    "a self-signature of V3": (new_packet(13, b"me") + v3_signature(KEY, document=KEY.framed + b"me", kind=0x13), None, True),
    "a user id behind a subkey": (new_packet(14, OTHER.body) + user_id_packets(KEY), None, True),
    "a self-signature behind a subkey": (new_packet(13, USER_ID) + subkey_packets(KEY, OTHER) + SELF_SIGNATURE, None, True),
    "a direct-key signature alone": (direct(lifetime=50 * DAY), 50, True),
    "a direct-key signature ends it": (direct(lifetime=50 * DAY) + user_id_packets(KEY, made=MADE, lifetime=60 * DAY), 50, True),
    "behind a subkey": (user_id_packets(KEY) + subkey_packets(KEY, OTHER) + direct(lifetime=50 * DAY), 50, True),
    "the newest of two direct-key signatures": (direct(made=MADE, lifetime=60 * DAY) + direct(lifetime=50 * DAY) + user_id_packets(KEY), 60, True),
    "the later of two of one second": (direct(lifetime=60 * DAY) + direct(lifetime=50 * DAY) + user_id_packets(KEY), 50, True),
    "a direct-key signature that says nothing": (direct() + user_id_packets(KEY, lifetime=50 * DAY), 50, True),
    "its flags before those of user ids": (direct(flags=b"\2") + user_id_packets(KEY, flags=b"\1"), None, True),
    "the later of two self-signatures of one second": (
        user_id_packets(KEY, lifetime=50 * DAY) + user_id_packets(KEY, lifetime=60 * DAY), 60, True),
    "the later of two, the other way": (user_id_packets(KEY, lifetime=60 * DAY) + user_id_packets(KEY, lifetime=50 * DAY), 50, True),
    "an older user id that ends, a newer that does not say": (
        user_id_packets(KEY, A, lifetime=50 * DAY) + user_id_packets(KEY, B, made=MADE), 50, True),
    "the newer of two user ids": (
        user_id_packets(KEY, A, lifetime=50 * DAY, extra=subpacket(25, b"\1")) + user_id_packets(KEY, B, made=MADE, lifetime=60 * DAY), 60, True),
    "a user id that is revoked says nothing": (
        user_id_packets(KEY, A, lifetime=50 * DAY) + user_id_packets(KEY, A, kind=0x30, made=MADE) + user_id_packets(KEY, B), None, True),
    "the only user id is revoked": (user_id_packets(KEY) + user_id_packets(KEY, kind=0x30, made=MADE), None, True),
    "revoked and renewed": (
        user_id_packets(KEY) + user_id_packets(KEY, kind=0x30, made=MADE) + user_id_packets(KEY, made=MADE + 1, lifetime=50 * DAY), 50, True),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_keys_rule_3_expiry_and_flags_are_those_that_gpg_finds(name):
    following, days, may_sign = STATEMENTS[name]
    key = load(BARE + following)
    assert (key.expires, key.may_sign) == (None if days is None else BORN + days * DAY, may_sign)


def test_keys_rule_5_of_two_signatures_that_bind_a_subkey_the_later_counts_and_a_revocation_ends_it():
    bound, again = subkey_packets(KEY, OTHER), subkey_packets(KEY, OTHER, lifetime=50 * DAY)
    assert load(key_packets(KEY, bound, again)).subkeys[0].expires == BORN + 50 * DAY
    assert load(key_packets(KEY, again, bound)).subkeys[0].expires is None
    assert load(key_packets(KEY, bound, subkey_packets(KEY, OTHER, flags=b"\x0c", made=MADE))).subkeys == ()
    revoked = signature(KEY, document=KEY.framed + OTHER.framed, kind=0x28)
    for packets in ((bound, revoked), (revoked, bound), (bound, revoked, subkey_packets(KEY, OTHER, made=MADE + DAY))):
        assert load(key_packets(KEY, *packets)).subkeys[0].revoked
    forged = signature(OTHER, document=KEY.framed + OTHER.framed, kind=0x28, unhashed=issuer(KEY))
    assert not load(key_packets(KEY, bound, forged)).subkeys[0].revoked


def test_a_key_says_whether_it_has_signed_itself_with_sha1_only():
    assert load(key_packets(KEY)).sha1_only
    assert not load(key_packets(KEY, digest="sha256")).sha1_only
    assert not load(key_packets(KEY, user_id_packets(KEY, digest="sha512", made=MADE))).sha1_only


def test_statements_of_a_key_cost_what_their_number_costs():
    """Each is tried on the user ids around it only, and only on user ids as long as gpg's."""
    def operations(count):
        strays = b"".join(new_packet(13, b"%d" % number * 300) for number in range(count)) + SELF_SIGNATURE * count
        calls = [0]

        def tick(frame, event, argument):
            calls[0] += event in ("call", "c_call")

        data = BARE + strays
        sys.setprofile(tick)
        try:
            describe_key(data)
        finally:
            sys.setprofile(None)
        return calls[0]

    load(key_packets(KEY))  # imports
    assert operations(200) <= 2.2 * operations(100) + 100


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
