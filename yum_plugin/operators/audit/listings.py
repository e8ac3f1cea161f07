"""Where the names of all files of a mirror come from: the politest source that is proof enough.

In this order:
    1. rsync, where the mirror has it: one connection gives every name, exact sizes, links and hidden names.
    2. Index pages: one request a folder gives its names, and from nginx exact sizes. Hidden names and links are not seen.
    3. HEAD: one request a file. Where that would be more than MAX_HEADS, a random sample is asked for, and that is told.
"""
import contextlib
from random import Random
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, cast

from ...errors import FetchError
from ...net.fetch import HttpSession
from ..rsync import RsyncEntry, RsyncLimits, listing, parse_address
from .client import fetch, timeouts_of
from .indexpage import MAX_PAGE_BYTES, IndexEntry, parse_index
from .inventory import FILE, FOLDER, LINK, TreeEntry
from .model import OverBudget, Subject

RSYNC, INDEX, HEAD = "rsync", "index pages", "HEAD requests"
MAX_NAMES = 500000  # the project's whole tree has some ten thousands
MAX_HEADS = 2000
NO_INDEX = ("http-status", "redirect-refused", "bad-answer", "too-large")  # references: no such page, all else is well
SILENT_SECONDS = 20  # of an rsync daemon: it lists folder by folder
MAX_FOLDERS = 500
WIRE_BYTES = 24  # of an entry beside its name, about what rsync's protocol takes (flist.c)
STATUSES = (200, 301, 302, 303, 307, 308, 401, 403, 404, 410, 429, 500, 502, 503, 504)  # to HEAD; any other, 405 say, is an error


class Listing:
    """Names of what a mirror holds, one after the other.

    Attributes:
        source: RSYNC, INDEX or HEAD.
        asked: the paths that were looked for; None: everything was listed.
        problem: set when the names ended before their end; what came before is good.
        sees_hidden: whether hidden names and links would be among the names.
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
    """List the module, all of it in one connection.

    Args:
        subject: with an rsync URL.
        most: how many names.

    Raises:
        OverBudget: there may be no other connection. UsageError, while it is iterated: there is no rsync program.
    """
    bounds = RsyncLimits(silent_seconds=SILENT_SECONDS, seconds=max(1.0, subject.budget.seconds_left), max_entries=most)
    subject.budget.connect()
    return Listing(RSYNC, _entries(subject, listing(parse_address(subject.rsync_url), bounds)))


def _entries(subject: Subject, entries: Iterator[RsyncEntry]) -> Iterator[TreeEntry]:
    with contextlib.closing(cast(Any, entries)):  # rsync ends when its names are not wanted any more
        for entry in entries:
            subject.budget.receive(len(entry.path) + WIRE_BYTES)
            yield TreeEntry(entry.path, entry.kind, entry.size if entry.kind == FILE else None, entry.target)


def by_http(client: HttpSession, subject: Subject, wanted: Mapping[str, Optional[int]], random: Random) -> Listing:
    """List by index pages, or where there are none by HEAD.

    Args:
        client: to talk through.
        subject: whom to ask.
        wanted: paths that are looked for.
        random: chooses the sample.
    """
    folders = sorted({path.rpartition("/")[0] for path in wanted})
    if 0 < len(folders) <= MAX_FOLDERS and _has_index(client, subject, folders[0]):
        return Listing(INDEX, _indexed(client, subject, folders, wanted))
    return by_head(client, subject, sample_of(wanted, MAX_HEADS, random))


def by_head(client: HttpSession, subject: Subject, paths: Sequence[str]) -> Listing:
    """Ask for files by their names."""
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
    """List folders; where a server lists some and not others, ask for the files of the latter by name."""
    for number, folder in enumerate(folders):
        subject.on_step("folder {} of {}: {}".format(number + 1, len(folders), folder))
        try:
            listed = _page(client, subject, folder)
        except FetchError as error:
            if error.reference not in NO_INDEX:
                raise
            if error.what != "HTTP 404":  # then the files are missing as well
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
    """Return the size that an answer to HEAD tells; None if it tells none."""
    text = headers.get("content-length", "")
    return int(text) if text.isdigit() and len(text) < 16 else None


class ListingExtract(NamedTuple):
    """What of a listing was kept."""

    sizes: Dict[str, Optional[int]]  # of the paths that are wanted: bytes, None where not told
    repositories: Tuple[str, ...]  # paths of folders that hold a repodata/repomd.xml and that nobody looked for


class ListingFilter:
    """Looks at holdings as they pass, in constant memory, however many there are.

    Args:
        wanted: the paths to remember.
        repositories: those that are known.
    """

    MAX_REPOSITORIES = 100
    _MARK = "/repodata/repomd.xml"

    def __init__(self, wanted: Mapping[str, Optional[int]], repositories: Tuple[str, ...]) -> None:
        self._wanted = wanted
        self._known = frozenset(repositories)
        self._sizes: Dict[str, Optional[int]] = {}
        self._others: List[str] = []

    def filtered(self, entries: Listing) -> Iterator[TreeEntry]:
        """Remember what matters of holdings, and hand them on."""
        for entry in entries:
            if entry.path in self._wanted and entry.kind in (FILE, LINK):
                self._sizes[entry.path] = entry.size
            elif entry.path.endswith(self._MARK):
                home = entry.path[: 1 - len(self._MARK)]
                if home not in self._known and len(self._others) < self.MAX_REPOSITORIES:
                    self._others.append(home)
            yield entry

    def held(self) -> ListingExtract:
        """Return what was remembered."""
        return ListingExtract(self._sizes, tuple(self._others))
