"""``xcpng-mirrors precheck``: can this host update now? For Xen Orchestra before a rolling pool update. Writes nothing."""
import argparse
import json
import os
import sys
import time
from typing import Any, Dict, List, NamedTuple, Sequence

from ..errors import EXIT_OK, EXIT_PROBLEM, EXIT_UNREACHABLE, FetchError, MirrorsError, UsageError
from ..getpackages import Shelf, read_packages
from ..packages import rules_of, sources_of
from ..precheck import Room, fetch_bytes, install_bytes, room_for, updates
from ..privsep.parent import separated
from ..reach import RESOLVE_CPU_SECONDS, Reach
from ..resolve import Resolver
from ..rpmdb import installed_packages
from ..trust.primary import PrimaryPackage
from ..urls import authority_of
from ..verdict import Answer
from .common import NOTES, SCHEMA, Host, add_host_arguments, describe_error, open_host, snapshot_values
from .console import Console, ago, utc, wrapped
from .progress import size_words

COUNTED = ("Counted are the newest packages in the repositories that are newer than the installed ones of the same name and "
           "architecture: their files, also those that are in the cache already, and their installed size. What they require "
           "besides is found out by the package manager only. Exit code: 0 it can update (also if nothing is newer), 1 it "
           "cannot, 3 the mirrors could not be reached.")


class Outcome(NamedTuple):
    """What was found out."""

    answers: Sequence[Answer]
    reasons: Sequence[MirrorsError]  # why it cannot update; empty: it can
    packages: Sequence[PrimaryPackage]
    rooms: Sequence[Room]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = COUNTED
    add_host_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Find out, tell, and return the exit code; see COUNTED."""
    host, root, now = open_host(arguments), os.path.abspath(arguments.installroot), time.time()
    outcome = _look(host, root, int(now))
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(outcome, host, now), indent=1))
    elif not arguments.quiet:
        out.write("".join(line + "\n" for line in wrapped(_lines(outcome, now), out.width)))
    if not host.settings.enabled:
        host.tell("precheck", _switched_off(host))
    for reason in outcome.reasons:
        host.tell("precheck", str(reason))
    return _exit_code(outcome)


def _look(host: Host, root: str, now: int) -> Outcome:
    """Resolve, read the proven lists of packages, and compare them with what is installed."""
    reasons: List[MirrorsError] = []
    offered: List[PrimaryPackage] = []
    with separated(host.networks, RESOLVE_CPU_SECONDS) as reach:
        answers = Resolver(host.settings, host.state, reach=reach).run(host.repositories)
        for answer in answers:
            try:
                offered += _offered(answer, host, now, reach)
            except MirrorsError as error:
                what = "{}: {}".format(answer.repository.id, error.what)
                reasons.append(type(error)(error.reference, what, error.where, error.hint))
    installed = installed_packages(root)
    if installed is None:
        reasons.append(UsageError("state", "the rpm database cannot be read", where=root, hint="try 'rpm -qa'"))
    packages = updates(installed or (), offered)
    rooms = _rooms(packages, root, reasons)
    return Outcome(answers, reasons, packages, rooms)


def _offered(answer: Answer, host: Host, now: int, reach: Reach) -> List[PrimaryPackage]:
    if answer.resolution is None:
        raise answer.error or FetchError("unreachable", "no mirror is known")
    sources = sources_of(answer.repository, answer.memory, host.settings, now)
    return read_packages(Shelf(answer.resolution, sources, reach.open), rules_of(host.settings))


def _rooms(packages: Sequence[PrimaryPackage], root: str, reasons: List[MirrorsError]) -> List[Room]:
    """Look at the file systems; add to the reasons if one has no room."""
    try:
        rooms = room_for(packages, root)
    except OSError as error:
        reasons.append(UsageError("state", "free space cannot be told: {}".format(error.strerror), where=root))
        return []
    for room in rooms:
        if room.free_bytes < room.needed_bytes:
            what = "{} are needed and {} are free".format(size_words(room.needed_bytes), size_words(room.free_bytes))
            reasons.append(UsageError("state", what, where=room.path, hint="make room, for instance with 'yum clean packages'"))
    return rooms


def _exit_code(outcome: Outcome) -> int:
    if not outcome.reasons:
        return EXIT_OK
    return EXIT_UNREACHABLE if all(isinstance(reason, FetchError) for reason in outcome.reasons) else EXIT_PROBLEM


def _switched_off(host: Host) -> str:
    return "the plugin is switched off, an update would go without it: enabled=0 ({})".format(host.origins["enabled"])


def _lines(outcome: Outcome, now: float) -> List[str]:
    lines = []
    for answer in outcome.answers:
        if answer.resolution is not None:
            found, note = answer.resolution, NOTES.get(answer.resolution.note, "")
            lines.append("{}: revision {} (updated {}), proven: {}{}".format(
                answer.repository.id, found.snapshot.revision, ago(now - found.snapshot.timestamp),
                ", ".join(authority_of(mirror.url) for mirror in found.mirrors), "; " + note if note else ""))
    lines.append("{} packages to update, {} to fetch, {} installed".format(
        len(outcome.packages), size_words(fetch_bytes(outcome.packages)), size_words(install_bytes(outcome.packages))))
    lines += ["{}: {} free, {} needed".format(room.path, size_words(room.free_bytes), size_words(room.needed_bytes))
              for room in outcome.rooms]
    return lines + ["this host {} update now".format("cannot" if outcome.reasons else "can")]


def _values(outcome: Outcome, host: Host, now: float) -> Dict[str, Any]:
    return {
        "schema": SCHEMA, "command": "precheck", "checked_at": utc(now), "can_update": not outcome.reasons,
        "reasons": [describe_error(reason) for reason in outcome.reasons],
        "warnings": list(host.warnings) + ([] if host.settings.enabled else [_switched_off(host)]),
        "repositories": [_repository_values(answer, now) for answer in outcome.answers],
        "fetch_bytes": fetch_bytes(outcome.packages), "install_bytes": install_bytes(outcome.packages),
        "packages": ["{0.name}-{0.epoch}:{0.version}-{0.release}.{0.arch}".format(package) for package in outcome.packages],
        "space": [dict(room._asdict()) for room in outcome.rooms],
    }


def _repository_values(answer: Answer, now: float) -> Dict[str, Any]:
    found = answer.resolution
    return {"id": answer.repository.id, "current": snapshot_values(found.snapshot if found else None, now),
            "note": found.note if found else "", "proven": [mirror.url for mirror in found.mirrors] if found else [],
            "error": describe_error(answer.error)}
