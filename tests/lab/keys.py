"""OpenPGP keys made and used by the real gpg.

A key ring lives in the lab's folder, but gpg sees it through a short symbolic link in the
system's temporary folder: the agent's socket lies in the key ring, and the path of a
Unix socket may not be longer than 107 bytes.
"""
import os
import tempfile
import time
from typing import Dict, List, Optional

from .tools import environment, run

REPOSITORY = "repository"
OTHER = "other"
_IDENTITIES = {
    REPOSITORY: "Lab Repository (test key) <repository@lab.invalid>",
    OTHER: "Somebody Else (test key) <other@lab.invalid>",
}


def gpg_time(seconds: int) -> str:
    """Write seconds since 1970 in the form that ``--faked-system-time`` reads."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))


class KeyRing:
    """The lab's two key pairs: the repository's own, and somebody else's.

    Args:
        folder: where the key ring is kept; made if it does not exist.
        created_at: creation time of new keys, seconds since 1970.
    """

    def __init__(self, folder: str, created_at: int) -> None:
        self._folder = folder
        self._created_at = created_at
        self._link_folder = ""
        self._fingerprints: Dict[str, str] = {}
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(os.path.join(folder, "gpg-agent.conf"), "w", encoding="ascii") as stream:
            stream.write("disable-check-own-socket\n")  # on a busy machine the agent fails that test of itself, and ends

    @property
    def homedir(self) -> str:
        """A short path of the key ring, good until close()."""
        if not self._link_folder:
            self._link_folder = tempfile.mkdtemp(prefix="lab")
            os.symlink(os.path.abspath(self._folder), os.path.join(self._link_folder, "k"))
        return os.path.join(self._link_folder, "k")

    def gpg(self, *arguments: str, stdin: Optional[bytes] = None) -> bytes:
        """Run gpg on this key ring in batch mode and return its standard output."""
        command = ["gpg", "--homedir", self.homedir, "--batch", "--yes", "--quiet", "--no-tty", "--trust-model", "always"]
        return run(command + list(arguments), environment(self._folder), stdin)

    def fingerprint(self, owner: str = REPOSITORY) -> str:
        """Return the fingerprint of a key (40 upper-case hex digits); the key is made if there is none."""
        if owner not in self._fingerprints:
            identity = _IDENTITIES[owner]
            found = self._find(identity)
            if not found:
                faked = gpg_time(self._created_at)
                arguments = ["--quick-generate-key", identity, "rsa2048", "sign", "never"]
                self.gpg("--faked-system-time", faked, "--passphrase", "", "--pinentry-mode", "loopback", *arguments)
                found = self._find(identity)
            self._fingerprints[owner] = found
        return self._fingerprints[owner]

    def _find(self, identity: str) -> str:
        lines = self.gpg("--list-keys", "--with-colons").decode("utf-8").splitlines()
        fingerprint = ""
        for fields in (line.split(":") for line in lines):
            if fields[0] == "fpr":
                fingerprint = fields[9]
            elif fields[0] == "uid" and fields[9] == identity:
                return fingerprint
        return ""

    def public_key(self, owner: str = REPOSITORY) -> bytes:
        """Return the armored public key."""
        return self.gpg("--armor", "--export", self.fingerprint(owner))

    def sign(
        self, document: bytes, owner: str = REPOSITORY, at: Optional[int] = None, digest: str = "SHA256", armor: bool = True
    ) -> bytes:
        """Make a detached signature.

        Args:
            document: what is signed.
            owner: whose key.
            at: signing time, seconds since 1970; None: now.
            digest: as gpg names it, e.g. "SHA1" for a weak one.
            armor: as text (.asc) or binary.
        """
        options: List[str] = ["--armor"] if armor else []
        if at is not None:
            options += ["--faked-system-time", gpg_time(at)]
        options += ["--local-user", self.fingerprint(owner), "--digest-algo", digest, "--detach-sign", "--output", "-"]
        return self.gpg(*options, stdin=document)

    def close(self) -> None:
        """End gpg's agent and remove the short path; the key ring itself stays."""
        if not self._link_folder:
            return
        run(["gpgconf", "--homedir", self.homedir, "--kill", "all"], environment(self._folder))
        os.unlink(self.homedir)
        os.rmdir(self._link_folder)
        self._link_folder = ""
