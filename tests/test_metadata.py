"""repomd.xml and its signature become a snapshot: what is proven, and what is proven only once."""
import hashlib

import pytest

from tests.support.craft import DAY, MADE, NOW, key_packets, rsa_key, signature
from yum_plugin.errors import TrustError
from yum_plugin.model import Snapshot
from yum_plugin.trust import metadata
from yum_plugin.trust.keys import load_pinned_key
from yum_plugin.trust.metadata import RepomdProver

KEY = rsa_key()
PINNED = load_pinned_key(key_packets(KEY), [KEY.fingerprint])


def repomd(revision=1, timestamp=MADE):
    return ('<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>{}</revision><data type="primary"><checksum type="sha256">{}'
            '</checksum><location href="repodata/x"/><timestamp>{}</timestamp></data></repomd>').format(revision, "0" * 64, timestamp).encode()


def refusal(prover, document, packet):
    with pytest.raises(TrustError) as refused:
        prover.prove(document, packet)
    return refused.value.reference


def test_a_snapshot_says_what_was_signed_and_when():
    document = repomd(7)
    packet = signature(KEY, document=document)
    proven = RepomdProver([PINNED], NOW).prove(document, packet)
    assert proven.snapshot == Snapshot(hashlib.sha256(document).hexdigest(), len(document), 7, MADE, MADE, document, packet)
    assert (proven.content.revision, proven.verdict.fingerprint) == (7, KEY.fingerprint)


def test_the_signature_is_proven_before_a_byte_is_parsed():
    """CVE-2013-1051: apt read parts of a signed file that were not signed."""
    prover = RepomdProver([PINNED], NOW)
    assert refusal(prover, b"<not xml", signature(KEY)) == "signature-invalid"
    assert refusal(prover, b"<not xml", signature(KEY, document=b"<not xml")) == "malformed"


def test_metadata_from_the_future_is_proven_like_any_other():
    document = repomd(timestamp=NOW + 30 * DAY)
    assert RepomdProver([PINNED], NOW).prove(document, signature(KEY, document=document)).snapshot.timestamp == NOW + 30 * DAY


def test_eight_pairs_of_files_are_proven_once_and_what_was_refused_is_refused_again(monkeypatch):
    real, calls = metadata.verify_detached, []

    def count(document, *more):
        calls.append(document)
        return real(document, *more)

    monkeypatch.setattr(metadata, "verify_detached", count)
    prover = RepomdProver([PINNED], NOW)
    pairs = [(document, signature(KEY, document=document)) for document in map(repomd, range(9))]
    first = [prover.prove(*pair) for pair in pairs]
    assert [prover.prove(*pair) for pair in pairs] == first
    assert calls == [document for document, _ in pairs] + [pairs[8][0]]
    for _ in range(2):
        assert refusal(prover, pairs[0][0], pairs[1][1]) == "signature-invalid"
