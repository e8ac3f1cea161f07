"""An rsync daemon as the source: a listing, then exactly the wanted files, by name.

rsync may create plain files only: no links, devices, owners or modes of the source. It writes into the stage, which is
lent to its user while it runs; so nothing has its published name before it was proven.
"""
import os
import re
from itertools import chain
from typing import Dict, Iterator, List, Mapping, Sequence

from ...errors import FetchError, MirrorsError
from ...privsep.program import lent
from ..rsync import FOLDER, RsyncAddress, RsyncEntry, RsyncLimits, listing, run_rsync, unsafe_name
from .destination import LIST, PARTS
from .plan import WORK, Catalogue, Want, filter_listing, is_inside, joined
from .source import OnProgress, SourceLimits, SyncSource

READ_BYTES = 4096
SILENT_SECONDS = 120  # a daemon that reads a large tree from cold disks sends nothing for long
MAX_LISTINGS = 4  # more listings of single folders cost the daemon more than one of the whole tree
_PLAIN = re.compile(r"[A-Za-z0-9_.,+=@~/-]+\Z")  # the characters that an address may have
_DONE = re.compile(rb"\s*([0-9]+)\s+[0-9]+%")
_OPTIONS = ("--from0", "--times", "--no-links", "--no-devices", "--no-specials", "--no-perms", "--no-owner", "--no-group",
            "--chmod=D700,F600", "--partial-dir=" + PARTS, "--info=progress2", "--outbuf=L")


class RsyncSource(SyncSource):
    """An rsync daemon.

    Args:
        address: from ``parse_address``.
        limits: see there.
        bounds: of each run; ``limits`` has the time of a transfer.
    """

    lists = True

    def __init__(self, address: RsyncAddress, limits: SourceLimits = SourceLimits(),
                 bounds: RsyncLimits = RsyncLimits(silent_seconds=SILENT_SECONDS)) -> None:
        self.url = address.url
        self._address = address
        self._limits = limits
        self._bounds = bounds

    def catalogue(self, excludes: Sequence[str], named: Sequence[str] = ()) -> Catalogue:
        """List the wanted folders alone, if they are few and named without wildcards, for a whole tree is work for the daemon.

        If the daemon could not read everything, the catalogue is incomplete.
        """
        faults: List[FetchError] = []
        folders = plain_folders(named)
        entries = self._entries("", faults) if not folders else chain.from_iterable(
            self._entries(folder, faults) for folder in folders)
        above = [RsyncEntry(path, FOLDER, 0, 0, "rwxr-xr-x") for path in _folders_above(folders)]
        return filter_listing(chain(above, entries), excludes)._replace(complete=not faults)

    def _entries(self, folder: str, faults: List[FetchError]) -> Iterator[RsyncEntry]:
        """Yield the entries below a folder; if the listing is incomplete, its error is added to the faults."""
        anything = False
        try:
            for entry in listing(self._address, self._bounds, below=folder, without=("/" + WORK,)):
                anything = True
                yield entry._replace(path=joined(folder, entry.path))  # an unsafe path stays unsafe
        except FetchError as error:
            if error.reference != "rsync-partial" or not (anything or folder):
                raise
            if anything:  # otherwise there is no such folder, and the caller finds nothing in it
                faults.append(error)

    def fetch(self, wants: Mapping[str, Want], stage: str, on_progress: OnProgress, lock: int) -> Dict[str, MirrorsError]:
        """Fetch files into the stage."""
        names = os.path.join(os.path.dirname(stage), LIST)
        with open(names, "wb") as stream:
            stream.write(b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in wants))
        options = list(_OPTIONS) + ["--files-from=-"]
        if self._limits.bytes_per_second:
            options.append("--bwlimit={}".format(max(1, self._limits.bytes_per_second // 1024)))
        total = sum(want.listed.size for want in wants.values() if want.listed)
        try:
            with open(names, "rb") as listed, lent(stage):
                self._transfer(options + ["--", self._address.url, "."], total, on_progress, lock, stage, listed.fileno())
        except FetchError as error:
            if error.reference != "rsync-partial":
                raise
            return {path: error for path in wants}
        finally:
            os.unlink(names)
        return {}

    def _transfer(self, arguments: Sequence[str], total: int, on_progress: OnProgress, lock: int, stage: str, names: int) -> None:
        bounds = self._bounds._replace(seconds=self._limits.seconds)
        kept = (lock,) if lock >= 0 else ()
        with run_rsync(arguments, bounds, self.url, keep_open=kept, folder=stage, names=names) as run:
            output, rest = run.output, b""
            for chunk in iter(lambda: os.read(output.fileno(), READ_BYTES), b""):
                *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
                rest = rest[-READ_BYTES:]
                found = [match for match in map(_DONE.match, lines) if match]
                if found:
                    on_progress.progress(self.url, int(found[-1].group(1)), total)
            run.finish()


def plain_folders(named: Sequence[str]) -> List[str]:
    """Return the folders that can be listed alone; none if a pattern has wildcards, or if they are more than MAX_LISTINGS."""
    folders = sorted({name.strip("/") for name in named})
    plain = all("/" in name and _PLAIN.match(name) and not unsafe_name(name) for name in folders)
    outer = [name for name in folders if not any(is_inside(name, other) for other in folders if other != name)]
    return outer if plain and len(outer) <= MAX_LISTINGS else []


def _folders_above(folders: Sequence[str]) -> List[str]:
    """Return the folders and those above them, the outer ones first."""
    names = [folder.split("/") for folder in folders]
    return sorted({"/".join(parts[:count]) for parts in names for count in range(1, len(parts) + 1)})
