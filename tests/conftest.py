"""What every test may use."""
import functools
import glob
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY_ROOT = Path(__file__).resolve().parent.parent

# A shell that starts the tests with "&" lets them ignore Ctrl-C, and what is ignored stays ignored in every child (POSIX,
# sh: "asynchronous lists"; execve(2)): the tests of an interrupt would wait for ever. A handler is not handed down so.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "1000")),
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def log_as_it_was():
    """Undo what ``open_log`` does to the one logger of this process: later tests look at it, too."""
    logger = logging.getLogger("xcpng-mirrors")
    before = logger.propagate, logger.level, list(logger.handlers)
    yield
    logger.propagate, logger.level, logger.handlers = before


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real captures (keys, mirror lists) beside the repository."""
    folder = REPOSITORY_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the captures of ../shared/data are not here")
    return folder


def pytest_collection_modifyitems(items):
    """Mark what needs the lab's servers and packages; the rest is quick and also runs on other Pythons (tools/pythons.sh)."""
    for item in items:
        if "built_lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)


@functools.lru_cache(maxsize=None)
def find_interpreter(version):
    """Return the path of a Python that really runs, "2.7" or "3.6"; None if there is none.

    Looked for on PATH, then among pyenv's (whose shims on PATH may lead nowhere).
    """
    name = "python" + version
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for candidate in [name] + sorted(glob.glob("{}/versions/{}.*/bin/{}".format(pyenv, version, name))):
        try:
            subprocess.run([candidate, "-c", ""], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


@pytest.fixture(scope="session")
def interpreter():
    """A function from a version to a Python of that version; skips the test where there is none."""

    def find_or_skip(version):
        return find_interpreter(version) or pytest.skip("no Python {} here".format(version))

    return find_or_skip


@pytest.fixture(scope="session")
def built_lab(tmp_path_factory):
    """The lab of the whole run, built once; tests use ``lab``."""
    from .lab.lab import Lab
    from .lab.tools import missing

    if missing():
        pytest.skip("not installed: {}".format(", ".join(missing())))
    with Lab(str(tmp_path_factory.mktemp("lab"))) as lab:
        yield lab


@pytest.fixture
def admin(lab, tmp_path):
    """A user who types the command on a host that has the lab's repositories."""
    from .support.command import Admin

    return Admin(lab, tmp_path)


@pytest.fixture
def open_path():
    """A folder that the user without rights can enter, too, and write to."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(str(path))


@pytest.fixture
def rsync_stand_in(open_path, monkeypatch):
    """A function that puts a shell script called rsync first on PATH."""
    def make(script):
        folder = open_path / "bin"
        folder.mkdir()
        (folder / "rsync").write_text("#!/bin/sh\n" + script)
        (folder / "rsync").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return make


@pytest.fixture
def disk():
    """A function that mounts a file system of so many bytes at a folder; skips where none can be mounted."""
    mounted = []

    def mount(folder, size):
        os.makedirs(folder, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", "size={}".format(size), "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
            pytest.skip("a file system of a test's own takes root, and a kernel that lets it mount one")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def lab(built_lab):
    """The lab as it was at first: no mirrors, the new state published, an empty access log."""
    built_lab.reset()
    return built_lab
