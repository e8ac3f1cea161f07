"""The failures of downloads: mirrors that failed are quarantined, so that the next request does not begin with them."""
from typing import Dict, Sequence

from ..errors import TrustError, UsageError
from ..model import Mirror, Probe
from ..net.transfer import Attempt
from ..util.urls import authority_of
from .history import Observation
from .memory import Decision, is_own_outage, judge_record, with_decision
from .store import State

_WORDS = {"packages": "a package", "metadata": "a file of metadata"}


def remember_failures(state: State, repository_id: str, about: str, attempts: Sequence[Attempt], now: int) -> None:
    """Put mirrors that failed into quarantine.

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
        if attempt.reference in UsageError.REFERENCES:  # a fault of this host and of no mirror
            continue
        if attempt.mirror not in worst or worst[attempt.mirror].reference not in TrustError.REFERENCES:
            worst[attempt.mirror] = attempt
    failed = {url: attempt for url, attempt in worst.items() if attempt.reference != "ok"}
    if not failed or is_own_outage([(url, attempt.reference) for url, attempt in worst.items()]):
        return
    memory = state.load(repository_id).memory
    records = dict(memory.records)
    for url, attempt in failed.items():
        probe = Probe(Mirror(url), attempt.reference, "{}: {}".format(_WORDS[about], attempt.what))
        records[url] = judge_record(records.get(url), probe, now)
    used = tuple(authority_of(url) for url, attempt in worst.items() if attempt.reference == "ok")
    rejected = tuple((authority_of(url), attempt.reference, attempt.what) for url, attempt in failed.items())
    decision = Decision(now, about, len(worst), used=used, rejected=rejected)
    state.update(repository_id, with_decision(memory._replace(records=records), decision))
    state.observe(repository_id, [Observation(now, url, attempt.reference, about) for url, attempt in failed.items()])
