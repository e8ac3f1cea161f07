"""How the web server serves files: ranges, persistent connections, HEAD requests, and correct headers.

Hosts fetch large packages in ranges from several mirrors at once, and resume where they stopped (RFC 9110 section 14); the
project's monitor of the mirrors asks for headers only, and compares times.
"""
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ...errors import FetchError
from ...model import REPOMD
from ...net.fetch import HttpSession
from ...net.session import NO_RANGE, Response
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.text import http_time
from .client import fetch, session, timeouts_of
from .model import MIRROR, OK, PROBLEM, WARNING, Check, Cost, Finding, Subject

CHECK = Check("http", Cost(4, 4 * MAX_REPOMD_BYTES), needs=MIRROR)
PART = (1, 32)  # first and last byte of the range that is asked for
FUTURE_SECONDS = 300  # two clocks may differ by this much
_CONTENT_RANGE = re.compile(r"^bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})\Z")
_STATIC = "serve the tree as plain files: nginx: root /local/path/to/mirror; without proxy_pass, gzip or a script"
_RANGES = "nginx: max_ranges must not be 0; Apache: no MaxRanges none; a cache in front must pass Range on\n" + _STATIC


class HttpAnswers(NamedTuple):
    """The answers, each None where the request failed; ``problems`` says why."""

    whole: Response
    connections: int  # that two requests used
    head: Optional[Response]
    part: Optional[Response]
    problems: Dict[str, str]  # by "head" and "part"


def run(subject: Subject) -> List[Finding]:
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
    """Fetch a file twice; return it and the number of connections used."""
    with session(subject) as client:
        whole = fetch(client, subject, url, MAX_REPOMD_BYTES)
        try:
            fetch(client, subject, url, MAX_REPOMD_BYTES)
        except FetchError:  # closed without "Connection: close"
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
        return fetch(client, subject, url, MAX_REPOMD_BYTES, {"Range": "bytes={}-{}".format(*PART)},
                     accept=(200, 206) + NO_RANGE), ""
    except FetchError as error:
        return None, "{}: {}".format(error.reference, error.what)


def judge_range(found: HttpAnswers) -> Finding:
    """A range must be exactly the one that was asked for."""
    part, body = found.part, found.whole.body
    if part is None:
        return Finding("range", PROBLEM, ("a request for a range fails: {}".format(found.problems["part"]),), _RANGES)
    values = {"status": part.status, "content_range": part.headers.get("content-range", "")}
    if part.status == 200 or part.status in NO_RANGE:
        how = "ignored: the whole file is sent" if part.status == 200 else "refused"
        words = "Range is {} (HTTP {}): clients fetch whole files, always from their beginning".format(how, part.status)
        return Finding("range", WARNING, (words,), _RANGES, values)
    expected = body[PART[0]:PART[1] + 1]
    said = _CONTENT_RANGE.match(part.headers.get("content-range", ""))
    wanted = (PART[0], PART[0] + len(expected) - 1, len(body))
    if said is None or tuple(map(int, said.groups())) != wanted:
        words = "Content-Range is \"{}\" where bytes {}-{}/{} were asked for".format(values["content_range"], *wanted)
        return Finding("range", PROBLEM, (words,), _RANGES, values)
    if part.body != expected:
        return Finding("range", PROBLEM, ("the range has other bytes than the whole file there",), _RANGES, values)
    return Finding("range", OK, ("206, and the right bytes",), "", values)


def judge_keep_alive(found: HttpAnswers) -> Finding:
    """The second request must use the connection of the first."""
    values = {"connections": found.connections}
    if found.connections == 1:
        return Finding("keep-alive", OK, ("the second request used the same connection",), "", values)
    said = found.whole.headers.get("connection", "not said")
    words = "each request needs a new connection (Connection: {})".format(said)
    return Finding("keep-alive", WARNING, (words,), "nginx: keepalive_timeout 65; Apache: KeepAlive On", values)


def judge_head(found: HttpAnswers) -> Finding:
    """HEAD must have the headers of GET (RFC 9110 section 9.3.2)."""
    if found.head is None:
        return Finding("head", PROBLEM, ("HEAD fails: {}".format(found.problems["head"]),),
                       "nginx: no limit_except GET; Apache: no <LimitExcept GET>")
    names = ("content-length", "last-modified")
    differing = ["{}: \"{}\" for HEAD, \"{}\" for GET".format(name, found.head.headers.get(name, ""),
                                                             found.whole.headers.get(name, ""))
                 for name in names if found.head.headers.get(name) != found.whole.headers.get(name)]
    if differing:
        return Finding("head", WARNING, tuple(differing), _STATIC)
    return Finding("head", OK, ("HEAD has the headers of GET",))


def judge_headers(found: HttpAnswers, now: int) -> Finding:
    """There must be a Content-Length (the client refuses a wrong one), and a Last-Modified that is not in the future."""
    headers = found.whole.headers
    length, modified = headers.get("content-length", ""), headers.get("last-modified", "")
    values: Dict[str, Any] = {"content_length": length, "last_modified": modified, "body_bytes": len(found.whole.body)}
    words: List[str] = []
    if not length:
        words.append("there is no Content-Length: clients can show no progress and ask for no range")
    stamp = http_time(modified)
    if stamp is None:
        words.append("Last-Modified is missing" if not modified else "Last-Modified cannot be read: \"{}\"".format(modified))
    elif stamp > now + FUTURE_SECONDS:
        words.append("Last-Modified is in the future: {}".format(modified))
    if words:
        remedy = _STATIC if not modified or not length else "timedatectl; and sync with the files' times: rsync -t"
        return Finding("headers", WARNING, tuple(words), remedy, values)
    return Finding("headers", OK, ("Content-Length {}, Last-Modified {}".format(length, modified),), "", values)
