"""primary.xml, the list of a repository's packages: parsed only after its checksum in a proven
repomd.xml was checked.

Pure.
"""
import re
from typing import Iterable, Iterator, NamedTuple, Optional, cast

from lxml import etree

from ..errors import TrustError
from ..util.safe_parsers import with_short_tags, xml_pull_parser
from ..util.urls import safe_path
from .hashing import STRONG_DIGESTS, require_strong

MAX_PRIMARY_BYTES = 64 * 1024 * 1024  # compressed; that of a distribution with 60000 packages has 20 MiB
MAX_OPEN_BYTES = 1024 * 1024 * 1024
MAX_PACKAGES = 200000
MAX_PACKAGE_BYTES = 16 * 1024 * 1024  # of one package's XML; a kernel's is less than 1 MiB
NAMESPACE = "http://linux.duke.edu/metadata/common"
_PACKAGE = "{%s}package" % NAMESPACE
_XML_BASE = "{http://www.w3.org/XML/1998/namespace}base"
_DOCTYPE = b"<!DOCTYPE"
_WORD = re.compile(r"[!-.0-~]{1,255}\Z")  # visible ASCII without "/": it becomes a part of a file name
_NUMBER = re.compile(r"[0-9]{1,15}\Z")
_HEX = re.compile(r"[0-9a-f]+\Z")


class PrimaryPackage(NamedTuple):
    """One ``<package>``."""

    name: str
    epoch: int
    version: str
    release: str
    arch: str
    href: str  # relative to the repository, safe
    size: Optional[int]  # bytes of the file; None if not stated
    checksum_type: str  # "sha256", "sha384" or "sha512"
    checksum: str  # lower-case hex digits
    installed_size: Optional[int] = None  # bytes of its files; None if not stated


def read_primary(pieces: Iterable[bytes]) -> Iterator[PrimaryPackage]:
    """Parse a primary.xml piece by piece, in constant memory.

    Args:
        pieces: the decompressed file, from ``unpack.unpacked``.

    Yields:
        The packages in their order.

    Raises:
        TrustError: "malformed"; "unsafe-path": a file outside the repository, or an xml:base;
            "weak-digest" or "unsupported": a checksum other than SHA-256, SHA-384 and SHA-512.
    """
    parser = xml_pull_parser(_PACKAGE)
    tail, since, count = b"", 0, 0
    try:
        for piece in with_short_tags(pieces):
            if _DOCTYPE in tail + piece:  # the encoding is forced, so that none escapes this search
                raise TrustError("malformed", "primary.xml with a DOCTYPE")
            tail = (tail + piece)[1 - len(_DOCTYPE):]
            parser.feed(piece)
            since += len(piece)
            for _, element in parser.read_events():
                since, count = 0, count + 1
                yield _read_package(cast(etree._Element, element))
                _forget(cast(etree._Element, element))
            if since > MAX_PACKAGE_BYTES or count > MAX_PACKAGES:
                limits = "a package of more than {} bytes, or more than {} packages".format(MAX_PACKAGE_BYTES, MAX_PACKAGES)
                raise TrustError("unsupported", "primary.xml with {}, the limits of this program".format(limits))
        root = parser.close()
    except etree.XMLSyntaxError as error:
        raise TrustError("malformed", "primary.xml is no well-formed XML: {}".format(error.msg)) from error
    except ValueError as error:
        raise TrustError("malformed", "primary.xml with {}".format(error)) from error
    _check_root(root)


def _forget(element: etree._Element) -> None:
    """Free a package that was read. The parser may still use the empty element, so it is removed with the next package."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _check_root(root: etree._Element) -> None:
    if root.tag != "{%s}metadata" % NAMESPACE:
        raise TrustError("malformed", "primary.xml whose root is no metadata")
    if root.get(_XML_BASE):
        raise TrustError("unsafe-path", "primary.xml with an xml:base")


def _read_package(element: etree._Element) -> PrimaryPackage:
    root = element.getparent()
    if root is None or root.getparent() is not None:
        raise TrustError("malformed", "primary.xml with a package inside something else")
    _check_root(root)
    version, location = _child(element, "version"), _child(element, "location")
    checksum = _child(element, "checksum")
    kind, digits = checksum.get("type", ""), (checksum.text or "").strip()
    require_strong(kind)
    if len(digits) != STRONG_DIGESTS[kind] or not _HEX.match(digits):
        raise TrustError("malformed", "primary.xml with a malformed {} checksum".format(kind))
    return PrimaryPackage(
        name=_word(_child(element, "name").text),
        epoch=_number(version.get("epoch") or "0"),
        version=_word(version.get("ver")),
        release=_word(version.get("rel")),
        arch=_word(_child(element, "arch").text),
        href=_href(element, location),
        size=_size(element, "package"),
        installed_size=_size(element, "installed"),
        checksum_type=kind,
        checksum=digits,
    )


def _child(package: etree._Element, name: str) -> etree._Element:
    """Return the only child of this name: of two, different readers would use different ones."""
    found = package.findall("{%s}%s" % (NAMESPACE, name))
    if len(found) != 1:
        raise TrustError("malformed", "primary.xml with a package that has <{1}> {0} times".format(len(found), name))
    return found[0]


def _word(text: Optional[str]) -> str:
    word = (text or "").strip()
    if not _WORD.match(word):
        raise TrustError("malformed", "primary.xml with a malformed name, version, release or architecture")
    return word


def _number(text: str) -> int:
    if not _NUMBER.match(text):
        raise TrustError("malformed", "primary.xml with a malformed number")
    return int(text)


def _size(element: etree._Element, what: str) -> Optional[int]:
    text = _child(element, "size").get(what)
    return None if text is None else _number(text)


def _href(element: etree._Element, location: etree._Element) -> str:
    if any(each.get(_XML_BASE) for each in (element, location)):
        raise TrustError("unsafe-path", "primary.xml with an xml:base")
    try:
        return safe_path(location.get("href", ""))
    except ValueError as error:
        raise TrustError("unsafe-path", "primary.xml with {}".format(error)) from error
