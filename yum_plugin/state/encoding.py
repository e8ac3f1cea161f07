"""The values of ``memory.py`` as JSON objects, and back. Pure.

A decoder raises one of ``DAMAGE`` for whatever a damaged or foreign file may hold. The names in the files are those of
their first version, so that an older or newer package reads what another one wrote.
"""
from typing import Any, Dict

from ..model import Mirror, Snapshot
from ..util.urls import clean_base_url
from .memory import Decision, Memory, Record, SnapshotPin

SCHEMA = 1
# What a damaged file may do to the code that reads it.
DAMAGE = (OSError, ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError)

_NO_RECORD = Record(str(), str(), int(), int(), int(), float(), int())  # only the types count
_QUARANTINED_UNTIL = "rests_until"


def snapshot_to(snapshot: Snapshot) -> Dict[str, Any]:
    """Return the object of a snapshot, without the bytes of its files."""
    values = dict(snapshot._asdict())
    del values["raw"], values["signature"]
    return values


def snapshot_of(values: Dict[str, Any]) -> Snapshot:
    """Read what ``snapshot_to`` has made."""
    sha256 = values["sha256"]
    if not (isinstance(sha256, str) and len(sha256) == 64):
        raise ValueError("no digest")
    return Snapshot(sha256, int(values["size"]), int(values["revision"]), int(values["timestamp"]), int(values["signed_at"]))


def marks_to(marks: Dict[str, Snapshot], place: str) -> Dict[str, Any]:
    """Return the object of the high-water marks: that of one place in front, as a version that knows no places reads it."""
    others = [dict(snapshot_to(mark), place=name) for name, mark in marks.items() if name != place]  # in their order
    return dict(snapshot_to(marks[place]), place=place, others=others)


def marks_of(values: Dict[str, Any]) -> Dict[str, Snapshot]:
    """Read what ``marks_to`` has made; the mark of a version that knows no places has the place ""."""
    marks = {str(mark["place"]): snapshot_of(mark) for mark in values.get("others", [])}
    marks.pop(str(values.get("place", "")), None)
    marks[str(values.get("place", ""))] = snapshot_of(values)
    return marks


def pin_to(pin: SnapshotPin) -> Dict[str, Any]:
    """Return the object of a snapshot pin."""
    return {"snapshot": snapshot_to(pin.snapshot), "expires": pin.expires, "taken_at": pin.taken_at, "place": pin.place}


def pin_of(values: Dict[str, Any]) -> SnapshotPin:
    """Read what ``pin_to`` has made."""
    pin = SnapshotPin(snapshot_of(values["snapshot"]), int(values["expires"]), int(values["taken_at"]),
                      str(values.get("place", "")))
    int(pin.snapshot.sha256, 16)  # it becomes a part of a folder's name
    return pin


def memory_to(memory: Memory) -> Dict[str, Any]:
    """Return the object of a memory."""
    return {
        "mirrors": [dict(mirror._asdict()) for mirror in memory.mirrors],
        "sha256": memory.sha256,
        "records": {url: _record_to(record) for url, record in memory.records.items()},
        "snapshot": snapshot_to(memory.snapshot) if memory.snapshot else None,
        "usable": list(memory.usable),
        "resolved_at": memory.resolved_at,
        "note": memory.note,
        "decisions": [dict(decision._asdict()) for decision in memory.decisions],
        "heard_at": memory.confirmed_at,
        "luck": memory.jitter,
        "pins": list(memory.fingerprints),
        "signature": memory.signature,
        "place": memory.place,
        "listed_at": memory.listed_at,
        "digest_unknown_at": memory.digest_unknown_at,
        "answer_seconds": memory.answer_seconds,
        "listed_securely": memory.listed_securely,
        "blocked_at": memory.blocked_at,
        "unauthenticated_since": memory.unauthenticated_since,
        "rates": {url: list(entry) for url, entry in memory.rates.items()},
        "waited_at": memory.waited_at,
        "awaited_sha256": memory.awaited_sha256,
        "awaited_since": memory.awaited_since,
        "told": memory.told,
    }


def memory_of(values: Dict[str, Any]) -> Memory:
    """Read what ``memory_to`` has made."""
    if values["schema"] != SCHEMA:  # the high-water mark is read whatever wrote it, if it has the fields; this is only a memory
        raise ValueError("written by another version (schema {})".format(values["schema"]))
    mirrors = tuple(_typed(Mirror(""), mirror) for mirror in values["mirrors"])
    for mirror in mirrors:
        clean_base_url(mirror.url)
    return Memory(
        mirrors, str(values["sha256"]),
        {str(url): _record_of(record) for url, record in values["records"].items()},
        snapshot_of(values["snapshot"]) if values["snapshot"] else None,
        tuple(str(url) for url in values["usable"]), float(values["resolved_at"]), str(values["note"]),
        # What follows is missing in a file of an earlier version.
        tuple(_decision_of(decision) for decision in values.get("decisions", ())), float(values.get("heard_at", 0)),
        float(values.get("luck", 0)), tuple(str(each) for each in values.get("pins", ())), str(values.get("signature", "")),
        str(values.get("place", "")), float(values.get("listed_at", 0)), float(values.get("digest_unknown_at", 0)),
        float(values.get("answer_seconds", 0)), values.get("listed_securely") is True, float(values.get("blocked_at", 0)),
        float(values.get("unauthenticated_since", 0)),
        {str(url): (float(rate), int(at)) for url, (rate, at) in values.get("rates", {}).items()},
        float(values.get("waited_at", 0)), str(values.get("awaited_sha256", "")), float(values.get("awaited_since", 0)),
        str(values.get("told", "")))


def _record_to(record: Record) -> Dict[str, Any]:
    values = dict(record._asdict())
    values[_QUARANTINED_UNTIL] = values.pop("quarantined_until")
    return values


def _record_of(values: Dict[str, Any]) -> Record:
    values = dict(values)
    values["quarantined_until"] = values.pop(_QUARANTINED_UNTIL)
    record: Record = _typed(_NO_RECORD, values)
    return record


def _typed(sample: Any, values: Dict[str, Any]) -> Any:
    """Fill in a NamedTuple; raise TypeError for a value of another type than the sample's."""
    made = sample._replace(**values)
    for name, expected, value in zip(made._fields, sample, made):
        if type(value) is not type(expected) and not (value is None and name == "certificate_expires"):
            raise TypeError("{} is no {}".format(name, type(expected).__name__))
    return made


def _decision_of(values: Dict[str, Any]) -> Decision:
    rejected = tuple((str(authority), str(reference), str(reason)) for authority, reference, reason in values["rejected"])
    used = tuple(str(authority) for authority in values["used"])
    decision: Decision = _typed(Decision(int(), str()), dict(values, used=used, rejected=rejected))
    return decision
