"""One round: find out what the source has now, prove it, and fetch into the stage everything that DEST lacks.

Nothing that is published is changed here. If the source changes meanwhile, units end with an error: then there is a second
round, which finds in the stage what the first one has fetched.
"""
import os
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Set

from ...errors import FetchError, MirrorsError, TrustError, UsageError
from .admission import is_earlier, reason_against_link, reason_against_name, reason_against_unsigned
from .identity import Neighbours, refuse_other_content, refuse_other_place
from .job import SyncJob
from .plan import Catalogue, Demand, ListedFile, Unit, UnitIndex, Want, is_excluded, is_inside, reason_against_path
from .published import Published, read_list
from .signed_unit import Head, listed_demands, metadata_demands, primary_of, prove_head, read_packages, refuse_rollback
from .staging import Staging
from .survey import Survey, survey

UNSIGNED_HINT = "if its owner does not sign it, and you want it anyway: --unsigned FOLDER"
EXCLUDE_HINT = "exclude whole repositories: clients cannot use a part of one"
NO_LIST_HINT = "wait until the source has it again, or use another source: --from URL"
INCLUDE_HINT = "if you want it anyway: --include PATTERN"
_NOT_FOUND = ("HTTP 404", "HTTP 410")  # RFC 9110, 15.5.5 and 15.5.11, as net/fetch.py words them


class Round:
    """One round.

    Args:
        job: what to do.
        lock: DEST's.

    Attributes:
        published: what DEST has.
        catalogue: of the source, in the scope; empty if it cannot be listed.
        units: in the scope.
        heads: of the units that are proven.
        demands: of all proven units.
        errors: of the units that stay as they are.
        gone: the units of DEST that the source does not have; they stay, too.
        links: that are taken.
        unsigned: the files that are taken though nothing signed names them.
        earlier: those of repositories that are not taken, as nothing signed names them any longer.
        left_out: path -> why it is not taken.
    """

    def __init__(self, job: SyncJob, lock: int) -> None:
        self._job = job
        self.published = Published(job.destination, job.file_cache, job.trust)
        self.catalogue = Catalogue({}, {})
        self.units: List[Unit] = []
        self.heads: Dict[Unit, Head] = {}
        self.demands: Dict[str, Demand] = {}
        self.errors: Dict[Unit, MirrorsError] = {}
        self.gone: List[Unit] = []
        self.links: Dict[str, str] = {}
        self.unsigned: Set[str] = set()
        self.earlier: List[str] = []
        self.left_out: Dict[str, str] = {}
        self._staging = Staging(job.source, job.destination, job.file_cache, job.on_progress, lock, job.options.verify_all,
                               job.options.dry_run)
        self._survey = Survey(Catalogue({}, {}), set(), [], [], set(), UnitIndex(()))
        self._owners: Dict[str, Unit] = {}  # who demands a file
        self._named: Set[str] = set()  # by proven lists of checksums, also where the source lacks it
        self._believed: Set[Unit] = set()  # by identity.py

    def run(self) -> None:
        """Run the round.

        Raises:
            FetchError: the source cannot be read.
            UsageError: nothing there can be synced, or the disk cannot do it.
        """
        self._job.on_progress.step("list", self._job.source.url)
        self._list_source()
        self._job.on_progress.step("heads", "{} signed lists".format(len(self._survey.units)))
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
        head, published = self.heads.get(unit), self.published.heads.get(unit)
        return head is not None and (published is None or (head.raw, head.signature) != (published.raw, published.signature))

    @property
    def wants(self) -> Dict[str, Want]:
        """What DEST lacks."""
        return self._staging.wants

    @property
    def staged(self) -> Set[str]:
        """The wanted files that are in the stage and proven."""
        return self._staging.staged

    @property
    def expected(self) -> Set[str]:
        """The paths that the source has, or that something signed names."""
        lists = [path for unit in self._survey.units if unit not in self.gone for path in unit.heads]
        return self._survey.paths.union(self.demands, self._named, lists)

    @property
    def vouched(self) -> Set[Unit]:
        """The units whose owner says by signature what they have."""
        return {unit for unit in self.heads if unit not in self.errors}

    @property
    def unsigned_units(self) -> Set[Unit]:
        """The units that are accepted without a signature."""
        return self._survey.unsigned

    def drop(self, paths: Iterable[str]) -> None:
        """Remove files from the stage."""
        self._staging.drop(paths)

    def unit_of(self, path: str) -> Optional[Unit]:
        """Return the unit that a file belongs to: the one that demands it, else the innermost that covers it."""
        return self._owners.get(path) or self._survey.units_index.unit_of(path)

    def is_kept(self, path: str) -> bool:
        """Whether a file must stay as it is, because its unit does."""
        unit = self.unit_of(path)
        return unit is not None and (unit in self.errors or unit in self.gone)

    def in_scope(self, path: str) -> bool:
        """Whether a path of DEST is in the scope of this run."""
        if is_excluded(path, self._job.options.excludes):
            return False
        if not self._job.source.lists:
            return self.unit_of(path) in self.units
        return not self._job.options.repos or any(is_inside(path, unit.folder) for unit in self.units)

    def record_unchanged(self) -> None:
        """Give the unchanged files of DEST the times of the source, and add them to the file cache."""
        for unit, head in self.published.heads.items():
            self._job.file_cache.learn_head(unit.head, head.sha256)
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
        self._survey = survey(self._job.source, self.published.known, self._job.options.selection)
        self.units = self._survey.units + self._survey.missing
        listed = self._survey.catalogue
        self.catalogue = listed._replace(
            files={path: file for path, file in listed.files.items() if self.in_scope(path)},
            links={path: target for path, target in listed.links.items() if self.in_scope(path)})
        self.left_out = {path: reason for path, reason in listed.left_out if self.in_scope(path)}
        beheaded = set(map(self.unit_of, self._survey.paths)) if self._survey.missing else set()
        for unit in self._survey.missing:
            if unit in beheaded:
                self.errors[unit] = TrustError("signature-missing", "the source has files of it, and not the list that is signed",
                                               unit.head, NO_LIST_HINT)
            else:
                self.gone.append(unit)
        self._refuse_units_that_are_not_gone()
        if self._job.source.lists:
            self._job.destination.prune_stage(set(self.catalogue.files))

    def _refuse_units_that_are_not_gone(self) -> None:
        for folder in self._job.options.deletion_limits.units:
            if any(unit.folder == folder and unit not in self.gone for unit in self.units) and self._job.source.lists:
                raise UsageError("usage", "--delete-unit: the source still has files of it", where=folder,
                                 hint="--exclude {} neither fetches nor deletes it".format(folder))

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
        heads = [path for unit in self._survey.units for path in unit.heads if not self._is_absent(path)]
        for path in heads:
            self._job.destination.forget_staged(path)
        self._staging.fetch({path: self._want(path) for path in heads})
        for unit in self._survey.units:
            if unit in self.published.known.ours and all(map(self._is_not_found, unit.heads)):
                self.gone.append(unit)
            else:
                self._try(unit, self._read_head)
        neighbours = self.published.neighbours(self.heads)
        for unit in list(filter(self.is_changed, self.heads)):
            self._try(unit, lambda unit: self._judge(unit, neighbours))

    def _is_absent(self, path: str) -> bool:
        return self._job.source.lists and path not in self.catalogue.files

    def _is_not_found(self, path: str) -> bool:
        reason = self._staging.reasons.get(path)
        return reason is not None and reason.reference == "http-status" and reason.what.partition(",")[0] in _NOT_FOUND

    def _read_head(self, unit: Unit) -> None:
        for path in unit.heads:
            reason = self._staging.reasons.get(path)
            if self._is_absent(path) or (path != unit.head and self._is_not_found(path)):
                raise TrustError("signature-missing", "the source has no signature beside it", unit.head, UNSIGNED_HINT)
            if reason is not None:
                raise reason
        raw, signature = (read_list(self._job.destination.staged(path), path) for path in unit.heads)
        try:
            self.heads[unit] = self._prove(unit, raw, signature)
        except TrustError as error:
            raise type(error)(error.reference, error.what, error.where or unit.head, error.hint) from error
        if not self.is_changed(unit):
            self._staging.drop(unit.heads)

    def _prove(self, unit: Unit, raw: bytes, signature: bytes) -> Head:
        return prove_head(unit, raw, signature, self._job.trust.keys, self._job.trust.now)

    def _judge(self, unit: Unit, neighbours: Neighbours) -> None:
        """Refuse a list that is another place's, or older than the published one."""
        head, voice = self.heads[unit], self._job.trust.second_voice
        if unit.folder in self._job.options.accepted:
            self._believed.add(unit)
        else:
            other = voice.ask(unit, self._prove) if voice and not neighbours.is_known_here(unit, head.sha256) else None
            if refuse_other_place(unit, head, neighbours, other):
                self._believed.add(unit)
        if not self._job.options.accept_rollback:
            refuse_rollback(unit, head, self.published.heads.get(unit))

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

        for unit in list(self.heads):
            self._try(unit, read)
        self._staging.fetch({path: want for path, want in wants.items() if not self._is_absent(path)})
        return found

    def _read_unit(self, unit: Unit, demands: Dict[str, Demand]) -> None:
        """Find out which files a unit names."""
        def read(unit: Unit) -> None:
            names = self._read_packages(unit, demands) if unit.is_repository else self._read_sums(unit, demands)
            if self.is_changed(unit) and unit not in self._believed:
                refuse_other_content(unit, self.published.names(unit, self._staging), names)
            self._demand(unit, demands)

        if unit in self.heads:
            self._try(unit, read)

    def _read_packages(self, unit: Unit, demands: Dict[str, Demand]) -> Mapping[str, str]:
        path, file = primary_of(unit, self.heads[unit])
        packages = read_packages(unit, file, self._staging.read_proven(path, demands[path]))
        demands.update((path, demand) for path, (_, demand) in packages.items())
        for path in demands:
            reason = reason_against_name(path, self._job.options.includes)
            if reason:
                raise TrustError("unsafe-path", "its metadata has {}".format(reason), path, INCLUDE_HINT)
        return {path: name for path, (name, _) in packages.items()}

    def _read_sums(self, unit: Unit, demands: Dict[str, Demand]) -> Mapping[str, str]:
        listed = listed_demands(unit, self.heads[unit])
        self._named.update(listed)
        for path, demand in listed.items():
            reason = reason_against_path(path) or reason_against_name(path, self._job.options.includes)
            if reason:
                self.left_out[path] = reason
            elif not self._is_absent(path) and not is_excluded(path, self._job.options.excludes):
                demands[path] = demand
        return {path: path for path in listed}

    def _demand(self, unit: Unit, demands: Mapping[str, Demand]) -> None:
        """Note what a unit demands; two must not demand different bytes of one file."""
        for path, demand in demands.items():
            if self.demands.get(path, demand)[1:] != demand[1:]:
                raise TrustError("mix-and-match", "another signed list names other bytes for this file", path)
        for path, demand in demands.items():
            self.demands.setdefault(path, demand)
            self._owners.setdefault(path, unit)

    # Fetching files.

    def _fetch_files(self) -> None:
        """Fetch what DEST lacks, including new files that nothing signed names."""
        wants: Dict[str, Want] = {}
        for path, demand in self.demands.items():
            known = path in self._staging.staged or path in self._staging.reasons
            if not (known or self._staging.has(path, demand) or self._is_absent(path)):
                wants[path] = self._want(path, demand)
        for path in sorted(filter(self._takes_unsigned, self.catalogue.files)):
            if self._is_same(path):
                self._job.file_cache.learn(path, os.lstat(self._job.destination.path(path)))
            else:
                self.unsigned.add(path)
                wants[path] = self._want(path)
        self.links = {path: target for path, target in self.catalogue.links.items() if self._takes_unsigned(path)}
        if self._job.options.dry_run:
            self._staging.wants.update(wants)
        else:
            self._staging.fetch(wants)

    def _takes_unsigned(self, path: str) -> bool:
        """Whether a file or link that nothing signed names is taken; if not, it is noted why."""
        unit = self.unit_of(path)
        if path in self.demands or self.is_kept(path) or (unit is not None and path in unit.heads and unit in self.heads):
            return False
        reason = self._reason_against(path, unit)
        if path in self.published.proven_paths and self._is_same(path):
            return False  # and nothing to say
        if reason and unit is not None and is_earlier(path, unit):
            self.earlier.append(path)
        elif reason:
            self.left_out[path] = reason
        return not reason

    def _reason_against(self, path: str, unit: Optional[Unit]) -> str:
        if path in self.published.proven_paths:
            return "what is here was proven once, and nothing signed names it any longer"
        if unit in self._survey.unsigned:
            return ""
        reason_against = reason_against_link if path in self.catalogue.links else reason_against_unsigned
        return reason_against(path, self._job.options.includes)

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
