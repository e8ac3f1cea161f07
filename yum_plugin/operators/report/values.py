"""The values of a report: repositories, and sites, which are mirrors with a finding for each of their repositories."""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, TrustError
from ...model import Mirror, Snapshot
from ...net.reachability import Reachability
from ...state.history import Observation

STATES = {  # of a mirror, with their meanings
    "ok": "serves the newest signed metadata",
    "stale": "well signed, but behind the newest",
    "failed": "gave no usable answer",
    "refused": "offers what the pinned key has not signed, or what is older than what this host has accepted",
    "excluded": "left out by the redirector",
    "denied": "left out by the settings of this host",
    "not asked": "nothing is known of it now",
}
SHOWN_ORDER = tuple(STATES)
LEFT_OUT = ("excluded", "denied", "not asked")
ORDER = ("refused", "failed", "stale") + LEFT_OUT + ("ok",)  # the worst first
MAX_SHOWN_OBSERVATIONS = 12  # in the table; the charts show all


class MirrorFinding(NamedTuple):
    """What is known of one repository on one mirror."""

    repository: str
    mirror: Mirror
    state: str  # of STATES
    reference: str = ""  # of errors.py
    detail: str = ""
    asked_at: Optional[int] = None  # seconds since 1970
    lag_seconds: Optional[int] = None
    first_byte_seconds: Optional[float] = None
    certificate_expires: Optional[int] = None  # seconds since 1970
    revision: Optional[int] = None  # of the signed metadata that it serves
    address: str = ""
    failures: int = 0  # in a row, until the last look that is remembered
    observations: Tuple[Observation, ...] = ()  # the oldest first


class MirrorSite(NamedTuple):
    """A mirror."""

    url: str  # its root; where that is not known, the repository's base
    authority: str  # host or host:port
    findings: Tuple[MirrorFinding, ...]  # at least one
    reachability: Reachability = Reachability()

    @property
    def worst(self) -> MirrorFinding:
        """The finding with the worst state."""
        return min(self.findings, key=lambda finding: ORDER.index(finding.state))

    @property
    def mirror(self) -> Mirror:
        """Name, country and rank."""
        return self.worst.mirror

    @property
    def lag_seconds(self) -> Optional[int]:
        """The largest lag; None if none is known."""
        return max((each.lag_seconds for each in self.findings if each.lag_seconds is not None), default=None)

    @property
    def first_byte_seconds(self) -> Optional[float]:
        """The slowest first byte; None if none came."""
        return max((each.first_byte_seconds for each in self.findings if each.first_byte_seconds is not None), default=None)

    @property
    def certificate_expires(self) -> Optional[int]:
        """The first end of a certificate; None if none was seen."""
        return min((each.certificate_expires for each in self.findings if each.certificate_expires is not None), default=None)

    @property
    def observations(self) -> List[Observation]:
        """Of all repositories, the oldest first."""
        return sorted((each for finding in self.findings for each in finding.observations), key=lambda each: each.at)


class RepositoryReport(NamedTuple):
    """A repository as a whole."""

    id: str
    current: Optional[Snapshot] = None  # the newest that is proven
    accepted: Optional[Snapshot] = None  # by this host
    error: str = ""  # "" if it can be updated
    reference: str = ""  # of the error
    remarks: Tuple[str, ...] = ()
    resolved_at: Optional[int] = None  # seconds since 1970: the last resolution that is remembered


class MirrorsReport(NamedTuple):
    """The whole report."""

    made_at: int  # seconds since 1970
    offline: bool  # only what is remembered
    version: str
    repositories: Tuple[RepositoryReport, ...]
    sites: Tuple[MirrorSite, ...]  # the worst first, then in the redirector's order

    def counts(self) -> Dict[str, int]:
        """Return how many sites are in each state, in the order of STATES."""
        return {state: sum(site.worst.state == state for site in self.sites) for state in ORDER}


def sites_of(findings: Sequence[Tuple[str, str, MirrorFinding]], reachability: Dict[str, Reachability]) -> Tuple[MirrorSite, ...]:
    """Group findings by mirror.

    Args:
        findings: with the mirror's root URL and its authority.
        reachability: by authority.

    Returns:
        The sites, the worst first, then in the redirector's order.
    """
    grouped: Dict[str, List[MirrorFinding]] = {}
    authorities: Dict[str, str] = {}
    for root, authority, finding in findings:
        grouped.setdefault(root, []).append(finding)
        authorities[root] = authority
    sites = [MirrorSite(root, authorities[root], tuple(found), reachability.get(authorities[root], Reachability()))
             for root, found in grouped.items()]
    return tuple(sorted(sites, key=lambda site: (ORDER.index(site.worst.state), site.mirror.rank or 10000, site.url)))


def state_of(outcome: str) -> str:
    """Return the state for the outcome of an observation."""
    if outcome in ("ok", "stale"):
        return outcome
    return "refused" if outcome in TrustError.REFERENCES else "failed"


def hint_of(reference: str) -> str:
    """Return how to fix a problem; "" if there is no hint."""
    return {**FetchError.REFERENCES, **TrustError.REFERENCES}.get(reference, "")
