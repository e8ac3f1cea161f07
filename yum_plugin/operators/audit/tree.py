"""The whole tree: everything that the mirror's own signed metadata names is there, with the right size; a sample is read.

A mirror may be synced while it is read. So before something missing counts as a fault, repomd.xml is asked for again.
"""
from random import Random
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, UsageError
from ...net.fetch import HttpSession
from .client import session
from .inventory import Completeness, compare, examples, first_lines, wanted_files
from .listings import HEAD, RSYNC, Listing, ListingExtract, ListingFilter, by_head, by_http, by_rsync, sample_of
from .model import OK, PROBLEM, SYNC_COMMAND, UNKNOWN, WARNING, Cost, Finding, OverBudget, Subject
from .sampling import CHECK as BYTES
from .sampling import check_sample
from .signed import MetadataResult, read_all, still_serves
from .unexpected_files import DOTFILE, EARLIER, WORDS, UnexpectedFiles, find_unexpected
from .unexpected_files import UNKNOWN as UNKNOWN_NAMES

METADATA, PACKAGES, UNEXPECTED, RSYNC_TREE = "metadata", "packages", "stray-files", "rsync-tree"
COST = Cost(6, 60 * 10**6)
SECONDS = 900.0
ROOM_BYTES = 12 * 10**6  # for metadata beside primary; what is then left of the budget is for lists of names and the sample
SAMPLE_BYTES = 20 * 10**6
CROSS_CHECKED = 50  # files of rsync's list that HTTP is asked for too
SIZES_ASKED = 200  # files of an index page that tells no exact sizes
RSYNC_REMEDY = "in rsyncd.conf, in the module: path = the folder that the web server serves; and sync it"
PARTIAL = "rsync-partial"


class ListingSummary(NamedTuple):
    """What a listing shows."""

    source: str
    names: int  # how many
    completeness: Completeness
    unexpected: Tuple[UnexpectedFiles, ...]
    held: ListingExtract
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
        moved = _moved(subject, reading) if any(not seen.completeness.is_complete for seen in surveys) else []
        findings += [completeness_finding(seen, moved) for seen in surveys] + [unexpected_finding(surveys[0])]
        with session(subject) as client:
            findings.append(check_sample(client, subject, reading.contents, min(SAMPLE_BYTES, subject.budget.bytes_left)))
    except OverBudget as error:  # what was found until then is told
        findings.append(Finding(PACKAGES if len(findings) == 1 else BYTES, UNKNOWN, ("it was given up: {}".format(error),)))
    return findings


def _moved(subject: Subject, reading: MetadataResult) -> List[str]:
    """Return the repositories that the mirror has changed since they were read."""
    with session(subject) as client:
        return still_serves(client, subject, reading)


def _surveys(subject: Subject, wanted: Mapping[str, Optional[int]]) -> List[ListingSummary]:
    """Look at all names: by rsync, if there is one that answers, and then at a few of them by HTTP as well; else by HTTP."""
    surveys = _by_rsync(subject, wanted)
    random = Random(subject.options.seed)
    with session(subject) as client:  # a new one: no server waits for the end of a long list
        if surveys and surveys[0].names:
            some = by_head(client, subject, sample_of(wanted, CROSS_CHECKED, random))  # rsync may serve another tree
            return surveys + [summarize_listing(some, wanted, subject.repositories)]
        listed = summarize_listing(by_http(client, subject, wanted, random), wanted, subject.repositories)
        return [_with_sizes(client, subject, listed, wanted, random)] + surveys


def _by_rsync(subject: Subject, wanted: Mapping[str, Optional[int]]) -> List[ListingSummary]:
    """Look at the names that rsync lists; empty if there is no list, which the check of rsync itself tells."""
    if not subject.rsync_url:
        return []
    subject.on_step("listing {}".format(subject.rsync_url))
    try:
        listed = summarize_listing(by_rsync(subject), wanted, subject.repositories)
    except UsageError:  # there is no rsync program here, or what it said is no list
        return []
    return [listed] if listed.names or listed.problem is None else []


def _with_sizes(client: HttpSession, subject: Subject, seen: ListingSummary, wanted: Mapping[str, Optional[int]],
                random: Random) -> ListingSummary:
    """Ask for the sizes of some files where the list tells none: Apache rounds them."""
    if not seen.completeness.unsized:
        return seen
    sizes = dict(seen.held.sizes)
    unsized = [path for path, size in sizes.items() if size is None and wanted[path] is not None]
    for entry in by_head(client, subject, sample_of(unsized, SIZES_ASKED, random)):
        sizes[entry.path] = entry.size
    return seen._replace(completeness=compare(wanted, sizes), held=seen.held._replace(sizes=sizes))


def summarize_listing(listing: Listing, wanted: Mapping[str, Optional[int]], repositories: Tuple[str, ...]) -> ListingSummary:
    """Pass once over a listing.

    Args:
        listing: the names.
        wanted: what must be there: path -> bytes.
        repositories: paths of those that ``wanted`` is of.
    """
    sorter = ListingFilter(wanted, repositories)
    unexpected = find_unexpected(sorter.filtered(listing), wanted.keys(), repositories)
    held = sorter.held()
    asked = wanted if listing.asked is None else {path: wanted[path] for path in listing.asked}
    return ListingSummary(listing.source, listing.count, compare(asked, held.sizes), tuple(unexpected), held, listing.problem,
                  listing.sees_hidden, len(wanted))


def metadata_finding(reading: MetadataResult) -> Finding:
    """Word what became of the metadata files."""
    evidence = ["{} repositories signed, {} metadata files verified".format(len(reading.contents), reading.verified)]
    wrong = ["{}: {}: {}".format(path, error.reference, error.what) for path, error in reading.problems]
    evidence += first_lines("wrong", wrong, 6)
    if reading.unread:
        evidence.append("{} files not read, to be polite; their presence and size is looked at below: {}".format(
            len(reading.unread), examples([path for path, _ in reading.unread])))
    values = {"verified": reading.verified, "unread": [path for path, _ in reading.unread],
              "problems": {path: error.reference for path, error in reading.problems}}
    verdict, remedy = (PROBLEM, SYNC_COMMAND) if reading.problems else (OK, "")
    return Finding(METADATA, verdict, tuple(evidence), remedy, values)


def completeness_finding(seen: ListingSummary, moved: Sequence[str]) -> Finding:
    """Judge what is there.

    Args:
        seen: the survey.
        moved: repositories whose repomd.xml has changed since it was read.
    """
    completeness = seen.completeness
    evidence = ["{} of {} files that signed metadata names are there ({})".format(
        completeness.found, completeness.wanted, seen.source)]
    if completeness.wanted < seen.named:
        evidence[0] += ", a random sample of the {} that are named".format(seen.named)
    evidence += first_lines("missing", completeness.missing) if completeness.found else []
    wrong = ["{}: {} bytes instead of {}".format(path, found, size) for path, size, found in completeness.wrong]
    evidence += first_lines("wrong size", wrong)
    if completeness.unsized:
        evidence.append("of {} of them only the name is seen: the list does not tell sizes exactly".format(completeness.unsized))
    verdict = OK if completeness.is_complete else PROBLEM
    if seen.problem is not None:
        evidence.append("the list ended early: {}: {}".format(seen.problem.reference, seen.problem.what))
        if verdict == OK or (not completeness.wrong and seen.problem.reference != PARTIAL):
            verdict = UNKNOWN if seen.problem.reference != PARTIAL else WARNING
    if moved and verdict == PROBLEM:
        evidence.append("the mirror was synced while it was read ({}): look again in a few minutes".format(examples(moved)))
        verdict = UNKNOWN
    values = {"source": seen.source, "wanted": completeness.wanted, "found": completeness.found,
              "missing": len(completeness.missing),
              "wrong_size": len(completeness.wrong), "names": seen.names}
    name, remedy = (RSYNC_TREE, RSYNC_REMEDY) if seen.source == RSYNC else (PACKAGES, SYNC_COMMAND)
    return Finding(name, verdict, tuple(evidence), remedy if verdict == PROBLEM else "", values)


def unexpected_finding(seen: ListingSummary) -> Finding:
    """Judge what should not be there."""
    evidence = ["{} names looked at ({})".format(seen.names, seen.source)]
    bad = [group for group in seen.unexpected if group.kind not in (EARLIER, UNKNOWN_NAMES, DOTFILE)]
    odd = [group for group in seen.unexpected if group.kind in (UNKNOWN_NAMES, DOTFILE)]
    for group in bad + odd:
        evidence.append("{} {}: {}".format(group.number, WORDS[group.kind], examples(group.paths)))
    for group in seen.unexpected:
        if group.kind == EARLIER:
            evidence.append("{} {}: no fault, the origin keeps such files too".format(group.number, WORDS[EARLIER]))
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
    values = {group.kind: {"count": group.number, "paths": list(group.paths[:20])} for group in seen.unexpected}
    return Finding(UNEXPECTED, verdict, tuple(evidence), "remove them, or find out who put them there" if bad else "", values)
