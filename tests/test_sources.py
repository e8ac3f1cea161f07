"""Where mirrors come from: every form of a redirector's answer, real captures and hostile ones."""
import json
import time
import tracemalloc

import pytest

from yum_plugin.errors import FetchError
from yum_plugin.model import Mirror, MirrorList
from yum_plugin.net.fetch import Response
from yum_plugin.net.translate import status_error
from yum_plugin.sources import metalink, mirrorbits, plain
from yum_plugin.sources.collector import MAX_DROPPED, MAX_MIRRORS, base_of, clean_country, clean_percent, merge
from yum_plugin.sources.list_forms import parse_list
from yum_plugin.sources.redirector import Timeouts, ask_digest, parse_digest

REPOSITORY = "8/8.3/updates/x86_64/"
PATH = REPOSITORY + "repodata/repomd.xml"
ORIGIN_PATH = "only/origin.txt"
DIGEST = "92b1fc7b34b24722c692f6abacf2a0dfc7b7f1bda4ac31f36351f324e30c5064"
SPONSOR = 'Université de "Düsseldorf" & <Söhne>'
LIMIT_SECONDS = 20  # far above what linear code needs for 2 MiB, far below what quadratic code needs
TWO_MIB = 2 * 1024 * 1024


def capture(folder, name):
    return (folder / "mirrorbits" / name).read_bytes()


def page(rows="", excluded="", head="<title>Mirrorlist /{}</title>".format(PATH), before=""):
    """Build a page as mirrorbits does, its unclosed <td> of the excluded rows included."""
    def table(names, lines):
        columns = "".join("<th>{}</th>".format(name) for name in names.split("|"))
        return "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>".format(columns, lines) if lines else ""

    tables = table("Rank|Mirror Name|URL|Country", rows) + table("Mirror Name|URL|Country|Exclude Reason", excluded)
    return "<html><head>{}</head><body>{}{}</body></html>".format(head, before, tables).encode("utf-8")


def row(base, rank=1, name="m", country="FR"):
    cells = "<tr><td>{}.</td><td>{}</td><td><a href='{}{}'>{}</a></td><td>{}</td></tr>"
    return cells.format(rank, name, base, PATH, base, country)


def selection(mirrors, excluded=None, **more):
    """Build mirrorbits' JSON; mirrors are AbsoluteURLs or whole entries."""
    lists = [
        values and [{"AbsoluteURL": value} if isinstance(value, str) else value for value in values] for values in (mirrors, excluded)
    ]
    answer = {"FileInfo": {"Path": "/" + PATH, "Sha256": DIGEST}, "MirrorList": lists[0], "ExcludedList": lists[1]}
    return json.dumps(dict(answer, **more)).encode("utf-8")


def links_document(urls, digest=DIGEST, name="repomd.xml"):
    """Build a metalink of version 3; urls are pairs of attributes and text."""
    lines = "".join("<url {}>{}</url>".format(attributes, text) for attributes, text in urls)
    text = """<metalink xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
        <files><file name="{}"><mm0:alternates><mm0:alternate><verification><hash type="sha256">{}</hash></verification>
        </mm0:alternate></mm0:alternates><size>1</size><verification><hash type="md5">00</hash><hash type="sha256">{}</hash>
        </verification><resources>{}</resources></file></files></metalink>"""
    return text.format(name, "f" * 64, digest, lines).encode("utf-8")


def urls(found):
    return [mirror.url for mirror in found.mirrors]


# The real thing


def test_the_list_page_names_every_mirror_in_rank_order(shared_data):
    found = mirrorbits.parse_list_page(capture(shared_data, "mirrorlist.html"), PATH)
    assert found.mirrors == (
        Mirror("https://127.0.1.5/pub/xcp-ng/", SPONSOR, "FR", "list-page", 1, weight=23),
        Mirror("https://127.0.1.7/pub/xcp-ng/", "Both schemes", "FR", "list-page", 2, weight=23),
        Mirror("https://127.0.1.8/pub/xcp-ng/", "Country only", "FR", "list-page", 3, weight=23),
        Mirror("http://127.0.1.1/", "Mirror 1", "FR", "list-page", 4, weight=23),
        Mirror("http://127.0.1.2/", "Mirror 2", "DE", "list-page", 5, weight=7),
        Mirror("http://127.0.1.3/", "Mirror 3", "US", "list-page", 6),
        Mirror("http://127.0.1.4/", "Mirror 4", "GB", "list-page", 0, "File size mismatch"),
        Mirror("https://127.0.1.9/pub/xcp-ng/", "Nobody listens", "FR", "list-page", 0, "Not HTTP / Unreachable"),
    )
    assert found.sha256 == DIGEST and found.dropped == ()


def test_the_https_list_page_names_the_excluded_mirrors(shared_data):
    found = mirrorbits.parse_list_page(capture(shared_data, "mirrorlist-https.html"), PATH)
    assert [mirror.rank for mirror in found.mirrors] == [1, 2, 3, 0, 0, 0, 0, 0]
    assert [mirror.excluded for mirror in found.mirrors[3:]] == ["Not HTTPS"] * 4 + ["Unreachable"]


@pytest.mark.parametrize(
    "name, parse",
    [("mirrorlist-fallback.html", mirrorbits.parse_list_page), ("fallback.json", mirrorbits.parse_selection_json)],
)
def test_fallbacks_of_the_redirector_are_the_origin(shared_data, name, parse):
    found = parse(capture(shared_data, name), ORIGIN_PATH)
    assert found.mirrors == (Mirror("http://127.0.0.1:17081/", "fallback0", "FR", "origin", 1),)
    assert found.sha256.startswith("2d711642")


def test_the_json_selection_keeps_its_order_and_its_exclusions(shared_data):
    found = mirrorbits.parse_selection_json(capture(shared_data, "selection.json"), PATH)
    assert [(mirror.url, mirror.rank, mirror.excluded) for mirror in found.mirrors] == [
        ("https://127.0.1.5/pub/xcp-ng/", 1, ""),
        ("http://127.0.1.1/", 2, ""),
        ("https://127.0.1.7/pub/xcp-ng/", 3, ""),  # its HttpURL has no scheme, its AbsoluteURL has
        ("https://127.0.1.8/pub/xcp-ng/", 4, ""),
        ("http://127.0.1.2/", 5, ""),
        ("http://127.0.1.4/", 0, "File size mismatch"),
        ("https://127.0.1.9/pub/xcp-ng/", 0, "Not HTTP / Unreachable"),
    ]
    assert found.mirrors[0] == Mirror("https://127.0.1.5/pub/xcp-ng/", SPONSOR, "FR", "json", 1)
    assert found.mirrors[4].country == "DE" and found.sha256 == DIGEST


def headers(folder, name):
    lines = [line.split(": ", 1) for line in capture(folder, name).decode("ascii").splitlines() if ": " in line]
    return [[value for key, value in lines if key == wanted] for wanted in ("Location", "Link")]


@pytest.mark.parametrize(
    "name, hosts",
    [
        ("redirect.txt", ["http://127.0.1.1/", "https 8", "https 7", "https 5", "http://127.0.1.2/"]),
        ("redirect-https.txt", ["https 7", "https 8", "https 5"]),
    ],
)
def test_the_redirect_gives_location_first_then_its_links(shared_data, name, hosts):
    (location,), links = headers(shared_data, name)
    expected = ["https://127.0.1.{}/pub/xcp-ng/".format(host[-1]) if host.startswith("https ") else host for host in hosts]
    found = mirrorbits.parse_redirect(location, links, PATH)
    assert urls(found) == expected
    assert found.mirrors[0].country == "" and found.mirrors[1].country == "FR"
    assert mirrorbits.parse_redirect(location, [", ".join(links)], PATH) == found


@pytest.mark.parametrize("body, digest", [
    (DIGEST.encode() + b"  repomd.xml", DIGEST),  # mirrorbits
    (DIGEST.encode(), DIGEST), (DIGEST.encode() + b"\n", DIGEST), (DIGEST.upper().encode() + b" *repomd.xml\r\n", DIGEST),
    (b"", ""), (DIGEST[1:].encode(), ""), (DIGEST.encode() + b"0", ""), (DIGEST.encode() + b"  two words", ""), (b" " + DIGEST.encode(), ""),
    (DIGEST.encode() + b"\n\n", ""), (DIGEST.encode() + b"  a\n" + DIGEST.encode(), ""), (b"<html>" + DIGEST.encode(), ""),
    (("\u0661" * 64).encode(), ""), (b"N/A", ""), (b"Hash type not supported\n", ""), (b"g" * 64, ""), (DIGEST.encode() + b"\0", "")])
def test_the_answer_to_sha256_is_a_line_as_sha256sum_writes_it_or_none(body, digest):
    assert parse_digest(body) == digest


class Answers:
    """A session that gives its answers in order: a status and a body, or an error's reference."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def get(self, url, limits, headers=None, accept=(200,)):
        self.asked.append(url)
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise FetchError(answer, "as told")
        if answer[0] not in accept:
            raise status_error(answer[0], url)
        if len(answer[1]) > limits.max_bytes:
            raise FetchError("too-large", "as told")
        return Response(answer[0], {}, (), answer[1], 0.0, 0.0)


@pytest.mark.parametrize("answers, digest, requests", [
    ([(200, DIGEST.encode())], DIGEST, 1), (["unreachable", (200, DIGEST.encode())], DIGEST, 2), (["tls-expired", (200, b"x")], "", 2),
    ([(302, b"")], "", 1), ([(404, b"404 page not found")], "", 1), ([(200, b"<html>" * 999)], "", 1), ([(404, b"x" * 999)], "", 1),
    (["bad-answer"], "", 1), (["timed-out", "unreachable"], None, 2), ([(503, b""), (503, b"")], None, 2)])
def test_a_redirector_that_does_not_know_the_digest_alone_is_asked_once(answers, digest, requests):
    session = Answers(*answers)
    try:
        found = ask_digest(session, ("https://r.test/", "http://r.test/"), PATH, Timeouts(1, 1))
    except FetchError:
        found = None
    assert (found, len(session.asked)) == (digest, requests)
    assert session.asked[0] == "https://r.test/" + PATH + "?sha256"


def test_the_three_forms_merge_to_the_complete_list(shared_data):
    complete = mirrorbits.parse_list_page(capture(shared_data, "mirrorlist.html"), PATH)
    chosen = mirrorbits.parse_selection_json(capture(shared_data, "selection.json"), PATH)
    (location,), links = headers(shared_data, "redirect.txt")
    assert merge([complete, chosen, mirrorbits.parse_redirect(location, links, PATH)]) == complete


def test_the_statistics_page_is_no_mirror_list(shared_data):
    with pytest.raises(FetchError) as refusal:
        mirrorbits.parse_list_page(capture(shared_data, "mirrorstats.html"), PATH)
    assert refusal.value.reference == "bad-answer"


# Pages


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"<",
        b"<!--",
        b"not html",
        b"\xff\xfe\x00<",
        b"<html><head><title>Welcome to Hotel WiFi</title></head><body><table><tr><td>URL</td></tr></table></body></html>",
        b"<html><body>Please <a href='https://m.example/" + PATH.encode() + b"'>log in</a></body></html>",
        b'{"MirrorList": []}',
        b"https://m.example/\n",
    ],
)
def test_a_captive_portal_is_no_mirror_list(body):
    with pytest.raises(FetchError) as refusal:
        mirrorbits.parse_list_page(body, PATH)
    assert refusal.value.reference == "bad-answer" and refusal.value.where == PATH


def test_an_empty_list_is_believed_on_a_page_that_is_recognisably_one():
    assert mirrorbits.parse_list_page(page(before="<h3>Mirrors</h3>"), PATH) == MirrorList(())


def test_columns_are_found_by_their_names_whatever_their_order():
    table = "<table><tr><th>URL</th><th>More</th><th>Country</th><th>Mirror Name</th></tr><tr><td><a href='https://a.example/{}'>x</a></td>"
    body = table.format(PATH) + "<td>?</td><td>it</td><td><p>Ay</p></td></tr></table>"
    assert mirrorbits.parse_list_page(body.encode(), PATH).mirrors == (Mirror("https://a.example/", "Ay", "IT", "list-page", 1),)


def test_rows_are_ordered_by_their_rank_and_numbers_that_are_none_do_no_harm():
    ranks = [("c", 3), ("a", 1), ("x", "²"), ("b", 2), ("y", "9" * 5000)]
    rows = "".join(row("https://{}.example/".format(name), rank) for name, rank in ranks)
    found = mirrorbits.parse_list_page(page(rows), PATH)
    assert urls(found)[:3] == ["https://a.example/", "https://b.example/", "https://c.example/"]
    assert len(found.mirrors) == 5


def test_a_mirror_that_is_named_twice_counts_once():
    rows = row("https://a.example/", 2, "first") + row("https://a.example/", 1, "again")
    assert [mirror.name for mirror in mirrorbits.parse_list_page(page(rows), PATH).mirrors] == ["first"]


def test_a_nul_byte_does_not_end_the_page():
    rows = row("https://a.example/", 1, "a\0b") + row("https://b.example/", 2)
    assert urls(mirrorbits.parse_list_page(page(rows, before="\0"), PATH)) == ["https://a.example/", "https://b.example/"]


def test_a_page_of_another_file_gives_no_mirror_and_says_why():
    found = mirrorbits.parse_list_page(page(row("https://a.example/")), "8/8.3/base/x86_64/repodata/repomd.xml")
    assert found.mirrors == () and "not the file that was asked for" in found.dropped[0]


@pytest.mark.parametrize(
    "digest, expected", [("N/A", ""), (DIGEST.upper(), DIGEST), ("zz" * 32, ""), (DIGEST + "0", ""), ("", "")]
)
def test_the_hash_is_taken_only_if_it_is_one(digest, expected):
    table = "<table class='alt'><tr><td>MD5</td><td>N/A</td></tr><tr><td>SHA256</td><td>{}</td></tr></table>".format(digest)
    assert mirrorbits.parse_list_page(page(before=table), PATH).sha256 == expected
    body = selection([], FileInfo={"Path": "/" + PATH, "Sha256": digest})
    assert mirrorbits.parse_selection_json(body, PATH).sha256 == expected


def test_an_exclusion_without_a_reason_stays_an_exclusion():
    gone = "<tr><td>gone<td><a href='https://gone.example/'>x</a></td><td>FR</td><td></td></tr>"
    assert mirrorbits.parse_list_page(page(excluded=gone), PATH).mirrors[0].excluded == "excluded"
    assert mirrorbits.parse_selection_json(selection([], ["https://gone.example/"]), PATH).mirrors[0].excluded == "excluded"


def test_excluded_mirrors_beside_fallbacks_are_not_the_origin():
    warning = "<p>Warning: file not served by any mirror, fallbacks to the rescue.</p>"
    gone = "<tr><td>gone<td><a href='https://gone.example/'>x</a></td><td>FR</td><td>Down</td></tr>"
    found = mirrorbits.parse_list_page(page(row("https://a.example/"), gone, before=warning), PATH)
    assert [mirror.source for mirror in found.mirrors] == ["origin", "list-page"]


def test_words_of_strangers_are_made_printable_and_short():
    body = page(row("https://a.example/", name="\u202e[31m" + "long" * 1000))
    name = mirrorbits.parse_list_page(body, PATH).mirrors[0].name
    assert name.isprintable() and len(name) <= 100 and name.startswith("?[31mlong")


# Addresses that are not used, whichever source names them

BAD_BASES = [
    "ftp://a.example/",
    "javascript:alert(1)//",
    "file:///",
    "//a.example/",
    "/",
    "https:///",
    "https://user:secret@a.example/",
    "https://a.example:0/",
    "https://a.example:99999/",
    "https://a.example/../",
    "https://a.example/%2e%2e/",
    "https://bücher.example/",
    "https://a.example/x?y=/",
    "https://a.example/#/",
    "https://a.example\\b/",
    "https://a.example/\u2028/",
    "https://" + "a" * 3000 + ".example/",
]


@pytest.mark.parametrize("base", BAD_BASES)
def test_a_url_that_is_no_plain_http_url_is_dropped_with_a_reason(base):
    good = "https://good.example/"
    link = '<{}{}>; rel=duplicate; pri=1'.format(base, PATH)
    answers = [
        mirrorbits.parse_list_page(page(row(base) + row(good, 2)), PATH),
        mirrorbits.parse_selection_json(selection([base, good]), PATH),
        plain.parse_mirrorlist("{}{}\n{}{}\n".format(base, REPOSITORY, good, REPOSITORY).encode("utf-8"), PATH),
        metalink.parse_metalink(links_document([("", base + PATH), ("", good + PATH)]), PATH),
    ]
    if link.isprintable():
        answers.append(mirrorbits.parse_redirect(good + PATH, [link], PATH))
    for found in answers:
        assert urls(found) == [good]
        assert len(found.dropped) == 1 and found.dropped[0].isprintable() and "secret" not in found.dropped[0]


@pytest.mark.parametrize("url", ["https://a.example/x" + PATH, "https://a.example/" + PATH + "?x", PATH, "", "https://a.example/"])
def test_a_link_that_is_not_the_file_names_no_mirror(url):
    with pytest.raises(ValueError):
        base_of(url, PATH)


@pytest.mark.parametrize(
    "text, code", [("fr", "FR"), ("DE AT", "DE"), ("de,at", "DE"), ("", ""), ("FRA", ""), ("1a", ""), ("ßß", ""), (" ", "")]
)
def test_countries_are_iso_codes_or_unknown(text, code):
    assert clean_country(text) == code


# JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b"<html>",
        b"{" * 100000,
        b"[" * 1000000,
        b'{"a":' * 400000,
        b'{"MirrorList": []}',
        selection(["https://a.example/"], FileInfo={"Path": "/another/file"}),
        selection(["https://a.example/"], FileInfo=[]),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_json_that_is_not_about_the_mirrors_of_this_file_is_a_bad_answer(body):
    with pytest.raises(FetchError) as refusal:
        mirrorbits.parse_selection_json(body, PATH)
    assert refusal.value.reference == "bad-answer"


@pytest.mark.parametrize("mirrors", [None, {}, "https://a.example/", 7, float("nan"), [None, [], 1, "x", {}, {"AbsoluteURL": 5}]])
def test_json_of_wrong_types_names_no_mirror(mirrors):
    body = json.dumps({"FileInfo": {"Path": "/" + PATH, "Size": float("inf")}, "MirrorList": mirrors, "ExcludedList": mirrors})
    assert mirrorbits.parse_selection_json(body.encode(), PATH).mirrors == ()


def test_a_number_of_5000_digits_does_no_harm():
    body = selection([]).replace(b'"MirrorList": []', b'"MirrorList": ' + b"9" * 5000)
    assert mirrorbits.parse_selection_json(body, PATH).sha256 == DIGEST


def test_json_names_that_are_half_a_character_do_not_break_the_log():
    body = selection([{"AbsoluteURL": "https://a.example/", "Name": "x\ud800", "CountryCodes": 1, "SponsorName": None}])
    found = mirrorbits.parse_selection_json(body, PATH).mirrors[0]
    assert found.name.encode("utf-8") == b"x?" and found.country == ""


# Headers


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\0", "\x85", "\u2028"])
def test_line_breaks_in_redirect_headers_are_refused_cve_2019_3462(break_):
    for location, links in [
        ("https://a.example/{}{}X: y".format(PATH, break_), []),
        ("https://a.example/" + PATH, ["<https://b.example/{}>; rel=duplicate{}".format(PATH, break_)]),
    ]:
        with pytest.raises(FetchError) as refusal:
            mirrorbits.parse_redirect(location, links, PATH)
        assert refusal.value.reference == "bad-answer"


@pytest.mark.parametrize("location", ["", "https://portal.example/login", "/" + PATH, "https://a.example/" + "x" * 70000])
def test_a_redirect_to_somewhere_else_is_a_bad_answer(location):
    with pytest.raises(FetchError):
        mirrorbits.parse_redirect(location, ["<https://b.example/{}>; rel=next".format(PATH)], PATH)


def test_links_count_only_as_duplicates_and_by_their_priority():
    links = [
        '<https://c.example/{}>; REL="Duplicate"; pri=30; geo=us, <https://b.example/{}>; rel=duplicate; pri=2'.format(PATH, PATH),
        "<https://sig.example/{}>; rel=describedby, <https://last.example/{}>; rel=duplicate; pri=²".format(PATH, PATH),
        "<https://long.example/{}>; rel=duplicate; pri={}".format(PATH, "9" * 10000),
        "<https://broken.example/{}; rel=duplicate, <<>>;;==, ;".format(PATH),
    ]
    found = mirrorbits.parse_redirect("https://a.example/" + PATH, links, PATH)
    assert urls(found)[:5] == ["https://{}.example/".format(name) for name in ("a", "b", "c", "last", "long")]
    assert "https://sig.example/" not in urls(found)


def test_at_most_64_links_are_read():
    links = ["<https://m{}.example/{}>; rel=duplicate".format(number, PATH) for number in range(300)]
    assert len(mirrorbits.parse_redirect("https://a.example/" + PATH, links, PATH).mirrors) == 1 + mirrorbits.MAX_LINKS


# Plain text and metalinks


def test_a_plain_mirrorlist_names_repository_bases_below_the_roots_of_mirrors():
    body = "# comment\r\n\r\nhttps://a.example/{0}\r\n  http://b.example/pub/{1} \n# https://c.example/{0}\n"
    found = plain.parse_mirrorlist(body.format(REPOSITORY, REPOSITORY.rstrip("/")).encode(), PATH)
    assert urls(found) == ["https://a.example/", "http://b.example/pub/"]
    assert [mirror.rank for mirror in found.mirrors] == [1, 2]


def test_a_line_that_names_the_file_stands_for_its_base():
    assert urls(plain.parse_mirrorlist(("https://a.example/pub/" + PATH).encode(), PATH)) == ["https://a.example/pub/"]
    assert urls(plain.parse_mirrorlist(b"https://a.example/isos/8.3/", "isos/8.3/a.iso")) == ["https://a.example/"]


def test_a_base_that_does_not_end_in_the_repositorys_path_is_dropped_with_a_reason():
    found = plain.parse_mirrorlist("https://a.example/other/\nhttps://b.example/{}".format(REPOSITORY).encode(), PATH)
    assert urls(found) == ["https://b.example/"]
    assert found.dropped == ("https://a.example/other/repodata/repomd.xml: not the file that was asked for",)


@pytest.mark.parametrize("body", [b"", b"# nothing\n", b"<html><body>log in</body></html>", b"\0" * 5000, b"ftp://a.example/\n"])
def test_text_without_any_address_is_a_bad_answer(body):
    with pytest.raises(FetchError) as refusal:
        plain.parse_mirrorlist(body, PATH)
    assert refusal.value.reference == "bad-answer"


def test_a_version_3_metalink_is_ordered_by_preference():
    found = metalink.parse_metalink(
        links_document(
            [
                ('preference="9" location="us"', "https://c.example/" + PATH),
                ("", "https://last.example/" + PATH),
                ('preference="100" location="fr"', "https://a.example/pub/" + PATH),
                ('preference="98"', "rsync://r.example/" + PATH),
                ('preference="10"', "http://b.example/" + PATH),
            ]
        ),
        PATH,
    )
    assert found.mirrors[0] == Mirror("https://a.example/pub/", "", "FR", "metalink", 1)
    assert urls(found) == ["https://a.example/pub/", "http://b.example/", "https://c.example/", "https://last.example/"]
    assert found.sha256 == DIGEST  # not that of the alternate, which stands before it
    assert len(found.dropped) == 1


def test_an_rfc_5854_metalink_is_ordered_by_priority():
    document = """<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="other"><url>https://x.example/{0}</url>
    </file><file name="repomd.xml"><hash type="sha-1">00</hash><hash type="sha-256">{1}</hash>
    <url priority="2" location="de"> https://b.example/{0}
    </url><url priority="1">https://a.example/{0}</url><metaurl mediatype="torrent">https://t.example/{0}</metaurl></file></metalink>"""
    found = metalink.parse_metalink(document.format(PATH, DIGEST).encode(), PATH)
    assert urls(found) == ["https://a.example/", "https://b.example/"] and found.sha256 == DIGEST


BOMB = '<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa">' + "".join(
    '<!ENTITY {} "{}">'.format(chr(98 + level), "&{};".format(chr(97 + level)) * 10) for level in range(9)
) + "]><m>&j;</m>"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"<metalink/>",
        b"<html><title>log in</title></html>",
        BOMB.encode(),
        BOMB.encode("utf-16"),
        b'<!DOCTYPE m SYSTEM "file:///etc/passwd">' + links_document([]),
        ("<!DOCTYPE metalink>" + links_document([]).decode()).encode("utf-16"),
        b"<a>" * 5000 + b"</a>" * 5000,
        b"<a>" * 500000,
        b"<a " + b" ".join(b"x%d='%d'" % (number, number) for number in range(100000)) + b"/>",
        links_document([], name="primary.xml.gz"),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_xml_bombs_and_other_xml_are_a_bad_answer(body):
    with pytest.raises(FetchError) as refusal:
        metalink.parse_metalink(body, PATH)
    assert refusal.value.reference == "bad-answer"


# Too much


def many(number):
    return "https://m{}.example/".format(number)


MANY = range(12000)


@pytest.mark.parametrize(
    "parse, body",
    [
        (mirrorbits.parse_list_page, page("".join(row(many(number), number) for number in MANY))),
        (mirrorbits.parse_selection_json, selection([many(number) for number in MANY])),
        (plain.parse_mirrorlist, "\n".join(many(number) + REPOSITORY for number in MANY).encode()),
        (metalink.parse_metalink, links_document([("", many(number) + PATH) for number in range(5000)])),
    ],
    ids=["page", "json", "plain", "metalink"],
)
def test_of_a_list_without_end_256_mirrors_are_taken(parse, body):
    found = parse(body, PATH)
    assert len(found.mirrors) == MAX_MIRRORS and urls(found)[0] == "https://m0.example/"
    assert 0 < len(found.dropped) <= MAX_DROPPED


def filled(begin, piece, end=b"", size=TWO_MIB):
    return begin + piece * ((size - len(begin) - len(end)) // len(piece)) + end


def attributes(size):
    return b" ".join(b"a%x" % number for number in range(size // 6))


TITLE = b"<title>Mirrorlist x</title>"
HEAVY_PAGES = [
    filled(TITLE + b"<table>", b"<tr><td>a"),
    filled(TITLE + b"<table>", b"<tr><td>"),
    filled(TITLE + b"<table>", b"<table><tr><th>url<th>country<td>"),
    filled(TITLE, b"<div>"),
    filled(TITLE, b"<b><i>"),
    filled(TITLE + b"<i>" * 200, b"</x>"),
    filled(TITLE, b"<"),
    filled(TITLE, b"&a"),
    filled(TITLE, b"<!--"),
    filled(TITLE, b"<p><td><th>"),
    filled(TITLE + b"<table><tr><td>", b"<a href=x>y"),
    filled(TITLE + b"<script>", b"</"),
    filled(TITLE + b"<script>", b"<!--", b"</script>"),
    filled(TITLE + b"<td>", b"x"),
    filled(TITLE, b"\xff"),
    TITLE + b"<a " + attributes(TWO_MIB) + b">",  # quadratic in libxml2 itself
    TITLE + (b"<a " + attributes(60000) + b">") * 34,
    TITLE + b"<a " + attributes(TWO_MIB).replace(b" ", b"='>' ") + b">",
    TITLE + b"</a " + attributes(TWO_MIB) + b">",
]


@pytest.mark.parametrize("body", HEAVY_PAGES, ids=lambda body: repr(body[len(TITLE) : len(TITLE) + 24]))
def test_two_mib_of_anything_takes_linear_time_in_the_page_reader(body):
    begin = time.process_time()
    try:
        mirrorbits.parse_list_page(body, PATH)
    except FetchError as refusal:
        assert refusal.reference == "bad-answer"
    assert time.process_time() - begin < LIMIT_SECONDS


def test_of_a_million_rows_only_the_first_are_read():
    body = page("<tr><td>1.<td>x<td>y</tr>" * 1000000)
    begin = time.process_time()
    assert mirrorbits.parse_list_page(body, PATH).mirrors == ()
    assert time.process_time() - begin < LIMIT_SECONDS / 4


@pytest.mark.parametrize("piece", [b"<td>x", b"<th>x", b"<tr><td>x", b"<b>", b"<td><a href=x>"])
def test_two_mib_of_anything_take_little_memory(piece):
    body = filled(TITLE + b"<table><tr>", piece)
    tracemalloc.start()
    try:
        assert mirrorbits.parse_list_page(body, PATH).mirrors == ()
        assert tracemalloc.get_traced_memory()[1] < 5 * TWO_MIB
    finally:
        tracemalloc.stop()


def test_an_inline_script_and_picture_as_large_as_real_ones_are_no_attack():
    head = TITLE.decode() + "<script>{}</script><style>{}</style>".format("var x = [1 < 2];\n" * 20000, "p {}\n" * 20000)
    picture = "<img src='data:image/png;base64,{}'>".format("AAAA" * 8000)
    assert len(mirrorbits.parse_list_page(page(row("https://a.example/"), head=head, before=picture), PATH).mirrors) == 1


SELECTION = b'{"FileInfo":{"Path":"/' + PATH.encode() + b'"},"MirrorList":%s}'


@pytest.mark.parametrize(
    "parse, body",
    [
        (mirrorbits.parse_selection_json, SELECTION % (b"9" * TWO_MIB)),
        (mirrorbits.parse_selection_json, SELECTION % (b"[" + b"[]," * 700000 + b"1]")),
        (mirrorbits.parse_selection_json, SELECTION % (b'[{"AbsoluteURL":"' + b"h" * TWO_MIB + b'"}]')),
        (plain.parse_mirrorlist, b"\n" * TWO_MIB),
        (plain.parse_mirrorlist, b" " * TWO_MIB),
        (plain.parse_mirrorlist, b"http://a" * (TWO_MIB // 8)),
        (metalink.parse_metalink, b"<a>" + b"&lt;" * (TWO_MIB // 4) + b"</a>"),
        (metalink.parse_metalink, links_document([("", "x" * TWO_MIB)])),
        (lambda body, path: mirrorbits.parse_redirect("", [body.decode()], path), b"<>," * 21000),
        (lambda body, path: mirrorbits.parse_redirect("", [body.decode()], path), b", " * 32000),
        (lambda body, path: mirrorbits.parse_redirect("", [body.decode()], path), b"<x>" + b";" * 65000),
        (lambda body, path: mirrorbits.parse_redirect("", [body.decode()], path), b"," + b" " * 65000),
    ],
    ids="number lists address lines spaces line entities url links commas semicolons blanks".split(),
)
def test_huge_values_take_linear_time(parse, body):
    begin = time.process_time()
    try:
        assert parse(body, PATH).mirrors == ()
    except FetchError as refusal:
        assert refusal.reference == "bad-answer"
    assert time.process_time() - begin < LIMIT_SECONDS


# Merging


def test_merging_keeps_the_first_order_and_numbers_anew():
    listed = (Mirror("https://a/", "A", "", "list-page", 3), Mirror("https://b/", "", "", "list-page", 9))
    selected = (Mirror("https://c/", "", "", "json", 1), Mirror("https://b/", "B", "DE", "json", 2))
    lists = [MirrorList(listed, "", ("x: why",)), MirrorList(selected, DIGEST, ("y: why",)), MirrorList((), "f" * 64)]
    assert merge(lists) == MirrorList(
        (
            Mirror("https://a/", "A", "", "list-page", 1),
            Mirror("https://b/", "B", "DE", "list-page", 2),
            Mirror("https://c/", "", "", "json", 3),
        ),
        DIGEST,
        ("x: why", "y: why"),
    )


@pytest.mark.parametrize(
    "first, second, kept",
    [
        ("http://a.example/x/", "https://a.example/x/", "https://a.example/x/"),
        ("https://a.example/x/", "http://a.example/x/", "https://a.example/x/"),
        ("http://A.example:80/x/", "https://a.example:443/x/", "https://a.example:443/x/"),
        ("http://a.example/x/", "http://a.example:80/x/", "http://a.example/x/"),
    ],
)
def test_of_http_and_https_twins_https_is_kept(first, second, kept):
    assert urls(merge([MirrorList((Mirror(first),)), MirrorList((Mirror(second),))])) == [kept]


@pytest.mark.parametrize(
    "first, second",
    [
        ("http://a.example/x/", "https://a.example/y/"),
        ("http://a.example:8080/", "https://a.example:8443/"),
        ("http://a.example:443/", "https://a.example/"),
        ("https://a.example/x/", "https://a.example/X/"),
    ],
)
def test_other_ports_and_paths_are_other_mirrors(first, second):
    assert len(merge([MirrorList((Mirror(first), Mirror(second)))]).mirrors) == 2


def test_the_first_list_decides_which_mirrors_are_excluded():
    complete = MirrorList((Mirror("https://a/", rank=1), Mirror("https://b/", excluded="Down")))
    others = (Mirror("https://a/", excluded="Down"), Mirror("https://c/", excluded="Old"))
    selected = MirrorList((Mirror("https://b/", rank=1),) + others)
    assert [(mirror.url, mirror.rank, mirror.excluded) for mirror in merge([complete, selected]).mirrors] == [
        ("https://a/", 1, ""),
        ("https://b/", 0, "Down"),
        ("https://c/", 0, "Old"),
    ]


def test_merging_keeps_no_more_reasons_than_one_list_may_have():
    assert len(merge([MirrorList((), "", ("x: why",) * MAX_DROPPED)] * 3).dropped) == MAX_DROPPED


def test_merging_nothing_gives_nothing():
    assert merge([]) == MirrorList(())


# Whatever the server gives


@pytest.mark.parametrize("body, source", [
    (page(row("https://a.example/")), "list-page"),
    (selection(["https://a.example/"]), "json"),
    (b" \n" + selection(["https://a.example/"]), "json"),
    (b"\xef\xbb\xbfhttps://a.example/" + REPOSITORY.encode(), "plain"),
    (b"# a comment\nhttps://a.example/" + REPOSITORY.encode(), "plain"),
    (links_document([("", "https://a.example/" + PATH)]), "metalink"),
    (b'<?xml version="1.0"?>\n<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="repomd.xml"><url>https://a.example/'
     + PATH.encode() + b"</url></file></metalink>", "metalink"),
], ids=["page", "json", "json after a space", "plain after a byte order mark", "plain", "metalink 3", "RFC 5854"])
def test_an_answer_is_known_by_its_content(body, source):
    found = parse_list(body, PATH)
    assert urls(found) == ["https://a.example/"] and found.mirrors[0].source == source


@pytest.mark.parametrize("body", [b"", b"\0", b"<", b"{", b"<metalink", b"log in here", b"<html><body>log in</body></html>"])
def test_an_answer_in_no_known_form_is_a_bad_answer(body):
    with pytest.raises(FetchError) as refusal:
        parse_list(body, PATH)
    assert refusal.value.reference == "bad-answer"


@pytest.mark.parametrize("text, percent", [
    ("23%", 23), ("<1%", 1), ("100%", 100), ("0%", 0), ("n/a", 0), ("", 0), ("101%", 0), ("-1%", 0), ("2 3%", 0), ("\u0663%", 0), ("7.5%", 0)])
def test_a_weight_is_a_whole_percentage_or_none(text, percent):
    assert clean_percent(text) == percent
