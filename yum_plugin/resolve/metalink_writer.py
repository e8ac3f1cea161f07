"""The metalink for clients without a plugin of ours: which repomd.xml is right, and who serves it.

The form is what both readers accept (yum 3.4.3 yum/metalink.py:MetaLinkRepoMD; librepo 1.14.5 librepo/metalink.c,
which knows the elements by their literal names, the prefix ``mm0:`` included):
version 3 of metalinker.org with MirrorManager's timestamp, one SHA-256, no alternates (every alternate hash
would be accepted), and no white space inside ``<url>``.
"""
from typing import Dict, Sequence
from xml.sax.saxutils import escape, quoteattr

from ..model import REPOMD, Mirror, Snapshot
from ..trust.repomd import parse_repomd
from ..util.urls import host_of, port_of

MAX_URLS = 100  # librepo wants a preference of 0 to 100, and each one its own
_DOCUMENT = """<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files>
  <file name="repomd.xml">
   <mm0:timestamp>{timestamp}</mm0:timestamp>
   <size>{size}</size>
   <verification>
    <hash type="sha256">{sha256}</hash>
   </verification>
   <resources maxconnections="1">
{urls}   </resources>
  </file>
 </files>
</metalink>
"""


def render_metalink(snapshot: Snapshot, mirrors: Sequence[Mirror]) -> bytes:
    """Write the metalink of one repository.

    Args:
        snapshot: the proven repomd.xml. The newest time of its data is written, which may be 0, and not its revision:
            yum compares it with the downloaded file (yumRepo.py:_checkRepoXMLMetalink).
        mirrors: proven to serve exactly that, best first; ``url`` is the base of the repository.
            Of several on one host and port the first is written, for yum would ignore the others
            (metalink.py:MetaLinkRepoMD.urls); at most MAX_URLS.

    Returns:
        XML in UTF-8; dnf follows its order, yum its ``preference``.
    """
    chosen: Dict[str, Mirror] = {}
    for mirror in mirrors:
        chosen.setdefault("{}:{}".format(host_of(mirror.url), port_of(mirror.url)), mirror)
    lines = [_url(mirror, MAX_URLS - place) for place, mirror in enumerate(list(chosen.values())[:MAX_URLS])]
    timestamp = parse_repomd(snapshot.raw).timestamp if snapshot.raw else snapshot.timestamp
    return _DOCUMENT.format(
        timestamp=timestamp, size=snapshot.size, sha256=snapshot.sha256, urls="".join(lines)
    ).encode("utf-8")


def _url(mirror: Mirror, preference: int) -> str:
    scheme = mirror.url.partition(":")[0]
    location = " location={}".format(quoteattr(mirror.country)) if mirror.country else ""
    return '    <url protocol="{0}" type="{0}"{1} preference="{2}">{3}</url>\n'.format(
        scheme, location, preference, escape(mirror.url + REPOMD)
    )
