"""Package verification: each package that the package manager is about to install is proven before rpm sees it.

A package is accepted only if
    1. it is an RPM whose signature by the pinned key covers all of it (``trust/rpmfile.py``),
    2. the signed name, epoch, version, release and architecture are those that were asked for, and
    3. size and checksum of the file are those of the signed metadata, as far as the package manager named them.
A refused package is removed from its place in a cache; its beginning goes into quarantine, as evidence for the mirror's owner.
"""
import contextlib
import logging
import os
import stat
import time
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Callable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from ..errors import FetchError, MirrorsError, TrustError, UsageError
from ..model import Repository
from ..net.download import Events, Fetched, Rules, download
from ..net.items import Attempt, Item, Source
from ..net.session import OpenSession
from ..resolve.download_plan import MAX_PACKAGE_BYTES
from ..trust.hashing import new_hash, require_strong
from ..trust.keys import PublicKey
from ..trust.rpmfile import RpmVerdict, RpmVerifier, require_identity
from ..util.urls import safe_path
from .quarantine import quarantine_file

if TYPE_CHECKING:  # it imports lxml, which an engine that only verifies packages does not need
    from ..trust.primary import PrimaryPackage

MAX_PACKAGES = 20000  # of one repository in one request
MAX_TEXT_CHARACTERS = 4096
READ_BYTES = 256 * 1024
PROGRESS_SECONDS = 0.1

VERIFIED, UNAVAILABLE, REFUSED = STATUSES = ("verified", "unavailable", "refused")  # from good to bad

log = logging.getLogger("xcpng-mirrors")


class PackageRequest(NamedTuple):
    """A package as the signed metadata describes it, and its path in the package manager's cache."""

    name: str
    epoch: int
    version: str
    release: str
    arch: str
    location: str  # path below the repository
    size: Optional[int]  # bytes
    checksum_type: str  # "" if there is none
    checksum: str  # lower-case hex digits
    target: str  # absolute path
    keep: bool = False  # a refused one is not removed: it is the admin's own file, in a file: repository

    @property
    def nevra(self) -> str:
        """Name, epoch, version, release and architecture in one word, as dnf writes it."""
        return "{}-{}:{}-{}.{}".format(self.name, self.epoch, self.version, self.release, self.arch)


class PackageResult(NamedTuple):
    """The result for one package."""

    error: Optional[MirrorsError] = None  # None: it is at its target, proven
    attempts: Tuple[Attempt, ...] = ()

    @property
    def status(self) -> str:
        """VERIFIED, REFUSED or UNAVAILABLE."""
        if self.error is None:
            return VERIFIED
        return REFUSED if isinstance(self.error, TrustError) else UNAVAILABLE


class PackageJob(NamedTuple):
    """The packages of one repository, and what is needed to fetch and prove them."""

    repository: Repository
    requests: Sequence[Union[PackageRequest, MirrorsError]]  # from ``read_requests``
    keys: Sequence[PublicKey]
    now: int  # seconds since 1970
    quarantine_folder: str
    rules: Rules = Rules()
    sources: Sequence[Source] = ()
    open_session: Optional[OpenSession] = None  # None: this process makes the sessions


class PackageEvents(NamedTuple):
    """Callbacks, called in the caller's thread."""

    progress: Callable[[int, int], None] = lambda number, received: None  # its place among the requests, bytes so far
    done: Callable[[int, PackageResult], None] = lambda number, result: None


class PackageChecker:
    """Proves one package while its bytes arrive.

    Args:
        request: what was asked for.
        keys: the pinned ones.
        now: seconds since 1970.
    """

    def __init__(self, request: PackageRequest, keys: Sequence[PublicKey], now: int) -> None:
        self._request = request
        self._verifier = RpmVerifier(keys, now)
        self._hash = new_hash(request.checksum_type) if request.checksum else None
        self._size = 0

    def update(self, chunk: bytes) -> None:
        """Take the next bytes; raises TrustError as soon as they are known to be wrong."""
        self._size += len(chunk)
        if self._hash is not None:
            self._hash.update(chunk)
        self._verifier.update(chunk)

    def finish(self) -> RpmVerdict:
        """Return the proof, or raise TrustError: the first rule of this module that is broken."""
        request = self._request
        verdict = self._verifier.finish()
        for told in verdict.ignored:
            log.debug("%s: a signature that does not count: %s", verdict.nevra, told)
        require_identity(verdict, request.name, request.epoch, request.version, request.release, request.arch)
        if request.size not in (None, self._size):
            raise TrustError("wrong-package", "it has {} bytes, {} in the signed metadata".format(self._size, request.size))
        if self._hash is not None and self._hash.hexdigest() != request.checksum:
            raise TrustError("wrong-package", "its {} is not the one of the signed metadata".format(request.checksum_type))
        return verdict


def request_for(package: "PrimaryPackage", target: str) -> PackageRequest:
    """Make the request for exactly the package that the primary metadata describes.

    Args:
        package: as proven metadata has it.
        target: absolute path of the file; "" if the file is not kept.
    """
    return PackageRequest(package.name, package.epoch, package.version, package.release, package.arch, package.href,
                          package.size, package.checksum_type, package.checksum, target)


def read_requests(values: object) -> List[Union[PackageRequest, MirrorsError]]:
    """Read a plugin's list of packages of a repository.

    Args:
        values: a list of objects with the fields of PackageRequest.

    Returns:
        A request for each, or the error that makes it unusable: a TrustError for what signed metadata must not contain.

    Raises:
        UsageError: usage: it is not a list, or too long.
    """
    if not isinstance(values, list) or len(values) > MAX_PACKAGES:
        raise UsageError("usage", "a request without a list of at most {} packages".format(MAX_PACKAGES))
    return [_read_request(entry) for entry in values]


def _read_request(values: object) -> Union[PackageRequest, MirrorsError]:
    try:
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
        texts = [_text(values, name) for name in ("name", "version", "release", "arch", "location", "target")]
        name, version, release, arch, location, target = texts
        request = PackageRequest(
            name, _number(values.get("epoch") or 0, 2 ** 32), version, release, arch, location,
            None if values.get("size") is None else _number(values["size"], MAX_PACKAGE_BYTES),
            _text(values, "checksum_type"), _text(values, "checksum").lower(), target, values.get("keep") is True)
        if not os.path.isabs(target) or os.path.basename(target) in ("", ".", ".."):
            raise ValueError("its target is no absolute path of a file")
        return _checked(request)
    except ValueError as problem:
        return UsageError("usage", "a package that cannot be asked for: {}".format(problem))
    except TrustError as error:
        return error


def _checked(request: PackageRequest) -> PackageRequest:
    """Return the request if its path is safe and its checksum strong; else raise TrustError."""
    try:
        safe_path(request.location)
    except ValueError as problem:
        raise TrustError("unsafe-path", "{}: {}".format(request.nevra, problem)) from None
    if request.checksum:
        require_strong(request.checksum_type)
    return request


def _text(values: Mapping[str, Any], name: str) -> str:
    text = values.get(name)
    if not isinstance(text, str) or len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
        raise ValueError("its {} is no text of at most {} printable characters".format(name, MAX_TEXT_CHARACTERS))
    return text


def _number(value: object, most: int) -> int:
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError("a number is not between 0 and {}".format(most))
    return value


def fetch_packages(job: PackageJob, events: PackageEvents = PackageEvents()) -> List[PackageResult]:
    """Fetch and prove each package that is not already at its target and good.

    Args:
        job: the packages and their sources.
        events: callbacks.

    Returns:
        One result for each request, in the same order.
    """
    results = {number: result for number, result in enumerate(_verify_each(job, events, missing_is_final=False)) if result}
    todo = [(number, request) for number, request in enumerate(job.requests)
            if number not in results and isinstance(request, PackageRequest)]

    def done(fetched: Fetched) -> None:
        number, request = todo[fetched.number]
        error = fetched.error and _explained(fetched.error, request, fetched.attempts)
        results[number] = PackageResult(error, fetched.attempts)
        events.done(number, results[number])

    download_events = Events(
        progress=lambda place, received, total, mirror: events.progress(todo[place][0], received),
        done=done,
        wrong=lambda place, path, mirrors, error: _quarantine(job, todo[place][1], path, mirrors, error))
    try:
        if todo:
            items = [_item(job, request) for _, request in todo]
            download(items, job.sources, job.repository.network, job.rules, download_events, job.open_session)
    except UsageError as error:  # there is no space for all of them, or the TLS settings are unusable
        for place in range(len(todo)):
            done(Fetched(place, error=error))
    return [results[number] for number in range(len(job.requests))]


def verify_packages(job: PackageJob, events: PackageEvents = PackageEvents()) -> List[PackageResult]:
    """Prove the packages at their targets and fetch none; arguments and result as of ``fetch_packages``."""
    return [result or PackageResult() for result in _verify_each(job, events, missing_is_final=True)]


def _item(job: PackageJob, request: PackageRequest) -> Item:
    """Return what is fetched; a lambda in the caller's loop would see the last package only."""
    return Item(request.location, request.target, lambda: PackageChecker(request, job.keys, job.now), request.size)


def _verify_each(job: PackageJob, events: PackageEvents, missing_is_final: bool) -> Iterator[Optional[PackageResult]]:
    """Examine each target; None for a package that must be fetched: it is missing, or was refused and removed."""
    for number, request in enumerate(job.requests):
        result: Optional[PackageResult]
        if isinstance(request, MirrorsError):
            result = PackageResult(request)
        else:
            result = _verify_one(job, number, request, events)
            if result.error is not None and not missing_is_final:
                result = None
        if result is not None:
            events.done(number, result)
        yield result


def _verify_one(job: PackageJob, number: int, request: PackageRequest, events: PackageEvents) -> PackageResult:
    try:
        with _opened(request.target) as stream:
            _check(stream, PackageChecker(request, job.keys, job.now), lambda received: events.progress(number, received))
        return PackageResult()
    except TrustError as error:
        _quarantine(job, request, request.target, (), error)
        if not request.keep:
            with contextlib.suppress(OSError):  # refused it is in any case
                os.unlink(request.target)
        return PackageResult(_explained(error, request, ()))
    except OSError as error:
        missing = FetchError("unreachable", "the file cannot be read: {}".format(error.strerror), where=request.target)
        return PackageResult(_explained(missing, request, ()))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a file as rpm will find it: it must be regular, and its last part no link."""
    if os.path.islink(path):
        raise TrustError("malformed", "it is a link")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise TrustError("malformed", "it is no regular file")
        yield stream


def _check(stream: BinaryIO, checker: PackageChecker, progress: Callable[[int], None]) -> None:
    received, reported_at = 0, 0.0
    while True:
        chunk = stream.read(READ_BYTES)
        if not chunk:
            break
        checker.update(chunk)
        received += len(chunk)
        if time.monotonic() - reported_at >= PROGRESS_SECONDS:
            reported_at = time.monotonic()
            progress(received)
    checker.finish()


def _explained(error: MirrorsError, request: PackageRequest, attempts: Sequence[Attempt]) -> MirrorsError:
    """Add the package and the mirrors tried to an error."""
    where = ", ".join("{}: {}".format(attempt.mirror, attempt.reference) for attempt in attempts) or error.where
    return type(error)(error.reference, "{}: {}".format(request.nevra, error.what), where=where, hint=error.hint)


def _quarantine(job: PackageJob, request: PackageRequest, path: str, mirrors: Sequence[str], error: TrustError) -> None:
    log.warning("%s: %s: %s (%s)", job.repository.id, request.nevra, error, ", ".join(mirrors) or path)
    note = {"when": job.now, "repository": job.repository.id, "package": request.nevra, "location": request.location,
            "mirrors": list(mirrors), "reference": error.reference, "what": error.what}
    try:
        with _opened(path) as stream:
            quarantine_file(job.quarantine_folder, stream, note)
    except (OSError, TrustError) as problem:  # it is refused all the same
        log.warning("%s: cannot be put into quarantine: %s", path, problem)


def worst(results: Sequence[PackageResult]) -> PackageResult:
    """Return the first of the worst results; a good one for an empty list."""
    return max(results, key=lambda result: STATUSES.index(result.status), default=PackageResult())
