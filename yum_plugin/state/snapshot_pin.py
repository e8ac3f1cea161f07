"""A pin that this host holds: one signed snapshot of a repository is taken until a time, whatever is newer (``pool/freeze.py``
takes it).

Rules, in order:
    1. A pin holds until it expires or is lifted. Then the newest is taken again, as ever.
    2. The pinned repomd.xml and its signature are proven anew each time, and must not be older than the high-water mark.
    3. Its metadata comes from the state folder, for mirrors serve only their newest; packages come from the mirrors.
    4. A pin that cannot be kept stops the update: to take something else in silence is what it is there to prevent.
    5. That something newer is held back is told every time.
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
from .store import Decision, SnapshotPin, State, with_decision

SIGNATURE = REPOMD + ".asc"
FOLDER_START = "pinned-"
DIGITS = 16  # of the digest, in the folder's name

log = logging.getLogger("xcpng-mirrors")


class HeldSnapshot(NamedTuple):
    """A pin that holds, proven."""

    pin: SnapshotPin
    snapshot: Snapshot  # with raw
    folder: str  # base of the repository's metadata on this disk


def folder_of(state: State, repository_id: str, sha256: str) -> str:
    """Return where the metadata of a pinned snapshot lies."""
    return state.path(repository_id, FOLDER_START + sha256[:DIGITS])


def active_pin(state: State, repository_id: str, now: float) -> Optional[SnapshotPin]:
    """Return the pin of a repository if it holds at a time, seconds since 1970; it is not proven."""
    pin = state.pin(repository_id)
    return pin if pin is not None and pin.holds(now) else None


def hold(repository: Repository, state: State, now: float) -> Optional[HeldSnapshot]:
    """Return the pin of a repository; None if it is not pinned.

    Args:
        repository: which.
        state: the host's; only read.
        now: seconds since 1970.

    Raises:
        TrustError: pinned: it is, but the metadata cannot be proven any more.
    """
    pin = active_pin(state, repository.id, now)
    if pin is None:
        return None
    try:
        return _prove(repository, state, pin, int(now))
    except OSError as error:
        what = error.strerror or "it cannot be read"
    except MirrorsError as error:
        what = "{}: {}".format(error.reference, error.what)
    raise TrustError("pinned", "revision {}, which is to be taken until {}, cannot be used: {}".format(
        pin.snapshot.revision, until(pin), what), where=folder_of(state, repository.id, pin.snapshot.sha256))


def _prove(repository: Repository, state: State, pin: SnapshotPin, now: int) -> HeldSnapshot:
    folder = folder_of(state, repository.id, pin.snapshot.sha256)
    repomd = read_capped(os.path.join(folder, REPOMD), MAX_REPOMD_BYTES)
    signature = read_capped(os.path.join(folder, SIGNATURE), MAX_SIGNATURE_BYTES)
    snapshot = RepomdProver(load_keys(repository.key_paths, repository.pins), now).prove(repomd, signature).snapshot
    if snapshot.sha256 != pin.snapshot.sha256:
        raise TrustError("payload-mismatch", "it is not what was pinned")
    if is_rollback(snapshot, state.accepted(repository.id)):
        raise TrustError("rollback", "it is older than what this host has accepted since")
    return HeldSnapshot(pin, snapshot, folder)


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
    pin = state.pin(repository_id)
    state.write_pin(repository_id, None)
    remove_folders(state, repository_id)
    if pin is None:
        return False
    log.info("%s: the pin on revision %d has ended: %s", repository_id, pin.snapshot.revision, why)
    ended = Decision(int(now), "pin", revision=pin.snapshot.revision)
    state.remember(repository_id, with_decision(state.memory(repository_id), ended))
    make_cold(state, repository_id)
    return True


def make_cold(state: State, repository_id: str) -> None:
    """Let the plugins ask the engine at the next update: a metalink as old as this is not used again without asking."""
    metalink = state.path(repository_id, "metalink.xml")
    if os.path.isfile(metalink):
        os.utime(metalink, (0, 0))


def remove_folders(state: State, repository_id: str, kept: str = "") -> None:
    """Remove the files of all pins but one.

    Args:
        state: the host's.
        repository_id: which.
        kept: a folder that stays.
    """
    place = os.path.dirname(state.path(repository_id, "pin.json"))
    for name in os.listdir(place) if os.path.isdir(place) else ():
        path = os.path.join(place, name)
        if name.startswith(FOLDER_START) and path != kept:
            shutil.rmtree(path, ignore_errors=True)  # what stays takes space and nothing else; the next pin tries again


def until(pin: SnapshotPin) -> str:
    """Word when a pin ends."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(pin.expires))


def words(pin: SnapshotPin, newest: Optional[Snapshot]) -> str:
    """Word a pin for people, and what it holds back.

    Args:
        pin: one that holds.
        newest: the newest that mirrors offered, if that is known.
    """
    text = "revision {} is taken until {}, as agreed for the pool".format(pin.snapshot.revision, until(pin))
    if newest is None or newest.age_key <= pin.snapshot.age_key:
        return text
    return "{}; revision {} is held back".format(text, newest.revision)


def warning(pin: SnapshotPin, newest: Optional[Snapshot]) -> str:
    """Word that something newer is held back, with what lifts that; "" if nothing is."""
    if newest is None or newest.age_key <= pin.snapshot.age_key:
        return ""
    return str(TrustError("pinned", words(pin, newest)))


def warning_without_packages(pin: SnapshotPin) -> str:
    """Word that packages of the pinned metadata could not be had, with what lifts the pin."""
    what = "packages of revision {}, which is to be taken until {}, could not be had; perhaps the mirrors have them no more"
    return str(TrustError("pinned", what.format(pin.snapshot.revision, until(pin))))
