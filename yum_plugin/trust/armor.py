"""ASCII armor of OpenPGP files (RFC 9580 section 6): strict, and linear in the size of the file.

Pure.
"""
import binascii
from functools import lru_cache
from typing import List, Tuple

from ..errors import TrustError

MAX_FILE_BYTES = 64 * 1024  # a signature is 0.3 to 1 KiB, the installed key 2 KiB
MAX_LINE_CHARACTERS = 76  # RFC 4880 section 6.3
SIGNATURE = b"SIGNATURE"
PUBLIC_KEY = b"PUBLIC KEY BLOCK"
_CRC24_INIT = 0xB704CE  # RFC 9580 section 6.1.1
_CRC24_GENERATOR = 0x1864CFB


def dearmor(data: bytes, label: bytes = SIGNATURE) -> bytes:
    """Return the packets in a file that is either binary or exactly one armored block.

    Args:
        data: the whole file, at most 64 KiB.
        label: what kind of block it must be, ``SIGNATURE`` or ``PUBLIC_KEY``.

    Returns:
        The bytes of the packets, not inspected. A wrong CRC24 is refused, a missing one is not (RFC 9580 section 6.1).

    Raises:
        TrustError: "signature-missing": the file holds no OpenPGP data (it is empty, or an HTML page);
            "malformed": it is too large, or anything but one well-formed block.
    """
    if len(data) > MAX_FILE_BYTES:
        raise TrustError("malformed", "larger than {} bytes".format(MAX_FILE_BYTES))
    if data[:1] >= b"\x80":  # bit 7 is set in the first octet of every packet (RFC 9580 section 4.2)
        return data
    if b"-----BEGIN PGP " not in data:
        raise TrustError("signature-missing", "neither an armored nor a binary OpenPGP file")
    lines = [line.rstrip(b" \t\r") for line in data.strip().split(b"\n")]
    if lines[0] != b"-----BEGIN PGP " + label + b"-----" or lines[-1] != b"-----END PGP " + label + b"-----":
        raise TrustError("malformed", "not one armored {} and nothing else".format(label.decode("ascii").lower()))
    if b"" not in lines:
        raise TrustError("malformed", "armor without the blank line after its headers")
    blank = lines.index(b"")
    if not all(b": " in header for header in lines[1:blank]):
        raise TrustError("malformed", "armor with a malformed header")
    return _decode_body(lines[blank + 1 : -1])


def _decode_body(lines: List[bytes]) -> bytes:
    """Decode the lines between the headers and the last line, and check their CRC24 if there is one."""
    checksum = lines.pop() if lines and len(lines[-1]) == 5 and lines[-1].startswith(b"=") else b""
    if not all(0 < len(line) <= MAX_LINE_CHARACTERS for line in lines):
        raise TrustError("malformed", "armor with an empty or overlong line")
    decoded = _decode_base64(b"".join(lines))
    if checksum and int.from_bytes(_decode_base64(checksum[1:]), "big") != _crc24(decoded):
        raise TrustError("malformed", "armor whose CRC24 does not match")
    return decoded


def _decode_base64(text: bytes) -> bytes:
    """Decode canonical base64 only: Python's decoder skips unknown characters, so the result is encoded again and compared."""
    try:
        decoded = binascii.a2b_base64(text)
    except binascii.Error as error:
        raise TrustError("malformed", "armor with broken base64") from error
    if binascii.b2a_base64(decoded, newline=False) != text:
        raise TrustError("malformed", "armor with something other than base64")
    return decoded


def _crc24(data: bytes) -> int:
    table = _crc24_table()
    crc = _CRC24_INIT
    for octet in data:
        crc = ((crc << 8) & 0xFFFFFF) ^ table[(crc >> 16) ^ octet]
    return crc


@lru_cache(maxsize=1)
def _crc24_table() -> Tuple[int, ...]:
    return tuple(_shift_octet(octet) for octet in range(256))


def _shift_octet(octet: int) -> int:
    crc = octet << 16
    for _ in range(8):
        crc <<= 1
        if crc & 0x1000000:
            crc ^= _CRC24_GENERATOR
    return crc
