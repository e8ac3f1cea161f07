"""A whole sync: fetch what is new, then publish it in an order in which DEST is consistent for its readers at every moment.

    1. DEST is locked, and the interrupted publication of a killed run is completed.
    2. A round (``round.py``) fetches into the stage what DEST lacks. If anything is missing or wrong, there is a second round:
       the source may have changed meanwhile. A unit (a repository, or a folder with a signed list of checksums) that is still
       wrong stays as it is published; the others go on.
    3. New files get their names, which no published metadata names yet. Then, unit by unit: files that replace another one of
       the same name, and immediately after them the folder with the metadata, exchanged as a whole (``exchange.py``).
    4. Deletions are last (``plan.py``).
A kill between any two steps leaves readers with consistent metadata and every file that it names. There is one exception, which
only a second copy of the tree could avoid: a file that the source replaced under the same name does not match the old metadata
between its own rename and the exchange.
"""
import contextlib
import stat
import tempfile
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ...errors import MirrorsError, UsageError
from ...net.partial_file import disk_error
from .destination import Destination
from .exchange import flush, recover, switch_folder
from .job import SyncJob
from .plan import Deletions, DestinationFiles, RunOutcome, Unit, deletions, is_inside
from .round import Round
from .signed_unit import Head

# WAITING: a dry run would switch it; GONE: the source does not have it, and it stays; DELETED: as GONE, but for --delete-unit
SWITCHED, UNCHANGED, KEPT, WAITING, GONE, DELETED = "switched", "unchanged", "kept", "waiting", "gone", "deleted"
# A second round cannot fix these.
_PERMANENT = frozenset(["rollback", "unknown-key", "weak-digest", "key-expired", "key-revoked",
                        "wrong-repository", "unconfirmed"])


class UnitResult(NamedTuple):
    """The outcome of one unit."""

    unit: Unit
    outcome: str  # one of the constants above
    head: Optional[Head] = None  # what is published now; None if that is not proven
    error: Optional[MirrorsError] = None  # set if and only if KEPT
    files: int = 0  # that arrived for it
    bytes: int = 0


class SyncReport(NamedTuple):
    """The outcome of a sync."""

    units: Tuple[UnitResult, ...]
    files: int  # that were fetched, or would be
    bytes: int
    left_out: Tuple[Tuple[str, str], ...]  # path, reason
    earlier: Tuple[str, ...]  # files of repositories that were not taken: of earlier revisions, or nobody's
    unsigned: Tuple[str, ...]  # that were taken, or would be
    deletions: Deletions  # its paths were deleted, or would be
    problems: Tuple[MirrorsError, ...]  # that belong to no unit
    recovered: bool  # the interrupted publication of a killed run was completed
    atomic: bool  # every folder was exchanged in one step
    complete: bool  # the whole source could be listed


class Sync:
    """A sync.

    Args:
        job: what is to be done.
    """

    def __init__(self, job: SyncJob) -> None:
        self._job = job
        self._problems: List[MirrorsError] = []
        self._switched: List[Unit] = []
        self._atomic = True

    def run(self) -> SyncReport:
        """Sync.

        Raises:
            FetchError: the source cannot be read, or is not a mirror; nothing is published.
            UsageError: DEST, its disk or this machine cannot do it; DEST is consistent.
        """
        with self._job.destination.locked(make=not self._job.options.dry_run) as lock, self._stage():
            try:
                recovered = not self._job.options.dry_run and recover(self._job.destination.work, self._job.destination.root)
                return self._run(lock)._replace(recovered=recovered)
            except OSError as error:
                raise disk_error(error, error.filename or self._job.destination.root) from error
            except (MirrorsError, KeyboardInterrupt):
                self._save()  # keep what was proven; a failure of this is not worth hiding the first one
                raise

    @contextlib.contextmanager
    def _stage(self) -> Iterator[None]:
        """Provide the stage: in DEST, where it stays after a failure; for a dry run in a temporary folder."""
        if not self._job.options.dry_run:
            yield
            return
        with tempfile.TemporaryDirectory() as folder:
            self._job = self._job._replace(destination=Destination(self._job.destination.root, folder))
            yield

    def _save(self) -> None:
        if self._job.options.dry_run:
            return
        try:
            self._job.file_cache.save()
        except OSError as error:
            what = "the file cache could not be written, so the next run reads every file again: {}".format(error.strerror)
            self._problems.append(UsageError("state", what, where=self._job.file_cache.path, hint="see --state-dir"))

    def _run(self, lock: int) -> SyncReport:
        self._job.on_progress.step("start", self._job.destination.root)
        self._job.destination.make_work()
        self._job.destination.clean_work()
        found = self._look(lock)
        if any(error.reference not in _PERMANENT for error in found.errors.values()):
            found = self._look(lock)
        ours = self._job.file_cache.paths
        if not self._job.options.dry_run:
            self._publish(found)
        deleted = self._delete(found, ours)
        if not self._job.options.dry_run:
            self._job.on_progress.step("clean", "")
            for unit in found.errors:
                found.drop(unit.heads)
            self._job.destination.end_work(keep_files=bool(found.errors or self._problems))
        self._save()
        self._job.on_progress.step("end", "")
        return self._report(found, deleted)

    def _look(self, lock: int) -> Round:
        found = Round(self._job, lock)
        found.run()
        return found

    # Publishing.

    def _publish(self, found: Round) -> None:
        found.record_unchanged()
        if found.staged:
            self._job.on_progress.step("flush", "")
            flush(self._job.destination.stage)
        waiting: Dict[Unit, List[str]] = {unit: [] for unit in found.units if found.is_changed(unit)}
        for path in sorted(found.staged):
            unit = found.unit_of(path)
            if found.is_kept(path):
                continue
            if unit in waiting and self._belongs_to_switch(path, unit):
                waiting[unit].append(path)
            else:
                self._job.on_progress.step("place", path)
                with self._guarded(found, unit):
                    self._place(found, path)
        for path, target in sorted(found.links.items()):
            self._link(found, path, target)
        for unit, paths in waiting.items():
            if unit not in found.errors:
                with self._guarded(found, unit):
                    self._switch(found, unit, paths)

    def _belongs_to_switch(self, path: str, unit: Unit) -> bool:
        """Whether a file must not be published before its unit's new metadata."""
        inside = is_inside(path, unit.switched_folder) if unit.is_repository else path in unit.heads
        return inside or self._job.destination.find(path) is not None

    @contextlib.contextmanager
    def _guarded(self, found: Round, unit: Optional[Unit]) -> Iterator[None]:
        """Turn an error of the block into the error of its unit, so that the others go on."""
        try:
            yield
        except UsageError as error:
            if unit is None:
                self._problems.append(error)
            else:
                found.errors[unit] = error

    def _place(self, found: Round, path: str) -> None:
        self._job.file_cache.learn(path, self._job.destination.place(path), found.wants[path].demand)

    def _link(self, found: Round, path: str, target: str) -> None:
        with self._guarded(found, None):
            status = self._job.destination.find(path)
            if status is None or not stat.S_ISLNK(status.st_mode) or self._job.destination.target(path) != target:
                self._job.on_progress.step("place", path)
                status = self._job.destination.place_link(path, target)
            self._job.file_cache.learn(path, status)

    def _switch(self, found: Round, unit: Unit, paths: List[str]) -> None:
        folder, work = unit.switched_folder, self._job.destination.work
        self._job.destination.require_folder(folder)
        inside = [path for path in paths if is_inside(path, folder)]
        if not unit.is_repository and self._job.destination.has_folders(folder):
            inside = []  # folders cannot be hard-linked: replace the files one by one, the signed list last
        outside = [path for path in paths if path not in inside]
        self._job.on_progress.step("switch", unit.folder)
        for path in sorted(outside, key=lambda path: (path in unit.heads, path == unit.head)):
            self._job.on_progress.step("place", path)
            self._place(found, path)
        if inside:
            new = self._job.destination.build_successor(folder, inside)
            live = self._job.destination.path(folder)
            atomic = switch_folder(new, live, work, lambda name: self._job.on_progress.step(name, unit.folder))
            self._atomic = self._atomic and atomic
            self._job.destination.remove_replaced()
            for path in inside:
                status = self._job.destination.find(path)
                if status is not None:
                    self._job.file_cache.learn(path, status, found.wants[path].demand)
        self._job.file_cache.learn_head(unit.head, found.heads[unit].sha256)
        self._switched.append(unit)

    # Deleting.

    def _delete(self, found: Round, ours: Set[str]) -> Deletions:
        complete = found.catalogue.complete and not found.errors and not self._problems
        here = {path for path, _ in self._job.destination.files()}
        for path in ours - here - found.staged:
            self._job.file_cache.forget(path)
        before = DestinationFiles([path for path in here if found.in_scope(path)], ours, found.published.proven_paths)
        outcome = RunOutcome(found.expected, complete, found.unit_of, found.vouched, found.unsigned_units, self._switched)
        decided = deletions(before, outcome, self._job.options.deletion_limits)
        if not self._job.options.dry_run:
            for path in decided.paths:
                self._job.on_progress.step("delete", path)
                self._job.destination.delete(path)
                self._job.file_cache.forget(path)
                self._job.file_cache.forget_head(path)
        return decided

    # Reporting.

    def _report(self, found: Round, deleted: Deletions) -> SyncReport:
        arrived = found.wants if self._job.options.dry_run else {path: found.wants[path] for path in found.staged}
        sizes = {path: want.listed.size if want.listed else 0 for path, want in arrived.items()}
        counts: Dict[Unit, List[int]] = {}
        for path, size in sizes.items():
            unit = found.unit_of(path)
            if unit is not None:
                counts.setdefault(unit, []).append(size)
        units = tuple(self._unit_result(found, unit, counts.get(unit, []), deleted) for unit in found.units)
        unsigned = tuple(sorted(found.unsigned.intersection(arrived)))
        left_out, earlier = tuple(found.left_out.items()), tuple(found.earlier)
        return SyncReport(units, len(sizes), sum(sizes.values()), left_out, earlier, unsigned, deleted, tuple(self._problems),
                          False, self._atomic, found.catalogue.complete)

    def _unit_result(self, found: Round, unit: Unit, sizes: List[int], deleted: Deletions) -> UnitResult:
        if unit in found.errors:
            return UnitResult(unit, KEPT, found.published.heads.get(unit), found.errors[unit], len(sizes), sum(sizes))
        if unit in found.gone:
            return UnitResult(unit, DELETED if unit.head in deleted.paths else GONE, found.published.heads.get(unit))
        outcome = SWITCHED if unit in self._switched else WAITING if found.is_changed(unit) else UNCHANGED
        return UnitResult(unit, outcome, found.heads.get(unit), None, len(sizes), sum(sizes))
