"""``xcpng-mirrors refresh``: find the proven mirrors now and write them to the state, from which the next update starts."""
import argparse
import json
import sys
import time
from typing import Any, Dict, Optional, Sequence

from ..errors import EXIT_OK, EXIT_PROBLEM, UsageError
from ..model import Mirror, Repository, Snapshot
from ..resolve.metalink_writer import render_metalink
from ..resolve.refresh import refresh
from ..resolve.refresh_policy import MAX_EXPIRE_SECONDS
from ..resolve.resolution import Resolution
from ..resolve.resolver import ResolveOptions, Resolver
from ..state.store import METALINK, State
from ..trust.freshness import seconds_ahead
from ..util.urls import authority_of
from .common.console import Console, ago, printable, utc
from .common.host_options import SCHEMA, Host, add_host_arguments, describe_error, open_host, snapshot_values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_host_arguments(parser)
    parser.add_argument("--if-needed", action="store_true", help="ask no mirror as long as the redirector names nothing newer "
                        "than the last result, and a mirror has answered in the last two days")
    parser.add_argument("--accept-rollback", action="store_true", help="accept that a repository went back to older metadata: "
                        "lower this host's high-water mark to what more than one voice offers now (needs --repo)")
    parser.add_argument("--dry-run", action="store_true", help="with --accept-rollback: show what the mark would become, and "
                        "change nothing; 'status --marks' shows the present ones")


def run(arguments: argparse.Namespace) -> int:
    """Refresh and return the exit code of the worst repository.

    0: done. 1: done, but a mirror was refused or the metadata is too old. 2: the state cannot be written,
    or the key cannot be read. 3: no mirror could be reached. 4: what the mirrors offer is refused.
    """
    if arguments.accept_rollback and not arguments.repo:
        raise UsageError("usage", "--accept-rollback needs --repo", hint="name the repository that went back")
    if arguments.dry_run and not arguments.accept_rollback:
        raise UsageError("usage", "--dry-run needs --accept-rollback")
    host = open_host(arguments)
    before = host.state.load_all(host.repositories)
    options = ResolveOptions(accept_rollback=arguments.accept_rollback)
    repositories = host.repositories
    if arguments.if_needed:
        repositories = tuple(_with_last_result(item, host.state) for item in repositories)
    with host.gateway() as gateway:
        if arguments.dry_run:
            found = Resolver(host.settings, before, options, gateway=gateway).run(repositories)
        else:
            found = refresh(repositories, host.settings, host.state, options, gateway=gateway)
    if not arguments.dry_run:
        _write_metalinks(found, host.state)
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(found, host), indent=1))
    for item in found:
        for text in list(item.warnings) + ([str(item.error)] if item.error else []):
            host.warn(item.repository.id, text)
        if item.snapshot is not None:
            if not (arguments.quiet or arguments.json):
                out.line(printable(_line(item.repository.id, item.snapshot, item.mirrors)))
            if arguments.accept_rollback and not seconds_ahead(item.snapshot, time.time()):
                host.warn(item.repository.id, _mark(before[item.repository.id].accepted, item.snapshot, arguments.dry_run))
    return max(_exit_code(item) for item in found)


def _write_metalinks(found: Sequence[Resolution], state: State) -> None:
    """Write the metalinks for clients that have no plugin of ours."""
    for item in found:
        if item.snapshot is not None and item.mirrors and not item.local_folder:
            state.write_metalink(item.repository.id, render_metalink(item.snapshot, item.mirrors))


def _with_last_result(repository: Repository, state: State) -> Repository:
    """Return a repository as if the package manager had cached the last result, so that the refresh policy may ask no mirror."""
    found = state.load(repository.id, repository.place).memory.snapshot
    return repository._replace(cached_sha256=found.sha256, expire_seconds=MAX_EXPIRE_SECONDS) if found else repository


def _line(repository_id: str, snapshot: Snapshot, mirrors: Sequence[Mirror]) -> str:
    hosts = ", ".join(authority_of(mirror.url) for mirror in mirrors)
    return "{}: revision {} (updated {}), best first: {}".format(
        repository_id, snapshot.revision, ago(time.time() - snapshot.timestamp), hosts)


def _mark(before: Optional[Snapshot], after: Snapshot, is_dry_run: bool) -> str:
    """Return what --accept-rollback did to the high-water mark, or would do."""
    if before is None or before.sha256 == after.sha256:
        return "the high-water mark {} {}".format("would be" if is_dry_run else "is", _signed(after))
    verb = "would be" if is_dry_run else "was"
    direction = "lowered" if after.age_key < before.age_key else "raised"
    return "the high-water mark {} {} from {} to {}".format(verb, direction, _signed(before), _signed(after))


def _signed(snapshot: Snapshot) -> str:
    return "revision {} (data of {}, signed {})".format(snapshot.revision, utc(snapshot.timestamp), utc(snapshot.signed_at))


def _exit_code(item: Resolution) -> int:
    if item.error is not None:
        return item.error.exit_code
    return EXIT_PROBLEM if item.warnings else EXIT_OK


def _values(found: Sequence[Resolution], host: Host) -> Dict[str, Any]:
    now = time.time()
    return {"schema": SCHEMA, "command": "refresh", "refreshed_at": utc(now), "warnings": list(host.warnings),
            "repositories": [_repository_values(item, host, now) for item in found]}


def _repository_values(item: Resolution, host: Host, now: float) -> Dict[str, Any]:
    has_metalink = item.snapshot is not None and item.mirrors and not item.local_folder
    metalink = host.state.path(item.repository.id, METALINK) if has_metalink else None
    return {"id": item.repository.id, "error": describe_error(item.error), "warnings": list(item.warnings),
            "current": snapshot_values(item.snapshot, now), "metalink": metalink,
            "usable": [mirror.url for mirror in item.mirrors]}
