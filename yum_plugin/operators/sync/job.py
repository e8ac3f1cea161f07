"""What a sync is told to do, and with what."""
from typing import NamedTuple, Optional, Sequence, Tuple

from ...trust.keys import PublicKey
from .destination import Destination
from .file_cache import FileCache
from .identity import SecondVoice
from .plan import DeletionLimits
from .source import OnProgress, SyncSource
from .survey import Selection


class SyncOptions(NamedTuple):
    """What the command line asks for."""

    repos: Tuple[str, ...] = ()  # as in Selection
    unsigned: Tuple[str, ...] = ()
    excludes: Tuple[str, ...] = ()
    includes: Tuple[str, ...] = ()
    deletion_limits: DeletionLimits = DeletionLimits()
    accept_rollback: bool = False
    accepted: Tuple[str, ...] = ()  # folders of units where the source is believed without anybody else (identity.py)
    dry_run: bool = False
    verify_all: bool = False  # read every file that something signed names

    @property
    def selection(self) -> Selection:
        """What is selected of the source."""
        return Selection(self.repos, self.unsigned, self.excludes, self.includes)


class TrustContext(NamedTuple):
    """What signatures are verified against."""

    keys: Sequence[PublicKey]
    now: int  # seconds since 1970
    second_voice: Optional[SecondVoice] = None


class SyncJob(NamedTuple):
    """Everything that a sync needs."""

    source: SyncSource
    destination: Destination  # DEST
    file_cache: FileCache  # of DEST
    options: SyncOptions
    trust: TrustContext
    on_progress: OnProgress = OnProgress()
