"""Wrong bytes kept aside, for the report to the mirror's owner: the beginning of a file and a note, few and root's only."""
import hashlib
import json
import os
from typing import Any, BinaryIO, Mapping

from .files import write_whole

MAX_FILES = 8
MAX_KEPT_BYTES = 8 * 1024 * 1024  # of each file: an RPM's headers and much of its payload
READ_BYTES = 256 * 1024


def keep_aside(folder: str, stream: BinaryIO, note: Mapping[str, Any]) -> None:
    """Keep the beginning of a refused file.

    Args:
        folder: made if missing, mode 0700; the oldest go when there are more than MAX_FILES.
        stream: at the start of the refused file.
        note: goes into the .json file beside it, with sha256 and size of the whole file and kept_bytes added.

    Raises:
        OSError: it could not be read or kept.
    """
    digest, size, kept = hashlib.sha256(), 0, bytearray()
    for chunk in iter(lambda: stream.read(READ_BYTES), b""):
        digest.update(chunk)
        size += len(chunk)
        kept += chunk[:MAX_KEPT_BYTES - len(kept)]
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o700)
    base = os.path.join(folder, digest.hexdigest()[:16])
    write_whole(base + ".rpm", bytes(kept), 0o600)
    text = json.dumps(dict(note, sha256=digest.hexdigest(), size=size, kept_bytes=len(kept)), indent=1, sort_keys=True)
    write_whole(base + ".json", text.encode("ascii"), 0o600)
    _forget_oldest(folder)


def _forget_oldest(folder: str) -> None:
    notes = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".json")]
    notes.sort(key=lambda path: (os.stat(path).st_mtime_ns, path))
    for note in notes[:-MAX_FILES]:
        os.unlink(note)
        os.unlink(note[:-len("json")] + "rpm")
