"""What ``verify`` and ``get`` say alike about each file, and how they end."""
import time
from typing import Iterable, Optional

from ...errors import EXIT_OK, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, MirrorsError
from .console import STYLES

_BAD_TO_GOOD = (EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE)


def exit_code(errors: Iterable[Optional[MirrorsError]]) -> int:
    """Return 4 if anything was refused, else 3 if anything is missing, else 2 if anything went wrong here, else 0."""
    codes = {error.exit_code for error in errors if error is not None}
    return next((code for code in _BAD_TO_GOOD if code in codes), EXIT_OK)


def word(error: Optional[MirrorsError], colour: bool) -> str:
    """Return the line's first word."""
    if error is None:
        text, style = "ok", "good"
    else:
        text, style = {EXIT_REFUSED: "REFUSED", EXIT_UNREACHABLE: "MISSING"}.get(error.exit_code, "FAILED"), "bad"
    return "\x1b[{}m{}\x1b[0m".format(STYLES[style], text) if colour else text


def signed_words(signed_at: Optional[int], fingerprint: str) -> str:
    """Word who vouches."""
    return "signed {} by {}".format(time.strftime("%Y-%m-%d", time.gmtime(signed_at or 0)), fingerprint)
