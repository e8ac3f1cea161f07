"""The structure of an RPM file: lead and headers; a strict reader that decides nothing about trust.

A file consists of the lead (96 bytes), the signature header, zero padding to a multiple of 8, the main header, and the payload.
A header consists of an introduction of 16 bytes, an index of 16 bytes for each tag, and the tags' data. All is big-endian.

Rules:
    1. The two lengths in a header's introduction are checked against its limits before the rest of it is read.
    2. The first tag is the region, whose trailer lies inside the data. The region of the main header includes all tags:
       a tag outside it would not be signed.
    3. Every tag has a type from 1 to 9 and a count. Its data is aligned and complete, and lies between the previous tag's
       and the next one's. Strings end with NUL. No tag occurs twice.
    4. Tags that are used have the type that rpm gives them, and one value; the list of signatures (278) has up to four.
    5. In the signature header, which is not signed, only known tags may occur: rpm copies some of them into its
       database (CVE-2021-20271).
The cost is linear in the size of the header. Tag numbers are those of rpm's rpmtag.h.

Pure.
"""
import re
import struct
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Pattern, Sequence, Tuple

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
    max_data_bytes=1024 * 1024,  # EL7's rpm allows 8 KiB, newer ones more: they put the files' signatures in it
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
    max_data_bytes=16 * 1024 * 1024,  # the limit of EL7's rpm (header.c); newer ones allow 256 MiB, which no package needs
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


def body_bytes(introduction: bytes, kind: HeaderFormat) -> int:
    """Return the number of bytes that follow a header's introduction.

    Args:
        introduction: the first ``INTRODUCTION_BYTES`` of the header.
        kind: ``SIGNATURE`` or ``MAIN``.

    Returns:
        The length of index, data and padding, in bytes; at least 16.

    Raises:
        TrustError: "malformed": not a header, or larger than the limits of its kind.
    """
    tags, data_bytes = _lengths(introduction)
    if not introduction.startswith(_HEADER_MAGIC):
        raise TrustError("malformed", "an RPM without a {}".format(kind.title))
    if not 1 <= tags <= kind.max_tags or data_bytes > kind.max_data_bytes:
        raise TrustError("malformed", "an RPM whose {} has {} tags and {} bytes".format(kind.title, tags, data_bytes))
    return tags * _INDEX_BYTES + data_bytes + -data_bytes % kind.alignment


def _lengths(introduction: bytes) -> Tuple[int, int]:
    """Return the number of tags and of data bytes."""
    tags, data_bytes = struct.unpack_from(">2I", introduction, 8)
    return tags, data_bytes


def read_header(raw: bytes, kind: HeaderFormat) -> Header:
    """Read a header, after all of it was checked.

    Args:
        raw: the introduction and the bytes that follow it, as many as ``body_bytes`` returned.
        kind: ``SIGNATURE`` or ``MAIN``.

    Returns:
        The values of the tags that are used.

    Raises:
        TrustError: "malformed", or "unsupported": an unknown tag in the signature header.
    """
    tags, data_bytes = _lengths(raw)
    # The data starts at a multiple of every alignment, so that offsets in ``raw`` and in the data are aligned alike
    start = INTRODUCTION_BYTES + tags * _INDEX_BYTES
    end = start + data_bytes
    if any(raw[end:]):
        raise TrustError("malformed", "an RPM whose padding is not zero")
    index = struct.iter_unpack(">4I", memoryview(raw)[INTRODUCTION_BYTES:start])
    entries = _order_by_data([(tag, type_, start + offset, count) for tag, type_, offset, count in index], raw, end, kind)
    _check_tags([entry[0] for entry in entries], kind)
    header: Header = {}
    for entry, boundary in zip(entries, [entry[2] for entry in entries[1:]] + [end]):
        if not _is_sound(entry, raw, boundary):
            raise TrustError("malformed", "an RPM whose {} has a damaged tag {}".format(kind.title, entry[0]))
        if entry[0] in kind.read:
            header[entry[0]] = _read_values(entry, raw, boundary, kind)
    return header


def _order_by_data(entries: List[_Entry], raw: bytes, end: int, kind: HeaderFormat) -> List[_Entry]:
    """Check rule 2, and move the region behind its tags: its data, the trailer, lies there."""
    tag, type_, offset, count = entries[0]
    if (tag, type_, count) != (kind.region, _BINARY, _REGION_BYTES) or offset + _REGION_BYTES > end:
        raise TrustError("malformed", "an RPM whose {} has no region".format(kind.title))
    trailer = struct.unpack_from(">2IiI", raw, offset)
    inside = -trailer[2] // _INDEX_BYTES
    if trailer != (kind.region, _BINARY, -inside * _INDEX_BYTES, _REGION_BYTES) or not 1 <= inside <= len(entries):
        raise TrustError("malformed", "an RPM whose {} has a damaged region".format(kind.title))
    if kind.whole_region and offset + _REGION_BYTES < end:  # no tag outside the region has data then: every tag has some
        raise TrustError("malformed", "an RPM whose {} has something outside its region".format(kind.title))
    return entries[1:inside] + entries[:1] + entries[inside:]


def _check_tags(tags: Sequence[int], kind: HeaderFormat) -> None:
    """Check that no tag occurs twice (rule 3), and rule 5."""
    if len(set(tags)) != len(tags):
        raise TrustError("malformed", "an RPM whose {} has a tag twice".format(kind.title))
    unknown = set(tags) - kind.allowed if kind.allowed else ()
    if unknown:
        raise TrustError("unsupported", "an RPM whose {} has an unknown tag {}".format(kind.title, min(unknown)))


def _is_sound(entry: _Entry, raw: bytes, boundary: int) -> bool:
    """Tell whether a tag obeys rule 3; ``boundary`` is where the next tag's data begins, or the data ends."""
    _, type_, offset, count = entry
    if type_ in _STRING_TYPES:
        return 1 <= count <= raw.count(0, offset, boundary) and (type_ != _STRING or count == 1)
    size = _SIZES.get(type_, 0)
    return count >= 1 and size > 0 and offset % size == 0 and offset + count * size <= boundary


def _read_values(entry: _Entry, raw: bytes, boundary: int, kind: HeaderFormat) -> Tuple[bytes, ...]:
    """Check rule 4, and return a tag's values."""
    tag, type_, offset, count = entry
    expected, look = kind.read[tag]
    most = MAX_SIGNATURES if tag == SIGNATURE_LIST else 1
    fits = type_ == expected and (type_ == _BINARY or count <= most) and boundary - offset <= MAX_VALUE_BYTES
    values: Tuple[bytes, ...] = ()
    if fits and type_ in _STRING_TYPES:
        values = tuple(raw[offset:boundary].split(b"\0", count)[:count])
    elif fits:
        values = (raw[offset : offset + count * _SIZES[type_]],)
    if not fits or not look.match(values[0]):
        raise TrustError("malformed", "an RPM with a malformed value of tag {}".format(tag))
    return values
