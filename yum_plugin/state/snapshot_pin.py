"""A snapshot pin: one signed snapshot of a repository is taken until a time, whatever is newer (``pool/freeze.py`` sets it).

Rules, in order:
    1. A pin holds until it expires or is lifted. After that, the newest snapshot is taken again.
    2. The pinned repomd.xml and its signature are proven anew at each use, and must not be older than the high-water mark.
    3. Its metadata comes from the state folder, because mirrors serve only their newest; packages come from the mirrors.
    4. A pin that cannot be kept stops the update: silently taking another snapshot is what the pin is there to prevent.
    5. Each update reports that something newer is held back.
"""
import logging
import os
import shutil
import time
from typing import NamedTuple, Optional

from ..errors import MirrorsError, TrustError
from ..host.keyring import load_keys
from ..model import REPOMD, Repository, Snapshot
from ..trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ..trust.freshness import is_rollback
from ..trust.metadata import RepomdProver
from ..trust.repomd import MAX_REPOMD_BYTES
from ..util.files import read_capped
from .memory import Decision, Memory, Remembered, SnapshotPin, with_decision
from .store import MEMORY, State

SIGNATURE = REPOMD + ".asc"
FOLDER_START = "pinned-"
DIGITS = 16  # of the digest, in the folder's name

log = logging.getLogger("xcpng-mirrors")


class HeldSnapshot(NamedTuple):
    """A pin that holds, with its proven snapshot."""

    pin: SnapshotPin
    snapshot: Snapshot  # with raw
    folder: str  # base of the repository's metadata on this disk


def folder_of(repository_folder: str, sha256: str) -> str:
    """Return where the metadata of a pinned snapshot lies."""
    return os.path.join(repository_folder, FOLDER_START + sha256[:DIGITS])


def active_pin(remembered: Remembered, now: float) -> Optional[SnapshotPin]:
    """Return the pin of a repository if it holds at a time, seconds since 1970; it is not proven."""
    pin = remembered.pin
    return pin if pin is not None and pin.holds(now) else None


def hold(repository: Repository, remembered: Remembered, now: float) -> Optional[HeldSnapshot]:
    """Prove the pin of a repository; None if it is not pinned.

    Args:
        repository: which.
        remembered: its pin, and the high-water mark.
        now: seconds since 1970.

    Raises:
        TrustError: pinned: it is, but the metadata cannot be proven any more (rules 2 and 4).
    """
    pin = active_pin(remembered, now)
    if pin is None:
        return None
    folder = folder_of(remembered.folder, pin.snapshot.sha256)
    try:
        return HeldSnapshot(pin, _prove(repository, remembered.accepted, pin, folder, int(now)), folder)
    except OSError as error:
        what = error.strerror or "it cannot be read"
    except MirrorsError as error:
        what = "{}: {}".format(error.reference, error.what)
    raise TrustError("pinned", "revision {}, which is to be taken until {}, cannot be used: {}".format(
        pin.snapshot.revision, until(pin), what), where=folder)


def _prove(repository: Repository, accepted: Optional[Snapshot], pin: SnapshotPin, folder: str, now: int) -> Snapshot:
    repomd = read_capped(os.path.join(folder, REPOMD), MAX_REPOMD_BYTES)
    signature = read_capped(os.path.join(folder, SIGNATURE), MAX_SIGNATURE_BYTES)
    snapshot = RepomdProver(load_keys(repository.key_paths, repository.fingerprints), now).prove(repomd, signature).snapshot
    if snapshot.sha256 != pin.snapshot.sha256:
        raise TrustError("payload-mismatch", "it is not what was pinned")
    if is_rollback(snapshot, accepted):
        raise TrustError("rollback", "it is older than what this host has accepted since")
    return snapshot


def lift(state: State, repository_id: str, now: float, why: str) -> bool:
    """End a pin and remove its files; the next update asks again.

    Args:
        state: the host's; its lock is held by the caller.
        repository_id: which.
        now: seconds since 1970.
        why: for the log.

    Returns:
        Whether there was one.

    Raises:
        UsageError: state: it could not be removed.
    """
    remembered = state.load(repository_id)
    remove_pin(state, repository_id)
    if remembered.pin is None:
        return False
    state.update(repository_id, with_ended_pin(remembered.memory, remembered.pin, now, why))
    return True


def with_ended_pin(memory: Memory, pin: SnapshotPin, now: float, why: str) -> Memory:
    """Return a memory that also holds the decision that a pin has ended."""
    log.info("the pin on revision %d, %s, has ended: %s", pin.snapshot.revision, pin.snapshot.sha256, why)
    return with_decision(memory, Decision(int(now), "pin", revision=pin.snapshot.revision))


def remove_pin(state: State, repository_id: str) -> None:
    """Remove a pin and its files; arguments and errors as of ``lift``."""
    state.write_pin(repository_id, None)
    remove_folders(os.path.dirname(state.path(repository_id, MEMORY)))


def remove_folders(repository_folder: str, kept: str = "") -> None:
    """Remove the files of all pins but one.

    Args:
        repository_folder: of the repository, in the state.
        kept: a folder that stays.
    """
    for name in os.listdir(repository_folder) if os.path.isdir(repository_folder) else ():
        path = os.path.join(repository_folder, name)
        if name.startswith(FOLDER_START) and path != kept:
            shutil.rmtree(path, ignore_errors=True)  # what stays takes space and nothing else; the next pin tries again


def until(pin: SnapshotPin) -> str:
    """Return the time when a pin ends, for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(pin.expires))


def words(pin: SnapshotPin, newest: Optional[Snapshot]) -> str:
    """Describe a pin for people, and the revision that it holds back.

    Args:
        pin: one that holds.
        newest: the newest snapshot that mirrors offered, if one is known.
    """
    text = "revision {} is taken until {}, as agreed for the pool".format(pin.snapshot.revision, until(pin))
    if newest is None or newest.age_key <= pin.snapshot.age_key:
        return text
    return "{}; revision {} is held back".format(text, newest.revision)


def warning(pin: SnapshotPin, newest: Optional[Snapshot]) -> str:
    """Return the warning that a newer revision is held back, with the command that lifts the pin; "" if none is."""
    if newest is None or newest.age_key <= pin.snapshot.age_key:
        return ""
    return str(TrustError("pinned", words(pin, newest)))


def warning_without_packages(pin: SnapshotPin) -> str:
    """Return the warning that packages of the pinned metadata could not be fetched, with the command that lifts the pin."""
    what = "packages of revision {}, which is to be taken until {}, could not be had; perhaps the mirrors have them no more"
    return str(TrustError("pinned", what.format(pin.snapshot.revision, until(pin))))
