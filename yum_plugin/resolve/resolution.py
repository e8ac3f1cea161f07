"""What became of one repository: the one value that goes from the resolver to the bridge and to the commands."""
from typing import NamedTuple, Optional, Tuple

from ..errors import FetchError, MirrorsError, TrustError
from ..host.settings import Settings
from ..model import Mirror, MirrorList, Probe, Repository, Snapshot
from ..state.memory import Memory
from .candidates import Candidates

NO_CANDIDATES = Candidates(MirrorList(()), (), (), ())


class Rejection(NamedTuple):
    """A mirror that is not used, and why."""

    mirror: Mirror
    reference: str
    detail: str


class Resolution(NamedTuple):
    """Proven metadata and the mirrors that serve it, or the error that stands in its place."""

    repository: Repository
    snapshot: Optional[Snapshot] = None  # None exactly if there is an error
    error: Optional[MirrorsError] = None
    mirrors: Tuple[Mirror, ...] = ()  # proven to serve exactly the snapshot, best first
    rejected: Tuple[Rejection, ...] = ()
    note: str = ""  # "freeze", "propagating", "pinned", "single-voice", "unconfirmed", or nothing to note
    warnings: Tuple[str, ...] = ()  # for the admin, although the update goes on
    ahead: int = 0  # seconds that the snapshot is of the future (trust/freshness.py, rule 1)
    offsets: Tuple[float, ...] = ()  # seconds by which servers' clocks are ahead of this host's, for messages alone
    probes: Tuple[Probe, ...] = ()  # of all mirrors that answered or failed; empty if nobody was asked
    candidates: Candidates = NO_CANDIDATES
    memory: Memory = Memory()  # to be remembered
    local_folder: str = ""  # of a pinned snapshot: where its metadata lies on this disk
    stays: Optional[Snapshot] = None  # what this host has accepted, beside the error "unconfirmed": it may stay in use
    waits: bool = False  # nothing was proven: the last resolution is gone on with (refresh_policy.py, rule 6)
    unchanged: bool = False  # the redirector has named the digest of what the package manager's cache holds, and nothing is due

    def proven(self) -> Snapshot:
        """Return the snapshot.

        Raises:
            MirrorsError: the error that stands in its place.
        """
        if self.snapshot is None:
            raise self.error or MirrorsError("internal", "neither a snapshot nor an error")
        return self.snapshot


def is_refusal(error: MirrorsError, settings: Settings) -> bool:
    """Whether an error stops the package manager; any other leaves the repository as it was (fail open).

    Args:
        error: of a resolution.
        settings: on_unreachable decides for what could not be reached.
    """
    return isinstance(error, TrustError) or (isinstance(error, FetchError) and settings.on_unreachable == "abort")
