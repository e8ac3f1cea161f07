"""What is read of a served certificate for a diagnosis, beside what cryptography reads of it; whatever a server sends."""
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from yum_plugin.net.tls_chain import has_ended, lacks_intermediates, time_of

KEY = ec.generate_private_key(ec.SECP256R1())
LONG = 2000 * "x"  # needs a length of two octets more


def certificate(subject, issuer, end):
    def name(text):
        units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, text[at:at + 64]) for at in range(0, len(text), 64)]
        return x509.Name(units)

    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime.datetime(1960, 1, 1)).not_valid_after(end)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("subject, issuer, alone", [("a", "b", True), ("a", "a", False), (LONG, LONG, False), (LONG, "b", True), ("", "b", True)])
def test_a_leaf_alone_lacks_its_intermediates_unless_it_is_its_own_issuer(subject, issuer, alone):
    leaf = certificate(subject, issuer, datetime.datetime(2030, 1, 1))
    assert lacks_intermediates([leaf]) is alone
    assert not lacks_intermediates([leaf, leaf]) and not lacks_intermediates([])


@pytest.mark.parametrize("year", [1961, 1999, 2000, 2049, 2050, 9999])  # two digits of the year until 2049, four from 2050 on
def test_a_certificate_ends_when_cryptography_says_so(year):
    leaf = certificate("a", "b", datetime.datetime(year, 12, 31, 23, 59, 59))
    end = time_of(x509.load_der_x509_certificate(leaf), "not_valid_after")
    assert not has_ended([leaf], end) and has_ended([leaf], end + 1) and not has_ended([], end)


def test_what_is_cut_off_or_no_certificate_is_neither():
    leaf = certificate("a", "b", datetime.datetime(1999, 1, 1))
    for wrong in [leaf[:at] for at in range(len(leaf))] + [b"\x30\x84\xff\xff\xff\xff", b"\x30\xff" + b"\xff" * 127, b"\x30\x00", b"\x30\x80"]:
        assert not lacks_intermediates([wrong]) and not has_ended([wrong], 4e9)
    no_date = leaf.replace(b"990101000000Z", b"99010100\xb20\xb20Z")
    assert no_date != leaf and not has_ended([no_date], 4e9)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_make_it_fail(noise, at):
    leaf = certificate("a", "b", datetime.datetime(1999, 1, 1))
    for der in (noise, leaf[:at] + noise + leaf[at + len(noise):]):
        assert {lacks_intermediates([der]), has_ended([der], 4e9)} <= {True, False}
