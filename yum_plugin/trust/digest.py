"""Checks a file against its digest while it arrives. Pure."""
from typing import List, Optional

from ..errors import TrustError
from .hashing import new_hash


class DigestChecker:
    """Proves a file that arrives in pieces by a digest that was signed.

    Args:
        kind: of the digest, as hashlib names it.
        digest: lower-case hex digits.
        keep_bytes: the largest size of a file whose content is kept; 0: the content is not kept.
    """

    def __init__(self, kind: str, digest: str, keep_bytes: int = 0) -> None:
        self._kind = kind
        self._digest = digest
        self._room = keep_bytes
        self._running = new_hash(kind)
        self._kept: Optional[List[bytes]] = [] if keep_bytes else None

    def update(self, chunk: bytes) -> None:
        """Take the next bytes; raises TrustError unsupported if the file is larger than ``keep_bytes``."""
        self._running.update(chunk)
        if self._kept is not None:
            self._kept.append(chunk)
            self._room -= len(chunk)
            if self._room < 0:
                raise TrustError("unsupported", "larger than such a file may be, the limit of this program")

    def finish(self) -> bytes:
        """Return the content, or b"" if it is not kept.

        Raises:
            TrustError: payload-mismatch: the digest is another one.
        """
        if self._running.hexdigest() != self._digest:
            raise TrustError("payload-mismatch", "its {} is not the signed one".format(self._kind))
        return b"".join(self._kept or ())
