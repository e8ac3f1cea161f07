"""Texts for people and programs: untrusted texts made printable, times in UTC, and sizes. Pure."""
import re
import time
import unicodedata
from typing import Optional

MAX_TEXT_CHARACTERS = 300
MAX_TIME = 253402300799  # the last second of the year 9999 (RFC 5280 section 4.1.2.5); later ones cannot be worded
_NUMBER = re.compile(r"[0-9]{1,15}\Z")
_UNITS = ("B", "KB", "MB", "GB", "TB")


def printable(text: str) -> str:
    """Make any text fit to be shown: one line, no control, formatting or combining characters, not long."""
    composed = unicodedata.normalize("NFC", text[:MAX_TEXT_CHARACTERS])
    return "".join(letter if letter.isprintable() and not unicodedata.combining(letter) else "?" for letter in composed)


def whole_number(text: str) -> Optional[int]:
    """Return the number that a text is: 1 to 15 ASCII digits; None for anything else.

    ``str.isdigit`` is true also for characters that ``int`` cannot read, such as a superscript: one byte of a header.
    """
    return int(text) if _NUMBER.match(text) else None


def http_time(text: str) -> Optional[float]:
    """Read a date as HTTP has it (RFC 9110 section 5.6.7), in seconds since 1970; None if it cannot be read."""
    import email.utils  # late: most engines ask no mirror

    try:
        parts = email.utils.parsedate_tz(text)
        return email.utils.mktime_tz(parts) if parts is not None else None
    except (TypeError, ValueError, IndexError, OverflowError):  # what some dates make the library itself raise
        return None


def utc(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC, for programs."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def utc_words(seconds: float) -> str:
    """Return a time in UTC to the minute, for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def size_words(count: float) -> str:
    """Word a number of bytes, e.g. "600.0 MB"."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return "{:.0f} {}".format(count, _UNITS[unit]) if unit == 0 else "{:.1f} {}".format(count, _UNITS[unit])
