"""The names of all files of a mirror, from the source that costs it least.

In this order:
    1. rsync, where the mirror has it: one connection gives every name, exact sizes, links and hidden names.
    2. Index pages: one request for each folder gives its names, and with nginx exact sizes; no hidden names and no links.
    3. HEAD: one request for each file. Of more than MAX_HEADS files only a random sample is requested, and the finding says so.
"""
import contextlib
from random import Random
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, cast

from ...errors import FetchError
from ...net.fetch import HttpSession
from ...util.text import whole_number
from ..rsync import RsyncEntry, RsyncLimits, listing, parse_address
from .client import fetch, timeouts_of
from .indexpage import MAX_PAGE_BYTES, IndexEntry, parse_index
from .inventory import FILE, FOLDER, LINK, TreeEntry
from .model import OverBudget, Subject

RSYNC, INDEX, HEAD = "rsync", "index pages", "HEAD requests"
MAX_NAMES = 500000  # the project's whole tree has some tens of thousands
MAX_HEADS = 2000  # one after another: at 0.2 s each, 400 of the 900 s that the check may take
NO_INDEX = ("http-status", "redirect-refused", "bad-answer", "too-large")  # references that mean: there is no such page
SILENT_SECONDS = 20  # without a byte from the rsync daemon; it lists folder by folder
MAX_FOLDERS = 500
WIRE_BYTES = 24  # of an entry beside its name, roughly, in rsync's protocol (flist.c)
# Of an answer to HEAD; any other, e.g. 405, is an error.
STATUSES = (200, 301, 302, 303, 307, 308, 401, 403, 404, 410, 429, 500, 502, 503, 504)


class Listing:
    """The entries of a mirror, one after the other.

    Attributes:
        source: RSYNC, INDEX or HEAD.
        asked: the paths that were requested; None: everything was listed.
        problem: why the listing ended early; the entries before are good.
        sees_hidden: whether the source lists hidden names and links.
    """

    def __init__(self, source: str, entries: Iterator[TreeEntry], asked: Optional[Tuple[str, ...]] = None) -> None:
        self.source = source
        self.asked = asked
        self.problem: Optional[FetchError] = None
        self.sees_hidden = source == RSYNC
        self.count = 0
        self._holdings = entries

    def __iter__(self) -> Iterator[TreeEntry]:
        try:
            for entry in self._holdings:
                self.count += 1
                yield entry
        except FetchError as error:
            self.problem = error
        except OverBudget as error:
            self.problem = FetchError("too-large", "its list of names does not end: {}".format(error))


def by_rsync(subject: Subject, most: int = MAX_NAMES) -> Listing:
    """List the whole module on one connection.

    Args:
        subject: with an rsync URL.
        most: how many names.

    Raises:
        OverBudget: the check may open no further connection. UsageError, while it is iterated: there is no rsync program.
    """
    limits = RsyncLimits(silent_seconds=SILENT_SECONDS, seconds=max(1.0, subject.budget.seconds_left), max_entries=most)
    subject.budget.connect()
    return Listing(RSYNC, _entries(subject, listing(parse_address(subject.rsync_url), limits)))


def _entries(subject: Subject, entries: Iterator[RsyncEntry]) -> Iterator[TreeEntry]:
    with contextlib.closing(cast(Any, entries)):  # ends rsync when the consumer stops early
        for entry in entries:
            subject.budget.receive(len(entry.path) + WIRE_BYTES)
            yield TreeEntry(entry.path, entry.kind, entry.size if entry.kind == FILE else None, entry.target)


def by_http(client: HttpSession, subject: Subject, wanted: Mapping[str, Optional[int]], random: Random) -> Listing:
    """List by index pages, or where there are none by HEAD.

    Args:
        client: to talk through.
        subject: the mirror.
        wanted: the paths that must be there.
        random: chooses the sample.
    """
    folders = sorted({path.rpartition("/")[0] for path in wanted})
    if 0 < len(folders) <= MAX_FOLDERS and _has_index(client, subject, folders[0]):
        return Listing(INDEX, _indexed(client, subject, folders, wanted))
    return by_head(client, subject, sample_of(wanted, MAX_HEADS, random))


def by_head(client: HttpSession, subject: Subject, paths: Sequence[str]) -> Listing:
    """Request each file by its name."""
    return Listing(HEAD, _headed(client, subject, paths), tuple(paths))


def sample_of(paths: Iterable[str], most: int, random: Random) -> List[str]:
    """Choose some of the paths, all of them if they are not more than ``most``; sorted."""
    everything = sorted(paths)
    return everything if len(everything) <= most else sorted(random.sample(everything, most))


def _has_index(client: HttpSession, subject: Subject, folder: str) -> bool:
    try:
        _page(client, subject, folder)
    except FetchError as error:
        if error.reference in NO_INDEX:
            return False
        raise
    return True


def _page(client: HttpSession, subject: Subject, folder: str) -> List[IndexEntry]:
    return parse_index(fetch(client, subject, "{}{}/".format(subject.url, folder), MAX_PAGE_BYTES).body)


def _indexed(client: HttpSession, subject: Subject, folders: List[str],
             wanted: Mapping[str, Optional[int]]) -> Iterator[TreeEntry]:
    """List folders; where a folder has no index page, request its files by name."""
    for number, folder in enumerate(folders):
        subject.on_step("folder {} of {}: {}".format(number + 1, len(folders), folder))
        try:
            listed = _page(client, subject, folder)
        except FetchError as error:
            if error.reference not in NO_INDEX:
                raise
            if error.what != "HTTP 404":  # a folder that is missing has no files
                yield from _headed(client, subject, [path for path in wanted if path.rpartition("/")[0] == folder])
            continue
        for item in listed:
            path = "{}/{}".format(folder, item.name)
            yield TreeEntry(path, FOLDER if item.is_folder else FILE, item.size)


def _headed(client: HttpSession, subject: Subject, paths: Sequence[str]) -> Iterator[TreeEntry]:
    for number, path in enumerate(paths):
        subject.on_step("file {} of {}: {}".format(number + 1, len(paths), path))
        answer = client.get(subject.url + path, timeouts_of(subject).limits(0), accept=STATUSES, method="HEAD")
        if answer.status == 200:
            yield TreeEntry(path, FILE, size_in(answer.headers))


def size_in(headers: Dict[str, str]) -> Optional[int]:
    """Return the size that an answer to HEAD gives; None if it gives none."""
    return whole_number(headers.get("content-length", ""))


class ListingExtract(NamedTuple):
    """What was kept of a listing."""

    sizes: Dict[str, Optional[int]]  # of the wanted paths: bytes, None where the listing does not tell
    repositories: Tuple[str, ...]  # paths of further folders that hold a repodata/repomd.xml


class ListingObserver:
    """Extracts what matters of a listing while it is consumed, so that memory stays bounded however long it is.

    Args:
        wanted: the paths whose sizes are kept.
        repositories: the known ones.
    """

    MAX_REPOSITORIES = 100
    _MARK = "/repodata/repomd.xml"

    def __init__(self, wanted: Mapping[str, Optional[int]], repositories: Tuple[str, ...]) -> None:
        self._wanted = wanted
        self._known = frozenset(repositories)
        self._sizes: Dict[str, Optional[int]] = {}
        self._others: List[str] = []

    def observe(self, entries: Listing) -> Iterator[TreeEntry]:
        """Yield the entries, and keep what matters of them."""
        for entry in entries:
            if entry.path in self._wanted and entry.kind in (FILE, LINK):
                self._sizes[entry.path] = entry.size
            elif entry.path.endswith(self._MARK):
                home = entry.path[: 1 - len(self._MARK)]
                if home not in self._known and len(self._others) < self.MAX_REPOSITORIES:
                    self._others.append(home)
            yield entry

    def extract(self) -> ListingExtract:
        """Return what was kept."""
        return ListingExtract(self._sizes, tuple(self._others))
