"""Whether there is a server at all, and whether what it has is a mirror of XCP-ng: what every other check builds on."""
import shlex
from typing import List, NamedTuple, Sequence, Tuple

from ...errors import FetchError
from ...model import REPOMD
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.urls import clean_base_url
from .client import REDIRECTS, fetch, session
from .model import OK, PROBLEM, SYNC_COMMAND, Cost, Finding, Subject

CHECK = "mirror"
COST = Cost(4, 8 * MAX_REPOMD_BYTES)
REDIRECT = "redirect-refused"
HEAD_BYTES = 4096  # of a file, that show what it is
_TLS = "tls-"  # of the references of errors.py


class ReachableOutcome(NamedTuple):
    """What asking for the repositories came to."""

    subject: Subject  # to go on with: certificates are not checked if they are bad
    finding: Finding
    answers: bool  # it speaks HTTP
    is_mirror: bool


def reach(subject: Subject) -> ReachableOutcome:
    """Ask for the repomd.xml of each known repository, by the other scheme if the one that was named does not answer.

    A bad certificate is for another check to tell: here it only means that the others look without checking it, which
    is no risk, for they believe nothing but signatures.

    Args:
        subject: whom to ask.
    """
    errors: List[FetchError] = []
    for way in _ways(subject):
        if not way.network.ssl_verify and not errors[-1].reference.startswith(_TLS):
            continue  # it was not for the certificate
        try:
            return _judge(way, _ask(way), errors)
        except FetchError as error:
            errors.append(error)
    remedy = next((error.hint for error in errors if error.reference == REDIRECT), errors[0].hint)
    answers = any(error.reference == REDIRECT for error in errors)
    return ReachableOutcome(subject, Finding(CHECK, PROBLEM, tuple(map(_error_text, errors)), remedy), answers, False)


def _error_text(error: FetchError) -> str:
    return "{}: {} ({})".format(error.reference, error.what, error.where)


def _ways(subject: Subject) -> List[Subject]:
    ways = [subject]
    if subject.also_url:
        ways.append(subject._replace(url=subject.also_url, also_url=subject.url))
    blind = subject.network._replace(ssl_verify=False)
    return [each for way in ways for each in [way] + [way._replace(network=blind)] * way.url.startswith("https:")]


def _ask(subject: Subject) -> List[Tuple[str, str]]:
    """Return path and state ("" if it is there) of each repository.

    Raises:
        FetchError: the server does not speak HTTP, or sends elsewhere.
    """
    found = []
    with session(subject) as client:
        for path in subject.repositories:
            try:
                answer = fetch(client, subject, subject.url + path + REPOMD, MAX_REPOMD_BYTES, accept=(200,) + REDIRECTS)
            except FetchError as error:
                if error.reference not in ("http-status", "too-large"):
                    raise
                found.append((path, error.what))
                continue
            if answer.status != 200:
                raise _redirect(subject.url, path, answer.headers.get("location", ""))
            found.append((path, _what_is(answer.body)))
    return found


def _redirect(root: str, path: str, location: str) -> FetchError:
    """Say where it leads; to the root of another mirror that should be examined instead, if that is what it is."""
    hint = ""
    if location.endswith("/" + path + REPOMD):
        try:
            hint = "xcpng-mirrors audit {}".format(shlex.quote(clean_base_url(location[:-len(path + REPOMD)])))
        except ValueError:
            pass  # nothing that should be copied into a shell
    return FetchError(REDIRECT, "it redirects to {}".format(location or "nowhere"), where=root, hint=hint)


def _what_is(body: bytes) -> str:
    """Say what is wrong with something that should be a repomd.xml; "" if nothing is.

    It is not parsed, for its signature was not looked at: that is for the check of the freshness.
    """
    return "" if body.lstrip().startswith(b"<") and b"<repomd" in body[:HEAD_BYTES] else "something else than a repomd.xml"


def _judge(subject: Subject, found: Sequence[Tuple[str, str]], errors: Sequence[FetchError]) -> ReachableOutcome:
    """Judge what is there; ``errors`` are those of the ways that were tried before."""
    missing = [(path, state) for path, state in found if state]
    evidence = tuple(list(map(_error_text, errors)) + ["{}: {}".format(path, state or "there") for path, state in found])
    values = {"url": subject.url, "repositories": {path: state or "ok" for path, state in found}}
    is_mirror = len(missing) < len(found)
    if not missing:
        return ReachableOutcome(subject, Finding(CHECK, OK, evidence, values=values), True, True)
    elsewhere = "name the folder that holds 8/ and isos/: xcpng-mirrors audit {}xcp-ng/".format(subject.url)
    remedy = SYNC_COMMAND if is_mirror else elsewhere
    return ReachableOutcome(subject, Finding(CHECK, PROBLEM, evidence, remedy, values), True, is_mirror)
