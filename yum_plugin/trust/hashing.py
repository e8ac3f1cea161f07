"""The one way in which everything is hashed, and which digests are strong enough.

Pure.
"""
import hashlib
from typing import TYPE_CHECKING

from ..errors import TrustError

if TYPE_CHECKING:
    from hashlib import _Hash

STRONG_DIGESTS = {"sha256": 64, "sha384": 96, "sha512": 128}  # name -> hex digits
WEAK_DIGESTS = frozenset(["md5", "sha", "sha1", "sha224", "ripemd160"])  # "sha" is createrepo's old word for SHA-1


def new_hash(name: str) -> "_Hash":
    """Start a hash.

    Args:
        name: as hashlib writes it; "sha256", "sha384" and "sha512" are always there.

    Returns:
        An object with hashlib's ``update``, ``copy``, ``digest`` and ``hexdigest``.

    Raises:
        TrustError: "unsupported": this platform refuses to compute it, as some refuse SHA-1.
    """
    try:
        return hashlib.new(name)
    except ValueError as error:
        raise TrustError("unsupported", "this host does not compute {}".format(name)) from error


def require_strong(name: str) -> None:
    """Refuse a digest by its name.

    Raises:
        TrustError: "weak-digest" for a broken one, "unsupported" for an unknown one.
    """
    if name in WEAK_DIGESTS:
        raise TrustError("weak-digest", "{} is too weak to prove anything".format(name))
    if name not in STRONG_DIGESTS:
        raise TrustError("unsupported", "a digest other than {}".format(", ".join(sorted(STRONG_DIGESTS))))
