"""``xcpng-mirrors audit``: whether a mirror does all that is asked of one; each fault with what mends it.

Exit code: 0 nothing is wrong, 1 a prerequisite fails, 2 usage, 3 the mirror does not answer at all.
"""
import argparse
import json
import random
import re
import sys
import time
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from ...cli.common.check_lines import verdict_lines
from ...cli.common.console import Console, printable, utc
from ...cli.common.host_options import SCHEMA
from ...cli.common.key_options import add_key_arguments, keys_of, pins_of, read_config
from ...cli.common.progress import Progress
from ...errors import EXIT_OK, EXIT_PROBLEM, EXIT_UNREACHABLE, MirrorsError, UsageError
from ...model import Network
from ...trust.keys import PublicKey
from ...util.text import size_words
from ...util.urls import clean_base_url, safe_path
from ..audit import (
    addresses,
    backends,
    bandwidth,
    freshness,
    http_semantics,
    http_vs_https,
    images,
    reachable,
    repositories,
    rsyncd,
    tls,
    traversal,
    tree,
)
from ..audit.application import Application, application, failing
from ..audit.model import (
    OK,
    PROBLEM,
    REPOSITORIES,
    UNKNOWN,
    WARNING,
    AuditOptions,
    Budget,
    Check,
    Cost,
    Finding,
    OverBudget,
    Subject,
)
from ..rsync import parse_address

BIG_BYTES = 64 * 10**6  # a check that may take more is done with --yes only
MAX_WATCH_SECONDS = 14 * 86400
MIN_EVERY_SECONDS = 60
MAX_SEED = 10**6
STYLES = {OK: "good", WARNING: "warning", PROBLEM: "bad", UNKNOWN: "dim"}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"^([0-9]{1,7})([smhd]?)\Z")

# In the order in which they are done and told.
CHECKS: Sequence[Check] = (
    Check(tls.CERTIFICATE, tls.examine, tls.COST),
    Check(tls.VERSIONS, tls.examine_versions, tls.VERSIONS_COST),
    Check(http_vs_https.CHECK, http_vs_https.examine, http_vs_https.COST, needs="mirror"),
    Check(addresses.CHECK, addresses.examine, addresses.COST, 60.0, needs="mirror"),
    Check(http_semantics.CHECK, http_semantics.examine, http_semantics.COST, needs="mirror"),
    Check(traversal.CHECK, traversal.check_traversal, traversal.COST, 90.0, needs="mirror"),
)
# Those that look at every repository that there is; before them ``repositories.discover`` has found out which there are.
TREE_CHECKS: Sequence[Check] = (
    Check(backends.CHECK, backends.check_backends, backends.COST, needs="mirror"),
    Check(freshness.CHECK, freshness.check_freshness, freshness.COST, 120.0, needs="mirror"),
    Check(rsyncd.CHECK, rsyncd.check_rsync, rsyncd.COST, rsyncd.SECONDS),
    Check(tree.PACKAGES, tree.check_tree, tree.COST, tree.SECONDS, needs="mirror"),
    Check(images.CHECK, images.check_images, images.COST, 120.0, needs="mirror"),
    Check(images.BYTES, images.check_image_bytes, images.BYTES_COST, images.BYTES_SECONDS, needs="mirror"),
    Check(bandwidth.CHECK, bandwidth.check_bandwidth, bandwidth.COST, bandwidth.SECONDS, needs="mirror",
          wanted=lambda subject: subject.options.bandwidth),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("url", metavar="URL", help="root of the mirror, the folder that holds 8/ and isos/")
    parser.add_argument("--also", metavar="URL", default="", help="the same by the other one of http and https, if that is on "
                        "a port of its own")
    parser.add_argument("--rsync", metavar="URL", default="", help="rsync://HOST/MODULE/ of the same tree")
    parser.add_argument("--path", action="append", default=[], metavar="PATH", help="only this repository below the root, e.g. "
                        "{} (may be repeated; default: all that the origin has)".format(REPOSITORIES[1]))
    parser.add_argument("--bandwidth", action="store_true", help="measure how fast a large file comes")
    parser.add_argument("--watch", metavar="TIME", default="0", help="look again and again for so long, e.g. 90m or 12h, and "
                        "tell how long after a publication the mirror had it; Ctrl-C ends it with what was seen")
    parser.add_argument("--every", metavar="TIME", default="5m", help="with --watch: between two looks (default: 5m)")
    parser.add_argument("--seed", metavar="N", type=int, default=None, help="of the random samples, to take the same again "
                        "(default: another one each time; it is told)")
    parser.add_argument("--application", action="store_true", help="print the e-mail that applies for the mirror's admission, "
                        "if every prerequisite is met; nothing is sent")
    parser.add_argument("--force", action="store_true", help="print it in any case")
    parser.add_argument("--yes", action="store_true", help="do also the checks that may take more than {}".format(
        size_words(BIG_BYTES)))
    parser.add_argument("--cacert", metavar="FILE", default="", help="CA bundle in PEM (default: the system's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, times in UTC")
    parser.add_argument("--config", metavar="FILE", default="", help="the .conf, for the origin, the fingerprints and the "
                        "time-outs (default: the host's)")
    add_key_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Examine, tell, and return the exit code."""
    progress = Progress(not arguments.quiet)
    subject = _subject(arguments)._replace(on_bytes=progress.update, on_step=progress.note)
    out, aside = Console(sys.stdout), Console(sys.stderr)
    later = list(TREE_CHECKS) + [freshness.interval_check(subject.options, time.time, time.sleep)]
    caps = caps_of([check for check in list(CHECKS) + later if check.wanted(subject)], subject)
    if not arguments.quiet:
        aside.line("xcpng-mirrors: one connection at a time, {} at most, {} at most in all".format(
            caps.connections, size_words(caps.bytes)))
    auditor, findings = Auditor(subject, progress, later), []
    shown = aside if arguments.application else out  # so that stdout has the e-mail and nothing else
    for finding in auditor.findings():
        findings.append(finding)
        progress.clear()
        if not arguments.json and (finding.verdict != OK or not arguments.quiet):
            shown.write("".join(line + "\n" for line in _lines(finding, shown)))
    progress.clear()
    mail = _mail(arguments, auditor, findings) if arguments.application else None
    if arguments.json:
        out.line(json.dumps(_values(findings, auditor, mail), indent=1))
    elif mail is not None:
        out.write(str(mail))
    return EXIT_UNREACHABLE if auditor.unreachable else EXIT_PROBLEM if failing(findings) else EXIT_OK


def _mail(arguments: argparse.Namespace, auditor: "Auditor", findings: Sequence[Finding]) -> Optional[Application]:
    """Write the application; None, and a word on stderr, while a prerequisite fails."""
    failed = failing(findings)
    if auditor.unreachable or failed and not arguments.force:
        Console(sys.stderr).line("xcpng-mirrors: no application yet: {} must be mended first{}".format(
            ", ".join(failed), "" if auditor.unreachable else "; --force writes it in any case"))
        return None
    return application(auditor.subject, findings)


def _subject(arguments: argparse.Namespace) -> Subject:
    """Read the command line and the .conf; without a key what is signed cannot be judged, and everything else can."""
    settings = read_config(arguments.config)
    keys: Tuple[PublicKey, ...] = ()
    problem = ""
    try:
        keys = tuple(keys_of(arguments, pins_of(arguments) or settings.fingerprints))
    except MirrorsError as error:
        if arguments.keys or arguments.fingerprints:
            raise
        problem = str(error)
    url = _accepted(clean_base_url, arguments.url)
    paths = tuple(_accepted(safe_path, path.strip("/")) + "/" for path in arguments.path)
    rsync_url = _accepted(_module_url, arguments.rsync) if arguments.rsync else ""
    every = _seconds(arguments.every, "--every")
    if every < MIN_EVERY_SECONDS:
        raise UsageError("usage", "--every wants {} s at least".format(MIN_EVERY_SECONDS), where=arguments.every)
    seed = random.SystemRandom().randrange(MAX_SEED) if arguments.seed is None else arguments.seed
    options = AuditOptions(arguments.bandwidth, _seconds(arguments.watch, "--watch"), every, seed, arguments.yes)
    # Straight: whoever looks through a proxy sees the proxy's addresses, certificates and manners.
    network = Network(proxy="", ssl_ca_cert=arguments.cacert)
    return Subject(url, rsync_url, network, network, keys, problem, paths or REPOSITORIES, settings, options, int(time.time()),
                   Budget(Cost(0, 0), 0), _other_scheme(url, arguments.also))


def _other_scheme(url: str, named: str) -> str:
    """Return the root by the other scheme; "" if its port cannot be told."""
    mine, other = ("https:", "http:") if url.startswith("https:") else ("http:", "https:")
    if not named:
        return "" if urlsplit(url).port else other + url[len(mine):]
    also = _accepted(clean_base_url, named)
    if not also.startswith(other):
        raise UsageError("usage", "--also wants the mirror by the other one of http and https", where=also)
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
        shown = text.rpartition("@")[2]  # no password gets into a terminal's history or a log
        raise UsageError("usage", "it cannot be used: {}".format(error), where=printable(shown)) from error


def _seconds(text: str, option: str) -> float:
    found = _DURATION.match(text)
    seconds = int(found.group(1)) * _UNITS[found.group(2)] if found else -1
    if not 0 <= seconds <= MAX_WATCH_SECONDS:
        raise UsageError("usage", "{} wants a time such as 90m or 12h, {} d at most".format(option, MAX_WATCH_SECONDS // 86400),
                         where=text)
    return seconds


def caps_of(checks: Sequence[Check], subject: Subject) -> Cost:
    """Add up the most that checks may take; those that are left out take nothing."""
    done = [reachable.COST, repositories.COST]
    done += [check.cost for check in checks if subject.options.yes or check.cost.bytes <= BIG_BYTES]
    return Cost(sum(cost.connections for cost in done), sum(cost.bytes for cost in done))


class Auditor:
    """Does the checks, one after the other.

    Args:
        subject: what is examined.
        progress: to be told what is under way.
        later: the checks that look at every repository.
    """

    def __init__(self, subject: Subject, progress: Progress, later: Sequence[Check]) -> None:
        self.subject = subject
        self.spent = Cost(0, 0)
        self.unreachable = False
        self._progress = progress
        self._later = later

    def findings(self) -> Iterator[Finding]:
        """Yield what each check finds."""
        budget = Budget(reachable.COST, 30)
        reached = reachable.reach(self.subject._replace(budget=budget))
        self._account(budget)
        yield reached.finding
        self.unreachable = not reached.answers
        self.subject = reached.subject
        have = {"": True, "answer": reached.answers, "mirror": reached.is_mirror}
        for check in list(CHECKS) + list(self._later):
            if check is self._later[0] and reached.is_mirror:
                yield from self._discover()
            if have[check.needs] and check.wanted(self.subject):
                yield from self._run(check)

    def _discover(self) -> List[Finding]:
        """Go on with every repository that there is."""
        def run(subject: Subject) -> List[Finding]:
            discovered = repositories.discover(subject)
            self.subject = self.subject._replace(repositories=discovered.subject.repositories)
            return [discovered.finding]

        return self._run(Check(repositories.CHECK, run, repositories.COST, 120.0))

    def _run(self, check: Check) -> List[Finding]:
        if check.cost.bytes > BIG_BYTES and not self.subject.options.yes:
            words = "left out: it may take {}".format(size_words(check.cost.bytes))
            return [Finding(check.name, UNKNOWN, (words,), "xcpng-mirrors audit {} --yes".format(self.subject.url))]
        self._progress.note(check.name)
        budget = Budget(check.cost, check.seconds)
        try:
            return list(check.run(self.subject._replace(budget=budget)))
        except OverBudget as error:
            return [Finding(check.name, UNKNOWN, ("it was given up: {}".format(error),))]
        except MirrorsError as error:
            return [Finding(check.name, UNKNOWN, ("{}: {}".format(error.reference, error.what),), error.hint)]
        finally:
            self._account(budget)

    def _account(self, budget: Budget) -> None:
        self.spent = Cost(self.spent.connections + budget.spent.connections, self.spent.bytes + budget.spent.bytes)


def _lines(finding: Finding, out: Console) -> List[str]:
    word = finding.verdict.upper() if finding.verdict == PROBLEM else finding.verdict
    return verdict_lines(word, STYLES[finding.verdict], finding.check, finding.evidence, [("", finding.remedy)], out)


def _values(findings: Sequence[Finding], auditor: Auditor, mail: Optional[Application]) -> Dict[str, Any]:
    subject = auditor.subject
    return {
        "schema": SCHEMA, "command": "audit", "audited_at": utc(subject.now), "url": subject.url,
        "rsync_url": subject.rsync_url or None, "fine": not failing(findings),
        "spent": dict(auditor.spent._asdict()), "application": dict(mail._asdict()) if mail is not None else None,
        "checks": [{"name": finding.check, "verdict": finding.verdict, "evidence": list(finding.evidence),
                    "mend": finding.remedy, "values": dict(finding.values)} for finding in findings],
    }
