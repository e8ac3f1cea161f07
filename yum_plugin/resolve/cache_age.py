"""A new age for a filled cache, after a look that has found nothing new.

Rules, in order:
    1. Only a cache whose repomd.xml is the one that was proven, and which has every file that this run may read: regular, of
       the size that repomd.xml says, and not behind a link. Any other one has to be filled (metadata_cache.py).
    2. Of what is proven only repomd.xml is read, and nothing of it is written. The cookie gets its new age last.
"""
import hashlib
import os
import stat
from typing import Dict

from ..model import REPOMD, Snapshot
from ..trust.repomd import MAX_REPOMD_BYTES, NAMESPACE
from ..util.files import read_capped
from .metadata_cache import DNF, SIGNATURE, MetadataCache


def renew(cache: MetadataCache, snapshot: Snapshot, now: int) -> bool:
    """Apply the rules.

    Args:
        cache: one that was filled for its key; the package manager holds its lock meanwhile.
        snapshot: that it is to hold.
        now: seconds since 1970; becomes the age of the cache.

    Returns:
        False if it has to be filled.
    """
    try:
        raw = read_capped(cache.path(REPOMD), MAX_REPOMD_BYTES)
        if hashlib.sha256(raw).hexdigest() != snapshot.sha256 or not _has_key(cache):
            return False
        sizes = _sizes(raw, cache)
        if not all(_is_there(cache, path, sizes.get(path, "")) for path in list(sizes) + [cache.path(SIGNATURE), cache.cookie]):
            return False
        for path in list(sizes) + [cache.path(REPOMD), cache.cookie]:
            os.utime(path, (now, now), follow_symlinks=False)
    except OSError:
        return False
    return True


def _has_key(cache: MetadataCache) -> bool:
    return cache.layout != DNF or any(_is_there(cache, path, "") for path in (cache.keyring, cache.keybox))


def _sizes(raw: bytes, cache: MetadataCache) -> Dict[str, str]:
    """Return path and size ("" if not stated) of the files that a run may read.

    By the standard library's parser, because lxml takes longer to load than all the rest of such a look. These are bytes that
    were proven, and then parsed within limits, when the cache was filled.
    """
    from xml.etree import ElementTree  # late: only here

    found = {}
    for entry in ElementTree.fromstring(raw).iter("{%s}data" % NAMESPACE):
        location = entry.find("{%s}location" % NAMESPACE)
        path = cache.path(location.get("href", "") if location is not None else "")
        if entry.get("type", "").replace("_zck", "") in cache.types and not cache.is_own(path):
            found[path] = entry.findtext("{%s}size" % NAMESPACE, "").strip()
    return found


def _is_there(cache: MetadataCache, path: str, size: str) -> bool:
    if not cache.is_plain(path) or not os.path.lexists(path):
        return False
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and size in ("", str(status.st_size))
