"""What the subcommands share: the options that say which host, and what was found there."""
import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, ContextManager, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...errors import MirrorsError, UsageError
from ...host.log import FORMAT, open_log
from ...host.repofiles import host_variables, main_options, read_repositories
from ...host.settings import CONFIG_FILES, FRAGMENT_FOLDER, SettingOrigin, Settings, config_file, fragments_of, read_settings
from ...model import Repository, Snapshot
from ...state.store import SnapshotPin, State
from ...util.files import inside
from .console import Console, printable, utc

if TYPE_CHECKING:
    from ...privsep.gateway import Gateway

SCHEMA = 1  # of everything that --json prints; a field is only ever added to a schema
NOTES = {  # of a Resolution and a Decision
    "freeze": "freeze: nothing newer is offered, and this is older than max_age",
    "propagating": "propagating: the redirector names another revision that no mirror was seen to serve yet",
    "pinned": "pinned: what the pool agreed on was used in its place; 'xcpng-mirrors precheck --unpin' lifts that",
    "accept-rollback": "--accept-rollback was given: an older revision than before was accepted, if it is older",
}
REPOSITORY_FOLDERS = ("/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d")  # dnf.conf(5): reposdir


class Host(NamedTuple):
    """What the options lead to."""

    config: str  # path of the .conf; "" if there is none
    settings: Settings
    origins: Mapping[str, SettingOrigin]  # see config.Reading
    repositories: Tuple[Repository, ...]  # at least one
    state: State
    warnings: Tuple[str, ...]

    def gateway(self) -> "ContextManager[Gateway]":
        """Reach the network: for root by a process that has given up root. To be called before any thread is started."""
        from ...privsep.gateway import RESOLVE_CPU_SECONDS
        from ...privsep.parent import separated  # late: some subcommands ask nobody, and start the sooner
        return separated([repository.network for repository in self.repositories], RESOLVE_CPU_SECONDS)

    def tell(self, repository_id: str, text: str) -> None:
        """Say on stderr what is wrong."""
        Console(sys.stderr).line("xcpng-mirrors: {}: {}".format(repository_id, printable(text)))


def add_host_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that every subcommand about repositories has."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, times in UTC and seconds")
    parser.add_argument("--repo", action="append", default=[], metavar="ID", help="only this repository, also if it is "
                        "disabled (may be repeated; default: the enabled ones that repos= in the .conf names)")
    add_config_arguments(parser)
    parser.add_argument("--reposdir", action="append", default=[], metavar="DIR",
                        help="folder of .repo files (may be repeated; default: {})".format(", ".join(REPOSITORY_FOLDERS)))
    parser.add_argument("--state-dir", metavar="DIR", help="what is remembered (default: state_dir= in the .conf)")


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say whose settings count."""
    parser.add_argument("--config", default="", metavar="FILE", help="the .conf, read before {}/*.conf (default: the first of "
                        "{})".format(FRAGMENT_FOLDER, ", ".join(CONFIG_FILES)))
    parser.add_argument("--installroot", default="/", metavar="DIR", help="the host whose root this folder is")


def open_host(arguments: argparse.Namespace) -> Host:
    """Read settings and .repo files, and open log and state.

    Args:
        arguments: with the options of ``add_host_arguments``, ``verbose`` and ``quiet``.

    Returns:
        The host; its warnings have been told.

    Raises:
        UsageError: a file named by an option is missing, or no repository is ours.
    """
    root = os.path.abspath(arguments.installroot)
    config = config_file(arguments.config, root)
    settings, problems, origins, _ = read_settings(config, fragments_of(root))
    open_log(inside(root, settings.log_file), settings.log_level)
    if arguments.verbose > 1:
        _log_to_stderr()
    repositories, more = _repositories(arguments, root, settings)
    state = State(arguments.state_dir or inside(root, settings.state_dir))
    host = Host(config, settings, origins, repositories, state, tuple(problems) + tuple(more))
    for warning in host.warnings:
        Console(sys.stderr).line("xcpng-mirrors: {}".format(printable(warning)))
    return host


def _existing(path: str, exists: Any) -> str:
    if not exists(path):
        raise UsageError("usage", "there is no such file or folder", where=path)
    return path


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.getLogger("xcpng-mirrors").addHandler(handler)


def _repositories(arguments: argparse.Namespace, root: str, settings: Settings) -> Tuple[Tuple[Repository, ...], List[str]]:
    """Read the .repo files; of a repository in two folders the first counts."""
    named = [_existing(folder, os.path.isdir) for folder in arguments.reposdir]
    folders = named or [inside(root, folder) for folder in REPOSITORY_FOLDERS]
    found: Dict[str, Repository] = {}
    warnings: List[str] = []
    for folder in folders:
        repositories, problems = read_repositories(folder, settings, host_variables(root), main_options(root), arguments.repo)
        warnings += problems
        for repository in repositories:
            found.setdefault(repository.id, repository)
    _refuse_missing(arguments.repo, found, settings, folders, warnings)
    return tuple(found.values()), warnings


def _refuse_missing(wanted: Sequence[str], found: Dict[str, Repository], settings: Settings, folders: Sequence[str],
                    warnings: Sequence[str]) -> None:
    """Raise UsageError if a repository that was asked for, or any at all, is missing; say why if that is known."""
    missing = [repository_id for repository_id in wanted if repository_id not in found]
    if found and not missing:
        return
    names = missing or settings.repos
    reasons = "".join("; " + warning for warning in warnings[:3])
    raise UsageError("no-repository", "no repository of ours is called {}{}".format(" or ".join(names), reasons),
                     where=", ".join(folders))


def describe_error(error: Optional[MirrorsError]) -> Optional[Dict[str, Any]]:
    """Return an error for --json."""
    if error is None:
        return None
    return {"reference": error.reference, "what": error.what, "where": error.where, "hint": error.hint,
            "exit_code": error.exit_code}


def snapshot_values(snapshot: Optional[Snapshot], now: float) -> Optional[Dict[str, Any]]:
    """Return a snapshot for --json; ``updated_at`` is when its newest data was made."""
    if snapshot is None:
        return None
    return {"revision": snapshot.revision, "sha256": snapshot.sha256, "size_bytes": snapshot.size,
            "updated_at": utc(snapshot.timestamp), "signed_at": utc(snapshot.signed_at),
            "age_seconds": int(now - snapshot.timestamp)}


def pin_values(pin: Optional[SnapshotPin], now: float) -> Optional[Dict[str, Any]]:
    """Return a pin that holds for --json."""
    if pin is None:
        return None
    return dict(snapshot_values(pin.snapshot, now) or {}, taken_at=utc(pin.taken_at), expires_at=utc(pin.expires))
