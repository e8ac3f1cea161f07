"""The index page of a folder, as nginx, Apache and lighttpd write it: names, and sizes where they are exact.

Pure.
"""
import re
from typing import Dict, List, NamedTuple, Optional
from urllib.parse import unquote

from lxml import etree

from ...errors import FetchError
from ...util.safe_parsers import HtmlReader

MAX_PAGE_BYTES = 16 * 1024 * 1024  # 100 000 names of nginx
MAX_ENTRIES = 100000
MAX_TEXT_CHARACTERS = 512  # after a name: a date, a size, perhaps a description
_TITLE = re.compile(r"\s*Index of /")
# What follows a name: nginx "26-Nov-2026 03:02 1234567", Apache "2026-11-26 03:02 1.2M", lighttpd "2026-Nov-26 03:02:01 1.2M"
_SIZE = re.compile(r"\d{2,4}-\w{2,3}-\d{2,4}\s+\d{2}:\d{2}(?::\d{2})?\s+(\d{1,15})(?=\s|\Z)")


class IndexEntry(NamedTuple):
    """A name on such a page."""

    name: str  # one segment of a path, not encoded; bytes that are no UTF-8 as surrogates
    is_folder: bool
    size: Optional[int]  # bytes; None: missing, or rounded


class _IndexReader(HtmlReader):
    """Keeps the links, and the text after each."""

    def __init__(self) -> None:
        super().__init__()
        self.is_index = False
        self.hrefs: List[str] = []
        self.texts: List[str] = []
        self._in_title = False

    @property
    def is_full(self) -> bool:
        """Whether no more names are kept."""
        return len(self.hrefs) > MAX_ENTRIES

    def begin(self, tag: str, attributes: Dict[str, str]) -> None:
        """Take a start tag."""
        self._in_title = tag == "title"
        if tag == "a":
            self.hrefs.append(attributes.get("href") or "")
            self.texts.append("")

    def text(self, text: str) -> None:
        """Take a piece of text."""
        if self._in_title and _TITLE.match(text):
            self.is_index = True
        if self.texts and len(self.texts[-1]) < MAX_TEXT_CHARACTERS:
            self.texts[-1] += " " + text[:MAX_TEXT_CHARACTERS]

    def finish(self, tag: str) -> None:
        """Take an end tag."""
        if tag == "title":
            self._in_title = False
        elif tag == "a" and self.texts:
            self.texts[-1] = ""  # the name itself may look like a date and a size


def parse_index(body: bytes) -> List[IndexEntry]:
    """Read the index of a folder.

    Args:
        body: the page, at most MAX_PAGE_BYTES by the caller's cap.

    Returns:
        Its names in their order; links that lead elsewhere than into the folder are left out.

    Raises:
        FetchError: bad-answer: it is not an index page; too-large: more than MAX_ENTRIES names.
    """
    reader = _IndexReader()
    try:
        reader.feed(body)
    except (etree.LxmlError, ValueError):
        reader.is_index = False
    if not reader.is_index:
        raise FetchError("bad-answer", "the page is not an index of a folder in a known form")
    if reader.is_full:
        raise FetchError("too-large", "more than {} names in one folder".format(MAX_ENTRIES))
    found: Dict[str, IndexEntry] = {}
    for href, text in zip(reader.hrefs, reader.texts):
        name = unquote(href[:-1] if href.endswith("/") else href, errors="surrogateescape")
        if "?" in href or "#" in href or "/" in name or name in ("", ".", "..") or "://" in href:
            continue
        size = _SIZE.search(text)
        found.setdefault(name, IndexEntry(name, href.endswith("/"), int(size.group(1)) if size else None))
    return list(found.values())
