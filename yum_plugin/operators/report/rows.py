"""The table of mirrors: for each a row with its values, and one that opens to the evidence."""
from typing import List, NamedTuple, Optional, Sequence

from ...state.history import Observation, address_family
from ...trust.freshness import duration
from ...util.text import utc_words
from ..facts import CERTIFICATE_SOON_SECONDS
from .charts import AXES, ChartSpan, chart, strip
from .countries import place_of
from .icons import badge
from .markup import Content, Markup, element, joined, link, when
from .values import MAX_SHOWN_OBSERVATIONS, ORDER, MirrorFinding, MirrorSite, MirrorsReport, hint_of

DAY_SECONDS = 86400
NOTHING = "\u2013"
REACHABILITY = {"yes": ("\u2713", "answers"), "no": ("\u2717", "does not answer"), "none": (NOTHING, "no address"),
           "": ("?", "not known")}


class Heading(NamedTuple):
    """The heading of a column."""

    title: str
    sort: str  # "text", "number", "" if it cannot be sorted by
    class_: str = ""


def headings(span: ChartSpan) -> Sequence[Heading]:
    """Return the columns."""
    return (Heading("Mirror", "text"), Heading("State", "number"), Heading("Behind", "number", "number"),
            Heading("Certificate", "number", "number"), Heading("First byte", "number", "number"),
            Heading("Reached by", "number", "reached"), Heading(span.words.capitalize(), "", "still"))


def mirrors_table(report: MirrorsReport, span: ChartSpan) -> Markup:
    """Return the whole table."""
    columns = headings(span)
    titles = [_heading(each, number) for number, each in enumerate(columns)]
    head = element("thead", element("tr", *titles, role="row"), role="rowgroup")
    caption = element("caption", "All mirrors, the worst first", class_="unseen")
    groups = [_group(site, report, span, columns) for site in report.sites]
    return element("table", caption, head, *groups, id="mirrors", class_="list", role="table")


def _heading(heading: Heading, number: int) -> Markup:
    words = element("button", heading.title, type="button", disabled=True) if heading.sort else element("span", heading.title)
    return element("th", words, scope="col", role="columnheader", class_=heading.class_ or None, data_sort=heading.sort or None,
                   aria_sort="ascending" if number == 1 else None)


def _group(site: MirrorSite, report: MirrorsReport, span: ChartSpan, columns: Sequence[Heading]) -> Markup:
    keys = ("{} {}".format(site.mirror.name, site.authority), ORDER.index(site.worst.state), site.lag_seconds,
            site.certificate_expires, site.first_byte_seconds, sum(value == "yes" for value in site.reachability), None)
    contents = (_name(site), badge(site.worst.state), _lag(site), _certificate(site.certificate_expires, report.made_at),
                _first_byte(site.first_byte_seconds), _reachability_cell(site), strip(site.observations, span))
    cells = [element("td", content, role="cell", class_=("wide" if column.class_ == "still" else column.class_) or None,
                     data_key="" if key is None else key, data_label=column.title)
             for column, key, content in list(zip(columns, keys, contents))[1:]]
    name = element("th", contents[0], scope="row", role="rowheader", data_key=keys[0])
    evidence = element("details", element("summary", *_reason(site)), _evidence(site, report, span))
    second = element("tr", element("td", evidence, colspan=len(columns), class_="reason", role="cell"), role="row")
    return element("tbody", element("tr", name, *cells, role="row"), second, role="rowgroup")


def _name(site: MirrorSite) -> Markup:
    mirror = site.mirror
    place = place_of(mirror.country)
    country = place.name if place else mirror.country
    name = "the origin" if mirror.source == "origin" else mirror.name or site.authority
    where = joined([link(site.url, site.authority)] + ([country] if country else []), ", ")
    return joined([element("b", element("bdi", name)), element("small", where)])


def _lag(site: MirrorSite) -> Content:
    if site.lag_seconds is None:
        return NOTHING
    return duration(site.lag_seconds) if site.lag_seconds else "0"


def _certificate(expires: Optional[int], now: int) -> Content:
    if expires is None:
        return NOTHING
    days = (expires - now) // DAY_SECONDS
    if expires <= now:
        return element("span", "ended", class_="over")
    return element("span", "{} days".format(days), class_="soon" if expires - now < CERTIFICATE_SOON_SECONDS else None)


def _first_byte(seconds: Optional[float]) -> str:
    return NOTHING if seconds is None else "{:.0f} ms".format(seconds * 1000)


def _reachability_cell(site: MirrorSite) -> Content:
    if not any(site.reachability):
        return NOTHING
    names = (("IPv4", site.reachability.ipv4), ("IPv6", site.reachability.ipv6), ("rsync", site.reachability.rsync))
    return element("span", *[_reachability_word(name, value) for name, value in names], class_="reaches")


def _reachability_word(name: str, value: str) -> Markup:
    sign, words = REACHABILITY[value]
    told = element("span", ": {}".format(words), class_="unseen")
    return element("span", element("span", sign, aria_hidden="true"), " ", name, told, " ",
                   class_="reach " + (value or "unknown"), title="{}: {}".format(name, words))


def _reason(site: MirrorSite) -> List[Content]:
    """Return one line with the most important fact."""
    worst = site.worst
    asked = "asked {}".format(utc_words(worst.asked_at)) if worst.asked_at else "never asked"
    if worst.state == "ok":
        return ["Evidence: revision {}, {}".format(worst.revision or NOTHING, asked)]
    words: List[Content] = [element("code", worst.reference), ": "] if worst.reference else []
    detail = worst.detail or worst.state
    if worst.state == "stale" and worst.lag_seconds is not None:
        detail = "{} behind, revision {}".format(duration(worst.lag_seconds), worst.revision or NOTHING)
    so = [each.repository for each in site.findings if (each.state, each.reference) == (worst.state, worst.reference)]
    where = " ({})".format(", ".join(so)) if len(so) < len(site.findings) else ""
    return words + [element("bdi", detail), where]


def _evidence(site: MirrorSite, report: MirrorsReport, span: ChartSpan) -> Markup:
    telling = max(site.findings, key=lambda each: (len(each.observations) > 1, each == site.worst, len(each.observations)))
    plots = [chart(telling.observations, span, axis) for axis in AXES]
    parts: List[Content] = [element("div", *[_finding(finding, report) for finding in site.findings], class_="findings")]
    if site.worst.state in ("stale", "failed", "refused"):
        command = element("code", "xcpng-mirrors report-mirror {}".format(site.authority))
        parts.append(element("p", command, " writes a report for its owner."))
    parts.append(when(any(plots), element("div", *plots, class_="plots")))
    parts.append(_last(site))
    return element("div", *parts, class_="evidence")


def _finding(finding: MirrorFinding, report: MirrorsReport) -> Markup:
    current = next((each.current for each in report.repositories if each.id == finding.repository), None)
    certificate = finding.certificate_expires
    pairs = (
        ("Asked for", joined([link(finding.mirror.url + "repodata/repomd.xml"), " and its signature"])),
        ("Asked at", utc_words(finding.asked_at) if finding.asked_at else "never"),
        ("Outcome", joined([badge(finding.state)] + ([" ", element("code", finding.reference)] if finding.reference else []))),
        ("Detail", element("bdi", finding.detail) if finding.detail else ""),
        ("How to fix it", hint_of(finding.reference)),
        ("Signed revision", _revision(finding, current.revision if current else None)),
        ("Certificate ends", utc_words(certificate) if certificate is not None else ""),
        ("Answered from", element("code", finding.address) if finding.address else ""),
        ("Failures in a row", str(finding.failures) if finding.failures else ""),
    )
    terms = [joined([element("dt", name), element("dd", value)]) for name, value in pairs if value]
    return element("section", element("h3", finding.repository), element("dl", *terms), class_="finding")


def _revision(finding: MirrorFinding, current: Optional[int]) -> Content:
    if finding.revision is None:
        return ""
    if finding.lag_seconds:
        return "{}, {} behind {}".format(finding.revision, duration(finding.lag_seconds), current or "the newest")
    return str(finding.revision)


def _last(site: MirrorSite) -> Content:
    """Return the table of the last observations."""
    seen = [(each.at, finding.repository, each) for finding in site.findings for each in finding.observations]
    if not seen:
        return element("p", "There are no earlier observations.", class_="soft")
    newest = sorted(seen, key=lambda item: -item[0])[:MAX_SHOWN_OBSERVATIONS]
    rows = [_observed(repository, each) for _, repository, each in newest]
    titles = ("Seen", "Repository", "Outcome", "Behind", "First byte", "By")
    head = element("thead", element("tr", *[element("th", title, scope="col") for title in titles]))
    table = element("table", head, element("tbody", *rows), class_="seen")
    return element("div", element("h3", "Last observations"), element("div", table, class_="scroll", tabindex=0, role="region",
                                                                       aria_label="Last observations"))


def _observed(repository: str, seen: Observation) -> Markup:
    outcome = seen.outcome if seen.about == "metadata" else "{} (a package)".format(seen.outcome)
    lag = NOTHING if seen.lag_seconds is None else duration(seen.lag_seconds) if seen.lag_seconds else "0"
    family = {"ipv4": "IPv4", "ipv6": "IPv6"}.get(address_family(seen.address), NOTHING)
    cells = (utc_words(seen.at), repository, element("code", outcome), lag, _first_byte(seen.first_byte_seconds), family)
    return element("tr", *[element("td", cell) for cell in cells])
