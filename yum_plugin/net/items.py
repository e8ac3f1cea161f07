"""The values of a download: what is fetched, from where, and what became of it."""
from typing import Any, Callable, NamedTuple, Optional

EARLIER = ""  # in place of a mirror's URL: the part that an earlier run left
LEFT = "left"  # as a reference: it was no fault of the mirror's; a quicker one was asked, or the host's own line was away


class Item(NamedTuple):
    """A file to fetch."""

    path: str  # below a mirror's base, from ``urls.safe_path``
    target: str  # absolute path of the file to be
    make_checker: Callable[[], Any]  # a new object with update(chunk) and finish(), which raise TrustError
    size: Optional[int] = None  # bytes, where signed metadata gives them


class Source(NamedTuple):
    """A mirror to fetch from."""

    url: str  # base of all items, ends in "/"
    answer_seconds: float = 0.0  # what an answer took when it was measured; 0: unknown
    rate: float = 0.0  # bytes per second, measured; 0: unknown
    last_resort: bool = False  # asked after every other one: the origin
    proven: bool = False  # it has served good metadata: its first answer may be a whole large file


class Attempt(NamedTuple):
    """The result of one try."""

    mirror: str  # Source.url
    reference: str  # "ok", LEFT or a reference of errors.py
    what: str
    bytes: int  # that arrived in this try
    rate: float = 0.0  # bytes per second; 0: not measured
