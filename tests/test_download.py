"""Downloads from mirrors that fail in every way: what arrives, which mirror is asked for what, and what stays on the disk."""
import errno
import hashlib
import os
import stat
import threading
from collections import Counter

import pytest

from tests.lab.accesslog import AccessLog
from tests.lab.wire import SILENCE, Response, Server
from tests.support.waiting import LONG_SECONDS
from yum_plugin.errors import FetchError, TrustError, UsageError
from yum_plugin.model import Network
from yum_plugin.net import download as scheduler
from yum_plugin.net import partial_file as spool_module
from yum_plugin.net import transfer
from yum_plugin.net.download import Events, Rules, download
from yum_plugin.net.items import Item, Source
from yum_plugin.net.partial_file import PartialFile, disk_error, require_space
from yum_plugin.net.stall import RateMeter, RateRules, RateView, is_outage, is_silence, stop_reason

BLOB = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(12000))  # 384000 bytes
SIZE = len(BLOB)
DIGEST = hashlib.sha256(BLOB).hexdigest()
PATIENT = Rules(minrate=1000, timeout_seconds=60.0, hedge_seconds=60.0)  # a silence that is this machine's is nobody's fault
QUICK = PATIENT._replace(hedge_seconds=1.0)


class Sha256:
    """A checker: the bytes must be BLOB's."""

    def __init__(self, digest=DIGEST):
        self._digest, self._running = digest, hashlib.sha256()

    def update(self, chunk):
        self._running.update(chunk)

    def finish(self):
        if self._running.hexdigest() != self._digest:
            raise TrustError("payload-mismatch", "other bytes")
        return "proof"


def range_of(request, size):
    """Where the range of a request begins, and the byte behind its last one."""
    start, end = request.headers.get("range", "bytes=0-")[len("bytes="):].split("-")
    return int(start), int(end) + 1 if end else size


def honest(request, blob=BLOB):
    """What a good server answers."""
    start, end = range_of(request, len(blob))
    if start >= len(blob):
        return Response(416, (("Content-Range", "bytes */{}".format(len(blob))),))
    if "range" not in request.headers:
        return Response(200, (), (blob,), len(blob))
    part = blob[start:end]
    place = ("Content-Range", "bytes {}-{}/{}".format(start, start + len(part) - 1, len(blob)))
    return Response(206, (place,), (part,), len(part))


def flipped(request):
    """A wrong byte in the second half."""
    return honest(request, BLOB[:SIZE * 3 // 4] + b"?" + BLOB[SIZE * 3 // 4 + 1:])


def half(**how):
    """The first half, then whatever ``how`` says; nothing at all beyond it."""
    def answer(request):
        start, _ = range_of(request, SIZE)
        return honest(request)._replace(stop_at=max(0, SIZE // 2 - start), **how)

    return answer


def with_headers(*headers, **fields):
    return lambda request: honest(request)._replace(headers=headers, **fields)


class Site:
    """Servers by name, and what was asked of them."""

    def __init__(self):
        self.log = AccessLog()
        self.servers = {}

    def add(self, name, answer=honest, **options):
        server = Server(name, answer, self.log, "127.0.0.1", **options)
        self.servers[name] = server
        return Source("http://{}/base/".format(server.authority))

    def ranges(self, name):
        return [entry.headers.get("range", "") for entry in self.log.requests(name)]

    def close(self):
        for server in self.servers.values():
            server.close()


@pytest.fixture
def site():
    made = Site()
    yield made
    made.close()


@pytest.fixture
def wide_window(monkeypatch):
    """Measure over a second, so that the pauses of a busy machine are no slowness of a mirror."""
    monkeypatch.setattr(transfer, "WINDOW_SECONDS", 1.0)


def item(folder, name="file", size=SIZE, path="", checker=Sha256):
    return Item(path or "x/" + name, str(folder / name), checker, size)


def get(folder, sources, rules=PATIENT, events=Events(), **values):
    """Fetch one file."""
    return download([item(folder, **values)], sources, Network(proxy=""), rules, events)[0]


def references(fetched):
    return [attempt.reference for attempt in fetched.attempts]


def read(path):
    with open(str(path), "rb") as stream:
        return stream.read()


def leave_part(folder, content, name="file"):
    (folder / ".{}.part".format(name)).write_bytes(content)


# The decisions of stall.py


def test_a_rate_needs_a_full_window_and_forgets_older_samples():
    meter = RateMeter(10.0, 0, 1.0)
    assert meter.rate() is None
    meter.note(10.5, 1000)
    assert meter.rate() is None
    meter.note(11.0, 2000)
    assert meter.rate() == 2000
    for tenth in range(1, 31):
        meter.note(11.0 + tenth / 10, 2000)
    assert meter.rate() == 0


GOING_WELL = RateView(idle_seconds=0.0, answered=True, rate=1e6, long_rate=1e6, answer_seconds=0.1, untried=True, unmeasured=True,
                      best_rate=1e6, switches=0)


@pytest.mark.parametrize("story, changes, verdict", [
    ("all is well", {}, None),
    ("half a second of silence is a lost packet", {"idle_seconds": 0.5}, None),
    ("a longer silence, and somebody else to ask", {"idle_seconds": 0.7}, "timed-out"),
    ("no other mirror: the time-out", {"idle_seconds": 4.9, "untried": False}, None),
    ("nobody else, and it is enough", {"idle_seconds": 5.0, "untried": False}, "timed-out"),
    ("switched once already", {"idle_seconds": 1.3, "switches": 1}, None),
    ("switched once already, longer", {"idle_seconds": 1.4, "switches": 1}, "timed-out"),
    ("switched often: never beyond the full time-out", {"idle_seconds": 5.0, "switches": 1000000}, "timed-out"),
    ("a far mirror needs a second before it answers", {"idle_seconds": 1.9, "answered": False, "answer_seconds": 0.5}, None),
    ("but not for ever", {"idle_seconds": 2.0, "answered": False, "answer_seconds": 0.5}, "timed-out"),
    ("slow, and nobody else was measured", {"rate": 4999.0}, "too-slow"),
    ("not slow, but another one is several times as fast", {"rate": 5000.0, "best_rate": 20001.0}, "too-slow"),
    ("a megabyte per second, and another one is several times as fast", {"rate": 1e6, "best_rate": 4.1e6}, "too-slow"),
    ("that much faster is not worth it for the rest", {"rate": 1e6, "best_rate": 5e6, "remaining": 600000, "others_seconds": 0.12}, None),
    ("it is for a larger rest", {"rate": 1e6, "best_rate": 5e6, "remaining": 630000, "others_seconds": 0.12}, "too-slow"),
    ("the others have so much else to do that it is not worth it", {"rate": 1e6, "best_rate": 5e6, "remaining": 9000000,
                                                                    "others_seconds": 8.6}, None),
    ("its window is not full, but sixteen times is clear", {"rate": None, "early_rate": 1e6, "best_rate": 16.1e6}, "too-slow"),
    ("its window is not full, and eight times is slow start", {"rate": None, "early_rate": 1e6, "best_rate": 8e6}, None),
    ("no answer, and one that has answered at once is idle", {"answered": False, "answer_seconds": 0.0, "idle_seconds": 0.25,
                                                             "idle_answer_seconds": 0.01}, "too-slow"),
    ("no answer, and one that needs as long is idle", {"answered": False, "idle_seconds": 0.6, "idle_answer_seconds": 0.16}, None),
    ("no answer, but the file has switched already: the line", {"answered": False, "idle_seconds": 0.6, "switches": 1,
                                                               "idle_answer_seconds": 0.01}, None),
    ("no answer, and the idle one was tried", {"answered": False, "idle_seconds": 0.6, "untried": False,
                                              "idle_answer_seconds": 0.01}, None),
    ("nothing in the window, but no long silence yet", {"rate": 0.0, "unmeasured": False, "best_rate": 5e6}, None),
    ("slow because it pauses: that may be the line", {"rate": 1e5, "unmeasured": False, "best_rate": 5e6, "idle_seconds": 0.3}, None),
    ("slow, the others have all been tried and are as slow", {"rate": 2000.0, "unmeasured": False, "best_rate": 8000.0}, None),
    ("slow, one of the others is much faster", {"rate": 2000.0, "unmeasured": False, "best_rate": 8001.0}, "too-slow"),
    ("slow, nothing known of anybody, all tried", {"rate": 1.0, "unmeasured": False, "best_rate": 0.0}, None),
    ("the window is not full yet", {"rate": None}, None),
    ("a trickle for half a minute, nobody else", {"long_rate": 499.0, "rate": 499.0, "untried": False, "unmeasured": False,
                                                  "best_rate": 0.0}, "too-slow"),
    ("a slow line for half a minute, nobody else", {"long_rate": 500.0, "rate": 500.0, "untried": False, "unmeasured": False,
                                                    "best_rate": 0.0}, None),
])
def test_a_mirror_is_left(story, changes, verdict):
    leave = stop_reason(GOING_WELL._replace(**changes), RateRules(minrate=5000, timeout_seconds=5.0))
    assert (leave.reference if leave else None) == verdict


# One file


def test_a_file_arrives_under_its_name_only_and_for_everybody_to_read(site, tmp_path):
    done = get(tmp_path / "made", [site.add("good")])
    assert (done.error, done.verdict, done.bytes, references(done)) == (None, "proof", SIZE, ["ok"])
    assert os.listdir(str(tmp_path / "made")) == ["file"] and read(tmp_path / "made" / "file") == BLOB
    assert stat.S_IMODE(os.stat(str(tmp_path / "made" / "file")).st_mode) == 0o644


def test_a_name_with_special_characters_is_asked_for_as_it_is(site, tmp_path):
    assert get(tmp_path, [site.add("good")], path="a/c++-1~rc^2 #1?.rpm").error is None
    assert site.log.requests("good")[0].target == "/base/a/c%2B%2B-1~rc%5E2%20%231%3F.rpm"


# name -> (answer, reference, whether its part is used, options of the server)
FAULTS = {
    "refuses connections": (honest, "unreachable", False, {"listening": False}),
    "never says a byte": (honest, "timed-out", False, {"deaf": True}),
    "never answers": (lambda request: SILENCE, "timed-out", False, {}),
    "404": (lambda request: Response(404), "http-status", False, {}),
    "503": (lambda request: Response(503), "http-status", False, {}),
    "redirects": (lambda request: Response(302, (("Location", "http://127.0.0.1:9/"),)), "redirect-refused", False, {}),
    "answers with a part unasked": (with_headers(("Content-Range", "bytes 0-9/10"), status=206), "http-status", False, {}),
    "announces less": (with_headers(length=SIZE // 2, body=(BLOB[:SIZE // 2],)), "truncated", False, {}),
    "announces more": (with_headers(length=SIZE + 1, body=(BLOB, b"?")), "too-large", False, {}),
    "announces nonsense": (with_headers(("Content-Length", "many"), length=None), "bad-answer", False, {}),
    "announces a superscript": (with_headers(("Content-Length", "\xb2"), length=None), "bad-answer", False, {}),
    "compresses": (with_headers(("Content-Encoding", "gzip")), "bad-answer", False, {}),
    "sends without end": (with_headers(length=None, body=(BLOB, BLOB)), "too-large", None, {}),
    "closes halfway": (half(), "truncated", True, {}),
    "closes halfway, no length": (half(length=None), "truncated", True, {}),
    "stalls halfway": (half(hang=True), "timed-out", True, {}),
    "drips": (lambda request: honest(request)._replace(rate=500), "", None, {}),
    "is not HTTP": (with_headers(("A b\r\n\r\n<html>", "x")), "", None, {}),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_file_survives_a_first_mirror_that(fault, site, tmp_path, wide_window):
    answer, reference, used, options = FAULTS[fault]
    sources = [site.add("bad", answer, **options), site.add("good")]
    done = get(tmp_path, sources, QUICK if reference in ("timed-out", "") else PATIENT)
    assert done.error is None and read(tmp_path / "file") == BLOB and os.listdir(str(tmp_path)) == ["file"]
    assert not reference or references(done) == [reference, "ok"]
    assert len(site.log.requests("bad")) <= 1
    if used is not None:
        assert bool(site.ranges("good")[0]) == used  # continued where the bad one stopped, or asked for all
        assert done.bytes == SIZE


def test_a_slow_mirror_is_left_though_it_never_stops_and_the_rest_comes_from_another(site, tmp_path, wide_window):
    done = get(tmp_path, [site.add("slow", lambda request: honest(request)._replace(rate=20000)), site.add("good")],
               PATIENT._replace(minrate=100000))
    assert references(done) == ["too-slow", "ok"] and 0 < done.attempts[0].bytes < SIZE // 2 and done.bytes == SIZE


@pytest.mark.parametrize("fault", sorted(name for name in FAULTS if name != "drips"))
def test_with_no_other_mirror_it_is_tried_again_and_named_and_nothing_is_left(fault, site, tmp_path):
    answer, reference, _, options = FAULTS[fault]
    seconds = 0.3 if reference == "timed-out" else 60.0
    done = get(tmp_path, [site.add("bad", answer, **options)], PATIENT._replace(timeout_seconds=seconds))
    assert isinstance(done.error, (FetchError, TrustError)) and (done.error.reference == reference or not reference)
    assert os.listdir(str(tmp_path)) == [] and len(site.log.requests("bad")) <= scheduler.ROUNDS


def test_a_file_made_of_two_halves_is_hashed_once_from_start_to_end(site, tmp_path):
    fed = []

    class Listening(Sha256):
        def update(self, chunk):
            fed.append(chunk)
            super().update(chunk)

    get(tmp_path, [site.add("bad", half()), site.add("good")], checker=Listening)
    assert b"".join(fed) == BLOB and site.ranges("good") == ["bytes={}-".format(SIZE // 2)]


@pytest.mark.parametrize("story, answer, reference", [
    ("another place", lambda request: honest(request)._replace(headers=(("Content-Range", "bytes 0-9/{}".format(SIZE)),)), "bad-answer"),
    ("a place beside it", lambda request: honest(request)._replace(
        headers=(("Content-Range", "bytes {}-{}/{}".format(SIZE // 2 - 1, SIZE - 1, SIZE)),)), "bad-answer"),
    ("no place", lambda request: honest(request)._replace(headers=()), "bad-answer"),
    ("another size", lambda request: honest(request)._replace(
        headers=(("Content-Range", "bytes {}-{}/{}".format(SIZE // 2, SIZE, SIZE + 1)),)), "too-large"),
    ("a smaller one", lambda request: honest(request)._replace(
        headers=(("Content-Range", "bytes {}-{}/{}".format(SIZE // 2, SIZE - 2, SIZE - 1)),)), "truncated"),
    ("less than the rest", lambda request: honest(request)._replace(
        headers=(("Content-Range", "bytes {}-{}/{}".format(SIZE // 2, SIZE - 2, SIZE)),)), "bad-answer"),
    ("nothing there", lambda request: Response(416), "http-status"),
])
def test_a_wrong_answer_to_the_rest_of_a_file_is_refused_and_the_part_kept(story, answer, reference, site, tmp_path):
    done = get(tmp_path, [site.add("first", half()), site.add("liar", answer), site.add("good")])
    assert references(done) == ["truncated", reference, "ok"]
    assert site.ranges("good") == ["bytes={}-".format(SIZE // 2)] and done.bytes == SIZE


@pytest.mark.parametrize("status", [403, 416])
def test_a_mirror_that_wants_no_range_sends_the_whole_file(status, site, tmp_path):
    whole = site.add("whole", lambda request: Response(status) if "range" in request.headers else honest(request))
    assert references(get(tmp_path, [whole])) == ["ok"]
    assert references(get(tmp_path, [site.add("first", half()), whole])) == ["truncated", "ok"]
    assert site.ranges("whole")[-2:] == ["bytes={}-".format(SIZE // 2), ""]


def test_a_rest_without_end_is_cut_at_the_size_of_the_file(site, tmp_path):
    endless = site.add("endless", lambda request: honest(request)._replace(length=None, body=(BLOB[SIZE // 2:],) * 2))
    done = get(tmp_path, [site.add("first", half()), endless])
    assert references(done)[:2] == ["truncated", "too-large"] and done.bytes < SIZE * 3 // 2


def test_a_wrong_file_with_trailing_bytes_is_the_fault_of_the_mirror_that_sent_it(site, tmp_path):
    wrong = Wrong()
    pieces = (BLOB[:-1], b"?", b"more")
    sources = [site.add("liar", lambda request: Response(200, (), pieces, None)), site.add("good")]
    done = get(tmp_path, sources, events=wrong.events)
    assert done.error is None and all(mirrors == (sources[0].url,) for _, mirrors, _ in wrong.calls)
    assert {attempt.mirror for attempt in done.attempts if attempt.reference != "ok"} == {sources[0].url}


def test_a_mirror_without_ranges_gives_the_file_from_the_start(site, tmp_path):
    done = get(tmp_path, [site.add("first", half()), site.add("simple", lambda request: Response(200, (), (BLOB,), SIZE))])
    assert done.error is None and read(tmp_path / "file") == BLOB and done.bytes == SIZE // 2 + SIZE


# Wrong bytes


class Wrong:
    """Notes what the downloader says of wrong bytes."""

    def __init__(self):
        self.calls = []
        self.events = Events(wrong=lambda number, path, mirrors, error: self.calls.append((read(path), mirrors, error.reference)))


def test_wrong_bytes_are_thrown_away_all_of_them_and_the_mirror_is_named(site, tmp_path):
    wrong = Wrong()
    sources = [site.add("bad", flipped), site.add("good")]
    done = get(tmp_path, sources, events=wrong.events)
    assert done.error is None and references(done) == ["payload-mismatch", "ok"] and site.ranges("good") == [""]
    assert [(len(content), mirrors) for content, mirrors, _ in wrong.calls] == [(SIZE, (sources[0].url,))]


def test_of_two_that_gave_a_wrong_file_together_the_guilty_one_is_found(site, tmp_path):
    wrong = Wrong()
    sources = [site.add("closes", half()), site.add("lies", flipped), site.add("lies too", flipped)]
    closing = iter([half()])
    site.servers["closes"]._answer = lambda request: next(closing, honest)(request)  # it only failed once
    done = get(tmp_path, sources, events=wrong.events)
    assert done.error is None and read(tmp_path / "file") == BLOB
    closes, lies, other = [source.url for source in sources]
    assert [mirrors for _, mirrors, _ in wrong.calls] == [(closes, lies), (other, lies)]
    assert site.ranges("lies too") == ["bytes=0-{}".format(SIZE // 2 - 1)] and site.ranges("closes")[1:] == ["bytes={}-".format(SIZE // 2)]
    assert [attempt.mirror for attempt in done.attempts if attempt.reference == "payload-mismatch"] == [lies]


def test_after_a_wrong_mixture_only_the_bytes_of_the_guilty_one_come_again(site, tmp_path):
    lying = site.add("lies", lambda request: flipped(request)._replace(stop_at=SIZE - 1000 - range_of(request, SIZE)[0]))
    sources = [site.add("closes", half()), lying, site.add("good"), site.add("good too")]
    done = get(tmp_path, sources)
    assert done.error is None and read(tmp_path / "file") == BLOB
    assert site.ranges("closes") == [""] and done.bytes == SIZE + 1000 + SIZE // 2 - 1000  # the shorter of both suspects, then its
    assert [attempt.mirror for attempt in done.attempts if attempt.reference == "payload-mismatch"] == [lying.url]


def test_two_that_are_both_wrong_are_each_asked_alone_and_nothing_gets_a_name(site, tmp_path):
    done = get(tmp_path, [site.add("one", flipped), site.add("two", flipped)])
    assert done.error.reference == "payload-mismatch" and done.error.exit_code == 4
    assert os.listdir(str(tmp_path)) == [] and len(site.log.requests()) == 2


def test_wrong_bytes_are_worse_news_than_a_mirror_that_is_down(site, tmp_path):
    done = get(tmp_path, [site.add("wrong", flipped), site.add("down", listening=False)])
    assert isinstance(done.error, TrustError)


def test_a_checker_that_refuses_the_first_bytes_saves_the_rest(site, tmp_path):
    class Early(Sha256):
        def update(self, chunk):
            raise TrustError("malformed", "no RPM")

    site.add("one", lambda request: honest(request)._replace(rate=200000))
    done = get(tmp_path, [Source("http://{}/base/".format(site.servers["one"].authority))], checker=Early)
    assert done.error.reference == "malformed" and done.bytes < SIZE


def test_a_callback_that_fails_does_not_save_the_wrong_bytes(site, tmp_path):
    def failing(number, path, mirrors, error):
        raise OSError(errno.EACCES, "no")

    with pytest.raises(OSError):
        get(tmp_path, [site.add("wrong", flipped)], events=Events(wrong=failing))
    assert not (tmp_path / "file").exists()


# What an earlier run left


def test_the_part_of_an_interrupted_run_is_hashed_and_continued(site, tmp_path):
    leave_part(tmp_path, BLOB[:100000])
    assert get(tmp_path, [site.add("good")]).bytes == SIZE - 100000
    assert read(tmp_path / "file") == BLOB and site.ranges("good") == ["bytes=100000-"]


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * SIZE, b"x" * (SIZE + 1), b""], ids=["some", "all", "more", "empty"])
def test_a_part_that_does_not_fit_is_forgotten_and_no_mirror_blamed(left, site, tmp_path):
    leave_part(tmp_path, left)
    wrong = Wrong()
    done = get(tmp_path, [site.add("good")], events=wrong.events)
    assert done.error is None and references(done) == ["ok"] and wrong.calls == [] and read(tmp_path / "file") == BLOB


def test_a_complete_part_costs_no_request(site, tmp_path):
    leave_part(tmp_path, BLOB)
    assert get(tmp_path, [site.add("good")]).error is None and read(tmp_path / "file") == BLOB
    assert site.log.requests() == []


def test_a_complete_part_of_unknown_size_is_fetched_again_rather_than_never(site, tmp_path):
    leave_part(tmp_path, BLOB)
    sources = [site.add("one"), site.add("two")]
    assert get(tmp_path, sources, size=None).error is None and read(tmp_path / "file") == BLOB


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo"])
def test_cve_2021_35937_a_planted_part_is_not_written_through(kind, site, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    part = str(tmp_path / ".file.part")
    {"symlink": lambda: os.symlink(str(victim), part), "hardlink": lambda: os.link(str(victim), part),
     "fifo": lambda: os.mkfifo(part)}[kind]()
    assert get(tmp_path, [site.add("good")]).error is None
    assert victim.read_bytes() == b"precious" and read(tmp_path / "file") == BLOB and not (tmp_path / "file").is_symlink()


def test_a_file_that_another_process_is_fetching_is_left_to_it(site, tmp_path):
    other = PartialFile(str(tmp_path / "file"))
    other.write_at(0, b"theirs")
    done = get(tmp_path, [site.add("good")])
    assert isinstance(done.error, UsageError) and "another process" in str(done.error)
    assert read(tmp_path / ".file.part") == b"theirs"
    other.end(keep=False)


def test_an_interrupt_leaves_no_half_file_and_the_next_run_continues(site, tmp_path):
    def interrupt(number, received, total, mirror):
        if received:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(tmp_path, [site.add("half", half(hang=True))], PATIENT._replace(timeout_seconds=2.0), Events(progress=interrupt))
    assert os.listdir(str(tmp_path)) == [".file.part"]
    site.add("good")
    assert get(tmp_path, [Source("http://{}/base/".format(site.servers["good"].authority))]).error is None
    assert site.ranges("good") != [""] and read(tmp_path / "file") == BLOB


@pytest.mark.parametrize("keep", [True, False])
def test_the_part_of_a_file_that_no_mirror_completes_is_kept_if_wanted(keep, site, tmp_path):
    get(tmp_path, [site.add("half", half())], PATIENT._replace(keep_parts=keep))
    assert os.listdir(str(tmp_path)) == ([".file.part"] if keep else [])


# The disk


def test_a_full_disk_is_reported_and_leaves_nothing_under_the_name(tmp_path):
    partial = PartialFile(str(tmp_path / "file"))
    partial._stream = open("/dev/full", "r+b", buffering=0)
    with pytest.raises(UsageError) as refusal:
        partial.write_at(0, b"x")
    assert "No space left" in str(refusal.value) and "df -h" in str(refusal.value) and os.listdir(str(tmp_path)) == []
    partial._stream.close()


def test_a_disk_that_takes_only_a_part_gets_the_rest(tmp_path):
    class Reluctant:
        taken = b""

        def seek(self, position):
            assert position == 0

        def write(self, data):
            self.taken += bytes(data[:3])
            return len(data[:3])

    partial = PartialFile(str(tmp_path / "file"))
    partial._stream = Reluctant()
    partial.write_at(0, b"0123456789")
    assert partial._stream.taken == b"0123456789"


def test_a_download_that_does_not_fit_on_the_disk_is_not_begun(site, tmp_path):
    with pytest.raises(UsageError) as refusal:
        get(tmp_path, [site.add("good")], size=1 << 60)
    assert "free" in str(refusal.value) and site.log.connections() == []


def test_sizes_of_one_disk_are_added_up(tmp_path):
    free = os.statvfs(str(tmp_path)).f_bavail * os.statvfs(str(tmp_path)).f_frsize
    require_space([(str(tmp_path / "new" / "a"), free // 2), (str(tmp_path / "b"), None)])
    with pytest.raises(UsageError):
        require_space([(str(tmp_path / name), free * 2 // 3) for name in ("a", "b")])


def test_a_target_that_cannot_be_is_an_error_of_that_file_alone(site, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_bytes(b"")
    items = [item(tmp_path, "folder"), Item("x", str(tmp_path / "plain" / "below"), Sha256, SIZE), item(tmp_path, "file")]
    results = download(items, [site.add("good")], Network(proxy=""), PATIENT)
    assert [getattr(result.error, "reference", "") for result in results] == ["state", "state", ""]
    assert sorted(os.listdir(str(tmp_path))) == ["file", "folder", "plain"]


def test_another_error_of_the_disk_is_reported_in_its_own_words():
    error = disk_error(OSError(errno.EROFS, "Read-only file system"), "/x/file")
    assert (error.reference, error.exit_code) == ("state", 2) and "Read-only" in str(error)


# Parts of a file from several mirrors at once


def paced(rate=800000, answer=honest):
    return lambda request: answer(request)._replace(rate=rate)


LARGE = b"".join(hashlib.sha256(b"large %d" % number).digest() for number in range(75000))  # 2.4 MB


def of_large(request):
    return honest(request, LARGE)


def get_large(folder, sources, rules=PATIENT, events=Events(), size=len(LARGE)):
    proven = [source._replace(proven=True) for source in sources]
    return get(folder, proven, rules, events, size=size, checker=lambda: Sha256(hashlib.sha256(LARGE).hexdigest()))


@pytest.mark.parametrize("size", [len(LARGE), None], ids=["known", "announced"])
def test_a_large_file_comes_from_several_mirrors_at_once_and_no_byte_twice(size, site, tmp_path):
    sources = [site.add(name, paced(answer=of_large)) for name in ("one", "two", "three")]
    done = get_large(tmp_path, sources, size=size)
    assert done.error is None and read(tmp_path / "file") == LARGE and set(references(done)) == {"ok"}
    assert len(LARGE) <= done.bytes <= 1.1 * len(LARGE) and {attempt.mirror for attempt in done.attempts} == {s.url for s in sources}
    assert site.ranges("one")[0] == "" and all(word.startswith("bytes=") for word in site.ranges("two") + site.ranges("three"))
    assert os.listdir(str(tmp_path)) == ["file"]


@pytest.mark.parametrize("whole", [lambda request: Response(200, (), (LARGE,), len(LARGE)),
                                   lambda request: Response(416) if "range" in request.headers else of_large(request)])
def test_a_mirror_that_ignores_or_refuses_ranges_is_not_asked_for_parts_again_and_not_blamed(whole, site, tmp_path):
    sources = [site.add("one", paced(answer=of_large)), site.add("whole", whole)]
    done = get_large(tmp_path, sources)
    assert done.error is None and read(tmp_path / "file") == LARGE and len(site.ranges("whole")) == 1
    assert [attempt.reference for attempt in done.attempts if attempt.mirror == sources[1].url] == ["left"]


def test_the_mirror_that_sent_a_wrong_part_of_a_large_file_is_named_and_only_its_part_comes_again(site, tmp_path):
    wrong = LARGE[:-1] + b"?"
    sources = [site.add("one", paced(answer=of_large)), site.add("lies", paced(answer=lambda request: honest(request, wrong))),
               site.add("three", paced(answer=of_large))]
    done = get_large(tmp_path, sources)
    assert done.error is None and read(tmp_path / "file") == LARGE and done.bytes < 2 * len(LARGE)
    blamed = [attempt.mirror for attempt in done.attempts if attempt.reference not in ("ok", "left")]
    assert blamed == [sources[1].url]


def test_what_has_arrived_out_of_order_is_continued_by_the_next_run(site, tmp_path):
    def interrupt(number, received, total, mirror):
        if received > len(LARGE) // 2:
            raise KeyboardInterrupt

    sources = [site.add(name, paced(answer=of_large)) for name in ("one", "two", "three")]
    with pytest.raises(KeyboardInterrupt):
        get_large(tmp_path, sources, events=Events(progress=interrupt))
    assert sorted(os.listdir(str(tmp_path))) == [".file.map.part", ".file.part"]
    done = get_large(tmp_path, sources[:1])
    assert done.error is None and read(tmp_path / "file") == LARGE and done.bytes <= len(LARGE) // 2
    assert os.listdir(str(tmp_path)) == ["file"]


@pytest.mark.parametrize("text", [b"", b"0 10\n5 20", b"x", b"0 99999999999", b"-5 10", b"5 5", "0 \u0665".encode("utf-8")])
def test_a_map_that_cannot_be_right_costs_the_part_and_no_more(text, site, tmp_path):
    leave_part(tmp_path, BLOB[:1000])
    (tmp_path / ".file.map.part").write_bytes(text)
    assert get(tmp_path, [site.add("good")]).error is None
    assert read(tmp_path / "file") == BLOB and os.listdir(str(tmp_path)) == ["file"]


def test_a_map_that_is_wrong_is_no_mirrors_fault(site, tmp_path):
    leave_part(tmp_path, BLOB[:1000] + bytes(1000) + BLOB[2000:3000])
    (tmp_path / ".file.map.part").write_bytes(b"0 1500\n2000 3000\n")
    done = get(tmp_path, [site.add("good")])
    assert done.error is None and read(tmp_path / "file") == BLOB and set(references(done)) == {"ok"}


# The host's own line


class Line:
    """Mirrors behind one line, which may be away: then nobody answers."""

    def __init__(self):
        self.away, self.asked = threading.Event(), 0

    def answer(self, request):
        self.asked += self.away.is_set()
        return SILENCE if self.away.is_set() else honest(request)


OUTAGE = RateRules(minrate=1000, timeout_seconds=30.0)


@pytest.mark.parametrize("story, heard_seconds, unanswered, verdict", [
    ("amid packages, everybody is silent", 35.0, 4, True),
    ("for 75 seconds", 75.0, 4, True),
    ("for longer than stock waits", 120.0, 4, False),
    ("nobody was heard in this download: it may be the mirrors", None, 4, False),
    ("the last of them was heard to refuse", 5.0, 0, False),
])
def test_an_outage_of_the_own_line_is_waited_for_as_stock_waits(story, heard_seconds, unanswered, verdict):
    assert is_outage(heard_seconds, unanswered, OUTAGE) == verdict


@pytest.mark.parametrize("reference, what, verdict", [
    ("timed-out", "no answer in time", True), ("unreachable", os.strerror(errno.ENETUNREACH), True),
    ("unreachable", os.strerror(errno.ECONNREFUSED), False), ("unreachable", "Temporary failure in name resolution", True),
    ("http-status", "HTTP 503", False), ("truncated", "the connection was closed in the middle", False),
])
def test_only_what_a_dead_line_looks_like_is_silence(reference, what, verdict):
    assert is_silence(FetchError(reference, what)) == verdict


def test_an_outage_amid_packages_is_waited_for_and_no_mirror_is_blamed(site, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "PAUSE_SECONDS", 0.05)
    line, results = Line(), []

    def done(fetched):
        results.append(fetched)
        line.away.set()

    def progress(number, received, total, mirror):
        if line.asked > 2 * scheduler.ROUNDS + 1:  # all tries of both mirrors were used up
            line.away.clear()

    rules = PATIENT._replace(timeout_seconds=5.0, hedge_seconds=0.05)
    monkeypatch.setattr(scheduler, "HEARTBEAT_SECONDS", 0.05)
    sources = [site.add(name, line.answer) for name in ("one", "two")]
    download(many(tmp_path, 3), sources, Network(proxy=""), rules, Events(progress, done))
    assert [each.error for each in results] == [None] * 3 and line.asked > 2 * scheduler.ROUNDS
    assert {attempt.reference for each in results for attempt in each.attempts} == {"ok", "left"}


def test_an_outage_that_does_not_end_is_a_time_out_of_the_file_and_of_no_mirror(site, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "PAUSE_SECONDS", 0.05)
    line = Line()
    sources = [site.add("one", line.answer)]
    results = download(many(tmp_path, 2), sources, Network(proxy=""), PATIENT._replace(timeout_seconds=0.3),
                       Events(done=lambda fetched: line.away.set()))
    assert [getattr(each.error, "reference", "") for each in results] == ["", "timed-out"]
    assert {attempt.reference for attempt in results[1].attempts} == {"left"}


# Slow lines and endless games


def test_where_all_mirrors_are_slow_the_file_arrives_all_the_same(site, tmp_path, wide_window):
    rules = PATIENT._replace(minrate=10 ** 9)
    sources = [site.add(name, lambda request: honest(request)._replace(rate=800000)) for name in ("one", "two")]
    done = get(tmp_path, sources, rules)
    assert done.error is None and read(tmp_path / "file") == BLOB and len(done.attempts) <= 2 * scheduler.ROUNDS


def test_mirrors_that_each_give_a_little_are_left_in_the_end(site, tmp_path):
    def trickle(request):
        return honest(request)._replace(stop_at=10)

    done = get(tmp_path, [site.add(name, trickle) for name in ("one", "two", "three")])
    assert done.error.reference == "truncated" and len(done.attempts) == 3 * scheduler.ROUNDS


def test_a_flaky_mirror_that_gets_on_is_asked_as_often_as_it_takes(site, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "WORTHWHILE_BYTES", 50000)
    done = get(tmp_path, [site.add("flaky", lambda request: honest(request)._replace(stop_at=60000))])
    assert done.error is None and len(done.attempts) == -(-SIZE // 60000) and done.bytes == SIZE


def test_two_mirrors_that_make_each_other_begin_anew_cannot_do_so_for_ever(site, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "WORTHWHILE_BYTES", 50000)
    answer = Response(200, (), (BLOB,), SIZE, stop_at=60000)
    done = get(tmp_path, [site.add(name, lambda request: answer) for name in ("one", "two")])
    assert done.error.reference == "truncated" and len(done.attempts) <= 2 * scheduler.ROUNDS + 1


@pytest.mark.parametrize("length", [SIZE, None], ids=["announced", "not announced"])
def test_a_file_of_unknown_size_may_have_so_many_bytes_and_no_more(length, site, tmp_path):
    source = site.add("good", lambda request: Response(200, (), (BLOB,), length))
    assert get(tmp_path, [source], PATIENT._replace(max_bytes=SIZE), size=None).error is None
    assert get(tmp_path, [source], PATIENT._replace(max_bytes=SIZE - 1), size=None, name="other").error.reference == "too-large"


def test_no_mirror_at_all_is_an_error_with_a_name(tmp_path):
    assert get(tmp_path, []).error.reference == "unreachable"


# Many files


def many(folder, count):
    return [item(folder, "file{}".format(number)) for number in range(count)]


class Busy:
    """A server's answer that notes how many are under way at once."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), Counter(), Counter()

    def answer(self, name):
        def answer(request):
            return honest(request)._replace(body=self.body(name))
        return answer

    def body(self, name):
        for which in (name, "all"):
            with self.lock:
                self.now[which] += 1
                self.most[which] = max(self.most[which], self.now[which])
        yield BLOB[:SIZE // 2]
        yield BLOB[SIZE // 2:-1]
        with self.lock:
            self.now.subtract([name, "all"])
        yield BLOB[-1:]


def test_never_more_than_three_at_once_two_of_one_mirror_on_kept_connections(site, tmp_path):
    busy = Busy()
    sources = [site.add(name, busy.answer(name)) for name in ("one", "two")]
    results = download(many(tmp_path, 12), sources, Network(proxy=""), PATIENT)
    assert [result.error for result in results] == [None] * 12 and [result.number for result in results] == list(range(12))
    assert busy.most["all"] <= 3 and busy.most["one"] <= 2 and busy.most["two"] <= 2
    assert site.log.requests("one") and site.log.requests("two")
    assert len(site.log.connections()) <= 6  # three workers, two mirrors


def test_a_mirror_that_failed_once_is_not_asked_for_the_next_files(site, tmp_path):
    sources = [site.add("bad", lambda request: Response(404)), site.add("good")]
    results = download(many(tmp_path, 10), sources, Network(proxy=""), PATIENT)
    assert all(result.error is None for result in results) and len(site.log.requests("bad")) <= scheduler.PER_MIRROR


def test_a_mirror_that_has_not_kept_its_word_yet_is_asked_for_little_of_a_large_file(site, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_BYTES", SIZE // 4)
    results = download(many(tmp_path, 2), [site.add("only")], Network(proxy=""), PATIENT)
    assert [result.error for result in results] == [None, None] and read(tmp_path / "file1") == BLOB
    assert site.ranges("only") == ["bytes=0-{}".format(SIZE // 4 - 1), "bytes={}-".format(SIZE // 4), ""]


def test_a_mirror_with_another_size_of_the_file_is_left_before_much_of_it_has_come(site, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_BYTES", SIZE // 4)
    done = get(tmp_path, [site.add("short", lambda request: honest(request, BLOB[:SIZE // 2])), site.add("good")])
    assert references(done) == ["truncated", "ok"] and site.ranges("short") == ["bytes=0-{}".format(SIZE // 4 - 1)]
    assert site.log.bytes("short") < SIZE // 4 + 1000


def test_a_server_that_knows_no_ranges_sends_the_whole_file_at_once(site, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_BYTES", SIZE // 4)
    done = get(tmp_path, [site.add("simple", lambda request: Response(200, (), (BLOB,), SIZE))])
    assert references(done) == ["ok"] and len(site.ranges("simple")) == 1 and read(tmp_path / "file") == BLOB


@pytest.mark.parametrize("system", ["linux", "one without posix_fadvise"])
def test_a_file_that_is_partly_written_back_early_arrives(system, site, tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "WRITE_BACK_BYTES", SIZE // 8)
    if system != "linux":
        monkeypatch.delattr(os, "posix_fadvise")
    assert get(tmp_path, [site.add("good")]).error is None and read(tmp_path / "file") == BLOB


def test_a_file_whose_size_nobody_tells_is_asked_for_once(site, tmp_path):
    done = get(tmp_path, [site.add("terse", lambda request: Response(200, (), (BLOB,), None))], size=None)
    assert references(done) == ["ok"] and read(tmp_path / "file") == BLOB
    assert site.ranges("terse") == [""]


def test_more_than_the_part_that_was_asked_for_is_refused(site, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_BYTES", SIZE // 4)
    place = ("Content-Range", "bytes 0-{}/{}".format(SIZE - 1, SIZE))
    done = get(tmp_path, [site.add("generous", lambda request: Response(206, (place,), (BLOB,), SIZE)), site.add("good")])
    assert references(done) == ["bad-answer", "ok"]


def test_the_origin_is_asked_last_even_if_all_mirrors_have_failed_before(site, tmp_path):
    failing = iter([Response(404)] * 2)
    origin = site.add("origin")._replace(last_resort=True)
    sources = [origin] + [site.add(name, lambda request: next(failing, None) or honest(request)) for name in ("one", "two")]
    results = [download([entry], sources, Network(proxy=""), PATIENT)[0] for entry in many(tmp_path, 2)]
    assert [result.error for result in results] == [None, None]
    assert [entry.path for entry in site.log.requests("origin")] == ["/base/x/file0"]


def test_progress_and_results_are_reported_in_the_callers_thread(site, tmp_path):
    seen = []

    def report(*values):
        seen.append((threading.current_thread(),) + values)

    sources = [site.add("one", lambda request: honest(request)._replace(rate=1000000))]
    get(tmp_path, sources, events=Events(progress=report, done=report))
    assert {entry[0] for entry in seen} == {threading.current_thread()}
    progress = [entry[1:] for entry in seen[:-1]]
    assert progress and [entry[1] for entry in progress] == sorted(entry[1] for entry in progress)
    assert {(number, total, mirror) for number, _, total, mirror in progress} == {(0, SIZE, sources[0].url)}
    assert seen[-1][1].verdict == "proof"


def test_no_thread_and_no_open_file_is_left(site, tmp_path):
    sources = [site.add("bad", half(hang=True)), site.add("deaf", deaf=True), site.add("good")]
    before = {thread for thread in threading.enumerate()}
    get(tmp_path, sources, QUICK)
    for thread in [thread for thread in threading.enumerate() if thread not in before and "lab-" not in thread.name]:
        thread.join(LONG_SECONDS)
        assert not thread.is_alive()
    names = [os.readlink("/proc/self/fd/" + name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)]
    assert not [name for name in names if str(tmp_path) in name]
