"""Which keys are believed: the options that say so, and what they lead to."""
import argparse
import os
import sys
from typing import List, Sequence, Tuple

from ..config import Settings, read_settings, settings_from_mapping
from ..errors import TrustError, UsageError
from ..files import inside
from ..keyfiles import DEFAULT_KEY_PATH, load_keys
from ..trust.keys import PublicKey
from .common import CONFIG_FILES
from .console import Console, printable


def add_key_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--key", action="append", default=[], metavar="FILE", dest="keys",
                        help="public key file (may be repeated; default: the host's, {})".format(DEFAULT_KEY_PATH))
    parser.add_argument("--fingerprint", action="append", default=[], metavar="HEX", dest="fingerprints",
                        help="of a key that is believed, 40 hex digits (may be repeated; default: fingerprints= in the .conf)")


def read_config(named: str, root: str = "/") -> Settings:
    """Read the .conf, and say on stderr what cannot be used.

    Args:
        named: by --config; "": the installroot's, else this host's, else the defaults.
        root: of the host.

    Raises:
        UsageError: the named file is missing.
    """
    if named and not os.path.isfile(named):
        raise UsageError("usage", "there is no such file or folder", where=named)
    candidates = [named] if named else [inside(root, path) for path in CONFIG_FILES] + list(CONFIG_FILES)
    settings, warnings = read_settings(next((path for path in candidates if os.path.isfile(path)), ""))
    for warning in warnings:
        Console(sys.stderr).line("xcpng-mirrors: {}".format(printable(warning)))
    return settings


def pins_of(arguments: argparse.Namespace, settings: Settings) -> Tuple[str, ...]:
    """Return the fingerprints that are believed.

    Raises:
        UsageError: --fingerprint is none.
    """
    pins: List[str] = []
    for text in arguments.fingerprints:
        found, warnings = settings_from_mapping({"fingerprints": text.replace(" ", "").replace(":", "")})
        if warnings:
            raise UsageError("usage", "--fingerprint wants the 40 hex digits of a primary key", where=text)
        pins += found.fingerprints
    return tuple(pins) or settings.fingerprints


def keys_of(arguments: argparse.Namespace, settings: Settings, host_keys: Sequence[str] = (DEFAULT_KEY_PATH,)) -> List[PublicKey]:
    """Load the keys that are believed.

    Args:
        arguments: with the options of ``add_key_arguments``.
        settings: of the .conf.
        host_keys: paths that stand in for --key.

    Raises:
        UsageError, TrustError: there is none; the hint names the option that mends it.
    """
    try:
        return load_keys(arguments.keys or host_keys, pins_of(arguments, settings))
    except UsageError as error:
        if arguments.keys or error.reference != "key-file":
            raise
        raise UsageError(error.reference, error.what, error.where, "name a copy of the public key: --key FILE") from error
    except TrustError as error:
        if error.reference != "key-mismatch":
            raise
        hint = "believe it with --fingerprint HEX, if you have that from elsewhere than the file"
        raise TrustError(error.reference, error.what, error.where, hint) from error
