"""Whether a path can leave the tree: a real nginx, and servers that only seem to lead out."""
from urllib.parse import unquote

import pytest

from tests.support.auditing import subject_of, words
from tests.support.nginx import Nginx
from tests.support.rawserver import RawServer
from yum_plugin.operators.audit import traversal

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
