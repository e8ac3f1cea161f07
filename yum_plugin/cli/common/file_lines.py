"""The line about each file, and the exit code, that ``verify`` and ``get`` have in common."""
import time
from typing import Iterable, Optional

from ...errors import EXIT_OK, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, UNREADABLE, MirrorsError
from .console import STYLES

_WORST_FIRST = (EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE)


def exit_code(errors: Iterable[Optional[MirrorsError]]) -> int:
    """Return 4 if anything was refused, else 3 if anything is missing or unread, else 2 if anything failed here, else 0."""
    codes = {error.exit_code for error in errors if error is not None}
    return next((code for code in _WORST_FIRST if code in codes), EXIT_OK)


def word(error: Optional[MirrorsError], colour: bool) -> str:
    """Return the first word of a line: the verdict."""
    if error is None:
        text, style = "ok", "good"
    else:
        words = {EXIT_REFUSED: "REFUSED", EXIT_UNREACHABLE: "UNREAD" if error.reference in UNREADABLE else "MISSING"}
        text, style = words.get(error.exit_code, "FAILED"), "bad"
    return "\x1b[{}m{}\x1b[0m".format(STYLES[style], text) if colour else text


def signed_words(signed_at: Optional[int], fingerprint: str) -> str:
    """Return when and by which key something was signed."""
    return "signed {} by {}".format(time.strftime("%Y-%m-%d", time.gmtime(signed_at or 0)), fingerprint)
