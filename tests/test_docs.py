"""The documentation speaks of what is there: every link, path, test, subcommand and target that it names exists."""
import ast
import functools
import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY_ROOT
from yum_plugin.cli.main import OPERATORS_SUBCOMMANDS, SUBCOMMANDS
from yum_plugin.errors import FetchError, MirrorsError, TrustError, UsageError
from yum_plugin.host.settings import KEYS

PACKAGE = REPOSITORY_ROOT / "yum_plugin"
DOCS = REPOSITORY_ROOT / "docs"
PAGES = sorted(REPOSITORY_ROOT.glob("*.md")) + sorted(DOCS.rglob("*.md"))
MAX_README_LINES = 130
MAX_CHARACTERS = 120

# Names of files have one of these ends; all other words of code are settings, options, values and so on.
FILE_NAME = re.compile(r"(?<![\w/.*{-])((?:[\w@.-]+/)*[\w@.-]+\.(?:py|sh|md|spec|cfg|toml))(?![\w/*])")
FOLDER_NAME = re.compile(r"^(?:[\w.-]+/)+$")
# What a host or another project has, and no file of this one.
FOREIGN = {"dnf.py", "yum.py", "repodata/", "isos/", "8/"}


def name(path):
    """Name a page in a test's id."""
    return str(path.relative_to(REPOSITORY_ROOT))


def prose_of(page):
    """Return a page's lines outside of code blocks, and the blocks' lines, both as (number, line)."""
    prose, blocks, inside = [], [], False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            inside = not inside
        else:
            (blocks if inside or line.startswith("    ") else prose).append((number, line))
    return prose, blocks


def code_of(page):
    """Return every word of code of a page: what stands between backticks, and the lines of its blocks."""
    prose, blocks = prose_of(page)
    return re.findall(r"`([^`]+)`", "\n".join(line for _, line in prose)) + [line for _, line in blocks]


def anchors_of(page):
    """Return the anchors of a page's headings, as GitHub and most others make them."""
    titles = [line.lstrip("#").strip() for _, line in prose_of(page)[0] if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", title.replace("`", "").lower()).replace(" ", "-") for title in titles}


def exists(page, path):
    """Whether a path is one of this project: from its root, below the package or the tests, or from the page's folder."""
    return any((folder / path).exists() for folder in (REPOSITORY_ROOT, PACKAGE, REPOSITORY_ROOT / "tests", page.parent))


@functools.lru_cache(maxsize=None)
def defined_tests():
    """Return the names of all test functions."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (REPOSITORY_ROOT / "tests").glob("test_*.py")]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_page_and_its_heading(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(line for _, line in prose_of(page)[0])):
        path, _, anchor = target.partition("#")
        if path.startswith(("http:", "https:", "mailto:")):
            continue
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or anchor and anchor not in anchors_of(linked):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_that_a_page_names_exists(page):
    words = code_of(page)
    named = {path for word in words for path in FILE_NAME.findall(word)} | {word for word in words if FOLDER_NAME.match(word)}
    assert [path for path in sorted(named - FOREIGN) if not exists(page, path)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_test_that_a_page_names_exists(page):
    named = {word.rpartition("::")[2] for word in code_of(page) if re.match(r"^(\S+::)?test_\w+$", word)}
    assert sorted(named - defined_tests()) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_subcommand_and_target_that_a_page_names_exists(page):
    text = "\n".join(code_of(page))
    subcommands = set(re.findall(r"(?:^|[^\w/=-])xcpng-mirrors ([a-z-]+)", text)) - {"engine"}
    assert sorted(word for word in subcommands if not word.startswith("-")
                  and word not in dict(SUBCOMMANDS + OPERATORS_SUBCOMMANDS)) == []
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY_ROOT / "Makefile").read_text(), re.M))
    assert sorted(set(re.findall(r"(?:^|\s)make ([a-z-]+)", text)) - targets) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_line_of_prose_is_longer_than_a_terminal(page):
    prose, _ = prose_of(page)
    assert [number for number, line in prose if len(line) > MAX_CHARACTERS and not line.startswith("|")] == []


def test_the_readme_is_short():
    assert len((REPOSITORY_ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def rows_of(page):
    """Return the cells of the tables' rows whose first cell is one word of code, without backticks."""
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| `") else []
        if cells and re.match(r"^`[^` ]+`$", cells[0]):
            yield [cell.strip("`") for cell in cells]


def test_every_reference_of_an_error_has_its_meaning_and_fix():
    rows = [row for row in rows_of("messages.md")]
    known = [reference for family in (FetchError, TrustError, UsageError, MirrorsError) for reference in family.REFERENCES]
    assert sorted(row[0] for row in rows) == sorted(known)
    assert [row[0] for row in rows if len(row) != 3 or not all(cell.endswith((".", "`")) for cell in row[1:])] == []


def allowed(key):
    """Say what the table of settings says of a key's bounds."""
    if key.kind in ("count", "seconds", "days"):
        return "{:.12g} to {:.12g}".format(key.low, key.high)
    if key.kind in ("flag", "choice"):
        return ""
    return "absolute" if key.kind == "path" else "{:.0f} to {:.0f} entries".format(key.low, key.high)


def test_every_setting_is_described_with_its_default_unit_and_bounds():
    expected = [[key.name, key.default or "nothing", key.unit.replace("|", " or "), allowed(key)] for key in KEYS]
    assert list(rows_of("settings.md")) == expected
    prose = (DOCS / "settings.md").read_text(encoding="utf-8")
    described = {word for line in prose.splitlines() if line.startswith("- `")
                 for word in re.findall(r"`(\w+)`", line.partition(":")[0])}
    assert described == {key.name for key in KEYS}


def imported_by(path):
    """Return the files of the package that a module imports itself, at its top or later."""
    inside = ("yum_plugin",) + path.relative_to(PACKAGE).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = inside[: len(inside) - node.level + 1] + tuple((node.module or "").split(".") if node.module else ())
            found.update("/".join(base + (alias.name,)) + ".py" for alias in node.names)
            found.add("/".join(base) + ".py")
    return {REPOSITORY_ROOT / path for path in found}


UPDATE, AUDIT = "Walk: `yum update`", "Walk: `audit`"


def walk(title):
    """Return the files that a walk names, in its order."""
    section = (DOCS / "architecture.md").read_text(encoding="utf-8").split("\n## {}\n".format(title))[1].split("\n## ")[0]
    return [PACKAGE / path for path in re.findall(r"`([\w/]+\.py)`", section)]


@pytest.mark.parametrize("title", [UPDATE, AUDIT])
def test_a_walk_names_each_file_once_and_never_climbs_back_up(title):
    files = walk(title)
    assert len(files) > 10 and len(files) == len(set(files)) and all(path.is_file() for path in files)
    climbs = [(later.name, earlier.name) for place, later in enumerate(files) for earlier in files[:place]
              if earlier in imported_by(later)]
    assert climbs == []


def test_the_walk_of_an_update_names_every_module_that_an_engine_loads():
    code = "import sys, yum_plugin.cli.main, yum_plugin.engine, yum_plugin.privsep.parent; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=str(REPOSITORY_ROOT), stdout=subprocess.PIPE, universal_newlines=True)
    loaded = {REPOSITORY_ROOT / (module.replace(".", "/") + ".py") for module in done.stdout.split() if module.startswith("yum_plugin.")}
    assert sorted(name(path) for path in loaded if path.is_file() and path not in walk(UPDATE)) == []
