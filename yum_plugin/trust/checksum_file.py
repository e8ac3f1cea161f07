"""SHA256SUMS, the list of digests beside ISO images: parsed only after its signature was proven.

Pure.
"""
import re
from typing import Dict

from ..errors import TrustError

MAX_SUMS_BYTES = 1024 * 1024
MAX_FILES = 4096
# What sha256sum writes. A name is visible ASCII without slash and backslash, and neither "." nor ".."
_LINE = re.compile(r"([0-9a-f]{64}) [ *](?!\.\.?\Z)([!-.0-\[\]-~]{1,255})\Z")


def parse_checksums(raw: bytes) -> Dict[str, str]:
    """Parse a SHA256SUMS file whose signature was proven, from the very bytes that were hashed.

    Args:
        raw: the file, at most 1 MiB.

    Returns:
        Name -> 64 lower-case hex digits. Every name is safe to use within one folder.

    Raises:
        TrustError: "malformed": empty, too large, a line that is not a digest and a name, or a name that occurs twice.
    """
    if len(raw) > MAX_SUMS_BYTES or raw.count(b"\n") > MAX_FILES:
        raise TrustError("malformed", "a checksum list of more than {} bytes or {} files".format(MAX_SUMS_BYTES, MAX_FILES))
    text = raw.decode("latin-1")  # every byte is a character, and only ASCII passes the pattern
    lines = (text[:-1] if text.endswith("\n") else text).split("\n")
    sums: Dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.match(line)
        if not match or match.group(2) in sums:
            raise TrustError("malformed", "line {} of the checksum list is not a checksum, or names a file again".format(number))
        sums[match.group(2)] = match.group(1)
    return sums


def find_checksum(sums: Dict[str, str], name: str) -> str:
    """Return the digest of one file.

    Args:
        sums: from ``parse_checksums``.
        name: of the file, without folders.

    Returns:
        64 lower-case hex digits of its SHA-256.

    Raises:
        TrustError: "not-covered": the list does not name it.
    """
    if name not in sums:
        raise TrustError("not-covered", "the signed checksums do not list the file", name)
    return sums[name]
