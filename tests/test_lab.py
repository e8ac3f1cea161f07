"""The lab does what it says: every fault on the wire, the trees by gpg, the emulator beside real captures."""
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple
from urllib.parse import urlsplit

import pytest

from tests.lab.faults import BOMB_BYTES, FAULTS, faults_named
from tests.lab.lab import Lab
from tests.lab.repositories import STATES, repository_path
from tests.lab.tools import missing
from tests.support.waiting import AT_ONCE_SECONDS, wait_until

pytestmark = pytest.mark.skipif(bool(missing()), reason="not installed: {}".format(", ".join(missing())))
CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "data" / "mirrorbits"
UPDATES = repository_path("updates")
REPOMD = UPDATES + "repodata/repomd.xml"
PACKAGE = UPDATES + "Packages/lab-agent-2.0-1.noarch.rpm"
TIMEOUT_SECONDS = 60.0
SILENT_SECONDS = 2.0  # by then what comes before the silence has come
REPODATA = "{http://linux.duke.edu/metadata/repo}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: Any) -> Iterator[Lab]:
    with Lab(str(tmp_path_factory.mktemp("lab"))) as lab:
        yield lab


@pytest.fixture
def lab(built: Lab) -> Lab:
    built.reset()
    return built


class Answer:
    """What came over the wire."""

    def __init__(self, status: int, headers: List[Tuple[str, str]], body: bytes, complete: bool) -> None:
        self.status, self.headers, self.body, self.complete = status, headers, body, complete

    def header(self, name: str) -> List[str]:
        return [value for key, value in self.headers if key.lower() == name]


def connect(lab: Lab, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=lab.ca_bundle)
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_seconds, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)


def fetch(
    lab: Lab,
    url: str,
    headers: Optional[Dict[str, str]] = None,
    limit: int = 1 << 22,
    seconds: float = TIMEOUT_SECONDS,
    method: str = "GET",
) -> Answer:
    """Ask once, follow nothing, read at most ``limit`` bytes."""
    connection = connect(lab, url, seconds)
    try:
        parts = urlsplit(url)
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), headers=headers or {})
        response = connection.getresponse()
        body = response.read(limit)
        return Answer(response.status, response.getheaders(), body, response.getheader("content-length") == str(len(body)))
    finally:
        connection.close()


def content(lab: Lab, path: str, state: str = "new", variant: str = "") -> bytes:
    return Path(lab.trees.file(path, state, variant)).read_bytes()


def verifies(lab: Lab, signature: bytes, document: bytes, folder: Path) -> str:
    """Return the fingerprint that gpg proves, "" if it does not."""
    (folder / "document").write_bytes(document)
    (folder / "document.asc").write_bytes(signature)
    command = ["gpg", "--homedir", lab.keys.homedir, "--batch", "--status-fd", "1", "--verify", "document.asc", "document"]
    done = subprocess.run(command, cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = re.search(rb"VALIDSIG ([0-9A-F]{40})", done.stdout)
    return found.group(1).decode() if found and done.returncode == 0 else ""


# The trees.


def order(lab: Lab, state: str) -> Tuple[int, int]:
    root = ElementTree.fromstring(content(lab, REPOMD, state))
    stamps = [int(node.text or "") for node in root.iter(REPODATA + "timestamp")]
    return max(stamps), int(root.findtext(REPODATA + "revision") or "")


def test_the_states_of_the_history_follow_each_other(lab):
    assert order(lab, "old") < order(lab, "middle") < order(lab, "new") < order(lab, "future")
    assert order(lab, "new")[0] < time.time() < order(lab, "future")[0] - 86400
    assert lab.trees.stamp("new") == order(lab, "new")[1]


@pytest.mark.parametrize("state", sorted(STATES))
@pytest.mark.parametrize("repository", ["base", "updates"])
def test_every_repomd_is_signed_by_the_repository_key(lab, tmp_path, state, repository):
    inside = repository_path(repository) + "repodata/repomd.xml"
    document, signature = content(lab, inside, state), content(lab, inside + ".asc", state)
    assert verifies(lab, signature, document, tmp_path) == lab.key_fingerprint


@pytest.mark.parametrize(
    "state, owner", [("old", "repository"), ("new", "repository"), ("other-key-packages", "other"), ("unsigned-packages", "")]
)
def test_packages_are_signed_by_whom_the_state_says(lab, state, owner):
    version = STATES[state].version
    path = lab.trees.file(UPDATES + "Packages/lab-agent-{}-1.noarch.rpm".format(version), state)
    query = ["rpm", "-qp", "--nosignature", "--qf", "%{NAME} %{VERSION} %{RSAHEADER:pgpsig}", path]
    words = subprocess.run(query, stdout=subprocess.PIPE, check=True).stdout.decode()
    assert words.startswith("lab-agent {} ".format(version))
    assert words.endswith(lab.keys.fingerprint(owner)[-16:].lower() if owner else "(none)")


def test_a_second_lab_in_the_same_folder_builds_nothing(lab):
    before = content(lab, REPOMD)
    with Lab(lab.folder) as second:
        assert content(second, REPOMD) == before and second.key_fingerprint == lab.key_fingerprint


# A good mirror.


def test_a_good_mirror_serves_what_is_published_and_keeps_the_connection(lab):
    mirror = lab.add_mirror("good")
    connection = connect(lab, mirror.url)
    for state in ("new", "old"):
        lab.publish(state)
        connection.request("GET", "/pub/xcp-ng/" + REPOMD)
        assert connection.getresponse().read() == content(lab, REPOMD, state)
    connection.close()
    assert len(lab.log.connections("good")) == 1 and len(lab.log.requests("good", "repomd.xml")) == 2


@pytest.mark.parametrize(
    "wanted, status, first, last",
    [("bytes=0-9", 206, 0, 10), ("bytes=100-", 206, 100, None), ("bytes=-7", 206, -7, None), ("bytes=999999999-", 416, 0, 0)],
)
def test_ranges(lab, wanted, status, first, last):
    answer = fetch(lab, lab.add_mirror("good").url + PACKAGE, {"Range": wanted})
    assert answer.status == status and answer.body == content(lab, PACKAGE)[first:last]


def test_head_tells_the_length_and_sends_nothing(lab):
    answer = fetch(lab, lab.add_mirror("good").url + PACKAGE, method="HEAD")
    assert answer.header("content-length") == [str(len(content(lab, PACKAGE)))] and answer.body == b""
    assert answer.header("last-modified")


@pytest.mark.parametrize("path", ["../lab.json", "%2e%2e/%2e%2e/lab.json", "8", "8/nothing", "../../../../etc/passwd"])
def test_nothing_outside_the_tree_is_served(lab, path):
    assert fetch(lab, lab.add_mirror("good").url + path).status == 404


def test_forty_mirrors_are_cheap(lab):
    started = time.monotonic()
    mirrors = [lab.add_mirror("m{}".format(number)) for number in range(40)]
    assert len({mirror.url for mirror in mirrors}) == 40
    assert fetch(lab, mirrors[-1].url + REPOMD).status == 200
    assert time.monotonic() - started < AT_ONCE_SECONDS


# Every fault, on the wire.


def broken(lab: Lab, fault: str) -> Any:
    return lab.add_mirror("bad", fault)


def check_refused(lab, mirror, folder):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((mirror.server.address, mirror.server.port), TIMEOUT_SECONDS)


def check_blackhole(lab, mirror, folder):
    with pytest.raises(socket.timeout):
        fetch(lab, mirror.url + REPOMD, seconds=SILENT_SECONDS)
    assert lab.log.contacted() == {"bad"} and not lab.log.requests("bad")


def check_mute(lab, mirror, folder):
    with pytest.raises(socket.timeout):
        fetch(lab, mirror.url + REPOMD, seconds=SILENT_SECONDS)
    assert [entry.status for entry in lab.log.requests("bad")] == [0]


def status_is(status):
    def check(lab, mirror, folder):
        assert [fetch(lab, mirror.url + path).status for path in (REPOMD, PACKAGE, "x")] == [status] * 3

    return check


def drips(rate):
    def check(lab, mirror, folder):
        connection = connect(lab, mirror.url)
        connection.request("GET", "/pub/xcp-ng/" + REPOMD)
        assert connection.sock
        received, started = 0, time.monotonic()
        while received < rate:
            received += len(connection.sock.recv(1 << 16))
        connection.close()
        assert time.monotonic() - started > 0.8

    return check


def check_captive(lab, mirror, folder):
    answer = fetch(lab, mirror.url + PACKAGE)
    assert answer.status == 200 and b"accept our terms" in answer.body


def serves_state(state):
    def check(lab, mirror, folder):
        for path in (REPOMD, REPOMD + ".asc", UPDATES + "Packages/lab-agent-{}-1.noarch.rpm".format(STATES[state].version)):
            assert fetch(lab, mirror.url + path).body == content(lab, path, state)

    return check


def signature_by(owner):
    def check(lab, mirror, folder):
        document, signature = fetch(lab, mirror.url + REPOMD).body, fetch(lab, mirror.url + REPOMD + ".asc").body
        assert document == content(lab, REPOMD)
        assert verifies(lab, signature, document, folder) == (lab.keys.fingerprint(owner) if owner else "")
        assert signature.startswith(b"-----BEGIN PGP SIGNATURE-----")

    return check


def check_bad_signature(lab, mirror, folder):
    signature_by("")(lab, mirror, folder)
    assert lab.key_fingerprint.encode() in lab.keys.gpg("--list-packets", stdin=fetch(lab, mirror.url + REPOMD + ".asc").body)


def check_weak_digest(lab, mirror, folder):
    packets = lab.keys.gpg("--list-packets", stdin=fetch(lab, mirror.url + REPOMD + ".asc").body)
    assert b"digest algo 2," in packets and lab.key_fingerprint.encode() in packets


def check_no_asc(lab, mirror, folder):
    assert [fetch(lab, mirror.url + path).status for path in (REPOMD, REPOMD + ".asc")] == [200, 404]


def check_asc_of_another(lab, mirror, folder):
    signature_by("")(lab, mirror, folder)
    assert fetch(lab, mirror.url + REPOMD + ".asc").body == content(lab, REPOMD + ".asc", "old")


def check_half_synced(lab, mirror, folder):
    signature_by("repository")(lab, mirror, folder)
    primary = re.search(r'href="(repodata/[^"]*primary.xml.gz)"', content(lab, REPOMD).decode())
    assert primary and [fetch(lab, mirror.url + path).status for path in (UPDATES + primary.group(1), PACKAGE)] == [404, 404]


def check_mid_sync(lab, mirror, folder):
    assert fetch(lab, mirror.url + REPOMD).body == content(lab, REPOMD, "old")
    assert fetch(lab, mirror.url + REPOMD + ".asc").body == content(lab, REPOMD + ".asc")
    assert fetch(lab, mirror.url + REPOMD).body == content(lab, REPOMD)


def check_endless(lab, mirror, folder):
    answer = fetch(lab, mirror.url + REPOMD, limit=1 << 24)
    assert len(answer.body) == 1 << 24 and not answer.header("content-length")


def check_endless_headers(lab, mirror, folder):
    with pytest.raises(http.client.HTTPException):
        fetch(lab, mirror.url + REPOMD)


def check_gzip_bomb(lab, mirror, folder):
    answer = fetch(lab, mirror.url + REPOMD)
    assert answer.header("content-encoding") == ["gzip"] and len(answer.body) < BOMB_BYTES // 500
    assert int.from_bytes(answer.body[-4:], "little") == BOMB_BYTES


def check_redirect_loop(lab, mirror, folder):
    first, second = fetch(lab, mirror.url + REPOMD), fetch(lab, mirror.url + REPOMD)
    assert [first.status, second.status] == [302, 302] and first.header("location") != second.header("location")
    assert first.header("location")[0].startswith("/pub/xcp-ng/" + REPOMD)


def check_redirect_to_http(lab, mirror, folder):
    location = fetch(lab, mirror.url + REPOMD).header("location")[0]
    assert location.startswith("http://") and fetch(lab, location).body == content(lab, REPOMD)


def check_crlf_location(lab, mirror, folder):
    answer = fetch(lab, mirror.url + REPOMD)
    assert "%0d%0aX-Encoded" in answer.header("location")[0] and answer.header("x-both") == ["yes"]


def check_packages_404(lab, mirror, folder):
    signature_by("repository")(lab, mirror, folder)
    assert fetch(lab, mirror.url + PACKAGE).status == 404


def check_corrupt(lab, mirror, folder):
    good, bad = content(lab, PACKAGE), fetch(lab, mirror.url + PACKAGE).body
    assert len(good) == len(bad) and sum(left != right for left, right in zip(good, bad)) == 1


def check_truncated(lab, mirror, folder):
    answer = fetch(lab, mirror.url + PACKAGE)
    assert answer.complete and answer.body == content(lab, PACKAGE)[: len(content(lab, PACKAGE)) // 2]


def check_short(lab, mirror, folder):
    answer = fetch(lab, mirror.url + PACKAGE)
    assert not answer.complete and answer.body == content(lab, PACKAGE)[: len(content(lab, PACKAGE)) // 2]
    assert answer.header("content-length") == [str(len(content(lab, PACKAGE)))]


def check_stalling(lab, mirror, folder):
    with pytest.raises(socket.timeout):
        fetch(lab, mirror.url + PACKAGE, seconds=SILENT_SECONDS)
    sent = lab.log.bytes("bad")
    assert len(content(lab, PACKAGE)) // 2 < sent < len(content(lab, PACKAGE)) * 3 // 4


def check_slow_packages(lab, mirror, folder):
    assert fetch(lab, mirror.url + REPOMD).body == content(lab, REPOMD)
    connection = connect(lab, mirror.url)
    started = time.monotonic()
    connection.request("GET", "/pub/xcp-ng/" + PACKAGE)
    received = len(connection.getresponse().read(1000))
    connection.close()
    assert received == 1000 and time.monotonic() - started > 0.4


def tls_fails_with(words):
    def check(lab, mirror, folder):
        with pytest.raises(ssl.SSLError) as refusal:
            fetch(lab, mirror.url + REPOMD)
        assert re.search(words, str(refusal.value))

    return check


CHECKS = {
    "refused": check_refused,
    "blackhole": check_blackhole,
    "mute": check_mute,
    "http-503": status_is(503),
    "drip-500": drips(500),
    "drip-1k": drips(1100),
    "captive": check_captive,
    "stale": serves_state("old"),
    "rolled-back": serves_state("old"),
    "fast-forward": serves_state("future"),
    "bad-signature": check_bad_signature,
    "other-key": signature_by("other"),
    "weak-digest": check_weak_digest,
    "no-asc": check_no_asc,
    "asc-of-another": check_asc_of_another,
    "half-synced": check_half_synced,
    "mid-sync": check_mid_sync,
    "endless-repomd": check_endless,
    "endless-unframed": check_endless,
    "endless-headers": check_endless_headers,
    "gzip-bomb": check_gzip_bomb,
    "redirect-loop": check_redirect_loop,
    "redirect-to-http": check_redirect_to_http,
    "crlf-location": check_crlf_location,
    "packages-404": check_packages_404,
    "corrupt-packages": check_corrupt,
    "truncated-packages": check_truncated,
    "short-packages": check_short,
    "stalling-packages": check_stalling,
    "slow-packages": check_slow_packages,
    "other-key-packages": serves_state("other-key-packages"),
    "unsigned-packages": serves_state("unsigned-packages"),
    "expired-certificate": tls_fails_with("expired"),
    "wrong-host-certificate": tls_fails_with("(?i)mismatch|doesn't match"),
    "self-signed-certificate": tls_fails_with("(?i)self.signed"),
    "incomplete-chain": tls_fails_with("unable to get local issuer|CERTIFICATE_VERIFY_FAILED"),
}


def test_every_fault_has_a_check():
    assert set(CHECKS) == set(FAULTS)


@pytest.mark.parametrize("fault", sorted(CHECKS))
def test_fault_on_the_wire(lab, fault, tmp_path):
    CHECKS[fault](lab, broken(lab, fault), tmp_path)


def test_faults_can_be_joined(lab):
    mirror = broken(lab, "stale+no-asc+expired-certificate")
    tls_fails_with("expired")(lab, mirror, None)
    assert [fault.name for fault in faults_named("stale+good+mute")] == ["stale", "mute"]
    with pytest.raises(ValueError, match="unknown fault nonsense; known: refused"):
        faults_named("nonsense")


# The emulator of the redirector.


def ask(lab: Lab, query: str = "", scheme: str = "http", accept: str = "", path: str = REPOMD) -> Answer:
    url = "{}://{}/{}{}".format(scheme, lab.redirector.authority, path, query)
    return fetch(lab, url, {"Accept": accept} if accept else {})


@pytest.fixture
def network(lab: Lab) -> Lab:
    lab.add_mirror("first", sponsor='Université "D" & <S>')
    lab.add_mirror("second", scheme="http", base="/", country="DE")
    lab.add_mirror("third", country="US")
    lab.add_mirror("gone", "refused")
    lab.exclude("gone", "Not HTTP / Unreachable")
    lab.redirector.selection = lab.redirector.shared = 2
    return lab


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_one_port_speaks_http_and_https(network, scheme):
    answer = ask(network, scheme=scheme)
    assert answer.status == 302 and answer.header("location") == [network.mirrors["first"].url + REPOMD]
    assert answer.header("link") == ["<{}>; rel=duplicate; pri=1; geo=de".format(network.mirrors["second"].url + REPOMD)]


def shape(value: Any) -> Any:
    """Reduce JSON to its keys, in order, and types."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items() if not key.endswith("DownReason")]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


class Tables(HTMLParser):
    """The list page's tables as they are written: tags, classes, link or text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: List[List[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append(sorted("{}={}".format(*pair) for pair in attrs))
        elif self.rows and tag in ("td", "th", "a", "b", "table"):
            self.rows[-1].append(tag + "".join(sorted("{}={}".format(*pair) for pair in attrs if pair[0] != "href")))

    def handle_endtag(self, tag: str) -> None:
        if self.rows and tag in ("td", "th", "a", "tr"):
            self.rows[-1].append("/" + tag)

    @property
    def kinds(self) -> List[List[str]]:
        return [row for number, row in enumerate(self.rows) if row not in self.rows[:number]]


needs_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures of a real mirrorbits are not beside this clone")


@needs_captures
@pytest.mark.parametrize("capture, healthy", [("selection.json", True), ("fallback.json", False)])
def test_json_has_the_keys_and_types_of_the_real_one(network, capture, healthy):
    real = json.loads((CAPTURES / capture).read_text(encoding="utf-8"))
    if not healthy:
        network.redirector.mirrors = network.redirector.excluded = []
    raw = ask(network, accept="application/json").body
    assert shape(json.loads(raw.decode())) == shape(real)
    assert b'Universit\xc3\xa9 de \\"' not in raw and (not healthy or b'\\u0026 \\u003cS\\u003e' in raw)


@needs_captures
@pytest.mark.parametrize("capture", ["mirrorlist.html", "mirrorlist-https.html", "mirrorlist-fallback.html"])
def test_the_list_page_is_written_like_the_real_one(network, capture):
    real = (CAPTURES / capture).read_text(encoding="utf-8")
    if "fallback" in capture:
        network.redirector.mirrors = network.redirector.excluded = []
    page = ask(network, "?mirrorlist" + ("&https=1" if "https" in capture else "")).body.decode()
    grey = ["style=color: grey;"]
    expected, found = Tables(real).kinds, Tables(page).kinds
    if "https" in capture:
        found = [row for row in found if row[:1] != grey]
    assert found == expected
    assert re.search(r"<td>[^<]+<td style", page) or "fallback" in capture


@needs_captures
def test_the_redirect_has_the_header_lines_of_the_real_one(network):
    real = (CAPTURES / "redirect.txt").read_text().splitlines()
    names = [line.split(":")[0] for line in real[1:] if line]
    found = [name for name, _ in ask(network).headers]
    assert list(dict.fromkeys(found)) == list(dict.fromkeys(names))
    link = next(line for line in real if line.startswith("Link"))
    assert re.sub(r"<.*>|=\w+", "", link.split(": ", 1)[1]) == re.sub(r"<.*>|=\w+", "", ask(network).header("link")[0])


@needs_captures
def test_the_statistics_are_written_like_the_real_ones(network):
    real = (CAPTURES / "mirrorstats.html").read_text(encoding="utf-8")
    page = fetch(network, "http://{}/?mirrorstats".format(network.redirector.authority)).body.decode()
    assert Tables(page).kinds == Tables(real).kinds


def test_the_origin_file_is_described(network):
    digest = hashlib.sha256(content(network, REPOMD)).hexdigest()
    assert ask(network, "?sha256").body.decode() == digest + "  repomd.xml"
    info = json.loads(ask(network, accept="application/json").body.decode())["FileInfo"]
    assert (info["Sha256"], info["Size"]) == (digest, len(content(network, REPOMD)))
    network.publish("old")
    assert digest not in ask(network, "?mirrorlist").body.decode()


@pytest.mark.parametrize("query, wanted, reason", [("&https=1", "https://", "Not HTTPS"), ("&https=0", "http://", "Not HTTP")])
def test_a_scheme_can_be_asked_for(network, query, wanted, reason):
    page = ask(network, "?mirrorlist" + query).body.decode()
    links = re.findall(r'<a href="([^"]*repomd.xml)">', page)
    assert links and all(link.startswith(wanted) for link in links) and ">{}</td>".format(reason) in page
    assert ask(network, query.replace("&", "?")).header("location")[0].startswith(wanted)


@pytest.mark.parametrize("setting, query, accept", [("list_page", "?mirrorlist", ""), ("json", "", "application/json")])
def test_a_form_can_be_switched_off(network, setting, query, accept):
    setattr(network.redirector, setting, False)
    assert ask(network, query, accept=accept).status == 404 and ask(network).status == 302


def test_mode_redirect_knows_no_json_and_mode_json_nothing_else(network):
    network.redirector.mode = "redirect"
    assert ask(network, accept="application/json").status == 302
    network.redirector.mode = "json"
    assert ask(network).header("content-type") == ["application/json; charset=utf-8"]
    network.redirector.mode, network.redirector.links = "auto", False
    assert ask(network).status == 302 and not ask(network).header("link")


@pytest.mark.parametrize("path", ["", "8", UPDATES, "8/nothing.xml", "../../lab.json"])
def test_unknown_paths_and_folders_are_404(network, path):
    assert ask(network, path=path).status == 404


def test_requests_can_go_round(network):
    network.alternate(["third", "second"])
    hosts = [ask(network).header("location")[0] for _ in range(3)]
    assert hosts == [network.mirrors[name].url + REPOMD for name in ("third", "second", "third")]


def test_bad_days_of_the_redirector(network):
    network.redirector.behaviour = "captive"
    assert b"accept our terms" in ask(network, "?mirrorlist").body
    network.redirector.behaviour = ""
    network.redirector.down()
    with pytest.raises(ConnectionRefusedError):
        ask(network)
    network.redirector.up()
    assert ask(network).status == 302


# A real dnf, and the end.

STOCK = [("stale", 0, "1.0"), ("bad-signature", 1, ""), ("expired-certificate", 0, "2.0")]


@pytest.mark.skipif(bool(missing(["dnf"])), reason="not installed: dnf")
@pytest.mark.parametrize("fault, code, version", [("good", 0, "2.0")] + STOCK)
def test_stock_dnf_behaves_as_measured(lab, tmp_path, fault, code, version):
    lab.add_mirror("first", fault)
    lab.add_mirror("second")
    host = lab.installroot(str(tmp_path), plugins=False)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (code, version), done.stderr
    assert lab.log.requests("redirector", "repomd.xml")
    lab.reset()
    assert agents_end(str(tmp_path))


def agents(folder: str) -> List[str]:
    """Return the command lines of processes that name ``folder``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it ended meanwhile
        found += [words] if folder in words and "pytest" not in words else []
    return found


def agents_end(folder: str) -> bool:
    """Wait until gpg's agents, which were told to end, have done so."""
    return wait_until(lambda: not agents(folder))


def test_nothing_is_left_after_close(built, tmp_path):
    lab = Lab(built.folder)
    mirrors = [lab.add_mirror(fault, fault) for fault in ("blackhole", "mute", "drip-500", "endless-repomd", "stalling-packages")]
    clients = [connect(lab, mirror.url) for mirror in mirrors[1:]]
    for client, path in zip(clients, (REPOMD, REPOMD, REPOMD, PACKAGE)):
        client.request("GET", "/pub/xcp-ng/" + path)
    hanging = socket.create_connection((mirrors[0].server.address, mirrors[0].server.port))
    assert lab.log.wait(lambda: len(lab.log.requests()) == 4 and len(lab.log.connections()) == 5)
    lab.keys.sign(b"an agent is running now")
    homedir = lab.keys.homedir
    authorities = [(mirror.server.address, mirror.server.port) for mirror in mirrors + [lab.origin, lab.redirector]]
    started = time.monotonic()
    lab.close()
    assert time.monotonic() - started < AT_ONCE_SECONDS
    assert hanging.recv(1) == b""
    for client in clients:
        client.close()
    hanging.close()
    for authority in authorities:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(authority, 1)
    mine = {server.name for server in (mirror.server for mirror in mirrors)}
    assert not [thread for thread in threading.enumerate() if thread.name.split("-", 2)[-1] in mine]
    assert not os.path.lexists(homedir)
    assert agents_end(homedir)


@pytest.mark.parametrize("arguments, word", [(["--help"], "--mirror"), (["--list-faults"], "half-synced")])
def test_the_command_helps(arguments, word):
    root = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-m", "tests.lab"] + arguments
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0 and word in done.stdout
