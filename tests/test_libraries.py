"""The libraries that the RPM brings: what is pinned, what is left of them when unpacked, and which set the command takes."""
import importlib.util
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY_ROOT

LISTS = sorted((REPOSITORY_ROOT / "rpm").glob("requirements-*.txt"))
TAG = "cp{}{}".format(*sys.version_info)
METADATA = "Metadata-Version: 2.1\nName: Some_Library\nVersion: 1.2\n{}\n\nText\n"


def run(command, **settings):
    """Run a command to its end and return what it said."""
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, **settings)


# What is pinned


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_a_list_pins_every_library_to_one_file(path):
    lines = path.read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.match(r"[A-Za-z0-9_]+==[0-9][0-9.]* --hash=sha256:[0-9a-f]{64}\Z", line)] == []
    names = [line.split("==")[0].lower() for line in pins]
    direct = {re.split("[>=;]", line)[0].lower() for line in (REPOSITORY_ROOT / "requirements.txt").read_text().splitlines()
              if not line.startswith(("#", "standard-imghdr"))}
    assert len(set(names)) == len(names) and direct <= set(names)


def test_there_is_one_set_for_each_python_of_a_host():
    tags = [line.split()[2] for path in LISTS for line in path.read_text().splitlines() if line.startswith("# set: ")]
    assert sorted(tags) == ["cp311", "cp312", "cp36", "cp39"]
    assert sorted(run([REPOSITORY_ROOT / "tools/vendor.sh"]).stdout.split()) == sorted(tags)


def test_a_python_without_a_set_is_told_how_to_get_one():
    done = run([REPOSITORY_ROOT / "tools/vendor.sh", "cp99"])
    assert done.returncode == 1 and "cp99" in done.stderr and "tools/lock.sh" in done.stderr


# What is unpacked


@pytest.fixture(scope="module")
def unpack():
    """tools/unpack.py as a module."""
    spec = importlib.util.spec_from_file_location("unpack", str(REPOSITORY_ROOT / "tools" / "unpack.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder, files, metadata="License: MIT"):
    """Write a wheel: path -> text."""
    path = folder / "Some_Library-1.2-py3-none-any.whl"
    files = dict(files, **{"Some_Library-1.2.dist-info/METADATA": METADATA.format(metadata),
                           "Some_Library-1.2.dist-info/licenses/LICENSE": "you may"})
    with zipfile.ZipFile(str(path), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return str(path)


def unpacked(folder):
    """Return what was unpacked: path -> text."""
    return {str(path.relative_to(folder)): path.read_text() for path in Path(str(folder)).rglob("*") if path.is_file()}


def test_a_wheel_loses_what_is_never_imported_and_keeps_its_licence(unpack, tmp_path):
    dropped = ["lib/a.pyi", "lib/a.pxd", "lib/a.c", "lib/a.h", "lib/tests/test_a.py", "lib/py.typed", "lxml/html/diff.py"]
    unpack.main(str(tmp_path / "set"), wheel(tmp_path, dict.fromkeys(dropped + ["lib/a.py", "lxml/etree.so"], "x")))
    assert unpacked(tmp_path / "set") == {
        "lib/lib/a.py": "x", "lib/lxml/etree.so": "x", "licenses/some-library-1.2/LICENSE": "you may",
        "bundled": "some-library\t1.2\tMIT\n"}


def test_of_an_archive_of_sources_only_the_package_is_taken(unpack, tmp_path):
    path = str(tmp_path / "Some-1.2.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (("Some-1.2/PKG-INFO", METADATA.format("License: MIT")), ("Some-1.2/setup.py", "no"),
                           ("Some-1.2/LICENSE", "you may"), ("Some-1.2/some/a.py", "x"), ("Some-1.2/docs/a.py", "no")):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    unpack.main(str(tmp_path / "set"), path)
    assert sorted(unpacked(tmp_path / "set")) == ["bundled", "lib/some/a.py", "licenses/some-library-1.2/LICENSE"]


@pytest.mark.parametrize("name", ["../escape.py", "/escape.py", "a/../../escape.py", "Some_Library-1.2.data/scripts/a"])
def test_a_path_that_leads_elsewhere_is_refused(unpack, tmp_path, name):
    with pytest.raises(SystemExit, match="belongs nowhere"):
        unpack.main(str(tmp_path / "set"), wheel(tmp_path, {name: "x"}))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("metadata, expression", [
    ("License-Expression: MIT OR Apache-2.0", "(MIT OR Apache-2.0)"),
    ("License: Apache 2.0\nClassifier: License :: OSI Approved", "Apache-2.0"),
    ("Classifier: License :: OSI Approved :: BSD License", "BSD-3-Clause"),
])
def test_licences_are_spdx_expressions(unpack, tmp_path, metadata, expression):
    unpack.main(str(tmp_path / "set"), wheel(tmp_path, {}, metadata))
    assert (tmp_path / "set" / "bundled").read_text().split("\t")[2].strip() == expression


@pytest.mark.parametrize("metadata", ["Summary: none", "Classifier: License :: One\nClassifier: License :: Two"])
def test_a_licence_that_is_not_understood_stops_the_build(unpack, tmp_path, metadata):
    with pytest.raises(SystemExit, match="is not understood"):
        unpack.main(str(tmp_path / "set"), wheel(tmp_path, {}, metadata))


# Which set is taken


@pytest.fixture
def installed(tmp_path):
    """A tree with the launcher and nothing else; returns a function that adds sets and runs it without site-packages."""
    text = (REPOSITORY_ROOT / "tools" / "xcpng-mirrors.in").read_text().replace("@LIB@", "lib64")
    launcher = tmp_path / "usr" / "bin" / "xcpng-mirrors"
    package = tmp_path / "usr" / "share" / "xcpng-mirrors" / "yum_plugin" / "cli"
    for folder in (launcher.parent, package):
        folder.mkdir(parents=True)
    launcher.write_text(text)
    (package / "main.py").write_text("def main():\n    import requests\n    print(requests.SET)\n")

    def start(*sets, arguments=("status",)):
        for name in sets:
            folder = tmp_path / "usr" / "lib64" / "xcpng-mirrors" / name
            folder.mkdir(parents=True)
            (folder / "requests.py").write_text("SET = {!r}\n".format(name))
        return run([sys.executable, "-ISB", launcher] + list(arguments))

    return start


def test_the_set_of_the_running_python_is_taken(installed):
    done = installed("cp27", TAG, "cp399")
    assert (done.returncode, done.stdout, done.stderr) == (0, TAG + "\n", "")


@pytest.mark.parametrize("sets, brought", [(["cp27", "cp399"], "cp27, cp399"), ([], "no Python")])
def test_without_a_set_one_line_says_what_to_do(installed, sets, brought):
    done = installed(*sets)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "no-libraries: Python {}.{} has no cryptography, lxml, PGPy, requests".format(*sys.version_info) in done.stderr
    assert "brings libraries for {}; install them".format(brought) in done.stderr
