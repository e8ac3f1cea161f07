"""Pinning a host to the snapshots that its pool agreed on; ``state/snapshot_pin.py`` keeps to them afterwards.

    1. The token (``state/pool_token.py``) names a digest. A mirror must serve that repomd.xml now, signed by the pinned key.
       If none of those asked first does, all mirrors are asked: those that lag behind serve it longest. A snapshot that this
       host is already pinned to needs no mirror.
    2. It must not be older than what this host has accepted: no token lowers the high-water mark.
    3. All metadata that it names is fetched into the state, each file checked against its checksum; the signature is
       proven again there.
    4. All repositories of the token that this host has are pinned, or none.
"""
import contextlib
import logging
import os
from typing import Any, List, NamedTuple, Sequence, Tuple

from ..errors import FetchError, MirrorsError, TrustError, UsageError
from ..host.keyring import load_keys
from ..host.settings import Settings
from ..model import REPOMD, Probe, Snapshot
from ..net.items import Item, Source
from ..packages.get_files import FetchedFile, FileRequest, fetch_files
from ..packages.get_packages import primary_checker
from ..privsep.gateway import Gateway
from ..resolve.download_plan import rules_of, sources_of
from ..resolve.resolution import Resolution
from ..resolve.resolver import ResolveOptions, Resolver
from ..state.memory import Decision, SnapshotPin, with_decision
from ..state.pool_token import Agreed, Token
from ..state.snapshot_pin import SIGNATURE, HeldSnapshot, folder_of, hold, remove_folders, until
from ..state.store import MEMORY, State
from ..trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ..trust.digest import DigestChecker
from ..trust.freshness import is_rollback
from ..trust.identity import WRONG_REPOSITORY
from ..trust.metadata import RepomdProver
from ..trust.primary import MAX_OPEN_BYTES, MAX_PRIMARY_BYTES, PrimaryPackage, read_primary
from ..trust.repomd import parse_repomd, primary_file
from ..trust.unpack import unpacked

MAX_FILE_BYTES = 256 * 1024 * 1024  # of one file of metadata
MAX_BYTES = 512 * 1024 * 1024  # of all metadata of a repository, as far as repomd.xml gives its sizes

log = logging.getLogger("xcpng-mirrors")

AGREE_AGAIN = "on the pool's master: xcpng-mirrors pool --agree"

Failure = Tuple[str, MirrorsError]  # id of the repository, and why it cannot be pinned


class _PreparedPin(NamedTuple):
    """A repository whose pin is proven, and only has to be written."""

    resolution: Resolution
    snapshot: Snapshot


class _SignatureChecker:
    """Proves a repomd.xml.asc while it arrives."""

    def __init__(self, prover: RepomdProver, repomd: bytes) -> None:
        self._prover = prover
        self._repomd = repomd
        self._signature = b""

    def update(self, chunk: bytes) -> None:
        """Take the next bytes; raises TrustError unsupported for more than a signature has."""
        self._signature += chunk
        if len(self._signature) > MAX_SIGNATURE_BYTES:
            raise TrustError("unsupported", "larger than {} bytes, the limit of this program".format(MAX_SIGNATURE_BYTES))

    def finish(self) -> Any:
        """Return the proof, or raise TrustError."""
        return self._prover.prove(self._repomd, self._signature)


class SnapshotPinner:
    """Pins this host to snapshots.

    Args:
        settings: of the .conf.
        state: that the pins are written to.
        now: seconds since 1970.
        gateway: to the network.
    """

    def __init__(self, settings: Settings, state: State, now: int, gateway: Gateway) -> None:
        self._settings = settings
        self._state = state
        self._now = now
        self._gateway = gateway

    def pin(self, resolutions: Sequence[Resolution], token: Token) -> List[Failure]:
        """Pin the repositories to the snapshots that a token names.

        Args:
            resolutions: of a resolver, for the repositories of this host.
            token: the agreement.

        Returns:
            The failures. If there is none, all repositories of the token are pinned; else no pin is new or changed.
        """
        agreed = {each.repository_id: each for each in token.repositories}
        mine = [resolution for resolution in resolutions if resolution.repository.id in agreed]
        if not mine:
            return [("", UsageError("pin", "the token names no repository of this host", where=", ".join(sorted(agreed))))]
        ready: List[_PreparedPin] = []
        failures: List[Failure] = []
        for resolution in mine:  # without the lock: this takes seconds, and an update may begin meanwhile
            try:
                ready.append(self._prepare(resolution, agreed[resolution.repository.id]))
            except MirrorsError as error:
                failures.append((resolution.repository.id, error))
        failures = failures or self._write_all(ready, token.expires)
        if failures:
            for resolution in mine:
                self._forget_files(resolution.repository.id)
        return failures

    def _prepare(self, resolution: Resolution, agreed: Agreed) -> _PreparedPin:
        """Find and prove the snapshot, and fetch its files into the state."""
        repository = resolution.repository
        found = _serving(resolution, agreed)
        if not found:
            with contextlib.suppress(TrustError):  # a damaged pin is made again
                held = hold(repository, self._state.load(repository.id, repository.place), self._now)
                if held is not None and held.snapshot.sha256 == agreed.sha256:
                    return _PreparedPin(resolution, held.snapshot)
            everyone = ResolveOptions(ask_everyone=True)
            resolution = Resolver(self._settings, self._state.load_all([repository]), everyone,
                                  gateway=self._gateway).run([repository])[0]
            found = _serving(resolution, agreed)
        snapshot = _agreed_snapshot(resolution, found, agreed)
        if is_rollback(snapshot, self._state.load(repository.id, repository.place).accepted):
            what = "the agreed revision {} is older than what this host has accepted".format(snapshot.revision)
            raise TrustError("rollback", what, hint=AGREE_AGAIN)
        self._fetch(resolution, snapshot, [probe.mirror.url for probe in found])
        return _PreparedPin(resolution, snapshot)

    def _fetch(self, resolution: Resolution, snapshot: Snapshot, serving: Sequence[str]) -> None:
        """Fetch repomd.xml, its signature and all files that it names, except those that are there already and good."""
        repository = resolution.repository
        sources = [Source(url) for url in serving]
        sources += [source for source in sources_of(repository, resolution.memory, self._settings, self._now)
                    if source.url not in serving]
        prover = RepomdProver(load_keys(repository.key_paths, repository.fingerprints), self._now)
        rules = rules_of(self._settings)._replace(max_bytes=MAX_FILE_BYTES)
        folder = self._folder(repository.id, snapshot)
        requests = [_file_request(item) for item in _items(snapshot, prover, folder)]
        # without progress: it mostly takes a second, and the pool's table counts the hosts
        for result in fetch_files(requests, sources, repository.network, rules, open_session=self._gateway.open):
            if result.error is not None:
                raise result.error

    def _forget_files(self, name: str) -> None:
        """Remove what was fetched for a pin that failed."""
        pin, folder = self._state.load(name).pin, os.path.dirname(self._state.path(name, MEMORY))
        remove_folders(folder, kept=folder_of(folder, pin.snapshot.sha256) if pin is not None else "")

    def _write_all(self, ready: Sequence[_PreparedPin], expires: int) -> List[Failure]:
        """Write the pins if the files of all still exist."""
        with self._state.locked(self._settings.deadline) as held:
            if not held:
                what = "the state is locked by another process or cannot be written"
                return [("", UsageError("state", what, where=self._state.folder))]
            for item in ready:
                folder = self._folder(item.resolution.repository.id, item.snapshot)
                paths = [REPOMD, SIGNATURE] + [file.href for file in parse_repomd(item.snapshot.raw).files]
                if not all(os.path.isfile(os.path.join(folder, path)) for path in paths):
                    gone = UsageError("state", "its files were removed meanwhile", where=folder, hint="try again")
                    return [(item.resolution.repository.id, gone)]
            try:
                self._write_pins(ready, expires)
            except UsageError as error:
                return [("", error)]
        return []

    def _write_pins(self, ready: Sequence[_PreparedPin], expires: int) -> None:
        """Write all pins, or restore the earlier ones; then write what belongs to them, which the next update would do too."""
        state = self._state
        before = {item.resolution.repository.id: state.load(item.resolution.repository.id).pin for item in ready}
        try:
            for item in ready:
                state.write_pin(item.resolution.repository.id, self._pin(item, expires))
        except UsageError:
            for name, pin in before.items():
                with contextlib.suppress(UsageError):
                    state.write_pin(name, pin)
            raise
        for item in ready:
            self._settle(item, self._pin(item, expires))

    def _folder(self, repository_id: str, snapshot: Snapshot) -> str:
        return folder_of(os.path.dirname(self._state.path(repository_id, MEMORY)), snapshot.sha256)

    def _pin(self, item: _PreparedPin, expires: int) -> SnapshotPin:
        return SnapshotPin(item.snapshot._replace(raw=b""), expires, self._now, item.resolution.repository.place)

    def _settle(self, item: _PreparedPin, pin: SnapshotPin) -> None:
        resolution, state = item.resolution, self._state
        name = resolution.repository.id
        folder = self._folder(name, item.snapshot)
        remove_folders(os.path.dirname(folder), kept=folder)
        log.info("%s: pinned to revision %d, %s, until %s", name, pin.snapshot.revision, pin.snapshot.sha256, until(pin))
        decision = Decision(self._now, "pin", revision=pin.snapshot.revision, note=until(pin))
        state.update(name, with_decision(resolution.memory, decision))


def _serving(resolution: Resolution, agreed: Agreed) -> List[Probe]:
    return [probe for probe in resolution.probes if probe.snapshot is not None and probe.snapshot.sha256 == agreed.sha256]


def _agreed_snapshot(resolution: Resolution, found: Sequence[Probe], agreed: Agreed) -> Snapshot:
    newest = resolution.proven()
    for probe in found:
        if probe.outcome == WRONG_REPOSITORY:  # a token is a voice for something new, and none for what is another's
            raise TrustError(WRONG_REPOSITORY, probe.detail, where=probe.mirror.url, hint=AGREE_AGAIN)
        if probe.snapshot is not None:
            return probe.snapshot
    raise FetchError("unreachable", "no mirror serves the agreed revision {} any more; they serve revision {}".format(
        agreed.revision, newest.revision), hint=AGREE_AGAIN)


def _items(snapshot: Snapshot, prover: RepomdProver, folder: str) -> List[Item]:
    files = parse_repomd(snapshot.raw).files
    if sum(file.size or 0 for file in files) > MAX_BYTES or any((file.size or 0) > MAX_FILE_BYTES for file in files):
        raise TrustError("unsupported", "metadata of more than {} bytes".format(MAX_BYTES))
    items = [Item(REPOMD, os.path.join(folder, REPOMD), lambda: DigestChecker("sha256", snapshot.sha256), snapshot.size),
             Item(SIGNATURE, os.path.join(folder, SIGNATURE), lambda: _SignatureChecker(prover, snapshot.raw))]
    by_href = {file.href: file for file in files}
    for href, file in by_href.items():
        items.append(Item(href, os.path.join(folder, href),
                          lambda file=file: DigestChecker(file.checksum_type, file.checksum), file.size))  # type: ignore[misc]
    return items


def _file_request(item: Item) -> FileRequest:
    """Return a request; a lambda in the caller's loop would see the last item only."""
    return FileRequest(item.path, item, lambda verdict: FetchedFile(item.path))


def packages_of(held: HeldSnapshot) -> List[PrimaryPackage]:
    """Read the list of packages of a pin from the state.

    Raises:
        TrustError: pinned: it is damaged or missing.
    """
    file = primary_file(parse_repomd(held.snapshot.raw), held.folder)
    path = os.path.join(held.folder, file.href)
    checker = primary_checker(file)
    try:
        with open(path, "rb") as stream:
            checker.update(stream.read(MAX_PRIMARY_BYTES + 1))
        return list(read_primary(unpacked(checker.finish(), file.open_size or MAX_OPEN_BYTES)))
    except OSError as error:
        raise TrustError("pinned", "the pinned list of packages cannot be read: {}".format(error.strerror), where=path)
    except TrustError as error:
        raise TrustError("pinned", "the pinned list of packages cannot be used: {}".format(error.what), where=path)

