"""How long a server is waited for before somebody else is asked as well: by what such answers have taken. Pure.

A host in Sydney is 250 ms from most mirrors, and needs five or six round trips for one of them (TCP, TLS 1.2, two or three
files). With fixed times it would ask twice as many volunteers as a host in Paris on every good day. Rules, in order:
    1. A wait is a multiple of what an answer took: the redirector's for its own; for mirrors that of the mirrors which this host
       has asked before, or else the redirector's.
    2. No wait is shorter than its floor, because short times vary; none is longer than its limit, because many dead servers
       in a row must not use up the deadline.
    3. Where nothing is known, everybody is taken for far away: waiting costs something only where a server is dead.
    4. What took longer than what is remembered is remembered at once, and what took less by a quarter: on a connection that
       was kept it is a third of the time. A redirector that is given up has taken as long as it was waited for.
"""
from typing import NamedTuple

from ..state.memory import Memory

FAR_SECONDS = 1.0  # of an answer from the other side of the world: TCP, TLS 1.2 and a request at 250 ms
QUICKER_SHARE = 0.25  # of a quicker answer in what is remembered
MOST_KNOWN_SECONDS = 3600.0  # in a damaged memory there may be any number


class Wait(NamedTuple):
    """How one wait follows from what an answer took."""

    least_seconds: float
    factor: float
    most_seconds: float

    def after(self, seconds: float) -> float:
        """Apply rules 1 and 2."""
        return min(self.most_seconds, max(self.least_seconds, self.factor * seconds))


# For the list page before the selection is asked for too: mirrorbits needs a tenth of a second for a page of 200 mirrors.
OTHER_FORM = Wait(0.25, 1.5, 1.5)
# For a list if an older one is at hand: a lost SYN is sent again after a second (RFC 6298). The selection is in time as well.
LIST = Wait(1.0, 2.0, 2.0)
# For https before http is asked as well: what is blocked costs a second more than a good day. Nothing is known: near is assumed,
# for http is asked beside https, not in place of it.
BLOCKED = Wait(1.0, 1.5, 2.0)
# For the first mirrors before more are asked: on the same continent they need 0.3 s for TLS and three requests. Three such
# waits and an answer from far away fit into the default deadline.
STAGGER = Wait(0.3, 2.5, 1.75)


class Patience(NamedTuple):
    """The waits of one repository, in seconds."""

    other_form_seconds: float
    list_seconds: float
    stagger_seconds: float
    blocked_seconds: float


def patience_of(memory: Memory, answer_seconds: float = 0.0) -> Patience:
    """Apply rules 1 to 3.

    Args:
        memory: what the redirector and the mirrors took before.
        answer_seconds: what the redirector has taken in this run; 0: it has not answered yet.
    """
    redirector = _known(answer_seconds) or _known(memory.answer_seconds) or FAR_SECONDS
    mirror = _usual_seconds(memory) or redirector
    return Patience(OTHER_FORM.after(redirector), LIST.after(redirector), STAGGER.after(mirror),
                    BLOCKED.after(_known(memory.answer_seconds)))


def remembered_seconds(before: float, seconds: float) -> float:
    """Return what is remembered after an answer of the redirector (rule 4).

    Args:
        before: what was remembered; 0: nothing.
        seconds: that the answer took; 0: it was not asked, or refused to answer.
    """
    before, seconds = _known(before), _known(seconds)
    if not before or not seconds or seconds > before:
        return seconds or before
    return before + QUICKER_SHARE * (seconds - before)


def _usual_seconds(memory: Memory) -> float:
    """Return the median of what the mirrors took that answered when they were asked last; 0 if none did."""
    found = sorted(record.seconds for record in memory.records.values() if record.failures == 0)
    return _known(found[len(found) // 2]) if found else 0.0


def _known(seconds: float) -> float:
    """Return a time that an answer may take; 0 for any other number."""
    return seconds if 0.0 < seconds < MOST_KNOWN_SECONDS else 0.0
