"""What the network may name: hosts, paths and ids that are used, and those that are not (CVE-2020-14352 and its kin)."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yum_plugin.util.urls import authority_of, clean_base_url, host_of, port_of, quoted_path, safe_path, safe_repository_id


@pytest.mark.parametrize("url", [
    "https://mirror.example/", "http://mirror.example/pub/xcp-ng/", "https://127.0.0.1:8443/", "https://[::1]:8443/a/",
    "https://xn--mnchen-3ya.example/", "https://mirror.example/a%20b/", "https://a_b.example/"])
def test_a_mirrors_base_url_is_kept_as_it_is(url):
    assert clean_base_url(url) == url


def test_a_missing_final_slash_is_added():
    assert clean_base_url("https://mirror.example/pub") == "https://mirror.example/pub/"


@pytest.mark.parametrize("url", [
    "", "/relative/", "//host/path/", "ftp://host/", "file:///etc/", "javascript:alert(1)", "https://", "https:///path/",
    "https://user@host/", "https://user:password@host/", "https://host:0/", "https://host:65536/", "https://host:1e3/",
    "https://ho st/", "https://host/a\r\nLocation: x/", "https://host/\t/", "https://host/?a=b", "https://host/#f", "https://host/a?",
    "https://h\u00f6st/", "https://host/../up/", "https://host/a/%2e%2e/b/", "https://host/a/%252e%252e/b/", "https://host/a\\b/",
    "https://..host/", "https://[::1/", "https://[zz]/", "https://host/" + "a" * 3000, "https://HTTPS///host/",
    "https://host:000001000000/", "https://host:00443/", "https://host:\xb2/", "https://host:/", "https://[::1]:/", "https://[::1]::80/",
    "https://[::1]80/"])
def test_a_text_that_is_no_base_url_is_refused(url):
    with pytest.raises(ValueError):
        clean_base_url(url)


@pytest.mark.parametrize("path", ["repodata/primary.xml.gz", "Packages/a/b-1.0~rc^1+x.rpm", "a%20b.rpm", "..a/b..", "a/...b"])
def test_a_path_inside_the_repository_is_kept_as_it_is(path):
    assert safe_path(path) == path


@pytest.mark.parametrize("path", [
    "", "/etc/passwd", "../x", "a/../b", "a/..", "a/./b", "a//b", "a/", "//host/x", "%2e%2e/x", "a/%2E%2e/b", "%252e%252e/x",
    "%25252e%25252e/x", "..%2fx", "a\\..\\b", "a%5cb", "a\x00b", "a%00b", "a\nb", "a%0ab", "http://host/x", "http:%2f%2fhost/x",
    "%ff", "a?b", "a#b", "a%3fb", "x" * 3000])
def test_cve_2020_14352_a_path_that_leaves_the_repository_or_hides_something_is_refused(path):
    with pytest.raises(ValueError):
        safe_path(path)


@pytest.mark.parametrize("name", ["xcp-ng-base", "a.b_c:d-1", "X"])
def test_a_repository_id_that_is_a_folder_name_is_kept(name):
    assert safe_repository_id(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "a b", "a\x00", "a\n", "\u00e9", "x" * 200])
def test_a_repository_id_that_is_no_folder_name_is_refused(name):
    with pytest.raises(ValueError):
        safe_repository_id(name)


@given(st.text())
def test_whatever_text_comes_the_answer_is_a_safe_value_or_a_value_error(text):
    for check in (clean_base_url, safe_path, safe_repository_id):
        try:
            assert ".." not in check(text).split("/")
        except ValueError:
            continue


def test_the_parts_of_a_url():
    assert [host_of("https://Host:8443/x"), authority_of("https://Host:8443/x")] == ["host", "host:8443"]
    assert [port_of(url) for url in ("http://h/", "https://h/", "https://h:1/", "https://[::1]/")] == [80, 443, 1, 443]


@pytest.mark.parametrize("path, escaped", [
    ("isos/a b.iso", "isos/a%20b.iso"), ("a+b~1:2@x.rpm", "a%2Bb~1:2@x.rpm"), ("a%20b", "a%20b"), ("a#b?c", "a%23b%3Fc"), ("\u00fc", "%C3%BC"),
    ("\udcff", "%FF"), ("a\nb", "a%0Ab"), ("back\\slash", "back%5Cslash"),
])  # fmt: skip
def test_the_path_of_a_file_is_escaped_for_a_request(path, escaped):
    assert quoted_path(path) == escaped
