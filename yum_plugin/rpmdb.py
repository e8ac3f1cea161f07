"""The keys in rpm's database, as the rpm program prints them."""
import subprocess
from typing import List, Optional

from .errors import TrustError
from .trust.keys import PublicKey, describe_key

RPM_SECONDS = 60  # a database that another process has locked makes rpm wait
_BEGIN, _END = b"-----BEGIN PGP PUBLIC KEY BLOCK-----", b"-----END PGP PUBLIC KEY BLOCK-----"


def imported_keys(installroot: str) -> Optional[List[PublicKey]]:
    """Ask the rpm program for the keys in its database.

    Args:
        installroot: whose database.

    Returns:
        The keys that can be read; None where there is no rpm program, or it fails.
    """
    root = [] if installroot == "/" else ["--root", installroot]
    command = ["rpm"] + root + ["-qa", "gpg-pubkey*", "--queryformat", "%{DESCRIPTION}\\n"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=RPM_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return read_imported(done.stdout) if done.returncode == 0 else None


def read_imported(text: bytes) -> List[PublicKey]:
    """Read the armored keys in what rpm prints; one that cannot be read is left out, for it is not ours.

    Args:
        text: descriptions of gpg-pubkey packages.
    """
    keys = []
    for block in text.split(_BEGIN)[1:]:
        try:
            keys.append(describe_key(_BEGIN + block.partition(_END)[0] + _END))
        except TrustError:
            continue
    return keys
