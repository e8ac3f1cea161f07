"""The errors that a reader may see: usage errors, bytes that could not be fetched, and bytes that must not be trusted.

This module imports nothing of the package, so every module may import it.
Each error has a ``reference`` (stable, kebab-case: scripts and documentation rely on it) from its family's table.
The table also holds the hint that is shown when the raiser gives none.
"""
from typing import Dict

EXIT_OK = 0
EXIT_PROBLEM = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_REFUSED = 4
EXIT_BUG = 5
UNREADABLE = frozenset(["unsupported"])  # neither proven nor contradicted
CLOCK_REMEDY = "chronyc makestep sets it, chronyc sources shows who keeps it right"


class MirrorsError(Exception):
    """Base of all errors meant for a reader.

    Args:
        reference: a key of the family's ``REFERENCES``.
        what: one sentence without a full stop, e.g. "repomd.xml is older than the one already accepted".
        where: the mirror, file or setting that it concerns.
        hint: the command or action that fixes it; the reference's own hint if left out.

    Raises:
        KeyError: the family has no such reference (a bug of the raiser, found by its first test).
    """

    REFERENCES: Dict[str, str] = {"internal": "please report this with the log file"}
    exit_code = EXIT_BUG

    def __init__(self, reference: str, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(reference, what, where, hint)
        self.reference = reference
        self.what = what
        self.where = where
        if reference in UNREADABLE:
            self.exit_code = EXIT_UNREACHABLE
        self.hint = hint or self.REFERENCES[reference]

    def __str__(self) -> str:
        return describe(self.reference, self.what, self.where, self.hint)


def describe(reference: str, what: str, where: str, hint: str) -> str:
    """Return a problem in the form that every message of this program has.

    Args:
        reference: the stable name.
        what: one sentence without a full stop.
        where: the mirror, file or setting; may be empty.
        hint: how to fix it; may be empty.

    Returns:
        ``reference: what (where); hint`` on one line, without control characters.
    """
    place = " ({})".format(where) if where else ""
    advice = "; {}".format(hint) if hint else ""
    text = "{}: {}{}{}".format(reference, what, place, advice)
    return "".join(character if character.isprintable() else "?" for character in text)


class UsageError(MirrorsError):
    """The command line, a setting or an installed file is wrong."""

    exit_code = EXIT_USAGE
    REFERENCES = {
        "usage": "see 'xcpng-mirrors --help'",
        "configuration": "see the comments in the .conf file",
        "own-copy": "to have it proven: repo_gpgcheck=1, and its key in fingerprints=; to leave it out for good: repos=",
        "key-file": "reinstall the package that owns the key: xcp-ng-release",
        "sandbox": "see /var/log/xcpng-mirrors.log, and check the memory of this host",
        "state": "check free space and permissions of the state directory",
        "pin": "see 'xcpng-mirrors pool --help'",
        "no-plugin": "on that host: yum install xcpng-mirrors",
        "busy": "wait until it ends",
        "in-the-way": "move it away if it does not belong there; mount a disk there rather than link to it",
        "no-repository": "see 'dnf repolist --all'; repos= in the .conf selects the repositories that this program handles",
    }


class FetchError(MirrorsError):
    """The bytes could not be fetched; another mirror may have them."""

    exit_code = EXIT_UNREACHABLE
    REFERENCES = {
        "unreachable": "check the network, DNS and proxy of this host",
        "timed-out": "the mirror is slow or down; another one is used if there is one",
        "address-refused": "if that server is meant: allow_networks= in the .conf",
        "tls-expired": "tell the mirror's owner to renew the certificate, and check this host's clock",
        "tls-hostname": "tell the mirror's owner: the certificate is for another name",
        "tls-untrusted": "check sslcacert= of the repository and this host's CA bundle",
        "tls-incomplete": "tell the mirror's owner to serve the intermediate certificates (fullchain)",
        "tls-failed": "check TLS settings of this host and of its proxy",
        "http-status": "the mirror does not have the file, or it is broken",
        "too-large": "the answer is larger than such a file may be; nothing was kept",
        "too-slow": "another mirror is used if there is one",
        "truncated": "the mirror closed the connection early; another one is used if there is one",
        "redirect-refused": "mirrors are asked directly and may not redirect elsewhere",
        "rsync-refused": "the module is unknown, needs a password or accepts no more clients; list the modules of the host: rsync rsync://HOST/",
        "rsync-partial": "the server could not read some of its files, or they changed during the transfer; try again later",
        "rsync-failed": "see rsync(1), EXIT VALUES",
        "out-of-step": "the mirror is being synced, or a cache on the way has kept one of the two files; try again later",
        "bad-answer": "the server does not speak plain HTTP; a captive portal or a proxy may answer in its place",
    }


class TrustError(MirrorsError):
    """The bytes arrived, but they must not be trusted."""

    exit_code = EXIT_REFUSED
    REFERENCES = {
        "signature-missing": "the mirror is avoided for a while; see 'xcpng-mirrors mirrors'",
        "signature-invalid": "the mirror is avoided for a while; see 'xcpng-mirrors mirrors'",
        "wrong-signature-type": "the mirror is avoided for a while; see 'xcpng-mirrors mirrors'",
        "unknown-key": "do not install it; if the publisher has changed the key: 'xcpng-mirrors key show' names the commands",
        "weak-digest": "only SHA-256, SHA-384 and SHA-512 signatures are accepted",
        "signature-expired": "the repository must be signed again by its owner",
        "key-mismatch": "the installed key is not the pinned one; reinstall xcp-ng-release",
        "key-expired": "install the renewed key: update xcp-ng-release",
        "key-revoked": "do not update; ask the XCP-ng team for the new key",
        "key-invalid": "reinstall the package that owns the key: xcp-ng-release",
        "rollback": "if the repository really went back: xcpng-mirrors refresh --accept-rollback",
        "wrong-repository": "the mirror is avoided for a while; see 'xcpng-mirrors mirrors'",
        "unconfirmed": "it is used once the redirector, the origin or a second mirror names it; see 'xcpng-mirrors mirrors'",
        "pinned": "remove the pin: 'xcpng-mirrors precheck --unpin' on this host, 'xcpng-mirrors pool --disagree' on all hosts",
        "mix-and-match": "the mirror is avoided for a while; see 'xcpng-mirrors mirrors'",
        "payload-mismatch": "the file was changed after it was signed; it is fetched from another mirror",
        "not-covered": "the signature does not cover the whole file; do not install it",
        "unsigned": "do not install it",
        "wrong-package": "the file is not the package that was asked for",
        "malformed": "the file is damaged or forged; do not use it",
        "unsupported": "this program cannot read the file, which says nothing about whether it is good",
        "unsafe-path": "the metadata names a file outside its repository; do not use it",
    }
