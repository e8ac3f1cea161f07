"""The three forms of a mirrorbits redirector's answer for one file, as measured on mirrorbits 0.6.1.

* ``GET /path?mirrorlist``: an HTML page with every mirror, also the excluded ones: the complete source.
* ``GET /path`` with ``Accept: application/json``: the weighted selection, if the server runs OutputMode auto or json.
* ``GET /path``: 302 with ``Location`` and up to 10 ``Link: rel=duplicate`` headers (RFC 8288, RFC 6249): the selection.

In all three, ``url + path`` of a mirror is the file.
"""
import json
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from lxml import etree
from requests.utils import parse_header_links

from ..errors import FetchError
from ..model import MirrorList
from ..util.safe_parsers import HtmlReader
from .collector import MAX_MIRRORS, Collector, clean_number, clean_percent

MAX_LINKS = 64  # mirrorbits sends 10 at most by default (MaxLinkHeaders)
MAX_HEADER_CHARACTERS = 65536  # of Location and all Links; http.client's limit for one line
MAX_ROWS = 2 * MAX_MIRRORS + 64  # of both tables, with their headers and the checksums
MAX_CELLS = 16  # of a row; mirrorbits has 7
MAX_CELL_CHARACTERS = 4096
_FALLBACK_WARNING = "Warning: file not served by any mirror"
_Cell = Tuple[str, str]  # text and link


class _Row(NamedTuple):
    """A table row: its cells by the name of the column, in a table without header by position ("0", "1")."""

    cells: Dict[str, _Cell]

    def text(self, column: str) -> str:
        """Return the text of a cell, "" if the row has no such column."""
        return self.cells.get(column, ("", ""))[0]


class _PageReader(HtmlReader):
    """Collects the table rows of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: List[_Row] = []
        self.is_mirror_list = False
        self.is_fallback = False
        self._header: List[str] = []
        self._cells: List[_Cell] = []
        self._cells_are_header = False
        self._element = ""  # the innermost element whose text is wanted
        self._text: List[str] = []
        self._room = 0  # characters that still fit into _text
        self._link = ""

    @property
    def is_full(self) -> bool:
        """Whether MAX_ROWS rows were read."""
        return len(self.rows) >= MAX_ROWS

    def begin(self, tag: str, attributes: Dict[str, str]) -> None:
        """Handle a start tag."""
        if tag == "table":
            self._header = []
        elif tag == "tr":
            self._cells = []
            self._cells_are_header = False
        elif tag == "a":
            self._link = self._link or attributes.get("href") or ""
        elif tag in ("title", "th", "td") or tag == "p" and not self._element:
            self._element, self._text, self._room, self._link = tag, [], MAX_CELL_CHARACTERS, ""

    def text(self, text: str) -> None:
        """Handle a piece of text."""
        if self._element and self._room > 0:
            self._text.append(text[: self._room])
            self._room -= len(text)

    def finish(self, tag: str) -> None:
        """Handle an end tag."""
        if tag == self._element:
            self._element = ""
            self._end_text(tag, "".join(self._text).strip())
        elif tag == "tr":
            self._end_row()
        elif tag == "table":
            self._header = []

    def _end_text(self, tag: str, text: str) -> None:
        if tag == "title":
            self.is_mirror_list = self.is_mirror_list or text.startswith("Mirrorlist ")
        elif tag == "p":
            self.is_fallback = self.is_fallback or text.startswith(_FALLBACK_WARNING)
        elif len(self._cells) < MAX_CELLS:
            self._cells.append((text, self._link))
            self._cells_are_header = tag == "th"

    def _end_row(self) -> None:
        if self._cells_are_header:
            self._header = [text.lower() for text, _ in self._cells]
            self.is_mirror_list = self.is_mirror_list or {"url", "country"} <= set(self._header)
        elif self._cells and len(self.rows) < MAX_ROWS:
            names = self._header or [str(number) for number in range(MAX_CELLS)]
            self.rows.append(_Row(dict(zip(names, self._cells))))
        self._cells = []


def parse_list_page(body: bytes, path: str) -> MirrorList:
    """Parse the page of ``?mirrorlist``.

    Args:
        body: the page, in UTF-8, as mirrorbits writes it; at most 2 MiB by the caller's limit.
        path: the file asked for, without a leading "/".

    Returns:
        The mirrors in rank order, then the excluded ones with the redirector's reason.
        If the page says that only fallbacks have the file, ``source`` is "origin".

    Raises:
        FetchError: bad-answer: the page is not a list of mirrors (a captive portal, an error page).
    """
    page = _read_page(body, path)
    collector = Collector("list-page", only_origin=page.is_fallback)
    sha256 = ""
    for row in page.rows:
        if "url" in row.cells:
            _add_row(collector, row, path)
        elif row.text("0").upper() == "SHA256":
            sha256 = sha256 or row.text("1")
    return collector.result(sha256)


def _read_page(body: bytes, path: str) -> _PageReader:
    page = _PageReader()
    try:
        page.feed(body)
    except (etree.LxmlError, ValueError):
        raise FetchError("bad-answer", "the mirror list is not a usable HTML page", where=path) from None
    if not page.is_mirror_list:
        raise FetchError("bad-answer", "the page is not a list of mirrors", where=path)
    return page


def _add_row(collector: Collector, row: _Row, path: str) -> None:
    """Add a row; the link of a usable mirror is the file, that of an excluded one is the base."""
    excluded = "exclude reason" in row.cells
    collector.add(
        row.cells["url"][1],
        path="" if excluded else path,
        name=row.text("mirror name"),
        country=row.text("country"),
        rank=clean_number(row.text("rank").rstrip(".")),
        excluded=(row.text("exclude reason") or "excluded") if excluded else "",
        weight=clean_percent(row.text("selection")),
    )


def parse_selection_json(body: bytes, path: str) -> MirrorList:
    """Parse the answer to ``Accept: application/json``: the selection for this host.

    Args:
        body: JSON in UTF-8; at most 2 MiB by the caller's limit.
        path: the file asked for, without a leading "/".

    Returns:
        The selected mirrors in their order, then the excluded ones. ``url`` is AbsoluteURL, the only field that always has a
        scheme. If ``Fallback`` is true, ``source`` is "origin".

    Raises:
        FetchError: bad-answer: it is no JSON, not mirrorbits', or about another file.
    """
    answer = _read_json(body, path)
    info = _object(answer.get("FileInfo"))
    if _string(info, "Path").lstrip("/") != path or "MirrorList" not in answer:
        raise FetchError("bad-answer", "the JSON is not about the mirrors of this file", where=path)
    collector = Collector("json", only_origin=answer.get("Fallback") is True)
    for entry in _objects(answer["MirrorList"]):
        _add_entry(collector, entry, excluded="")
    for entry in _objects(answer.get("ExcludedList")):
        _add_entry(collector, entry, excluded=_string(entry, "ExcludeReason") or "excluded")
    return collector.result(_string(info, "Sha256"))


def _read_json(body: bytes, path: str) -> Dict[str, Any]:
    try:
        # Integers are read as floats: int() takes quadratic time for a million digits, and none is used.
        answer = json.loads(body.decode("utf-8"), parse_int=float)
    except (ValueError, RecursionError):
        raise FetchError("bad-answer", "the answer is not usable JSON", where=path) from None
    if not isinstance(answer, dict):
        raise FetchError("bad-answer", "the JSON is not a selection of mirrors", where=path)
    return answer


def _object(value: object) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> List[Dict[str, Any]]:
    """Return the objects of a list, at most one more than is used; mirrorbits writes null for an empty list."""
    return [_object(entry) for entry in value[: MAX_MIRRORS + 1]] if isinstance(value, list) else []


def _string(values: Dict[str, Any], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _add_entry(collector: Collector, entry: Dict[str, Any], excluded: str) -> None:
    collector.add(
        _string(entry, "AbsoluteURL"),
        name=_string(entry, "SponsorName") or _string(entry, "Name"),
        country=_string(entry, "CountryCodes"),
        excluded=excluded,
    )


def parse_redirect(location: str, links: Sequence[str], path: str) -> MirrorList:
    """Parse the headers of a 302: the selected mirror and the others of the selection.

    Args:
        location: the value of ``Location``.
        links: the values of all ``Link`` headers; only ``rel=duplicate`` counts (RFC 6249 section 3).
        path: the file asked for, without a leading "/".

    Returns:
        Location's mirror, then the links by ``pri``, at most MAX_LINKS.

    Raises:
        FetchError: bad-answer: they contain control characters (CVE-2019-3462), are too long, or name no mirror (a captive
            portal redirects to its own page).
    """
    joined = ", ".join(links)
    if len(location) + len(joined) > MAX_HEADER_CHARACTERS or not (location + joined).isprintable():
        raise FetchError("bad-answer", "overlong or unprintable Location or Link headers", where=path)
    collector = Collector("redirect")
    collector.add(location, path)
    for _, url, country in sorted(_duplicates(joined), key=lambda link: link[0]):
        collector.add(url, path, country=country)
    found = collector.result()
    if not found.mirrors:
        raise FetchError("bad-answer", "the redirect names no mirror of the file", where=path)
    return found


def _duplicates(header: str) -> List[Tuple[int, str, str]]:
    """Return priority, URL and country of the links to copies of the file.

    ``parse_header_links`` takes linear time and never raises on text (tests/test_fuzz_sources.py). It misreads a ";" in a URL
    and a "," in quotes, which results in a URL that is dropped.
    """
    links = [{key.lower(): value for key, value in link.items()} for link in parse_header_links(header)[:MAX_LINKS]]
    copies = [link for link in links if "duplicate" in link.get("rel", "").lower().split()]
    return [(clean_number(link.get("pri", "")) or MAX_LINKS, link["url"], link.get("geo", "")) for link in copies]
