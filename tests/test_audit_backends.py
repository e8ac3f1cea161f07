"""Whether a mirror answers the same on every connection."""
import itertools

import pytest

from tests.support.auditing import subject_of, words
from yum_plugin.errors import FetchError
from yum_plugin.operators.audit import backends
from yum_plugin.operators.audit.backends import BackendSample, disagreements


def sample(sha256="a", status=200, path="p", **headers):
    return BackendSample(path, status, sha256, {name.replace("_", "-"): value for name, value in headers.items()}, "(revision {})".format(sha256))


@pytest.mark.parametrize("samples, what", [
    ([sample(), sample()], []),
    ([sample("a"), sample("b"), sample("a")], ["content"]),
    ([sample(), sample(status=404)], ["status"]),
    ([sample(etag="1"), sample(etag="2")], ["etag"]),
    ([sample(last_modified="x"), sample()], ["last-modified"]),
    ([sample("a", etag="1"), sample("b", etag="2")], ["content"]),  # then it goes without saying
    ([sample(path="p", sha256="a"), sample(path="q", sha256="b")], []),
    ([sample(date="1"), sample(date="2")], []),
])
def test_answers_are_compared_by_what_clients_go_by(samples, what):
    assert [each.what for each in disagreements(samples)] == what


def test_a_disagreement_tells_each_answer_and_how_often_it_came():
    [found] = disagreements([sample("a"), sample("b"), sample("a")])
    assert found.values == ("a (revision a) (2 of 3)", "b (revision b) (1 of 3)")


@pytest.mark.parametrize("samples, verdict", [
    ([sample(), sample()], "ok"), ([sample(etag="1"), sample(etag="2")], "warning"), ([sample(), sample(status=404)], "problem"),
    ([sample(content_length="1"), sample(content_length="2")], "problem"),
])
def test_what_only_spoils_a_resumed_download_is_a_warning(samples, verdict):
    assert backends.judge(disagreements(samples), [], 1).verdict == verdict


def test_back_ends_of_different_age_behind_one_name_are_found(lab, tmp_path):
    mirror = lab.add_mirror("m")
    turns = itertools.cycle(["new", "old"])
    original = mirror.serve

    def serve(request, state="", variant=""):
        if request.path.endswith("base/x86_64/repodata/repomd.xml"):  # the first file that is asked for on each connection
            mirror.state = next(turns)
        return original(request, state, variant)

    mirror.serve = serve
    [finding] = backends.run(subject_of(lab, mirror.url, tmp_path))
    assert finding.verdict == "problem" and "content differs" in words(finding) and "(3 of 5)" in words(finding)


def test_a_healthy_mirror_says_the_same_on_every_connection(lab, tmp_path):
    mirror = lab.add_mirror("m")
    [finding] = backends.run(subject_of(lab, mirror.url, tmp_path))
    assert finding.verdict == "ok" and len({entry.connection for entry in lab.log.requests("m")}) == backends.TIMES


def test_a_server_that_drops_some_connections_is_told(lab, tmp_path):
    finding = backends.judge([], [FetchError("unreachable", "Connection reset by peer")], 4)
    assert finding.verdict == "problem" and "1 of 5 connections failed: unreachable" in words(finding)
