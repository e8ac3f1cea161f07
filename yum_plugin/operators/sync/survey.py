"""What the source and DEST have, before anything is fetched: which units there are, and which files may be looked at at all.

    1. A unit is known by the signed list that the source has now, or that DEST has or had: a source that leaves a list out cannot
       make its files anybody's.
    2. A unit of DEST whose list the source does not have stays as it is.
    3. --unsigned means units that were never proven: what once was proven is never taken unsigned.
"""
from typing import Dict, List, NamedTuple, Sequence, Set, Tuple

from ...errors import FetchError, UsageError
from ..facts import EXAMPLE_FOLDER
from .admission import reason_against_name
from .plan import Catalogue, Unit, UnitIndex, find_units, is_excluded, matches
from .source import SyncSource

NOTHING_HINT = "see --from: it must be the root of a mirror, with the folders 8 and isos"


class Selection(NamedTuple):
    """What the command line selects; all of them are patterns."""

    repos: Tuple[str, ...] = ()  # folders of units; empty: the whole tree
    unsigned: Tuple[str, ...] = ()  # folders of units that are accepted without a signature
    excludes: Tuple[str, ...] = ()
    includes: Tuple[str, ...] = ()  # see admission.py

    def wants(self, unit: Unit) -> bool:
        """Whether a unit is in the scope of this run."""
        named = not self.repos or any(matches(unit.folder, pattern) for pattern in self.repos)
        return named and not is_excluded(unit.head, self.excludes)


class Survey(NamedTuple):
    """What was found."""

    catalogue: Catalogue  # of the source, with names that may be published
    paths: Set[str]  # everything that the source listed
    units: List[Unit]  # in scope, with a list at the source
    missing: List[Unit]  # in scope, in DEST, and without a list at the source
    unsigned: Set[Unit]  # at the source; accepted without a signature
    units_index: UnitIndex  # of all units of both


class KnownUnits(NamedTuple):
    """The units that DEST has, or had after the last run."""

    every: Set[Unit]
    proven: Set[Unit]  # that are proven, or were once
    ours: Set[Unit]  # that are, or came from the source once


def survey(source: SyncSource, known: KnownUnits, selection: Selection) -> Survey:
    """Find out what there is.

    Args:
        source: the source.
        known: what DEST has.
        selection: what is wanted.

    Raises:
        FetchError: the source cannot be listed, or is no mirror.
        UsageError: it has nothing of what is wanted.
    """
    listed = source.catalogue(selection.excludes, selection.repos)
    if listed is None:
        units = source.units(selection.repos, sorted(known.ours))
        units = [unit for unit in units if not is_excluded(unit.head, selection.excludes)]
        return Survey(Catalogue({}, {}), set(), units, [], set(), UnitIndex({*units, *known.every}))
    paths = {*listed.files, *listed.links, *(path for path, _ in listed.left_out)}
    listed = _without_bad_names(listed, selection.includes)
    every = find_units(listed.files)
    unsigned = {unit for unit in every if unit.heads[1] not in listed.files and unit not in known.proven
                and is_excluded(unit.folder, selection.unsigned)}
    signed = [unit for unit in every if unit not in unsigned]
    units = [unit for unit in signed if selection.wants(unit)]
    missing = [unit for unit in sorted(known.ours) if unit not in every and selection.wants(unit)]
    if selection.repos and not units and not missing:
        raise UsageError("no-repository", "the source has no such repository", where=", ".join(selection.repos),
                         hint="name its folder, e.g. --repo {}".format(EXAMPLE_FOLDER))
    if not signed and not (selection.repos and missing):
        raise FetchError("bad-answer", "neither a repository nor a list of checksums is there", source.url, hint=NOTHING_HINT)
    return Survey(listed, paths, units, missing, unsigned, UnitIndex({*every, *known.every}))


def _without_bad_names(listed: Catalogue, includes: Sequence[str]) -> Catalogue:
    """Leave out what must not be published whoever signed it; the links among them, too."""
    reasons: Dict[str, str] = {}
    for path in sorted([*listed.files, *listed.links]):
        reason = reason_against_name(path, includes)
        if reason:
            reasons[path] = reason
    return listed._replace(
        files={path: file for path, file in listed.files.items() if path not in reasons},
        links={path: target for path, target in listed.links.items() if path not in reasons},
        left_out=listed.left_out + tuple(reasons.items()))
