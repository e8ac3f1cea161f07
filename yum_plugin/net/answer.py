"""Whether an answer's header announces the bytes that were asked for. Pure."""
import re
from typing import Optional, Tuple

from ..errors import FetchError
from ..util.text import whole_number
from .session import NO_RANGE, Stream

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})\Z")  # RFC 9110 section 14.4, the length known


def start_of_answer(stream: Stream, offset: int, end: Optional[int], size: Optional[int]) -> int:
    """Return at which byte of the file an answer begins, ``offset`` or 0; raise FetchError if it is not the missing part.

    ``end`` is the byte behind the last one that was asked for, None for the whole rest; a server without ranges sends the whole
    file.
    """
    start, expected_end = 0, size
    if stream.status in NO_RANGE:
        raise FetchError("http-status", "HTTP {}".format(stream.status))
    if stream.status == 206:
        start = offset
        first, last, total = _content_range(stream)
        if first != offset:
            raise FetchError("bad-answer", "a part of the file that was not asked for")
        _check_size(total, size)
        expected_end = total if end is None else end
        if last != expected_end - 1:
            raise FetchError("bad-answer", "another part of the file than was asked for")
    length = whole_number(stream.headers.get("content-length", ""))
    if size is not None and expected_end is not None and length is not None and "transfer-encoding" not in stream.headers:
        _check_size(length, expected_end - start)
    return start


def _content_range(stream: Stream) -> Tuple[int, ...]:
    """Return the first and the last byte of a part, and the size of the whole file; bad-answer if the header lacks them."""
    match = _CONTENT_RANGE.match(stream.headers.get("content-range", ""))
    if match is None:
        raise FetchError("bad-answer", "a part of the file, and it does not say which")
    return tuple(int(digits) for digits in match.groups())


def _check_size(announced: int, expected: Optional[int]) -> None:
    if expected not in (None, announced):
        reference = "truncated" if announced < (expected or 0) else "too-large"
        raise FetchError(reference, "it announces {} bytes instead of {}".format(announced, expected))
