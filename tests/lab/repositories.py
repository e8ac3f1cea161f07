"""Signed repositories in several states of one history, laid out as on the real mirrors.

``<root>/<state>/8/8.3/<repository>/x86_64/{Packages,repodata}``, and as on the real mirrors some files
with a signed SHA256SUMS in their folders: ``isos/8.3/*.iso``, ``8/xcp-ng-8.3.repo``. Each state is built
once, on first use; mirrors share it and lay their faults over it. Beside each state lie other
signatures of its repomd.xml: ``<root>/<state>+other-key`` and ``<root>/<state>+weak-digest``.
"""
import hashlib
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, Mapping, NamedTuple, Tuple

from .keys import OTHER, REPOSITORY, KeyRing
from .packages import UNSIGNED, Package, build, noise
from .tools import environment, locked, run
from .zstd_metadata import pack_with_zstd

DAY = 86400
REPOSITORIES = ("base", "updates")
ISO_PATH = "isos/8.3/xcp-ng-8.3.0.iso"
ISO_BYTES = 300000  # the magic of ISO 9660 stands at 32769
REPO_FILE_PATH = "8/xcp-ng-8.3.repo"
DEFAULT_SIZES: Mapping[str, Mapping[str, int]] = {"base": {"lab-base": 2000}, "updates": {"lab-agent": 20000}}
# A signature of repomd.xml that must not be believed: (owner of the key, digest).
SIGNATURE_VARIANTS: Dict[str, Tuple[str, str]] = {"other-key": (OTHER, "SHA256"), "weak-digest": (REPOSITORY, "SHA1")}


class State(NamedTuple):
    """One state of every repository."""

    version: str  # of every package in it
    age: int  # seconds between the state's timestamps and the lab's present; negative: in the future
    signer: str = REPOSITORY  # of the packages; repomd.xml is always signed by the repository's key
    description: str = ""
    compression: str = "gz"  # of the metadata; or "zstd"


STATES: Dict[str, State] = {
    "old": State("1.0", 6 * DAY, description="packages 1.0"),
    "middle": State("1.5", 4 * DAY, description="packages 1.5"),
    "new": State("2.0", 2 * DAY, description="packages 2.0: the current state"),
    "future": State("9.0", -30 * DAY, description="packages 9.0, stamps 30 days ahead, signed today (fast-forward)"),
    "testing": State("9.9", 1 * DAY, description="packages 9.9: of another repository, newer than new"),
    "other-key-packages": State("2.0", 2 * DAY - 3600, OTHER, "packages 2.0 by another key, repodata one hour newer than new"),
    "unsigned-packages": State("2.0", 2 * DAY - 7200, UNSIGNED, "unsigned packages 2.0, repodata two hours newer than new"),
    "zstd": State("2.0", 2 * DAY - 10800, description="packages 2.0, repodata in zstd, three hours newer than new", compression="zstd"),
}
HISTORY = ("old", "middle", "new", "future")


def repository_path(repository: str) -> str:
    """Return the path of a repository below a mirror's base, ending in "/"."""
    return "8/8.3/{}/x86_64/".format(repository)


class Trees:
    """The states on disk, and the one that is published now.

    Args:
        folder: where they are built.
        keys: the key ring.
        present: the lab's idea of now, seconds since 1970.
        sizes: repository -> package name -> bytes of payload.
    """

    def __init__(self, folder: str, keys: KeyRing, present: int, sizes: Mapping[str, Mapping[str, int]] = DEFAULT_SIZES) -> None:
        self.folder = folder
        self.present = present
        self.sizes = sizes
        self.published = "new"
        self._keys = keys
        self._lock = threading.Lock()
        os.makedirs(folder, exist_ok=True)

    def stamp(self, state: str) -> int:
        """Return revision and data timestamp of a state (they are one number), seconds since 1970."""
        return self.present - STATES[state].age

    def signed_at(self, state: str) -> int:
        """Return the signing time of a state's repomd.xml: a minute after its stamp, and never in the future."""
        return min(self.stamp(state) + 60, self.present)

    def path(self, state: str = "", variant: str = "") -> str:
        """Return a state's root folder, building it first if it does not exist.

        Args:
            state: a key of STATES; "" is the one that is published.
            variant: a key of SIGNATURE_VARIANTS: the folder of those signatures instead.
        """
        state = state or self.published
        done = os.path.join(self.folder, state)
        if not os.path.isdir(done):
            with self._lock, locked(os.path.join(self.folder, "lock")):
                if not os.path.isdir(done):
                    self._build(state, done)
        return "{}+{}".format(done, variant) if variant else done

    def file(self, path: str, state: str = "", variant: str = "") -> str:
        """Return where a file lies on disk, "" if there is none.

        A state also holds the packages and metadata files of the states before it: the
        real origin keeps them. That is why a stale mirror works for a client that is sent there.

        Args:
            path: relative to a mirror's base.
            state: a key of STATES; "": the published one.
            variant: a key of SIGNATURE_VARIANTS, or "".
        """
        if ".." in path.split("/"):
            return ""
        roots = [self.path(state, variant)]
        if not os.path.basename(path).startswith("repomd.xml"):
            roots += self._before(state or self.published)
        candidates = (os.path.join(root, path) for root in roots)
        return next((candidate for candidate in candidates if os.path.isfile(candidate)), "")

    def _before(self, state: str) -> List[str]:
        """Return the roots of the earlier states that are built already."""
        earlier = [name for name in HISTORY if self.stamp(name) < self.stamp(state)]
        return [root for root in (os.path.join(self.folder, name) for name in earlier) if os.path.isdir(root)]

    def _build(self, state: str, done: str) -> None:
        """Build everything beside its final place; the rename at the end makes it complete or absent."""
        work = os.path.join(self.folder, ".building-" + state)
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(os.path.join(work, "tmp"))
        for signer in (REPOSITORY, OTHER):
            self._keys.fingerprint(signer)  # made here, so that no two threads make one
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda repository: self._build_repository(state, repository, work), self.sizes))
        self._build_files(state, os.path.join(work, "tree"))
        for variant in SIGNATURE_VARIANTS:
            shutil.rmtree("{}+{}".format(done, variant), ignore_errors=True)
            os.rename(os.path.join(work, variant), "{}+{}".format(done, variant))
        os.rename(os.path.join(work, "tree"), done)
        shutil.rmtree(work)

    def _build_files(self, state: str, tree: str) -> None:
        """Make what lies beside the repositories, and sign its checksums."""
        version = STATES[state].version
        image = bytearray(noise("iso-" + version, ISO_BYTES))
        image[32769:32774] = b"CD001"
        section = "[xcp-ng-base]\nname=XCP-ng base {}\nbaseurl=http://mirrors.lab.invalid/8/8.3/base/x86_64/\n".format(version)
        for path, content in ((ISO_PATH, bytes(image)), (REPO_FILE_PATH, section.encode("ascii"))):
            folder, name = os.path.split(os.path.join(tree, path))
            sums = "{}  {}\n".format(hashlib.sha256(content).hexdigest(), name).encode("ascii")
            signature = self._keys.sign(sums, REPOSITORY, self.signed_at(state))
            os.makedirs(folder, exist_ok=True)
            for target, data in ((name, content), ("SHA256SUMS", sums), ("SHA256SUMS.asc", signature)):
                with open(os.path.join(folder, target), "wb") as stream:
                    stream.write(data)

    def _build_repository(self, state: str, repository: str, work: str) -> None:
        stamp = self.stamp(state)
        plan = STATES[state]
        target = os.path.join(work, "tree", repository_path(repository))
        scratch = os.path.join(work, "tmp")
        for name, size in sorted(self.sizes[repository].items()):
            package = Package(name, plan.version, size)
            built_at = min(stamp, self.present) - 3600
            build(package, os.path.join(target, "Packages"), scratch, built_at, self._keys, plan.signer)
        command = ["createrepo_c", "--quiet", "--workers", "1", "--revision", str(stamp), "--set-timestamp-to-revision", target]
        run(command, environment(scratch))
        if plan.compression == "zstd":
            pack_with_zstd(os.path.join(target, "repodata"))
        self._sign(state, repository, work)

    def _sign(self, state: str, repository: str, work: str) -> None:
        inside = repository_path(repository) + "repodata/repomd.xml"
        with open(os.path.join(work, "tree", inside), "rb") as stream:
            document = stream.read()
        variants = dict(SIGNATURE_VARIANTS, tree=(REPOSITORY, "SHA256"))
        for variant, (owner, digest) in variants.items():
            path = os.path.join(work, variant, inside + ".asc")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.write(self._keys.sign(document, owner, self.signed_at(state), digest))
