"""The whole tree: whether every file that the mirror's own signed metadata names is there, with the right size; a sample is read.

The mirror may sync meanwhile. So before a missing file counts as a fault, repomd.xml is fetched again.
"""
from random import Random
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, UsageError
from ...net.fetch import HttpSession
from ..facts import SYNC_COMMAND
from .client import session
from .inventory import Completeness, compare, examples, first_lines, wanted_files
from .listings import HEAD, RSYNC, Listing, ListingExtract, ListingObserver, by_head, by_http, by_rsync, sample_of
from .model import MIRROR, OK, PROBLEM, UNKNOWN, WARNING, Check, Cost, Finding, OverBudget, Subject, keys_missing
from .sampling import NAME as BYTES
from .sampling import check_sample
from .signed import MetadataResult, changed_since, read_all
from .unexpected_files import DOTFILE, EARLIER, WORDS, UnexpectedFiles, find_unexpected
from .unexpected_files import UNKNOWN as UNKNOWN_NAMES

CHECK = Check("packages", Cost(6, 60 * 10**6), 900.0, needs=MIRROR)
METADATA, UNEXPECTED, RSYNC_TREE = "metadata", "stray-files", "rsync-tree"  # names of further findings
MAX_METADATA_BYTES = 12 * 10**6  # for metadata beside primary; the rest of the budget is for lists of names and the sample
MAX_SAMPLE_BYTES = 20 * 10**6  # of packages
MAX_CROSS_CHECKED = 50  # files of rsync's list that are requested by HTTP too
MAX_SIZES_ASKED = 200  # files of an index page without exact sizes
RSYNC_REMEDY = "in rsyncd.conf, in the module: path = the folder that the web server serves; and sync it"
PARTIAL = "rsync-partial"


class ListingSummary(NamedTuple):
    """The result of one listing."""

    source: str
    names: int  # how many
    completeness: Completeness
    unexpected: Tuple[UnexpectedFiles, ...]
    extract: ListingExtract
    problem: Optional[FetchError]  # why the list ended before its end
    sees_hidden: bool
    named: int  # files in all; fewer are wanted where only a sample was requested


def run(subject: Subject) -> List[Finding]:
    """Compare the tree with the signed metadata."""
    if not subject.keys:
        return [keys_missing(CHECK.name, subject)]
    with session(subject) as client:
        metadata = read_all(client, subject, MAX_METADATA_BYTES)
    wanted: Dict[str, Optional[int]] = {}
    for content in metadata.contents:
        wanted.update(wanted_files(content))
    findings = [metadata_finding(metadata)]
    if not metadata.contents:
        return findings + [Finding(CHECK.name, UNKNOWN, ("there is no signed metadata to compare with",))]
    try:
        listings = _list(subject, wanted)
        changed = []
        if any(not seen.completeness.is_complete for seen in listings):
            with session(subject) as client:
                changed = changed_since(client, subject, metadata)
        findings += [completeness_finding(seen, changed) for seen in listings] + [unexpected_finding(listings[0])]
        with session(subject) as client:
            findings.append(check_sample(client, subject, metadata.contents, min(MAX_SAMPLE_BYTES, subject.budget.bytes_left)))
    except OverBudget as error:  # the findings so far are reported
        findings.append(Finding(CHECK.name if len(findings) == 1 else BYTES, UNKNOWN, ("stopped: {}".format(error),)))
    return findings


def _list(subject: Subject, wanted: Mapping[str, Optional[int]]) -> List[ListingSummary]:
    """List all names by rsync, if it answers, and cross-check a few by HTTP; otherwise list them by HTTP."""
    listings = _list_by_rsync(subject, wanted)
    random = Random(subject.options.seed)
    with session(subject) as client:  # a new session: the server would have closed an idle one during a long listing
        if listings and listings[0].names:
            some = by_head(client, subject, sample_of(wanted, MAX_CROSS_CHECKED, random))  # rsync may serve another tree
            return listings + [summarize_listing(some, wanted, subject.repositories)]
        listed = summarize_listing(by_http(client, subject, wanted, random), wanted, subject.repositories)
        return [_with_sizes(client, subject, listed, wanted, random)] + listings


def _list_by_rsync(subject: Subject, wanted: Mapping[str, Optional[int]]) -> List[ListingSummary]:
    """List the tree by rsync; empty if that fails, which the check of rsync itself reports."""
    if not subject.rsync_url:
        return []
    subject.on_step("listing {}".format(subject.rsync_url))
    try:
        listed = summarize_listing(by_rsync(subject), wanted, subject.repositories)
    except UsageError:  # there is no rsync program here, or its output is not a listing
        return []
    return [listed] if listed.names or listed.problem is None else []


def _with_sizes(client: HttpSession, subject: Subject, seen: ListingSummary, wanted: Mapping[str, Optional[int]],
                random: Random) -> ListingSummary:
    """Request the sizes of some files where the list has none: Apache rounds them."""
    if not seen.completeness.unsized:
        return seen
    sizes = dict(seen.extract.sizes)
    unsized = [path for path, size in sizes.items() if size is None and wanted[path] is not None]
    for entry in by_head(client, subject, sample_of(unsized, MAX_SIZES_ASKED, random)):
        sizes[entry.path] = entry.size
    return seen._replace(completeness=compare(wanted, sizes), extract=seen.extract._replace(sizes=sizes))


def summarize_listing(listing: Listing, wanted: Mapping[str, Optional[int]], repositories: Tuple[str, ...]) -> ListingSummary:
    """Consume a listing.

    Args:
        listing: the names.
        wanted: what must be there: path -> bytes.
        repositories: paths of those that ``wanted`` is of.
    """
    observer = ListingObserver(wanted, repositories)
    unexpected = find_unexpected(observer.observe(listing), wanted.keys(), repositories)
    extract = observer.extract()
    asked = wanted if listing.asked is None else {path: wanted[path] for path in listing.asked}
    return ListingSummary(listing.source, listing.count, compare(asked, extract.sizes), tuple(unexpected), extract,
                          listing.problem, listing.sees_hidden, len(wanted))


def metadata_finding(metadata: MetadataResult) -> Finding:
    """Judge the metadata files."""
    evidence = ["{} repositories signed, {} metadata files verified".format(len(metadata.contents), metadata.verified)]
    wrong = ["{}: {}: {}".format(path, error.reference, error.what) for path, error in metadata.problems]
    evidence += first_lines("wrong", wrong, 6)
    if metadata.unread:
        evidence.append("{} files not read, to spare the mirror; only their presence and size is checked: {}".format(
            len(metadata.unread), examples([path for path, _ in metadata.unread])))
    values = {"verified": metadata.verified, "unread": [path for path, _ in metadata.unread],
              "problems": {path: error.reference for path, error in metadata.problems}}
    verdict, remedy = (PROBLEM, SYNC_COMMAND) if metadata.problems else (OK, "")
    return Finding(METADATA, verdict, tuple(evidence), remedy, values)


def completeness_finding(seen: ListingSummary, changed: Sequence[str]) -> Finding:
    """Judge whether every named file is there.

    Args:
        seen: a listing.
        changed: repositories whose repomd.xml has changed since it was read.
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
        evidence.append("the sizes of {} of them are not known: the list does not give exact sizes".format(completeness.unsized))
    verdict = OK if completeness.is_complete else PROBLEM
    if seen.problem is not None:
        evidence.append("the list ended early: {}: {}".format(seen.problem.reference, seen.problem.what))
        if verdict == OK or (not completeness.wrong and seen.problem.reference != PARTIAL):
            verdict = UNKNOWN if seen.problem.reference != PARTIAL else WARNING
    if changed and verdict == PROBLEM:
        evidence.append("the mirror was synced during the audit ({}): repeat it in a few minutes".format(examples(changed)))
        verdict = UNKNOWN
    values = {"source": seen.source, "wanted": completeness.wanted, "found": completeness.found,
              "missing": len(completeness.missing),
              "wrong_size": len(completeness.wrong), "names": seen.names}
    name, remedy = (RSYNC_TREE, RSYNC_REMEDY) if seen.source == RSYNC else (CHECK.name, SYNC_COMMAND)
    return Finding(name, verdict, tuple(evidence), remedy if verdict == PROBLEM else "", values)


def unexpected_finding(seen: ListingSummary) -> Finding:
    """Judge the files that should not be there."""
    evidence = ["{} names examined ({})".format(seen.names, seen.source)]
    bad = [group for group in seen.unexpected if group.kind not in (EARLIER, UNKNOWN_NAMES, DOTFILE)]
    odd = [group for group in seen.unexpected if group.kind in (UNKNOWN_NAMES, DOTFILE)]
    for group in bad + odd:
        evidence.append("{} {}: {}".format(group.number, WORDS[group.kind], examples(group.paths)))
    for group in seen.unexpected:
        if group.kind == EARLIER:
            evidence.append("{} {}: not a fault, the origin keeps such files too".format(group.number, WORDS[EARLIER]))
    if seen.source == HEAD:
        evidence = ["files were requested by name: further files show only where rsync or the web server lists them"]
    elif not seen.sees_hidden:
        evidence.append("such a list has no hidden names and no links: --rsync shows them")
    if seen.extract.repositories:
        evidence.append("not examined: {}".format(examples(seen.extract.repositories)))
    if seen.problem is not None:
        evidence.append("the list ended early: {}".format(seen.problem.what))
    verdict = PROBLEM if bad else WARNING if odd else OK
    if verdict == OK and (seen.problem is not None or not seen.names or seen.source == HEAD):
        verdict = UNKNOWN
    values = {group.kind: {"count": group.number, "paths": list(group.paths[:20])} for group in seen.unexpected}
    return Finding(UNEXPECTED, verdict, tuple(evidence), "remove them, or find out who put them there" if bad else "", values)
