"""OpenPGP packets and their armor: every length, limit and bit of a head at its edge."""
import base64
import hashlib

import pytest

from tests.support.craft import (
    BORN,
    MADE,
    armor,
    created,
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
from yum_plugin.trust.armor import dearmor
from yum_plugin.trust.packets import read_packets, read_rsa_key, read_signature, read_signatures

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


def test_a_v3_signature_is_read_only_where_it_is_allowed():
    packet = v3_signature(KEY, kind=0x13)
    [(_, body)] = read_packets(packet)
    assert refusal(read_signature, body) == "unsupported: a signature of version 03"
    assert refusal(read_signatures, packet) == "unsupported: a signature of version 03"
    assert refusal(read_signature, b"") == "unsupported: a signature of version none"
    read = read_signature(body, allow_v3=True)
    assert (read.kind, read.made, read.expires_after, read.hashed) == (0x13, MADE, 0, ())


def test_the_two_areas_of_a_signature_have_64_subpackets_together():
    most = signature_body(KEY, hashed=created() + subpacket(101) * 31, unhashed=subpacket(102) * 32)
    assert len(read_signature(most).hashed) == 32
    for hashed, unhashed in ((32, 32), (31, 33)):
        body = signature_body(KEY, hashed=created() + subpacket(101) * hashed, unhashed=subpacket(102) * unhashed)
        assert refusal(read_signature, body) == "malformed: more than 64 subpackets in a signature"


# RFC 9580 section 5.2.3.7: times, key ids, preferences and features may be critical; all else that is, is unsupported.
OBEYED = {2, 3, 9, 11, 16, 21, 22, 23, 25, 26, 27, 28, 30, 33}


@pytest.mark.parametrize("kind", sorted(set(range(128)) - {2, 3, 9, 16, 33}))
def test_a_critical_subpacket_is_refused_unless_it_is_one_of_those_that_are_obeyed(kind):
    body = signature_body(KEY, hashed=created() + subpacket(kind, b"x", critical=True))
    if kind in OBEYED:
        assert read_signature(body).hashed[1:] == ((kind, b"x"),)
    else:
        assert refusal(read_signature, body) == "unsupported: a critical subpacket of unknown type {}".format(kind)
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
        assert refusal(read_signature, of_algorithm) == "unsupported: public-key algorithm {}".format(number or 99)
    of_digest = signature_body(KEY, digest_id=number)
    if number in DIGESTS:
        assert read_signature(of_digest).digest == DIGESTS[number]
    else:
        assert refusal(read_signature, of_digest) == "unsupported: digest {}".format(number)


# --- numbers ---


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 16383, 16384])
def test_a_number_has_exactly_the_bits_that_it_says(bits):
    number = (1 << bits) >> 1
    body = b"\4" + u32(BORN) + b"\1"
    assert read_rsa_key(body + mpi(number) + mpi(3)) == (number, 3)
    assert refusal(read_rsa_key, body + mpi(number) + mpi(3) + b"\0") == "malformed: bytes after the last number"
    for lie in {bits - 1, bits + 1} - {-1}:
        assert refusal(read_rsa_key, body + u16(lie) + number.to_bytes((lie + 8) // 8, "big")[-((lie + 7) // 8):] + mpi(3)).startswith("malformed: ")


def test_a_number_of_more_than_16384_bits_is_refused():
    assert refusal(read_rsa_key, bytes(6) + mpi(1 << 16384) + mpi(3)) == "malformed: a number of more than 16384 bits"


# --- armor ---


@pytest.mark.parametrize("octets", [1, 2, 3, 255, 256, 4000])
def test_armor_with_its_crc24_is_decoded(octets):
    assert dearmor(armor(b"\x80" + NOISE[:octets])) == b"\x80" + NOISE[:octets]
    assert refusal(dearmor, armor(b"\x80" + NOISE[:octets], crc=b"\0\0\0")) == "malformed: armor whose CRC24 does not match"


@pytest.mark.parametrize("width", [1, 76])
def test_a_line_of_armor_has_1_to_76_characters(width):
    assert dearmor(armor(NOISE[:200], width=width)) == NOISE[:200]


def test_a_checksum_line_is_one_that_begins_with_an_equals_sign_and_has_4_characters():
    assert dearmor(armor(NOISE[:51], crc=False, width=5)) == NOISE[:51]  # lines of five characters are no checksums
    assert refusal(dearmor, armor(NOISE[:51]).replace(b"\n=", b"\n=A=")) == "malformed: armor with broken base64"


def test_a_file_of_64_kib_is_read_and_not_a_byte_more():
    binary = b"\x80" + bytes(65535)
    assert dearmor(binary) == binary
    assert refusal(dearmor, binary + b"\0") == "malformed: larger than 65536 bytes"


def test_binary_is_what_has_bit_7_set_in_its_first_octet():
    assert [dearmor(bytes([head, 0])) for head in (0x80, 0xFF)] == [b"\x80\0", b"\xff\0"]
    assert refusal(dearmor, b"\x7f\xff") == "signature-missing: neither an armored nor a binary OpenPGP file"


def test_what_an_armored_block_is_of_is_said_in_the_message():
    assert refusal(dearmor, armor(NOISE, label="MESSAGE")) == "malformed: not one armored signature and nothing else"
    block = b"-----BEGIN PGP SIGNATURE-----\n\n" + base64.b64encode(NOISE[:30]) + b"\n-----END PGP SIGNATURE-----"
    assert dearmor(block) == dearmor(b"\n" + block + b" \n") == NOISE[:30]


def test_packets_after_each_other_are_read_in_their_order():
    packets = new_packet(2, b"a") + old_packet(2, b"b") + new_packet(63, b"")
    assert list(read_packets(packets)) == [(2, b"a"), (2, b"b"), (63, b"")]
