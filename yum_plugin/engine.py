"""The bridge's other end: JSON requests on stdin, JSON lines on stdout, nothing else printed. One process serves a whole run.

Every request is one line of at most 16 MiB, every event a line:
    {"event": "warning", "repository": ID, "text": TEXT}      ID is "" for what concerns no repository or all
    {"event": "result", "repositories": {ID: {...}}}          the last one; an ID of "" stands for all of the request
The engine ends when stdin does.

"resolve", metadata resolution:
    {"schema": 1, "action": "resolve", "config": PATH, "installroot": PATH,
     "repositories": [{"id": ..., "base_urls": [...], "gpgkeys": [...], network settings ...,
                       "installs": true | false, "attended": true | false, "metadata_expire": SECONDS,
                       "cache": {"folder": PATH, "layout": "dnf" | "yum", "types": [TYPE, ...], "key": HEX,
                                 "forced": true | false}}]}
    "installs", "attended" and "metadata_expire" may be missing; resolve/refresh_policy.py says what they are for. "cache" is
    the package manager's own cache folder of the repository, whose lock the plugin holds; resolve/metadata_cache.py fills it.
    {"event": "metadata", "repository": ID, "file": NAME, "bytes": SO FAR, "total": BYTES or null}
    result: {ID: {"status": "resolved", "sha256": HEX, "mirrors": [URL, ...], "waits": true | false} |
                 {"status": "left" | "refused", "text": TEXT, "reference": TEXT, "cause": TEXT}}
    "resolved": the cache holds exactly the signed repomd.xml with that digest, and the files that it names. "waits": that was
    not proven anew, and the cache is as old as it was. "cause": what of the text several repositories may have in common; it
    may be missing. Of "own-copy" the admin is told later, by a warning.

"prepare", no events: {"schema": 1, "action": "prepare", "config": PATH, "installroot": PATH, "repositories": [...],
                        "packages": true | false}
    All repositories of the run, so that one process without root can serve them; "packages": load what proving them needs.
    The plugin does not wait for it.

"accept", no events: {"schema": 1, "action": "accept", "accepted": [ID, ...]}
    The package manager has loaded the metadata of these repositories; their high-water mark is raised.

"prove", what the package manager has loaded by itself, without any network (resolve/loaded.py):
    {"schema": 1, "action": "prove", "config": PATH, "installroot": PATH, "repositories": [{... as for "resolve" ...}]}
    result: {ID: {"status": "proven", "sha256": HEX} | {"status": "left" | "refused", "text": TEXT}}
    "proven": the cached repomd.xml with that digest; it has become the high-water mark, but for a single voice of a first
    contact. "left": it could not be proven, and nothing may be installed from there.

"packages", package verification:
    {"schema": 1, "action": "packages", "mode": "fetch" | "verify", "config": PATH, "installroot": PATH,
     "repositories": [{... as above, without "cache" ..., "packages": [
         {"name": TEXT, "epoch": NUMBER, "version": TEXT, "release": TEXT, "arch": TEXT,
          "location": TEXT,                                  path below the repository, as in the signed metadata
          "size": BYTES or null, "checksum_type": "sha256" | ... or "", "checksum": HEX or "",
          "target": PATH,                                    absolute: where the package manager expects the file
          "keep": true | false}]}]}                          true: it is not in a cache, but the admin's own (file: repositories)
    mode "fetch": a target that exists and is good stays as it is; any other is fetched from the proven mirrors and verified
    before it gets its name. mode "verify": nothing is fetched, and network settings do not matter; a missing target is
    "unavailable".
    In both modes a refused file is moved from its target to the quarantine in the state directory; one with "keep" is copied.
    {"event": "progress", "repository": ID, "package": INDEX, "bytes": TOTAL SO FAR}
        at most ten per second and package; goes back to 0 when a package is fetched again; while anything is being fetched
        there is an event at least every 2 seconds
    {"event": "package", "repository": ID, "package": INDEX, "status": "verified" | "refused" | "unavailable",
     "reference": REFERENCE, "text": TEXT}                   exactly one per package; both texts are "" if it is verified
    result: {ID: {"status": "verified" | "refused" | "unavailable", "reference": REFERENCE, "text": TEXT}}: of the worst
    package (refused before unavailable); or "left" | "refused" as for "resolve" if no package of it was looked at.
    INDEX counts from 0 in the repository's "packages".
"""
import contextlib
import importlib
import json
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from .errors import EXIT_BUG, EXIT_OK, FetchError, MirrorsError, UsageError, describe
from .host.keyring import load_keys
from .host.log import open_log
from .host.repository_options import repository_from_request
from .host.settings import Settings, fragment_paths, read_settings
from .model import Network, Repository
from .net.session import OpenSession
from .privsep.gateway import DOWNLOAD_CPU_SECONDS, Gateway, Separate, together
from .resolve.download_plan import rules_of, sources_of
from .resolve.loaded import prove_loaded, sha256_of_copy
from .resolve.metadata_cache import MetadataCache, read_cache, valid_sha256
from .resolve.refresh import accept, refresh
from .resolve.refresh_policy import with_run
from .resolve.resolution import Resolution, is_refusal
from .resolve.resolver import Clock
from .state.failures import remember_failures
from .state.snapshot_pin import active_pin, warning_without_packages
from .state.store import State
from .trust.identity import UNCONFIRMED
from .util.places import inside

if TYPE_CHECKING:
    from .packages import verify

SCHEMA = 1
MAX_REQUEST_BYTES = 16 * 1024 * 1024  # 20000 packages with long names
MAX_REPOSITORIES = 64

log = logging.getLogger("xcpng-mirrors")


def serve(stdin: BinaryIO, stdout: BinaryIO, separate: Separate = together) -> int:
    """Answer requests until there are no more.

    Args:
        stdin: the requests.
        stdout: the events.
        separate: makes the gateway to the network: ``privsep.parent.separated`` starts a process without root for it.

    Returns:
        The exit code; the bridge relies on the events alone.
    """
    emit = _Emitter(stdout)
    with contextlib.ExitStack() as ends:
        run = _Run(emit, lambda networks: ends.enter_context(separate(networks, DOWNLOAD_CPU_SECONDS)))
        while True:
            try:
                request = _read_line(stdin)
                if request is None:
                    return EXIT_OK
                act = _ACTIONS.get(str(request.get("action")))
                if request.get("schema") != SCHEMA or act is None:
                    raise UsageError("usage", "a request that this version does not know")
                act(run, request)
            except MirrorsError as error:
                emit.left({"": str(error)})
                return error.exit_code
            except Exception as error:  # a border: the bridge must get a result, and no traceback
                log.exception("a bug of ours")
                emit.left({"": str(MirrorsError("internal", "{}: {}".format(type(error).__name__, error)))})
                return EXIT_BUG


class _Emitter:
    """Writes events."""

    def __init__(self, stdout: BinaryIO) -> None:
        self._stdout = stdout
        self._lock = threading.Lock()  # the caches of several repositories are filled side by side

    def event(self, kind: str, **values: Any) -> None:
        values["event"] = kind
        with self._lock:
            self._stdout.write(json.dumps(values, sort_keys=True).encode("ascii") + b"\n")
            self._stdout.flush()

    def warning(self, repository_id: str, text: str) -> None:
        log.warning("%s: %s", repository_id, text)
        self.event("warning", repository=repository_id, text=text)

    def left(self, texts: Dict[str, str]) -> None:
        """Report that repositories stay as they were; "" stands for all of the request."""
        self.event("result", repositories={key: {"status": "left", "text": text} for key, text in texts.items()})


def _read_line(stdin: BinaryIO) -> Optional[Dict[str, Any]]:
    """Return the next request; None at the end of the stream: the package manager has ended, or is gone."""
    line = stdin.readline(MAX_REQUEST_BYTES)
    if not line:
        return None
    try:
        request = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UsageError("usage", "a request that is no JSON line of at most {} bytes".format(MAX_REQUEST_BYTES))
    if not isinstance(request, dict):
        raise UsageError("usage", "a request that is no JSON object")
    return request


class _Run:
    """One run of a package manager: what several of its requests share.

    Args:
        emit: writes events.
        open_gateway: makes the gateway for some networks; called once, before any thread is started.
    """

    def __init__(self, emit: _Emitter, open_gateway: Callable[[Sequence[Network]], Gateway]) -> None:
        self.emit = emit
        self.resolved: Dict[str, Resolution] = {}  # by repository id
        self.settings: Optional[Settings] = None
        self.state: Optional[State] = None
        self._told: Set[str] = set()
        self._open_gateway = open_gateway
        self._gateway: Optional[Gateway] = None
        self._networks: Set[Network] = set()

    def gateway(self, repositories: Sequence[Repository]) -> Gateway:
        """Return the gateway; a later request may name no other networks than the first."""
        networks = {repository.network for repository in repositories}
        if self._gateway is None:
            self._networks, self._gateway = networks, self._open_gateway(sorted(networks, key=repr))
        if not networks <= self._networks:
            raise UsageError("usage", "a request with other network settings than the first one")
        return self._gateway

    def tell_problems(self, state: State) -> None:
        """Warn of what cannot be read of the state, once a run."""
        for problem in state.problems:
            if problem not in self._told:
                self._told.add(problem)
                self.emit.warning("", problem)


class _Call(NamedTuple):
    """One request, and all that is needed to answer it."""

    run: _Run
    request: Dict[str, Any]
    settings: Settings
    state: State
    repositories: Sequence[Repository]
    caches: Dict[str, MetadataCache]  # by repository id
    left: Dict[str, Any]  # the verdicts of repositories that cannot be used, by id

    @property
    def emit(self) -> _Emitter:
        """Writes events."""
        return self.run.emit

    def gateway(self) -> Gateway:
        """Return the gateway; before any thread is started."""
        return self.run.gateway(self.repositories)


def _prepare(run: _Run, request: Dict[str, Any], is_offline: bool = False) -> _Call:
    root = str(request.get("installroot") or "/")
    settings, problems, _, _ = read_settings(str(request.get("config", "")), fragment_paths(), root)
    open_log(inside(root, settings.log_file), settings.log_level)
    if run.settings is None:
        for problem in problems:
            run.emit.warning("", problem)
    run.settings, run.state = settings, run.state or State(inside(root, settings.state_dir))
    repositories, caches, left = _repositories(request, settings, is_offline)
    return _Call(run, request, settings, run.state, repositories, caches, left)


def _ready(run: _Run, request: Dict[str, Any]) -> None:
    _prepare(run, request).gateway()
    if request.get("packages") is True:
        _load_verification()


def _load_verification() -> None:
    """Import what packages are proven with, while the package manager works; most engines only resolve metadata."""
    importlib.import_module(".packages.verify", __package__)


def _resolve(run: _Run, request: Dict[str, Any]) -> None:
    call = _prepare(run, request)
    found = refresh(call.repositories, call.settings, call.state, gateway=call.gateway(), caches=call.caches,
                    on_file=lambda name, file, received, total: call.emit.event(
                        "metadata", repository=name, file=file, bytes=received, total=total))
    run.resolved.update((item.repository.id, item) for item in found)
    run.tell_problems(call.state)
    for item in found:
        for text in item.warnings:
            call.emit.warning(item.repository.id, text)
    verdicts = {item.repository.id: _verdict(item, call) for item in found}
    call.emit.event("result", repositories=dict(call.left, **verdicts))


def _accept(run: _Run, request: Dict[str, Any]) -> None:
    accepted = request.get("accepted")
    if run.settings is not None and run.state is not None and isinstance(accepted, list):
        _accept_or_warn(run, list(run.resolved.values()), accepted, run.state, run.settings)
        if any(item.repository.installs for item in run.resolved.values()):
            _load_verification()


def _accept_or_warn(run: _Run, found: Sequence[Resolution], accepted: Sequence[object], state: State, settings: Settings) -> None:
    """A mark that cannot be written does not end the engine: the next request would get the answer to this one."""
    try:
        accept(found, accepted, state, settings)
    except UsageError as error:
        run.emit.warning("", str(error))


def _prove(run: _Run, request: Dict[str, Any]) -> None:
    call, now = _prepare(run, request, is_offline=True), int(Clock().wall())
    found: List[Resolution] = []
    verdicts = dict(call.left)
    for repository in call.repositories:
        try:
            if repository.id not in call.caches:
                raise UsageError("usage", "a repository without its cache folder", where=repository.id)
            if repository.own_copy:
                verdicts[repository.id] = {"status": "proven", "sha256": sha256_of_copy(call.caches[repository.id])}
                _tell_once(call, repository)
                continue
            found.append(prove_loaded(repository, call.caches[repository.id], call.state, now))
            verdicts[repository.id] = {"status": "proven", "sha256": found[-1].proven().sha256}
        except MirrorsError as error:
            verdicts[repository.id] = _failure(repository.id, error, call.settings)
            if error.reference == UNCONFIRMED:  # it may be good: who looks may see it
                verdicts[repository.id]["status"] = "left"
    _accept_or_warn(run, found, [item.repository.id for item in found], call.state, call.settings)
    if os.geteuid() == 0:  # another user may not read the state, which is no problem
        run.tell_problems(call.state)
    call.emit.event("result", repositories=verdicts)


def _packages(run: _Run, request: Dict[str, Any]) -> None:
    fetches = request.get("mode") == "fetch"
    if not fetches and request.get("mode") != "verify":
        raise UsageError("usage", "a request for packages with another mode than fetch and verify")
    call = _prepare(run, request, is_offline=not fetches)
    open_session = call.gateway().open if fetches else None
    asked = {str(values.get("id")): values.get("packages") for values in request["repositories"] if isinstance(values, dict)}
    verdicts = dict(call.left)
    for repository in call.repositories:
        try:
            verdicts[repository.id] = _prove_packages(call, repository, asked.get(repository.id), open_session)
        except MirrorsError as error:
            verdicts[repository.id] = _failure(repository.id, error, call.settings)
    call.emit.event("result", repositories=verdicts)


def _prove_packages(call: _Call, repository: Repository, asked: object, open_session: Optional[OpenSession]) -> Dict[str, str]:
    """Fetch and prove the packages of one repository; without sessions only what is there is proven."""
    from .packages import verify

    now = int(Clock().wall())
    remembered = call.state.load(repository.id, repository.place)
    keys = load_keys(repository.key_paths, repository.fingerprints)
    job = verify.PackageJob(repository, verify.read_requests(asked), keys, now, call.state.path(repository.id, "refused"))
    events = verify.PackageEvents(
        lambda number, received: call.emit.event("progress", repository=repository.id, package=number, bytes=received),
        lambda number, result: call.emit.event("package", repository=repository.id, package=number, **_words(result)))
    if open_session is None:
        return _words(verify.worst(verify.verify_packages(job, events)))
    sources = sources_of(repository, remembered.memory, call.settings, now)
    job = job._replace(rules=rules_of(call.settings), sources=sources, open_session=open_session)
    results = verify.fetch_packages(job, events)
    with call.state.locked(call.settings.deadline) as held:
        try:
            if held:
                attempts = [attempt for result in results for attempt in result.attempts]
                remember_failures(call.state, repository.id, "packages", attempts, now)
        except UsageError as error:
            call.emit.warning(repository.id, str(error))
    worst = verify.worst(results)
    pin = active_pin(remembered, now)
    if worst.status == verify.UNAVAILABLE and pin is not None:
        call.emit.warning(repository.id, warning_without_packages(pin))
    return _words(worst)


def _words(result: "verify.PackageResult") -> Dict[str, str]:
    error = result.error
    return {"status": result.status, "reference": error.reference if error else "", "text": str(error) if error else ""}


def _repositories(request: Dict[str, Any], settings: Settings,
                  is_offline: bool) -> Tuple[List[Repository], Dict[str, MetadataCache], Dict[str, Any]]:
    wanted = request.get("repositories")
    if not isinstance(wanted, list) or len(wanted) > MAX_REPOSITORIES:
        raise UsageError("usage", "a request without a list of at most {} repositories".format(MAX_REPOSITORIES))
    repositories, caches, left = [], {}, {}
    for values in wanted:
        if not isinstance(values, dict) or not isinstance(values.get("id"), str) or not values["id"]:
            raise UsageError("usage", "a request with a repository without a name")
        try:
            repository = with_run(repository_from_request(values, settings, is_offline), values)
            if "cache" in values:
                cache = caches[repository.id] = read_cache(values["cache"])
                repository = repository._replace(cached_sha256="" if cache.forced else valid_sha256(cache), is_sampled=False)
            repositories.append(repository)
        except UsageError as error:
            left[values["id"]] = _failure(values["id"], error, settings)
    return repositories, caches, left


def _tell_once(call: _Call, repository: Repository) -> None:
    """Tell the admin of a copy of his own, once for each reason and place."""
    text = str(UsageError("own-copy", repository.own_copy))
    memory = call.state.load(repository.id, repository.place).memory
    if memory.told == text:
        return
    call.emit.warning(repository.id, text)
    with contextlib.suppress(UsageError), call.state.locked(call.settings.deadline) as is_locked:
        if is_locked:
            call.state.update(repository.id, memory._replace(told=text, place=repository.place))


def _verdict(resolution: Resolution, call: _Call) -> Dict[str, Any]:
    snapshot = resolution.snapshot
    if snapshot is None:
        return _failure(resolution.repository.id, resolution.error or MirrorsError("internal", "no snapshot"), call.settings)
    return {"status": "resolved", "sha256": snapshot.sha256, "mirrors": [mirror.url for mirror in resolution.mirrors],
            "waits": resolution.waits}


def _failure(repository_id: str, error: MirrorsError, settings: Settings) -> Dict[str, Any]:
    log.warning("%s: %s", repository_id, error)
    # Two mirrors are out of reach in two ways, and the admin has one network.
    cause = error.reference if isinstance(error, FetchError) else describe(error.reference, error.what, "", "")
    return {"status": "refused" if is_refusal(error, settings) else "left", "reference": error.reference, "text": str(error),
            "cause": cause}


_ACTIONS: Dict[str, Callable[[_Run, Dict[str, Any]], None]] = {
    "prepare": _ready, "resolve": _resolve, "accept": _accept, "prove": _prove, "packages": _packages}
