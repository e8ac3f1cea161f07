"""The dnf 4 plugin: before dnf loads metadata, fill its cache with proven files; after it, prove what dnf has loaded.

dnf has no hook before the metadata load and none after a download, so ``config`` wraps public methods of the base. dnf swallows
every exception of a plugin except ``dnf.exceptions.Error`` (dnf/plugin.py:Plugins._caller). So while dnf only looks, ours are
told and dnf goes on, but nothing counts as proven; where packages come in, all of them stop dnf.
"""
from __future__ import absolute_import

import contextlib
import functools
import importlib.util
import logging
import os
import time

import dnf
import dnf.callback
import dnf.exceptions
import dnf.lock
import dnf.repo

NAME = "xcpng-mirrors"
# What libdnf 0.69 loads of a repository (repo/Repo.cpp:Impl::lrHandleInitBase); "other" only for changelogs.
TYPES = ("primary", "filelists", "group", "group_gz", "updateinfo", "modules", "prestodelta")

logger = logging.getLogger("dnf.plugin")


def _load(name):
    """Load a module from the real folder of this file; that must not enter sys.path, because it has a ``dnf.py``."""
    path = os.path.join(os.path.dirname(os.path.realpath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("xcpng_mirrors_" + name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bridge, proofs = _load("bridge"), _load("proofs")


class XcpngMirrors(proofs.Run, dnf.Plugin):  # type: ignore[name-defined]
    """Updates that survive bad mirrors."""

    name = NAME
    manager, error = "dnf", dnf.exceptions.Error

    def __init__(self, base, cli):
        dnf.Plugin.__init__(self, base, cli)
        self._told = set()  # warnings
        self._fresh = None  # ids that dnf must not note as expired; None: it has not been kept from that yet
        self.begin()

    # What dnf calls, in its order.

    def config(self):
        """Wrap dnf's methods; dnf calls this after it has read the repositories, also for history and clean.

        Nothing else is done here, because dnf goes on without a plugin whose hook fails.
        """
        for name, wrapper in (("fill_sack", self._fill_sack), ("fill_sack_from_repos_in_cache", self._load_cached),
                              ("download_packages", self._download), ("_download_remote_payloads", self._download_elsewhere)):
            if hasattr(self.base, name):  # older versions do not have all of them
                setattr(self.base, name, functools.partial(wrapper, getattr(self.base, name)))

    def _fill_sack(self, original, load_system_repo=True, load_available_repos=True):
        """Stand in for ``base.fill_sack``."""
        load = functools.partial(original, load_system_repo, load_available_repos)
        return self._prove_after(load, fills=not self.base.conf.cacheonly) if load_available_repos else load()

    def _load_cached(self, original, load_system_repo=True):
        """Stand in for ``base.fill_sack_from_repos_in_cache``."""
        return self._prove_after(functools.partial(original, load_system_repo), fills=False)

    def _prove_after(self, load, fills):
        self.begin()
        if os.geteuid() != 0:  # such a user has a cache of his own; what he downloads is proven when he does
            return load()
        with self._guarded(installs=False):
            if fills:
                self.fill([repo for repo in self.ours() if not self._any_cache_will_do(repo)])
        sack = load()
        with self._guarded(installs=False):
            self.prove_loaded()
            self._forget_expired(set(self.filled))
        return sack

    def _download(self, original, pkglist, progress=None, callback_total=None):
        """Stand in for ``base.download_packages``: whoever has fetched a package, it is verified then."""
        pkglist, started = list(pkglist), time.time()
        with self._guarded(installs=True):
            wanted = self.wanted(pkglist)
            received = self._fetch(pkglist, wanted, progress or dnf.callback.NullDownloadProgress())
            done = [pkg for pkg in pkglist if self.is_verified(pkg.localPkg())]
            rest = [pkg for pkg in pkglist if not self.is_verified(pkg.localPkg())]
        if done:
            original(done)  # it finds them in its cache, and notes that it has to remove them later
        if rest or not done:
            original(rest, progress, callback_total)
        elif callback_total is not None:
            callback_total(received, started)
        with self._guarded(installs=True):
            self.require_verified(wanted)

    def _download_elsewhere(self, original, payloads, *arguments, **named):
        """Stand in for ``base._download_remote_payloads``, by which ``dnf reposync`` downloads to a folder of its own."""
        original(payloads, *arguments, **named)
        with self._guarded(installs=True):
            folders = [(each.pkg, each._target_params().get("dest")) for each in payloads if hasattr(each, "pkg")]
            paths = dict((id(pkg), os.path.join(folder, os.path.basename(pkg.location))) for pkg, folder in folders if folder)
            self.require_verified(self.wanted([pkg for pkg, folder in folders if folder], lambda pkg: paths[id(pkg)]))

    def pre_transaction(self):
        """Verify what came neither by a download nor in this process, before rpm installs it."""
        with self._guarded(installs=True):
            if self.base.transaction:
                self.require_verified(self.wanted(self.base.transaction.install_set))

    @contextlib.contextmanager
    def _guarded(self, installs):
        """Guard whatever of ours goes wrong in the body.

        Args:
            installs: packages come in: dnf stops. Otherwise it only looks, and goes on: what is not proven then is not installed.
        """
        try:
            if self.settings is None:
                self.settings, self.engine = bridge.start(
                    self.read_config(self.base.conf), self.base.conf.pluginconfpath, self.base.conf.installroot)
            yield
        except dnf.exceptions.Error:
            raise
        except Exception as error:
            logger.debug("%s", NAME, exc_info=True)
            if installs:
                raise dnf.exceptions.Error(self.message(proofs.UNVERIFIED.format(proofs.why(error))))
            # dnf's lock on a full disk is no bug of ours
            text = "state: {}".format(error) if isinstance(error, OSError) else proofs.why(error)
            self.warn("the repositories are left as they are: " + text)

    # What proofs.Run asks for.

    def warn(self, text):
        """Warn, once."""
        if text not in self._told:
            self._told.add(text)
            logger.warning("%s", self.message(text))

    def note(self, text):
        """Tell the log."""
        logger.debug("%s", self.message(text))

    def message(self, text):
        """Return a message with our name before it."""
        return "{}: {}".format(NAME, text)

    def known(self):
        """Return all repositories by id."""
        return self.base.repos

    def enabled(self):
        """Return the repositories that are enabled."""
        return list(self.base.repos.iter_enabled())

    def describe(self, repo):
        """Return a repository in the form of the engine's request."""
        # with an empty proxy, libdnf leaves the choice to libcurl, which uses the environment
        installs = self.cli is not None and bool(self.cli.demands.resolving)
        return bridge.describe(repo, repo.proxy or None, installs, self.cli is not None)

    def cache(self, repo):
        """Return dnf's cache of a repository."""
        types = TYPES + (("other",) if repo.load_metadata_other else ())
        return bridge.Cache(self.settings, self.describe(repo), repo._repo.getCachedir(), "dnf", types)

    def is_forced(self, repo):
        """Whether newer metadata is wanted in any case: --refresh, or "clean expire-cache", which writes to the persistor."""
        persistor = self.base._repo_persistor  # None for users of dnf's API
        expired = persistor.get_expired_repos() or () if persistor is not None else ()
        return self.cli is not None and bool(self.cli.demands.freshest_metadata) or repo.id in expired

    def _any_cache_will_do(self, repo):
        """Whether the command takes the cache of a repository whatever its age (cli.py:_process_demands)."""
        demands = self.cli.demands if self.cli is not None else None
        fresh = demands is None or demands.fresh_metadata or demands.freshest_metadata
        return not fresh and self.cache(repo).sha256() is not None

    def resolve(self, requests):
        """Let the engine fill dnf's caches, under dnf's lock and with its progress lines; return the verdicts."""
        meters = dict((each["id"], DnfMeter(self.base.repos[each["id"]])) for each in requests)
        with dnf.lock.build_metadata_lock(self.base.conf.cachedir, self.base.conf.exit_on_lock):
            verdicts = self.ask("resolve", requests, self.settings.seconds,
                                lambda event: meters[event["repository"]].update(event))
        for name, meter in meters.items():
            meter.end()
            if verdicts[name]["status"] == "resolved" and not verdicts[name].get("waits"):
                with contextlib.suppress(OSError):  # dnf prints the age of what it has not loaded in the second in which it came
                    for entry in os.scandir(os.path.dirname(self.cache(self.base.repos[name]).repomd)):
                        os.utime(entry.path, follow_symlinks=False)
        return verdicts

    def is_fresh(self, repo):
        """Let dnf load the cache in this run whatever its age or --refresh says; where it cannot, it fetches as ever."""
        repo._repo.setSyncStrategy(dnf.repo.SYNC_LAZY)

    def _forget_expired(self, names):
        """Let dnf not note these repositories as expired, as it does after --refresh where it has not fetched them itself."""
        persistor = self.base._repo_persistor
        if persistor is not None and self._fresh is None:
            original = persistor.save

            def save():
                persistor.expired_to_add.difference_update(self._fresh)
                return original()

            persistor.save = save
        self._fresh = (self._fresh or set()) | names

    def size_of(self, package):
        """Return the bytes of a package."""
        return package.downloadsize

    def is_admins(self, package):
        """Whether the file of a package lies in no cache: dnf uses those of file: repositories in their place."""
        return package._is_local_pkg()

    def _fetch(self, pkglist, wanted, progress):
        """Let the engine bring packages into dnf's cache, shown as dnf's own downloads are; return the bytes received.

        Not those that another server than the repository's has (xml:base).
        """
        payloads = dict((pkg.localPkg(), dnf.repo.RPMPayload(pkg, progress)) for pkg in pkglist
                        if pkg.repoid in self.filled and not pkg._is_local_pkg() and not pkg.baseurl)
        there = set(path for path in payloads if os.path.exists(path))
        wanted = [item for item in wanted if item[1]["target"] in payloads]

        def show(path, event):
            payload = payloads[path]
            if event["event"] == "progress":
                progress.progress(payload, event["bytes"])
            elif event["status"] != "verified":
                progress.end(payload, dnf.callback.STATUS_FAILED, event["text"])
            elif path in there:
                progress.end(payload, dnf.callback.STATUS_ALREADY_EXISTS, "Already downloaded")
            else:
                progress.progress(payload, payload.download_size)
                progress.end(payload, dnf.callback.STATUS_OK, None)

        if wanted:
            progress.start(len(payloads), sum(each.download_size for each in payloads.values()))
            with dnf.lock.build_download_lock(self.base.conf.cachedir, self.base.conf.exit_on_lock):
                self.fetch(wanted, show)
        return sum(payloads[path].download_size for path in payloads if path not in there and self.is_verified(path))


class DnfMeter(object):
    """dnf's own progress line for the metadata of one repository; none if nothing is fetched.

    Args:
        repo: dnf's object, whose display is set by the command line only.
    """

    def __init__(self, repo):
        self._repo = repo
        self._files = {}  # name -> (bytes, total) so far
        self._shown = False

    def update(self, event):
        """Take an event of the engine."""
        self._files[event["file"]] = (event["bytes"], event["total"] or event["bytes"])
        if not self._shown:
            self._shown = True
            self._repo._md_pload.start(self._repo.name or self._repo.id)
        done, total = (sum(values) for values in zip(*self._files.values()))
        self._repo._md_pload._progress_cb(None, total, done)

    def end(self):
        """Finish the line."""
        if self._shown:
            self._repo._md_pload.end()
