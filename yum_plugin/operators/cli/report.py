"""``xcpng-mirrors report``: all mirrors in one page, as JSON, or for Prometheus' textfile collector."""
import argparse
import json
import os
import sys
from typing import Any, Dict, Optional

from ...cli.common.console import Console, printable, utc
from ...cli.common.host_options import SCHEMA, add_host_arguments, open_host, snapshot_values
from ...errors import EXIT_OK, UsageError
from ...state.history import Observation, address_family
from ...util.files import write_whole
from ..report.page import render_page
from ..report.prometheus import render_prometheus
from ..report.values import MirrorFinding, MirrorSite, MirrorsReport, RepositoryReport, hint_of
from .report_data import asked_report, remembered_report

PROM_SUFFIX = ".prom"  # the textfile collector reads only such names; our temporary file has another one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "Exit code: 0 the report was written, whatever it says; 2 it cannot be written."
    parser.add_argument("output", nargs="?", metavar="OUT.html", help="file for the page; - for stdout")
    parser.add_argument("--offline", action="store_true", help="use no network: report what this host remembers")
    parser.add_argument("--prom", metavar="FILE", help="also write FILE for node_exporter's textfile collector; - for stdout")
    add_host_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make the report, write it to each output, and return 0.

    Raises:
        UsageError: there is no output, or two on stdout, or a file cannot be written.
    """
    _check(arguments)
    host = open_host(arguments)
    shown = not arguments.quiet and arguments.verbose < 2
    report = remembered_report(host) if arguments.offline else asked_report(host, shown)
    for problem in host.state.problems:
        host.warn("state", problem)
    if arguments.output:
        _write(arguments.output, render_page(report), arguments.quiet)
    if arguments.prom:
        _write(arguments.prom, render_prometheus(report), arguments.quiet)
    if arguments.json:
        values = {"schema": SCHEMA, "command": "report", "warnings": list(host.warnings)}
        Console(sys.stdout).line(json.dumps(dict(values, **json_values(report)), indent=1))
    return EXIT_OK


def _check(arguments: argparse.Namespace) -> None:
    wanted = [arguments.output, arguments.prom, "-" if arguments.json else None]
    if not any(wanted):
        raise UsageError("usage", "no output is named", hint="name OUT.html, --prom FILE.prom, or --json")
    if wanted.count("-") > 1:
        raise UsageError("usage", "only one of page, --prom and --json can go to stdout")
    if arguments.prom and arguments.prom != "-" and not arguments.prom.endswith(PROM_SUFFIX):
        what = "the textfile collector reads only files whose names end in {}".format(PROM_SUFFIX)
        raise UsageError("usage", what, where=arguments.prom)


def _write(path: str, text: str, quiet: bool) -> None:
    """Write a text as UTF-8; readers of a file see the old or the new one, never a part."""
    data = text.encode("utf-8")
    if path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        write_whole(os.path.abspath(path), data)
    except OSError as error:
        raise UsageError("usage", "the report cannot be written: {}".format(error.strerror), where=path,
                         hint="check the folder's permissions and free space")
    if not quiet:
        Console(sys.stderr).line("written: {}".format(printable(path)))


def json_values(report: MirrorsReport) -> Dict[str, Any]:
    """Return a report for --json: times in UTC, durations in seconds."""
    return {"made_at": utc(report.made_at), "offline": report.offline, "version": report.version, "counts": report.counts(),
            "repositories": [_repository_values(each, report.made_at) for each in report.repositories],
            "mirrors": [site_values(site) for site in report.sites]}


def _repository_values(repository: RepositoryReport, now: int) -> Dict[str, Any]:
    return {"id": repository.id, "current": snapshot_values(repository.current, now),
            "accepted": snapshot_values(repository.accepted, now), "error": repository.error or None,
            "reference": repository.reference or None, "remarks": list(repository.remarks),
            "resolved_at": _time(repository.resolved_at)}


def site_values(site: MirrorSite) -> Dict[str, Any]:
    """Return a mirror for --json."""
    mirror, reachability = site.mirror, site.reachability
    return {"url": site.url, "authority": site.authority, "name": mirror.name, "country": mirror.country,
            "rank": mirror.rank or None, "source": mirror.source, "state": site.worst.state, "lag_seconds": site.lag_seconds,
            "first_byte_seconds": site.first_byte_seconds, "certificate_expires_at": _time(site.certificate_expires),
            "ipv4": reachability.ipv4 or None, "ipv6": reachability.ipv6 or None, "rsync": reachability.rsync or None,
            "repositories": [_finding_values(finding) for finding in site.findings]}


def _finding_values(finding: MirrorFinding) -> Dict[str, Any]:
    return {"id": finding.repository, "url": finding.mirror.url, "state": finding.state, "reference": finding.reference or None,
            "detail": finding.detail, "hint": hint_of(finding.reference), "asked_at": _time(finding.asked_at),
            "lag_seconds": finding.lag_seconds, "first_byte_seconds": finding.first_byte_seconds, "revision": finding.revision,
            "certificate_expires_at": _time(finding.certificate_expires), "address": finding.address or None,
            "failures": finding.failures, "observations": [observation_values(each) for each in finding.observations]}


def observation_values(seen: Observation) -> Dict[str, Any]:
    """Return an observation for --json."""
    return {"at": utc(seen.at), "outcome": seen.outcome, "about": seen.about, "lag_seconds": seen.lag_seconds,
            "first_byte_seconds": seen.first_byte_seconds, "seconds": seen.seconds, "bytes": seen.bytes,
            "revision": seen.revision, "certificate_expires_at": _time(seen.certificate_expires),
            "family": address_family(seen.address) or None}


def _time(seconds: Optional[int]) -> Optional[str]:
    return None if seconds is None else utc(seconds)
