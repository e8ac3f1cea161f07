"""Texts for people and programs, whoever wrote them: what may be shown of a server's words, and times in UTC. Pure."""
import time
import unicodedata

MAX_TEXT_CHARACTERS = 300


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
