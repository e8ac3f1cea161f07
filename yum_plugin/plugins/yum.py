"""The yum 3.4.3 plugin: before yum asks for metadata, hand it a metalink of proven mirrors; later, verified packages.

Python 2.7 and 3. yum calls the hooks in the order in which they stand here, each of them perhaps several times, and the
first one also for clean, list and yum-config-manager, which may write the options of a repository to its .repo file.
A PluginYumExit ends yum with its message and exit code 1; any other exception of ours leaves yum as it would be without us.
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
plugin_type = (TYPE_CORE,)  # with any other type yum does not load it for API users (Xen Orchestra)
NAME = "xcpng-mirrors"
# Commands of yum(8) that fetch packages to install them, by the beginning of their names: also update-to, groupinstall ...
INSTALLING = ("install", "update", "upgrade", "distro", "distribution-sync", "reinstall", "downgrade", "local", "group", "swap",
              "shell")
LOOKING = ("updateinfo", "grouplist", "groupinfo")


def _load_bridge():
    """Run bridge.py from beside this file's real place; our folder must not enter sys.path, it holds a ``yum.py``."""
    source = os.path.splitext(__file__)[0] + ".py"  # Python 2.7 names the .pyc, which is no link
    path = os.path.join(os.path.dirname(os.path.realpath(source)), "bridge.py")
    module = types.ModuleType("xcpng_mirrors_bridge")
    with open(path) as stream:
        exec(compile(stream.read(), path, "exec"), module.__dict__)  # and no .pyc is left there
    return module


bridge = _load_bridge()


class Handed(object):
    """What became of a repository of ours; the attribute ``_xcpng_mirrors`` of yum's object.

    Args:
        request: the repository as it was before we touched it, as the engine wants it.
    """

    def __init__(self, request):
        self.request = request
        self.engine = None  # waits to hear what yum accepted
        self.sha256 = ""
        self.pin = None  # yum.metalink.MetaLinkFile, until it is known what yum took


class DoneRepos(set):  # type: ignore[type-arg]
    """fastestmirror's ``done_repos``: contains ours too, but is empty if its own part is, for then it reads its cache."""

    ours = ()

    def __contains__(self, repository_id):
        return repository_id in self.ours or set.__contains__(self, repository_id)


def _say(conduit, *words):
    conduit.error(1, _line(*words))


def _line(*words):
    """Return a line as str of ASCII characters: yum cannot print any other exception's text on Python 2."""
    return str(": ".join((NAME,) + words).encode("ascii", "replace").decode("ascii"))


def _hook(hook):
    """Let only refusals and Ctrl-C out of a hook; no hook runs with -C or for other users than root."""

    @functools.wraps(hook)
    def guarded(conduit):
        if conduit._base.conf.cache or os.geteuid() != 0:
            return
        try:
            root = conduit._base.conf.installroot
            hook(conduit, bridge.BridgeSettings(bridge.reader(conduit._conf, root), root))
        except PluginYumExit:
            raise
        except Exception as error:  # the border: our crash must not cost the admin an update
            _say(conduit, "yum goes on without us: internal", type(error).__name__, str(error))

    return guarded


@_hook
def prelistenabledrepos_hook(conduit, settings):
    """Keep fastestmirror away from our repositories: its hooks run before ours, and its exclude= drops the origin."""
    plugins = getattr(conduit._parent, "_plugins", {})
    module = plugins["fastestmirror"][0] if "fastestmirror" in plugins else None
    if isinstance(getattr(module, "done_repos", None), set):
        module.done_repos = DoneRepos(module.done_repos)
        module.done_repos.ours = frozenset(  # listEnabled() would call this hook again
            repo.id for repo in conduit.getRepos().repos.values() if _is_ours(repo, settings))


@_hook
def prereposetup_hook(conduit, settings):
    """Resolve our repositories, all in one, unless the last resolution still holds."""
    new = [repo for repo in conduit.getRepos().listEnabled() if not _handed(repo) and _is_ours(repo, settings)]
    for repo in new:
        # None is proxy=_none_, False or "" is no proxy=; libproxy asks the environment, as far as we are concerned
        proxy = "_none_" if repo.proxy is None else repo.proxy if repo.proxy != "libproxy" else None
        repo._xcpng_mirrors = Handed(bridge.describe(repo, proxy or None, installs=_installs(conduit)))
    cold = [repo for repo in new if not _set_if_warm(conduit, repo, settings)]
    if not cold:
        return
    engine, verdicts, warnings = bridge.resolve(
        settings, _config_path(conduit), conduit._base.conf.installroot, [_handed(repo).request for repo in cold])
    for text in warnings:
        _say(conduit, text)
    for repo in cold:
        _apply(conduit, repo, verdicts[repo.id], engine, settings)


def _installs(conduit):
    """Whether the command is one that installs; who uses yum as a library has none, and only looks as far as we know."""
    command = (conduit.getCmdLine()[1] or [""])[0]
    return command.startswith(INSTALLING) and command not in LOOKING


def _handed(repo):
    return getattr(repo, "_xcpng_mirrors", None)


def _is_ours(repo, settings):
    return not repo.mirrorlist and not repo.metalink and settings.wants(repo.id, repo.baseurl)


def _config_path(conduit):
    paths = [os.path.join(folder, NAME + ".conf") for folder in conduit._parent.pluginconfpath]
    return next((path for path in paths if os.access(path, os.R_OK)), "")


def _cached_repomd(repo):
    return os.path.join(repo.cachedir, "repomd.xml")


def _set_if_warm(conduit, repo, settings):
    """Use the last resolution if it holds; "yum clean expire-cache" removes the cookie, "yum makecache" sets the age to 0."""
    asked_for = not os.path.exists(repo.metadata_cookie) or repo.metadata_expire == 0
    if asked_for:
        return False
    if not bridge.is_warm(settings, repo.id, _cached_repomd(repo), time.time()):
        _handed(repo).request["held_sha256"] = bridge.held(settings, repo.id, _cached_repomd(repo))
        return False
    _point(repo, settings.file_of(repo.id, "metalink.xml"), settings)
    conduit.info(3, _line(repo.id, "the mirrors found last time are used"))
    return True


def _apply(conduit, repo, verdict, engine, settings):
    if verdict["status"] == "refused":
        engine.close()
        raise PluginYumExit(_line(repo.id, verdict["text"]))
    if verdict["status"] != "resolved":
        return _say(conduit, repo.id + " is left as it is", verdict["text"])
    if not repo.repo_gpgcheck:
        _say(conduit, repo.id, "repo_gpgcheck=0 in its .repo file; its metadata was proven all the same; "
                               "set repo_gpgcheck=1, for without this plugin nothing proves it")
    handed = _handed(repo)
    handed.pin = _point(repo, verdict["metalink"], settings)
    handed.engine, handed.sha256 = engine, verdict["sha256"]
    conduit.info(3, _line(repo.id, "mirrors, best first", " ".join(verdict["mirrors"])))


def _point(repo, metalink, settings):
    """Make a repository use a metalink; return yum's reading of the repomd.xml that it pins.

    It must lie where yum keeps it and be parsed already, else yum fetches it and moves a file:// away
    (yumRepo.py:_getMetalink). What had been derived of the URLs before is reset.
    """
    path = os.path.join(repo.cachedir, "metalink.xml")
    bridge.copy_whole(metalink, path)
    data = yum.metalink.MetaLinkRepoMD(path)
    repo.baseurl, repo.mirrorlist, repo.mirrorlistparsed = [], None, 0
    repo.metalink, repo.metalink_data = "file://" + path, data
    repo.failovermethod = "priority"  # the default shuffles
    repo._urls, repo._grab, repo._grabfunc = [], None, None
    repo._metadataCurrent = False  # else yum overlooks the pin for six hours
    for name, value in (("timeout", settings.timeout), ("minrate", settings.minrate)):
        if value and getattr(repo, name) == repo.optionobj(name).default:
            setattr(repo, name, value)
    if repo.mirror_failure_obj is None:
        repo.setMirrorFailureObj(_forget_partial)
    if repo.failure_obj is None:
        repo.setFailureObj(_raise)
    return data.repomd


def _forget_partial(failure):
    """Called when a mirror failed: no other mirror shall continue its file, and be blamed for it."""
    if getattr(failure, "filename", None) and os.path.exists(failure.filename):
        os.unlink(failure.filename)
    return {}


def _raise(failure):
    """Called when a download failed: go to the next mirror, API users would ask the same one ten times."""
    raise failure.exception


@_hook
def postreposetup_hook(conduit, settings):
    """Find out which metadata yum has taken: in silence it falls back to old one (yumRepo.py:_revertOldRepoXML)."""
    taken, old, engines = [], [], set()
    for repo in conduit.getRepos().listEnabled():
        handed = _handed(repo)
        if handed is None or handed.pin is None:
            continue
        try:
            repomd = repo.repoXML
        except Errors.RepoError:
            continue  # yum asks again where it needs the repository, and tells
        engines.add(handed.engine)
        if bridge.sha256_of(_cached_repomd(repo)) == handed.sha256:
            taken.append(repo.id)
        elif not (repomd.timestamp > handed.pin.timestamp or repo._checkRepoXMLMetalink(repomd, handed.pin)):
            old.append(repo.id)
        handed.pin = handed.engine = None
    for engine in engines:
        engine.accept(taken)
        engine.finish()
    if old:
        raise PluginYumExit(_line(", ".join(old), "stale", "yum could not get all of the newest signed metadata and fell back "
                                  "to what it had; nothing was done; try again, or see 'xcpng-mirrors status'"))


@_hook
def predownload_hook(conduit, settings):
    """Fetch and verify our packages to where yum looks for them before it downloads (also with --downloadonly)."""
    if settings.verify_packages:
        _get_packages(conduit, settings, _our_packages(conduit))


@_hook
def postdownload_hook(conduit, settings):
    """Verify what yum had to fetch itself and replace what is bad: yum does not look at its checksum again."""
    errors = conduit.getErrors()
    # getattr() would raise: for what a package lacks yum asks a column of its database (sqlitesack.py), which is a KeyError
    rest = [po for po in _our_packages(conduit) if po.__dict__.get("_xcpng_mirrors") == "unavailable"]
    _get_packages(conduit, settings, rest)
    for po in rest:
        if po._xcpng_mirrors == "verified" and po.verifyLocalPkg():
            errors.pop(po, None)
        elif po not in errors:
            raise PluginYumExit(_line(str(po), "it could not be verified; nothing was done"))


def _our_packages(conduit):
    """Return what is to be installed from our repositories, and from no place beside them (xml:base)."""
    return [po for po in conduit.getDownloadPackages() if _handed(po.repo) and not po.basepath]


def _get_packages(conduit, settings, packages):
    """Let the engine fetch and verify packages; their ``_xcpng_mirrors`` says "verified" or "unavailable" then.

    Raises:
        PluginYumExit: one is refused.
    """
    if not packages:
        return
    by_repo = dict((repo.id, [po for po in packages if po.repo is repo]) for repo in set(po.repo for po in packages))
    requests = [dict(_handed(pos[0].repo).request, packages=[bridge.describe_package(po, po.relativepath, po.size) for po in pos])
                for pos in by_repo.values()]
    meter = YumMeter(by_repo)
    verdicts, warnings = bridge.packages(
        settings, _config_path(conduit), conduit._base.conf.installroot, "fetch", requests, meter.event)
    meter.end()
    for text in warnings:
        _say(conduit, text)
    for name, verdict in sorted(verdicts.items()):
        if verdict["status"] == "refused":
            raise PluginYumExit(_line(name, verdict["text"]))
        if verdict["status"] == "left":
            _say(conduit, name, "its packages are left to yum", verdict["text"])


class YumMeter(object):
    """A progress line in yum's manner for what is fetched; none if every package was there.

    Args:
        packages: lists of packages by repository id.
    """

    def __init__(self, packages):
        self._packages = packages
        self._bytes = dict((po, 0) for po in sum(packages.values(), []) if not os.path.exists(po.localPkg()))
        self._shown = None  # yum's urlgrabber.progress.TextMeter, once there is something to show

    def event(self, event):
        """Take an event of the engine."""
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
