"""Where requests may go that a list asks for, and what they may show there: every rule of net/reach.py, as tables."""
import pytest

from yum_plugin.model import Network, Reach
from yum_plugin.net.reach import NEVER, PRIVATE, PUBLIC, address_refusal, is_own, kind_of, name_refusal, place_of, within

NAMED = Reach(own=("http://own.test:80",), hosts=("own.test", "10.9.9.9"))
LAB = Reach(networks=("127.0.0.0/8", "::1/128", "10.1.0.0/16"))


def listed(reach=NAMED, **changes):
    return Network(reach=reach, **changes)


@pytest.mark.parametrize("text, kind", [
    ("192.0.2.1", PUBLIC), ("8.8.8.8", PUBLIC), ("2001:db8::1", PUBLIC), ("2a01::1", PUBLIC), ("172.15.255.255", PUBLIC),
    ("172.32.0.0", PUBLIC), ("100.128.0.0", PUBLIC), ("::ffff:8.8.8.8", PUBLIC), ("64:ff9b::808:808", PUBLIC),
    ("10.0.0.1", PRIVATE), ("172.16.0.1", PRIVATE), ("172.31.255.255", PRIVATE), ("192.168.0.1", PRIVATE), ("100.64.0.1", PRIVATE),
    ("198.18.0.1", PRIVATE), ("fc00::1", PRIVATE), ("fd12:3456::1", PRIVATE), ("fec0::1", PRIVATE), ("::ffff:10.0.0.1", PRIVATE),
    ("64:ff9b::c0a8:1", PRIVATE), ("64:ff9b:1::a00:1", PRIVATE), ("2002:a00:1::", PRIVATE), ("::ffff:0:10.0.0.1", PRIVATE),
    ("127.0.0.1", NEVER), ("127.255.0.9", NEVER), ("0.0.0.0", NEVER), ("0.1.2.3", NEVER), ("169.254.169.254", NEVER),
    ("224.0.0.251", NEVER), ("239.255.255.255", NEVER), ("240.0.0.1", NEVER), ("255.255.255.255", NEVER), ("::", NEVER),
    ("::1", NEVER), ("::127.0.0.1", NEVER), ("fe80::1", NEVER), ("fe80::1%eth0", NEVER), ("ff02::1", NEVER),
    ("::ffff:127.0.0.1", NEVER), ("::ffff:169.254.169.254", NEVER), ("64:ff9b::7f00:1", NEVER), ("64:ff9b:1::7f00:1", NEVER),
    ("2002:7f00:1::", NEVER), ("::ffff:0.0.0.0", NEVER), ("100::1", NEVER),
])
def test_reach_rule_4_an_address_is_public_private_or_none_of_a_mirror_also_as_ipv6(text, kind):
    assert kind_of(text) == kind


@pytest.mark.parametrize("url", ["http://own.test/", "https://own.test:8443/", "http://own.test:9/", "https://10.9.9.9:1/"])
def test_reach_rule_1_what_the_admin_has_named_may_be_anywhere(url):
    assert name_refusal(url, NAMED) == name_refusal(url, NAMED, proxied=True) == ""
    assert address_refusal(url, "127.0.0.1", listed()) == address_refusal(url, "10.0.0.1", listed()) == ""
    assert address_refusal("http://m.test:9/", "127.0.0.1", Network()) == "", "no list is involved"


@pytest.mark.parametrize("url, address, fine", [
    ("http://127.0.0.1:8080/", "127.0.0.1", True), ("http://[::1]:80/", "::1", True), ("https://m.test:4433/", "127.0.0.9", True),
    ("http://m.test/", "10.1.2.3", True), ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1", True),
    ("http://m.test/", "10.2.0.1", False), ("https://m.test:4433/", "192.0.2.1", False), ("http://10.2.0.1/", "10.2.0.1", False)])
def test_reach_rule_2_allow_networks_widens_it(url, address, fine):
    assert (address_refusal(url, address, listed(LAB)) == "") == fine
    assert address_refusal(url, address, listed()) != "", "without it"


@pytest.mark.parametrize("host", [
    "127.0.0.1", "8.8.8.8", "[::1]", "[2001:db8::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[fe80::1]", "0.0.0.0", "0",
    "2130706433", "017700000001", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.1.", "1.2.3.4.5", "0x", "010.1"])
@pytest.mark.parametrize("proxied", [False, True])
def test_reach_rule_3_an_address_in_any_spelling_is_no_name(host, proxied):
    assert "address in place of a name" in name_refusal("https://{}/".format(host), NAMED, proxied=proxied)


@pytest.mark.parametrize("url, fine", [
    ("http://m.test/", True), ("https://m.test/", True), ("http://m.test:80/", True), ("https://m.test:443/", True),
    ("http://m.test:443/", False), ("https://m.test:80/", False), ("https://m.test:8443/", False), ("http://m.test:22/", False)])
def test_reach_rule_3_a_port_that_the_scheme_does_not_imply_is_refused(url, fine):
    for refused in (name_refusal(url, NAMED), name_refusal(url, LAB, proxied=True), address_refusal(url, "192.0.2.1", listed(LAB))):
        assert (refused == "") == fine and (fine or "port" in refused)


@pytest.mark.parametrize("url, address, verify, redirector, fine", [
    ("http://m.test/", "192.0.2.1", True, False, True), ("https://m.test/", "192.0.2.1", True, False, True),
    ("https://m.test/", "10.0.0.1", True, False, True), ("https://m.test/", "fd00::1", True, False, True),
    ("https://m.test/", "10.0.0.1", False, False, False), ("http://m.test/", "10.0.0.1", True, False, False),
    ("http://m.test/", "fd00::1", True, False, False), ("http://m.test/", "::ffff:10.0.0.1", True, False, False),
    ("http://m.test/", "10.0.0.1", True, True, True), ("http://m.test/", "127.0.0.1", True, True, False),
    ("https://m.test/", "127.0.0.1", True, True, False), ("https://m.test/", "169.254.1.1", True, True, False)])
def test_reach_rule_5_a_private_address_needs_a_certificate_or_a_private_redirector(url, address, verify, redirector, fine):
    refused = address_refusal(url, address, listed(ssl_verify=verify), lambda: redirector)
    assert (refused == "") == fine and (fine or address in refused)


@pytest.mark.parametrize("url, secure, fine", [
    ("http://m.test/", True, True), ("https://m.corp.internal/", True, True), ("http://m.corp.internal/", True, False),
    ("https://m.corp.internal/", False, False), ("http://m.local/", True, False), ("http://m.home.arpa/", True, False),
    ("http://intranet/", True, False), ("https://intranet/", True, True), ("https://localhost/", True, False),
    ("https://a.localhost/", True, False), ("https://localhost.localdomain/", True, False), ("http://notlocal/", True, False),
    ("http://my-local.test/", True, True)])
def test_reach_rule_2_behind_a_proxy_the_listed_name_is_judged(url, secure, fine):
    assert (name_refusal(url, NAMED, secure, proxied=True) == "") == fine
    assert name_refusal(url, NAMED, secure) == "", "without a proxy its address is judged"


def test_reach_rule_7_credentials_belong_to_scheme_host_and_port():
    network = listed(NAMED)
    assert is_own(network, "http://OWN.test/") and is_own(network, "HTTP://own.test:80/a")
    assert not any(is_own(network, url) for url in (
        "https://own.test/", "http://own.test:81/", "http://own.test./", "http://x.own.test/", "https://own.test:80/"))
    assert not is_own(Network(), "http://own.test/") and place_of("https://[::1]/") == "https://::1:443"


def test_a_network_contains_an_address_also_as_the_ipv4_one_that_it_stands_for():
    assert within("127.0.0.1", ["::1/128", "127.0.0.0/8"]) and within("::ffff:127.0.0.1", ["127.0.0.0/8"])
    assert not within("128.0.0.1", ["127.0.0.0/8"]) and not within("::1", ["127.0.0.0/8"]) and not within("::1", [])
