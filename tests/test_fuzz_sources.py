"""Random and half-right input for every parser of mirror lists and settings: only the documented errors come out."""
import json
import os

import pytest
from hypothesis import given, strategies

from yum_plugin.errors import FetchError, UsageError
from yum_plugin.host.inifile import parse_ini
from yum_plugin.host.repofiles import read_repositories, replace_variables
from yum_plugin.host.repository_options import repository_from_request
from yum_plugin.host.settings import read_settings
from yum_plugin.model import Mirror, MirrorList, Repository, Snapshot
from yum_plugin.resolve.metalink_writer import render_metalink
from yum_plugin.sources import metalink, mirrorbits, plain
from yum_plugin.sources.collector import MAX_DROPPED, MAX_MIRRORS, merge
from yum_plugin.util.urls import clean_base_url

from .support.world import DEFAULTS

pytestmark = pytest.mark.fuzz

PATH = "8/repodata/repomd.xml"


def soup(*pieces):
    """Texts made of a format's own pieces, of addresses and of noise: far deeper into a parser than random bytes get."""
    address = ["https://a.example/", "http://b.example:80/", PATH, "/", "user:secret@", ".."]
    noise = ["\r\n", "\0", "é", "\ud800", "²", "9" * 30]
    piece = strategies.sampled_from(list(pieces) + address + noise) | strategies.text(max_size=8)
    return strategies.lists(piece, max_size=40).map("".join)


def encoded(texts):
    return texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | strategies.binary(max_size=200)


PAGES = soup(
    "<title>Mirrorlist x</title>", "<table>", "</table>", "<tr>", "</tr>", "<td>", "</td>", "<th>", "<th>URL", "<th>Country",
    "<th>Rank", "<th>Mirror Name", "<th>Exclude Reason", "<a href='https://a.example/" + PATH + "'>", "<a href='", "'>", "<p>",
    "SHA256", "f" * 64, "Warning: file not served by any mirror", "<script>", "</script>", "<!--", "-->", "<![CDATA[", "&#0;",
    "&#x110000;", "<a href>", "<",
)  # fmt: skip
LINKS = soup("<", ">", "<https://a.example/" + PATH + ">", "; rel=duplicate", "; pri=", "; geo=", ",", ", ", ";", "=", '"', "\\")
XML = soup(
    '<metalink xmlns="http://www.metalinker.org/"><files>', '<metalink xmlns="urn:ietf:params:xml:ns:metalink">', "</files>",
    '<file name="repomd.xml">', "</file>", "<resources>", "</resources>", '<url preference="', '<url priority="1" location="',
    '">', "<url>", "</url>", "</metalink>", "<hash type='sha256'>", "</hash>", "<verification>", "</verification>",
    "<!DOCTYPE x>", "&lt;", "&x;", "<?x?>", "<!---->",
)  # fmt: skip
LINES = soup("\n", "# ", " ", "\t")
INI = soup(
    "[main]", "[xcp-ng-x]", "\n", "=", ":", "#", ";", " ", "baseurl=", "gpgkey=file:///k", "enabled=", "deadline=", "$x", "${", "\ufeff"
)  # fmt: skip
NAMES = "FileInfo Path Sha256 MirrorList ExcludedList AbsoluteURL Name SponsorName CountryCodes ExcludeReason Fallback".split()
SCALARS = [strategies.none(), strategies.booleans(), strategies.floats(), strategies.integers(), strategies.text(max_size=20)]
KNOWN = strategies.sampled_from(["https://a.example/", "/" + PATH, "f" * 64, "file:///key", "_none_"])
VALUES = strategies.recursive(
    strategies.one_of(SCALARS + [KNOWN]),
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(strategies.sampled_from(NAMES), inner),
    max_leaves=20,
)
ANSWERS = strategies.fixed_dictionaries(
    {"FileInfo": strategies.just({"Path": "/" + PATH}) | VALUES, "MirrorList": VALUES, "ExcludedList": VALUES, "Fallback": VALUES}
)
REQUESTS = strategies.dictionaries(
    strategies.sampled_from("id base_urls gpgkeys proxy username password sslverify sslcacert ip_resolve".split()), VALUES
).map(lambda values: dict({"id": "xcp-ng-x", "base_urls": ["https://a.example/"], "gpgkeys": ["file:///key"]}, **values))


def check(found):
    """Hold a result to what every source promises."""
    assert isinstance(found, MirrorList) and len(found.mirrors) <= MAX_MIRRORS and len(found.dropped) <= MAX_DROPPED
    assert found.sha256 == "" or len(found.sha256) == 64
    for mirror in found.mirrors:
        assert clean_base_url(mirror.url) == mirror.url and "@" not in mirror.url
        assert (mirror.name + mirror.country + mirror.excluded).isprintable()
        assert (mirror.rank == 0) == bool(mirror.excluded)
    assert all(text.isprintable() and "secret@" not in text for text in found.dropped)
    assert len(merge([found, found]).mirrors) <= len(found.mirrors)


def attempt(parse, *arguments):
    try:
        check(parse(*arguments))
    except FetchError as refusal:
        assert refusal.reference == "bad-answer" and str(refusal).isprintable()


@given(encoded(PAGES))
def test_pages(body):
    attempt(mirrorbits.parse_list_page, body, PATH)


@given(encoded(ANSWERS.map(json.dumps) | VALUES.map(json.dumps) | soup("{", "[", '"', ":", ",", "NaN", "-", "}", "]", "\\u")))
def test_json(body):
    attempt(mirrorbits.parse_selection_json, body, PATH)


@given(LINES | strategies.just("https://m.example/" + PATH), strategies.lists(LINKS, max_size=5))
def test_redirects(location, links):
    attempt(mirrorbits.parse_redirect, location, links, PATH)


@given(encoded(LINES))
def test_plain_lists(body):
    attempt(plain.parse_mirrorlist, body, PATH)


@given(encoded(XML))
def test_metalinks(body):
    attempt(metalink.parse_metalink, body, PATH)


MIRRORS = strategies.lists(
    strategies.builds(
        Mirror, strategies.integers(0, 999).map("https://m{}.example/".format), strategies.text(), strategies.text("<>&'\"ABC")
    )
)


@given(MIRRORS)
def test_every_metalink_we_write_can_be_read_again(mirrors):
    found = metalink.parse_metalink(render_metalink(Snapshot("a" * 64, 1, 2, 3, 4), mirrors), "repodata/repomd.xml")
    assert [mirror.url for mirror in found.mirrors] == list(dict.fromkeys(mirror.url for mirror in mirrors))[:100]


@given(encoded(INI))
def test_ini_files(data):
    content = parse_ini(data)
    assert all(entry.section and entry.key and entry.line <= data.count(b"\n") + 1 for entry in content.entries)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@given(data=encoded(INI))
def test_conf_and_repo_files(folder, data):
    path = os.path.join(str(folder), "x.repo")
    with open(path, "wb") as stream:
        stream.write(data)
    settings, warnings = read_settings(path)[:2]
    assert len(settings) == len(DEFAULTS) and all(isinstance(warning, str) for warning in warnings)
    repositories, _ = read_repositories(str(folder), settings, {"x": "$x"}, include_disabled=True)
    assert all(repository.base_urls and repository.key_paths for repository in repositories)


@given(REQUESTS | VALUES)
def test_requests_of_a_plugin(values):
    try:
        repository = repository_from_request(values, DEFAULTS)
    except UsageError as refusal:
        assert refusal.reference == "configuration" and str(refusal).isprintable()
    else:
        assert isinstance(repository, Repository) and repository.network.ip_resolve in (0, 4, 6)


@given(INI, strategies.dictionaries(strategies.sampled_from("xyz"), strategies.text(max_size=5)))
def test_variables(text, variables):
    assert "$" in text or replace_variables(text, variables) == text
