"""``xcpng-mirrors pool``: check whether every host of this pool can update now, and to the same revisions.

It runs on the pool's master. With --agree every host, or none, pins what the mirrors offer now (pool/freeze.py), so that
all hosts install the same revision of each repository, even if an update is published before the last host has updated.
"""
import argparse
import json
import os
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ..errors import EXIT_OK, EXIT_PROBLEM, EXIT_UNREACHABLE, FetchError
from ..pool.members import (
    Member,
    MemberReport,
    Offered,
    Pool,
    SeenSnapshot,
    find_xe,
    has_agreed,
    require_master,
    token_for,
    would_differ,
)
from ..state.pool_token import MAX_HOURS, Token
from ..trust.freshness import duration
from ..util.text import whole_number
from .common.console import Cell, Column, Console, printable, table, utc, wrapped
from .common.host_options import SCHEMA, describe_error

HOUR_SECONDS = 3600
DEFAULT_HOURS = 24  # a rolling update of a pool takes hours (docs/pools.md)
TRIES = 2  # of an agreement: the mirrors may publish a new revision between the check of a host and its pin
EXPLAINED = ("Run it on the pool's master; every host needs the package xcpng-mirrors. Exit code: 0 every host can update (and "
             "has agreed, with --agree), 1 a host cannot, 3 a host or its mirrors could not be reached.")


class PoolOutcome(NamedTuple):
    """The reports of all hosts, and the result of an agreement."""

    reports: Sequence[MemberReport]
    token: Optional[Token] = None  # all hosts have agreed on it
    problem: str = ""  # why there is no agreement, or which hosts may still be pinned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EXPLAINED
    parser.add_argument("--json", action="store_true", help="print one JSON object; times are in UTC, durations in seconds")
    parser.add_argument("--installroot", default="/", metavar="DIR", help="root folder of the host (default: /)")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--agree", action="store_true", help="pin all hosts, or none, to the newest revisions that one of "
                        "them sees: all install the same revision of each repository, even if an update is published meanwhile")
    either.add_argument("--disagree", action="store_true", help="remove the pins of all hosts")
    parser.add_argument("--hours", type=_hours, default=DEFAULT_HOURS, metavar="N", help="how long the agreement lasts (default: "
                        "{}, at most {})".format(DEFAULT_HOURS, MAX_HOURS))


def _hours(text: str) -> int:
    hours = whole_number(text)
    if not hours or hours > MAX_HOURS:
        raise argparse.ArgumentTypeError("use a whole number between 1 and {}".format(MAX_HOURS))
    return hours


def run(arguments: argparse.Namespace) -> int:
    """Ask all hosts, show their answers, and return the exit code; see EXPLAINED."""
    require_master(os.path.abspath(arguments.installroot))
    pool = Pool(find_xe())
    members = pool.members()
    display = _Display(len(members), wanted=not (arguments.quiet or arguments.json))
    if arguments.agree:
        outcome = _agree(pool, members, arguments.hours * HOUR_SECONDS, display)
    else:
        outcome = PoolOutcome(pool.precheck(members, {"unpin": "true"} if arguments.disagree else {}, display.answered))
    display.clear()
    out, now = Console(sys.stdout), time.time()
    if arguments.json:
        out.line(json.dumps(_values(outcome, now), indent=1))
    elif not arguments.quiet:
        out.lines(_lines(outcome, out))
    _report_problems(outcome)
    return _exit_code(outcome)


class _Display:
    """A line on the terminal that counts the answers, because hosts may need minutes."""

    def __init__(self, count: int, wanted: bool) -> None:
        self._console = Console(sys.stderr)
        self._live = wanted and self._console.can_redraw
        self._count = count
        self.answered(0)

    def answered(self, count: int) -> None:
        """Show how many hosts have answered."""
        if self._live:
            self._console.draw(["{} of {} hosts have answered".format(count, self._count)])

    def clear(self) -> None:
        """Remove the line."""
        if self._live:
            self._console.draw([], is_last=True)


def _agree(pool: Pool, members: Sequence[Member], seconds: int, display: _Display) -> PoolOutcome:
    """Check all hosts, make a token and let every host pin it; remove all pins if a host cannot."""
    reports = pool.precheck(members, {}, display.answered)
    if any(not report.repositories for report in reports):
        return PoolOutcome(reports, problem="there is no agreement: not every host reports what it would update to")
    expires = int(time.time()) + seconds
    tried: List[Token] = []
    while len(tried) < TRIES and token_for(reports, expires) not in tried:
        tried.append(token_for(reports, expires))
        reports = pool.precheck(members, {"pin": str(tried[-1])}, display.answered)
        if all(has_agreed(report, tried[-1]) for report in reports):
            return PoolOutcome(reports, tried[-1])
    return _remove_pins(pool, reports)


def _remove_pins(pool: Pool, reports: Sequence[MemberReport]) -> PoolOutcome:
    """Remove the pins after a host could not pin the token; the reports hold the reasons."""
    after = pool.precheck([report.member for report in reports], {"unpin": "true"})
    left = [report.member.name for report in after if report.can_update is None or any(
        offered.pinned_until for offered in report.repositories)]
    problem = "there is no agreement: not every host could prove the same revision; no host is pinned"
    if left:
        problem += ", except perhaps {}, until the agreement would have expired; run 'xcpng-mirrors pool --disagree' when it " \
                   "answers again".format(", ".join(left))
    return PoolOutcome([report._replace(repositories=now.repositories) for report, now in zip(reports, after)], problem=problem)


def _exit_code(outcome: PoolOutcome) -> int:
    reasons = [reason for report in outcome.reports if not report.can_update for reason in report.reasons]
    if all(report.can_update for report in outcome.reports) and not outcome.problem:
        return EXIT_OK
    unreachable = bool(reasons) and all(isinstance(reason, FetchError) for reason in reasons)
    return EXIT_UNREACHABLE if unreachable else EXIT_PROBLEM


def _report_problems(outcome: PoolOutcome) -> None:
    """Report the problems on stderr, with how to fix them."""
    err = Console(sys.stderr)
    for report in outcome.reports:
        for text in [str(reason) for reason in report.reasons] + list(report.warnings):
            err.line("xcpng-mirrors: {}: {}".format(printable(report.member.name), printable(text)))
    if outcome.problem:
        err.line("xcpng-mirrors: pool: {}".format(printable(outcome.problem)))


def _lines(outcome: PoolOutcome, out: Console) -> List[str]:
    names = list(dict.fromkeys(offered.id for report in outcome.reports for offered in report.repositories))
    columns = [Column("HOST", least=8), Column("UPDATE")] + [Column(name, least=10) for name in names]
    columns += [Column("AGE", right=True), Column("PROBLEM", least=8)]
    lines = table(columns, [_row(report, names) for report in outcome.reports], out.width, out.colour)
    differing = would_differ(outcome.reports)
    remarks = []
    if outcome.token is not None:
        remarks.append("all hosts use these revisions until {}; 'xcpng-mirrors pool --disagree' ends this; for a host that "
                       "joins: xcpng-mirrors precheck --pin".format(utc(outcome.token.expires)))
    elif differing:
        remarks.append("the hosts would install different revisions of {}; 'xcpng-mirrors pool --agree' prevents this".format(
            ", ".join(differing)))
    token = [str(outcome.token)] if outcome.token is not None else []  # not wrapped, so that it can be copied
    return lines + wrapped(remarks, out.width) + token


def _row(report: MemberReport, names: Sequence[str]) -> List[Cell]:
    found = {offered.id: offered for offered in report.repositories}
    can = {True: Cell("yes", "good"), False: Cell("no", "bad"), None: Cell("?", "bad")}[report.can_update]
    ages = [offered.current.age_seconds for offered in report.repositories]
    age = duration(max(0, min(ages))) if ages else ""
    problem = report.reasons[0].reference if report.reasons else ""
    revisions = [_revision(found.get(name)) for name in names]
    return [Cell(report.member.name), can] + revisions + [Cell(age, "dim"), Cell(problem, "bad")]


def _revision(offered: Optional[Offered]) -> Cell:
    if offered is None:
        return Cell("-", "dim")
    held_back = offered.current.sha256 != offered.newest.sha256
    return Cell("{}{}".format(offered.current.revision, " pin" if offered.pinned_until else ""), "warning" if held_back else "")


def _values(outcome: PoolOutcome, now: float) -> Dict[str, Any]:
    token = outcome.token
    return {"schema": SCHEMA, "command": "pool", "asked_at": utc(now),
            "hosts": [_host_values(report) for report in outcome.reports],
            "would_differ": would_differ(outcome.reports), "problem": outcome.problem or None,
            "agreed": {"token": str(token), "expires_at": utc(token.expires)} if token is not None else None}


def _host_values(report: MemberReport) -> Dict[str, Any]:
    return {"uuid": report.member.uuid, "name": report.member.name, "can_update": report.can_update,
            "reasons": [describe_error(reason) for reason in report.reasons], "warnings": list(report.warnings),
            "repositories": [{"id": offered.id, "current": _seen_values(offered.current), "newest": _seen_values(offered.newest),
                              "pinned_until": offered.pinned_until or None} for offered in report.repositories]}


def _seen_values(seen: SeenSnapshot) -> Dict[str, Any]:
    return dict(seen._asdict())
