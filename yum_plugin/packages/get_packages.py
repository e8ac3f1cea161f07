"""Packages of a repository, for people: the newest that matches a name, from the proven mirrors.

    1. The repository was resolved as for an update (``resolve.py``): rollback and freeze are found out there.
    2. Its primary metadata is fetched by the checksum in the proven repomd.xml, and read from the very bytes hashed.
    3. The newest package that matches is fetched, and is what ``packages.PackageChecker`` demands.
"""
import os
import tempfile
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import FetchError
from ..model import Repository, Resolution
from ..net.download import Rules, download
from ..net.fetch import OpenSession
from ..net.transfer import Item, Source
from ..trust.digest import DigestChecker
from ..trust.evr import Key, evr_key
from ..trust.primary import MAX_OPEN_BYTES, MAX_PRIMARY_BYTES, PrimaryPackage, read_primary
from ..trust.repomd import RepomdFile, parse_repomd, primary_file
from ..trust.rpmfile import RpmVerdict
from ..trust.unpack import unpacked
from ..util.urls import host_of
from .get_files import FetchSite, Got, Told, Wish, fetch_wishes
from .verify import PackageChecker, request_for


class Shelf(NamedTuple):
    """A resolved repository and whom to ask for its files."""

    resolution: Resolution
    sources: Sequence[Source]
    open_session: Optional[OpenSession] = None  # this process's if left out

    @property
    def repository(self) -> Repository:
        """Which one."""
        return self.resolution.repository

    @property
    def hosts(self) -> Tuple[str, ...]:
        """Those that may receive its credentials."""
        return tuple(host_of(url) for url in self.repository.base_urls)


class _Match(NamedTuple):
    """A package that a word means, and where it is."""

    package: PrimaryPackage
    shelf: Shelf


def get_packages(words: Sequence[str], arches: Sequence[str], shelves: Sequence[Shelf], folder: str, site: FetchSite,
                 rules: Rules,
                 told: Told) -> List[Got]:
    """Fetch the newest package that each word means.

    Args:
        words: NAME, NAME.ARCH, NAME-VERSION, NAME-VERSION-RELEASE or the latter with .ARCH; [EPOCH:] before the version.
        arches: those to look among.
        shelves: the repositories.
        folder: where the packages go.
        site: for the keys and the time.
        rules: bounds of each download.
        told: progress.

    Returns:
        One result a word, in the same order.

    Raises:
        FetchError, TrustError: the metadata could not be had, or must not be believed.
        UsageError: the disk or the TLS settings cannot be used.
    """
    matches: Dict[str, _Match] = {}
    for shelf in shelves:
        _look_through(shelf, set(words), arches, rules, matches)
    results = {word: Got(word, error=FetchError("unreachable", "no repository asked has such a package for {}".format(
        " or ".join(arches)), hint="see --repo and --arch")) for word in words}
    for shelf in shelves:
        mine = {word: match.package for word, match in matches.items() if match.shelf is shelf}
        by_target = {_target(folder, package): (word, package) for word, package in mine.items()}
        wishes = [_wish(word, package, target, site) for target, (word, package) in by_target.items()]
        fetched = fetch_wishes(wishes, shelf.sources, shelf.repository.network, rules, told, shelf.hosts)
        by_path = {got.target: got for got in fetched}
        results.update((word, by_path[_target(folder, package)]._replace(wish=word)) for word, package in mine.items())
    return [results[word] for word in words]


def _look_through(shelf: Shelf, words: Set[str], arches: Sequence[str], rules: Rules, matches: Dict[str, _Match]) -> None:
    """Find newer matches in one repository."""
    for package in read_packages(shelf, rules):
        if package.arch not in arches:
            continue
        for word in words.intersection(_spellings(package)):
            best = matches.get(word)
            if best is None or _age(best.package) < _age(package):
                matches[word] = _Match(package, shelf)


def _age(package: PrimaryPackage) -> Key:
    return evr_key(package.epoch, package.version, package.release)


def _spellings(package: PrimaryPackage) -> List[str]:
    """Return how a package may be called on the command line (dnf(8), SPECIFYING PACKAGES, without wildcards)."""
    name, version, release = package.name, package.version, package.release
    full = ["{}-{}-{}".format(name, version, release), "{}-{}:{}-{}".format(name, package.epoch, version, release)]
    with_arch = ["{}.{}".format(each, package.arch) for each in [name] + full]
    return [name, "{}-{}".format(name, version), "{}-{}:{}".format(name, package.epoch, version)] + full + with_arch


def read_packages(shelf: Shelf, rules: Rules) -> List[PrimaryPackage]:
    """Fetch and read a repository's primary metadata.

    Args:
        shelf: the repository.
        rules: bounds of the download.

    Raises:
        FetchError, TrustError, UsageError: it could not be had, must not be believed, or not be written.
    """
    file = primary_file(parse_repomd(shelf.resolution.snapshot.raw), shelf.repository.id)
    with tempfile.TemporaryDirectory() as folder:
        item = Item(file.href, os.path.join(folder, "primary"), lambda: primary_checker(file), file.size)
        bounds = rules._replace(max_bytes=MAX_PRIMARY_BYTES)
        fetched = download([item], shelf.sources, shelf.repository.network, bounds, trusted_hosts=shelf.hosts,
                           open_session=shelf.open_session)[0]
    if fetched.error is not None:
        raise fetched.error
    return list(read_primary(unpacked(fetched.verdict, file.open_size or MAX_OPEN_BYTES)))


def primary_checker(file: RepomdFile) -> DigestChecker:
    """Return what proves a list of packages; its verdict is the list, still compressed."""
    return DigestChecker(file.checksum_type, file.checksum, MAX_PRIMARY_BYTES)


def _target(folder: str, package: PrimaryPackage) -> str:
    return os.path.abspath(os.path.join(folder, os.path.basename(package.href)))


def _wish(word: str, package: PrimaryPackage, target: str, site: FetchSite) -> Wish:
    request = request_for(package, target)
    item = Item(package.href, target, lambda: PackageChecker(request, site.keys, site.now), package.size)

    def believed(verdict: RpmVerdict) -> Got:
        return Got(word, detail=verdict.nevra, fingerprint=verdict.fingerprint, signed_at=verdict.signed_at)

    return Wish(word, item, believed)
