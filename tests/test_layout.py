"""The outer walls: which module may know which, what a host gets installed, and the shape of the code."""
import ast
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path
from xmlrpc.client import dumps, loads

import pytest

from tests.conftest import REPOSITORY_ROOT

PACKAGE = REPOSITORY_ROOT / "yum_plugin"
MODULES = sorted(PACKAGE.rglob("*.py"))
PLUGINS = [path for path in MODULES if path.parent.name == "plugins" and path.name != "__init__.py"]
PLACES = PACKAGE / "util" / "places.py"  # the bridge loads it
PYTHON_2_MODULES = [path for path in PLUGINS if path.name in ("bridge.py", "proofs.py", "xapi.py", "yum.py")] + [PLACES]

# The storeys of the core, the highest first: each may import only what stands below it.
LAYERS = ("__main__", "cli", "engine", "verify", "pool", "packages", "resolve", "privsep", "state", "host", "sources", "trust", "net",
          "util", "model", "errors")
OUTSIDERS_OF_PLUGINS = {"dnf", "hawkey", "libdnf", "rpm", "yum", "bridge"}
PYTHON_2_NAMES = {"ConfigParser", "pipes", "xmlrpclib"}

DNF_PLUGINS = "usr/lib/python3/site-packages/dnf-plugins"
SHARE = "usr/share/xcpng-mirrors/"


def run(command, **settings):
    """Run a command to its end and return what it said."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, **settings)


def name(path):
    """Name a file of the package in a test's id."""
    return str(path.relative_to(PACKAGE))


def tree_of(path):
    """Parse a module."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path):
    """Return the absolute names a module imports, with those taken "from" a package of ours as PACKAGE.NAME."""
    inside = ("yum_plugin",) + path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else ()
            source = ".".join(above + tuple((node.module or "").split(".") if node.module else ()))
            for alias in node.names:
                yield "{}.{}".format(source, alias.name) if source.startswith("yum_plugin") else source


def ours_imported(path):
    """Return the modules of ours that a module imports, as dotted names."""
    names = {module_name(other) for other in MODULES}
    for imported in imports_of(path):
        if imported.startswith("yum_plugin"):
            yield imported if imported in names else imported.rpartition(".")[0]


def module_name(path):
    """Return the dotted name of a module."""
    return ".".join(path.relative_to(REPOSITORY_ROOT).with_suffix("").parts).replace(".__init__", "")


def layer_of(module):
    """Return the key of a dotted name in LAYERS; "" for the package itself."""
    return (module.split(".") + [""])[1]


def is_standard(module):
    """Tell whether a top-level module comes with Python."""
    if module in sys.builtin_module_names or module == "__future__":
        return True
    found = importlib.util.find_spec(module)
    origin = found.origin if found and found.origin else ""
    return origin == "frozen" or (origin.startswith(sysconfig.get_paths()["stdlib"]) and "-packages" not in origin)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_the_core_imports_only_what_stands_below_and_nothing_of_the_operators(path):
    layer = layer_of(module_name(path))
    if layer in LAYERS:
        below = {"", layer} | set(LAYERS[LAYERS.index(layer) + 1:])
        assert {layer_of(module) for module in ours_imported(path)} <= below
    elif layer == "operators":
        assert {layer_of(module) for module in ours_imported(path)} <= {"", layer} | set(LAYERS) - {"__main__", "engine"}
    else:
        assert layer in ("", "plugins"), "a new folder: give it a place in LAYERS"


def test_no_module_imports_itself_in_a_circle():
    arrows = {module_name(path): set(ours_imported(path)) & {module_name(other) for other in MODULES} for path in MODULES}
    while arrows:
        free = {module for module, imported in arrows.items() if not imported & set(arrows) - {module}}
        assert free, "a circle among {}".format(sorted(arrows))
        arrows = {module: imported for module, imported in arrows.items() if module not in free}


def test_the_landing_is_small():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__" and path.suffix in ("", ".py")]
    assert len([path for path in entries if path.is_file()]) <= 5 and len([path for path in entries if path.is_dir()]) <= 14


@pytest.mark.parametrize("path", PLUGINS + [PLACES], ids=name)
def test_plugins_import_the_standard_library_and_their_manager_only(path):
    foreign = {imported.split(".")[0] for imported in imports_of(path)} - OUTSIDERS_OF_PLUGINS - PYTHON_2_NAMES - {"yum_plugin"}
    assert [module for module in sorted(foreign) if not is_standard(module)] == []
    assert {imported for imported in imports_of(path) if imported.startswith("yum_plugin")} <= {"yum_plugin.plugins.bridge"}


def test_no_two_classes_have_one_name():
    """Who reads a name in a message, a type or a search has to find one thing."""
    found = [node.name for path in MODULES for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    assert sorted(each for each, count in Counter(found).items() if count > 1) == []


TEST_CODE = sorted((REPOSITORY_ROOT / "tests").rglob("*.py"))


def test_no_test_file_is_imported_and_only_test_files_hold_tests():
    """What two test files need is in tests/support/, so that a change of one changes no other."""
    for path in TEST_CODE:
        nodes = list(ast.walk(tree_of(path)))
        sources = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        names = [alias.name for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names]
        assert [module for module in sources + names if re.search(r"(^|\.)test_", module)] == [], path
        if not path.name.startswith("test_"):
            functions = [node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
            assert [function for function in functions if function.lower().startswith("test")] == [], path
    helpers = {path.name for path in TEST_CODE if path.parent.name == "tests" and not path.name.startswith("test_")}
    assert helpers <= {"__init__.py", "conftest.py", "rsyncd.py", "simulator.py"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_python_3_6_can_read_it(path):
    text = path.read_text(encoding="utf-8")
    assert "from __future__ import annotations" not in text
    if sys.version_info >= (3, 8):
        ast.parse(text, feature_version=(3, 6))


@pytest.mark.parametrize("version, paths", [("3.6", MODULES), ("2.7", PYTHON_2_MODULES)], ids=["3.6", "2.7"])
def test_the_oldest_pythons_compile_it(interpreter, version, paths):
    check = "import io, sys\nfor path in sys.argv[1:]:\n    compile(io.open(path, 'rb').read(), path, 'exec')"
    done = run([interpreter(version), "-c", check] + [str(path) for path in paths])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_check_vanishes_under_python_O(path):
    assert [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)] == []


def lines_of(function):
    """Return how many lines the body of a function has, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    numbers = [node.lineno for statement in body for node in ast.walk(statement) if hasattr(node, "lineno")]
    return max(numbers) - min(numbers) + 1 if numbers else 0


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_shape(path):
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions if lines_of(function) > 60] == []
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_every_folder_of_the_package_is_installed_by_pip():
    assert [name(path) for path in MODULES if not (path.parent / "__init__.py").exists()] == []


def test_the_version_stands_in_one_place():
    version = re.search(r'^__version__ = "(\d+\.\d+\.\d+)"$', (PACKAGE / "__init__.py").read_text(), re.M).group(1)
    sources = [REPOSITORY_ROOT / "setup.py"] + MODULES + sorted(path for folder in ("etc", "man", "rpm", "tools")
                                                                for path in (REPOSITORY_ROOT / folder).iterdir())
    assert [str(path) for path in sources if '"{}"'.format(version) in path.read_text(encoding="utf-8")
            or "Version:        " + version in path.read_text(encoding="utf-8")] == [str(PACKAGE / "__init__.py")]


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A staged tree without the vendored libraries, for the Python that runs the tests."""
    folder = tmp_path_factory.mktemp("stage")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"}
    settings = ["VENDOR=0", "STAGE_PYTHON=" + sys.executable, "DNF_PLUGINS=/" + DNF_PLUGINS]
    done = run(["make", "-s", "stage", "DESTDIR=" + str(folder)] + settings, cwd=str(REPOSITORY_ROOT), env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def expected_files():
    """Return what a host gets, without bytecode: path -> octal mode, or the target of a link."""
    files = {SHARE + str(path.relative_to(REPOSITORY_ROOT)): "644" for path in MODULES}
    files["usr/bin/xcpng-mirrors"] = "755"
    files["etc/logrotate.d/xcpng-mirrors"] = "644"
    files["usr/share/licenses/xcpng-mirrors/LICENSE"] = "644"
    files["usr/share/bash-completion/completions/xcpng-mirrors"] = "644"
    files["usr/lib/systemd/system-preset/90-xcpng-mirrors.preset"] = "644"
    files["usr/lib/systemd/system/xcpng-mirrors-.service.d/10-newer.conf"] = "644"
    files["usr/lib/sysusers.d/xcpng-mirrors.conf"] = "644"
    files.update(("usr/lib/systemd/system/xcpng-mirrors-{}.{}".format(job, unit), "644") for job in ("refresh", "sync@")
                 for unit in ("service", "timer"))
    files.update(("usr/share/man/man8/{}xcpng-mirrors.8.gz".format(start), "644") for start in ("", "dnf-", "yum-"))
    files[SHARE + "yum_plugin/py.typed"] = "644"
    pages = list(REPOSITORY_ROOT.glob("*.md")) + list((REPOSITORY_ROOT / "docs").rglob("*.md"))
    files.update(("usr/share/doc/xcpng-mirrors/" + str(page.relative_to(REPOSITORY_ROOT)), "644") for page in pages)
    plugins = "share/xcpng-mirrors/yum_plugin/plugins/"
    files["etc/dnf/plugins/xcpng-mirrors.conf"] = "644"
    files[DNF_PLUGINS + "/xcpng-mirrors.py"] = "../../../../" + plugins + "dnf.py"
    files[SHARE + "yum_plugin/plugins/xapi.py"] = "755"  # run by its name, by xapi
    files["etc/xapi.d/plugins/xcpng-mirrors"] = "../../../usr/" + plugins + "xapi.py"
    if (PACKAGE / "plugins" / "yum.py").exists():
        files["etc/yum/pluginconf.d/xcpng-mirrors.conf"] = "644"
        files["usr/lib/yum-plugins/xcpng-mirrors.py"] = "../../" + plugins + "yum.py"
    return files


def describe(path):
    """Return the octal mode of a file, or the target of a link."""
    return os.readlink(str(path)) if path.is_symlink() else "{:o}".format(stat.S_IMODE(path.stat().st_mode))


def test_the_staged_tree_is_exactly_what_a_host_gets(staged):
    found = {str(path.relative_to(staged)): describe(path) for path in staged.rglob("*") if path.is_symlink() or path.is_file()}
    assert {path: mode for path, mode in found.items() if not path.endswith(".pyc")} == expected_files()
    folders = [path for path in staged.rglob("*") if path.is_dir()]
    assert {describe(path) for path in folders} == {"755"}
    assert [list((staged / folder).iterdir()) for folder in ("var/lib/xcpng-mirrors", "etc/xcpng-mirrors.d")] == [[], []]


def test_both_package_managers_get_the_same_conf_but_for_the_name_of_their_plugin(staged):
    dnf, yum = ((staged / folder / "xcpng-mirrors.conf").read_text() for folder in ("etc/dnf/plugins", "etc/yum/pluginconf.d"))
    assert dnf.splitlines()[0].count("the dnf plugin") == 1 and yum == dnf.replace("the dnf plugin", "the yum plugin", 1)


def test_links_lead_to_files_of_the_same_tree(staged):
    links = [path for path in staged.rglob("*") if path.is_symlink()]
    assert [link for link in links if not link.is_file() or staged not in link.resolve().parents] == []


def test_every_module_brings_its_bytecode_so_that_root_writes_none(staged):
    sources = [path for path in staged.rglob("*.py") if "yum-plugins" not in path.parts]
    assert [path for path in sources if not Path(importlib.util.cache_from_source(str(path))).is_file()] == []


def test_no_file_knows_where_it_was_built(staged):
    places = (str(staged).encode(), str(REPOSITORY_ROOT).encode())
    named_python = ("xcpng-mirrors", "xapi.py")  # first lines: the tests' Python lies beside the tree
    files = [path for path in staged.rglob("*") if path.is_file() and path.name not in named_python]
    assert [path for path in files if any(place in path.read_bytes() for place in places)] == []


def test_the_launcher_finds_its_tree_through_a_link_and_ignores_the_callers_environment(staged, tmp_path):
    link = tmp_path / "elsewhere"
    link.symlink_to(staged / "usr/bin/xcpng-mirrors")
    for trap in ("yum_plugin", "requests"):
        (tmp_path / (trap + ".py")).write_text("raise SystemExit('trapped')")
    done = run([str(link), "--version"], cwd=str(tmp_path), env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_staged_xapi_plugin_is_run_by_the_hosts_python_and_finds_the_command_of_its_tree(staged):
    plugin = staged / "etc/xapi.d/plugins/xcpng-mirrors"
    assert plugin.read_text().splitlines()[0] == "#!{} -IB".format(sys.executable)
    done = run([str(plugin), dumps(("OpaqueRef:session", {"repo": "no-such"}), "status")], cwd="/", env={})
    (answer,), _ = loads(done.stdout)
    assert (done.returncode, done.stderr, answer["Status"]) == (0, "", "Failure")
    assert "no-repository: no usable repository matches no-such" in answer["ErrorDescription"][-1]


def test_stage_without_a_folder_is_refused():
    done = run([str(REPOSITORY_ROOT / "tools/stage.sh"), ""])
    assert done.returncode != 0 and "DESTDIR=DIR" in done.stderr


@pytest.fixture
def bare_machine(tmp_path):
    """Run tools/need.sh as a given user where there is hardly a program, and an apt-get that only says what it was asked."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for command in ("sh", "sort"):
        (tools / command).symlink_to(shutil.which(command))

    def need(user, *commands):
        for command, line in (("id", "echo {}".format(user)), ("apt-get", 'echo "apt-get $*"')):
            (tools / command).write_text("#!/bin/sh\n{}\n".format(line))
            (tools / command).chmod(0o755)
        script = (REPOSITORY_ROOT / "tools/need.sh").read_text().replace("PATH=$PATH:/usr/sbin:/sbin", "")
        return run([str(tools / "sh"), "-c", script, "need"] + list(commands), env={"PATH": str(tools)})

    return need


def test_nothing_is_installed_where_nothing_is_missing(bare_machine):
    done = bare_machine(0, "sh", "sort")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_root_what_is_missing_is_told_with_its_package(bare_machine):
    done = bare_machine(1000, "sh", "createrepo_c", "rpmbuild", "rpmsign")
    assert (done.returncode, done.stdout) == (1, "")
    assert "    createrepo_c (package createrepo-c)\n    rpmbuild (package rpm)\n" in done.stderr
    assert done.stderr.endswith("As root: apt-get install createrepo-c rpm\n")


def test_root_gets_it_installed_and_is_told_if_that_did_not_help(bare_machine):
    done = bare_machine(0, "createrepo_c")
    assert done.stdout == "apt-get -q update\napt-get -q -y install createrepo-c\n"
    assert done.returncode == 1 and "createrepo_c" in done.stderr


def test_a_host_without_the_operators_package_is_told_which_one_has_the_subcommand(staged, tmp_path):
    core = tmp_path / "core"
    shutil.copytree(str(staged), str(core), symlinks=True)
    shutil.rmtree(str(core / SHARE / "yum_plugin/operators"))
    command = [str(core / "usr/bin/xcpng-mirrors")]
    done = run(command + ["-v", "audit", "https://mirror.example/"], env={})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("xcpng-mirrors: usage: audit is in the package xcpng-mirrors-operators, which is not installed here; "
                           "yum install xcpng-mirrors-operators\n")
    done = run(command + ["--help"], env={})
    assert done.returncode == 0 and "precheck" in done.stdout and "audit" not in done.stdout
