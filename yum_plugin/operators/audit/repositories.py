"""Which repositories a complete mirror has: the origin is asked, and the mirror is held against it.

A repository is a folder that holds repodata/repomd.xml. Looked for are, in this order:
    1. those that the command line names; if it names any, no other is looked for,
    2. RELEASES x NAMES x ARCHITECTURES, how the project lays out its tree,
    3. folders of the same two levels that the origin's own index pages show, where it has such pages.
Those that the origin has must be on the mirror; where the origin does not answer, those that the mirror has are examined.
One that is not signed at the origin proves nothing about a mirror: only its presence is looked at.
"""
import re
from typing import Dict, List, NamedTuple, Sequence, Tuple

from ...errors import FetchError
from ...model import REPOMD
from ...net.fetch import HttpSession
from ...util.urls import authority_of
from .client import fetch, session, timeouts_of
from .indexpage import parse_index
from .inventory import examples, first_lines
from .listings import STATUSES
from .model import OK, PROBLEM, REPOSITORIES, SYNC_COMMAND, WARNING, Cost, Finding, Subject

CHECK = "repositories"
RELEASES = ("8/8.2", "8/8.3")
NAMES = ("base", "updates", "candidates", "testing", "ci", "incoming", "lab", "linstor")
ARCHITECTURES = ("x86_64", "Source")
MAX_REPOSITORIES = 64
MAX_PAGE_BYTES = 256 * 1024
COST = Cost(2, 6 * MAX_PAGE_BYTES)
_RELEASE = re.compile(r"[0-9]+\.[0-9]+\Z")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")


class RepositoriesOutcome(NamedTuple):
    """What there is to examine."""

    subject: Subject  # with the repositories that the mirror has
    finding: Finding


def known_paths() -> List[str]:
    """Return rule 2's paths, those of every host first."""
    layout = ["{}/{}/{}/".format(release, name, arch) for release in RELEASES for name in NAMES for arch in ARCHITECTURES]
    return list(dict.fromkeys(list(REPOSITORIES) + layout))


def discover(subject: Subject) -> RepositoriesOutcome:
    """Find the repositories of origin and mirror.

    Args:
        subject: its ``repositories`` are rule 1's; REPOSITORIES means that none was named.
    """
    named = subject.repositories != REPOSITORIES
    candidates = list(subject.repositories) if named else known_paths()
    origin = subject.settings.fallbacks[0] if subject.settings.fallbacks else ""
    there: List[str] = []
    unsigned: List[str] = []
    note = "there is no origin: fallbacks= in the .conf is empty" if not origin else ""
    if origin:
        try:
            with session(subject, subject.others_network) as client:
                if not named:
                    candidates += [path for path in _listed(client, subject, origin) if path not in candidates]
                there = _present(client, subject, origin, candidates[:MAX_REPOSITORIES])[0]
                signed = _present(client, subject, origin, there, REPOMD + ".asc")[0]
                unsigned = [path for path in there if path not in signed]
            note = "" if there else "the origin {} has none of them".format(authority_of(origin))
        except FetchError as error:
            note = "the origin was not reached: {}: {}".format(error.reference, error.what)
    with session(subject) as client:
        held, failed = _present(client, subject, subject.url, candidates[:MAX_REPOSITORIES])
    examined = tuple(path for path in held if path not in unsigned)
    finding = judge(there, held, failed, note)
    if unsigned:
        more = first_lines("not signed at the origin, so not examined", unsigned)
        finding = finding._replace(evidence=finding.evidence + tuple(more))
    return RepositoriesOutcome(subject._replace(repositories=examined or subject.repositories), finding)


def _listed(client: HttpSession, subject: Subject, origin: str) -> List[str]:
    """Read rule 3's folders off the origin's index pages; none where there are no such pages."""
    found: List[str] = []
    for release in _folders(client, subject, origin + "8/"):
        if _RELEASE.match(release):
            names = [name for name in _folders(client, subject, "{}8/{}/".format(origin, release)) if _NAME.match(name)]
            found += ["8/{}/{}/{}/".format(release, name, arch) for name in names for arch in ARCHITECTURES]
    return found


def _folders(client: HttpSession, subject: Subject, url: str) -> List[str]:
    try:
        return [item.name for item in parse_index(fetch(client, subject, url, MAX_PAGE_BYTES).body) if item.is_folder]
    except FetchError as error:
        if error.reference in ("http-status", "redirect-refused", "bad-answer", "too-large"):
            return []
        raise


def _present(client: HttpSession, subject: Subject, root: str, paths: Sequence[str],
             name: str = REPOMD) -> Tuple[List[str], Dict[str, str]]:
    """Ask for a file of each repository; return those that have it, and of the others what was said but "not found"."""
    found: List[str] = []
    failed: Dict[str, str] = {}
    for path in paths:
        subject.on_step("looking for {}".format(path))
        status = client.get(root + path + name, timeouts_of(subject).limits(0), accept=STATUSES, method="HEAD").status
        if status == 200:
            found.append(path)
        elif status not in (404, 410):
            failed[path] = "HTTP {}".format(status)
    return found, failed


def judge(origin: Sequence[str], mirror: Sequence[str], failed: Dict[str, str], note: str) -> Finding:
    """Hold the mirror's repositories against the origin's.

    Args:
        origin: paths that the origin has.
        mirror: paths that the mirror has.
        failed: what the mirror said of others, but "not found".
        note: why the origin's are not known; "" if they are.
    """
    missing = [path for path in origin if path not in mirror]
    evidence = ["{} found: {}".format(len(mirror), examples(mirror, 6))] if mirror else ["no repository found"]
    evidence += ["missing: {} ({})".format(path, failed.get(path, "not found")) for path in missing]
    own = [path for path in mirror if path not in origin]
    if note:
        evidence.append(note)
    elif own:
        evidence.append("not at the origin: {}".format(examples(own)))
    verdict = PROBLEM if missing or not mirror else WARNING if note else OK
    values = {"repositories": list(mirror), "missing": missing}
    return Finding(CHECK, verdict, tuple(evidence), SYNC_COMMAND if verdict == PROBLEM else "", values)
