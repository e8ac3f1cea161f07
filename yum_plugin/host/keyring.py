"""The keys of a host: installed key files, pinned fingerprints and the rpm database, and whether they agree.

A key file is good if
    1. it belongs to root or to the user of this process, and nobody else can write to it (``files.read_trusted``),
    2. it holds exactly one key, which is pinned, long enough and allowed to sign (``trust/keys.py``),
    3. the key is neither revoked nor expired.
"""
import contextlib
import os
import pwd
import stat
from typing import List, NamedTuple, Optional, Sequence

from ..errors import MirrorsError, TrustError, UsageError
from ..model import Repository
from ..trust.armor import MAX_FILE_BYTES, PUBLIC_KEY, dearmor
from ..trust.keys import PublicKey, describe_key, load_pinned_key
from ..util.files import read_capped, read_trusted

DEFAULT_KEY_PATH = "/etc/pki/rpm-gpg/RPM-GPG-KEY-xcpng"  # of the package xcp-ng-release

class KeyFile(NamedTuple):
    """An installed key file."""

    path: str
    key: Optional[PublicKey] = None  # None: the file cannot be read
    owner: str = ""  # name, or number if it has none
    mode: Optional[int] = None  # permission bits
    error: Optional[MirrorsError] = None  # the first of the rules above that the file breaks


class RepositoryKeys(NamedTuple):
    """The key files of one repository."""

    repository: Repository
    files: Sequence[KeyFile]


def load_keys(paths: Sequence[str], fingerprints: Sequence[str]) -> List[PublicKey]:
    """Load the pinned keys from key files.

    Args:
        paths: of the files.
        fingerprints: fingerprints, 40 upper-case hex digits.

    Returns:
        At least one key. The verifier, which knows the time, checks whether a key is revoked or has expired.

    Raises:
        UsageError: key-file: no file can be trusted.
        TrustError: no file holds a pinned key; the error is that of the first file.
    """
    keys: List[PublicKey] = []
    refusals: List[MirrorsError] = []
    for path in paths:
        try:
            keys.append(load_pinned_key(read_trusted(path, MAX_FILE_BYTES), fingerprints))
        except TrustError as error:
            refusals.append(TrustError(error.reference, error.what, ": ".join(filter(None, (path, error.where))), error.hint))
        except UsageError as error:
            refusals.append(error)
    if keys:
        return keys
    raise refusals[0] if refusals else UsageError("key-file", "no key file is named")


def pinned_packets(paths: Sequence[str], fingerprints: Sequence[str]) -> bytes:
    """Return the OpenPGP packets of the key files that hold a pinned key; arguments as of ``load_keys``."""
    found = []
    for path in paths:
        with contextlib.suppress(MirrorsError):
            data = read_trusted(path, MAX_FILE_BYTES)
            load_pinned_key(data, fingerprints)
            found.append(dearmor(data, PUBLIC_KEY))
    return b"".join(found)


def look_at(path: str, fingerprints: Sequence[str], now: int) -> KeyFile:
    """Describe a key file, good or bad.

    Args:
        path: of the file.
        fingerprints: fingerprints, 40 upper-case hex digits.
        now: seconds since 1970.
    """
    found = KeyFile(path)
    try:
        real = os.path.realpath(path)
        status = os.stat(real)
        found = found._replace(owner=_name_of(status.st_uid), mode=stat.S_IMODE(status.st_mode))
        found = found._replace(key=describe_key(read_capped(real, MAX_FILE_BYTES)))
    except (OSError, TrustError):
        pass  # the checks below report what is wrong
    try:
        _refuse_dead(load_pinned_key(read_trusted(path, MAX_FILE_BYTES), fingerprints), now)
    except MirrorsError as error:
        return found._replace(error=type(error)(error.reference, error.what, error.where or path, error.hint))
    return found


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _refuse_dead(key: PublicKey, now: int) -> None:
    """Check rule 3."""
    if key.revoked:
        raise TrustError("key-revoked", "the key was revoked by its owner", key.fingerprint)
    if key.expires is not None and now >= key.expires:
        raise TrustError("key-expired", "the key has expired", key.fingerprint)


def disagreements(repositories: Sequence[RepositoryKeys], fingerprints: Sequence[str],
                  imported: Optional[Sequence[PublicKey]], installroot: str = "/") -> List[MirrorsError]:
    """Compare key files, fingerprints and the rpm database.

    Args:
        repositories: the repositories with their key files.
        fingerprints: fingerprints, 40 upper-case hex digits.
        imported: what ``rpmdb.imported_keys`` returned.
        installroot: the root folder of the host, for the hints.

    Returns:
        The problems, each with a hint; empty if the three agree. Other keys in the rpm database are no problem, because
        this program does not trust them.
    """
    problems = [file.error for item in repositories for file in item.files if file.error]
    problems += [UsageError("key-file", "gpgkey= names no key file", where=item.repository.id)
                 for item in repositories if not item.files]
    paths = {file.key.fingerprint: file.path for item in repositories for file in item.files if file.key}
    root = "" if installroot == "/" else "--root {} ".format(installroot)
    known = {key.fingerprint for key in imported or ()}
    for fingerprint in fingerprints:
        if fingerprint not in paths:
            problems.append(TrustError("key-mismatch", "no installed key file holds the pinned key", where=fingerprint,
                                       hint="update xcp-ng-release, or correct fingerprints= in the .conf"))
        elif imported is not None and fingerprint not in known:
            problems.append(UsageError("key-file", "the pinned key is not in the rpm database", where=fingerprint,
                                       hint="rpm {}--import {}".format(root, paths[fingerprint])))
    if imported is None:
        problems.append(UsageError("key-file", "the rpm database cannot be read, so its keys are unknown",
                                   hint="try 'rpm -qa gpg-pubkey*'"))
    unique = {str(problem): problem for problem in problems}  # repositories share key files
    return list(unique.values())
