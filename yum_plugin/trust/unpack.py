"""Decompresses metadata piece by piece: recognised by its first bytes, and never more than a limit.

Rules:
    1. A file is what its first bytes say: gzip, xz, bzip2, zstd, or not compressed. Its name means nothing.
    2. Several members (gzip), streams (xz, bzip2) or frames (zstd) one after another are one content, as for each format's own
       program; zeros may follow. Anything else behind the last one is damage.
    3. No decompressor gets more memory, and no caller more bytes, than a limit; what is beyond one is "unsupported".
    4. zstd needs the library ``zstandard``, or Python 3.14. Without either it is "unsupported".

Pure.
"""
import bz2
import lzma
import re
import zlib
from typing import Any, Callable, Iterator, Tuple

from ..errors import TrustError
from . import zstd_frames

PIECE_BYTES = 64 * 1024  # of compressed data; a decompressor copies what it has not used yet with each call
OUTPUT_BYTES = 256 * 1024
MAX_DICTIONARY_BYTES = 128 * 1024 * 1024  # xz -9 needs 65 MiB
MAX_MEMBERS = 65536  # bgzip makes one of each 64 KiB: 4 GiB
_GZIP_BITS = 31  # zlib: 15 bits of window, and a gzip header
_NOT_ZERO = re.compile(rb"[^\0]")
_DAMAGE = (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class _Inflater:
    """zlib with the methods that bz2 and lzma share."""

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


_KINDS: Tuple[Tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", _Inflater),
    (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_DICTIONARY_BYTES)),
    (b"BZh", bz2.BZ2Decompressor),
)


def unpacked(data: bytes, max_bytes: int) -> Iterator[bytes]:
    """Decompress a file of gzip, xz, bzip2 or zstd; any other file is returned as it is.

    Args:
        data: the whole file.
        max_bytes: the largest size of the content.

    Yields:
        The content, in pieces of at most 256 KiB.

    Raises:
        TrustError: "malformed": damaged, truncated or followed by other data; "unsupported": larger than ``max_bytes`` (a bomb),
            or rule 4.
    """
    left = max_bytes
    try:
        for piece in _opened(data):
            left -= len(piece)
            if left < 0:
                raise TrustError("unsupported", "a file that decompresses to more than {} bytes".format(max_bytes))
            yield piece
    except _DAMAGE as error:
        raise TrustError("malformed", "a damaged compressed file: {}".format(error)) from error


def _opened(data: bytes) -> Iterator[bytes]:
    if data.startswith(zstd_frames.MAGIC):
        return zstd_frames.unpacked(data)
    found = next(((magic, opener) for magic, opener in _KINDS if data.startswith(magic)), None)
    if found is None:
        return (data[at : at + OUTPUT_BYTES] for at in range(0, len(data), OUTPUT_BYTES))
    return _members(data, *found)


def _members(data: bytes, magic: bytes, opener: Callable[[], Any]) -> Iterator[bytes]:
    """Decompress one member after another (rule 2)."""
    taken = 0
    for _ in range(MAX_MEMBERS):
        member = opener()
        while not member.eof:
            piece = b""
            if member.needs_input:
                piece = data[taken : taken + PIECE_BYTES]
                taken += len(piece)
            output = member.decompress(piece, OUTPUT_BYTES)
            if output:
                yield output
            elif member.needs_input and taken == len(data) and not member.eof:
                raise EOFError("it is truncated")
        taken -= len(member.unused_data)
        follows = _NOT_ZERO.search(data, taken)
        if follows is None:
            return
        taken = follows.start()
        if not data.startswith(magic, taken):
            raise ValueError("other data follows it")
    raise TrustError("unsupported", "a file of more than {} compressed members, the limit of this program".format(MAX_MEMBERS))
