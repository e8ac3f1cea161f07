"""``xcpng-mirrors verify``: check that files on this disk are what the owner of the pinned key has signed; no network.

Exit code: 4 if anything was refused (a contradiction, or no proof), else 3 if anything was missing or could not be read, else 0.
"""
import argparse
import json
import os
import sys
import time
from typing import Any, Dict, Iterator

from ..errors import UsageError
from ..verify.files import Examiner, FileFinding
from .common.console import Console, printable, utc
from .common.file_lines import exit_code, signed_words, word
from .common.key_options import add_key_arguments, fingerprints_of, keys_of, read_config
from .common.progress import BIG_BYTES, Progress

MANY = 64  # files; for fewer, a second process costs more time than it saves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="an RPM, an ISO, a SHA256SUMS, a .repo file, a repomd.xml, or "
                        "the folder of a whole repository; its content tells which. Its signature is looked for beside it: "
                        "FILE.asc, FILE.sig, SHA256SUMS with its .asc")
    parser.add_argument("--signature", metavar="SIG", default="", help="the detached signature of the one FILE: "
                        "proves exactly that, whatever kind of file it is")
    parser.add_argument("--json", action="store_true", help="print one JSON list with an object for each file; times in UTC")
    parser.add_argument("--config", metavar="FILE", default="", help="the .conf, for fingerprints= (default: the host's)")
    add_key_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify the files and return the exit code."""
    if arguments.signature and (len(arguments.files) != 1 or os.path.isdir(arguments.files[0])):
        raise UsageError("usage", "--signature belongs to exactly one file")
    fingerprints = fingerprints_of(arguments) or read_config(arguments.config).fingerprints
    keys = keys_of(arguments, fingerprints)
    progress = Progress(not arguments.quiet)

    def on_progress(path: str, done: int, size: int) -> None:
        if size >= BIG_BYTES:
            progress.update(path, done, size)

    examiner = Examiner(keys, int(time.time()), arguments.files, on_progress)
    out, findings, errors = Console(sys.stdout), [], []
    try:
        for finding in _findings(arguments, examiner):
            errors.append(finding.error)
            progress.clear()
            if arguments.json:
                findings.append(_values(finding))
            elif finding.error or not arguments.quiet:
                out.line(line_of(finding, out.colour))
                if arguments.verbose:
                    out.lines(["    a signature that does not count: " + printable(told) for told in finding.ignored])
    finally:
        progress.clear()
    if arguments.json:
        out.line(json.dumps(findings, indent=1))
    return exit_code(errors)


def _findings(arguments: argparse.Namespace, examiner: Examiner) -> Iterator[FileFinding]:
    # Several processes pay for many files, of which none is so large that its progress must be shown.
    files = arguments.files
    if len(files) >= MANY and all(os.path.isfile(path) and os.path.getsize(path) < BIG_BYTES for path in files):
        from ..verify.workers import map_parts, worker_count  # late: multiprocessing takes as long to load as one file to verify

        size = -(-len(files) // worker_count())
        parts = [files[start : start + size] for start in range(0, len(files), size)]
        for findings in map_parts(lambda part: [finding for path in part for finding in examiner.examine(path)], parts):
            yield from findings
        return
    for path in files:
        if os.path.isdir(path):
            from ..verify.repository import RepositoryExaminer

            yield from RepositoryExaminer(examiner, path).examine()
        else:
            yield from examiner.examine(path, arguments.signature)


def line_of(finding: FileFinding, colour: bool) -> str:
    """Return the line of a finding."""
    start = "{}  {}  ".format(word(finding.error, colour), printable(finding.file))
    if finding.error is None:
        signed = signed_words(finding.signed_at, finding.fingerprint)
        return "{}{} {}, {}".format(start, finding.kind, printable(finding.detail), signed)
    return "{}{}: {}; {}".format(start, finding.error.reference, printable(finding.problem), printable(finding.error.hint))


def _values(finding: FileFinding) -> Dict[str, Any]:
    error = finding.error
    return {
        "file": finding.file, "kind": finding.kind, "ok": error is None,
        "reference": error.reference if error else "",
        "detail": "{}; {}".format(finding.problem, error.hint) if error else finding.detail,
        "fingerprint": finding.fingerprint or None,
        "signed_at": None if finding.signed_at is None else utc(finding.signed_at),
        "ignored_signatures": list(finding.ignored),
    }
