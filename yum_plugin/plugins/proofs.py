"""One run of yum or dnf: what was filled before the load, what was loaded, and which packages on the disk are proven.

Python 2.7 and 3, standard library only. Each plugin derives one class from ``Run``, and calls in this order:
    1. ``fill``, before the package manager loads its repositories: the engine fills their caches with proven files.
    2. ``prove_loaded``, after that: what was loaded is what was filled; all else is proven now.
    3. ``wanted`` and ``fetch``, before it downloads: the engine brings the packages, proven, to where they are expected.
    4. ``require_verified``, before rpm sees a package, whoever has fetched it.
What is not noted here as proven is not proven: whatever fails on the way, also in the plugins, leaves a repository unproven and a
package unverified, and neither is installed.
"""
from __future__ import unicode_literals  # on Python 2 the engine's texts cannot enter a message of bytes

import os
import time

IDLE_SECONDS = 60.0  # the engine sends an event at least every 2 seconds while anything arrives

NOT_LOADED = ("{0}: stale: {1} has not loaded the newest signed metadata that was proven; nothing was done; "
              "try again, or see 'xcpng-mirrors status'")
WAY_OUT = "; nothing is installed from there until that is mended; to go on without these checks: --disableplugin=xcpng-mirrors"
UNPROVEN = "{0}: unproven: what {1} has loaded could not be checked: {2}" + WAY_OUT
UNVERIFIED = "unverified: packages could not be verified: {0}" + WAY_OUT
NO_GPGCHECK = ("{0}: repo_gpgcheck=0 in its .repo file; its metadata was proven all the same; "
               "set repo_gpgcheck=1, for without this plugin nothing proves it")


def why(error):
    """Return an exception of ours in the form of the engine's messages."""
    return "internal: {0}: {1}".format(type(error).__name__, error)


def identity_of(path):
    """Return what changes if a file is replaced or written to; None if there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return (path, status.st_ino, status.st_size, status.st_mtime)


class Run(object):
    """What is known since the package manager has begun to load its repositories.

    A plugin's class has: ``manager``, "dnf" or "yum"; ``error``, an exception that ends it with a message; ``warn(text)``, which
    warns once, and ``note(text)``, for -v; ``known()`` and ``enabled()``, repositories, the former by id; ``describe(repo)``, in
    the form of the engine's request; ``cache(repo)``, a bridge.Cache; ``is_forced(repo)``, whether newer metadata is wanted in
    any case; ``is_fresh(repo)``, which lets it load the cache as it lies there; ``message(text)``, with our name before it;
    ``size_of(package)`` and ``is_admins(package)``, whether its file lies in no cache, and so is not removed if it is refused.
    """

    settings = engine = None  # from bridge.start

    def begin(self):
        """Forget what was loaded before."""
        self.filled = {}  # repository id -> SHA-256 of the proven repomd.xml in the cache that is to be loaded
        self._failed = {}  # repository id -> verdict, where the engine itself failed to fill its cache
        self._unproven = {}  # repository id -> why it could not be proven
        self._proven = {}  # repository id -> SHA-256 of the repomd.xml that was proven after the load
        self._verified = set()  # see identity_of

    def ask(self, action, repositories, seconds, on_event=lambda event: None, **values):
        """Let the engine answer a request; return the verdicts, and stop if one of them is a refusal."""
        verdicts, warnings = self.engine.ask(self.settings.request(action, repositories, **values), seconds, on_event)
        for text in warnings:
            self.warn(text)
        for name, verdict in sorted(verdicts.items()):
            if verdict["status"] == "refused":
                self.stop_for("{0}: {1}".format(name, verdict["text"]))
        return verdicts

    def stop_for(self, text):
        """End the package manager with a message; "" is none."""
        if text:
            raise self.error(self.message(text))

    def is_ours(self, repo):
        """Whether a repository is one that we look after."""
        return not repo.mirrorlist and not repo.metalink and self.settings.wants(repo.id, list(repo.baseurl))

    def ours(self):
        """Return our repositories that are enabled."""
        return [repo for repo in self.enabled() if self.is_ours(repo)]

    def fill(self, repos):
        """Fill the caches of repositories of ours, all in one request, unless they still hold."""
        repos = dict((repo.id, repo) for repo in repos if not all(url.startswith("file:") for url in repo.baseurl))
        cold, described = [], []
        for name, repo in sorted(repos.items()):
            cache, forced = self.cache(repo), self.is_forced(repo)
            described.append(self.describe(repo))
            if not forced and cache.is_warm(time.time()):
                self._use(repo, cache.sha256())
                self.note(name + ": its cache still holds")
            else:
                cold.append(cache.request(forced))
        verifies = self.settings.verify_packages and any(each["installs"] for each in described)
        if cold or verifies:
            self.engine.prepare(self.settings.request("prepare", described, packages=verifies and not cold))
        verdicts = self.resolve(cold) if cold else {}
        for name, verdict in sorted(verdicts.items()):
            if verdict["status"] == "resolved":
                self.note("{0}: mirrors, best first: {1}".format(name, " ".join(verdict["mirrors"])))
                if not repos[name].repo_gpgcheck:
                    self.warn(NO_GPGCHECK.format(name))
                self._use(repos[name], verdict["sha256"])
        left = dict((name, verdict) for name, verdict in verdicts.items() if verdict["status"] != "resolved")
        self._failed = dict(item for item in left.items() if "failed" in item[1])
        self._tell_left(dict(item for item in left.items() if "failed" not in item[1]
                             and item[1].get("reference") != "own-copy"))

    def resolve(self, requests):
        """Let the engine fill caches; return the verdicts."""
        return self.ask("resolve", requests, self.settings.seconds)

    def _use(self, repo, digest):
        self.filled[repo.id] = digest
        self.is_fresh(repo)

    def _tell_left(self, verdicts):
        """Warn why the caches of repositories, by id, were not filled: one line a cause, in the words of its first one."""
        causes = {}
        for name, verdict in sorted(verdicts.items()):
            causes.setdefault(verdict.get("cause", verdict["text"]), []).append(name)
        for names in sorted(causes.values()):
            left = "is left as it is" if len(names) == 1 else "are left as they are"
            self.warn("{0} {1}: {2}".format(", ".join(names), left, verdicts[names[0]]["text"]))

    def prove_loaded(self):
        """Compare what is loaded with what was filled, which becomes the high-water mark; let all else be proven now."""
        repos = self.known()
        same = sorted(name for name in self.filled if self.cache(repos[name]).sha256() == self.filled[name])
        if same:
            self.engine.accept(same)
        if len(same) < len(self.filled):
            self.stop_for(NOT_LOADED.format(", ".join(sorted(set(self.filled) - set(same))), self.manager))
        self._proven.update(self.filled)
        unproven = self.missing([repo for repo in self.ours() if os.path.exists(self.cache(repo).repomd)])
        if unproven:
            self.warn(unproven)
        self._tell_left(dict(item for item in self._failed.items() if item[0] not in self._unproven))  # else that was the reason

    def missing(self, repos):
        """Let the engine prove what else is loaded; return why that cannot be done, "" if all of it is proven."""
        caches = dict((repo.id, self.cache(repo)) for repo in repos)
        rest = [name for name in sorted(caches) if not self._is_proven(name, caches[name])]
        new = [caches[name].request() for name in rest if name not in self._unproven]
        for name, verdict in self.ask("prove", new, self.settings.seconds).items() if new else ():
            if verdict["status"] == "proven":
                self._proven[name] = verdict["sha256"]
            else:
                self._unproven[name] = verdict["text"]
        rest = [name for name in rest if not self._is_proven(name, caches[name])]
        return UNPROVEN.format(", ".join(rest), self.manager, self._unproven.get(
            rest[0], "its cache has changed meanwhile")) if rest else ""

    def _is_proven(self, name, cache):
        digest = cache.sha256()
        return digest is not None and self._proven.get(name) == digest or cache.is_proven()

    def wanted(self, packages, path_of=lambda package: package.localPkg()):
        """Return what is to be verified; stop if a repository that is used is not proven.

        Args:
            packages: the package manager's objects, also those of other repositories; both use the same names for their values.
            path_of: returns where one of them lies.

        Returns:
            (repository, package), both in the form of the engine's request, for each package of ours.
        """
        repos = self.known()
        packages = [each for each in packages if each.repoid in repos and self.is_ours(repos[each.repoid])]
        used = [repos[name] for name in sorted(set(each.repoid for each in packages))]
        self.stop_for(self.missing(used))
        described = dict((repo.id, self.describe(repo)) for repo in used)
        return [(described[each.repoid], self._describe_package(each, path_of(each)))
                for each in packages] if self.settings.verify_packages else []

    def _describe_package(self, package, path):
        kind, checksum = package.returnIdSum()
        return {"name": package.name, "epoch": int(package.epoch), "version": package.version, "release": package.release,
                "arch": package.arch, "location": package.relativepath, "size": int(self.size_of(package)),
                "checksum_type": kind or "", "checksum": checksum or "", "target": path, "keep": bool(self.is_admins(package))}

    def fetch(self, wanted, on_event):
        """Let the engine bring packages from proven mirrors; what it cannot bring is left to the package manager.

        Args:
            wanted: as of ``wanted``, without those that are verified already or come from elsewhere.
            on_event: called with the path of a package and the engine's event about it.
        """
        text = self._packages("fetch", wanted, on_event)
        if text:
            self.warn("packages are left to {0}, and verified after it: {1}".format(self.manager, text))

    def _packages(self, mode, wanted, on_event=lambda path, event: None):
        """Let the engine "fetch" or "verify" packages; return the first reason why it could not, "" if there is none."""
        by_repo = {}
        for repository, package in wanted:
            by_repo.setdefault(repository["id"], dict(repository, packages=[]))["packages"].append(package)

        def note(event):
            path = by_repo[event["repository"]]["packages"][event["package"]]["target"]
            if event["event"] == "package" and event["status"] == "verified":
                self._verified.add(identity_of(path))
            on_event(path, event)

        verdicts = self.ask("packages", [by_repo[name] for name in sorted(by_repo)], IDLE_SECONDS, note, mode=mode)
        faults = ("left",) if mode == "fetch" else ("left", "unavailable")  # what no mirror has, the package manager may find
        return next((verdicts[name]["text"] for name in sorted(verdicts) if verdicts[name]["status"] in faults), "")

    def is_verified(self, path):
        """Whether a package is on the disk as it was verified."""
        identity = identity_of(path)
        return identity is not None and identity in self._verified

    def unverified(self, wanted):
        """Let the engine verify what is not verified yet; return why that cannot be done, "" if all of it is verified."""
        rest = [item for item in wanted if not self.is_verified(item[1]["target"])]
        text = self._packages("verify", rest) if rest else ""
        rest = [item for item in rest if not self.is_verified(item[1]["target"])]
        names = ", ".join(sorted(set(repository["id"] for repository, _ in rest)))
        return "{0}: {1}".format(names, UNVERIFIED.format(text or os.path.basename(rest[0][1]["target"]))) if rest else ""

    def require_verified(self, wanted):
        """Stop unless all is verified that is on the disk."""
        self.stop_for(self.unverified(wanted))
