"""What a run of yum or dnf knows to be proven: the metadata that is loaded, the packages that lie on the disk.

Python 2.7 and 3, standard library only. Both plugins ask here before anything is installed. What is not in here is not proven:
whatever fails on the way, also in the plugins, leaves a repository unproven and a package unverified, and neither is installed.
"""
import os

IDLE_SECONDS = 60.0  # the engine sends an event at least every 2 seconds while anything arrives

NOT_LOADED = ("stale: {0} has not loaded the newest signed metadata that was proven; nothing was done; "
              "try again, or see 'xcpng-mirrors status'")
WAY_OUT = "; nothing is installed from there until that is mended; to go on without these checks: --disableplugin=xcpng-mirrors"
UNPROVEN = "unproven: what {0} has loaded could not be checked: {1}" + WAY_OUT
UNVERIFIED = "unverified: packages could not be verified: {0}" + WAY_OUT


def why(error):
    """Return an exception of ours in the form of the engine's messages."""
    return "internal: {0}: {1}".format(type(error).__name__, error)


def identity_of(path):
    """Return what changes if a file is replaced or written to; OSError if there is none."""
    status = os.lstat(path)
    return (path, status.st_ino, status.st_size, status.st_mtime)


def describe_package(package, location, size, target, keep):
    """Return a package of yum or dnf in the form of the engine's request, from the signed metadata that is loaded.

    Args:
        package: the package manager's object; both use the same names for what is used here.
        location: path below the repository.
        size: bytes.
        target: path of the file.
        keep: it lies in no cache: it is not removed if it is refused.
    """
    kind, checksum = package.returnIdSum()
    return {"name": package.name, "epoch": int(package.epoch), "version": package.version, "release": package.release,
            "arch": package.arch, "location": location, "size": int(size), "checksum_type": kind or "",
            "checksum": checksum or "", "target": target, "keep": bool(keep)}


class Proofs(object):
    """What is known since the package manager has begun to load its repositories.

    Args:
        manager: "dnf" or "yum".
        ask: sends a request to the engine (action, repositories, seconds, on_event, and what else it has), returns the verdicts,
            and stops the package manager if one of them is a refusal.
    """

    def __init__(self, manager, ask):
        self._manager, self._ask = manager, ask
        self.filled = {}  # repository id -> SHA-256 of the proven repomd.xml in the cache that is to be loaded
        self._left = {}  # repository id -> why the engine failed to fill its cache
        self._unproven = {}  # repository id -> why it could not be proven
        self._proven = {}  # repository id -> SHA-256 of the repomd.xml that was proven after the load
        self._verified = set()  # see identity_of

    def is_told(self, name, verdict):
        """Whether the admin is told at once why a cache was not filled; if the engine failed, see ``failed``."""
        if "failed" in verdict:
            self._left[name] = verdict["text"]
        return "failed" not in verdict

    def failed(self):
        """Return (id, why) of those that the engine failed to fill; not of those of which that is told as the reason of more."""
        return [item for item in sorted(self._left.items()) if item[0] not in self._unproven]

    def compare(self, caches):
        """Compare what is loaded with what the caches were filled with; return (ids of those that are as they were, message).

        Args:
            caches: by repository id, as of ``missing``.
        """
        same = dict(item for item in self.filled.items() if caches[item[0]].sha256() == item[1])
        other = sorted(set(self.filled) - set(same))
        self._proven.update(same)
        return sorted(same), "{0}: {1}".format(", ".join(other), NOT_LOADED.format(self._manager)) if other else ""

    def missing(self, caches, seconds):
        """Let the engine prove what else is loaded; return why that cannot be done, "" if all is proven.

        Args:
            caches: bridge.Cache by repository id.
            seconds: that the engine has for it.
        """
        rest = [name for name in sorted(caches) if not self._is_proven(name, caches[name])]
        new = [name for name in rest if name not in self._unproven]
        verdicts = self._ask("prove", [caches[name].request() for name in new], seconds) if new else {}
        for name, verdict in verdicts.items():
            if verdict["status"] == "proven":
                self._proven[name] = verdict["sha256"]
            else:
                self._unproven[name] = verdict["text"]
        rest = [name for name in rest if not self._is_proven(name, caches[name])]
        if not rest:
            return ""
        text = self._unproven.get(rest[0], "its cache has changed meanwhile")
        return "{0}: {1}".format(", ".join(rest), UNPROVEN.format(self._manager, text))

    def _is_proven(self, name, cache):
        digest = cache.sha256()
        return digest is not None and self._proven.get(name) == digest or cache.is_proven()

    def packages(self, mode, wanted, on_event=lambda path, event: None):
        """Let the engine fetch or verify packages; return the first reason why it could not, "" if there is none.

        Args:
            mode: "fetch" or "verify".
            wanted: a repository and a package for each, from bridge.describe and ``describe_package``.
            on_event: called with the path of a package and the engine's event about it.
        """
        by_repo = {}
        for repository, package in wanted:
            by_repo.setdefault(repository["id"], dict(repository, packages=[]))["packages"].append(package)

        def note(event):
            path = by_repo[event["repository"]]["packages"][event["package"]]["target"]
            if event["event"] == "package" and event["status"] == "verified":
                self._verified.add(identity_of(path))
            on_event(path, event)

        verdicts = self._ask("packages", [by_repo[name] for name in sorted(by_repo)], IDLE_SECONDS, note, mode=mode)
        faults = ("left",) if mode == "fetch" else ("left", "unavailable")  # what no mirror has, the package manager may find
        return next((verdicts[name]["text"] for name in sorted(verdicts) if verdicts[name]["status"] in faults), "")

    def is_verified(self, path):
        """Whether a package is on the disk as it was verified."""
        try:
            return identity_of(path) in self._verified
        except OSError:
            return False

    def unverified(self, wanted):
        """Let the engine verify what is on the disk and not verified yet; return why that cannot be done, "" if all is verified.

        Args:
            wanted: as of ``packages``.
        """
        rest = [item for item in wanted if not self.is_verified(item[1]["target"])]
        text = self.packages("verify", rest) if rest else ""
        rest = [item for item in rest if not self.is_verified(item[1]["target"])]
        if not rest:
            return ""
        names = ", ".join(sorted(set(repository["id"] for repository, _ in rest)))
        return "{0}: {1}".format(names, UNVERIFIED.format(text or os.path.basename(rest[0][1]["target"])))
