"""Damaged input for parsers, and what a parser may do with it."""
from hypothesis import strategies as st

from yum_plugin.errors import TrustError

TOKENS = [b"\0", b"\xff", b"\x80", b"\xc2", b"\xc6", b"\xff\xff\xff\xff\xff", b"\n", b"=", b"-----", b"<", b"&", b"]]>"]
SIGNATURE_REFERENCES = {
    "signature-missing", "signature-invalid", "wrong-signature-type", "weak-digest", "unknown-key",
    "signature-expired", "malformed", "unsupported",
}


def mutations(seed):
    """``seed`` with a few spans cut out, repeated, or replaced by tokens and random bytes."""
    span = st.tuples(st.integers(0, len(seed)), st.integers(0, 40), st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)))

    def apply(spans):
        data = seed
        for start, length, replacement in spans:
            data = data[:start] + replacement + data[start + length :]
        return data

    return st.lists(span, min_size=1, max_size=4).map(apply)


def returns_or_refuses(parse, data, references):
    """The return value, or None after one of these references; any other exception fails the test."""
    try:
        return parse(data)
    except TrustError as refused:
        assert refused.reference in references
        return None
