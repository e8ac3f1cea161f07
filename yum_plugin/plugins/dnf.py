"""The dnf 4 plugin: before dnf loads metadata, fill its cache with proven files (dnf calls: config, then fill_sack).

dnf has no hook before the metadata load, so ``config`` wraps the public method ``base.fill_sack``. dnf swallows every
exception of a plugin except ``dnf.exceptions.Error`` (dnf/plugin.py:Plugins._caller): refusals are raised as that, and
after any other exception dnf works as it does without the plugin.
"""
from __future__ import absolute_import

import atexit
import contextlib
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


def _load_bridge():
    """Load bridge.py from the real folder of this file; that must not enter sys.path, because it has a ``dnf.py``."""
    path = os.path.join(os.path.dirname(os.path.realpath(__file__)), "bridge.py")
    spec = importlib.util.spec_from_file_location("xcpng_mirrors_bridge", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bridge = _load_bridge()


class XcpngMirrors(dnf.Plugin):
    """Updates that survive bad mirrors."""

    name = NAME

    def __init__(self, base, cli):
        super(XcpngMirrors, self).__init__(base, cli)
        self.base = base
        self.cli = cli
        self.settings = None
        self.engine = None
        self.left = set()  # ids of our repositories that are dnf's own business in this run

    def config(self):
        """Wrap dnf's methods; dnf calls this after it has read the repositories, also for history and clean."""
        parser = self.read_config(self.base.conf)
        paths = [os.path.join(folder, NAME + ".conf") for folder in self.base.conf.pluginconfpath]
        self.settings = bridge.BridgeSettings(
            parser, next((path for path in paths if os.path.isfile(path)), ""), self.base.conf.installroot)
        self.engine = bridge.Engine(self.settings.command, self.settings.reason)
        atexit.register(self.engine.finish)
        original = self.base.fill_sack

        def fill_sack(load_system_repo=True, load_available_repos=True):
            if not load_available_repos or os.geteuid() != 0:
                return original(load_system_repo, load_available_repos)
            proven = self._fill_caches()
            sack = original(load_system_repo, load_available_repos)
            self._compare(proven)
            return sack

        self.base.fill_sack = fill_sack
        if self.settings.verify_packages:
            self._wrap_download()

    def _wrap_download(self):
        original = self.base.download_packages

        def download_packages(pkglist, progress=None, callback_total=None):
            job = DnfPackages(self, pkglist, progress or dnf.callback.NullDownloadProgress())
            if os.geteuid() != 0 or not job.fetch():
                return original(pkglist, progress, callback_total)
            job.raise_for("refused")
            original(pkglist, *((None, None) if job.complete() else (progress, callback_total)))
            job.verify_rest()
            if callback_total is not None:
                callback_total(job.received_bytes, job.started)

        self.base.download_packages = download_packages

    def is_ours(self, repo):
        """Whether a repository is one that we look after."""
        return not repo.mirrorlist and not repo.metalink and self.settings.wants(repo.id, list(repo.baseurl))

    def describe(self, repo):
        """Return a repository in the form of the engine's request."""
        # with an empty proxy, libdnf leaves the choice to libcurl, which uses the environment
        installs = self.cli is not None and bool(self.cli.demands.resolving)
        return bridge.describe(repo, repo.proxy or None, installs)

    def _fill_caches(self):
        """Fill the caches of our repositories; return {id: (cache, digest)} of those that hold what was proven."""
        try:
            return self._fill([repo for repo in self.base.repos.iter_enabled() if self.is_ours(repo)])
        except dnf.exceptions.Error:
            self.engine.close()
            raise
        except Exception as error:  # our bug must not cost the admin an update
            reference = "state" if isinstance(error, OSError) else "internal: " + type(error).__name__  # its lock on a full disk
            logger.warning("%s: the repositories are left as they are: %s: %s", NAME, reference, error)
            logger.debug("%s", NAME, exc_info=True)
            self.engine.close()
            return {}

    def _fill(self, repos):
        demands = self.cli.demands if self.cli is not None else None
        freshest = demands is not None and bool(demands.freshest_metadata)
        any_cache_will_do = demands is not None and not demands.fresh_metadata and not freshest  # cli.py:_process_demands
        persistor = self.base._repo_persistor  # None for users of dnf's API; "clean expire-cache" writes there
        expired = persistor.get_expired_repos() or () if persistor is not None else ()
        cold, proven, described, forced = {}, {}, [], set()
        for repo in repos if not self.base.conf.cacheonly else ():
            types = TYPES + (("other",) if repo.load_metadata_other else ())
            described.append(self.describe(repo))
            cache = bridge.Cache(self.settings, described[-1], repo._repo.getCachedir(), "dnf", types)
            if any_cache_will_do and cache.sha256():
                continue
            if freshest or repo.id in expired:
                forced.add(repo.id)
            if repo.id not in forced and cache.is_warm(time.time()):
                self._use_cache(repo)
                proven[repo.id] = (cache, cache.sha256())
            else:
                cold[repo.id] = (repo, cache)
        verifies = self.settings.verify_packages and any(each["installs"] for each in described)
        if cold or verifies:
            self.engine.prepare(self.settings.request("prepare", described, packages=verifies and not cold))
        if cold:
            proven.update(self._ask(cold, forced))
        return proven

    def _compare(self, proven):
        """Compare what dnf has loaded with what was proven; that becomes the high-water mark."""
        other = sorted(name for name, (cache, digest) in proven.items() if cache.sha256() != digest)
        self.engine.accept([name for name in proven if name not in other])
        if other:
            raise dnf.exceptions.Error("{}: {}: {}".format(NAME, ", ".join(other), bridge.NOT_LOADED.format("dnf")))
        self._forget_expired(set(proven))

    def _forget_expired(self, names):
        """Let dnf not note these repositories as expired, as it does after --refresh where it has not fetched them itself."""
        persistor = self.base._repo_persistor
        if persistor is not None:
            original = persistor.save

            def save():
                persistor.expired_to_add.difference_update(names)
                return original()

            persistor.save = save

    def _use_cache(self, repo):
        """Let dnf load the cache in this run whatever its age or --refresh says; where it cannot, it fetches as ever."""
        repo._repo.setSyncStrategy(dnf.repo.SYNC_LAZY)

    def _ask(self, cold, forced):
        meters = dict((name, DnfMeter(repo)) for name, (repo, _) in cold.items())
        request = self.settings.request("resolve", [cache.request(name in forced) for name, (_, cache) in cold.items()])
        with dnf.lock.build_metadata_lock(self.base.conf.cachedir, self.base.conf.exit_on_lock):
            verdicts, warnings = self.engine.ask(request, 2 * self.settings.deadline + bridge.GRACE_SECONDS,
                                                 lambda event: meters[event["repository"]].update(event))
        for meter in meters.values():
            meter.end()
        for text in warnings:
            logger.warning("%s: %s", NAME, text)
        return dict((name, (cache, verdicts[name]["sha256"])) for name, (repo, cache) in cold.items()
                    if self._apply(repo, cache, verdicts[name]))

    def _apply(self, repo, cache, verdict):
        """Act on a verdict; say whether the cache is filled."""
        if verdict["status"] == "refused":
            raise dnf.exceptions.Error("{}: {}: {}".format(NAME, repo.id, verdict["text"]))
        if verdict["status"] != "resolved":
            logger.warning("%s: %s is left as it is: %s", NAME, repo.id, verdict["text"])
            self.left.add(repo.id)
            return False
        if not repo.repo_gpgcheck:
            logger.warning("%s: %s: repo_gpgcheck=0 in its .repo file; its metadata was proven all the same; "
                           "set repo_gpgcheck=1, for without this plugin nothing proves it", NAME, repo.id)
        self._use_cache(repo)
        with contextlib.suppress(OSError):  # dnf prints the age of what it has not loaded in the second in which it came
            for entry in os.scandir(os.path.dirname(cache.repomd)):
                os.utime(entry.path, follow_symlinks=False)
        return True


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


class Payload(object):
    """A package in dnf's progress display."""

    def __init__(self, pkg):
        self.download_size = pkg.downloadsize
        self.was_there = os.path.exists(pkg.localPkg())
        self._name = os.path.basename(pkg.location)

    def __str__(self):
        return self._name


class DnfPackages(object):
    """Puts the verified packages of our repositories into dnf's cache before dnf looks for them there.

    Args:
        plugin: the plugin.
        pkglist: the packages that dnf is about to download.
        progress: dnf's display.
    """

    def __init__(self, plugin, pkglist, progress):
        self._plugin = plugin
        self._progress = progress
        self._packages = {}  # repository id -> its packages
        self._results = {}  # (repository id, index) -> the engine's last "package" event
        self._payloads = {}
        self.started = time.time()
        self.received_bytes = 0
        for pkg in pkglist:
            # If a repository was left as it was, dnf also fetches its packages.
            if not pkg._is_local_pkg() and plugin.is_ours(pkg.repo) and pkg.repo.id not in plugin.left and not pkg.baseurl:
                self._packages.setdefault(pkg.repo.id, []).append(pkg)

    def fetch(self):
        """Let the engine fetch the packages; return False if it could not be asked."""
        if not self._packages:
            return False
        try:
            self._fetch()
        except Exception as error:  # after our bug dnf fetches and checks the packages, as without the plugin
            logger.warning("%s: packages are left to dnf: %s: %s", NAME, type(error).__name__, error)
            logger.debug("%s", NAME, exc_info=True)
            return False
        return True

    def _fetch(self):
        everything = [pkg for packages in self._packages.values() for pkg in packages]
        self._payloads = dict((key, Payload(pkg)) for key, pkg in self._keyed())
        self._progress.start(len(everything), sum(pkg.downloadsize for pkg in everything))
        with dnf.lock.build_download_lock(self._plugin.base.conf.cachedir, self._plugin.base.conf.exit_on_lock):
            self._ask("fetch", self._packages)

    def complete(self):
        """Whether every package is verified."""
        return all(self._is_verified(key) for key, _ in self._keyed())

    def verify_rest(self):
        """Verify the packages that dnf had to fetch itself.

        Raises:
            dnf.exceptions.Error: a package is refused or its verification could not be finished.
        """
        rest = {}
        for key, pkg in self._keyed():
            if not self._is_verified(key):
                rest.setdefault(key[0], []).append(pkg)
        if not rest:
            return
        self._packages, self._results = rest, {}
        try:
            self._ask("verify", rest)
        except bridge.BridgeError as error:
            raise dnf.exceptions.Error("{}: packages could not be verified: {}".format(NAME, error))
        self.raise_for("refused", "unavailable", None)

    def raise_for(self, *statuses):
        """Stop dnf if a package has one of these statuses; None: the engine sent nothing about it.

        Raises:
            dnf.exceptions.Error: with the reference, the package and the tried mirrors.
        """
        bad = [(pkg, self._results.get(key, {})) for key, pkg in self._keyed()]
        lines = ["{}: {}: {}".format(NAME, pkg.repo.id, result.get("text") or "{} was not verified".format(pkg))
                 for pkg, result in bad if result.get("status") in statuses]
        if lines:
            raise dnf.exceptions.Error("\n".join(lines))

    def _keyed(self):
        return [((name, index), pkg) for name, packages in sorted(self._packages.items())
                for index, pkg in enumerate(packages)]

    def _is_verified(self, key):
        return self._results.get(key, {}).get("status") == "verified"

    def _ask(self, mode, packages):
        requests = []
        for name in sorted(packages):
            request = self._plugin.describe(packages[name][0].repo)
            request["packages"] = [
                bridge.describe_package(pkg, pkg.location, pkg.downloadsize) for pkg in packages[name]]
            requests.append(request)
        verdicts, warnings = self._plugin.engine.ask(
            self._plugin.settings.request("packages", requests, mode=mode), bridge.IDLE_SECONDS,
            self._show if mode == "fetch" else self._note)
        for text in warnings:
            logger.warning("%s: %s", NAME, text)
        for verdict in verdicts.values():
            if verdict["status"] == "left":
                raise bridge.BridgeError(verdict["text"])

    def _note(self, event):
        if event["event"] == "package":
            self._results[(event["repository"], event["package"])] = event

    def _show(self, event):
        """Drive dnf's progress display."""
        self._note(event)
        key = (event["repository"], event["package"])
        payload = self._payloads[key]
        if event["event"] == "progress":
            self._progress.progress(payload, event["bytes"])
        elif event["status"] == "verified" and payload.was_there:
            self._progress.end(payload, dnf.callback.STATUS_ALREADY_EXISTS, "Already downloaded")
        elif event["status"] == "verified":
            self.received_bytes += payload.download_size
            self._progress.progress(payload, payload.download_size)
            self._progress.end(payload, dnf.callback.STATUS_OK, None)
        else:
            self._progress.end(payload, dnf.callback.STATUS_FAILED, event["text"])
