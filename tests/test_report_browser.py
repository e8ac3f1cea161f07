"""The page in a real browser: as people see it and use it, with a mouse or without, in light, dark, narrow and on paper.

Pictures are kept in artifacts/.
"""
import struct

import pytest

from tests.conftest import REPOSITORY_ROOT
from yum_plugin.operators.report.page import render_page

from .support.browser import Browser, program
from .support.report_world import report

ARTIFACTS = REPOSITORY_ROOT / "artifacts"
SHOWN = "[...document.querySelectorAll('#mirrors > tbody')].filter(each => !each.hidden)"
# The worst contrast of all texts, by WCAG 2.1's definition of relative luminance, with what it is about.
CONTRAST = """(() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const channel = value => { value /= 255; return value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const ratio = (one, other) => { const [a, b] = [light(one), light(other)].sort((x, y) => y - x); return (a + .05) / (b + .05); };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) { return colour; }
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const style = getComputedStyle(element);
    if (!element.getClientRects().length || style.visibility !== "visible" || element.closest(".unseen, .symbols, title")) { continue; }
    const svg = element.namespaceURI.endsWith("svg");
    const words = [...element.childNodes].some(each => each.nodeType === 3 && each.nodeValue.trim());
    if (words && !(svg && element.tagName !== "text")) {
      const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
      found.push([ratio(parse(svg ? style.fill : style.color), ground(element)) / (large ? 3 : 4.5), element.tagName + "." + element.className.toString()]);
    }
    if (element.matches(".icon, .strip rect, input") && !element.matches(".none")) {
      const colour = element.matches("input") ? style.borderTopColor : style.color;
      found.push([ratio(parse(colour), ground(element.matches("input") ? element.parentElement : element)) / 3, "sign " + element.className.baseVal]);
    }
  }
  return [found.length, ...found.sort((a, b) => a[0] - b[0])[0]];
})()"""


@pytest.fixture(scope="module")
def browser():
    """The one browser of these tests; it ends with them, for others count this process' children."""
    if not program():
        pytest.skip("no chromium is installed")
    ARTIFACTS.mkdir(exist_ok=True)
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A function from what ``report`` takes to the path of a page."""
    folder = tmp_path_factory.mktemp("pages")

    def write(**changes):
        path = folder / "{}.html".format("-".join(sorted(changes)) or "usual")
        path.write_bytes(render_page(report(**changes)).encode("utf-8"))
        return path

    return write


def names(browser):
    """The hosts of the mirrors shown, from above."""
    return browser.value(SHOWN + ".map(each => each.querySelector('small bdi').textContent)")


def focused(browser):
    return browser.value("document.activeElement.textContent.trim()")


def tab_to(browser, words):
    """Press Tab until something with these words has the focus."""
    for _ in range(40):
        browser.press("Tab")
        if words in focused(browser):
            return
    raise AssertionError("Tab never reaches " + words)


@pytest.mark.parametrize("name, changes, settings", [
    ("light", {}, {}), ("dark", {}, {"dark": True}), ("phone", {}, {"width": 390, "height": 844}),
    ("phone-dark", {}, {"width": 320, "height": 640, "dark": True}), ("print", {}, {"width": 690, "media": "print"}),
    ("hostile", {"hostile": True}, {}), ("hostile-phone", {"hostile": True}, {"width": 320, "height": 640}),
    ("without-script", {}, {"scripts": False}), ("none", {"count": 0}, {}),
])
def test_it_is_readable_asks_nobody_and_complains_of_nothing(browser, page, name, changes, settings):
    path = page(**changes)
    browser.show(path, **settings)
    assert browser.complaints == [] and browser.requests == ["file://" + str(path)]
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is wider than the window"
    for details in ("", "document.querySelectorAll('#mirrors details').forEach((each, number) => { each.open = number < 5; })"):
        if details:
            browser.value(details)
        count, worst, where = browser.value(CONTRAST)
        assert count > 20 and worst >= 1, "{}: {:.2f} of what WCAG AA asks for".format(where, worst)
        assert browser.value("document.documentElement.scrollWidth <= window.innerWidth"), "nor when rows are open"
    picture = browser.picture(ARTIFACTS / "report-{}.png".format(name))
    assert struct.unpack(">II", picture[16:24])[0] == settings.get("width", 1280) and len(picture) > 20000
    assert browser.complaints == []


def test_the_paper_is_white_whatever_the_screen_is_and_shows_the_table(browser, page):
    browser.show(page(), dark=True, media="print", width=690)
    assert browser.value("getComputedStyle(document.body).color") == "rgb(28, 31, 36)"
    assert browser.value("getComputedStyle(document.getElementById('tools')).display") == "none"
    assert browser.printed(ARTIFACTS / "report.pdf").startswith(b"%PDF-")


def test_a_heading_is_reached_by_tab_shows_its_focus_and_sorts_by_enter(browser, page):
    browser.show(page())
    before = names(browser)
    tab_to(browser, "First byte")
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert browser.value("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
    times = "[...document.querySelectorAll('#mirrors > tbody')].map(each => each.rows[0].cells[4].getAttribute('data-key'))"
    for direction, sign in (("ascending", 1), ("descending", -1)):
        browser.press("Enter")
        assert browser.value("document.activeElement.closest('th').getAttribute('aria-sort')") == direction
        assert browser.value("document.querySelectorAll('[aria-sort]').length") == 1
        found = browser.value(times)
        known = [float(each) for each in found if each]
        assert known == sorted(known, key=lambda value: sign * value) and found[len(known):] == [""] * (len(found) - len(known))
    assert sorted(names(browser)) == sorted(before) != names(browser)


def test_the_first_order_is_the_worst_first_and_names_sort_as_people_count(browser, page):
    browser.show(page())
    assert browser.value("document.querySelector('[aria-sort]').textContent") == "State"
    assert browser.value(SHOWN + "[0].querySelector('.badge').textContent.trim()") == "refused"
    tab_to(browser, "Mirror")
    browser.press(" ")
    assert names(browser)[:3] == ["mirror0.example.fr", "mirror1.example.fr", "mirror2.example.fr"]
    assert [name.split(".")[0] for name in names(browser)[8:11]] == ["mirror8", "mirror9", "mirror10"]


def test_the_search_finds_by_any_words_tells_how_many_and_is_left_by_escape(browser, page):
    browser.show(page())
    browser.value("document.getElementById('search').focus()")
    browser.type("tls-expired")
    assert names(browser) == ["mirror7.example.gb"]
    assert browser.value("document.getElementById('shown').textContent") == "1 of 30 mirrors"
    browser.press("Escape")
    assert len(names(browser)) == 30
    browser.type("france ok")
    assert len(names(browser)) == 3
    browser.press("Escape")
    browser.type("stale")
    assert names(browser) == ["mirror3.example.de"], "what was observed long ago, and stands in the closed evidence, is not searched"
    browser.type(" nothing like that")
    assert names(browser) == [] and browser.complaints == []


def test_a_row_opens_by_keyboard_to_the_evidence(browser, page):
    browser.show(page())
    tab_to(browser, "tls-expired")
    assert browser.value("document.activeElement.tagName") == "SUMMARY"
    browser.press("Enter")
    opened = "document.activeElement.parentElement"
    assert browser.value(opened + ".open")
    shown = browser.value(opened + ".innerText")
    for words in ("Asked for", "https://mirror7.example.gb/pub/xcp-ng/8/8.3/base/x86_64/repodata/repomd.xml", "tls-expired",
                  "tell the mirror's owner to renew the certificate", "Failures in a row", "Last observations"):
        assert words in shown
    assert browser.value(opened + ".querySelectorAll('svg.chart').length") == 2
    browser.press(" ")
    assert not browser.value(opened + ".open")


def test_without_script_the_rows_open_too_and_no_dead_control_is_shown(browser, page):
    browser.show(page(), scripts=False)
    tab_to(browser, "signature-invalid")
    browser.press("Enter")
    assert browser.value("document.activeElement.parentElement.open")
    assert browser.value("[...document.querySelectorAll('button, input')].filter(each => each.offsetParent && !each.disabled).length") == 0


def test_the_colours_can_be_switched_also_where_storage_is_forbidden(browser, page):
    forbid = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('forbidden', 'SecurityError'); }});"
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source=forbid)["identifier"]
    browser.show(page())
    browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    assert browser.value("(() => { try { return window.localStorage.length; } catch (error) { return error.name; } })()") == "SecurityError"
    dark = "getComputedStyle(document.body).backgroundColor"
    light_paper = browser.value(dark)
    tab_to(browser, "Colours")
    seen = []
    for _ in range(3):
        browser.press("Enter")
        seen.append((focused(browser), browser.value(dark) == light_paper))
    assert seen == [("Colours: dark", False), ("Colours: light", True), ("Colours: as the system", True)]
    assert browser.complaints == []


def test_the_choice_of_colours_is_remembered_where_that_is_possible(browser, page):
    path = page()
    browser.show(path)
    browser.value("document.getElementById('theme').click()")
    browser.show(path)
    assert browser.value("document.getElementById('theme').textContent") == "Colours: dark"
    browser.value("localStorage.clear()")


def test_names_of_servers_run_nothing(browser, page):
    browser.show(page(hostile=True))
    assert browser.complaints == [] and len(browser.requests) == 1
    assert browser.value("document.querySelectorAll('script').length") == 1 and browser.value("document.images.length") == 0
    assert "<script>alert(1)</script>" in browser.value("document.body.innerText")


def test_the_policy_stops_a_script_that_would_have_come_in_after_all(browser, page, tmp_path):
    """Not our way to keep it out, but the second wall: prove that it stands."""
    broken = page().read_text(encoding="utf-8").replace("<main>", "<main><script>document.title = 'owned'</script><img src=x onerror=alert(1)>")
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    browser.show(tmp_path / "broken.html")
    assert browser.value("document.title").startswith("XCP-ng mirrors") and len(browser.complaints) >= 2


def test_a_table_stays_a_table_for_who_hears_it_on_a_telephone(browser, page):
    browser.show(page(), width=390, height=844)
    roles = {each["role"]["value"] for each in browser.call("Accessibility.getFullAXTree")["nodes"] if "role" in each}
    assert {"table", "row", "columnheader", "rowheader", "cell"} <= roles
