"""What one redirector is asked in one run, by which scheme, and what has come of it. Pure: the time comes in.

Anybody on the way can write what comes by plain http. Rules, in order:
    1. https is asked first, and what it says is never mixed with what comes by http.
    2. The http of the .repo file is asked as well if https cannot be reached, says nothing for a second (patience.py), or has
       no list.
    3. Whoever blocks https costs that time once in BLOCKED_RETRY_SECONDS: until then https is asked all the same, but nobody
       waits for it.
"""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..model import MirrorList
from ..sources.redirector import FORMS

BLOCKED_RETRY_SECONDS = 3600.0
# With these the redirector has answered, in a way that is of no use.
_REACHED = ("http-status", "bad-answer", "too-large", "truncated", "redirect-refused")


class Question(NamedTuple):
    """One request to a redirector."""

    form: str  # of sources/redirector.py
    root: str


class Dialogue:
    """The questions of one run and their answers.

    Args:
        roots: from ``redirector_roots``: https, then perhaps http.
        blocked: whether https was waited for in vain within BLOCKED_RETRY_SECONDS.
        blocked_seconds: how long it is waited for otherwise.
    """

    def __init__(self, roots: Sequence[str], blocked: bool, blocked_seconds: float) -> None:
        self.blocked = blocked
        self._wait_seconds = 0.0 if blocked else blocked_seconds
        self.asked: Dict[Question, float] = {}
        self._secure, self._plain = tuple(roots[:1]), tuple(roots[1:])
        self._lists: Dict[Question, Optional[MirrorList]] = {}  # None for what failed
        self._reached = False  # https has answered
        self._failed = False  # https cannot be reached
        self._turned = False  # http is asked as well

    def questions(self, form: str) -> List[Question]:
        """Return what is to be asked now to get a form of the list, or the digest."""
        return [Question(form, root) for root in self._secure + (self._plain if self._turned else ())]

    def more(self, now: float) -> List[Question]:
        """Return what is to be asked of http as well, once (rule 2)."""
        wants = self._failed or self.is_silent(now) or all(self._lists.get(each, 0) is None for each in self._secure_lists())
        if self._turned or not self._plain or not self.asked or not wants or any(self._of(self._secure).values()):
            return []
        self._turned = True
        return [Question(question.form, root) for question in self.asked for root in self._plain]

    def answered(self, question: Question, value: Optional[MirrorList], failure: str = "") -> None:
        """Record an answer; ``value`` is None for a digest, and for a failure with that reference."""
        if question.root in self._secure:
            self._reached = self._reached or not failure or failure in _REACHED
            self._failed = self._failed or bool(failure) and failure not in _REACHED
        if question.form in FORMS:
            self._lists[question] = value

    def is_over(self, form: str) -> bool:
        """Whether nothing more will come of a form, as far as is known now."""
        return self._turned or not self._plain or not self._failed

    def is_authenticated(self, question: Question) -> bool:
        """Whether an answer cannot have been written on the way."""
        return question.root in self._secure

    def lists(self) -> Dict[str, Optional[MirrorList]]:
        """Return the lists by form: those of https if there is any; None for what failed; missing is what is awaited."""
        secure = self._of(self._secure)
        if any(secure.values()) or not self._plain:
            return secure
        plain = self._of(self._plain)
        if not self._turned:
            return {}
        return {form: value for form, value in plain.items() if value is not None or secure.get(form, 0) is None}

    @property
    def listed_securely(self) -> bool:
        """Whether ``lists`` are those of https."""
        return any(self._of(self._secure).values())

    def is_silent(self, now: float) -> bool:
        """Whether https has had its time (rules 2 and 3)."""
        return not self._reached and not self._failed and bool(self.asked) and now >= self.silent_at()

    def silent_at(self) -> float:
        """Return when https has had its time."""
        return min(self.asked.values()) + self._wait_seconds

    def awaits_http(self, now: float, seconds: float) -> bool:
        """Whether http is still to have its time, since https has given no list."""
        asked = [at for question, at in self.asked.items() if question.root in self._plain]
        return bool(asked) and not self.listed_securely and now < max(asked) + seconds

    @property
    def may_turn(self) -> bool:
        """Whether time alone may make ``more`` return something."""
        return bool(self._plain) and not self._turned and not self._reached

    def blocked_at(self, before: float, now: float, steady: float) -> float:
        """Return since when https counts as blocked, seconds since 1970; 0: it is not."""
        if self._reached or self._failed or not self.asked:
            return 0.0 if self.asked else before
        return before if self.blocked else now if self.is_silent(steady) else before

    @property
    def reached(self) -> bool:
        """Whether the redirector has answered by https, or sent a list."""
        return self._reached or any(self._lists.values())

    def _secure_lists(self) -> List[Question]:
        return [Question(form, root) for form in FORMS for root in self._secure]

    def _of(self, roots: Tuple[str, ...]) -> Dict[str, Optional[MirrorList]]:
        return {question.form: value for question, value in self._lists.items() if question.root in roots}
