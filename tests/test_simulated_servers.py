"""Servers and caches on the way that do what librepo and curl get along with: judged like they judge them."""
import pytest

from .simulator import PUBLISHED, Reply, Simulator, signed, snapshot_of

OLD, NEW = PUBLISHED - 1, PUBLISHED


@pytest.fixture
def sim(tmp_path):
    return Simulator(tmp_path)


def ask_one(sim, reply):
    """Ask one mirror that answers as ``reply`` says; return reference and words."""
    mirror = sim.add("odd")
    serve = mirror.answer
    mirror.answer = lambda request: reply(mirror, request) or serve(request)
    sim.add("good")
    outcome = sim.refresh(ask_everyone=True)
    return outcome.rejected.get("odd", (outcome.probes["odd"], ""))


@pytest.mark.parametrize("status", [403, 416])
def test_a_mirror_that_wants_no_range_is_asked_for_the_whole_file(status, sim):
    assert ask_one(sim, lambda mirror, request: mirror.status(status) if "Range" in request.headers else None) == ("ok", "")


def test_a_mirror_that_forbids_the_file_itself_is_half_synced(sim):
    reference, words = ask_one(sim, lambda mirror, request: mirror.status(403) if request.file == "primary" else None)
    assert reference == "http-status" and "the files it names are not: HTTP 403" in words


@pytest.mark.parametrize("status, headers, expected", [
    (404, {}, ("signature-missing", "repomd.xml has no signature beside it")),
    (410, {}, ("signature-missing", "repomd.xml has no signature beside it")),
    (403, {}, ("http-status", "HTTP 403")),
    (429, {"retry-after": "120"}, ("http-status", "HTTP 429, Retry-After: 120")),
    (503, {"retry-after": "Mon, 30 Nov 2026 10:00:00 GMT"}, ("http-status", "HTTP 503, Retry-After: Mon, 30 Nov 2026 10:00:00 GMT")),
    (503, {"retry-after": "\x1b[31m" + "9" * 400}, ("http-status", "HTTP 503, Retry-After: ?[31m" + "9" * 35)),
])
def test_only_a_signature_that_is_not_there_is_missing(status, headers, expected, sim):
    assert ask_one(sim, lambda mirror, request: Reply(
        mirror.seconds, status=status, headers=headers) if request.file == "repomd.xml.asc" else None) == expected


def test_repomd_and_its_signature_are_asked_for_past_all_caches_and_nothing_else_is(sim):
    sim.add("a")
    sim.refresh(ask_everyone=True)
    fresh = {request.file for request in sim.log if request.headers.get("Cache-Control") == request.headers.get("Pragma") == "no-cache"}
    assert fresh == {"repomd.xml", "repomd.xml.asc"}


def cached(file, version, honours):
    """A caching proxy before all mirrors that holds one file of an older state."""
    def reply(mirror, request):
        past = honours and request.headers.get("Cache-Control") == "no-cache"
        return mirror.serve(request, signed("updates", version)) if request.file == file and not past else None

    return reply


@pytest.mark.parametrize("file", ["repomd.xml", "repomd.xml.asc"])
def test_a_cache_that_honours_no_cache_does_not_come_between(file, sim):
    assert ask_one(sim, cached(file, OLD, honours=True)) == ("ok", "")


@pytest.mark.parametrize("file, expected", [("repomd.xml.asc", "out-of-step"), ("repomd.xml", "out-of-step")])
def test_a_cache_that_does_not_is_told_as_out_of_step_where_repomd_is_known_to_be_genuine(file, expected, sim):
    sim.version = OLD
    sim.add("first")
    sim.update()
    sim.version = NEW
    mirror = sim.add("odd")
    reference, words = ask_one(sim, cached(file, OLD, honours=False))
    assert reference == expected and "of another state, also when asked for anew" in words
    assert mirror.count("repomd.xml") <= 2


def test_a_single_place_behind_such_a_cache_is_no_refusal_and_the_mark_stays(sim):
    sim.without_origin()
    mirror = sim.add("only")
    sim.version = OLD
    sim.update()
    sim.version = NEW
    serve, stuck = mirror.answer, cached("repomd.xml", OLD, honours=False)
    mirror.answer = lambda request: stuck(mirror, request) or serve(request)
    outcome = sim.refresh(sim.repository(installs=True))
    assert (outcome.error, outcome.refused) == ("out-of-step", False)
    assert sim.state.load("xcp-ng-updates").accepted.sha256 == snapshot_of(OLD).sha256
    mirror.answer = serve
    sim.later(hours=2)
    assert sim.update(sim.repository(installs=True)).version == NEW


@pytest.mark.parametrize("fault", ["bad-signature", "tampered"])
def test_a_bad_signature_that_stays_after_asking_anew_refuses_the_mirror(fault, sim):
    mirror = sim.add("bad", fault)
    sim.without_origin()
    outcome = sim.refresh()
    assert (outcome.error, outcome.refused, mirror.count("repomd.xml"), mirror.count("repomd.xml.asc")) == ("signature-invalid", True, 2, 2)
    assert ("do not fit, also when asked for anew" in outcome.message) == (fault == "tampered")
