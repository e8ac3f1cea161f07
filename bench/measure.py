"""What a measure is: stable names with units and goals, a function that takes samples, and their arithmetic. Pure."""
from statistics import median
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .stage import Stage

Samples = Dict[str, List[float]]  # by the name of the quantity


class Goal(NamedTuple):
    """A bound for the median."""

    number: float
    least: bool = False  # True: at least this much; False: at most

    def met(self, value: float) -> bool:
        """Whether a median is within the bound."""
        return value >= self.number if self.least else value <= self.number

    @property
    def words(self) -> str:
        """How results.json calls the bound."""
        return "at_least" if self.least else "at_most"


class Quantity(NamedTuple):
    """Something that is measured, under a name that stays."""

    name: str
    unit: str  # "" for a ratio or a count
    says: str  # one line for the reader of the table
    goal: Optional[Goal] = None
    why_no_goal: str = ""


class Measure(NamedTuple):
    """A function and what it measures.

    ``take(stage, runs, wanted)`` returns samples of each quantity in ``wanted`` (names; others may be there too).
    It raises MeasureError where what it timed did not do its work.
    """

    take: Callable[[Stage, int, Sequence[str]], Samples]
    quantities: Tuple[Quantity, ...]
    runs: int = 1  # a quick look always takes one


class Figure(NamedTuple):
    """What came out for one quantity."""

    quantity: Quantity
    median: float
    low: float
    high: float
    n: int

    @property
    def met(self) -> Optional[bool]:
        """Whether the goal is met; None if there is none."""
        return self.quantity.goal.met(self.median) if self.quantity.goal else None


def figure(quantity: Quantity, samples: Sequence[float]) -> Figure:
    """Sum samples up.

    Args:
        quantity: what they are of.
        samples: at least one.
    """
    return Figure(quantity, median(samples), min(samples), max(samples), len(samples))


def in_turn(runs: int, first: Callable[[], float], second: Callable[[], float]) -> Tuple[List[float], List[float]]:
    """Take two kinds of samples in turn, A B A B: what disturbs the machine for a while disturbs both."""
    pairs = [(first(), second()) for _ in range(runs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def differences(samples: Sequence[float], base: Sequence[float]) -> List[float]:
    """Return how much more each sample is than the one of ``base`` taken beside it."""
    return [sample - other for sample, other in zip(samples, base)]


def ratios(samples: Sequence[float], base: Sequence[float]) -> List[float]:
    """Return how many times the one of ``base`` taken beside it each sample is."""
    return [sample / other for sample, other in zip(samples, base)]
