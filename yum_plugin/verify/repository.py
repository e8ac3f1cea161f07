"""A repository's folder on this disk: its metadata is proven, and every file is compared with it.

    1. repodata/repomd.xml is signed by a pinned key.
    2. Every metadata file that it names has the size and the checksum that it says.
    3. Every package of the primary metadata exists and passes ``packages.verify.PackageChecker``, as a download must.
    4. There is no other file: one that no signed metadata names is refused, because a client may be sent to it. That
       holds behind a link, too, that leads to a folder of packages, inside the repository or out of it.
"""
import os
from typing import Iterator, List, Optional, Set

from ..errors import EXIT_UNREACHABLE, MirrorsError, TrustError
from ..trust.primary import MAX_OPEN_BYTES, MAX_PRIMARY_BYTES, PrimaryPackage, read_primary
from ..trust.repomd import PRIMARY, Repomd, RepomdFile, primary_file
from ..trust.unpack import unpacked
from .files import (
    METADATA,
    OTHER,
    REPOMD,
    REPOSITORY,
    RPM,
    SUFFIXES,
    Examiner,
    FileFinding,
    Proof,
    localized,
    opened,
    rpm_proof,
    signature_beside,
)

REPOMD_PATH = "repodata/repomd.xml"
MAX_UNEXPECTED = 100  # reported one by one; the rest is only counted


class RepositoryExaminer:
    """Examines one folder.

    Args:
        examiner: with the keys.
        folder: that contains ``repodata``.
    """

    def __init__(self, examiner: Examiner, folder: str) -> None:
        self._examiner = examiner
        self._folder = folder
        self._expected: Set[str] = {REPOMD_PATH} | {REPOMD_PATH + suffix for suffix in SUFFIXES}  # paths below the folder
        self._primary: Optional[bytes] = None  # proven, compressed
        self._listed = False  # whether all packages are known
        self._proof = Proof("", "", 0)  # of repomd.xml, which vouches for all the rest

    def examine(self) -> Iterator[FileFinding]:
        """Examine everything.

        Yields:
            A finding for each file, and one for the whole repository as the last.
        """
        worst: Optional[MirrorsError] = None
        count = refused = missing = 0
        for finding in self._everything():
            yield finding
            count += 1
            if finding.error is not None:
                absent = finding.error.exit_code == EXIT_UNREACHABLE
                refused, missing = refused + (not absent), missing + absent
                if worst is None or (worst.exit_code == EXIT_UNREACHABLE and not absent):
                    worst = finding.error
        if worst is None:
            yield FileFinding(self._folder, REPOSITORY, "{}, {} files".format(self._proof.detail, count), *self._proof[1:])
        else:
            what = "{} of {} files refused, {} missing".format(refused, count, missing)
            error = type(worst)(worst.reference, what, hint="see the lines above")
            yield FileFinding(self._folder, REPOSITORY, error=error)

    def _everything(self) -> Iterator[FileFinding]:
        path = os.path.join(self._folder, REPOMD_PATH)
        try:
            with opened(path) as stream:
                content, self._proof = self._examiner.prove_repomd(path, stream, signature_beside(path))
        except MirrorsError as error:
            yield FileFinding(path, REPOMD, error=localized(error))
            return
        yield FileFinding(path, REPOMD, *self._proof)
        for file in content.files:
            yield self._metadata_file(file)
        yield from self._packages(content)
        if self._listed:
            yield from self._unexpected_files()

    def _metadata_file(self, file: RepomdFile) -> FileFinding:
        path = os.path.join(self._folder, file.href)
        self._expected.add(os.path.normpath(file.href))
        try:
            with opened(path) as stream:
                if file.size not in (None, os.fstat(stream.fileno()).st_size):
                    raise TrustError("payload-mismatch", "its size is not the {} bytes that were signed".format(file.size))
                held = self._examiner.hash_matches(path, stream, file.checksum_type, file.checksum,
                                                   MAX_PRIMARY_BYTES if file.type == PRIMARY else 0)
        except MirrorsError as error:
            return FileFinding(path, METADATA, file.type, error=localized(error))
        if file.type == PRIMARY:
            self._primary = held
        return FileFinding(path, METADATA, file.type, *self._proof[1:])

    def _packages(self, content: Repomd) -> Iterator[FileFinding]:
        """Examine the packages; without good primary metadata there are none, which another finding has reported."""
        try:
            listed = primary_file(content)
        except TrustError as error:
            yield FileFinding(os.path.join(self._folder, REPOMD_PATH), METADATA, error=error)
            return
        if self._primary is None:
            return
        path = os.path.join(self._folder, listed.href)
        packages = read_primary(unpacked(self._primary, listed.open_size or MAX_OPEN_BYTES))
        while True:
            try:
                package = next(packages, None)
            except TrustError as error:
                yield FileFinding(path, METADATA, PRIMARY, error=error)
                return
            if package is None:
                self._listed = True
                return
            yield self._package(package)

    def _package(self, package: PrimaryPackage) -> FileFinding:
        from ..packages.verify import PackageChecker, request_for  # late: it imports requests, which a single file does not need

        path = os.path.join(self._folder, package.href)
        self._expected.add(os.path.normpath(package.href))
        checker = PackageChecker(request_for(package, path), self._examiner.keys, self._examiner.now)
        try:
            with opened(path) as stream:
                for chunk in self._examiner.pieces(path, stream):
                    checker.update(chunk)
                return FileFinding(path, RPM, *rpm_proof(checker.finish()))
        except MirrorsError as error:
            return FileFinding(path, RPM, error=localized(error))

    def _unexpected_files(self) -> Iterator[FileFinding]:
        """Report the files that no signed metadata names."""
        unexpected = self._unexpected_paths()
        for path in unexpected[:MAX_UNEXPECTED]:
            yield _unexpected(path, "no signed metadata names it")
        if unexpected[MAX_UNEXPECTED:]:
            yield _unexpected(self._folder, "no signed metadata names {} more files".format(len(unexpected) - MAX_UNEXPECTED))

    def _unexpected_paths(self) -> List[str]:
        """Look through the folder, and through the folders behind links that signed paths pass: they are served alike."""
        expected = {os.path.realpath(os.path.join(self._folder, path)) for path in self._expected}
        passed = {os.path.dirname(path) for path in self._expected}
        found, seen, waiting = [], set(), [self._folder]
        while waiting:
            for place, folders, names in os.walk(waiting.pop()):
                real = os.path.realpath(place)
                if real in seen:
                    folders.clear()
                    continue
                seen.add(real)
                for path in [os.path.join(place, name) for name in sorted(folders + names)]:
                    is_link = os.path.islink(path)
                    below = os.path.relpath(path, self._folder)
                    if is_link and os.path.isdir(path) and any((each + "/").startswith(below + "/") for each in passed):
                        waiting.append(path)
                    elif is_link or not os.path.isdir(path):
                        if (os.path.realpath(path) if is_link else os.path.join(real, os.path.basename(path))) not in expected:
                            found.append(path)
        return found


def _unexpected(path: str, what: str) -> FileFinding:
    return FileFinding(path, OTHER, error=TrustError("not-covered", what, hint="remove it, or find out who put it there"))
