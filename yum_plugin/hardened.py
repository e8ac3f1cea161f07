"""The XML parsers for what servers wrote: no DTD, no entities, no network, libxml2's own limits on depth and size.

The encoding is forced to UTF-8, so that a caller's search for a DOCTYPE misses none that hides in another one.
"""
from typing import Any, Dict

from lxml import etree

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
