"""SHA256SUMS: what a signed list says in all its forms, next to what the real sha256sum says of the same bytes."""
import hashlib
import os
import shutil
import subprocess
from time import process_time

import pytest

from tests.support.documents import CHECKSUM_LISTS, ISO, OTHER_SUM, SUM, line
from yum_plugin.errors import TrustError
from yum_plugin.trust.checksum_file import MAX_SUMS_BYTES, find_checksum, is_checksum_list, parse_checksums


@pytest.mark.parametrize("name", sorted(CHECKSUM_LISTS))
def test_a_list_of_checksums_is_read(name):
    assert find_checksum(parse_checksums(CHECKSUM_LISTS[name]), ISO) == SUM
    assert is_checksum_list(CHECKSUM_LISTS[name])


def test_every_file_is_read():
    assert parse_checksums(CHECKSUM_LISTS["two files"]) == {ISO: SUM, "xcp-ng-8.3.0-netinstall.iso": OTHER_SUM}


# The files that the real sha256sum is given; each has its name as its content.
NAMES = ["a", "b c", "sub/d", "x" * 255, "back\\slash", "line\nend", "return\r", "\udcff", "ümlaut", "#hash", " lead", "-", "*star"]
A = hashlib.sha256(b"a").hexdigest()


def of(name):
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def written(name, escaped=None, between="  ", start="", end="\n"):
    return (start + of(name) + between + (name if escaped is None else escaped) + end).encode("utf-8", "surrogateescape")


# Form -> the list, and the names that it vouches for.
FORMS = {
    "two spaces": (written("a"), ["a"]),
    "binary": (written("a", between=" *"), ["a"]),
    "one space": (written("a", between=" "), ["a"]),
    "a tab": (written("a", between="\t"), ["a"]),
    "upper case": (written("a").upper().replace(b"  A", b"  a"), ["a"]),
    "CRLF": (written("a", end="\r\n") + written("b c", end="\r\n"), ["a", "b c"]),
    "no end": (written("a", end=""), ["a"]),
    "blank lines": (b"\n" + written("a") + b"\n\n" + written("b c") + b"\n", ["a", "b c"]),
    "blank lines with CRLF": (b"\r\n" + written("a", end="\r\n") + b"\r\n", ["a"]),
    "comments": (b"# made on Monday\n" + written("a") + b"#" + written("b c"), ["a"]),
    "white space before": (written("a", start=" \t"), ["a"]),
    "./": (written("a", "./a") + written("sub/d", "./sub//d"), ["a", "sub/d"]),
    "a folder": (written("sub/d"), ["sub/d"]),
    "spaces": (written("b c") + written(" lead"), ["b c", " lead"]),
    "a star": (written("*star"), ["*star"]),
    "long": (written("x" * 255), ["x" * 255]),
    "a hash": (written("#hash"), ["#hash"]),
    "another script": (written("ümlaut"), ["ümlaut"]),
    "no UTF-8": (written("\udcff"), ["\udcff"]),
    "escaped": (written("back\\slash", "back\\\\slash", start="\\") + written("line\nend", "line\\nend", start="\\"),
                ["back\\slash", "line\nend"]),
    "--tag": ("SHA256 (a) = {}\n".format(A).encode(), ["a"]),
    "--tag with CRLF": ("SHA256 (a) = {}\r\n".format(A).encode(), ["a"]),
    "--tag with spaces": ("SHA256 (b c) = {}\n".format(of("b c")).encode(), ["b c"]),
    "openssl": ("SHA256(a)= {}\n".format(A).encode(), ["a"]),
    "other kinds, too": ("SHA256 (a) = {}\nMD5 (b c) = {}\n".format(A, A[:32]).encode(), ["a"]),
    "twice alike": (written("a") + written("a", between=" *"), ["a"]),
    "bad lines between": (b"?\n" + written("a") + b"0123  b c\n" + written("b c")[1:] + written("sub/d"), ["a", "sub/d"]),
    "63 and 65 digits": (written("a")[1:] + b"0" + written("a") + written("b c"), ["b c"]),
    "an MD5": (A[:32].encode() + b"  a\n" + written("b c"), ["b c"]),
    "a bad escape": (written("back\\slash", "back\\slash", start="\\") + written("a"), ["a"]),
    "a NUL": (written("b c", "b\0c") + written("a"), ["a"]),
    "clear-signed": (b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + written("a"), ["a"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    (place / "sub").mkdir()
    for name in NAMES:
        with open(os.fsencode(str(place / name)), "wb") as stream:
            stream.write(name.encode("utf-8", "surrogateescape"))
    return place


@pytest.mark.parametrize("form", sorted(FORMS))
def test_checksum_file_rule_1_a_list_is_read_as_sha256sum_reads_it(form, folder):
    raw, names = FORMS[form]
    assert parse_checksums(raw) == {name: of(name) for name in names}
    if not shutil.which("sha256sum"):
        return
    (folder / "LIST").write_bytes(raw)
    run = subprocess.run(["sha256sum", "--check", "LIST"], cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         env={"LC_ALL": "C", "PATH": os.environ["PATH"]})
    good = {row[:-4] for row in run.stdout.split(b"\n") if row.endswith(b": OK")}
    assert len(good) == len(names)  # under how many spellings


REAL_DIFFERENCES = {
    # What sha256sum takes and a mirror's list may not say: names outside the folder.
    "an absolute path": written("a", "/etc/passwd"), "a path upwards": written("a", "sub/../a"), "the folder above": written("a", ".."),
    "this folder": written("a", "."), "a folder": written("a", "sub/"), "root": written("a", "/"),
}


@pytest.mark.parametrize("name", sorted(REAL_DIFFERENCES))
def test_checksum_file_rule_2_a_name_that_leads_out_vouches_for_nothing_and_the_others_stand(name):
    assert parse_checksums(REAL_DIFFERENCES[name] + line()) == {ISO: SUM}


def test_checksum_file_rule_2_a_file_with_two_digests_has_none():
    for again in (line(digest=OTHER_SUM), line("./" + ISO, OTHER_SUM), line(digest=OTHER_SUM, between=" *")):
        sums = parse_checksums(line() + line("other") + again)
        assert sums == {"other": SUM}
        with pytest.raises(TrustError, match="with one digest"):
            find_checksum(sums, ISO)


@pytest.mark.parametrize("raw", [b"", b"\n", b"# comment\n", b"<!DOCTYPE html><html></html>", line("../x"), b"\0" * 100])
def test_a_list_that_names_nothing_is_malformed(raw):
    with pytest.raises(TrustError) as refused:
        parse_checksums(raw)
    assert refused.value.reference == "malformed"


def test_a_file_that_the_list_does_not_name_is_not_covered():
    for name in ("xcp-ng-8.2.iso", "", ISO.upper(), "./" + ISO, SUM):
        with pytest.raises(TrustError) as refused:
            find_checksum(parse_checksums(line()), name)
        assert refused.value.reference == "not-covered"


def test_a_list_of_1_mib_is_read_in_linear_time_and_a_byte_more_is_a_limit():
    full = b"".join(line(str(number)) for number in range(20000))[:MAX_SUMS_BYTES]
    started = process_time()
    assert len(full) == 1024 * 1024 and len(parse_checksums(full)) > 14000
    for hostile in (b"\\" * MAX_SUMS_BYTES, SUM.encode() + b"  " + b"/a" * 500000, b"SHA256 (" + b")" * 1000000, b"\n" * MAX_SUMS_BYTES):
        try:
            parse_checksums(hostile)
        except TrustError as error:
            assert error.reference == "malformed"
        is_checksum_list(hostile)
    assert process_time() - started < 20
    with pytest.raises(TrustError) as limit:
        parse_checksums(full + b"\n")
    assert (limit.value.reference, limit.value.exit_code) == ("unsupported", 3)


@pytest.mark.parametrize("head, is_list", [
    (b"# comment\r\n\r\n" + line(), True), (b"SHA256 (a) = " + SUM.encode() + b"\n", True), (b"MD5 (a) = 00\n", True),
    (b" \\" + line("a\\nb"), True), (line()[:40], False), (b"", False), (b"# comment\n", False), (b"[repo]\nbaseurl=x\n", False),
    (b"readme\n" + line(), False), (line("../a"), True),
])
def test_a_list_is_known_by_its_first_line(head, is_list):
    assert is_checksum_list(head) == is_list


def test_what_sha256sum_writes_is_read(folder):
    if not shutil.which("sha256sum"):
        pytest.skip("sha256sum is not installed")
    names = [name for name in NAMES if name != "-"]
    for mode in ("--text", "--binary", "--tag"):
        made = subprocess.run([b"sha256sum", mode.encode(), b"--"] + [os.fsencode(name) for name in names], cwd=str(folder),
                              stdout=subprocess.PIPE, check=True).stdout
        assert parse_checksums(made) == {name: of(name) for name in names}
