"""Key files: which keys are in them, and what packets belong to each, in any form that gpg or rpm imports.

A file is binary or armored, in one block or many, with several keys, and with keys and packets beside them that this program
cannot read: the trust packets of old keyrings, versions other than 4, secret keys. What belongs to a key reaches from its
first packet to the next key's (RFC 9580 section 10.1); a key that is cut short is left out, as gpg leaves it out, because
its revocation might be what is missing. Nothing is proven here.

Pure.
"""
import hashlib
from typing import Dict, List, NamedTuple, Sequence, Tuple

from ..errors import TrustError
from . import packets
from .armor import read_blocks

MAX_KEY_FILE_BYTES = 1024 * 1024  # an installed key has 2 KiB; a keyring that others have certified may have far more
_STATEMENT_TAGS = frozenset([packets.TAG_SIGNATURE, packets.TAG_USER_ID, packets.TAG_PUBLIC_SUBKEY, packets.TAG_USER_ATTRIBUTE])


class KeyPackets(NamedTuple):
    """A primary key and the packets that follow it; nothing in them is proven."""

    primary: bytes  # the body of its packet, of version 4
    following: Tuple[Tuple[int, bytes], ...]  # tags and bodies: user ids, subkeys, attributes and signatures

    @property
    def fingerprint(self) -> str:
        """40 upper-case hex digits."""
        return fingerprint_of(self.primary)

    def encoded(self) -> bytes:
        """Return the packets as a binary keyring has them."""
        return b"".join(map(_encoded, [(packets.TAG_PUBLIC_KEY, self.primary), *self.following]))


def _encoded(packet: Tuple[int, bytes]) -> bytes:
    """Write a packet as gpg does: in the old format where that knows the tag (RFC 9580 section 4.2)."""
    tag, body = packet
    if tag >= 16:
        return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body
    form = 0 if len(body) < 0x100 else 1 if len(body) < 0x10000 else 2
    return bytes([0x80 | tag << 2 | form]) + len(body).to_bytes(1 << form, "big") + body


def framed(key: bytes) -> bytes:
    """Return the body of a key packet as it is hashed for fingerprints and signatures (RFC 9580 sections 5.2.4, 5.5.4.2)."""
    return b"\x99" + len(key).to_bytes(2, "big") + key


def fingerprint_of(key: bytes) -> str:
    """Return the fingerprint of a V4 key packet's body, 40 upper-case hex digits."""
    return hashlib.sha1(framed(key)).hexdigest().upper()


def read_key_file(data: bytes) -> List[KeyPackets]:
    """Find the keys in a file.

    Args:
        data: the file's bytes.

    Returns:
        At least one key; each fingerprint once, with all packets that the file has of it in their order.

    Raises:
        TrustError: "key-invalid": there is no public key of version 4 in it.
    """
    try:
        blocks = read_blocks(data, MAX_KEY_FILE_BYTES)
    except TrustError as error:
        raise TrustError("key-invalid", "not an OpenPGP key file: " + error.what) from error
    keys = merge([key for block in blocks for key in _read_block(block)])
    if not keys:
        raise TrustError("key-invalid", "the file holds no public key of version 4 that is whole")
    return keys


def merge(keys: Sequence[KeyPackets]) -> List[KeyPackets]:
    """Put together what is said about the same key in several places, in the order of the places."""
    found: Dict[bytes, List[Tuple[int, bytes]]] = {}
    for key in keys:
        found.setdefault(key.primary, []).extend(key.following)
    return [KeyPackets(primary, tuple(following)) for primary, following in found.items()]


def _read_block(block: bytes) -> List[KeyPackets]:
    found: List[Tuple[bytes, List[Tuple[int, bytes]]]] = []  # b"": a key of another kind
    try:
        for tag, body in packets.read_packets(block):
            if tag in (packets.TAG_PUBLIC_KEY, packets.TAG_SECRET_KEY):
                readable = tag == packets.TAG_PUBLIC_KEY and 6 <= len(body) < 0x10000 and body[0] == 4
                found.append((body if readable else b"", []))
            elif tag in _STATEMENT_TAGS and found:
                found[-1][1].append((tag, body))
    except TrustError:
        del found[-1:]
    return [KeyPackets(primary, tuple(following)) for primary, following in found if primary]
