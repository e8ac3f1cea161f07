"""A repository's folder on this disk: its metadata is proven, and every file is compared with it.

    1. repodata/repomd.xml is signed by a pinned key.
    2. Every metadata file that it names has the size and the checksum that it says.
    3. Every package of the primary metadata exists and passes ``packages.verify.PackageChecker``, as a download must.
    4. Every delta package that the signed prestodelta metadata names and that exists has the checksum that it says.
    5. There is no other file: one that no signed metadata names is refused, because a client may be sent to it. That
       holds behind a link, too, that leads to a folder of packages, inside the repository or out of it. Not refused is what
       earlier revisions have left, namely packages named as their own good signature says, and metadata named by its digest;
       nor, by their names, the files of UNSIGNED, which no client of the repository believes.
What cannot be read (zstd without a library) is neither proven nor refused: "unsupported", and said what it leaves open.
"""
import os
import re
from typing import Dict, Iterator, List, Optional, Set

from ..errors import EXIT_UNREACHABLE, UNREADABLE, MirrorsError, TrustError
from ..trust.hashing import STRONG_DIGESTS
from ..trust.prestodelta import PRESTODELTA, Delta, read_deltas
from ..trust.primary import MAX_OPEN_BYTES, MAX_PRIMARY_BYTES, PrimaryPackage, read_primary
from ..trust.repomd import PRIMARY, Repomd, RepomdFile, primary_file
from ..trust.rpmfile import verify_rpm
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
# What createrepo's users, mirrors' servers and the installer have in such a folder
UNSIGNED = frozenset(["index.html", ".treeinfo", "treeinfo", ".discinfo", "media.repo", "repomd.xml.key"])
_OLD_METADATA = re.compile(r"repodata/([0-9a-f]{64,128})-[^/]+\Z")  # createrepo_c --retain-old-md; sync keeps them for a while


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
        self._held: Dict[str, bytes] = {}  # proven and compressed, by type: the lists of packages
        self._unsigned = 0  # files of UNSIGNED
        self._listed = False  # whether all packages are known
        self._proof = Proof("", "", 0)  # of repomd.xml, which vouches for all the rest

    def examine(self) -> Iterator[FileFinding]:
        """Examine everything.

        Yields:
            A finding for each file, and one for the whole repository as the last.
        """
        worst: Optional[MirrorsError] = None
        count = refused = missing = unread = 0
        for finding in self._everything():
            yield finding
            count += 1
            if finding.error is not None:
                absent = finding.error.exit_code == EXIT_UNREACHABLE
                unreadable = finding.error.reference in UNREADABLE
                refused, missing, unread = refused + (not absent), missing + (absent and not unreadable), unread + unreadable
                if worst is None or (worst.exit_code == EXIT_UNREACHABLE and not absent):
                    worst = finding.error
        if worst is None:
            beside = ", and {} that nobody signs".format(self._unsigned) if self._unsigned else ""
            detail = "{}, {} files{}".format(self._proof.detail, count, beside)
            yield FileFinding(self._folder, REPOSITORY, detail, *self._proof[1:])
        else:
            what = "{} of {} files refused, {} missing".format(refused, count, missing)
            what += ", {} not read".format(unread) if unread else ""
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
        yield from self._deltas(content)
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
                                                   MAX_PRIMARY_BYTES if file.type in (PRIMARY, PRESTODELTA) else 0)
        except MirrorsError as error:
            return FileFinding(path, METADATA, file.type, error=localized(error))
        if held:
            self._held[file.type] = held
        return FileFinding(path, METADATA, file.type, *self._proof[1:])

    def _packages(self, content: Repomd) -> Iterator[FileFinding]:
        """Examine the packages; without good primary metadata there are none, which another finding has reported."""
        try:
            listed = primary_file(content)
        except TrustError as error:
            yield FileFinding(os.path.join(self._folder, REPOMD_PATH), METADATA, error=error)
            return
        if PRIMARY not in self._held:
            return
        path = os.path.join(self._folder, listed.href)
        packages = read_primary(unpacked(self._held[PRIMARY], listed.open_size or MAX_OPEN_BYTES))
        while True:
            try:
                package = next(packages, None)
            except TrustError as error:
                if error.reference in UNREADABLE:
                    what = "its bytes are the signed ones, but no package was checked: {}".format(error.what)
                    error = TrustError(error.reference, what, error.where, error.hint)
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

    def _deltas(self, content: Repomd) -> Iterator[FileFinding]:
        """Examine the delta packages (rule 4): mirrors need not have them, and no client needs them."""
        file = next((file for file in content.files if file.type == PRESTODELTA and file.type in self._held), None)
        if file is None:
            return
        try:
            for delta in read_deltas(unpacked(self._held[PRESTODELTA], file.open_size or MAX_OPEN_BYTES)):
                if os.path.lexists(os.path.join(self._folder, delta.href)):
                    yield self._delta(delta)
        except TrustError as error:
            yield FileFinding(os.path.join(self._folder, file.href), METADATA, PRESTODELTA, error=error)

    def _delta(self, delta: Delta) -> FileFinding:
        path = os.path.join(self._folder, delta.href)
        self._expected.add(os.path.normpath(delta.href))
        try:
            with opened(path) as stream:
                self._examiner.hash_matches(path, stream, delta.checksum_type, delta.checksum)
        except MirrorsError as error:
            return FileFinding(path, OTHER, error=localized(error))
        return FileFinding(path, OTHER, "in {}".format(PRESTODELTA), *self._proof[1:])

    def _unexpected_files(self) -> Iterator[FileFinding]:
        """Report the files that no signed metadata names."""
        unexpected = []
        for path in self._unexpected_paths():
            earlier = self._earlier(path)
            if os.path.basename(path) in UNSIGNED and os.path.isfile(path):
                self._unsigned += 1
            elif earlier is not None:
                yield earlier
            else:
                unexpected.append(path)
        for path in unexpected[:MAX_UNEXPECTED]:
            yield _unexpected(path, "no signed metadata names it")
        if unexpected[MAX_UNEXPECTED:]:
            yield _unexpected(self._folder, "no signed metadata names {} more files".format(len(unexpected) - MAX_UNEXPECTED))

    def _earlier(self, path: str) -> Optional[FileFinding]:
        """Return the finding for what an earlier revision has left and what proves itself; None for anything else."""
        old = _OLD_METADATA.match(os.path.relpath(path, self._folder))
        kind = next((kind for kind, digits in STRONG_DIGESTS.items() if old and digits == len(old.group(1))), "")
        try:
            if path.endswith(".rpm"):
                with opened(path) as stream:
                    verdict = verify_rpm(stream, self._examiner.keys, self._examiner.now)
                if os.path.basename(path) != "{0.name}-{0.version}-{0.release}.{0.arch}.rpm".format(verdict):
                    return None
                proof = rpm_proof(verdict)
                return FileFinding(path, RPM, "{}, not in this revision".format(proof.detail), *proof[1:])
            if old and kind:
                with opened(path) as stream:
                    self._examiner.hash_matches(path, stream, kind, old.group(1))
                self._unsigned += 1
                return FileFinding(path, METADATA, "of another revision, as its name says", *self._proof[1:])
        except MirrorsError:
            pass
        return None

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
