"""Decompresses metadata piece by piece: recognised by its first bytes, and never more than a limit.

Pure.
"""
import bz2
import lzma
import zlib
from typing import Any, Iterator

from ..errors import TrustError

PIECE_BYTES = 64 * 1024  # of compressed data; a decompressor copies what it has not used yet with each call
OUTPUT_BYTES = 256 * 1024
MAX_DICTIONARY_BYTES = 128 * 1024 * 1024  # xz -9 needs 65 MiB
_GZIP_BITS = 31  # zlib: 15 bits of window, and a gzip header
_DAMAGE = (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class _Inflater:
    """zlib with the methods that bz2, lzma and zstd share."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_BITS)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
    except ImportError as error:
        raise TrustError("unsupported", "this Python cannot decompress zstd") from error
    return zstd.ZstdDecompressor()


_KINDS = (
    (b"\x1f\x8b", _Inflater),
    (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_DICTIONARY_BYTES)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\x28\xb5\x2f\xfd", _zstd),
)


def unpacked(data: bytes, max_bytes: int) -> Iterator[bytes]:
    """Decompress a file of gzip, xz, bzip2 or zstd; any other file is returned as it is.

    Args:
        data: the whole file.
        max_bytes: the largest size of the content.

    Yields:
        The content, in pieces of at most 256 KiB.

    Raises:
        TrustError: "malformed": damaged, truncated, followed by other data, or larger than ``max_bytes`` (a bomb);
            "unsupported": zstd on a Python without it.
    """
    start = next((start for magic, start in _KINDS if data.startswith(magic)), None)
    pieces = _opened(data, start) if start else (data[at : at + OUTPUT_BYTES] for at in range(0, len(data), OUTPUT_BYTES))
    left = max_bytes
    try:
        for piece in pieces:
            left -= len(piece)
            if left < 0:
                raise TrustError("malformed", "a file that decompresses to more than {} bytes".format(max_bytes))
            yield piece
    except _DAMAGE as error:
        raise TrustError("malformed", "a damaged compressed file: {}".format(error)) from error


def _opened(data: bytes, start: Any) -> Iterator[bytes]:
    opener, taken = start(), 0
    while not opener.eof:
        piece = b""
        if opener.needs_input:
            piece = data[taken : taken + PIECE_BYTES]
            taken += len(piece)
        output = opener.decompress(piece, OUTPUT_BYTES)
        if output:
            yield output
        elif opener.needs_input and taken == len(data) and not opener.eof:
            raise EOFError("it is truncated")
    if opener.unused_data or taken < len(data):
        raise ValueError("other data follows it")
