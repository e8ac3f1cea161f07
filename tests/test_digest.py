"""A file that arrives in pieces is held against its signed digest."""
import hashlib

import pytest

from yum_plugin.errors import TrustError
from yum_plugin.trust.digest import DigestChecker

CONTENT = b"the very content"


def checker(kind="sha256", keep_bytes=0, content=CONTENT):
    return DigestChecker(kind, hashlib.new(kind, content).hexdigest(), keep_bytes)


@pytest.mark.parametrize("kind", ["sha256", "sha384", "sha512"])
def test_a_file_in_pieces_is_proven_by_its_digest_and_no_other_file_is(kind):
    for content in (CONTENT, CONTENT + b"!", CONTENT[1:], b""):
        running = checker(kind)
        for octet in content:
            running.update(bytes([octet]))
        if content == CONTENT:
            assert running.finish() == b""
            continue
        with pytest.raises(TrustError, match="payload-mismatch: its {} is not the signed one".format(kind)):
            running.finish()


def test_what_is_kept_comes_out_whole():
    running = checker(keep_bytes=len(CONTENT))
    running.update(CONTENT[:5])
    running.update(CONTENT[5:])
    assert running.finish() == CONTENT
    assert checker(keep_bytes=1, content=b"").finish() == b""


def test_a_file_larger_than_is_kept_is_refused_while_it_arrives():
    running = checker(keep_bytes=len(CONTENT) - 1)
    running.update(CONTENT[:-1])
    with pytest.raises(TrustError, match="unsupported: larger than such a file may be"):
        running.update(CONTENT[-1:])


def test_a_file_that_is_not_kept_has_any_size():
    running = DigestChecker("sha256", hashlib.sha256(bytes(1 << 20)).hexdigest())
    for _ in range(16):
        running.update(bytes(1 << 16))
    assert running.finish() == b"" and running._kept is None
