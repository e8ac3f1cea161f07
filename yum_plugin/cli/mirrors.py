"""``xcpng-mirrors mirrors``: ask every mirror of each repository and show its state. Writes nothing."""
import argparse
import json
import time
from typing import Any, Dict, Sequence

from ..errors import EXIT_OK, EXIT_PROBLEM
from ..resolve.resolution import Resolution
from ..util.urls import host_of
from .common.console import utc
from .common.host_options import SCHEMA, Host, add_host_arguments, describe_error, open_host, snapshot_values
from .common.mirrors_view import Display, MirrorsView, Row, ask_everyone, views_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_host_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask the mirrors, show them, and return the exit code.

    0: every repository can be updated. 1: the same, but a mirror was refused or the metadata is too old.
    3 or 4: a repository cannot be updated.
    """
    host = open_host(arguments)
    views = views_of(host)
    display = Display(views, arguments.verbose < 2 and not arguments.quiet, not arguments.json)
    ask_everyone(host, views, display)
    if arguments.json:
        display.out.line(json.dumps(_values(views, host), indent=1))
    elif not arguments.quiet:
        display.finish()
    for view in views:
        if view.error is not None:
            host.warn(view.repository.id, str(view.error))
        if arguments.verbose and view.candidates is not None:
            for reason in view.candidates.listed.dropped:
                host.warn(view.repository.id, "not accepted from the mirror list: {}".format(reason))
    return max(_exit_code(view) for view in views)


def _exit_code(view: MirrorsView) -> int:
    if view.error is not None:
        return view.error.exit_code
    frozen = view.resolution is not None and view.resolution.note == "freeze"
    return EXIT_PROBLEM if frozen or any(row.state == "refused" for row in view.rows()) else EXIT_OK


def _values(views: Sequence[MirrorsView], host: Host) -> Dict[str, Any]:
    now = time.time()
    repositories = [_repository_values(view, now) for view in views]
    return {"schema": SCHEMA, "command": "mirrors", "asked_at": utc(now), "repositories": repositories,
            "warnings": list(host.warnings)}


def _repository_values(view: MirrorsView, now: float) -> Dict[str, Any]:
    resolution = view.resolution or Resolution(view.repository)
    return {
        "id": view.repository.id,
        "updatable": resolution.snapshot is not None,
        "error": describe_error(view.error),
        "current": snapshot_values(resolution.snapshot, now),
        "accepted": snapshot_values(view.accepted, now),
        "note": resolution.note,
        "usable": [mirror.url for mirror in resolution.mirrors],
        "mirrors": [_row_values(row) for row in view.rows()],
        "not_believed": list(view.candidates.listed.dropped) if view.candidates else [],
    }


def _row_values(row: Row) -> Dict[str, Any]:
    mirror = row.mirror
    return {
        "url": mirror.url, "host": host_of(mirror.url), "name": mirror.name, "country": mirror.country,
        "rank": mirror.rank or None, "source": mirror.source, "state": row.state, "reference": row.reference,
        "detail": row.detail, "lag_seconds": row.lag_seconds, "first_byte_seconds": row.first_byte_seconds,
        "certificate_expires_at": None if row.certificate_expires is None else utc(row.certificate_expires),
    }
