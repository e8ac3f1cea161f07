"""Which snapshot is current: the attacks on freshness, by name."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yum_plugin.errors import TrustError
from yum_plugin.trust.freshness import Offer, choose, duration, is_rollback, note_of, seconds_ahead

from .support.world import DAY, NOW, mirror, snapshot

A, B, C = mirror("a"), mirror("b"), mirror("c")
OLD, NEW = snapshot(1), snapshot(2)


def test_rollback_is_refused_even_if_every_mirror_agrees():
    with pytest.raises(TrustError) as refusal:
        choose([Offer(A, OLD), Offer(B, OLD), Offer(C, OLD)], NEW)
    assert refusal.value.reference == "rollback"
    assert "24 h older" in str(refusal.value) and "--accept-rollback" in str(refusal.value)


def test_the_accepted_snapshot_itself_is_no_rollback():
    assert choose([Offer(A, NEW)], NEW).usable == [A]


def test_the_accepted_snapshot_signed_again_earlier_but_of_the_same_bytes_is_no_rollback():
    assert choose([Offer(A, NEW._replace(signed_at=NEW.signed_at - 50))], NEW).usable == [A]


def test_other_bytes_of_the_same_age_are_a_rollback_only_if_signed_earlier():
    other = NEW._replace(sha256="e" * 64)
    assert choose([Offer(A, other)], NEW).snapshot == other
    with pytest.raises(TrustError):
        choose([Offer(A, other._replace(signed_at=NEW.signed_at - 1))], NEW)


# What was offered (data later, signed later than the accepted, in seconds) -> whether it is a rollback.
ORDER = {
    "newer": (60, 60, False), "data newer, signed earlier": (60, -60, False), "data newer, signed at once": (60, 0, False),
    "older": (-60, -60, True), "modifyrepo_c --remove: older data, newer signature": (-60, 60, False),
    "older data, signed in the same second": (-60, 0, False), "same data, signed earlier": (0, -60, True), "same data, signed later": (0, 60, False),
}


@pytest.mark.parametrize("name", sorted(ORDER))
def test_freshness_rule_3_a_rollback_is_older_by_its_data_and_by_its_signature(name):
    data, signed, rollback = ORDER[name]
    offered = NEW._replace(sha256="e" * 64, timestamp=NEW.timestamp + data, revision=NEW.timestamp + data, signed_at=NEW.signed_at + signed)
    assert is_rollback(offered, NEW) == rollback


def test_freshness_rule_2_what_its_owner_signed_later_is_newer_though_its_data_is_older():
    """modifyrepo_c --remove: without this a mirror with the state before it would hold every host back."""
    removed = NEW._replace(sha256="e" * 64, timestamp=NEW.timestamp - 60, signed_at=NEW.signed_at + 60)
    for accepted in (None, NEW, removed):
        assert choose([Offer(A, NEW), Offer(B, removed)], accepted) == (removed, [B], [(A, 0)])


def test_a_newer_snapshot_is_current_although_most_mirrors_still_serve_the_accepted_one():
    choice = choose([Offer(A, OLD), Offer(B, NEW), Offer(C, OLD)], OLD)
    assert (choice.snapshot, choice.usable) == (NEW, [B])
    assert choice.stale == [(A, DAY), (C, DAY)]


def test_a_high_revision_does_not_beat_a_newer_timestamp():
    """createrepo --revision sets any number; what yum and dnf compare is the data's timestamp."""
    assert choose([Offer(A, OLD._replace(revision=10**12)), Offer(B, NEW)], None).usable == [B]


def test_mirrors_keep_the_order_they_came_in():
    assert choose([Offer(B, NEW), Offer(C, OLD), Offer(A, NEW)], None).usable == [B, A]


@pytest.mark.parametrize("signed, dated, ahead", [
    (0, 0, 0), (DAY, DAY, 0), (-30 * DAY, -30 * DAY, 0), (DAY + 1, 0, DAY + 1), (0, DAY + 1, DAY + 1), (30 * DAY, 90 * DAY, 90 * DAY),
])
def test_freshness_rule_1_what_is_signed_or_dated_more_than_a_day_ahead_is_of_the_future(signed, dated, ahead):
    assert seconds_ahead(snapshot(1)._replace(signed_at=NOW + signed, timestamp=NOW + dated), NOW) == ahead


@pytest.mark.parametrize("named, max_age, now, note", [
    ("", 0, NOW, ""),
    (NEW.sha256, 0, NOW, ""),
    (OLD.sha256, 0, NOW, ""),  # seen, though stale: the redirector itself lags
    ("f" * 64, 0, NOW, "propagating"),
    ("", DAY, NEW.timestamp + DAY, ""),
    ("", DAY, NEW.timestamp + DAY + 1, "freeze"),
    ("f" * 64, DAY, NEW.timestamp + DAY + 1, "freeze"),
    ("", 0, NEW.timestamp + 9999 * DAY, ""),
])
def test_propagating_and_freeze_are_told_and_change_nothing(named, max_age, now, note):
    assert note_of(NEW, named, [NEW.sha256, OLD.sha256], max_age, now) == note


@pytest.mark.parametrize("seconds, words", [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"),
                                            (7200, "2 h"), (72 * 3600 - 1, "71 h"), (72 * 3600, "3 days"), (4 * DAY - 1, "3 days")])
def test_a_length_of_time_is_worded_in_an_honest_unit(seconds, words):
    assert duration(seconds) == words


# The same digest is the same file: it has one timestamp and one revision.
_SNAPSHOTS = st.builds(lambda a, b, c, d: snapshot(1)._replace(sha256="{}{}{}{}".format(a, b, c, d) * 16, timestamp=b, revision=c, signed_at=d),
                       st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


@given(st.lists(_SNAPSHOTS, min_size=1, max_size=6), st.none() | _SNAPSHOTS)
def test_what_is_chosen_is_never_older_than_any_offer_nor_than_the_mark(offered, accepted):
    offers = [Offer(mirror(str(number)), each) for number, each in enumerate(offered)]
    try:
        choice = choose(offers, accepted)
    except TrustError:
        assert accepted and all(is_rollback(each, accepted) for each in offered if each.age_key == max(o.age_key for o in offered))
        return
    assert all(choice.snapshot.age_key >= each.age_key for each in offered)
    assert not is_rollback(choice.snapshot, accepted)
    assert choice.usable and len(choice.usable) + len(choice.stale) == len(offers)
