"""Which mirrors to ask, when to stop asking, and in which order to hand them over. Pure: the time comes in.

Rules of asking, in order:
    1. The first round is ``probe_mirrors`` candidates, in the order of ``rank_candidates``. If the redirector names a digest,
       a few stale neighbours cannot deceive us, and the round is staggered: only ``enough`` mirrors are asked at once, and
       as many more as are still missing each time that these have answered or had their time: a multiple of what answers
       took before (patience.py), and once one has come, of what that took. So nobody else is asked on a good day, even by a
       host that is far from every mirror. An answer older than what this host has accepted does not count: otherwise a few
       stale mirrors would turn what the others serve into a "rollback".
    2. Enough: ``enough`` mirrors agree on the newest digest, and one of them served the digest that the redirector names. The
       redirector's word counts as one of them, but two mirrors are needed in any case. If it names no digest, the other
       mirrors asked still get the hedge time to show something newer.
    3. If fewer than ``enough`` are good or pending, more are asked at once.
    4. The hedge time (what the best answer took, but 250 ms at least and a second at most) after the best answer, asking
       stops, so that dead mirrors cost nothing. Before that, another round is asked if only one mirror is good, or if nobody
       served the redirector's digest; the origin is asked if nobody has served it even then.
    5. If there is no good answer ``NO_ANSWER_SECONDS`` after the last round, or after the time of rule 1 if that is longer,
       another round is asked beside those that hang.
    6. The origin comes last: thousands of hosts must not all ask it.
    7. A newest snapshot that needs a second voice (trust/identity.py) is not enough. As long as nobody contradicts, one more
       mirror is asked. Where others have served something else, the origin is asked in place of more mirrors: it is the one
       that knows, and one small answer is all that it costs. It gets ``ORIGIN_SECONDS``; what it does not know does not count
       any more.
    8. Where only an unauthenticated list was heard (http), ``voices`` that it cannot have named are asked with the first round,
       and get ``ORIGIN_SECONDS`` whatever the others say: "nothing new" must not be the word of whoever is on the way.
"""
import math
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

from ..model import Mirror, Reach, Snapshot
from ..net.reach import name_refusal
from ..trust.freshness import Offer, is_rollback
from ..trust.identity import Evidence, is_confirmed
from ..util.urls import authority_of, host_of
from .patience import STAGGER

HEDGE_SECONDS = 0.25
MAX_HEDGE_SECONDS = 1.0
NO_ANSWER_SECONDS = 1.0
ORIGIN_SECONDS = 2.0  # for a second voice: TCP, TLS 1.2 and two files at 250 ms take 1.5
MAX_EXTRA_ROUNDS = 2
# Mirrors that are at most this much slower than the quickest count as equal: otherwise all hosts would use the quickest one.
EQUAL_FACTOR, EQUAL_SECONDS = 2.0, 0.05


OWN = "own"  # Mirror.source of a place of the admin's own that is typed before the redirector


class PollRules(NamedTuple):
    """The settings that bound the asking."""

    probe_mirrors: int
    enough: int
    everyone: bool = False  # no early stop
    stagger_seconds: float = STAGGER.least_seconds  # that the first mirrors have before more of them are asked


class _Good(NamedTuple):
    mirror: Mirror
    snapshot: Snapshot
    seconds: float
    at: float


class Poll:
    """The state of asking one repository's mirrors.

    Args:
        candidates: from ``rank_candidates``.
        origins: asked last.
        named_sha256: the digest that the redirector names; "" if none.
        rules: settings.
        accepted: the high-water mark of this host, if it has one.
        evidence: what else names a snapshot; by default only the digest does, and the origins.
        voices: heard in any case (rule 8).
    """

    def __init__(self, candidates: Sequence[Mirror], origins: Sequence[Mirror], named_sha256: str, rules: PollRules,
                 accepted: Optional[Snapshot] = None, evidence: Optional[Evidence] = None, voices: Sequence[Mirror] = ()) -> None:
        self._evidence = evidence or Evidence(named_sha256, frozenset(mirror.url for mirror in origins),
                                              frozenset([accepted.sha256] if accepted else []))
        self._voices = {mirror.url: mirror for mirror in voices}
        self._waiting = [mirror for mirror in candidates if mirror.url not in self._voices]
        self._origins = [mirror for mirror in origins if mirror.url not in self._voices]
        self._voices_until = 0.0
        self._named = named_sha256
        self._rules = rules
        self._enough = max(min(2, rules.enough), rules.enough - 1) if named_sha256 else rules.enough  # rule 2
        self._accepted = accepted
        self._pending: List[Mirror] = []
        self._good: List[_Good] = []
        self._last_round: Optional[float] = None
        self._asked = 0
        self._extra_rounds = 0

    def answered(self, mirror: Mirror, snapshot: Optional[Snapshot], seconds: float, now: float) -> None:
        """Record an outcome.

        Args:
            mirror: one that ``to_ask`` gave.
            snapshot: what it proved to serve; None for any failure.
            seconds: that the answer took.
            now: monotonic seconds.
        """
        self._pending.remove(mirror)
        if snapshot is not None and not is_rollback(snapshot, self._accepted):
            self._good.append(_Good(mirror, snapshot, seconds, now))
            if self._is_origin(mirror):
                self._good = [good for good in self._good
                              if good.snapshot.age_key <= snapshot.age_key or self._is_confirmed(good.snapshot)]

    def unconfirmed(self) -> Optional[Snapshot]:
        """Return the newest snapshot if it needs a second voice (rule 7)."""
        best = self._agreeing()[0].snapshot if self._good and not self._rules.everyone else None
        return best if best is not None and not self._is_confirmed(best) else None

    def _is_confirmed(self, snapshot: Snapshot) -> bool:
        return is_confirmed(snapshot.sha256, [Offer(good.mirror, good.snapshot) for good in self._good], self._evidence)

    def _is_contested(self) -> bool:
        """Whether others have served something else than a snapshot that needs a second voice."""
        return self.unconfirmed() is not None and len(self._agreeing()) < len(self._good)

    def _is_origin(self, mirror: Mirror) -> bool:
        return mirror.source == "origin" and mirror.url in self._evidence.own

    def to_ask(self, now: float) -> List[Mirror]:
        """Return the mirrors to ask now; they count as pending from here on."""
        wanted = self._wanted(now)
        batch = self._take(wanted, now) if wanted else []
        voices = list(self._voices.values()) if self._last_round is None else []
        if batch or voices:
            self._voices_until = self._voices_until or now + ORIGIN_SECONDS
            self._last_round = now
            self._pending += batch + voices
            self._asked += len(batch)
        return batch + voices

    def _awaits_voices(self, now: float) -> bool:
        """Whether somebody is still to be heard (rule 8)."""
        return now < self._voices_until and any(mirror.url in self._voices for mirror in self._pending)

    def _take(self, wanted: int, now: float) -> List[Mirror]:
        """Take the next candidates; the origins only if none is left, none is pending, and the origins could help (rule 6)."""
        batch: List[Mirror] = []
        if self._extra_rounds < MAX_EXTRA_ROUNDS and not (self._origins and self._is_contested()):
            batch, self._waiting = self._waiting[:wanted], self._waiting[wanted:]
        helpful = not self._good or not self._named_seen() or self.unconfirmed() is not None
        if not batch and helpful and (not self._pending or self._overdue(now)):
            batch, self._origins = self._origins, []
        return batch

    def _overdue(self, now: float) -> bool:
        """Whether the pending mirrors have had their time."""
        if self._good:
            return self._hedged(now)
        return self._last_round is not None and now >= self._last_round + self._no_answer_seconds()

    def _wanted(self, now: float) -> int:
        """How many more to ask: rules 1, 3, 4 and 5."""
        if self._last_round is None:
            return self._enough if self._held_back() else self._rules.probe_mirrors
        late = not self._pending or now >= self._last_round + self._stagger_seconds()
        agreeing = len(self._agreeing())
        if self._is_contested():
            return self._wanted_of_contested(now)
        enough = max(2, self._enough) if self.unconfirmed() is not None else self._enough
        if self._held_back() and late and not self._satisfied():
            missing = enough - agreeing
            return min(self._held_back(), missing) if missing > 0 else self._held_back()
        if agreeing + len(self._pending) < enough:
            return enough - agreeing
        if not self._good:
            return self._rules.probe_mirrors if self._overdue(now) else 0
        if self._wants_extra_round() and (not self._pending or self._overdue(now)):
            self._extra_rounds += 1
            return self._rules.probe_mirrors
        return 0

    def _wanted_of_contested(self, now: float) -> int:
        """How many to ask where the newest is contested (rule 7): the origin, and a last round if there is none."""
        if self._pending and not self._overdue(now):
            return 0
        if self._origins:
            return len(self._origins)
        if self._extra_rounds or any(self._is_origin(mirror) for mirror in self._pending):
            return 0
        self._extra_rounds += 1
        return self._rules.probe_mirrors

    def _stagger_seconds(self) -> float:
        """How long those asked last are waited for (rule 1): as soon as one has answered, by what that took."""
        if not self._good:
            return self._rules.stagger_seconds
        return min(self._rules.stagger_seconds, STAGGER.after(self._agreeing()[0].seconds))

    def _no_answer_seconds(self) -> float:
        return max(NO_ANSWER_SECONDS, self._rules.stagger_seconds)

    def _held_back(self) -> int:
        """How many mirrors of the first round are to be asked later (rule 1)."""
        left = min(self._rules.probe_mirrors - self._asked, len(self._waiting))
        at_once = self._enough - self._asked
        return max(0, left - max(0, at_once)) if self._named else 0

    def _wants_extra_round(self) -> bool:
        is_alone = self._extra_rounds < 1 and len(self._agreeing()) < 2 <= self._rules.enough
        is_needed = not self._named_seen() or self.unconfirmed() is not None
        return is_alone or (self._extra_rounds < MAX_EXTRA_ROUNDS and is_needed)

    def done(self, now: float) -> bool:
        """Whether to stop asking; call ``to_ask`` first, because it may have more to ask."""
        if not self._pending or self._rules.everyone or self._awaits_voices(now):
            return not self._pending
        if self._satisfied():
            return bool(self._named) or self._hedged(now)
        return bool(self._good) and self._hedged(now)

    def next_look(self, now: float) -> float:
        """Return the seconds after which time alone may change the answers of ``to_ask`` and ``done``."""
        if self._rules.everyone or not (self._good or self._waiting or self._origins):
            return self._no_answer_seconds()  # only an answer changes anything now
        last_round = self._last_round or now
        due = self._hedge_end() if self._good else last_round + self._no_answer_seconds()
        if self._held_back() and not self._is_contested():
            due = min(due, last_round + self._stagger_seconds())
        if due <= now and self._awaits_voices(now):
            due = self._voices_until
        return max(0.0, due - now)

    def _satisfied(self) -> bool:
        return len(self._agreeing()) >= self._enough and self._named_seen() and self.unconfirmed() is None

    def _named_seen(self) -> bool:
        """Whether the named digest was served, or the origin itself has said what is the newest."""
        return not self._named or any(good.snapshot.sha256 == self._named or self._is_origin(good.mirror) for good in self._good)

    def _agreeing(self) -> List[_Good]:
        if not self._good:
            return []
        best = max(self._good, key=lambda good: good.snapshot.age_key)
        return [good for good in self._good if good.snapshot.sha256 == best.snapshot.sha256]

    def _hedged(self, now: float) -> bool:
        return now >= self._hedge_end()

    def _hedge_end(self) -> float:
        first = self._agreeing()[0]
        begin = max(first.at, self._last_round or first.at)
        if self.unconfirmed() is not None and any(self._is_origin(mirror) for mirror in self._pending):
            return begin + ORIGIN_SECONDS
        return begin + min(MAX_HEDGE_SECONDS, max(HEDGE_SECONDS, first.seconds))


def rank_candidates(mirrors: Sequence[Mirror], prefer: Sequence[str], deny: Sequence[str],
                    quarantined: Sequence[str], allow_http: bool,
                    chance: Optional[Callable[[], float]] = None,
                    reach: Optional[Reach] = None) -> Tuple[List[Mirror], List[Tuple[Mirror, str]]]:
    """Order the mirrors of a list for asking: drawn by the redirector's weights, those without a weight behind in its order.

    Each host draws as mirrorbits would for it (mirrorbits http/selection.go), so that the hosts of one region spread their
    requests over the mirrors as the redirector intends. Without weights, the redirector's order is already such a draw.

    Args:
        mirrors: in the redirector's order.
        prefer: hosts or countries to ask first.
        deny: hosts or countries never to ask.
        quarantined: authorities (host:port) that failed lately: asked after all others.
        allow_http: whether plain http mirrors are used.
        chance: gives numbers from 0 to below 1; None: nothing is drawn.
        reach: what the admin has named, for mirrors that a list names; None: these are the admin's own.

    Returns:
        The candidates in order, and those left out with the reason in words.
    """
    candidates, left_out = [], []
    for mirror in mirrors:
        reason = _why_not(mirror, deny, allow_http, reach)
        if reason:
            left_out.append((mirror, reason))
        else:
            candidates.append(mirror)
    if chance is not None:
        candidates = drawn_by_weight(candidates, chance)
    candidates.sort(key=lambda mirror: (authority_of(mirror.url) in quarantined, not is_named(mirror, prefer)))
    return candidates, left_out


def drawn_by_weight(mirrors: Sequence[Mirror], chance: Callable[[], float]) -> List[Mirror]:
    """Draw mirrors one after another, each with its weight among those that are left; mirrors without a weight follow.

    By Efraimidis and Spirakis (2006): random waiting times with the weights as rates have the order of such draws.
    """
    weighted = sorted((mirror for mirror in mirrors if mirror.weight),
                   key=lambda mirror: -math.log(1.0 - chance()) / mirror.weight)
    return weighted + [mirror for mirror in mirrors if not mirror.weight]


def _why_not(mirror: Mirror, deny: Sequence[str], allow_http: bool, reach: Optional[Reach]) -> str:
    if is_named(mirror, deny):
        return "denied by the .conf"
    if mirror.excluded:
        return "excluded by the redirector: {}".format(mirror.excluded)
    if not allow_http and not mirror.url.startswith("https://"):
        return "no https, and require_https is on"
    return name_refusal(mirror.url, reach)


def is_named(mirror: Mirror, patterns: Sequence[str]) -> bool:
    """Whether a host name, host:port or country (either case) of ``patterns`` is the mirror's."""
    names = {host_of(mirror.url), authority_of(mirror.url), mirror.country.lower()}
    return any(pattern.lower() in names for pattern in patterns)


def order_proven(proven: Sequence[Tuple[Mirror, float]], prefer: Sequence[str]) -> List[Mirror]:
    """Order the mirrors that serve the current snapshot, best first.

    Args:
        proven: mirrors in the order of asking, with the seconds that first byte and sample took.
        prefer: hosts or countries that come first.

    Returns:
        The admin's own that were typed first, then preferred mirrors, then those equal to the quickest in the order of asking,
        then the rest by time; the origin last.
    """
    equal_seconds = EQUAL_FACTOR * min((seconds for _, seconds in proven), default=0.0) + EQUAL_SECONDS

    def key(item: Tuple[Mirror, float]) -> Any:
        mirror, seconds = item
        return (mirror.source == "origin", mirror.source != OWN, not is_named(mirror, prefer),
                seconds if seconds > equal_seconds else 0.0)

    return [mirror for mirror, _ in sorted(proven, key=key)]
