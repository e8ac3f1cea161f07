"""The server in front of the tree: does it say the same each time, how fast is it, can a path leave the tree."""
import itertools
from urllib.parse import unquote

import pytest

from tests.lab.mirror import NOT_FOUND, Fault
from tests.support.auditing import subject_of, words
from tests.support.nginx import Nginx
from tests.support.rawserver import RawServer
from yum_plugin.errors import FetchError
from yum_plugin.operators.audit import backends, bandwidth, traversal
from yum_plugin.operators.audit.backends import BackendSample, disagreements
from yum_plugin.operators.audit.model import Budget, Cost, OverBudget
from yum_plugin.operators.audit.throughput import ThroughputSample as Read
from yum_plugin.operators.audit.throughput import measure, rate_words

MBIT = 10**6


# The same answer each time


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


# Bandwidth


@pytest.mark.parametrize("samples, grade, bits", [
    ([Read(125 * MBIT, 1.0)] * 3, "fast", 1000 * MBIT),
    ([Read(115 * MBIT, 1.0)] * 3, "fast", 920 * MBIT),  # a full gigabit line carries so much payload
    ([Read(12 * MBIT, 1.0)] * 3, "enough", 96 * MBIT),
    ([Read(11 * MBIT, 1.0)] * 3, "slow", 88 * MBIT),
    ([Read(1, 1.0), Read(125 * MBIT, 1.0), Read(125 * MBIT, 1.0)], "fast", 1000 * MBIT),  # the start does not count
    ([Read(125 * MBIT, 1.0)] * 4 + [Read(1, 1.0)], "fast", 1000 * MBIT),  # nor does one hiccup
    ([Read(12 * MBIT, 1.0)], "enough", 96 * MBIT),
])
def test_a_speed_is_judged_by_the_median_read(samples, grade, bits):
    speed = measure(samples)
    assert (speed.grade, speed.bits_per_second) == (grade, bits)


def test_without_a_byte_there_is_no_speed():
    assert measure([]) is None and measure([Read(0, 1.0)]) is None


@pytest.mark.parametrize("bits, text", [(940 * MBIT, "940 Mbit/s"), (1.25e9, "1.25 Gbit/s"), (2500, "2.5 kbit/s"), (8, "8 bit/s")])
def test_a_rate_is_worded(bits, text):
    assert rate_words(bits) == text


class Ticks:
    """A clock that moves by so much with each look."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def __call__(self):
        self.now += self.seconds
        return self.now


@pytest.mark.parametrize("tick, verdict, said", [
    (1e-4, "ok", "isos/8.3/xcp-ng-8.3.0.iso"),
    (0.15, "warning", "the mirror's line or this machine's"),
])
def test_the_largest_image_is_read_in_parts_on_one_connection(lab, tmp_path, tick, verdict, said):
    mirror = lab.add_mirror("m")
    [finding] = bandwidth.run(subject_of(lab, mirror.url, tmp_path), Ticks(tick))
    assert finding.verdict == verdict and said in words(finding)
    ranged = [entry for entry in lab.log.requests("m") if "range" in entry.headers]
    assert len(ranged) == bandwidth.PARTS and len({entry.connection for entry in ranged}) == 1


def without_images(served, request):
    return NOT_FOUND if "/isos/" in request.path else None


def test_without_images_the_largest_package_is_read_and_a_small_one_says_nothing(lab, tmp_path, monkeypatch):
    mirror = lab.add_mirror("m")
    mirror.faults = (Fault("no-images", "", without_images),)
    subject = subject_of(lab, mirror.url, tmp_path)
    assert bandwidth.run(subject)[0].verdict == "unknown"
    monkeypatch.setattr(bandwidth, "LEAST_BYTES", 1000)
    assert bandwidth.run(subject)[0].values["path"].endswith("Packages/lab-base-2.0-1.noarch.rpm")


def test_a_part_that_takes_too_long_is_left_in_its_middle(lab, tmp_path):
    mirror = lab.add_mirror("m")
    [finding] = bandwidth.run(subject_of(lab, mirror.url, tmp_path), Ticks(bandwidth.PART_SECONDS + 1))
    assert finding.verdict == "warning" and finding.values["read_bytes"] < bandwidth.PARTS * 300000


def test_a_budget_is_never_exceeded_by_more_than_a_chunk(lab, tmp_path):
    budget = Budget(Cost(20, 500000), 60.0)
    with pytest.raises(OverBudget):
        bandwidth.run(subject_of(lab, lab.add_mirror("m").url, tmp_path, budget=budget))
    assert budget.spent.bytes < 500000 + 70000


def test_a_mirror_that_breaks_off_is_told(lab, tmp_path):
    [finding] = bandwidth.run(subject_of(lab, lab.add_mirror("m", "short-packages").url, tmp_path))
    assert finding.verdict == "problem" and "truncated" in words(finding)


# Paths that leave the tree


NAIVE = """location /pub/xcp-ng {{ alias {root}/; {more} }}"""
RIGHT = """location /pub/xcp-ng/ {{ alias {root}/; {more} }}"""


@pytest.fixture
def nginx(tmp_path):
    """A function from a location block to a server whose mirror is at /pub/xcp-ng/."""
    root = tmp_path / "srv" / "mirror"
    (root / "8").mkdir(parents=True)
    (tmp_path / "srv" / "private").write_text("nobody's business")

    def start(block, more=""):
        text = block.format(root=root, more=more)
        return Nginx(tmp_path / "nginx", lambda http, https: "server {{ listen 127.0.0.1:{}; {} }}".format(http, text))

    return start


@pytest.mark.parametrize("block, more, out", [
    (RIGHT, "", False), (RIGHT, "autoindex on;", False), (NAIVE, "", True), (NAIVE, "autoindex on;", True),
], ids=["right", "right, listed", "an alias without its slash", "the same, listed"])
def test_an_nginx_alias_without_its_slash_leads_out_of_the_tree(lab, tmp_path, nginx, block, more, out):
    with nginx(block, more) as server:
        [finding] = traversal.run(subject_of(lab, "http://127.0.0.1:{}/pub/xcp-ng/".format(server.http_port), tmp_path))
        assert '"GET ' not in server.requests  # nothing is ever read
    assert (finding.verdict, finding.values["leads_out"]) == (("problem", ["/pub/xcp-ng../"]) if out else ("ok", []))
    assert ("location /name/ { alias /path/to/mirror/; }" in finding.remedy) == out


def naive(connection, server):
    """A server that joins the requested path to its folder, decoded, and looks there; anything else is not found."""
    while True:
        target = server.read_head(connection).split(b" ")[1].decode("latin-1")
        path = unquote(target).replace("\\", "/")
        status = "200 OK" if path.endswith("../etc/os-release") and path.count("../") > 4 else "404 Not Found"
        connection.sendall("HTTP/1.1 {}\r\nContent-Length: 5\r\n\r\n".format(status).encode())


def refuses(connection, server):
    """A guard in front of the server that refuses every path with dots, and closes."""
    head = server.read_head(connection)
    assert b".." in head or b"%2" in head.lower() or b"etc" in head
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def agrees_to_everything(connection, server):
    while True:
        server.read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")


def hangs_up(connection, server):
    server.read_head(connection)


@pytest.mark.parametrize("behave, verdict, said", [
    (naive, "problem", "/pub/%2e%2e/%2e%2e/"),
    (refuses, "ok", "13 probes, 13 refused"),
    (agrees_to_everything, "unknown", "answers 200 to everything"),
    (hangs_up, "unknown", "13 refused"),
])
def test_a_path_that_leaves_the_tree_is_told_from_one_that_seems_to(lab, tmp_path, behave, verdict, said):
    with RawServer(behave) as server:
        [finding] = traversal.run(subject_of(lab, server.url + "pub/", tmp_path))
    assert finding.verdict == verdict and said in words(finding)
    assert all(head.startswith(b"HEAD ") for head in server.heads)
    assert server.heads[0].startswith(b"HEAD /pub/../../../")  # as it is: no library has resolved it on the way


def test_a_healthy_mirror_of_the_lab_refuses_every_probe(lab, tmp_path):
    [finding] = traversal.run(subject_of(lab, lab.add_mirror("m").url, tmp_path))
    assert finding.verdict == "ok"

