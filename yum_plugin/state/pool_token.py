"""The token of a pool's agreement: which signed metadata all hosts take, and until when. Pure.

    1/EXPIRES/ID/REVISION/SHA256[/ID/REVISION/SHA256 ...]

without "=" and ",", which xe has uses for. EXPIRES are seconds since 1970; SHA256 is the one of a signed repomd.xml. A token
proves nothing and is believed nothing: it only names what a host then has to prove by its own key, and may not accept below
its high-water mark.
"""
import re
from typing import NamedTuple, Tuple

from ..errors import UsageError
from ..util.urls import safe_repository_id

FORMAT = "1"
MAX_TOKEN_CHARACTERS = 4096
MAX_REPOSITORIES = 16
MAX_HOURS = 7 * 24  # a forgotten agreement must not hold security updates back for ever
MAX_SECONDS = MAX_HOURS * 3600 + 86400  # a host's clock may be a day behind that of the master
_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Agreed(NamedTuple):
    """What is agreed about one repository."""

    repository_id: str
    revision: int  # for people
    sha256: str


class Token(NamedTuple):
    """An agreement."""

    expires: int  # seconds since 1970
    repositories: Tuple[Agreed, ...]  # each with a different id

    def __str__(self) -> str:
        parts = ["{0.repository_id}/{0.revision}/{0.sha256}".format(agreed) for agreed in self.repositories]
        return "/".join([FORMAT, str(self.expires)] + parts)


def read_token(text: str, now: int) -> Token:
    """Read a token.

    Args:
        text: untrusted.
        now: seconds since 1970.

    Returns:
        The token.

    Raises:
        UsageError: pin: it is none, has expired, or would hold for too long.
    """
    try:
        token = _read(text)
    except ValueError as problem:
        raise UsageError("pin", "no token of 'xcpng-mirrors pool --agree': {}".format(problem)) from None
    if token.expires <= now:
        raise UsageError("pin", "the token has expired", hint="run 'xcpng-mirrors pool --agree' again, and check the clocks")
    if token.expires > now + MAX_SECONDS:
        raise UsageError("pin", "the token is for more than {} days".format(MAX_SECONDS // 86400), hint="check the clocks")
    return token


def _read(text: str) -> Token:
    if len(text) > MAX_TOKEN_CHARACTERS:
        raise ValueError("longer than {} characters".format(MAX_TOKEN_CHARACTERS))
    words = text.split("/")
    if words[0] != FORMAT or len(words) not in range(5, 3 * MAX_REPOSITORIES + 3, 3):
        raise ValueError("not {}/EXPIRES/ID/REVISION/SHA256 for up to {} repositories".format(FORMAT, MAX_REPOSITORIES))
    if not _NUMBER.match(words[1]):
        raise ValueError("no time of expiry")
    agreed = tuple(_read_agreed(*words[place:place + 3]) for place in range(2, len(words), 3))
    if len({each.repository_id for each in agreed}) != len(agreed):
        raise ValueError("a repository named twice")
    return Token(int(words[1]), agreed)


def _read_agreed(repository_id: str, revision: str, sha256: str) -> Agreed:
    if not _NUMBER.match(revision) or not _SHA256.match(sha256):
        raise ValueError("no ID/REVISION/SHA256")
    return Agreed(safe_repository_id(repository_id), int(revision), sha256)
