"""``xcpng-mirrors verify``: whether files on this disk are what the pinned key's owner has signed. No network.

Exit code: 4 if anything was refused, else 3 if anything was missing, else 0.
"""
import argparse
import json
import os
import sys
import time
from typing import Any, Dict, Iterator

from ..errors import EXIT_OK, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, UsageError
from ..verifying import Examiner, Finding
from .console import STYLES, Console, printable, utc
from .keyoptions import add_key_arguments, keys_of, read_config
from .progress import BIG_BYTES, Progress

BAD_TO_GOOD = (EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="an RPM, an ISO, a SHA256SUMS, a .repo file, a repomd.xml, or "
                        "the folder of a whole repository; told by its content. What vouches for it is looked for beside it: "
                        "FILE.asc, FILE.sig, SHA256SUMS with its .asc")
    parser.add_argument("--signature", metavar="SIG", default="", help="the detached signature of the one FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON list, an object a file; times in UTC")
    parser.add_argument("--config", metavar="FILE", default="", help="the .conf, for fingerprints= (default: the host's)")
    add_key_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify and return the exit code."""
    if arguments.signature and (len(arguments.files) != 1 or os.path.isdir(arguments.files[0])):
        raise UsageError("usage", "--signature is the signature of exactly one file")
    keys = keys_of(arguments, read_config(arguments.config))
    progress = Progress(not arguments.quiet)

    def on_progress(path: str, done: int, size: int) -> None:
        if size >= BIG_BYTES:
            progress.update(path, done, size)

    examiner = Examiner(keys, int(time.time()), arguments.files, on_progress)
    out, findings, codes = Console(sys.stdout), [], set()
    try:
        for finding in _findings(arguments, examiner):
            codes.add(finding.error.exit_code if finding.error else EXIT_OK)
            progress.clear()
            if arguments.json:
                findings.append(_values(finding))
            elif finding.error or not arguments.quiet:
                out.line(line_of(finding, out.colour))
    finally:
        progress.clear()
    if arguments.json:
        out.line(json.dumps(findings, indent=1))
    return next((code for code in BAD_TO_GOOD if code in codes), EXIT_OK)


def _findings(arguments: argparse.Namespace, examiner: Examiner) -> Iterator[Finding]:
    for path in arguments.files:
        if os.path.isdir(path):
            from ..localrepo import RepositoryExaminer

            yield from RepositoryExaminer(examiner, path).examine()
        else:
            yield from examiner.examine(path, arguments.signature)


def line_of(finding: Finding, colour: bool) -> str:
    """Word a finding in one line."""
    name = printable(finding.file)
    if finding.error is None:
        signed = time.strftime("%Y-%m-%d", time.gmtime(finding.signed_at or 0))
        return "{}  {}  {} {}, signed {} by {}".format(_styled("ok", "good", colour), name, finding.kind,
                                                       printable(finding.detail), signed, finding.fingerprint)
    word = "MISSING" if finding.error.exit_code == EXIT_UNREACHABLE else "REFUSED"
    return "{}  {}  {}: {}; {}".format(_styled(word, "bad", colour), name, finding.error.reference, printable(finding.problem),
                                       printable(finding.error.hint))


def _styled(word: str, style: str, colour: bool) -> str:
    return "\x1b[{}m{}\x1b[0m".format(STYLES[style], word) if colour else word


def _values(finding: Finding) -> Dict[str, Any]:
    error = finding.error
    return {
        "file": finding.file, "kind": finding.kind, "ok": error is None,
        "reference": error.reference if error else "",
        "detail": "{}; {}".format(finding.problem, error.hint) if error else finding.detail,
        "fingerprint": finding.fingerprint or None,
        "signed_at": None if finding.signed_at is None else utc(finding.signed_at),
    }
