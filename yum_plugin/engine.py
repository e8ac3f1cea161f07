"""The bridge's other end: one JSON request on stdin, JSON lines on stdout, nothing else printed.

Every request is one line of at most 16 MiB, every event a line:
    {"event": "warning", "repository": ID, "text": TEXT}      ID is "" for what concerns no repository or all
    {"event": "result", "repositories": {ID: {...}}}          the last one; an ID of "" stands for all of the request

"resolve", metadata resolution:
    {"schema": 1, "action": "resolve", "config": PATH, "installroot": PATH,
     "repositories": [{"id": ..., "base_urls": [...], "gpgkeys": [...], network settings ...,
                       "held_sha256": HEX or "", "installs": true | false, "metadata_expire": SECONDS}]}
    The last three may be missing; resolve/refresh_policy.py says what they are for.
    result: {ID: {"status": "resolved", "metalink": PATH, "sha256": ..., ...} | {"status": "left" | "refused", "text": TEXT}}
    After the result the engine waits for one more line, {"accepted": [ID, ...]}: the package manager has loaded the metadata
    of these repositories, and their high-water mark is raised.

"packages", package verification:
    {"schema": 1, "action": "packages", "mode": "fetch" | "verify", "config": PATH, "installroot": PATH,
     "repositories": [{... as above ..., "packages": [
         {"name": TEXT, "epoch": NUMBER, "version": TEXT, "release": TEXT, "arch": TEXT,
          "location": TEXT,                                  path below the repository, as in the signed metadata
          "size": BYTES or null, "checksum_type": "sha256" | ... or "", "checksum": HEX or "",
          "target": PATH}]}]}                                absolute: where the package manager expects the file
    mode "fetch": a target that exists and is good stays as it is; any other is fetched from the proven mirrors and verified
    before it gets its name. mode "verify": nothing is fetched; a missing target is "unavailable".
    In both modes a refused file is moved from its target to the quarantine in the state directory.
    {"event": "progress", "repository": ID, "package": INDEX, "bytes": TOTAL SO FAR}
        at most ten per second and package; goes back to 0 when a package is fetched again; while anything is being fetched
        there is an event at least every 2 seconds
    {"event": "package", "repository": ID, "package": INDEX, "status": "verified" | "refused" | "unavailable",
     "reference": REFERENCE, "text": TEXT}                   exactly one per package; both texts are "" if it is verified
    result: {ID: {"status": "verified" | "refused" | "unavailable", "reference": REFERENCE, "text": TEXT}}: of the worst
    package (refused before unavailable); or "left" | "refused" as for "resolve" if no package of it was looked at.
    INDEX counts from 0 in the repository's "packages".
"""
import json
import logging
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Dict, List, NamedTuple, Sequence

from .errors import EXIT_BUG, EXIT_OK, MirrorsError, UsageError
from .host.keyring import load_keys
from .host.log import open_log
from .host.repository_options import repository_from_request
from .host.settings import Settings, fragments_of, read_settings
from .model import Network, Repository
from .privsep.gateway import RESOLVE_CPU_SECONDS, Gateway, Separate, together
from .resolve.refresh import accept, refresh
from .resolve.refresh_policy import with_cache_state
from .resolve.resolution import Resolution, is_refusal
from .resolve.resolver import Clock
from .state.snapshot_pin import active_pin, warning_without_packages
from .state.store import METALINK, State
from .util.files import inside

if TYPE_CHECKING:
    from .packages import verify

SCHEMA = 1
MAX_REQUEST_BYTES = 16 * 1024 * 1024  # 20000 packages with long names
MAX_REPOSITORIES = 64
DOWNLOAD_CPU_SECONDS = 3600  # enough for hundreds of gigabytes

log = logging.getLogger("xcpng-mirrors")


def serve(stdin: BinaryIO, stdout: BinaryIO, separate: Separate = together) -> int:
    """Answer one request.

    Args:
        stdin: the request.
        stdout: the events.
        separate: makes the gateway to the network: ``privsep.parent.separated`` starts a process without root for it.

    Returns:
        The exit code; the bridge relies on the events alone.
    """
    emit = _Emitter(stdout)
    try:
        request = _read_line(stdin)
        act = _ACTIONS.get(str(request.get("action")))
        if request.get("schema") != SCHEMA or act is None:
            raise UsageError("usage", "a request that this version does not know")
        act(_prepare(request, emit, stdin, separate))
    except MirrorsError as error:
        emit.left({"": str(error)})
        return error.exit_code
    except Exception as error:  # a border: the bridge must get a result, and no traceback
        log.exception("a bug of ours")
        emit.left({"": str(MirrorsError("internal", "{}: {}".format(type(error).__name__, error)))})
        return EXIT_BUG
    return EXIT_OK


class _Emitter:
    """Writes events."""

    def __init__(self, stdout: BinaryIO) -> None:
        self._stdout = stdout

    def event(self, kind: str, **values: Any) -> None:
        values["event"] = kind
        self._stdout.write(json.dumps(values, sort_keys=True).encode("ascii") + b"\n")
        self._stdout.flush()

    def warning(self, repository_id: str, text: str) -> None:
        log.warning("%s: %s", repository_id, text)
        self.event("warning", repository=repository_id, text=text)

    def left(self, texts: Dict[str, str]) -> None:
        """Report that repositories stay as they were; "" stands for all of the request."""
        self.event("result", repositories={key: {"status": "left", "text": text} for key, text in texts.items()})


def _read_line(stdin: BinaryIO) -> Dict[str, Any]:
    line = stdin.readline(MAX_REQUEST_BYTES)
    try:
        request = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UsageError("usage", "a request that is no JSON line of at most {} bytes".format(MAX_REQUEST_BYTES))
    if not isinstance(request, dict):
        raise UsageError("usage", "a request that is no JSON object")
    return request


class _Call(NamedTuple):
    """One request, and all that is needed to answer it."""

    request: Dict[str, Any]
    settings: Settings
    state: State
    repositories: Sequence[Repository]
    emit: _Emitter
    stdin: BinaryIO
    separate: Separate

    @property
    def networks(self) -> List[Network]:
        """The network settings of all repositories."""
        return [repository.network for repository in self.repositories]


def _prepare(request: Dict[str, Any], emit: _Emitter, stdin: BinaryIO, separate: Separate) -> _Call:
    root = str(request.get("installroot") or "/")
    settings, problems, _, _ = read_settings(str(request.get("config", "")), fragments_of(root))
    open_log(inside(root, settings.log_file), settings.log_level)
    for problem in problems:
        emit.warning("", problem)
    repositories = _repositories(request, settings, emit)
    return _Call(request, settings, State(inside(root, settings.state_dir)), repositories, emit, stdin, separate)


def _resolve(call: _Call) -> None:
    with call.separate(call.networks, RESOLVE_CPU_SECONDS) as gateway:
        found = refresh(call.repositories, call.settings, call.state, gateway=gateway)
    for problem in call.state.problems:
        call.emit.warning("", problem)
    for item in found:
        for text in item.warnings:
            call.emit.warning(item.repository.id, text)
    call.emit.event("result", repositories={item.repository.id: _verdict(item, call) for item in found})
    accept(found, _await_acceptance(call.stdin), call.state, call.settings)


def _packages(call: _Call) -> None:
    from .packages import verify  # late: most engines only resolve metadata, and start sooner without it

    act = {"fetch": verify.fetch_packages, "verify": verify.verify_packages}.get(str(call.request.get("mode")))
    if act is None:
        raise UsageError("usage", "a request for packages with another mode than fetch and verify")
    asked = {str(values.get("id")): values.get("packages") for values in call.request["repositories"] if isinstance(values, dict)}
    verdicts = {}
    with call.separate(call.networks, DOWNLOAD_CPU_SECONDS) as gateway:
        for repository in call.repositories:
            try:
                verdicts[repository.id] = _prove_packages(call, repository, asked.get(repository.id), act, gateway)
            except MirrorsError as error:
                verdicts[repository.id] = _failure(repository, error, call.settings)
    call.emit.event("result", repositories=verdicts)


def _prove_packages(call: _Call, repository: Repository, asked: object,
                    act: "Callable[[verify.PackageJob, verify.PackageEvents], List[verify.PackageResult]]",
                    gateway: Gateway) -> Dict[str, str]:
    from .packages import verify

    now = int(Clock().wall())
    sources = verify.sources_of(repository, call.state.load(repository.id).memory, call.settings, now)
    keys = load_keys(repository.key_paths, repository.fingerprints)
    job = verify.PackageJob(repository, verify.read_requests(asked), keys, now, call.state.path(repository.id, "refused"),
                            verify.rules_of(call.settings), sources, gateway.open)
    events = verify.PackageEvents(
        lambda number, received: call.emit.event("progress", repository=repository.id, package=number, bytes=received),
        lambda number, result: call.emit.event("package", repository=repository.id, package=number, **_words(result)))
    results = act(job, events)
    with call.state.locked(call.settings.deadline) as held:
        try:
            if held:
                verify.remember_failures(call.state, repository.id, results, now)
        except UsageError as error:
            call.emit.warning(repository.id, str(error))
    worst = verify.worst(results)
    pin = active_pin(call.state.load(repository.id), now)
    if worst.status == verify.UNAVAILABLE and pin is not None:
        call.emit.warning(repository.id, warning_without_packages(pin))
    return _words(worst)


def _words(result: "verify.PackageResult") -> Dict[str, str]:
    error = result.error
    return {"status": result.status, "reference": error.reference if error else "", "text": str(error) if error else ""}


def _repositories(request: Dict[str, Any], settings: Settings, emit: _Emitter) -> List[Repository]:
    wanted = request.get("repositories")
    if not isinstance(wanted, list) or len(wanted) > MAX_REPOSITORIES:
        raise UsageError("usage", "a request without a list of at most {} repositories".format(MAX_REPOSITORIES))
    repositories = []
    for values in wanted:
        try:
            repositories.append(with_cache_state(repository_from_request(values, settings), values))
        except UsageError as error:
            emit.warning(str(values.get("id", "")) if isinstance(values, dict) else "", str(error))
    return repositories


def _verdict(resolution: Resolution, call: _Call) -> Dict[str, Any]:
    snapshot, name = resolution.snapshot, resolution.repository.id
    if snapshot is None:
        return _failure(resolution.repository, resolution.error or MirrorsError("internal", "no snapshot"), call.settings)
    return {"status": "resolved", "metalink": call.state.path(name, METALINK), "sha256": snapshot.sha256, "size": snapshot.size,
            "timestamp": snapshot.timestamp, "revision": snapshot.revision,
            "mirrors": [mirror.url for mirror in resolution.mirrors]}


def _failure(repository: Repository, error: MirrorsError, settings: Settings) -> Dict[str, Any]:
    log.warning("%s: %s", repository.id, error)
    return {"status": "refused" if is_refusal(error, settings) else "left", "reference": error.reference, "text": str(error)}


def _await_acceptance(stdin: BinaryIO) -> List[Any]:
    """Return the ids of the repositories whose metadata the package manager says it has loaded; none if it says nothing."""
    try:
        accepted = _read_line(stdin).get("accepted")
    except UsageError:  # usually the end of the stream: nothing was loaded, or the package manager has ended
        return []
    return accepted if isinstance(accepted, list) else []


_ACTIONS: Dict[str, Callable[[_Call], None]] = {"resolve": _resolve, "packages": _packages}
