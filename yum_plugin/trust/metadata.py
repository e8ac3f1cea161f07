"""A repomd.xml and its signature become a snapshot: verified first, read afterwards, from the very same bytes (CVE-2013-1051)."""
import hashlib
from typing import Dict, NamedTuple, Sequence, Tuple

from ..model import Snapshot
from .freshness import refuse_fast_forward
from .keys import PublicKey
from .openpgp import Verdict, verify_detached
from .repomd import Repomd, parse_repomd

MAX_REMEMBERED = 8  # good mirrors serve one pair of files, or two while an update spreads


class Proven(NamedTuple):
    """What a good pair of files says."""

    snapshot: Snapshot
    content: Repomd
    verdict: Verdict


class RepomdProver:
    """Proves the repomd.xml files of one repository; the same bytes, which all good mirrors serve, only once.

    Args:
        keys: the pinned ones.
        now: seconds since 1970.
    """

    def __init__(self, keys: Sequence[PublicKey], now: int) -> None:
        self._keys = keys
        self._now = now
        self._known: Dict[Tuple[bytes, bytes], Proven] = {}

    def prove(self, repomd: bytes, signature: bytes) -> Proven:
        """Verify a repomd.xml, then read it. May be called from several threads.

        Args:
            repomd: as it arrived.
            signature: of repomd.xml.asc.

        Raises:
            TrustError: the first rule that is broken.
        """
        proven = self._known.get((repomd, signature))
        if proven is None:
            proven = self._prove(repomd, signature)
            if len(self._known) < MAX_REMEMBERED:
                self._known[repomd, signature] = proven
        return proven

    def _prove(self, repomd: bytes, signature: bytes) -> Proven:
        verdict = verify_detached(repomd, signature, self._keys, self._now)
        content = parse_repomd(repomd)
        snapshot = Snapshot(hashlib.sha256(repomd).hexdigest(), len(repomd), content.revision, content.timestamp,
                            verdict.signed_at, repomd, signature)
        refuse_fast_forward(snapshot, self._now)
        return Proven(snapshot, content, verdict)
