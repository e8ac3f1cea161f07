"""The package manager's own metadata cache, filled with proven files: yum and dnf then use it without a request.

Rules, in order:
    1. Only repomd.xml of the resolution, its signature, and files that match their checksums in it get into the cache.
    2. A file that is there already and matches stays; it is not fetched again.
    3. Every new file is complete beside the cache before the switch begins. The switch first removes what makes the cache
       valid (yum: the cookie; dnf: repomd.xml), then puts the files, the signature, repomd.xml and the cookie in place, in
       this order. Killed at any moment, the package manager goes on from the old state or the new one, or fetches anew.
    4. The cookie holds the key that the cache was filled for (base URLs, variables, settings, keys, snapshot pin) and the
       digest of its repomd.xml. The plugin uses a cache without asking only if both match.
    5. No link below the cache's folder is followed, and nothing is left in it that the package manager's own "clean" does not
       remove; dnf's key ring stays, as one that dnf has made itself.

How both read their caches: yum 3.4.3 yumRepo.py (a flat folder, ``cachecookie``, ``retrieveMD`` checks before it fetches),
libdnf 0.69 repo/Repo.cpp (``repodata/`` below the folder, ``pubring/`` with the keys for repomd.xml.asc).
"""
import contextlib
import hashlib
import logging
import os
import shutil
import stat
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import MirrorsError, UsageError
from ..host.keyring import pinned_packets
from ..host.settings import Settings
from ..model import REPOMD, Repository
from ..net.download import Events, Fetched, download
from ..net.items import Attempt, Item, Source
from ..net.partial_file import disk_error, require_space
from ..net.session import OpenSession
from ..state.memory import known_rate
from ..trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ..trust.digest import DigestChecker
from ..trust.keyfile import read_key_file
from ..trust.repomd import MAX_REPOMD_BYTES, RepomdFile, parse_repomd
from ..util.files import read_capped, sync_folder, write_whole
from .download_plan import rules_of, sources_of
from .resolution import Resolution

COOKIE = "cachecookie"  # yum's own name for the file whose age is that of the cache; dnf's "clean" removes it too
COOKIE_START = "xcpng-mirrors"
SIGNATURE = REPOMD + ".asc"
MAX_METADATA_BYTES = 256 * 1024 * 1024  # of one file; EPEL's largest has 30 MiB
MAX_COOKIE_BYTES = 4096
MAX_KEY_CHARACTERS = 128
MAX_KEYRING_BYTES = 4 * 1024 * 1024
READ_BYTES = 1024 * 1024
BLOCK_BYTES = 4096  # that a file takes at least, on usual file systems
LAYOUTS = DNF, YUM = "dnf", "yum"

OnFile = Callable[[str, int, Optional[int]], None]  # name, bytes so far, bytes in all

log = logging.getLogger("xcpng-mirrors")


class MetadataCache(NamedTuple):
    """The cache folder of one repository, as the plugin describes it."""

    folder: str  # absolute
    layout: str  # DNF or YUM
    types: Tuple[str, ...]  # of metadata that this run may read, as in repomd.xml
    key: str  # what the filled cache is good for, hex digits
    forced: bool = False  # the admin wants newer metadata in any case (--refresh, clean expire-cache)

    def path(self, href: str) -> str:
        """Return where the package manager keeps a file of repomd.xml, or repomd.xml itself."""
        return os.path.join(self.folder, href if self.layout == DNF else os.path.basename(href))

    @property
    def cookie(self) -> str:
        """Path of the cookie."""
        return os.path.join(self.folder, COOKIE)

    @property
    def keyring(self) -> str:
        """Path of dnf's keys for repomd.xml.asc."""
        return os.path.join(self.folder, "pubring", "pubring.gpg")

    @property
    def keybox(self) -> str:
        """Path of the same keys in the format that gpg makes and prefers."""
        return os.path.join(self.folder, "pubring", "pubring.kbx")

    def is_own(self, path: str) -> bool:
        """Whether a path below the folder is for the files that this module writes beside those of repomd.xml."""
        top = os.path.relpath(path, self.folder).split("/")[0]
        return path in (self.path(REPOMD), self.path(SIGNATURE)) or top in (COOKIE, "pubring")

    def is_plain(self, path: str) -> bool:
        """Whether no link lies between the folder and a path below it; the path itself may be one."""
        folders = os.path.relpath(os.path.dirname(path), self.folder).split("/")
        return not any(os.path.islink(os.path.join(self.folder, *folders[:count])) for count in range(1, len(folders) + 1)
                       if folders != ["."])


def read_cache(values: object) -> MetadataCache:
    """Check what a plugin says about a cache folder.

    Raises:
        UsageError: usage: it cannot be used.
    """
    try:
        if not isinstance(values, dict):
            raise ValueError("no JSON object")
        folder, layout, key = str(values["folder"]), str(values["layout"]), str(values["key"])
        types = tuple(str(each) for each in values["types"])
        if not os.path.isabs(folder) or layout not in LAYOUTS or not key.isalnum() or len(key) > MAX_KEY_CHARACTERS:
            raise ValueError("no absolute folder, unknown layout or malformed key")
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError("usage", "a cache folder that cannot be used: {}".format(error))
    return MetadataCache(os.path.normpath(folder), layout, types, key, values.get("forced") is True)


def valid_sha256(cache: MetadataCache) -> str:
    """Return the digest of the repomd.xml in a cache that was filled for the same key, "" for any other cache."""
    digest = repomd_sha256(cache)
    try:
        words = read_capped(cache.cookie, MAX_COOKIE_BYTES).decode("ascii").split()
    except (OSError, ValueError):
        return ""
    return digest if words == [COOKIE_START, cache.key, digest] else ""


def repomd_sha256(cache: MetadataCache) -> str:
    """Return the digest of the repomd.xml in a cache, whatever it was filled for; "" if there is none."""
    try:
        return hashlib.sha256(read_capped(cache.path(REPOMD), MAX_REPOMD_BYTES)).hexdigest()
    except OSError:
        return ""


class Filled(NamedTuple):
    """The result of filling a cache."""

    error: Optional[MirrorsError] = None
    attempts: Tuple[Attempt, ...] = ()  # of all files


def fill(resolution: Resolution, cache: MetadataCache, beside: str, settings: Settings, now: int,
         open_session: OpenSession, on_file: OnFile) -> Filled:
    """Bring the files of a resolution into the package manager's cache.

    Args:
        resolution: with a snapshot.
        cache: whose lock the package manager holds meanwhile.
        beside: a folder of ours for files that are not yet part of the cache; made and removed here.
        settings: of the .conf.
        now: seconds since 1970; becomes the age of the cache.
        open_session: makes the sessions.
        on_file: called while a file arrives.

    Returns:
        What happened. After an error the old cache is untouched, unless the disk failed during the switch.
    """
    try:
        raw, signature = _signed(resolution, cache)
        files = _wanted(parse_repomd(raw).files, cache)
        with _beside(beside):
            missing = [file for file in files if not _has(cache, file)]
            new = {cache.path(file.href): os.path.join(beside, "file-{}".format(number)) for number, file in enumerate(missing)}
            attempts = _bring(resolution, missing, list(new.values()), settings, now, open_session, on_file)
            new.update(_write_rest(resolution.repository, cache, beside, raw, signature))
            _switch(cache, new)
            _finish(cache, files, new, now)
    except _Failed as failure:
        return Filled(failure.error, failure.attempts)
    except OSError as error:
        return Filled(disk_error(error, cache.folder))
    except MirrorsError as error:
        return Filled(error)
    return Filled(None, attempts)


class _Failed(Exception):
    """A file could not be fetched."""

    def __init__(self, error: MirrorsError, attempts: Tuple[Attempt, ...]) -> None:
        super().__init__(str(error))
        self.error = error
        self.attempts = attempts


def _signed(resolution: Resolution, cache: MetadataCache) -> Tuple[bytes, bytes]:
    """Return repomd.xml and its signature; where the last resolution still holds, they are in the cache."""
    snapshot = resolution.proven()
    if snapshot.raw:
        return snapshot.raw, snapshot.signature
    raw = read_capped(cache.path(REPOMD), MAX_REPOMD_BYTES)
    if hashlib.sha256(raw).hexdigest() != snapshot.sha256:
        raise UsageError("state", "the cached repomd.xml has changed meanwhile", where=cache.path(REPOMD), hint="try again")
    memory = resolution.memory
    is_its = memory.snapshot is None or memory.snapshot.sha256 == snapshot.sha256
    return raw, (memory.signature if is_its else "").encode("latin-1") or read_capped(cache.path(SIGNATURE), MAX_SIGNATURE_BYTES)


def _wanted(files: Sequence[RepomdFile], cache: MetadataCache) -> List[RepomdFile]:
    """Choose the types that this run may read, and those that the cache has had before, perhaps for a command like "list"."""
    try:
        names = os.listdir(os.path.dirname(cache.path(REPOMD)))
    except OSError:
        names = []

    def had_before(file: RepomdFile) -> bool:
        return any(_type_of(name) == file.type for name in names)

    chosen = [file for file in files if file.type.replace("_zck", "") in cache.types or had_before(file)]
    return list({cache.path(file.href): file for file in chosen if not cache.is_own(cache.path(file.href))}.values())


def _type_of(name: str) -> str:
    """Return the type of metadata that a file's name stands for (createrepo_c: CHECKSUM-TYPE.xml.gz), "" if it says none."""
    stem = name.split(".")[0].rpartition("-")[2]
    return stem + "_db" if ".sqlite" in name else stem


@contextlib.contextmanager
def _beside(folder: str) -> Iterator[None]:
    """Make an empty folder for new files, and remove it in the end; a link or a file in its place is removed."""
    os.makedirs(os.path.dirname(folder), mode=0o755, exist_ok=True)
    _remove(folder)
    os.mkdir(folder, 0o700)
    try:
        yield
    finally:
        _remove(folder)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _has(cache: MetadataCache, file: RepomdFile) -> bool:
    return cache.is_plain(cache.path(file.href)) and _matches(cache.path(file.href), file)


def _matches(path: str, file: RepomdFile) -> bool:
    """Whether a regular file is what repomd.xml says."""
    checker = DigestChecker(file.checksum_type, file.checksum)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb", buffering=0) as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or file.size is not None and status.st_size != file.size:
                return False
            for chunk in iter(lambda: stream.read(READ_BYTES), b""):
                checker.update(chunk)
        checker.finish()
    except (OSError, MirrorsError):
        return False
    return True


def _bring(resolution: Resolution, files: Sequence[RepomdFile], targets: Sequence[str], settings: Settings, now: int,
           open_session: OpenSession, on_file: OnFile) -> Tuple[Attempt, ...]:
    """Bring files to their targets: of a pinned snapshot from the state, else from the proven mirrors (rule 1)."""
    repository, missing, wanted = resolution.repository, list(files), dict(zip(files, targets))
    if resolution.local_folder:
        for file in files:
            with contextlib.suppress(OSError):  # it is lost, or there is no space: the download reports that
                shutil.copyfile(os.path.join(resolution.local_folder, file.href), wanted[file])
                os.chmod(wanted[file], 0o644)
        missing = [file for file in files if not _matches(wanted[file], file)]
    if not missing:
        return ()
    items = [Item(file.href, wanted[file], _checker_of(file), file.size) for file in missing]
    rules = rules_of(settings)._replace(max_bytes=MAX_METADATA_BYTES)

    def done(result: Fetched) -> None:
        size = missing[result.number].size
        if result.error is None and size is not None:
            on_file(missing[result.number].href, size, size)

    events = Events(lambda number, received, total, mirror: on_file(missing[number].href, received, total), done)
    sources = [Source(mirror.url, rate=known_rate(resolution.memory, mirror.url, now), last_resort=mirror.source == "origin",
                      proven=True) for mirror in resolution.mirrors]
    sources += [source for source in sources_of(repository, resolution.memory, settings, now)
                if source.url not in {mirror.url for mirror in resolution.mirrors}]
    fetched = download(items, sources, repository.network, rules, events, open_session)
    attempts = tuple(attempt for result in fetched for attempt in result.attempts)
    for result in fetched:
        if result.error is not None:
            raise _Failed(result.error, attempts)
    return attempts


def _checker_of(file: RepomdFile) -> Callable[[], Any]:
    return lambda: DigestChecker(file.checksum_type, file.checksum)


def _write_rest(repository: Repository, cache: MetadataCache, beside: str, raw: bytes, signature: bytes) -> Dict[str, str]:
    """Write signature, key ring, repomd.xml and cookie beside the cache; return where, by path, in the order of the switch."""
    cookie = "{} {} {}\n".format(COOKIE_START, cache.key, hashlib.sha256(raw).hexdigest()).encode("ascii")
    contents = [(cache.path(SIGNATURE), signature), (cache.path(REPOMD), raw), (cache.cookie, cookie)]
    keys = pinned_packets(repository.key_paths, repository.fingerprints) if cache.layout == DNF else b""
    if keys and not _has_keys(cache, keys):
        contents.insert(1, (cache.keyring, keys))
    new = {path: os.path.join(beside, os.path.basename(path)) for path, _ in contents}
    for path, content in contents:
        write_whole(new[path], content, 0o600 if path == cache.keyring else 0o644, durable=False)
    return new


def _has_keys(cache: MetadataCache, keys: bytes) -> bool:
    """Whether librepo's gpg finds the pinned keys: a file of transferable public keys (RFC 9580 section 10.1) is a keyring to it.

    Without the one that has signed, or with one whose end has been put off since, librepo refuses the signature, throws the
    cache away and asks the admin to import the key.
    """
    if not cache.is_plain(cache.keyring):
        return False
    if not os.path.lexists(cache.keybox):  # gpg prefers it
        return _is(cache.keyring, keys)
    try:
        known = read_capped(cache.keybox, MAX_KEYRING_BYTES)
    except OSError:
        return False
    wanted = [body for key in read_key_file(keys) for body in [key.primary] + [body for _, body in key.following]]
    return all(body in known for body in wanted)  # it holds each as it is


def _switch(cache: MetadataCache, new: Dict[str, str]) -> None:
    """Put the new files in the old ones' places, all but the cookie (rule 3)."""
    repomd, asc = cache.path(REPOMD), cache.path(SIGNATURE)
    os.makedirs(cache.folder, mode=0o755, exist_ok=True)
    if os.stat(cache.folder).st_dev != os.stat(os.path.dirname(new[cache.cookie])).st_dev:
        require_space((path, -(-os.path.getsize(source) // BLOCK_BYTES) * BLOCK_BYTES) for path, source in new.items())
    is_same = set(new) <= {repomd, asc, cache.keyring, cache.cookie} and all(
        cache.is_plain(path) and _is(path, read_capped(new[path], MAX_REPOMD_BYTES)) for path in (repomd, asc))
    if not is_same:
        _remove(cache.cookie)
        _remove(repomd)
    for path, source in new.items():
        if path == cache.keyring:
            _remove(cache.keybox)
        if path != cache.cookie and not (is_same and path in (repomd, asc)):
            _put(cache, source, path)


def _put(cache: MetadataCache, source: str, path: str) -> None:
    """Move a file to its place, whatever was there; the state may be on another file system."""
    folder = cache.folder
    for name in os.path.relpath(path, folder).split("/")[:-1]:
        folder = os.path.join(folder, name)
        if os.path.islink(folder) or not os.path.isdir(folder):
            _remove(folder)
            os.mkdir(folder, 0o700 if path == cache.keyring else 0o755)
    _remove(path)
    shutil.move(source, path)


def _is(path: str, content: bytes) -> bool:
    try:
        return read_capped(path, len(content)) == content
    except OSError:
        return False


def _finish(cache: MetadataCache, files: Sequence[RepomdFile], new: Dict[str, str], now: int) -> None:
    """Set the age of the cache to ``now``, remove what is of no use any more, and put the cookie last."""
    for path in [cache.path(file.href) for file in files] + [cache.path(REPOMD)]:
        os.utime(path, (now, now), follow_symlinks=False)
    _remove_unused(cache, files)
    os.utime(new[cache.cookie], (now, now))
    _put(cache, new[cache.cookie], cache.cookie)
    sync_folder(cache.folder)


def _remove_unused(cache: MetadataCache, files: Sequence[RepomdFile]) -> None:
    """Remove metadata of earlier snapshots from dnf's folder, as dnf does when it fetches; yum overwrites and cleans its own."""
    if cache.layout != DNF:
        return
    folder = os.path.dirname(cache.path(REPOMD))
    kept = {os.path.relpath(path, folder).split("/")[0] for path in [cache.path(file.href) for file in files]}
    kept |= {os.path.basename(REPOMD), os.path.basename(SIGNATURE)}
    for name in os.listdir(folder):
        if name not in kept:
            _remove(os.path.join(folder, name))
