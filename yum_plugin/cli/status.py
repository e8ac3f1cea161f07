"""``xcpng-mirrors status``: show what this host remembers. It reads files and uses no network.

There is a problem (exit code 1) if
    the plugin is switched off in the .conf;
    a repository was never resolved, or not within STALE_SECONDS, or at a time in the future;
    the last attempt found no usable mirror, or only one that offers something newer;
    every mirror of the last resolution is avoided for a while;
    a file of the state is damaged.
"""
import argparse
import json
import platform
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .. import __version__
from ..errors import EXIT_OK, EXIT_PROBLEM
from ..model import Repository, Snapshot
from ..resolve.outcome import UNAUTHENTICATED_SECONDS, unauthenticated_words
from ..resolve.refresh_policy import waiting_words
from ..state.memory import Memory, Record, SnapshotPin, quarantined
from ..state.snapshot_pin import active_pin, words
from ..state.store import State
from ..trust.freshness import duration
from ..trust.identity import UNCONFIRMED, others_of
from ..util.urls import authority_of
from .common.console import Console, ago, utc, wrapped
from .common.host_options import SCHEMA, Host, add_host_arguments, open_host, pin_values, snapshot_values

STALE_SECONDS = 24 * 3600  # each update, and the timer every six hours, resolves; less than once a day is a problem


class Status(NamedTuple):
    """What is remembered about one repository."""

    repository: Repository
    accepted: Optional[Snapshot]
    memory: Memory
    quarantined: Sequence[Tuple[str, Record]]  # Mirror.url and the reason
    problems: Sequence[str]
    pin: Optional[SnapshotPin] = None  # an active one
    marks: Sequence["Mark"] = ()  # of every place, the present one first


class Mark(NamedTuple):
    """The high-water mark of a repository at one place."""

    place: str
    snapshot: Snapshot
    other: str  # another repository that this host knows the same snapshot of, in words; "": none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_host_arguments(parser)
    parser.add_argument("--marks", action="store_true", help="show the high-water marks of each place, when they were signed, "
                        "and whether they are known as another repository's; 'refresh --repo ID --accept-rollback' lowers one")


def run(arguments: argparse.Namespace) -> int:
    """Show what is remembered and return the exit code: 0 no problem, 1 a problem."""
    host, now = open_host(arguments), time.time()
    found = [status_of(repository, host.state, now) for repository in host.repositories]
    general = [] if host.settings.enabled else ["the plugin is switched off: enabled=0 ({})".format(host.origins["enabled"])]
    general += host.state.problems
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(found, general, host, now), indent=1))
    elif not arguments.quiet:
        lines = _host_lines(host) + [line for item in found for line in _lines(item, now, arguments.marks)]
        out.lines(wrapped(lines, out.width))
    for problem in general:
        host.warn("state", problem)
    for item in found:
        for problem in item.problems:
            host.warn(item.repository.id, problem)
    return EXIT_PROBLEM if general or any(item.problems for item in found) else EXIT_OK


def status_of(repository: Repository, state: State, now: float) -> Status:
    """Look at the memory of a repository.

    Args:
        repository: which.
        state: the host's.
        now: seconds since 1970.

    Returns:
        The status; its problems are in words.
    """
    remembered = state.load(repository.id, repository.place)
    memory, pin = remembered.memory, active_pin(remembered, now)
    authorities = quarantined(memory, int(now))
    failed = [(url, record) for url, record in sorted(memory.records.items()) if authority_of(url) in authorities]
    problems = _problems_of_memory(memory, authorities, now)
    since = memory.unauthenticated_since
    if since and now - since >= UNAUTHENTICATED_SECONDS:
        problems.append(unauthenticated_words(since, now))
    return Status(repository, remembered.accepted, memory, failed, problems, pin, _marks(repository, state))


def _marks(repository: Repository, state: State) -> List[Mark]:
    """Return the marks of a repository, that of its present place first."""
    known = state.known()
    marks = [Mark(place, mark, others_of(known, repository.id, place).get(mark.sha256, ""))
             for place, mark in reversed(list(state.marks(repository.id).items()))]
    return sorted(marks, key=lambda mark: mark.place != repository.place)


def _problems_of_memory(memory: Memory, authorities: Sequence[str], now: float) -> List[str]:
    # What was written under a clock that was ahead says nothing of when it was.
    last_attempt = max([record.at for record in memory.records.values() if record.at <= now] or [0])
    if memory.snapshot is None:
        return ["never resolved; run 'xcpng-mirrors refresh'"]
    problems = []
    if memory.resolved_at > now:
        problems.append("resolved {}; check this host's clock: timedatectl".format(ago(now - memory.resolved_at)))
    if now - memory.resolved_at > STALE_SECONDS:
        problems.append("not resolved for {}; run 'xcpng-mirrors refresh'".format(duration(int(now - memory.resolved_at))))
    if last_attempt > memory.resolved_at:
        when = ago(now - last_attempt)
        found = "found no usable mirror; see 'xcpng-mirrors mirrors'"
        if memory.decisions and memory.decisions[-1].note == UNCONFIRMED:
            found = "found something newer that only one mirror offers; see 'xcpng-mirrors explain'"
        problems.append("the last attempt, {}, {}".format(when, found))
    if all(authority_of(url) in authorities for url in memory.usable):
        problems.append("all mirrors of the last resolution are avoided for a while; see 'xcpng-mirrors mirrors'")
    return problems


def _host_lines(host: Host) -> List[str]:
    switched = "enabled" if host.settings.enabled else "switched off"
    where = "plugin {} in {}".format(switched, host.config) if host.config else "no .conf, so the defaults are used"
    return ["xcpng-mirrors {}, Python {}; {}".format(__version__, platform.python_version(), where)]


def _lines(item: Status, now: float, with_marks: bool) -> List[str]:
    memory = item.memory
    lines = ["", item.repository.id]
    lines.append("  accepted: " + (_words(item.accepted, now) if item.accepted else "nothing yet"))
    for mark in item.marks if with_marks else ():
        also = "; also known as {}: two repositories are rarely the same".format(mark.other) if mark.other else ""
        lines.append("  mark:     {}: revision {}, data of {}, signed {}, {}{}".format(
            mark.place or "of any place", mark.snapshot.revision, utc(mark.snapshot.timestamp), utc(mark.snapshot.signed_at),
            mark.snapshot.sha256, also))
    if memory.snapshot is not None:
        note = " ({})".format(memory.note) if memory.note else ""
        lines.append("  resolved: {}: {}{}".format(ago(now - memory.resolved_at), _words(memory.snapshot, now), note))
        if memory.awaited_sha256:
            lines.append("  waits:    " + waiting_words(memory, now))
        lines.append("  usable:   " + ", ".join(authority_of(url) for url in memory.usable))
    if item.pin is not None:
        lines.append("  pinned:   {}; 'xcpng-mirrors precheck --unpin' removes the pin".format(words(item.pin, memory.snapshot)))
    for url, record in item.quarantined:
        left = duration(max(0, int(record.quarantined_until - now)))
        lines.append("  resting:  {} for {} more: {}: {}".format(authority_of(url), left, record.outcome, record.detail))
    return lines


def _words(snapshot: Snapshot, now: float) -> str:
    return "revision {} (updated {})".format(snapshot.revision, ago(now - snapshot.timestamp))


def _values(found: Sequence[Status], general: Sequence[str], host: Host, now: float) -> Dict[str, Any]:
    return {
        "schema": SCHEMA, "command": "status", "version": __version__, "python": platform.python_version(), "now": utc(now),
        "config": host.config or None, "enabled": host.settings.enabled, "state_dir": host.state.folder,
        "problems": list(general), "warnings": list(host.warnings),
        "repositories": [_repository_values(item, now) for item in found],
    }


def _repository_values(item: Status, now: float) -> Dict[str, Any]:
    memory = item.memory
    return {
        "id": item.repository.id,
        "accepted": snapshot_values(item.accepted, now),
        "marks": [dict(snapshot_values(mark.snapshot, now) or {}, place=mark.place, also_known_as=mark.other or None)
                  for mark in item.marks],
        "resolved": snapshot_values(memory.snapshot, now),
        "resolved_at": utc(memory.resolved_at) if memory.snapshot else None,
        "note": memory.note,
        "awaited": {"sha256": memory.awaited_sha256, "since": utc(memory.awaited_since)} if memory.awaited_sha256 else None,
        "pin": pin_values(item.pin, now),
        "usable": list(memory.usable),
        "resting": [{"url": url, "reference": record.outcome, "detail": record.detail, "failures": record.failures,
                     "until": utc(record.quarantined_until)} for url, record in item.quarantined],
        "problems": list(item.problems),
    }
