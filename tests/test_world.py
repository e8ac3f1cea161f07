"""Repositories as the world makes them: zstd metadata, what earlier revisions have left, and files that every mirror has beside."""
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.lab.plugin import ROOT, cache_path, install_plugin
from tests.lab.repositories import repository_path
from tests.support.faults_table import good_mirrors, own_lines
from tests.support.judges import need
from yum_plugin.cli.main import main

UPDATES = repository_path("updates")


@pytest.fixture
def repository(lab, tmp_path):
    """Return a function that copies a state's repository."""
    def copy(state):
        return shutil.copytree(os.path.join(lab.trees.path(state), UPDATES), str(tmp_path / "repository"))

    return copy


@pytest.fixture
def verify(lab, capsys):
    """Return a function that verifies a folder: the exit code, and the findings by the ends of their names."""
    def run(folder):
        code = main(["verify", "--json", folder, "--key", lab.key_file, "--fingerprint", lab.keys.fingerprint()])
        return code, {os.path.basename(item["file"]): item for item in json.loads(capsys.readouterr().out)}

    return run


@pytest.fixture
def no_zstd(monkeypatch):
    for name in ("zstandard", "compression", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)


def sign(lab, folder):
    path = os.path.join(folder, "repodata/repomd.xml")
    with open(path, "rb") as document, open(path + ".asc", "wb") as signature:
        signature.write(lab.keys.sign(document.read()))


def write(folder, name, content):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content)
    return path


# zstd

ENGINE = """#!{} -I
import sys
sys.modules["zstandard"] = None
sys.path.insert(0, {!r})
from yum_plugin.cli.main import main
sys.exit(main())
"""


@pytest.mark.dnf
@pytest.mark.parametrize("library", ["with", "without"])
def test_zstd_metadata_goes_through_the_plugin_into_the_cache_of_the_real_dnf(library, lab, tmp_path):
    """Byte-proven, and unpacked by nobody of ours: so it needs no library."""
    need("zstd")
    good_mirrors(lab)
    lab.publish("zstd")
    host = lab.installroot(str(tmp_path / "host"))
    engine = write(str(tmp_path), "engine", ENGINE.format(sys.executable, ROOT).encode()) if library == "without" else ""
    if engine:
        os.chmod(engine, 0o755)
    install_plugin(host, lab, engine)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", []), done.stdout + done.stderr
    assert any(name.endswith("primary.xml.zst") for name in os.listdir(cache_path(host, "xcp-ng-updates", "repodata")))
    assert not [entry for entry in lab.log.requests() if "libdnf" in entry.headers.get("user-agent", "") and "/repodata/" in entry.path]


def test_a_folder_with_zstd_metadata_is_verified_where_a_library_reads_it(repository, verify):
    need("zstd")
    pytest.importorskip("zstandard")
    code, found = verify(repository("zstd"))
    assert code == 0 and found["lab-agent-2.0-1.noarch.rpm"]["ok"] and found["repository"]["ok"]


def test_zstd_metadata_without_a_library_is_unsupported_and_what_was_proven_is_said(repository, verify, no_zstd):
    need("zstd")
    code, found = verify(repository("zstd"))
    wrong = [item for item in found.values() if not item["ok"]]
    assert code == 3 and {item["reference"] for item in wrong} == {"unsupported"} and found["repomd.xml"]["ok"]
    assert "0 of " in found["repository"]["detail"] and "1 not read" in found["repository"]["detail"]
    primary = next(item for item in wrong if item["kind"] == "metadata")
    assert "its bytes are the signed ones, but no package was checked" in primary["detail"] and "python3-zstandard" in primary["detail"]


def test_changed_zstd_metadata_is_refused_without_a_library_too(repository, verify, no_zstd):
    need("zstd")
    folder = repository("zstd")
    name = next(name for name in os.listdir(folder + "/repodata") if name.endswith("primary.xml.zst"))
    with open(os.path.join(folder, "repodata", name), "r+b") as stream:
        stream.seek(20)
        stream.write(b"changed")
    code, found = verify(folder)
    assert code == 4 and found[name]["reference"] == "payload-mismatch"


# Files that no signed metadata names.


def test_what_mirrors_and_earlier_revisions_leave_beside_a_repository_is_not_refused(lab, repository, verify):
    folder = repository("new")
    for name in ("index.html", ".treeinfo", "Packages/index.html", "repodata/repomd.xml.key"):
        write(folder, name, b"anything")
    old = os.path.join(lab.trees.path("old"), UPDATES)
    shutil.copy(old + "Packages/lab-agent-1.0-1.noarch.rpm", folder + "/Packages/")
    for name in os.listdir(old + "repodata"):
        if not name.startswith("repomd"):
            shutil.copy(old + "repodata/" + name, folder + "/repodata/")
    code, found = verify(folder)
    assert code == 0, [item for item in found.values() if not item["ok"]]
    assert "not in this revision" in found["lab-agent-1.0-1.noarch.rpm"]["detail"]


def test_a_repository_that_createrepo_has_made_again_with_its_old_metadata_is_verified(lab, repository, verify):
    folder = repository("old")
    shutil.copy(os.path.join(lab.trees.path("new"), UPDATES, "Packages/lab-agent-2.0-1.noarch.rpm"), folder + "/Packages/")
    subprocess.run(["createrepo_c", "--quiet", "--update", "--retain-old-md", "3", folder], check=True)
    sign(lab, folder)
    assert len([name for name in os.listdir(folder + "/repodata") if name.endswith("primary.xml.gz")]) == 2
    code, found = verify(folder)
    assert code == 0, [item for item in found.values() if not item["ok"]]


NAMES = {
    "metadata that is not what its name says": "repodata/{}-primary.xml.gz".format("a" * 64),
    "metadata elsewhere": "Packages/{}-primary.xml.gz".format(hashlib.sha256(b"x").hexdigest()),
    "metadata named by a weak digest": "repodata/{}-primary.xml.gz".format(hashlib.sha1(b"x").hexdigest()),
    "a package that is none": "Packages/lab-agent-3.0-1.noarch.rpm", "a program": "Packages/index.php", "a key elsewhere": "Packages/other.key",
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_anything_else_beside_a_repository_is_refused(name, repository, verify):
    folder = repository("new")
    write(folder, NAMES[name], b"x")
    code, found = verify(folder)
    assert code == 4 and found[os.path.basename(NAMES[name])]["reference"] == "not-covered"


DELTAS = """<?xml version="1.0" encoding="UTF-8"?>
<prestodelta><newpackage name="lab-agent" epoch="0" version="2.0" release="1" arch="noarch"><delta oldepoch="0" oldversion="1.0" oldrelease="1">
<filename>{name}</filename><sequence>lab-agent-1.0-1-0</sequence><size>5</size><checksum type="{kind}">{digest}</checksum>
</delta></newpackage></prestodelta>
"""
DRPM = "drpms/lab-agent-1.0-1_2.0-1.noarch.drpm"
GOOD = hashlib.sha256(b"delta").hexdigest()


@pytest.mark.parametrize("values, content, expected", [
    ({}, b"delta", 0), ({}, b"other", 4), ({}, None, 0), ({"name": "../x.drpm"}, None, 4), ({"digest": GOOD[1:]}, None, 4),
    ({"kind": "sha1", "digest": GOOD[:40]}, b"delta", 4), ({"name": ""}, None, 4),
])  # fmt: skip
def test_delta_packages_are_what_the_signed_prestodelta_names(values, content, expected, lab, repository, verify, tmp_path):
    folder = repository("new")
    text = DELTAS.format(**dict({"name": DRPM, "kind": "sha256", "digest": GOOD}, **values))
    listed = write(str(tmp_path), "prestodelta.xml", text.encode())
    subprocess.run(["modifyrepo_c", "--mdtype=prestodelta", listed, folder + "/repodata"], check=True, stdout=subprocess.DEVNULL)
    sign(lab, folder)
    if content is not None:
        write(folder, DRPM, content)
    code, found = verify(folder)
    assert code == expected, [item for item in found.values() if not item["ok"]]


def test_metadata_that_modifyrepo_has_removed_a_file_from_is_no_rollback(lab, repository, verify):
    """Its data is older than before, for the newest file is gone; nobody but the key's owner can sign it later."""
    from yum_plugin.trust.freshness import is_rollback
    from yum_plugin.trust.keys import load_pinned_key
    from yum_plugin.trust.metadata import RepomdProver

    folder = repository("new")
    with open(lab.key_file, "rb") as stream:
        prover = RepomdProver([load_pinned_key(stream.read(), [lab.keys.fingerprint()])], lab.trees.present)

    def snapshot(at):
        with open(folder + "/repodata/repomd.xml", "rb") as document:
            raw = document.read()
        return prover.prove(raw, lab.keys.sign(raw, at=at)).snapshot

    listed = write(folder, "notes.xml", b"<notes/>")
    subprocess.run(["modifyrepo_c", "--mdtype=notes", listed, folder + "/repodata"], check=True, stdout=subprocess.DEVNULL)
    before = snapshot(lab.trees.present - 200)
    subprocess.run(["modifyrepo_c", "--remove", "notes", folder + "/repodata"], check=True, stdout=subprocess.DEVNULL)
    after = snapshot(lab.trees.present - 100)
    assert after.timestamp < before.timestamp and not is_rollback(after, before) and after.age_key > before.age_key
    assert is_rollback(snapshot(lab.trees.present - 300), before)
