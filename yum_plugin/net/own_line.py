"""Who was heard when in a download, and so whether silence is the mirrors' or the own line's (``stall.py`` rule 4). Pure."""
from typing import Dict, List, Optional, Tuple

from .stall import RateRules, is_outage

Silence = Tuple[int, str]  # the file's number and the mirror's URL of a try that ended without a sound


class OwnLine:
    """What has happened since a mirror was heard last."""

    def __init__(self) -> None:
        self._heard_at: Optional[float] = None
        self._silent: List[Silence] = []
        self._unanswered: Dict[int, List[str]] = {}  # by the file's number

    def heard(self, url: str, at: float) -> List[Silence]:
        """Note that a mirror has sent something.

        Args:
            url: of the mirror.
            at: monotonic seconds.

        Returns:
            The tries that the line was to blame for: this mirror had been silent, together with all that were asked.
        """
        if at <= (self._heard_at or 0.0):
            return []
        was_silent = url in [mirror for _, mirror in self._silent]
        line = self._silent if was_silent else []
        self._heard_at, self._silent = at, []
        self._unanswered.clear()
        return line

    def silent(self, number: int, url: str, answered: bool) -> None:
        """Note that a try has ended in silence, before an answer or after it."""
        self._silent.append((number, url))
        if not answered:
            self._unanswered.setdefault(number, []).append(url)

    def is_lost(self, mirrors: int) -> bool:
        """Whether all of so many mirrors have fallen silent after one of them was heard."""
        return self._heard_at is not None and len({url for _, url in self._silent}) == mirrors

    def unanswered(self, number: int, now: float, rules: RateRules) -> List[str]:
        """Return the mirrors that are to be asked again for a file, because the line is away; empty: it is not."""
        tries = self._unanswered.pop(number, [])
        heard_seconds = now - self._heard_at if self._heard_at is not None else None
        return tries if is_outage(heard_seconds, len(tries), rules) else []
