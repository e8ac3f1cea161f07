"""Whether http and https serve the same mirror: the same bytes by both, or http redirects to https."""
import hashlib
from typing import List, NamedTuple, Tuple

from ...errors import FetchError
from ...model import REPOMD
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.urls import host_of
from .client import REDIRECTS, fetch, session
from .model import MIRROR, OK, PROBLEM, UNKNOWN, Check, Cost, Finding, Subject, port_unknown

ROUNDS = 2  # a mirror may be synced between the two requests of one round
CHECK = Check("http-and-https", Cost(2 * ROUNDS, 2 * ROUNDS * MAX_REPOMD_BYTES), needs=MIRROR)


class SchemeAnswer(NamedTuple):
    """What one scheme answered."""

    sha256: str = ""  # of the body; "" if there is none
    location: str = ""  # of a redirect
    problem: str = ""  # why there is neither


def run(subject: Subject) -> List[Finding]:
    """Fetch the newest repomd.xml by both, and once more if they differ."""
    path = subject.repositories[-1] + REPOMD
    if not (subject.http_url and subject.https_url):
        return [port_unknown(CHECK.name, subject)]
    for _ in range(ROUNDS):
        plain, secure = _ask(subject, subject.http_url + path), _ask(subject, subject.https_url + path)
        if plain.sha256 == secure.sha256:
            break
    return [judge(subject.http_url + path, plain, subject.https_url + path, secure)]


def _ask(subject: Subject, url: str) -> SchemeAnswer:
    try:
        with session(subject) as client:
            answer = fetch(client, subject, url, MAX_REPOMD_BYTES, accept=(200,) + REDIRECTS)
    except FetchError as error:
        return SchemeAnswer(problem="{}: {}".format(error.reference, error.what))

    if answer.status != 200:
        return SchemeAnswer(location=answer.headers.get("location", "nowhere"))
    return SchemeAnswer(hashlib.sha256(answer.body).hexdigest())


def judge(http_url: str, plain: SchemeAnswer, https_url: str, secure: SchemeAnswer) -> Finding:
    """Compare the two answers.

    Args:
        http_url: of the file.
        plain: by http.
        https_url: of the same file.
        secure: by https.
    """
    host = host_of(https_url)
    values = {"http": dict(plain._asdict()), "https": dict(secure._asdict())}

    def finding(verdict: str, words: Tuple[str, ...], remedy: str = "") -> Finding:
        return Finding(CHECK.name, verdict, words, remedy, values)

    if secure.location:
        return finding(PROBLEM, ("https redirects to {}".format(secure.location),),
                       "serve the tree itself by https: nginx: root /local/path/to/mirror;")
    if secure.problem:
        return finding(UNKNOWN, ("there is no answer by https to compare with: {}".format(secure.problem),))
    if plain.problem:
        return finding(OK, ("http does not serve it ({}); https is enough".format(plain.problem),))
    if plain.location:
        if plain.location.replace(":443/", "/", 1) == https_url.replace(":443/", "/", 1):  # either may spell out the default port
            return finding(OK, ("http redirects to https",))
        return finding(PROBLEM, ("http redirects to {}, not to {}".format(plain.location, https_url),),
                       "nginx: return 301 https://{}$request_uri;".format(host))
    if plain.sha256 != secure.sha256:
        words = ("they served different files in {} rounds: http {}, https {}".format(
            ROUNDS, plain.sha256[:16], secure.sha256[:16]),)
        return finding(PROBLEM, words,
                       "give both servers the same folder: nginx: listen 80; listen 443 ssl; in one server block")
    return finding(OK, ("both serve the same repomd.xml (SHA-256 {}...)".format(plain.sha256[:16]),))
