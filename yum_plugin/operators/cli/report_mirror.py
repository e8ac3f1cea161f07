"""``xcpng-mirrors report-mirror``: a report about one mirror, ready to be sent to its owner. Sends nothing and writes no file."""
import argparse
import json
import sys
import time
from typing import Any, Dict, List, Sequence

from ... import __version__
from ...cli.common.console import Console, utc
from ...cli.common.host_options import SCHEMA, Host, add_host_arguments, describe_error, open_host, snapshot_values
from ...errors import EXIT_OK, EXIT_PROBLEM, MirrorsError, UsageError
from ...host.keyring import load_keys
from ...model import Mirror, Repository
from ...packages.quarantine import quarantine_notes
from ...privsep.gateway import Gateway
from ...resolve.resolution import Resolution
from ...resolve.resolver import Resolver
from ...sources.redirector import Timeouts
from ...trust.metadata import RepomdProver
from ...util.urls import authority_of
from ..report.inspect import FileInspection, Inspection, certificate_of, inspect_mirror
from ..report.letter import MirrorCase, NewestSnapshot, problems_of, render_letter
from ..report.values import MirrorFinding, MirrorSite, sites_of
from .report import site_values
from .report_data import SiteFinding, of_url, probe_reachability, site_finding, sites_named

MAX_SUGGESTED = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "Exit code: 0 nothing is wrong with the mirror, 1 the report says what is, 2 no such mirror is known."
    parser.add_argument("name", metavar="NAME", help="the mirror: its host, host:port, URL, or name on the redirector's list")
    add_host_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Inspect the mirror, print the report, and return the exit code.

    Raises:
        UsageError: no mirror, or more than one, has the name.
    """
    host = open_host(arguments)
    with host.gateway() as gateway:
        resolutions = Resolver(host.settings, host.state.load_all(host.repositories), gateway=gateway).run(host.repositories)
        case = _case(_site(arguments.name, resolutions, host), resolutions, host, gateway)
    site, problems = case.site, problems_of(case)
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(case, host), indent=1))
    elif problems or arguments.verbose:
        out.write(render_letter(case))
    elif not arguments.quiet:
        out.line("{}: nothing is wrong with it; -v shows what was examined".format(site.authority))
    return EXIT_PROBLEM if problems else EXIT_OK


def _site(name: str, resolutions: Sequence[Resolution], host: Host) -> MirrorSite:
    """Find the named mirror among those on the list and those remembered."""
    sites = sites_of([each for resolution in resolutions for each in _known(resolution, host)], {})
    found = sites_named(sites, name)
    if not found:
        some = ", ".join(site.authority for site in sites[:MAX_SUGGESTED])
        raise UsageError("usage", "no mirror of that name is known", where=name,
                         hint="'xcpng-mirrors mirrors' names all{}".format(", for instance " + some if some else ""))
    if len(found) > 1:
        raise UsageError("usage", "several mirrors have that name", where=name,
                         hint="name one of " + ", ".join(site.url for site in found[:MAX_SUGGESTED]))
    return found[0]


def _known(resolution: Resolution, host: Host) -> List[SiteFinding]:
    repository, listed = resolution.repository, resolution.candidates
    mirrors: Dict[str, Mirror] = {}
    for mirror in listed.mirrors + listed.origins + tuple(each for each, _ in listed.left_out) + resolution.memory.mirrors:
        mirrors.setdefault(mirror.url, mirror)
    past = host.state.observed(repository.id, time.time())
    return [site_finding(repository, MirrorFinding(repository.id, mirror, "not asked", observations=of_url(mirror.url, past)))
            for mirror in mirrors.values()]


def _case(site: MirrorSite, resolutions: Sequence[Resolution], host: Host, gateway: Gateway) -> MirrorCase:
    repositories = {repository.id: repository for repository in host.repositories}
    timeouts = Timeouts(host.settings.connect_timeout, host.settings.read_timeout)
    inspections = tuple(_inspect(repositories[finding.repository], finding.mirror, timeouts, gateway)
                        for finding in site.findings)
    certificate, error = certificate_of(site.url, repositories[site.findings[0].repository], timeouts.connect_seconds, gateway)
    reachability = probe_reachability(gateway, {site.url: site.url}, host)[site.url]
    notes = [note for finding in site.findings for note in quarantine_notes(host.state.path(finding.repository, "refused"))]
    kept = tuple(note for note in notes if any(authority_of(url) == site.authority for url in note.mirrors))
    return MirrorCase(site._replace(reachability=reachability), inspections, _newest(site, resolutions), certificate, error,
                      kept, int(time.time()), __version__)


def _inspect(repository: Repository, mirror: Mirror, timeouts: Timeouts, gateway: Gateway) -> Inspection:
    now = time.time()
    try:
        prover = RepomdProver(load_keys(repository.key_paths, repository.fingerprints), int(now))
    except MirrorsError as error:  # without a key nothing of a mirror can be judged
        raise UsageError("key-file", error.what, where=error.where, hint=error.hint)
    return inspect_mirror(repository, mirror, prover, timeouts, gateway)


def _newest(site: MirrorSite, resolutions: Sequence[Resolution]) -> Dict[str, NewestSnapshot]:
    """Return what the other mirrors serve; if none answered now, what was proven last."""
    found = {}
    for resolution in resolutions:
        newest = resolution.snapshot or resolution.memory.snapshot
        others = [mirror for mirror in resolution.mirrors if authority_of(mirror.url) != site.authority]
        if newest is not None:
            found[resolution.repository.id] = NewestSnapshot(newest, len(others))
    return found


def _values(case: MirrorCase, host: Host) -> Dict[str, Any]:
    certificate = case.certificate
    problems = [dict(each._asdict(), subjects=list(each.subjects), hint=each.hint) for each in problems_of(case)]
    return {
        "schema": SCHEMA, "command": "report-mirror", "made_at": utc(case.made_at), "warnings": list(host.warnings),
        "problems": problems, "mirror": site_values(case.site),
        "looks": [_look_values(inspection, case) for inspection in case.inspections],
        "certificate": None if certificate is None else dict(
            certificate._asdict(), names=list(certificate.names), not_before=utc(certificate.not_before),
            not_after=utc(certificate.not_after)),
        "certificate_error": describe_error(case.certificate_error),
        "refused_packages": [dict(kept._asdict(), when=utc(kept.when), mirrors=list(kept.mirrors)) for kept in case.kept],
        "letter": render_letter(case),
    }


def _look_values(inspection: Inspection, case: MirrorCase) -> Dict[str, Any]:
    newest = case.newest.get(inspection.repository)
    return {"id": inspection.repository, "url": inspection.mirror.url, "error": describe_error(inspection.error),
            "repomd": _file_values(inspection.repomd), "signature": _file_values(inspection.signature),
            "serves": snapshot_values(inspection.snapshot, case.made_at),
            "newest": snapshot_values(newest.snapshot if newest else None, case.made_at)}


def _file_values(file: FileInspection) -> Dict[str, Any]:
    return {"url": file.url, "asked_at": utc(file.at), "address": file.address or None, "status": file.status,
            "headers": dict(file.headers), "size_bytes": file.size, "sha256": file.sha256 or None,
            "first_byte_seconds": file.first_byte_seconds, "seconds": file.seconds, "error": describe_error(file.error)}
