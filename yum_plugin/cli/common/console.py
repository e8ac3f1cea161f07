"""Output for people: tables that fit the terminal, lines redrawn in place, colours, times.

Names and reasons come from servers, so every text goes through ``printable`` before it reaches a terminal.
"""
import os
import shutil
import textwrap
import unicodedata
from typing import List, NamedTuple, Sequence, TextIO

from ...trust.freshness import duration
from ...util.text import MAX_TEXT_CHARACTERS as MAX_TEXT_CHARACTERS
from ...util.text import printable as printable
from ...util.text import utc as utc

GAP = "  "
CUT = ".."  # ends a text that was shortened
STYLES = {"": "", "good": "32", "warning": "33", "bad": "31", "dim": "2", "heading": "1"}  # ECMA-48, SGR


class Column(NamedTuple):
    """A column of a table."""

    title: str
    least: int = 0  # characters it may be shortened to on a narrow terminal; 0: it is not shortened
    right: bool = False  # aligned to the right, for numbers
    optional: bool = False  # left out on a narrow terminal


class Cell(NamedTuple):
    """A field of a table."""

    text: str
    style: str = ""  # a key of STYLES


def width_of(text: str) -> int:
    """Return how many columns of a terminal a printable text needs."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def shortened(text: str, width: int) -> str:
    """Shorten a printable text to at most ``width`` columns (0: any number); a shortened text ends in CUT."""
    if not width or width_of(text) <= width:
        return text
    kept = text[:width]
    while kept and width_of(kept) > max(0, width - len(CUT)):
        kept = kept[:-1]
    return (kept + CUT)[:width]


def wrapped(texts: Sequence[str], width: int) -> List[str]:
    """Break texts into lines of at most ``width`` columns; with 0 each text stays one line."""
    lines = [printable(text) for text in texts]
    return [part for line in lines for part in textwrap.wrap(line, width, subsequent_indent="  ")] if width else lines


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int, colour: bool) -> List[str]:
    """Lay out a table.

    Args:
        columns: from left to right.
        rows: a cell for each column.
        width: columns of the terminal; 0: no limit.
        colour: whether styles are shown.

    Returns:
        The lines; the first one has the titles.
    """
    heading = [Cell(column.title, "heading") for column in columns]
    grid = [[cell._replace(text=printable(cell.text)) for cell in row] for row in [heading] + list(rows)]
    natural = [max(width_of(row[number].text) for row in grid) for number in range(len(columns))]
    shown = list(range(len(columns)))
    if width and _total(natural) > width:
        shown = [number for number in shown if not columns[number].optional]
    widths = _fitted([natural[number] for number in shown], [columns[number].least for number in shown], width)
    return [GAP.join(_field(row[number], columns[number], size, colour) for number, size in zip(shown, widths)).rstrip()
            for row in grid]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _fitted(natural: Sequence[int], least: Sequence[int], width: int) -> List[int]:
    """Narrow the widest columns until the line fits: first those that may be shortened, then all."""
    widths = list(natural)
    for floors in ([floor or size for floor, size in zip(least, natural)], [1] * len(widths)):
        while width and _total(widths) > width and any(size > floor for size, floor in zip(widths, floors)):
            widest = max((size, number) for number, size in enumerate(widths) if size > floors[number])[1]
            widths[widest] -= 1
    return widths


def _field(cell: Cell, column: Column, width: int, colour: bool) -> str:
    text = shortened(cell.text, width)
    padding = " " * (width - width_of(text))
    styled = "\x1b[{}m{}\x1b[0m".format(STYLES[cell.style], text) if colour and cell.style and text else text
    return padding + styled if column.right else styled + padding


class Console:
    """One of the two output streams, and what its terminal can do.

    Args:
        stream: sys.stdout or sys.stderr.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0
        self.is_terminal = stream.isatty()
        self.can_redraw = self.is_terminal and os.environ.get("TERM", "dumb") != "dumb"
        self.colour = self.can_redraw and not os.environ.get("NO_COLOR")  # https://no-color.org

    @property
    def width(self) -> int:
        """Columns of the terminal; 0 if the stream is no terminal: then nothing is shortened."""
        return shutil.get_terminal_size().columns if self.is_terminal else 0

    def write(self, text: str) -> None:
        """Write and flush; characters that the encoding lacks become "?" (Python 3.6 in the C locale has only ASCII)."""
        encoding = self._stream.encoding or "ascii"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()

    def line(self, text: str) -> None:
        """Write a line."""
        self.write(text + "\n")

    def lines(self, texts: Sequence[str]) -> None:
        """Write lines."""
        self.write("".join(text + "\n" for text in texts))

    def draw(self, lines: Sequence[str], is_last: bool = False) -> None:
        """Replace the lines of the last call by these; the cursor stays below them, visible at any time.

        Args:
            lines: none is wider than the terminal.
            is_last: write all lines, and leave them; otherwise only as many as the terminal has rows, for the cursor
                cannot go back above its first row.
        """
        room = shutil.get_terminal_size().lines - 1
        shown = list(lines) if is_last else list(lines[:room])
        back = "\x1b[{}A".format(self._drawn) if self._drawn else ""
        self.write(back + "\r" + "".join("\x1b[K{}\n".format(line) for line in shown) + "\x1b[J")
        self._drawn = 0 if is_last else len(shown)


def ago(seconds: float) -> str:
    """Return how long ago something was, e.g. "3 min ago"."""
    return "{} ago".format(duration(int(seconds))) if seconds >= 0 else "{} in the future".format(duration(int(-seconds)))
