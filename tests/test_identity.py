"""Which repository a proven snapshot is of: the rules of trust/identity.py, without any network."""
import pytest

from yum_plugin.state.memory import Memory, SnapshotPin
from yum_plugin.state.store import State
from yum_plugin.trust.freshness import Offer
from yum_plugin.trust.identity import SINGLE_VOICE, Evidence, other_owner, others_of, sift

from .support.world import NOW, mirror, snapshot

OLD, NEW, NEWER, OTHER = snapshot(1), snapshot(2), snapshot(3), snapshot(50)
A, B, C = mirror("a"), mirror("b"), mirror("c")
ORIGIN = mirror("origin", source="origin")
OWN = frozenset([ORIGIN.url])
UPDATES, TESTING = "8/8.3/updates/x86_64/", "8/8.3/testing/x86_64/"
ID = "xcp-ng-updates"


def kept(offers, evidence=Evidence(own=OWN), accepted=None):
    """Sift, and return the digests that are left, refused and unconfirmed, by their snapshots."""
    sifted = sift([Offer(*each) for each in offers], evidence, accepted)
    names = {each.sha256: each for each in (OLD, NEW, NEWER, OTHER)}
    return ({offer.snapshot for offer in sifted.offers}, {names[each] for each in sifted.refused},
            {names[each] for each in sifted.unconfirmed})


@pytest.mark.parametrize("offers, evidence", [
    ([(A, NEWER)], Evidence(named=NEWER.sha256)),
    ([(ORIGIN, NEWER)], Evidence(own=OWN)),
    ([(A, NEWER), (ORIGIN, NEWER)], Evidence(own=OWN)),
    ([(A, NEWER)], Evidence(known=frozenset([NEWER.sha256]))),
    ([(A, NEWER)], Evidence(own=frozenset([A.url]))),
], ids=["the redirector", "the origin", "the origin too", "accepted before", "the admin's own baseurl"])
def test_identity_rule_1_what_is_named_needs_no_second_voice_and_may_be_another_repositorys_too(offers, evidence):
    known_elsewhere = evidence._replace(others={NEWER.sha256: "xcp-ng-base"})
    for each in (evidence, known_elsewhere):
        assert kept(offers, each, NEW) == ({NEWER}, set(), set())


def test_identity_rule_2_what_is_known_of_another_repository_is_refused_however_many_serve_it_and_however_old():
    evidence = Evidence(named=NEW.sha256, own=OWN, others={OTHER.sha256: "xcp-ng-testing", OLD.sha256: "xcp-ng-base"})
    assert kept([(A, OTHER), (B, OTHER), (C, OLD), (mirror("d"), NEW)], evidence, NEW) == ({NEW}, {OTHER, OLD}, set())


@pytest.mark.parametrize("first, second, confirmed", [
    (A, B, True),
    (A, mirror("a")._replace(url="https://a.test/other/"), False),
    (A, mirror("a")._replace(url="https://a.test:8443/"), False),
    (A, mirror("a")._replace(url="http://a.test/"), False),
    (A, mirror("a")._replace(url="https://A.test./"), False),
], ids=["another host", "another path", "another port", "another scheme", "the same name in full"])
def test_identity_rule_3_a_second_voice_is_another_host_and_not_another_url_of_the_same(first, second, confirmed):
    offers = [(first, NEWER), (second, NEWER), (C, NEW)]
    evidence = Evidence(known=frozenset([NEW.sha256]))
    assert kept(offers, evidence, NEW) == (({NEWER, NEW}, set(), set()) if confirmed else ({NEW}, set(), {NEWER}))


def test_identity_rule_3_a_listed_fallback_that_calls_itself_the_origin_is_no_more_than_a_mirror():
    claimed = mirror("evil", source="origin")
    assert kept([(claimed, NEWER), (A, NEW)], Evidence(own=OWN, known=frozenset([NEW.sha256])), NEW) == ({NEW}, set(), {NEWER})


def test_identity_rule_3_an_older_one_that_is_served_alone_is_only_behind():
    assert kept([(A, OLD), (B, NEW)], Evidence(known=frozenset([NEW.sha256])), NEW) == ({OLD, NEW}, set(), set())


def test_identity_rule_4_what_the_origin_does_not_know_is_another_repositorys():
    assert kept([(A, NEWER), (ORIGIN, NEW)], accepted=NEW) == ({NEW}, {NEWER}, set())


def test_identity_rule_5_on_first_contact_a_single_voice_is_used_unless_something_else_is_confirmed():
    assert kept([(A, NEWER)]) == ({NEWER}, set(), set())
    assert kept([(A, NEWER), (B, NEW), (C, NEW)]) == ({NEW}, set(), {NEWER})


# What a host knows.


@pytest.mark.parametrize("name, place, owner", [
    ("xcp-ng-testing", TESTING, "xcp-ng-testing"),
    ("xcp-ng-testing", "", "xcp-ng-testing"),
    (ID, "8/8.2/updates/x86_64/", ID + " of 8/8.2/updates/x86_64/"),
    (ID, UPDATES, ""),
    (ID, "", ""),
    ("my-updates", UPDATES, ""),
    ("my-updates", "https://near.test/xcp/" + UPDATES, ""),
    (ID, "file:///var/local/xcp-ng-repos/updates/", ""),
], ids=["another repository", "one of a version without places", "another release", "this one", "this one without a place",
        "the same place under another id", "the same place on a server of the admin's", "the admin's own copy"])
def test_other_owner_says_whose_a_digest_is(name, place, owner):
    assert other_owner(NEW.sha256, ID, UPDATES, {(name, place): {NEW.sha256}}) == owner


def test_what_this_host_knows_as_this_repositorys_too_is_not_another_ones():
    known = {(ID, UPDATES): {NEW.sha256}, ("xcp-ng-base", "8/8.3/base/x86_64/"): {NEW.sha256}}
    assert other_owner(NEW.sha256, ID, UPDATES, known) == ""
    assert others_of(known, ID, UPDATES) == {NEW.sha256: "xcp-ng-base"}


def test_the_state_knows_marks_of_every_place_resolutions_and_pins_but_no_single_voice(tmp_path):
    state = State(str(tmp_path / "state"))
    state.update("base", accepted=OLD, place="x/")
    state.update("base", accepted=NEW, place="y/")
    state.update("testing", Memory(snapshot=NEWER, place="t/"))
    state.update("heard", Memory(snapshot=OTHER, place="h/", note=SINGLE_VOICE))
    state.write_pin("pinned", SnapshotPin(OLD, NOW, NOW, "p/"))
    (tmp_path / "state" / "no repository").mkdir()
    assert state.known() == {("base", "x/"): {OLD.sha256}, ("base", "y/"): {NEW.sha256}, ("testing", "t/"): {NEWER.sha256},
                             ("pinned", "p/"): {OLD.sha256}}
    assert State(str(tmp_path / "nothing")).known() == {}
