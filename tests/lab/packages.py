"""Real packages, built by rpmbuild and signed by rpmsign."""
import os
import random
import shutil
from typing import Dict, List, NamedTuple, Tuple

from .keys import REPOSITORY, KeyRing, gpg_time
from .tools import environment, run

UNSIGNED = ""  # instead of the owner of a key

_SPEC = """\
Name: {name}
Version: {version}
Release: 1
Summary: Lab package {name}
License: GPL-2.0-or-later
BuildArch: noarch
{requires}
%description
A package of the lab; its content is {size} bytes of noise.
%install
mkdir -p %{{buildroot}}/usr/share/{name}
cp {payload} %{{buildroot}}/usr/share/{name}/payload
echo {version} > %{{buildroot}}/usr/share/{name}/version
cp -R {more}/. %{{buildroot}}/
%files
/usr/share/{name}
{paths}
"""

# No compression and no brp scripts: a package of 30 MB is built in well under a second.
_MACROS = {
    "_binary_payload": "w0.gzdio",
    "__os_install_post": "%{nil}",
    "__arch_install_post": "%{nil}",
    "_build_id_links": "none",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "_buildhost": "lab.invalid",
    "_rpmfilename": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
}


class Package(NamedTuple):
    """What to build; release is always 1, architecture noarch."""

    name: str
    version: str
    size: int = 2000  # bytes of payload
    requires: str = ""
    files: Tuple[Tuple[str, bytes], ...] = ()  # more files: absolute path and content

    @property
    def file_name(self) -> str:
        """The name of the .rpm file."""
        return "{}-{}-1.noarch.rpm".format(self.name, self.version)


def noise(seed: str, size: int) -> bytes:
    """Return ``size`` bytes that look random and depend on ``seed`` only."""
    return random.Random(seed).getrandbits(8 * size).to_bytes(size, "little") if size else b""


def build(package: Package, target: str, work: str, built_at: int, keys: KeyRing, signer: str) -> str:
    """Build one package and sign it.

    Args:
        package: what.
        target: folder of the finished .rpm file.
        work: an existing folder for temporary files.
        built_at: build and signing time and mtime of the file, seconds since 1970.
        keys: the key ring.
        signer: owner of the key to sign with, or UNSIGNED.

    Returns:
        The path of the .rpm file.
    """
    top = os.path.join(work, "{}-{}-{}".format(package.name, package.version, os.path.basename(target)))
    os.makedirs(top, exist_ok=True)
    os.makedirs(target, exist_ok=True)
    spec = _write_sources(package, top)
    macros = dict(_MACROS, _topdir=top, _tmppath=top, _dbpath=os.path.join(top, "db"), _rpmdir=target)
    env = dict(environment(work), SOURCE_DATE_EPOCH=str(built_at))
    run(["rpmbuild", "--quiet", "-bb"] + _defines(macros) + [spec], env)
    path = os.path.join(target, package.file_name)
    if signer != UNSIGNED:
        sign(path, keys, signer, built_at, work)
    os.utime(path, (built_at, built_at))
    return path


def build_family(name: str, count: int, size: int, target: str, work: str, built_at: int, keys: KeyRing) -> List[str]:
    """Build many small packages of one spec, in one run of rpmbuild, and sign them with the repository's key.

    Args:
        name: they are called NAME-0, NAME-1, ...
        count: how many.
        size: bytes of payload of each.
        target, work, built_at, keys: as of ``build``.

    Returns:
        The paths of the .rpm files.
    """
    top = os.path.join(work, name)
    members = ["{}-{}".format(name, number) for number in range(count)]
    for member in members:
        os.makedirs(os.path.join(top, "payloads"), exist_ok=True)
        with open(os.path.join(top, "payloads", member), "wb") as stream:
            stream.write(noise(member, size))
    parts = "".join("%package -n {0}\nSummary: Lab package {0}\n%description -n {0}\nOne of many.\n%files -n {0}\n"
                    "/usr/share/{1}/{0}\n".format(member, name) for member in members)
    spec = os.path.join(top, "lab.spec")
    with open(spec, "w") as text:
        text.write("Name: {0}\nVersion: 1.0\nRelease: 1\nSummary: Lab packages\nLicense: GPL-2.0-or-later\nBuildArch: noarch\n"
                   "%description\nMany packages.\n%install\nmkdir -p %{{buildroot}}/usr/share/{0}\n"
                   "cp {1}/* %{{buildroot}}/usr/share/{0}/\n{2}".format(name, os.path.join(top, "payloads"), parts))
    macros = dict(_MACROS, _topdir=top, _tmppath=top, _dbpath=os.path.join(top, "db"), _rpmdir=target)
    run(["rpmbuild", "--quiet", "-bb"] + _defines(macros) + [spec], dict(environment(work), SOURCE_DATE_EPOCH=str(built_at)))
    paths = [os.path.join(target, "{}-1.0-1.noarch.rpm".format(member)) for member in members]
    for path in paths:
        sign(path, keys, REPOSITORY, built_at, work)
    return paths


def _write_sources(package: Package, top: str) -> str:
    payload = os.path.join(top, "payload")
    with open(payload, "wb") as stream:
        stream.write(noise("{}-{}".format(package.name, package.version), package.size))
    more = os.path.join(top, "more")
    os.makedirs(more, exist_ok=True)
    for path, content in package.files:
        os.makedirs(os.path.dirname(more + path), exist_ok=True)
        with open(more + path, "wb") as stream:
            stream.write(content)
    requires = "Requires: {}".format(package.requires) if package.requires else ""
    fields = {"name": package.name, "version": package.version, "size": package.size}
    spec = os.path.join(top, "lab.spec")
    with open(spec, "w") as text:
        text.write(_SPEC.format(payload=payload, requires=requires, more=more, paths="\n".join(path for path, _ in package.files),
                                **fields))
    return spec


def sign(path: str, keys: KeyRing, signer: str, signed_at: int, work: str) -> None:
    """Sign a package in place, as if it were done at ``signed_at`` (seconds since 1970)."""
    macros = {
        "__gpg": shutil.which("gpg") or "gpg",
        "_gpg_path": keys.homedir,
        "_gpg_name": keys.fingerprint(signer),
        "_gpg_sign_cmd_extra_args": "--batch --faked-system-time {}".format(gpg_time(signed_at)),
        "_tmppath": work,
    }
    run(["rpmsign"] + _defines(macros) + ["--addsign", path], environment(work))


def _defines(macros: Dict[str, str]) -> List[str]:
    return [word for name in sorted(macros) for word in ("--define", "{} {}".format(name, macros[name]))]
