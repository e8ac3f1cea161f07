"""The whole tree: everything that the mirror's own signed metadata names is there, with the right size; a sample is read.

A mirror may be synced while it is read. So before something missing counts as a fault, repomd.xml is asked for again.
"""
from random import Random
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, UsageError
from ...net.fetch import HttpSession
from .client import session
from .inventory import Presence, compare, examples, told, wanted_files
from .listings import HEAD, RSYNC, HeldListing, Listing, Sorter, by_head, by_http, by_rsync, sample_of
from .model import OK, PROBLEM, SYNC_COMMAND, UNKNOWN, WARNING, Cost, Finding, OverBudget, Subject
from .sampling import CHECK as BYTES
from .sampling import check_sample
from .signed import MetadataReading, read_all, still_serves
from .unexpected_files import DOTFILE, EARLIER, WORDS, Stray, find_strays
from .unexpected_files import UNKNOWN as UNKNOWN_NAMES

METADATA, PACKAGES, STRAYS, RSYNC_TREE = "metadata", "packages", "stray-files", "rsync-tree"
COST = Cost(6, 60 * 10**6)
SECONDS = 900.0
ROOM_BYTES = 12 * 10**6  # for metadata beside primary; what is then left of the budget is for lists of names and the sample
SAMPLE_BYTES = 20 * 10**6
CROSS_CHECKED = 50  # files of rsync's list that HTTP is asked for too
SIZES_ASKED = 200  # files of an index page that tells no exact sizes
RSYNC_MEND = "in rsyncd.conf, in the module: path = the folder that the web server serves; and sync it"
PARTIAL = "rsync-partial"


class Survey(NamedTuple):
    """What a listing shows."""

    source: str
    names: int  # how many
    presence: Presence
    strays: Tuple[Stray, ...]
    held: HeldListing
    problem: Optional[FetchError]  # why the list ended before its end
    sees_hidden: bool
    named: int  # files in all; fewer are wanted where only a sample was asked for


def check_tree(subject: Subject) -> List[Finding]:
    """Examine the tree."""
    if not subject.keys:
        return [Finding(PACKAGES, UNKNOWN, ("no key: {}".format(subject.keys_problem),))]
    with session(subject) as client:
        reading = read_all(client, subject, ROOM_BYTES)
    wanted: Dict[str, Optional[int]] = {}
    for content in reading.contents:
        wanted.update(wanted_files(content))
    findings = [metadata_finding(reading)]
    if not reading.contents:
        return findings + [Finding(PACKAGES, UNKNOWN, ("nothing signed says what there should be",))]
    try:
        surveys = _surveys(subject, wanted)
        moved = _moved(subject, reading) if any(not seen.presence.is_whole for seen in surveys) else []
        findings += [presence_finding(seen, moved) for seen in surveys] + [strays_finding(surveys[0])]
        with session(subject) as client:
            findings.append(check_sample(client, subject, reading.contents, min(SAMPLE_BYTES, subject.budget.bytes_left)))
    except OverBudget as error:  # what was found until then is told
        findings.append(Finding(PACKAGES if len(findings) == 1 else BYTES, UNKNOWN, ("it was given up: {}".format(error),)))
    return findings


def _moved(subject: Subject, reading: MetadataReading) -> List[str]:
    """Return the repositories that the mirror has changed since they were read."""
    with session(subject) as client:
        return still_serves(client, subject, reading)


def _surveys(subject: Subject, wanted: Mapping[str, Optional[int]]) -> List[Survey]:
    """Look at all names: by rsync, if there is one that answers, and then at a few of them by HTTP as well; else by HTTP."""
    surveys = _by_rsync(subject, wanted)
    random = Random(subject.options.seed)
    with session(subject) as client:  # a new one: no server waits for the end of a long list
        if surveys and surveys[0].names:
            some = by_head(client, subject, sample_of(wanted, CROSS_CHECKED, random))  # rsync may serve another tree
            return surveys + [survey(some, wanted, subject.repositories)]
        listed = survey(by_http(client, subject, wanted, random), wanted, subject.repositories)
        return [_with_sizes(client, subject, listed, wanted, random)] + surveys


def _by_rsync(subject: Subject, wanted: Mapping[str, Optional[int]]) -> List[Survey]:
    """Look at the names that rsync lists; empty if there is no list, which the check of rsync itself tells."""
    if not subject.rsync_url:
        return []
    subject.note("listing {}".format(subject.rsync_url))
    try:
        listed = survey(by_rsync(subject), wanted, subject.repositories)
    except UsageError:  # there is no rsync program here, or what it said is no list
        return []
    return [listed] if listed.names or listed.problem is None else []


def _with_sizes(client: HttpSession, subject: Subject, seen: Survey, wanted: Mapping[str, Optional[int]],
                random: Random) -> Survey:
    """Ask for the sizes of some files where the list tells none: Apache rounds them."""
    if not seen.presence.unsized:
        return seen
    sizes = dict(seen.held.sizes)
    unsized = [path for path, size in sizes.items() if size is None and wanted[path] is not None]
    for holding in by_head(client, subject, sample_of(unsized, SIZES_ASKED, random)):
        sizes[holding.path] = holding.size
    return seen._replace(presence=compare(wanted, sizes), held=seen.held._replace(sizes=sizes))


def survey(listing: Listing, wanted: Mapping[str, Optional[int]], repositories: Tuple[str, ...]) -> Survey:
    """Pass once over a listing.

    Args:
        listing: the names.
        wanted: what must be there: path -> bytes.
        repositories: paths of those that ``wanted`` is of.
    """
    sorter = Sorter(wanted, repositories)
    strays = find_strays(sorter.passing(listing), wanted.keys(), repositories)
    held = sorter.held()
    asked = wanted if listing.asked is None else {path: wanted[path] for path in listing.asked}
    return Survey(listing.source, listing.count, compare(asked, held.sizes), tuple(strays), held, listing.problem,
                  listing.sees_hidden, len(wanted))


def metadata_finding(reading: MetadataReading) -> Finding:
    """Word what became of the metadata files."""
    evidence = ["{} repositories signed, {} metadata files verified".format(len(reading.contents), reading.verified)]
    evidence += told("wrong", ["{}: {}: {}".format(path, error.reference, error.what) for path, error in reading.problems], 6)
    if reading.unread:
        evidence.append("{} files not read, to be polite; their presence and size is looked at below: {}".format(
            len(reading.unread), examples([path for path, _ in reading.unread])))
    values = {"verified": reading.verified, "unread": [path for path, _ in reading.unread],
              "problems": {path: error.reference for path, error in reading.problems}}
    verdict, mend = (PROBLEM, SYNC_COMMAND) if reading.problems else (OK, "")
    return Finding(METADATA, verdict, tuple(evidence), mend, values)


def presence_finding(seen: Survey, moved: Sequence[str]) -> Finding:
    """Judge what is there.

    Args:
        seen: the survey.
        moved: repositories whose repomd.xml has changed since it was read.
    """
    presence = seen.presence
    evidence = ["{} of {} files that signed metadata names are there ({})".format(presence.found, presence.wanted, seen.source)]
    if presence.wanted < seen.named:
        evidence[0] += ", a random sample of the {} that are named".format(seen.named)
    evidence += told("missing", presence.missing) if presence.found else []
    wrong = ["{}: {} bytes instead of {}".format(path, found, size) for path, size, found in presence.wrong]
    evidence += told("wrong size", wrong)
    if presence.unsized:
        evidence.append("of {} of them only the name is seen: the list does not tell sizes exactly".format(presence.unsized))
    verdict = OK if presence.is_whole else PROBLEM
    if seen.problem is not None:
        evidence.append("the list ended early: {}: {}".format(seen.problem.reference, seen.problem.what))
        if verdict == OK or (not presence.wrong and seen.problem.reference != PARTIAL):
            verdict = UNKNOWN if seen.problem.reference != PARTIAL else WARNING
    if moved and verdict == PROBLEM:
        evidence.append("the mirror was synced while it was read ({}): look again in a few minutes".format(examples(moved)))
        verdict = UNKNOWN
    values = {"source": seen.source, "wanted": presence.wanted, "found": presence.found, "missing": len(presence.missing),
              "wrong_size": len(presence.wrong), "names": seen.names}
    name, mend = (RSYNC_TREE, RSYNC_MEND) if seen.source == RSYNC else (PACKAGES, SYNC_COMMAND)
    return Finding(name, verdict, tuple(evidence), mend if verdict == PROBLEM else "", values)


def strays_finding(seen: Survey) -> Finding:
    """Judge what should not be there."""
    evidence = ["{} names looked at ({})".format(seen.names, seen.source)]
    bad = [stray for stray in seen.strays if stray.kind not in (EARLIER, UNKNOWN_NAMES, DOTFILE)]
    odd = [stray for stray in seen.strays if stray.kind in (UNKNOWN_NAMES, DOTFILE)]
    for stray in bad + odd:
        evidence.append("{} {}: {}".format(stray.number, WORDS[stray.kind], examples(stray.paths)))
    for stray in seen.strays:
        if stray.kind == EARLIER:
            evidence.append("{} {}: no fault, the origin keeps such files too".format(stray.number, WORDS[EARLIER]))
    if seen.source == HEAD:
        evidence = ["files were asked for by name: what else is there shows only where rsync or the web server lists it"]
    elif not seen.sees_hidden:
        evidence.append("hidden names and links are not on such a list: --rsync shows them")
    if seen.held.repositories:
        evidence.append("not examined: {}".format(examples(seen.held.repositories)))
    if seen.problem is not None:
        evidence.append("the list ended early: {}".format(seen.problem.what))
    verdict = PROBLEM if bad else WARNING if odd else OK
    if verdict == OK and (seen.problem is not None or not seen.names or seen.source == HEAD):
        verdict = UNKNOWN
    values = {stray.kind: {"count": stray.number, "paths": list(stray.paths[:20])} for stray in seen.strays}
    return Finding(STRAYS, verdict, tuple(evidence), "remove them, or find out who put them there" if bad else "", values)
