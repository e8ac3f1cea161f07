"""The bridge's other end: one JSON request on stdin, JSON lines on stdout, nothing else printed.

Every request is one line of at most 16 MiB, every event a line:
    {"event": "warning", "repository": ID, "text": TEXT}      ID is "" for what concerns no repository or all
    {"event": "result", "repositories": {ID: {...}}}          the last one; an ID of "" stands for all of the request

"resolve", job 1:
    {"schema": 1, "action": "resolve", "config": PATH, "installroot": PATH,
     "repositories": [{"id": ..., "base_urls": [...], "gpgkeys": [...], network settings ...}]}
    result: {ID: {"status": "resolved", "metalink": PATH, "sha256": ..., ...} | {"status": "left" | "refused", "text": TEXT}}
    After the result the engine waits for one more line, {"accepted": [ID, ...]}: the metadata of these
    repositories has been accepted by the package manager, and the high-water mark is raised.

"packages", job 2:
    {"schema": 1, "action": "packages", "mode": "fetch" | "verify", "config": PATH, "installroot": PATH,
     "repositories": [{... as above ..., "packages": [
         {"name": TEXT, "epoch": NUMBER, "version": TEXT, "release": TEXT, "arch": TEXT,
          "location": TEXT,                                  path below the repository, as in the signed metadata
          "size": BYTES or null, "checksum_type": "sha256" | ... or "", "checksum": HEX or "",
          "target": PATH}]}]}                                absolute: where the package manager expects the file
    mode "fetch": a target that is there and good is left as it is, any other is fetched from the proven mirrors and
    verified before it gets its name. mode "verify": nothing is fetched; a missing target is "unavailable".
    A file that is refused is taken away from its target in both modes and kept aside under the state directory.
    {"event": "progress", "repository": ID, "package": INDEX, "bytes": TOTAL SO FAR}
        at most ten a second and package; goes back to 0 where a package is fetched again; while anything is
        under way there is an event at least every 2 seconds
    {"event": "package", "repository": ID, "package": INDEX, "status": "verified" | "refused" | "unavailable",
     "reference": REFERENCE, "text": TEXT}                   exactly one a package; both texts are "" if it is verified
    result: {ID: {"status": "verified" | "refused" | "unavailable", "reference": REFERENCE, "text": TEXT}}: of the worst
    package (refused before unavailable); or "left" | "refused" as for "resolve" if no package of it was looked at.
    INDEX counts from 0 in the repository's "packages".
"""
import json
import logging
from typing import Any, BinaryIO, Dict, List, Sequence

from .config import Settings, read_settings, repository_from_request
from .errors import EXIT_BUG, EXIT_OK, MirrorsError, UsageError
from .files import inside
from .logs import open_log
from .model import Repository, Snapshot
from .refresh import Refreshed, is_refusal, refresh
from .state import State

SCHEMA = 1
MAX_REQUEST_BYTES = 1024 * 1024
MAX_REPOSITORIES = 64

log = logging.getLogger("xcpng-mirrors")


def serve(stdin: BinaryIO, stdout: BinaryIO) -> int:
    """Answer one request.

    Args:
        stdin: the request.
        stdout: the events.

    Returns:
        The exit code; the bridge goes by the events alone.
    """
    emit = _Emitter(stdout)
    try:
        request = _read_line(stdin)
        if request.get("schema") != SCHEMA or request.get("action") != "resolve":
            raise UsageError("usage", "a request that this version does not know")
        _resolve(request, emit, stdin)
    except MirrorsError as error:
        emit.left({"": str(error)})
        return error.exit_code
    except Exception as error:  # a border: the bridge must hear of it, and nobody else
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
        """Tell that repositories stay as they were; "" stands for all of the request."""
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


def _resolve(request: Dict[str, Any], emit: _Emitter, stdin: BinaryIO) -> None:
    settings, problems = read_settings(str(request.get("config", "")))
    root = str(request.get("installroot") or "/")
    open_log(inside(root, settings.log_file), settings.log_level)
    for problem in problems:
        emit.warning("", problem)
    state = State(inside(root, settings.state_dir))
    repositories = _repositories(request, settings, emit)
    found = refresh(repositories, settings, state)
    for problem in state.problems:
        emit.warning("", problem)
    for item in found:
        for text in item.warnings:
            emit.warning(item.repository.id, text)
    emit.event("result", repositories={item.repository.id: _verdict(item, settings) for item in found})
    _await_acceptance(stdin, found, state, settings)


def _repositories(request: Dict[str, Any], settings: Settings, emit: _Emitter) -> List[Repository]:
    wanted = request.get("repositories")
    if not isinstance(wanted, list) or len(wanted) > MAX_REPOSITORIES:
        raise UsageError("usage", "a request without a list of at most {} repositories".format(MAX_REPOSITORIES))
    repositories = []
    for values in wanted:
        try:
            repositories.append(repository_from_request(values, settings))
        except UsageError as error:
            emit.warning(str(values.get("id", "")) if isinstance(values, dict) else "", str(error))
    return repositories


def _verdict(item: Refreshed, settings: Settings) -> Dict[str, Any]:
    if item.error is not None:
        log.warning("%s: %s", item.repository.id, item.error)
        status = "refused" if is_refusal(item.error, settings) else "left"
        return {"status": status, "reference": item.error.reference, "text": str(item.error)}
    snapshot = item.snapshot or Snapshot("", 0, 0, 0, 0)
    return {"status": "resolved", "metalink": item.metalink, "sha256": snapshot.sha256, "size": snapshot.size,
            "timestamp": snapshot.timestamp, "revision": snapshot.revision, "mirrors": list(item.mirrors)}


def _await_acceptance(stdin: BinaryIO, found: Sequence[Refreshed], state: State, settings: Settings) -> None:
    """Raise the high-water mark of what the package manager says it has accepted; nothing said, nothing raised."""
    line = stdin.readline(MAX_REQUEST_BYTES)
    if not line.strip():
        return
    accepted = json.loads(line.decode("utf-8")).get("accepted", [])
    with state.locked(settings.deadline) as held:
        for item in found:
            if held and item.snapshot is not None and item.repository.id in accepted:
                state.accept(item.repository.id, item.snapshot)
