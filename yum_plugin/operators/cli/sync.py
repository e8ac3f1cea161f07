"""``xcpng-mirrors sync``: a mirror on this disk, kept right. Whatever happens, what its readers see is whole.

Exit code: 4 if anything was refused, else 3 if anything could not be had, else 2 if DEST or its disk cannot do it, else 1 if
something of the source was left out or is not deleted without leave, else 0.
"""
import argparse
import json
import logging
import os
import re
import sys
import time
from typing import Any, Dict, List

from ...cli.common.console import Cell, Column, Console, printable, shortened, table, utc
from ...cli.common.file_lines import exit_code
from ...cli.common.host_options import SCHEMA, add_config_arguments, describe_error
from ...cli.common.key_options import add_key_arguments, fingerprints_of, keys_of, read_config
from ...cli.common.progress import Progress
from ...errors import EXIT_OK, EXIT_PROBLEM, UsageError
from ...host.log import open_log
from ...model import Network
from ...util.files import inside
from ...util.text import size_words
from ...util.urls import clean_base_url
from ...verify.files import localized
from ..rsync import parse_address
from ..sync.destination import open_destination
from ..sync.file_cache import FileCache, memory_path
from ..sync.http_source import HttpSource
from ..sync.plan import MAX_DELETE, Brake
from ..sync.round import Job, SyncOptions, UnitVerifier
from ..sync.rsync_source import RsyncSource
from ..sync.source import OnProgress, SourceLimits, SyncSource
from ..sync.sync import KEPT, SWITCHED, WAITING, Sync, SyncReport, UnitResult

DEFAULT_SOURCE = "rsync://updates.xcp-ng.org/repo/"  # the origin, as the documentation for mirrors names it
MAX_TOLD = 10  # left out entries and deletions, without -v
_RATE = re.compile(r"([0-9]{1,12})([KMG]?)\Z")
_FACTORS = {"": 1, "K": 1024, "M": 1024 ** 2, "G": 1024 ** 3}
_STYLES = {KEPT: "bad", SWITCHED: "good", WAITING: "warning"}
_STEPS = {"list": "reading what {} has", "heads": "fetching {}", "metadata": "fetching metadata, {}",
          "files": "comparing files", "delete": "deleting {}", "switch": "publishing {}"}

# References whose own hints speak of a host that updates.
_HINTS = dict.fromkeys(("signature-invalid", "wrong-signature-type", "payload-mismatch", "malformed", "truncated", "http-status",
                        "timed-out"), "try again later, or another source: --from URL")
_HINTS["unknown-key"] = "signed by a key that is not pinned; see --key and --fingerprint"

log = logging.getLogger("xcpng-mirrors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("destination", metavar="DEST", help="folder of the mirror; made if only its last part is missing")
    parser.add_argument("--from", default=DEFAULT_SOURCE, metavar="URL", dest="source",
                        help="rsync://HOST/MODULE/ or https://HOST/, the root of a mirror (default: {})".format(DEFAULT_SOURCE))
    parser.add_argument("--repo", action="append", default=[], metavar="FOLDER", help="only this folder with a repository or a "
                        "signed SHA256SUMS, e.g. 8/8.3/updates/x86_64, or those below it; * is any text (may be repeated; "
                        "default: all of the source, over https all that DEST has)")
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="neither fetch nor delete what is "
                        "called so: a name anywhere, or with / a path from the root on; * is any text (may be repeated)")
    parser.add_argument("--unsigned", action="append", default=[], metavar="PATTERN",
                        help="take a folder with a repository that its owner does not sign as it is (may be repeated)")
    parser.add_argument("--bwlimit", default="", metavar="RATE", help="bytes a second, also with K, M or G (1024)")
    parser.add_argument("--max-delete", type=int, metavar="N", help="delete no more than N files, whole repositories too "
                        "(default: {} files, and no whole repository)".format(MAX_DELETE))
    parser.add_argument("--delete-foreign", action="store_true", help="delete also files that were never the source's")
    parser.add_argument("--accept-rollback", action="store_true", help="publish metadata older than what DEST has")
    parser.add_argument("--verify-all", action="store_true",
                        help="read every signed file again, also those that have not changed since they were proven")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; nothing in DEST is touched")
    parser.add_argument("--json", action="store_true", help="print one JSON object; times in UTC")
    parser.add_argument("--cacert", default="", metavar="FILE", help="CA bundle for https (default: the system's)")
    parser.add_argument("--state-dir", metavar="DIR", help="what is remembered (default: state_dir= in the .conf)")
    add_config_arguments(parser)
    add_key_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sync and return the exit code."""
    root = os.path.abspath(arguments.installroot)
    settings = read_config(arguments.config, root)
    open_log(inside(root, settings.log_file), settings.log_level)
    keys = keys_of(arguments, fingerprints_of(arguments) or settings.fingerprints)
    origin = _origin(arguments)
    destination = open_destination(arguments.destination, make=not arguments.dry_run)
    memory = FileCache(memory_path(arguments.state_dir or inside(root, settings.state_dir), destination.root))
    options = SyncOptions(tuple(arguments.repo), tuple(arguments.unsigned), tuple(arguments.exclude),
                          Brake(arguments.max_delete, arguments.delete_foreign), arguments.accept_rollback, arguments.dry_run,
                          arguments.verify_all)
    if arguments.max_delete is not None and arguments.max_delete < 0:
        raise UsageError("usage", "--max-delete wants a number of files", where=str(arguments.max_delete))
    progress = _Progress(not arguments.quiet)
    try:
        report = Sync(Job(origin, destination, memory, options, UnitVerifier(keys, int(time.time())), progress.told())).run()
    finally:
        progress.clear()
    report = report._replace(units=tuple(
        result._replace(error=result.error and localized(result.error, _HINTS)) for result in report.units))
    _note(report, destination.root)
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(report, arguments, origin, destination.root), indent=1))
    elif not arguments.quiet:
        for line in _lines(report, arguments, out):
            out.line(line)
    for line in _complaints(report, arguments.verbose):
        Console(sys.stderr).line("xcpng-mirrors: " + line)
    return _code(report)


def _origin(arguments: argparse.Namespace) -> SyncSource:
    limits = SourceLimits(_rate(arguments.bwlimit))
    try:
        if arguments.source.startswith("rsync:"):
            address = parse_address(arguments.source)
            if not address.module:
                raise ValueError("a module is missing")
            return RsyncSource(address, limits)
        return HttpSource(clean_base_url(arguments.source), Network(ssl_ca_cert=arguments.cacert), limits)
    except ValueError as error:
        raise UsageError("usage", "--from is no source: {}".format(error), where=arguments.source,
                         hint="e.g. --from {}".format(DEFAULT_SOURCE)) from None


def _rate(text: str) -> int:
    """Return bytes a second; 0: no limit."""
    match = _RATE.match(text.upper()) if text else None
    if text and (match is None or not int(match.group(1))):
        raise UsageError("usage", "--bwlimit wants bytes a second", where=text, hint="e.g. --bwlimit 10M")
    return int(match.group(1)) * _FACTORS[match.group(2)] if match else 0


class _Progress:
    """What is shown while it runs."""

    def __init__(self, wanted: bool) -> None:
        self._line = Progress(wanted)

    def told(self) -> OnProgress:
        """Return whom the job tells."""
        return OnProgress(self._step, self._line.update)

    def clear(self) -> None:
        """Remove what is shown."""
        self._line.clear()

    def _step(self, name: str, detail: str) -> None:
        if name in _STEPS:
            self._line.say(_STEPS[name].format(detail))


def _note(report: SyncReport, root: str) -> None:
    """Write into the log what the timer's owner asks about the next morning."""
    for result in report.units:
        if result.error is not None:
            log.warning("sync %s: %s kept: %s", root, result.unit.folder or "/", result.error)
        elif result.outcome == SWITCHED and result.head is not None:
            log.info("sync %s: %s switched to revision %d", root, result.unit.folder or "/", result.head.revision)
    log.info("sync %s: %d files fetched, %d deleted", root, report.files, len(report.deletions.paths))


def _code(report: SyncReport) -> int:
    code = exit_code([result.error for result in report.units] + list(report.problems))
    if code != EXIT_OK:
        return code
    return EXIT_PROBLEM if report.left_out or report.deletions.refusal or not report.complete else EXIT_OK


def _lines(report: SyncReport, arguments: argparse.Namespace, out: Console) -> List[str]:
    columns = [Column("folder", least=16), Column("state"), Column("published", optional=True), Column("fetched", right=True)]
    rows = [_row(result) for result in report.units
            if arguments.verbose or result.outcome != "unchanged" or len(report.units) <= MAX_TOLD]
    lines = table(columns, rows, out.width, out.colour) if rows else []
    hidden = len(report.units) - len(rows)
    if hidden:
        lines.append("and {} unchanged".format(hidden))
    deleted = len(report.deletions.paths)
    words = "would fetch {}, {}; would delete {}" if arguments.dry_run else "fetched {}, {}; deleted {}"
    lines.append(words.format(_files(report.files), size_words(report.bytes), deleted))
    shown = report.deletions.paths if arguments.verbose else report.deletions.paths[:MAX_TOLD if arguments.dry_run else 0]
    lines += [shortened("  delete {}".format(printable(path)), out.width) for path in shown]
    if shown and deleted > len(shown):
        lines.append("  and {} more; see -v".format(deleted - len(shown)))
    return lines + _remarks(report)


def _files(count: int) -> str:
    return "{} file{}".format(count, "" if count == 1 else "s")


def _row(result: UnitResult) -> List[Cell]:
    when = utc(result.head.timestamp)[:16].replace("T", " ") if result.head else ""
    fetched = "{}, {}".format(_files(result.files), size_words(result.bytes)) if result.files else ""
    return [Cell(result.unit.folder or "/"), Cell(result.outcome, _STYLES.get(result.outcome, "")), Cell(when), Cell(fetched)]


def _remarks(report: SyncReport) -> List[str]:
    told, lines = report.deletions, []
    if report.recovered:
        lines.append("an earlier sync was ended while it published; that was put right first")
    if told.later:
        lines.append("{} more to be deleted next time, when nobody reads the old metadata any more".format(told.later))
    if told.held:
        lines.append("{} gone from the source, to be deleted when a run is all right".format(_files(told.held)))
    if told.foreign:
        lines.append("{} here that never came from the source: kept; --delete-foreign deletes".format(_files(told.foreign)))
    if not report.at_once:
        lines.append("this file system cannot exchange two folders at once: metadata was missing for a moment")
    return lines


def _complaints(report: SyncReport, verbose: int) -> List[str]:
    """Say what is wrong."""
    lines = ["{}: stays as it is: {}".format(printable(result.unit.folder or "/"), printable(str(result.error)))
             for result in report.units if result.error is not None]
    lines += [printable(str(problem)) for problem in report.problems]
    shown = report.left_out if verbose else report.left_out[:MAX_TOLD]
    lines += ["left out: {}: {}".format(printable(path), reason) for path, reason in shown]
    if len(report.left_out) > len(shown):
        lines.append("left out: {} more; see -v".format(len(report.left_out) - len(shown)))
    if not report.complete:
        lines.append("the source could not read all of its files: nothing is deleted")
    if report.deletions.refusal:
        lines.append("nothing is deleted: {}; if that is right: --max-delete N".format(printable(report.deletions.refusal)))
    return lines


def _values(report: SyncReport, arguments: argparse.Namespace, origin: SyncSource, root: str) -> Dict[str, Any]:
    told = report.deletions
    return {
        "schema": SCHEMA, "command": "sync", "destination": root, "source": origin.url, "dry_run": arguments.dry_run,
        "ended_at": utc(time.time()), "exit_code": _code(report), "units": [_unit_values(result) for result in report.units],
        "fetched_files": report.files, "fetched_bytes": report.bytes, "deleted": list(told.paths), "deleted_later": told.later,
        "deletion_held": told.held, "foreign_files": told.foreign, "deletion_refused": told.refusal,
        "source_complete": report.complete,
        "left_out": [{"path": printable(path), "reason": reason} for path, reason in report.left_out],
        "problems": [describe_error(problem) for problem in report.problems], "recovered": report.recovered,
        "switched_at_once": report.at_once,
    }


def _unit_values(result: UnitResult) -> Dict[str, Any]:
    head = result.head
    return {
        "folder": result.unit.folder, "kind": "repository" if result.unit.is_repository else "checksums",
        "outcome": result.outcome, "error": describe_error(result.error), "revision": head.revision if head else None,
        "updated_at": utc(head.timestamp) if head else None, "sha256": head.sha256 if head else None,
        "fingerprint": head.fingerprint if head else None, "fetched_files": result.files, "fetched_bytes": result.bytes,
    }

