"""The mirror's rsync daemon: whether it answers, lists this tree, and refuses uploads.

Only the module's top folder is listed here; ``tree.py`` compares the whole tree with the signed metadata.
"""
import os
import tempfile
from typing import List, Sequence

from ...errors import FetchError, MirrorsError, UsageError
from ...privsep.program import lent
from ..facts import TOP_FOLDERS
from ..rsync import RsyncAddress, RsyncEntry, RsyncLimits, listing, parse_address, run_rsync
from .inventory import examples
from .model import OK, PROBLEM, UNKNOWN, WARNING, Check, Cost, Finding, Subject

CHECK = Check("rsync", Cost(4, 2 * 10**6), 60.0)
UPLOADS = "rsync-uploads"
RUN_SECONDS = 20.0  # of one run of rsync
MAX_TOP_ENTRIES = 10000
_TEMPORARY = "/tmp"  # named, for Python would look for a folder by writing a file, which the audit's process may not
LIST_REMEDY = "in rsyncd.conf, in the module: path = /local/path/to/mirror, read only = yes, list = yes, and no auth users ="
UPLOAD_REMEDY = "in rsyncd.conf, in the module: read only = yes"
# What each reference of a failed listing means to the owner of the mirror
_MEANINGS = {
    "rsync-refused": "the daemon refuses",
    "unreachable": "it does not answer",
    "timed-out": "it accepts connections and sends nothing",
    "bad-answer": "the server is not an rsync daemon, or refuses to list",
    "truncated": "it ends the session early",
}


def limits_of(subject: Subject) -> RsyncLimits:
    """Return the limits of one run of rsync."""
    silent = max(1, int(subject.settings.connect_timeout + subject.settings.read_timeout))
    return RsyncLimits(connect_seconds=silent, silent_seconds=silent,
                       seconds=max(1.0, min(RUN_SECONDS, subject.budget.seconds_left)), max_entries=MAX_TOP_ENTRIES)


def run(subject: Subject) -> List[Finding]:
    """List the module's top folder, then try to upload to it."""
    if not subject.rsync_url:
        why = "no --rsync URL was given: a public mirror needs one, for others to sync from and for the redirector's checks"
        return [Finding(CHECK.name, UNKNOWN, (why,), "xcpng-mirrors audit {} --rsync rsync://HOST/MODULE/".format(subject.url))]
    address = parse_address(subject.rsync_url)
    subject.budget.connect()
    try:
        entries = list(listing(address, limits_of(subject), recursive=False))
    except FetchError as error:
        return [listing_failed(error)]
    except UsageError as error:
        if error.reference == "configuration" and "rsync program" in error.what:
            return [Finding(CHECK.name, UNKNOWN, (error.what,), error.hint)]
        return [Finding(CHECK.name, PROBLEM, (error.what,), LIST_REMEDY)]
    top = judge_top(entries, address.url)
    return [top] + (_check_uploads(subject, address) if top.verdict != PROBLEM else [])  # never upload to what is not a mirror


def listing_failed(error: FetchError) -> Finding:
    """Return the finding of a module that could not be listed."""
    words = _MEANINGS.get(error.reference, "it cannot be listed")
    if error.reference == "rsync-refused" and "auth" in error.what:
        words = "it asks for a password"
    elif error.reference == "rsync-refused" and "nknown module" in error.what:
        words = "it has no such module"
    elif error.reference == "rsync-refused" and ("greeting" in error.what or "startup line" in error.what):
        words = "the server is not an rsync daemon, or closes the connection"
    return Finding(CHECK.name, PROBLEM, ("{}: {}: {}".format(words, error.reference, error.what),), LIST_REMEDY,
                   {"reference": error.reference})


def judge_top(entries: Sequence[RsyncEntry], url: str) -> Finding:
    """Judge what lies at the top of a module."""
    names = [entry.path for entry in entries]
    values = {"entries": len(entries)}
    if not entries:
        return Finding(CHECK.name, PROBLEM, ("the module is empty",), LIST_REMEDY, values)
    if TOP_FOLDERS[0] not in names:
        what = "not a mirror of XCP-ng: {} lists {}".format(url, examples(names, 5))
        remedy = "name the folder that holds 8/ and isos/: --rsync rsync://HOST/MODULE/PATH/"
        return Finding(CHECK.name, PROBLEM, (what,), remedy, values)
    evidence = ["{} lists {}".format(url, examples(names, 5))]
    missing = [name for name in TOP_FOLDERS if name not in names]
    if missing:
        evidence.append("missing: {}".format(", ".join(missing)))
    writable = [entry.path for entry in entries if entry.permissions[7:8] == "w"]
    if writable:
        evidence.append("writable by every user of the server: {}".format(examples(writable)))
    return Finding(CHECK.name, WARNING if missing or writable else OK, tuple(evidence), "chmod o-w" if writable else "", values)


def _check_uploads(subject: Subject, address: RsyncAddress) -> List[Finding]:
    """Try to upload an empty file with a unique name, for only that proves a refusal; if it is accepted, remove it again."""
    name = ".xcpng-mirrors-audit-{}".format(os.urandom(8).hex())
    with tempfile.TemporaryDirectory(dir=_TEMPORARY) as folder:
        path = os.path.join(folder, name)
        with open(path, "wb"):
            pass
        subject.budget.connect()
        try:
            with lent(folder), run_rsync(["--", path, address.url], limits_of(subject), address.url) as rsync:
                rsync.finish()
        except MirrorsError as error:
            return [judge_refusal(error)]
        return [_accepted(subject, address, name)]


def judge_refusal(error: MirrorsError) -> Finding:
    """Distinguish a refused upload from a failure that proves nothing.

    Args:
        error: that the upload ended with.
    """
    if "read only" in error.what or error.reference == "rsync-refused":
        said = error.what.partition("; ")[0]
        return Finding(UPLOADS, OK, ("an upload was tried and refused: {}".format(said),), values={"accepted": False})
    if "ermission denied" in error.what or "mkstemp" in error.what:
        words = "the daemon took an upload and only the server's file permissions stopped it: {}".format(error.what)
        return Finding(UPLOADS, PROBLEM, (words,), UPLOAD_REMEDY, {"accepted": False})
    # A daemon that refuses and closes at once may lose its message.
    if "onnection reset" in error.what or error.reference == "truncated":
        return Finding(UPLOADS, OK, ("an upload was tried and the connection was closed: {}".format(error.what),),
                       values={"accepted": False})
    return Finding(UPLOADS, UNKNOWN, ("{}: {}".format(error.reference, error.what),))


def _accepted(subject: Subject, address: RsyncAddress, name: str) -> Finding:
    """Remove the uploaded file: sync an empty folder to the module with --delete, and exclude every name but this one."""
    left = ""
    with tempfile.TemporaryDirectory(dir=_TEMPORARY) as empty:
        options = ["--dirs", "--delete", "--include=/" + name, "--exclude=*", "--", empty + "/", address.url]
        try:
            subject.budget.connect()
            with lent(empty), run_rsync(options, limits_of(subject), address.url) as rsync:
                rsync.finish()
            subject.budget.connect()
            if any(entry.path == name for entry in listing(address, limits_of(subject), recursive=False)):
                left = "it is still there"
        except MirrorsError as error:
            left = "{}: {}".format(error.reference, error.what)
    evidence = ["anybody may upload: an empty file was accepted"]
    evidence.append("it could not be removed ({}): {}{} is left there".format(left, address.url, name) if left
                    else "it was removed again: anybody may also delete")
    return Finding(UPLOADS, PROBLEM, tuple(evidence), UPLOAD_REMEDY, {"accepted": True, "left": name if left else None})
