"""OpenPGP packets and their armor: every length, limit and bit of a head at its edge."""
import hashlib
import os

import pytest

from tests.support.craft import (
    MADE,
    armor,
    created,
    issuer,
    mpi,
    new_packet,
    old_packet,
    rsa_key,
    signature_body,
    subpacket,
    u16,
    u32,
    v3_signature,
)
from yum_plugin.errors import TrustError
from yum_plugin.trust.armor import read_blocks
from yum_plugin.trust.packets import read_key_numbers, read_packets, read_signature, read_signatures

KEY = rsa_key()
NOISE = b"".join(hashlib.sha512(bytes([number])).digest() for number in range(64))  # 4 KiB in which every octet occurs


def refusal(function, *arguments):
    with pytest.raises(TrustError) as refused:
        function(*arguments)
    return str(refused.value).split("; ")[0]


# --- packets ---

# What a length in the new format is written as, RFC 9580 section 4.2.1
LENGTHS = {
    0: b"\x00", 1: b"\x01", 191: b"\xbf", 192: b"\xc0\x00", 193: b"\xc0\x01", 447: b"\xc0\xff", 448: b"\xc1\x00", 8383: b"\xdf\xff",
    8384: b"\xff\x00\x00\x20\xc0", 65536: b"\xff\x00\x01\x00\x00",
}  # fmt: skip


@pytest.mark.parametrize("size", sorted(LENGTHS))
def test_a_length_of_the_new_format_is_read_exactly(size):
    body = bytes(size)
    assert list(read_packets(b"\xc2" + LENGTHS[size] + body)) == [(2, body)]
    if size:
        assert refusal(list, read_packets(b"\xc2" + LENGTHS[size] + body[1:])) == "malformed: a truncated OpenPGP packet"


@pytest.mark.parametrize("kind, octets", [(0, 1), (1, 2), (2, 4)])
@pytest.mark.parametrize("size", [0, 1, 255])
def test_a_length_of_the_old_format_is_read_exactly(kind, octets, size):
    for tag in (1, 2, 15):
        assert list(read_packets(bytes([0x80 | tag << 2 | kind]) + size.to_bytes(octets, "big") + bytes(size))) == [(tag, bytes(size))]


def test_every_tag_of_the_new_format_is_read():
    assert [tag for head in range(0xC0, 0x100) for tag, _ in read_packets(bytes([head, 0]))] == list(range(64))


@pytest.mark.parametrize("head", range(0x80))
def test_a_head_without_bit_7_is_no_packet_whatever_else_is_in_it(head):
    assert refusal(list, read_packets(bytes([head]) + bytes(64))) == "malformed: bytes that are not an OpenPGP packet"


@pytest.mark.parametrize("first", [224, 239, 254])
def test_a_partial_length_is_refused_for_a_packet_but_is_a_length_for_a_subpacket(first):
    """RFC 9580 section 5.2.3.7: subpackets have no partial lengths, and their two-octet form goes on up to 254."""
    size = ((first - 192) << 8) + 192
    assert refusal(list, read_packets(bytes([0xC2, first, 0]) + bytes(size))) == "malformed: an OpenPGP packet of partial length"
    body = signature_body(KEY, hashed=created() + bytes([first, 0, 101]) + bytes(size - 1))
    assert read_signature(body).hashed == ((2, u32(MADE)), (101, bytes(size - 1)))


# --- signatures ---


def flaw(body):
    found = read_signature(body).flaw
    return found and str(found).split("; ")[0]


def test_a_v3_signature_is_read():
    [(_, body)] = read_packets(v3_signature(KEY, kind=0x13))
    read = read_signature(body)
    assert (read.version, read.kind, read.made, read.expires_after, read.hashed, read.flaw) == (3, 0x13, MADE, 0, (), None)
    assert read.issuers == (KEY.key_id,)


@pytest.mark.parametrize("version", [0, 2, 5, 6, 255])
def test_a_signature_of_another_version_is_not_supported(version):
    assert refusal(read_signature, bytes([version]) + bytes(40)) == "unsupported: a signature of version {}".format(version)
    assert refusal(read_signature, b"") == "unsupported: a signature of version none"


def test_a_signature_that_cannot_be_read_does_not_hide_the_others():
    good = new_packet(2, signature_body(KEY))
    for other in (new_packet(2, b"\6"), new_packet(2, signature_body(KEY)[:30]), new_packet(2, b"")):
        for block in (other + good, good + other):
            found = read_signatures([block])
            assert sorted(isinstance(each, TrustError) for each in found) == [False, True]
    assert [isinstance(each, TrustError) for each in read_signatures([good + b"junk", good])] == [False, True, False]
    assert [isinstance(each, TrustError) for each in read_signatures([good + new_packet(11, b"b\0\0\0\0\0"), good])] == [True, False]


def test_of_more_than_64_signatures_none_is_read():
    good = new_packet(2, signature_body(KEY))
    assert len(read_signatures([good * 32, good * 32])) == 64
    [limit] = read_signatures([good * 32, good * 33])
    assert str(limit).startswith("unsupported: more than 64 signatures, the limit of this program")


def test_each_area_of_a_signature_has_1024_subpackets_at_most():
    most = signature_body(KEY, hashed=created() + subpacket(101) * 1023, unhashed=subpacket(102) * 1024)
    assert len(read_signature(most).hashed) == 1024 and flaw(most) is None
    for hashed, unhashed in ((1024, 0), (0, 1025)):
        body = signature_body(KEY, hashed=created() + subpacket(101) * hashed, unhashed=subpacket(102) * unhashed)
        assert flaw(body) == "unsupported: more than 1024 subpackets, the limit of this program"


def test_what_stands_before_a_flaw_in_an_area_is_read():
    """So a signature that names a pinned key is held to it, whatever follows."""
    body = signature_body(KEY, hashed=created() + issuer(KEY) + b"\xff", unhashed=b"")
    assert read_signature(body).issuers == (KEY.key_id,) and flaw(body) == "malformed: a truncated OpenPGP packet"


# RFC 9580 section 5.2.3.7: times, key ids, preferences and features may be critical; all else that is, is unsupported.
OBEYED = {2, 3, 4, 5, 7, 9, 11, 12, 16, 21, 22, 23, 25, 26, 27, 28, 29, 30, 32, 33}


@pytest.mark.parametrize("kind", sorted(set(range(128)) - {2, 3, 9, 16, 33}))
def test_a_critical_subpacket_is_refused_unless_it_is_one_of_those_that_are_obeyed(kind):
    body = signature_body(KEY, hashed=created() + subpacket(kind, b"x", critical=True))
    assert read_signature(body).hashed[1:] == ((kind, b"x"),)
    assert flaw(body) == (None if kind in OBEYED else "unsupported: a critical subpacket of unknown type {}".format(kind))
    assert read_signature(signature_body(KEY, hashed=created() + subpacket(kind, b"x"))).hashed[1:] == ((kind, b"x"),)


ALGORITHMS = {1: "RSA", 3: "RSA", 17: "DSA", 19: "ECDSA", 22: "EdDSA"}  # RFC 9580 section 9.1
DIGESTS = {1: "md5", 2: "sha1", 3: "ripemd160", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}  # section 9.5


@pytest.mark.parametrize("number", range(40))
def test_algorithms_and_digests_have_the_numbers_of_rfc_9580(number):
    numbers = mpi(1) if number in (1, 3) else mpi(1) * 2
    of_algorithm = signature_body(KEY, algorithm=number or 99, numbers=lambda _: numbers)
    if number in ALGORITHMS:
        assert read_signature(of_algorithm).algorithm == ALGORITHMS[number]
    else:
        assert read_signature(of_algorithm).algorithm == "" and read_signature(of_algorithm).numbers == ()
        assert flaw(of_algorithm) == "unsupported: a signature of public-key algorithm {}".format(number or 99)
    of_digest = signature_body(KEY, digest_id=number)
    if number in DIGESTS:
        assert read_signature(of_digest).digest == DIGESTS[number]
    else:
        assert read_signature(of_digest).digest == ""
        assert flaw(of_digest) == "unsupported: a signature with digest {}".format(number)


# --- numbers ---


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 16383, 16384])
def test_a_number_is_what_its_octets_say(bits):
    """Go's x/crypto/openpgp writes leading zero bits: 70 % of its RSA signatures have some, and gpg and rpm read them all."""
    number = (1 << bits) >> 1
    assert read_key_numbers(mpi(number) + mpi(3), 2) == (number, 3)
    assert refusal(read_key_numbers, mpi(number) + mpi(3) + b"\0", 2) == "malformed: bytes after the last number"
    assert refusal(read_key_numbers, mpi(number) + mpi(3)[:-1], 2) == "malformed: a truncated OpenPGP packet"
    octets = (bits + 7) // 8
    for said in {8 * octets, max(8 * octets - 7, 0)}:
        assert read_key_numbers(u16(said) + number.to_bytes(octets, "big") + mpi(3), 2) == (number, 3)


def test_a_number_of_more_than_16384_bits_is_refused():
    assert refusal(read_key_numbers, mpi(1 << 16384), 1) == "malformed: a number of more than 16384 bits"


# --- armor ---


@pytest.mark.parametrize("octets", [1, 2, 3, 255, 256, 4000])
@pytest.mark.parametrize("crc", [True, False, b"\0\0\0"], ids=["CRC24", "none", "wrong"])
def test_armor_is_decoded_whatever_its_crc24_is(octets, crc):
    """RFC 9580 section 6.1."""
    assert read_blocks(armor(b"\x80" + NOISE[:octets], crc=crc)) == [b"\x80" + NOISE[:octets]]


@pytest.mark.parametrize("width", [1, 76, 77, 10000])
def test_a_line_of_armor_has_any_length(width):
    assert read_blocks(armor(NOISE[:200], width=width)) == [NOISE[:200]]


def test_a_checksum_line_is_one_that_begins_with_an_equals_sign_and_has_4_characters():
    assert read_blocks(armor(NOISE[:51], crc=False, width=5)) == [NOISE[:51]]  # lines of five characters are no checksums
    assert read_blocks(armor(NOISE[:50], crc=False, width=67)) == [NOISE[:50]]  # nor is padding that stands alone


def test_armor_that_is_damaged_is_decoded_as_far_as_it_goes():
    """As gpg does: what stands before the damage may be a whole signature."""
    whole = armor(NOISE[:90], crc=False)
    for place in range(whole.index(b"\n\n") + 3, len(whole) - 40):
        for damaged in (whole[:place] + b"\0\xff*-" + whole[place:], whole[:place] + whole[place + 1:]):
            assert len(os.path.commonprefix([read_blocks(damaged)[0], NOISE])) >= (place - whole.index(b"\n\n") - 4) // 4 * 3 - 3


def test_blocks_come_in_their_order_without_what_cannot_be_decoded():
    damaged = b"-----BEGIN PGP SIGNATURE-----\n\nA\n-----END PGP SIGNATURE-----\n"
    assert read_blocks(armor(NOISE[:9]) + damaged + b"text: one\n" + armor(NOISE[9:99])) == [NOISE[:9], NOISE[9:99]]
    assert refusal(read_blocks, damaged) == "malformed: armor without any base64 in it"


def test_a_file_of_64_kib_is_read_and_not_a_byte_more():
    binary = b"\x80" + bytes(65535)
    assert read_blocks(binary) == [binary]
    assert refusal(read_blocks, binary + b"\0") == "unsupported: larger than 65536 bytes, the limit of this program"
    assert read_blocks(binary + b"\0", 65537) == [binary + b"\0"]


def test_binary_is_what_has_bit_7_set_in_its_first_octet_and_no_armor_in_it():
    assert [read_blocks(bytes([head, 0])) for head in (0x80, 0xFF)] == [[b"\x80\0"], [b"\xff\0"]]
    assert refusal(read_blocks, b"\x7f\xff") == "signature-missing: neither an armored nor a binary OpenPGP file"
    text = "\u00a9 a text that begins like a packet\n".encode()
    assert read_blocks(text + armor(NOISE[:9])) == [NOISE[:9]]
    for half in (b"\n-----BEGIN PGP SIGNATURE-----", b"-----BEGIN PGP A-----\n-----END PGP ", b"\n-----END PGP"):
        assert read_blocks(b"\xc2" + half) == [b"\xc2" + half]


def test_packets_after_each_other_are_read_in_their_order():
    packets = new_packet(2, b"a") + old_packet(2, b"b") + new_packet(63, b"")
    assert list(read_packets(packets)) == [(2, b"a"), (2, b"b"), (63, b"")]
