"""Packages fetched from the proven mirrors for an admin: the newest one that matches a name.

    1. The repository was resolved as for an update (``resolve/resolver.py``): rollback and freeze are found out there.
    2. Its primary metadata is checked against the checksum in the proven repomd.xml, and read from the very bytes hashed.
    3. The newest package that matches is fetched and passes ``packages.verify.PackageChecker``.
"""
import os
import tempfile
from typing import Dict, List, NamedTuple, Optional, Sequence, Set

from ..errors import FetchError
from ..model import Repository
from ..net.download import Rules, download
from ..net.items import Item, Source
from ..net.session import OpenSession
from ..resolve.resolution import Resolution
from ..trust.digest import DigestChecker
from ..trust.evr import Key, evr_key
from ..trust.primary import MAX_OPEN_BYTES, MAX_PRIMARY_BYTES, PrimaryPackage, read_primary
from ..trust.repomd import RepomdFile, parse_repomd, primary_file
from ..trust.rpmfile import RpmVerdict
from ..trust.unpack import unpacked
from .get_files import FetchedFile, FetchSite, FileRequest, OnProgress, fetch_files
from .verify import PackageChecker, request_for


class ResolvedRepository(NamedTuple):
    """A resolved repository and the sources of its files."""

    resolution: Resolution  # with a snapshot
    sources: Sequence[Source]
    open_session: Optional[OpenSession] = None  # None: this process makes the sessions

    @property
    def repository(self) -> Repository:
        """The repository itself."""
        return self.resolution.repository


class _Match(NamedTuple):
    """A package that a word names, and the repository that has it."""

    package: PrimaryPackage
    resolved: ResolvedRepository


def get_packages(words: Sequence[str], arches: Sequence[str], repositories: Sequence[ResolvedRepository], folder: str,
                 site: FetchSite, rules: Rules, on_progress: OnProgress) -> List[FetchedFile]:
    """Fetch the newest package that each word names.

    Args:
        words: NAME, NAME.ARCH, NAME-VERSION, NAME-VERSION-RELEASE or the latter with .ARCH; [EPOCH:] before the version.
        arches: the architectures to choose from.
        repositories: where packages are looked for.
        folder: that the packages are written to.
        site: for the keys and the time.
        rules: limits of each download.
        on_progress: called while a package arrives.

    Returns:
        One result for each word, in the same order.

    Raises:
        FetchError, TrustError: the metadata could not be fetched, or is refused.
        UsageError: the disk or the TLS settings cannot be used.
    """
    matches: Dict[str, _Match] = {}
    for resolved in repositories:
        _find_matches(resolved, set(words), arches, rules, matches)
    what = "no repository asked has such a package for {}".format(" or ".join(arches))
    results = {word: FetchedFile(word, error=FetchError("unreachable", what, hint="see --repo and --arch")) for word in words}
    for resolved in repositories:
        mine = {word: match.package for word, match in matches.items() if match.resolved is resolved}
        by_target = {_target(folder, package): (word, package) for word, package in mine.items()}
        requests = [_file_request(word, package, target, site) for target, (word, package) in by_target.items()]
        fetched = fetch_files(requests, resolved.sources, resolved.repository.network, rules, on_progress,
                              resolved.open_session)
        by_path = {result.target: result for result in fetched}
        results.update((word, by_path[_target(folder, package)]._replace(name=word)) for word, package in mine.items())
    return [results[word] for word in words]


def _find_matches(resolved: ResolvedRepository, words: Set[str], arches: Sequence[str], rules: Rules,
                  matches: Dict[str, _Match]) -> None:
    """Add the newer matches of one repository to ``matches``."""
    for package in read_packages(resolved, rules):
        if package.arch not in arches:
            continue
        for word in words.intersection(_spellings(package)):
            best = matches.get(word)
            if best is None or _age(best.package) < _age(package):
                matches[word] = _Match(package, resolved)


def _age(package: PrimaryPackage) -> Key:
    return evr_key(package.epoch, package.version, package.release)


def _spellings(package: PrimaryPackage) -> List[str]:
    """Return the words that name a package on the command line (dnf(8), SPECIFYING PACKAGES, without wildcards)."""
    name, version, release = package.name, package.version, package.release
    full = ["{}-{}-{}".format(name, version, release), "{}-{}:{}-{}".format(name, package.epoch, version, release)]
    with_arch = ["{}.{}".format(each, package.arch) for each in [name] + full]
    return [name, "{}-{}".format(name, version), "{}-{}:{}".format(name, package.epoch, version)] + full + with_arch


def read_packages(resolved: ResolvedRepository, rules: Rules) -> List[PrimaryPackage]:
    """Fetch and read a repository's primary metadata.

    Args:
        resolved: the repository.
        rules: limits of the download.

    Raises:
        FetchError, TrustError, UsageError: the metadata could not be fetched, is refused, or could not be written.
    """
    file = primary_file(parse_repomd(resolved.resolution.proven().raw), resolved.repository.id)
    with tempfile.TemporaryDirectory() as folder:
        item = Item(file.href, os.path.join(folder, "primary"), lambda: primary_checker(file), file.size)
        bounds = rules._replace(max_bytes=MAX_PRIMARY_BYTES)
        fetched = download([item], resolved.sources, resolved.repository.network, bounds,
                           open_session=resolved.open_session)[0]
    if fetched.error is not None:
        raise fetched.error
    return list(read_primary(unpacked(fetched.verdict, file.open_size or MAX_OPEN_BYTES)))


def primary_checker(file: RepomdFile) -> DigestChecker:
    """Return the checker of a list of packages; its verdict is the list, still compressed."""
    return DigestChecker(file.checksum_type, file.checksum, MAX_PRIMARY_BYTES)


def _target(folder: str, package: PrimaryPackage) -> str:
    return os.path.abspath(os.path.join(folder, os.path.basename(package.href)))


def _file_request(word: str, package: PrimaryPackage, target: str, site: FetchSite) -> FileRequest:
    request = request_for(package, target)
    item = Item(package.href, target, lambda: PackageChecker(request, site.keys, site.now), package.size)

    def describe(verdict: RpmVerdict) -> FetchedFile:
        return FetchedFile(word, detail=verdict.nevra, fingerprint=verdict.fingerprint, signed_at=verdict.signed_at)

    return FileRequest(word, item, describe)
