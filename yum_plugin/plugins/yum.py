"""The yum 3.4.3 plugin: before yum asks for metadata, give it a metalink of proven mirrors; later, verified packages.

Python 2.7 and 3. yum calls the hooks in the order of this file, each of them possibly several times. It calls the first
one also for clean, list and yum-config-manager, which may write the options of a repository to its .repo file.
A PluginYumExit ends yum with its message and exit code 1; after any other exception yum works as it does without the plugin.
"""
from __future__ import absolute_import

import functools
import os
import time
import types

import yum.metalink
from yum import Errors
from yum.plugins import TYPE_CORE, PluginYumExit

requires_api_version = "2.5"
plugin_type = (TYPE_CORE,)  # yum loads other types only for its command, not for API users (Xen Orchestra)
NAME = "xcpng-mirrors"
# Commands of yum(8) that install packages, by the beginning of their names: update-to, groupinstall and so on match, too.
INSTALLING = ("install", "update", "upgrade", "distro", "distribution-sync", "reinstall", "downgrade", "local", "group", "swap",
              "shell")
LOOKING = ("updateinfo", "grouplist", "groupinfo")


def _load_bridge():
    """Load bridge.py from the real folder of this file; that must not enter sys.path, because it has a ``yum.py``."""
    source = os.path.splitext(__file__)[0] + ".py"  # on Python 2.7 __file__ may be the .pyc, which is no link
    path = os.path.join(os.path.dirname(os.path.realpath(source)), "bridge.py")
    module = types.ModuleType("xcpng_mirrors_bridge")
    with open(path) as stream:
        exec(compile(stream.read(), path, "exec"), module.__dict__)  # this way no .pyc is written there
    return module


bridge = _load_bridge()


class RepositoryData(object):
    """What the plugin knows about a repository; yum's object has it as its attribute ``_xcpng_mirrors``.

    Args:
        request: the repository before any change, in the form of the engine's request.
    """

    def __init__(self, request):
        self.request = request
        self.engine = None  # waits for ``accept``
        self.sha256 = ""
        self.pin = None  # yum.metalink.MetaLinkFile, until yum has loaded its metadata


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
            root = conduit._base.conf.installroot
            hook(conduit, bridge.BridgeSettings(bridge.reader(conduit._conf, root), root))
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
    """Resolve our repositories with one engine, unless the last resolution is still valid."""
    new = [repo for repo in conduit.getRepos().listEnabled() if not _data_of(repo) and _is_ours(repo, settings)]
    for repo in new:
        # None means proxy=_none_, False or "" means no proxy=; for libproxy we use the environment
        proxy = "_none_" if repo.proxy is None else repo.proxy if repo.proxy != "libproxy" else None
        repo._xcpng_mirrors = RepositoryData(bridge.describe(repo, proxy or None, installs=_installs(conduit)))
    cold = [repo for repo in new if not _set_if_warm(conduit, repo, settings)]
    if not cold:
        return
    engine, verdicts, warnings = bridge.resolve(
        settings, _config_path(conduit), conduit._base.conf.installroot, [_data_of(repo).request for repo in cold])
    for text in warnings:
        _warn(conduit, text)
    for repo in cold:
        _apply(conduit, repo, verdicts[repo.id], engine, settings)


def _installs(conduit):
    """Whether the command installs packages; users of yum's API have no command and count as not installing."""
    command = (conduit.getCmdLine()[1] or [""])[0]
    return command.startswith(INSTALLING) and command not in LOOKING


def _data_of(repo):
    return getattr(repo, "_xcpng_mirrors", None)


def _is_ours(repo, settings):
    return not repo.mirrorlist and not repo.metalink and settings.wants(repo.id, repo.baseurl)


def _config_path(conduit):
    paths = [os.path.join(folder, NAME + ".conf") for folder in conduit._parent.pluginconfpath]
    return next((path for path in paths if os.access(path, os.R_OK)), "")


def _cached_repomd(repo):
    return os.path.join(repo.cachedir, "repomd.xml")


def _set_if_warm(conduit, repo, settings):
    """Use the last resolution if it is still valid. "yum clean expire-cache", which removes the cookie, and "yum makecache",
    which sets the age to 0, ask for a new one."""
    asked_for = not os.path.exists(repo.metadata_cookie) or repo.metadata_expire == 0
    if asked_for:
        return False
    if not bridge.is_warm(settings, repo.id, _cached_repomd(repo), time.time()):
        _data_of(repo).request["held_sha256"] = bridge.cached_sha256(settings, repo.id, _cached_repomd(repo))
        return False
    _point(repo, settings.file_of(repo.id, "metalink.xml"), settings)
    conduit.info(3, _message(repo.id, "the mirrors of the last resolution are used"))
    return True


def _apply(conduit, repo, verdict, engine, settings):
    if verdict["status"] == "refused":
        engine.close()
        raise PluginYumExit(_message(repo.id, verdict["text"]))
    if verdict["status"] != "resolved":
        return _warn(conduit, repo.id + " is left as it is", verdict["text"])
    if not repo.repo_gpgcheck:
        _warn(conduit, repo.id, "repo_gpgcheck=0 in its .repo file; its metadata was proven all the same; "
                               "set repo_gpgcheck=1, for without this plugin nothing proves it")
    data = _data_of(repo)
    data.pin = _point(repo, verdict["metalink"], settings)
    data.engine, data.sha256 = engine, verdict["sha256"]
    conduit.info(3, _message(repo.id, "mirrors, best first", " ".join(verdict["mirrors"])))


def _point(repo, metalink, settings):
    """Make a repository use a metalink; return yum's entry for the repomd.xml that it names.

    The metalink must be in yum's place and parsed already, otherwise yum fetches it and moves a file:// away
    (yumRepo.py:_getMetalink). What yum derived from the URLs before is reset.
    """
    path = os.path.join(repo.cachedir, "metalink.xml")
    bridge.copy_whole(metalink, path)
    data = yum.metalink.MetaLinkRepoMD(path)
    repo.baseurl, repo.mirrorlist, repo.mirrorlistparsed = [], None, 0
    repo.metalink, repo.metalink_data = "file://" + path, data
    repo.failovermethod = "priority"  # the default shuffles
    repo._urls, repo._grab, repo._grabfunc = [], None, None
    repo._metadataCurrent = False  # otherwise a valid cookie lets yum ignore the new metalink for six hours
    for name, value in (("timeout", settings.timeout), ("minrate", settings.minrate)):
        if value and getattr(repo, name) == repo.optionobj(name).default:
            setattr(repo, name, value)
    if repo.mirror_failure_obj is None:
        repo.setMirrorFailureObj(_forget_partial)
    if repo.failure_obj is None:
        repo.setFailureObj(_raise)
    return data.repomd


def _forget_partial(failure):
    """Remove the partial file of a failed mirror: yum would continue it from the next mirror, and blame that one."""
    if getattr(failure, "filename", None) and os.path.exists(failure.filename):
        os.unlink(failure.filename)
    return {}


def _raise(failure):
    """Raise the error of a failed download, so that yum tries the next mirror; API users would retry the same one ten times."""
    raise failure.exception


@_hook
def postreposetup_hook(conduit, settings):
    """Check which metadata yum has loaded, because it silently falls back to old metadata (yumRepo.py:_revertOldRepoXML)."""
    taken, old, engines = [], [], set()
    for repo in conduit.getRepos().listEnabled():
        data = _data_of(repo)
        if data is None or data.pin is None:
            continue
        try:
            repomd = repo.repoXML
        except Errors.RepoError:
            continue  # yum tries again when it needs the repository, and reports the error
        engines.add(data.engine)
        if bridge.sha256_of(_cached_repomd(repo)) == data.sha256:
            taken.append(repo.id)
        elif not (repomd.timestamp > data.pin.timestamp or repo._checkRepoXMLMetalink(repomd, data.pin)):
            old.append(repo.id)
        data.pin = data.engine = None
    for engine in engines:
        engine.accept(taken)
        engine.finish()
    if old:
        raise PluginYumExit(_message(", ".join(old), "stale", "yum could not get all of the newest signed metadata and fell back "
                                  "to its old metadata; nothing was done; try again, or see 'xcpng-mirrors status'"))


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
    return [po for po in conduit.getDownloadPackages() if _data_of(po.repo) and not po.basepath]


def _get_packages(conduit, settings, packages):
    """Let the engine fetch and verify packages; then their ``_xcpng_mirrors`` is "verified" or "unavailable".

    Raises:
        PluginYumExit: a package is refused.
    """
    if not packages:
        return
    by_repo = dict((repo.id, [po for po in packages if po.repo is repo]) for repo in set(po.repo for po in packages))
    requests = [dict(_data_of(pos[0].repo).request,
                     packages=[bridge.describe_package(po, po.relativepath, po.size) for po in pos]) for pos in by_repo.values()]
    meter = YumMeter(by_repo)
    verdicts, warnings = bridge.packages(
        settings, _config_path(conduit), conduit._base.conf.installroot, "fetch", requests, meter.event)
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
