"""The packages as an admin meets them: built once, installed in an empty root, used from there, upgraded and erased."""
import os
import subprocess
from pathlib import Path
from xmlrpc.client import dumps, loads

import pytest

from tests.conftest import REPOSITORY_ROOT, find_interpreter
from tests.lab.plugin import install_plugin, state_path
from tests.lab.tools import environment, locked, missing
from tests.support.faults_table import TRUST_FAULTS, good_mirrors, own_lines

SYSTEM_PYTHON = "/usr/bin/python3"
COMMAND = "usr/bin/xcpng-mirrors"
SETS = "usr/lib64/xcpng-mirrors"
MEBIBYTE = 1 << 20
REPOSITORY = "[xcp-ng-updates]\nname=Updates\nbaseurl=http://127.0.0.1:1/8/8.3/updates/x86_64/\nenabled=1\n" \
    "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-xcpng\n"


def lacking():
    """Say why the packages cannot be built or installed here; "" if they can."""
    absent = missing(("git", "make", "rpm", "rpmbuild"))
    if absent:
        return "not installed: " + ", ".join(absent)
    if os.geteuid() != 0:
        return "only root can install packages in another root"
    if not (REPOSITORY_ROOT / ".git").exists():
        return "packages are built of a commit, and this is no git repository"
    return ""


pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())


def run(command, **settings):
    """Run a command to its end and return what it said."""
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, **settings)


def tag_of(python):
    """Return the name of a Python's set of libraries."""
    return run([python, "-c", "import sys; print('cp{}{}'.format(*sys.version_info))"]).stdout.strip()


def pinned_sets():
    """Return the sets that rpm/requirements-*.txt pin: tag -> {(name, version)}."""
    found = {}
    for path in (REPOSITORY_ROOT / "rpm").glob("requirements-*.txt"):
        lines = path.read_text().splitlines()
        [tag] = [line.split()[2] for line in lines if line.startswith("# set: ")]
        pins = [line.split()[0].split("==") for line in lines if not line.startswith("#")]
        found[tag] = {(name.lower().replace("_", "-"), version) for name, version in pins}
    return found


def pythons():
    """Return the Pythons to run the command with: the system's, and 3.6; those that are here and have a set."""
    candidates = [SYSTEM_PYTHON if os.path.exists(SYSTEM_PYTHON) else None, find_interpreter("3.6")]
    return {tag_of(path): path for path in candidates if path and tag_of(path) in pinned_sets()}


def build(top, flags="", source=REPOSITORY_ROOT):
    """Build packages of the last commit with `make rpm` and return their paths."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "PYTHONPATH"))}
    settings.update(RPM_TOP=str(top), SETS=" ".join(sorted(pythons())), PYTHONS=" ".join(pythons().values()), STAGE_PYTHON=SYSTEM_PYTHON)
    done = run(["make", "-s", "rpm", "RPM_FLAGS=" + flags], cwd=str(source), env=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(Path(line) for line in done.stdout.splitlines() if line.endswith(".rpm"))


def binary(packages):
    """Leave out the package of the sources."""
    return [path for path in packages if not path.name.endswith(".src.rpm")]


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """The packages of this commit, built once for all processes of the run."""
    base = tmp_path_factory.getbasetemp()
    top = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "rpm"
    with locked(str(top) + ".lock"):
        done = top / "done"
        if not done.exists():
            done.write_text("\n".join(map(str, build(top))))
    return [Path(line) for line in done.read_text().splitlines()]


class Root:
    """A root that is empty but for packages: there is no shell, no Python and no other package in it."""

    def __init__(self, folder):
        self.folder = folder / "root"
        self.folder.mkdir()
        self._environment = environment(str(folder))
        self.rpm("--initdb")
        self.before = self.files()

    def rpm(self, *arguments):
        """Run rpm in the root; it must succeed, and say nothing on stderr."""
        done = self.ask(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def ask(self, *arguments):
        """Run rpm in the root; Debian's own advice, to use another program, is left out of what it says."""
        done = run(["rpm", "--root", self.folder, "--dbpath", "/var/lib/rpm"] + list(arguments), env=self._environment)
        done.stderr = "".join(line for line in done.stderr.splitlines(True) if not line.startswith("rpm: "))
        return done

    def files(self):
        """Return what there is beside rpm's own: path -> (mode, time, size)."""
        paths = [path for path in self.folder.rglob("*") if "/var/lib/rpm" not in str(path) and "/.rpmdb" not in str(path)]
        return {str(path.relative_to(self.folder)): path.lstat()[:1] + path.lstat()[6:9:2] for path in paths if not path.is_dir()}

    def path(self, inside):
        """Return where a file lies."""
        return self.folder / inside

    def command(self, python, *arguments):
        """Run the installed command by a Python that has only what the package brings (-S: no site-packages)."""
        return run([python, "-ISB", self.path(COMMAND)] + list(arguments), env={"PATH": os.environ["PATH"]}, cwd="/")


@pytest.fixture(scope="module")
def root(packages, tmp_path_factory):
    """A root with all packages; tests leave it as it is."""
    made = Root(tmp_path_factory.mktemp("installed"))
    assert made.rpm("-i", "--nodeps", *binary(packages)) == ""
    made.path("etc/yum.repos.d").mkdir(exist_ok=True)
    made.path("etc/yum.repos.d/xcp-ng.repo").write_text(REPOSITORY)
    return made


@pytest.fixture(params=["system", "3.6"])
def python(request):
    """A Python that the package has a set for."""
    found = find_interpreter("3.6") if request.param == "3.6" else SYSTEM_PYTHON
    if found not in pythons().values():
        pytest.skip("no Python {} with a set of libraries here".format(request.param))
    return found


# What is in the packages


def test_what_is_vendored_is_told_by_name_version_and_licence(packages):
    [engine] = [path for path in packages if path.name.endswith(".x86_64.rpm")]
    told = run(["rpm", "-qp", "--provides", engine]).stdout.split("\n")
    expected = set().union(*(pinned_sets()[tag] for tag in pythons()))
    assert {line for line in told if line.startswith("bundled")} == {
        "bundled(python3dist({})) = {}".format(*library) for library in expected}
    licences = run(["rpm", "-qp", "--queryformat", "%{LICENSE}", engine]).stdout
    assert licences.startswith("GPL-2.0-or-later AND ") and {"MPL-2.0", "Apache-2.0"} <= set(licences.split(" AND "))
    files = run(["rpm", "-qpL", engine]).stdout
    assert all("/{}-{}/LICEN".format(*library) in files for library in expected)


def test_no_package_asks_for_what_a_stock_host_lacks(packages):
    asked = {line for path in binary(packages) for line in run(["rpm", "-qp", "--requires", path]).stdout.splitlines()}
    names = {line.split()[0] for line in asked if not line.startswith(("rpmlib(", "config("))}
    assert names == {"/usr/bin/python3", "xcpng-mirrors", "yum", "python3-dnf"}


def test_the_plugin_of_xapi_comes_with_the_command_and_answers_from_the_root(root, packages):
    [engine] = [path for path in packages if path.name.endswith(".x86_64.rpm")]
    listed = {line.split()[-1]: line.split()[0] for line in run(["rpm", "-qplv", engine]).stdout.splitlines()}
    assert listed["/usr/share/xcpng-mirrors/yum_plugin/plugins/xapi.py"] == "-rwxr-xr-x"
    plugin = root.path("etc/xapi.d/plugins/xcpng-mirrors")
    done = run([plugin, dumps(("OpaqueRef:session", {}), "reboot")], cwd="/", env={})
    (answer,), _ = loads(done.stdout)
    assert (done.stderr, answer["ErrorDescription"]) == ("", ["UNKNOWN_XENAPI_PLUGIN_FUNCTION", "reboot"])


def test_a_set_stays_below_30_mebibytes_and_has_no_source_of_compiled_code(root):
    for tag in pythons():
        files = [path for path in root.path(SETS).joinpath(tag).rglob("*") if path.is_file()]
        assert MEBIBYTE < sum(path.stat().st_size for path in files) < 30 * MEBIBYTE
        assert [path for path in files if path.suffix in (".c", ".h", ".pxd", ".pyi", ".pyx")] == []


def test_two_builds_of_one_commit_in_two_folders_are_identical(tmp_path):
    first, second = (binary(build(tmp_path / name, "--without bundled")) for name in ("first", "second"))
    assert len(first) == 4 and [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_rpmlint_finds_nothing_that_is_not_explained(packages):
    if missing(["rpmlint"]):
        pytest.skip("rpmlint is not installed")
    done = run(["rpmlint", "-c", "rpm/rpmlint.toml"] + packages, cwd=str(REPOSITORY_ROOT))
    assert done.returncode == 0 and "0 errors, 0 warnings" in done.stdout, done.stdout


# Installed


def test_the_command_runs_from_the_root(root, python):
    assert root.command(python, "--version").stdout.startswith("xcpng-mirrors ")
    conf = root.path("etc/dnf/plugins/xcpng-mirrors.conf")
    done = root.command(python, "status", "--config", str(conf), "--installroot", root.folder)
    assert (done.returncode, done.stderr.count("never resolved")) == (1, 1), done.stderr
    assert "plugin enabled in {}".format(conf) in " ".join(done.stdout.split())


def test_every_module_of_ours_finds_its_libraries_and_all_their_bytecode_in_the_set(root, python):
    script = """
import importlib, pathlib, sys
share, libraries = sys.argv[1:]
sys.path[:0] = [share, libraries]
import warnings
warnings.simplefilter("ignore")
for path in sorted(pathlib.Path(share).rglob("*.py")):
    name = ".".join(path.relative_to(share).with_suffix("").parts)
    if "plugins" not in name and not name.endswith("__main__"):
        importlib.import_module(name.replace(".__init__", ""))
import cryptography.x509, cryptography.exceptions, pgpy, pgpy.packet
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, ed25519
for name in ("requests", "urllib3", "lxml.etree", "pgpy", "cryptography"):
    assert sys.modules[name].__file__.startswith(libraries), name
"""
    libraries = root.path(SETS) / tag_of(python)
    done = run([python, "-ISBv", "-c", script, root.path("usr/share/xcpng-mirrors"), libraries])
    assert done.returncode == 0, done.stderr[-1000:]
    ours = [line for line in done.stderr.splitlines() if "code object from" in line and str(root.folder) in line]
    assert len(ours) > 200 and [line for line in ours if ".pyc" not in line] == []  # none had to be compiled


@pytest.mark.skipif(SYSTEM_PYTHON not in pythons().values(), reason="there is no set of libraries for the system's Python")
def test_the_command_started_by_its_name_takes_nothing_of_the_callers_environment(root, tmp_path):
    for trap in ("yum_plugin", "requests", "lxml"):
        (tmp_path / (trap + ".py")).write_text("raise SystemExit('trapped')")
    (tmp_path / "conf").write_text("[main]\nredirectors=127.0.0.1:1\nfallbacks=http://127.0.0.1:1/\n")
    places = ["--installroot", root.folder, "--state-dir", tmp_path / "state", "--config", tmp_path / "conf"]
    done = run([root.path(COMMAND), "refresh"] + places,
               env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nonexistent"}, cwd=str(tmp_path))
    assert done.returncode == 2 and "xcpng-mirrors: xcp-ng-updates: key-file: " in done.stderr, done.stderr


@pytest.mark.dnf
@pytest.mark.parametrize("fault", ["expired-certificate", "bad-signature", "corrupt-packages"])
def test_dnf_survives_a_first_mirror_with_a_fault(fault, lab, root, python, tmp_path):
    host = lab.installroot(str(tmp_path / "host"))
    [plugin] = root.folder.rglob("dnf-plugins/xcpng-mirrors.py")
    os.symlink(str(plugin), os.path.join(host.plugins, "xcpng-mirrors.py"))
    command = tmp_path / "command"
    command.write_text('#!/bin/sh\nexec {} -ISB {} "$@"\n'.format(python, root.path(COMMAND)))
    command.chmod(0o755)
    install_plugin(host, lab, command=str(command))
    good_mirrors(lab, fault)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stdout + done.stderr
    assert fault in TRUST_FAULTS or own_lines(done) == []
    assert os.path.exists(state_path(host, "xcp-ng-updates", "accepted.json"))


# Upgraded and erased


def older_packages(folder):
    """Build packages of a lower version with other defaults, of a copy of this commit."""
    source = folder / "source"
    assert run(["git", "clone", "-q", "--shared", REPOSITORY_ROOT, source]).returncode == 0
    for name, old, new in (("yum_plugin/__init__.py", '__version__ = "', '__version__ = "0.0.'),
                           ("etc/xcpng-mirrors.conf", "#deadline=8", "#deadline=7")):
        text = (source / name).read_text()
        assert text.count(old) == 1
        (source / name).write_text(text.replace(old, new))
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    assert run(["git"] + who + ["commit", "-qam", "older"], cwd=str(source)).returncode == 0
    return binary(build(folder / "rpm", "--without bundled", source))


def test_an_upgrade_keeps_an_edited_conf_and_an_erase_leaves_only_state_and_log(packages, tmp_path):
    older, host = older_packages(tmp_path), Root(tmp_path)
    host.rpm("-i", "--nodeps", *older)
    conf = host.path("etc/dnf/plugins/xcpng-mirrors.conf")
    edited = conf.read_text().replace("#deadline=7", "deadline=5")
    conf.write_text(edited)
    warned = host.ask("-U", "--nodeps", *binary(packages))
    assert warned.returncode == 0 and "created as {}.rpmnew".format(conf) in warned.stderr.replace("warning: /", "/").replace(
        "as /", "as {}/".format(host.folder)), warned.stderr
    assert conf.read_text() == edited and "#deadline=8" in Path(str(conf) + ".rpmnew").read_text()
    assert host.rpm("-qa").count("0.0.") == 0

    names = host.rpm("-qa", "--queryformat", "%{NAME}\\n").split()
    assert sorted(names) == ["python3-dnf-plugin-xcpng-mirrors", "xcpng-mirrors", "xcpng-mirrors-operators", "yum-plugin-xcpng-mirrors"]
    told = host.ask("-V", "--nodeps", *names).stdout.split()
    assert told[-1:] == ["/etc/dnf/plugins/xcpng-mirrors.conf"] and len([word for word in told if "/" in word]) == 1

    kept = {"var/lib/xcpng-mirrors/xcp-ng-updates/accepted.json", "var/log/xcpng-mirrors.log"}
    for name in kept:
        host.path(name).parent.mkdir(parents=True, exist_ok=True)
        host.path(name).write_text("kept")
    enabled = host.path("etc/systemd/system/timers.target.wants/xcpng-mirrors-refresh.timer")
    enabled.parent.mkdir(parents=True)
    enabled.symlink_to("/usr/lib/systemd/system/xcpng-mirrors-refresh.timer")
    instance = enabled.parent / "xcpng-mirrors-sync@srv-mirror.timer"
    instance.symlink_to("/usr/lib/systemd/system/xcpng-mirrors-sync@.timer")
    conf.write_text(Path(str(conf) + ".rpmnew").read_text())
    Path(str(conf) + ".rpmnew").unlink()
    host.rpm("-e", *names)
    assert set(host.files()) - set(host.before) == kept
    ours = [path for path in host.folder.rglob("*xcpng-mirrors*") if "var/lib/rpm" not in str(path)]
    assert {str(path.relative_to(host.folder)) for path in ours} == {"var/lib/xcpng-mirrors", "var/log/xcpng-mirrors.log"}


def test_what_was_run_and_read_has_changed_no_file_of_the_packages(root, python):
    before = root.files()
    root.command(python, "status", "--installroot", root.folder)
    root.command(python, "key", "--installroot", root.folder)
    after = root.files()
    assert {path for path in after if before.get(path) != after[path]} <= {"var/log/xcpng-mirrors.log"}
    done = root.ask("-Va", "--nodeps")
    assert (done.returncode, done.stdout) == (0, "")
