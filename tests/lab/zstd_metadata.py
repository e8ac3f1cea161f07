"""Metadata as createrepo_c writes it since 1.0, made of what an older one has written: zstd in the place of gzip."""
import gzip
import hashlib
import os
import re
import subprocess


def pack_with_zstd(repodata: str) -> None:
    """Compress the .gz files of a repodata folder anew, and name them so in repomd.xml, which is to be signed after it.

    Args:
        repodata: the folder.
    """
    path = os.path.join(repodata, "repomd.xml")
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    for name in sorted(os.listdir(repodata)):
        if not name.endswith(".gz"):
            continue
        with open(os.path.join(repodata, name), "rb") as packed:
            old = packed.read()
        new = subprocess.run(["zstd", "-q", "-c"], input=gzip.decompress(old), stdout=subprocess.PIPE, check=True).stdout
        os.unlink(os.path.join(repodata, name))
        digest, old_digest = hashlib.sha256(new).hexdigest(), hashlib.sha256(old).hexdigest()
        target = name.replace(old_digest, digest)[: -len("gz")] + "zst"
        with open(os.path.join(repodata, target), "wb") as written:
            written.write(new)
        text = text.replace(name, target).replace(old_digest, digest)
        text = _sized(text, target, len(new))
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def _sized(text: str, name: str, size: int) -> str:
    """Set the size of one file."""
    parts = re.split(r"(?=<data )", text)
    return "".join(re.sub(r"<size>[0-9]+", "<size>{}".format(size), part) if name in part else part for part in parts)
