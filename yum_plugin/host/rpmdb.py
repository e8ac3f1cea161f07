"""Keys and packages in the rpm database, as the rpm program prints them."""
import subprocess
from typing import List, NamedTuple, Optional, Sequence

from ..errors import TrustError
from ..trust.keys import PublicKey, describe_key
from ..util.text import whole_number

RPM_SECONDS = 60  # rpm waits while another process has locked the database
_BEGIN, _END = b"-----BEGIN PGP PUBLIC KEY BLOCK-----", b"-----END PGP PUBLIC KEY BLOCK-----"


class Installed(NamedTuple):
    """An installed package."""

    name: str
    epoch: int
    version: str
    release: str
    arch: str


def imported_keys(installroot: str) -> Optional[List[PublicKey]]:
    """Ask the rpm program for the keys in its database.

    Args:
        installroot: the root folder of the host.

    Returns:
        The keys that can be read; None if there is no rpm program or it fails.
    """
    text = _ask(installroot, ["gpg-pubkey*", "--queryformat", "%{DESCRIPTION}\\n"])
    return None if text is None else read_imported(text)


def installed_packages(installroot: str) -> Optional[List[Installed]]:
    """Ask the rpm program for the packages in its database.

    Args:
        installroot: the root folder of the host.

    Returns:
        The packages, without the gpg-pubkey packages; None if there is no rpm program or it fails.
    """
    text = _ask(installroot, ["--queryformat", "%{NAME} %{EPOCHNUM} %{VERSION} %{RELEASE} %{ARCH}\\n"])
    if text is None:
        return None
    lines = [line.split(" ") for line in text.decode("utf-8", "replace").split("\n")]
    found = [(words, whole_number(words[1])) for words in lines if len(words) == len(Installed._fields)]
    return [Installed(words[0], epoch, *words[2:]) for words, epoch in found if words[0] != "gpg-pubkey" and epoch is not None]


def _ask(installroot: str, arguments: Sequence[str]) -> Optional[bytes]:
    """Return the output of "rpm -qa"; None if there is no rpm program or it fails."""
    root = [] if installroot == "/" else ["--root", installroot]
    try:
        done = subprocess.run(["rpm"] + root + ["-qa"] + list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=RPM_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def read_imported(text: bytes) -> List[PublicKey]:
    """Read the armored keys in the output of rpm; a key that cannot be read is skipped, because it cannot be a pinned one.

    Args:
        text: the descriptions of the gpg-pubkey packages.
    """
    keys = []
    for block in text.split(_BEGIN)[1:]:
        try:
            keys.append(describe_key(_BEGIN + block.partition(_END)[0] + _END))
        except TrustError:
            continue
    return keys
