"""SHA256SUMS, the list of digests beside ISO images: parsed only after its signature was proven.

Rules:
    1. A line is read as sha256sum --check reads it: DIGEST, two spaces or " *", NAME; with one space or a tab; --tag's and
       openssl's SHA256 (NAME) = DIGEST; digits of either case; white space before it, a carriage return after it; a backslash
       before it means that the name has escapes. Blank lines and comments say nothing.
    2. Each line is judged by itself: one that cannot be read, or whose name leads out of the folder, vouches for no file, and the
       others stand. A file that is named again with another digest has none.
    3. A name is the file's path below the list's folder; "./" and "//" in it mean nothing.

Pure.
"""
import re
from typing import Dict, Optional, Tuple

from ..errors import TrustError

MAX_SUMS_BYTES = 1024 * 1024
_LINE = re.compile(rb"([0-9A-Fa-f]{64})(?:[ \t][ *]?)([^\0]+)\Z", re.DOTALL)
_TAGGED = re.compile(rb"SHA256 ?\(([^\0]+)\)[ \t]*=[ \t]*([0-9A-Fa-f]{64})\Z", re.DOTALL)
_OTHER_DIGEST = re.compile(rb"[A-Z0-9-]+ ?\(.+\)[ \t]*=[ \t]*[0-9A-Za-z+/=]+\Z", re.DOTALL)  # of other kinds, in one list
_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_ESCAPES = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}


def parse_checksums(raw: bytes) -> Dict[str, str]:
    """Parse a SHA256SUMS file whose signature was proven, from the very bytes that were hashed.

    Args:
        raw: the file.

    Returns:
        Path below the list's folder -> 64 lower-case hex digits. A name may have any characters but NUL; bytes that are not
        UTF-8 are surrogates, as in ``os.fsdecode``.

    Raises:
        TrustError: "unsupported": larger than 1 MiB; "malformed": no line of it names a file.
    """
    if len(raw) > MAX_SUMS_BYTES:
        raise TrustError("unsupported", "a checksum list of more than {} bytes, the limit of this program".format(MAX_SUMS_BYTES))
    sums: Dict[str, str] = {}
    unclear = set()
    for name, digest in filter(None, map(_read_line, raw.split(b"\n"))):
        if sums.setdefault(name, digest) != digest:
            unclear.add(name)
    if not sums:
        raise TrustError("malformed", "a checksum list without a single checksum and name")
    return {name: digest for name, digest in sums.items() if name not in unclear}


def is_checksum_list(head: bytes) -> bool:
    """Whether a file begins as a list of checksums does.

    Args:
        head: its beginning, some kilobytes.
    """
    lines = (_significant(line) for line in head.split(b"\n"))
    first = next(filter(None, lines), b"")
    return any(form.match(first[first.startswith(b"\\"):]) for form in (_LINE, _TAGGED, _OTHER_DIGEST))


def _significant(line: bytes) -> bytes:
    """Return a line without what rule 1 ignores; b"" for a blank line or a comment."""
    line = line[:-1] if line.endswith(b"\r") else line
    return b"" if line.startswith(b"#") else line.lstrip(b" \t")


def _read_line(line: bytes) -> Optional[Tuple[str, str]]:
    """Return name and digest, or None (rule 2)."""
    text = _significant(line)
    is_escaped = text.startswith(b"\\")
    plain, tagged = _LINE.match(text[is_escaped:]), _TAGGED.match(text[is_escaped:])
    if plain:
        digest, name = plain.groups()
    elif tagged:
        name, digest = tagged.groups()
    else:
        return None
    if is_escaped:
        escapes = _ESCAPE.findall(name)
        if any(each not in _ESCAPES for each in escapes):
            return None
        name = _ESCAPE.sub(lambda match: _ESCAPES[match.group(1)], name)
    parts = [part for part in name.decode("utf-8", "surrogateescape").split("/") if part not in ("", ".")]
    if name.startswith(b"/") or name.endswith((b"/", b"/.")) or not parts or ".." in parts:
        return None
    return "/".join(parts), digest.decode("ascii").lower()


def find_checksum(sums: Dict[str, str], name: str) -> str:
    """Return the digest of one file.

    Args:
        sums: from ``parse_checksums``.
        name: its path below the list's folder.

    Returns:
        64 lower-case hex digits of its SHA-256.

    Raises:
        TrustError: "not-covered": the list does not name it, or names several digests.
    """
    if name not in sums:
        raise TrustError("not-covered", "the signed checksums do not list the file with one digest", name)
    return sums[name]
