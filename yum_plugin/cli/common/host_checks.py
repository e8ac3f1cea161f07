"""The checks of ``xcpng-mirrors doctor``: each looks for one kind of problem on this host, and changes nothing.

Whether the plugin is loaded is what the package manager itself reports: it lists its plugins with -v.
"""
import os
import re
import shlex
import shutil
import ssl
import subprocess
import time
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, MirrorsError, UsageError
from ...host.inifile import MAX_BYTES, parse_ini
from ...host.keyring import RepositoryKeys, disagreements, look_at
from ...host.repofiles import main_options, section_in
from ...host.rpmdb import imported_keys
from ...host.settings import CONFIG_FILES, read_flag, split_words
from ...model import REPOMD, Network, Repository
from ...net.session import FetchLimits
from ...net.tls import make_context
from ...net.transport import proxies_for
from ...pool.precheck import disk_space
from ...privsep.gateway import Gateway
from ...resolve.outcome import UNAUTHENTICATED_SECONDS, unauthenticated_words
from ...sources.redirector import redirector_roots
from ...trust.freshness import duration
from ...util.files import read_capped
from ...util.places import inside
from ...util.text import http_time, size_words
from ...util.urls import authority_of, host_of
from .console import utc
from .host_options import Host
from .mirrors_view import Display, ask_through, views_of

NAME = "xcpng-mirrors"
LEAST_FREE_BYTES = 200 * 10**6
MOST_DRIFT_SECONDS = 300
MANAGER_SECONDS = 60.0
MAX_PAGE_BYTES = 2 * 1024 * 1024  # of an answer of which only the headers are read
DIRECT = Network(proxy="")  # the way to a proxy itself
CLOCK_REMEDY = "chronyc makestep && chronyc sources && timedatectl"
PACKAGES = {"dnf": "python3-dnf-plugin-xcpng-mirrors", "yum": "yum-plugin-xcpng-mirrors"}
FASTESTMIRROR = "/etc/yum/pluginconf.d/fastestmirror.conf"
_LOADED = re.compile(r"^Loaded plugins:(.*(?:\n\s+:.*)*)", re.M)  # yum breaks a long line; the next ones begin with ":"


class HostProblem(NamedTuple):
    """A problem of this host."""

    what: str
    remedy: str  # the command that fixes it, or that shows more where no command can fix it


class CheckedHost(NamedTuple):
    """The host that is checked."""

    host: Host
    root: str
    folders: Sequence[str]  # of .repo files
    now: float
    gateway: Gateway  # for the networks of the repositories, and DIRECT


FoundProblems = Tuple[str, List[HostProblem]]


def _settings(checked: CheckedHost) -> FoundProblems:
    host = checked.host
    problems = [HostProblem(warning, "xcpng-mirrors config") for warning in host.warnings]
    if not host.settings.enabled:
        origin = host.origins["enabled"]
        problems.append(HostProblem("the plugin is switched off ({})".format(origin),
                                    "sed -i '{}s/.*/enabled=1/' {}".format(origin.line, shlex.quote(origin.path))))
    if not (os.path.isfile(host.settings.command) and os.access(host.settings.command, os.X_OK)):
        problems.append(HostProblem("{} is no program".format(host.settings.command), "yum reinstall xcpng-mirrors"))
    return host.config or "no .conf", problems


def _plugin(checked: CheckedHost) -> FoundProblems:
    """Ask each package manager for its loaded plugins; if ours is missing, also check that fastestmirror keeps the fallback."""
    managers = [name for name in ("dnf", "yum") if _is_manager(name)]
    if not managers:
        return "no package manager", [HostProblem("neither yum nor dnf is in PATH", "export PATH=/usr/sbin:/usr/bin:/sbin:/bin")]
    missing = [name for name in managers if NAME not in _loaded_plugins(name, checked.root)]
    problems = [_not_loaded(name, checked) for name in missing]
    excluded = _excluded_origins(checked)
    if "yum" in missing and excluded:
        what = "fastestmirror removes {} from yum's list, so the fallback is never used".format(", ".join(excluded))
        path = shlex.quote(inside(checked.root, FASTESTMIRROR))
        problems.append(HostProblem(what, "sed -i 's/^exclude/#exclude/' {}".format(path)))
    return "loaded by {}".format(" and ".join(name for name in managers if name not in missing) or "none"), problems


def _is_manager(name: str) -> bool:
    """Whether a package manager is installed under its own name; on newer systems "yum" is a link to dnf."""
    path = shutil.which(name)
    return path is not None and (name == "dnf" or not os.path.basename(os.path.realpath(path)).startswith("dnf"))


def _loaded_plugins(name: str, root: str) -> List[str]:
    """Return the plugins that a package manager lists, without the network (-C); empty if it fails."""
    where = [] if root == "/" else ["--installroot", root]
    try:
        done = subprocess.run([name, "-v", "-C"] + where + ["repolist"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=MANAGER_SECONDS, env=dict(os.environ, LC_ALL="C"))
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = _LOADED.search(done.stdout.decode("utf-8", "replace"))
    return re.findall(r"[^\s,:]+", found.group(1)) if found else []


def _not_loaded(name: str, checked: CheckedHost) -> HostProblem:
    conf = {"dnf": CONFIG_FILES[0], "yum": CONFIG_FILES[1]}[name]
    main = inside(checked.root, "/etc/{}".format({"dnf": "dnf/dnf.conf", "yum": "yum.conf"}[name]))
    what = "{} does not load the plugin".format(name)
    if not _flag(main_options(checked.root).get("plugins", "1")):
        return HostProblem("{}: plugins=0 in {}".format(what, main),
                           "sed -i 's/^plugins *=.*/plugins=1/' {}".format(shlex.quote(main)))
    if not os.path.isfile(conf):  # also for an installroot
        what += ": {} is missing".format(conf)
    return HostProblem(what, "{0} reinstall {1} || {0} install {1}".format(name, PACKAGES[name]))


def _excluded_origins(checked: CheckedHost) -> List[str]:
    """Return the hosts of fallbacks= that match exclude= of fastestmirror."""
    try:
        entries = parse_ini(read_capped(inside(checked.root, FASTESTMIRROR), MAX_BYTES)).entries
    except OSError:
        return []
    words = [word for entry in entries if entry.key == "exclude" for word in split_words(entry.value)]
    hosts = [host_of(url) for url in checked.host.settings.fallbacks]
    return [host for host in hosts if any(word in host for word in words)]


def _flag(text: str) -> bool:
    try:
        return read_flag(text)
    except ValueError:
        return False


def _keys(checked: CheckedHost) -> FoundProblems:
    fingerprints = checked.host.settings.fingerprints
    found = [RepositoryKeys(repository, [look_at(path, fingerprints, int(checked.now)) for path in repository.key_paths])
             for repository in checked.host.repositories]
    return "pinned: {}".format(", ".join(fingerprints)), [
        _problem(error) for error in disagreements(found, fingerprints, imported_keys(checked.root), checked.root)]


def _problem(error: MirrorsError, prefix: str = "") -> HostProblem:
    place = " ({})".format(error.where) if error.where else ""
    return HostProblem("{}{}: {}{}".format(prefix, error.reference, error.what, place), error.hint)


def _gpgcheck(checked: CheckedHost) -> FoundProblems:
    main, problems = main_options(checked.root), []
    for repository in checked.host.repositories:
        found = next(filter(None, (section_in(folder, repository.id, checked.root) for folder in checked.folders)), None)
        path, options = found if found is not None else ("", {})
        for key in ("gpgcheck", "repo_gpgcheck"):
            if found is not None and not _flag(options.get(key, main.get(key, "0"))):
                section = r"^\[{}\]".format(repository.id.replace(".", r"\."))
                remedy = r"sed -i -e '/{0}/,/^\[/{{/^{1} *=/d}}' -e '/{0}/a {1}=1' {2}".format(section, key, shlex.quote(path))
                problems.append(HostProblem("{}: {} is off in {}".format(repository.id, key, path), remedy))
    return ", ".join(repository.id for repository in checked.host.repositories), problems


def _space(checked: CheckedHost) -> FoundProblems:
    try:
        spaces = disk_space((), checked.root)
    except OSError as error:
        return "unknown", [HostProblem("{}: {}".format(checked.root, error.strerror),
                                       "df -h {}".format(shlex.quote(checked.root)))]
    problems = [HostProblem("{} free on {}".format(size_words(space.free_bytes), space.path),
                            "{} clean packages".format("dnf" if _is_manager("dnf") else "yum"))
                for space in spaces if space.free_bytes < LEAST_FREE_BYTES]
    state = checked.host.state.folder
    if os.path.isdir(state) and not os.access(state, os.W_OK):
        problems.append(HostProblem("{} cannot be written".format(state), "sudo xcpng-mirrors doctor"))
    problems += [HostProblem(text, "xcpng-mirrors refresh") for text in checked.host.state.problems]
    return ", ".join("{} free on {}".format(size_words(space.free_bytes), space.path) for space in spaces), problems


def _tls(checked: CheckedHost) -> FoundProblems:
    """Load the CA bundle, client certificate and so on of each repository."""
    problems: List[HostProblem] = []
    bundles = []
    for repository in checked.host.repositories:
        network = repository.network
        bundles.append(network.ssl_ca_cert or "the system's")
        try:
            make_context(network)
        except MirrorsError as error:
            problems.append(_problem(error, repository.id + ": "))
        if not network.ssl_verify:
            problems.append(HostProblem("{}: sslverify is off: anybody on the path can see what is fetched".format(repository.id),
                                        "grep -rn sslverify /etc/yum.conf /etc/dnf/dnf.conf {}".format(
                                            " ".join(checked.folders))))
    default = ssl.get_default_verify_paths()
    if "the system's" in bundles and not (default.cafile or default.capath):
        problems.append(HostProblem("there is no CA bundle", "yum reinstall ca-certificates"))
    return "CA bundle: {}".format(", ".join(sorted(set(bundles)))), problems


def _confinement(checked: CheckedHost) -> FoundProblems:
    """Say what this host lacks to confine the process that talks to the mirrors; nothing of it makes an update wrong."""
    try:
        return checked.gateway.confinement(), []
    except MirrorsError as error:
        return "none", [_problem(error)]


def _network(checked: CheckedHost) -> FoundProblems:
    """Ask the redirector with the network settings of the repositories, and compare its clock with this host's."""
    settings, details = checked.host.settings, []
    problems: List[HostProblem] = []
    asked = {repository.network: repository for repository in checked.host.repositories if repository.path}
    for repository in asked.values():
        roots = redirector_roots(repository, settings.redirectors)
        error: Optional[FetchError] = None
        for url in [root + repository.path + REPOMD for root in roots][::-1]:  # http first: it works with a wrong clock, too
            try:
                details.append(_drift(url, repository, checked, problems))
                error = None
                break
            except FetchError as failure:
                error = failure
            except UsageError as failure:
                if failure.reference == "sandbox":  # the others are bad TLS files, which _tls reports
                    problems.append(_problem(failure))
                break
        if error is not None:
            problems.append(_unreachable(error, repository, roots[0], checked))
    remembered = checked.host.state.load_all(checked.host.repositories).values()
    since = min([each.memory.unauthenticated_since for each in remembered if each.memory.unauthenticated_since] or [checked.now])
    if checked.now - since >= UNAUTHENTICATED_SECONDS:
        problems.append(HostProblem(unauthenticated_words(since, checked.now),
                                    "curl -v {}".format(shlex.quote((settings.fallbacks or ("https://HOST/",))[0]))))
    signed = [each.accepted.signed_at for each in remembered if each.accepted is not None]
    if signed and max(signed) > checked.now + MOST_DRIFT_SECONDS:
        what = "this host's clock is behind: it has accepted metadata that was signed {}".format(utc(max(signed)))
        problems.append(HostProblem(what, CLOCK_REMEDY))
    return "; ".join(details) or "no answer", problems


def _drift(url: str, repository: Repository, checked: CheckedHost, problems: List[HostProblem]) -> str:
    """Ask a server, and compare its Date (RFC 9110, 6.6.1) with this host's clock."""
    settings = checked.host.settings
    limits = FetchLimits(MAX_PAGE_BYTES, settings.connect_timeout, settings.read_timeout)
    with checked.gateway.open(repository.network, settings.deadline) as client:
        with client.open(url, limits, accept=tuple(range(200, 500))) as stream:
            date = http_time(stream.headers.get("date", ""))
    if date is None:
        return "{} answers".format(authority_of(url))
    ahead = time.time() - date
    if abs(ahead) > MOST_DRIFT_SECONDS:
        problems.append(HostProblem("this host's clock is {} {} that of {}".format(
            duration(int(abs(ahead))), "ahead of" if ahead > 0 else "behind", authority_of(url)), CLOCK_REMEDY))
    return "{} answers, its clock differs by {:.0f} s".format(authority_of(url), abs(ahead))


def _unreachable(error: FetchError, repository: Repository, root: str, checked: CheckedHost) -> HostProblem:
    """Return which part of the connection fails: the name lookup, the proxy, or the server."""
    proxies = list(proxies_for(repository.network, root).values())
    first = proxies[0] if proxies else root
    host, seconds = host_of(first), checked.host.settings.connect_timeout
    with checked.gateway.open(DIRECT, 4 * seconds) as client:
        found = checked.gateway.reachability(client, first, DIRECT, seconds)
    if found.ipv4 == found.ipv6 == "none":
        return HostProblem("the name {} cannot be resolved".format(host),
                           "getent hosts {}; cat /etc/resolv.conf".format(shlex.quote(host)))
    if proxies:
        places = " ".join(shlex.quote(folder) for folder in checked.folders)
        return HostProblem("no answer through the proxy {}: {}".format(host, error.what),
                           "grep -rni proxy /etc/yum.conf /etc/dnf/dnf.conf {}; env | grep -i proxy".format(places))
    return _problem(error)


def _mirrors(checked: CheckedHost) -> FoundProblems:
    """Ask every mirror; a refused mirror, or a repository without a usable one, is a problem; a failed mirror is a detail."""
    views = views_of(checked.host)
    ask_through(checked.gateway, checked.host, views, Display(views, wanted=False, as_table=False))
    details: List[str] = []
    problems: List[HostProblem] = []
    for view in views:
        details.append(view.summary(checked.now))
        if view.error is not None:
            problems.append(_problem(view.error, view.repository.id + ": "))
        for row in view.rows():
            words = "{}: {}".format(authority_of(row.mirror.url), ": ".join(filter(None, (row.state, row.reference, row.detail))))
            if row.state == "refused":
                problems.append(HostProblem(words, "xcpng-mirrors mirrors --repo {}".format(view.repository.id)))
            elif row.state != "ok":
                details.append(words)
    return "; ".join(details), problems


CHECKS: Sequence[Tuple[str, Callable[[CheckedHost], FoundProblems]]] = (
    ("settings", _settings), ("plugin", _plugin), ("keys", _keys), ("gpgcheck", _gpgcheck), ("space", _space), ("tls", _tls),
    ("confinement", _confinement),
    ("network", _network), ("mirrors", _mirrors),
)
