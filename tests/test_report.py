"""The report as text: a page that nothing of a server can break out of, the map, the charts, Prometheus' format, the letter."""
import base64
import hashlib
import html.parser
import math
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.report_readers import Reader, parse_exposition
from tests.support.report_world import HOSTILE, report
from tests.support.world import DAY, NOW, snapshot
from yum_plugin.errors import FetchError, TrustError
from yum_plugin.model import Mirror
from yum_plugin.net.certificate import ServedCertificate
from yum_plugin.net.reachability import Reachability
from yum_plugin.operators.report.charts import FIRST_BYTE, HEIGHT, WIDTH, ChartSpan, chart, span_of, strip
from yum_plugin.operators.report.countries import PLACES, place_of
from yum_plugin.operators.report.inspect import FileInspection, Inspection
from yum_plugin.operators.report.letter import GRACE_SECONDS, MirrorCase, NewestSnapshot, problems_of, render_letter
from yum_plugin.operators.report.markup import Markup, element, joined, link, text
from yum_plugin.operators.report.page import render_page
from yum_plugin.operators.report.prometheus import metrics_of, render_prometheus
from yum_plugin.operators.report.script import SCRIPT
from yum_plugin.operators.report.style import STYLE
from yum_plugin.operators.report.values import ORDER, STATES, MirrorFinding, MirrorSite, MirrorsReport, sites_of, state_of
from yum_plugin.operators.report.world import land_along, rings
from yum_plugin.operators.report.worldmap import SIZE, marks_of, spread, world_map
from yum_plugin.packages.quarantine import QuarantineNote
from yum_plugin.state.history import Observation

# The page.


@pytest.mark.parametrize("made", [
    report(), report(hostile=True), report(count=1), report(count=0), report(offline=True), MirrorsReport(NOW, True, "0", (), ()),
], ids=["usual", "hostile", "one", "none", "offline", "empty"])
def test_a_page_holds_one_script_and_one_style_sheet_which_are_ours_and_asks_nobody(made):
    page = render_page(made)
    read = Reader(page)
    assert (read.scripts, read.styles) == ([SCRIPT], [STYLE])
    assert not re.search(r"url\(|@import|https?://", STYLE + SCRIPT)
    assert len(set(read.ids)) == len(read.ids)
    page.encode("utf-8")


def test_the_policy_allows_exactly_our_script_and_style_sheet_and_nothing_from_elsewhere():
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', render_page(report(count=1))).group(1)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for name, content in (("script-src", SCRIPT), ("style-src", STYLE)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules.pop(name) == "'sha256-{}'".format(digest)
    assert rules == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
                     "require-trusted-types-for": "'script'"}


def test_names_of_servers_are_shown_as_text_short_and_in_their_own_direction():
    page = render_page(report(hostile=True))
    read = Reader(page)
    shown = "".join(read.texts)
    assert "<script>alert(1)</script>" in shown and "\u202e" not in page and "\x00" not in page
    assert "A" * 300 not in page
    assert all(letter.isprintable() or letter == "\n" for letter in page)


def test_every_mirror_has_its_state_in_words_and_opens_to_its_evidence():
    made = report()
    shown = "".join(Reader(render_page(made)).texts)
    for site in made.sites:
        assert site.authority in shown
    for reference in ("tls-expired", "signature-invalid", "timed-out"):
        assert reference in shown
    assert shown.count("Asked for") == 2 * len(made.sites) and "tell the mirror's owner to renew the certificate" in shown
    assert "23 of 27 mirrors serve the newest updates." in shown and "26 h behind, revision" in shown and "xcpng-mirrors report-mirror mirror3.example.de" in shown and "2001:db8::7" in shown


@pytest.mark.parametrize("changes, words", [
    ({}, "23 of 27 mirrors serve the newest updates."), ({"offline": True}, "without asking any mirror"), ({"count": 3}, "All 3 mirrors"),
    ({"count": 1}, "The mirror serves"), ({"count": 0}, "No mirror has been asked yet."),
    ({"hostile": True}, "xcp-ng-testing cannot be updated from any mirror."),
])
def test_the_headline_says_how_things_are(changes, words):
    assert words in "".join(Reader(render_page(report(**changes))).texts)


def test_the_page_of_two_hundred_mirrors_with_all_their_history_can_still_be_mailed():
    assert len(render_page(report(count=200))) < 4000000


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_text_at_all_leaves_its_place(inside, attribute):
    found = []

    class One(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, attributes))

        def handle_data(self, data):
            found.append(data)

    parser = One(convert_charrefs=True)
    parser.feed(element("b", inside, title=attribute))
    parser.close()
    assert found[0][0] == "b" and [name for name, _ in found[0][1]] == ["title"] and len(found) <= 2


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil.test/", "ftp://a.test/", ""])
def test_only_addresses_of_the_web_become_links(url):
    assert "<a" not in link(url)


def test_a_long_address_is_linked_whole():
    url = "https://a.test/" + "b" * 1000 + "/"
    assert 'href="{}"'.format(url) in link(url)


def test_markup_is_not_escaped_twice_and_text_not_left_raw():
    assert element("p", Markup("<b>"), "<b>", hidden=True, id=None, n=1.50) == '<p hidden n="1.5"><b>&lt;b&gt;</p>'
    assert joined(["a", Markup("<i>")], " & ") == "a &amp; <i>" and text("\n") == "?"


# The values.


def test_the_worst_finding_counts_and_the_worst_site_comes_first():
    names = [site.worst.state for site in report().sites]
    assert names == sorted(names, key=ORDER.index) and set(ORDER) == set(STATES)
    mirror = Mirror("https://a.test/x/", rank=2)
    one = [("https://a.test/", "a.test", MirrorFinding(name, mirror, state, lag_seconds=lag, certificate_expires=NOW + lag))
           for name, state, lag in (("base", "ok", 0), ("updates", "stale", 7))]
    [site] = sites_of(one, {"a.test": Reachability("yes")})
    assert (site.worst.repository, site.lag_seconds, site.certificate_expires, site.reachability.ipv4) == ("updates", 7, NOW, "yes")


@pytest.mark.parametrize("outcome, state", [("ok", "ok"), ("stale", "stale"), ("tls-expired", "failed"), ("rollback", "refused"),
                                            ("unsigned", "refused"), ("of-a-newer-version", "failed")])
def test_an_outcome_stands_for_a_state(outcome, state):
    assert state_of(outcome) == state


# The map.


def is_land(longitude, latitude):
    return any(west <= longitude <= east for west, east in land_along(rings(), latitude))


@pytest.mark.parametrize("longitude, latitude, land", [
    (2, 47, True), (-100, 40, True), (37, 55, True), (134, -25, True), (25, -30, True), (-60, -10, True), (105, 35, True), (78, 22, True),
    (138, 36, True), (-1, 52, True), (172, -43, True), (15, 63, True), (12, 43, True), (-42, 72, True),
    (-40, 30, False), (-150, -20, False), (80, -30, False), (51, 42, False), (34.5, 43.2, False), (5, 38.5, False), (-90, 26, False),
    (19, 57, False), (2.5, 55.5, False), (-85, 59.5, False),
])
def test_the_world_is_where_it_should_be(longitude, latitude, land):
    assert is_land(longitude, latitude) == land


def test_every_country_has_a_point_on_or_near_land():
    islands = {"CV", "FO", "MU", "MV", "SC", "PF", "FJ", "RE", "BH", "NC", "MT", "TT", "PR", "JM", "HK"}  # smaller than our dots
    for code, place in PLACES.items():
        assert re.match(r"[A-Z]{2}\Z", code) and place.name
        near = [(place.longitude + dx, place.latitude + dy) for dx in range(-3, 4) for dy in (-2.5, -1.2, 0.1, 1.3, 2.5)]
        assert code in islands or any(is_land(*point) for point in near), code
    assert place_of("de") == PLACES["DE"] and place_of("") is None and place_of("ZZ") is None


def distance(one, other):
    return math.hypot(one[0] - other[0], one[1] - other[1])


def test_marks_do_not_lie_upon_each_other():
    points = spread([(100.0, 100.0)] * 12 + [(400.0, 50.0)], SIZE)
    assert all(distance(one, other) > SIZE * 0.8 for place, one in enumerate(points) for other in points[:place])
    assert distance(points[-1], (400.0, 50.0)) < 1


def test_mirrors_of_one_country_are_counted_and_those_of_none_told():
    made = report()
    assert {mark.code: len(mark.sites) for mark in marks_of(made.sites)}["FR"] == 3
    assert [mark.state for mark in marks_of(made.sites) if mark.code == "DE"] == ["stale"]
    nowhere = [site._replace(findings=tuple(finding._replace(mirror=Mirror("https://a.test/")) for finding in site.findings))
               for site in made.sites]
    assert "their country is not known: 30" in world_map(nowhere) and "France: 3 ok" in world_map(made.sites)


# The charts.


def seen(days_ago, outcome="ok", first=0.02):
    return Observation(NOW - int(days_ago * DAY), "https://a.test/", outcome, "metadata", 0, first)


@pytest.mark.parametrize("oldest, words", [(0.5, "last 24 hours"), (3, "last 7 days"), (8, "last 30 days"), (31, "last 90 days"),
                                           (300, "last 90 days")])
def test_the_charts_show_the_shortest_time_that_holds_everything(oldest, words):
    site = MirrorSite("https://a.test/", "a.test", (MirrorFinding("x", Mirror("https://a.test/"), "ok", observations=(seen(oldest), seen(0))),))
    assert span_of([site], NOW).words == words


def test_a_bar_shows_the_worst_of_its_time_and_says_how_many_there_were():
    drawn = strip([seen(0.01), seen(0.001, "stale"), seen(0.02, "signature-invalid"), seen(3)], ChartSpan(NOW - DAY, NOW))
    assert drawn.count('class="refused"') == 1 and drawn.count('class="none"') == 29
    assert "3 observations in the last 24 hours: 1 ok, 1 stale, 1 refused" in drawn


def test_a_chart_needs_two_values_and_stays_in_its_frame_however_many_there_are():
    span = ChartSpan(NOW - DAY, NOW)
    assert chart([seen(0.5)], span, FIRST_BYTE) == "" == chart([seen(0.5, first=None), seen(0.6)], span, FIRST_BYTE)
    many = [seen(1 - number / 5000, first=number / 10) for number in range(5000)]
    points = re.search(r'd="M([^"]*)" class="line"', chart(many, span, FIRST_BYTE)).group(1).split("L")
    assert 100 < len(points) < 400
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in (point.split() for point in points))


# Prometheus' text format, as its documentation has it; the textfile collector refuses time stamps.

UNITS = ("_seconds", "_bytes", "_info", "_up", "_current", "_refused", "_updatable", "_mirrors", "_revision", "_reachable")


@pytest.mark.parametrize("made", [report(), report(hostile=True), report(count=0), report(offline=True)],
                         ids=["usual", "hostile", "none", "offline"])
def test_prometheus_gets_what_its_rules_ask_for(made):
    metrics = parse_exposition(render_prometheus(made))
    for name in metrics:
        assert name.startswith("xcpng_mirrors_") and name.endswith(UNITS)
        assert "timestamp" not in name or name.endswith("_timestamp_seconds")
    words = [metric.help for metric in metrics_of(made)]
    assert len(set(words)) == len(words) and all(word.endswith(".") and "\n" not in word and "\\" not in word for word in words)


def test_prometheus_gets_the_values_of_the_report():
    made = report()
    metrics = parse_exposition(render_prometheus(made))
    stale = (("repository", "xcp-ng-updates"), ("mirror", "https://mirror3.example.de/pub/xcp-ng/"))
    assert metrics["xcpng_mirrors_mirror_up"][stale] == 1 and metrics["xcpng_mirrors_mirror_current"][stale] == 0
    assert metrics["xcpng_mirrors_mirror_lag_seconds"][stale] == 26 * 3600
    assert metrics["xcpng_mirrors_mirror_certificate_expiry_timestamp_seconds"][stale[1:]] == NOW + 64 * DAY
    assert metrics["xcpng_mirrors_repository_revision_timestamp_seconds"][(("repository", "xcp-ng-base"),)] == NOW - 2 * DAY
    assert metrics["xcpng_mirrors_last_resolution_timestamp_seconds"][(("repository", "xcp-ng-base"),)] == NOW - 900
    refused = (("repository", "xcp-ng-base"), ("mirror", "https://mirror11.example.fi/pub/xcp-ng/"))
    assert metrics["xcpng_mirrors_mirror_refused"][refused] == 1 and metrics["xcpng_mirrors_mirror_up"][refused] == 0
    assert sum(metrics["xcpng_mirrors_repository_mirrors"].values()) == 60
    left_out = "https://mirror15.example.us/pub/xcp-ng/"
    assert not any(left_out in dict(labels).values() for labels in metrics["xcpng_mirrors_mirror_up"])


# The letter.

BASE = "https://mirror.test:8443/pub/8/8.3/updates/x86_64/"
CERTIFICATE = ServedCertificate("ab" * 32, "CN=mirror.test", "CN=Some CA", ("mirror.test",), NOW - 80 * DAY, NOW + 60 * DAY, "TLSv1.3", "::1")
CURRENT = snapshot(90)._replace(signed_at=NOW - 2 * DAY)


def case(error=None, served=CURRENT, newest=CURRENT, certificate=CERTIFICATE, url=BASE, kept=(), **mirror):
    found = Mirror(url, mirror.pop("name", "Some University"), "DE", **mirror)
    file = FileInspection(url + "repodata/repomd.xml", NOW, "2001:db8::7", 200, (("server", HOSTILE), ("age", "0")), 3000, "cd" * 32, 0.02, 0.03)
    inspection = Inspection("xcp-ng-updates", found, file, file._replace(url=file.url + ".asc"), None if error else served, error)
    past = (seen(2, "tls-expired"), seen(1))
    site = MirrorSite("https://mirror.test:8443/pub/", "mirror.test:8443", (MirrorFinding("xcp-ng-updates", found, "not asked", observations=past),),
                      Reachability("yes", "no", "none"))
    return MirrorCase(site, (inspection,), {"xcp-ng-updates": NewestSnapshot(newest, 3)}, certificate, None, tuple(kept), NOW, "0.1.0")


PACKAGE = QuarantineNote(NOW - DAY, "lab-agent-2.0-1.x86_64", "Packages/lab-agent.rpm", (BASE,), "payload-mismatch", "its payload was changed",
               "ef" * 32, 123, "/state/refused/ef.rpm")
OLD = snapshot(80)


@pytest.mark.parametrize("made, references", [
    (case(), []),
    (case(FetchError("tls-expired", "TLS failed: certificate has expired")), ["tls-expired"]),
    (case(TrustError("signature-invalid", "the signature does not fit")), ["signature-invalid"]),
    (case(served=OLD), ["stale"]),
    (case(served=OLD, newest=CURRENT._replace(signed_at=NOW - GRACE_SECONDS + 60)), []),
    (case(served=CURRENT._replace(timestamp=CURRENT.timestamp + 60)), []),
    (case(certificate=CERTIFICATE._replace(not_after=NOW + 9 * DAY)), ["tls-expired"]),
    (case(excluded="Down"), ["excluded"]),
    (case(kept=[PACKAGE]), ["payload-mismatch"]),
], ids=["good", "expired", "signature", "stale", "an hour has not passed", "newer", "ends soon", "excluded", "package"])
def test_what_is_wrong_with_a_mirror_is_named_with_what_its_owner_can_do(made, references):
    problems = problems_of(made)
    assert [problem.reference for problem in problems] == references
    letter = render_letter(made)
    for problem in problems:
        assert problem.hint and "tell the mirror's owner" not in problem.hint
        assert problem.hint in " ".join(letter.split())
    assert ("Nothing is wrong with it." in letter) == (not references)


def test_the_same_of_two_repositories_is_said_once():
    made = case(FetchError("timed-out", "no answer"))
    twice = made._replace(inspections=made.inspections + (made.inspections[0]._replace(repository="xcp-ng-base"),))
    assert [problem.subjects for problem in problems_of(twice)] == [("xcp-ng-updates", "xcp-ng-base")]


def test_the_letter_is_ready_to_send_with_all_the_evidence():
    letter = render_letter(case(served=OLD, kept=[PACKAGE]))
    for words in ("To: the owner of Some University; mirrors (AT) xcp-ng (DOT) org", "Subject: Mirror mirror.test:8443: ", "2001:db8::7 (IPv6)",
                  "HTTP 200, 3000 bytes", "cd" * 32, OLD.sha256, CURRENT.sha256, "served by 3 of the other mirrors",
                  "AB:AB", "valid until   2027-03-16T08:00:00Z", "IPv6          does not answer", "TLSv1.3", "curl -v -6 -o repomd.xml ",
                  "gpg --verify", "2 observations since", "tls-expired", "lab-agent-2.0-1.x86_64", "ef" * 32, "Nothing was sent"):
        assert words in letter, words
    assert all(line.isprintable() for line in letter.split("\n"))
    prose = letter[:letter.index("xcp-ng-updates\n---")]
    assert max(len(line) for line in prose.split("\n")) <= 76


def test_a_hostile_mirror_cannot_write_commands_or_mail_headers():
    url = "https://mirror.test:8443/pub/$(touch${IFS}owned);'x'`id`/" + "long/" * 100
    made = case(served=OLD, url=url, name="x\nBcc: everybody@example.org\r\n\u202egnp")
    letter = render_letter(made)
    assert [line for line in letter.split("\n") if line.startswith("Bcc")] == []
    assert "URL           {}repodata/repomd.xml\n".format(url) in letter and "  {}\n".format(made.site.url) in letter
    commands = [line for line in letter.split("\n") if line.startswith("curl ")]
    assert len(commands) == 2 and [shlex.split(line)[-1] for line in commands] == [url + "repodata/repomd.xml", url + "repodata/repomd.xml.asc"]
