"""One look at the source: what it has now, proven, and everything that DEST lacks brought into the stage.

Nothing of what is published is changed here. A source that changes meanwhile shows as units with an error: then there is
another round, which finds in the stage what the first one has brought.
"""
import os
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ...errors import FetchError, MirrorsError, TrustError, UsageError
from ...trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ...trust.checksum_file import MAX_SUMS_BYTES
from ...trust.keys import PublicKey
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.files import read_capped
from .destination import Destination
from .file_cache import FileCache
from .plan import Brake, Catalogue, Demand, ListedFile, Unit, UnitIndex, Want, find_units, is_excluded, is_inside, matches
from .signed_unit import Head, listed_demands, metadata_demands, package_demands, primary_of, prove_head, refuse_rollback
from .source import OnProgress, SyncSource
from .staging import Staging

UNSIGNED_HINT = "if its owner does not sign it, and you take it nevertheless: --unsigned FOLDER"
EXCLUDE_HINT = "exclude whole repositories: a part of one is of no use to a client"
NOTHING_HINT = "see --from: it wants the root of a mirror, which has the folders 8 and isos"


class SyncOptions(NamedTuple):
    """What was asked for."""

    repos: Tuple[str, ...] = ()  # patterns of the folders of units; empty: the whole tree
    unsigned: Tuple[str, ...] = ()  # patterns of the folders of units that are taken as they are where nothing signs them
    excludes: Tuple[str, ...] = ()  # patterns
    brake: Brake = Brake()
    accept_rollback: bool = False
    dry_run: bool = False
    verify_all: bool = False  # read every file that something signed names


class UnitVerifier(NamedTuple):
    """Who is believed, and when it is."""

    keys: Sequence[PublicKey]
    now: int  # seconds since 1970


class Job(NamedTuple):
    """Everything that a sync is about."""

    origin: SyncSource  # the source
    destination: Destination  # DEST
    memory: FileCache  # of DEST
    options: SyncOptions
    believer: UnitVerifier
    told: OnProgress = OnProgress()  # who wants to know


class Round:
    """One round.

    Args:
        job: what is to be done.
        lock: DEST's.

    Attributes:
        catalogue: of the source, in the scope; of one that cannot be listed what something signed names.
        units: in the scope.
        heads: of the units that are believed.
        published: the proven heads of DEST.
        demands: of all believed units.
        errors: why a unit must stay as it is.
    """

    def __init__(self, job: Job, lock: int) -> None:
        self._job = job
        self.catalogue = Catalogue({}, {})
        self.units: List[Unit] = []
        self.heads: Dict[Unit, Head] = {}
        self.published: Dict[Unit, Head] = {}
        self.demands: Dict[str, Demand] = {}
        self.errors: Dict[Unit, MirrorsError] = {}
        self._intake = Staging(job.origin, job.destination, job.memory, job.told, lock, job.options.verify_all,
                               job.options.dry_run)
        self._index = UnitIndex(())
        self._owners: Dict[str, Unit] = {}  # who demands a file

    def run(self) -> None:
        """Look and bring.

        Raises:
            FetchError: the source cannot be had.
            UsageError: nothing there can be synced, or the disk cannot do it.
        """
        self._job.told.step("list", self._job.origin.url)
        self._survey()
        self._job.told.step("heads", "{} signed lists".format(len(self.units)))
        self._read_heads()
        if not self.heads:
            return  # nothing there is believed: it may be a mirror of anything, and nothing of it is taken
        self._job.told.step("metadata", "{} of them changed".format(sum(map(self.is_changed, self.units))))
        for unit, demands in self._read_metadata().items():
            self._read_unit(unit, demands)
        self._job.told.step("files", "")
        self._bring_files()
        if not self._job.options.dry_run:
            self._judge_units()

    def is_changed(self, unit: Unit) -> bool:
        """Whether a believed unit is not what is published."""
        head, published = self.heads.get(unit), self.published.get(unit)
        return head is not None and (published is None or (head.raw, head.signature) != (published.raw, published.signature))

    @property
    def wants(self) -> Dict[str, Want]:
        """What DEST lacks."""
        return self._intake.wants

    @property
    def staged(self) -> Set[str]:
        """What of it has arrived and is right."""
        return self._intake.staged

    def drop(self, paths: Iterable[str]) -> None:
        """Forget what has arrived."""
        self._intake.drop(paths)

    def unit_of(self, path: str) -> Optional[Unit]:
        """Return the unit that a file stands or falls with."""
        return self._index.unit_of(path)

    def is_kept(self, path: str) -> bool:
        """Whether a file must stay as it is, because its unit does."""
        unit = self.unit_of(path)
        return unit is not None and unit in self.errors

    def in_scope(self, path: str) -> bool:
        """Whether this run is about a path of DEST."""
        if is_excluded(path, self._job.options.excludes):
            return False
        if not self._job.origin.lists:
            return self.unit_of(path) in self.units
        return not self._job.options.repos or any(is_inside(path, unit.folder) for unit in self.units)

    def settle(self) -> None:
        """Bring times and memory of what was proven in DEST and stays in line with the source: its content is the source's."""
        heads = [path for unit in self.heads if not self.is_changed(unit) for path in unit.heads]
        for path in heads + [path for path in self.demands if path not in self.staged and not self.is_kept(path)]:
            status, listed = self._job.destination.find_file(path), self.catalogue.files.get(path)
            if status is None:
                continue
            if listed is not None and int(status.st_mtime) != listed.mtime and status.st_size == listed.size:
                status = self._job.destination.set_time(path, listed.mtime)
            self._job.memory.learn(path, status, self.demands.get(path))

    # What the source has.

    def _survey(self) -> None:
        listed = self._job.origin.catalogue(self._job.options.excludes, self._job.options.repos)
        if listed is None:
            self.units = self._job.origin.units(self._job.options.repos, find_units(self._job.memory.paths))
            self._index = UnitIndex(self.units)
            return
        every = [unit for unit in find_units(listed.files) if not self._is_let_pass(unit, listed)]
        wanted = self._job.options.repos
        self.units = [unit for unit in every if not wanted or any(matches(unit.folder, pattern) for pattern in wanted)]
        if wanted and not self.units:
            raise UsageError("no-repository", "the source has no such repository", where=", ".join(wanted),
                             hint="name its folder, e.g. --repo 8/8.3/updates/x86_64")
        if not every:
            raise FetchError("bad-answer", "neither a repository nor a list of checksums is there", self._job.origin.url,
                             hint=NOTHING_HINT)
        self._index = UnitIndex(every)
        self.catalogue = listed._replace(
            files={path: file for path, file in listed.files.items() if self.in_scope(path)},
            links={path: target for path, target in listed.links.items() if self.in_scope(path)},
            left_out=tuple((path, reason) for path, reason in listed.left_out if self.in_scope(path)))
        self._job.destination.prune_stage(set(self.catalogue.files))

    def _is_let_pass(self, unit: Unit, listed: Catalogue) -> bool:
        """Whether the files of a unit are plain ones, because nobody signs it and that was allowed."""
        return unit.heads[1] not in listed.files and is_excluded(unit.folder, self._job.options.unsigned)

    def _is_same(self, path: str) -> bool:
        """Whether DEST's file has size and time of the source's: rsync's own quick check."""
        status, listed = self._job.destination.find_file(path), self.catalogue.files.get(path)
        return status is not None and listed is not None and (status.st_size, int(status.st_mtime)) == listed

    def _want(self, path: str, demand: Optional[Demand] = None) -> Want:
        listed = self.catalogue.files.get(path)
        if listed is None and demand is not None and demand.size is not None and not self._job.origin.lists:
            listed = ListedFile(demand.size, 0)
        return Want(listed, demand)

    # What is signed.

    def _read_heads(self) -> None:
        """Bring and prove the signed lists: always, for two of them may well have one size and one time."""
        heads = [path for unit in self.units for path in unit.heads if not self._is_absent(path)]
        for path in heads:
            self._job.destination.forget_staged(path)
        self._intake.bring({path: self._want(path) for path in heads})
        for unit in self.units:
            self._try(unit, self._read_head)

    def _is_absent(self, path: str) -> bool:
        return self._job.origin.lists and path not in self.catalogue.files

    def _prove_published(self, unit: Unit) -> Optional[Head]:
        """Return what DEST has, None if that is nothing or cannot be proven."""
        try:
            raw, signature = (self._read_small(self._job.destination.path(path), path) for path in unit.heads)
            return prove_head(unit, raw, signature, *self._job.believer)
        except MirrorsError:
            return None

    def _read_small(self, path: str, below: str) -> bytes:
        most = MAX_SIGNATURE_BYTES if below.endswith(".asc") else max(MAX_REPOMD_BYTES, MAX_SUMS_BYTES)
        try:
            return read_capped(path, most)
        except OSError as error:
            raise TrustError("signature-missing" if below.endswith(".asc") else "malformed",
                             "it is not there, or not as such a file is: {}".format(error.strerror), where=below) from error

    def _read_head(self, unit: Unit) -> None:
        for path in unit.heads:
            reason = self._intake.reasons.get(path)
            if self._is_absent(path) or (path != unit.head and reason is not None and reason.reference == "http-status"):
                raise TrustError("signature-missing", "the source has no signature beside it", unit.head, UNSIGNED_HINT)
            if reason is not None:
                raise reason
        raw, signature = (self._read_small(self._job.destination.staged(path), path) for path in unit.heads)
        try:
            head = prove_head(unit, raw, signature, *self._job.believer)
        except TrustError as error:
            raise type(error)(error.reference, error.what, error.where or unit.head, error.hint) from error
        published = self._prove_published(unit)
        if published is not None:
            self.published[unit] = published
        if not self._job.options.accept_rollback:
            refuse_rollback(unit, head, published)
        self.heads[unit] = head
        if not self.is_changed(unit):
            self._intake.drop(unit.heads)

    def _try(self, unit: Unit, act: Callable[[Unit], None]) -> None:
        """Do something for a unit; what is wrong with it is its error, and the other ones go on."""
        try:
            act(unit)
        except (FetchError, TrustError) as error:
            self.errors[unit] = error
            self.heads.pop(unit, None)

    def _read_metadata(self) -> Dict[Unit, Dict[str, Demand]]:
        """Bring the metadata files of all units at once."""
        found: Dict[Unit, Dict[str, Demand]] = {}
        wants: Dict[str, Want] = {}

        def read(unit: Unit) -> None:
            found[unit] = metadata_demands(unit, self.heads[unit])
            wants.update((path, self._want(path, demand)) for path, demand in found[unit].items()
                         if not self._intake.has(path, demand))
            if unit.is_repository and self.is_changed(unit):
                inside = [path for path in self.catalogue.files if is_inside(path, unit.switched_folder)]
                wants.update((path, self._want(path)) for path in inside
                             if path not in found[unit] and path not in unit.heads and not self._is_same(path))

        for unit in list(self.heads):
            self._try(unit, read)
        self._intake.bring({path: want for path, want in wants.items() if not self._is_absent(path)})
        return found

    def _read_unit(self, unit: Unit, demands: Dict[str, Demand]) -> None:
        """Find out all that a unit demands."""
        def read(unit: Unit) -> None:
            if unit.is_repository:
                path, file = primary_of(unit, self.heads[unit])
                demands.update(package_demands(unit, file, self._intake.read_proven(path, demands[path])))
            else:
                demands.update((path, demand) for path, demand in listed_demands(unit, self.heads[unit]).items()
                               if not self._is_absent(path) and not is_excluded(path, self._job.options.excludes))
            self.demands.update(demands)
            self._owners.update((path, unit) for path in demands)

        if unit in self.heads:
            self._try(unit, read)

    # What it names, and everything else.

    def _bring_files(self) -> None:
        """Bring what DEST lacks, new files of the source that nothing signs included."""
        wants: Dict[str, Want] = {}
        for path, demand in self.demands.items():
            known = path in self._intake.staged or path in self._intake.reasons
            if not (known or self._intake.has(path, demand) or self._is_absent(path)):
                wants[path] = self._want(path, demand)
        for path in self.catalogue.files:
            if self._is_plain(path):
                if self._is_same(path):
                    self._job.memory.learn(path, os.lstat(self._job.destination.path(path)))
                else:
                    wants[path] = self._want(path)
        if self._job.options.dry_run:
            self._intake.wants.update(wants)
        else:
            self._intake.bring(wants)

    def _is_plain(self, path: str) -> bool:
        """Whether nothing signed names a file of the source, and nothing stands against taking it."""
        unit = self.unit_of(path)
        if path in self.demands or path in self.staged:
            return False
        if unit is None:
            return True
        return unit not in self.errors and path not in unit.heads and not (
            self.is_changed(unit) and is_inside(path, unit.switched_folder) and unit.is_repository)

    def _judge_units(self) -> None:
        """Find the units of which something is missing or wrong."""
        for path, demand in self.demands.items():
            unit = self._owners[path]
            if isinstance(self.errors.get(unit), TrustError):
                continue
            status, reason = self._job.destination.find_file(path), self._intake.reasons.get(path)
            if path in self.staged or (reason is None and status is not None and self._job.memory.proves(path, status, demand)):
                continue
            if not unit.is_repository and self._is_tolerated(path):
                continue
            if is_excluded(path, self._job.options.excludes):
                reason = FetchError("rsync-partial", "an --exclude leaves out what its metadata names", path, EXCLUDE_HINT)
            self.errors[unit] = reason or FetchError("rsync-partial", "the source lacks what its metadata names", where=path)

    def _is_tolerated(self, path: str) -> bool:
        """A list of checksums may name what the source does not have; wrong bytes are another matter."""
        reason = self._intake.reasons.get(path)
        return reason is not None and reason.reference == "http-status"
