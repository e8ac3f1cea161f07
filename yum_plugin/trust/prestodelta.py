"""prestodelta.xml, the list of a repository's delta packages: parsed only after its checksum in a proven repomd.xml was checked.

Pure.
"""
import re
from typing import Iterable, Iterator, NamedTuple

from lxml import etree

from ..errors import TrustError
from ..util.safe_parsers import with_short_tags, xml_pull_parser
from ..util.urls import safe_path
from .hashing import STRONG_DIGESTS, require_strong

PRESTODELTA = "prestodelta"  # its type in repomd.xml (createrepo_c --deltas, modifyrepo_c)
MAX_DELTAS = 200000
_HEX = re.compile(r"[0-9a-f]+\Z")


class Delta(NamedTuple):
    """One ``<delta>``."""

    href: str  # relative to the repository, safe
    checksum_type: str
    checksum: str


def read_deltas(pieces: Iterable[bytes]) -> Iterator[Delta]:
    """Parse a prestodelta.xml piece by piece.

    Args:
        pieces: the decompressed file, from ``unpack.unpacked``.

    Raises:
        TrustError: "malformed"; "unsafe-path"; "weak-digest" or "unsupported": another checksum, or too many.
    """
    parser, count = xml_pull_parser("delta"), 0
    try:
        for piece in with_short_tags(pieces):
            parser.feed(piece)
            for _, element in parser.read_events():
                count += 1
                if count > MAX_DELTAS:
                    raise TrustError("unsupported", "more than {} delta packages, the limit of this program".format(MAX_DELTAS))
                if isinstance(element, etree._Element):
                    yield _read_delta(element)
                    element.clear()
        parser.close()
    except etree.XMLSyntaxError as error:
        raise TrustError("malformed", "prestodelta.xml is no well-formed XML: {}".format(error.msg)) from error
    except ValueError as error:
        raise TrustError("malformed", "prestodelta.xml with {}".format(error)) from error


def _read_delta(element: "etree._Element") -> Delta:
    checksum = element.find("checksum")
    kind = "" if checksum is None else checksum.get("type", "")
    digits = "" if checksum is None else (checksum.text or "").strip()
    require_strong(kind)
    if len(digits) != STRONG_DIGESTS[kind] or not _HEX.match(digits):
        raise TrustError("malformed", "prestodelta.xml with a malformed {} checksum".format(kind))
    try:
        return Delta(safe_path((element.findtext("filename") or "").strip()), kind, digits)
    except ValueError as error:
        raise TrustError("unsafe-path", "prestodelta.xml with {}".format(error)) from error
