"""How checks talk to the mirror: through ``net.fetch.Client``, within their budget, one connection at a time."""
import contextlib
from typing import Iterator, Mapping, Optional, Tuple

from ...model import Network
from ...net.fetch import HttpSession, Response
from ...net.tls import make_context
from ...sources.redirector import Timeouts
from .model import Subject

REDIRECTS = (301, 302, 303, 307, 308)  # RFC 9110 section 15.4


@contextlib.contextmanager
def session(subject: Subject, network: Optional[Network] = None) -> Iterator[HttpSession]:
    """Open a client that ends when the check's time does; it counts as one connection.

    Args:
        subject: whom to ask, and the budget.
        network: other settings than the subject's own.

    Raises:
        OverBudget: there may be no other connection.
    """
    settings = network or subject.network
    subject.budget.connect()
    with HttpSession(settings, make_context(settings), subject.budget.seconds_left) as client:
        yield client


def fetch(client: HttpSession, subject: Subject, url: str, max_bytes: int, headers: Optional[Mapping[str, str]] = None,
          accept: Tuple[int, ...] = (200,)) -> Response:
    """Fetch a small file and account for it.

    Args:
        client: from ``session``.
        subject: for the budget and the time-outs.
        url: what is fetched.
        max_bytes: how large it may be.
        headers: added to the request.
        accept: the status codes that are an answer.

    Raises:
        FetchError: it could not be had.
        OverBudget: the check has taken all that it may.
    """
    limits = timeouts_of(subject).limits(max_bytes)
    answer = client.get(url, limits, headers, accept)
    subject.budget.receive(len(answer.body))
    return answer


def timeouts_of(subject: Subject) -> Timeouts:
    """Return the time-outs of one request."""
    return Timeouts(subject.settings.connect_timeout, subject.settings.read_timeout)
