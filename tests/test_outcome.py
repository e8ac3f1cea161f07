"""What the findings amount to: a resolution, or the error that names the attack."""
import pytest

from tests.support.findings import NEW, OLD, A, B, C, D, fetch, found, judged, trust
from tests.support.world import DAY, NOW
from tests.support.world import DEFAULTS as SETTINGS
from yum_plugin.errors import FetchError, TrustError, UsageError
from yum_plugin.model import Mirror
from yum_plugin.resolve.outcome import conclude
from yum_plugin.state.memory import Memory, Record


def test_bad_mirrors_before_and_after_good_ones_are_rejected_with_their_reasons():
    resolution = judged((A, trust("signature-invalid")), (B, NEW), (C, fetch("timed-out")), (D, NEW))
    assert resolution.error is None
    assert resolution.mirrors == (B, D)
    assert [(each.mirror, each.reference) for each in resolution.rejected] == [(A, "signature-invalid"), (C, "timed-out")]


def test_a_stale_mirror_is_rejected_and_its_lag_told():
    resolution = judged((A, OLD), (B, NEW))
    assert resolution.mirrors == (B,)
    assert [(each.mirror, each.reference, each.detail) for each in resolution.rejected] == [(A, "stale", "24 h behind")]
    assert resolution.memory.records[A.url].outcome == "stale" and resolution.memory.records[A.url].quarantined_until == 0


def test_rollback_is_refused_even_if_every_mirror_agrees():
    resolution = judged((A, OLD), (B, OLD), (C, OLD), accepted=NEW)
    assert resolution.snapshot is None and resolution.error.reference == "rollback"


def test_rollback_is_let_through_when_the_admin_says_so():
    resolution = judged((A, OLD), (B, OLD), accepted=NEW, accept_rollback=True)
    assert resolution.error is None and resolution.snapshot == OLD


def test_a_refused_rollback_does_not_replace_what_is_remembered_as_resolved():
    memory = Memory(snapshot=NEW, usable=(A.url,), resolved_at=5.0)
    resolution = judged((A, OLD), accepted=NEW, memory=memory)
    assert (resolution.memory.snapshot, resolution.memory.usable, resolution.memory.resolved_at) == (NEW, (A.url,), 5.0)


@pytest.mark.parametrize("results, reference", [
    ([(A, trust("signature-missing")), (B, trust("unknown-key"))], "signature-missing"),
    ([(A, fetch("timed-out")), (B, trust("unknown-key")), (C, trust("rollback"))], "unknown-key"),
])
def test_all_bad_the_first_distrust_in_the_order_of_asking_is_named(results, reference):
    error = judged(*results).error
    assert isinstance(error, TrustError) and error.reference == reference
    assert "none of {} mirrors".format(len(results)) in error.what and "what is wrong with it" in error.what


def test_all_bad_the_order_of_asking_counts_not_that_of_the_resolutions():
    findings = found((A, trust("signature-missing")), (B, trust("unknown-key")))
    findings.probes.reverse()
    findings.errors = dict(reversed(list(findings.errors.items())))
    assert conclude(findings, SETTINGS, NOW, False).error.reference == "signature-missing"


@pytest.mark.parametrize("reference", ["unknown-key", "key-revoked", "key-expired"])
def test_all_bad_and_one_by_another_key_or_a_dead_one_the_way_through_a_change_of_keys_is_named(reference):
    assert "key show" in judged((A, trust("signature-missing")), (B, trust(reference))).error.hint
    assert "key show" not in judged((A, trust("signature-missing")), (B, fetch("timed-out"))).error.hint


def test_all_unreachable_is_no_refusal():
    error = judged((A, fetch("http-status")), (B, fetch("timed-out"))).error
    assert isinstance(error, FetchError) and error.reference == "http-status"


def test_no_resolution_in_time_and_no_mirror_at_all_are_told_apart():
    assert judged((A, None), (B, None)).error.reference == "timed-out"
    assert judged().error.reference == "unreachable"


@pytest.mark.parametrize("results", [
    [(A, fetch("tls-expired")), (B, fetch("tls-expired"))],
    [(A, trust("signature-expired")), (B, fetch("tls-expired"))],
    [(A, fetch("tls-expired")), (B, trust("key-expired"))],
])
def test_a_clock_far_off_is_suggested_when_every_mirror_looks_wrong_in_time(results):
    assert "timedatectl" in str(judged(*results).error)


def test_a_clock_is_not_blamed_when_one_mirror_is_wrong_in_another_way():
    error = judged((A, fetch("tls-expired")), (B, fetch("timed-out"))).error
    assert "every mirror looks wrong in time" not in error.hint


@pytest.mark.parametrize("repository_id, note", [("xcp-ng-updates", "freeze"), ("xcp-ng-base", "")])
def test_freeze_is_told_but_never_for_the_base_repository_that_does_not_change(repository_id, note):
    later = NEW.timestamp + 31 * DAY
    settings = SETTINGS._replace(max_age=30 * DAY)
    assert judged((A, NEW), (B, NEW), now=later, repository_id=repository_id, settings=settings).note == note
    assert judged((A, NEW), (B, NEW), now=later, repository_id=repository_id).note == "", "by default age is no alarm"


def test_a_digest_that_the_redirector_names_and_nobody_serves_is_propagating():
    resolution = judged((A, NEW), (B, NEW), named="f" * 64)
    assert resolution.note == "propagating" and resolution.memory.note == "propagating"


def test_the_list_and_the_records_of_mirrors_not_asked_are_remembered_and_the_bytes_are_not():
    old = Record("timed-out", "", NOW - 60, 2, NOW + 3600, 0.0, None)
    gone = "https://gone.test/"
    memory = Memory(mirrors=(D,), records={D.url: old, gone: old})
    resolution = judged((A, NEW._replace(raw=b"x" * 3000)), (B, fetch("timed-out")), memory=memory)
    assert resolution.memory.mirrors == (A, B, C, D)
    assert resolution.memory.records[D.url] == old and gone not in resolution.memory.records
    assert resolution.memory.records[B.url].failures == 1
    assert resolution.memory.snapshot.raw == b"" and resolution.memory.usable == (A.url,)


def test_the_time_of_a_resolution_is_kept_to_the_fraction():
    """Else who waited for the lock takes it for older than his call, and asks the mirrors again."""
    assert judged((A, NEW), now=NOW + 0.75).memory.resolved_at == NOW + 0.75


def test_an_empty_list_does_not_replace_the_known_one():
    resolution = judged((A, NEW), memory=Memory(mirrors=(B, C)), listed=())
    assert resolution.memory.mirrors == (B, C)


def test_what_ended_the_job_early_is_the_resolution():
    findings = found((A, NEW))
    findings.error = UsageError("key-file", "the key cannot be read")
    resolution = conclude(findings, SETTINGS, NOW, False)
    assert resolution.error is findings.error and resolution.snapshot is None


def test_the_decision_is_remembered_with_its_reasons():
    left_out = Mirror("https://e.test/", excluded="Down")
    findings = found((A, NEW), (B, OLD), (C, fetch("timed-out")), (D, NEW))
    findings.candidates = findings.candidates._replace(left_out=((left_out, "excluded by the redirector: Down"),))
    (decision,) = conclude(findings, SETTINGS, NOW, False).memory.decisions
    assert (decision.at, decision.about, decision.asked, decision.revision) == (NOW, "metadata", 4, NEW.revision)
    assert sorted(decision.used) == ["a.test", "d.test"] and (decision.error, decision.more) == ("", 0)
    assert [(authority, reference) for authority, reference, _ in decision.rejected] == [
        ("b.test", "stale"), ("c.test", "timed-out"), ("e.test", "not-asked")]
    assert "behind" in decision.rejected[0][2] and "Down" in decision.rejected[2][2]


def test_a_refusal_is_a_decision_too_and_earlier_ones_stay():
    before = judged((A, NEW)).memory
    memory = judged((A, OLD), (B, fetch("unreachable")), accepted=NEW, memory=before).memory
    first, second = memory.decisions
    assert first == before.decisions[0] and second.error.startswith("rollback: ") and (second.revision, second.used) == (0, ())
    assert [each[:2] for each in second.rejected] == [("a.test", "rollback"), ("b.test", "unreachable")]
    assert len(judged((A, NEW), memory=memory).memory.decisions) == 3


def test_a_rollback_on_request_is_noted():
    assert judged((A, OLD), (B, OLD), accepted=NEW, accept_rollback=True).memory.decisions[0].note == "accept-rollback"
