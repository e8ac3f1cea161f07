"""Which keys are believed: the options that say so, and what they lead to.

The .conf's reader and what stands beside it are imported only where the .conf is needed: ``verify`` must be quick.
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
                        help="of a key that is believed, 40 hex digits (may be repeated; default: fingerprints= in the .conf)")


def read_config(named: str, root: str = "/") -> "Settings":
    """Read the .conf and its fragments, and say on stderr what cannot be used.

    Args:
        named: by --config; "": the installroot's, else this host's, else the defaults.
        root: of the host.

    Raises:
        UsageError: the named file is missing.
    """
    from ...host.settings import config_file, fragments_of, read_settings

    settings, warnings, _, _ = read_settings(config_file(named, root), fragments_of(root))
    for warning in warnings:
        Console(sys.stderr).line("xcpng-mirrors: {}".format(printable(warning)))
    return settings


def pins_of(arguments: argparse.Namespace) -> Tuple[str, ...]:
    """Return the fingerprints that options say are believed; empty if none does.

    Raises:
        UsageError: --fingerprint is none.
    """
    pins = [re.sub("[ :]", "", text).upper() for text in arguments.fingerprints]
    for pin, text in zip(pins, arguments.fingerprints):
        if not _FINGERPRINT.match(pin):
            raise UsageError("usage", "--fingerprint wants the 40 hex digits of a primary key", where=text)
    return tuple(pins)


def keys_of(arguments: argparse.Namespace, pins: Sequence[str], host_keys: Sequence[str] = ()) -> List[PublicKey]:
    """Load the keys that are believed.

    Args:
        arguments: with the options of ``add_key_arguments``.
        pins: fingerprints.
        host_keys: paths that stand in for --key; empty: DEFAULT_KEY_PATH.

    Raises:
        UsageError, TrustError: there is none; the hint names the option that mends it.
    """
    try:
        return load_keys(arguments.keys or host_keys or [DEFAULT_KEY_PATH], pins)
    except UsageError as error:
        hint = error.hint if arguments.keys or os.path.exists(error.where) else "name a copy of the public key: --key FILE"
        raise UsageError(error.reference, error.what, error.where, hint) from error
    except TrustError as error:
        if error.reference != "key-mismatch":
            raise
        hint = "believe it with --fingerprint HEX, if you have that from elsewhere than the file"
        raise TrustError(error.reference, error.what, error.where, hint) from error
