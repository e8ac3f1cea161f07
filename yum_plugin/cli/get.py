"""``xcpng-mirrors get``: fetch files or packages from the mirrors; each is verified before it gets its name.

Exit code: 4 if anything was refused, else 3 if anything could not be fetched, else 0.
"""
import argparse
import json
import os
import platform
import sys
import time
from typing import Any, Dict, List, Sequence, Tuple

from ..errors import UsageError
from ..host.keyring import DEFAULT_KEY_PATH
from ..host.repofiles import host_variables, main_options, read_repositories
from ..host.repository_options import reach_of
from ..host.settings import Settings
from ..model import Mirror, Network, Repository
from ..net.download import Rules
from ..packages.get_files import MAX_BYTES, FetchedFile, FetchSite, get_paths
from ..packages.get_packages import ResolvedRepository, get_packages
from ..privsep.gateway import DOWNLOAD_CPU_SECONDS
from ..privsep.parent import separated
from ..resolve.download_plan import rules_of, sources_of
from ..resolve.resolver import Resolver
from ..sources.collector import base_of
from ..state.memory import known_list
from ..state.store import State
from ..util.places import inside
from ..util.text import size_words
from ..util.urls import authority_of
from .common.console import Console, printable, utc
from .common.file_lines import exit_code, signed_words, word
from .common.host_options import REPOSITORY_FOLDERS, SCHEMA, add_host_arguments, describe_error, open_host
from .common.key_options import add_key_arguments, fingerprints_of, keys_of, read_config
from .common.progress import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("names", nargs="+", metavar="PATH|NAME", help="a path on the mirrors, e.g. isos/8.3/xcp-ng-8.3.0.iso; "
                        "with --repo a package of that repository: NAME, NAME-VERSION, NAME-VERSION-RELEASE, also with .ARCH")
    parser.add_argument("--output", default=".", metavar="DIR", help="folder for the files (default: the current one)")
    parser.add_argument("--arch", action="append", default=[], metavar="ARCH",
                        help="architecture of the packages (may be repeated; default: this machine's, and noarch)")
    add_key_arguments(parser)
    add_host_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fetch the files and return the exit code."""
    progress = Progress(not arguments.quiet)

    def on_progress(name: str, received: int, total: Any, mirror: str) -> None:
        progress.update(name, received, total or 0, authority_of(mirror))

    _make_folder(arguments.output)
    try:
        found = (_packages if arguments.repo else _paths)(arguments, on_progress)
    finally:
        progress.clear()
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps({"schema": SCHEMA, "command": "get", "files": [_values(result) for result in found]}, indent=1))
    else:
        for result in found:
            if result.error or not arguments.quiet:
                out.line(_line(result, out.colour))
    return exit_code(result.error for result in found)


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UsageError("usage", "the folder cannot be created: {}".format(error.strerror), where=path) from error


def _paths(arguments: argparse.Namespace, on_progress: Any) -> List[FetchedFile]:
    """Fetch paths; .repo files are not needed, but if there are any, their network settings and remembered mirrors are used."""
    root = os.path.abspath(arguments.installroot)
    settings = read_config(arguments.config or "", root)
    folders = arguments.reposdir or [inside(root, folder) for folder in REPOSITORY_FOLDERS]
    found = [read_repositories(folder, settings, host_variables(root), main_options(root), root=root)[0] for folder in folders]
    repositories = [repository for some in found for repository in some if repository.path]  # those that are on the mirrors
    key_paths, network = [inside(root, DEFAULT_KEY_PATH)], Network(reach=reach_of((), settings))
    if repositories:
        key_paths = list(dict.fromkeys(path for each in repositories for path in each.key_paths))
        network = repositories[0].network
    known = _known_roots(repositories, State(arguments.state_dir or inside(root, settings.state_dir)))
    keys = keys_of(arguments, fingerprints_of(arguments) or settings.fingerprints, key_paths)
    with separated([network], DOWNLOAD_CPU_SECONDS) as gateway:
        site = FetchSite(settings, keys, int(time.time()), gateway, network, known)
        return get_paths(arguments.names, arguments.output, site, _rules(settings), on_progress)


def _known_roots(repositories: Sequence[Repository], state: State) -> Tuple[Mirror, ...]:
    """Return the remembered mirrors, each with its root as URL."""
    found: Dict[str, Mirror] = {}
    for repository in repositories:
        for mirror in known_list(state.load(repository.id).memory).mirrors:
            if mirror.url.endswith("/" + repository.path):
                root = base_of(mirror.url, repository.path)
                found.setdefault(root, mirror._replace(url=root))
    return tuple(found.values())


def _rules(settings: Settings) -> Rules:
    return rules_of(settings)._replace(max_bytes=MAX_BYTES, keep_parts=True)


def _packages(arguments: argparse.Namespace, on_progress: Any) -> List[FetchedFile]:
    host, now = open_host(arguments), int(time.time())
    fingerprints = fingerprints_of(arguments) or host.settings.fingerprints
    repositories = [each._replace(key_paths=tuple(arguments.keys) or each.key_paths, fingerprints=fingerprints)
                    for each in host.repositories]
    keys = [key for repository in repositories for key in keys_of(arguments, fingerprints, repository.key_paths)]
    arches = arguments.arch or [platform.machine().replace("amd64", "x86_64"), "noarch"]
    with host.gateway(DOWNLOAD_CPU_SECONDS) as gateway:
        resolved = []
        for resolution in Resolver(host.settings, host.state.load_all(repositories), gateway=gateway).run(repositories):
            resolution.proven()
            sources = sources_of(resolution.repository, resolution.memory, host.settings, now)
            resolved.append(ResolvedRepository(resolution, sources, gateway.open))
        site = FetchSite(host.settings, keys, now, gateway)
        return get_packages(arguments.names, arches, resolved, arguments.output, site, _rules(host.settings), on_progress)


def _line(result: FetchedFile, colour: bool) -> str:
    start = word(result.error, colour)
    if result.error is not None:
        tried = ", ".join("{}: {}".format(authority_of(attempt.mirror), attempt.reference) for attempt in result.attempts)
        line = "{}  {}  {}".format(start, printable(result.name), printable(str(result.error)))
        return "{}; tried {}".format(line, printable(tried)) if tried else line
    signed = signed_words(result.signed_at, result.fingerprint)
    return "{}  {}  {}, {}, {}".format(start, printable(result.target), printable(result.detail), _origin(result), signed)


def _origin(result: FetchedFile) -> str:
    if not result.attempts:
        return "already there"
    received = sum(attempt.bytes for attempt in result.attempts)
    return "{} from {}".format(size_words(received), printable(authority_of(result.attempts[-1].mirror)))


def _values(result: FetchedFile) -> Dict[str, Any]:
    return {
        "wish": result.name, "file": result.target or None, "ok": result.error is None, "error": describe_error(result.error),
        "reference": result.error.reference if result.error else "", "detail": result.detail,
        "fingerprint": result.fingerprint or None,
        "signed_at": None if result.signed_at is None else utc(result.signed_at),
        "attempts": [{"mirror": attempt.mirror, "reference": attempt.reference, "what": attempt.what, "bytes": attempt.bytes}
                     for attempt in result.attempts],
    }
