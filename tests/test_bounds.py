"""Caps at their edge: what is exactly at the bound passes, and one more is refused."""
import pytest

from yum_plugin.errors import TrustError
from yum_plugin.trust import repomd
from yum_plugin.trust.hashing import STRONG_DIGESTS
from yum_plugin.util import urls
from yum_plugin.util.urls import clean_base_url, safe_path, safe_repository_id

# util/urls.py

LONGEST_IPV6 = "0000:0000:0000:0000:0000:ffff:192.168.100.228"


def padded_url(length):
    return "https://host.example/" + "a" * (length - len("https://host.example/") - 1) + "/"


def host_url(length):
    return "https://{}/".format("a" * length)


@pytest.mark.parametrize("make, bound, check", [
    pytest.param(padded_url, urls.MAX_URL_CHARACTERS, clean_base_url, id="characters of a base URL"),
    pytest.param(host_url, 253, clean_base_url, id="characters of a host name, RFC 1035"),
    pytest.param("https://host.example:{}/".format, 65535, clean_base_url, id="port"),
    pytest.param(lambda length: "https://[{}]/".format("0" * (length - 45) + LONGEST_IPV6), 45, clean_base_url, id="characters of an IPv6 address"),
    pytest.param(lambda length: "a" * length, urls.MAX_URL_CHARACTERS, safe_path, id="characters of a path"),
    pytest.param(lambda times: "a" + "%" + "25" * (times - 1) + "20b", urls.MAX_DECODING_ROUNDS - 1, safe_path, id="times encoded"),
    pytest.param(lambda length: "a" * length, 128, safe_repository_id, id="characters of a repository id"),
])
def test_the_upper_bounds_of_what_the_network_names(make, bound, check):
    assert check(make(bound)) == make(bound)
    with pytest.raises(ValueError):
        check(make(bound + 1))


@pytest.mark.parametrize("make, bound, check", [
    pytest.param(lambda length: "a" * length, 1, safe_path, id="characters of a path"),
    pytest.param(host_url, 1, clean_base_url, id="characters of a host name"),
    pytest.param("https://host.example:{}/".format, 1, clean_base_url, id="port"),
    pytest.param(lambda length: "https://[{}]/".format(":" * length), 2, clean_base_url, id="characters of an IPv6 address"),
    pytest.param(lambda length: "a" * length, 1, safe_repository_id, id="characters of a repository id"),
    pytest.param(lambda code: "a{}b".format(chr(code)), 32, safe_path, id="character of a path"),
    pytest.param(lambda code: "https://host/a{}b/".format(chr(code)), 33, clean_base_url, id="character of a base URL"),
])
def test_the_lower_bounds_of_what_the_network_names(make, bound, check):
    assert check(make(bound)) == make(bound)
    with pytest.raises(ValueError):
        check(make(bound - 1))


@pytest.mark.parametrize("make, check", [("a{}b".format, safe_path), ("https://host/a{}b/".format, clean_base_url)])
def test_the_last_printable_character_is_the_last_one_that_is_used(make, check):
    assert check(make("\x7e")) == make("\x7e")
    with pytest.raises(ValueError):
        check(make("\x7f"))


@pytest.mark.parametrize("port", ["065536", "0655350", "000000443", "4430000000"])
def test_a_port_of_more_than_five_digits_is_none(port):
    """Else the digits behind the fifth are not looked at, and 0655350 passes for 65535."""
    with pytest.raises(ValueError):
        clean_base_url("https://host.example:{}/".format(port))


# trust/repomd.py

STAMP = 1700000000
DIGEST = "ab" * 32
DATA = ('<data type="{type}"><checksum type="{checksum_type}">{checksum}</checksum><location href="{href}"/>'
        '<timestamp>{timestamp}</timestamp><size>{size}</size></data>')


def entry(**changes):
    values = dict(type="primary", checksum_type="sha256", checksum=DIGEST, href="a.xml.gz", timestamp=STAMP, size=1)
    return DATA.format(**dict(values, **changes))


def document(*entries, revision="1", more=""):
    text = '<repomd xmlns="{}"><revision>{}</revision>{}{}</repomd>'.format(
        repomd.NAMESPACE, revision, "".join(entries) or entry(), more)
    return text.encode("ascii")


def of_bytes(count):
    plain = document()
    return plain + b" " * (count - len(plain))


def of_elements(count):
    return document(more="<x/>" * (count - 2 - 5))  # besides the root, the revision, and the data with its four


def of_depth(count):
    return document(more="<x>" * (count - 1) + "</x>" * (count - 1))


def of_files(count):
    return document(*[entry(type="t{}".format(number)) for number in range(count)])


@pytest.mark.parametrize("make, bound", [
    pytest.param(of_bytes, repomd.MAX_REPOMD_BYTES, id="bytes"),
    pytest.param(of_elements, repomd.MAX_ELEMENTS, id="elements"),
    pytest.param(of_depth, repomd.MAX_DEPTH, id="depth"),
    pytest.param(of_files, repomd.MAX_FILES, id="files"),
    pytest.param(lambda length: document(entry(type="t" * length)), 64, id="characters of a type"),
    pytest.param(lambda stamp: document(entry(timestamp=stamp)), repomd.MAX_TIMESTAMP, id="timestamp"),
    pytest.param(lambda digits: document(entry(timestamp="1." + "5" * digits)), 9, id="digits of a fraction of a second"),
    pytest.param(lambda digits: document(entry(size="1" * digits)), 18, id="digits of a size"),
    pytest.param(lambda length: document(entry(href="a" * length)), urls.MAX_URL_CHARACTERS, id="characters of a path"),
    pytest.param(lambda digits: document(entry(checksum="a" * digits)), 64, id="digits of a checksum"),
    pytest.param(lambda count: document(entry(), entry(type="other"), *[entry(type="primary")] * (count - 1)), 1,
                 id="files of one type"),
])
def test_the_upper_bounds_of_a_repomd(make, bound):
    assert repomd.parse_repomd(make(bound)).timestamp
    with pytest.raises(TrustError):
        repomd.parse_repomd(make(bound + 1))


@pytest.mark.parametrize("make, bound", [
    pytest.param(lambda stamp: document(entry(timestamp=stamp)), 0, id="timestamp"),
    pytest.param(lambda length: document(entry(type="t" * length)), 1, id="characters of a type"),
    pytest.param(lambda length: document(entry(href="a" * length)), 1, id="characters of a path"),
    pytest.param(lambda digits: document(entry(timestamp="1." + "5" * digits)), 1, id="digits of a fraction of a second"),
])
def test_the_lower_bounds_of_a_repomd(make, bound):
    assert repomd.parse_repomd(make(bound)).files
    with pytest.raises(TrustError):
        repomd.parse_repomd(make(bound - 1))


@pytest.mark.parametrize("kind", sorted(STRONG_DIGESTS))
def test_a_checksum_has_exactly_its_digits(kind):
    digits = STRONG_DIGESTS[kind]
    for count in (digits - 1, digits, digits + 1):
        raw = document(entry(checksum_type=kind, checksum="a" * count))
        if count == digits:
            assert repomd.parse_repomd(raw).files[0].checksum_type == kind
        else:
            with pytest.raises(TrustError):
                repomd.parse_repomd(raw)


@pytest.mark.parametrize("digits, revision", [(18, int("9" * 18)), (19, 0)])
def test_a_revision_of_more_digits_than_any_counter_has_is_no_number(digits, revision):
    assert repomd.parse_repomd(document(revision="9" * digits)).revision == revision
