"""The yum 3.4.3 plugin: before yum asks for metadata, fill its cache with proven files; later, bring verified packages.

Python 2.7 and 3. yum calls the hooks in the order of this file, each of them possibly several times. It calls the first
one also for clean, list and yum-config-manager, which may write the options of a repository to its .repo file.
A PluginYumExit ends yum with its message and exit code 1; after any other exception yum works as it does without the plugin.
"""
from __future__ import absolute_import

import atexit
import functools
import os
import time
import types

from yum.plugins import TYPE_CORE, PluginYumExit

requires_api_version = "2.5"
plugin_type = (TYPE_CORE,)  # yum loads other types only for its command, not for API users (Xen Orchestra)
NAME = "xcpng-mirrors"
# Commands of yum(8) that install packages, by the beginning of their names: update-to, groupinstall and so on match, too.
INSTALLING = ("install", "update", "upgrade", "distro", "distribution-sync", "reinstall", "downgrade", "local", "group", "swap",
              "shell")
LOOKING = ("updateinfo", "grouplist", "groupinfo")
# What yum reads of every repository (yumRepo.py:_commonRetrieveDataMD_list); it prefers the databases where there are some.
# Files that the cache has had before are filled too: filelists for some commands, other for changelogs.
TYPES = ("primary", "primary_db", "group", "group_gz", "updateinfo", "prestodelta")


def _load_bridge():
    """Load bridge.py from the real folder of this file; that must not enter sys.path, because it has a ``yum.py``."""
    source = os.path.splitext(__file__)[0] + ".py"  # on Python 2.7 __file__ may be the .pyc, which is no link
    path = os.path.join(os.path.dirname(os.path.realpath(source)), "bridge.py")
    module = types.ModuleType("xcpng_mirrors_bridge")
    with open(path) as stream:
        exec(compile(stream.read(), path, "exec"), module.__dict__)  # this way no .pyc is written there
    return module


bridge = _load_bridge()


class Handled(object):
    """What the plugin knows about a repository; yum's object has it as its attribute ``_xcpng_mirrors``.

    Args:
        request: the repository as the engine wants it.
        cache: see bridge.Cache.
    """

    def __init__(self, request, cache):
        self.request = request
        self.cache = cache
        self.sha256 = ""  # of the proven repomd.xml in the cache, until it is known what yum has loaded
        self.is_left = False  # it is yum's own business in this run


class DoneRepos(set):  # type: ignore[type-arg]
    """fastestmirror's ``done_repos`` with our repositories; it counts as empty while its own part is, so that fastestmirror
    still reads its cache."""

    ours = ()

    def __contains__(self, repository_id):
        return repository_id in self.ours or set.__contains__(self, repository_id)


def _warn(conduit, *words):
    conduit.error(1, _message(*words))


def _message(*words):
    """Return a message as str of ASCII characters: on Python 2 yum cannot print the text of an exception otherwise."""
    return str(": ".join((NAME,) + words).encode("ascii", "replace").decode("ascii"))


def _hook(hook):
    """Make a hook raise only refusals and Ctrl-C, and skip it with -C and for users other than root."""

    @functools.wraps(hook)
    def guarded(conduit):
        if conduit._base.conf.cache or os.geteuid() != 0:
            return
        try:
            hook(conduit, bridge.BridgeSettings(conduit._conf, _config_path(conduit), conduit._base.conf.installroot))
        except PluginYumExit:
            raise
        except Exception as error:  # our bug must not cost the admin an update
            _warn(conduit, "yum continues without this plugin: internal", type(error).__name__, str(error))

    return guarded


@_hook
def prelistenabledrepos_hook(conduit, settings):
    """Exclude our repositories from fastestmirror, whose hooks run before ours and whose exclude= removes the origin
    (fastestmirror.py:prereposetup_hook deletes excluded hosts from repo.urls)."""
    plugins = getattr(conduit._parent, "_plugins", {})
    module = plugins["fastestmirror"][0] if "fastestmirror" in plugins else None
    if isinstance(getattr(module, "done_repos", None), set):
        module.done_repos = DoneRepos(module.done_repos)
        module.done_repos.ours = frozenset(  # listEnabled() would call this hook again
            repo.id for repo in conduit.getRepos().repos.values() if _is_ours(repo, settings))


@_hook
def prereposetup_hook(conduit, settings):
    """Fill the caches of our repositories, all in one, unless they still hold."""
    new = [repo for repo in conduit.getRepos().listEnabled() if not _handled(repo) and _is_ours(repo, settings)]
    for repo in new:
        # None means proxy=_none_, False or "" means no proxy=; for libproxy we use the environment
        proxy = "_none_" if repo.proxy is None else repo.proxy if repo.proxy != "libproxy" else None
        request = bridge.describe(repo, proxy or None, installs=_installs(conduit))
        repo._xcpng_mirrors = Handled(request, bridge.Cache(settings, request, repo.cachedir, "yum", TYPES))
    cold = [repo for repo in new if _is_forced(repo) or not _handled(repo).cache.is_warm(time.time())]
    for repo in new:
        if repo not in cold:
            repo._metadataCurrent = True
            _handled(repo).sha256 = _handled(repo).cache.sha256()
            conduit.info(3, _message(repo.id, "its cache still holds"))
    described = [_handled(repo).request for repo in new]
    verifies = settings.verify_packages and any(each["installs"] for each in described)
    if cold or verifies:
        _engine(conduit, settings).prepare(settings.request("prepare", described, packages=verifies and not cold))
    if not cold:
        return
    requests = [_handled(repo).cache.request(_is_forced(repo)) for repo in cold]
    verdicts, warnings = _engine(conduit, settings).ask(
        settings.request("resolve", requests), 2 * settings.deadline + bridge.GRACE_SECONDS, lambda event: None)
    for text in warnings:
        _warn(conduit, text)
    for repo in cold:
        _apply(conduit, repo, verdicts[repo.id])


def _engine(conduit, settings):
    """Return the one engine of this run."""
    base = conduit._base
    if getattr(base, "_xcpng_mirrors", None) is None:
        base._xcpng_mirrors = bridge.Engine(settings.command, settings.reason)
        atexit.register(base._xcpng_mirrors.finish)
    return base._xcpng_mirrors


def _is_forced(repo):
    """Whether newer metadata is wanted in any case: "yum clean expire-cache" removes the cookie, "yum makecache" sets 0."""
    return not os.path.exists(repo.metadata_cookie) or repo.metadata_expire == 0


def _installs(conduit):
    """Whether the command installs packages; users of yum's API have no command and count as not installing."""
    command = (conduit.getCmdLine()[1] or [""])[0]
    return command.startswith(INSTALLING) and command not in LOOKING


def _handled(repo):
    return getattr(repo, "_xcpng_mirrors", None)


def _is_ours(repo, settings):
    return not repo.mirrorlist and not repo.metalink and settings.wants(repo.id, repo.baseurl)


def _config_path(conduit):
    paths = [os.path.join(folder, NAME + ".conf") for folder in conduit._parent.pluginconfpath]
    return next((path for path in paths if os.access(path, os.R_OK)), "")


def _apply(conduit, repo, verdict):
    if verdict["status"] == "refused":
        raise PluginYumExit(_message(repo.id, verdict["text"]))
    if verdict["status"] != "resolved":
        _handled(repo).is_left = True
        return _warn(conduit, repo.id + " is left as it is", verdict["text"])
    if not repo.repo_gpgcheck:
        _warn(conduit, repo.id, "repo_gpgcheck=0 in its .repo file; its metadata was proven all the same; "
                               "set repo_gpgcheck=1, for without this plugin nothing proves it")
    conduit.info(3, _message(repo.id, "mirrors, best first", " ".join(verdict["mirrors"])))
    _handled(repo).sha256 = verdict["sha256"]
    repo._metadataCurrent = True  # in this run, whatever metadata_expire= says (yumRepo.py:metadataCurrent)


@_hook
def postreposetup_hook(conduit, settings):
    """Compare what yum has loaded with what was proven; that becomes the high-water mark."""
    filled = [repo for repo in conduit.getRepos().listEnabled() if _handled(repo) and _handled(repo).sha256]
    other = [repo.id for repo in filled if _handled(repo).cache.sha256() != _handled(repo).sha256]
    if filled:
        _engine(conduit, settings).accept([repo.id for repo in filled if repo.id not in other])
    for repo in filled:
        _handled(repo).sha256 = ""
    if other:
        raise PluginYumExit(_message(", ".join(other), bridge.NOT_LOADED.format("yum")))


@_hook
def predownload_hook(conduit, settings):
    """Fetch and verify our packages into yum's cache, before yum downloads (also with --downloadonly)."""
    if settings.verify_packages:
        _get_packages(conduit, settings, _our_packages(conduit))


@_hook
def postdownload_hook(conduit, settings):
    """Verify the packages that yum had to fetch itself, and replace bad ones; yum does not check their checksums again."""
    errors = conduit.getErrors()
    # getattr() would raise: for what a package lacks yum asks a column of its database (sqlitesack.py), which is a KeyError
    rest = [po for po in _our_packages(conduit) if po.__dict__.get("_xcpng_mirrors") == "unavailable"]
    _get_packages(conduit, settings, rest)
    for po in rest:
        if po._xcpng_mirrors == "verified" and po.verifyLocalPkg():
            errors.pop(po, None)
        elif po not in errors:
            raise PluginYumExit(_message(str(po), "it could not be verified; nothing was done"))


def _our_packages(conduit):
    """Return the packages to install from our repositories, without those at another place (xml:base)."""
    return [po for po in conduit.getDownloadPackages()
            if _handled(po.repo) and not _handled(po.repo).is_left and not po.basepath]


def _get_packages(conduit, settings, packages):
    """Let the engine fetch and verify packages; then their ``_xcpng_mirrors`` is "verified" or "unavailable".

    Raises:
        PluginYumExit: a package is refused.
    """
    if not packages:
        return
    by_repo = dict((repo.id, [po for po in packages if po.repo is repo]) for repo in set(po.repo for po in packages))
    requests = [dict(_handled(pos[0].repo).request,
                     packages=[bridge.describe_package(po, po.relativepath, po.size) for po in pos]) for pos in by_repo.values()]
    meter = YumMeter(by_repo)
    verdicts, warnings = _engine(conduit, settings).ask(
        settings.request("packages", requests, mode="fetch"), bridge.IDLE_SECONDS, meter.event)
    meter.end()
    for text in warnings:
        _warn(conduit, text)
    for name, verdict in sorted(verdicts.items()):
        if verdict["status"] == "refused":
            raise PluginYumExit(_message(name, verdict["text"]))
        if verdict["status"] == "left":
            _warn(conduit, name, "its packages are left to yum", verdict["text"])


class YumMeter(object):
    """A progress line in yum's style for fetched packages; there is none if every package was in the cache.

    Args:
        packages: lists of packages by repository id.
    """

    def __init__(self, packages):
        self._packages = packages
        self._bytes = dict((po, 0) for po in sum(packages.values(), []) if not os.path.exists(po.localPkg()))
        self._shown = None  # yum's urlgrabber.progress.TextMeter, once there is progress to show

    def event(self, event):
        """Handle an event of the engine."""
        po = self._packages[event["repository"]][event["package"]]
        if event["event"] == "package":
            po._xcpng_mirrors = event["status"]
            if event["status"] != "verified" or po not in self._bytes:
                return
        self._bytes[po] = event.get("bytes", int(po.size))
        if self._shown is None and po.repo.callback is not None:
            self._shown = po.repo.callback
            text = os.path.basename(po.relativepath) if len(self._bytes) == 1 else "{0} packages".format(len(self._bytes))
            self._shown.start(text=text, size=sum(int(each.size) for each in self._bytes))
        if self._shown is not None:
            self._shown.update(sum(self._bytes.values()))

    def end(self):
        """Finish the line."""
        if self._shown is not None:
            self._shown.end(sum(self._bytes.values()))
