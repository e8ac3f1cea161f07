"""Copies that an admin has made on purpose under an XCP-ng id: left to the package manager, which knows what he typed.

Decided from files on this host alone, never from what a server answers: else whoever serves an unsigned file would switch the
proof off. Rules; a repository is such a copy if
    1. every baseurl= is off the redirectors and the fallbacks, and
    2. repo_gpgcheck=0 is written in its section of the .repo file, or gpgkey= names a file of keys none of which is pinned:
       beside a pinned one there may be the publisher's next key. A default and an option of the command line are not written; a
       key file that cannot be read names no key.
Its packages are verified by the keys that gpgkey= names.
"""
import contextlib
from typing import Sequence, Tuple

from ..errors import MirrorsError
from ..trust.keyfile import MAX_KEY_FILE_BYTES
from ..trust.keys import describe_keys
from ..util.files import read_capped, read_trusted
from ..util.urls import host_of
from .inifile import MAX_BYTES, parse_ini
from .settings import Settings, read_flag

LEFT = "a copy of your own: {}; its packages are verified by the keys of gpgkey="
UNSIGNED, OTHER_KEY = "repo_gpgcheck=0 is written", "gpgkey= names a key that is not pinned"


def own_copy(name: str, base_urls: Sequence[str], repo_file: str, key_paths: Sequence[str],
             settings: Settings) -> Tuple[str, Tuple[str, ...]]:
    """Apply the rules.

    Args:
        name: id of the repository.
        base_urls: as typed, variables replaced.
        repo_file: the path of its .repo file; "": not known.
        key_paths: of the files that gpgkey= names.
        settings: redirectors, fallbacks and fingerprints are used.

    Returns:
        Why it is such a copy, in words, "" if it is none; and the fingerprints of the keys that gpgkey= names.
    """
    official = {host_of("http://" + name) for name in settings.redirectors} | {host_of(url) for url in settings.fallbacks}
    try:
        if not base_urls or any(host_of(url) in official for url in base_urls):
            return "", ()
    except ValueError:  # what is no URL names no place of one's own
        return "", ()
    files = [_fingerprints_in(path) for path in key_paths]
    named = tuple(dict.fromkeys(fingerprint for found in files for fingerprint in found))
    if _writes_no_check(repo_file, name):
        return LEFT.format(UNSIGNED), named
    is_other = any(found and not set(found) & set(settings.fingerprints) for found in files)
    return (LEFT.format(OTHER_KEY), named) if is_other else ("", ())


def _fingerprints_in(path: str) -> Sequence[str]:
    with contextlib.suppress(MirrorsError):
        return [key.fingerprint for key in describe_keys(read_trusted(path, MAX_KEY_FILE_BYTES))]
    return []


def _writes_no_check(path: str, name: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        entries = parse_ini(read_capped(path, MAX_BYTES)).entries if path else ()
        written = [entry.value for entry in entries if (entry.section, entry.key) == (name, "repo_gpgcheck")]
        return bool(written) and not read_flag(written[-1])
    return False
