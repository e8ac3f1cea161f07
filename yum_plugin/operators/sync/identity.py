"""Whether what a source offers at a place is that place's own: one key signs many repositories, and no signature says which.

    1. What this place has or had in DEST, what a second voice has there, and what --accept names is believed.
    2. What another place of DEST has or had, or the source itself offers at another place, belongs there: wrong-repository. Two
       places that have the same content now may have the same again.
    3. A second voice with older content at this place: nobody is ahead of the origin, so it is another place's: wrong-repository.
    4. Where nothing else speaks for it, it is not believed if it looks like another repository: if more than half of the names of
       the published packages are gone, or more than half of the files, and more than MAX_LOST_FILES: unconfirmed.
What a place has for the first time is believed by 4, for there is nothing to lose.

The second voice is the first of fallbacks= in the .conf, the origin, over https. It is asked for two small files of each place
that changes. It may be silent: then rules 2 and 4 decide.
"""
import os
import tempfile
from typing import Callable, Mapping, Optional, Set

from ...errors import MirrorsError, TrustError
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.files import read_capped
from .plan import Unit, Want
from .signed_unit import Head
from .source import OnProgress, SyncSource

MAX_LOST_FILES = 10  # of a place where a few packages come and go
HINT = "if it is right: xcpng-mirrors sync --accept {}"


class Neighbours:
    """What the places of the tree have.

    Args:
        published: the digest of each place's signed list in DEST.
        had: all those that it is known to have had there.
        offered: the digest that the source offers at each place, proven.
    """

    def __init__(self, published: Mapping[Unit, str], had: Mapping[Unit, Set[str]], offered: Mapping[Unit, str]) -> None:
        self._published = published
        self._had = had
        self._offered = offered

    def is_known_here(self, unit: Unit, sha256: str) -> bool:
        """Whether the place has or had it (rule 1)."""
        return sha256 in self._had.get(unit, ()) or self._published.get(unit) == sha256

    def owner(self, unit: Unit, sha256: str) -> Optional[Unit]:
        """Return another place that has it, had it, or is offered it (rule 2)."""
        for other in sorted({*self._published, *self._had, *self._offered} - {unit}):
            twins = unit in self._published and self._published.get(other) == self._published[unit]
            if not twins and (self.is_known_here(other, sha256) or self._offered.get(other) == sha256):
                return other
        return None


def refuse_other_place(unit: Unit, offered: Head, neighbours: Neighbours, voice: Optional[Head]) -> bool:
    """Apply rules 1 to 3.

    Args:
        unit: the place.
        offered: by the source; proven.
        neighbours: what the other places have.
        voice: what the second voice has there, proven; None if it is silent.

    Returns:
        Whether it is believed; else rule 4 decides.

    Raises:
        TrustError: wrong-repository.
    """
    if neighbours.is_known_here(unit, offered.sha256) or (voice is not None and voice.raw == offered.raw):
        return True
    owner = neighbours.owner(unit, offered.sha256)
    if owner is not None:
        raise _error(unit, "what the source offers here is that of {}".format(owner.folder or "/"))
    if voice is not None and voice.age_key < offered.age_key:
        raise _error(unit, "the origin has an older one here, and not this")
    return False


def refuse_other_content(unit: Unit, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Apply rule 4.

    Args:
        unit: the place.
        before: path -> name of each package or image that is published.
        after: of those that the source offers.

    Raises:
        TrustError: unconfirmed.
    """
    names, lost_files = set(before.values()), len(set(before) - set(after))
    lost_names = len(names - set(after.values()))
    if 2 * lost_names > len(names):
        raise _error(unit, "{} of the {} names published here are not in it, and nobody else names it".format(
            lost_names, len(names)), "unconfirmed")
    if lost_files > MAX_LOST_FILES and 2 * lost_files > len(before):
        raise _error(unit, "{} of the {} files published here are not in it, and nobody else names it".format(
            lost_files, len(before)), "unconfirmed")


def _error(unit: Unit, what: str, reference: str = "wrong-repository") -> TrustError:
    return TrustError(reference, what, unit.head, HINT.format(unit.folder or "/"))


class SecondVoice:
    """Somebody else who knows what the places have.

    Args:
        source: where it is asked.
    """

    def __init__(self, source: SyncSource) -> None:
        self._source = source
        self._silent = False

    def ask(self, unit: Unit, prove: Callable[[Unit, bytes, bytes], Head]) -> Optional[Head]:
        """Ask for a place's signed list.

        Args:
            unit: the place.
            prove: ``prove_head`` with the keys.

        Returns:
            What it has; None if it has nothing that is proven, or cannot be reached: then it is not asked again.
        """
        if self._silent:
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                reasons = self._source.fetch({path: Want(None, None) for path in unit.heads}, folder, OnProgress(), -1)
                self._silent = any(reason.reference != "http-status" for reason in reasons.values())
                raw, signature = (read_capped(os.path.join(folder, path), MAX_REPOMD_BYTES) for path in unit.heads)
                return prove(unit, raw, signature)
            except (MirrorsError, OSError):
                return None
