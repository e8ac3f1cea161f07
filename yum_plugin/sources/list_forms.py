"""Which of the sources an answer is: servers are told apart by what they say, not by what they call it."""
from ..model import MirrorList
from . import mirrorbits, plain
from .metalink import parse_metalink

_HEAD_BYTES = 4096  # a metalink's root element stands in it, whatever comments come before


def parse_list(body: bytes, path: str) -> MirrorList:
    """Read a list of mirrors in any of the forms that redirectors give.

    Args:
        body: mirrorbits' JSON or its list page, a metalink (version 3 or RFC 5854), or a plain mirrorlist;
            at most 2 MiB by the caller's cap.
        path: the file asked for, without a leading "/".

    Returns:
        The mirrors, each ``url`` the root that ``path`` lies below.

    Raises:
        FetchError: bad-answer: it is none of them, or about another file.
    """
    head = body[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"{"):
        return mirrorbits.parse_selection_json(body, path)
    if not head.startswith(b"<"):
        return plain.parse_mirrorlist(body, path)
    if b"<metalink" in head:
        return parse_metalink(body, path)
    return mirrorbits.parse_list_page(body, path)
