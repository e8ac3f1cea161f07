"""What gpg, gpgv and rpmkeys say about keys, signatures and packages, to compare with what we say.

``DIFFERENCES`` are the only reasons for which the answers may differ; docs/signatures.md explains each.
"""
import os
import re
import shutil
import subprocess
import tempfile

import pytest

from yum_plugin.errors import TrustError
from yum_plugin.trust.armor import read_blocks
from yum_plugin.trust.packets import TAG_SIGNATURE, read_packets

from .craft import armor, new_packet

# What they accept and we refuse: the class -> the errors of ours that belong to it
DIFFERENCES = {
    "weak digest": r"weak-digest: ",
    "16 bits": r"signature-invalid: the signature was made over other bytes",
    "message": r"malformed: a message, and no signature beside a file|signature-missing: there is no signature",
    "flaw": r"unsupported: a critical subpacket|malformed: (a truncated OpenPGP packet|a signature without a signed creation time)",
    "limit": r"unsupported: (larger|more) than",
    "V3 form": r"malformed: a V3 signature whose signed part is not 5 octets long",
    "digest list": r"unsupported: a signature (of public-key algorithm|with digest)",
    "dates": r"signature-invalid: the signature is dated before its key was made|signature-expired: ",
    "header form": r"malformed: an RPM (whose|that|without|with)|malformed: not an RPM|unsupported: an RPM (whose|of)",
    "covered": r"not-covered: |unsigned: ",
    "another key": r"unknown-key: ",
    "one packet": r"malformed: a (tag|list)|malformed: bytes that are not an OpenPGP packet|unsupported: a signature of version",
}
# What we accept and they refuse
OURS = {"unreadable beside", "another type beside", "another key beside", "by fingerprint", "unsigned digests", "form"}


def explains(error, judge=""):
    """The class of a refusal of ours; fails the test if there is none."""
    text = "{}: {}".format(error.reference, error.what)
    found = [name for name, pattern in DIFFERENCES.items() if re.match(pattern, text)]
    assert found, "refused without a reason that docs/signatures.md has: {} {}".format(text, judge)
    return found[0]


def need(*commands):
    lacking = [command for command in commands if not shutil.which(command)]
    if lacking:
        pytest.skip("not installed: {}".format(", ".join(lacking)))


def output_of(*command, data=b""):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


class Folder:
    """A folder of one judge, removed at the end."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="judge")

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as stream:
            stream.write(content)
        return path

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Gpgv(Folder):
    """gpgv with a key ring of its own."""

    def __init__(self, keys):
        need("gpgv")
        super().__init__()
        self._ring = self.write("ring.gpg", keys)

    def says(self, signature, document):
        """ "good": a signature by a key of the ring is valid, and none is bad; "bad": one is; "none": neither."""
        paths = self.write("signature", signature), self.write("document", document)
        _, out, err = output_of("gpgv", "--homedir", self.folder, "--status-fd", "1", "--keyring", self._ring, *paths)
        words = [line.split()[1] for line in out.splitlines() if line.startswith("[GNUPG:]")]
        if "BADSIG" in words:
            return "critical" if "due to an unknown critical bit" in err and words.count("BADSIG") == 1 else "bad"
        return "good" if "GOODSIG" in words else "none"

    def says_of_each(self, signature, document):
        """What it says of each signature packet of type 0x00 alone, as far as packets can be told apart."""
        found = []
        try:
            blocks = read_blocks(signature)
        except TrustError:
            return found
        for block in blocks:
            packets = []
            try:
                for tag, body in read_packets(block):
                    packets.append((tag, body))
            except TrustError:  # the rest is no packet
                pass
            found += [self.says(new_packet(tag, body), document) for tag, body in packets
                      if tag == TAG_SIGNATURE and body[1 if body[:1] == b"\4" else 2 :][:1] == b"\0"]
        return found


class Gpg(Folder):
    """gpg at a fixed time, with an empty key ring for each file."""

    def __init__(self, now):
        need("gpg")
        super().__init__()
        self._now = now

    def describes(self, data, fingerprint):
        """What it has after an import: (revoked, expires, may sign, signing subkeys that live); None: not the key."""
        home = tempfile.mkdtemp(dir=self.folder)
        base = ["gpg", "--homedir", home, "--batch", "--quiet", "--no-autostart", "--faked-system-time", "{}!".format(self._now)]
        output_of(*base, "--import", data=data)
        _, out, _ = output_of(*base, "--with-colons", "--list-keys", fingerprint)
        lines = [line.split(":") for line in out.splitlines()]
        shutil.rmtree(home)
        for line in lines:
            if line[0] == "pub":
                subkeys = [sub[4] for sub in lines if sub[0] == "sub" and sub[1] not in "re" and "s" in sub[11]]
                return line[1] == "r", int(line[6]) if line[6] else None, "s" in line[11], subkeys
        return None


class Rpmkeys(Folder):
    """rpmkeys with a database of its own."""

    def __init__(self, keys):
        need("rpmkeys")
        super().__init__()
        self._database = os.path.join(self.folder, "db")
        code, out, err = output_of("rpmkeys", "--dbpath", self._database, "--import",
                                   self.write("key", armor(keys, "PUBLIC KEY BLOCK")))
        assert code == 0, out + err

    def says(self, package):
        """ "good", or the classes of what it refuses: "bad", "no key", "unreadable", "digest", "unsigned", "error"."""
        code, out, err = output_of("rpmkeys", "--dbpath", self._database, "-Kv", self.write("package.rpm", package))
        lines = out.splitlines()[1:]
        found = set()
        for line in lines:
            if not line.strip() or line.endswith(": OK") or line.endswith(": NOTFOUND"):  # it lists what is missing after a fault
                continue
            if "ignature" in line:
                found.add("unreadable" if "invalid OpenPGP signature" in line else "no key" if "NOKEY" in line else "bad")
            else:
                found.add("digest" if re.search(r"(MD5|SHA1|SHA256|SHA256 ALT) digest: BAD", line) else "error")
        signed = any("ignature, key ID" in line and line.endswith(": OK") for line in lines)
        if code and not found:
            found.add("error")
        return found, signed, out + err
