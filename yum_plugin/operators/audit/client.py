"""How checks talk to the mirror: directly, within their budget, one connection at a time."""
import contextlib
import socket
from typing import Iterator, Mapping, Optional, Tuple

from ...model import Network
from ...net.connect import connect
from ...net.fetch import HttpSession
from ...net.session import Response
from ...sources.redirector import Timeouts
from ...util.urls import host_of, port_of
from .model import Subject

REDIRECTS = (301, 302, 303, 307, 308)  # RFC 9110 section 15.4
ANY_STATUS = tuple(range(200, 600))  # every final status: here it is the answer that is examined


@contextlib.contextmanager
def session(subject: Subject, network: Optional[Network] = None) -> Iterator[HttpSession]:
    """Open an HTTP session that ends when the check's time does; it counts as one connection.

    Args:
        subject: the mirror, and the budget.
        network: other settings than the subject's own.

    Raises:
        OverBudget: the check may open no further connection.
    """
    settings = network or subject.network
    subject.budget.connect()
    with HttpSession(settings, subject.make_contexts(settings), subject.budget.seconds_left) as client:
        yield client


def open_socket(subject: Subject, url: str) -> socket.socket:
    """Connect to the server of a URL, without TLS.

    Raises:
        OSError: it cannot be reached. OverBudget: the check may open no further connection.
    """
    subject.budget.connect()
    return connect(host_of(url), port_of(url), subject.settings.connect_timeout)


def fetch(client: HttpSession, subject: Subject, url: str, max_bytes: int, headers: Optional[Mapping[str, str]] = None,
          accept: Tuple[int, ...] = (200,)) -> Response:
    """Fetch a small file and account for it.

    Args:
        client: from ``session``.
        subject: for the budget and the timeouts.
        url: what is fetched.
        max_bytes: how large it may be.
        headers: added to the request.
        accept: the status codes that are no error.

    Raises:
        FetchError: it could not be fetched.
        OverBudget: the check has taken all that it may.
    """
    answer = client.get(url, timeouts_of(subject).limits(max_bytes), headers, accept)
    subject.budget.receive(len(answer.body))
    return answer


def timeouts_of(subject: Subject) -> Timeouts:
    """Return the timeouts of one request."""
    return Timeouts(subject.settings.connect_timeout, subject.settings.read_timeout)
