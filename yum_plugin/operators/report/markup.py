"""HTML and SVG that nothing of a server can break out of: whatever is no Markup is escaped.

Text goes through ``printable`` first: no control characters, no marks that turn the direction of writing, not long.
"""
import html
from typing import Iterable, Optional, Union

from ...util.text import printable


class Markup(str):
    """Text that is HTML already; only ``element`` and our own constants make it."""


Content = Union[str, Markup]
Attribute = Union[str, int, float, bool, None]


def text(value: str) -> Markup:
    """Escape a text for a place between tags or in a quoted attribute."""
    return value if isinstance(value, Markup) else Markup(html.escape(printable(value), quote=True))


def element(name: str, *content: Content, **attributes: Attribute) -> Markup:
    """Make an element.

    Args:
        name: of the element.
        content: what stands in it; plain texts are escaped.
        attributes: names with "_" for "-" and a last one dropped (``class_``); None and False: left out; True: without value.

    Returns:
        The element; one of VOID has no end tag.
    """
    opening = name + "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in VOID:
        return Markup("<{}>".format(opening))
    return Markup("<{}>{}</{}>".format(opening, joined(content), name))


VOID = ("meta", "link", "input", "br")  # of those that we use (HTML, section 13.1.2)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return " " + name
    shown = "{:.2f}".format(value).rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return ' {}="{}"'.format(name, text(value if isinstance(value, Markup) else shown))


def joined(content: Iterable[Content], between: str = "") -> Markup:
    """Put pieces behind each other; plain texts are escaped."""
    return Markup(text(between).join(text(piece) for piece in content))


def when(condition: object, content: Content) -> Content:
    """Return the content if the condition holds, else nothing."""
    return content if condition else ""


def link(url: str, words: Optional[str] = None) -> Markup:
    """Make a link without a referrer; a URL that is not http or https is shown as text."""
    if not url.startswith(("http://", "https://")):
        return text(url)
    target = Markup(html.escape(url, quote=True))  # whole: an address that is cut leads elsewhere
    return element("a", element("bdi", words or url), href=target, rel="noopener noreferrer nofollow")
