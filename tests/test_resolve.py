"""Metadata resolution against the lab: bad mirrors, bad redirectors, and which servers are asked for what."""
import threading
import time

import pytest

from tests.lab.mirror import Fault
from tests.lab.wire import SILENCE, document
from tests.support.faults_table import METADATA_FAULTS, TRUST_FAULTS
from tests.support.waiting import AT_ONCE_SECONDS, LONG_SECONDS
from tests.support.world import NOW, lab_repository, lab_settings
from yum_plugin.errors import TrustError
from yum_plugin.host.repository_options import reach_of
from yum_plugin.model import Mirror
from yum_plugin.resolve import patience, probe, resolver, selection
from yum_plugin.resolve.refresh import refresh
from yum_plugin.resolve.resolution import is_refusal
from yum_plugin.resolve.resolver import ResolveOptions, Resolver
from yum_plugin.state.memory import Memory
from yum_plugin.state.store import State

WAITED_FOR = {"blackhole": "timed-out", "mute": "timed-out", "drip-500": "timed-out", "drip-1k": "timed-out", "endless-headers": "bad-answer"}


def urls(item):
    """The mirrors of a resolution by their URLs, best first."""
    return [mirror.url for mirror in item.mirrors]


class World:
    """One host of the lab."""

    def __init__(self, lab, folder):
        self.lab = lab
        self.settings = lab_settings(lab, folder, connect_timeout=LONG_SECONDS, read_timeout=LONG_SECONDS, deadline=2 * LONG_SECONDS)
        self.state = State(self.settings.state_dir)

    def mirrors(self, **faults):
        """Add mirrors in this order; the value is the fault."""
        for name, fault in faults.items():
            self.lab.add_mirror(name, fault)

    def refresh(self, *repositories, options=ResolveOptions(), **network):
        wanted = [lab_repository(self.lab, name, **network) for name in repositories or ("updates",)]
        return refresh(wanted, self.settings, self.state, options)

    def one(self, **options):
        return self.refresh(**options)[0]

    def names(self, item):
        """The mirrors of a result by their names in the lab, sorted."""
        places = dict((each.url, name) for name, each in self.lab.mirrors.items())
        places[self.lab.origin.url] = "origin"
        path = item.repository.path
        return sorted(places[url[:-len(path)].replace("http://" + self.lab.origin.server.authority,
                                                      "https://" + self.lab.origin.server.authority)] for url in urls(item))

    def outcomes(self, item):
        places = dict((each.url, name) for name, each in self.lab.mirrors.items())
        return dict((places[probe.mirror.url[:-len(item.repository.path)]], probe.outcome) for probe in item.probes
                    if probe.mirror.url[:-len(item.repository.path)] in places)

    def only_mirrors(self):
        """No origin to fall back to."""
        self.settings = self.settings._replace(fallbacks=(), deny=(self.lab.origin.server.authority,))


@pytest.fixture
def world(lab, tmp_path, monkeypatch):
    # A busy machine must not change who answers in time; tests/test_selection.py holds the real times on a virtual clock.
    for name, seconds in (("HEDGE_SECONDS", 4.0), ("MAX_HEDGE_SECONDS", 4.0), ("NO_ANSWER_SECONDS", 4.0)):
        monkeypatch.setattr(selection, name, seconds)
    monkeypatch.setattr(patience, "STAGGER", patience.Wait(2.0, 2.0, 2.0))
    monkeypatch.setattr(selection, "STAGGER", patience.STAGGER)
    return World(lab, tmp_path)


@pytest.mark.parametrize("fault", sorted(METADATA_FAULTS))
def test_two_good_mirrors_behind_a_first_one_that_is(fault, world):
    world.mirrors(bad=fault, good1="", good2="")
    item = world.one()
    assert item.error is None
    assert item.snapshot.timestamp == world.lab.trees.stamp("new")
    good = ["bad", "good1"] if fault == "mid-sync" else ["good1", "good2"]
    if fault == "fast-forward":  # signed by the key's owner: the origin decides
        good = ["good1", "origin"]
    assert world.names(item) in (good, ["good1", "good2"])
    assert len(item.warnings) <= int(fault in TRUST_FAULTS), "a word for distrust, and for nothing else"


def test_every_bad_mirror_is_rejected_by_its_own_reference(world):
    """All of them at once; nobody is waited for longer than the time-outs say."""
    world.settings = world.settings._replace(connect_timeout=5.0, read_timeout=5.0, deadline=LONG_SECONDS)
    waited_for = dict(METADATA_FAULTS)
    del waited_for["drip-1k"]  # it may just make it
    world.mirrors(good="", **dict((name.replace("-", "_"), name) for name in waited_for))
    world.lab.mirrors["drip_500"].faults = (Fault("drip-50", "slower, for the time-outs are longer here", rate=50),)
    started = time.monotonic()
    item = world.one(options=ResolveOptions(ask_everyone=True))
    expected = dict((name.replace("-", "_"), WAITED_FOR.get(name) or reference) for name, reference in waited_for.items())
    assert world.outcomes(item) == dict(expected, good="ok")
    assert sorted(each.reference for each in item.rejected) == sorted(
        reference for reference in expected.values() if reference != "ok")
    assert world.names(item) == ["good", "mid_sync", "origin"]
    assert time.monotonic() - started < 2 * AT_ONCE_SECONDS
    assert len(item.warnings) == 1 and " and {} more".format(len(TRUST_FAULTS) - 1) in item.warnings[0]


@pytest.mark.parametrize("fault", TRUST_FAULTS)
def test_distrust_is_told_in_one_line_with_its_name_and_the_mirror(fault, world):
    world.mirrors(bad=fault, good="")
    lines = world.one(options=ResolveOptions(ask_everyone=True)).warnings
    assert len(lines) == 1 and lines[0].startswith(METADATA_FAULTS[fault] + ": ") and world.lab.mirrors["bad"].url in lines[0]


def test_cve_2018_0501_a_forged_second_mirror_after_a_bad_first_one_is_proven_too(world):
    world.mirrors(dead="refused", forged="other-key", good="")
    item = world.one()
    assert world.names(item) == ["good"] and "unknown-key" in item.warnings[0]


def test_two_mirrors_that_agree_on_a_forgery_are_not_a_majority(world):
    world.mirrors(a="other-key", b="other-key", c="other-key", good="")
    assert world.names(world.one()) == ["good"]


@pytest.mark.parametrize("faults, reference, refused", [
    (("bad-signature", "no-asc"), "signature-invalid", True),
    (("refused", "other-key"), "unknown-key", True),
    (("refused", "http-503"), "unreachable", False),
    (("half-synced",), "http-status", False),
    (("expired-certificate", "expired-certificate"), "tls-expired", False),
])
def test_all_bad_the_answer_is_the_first_distrust_else_what_kept_them_away(faults, reference, refused, world):
    world.only_mirrors()
    world.mirrors(**dict(("bad{}".format(number), fault) for number, fault in enumerate(faults)))
    item = world.one()
    assert (item.error.reference, item.snapshot, item.mirrors) == (reference, None, ())
    assert is_refusal(item.error, world.settings) == refused
    assert is_refusal(item.error, world.settings._replace(on_unreachable="abort"))


def test_all_mirrors_bad_the_origin_saves_the_day(world):
    world.mirrors(a="bad-signature", b="http-503")
    assert world.names(world.one()) == ["origin"]


def test_all_mirrors_dead_the_origin_is_found_within_the_deadline(world):
    world.mirrors(a="blackhole", b="mute")
    started = time.monotonic()
    assert world.names(world.one()) == ["origin"]
    assert time.monotonic() - started < AT_ONCE_SECONDS


def test_rollback_after_yum_clean_is_refused_even_if_every_mirror_and_the_origin_agree(world):
    world.mirrors(a="", b="", c="")
    first = world.one()
    world.state.update("xcp-ng-updates", accepted=first.snapshot)
    world.lab.publish("old")
    item = world.one()
    assert item.error.reference == "rollback" and isinstance(item.error, TrustError)
    assert world.state.load("xcp-ng-updates").accepted.sha256 == first.snapshot.sha256
    world.lab.publish("new")
    assert world.one().error is None, "nothing of it sticks"


def test_six_rolled_back_mirrors_at_the_head_of_the_list_do_not_stop_an_update(world):
    world.lab.redirector.list_page, world.lab.redirector.mode = False, "redirect"  # so that no digest is named
    world.mirrors(**dict(("stale{}".format(number), "rolled-back") for number in range(6)), good1="", good2="")
    world.state.update("xcp-ng-updates", accepted=Resolver(world.settings, world.state.load_all([lab_repository(world.lab)]), ResolveOptions(ask_everyone=True)).run(
        [lab_repository(world.lab)])[0].snapshot)
    world.lab.log.clear()
    assert world.names(world.one()) == ["good1", "good2"]
    assert world.lab.log.requests("origin") == []


def test_an_admin_may_go_back_and_the_mark_follows(world):
    world.mirrors(a="", b="")
    world.state.update("xcp-ng-updates", accepted=world.one().snapshot)
    world.lab.publish("old")
    item = world.one(options=ResolveOptions(accept_rollback=True))
    assert item.error is None and world.state.load("xcp-ng-updates").accepted.sha256 == item.snapshot.sha256


def test_a_refresh_alone_does_not_raise_the_mark(world):
    world.mirrors(a="")
    assert world.one().error is None and world.state.load("xcp-ng-updates").accepted is None


def test_stale_mirrors_in_the_majority_lose_against_one_that_serves_what_the_redirector_names(world):
    world.mirrors(a="stale", b="stale", c="stale", d="stale", e="stale", f="stale", good="")
    item = world.one()
    assert world.names(item) == ["good"] and not item.warnings, "staleness is no distrust"
    rejected = [(each.reference, each.detail) for each in item.rejected]
    assert ("stale", "4 days behind") in rejected


def test_a_mid_sync_mirror_is_asked_once_more_and_used(world):
    world.only_mirrors()
    world.mirrors(m="mid-sync")
    assert world.names(world.one()) == ["m"]
    assert len(world.lab.log.requests("m", "repomd.xml")) == 2


def test_a_tampered_mirror_is_asked_once_more_and_no_more(world):
    world.only_mirrors()
    world.mirrors(m="bad-signature")
    assert world.one().error.reference == "signature-invalid"
    assert len(world.lab.log.requests("m", "repomd.xml")) == 2


# The redirector's bad days.


def sources(item):
    return set(probe.mirror.source for probe in item.probes)


@pytest.mark.parametrize("changes, source", [
    ({}, "list-page"), ({"list_page": False}, "json"), ({"list_page": False, "json": False, "mode": "redirect"}, "redirect"),
    ({"list_page": False, "mode": "redirect"}, "redirect"), ({"other_form": "plain"}, "plain"),
    ({"other_form": "metalink-3"}, "metalink"), ({"other_form": "metalink-rfc5854"}, "metalink")])
def test_each_form_of_the_redirectors_answer_is_enough(changes, source, world):
    world.mirrors(a="", b="", c="")
    for name, value in changes.items():
        setattr(world.lab.redirector, name, value)
    item = world.one()
    two_are_enough = source in ("list-page", "json", "metalink")  # for these name the digest
    assert world.names(item) == ["a", "b", "c"][:2 if two_are_enough else 3] and sources(item) == {source}


def test_a_redirect_without_links_names_one_mirror_and_that_is_used_with_the_origin_as_second_voice(world):
    world.mirrors(a="", b="")
    redirector = world.lab.redirector
    redirector.list_page = redirector.json = redirector.links = False
    redirector.mode = "redirect"
    assert world.names(world.one()) == ["a", "origin"]


@pytest.mark.parametrize("trouble", ["down", "captive", "mute", "http-503"])
def test_a_redirector_in_trouble_the_last_known_list_is_used_then_the_baseurls(trouble, world):
    world.mirrors(a="", b="", c="")

    def break_it():
        if trouble == "down":
            world.lab.redirector.down()
        else:
            world.lab.redirector.behaviour = trouble

    assert world.one().error is None
    break_it()
    started = time.monotonic()
    item = world.one()
    assert world.names(item) == ["a", "b", "c"] and sources(item) == {"known"}
    assert time.monotonic() - started < AT_ONCE_SECONDS
    world.state.update("xcp-ng-updates", Memory())
    started = time.monotonic()
    assert world.names(world.one()) == ["origin"]
    assert time.monotonic() - started < AT_ONCE_SECONDS, "well before the deadline, for the origin may be slow too"


def test_a_list_page_that_hangs_does_not_hide_the_selection_in_hand(world):
    world.mirrors(a="", b="", c="")
    world.lab.redirector.override = lambda request: SILENCE if "mirrorlist" in request.query else None
    started = time.monotonic()
    item = world.one()
    assert sources(item) == {"json"} and time.monotonic() - started < AT_ONCE_SECONDS


def test_a_list_page_that_comes_in_time_is_all_that_is_asked_of_the_redirector(world, monkeypatch):
    monkeypatch.setattr(patience, "OTHER_FORM", patience.Wait(60.0, 1.0, 60.0))
    world.mirrors(a="", b="", c="")
    world.refresh("base", "updates")
    assert [entry.target.partition("?")[2] for entry in world.lab.log.requests("redirector")] == ["mirrorlist"] * 2


def test_a_redirector_whose_digest_is_stale_changes_nothing(world):
    world.mirrors(a="", b="", c="")
    for each in world.lab.mirrors.values():
        each.state = "new"
    world.lab.publish("old")  # what the redirector and the origin have
    item = world.one()
    assert world.names(item) == ["a", "b", "c"] and item.snapshot.timestamp == world.lab.trees.stamp("new")
    assert not item.warnings


def test_a_redirector_that_alternates_between_stale_and_good_mirrors_ends_with_the_good_ones(world):
    world.mirrors(old="stale", good="")
    redirector = world.lab.redirector
    redirector.list_page = redirector.json = False
    redirector.mode = "redirect"
    world.lab.alternate(["old", "good"])
    for _ in range(3):
        assert world.names(world.one()) in (["good", "origin"], ["good"], ["origin"])


@pytest.mark.parametrize("body", [b"", b"<html>", b"\x00" * 10000, b"<html><title>Mirrorlist x</title>" + b"<tr>" * 10000])
def test_rubbish_for_a_list_leads_to_the_baseurls(body, world):
    world.lab.redirector.override = lambda request: document(body, "text/html")
    assert world.names(world.one()) == ["origin"]


# Who is asked what.


def test_of_40_listed_mirrors_no_more_than_probe_mirrors_are_asked_and_the_origin_is_left_in_peace(world):
    world.mirrors(**dict(("m{}".format(number), "") for number in range(40)))
    items = world.refresh("base", "updates")
    assert all(item.error is None for item in items)
    asked = set(entry.server for entry in world.lab.log.requests())
    assert len(asked - {"redirector"}) <= world.settings.probe_mirrors and "origin" not in world.lab.log.contacted()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests_are_few_small_and_carry_nothing_of_the_host(scheme, world):
    """The redirector is asked by https; its baseurl= has the password, and is another place if that is http."""
    world.mirrors(a="", b="", c="", d="", e="", f="")
    base_urls = [url.replace("http:", scheme + ":") for url in world.lab.base_urls("updates")]
    world.one(username="user", password="secret", reach=reach_of(base_urls, world.settings))
    log = world.lab.log
    assert log.wait(lambda: all(entry.ended for entry in log.requests()))
    for entry in log.requests():
        assert entry.headers["accept-encoding"] == "identity" and "cookie" not in entry.headers
        assert ("authorization" in entry.headers) == (entry.server == "redirector" and scheme == "https")
    assert sum(entry.bytes for entry in log.requests() if entry.server != "redirector") < 64 * 1024
    assert all(len(log.requests(name)) <= 3 for name in "abcdef")


def test_http_mirrors_are_asked_only_where_https_is_not_required(world):
    world.lab.add_mirror("plain", scheme="http")
    world.lab.add_mirror("good")
    assert world.names(world.one()) == ["good"] and "plain" not in world.lab.log.contacted()
    world.settings = world.settings._replace(require_https=False)
    assert world.names(world.one()) == ["good", "plain"]


def test_a_failed_mirror_is_asked_last_the_next_time(world):
    world.settings = world.settings._replace(probe_mirrors=3)
    world.mirrors(bad="http-503", a="", b="", c="")
    world.refresh(options=ResolveOptions(ask_everyone=True))
    world.lab.log.clear()
    assert world.one().error is None and "bad" not in world.lab.log.contacted()


def test_preferred_mirrors_come_first_and_denied_ones_are_not_touched(world):
    world.mirrors(a="", b="", c="")
    world.settings = world.settings._replace(prefer=(world.lab.mirrors["c"].server.authority,), deny=(world.lab.mirrors["a"].server.authority,))
    item = world.one()
    assert item.mirrors[0].url.startswith(world.lab.mirrors["c"].url) and "a" not in world.lab.log.contacted()


def test_one_repository_in_trouble_leaves_the_other_alone(world):
    world.mirrors(a="", b="")
    good = lab_repository(world.lab, "base")
    bad = lab_repository(world.lab)._replace(key_paths=("/nowhere",))
    items = refresh([bad, good], world.settings, world.state)
    assert items[0].error.reference == "key-file" and items[1].error is None


def test_tls_files_that_cannot_be_read_end_one_repository_only(world):
    world.mirrors(a="", b="")
    items = refresh([lab_repository(world.lab, "base", ssl_ca_cert="/nowhere"), lab_repository(world.lab)], world.settings, world.state)
    assert items[0].error.reference == "configuration" and items[1].error is None


@pytest.mark.parametrize("pins, keys, reference", [
    (("A" * 40,), ["key_file"], "key-mismatch"), (None, ["other_key_file"], "key-mismatch"), (None, ["ca_bundle"], "key-invalid"),
    (None, ["other_key_file", "key_file"], ""), (None, [], "key-file")])
def test_only_the_pinned_key_counts_whatever_files_are_named(pins, keys, reference, world):
    world.mirrors(a="")
    repository = lab_repository(world.lab)
    repository = repository._replace(fingerprints=pins or repository.fingerprints, key_paths=tuple(getattr(world.lab, name) for name in keys))
    error = refresh([repository], world.settings, world.state)[0].error
    assert (error.reference if error else "") == reference


def test_a_bug_in_a_probe_is_that_mirrors_problem_and_logged(world, monkeypatch, caplog):
    world.mirrors(a="", b="", c="")
    real = probe.ask_mirror

    def buggy(client, mirror: Mirror, *rest):
        if world.lab.mirrors["a"].url in mirror.url:
            raise ZeroDivisionError("a bug")
        return real(client, mirror, *rest)

    monkeypatch.setattr(resolver, "ask_mirror", buggy)
    assert world.names(world.one()) == ["b", "c"]
    assert "a bug of ours" in caplog.text


# Two at once, and places that cannot be written.


def test_the_second_of_two_at_once_waits_and_works_from_what_the_first_wrote(world, monkeypatch):
    monkeypatch.setattr(patience, "OTHER_FORM", patience.Wait(60.0, 1.0, 60.0))
    world.mirrors(a="", b="", c="")
    results, started = [], threading.Barrier(2)

    def run():
        started.wait(LONG_SECONDS)
        results.append(refresh([lab_repository(world.lab)], world.settings, State(world.state.folder))[0])

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_SECONDS)
    assert [item.error for item in results] == [None, None]
    assert results[0].snapshot.sha256 == results[1].snapshot.sha256
    assert [item.probes == () for item in results] == [False, True]
    assert len(world.lab.log.requests("redirector")) == 1, "the list page, once"


def test_a_state_that_cannot_be_written_leaves_the_repositories_alone(world, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    world.settings = world.settings._replace(state_dir=str(tmp_path / "file" / "state"))
    item = refresh([lab_repository(world.lab)], world.settings, State(world.settings.state_dir))[0]
    assert item.error.reference == "state" and not is_refusal(item.error, world.settings)
    assert world.lab.log.connections() == []


def test_a_clock_years_behind_is_named(world):
    world.only_mirrors()
    world.mirrors(a="", b="")
    clock = resolver.Clock(wall=lambda: NOW - 40 * 365 * 86400.0)
    item = refresh([lab_repository(world.lab)], world.settings, world.state, clock=clock)[0]
    [line] = item.warnings
    assert item.error is None and line.startswith("clock: ") and "behind" in line and "chronyc makestep" in line


def test_a_freeze_is_told(world):
    world.mirrors(a="", b="")
    world.settings = world.settings._replace(max_age=86400)
    items = world.refresh("base", "updates")
    assert [len(item.warnings) for item in items] == [0, 1] and items[1].warnings[0].startswith("freeze: ")


# What a mirror is asked for when nothing has changed (resolve/refresh_policy.py).


@pytest.fixture
def settled(world):
    """A host that has accepted what was found, among three mirrors; returns how it asks again, some hours later."""
    world.mirrors(a="", b="", c="")
    first = world.one()
    world.state.update("xcp-ng-updates", accepted=first.snapshot)
    held = lab_repository(world.lab)._replace(cached_sha256=first.snapshot.sha256)
    began = time.time()

    def again(hours=0.0, repository=held):
        clock = resolver.Clock(wall=lambda: began + hours * 3600.0 + 1.0)
        return refresh([repository], world.settings, world.state, clock=clock)[0]

    again.held = held
    return again


def asked_of_mirrors(world, since):
    """Path ends by mirror since so many requests."""
    entries = [entry for entry in world.lab.log.requests()[since:] if entry.server in world.lab.mirrors]
    return [entry.path.rpartition("/")[2] for entry in entries]


def test_no_mirror_is_asked_while_the_redirector_names_what_is_held(world, settled):
    before = len(world.lab.log.requests())
    item = settled(hours=4.0)
    assert item.error is None and world.names(item) == ["a", "b"]
    assert [entry.target.partition("?")[2] for entry in world.lab.log.requests()[before:]] == ["sha256"]


def test_a_redirector_that_knows_no_digest_alone_is_asked_for_its_list_on_the_same_connection(world, settled):
    """It redirects, as mirrorbits does for every other request for the file."""
    world.lab.redirector.digests = False
    before = len(world.lab.log.requests())
    assert world.names(settled(hours=4.0)) == ["a", "b"]
    asked = world.lab.log.requests()[before:]
    assert [entry.target.partition("?")[2] for entry in asked] == ["sha256", "mirrorlist"]
    assert len({entry.connection for entry in asked}) == 1


def test_one_mirror_is_asked_for_one_file_when_it_is_due_and_the_signature_that_is_kept_proves_it(world, settled):
    before = len(world.lab.log.requests())
    item = settled(hours=7.0)
    assert item.error is None and world.names(item) == ["a", "b"]
    assert asked_of_mirrors(world, before) == ["repomd.xml"]


def test_a_key_that_is_no_longer_pinned_proves_nothing_of_what_is_kept(world, settled):
    item = settled(repository=settled.held._replace(fingerprints=("A" * 40,)))
    assert item.error is not None and is_refusal(item.error, world.settings)


def test_a_signature_that_was_spoilt_on_disk_is_fetched_anew(world, settled):
    memory = world.state.load("xcp-ng-updates").memory
    assert memory.signature
    world.state.update("xcp-ng-updates", memory._replace(signature="spoilt \xff"))
    before = len(world.lab.log.requests())
    assert settled(hours=7.0).error is None
    assert "repomd.xml.asc" in asked_of_mirrors(world, before)


def test_a_mirror_that_went_back_when_it_is_asked_alone_does_not_take_the_host_with_it(world, settled):
    world.lab.mirrors["a"].state = "old"
    item = settled(hours=7.0)
    assert item.error is None and item.snapshot.sha256 == settled.held.cached_sha256
    assert world.names(item) == ["b"]


def test_without_a_cache_that_fits_as_many_as_must_agree_are_asked(world, settled):
    before = len(world.lab.log.requests())
    assert settled(repository=settled.held._replace(cached_sha256="")).error is None
    assert len(asked_of_mirrors(world, before)) == 6, "two mirrors, three files each"
