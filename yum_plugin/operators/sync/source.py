"""Where a mirror is synced from: what every kind of source can do, and what it is told meanwhile."""
import abc
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ...errors import MirrorsError
from .plan import Catalogue, Unit, Want


class OnProgress(NamedTuple):
    """Who wants to know. What is called before a step may end this process: that is how the tests kill it."""

    step: Callable[[str, str], None] = lambda name, detail: None  # before it: its name, and what it is about
    progress: Callable[[str, int, int], None] = lambda subject, done, total: None  # bytes; total 0: unknown


class SourceLimits(NamedTuple):
    """What a source may be asked for."""

    bytes_per_second: int = 0  # 0: as fast as it goes
    seconds: float = 24 * 3600.0  # of one transfer


class SyncSource(abc.ABC):
    """A source.

    Attributes:
        url: its address.
        lists: whether it can be listed; else only what something signed names is known of it.
    """

    url = ""
    lists = False

    def catalogue(self, excludes: Sequence[str], named: Sequence[str] = ()) -> Optional[Catalogue]:
        """List what is wanted, or everything.

        Args:
            excludes: patterns of what is not wanted.
            named: patterns of the folders that are; empty: all. More may be listed than they mean.

        Returns:
            What it has; None if it cannot be listed.

        Raises:
            FetchError: it could not be had.
        """
        return None

    def units(self, named: Sequence[str], known: Sequence[Unit]) -> List[Unit]:
        """Find repositories and folders with checksums where nothing can be listed.

        Args:
            named: folders that were asked for.
            known: those that DEST has.

        Raises:
            FetchError, UsageError: there are none.
        """
        return list(known)

    @abc.abstractmethod
    def fetch(self, wants: Mapping[str, Want], stage: str, told: OnProgress, lock: int) -> Dict[str, MirrorsError]:
        """Bring files into the stage, each below its path.

        Args:
            wants: by path.
            stage: the folder.
            told: progress.
            lock: a descriptor that a program which is started must inherit.

        Returns:
            Why a file is not there, as far as that is known; who calls looks for himself.

        Raises:
            FetchError: nothing could be had at all.
            UsageError: the disk, or this machine, cannot do it.
        """
