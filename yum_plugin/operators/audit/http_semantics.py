"""How the web server serves files: parts of them, on kept connections, with headers that are true.

Hosts fetch large packages from several mirrors at once, in parts, and go on where they stopped (RFC 9110 section 14); the
mirrors' monitor asks for headers only, and compares times.
"""
import email.utils
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ...errors import FetchError
from ...model import REPOMD
from ...net.fetch import HttpSession, Response
from ...trust.repomd import MAX_REPOMD_BYTES
from .client import fetch, session, timeouts_of
from .model import OK, PROBLEM, WARNING, Cost, Finding, Subject

CHECK = "http"
COST = Cost(4, 4 * MAX_REPOMD_BYTES)
PART = (1, 32)  # first and last byte of the part that is asked for
FUTURE_SECONDS = 300  # clocks differ
_CONTENT_RANGE = re.compile(r"^bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})\Z")
_STATIC = "serve the tree as plain files: nginx: root /local/path/to/mirror; without proxy_pass, gzip or a script"
_RANGES = "nginx: max_ranges must not be 0; Apache: no MaxRanges none; a cache before it must pass Range on\n" + _STATIC


class HttpAnswers(NamedTuple):
    """What the requests gave, each None where it failed; ``problems`` says why."""

    whole: Response
    connections: int  # that two requests took
    head: Optional[Response]
    part: Optional[Response]
    problems: Dict[str, str]  # by "head" and "part"


def examine(subject: Subject) -> List[Finding]:
    """Ask for the newest repomd.xml in four ways."""
    url = subject.url + subject.repositories[-1] + REPOMD
    whole, connections = _twice(subject, url)
    with session(subject) as client:
        head, no_head = _head(client, subject, url)
    with session(subject) as client:
        part, no_part = _part(client, subject, url)
    found = HttpAnswers(whole, connections, head, part, {"head": no_head, "part": no_part})
    return [judge_range(found), judge_keep_alive(found), judge_head(found), judge_headers(found, subject.now)]


def _twice(subject: Subject, url: str) -> Tuple[Response, int]:
    """Fetch a file twice; return it and how many connections that took."""
    with session(subject) as client:
        whole = fetch(client, subject, url, MAX_REPOMD_BYTES)
        try:
            fetch(client, subject, url, MAX_REPOMD_BYTES)
        except FetchError:  # closed without a word that it would be
            return whole, 2
        subject.budget.connect(client.connections - 1)
        return whole, client.connections


def _head(client: HttpSession, subject: Subject, url: str) -> Tuple[Optional[Response], str]:
    try:
        return client.get(url, timeouts_of(subject).limits(MAX_REPOMD_BYTES), method="HEAD"), ""
    except FetchError as error:
        return None, "{}: {}".format(error.reference, error.what)


def _part(client: HttpSession, subject: Subject, url: str) -> Tuple[Optional[Response], str]:
    try:
        return fetch(client, subject, url, MAX_REPOMD_BYTES, {"Range": "bytes={}-{}".format(*PART)}, accept=(200, 206)), ""
    except FetchError as error:
        return None, "{}: {}".format(error.reference, error.what)


def judge_range(found: HttpAnswers) -> Finding:
    """A part must be exactly the part that was asked for."""
    part, body = found.part, found.whole.body
    if part is None:
        return Finding("range", PROBLEM, ("a request for a part fails: {}".format(found.problems["part"]),), _RANGES)
    values = {"status": part.status, "content_range": part.headers.get("content-range", "")}
    if part.status == 200:
        return Finding("range", PROBLEM, ("Range is ignored: the whole file comes (HTTP 200)",), _RANGES, values)
    expected = body[PART[0]:PART[1] + 1]
    said = _CONTENT_RANGE.match(part.headers.get("content-range", ""))
    wanted = (PART[0], PART[0] + len(expected) - 1, len(body))
    if said is None or tuple(map(int, said.groups())) != wanted:
        words = "Content-Range is \"{}\" where bytes {}-{}/{} were asked for".format(values["content_range"], *wanted)
        return Finding("range", PROBLEM, (words,), _RANGES, values)
    if part.body != expected:
        return Finding("range", PROBLEM, ("the part has other bytes than the whole file at its place",), _RANGES, values)
    return Finding("range", OK, ("206, and the right bytes",), "", values)


def judge_keep_alive(found: HttpAnswers) -> Finding:
    """The second request must go over the connection of the first."""
    values = {"connections": found.connections}
    if found.connections == 1:
        return Finding("keep-alive", OK, ("the second request went over the same connection",), "", values)
    said = found.whole.headers.get("connection", "not said")
    words = "each request takes a connection of its own (Connection: {})".format(said)
    return Finding("keep-alive", WARNING, (words,), "nginx: keepalive_timeout 65; Apache: KeepAlive On", values)


def judge_head(found: HttpAnswers) -> Finding:
    """HEAD must say what GET says (RFC 9110 section 9.3.2)."""
    if found.head is None:
        return Finding("head", PROBLEM, ("HEAD fails: {}".format(found.problems["head"]),),
                       "nginx: no limit_except GET; Apache: no <LimitExcept GET>")
    names = ("content-length", "last-modified")
    differing = ["{}: \"{}\" for HEAD, \"{}\" for GET".format(name, found.head.headers.get(name, ""),
                                                             found.whole.headers.get(name, ""))
                 for name in names if found.head.headers.get(name) != found.whole.headers.get(name)]
    if differing:
        return Finding("head", WARNING, tuple(differing), _STATIC)
    return Finding("head", OK, ("it says what GET says",))


def judge_headers(found: HttpAnswers, now: int) -> Finding:
    """Content-Length must be there and true (the client refuses a wrong one), Last-Modified a time that was."""
    headers = found.whole.headers
    length, modified = headers.get("content-length", ""), headers.get("last-modified", "")
    values: Dict[str, Any] = {"content_length": length, "last_modified": modified, "body_bytes": len(found.whole.body)}
    words: List[str] = []
    if not length:
        words.append("there is no Content-Length: no progress, and no part can be asked for")
    stamp = _time_of(modified)
    if stamp is None:
        words.append("Last-Modified is missing" if not modified else "Last-Modified cannot be read: \"{}\"".format(modified))
    elif stamp > now + FUTURE_SECONDS:
        words.append("Last-Modified is in the future: {}".format(modified))
    if words:
        remedy = _STATIC if not modified or not length else "timedatectl; and sync with times kept: rsync -t"
        return Finding("headers", WARNING, tuple(words), remedy, values)
    return Finding("headers", OK, ("Content-Length {}, Last-Modified {}".format(length, modified),), "", values)


def _time_of(text: str) -> Optional[float]:
    """Read a date of HTTP; None if it is none. What servers send may be too odd for the library itself."""
    try:
        parts = email.utils.parsedate_tz(text)
        return email.utils.mktime_tz(parts) if parts is not None else None
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
