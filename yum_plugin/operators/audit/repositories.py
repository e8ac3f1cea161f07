"""Which repositories a complete mirror has: the origin is asked, and the mirror is compared with it.

A repository is a folder that holds repodata/repomd.xml. The candidates are, in this order:
    1. those that the command line names; if it names any, there are no others,
    2. RELEASES x REPOSITORY_NAMES x ARCHITECTURES, how the project lays out its tree,
    3. folders of the same two levels on the origin's own index pages, where it has such pages.
Those that the origin has must be on the mirror; where the origin does not answer, those that the mirror has are examined.
One that is not signed at the origin proves nothing about a mirror: only its presence is checked.
"""
import re
from itertools import product
from typing import Dict, List, NamedTuple, Sequence, Tuple

from ...errors import FetchError
from ...model import REPOMD
from ...net.fetch import HttpSession
from ...util.urls import authority_of
from ..facts import ARCHITECTURES, HOST_REPOSITORIES, RELEASES, REPOSITORY_NAMES, SYNC_COMMAND
from .client import fetch, session, timeouts_of
from .indexpage import parse_index
from .inventory import examples, first_lines
from .listings import STATUSES
from .model import MIRROR, OK, PROBLEM, WARNING, Check, Cost, Finding, Subject

MAX_REPOSITORIES = 64
MAX_PAGE_BYTES = 256 * 1024  # of a folder that holds folders; 1,600 names of nginx
CHECK = Check("repositories", Cost(2, 6 * MAX_PAGE_BYTES), 120.0, needs=MIRROR)
_RELEASE = re.compile(r"[0-9]+\.[0-9]+\Z")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")


class RepositoriesOutcome(NamedTuple):
    """The finding, and the repositories to examine."""

    subject: Subject  # with the repositories that the mirror has
    finding: Finding


def known_paths() -> List[str]:
    """Return rule 2's paths, those of every host first."""
    layout = ["{}/{}/{}/".format(*parts) for parts in product(RELEASES, REPOSITORY_NAMES, ARCHITECTURES)]
    return list(dict.fromkeys(list(HOST_REPOSITORIES) + layout))


def run(subject: Subject) -> RepositoriesOutcome:
    """Find the repositories of origin and mirror.

    Args:
        subject: its ``repositories`` are rule 1's; HOST_REPOSITORIES means that none was named.
    """
    named = subject.repositories != HOST_REPOSITORIES
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
            note = "the origin could not be reached: {}: {}".format(error.reference, error.what)
    with session(subject) as client:
        held, failed = _present(client, subject, subject.url, candidates[:MAX_REPOSITORIES])
    examined = tuple(path for path in held if path not in unsigned)
    finding = judge(there, held, failed, note)
    if unsigned:
        more = first_lines("not signed at the origin, therefore not examined", unsigned)
        finding = finding._replace(evidence=finding.evidence + tuple(more))
    return RepositoriesOutcome(subject._replace(repositories=examined or subject.repositories), finding)


def _listed(client: HttpSession, subject: Subject, origin: str) -> List[str]:
    """Return rule 3's folders; none where the origin has no index pages."""
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
    """Ask for a file of each repository; return those that have it, and the unexpected answers of the others."""
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
    """Compare the mirror's repositories with the origin's.

    Args:
        origin: paths that the origin has.
        mirror: paths that the mirror has.
        failed: the mirror's answers for others, where these were not "not found".
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
    return Finding(CHECK.name, verdict, tuple(evidence), SYNC_COMMAND if verdict == PROBLEM else "", values)
