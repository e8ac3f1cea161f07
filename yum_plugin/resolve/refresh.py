"""Resolving with its effects: lock the state, read it once, resolve, decide, write it once.

What the engine and ``xcpng-mirrors refresh`` call. Rules, in order:
    1. One refresh at a time: a second one waits, within ``settings.deadline``, and uses what the first has just written.
    2. All that decides is read in the beginning, and all that was decided is written in the end, under the same lock. After
       that the package manager's cache is filled, still under the lock: two engines never fill one cache.
    3. A snapshot pin that holds is taken in place of the newest snapshot. If mirrors lie, it is refused like any other.
    4. The high-water mark is raised by ``accept`` alone, after the package manager has loaded the metadata; not for what a
       single voice has offered on first contact (trust/identity.py), until a second one does, and not for what is from the
       future (trust/freshness.py, rule 1). A decision to wait fills the cache with what it lacks of the same snapshot, and
       keeps its age.
    5. Where the accepted snapshot stays in use for want of a second voice, the package manager goes on from its own cache of
       it. Without one it is stopped: what its own addresses lead to might be the very snapshot that nobody else knows.
"""
import contextlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, List, Mapping, Optional, Sequence

from ..errors import TrustError, UsageError
from ..host.settings import Settings
from ..model import Mirror, Repository
from ..net.fanout import TaskPool
from ..privsep.gateway import Gateway, here
from ..state.failures import remember_failures
from ..state.memory import Decision, Remembered, with_decision
from ..state.snapshot_pin import HeldSnapshot, active_pin, hold, remove_pin, warning, with_ended_pin
from ..state.store import State
from ..trust.freshness import duration, seconds_ahead
from ..trust.identity import SINGLE_VOICE
from .cache_age import renew
from .clock_hint import with_clock_told
from .metadata_cache import Filled, MetadataCache, fill, repomd_sha256, valid_sha256
from .outcome import observations_of
from .refresh_policy import waiting_words
from .resolution import Resolution
from .resolver import Clock, MakeTasks, ResolveOptions, Resolver

OnRepositoryFile = Callable[[str, str, int, Optional[int]], None]

log = logging.getLogger("xcpng-mirrors")


def refresh(repositories: Sequence[Repository], settings: Settings, state: State, options: ResolveOptions = ResolveOptions(),
            clock: Clock = Clock(), gateway: Optional[Gateway] = None, make_tasks: MakeTasks = TaskPool,
            caches: Mapping[str, MetadataCache] = {}, on_file: OnRepositoryFile = lambda *_: None) -> List[Resolution]:
    """Bring the memory of each repository up to date, and the package manager's cache with it.

    Args:
        repositories: which.
        settings: of the .conf.
        state: where to read and write.
        options: for the resolver.
        clock: time and chance.
        gateway: how the network is reached; by this process if left out.
        make_tasks: makes the task pool that asks several mirrors at once.

        caches: the package manager's cache folders to fill, by repository id.
        on_file: called while metadata arrives: repository id, name of the file, bytes so far, bytes in all.

    Returns:
        One resolution for each repository, in the same order.
    """
    called_at = clock.wall()
    gateway = gateway or here()
    with state.locked(settings.deadline) as is_locked:
        if not is_locked:
            busy = UsageError("state", "the state is locked by another process or cannot be written", where=state.folder)
            return [Resolution(repository, error=busy) for repository in repositories]
        before = state.load_all(repositories)
        done: Dict[str, Resolution] = {}
        if options == ResolveOptions():
            done = _just_written(repositories, before, caches, called_at, clock.wall())
        todo = [repository for repository in repositories if repository.id not in done]
        resolver = Resolver(settings, before, options, clock, gateway, make_tasks)
        for resolution in resolver.run(todo) if todo else []:
            now = clock.wall()
            if resolution.waits:
                log.info("%s: revision %d was proven %s ago; %s", resolution.repository.id, resolution.proven().revision,
                         duration(int(now - resolution.memory.resolved_at)), waiting_words(resolution.memory, now))
            elif resolution.unchanged:
                log.info("%s: the redirector names what is held: the last resolution still holds", resolution.repository.id)
            done[resolution.repository.id] = _write(resolution, before[resolution.repository.id], state, options, now)
            state.observe(resolution.repository.id, observations_of(resolution, now))
        for name in done:
            done[name] = _with_what_stays(done[name], caches.get(name))
        fillable = [done[name] for name in caches if name in done and done[name].snapshot is not None]
        fillable = [item for item in fillable if not _is_renewed(item, caches[item.repository.id], clock)]
        for resolution in _fill_all(fillable, caches, settings, state, clock, gateway, on_file):
            done[resolution.repository.id] = resolution
    return with_clock_told([done[repository.id] for repository in repositories], clock.wall())


def accept(resolutions: Sequence[Resolution], accepted: Sequence[object], state: State, settings: Settings) -> None:
    """Raise the high-water mark of the repositories whose metadata the package manager has loaded (rule 4).

    Args:
        resolutions: of ``refresh``.
        accepted: ids, as the package manager's plugin names them.
        state: where the marks are.
        settings: for the time that the lock is waited for.
    """
    with state.locked(settings.deadline) as is_locked:
        for resolution in resolutions if is_locked else ():
            is_confirmed = (resolution.note != SINGLE_VOICE or resolution.local_folder) and not resolution.ahead
            if resolution.snapshot is not None and resolution.repository.id in accepted and is_confirmed:
                state.update(resolution.repository.id, accepted=resolution.snapshot, place=resolution.repository.place)


def _just_written(repositories: Sequence[Repository], before: Dict[str, Remembered], caches: Mapping[str, MetadataCache],
                  called_at: float, now: float) -> Dict[str, Resolution]:
    """Find the resolutions that another process has made while this one waited for the lock (rule 1).

    An older one is not used again: the package manager asks because its cache does not fit, so those mirrors may have failed.
    """
    found = {}
    for repository in repositories:
        memory = before[repository.id].memory
        if memory.snapshot is not None and memory.usable and called_at <= memory.resolved_at <= now:
            try:
                held = hold(repository, before[repository.id], now)
            except TrustError:
                continue  # it is reported where the resolution is written
            cache = caches.get(repository.id)
            if held is None and cache is not None and valid_sha256(cache) != memory.snapshot.sha256:
                continue  # the other process has filled another cache, and repomd.xml itself is not remembered
            found[repository.id] = Resolution(repository, held.snapshot if held else memory.snapshot, memory=memory,
                                              mirrors=tuple(map(Mirror, memory.usable)), note=memory.note,
                                              local_folder=held.folder if held else "")
    return found


def _write(resolution: Resolution, before: Remembered, state: State, options: ResolveOptions, now: float) -> Resolution:
    """Apply the snapshot pin, write what was decided, and return what the cache is filled with."""
    name, newest = resolution.repository.id, resolution.snapshot
    final = resolution
    try:
        held = hold(resolution.repository, before, now)
        if held is not None:
            final = _with_pin(resolution, held)
    except TrustError as error:
        refused = Decision(int(now), "metadata", asked=len(resolution.probes), error=str(error))
        final = resolution._replace(snapshot=None, mirrors=(), error=error, memory=with_decision(resolution.memory, refused))
    is_mark = options.accept_rollback and final.error is None and newest is not None and not seconds_ahead(newest, now)
    mark = newest if is_mark else None
    has_expired = before.pin is not None and active_pin(before, now) is None
    memory = with_ended_pin(final.memory, before.pin, now, "expired") if before.pin is not None and has_expired else final.memory
    try:
        state.update(name, memory, mark, lower_mark=True, place=resolution.repository.place)
        if mark is not None:
            log.warning("%s: high-water mark set to revision %d, %s, on request; it was %s", name, mark.revision, mark.sha256,
                        "revision {}, {}".format(before.accepted.revision, before.accepted.sha256) if before.accepted else "none")
        if has_expired:
            remove_pin(state, name)
    except UsageError as error:
        return resolution._replace(snapshot=None, mirrors=(), error=error)
    return final


def _with_pin(resolution: Resolution, held: HeldSnapshot) -> Resolution:
    """Put the pinned snapshot in the newest one's place (rule 3)."""
    memory = resolution.memory
    held_back = warning(held.pin, memory.snapshot)
    if held_back and memory.decisions:
        last = memory.decisions[-1]._replace(note="pinned")
        memory = memory._replace(decisions=memory.decisions[:-1] + (last,))
    if isinstance(resolution.error, TrustError) and resolution.stays is None:
        return resolution._replace(memory=memory, unchanged=False, waits=False)
    mirrors = resolution.mirrors if resolution.snapshot is not None else tuple(map(Mirror, memory.usable))
    warnings = resolution.warnings + tuple(filter(None, [held_back, str(resolution.error or "")]))
    return resolution._replace(snapshot=held.snapshot, error=None, mirrors=mirrors, warnings=warnings, memory=memory,
                               local_folder=held.folder, stays=None, unchanged=False, waits=False)


def _with_what_stays(resolution: Resolution, cache: Optional[MetadataCache]) -> Resolution:
    """Put the accepted snapshot in the place of the error that nobody else names a newer one (rule 5)."""
    accepted, error, memory = resolution.stays, resolution.error, resolution.memory
    if accepted is None or error is None or cache is not None and repomd_sha256(cache) != accepted.sha256:
        return resolution
    asked = {probe.mirror.url for probe in resolution.probes}
    is_resolved = memory.snapshot is not None and memory.snapshot.sha256 == accepted.sha256
    mirrors = tuple(Mirror(url) for url in memory.usable if is_resolved and url not in asked)
    what = "{}; revision {}, which this host has accepted, stays in use".format(error.what, accepted.revision)
    warning = str(TrustError(error.reference, what, where=error.where))
    return resolution._replace(snapshot=accepted, error=None, mirrors=mirrors, note=error.reference, warnings=(warning,))


def _is_renewed(resolution: Resolution, cache: MetadataCache, clock: Clock) -> bool:
    is_held = resolution.unchanged or resolution.waits
    return is_held and renew(cache, resolution.proven(), _age_of(resolution, cache, clock))


def _age_of(resolution: Resolution, cache: MetadataCache, clock: Clock) -> int:
    """Return the time that becomes the age of a cache: now, or what it was where nothing was proven."""
    with contextlib.suppress(OSError):
        if resolution.waits:
            return int(os.stat(cache.cookie).st_mtime)
    return int(clock.wall())


def _fill_all(resolutions: Sequence[Resolution], caches: Mapping[str, MetadataCache], settings: Settings, state: State,
              clock: Clock, gateway: Gateway, on_file: OnRepositoryFile) -> List[Resolution]:
    """Fill the caches of several repositories side by side; a resolution whose cache cannot be filled gets the error."""
    def fill_one(resolution: Resolution) -> Filled:
        name = resolution.repository.id
        age = _age_of(resolution, caches[name], clock)
        return fill(resolution, caches[name], state.path(name, "new"), settings, age, gateway.open,
                    lambda file, received, total: on_file(name, file, received, total))

    if not resolutions:
        return []
    with ThreadPoolExecutor(len(resolutions)) as threads:
        results = list(threads.map(fill_one, resolutions))
    final = []
    for resolution, filled in zip(resolutions, results):
        if filled.error is not None:
            log.warning("%s: the cache is not filled: %s", resolution.repository.id, filled.error)
            resolution = resolution._replace(snapshot=None, mirrors=(), error=filled.error)
        with contextlib.suppress(UsageError):  # a memory of failures that cannot be written costs time at the next refresh
            remember_failures(state, resolution.repository.id, "metadata", filled.attempts, int(clock.wall()))
        final.append(resolution)
    return final
