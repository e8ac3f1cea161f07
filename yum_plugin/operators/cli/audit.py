"""``xcpng-mirrors audit``: whether a mirror meets every prerequisite; each fault with how to fix it.

Exit code: 0 no prerequisite fails, 1 one fails, 2 usage, 3 the mirror does not answer at all.
"""
import argparse
import json
import random
import re
import sys
import time
from typing import Any, Dict, Tuple
from urllib.parse import urlsplit

from ...cli.common.check_lines import verdict_lines
from ...cli.common.console import Console, printable, utc
from ...cli.common.host_options import SCHEMA
from ...cli.common.key_options import add_key_arguments, fingerprints_of, keys_of, read_config
from ...cli.common.progress import Progress
from ...errors import EXIT_OK, EXIT_PROBLEM, EXIT_UNREACHABLE, MirrorsError, UsageError
from ...model import Network
from ...trust.keys import PublicKey
from ...util.text import size_words
from ...util.urls import clean_base_url, safe_path
from ..audit.apart import ALWAYS, IF_FINE, NEVER, AuditReport, audit_apart
from ..audit.application import failing
from ..audit.auditor import BIG_BYTES, caps_of
from ..audit.model import OK, PROBLEM, UNKNOWN, WARNING, AuditOptions, Budget, Cost, Finding, Subject
from ..facts import HOST_REPOSITORIES
from ..rsync import parse_address

MAX_WATCH_SECONDS = 14 * 86400
MIN_EVERY_SECONDS = 60  # one sample may take as long (sync_interval.py:SAMPLE_SECONDS)
MAX_SEED = 10**6  # short enough to be typed after --seed, which repeats a sample
STYLES = {OK: "good", WARNING: "warning", PROBLEM: "bad", UNKNOWN: "dim"}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"^([0-9]{1,7})([smhd]?)\Z")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("url", metavar="URL", help="root of the mirror, the folder that holds 8/ and isos/")
    parser.add_argument("--also", metavar="URL", default="", help="the same root by the other one of http and https, if "
                        "that has a non-standard port")
    parser.add_argument("--rsync", metavar="URL", default="", help="rsync://HOST/MODULE/ of the same tree")
    parser.add_argument("--path", action="append", default=[], metavar="PATH", help="only this repository below the root, e.g. "
                        "{} (may be repeated; default: all that the origin has)".format(HOST_REPOSITORIES[1]))
    parser.add_argument("--bandwidth", action="store_true", help="measure the throughput with a large file")
    parser.add_argument("--watch", metavar="TIME", default="0", help="watch the mirror for so long, e.g. 90m or 12h, and report "
                        "how long after a publication the mirror had it; Ctrl-C ends the watch early")
    parser.add_argument("--every", metavar="TIME", default="5m", help="with --watch: the time between two samples (default: 5m)")
    parser.add_argument("--seed", metavar="N", type=int, default=None, help="of the random samples, to choose the same files "
                        "again (default: a new one each time; the output names it)")
    parser.add_argument("--application", action="store_true", help="print the e-mail that applies for the mirror's admission, "
                        "if every prerequisite is met; nothing is sent")
    parser.add_argument("--force", action="store_true", help="with --application: print it even if a prerequisite fails")
    parser.add_argument("--yes", action="store_true", help="also run the checks that may transfer more than {}".format(
        size_words(BIG_BYTES)))
    parser.add_argument("--cacert", metavar="FILE", default="", help="CA bundle in PEM (default: the system's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, times in UTC")
    parser.add_argument("--config", metavar="FILE", default="", help="the .conf, for the origin, the fingerprints and the "
                        "timeouts (default: the host's)")
    add_key_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Audit the mirror, print the findings, and return the exit code."""
    progress = Progress(not arguments.quiet)
    subject = _subject(arguments)._replace(on_bytes=progress.update, on_step=progress.say, clock=time.time, sleep=time.sleep)
    out, err = Console(sys.stdout), Console(sys.stderr)
    caps = caps_of(subject.options)
    if not arguments.quiet:
        err.line("xcpng-mirrors: one connection at a time, at most {} connections and {} in all".format(
            caps.connections, size_words(caps.bytes)))
    shown = err if arguments.application else out  # so that stdout has the e-mail and nothing else

    def show(finding: Finding) -> None:
        progress.clear()
        if not arguments.json and (finding.verdict != OK or not arguments.quiet):
            word = finding.verdict.upper() if finding.verdict == PROBLEM else finding.verdict
            remedies = [("", finding.remedy)]
            shown.lines(verdict_lines(word, STYLES[finding.verdict], finding.check, finding.evidence, remedies, shown))

    mail = NEVER if not arguments.application else ALWAYS if arguments.force else IF_FINE
    try:
        report = audit_apart(subject, show, mail)
    finally:
        progress.clear()
    failed = failing(report.findings)
    if arguments.application and report.mail is None:
        err.line("xcpng-mirrors: no application yet: fix {} first{}".format(
            ", ".join(failed), "" if report.unreachable else "; --force writes it anyway"))
    if arguments.json:
        out.line(json.dumps(_values(report), indent=1))
    elif report.mail is not None:
        out.write(str(report.mail))
    return EXIT_UNREACHABLE if report.unreachable else EXIT_PROBLEM if failed else EXIT_OK


def _subject(arguments: argparse.Namespace) -> Subject:
    """Read the command line and the .conf; without a key only the checks of signed files are left undecided."""
    settings = read_config(arguments.config)
    keys: Tuple[PublicKey, ...] = ()
    problem = ""
    try:
        keys = tuple(keys_of(arguments, fingerprints_of(arguments) or settings.fingerprints))
    except MirrorsError as error:
        if arguments.keys or arguments.fingerprints:
            raise
        problem = str(error)
    url = _accepted(clean_base_url, arguments.url)
    paths = tuple(_accepted(safe_path, path.strip("/")) + "/" for path in arguments.path)
    rsync_url = _accepted(_module_url, arguments.rsync) if arguments.rsync else ""
    every = _seconds(arguments.every, "--every")
    if every < MIN_EVERY_SECONDS:
        raise UsageError("usage", "--every must be at least {} s".format(MIN_EVERY_SECONDS), where=arguments.every)
    seed = random.SystemRandom().randrange(MAX_SEED) if arguments.seed is None else arguments.seed
    options = AuditOptions(arguments.bandwidth, _seconds(arguments.watch, "--watch"), every, seed, arguments.yes)
    # Directly: through a proxy the audit would see the proxy's addresses, certificates and behaviour.
    network = Network(proxy="", ssl_ca_cert=arguments.cacert)
    return Subject(url, rsync_url, network, network, keys, problem, paths or HOST_REPOSITORIES, settings, options,
                   int(time.time()), Budget(Cost(0, 0), 0), _other_scheme(url, arguments.also))


def _other_scheme(url: str, named: str) -> str:
    """Return the root by the other scheme; "" if its port is not known."""
    mine, other = ("https:", "http:") if url.startswith("https:") else ("http:", "https:")
    if not named:
        return "" if urlsplit(url).port else other + url[len(mine):]
    also = _accepted(clean_base_url, named)
    if not also.startswith(other):
        raise UsageError("usage", "--also must be the mirror by the other one of http and https", where=also)
    return also


def _module_url(text: str) -> str:
    """Return the URL of a module, ending in "/"; raise ValueError if it is none."""
    address = parse_address(text)
    if not address.module:
        raise ValueError("no module in the URL: rsync://HOST/MODULE/")
    return address.url


def _accepted(read: Any, text: str) -> str:
    try:
        return str(read(text))
    except ValueError as error:
        shown = text.rpartition("@")[2]  # keep passwords out of terminals and logs
        raise UsageError("usage", "it cannot be used: {}".format(error), where=printable(shown)) from error


def _seconds(text: str, option: str) -> float:
    found = _DURATION.match(text)
    seconds = int(found.group(1)) * _UNITS[found.group(2)] if found else -1
    if not 0 <= seconds <= MAX_WATCH_SECONDS:
        raise UsageError("usage", "{} must be a time such as 90m or 12h, at most {} d".format(option, MAX_WATCH_SECONDS // 86400),
                         where=text)
    return seconds


def _values(report: AuditReport) -> Dict[str, Any]:
    subject, findings, mail = report.subject, report.findings, report.mail
    return {
        "schema": SCHEMA, "command": "audit", "audited_at": utc(subject.now), "url": subject.url,
        "rsync_url": subject.rsync_url or None, "fine": not failing(findings),
        "spent": dict(report.spent._asdict()), "application": dict(mail._asdict()) if mail is not None else None,
        "checks": [{"name": finding.check, "verdict": finding.verdict, "evidence": list(finding.evidence),
                    "mend": finding.remedy, "values": dict(finding.values)} for finding in findings],
    }
