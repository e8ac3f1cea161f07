"""When a mirror that stalls or is slow is left for another one. Pure: times and byte counts come in.

Rules, in order:
    1. Silence: no byte for ``timeout_seconds`` ends the try. If another mirror has not been tried for this file yet, a
       shorter silence does: ``hedge_seconds``, doubled each time the file has switched mirrors for that reason, so that a
       host whose own line pauses soon waits for the full time-out; before the answer at least four times the delay that was
       measured for this mirror. Switching is cheap: the part that has arrived is kept. Where nothing else is left to do for a
       mirror that has answered in this download, four times the longest of those answers are enough, ``QUICK_HEDGE_SECONDS``
       at least: nobody waits for the last file of a mirror that is far away. That is no fault of the one that is left.
    2. Slowness: another mirror that may be asked was measured to send ``MUCH_FASTER`` times as fast, whatever both rates are,
       and the others would be done with all that is missing ``WORTH_SECONDS`` before this one is done with its rest. Before the
       window is full, it must be so by ``EARLY_DOUBT`` more. Or fewer than ``minrate`` bytes per second over
       ``WINDOW_SECONDS``, and another mirror was never measured and not tried for this file yet. If all mirrors are slow,
       the host's own line is the reason, and no mirror is left.
    3. Slow retrieval: fewer than a tenth of ``minrate`` over ``LONG_WINDOW_SECONDS`` ends the try even without another
       mirror: one that sends a byte now and then must not hold the host for ever (Cappos et al., "A Look in the Mirror:
       Attacks on Package Managers", 2008).
    4. The host's own line is away if somebody was heard in this download before, and since then every mirror that was asked
       kept silent. That is waited for ``OUTAGE_TIMEOUTS`` time-outs from the last byte on, as librepo asks four times, and
       no mirror is blamed. One that refuses, or sends an error, was heard. If the first one that is heard again had been
       silent, too, it was the line.
"""
import errno
import os
from collections import deque
from typing import Deque, NamedTuple, Optional, Tuple

from ..errors import FetchError

QUICK_HEDGE_SECONDS = 0.25  # rule 1; a lost packet of a mirror nearby
HEDGE_SECONDS = 0.7  # longer than two lost packets in a row (RFC 6298: 0.2 s on Linux, doubled), too short to annoy a person
ANSWER_FACTOR = 4.0  # rule 1
WINDOW_SECONDS = 0.5  # long enough to hold several round trips
LONG_WINDOW_SECONDS = 30.0  # as dnf's timeout: stock dnf would give up after it
MUCH_FASTER = 4.0  # rule 2; below that, leaving it is a guess about the next minute
WORTH_SECONDS = 0.5  # rule 2: a new connection and a lost packet
PAUSE_SECONDS = 0.25  # rule 2: whoever sends slowly sends something meanwhile
EARLY_DOUBT = 4.0  # rule 2: a new connection becomes so much faster, or more (slow start, RFC 5681 section 3.1)
TRICKLE_SHARE = 0.1  # of minrate, rule 3
OUTAGE_TIMEOUTS = 4  # rule 4
# what the system says of an address that cannot be reached; "Connection refused" is an answer
_SILENT = tuple(os.strerror(number) for number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ETIMEDOUT)) + (
    "Temporary failure in name resolution",)  # EAI_AGAIN


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
    remaining: Optional[int] = None  # bytes of what was asked for; None: not known
    others_seconds: float = 0.0  # that the others would need for all that is missing, the rest included
    idle_answer_seconds: float = 0.0  # the longest answer of others, one of which is idle; 0: there are none
    early_rate: float = 0.0  # bytes per second while the window is not full yet; 0: not known


def stop_reason(view: RateView, rules: RateRules) -> Optional[FetchError]:
    """Decide whether a try ends, by the rules of this module.

    Args:
        view: what is known of the try.
        rules: the settings.

    Returns:
        The reason as an error without ``where``, or None to go on.
    """
    if _is_outwaited(view):
        return FetchError("too-slow", "no answer for {:.1f} s".format(view.idle_seconds))
    if view.idle_seconds >= _idle_limit_seconds(view, rules):
        return FetchError("timed-out", "nothing arrived for {:.1f} s".format(view.idle_seconds))
    if view.rate is None and view.early_rate and _is_outdone(view, view.early_rate * EARLY_DOUBT):
        return FetchError("too-slow", "{:.0f} bytes per second".format(view.early_rate))
    if view.rate is not None and (_is_outdone(view, view.rate) or view.unmeasured and view.rate < rules.minrate):
        return FetchError("too-slow", "{:.0f} bytes per second".format(view.rate))
    if view.long_rate is not None and view.long_rate < rules.minrate * TRICKLE_SHARE:
        return FetchError("too-slow", "{:.0f} bytes per second for {:.0f} s".format(view.long_rate, LONG_WINDOW_SECONDS))
    return None


def _is_outdone(view: RateView, rate: float) -> bool:
    """Whether another mirror is several times as fast, and the rest large enough to matter."""
    if view.best_rate <= MUCH_FASTER * rate or view.idle_seconds > PAUSE_SECONDS or not rate:
        return False  # what pauses is judged by rule 1: it may be the host's own line
    return view.remaining is None or view.remaining / max(rate, 1.0) - view.others_seconds > WORTH_SECONDS


def _is_outwaited(view: RateView) -> bool:
    """Whether an idle mirror would probably have answered by now."""
    if view.answered or view.switches or not view.untried or not view.idle_answer_seconds:
        return False
    usual_seconds = max(view.idle_answer_seconds, view.answer_seconds)
    return view.idle_seconds >= max(QUICK_HEDGE_SECONDS, ANSWER_FACTOR * usual_seconds)


def is_outage(heard_seconds: Optional[float], unanswered: int, rules: RateRules) -> bool:
    """Apply rule 4 to a file that no mirror is left for.

    Args:
        heard_seconds: since anything came from any mirror; None: nothing in this download.
        unanswered: tries for the file since then that ended in silence.
        rules: the settings.
    """
    return unanswered > 0 and heard_seconds is not None and heard_seconds < OUTAGE_TIMEOUTS * rules.timeout_seconds


def is_silence(error: FetchError) -> bool:
    """Whether an error is what a line that is away looks like: no answer, no route, or no answer of the name server."""
    return error.reference == "timed-out" or error.reference == "unreachable" and error.what.startswith(_SILENT)


def _idle_limit_seconds(view: RateView, rules: RateRules) -> float:
    if not view.untried:
        return rules.timeout_seconds
    hedge = rules.hedge_seconds * (1 << min(view.switches, 16))
    if not view.answered:
        hedge = max(hedge, ANSWER_FACTOR * view.answer_seconds)
    return min(hedge, rules.timeout_seconds)
