"""Texts for people and programs: untrusted texts made printable, times in UTC, and sizes. Pure."""
import time
import unicodedata

MAX_TEXT_CHARACTERS = 300
_UNITS = ("B", "KB", "MB", "GB", "TB")


def printable(text: str) -> str:
    """Make any text fit to be shown: one line, no control, formatting or combining characters, not long."""
    composed = unicodedata.normalize("NFC", text[:MAX_TEXT_CHARACTERS])
    return "".join(letter if letter.isprintable() and not unicodedata.combining(letter) else "?" for letter in composed)


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
