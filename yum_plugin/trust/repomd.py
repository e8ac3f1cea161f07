"""repomd.xml, the signed list of a repository's metadata files: parsed only after its signature was proven.

Pure.
"""
import re
from typing import TYPE_CHECKING, NamedTuple, Optional, Tuple

from ..errors import TrustError
from ..util.safe_parsers import parse_xml
from ..util.urls import safe_path
from .hashing import STRONG_DIGESTS, require_strong

if TYPE_CHECKING:
    from lxml import etree

MAX_REPOMD_BYTES = 1024 * 1024  # a real one is 2 to 10 KiB
MAX_FILES = 64  # a distribution's repomd.xml names up to about 20
MAX_ELEMENTS = 2048  # 64 files of about 10 elements each
MAX_DEPTH = 8  # repomd/data/checksum is 3
MAX_TIMESTAMP = 253402300799  # the last second of the year 9999; freshness.py refuses what is too far ahead
PRIMARY = "primary"  # the type of the list of packages (createrepo_c)
NAMESPACE = "http://linux.duke.edu/metadata/repo"
_XML_BASE = "{http://www.w3.org/XML/1998/namespace}base"
_TYPE = re.compile(r"[A-Za-z0-9_.+-]{1,64}\Z")
_COUNT = re.compile(r"[0-9]{1,18}\Z")
_SECONDS = re.compile(r"([0-9]{1,12})(?:\.[0-9]{1,9})?\Z")  # createrepo of EL5 and EL6 wrote decimals
_HEX = re.compile(r"[0-9a-f]+\Z")


class RepomdFile(NamedTuple):
    """One ``<data>`` entry."""

    type: str  # "primary", "filelists_db", ...
    href: str  # relative to the repository, safe
    checksum_type: str  # "sha256", "sha384" or "sha512"
    checksum: str  # lower-case hex digits
    size: Optional[int]  # bytes; None if not stated
    open_checksum_type: str  # of the decompressed file; "" if not stated
    open_checksum: str
    open_size: Optional[int]
    timestamp: int  # seconds since 1970; 0 if not stated


class Repomd(NamedTuple):
    """The content of a repomd.xml."""

    revision: int
    timestamp: int  # the newest of the files', seconds since 1970; 0 if none is stated
    files: Tuple[RepomdFile, ...]


def primary_file(content: Repomd, where: str = "") -> RepomdFile:
    """Find the entry of the list of packages.

    Args:
        content: of a proven repomd.xml.
        where: the mirror or file that it is from, for the error.

    Raises:
        TrustError: unsupported: repomd.xml names none in XML.
    """
    found = next((file for file in content.files if file.type == PRIMARY), None)
    if found is None:
        raise TrustError("unsupported", "repomd.xml names no primary metadata in XML", where=where)
    return found


def parse_repomd(raw: bytes) -> Repomd:
    """Parse a repomd.xml whose signature was proven, from the very bytes that were hashed.

    createrepo_c writes the second at which it ran as the revision, but its ``--revision`` sets any text. A revision that is
    missing or not a number counts as 0, because yum and dnf order by the timestamps (yumRepo.py, repoMDObject.py:timestamp).
    ``--revision=0 --set-timestamp-to-revision`` leaves no timestamp: 0.

    Args:
        raw: the file, at most 1 MiB.

    Returns:
        Its content; a fraction of a timestamp is dropped, as in yum.

    Raises:
        TrustError: "malformed"; "unsafe-path": a file outside the repository, or an xml:base;
            "weak-digest" or "unsupported": a checksum other than SHA-256, SHA-384 and SHA-512.
    """
    root = _parse_xml(raw)
    if root.tag != _tag("repomd"):
        raise TrustError("malformed", "repomd.xml whose root is not a repomd")
    entries = root.findall(_tag("data"))
    if len(entries) > MAX_FILES:
        raise TrustError("unsupported", "repomd.xml with more than {} files, the limit of this program".format(MAX_FILES))
    files = tuple(_read_entry(entry) for entry in entries)
    if len({file.type for file in files}) != len(files):
        raise TrustError("malformed", "repomd.xml that lists a type of file twice")
    if not files:
        raise TrustError("malformed", "repomd.xml that names no file")
    newest = max(file.timestamp for file in files)
    revision = _text(root, "revision")
    return Repomd(int(revision) if _COUNT.match(revision) else 0, newest, files)


def _tag(name: str) -> str:
    return "{%s}%s" % (NAMESPACE, name)


def _parse_xml(raw: bytes) -> "etree._Element":
    """Parse without entities, network or DTD; the encoding is forced, so that no DOCTYPE escapes the search."""
    from lxml import etree  # late: see util/safe_parsers.py
    if len(raw) > MAX_REPOMD_BYTES:
        raise TrustError("unsupported", "repomd.xml larger than {} bytes, the limit of this program".format(MAX_REPOMD_BYTES))
    if b"<!DOCTYPE" in raw:
        raise TrustError("malformed", "repomd.xml with a DOCTYPE")
    try:
        root = parse_xml(raw)
    except etree.XMLSyntaxError as error:
        raise TrustError("malformed", "repomd.xml is no well-formed XML: {}".format(error.msg)) from error
    except ValueError as error:
        raise TrustError("malformed", "repomd.xml with {}".format(error)) from error
    _check_shape(root)
    return root


def _check_shape(root: "etree._Element") -> None:
    """Limit depth and number of elements, and refuse xml:base, which would change what every path is relative to."""
    from lxml import etree
    depth = count = 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        count += 1
        if depth > MAX_DEPTH or count > 2 * MAX_ELEMENTS:
            raise TrustError("unsupported", "repomd.xml that is too deep or has too many elements for this program")
        if element.get(_XML_BASE):
            raise TrustError("unsafe-path", "repomd.xml with an xml:base")


def _read_entry(entry: "etree._Element") -> RepomdFile:
    kind = entry.get("type", "")
    if not _TYPE.match(kind):
        raise TrustError("malformed", "repomd.xml with a file without a valid type")
    checksum_type, checksum = _checksum(entry, "checksum")
    if not checksum:
        raise TrustError("malformed", "repomd.xml without a checksum", kind)
    open_checksum_type, open_checksum = _checksum(entry, "open-checksum")
    return RepomdFile(
        type=kind,
        href=_href(entry, kind),
        checksum_type=checksum_type,
        checksum=checksum,
        size=_size(entry, "size"),
        open_checksum_type=open_checksum_type,
        open_checksum=open_checksum,
        open_size=_size(entry, "open-size"),
        timestamp=_timestamp(entry, kind),
    )


def _child(parent: "etree._Element", name: str) -> "Optional[etree._Element]":
    """Return the only child of this name: of two, different readers would use different ones."""
    found = parent.findall(_tag(name))
    if len(found) > 1:
        raise TrustError("malformed", "repomd.xml with a repeated <{}>".format(name))
    return found[0] if found else None


def _text(parent: "etree._Element", name: str) -> str:
    """Return the text of a child, without the white space around it; "" if there is no such child or no text."""
    child = _child(parent, name)
    if child is None:
        return ""
    if len(child):
        raise TrustError("malformed", "repomd.xml with elements inside <{}>".format(name))
    return (child.text or "").strip()


def _checksum(entry: "etree._Element", name: str) -> Tuple[str, str]:
    """Return type and digits of a checksum; two empty strings if there is none."""
    child = _child(entry, name)
    if child is None:
        return "", ""
    kind, digits = child.get("type", ""), _text(entry, name)
    require_strong(kind)
    if len(digits) != STRONG_DIGESTS[kind] or not _HEX.match(digits):
        raise TrustError("malformed", "repomd.xml with a malformed {} checksum".format(kind))
    return kind, digits


def _href(entry: "etree._Element", kind: str) -> str:
    location = _child(entry, "location")
    href = "" if location is None else location.get("href", "")
    try:
        return safe_path(href)
    except ValueError as error:
        raise TrustError("unsafe-path", "repomd.xml with {}".format(error), kind) from error


def _size(entry: "etree._Element", name: str) -> Optional[int]:
    text = _text(entry, name)
    if text and not _COUNT.match(text):
        raise TrustError("malformed", "repomd.xml with a <{}> that is not a number of bytes".format(name))
    return int(text) if text else None


def _timestamp(entry: "etree._Element", kind: str) -> int:
    text = _text(entry, "timestamp")
    match = _SECONDS.match(text)
    if text and not (match and int(match.group(1)) <= MAX_TIMESTAMP):
        raise TrustError("malformed", "repomd.xml with a malformed timestamp", kind)
    return int(match.group(1)) if match else 0
