"""Which repository a proven snapshot is of: one key signs many repositories, and a signature does not say for which. Pure.

Rules, in order:
    1. Named: the redirector's digest, the origin (``fallbacks=``) and the admin's own baseurl say what a repository is, and so
       does what this host has accepted there. What they name needs nobody else.
    2. What is not named and is known to be another repository's is refused: wrong-repository. Known is the digest of every
       mark, resolution and snapshot pin of this host, and in the same run what more voices say of another repository.
    3. Confirmed is what is named, or what mirrors on two hosts serve. A newer state of another repository is known to nobody
       by its digest, so nothing else that a list has led to replaces, or is marked as, what this host has accepted.
    4. What the origin itself, asked in the same run, does not know although it would be newer: wrong-repository, too.
    5. On first contact there is nothing to stay with: a single voice is used, told, and not marked.
"""
from typing import AbstractSet, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..model import Snapshot
from ..util.urls import host_of
from .freshness import Offer

WRONG_REPOSITORY, UNCONFIRMED = "wrong-repository", "unconfirmed"
SINGLE_VOICE = "single-voice"  # the note of what was used by rule 5

Name = Tuple[str, str]  # id and ``Repository.place``
Known = Mapping[Name, AbstractSet[str]]  # digests of the snapshots that a host knows of each repository


class Evidence(NamedTuple):
    """What speaks for a snapshot beside the mirrors that serve it."""

    named: str = ""  # the digest that the redirector names; "" if none
    own: FrozenSet[str] = frozenset()  # base URLs of the origin and of the admin's own
    known: FrozenSet[str] = frozenset()  # digests of what this host has accepted at this place
    others: Mapping[str, str] = {}  # digest -> another repository that it is known to be of, in words


class Sifted(NamedTuple):
    """Offers by what became of them."""

    offers: List[Offer]  # that may be chosen from
    refused: Dict[str, str]  # digest -> why it is the wrong repository's, in words
    unconfirmed: FrozenSet[str]  # digests newer than all that is confirmed, which one host alone serves


def others_of(known: Known, repository_id: str, place: str) -> Dict[str, str]:
    """Return the digests that are known of other repositories, each with such a repository's name in words."""
    here = (repository_id, place)
    return {sha256: _words(name, here) for name, digests in known.items() if not _is_same(name, here) for sha256 in digests}


def _words(name: Name, here: Name) -> str:
    """Return the id of another repository; of the same id elsewhere the place as well."""
    return name[0] if name[0] != here[0] else "{} of {}".format(*name)


def other_owner(sha256: str, repository_id: str, place: str, known: Known) -> str:
    """Tell whether a digest is another repository's, without asking anybody (rule 2).

    Args:
        sha256: of a repomd.xml.
        repository_id, place: whose it is said to be.
        known: ``State.known()``.

    Returns:
        The other repository in words; "" if none is known, or if this host knows the digest as this repository's, too: two
        repositories may be the same bytes, e.g. both empty.
    """
    here = (repository_id, place)
    if any(sha256 in digests for name, digests in known.items() if _is_same(name, here)):
        return ""
    return others_of(known, repository_id, place).get(sha256, "")


def _is_same(first: Name, second: Name) -> bool:
    """Whether two names are of one repository: one place under two ids, or an id with a base URL of the admin's own.

    The place of an id that has been on mirrors and on a server of the admin's own tells nothing about which release that was.
    """
    if first[0] == second[0] and any(not place or "://" in place for place in (first[1], second[1])):
        return True
    if not first[1] or not second[1]:
        return False
    return ("/" + first[1]).endswith("/" + second[1]) or ("/" + second[1]).endswith("/" + first[1])


def is_named(sha256: str, offers: Sequence[Offer], evidence: Evidence) -> bool:
    """Apply rule 1."""
    return sha256 in evidence.known or _is_said(sha256, offers, evidence)


def _is_said(sha256: str, offers: Sequence[Offer], evidence: Evidence) -> bool:
    """Whether it is named in this run."""
    return sha256 == evidence.named or any(
        offer.snapshot.sha256 == sha256 and offer.mirror.url in evidence.own for offer in offers)


def is_confirmed(sha256: str, offers: Sequence[Offer], evidence: Evidence) -> bool:
    """Apply rule 3."""
    return is_named(sha256, offers, evidence) or len(_hosts(sha256, offers)) > 1


def _hosts(sha256: str, offers: Sequence[Offer]) -> FrozenSet[str]:
    return frozenset(host_of(offer.mirror.url).rstrip(".") for offer in offers if offer.snapshot.sha256 == sha256)


def voices(offers: Sequence[Offer], evidence: Evidence) -> Dict[str, float]:
    """Count the voices for each digest that is offered or named; for rule 2, in the same run.

    Returns:
        How many hosts serve each; infinity for what is named.
    """
    digests = {offer.snapshot.sha256 for offer in offers} | {evidence.named} - {""}
    return {sha256: float("inf") if is_named(sha256, offers, evidence) else float(len(_hosts(sha256, offers)))
            for sha256 in digests}


def others_in_run(voices_of: Mapping[Name, Mapping[str, float]], name: Name) -> Dict[str, str]:
    """Return the digests that more voices say of another repository of the same run, each with such a repository's name.

    Args:
        voices_of: of each repository: what ``voices`` returns.
        name: of the one that is judged.
    """
    mine = voices_of.get(name, {})
    return {sha256: _words(other, name) for other, found in voices_of.items() if not _is_same(other, name)
            for sha256, count in found.items() if count > mine.get(sha256, 0.0)}


def owner_of(sha256: str, offers: Sequence[Offer], evidence: Evidence) -> str:
    """Apply rule 2: return the other repository in words, "" if it may be this one's."""
    return "" if is_named(sha256, offers, evidence) else evidence.others.get(sha256, "")


def sift(offers: Sequence[Offer], evidence: Evidence, accepted: Optional[Snapshot]) -> Sifted:
    """Apply rules 2 to 5.

    Args:
        offers: proven, of all mirrors that were asked.
        evidence: what else is said.
        accepted: the high-water mark of this host; None if it has none.

    Returns:
        The offers that may be chosen from; with a mark these can be older ones, or none at all.
    """
    refused = {}
    for offer in offers:
        other = owner_of(offer.snapshot.sha256, offers, evidence)
        if other:
            refused[offer.snapshot.sha256] = "it serves what this host knows as {}".format(other)
    mine = [offer for offer in offers if offer.snapshot.sha256 not in refused]
    confirmed = [offer.snapshot for offer in mine if is_confirmed(offer.snapshot.sha256, mine, evidence)]
    floor = max([snapshot.age_key for snapshot in confirmed + ([accepted] if accepted is not None else [])], default=None)
    digests = {snapshot.sha256 for snapshot in confirmed}
    doubtful = [offer.snapshot for offer in mine
                if floor is not None and offer.snapshot.sha256 not in digests and offer.snapshot.age_key >= floor]
    if any(offer.mirror.source == "origin" and offer.mirror.url in evidence.own for offer in mine):
        refused.update((each.sha256, "the origin does not know revision {}".format(each.revision)) for each in doubtful)
    gone = {each.sha256 for each in doubtful}
    return Sifted([offer for offer in mine if offer.snapshot.sha256 not in gone], refused, frozenset(gone - set(refused)))
