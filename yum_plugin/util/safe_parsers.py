"""Parsers for untrusted XML and HTML: without DTD, entities or network, and within libxml2's limits.

The encoding is forced to UTF-8, so that a caller's search for a DOCTYPE cannot miss one in another encoding.
lxml is imported late: most runs find nothing new, and parse nothing.
"""
import re
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator

if TYPE_CHECKING:
    from lxml import etree

HTML_FEED_BYTES = 16384  # after each such piece MAX_TAG_BYTES is checked
MAX_TAG_BYTES = 65536  # enough for an image as data: URL
MAX_ATTRIBUTES = 64  # of one HTML tag
_TEXT = b"<>"  # stands for any tag that has ended
_TAG = re.compile(rb"""<(?:[!?]|[^"'>]*(?:"[^"]*"[^"'>]*|'[^']*'[^"'>]*)*>)""")  # a comment, or a tag to its end
_PROTECTIONS: Dict[str, Any] = {
    "encoding": "utf-8",
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,  # and processing instructions: they are not in the tree
    "remove_pis": True,
}


def parse_xml(data: bytes) -> "etree._Element":
    """Parse a whole document.

    Raises:
        ValueError: it would exhaust the parser.
        lxml.etree.XMLSyntaxError: it is not well-formed.
    """
    from lxml import etree
    return etree.fromstring(b"".join(with_short_tags([data])), etree.XMLParser(**_PROTECTIONS))


def with_short_tags(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pass on the pieces of an XML document whose tags end within MAX_TAG_BYTES; text may have any length.

    libxml2 before 2.14 compares each attribute of a tag with all others: 1 MiB of them takes 23 s, 64 KiB 0.09 s.

    Raises:
        ValueError: a tag is longer.
    """
    tail = _TEXT  # from the last "<" on
    for piece in pieces:
        data, at = tail + piece, 0
        while at + MAX_TAG_BYTES < len(data):
            found = data.rfind(b"<", at + 1, at + MAX_TAG_BYTES + 1)
            if found < 0 and not _TAG.match(data, at, at + MAX_TAG_BYTES):
                raise ValueError("a tag longer than {} bytes".format(MAX_TAG_BYTES))
            at = found if found >= 0 else data.find(b"<", at + MAX_TAG_BYTES)
            if at < 0:
                data, at = _TEXT, 0
        tail = data[max(at, data.rfind(b"<", at)):]
        yield piece


def xml_pull_parser(tag: str) -> "etree.XMLPullParser":
    """Return a new parser for a document in pieces; it reports the end of each element with this name."""
    from lxml import etree
    return etree.XMLPullParser(events=("end",), tag=tag, **_PROTECTIONS)


class HtmlReader:
    """Reads an HTML page through the events of a lenient parser (lxml's target interface), which subclasses handle.

    A tree would take memory and, for a tag with many attributes, quadratic time (1 MiB of them: 50 s). Before version 2.14
    libxml2 itself takes that time, but only after the end of the tag: so ``feed`` stops at a tag that does not end, ``start``
    at one with too many attributes.
    """

    def __init__(self) -> None:
        self._script = ""  # the current script or style element
        self._silent_bytes = 0  # fed since the parser's last event

    @property
    def is_full(self) -> bool:
        """Whether a subclass needs no more."""
        return False

    def begin(self, tag: str, attributes: Dict[str, str]) -> None:
        """Handle a start tag."""

    def text(self, text: str) -> None:
        """Handle a piece of text."""

    def finish(self, tag: str) -> None:
        """Handle an end tag, written or implied."""

    def feed(self, page: bytes) -> None:
        """Read a page until its end or until ``is_full``.

        Args:
            page: bytes that are not UTF-8, and NUL, are replaced, because libxml2 would guess another charset or stop there.

        Raises:
            ValueError: it would exhaust the parser.
            lxml.etree.LxmlError: it is empty.
        """
        from lxml import etree
        target: Any = self  # the type stubs ask for comment(), lxml does not
        parser = etree.HTMLParser(encoding="utf-8", no_network=True, target=target)
        page = page.decode("utf-8", "replace").replace("\0", "\ufffd").encode("utf-8")
        for begin in range(0, len(page), HTML_FEED_BYTES):
            if self.is_full:
                break
            parser.feed(page[begin : begin + HTML_FEED_BYTES])
            self._silent_bytes += HTML_FEED_BYTES
            if self._silent_bytes > MAX_TAG_BYTES and not self._script:
                raise ValueError("a tag or text longer than {} bytes".format(MAX_TAG_BYTES))
        parser.close()

    def start(self, tag: str, attributes: Dict[str, str]) -> None:
        """Called by lxml, as ``data``, ``end`` and ``close``."""
        self._silent_bytes = 0
        if len(attributes) > MAX_ATTRIBUTES:
            raise ValueError("a tag with more than {} attributes".format(MAX_ATTRIBUTES))
        if tag in ("script", "style"):
            self._script = tag
        else:
            self.begin(tag, attributes)

    def data(self, text: str) -> None:
        """Called by lxml."""
        self._silent_bytes = 0
        self.text(text)

    def end(self, tag: str) -> None:
        """Called by lxml."""
        self._silent_bytes = 0
        if tag == self._script:
            self._script = ""
        else:
            self.finish(tag)

    def close(self) -> None:
        """Called by lxml at the end of the page; the result is in the subclass's fields."""
