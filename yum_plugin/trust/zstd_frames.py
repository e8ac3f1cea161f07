"""Decompresses zstd (RFC 8878) with whichever library there is, a few blocks at a time.

The frames are taken apart here, because the libraries differ in what they say about the end of one, and most limit no output:
a block decompresses to at most 128 KiB, so a few of them are a bounded piece. What is in a block is the library's.

Pure.
"""
import re
from typing import Any, Generator, Iterator, NamedTuple, Tuple, Type

from ..errors import TrustError

MAGIC = b"\x28\xb5\x2f\xfd"
MAX_WINDOW_BYTES = 128 * 1024 * 1024  # of memory for each frame; what zstd itself accepts without --long, and -22 needs
MAX_FRAMES = 65536  # pzstd makes one of each few megabytes
BLOCKS = 2  # fed at once: 256 KiB
_SKIPPABLE = b"\x2a\x4d\x18"  # behind 0x50 to 0x5f
_RLE, _RESERVED = 1, 3
_NOT_ZERO = re.compile(rb"[^\0]")
HINT = "install python3-zstandard; its owner can use createrepo_c --general-compress-type=gz"


class _FrameHeader(NamedTuple):
    """The beginning of a frame."""

    bytes: int  # with the magic
    window_bytes: int
    has_checksum: bool


def new_decompressor() -> Tuple[Any, Type[Exception]]:
    """Return an object with ``decompress(data)`` for one frame, and what that raises for damage.

    Raises:
        TrustError: unsupported: there is no library.
    """
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore]
        return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompressobj(), zstandard.ZstdError
    except ImportError:
        pass
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
        return zstd.ZstdDecompressor(), zstd.ZstdError  # its own limit of the window is the same
    except ImportError as error:
        raise TrustError("unsupported", "this Python cannot decompress zstd", hint=HINT) from error


def unpacked(data: bytes) -> Iterator[bytes]:
    """Decompress frames, and skip those that are to be skipped.

    Args:
        data: whole frames; zeros may follow.

    Yields:
        The content, in pieces of at most 256 KiB.

    Raises:
        ValueError: it is damaged.
        EOFError: it is truncated.
        TrustError: unsupported: no library, or a dictionary is needed; or a frame needs too much memory.
    """
    at = 0
    for _ in range(MAX_FRAMES):
        if at == len(data) or not _NOT_ZERO.search(data, at):
            return
        if data[at + 1 : at + 4] == _SKIPPABLE and 0x50 <= data[at] <= 0x5F:
            at = _end(data, at + 8 + _number(data, at + 4, 4))
        elif data.startswith(MAGIC, at):
            at = yield from _frame(data, at)
        else:
            raise ValueError("other data follows it")
    raise TrustError("unsupported", "a file of more than {} compressed frames, the limit of this program".format(MAX_FRAMES))


def _frame(data: bytes, at: int) -> Generator[bytes, None, int]:
    """Decompress the frame at an offset, and return where it ends."""
    header = _read_header(data, at)
    if header.window_bytes > MAX_WINDOW_BYTES:
        raise TrustError("unsupported", "a file that needs more memory than {} bytes, the limit of this program".format(
            MAX_WINDOW_BYTES))
    decompressor, damage = new_decompressor()
    begin, at, blocks, is_last = at, at + header.bytes, 0, False
    while not is_last:
        block = _number(data, at, 3)
        is_last, kind = bool(block & 1), block >> 1 & 3
        if kind == _RESERVED:
            raise ValueError("a block of an unknown kind")
        at, blocks = _end(data, at + 3 + (1 if kind == _RLE else block >> 3)), blocks + 1
        if is_last and header.has_checksum:
            at = _end(data, at + 4)
        if is_last or blocks == BLOCKS:
            try:
                piece = decompressor.decompress(data[begin:at])
            except damage as error:
                raise ValueError(str(error)) from error
            begin, blocks = at, 0
            if piece:
                yield piece
    return at


def _read_header(data: bytes, at: int) -> _FrameHeader:
    """Read a frame header (RFC 8878 section 3.1.1.1)."""
    descriptor = _number(data, at + 4, 1)
    is_single, place = bool(descriptor & 0x20), at + 5
    if descriptor & 3 and _number(data, place + (not is_single), (0, 1, 2, 4)[descriptor & 3]):
        raise TrustError("unsupported", "a zstd file that needs a dictionary")
    size_bytes = (int(is_single), 2, 4, 8)[descriptor >> 6]
    window = 0
    if not is_single:
        value = _number(data, place, 1)
        base = 1 << 10 + (value >> 3)
        window = base + (base >> 3) * (value & 7)
        place += 1
    place += (0, 1, 2, 4)[descriptor & 3]
    if is_single:
        window = _number(data, place, size_bytes) + (256 if size_bytes == 2 else 0)
    return _FrameHeader(_end(data, place + size_bytes) - at, window, bool(descriptor & 4))


def _number(data: bytes, at: int, count: int) -> int:
    _end(data, at + count)
    return int.from_bytes(data[at : at + count], "little")


def _end(data: bytes, at: int) -> int:
    if at > len(data):
        raise EOFError("it is truncated")
    return at
