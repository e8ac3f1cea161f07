"""The throughput of a mirror, from timed reads, compared with what the documentation asks for: 100 Mbit/s, better 1 Gbit/s.

One connection reads one part after another. The result is the speed of the slower line: the mirror's or the auditor's. So a slow
result proves nothing against the mirror unless another server was faster from the same machine.

Pure.
"""
from statistics import median
from typing import NamedTuple, Optional, Sequence

from ..facts import LEAST_BITS_PER_SECOND, WANTED_BITS_PER_SECOND

PAYLOAD_SHARE = 0.9  # of a line's nominal rate: headers of TCP, IP, Ethernet and TLS take 5 to 8 %
SKIPPED = 1  # samples at the start, while the congestion window still grows (RFC 5681 section 3.1, slow start)


class ThroughputSample(NamedTuple):
    """One timed read."""

    bytes: int
    seconds: float  # from the first byte of the body to its last


class Throughput(NamedTuple):
    """The result of all samples."""

    bits_per_second: float  # the median
    best: float  # bits per second
    samples: int

    @property
    def grade(self) -> str:
        """"fast", "enough" or "slow"."""
        if self.bits_per_second >= PAYLOAD_SHARE * WANTED_BITS_PER_SECOND:
            return "fast"
        return "enough" if self.bits_per_second >= PAYLOAD_SHARE * LEAST_BITS_PER_SECOND else "slow"


def measure(samples: Sequence[ThroughputSample]) -> Optional[Throughput]:
    """Judge samples.

    Args:
        samples: in the order of their times.

    Returns:
        The speed; None if nothing was read.
    """
    usable = [sample for sample in samples if sample.bytes and sample.seconds > 0]
    rates = [8 * sample.bytes / sample.seconds for sample in (usable[SKIPPED:] or usable)]
    return Throughput(median(rates), max(rates), len(rates)) if rates else None


def rate_words(bits_per_second: float) -> str:
    """Word a rate, e.g. "940 Mbit/s"."""
    for size, unit in ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s")):
        if bits_per_second >= size:
            return "{:.3g} {}".format(bits_per_second / size, unit)
    return "{:.0f} bit/s".format(bits_per_second)
