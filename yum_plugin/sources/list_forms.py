"""The parser for an answer, chosen by the answer's content and not by its Content-Type."""
from ..model import MirrorList
from . import mirrorbits, plain
from .metalink import parse_metalink

_HEAD_BYTES = 4096  # contains a metalink's root element, also after comments


def parse_list(body: bytes, path: str) -> MirrorList:
    """Parse a list of mirrors in any of the forms that redirectors serve.

    Args:
        body: mirrorbits' JSON or its list page, a metalink (version 3 or RFC 5854), or a plain mirrorlist;
            at most 2 MiB by the caller's limit.
        path: of the file, without a leading "/".

    Returns:
        The mirrors; each ``url`` is the root of ``path``.

    Raises:
        FetchError: bad-answer: it has none of these forms, or is about another file.
    """
    head = body[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"{"):
        return mirrorbits.parse_selection_json(body, path)
    if not head.startswith(b"<"):
        return plain.parse_mirrorlist(body, path)
    if b"<metalink" in head:
        return parse_metalink(body, path)
    return mirrorbits.parse_list_page(body, path)
