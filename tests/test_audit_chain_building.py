"""Which clients accept a chain: what we say must be what OpenSSL 1.0.2, today's OpenSSL and NSS really say."""
import ctypes.util
import os
import random
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from yum_plugin.operators.audit.certificates import is_for_host, read_certificate, read_chain
from yum_plugin.operators.audit.chain_building import EXPIRED, OK, any_path, openssl_path
from yum_plugin.operators.audit.letsencrypt import DST_ROOT_CA_X3, judge_clients, with_old_roots

from .support.chains import DAY, Authority, really_verified

STORES = ("both", "both, the other way round", "new", "old", "cross-signed only", "with an intermediate",
          "a namesake of another key first")
# The X509_V_ERR_* that libcrypto 1.0.2n and 1.0.2q (the same) give for each store, without and with TRUSTED_FIRST; then
# whether vfychain of NSS 3.87 says that the chain is good, old and new path building (the same). It looks at key usage
# too, hence "?": no path is at stake there.
SAID = {
    "long": ("10 10 0 10 2 10 0", "0 0 0 10 2 2 0", "ok ok ok - ok ok ok"),
    "long, its order turned": ("10 10 0 10 2 10 0", "0 0 0 10 2 2 0", "ok ok ok - ok ok ok"),
    "short": ("0 0 0 20 2 2 0", "0 0 0 20 2 2 0", "ok ok ok - ok ok ok"),
    "short with the root": ("0 0 0 19 2 19 0", "0 0 0 19 2 2 0", "ok ok ok - ok ok ok"),
    "long with the expired root": ("10 10 0 10 19 10 0", "0 0 0 10 2 2 0", "ok ok ok - ok ok ok"),
    "both ways, the cross-signed first": ("10 10 0 10 2 10 0", "0 0 0 10 2 2 0", "ok ok ok - ok ok ok"),
    "both ways, the root first": ("0 0 0 19 2 19 0", "0 0 0 19 2 2 0", "ok ok ok - ok ok ok"),
    "leaf alone": ("20 20 20 20 20 2 20", "20 20 20 20 20 2 20", "- - - - - ok -"),
    "expired leaf, short": ("10 10 10 20 2 2 10", "10 10 10 20 2 2 10", "- - - - - - -"),
    "expired leaf, long": ("10 10 10 10 2 10 10", "10 10 10 10 2 2 10", "- - - - - - -"),
    "expired intermediate": ("10 10 10 20 2 2 10", "10 10 10 20 2 2 10", "- - - - - ok -"),
    "forged leaf": ("7 7 7 20 2 2 7", "7 7 7 20 2 2 7", "- - - - - - -"),
    "forged intermediate": ("7 7 7 20 2 2 7", "7 7 7 20 2 2 7", "- - - - - ok -"),
    "other authority": ("0 0 0 20 0 20 0", "0 0 0 20 0 20 0", "ok ok ok - ok - ok"),
    "other authority, with an expired way up": ("10 10 0 10 0 20 0", "0 0 0 10 0 20 0", "ok ok ok - ok - ok"),
    "unknown root": ("19 19 19 19 19 19 19", "19 19 19 19 19 19 19", "- - - - - - -"),
    "unknown root not served": ("20 20 20 20 20 20 20", "20 20 20 20 20 20 20", "- - - - - - -"),
    "self-signed": ("20 20 20 20 20 20 20", "20 20 20 20 20 20 20", "- - - - - - -"),
    "self-signed authority": ("18 18 18 18 18 18 18", "18 18 18 18 18 18 18", "- - - - - - -"),
    "a root as the leaf": ("0 0 0 18 18 18 0", "0 0 0 18 18 18 0", "? ? ? - ? - ?"),
    "an expired root as the leaf": ("10 10 18 10 18 10 18", "10 10 18 10 18 10 18", "- - - - - - -"),
    "strangers beside": ("0 0 0 20 2 2 0", "0 0 0 20 2 2 0", "ok ok ok - ok ok ok"),
    "issued by a server": ("20 20 20 20 20 20 20", "20 20 20 20 20 20 20", "- - - - - - -"),
}


@pytest.fixture(scope="module")
def authority():
    return Authority(time.time())


def der_of(certificates):
    return [each.public_bytes(Encoding.DER) for each in certificates]


def read(certificates):
    return [read_certificate(der) for der in der_of(certificates)]


def test_the_table_covers_every_chain_and_store(authority):
    assert (list(authority.chains()), tuple(authority.stores())) == (list(SAID), STORES)


@pytest.mark.parametrize("name", list(SAID))
def test_openssl_1_0_2_and_nss_are_foretold_on_every_store(authority, name):
    served, now = read(authority.chains()[name]), int(time.time())
    stores = [read(authority.stores()[store]) for store in STORES]
    plain, trusted_first, nss = (text.split() for text in SAID[name])
    assert [openssl_path(served, store, now, trusted_first=False).code for store in stores] == list(map(int, plain))
    assert [openssl_path(served, store, now, trusted_first=True).code for store in stores] == list(map(int, trusted_first))
    found = ["ok" if any_path(served, store, now).code == OK else "-" for store in stores]
    assert [ours for ours, theirs in zip(found, nss) if theirs != "?"] == [theirs for theirs in nss if theirs != "?"]


@pytest.mark.parametrize("library, same_words", [
    (ctypes.util.find_library("crypto"), False), (os.environ.get("LIBCRYPTO_1_0_2"), True),
], ids=["this machine's", "1.0.2"])
def test_a_real_libcrypto_says_the_same(authority, library, same_words):
    """Today's accepts and refuses alike, whatever word it has for a refusal, if TRUSTED_FIRST is taken from it."""
    if not library:
        pytest.skip("no such library here; LIBCRYPTO_1_0_2=PATH names one of that version")
    now, cases, ours = int(time.time()), [], []
    for chain in authority.chains().values():
        for store in authority.stores().values():
            for first in (False, True):
                cases.append({"served": der_of(chain), "store": der_of(store), "now": now, "trusted_first": first})
                ours.append(openssl_path(read(chain), read(store), now, first).code)
    theirs = really_verified(library, cases)
    judged = (lambda codes: codes) if same_words else (lambda codes: [code == 0 for code in codes])
    assert judged(list(theirs)) == judged(ours)


# The trap


def verdicts(authority, name, store="new"):
    finding = judge_clients(read(authority.chains()[name]), read(authority.stores()[store]), int(time.time()), "mirror.test")
    return finding, (finding.values["yum"], finding.values["engine"], finding.values["installer"])


@pytest.mark.parametrize("name, verdict, accepted", [
    ("short", "ok", (True, True, True)),
    ("short with the root", "ok", (True, True, True)),
    ("long", "problem", (True, True, False)),
    ("long with the expired root", "problem", (True, True, False)),
    ("both ways, the cross-signed first", "problem", (True, True, False)),
    ("other authority", "ok", (True, True, True)),
    ("expired leaf, short", "unknown", (False, False, False)),
    ("expired leaf, long", "problem", (False, False, False)),
    ("self-signed", "unknown", (False, False, False)),
])
def test_the_lets_encrypt_trap_is_told_for_each_kind_of_client(authority, name, verdict, accepted):
    finding, found = verdicts(authority, name)
    assert (finding.verdict, found) == (verdict, accepted)
    assert ("preferred_chain = ISRG Root X1" in finding.remedy) == (verdict == "problem")


def test_the_expired_root_is_known_by_its_name_where_no_store_has_it_any_more(authority):
    finding, _ = verdicts(authority, "long", "new")
    assert "REFUSED, certificate has expired (DST Root CA X3)" in finding.evidence[2]
    assert read([authority.dst])[0].subject == DST_ROOT_CA_X3.subject
    assert len(with_old_roots(read([authority.dst]))) == 1


def test_a_trap_of_another_authority_is_told_without_certbots_lines(authority):
    finding, found = verdicts(authority, "other authority, with an expired way up", "both")
    assert (finding.verdict, found) == ("problem", (True, True, False))
    assert "certbot" not in finding.remedy and "Old Root" in finding.remedy


def test_before_the_root_expired_the_long_chain_was_good(authority):
    served, store = read(authority.chains()["long"]), with_old_roots(read([authority.x1]))
    for now, code in ((DST_ROOT_CA_X3.not_after, OK), (DST_ROOT_CA_X3.not_after + 1, EXPIRED)):
        early = [each._replace(not_before=0) for each in served]
        assert openssl_path(early, store, now, trusted_first=False).code == code


# Hostile certificates


def test_certificates_that_cannot_be_read_are_counted_and_never_raise(authority):
    chain = der_of(authority.chains()["long"])
    dice = random.Random(1)
    broken = [b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"no certificate", chain[0][:-1], chain[0] + b"x" * 40000]
    for _ in range(300):
        raw = bytearray(dice.choice(chain))
        for _ in range(dice.randint(1, 8)):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        broken.append(bytes(raw))
    for each in broken:
        found, unreadable = read_chain([each])
        assert len(found) + unreadable == 1
        if found:
            openssl_path(found, read([authority.x1]), 0, False)
            any_path(found, read([authority.x1]), 0)
    assert read_chain(broken[:6])[1] == 6
    assert read_chain(chain * 100)[1] == 300 - 16


def test_roots_that_certify_each_other_in_a_circle_end_the_search(authority):
    circle = [authority.certificate("a", "b"), authority.certificate("b", "a")]
    served = [authority.leaf(by="a")]
    for path in (openssl_path(read(served), read(circle), int(time.time()), False), any_path(read(served), read(circle), 0)):
        assert path.code != OK
    many = [authority.certificate("a", "b", (count + 1) * DAY) for count in range(8)]
    many += [authority.certificate("b", "a", (count + 1) * DAY) for count in range(8)]
    assert any_path(read(served + many), (), int(time.time())).code != OK


@pytest.mark.parametrize("names, host, matches", [
    (("mirror.test",), "MIRROR.test", True), (("mirror.test",), "mirror.test.", True), (("*.mirror.test",), "a.mirror.test", True),
    (("*.mirror.test",), "mirror.test", False), (("*.mirror.test",), "a.b.mirror.test", False), (("*.test",), "mirror.test", False),
    (("127.0.0.1",), "127.0.0.1", True), (("::1",), "[::1]", True), (("::1",), "0:0:0:0:0:0:0:1", True), (("127.0.0.1",), "localhost", False),
])
def test_a_certificate_is_for_its_names_only(authority, names, host, matches):
    assert is_for_host(read([authority.leaf(names)])[0], host) is matches
