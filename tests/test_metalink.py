"""The metalink for clients without a plugin, read back by every reader there is: ours, yum's rules, the real librepo."""
import contextlib
import hashlib
import http.server
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree

import pytest

from tests.support import documents
from yum_plugin.model import Mirror, Snapshot
from yum_plugin.resolve.metalink_writer import MAX_URLS, render_metalink
from yum_plugin.sources import metalink

REPOMD = "repodata/repomd.xml"
SNAPSHOT = Snapshot("ab" * 32, size=4321, revision=7, timestamp=1700000000, signed_at=1700000100)
MIRRORS = (
    Mirror("https://b.example/pub/8/updates/", "B", "DE", "list-page", 1),
    Mirror("http://a.example:8080/x&y/", "A <\">", "", "origin", 2),
    Mirror("https://c.example/", "C", "FR", "json", 3),
)
NAMESPACES = {"ml": "http://www.metalinker.org/", "mm0": "http://fedorahosted.org/mirrormanager"}
SYSTEM_PYTHON = "/usr/bin/python3"


def file_element(document):
    return ElementTree.fromstring(document).find("ml:files/ml:file", NAMESPACES)


def bases_as_yum_sees_them(document):
    """Apply yum 3.4.3's rules (facts of metalink.py:MetaLinkRepoMD): sort by preference, one URL a host:port, known tail."""
    found = file_element(document).findall("ml:resources/ml:url", NAMESPACES)
    ordered = sorted(found, key=lambda url: (-int(url.get("preference")), url.get("type") != "https", url.text))
    hosts, bases = set(), []
    for url in ordered:
        host = url.text.split("/")[2]
        if host not in hosts and url.text.endswith("/" + REPOMD):
            hosts.add(host)
            bases.append(url.text[: -len(REPOMD)])
    return bases


def test_our_own_reader_understands_it():
    found = metalink.parse_metalink(render_metalink(SNAPSHOT, MIRRORS), REPOMD)
    assert [(mirror.url, mirror.country) for mirror in found.mirrors] == [(mirror.url, mirror.country) for mirror in MIRRORS]
    assert found.sha256 == SNAPSHOT.sha256 and found.dropped == ()


def test_yum_finds_all_that_it_insists_on():
    found = file_element(render_metalink(SNAPSHOT, MIRRORS))
    assert found.get("name") == "repomd.xml"
    assert int(found.findtext("mm0:timestamp", namespaces=NAMESPACES)) == SNAPSHOT.timestamp  # not the revision
    assert int(found.findtext("ml:size", namespaces=NAMESPACES)) == SNAPSHOT.size
    hashes = found.findall("ml:verification/ml:hash", NAMESPACES)
    assert [(item.get("type"), item.text) for item in hashes] == [("sha256", SNAPSHOT.sha256)]


def test_no_older_file_is_accepted_beside_the_newest():
    assert b"alternate" not in render_metalink(SNAPSHOT, MIRRORS)


def test_librepo_finds_the_elements_by_their_literal_names():
    text = render_metalink(SNAPSHOT, MIRRORS).decode("utf-8")
    for tag in ("<mm0:timestamp>", "<size>", "<verification>", '<hash type="sha256">', "<resources ", "<url "):
        assert tag in text


def test_urls_hold_no_white_space_and_speak_their_own_protocol():
    for url in file_element(render_metalink(SNAPSHOT, MIRRORS)).iterfind("ml:resources/ml:url", NAMESPACES):
        assert url.text == url.text.strip() and url.text.endswith("/" + REPOMD)
        assert url.get("protocol") == url.get("type") == url.text.partition(":")[0]


def test_yum_takes_the_mirrors_in_our_order():
    assert bases_as_yum_sees_them(render_metalink(SNAPSHOT, MIRRORS)) == [mirror.url for mirror in MIRRORS]


@pytest.mark.parametrize(
    "urls, written",
    [
        (["https://a.example/x/", "https://a.example/y/"], ["https://a.example/x/"]),
        (["https://a.example/x/", "https://A.example:443/y/"], ["https://a.example/x/"]),
        (["http://a.example/", "https://a.example/"], ["http://a.example/", "https://a.example/"]),
        (["https://[::1]/", "https://[::1]:8443/"], ["https://[::1]/", "https://[::1]:8443/"]),
        ([], []),
    ],
)
def test_one_url_is_written_for_each_host_and_port(urls, written):
    found = file_element(render_metalink(SNAPSHOT, [Mirror(url) for url in urls]))
    assert [url.text for url in found.iterfind("ml:resources/ml:url", NAMESPACES)] == [base + REPOMD for base in written]


def test_preferences_stay_within_what_librepo_allows():
    mirrors = [Mirror("https://m{}.example/".format(number)) for number in range(300)]
    found = file_element(render_metalink(SNAPSHOT, mirrors)).findall("ml:resources/ml:url", NAMESPACES)
    assert [int(url.get("preference")) for url in found] == list(range(MAX_URLS, 0, -1))


def test_a_country_cannot_break_out_of_its_attribute():
    found = file_element(render_metalink(SNAPSHOT, [Mirror("https://a.example/", country="\"'><url>")]))
    assert found.find("ml:resources/ml:url", NAMESPACES).get("location") == "\"'><url>"


# The real librepo

LOAD = """
import sys, dnf
base = dnf.Base()
base.conf.cachedir = base.conf.installroot = sys.argv[1]
base.conf.substitutions["releasever"] = "1"
repo = dnf.repo.Repo("lab", base.conf)
repo.metalink = sys.argv[2]
base.repos.add(repo)
repo.load()
print("\\n".join(repo._repo.getMirrors()))
print(repo._repo.getCachedir())
"""


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """http.server.ThreadingHTTPServer, which Python 3.6 lacks."""

    daemon_threads = True


@contextlib.contextmanager
def served(folder):
    """Serve a folder on a free port of 127.0.0.1; yields its base URL and the list of paths asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path):
            asked.append(path)
            return os.path.join(str(folder), path.lstrip("/"))

        def log_message(self, *arguments):
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield "http://127.0.0.1:{}/".format(server.server_address[1]), asked
        server.shutdown()
        thread.join()


def made_repository(folder, revision):
    """Make an empty repository; returns its snapshot."""
    folder.mkdir()
    subprocess.run(["createrepo_c", "--quiet", "--revision", str(revision), str(folder)], check=True)
    raw = (folder / REPOMD).read_bytes()
    return Snapshot(hashlib.sha256(raw).hexdigest(), len(raw), revision, 1, 1, raw)


def require_librepo():
    if not shutil.which("createrepo_c"):
        pytest.skip("no createrepo_c here")
    if subprocess.run([SYSTEM_PYTHON, "-c", "import dnf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("the system's Python has no dnf")


def loaded(tmp_path, document):
    """What librepo makes of a metalink: the mirrors, and the repomd.xml that it took."""
    path = tmp_path / "metalink.xml"
    path.write_bytes(document)
    command = [SYSTEM_PYTHON, "-c", LOAD, str(tmp_path / "cache"), "file://{}".format(path)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]}).stdout
    lines = output.decode(sys.getfilesystemencoding()).splitlines()
    with open(os.path.join(lines[-1], REPOMD), "rb") as stream:
        return lines[:-1], stream.read()


@pytest.mark.dnf
def test_the_real_librepo_follows_our_order_and_enforces_our_hash(tmp_path):
    require_librepo()
    current, stale = made_repository(tmp_path / "current", 2), made_repository(tmp_path / "stale", 1)
    assert current.sha256 != stale.sha256
    with served(tmp_path / "stale") as (stale_url, stale_asked), served(tmp_path / "current") as (current_url, current_asked):
        document = render_metalink(current, [Mirror(stale_url), Mirror(current_url, country="FR")])
        assert loaded(tmp_path, document) == ([stale_url, current_url], current.raw)
    assert stale_asked[0] == current_asked[0] == "/" + REPOMD


def test_metadata_without_timestamps_is_named_as_yum_reads_it():
    """What stands in the place of the missing time elsewhere, the signing time, would make yum refuse the file."""
    raw = re.sub(rb"<timestamp>[0-9.]+</timestamp>", b"", documents.REPOMD)
    document = render_metalink(SNAPSHOT._replace(raw=raw, timestamp=SNAPSHOT.signed_at), MIRRORS)
    assert file_element(document).findtext("mm0:timestamp", namespaces=NAMESPACES) == "0"
