"""The keys of a host: installed key files, pinned fingerprints and the rpm database, and whether they agree.

A key file is good if
    1. it belongs to root or to the user of this process, and nobody else can write to it (``files.read_trusted``),
    2. it holds a pinned key that is long enough and allowed to sign (``trust/keys.py``), whatever else is in it,
    3. that key is neither revoked nor expired.
What several files say about one key is put together: a revocation in any of them counts.
"""
import os
import pwd
import stat
from typing import List, NamedTuple, Optional, Sequence, Tuple

from ..errors import MirrorsError, TrustError, UsageError
from ..model import Repository
from ..trust.keyfile import MAX_KEY_FILE_BYTES, KeyPackets, merge
from ..trust.keys import PublicKey, describe_keys, load_pinned_keys, pinned_in
from ..util.files import read_capped, read_trusted

DEFAULT_KEY_PATH = "/etc/pki/rpm-gpg/RPM-GPG-KEY-xcpng"  # of the package xcp-ng-release

class KeyFile(NamedTuple):
    """An installed key file."""

    path: str
    keys: Tuple[PublicKey, ...] = ()  # all in it, the pinned ones first; none: the file cannot be read
    owner: str = ""  # name, or number if it has none
    mode: Optional[int] = None  # permission bits
    error: Optional[MirrorsError] = None  # the first of the rules above that the file breaks

    @property
    def key(self) -> Optional[PublicKey]:
        """The pinned key in it, or the first one."""
        return self.keys[0] if self.keys else None


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
    found, refusals = _read_all(paths, fingerprints)
    try:
        if found:
            return load_pinned_keys(found)
    except TrustError as error:
        raise TrustError(error.reference, error.what, "{}: {}".format(", ".join(paths), error.where), error.hint) from error
    raise refusals[0] if refusals else UsageError("key-file", "no key file is named")


def pinned_packets(paths: Sequence[str], fingerprints: Sequence[str]) -> bytes:
    """Return the pinned keys of these key files as a binary keyring; arguments as of ``load_keys``."""
    return b"".join(key.encoded() for key in merge(_read_all(paths, fingerprints)[0]))


def _read_all(paths: Sequence[str], fingerprints: Sequence[str]) -> Tuple[List[KeyPackets], List[MirrorsError]]:
    """Return the pinned keys in all files, and why there are none in some."""
    found: List[KeyPackets] = []
    refusals: List[MirrorsError] = []
    for path in paths:
        try:
            found += pinned_in(read_trusted(path, MAX_KEY_FILE_BYTES), fingerprints)
        except TrustError as error:
            refusals.append(TrustError(error.reference, error.what, ": ".join(filter(None, (path, error.where))), error.hint))
        except UsageError as error:
            refusals.append(error)
    return found, refusals


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
        keys = describe_keys(read_capped(real, MAX_KEY_FILE_BYTES))
        found = found._replace(keys=tuple(sorted(keys, key=lambda key: key.fingerprint not in fingerprints)))
    except (OSError, TrustError):
        pass  # the checks below report what is wrong
    try:
        _refuse_dead(load_pinned_keys(pinned_in(read_trusted(path, MAX_KEY_FILE_BYTES), fingerprints)), now)
    except MirrorsError as error:
        return found._replace(error=type(error)(error.reference, error.what, error.where or path, error.hint))
    return found


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _refuse_dead(keys: Sequence[PublicKey], now: int) -> None:
    """Check rule 3: one pinned key that lives is enough, because the others are left over from a change of keys."""
    errors = []
    for key in keys:
        signers = ([key] if key.may_sign else []) + list(key.subkeys)
        if key.revoked or all(signer.revoked for signer in signers):
            errors.append(TrustError("key-revoked", "the key was revoked by its owner", key.fingerprint))
        elif all(expires is not None and now >= expires for expires in [signer.expires for signer in signers]) or (
                key.expires is not None and now >= key.expires):
            errors.append(TrustError("key-expired", "the key has expired", key.fingerprint))
    if len(errors) == len(keys):
        raise errors[0]


def _file_errors(item: RepositoryKeys) -> List[MirrorsError]:
    """Return what is wrong with the files; one of the old key or of a new one is in order beside one that is good."""
    errors = [file.error for file in item.files if file.error]
    beside = ("key-mismatch", "key-revoked", "key-expired") if len(errors) < len(item.files) else ()
    return [error for error in errors if error.reference not in beside]


def outlook(repositories: Sequence[RepositoryKeys], fingerprints: Sequence[str]) -> List[str]:
    """Return what newer systems will refuse about the pinned keys, and what helps; no problem for this host."""
    weak = {key.fingerprint: file.path for item in repositories for file in item.files for key in file.keys
            if key.sha1_only and key.fingerprint in fingerprints}
    notes = ["{} ({}) has signed itself with SHA-1 only: the crypto policy of EL 10 refuses to import it into rpm".format(*item)
             for item in sorted(weak.items())]
    help_ = ("what helps: a key file in which its owner has signed it with SHA-256, from an update of the package that owns it; "
             "until then, on EL 10: update-crypto-policies --set DEFAULT:SHA1")
    return notes + [help_] if notes else []


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
    problems = [error for item in repositories for error in _file_errors(item)]
    problems += [UsageError("key-file", "gpgkey= names no key file", where=item.repository.id)
                 for item in repositories if not item.files]
    paths = {key.fingerprint: file.path for item in repositories for file in item.files for key in file.keys}
    revoked = {key.fingerprint for item in repositories for file in item.files for key in file.keys if key.revoked}
    root = "" if installroot == "/" else "--root {} ".format(installroot)
    known = {key.fingerprint for key in imported or ()}
    for fingerprint in fingerprints:
        if fingerprint not in paths:
            problems.append(TrustError("key-mismatch", "no installed key file holds the pinned key", where=fingerprint,
                                       hint="update xcp-ng-release, or correct fingerprints= in the .conf"))
        elif imported is not None and fingerprint not in known | revoked:
            problems.append(UsageError("key-file", "the pinned key is not in the rpm database", where=fingerprint,
                                       hint="rpm {}--import {}".format(root, paths[fingerprint])))
    if imported is None:
        problems.append(UsageError("key-file", "the rpm database cannot be read, so its keys are unknown",
                                   hint="try 'rpm -qa gpg-pubkey*'"))
    unique = {str(problem): problem for problem in problems}  # repositories share key files
    return list(unique.values())
