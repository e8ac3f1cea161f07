"""The structure of an RPM file: lead and headers; a strict reader that decides nothing about trust.

A file consists of the lead (96 bytes), the signature header, zero padding to a multiple of 8, the main header, and the payload.
A header consists of an introduction of 16 bytes, an index of 16 bytes for each tag, and the tags' data. All is big-endian.

Rules:
    1. The two lengths in a header's introduction are checked against the limits of the newest rpm before the rest of it is read.
       An older rpm has smaller ones, and refuses what is beyond them itself.
    2. The first tag is the region, whose trailer lies inside the data. The region of the main header includes all tags:
       a tag outside it would not be signed.
    3. Every tag has a type from 1 to 9 and a count. Its data is aligned and complete, and lies between the previous tag's
       and the next one's. Strings end with NUL. No tag occurs twice.
    4. Tags that are used have the type that rpm gives them, and one value; the list of signatures (278) has up to four.
    5. In the signature header, which is not signed, only known tags may occur: rpm copies some of them into its
       database (CVE-2021-20271).
The cost is linear in the size of the header, and nothing is kept but its index and the values that are used. Tag numbers are
those of rpm's rpmtag.h.

Pure.
"""
import re
import struct
from typing import Dict, FrozenSet, Generator, List, Mapping, NamedTuple, Optional, Pattern, Sequence, Tuple

from ..errors import TrustError
from .packets import MAX_SIGNATURES

MAGIC = b"\xed\xab\xee\xdb"
LEAD_BYTES = 96  # with the magic
INTRODUCTION_BYTES = 16
_HEADER_MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
_INDEX_BYTES = 16  # of one tag
_HEADER_STYLE_SIGNATURE = 5  # the only signature type that rpm reads since 1998 (rpmlead.c)

MD5 = 1004
HEADER_SHA1 = 269
HEADER_SHA256 = 273
SIGNATURE_LIST = 278  # rpm 6: base64 of signatures over the main header
HEADER_SIGNATURES = (267, 268, SIGNATURE_LIST)  # DSA, ECDSA and EdDSA; RSA; any. Over the main header
PAYLOAD_SIGNATURES = (1005, 1002)  # DSA, ECDSA and EdDSA; RSA. Over main header and payload
NAME, VERSION, RELEASE, EPOCH, ARCH = 1000, 1001, 1002, 1003, 1022
SOURCE_RPM = 1044  # the source package it was built from; a source package has no such tag
PAYLOAD_SHA256 = 5092  # of the payload as it is in the file, compressed
PAYLOAD_DIGEST_ALGORITHM = 5093

_INT32, _STRING, _BINARY, _STRINGS = 4, 6, 7, 8
# Type -> bytes of one value, which are its alignment too: CHAR, INT8, INT16, INT32, INT64, BIN
_SIZES = {1: 1, 2: 1, 3: 2, _INT32: 4, 5: 8, _BINARY: 1}
_STRING_TYPES = frozenset([_STRING, _STRINGS, 9])  # 9: I18NSTRING
_REGION_BYTES = 16
MAX_VALUE_BYTES = 64 * 1024  # of a tag that is used; a signature has less than 1 KiB

# The form of a value
_ANY = re.compile(rb"")
_WORD = re.compile(rb"[!-.0-~]{1,255}\Z")  # visible ASCII without the slash
_SHA256 = re.compile(rb"[0-9a-f]{64}\Z")
_SHA1 = re.compile(rb"[0-9a-f]{40}\Z")
_MD5 = re.compile(rb".{16}\Z", re.DOTALL)

Header = Dict[int, Tuple[bytes, ...]]  # the tags that are used -> their values; strings without the final NUL


class HeaderFormat(NamedTuple):
    """How the two headers differ."""

    title: str
    region: int  # the tag of the region
    whole_region: bool  # whether nothing may lie outside the region
    max_tags: int
    max_data_bytes: int
    alignment: int  # of what follows, in bytes
    read: Mapping[int, Tuple[int, Pattern[bytes]]]  # the tags that are used -> their type and form
    allowed: FrozenSet[int]  # all tags that may occur; empty: any


SIGNATURE = HeaderFormat(
    title="signature header",
    region=62,
    whole_region=False,
    max_tags=32,  # rpm 4.11 and newer (signature.c)
    max_data_bytes=64 * 1024 * 1024,  # rpm 4.14 and newer: they put the files' signatures in it
    alignment=8,
    read={
        **dict.fromkeys((267, 268) + PAYLOAD_SIGNATURES, (_BINARY, _ANY)),
        SIGNATURE_LIST: (_STRINGS, _ANY),
        HEADER_SHA1: (_STRING, _SHA1),
        HEADER_SHA256: (_STRING, _SHA256),
        MD5: (_BINARY, _MD5),
    },
    allowed=frozenset([62, 999, 1000, 1002, 1004, 1005, 1007, 1008]) | frozenset(range(256, 282)),
)
MAIN = HeaderFormat(
    title="main header",
    region=63,
    whole_region=True,
    max_tags=0xFFFF,
    max_data_bytes=0x0FFFFFFF,  # header.c:HEADER_DATA_MAX of rpm 4.14 and newer
    alignment=1,
    read={
        **dict.fromkeys((NAME, VERSION, RELEASE, ARCH), (_STRING, _WORD)),
        SOURCE_RPM: (_STRING, _ANY),
        EPOCH: (_INT32, _ANY),
        PAYLOAD_SHA256: (_STRINGS, _SHA256),
        PAYLOAD_DIGEST_ALGORITHM: (_INT32, _ANY),
    },
    allowed=frozenset(),
)
# One line of the index: tag, type, offset from the header's start, count
_Entry = Tuple[int, int, int, int]


def check_magic(start: bytes) -> None:
    """Refuse a file that is not an RPM, by its first four bytes.

    Raises:
        TrustError: "malformed".
    """
    if not start:
        raise TrustError("malformed", "an empty file instead of an RPM")
    if start.lstrip().startswith(b"<"):
        raise TrustError("malformed", "an HTML or XML page instead of an RPM")
    if start != MAGIC:
        raise TrustError("malformed", "not an RPM file")


def read_lead(lead: bytes) -> bool:
    """Check the lead. It is not signed, and its name means nothing.

    Args:
        lead: the ``LEAD_BYTES`` that a file starts with.

    Returns:
        Whether the lead says that it is a source package.

    Raises:
        TrustError: "unsupported": an RPM from before 1998, or of an unknown version; "malformed": neither binary nor source.
    """
    major, kind, signature_type = struct.unpack(">4xBxH70xH16x", lead)
    if major not in (3, 4) or signature_type != _HEADER_STYLE_SIGNATURE:
        raise TrustError("unsupported", "an RPM of version {} with signature type {}".format(major, signature_type))
    if kind not in (0, 1):
        raise TrustError("malformed", "an RPM that is neither a binary nor a source package")
    return bool(kind)


class HeaderReader:
    """Reads a header that arrives in pieces. It keeps the index, at most 1 MiB, and the values that are used; nothing else.

    Args:
        introduction: the first ``INTRODUCTION_BYTES`` of the header.
        kind: ``SIGNATURE`` or ``MAIN``.

    Attributes:
        left: the bytes of index, data and padding that are still to come.

    Raises:
        TrustError: "malformed": not a header; "unsupported": beyond rule 1.
    """

    def __init__(self, introduction: bytes, kind: HeaderFormat) -> None:
        tags, self._data_bytes = _lengths(introduction, kind)
        self._kind = kind
        self._index_bytes = tags * _INDEX_BYTES
        self.left = self._index_bytes + self._data_bytes + -self._data_bytes % kind.alignment
        self._header: Header = {}
        self._flaw: Optional[TrustError] = None
        self._piece, self._position = b"", 0  # the newest piece, and how much of it was read
        self._reader = self._read()
        next(self._reader)

    def update(self, piece: bytes) -> None:
        """Take the next bytes, at most ``left``; ``finish`` tells what is wrong with them."""
        self.left -= len(piece)
        try:
            if self._flaw is None:
                self._reader.send(piece)
        except TrustError as error:
            self._flaw = error

    def finish(self) -> Header:
        """Return the values of the tags that are used, when nothing is left.

        Raises:
            TrustError: "malformed", or "unsupported": an unknown tag in the signature header.
        """
        if self._flaw is not None:
            raise self._flaw
        return self._header

    def _read(self) -> Generator[None, bytes, None]:
        """Read everything behind the introduction; is sent it piece by piece."""
        _, index = yield from self._take(self._index_bytes, True)
        order = _order_by_data(list(struct.iter_unpack(">4I", index)), self._data_bytes, self._kind)
        at = order[0][2]
        yield from self._take(min(at, self._data_bytes), False)
        for entry, boundary in zip(order, [entry[2] for entry in order[1:]] + [self._data_bytes]):
            zeros, value = 0, b""
            if at == entry[2] <= boundary <= self._data_bytes:
                is_kept = (entry[0] in self._kind.read or entry[0] == self._kind.region) and boundary - at <= MAX_VALUE_BYTES
                stop = self._position + boundary - at
                if is_kept or stop > len(self._piece):
                    zeros, value = yield from self._take(boundary - at, is_kept)
                else:  # the rule, and faster
                    zeros, self._position = self._piece.count(0, self._position, stop), stop
                at = boundary
            if at != boundary or not _is_sound(entry, zeros, boundary):
                raise TrustError("malformed", "an RPM whose {} has a damaged tag {}".format(self._kind.title, entry[0]))
            if entry[0] == self._kind.region:
                _check_trailer(value, order.index(entry) + 1, self._kind)
            elif entry[0] in self._kind.read:
                self._header[entry[0]] = _read_values(entry, value, boundary, self._kind)
        while not any(self._piece[self._position :]):
            self._piece, self._position = (yield), 0
        raise TrustError("malformed", "an RPM whose padding is not zero")

    def _take(self, count: int, keep: bool) -> Generator[None, bytes, Tuple[int, bytes]]:
        """Read so many bytes, and return how many of them are NUL, and if they are to be kept the bytes themselves."""
        kept, zeros = bytearray(), 0
        while True:
            part = self._piece[self._position : self._position + count]
            self._position += len(part)
            count -= len(part)
            zeros += part.count(0)
            if keep:
                kept += part
            if not count:
                return zeros, bytes(kept)
            self._piece, self._position = (yield), 0


def _lengths(introduction: bytes, kind: HeaderFormat) -> Tuple[int, int]:
    """Return the number of tags and of data bytes, after rule 1."""
    if not introduction.startswith(_HEADER_MAGIC):
        raise TrustError("malformed", "an RPM without a {}".format(kind.title))
    tags, data_bytes = struct.unpack_from(">2I", introduction, 8)
    if not tags:
        raise TrustError("malformed", "an RPM whose {} has no tags".format(kind.title))
    if tags > kind.max_tags or data_bytes > kind.max_data_bytes:
        raise TrustError("unsupported", "an RPM whose {} has {} tags and {} bytes, more than rpm reads".format(
            kind.title, tags, data_bytes))
    return tags, data_bytes


def read_header(raw: bytes, kind: HeaderFormat) -> Header:
    """Read a whole header, with its introduction and nothing behind it; arguments and errors as of ``HeaderReader``."""
    reader = HeaderReader(raw[:INTRODUCTION_BYTES], kind)
    reader.update(raw[INTRODUCTION_BYTES:])
    return reader.finish()


def _order_by_data(entries: List[_Entry], end: int, kind: HeaderFormat) -> List[_Entry]:
    """Check rule 2 but for the trailer, and that no tag occurs twice and rule 5; return the tags in the order of their data.

    The region's data is its trailer, which lies behind the data of its tags.
    """
    tag, type_, offset, count = entries[0]
    if (tag, type_, count) != (kind.region, _BINARY, _REGION_BYTES) or offset + _REGION_BYTES > end:
        raise TrustError("malformed", "an RPM whose {} has no region".format(kind.title))
    if kind.whole_region and offset + _REGION_BYTES < end:  # no tag outside the region has data then: every tag has some
        raise TrustError("malformed", "an RPM whose {} has something outside its region".format(kind.title))
    inside = 1
    while inside < len(entries) and entries[inside][2] < offset:
        inside += 1
    order = entries[1:inside] + entries[:1] + entries[inside:]
    _check_tags([entry[0] for entry in order], kind)
    return order


def _check_trailer(trailer: bytes, inside: int, kind: HeaderFormat) -> None:
    """Check that the region has the tags whose data precedes it (rule 2), and itself."""
    if struct.unpack_from(">2IiI", trailer) != (kind.region, _BINARY, -inside * _INDEX_BYTES, _REGION_BYTES):
        raise TrustError("malformed", "an RPM whose {} has a damaged region".format(kind.title))


def _check_tags(tags: Sequence[int], kind: HeaderFormat) -> None:
    """Check that no tag occurs twice (rule 3), and rule 5."""
    if len(set(tags)) != len(tags):
        raise TrustError("malformed", "an RPM whose {} has a tag twice".format(kind.title))
    unknown = set(tags) - kind.allowed if kind.allowed else ()
    if unknown:
        raise TrustError("unsupported", "an RPM whose {} has an unknown tag {}".format(kind.title, min(unknown)))


def _is_sound(entry: _Entry, zeros: int, boundary: int) -> bool:
    """Tell whether a tag obeys rule 3; ``zeros`` are in its data, which the next tag's follows at ``boundary``."""
    _, type_, offset, count = entry
    if type_ in _STRING_TYPES:
        return 1 <= count <= zeros and (type_ != _STRING or count == 1)
    size = _SIZES.get(type_, 0)
    return count >= 1 and size > 0 and offset % size == 0 and offset + count * size <= boundary


def _read_values(entry: _Entry, value: bytes, boundary: int, kind: HeaderFormat) -> Tuple[bytes, ...]:
    """Check rule 4, and return a tag's values."""
    tag, type_, offset, count = entry
    expected, look = kind.read[tag]
    most = MAX_SIGNATURES if tag == SIGNATURE_LIST else 1
    fits = type_ == expected and (type_ == _BINARY or count <= most) and boundary - offset <= MAX_VALUE_BYTES
    values: Tuple[bytes, ...] = ()
    if fits and type_ in _STRING_TYPES:
        values = tuple(value.split(b"\0", count)[:count])
    elif fits:
        values = (value[: count * _SIZES[type_]],)
    if not fits or not look.match(values[0]):
        raise TrustError("malformed", "an RPM with a malformed value of tag {}".format(tag))
    return values
