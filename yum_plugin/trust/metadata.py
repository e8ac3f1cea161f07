"""Makes a snapshot of repomd.xml and its signature: verified first, then parsed from the very same bytes (CVE-2013-1051)."""
import hashlib
from typing import Dict, NamedTuple, Sequence, Tuple

from ..model import Snapshot
from .keys import PublicKey
from .openpgp import Verdict, verify_detached
from .repomd import Repomd, parse_repomd

MAX_REMEMBERED = 8  # good mirrors serve one pair of files, or two while an update propagates


class ProvenRepomd(NamedTuple):
    """A proven pair of files: what it says, and who signed it when."""

    snapshot: Snapshot
    content: Repomd
    verdict: Verdict


class RepomdProver:
    """Proves the repomd.xml files of one repository, and the same bytes only once: all good mirrors serve the same.

    Args:
        keys: the pinned keys.
        now: seconds since 1970.
    """

    def __init__(self, keys: Sequence[PublicKey], now: int) -> None:
        self._keys = keys
        self._now = now
        self._known: Dict[Tuple[bytes, bytes], ProvenRepomd] = {}

    def prove(self, repomd: bytes, signature: bytes) -> ProvenRepomd:
        """Verify a repomd.xml, then parse it. May be called from several threads.

        Args:
            repomd: the bytes of repomd.xml.
            signature: the bytes of repomd.xml.asc.

        Raises:
            TrustError: the first rule that is broken.
        """
        proven = self._known.get((repomd, signature))
        if proven is None:
            proven = self._prove(repomd, signature)
            if len(self._known) < MAX_REMEMBERED:
                self._known[repomd, signature] = proven
        return proven

    def _prove(self, repomd: bytes, signature: bytes) -> ProvenRepomd:
        verdict = verify_detached(repomd, signature, self._keys, self._now)
        content = parse_repomd(repomd)
        snapshot = Snapshot(hashlib.sha256(repomd).hexdigest(), len(repomd), content.revision,
                            content.timestamp or verdict.signed_at, verdict.signed_at, repomd, signature)
        return ProvenRepomd(snapshot, content, verdict)
