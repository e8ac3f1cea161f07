"""Where a mirror is synced from: the interface of every kind of source, and its callbacks for progress."""
import abc
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ...errors import MirrorsError
from .plan import Catalogue, Unit, Want


class OnProgress(NamedTuple):
    """Callbacks for progress. ``step`` may end the process: that is how the tests kill a sync at every step."""

    step: Callable[[str, str], None] = lambda name, detail: None  # called before each step: its name, and a detail
    progress: Callable[[str, int, int], None] = lambda subject, done, total: None  # bytes; total 0: unknown


class SourceLimits(NamedTuple):
    """Limits of a source."""

    bytes_per_second: int = 0  # 0: no limit
    seconds: float = 24 * 3600.0  # of one transfer


class SyncSource(abc.ABC):
    """A source.

    Attributes:
        url: its address.
        lists: whether it can be listed; otherwise only the files are known that something signed names.
    """

    url = ""
    lists = False

    def catalogue(self, excludes: Sequence[str], named: Sequence[str] = ()) -> Optional[Catalogue]:
        """List the wanted folders, or everything.

        Args:
            excludes: patterns of what is ignored.
            named: patterns of the wanted folders; empty: all. More may be listed than they match.

        Returns:
            What it has; None if it cannot be listed.

        Raises:
            FetchError: it could not be listed.
        """
        return None

    def units(self, named: Sequence[str], known: Sequence[Unit]) -> List[Unit]:
        """Find repositories and folders with checksums where nothing can be listed.

        Args:
            named: folders of the command line.
            known: those that DEST has.

        Raises:
            FetchError, UsageError: there are none.
        """
        return list(known)

    @abc.abstractmethod
    def fetch(self, wants: Mapping[str, Want], stage: str, on_progress: OnProgress, lock: int) -> Dict[str, MirrorsError]:
        """Fetch files into the stage, each below its path.

        Args:
            wants: by path.
            stage: the folder.
            on_progress: progress.
            lock: DEST's, a descriptor that every child process must inherit.

        Returns:
            Why files are missing, as far as that is known; the caller checks which ones are.

        Raises:
            FetchError: nothing could be fetched at all.
            UsageError: the disk, or this machine, cannot do it.
        """
