"""``xcpng-mirrors sync``: keep a mirror on this disk in sync. Whatever happens, it stays consistent for its readers.

Exit code: 4 if anything was refused, else 3 if anything could not be fetched, else 2 if DEST or its disk cannot do it, else 1 if
something of the source was left out, is no longer there, or would be deleted only with --max-delete, else 0.
"""
import argparse
import json
import logging
import os
import re
import sys
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ...cli.common.console import Cell, Column, Console, printable, shortened, table, utc
from ...cli.common.file_lines import exit_code
from ...cli.common.host_options import SCHEMA, add_config_arguments, describe_error
from ...cli.common.key_options import add_key_arguments, fingerprints_of, keys_of, read_config
from ...cli.common.progress import Progress
from ...errors import EXIT_OK, EXIT_PROBLEM, UsageError
from ...host.log import open_log
from ...host.settings import Settings
from ...model import Network
from ...privsep.gateway import Gateway
from ...privsep.parent import separated
from ...state.store import State
from ...trust.keys import PublicKey
from ...util.places import inside
from ...util.text import size_words
from ...util.urls import clean_base_url, host_of
from ...verify.files import localized
from ..facts import EXAMPLE_FOLDER, ORIGIN_RSYNC_URL
from ..rsync import parse_address
from ..sync.destination import open_destination
from ..sync.file_cache import FileCache, cache_path
from ..sync.http_source import HttpSource
from ..sync.identity import SecondVoice
from ..sync.job import SyncJob, SyncOptions, TrustContext
from ..sync.plan import MAX_DELETE, DeletionLimits
from ..sync.rsync_source import RsyncSource
from ..sync.source import OnProgress, SourceLimits, SyncSource
from ..sync.sync import GONE, KEPT, SWITCHED, WAITING, Sync, SyncReport, UnitResult

CPU_SECONDS = 24 * 3600  # of the process that fetches over https; a whole tree is hundreds of gigabytes
MAX_SHOWN = 10  # left out entries and deletions, without -v
_RATE = re.compile(r"([0-9]{1,12})([KMG]?)\Z")
_FACTORS = {"": 1, "K": 1024, "M": 1024 ** 2, "G": 1024 ** 3}
_STYLES = {KEPT: "bad", GONE: "warning", SWITCHED: "good", WAITING: "warning"}
_STEPS = {"list": "listing {}", "heads": "fetching {}", "metadata": "fetching metadata, {}",
          "files": "comparing files", "delete": "deleting {}", "switch": "publishing {}"}

# References whose own hints speak of a host that updates.
_HINTS = dict.fromkeys(("signature-invalid", "wrong-signature-type", "payload-mismatch", "malformed", "truncated", "http-status",
                        "timed-out"), "try again later, or another source: --from URL")
_HINTS["unknown-key"] = "signed by a key that is not pinned; see --key and --fingerprint"

log = logging.getLogger("xcpng-mirrors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("destination", metavar="DEST", help="folder of the mirror; created if only its last part is missing")
    parser.add_argument("--from", default=ORIGIN_RSYNC_URL, metavar="URL", dest="source",
                        help="rsync://HOST/MODULE/ or https://HOST/, the root of a mirror (default: {})".format(ORIGIN_RSYNC_URL))
    parser.add_argument("--repo", action="append", default=[], metavar="FOLDER", help="only this folder with a repository or a "
                        "signed SHA256SUMS, e.g. {}, or those below it; * is any text (may be repeated; "
                        "default: all of the source, over https all that DEST has)".format(EXAMPLE_FOLDER))
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="neither fetch nor delete what "
                        "matches: a name anywhere, or with / a path from the root; * is any text (may be repeated)")
    parser.add_argument("--include", action="append", default=[], metavar="PATTERN", help="take what matches, as for --exclude, "
                        "also if nothing signed names it, or if its name is hidden or one that web servers run (may be repeated)")
    parser.add_argument("--unsigned", action="append", default=[], metavar="PATTERN",
                        help="accept this folder with a repository without a signature (may be repeated)")
    parser.add_argument("--bwlimit", default="", metavar="RATE", help="limit in bytes per second, also with K, M or G (1024)")
    parser.add_argument("--max-delete", type=int, metavar="N", help="delete no more than N files "
                        "(default: {}, and at most half of those that nothing signs)".format(MAX_DELETE))
    parser.add_argument("--delete-unit", action="append", default=[], metavar="FOLDER", help="delete this folder's repository or "
                        "signed images, which the source no longer has; nothing else deletes a whole one (may be repeated)")
    parser.add_argument("--delete-foreign", action="store_true", help="also delete files that never came from the source")
    parser.add_argument("--accept-rollback", action="store_true", help="publish metadata that is older than DEST's")
    parser.add_argument("--accept", action="append", default=[], metavar="FOLDER", help="publish what the source has in this "
                        "folder, even if it looks like another repository (may be repeated)")
    parser.add_argument("--verify-all", action="store_true",
                        help="read every signed file again, even if it has not changed since it was proven")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done; nothing in DEST is changed")
    parser.add_argument("--json", action="store_true", help="print one JSON object; times in UTC")
    parser.add_argument("--cacert", default="", metavar="FILE", help="CA bundle for https (default: the system's)")
    parser.add_argument("--state-dir", metavar="DIR", help="folder of the file cache (default: state_dir= in the .conf)")
    add_config_arguments(parser)
    add_key_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sync and return the exit code."""
    root = os.path.abspath(arguments.installroot)
    settings = read_config(arguments.config, root)
    open_log(inside(root, settings.log_file), settings.log_level)
    keys = keys_of(arguments, fingerprints_of(arguments) or settings.fingerprints)
    with separated([Network(ssl_ca_cert=arguments.cacert)], CPU_SECONDS) as gateway:
        return _sync(arguments, settings, root, keys, gateway)


def _sync(arguments: argparse.Namespace, settings: Settings, root: str, keys: Sequence[PublicKey], gateway: Gateway) -> int:
    """Sync by way of a gateway, and return the exit code."""
    source = _source(arguments, gateway)
    destination = open_destination(arguments.destination, make=not arguments.dry_run)
    state = State(arguments.state_dir or inside(root, settings.state_dir))
    if state.weakness is not None:  # what was proven once is remembered there, so there is no going on without it
        raise state.weakness
    file_cache = FileCache(cache_path(state.folder, destination.root))
    limits = DeletionLimits(arguments.max_delete, arguments.delete_foreign, _folders(arguments.delete_unit))
    options = SyncOptions(tuple(arguments.repo), tuple(arguments.unsigned), tuple(arguments.exclude), tuple(arguments.include),
                          limits, arguments.accept_rollback, _folders(arguments.accept), arguments.dry_run, arguments.verify_all)
    if arguments.max_delete is not None and arguments.max_delete < 0:
        raise UsageError("usage", "--max-delete must be a number of files", where=str(arguments.max_delete))
    progress = _Progress(not arguments.quiet)
    try:
        trust = TrustContext(keys, int(time.time()), _second_voice(settings.fallbacks, source, arguments.cacert, gateway))
        report = Sync(SyncJob(source, destination, file_cache, options, trust, progress.callbacks())).run()
    finally:
        progress.clear()
    report = report._replace(units=tuple(
        result._replace(error=result.error and localized(result.error, _HINTS)) for result in report.units))
    _note(report, destination.root)
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(report, arguments, source, destination.root), indent=1))
    elif not arguments.quiet:
        for line in _lines(report, arguments, out):
            out.line(line)
    for line in _complaints(report, arguments.verbose):
        Console(sys.stderr).line("xcpng-mirrors: " + line)
    return _code(report)


def _source(arguments: argparse.Namespace, gateway: Gateway) -> SyncSource:
    limits = SourceLimits(_rate(arguments.bwlimit))
    try:
        if arguments.source.startswith("rsync:"):
            address = parse_address(arguments.source)
            if not address.module:
                raise ValueError("a module is missing")
            return RsyncSource(address, limits)
        return HttpSource(clean_base_url(arguments.source), Network(ssl_ca_cert=arguments.cacert), limits, gateway.open)
    except ValueError as error:
        raise UsageError("usage", "--from cannot be used: {}".format(error), where=arguments.source,
                         hint="e.g. --from {}".format(ORIGIN_RSYNC_URL)) from None


def _folders(names: Sequence[str]) -> Tuple[str, ...]:
    return tuple(name.strip("/") for name in names)


def _second_voice(fallbacks: Sequence[str], source: SyncSource, cacert: str, gateway: Gateway) -> Optional[SecondVoice]:
    """Return who is asked beside the source: the origin, unless it is the source and cannot show by https that it is itself."""
    for url in fallbacks:
        if url.startswith("https:") or host_of(url) != host_of(source.url):
            return SecondVoice(HttpSource(url, Network(ssl_ca_cert=cacert), open_session=gateway.open))
    return None


def _rate(text: str) -> int:
    """Return bytes a second; 0: no limit."""
    match = _RATE.match(text.upper()) if text else None
    if text and (match is None or not int(match.group(1))):
        raise UsageError("usage", "--bwlimit must be bytes per second", where=text, hint="e.g. --bwlimit 10M")
    return int(match.group(1)) * _FACTORS[match.group(2)] if match else 0


class _Progress:
    """The progress line of a sync."""

    def __init__(self, wanted: bool) -> None:
        self._line = Progress(wanted)

    def callbacks(self) -> OnProgress:
        """Return what the sync calls."""
        return OnProgress(self._step, self._line.update)

    def clear(self) -> None:
        """Remove the line."""
        self._line.clear()

    def _step(self, name: str, detail: str) -> None:
        if name in _STEPS:
            self._line.say(_STEPS[name].format(detail))


def _note(report: SyncReport, root: str) -> None:
    """Write the outcome into the log, for those who did not see the output of a timer's run."""
    for result in report.units:
        if result.error is not None:
            log.warning("sync %s: %s kept: %s", root, result.unit.folder or "/", result.error)
        elif result.outcome == SWITCHED and result.head is not None:
            log.info("sync %s: %s switched to revision %d", root, result.unit.folder or "/", result.head.revision)
        elif result.outcome == GONE:
            log.warning("sync %s: %s kept: the source no longer has it", root, result.unit.folder or "/")
    for path in report.unsigned:
        log.info("sync %s: %s taken, nothing signs it", root, printable(path))
    log.info("sync %s: %d files fetched, %d deleted", root, report.files, len(report.deletions.paths))


def _code(report: SyncReport) -> int:
    code = exit_code([result.error for result in report.units] + list(report.problems))
    if code != EXIT_OK:
        return code
    gone = report.deletions.kept or any(result.outcome == GONE for result in report.units)
    return EXIT_PROBLEM if report.left_out or gone or report.deletions.refusal or not report.complete else EXIT_OK


def _lines(report: SyncReport, arguments: argparse.Namespace, out: Console) -> List[str]:
    columns = [Column("folder", least=16), Column("state"), Column("published", optional=True), Column("fetched", right=True)]
    rows = [_row(result) for result in report.units
            if arguments.verbose or result.outcome != "unchanged" or len(report.units) <= MAX_SHOWN]
    lines = table(columns, rows, out.width, out.colour) if rows else []
    hidden = len(report.units) - len(rows)
    if hidden:
        lines.append("and {} unchanged".format(hidden))
    deleted = len(report.deletions.paths)
    words = "would fetch {}, {}; would delete {}" if arguments.dry_run else "fetched {}, {}; deleted {}"
    lines.append(words.format(_files(report.files), size_words(report.bytes), deleted))
    shown = report.deletions.paths if arguments.verbose else report.deletions.paths[:MAX_SHOWN if arguments.dry_run else 0]
    lines += [shortened("  delete {}".format(printable(path)), out.width) for path in shown]
    if shown and deleted > len(shown):
        lines.append("  and {} more; see -v".format(deleted - len(shown)))
    return lines + _remarks(report, arguments.verbose)


def _files(count: int) -> str:
    return "{} file{}".format(count, "" if count == 1 else "s")


def _some(words: Sequence[str]) -> str:
    rest = len(words) - MAX_SHOWN
    return ", ".join(words[:MAX_SHOWN]) + (" and {} more".format(rest) if rest > 0 else "")


def _row(result: UnitResult) -> List[Cell]:
    when = utc(result.head.timestamp)[:16].replace("T", " ") if result.head else ""
    fetched = "{}, {}".format(_files(result.files), size_words(result.bytes)) if result.files else ""
    return [Cell(result.unit.folder or "/"), Cell(result.outcome, _STYLES.get(result.outcome, "")), Cell(when), Cell(fetched)]


def _remarks(report: SyncReport, verbose: int) -> List[str]:
    deletions, lines = report.deletions, []
    if report.recovered:
        lines.append("an earlier sync was interrupted while it published; that was completed first")
    if deletions.later:
        lines.append("{} more to be deleted by the next sync, when no client uses the old metadata any longer".format(
            deletions.later))
    if deletions.postponed:
        lines.append("{} gone from the source, to be deleted by the next sync without an error".format(
            _files(deletions.postponed)))
    if deletions.foreign:
        lines.append("{} here that never came from the source: kept; --delete-foreign deletes them".format(
            _files(deletions.foreign)))
    if report.unsigned:
        lines.append("taken though nothing signs them: {}".format(_some([printable(path) for path in report.unsigned])))
    if report.earlier:
        lines.append("not taken: {} of repositories whose metadata does not name them".format(_files(len(report.earlier))))
        lines += ["  " + printable(path) for path in report.earlier if verbose]
    if not report.atomic:
        lines.append("this file system cannot exchange two folders in one step: metadata was missing for a moment")
    return lines


def _complaints(report: SyncReport, verbose: int) -> List[str]:
    """Return a line for each problem."""
    lines = ["{}: stays as it is: {}".format(printable(result.unit.folder or "/"), printable(str(result.error)))
             for result in report.units if result.error is not None]
    lines += [printable(str(problem)) for problem in report.problems]
    lines += ["{0}: stays as it is: the source no longer has it; if it is to go: --delete-unit {0}".format(
        printable(result.unit.folder or "/")) for result in report.units if result.outcome == GONE]
    if report.deletions.kept:
        lines.append("{} stay: proven once, and what signed them is gone; if they are to go: --delete-unit FOLDER".format(
            _files(report.deletions.kept)))
    shown = report.left_out if verbose else report.left_out[:MAX_SHOWN]
    lines += ["left out: {}: {}".format(printable(path), reason) for path, reason in shown]
    if len(report.left_out) > len(shown):
        lines.append("left out: {} more; see -v".format(len(report.left_out) - len(shown)))
    if not report.complete:
        lines.append("the source could not read all of its files: nothing is deleted")
    if report.deletions.refusal:
        lines.append("nothing is deleted: {}; if that is intended: --max-delete N".format(printable(report.deletions.refusal)))
    return lines


def _values(report: SyncReport, arguments: argparse.Namespace, source: SyncSource, root: str) -> Dict[str, Any]:
    deletions = report.deletions
    return {
        "schema": SCHEMA, "command": "sync", "destination": root, "source": source.url, "dry_run": arguments.dry_run,
        "ended_at": utc(time.time()), "exit_code": _code(report), "units": [_unit_values(result) for result in report.units],
        "fetched_files": report.files, "fetched_bytes": report.bytes, "deleted": list(deletions.paths),
        "deleted_later": deletions.later, "deletion_held": deletions.postponed, "foreign_files": deletions.foreign,
        "deletion_refused": deletions.refusal, "source_complete": report.complete,
        "deletion_kept": deletions.kept, "not_taken": list(report.earlier), "unsigned": list(report.unsigned),
        "left_out": [{"path": printable(path), "reason": reason} for path, reason in report.left_out],
        "problems": [describe_error(problem) for problem in report.problems], "recovered": report.recovered,
        "switched_at_once": report.atomic,
    }


def _unit_values(result: UnitResult) -> Dict[str, Any]:
    head = result.head
    return {
        "folder": result.unit.folder, "kind": "repository" if result.unit.is_repository else "checksums",
        "outcome": result.outcome, "error": describe_error(result.error), "revision": head.revision if head else None,
        "updated_at": utc(head.timestamp) if head else None, "sha256": head.sha256 if head else None,
        "fingerprint": head.fingerprint if head else None, "fetched_files": result.files, "fetched_bytes": result.bytes,
    }

