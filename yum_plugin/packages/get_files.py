"""Files fetched from the mirrors for an admin: proven before they get their names.

For a path on the mirrors, such as ``isos/8.3/xcp-ng-8.3.0.iso``:
    1. The redirector lists the mirrors that have it; if it does not answer, the remembered mirrors and the origin are asked.
    2. Several of them are asked at once for SHA256SUMS and its signature in the path's folder. Of the lists that a pinned
       key has signed, the newest is used: an old one would accept an old file.
    3. The file is fetched from any mirror, checked against its SHA-256 in that list, and the list is written beside it.
"""
import os
import random
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import FetchError, MirrorsError, TrustError, UsageError
from ..host.settings import Settings
from ..model import Mirror, MirrorList, Network
from ..net.download import Events, Rules, download
from ..net.fanout import TaskPool
from ..net.items import Attempt, Item, Source
from ..net.session import NO_CACHE, OpenSession, Session
from ..privsep.gateway import Gateway
from ..resolve.candidates import listed_fallbacks, settled_list
from ..resolve.selection import rank_candidates
from ..sources.redirector import PAGE, SELECTION, Timeouts
from ..trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ..trust.checksum_file import MAX_SUMS_BYTES, find_checksum, parse_checksums
from ..trust.digest import DigestChecker
from ..trust.keys import PublicKey
from ..trust.openpgp import Verdict, verify_detached
from ..util.files import read_capped, write_whole
from ..util.urls import safe_path

SUMS_NAME = "SHA256SUMS"
SIGNATURE_SUFFIX = ".asc"
MAX_BYTES = 64 * 1024 * 1024 * 1024  # of a file whose size no signed metadata gives
HEDGE_SECONDS = 1.0  # how long a newer list of checksums is awaited after the first good one
READ_BYTES = 1024 * 1024

OnProgress = Callable[[str, int, Optional[int], str], None]  # name of the request, bytes so far, bytes in all, mirror


class FetchSite(NamedTuple):
    """What is needed to ask the mirrors and to verify what they send."""

    settings: Settings
    keys: Sequence[PublicKey]
    now: int  # seconds since 1970
    gateway: Gateway
    network: Network = Network()
    known: Tuple[Mirror, ...] = ()  # remembered ones; each url is the root of all paths


class FetchedFile(NamedTuple):
    """The result of one request."""

    name: str  # of the request
    target: str = ""  # path of the file on this disk
    error: Optional[MirrorsError] = None  # None: the file is at its target, proven
    detail: str = ""  # a description for people
    fingerprint: str = ""
    signed_at: Optional[int] = None  # seconds since 1970
    attempts: Tuple[Attempt, ...] = ()  # empty: it was there already


class FileRequest(NamedTuple):
    """A file to fetch, and how its result is described."""

    name: str  # what the caller asked for: a path or a package
    item: Item
    describe: Callable[[Any], FetchedFile]  # makes the result from the checker's verdict, without target and attempts


class _FetchedSums(NamedTuple):
    """A proven list of checksums."""

    raw: bytes
    signature: bytes
    sums: Dict[str, str]  # name -> SHA-256
    verdict: Verdict


def fetch_files(requests: Sequence[FileRequest], sources: Sequence[Source], network: Network, rules: Rules,
                on_progress: OnProgress = lambda name, received, total, mirror: None,
                open_session: Optional[OpenSession] = None) -> List[FetchedFile]:
    """Fetch and prove each file that is not already at its target and good.

    Args:
        requests: each with a target of its own.
        sources: best first.
        network: how they are reached.
        rules: limits of each download.
        on_progress: called while a file arrives.
        open_session: see ``download``.

    Returns:
        One result for each request, in the same order.

    Raises:
        UsageError: the disk or the TLS settings cannot be used.
    """
    done = {number: result for number, result in enumerate(map(_find_existing, requests)) if result is not None}
    todo = [number for number in range(len(requests)) if number not in done]
    events = Events(
        progress=lambda place, received, total, mirror: on_progress(requests[todo[place]].name, received, total, mirror))
    items = [requests[number].item for number in todo]
    for fetched in download(items, sources, network, rules, events, open_session) if items else []:
        request = requests[todo[fetched.number]]
        result = FetchedFile(request.name, error=fetched.error) if fetched.error else request.describe(fetched.verdict)
        done[todo[fetched.number]] = result._replace(target=request.item.target, attempts=fetched.attempts)
    return [done[number] for number in range(len(requests))]


def _find_existing(request: FileRequest) -> Optional[FetchedFile]:
    """Return the result for a target that exists and is good; None for any other."""
    checker = request.item.make_checker()
    try:
        if not os.path.isfile(request.item.target):
            return None
        with open(request.item.target, "rb", buffering=0) as stream:
            for chunk in iter(lambda: stream.read(READ_BYTES), b""):
                checker.update(chunk)
        verdict = checker.finish()
    except (OSError, TrustError):
        return None  # the file is fetched, and replaced only when that has succeeded
    return request.describe(verdict)._replace(target=request.item.target)


def get_paths(paths: Sequence[str], folder: str, site: FetchSite, rules: Rules, on_progress: OnProgress) -> List[FetchedFile]:
    """Fetch files by their paths on the mirrors.

    Args:
        paths: below the mirrors' root.
        folder: that the files are written to.
        site: see FetchSite.
        rules: limits of each download.
        on_progress: called while a file arrives.

    Returns:
        One result for each path, in the same order.

    Raises:
        UsageError: a path is not valid, two of them end in one name, or the disk cannot be used.
    """
    cleaned = [_clean(path) for path in paths]
    names = [os.path.basename(path) for path in cleaned]
    for name in names:
        if names.count(name) > 1:
            raise UsageError("usage", "two paths end in one name", where=name, hint="use two calls, each with its own --output")
    results: Dict[str, FetchedFile] = {}
    for place in dict.fromkeys(os.path.dirname(path) for path in cleaned):
        inside = [path for path in cleaned if os.path.dirname(path) == place]
        for result in _get_from_folder(inside, folder, site, rules, on_progress):
            results[result.name] = result
    return [results[path] for path in cleaned]


def _clean(path: str) -> str:
    try:
        return safe_path(path.lstrip("/"))
    except ValueError as problem:
        raise UsageError("usage", "no path on the mirrors: {}".format(problem), where=path) from None


def _get_from_folder(paths: Sequence[str], folder: str, site: FetchSite, rules: Rules,
                     on_progress: OnProgress) -> List[FetchedFile]:
    """Fetch files of one folder of the mirrors, which have one list of checksums."""
    try:
        mirrors, origins = list_mirrors(paths[0], site)
        sums, servers = _newest_sums(os.path.dirname(paths[0]), mirrors, origins, site)
    except (FetchError, TrustError) as error:
        return [FetchedFile(path, error=error) for path in paths]
    results, requests = [], []
    for path in paths:
        target, name = os.path.abspath(os.path.join(folder, os.path.basename(path))), os.path.basename(path)
        try:
            if name in (SUMS_NAME, SUMS_NAME + SIGNATURE_SUFFIX):
                results.append(_proven(path, sums)._replace(target=target))
            else:
                requests.append(_file_request(path, target, find_checksum(sums.sums, name), sums))
        except TrustError as error:
            # What the signed list does not name does not exist as far as anybody can prove: missing, not refused
            hint = "see the names in {}/{}".format(os.path.dirname(path), SUMS_NAME)
            results.append(FetchedFile(path, error=FetchError("unreachable", error.what, error.where, hint)))
    sources = [Source(mirror.url) for mirror in sorted(mirrors, key=lambda mirror: mirror.url not in servers)]
    sources += [Source(mirror.url, last_resort=True) for mirror in origins]
    results += fetch_files(requests, sources, site.network, rules, on_progress, open_session=site.gateway.open)
    names = [os.path.basename(path) for path in paths]
    if any(result.error is None for result in results) and not _write_sums(folder, sums, names):
        note = " (another folder's is beside it)"
        results = [result._replace(detail=result.detail and result.detail + note) for result in results]
    return results


def _file_request(path: str, target: str, digest: str, sums: _FetchedSums) -> FileRequest:
    """Return a request; lambdas in the caller's loop would see the last file only."""
    return FileRequest(path, Item(path, target, lambda: DigestChecker("sha256", digest)), lambda content: _proven(path, sums))


def _proven(path: str, sums: _FetchedSums) -> FetchedFile:
    verdict = sums.verdict
    return FetchedFile(path, detail="in {}".format(SUMS_NAME), fingerprint=verdict.fingerprint, signed_at=verdict.signed_at)


def _write_sums(folder: str, sums: _FetchedSums, names: Sequence[str]) -> bool:
    """Write the list and its signature beside the files; return False if the list of another folder is there."""
    path = os.path.join(os.path.abspath(folder), SUMS_NAME)
    try:
        existing = parse_checksums(read_capped(path, MAX_SUMS_BYTES))
    except (OSError, TrustError):
        existing = {}
    if existing and SUMS_NAME not in names and not set(names) & set(existing):
        return False
    try:
        write_whole(path, sums.raw)
        write_whole(path + SIGNATURE_SUFFIX, sums.signature)
    except OSError as error:
        raise UsageError("state", "the file cannot be written: {}".format(error.strerror), where=path,
                         hint="check free space and permissions of its folder") from error
    return True


def list_mirrors(path: str, site: FetchSite) -> Tuple[List[Mirror], List[Mirror]]:
    """List the servers that may have a file.

    Args:
        path: below the mirrors' root.
        site: see FetchSite.

    Returns:
        Mirrors, best first, and origins; each url is the root of all paths.
    """
    settings = site.settings
    timeouts = Timeouts(settings.connect_timeout, settings.read_timeout)
    roots = ["{}://{}/".format(scheme, host) for host in settings.redirectors for scheme in ("https", "http")]
    seconds = settings.connect_timeout + settings.read_timeout
    ends_at = time.monotonic() + seconds
    arrived: Dict[str, Optional[MirrorList]] = {}
    listed, ask_list = None, site.gateway.ask_list
    task_pool = TaskPool(site.gateway.open)
    try:
        task_pool.start(PAGE, lambda client: ask_list(client, PAGE, roots, path, timeouts), site.network, seconds)
        task_pool.start(SELECTION, lambda client: ask_list(client, SELECTION, roots, path, timeouts), site.network, seconds)
        while listed is None:
            answer = task_pool.next(ends_at - time.monotonic())
            if answer is not None:
                _raise_bug(answer.error)
                arrived[answer.key] = answer.value
            listed = settled_list(arrived, MirrorList(site.known), "", waited_enough=answer is None)
    finally:
        task_pool.dismiss()
    mirrors = [mirror for mirror in listed.mirrors if mirror.source != "origin"]
    reach, require_https = site.network.reach, settings.require_https
    ranked, _ = rank_candidates(mirrors, settings.prefer, settings.deny, (), not require_https, random.random, reach)
    fallbacks, _ = listed_fallbacks(listed, settings.deny, require_https, reach)
    urls = list(settings.fallbacks) + [mirror.url for mirror in fallbacks]
    origins = [Mirror(url, source="origin") for url in dict.fromkeys(urls) if url not in {mirror.url for mirror in ranked}]
    return ranked, rank_candidates(origins, (), settings.deny, (), allow_http=True)[0]


def _raise_bug(error: Optional[Exception]) -> None:
    """Raise an exception that is no answer of a server but a fault of this program."""
    if error is not None and not isinstance(error, MirrorsError):
        raise error


def _newest_sums(place: str, mirrors: Sequence[Mirror], origins: Sequence[Mirror],
                 site: FetchSite) -> Tuple[_FetchedSums, List[str]]:
    """Find the newest proven list of checksums; a few mirrors at a time, the origins last.

    Returns:
        The list, and the URLs of the mirrors that serve exactly it.

    Raises:
        FetchError, TrustError: there is none; a refused signature is reported rather than a server that failed.
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
    """Ask mirrors at the same time; failures are added to ``errors``."""
    settings, answers = site.settings, 0
    proven: List[Tuple[str, _FetchedSums]] = []
    seconds = 2 * (settings.connect_timeout + settings.read_timeout)  # for two requests: the list and its signature
    ends_at = time.monotonic() + seconds
    task_pool = TaskPool(site.gateway.open)
    try:
        for mirror in group:
            task_pool.start(mirror.url, _sums_task(mirror.url, place, site), site.network, seconds)
        while answers < len(group) and len(proven) < settings.enough:
            answer = task_pool.next(ends_at - time.monotonic())
            if answer is None:
                break
            answers += 1
            _raise_bug(answer.error)
            if isinstance(answer.error, MirrorsError):
                errors.append(answer.error)
            else:
                proven.append((answer.key, answer.value))
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
            raw = client.get(root + path, timeouts.limits(MAX_SUMS_BYTES), NO_CACHE).body
            signature = client.get(root + path + SIGNATURE_SUFFIX, timeouts.limits(MAX_SIGNATURE_BYTES), NO_CACHE).body
        except FetchError as error:
            raise site.gateway.explain(client, error, root, site.network, timeouts.connect_seconds)
        try:
            verdict = verify_detached(raw, signature, site.keys, site.now)
            return _FetchedSums(raw, signature, parse_checksums(raw), verdict)
        except TrustError as error:
            raise TrustError(error.reference, error.what, where=root + path, hint=error.hint) from error

    return task
