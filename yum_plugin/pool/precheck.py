"""Whether this host could update now: which offered packages are newer, and whether there is space for them."""
import os
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..host.repofiles import main_options
from ..host.rpmdb import Installed
from ..trust.evr import Key, evr_key
from ..trust.primary import PrimaryPackage
from ..util.places import inside

CACHE_FOLDER = "/var/cache"  # yum and dnf; cachedir= in [main] of their .conf may say otherwise


class DiskSpace(NamedTuple):
    """The space of one file system that an update writes to."""

    path: str
    needed_bytes: int
    free_bytes: int


def updates(installed: Iterable[Installed], offered: Iterable[PrimaryPackage]) -> List[PrimaryPackage]:
    """Find the newest offered package of each installed name and architecture, if it is newer than what is installed.

    Only the package manager finds out which packages they require besides, and which replace one under another name.

    Args:
        installed: from ``rpmdb.installed_packages``.
        offered: of all repositories, from their proven metadata.

    Returns:
        The packages by name.
    """
    newest: Dict[Tuple[str, str], Key] = {}
    for package in installed:
        key = evr_key(package.epoch, package.version, package.release)
        newest[package.name, package.arch] = max(key, newest.get((package.name, package.arch), key))
    found: Dict[Tuple[str, str], PrimaryPackage] = {}
    for offer in offered:
        key, which = evr_key(offer.epoch, offer.version, offer.release), (offer.name, offer.arch)
        if which in newest and newest[which] < key:
            newest[which], found[which] = key, offer
    return [found[which] for which in sorted(found)]


def fetch_bytes(packages: Iterable[PrimaryPackage]) -> int:
    """Return the total size of the packages' files; one of unknown size counts as nothing."""
    return sum(package.size or 0 for package in packages)


def install_bytes(packages: Iterable[PrimaryPackage]) -> int:
    """Return the total size of the installed files, which rpm writes before it removes the old ones."""
    return sum(package.installed_size or 0 for package in packages)


def disk_space(packages: Sequence[PrimaryPackage], root: str) -> List[DiskSpace]:
    """Return the file systems that an update writes to, with their needed and free space.

    Args:
        packages: from ``updates``.
        root: the installroot.

    Returns:
        Those of the package cache and of the root; one if they are the same.

    Raises:
        OSError: the root cannot be read.
    """
    named = main_options(root).get("cachedir", CACHE_FOLDER).partition("$")[0]
    cache = os.path.normpath(inside(root, named))
    while not os.path.isdir(cache) and len(cache) > len(root):  # the nearest folder that exists
        cache = os.path.dirname(cache)
    spaces: Dict[int, DiskSpace] = {}
    for path, needed in ((cache, fetch_bytes(packages)), (root, install_bytes(packages))):
        device, found = os.stat(path).st_dev, os.statvfs(path)
        before: Optional[DiskSpace] = spaces.get(device)
        spaces[device] = DiskSpace(before.path if before else path, needed + (before.needed_bytes if before else 0),
                             found.f_bavail * found.f_frsize)
    return list(spaces.values())
