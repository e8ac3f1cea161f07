#!/usr/bin/env python3
"""Usage: tools/unpack.py SET FILE...

Unpack wheels, and archives of sources in pure Python, into a new folder SET:
    lib/                      the modules, without what the command never imports (DROPPED)
    licenses/NAME-VERSION/    what each library says about its licence
    bundled                   one line a library, separated by tabs: name, version, licence as SPDX expression
The same files always make the same folder.
"""
import email
import io
import os
import re
import sys
import tarfile
import zipfile
from fnmatch import fnmatch

# Patterns of paths. Headers, type stubs and sources of compiled modules; tests; and the parts of libraries that
# nothing of ours leads to (tests/test_rpm.py imports all of ours beside what is left).
DROPPED = (
    "*.c", "*.h", "*.pxd", "*.pxi", "*.pyi", "*.pyx", "*/py.typed", "*/tests/*", "*/test/*",
    "cffi/*",  # cryptography needs _cffi_backend only
    "charset_normalizer/cli/*", "charset_normalizer/__main__.py",
    "lxml/ElementInclude.py", "lxml/builder.*", "lxml/cssselect.py", "lxml/doctestcompare.py", "lxml/html/*",
    "lxml/includes/*", "lxml/isoschematron/*", "lxml/objectify.*", "lxml/pyclasslookup.py", "lxml/sax.*",
    "lxml/usedoctest.py",
    "urllib3/contrib/emscripten/*",
)

# What some libraries write instead of an SPDX identifier; idna 3.10 has a classifier only.
SPDX = {"Apache 2.0": "Apache-2.0", "License :: OSI Approved :: BSD License": "BSD-3-Clause"}
# Licences of what is linked into compiled modules: zlib, libiconv, libxml2 and libxslt (LICENSES.txt of lxml);
# libffi; OpenSSL and Rust's libraries.
LINKED = {"lxml": ("LGPL-2.1-or-later", "MIT", "Zlib"), "cffi": ("MIT",), "cryptography": ("Apache-2.0", "MIT")}


def contents(path):
    """Yield (path as installed, bytes) of all files of a wheel or an archive of sources; NAME-VERSION/ of the latter is
    cut off, and of it only the package of that name is taken, and what stands beside it, as NAME-VERSION.dist-info/.
    """
    if path.endswith(".whl"):
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                if not name.endswith("/"):
                    yield name, wheel.read(name)
        return
    with tarfile.open(path) as sources:
        for member in sources:
            top, _, name = member.name.partition("/")
            if member.isfile() and name.startswith(top.partition("-")[0].lower() + "/"):
                yield name, sources.extractfile(member).read()
            elif member.isfile() and "/" not in name:
                yield "{}.dist-info/{}".format(top, name.replace("PKG-INFO", "METADATA")), sources.extractfile(member).read()


def licence_of(name, metadata):
    """Return the SPDX expression of a library with all that is linked into it."""
    said = metadata.get("License-Expression") or metadata.get("License")
    words = [said] if said else [text for text in metadata.get_all("Classifier", []) if text.startswith("License ::")]
    found = [SPDX.get(word, word) for word in words]
    if len(found) != 1 or not re.match(r"[A-Za-z0-9.() -]+\Z", found[0]):
        raise SystemExit("unpack: the licence of {} is not understood: {}; add it to SPDX".format(name, words))
    return " AND ".join("({})".format(part) if " OR " in part and "(" not in part else part
                        for part in sorted(set(found) | set(LINKED.get(name, ()))))


def write(target, data):
    """Write a new file; one that is there already belongs to another library."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "xb") as stream:
        stream.write(data)
    if target.endswith(".so"):
        os.chmod(target, 0o755)


def unpack(path, folder):
    """Unpack one library and return its line for "bundled"."""
    files = dict(contents(path))
    if any(name.startswith("/") or ".." in name.split("/") or ".data/" in name for name in files):
        raise SystemExit("unpack: a path that belongs nowhere in {}".format(path))
    [metadata_path] = [name for name in files if re.match(r"[^/]+\.dist-info/METADATA\Z", name)]
    metadata = email.message_from_binary_file(io.BytesIO(files[metadata_path]))
    name, version = re.sub("[-_.]+", "-", metadata["Name"]).lower(), metadata["Version"]
    for inside, data in sorted(files.items()):
        information, _, rest = inside.partition(".dist-info/")
        if not rest:
            if not any(fnmatch(inside, pattern) for pattern in DROPPED):
                write(os.path.join(folder, "lib", inside), data)
        elif re.match(r"(LICEN[CS]E|NOTICE|COPYING)", os.path.basename(rest)):
            write(os.path.join(folder, "licenses", "{}-{}".format(name, version), os.path.basename(rest)), data)
    return "{}\t{}\t{}\n".format(name, version, licence_of(name, metadata))


def main(folder, *paths):
    """Unpack all."""
    lines = sorted(unpack(path, folder) for path in paths)
    write(os.path.join(folder, "bundled"), "".join(lines).encode("utf-8"))


if __name__ == "__main__":
    main(*sys.argv[1:])
