"""A file held against its digest, while it comes in. Pure."""
from typing import List, Optional

from ..errors import TrustError
from .hashing import new_hash


class DigestChecker:
    """Proves a file that comes in pieces by the digest that something signed says.

    Args:
        kind: of the digest, as hashlib names it.
        digest: lower-case hex digits.
        keep_bytes: how large a file may be whose content is wanted; 0: it is not.
    """

    def __init__(self, kind: str, digest: str, keep_bytes: int = 0) -> None:
        self._kind = kind
        self._digest = digest
        self._room = keep_bytes
        self._running = new_hash(kind)
        self._kept: Optional[List[bytes]] = [] if keep_bytes else None

    def update(self, chunk: bytes) -> None:
        """Take the next bytes; raises TrustError malformed if they are more than is kept."""
        self._running.update(chunk)
        if self._kept is not None:
            self._kept.append(chunk)
            self._room -= len(chunk)
            if self._room < 0:
                raise TrustError("malformed", "larger than such a file may be")

    def finish(self) -> bytes:
        """Return the content, nothing if it is not wanted.

        Raises:
            TrustError: payload-mismatch.
        """
        if self._running.hexdigest() != self._digest:
            raise TrustError("payload-mismatch", "its {} is not the signed one".format(self._kind))
        return b"".join(self._kept or ())
