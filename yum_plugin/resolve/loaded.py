"""What the package manager has loaded, proven from its own cache: without any network, and without a child that could use one.

For a repository whose cache was not filled in this run: it was left as it is, any cache would do, or an engine died. Rules, in
order:
    1. What counts is repomd.xml as it lies in the cache after the load. If it is byte for byte what this host has accepted at
       this place, it is proven: so it was when it was accepted.
    2. Any other one needs a signature of a pinned key beside it, must not be below the high-water mark of its place, and must
       not be what this host knows as another repository's. What breaks this rule is refused.
    3. What a mirror list may have led to replaces an accepted one only if this host knows it already (trust/identity.py, rule
       3): the package manager has heard one voice. On first contact it is used, and not marked. The admin's own base URLs
       need no second voice.
    4. While a snapshot pin holds, it has to be the pinned one.
    5. If something is missing for the proof (the file, its signature, the key), or rule 3 or 4 is not kept, the repository is
       unproven: the plugin lets nothing be installed from it.
    6. What is proven becomes the high-water mark (``refresh.accept``). Users other than root neither see nor change the marks.
    7. A copy that the admin has made on purpose (host/own_copy.py) is what he typed: nothing of its metadata is proven, and it
       becomes no mark. Its packages are verified by his keys.
"""
import hashlib
from typing import Optional

from ..errors import TrustError, UsageError
from ..host.keyring import load_keys
from ..model import REPOMD, Repository, Snapshot
from ..state.memory import Remembered
from ..state.snapshot_pin import hold
from ..state.store import State
from ..trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ..trust.freshness import refuse_rollback
from ..trust.identity import SINGLE_VOICE, UNCONFIRMED, WRONG_REPOSITORY, other_owner
from ..trust.metadata import RepomdProver
from ..trust.repomd import MAX_REPOMD_BYTES
from ..util.files import read_capped
from .metadata_cache import SIGNATURE, MetadataCache
from .resolution import Resolution


def prove_loaded(repository: Repository, cache: MetadataCache, state: State, now: int) -> Resolution:
    """Apply the rules.

    Args:
        repository: which; of its network settings and base URLs nothing is used but its place.
        cache: the package manager's, after it has loaded it.
        state: what this host remembers.
        now: seconds since 1970.

    Returns:
        What is loaded, for ``refresh.accept``.

    Raises:
        TrustError: it is refused; "unconfirmed": it is unproven.
        UsageError: it is unproven.
    """
    remembered = state.load(repository.id, repository.place)
    raw = _read(cache.path(REPOMD), MAX_REPOMD_BYTES, "see whether the disk of this cache is full or damaged")
    accepted = remembered.accepted
    if accepted is not None and accepted.sha256 == hashlib.sha256(raw).hexdigest():
        found = Resolution(repository, accepted)
    else:
        found = _prove(repository, cache, raw, accepted, now)
        found = _identify(found, state, accepted)
    _require_pinned(repository, remembered, found.proven(), now)
    return found


def sha256_of_copy(cache: MetadataCache) -> str:
    """Return the digest of what is loaded of a copy of the admin's own (rule 7).

    Raises:
        UsageError: it cannot be read.
    """
    return hashlib.sha256(_read(cache.path(REPOMD), MAX_REPOMD_BYTES, "see whether the disk of this cache is full")).hexdigest()


def _prove(repository: Repository, cache: MetadataCache, raw: bytes, accepted: Optional[Snapshot], now: int) -> Resolution:
    """Apply rule 2, but for whose it is."""
    signature = _read(cache.path(SIGNATURE), MAX_SIGNATURE_BYTES, "set repo_gpgcheck=1 in the .repo file")
    keys = load_keys(repository.key_paths, repository.fingerprints)
    snapshot = RepomdProver(keys, now).prove(raw, signature).snapshot
    refuse_rollback(snapshot, accepted)
    return Resolution(repository, snapshot)


def _identify(found: Resolution, state: State, accepted: Optional[Snapshot]) -> Resolution:
    """Apply the rest of rule 2, and rule 3."""
    repository, snapshot, known = found.repository, found.proven(), state.known()
    other = other_owner(snapshot.sha256, repository.id, repository.place, known)
    if other:
        raise TrustError(WRONG_REPOSITORY, "revision {} is loaded, which this host knows as {}".format(snapshot.revision, other))
    if not repository.path or snapshot.sha256 in known.get((repository.id, repository.place), ()):
        return found
    if accepted is not None:
        raise TrustError(UNCONFIRMED, "revision {} is loaded, and no second voice knows it".format(snapshot.revision))
    return found._replace(note=SINGLE_VOICE)


def _read(path: str, max_bytes: int, hint: str) -> bytes:
    try:
        return read_capped(path, max_bytes)
    except OSError as error:
        raise UsageError("configuration", "it cannot be read: {}".format(error.strerror), where=path, hint=hint)


def _require_pinned(repository: Repository, remembered: Remembered, snapshot: Snapshot, now: int) -> None:
    """Apply rule 4."""
    held = hold(repository, remembered, now)
    if held is not None and held.snapshot.sha256 != snapshot.sha256:
        raise UsageError("pin", "revision {} is loaded, revision {} is what the pool has agreed on".format(
            snapshot.revision, held.snapshot.revision), hint="remove the pin: 'xcpng-mirrors precheck --unpin'")
