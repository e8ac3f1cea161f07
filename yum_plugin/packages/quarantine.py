"""Refused files in quarantine, as evidence for the mirror's owner: the beginning of each and a note, readable by root only."""
import hashlib
import json
import os
from typing import Any, BinaryIO, List, Mapping, NamedTuple, Optional, Tuple

from ..util.files import listed, read_capped, write_whole

MAX_FILES = 8  # so at most 64 MiB a repository
MAX_KEPT_BYTES = 8 * 1024 * 1024  # of each file: an RPM's headers and much of its payload
READ_BYTES = 256 * 1024
MAX_NOTE_BYTES = 64 * 1024
_DAMAGE = (OSError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class QuarantineNote(NamedTuple):
    """The note beside a file in quarantine."""

    when: int  # seconds since 1970
    package: str  # NEVRA
    location: str  # below the repository
    mirrors: Tuple[str, ...]  # base URLs of those that sent it
    reference: str
    what: str
    sha256: str  # of the whole file
    size: int  # bytes
    path: str  # of its kept beginning


def quarantine_file(folder: str, stream: BinaryIO, note: Mapping[str, Any]) -> None:
    """Put the beginning of a refused file into quarantine.

    Args:
        folder: made if missing, mode 0700; the oldest files are removed when there are more than MAX_FILES.
        stream: at the start of the refused file.
        note: for the .json file beside it; sha256 and size of the whole file and kept_bytes are added.

    Raises:
        OSError: it could not be read or written.
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
    _remove_oldest(folder)


def _remove_oldest(folder: str) -> None:
    notes = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".json")]
    notes.sort(key=lambda path: (os.stat(path).st_mtime_ns, path))
    for note in notes[:-MAX_FILES]:
        os.unlink(note)
        os.unlink(note[:-len("json")] + "rpm")


def quarantine_notes(folder: str) -> List[QuarantineNote]:
    """Read the notes of a folder, the oldest first; one that cannot be read is left out."""
    notes = [_read_note(path) for path in listed(folder, ".json", 4 * MAX_FILES)]
    return sorted((note for note in notes if note is not None), key=lambda note: note.when)


def _read_note(path: str) -> Optional[QuarantineNote]:
    try:
        values = json.loads(read_capped(path, MAX_NOTE_BYTES).decode("utf-8"))
        texts = [str(values[key]) for key in ("package", "location", "reference", "what", "sha256")]
        mirrors = tuple(str(url) for url in values["mirrors"])
        return QuarantineNote(int(values["when"]), texts[0], texts[1], mirrors, texts[2], texts[3], texts[4], int(values["size"]),
                    path[:-len("json")] + "rpm")
    except _DAMAGE:
        return None
