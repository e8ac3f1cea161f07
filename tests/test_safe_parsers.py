"""XML that would exhaust an older libxml2 is refused before it is parsed: a table of where its tags begin."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yum_plugin.errors import FetchError, TrustError
from yum_plugin.sources.metalink import parse_metalink
from yum_plugin.trust.primary import read_primary
from yum_plugin.trust.repomd import parse_repomd
from yum_plugin.util.safe_parsers import MAX_TAG_BYTES, with_short_tags

MANY = b"<metadata " + b" ".join(b"a%d='>'" % number for number in range(20000)) + b"/>"


def cut(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1000, MAX_TAG_BYTES - 1, MAX_TAG_BYTES, MAX_TAG_BYTES + 1, 10**6])
@pytest.mark.parametrize("data, is_short", [
    (b"<" + b"x" * (MAX_TAG_BYTES - 2) + b">", True), (b"<" + b"x" * (MAX_TAG_BYTES - 2) + b"><a>", True),
    (b"<" + b"x" * (MAX_TAG_BYTES - 1) + b"><a>", False), (b"<" + b"x" * MAX_TAG_BYTES, False),
    (b"<a b='>" + b"x" * MAX_TAG_BYTES + b"'>", False), (b'<a b=">" ' + b"x" * MAX_TAG_BYTES + b">", False),
    (b"<a>" + b"x" * 3 * MAX_TAG_BYTES, True), (b"<a b='>' c=\"'\">" + b"x" * 3 * MAX_TAG_BYTES + b"</a>", True),
    (b"<a>" + b"'" * 2 * MAX_TAG_BYTES + b"<" + b"x" * MAX_TAG_BYTES, False), (b"<!-- it's " + b"x" * 2 * MAX_TAG_BYTES + b"-->", True),
    (b"x" * 3 * MAX_TAG_BYTES, True), ((b"<" + b"x" * (MAX_TAG_BYTES - 2) + b">") * 5, True), (b"<a/>" * 100000, True),
    (b"<a/>" * 100000 + b"<" + b"x" * MAX_TAG_BYTES, False), (b"", True)])  # fmt: skip
def test_a_tag_may_be_so_long_and_no_longer_and_text_of_any_length_however_it_arrives(data, is_short, size):
    if is_short:
        assert b"".join(with_short_tags(cut(data, size))) == data
    else:
        with pytest.raises(ValueError):
            list(with_short_tags(cut(data, size)))


@given(st.binary(max_size=200), st.integers(1, 50))
def test_pieces_pass_unchanged(data, size):
    assert list(with_short_tags(cut(data, size))) == cut(data, size)


@pytest.mark.parametrize("parse, error", [
    (lambda: list(read_primary(cut(MANY, 65536))), TrustError), (lambda: parse_repomd(MANY), TrustError),
    (lambda: parse_metalink(MANY, "repodata/repomd.xml"), FetchError)], ids=["primary", "repomd", "metalink"])  # fmt: skip
def test_a_tag_with_thousands_of_attributes_is_refused_in_every_document(parse, error):
    """libxml2 before 2.14 compares each with all others."""
    with pytest.raises(error):
        parse()
