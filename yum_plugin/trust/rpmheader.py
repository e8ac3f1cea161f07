"""The structure of an RPM file: lead and headers; a strict reader that decides nothing about trust.

A file is: lead (96 bytes), signature header, zero padding to a multiple of 8, main header, payload to the end.
A header is: 16 bytes of introduction, an index of 16 bytes a tag, and the tags' data. Everything is big-endian.

Rules, beside what the functions say:
    1. A header's two lengths are held against its limits before a byte of it is waited for.
    2. Its first tag is its region, whose trailer lies inside the data. In the main header the region is everything:
       a tag outside it would be one that nobody signed.
    3. Every tag has a type from 1 to 9, a count, and data that is aligned, behind the previous tag's, before the
       next one's and complete; strings are ended. No tag is there twice.
    4. The tags that are read have the type that rpm gives them, and one value; a list of signatures has up to four.
    5. In the signature header, which nobody signs, only known tags may be: rpm copies some of them into its
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
HEADER_SIGNATURES = (267, 268, SIGNATURE_LIST)  # DSA and its like, RSA, all; over the main header
PAYLOAD_SIGNATURES = (1005, 1002)  # the same two, over main header and payload
NAME, VERSION, RELEASE, EPOCH, ARCH = 1000, 1001, 1002, 1003, 1022
SOURCE_RPM = 1044  # which source package it was built from; a source package has none
PAYLOAD_SHA256 = 5092  # of the payload as it is in the file
PAYLOAD_DIGEST_ALGORITHM = 5093

_INT32, _STRING, _BINARY, _STRINGS = 4, 6, 7, 8
# Type -> bytes of one value, which are its alignment too: CHAR, INT8, INT16, INT32, INT64, BIN
_SIZES = {1: 1, 2: 1, 3: 2, _INT32: 4, 5: 8, _BINARY: 1}
_STRING_TYPES = frozenset([_STRING, _STRINGS, 9])  # 9: I18NSTRING
_REGION_BYTES = 16
MAX_VALUE_BYTES = 64 * 1024  # of a tag that is read; a signature has less than 1 KiB

# What a value must look like
_ANY = re.compile(rb"")
_WORD = re.compile(rb"[!-.0-~]{1,255}\Z")  # visible ASCII without the slash
_SHA256 = re.compile(rb"[0-9a-f]{64}\Z")
_SHA1 = re.compile(rb"[0-9a-f]{40}\Z")
_MD5 = re.compile(rb".{16}\Z", re.DOTALL)

Header = Dict[int, Tuple[bytes, ...]]  # the tags that are read -> their values; strings without the final NUL


class Kind(NamedTuple):
    """What sets the two headers apart."""

    title: str
    region: int  # the tag of the region
    whole_region: bool  # nothing may be outside it
    max_tags: int
    max_data_bytes: int
    alignment: int  # of what follows, in bytes
    read: Mapping[int, Tuple[int, Pattern[bytes]]]  # the tags that are read -> their type and look
    allowed: FrozenSet[int]  # all tags there may be; empty: any


SIGNATURE = Kind(
    title="signature header",
    region=62,
    whole_region=False,
    max_tags=32,  # rpm 4.11 and newer (signature.c)
    max_data_bytes=1024 * 1024,  # EL7's rpm takes 8 KiB, newer ones more: they put signatures of files in it
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
MAIN = Kind(
    title="main header",
    region=63,
    whole_region=True,
    max_tags=0xFFFF,
    max_data_bytes=16 * 1024 * 1024,  # what EL7's rpm takes (header.c); newer ones take 256 MiB, which nobody needs
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
    """Refuse what is no RPM by its first four bytes.

    Raises:
        TrustError: "malformed".
    """
    if not start:
        raise TrustError("malformed", "an empty file instead of an RPM")
    if start.lstrip().startswith(b"<"):
        raise TrustError("malformed", "an HTML or XML page instead of an RPM")
    if start != MAGIC:
        raise TrustError("malformed", "no RPM file")


def read_lead(lead: bytes) -> bool:
    """Read what matters of the lead: nobody signs it, and its name is not the package's.

    Args:
        lead: the ``LEAD_BYTES`` that a file starts with.

    Returns:
        Whether it says "source package".

    Raises:
        TrustError: "unsupported": an RPM of before 1998, or of a version to come; "malformed".
    """
    major, kind, signature_type = struct.unpack(">4xBxH70xH16x", lead)
    if major not in (3, 4) or signature_type != _HEADER_STYLE_SIGNATURE:
        raise TrustError("unsupported", "an RPM of version {} with signature type {}".format(major, signature_type))
    if kind not in (0, 1):
        raise TrustError("malformed", "an RPM that is neither a binary nor a source package")
    return bool(kind)


def body_bytes(introduction: bytes, kind: Kind) -> int:
    """Tell how much of a header follows its introduction.

    Args:
        introduction: ``INTRODUCTION_BYTES`` of the file.
        kind: ``SIGNATURE`` or ``MAIN``.

    Returns:
        The length of index, data and padding, in bytes; at least 16.

    Raises:
        TrustError: "malformed": no header, or one beyond the limits of its kind.
    """
    tags, data_bytes = _lengths(introduction)
    if not introduction.startswith(_HEADER_MAGIC):
        raise TrustError("malformed", "an RPM whose {} is none".format(kind.title))
    if not 1 <= tags <= kind.max_tags or data_bytes > kind.max_data_bytes:
        raise TrustError("malformed", "an RPM whose {} has {} tags and {} bytes".format(kind.title, tags, data_bytes))
    return tags * _INDEX_BYTES + data_bytes + -data_bytes % kind.alignment


def _lengths(introduction: bytes) -> Tuple[int, int]:
    """Return the number of tags and of data bytes."""
    tags, data_bytes = struct.unpack_from(">2I", introduction, 8)
    return tags, data_bytes


def read_header(raw: bytes, kind: Kind) -> Header:
    """Read a header, after all of it was found to be sound.

    Args:
        raw: the introduction and what ``body_bytes`` said that follows it.
        kind: ``SIGNATURE`` or ``MAIN``.

    Returns:
        The values of the tags that are read.

    Raises:
        TrustError: "malformed", or "unsupported": an unknown tag in the signature header.
    """
    tags, data_bytes = _lengths(raw)
    # A multiple of every alignment, so that an offset in the file's bytes is aligned where one in the data is
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


def _order_by_data(entries: List[_Entry], raw: bytes, end: int, kind: Kind) -> List[_Entry]:
    """Check rule 2, and put the region behind the tags in it, which is where its data is: the trailer."""
    tag, type_, offset, count = entries[0]
    if (tag, type_, count) != (kind.region, _BINARY, _REGION_BYTES) or offset + _REGION_BYTES > end:
        raise TrustError("malformed", "an RPM whose {} has no region".format(kind.title))
    trailer = struct.unpack_from(">2IiI", raw, offset)
    inside = -trailer[2] // _INDEX_BYTES
    if trailer != (kind.region, _BINARY, -inside * _INDEX_BYTES, _REGION_BYTES) or not 1 <= inside <= len(entries):
        raise TrustError("malformed", "an RPM whose {} has a damaged region".format(kind.title))
    if kind.whole_region and offset + _REGION_BYTES < end:  # a tag behind it would have no room for its data
        raise TrustError("malformed", "an RPM whose {} has something outside its region".format(kind.title))
    return entries[1:inside] + entries[:1] + entries[inside:]


def _check_tags(tags: Sequence[int], kind: Kind) -> None:
    """Check the last sentence of rule 3, and rule 5."""
    if len(set(tags)) != len(tags):
        raise TrustError("malformed", "an RPM whose {} has a tag twice".format(kind.title))
    unknown = set(tags) - kind.allowed if kind.allowed else ()
    if unknown:
        raise TrustError("unsupported", "an RPM whose {} has an unknown tag {}".format(kind.title, min(unknown)))


def _is_sound(entry: _Entry, raw: bytes, boundary: int) -> bool:
    """Tell whether a tag obeys rule 3; ``boundary`` is where the next one's data, or nothing, begins."""
    _, type_, offset, count = entry
    if type_ in _STRING_TYPES:
        return 1 <= count <= raw.count(0, offset, boundary) and (type_ != _STRING or count == 1)
    size = _SIZES.get(type_, 0)
    return count >= 1 and size > 0 and offset % size == 0 and offset + count * size <= boundary


def _read_values(entry: _Entry, raw: bytes, boundary: int, kind: Kind) -> Tuple[bytes, ...]:
    """Check rule 4, and take a tag's data apart."""
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
        raise TrustError("malformed", "an RPM whose tag {} is not what it must be".format(tag))
    return values
