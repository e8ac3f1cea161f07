"""Requests to the redirector of a repository: for its complete list, and for its selection for this host."""
from typing import Callable, NamedTuple, Sequence, Tuple

from ..errors import FetchError, MirrorsError
from ..model import MirrorList, Repository
from ..net.fetch import FetchLimits, Session
from . import mirrorbits
from .list_forms import parse_list

PAGE = "page"  # the complete list; first in FORMS, because lists are merged in that order
SELECTION = "selection"
FORMS = (PAGE, SELECTION)
MAX_LIST_BYTES = 2 * 1024 * 1024  # 256 mirrors with URLs of 2048 characters are a quarter of that


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
    def once(root: str) -> MirrorList:
        return parse_list(client.get(root + path + "?mirrorlist", timeouts.limits(MAX_LIST_BYTES)).body, path)

    return _first(roots, once)


def ask_selection(client: Session, roots: Sequence[str], path: str, timeouts: Timeouts) -> MirrorList:
    """Fetch and parse the selection for this host: JSON if the server gives it, else the redirect's Location and Link.

    Arguments and errors as of ``ask_list_page``.
    """
    def once(root: str) -> MirrorList:
        answer = client.get(root + path + "?https=1", timeouts.limits(MAX_LIST_BYTES), {"Accept": "application/json"},
                            accept=(200, 301, 302, 303, 307, 308))
        if answer.status != 200:
            return mirrorbits.parse_redirect(answer.headers.get("location", ""), answer.links, path)
        return parse_list(answer.body, path)

    return _first(roots, once)


def _first(roots: Sequence[str], once: Callable[[str], MirrorList]) -> MirrorList:
    """Return the first root's answer; the last root's error if none answers."""
    error: MirrorsError = FetchError("unreachable", "no redirector is configured for this repository")
    for root in roots:
        try:
            return once(root)
        except FetchError as failure:
            error = failure
    raise error
