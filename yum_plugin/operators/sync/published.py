"""What DEST has that is proven, or was once: by its own signed lists, and by what the file cache remembers.

So a tree that another program has mirrored is protected from the first run on.
"""
from typing import Dict, Mapping, Set

from ...errors import FetchError, MirrorsError, TrustError
from ...trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ...trust.checksum_file import MAX_SUMS_BYTES
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.files import read_capped
from .destination import Destination
from .file_cache import FileCache
from .identity import Neighbours
from .job import TrustContext
from .plan import Unit, find_units
from .signed_unit import Head, listed_demands, metadata_demands, primary_of, prove_head, read_packages
from .staging import Staging
from .survey import KnownUnits


def read_list(path: str, below: str) -> bytes:
    """Read a signed list, or its signature.

    Args:
        path: of the file.
        below: DEST, for messages.

    Raises:
        TrustError: it is missing, or unusable.
    """
    is_signature = below.endswith(".asc")
    try:
        return read_capped(path, MAX_SIGNATURE_BYTES if is_signature else max(MAX_REPOMD_BYTES, MAX_SUMS_BYTES))
    except OSError as error:
        raise TrustError("signature-missing" if is_signature else "malformed",
                         "it is missing or unusable: {}".format(error.strerror), where=below) from error


class Published:
    """What DEST has.

    Args:
        destination: DEST.
        file_cache: of DEST.
        trust: the keys.

    Attributes:
        heads: the proven signed lists.
        known: all units.
        proven_paths: the files that are proven, or were once.
    """

    def __init__(self, destination: Destination, file_cache: FileCache, trust: TrustContext) -> None:
        here = {path for path, _ in destination.files()}
        remembered = file_cache.heads
        every = set(find_units(here | file_cache.paths))
        for unit in find_units(remembered):
            if unit in every or any(unit.covers(path) for path in here):
                every.add(unit)
            else:  # somebody has removed all of it: it begins anew
                file_cache.forget_head(unit.head)
        self._had = {unit: remembered[unit.head] for unit in every if unit.head in remembered}
        self.heads = _prove_all(destination, every, trust)
        proven = {*self.heads, *self._had}
        self.known = KnownUnits(every, proven, proven | {unit for unit in every if unit.head in file_cache.paths})
        self.proven_paths: Set[str] = file_cache.proven_paths
        for unit, head in self.heads.items():
            self.proven_paths.update(unit.heads, metadata_demands(unit, head), listed_demands(unit, head))

    def neighbours(self, offered: Mapping[Unit, Head]) -> Neighbours:
        """Return what each place has, had and is offered."""
        return Neighbours({unit: head.sha256 for unit, head in self.heads.items()}, self._had,
                          {unit: head.sha256 for unit, head in offered.items()})

    def names(self, unit: Unit, staging: Staging) -> Dict[str, str]:
        """Return path -> name of all that a unit's published list names; empty where that cannot be read."""
        head = self.heads.get(unit)
        if head is None:
            return {}
        if not unit.is_repository:
            return {path: path for path in listed_demands(unit, head)}
        try:
            path, file = primary_of(unit, head)
            primary = staging.read_published(path, metadata_demands(unit, head)[path])
            return {path: name for path, (name, _) in read_packages(unit, file, primary).items()}
        except (FetchError, TrustError):
            return {}  # what is here is damaged: there is nothing to compare with


def _prove_all(destination: Destination, units: Set[Unit], trust: TrustContext) -> Dict[Unit, Head]:
    """Return the lists that are proven; those that are missing or cannot be proven are left out."""
    heads = {}
    for unit in units:
        try:
            raw, signature = (read_list(destination.path(path), path) for path in unit.heads)
            heads[unit] = prove_head(unit, raw, signature, trust.keys, trust.now)
            metadata_demands(unit, heads[unit])
        except MirrorsError:
            heads.pop(unit, None)
    return heads
