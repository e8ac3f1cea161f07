"""One round: find out what the source has now, prove it, and fetch into the stage everything that DEST lacks.

Nothing that is published is changed here. If the source changes meanwhile, units end with an error: then there is a second
round, which finds in the stage what the first one has fetched.
"""
import os
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ...errors import FetchError, MirrorsError, TrustError, UsageError
from ...trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ...trust.checksum_file import MAX_SUMS_BYTES
from ...trust.keys import PublicKey
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.files import read_capped
from ..facts import EXAMPLE_FOLDER
from .destination import Destination
from .file_cache import FileCache
from .plan import (
    Catalogue,
    DeletionLimits,
    Demand,
    ListedFile,
    Unit,
    UnitIndex,
    Want,
    find_units,
    is_excluded,
    is_inside,
    matches,
)
from .signed_unit import Head, listed_demands, metadata_demands, package_demands, primary_of, prove_head, refuse_rollback
from .source import OnProgress, SyncSource
from .staging import Staging

UNSIGNED_HINT = "if its owner does not sign it, and you want it anyway: --unsigned FOLDER"
EXCLUDE_HINT = "exclude whole repositories: clients cannot use a part of one"
NOTHING_HINT = "see --from: it must be the root of a mirror, with the folders 8 and isos"


class SyncOptions(NamedTuple):
    """What the command line asks for."""

    repos: Tuple[str, ...] = ()  # patterns of the folders of units; empty: the whole tree
    unsigned: Tuple[str, ...] = ()  # patterns of the folders of units that are accepted without a signature
    excludes: Tuple[str, ...] = ()  # patterns
    deletion_limits: DeletionLimits = DeletionLimits()
    accept_rollback: bool = False
    dry_run: bool = False
    verify_all: bool = False  # read every file that something signed names


class TrustContext(NamedTuple):
    """What signatures are verified against."""

    keys: Sequence[PublicKey]
    now: int  # seconds since 1970


class SyncJob(NamedTuple):
    """Everything that a sync needs."""

    source: SyncSource
    destination: Destination  # DEST
    file_cache: FileCache  # of DEST
    options: SyncOptions
    trust: TrustContext
    on_progress: OnProgress = OnProgress()


class Round:
    """One round.

    Args:
        job: what to do.
        lock: DEST's.

    Attributes:
        catalogue: of the source, in the scope; empty if it cannot be listed.
        units: in the scope.
        heads: of the units that are proven.
        published: the proven heads of DEST.
        demands: of all proven units.
        errors: of the units that stay as they are.
    """

    def __init__(self, job: SyncJob, lock: int) -> None:
        self._job = job
        self.catalogue = Catalogue({}, {})
        self.units: List[Unit] = []
        self.heads: Dict[Unit, Head] = {}
        self.published: Dict[Unit, Head] = {}
        self.demands: Dict[str, Demand] = {}
        self.errors: Dict[Unit, MirrorsError] = {}
        self._staging = Staging(job.source, job.destination, job.file_cache, job.on_progress, lock, job.options.verify_all,
                               job.options.dry_run)
        self._index = UnitIndex(())
        self._owners: Dict[str, Unit] = {}  # who demands a file

    def run(self) -> None:
        """Run the round.

        Raises:
            FetchError: the source cannot be read.
            UsageError: nothing there can be synced, or the disk cannot do it.
        """
        self._job.on_progress.step("list", self._job.source.url)
        self._list_source()
        self._job.on_progress.step("heads", "{} signed lists".format(len(self.units)))
        self._read_heads()
        if not self.heads:
            return  # nothing there is proven: it may be a mirror of anything, so nothing of it is taken
        self._job.on_progress.step("metadata", "{} of them changed".format(sum(map(self.is_changed, self.units))))
        for unit, demands in self._read_metadata().items():
            self._read_unit(unit, demands)
        self._job.on_progress.step("files", "")
        self._fetch_files()
        if not self._job.options.dry_run:
            self._find_incomplete()

    def is_changed(self, unit: Unit) -> bool:
        """Whether a proven unit differs from the published one."""
        head, published = self.heads.get(unit), self.published.get(unit)
        return head is not None and (published is None or (head.raw, head.signature) != (published.raw, published.signature))

    @property
    def wants(self) -> Dict[str, Want]:
        """What DEST lacks."""
        return self._staging.wants

    @property
    def staged(self) -> Set[str]:
        """The wanted files that are in the stage and proven."""
        return self._staging.staged

    def drop(self, paths: Iterable[str]) -> None:
        """Remove files from the stage."""
        self._staging.drop(paths)

    def unit_of(self, path: str) -> Optional[Unit]:
        """Return the unit that a file belongs to."""
        return self._index.unit_of(path)

    def is_kept(self, path: str) -> bool:
        """Whether a file must stay as it is, because its unit does."""
        unit = self.unit_of(path)
        return unit is not None and unit in self.errors

    def in_scope(self, path: str) -> bool:
        """Whether a path of DEST is in the scope of this run."""
        if is_excluded(path, self._job.options.excludes):
            return False
        if not self._job.source.lists:
            return self.unit_of(path) in self.units
        return not self._job.options.repos or any(is_inside(path, unit.folder) for unit in self.units)

    def record_unchanged(self) -> None:
        """Give the unchanged files of DEST the times of the source, and add them to the file cache."""
        heads = [path for unit in self.heads if not self.is_changed(unit) for path in unit.heads]
        for path in heads + [path for path in self.demands if path not in self.staged and not self.is_kept(path)]:
            status, listed = self._job.destination.find_file(path), self.catalogue.files.get(path)
            if status is None:
                continue
            if listed is not None and int(status.st_mtime) != listed.mtime and status.st_size == listed.size:
                status = self._job.destination.set_time(path, listed.mtime)
            self._job.file_cache.learn(path, status, self.demands.get(path))

    # Listing the source.

    def _list_source(self) -> None:
        listed = self._job.source.catalogue(self._job.options.excludes, self._job.options.repos)
        if listed is None:
            self.units = self._job.source.units(self._job.options.repos, find_units(self._job.file_cache.paths))
            self._index = UnitIndex(self.units)
            return
        # A unit without a signature is left out where --unsigned allows that.
        every = [unit for unit in find_units(listed.files)
                 if unit.heads[1] in listed.files or not is_excluded(unit.folder, self._job.options.unsigned)]
        wanted = self._job.options.repos
        self.units = [unit for unit in every if not wanted or any(matches(unit.folder, pattern) for pattern in wanted)]
        if wanted and not self.units:
            raise UsageError("no-repository", "the source has no such repository", where=", ".join(wanted),
                             hint="name its folder, e.g. --repo {}".format(EXAMPLE_FOLDER))
        if not every:
            raise FetchError("bad-answer", "neither a repository nor a list of checksums is there", self._job.source.url,
                             hint=NOTHING_HINT)
        self._index = UnitIndex(every)
        self.catalogue = listed._replace(
            files={path: file for path, file in listed.files.items() if self.in_scope(path)},
            links={path: target for path, target in listed.links.items() if self.in_scope(path)},
            left_out=tuple((path, reason) for path, reason in listed.left_out if self.in_scope(path)))
        self._job.destination.prune_stage(set(self.catalogue.files))

    def _is_same(self, path: str) -> bool:
        """Whether DEST's file has size and time of the source's: rsync's own quick check."""
        status, listed = self._job.destination.find_file(path), self.catalogue.files.get(path)
        return status is not None and listed is not None and (status.st_size, int(status.st_mtime)) == listed

    def _want(self, path: str, demand: Optional[Demand] = None) -> Want:
        listed = self.catalogue.files.get(path)
        if listed is None and demand is not None and demand.size is not None and not self._job.source.lists:
            listed = ListedFile(demand.size, 0)
        return Want(listed, demand)

    # Reading signed lists.

    def _read_heads(self) -> None:
        """Fetch and prove the signed lists: always, for two versions may have the same size and time."""
        heads = [path for unit in self.units for path in unit.heads if not self._is_absent(path)]
        for path in heads:
            self._job.destination.forget_staged(path)
        self._staging.fetch({path: self._want(path) for path in heads})
        for unit in self.units:
            self._try(unit, self._read_head)

    def _is_absent(self, path: str) -> bool:
        return self._job.source.lists and path not in self.catalogue.files

    def _prove_published(self, unit: Unit) -> Optional[Head]:
        """Return the head that DEST has; None if there is none, or it cannot be proven."""
        try:
            raw, signature = (self._read_small(self._job.destination.path(path), path) for path in unit.heads)
            return prove_head(unit, raw, signature, *self._job.trust)
        except MirrorsError:
            return None

    def _read_small(self, path: str, below: str) -> bytes:
        most = MAX_SIGNATURE_BYTES if below.endswith(".asc") else max(MAX_REPOMD_BYTES, MAX_SUMS_BYTES)
        try:
            return read_capped(path, most)
        except OSError as error:
            raise TrustError("signature-missing" if below.endswith(".asc") else "malformed",
                             "it is missing or unusable: {}".format(error.strerror), where=below) from error

    def _read_head(self, unit: Unit) -> None:
        for path in unit.heads:
            reason = self._staging.reasons.get(path)
            if self._is_absent(path) or (path != unit.head and reason is not None and reason.reference == "http-status"):
                raise TrustError("signature-missing", "the source has no signature beside it", unit.head, UNSIGNED_HINT)
            if reason is not None:
                raise reason
        raw, signature = (self._read_small(self._job.destination.staged(path), path) for path in unit.heads)
        try:
            head = prove_head(unit, raw, signature, *self._job.trust)
        except TrustError as error:
            raise type(error)(error.reference, error.what, error.where or unit.head, error.hint) from error
        published = self._prove_published(unit)
        if published is not None:
            self.published[unit] = published
        if not self._job.options.accept_rollback:
            refuse_rollback(unit, head, published)
        self.heads[unit] = head
        if not self.is_changed(unit):
            self._staging.drop(unit.heads)

    def _try(self, unit: Unit, act: Callable[[Unit], None]) -> None:
        """Do something for a unit; a failure is the error of this unit, and the others go on."""
        try:
            act(unit)
        except (FetchError, TrustError) as error:
            self.errors[unit] = error
            self.heads.pop(unit, None)

    def _read_metadata(self) -> Dict[Unit, Dict[str, Demand]]:
        """Fetch the metadata files of all units at once."""
        found: Dict[Unit, Dict[str, Demand]] = {}
        wants: Dict[str, Want] = {}

        def read(unit: Unit) -> None:
            found[unit] = metadata_demands(unit, self.heads[unit])
            wants.update((path, self._want(path, demand)) for path, demand in found[unit].items()
                         if not self._staging.has(path, demand))
            if unit.is_repository and self.is_changed(unit):
                inside = [path for path in self.catalogue.files if is_inside(path, unit.switched_folder)]
                wants.update((path, self._want(path)) for path in inside
                             if path not in found[unit] and path not in unit.heads and not self._is_same(path))

        for unit in list(self.heads):
            self._try(unit, read)
        self._staging.fetch({path: want for path, want in wants.items() if not self._is_absent(path)})
        return found

    def _read_unit(self, unit: Unit, demands: Dict[str, Demand]) -> None:
        """Find out which files a unit names."""
        def read(unit: Unit) -> None:
            if unit.is_repository:
                path, file = primary_of(unit, self.heads[unit])
                demands.update(package_demands(unit, file, self._staging.read_proven(path, demands[path])))
            else:
                demands.update((path, demand) for path, demand in listed_demands(unit, self.heads[unit]).items()
                               if not self._is_absent(path) and not is_excluded(path, self._job.options.excludes))
            self.demands.update(demands)
            self._owners.update((path, unit) for path in demands)

        if unit in self.heads:
            self._try(unit, read)

    # Fetching files.

    def _fetch_files(self) -> None:
        """Fetch what DEST lacks, including new files that nothing signed names."""
        wants: Dict[str, Want] = {}
        for path, demand in self.demands.items():
            known = path in self._staging.staged or path in self._staging.reasons
            if not (known or self._staging.has(path, demand) or self._is_absent(path)):
                wants[path] = self._want(path, demand)
        for path in self.catalogue.files:
            if self._is_plain(path):
                if self._is_same(path):
                    self._job.file_cache.learn(path, os.lstat(self._job.destination.path(path)))
                else:
                    wants[path] = self._want(path)
        if self._job.options.dry_run:
            self._staging.wants.update(wants)
        else:
            self._staging.fetch(wants)

    def _is_plain(self, path: str) -> bool:
        """Whether nothing signed names a file of the source, and it may be taken as it is."""
        unit = self.unit_of(path)
        if path in self.demands or path in self.staged:
            return False
        if unit is None:
            return True
        return unit not in self.errors and path not in unit.heads and not (
            self.is_changed(unit) and is_inside(path, unit.switched_folder) and unit.is_repository)

    def _find_incomplete(self) -> None:
        """Find the units with missing or wrong files."""
        for path, demand in self.demands.items():
            unit = self._owners[path]
            if isinstance(self.errors.get(unit), TrustError):
                continue
            status, reason = self._job.destination.find_file(path), self._staging.reasons.get(path)
            if path in self.staged:
                continue
            if reason is None and status is not None and self._job.file_cache.proves(path, status, demand):
                continue
            if not unit.is_repository and reason is not None and reason.reference == "http-status":
                continue  # a list of checksums may name files that the source does not have
            if is_excluded(path, self._job.options.excludes):
                reason = FetchError("rsync-partial", "an --exclude leaves out what its metadata names", path, EXCLUDE_HINT)
            self.errors[unit] = reason or FetchError("rsync-partial", "the source lacks what its metadata names", where=path)
