"""The metalink that yum and dnf are handed: which repomd.xml is right, and who serves it.

The form is what both readers accept (yum 3.4.3 yum/metalink.py:MetaLinkRepoMD; librepo 1.14.5 librepo/metalink.c,
which knows the elements by their literal names, the prefix ``mm0:`` included):
version 3 of metalinker.org with MirrorManager's timestamp, one SHA-256, no alternates (every alternate hash
would be accepted), and no white space inside ``<url>``.
"""
from typing import Dict, Sequence
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from ..model import REPOMD, Mirror, Snapshot
from ..util.urls import host_of, port_of

MAX_URLS = 100  # librepo wants a preference of 0 to 100, and each one its own
_LOCAL = '    <url protocol="file" type="file" mm0:private="true" preference="{}">{}</url>\n'
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


def render_metalink(snapshot: Snapshot, mirrors: Sequence[Mirror], folder: str = "") -> bytes:
    """Write the metalink of one repository.

    Args:
        snapshot: the proven repomd.xml. Its ``timestamp`` is the newest of its data, not its revision:
            yum compares it with the downloaded file (yumRepo.py:_checkRepoXMLMetalink).
        mirrors: proven to serve exactly that, best first; ``url`` is the base of the repository.
            Of several on one host and port the first is written, for yum would ignore the others
            (metalink.py:MetaLinkRepoMD.urls); at most MAX_URLS.
        folder: of this host, that holds all metadata of the snapshot and is asked before any mirror; packages are not in
            it. Both readers take a ``file:`` URL (librepo; yum metalink.py:MetaLinkRepoMD.urls); "private" makes yum stay
            with it for as long as it has what is asked for, for mirrors may serve another signature by then.

    Returns:
        XML in UTF-8; dnf follows its order, yum its ``preference``.
    """
    chosen: Dict[str, Mirror] = {}
    for mirror in mirrors:
        chosen.setdefault("{}:{}".format(host_of(mirror.url), port_of(mirror.url)), mirror)
    room = MAX_URLS - bool(folder)
    lines = [_LOCAL.format(MAX_URLS, escape("file://{}/{}".format(quote(folder), REPOMD)))] if folder else []
    lines += [_url(mirror, room - place) for place, mirror in enumerate(list(chosen.values())[:room])]
    return _DOCUMENT.format(
        timestamp=snapshot.timestamp, size=snapshot.size, sha256=snapshot.sha256, urls="".join(lines)
    ).encode("utf-8")


def _url(mirror: Mirror, preference: int) -> str:
    scheme = mirror.url.partition(":")[0]
    location = " location={}".format(quoteattr(mirror.country)) if mirror.country else ""
    return '    <url protocol="{0}" type="{0}"{1} preference="{2}">{3}</url>\n'.format(
        scheme, location, preference, escape(mirror.url + REPOMD)
    )
