"""Whatever requests, urllib3, ssl and the socket raise, as an error of ours. Pure."""
import http.client
import socket
from typing import Any

import requests
import urllib3

from ..errors import FetchError
from ..util.text import printable
from .connect import AddressRefused
from .tls import causes_of, find_tls_problem, tls_error

MAX_RETRY_CHARACTERS = 40  # of a date, or seconds


def status_error(status: int, url: str, retry_after: str = "") -> FetchError:
    """Make the error for a status that is not accepted; ``retry_after``: the header (RFC 9110 section 10.2.3), "" if none."""
    if 300 <= status < 400:
        return FetchError("redirect-refused", "it redirects (HTTP {})".format(status), where=url)
    wait = ", Retry-After: {}".format(printable(retry_after)[:MAX_RETRY_CHARACTERS]) if retry_after else ""
    return FetchError("http-status", "HTTP {}{}".format(status, wait), where=url)


def translate(error: Exception, url: str) -> FetchError:
    """Turn an exception of requests, urllib3, ssl or the socket into a FetchError.

    Args:
        error: any exception of a request.
        url: what was asked.

    Returns:
        The FetchError to raise.
    """
    refused = next((cause for cause in causes_of(error) if isinstance(cause, AddressRefused)), None)
    if refused is not None:
        return FetchError("address-refused", str(refused), where=url)
    problem = find_tls_problem(error)
    if problem is not None:
        return tls_error(problem, url)
    if _has_cause(error, urllib3.exceptions.NewConnectionError):  # before the time-outs: in urllib3 1.26 it is a subclass of one
        return FetchError("unreachable", _shortest_cause(error), where=url)
    if _has_cause(error, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, socket.timeout):
        return FetchError("timed-out", "no answer in time", where=url)
    if _has_cause(error, urllib3.exceptions.IncompleteRead, http.client.IncompleteRead):
        return FetchError("truncated", "the connection was closed in the middle", where=url)
    if _has_cause(error, http.client.HTTPException) and not _has_cause(error, http.client.RemoteDisconnected):
        return FetchError("bad-answer", "what came is no HTTP", where=url)
    if isinstance(error, requests.exceptions.ConnectionError):
        return FetchError("unreachable", _shortest_cause(error), where=url)
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return FetchError("bad-answer", "an address that cannot be used", where=url)
    return FetchError("bad-answer", _shortest_cause(error), where=url)


def _has_cause(error: BaseException, *kinds: Any) -> bool:
    return any(isinstance(cause, kinds) for cause in causes_of(error))


def _shortest_cause(error: BaseException) -> str:
    """Return the words of the innermost system error, else the exception's name."""
    words = [cause.strerror for cause in causes_of(error) if isinstance(cause, OSError) and cause.strerror]
    return words[-1] if words else type(error).__name__
