"""``xcpng-mirrors key``: show the key files, the pinned fingerprints and the rpm database, and whether they agree."""
import argparse
import json
import os
import sys
import time
from typing import Any, Dict, List, Optional, Sequence

from ..errors import EXIT_OK, EXIT_PROBLEM, MirrorsError
from ..host.keyring import KeyFile, RepositoryKeys, disagreements, look_at, outlook
from ..host.rpmdb import imported_keys
from ..trust.keys import PublicKey
from .common.console import Console, printable, utc, wrapped
from .common.host_options import SCHEMA, Host, add_host_arguments, describe_error, open_host


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", nargs="?", choices=("show", "check"), default="show",
                        help="show everything (the default), or check and show only problems")
    add_host_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show or check the keys, and return the exit code: with "check", 1 if the three do not agree."""
    host, now = open_host(arguments), int(time.time())
    fingerprints = host.settings.fingerprints
    found = [RepositoryKeys(repository, [look_at(path, fingerprints, now) for path in repository.key_paths])
             for repository in host.repositories]
    root = os.path.abspath(arguments.installroot)
    imported = imported_keys(root)
    problems = disagreements(found, fingerprints, imported, root)
    notes = outlook(found, fingerprints)
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(found, imported, problems, notes, host), indent=1))
    elif arguments.action == "show" and not arguments.quiet:
        out.lines(wrapped(_lines(found, fingerprints, imported), out.width))
    elif not (problems or arguments.quiet):
        out.line("key files, pinned fingerprints and rpm database agree")
    if not (arguments.json or arguments.quiet or problems):
        out.lines(["note: " + printable(note) for note in notes])
    for problem in problems:
        host.warn("key", str(problem))
    return EXIT_PROBLEM if problems and arguments.action == "check" else EXIT_OK


def _lines(found: Sequence[RepositoryKeys], fingerprints: Sequence[str], imported: Optional[Sequence[PublicKey]]) -> List[str]:
    lines = ["pinned: {}".format(fingerprint) for fingerprint in fingerprints]
    for item in found:
        for file in item.files:
            mode = "" if file.mode is None else ", owner {}, mode {:04o}".format(file.owner, file.mode)
            state = file.error.reference if file.error else "good"
            lines += ["", "{}: {}{}: {}".format(item.repository.id, file.path, mode, state)]
            lines += [line for key in file.keys for line in _key_lines(key, key.fingerprint in fingerprints)]
    lines.append("")
    if imported is None:
        return lines + ["rpm database: not known"]
    lines += ["rpm database: {} keys".format(len(imported))]
    for key in imported:
        note = "" if key.fingerprint in fingerprints else " (not pinned, so not trusted)"
        lines.append("  {} {}{}".format(key.fingerprint, key.user_id, note))
    return lines


def _key_lines(key: PublicKey, pinned: bool) -> List[str]:
    expires = "never" if key.expires is None else utc(key.expires)
    revoked = ", revoked" if key.revoked else ""
    lines = ["  {} {}{}".format(key.fingerprint, key.user_id, "" if pinned else " (not pinned, so not trusted)"),
             "  {} of {} bits, created {}, expires {}{}".format(key.algorithm, key.bits, utc(key.created), expires, revoked)]
    return lines + ["  its signing subkey {}{}".format(subkey.fingerprint, ", revoked" if subkey.revoked else "")
                    for subkey in key.subkeys]


def _values(found: Sequence[RepositoryKeys], imported: Optional[Sequence[PublicKey]], problems: Sequence[MirrorsError],
            notes: Sequence[str], host: Host) -> Dict[str, Any]:
    fingerprints = host.settings.fingerprints
    return {
        "schema": SCHEMA, "command": "key", "pinned": list(fingerprints), "agree": not problems,
        "problems": [describe_error(problem) for problem in problems], "warnings": list(host.warnings),
        "notes": list(notes),
        "repositories": [{"id": item.repository.id, "key_files": [_file_values(file) for file in item.files]} for item in found],
        "imported": None if imported is None else [dict(_key_values(key),
                                                        pinned=key.fingerprint in fingerprints) for key in imported],
    }


def _file_values(file: KeyFile) -> Dict[str, Any]:
    mode = None if file.mode is None else "{:04o}".format(file.mode)
    return {"path": file.path, "owner": file.owner or None, "mode": mode, "error": describe_error(file.error),
            "key": _key_values(file.key) if file.key else None, "keys": [_key_values(key) for key in file.keys]}


def _key_values(key: PublicKey) -> Dict[str, Any]:
    return {"fingerprint": key.fingerprint, "user_id": key.user_id, "algorithm": key.algorithm, "bits": key.bits,
            "created_at": utc(key.created), "expires_at": None if key.expires is None else utc(key.expires),
            "revoked": key.revoked, "may_sign": key.may_sign, "sha1_only": key.sha1_only,
            "signing_subkeys": [subkey.fingerprint for subkey in key.subkeys if not subkey.revoked]}
