"""``xcpng-mirrors doctor``: look for problems on this host, and name the command that fixes each. Changes nothing.

common/host_checks.py has the checks, in this order: settings, plugin, keys, gpgcheck, space, tls, confinement, network
(name, proxy, clock), mirrors.
"""
import argparse
import json
import os
import sys
import time
from typing import Any, Dict, NamedTuple, Sequence

from ..errors import EXIT_OK, EXIT_PROBLEM
from ..util.places import inside
from .common.check_lines import verdict_lines
from .common.console import Console, utc
from .common.host_checks import CHECKS, DIRECT, CheckedHost, HostProblem
from .common.host_options import REPOSITORY_FOLDERS, SCHEMA, Host, add_host_arguments, open_host


class HostCheck(NamedTuple):
    """The result of one check."""

    name: str
    detail: str  # what was found, with or without problems
    problems: Sequence[HostProblem]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_host_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the host, show the results, and return the exit code: 1 if there is a problem."""
    root = os.path.abspath(arguments.installroot)
    host = open_host(arguments)
    folders = arguments.reposdir or [inside(root, folder) for folder in REPOSITORY_FOLDERS]
    out = Console(sys.stdout)
    checks = []
    with host.gateway(more=[DIRECT]) as gateway:
        checked = CheckedHost(host, root, folders, time.time(), gateway)
        for name, check in CHECKS:
            detail, problems = check(checked)
            checks.append(HostCheck(name, detail, problems))
            if not arguments.json and (problems or not arguments.quiet):
                word, style = ("PROBLEM", "bad") if problems else ("ok", "good")
                out.lines(verdict_lines(word, style, name, detail.split("; "), problems, out))
    if arguments.json:
        out.line(json.dumps(_values(checks, host, checked.now), indent=1))
    return EXIT_PROBLEM if any(check.problems for check in checks) else EXIT_OK


def _values(checks: Sequence[HostCheck], host: Host, now: float) -> Dict[str, Any]:
    return {"schema": SCHEMA, "command": "doctor", "examined_at": utc(now), "fine": not any(check.problems for check in checks),
            "warnings": list(host.warnings),
            "checks": [{"name": check.name, "ok": not check.problems, "detail": check.detail,
                        "problems": [dict(problem._asdict()) for problem in check.problems]} for check in checks]}
