"""Metalinks as a source of mirrors: version 3 (metalinker.org; served by Fedora's MirrorManager) and RFC 5854."""
from lxml import etree

from ..errors import FetchError
from ..model import MirrorList
from ..util.safe_parsers import parse_xml
from .collector import Collector, clean_number

_V3 = "{http://www.metalinker.org/}"
_RFC5854 = "{urn:ietf:params:xml:ns:metalink}"
_LAST = 10**6  # after every priority: RFC 5854 section 4.2.16 allows 1 to 999999
_MAX_ELEMENTS = 10000  # MirrorManager's largest answers have about 500


def parse_metalink(body: bytes, path: str) -> MirrorList:
    """Parse a metalink.

    Args:
        body: the XML, UTF-8; at most 2 MiB by the caller's limit.
        path: of the file below the base of each mirror; the ``file`` element with its name is read.

    Returns:
        The http and https mirrors, best first: highest ``preference`` (version 3), lowest ``priority``
        (RFC 5854). ``sha256`` is the file's own; alternates (mm0) are older files and are not read.

    Raises:
        FetchError: bad-answer: no metalink, a DOCTYPE, or nothing about this file.
    """
    root = _read_xml(body, path)
    name = path.rpartition("/")[2]
    files = list(root.iterfind("{0}files/{0}file".format(_V3))) + list(root.iterfind("{}file".format(_RFC5854)))
    element = next((file for file in files if file.get("name", "").rpartition("/")[2] == name), None)
    if element is None:
        raise FetchError("bad-answer", "the XML is no metalink of this file", where=path)
    collector = Collector("metalink")
    urls = list(element.iterfind("{0}resources/{0}url".format(_V3))) + list(element.iterfind("{}url".format(_RFC5854)))
    for url in sorted(urls, key=_order):
        collector.add((url.text or "").strip(), path, country=url.get("location", ""))
    hashes = list(element.iterfind("{0}verification/{0}hash".format(_V3))) + list(element.iterfind("{}hash".format(_RFC5854)))
    return collector.result(next((item.text or "" for item in hashes if item.get("type") in ("sha256", "sha-256")), ""))


def _read_xml(body: bytes, path: str) -> "etree._Element":
    """Parse without DTD, entities and network, and not deeper than libxml2's 256 elements."""
    # The encoding is forced, so a DOCTYPE can hide in no other one.
    if b"<!DOCTYPE" in body or body.count(b"<") > 2 * _MAX_ELEMENTS:
        raise FetchError("bad-answer", "a DOCTYPE or too many elements in a metalink", where=path)
    try:
        return parse_xml(body)
    except (etree.LxmlError, ValueError):
        raise FetchError("bad-answer", "the metalink is no well-formed XML", where=path) from None


def _order(url: "etree._Element") -> int:
    """Return a number that is smaller for better URLs; those without a preference come last."""
    preference = clean_number(url.get("preference", ""))
    return _LAST - preference if preference else clean_number(url.get("priority", "")) or _LAST
