"""``xcpng-mirrors doctor``: what is wrong on this host, each problem with the command that mends it. Changes nothing.

The checks, in this order: settings, plugin, keys, gpgcheck, space, tls, network (name, proxy, clock), mirrors.
Whether the plugin is loaded is asked of the package manager itself: it lists its plugins with -v.
"""
import argparse
import email.utils
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import EXIT_OK, EXIT_PROBLEM, FetchError, MirrorsError
from ..host.inifile import MAX_BYTES, parse_ini
from ..host.keyring import RepositoryKeys, disagreements, look_at
from ..host.repofiles import main_options, section_in
from ..host.rpmdb import imported_keys
from ..host.settings import CONFIG_FILES, read_flag, split_words
from ..model import REPOMD, Repository
from ..net.fetch import FetchLimits, HttpSession
from ..net.tls import make_context
from ..net.transport import proxies_for
from ..pool.precheck import disk_space
from ..sources.redirector import redirector_roots
from ..trust.freshness import duration
from ..util.files import inside, read_capped
from ..util.text import size_words
from ..util.urls import authority_of, host_of
from .common.check_lines import verdict_lines
from .common.console import Console, utc
from .common.host_options import REPOSITORY_FOLDERS, SCHEMA, Host, add_host_arguments, open_host
from .common.mirrors_view import Display, ask_everyone, views_of

NAME = "xcpng-mirrors"
LEAST_FREE_BYTES = 200 * 10**6
MOST_DRIFT_SECONDS = 300
MANAGER_SECONDS = 60.0
MAX_PAGE_BYTES = 2 * 1024 * 1024
CLOCK_REMEDY = "timedatectl set-ntp true && timedatectl"
PACKAGES = {"dnf": "python3-dnf-plugin-xcpng-mirrors", "yum": "yum-plugin-xcpng-mirrors"}
FASTESTMIRROR = "/etc/yum/pluginconf.d/fastestmirror.conf"
_LOADED = re.compile(r"^Loaded plugins:(.*(?:\n\s+:.*)*)", re.M)  # yum breaks a long line


class HostProblem(NamedTuple):
    """Something wrong."""

    what: str
    remedy: str  # the command that mends it, or tells more where no command can


class CheckedHost(NamedTuple):
    """What is examined."""

    host: Host
    root: str
    folders: Sequence[str]  # of .repo files
    now: float


class HostCheck(NamedTuple):
    """What one check found."""

    name: str
    detail: str  # what was found, if all is well or not
    problems: Sequence[HostProblem]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_host_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Examine, tell, and return the exit code: 1 if anything is wrong."""
    root = os.path.abspath(arguments.installroot)
    host = open_host(arguments)
    folders = arguments.reposdir or [inside(root, folder) for folder in REPOSITORY_FOLDERS]
    patient = CheckedHost(host, root, folders, time.time())
    out = Console(sys.stdout)
    checks = []
    for name, check in CHECKS:
        detail, problems = check(patient)
        checks.append(HostCheck(name, detail, problems))
        if not arguments.json and (problems or not arguments.quiet):
            out.write("".join(line + "\n" for line in _lines(checks[-1], out)))
    if arguments.json:
        out.line(json.dumps(_values(checks, host, patient.now), indent=1))
    return EXIT_PROBLEM if any(check.problems for check in checks) else EXIT_OK


_Found = Tuple[str, List[HostProblem]]


def _settings(patient: CheckedHost) -> _Found:
    host = patient.host
    problems = [HostProblem(warning, "xcpng-mirrors config") for warning in host.warnings]
    if not host.settings.enabled:
        origin = host.origins["enabled"]
        problems.append(HostProblem("the plugin is switched off ({})".format(origin),
                                    "sed -i '{}s/.*/enabled=1/' {}".format(origin.line, shlex.quote(origin.path))))
    if not (os.path.isfile(host.settings.command) and os.access(host.settings.command, os.X_OK)):
        problems.append(HostProblem("{} is no program".format(host.settings.command), "yum reinstall xcpng-mirrors"))
    return host.config or "no .conf", problems


def _plugin(patient: CheckedHost) -> _Found:
    """Ask each package manager which plugins it has loaded; where ours is not, say why fastestmirror matters then."""
    managers = [name for name in ("dnf", "yum") if _is_manager(name)]
    if not managers:
        return "no package manager", [HostProblem("neither yum nor dnf is here", "export PATH=/usr/sbin:/usr/bin:/sbin:/bin")]
    missing = [name for name in managers if NAME not in _loaded_plugins(name, patient.root)]
    problems = [_not_loaded(name, patient) for name in missing]
    excluded = _excluded_origins(patient)
    if "yum" in missing and excluded:
        what = "fastestmirror takes {} from yum's list, so the fallback is never used".format(", ".join(excluded))
        path = shlex.quote(inside(patient.root, FASTESTMIRROR))
        problems.append(HostProblem(what, "sed -i 's/^exclude/#exclude/' {}".format(path)))
    return "loaded by {}".format(" and ".join(name for name in managers if name not in missing) or "none"), problems


def _is_manager(name: str) -> bool:
    """Whether a package manager is here under its own name; on newer systems "yum" is dnf."""
    path = shutil.which(name)
    return path is not None and (name == "dnf" or not os.path.basename(os.path.realpath(path)).startswith("dnf"))


def _loaded_plugins(name: str, root: str) -> List[str]:
    """Let a package manager list its plugins, without the network (-C); empty if it fails."""
    where = [] if root == "/" else ["--installroot", root]
    try:
        done = subprocess.run([name, "-v", "-C"] + where + ["repolist"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=MANAGER_SECONDS, env=dict(os.environ, LC_ALL="C"))
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = _LOADED.search(done.stdout.decode("utf-8", "replace"))
    return re.findall(r"[^\s,:]+", found.group(1)) if found else []


def _not_loaded(name: str, patient: CheckedHost) -> HostProblem:
    conf = {"dnf": CONFIG_FILES[0], "yum": CONFIG_FILES[1]}[name]
    main = inside(patient.root, "/etc/{}".format({"dnf": "dnf/dnf.conf", "yum": "yum.conf"}[name]))
    what = "{} does not load the plugin".format(name)
    if not _flag(main_options(patient.root).get("plugins", "1")):
        return HostProblem("{}: plugins=0 in {}".format(what, main),
                           "sed -i 's/^plugins *=.*/plugins=1/' {}".format(shlex.quote(main)))
    if not os.path.isfile(inside(patient.root, conf)):
        what += ": {} is missing".format(inside(patient.root, conf))
    return HostProblem(what, "{0} reinstall {1} || {0} install {1}".format(name, PACKAGES[name]))


def _excluded_origins(patient: CheckedHost) -> List[str]:
    """Return the hosts of fallbacks= that fastestmirror's exclude= names."""
    try:
        entries = parse_ini(read_capped(inside(patient.root, FASTESTMIRROR), MAX_BYTES)).entries
    except OSError:
        return []
    words = [word for entry in entries if entry.key == "exclude" for word in split_words(entry.value)]
    hosts = [host_of(url) for url in patient.host.settings.fallbacks]
    return [host for host in hosts if any(word in host for word in words)]


def _flag(text: str) -> bool:
    try:
        return read_flag(text)
    except ValueError:
        return False


def _keys(patient: CheckedHost) -> _Found:
    fingerprints = patient.host.settings.fingerprints
    found = [RepositoryKeys(repository, [look_at(path, fingerprints, int(patient.now)) for path in repository.key_paths])
             for repository in patient.host.repositories]
    return "pinned: {}".format(", ".join(fingerprints)), [
        _problem(error) for error in disagreements(found, fingerprints, imported_keys(patient.root), patient.root)]


def _problem(error: MirrorsError, prefix: str = "") -> HostProblem:
    place = " ({})".format(error.where) if error.where else ""
    return HostProblem("{}{}: {}{}".format(prefix, error.reference, error.what, place), error.hint)


def _gpgcheck(patient: CheckedHost) -> _Found:
    main, problems = main_options(patient.root), []
    for repository in patient.host.repositories:
        found = next(filter(None, (section_in(folder, repository.id) for folder in patient.folders)), None)
        path, options = found if found is not None else ("", {})
        for key in ("gpgcheck", "repo_gpgcheck"):
            if found is not None and not _flag(options.get(key, main.get(key, "0"))):
                section = r"^\[{}\]".format(repository.id.replace(".", r"\."))
                remedy = r"sed -i -e '/{0}/,/^\[/{{/^{1} *=/d}}' -e '/{0}/a {1}=1' {2}".format(section, key, shlex.quote(path))
                problems.append(HostProblem("{}: {} is off in {}".format(repository.id, key, path), remedy))
    return ", ".join(repository.id for repository in patient.host.repositories), problems


def _space(patient: CheckedHost) -> _Found:
    try:
        spaces = disk_space((), patient.root)
    except OSError as error:
        return "unknown", [HostProblem("{}: {}".format(patient.root, error.strerror),
                                       "df -h {}".format(shlex.quote(patient.root)))]
    problems = [HostProblem("{} free on {}".format(size_words(space.free_bytes), space.path),
                            "{} clean packages".format("dnf" if _is_manager("dnf") else "yum"))
                for space in spaces if space.free_bytes < LEAST_FREE_BYTES]
    state = patient.host.state.folder
    if os.path.isdir(state) and not os.access(state, os.W_OK):
        problems.append(HostProblem("{} cannot be written".format(state), "sudo xcpng-mirrors doctor"))
    problems += [HostProblem(text, "xcpng-mirrors refresh") for text in patient.host.state.problems]
    return ", ".join("{} free on {}".format(size_words(space.free_bytes), space.path) for space in spaces), problems


def _tls(patient: CheckedHost) -> _Found:
    """Load the CA bundle, client certificate and so on of each repository."""
    problems: List[HostProblem] = []
    bundles = []
    for repository in patient.host.repositories:
        network = repository.network
        bundles.append(network.ssl_ca_cert or "the system's")
        try:
            make_context(network)
        except MirrorsError as error:
            problems.append(_problem(error, repository.id + ": "))
        if not network.ssl_verify:
            problems.append(HostProblem("{}: sslverify is off: anybody on the way can see what is fetched".format(repository.id),
                                        "grep -rn sslverify /etc/yum.conf /etc/dnf/dnf.conf {}".format(
                                            " ".join(patient.folders))))
    default = ssl.get_default_verify_paths()
    if "the system's" in bundles and not (default.cafile or default.capath):
        problems.append(HostProblem("there is no CA bundle", "yum reinstall ca-certificates"))
    return "CA bundle: {}".format(", ".join(sorted(set(bundles)))), problems


def _network(patient: CheckedHost) -> _Found:
    """Ask the redirector, by the way that the repositories take: name, proxy, answer; and compare its clock with ours."""
    settings, details = patient.host.settings, []
    problems: List[HostProblem] = []
    asked = {repository.network: repository for repository in patient.host.repositories if repository.path}
    for repository in asked.values():
        roots = redirector_roots(repository, settings.redirectors)
        error: Optional[FetchError] = None
        for url in [root + repository.path + REPOMD for root in roots][::-1]:  # http first: no wrong clock spoils its answer
            try:
                details.append(_drift(url, repository, patient, problems))
                error = None
                break
            except FetchError as failure:
                error = failure
            except MirrorsError:  # of a TLS file: told by another check
                break
        if error is not None:
            problems.append(_unreachable(error, repository, roots[0], patient))
    remembered = patient.host.state.load_all(patient.host.repositories).values()
    signed = [each.accepted.signed_at for each in remembered if each.accepted is not None]
    if signed and max(signed) > patient.now + MOST_DRIFT_SECONDS:
        what = "this host's clock is behind: it has accepted what was signed {}".format(utc(max(signed)))
        problems.append(HostProblem(what, CLOCK_REMEDY))
    return "; ".join(details) or "no answer", problems


def _drift(url: str, repository: Repository, patient: CheckedHost, problems: List[HostProblem]) -> str:
    """Ask a server, and compare its Date (RFC 9110, 6.6.1) with our clock."""
    settings = patient.host.settings
    limits = FetchLimits(MAX_PAGE_BYTES, settings.connect_timeout, settings.read_timeout)
    with HttpSession(repository.network, make_context(repository.network), settings.deadline) as client:
        with client.open(url, limits, accept=tuple(range(200, 500))) as stream:
            date = email.utils.parsedate_tz(stream.headers.get("date", ""))
    if date is None:
        return "{} answers".format(authority_of(url))
    ahead = time.time() - email.utils.mktime_tz(date)
    if abs(ahead) > MOST_DRIFT_SECONDS:
        problems.append(HostProblem("this host's clock is {} {} that of {}".format(
            duration(int(abs(ahead))), "ahead of" if ahead > 0 else "behind", authority_of(url)), CLOCK_REMEDY))
    return "{} answers, its clock differs by {:.0f} s".format(authority_of(url), abs(ahead))


def _unreachable(error: FetchError, repository: Repository, root: str, patient: CheckedHost) -> HostProblem:
    """Say which part of the way is broken: the name, the proxy, or what is behind them."""
    proxies = list(proxies_for(repository.network, root).values())
    host = host_of(proxies[0] if proxies else root)
    try:
        socket.getaddrinfo(host, None)
    except OSError as failure:
        return HostProblem("the name {} cannot be looked up: {}".format(host, failure.strerror),
                           "getent hosts {}; cat /etc/resolv.conf".format(shlex.quote(host)))
    if proxies:
        places = " ".join(shlex.quote(folder) for folder in patient.folders)
        return HostProblem("no answer through the proxy {}: {}".format(host, error.what),
                           "grep -rni proxy /etc/yum.conf /etc/dnf/dnf.conf {}; env | grep -i proxy".format(places))
    return _problem(error)


def _mirrors(patient: CheckedHost) -> _Found:
    """Ask every mirror; one that fails is left, one that is refused or a repository without any is a problem."""
    views = views_of(patient.host)
    ask_everyone(patient.host, views, Display(views, wanted=False, as_table=False))
    details: List[str] = []
    problems: List[HostProblem] = []
    for view in views:
        details.append(view.summary(patient.now))
        if view.error is not None:
            problems.append(_problem(view.error, view.repository.id + ": "))
        for row in view.rows():
            words = "{}: {}".format(authority_of(row.mirror.url), ": ".join(filter(None, (row.state, row.reference, row.detail))))
            if row.state == "refused":
                problems.append(HostProblem(words, "xcpng-mirrors mirrors --repo {}".format(view.repository.id)))
            elif row.state != "ok":
                details.append(words)
    return "; ".join(details), problems


CHECKS: Sequence[Tuple[str, Callable[[CheckedHost], _Found]]] = (
    ("settings", _settings), ("plugin", _plugin), ("keys", _keys), ("gpgcheck", _gpgcheck), ("space", _space), ("tls", _tls),
    ("network", _network), ("mirrors", _mirrors),
)


def _lines(check: HostCheck, out: Console) -> List[str]:
    word, style = ("PROBLEM", "bad") if check.problems else ("ok", "good")
    return verdict_lines(word, style, check.name, check.detail.split("; "), check.problems, out)


def _values(checks: Sequence[HostCheck], host: Host, now: float) -> Dict[str, Any]:
    return {"schema": SCHEMA, "command": "doctor", "examined_at": utc(now), "fine": not any(check.problems for check in checks),
            "warnings": list(host.warnings),
            "checks": [{"name": check.name, "ok": not check.problems, "detail": check.detail,
                        "problems": [dict(problem._asdict()) for problem in check.problems]} for check in checks]}
