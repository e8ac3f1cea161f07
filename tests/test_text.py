"""Numbers in texts of the network: what is not a short ASCII number is none, and no exception."""
import pytest

from yum_plugin.util.text import whole_number


@pytest.mark.parametrize("text, expected", [
    ("0", 0), ("007", 7), ("9" * 15, 10**15 - 1), ("", None), ("-1", None), ("+1", None), (" 1", None), ("1\n", None), ("1_0", None),
    ("\xb2", None), ("\xb9\xb2", None), ("\u0663", None), ("\uff11", None), ("9" * 16, None), ("9" * 5000, None), ("1e3", None)])  # fmt: skip
def test_a_whole_number_is_up_to_fifteen_ascii_digits(text, expected):
    assert whole_number(text) == expected
