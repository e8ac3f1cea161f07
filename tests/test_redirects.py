"""What a server of the admin's own may do that a mirror of a list may not; and what curl overlooks in an answer."""
import pytest

from tests.support.rawserver import RawServer, ok, says
from tests.support.waiting import LONG_SECONDS
from yum_plugin.errors import FetchError
from yum_plugin.model import Network, Reach
from yum_plugin.net.fetch import MAX_REDIRECTS, FetchLimits, HttpSession
from yum_plugin.net.reach import place_of
from yum_plugin.net.tls import make_contexts
from yum_plugin.util.urls import host_of

SMALL = FetchLimits(1000, LONG_SECONDS, LONG_SECONDS)


def own_place(url, redirectors=(), also=()):
    """The settings of a repository whose baseurl= is a URL, with a password."""
    hosts = tuple(host_of(each) for each in (url,) + tuple(also))
    return Network(proxy="", username="u", password="secret", reach=Reach((place_of(url),), hosts, redirectors))


def fetch(url, network, **options):
    with HttpSession(network, make_contexts(network), LONG_SECONDS) as client:
        return client.get(url, SMALL, **options)


def to(location, status=302):
    return says("HTTP/1.1 {} See\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".format(status, location).encode())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_the_admins_own_server_is_followed_as_librepo_does(status):
    with RawServer(says(ok(b"there"))) as target, RawServer(to(target.url + "x", status)) as first:
        found = fetch(first.url, own_place(first.url, also=[target.url]), headers={"Range": "bytes=0-9"})
        assert (found.status, found.body) == (200, b"there")
        assert b"Authorization: Basic" in first.heads[0] and b"Authorization" not in target.heads[0]
        assert b"Range: bytes=0-9" in target.heads[0]


@pytest.mark.parametrize("location", ["", "ftp://h.test/", "file:///etc/passwd", "https://u:p@h.test/", "http://h.test\x01/", "//"])
def test_a_redirect_that_is_not_followed_is_refused(location):
    with RawServer(to(location)) as server, pytest.raises(FetchError) as error:
        fetch(server.url, own_place(server.url))
    assert error.value.reference in ("redirect-refused", "bad-answer")


def test_a_loop_ends():
    with RawServer(to("/again")) as server:
        with pytest.raises(FetchError) as error:
            fetch(server.url, own_place(server.url))
        assert error.value.reference == "redirect-refused" and len(server.heads) == MAX_REDIRECTS + 1


def test_a_redirect_leads_nowhere_that_a_list_may_not_lead():
    with RawServer(says(ok(b"inside"))) as inside:
        with RawServer(to("http://localhost:{}/".format(inside.url.rstrip("/").rpartition(":")[2]))) as server:
            with pytest.raises(FetchError) as error:
                fetch(server.url, own_place(server.url))
        assert error.value.reference == "address-refused" and inside.heads == []


@pytest.mark.parametrize("network", [
    lambda url: Network(proxy=""), lambda url: Network(proxy="", reach=Reach((), (host_of(url),))),
    lambda url: own_place(url, redirectors=(host_of(url),))], ids=["typed", "of a list", "the redirector"])
def test_no_other_server_may_redirect(network):
    with RawServer(says(ok(b"there"))) as target, RawServer(to(target.url + "x")) as server:
        with pytest.raises(FetchError) as error:
            fetch(server.url, network(server.url))
        assert error.value.reference == "redirect-refused" and target.heads == []


@pytest.mark.parametrize("path, encoding, expected", [
    ("a.xml.gz", "x-gzip", b"raw"), ("a.xml.gz", "gzip", b"raw"), ("a.xml.gz?x=1", "GZIP", b"raw"),
    ("a.xml.gz", "br", "bad-answer"), ("a.xml", "gzip", "bad-answer"), ("repomd.xml.asc", "x-gzip", "bad-answer"),
])
def test_an_encoding_that_only_names_what_a_gz_file_is_changes_no_byte(path, encoding, expected):
    """Apache's AddEncoding x-gzip .gz."""
    with RawServer(says(ok(b"raw", "Content-Encoding: " + encoding))) as server:
        try:
            found = fetch(server.url + path, Network(proxy="")).body
        except FetchError as error:
            found = error.reference
    assert found == expected
