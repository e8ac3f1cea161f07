"""Which of two versions of a package is newer, as rpm orders them (rpm: rpmio/rpmvercmp.c, lib/rpmds.c:rpmVersionCompare).

Pure.
"""
import re
from typing import List, Tuple

_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")
# The order of what may stand at one place: "~" sorts before the end of the version, "^" after it, then letters, then numbers.
_TILDE, _END, _CARET, _LETTERS, _DIGITS = range(5)

Key = Tuple[int, List[Tuple[int, int, str]], List[Tuple[int, int, str]]]


def evr_key(epoch: int, version: str, release: str) -> Key:
    """Return a sort key that puts newer packages after older ones.

    Args:
        epoch, version, release: of the package; a missing epoch is 0.
    """
    return epoch, _segments(version), _segments(release)


def _segments(text: str) -> List[Tuple[int, int, str]]:
    found = []
    for segment in _SEGMENT.findall(text):
        if segment.isdigit():
            found.append((_DIGITS, int(segment), ""))
        else:
            found.append(({"~": _TILDE, "^": _CARET}.get(segment, _LETTERS), 0, segment))
    return found + [(_END, 0, "")]
