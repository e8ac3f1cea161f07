"""Files from the mirrors, for people: found, proven, and only then given their names.

For a path on the mirrors, such as ``isos/8.3/xcp-ng-8.3.0.iso``:
    1. The redirector lists the mirrors that have it; without it those that are remembered do, and the origin.
    2. Several of them are asked at once for SHA256SUMS and its signature in the path's folder. Of the lists that a pinned
       key has signed the newest counts: an old one would let an old file pass.
    3. The file is fetched by its SHA-256 in that list, from any mirror, and the list is put beside it.
"""
import os
import random
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import FetchError, MirrorsError, TrustError, UsageError
from ..host.settings import Settings
from ..model import Mirror, MirrorList, Network
from ..net.download import Events, Fetched, Rules, download
from ..net.fanout import TaskPool, explain_tls
from ..net.fetch import OpenSession, Session
from ..net.transfer import Attempt, Item, Source
from ..resolve.candidates import settled_list
from ..resolve.selection import rank_candidates
from ..sources.redirector import PAGE, SELECTION, Timeouts, ask_list_page, ask_selection
from ..trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ..trust.checksum_file import MAX_SUMS_BYTES, find_checksum, parse_checksums
from ..trust.digest import DigestChecker
from ..trust.keys import PublicKey
from ..trust.openpgp import Verdict, verify_detached
from ..util.files import read_capped, write_whole
from ..util.urls import safe_path

SUMS_NAME = "SHA256SUMS"
SIGNATURE_SUFFIX = ".asc"
MAX_BYTES = 64 * 1024 * 1024 * 1024  # of a file whose size nobody signed
HEDGE_SECONDS = 1.0  # for a newer list of checksums, once there is a good one
READ_BYTES = 1024 * 1024


Told = Callable[[str, int, Optional[int], str], None]  # progress: the wish, bytes so far, bytes in all, mirror


class FetchSite(NamedTuple):
    """What is needed to reach and to believe the mirrors."""

    settings: Settings
    keys: Sequence[PublicKey]
    now: int  # seconds since 1970
    network: Network = Network()
    known: Tuple[Mirror, ...] = ()  # remembered; each url is the root of all paths


class Got(NamedTuple):
    """What became of one wish."""

    wish: str  # as it was asked for
    target: str = ""  # path of the file on this disk
    error: Optional[MirrorsError] = None  # None: it lies there, proven
    detail: str = ""  # what it is, in words
    fingerprint: str = ""
    signed_at: Optional[int] = None  # seconds since 1970
    attempts: Tuple[Attempt, ...] = ()  # empty: it was there already


class Wish(NamedTuple):
    """A file to fetch, and how its proof is worded."""

    wish: str
    item: Item
    believed: Callable[[Any], Got]  # from the checker's verdict, without target and attempts


class _FetchedSums(NamedTuple):
    """A proven list of checksums."""

    raw: bytes
    signature: bytes
    sums: Dict[str, str]  # name -> SHA-256
    verdict: Verdict


def fetch_wishes(wishes: Sequence[Wish], sources: Sequence[Source], network: Network, rules: Rules,
                 told: Told, hosts: Tuple[str, ...] = (), open_session: Optional[OpenSession] = None) -> List[Got]:
    """Bring each wished file to its target, proven; one that lies there already and is good stays as it is.

    Args:
        wishes: each with a target of its own.
        sources: best first.
        network: how they are reached.
        rules: bounds.
        told: progress.
        hosts: see ``fetch.Client``.
        open_session: see ``download``.

    Returns:
        One result a wish, in the same order.

    Raises:
        UsageError: the disk or the TLS settings cannot be used.
    """
    done = {number: got for number, got in enumerate(map(_already, wishes)) if got is not None}
    todo = [number for number in range(len(wishes)) if number not in done]
    events = Events(progress=lambda place, received, total, mirror: told(wishes[todo[place]].wish, received, total, mirror))
    items = [wishes[number].item for number in todo]
    for fetched in download(items, sources, network, rules, events, hosts, open_session) if items else []:
        number = todo[fetched.number]
        done[number] = _got(wishes[number], fetched)
    return [done[number] for number in range(len(wishes))]


def _already(wish: Wish) -> Optional[Got]:
    """Return the result for a target that is there and good; None for any other."""
    checker = wish.item.make_checker()
    try:
        if not os.path.isfile(wish.item.target):
            return None
        with open(wish.item.target, "rb", buffering=0) as stream:
            for chunk in iter(lambda: stream.read(READ_BYTES), b""):
                checker.update(chunk)
        verdict = checker.finish()
    except (OSError, TrustError):
        return None  # it is fetched, and replaced when that has succeeded
    return wish.believed(verdict)._replace(target=wish.item.target)


def _got(wish: Wish, fetched: Fetched) -> Got:
    if fetched.error is None:
        return wish.believed(fetched.verdict)._replace(target=wish.item.target, attempts=fetched.attempts)
    return Got(wish.wish, wish.item.target, fetched.error, attempts=fetched.attempts)


def get_paths(paths: Sequence[str], folder: str, site: FetchSite, rules: Rules, told: Told) -> List[Got]:
    """Fetch files by their paths on the mirrors.

    Args:
        paths: below the mirrors' root.
        folder: where they go.
        site: see there.
        rules: bounds of each download.
        told: progress.

    Returns:
        One result a path, in the same order.

    Raises:
        UsageError: a path cannot be one, two of them would get one name, or the disk cannot be used.
    """
    cleaned = [_clean(path) for path in paths]
    names = [os.path.basename(path) for path in cleaned]
    for name in names:
        if names.count(name) > 1:
            raise UsageError("usage", "two paths end in one name", where=name, hint="use two calls, each with its own --output")
    results: Dict[str, Got] = {}
    for place in dict.fromkeys(os.path.dirname(path) for path in cleaned):
        inside = [path for path in cleaned if os.path.dirname(path) == place]
        for got in _get_from_folder(inside, folder, site, rules, told):
            results[got.wish] = got
    return [results[path] for path in cleaned]


def _clean(path: str) -> str:
    try:
        return safe_path(path.lstrip("/"))
    except ValueError as problem:
        raise UsageError("usage", "no path on the mirrors: {}".format(problem), where=path) from None


def _get_from_folder(paths: Sequence[str], folder: str, site: FetchSite, rules: Rules, told: Told) -> List[Got]:
    """Fetch files of one folder of the mirrors: they have one list of checksums."""
    try:
        mirrors, origins = list_mirrors(paths[0], site)
        sums, servers = _newest_sums(os.path.dirname(paths[0]), mirrors, origins, site)
    except (FetchError, TrustError) as error:
        return [Got(path, error=error) for path in paths]
    results, wishes = [], []
    for path in paths:
        target, name = os.path.abspath(os.path.join(folder, os.path.basename(path))), os.path.basename(path)
        try:
            if name in (SUMS_NAME, SUMS_NAME + SIGNATURE_SUFFIX):
                results.append(_believed(path, sums)(b"")._replace(target=target))
            else:
                wishes.append(_wish(path, target, find_checksum(sums.sums, name), sums))
        except TrustError as error:
            hint = "see the names in {}/{}".format(os.path.dirname(path), SUMS_NAME)
            results.append(Got(path, error=TrustError(error.reference, error.what, error.where, hint)))
    sources = [Source(mirror.url) for mirror in sorted(mirrors, key=lambda mirror: mirror.url not in servers)]
    sources += [Source(mirror.url, last_resort=True) for mirror in origins]
    results += fetch_wishes(wishes, sources, site.network, rules, told)
    if any(got.error is None for got in results) and not _put_sums(folder, sums, [os.path.basename(path) for path in paths]):
        results = [got._replace(detail=got.detail and got.detail + " (another folder's is beside it)") for got in results]
    return results


def _wish(path: str, target: str, digest: str, sums: _FetchedSums) -> Wish:
    return Wish(path, Item(path, target, lambda: DigestChecker("sha256", digest)), _believed(path, sums))


def _believed(path: str, sums: _FetchedSums) -> Callable[[Any], Got]:
    verdict = sums.verdict
    proven = Got(path, detail="in {}".format(SUMS_NAME), fingerprint=verdict.fingerprint, signed_at=verdict.signed_at)
    return lambda content: proven


def _put_sums(folder: str, sums: _FetchedSums, names: Sequence[str]) -> bool:
    """Write the list and its signature beside the files; return False if the list of another folder lies there."""
    path = os.path.join(os.path.abspath(folder), SUMS_NAME)
    try:
        there = parse_checksums(read_capped(path, MAX_SUMS_BYTES))
    except (OSError, TrustError):
        there = {}
    if there and SUMS_NAME not in names and not set(names) & set(there):
        return False
    try:
        write_whole(path, sums.raw)
        write_whole(path + SIGNATURE_SUFFIX, sums.signature)
    except OSError as error:
        raise UsageError("state", "the file cannot be written: {}".format(error.strerror), where=path,
                         hint="check free space and permissions of its folder") from error
    return True


def list_mirrors(path: str, site: FetchSite) -> Tuple[List[Mirror], List[Mirror]]:
    """Find who may have a file.

    Args:
        path: below the mirrors' root.
        site: see there.

    Returns:
        Mirrors, best first, and origins; each url is the root.
    """
    settings, listed = site.settings, None
    timeouts = Timeouts(settings.connect_timeout, settings.read_timeout)
    roots = ["{}://{}/".format(scheme, host) for host in settings.redirectors for scheme in ("https", "http")]
    seconds = settings.connect_timeout + settings.read_timeout
    ends_at, arrived = time.monotonic() + seconds, {}  # type: float, Dict[str, Optional[MirrorList]]
    task_pool = TaskPool()
    try:
        task_pool.start(PAGE, lambda client: ask_list_page(client, roots, path, timeouts), site.network, seconds)
        task_pool.start(SELECTION, lambda client: ask_selection(client, roots, path, timeouts), site.network, seconds)
        while listed is None:
            outcome = task_pool.next(ends_at - time.monotonic())
            if outcome is not None:
                _raise_bug(outcome.error)
                arrived[outcome.key] = outcome.value
            listed = settled_list(arrived, MirrorList(site.known), "", waited_enough=outcome is None)
    finally:
        task_pool.dismiss()
    mirrors = [mirror for mirror in listed.mirrors if mirror.source != "origin"]
    ranked, _ = rank_candidates(mirrors, settings.prefer, settings.deny, (), not settings.require_https, random.random)
    urls = list(settings.fallbacks) + [mirror.url for mirror in listed.mirrors if mirror.source == "origin"]
    origins = [Mirror(url, source="origin") for url in dict.fromkeys(urls) if url not in {mirror.url for mirror in ranked}]
    return ranked, rank_candidates(origins, (), settings.deny, (), allow_http=True)[0]


def _raise_bug(error: Optional[Exception]) -> None:
    if error is not None and not isinstance(error, MirrorsError):
        raise error


def _newest_sums(place: str, mirrors: Sequence[Mirror], origins: Sequence[Mirror], site: FetchSite) -> Tuple[_FetchedSums,
                                                                                                             List[str]]:
    """Find the newest proven list of checksums; some mirrors at a time, the origins last.

    Returns:
        The list, and the mirrors that serve exactly it.

    Raises:
        FetchError, TrustError: there is none; a distrusted one's reason first.
    """
    count = site.settings.probe_mirrors
    errors: List[MirrorsError] = []
    for group in [mirrors[start : start + count] for start in range(0, len(mirrors), count)] + [origins]:
        proven = _ask_group(place, group, site, errors)
        if proven:
            newest = max((sums for _, sums in proven), key=lambda sums: sums.verdict.signed_at)
            return newest, [url for url, sums in proven if sums.raw == newest.raw]
    if not errors:
        raise FetchError("unreachable", "no mirror is known", where=place)
    raise next((error for error in errors if isinstance(error, TrustError)), errors[0])


def _ask_group(place: str, group: Sequence[Mirror], site: FetchSite,
               errors: List[MirrorsError]) -> List[Tuple[str, _FetchedSums]]:
    """Ask mirrors at the same time; what goes wrong is added to ``errors``."""
    settings, proven, answers = site.settings, [], 0  # type: Settings, List[Tuple[str, _FetchedSums]], int
    seconds = 2 * (settings.connect_timeout + settings.read_timeout)
    ends_at = time.monotonic() + seconds
    task_pool = TaskPool()
    try:
        for mirror in group:
            task_pool.start(mirror.url, _sums_task(mirror.url, place, site), site.network, seconds)
        while answers < len(group) and len(proven) < settings.enough:
            outcome = task_pool.next(ends_at - time.monotonic())
            if outcome is None:
                break
            answers += 1
            _raise_bug(outcome.error)
            if isinstance(outcome.error, MirrorsError):
                errors.append(outcome.error)
            else:
                proven.append((outcome.key, outcome.value))
                ends_at = min(ends_at, time.monotonic() + HEDGE_SECONDS)
    finally:
        task_pool.dismiss()
    if answers < len(group):
        errors.append(FetchError("timed-out", "no answer in time", where=place))
    return proven


def _sums_task(root: str, place: str, site: FetchSite) -> Callable[[Session], _FetchedSums]:
    path = "{}/{}".format(place, SUMS_NAME) if place else SUMS_NAME
    timeouts = Timeouts(site.settings.connect_timeout, site.settings.read_timeout)

    def task(client: Session) -> _FetchedSums:
        try:
            raw = client.get(root + path, timeouts.limits(MAX_SUMS_BYTES)).body
            signature = client.get(root + path + SIGNATURE_SUFFIX, timeouts.limits(MAX_SIGNATURE_BYTES)).body
        except FetchError as error:
            raise explain_tls(error, root, site.network, timeouts.connect_seconds)
        try:
            verdict = verify_detached(raw, signature, site.keys, site.now)
            return _FetchedSums(raw, signature, parse_checksums(raw), verdict)
        except TrustError as error:
            raise TrustError(error.reference, error.what, where=root + path, hint=error.hint) from error

    return task
