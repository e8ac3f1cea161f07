"""No silent freeze: what a list that anybody can forge may hide, and for how long. On the simulator (tests/simulator.py).

The attacker is on the way between the host and the redirector: https is blocked, and the http list names two mirrors of the
attacker's own, which serve what is old and rightly signed.
"""
import pytest

from tests.support.world import DAY
from yum_plugin.resolve.dialogue import Dialogue, Question
from yum_plugin.resolve.patience import BLOCKED
from yum_plugin.resolve.selection import ORIGIN_SECONDS
from yum_plugin.sources.redirector import DIGEST, FORMS, PAGE, SELECTION

from .simulator import PUBLISHED, Simulator, signed

NEW = PUBLISHED
DUE_HOURS = 7.0  # after metadata_expire
HONEST = ["m1", "m2", "m3", "m4"]
HTTPS, HTTP = "https://r.test/", "http://r.test/"


@pytest.fixture
def host(tmp_path):
    """A host that has taken NEW from four mirrors that the redirector named by https."""
    sim = Simulator(tmp_path)
    sim.add_many(4)
    sim.update()
    return sim


def attack(sim, how="mute", published=True):
    """Begin the attack, and publish something new that is to be hidden."""
    sim.redirector.secure_fault = how
    sim.change(*HONEST, listed=False)
    for name in ("evil1", "evil2"):
        sim.add(name, version=NEW)
    sim.redirector.digest = signed("updates", NEW).sha256
    sim.version += published


def test_refresh_policy_rule_5_a_forged_list_with_the_old_digest_hides_nothing_from_an_installing_command(host):
    attack(host)
    outcome = host.refresh(host.repository(installs=True))
    assert outcome.version == NEW + 1 and set(outcome.mirrors) <= set(HONEST) | {"origin"}


@pytest.mark.parametrize("how", ["mute", "refused"])
def test_selection_rule_8_a_freeze_by_a_forged_list_ends_when_a_mirror_is_due(how, host):
    attack(host, how)
    host.later(hours=DUE_HOURS)
    outcome = host.refresh()
    assert outcome.version == NEW + 1 and outcome.warnings == []
    assert "origin" in host.asked and len(set(HONEST) & set(host.asked)) == 2


def test_selection_rule_8_on_first_contact_the_origin_is_heard(tmp_path):
    sim = Simulator(tmp_path)
    sim.add_many(4)
    attack(sim)
    assert sim.refresh().version == NEW + 1 and "origin" in sim.asked


def test_selection_rule_8_voices_that_are_silent_cost_two_seconds_and_no_more(host):
    attack(host, "refused")
    host.change(*HONEST, fault="mute")
    host.origin.fault = "mute"
    host.later(hours=DUE_HOURS)
    outcome = host.refresh()
    assert outcome.version == NEW and ORIGIN_SECONDS <= host.took_seconds < ORIGIN_SECONDS + 0.3


def test_an_http_list_does_not_displace_the_one_that_https_named(host):
    before = host.memory().mirrors
    attack(host)
    for _ in range(5):
        host.later(hours=DUE_HOURS)
        host.update()
        assert [mirror.url for mirror in host.memory().mirrors] == [mirror.url for mirror in before]
    assert host.memory().listed_securely
    host.redirector.secure_fault = ""
    host.later(hours=DUE_HOURS)
    host.update()
    assert "evil1" in str(host.memory().mirrors), "what https says counts again"


def test_a_host_that_never_had_https_keeps_the_http_list(tmp_path):
    sim = Simulator(tmp_path)
    sim.redirector.http_only = True
    sim.add_many(3)
    sim.update()
    sim.add("later")
    sim.later(hours=DUE_HOURS)
    sim.update()
    assert "later" in str(sim.memory().mirrors) and not sim.memory().listed_securely
    assert sim.memory().unauthenticated_since == 0, "the origin was heard by https"


# The time that is lost.


@pytest.mark.parametrize("command", [dict(), dict(installs=True)])
def test_dialogue_rule_3_a_blocked_https_costs_a_second_once_an_hour(command, host):
    attack(host, published=False)
    waits = []
    for _ in range(8):
        host.refresh(host.repository(**command))
        waits.append(max(0.0, max(request.at for request in host.requests if request.server == "redirector") - host.began_at))
        host.later(hours=0.25)
    slow = [number for number, wait in enumerate(waits) if wait > 0.3]
    assert slow in ([0, 4], [0, 5]) and max(waits) <= BLOCKED.least_seconds + 0.01


def test_dialogue_rule_3_an_https_that_answers_again_is_noticed_at_once(host):
    attack(host, published=False)
    host.refresh(host.repository(installs=True))
    assert host.memory().blocked_at
    host.redirector.secure_fault = ""
    host.later(hours=0.25)
    host.refresh(host.repository(installs=True))
    assert host.memory().blocked_at == 0


def test_dialogue_rule_3_a_host_with_an_https_baseurl_only_does_not_wait_again_either(host):
    host.redirector.fault = "mute"
    urls = tuple(url.replace("http:", "https:") for url in host.repository().base_urls)
    host.refresh(host.repository(base_urls=urls, installs=True))
    first = host.took_seconds
    host.refresh(host.repository(base_urls=urls, installs=True))
    assert first > 1.0 > 0.6 > host.took_seconds


@pytest.mark.parametrize("failure, turns", [("unreachable", True), ("timed-out", True), ("tls-expired", True), ("http-status", False)])
def test_dialogue_rule_2_http_is_asked_where_https_cannot_be_reached(failure, turns):
    dialogue = Dialogue((HTTPS, HTTP), False, 1.0)
    dialogue.asked[Question(PAGE, HTTPS)] = 0.0
    assert dialogue.more(0.9) == []
    dialogue.answered(Question(PAGE, HTTPS), None, failure)
    assert dialogue.more(0.9) == [Question(PAGE, HTTP)] * turns and dialogue.more(0.9) == []


def test_dialogue_rule_2_http_is_asked_where_https_has_no_list_or_says_nothing():
    dialogue = Dialogue((HTTPS, HTTP), False, 1.0)
    for form in FORMS:
        dialogue.asked[Question(form, HTTPS)] = 0.0
        dialogue.answered(Question(form, HTTPS), None, "http-status")
    assert dialogue.lists() == {} and dialogue.more(0.1) == [Question(form, HTTP) for form in FORMS]
    silent = Dialogue((HTTPS, HTTP), False, 1.0)
    silent.asked[Question(DIGEST, HTTPS)] = 5.0
    assert silent.more(5.9) == [] and silent.more(6.0) == [Question(DIGEST, HTTP)]
    assert silent.questions(PAGE) == [Question(PAGE, HTTPS), Question(PAGE, HTTP)]


def test_dialogue_rule_1_what_https_says_is_not_mixed_with_what_comes_by_http():
    dialogue = Dialogue((HTTPS, HTTP), True, 1.0)
    for question in [Question(form, root) for form in FORMS for root in (HTTPS, HTTP)]:
        dialogue.asked[question] = 0.0
    dialogue.more(0.0)
    dialogue.answered(Question(PAGE, HTTP), "forged")
    assert dialogue.lists() == {PAGE: "forged"} and not dialogue.listed_securely
    dialogue.answered(Question(SELECTION, HTTPS), "named")
    assert dialogue.lists() == {SELECTION: "named"} and dialogue.listed_securely


# How long it is borne.


def frozen(sim, days):
    """Block everything that proves who it is, and let the host look every quarter of a day."""
    for _ in range(4 * days):
        sim.later(hours=6)
        outcome = sim.update()
    return outcome


@pytest.mark.parametrize("require_https", [True, False])
def test_a_host_that_hears_only_forgeable_voices_for_a_week_is_warned_unless_the_admin_wants_it_so(require_https, host):
    attack(host)
    host.configure(require_https=require_https)
    host.change(*HONEST, fault="blackhole")
    host.origin.fault = "blackhole"
    assert frozen(host, 6).warnings == []
    warned = frozen(host, 2)
    assert [line.partition(":")[0] for line in warned.warnings] == ["freeze"] * require_https and warned.version == NEW
    assert host.clock.wall() - host.memory().unauthenticated_since > 7 * DAY, "status tells it in any case"
    host.origin.fault = ""
    healed = frozen(host, 1)
    assert (healed.version, healed.warnings, host.memory().unauthenticated_since) == (NEW + 1, [], 0)


def test_an_unreachable_network_is_no_freeze(host):
    host.redirector.fault = "refused"
    host.change(*HONEST, fault="refused")
    host.origin.fault = "refused"
    frozen(host, 9)
    assert host.memory().unauthenticated_since == 0


def test_without_a_check_of_certificates_nobody_proves_who_it_is(host):
    repository = host.repository()
    unchecked = repository._replace(network=repository.network._replace(ssl_verify=False))
    host.later(hours=DUE_HOURS)
    host.update(unchecked)
    assert host.memory().unauthenticated_since > 0
    host.later(hours=DUE_HOURS)
    host.update()
    assert host.memory().unauthenticated_since == 0
