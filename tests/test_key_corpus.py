"""Key files beside gpg: each row has what gpg makes of it after an import, asked in the same test, and what we make of it."""
import pytest

from tests.conftest import REPOSITORY_ROOT
from tests.support.craft import (
    BORN,
    DAY,
    MADE,
    NOW,
    armor,
    created,
    designated,
    direct,
    issuer,
    issuer_fingerprint,
    key_packets,
    new_packet,
    old_packet,
    revocation,
    rsa_key,
    signature,
    subkey_packets,
    subpacket,
    u16,
    u32,
    user_id_packets,
    v3_signature,
)
from tests.support.judges import Gpg
from yum_plugin.errors import TrustError
from yum_plugin.trust.keys import load_pinned_key

KEY, OTHER, SUBKEY = rsa_key(), rsa_key("other"), rsa_key("subkey")
BARE = new_packet(6, KEY.body)
A, B = b"A <a@example.org>", b"B <b@example.org>"
SUBKEY_PACKET = new_packet(14, SUBKEY.body)
BLOCK = {"label": "PUBLIC KEY BLOCK"}


def user(user_id=A, **changes):
    return user_id_packets(KEY, user_id, **changes)


def certified(user_id=A, **changes):
    """The self-signature without its user id."""
    return user(user_id, **changes)[len(new_packet(13, user_id)) :]


def because(reason, made=MADE):
    return revocation(KEY, hashed=created(made) + issuer_fingerprint(KEY) + subpacket(29, bytes([reason]) + b"why"))


def subkey(**changes):
    return subkey_packets(KEY, SUBKEY, **changes)


SUBKEY_REVOKED = signature(KEY, document=KEY.framed + SUBKEY.framed, kind=0x28, hashed=created(BORN + 5) + issuer(KEY))
SAME = {
    "plain": BARE + user(),
    "revoked behind a subkey": BARE + user() + subkey() + revocation(KEY),
    "revoked behind a user id": BARE + user() + revocation(KEY),
    **{"revoked for reason %d" % reason: BARE + because(reason) + user() for reason in (0, 1, 2, 3)},
    "revoked, then signed again": BARE + because(1) + user(made=MADE + DAY),
    "revoked with wrong 16 bits": BARE + revocation(KEY, left16=b"\0\0") + user(),
    "revoked with bytes after": BARE + revocation(KEY, tail=b"\0") + user(),
    "revoked twice dated": BARE + revocation(KEY, hashed=created() + created(BORN) + issuer(KEY)) + user(),
    "direct: ends, wrong 16 bits": BARE + direct(lifetime=50 * DAY, left16=b"\0\0") + user(),
    "self-signature with bytes after": BARE + user(lifetime=50 * DAY, tail=b"\0"),
    "self-signature ends, Go's number": BARE + user(lifetime=50 * DAY, numbers=lambda numbers: u16(2048) + numbers[0].to_bytes(256, "big")),
    "revoked, Go's number": BARE + revocation(KEY, numbers=lambda numbers: u16(2048) + numbers[0].to_bytes(256, "big")) + user(),
    "subkey, revoked with wrong 16 bits": BARE + user() + subkey() + signature(
        KEY, document=KEY.framed + SUBKEY.framed, kind=0x28, hashed=created(BORN + 5) + issuer(KEY), left16=b"\0\0"),
    "subkey, wrong 16 bits": BARE + user() + subkey(lifetime=60 * DAY) + subkey(made=MADE, lifetime=50 * DAY)[len(SUBKEY_PACKET):],
    "revoked with SHA-1": BARE + revocation(KEY, digest="sha1") + user(),
    "revoked by V3": BARE + v3_signature(KEY, document=KEY.framed, kind=0x20) + user(),
    "revoked until a day that has passed": BARE + revocation(KEY, hashed=created() + issuer(KEY) + subpacket(3, u32(1))) + user(),
    "revoked by a designated revoker": BARE + direct(extra=designated(OTHER)) + revocation(KEY, by=OTHER) + user() + key_packets(OTHER),
    "a revocation that is forged": BARE + revocation(KEY, by=OTHER, hashed=created() + issuer(KEY), unhashed=issuer(KEY)) + user(),
    "a revocation by another key": BARE + revocation(KEY, by=OTHER) + user(),
    "direct: ends": BARE + direct(lifetime=50 * DAY) + user(),
    "direct: ends before the user id": BARE + direct(lifetime=50 * DAY) + user(lifetime=500 * DAY),
    "direct: says nothing": BARE + direct() + user(lifetime=50 * DAY),
    "direct: two of one second": BARE + direct(lifetime=50 * DAY) + direct(lifetime=60 * DAY) + user(),
    "direct: two of one second, the other way": BARE + direct(lifetime=60 * DAY) + direct(lifetime=50 * DAY) + user(),
    "direct: the newer first": BARE + direct(made=MADE, lifetime=60 * DAY) + direct(lifetime=50 * DAY) + user(),
    "direct: behind a subkey": BARE + user() + subkey() + direct(lifetime=50 * DAY),
    "direct: behind a user id": BARE + user() + direct(lifetime=50 * DAY),
    "direct: certifies only": BARE + direct(flags=b"\1") + user(),
    "direct: signs, the user id does not": BARE + direct(flags=b"\2") + user(flags=b"\1"),
    "direct: SHA-1": BARE + direct(lifetime=50 * DAY, digest="sha1") + user(),
    "no flags": BARE + user(flags=None),
    "empty flags": BARE + user(flags=b""),
    "unknown flags": BARE + user(flags=b"\x40"),
    "flags of two octets": BARE + user(flags=b"\1\2"),
    "two flags": BARE + user(extra=subpacket(27, b"\1")),
    "two lifetimes": BARE + user(lifetime=50 * DAY, extra=subpacket(9, u32(60 * DAY))),
    "flags that nobody signs": BARE + user(flags=None, unhashed=issuer(KEY) + subpacket(27, b"\1")),
    "two self-signatures of one second": BARE + user(lifetime=50 * DAY) + certified(lifetime=60 * DAY),
    "two of one second, the other way": BARE + user(lifetime=60 * DAY) + certified(lifetime=50 * DAY),
    "two user ids of one second": BARE + user(A, lifetime=50 * DAY) + user(B, lifetime=60 * DAY),
    "two user ids, the newer without an end": BARE + user(A, lifetime=50 * DAY) + user(B, made=MADE),
    "two user ids, the older is the main one": BARE + user(A, lifetime=50 * DAY, extra=subpacket(25, b"\1")) + user(B, made=MADE, lifetime=60 * DAY),
    "two user ids, the newer certifies only": BARE + user(A) + user(B, made=MADE, flags=b"\1"),
    "the user id is revoked": BARE + user() + certified(kind=0x30, made=MADE),
    "one of two user ids is revoked": BARE + user(A, lifetime=50 * DAY) + certified(A, kind=0x30, made=MADE) + user(B, flags=b"\1"),
    "revoked and renewed": BARE + user() + certified(kind=0x30, made=MADE) + certified(made=MADE + DAY, lifetime=400 * DAY),
    "self-signature with MD5": BARE + user(digest="md5"),
    "self-signature with SHA-224": BARE + user(digest="sha224"),
    "self-signature of V3": BARE + new_packet(13, A) + v3_signature(KEY, document=KEY.framed + A, kind=0x13),
    "self-signature that names two keys": BARE + user(unhashed=issuer(KEY) + issuer(OTHER)),
    "self-signature that names no key": BARE + user(unhashed=b""),
    "self-signature with a critical subpacket": BARE + user(extra=subpacket(100, critical=True)),
    "self-signature behind a subkey": BARE + SUBKEY_PACKET + user(),
    "self-signature behind a subkey, its user id before": BARE + new_packet(13, A) + subkey() + certified(),
    "self-signature from the future": BARE + user(made=NOW + 50 * DAY),
    "no user id": BARE,
    "no self-signature": BARE + new_packet(13, A),
    "a self-signature on an attribute": BARE + new_packet(17, b"xx") + certified(),
    "subkey": BARE + user() + subkey(),
    "subkey without flags": BARE + user() + subkey(flags=None),
    "subkey for encryption": BARE + user() + subkey(flags=b"\x0c"),
    "subkey, revoked": BARE + user() + subkey() + SUBKEY_REVOKED,
    "subkey, revoked and bound again": BARE + user() + subkey() + SUBKEY_REVOKED + subkey(made=MADE)[len(SUBKEY_PACKET):],
    "subkey that ended": BARE + user() + subkey(lifetime=50 * DAY),
    "subkey, bound twice in one second": BARE + user() + subkey(lifetime=50 * DAY) + subkey()[len(SUBKEY_PACKET):],
    "bytes after": BARE + user() + b"\n",
    "cut": (BARE + user())[:-1],
    "another key after it that is cut": BARE + user() + key_packets(OTHER)[:-1],
    "trust packets": BARE + new_packet(12, b"\0\3") + user() + new_packet(12, b"\0\3"),
    "a V3 key before": new_packet(6, b"\3" + KEY.body[1:5] + b"\0\0" + KEY.body[5:]) + BARE + user(),
    "a V6 key before": new_packet(6, b"\6" + KEY.body[1:]) + BARE + user(),
    "a marker before": new_packet(10, b"PGP") + BARE + user(),
    "padding between": BARE + new_packet(21, b"xx") + user(),
    "an unknown packet after": BARE + user() + new_packet(60, b"x"),
    "literal data after": BARE + user() + new_packet(11, b"b\0\0\0\0\0"),
    "a user id first": user(B) + BARE + user(),
    "two keys": key_packets(OTHER) + BARE + user(),
    "two blocks": armor(key_packets(OTHER), **BLOCK) + armor(BARE + user(), **BLOCK),
    "text around": b"hello\n" + armor(BARE + user(), **BLOCK) + b"bye\n" + armor(key_packets(OTHER), **BLOCK),
    "long lines": armor(BARE + user(), width=9999, **BLOCK),
    "Windows line ends": armor(BARE + user(), **BLOCK).replace(b"\n", b"\r\n"),
    "the same key twice": BARE + user(lifetime=50 * DAY) + BARE + user(made=MADE),
    "the same key twice, once revoked": BARE + user() + BARE + revocation(KEY) + user(),
    "the old packet format": old_packet(6, KEY.body) + old_packet(13, A, 1) + certified(),
}  # fmt: skip
# name -> file, what gpg makes of it, what we make of it, the class in docs/signatures.md
DIFFERENT = {
    "a self-signature that has ended itself": (
        BARE + user(extra=subpacket(3, u32(DAY))), (False, None, True, 0), (False, BORN + DAY, True, 0), "own expiry"),
    "the newest self-signature has ended itself": (
        BARE + user() + certified(made=MADE, extra=subpacket(3, u32(DAY)), lifetime=300 * DAY),
        (False, None, True, 0), (False, MADE + DAY, True, 0), "own expiry"),
    "revoked with MD5": (BARE + revocation(KEY, digest="md5") + user(), (False, None, True, 0), (True, None, True, 0), "revoked in doubt"),
    "revoked with a broken area": (
        BARE + revocation(KEY, hashed=created() + issuer(KEY) + b"\xff") + user(), (False, None, True, 0), (True, None, True, 0),
        "revoked in doubt"),
    "revoked with a critical notation": (
        BARE + revocation(KEY, hashed=created() + issuer(KEY) + subpacket(20, b"\0" * 8 + b"n", critical=True)) + user(), (False, None, True, 0), (True, None, True, 0),
        "revoked in doubt"),
    "revoked by a designated revoker who is not here": (
        BARE + direct(extra=designated(OTHER)) + revocation(KEY, by=OTHER) + user(), (False, None, True, 0), (True, None, True, 0),
        "revoked in doubt"),
    "a direct-key signature alone": (BARE + direct(flags=b"\3"), None, (False, None, True, 0), "no user id"),
    "a subkey that has not signed in return": (BARE + user() + subkey(back=b""), (False, None, True, 1), (False, None, True, 0), "bound both ways"),
    "a byte order mark": (b"\xef\xbb\xbf" + armor(BARE + user(), **BLOCK), None, (False, None, True, 0), "form"),
    "a wrong CRC24": (armor(BARE + user(), crc=b"abc", **BLOCK), None, (False, None, True, 0), "form"),
    "a secret key before": (new_packet(5, OTHER.body + b"\0") + BARE + user(), None, (False, None, True, 0), "form"),
}  # fmt: skip


@pytest.fixture(scope="module")
def gpg():
    judge = Gpg(NOW)
    yield judge
    judge.close()


def ours(data):
    """As Gpg.describes, with the number of living subkeys; None: no key that may sign."""
    try:
        key = load_pinned_key(data, [KEY.fingerprint])
    except TrustError as refused:
        assert refused.reference in ("key-invalid", "key-mismatch")
        return None
    alive = [subkey for subkey in key.subkeys if not subkey.revoked and (subkey.expires is None or subkey.expires > NOW)]
    return key.revoked, key.expires, key.may_sign, len(alive)


def theirs(gpg, data):
    found = gpg.describes(data, KEY.fingerprint)
    return found and found[:3] + (0 if found[0] or (found[1] and found[1] <= NOW) else len(found[3]),)


@pytest.mark.parametrize("name", sorted(SAME))
def test_a_key_file_says_to_us_what_it_says_to_gpg(name, gpg):
    mine, found = ours(SAME[name]), theirs(gpg, SAME[name])
    if mine is None:
        assert found is None or not found[2]  # gpg keeps a key that does not sign
    elif mine[0] or (mine[1] and mine[1] <= NOW):
        assert found[:3] == mine[:3]  # gpg says of each subkey that it is as dead as its key
    else:
        assert found == mine


@pytest.mark.parametrize("name", sorted(DIFFERENT))
def test_a_key_file_that_says_something_else_to_gpg_is_explained(name, gpg):
    data, expected_of_gpg, expected, reason = DIFFERENT[name]
    assert (theirs(gpg, data), ours(data)) == (expected_of_gpg, expected)
    assert "| {} |".format(reason) in (REPOSITORY_ROOT / "docs" / "signatures.md").read_text(encoding="utf-8")
