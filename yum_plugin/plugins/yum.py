"""The yum 3.4.3 plugin: before yum asks for metadata, fill its cache with proven files; later, bring verified packages.

Python 2.7 and 3. yum calls the hooks in the order of this file, each of them possibly several times. It calls the first
one also for clean, list and yum-config-manager, which may write the options of a repository to its .repo file.
A PluginYumExit ends yum with its message and exit code 1, and no other exception leaves a hook: while yum only looks it is told,
and nothing counts as proven; where packages come in, it ends yum.
"""
from __future__ import absolute_import

import functools
import os
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


class YumRun(proofs.Run):  # type: ignore[name-defined]
    """What the hooks of one run share; yum's base has it as its attribute ``_xcpng_mirrors``."""

    manager, error = "yum", PluginYumExit

    def __init__(self, conduit):
        self.settings, self.engine = bridge.start(
            conduit._conf, conduit._parent.pluginconfpath, conduit._base.conf.installroot)
        self.conduit = conduit  # of the hook that runs now
        self.seen = set()  # ids of repositories
        self.begin()

    def warn(self, text):
        """Warn, once."""
        _warn(self.conduit, text)

    def note(self, text):
        """Tell who has given -v."""
        self.conduit.info(3, _message(text))

    def message(self, text):
        """Return a message with our name before it."""
        return _message(text)

    def known(self):
        """Return all repositories by id."""
        return self.conduit.getRepos().repos

    def enabled(self):
        """Return the repositories that are enabled."""
        return self.conduit.getRepos().listEnabled()

    def describe(self, repo):
        """Return a repository in the form of the engine's request."""
        # None means proxy=_none_, False or "" means no proxy=; for libproxy we use the environment
        proxy = "_none_" if repo.proxy is None else repo.proxy if repo.proxy != "libproxy" else None
        return bridge.describe(repo, proxy or None, _installs(self.conduit), bool(self.conduit.getCmdLine()[1]))

    def cache(self, repo):
        """Return yum's cache of a repository."""
        return bridge.Cache(self.settings, self.describe(repo), repo.cachedir, "yum", TYPES)

    def is_forced(self, repo):
        """Whether newer metadata is wanted in any case: "clean expire-cache" removes the cookie, "makecache" sets 0."""
        return not os.path.exists(repo.metadata_cookie) or repo.metadata_expire == 0

    def is_fresh(self, repo):
        """Let yum load the cache in this run, whatever metadata_expire= says (yumRepo.py:metadataCurrent)."""
        repo._metadataCurrent = True

    def size_of(self, package):
        """Return the bytes of a package."""
        return package.size

    def is_admins(self, package):
        """Whether the file of a package lies in no cache: yum uses those of file: repositories in their place."""
        return not package.localPkg().startswith(package.repo.pkgdir)


class DoneRepos(set):  # type: ignore[type-arg]
    """fastestmirror's ``done_repos`` with our repositories; it counts as empty while its own part is, so that fastestmirror
    still reads its cache."""

    ours = ()

    def __contains__(self, repository_id):
        return repository_id in self.ours or set.__contains__(self, repository_id)


def _warn(conduit, text):
    """Warn, once."""
    told = conduit._base.__dict__.setdefault("_xcpng_mirrors_told", set())
    if text not in told:
        told.add(text)
        conduit.error(1, _message(text))


def _message(text):
    """Return a message as str of ASCII characters: on Python 2 yum cannot print the text of an exception otherwise."""
    return str((NAME + ": " + text).encode("ascii", "replace").decode("ascii"))


def _run_of(conduit):
    base = conduit._base
    if base.__dict__.get("_xcpng_mirrors") is None:
        base._xcpng_mirrors = YumRun(conduit)
    base._xcpng_mirrors.conduit = conduit
    return base._xcpng_mirrors


def _guarded(installs):
    """Return a decorator of hooks for whatever goes wrong in them.

    Args:
        installs: packages come in: it ends yum. Otherwise yum only looks, and goes on: what is not proven then is not installed.
            Users other than root look into a cache of their own.
    """
    def decorate(hook):
        @functools.wraps(hook)
        def guarded(conduit):
            if not installs and os.geteuid() != 0:
                return
            try:
                hook(conduit, _run_of(conduit))
            except PluginYumExit:
                raise
            except Exception as error:
                if installs:
                    raise PluginYumExit(_message(proofs.UNVERIFIED.format(proofs.why(error))))
                _warn(conduit, "the repositories are left as they are: " + proofs.why(error))

        return guarded

    return decorate


def _installs(conduit):
    """Whether the command installs packages; users of yum's API have no command and count as not installing."""
    command = (conduit.getCmdLine()[1] or [""])[0]
    return command.startswith(INSTALLING) and command not in LOOKING


@_guarded(installs=False)
def prelistenabledrepos_hook(conduit, run):
    """Exclude our repositories from fastestmirror, whose hooks run before ours and whose exclude= removes the origin
    (fastestmirror.py:prereposetup_hook deletes excluded hosts from repo.urls)."""
    plugins = getattr(conduit._parent, "_plugins", {})
    module = plugins["fastestmirror"][0] if "fastestmirror" in plugins else None
    if isinstance(getattr(module, "done_repos", None), set):
        module.done_repos = DoneRepos(module.done_repos)
        module.done_repos.ours = frozenset(  # listEnabled() would call this hook again
            repo.id for repo in conduit.getRepos().repos.values() if run.is_ours(repo))


@_guarded(installs=False)
def prereposetup_hook(conduit, run):
    """Fill the caches of our repositories, before yum loads them, unless only the cache is to be used (-C)."""
    if not conduit._base.conf.cache:
        new = [repo for repo in run.ours() if repo.id not in run.seen]
        run.seen.update(repo.id for repo in new)
        run.fill(new)


@_guarded(installs=False)
def postreposetup_hook(conduit, run):
    """Prove what yum has loaded."""
    run.prove_loaded()


@_guarded(installs=True)
def predownload_hook(conduit, run):
    """Fetch and verify our packages into yum's cache, before yum downloads (also with --downloadonly)."""
    packages = conduit.getDownloadPackages()
    wanted = run.wanted(packages)
    _fetch(run, packages, wanted)
    if getattr(conduit._base.conf, "downloadonly", False):
        by_path = dict((package["target"], (repository, package)) for repository, package in wanted)
        for po in packages:
            if po.localPkg() in by_path:
                _verify_on_arrival(run, po, *by_path[po.localPkg()])


def _verify_on_arrival(run, po, repository, package):
    """Let yum's own check of the file be ours, too: with --downloadonly it calls no hook after the download."""
    check = po.verifyLocalPkg

    def verify_local_pkg(*arguments):
        if not check(*arguments):
            return False
        unverified = run.unverified([(repository, dict(package, target=po.localPkg()))])
        if unverified:
            run.warn(unverified)
        return not unverified

    po.verifyLocalPkg = verify_local_pkg


@_guarded(installs=True)
def postdownload_hook(conduit, run):
    """Bring what yum could not get, and verify what it has fetched; yum does not look at its checksums again."""
    errors, packages = conduit.getErrors(), conduit.getDownloadPackages()
    _fetch(run, packages, run.wanted(packages))
    for po in [po for po in errors if run.is_verified(po.localPkg())]:
        del errors[po]
    run.require_verified(run.wanted([po for po in packages if po not in errors]))


@_guarded(installs=True)
def pretrans_hook(conduit, run):
    """Verify what came by no download of this run, before rpm installs it."""
    run.require_verified(run.wanted([each.po for each in conduit.getTsInfo().getMembers() if each.ts_state in ("i", "u")]))


def _fetch(run, packages, wanted):
    """Let the engine bring packages into yum's cache, but for those that another server than the repository's has."""
    missing = dict((po.localPkg(), po) for po in packages if po.repoid in run.filled and not po.basepath
                   and not run.is_verified(po.localPkg()))
    wanted = [item for item in wanted if item[1]["target"] in missing and not item[1]["keep"]]
    if wanted:
        meter = YumMeter(dict((item[1]["target"], missing[item[1]["target"]]) for item in wanted))
        run.fetch(wanted, meter.update)
        meter.end()


class YumMeter(object):
    """A progress line in yum's style for fetched packages; there is none if every package was in the cache.

    Args:
        packages: package object by path.
    """

    def __init__(self, packages):
        self._packages = dict(item for item in packages.items() if not os.path.exists(item[0]))
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
