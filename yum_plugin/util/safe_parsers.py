"""The parsers for what servers wrote: XML without DTD, entities or network, within libxml2's limits; HTML, damaged or not.

The encoding is forced to UTF-8, so that a caller's search for a DOCTYPE misses none that hides in another one.
"""
from typing import Any, Dict

from lxml import etree

HTML_FEED_BYTES = 16384
MAX_TAG_BYTES = 65536  # of HTML; room for an image as data: URL
MAX_ATTRIBUTES = 64  # of one tag of HTML
_PROTECTIONS: Dict[str, Any] = {
    "encoding": "utf-8",
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,  # and processing instructions: they leave no trace in the tree
    "remove_pis": True,
}


def xml_parser() -> "etree.XMLParser":
    """Return a new parser for a whole document."""
    return etree.XMLParser(**_PROTECTIONS)


def xml_pull_parser(tag: str) -> "etree.XMLPullParser":
    """Return a new parser for a document that comes in pieces; it tells the end of each element of this name."""
    return etree.XMLPullParser(events=("end",), tag=tag, **_PROTECTIONS)


class HtmlReader:
    """Reads a page of HTML by the events of a lenient parser (lxml's target interface); what they mean, a subclass knows.

    A target is used because a tree takes memory, and for a tag with many attributes quadratic time
    (1 MiB of them: 50 s). Before version 2.14 libxml2 itself takes that time, but it waits for the end
    of a tag before it looks at it: so ``feed`` stops at a tag that does not end, ``start`` at one with
    too many attributes.
    """

    def __init__(self) -> None:
        self._script = ""  # the script or style element we are in
        self._silent_bytes = 0  # fed since the parser last told anything

    @property
    def is_full(self) -> bool:
        """Whether a subclass needs no more."""
        return False

    def begin(self, tag: str, attributes: Dict[str, str]) -> None:
        """Take a start tag."""

    def text(self, text: str) -> None:
        """Take a piece of text."""

    def finish(self, tag: str) -> None:
        """Take an end tag, written or implied."""

    def feed(self, page: bytes) -> None:
        """Read a page, or of an endless one as much as is used.

        Args:
            page: what is no UTF-8 in it, and NUL, would make libxml2 guess another charset or stop: it is replaced.

        Raises:
            ValueError: it is made to exhaust the parser.
            lxml.etree.LxmlError: there is nothing in it.
        """
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
        """Called by lxml at the end of the page; what was read stays in the fields."""
