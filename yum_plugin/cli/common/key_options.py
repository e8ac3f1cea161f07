"""The options that name the trusted keys, and the keys that they lead to.

host/settings.py is imported only where the .conf is needed, because ``verify`` must be quick.
"""
import argparse
import os
import re
import sys
from typing import TYPE_CHECKING, List, Sequence, Tuple

from ...errors import TrustError, UsageError
from ...host.keyring import DEFAULT_KEY_PATH, load_keys
from ...trust.keys import PublicKey
from .console import Console, printable

if TYPE_CHECKING:
    from ...host.settings import Settings

_FINGERPRINT = re.compile(r"[0-9A-F]{40}\Z")


def add_key_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--key", action="append", default=[], metavar="FILE", dest="keys",
                        help="public key file (may be repeated; default: the host's, {})".format(DEFAULT_KEY_PATH))
    parser.add_argument("--fingerprint", action="append", default=[], metavar="HEX", dest="fingerprints",
                        help="fingerprint of a trusted key, 40 hex digits (may be repeated; default: fingerprints= in the .conf)")


def read_config(named: str, root: str = "/") -> "Settings":
    """Read the .conf and its fragments, and report on stderr what cannot be used.

    Args:
        named: the file of --config; "": the .conf of this host, else the defaults.
        root: the installroot.

    Raises:
        UsageError: the named file is missing.
    """
    from ...host.settings import read_host_settings

    settings, warnings, _, _ = read_host_settings(named, root)
    for warning in warnings:
        Console(sys.stderr).line("xcpng-mirrors: {}".format(printable(warning)))
    return settings


def fingerprints_of(arguments: argparse.Namespace) -> Tuple[str, ...]:
    """Return the fingerprints of --fingerprint.

    Raises:
        UsageError: one of them is no fingerprint.
    """
    found = [re.sub("[ :]", "", text).upper() for text in arguments.fingerprints]
    for fingerprint, text in zip(found, arguments.fingerprints):
        if not _FINGERPRINT.match(fingerprint):
            raise UsageError("usage", "--fingerprint needs the 40 hex digits of a primary key", where=text)
    return tuple(found)


def keys_of(arguments: argparse.Namespace, fingerprints: Sequence[str], host_keys: Sequence[str] = ()) -> List[PublicKey]:
    """Load the trusted keys.

    Args:
        arguments: with the options of ``add_key_arguments``.
        fingerprints: of the trusted keys.
        host_keys: key files to use without --key; if empty, DEFAULT_KEY_PATH.

    Raises:
        UsageError, TrustError: there is none; the hint names the option to use.
    """
    try:
        return load_keys(arguments.keys or host_keys or [DEFAULT_KEY_PATH], fingerprints)
    except UsageError as error:
        hint = error.hint if arguments.keys or os.path.exists(error.where) else "name a copy of the public key: --key FILE"
        raise UsageError(error.reference, error.what, error.where, hint) from error
    except TrustError as error:
        if error.reference != "key-mismatch":
            raise
        hint = "trust it with --fingerprint HEX, if you know the fingerprint from another source than the file"
        raise TrustError(error.reference, error.what, error.where, hint) from error
