"""SHA256SUMS: what a signed list says, and what is refused even if it was signed."""
import hashlib
import shutil
import subprocess
from time import process_time

import pytest

from tests.support.documents import CHECKSUM_LISTS, ISO, OTHER_SUM, SUM, line
from yum_plugin.errors import TrustError
from yum_plugin.trust.checksum_file import MAX_FILES, MAX_SUMS_BYTES, find_checksum, parse_checksums


@pytest.mark.parametrize("name", sorted(CHECKSUM_LISTS))
def test_a_list_of_checksums_is_read(name):
    assert find_checksum(parse_checksums(CHECKSUM_LISTS[name]), ISO) == SUM


def test_every_file_is_read():
    assert parse_checksums(CHECKSUM_LISTS["two files"]) == {ISO: SUM, "xcp-ng-8.3.0-netinstall.iso": OTHER_SUM}


BAD = {
    "nothing": b"",
    "an empty line": b"\n",
    "an empty line at the end": line() + b"\n",
    "an empty line between": line() + b"\n" + line("other"),
    "an upper-case digest": line(digest=SUM.upper()),
    "63 digits": line(digest=SUM[1:]),
    "65 digits": line(digest=SUM + "0"),
    "an MD5": line(digest=SUM[:32]),
    "a SHA-512": line(digest=SUM * 2),
    "no digits": line(digest="g" * 64),
    "digits of another script": line(digest="\u0661" * 64),
    "one space": line(between=" "),
    "three spaces": line(between="   "),
    "a tab": line(between="\t"),
    "a space before": b" " + line(),
    "no name": line(""),
    "a space in the name": line("a b"),
    "a space after the name": line(ISO + " "),
    "Windows line ends": line(end="\r\n"),
    "an overlong name": line("x" * 256),
    "an absolute path": line("/etc/passwd"),
    "a path": line("8.3/" + ISO),
    "a path upwards": line("../" + ISO),
    "a backslash": line("..\\" + ISO),
    "an escaped name": b"\\" + line("a\\nb"),
    "this folder": line("."),
    "the folder above": line(".."),
    "a NUL": line(ISO + "\0"),
    "a control character": line("\x1b[2J"),
    "another script": line("xcp-ng\u202eosi.iso"),
    "no UTF-8": line() + SUM.encode() + b"  \xff\n",
    "the BSD form": "SHA256 ({}) = {}\n".format(ISO, SUM).encode(),
    "a comment": b"# checksums\n" + line(),
    "a clear-signed file": b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + line(),
    "a file twice": line() + line(),
    "a file twice, with two digests": line() + line(digest=OTHER_SUM),
    "a file twice, in two modes": line() + line(between=" *", digest=OTHER_SUM),
    "a page": b"<!DOCTYPE html><html></html>",
    "too large": b"".join(line("%0255d" % number) for number in range(MAX_SUMS_BYTES // 322 + 1)),
    "too many files": b"".join(line(str(number)) for number in range(MAX_FILES + 1)),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_list_that_is_not_exactly_one_is_refused(name):
    with pytest.raises(TrustError) as refused:
        parse_checksums(BAD[name])
    assert refused.value.reference == "malformed"


def test_the_message_names_the_line():
    with pytest.raises(TrustError, match="line 2 "):
        parse_checksums(line() + b"?\n" + line("other"))


def test_a_file_that_the_list_does_not_name_is_not_covered():
    for name in ("xcp-ng-8.2.iso", "", ISO.upper(), "./" + ISO, SUM):
        with pytest.raises(TrustError) as refused:
            find_checksum(parse_checksums(line()), name)
        assert refused.value.reference == "not-covered"


def test_as_many_files_as_allowed_are_read_in_linear_time():
    started = process_time()
    assert len(parse_checksums(b"".join(line(str(number)) for number in range(MAX_FILES)))) == MAX_FILES
    assert process_time() - started < 2


def test_a_list_of_1_mib_is_read_and_not_a_byte_more():
    full = b"".join(line("%0255d" % number) for number in range(3256)) + line("x" * 77)
    assert len(full) == 1024 * 1024 and len(parse_checksums(full)) == 3257
    with pytest.raises(TrustError, match="more than 1048576 bytes or 4096 files"):
        parse_checksums(full.replace(b"x\n", b"xx\n"))


def test_a_list_of_4096_files_is_read_and_not_one_more():
    assert len(parse_checksums(b"".join(line(str(number)) for number in range(4096)))) == 4096
    with pytest.raises(TrustError, match="4096 files"):
        parse_checksums(b"".join(line(str(number)) for number in range(4097)))


def test_what_sha256sum_writes_is_read(tmp_path):
    if not shutil.which("sha256sum"):
        pytest.skip("sha256sum is not installed")
    (tmp_path / ISO).write_bytes(b"an image")
    for mode in ("--text", "--binary"):
        written = subprocess.run(["sha256sum", mode, ISO], cwd=str(tmp_path), stdout=subprocess.PIPE, check=True).stdout
        assert parse_checksums(written) == {ISO: hashlib.sha256(b"an image").hexdigest()}
