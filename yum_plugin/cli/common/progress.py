"""A progress line on stderr, redrawn in place; nothing is shown if stderr is no terminal."""
import sys
import time

from ...util.text import size_words
from .console import Console, printable, shortened

REDRAW_SECONDS = 0.1
BIG_BYTES = 16 * 1024 * 1024  # smaller files are read so quickly that a progress line would only flicker


class Progress:
    """The progress line.

    Args:
        wanted: whether it may be shown at all.
    """

    def __init__(self, wanted: bool) -> None:
        self._console = Console(sys.stderr)
        self._live = wanted and self._console.can_redraw
        self._drawn_at = 0.0
        self._shown = False
        self._subject = ""
        self._began = (0.0, 0)  # when the subject began, and with how many bytes

    def update(self, subject: str, done: int, total: int, where: str = "") -> None:
        """Show how far something is; it may be called at any rate, for it redraws only each REDRAW_SECONDS.

        Args:
            subject: what is read or fetched.
            done: bytes so far.
            total: bytes in all; 0: unknown.
            where: the server that sends it.
        """
        now = time.monotonic()
        if not self._live or now - self._drawn_at < REDRAW_SECONDS:
            return
        if subject != self._subject:
            self._subject, self._began = subject, (now, done)
        self._drawn_at = now
        share = "{:3d}%".format(100 * done // total) if total else size_words(done)
        seconds = now - self._began[0]
        rate = "  {}/s".format(size_words(max(0, done - self._began[1]) / seconds)) if seconds else ""
        origin = "  {}".format(printable(where)) if where else ""
        self._draw("{}{}{}  {}".format(share, rate, origin, printable(subject)))

    def say(self, text: str) -> None:
        """Show what is being done now, where there are no bytes to count."""
        if self._live:
            self._draw(printable(text))

    def _draw(self, line: str) -> None:
        self._shown = True
        self._console.write("\r" + shortened(line, self._console.width - 1) + "\x1b[K")

    def clear(self) -> None:
        """Remove the line, so that other output can be written."""
        if self._shown:
            self._console.write("\r\x1b[K")
            self._shown = False
