"""How a check and its verdict are shown: by ``doctor`` for a host, by ``audit`` for a mirror."""
from typing import List, Sequence, Tuple

from .console import STYLES, Console, printable, wrapped


def verdict_lines(word: str, style: str, name: str, evidence: Sequence[str], problems: Sequence[Tuple[str, str]],
                  out: Console) -> List[str]:
    """Return the lines that show one check.

    Args:
        word: the verdict, e.g. "ok"; it comes first.
        style: the style of the verdict, a key of STYLES.
        name: the name of the check.
        evidence: what was seen; the first text stands beside the name.
        problems: what is wrong ("" if the evidence says it), and the command lines that fix it ("" if there are none).
        out: the console that will show the lines.
    """
    texts = list(evidence) or [""]
    first = _indented("{:9}{}: {}".format(word, name, texts[0]), "", out)
    if out.colour:
        first[0] = "\x1b[{}m{}\x1b[0m{}".format(STYLES[style], word, first[0][len(word):])
    more = [line for text in texts[1:] for line in _indented(text, "  ", out)]
    return first + more + [line for what, remedy in problems for line in _problem_lines(what, remedy, out)]


def _indented(text: str, indent: str, out: Console) -> List[str]:
    """Break a text into lines; the second and later ones are indented by two more columns."""
    lines = wrapped([text], out.width - 2 if out.width else 0) or [""]
    return [indent + lines[0]] + ["  " + line for line in lines[1:]]


def _problem_lines(what: str, remedy: str, out: Console) -> List[str]:
    """Return the lines of a problem; a remedy is never broken, so that it can be copied."""
    said = _indented(what, "  ", out) if what else []
    starts = ["    fix: "] + ["         "] * remedy.count("\n")
    return said + [start + printable(line) for start, line in zip(starts, remedy.split("\n")) if remedy]
