"""``xcpng-mirrors precheck``: check whether this host can update now, for instance before a rolling pool update.

It writes nothing, except with --pin and --unpin, by which a pool agrees on the revisions of its hosts (pool.py).
"""
import argparse
import json
import os
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ..errors import EXIT_OK, EXIT_PROBLEM, EXIT_UNREACHABLE, FetchError, MirrorsError, UsageError
from ..host.rpmdb import installed_packages
from ..model import Snapshot
from ..packages.get_packages import ResolvedRepository, read_packages
from ..pool.freeze import SnapshotPinner, packages_of
from ..pool.precheck import DiskSpace, disk_space, fetch_bytes, install_bytes, updates
from ..privsep.gateway import Gateway
from ..resolve.download_plan import rules_of, sources_of
from ..resolve.resolution import Resolution
from ..resolve.resolver import Resolver
from ..state.pool_token import Token, read_token
from ..state.snapshot_pin import HeldSnapshot, hold, lift, words
from ..trust.primary import PrimaryPackage
from ..util.text import size_words
from ..util.urls import authority_of
from .common.console import Console, ago, utc, wrapped
from .common.host_options import NOTES, SCHEMA, Host, add_host_arguments, describe_error, open_host, pin_values, snapshot_values

COUNTED = ("The packages that are counted are the newest ones in the repositories that are newer than the installed ones of the "
           "same name and architecture: their files, even those in the cache, and their installed size. Only the package manager "
           "finds out what else they require. Exit code: 0 it can update (even if nothing is newer), 1 it cannot, 3 the mirrors "
           "could not be reached.")


class PrecheckTarget(NamedTuple):
    """What one repository would update to."""

    resolution: Resolution
    pinned: Optional[HeldSnapshot] = None  # the active snapshot pin

    @property
    def newest(self) -> Optional[Snapshot]:
        """What the mirrors offer; None if they could not be reached or are not trusted."""
        return self.resolution.snapshot

    @property
    def current(self) -> Optional[Snapshot]:
        """What an update would use."""
        return self.pinned.snapshot if self.pinned else self.newest


class PrecheckOutcome(NamedTuple):
    """The result of the check."""

    targets: Sequence[PrecheckTarget]
    reasons: Sequence[MirrorsError]  # why it cannot update; empty: it can
    packages: Sequence[PrimaryPackage]
    spaces: Sequence[DiskSpace]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = COUNTED
    add_host_arguments(parser)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--pin", metavar="TOKEN", help="use exactly the metadata that 'xcpng-mirrors pool --agree' named, until "
                        "the token expires: it is proven and kept")
    either.add_argument("--unpin", action="store_true", help="remove the pin that --pin set, and use the newest metadata again")


def run(arguments: argparse.Namespace) -> int:
    """Check the host, show the result, and return the exit code; see COUNTED."""
    host, root, now = open_host(arguments), os.path.abspath(arguments.installroot), time.time()
    token = read_token(arguments.pin, int(now)) if arguments.pin is not None else None
    if arguments.unpin:
        _remove_pins(host, now)
    outcome = _check(host, root, int(now), token)
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(outcome, host, now), indent=1))
    elif not arguments.quiet:
        out.lines(wrapped(_lines(outcome, now), out.width))
    if not host.settings.enabled:
        host.warn("precheck", _switched_off(host))
    for reason in outcome.reasons:
        host.warn("precheck", str(reason))
    if not outcome.reasons:
        return EXIT_OK
    return EXIT_UNREACHABLE if all(isinstance(reason, FetchError) for reason in outcome.reasons) else EXIT_PROBLEM


def _remove_pins(host: Host, now: float) -> None:
    with host.state.locked(host.settings.deadline) as held:
        if not held:
            raise UsageError("state", "the state is locked by another process or cannot be written", where=host.state.folder)
        for repository in host.repositories:
            lift(host.state, repository.id, now, "lifted by precheck --unpin")


def _check(host: Host, root: str, now: int, token: Optional[Token]) -> PrecheckOutcome:
    """Resolve, pin if there is a token, read the proven lists of packages, and compare them with the installed packages."""
    targets: List[PrecheckTarget] = []
    offered: List[PrimaryPackage] = []
    with host.gateway() as gateway:
        resolutions = Resolver(host.settings, host.state.load_all(host.repositories), gateway=gateway).run(host.repositories)
        failures = SnapshotPinner(host.settings, host.state, now, gateway).pin(resolutions, token) if token is not None else []
        reasons = [_about(name, error) for name, error in failures]
        for resolution in resolutions:
            name, target = resolution.repository.id, PrecheckTarget(resolution)
            try:
                target = PrecheckTarget(resolution, hold(resolution.repository, host.state.load(name), now))
                offered += _offered(target, host, now, gateway)
            except MirrorsError as error:
                if name not in dict(failures):
                    reasons.append(_about(name, error))
            targets.append(target)
    installed = installed_packages(root)
    if installed is None:
        reasons.append(UsageError("state", "the rpm database cannot be read", where=root, hint="try 'rpm -qa'"))
    packages = updates(installed or (), offered)
    spaces = _spaces(packages, root, reasons)
    return PrecheckOutcome(targets, reasons, packages, spaces)


def _about(repository_id: str, error: MirrorsError) -> MirrorsError:
    what = ": ".join(filter(None, (repository_id, error.what)))
    return type(error)(error.reference, what, error.where, error.hint)


def _offered(target: PrecheckTarget, host: Host, now: int, gateway: Gateway) -> List[PrimaryPackage]:
    resolution = target.resolution
    resolution.proven()
    if target.pinned is not None:
        return packages_of(target.pinned)
    sources = sources_of(resolution.repository, resolution.memory, host.settings, now)
    return read_packages(ResolvedRepository(resolution, sources, gateway.open), rules_of(host.settings))


def _spaces(packages: Sequence[PrimaryPackage], root: str, reasons: List[MirrorsError]) -> List[DiskSpace]:
    """Measure the free space; add to the reasons if a file system has too little."""
    try:
        spaces = disk_space(packages, root)
    except OSError as error:
        reasons.append(UsageError("state", "free space cannot be determined: {}".format(error.strerror), where=root))
        return []
    for space in spaces:
        if space.free_bytes < space.needed_bytes:
            what = "{} are needed and {} are free".format(size_words(space.needed_bytes), size_words(space.free_bytes))
            reasons.append(UsageError("state", what, where=space.path, hint="free space, for instance with 'yum clean packages'"))
    return spaces


def _switched_off(host: Host) -> str:
    return "the plugin is switched off, so an update would not use it: enabled=0 ({})".format(host.origins["enabled"])


def _lines(outcome: PrecheckOutcome, now: float) -> List[str]:
    lines = []
    for target in outcome.targets:
        found, newest = target.resolution, target.newest
        if newest is not None:
            note = NOTES.get(found.note, "")
            lines.append("{}: revision {} (updated {}), proven: {}{}".format(
                found.repository.id, newest.revision, ago(now - newest.timestamp),
                ", ".join(authority_of(mirror.url) for mirror in found.mirrors), "; " + note if note else ""))
        if target.pinned is not None:
            lines.append("{}: pinned: {}; 'xcpng-mirrors precheck --unpin' removes the pin".format(
                found.repository.id, words(target.pinned.pin, newest)))
    lines.append("{} packages to update, {} to fetch, {} installed".format(
        len(outcome.packages), size_words(fetch_bytes(outcome.packages)), size_words(install_bytes(outcome.packages))))
    lines += ["{}: {} free, {} needed".format(space.path, size_words(space.free_bytes), size_words(space.needed_bytes))
              for space in outcome.spaces]
    return lines + ["this host {} update now".format("cannot" if outcome.reasons else "can")]


def _values(outcome: PrecheckOutcome, host: Host, now: float) -> Dict[str, Any]:
    return {
        "schema": SCHEMA, "command": "precheck", "checked_at": utc(now), "can_update": not outcome.reasons,
        "reasons": [describe_error(reason) for reason in outcome.reasons],
        "warnings": list(host.warnings) + ([] if host.settings.enabled else [_switched_off(host)]),
        "repositories": [_repository_values(target, now) for target in outcome.targets],
        "fetch_bytes": fetch_bytes(outcome.packages), "install_bytes": install_bytes(outcome.packages),
        "packages": ["{0.name}-{0.epoch}:{0.version}-{0.release}.{0.arch}".format(package) for package in outcome.packages],
        "space": [dict(space._asdict()) for space in outcome.spaces],
    }


def _repository_values(target: PrecheckTarget, now: float) -> Dict[str, Any]:
    found = target.resolution
    return {"id": found.repository.id, "current": snapshot_values(target.current, now),
            "newest": snapshot_values(target.newest, now), "pin": pin_values(target.pinned.pin if target.pinned else None, now),
            "note": found.note, "proven": [mirror.url for mirror in found.mirrors], "error": describe_error(found.error)}
