"""Job 1 with its effects: lock, use what another has just written, resolve, write.

What the engine and ``xcpng-mirrors refresh`` call.
"""
import logging
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import FetchError, MirrorsError, TrustError, UsageError
from ..host.settings import Settings
from ..model import Mirror, Repository, Snapshot
from ..net.fanout import TaskPool
from ..privsep.gateway import Gateway
from ..state.snapshot_pin import HeldSnapshot, hold, lift, warning
from ..state.store import Decision, Memory, State, with_decision
from ..trust.freshness import duration
from .metalink_writer import render_metalink
from .outcome import Answer, observations_of
from .resolver import Clock, MakeTasks, ResolveOptions, Resolver

log = logging.getLogger("xcpng-mirrors")


class Refreshed(NamedTuple):
    """What became of one repository, with its files written."""

    repository: Repository
    metalink: str = ""  # path; "" if there is an error
    snapshot: Optional[Snapshot] = None
    mirrors: Sequence[str] = ()  # base URLs, best first
    error: Optional[MirrorsError] = None
    warnings: Sequence[str] = ()
    answer: Optional[Answer] = None  # None if an earlier resolution was used again


def refresh(repositories: Sequence[Repository], settings: Settings, state: State, options: ResolveOptions = ResolveOptions(),
            clock: Clock = Clock(), gateway: Optional[Gateway] = None, make_tasks: MakeTasks = TaskPool) -> List[Refreshed]:
    """Bring metalink and memory of each repository up to date.

    Two callers at once: the second waits, within ``settings.deadline``, then works from what the first wrote.

    Args:
        repositories: which.
        settings: of the .conf.
        state: where to read and write.
        options: for the resolver.
        clock: the time.
        gateway: who touches the network; this process if left out.
        make_tasks: for the resolver.

    Returns:
        One item a repository, in the same order.
    """
    called_at = clock.wall()
    with state.locked(settings.deadline) as held:
        if not held:
            busy = UsageError("state", "the state is locked by another process or cannot be written", where=state.folder)
            return [Refreshed(repository, error=busy) for repository in repositories]
        done = {} if options != ResolveOptions() else _reuse(repositories, state, called_at, clock.wall())
        todo = [repository for repository in repositories if repository.id not in done]
        for answer in Resolver(settings, state, options, clock, gateway, make_tasks).run(todo) if todo else []:
            done[answer.repository.id] = _write(answer, state, options, clock.wall())
            state.observe(answer.repository.id, observations_of(answer, clock.wall()))
    return [done[repository.id] for repository in repositories]


def _reuse(repositories: Sequence[Repository], state: State, called_at: float, now: float) -> Dict[str, Refreshed]:
    """Find the resolutions that another process has made while we waited for the lock.

    An older one is never used again here: who asks has no cache that fits it, so its mirrors may have failed since.
    """
    found = {}
    for repository in repositories:
        memory = state.memory(repository.id)
        if memory.snapshot is not None and memory.usable and called_at <= memory.resolved_at <= now:
            metalink = state.path(repository.id, "metalink.xml")
            try:
                held = hold(repository, state, now)
            except TrustError:
                continue  # it is told where the metalink is written
            snapshot = held.snapshot if held else memory.snapshot
            found[repository.id] = Refreshed(repository, metalink, snapshot, memory.usable)
    return found


def _write(answer: Answer, state: State, options: ResolveOptions, now: float) -> Refreshed:
    repository = answer.repository
    warnings = list(_warnings(answer))
    try:
        held = _held(answer, state, now)
        state.remember(repository.id, _with_note(answer, held))
        if held is None and state.pin(repository.id) is not None:
            lift(state, repository.id, now, "expired")
        snapshot, mirrors = _chosen(answer, held, warnings)
        metalink = state.write_metalink(repository.id, render_metalink(snapshot, mirrors, held.folder if held else ""))
        if options.accept_rollback and answer.resolution is not None:
            state.accept(repository.id, answer.resolution.snapshot, allow_rollback=True)
            log.warning("%s: high-water mark set to revision %d on request", repository.id, answer.resolution.snapshot.revision)
    except MirrorsError as error:
        return Refreshed(repository, error=error, warnings=warnings, answer=answer)
    urls = tuple(mirror.url for mirror in mirrors)
    return Refreshed(repository, metalink, snapshot, urls, warnings=warnings, answer=answer)


def _held(answer: Answer, state: State, now: float) -> Optional[HeldSnapshot]:
    """Return the pin of a repository; that one cannot be kept is a decision of its own."""
    try:
        return hold(answer.repository, state, now)
    except TrustError as error:
        refused = Decision(int(now), "metadata", asked=len(answer.probes), error=str(error))
        state.remember(answer.repository.id, with_decision(answer.memory, refused))
        raise


def _chosen(answer: Answer, held: Optional[HeldSnapshot], warnings: List[str]) -> Tuple[Snapshot, Sequence[Mirror]]:
    """Return the snapshot to hand over, and who has its packages; what should be told is added to the warnings.

    Raises:
        MirrorsError: there is none.
    """
    resolution, memory = answer.resolution, answer.memory
    if held is not None:
        if isinstance(answer.error, TrustError):
            raise answer.error
        warnings += filter(None, [warning(held.pin, memory.snapshot)] + ([str(answer.error)] if answer.error else []))
        return held.snapshot, resolution.mirrors if resolution else [Mirror(url) for url in memory.usable]
    if resolution is None:
        raise answer.error or MirrorsError("internal", "neither a resolution nor an error")
    return resolution.snapshot, resolution.mirrors


def _with_note(answer: Answer, held: Optional[HeldSnapshot]) -> Memory:
    """Return what is to be remembered; the decision says so if something newer was held back."""
    memory = answer.memory
    if held is None or not memory.decisions or not warning(held.pin, memory.snapshot):
        return memory
    last = memory.decisions[-1]._replace(note="pinned")
    return memory._replace(decisions=memory.decisions[:-1] + (last,))


def _warnings(answer: Answer) -> Sequence[str]:
    """Word what an admin should know although the update goes on: one line for distrusted mirrors, one for a freeze."""
    resolution = answer.resolution
    if resolution is None:
        return ()
    lines = []
    distrusted = [rejection for rejection in resolution.rejected if rejection.reference in TrustError.REFERENCES]
    if distrusted:
        first = distrusted[0]
        more = " and {} more".format(len(distrusted) - 1) if len(distrusted) > 1 else ""
        what = "{}; refused{}, other mirrors are used".format(first.detail, more)
        hint = "see 'xcpng-mirrors mirrors --repo {}'".format(answer.repository.id)
        lines.append(str(TrustError(first.reference, what, where=first.mirror.url, hint=hint)))
    if resolution.note == "freeze":
        age = duration(int(answer.memory.resolved_at) - resolution.snapshot.timestamp)
        lines.append("freeze: the newest metadata on all mirrors asked is {} old; see max_age= in the .conf".format(age))
    return lines


def is_refusal(error: MirrorsError, settings: Settings) -> bool:
    """Whether an error stops the package manager; any other leaves the repository as it was (fail open).

    Args:
        error: of a Refreshed.
        settings: on_unreachable decides for what could not be reached.
    """
    return isinstance(error, TrustError) or (isinstance(error, FetchError) and settings.on_unreachable == "abort")

