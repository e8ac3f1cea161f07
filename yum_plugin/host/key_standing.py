"""Where a host stands with each key while the publisher's key changes, and which command brings it further.

    1. What all key files say about a key is put together, as for a proof (``keyring``); a file that others than root can
       change says nothing.
    2. Only fingerprints= makes a key trusted. That it lies in a key file, was certified by a pinned key, or is named by a
       signature of what mirrors serve, is told and changes nothing.
"""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import MirrorsError, TrustError
from ..trust.announcement import announcers
from ..trust.armor import read_blocks
from ..trust.keyfile import MAX_KEY_FILE_BYTES, KeyPackets, merge, read_key_file
from ..trust.keys import MIN_BITS, PublicKey, describe_keys
from ..trust.packets import names, read_signatures
from ..util.files import read_trusted
from .settings import FRAGMENT_FOLDER, read_settings

IN_USE, REVOKED, EXPIRED, MISSING, UNUSABLE = "in use", "revoked", "expired", "missing", "not for signing"
ANNOUNCED, STRANGE = "announced", "not trusted"
_GRADUAL = "yum update xcp-ng-release", "yum update"
_BY_HAND = "xcpng-mirrors verify xcp-ng-release-*.rpm && rpm -U xcp-ng-release-*.rpm", "yum update"


class KeyStanding(NamedTuple):
    """Where a host stands with one key."""

    fingerprint: str  # 40 upper-case hex digits
    state: str  # of a pinned key IN_USE, REVOKED, EXPIRED, MISSING, UNUSABLE; of another ANNOUNCED, STRANGE
    paths: Tuple[str, ...] = ()  # the key files that hold it
    imported: Optional[bool] = None  # into the rpm database; None: not known
    announced_by: Tuple[str, ...] = ()  # fingerprints of pinned keys
    key: Optional[PublicKey] = None  # as all files together describe it


class LastSignature(NamedTuple):
    """Whom the signature names that proved what a repository had last."""

    repository_id: str
    signed_at: int  # seconds since 1970; 0: nothing was proven yet
    signers: Tuple[str, ...]  # fingerprints of keys in the key files, else what the signature says: a fingerprint or key id
    refusal: str  # "metadata" or "packages" if the last ones were refused as signed by an unknown key; "": they were not


def standings(paths: Sequence[str], fingerprints: Sequence[str], imported: Optional[Sequence[PublicKey]],
              now: int) -> List[KeyStanding]:
    """Return where a host stands with each pinned key and with each other one in its key files.

    Args:
        paths: of the key files.
        fingerprints: the pinned ones, 40 upper-case hex digits.
        imported: what ``rpmdb.imported_keys`` returned.
        now: seconds since 1970.

    Returns:
        The pinned keys in the order of their fingerprints, then the others in the order of the files.
    """
    packets, places = _read(paths)
    keys = {key.fingerprint: key for each in packets.values() for key in _described(each)}
    pinned = [keys[fingerprint] for fingerprint in fingerprints if fingerprint in keys]
    in_rpm = None if imported is None else {key.fingerprint for key in imported}
    found = []
    for fingerprint in dict.fromkeys([*fingerprints, *packets]):
        said = announcers(packets[fingerprint], pinned, now) if fingerprint not in fingerprints else ()
        key = keys.get(fingerprint)
        state = _state(key, now) if fingerprint in fingerprints else ANNOUNCED if said else STRANGE
        found.append(KeyStanding(fingerprint, state, tuple(places.get(fingerprint, ())),
                                 None if in_rpm is None else fingerprint in in_rpm, said, key))
    return found


def _read(paths: Sequence[str]) -> Tuple[Dict[str, KeyPackets], Dict[str, List[str]]]:
    """Return what the files say of each key, and which files hold it, both by fingerprint."""
    found: List[KeyPackets] = []
    places: Dict[str, List[str]] = {}
    for path in dict.fromkeys(paths):
        try:
            keys = read_key_file(read_trusted(path, MAX_KEY_FILE_BYTES))
        except MirrorsError:
            continue  # what is wrong with a file is ``keyring.look_at``'s to tell
        found += keys
        for key in keys:
            places.setdefault(key.fingerprint, []).append(path)
    return {key.fingerprint: key for key in merge(found)}, places


def _described(key: KeyPackets) -> List[PublicKey]:
    try:
        return describe_keys(key.encoded())
    except TrustError:
        return []


def _state(key: Optional[PublicKey], now: int) -> str:
    if key is None:
        return MISSING
    if key.revoked:
        return REVOKED
    if key.expires is not None and now >= key.expires:
        return EXPIRED
    signers = ([key] if key.may_sign else []) + list(key.subkeys)
    is_usable = key.bits >= MIN_BITS[key.algorithm] and any(
        not signer.revoked and (signer.expires is None or now < signer.expires) for signer in signers)
    return IN_USE if is_usable else UNUSABLE


def signers_of(signature: bytes, known: Sequence[KeyStanding]) -> Tuple[str, ...]:
    """Return whom the signatures beside a file name, each once; which of them are good is not asked.

    Args:
        signature: the bytes of the .asc file.
        known: the keys whose key ids are to be replaced by their fingerprints.
    """
    try:
        found = [each for each in read_signatures(read_blocks(signature)) if not isinstance(each, TrustError)]
    except TrustError:
        return ()
    owners = {fingerprint: each.fingerprint for each in known
              for fingerprint in [each.fingerprint] + [subkey.fingerprint for subkey in (each.key.subkeys if each.key else ())]}
    signers = []
    for made in found:
        own = next((owners[fingerprint] for fingerprint in owners if names(made, fingerprint)), "")
        signers.append(own or max(made.issuers, key=len, default="nobody"))
    return tuple(dict.fromkeys(signers))


def overruled(fragments: Sequence[str]) -> List[Tuple[str, str, Tuple[str, ...]]]:
    """Find fingerprints of a fragment that a later one leaves out, such as an admin's own of before the change.

    Returns:
        The earlier fragment, the one that counts, and the fingerprints that this leaves out.
    """
    said = []
    for path in fragments:
        reading = read_settings("", [path])
        if "fingerprints" in reading.origins:
            said.append((path, reading.settings.fingerprints))
    if not said:
        return []
    last, kept = said[-1]
    gone = [(path, last, tuple(each for each in pinned if each not in kept)) for path, pinned in said[:-1]]
    return [each for each in gone if each[2]]


def next_steps(found: Sequence[KeyStanding], signatures: Sequence[LastSignature], fragments: Sequence[str],
               installroot: str = "/") -> List[str]:
    """Return what an admin should know and do, one sentence each; empty unless the key changes.

    Args:
        found: of ``standings``.
        signatures: of each repository.
        fragments: paths of the files in the fragment folder, in their order.
        installroot: the root folder of the host, for the commands.
    """
    pinned = {each.fingerprint for each in found if each.state not in (ANNOUNCED, STRANGE)}
    steps = ["{} is not trusted: {} names it, but {}, which is read later, does not; add it there, or remove fingerprints= "
             "there".format(", ".join(gone), earlier, later) for earlier, later, gone in overruled(fragments)]
    announced = [each for each in found if each.state == ANNOUNCED]
    steps += ["{} is announced by {}, and not trusted; the package that brings its fingerprint makes it so".format(
        each.fingerprint, ", ".join(each.announced_by)) for each in announced]
    refused = {each.refusal for each in signatures}
    if "metadata" in refused:
        steps.append("what mirrors offer is signed by no pinned key. If the key was changed: fetch the newest xcp-ng-release "
                     "that a pinned key has signed, from any mirror and in any way; '{}' installs it only if that is so; "
                     "then '{}'".format(*_BY_HAND))
    elif announced or "packages" in refused or any(set(each.signers) - pinned for each in signatures):
        steps.append("the key is about to change: '{}', that package alone; then '{}'".format(*_GRADUAL))
    dead = [each for each in found if each.state in (REVOKED, EXPIRED)]
    if dead and not any(each.state == IN_USE for each in found):
        steps.append("no pinned key can vouch for anything: ask the publisher, in another way than through a mirror, for the new "
                     "key's fingerprint; then lay its file where gpgkey= says, and write fingerprints= in a file of your own "
                     "in " + FRAGMENT_FOLDER)
    else:
        steps += ["{} is {} and vouches for nothing; fingerprints= needs it no longer".format(each.fingerprint, each.state)
                  for each in dead]
    root = "" if installroot == "/" else "--root {} ".format(installroot)
    believed = [each.fingerprint for each in found if each.imported and each.key is not None and each.key.revoked]
    steps += ["rpm itself still believes {}, which is revoked: rpm {}-e --allmatches gpg-pubkey-{}".format(
        fingerprint, root, fingerprint[-8:].lower()) for fingerprint in believed]
    return steps
