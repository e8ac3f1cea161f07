"""Packages as large as rpm makes them: headers of 100 MiB, signatures of many files, sizes beyond 32 bits; next to rpmkeys."""
import io
import struct
import tracemalloc

import pytest

from tests.support.craft import NOW, key_packets
from tests.support.craft_rpm import KEY, header, main_header, main_tags, rpm
from tests.support.judges import Rpmkeys
from yum_plugin.errors import TrustError
from yum_plugin.packages.verify import read_requests
from yum_plugin.trust.keys import load_pinned_key
from yum_plugin.trust.rpmfile import verify_rpm

PINNED = load_pinned_key(key_packets(KEY), [KEY.fingerprint])
MIB = 1024 * 1024
FIVE_GIB = struct.pack(">Q", 5 << 30)
# Tags of rpmtag.h: 270 LONGSIGSIZE, 271 LONGARCHIVESIZE, 274 FILESIGNATURES, 5009 LONGSIZE


def texts(count, each):
    """A list of so many strings."""
    return 8, count, (b"x" * each + b"\0") * count


@pytest.fixture(scope="module")
def rpmkeys():
    judge = Rpmkeys(key_packets(KEY))
    yield judge
    judge.close()


# What a package has -> its bytes, and whether rpm reads it.
LARGE = {
    "3 MiB of files' signatures": (lambda: rpm(claims={"t274": texts(20000, 150)}), True),
    "63 MiB of signatures": (lambda: rpm(claims={"t274": texts(1, 63 * MIB)}), True),
    "65 MiB of signatures": (lambda: rpm(claims={"t274": texts(1, 65 * MIB)}), False),
    "100 MiB of header": (lambda: rpm(header(63, main_tags() + [(5100, texts(1, 100 * MIB))])), True),
    "a million files": (lambda: rpm(header(63, main_tags() + [(5100, texts(1000000, 30))])), True),
    "sizes of 64 bits": (lambda: rpm(main_header(t5009=(5, 1, FIVE_GIB)), claims={
        "t270": (5, 1, FIVE_GIB), "t271": (5, 1, FIVE_GIB), "t1000": None, "t1007": None}), True),
}


@pytest.mark.parametrize("name", sorted(LARGE))
def test_rpmheader_rule_1_the_limits_are_those_of_rpm_and_little_is_kept(name, rpmkeys):
    make, is_read = LARGE[name]
    data = make()
    stream = io.BytesIO(data)
    tracemalloc.start()
    try:
        if is_read:
            assert verify_rpm(stream, [PINNED], NOW).name == "demo"
        else:
            with pytest.raises(TrustError, match="more than rpm reads") as refused:
                verify_rpm(stream, [PINNED], NOW)
            assert (refused.value.reference, refused.value.exit_code) == ("unsupported", 3)
        assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    finally:
        tracemalloc.stop()
    problems, signed, text = rpmkeys.says(data)
    assert (signed and not problems) == is_read, text


def test_an_index_of_65535_tags_costs_little_memory():
    data = rpm(header(63, main_tags() + [(10000 + number, texts(1, 1)) for number in range(65000)]))
    tracemalloc.start()
    try:
        assert verify_rpm(io.BytesIO(data), [PINNED], NOW).name == "demo"
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


def test_a_package_of_more_than_4_gib_may_be_asked_for():
    values = {"name": "demo", "epoch": 0, "version": "1", "release": "1", "arch": "noarch", "location": "Packages/demo.rpm", "target": "/tmp/demo.rpm",
              "checksum_type": "sha256", "checksum": "a" * 64, "size": 5 << 30}
    assert read_requests([values])[0].size == 5 << 30
