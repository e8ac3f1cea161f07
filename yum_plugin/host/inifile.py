"""Read the INI dialect of .conf and .repo files, with line numbers.

Python's configparser is not used: it gives no line numbers, stops at the first damaged line, and needs quadratic time
for a long run of spaces. The dialect is the common part of yum's (iniparse) and dnf's (libdnf's IniParser): "[section]",
"key = value", "#" or ";" at the start of a line begins a comment, and a line that starts with white space continues the
value. There is no interpolation.
"""
import re
from typing import List, NamedTuple, Tuple

MAX_BYTES = 256 * 1024
_SEPARATOR = re.compile("[=:]")


class IniEntry(NamedTuple):
    """One key of a file."""

    section: str
    key: str  # in lower case
    value: str  # continued lines are joined with a line feed
    line: int  # counted from 1


class IniFile(NamedTuple):
    """The content of a file."""

    entries: Tuple[IniEntry, ...]  # in the order of the file; a key that is given twice is here twice
    problems: Tuple[str, ...]  # "line N: what is wrong"; without a line number if it concerns the whole file


def parse_ini(data: bytes) -> IniFile:
    """Read a file as far as it can be read.

    Args:
        data: the content; bytes after MAX_BYTES are not read.

    Returns:
        The entries that are well-formed, and a problem for each line that is not.
    """
    text, problems = _decode(data)
    section = ""
    found: List[Tuple[str, str, int, List[str]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or line[0] in "#;":
            continue
        first = _SEPARATOR.search(stripped)
        key, separator, value = (part.strip() for part in stripped.partition(first.group() if first else "="))
        if line[0].isspace() and found and found[-1][0] == section:
            found[-1][3].append(stripped)
        elif stripped[0] == "[" and "]" in stripped:
            section = stripped[1 : stripped.index("]")].strip()
        elif separator and key and section:
            found.append((section, key.lower(), number, [value]))
        else:
            problems.append("line {}: neither [section] nor key=value in a section".format(number))
    return IniFile(tuple(IniEntry(name, key, "\n".join(parts), line) for name, key, line, parts in found), tuple(problems))


def _decode(data: bytes) -> Tuple[str, List[str]]:
    problems = []
    if len(data) > MAX_BYTES:
        problems.append("larger than {} bytes; the rest is not read".format(MAX_BYTES))
    data = data[:MAX_BYTES]
    if b"\0" in data:
        problems.append("NUL bytes; they are ignored")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        problems.append("not UTF-8; damaged characters are replaced")
        text = data.decode("utf-8", "replace")
    return text.replace("\0", "").lstrip("\ufeff").replace("\r\n", "\n"), problems
