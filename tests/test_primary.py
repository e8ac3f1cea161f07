"""primary.xml, what it is packed in, and which version is newer: good, hostile and endless."""
import bz2
import gzip
import hashlib
import itertools
import lzma
import shutil
import subprocess
import sys
import tracemalloc
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from yum_plugin.errors import TrustError
from yum_plugin.trust import primary, unpack, zstd_frames
from yum_plugin.trust.evr import evr_key
from yum_plugin.trust.primary import PrimaryPackage, read_primary
from yum_plugin.trust.unpack import unpacked

try:
    import zstandard
except ImportError:
    zstandard = None

DIGEST = "a" * 64
FIELDS = {
    "name": "<name>demo</name>", "arch": "<arch>noarch</arch>", "version": '<version epoch="1" ver="2.0" rel="3"/>',
    "checksum": '<checksum type="sha256" pkgid="YES">{}</checksum>'.format(DIGEST), "size": '<size package="5" installed="9"/>',
    "location": '<location href="Packages/demo.rpm"/>',
}
DEMO = PrimaryPackage("demo", 1, "2.0", "3", "noarch", "Packages/demo.rpm", 5, "sha256", DIGEST, 9)


def package(attributes="", **fields):
    return '<package type="rpm"{}>{}<format><provides/></format></package>'.format(attributes, "".join(dict(FIELDS, **fields).values()))


def document(*packages, root="metadata", attributes=""):
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<{0} xmlns="{1}"{2}>\n{3}\n</{0}>\n'.format(
        root, primary.NAMESPACE, attributes, "\n".join(packages))
    return text.encode()


def read(data, piece=1000):
    return list(read_primary(data[start : start + piece] for start in range(0, len(data), piece)))


@pytest.mark.parametrize("piece", [1, 7, 100, 100000])
def test_packages_come_whole_however_the_file_is_cut(piece):
    names = ["demo{}".format(number) for number in range(20)]
    data = document(*[package(name="<name>{}</name>".format(name)) for name in names])
    assert read(data, piece) == [DEMO._replace(name=name) for name in names]


def test_an_empty_repository_and_missing_optional_things_are_fine():
    assert read(document()) == []
    data = document(package(version='<version ver="2.0" rel="3"/>', size="<size/>"))
    assert read(data) == [DEMO._replace(epoch=0, size=None, installed_size=None)]


def test_a_package_may_have_more_than_4_gib():
    large = package(size='<size package="{0}" installed="{0}"/>'.format(5 << 30))
    assert read(document(large)) == [DEMO._replace(size=5 << 30, installed_size=5 << 30)]


def test_an_empty_epoch_is_0_and_an_empty_xml_base_says_nothing():
    odd = package(attributes=' xml:base=""', version='<version epoch="" ver="2.0" rel="3"/>',
                  location='<location xml:base="" href="Packages/demo.rpm"/>')
    assert read(document(odd, attributes=' xml:base=""')) == [DEMO._replace(epoch=0)]


@pytest.mark.parametrize("data, reference", [
    (b"", "malformed"), (b"<html></html>", "malformed"), (document(package())[:-20], "malformed"), (document(package()) + b"x", "malformed"),
    (document(root="other"), "malformed"), (document(package(), root="other"), "malformed"),
    (document("<wrap>" + package() + "</wrap>"), "malformed"), (document("<metadata>" + package() + "</metadata>"), "malformed"),
    (package().replace("<package", '<package xmlns="{}"'.format(primary.NAMESPACE)).encode(), "malformed"), (document(package(name=package())), "malformed"),
    (b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + document(package(name="<name>&e;</name>"))[39:], "malformed"),
    (document(package(name="<name>a/b</name>")), "malformed"), (document(package(name="<name/>")), "malformed"),
    (document(package(name="<name>a</name><name>b</name>")), "malformed"), (document(package(arch="")), "malformed"),
    (document(package(location="<location/>")), "unsafe-path"), (document(package(location='<location href="../x"/>')), "unsafe-path"),
    (document(package(location='<location href="%2e%2e/x"/>')), "unsafe-path"),
    (document(package(location='<location href="/etc/x"/>')), "unsafe-path"),
    (document(package(location='<location href="http://x/y"/>')), "unsafe-path"),
    (document(package(location='<location xml:base="http://x/" href="y"/>')), "unsafe-path"),
    (document(package(attributes=' xml:base="http://x/"')), "unsafe-path"),
    (document(package(), attributes=' xml:base="http://x/"'), "unsafe-path"),
    (document(package(checksum='<checksum type="sha">{}</checksum>'.format(DIGEST[:40]))), "weak-digest"),
    (document(package(checksum='<checksum type="crc">{}</checksum>'.format(DIGEST))), "unsupported"),
    (document(package(checksum='<checksum type="sha256">{}</checksum>'.format(DIGEST[:-1]))), "malformed"),
    (document(package(checksum='<checksum type="sha256">{}</checksum>'.format("A" * 64))), "malformed"),
    (document(package(size='<size package="-1"/>')), "malformed"), (document(package(version='<version epoch="x" ver="1" rel="1"/>')), "malformed"),
    (document(package(version='<version epoch="0" ver="1"/>')), "malformed"),
])  # fmt: skip
def test_refused(data, reference):
    for piece in (3, 100000):
        with pytest.raises(TrustError) as refusal:
            read(data, piece)
        assert refusal.value.reference == reference


def test_a_package_of_another_document_is_not_even_yielded():
    for data, reference in ((document(package(), root="other"), "malformed"), (document(package(), attributes=' xml:base="x"'), "unsafe-path")):
        with pytest.raises(TrustError) as refusal:
            next(read_primary([data]))
        assert refusal.value.reference == reference


@pytest.mark.parametrize("piece", range(1, 20))
def test_a_doctype_is_refused_however_the_file_is_cut(piece):
    harmless = document(package()).replace(b"<metadata", b"<!DOCTYPE metadata>\n<metadata", 1)
    with pytest.raises(TrustError, match="primary.xml with a DOCTYPE"):
        read(harmless, piece)


def test_an_endless_package_is_refused():
    with pytest.raises(TrustError, match="a package of more than "):
        list(read_primary(itertools.chain([document()[:-13] + b"<package>"], itertools.repeat(b"<a/>" * 10000))))


def test_a_package_has_as_many_bytes_as_allowed_and_not_one_more(monkeypatch):
    monkeypatch.setattr(primary, "MAX_PACKAGE_BYTES", 1000)
    head, one = document()[:-13], package().encode()
    for before in ([head.ljust(1000)], [head + one, b" " * 1000]):
        assert len(list(read_primary(before + [one + b"</metadata>"]))) == len(before)
        with pytest.raises(TrustError, match="a package of more than "):
            list(read_primary(before[:-1] + [before[-1] + b" ", one + b"</metadata>"]))
    assert len(list(read_primary([head + one * 5 + b"</metadata>"]))) == 5  # in one piece there may be many


def test_as_many_packages_as_allowed_are_read_and_not_one_more(monkeypatch):
    monkeypatch.setattr(primary, "MAX_PACKAGES", 3)
    assert len(read(document(*[package()] * 3))) == 3
    with pytest.raises(TrustError, match="or more than 3 packages"):
        read(document(*[package()] * 4))


def test_the_limits_are_those_of_real_repositories():
    assert (primary.MAX_PRIMARY_BYTES, primary.MAX_OPEN_BYTES) == (64 << 20, 1 << 30)
    assert (primary.MAX_PACKAGES, primary.MAX_PACKAGE_BYTES) == (200000, 16 << 20)


def test_what_was_read_is_forgotten(monkeypatch):
    """Never more than the package that is being read, and the empty shell of the one before."""
    check, sizes = primary._check_root, []

    def count(root):
        sizes.append(len(list(root.iter())))
        check(root)

    monkeypatch.setattr(primary, "_check_root", count)
    one = package().encode()
    whole = len(list(etree.fromstring(document(package())).iter()))
    list(read_primary([document()[:-13]] + [one] * 50 + [b"</metadata>"]))
    assert len(sizes) == 51 and max(sizes) <= whole + 1


def test_a_long_file_costs_no_memory():
    tracemalloc.start()
    try:
        assert list(read_primary(itertools.chain([document()[:-13]], itertools.repeat(b"<!---->" + b" " * 65000, 100), [b"</metadata>"]))) == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.fuzz
@given(st.lists(st.one_of(st.sampled_from([value.encode() for value in FIELDS.values()] + [b"<package>", b"</package>", b"</metadata>"]),
                          st.binary(max_size=20)), max_size=12))
def test_any_rubbish_ends_in_packages_or_a_trust_error(parts):
    try:
        read(document()[:-13] + b"".join(parts) + b"</metadata>", 50)
    except TrustError:
        pass


# Compression.

CONTENT = b"the very content " * 40000
PACKED = {"gzip": gzip.compress(CONTENT), "xz": lzma.compress(CONTENT), "bzip2": bz2.compress(CONTENT), "plain": CONTENT}
if zstandard:
    PACKED["zstd"] = zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT)
COMPRESSED = sorted(set(PACKED) - {"plain"})
COMMANDS = {"gzip": "gzip", "xz": "xz", "bzip2": "bzip2", "zstd": "zstd"}


@pytest.mark.parametrize("kind", sorted(PACKED))
def test_what_was_packed_comes_out_in_small_pieces(kind):
    pieces = list(unpacked(PACKED[kind], len(CONTENT)))
    assert b"".join(pieces) == CONTENT and max(map(len, pieces)) <= 256 * 1024
    assert b"".join(unpacked(b"", 0)) == b""


# Hardly to be compressed, so that it takes several pieces; the second half is 20000 bytes behind the first, near gzip's 32 KiB.
NOISE = b"".join(hashlib.sha512(b"%d" % number).digest() for number in range(10000))
NOISE += NOISE[-20000:]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, bytes])
def test_a_file_of_several_pieces_comes_out_as_it_was(pack):
    assert len(pack(NOISE)) > 9 * 65536
    assert b"".join(unpacked(pack(NOISE), len(NOISE))) == NOISE


def test_pieces_have_256_kib_and_an_xz_dictionary_at_most_128_mib():
    assert [len(piece) for piece in unpacked(gzip.compress(bytes(600000)), 600000)] == [262144, 262144, 75712]
    assert [len(piece) for piece in unpacked(bytes(600000), 600000)] == [262144, 262144, 75712]
    assert (unpack.PIECE_BYTES, unpack.MAX_DICTIONARY_BYTES) == (65536, 128 << 20)


@pytest.mark.parametrize("kind", sorted(PACKED))
def test_a_file_of_one_byte_more_than_allowed_is_refused(kind):
    with pytest.raises(TrustError, match="decompresses to more than {} bytes".format(len(CONTENT) - 1)):
        list(unpacked(PACKED[kind], len(CONTENT) - 1))


@pytest.mark.parametrize("kind", COMPRESSED)
@pytest.mark.parametrize("form", ["{0}{0}", "{0}{0}{0}", "{0}00000000", "{0}00000000{0}"])
def test_unpack_rule_2_members_streams_and_frames_are_one_content(kind, form, tmp_path):
    """As the format's own program says, where that is installed and takes zeros (bzip2 and zstd do not)."""
    if kind == "zstd" and form == "{0}00000000{0}":
        pytest.skip("zstd has no padding between frames")
    data = bytes.fromhex(form.format(PACKED[kind].hex()))
    content = CONTENT * form.count("{0}")
    assert b"".join(unpacked(data, len(content))) == content
    if shutil.which(COMMANDS[kind]) and ("00000000" not in form or kind in ("gzip", "xz") and form.endswith("0" * 8)):
        path = tmp_path / "file"
        path.write_bytes(data)
        with path.open("rb") as stream:
            assert subprocess.run([COMMANDS[kind], "-dc"], stdin=stream, stdout=subprocess.PIPE, check=True).stdout == content


@pytest.mark.parametrize("kind", COMPRESSED)
def test_unpack_rule_3_members_without_end_are_a_limit(kind, monkeypatch):
    monkeypatch.setattr(unpack, "MAX_MEMBERS", 3)
    monkeypatch.setattr(zstd_frames, "MAX_FRAMES", 3)
    with pytest.raises(TrustError) as refusal:
        list(unpacked(PACKED[kind] * 4, 9 * len(CONTENT)))
    assert refusal.value.reference == "unsupported"


@pytest.mark.parametrize("kind", COMPRESSED)
@pytest.mark.parametrize("spoil", [
    lambda data: data[:-1], lambda data: data[:len(data) // 2], lambda data: data[:12], lambda data: data + b"x", lambda data: data * 2 + b"x",
    lambda data: data + bytes(8) + data[:-1],
    lambda data: data[:60] + bytes([data[60] ^ 255]) + data[61:],
])  # fmt: skip
def test_a_damaged_file_is_refused(kind, spoil):
    with pytest.raises(TrustError) as refusal:
        list(unpacked(spoil(PACKED[kind]), 2 * len(CONTENT)))
    assert refusal.value.reference == "malformed"


@pytest.mark.parametrize("kind", sorted(PACKED))
def test_a_bomb_is_refused_before_it_is_large(kind):
    came = 0
    with pytest.raises(TrustError):
        for piece in unpacked(PACKED[kind], 100000):
            came += len(piece)
    assert came <= 100000


def zstd(content, **options):
    return pytest.importorskip("zstandard").ZstdCompressor(**options).compress(content)


def test_unpack_rule_4_zstd_without_a_library_is_unsupported_and_not_refused(monkeypatch):
    for name in ("zstandard", "compression"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TrustError, match="python3-zstandard") as refusal:
        list(unpacked(bytes.fromhex("28b52ffd0400290000") + b"hello" + b"\0\0\0\0", 100))
    assert (refusal.value.reference, refusal.value.exit_code) == ("unsupported", 3)


def test_unpack_rule_4_the_library_of_python_3_14_serves_as_well(monkeypatch):
    """It has another exception; what it says about the end of a frame is not needed."""
    library = pytest.importorskip("zstandard")

    class Own(Exception):
        pass

    class Decompressor:
        def __init__(self):
            self._real = library.ZstdDecompressor().decompressobj()

        def decompress(self, data):
            try:
                return self._real.decompress(data)
            except library.ZstdError as error:
                raise Own(str(error)) from error

    new = types.ModuleType("compression.zstd")
    new.ZstdDecompressor, new.ZstdError = Decompressor, Own
    parent = types.ModuleType("compression")
    parent.zstd = new
    for name, module in (("zstandard", None), ("compression", parent), ("compression.zstd", new)):
        monkeypatch.setitem(sys.modules, name, module)
    assert b"".join(unpacked(PACKED["zstd"], len(CONTENT))) == CONTENT
    with pytest.raises(TrustError) as refusal:
        list(unpacked(PACKED["zstd"][:-1] + b"x", len(CONTENT)))
    assert refusal.value.reference == "malformed"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65792, 131072, 131073, 700000])
@pytest.mark.parametrize("options", [{}, {"level": 19}, {"write_checksum": True}, {"write_content_size": False}], ids=str)
def test_zstd_of_any_size_comes_out_and_a_part_of_it_never_does(size, options):
    content = NOISE[:size // 2] + bytes(size - size // 2)
    packed = zstd(content, **options)
    skipped = b"\x5f\x2a\x4d\x18\3\0\0\0abc"
    assert b"".join(unpacked(packed + skipped + packed, 2 * size)) == 2 * content
    for end in {5, 6, 9, len(packed) // 2, len(packed) - 1} & set(range(4, len(packed))):
        with pytest.raises(TrustError) as refusal:
            list(unpacked(packed[:end], size))
        assert refusal.value.reference == "malformed"


@pytest.mark.parametrize("frame, reference", [
    ("0090000000", "unsupported"),  # a window of 256 MiB
    ("0089000000", "unsupported"),  # of 144 MiB
    ("0088010000", "content"),  # of 128 MiB
    ("e00000001000000000000000", "unsupported"),  # 256 MiB in one segment
    ("01580700000000", "unsupported"),  # dictionary 7
    ("005807", "malformed"),  # cut
    ("0058070000", "malformed"),  # a block of the reserved kind
])
def test_a_zstd_frame_tells_what_it_needs_before_memory_is_taken(frame, reference):
    pytest.importorskip("zstandard")
    data = bytes.fromhex("28b52ffd" + frame)
    if reference == "content":
        assert b"".join(unpacked(data, 10)) == b""
        return
    with pytest.raises(TrustError) as refusal:
        list(unpacked(data, 10))
    assert refusal.value.reference == reference


def test_a_zstd_bomb_is_cut_into_small_pieces():
    packed = zstd(bytes(64 << 20))
    assert len(packed) < 8192
    tracemalloc.start()
    try:
        assert max(map(len, unpacked(packed, 64 << 20))) == 256 * 1024
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.fuzz
@given(st.sampled_from(sorted(PACKED)), st.integers(0, 200), st.binary(max_size=30))
def test_any_damage_ends_in_bytes_or_a_trust_error(kind, at, rubbish):
    try:
        list(unpacked(PACKED[kind][:at] + rubbish + PACKED[kind][at + len(rubbish):], 10 * len(CONTENT)))
    except TrustError:
        pass


# Versions: rpm's own table (rpm: tests/rpmvercmp.at).


@pytest.mark.parametrize("older, newer", [
    ("1.0", "2.0"), ("2.0", "2.0.1"), ("2.0.1", "2.0.1a"), ("5.5p1", "5.5p2"), ("5.5p1", "5.5p10"), ("10a2", "10b2"), ("xyz10", "xyz10.1"),
    ("xyz.4", "8"), ("xyz.4", "2"), ("5.5p2", "5.6p1"), ("5.6p1", "6.5p1"), ("6.0", "6.0.rc1"), ("a2", "10"), ("10a", "10b"),
    ("1.0~rc1", "1.0"), ("1.0~rc1", "1.0~rc2"), ("1.0~rc1~git123", "1.0~rc1"), ("1.0", "1.0^"), ("1.0^git1", "1.0^git2"),
    ("1.0^git1", "1.01"), ("1.0^20160101", "1.0.1"), ("1.0~rc1", "1.0~rc1^git1"), ("1.0^git1~pre", "1.0^git1"), ("9", "010"),
])  # fmt: skip
def test_newer(older, newer):
    assert evr_key(0, older, "1") < evr_key(0, newer, "1") and evr_key(0, "1", older) < evr_key(0, "1", newer)
    assert evr_key(1, older, "1") > evr_key(0, newer, "1")


@pytest.mark.parametrize("one, other", [("1.0", "1_0"), ("1.05", "1.5"), ("1..0", "1.0"), ("fc4", "fc.4"), ("2_0", "2.0.")])
def test_as_new(one, other):
    assert evr_key(0, one, "1") == evr_key(0, other, "1")
