"""Builds RPM files byte by byte, right or wrong in any one place, signed by the keys of ``craft``."""
import base64
import hashlib
import struct
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.craft import CraftKey, mpi, rsa_key, signature

PAYLOAD = b"\x1f\x8bthe very payload\x00" * 5
KEY = rsa_key()
LEAD = {"magic": b"\xed\xab\xee\xdb", "major": 3, "minor": 0, "kind": 0, "arch": 1, "name": b"lead-1-1", "os": 1, "signature": 5}


@lru_cache(maxsize=None)
def ecdsa_384_key():
    private = ec.generate_private_key(ec.SECP384R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return CraftKey(private, 19, bytes.fromhex("052b81040022") + mpi(int.from_bytes(point, "big")))


# --- values of tags: (type, count, data) ---


def string(text):
    return 6, 1, text.encode() + b"\0"


def strings(*texts, kind=8):
    return kind, len(texts), b"".join(text.encode() + b"\0" for text in texts)


def binary(data):
    return 7, len(data), data


def int32(*numbers):
    return 4, len(numbers), struct.pack(">%dI" % len(numbers), *numbers)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


# --- parts of a file ---


def lead(**changes):
    fields = dict(LEAD, **changes)
    numbers = [fields[name] for name in ("magic", "major", "minor", "kind", "arch", "name", "os", "signature")]
    return struct.pack(">4sBBHH66sHH16x", *numbers)


def header(region, tags, index=lambda entries: entries, trailer=None, outside=(), lengths=None, magic=b"\x8e\xad\xe8\x01\0\0\0\0"):
    """A header, sound unless told otherwise.

    Args:
        region: 62 or 63; None leaves the region out.
        tags: a list of (tag, (type, count, data)) within the region.
        index: a function that changes the list of (tag, type, offset, count).
        trailer: written instead of the region's own.
        outside: such a list of tags outside the region.
        lengths: number of tags and of data bytes, written instead of the right ones.
    """
    entries, data, at = [], bytearray(), 0
    for place, (tag, (kind, count, value)) in enumerate(list(tags) + [(None, (0, 0, b""))] + list(outside)):
        if place == len(tags):
            at = len(data)
            data += (trailer or _trailer(region, len(tags) + 1)) if region else b""
            continue
        data += b"\0" * (-len(data) % {3: 2, 4: 4, 5: 8}.get(kind, 1))
        entries.append((tag, kind, len(data), count))
        data += value
    entries = index(([(region, 7, at, 16)] if region else []) + entries)
    lines = b"".join(struct.pack(">4I", *entry) for entry in entries)
    return magic + struct.pack(">2I", *(lengths or (len(entries), len(data)))) + lines + data


def _trailer(region, inside):
    return struct.pack(">2IiI", region, 7, -16 * inside, 16)


def main_tags(payload=PAYLOAD, **changes):
    """The tags of the main header. ``changes``: tNUMBER = a value, None to leave it out."""
    tags = {
        1000: string("demo"), 1001: string("1.2"), 1002: string("3.el7"), 1003: int32(2), 1004: strings("a demo", kind=9),
        1022: string("x86_64"), 1028: int32(1, 2), 1044: string("demo-1.2-3.el7.src.rpm"), 1117: strings("one", "two"),
        5092: strings(sha256(payload)), 5093: int32(8),
    }  # fmt: skip
    return _changed(tags, changes)


def _changed(tags, changes):
    tags.update((int(name[1:]), value) for name, value in changes.items())
    return [(tag, tags[tag]) for tag in sorted(tags) if tags[tag] is not None]


def main_header(payload=PAYLOAD, form=None, **changes):
    return header(63, main_tags(payload, **changes), **(form or {}))


def rpm(
    main=None, payload=PAYLOAD, signed=(268,), key=KEY, sign=signature, claims=None, form=None, padding=None, start=None, **options
):  # fmt: skip
    """A whole file, good unless told otherwise.

    Args:
        main: the main header's bytes.
        payload: what follows it.
        signed: the tags in which there are signatures.
        key, sign, options: ``sign(key, document=..., **options)`` makes a signature.
        claims: changes of the signature header's tags, as in ``main_tags``.
        form: changes of its form, as in ``header``.
        padding: written instead of the right one.
        start: the lead's bytes.
    """
    main = main_header(payload) if main is None else main
    tags = {
        269: string(hashlib.sha1(main).hexdigest()), 273: string(sha256(main)), 1000: int32(len(main) + len(payload)),
        1004: binary(hashlib.md5(main + payload).digest()), 1007: int32(1234), 1008: binary(b"\0" * 13),
    }  # fmt: skip
    for tag in signed:
        packet = sign(key, document=main + payload if tag in (1002, 1005) else main, **options)
        tags[tag] = strings(base64.b64encode(packet).decode()) if tag == 278 else binary(packet)
    unsigned = header(62, _changed(tags, claims or {}), **(form or {}))
    padding = b"\0" * (-len(unsigned) % 8) if padding is None else padding
    return (lead() if start is None else start) + unsigned + padding + main + payload


# --- where things are in a file ---


def layout(data):
    """Name every part of a good file: a list of (name, start, end).

    Names are "lead", "lead, unread", "SIGNATURE introduction", "SIGNATURE index 268", "SIGNATURE data 268", "SIGNATURE gap",
    the same with MAIN, "padding" and "payload".
    """
    parts = [("lead", 0, 5), ("lead, unread", 5, 6), ("lead", 6, 8), ("lead, unread", 8, 78), ("lead", 78, 80), ("lead, unread", 80, 96)]
    at = 96
    for title in ("SIGNATURE", "MAIN"):
        count, size = struct.unpack_from(">2I", data, at + 8)
        parts.append((title + " introduction", at, at + 16))
        lines = [struct.unpack_from(">4I", data, at + 16 + 16 * place) for place in range(count)]
        for place, line in enumerate(lines):
            parts.append(("{} index {}".format(title, line[0]), at + 16 + 16 * place, at + 32 + 16 * place))
        at += 16 + 16 * count
        parts += _data_parts(title, lines, data, at, at + size)
        at += size
        if title == "SIGNATURE":
            parts.append(("padding", at, at + -at % 8))
            at += -at % 8
    return parts + [("payload", at, len(data))]


def _data_parts(title, lines, data, start, end):
    parts, done = [], start
    for tag, kind, offset, count in sorted(lines, key=lambda line: line[2]):
        begin = stop = start + offset
        if kind in (6, 8, 9):
            for _ in range(count):
                stop = data.index(b"\0", stop) + 1
        else:
            stop += count * {3: 2, 4: 4, 5: 8}.get(kind, 1)
        parts += [(title + " gap", done, begin), ("{} data {}".format(title, tag), begin, stop)]
        done = stop
    return parts + [(title + " gap", done, end)]


def span(data, name):
    """Return start and end of the only part of this name."""
    return next((start, end) for found, start, end in layout(data) if found == name)
