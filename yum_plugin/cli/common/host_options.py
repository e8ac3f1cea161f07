"""The options that select the host, and what was found there."""
import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, ContextManager, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...errors import MirrorsError, UsageError
from ...host.log import FORMAT, open_log
from ...host.repofiles import host_variables, main_options, read_repositories
from ...host.settings import CONFIG_FILES, FRAGMENT_FOLDER, SettingOrigin, Settings, config_file, read_host_settings
from ...model import Network, Repository, Snapshot
from ...state.memory import SnapshotPin
from ...state.store import State
from ...util.places import inside
from .console import Console, printable, utc

if TYPE_CHECKING:
    from ...privsep.gateway import Gateway

SCHEMA = 1  # of everything that --json prints; fields may be added to a schema, but none is removed or changed
NOTES = {  # the note of a Resolution or a Decision, in words
    "freeze": "freeze: nothing newer is offered, and this is older than max_age=",
    "propagating": "propagating: the redirector names another revision, which no mirror was seen to serve yet",
    "pinned": "pinned: the revision that the pool agreed on was used; 'xcpng-mirrors precheck --unpin' removes the pin",
    "single-voice": "single voice: one mirror alone offered it, and neither the redirector nor the origin named it; it is used "
                    "because this host had nothing before, and does not become the high-water mark until a second one names it",
    "unconfirmed": "unconfirmed: one mirror alone offered something newer, which nobody else names; what this host has accepted "
                   "stayed in use",
    "accept-rollback": "--accept-rollback was given: an older revision than before was accepted, if it is older",
}
REPOSITORY_FOLDERS = ("/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d")  # dnf.conf(5): reposdir


class Host(NamedTuple):
    """The host that the options select."""

    config: str  # path of the .conf; "" if there is none
    settings: Settings
    origins: Mapping[str, SettingOrigin]  # see LoadedSettings
    repositories: Tuple[Repository, ...]  # at least one
    state: State
    warnings: Tuple[str, ...]

    def gateway(self, cpu_seconds: int = 0, more: Sequence[Network] = ()) -> "ContextManager[Gateway]":
        """Open the way to the network: root starts a process without privileges, so call this before any thread is started.

        Args:
            cpu_seconds: see ``privsep.parent.separated``; 0: enough for a resolution.
            more: other networks than those of the repositories.
        """
        from ...privsep.gateway import RESOLVE_CPU_SECONDS
        from ...privsep.parent import separated  # late: subcommands that use no network start faster
        networks = [repository.network for repository in self.repositories] + list(more)
        return separated(networks, cpu_seconds or RESOLVE_CPU_SECONDS)

    def warn(self, subject: str, text: str) -> None:
        """Report a problem on stderr; the subject is a repository or a part of the command."""
        Console(sys.stderr).line("xcpng-mirrors: {}: {}".format(subject, printable(text)))


def add_host_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of every subcommand about repositories."""
    parser.add_argument("--json", action="store_true", help="print one JSON object; times are in UTC, durations in seconds")
    parser.add_argument("--repo", action="append", default=[], metavar="ID", help="only this repository, even if it is "
                        "disabled (may be repeated; default: the enabled ones that match repos= in the .conf)")
    add_config_arguments(parser)
    parser.add_argument("--reposdir", action="append", default=[], metavar="DIR",
                        help="folder of .repo files (may be repeated; default: {})".format(", ".join(REPOSITORY_FOLDERS)))
    parser.add_argument("--state-dir", metavar="DIR", help="folder of the state (default: state_dir= in the .conf)")


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that select the settings."""
    parser.add_argument("--config", default="", metavar="FILE", help="the .conf, read before {}/*.conf (default: the first of "
                        "{})".format(FRAGMENT_FOLDER, ", ".join(CONFIG_FILES)))
    parser.add_argument("--installroot", default="/", metavar="DIR", help="root folder of the host (default: /)")


def open_host(arguments: argparse.Namespace) -> Host:
    """Read settings and .repo files, and open log and state.

    Args:
        arguments: with the options of ``add_host_arguments``, ``verbose`` and ``quiet``.

    Returns:
        The host; its warnings have been shown on stderr.

    Raises:
        UsageError: a file or folder that an option names is missing, or no repository matches repos=.
    """
    root = os.path.abspath(arguments.installroot)
    settings, problems, origins, _ = read_host_settings(arguments.config, root)
    open_log(inside(root, settings.log_file), settings.log_level)
    if arguments.verbose > 1:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(FORMAT))
        logging.getLogger("xcpng-mirrors").addHandler(handler)
    repositories, more = _repositories(arguments, root, settings)
    state = State(arguments.state_dir or inside(root, settings.state_dir))
    host = Host(config_file(arguments.config), settings, origins, repositories, state, tuple(problems) + tuple(more))
    for warning in host.warnings:
        Console(sys.stderr).line("xcpng-mirrors: {}".format(printable(warning)))
    return host


def _repositories(arguments: argparse.Namespace, root: str, settings: Settings) -> Tuple[Tuple[Repository, ...], List[str]]:
    """Read the .repo files; a repository that is in two folders is taken from the first."""
    for folder in arguments.reposdir:
        if not os.path.isdir(folder):
            raise UsageError("usage", "there is no such file or folder", where=folder)
    folders = arguments.reposdir or [inside(root, folder) for folder in REPOSITORY_FOLDERS]
    found: Dict[str, Repository] = {}
    warnings: List[str] = []
    for folder in folders:
        repositories, problems = read_repositories(folder, settings, host_variables(root), main_options(root), arguments.repo,
                                                   root=root)
        warnings += problems
        for repository in repositories:
            found.setdefault(repository.id, repository)
    _refuse_missing(arguments.repo, found, settings, folders, warnings)
    return tuple(found.values()), warnings


def _refuse_missing(wanted: Sequence[str], found: Dict[str, Repository], settings: Settings, folders: Sequence[str],
                    warnings: Sequence[str]) -> None:
    """Raise UsageError if a wanted repository is missing, or if there is none at all; the error names the reasons."""
    missing = [repository_id for repository_id in wanted if repository_id not in found]
    if found and not missing:
        return
    names = missing or settings.repos
    reasons = "".join("; " + warning for warning in warnings[:3])
    raise UsageError("no-repository", "no usable repository matches {}{}".format(" or ".join(names), reasons),
                     where=", ".join(folders))


def describe_error(error: Optional[MirrorsError]) -> Optional[Dict[str, Any]]:
    """Return an error as --json prints it."""
    if error is None:
        return None
    return {"reference": error.reference, "what": error.what, "where": error.where, "hint": error.hint,
            "exit_code": error.exit_code}


def snapshot_values(snapshot: Optional[Snapshot], now: float) -> Optional[Dict[str, Any]]:
    """Return a snapshot as --json prints it; ``updated_at`` is the time of its newest data."""
    if snapshot is None:
        return None
    return {"revision": snapshot.revision, "sha256": snapshot.sha256, "size_bytes": snapshot.size,
            "updated_at": utc(snapshot.timestamp), "signed_at": utc(snapshot.signed_at),
            "age_seconds": int(now - snapshot.timestamp)}


def pin_values(pin: Optional[SnapshotPin], now: float) -> Optional[Dict[str, Any]]:
    """Return an active snapshot pin as --json prints it."""
    if pin is None:
        return None
    return dict(snapshot_values(pin.snapshot, now) or {}, taken_at=utc(pin.taken_at), expires_at=utc(pin.expires))
