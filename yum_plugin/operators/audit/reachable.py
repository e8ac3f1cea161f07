"""Whether the server answers at all, and whether it is a mirror of XCP-ng: the first check, on which all others build."""
import shlex
from typing import List, NamedTuple, Sequence, Tuple

from ...errors import FetchError
from ...model import REPOMD
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.urls import clean_base_url
from ..facts import SYNC_COMMAND
from .client import REDIRECTS, fetch, session
from .model import OK, PROBLEM, Check, Cost, Finding, OverBudget, Subject

CHECK = Check("mirror", Cost(4, 8 * MAX_REPOMD_BYTES))
REDIRECT = "redirect-refused"
HEAD_BYTES = 4096  # of a file: enough to see what it is
_TLS = "tls-"  # of the references of errors.py


class ReachableOutcome(NamedTuple):
    """The finding, and what the later checks need to know."""

    subject: Subject  # by the scheme that answers; without ssl_verify if the certificate is bad
    finding: Finding
    answers: bool  # it speaks HTTP
    is_mirror: bool


def run(subject: Subject) -> ReachableOutcome:
    """Ask for the repomd.xml of each known repository; by the other scheme if the one that was named does not answer.

    A bad certificate is reported by ``tls.py``. Here it only means that the other checks do not verify it, which is no risk:
    they trust nothing but signatures.
    """
    errors: List[FetchError] = []
    for attempt in _attempts(subject):
        if not attempt.network.ssl_verify and not errors[-1].reference.startswith(_TLS):
            continue  # the certificate was not the reason
        try:
            return _judge(attempt, _ask(attempt), errors)
        except FetchError as error:
            errors.append(error)
        except OverBudget:  # the attempts before have taken all of the time
            break
    remedy = next((error.hint for error in errors if error.reference == REDIRECT), errors[0].hint)
    answers = any(error.reference == REDIRECT for error in errors)
    return ReachableOutcome(subject, Finding(CHECK.name, PROBLEM, tuple(map(_error_text, errors)), remedy), answers, False)


def _error_text(error: FetchError) -> str:
    return "{}: {} ({})".format(error.reference, error.what, error.where)


def _attempts(subject: Subject) -> List[Subject]:
    """Return the subject as it is tried: by both schemes, each https one again without verifying the certificate."""
    attempts = [subject]
    if subject.also_url:
        attempts.append(subject._replace(url=subject.also_url, also_url=subject.url))
    unverified = subject.network._replace(ssl_verify=False)
    return [each for attempt in attempts
            for each in [attempt] + [attempt._replace(network=unverified)] * attempt.url.startswith("https:")]


def _ask(subject: Subject) -> List[Tuple[str, str]]:
    """Return path and state ("" if it is there) of each repository.

    Raises:
        FetchError: the server does not speak HTTP, or redirects.
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
            # It is not parsed, for its signature is not verified here; freshness.py does that.
            is_repomd = answer.body.lstrip().startswith(b"<") and b"<repomd" in answer.body[:HEAD_BYTES]
            found.append((path, "" if is_repomd else "not a repomd.xml"))
    return found


def _redirect(root: str, path: str, location: str) -> FetchError:
    """Return the error of a redirect; if it leads to another mirror, the hint is to audit that one."""
    hint = ""
    if location.endswith("/" + path + REPOMD):
        try:
            hint = "xcpng-mirrors audit {}".format(shlex.quote(clean_base_url(location[:-len(path + REPOMD)])))
        except ValueError:
            pass  # a URL that nobody should paste into a shell
    return FetchError(REDIRECT, "it redirects to {}".format(location or "nowhere"), where=root, hint=hint)


def _judge(subject: Subject, found: Sequence[Tuple[str, str]], errors: Sequence[FetchError]) -> ReachableOutcome:
    """Judge what is there; ``errors`` are those of the attempts before."""
    missing = [(path, state) for path, state in found if state]
    evidence = tuple(list(map(_error_text, errors)) + ["{}: {}".format(path, state or "there") for path, state in found])
    values = {"url": subject.url, "repositories": {path: state or "ok" for path, state in found}}
    is_mirror = len(missing) < len(found)
    if not missing:
        return ReachableOutcome(subject, Finding(CHECK.name, OK, evidence, values=values), True, True)
    elsewhere = "name the folder that holds 8/ and isos/: xcpng-mirrors audit {}xcp-ng/".format(subject.url)
    remedy = SYNC_COMMAND if is_mirror else elsewhere
    return ReachableOutcome(subject, Finding(CHECK.name, PROBLEM, evidence, remedy, values), True, is_mirror)
