"""When a mirror that stalls or is slow is left for another one. Pure: times and byte counts come in.

Rules, in order:
    1. Silence: no byte for ``timeout_seconds`` ends the try. If another mirror has not been tried for this file yet, a
       shorter silence does: ``hedge_seconds``, doubled each time the file has switched mirrors for that reason, so that a
       host whose own line pauses soon waits for the full time-out; before the answer at least four times the delay that was
       measured for this mirror. Switching is cheap: the part that has arrived is kept.
    2. Slowness: fewer than ``minrate`` bytes per second over ``WINDOW_SECONDS``, and another mirror was measured to send
       ten times as fast, or was never measured and not tried for this file yet. If all mirrors are slow, the host's own line
       is the reason, and no mirror is left.
    3. Slow retrieval: fewer than a tenth of ``minrate`` over ``LONG_WINDOW_SECONDS`` ends the try even without another
       mirror: one that sends a byte now and then must not hold the host for ever (Cappos et al., "A Look in the Mirror:
       Attacks on Package Managers", 2008).
"""
from collections import deque
from typing import Deque, NamedTuple, Optional, Tuple

from ..errors import FetchError

HEDGE_SECONDS = 0.7  # longer than two lost packets in a row (RFC 6298: 0.2 s on Linux, doubled), too short to annoy a person
ANSWER_FACTOR = 4.0  # rule 1
WINDOW_SECONDS = 0.5  # long enough to hold several round trips
LONG_WINDOW_SECONDS = 30.0  # as dnf's timeout: stock dnf would give up after it
MUCH_FASTER = 10.0  # rules 2 and 3


class RateRules(NamedTuple):
    """The settings that the rules use."""

    minrate: int  # bytes per second
    timeout_seconds: float
    hedge_seconds: float = HEDGE_SECONDS


class RateMeter:
    """Bytes per second over a sliding window.

    Args:
        now: monotonic seconds.
        total: bytes so far.
        window_seconds: how far it looks back.
    """

    def __init__(self, now: float, total: int, window_seconds: float) -> None:
        self._samples: Deque[Tuple[float, int]] = deque([(now, total)])
        self._window_seconds = window_seconds

    def note(self, now: float, total: int) -> None:
        """Take a sample; one sample at least as old as the window is kept."""
        self._samples.append((now, total))
        while self._samples[1][0] <= now - self._window_seconds:
            self._samples.popleft()

    def rate(self) -> Optional[float]:
        """Return the bytes per second of the window that ends at the last sample; None before it is full."""
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return (last - first) / (ended - began) if ended - began >= self._window_seconds else None


class RateView(NamedTuple):
    """What is known of a running try."""

    idle_seconds: float  # since it began to wait for the next bytes
    answered: bool  # the response's header has arrived
    rate: Optional[float]  # bytes per second over WINDOW_SECONDS
    long_rate: Optional[float]  # over LONG_WINDOW_SECONDS
    answer_seconds: float  # the measured delay of this mirror's answers; 0: unknown
    untried: bool  # there is another mirror that was not tried for this file
    unmeasured: bool  # and one of those was never measured
    best_rate: float  # bytes per second of the fastest other mirror that may be asked; 0: unknown
    switches: int  # how often this file has switched mirrors after a silence


def stop_reason(view: RateView, rules: RateRules) -> Optional[FetchError]:
    """Decide whether a try ends, by the rules of this module.

    Args:
        view: what is known of the try.
        rules: the settings.

    Returns:
        The reason as an error without ``where``, or None to go on.
    """
    if view.idle_seconds >= _idle_limit_seconds(view, rules):
        return FetchError("timed-out", "nothing arrived for {:.1f} s".format(view.idle_seconds))
    slow = view.rate is not None and view.rate < rules.minrate
    if slow and (view.unmeasured or view.best_rate > MUCH_FASTER * (view.rate or 0.0)):
        return FetchError("too-slow", "{:.0f} bytes per second".format(view.rate or 0.0))
    if view.long_rate is not None and view.long_rate < rules.minrate / MUCH_FASTER:
        return FetchError("too-slow", "{:.0f} bytes per second for {:.0f} s".format(view.long_rate, LONG_WINDOW_SECONDS))
    return None


def _idle_limit_seconds(view: RateView, rules: RateRules) -> float:
    if not view.untried:
        return rules.timeout_seconds
    hedge = rules.hedge_seconds * (1 << min(view.switches, 16))
    if not view.answered:
        hedge = max(hedge, ANSWER_FACTOR * view.answer_seconds)
    return min(hedge, rules.timeout_seconds)
