"""Freshness by signed revision, and the sync interval as it shows over time; clock and sleep are the test's."""
import pytest

from tests.support.auditing import subject_of, words
from tests.support.world import DAY, NOW, snapshot
from yum_plugin.errors import FetchError, TrustError
from yum_plugin.model import Network
from yum_plugin.operators.audit import freshness, sync_interval
from yum_plugin.operators.audit.freshness import RepositoryFreshness, ServedMetadata, judge, judge_repository
from yum_plugin.operators.audit.model import AuditOptions
from yum_plugin.operators.audit.publication_lag import (
    RevisionSample,
    SecondsRange,
    SignedRevision,
    WatchSchedule,
    keeps_up,
    summarize_watch,
    watch,
    worst_lag,
)

UPDATES = "8/8.3/updates/x86_64/"
ORIGIN, OTHER = "origin.test", "other.test"


def answer(version):
    return ServedMetadata(snapshot(version))


def failed(error):
    return ServedMetadata(error=error)


MISSING = failed(FetchError("http-status", "HTTP 404"))
TAMPERED = failed(TrustError("signature-invalid", "not by this key"))


@pytest.mark.parametrize("mine, others, verdict, said", [
    (answer(5), [answer(5), answer(5)], "ok", "the newest of 3"),
    (answer(5), [answer(4)], "ok", "the newest of 2"),  # an origin that lags is not the mirror's fault
    (answer(3), [answer(5), answer(4)], "problem", "48 h behind origin.test; 2 newer revisions seen, the first of them signed"),
    (answer(4), [TAMPERED, answer(5)], "problem", "24 h behind other.test; 1 newer revision seen"),
    (answer(5), [MISSING], "unknown", "nothing to compare it with"),
    (TAMPERED, [answer(5)], "problem", "signature-invalid: not by this key"),
    (MISSING, [answer(5)], "problem", "http-status: HTTP 404"),
])
def test_a_mirror_stands_where_its_signed_revision_stands(mine, others, verdict, said):
    result = judge_repository("p", mine, list(zip((ORIGIN, OTHER), others)), NOW)
    assert result.verdict == verdict and said in result.words


def test_what_was_published_within_the_hour_need_not_be_there_yet():
    published = snapshot(100)
    result = judge_repository("p", answer(99), [(ORIGIN, ServedMetadata(published))], published.signed_at + 1800)
    assert result.verdict == "warning" and result.behind_seconds == DAY and result.behind_revisions == 1


@pytest.mark.parametrize("verdicts, worst", [
    (["ok", "ok"], "ok"), (["ok", "unknown"], "unknown"), (["unknown", "warning", "ok"], "warning"), (["problem", "warning"], "problem"),
])
def test_the_worst_repository_is_the_verdict(verdicts, worst):
    finding = judge([RepositoryFreshness("p", verdict, "words") for verdict in verdicts], [ORIGIN])
    assert finding.verdict == worst and bool(finding.remedy) == (worst in ("warning", "problem"))


def test_a_revision_that_was_missed_long_ago_counts_however_new_the_last_one_is():
    last, missed = snapshot(100), snapshot(98)
    result = judge_repository("p", answer(97), [(ORIGIN, ServedMetadata(last)), (OTHER, ServedMetadata(missed))], last.signed_at + 60)
    assert result.verdict == "problem" and "signed 48 h ago" in result.words


# Mirrors of the lab


def watched(subject, every, seconds, clock, sleep):
    """The subject as --watch and --every make it, on the test's time."""
    return subject._replace(options=AuditOptions(watch_seconds=seconds, every_seconds=every), clock=clock, sleep=sleep)


@pytest.mark.parametrize("fault, verdict, said", [
    ("", "ok", "the newest of 3"),
    ("mid-sync", "ok", "the newest of 3"),
    ("stale", "problem", "4 days behind"),
    ("bad-signature", "problem", "signature-invalid"),
    ("other-key", "problem", "unknown-key"),
    ("no-asc", "problem", "signature-missing"),
    ("weak-digest", "problem", "weak-digest"),
    ("asc-of-another", "problem", "signature-invalid"),
])
def test_every_repository_is_compared_with_the_origin_and_another_mirror(lab, tmp_path, fault, verdict, said):
    mirror = lab.add_mirror("m", fault)
    lab.add_mirror("n")
    [finding] = freshness.run(subject_of(lab, mirror.url, tmp_path))
    assert finding.verdict == verdict and words(finding).count(said) == 2
    assert (lab.origin.server.authority in finding.values["compared_with"]) and len(finding.values["compared_with"]) == 2
    assert bool(finding.remedy) == (verdict == "problem")


def test_an_origin_that_does_not_answer_leaves_the_other_mirrors_to_compare_with(lab, tmp_path):
    mirror = lab.add_mirror("m", "stale")
    lab.add_mirror("n")
    lab.origin.server.refuse()
    [finding] = freshness.run(subject_of(lab, mirror.url, tmp_path))
    assert finding.verdict == "problem" and "4 days behind" in words(finding)


def test_a_mirror_with_a_bad_certificate_does_not_keep_the_origins_from_being_checked(lab, tmp_path):
    subject = subject_of(lab, lab.add_mirror("m", "self-signed-certificate").url, tmp_path)
    subject = subject._replace(network=subject.network._replace(ssl_verify=False))
    assert freshness.run(subject)[0].verdict == "ok"
    [finding] = sync_interval.run(watched(subject, 300, 1200, Time(subject.now).clock, interrupt))
    assert "1 sample\n" in words(finding)  # at the mirror too something was seen
    subject = subject._replace(others_network=Network(proxy=""))  # which does not trust the lab
    assert freshness.run(subject)[0].verdict == "unknown"
    [finding] = sync_interval.run(watched(subject, 300, 1200, Time(0).clock, interrupt))
    assert "gave nothing to compare with" in words(finding)


def test_a_dead_place_is_asked_once_and_not_for_each_repository(lab, tmp_path):
    dead = lab.add_mirror("m", "mute")
    subject = subject_of(lab, dead.url, tmp_path)
    subject = subject._replace(settings=subject.settings._replace(read_timeout=0.2))
    [finding] = freshness.run(subject)
    assert finding.verdict == "problem" and words(finding).count("timed-out: no answer in time") == 2
    assert len(lab.log.requests("m")) == 1


def test_the_examined_mirror_is_never_compared_with_itself(lab, tmp_path):
    mirror = lab.add_mirror("m")
    subject = subject_of(lab, mirror.url, tmp_path)
    assert freshness.roots_to_compare(subject, [UPDATES]) == [lab.origin.url]
    [finding] = freshness.run(subject._replace(settings=subject.settings._replace(fallbacks=())))
    assert finding.verdict == "unknown" and "compared with nobody" in words(finding)


# Over time: what looks amount to


OLD, NEW, NEWER = SignedRevision("old", 0), SignedRevision("new", 1000), SignedRevision("newer", 5000)


def looks(*rows):
    return [RevisionSample(float(at), mirror, origin) for at, mirror, origin in rows]


@pytest.mark.parametrize("rows, lag, arrived", [
    # published between 900 (the look before) and 1200, but signed at 1000; the mirror has it between 1500 and 1800
    (looks((900, OLD, OLD), (1200, OLD, NEW), (1500, OLD, NEW), (1800, NEW, NEW)), SecondsRange(300, 800), True),
    (looks((900, OLD, OLD), (1200, NEW, NEW)), SecondsRange(0, 200), True),  # both within one look
    (looks((2000, OLD, NEW), (2300, NEW, NEW)), SecondsRange(0, 1300), True),  # lacked from the first look on
    (looks((2000, OLD, NEW), (9000, OLD, NEW)), SecondsRange(7000, None), False),
    (looks((2000, OLD, NEW), (2300, None, None), (2600, NEW, NEW)), SecondsRange(0, 1600), True),  # a look that saw nothing
    (looks((2000, OLD, NEW), (2300, NEWER, NEWER)), SecondsRange(0, 1300), True),  # overtaken: it has more than that by now
])
def test_the_lag_after_a_publication_is_told_within_bounds(rows, lag, arrived):
    first = summarize_watch(rows).publications[0]
    assert (first.lag, first.arrived) == (lag, arrived)


@pytest.mark.parametrize("rows", [looks((1, OLD, OLD), (2, OLD, OLD)), looks((1, None, None)), [], looks((1, NEW, OLD), (2, NEW, OLD))],
                         ids=["nothing new", "no answer", "no look", "a mirror that is ahead"])
def test_without_a_publication_nothing_is_said(rows):
    watched = summarize_watch(rows)
    assert watched.publications == () and worst_lag([watched]) is None


def test_the_interval_is_told_from_one_change_at_the_mirror_to_the_next():
    rows = looks((0, OLD, OLD), (600, NEW, NEW), (4200, NEW, NEW), (4800, NEWER, NEWER))
    assert summarize_watch(rows).intervals == (SecondsRange(3600.0, 4800.0),)


@pytest.mark.parametrize("lag, verdict", [(SecondsRange(0, 3600), True), (SecondsRange(0, 3601), None), (SecondsRange(3601, None), False), (SecondsRange(10, None), None)])
def test_only_bounds_that_prove_it_make_a_verdict(lag, verdict):
    assert keeps_up(lag) is verdict


def test_those_that_were_signed_last_are_watched():
    assert sync_interval.last_signed({"base": SignedRevision("a", 1), "updates": SignedRevision("b", 9), "lost": None, "testing": SignedRevision("c", 5)}, 2) == ["updates", "testing"]


class Time:
    """A clock that only sleeping moves; ``events`` happen when it reaches them."""

    def __init__(self, now, **events):
        self.now, self.events, self.slept = float(now), {int(key[1:]): event for key, event in events.items()}, []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        event = self.events.get(len(self.slept))
        if event is not None:
            event()


def test_the_watch_ends_with_its_time_and_looks_a_last_time_then():
    time = Time(0)
    seen = watch(lambda: {"p": RevisionSample(time.now, OLD, OLD)}, WatchSchedule(300, 700, time.clock, time.sleep), lambda number, left: None)
    assert [look.at for look in seen["p"]] == [0, 300, 600, 700] and time.slept == [300, 300, 100]


def interrupt(*_):
    raise KeyboardInterrupt


def test_ctrl_c_ends_the_watch_with_what_was_seen():
    time = Time(0, _2=interrupt)
    seen = watch(lambda: {"p": RevisionSample(time.now, OLD, OLD)}, WatchSchedule(300, 9000, time.clock, time.sleep), lambda number, left: None)
    assert [look.at for look in seen["p"]] == [0, 300]


def test_a_publication_is_watched_from_the_origin_to_the_mirror(lab, tmp_path):
    lab.publish("old")
    mirror = lab.add_mirror("m", tree="old")

    def follow():
        mirror.state = "new"

    now = subject_of(lab, mirror.url, tmp_path).now
    time = Time(now, _1=lambda: lab.publish("new"), _3=follow)
    subject = subject_of(lab, mirror.url, tmp_path)
    [finding] = sync_interval.run(watched(subject, 300, 1200, time.clock, time.sleep))
    assert finding.verdict == "ok"
    for path in (UPDATES, "8/8.3/base/x86_64/"):
        assert finding.values[path]["looks"] == 5
        assert [(each["arrived"], each["lag_seconds"]) for each in finding.values[path]["publications"]] == [(True, [300.0, 900.0])]
    assert "the mirror had it after 5 min to 15 min" in words(finding)


def test_what_is_signed_while_it_is_watched_is_not_taken_for_the_future(lab, tmp_path):
    subject = subject_of(lab, lab.add_mirror("m", tree="new").url, tmp_path)
    time = Time(subject.now + 31 * DAY, _1=lambda: lab.publish("future"))  # whose stamps are 30 days ahead of the lab's present
    [finding] = sync_interval.run(watched(subject, 300, 600, time.clock, time.sleep))
    assert len(finding.values[UPDATES]["publications"]) == 1


@pytest.mark.parametrize("rows, verdict", [
    (looks((900, OLD, OLD), (1200, OLD, NEW), (8000, OLD, NEW), (8300, NEW, NEW)), "problem"),
    (looks((900, OLD, OLD), (1200, OLD, NEW), (1500, NEW, NEW)), "ok"),
    (looks((900, OLD, OLD), (1200, OLD, NEW)), "unknown"),
])
def test_a_mirror_that_comes_hours_after_a_publication_syncs_too_seldom(rows, verdict):
    finding = sync_interval.judge({"p": summarize_watch(rows)}, ORIGIN)
    assert finding.verdict == verdict and bool(finding.remedy) == (verdict == "problem")


def test_a_watch_without_an_origin_says_that_it_cannot_know(lab, tmp_path):
    subject = subject_of(lab, lab.add_mirror("m").url, tmp_path)
    lab.origin.server.refuse()
    time = Time(0)
    [finding] = sync_interval.run(watched(subject, 300, 1200, time.clock, time.sleep))
    assert finding.verdict == "unknown" and "gave nothing to compare with" in words(finding) and time.slept == []


def test_what_a_watch_costs_is_told_beforehand():
    short, long = (sync_interval.CHECK.with_limits(AuditOptions(watch_seconds=seconds)) for seconds in (3600.0, 36000.0))
    assert short.cost.connections == 2 * 14 + 1  # two places a look: the first, twelve more within the hour, the last
    assert short.cost.connections < long.cost.connections and short.cost.bytes < long.cost.bytes
