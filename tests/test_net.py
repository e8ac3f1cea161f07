"""How bytes come in: caps, deadlines, TLS, proxies and credentials, against real sockets that misbehave."""
import base64
import ssl
import sys
import threading
import time

import pytest
import trustme

from tests.support.rawserver import (
    Blackhole,
    RawServer,
    addresses,
    authority,
    challenges,
    drips,
    never_speaks,
    ok,
    proxies,
    says,
    says_for_ever,
    stays_silent_after,
)
from tests.support.waiting import AT_ONCE_SECONDS, LONG_SECONDS
from yum_plugin.errors import FetchError, UsageError
from yum_plugin.model import Network, Reach
from yum_plugin.net import connect as connecting
from yum_plugin.net.fanout import TaskPool
from yum_plugin.net.fetch import FetchLimits, HttpSession, HttpSessions
from yum_plugin.net.reach import place_of
from yum_plugin.net.tls import make_context, make_contexts
from yum_plugin.net.tls_chain import explain_tls
from yum_plugin.net.translate import translate
from yum_plugin.net.transport import proxies_for
from yum_plugin.util.urls import host_of

DIRECT = Network(proxy="")
SMALL = FetchLimits(1000, LONG_SECONDS, LONG_SECONDS)
LARGE = SMALL._replace(max_bytes=100000)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNFRAMED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def fetch(url, network=DIRECT, limits=SMALL, seconds=LONG_SECONDS, **options):
    with HttpSession(network, make_contexts(network), seconds) as client:
        return client.get(url, limits, **options)


def refusal(url, *arguments, **options):
    with pytest.raises(FetchError) as error:
        fetch(url, *arguments, **options)
    return error.value


# What a server may send.


def test_a_whole_answer_arrives_with_its_headers():
    answer = (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: 1\r\nLink: <a>\r\nLink: <b>\r\n\r\nhello")
    with RawServer(says(answer)) as server:
        found = fetch(server.url)
    assert (found.status, found.body, found.headers["x-one"], found.links) == (200, b"hello", "1", ("<a>", "<b>"))


@pytest.mark.parametrize("behave, reference", [
    (says_for_ever(UNFRAMED, b"x" * 65536), "too-large"),
    (says_for_ever(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n"), "too-large"),
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"), "too-large"),
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\n"), "too-large"),
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx"), "bad-answer"),
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"), "truncated"),
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nfour"), "bad-answer"),
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nfour"), "bad-answer"),
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nfour"), "bad-answer"),
    (says(CHUNKED + b"400\r\nfour"), "truncated"),
    (says(CHUNKED + b"what?\r\nfour\r\n"), ("bad-answer", "truncated")),
    (says_for_ever(b"HTTP/1.1 200 OK\r\n", b"X-Flood: yes\r\n" * 100), "bad-answer"),
    (says_for_ever(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 65536), "bad-answer"),
    (says_for_ever(b"", b"x" * 65536), "bad-answer"),
    (says(ok(b"\x1f\x8b", "Content-Encoding: gzip")), "bad-answer"),
    (says(ok(b"\x1f\x8b", "Content-Encoding: identity, br")), "bad-answer"),
    (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "bad-answer"),
    (says(b"220 smtp.test ESMTP\r\n\r\n"), "bad-answer"),
    (says(b""), "unreachable"),
    (says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "http-status"),
    (says(b"HTTP/1.1 503 \r\n\r\n"), "http-status"),
    (says(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx"), "http-status"),
    (says(b"HTTP/1.1 204 No Content\r\n\r\n"), "http-status"),
])
def test_an_answer_that_is_none_or_costs_too_much_is_refused_by_its_name(behave, reference):
    started = time.monotonic()
    with RawServer(behave) as server:
        error = refusal(server.url)
    assert error.reference in reference and server.url.rstrip("/") in error.where
    assert time.monotonic() - started < AT_ONCE_SECONDS


def test_an_answer_longer_than_it_says_is_cut_where_it_says():
    with RawServer(says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour and more")) as server:
        assert fetch(server.url).body == b"four"


def test_an_endless_run_of_interim_answers_ends_at_the_deadline():
    with RawServer(drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n")) as server:
        assert refusal(server.url, seconds=0.4).reference == "timed-out"


@pytest.mark.parametrize("location", [b"/again", b"http://127.0.0.9/", b"//127.0.0.9/", b"/x\r\nLocation: http://127.0.0.9/",
                                      b"/x%0d%0aSet-Cookie:%20a=b", b"", b"\xff\xfe", b"http://[::1"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_whatever_it_says(status, location):
    head = "HTTP/1.1 {} Moved\r\nContent-Length: 0\r\nLocation: ".format(status).encode() + location
    with RawServer(says(head + b"\r\n\r\n")) as server:
        assert refusal(server.url).reference == "redirect-refused"
    assert len(server.heads) == 1


def test_no_cookie_is_kept():
    def behave(connection, server):
        for _ in range(2):
            server.read_head(connection)
            connection.sendall(ok(b"x", "Set-Cookie: a=b"))

    with RawServer(behave) as server, HttpSession(DIRECT, make_contexts(DIRECT), LONG_SECONDS) as client:
        for _ in range(2):
            client.get(server.url, SMALL)
    assert len(server.heads) == 2 and not any(b"cookie" in head.lower() for head in server.heads)


def test_requests_want_no_encoding_and_name_the_program():
    with RawServer(says(ok(b"x"))) as server:
        fetch(server.url + "a?b=c", headers={"Range": "bytes=0-9"})
    head = server.heads[0].lower()
    assert head.startswith(b"get /a?b=c http/1.1\r\n")
    assert b"accept-encoding: identity\r\n" in head and b"user-agent: xcpng-mirrors/" in head and b"range: bytes=0-9\r\n" in head


# Time.


@pytest.mark.parametrize("behave", [
    never_speaks,
    stays_silent_after(b""),
    stays_silent_after(b"HTTP/1.1 200 OK\r\n"),
    stays_silent_after(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nfour"),
    drips(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    drips(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"x"),
    drips(CHUNKED, b"1\r\nx\r\n"),
    drips(CHUNKED, b"0"),
])
def test_the_deadline_ends_a_request_whatever_the_server_does(behave):
    started = time.monotonic()
    with RawServer(behave) as server:
        assert refusal(server.url, seconds=0.3).reference == "timed-out"
    assert 0.25 < time.monotonic() - started < 0.3 + AT_ONCE_SECONDS


def test_a_pause_longer_than_the_read_timeout_ends_a_request():
    with RawServer(stays_silent_after(b"HTTP/1.1 200 OK\r\n")) as server:
        assert refusal(server.url, limits=SMALL._replace(read_seconds=0.1)).reference == "timed-out"


def test_a_tls_handshake_that_never_ends_is_bounded_by_the_connect_timeout():
    with RawServer(never_speaks) as server:
        error = refusal("https://127.0.0.1:{}/".format(server.port), limits=SMALL._replace(connect_seconds=0.2))
    assert error.reference == "timed-out"


def test_a_connection_that_nobody_answers_is_bounded_by_the_connect_timeout():
    with Blackhole() as hole:
        error = refusal("http://127.0.0.1:{}/".format(hole.port), limits=SMALL._replace(connect_seconds=0.2))
    assert error.reference == "timed-out"


def test_a_refused_connection_fails_at_once():
    with Blackhole() as hole:
        port = hole.port
    error = refusal("http://127.0.0.1:{}/".format(port))
    assert (error.reference, error.what) == ("unreachable", "Connection refused")


def test_an_unknown_name_is_unreachable():
    assert refusal("http://no-such-host.invalid/").reference == "unreachable"


def hangs_in_the_handshake(connection, server):
    connection.recv(65536)
    server.asked.set()
    server.stopped.wait()


def hangs_in_the_handshake_beyond_the_proxy(connection, server):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 Established\r\n\r\n")
    hangs_in_the_handshake(connection, server)


@pytest.mark.parametrize("scheme, proxied, behave", [
    ("http", False, stays_silent_after(b"")),
    ("http", False, stays_silent_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")),
    ("https", False, hangs_in_the_handshake),
    ("https", True, stays_silent_after(b"")),
    ("https", True, stays_silent_after(b"HTTP/1.1 200 OK\r\nX-Half: ")),
    ("https", True, hangs_in_the_handshake_beyond_the_proxy),
])
def test_abort_from_another_thread_wakes_a_blocked_call_at_once(scheme, proxied, behave):
    """In the headers, in the body, in the TLS handshake, in a proxy's answer, in the handshake beyond a proxy."""
    with RawServer(behave) as server:
        place = "127.0.0.1:{}".format(server.port)
        network = Network(proxy="http://" + place if proxied else "")
        client = HttpSession(network, make_contexts(network), LONG_SECONDS)
        outcome = []

        def ask():
            try:
                with client:
                    client.get("{}://{}/".format(scheme, place), SMALL)
            except FetchError as error:
                outcome.append(error.reference)

        thread = threading.Thread(target=ask)
        thread.start()
        assert server.asked.wait(LONG_SECONDS)
        started = time.monotonic()
        client.abort()
        thread.join(LONG_SECONDS)
        assert outcome == ["timed-out"] and time.monotonic() - started < AT_ONCE_SECONDS


def test_after_an_abort_nothing_is_asked_any_more():
    with RawServer(says(ok(b"x"))) as server, HttpSession(DIRECT, make_contexts(DIRECT), LONG_SECONDS) as client:
        client.abort()
        with pytest.raises(FetchError) as error:
            client.get(server.url, SMALL)
    assert error.value.reference == "timed-out" and server.heads == []


def test_a_client_leaves_no_descriptor_and_no_thread_behind():
    import os
    with RawServer(says(ok(b"x"))) as server:
        fetch(server.url)
        before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        for _ in range(5):
            fetch(server.url)
        assert len(os.listdir("/proc/self/fd")) <= before + 5, "the server's own ends may be open still"
        assert threading.active_count() <= threads + 5


def test_a_crew_hands_over_in_the_order_of_completion_and_dismisses_the_rest():
    with RawServer(stays_silent_after(b"")) as hanging, RawServer(says(ok(b"quick"))) as quick:
        task_pool = TaskPool()
        for key, server in (("hanging", hanging), ("quick", quick)):
            task_pool.start(key, lambda client, url=server.url: client.get(url, SMALL).body, DIRECT, LONG_SECONDS)
        first = task_pool.next(LONG_SECONDS)
        assert (first.key, first.value, first.error) == ("quick", b"quick", None)
        assert hanging.asked.wait(LONG_SECONDS)
        task_pool.dismiss()
        second = task_pool.next(LONG_SECONDS)
        assert second.key == "hanging" and second.error.reference == "timed-out"
        assert task_pool.next(0) is None


# TLS.


@pytest.mark.parametrize("fault, reference", [
    ("", ""),
    ("expired-certificate", "tls-expired" if sys.version_info >= (3, 7) else "tls-untrusted"),  # see explain_tls
    ("wrong-host-certificate", "tls-hostname"),
    ("self-signed-certificate", "tls-untrusted"),
    ("incomplete-chain", "tls-untrusted"),
])
def test_each_tls_failure_has_its_reference(lab, fault, reference):
    network = DIRECT._replace(ssl_ca_cert=lab.ca_bundle)
    url = lab.add_mirror("m", fault).url + "8/8.3/base/x86_64/repodata/repomd.xml"
    if not reference:
        assert fetch(url, network, LARGE).body.startswith(b"<?xml")
        return
    if fault == "expired-certificate" and sys.version_info < (3, 7):
        reference = "tls-untrusted"  # it gives no reason; the next test is for that
    assert refusal(url, network).reference == reference
    assert lab.log.requests() == [], "nothing was asked over a connection that is not trusted"


@pytest.mark.parametrize("fault, reference", [("incomplete-chain", "tls-incomplete"), ("self-signed-certificate", "tls-untrusted")])
def test_a_missing_intermediate_certificate_is_recognised(lab, fault, reference):
    url = lab.add_mirror("m", fault).url
    network = DIRECT._replace(ssl_ca_cert=lab.ca_bundle)
    refined = explain_tls(refusal(url, network), url, network, LONG_SECONDS)
    assert refined.reference == reference
    if fault == "incomplete-chain":
        assert "fullchain" in str(refined)


def test_an_expired_certificate_is_recognised_where_ssl_gives_no_reason(lab):
    url = lab.add_mirror("m", "expired-certificate").url
    network = DIRECT._replace(ssl_ca_cert=lab.ca_bundle)
    without_reason = FetchError("tls-untrusted", "TLS failed: certificate verify failed")  # all that Python 3.6 says
    assert explain_tls(without_reason, url, network, LONG_SECONDS).reference == "tls-expired"


def test_a_wrong_name_is_recognised_where_urllib3_compares_names_itself():
    from urllib3.util.ssl_match_hostname import CertificateError

    found = translate(CertificateError("hostname 'm.test' doesn't match 'other.test'"), "https://m.test/")
    assert found.reference == "tls-hostname"


def test_the_chain_is_not_looked_at_past_a_proxy_of_the_environment(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with RawServer(never_speaks) as server:
        error = FetchError("tls-untrusted", "x")
        url = "https://127.0.0.1:{}/".format(server.port)
        assert explain_tls(error, url, Network(), 0.2) is error
        assert not server.connected.is_set()


@pytest.mark.parametrize("behave", [never_speaks, drips(b"", b"\x16"), says(b"\x16\x03\x03\xff\xff"), says(b"\x16\x03\x03\x00\x04\x0b\xff\xff\xff")])
def test_a_chain_that_is_not_shown_changes_nothing_and_costs_no_more_than_the_timeout(behave):
    def reads_first(connection, server):
        connection.recv(65536)
        server.heads.append(b"")
        behave(connection, type("Fake", (), {"read_head": lambda self, _: b"", "stopped": server.stopped})())

    with RawServer(reads_first) as server:
        error = FetchError("tls-untrusted", "x")
        started = time.monotonic()
        assert explain_tls(error, "https://127.0.0.1:{}/".format(server.port), DIRECT, 0.3) is error
        assert time.monotonic() - started < 0.3 + AT_ONCE_SECONDS


def test_without_the_labs_authority_its_mirrors_are_not_trusted(lab):
    assert refusal(lab.add_mirror("m").url).reference == "tls-untrusted"


def test_sslverify_0_is_obeyed(lab):
    url = lab.add_mirror("m", "self-signed-certificate+wrong-host-certificate").url + "8/8.3/base/x86_64/repodata/repomd.xml"
    assert fetch(url, DIRECT._replace(ssl_verify=False), LARGE).status == 200


def test_the_end_of_a_certificate_is_seen(lab):
    network = DIRECT._replace(ssl_ca_cert=lab.ca_bundle)
    with HttpSession(network, make_contexts(network), LONG_SECONDS) as client:
        client.get(lab.add_mirror("m").url + "8/8.3/base/x86_64/repodata/repomd.xml", LARGE)
        assert 80 * 86400 < client.certificate_expires - time.time() < 91 * 86400


def test_a_client_certificate_is_shown_to_a_server_that_wants_one(tmp_path):
    authority_, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority_.issue_cert("127.0.0.1").configure_cert(context)
    authority_.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority_.cert_pem.write_to_path(str(tmp_path / "ca"))
    network = DIRECT._replace(ssl_ca_cert=str(tmp_path / "ca"))
    with RawServer(says(ok(b"x")), tls=context) as server:
        for name, issuer in (("good", authority_), ("bad", other)):
            leaf = issuer.issue_cert("client.test")
            leaf.private_key_pem.write_to_path(str(tmp_path / (name + ".key")))
            leaf.cert_chain_pems[0].write_to_path(str(tmp_path / (name + ".pem")))

        def shown(name):
            return owned(network, server.url)._replace(ssl_client_cert=str(tmp_path / (name + ".pem")), ssl_client_key=str(tmp_path / (name + ".key")))

        assert fetch(server.url, shown("good")).body == b"x"
        assert refusal(server.url, shown("bad")).reference in ("tls-failed", "unreachable")
        assert refusal(server.url, network).reference in ("tls-failed", "unreachable")


@pytest.mark.parametrize("changes", [{"ssl_ca_cert": "/nowhere"}, {"ssl_client_cert": "/nowhere"}])
def test_a_tls_file_that_cannot_be_loaded_is_a_problem_of_the_configuration(changes):
    with pytest.raises(UsageError) as error:
        make_context(Network(**changes))
    assert (error.value.reference, error.value.where) == ("configuration", "/nowhere")


# Credentials.


def head_of(url, network=DIRECT, **options):
    with RawServer(says(ok(b"x"))) as server:
        fetch(url.format(server.port), network, **options)
    return server.heads[0].lower()


def test_netrc_is_not_read(tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("default login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert b"authorization" not in head_of("http://127.0.0.1:{}/")


SECRET = Network(proxy="", username="user", password="secret")
BASIC = b"authorization: basic " + base64.b64encode(b"user:secret").lower()


def owned(network, *urls):
    """A network whose .repo file has these base URLs."""
    return network._replace(reach=Reach(own=tuple(map(place_of, urls)), hosts=tuple(map(host_of, urls))))


@pytest.mark.parametrize("url, sent", [
    ("http://127.0.0.1:{}/", True), ("http://127.0.0.1:{}/other/", True),
    ("https://127.0.0.1:{}/", False), ("http://127.0.0.1:1/", False), ("http://127.0.0.1/", False), ("http://127.0.0.2:{}/", False),
    ("http://0.0.1:{}/", False)])
def test_the_password_is_sent_to_scheme_host_and_port_of_the_repo_file_and_nowhere_else(url, sent):
    with RawServer(says(ok(b"x"))) as server:
        network = owned(SECRET, url.format(server.port), "http://127.0.0.1:9/")
        fetch(server.url, network)
        assert (BASIC in server.heads[0].lower()) == sent


def test_without_a_repo_file_the_password_is_sent_to_nobody():
    assert BASIC not in head_of("http://127.0.0.1:{}/", SECRET)


def test_the_password_is_not_sent_to_another_host_through_a_proxy():
    with RawServer(proxies) as proxy:
        network = owned(SECRET._replace(proxy=proxy.url), "http://own.test/")
        fetch("http://own.test/", network)
        fetch("http://other.test/", network)
    own, other = (head.lower() for head in proxy.heads)
    assert BASIC in own and b"authorization" not in other


# Proxies.


def test_a_proxy_with_user_and_password_makes_a_tunnel_and_the_mirror_sees_neither(lab):
    with RawServer(challenges('Basic realm="x"')) as proxy:
        network = Network(proxy=proxy.url, proxy_username="us er", proxy_password="p@ss:w/rd", ssl_ca_cert=lab.ca_bundle,
                          username="user", password="secret")
        answer = fetch(lab.add_mirror("m").url + "8/8.3/base/x86_64/repodata/repomd.xml", network, LARGE)
    assert answer.status == 200 and len(proxy.heads) == 2
    assert b"authorization" not in proxy.heads[0].lower()
    head = proxy.heads[1].decode()
    assert head.startswith("CONNECT {}:{} ".format(*authority(lab.mirrors["m"].url)))
    assert "roxy-Authorization: Basic " + base64.b64encode(b"us er:p@ss:w/rd").decode() in head.replace("proxy-a", "Proxy-A")
    assert base64.b64encode(b"user:secret").decode() not in head
    seen = lab.log.requests("m")[0].headers
    assert "proxy-authorization" not in seen and "authorization" not in seen


def test_a_proxy_that_refuses_is_unreachable_and_the_password_is_not_in_the_message():
    with RawServer(says(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")) as proxy:
        network = Network(proxy=proxy.url, proxy_username="user", proxy_password="hidden")
        error = refusal("https://127.0.0.1:1/", network)
    assert error.reference == "unreachable" and "hidden" not in str(error)


PROXY_BASIC = b"proxy-authorization: basic " + base64.b64encode(b"user:hidden").lower()


@pytest.mark.parametrize("method, offers, sent", [
    ("", [], False), ("any", [], False), ("", ["Basic realm=x"], True), ("any", ['Basic realm="a, Digest x"'], True),
    ("", ["Negotiate", "NTLM", "Basic realm=x"], True),  # yum's libcurl knows no other
    ("any", ["Negotiate", "NTLM", "Basic realm=x"], False), ("any", ['Digest realm="x", nonce="y", Basic realm=x'], False),
    ("digest", ["Basic realm=x"], False), ("none", ["Basic realm=x"], False), ("", ['Digest realm="Basic"'], False),
    ("basic", [], True), ("basic", ["Digest realm=x"], True),
])
@pytest.mark.parametrize("url", ["http://m.test/", "https://127.0.0.1:1/"])
def test_the_password_of_a_proxy_is_sent_as_basic_only_where_it_is_asked_for_so(url, method, offers, sent):
    with RawServer(challenges(*offers)) as proxy, HttpSession(DIRECT, make_contexts(DIRECT), LONG_SECONDS):
        network = Network(proxy=proxy.url, proxy_username="user", proxy_password="hidden", proxy_auth_method=method)
        try:
            assert fetch(url, network).body == b"by the proxy" and sent
        except FetchError as error:
            assert "hidden" not in str(error) and (not sent or url.startswith("https:"))
    assert [PROXY_BASIC in head.lower() for head in proxy.heads] == ([True] if method == "basic" else [False, True][:1 + sent])


def test_a_proxy_is_asked_once_in_a_run_what_it_wants():
    with RawServer(challenges("Basic realm=x")) as proxy:
        network, sessions = Network(proxy=proxy.url, proxy_username="user", proxy_password="hidden"), HttpSessions()
        for _ in range(2):
            with sessions.open(network, LONG_SECONDS) as session:
                assert session.get("http://m.test/", SMALL).body == b"by the proxy"
    assert [PROXY_BASIC in head.lower() for head in proxy.heads] == [False, True, True]


@pytest.mark.parametrize("environment, url, proxied", [
    ({}, "http://m.test/", None),
    ({"http_proxy": "http://p.test:1"}, "http://m.test/", "http://p.test:1"),
    ({"http_proxy": "http://p.test:1"}, "https://m.test/", None),
    ({"https_proxy": "http://p.test:1"}, "https://m.test/", "http://p.test:1"),
    ({"HTTPS_PROXY": "http://p.test:1"}, "https://m.test/", "http://p.test:1"),
    ({"HTTP_PROXY": "http://p.test:1"}, "http://m.test/", None),  # curl takes it in lower case only: a CGI would let a client set it
    ({"all_proxy": "http://p.test:1"}, "https://m.test/", "http://p.test:1"),
    ({"ALL_PROXY": "http://p.test:1"}, "http://m.test/", "http://p.test:1"),
    ({"all_proxy": "http://a.test:1", "https_proxy": "http://p.test:1"}, "https://m.test/", "http://p.test:1"),
    ({"https_proxy": "http://p.test:1", "no_proxy": "m.test"}, "https://m.test/", None),
    ({"https_proxy": "http://p.test:1", "no_proxy": "x.test, .test"}, "https://m.test/", None),
    ({"https_proxy": "http://p.test:1", "NO_PROXY": "*"}, "https://m.test/", None),
    ({"https_proxy": "http://p.test:1", "no_proxy": "est"}, "https://m.test/", "http://p.test:1"),
    ({"https_proxy": "http://p.test:1", "no_proxy": "127.0.0.1"}, "https://127.0.0.1:8443/", None),
    ({"https_proxy": "http://p.test:1", "no_proxy": "127.0.0.0/8"}, "https://127.0.0.1:8443/", None),
])
def test_the_environments_proxies_are_used_as_curl_uses_them(monkeypatch, environment, url, proxied):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert list(proxies_for(Network(), url).values()) == ([proxied] if proxied else [])
    assert proxies_for(Network(proxy=""), url) == {}, "proxy=_none_ in the .repo file"
    own = Network(proxy="http://own.test:2")
    assert list(proxies_for(own, url).values()) == ["http://own.test:2"], "no_proxy is not for the .repo file's own proxy"


def test_a_proxy_of_the_environment_is_really_used_and_no_proxy_really_not(monkeypatch):
    with RawServer(proxies) as proxy, RawServer(says(ok(b"direct"))) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert fetch(server.url, Network()).body == b"by the proxy"
        assert fetch(server.url, DIRECT).body == b"direct"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert fetch(server.url, Network()).body == b"direct"


# Where a list may lead: the table is in test_reach.py.


@pytest.mark.parametrize("place, reference", [
    ("127.0.0.1", "address-refused"), ("::1", "address-refused"), ("0.0.0.0", "address-refused"), ("169.254.169.254", "address-refused"),
    ("::ffff:127.0.0.1", "address-refused"), ("fe80::1%lo", "address-refused"), ("224.0.0.1", "address-refused"),
    ("10.0.0.1", "address-refused"), ("fd00::1", "address-refused"), ("64:ff9b::a00:1", "address-refused")])
def test_no_packet_goes_where_the_name_of_a_list_must_not_lead(place, reference, monkeypatch):
    tried = []
    monkeypatch.setattr(connecting.socket, "getaddrinfo", addresses((place, 80)))
    monkeypatch.setattr(connecting._Race, "_start", lambda race, address: tried.append(address))
    error = refusal("http://listed.test/", DIRECT._replace(reach=Reach()))
    assert error.reference == reference and place in error.what and "allow_networks" in error.hint and tried == []


def test_dns_rebinding_the_address_that_is_judged_is_the_one_that_is_connected_to(monkeypatch):
    """The first answer is harmless and the second one is not: each is judged, and there is none between judging and connecting."""
    with RawServer(says(ok(b"x"))) as server:
        answers = [addresses(("192.0.2.1", 80)), addresses(("127.0.0.1", server.port))]
        asked = []

        def rebinding(*arguments, **options):
            asked.append(arguments)
            return answers.pop(0)(*arguments, **options)

        monkeypatch.setattr(connecting.socket, "getaddrinfo", rebinding)
        monkeypatch.setattr(connecting._Race, "run", lambda race: (_ for _ in ()).throw(OSError(113, "no route")))
        listed = DIRECT._replace(reach=Reach())
        assert refusal("http://listed.test/", listed).reference == "unreachable" and len(asked) == 1
        assert refusal("http://listed.test/", listed).reference == "address-refused" and len(asked) == 2
    assert server.heads == []


def test_of_several_addresses_of_a_listed_name_those_that_may_be_are_used(monkeypatch):
    with RawServer(says(ok(b"x"))) as server:
        monkeypatch.setattr(connecting.socket, "getaddrinfo", addresses(("127.0.0.9", server.port), ("127.0.0.1", server.port)))
        assert fetch("http://listed.test/", DIRECT._replace(reach=Reach(networks=("127.0.0.1/32",)))).body == b"x"


def test_a_client_certificate_is_shown_at_the_places_of_the_repo_file_only(tmp_path):
    """The same server under the same certificate asks for one twice: as the repository's own, and as a mirror of a list."""
    ca, shown = trustme.CA(), []
    client, key = tmp_path / "client.pem", tmp_path / "client.key"
    pair = ca.issue_cert("host.test")
    pair.private_key_pem.write_to_path(str(key))
    pair.cert_chain_pems[0].write_to_path(str(client))
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    ca.configure_trust(context)

    def behave(connection, server):
        server.read_head(connection)
        shown.append(bool(connection.getpeercert()))
        connection.sendall(ok(b"x"))

    with RawServer(behave, tls=context) as server:
        network = DIRECT._replace(ssl_ca_cert=str(tmp_path / "ca.pem"), ssl_client_cert=str(client), ssl_client_key=str(key))
        for owner in (server.url, "https://127.0.0.1:1/", server.url.replace("https", "http")):
            fetch(server.url, owned(network, owner))
        fetch(server.url, network)
    assert shown == [True, False, False, False]


# Addresses.


def test_ip_resolve_4_and_6_ask_for_that_family_only(monkeypatch):
    try:
        six = RawServer(says(ok(b"six")), "::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with six, RawServer(says(ok(b"four"))) as four:
        places = addresses(("::1", six.port), ("127.0.0.1", four.port))
        monkeypatch.setattr(connecting.socket, "getaddrinfo", places)
        for family, body in ((4, b"four"), (6, b"six"), (0, b"six")):
            assert fetch("http://both.test/", DIRECT._replace(ip_resolve=family)).body == body


def test_an_ipv6_address_in_a_url_is_reached():
    try:
        server = RawServer(says(ok(b"six")), "::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with server:
        assert fetch(server.url).body == b"six"


def test_a_dead_first_address_costs_a_quarter_of_a_second_not_the_whole_timeout(monkeypatch):
    """Happy Eyeballs, RFC 8305."""
    with Blackhole() as hole, RawServer(says(ok(b"x"))) as server:
        monkeypatch.setattr(connecting.socket, "getaddrinfo", addresses(("127.0.0.1", hole.port), ("127.0.0.1", server.port)))
        started = time.monotonic()
        fetch("http://both.test/")
        assert 0.2 < time.monotonic() - started < 0.25 + AT_ONCE_SECONDS


def test_a_refused_first_address_costs_no_delay(monkeypatch):
    monkeypatch.setattr(connecting, "ATTEMPT_DELAY_SECONDS", 10 * LONG_SECONDS)  # who waits for it has no time left
    with RawServer(says(ok(b"x"))) as server:
        monkeypatch.setattr(connecting.socket, "getaddrinfo", addresses(("127.0.0.1", 1), ("127.0.0.1", server.port)))
        assert fetch("http://both.test/").body == b"x"


def test_a_family_that_this_kernel_lacks_does_not_hide_the_other(monkeypatch):
    """getaddrinfo may name IPv6 addresses where IPv6 is switched off: socket() fails then, not connect()."""
    real = connecting.socket.socket

    def without_ipv6(family=-1, *arguments, **named):
        if family == connecting.socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *arguments, **named)

    with RawServer(says(ok(b"x"))) as server:
        monkeypatch.setattr(connecting.socket, "getaddrinfo", addresses(("::1", 1), ("127.0.0.1", server.port)))
        monkeypatch.setattr(connecting.socket, "socket", without_ipv6)
        assert connecting.connect("both.test", 1, LONG_SECONDS).getpeername() == ("127.0.0.1", server.port)


def test_all_addresses_together_take_no_longer_than_the_timeout(monkeypatch):
    with Blackhole() as hole:
        monkeypatch.setattr(connecting.socket, "getaddrinfo", addresses(*[("127.0.0.1", hole.port)] * 150))
        started = time.monotonic()
        with pytest.raises(connecting.socket.timeout):
            connecting.connect("dead.test", 1, 0.4)
        assert time.monotonic() - started < 0.4 + AT_ONCE_SECONDS


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_given_address_is_connected_to_past_resolver_and_proxy_and_keeps_the_names_of_the_url(address, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mirror.test").configure_cert(context)
    network = Network(proxy="http://127.0.0.1:1/", ssl_ca_cert=str(tmp_path / "ca.pem"))
    with RawServer(says(ok(b"here")), address, context) as server:
        with HttpSession(network, make_contexts(network), LONG_SECONDS, address=address) as client:
            url = "https://mirror.test:{}/".format(server.port)
            assert client.get(url, SMALL).body == b"here"
    assert b"\r\nHost: mirror.test:" in server.heads[0]


def test_a_head_request_brings_the_headers_of_a_file_larger_than_the_cap_and_keeps_the_connection():
    def behave(connection, server):
        for _ in range(2):
            server.read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")

    with RawServer(behave) as server, HttpSession(Network(proxy=""), make_contexts(Network()), LONG_SECONDS) as client:
        answers = [client.get(server.url, SMALL, method="HEAD") for _ in range(2)]
        assert [(answer.headers["content-length"], answer.body) for answer in answers] == [("1000000", b"")] * 2
        assert client.connections == 1
    assert all(head.startswith(b"HEAD / ") for head in server.heads)


# Connections that are left to the next session.


def answers_as_long_as_it_is_asked(connection, server):
    while server.read_head(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def connections_for(sessions, url, network=DIRECT):
    """Fetch from a server; return how many connections that has opened."""
    with sessions.open(network, LONG_SECONDS) as session:
        assert session.get(url, SMALL).body == b"ok"
        return session.connections


def test_a_connection_is_left_only_to_the_same_server_with_the_same_settings():
    sessions = HttpSessions()
    with RawServer(answers_as_long_as_it_is_asked) as one, RawServer(answers_as_long_as_it_is_asked) as other:
        assert [connections_for(sessions, url, network) for url, network in [
            (one.url, DIRECT), (one.url, DIRECT), (other.url, DIRECT), (one.url, DIRECT._replace(username="u", password="p")),
            (one.url, DIRECT), (other.url, DIRECT)]] == [1, 0, 1, 1, 0, 0]
        assert connections_for(HttpSessions(), one.url) == 1


@pytest.mark.parametrize("answers, connections, requests", [([2, 1], [1, 1], 3), ([2, 2, 1], [1, 1, 1], 5)])
def test_a_connection_that_the_server_closes_when_it_is_used_again_is_replaced(answers, connections, requests):
    """RFC 9112, 9.3.1: it may have closed it before the request came."""
    left = iter(answers)

    def behave(connection, server):
        for number in range(next(left)):
            if server.read_head(connection) and number == 0:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    sessions = HttpSessions()
    with RawServer(behave) as server:
        assert [connections_for(sessions, server.url) for _ in answers] == connections
        assert len(server.heads) == requests


def test_a_new_connection_that_is_closed_without_an_answer_is_not_replaced():
    with RawServer(says()) as server, HttpSessions().open(DIRECT, LONG_SECONDS) as session:
        with pytest.raises(FetchError):
            session.get(server.url, SMALL)
        assert len(server.heads) == 1


def test_a_connection_that_the_server_has_closed_or_that_was_given_up_is_not_used_again():
    sessions = HttpSessions()
    with RawServer(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as closing:
        assert [connections_for(sessions, closing.url) for _ in range(2)] == [1, 1]
    with RawServer(answers_as_long_as_it_is_asked) as server:
        with sessions.open(DIRECT, LONG_SECONDS) as session:
            session.get(server.url, SMALL)
            session.abort()
        assert connections_for(sessions, server.url) == 1
