"""The page: one file without external resources, usable without its script."""
import base64
import hashlib

from ...trust.freshness import duration
from ...util.text import utc_words
from .charts import span_of
from .icons import badge, definitions
from .markup import Markup, element, joined, when
from .rows import mirrors_table
from .script import SCRIPT
from .style import STYLE
from .values import LEFT_OUT, SHOWN_ORDER, STATES, MirrorsReport, RepositoryReport
from .worldmap import world_map

# A dot for the browser's tab, so that the browser does not request /favicon.ico.
_FAVICON = ("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
            "%3Ccircle cx='8' cy='8' r='6' fill='%23{}'/%3E%3C/svg%3E")
_READING = Markup(
    "Behind: how much older the newest data that a mirror serves is than the newest of all. First byte: until repomd.xml began "
    "to arrive. Reached by: the web server over IPv4 and IPv6, and rsync on its own port. In the column of bars a full one is "
    "ok, a lower one stale, a low one a failure; a thin line is a time without observations.")
GOOD, BAD = "1f7048", "b3261e"


def render_page(report: MirrorsReport) -> str:
    """Return the page, to be written as UTF-8."""
    span = span_of(report.sites, report.made_at)
    table = [_tools(), mirrors_table(report, span)] if report.sites else [element("p", "No mirror is known.", class_="soft")]
    cards = element("div", *[_card(repository, report) for repository in report.repositories], class_="cards")
    main = element(
        "main", element("section", element("h2", "Repositories"), cards, aria_label="Repositories"),
        element("section", element("h2", "Where they are"), world_map(report.sites), aria_label="Map"),
        element("section", element("h2", "Mirrors"), *table, aria_label="Mirrors"))
    body = element("body", definitions(), element("div", _header(report), main, _footer(report), class_="page"),
                   element("script", Markup(SCRIPT)))
    return "<!DOCTYPE html>\n" + element("html", _head(report), body, lang="en") + "\n"


def _policy() -> str:
    """Allow this style sheet and this script by their hashes, the favicon, and nothing else (CSP Level 3)."""
    style, script = (base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") for text in (STYLE, SCRIPT))
    return ("default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; "
            "form-action 'none'; require-trusted-types-for 'script'").format(style, script)


def _head(report: MirrorsReport) -> Markup:
    fine = report.repositories and not any(repository.error for repository in report.repositories)
    return element(
        "head", element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=Markup(_policy())),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("meta", name_="referrer", content="no-referrer"),
        element("title", "XCP-ng mirrors, ", utc_words(report.made_at)),
        element("link", rel="icon", href=Markup(_FAVICON.format(GOOD if fine else BAD))),
        element("style", Markup(STYLE)))


def _header(report: MirrorsReport) -> Markup:
    counts = report.counts()
    listed = [element("li", badge(state), " ", element("b", str(counts[state]))) for state in SHOWN_ORDER if counts[state]]
    how = "from the memory of this host, without asking any mirror" if report.offline else "each mirror was asked at that time"
    return element(
        "header", element("p", "XCP-ng mirrors on {}".format(utc_words(report.made_at)), class_="eyebrow"),
        element("button", "Colours", type="button", id="theme", class_="theme", hidden=True),
        element("h1", _headline(report)), when(listed, element("ul", *listed, class_="counts")),
        element("p", "What xcpng-mirrors {} found: {}. Only what the pinned key has signed is trusted.".format(
            report.version, how), class_="note"))


def _headline(report: MirrorsReport) -> str:
    counts = report.counts()
    asked = sum(count for state, count in counts.items() if state not in LEFT_OUT)
    broken = [repository.id for repository in report.repositories if repository.error]
    if broken:
        return "{} cannot be updated from any mirror.".format(" and ".join(broken[:3]))
    if not asked:
        return "No mirror has been asked yet."
    if counts["ok"] == asked:
        return "All {} mirrors serve the newest updates.".format(asked) if asked > 1 else "The mirror serves the newest updates."
    return "{} of {} mirrors serve the newest updates.".format(counts["ok"], asked)


def _card(repository: RepositoryReport, report: MirrorsReport) -> Markup:
    current = repository.current
    lines = [element("h3", repository.id)]
    if repository.error:
        lines.append(element("p", repository.error, class_="problem"))
    if current is not None:
        age = duration(max(0, report.made_at - current.timestamp))
        lines.append(element("p", "Revision ", element("b", str(current.revision)), ", updated {} ago".format(age)))
        lines.append(element("p", "signed {}".format(utc_words(current.signed_at)), class_="soft"))
        digest = element("code", current.sha256)
        lines.append(element("p", "its repomd.xml has the SHA-256", element("br"), digest, class_="soft"))
    elif not repository.error:
        lines.append(element("p", "Nothing is proven yet.", class_="soft"))
    findings = [finding for site in report.sites for finding in site.findings if finding.repository == repository.id]
    serving = sum(finding.state == "ok" for finding in findings)
    lines.append(element("p", "served by {} mirror{}".format(serving, "" if serving == 1 else "s"), class_="soft"))
    lines += [element("p", remark, class_="soft") for remark in repository.remarks]
    return element("div", *lines, class_="card")


def _tools() -> Markup:
    return element(
        "div", element("label", "Search", for_="search"),
        element("input", type="search", id="search", autocomplete="off", spellcheck="false", aria_controls="mirrors"),
        element("output", id="shown", aria_live="polite", for_="search"), id="tools", class_="tools", hidden=True)


def _footer(report: MirrorsReport) -> Markup:
    meanings = joined([joined([element("dt", badge(state)), element("dd", STATES[state])]) for state in SHOWN_ORDER])
    return element(
        "footer", element("h2", "How to read it"), element("dl", meanings, class_="meaning"),
        element("p", _READING))
