"""What an audit says of a web server: real nginx with a chain, an address or a manner that is wrong, and servers that are none."""
import os
import random
import socket
import ssl
import subprocess
import sys
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from yum_plugin.errors import FetchError
from yum_plugin.model import REPOMD, Network
from yum_plugin.operators.audit import addresses, http_semantics, http_vs_https, reachable, tls, tls_versions
from yum_plugin.operators.audit.certificates import has_signed
from yum_plugin.operators.audit.model import AuditOptions, Budget, Cost, Subject
from yum_plugin.operators.audit.tls_versions import REFUSED, VERSIONS, client_hello, read_answer
from yum_plugin.operators.facts import HOST_REPOSITORIES

from .support.chains import DAY, Authority, pem_of
from .support.nginx import Nginx, site
from .support.rawserver import RawServer, never_speaks, ok, says, serves
from .support.world import DEFAULTS

NAMES = ("localhost", "127.0.0.1", "127.0.0.2", "::1")
BODY = (
    '<?xml version="1.0"?>\n<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>{0}</revision><data type="primary">'
    '<checksum type="sha256">{1}</checksum><location href="repodata/p.xml.gz"/><timestamp>{0}</timestamp><size>10</size>'
    '<open-size>10</open-size></data></repomd>\n')
FOUR, SIX = (int(socket.AF_INET), "127.0.0.1"), (int(socket.AF_INET6), "::1")
HASTY = DEFAULTS._replace(connect_timeout=0.2, read_timeout=0.2)  # where nobody will answer


class Grounds:
    """A tree, an authority, and how to serve the one with the other's certificates."""

    def __init__(self, folder):
        self.folder, self.files = folder, 0
        self.authority = Authority(time.time())
        self.tree = self.make_tree("tree", 1700000000)
        self.bundle = str(folder / "roots.pem")
        (folder / "roots.pem").write_bytes(pem_of(self.authority.stores()["new"]))
        self.chains = self.authority.chains(NAMES)

    def make_tree(self, name, revision):
        for path in HOST_REPOSITORIES:
            file = self.folder / name / path / REPOMD
            file.parent.mkdir(parents=True)
            file.write_text(BODY.format(revision, "a" * 64))
            os.utime(str(file), (revision, revision))
        return self.folder / name

    def pem(self, chain, key="leaf"):
        self.files += 1
        path = self.folder / "{}.pem".format(self.files)
        path.write_bytes(pem_of(chain, self.authority.key(key)))
        return path

    def context(self, chain):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(self.pem(chain)))
        return context

    def nginx(self, chain="short", more="", listen=("127.0.0.1", "[::1]"), sites=None):
        """Serve the tree by http and https on all addresses."""
        pem = self.pem(self.chains[chain] if isinstance(chain, str) else chain)

        def both(http, https):
            ports = ["{}:{}".format(address, http) for address in listen]
            return site(self.tree, ports + ["{}:{} ssl".format(address, https) for address in listen], pem, more)

        return Nginx(self.folder / "nginx{}".format(self.files), both if sites is None else lambda http, https: sites(pem, http, https))

    def subject(self, url, also="", **changes):
        network = Network(proxy="", ssl_ca_cert=self.bundle)
        made = Subject(url, "", network, network, (), "", HOST_REPOSITORIES, DEFAULTS, AuditOptions(), int(time.time()),
                       Budget(Cost(100, 10**8), 60), also, look_up=lambda host, port: [FOUR, SIX])
        return made._replace(**changes)

    def of(self, server, **changes):
        return self.subject("https://localhost:{}/".format(server.https_port), "http://localhost:{}/".format(server.http_port),
                            **changes)


@pytest.fixture(scope="module")
def grounds(tmp_path_factory):
    return Grounds(tmp_path_factory.mktemp("audit"))


def verdicts_of(findings):
    return {finding.check: finding.verdict for finding in findings}


def test_a_good_mirror_passes_every_check_of_its_server(grounds):
    with grounds.nginx(more="ssl_protocols TLSv1.2 TLSv1.3;") as server:
        subject = grounds.of(server)
        reached = reachable.run(subject)
        findings = [finding for check in (tls, tls_versions, http_vs_https, addresses, http_semantics) for finding in check.run(subject)]
    assert reached.is_mirror and reached.finding.verdict == "ok" and reached.subject == subject
    assert verdicts_of(findings) == dict.fromkeys(
        ("https", "chain", "lets-encrypt", "tls-versions", "http-and-https", "ipv4", "ipv6", "range", "keep-alive", "head", "headers"),
        "ok"), findings
    assert [finding.remedy for finding in findings if finding.remedy] == []
    assert subject.budget.spent.connections <= 16 and subject.budget.spent.bytes < 10000


# Certificates


@pytest.mark.parametrize("chain, https, served, trap, word, remedy", [
    ("long", "ok", "ok", "problem", "DST Root CA X3", "preferred_chain"),
    ("short with the root", "ok", "warning", "ok", "the root ISRG Root X1 is served", "fullchain.pem"),
    ("long, its order turned", "ok", "warning", "problem", "is out of order", "fullchain.pem"),
    ("strangers beside", "ok", "warning", "ok", "Some CA is not related to any other", "fullchain.pem"),
    ("leaf alone", "problem", "problem", "unknown", "tls-incomplete", "fullchain.pem"),
    ("expired leaf, short", "problem", "ok", "unknown", "ended 3 days ago", "certbot renew"),
    ("expired leaf, long", "problem", "ok", "problem", "ended 3 days ago", "certbot renew"),
    ("expired intermediate", "problem", "ok", "unknown", "certificate has expired (R3)", "certbot renew"),
    ("unknown root", "problem", "problem", "unknown", "nobody has issued itself", "certbot certonly"),
    ("self-signed", "problem", "problem", "unknown", "leaf has issued itself", "certbot certonly"),
    ("other authority", "ok", "ok", "ok", "leaf ends in", ""),
], ids=lambda value: value if " " in str(value) or value == "long" else "")
def test_a_chain_is_judged_as_it_is_served(grounds, chain, https, served, trap, word, remedy):
    with grounds.nginx(chain) as server:
        findings = tls.run(grounds.of(server))
    assert [verdicts_of(findings)[name] for name in ("https", "chain", "lets-encrypt")] == [https, served, trap], findings
    lines = [line for finding in findings for line in finding.evidence]
    assert any(word in line for line in lines), lines
    assert all(bool(finding.remedy) == (finding.verdict in ("problem", "warning")) for finding in findings)
    assert remedy in "".join(finding.remedy for finding in findings)


@pytest.mark.parametrize("names, days, verdict, word, remedy", [
    (("elsewhere.test",), 90, "problem", "it is for elsewhere.test, not for localhost", "-d localhost"),
    (NAMES, 13, "warning", "ends in 1", "certbot renew"),
    (NAMES, 15, "ok", "ends in 1", ""),
])
def test_a_name_that_is_not_its_own_and_an_end_that_is_near_are_told(grounds, names, days, verdict, word, remedy):
    chain = (grounds.authority.leaf(names, ends_in=days * DAY), grounds.authority.r3)
    with grounds.nginx(chain) as server:
        finding = tls.run(grounds.of(server))[0]
    assert (finding.check, finding.verdict) == ("https", verdict)
    assert any(word in line for line in finding.evidence) and remedy in finding.remedy


@pytest.mark.parametrize("key, digest, words", [
    ("rsa:1024", "sha256", "leaf is too weak: a key of 1024 bits"),
    ("rsa:2048", "sha1", "leaf is too weak: signed with SHA1"),
    ("rsa:2048", "sha256", ""), ("ed25519", "sha256", ""),
])
def test_a_weak_key_and_a_weak_digest_are_told(tmp_path, key, digest, words):
    command = ["openssl", "req", "-x509", "-newkey", key, "-" + digest, "-nodes", "-subj", "/CN=leaf", "-outform", "DER",
               "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "leaf.der")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    [leaf], unreadable = tls.read_chain([(tmp_path / "leaf.der").read_bytes()])
    finding = tls.judge_chain([leaf], 0, [leaf], "mirror.test")
    assert unreadable == 0 and has_signed(leaf, leaf) and not has_signed(leaf, leaf._replace(parsed=broken(leaf.parsed)))
    assert (finding.verdict, finding.evidence[0] if words else "", "--key-type ecdsa" in finding.remedy) == (
        "problem" if words else "ok", words, bool(words))


def test_what_is_weak_or_superfluous_is_told_of_the_right_certificate_only(grounds):
    leaf, r3, x1 = (tls.read_chain([each.public_bytes(Encoding.DER)])[0][0] for each in grounds.chains["short with the root"])
    old_root = x1._replace(weakness="signed with SHA1")
    assert tls.judge_chain([leaf, r3, old_root], 0, [old_root], "m").evidence[0] == "the root ISRG Root X1 is served: every client has its own copy"
    assert tls.judge_chain([leaf, r3], 0, [old_root], "m").verdict == "ok"
    [alone] = tls.read_chain([grounds.authority.certificate("nobody", "nobody").public_bytes(Encoding.DER)])[0]
    verdicts_of = tls.judge_chain([alone], 3, [], "m").evidence
    assert verdicts_of[:2] == ("nobody has issued itself and is not a root known here", "3 further certificates that cannot be read")


def test_a_certificate_of_a_thousand_names_is_not_read(grounds):
    many = grounds.authority.leaf(["{}.mirror.test".format(number) for number in range(2500)]).public_bytes(Encoding.DER)
    assert tls.read_chain([many]) == ([], 1)


def broken(certificate):
    """The same certificate with its last bit turned."""
    from cryptography import x509

    der = bytearray(certificate.public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_certificate(bytes(der))


def test_a_server_of_tls_1_3_alone_is_looked_into_where_python_can(grounds):
    with grounds.nginx("long", "ssl_protocols TLSv1.3;") as server:
        findings = verdicts_of(tls.run(grounds.of(server)) + tls_versions.run(grounds.of(server)))
    seen = ("ok", "problem") if sys.version_info >= (3, 10) else ("unknown", "unknown")
    assert findings == {"https": "ok", "chain": seen[0], "lets-encrypt": seen[1], "tls-versions": "problem"}


def test_old_versions_of_tls_are_found_although_this_machines_openssl_refuses_them(grounds):
    old = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers DEFAULT@SECLEVEL=0;"

    def sites(pem, http, https):
        return site(grounds.tree, ["127.0.0.1:{} ssl default_server".format(https)], more=old + " ssl_reject_handshake on;") + site(
            grounds.tree, ["127.0.0.1:{} ssl".format(https)], pem, old + " server_name localhost;")

    with grounds.nginx(sites=sites) as server:
        [finding] = tls_versions.run(grounds.of(server))
    assert finding.values["versions"] == dict.fromkeys(("TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"), "offered")
    assert finding.verdict == "warning" and "ssl_protocols TLSv1.2 TLSv1.3;" in finding.remedy


def test_no_answer_to_a_hello_makes_the_parser_fail():
    dice = random.Random(2)
    hello = b"\x16\x03\x03\x00\x32\x02\x00\x00\x2e\x03\x03" + b"r" * 32 + b"\x00\x13\x01\x00\x00\x06\x00\x2b\x00\x02\x03\x04"
    assert {read_answer(hello[:size], 0x0304) for size in range(len(hello))} == {""}
    assert (read_answer(hello, 0x0304), read_answer(hello, 0x0303)) == ("offered", "refused")
    for _ in range(2000):
        raw = bytearray(hello[:dice.randint(0, len(hello))])
        for _ in range(dice.randint(0, 5)):
            if raw:
                raw[dice.randrange(len(raw))] = dice.randrange(256)
        assert read_answer(bytes(raw), 0x0303) in ("", "offered", "refused")
    assert {read_answer(each, 0x0303) for each in (b"HTTP/1.1 400 Bad", b"\x15\x03\x01\x00\x02\x02\x46", b"SSH-2.0-x")} == {REFUSED}
    assert {read_answer(b"\x16\x03\x01\x00" + bytes([size]) + b"\x02" * size, 0x0303) for size in range(4)} == {REFUSED}  # no message
    assert all(len(client_hello(version, "m.test", b"r" * 32)) < 512 for _, version in VERSIONS)


# http beside https


@pytest.mark.parametrize("more, verdict, word", [
    ("return 301 https://localhost:{https}$request_uri;", "ok", "http redirects to https"),
    ("return 302 http://localhost:{http}/elsewhere;", "problem", "not to https://localhost"),
    ("root {other};", "problem", "served different files"),
    ("return 403;", "ok", "https is enough"),
])
def test_http_must_be_the_same_mirror_or_lead_to_https(grounds, more, verdict, word):
    other = grounds.folder / "other"
    if not other.exists():
        grounds.make_tree("other", 1600000000)

    def sites(pem, http, https):
        text = more.format(http=http, https=https, other=other)
        root = "" if "root" in text else grounds.tree
        plain = "server {{ listen 127.0.0.1:{}; {} {} }}".format(http, "root {};".format(root) if root else "", text)
        return plain + site(grounds.tree, ["127.0.0.1:{} ssl".format(https)], pem)

    with grounds.nginx(sites=sites) as server:
        [finding] = http_vs_https.run(grounds.of(server))
    assert finding.verdict == verdict and word in finding.evidence[0], finding
    assert bool(finding.remedy) == (verdict == "problem")


def test_without_the_other_port_nothing_is_guessed(grounds):
    with grounds.nginx() as server:
        subject = grounds.of(server, also_url="")
        assert http_vs_https.run(subject)[0].verdict == "unknown"
        plain = subject._replace(url="http://localhost:{}/".format(server.http_port))
        assert verdicts_of(tls.run(plain) + tls_versions.run(plain)) == {"https": "unknown", "tls-versions": "unknown"}


# Addresses


def look_up(*found):
    return lambda host, port: list(found)


def test_an_ipv6_address_that_nobody_listens_at_is_found(grounds):
    with grounds.nginx(listen=("127.0.0.1",)) as server:
        four, six = addresses.run(grounds.of(server))
    assert (four.verdict, six.verdict) == ("ok", "problem")
    assert six.evidence == ("::1: unreachable: Connection refused",) and "remove its AAAA record" in six.remedy


def test_an_address_that_serves_something_else_is_found_though_the_name_works(grounds):
    other = grounds.make_tree("old", 1500000000)

    def sites(pem, http, https):
        return site(grounds.tree, ["127.0.0.1:{} ssl".format(https), "[::1]:{} ssl".format(https)], pem) + site(
            other, ["127.0.0.2:{} ssl".format(https)], pem)

    with grounds.nginx(sites=sites) as server:
        four, six = addresses.run(grounds.of(server, look_up=look_up(FOUR, (FOUR[0], "127.0.0.2"), SIX)))
    assert (four.verdict, six.verdict) == ("problem", "ok")
    assert "127.0.0.2: answers, with another repomd.xml" in four.evidence


def test_every_address_is_asked_by_the_mirrors_name_and_must_have_its_certificate(grounds):
    wrong = grounds.pem((grounds.authority.leaf(("other.test",)), grounds.authority.r3))

    def sites(pem, http, https):
        return site(grounds.tree, ["127.0.0.1:{} ssl".format(https)], pem) + site(
            grounds.tree, ["[::1]:{} ssl".format(https)], wrong)

    chain = (grounds.authority.leaf(("mirror.test",)), grounds.authority.r3)
    with grounds.nginx(chain, sites=sites) as server:
        subject = grounds.subject("https://mirror.test:{}/".format(server.https_port))
        four, six = addresses.run(subject)
    assert (four.verdict, six.verdict) == ("ok", "problem") and six.evidence[0].startswith("::1: tls-")


@pytest.mark.parametrize("found, verdicts, word", [
    ([FOUR], ("ok", "problem"), "localhost has no IPv6 address"),
    ([SIX], ("problem", "ok"), "localhost has no IPv4 address"),
    ([FOUR] * 50 + [SIX], ("ok", "ok"), "answers"),
])
def test_a_family_without_an_address_is_a_fault_and_many_addresses_are_not_all_asked(grounds, found, verdicts, word):
    with grounds.nginx() as server:
        subject = grounds.of(server, look_up=look_up(*found))
        findings = addresses.run(subject)
    assert tuple(finding.verdict for finding in findings) == verdicts
    assert any(word in line for finding in findings for line in finding.evidence)
    assert subject.budget.spent.connections <= addresses.CHECK.cost.connections


def test_a_name_that_cannot_be_looked_up_and_an_address_for_a_name_are_told(grounds):
    def unknown(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    findings = addresses.run(grounds.subject("https://mirror.test/", look_up=unknown))
    assert verdicts_of(findings) == {"ipv4": "problem", "ipv6": "problem"}
    assert verdicts_of(addresses.run(grounds.subject("https://[::1]:1/"))) == {"ipv4": "unknown", "ipv6": "unknown"}


def test_a_machine_without_ipv6_does_not_accuse_the_mirror():
    far = addresses.AddressResult("2001:db8::1", problem="this machine has no route to it", has_route=False)
    finding = addresses.judge_family("IPv6", "AAAA", [far], "a" * 64, "mirror.test")
    assert finding.verdict == "unknown" and "from a machine with IPv6" in finding.remedy
    assert addresses.lacks_route(FetchError("unreachable", "Network is unreachable"))
    assert not addresses.lacks_route(FetchError("unreachable", "Connection refused"))


# Manners


@pytest.mark.parametrize("more, check, verdict", [
    ("max_ranges 0;", "range", "warning"),
    ("keepalive_timeout 0;", "keep-alive", "warning"),
    ("if ($request_method = HEAD) {{ return 405; }}", "head", "problem"),
    ("add_header Last-Modified yesterday; if_modified_since off;", "headers", "warning"),
])
def test_each_bad_manner_is_told_by_its_name(grounds, more, check, verdict):
    with grounds.nginx(more=more.replace("{{", "{").replace("}}", "}")) as server:
        findings = http_semantics.run(grounds.of(server))
    expected = dict.fromkeys(("range", "keep-alive", "head", "headers"), "ok")
    expected[check] = verdict
    assert verdicts_of(findings) == expected, findings


def test_a_time_in_the_future_is_told(grounds):
    tree = grounds.make_tree("future", int(time.time()) + 86400)
    with grounds.nginx(sites=lambda pem, http, https: site(tree, ["127.0.0.1:{} ssl".format(https)], pem)) as server:
        findings = {finding.check: finding for finding in http_semantics.run(grounds.of(server))}
    assert findings["headers"].verdict == "warning" and "future" in findings["headers"].evidence[0]


WHOLE = bytes(range(97, 123)) * 4


def answering(part=None, head=None, whole=None):
    """A server that gives these answers to a request for a part, for the head, for the whole."""
    def behave(connection, server):
        while True:
            request = server.read_head(connection)
            if b"\r\nrange:" in request.lower():
                reply = part or ok(WHOLE)
            elif request.startswith(b"HEAD"):
                reply = head or ok(WHOLE, "Last-Modified: Thu, 26 Nov 2020 10:00:00 GMT").split(b"\r\n\r\n")[0] + b"\r\n\r\n"
            else:
                reply = whole or ok(WHOLE, "Last-Modified: Thu, 26 Nov 2020 10:00:00 GMT")
            connection.sendall(reply)
    return behave


def partial(body, said="bytes 1-32/104"):
    return b"HTTP/1.1 206 Partial Content\r\nContent-Range: %s\r\nContent-Length: %d\r\n\r\n%s" % (said.encode(), len(body), body)


@pytest.mark.parametrize("answers, check, verdict, word", [
    ({"part": partial(WHOLE[1:33])}, "range", "ok", "right bytes"),
    ({"part": partial(WHOLE[:32])}, "range", "problem", "other bytes"),
    ({"part": partial(WHOLE[1:33], "bytes 0-31/104")}, "range", "problem", "Content-Range"),
    ({"part": partial(WHOLE[1:33], "bytes 1-32/99999999999999999999")}, "range", "problem", "Content-Range"),
    ({"part": b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n"}, "range", "warning", "HTTP 416"),
    ({"head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}, "head", "warning", "content-length"),
    ({"whole": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"}, "headers", "warning", "no Content-Length"),
    ({"whole": ok(WHOLE)}, "headers", "warning", "Last-Modified is missing"),
    ({"whole": ok(WHOLE, "Last-Modified: " + "9" * 300)}, "headers", "warning", "cannot be read"),
    ({"whole": ok(WHOLE, "Last-Modified: Thu, 99 Nov 99999999999999999999 99:99:99 +9999")}, "headers", "warning", "Last-Modified"),
    ({"whole": ok(WHOLE, "Last-Modified: \x1b[31m, 26 Nov 2020 10:00:00 GMT")}, "headers", "ok", "Content-Length"),
])
def test_answers_that_no_good_server_gives_are_told(grounds, answers, check, verdict, word):
    with RawServer(answering(**answers)) as server:
        findings = {finding.check: finding for finding in http_semantics.run(grounds.subject(server.url))}
    assert findings[check].verdict == verdict and any(word in line for line in findings[check].evidence), findings[check]


def test_a_server_that_closes_each_connection_without_saying_so_keeps_none_alive(grounds):
    with RawServer(says(ok(WHOLE, "Last-Modified: Thu, 26 Nov 2020 10:00:00 GMT"))) as server:
        findings = verdicts_of(http_semantics.run(grounds.subject(server.url)))
    assert findings == {"range": "warning", "keep-alive": "warning", "head": "ok", "headers": "ok"}


def test_a_server_that_says_a_wrong_length_is_not_believed(grounds):
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + WHOLE
    with RawServer(says(reply)) as server, pytest.raises(FetchError) as caught:
        http_semantics.run(grounds.subject(server.url))
    assert caught.value.reference == "truncated"


# No mirror at all


def resets(connection, server):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


@pytest.mark.parametrize("behave, answers, word", [
    (says(b"SSH-2.0-OpenSSH_9.2\r\n"), False, "bad-answer"),
    (never_speaks, False, "timed-out"),
    (resets, False, "unreachable"),
    (says(b""), False, "unreachable"),
    (serves(ok(b"<html>welcome</html>")), True, "not a repomd.xml"),
    (serves(ok(b"x" * 2000000)), True, "more than the"),
    (serves(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), True, "HTTP 404"),
    (says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), True, "it redirects to http://127.0.0.1:1/"),
], ids=["ssh", "hangs", "resets", "closes", "a page for everything", "endless", "404", "redirects"])
def test_what_is_no_mirror_is_told_and_never_a_crash(grounds, behave, answers, word):
    with RawServer(behave) as server:
        reached = reachable.run(grounds.subject(server.url, settings=HASTY if behave is never_speaks else DEFAULTS))
    assert (reached.answers, reached.is_mirror, reached.finding.verdict) == (answers, False, "problem")
    assert word in reached.finding.evidence[0] and reached.finding.remedy


def test_a_server_that_takes_all_of_the_time_is_told_and_never_a_crash(grounds):
    subject = grounds.subject("http://127.0.0.1:1/", "https://127.0.0.1:1/", budget=Budget(Cost(1, 10**6), 30.0))
    reached = reachable.run(subject)
    assert (reached.answers, reached.is_mirror, reached.finding.verdict) == (False, False, "problem")
    assert reached.finding.evidence == ("unreachable: Connection refused ({}{}{})".format(subject.url, HOST_REPOSITORIES[0], REPOMD),)


def blurts(said):
    """Say something at once, whoever comes."""
    def behave(connection, server):
        connection.sendall(said)
        connection.recv(65536)
    return behave


@pytest.mark.parametrize("behave", [
    never_speaks, resets, blurts(b"HTTP/1.1 400 Bad Request\r\n\r\n"), blurts(b"\x15\x03\x01\x00\x02\x02\x28"), blurts(b"\x16\x03\x01"),
], ids=["hangs", "resets", "http", "alert", "stops"])
def test_a_port_that_speaks_no_tls_is_told_by_each_check_of_tls(grounds, behave):
    with RawServer(behave) as server:
        subject = grounds.subject("https://127.0.0.1:{}/".format(server.port), settings=HASTY if behave is never_speaks else DEFAULTS)
        findings = tls.run(subject) + tls_versions.run(subject)
    verdicts = verdicts_of(findings)
    assert verdicts["https"] == "problem" and set(verdicts.values()) <= {"problem", "unknown"}


def test_a_bad_certificate_does_not_keep_the_other_checks_from_looking(grounds):
    with grounds.nginx("expired leaf, short") as server:
        reached = reachable.run(grounds.of(server))
    assert reached.is_mirror and not reached.subject.network.ssl_verify and reached.subject.others_network.ssl_verify
    assert reached.finding.evidence[0].startswith("tls-")


def test_a_mirror_of_http_alone_is_examined_by_http_and_told_so(grounds):
    with RawServer(serves(ok(BODY.format(1, "a" * 64).encode()))) as server:
        subject = grounds.subject("https://127.0.0.1:1/", "http://127.0.0.1:{}/".format(server.port))
        reached = reachable.run(subject)
        findings = tls.run(reached.subject)
    assert reached.answers and reached.subject.url == subject.also_url and reached.subject.https_url == subject.url
    assert verdicts_of(findings) == {"https": "problem"} and "listen 443 ssl" in findings[0].remedy


def test_a_mirror_whose_http_leads_to_https_is_examined_there(grounds):
    def sites(pem, http, https):
        return "server {{ listen 127.0.0.1:{}; return 301 https://localhost:{}$request_uri; }}".format(http, https) + site(
            grounds.tree, ["127.0.0.1:{} ssl".format(https)], pem)

    with grounds.nginx(sites=sites) as server:
        subject = grounds.of(server)
        plain = subject._replace(url=subject.also_url, also_url=subject.url)
        reached = reachable.run(plain)
        [agreed] = http_vs_https.run(reached.subject)
    assert reached.is_mirror and reached.finding.verdict == agreed.verdict == "ok" and reached.subject.url == subject.url


@pytest.mark.parametrize("location, remedy", [
    ("https://www.mirror.test/pub/8/8.3/base/x86_64/repodata/repomd.xml", "xcpng-mirrors audit https://www.mirror.test/pub/"),
    ("https://h/$(reboot)/8/8.3/base/x86_64/repodata/repomd.xml", "xcpng-mirrors audit 'https://h/$(reboot)/'"),
    ("https://u:p@h/8/8.3/base/x86_64/repodata/repomd.xml", "mirrors are asked directly and may not redirect elsewhere"),
    ("/elsewhere", "mirrors are asked directly and may not redirect elsewhere"),
])
def test_a_redirect_is_told_with_the_root_to_examine_and_nothing_that_a_shell_would_run(grounds, location, remedy):
    with RawServer(says("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n".format(location).encode())) as server:
        reached = reachable.run(grounds.subject(server.url))
    assert (reached.answers, reached.is_mirror, reached.finding.remedy) == (True, False, remedy)
