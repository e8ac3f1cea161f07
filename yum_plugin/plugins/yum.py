"""The yum 3.4.3 plugin: before yum asks for metadata, fill its cache with proven files; later, bring verified packages.

Python 2.7 and 3. yum calls the hooks in the order of this file, each of them possibly several times. It calls the first
one also for clean, list and yum-config-manager, which may write the options of a repository to its .repo file.
A PluginYumExit ends yum with its message and exit code 1, and no other exception leaves a hook: while yum only looks it is told,
and nothing counts as proven; where packages come in, it ends yum.
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


def _load(name):
    """Load a module from the real folder of this file; that must not enter sys.path, because it has a ``yum.py``."""
    source = os.path.splitext(__file__)[0] + ".py"  # on Python 2.7 __file__ may be the .pyc, which is no link
    path = os.path.join(os.path.dirname(os.path.realpath(source)), name + ".py")
    module = types.ModuleType("xcpng_mirrors_" + name)
    with open(path) as stream:
        exec(compile(stream.read(), path, "exec"), module.__dict__)  # this way no .pyc is written there
    return module


bridge, proofs = _load("bridge"), _load("proofs")


class Run(object):
    """What the hooks of one run share; yum's base has it as its attribute ``_xcpng_mirrors``."""

    def __init__(self, conduit):
        paths = [os.path.join(folder, NAME + ".conf") for folder in conduit._parent.pluginconfpath]
        config = next((path for path in paths if os.access(path, os.R_OK)), "")
        self.settings = bridge.BridgeSettings(conduit._conf, config, conduit._base.conf.installroot)
        self.engine = bridge.Engine(self.settings.command, self.settings.reason)
        atexit.register(self.engine.finish)
        self.proofs = proofs.Proofs("yum", self.ask)
        self.seen = set()  # ids of repositories
        self.conduit = conduit  # of the hook that runs now

    def ask(self, action, repositories, seconds, on_event=None, **values):
        """Let the engine answer a request; return the verdicts, and end yum if one of them is a refusal."""
        verdicts, warnings = self.engine.ask(self.settings.request(action, repositories, **values), seconds, on_event)
        for text in warnings:
            _warn(self.conduit, text)
        for name, verdict in sorted(verdicts.items()):
            if verdict["status"] == "refused":
                raise PluginYumExit(_message(name, verdict["text"]))
        return verdicts

    def is_ours(self, repo):
        """Whether a repository is one that we look after."""
        return not repo.mirrorlist and not repo.metalink and self.settings.wants(repo.id, repo.baseurl)

    def ours(self):
        """Return our repositories that are enabled."""
        return [repo for repo in self.conduit.getRepos().listEnabled() if self.is_ours(repo)]

    def describe(self, repo):
        """Return a repository in the form of the engine's request."""
        # None means proxy=_none_, False or "" means no proxy=; for libproxy we use the environment
        proxy = "_none_" if repo.proxy is None else repo.proxy if repo.proxy != "libproxy" else None
        return bridge.describe(repo, proxy or None, _installs(self.conduit))

    def cache(self, repo):
        """Return yum's cache of a repository."""
        return bridge.Cache(self.settings, self.describe(repo), repo.cachedir, "yum", TYPES)

    def missing(self, repos):
        """Let the engine prove what yum has loaded by itself; return why that cannot be done, "" if all is proven."""
        return self.proofs.missing(dict((repo.id, self.cache(repo)) for repo in repos), self.settings.seconds)

    def wanted(self, packages):
        """Return what is to be verified, as Proofs takes it; end yum if a repository that is used is not proven."""
        repos = self.conduit.getRepos().repos
        ours = [po for po in packages if po.repoid in repos and self.is_ours(repos[po.repoid])]
        _stop_for(self.missing([repos[name] for name in sorted(set(po.repoid for po in ours))]))
        return [(po, self.describe(po.repo), proofs.describe_package(
            po, po.relativepath, po.size, po.localPkg(), not po.localPkg().startswith(po.repo.pkgdir)))
            for po in ours] if self.settings.verify_packages else []


class DoneRepos(set):  # type: ignore[type-arg]
    """fastestmirror's ``done_repos`` with our repositories; it counts as empty while its own part is, so that fastestmirror
    still reads its cache."""

    ours = ()

    def __contains__(self, repository_id):
        return repository_id in self.ours or set.__contains__(self, repository_id)


def _warn(conduit, *words):
    """Warn, once."""
    told = conduit._base.__dict__.setdefault("_xcpng_mirrors_told", set())
    if words not in told:
        told.add(words)
        conduit.error(1, _message(*words))


def _message(*words):
    """Return a message as str of ASCII characters: on Python 2 yum cannot print the text of an exception otherwise."""
    return str(": ".join((NAME,) + words).encode("ascii", "replace").decode("ascii"))


def _stop_for(text):
    if text:
        raise PluginYumExit(_message(text))


def _run_of(conduit):
    base = conduit._base
    if base.__dict__.get("_xcpng_mirrors") is None:
        base._xcpng_mirrors = Run(conduit)
    base._xcpng_mirrors.conduit = conduit
    return base._xcpng_mirrors


def _looking(hook):
    """Make a hook tell what goes wrong and let yum go on; users other than root have a cache of their own."""

    @functools.wraps(hook)
    def guarded(conduit):
        if os.geteuid() != 0:
            return
        try:
            hook(conduit, _run_of(conduit))
        except PluginYumExit:
            raise
        except Exception as error:
            _warn(conduit, "the repositories are left as they are", proofs.why(error))

    return guarded


def _installing(hook):
    """Make a hook end yum at whatever goes wrong: what is not verified is not installed."""

    @functools.wraps(hook)
    def guarded(conduit):
        try:
            hook(conduit, _run_of(conduit))
        except PluginYumExit:
            raise
        except Exception as error:
            raise PluginYumExit(_message(proofs.UNVERIFIED.format(proofs.why(error))))

    return guarded


@_looking
def prelistenabledrepos_hook(conduit, run):
    """Exclude our repositories from fastestmirror, whose hooks run before ours and whose exclude= removes the origin
    (fastestmirror.py:prereposetup_hook deletes excluded hosts from repo.urls)."""
    plugins = getattr(conduit._parent, "_plugins", {})
    module = plugins["fastestmirror"][0] if "fastestmirror" in plugins else None
    if isinstance(getattr(module, "done_repos", None), set):
        module.done_repos = DoneRepos(module.done_repos)
        module.done_repos.ours = frozenset(  # listEnabled() would call this hook again
            repo.id for repo in conduit.getRepos().repos.values() if run.is_ours(repo))


@_looking
def prereposetup_hook(conduit, run):
    """Fill the caches of our repositories, all in one, unless they still hold or only the cache is to be used (-C)."""
    if conduit._base.conf.cache:
        return
    new = dict((repo.id, repo) for repo in run.ours() if repo.id not in run.seen)
    run.seen.update(new)
    cold, described = {}, []
    for name, repo in sorted(new.items()):
        cache = run.cache(repo)
        described.append(run.describe(repo))
        if not _is_forced(repo) and cache.is_warm(time.time()):
            _use_cache(run, repo, cache.sha256())
            conduit.info(3, _message(name, "its cache still holds"))
        else:
            cold[name] = cache.request(_is_forced(repo))
    verifies = run.settings.verify_packages and any(each["installs"] for each in described)
    if cold or verifies:
        run.engine.prepare(run.settings.request("prepare", described, packages=verifies and not cold))
    verdicts = run.ask("resolve", [cold[name] for name in sorted(cold)], run.settings.seconds, lambda event: None) if cold else {}
    for name, verdict in sorted(verdicts.items()):
        if verdict["status"] != "resolved":
            if run.proofs.is_told(name, verdict):
                _warn(conduit, name + " is left as it is", verdict["text"])
            continue
        if not new[name].repo_gpgcheck:
            _warn(conduit, name, "repo_gpgcheck=0 in its .repo file; its metadata was proven all the same; "
                                 "set repo_gpgcheck=1, for without this plugin nothing proves it")
        conduit.info(3, _message(name, "mirrors, best first", " ".join(verdict["mirrors"])))
        _use_cache(run, new[name], verdict["sha256"])


def _use_cache(run, repo, digest):
    run.proofs.filled[repo.id] = digest
    repo._metadataCurrent = True  # in this run, whatever metadata_expire= says (yumRepo.py:metadataCurrent)


def _is_forced(repo):
    """Whether newer metadata is wanted in any case: "yum clean expire-cache" removes the cookie, "yum makecache" sets 0."""
    return not os.path.exists(repo.metadata_cookie) or repo.metadata_expire == 0


def _installs(conduit):
    """Whether the command installs packages; users of yum's API have no command and count as not installing."""
    command = (conduit.getCmdLine()[1] or [""])[0]
    return command.startswith(INSTALLING) and command not in LOOKING


@_looking
def postreposetup_hook(conduit, run):
    """Compare what yum has loaded with what was proven, which becomes the high-water mark; let all else be proven now."""
    repos = run.ours()
    same, other = run.proofs.compare(dict((repo.id, run.cache(repo)) for repo in repos if repo.id in run.proofs.filled))
    if same:
        run.engine.accept(same)
    _stop_for(other)
    unproven = run.missing([repo for repo in repos if os.path.exists(run.cache(repo).repomd)])
    if unproven:
        _warn(conduit, unproven)
    for name, text in run.proofs.failed():
        _warn(conduit, name + " is left as it is", text)


@_installing
def predownload_hook(conduit, run):
    """Fetch and verify our packages into yum's cache, before yum downloads (also with --downloadonly)."""
    wanted = run.wanted(conduit.getDownloadPackages())
    _fetch(conduit, run, wanted)
    if getattr(conduit._base.conf, "downloadonly", False):
        for po, repository, package in wanted:
            _verify_on_arrival(conduit, run, po, repository, package)


def _verify_on_arrival(conduit, run, po, repository, package):
    """Let yum's own check of the file be ours, too: with --downloadonly it calls no hook after the download."""
    check = po.verifyLocalPkg

    def verify_local_pkg(*arguments):
        if not check(*arguments):
            return False
        unverified = run.proofs.unverified([(repository, dict(package, target=po.localPkg()))])
        if unverified:
            _warn(conduit, unverified)
        return not unverified

    po.verifyLocalPkg = verify_local_pkg


@_installing
def postdownload_hook(conduit, run):
    """Bring what yum could not get, and verify what it has fetched; yum does not look at its checksums again."""
    errors, wanted = conduit.getErrors(), run.wanted(conduit.getDownloadPackages())
    _fetch(conduit, run, wanted)
    for po, _, package in wanted:
        if run.proofs.is_verified(package["target"]):
            errors.pop(po, None)
    _stop_for(run.proofs.unverified([item[1:] for item in wanted if item[0] not in errors]))


@_installing
def pretrans_hook(conduit, run):
    """Verify what came by no download of this run, before rpm installs it."""
    members = [member.po for member in conduit.getTsInfo().getMembers() if member.ts_state in ("i", "u")]
    _stop_for(run.proofs.unverified([item[1:] for item in run.wanted(members)]))


def _fetch(conduit, run, wanted):
    """Let the engine bring packages from proven mirrors into yum's cache; what it cannot bring is left to yum."""
    wanted = [item for item in wanted if item[0].repoid in run.proofs.filled and not item[0].basepath and not item[2]["keep"]
              and not run.proofs.is_verified(item[2]["target"])]
    if wanted:
        meter = YumMeter(wanted)
        text = run.proofs.packages("fetch", [item[1:] for item in wanted], meter.update)
        meter.end()
        if text:
            _warn(conduit, "packages are left to yum, and verified after it", text)


class YumMeter(object):
    """A progress line in yum's style for fetched packages; there is none if every package was in the cache.

    Args:
        wanted: package object, repository, description of each package.
    """

    def __init__(self, wanted):
        self._packages = dict((item[2]["target"], item[0]) for item in wanted if not os.path.exists(item[2]["target"]))
        self._bytes = dict.fromkeys(self._packages, 0)
        self._shown = None  # yum's urlgrabber.progress.TextMeter, once there is progress to show

    def update(self, path, event):
        """Take an event of the engine about the package at a path."""
        if path not in self._bytes or event.get("status", "verified") != "verified":
            return
        po = self._packages[path]
        self._bytes[path] = event.get("bytes", int(po.size))
        if self._shown is None and po.repo.callback is not None:
            self._shown = po.repo.callback
            text = os.path.basename(po.relativepath) if len(self._bytes) == 1 else "{0} packages".format(len(self._bytes))
            self._shown.start(text=text, size=sum(int(each.size) for each in self._packages.values()))
        if self._shown is not None:
            self._shown.update(sum(self._bytes.values()))

    def end(self):
        """Finish the line."""
        if self._shown is not None:
            self._shown.end(sum(self._bytes.values()))
