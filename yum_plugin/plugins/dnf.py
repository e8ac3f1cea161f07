"""The dnf 4 plugin: before dnf loads metadata, give it a metalink of proven mirrors (dnf calls config, then fill_sack).

dnf has no hook before the metadata load, so ``config`` wraps the public method ``base.fill_sack``. dnf swallows every
exception of a plugin except ``dnf.exceptions.Error`` (dnf/plugin.py:Plugins._caller): refusals are raised as that, and
after any other exception dnf works as it does without the plugin.
"""
from __future__ import absolute_import

import atexit
import importlib.util
import logging
import os
import time
from urllib.parse import quote

import dnf
import dnf.callback
import dnf.exceptions
import dnf.lock
import dnf.yum.misc

NAME = "xcpng-mirrors"
STOCK_TIMEOUT_SECONDS = 30  # dnf.conf(5): timeout
STOCK_MINRATE = 1000  # dnf.conf(5): minrate, bytes per second

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

    def config(self):
        """Wrap dnf's methods; dnf calls this after it has read the repositories, also for history and clean."""
        root = self.base.conf.installroot
        self.settings = bridge.BridgeSettings(bridge.reader(self.read_config(self.base.conf), root), root)
        original = self.base.fill_sack

        def fill_sack(load_system_repo=True, load_available_repos=True):
            if not load_available_repos or os.geteuid() != 0:
                return original(load_system_repo, load_available_repos)
            with MetadataLoad(self) as load:
                sack = original(load_system_repo, load_available_repos)
                load.accepted()
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
        """Whether we handle a repository, with our metalink or without it so far."""
        by_user = bool(repo.mirrorlist) or (bool(repo.metalink) and not self.is_pointed(repo))
        return not by_user and self.settings.wants(repo.id, list(repo.baseurl))

    def is_pointed(self, repo):
        """Whether a repository uses our metalink in this run."""
        return repo.metalink == self.url_of(repo)

    def url_of(self, repo):
        """Return the URL of our metalink for a repository; it is constant, because dnf names the cache folder after its hash."""
        return "file://" + quote(self.settings.file_of(repo.id, "metalink.xml"))

    def request_of(self, repo, cached_digest=""):
        """Return a repository in the form of the engine's request."""
        # with an empty proxy, libdnf leaves the choice to libcurl, which uses the environment
        installs = self.cli is not None and bool(self.cli.demands.resolving)
        return bridge.describe(repo, repo.proxy or None, cached_digest, installs)

    def config_path(self):
        """Return the path of our .conf, the first of pluginconfpath that has it."""
        folders = list(self.base.conf.pluginconfpath)
        paths = [os.path.join(folder, NAME + ".conf") for folder in folders]
        return next((path for path in paths if os.path.isfile(path)), "")


class MetadataLoad(object):
    """Lets our repositories use proven mirrors for one load of metadata.

    Args:
        plugin: the plugin, for its base, cli and settings.
    """

    def __init__(self, plugin):
        self._plugin = plugin
        self._base = plugin.base
        self._settings = plugin.settings
        self._engine = None
        self._digests = {}  # id -> SHA-256 in the metalink that dnf uses
        self._cached_digests = {}  # id -> SHA-256 of the cached repomd.xml that dnf would use

    def __enter__(self):
        try:
            self._use_proven_mirrors()
        except dnf.exceptions.Error:
            self._close()
            raise
        except Exception as error:  # our bug must not cost the admin an update
            logger.warning("%s: the repositories are left as they are: internal: %s: %s", NAME, type(error).__name__, error)
            logger.debug("%s", NAME, exc_info=True)
            self._close()
        return self

    def __exit__(self, *unused):
        self._close()

    def _close(self):
        if self._engine is not None:
            self._engine.close()

    def _use_proven_mirrors(self):
        cold = []
        for repo in self._base.repos.iter_enabled():
            if self._plugin.is_ours(repo) and not self._set_if_warm(repo):
                cold.append(repo)
        if cold and not self._base.conf.cacheonly:
            self._resolve(cold)

    def _set_if_warm(self, repo):
        """Use the metalink of a repository if the cache that belongs to it is usable without asking; return whether it is."""
        self._point(repo)
        cached = self._cached_repomd(repo)
        if self._any_cache_will_do():
            usable = os.path.isfile(cached) and os.path.isfile(self._settings.file_of(repo.id, "metalink.xml"))
        else:
            usable = not self._forced() and bridge.is_warm(self._settings, repo.id, cached, time.time())
            if not usable and not self._forced():
                self._cached_digests[repo.id] = bridge.cached_sha256(self._settings, repo.id, cached)
        if usable:
            self._settle(repo)
        else:
            repo.metalink = ""  # libdnf ignores None
        return usable

    def _point(self, repo):
        """Set the metalink; the baseurl stays, because librepo tries it last and checks it against the same hash."""
        repo.metalink = self._plugin.url_of(repo)

    def _cached_repomd(self, repo):
        return os.path.join(repo._repo.getCachedir(), "repodata", "repomd.xml")

    def _any_cache_will_do(self):
        """Whether dnf uses any cache: with -C, and for commands like search (dnf/cli/cli.py:_process_demands)."""
        lazy = self._plugin.cli is not None and not self._plugin.cli.demands.fresh_metadata and not self._forced()
        return self._base.conf.cacheonly or lazy

    def _forced(self):
        return self._plugin.cli is not None and bool(self._plugin.cli.demands.freshest_metadata)

    def _resolve(self, repos):
        requests = [self._plugin.request_of(repo, self._cached_digests.get(repo.id, "")) for repo in repos]
        self._engine, verdicts, warnings = bridge.resolve(
            self._settings, self._plugin.config_path(), self._base.conf.installroot, requests)
        for text in warnings:
            logger.warning("%s: %s", NAME, text)
        for repo in repos:
            self._apply(repo, verdicts[repo.id])

    def _apply(self, repo, verdict):
        if verdict["status"] == "refused":
            raise dnf.exceptions.Error("{}: {}: {}".format(NAME, repo.id, verdict["text"]))
        if verdict["status"] != "resolved":
            logger.warning("%s: %s is left as it is: %s", NAME, repo.id, verdict["text"])
            return
        if not repo.repo_gpgcheck:
            logger.warning("%s: %s: repo_gpgcheck=0 in its .repo file; its metadata was proven all the same; "
                           "set repo_gpgcheck=1, for without this plugin nothing proves it", NAME, repo.id)
        self._digests[repo.id] = verdict["sha256"]
        self._point(repo)
        if bridge.sha256_of(self._cached_repomd(repo)) != verdict["sha256"]:
            repo._repo.expire()  # with metadata_expire=0 a cache of less than one second is still valid
        self._settle(repo)

    def _settle(self, repo):
        """Let dnf read the metalink in every run, with our speed limits, and without asking for a key that the host trusts."""
        repo.metadata_expire = 0
        if self._settings.timeout and repo.timeout == STOCK_TIMEOUT_SECONDS:
            repo.timeout = self._settings.timeout
        if self._settings.minrate and repo.minrate == STOCK_MINRATE:
            repo.minrate = self._settings.minrate
        repo._set_key_import(TrustedKeyImport(repo._key_import, self._base, self._settings.fingerprints))

    def accepted(self):
        """Report the repositories whose named metadata dnf has loaded; the engine raises their high-water mark."""
        if self._engine is None:
            return
        taken = [repo.id for repo in self._base.repos.iter_enabled()
                 if repo.id in self._digests and bridge.sha256_of(self._cached_repomd(repo)) == self._digests[repo.id]]
        self._engine.accept(taken)
        atexit.register(self._engine.finish)  # meanwhile dnf continues
        self._engine = None


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
            if not pkg._is_local_pkg() and plugin.is_pointed(pkg.repo) and not pkg.baseurl:
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
            request = self._plugin.request_of(packages[name][0].repo)
            request["packages"] = [
                bridge.describe_package(pkg, pkg.location, pkg.downloadsize) for pkg in packages[name]]
            requests.append(request)
        on_event = self._show if mode == "fetch" else self._note
        verdicts, warnings = bridge.packages(
            self._plugin.settings, self._plugin.config_path(), self._plugin.base.conf.installroot, mode, requests, on_event)
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


class TrustedKeyImport(object):
    """Confirms for the admin the import of a repository key that is pinned and already in the rpm database.

    dnf keeps the keys for metadata in the cache folder of the repository, which is a new one with our metalink: without
    this class the first run without -y, e.g. by cron or xapi, would fail with "Bad GPG signature".

    Args:
        original: dnf's callback, which decides in every other case.
        base: for the rpm database.
        fingerprints: the pinned ones.
    """

    def __init__(self, original, base, fingerprints):
        self._original = original
        self._base = base
        self._fingerprints = fingerprints

    def _confirm(self, id, userid, fingerprint, url, timestamp):
        if fingerprint.upper() in self._fingerprints and url.startswith("file://"):
            short_id = fingerprint[-8:].lower()  # as rpm names its gpg-pubkey packages
            if dnf.yum.misc.keyInstalled(self._base._rpmconn.readonly_ts, short_id, timestamp) >= 0:
                return True
        return self._original._confirm(id, userid, fingerprint, url, timestamp)
