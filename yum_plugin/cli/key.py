"""``xcpng-mirrors key``: the key files, the pinned fingerprints and the rpm database, whether they agree, and where this host
stands while the key of the publisher changes. It reads files and uses no network.
"""
import argparse
import json
import os
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ..errors import EXIT_OK, EXIT_PROBLEM, MirrorsError
from ..host.key_standing import IN_USE, KeyStanding, LastSignature, next_steps, signers_of, standings
from ..host.keyring import KeyFile, RepositoryKeys, disagreements, look_at, outlook
from ..host.rpmdb import imported_keys
from ..host.settings import fragment_paths
from ..model import Repository
from ..trust.keys import PublicKey
from .common.console import Console, printable, utc, wrapped
from .common.host_options import SCHEMA, Host, add_host_arguments, describe_error, open_host


class _View(NamedTuple):
    """What is shown."""

    found: Sequence[RepositoryKeys]
    stands: Sequence[KeyStanding]
    signatures: Sequence[LastSignature]
    imported: Optional[Sequence[PublicKey]]


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
    stands = standings([path for repository in host.repositories for path in repository.key_paths], fingerprints, imported, now)
    view = _View(found, stands, [_last_signature(each, stands, host) for each in host.repositories], imported)
    notes, steps = outlook(found, fingerprints), next_steps(stands, view.signatures, fragment_paths(), root)
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(view, problems, notes, steps, host), indent=1))
    elif arguments.action == "show" and not arguments.quiet:
        out.lines(wrapped(_lines(view, host), out.width))
    elif not (problems or arguments.quiet):
        out.line("key files, pinned fingerprints and rpm database agree")
    if not (arguments.json or arguments.quiet):
        out.lines(["note: " + printable(note) for note in notes if not problems] + ["next: " + printable(step) for step in steps])
    for problem in problems:
        host.warn("key", str(problem))
    return EXIT_PROBLEM if problems and arguments.action == "check" else EXIT_OK


def _last_signature(repository: Repository, stands: Sequence[KeyStanding], host: Host) -> LastSignature:
    memory = host.state.load(repository.id, repository.place).memory
    refusal = ""
    for decision in memory.decisions:
        is_unknown = any(reference == "unknown-key" for _, reference, _ in decision.rejected) or (
            decision.error.startswith("unknown-key"))
        if decision.about == "metadata":
            refusal = "metadata" if decision.error and is_unknown else ""
        elif decision.about == "packages" and is_unknown:
            refusal = "packages"
    signers = signers_of(memory.signature.encode("latin-1"), stands) if memory.signature else ()
    return LastSignature(repository.id, memory.snapshot.signed_at if memory.snapshot else 0, signers, refusal)


def _lines(view: _View, host: Host) -> List[str]:
    pinned = set(host.settings.fingerprints)
    origin = host.origins.get("fingerprints", "the default")
    lines = ["pinned: {}: {} ({})".format(each.fingerprint, _standing_words(each), origin)
             for each in view.stands if each.fingerprint in pinned]
    lines += ["announced: {}: by {}; not trusted".format(each.fingerprint, ", ".join(each.announced_by))
              for each in view.stands if each.announced_by]
    lines += ["{}: last signed {} in the name of {}".format(each.repository_id, utc(each.signed_at), ", ".join(
        signer if signer in pinned else signer + " (not pinned)" for signer in each.signers))
        for each in view.signatures if each.signed_at and each.signers]
    for item in view.found:
        for file in item.files:
            mode = "" if file.mode is None else ", owner {}, mode {:04o}".format(file.owner, file.mode)
            state = file.error.reference if file.error else "good"
            lines += ["", "{}: {}{}: {}".format(item.repository.id, file.path, mode, state)]
            lines += [line for key in file.keys for line in _key_lines(key, key.fingerprint in pinned)]
    lines.append("")
    if view.imported is None:
        return lines + ["rpm database: not known"]
    lines += ["rpm database: {} keys".format(len(view.imported))]
    for key in view.imported:
        note = "" if key.fingerprint in pinned else " (not pinned, so not trusted)"
        lines.append("  {} {}{}".format(key.fingerprint, key.user_id, note))
    return lines


def _standing_words(each: KeyStanding) -> str:
    if each.state == IN_USE and each.imported is False:
        return "in use, but not in the rpm database"
    return "in no key file" if not each.paths else each.state if each.state == IN_USE else each.state + ", vouches for nothing"


def _key_lines(key: PublicKey, pinned: bool) -> List[str]:
    expires = "never" if key.expires is None else utc(key.expires)
    revoked = ", revoked" if key.revoked else ""
    lines = ["  {} {}{}".format(key.fingerprint, key.user_id, "" if pinned else " (not pinned, so not trusted)"),
             "  {} of {} bits, created {}, expires {}{}".format(key.algorithm, key.bits, utc(key.created), expires, revoked)]
    return lines + ["  its signing subkey {}{}".format(subkey.fingerprint, ", revoked" if subkey.revoked else "")
                    for subkey in key.subkeys]


def _values(view: _View, problems: Sequence[MirrorsError], notes: Sequence[str], steps: Sequence[str],
            host: Host) -> Dict[str, Any]:
    fingerprints, found, imported = host.settings.fingerprints, view.found, view.imported
    origin = host.origins.get("fingerprints")
    return {
        "schema": SCHEMA, "command": "key", "pinned": list(fingerprints), "agree": not problems,
        "problems": [describe_error(problem) for problem in problems], "warnings": list(host.warnings),
        "notes": list(notes), "next": list(steps), "pinned_by": str(origin) if origin else None,
        "standings": [{"fingerprint": each.fingerprint, "state": each.state, "key_files": list(each.paths),
                       "imported": each.imported, "announced_by": list(each.announced_by)} for each in view.stands],
        "last_signatures": [{"id": each.repository_id, "signed_at": utc(each.signed_at) if each.signed_at else None,
                             "signers": list(each.signers), "refused": each.refusal or None} for each in view.signatures],
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
