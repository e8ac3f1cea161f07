"""One file while it is fetched, in one part or several, which are written where they belong and checked in order."""
import threading
from typing import Any, Dict, List, Optional, Set, Tuple

from ..errors import FetchError, MirrorsError, TrustError
from .items import EARLIER, LEFT, Attempt, Item
from .partial_file import PartialFile
from .spans import Part, Spans


class FileDownload:
    """One item while it is fetched, perhaps by several transfers at once.

    Args:
        number: of the item in the caller's list.
        item: what to fetch.
        max_bytes: the limit if the size is not known.
    """

    def __init__(self, number: int, item: Item, max_bytes: int) -> None:
        self.number = number
        self.item = item
        self.max_bytes = max_bytes if item.size is None else item.size
        self.total = item.size  # bytes; as a mirror announces it if metadata does not
        self.partial = PartialFile(item.target)
        self.verdict: Any = None
        self.finished = False
        self.spans = Spans()
        self.parts = [Part(0, self.total)]  # what is missing, and what was completed since the start
        self.single_source = False  # after wrong bytes from several mirrors: each sends all of it, so that the bad one is found
        self.repairing = ""  # the mirror whose bytes others send again after wrong ones
        self.suspected: Optional[List[str]] = None  # whose bytes can be replaced next; None: nothing was wrong yet
        self.tries: Dict[str, int] = {}
        self.excluded: Set[str] = set()  # mirrors that are not asked for this file again
        self.switches = 0  # how often it went to another mirror after a silence
        self.attempts: List[Attempt] = []
        self.error: Optional[MirrorsError] = None  # the last one; a TrustError is not replaced by another kind
        self._checker: Any = None
        self._hashed = 0  # bytes from the start that the checker has seen
        self._lock = threading.RLock()

    @property
    def received(self) -> int:
        """Bytes in the partial file."""
        return self.spans.total()

    @property
    def in_parts(self) -> bool:
        """Whether a mirror that sends it from the start to its end is of no use."""
        return len(self.parts) > 1 or self.parts[0].bounded or bool(self.repairing)

    def unowned(self) -> Optional[Part]:
        """Return a part that nobody fetches."""
        with self._lock:
            free = [part for part in self.parts if not (part.owned or part.dropped)]
            idle = free[:1] if len(free) == len(self.parts) else []  # all has arrived: what is left is to check it
            return next(iter([part for part in free if not part.complete] + idle), None)

    def prepare(self, part: Part) -> None:
        """Start checking, with what an earlier run left: nothing is known of its origin, so it is hashed again."""
        with self._lock:
            if self._checker is not None:
                return
            self._checker = self.item.make_checker()
            if self.partial.size() > self.max_bytes:
                self.restart(part)
                return
            for start, end in self.partial.parts():
                self.spans.add(start, end, EARLIER)
            gaps = self.spans.gaps(self.total) or [(self.max_bytes, self.total)]
            part.position, part.end = gaps[0]
            part.bounded = len(gaps) > 1
            self.parts = [part] + [Part(start, end, end != self.total) for start, end in gaps[1:]]
            try:
                self.advance()
            except TrustError:
                self.restart(part)

    def discard(self) -> None:
        """Discard what has arrived."""
        with self._lock:
            self._begin_anew()
            self.partial.restart()
            self.spans = Spans()
            self.repairing, self.total = "", self.item.size
            self.parts = [Part(0, self.total)]

    def _begin_anew(self) -> None:
        self._refuse()
        self._hashed = 0

    def _refuse(self) -> None:
        """Let no transfer write or check any more."""
        for part in self.parts:
            part.dropped = True
        self._checker = None

    def _check(self, chunk: bytes) -> None:
        try:
            self._checker.update(chunk)
        except TrustError:
            self._refuse()
            raise
        self._hashed += len(chunk)

    def restart(self, part: Part) -> None:
        """Begin at byte 0, with one part, which is not dropped."""
        with self._lock:
            self.discard()
            part.position, part.end, part.bounded, part.dropped = 0, self.item.size, False, False
            self.parts = [part]
            self._checker = self.item.make_checker()

    def replace(self, origin: str) -> None:
        """Keep the bytes of all mirrors but one, and let others send those."""
        with self._lock:
            self._begin_anew()
            self.spans.remove(origin)
            self.repairing = origin
            self._checker = self.item.make_checker()
            self.parts = [Part(start, end, end != self.total) for start, end in self.spans.gaps(self.total)]

    def cut(self, part: Part, at: int) -> Optional[Part]:
        """Let the bytes from ``at`` on be a part of their own, and return it; None if the part has reached them."""
        with self._lock:
            if part.dropped or self._checker is None or part.end is None or not part.position < at < part.end:
                return None
            self.parts.append(Part(at, part.end, part.bounded))
            part.end, part.bounded = at, True
            return self.parts[-1]

    def forgive(self) -> None:
        """Blame no mirror for the last tries: the host's own line was away."""
        place = len(self.attempts)
        while place and self.attempts[place - 1].reference in ("timed-out", "unreachable"):
            place -= 1
            self.attempts[place] = self.attempts[place]._replace(reference=LEFT)

    def store(self, part: Part, chunk: bytes, origin: str) -> None:
        """Write and check the next bytes; raises TrustError, UsageError, or FetchError for endless data."""
        with self._lock:
            room = self.max_bytes - part.position if part.end is None else part.end - part.position
            if part.dropped or (room <= 0 and part.bounded):
                return
            if len(chunk) > room and not part.bounded:
                raise FetchError("too-large", "more than the {} bytes that the file has or may have".format(self.max_bytes))
            chunk, start = chunk[:room], part.position
            self.partial.write_at(start, chunk)
            part.position += len(chunk)
            self.spans.add(start, part.position, origin)
            if start == self._hashed:
                self._check(chunk)

    def advance(self) -> None:
        """Check what lies behind the checked bytes; a piece at a time, so that other transfers can write meanwhile."""
        while True:
            with self._lock:
                size = self.spans.end_from(self._hashed) - self._hashed
                chunk = self.partial.read_at(self._hashed, size) if size and self._checker is not None else b""
                if not chunk:
                    return
                self._check(chunk)

    def finish(self, part: Part) -> None:
        """If all has arrived, ask the checker for its verdict; only after a good one give the file its name."""
        if part.dropped:
            return
        self.advance()
        with self._lock:
            if part.dropped or self.finished or self._hashed != self.total:
                return
            try:
                self.verdict = self._checker.finish()
            except TrustError:
                self._refuse()
                raise
            self.partial.commit()
            self.finished = True

    def next_suspect(self) -> str:
        """Return the mirror whose bytes are to be replaced after wrong ones; "": none, the file must be begun anew."""
        origins = self.suspects()
        if EARLIER in origins or len(origins) < 2 or self.single_source or self.item.size is None:
            return ""
        if self.suspected is None:
            self.suspected = sorted(origins, key=self.spans.bytes_of)
        while self.suspected and self.suspected[0] not in origins:
            self.suspected.pop(0)
        return self.suspected.pop(0) if self.suspected else ""

    def suspects(self) -> Tuple[str, ...]:
        """Return the mirrors whose bytes the checker has seen."""
        return self.spans.origins(self._hashed)

    def end(self, keep: bool) -> None:
        """Close the partial file."""
        with self._lock:
            if keep and not self.finished and self._checker is not None:
                self.partial.note_parts(self.spans.extents())
            self._refuse()
            self.partial.end(keep)
