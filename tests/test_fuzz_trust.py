"""Hostile and random input for everything in trust/ that reads bytes: only the documented errors, nothing proven."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.craft import (
    DOCUMENT,
    NOW,
    armor,
    key_packets,
    new_packet,
    rsa_key,
    signature,
    subkey_packets,
    subpacket,
    v3_signature,
)
from tests.support.documents import REPOMD
from tests.support.mutations import SIGNATURE_REFERENCES, mutations, returns_or_refuses
from yum_plugin.errors import TrustError
from yum_plugin.trust.armor import read_blocks
from yum_plugin.trust.keys import describe_key, load_pinned_key
from yum_plugin.trust.openpgp import verify_detached
from yum_plugin.trust.packets import read_packets, read_signature, read_signatures
from yum_plugin.trust.repomd import parse_repomd

pytestmark = pytest.mark.fuzz

KEY = rsa_key()
PINNED = load_pinned_key(key_packets(KEY), [KEY.fingerprint])
SIGNATURE = signature(KEY)
KEY_FILE = key_packets(KEY, subkey_packets(KEY, rsa_key("other"), bound=True))
TEXTS = st.text(max_size=200).map(lambda text: text.encode("utf-8"))
# Algorithm, and the curve where it has one
KEY_STARTS = [b"\1", b"\3", b"\x11", bytes.fromhex("13082a8648ce3d030107"), bytes.fromhex("16092b06010401da470f01")]


@given(st.one_of(st.binary(max_size=600), mutations(SIGNATURE), mutations(armor(SIGNATURE)), mutations(v3_signature(KEY))))
def test_no_signature_file_is_proven_for_another_document(data):
    verdict = returns_or_refuses(lambda file: verify_detached(b"other", file, [PINNED], NOW), data, SIGNATURE_REFERENCES)
    assert verdict is None


@given(st.one_of(mutations(SIGNATURE), mutations(armor(SIGNATURE))))
def test_a_changed_signature_file_is_refused_or_says_the_same(data):
    verdict = returns_or_refuses(lambda file: verify_detached(DOCUMENT, file, [PINNED], NOW), data, SIGNATURE_REFERENCES)
    assert verdict is None or verdict._replace(ignored=()) == verify_detached(DOCUMENT, SIGNATURE, [PINNED], NOW)


@given(st.binary(max_size=300).filter(bytes), st.booleans())
def test_armor_comes_back_as_it_went_in(packets, crc):
    assert read_blocks(armor(packets, crc=crc)) == [packets]


@given(st.one_of(st.binary(max_size=300), mutations(armor(SIGNATURE)), TEXTS))
def test_armor_is_read_or_refused(data):
    returns_or_refuses(read_blocks, data, {"malformed", "signature-missing", "unsupported"})


@given(st.one_of(st.binary(max_size=300), mutations(SIGNATURE), mutations(KEY_FILE)))
def test_packets_fill_the_file_or_are_refused(data):
    found = returns_or_refuses(lambda raw: list(read_packets(raw)), data, {"malformed"})
    if found is not None:
        assert sum(len(body) for _, body in found) + 2 * len(found) <= len(data)


@given(st.lists(st.tuples(st.integers(1, 63), st.binary(max_size=300)), max_size=5), st.sampled_from([None, 5]))
def test_packets_come_back_as_they_went_in(packets, octets):
    assert list(read_packets(b"".join(new_packet(tag, body, octets) for tag, body in packets))) == packets


@given(st.binary(max_size=200), st.sampled_from([b"\3", b"\4", b"\3\5", b"\4\0\1\10"]))
def test_a_signature_is_read_or_refused(data, start):
    returns_or_refuses(read_signature, start + data, {"malformed", "unsupported"})


@given(st.lists(st.tuples(st.integers(0, 127), st.binary(max_size=30), st.booleans()), max_size=20))
def test_subpackets_of_any_kind_are_read_or_refused(content):
    area = b"".join(subpacket(kind, body, critical=critical) for kind, body, critical in content)
    made = signature(KEY, hashed=area, numbers=lambda _: b"\0\1\1")
    for found in read_signatures([made]):
        assert (found if isinstance(found, TrustError) else found.flaw or found) is not None


@given(st.one_of(st.binary(max_size=300), mutations(KEY_FILE), mutations(armor(KEY_FILE, label="PUBLIC KEY BLOCK"))))
def test_a_key_file_is_the_pinned_key_or_refused(data):
    key = returns_or_refuses(lambda file: load_pinned_key(file, [KEY.fingerprint]), data, {"key-invalid", "key-mismatch"})
    assert key is None or key.material.public_numbers() == PINNED.material.public_numbers()


@given(st.one_of(mutations(KEY_FILE), st.binary(max_size=300).map(lambda body: new_packet(6, b"\4\0\0\0\0" + body))))
def test_a_key_of_any_kind_is_described_or_refused(data):
    returns_or_refuses(describe_key, data, {"key-invalid"})


@given(st.sampled_from(KEY_STARTS), st.binary(max_size=80))
def test_key_numbers_of_any_kind_are_read_or_refused(start, numbers):
    returns_or_refuses(describe_key, new_packet(6, b"\4\0\0\0\0" + start + numbers), {"key-invalid"})


@given(st.one_of(st.binary(max_size=300), mutations(REPOMD), TEXTS))
def test_a_repomd_is_read_or_refused(data):
    parsed = returns_or_refuses(parse_repomd, data, {"malformed", "unsafe-path", "weak-digest", "unsupported"})
    for file in parsed.files if parsed else ():
        assert ".." not in file.href.split("/") and not file.href.startswith("/")
        assert 0 <= file.timestamp <= parsed.timestamp
