"""Mutated signatures and packages, judged by us and by gpgv and rpmkeys in one run.

Nothing that they refuse is accepted, but for the classes that docs/signatures.md explains, and whatever they accept and we refuse
has a class, too. ``make fuzz`` gives it more examples.
"""
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.craft import (
    DOCUMENT,
    NOW,
    armor,
    created,
    issuer,
    issuer_fingerprint,
    key_packets,
    new_packet,
    rsa_key,
    signature,
    subkey_packets,
    subpacket,
    v3_signature,
)
from tests.support.craft_rpm import main_header, rpm
from tests.support.judges import Gpgv, Rpmkeys, explains
from tests.support.mutations import mutations
from yum_plugin.errors import TrustError
from yum_plugin.trust.keys import load_pinned_key
from yum_plugin.trust.openpgp import verify_detached
from yum_plugin.trust.rpmfile import verify_rpm
from yum_plugin.trust.rpmheader import INTRODUCTION_BYTES, MAIN, SIGNATURE, HeaderReader, read_header

pytestmark = pytest.mark.fuzz

KEY, OTHER, SUBKEY = rsa_key(), rsa_key("other"), rsa_key("subkey")
RING = key_packets(KEY, subkey_packets(KEY, SUBKEY), digest="sha256")
PINNED = load_pinned_key(RING, [KEY.fingerprint])


def flips(seed):
    """``seed`` with one to three bits flipped."""
    def apply(bits):
        data = bytearray(seed)
        for bit in bits:
            data[bit // 8] ^= 1 << bit % 8
        return bytes(data)

    return st.lists(st.integers(0, 8 * len(seed) - 1), min_size=1, max_size=3).map(apply)


GOOD = signature(KEY)
PARTS = [GOOD, signature(KEY, digest="sha512"), v3_signature(KEY), signature(SUBKEY), signature(OTHER), signature(KEY, digest="sha1"),
         signature(KEY, version=6), signature(KEY, kind=1), signature(KEY, document=b"other"), signature(KEY, left16=b"\0\0"),
         signature(KEY, hashed=created() + issuer_fingerprint(KEY) + subpacket(100, critical=True)), new_packet(21, bytes(8)),
         signature(KEY, hashed=created(NOW) + issuer(KEY)), new_packet(2, b""), GOOD[:100]]  # fmt: skip
SEEDS = [GOOD, v3_signature(KEY), signature(SUBKEY), GOOD + signature(OTHER), signature(OTHER) + GOOD, GOOD + v3_signature(KEY)]
FILES = st.one_of(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(b"".join),
    *[flips(seed) for seed in SEEDS], *[mutations(seed) for seed in SEEDS], *[mutations(armor(seed)) for seed in SEEDS[:4]],
    st.lists(st.sampled_from([armor(part) for part in PARTS] + [b"text\n", b"\n"]), min_size=1, max_size=4).map(b"".join),
)  # fmt: skip


@pytest.fixture(scope="module")
def gpgv():
    judge = Gpgv(RING)
    yield judge
    judge.close()


@pytest.fixture(scope="module")
def rpmkeys():
    judge = Rpmkeys(RING)
    yield judge
    judge.close()


@given(data=FILES)
def test_nothing_is_proven_that_gpgv_refuses(gpgv, data):
    theirs = gpgv.says(data, DOCUMENT)
    try:
        verify_detached(DOCUMENT, data, [PINNED], NOW)
    except TrustError as refused:
        assert theirs != "good" or explains(refused, theirs)
        return
    if theirs != "good":  # it stopped at something that it cannot read, or found no armor: of the packets one is good, none is bad
        each = gpgv.says_of_each(data, DOCUMENT)
        assert "good" in each and "bad" not in each, (theirs, each, data)


@given(data=FILES)
def test_nothing_is_proven_of_another_document(data):
    with pytest.raises(TrustError):
        verify_detached(DOCUMENT + b"!", data, [PINNED], NOW)


PACKAGES = [rpm(), rpm(signed=(268, 1002)), rpm(sign=v3_signature), rpm(key=SUBKEY), rpm(main_header(t5092=None, t5093=None), signed=(1002,)),
            rpm(claims={"t267": (7, len(signature(OTHER, document=main_header())), signature(OTHER, document=main_header()))})]  # fmt: skip
# What nobody has signed and rpm computes all the same, what it does not read, a key that it does not find by the unsigned id; bad:
# by its 16 bits, which rpm looks at before type and key
NO_PROOF = {"no key", "unreadable", "digest", "bad"}


def asked_of_gpgv(judge, data):
    """What gpgv says of each signature of type 0x00 in a package that we have accepted, over header, or header and payload."""
    start = 96 + INTRODUCTION_BYTES
    size = HeaderReader(data[96:start], SIGNATURE).left
    claims = read_header(data[96 : start + size], SIGNATURE)
    main = data[start + size :]
    header = main[: INTRODUCTION_BYTES + HeaderReader(main[:INTRODUCTION_BYTES], MAIN).left]
    asked = [(tag, header) for tag in (267, 268)] + [(tag, main) for tag in (1005, 1002)]
    return [answer for tag, document in asked for value in claims.get(tag, ()) for answer in judge.says_of_each(value, document)]


@given(data=st.one_of(*[flips(seed) for seed in PACKAGES], *[mutations(seed) for seed in PACKAGES]))
def test_nothing_is_proven_that_rpmkeys_refuses(rpmkeys, gpgv, data):
    found, _, text = rpmkeys.says(data)
    try:
        verify_rpm(io.BytesIO(data), [PINNED], NOW)
    except TrustError as refused:
        assert found or explains(refused, text)
        return
    if found:  # of its signatures one is good for gpgv, and none is bad
        assert found <= NO_PROOF and not re.search(r"SHA(1|256) digest: BAD", text), (text, data)
        asked = asked_of_gpgv(gpgv, data)
        assert "good" in asked and "bad" not in asked, (asked, text, data)
