"""The whole of a sync: rounds, then what readers see is changed, in an order in which it is whole at every moment.

    1. DEST is locked, and what a killed run has left undone is ended.
    2. A round (``rounds.py``) brings into the stage what DEST lacks. If anything is missing or wrong, there is one more: a
       source may be changed while it is read. What is wrong then keeps its unit (a repository, or a folder with a signed list
       of checksums) as it is published; the others go on.
    3. New files get their names, which no metadata published so far speaks of. Then, unit by unit: files of the same name but
       another content, and at once after them the folder with the metadata, exchanged as a whole (``switch.py``).
    4. Deletions are last (``plan.py``).
A kill between any two steps leaves readers whole metadata and all that it names; the one thing that cannot be had without a
second copy of the tree is a file that its owner has replaced under the same name: from its own rename to the exchange the
old metadata does not fit it.
"""
import contextlib
import stat
import tempfile
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ...errors import MirrorsError, UsageError
from ...net.partial_file import disk_error
from .destination import Destination
from .exchange import flush, recover, switch_folder
from .plan import Before, Deletions, PlanOutcome, Unit, deletions, is_inside
from .round import Job, Round
from .signed_unit import Head

SWITCHED, UNCHANGED, KEPT, WAITING = "switched", "unchanged", "kept", "waiting"  # WAITING: it would be switched (dry run)
# Another round does not help against these.
_LASTING = frozenset(["rollback", "unknown-key", "weak-digest", "key-expired", "key-revoked", "fast-forward"])


class UnitResult(NamedTuple):
    """What became of a unit."""

    unit: Unit
    outcome: str  # SWITCHED, UNCHANGED, KEPT or WAITING
    head: Optional[Head] = None  # what is published now; None if nothing proven is
    error: Optional[MirrorsError] = None  # set if and only if KEPT
    files: int = 0  # that arrived for it
    bytes: int = 0


class SyncReport(NamedTuple):
    """What a sync did."""

    units: Tuple[UnitResult, ...]
    files: int  # that arrived, or would have to
    bytes: int
    left_out: Tuple[Tuple[str, str], ...]  # path, reason
    deletions: Deletions  # its paths were deleted, or would be
    problems: Tuple[MirrorsError, ...]  # that are no unit's
    recovered: bool  # a killed run's switch was ended
    at_once: bool  # no reader could see anything in between
    complete: bool  # the source could be read wholly


class Sync:
    """A sync.

    Args:
        job: what is to be done.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._problems: List[MirrorsError] = []
        self._switched: List[Unit] = []
        self._at_once = True

    def run(self) -> SyncReport:
        """Sync.

        Raises:
            FetchError: the source cannot be had, or is none; nothing that readers see was changed.
            UsageError: DEST, its disk or this machine cannot do it; what readers see is whole.
        """
        with self._job.destination.locked() as lock, self._stage():
            try:
                recovered = not self._job.options.dry_run and recover(self._job.destination.work, self._job.destination.root)
                return self._run(lock)._replace(recovered=recovered)
            except OSError as error:
                raise disk_error(error, error.filename or self._job.destination.root) from error
            except (MirrorsError, KeyboardInterrupt):
                self._save()  # what was proven; that this fails is nothing beside what has failed already
                raise

    @contextlib.contextmanager
    def _stage(self) -> Iterator[None]:
        """Have a stage: in DEST, where it stays after a failure, or for a dry run somewhere else."""
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
            self._job.memory.save()
        except OSError as error:
            self._problems.append(UsageError("state", "what was read is not remembered, and is read again next time: {}".format(
                error.strerror), where=self._job.memory.path, hint="see --state-dir"))

    def _run(self, lock: int) -> SyncReport:
        self._job.told.step("start", self._job.destination.root)
        self._job.destination.make_work()
        found = self._look(lock)
        if any(error.reference not in _LASTING for error in found.errors.values()):
            found = self._look(lock)
        ours = self._job.memory.paths
        if not self._job.options.dry_run:
            self._publish(found)
        told = self._delete(found, ours)
        if not self._job.options.dry_run:
            self._job.told.step("clean", "")
            for unit in found.errors:
                found.drop(unit.heads)
            self._job.destination.end_work(keep_files=bool(found.errors or self._problems))
        self._save()
        self._job.told.step("end", "")
        return self._report(found, told)

    def _look(self, lock: int) -> Round:
        found = Round(self._job, lock)
        found.run()
        return found

    # What readers see.

    def _publish(self, found: Round) -> None:
        found.settle()
        if found.staged:
            self._job.told.step("flush", "")
            flush(self._job.destination.stage)
        waiting: Dict[Unit, List[str]] = {unit: [] for unit in found.units if found.is_changed(unit)}
        for path in sorted(found.staged):
            unit = found.unit_of(path)
            if found.is_kept(path):
                continue
            if unit in waiting and self._belongs_to_switch(path, unit):
                waiting[unit].append(path)
            else:
                self._job.told.step("place", path)
                with self._guarded(found, unit):
                    self._place(found, path)
        for path, target in sorted(found.catalogue.links.items()):
            self._link(found, path, target)
        for unit, paths in waiting.items():
            if unit not in found.errors:
                with self._guarded(found, unit):
                    self._switch(found, unit, paths)

    def _belongs_to_switch(self, path: str, unit: Unit) -> bool:
        """Whether a file must not be seen before its unit's new metadata."""
        inside = is_inside(path, unit.switched_folder) if unit.is_repository else path in unit.heads
        return inside or self._job.destination.find(path) is not None

    @contextlib.contextmanager
    def _guarded(self, found: Round, unit: Optional[Unit]) -> Iterator[None]:
        """What stands in the way of the block keeps its unit as it is, and the others go on."""
        try:
            yield
        except UsageError as error:
            if unit is None:
                self._problems.append(error)
            else:
                found.errors[unit] = error

    def _place(self, found: Round, path: str) -> None:
        self._job.memory.learn(path, self._job.destination.place(path), found.wants[path].demand)

    def _link(self, found: Round, path: str, target: str) -> None:
        status = self._job.destination.find(path)
        if found.is_kept(path):
            return
        with self._guarded(found, None):
            if status is None or not stat.S_ISLNK(status.st_mode) or self._job.destination.target(path) != target:
                self._job.told.step("place", path)
                status = self._job.destination.place_link(path, target)
            self._job.memory.learn(path, status)

    def _switch(self, found: Round, unit: Unit, paths: List[str]) -> None:
        folder, work = unit.switched_folder, self._job.destination.work
        self._job.destination.require_folder(folder)
        inside = [path for path in paths if is_inside(path, folder)]
        if not unit.is_repository and self._job.destination.has_folders(folder):
            inside = []  # folders cannot be linked: the list is replaced file by file, the signed one last
        outside = [path for path in paths if path not in inside]
        self._job.told.step("switch", unit.folder)
        for path in sorted(outside, key=lambda path: (path in unit.heads, path == unit.head)):
            self._job.told.step("place", path)
            self._place(found, path)
        if inside:
            new = self._job.destination.compose(folder, inside)
            live = self._job.destination.path(folder)
            at_once = switch_folder(new, live, work, lambda name: self._job.told.step(name, unit.folder))
            self._at_once = self._at_once and at_once
            self._job.destination.switched()
            for path in inside:
                status = self._job.destination.find(path)
                if status is not None:
                    self._job.memory.learn(path, status, found.wants[path].demand)
        self._switched.append(unit)

    # What it has no longer.

    def _delete(self, found: Round, ours: Set[str]) -> Deletions:
        expected = set(found.catalogue.files) | set(found.catalogue.links) | set(found.demands)
        expected.update(path for unit in found.units for path in unit.heads)
        expected.update(path for path, _ in found.catalogue.left_out)
        complete = found.catalogue.complete and not found.errors and not self._problems
        here = {path for path, _ in self._job.destination.files()}
        for path in ours - here - found.staged:
            self._job.memory.forget(path)
        before = Before([path for path in here if found.in_scope(path)], ours)
        told = deletions(before, PlanOutcome(expected, complete, self._switched), self._job.options.brake)
        if not self._job.options.dry_run:
            for path in told.paths:
                self._job.told.step("delete", path)
                self._job.destination.delete(path)
                self._job.memory.forget(path)
        return told

    # What is told.

    def _report(self, found: Round, told: Deletions) -> SyncReport:
        arrived = found.wants if self._job.options.dry_run else {path: found.wants[path] for path in found.staged}
        sizes = {path: want.listed.size if want.listed else 0 for path, want in arrived.items()}
        counts: Dict[Unit, List[int]] = {}
        for path, size in sizes.items():
            unit = found.unit_of(path)
            if unit is not None:
                counts.setdefault(unit, []).append(size)
        units = tuple(self._unit_result(found, unit, counts.get(unit, [])) for unit in found.units)
        return SyncReport(units, len(sizes), sum(sizes.values()), found.catalogue.left_out, told, tuple(self._problems), False,
                          self._at_once, found.catalogue.complete)

    def _unit_result(self, found: Round, unit: Unit, sizes: List[int]) -> UnitResult:
        if unit in found.errors:
            return UnitResult(unit, KEPT, found.published.get(unit), found.errors[unit], len(sizes), sum(sizes))
        outcome = SWITCHED if unit in self._switched else WAITING if found.is_changed(unit) else UNCHANGED
        return UnitResult(unit, outcome, found.heads.get(unit), None, len(sizes), sum(sizes))
