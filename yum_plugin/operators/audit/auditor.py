"""Runs the checks of an audit one after the other, each within its own budget.

A check is a module with ``CHECK`` (a ``model.Check``) and ``run(subject)``, which returns its findings. ``reachable`` and
``repositories`` return more than findings, for the later checks build on what they found out. To add a check, write its module
and list it below.
"""
import contextlib
from typing import Any, Callable, Iterator, List, Sequence

from ...errors import MirrorsError
from ...util.text import size_words
from . import (
    addresses,
    backends,
    bandwidth,
    freshness,
    http_semantics,
    http_vs_https,
    image_bytes,
    images,
    reachable,
    repositories,
    rsyncd,
    sync_interval,
    tls,
    tls_versions,
    traversal,
    tree,
)
from .model import MIRROR, UNKNOWN, AuditOptions, Budget, Check, Cost, Finding, OverBudget, Subject

BIG_BYTES = 64 * 10**6  # a check that may take more runs with --yes only; this much takes 5 s of a line of 100 Mbit/s

# In the order in which they run and are reported: first the server, then the tree. The cheap ones come first, for their
# findings explain those of the others.
CHECKS: Sequence[Any] = (tls, tls_versions, http_vs_https, addresses, http_semantics, traversal)
# These look at every repository, so they run after ``repositories`` has found out which ones exist.
TREE_CHECKS: Sequence[Any] = (backends, freshness, rsyncd, tree, images, image_bytes, bandwidth, sync_interval)


def caps_of(options: AuditOptions) -> Cost:
    """Add up the most that the checks may take with these options; a check that is left out takes nothing."""
    checks = [module.CHECK.with_limits(options) for module in list(CHECKS) + list(TREE_CHECKS)]
    costs = [reachable.CHECK.cost, repositories.CHECK.cost]
    costs += [check.cost for check in checks if check.wanted(options) and (options.yes or check.cost.bytes <= BIG_BYTES)]
    return Cost(sum(cost.connections for cost in costs), sum(cost.bytes for cost in costs))


def seconds_of(options: AuditOptions) -> float:
    """Return the most time that all checks may take with these options."""
    checks: List[Check] = [module.CHECK.with_limits(options) for module in list(CHECKS) + list(TREE_CHECKS)]
    return sum(check.seconds for check in [reachable.CHECK, repositories.CHECK] + checks)


class Auditor:
    """Runs the checks.

    Args:
        subject: what is examined.

    Attributes:
        subject: what the checks so far have made of it: another scheme, more repositories.
        spent: the cost of all checks so far.
        unreachable: whether the mirror did not answer at all.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.spent = Cost(0, 0)
        self.unreachable = False

    def findings(self) -> Iterator[Finding]:
        """Run the checks, and yield what each of them finds as soon as it has ended."""
        with self._budgeted(reachable.CHECK) as subject:
            reached = reachable.run(subject)
        yield reached.finding
        self.unreachable = not reached.answers
        self.subject = reached.subject
        yield from self._run_all(CHECKS, reached.is_mirror)
        if reached.is_mirror:
            yield from self._run(repositories.CHECK, self._find_repositories)
        yield from self._run_all(TREE_CHECKS, reached.is_mirror)

    @contextlib.contextmanager
    def _budgeted(self, check: Check) -> Iterator[Subject]:
        """Yield the subject with the check's own budget; what was spent of it is added up afterwards."""
        budget = Budget(check.cost, check.seconds)
        try:
            yield self.subject._replace(budget=budget)
        finally:
            self.spent = Cost(self.spent.connections + budget.spent.connections, self.spent.bytes + budget.spent.bytes)

    def _find_repositories(self, subject: Subject) -> Sequence[Finding]:
        outcome = repositories.run(subject)
        self.subject = self.subject._replace(repositories=outcome.subject.repositories)
        return [outcome.finding]

    def _run_all(self, modules: Sequence[Any], is_mirror: bool) -> Iterator[Finding]:
        for module in modules:
            check: Check = module.CHECK.with_limits(self.subject.options)
            if check.wanted(self.subject.options) and (is_mirror or check.needs != MIRROR):
                yield from self._run(check, module.run)

    def _run(self, check: Check, run: Callable[[Subject], Sequence[Finding]]) -> List[Finding]:
        """Run one check; if it cannot decide, that is its finding, and the audit goes on."""
        if check.cost.bytes > BIG_BYTES and not self.subject.options.yes:
            what = "left out: it may transfer {}".format(size_words(check.cost.bytes))
            return [Finding(check.name, UNKNOWN, (what,), "xcpng-mirrors audit {} --yes".format(self.subject.url))]
        self.subject.on_step(check.name)
        try:
            with self._budgeted(check) as subject:
                return list(run(subject))
        except OverBudget as error:
            return [Finding(check.name, UNKNOWN, ("stopped: {}".format(error),))]
        except MirrorsError as error:
            return [Finding(check.name, UNKNOWN, ("{}: {}".format(error.reference, error.what),), error.hint)]
