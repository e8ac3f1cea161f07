"""ASCII armor of OpenPGP files (RFC 9580 section 6): finds the packets, whatever stands around them, in linear time.

Nothing is decided here: what the packets say is proven by signatures. So a wrong or missing CRC24 changes nothing (section
6.1), nor do headers, empty lines, line ends, long lines, text around a block, or several blocks.

Pure.
"""
import binascii
import string
from typing import List, Sequence

from ..errors import TrustError

MAX_FILE_BYTES = 64 * 1024  # of a signature file; a signature has 0.1 to 1 KiB
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOT_BASE64 = bytes(set(range(256)) - set(string.ascii_letters.encode() + string.digits.encode() + b"+/"))
_DASHES, _BEGIN, _END = b"-----", b"-----BEGIN PGP ", b"-----END PGP "


def read_blocks(data: bytes, max_bytes: int = MAX_FILE_BYTES) -> List[bytes]:
    """Find the packets in a file that is binary or holds armored blocks.

    Args:
        data: the whole file.
        max_bytes: its limit.

    Returns:
        The bytes of the packets of each block, not inspected; at least one block.

    Raises:
        TrustError: "signature-missing": the file holds no OpenPGP data (it is empty, or an HTML page); "malformed": no block
            in it can be decoded; "unsupported": it is larger than the limit of this program.
    """
    if len(data) > max_bytes:
        raise TrustError("unsupported", "larger than {} bytes, the limit of this program".format(max_bytes))
    if data.startswith(_BYTE_ORDER_MARK):
        data = data[len(_BYTE_ORDER_MARK) :]
    if data[:1] >= b"\x80" and not _has_begin_line(data):  # bit 7 is set in the first octet of a packet (section 4.2)
        return [data]
    lines = list(filter(None, [line.strip() for line in data.split(b"\n")]))
    starts = [number for number, line in enumerate(lines) if line.startswith(_BEGIN)]
    if not starts:
        raise TrustError("signature-missing", "neither an armored nor a binary OpenPGP file")
    blocks = [_decode(lines[start + 1 : end]) for start, end in zip(starts, starts[1:] + [len(lines)])]
    found = [block for block in blocks if block]
    if not found:
        raise TrustError("malformed", "armor without any base64 in it")
    return found


def _has_begin_line(data: bytes) -> bool:
    """Tell armor after a text that begins with an octet above 127; a binary file has no such line but by chance."""
    return b"\n" + _BEGIN in data and b"\n" + _END in data


def _decode(lines: Sequence[bytes]) -> bytes:
    """Decode the lines between the first line of a block and its checksum or last line; b"" if there is no base64.

    Headers are what has a colon; the blank line after them may be missing.
    """
    end = next((number for number, line in enumerate(lines) if line.startswith(_DASHES) or _is_checksum(line)), len(lines))
    text = b"".join(line for line in lines[:end] if b":" not in line).partition(b"=")[0].translate(None, _NOT_BASE64)
    # As far as it goes, like gpg: other characters are skipped, and what is cut ends with its last whole octet
    return binascii.a2b_base64(text[: len(text) - (len(text) % 4 == 1)] + b"==")


def _is_checksum(line: bytes) -> bool:
    return len(line) == 5 and line.startswith(b"=")
