"""RPM files: every rule is broken once, by a file that is good in everything else."""
import base64
import hashlib
import io
import os
import shutil
import subprocess
import time
import tracemalloc

import pytest

from tests.lab.keys import OTHER as OTHER_OWNER
from tests.lab.keys import REPOSITORY, KeyRing
from tests.lab.packages import UNSIGNED as NOBODY
from tests.lab.packages import Package, build
from tests.lab.tools import environment, missing, run
from tests.support.craft import (
    BORN,
    DAY,
    MADE,
    NOW,
    armor,
    created,
    dsa_key,
    ecdsa_key,
    eddsa_key,
    issuer,
    issuer_fingerprint,
    key_packets,
    new_packet,
    revocation,
    rsa_key,
    signature,
    subkey_packets,
    subpacket,
    u32,
    v3_signature,
)
from tests.support.craft_rpm import (
    KEY,
    PAYLOAD,
    binary,
    ecdsa_384_key,
    header,
    int32,
    layout,
    lead,
    main_header,
    main_tags,
    rpm,
    sha256,
    span,
    string,
    strings,
)
from yum_plugin.errors import TrustError
from yum_plugin.trust.keys import load_pinned_key
from yum_plugin.trust.packets import read_packets, read_signature
from yum_plugin.trust.rpmfile import BY_DIGEST, BY_SIGNATURE, RpmVerdict, RpmVerifier, require_identity, verify_rpm
from yum_plugin.trust.rpmheader import MAIN, SIGNATURE

OTHER = rsa_key("other")
MIB = 1024 * 1024


def pinned(key=KEY, *following, **user_id):
    return load_pinned_key(key_packets(key, *following, **user_id), [key.fingerprint])


PINNED = pinned()


def verdict_of(data, keys=(PINNED,), now=NOW, **options):
    return verify_rpm(io.BytesIO(data), keys, now, **options)


def refusal(data, keys=(PINNED,), now=NOW):
    with pytest.raises(TrustError) as refused:
        verdict_of(data, keys, now)
    return refused.value.reference


def flipped(data, place, bits=0xFF):
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


def signed_by(**packets):
    """A file whose signatures are these packets: tNUMBER = packet."""
    return rpm(signed=(), claims={name: binary(packet) for name, packet in packets.items()})


# --- good ones ---

WHOLE = main_header() + PAYLOAD
PLAIN = main_header(t5092=None, t5093=None)  # without a digest of the payload, as EL7's rpmbuild makes it
EXTRA = [(256, string("x")), (270, (5, 1, b"\0" * 8)), (274, strings("a")), (281, int32(1)), (999, binary(b"\0"))]
GOOD = {
    "a header signature": (rpm(), BY_DIGEST),
    "by the tag for DSA": (rpm(signed=(267,)), BY_DIGEST),
    "rpm 6's list": (rpm(signed=(278,)), BY_DIGEST),
    "rpm 6's list beside the old tag": (rpm(signed=(268, 278)), BY_DIGEST),
    "a header+payload signature": (rpm(signed=(1002,)), BY_SIGNATURE),
    "a header+payload signature, by the tag for DSA": (rpm(signed=(1005,)), BY_SIGNATURE),
    "both, as rpmsign --rpmv3 makes": (rpm(signed=(268, 1002)), BY_SIGNATURE),
    "all five": (rpm(signed=(267, 268, 278, 1002, 1005)), BY_SIGNATURE),
    "EL7: no payload digest, both signatures": (rpm(PLAIN, signed=(268, 1002), claims={"t273": None, "t1008": None}), BY_SIGNATURE),
    "V3": (rpm(sign=v3_signature), BY_DIGEST),
    "V3 over header and payload": (rpm(PLAIN, signed=(268, 1002), sign=v3_signature), BY_SIGNATURE),
    "SHA-512": (rpm(signed=(268, 1005), digest="sha512"), BY_SIGNATURE),
    "no digests in the signature header": (rpm(claims={"t269": None, "t273": None, "t1004": None}), BY_DIGEST),
    "no epoch": (rpm(main_header(t1003=None)), BY_DIGEST),
    "no algorithm of the payload digest": (rpm(main_header(t5093=None)), BY_DIGEST),
    "a source package": (rpm(main_header(t1044=None), start=lead(kind=1)), BY_DIGEST),
    "an RPM of version 4": (rpm(start=lead(major=4)), BY_DIGEST),
    "another name in the lead": (rpm(start=lead(name=b"glibc-2.17-1", arch=9, os=7)), BY_DIGEST),
    "an empty payload": (rpm(main_header(b""), b""), BY_DIGEST),
    "a tag outside the region of the signature header": (rpm(form={"outside": EXTRA[3:]}), BY_DIGEST),
    "no tag inside the region of the signature header": (
        rpm(signed=(), claims=dict.fromkeys(["t269", "t273", "t1000", "t1004", "t1007", "t1008"]),
            form={"outside": [(268, binary(signature(KEY, document=main_header())))]}), BY_DIGEST),
    "a source package with no other tags than its name": (
        rpm(header(63, [(1000, string("demo")), (1001, string("1.2")), (1002, string("3.el7")), (1022, string("x86_64"))]),
            start=lead(kind=1), signed=(1002,)), BY_SIGNATURE),
    "a value of 64 KiB": (rpm(main_header(t1044=string("x" * 65535))), BY_DIGEST),
    "values of all types": (rpm(main_header(t2000=(1, 3, b"abc"), t2001=(2, 1, b"\0"), t2002=(3, 2, b"\0\1\0\2"), t2003=(5, 1, b"8" * 8))), BY_DIGEST),
}  # fmt: skip
GOOD.update({"the unread tag %d" % tag: (rpm(claims={"t%d" % tag: value}), BY_DIGEST) for tag, value in EXTRA})


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_good_file_is_proven(name):
    data, coverage = GOOD[name]
    verdict = verdict_of(data)
    assert (verdict.name, verdict.version, verdict.release) == ("demo", "1.2", "3.el7")
    assert (verdict.coverage, verdict.fingerprint, verdict.signed_at) == (coverage, KEY.fingerprint, MADE)


def test_the_verdict_tells_everything():
    expected = RpmVerdict("demo", 2, "1.2", "3.el7", "x86_64", MADE, KEY.fingerprint, BY_DIGEST)
    assert verdict_of(rpm()) == expected
    assert expected.nevra == "demo-2:1.2-3.el7.x86_64"


def test_a_source_package_and_one_without_epoch_say_so():
    assert verdict_of(GOOD["a source package"][0]).arch == "src"
    assert verdict_of(GOOD["no epoch"][0]).epoch is None
    assert verdict_of(GOOD["no epoch"][0]).nevra == "demo-0:1.2-3.el7.x86_64"


KEYS = {"RSA": KEY, "DSA": dsa_key(), "ECDSA P-256": ecdsa_key(), "ECDSA P-384": ecdsa_384_key(), "Ed25519": eddsa_key()}


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_kind_of_key_signs_headers_and_payloads(name, digest):
    key = KEYS[name]
    keys = [pinned(key, digest="sha256")]
    tags = (268, 1002) if name == "RSA" else (267, 1005)
    data = rpm(signed=tags, key=key, digest=digest)
    assert verdict_of(data, keys).fingerprint == key.fingerprint
    assert refusal(flipped(data, len(data) - 1), keys) == "signature-invalid"
    assert refusal(rpm(flipped(main_header(), 300), claims={"t%d" % tags[0]: binary(signature(key, document=main_header()))},
                       signed=tags[1:], key=key), keys) == "signature-invalid"  # fmt: skip


def test_the_key_of_a_change_over_is_believed_too():
    assert verdict_of(rpm(key=OTHER), [PINNED, pinned(OTHER)]).fingerprint == OTHER.fingerprint


def test_the_newest_of_the_signatures_that_cover_the_payload_tells_the_time():
    newer = signature(KEY, document=WHOLE, hashed=created(MADE + DAY) + issuer_fingerprint(KEY))
    assert verdict_of(rpm(signed=(268, 1002), claims={"t1005": binary(newer)})).signed_at == MADE + DAY


# --- what is no RPM ---

NO_RPM = {
    "nothing": (b"", "empty file"),
    "a page": (b"<!DOCTYPE html><title>Sign in to the network</title>", "HTML"),
    "a page after an empty line": (b"\r\n <html>" + b"x" * 200, "HTML"),
    "a short text": (b"no", "not an RPM file"),
    "half of the magic": (b"\xed\xab", "not an RPM file"),
    "a text": (b"-----BEGIN PGP SIGNED MESSAGE-----" * 9, "not an RPM file"),
    "little-endian magic": (lead(magic=b"\xdb\xee\xab\xed") + rpm()[96:], "not an RPM file"),
    "a lead alone": (lead(), "ends before"),
    "only headers of a signed file": (rpm()[: -len(PAYLOAD) - 1], "ends before"),
}


@pytest.mark.parametrize("name", sorted(NO_RPM))
def test_what_is_no_rpm_is_told_so(name):
    data, words = NO_RPM[name]
    with pytest.raises(TrustError, match=words) as refused:
        verdict_of(data, where="a.rpm")
    assert (refused.value.reference, refused.value.where) == ("malformed", "a.rpm")


# --- structure ---


def changed_index(which, **changes):
    """A form whose index says something else of one tag; a function is given what is right."""

    def change(entry):
        fields = dict(zip(("tag", "type", "offset", "count"), entry))
        fields.update((name, value(fields[name]) if callable(value) else value) for name, value in changes.items())
        return tuple(fields.values())

    return {"index": lambda entries: [change(entry) if entry[0] == which else entry for entry in entries]}


def swapped(entries):
    """The data of the first two tags in the wrong order."""
    (tag, kind, first, count), (tag_2, kind_2, second, count_2) = entries[1:3]
    return entries[:1] + [(tag, kind, second, count), (tag_2, kind_2, first, count_2)] + entries[3:]


def trailer(region, kind=7, back=0, count=16):
    return u32(region) + u32(kind) + u32(-back & 0xFFFFFFFF) + u32(count)


def test_a_damaged_tag_is_named():
    for data, tag in ((rpm(main_header(form=changed_index(1003, count=0))), 1003), (rpm(form=changed_index(1007, count=0)), 1007)):
        with pytest.raises(TrustError, match="header has a damaged tag {};".format(tag)):
            verdict_of(data)


def forms(region, tags, some):
    """Forms that neither header may have; ``tags`` is how many it has with the region's own, ``some`` is one of INT32."""
    return {
        "another magic": {"magic": b"\x8e\xad\xe8\x02\0\0\0\0"},
        "reserved bytes that are not zero": {"magic": b"\x8e\xad\xe8\x01\0\0\0\1"},
        "no tag": {"index": lambda entries: []},
        "no region": {"index": lambda entries: entries[1:]},
        "a region that is not the first": {"index": lambda entries: entries[1:] + entries[:1]},
        "a region of another tag": changed_index(region, tag=61),
        "a region of another type": changed_index(region, type=1),
        "a region of another count": changed_index(region, count=15),
        "a region outside the data": changed_index(region, offset=0x7FFFFFF0),
        "a region that reaches beyond the data": changed_index(region, offset=lambda offset: offset + 8),
        "a region at a negative offset": changed_index(region, offset=0xFFFFFFF0),
        "a trailer of another tag": {"trailer": trailer(61, back=16 * tags)},
        "a trailer of another type": {"trailer": trailer(region, kind=6, back=16 * tags)},
        "a trailer of another count": {"trailer": trailer(region, back=16 * tags, count=15)},
        "a trailer that points forward": {"trailer": trailer(region, back=-16 * tags)},
        "a trailer that points nowhere": {"trailer": trailer(region, back=0)},
        "a trailer that points into a tag": {"trailer": trailer(region, back=16 * tags - 4)},
        "a trailer that points before the index": {"trailer": trailer(region, back=16 * tags + 16)},
        "a trailer that points far away": {"trailer": trailer(region, back=0x80000000)},
        "a region that ends among its tags": {"trailer": trailer(region, back=16 * tags - 16)},
        "data in the wrong order": {"index": swapped},
        "type 0": changed_index(some, type=0),
        "type 10": changed_index(some, type=10),
        "a huge type": changed_index(some, type=0xFFFFFFFF),
        "count 0": changed_index(some, count=0),
        "a count beyond the data": changed_index(some, count=0x40000001),
        "an offset beyond the data": changed_index(some, offset=0x00FFFFFC),
        "a negative offset": changed_index(some, offset=0xFFFFFFFC),
        "an offset before the previous tag's data": changed_index(some, offset=0),
    }


VALUES = {
    "strings that are not ended": {"t1000": (6, 1, b"demo")},
    "a last string that is not ended": {"t6000": (6, 1, b"demo")},
    "too few strings": {"t1117": (8, 3, b"one\0two\0")},
    "too few translated strings": {"t1004": (9, 2, b"a demo\0")},
    "a list of no strings": {"t2000": (8, 0, b"")},
    "a string of count 2": {"t2000": (6, 2, b"a\0b\0")},
    "a value that reaches into the next": {"t2000": (7, 4, b"abc")},
    "a value that reaches into the trailer": {"t6000": (7, 4, b"abc")},
    "an INT64 that reaches into the trailer": {"t6000": (5, 2, b"8" * 8)},
}
UNALIGNED = {"INT16": (3, 1), "INT32": (4, 2), "INT64": (5, 4)}  # type, a shift that is no multiple of its size


def structure_cases():
    for name, form in forms(63, len(main_tags()) + 1, 1003).items():
        yield "main header: " + name, rpm(main_header(form=form)), "malformed"
    for name, form in forms(62, 8, 1007).items():
        yield "signature header: " + name, rpm(form=form), "malformed"
    for name, values in VALUES.items():
        yield "main header: " + name, rpm(main_header(**values)), "malformed"
    for name, (kind, shift) in UNALIGNED.items():
        form = changed_index(2000, offset=lambda offset, shift=shift: offset + shift)
        # 16 bytes of data, and a count that leaves the shifted value inside
        yield "main header: an unaligned " + name, rpm(main_header(t2000=(kind, 1, b"8" * 16), form=form)), "malformed"
    forward = {"outside": [(tag, int32(1)) for tag in (270, 280, 281)], "trailer": trailer(62, back=-48)}
    yield "signature header: a trailer that points to the tags outside it", rpm(form=forward), "malformed"
    yield "main header: a tag outside its region", rpm(main_header(form={"outside": [(6000, string("x"))]})), "malformed"
    yield "main header: data outside its region", rpm(data_outside()), "malformed"
    yield "main header: a tag twice", rpm(header(63, main_tags() + [(1000, string("other"))])), "malformed"
    yield "signature header: a tag twice", rpm(form={"outside": [(1000, int32(1))]}), "malformed"
    yield "signature header: a second signature in the same tag", rpm(form={"outside": [(268, binary(signature(KEY)))]}), "malformed"
    for place in range(3):
        yield "padding that is not zero, %d" % place, rpm(padding=flipped(b"\0\0\0", place, 1)), "malformed"
    yield "no padding", rpm(padding=b""), "malformed"
    yield "padding to 16", rpm(padding=b"\0" * 11), "malformed"


def data_outside():
    """A main header with bytes behind its region's trailer."""
    good = main_header()
    return good[:12] + u32(int.from_bytes(good[12:16], "big") + 8) + good[16:] + b"\0" * 8


def lead_cases():
    yield "an RPM of version 2", rpm(start=lead(major=2)), "unsupported"
    yield "an RPM of version 5", rpm(start=lead(major=5)), "unsupported"
    yield "another signature type", rpm(start=lead(signature=1)), "unsupported"
    yield "neither binary nor source", rpm(start=lead(kind=2)), "malformed"
    yield "neither binary nor source, without a source package's name", rpm(main_header(t1044=None), start=lead(kind=2)), "malformed"
    yield "a source package that says it is binary", rpm(main_header(t1044=None)), "malformed"
    yield "a binary package that says it is a source", rpm(start=lead(kind=1)), "malformed"


# --- tags ---

NO_WORDS = [strings("demo"), strings("demo", kind=9), binary(b"demo\0"), int32(1), string(""), string("a/b"), string("a b"),
            string("a\n"), string("caf\xe9"), string("x" * 256), (6, 1, b"demo\0" + b"?" * 65536)]  # fmt: skip
NO_DIGESTS = [int32(1), string(""), string("0" * 63), string("0" * 65), string("A" * 64), string("0" * 63 + "g"), string("0" * 63 + "\n")]
MAIN_TAGS = {
    1000: NO_WORDS, 1001: NO_WORDS, 1002: NO_WORDS, 1022: NO_WORDS,
    1003: [string("1"), int32(1, 2), (5, 1, b"\0" * 8), (3, 1, b"\0\1")],
    1044: [strings("demo.src.rpm"), int32(1), string("x" * 65536)],
    5092: [string(sha256(PAYLOAD)), strings(sha256(PAYLOAD), sha256(PAYLOAD)), binary(bytes.fromhex(sha256(PAYLOAD)))]
    + [(8,) + value[1:] for value in NO_DIGESTS[1:]],
    5093: [string("8"), int32(8, 8), (3, 1, b"\0\x08")],
}  # fmt: skip
PACKET = signature(KEY, document=main_header())
SIGNATURE_TAGS = {
    **dict.fromkeys((267, 268, 1002, 1005), [(1, len(PACKET), PACKET), (6, 1, PACKET + b"\0"), (8, 1, PACKET + b"\0"),
                                             int32(1), binary(b"\0" * 65537)]),  # fmt: skip
    269: [binary(b"0" * 40), string("0" * 39), string("0" * 41), string("A" * 40), string("z" * 40), strings("0" * 40)],
    273: [binary(b"0" * 64), strings("0" * 64)] + NO_DIGESTS,
    278: [binary(PACKET), string("AA"), strings(*["AA=="] * 65)],
    1004: [string("0" * 32), binary(b"\0" * 15), binary(b"\0" * 17), int32(1, 2, 3, 4)],
}  # fmt: skip
UNKNOWN_TAGS = [0, 61, 63, 100, 255, 282, 998, 1001, 1003, 1006, 1009, 5092, 0xFFFFFFFF]


def tag_cases():
    for tag, values in MAIN_TAGS.items():
        for place, value in enumerate(values):
            yield "main header: %d, %d" % (tag, place), rpm(main_header(**{"t%d" % tag: value})), "malformed"
    for tag in (1000, 1001, 1002, 1022):
        yield "main header: no %d" % tag, rpm(main_header(**{"t%d" % tag: None})), "malformed"
    for tag, values in SIGNATURE_TAGS.items():
        for place, value in enumerate(values):
            data = rpm(signed=(1002,) if tag == 268 else (268,), claims={"t%d" % tag: value})
            yield "signature header: %d, %d" % (tag, place), data, "malformed"
    for tag in UNKNOWN_TAGS:  # CVE-2021-20271: rpm merged unsigned tags into its database
        yield "signature header: the unknown tag %d" % tag, rpm(form={"outside": [(tag, int32(1))]}), "unsupported"
    for algorithm in (1, 2, 9, 10, 0):
        yield "payload digest of algorithm %d" % algorithm, rpm(main_header(t5093=int32(algorithm))), "unsupported"
        yield "the same, signature over all", rpm(main_header(t5093=int32(algorithm)), signed=(1002,)), "unsupported"
    yield "the SHA-256 of another header", rpm(claims={"t273": string(sha256(b""))}), "payload-mismatch"
    for claims in ({}, {"t273": None}):  # rpm: "Header SHA1 digest: BAD"
        yield "the SHA-1 of another header, %s" % claims, rpm(claims=dict(claims, t269=string("0" * 40))), "payload-mismatch"


# --- signatures ---


def made(moment=MADE, more=b"", **changes):
    """A signature over the default header, with other dates or subpackets."""
    return signature(KEY, document=main_header(), hashed=created(moment) + issuer_fingerprint(KEY) + more, **changes)


V3 = v3_signature(KEY, document=main_header())
BY_OTHER = signature(OTHER, document=main_header())
OF_OTHER = signature(KEY, document=b"another header")
# What is in the tag for a header signature
PACKETS = {
    "nothing that is a packet": (b"?", "malformed"),
    "two signatures": (PACKET + PACKET, "malformed"),
    "a V3 and a V4 signature": (V3 + PACKET, "malformed"),
    "a byte after the signature": (PACKET + b"\0", "malformed"),
    "a packet after the signature": (PACKET + new_packet(13, b"user id"), "malformed"),
    "a key": (new_packet(6, KEY.body), "malformed"),
    "half a signature": (PACKET[:-9], "malformed"),
    "an armored signature": (armor(PACKET), "malformed"),
    "V5": (signature(KEY, document=main_header(), version=5), "unsupported"),
    "V3 with 6 signed octets": (v3_signature(KEY, document=main_header(), signed_octets=6), "malformed"),
    "V3 of text": (v3_signature(KEY, document=main_header(), kind=1), "wrong-signature-type"),
    "V3, SHA-1": (v3_signature(KEY, document=main_header(), digest="sha1"), "weak-digest"),
    "V3, MD5": (v3_signature(KEY, document=main_header(), digest="md5"), "weak-digest"),
    "V3 by another key": (v3_signature(OTHER, document=main_header()), "unknown-key"),
    "V3 of another header": (v3_signature(KEY, document=b"another header"), "signature-invalid"),
    "V3 older than its key": (v3_signature(KEY, document=main_header(), made=BORN - 1), "signature-invalid"),
    "of text": (made(kind=1), "wrong-signature-type"),
    "of nothing but itself": (made(kind=2), "wrong-signature-type"),
    "of a user id": (made(kind=0x13), "wrong-signature-type"),
    "a time stamp": (made(kind=0x40), "wrong-signature-type"),
    "SHA-1": (made(digest="sha1"), "weak-digest"),
    "MD5": (made(digest="md5"), "weak-digest"),
    "SHA-224": (made(digest="sha224"), "weak-digest"),
    "by another key": (BY_OTHER, "unknown-key"),
    "by another key in this one's name": (
        signature(OTHER, document=main_header(), hashed=created() + issuer_fingerprint(KEY), unhashed=issuer(KEY)), "signature-invalid",
    ),
    "of another header": (OF_OTHER, "signature-invalid"),
    "of header and payload": (signature(KEY, document=WHOLE), "signature-invalid"),
    "of the header without its magic": (signature(KEY, document=main_header()[8:]), "signature-invalid"),
    "older than its key": (made(BORN - 1), "signature-invalid"),
    "expired": (made(more=subpacket(3, u32(DAY))), "signature-expired"),
    "with a critical unknown subpacket": (made(more=subpacket(100, b"", critical=True)), "unsupported"),
}  # fmt: skip


BAD_OVER_THE_HEADER = [name for name, (packet, reference) in PACKETS.items()
                       if reference == "signature-invalid" and "older" not in name]
ALL = signature(KEY, document=WHOLE)


def expired(document):
    return signature(KEY, document=document, hashed=created() + issuer_fingerprint(KEY) + subpacket(3, u32(DAY)))


def listed(*packets):
    return strings(*[base64.b64encode(packet).decode() for packet in packets])


NOT_A_LIST = {
    "two signatures in a line": listed(PACKET + PACKET),
    "more than base64": strings("?" + listed(PACKET)[2].decode()[:-1]),
    "an empty line": listed(b""),
    "no base64": strings("A"),
    "base64 of other characters": strings("A?=="),
    "other characters": strings("\xe9"),
}


def signature_cases():
    for name, (packet, reference) in PACKETS.items():
        yield "header signature: " + name, signed_by(t268=packet), reference
        if name in BAD_OVER_THE_HEADER:
            yield "a good one beside: " + name, signed_by(t267=PACKET, t268=packet), reference
    yield "unsigned", rpm(signed=()), "unsigned"
    yield "unsigned, no digest either", rpm(signed=(), claims=dict.fromkeys(["t269", "t273", "t1004"])), "unsigned"
    yield "only the header is covered, MD5 and size besides", rpm(PLAIN), "not-covered"
    yield "a good header and a bad header+payload signature", signed_by(t268=PACKET, t1002=PACKET), "signature-invalid"
    yield "a good header+payload and a bad header signature", signed_by(t268=OF_OTHER, t1002=ALL), "signature-invalid"
    yield "an expired header+payload of another file", signed_by(t268=PACKET, t1002=expired(b"other")), "signature-invalid"
    yield "only an expired header+payload signature", signed_by(t1002=expired(WHOLE)), "signature-expired"
    yield "only an expired one, of another file", signed_by(t1002=expired(b"other")), "signature-invalid"
    yield "a header that is not covered, and an expired header+payload", rpm(PLAIN, claims={"t1002": binary(expired(PLAIN + PAYLOAD))}), "signature-expired"
    yield "only SHA-1, over all and over the header", rpm(signed=(268, 1002), digest="sha1"), "weak-digest"
    yield "another key's over the header, MD5 over all", signed_by(t268=BY_OTHER, t1002=made(digest="md5")), "weak-digest"
    yield "rpm 6's list with one bad signature", rpm(claims={"t278": listed(PACKET, OF_OTHER)}), "signature-invalid"
    yield "rpm 6's list, good, and a bad header signature", rpm(signed=(278,), claims={"t268": binary(OF_OTHER)}), "signature-invalid"
    for name, value in NOT_A_LIST.items():
        yield "rpm 6's list alone: " + name, rpm(signed=(), claims={"t278": value}), "malformed"
    yield "another payload", rpm(main_header(), PAYLOAD + b"!"), "payload-mismatch"
    yield "no payload", rpm(main_header(), b""), "payload-mismatch"
    yield "another payload, signed header+payload", rpm(PLAIN, signed=(268, 1002)) + b"!", "signature-invalid"


CASES = {
    name: (data, reference)
    for cases in (structure_cases, lead_cases, tag_cases, signature_cases)
    for name, data, reference in cases()
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_file_that_breaks_one_rule_is_refused(name):
    data, reference = CASES[name]
    assert refusal(data) == reference


IGNORED = {
    **{"a good header signature beside: " + name: (signed_by(t267=PACKET, t268=packet), reference, BY_DIGEST)
       for name, (packet, reference) in PACKETS.items() if name not in BAD_OVER_THE_HEADER},
    **{"a good header+payload signature beside: " + name: (signed_by(t268=packet, t1002=ALL), reference, BY_SIGNATURE)
       for name, (packet, reference) in PACKETS.items() if name not in BAD_OVER_THE_HEADER},
    **{"a good header signature beside rpm 6's list: " + name: (rpm(claims={"t278": value}), "malformed", BY_DIGEST)
       for name, value in NOT_A_LIST.items()},
    "rpm 6: V6 in the list, RSA in the old tag": (
        rpm(claims={"t278": listed(signature(KEY, document=main_header(), version=6))}), "unsupported", BY_DIGEST),
    "rpm 6: post-quantum in the list, RSA in the old tag": (
        rpm(claims={"t278": listed(signature(KEY, document=main_header(), algorithm=30))}), "unsupported", BY_DIGEST),
    "a good header signature, an expired one over all": (signed_by(t268=PACKET, t1002=expired(WHOLE)), "signature-expired", BY_DIGEST),
    "a good header signature, another key's over all": (
        signed_by(t268=PACKET, t1002=signature(OTHER, document=WHOLE)), "unknown-key", BY_DIGEST),
    "a good header signature, MD5 over all": (signed_by(t268=PACKET, t1002=signature(KEY, document=WHOLE, digest="md5")), "weak-digest", BY_DIGEST),
    "EL7: SHA-1 over the header, SHA-256 over all": (
        rpm(PLAIN, claims={"t268": binary(signature(KEY, document=PLAIN, digest="sha1"))}, signed=(1002,)), "weak-digest", BY_SIGNATURE),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_rpmfile_rule_2_one_signature_that_counts_is_enough_and_the_others_are_told(name):
    data, reference, coverage = IGNORED[name]
    verdict = verdict_of(data)
    assert (verdict.coverage, verdict.fingerprint, verdict.signed_at) == (coverage, KEY.fingerprint, MADE)
    assert [told.partition(": ")[0] for told in verdict.ignored] == [reference]
    assert refusal(flipped(data, len(data) - 1)) in ("payload-mismatch", "signature-invalid")


def test_rpmfile_rule_3_what_covers_the_payload_is_signed_by_a_pinned_key():
    """Another key's signature over all covers nothing, and a header that another key has signed says nothing."""
    assert refusal(rpm(PLAIN, claims={"t1002": binary(signature(OTHER, document=PLAIN + PAYLOAD))})) == "not-covered"
    assert refusal(signed_by(t268=BY_OTHER)) == "unknown-key"
    assert refusal(rpm(PLAIN, claims={"t1002": binary(signature(KEY, document=PLAIN + PAYLOAD, digest="sha1"))})) == "not-covered"


def test_a_package_by_a_bound_subkey_is_proven():
    subkey = rsa_key("subkey")
    key = pinned(KEY, subkey_packets(KEY, subkey))
    for tags in ((268,), (1002,), (278,), (268, 1002)):
        assert verdict_of(rpm(key=subkey, signed=tags), [key]).fingerprint == KEY.fingerprint
    assert refusal(rpm(key=subkey)) == "unknown-key"


KEY_STATES = {
    "key-revoked": pinned(KEY, revocation(KEY)),
    "key-expired": pinned(KEY, lifetime=101 * DAY),
    "unknown-key": pinned(OTHER),
}


@pytest.mark.parametrize("reference", sorted(KEY_STATES))
def test_the_keys_own_state_counts(reference):
    for data in (rpm(), rpm(signed=(1002,))):
        assert refusal(data, [KEY_STATES[reference]]) == reference
        assert refusal(data, []) == "unknown-key"


# --- limits, before anything is waited for ---

LIMITS = {
    "33 tags": (SIGNATURE, (33, 16), False),
    "32 tags": (SIGNATURE, (32, 16), True),
    "64 MiB of claims": (SIGNATURE, (1, 64 * MIB), True),
    "more than 64 MiB of claims": (SIGNATURE, (1, 64 * MIB + 1), False),
    "65535 tags": (MAIN, (65535, 16), True),
    "65536 tags": (MAIN, (65536, 16), False),
    "256 MiB of header": (MAIN, (1, 256 * MIB - 1), True),
    "more than 256 MiB of header": (MAIN, (1, 256 * MIB), False),
    "4 GiB of header": (MAIN, (0xFFFFFFFF, 0xFFFFFFFF), False),
}


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_a_header_beyond_its_limits_is_refused_by_its_first_bytes(name):
    kind, lengths, allowed = LIMITS[name]
    data = rpm(main_header(form={"lengths": lengths} if kind is MAIN else {}), form={"lengths": lengths} if kind is SIGNATURE else {})
    introduction = span(rpm(), kind.title.split()[0].upper() + " introduction")
    verifier = RpmVerifier([PINNED], NOW)
    verifier.update(data[: introduction[0] + 15])
    if allowed:
        verifier.update(data[introduction[0] + 15 : introduction[1]])
    with pytest.raises(TrustError, match="ends before" if allowed else "header has") as refused:
        verifier.update(data[introduction[0] + 15 : introduction[1]])
        verifier.finish()
    assert refused.value.reference == ("malformed" if allowed else "unsupported") and refused.value.exit_code == (4 if allowed else 3)


def test_a_header_that_promises_more_than_comes_costs_what_came():
    main = header(63, main_tags(), lengths=(1, 255 * MIB))
    verifier = RpmVerifier([PINNED], NOW)
    tracemalloc.start()
    try:
        verifier.update(rpm(main))
        assert tracemalloc.get_traced_memory()[1] < 256 * 1024
    finally:
        tracemalloc.stop()


def test_the_largest_header_is_read_in_linear_time():
    """65535 tags; 16 MiB of strings in one of them, and tags that all claim the same data."""
    many = [(10000 + number, string("")) for number in range(65520)]
    large = main_tags() + [(2000, strings(*["x" * 15] * 1000000))] + many[: 65535 - len(main_tags()) - 2]
    started = time.process_time()
    assert verdict_of(rpm(header(63, large))).name == "demo"
    first = header(63, main_tags() + many, index=lambda entries: [entries[0]] + [entry[:2] + (0, 1) for entry in entries[1:]])
    assert refusal(rpm(first)) == "malformed"
    assert time.process_time() - started < 20


class _Zeros(io.RawIOBase):
    """A file of a few bytes and then very many zeros."""

    def __init__(self, start, zeros):
        super().__init__()
        self._start, self._left = start, zeros

    def read(self, size=-1):
        chunk, self._start = self._start[:size], self._start[size:]
        if not chunk:
            chunk = bytes(min(size, self._left))
            self._left -= len(chunk)
        return chunk


def test_a_payload_of_200_mb_costs_no_memory():
    zeros = 200 * 1000 * 1000
    running = hashlib.sha256()
    for _ in range(200):
        running.update(bytes(1000 * 1000))
    start = rpm(main_header(t5092=strings(running.hexdigest())), payload=b"")
    tracemalloc.start()
    try:
        assert verify_rpm(_Zeros(start, zeros), [PINNED], NOW).coverage == BY_DIGEST
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()


# --- streaming ---


def test_pieces_of_any_size_give_the_same_verdict():
    for data in (rpm(), rpm(PLAIN, signed=(268, 1002))):
        expected = verdict_of(data)
        for size in (1, 2, 3, 15, 16, 17, 96, 97, 500, len(data) - 1, len(data)):
            verifier = RpmVerifier([PINNED], NOW)
            for start in range(0, len(data), size):
                verifier.update(data[start : start + size])
                verifier.update(b"")
            assert verifier.finish() == expected == verifier.finish()


def test_progress_counts_every_byte_in_pieces_of_256_kib():
    payload = bytes(600000)
    data, seen = rpm(main_header(payload), payload), []
    verdict_of(data, progress=seen.append)
    assert seen == [262144, 262144, len(data) - 524288]


def test_a_bad_header_is_refused_before_the_payload_comes():
    for data in (signed_by(t268=OF_OTHER), rpm(PLAIN), rpm(signed=())):
        with pytest.raises(TrustError):
            RpmVerifier([PINNED], NOW).update(data[: -len(PAYLOAD)])


def test_a_refused_file_stays_refused():
    verifier = RpmVerifier([PINNED], NOW, where="mirror.example.org")
    bad, good = rpm(signed=()), rpm()
    for _ in range(2):
        with pytest.raises(TrustError) as refused:
            verifier.update(bad)
        assert (refused.value.reference, refused.value.where) == ("unsigned", "mirror.example.org")
    with pytest.raises(TrustError, match="unsigned"):
        verifier.update(good)
    with pytest.raises(TrustError, match="unsigned"):
        verifier.finish()


def test_the_message_of_a_file_without_a_name_names_none():
    for verify in (lambda: verdict_of(b"?"), lambda: (RpmVerifier([PINNED], NOW)).update(b"????")):
        with pytest.raises(TrustError) as refused:
            verify()
        assert refused.value.where == ""


def test_the_message_names_the_file_and_the_key():
    with pytest.raises(TrustError) as refused:
        verdict_of(rpm(key=OTHER), where="demo.rpm")
    assert str(refused.value).startswith("unknown-key: ")
    assert refused.value.where.startswith("demo.rpm, ") and OTHER.fingerprint in refused.value.where


# --- every byte ---

# What nobody signs, and what changing it changes: nothing that anybody here reads.
UNSIGNED = {
    "lead, unread": "name, architecture, operating system, minor version, reserved bytes",
    "SIGNATURE introduction": "the length of its data, which may take some of the zeros of the padding",
    "SIGNATURE index 268": "the tag's number, where a signature over header and payload remains",
    "SIGNATURE index 269": "the tag's number: without a SHA-1 the signatures alone decide",
    "SIGNATURE index 1002": "where it is, and how long, where a signature over the header remains",
    "SIGNATURE index 273": "the tag's number: without a SHA-256 the signatures alone decide",
    "SIGNATURE index 1000": "where the size of header and payload is",
    "SIGNATURE index 1004": "where an MD5 is that is not computed",
    "SIGNATURE index 1007": "where the size of the archive is",
    "SIGNATURE index 1008": "where reserved space is",
    "SIGNATURE data 268": "the signature's unsigned subpackets and the form of its lengths",
    "SIGNATURE data 1002": "the same",
    "SIGNATURE data 1000": "size of header and payload: it proves nothing",
    "SIGNATURE data 1004": "MD5 of header and payload: it proves nothing",
    "SIGNATURE data 1007": "size of the archive",
    "SIGNATURE data 1008": "reserved space",
    "SIGNATURE gap": "up to three bytes before a number",
}
FLIPPED = {
    "header signature": rpm(),
    "V3": rpm(sign=v3_signature),
    "header+payload signature": rpm(PLAIN, signed=(1002,)),
    "both": rpm(signed=(268, 1002)),
}


def passing_flips(data):
    """The parts of a file in which a changed byte passes."""
    good, passed = verdict_of(data), set()
    for name, start, end in layout(data):
        for place in range(start, end):
            for bits in (0x01, 0x02, 0x08, 0x80, 0xFF):
                changed = flipped(data, place, bits)
                try:
                    verdict = verdict_of(changed)
                except TrustError:
                    continue
                assert verdict._replace(ignored=(), coverage="") == good._replace(coverage="")
                passed.add(name)
                if name in ("SIGNATURE data 268", "SIGNATURE data 1002") and not verdict.ignored:  # else the other one proves
                    assert meaning(changed[start:end]) == meaning(data[start:end])
    return passed


def meaning(packet):
    """All of a signature but who it says it is from: unsigned, and held against the pinned keys."""
    return read_signature(list(read_packets(packet))[0][1])._replace(issuers=(), unhashed=())


def test_no_changed_byte_of_header_or_payload_passes():
    passed = [passing_flips(FLIPPED[name]) for name in sorted(FLIPPED)]
    assert sorted(set.union(*passed)) == sorted(UNSIGNED)


@pytest.mark.parametrize("name", sorted(FLIPPED))
def test_a_file_cut_anywhere_is_refused(name):
    data = FLIPPED[name]
    payload = span(data, "payload")[0]
    for size in range(len(data)):
        expected = "malformed" if size < payload else "payload-mismatch" if name in ("header signature", "V3") else "signature-invalid"
        assert refusal(data[:size]) == expected


@pytest.mark.parametrize("name", sorted(FLIPPED))
def test_a_file_with_more_at_its_end_is_refused(name):
    for more in (b"\0", b"\n", PAYLOAD, rpm()):
        assert refusal(FLIPPED[name] + more) in ("payload-mismatch", "signature-invalid")


# --- attacks by their names ---


def test_cve_2021_3445_a_good_digest_without_a_signature_is_no_signature():
    assert refusal(rpm(signed=())) == refusal(rpm(PLAIN, signed=())) == "unsigned"


def test_cve_2021_3421_a_tag_that_nobody_signed_is_not_read_into_the_header():
    """A signed region, and behind it another name: readers differed on which one counts."""
    main = header(63, [pair for pair in main_tags() if pair[0] != 1000], outside=[(1000, string("sudo"))])
    assert refusal(rpm(main)) == "malformed"


def test_arbitrary_installation_a_package_of_another_key_is_refused_though_it_is_in_a_good_ones_place():
    assert refusal(rpm(key=OTHER, signed=(268, 1002))) == "unknown-key"


def test_a_payload_under_another_packages_header_is_refused():
    first, second = rpm(), rpm(main_header(b"another", t1000=string("other")), b"another")
    headers, payload = span(first, "payload")[0], span(second, "payload")[0]
    assert refusal(first[:headers] + second[payload:]) == "payload-mismatch"


def test_a_header_under_another_packages_signatures_is_refused():
    other = rpm(main_header(t1000=string("other")))
    claims = span(other, "MAIN introduction")[0]
    assert refusal(other[:claims] + rpm()[span(rpm(), "MAIN introduction")[0] :]) == "signature-invalid"


ASKED = ("demo", 2, "1.2", "3.el7", "x86_64")
OTHERS = [("sudo",) + ASKED[1:], ("demo", 3) + ASKED[2:], ("demo", None) + ASKED[2:], ("demo", 0) + ASKED[2:],
          ("demo", 2, "1.3", "3.el7", "x86_64"), ("demo", 2, "1.2", "4.el7", "x86_64"), ("demo", 2, "1.2", "3.el7", "src")]  # fmt: skip


def test_the_package_that_was_asked_for_is_it():
    require_identity(verdict_of(rpm()), *ASKED)
    for epoch in (None, 0):
        require_identity(verdict_of(rpm(main_header(t1003=None))), "demo", epoch, *ASKED[2:])
        require_identity(verdict_of(rpm(main_header(t1003=int32(0)))), "demo", epoch, *ASKED[2:])


@pytest.mark.parametrize("asked", OTHERS, ids=str)
def test_wrong_software_a_good_package_under_another_name_is_refused(asked):
    with pytest.raises(TrustError, match="demo-2:1.2-3.el7.x86_64, not ") as refused:
        require_identity(verdict_of(rpm(start=lead(name=asked[0].encode()))), *asked)
    assert refused.value.reference == "wrong-package"


# --- beside the real rpm ---


def output_of(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True).stdout


def test_the_crafted_file_is_one_for_rpm_too(tmp_path):
    if not shutil.which("rpmkeys"):
        pytest.skip("rpm is not installed")
    for name in ("both, as rpmsign --rpmv3 makes", "EL7: no payload digest, both signatures", "a source package"):
        path = tmp_path / "crafted.rpm"
        path.write_bytes(GOOD[name][0])
        assert "demo-2:1.2-3.el7" in output_of("rpm", "-qp", "--nosignature", "--qf", "%{NEVRA}", str(path))
        assert "BAD" not in output_of("rpmkeys", "-Kv", "--nosignature", str(path))


class _RealPackages:
    """Packages of rpmbuild and rpmsign, by two keys of gpg."""

    def __init__(self, folder, keys):
        self.folder, self.keys = str(folder), keys
        self.now = int(time.time())
        self.work = os.path.join(self.folder, "work")
        os.mkdir(self.work)
        self.pinned = load_pinned_key(keys.public_key(), [keys.fingerprint()])

    def build(self, signer, version="1.0", requires=""):
        package = Package("lab-real", version, 3000, requires)
        path = build(package, os.path.join(self.folder, "signed-by-" + signer), self.work, self.now - DAY, self.keys, signer)
        with open(path, "rb") as stream:
            return path, stream.read()

    def rpmsign(self, path, *arguments):
        macros = {"__gpg": shutil.which("gpg"), "_gpg_path": self.keys.homedir, "_gpg_name": self.keys.fingerprint(),
                  "_tmppath": self.work}  # fmt: skip
        defines = [word for name in macros for word in ("--define", "{} {}".format(name, macros[name]))]
        run(["rpmsign"] + defines + list(arguments) + [path], environment(self.work))

    def refusal(self, data):
        return refusal(data, [self.pinned], self.now)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    if missing():
        pytest.skip("not installed: {}".format(", ".join(missing())))
    folder = tmp_path_factory.mktemp("real")
    keys = KeyRing(str(folder / "keys"), int(time.time()) - 300 * DAY)
    yield _RealPackages(folder, keys)
    keys.close()


def test_what_rpmsign_signs_is_proven(real):
    _, data = real.build(REPOSITORY)
    verdict = verdict_of(data, [real.pinned], real.now)
    assert verdict == RpmVerdict("lab-real", None, "1.0", "1", "noarch", real.now - DAY, real.pinned.fingerprint, BY_DIGEST)


def test_what_rpmsign_signs_for_old_rpm_is_proven(real):
    path, _ = real.build(NOBODY, "1.1")
    real.rpmsign(path, "--addsign", "--rpmv3")
    with open(path, "rb") as stream:
        data = stream.read()
    assert "SIGNATURE data 1002" in [name for name, _, _ in layout(data)]
    assert verdict_of(data, [real.pinned], int(time.time())).coverage == BY_SIGNATURE
    assert refusal(data + b"\0", [real.pinned], int(time.time())) == "signature-invalid"


def test_a_real_package_is_refused_unsigned_by_another_key_changed_cut_or_extended(real):
    _, data = real.build(REPOSITORY, "1.2")
    assert real.refusal(real.build(NOBODY, "1.2")[1]) == "unsigned"
    assert real.refusal(real.build(OTHER_OWNER, "1.2")[1]) == "unknown-key"
    assert real.refusal(flipped(data, len(data) - 100)) == real.refusal(data[:-1]) == real.refusal(data + b"\0") == "payload-mismatch"
    assert real.refusal(flipped(data, span(data, "MAIN data 1000")[0])) == "signature-invalid"


def test_a_real_source_package_is_proven(real):
    top = os.path.join(real.work, "source")
    os.makedirs(top)
    spec = os.path.join(top, "s.spec")
    with open(spec, "w") as text:
        text.write("Name: lab-source\nEpoch: 3\nVersion: 4\nRelease: 5\nSummary: s\nLicense: MIT\n%description\ns\n")
    run(["rpmbuild", "--quiet", "-bs", "--define", "_topdir " + top, spec], environment(real.work))
    path = os.path.join(top, "SRPMS", "lab-source-4-5.src.rpm")
    real.rpmsign(path, "--addsign")
    with open(path, "rb") as stream:
        verdict = verify_rpm(stream, [real.pinned], int(time.time()))
    assert verdict.nevra == "lab-source-3:4-5.src"
