"""The dnf 4 plugin: before dnf loads metadata, fill its cache with proven files; after it, prove what dnf has loaded.

dnf has no hook before the metadata load and none after a download, so ``config`` wraps public methods of the base. dnf swallows
every exception of a plugin except ``dnf.exceptions.Error`` (dnf/plugin.py:Plugins._caller). So while dnf only looks, ours are
told and dnf goes on, but nothing counts as proven; where packages come in, all of them stop dnf.
"""
from __future__ import absolute_import

import atexit
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


class XcpngMirrors(dnf.Plugin):
    """Updates that survive bad mirrors."""

    name = NAME

    def __init__(self, base, cli):
        super(XcpngMirrors, self).__init__(base, cli)
        self.base = base
        self.cli = cli
        self.settings = self.engine = None  # made on first use
        self.proofs = proofs.Proofs("dnf", self._ask)  # begun anew whenever dnf loads the repositories
        self._told = set()  # warnings

    def config(self):
        """Wrap dnf's methods; dnf calls this after it has read the repositories, also for history and clean.

        Nothing else is done here, because dnf goes on without a plugin whose hook fails.
        """
        for name, wrapper in (("fill_sack", self._fill_sack), ("fill_sack_from_repos_in_cache", self._load_cached),
                              ("download_packages", self._download), ("_download_remote_payloads", self._download_elsewhere)):
            if hasattr(self.base, name):  # older versions do not have all of them
                setattr(self.base, name, functools.partial(wrapper, getattr(self.base, name)))

    def _set_up(self):
        if self.settings is None:
            parser = self.read_config(self.base.conf)
            paths = [os.path.join(folder, NAME + ".conf") for folder in self.base.conf.pluginconfpath]
            settings = bridge.BridgeSettings(
                parser, next((path for path in paths if os.path.isfile(path)), ""), self.base.conf.installroot)
            self.engine = bridge.Engine(settings.command, settings.reason)
            atexit.register(self.engine.finish)
            self.settings = settings

    @contextlib.contextmanager
    def _looking(self):
        """Tell what goes wrong and let dnf go on: what is not proven then is not installed."""
        try:
            self._set_up()
            yield
        except dnf.exceptions.Error:
            raise
        except Exception as error:
            reference = "state" if isinstance(error, OSError) else "internal: " + type(error).__name__  # its lock on a full disk
            self.warn("the repositories are left as they are: {}: {}".format(reference, error))
            logger.debug("%s", NAME, exc_info=True)

    def warn(self, text):
        """Warn, once."""
        if text not in self._told:
            self._told.add(text)
            logger.warning("%s: %s", NAME, text)

    @contextlib.contextmanager
    def _installing(self):
        """Stop dnf at whatever goes wrong: what is not verified is not installed."""
        try:
            self._set_up()
            yield
        except dnf.exceptions.Error:
            raise
        except Exception as error:
            logger.debug("%s", NAME, exc_info=True)
            raise dnf.exceptions.Error("{}: {}".format(NAME, proofs.UNVERIFIED.format(proofs.why(error))))

    def _fill_sack(self, original, load_system_repo=True, load_available_repos=True):
        """Stand in for ``base.fill_sack``."""
        load = functools.partial(original, load_system_repo, load_available_repos)
        return self._prove_after(load, fills=True) if load_available_repos else load()

    def _load_cached(self, original, load_system_repo=True):
        """Stand in for ``base.fill_sack_from_repos_in_cache``."""
        return self._prove_after(functools.partial(original, load_system_repo), fills=False)

    def _prove_after(self, load, fills):
        self.proofs = proofs.Proofs("dnf", self._ask)
        if os.geteuid() != 0:  # such a user has a cache of his own; what he downloads is proven when he does
            return load()
        with self._looking():
            if fills and not self.base.conf.cacheonly:
                self._fill()
        sack = load()
        with self._looking():
            self._compare()
        return sack

    def is_ours(self, repo):
        """Whether a repository is one that we look after."""
        return not repo.mirrorlist and not repo.metalink and self.settings.wants(repo.id, list(repo.baseurl))

    def _ours(self):
        return [repo for repo in self.base.repos.iter_enabled() if self.is_ours(repo)]

    def describe(self, repo):
        """Return a repository in the form of the engine's request."""
        # with an empty proxy, libdnf leaves the choice to libcurl, which uses the environment
        installs = self.cli is not None and bool(self.cli.demands.resolving)
        return bridge.describe(repo, repo.proxy or None, installs)

    def _cache(self, repo):
        types = TYPES + (("other",) if repo.load_metadata_other else ())
        return bridge.Cache(self.settings, self.describe(repo), repo._repo.getCachedir(), "dnf", types)

    def _caches(self, repos):
        return dict((repo.id, self._cache(repo)) for repo in repos)

    def _fill(self):
        """Fill the caches of our repositories, all in one, unless they still hold."""
        repos, demands = self._ours(), self.cli.demands if self.cli is not None else None
        freshest = demands is not None and bool(demands.freshest_metadata)
        any_cache_will_do = demands is not None and not demands.fresh_metadata and not freshest  # cli.py:_process_demands
        persistor = self.base._repo_persistor  # None for users of dnf's API; "clean expire-cache" writes there
        expired = persistor.get_expired_repos() or () if persistor is not None else ()
        cold, requests = [], []
        for repo in repos:
            cache = self._cache(repo)
            is_forced = freshest or repo.id in expired
            if any_cache_will_do and cache.sha256():
                continue
            if not is_forced and cache.is_warm(time.time()):
                self._use_cache(repo, cache.sha256())
            else:
                cold.append(repo)
                requests.append(cache.request(is_forced))
        described = [self.describe(repo) for repo in repos]
        verifies = self.settings.verify_packages and any(each["installs"] for each in described)
        if cold or verifies:
            self.engine.prepare(self.settings.request("prepare", described, packages=verifies and not cold))
        if cold:
            self._resolve(cold, requests)

    def _use_cache(self, repo, digest):
        """Let dnf load the cache in this run whatever its age or --refresh says; where it cannot, it fetches as ever."""
        repo._repo.setSyncStrategy(dnf.repo.SYNC_LAZY)
        self.proofs.filled[repo.id] = digest

    def _resolve(self, cold, requests):
        meters = dict((repo.id, DnfMeter(repo)) for repo in cold)
        with dnf.lock.build_metadata_lock(self.base.conf.cachedir, self.base.conf.exit_on_lock):
            verdicts = self._ask("resolve", requests, self.settings.seconds,
                                 lambda event: meters[event["repository"]].update(event))
        for repo in cold:
            meters[repo.id].end()
            verdict = verdicts[repo.id]
            if verdict["status"] == "resolved":
                self._apply(repo, verdict["sha256"])
            elif self.proofs.is_told(repo.id, verdict):
                self.warn("{} is left as it is: {}".format(repo.id, verdict["text"]))

    def _ask(self, action, repositories, seconds, on_event=None, **values):
        """Let the engine answer a request; return the verdicts, and stop dnf if one of them is a refusal."""
        verdicts, warnings = self.engine.ask(self.settings.request(action, repositories, **values), seconds, on_event)
        for text in warnings:
            self.warn(text)
        for name, verdict in sorted(verdicts.items()):
            if verdict["status"] == "refused":
                raise dnf.exceptions.Error("{}: {}: {}".format(NAME, name, verdict["text"]))
        return verdicts

    def _apply(self, repo, digest):
        if not repo.repo_gpgcheck:
            self.warn(repo.id + ": repo_gpgcheck=0 in its .repo file; its metadata was proven all the same; "
                      "set repo_gpgcheck=1, for without this plugin nothing proves it")
        self._use_cache(repo, digest)
        with contextlib.suppress(OSError):  # dnf prints the age of what it has not loaded in the second in which it came
            for entry in os.scandir(os.path.dirname(self._cache(repo).repomd)):
                os.utime(entry.path, follow_symlinks=False)

    def _compare(self):
        """Compare what dnf has loaded with what was proven, which becomes the high-water mark; let all else be proven now."""
        same, other = self.proofs.compare(self._caches(self.base.repos[name] for name in self.proofs.filled))
        self.engine.accept(same)
        self._stop_for(other)
        self._forget_expired(set(same))
        unproven = self.proofs.missing(self._caches(self._ours()), self.settings.seconds)
        if unproven:
            self.warn(unproven)
        for name, text in self.proofs.failed():
            self.warn("{} is left as it is: {}".format(name, text))

    @staticmethod
    def _stop_for(text):
        if text:
            raise dnf.exceptions.Error("{}: {}".format(NAME, text))

    def _forget_expired(self, names):
        """Let dnf not note these repositories as expired, as it does after --refresh where it has not fetched them itself."""
        persistor = self.base._repo_persistor
        if persistor is not None:
            original = persistor.save

            def save():
                persistor.expired_to_add.difference_update(names)
                return original()

            persistor.save = save

    def _wanted(self, targets):
        """Return what is to be verified, as Proofs takes it; stop dnf if a repository that is used is not proven.

        Args:
            targets: (package, path) for each package that is about to be used, also those of other repositories.
        """
        repos = self.base.repos
        ours = [(pkg, path) for pkg, path in targets if pkg.reponame in repos and self.is_ours(repos[pkg.reponame])]
        used = [repos[name] for name in sorted(set(pkg.reponame for pkg, _ in ours))]
        self._stop_for(self.proofs.missing(self._caches(used), self.settings.seconds))
        described = dict((repo.id, self.describe(repo)) for repo in used)
        return [(described[pkg.reponame], proofs.describe_package(pkg, pkg.location, pkg.downloadsize, path, pkg._is_local_pkg()))
                for pkg, path in ours] if self.settings.verify_packages else []

    def _download(self, original, pkglist, progress=None, callback_total=None):
        """Stand in for ``base.download_packages``: whoever has fetched a package, it is verified then."""
        pkglist, started = list(pkglist), time.time()
        with self._installing():
            wanted = self._wanted([(pkg, pkg.localPkg()) for pkg in pkglist])
            meter = DnfPackageMeter(progress or dnf.callback.NullDownloadProgress(), self._fetchable(pkglist))
            self._fetch([item for item in wanted if item[1]["target"] in meter.payloads], meter)
        done = [pkg for pkg in pkglist if pkg.localPkg() in meter.payloads and self.proofs.is_verified(pkg.localPkg())]
        rest = [pkg for pkg in pkglist if not any(pkg is each for each in done)]
        if done:
            original(done)  # it finds them in its cache, and notes that it has to remove them later
        if rest or not done:
            original(rest, progress, callback_total)
        elif callback_total is not None:
            callback_total(meter.received_bytes, started)
        with self._installing():
            self._stop_for(self.proofs.unverified(wanted))

    def _fetchable(self, pkglist):
        return [pkg for pkg in pkglist if pkg.reponame in self.proofs.filled and not pkg._is_local_pkg() and not pkg.baseurl]

    def _fetch(self, wanted, meter):
        """Let the engine bring packages from proven mirrors into dnf's cache; what it cannot bring is left to dnf."""
        if not wanted:
            return
        meter.start()
        with dnf.lock.build_download_lock(self.base.conf.cachedir, self.base.conf.exit_on_lock):
            text = self.proofs.packages("fetch", wanted, meter.update)
        if text:
            self.warn("packages are left to dnf, and verified after it: " + text)

    def _download_elsewhere(self, original, payloads, *arguments, **named):
        """Stand in for ``base._download_remote_payloads``, by which ``dnf reposync`` downloads to a folder of its own."""
        original(payloads, *arguments, **named)
        with self._installing():
            places = [(each.pkg, each._target_params().get("dest")) for each in payloads if hasattr(each, "pkg")]
            self._stop_for(self.proofs.unverified(self._wanted(
                [(pkg, os.path.join(folder, os.path.basename(pkg.location))) for pkg, folder in places if folder])))

    def pre_transaction(self):
        """Verify what came neither by a download nor in this process, before rpm installs it."""
        with self._installing():
            if self.base.transaction:
                self._stop_for(self.proofs.unverified(self._wanted(
                    [(pkg, pkg.localPkg()) for pkg in self.base.transaction.install_set])))


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


class DnfPackageMeter(object):
    """dnf's own progress display for packages that the engine fetches.

    Args:
        progress: dnf's display.
        pkglist: the packages.
    """

    def __init__(self, progress, pkglist):
        self._progress = progress
        self.payloads = dict((pkg.localPkg(), Payload(pkg)) for pkg in pkglist)
        self.received_bytes = 0

    def start(self):
        """Begin."""
        self._progress.start(len(self.payloads), sum(each.download_size for each in self.payloads.values()))

    def update(self, path, event):
        """Take an event of the engine about one of them."""
        payload = self.payloads[path]
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
