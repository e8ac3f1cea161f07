"""Which bytes of a file have arrived, from which mirror, and which are missing. Pure."""
from typing import Iterator, List, NamedTuple, Optional, Tuple


class Span(NamedTuple):
    """Bytes of one mirror."""

    start: int
    end: int  # the byte behind the last one
    origin: str  # the mirror's URL


class Spans:
    """The parts of a file that have arrived; no two of them overlap."""

    def __init__(self) -> None:
        self._spans: List[Span] = []

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def add(self, start: int, end: int, origin: str) -> None:
        """Note that bytes have arrived."""
        for place, span in enumerate(self._spans):
            if span.end == start and span.origin == origin:
                self._spans[place] = span._replace(end=end)
                return
        self._spans.append(Span(start, end, origin))
        self._spans.sort()

    def remove(self, origin: str) -> None:
        """Forget the bytes of a mirror."""
        self._spans = [span for span in self._spans if span.origin != origin]

    def total(self) -> int:
        """Return how many bytes have arrived."""
        return sum(span.end - span.start for span in self._spans)

    def end_from(self, position: int) -> int:
        """Return the end of what has arrived without a gap from a position on."""
        for span in self._spans:
            if span.start <= position < span.end:
                position = span.end
        return position

    def extents(self) -> List[Tuple[int, int]]:
        """Return what has arrived, as start and end of each part without a gap."""
        found: List[Tuple[int, int]] = []
        for span in self._spans:
            joined = found and found[-1][1] == span.start
            found[-1:] = [(found[-1][0], span.end)] if joined else found[-1:] + [(span.start, span.end)]
        return found

    def origins(self, upto: Optional[int] = None) -> Tuple[str, ...]:
        """Return the mirrors in the order of their bytes; only those with a byte up to a position, if one is given."""
        return tuple(dict.fromkeys(span.origin for span in self._spans if upto is None or span.start <= upto))

    def bytes_of(self, origin: str) -> int:
        """Return how many bytes a mirror has sent."""
        return sum(span.end - span.start for span in self._spans if span.origin == origin)

    def gaps(self, total: Optional[int]) -> List[Tuple[int, Optional[int]]]:
        """Return what is missing, as start and end; the last end is None where the size of the file is not known."""
        found: List[Tuple[int, Optional[int]]] = []
        position = 0
        for span in self._spans:
            if span.start > position:
                found.append((position, span.start))
            position = span.end
        if total is None or position < total:
            found.append((position, total))
        return found


class Part:
    """Consecutive bytes of a file that one transfer at a time fetches.

    Args:
        start: the first byte.
        end: the byte behind the last one; None: the end of a file of unknown size.
        bounded: more of the file may follow, which this part's transfer does not want.
    """

    def __init__(self, start: int, end: Optional[int], bounded: bool = False) -> None:
        self.position = start  # of the next byte
        self.end = end
        self.bounded = bounded
        self.owned = False  # a transfer has it
        self.dropped = False  # its file was begun anew

    @property
    def complete(self) -> bool:
        """Whether all of it has arrived."""
        return self.end is not None and self.position >= self.end

    @property
    def missing(self) -> int:
        """How many bytes have not arrived; 0 if that is not known."""
        return max(0, self.end - self.position) if self.end is not None else 0
