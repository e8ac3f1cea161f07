"""Requests to the redirector of a repository: for its complete list, its selection for this host, or the digest alone.

The parsers of lists are imported late: where nothing is new only the digest is asked for.
"""
import re
from typing import Callable, NamedTuple, Sequence, Tuple, TypeVar

from ..errors import FetchError, MirrorsError
from ..model import MirrorList, Repository
from ..net.session import FetchLimits, Session

PAGE = "page"  # the complete list; first in FORMS, because lists are merged in that order
SELECTION = "selection"
FORMS = (PAGE, SELECTION)
DIGEST = "digest"  # no list: the SHA-256 of the origin's file
MAX_DIGEST_BYTES = 512  # 64 digits and the name of a file
MAX_LIST_BYTES = 2 * 1024 * 1024  # 256 mirrors with URLs of 2048 characters are a quarter of that
# mirrorbits' http/http.go, checksumHandler: digits, two spaces and the file's name, without a line's end; others add one
_DIGEST_LINE = re.compile(rb"([0-9A-Fa-f]{64})(?: [ *][^\x00-\x20\x7f]{1,255})?\r?\n?\Z")
# How servers that know no such request answer it: as any other request for the file, or not at all.
_NOT_KNOWN = (301, 302, 303, 307, 308, 400, 403, 404, 405, 406, 410, 501)

_Answer = TypeVar("_Answer")


class Timeouts(NamedTuple):
    """Time-outs of one request, in seconds."""

    connect_seconds: float
    read_seconds: float

    def limits(self, max_bytes: int) -> FetchLimits:
        """Return the limits of a request that may bring ``max_bytes``."""
        return FetchLimits(max_bytes, self.connect_seconds, self.read_seconds)


def redirector_roots(repository: Repository, redirectors: Sequence[str]) -> Tuple[str, ...]:
    """List the roots of a repository's redirector: https first, then the .repo file's own scheme.

    Args:
        repository: for its baseurls.
        redirectors: host or host:port names that are redirectors.

    Returns:
        Root URLs ending in "/"; empty if no baseurl is on a redirector.
    """
    for url in repository.base_urls:
        scheme, rest = url.split("://", 1)
        authority = rest.split("/", 1)[0]
        if authority.lower() in redirectors or authority.rpartition(":")[0].lower() in redirectors:
            own = "{}://{}/".format(scheme, authority)
            secure = "https://{}/".format(authority)
            return (secure,) if own == secure else (secure, own)
    return ()


def ask_list_page(client: Session, roots: Sequence[str], path: str, timeouts: Timeouts) -> MirrorList:
    """Fetch and parse the complete list: mirrorbits' ``?mirrorlist`` page, or another redirector's form of it.

    Args:
        client: the session.
        roots: from ``redirector_roots``; asked in this order until one answers.
        path: of the file that the mirrors must have.
        timeouts: of each request.

    Returns:
        The list; each ``url`` is the root of ``path``.

    Raises:
        FetchError: of the last root, if none gives a list.
    """
    from .list_forms import parse_list

    def once(root: str) -> MirrorList:
        return parse_list(client.get(root + path + "?mirrorlist", timeouts.limits(MAX_LIST_BYTES)).body, path)

    return _first(roots, once)


def ask_selection(client: Session, roots: Sequence[str], path: str, timeouts: Timeouts) -> MirrorList:
    """Fetch and parse the selection for this host: JSON if the server gives it, else the redirect's Location and Link.

    Arguments and errors as of ``ask_list_page``.
    """
    from . import mirrorbits
    from .list_forms import parse_list

    def once(root: str) -> MirrorList:
        answer = client.get(root + path + "?https=1", timeouts.limits(MAX_LIST_BYTES), {"Accept": "application/json"},
                            accept=(200, 301, 302, 303, 307, 308))
        if answer.status != 200:
            return mirrorbits.parse_redirect(answer.headers.get("location", ""), answer.links, path)
        return parse_list(answer.body, path)

    return _first(roots, once)


def ask_digest(client: Session, roots: Sequence[str], path: str, timeouts: Timeouts) -> str:
    """Fetch the SHA-256 of the origin's file: mirrorbits' ``?sha256``. As the digest of a list it is advice, never proof.

    Arguments as of ``ask_list_page``. The first root that answers at all is the last one asked.

    Returns:
        64 lower-case hex digits; "" if the redirector does not know this request.

    Raises:
        FetchError: of the last root, if none can be reached.
    """
    def once(root: str) -> str:
        try:
            answer = client.get(root + path + "?sha256", timeouts.limits(MAX_DIGEST_BYTES), accept=(200,) + _NOT_KNOWN)
        except FetchError as error:
            if error.reference not in ("too-large", "bad-answer"):
                raise
            return ""
        return parse_digest(answer.body) if answer.status == 200 else ""

    return _first(roots, once)


def parse_digest(body: bytes) -> str:
    """Read the answer to ``?sha256``: the digest alone, or a line as sha256sum writes it; "" if it is anything else."""
    line = _DIGEST_LINE.match(body)
    return line.group(1).decode("ascii").lower() if line else ""


def _first(roots: Sequence[str], once: Callable[[str], _Answer]) -> _Answer:
    """Return the first root's answer; the last root's error if none answers."""
    error: MirrorsError = FetchError("unreachable", "no redirector is configured for this repository")
    for root in roots:
        try:
            return once(root)
        except FetchError as failure:
            error = failure
    raise error
