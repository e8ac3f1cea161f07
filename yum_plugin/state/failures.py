"""The results of downloads: mirrors that failed are quarantined, so that the next request does not begin with them, and how
fast the others were is remembered.
"""
from typing import Dict, Sequence

from ..errors import TrustError, UsageError
from ..model import Mirror, Probe
from ..net.items import LEFT, Attempt
from ..util.urls import authority_of
from .history import Observation
from .memory import Decision, is_own_outage, judge_record, with_decision, with_rates
from .store import State

TELLING_BYTES = 256 * 1024  # of a try that says how fast a mirror is; a shorter one is mostly the answer's delay
_WORDS = {"packages": "a package", "metadata": "a file of metadata"}


def remember_failures(state: State, repository_id: str, about: str, attempts: Sequence[Attempt], now: int) -> None:
    """Put mirrors that failed into quarantine, and remember rates.

    Args:
        state: where mirrors are remembered; the caller holds its lock.
        repository_id: of the repository that the mirrors serve.
        about: "packages" or "metadata".
        attempts: of all its downloads.
        now: seconds since 1970.

    Raises:
        UsageError: state: it could not be written.
    """
    worst: Dict[str, Attempt] = {}
    for attempt in attempts:
        if attempt.reference in UsageError.REFERENCES or attempt.reference == LEFT:  # a fault of this host and of no mirror
            continue
        if attempt.mirror not in worst or worst[attempt.mirror].reference not in TrustError.REFERENCES:
            worst[attempt.mirror] = attempt
    failed = {url: attempt for url, attempt in worst.items() if attempt.reference != "ok"}
    if is_own_outage([(url, attempt.reference) for url, attempt in worst.items()]):
        failed = {}
    rates = {attempt.mirror: attempt.rate for attempt in attempts
             if attempt.rate and (attempt.bytes >= TELLING_BYTES or attempt.reference in (LEFT, "too-slow"))}
    if not failed and not rates:
        return
    known = state.load(repository_id).memory
    memory = with_rates(known, rates, now)
    if not failed:
        if memory is not known:
            state.update(repository_id, memory)
        return
    records = dict(memory.records)
    for url, attempt in failed.items():
        probe = Probe(Mirror(url), attempt.reference, "{}: {}".format(_WORDS[about], attempt.what))
        records[url] = judge_record(records.get(url), probe, now)
    used = tuple(authority_of(url) for url, attempt in worst.items() if attempt.reference == "ok")
    rejected = tuple((authority_of(url), attempt.reference, attempt.what) for url, attempt in failed.items())
    decision = Decision(now, about, len(worst), used=used, rejected=rejected)
    state.update(repository_id, with_decision(memory._replace(records=records), decision))
    state.observe(repository_id, [Observation(now, url, attempt.reference, about) for url, attempt in failed.items()])
