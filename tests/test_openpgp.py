"""Detached signatures: every rule is broken once, by a signature that is good in everything else."""
import base64
import itertools
import shutil
import subprocess
import sys
import tempfile

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.conftest import REPOSITORY_ROOT
from tests.support.craft import (
    BORN,
    DAY,
    DOCUMENT,
    MADE,
    NOW,
    CraftKey,
    armor,
    created,
    dsa_key,
    ecdsa_key,
    eddsa_key,
    encode_numbers,
    issuer,
    issuer_fingerprint,
    key_packets,
    length,
    mpi,
    new_packet,
    old_packet,
    revocation,
    rsa_key,
    signature,
    signature_body,
    subkey_packets,
    subpacket,
    u16,
    u32,
    v3_signature,
)
from yum_plugin.errors import TrustError
from yum_plugin.trust import hashing, packets
from yum_plugin.trust.armor import MAX_FILE_BYTES, read_blocks
from yum_plugin.trust.keys import load_pinned_key
from yum_plugin.trust.openpgp import DetachedVerifier, Verdict, Verifier, verify_detached
from yum_plugin.trust.packets import read_signatures

KEY = rsa_key()
OTHER = rsa_key("other")


def pinned(key=KEY, **user_id):
    return load_pinned_key(key_packets(key, **user_id), [key.fingerprint])


PINNED = pinned()


def refusal(signature_file, document=DOCUMENT, keys=(PINNED,), now=NOW):
    with pytest.raises(TrustError) as refused:
        verify_detached(document, signature_file, keys, now)
    return refused.value.reference


def good(**changes):
    return signature(KEY, **changes)


def ids(key=KEY):
    return created() + issuer_fingerprint(key)


def shifted(body, at, value):
    return body[:at] + value + body[at + len(value) :]


def rsa_numbers(change):
    """An encoder of one number that ``change`` is applied to."""
    return lambda numbers: change(numbers[0])


HTML = b"<!DOCTYPE html><html><body>Please log in to the hotel's network</body></html>"

# --- good ones ---

GOOD = {
    "binary, new format": good(),
    "binary, old format, two octets": old_packet(2, signature_body(KEY)),
    "binary, old format, four octets": old_packet(2, signature_body(KEY), 4),
    "binary, new format, five octets": new_packet(2, signature_body(KEY), 5),
    "armor": armor(good()),
    "armor without CRC24": armor(good(), crc=False),
    "armor with headers": armor(good(), headers="Version: GnuPG v2.0.22 (GNU/Linux)\nComment: hello\n"),
    "armor, Windows line ends": armor(good()).replace(b"\n", b"\r\n"),
    "armor, white space around": b"\n \n" + armor(good()) + b"\n\n",
    "armor, white space at line ends": armor(good()).replace(b"\n", b" \t\n"),
    "armor, 76 characters a line": armor(good(), width=76),
    "issuer fingerprint only": good(unhashed=b""),
    "issuer id only, unhashed": good(hashed=created()),
    "issuer id only, hashed": good(hashed=created() + issuer(KEY), unhashed=b""),
    "issuer fingerprint only, unhashed": good(hashed=created(), unhashed=issuer_fingerprint(KEY)),
    "SHA-384": good(digest="sha384"),
    "SHA-512": good(digest="sha512"),
    "critical creation time, expiration and issuer": good(
        hashed=created(critical=True)
        + subpacket(3, u32(31 * DAY), critical=True)
        + issuer_fingerprint(KEY, critical=True),
        unhashed=issuer(KEY, critical=True),
    ),
    "critical policy and signer": good(hashed=ids() + subpacket(26, b"x", critical=True) + subpacket(28, b"y", critical=True)),
    "subpacket lengths of five octets": good(hashed=created(octets=5) + issuer_fingerprint(KEY, octets=5)),
    "subpacket length of two octets": good(hashed=ids() + subpacket(20, b"n" * 300)),
    "subpacket length of two octets that no packet may have": good(hashed=ids() + subpacket(20, b"n" * 9000, octets=2)),
    "unknown subpackets, not critical": good(hashed=ids() + subpacket(100, b"?") + subpacket(20, b"note")),
    "1024 subpackets": good(hashed=ids() + subpacket(101) * 1022),
    "two creation times, of which the first counts": good(hashed=ids() + created(MADE + 1)),
    "a creation time of five octets": good(hashed=subpacket(2, u32(MADE) + b"x") + issuer(KEY)),
    "two expirations, of which the first counts": good(hashed=ids() + subpacket(3, u32(0)) + subpacket(3, u32(1))),
    "an issuer id of seven octets beside the right fingerprint": good(unhashed=subpacket(16, bytes.fromhex(KEY.key_id)[1:])),
    "issuer ids of both": good(unhashed=issuer(KEY) + issuer(OTHER)),
    "issuer fingerprint of another beside the right id": good(hashed=ids(OTHER)),
    "issuer id of another beside the right fingerprint": good(unhashed=issuer(OTHER)),
    "the wildcard key id beside the right fingerprint": good(unhashed=subpacket(16, bytes(8))),
    "another creation time, not signed": good(unhashed=issuer(KEY) + created(BORN)),
    "an expiration, not signed": good(unhashed=issuer(KEY) + subpacket(3, u32(1))),
    "never expires": good(hashed=ids() + subpacket(3, u32(0))),
    "expires tomorrow": good(hashed=ids() + subpacket(3, u32(NOW + 1 - MADE))),
    "made the second the key was": good(hashed=created(BORN) + issuer(KEY)),
    "made by a clock 24 h fast": good(hashed=created(NOW + DAY) + issuer(KEY)),
    "RSA by its old sign-only number": good(algorithm=3),
    "V3": v3_signature(KEY),
    "V3, armored": armor(v3_signature(KEY)),
    "64 signatures": good() * 64,
    "two signatures, of two digests": good() + good(digest="sha512"),
    "number that fills its octets in name only": good(numbers=rsa_numbers(lambda number: mpi(number, (number.bit_length() + 7) // 8 * 8))),
    "number with leading zero bits, as Go writes it": good(
        numbers=rsa_numbers(lambda number: u16(number.bit_length() + 8) + b"\0" + mpi(number)[2:])
    ),
    "number of a bit less than its octets": good(numbers=rsa_numbers(lambda number: mpi(number, (number.bit_length() - 1) // 8 * 8 + 1))),
    "bytes after the number": good(tail=b"\0"),
    "a second number": good(numbers=lambda numbers: encode_numbers(numbers * 2)),
    "marker before": new_packet(10, b"PGP") + good(),
    "user id after": good() + new_packet(13, b"me"),
    "a key before": new_packet(6, OTHER.body) + good(),
    "padding after": good() + new_packet(21, bytes(8)),
    "tag 0 after": good() + new_packet(0, b""),
    "a byte after": good() + b"\n",
    "zeros after": good() + bytes(8),
    "text after": good() + b"junk",
    "half of another after": good() + good()[:100],
    "byte order mark before armor": b"\xef\xbb\xbf" + armor(good()),
    "armor: wrong CRC24": armor(good(), crc=b"abc"),
    "armor: CRC24 that is no base64": armor(good()).replace(b"\n=", b"\n=!")[:-1],
    "armor: CRC24 twice": armor(good()).replace(b"\n-----END", b"\n=AAAA\n-----END"),
    "armor: an empty comment": armor(good(), headers="Comment:\n"),
    "armor: two blocks": armor(good()) * 2,
    "armor: blank lines and text before": b"\n\nDear reader,\n\n" + armor(good()),
    "armor: text before that begins like a packet": "\u00a9 2026 - signed\n".encode() + armor(good()),
    "armor: text after": armor(good()) + b"hello\n",
    "armor: inside a page": HTML + b"\n" + armor(good()),
    "armor: a key's label": armor(good(), label="PUBLIC KEY BLOCK"),
    "armor: a message's label": armor(good(), label="MESSAGE"),
    "armor: another label at the end": armor(good()).replace(b"END PGP SIGNATURE", b"END PGP MESSAGE"),
    "armor: no end": armor(good()).split(b"-----END")[0],
    "armor: no blank line after a header": armor(good(), headers="Version: 1\n").replace(b"\n\n", b"\n", 1),
    "armor: blank line in the body": armor(good()).replace(b"\n=", b"\n\n="),
    "armor: padding missing": armor(good(), crc=False).replace(b"=", b""),
    "armor: one endless line": armor(good(), width=10000),
    "armor: NUL bytes": armor(good()).replace(b"\n", b"\0\n"),
    "armor: indented": armor(good()).replace(b"\n", b"\n  "),
}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_good_signature_is_proven(name):
    verdict = verify_detached(DOCUMENT, GOOD[name], [PINNED], NOW)
    assert verdict.fingerprint == KEY.fingerprint
    assert verdict.digest in ("sha256", "sha384", "sha512")


def test_the_verdict_tells_when_by_whom_and_how():
    assert verify_detached(DOCUMENT, good(digest="sha512"), [PINNED], NOW) == Verdict(MADE, KEY.fingerprint, "sha512")


def test_of_several_signatures_the_newest_time_counts():
    newer = good(hashed=created(MADE + DAY) + issuer(KEY))
    assert verify_detached(DOCUMENT, newer + good(), [PINNED], NOW).signed_at == MADE + DAY


OTHER_KINDS = [dsa_key(), ecdsa_key(), eddsa_key(), rsa_key("sign-only", algorithm=3)]


@pytest.mark.parametrize("key", OTHER_KINDS, ids=lambda key: str(key.algorithm))
def test_every_kind_of_key_signs_and_none_for_another_file(key):
    for digest in ("sha256", "sha512"):
        made = signature(key, digest=digest)
        assert verify_detached(DOCUMENT, made, [pinned(key, digest="sha256")], NOW).fingerprint == key.fingerprint
        assert refusal(made, DOCUMENT + b" ", [pinned(key, digest="sha256")]) == "signature-invalid"
    unlucky = signature(key, numbers=lambda numbers: encode_numbers([0] * len(numbers)))
    assert refusal(unlucky, keys=[pinned(key, digest="sha256")]) == "signature-invalid"


def test_a_key_need_not_fill_its_octets():
    """2049 bits, so that some signatures need an octet more than the others. OpenSSL makes keys of an even number of bits only."""
    p, q = (rsa_key("odd", bits).private.private_numbers().p for bits in (2050, 2048))
    d = rsa.rsa_crt_iqmp((p - 1) * (q - 1), 65537)  # the inverse of 65537; the libraries of Python 3.6 have no name of their own for it
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(65537, p * q))
    assert (p * q).bit_length() == 2049
    key = CraftKey(numbers.private_key(), 1, mpi(p * q) + mpi(65537))
    made = {len(packet): (document, packet) for document in (b"%d" % number for number in range(60))
            for packet in [signature(key, document=document)]}
    assert len(made) > 1
    for document, packet in made.values():
        assert verify_detached(document, packet, [pinned(key)], NOW).fingerprint == key.fingerprint


# What does not count beside a good signature, and does not refuse it either: reference -> name -> signatures
IGNORED = {
    "unknown-key": {
        "by another key": signature(OTHER),
        "of another file by another key": signature(OTHER, document=b"other"),
        "no issuer": good(hashed=created(), unhashed=b""),
    },
    "weak-digest": {
        "SHA-1": good(digest="sha1"), "MD5": good(digest="md5"), "SHA-1 of another file": good(document=b"other", digest="sha1"),
        "V3 with MD5": v3_signature(KEY, digest="md5"),
    },
    "wrong-signature-type": {"of text": good(kind=1), "of a key": good(kind=0x13), "of another file": good(kind=2, document=b"other")},
    "signature-expired": {"expired": good(hashed=ids() + subpacket(3, u32(1)))},
    "signature-invalid": {"older than its key": good(hashed=created(BORN - 1) + issuer(KEY))},
    "unsupported": {
        "V6": good(version=6), "V5": good(version=5), "an unknown digest": good(digest_id=99), "post-quantum": good(algorithm=30),
        "a critical subpacket": good(hashed=ids() + subpacket(100, critical=True)),
        "V6 that names the pinned key": new_packet(2, b"\6" + signature_body(KEY)[1:]),
    },
    "malformed": {
        "in the pinned key's name by an unsigned subpacket, cut": new_packet(2, signature_body(KEY, hashed=created())[:-9]),
        "an area of 65535 octets": new_packet(2, shifted(signature_body(KEY), 4, b"\xff\xff")),
        "a number too few": good(algorithm=17),
        "no date": good(hashed=issuer_fingerprint(KEY)),
    },
}  # fmt: skip
IGNORED_CASES = [(reference, name) for reference in sorted(IGNORED) for name in sorted(IGNORED[reference])]


@pytest.mark.parametrize("reference, name", IGNORED_CASES)
def test_openpgp_rule_1_one_good_signature_is_enough_and_what_does_not_count_is_told(reference, name):
    other = IGNORED[reference][name]
    for made in (other + good(), good() + other, armor(other) + armor(good()), armor(good()) + b"text\n" + armor(other)):
        verdict = verify_detached(DOCUMENT, made, [PINNED], NOW)
        assert verdict._replace(ignored=()) == Verdict(MADE, KEY.fingerprint, "sha256")
        assert [told.partition(": ")[0] for told in verdict.ignored] == [reference]
        assert refusal(made, DOCUMENT + b"!") == "signature-invalid"
    assert refusal(other) == reference


def test_openpgp_rule_1_the_order_of_good_bad_and_other_signatures_never_matters():
    parts = [good(), good(digest="sha1"), signature(OTHER), good(version=6)]
    for order in itertools.permutations(parts):
        assert verify_detached(DOCUMENT, b"".join(order), [PINNED], NOW).signed_at == MADE
    for order in itertools.permutations([*parts[:2], good(document=b"other"), signature(OTHER)]):
        assert refusal(b"".join(order)) == "signature-invalid"


def test_a_change_of_keys_old_and_new_signature_are_good_for_a_host_with_either_key():
    """Stock dnf takes such a repomd.xml.asc; every host was stopped that asked for all signatures to be by its own keys."""
    for keys in ([PINNED], [pinned(OTHER)], [PINNED, pinned(OTHER)]):
        assert verify_detached(DOCUMENT, good() + signature(OTHER), keys, NOW)


def test_two_pinned_keys_overlap_and_each_may_sign():
    both = [PINNED, pinned(OTHER)]
    assert verify_detached(DOCUMENT, signature(OTHER), both, NOW).fingerprint == OTHER.fingerprint
    assert verify_detached(DOCUMENT, good() + signature(OTHER), both, NOW)


def test_a_file_in_pieces_is_the_file_as_a_whole():
    verifier = DetachedVerifier(good() + good(digest="sha384"), [PINNED], NOW)
    for octet in DOCUMENT:
        verifier.update(bytes([octet]))
    assert verifier.finish() == verifier.finish() == Verdict(MADE, KEY.fingerprint, "sha256")
    verifier.update(b"more")
    with pytest.raises(TrustError):
        verifier.finish()


# --- bad ones: reference -> name -> signature file ---

def in_two_parts(body):
    return b"\xc2\xe8" + body[:256] + length(len(body) - 256) + body[256:]


def two_octets_too_long():
    """A packet of 8384 octets, the first size that the two-octet form cannot say."""
    rest = len(signature_body(KEY)) + len(subpacket(101, bytes(8000))) - 8000
    body = signature_body(KEY, hashed=ids() + subpacket(101, bytes(8384 - rest)))
    return b"\xc2\xe0\x00" + body


def armored_line(line):
    return b"-----BEGIN PGP SIGNATURE-----\n\n" + line + b"\n-----END PGP SIGNATURE-----\n"


BAD = {
    "signature-missing": {
        "empty": b"",
        "white space": b" \n\n",
        "a page of HTML": HTML,
        "text": b"not found\n",
        "only a marker": new_packet(10, b"PGP"),
        "header without bit 7": bytes([good()[0] & 0x7F]) + good()[1:],
        "armor: four dashes": armor(good()).replace(b"-----BEGIN", b"----BEGIN"),
        "armor: Macintosh line ends before it": b"hello\r" + armor(good()).replace(b"\n", b"\r"),
        "armor: a key": armor(new_packet(6, KEY.body), label="PUBLIC KEY BLOCK"),
        "compressed, of a kind that is none": new_packet(61, b"\0" + good()),
    },
    "signature-invalid": {
        "of another file": good(document=b"other"),
        "by another key in the pinned one's name": signature(OTHER, hashed=ids(), unhashed=issuer(KEY)),
        "by another key, the pinned one in an unsigned part": signature(OTHER, unhashed=issuer(KEY)),
        "left 16 bits wrong": good(left16=b"\0\0"),
        "number is zero": good(numbers=lambda _: mpi(0)),
        "number is one": good(numbers=lambda _: mpi(1)),
        "number is the modulus": good(numbers=lambda _: mpi(PINNED.material.public_numbers().n)),
        "number plus modulus": good(numbers=rsa_numbers(lambda number: mpi(number + PINNED.material.public_numbers().n))),
        "number far longer than the key": good(numbers=lambda _: mpi(1 << 4095)),
        "made before the key": good(hashed=created(BORN - 1) + issuer(KEY)),
        "another algorithm": good(algorithm=17, numbers=lambda numbers: encode_numbers(numbers * 2)),
        "SHA-512 in name, SHA-256 in fact": good(digest_id=10),
        "type 0x01 in fact, 0x00 in name": shifted(good(kind=1), 4, b"\0"),
        "first of two": good(document=b"other") + good(),
        "second of two": good() + good(document=b"other"),
        "between others": signature(OTHER) + good() + good(document=b"other") + good(digest="sha1"),
        "last of four": good() * 3 + good(left16=b"\0\0"),
        "in the second block": armor(good()) + armor(good(document=b"other")),
        "an expired one of another file": good() + good(document=b"other", hashed=ids() + subpacket(3, u32(1))),
        "a flawed one of another file": good() + good(document=b"other", hashed=ids() + subpacket(100, critical=True)),
    },
    "wrong-signature-type": {
        "type 0x{:02x}".format(kind): good(kind=kind)
        for kind in (0x01, 0x02, 0x10, 0x11, 0x12, 0x13, 0x18, 0x19, 0x1F, 0x20, 0x28, 0x30, 0x40, 0x50, 0x60, 0xFF)
    },
    "weak-digest": {
        "MD5": good(digest="md5"),
        "SHA-1": good(digest="sha1"),
        "SHA-224": good(digest="sha224"),
        "RIPEMD-160": good(digest_id=3),
        "SHA-1 beside another key's": good(digest="sha1") + signature(OTHER),
    },
    "unknown-key": {
        "by another key": signature(OTHER),
        "no issuer": good(hashed=created(), unhashed=b""),
        "issuer id of another, hashed": good(hashed=created() + issuer(OTHER), unhashed=b""),
        "issuer id of another, unhashed": good(hashed=created(), unhashed=issuer(OTHER)),
        "issuer fingerprint of another": good(hashed=ids(OTHER), unhashed=b""),
        "the wildcard key id": good(hashed=created(), unhashed=subpacket(16, bytes(8))),
        "a key id as short as gpg shows it": good(hashed=created(), unhashed=subpacket(16, bytes(4) + bytes.fromhex(KEY.key_id[8:]))),
        "issuer id of seven octets": good(hashed=created(), unhashed=subpacket(16, bytes.fromhex(KEY.key_id)[1:])),
        "issuer fingerprint cut": good(hashed=created() + subpacket(33, b"\4" + bytes.fromhex(KEY.fingerprint)[1:]), unhashed=b""),
        "issuer fingerprint of V5": good(hashed=created() + subpacket(33, b"\5" + bytes.fromhex(KEY.fingerprint)), unhashed=b""),
        "issuer fingerprint empty": good(hashed=created() + subpacket(33), unhashed=b""),
        "another key's beside what cannot be read": good(version=6) + signature(OTHER),
    },
    "signature-expired": {
        "now": good(hashed=ids() + subpacket(3, u32(NOW - MADE))),
        "after a second": good(hashed=ids() + subpacket(3, u32(1))),
        "critically": good(hashed=ids() + subpacket(3, u32(1), critical=True)),
    },
    "unsupported": {
        "V2": good(version=2),
        "V5": good(version=5),
        "V6": good(version=6),
        "an empty packet": new_packet(2, b""),
        "digest 0": good(digest_id=0),
        "SHA3-256": good(digest_id=12),
        "digest 255": good(digest_id=255),
        "RSA for encryption": good(algorithm=2),
        "Elgamal": good(algorithm=16),
        "Ed25519 of RFC 9580": good(algorithm=27),
        "unknown critical subpacket, hashed": good(hashed=ids() + subpacket(100, critical=True)),
        "unknown critical subpacket, unhashed": good(unhashed=issuer(KEY) + subpacket(100, critical=True)),
        "critical notation": good(hashed=ids() + subpacket(20, b"note", critical=True)),
        "critically for another recipient": good(hashed=ids() + subpacket(35, b"\4" + bytes(20), critical=True)),
        "critical subpacket of type 0": good(hashed=ids() + subpacket(0, critical=True)),
        "1025 subpackets": good(hashed=ids() + subpacket(101) * 1023),
        "1025 subpackets, unhashed": good(unhashed=issuer(KEY) + subpacket(101) * 1024),
        "65 signatures": good() * 65,
        "too large": good() + good(hashed=ids() + subpacket(101, bytes(60000))) * 2,
        "huge HTML": HTML + b" " * MAX_FILE_BYTES,
    },
    "malformed": {
        "no creation time": good(hashed=issuer_fingerprint(KEY)),
        "creation time only unhashed": good(hashed=issuer_fingerprint(KEY), unhashed=created()),
        "creation time of three octets": good(hashed=subpacket(2, b"abc") + issuer(KEY)),
        "subpacket without type": good(hashed=ids() + b"\0"),
        "subpacket beyond its area": good(hashed=ids() + b"\5\x65abc"),
        "subpacket of 4 GiB": good(hashed=ids() + b"\xff\xff\xff\xff\xff\x65"),
        "subpacket length cut": good(hashed=ids() + b"\xff\0\0"),
        "hashed area beyond the packet": new_packet(2, shifted(signature_body(KEY), 4, b"\xff\xff")),
        "unhashed area beyond the packet": new_packet(2, shifted(signature_body(KEY), 6 + len(ids()), b"\xff\xff")),
        "no number": good(numbers=lambda _: b""),
        "number cut": new_packet(2, signature_body(KEY)[:-1]),
        "number too large": good(numbers=lambda _: mpi(1 << 16384)),
        "number of 65535 bits": good(numbers=lambda _: b"\xff\xff"),
        "DSA with one number": good(algorithm=17),
        "cut in the middle": good()[:100],
        "cut by a byte": good()[:-1],
        "only a header": good()[:1],
        "header of two octets cut": b"\xc2\xc1",
        "bytes before": b"\x80" + good(),
        "partial length": b"\xc2\xe9" + signature_body(KEY),
        "partial length, properly ended": in_two_parts(signature_body(KEY)),
        "indeterminate length": b"\x8b" + signature_body(KEY),
        "indeterminate length, taken for eight octets": b"\x8b" + bytes(6) + u16(len(signature_body(KEY))) + signature_body(KEY),
        "partial length, taken for two octets": two_octets_too_long(),
        "length of 4 GiB": b"\xc2\xff\xff\xff\xff\xff" + signature_body(KEY),
        "length a byte too long": b"\xc2" + length(len(signature_body(KEY)) + 1) + signature_body(KEY),
        "length a byte too short": b"\xc2" + length(len(signature_body(KEY)) - 1) + signature_body(KEY),
        "one-pass packet before": new_packet(4, bytes(13)) + good(),
        "literal data before": new_packet(11, b"b\0\0\0\0\0" + DOCUMENT) + good(),
        "literal data after": good() + new_packet(11, b"b\0\0\0\0\0" + DOCUMENT),
        "compressed": new_packet(8, b"\0" + good()),
        "armor around nothing": armored_line(b"=twTO"),
        "armor: a block in a block": armored_line(armor(good(), crc=False).replace(b"-----BEGIN", b"").replace(b"-----END", b"")),
        "armor: begin only": b"-----BEGIN PGP SIGNATURE-----",
        "armor: begin and end only": b"-----BEGIN PGP SIGNATURE-----\n-----END PGP SIGNATURE-----",
        "armor: header that is none": armor(good(), headers="Version\n"),
        "armor: not base64": armor(good()).replace(b"A", b"*"),
        "armor: base64 of URLs": armored_line(base64.urlsafe_b64encode(b"\xff\xfe\xfd")),
        "armor: a quantum too short": armored_line(b"wsAAA"),
        "armor: padding in the middle": armored_line(b"wsA=\nwsA="),
        "armor: Macintosh line ends": armor(good()).replace(b"\n", b"\r"),
        "armor: of text": armor(b"hello"),
    },
}  # fmt: skip
CASES = [(reference, name) for reference in sorted(BAD) for name in sorted(BAD[reference])]


@pytest.mark.parametrize("reference, name", CASES)
def test_a_bad_signature_is_refused(reference, name):
    assert refusal(BAD[reference][name]) == reference


BINARY_CASES = [
    (reference, name)
    for reference, name in CASES
    if BAD[reference][name][:1] >= b"\x80" and len(BAD[reference][name]) < MAX_FILE_BYTES // 2
]


@pytest.mark.parametrize("reference, name", BINARY_CASES)
def test_a_bad_signature_is_refused_in_armor_too(reference, name):
    assert refusal(armor(BAD[reference][name])) == reference


def test_signed_text_or_a_standalone_signature_is_no_statement_about_a_file():
    """One signature of type 0x02 covers nothing: without its type checked it would verify any file."""
    assert refusal(signature(KEY, document=b"", kind=0x02), document=b"") == "wrong-signature-type"


def test_line_ends_of_the_document_are_signed_as_they_are():
    assert refusal(good(), DOCUMENT.replace(b"\n", b"\r\n")) == "signature-invalid"


@pytest.mark.parametrize("document", [b"", DOCUMENT[:-1], DOCUMENT + b"\n", DOCUMENT * 2])
def test_a_longer_or_shorter_document_is_refused(document):
    assert refusal(good(), document) == "signature-invalid"


# --- the key's own state ---


@pytest.mark.parametrize(
    "change, reference",
    [
        ({"revoked": True}, "key-revoked"),
        ({"expires": NOW}, "key-expired"),
        ({"expires": NOW - 1}, "key-expired"),
        ({"expires": MADE}, "key-expired"),
        ({"created": MADE + 1}, "signature-invalid"),
    ],
)
def test_a_key_that_may_not_sign_any_more_is_refused(change, reference):
    assert refusal(good(), keys=[PINNED._replace(**change)]) == reference


def test_a_key_that_expires_later_still_signs():
    assert verify_detached(DOCUMENT, good(), [PINNED._replace(expires=NOW + 1)], NOW)


def test_a_signature_dated_after_the_end_of_its_key_is_refused():
    ahead = good(hashed=created(NOW + 3600) + issuer(KEY))
    assert refusal(ahead, keys=[PINNED._replace(expires=NOW + 1800)]) == "key-expired"


def test_the_message_of_an_unknown_key_names_those_that_the_signature_names():
    both = sorted([OTHER.key_id, OTHER.fingerprint])
    for made, names in ((good(hashed=created(), unhashed=b""), "nobody"), (signature(OTHER), ", ".join(both))):
        with pytest.raises(TrustError) as refused:
            verify_detached(DOCUMENT, made, [PINNED], NOW)
        assert refused.value.where == names


def test_without_a_pinned_key_nothing_is_proven():
    assert refusal(good(), keys=[]) == "unknown-key"


def test_without_a_signature_nothing_is_proven():
    for verifier in (Verifier([], [PINNED], NOW), Verifier([], [], NOW)):
        assert verifier.is_empty and not verifier.may_count and verifier.hopeless().reference == "signature-missing"
        with pytest.raises(TrustError) as refused:
            verifier.finish()
        assert refused.value.reference == "signature-missing"


def test_a_date_is_only_spoken_of_once_it_is_proven():
    """Else anyone could make the reader distrust the clock or the repository's owner."""
    assert refusal(good(document=b"other", hashed=created(0xFFFFFFFF) + issuer(KEY))) == "signature-invalid"
    assert refusal(good(document=b"other", hashed=ids() + subpacket(3, u32(1)))) == "signature-invalid"


# --- subkeys ---

SUBKEY = rsa_key("subkey")


def with_subkey(**changes):
    return load_pinned_key(key_packets(KEY, subkey_packets(KEY, SUBKEY, **changes)), [KEY.fingerprint])


def test_openpgp_rule_3_a_signing_subkey_that_is_bound_both_ways_signs_for_its_primary_key():
    for made in (signature(SUBKEY), armor(signature(SUBKEY, digest="sha512")), v3_signature(SUBKEY), good() + signature(SUBKEY)):
        assert verify_detached(DOCUMENT, made, [with_subkey()], NOW).fingerprint == KEY.fingerprint
        assert refusal(made, DOCUMENT + b"!", [with_subkey()]) == "signature-invalid"
    assert refusal(good() + signature(SUBKEY, document=b"other"), keys=[with_subkey()]) == "signature-invalid"


@pytest.mark.parametrize("change", [{"bound": False}, {"back": b""}, {"back": OTHER}, {"by": OTHER}, {"flags": b"\x0c"}, {"digest": "md5"}],
                         ids=["not bound", "no signature in return", "in return by another", "bound by another", "for encryption", "MD5"])
def test_cve_2021_3521_a_subkey_that_is_not_bound_both_ways_never_signs(change):
    key = with_subkey(**change)
    assert refusal(signature(SUBKEY), keys=[key]) == "unknown-key"
    assert refusal(signature(SUBKEY, hashed=ids(), unhashed=issuer(KEY)), keys=[key]) == "signature-invalid"
    assert verify_detached(DOCUMENT, good(), [key], NOW)
    assert verify_detached(DOCUMENT, signature(SUBKEY, document=b"other") + good(), [key], NOW)  # somebody else's


def test_a_subkey_that_is_revoked_or_expired_or_whose_primary_key_is_signs_nothing_any_more():
    revoked = signature(KEY, document=KEY.framed + SUBKEY.framed, kind=0x28)
    key = load_pinned_key(key_packets(KEY, subkey_packets(KEY, SUBKEY), revoked), [KEY.fingerprint])
    assert refusal(signature(SUBKEY), keys=[key]) == "key-revoked"
    assert refusal(signature(SUBKEY), keys=[with_subkey(lifetime=DAY)]) == "key-expired"
    assert refusal(signature(SUBKEY), keys=[with_subkey()._replace(revoked=True)]) == "key-revoked"
    assert refusal(signature(SUBKEY), keys=[with_subkey()._replace(expires=NOW)]) == "key-expired"
    assert verify_detached(DOCUMENT, good() + signature(SUBKEY), [key], NOW)


def test_a_primary_key_that_only_certifies_signs_by_its_subkey_alone():
    key = load_pinned_key(key_packets(KEY, subkey_packets(KEY, SUBKEY), flags=b"\1"), [KEY.fingerprint])
    assert verify_detached(DOCUMENT, signature(SUBKEY), [key], NOW)
    assert refusal(good(), keys=[key]) == "key-invalid"


def test_a_revocation_in_the_key_file_ends_every_signature():
    key = load_pinned_key(key_packets(KEY).replace(KEY.body, KEY.body + revocation(KEY), 1), [KEY.fingerprint])
    assert refusal(good(), keys=[key]) == "key-revoked"
    assert verify_detached(DOCUMENT, good() + signature(OTHER), [key, pinned(OTHER)], NOW).fingerprint == OTHER.fingerprint


# --- V3 ---


@pytest.mark.parametrize(
    "bad, reference",
    [
        (v3_signature(KEY, document=b"other"), "signature-invalid"),
        (v3_signature(KEY, digest="sha1"), "weak-digest"),
        (v3_signature(KEY, digest="md5"), "weak-digest"),
        (v3_signature(KEY, kind=1), "wrong-signature-type"),
        (v3_signature(KEY, made=BORN - 1), "signature-invalid"),
        (v3_signature(OTHER), "unknown-key"),
        (v3_signature(KEY, signed_octets=6), "malformed"),
        (v3_signature(KEY)[:20], "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "signature",  # its bytes differ from run to run
)  # fmt: skip
def test_v3_obeys_the_same_rules(bad, reference):
    assert refusal(bad) == reference


# --- whatever is changed is noticed ---


def test_no_bit_of_a_signature_can_be_flipped():
    """But of what nobody signs and nothing depends on: the unhashed issuer ids, beside the hashed fingerprint, and how many
    bits a number has within its octets."""
    whole, bare = good(), good(unhashed=b"")
    unsigned = set(range(whole.index(issuer(KEY)), whole.index(issuer(KEY)) + len(issuer(KEY))))
    length_octet = len(whole) - 257
    assert {bit // 8 for bit in range(8 * len(whole)) if _passes(_flip(whole, bit), DOCUMENT)} <= unsigned | {length_octet}
    assert {bit // 8 for bit in range(8 * len(bare)) if _passes(_flip(bare, bit), DOCUMENT)} <= {len(bare) - 257}


def test_no_bit_of_the_document_can_be_flipped():
    whole = good()
    assert not any(_passes(whole, _flip(DOCUMENT, bit)) for bit in range(8 * len(DOCUMENT)))


def test_no_character_of_the_armor_can_be_changed_into_another_signature():
    whole = armor(good())
    body = whole.index(b"\n\n") + 2
    for at in range(body, whole.index(b"\n-----END")):
        for octet in b"A/=\n -":
            changed = shifted(whole, at, bytes([octet]))
            if changed != whole and _passes(changed, DOCUMENT):
                assert meaning(changed) == meaning(whole)  # white space, the checksum, or what no_bit_of_a_signature says


def test_no_signature_can_be_cut_anywhere():
    whole = good()
    assert not any(_passes(whole[:end], DOCUMENT) for end in range(len(whole)))


def meaning(signature_file):
    """All of a signature but who it says it is from: unsigned, and held against the pinned keys."""
    return read_signatures(read_blocks(signature_file))[0]._replace(issuers=(), unhashed=())


def _flip(data, bit):
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def _passes(signature_file, document):
    try:
        verify_detached(document, signature_file, [PINNED], NOW)
    except TrustError:
        return False
    return True


# --- linear time ---


def filled(start, unit, end=b""):
    return lambda size: start + unit * ((size - len(start) - len(end)) // len(unit)) + end


BEGIN, END = b"-----BEGIN PGP SIGNATURE-----\n", b"\n-----END PGP SIGNATURE-----"
BOMBS = {
    "many armor headers": filled(BEGIN, b"a: b\n", b"\n" + END),
    "headers without end": filled(BEGIN, b"a: "),
    "dashes": filled(b"-----BEGIN PGP ", b"-"),
    "begin lines": filled(b"", BEGIN),
    "blank lines": filled(BEGIN, b"\n", END),
    "short lines": filled(BEGIN + b"\n", b"A\n", END),
    "equal signs": filled(BEGIN + b"\n", b"=" * 76 + b"\n", END),
    "base64 of zeros": filled(BEGIN + b"\n", b"A" * 76 + b"\n", b"=AAAA" + END),
    "empty packets": filled(b"", b"\xc2\x00"),
    "empty packets, five octets": filled(b"", b"\xc2\xff\0\0\0\0"),
    "subpackets": lambda size: new_packet(2, b"\4\0\1\10" + u16(size - 20) + b"\1\x65" * ((size - 20) // 2)),
    "signatures": lambda size: good() * (size // len(good())),
    "white space": filled(b"", b" \t\n"),
    "high bytes": filled(b"", b"\xff"),
}


def _operations(action):
    """Count calls of Python and C functions: the same on every machine."""
    count = [0]

    def tick(frame, event, argument):
        count[0] += event in ("call", "c_call")

    sys.setprofile(tick)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count[0]


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_signature_file_made_to_take_long_costs_what_its_size_costs(name):
    half, whole = BOMBS[name](MAX_FILE_BYTES // 2 - 8), BOMBS[name](MAX_FILE_BYTES - 8)
    assert len(whole) <= MAX_FILE_BYTES
    assert _operations(lambda: refusal(whole)) <= 2.2 * _operations(lambda: refusal(half)) + 100
    assert _operations(lambda: refusal(whole)) <= 3 * MAX_FILE_BYTES


# --- the platform ---


def test_a_digest_that_the_platform_lacks_is_told(monkeypatch):
    def refuse(name, data=b""):
        raise ValueError(name)

    made = good()
    monkeypatch.setattr(hashing.hashlib, "new", refuse)
    assert refusal(made) == "unsupported"


def test_importing_the_verifier_loads_neither_pgpy_nor_cryptography():
    script = "import sys, yum_plugin.trust.openpgp; print({'pgpy', 'cryptography', 'lxml'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], cwd=str(REPOSITORY_ROOT), stdout=subprocess.PIPE, check=True)
    assert found.stdout == b"set()\n"


def test_every_algorithm_has_its_count_of_numbers():
    assert set(packets.ALGORITHMS.values()) == set(packets.NUMBERS)


# --- what gpg makes ---

GPG_TIME = 1700000000


@pytest.fixture(scope="module")
def gpg():
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    home = tempfile.mkdtemp(prefix="gpg")

    def run(*arguments, data=b""):
        command = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
        command += ["--faked-system-time", "{}!".format(GPG_TIME), *arguments]  # "!" stops the clock
        return subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True).stdout

    run("--quick-generate-key", "Test <test@example.org>", "rsa2048", "sign", "1y")
    fields = run("--list-keys", "--with-colons").decode().partition("\nfpr:")[2].split(":")
    run.key = load_pinned_key(run("--export", "--armor"), [fields[8]])
    yield run
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize(
    "options",
    [
        ["--armor"],
        [],
        ["--armor", "--digest-algo", "SHA384"],
        ["--armor", "--default-sig-expire", "1d"],
        ["--armor", "--sig-notation", "a@example.org=b"],
        ["--armor", "--comment", "made for a test"],
    ],
    ids=" ".join,
)
def test_what_gpg_signs_is_proven(gpg, options):
    made = gpg("--detach-sign", "--output", "-", *options, data=DOCUMENT)
    assert verify_detached(DOCUMENT, made, [gpg.key], GPG_TIME + 1).signed_at == GPG_TIME
    assert refusal(made, DOCUMENT + b"!", [gpg.key], GPG_TIME + 1) == "signature-invalid"
    assert refusal(made, DOCUMENT, [gpg.key], GPG_TIME + 400 * DAY) == "key-expired"


@pytest.mark.parametrize(
    "options, reference",
    [
        (["--detach-sign", "--textmode"], "wrong-signature-type"),
        (["--detach-sign", "--digest-algo", "SHA1"], "weak-digest"),
        (["--clear-sign"], "wrong-signature-type"),
        (["--sign"], "malformed"),
        (["--sign", "--armor"], "malformed"),
        (["--detach-sign", "--sig-notation", "!a@example.org=b"], "unsupported"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_what_gpg_makes_of_another_kind_is_refused(gpg, options, reference):
    made = gpg("--output", "-", *options, data=DOCUMENT)
    assert refusal(made, keys=[gpg.key], now=GPG_TIME + 1) == reference
