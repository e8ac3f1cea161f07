"""Hostile and random RPM files and lists of checksums: only the documented errors, nothing proven that is not."""
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.craft import NOW, key_packets, new_packet, signature, v3_signature
from tests.support.craft_rpm import KEY, PAYLOAD, binary, header, lead, main_header, main_tags, rpm, string
from tests.support.documents import CHECKSUM_LISTS
from tests.support.mutations import SIGNATURE_REFERENCES, mutations, returns_or_refuses
from yum_plugin.trust.checksum_file import parse_checksums
from yum_plugin.trust.keys import load_pinned_key
from yum_plugin.trust.rpmfile import RpmVerifier, verify_rpm
from yum_plugin.trust.rpmheader import INTRODUCTION_BYTES, MAIN, SIGNATURE, HeaderReader, read_header

pytestmark = pytest.mark.fuzz

PINNED = load_pinned_key(key_packets(KEY), [KEY.fingerprint])
REFERENCES = (SIGNATURE_REFERENCES - {"signature-missing"}) | {"unsigned", "not-covered", "payload-mismatch"}
FILES = {
    "a header signature": rpm(),
    "V3": rpm(sign=v3_signature),
    "both": rpm(signed=(268, 1002)),
    "rpm 6's list": rpm(signed=(278,)),
    "header+payload": rpm(main_header(t5092=None), signed=(1005,)),
}
VERDICTS = {name: verify_rpm(io.BytesIO(data), [PINNED], NOW) for name, data in FILES.items()}
NUMBERS = st.one_of(st.integers(0, 20), st.integers(0, 0xFFFFFFFF), st.sampled_from([0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF]))
TAGS = st.one_of(st.sampled_from([62, 63, 267, 268, 269, 273, 278, 999, 1000, 1002, 1003, 1004, 1005, 1022, 1044, 5092, 5093]), NUMBERS)
ENTRIES = st.tuples(TAGS, st.one_of(st.integers(0, 10), NUMBERS), NUMBERS, NUMBERS)
VALUES = st.tuples(st.integers(0, 10), st.integers(0, 6), st.binary(max_size=80))


def verdict(data):
    return returns_or_refuses(lambda raw: verify_rpm(io.BytesIO(raw), [PINNED], NOW), data, REFERENCES)


@pytest.mark.parametrize("name", sorted(FILES))
@given(st.data())
def test_a_changed_file_is_refused_or_the_same_package(name, data):
    changed = data.draw(mutations(FILES[name]))
    found = verdict(changed)
    if found is not None:
        assert found == VERDICTS[name]._replace(coverage=found.coverage, ignored=found.ignored)
        assert main_and_payload(changed) == main_and_payload(FILES[name])


def main_and_payload(data):
    """What is signed: all after the signature header and its padding."""
    start = 96 + INTRODUCTION_BYTES
    return data[start + HeaderReader(data[96:start], SIGNATURE).left :]


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: lead() + tail)))
def test_random_bytes_are_no_package(data):
    assert verdict(data) is None


@given(st.lists(ENTRIES, max_size=6), st.integers(0, 12), st.binary(max_size=40))
def test_a_signed_main_header_of_any_index_is_read_or_refused(more, place, tail):
    form = {"index": lambda entries: entries[:place] + more + entries[place + len(more) // 2 :]}
    verdict(rpm(header(63, main_tags() + [(7000, binary(tail))], **form)))


@given(st.lists(ENTRIES, max_size=6), st.integers(0, 8))
def test_a_signature_header_of_any_index_is_read_or_refused(more, place):
    verdict(rpm(form={"index": lambda entries: entries[:place] + more + entries[place + len(more) // 2 :]}))


@given(st.dictionaries(TAGS, VALUES, max_size=6))
def test_tags_of_any_value_are_read_or_refused(values):
    changes = {"t%d" % tag: value for tag, value in values.items()}
    verdict(rpm(main_header(**changes)))
    verdict(rpm(claims=changes))


@given(mutations(signature(KEY, document=main_header())), st.sampled_from([267, 268, 1002, 1005]))
def test_a_tag_with_any_bytes_is_a_good_signature_or_refused(packet, tag):
    verdict(rpm(signed=(), claims={"t%d" % tag: binary(packet)}))
    verdict(rpm(signed=(), claims={"t%d" % tag: binary(new_packet(2, packet))}))


@given(st.text(max_size=200).map(lambda text: text.replace("\0", "")))
def test_a_list_of_signatures_of_any_text_is_refused(text):
    assert verdict(rpm(signed=(), claims={"t278": (8,) + string(text)[1:]})) is None


@given(st.one_of(mutations(main_header()), mutations(header(62, [(268, binary(b"x" * 30)), (1000, (4, 1, b"1234"))]))))
def test_a_header_is_read_or_refused(data):
    for kind in (MAIN, SIGNATURE):
        raw = data.ljust(INTRODUCTION_BYTES, b"\0")
        size = returns_or_refuses(lambda start, kind=kind: HeaderReader(start, kind).left, raw[:INTRODUCTION_BYTES], {"malformed", "unsupported"})
        if size is not None and size <= len(raw) - INTRODUCTION_BYTES:
            whole = raw[: INTRODUCTION_BYTES + size]
            returns_or_refuses(lambda whole, kind=kind: read_header(whole, kind), whole, {"malformed", "unsupported"})


@given(st.lists(st.integers(0, 2000), max_size=30), st.sampled_from(sorted(FILES)))
def test_pieces_of_any_sizes_give_the_same_verdict(cuts, name):
    data = FILES[name]
    places = [0] + sorted(min(cut, len(data)) for cut in cuts) + [len(data)]
    verifier = RpmVerifier([PINNED], NOW)
    for start, end in zip(places, places[1:]):
        verifier.update(data[start:end])
    assert verifier.finish() == VERDICTS[name]


@given(st.binary(max_size=200))
def test_another_payload_is_never_believed(payload):
    for name in FILES:
        assert payload == PAYLOAD or verdict(FILES[name][: -len(PAYLOAD)] + payload) is None


@given(st.one_of(st.binary(max_size=300), *[mutations(raw) for raw in sorted(CHECKSUM_LISTS.values())[:3]]))
def test_checksums_are_read_or_refused(data):
    sums = returns_or_refuses(parse_checksums, data, {"malformed"})
    for name, digest in (sums or {}).items():
        assert len(digest) == 64 and not {"", ".", ".."} & set(name.split("/")) and "\0" not in name
        assert digest.encode() in data.lower()
