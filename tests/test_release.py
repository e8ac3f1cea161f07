"""`make release`, in a clone that is thrown away and without building packages (tests/test_rpm.py builds them)."""
import hashlib
import shutil
import subprocess
import tarfile
from datetime import datetime, timezone

import pytest

from tests.conftest import REPOSITORY_ROOT

CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Fixed\n\n- A fault.\n\n## [0.1.0] - 2026-01-01\n\n- The first.\n"
CODE = '"""A package."""\n\n__version__ = "0.9.0"\n'
ENVIRONMENT = {"GIT_AUTHOR_NAME": "nobody", "GIT_AUTHOR_EMAIL": "nobody@example.org", "GIT_COMMITTER_NAME": "nobody",
               "GIT_COMMITTER_EMAIL": "nobody@example.org", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent",
               "PATH": "/usr/bin:/bin", "WITHOUT_RPM": "1"}

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


class Tree:
    """A small git repository that has what tools/release.sh reads."""

    def __init__(self, folder):
        self.folder = folder
        for name, text in (("yum_plugin/__init__.py", CODE), ("CHANGELOG.md", CHANGELOG), (".gitignore", "build/\n")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        (folder / "tools").mkdir()
        for name in ("release.sh", "rpm.sh"):
            shutil.copy(str(REPOSITORY_ROOT / "tools" / name), str(folder / "tools"))
        self.git("init", "-q")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "Begin")

    def run(self, *command, **variables):
        return subprocess.run(command, cwd=str(self.folder), env=dict(ENVIRONMENT, **variables), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True)

    def git(self, *arguments):
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def release(self, version, **variables):
        return self.run("tools/release.sh", version, **variables)

    def text(self, name):
        return (self.folder / name).read_text()


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "tree")


def test_a_release_sets_version_and_changelog_commits_tags_and_packs(tree):
    done = tree.release("1.0.0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["build/release/SHA256SUMS", "build/release/xcpng-mirrors-1.0.0.tar.gz"]
    assert tree.text("yum_plugin/__init__.py") == CODE.replace("0.9.0", "1.0.0")
    today = "{:%Y-%m-%d}".format(datetime.now(timezone.utc))
    assert tree.text("CHANGELOG.md") == CHANGELOG.replace("[Unreleased]", "[Unreleased]\n\n## [1.0.0] - " + today)
    assert tree.git("status", "--porcelain") == ""
    assert tree.git("log", "-1", "--format=%s%d").strip().startswith("Release 1.0.0 (HEAD -> ")
    assert tree.git("tag", "--points-at", "HEAD") == "v1.0.0\n"
    archive = tree.folder / "build/release/xcpng-mirrors-1.0.0.tar.gz"
    with tarfile.open(str(archive)) as packed:
        assert "xcpng-mirrors-1.0.0/yum_plugin/__init__.py" in packed.getnames()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert tree.text("build/release/SHA256SUMS") == "{}  xcpng-mirrors-1.0.0.tar.gz\n".format(digest)


@pytest.mark.parametrize("version, reason", [
    ("", "VERSION= is not of the form x.y.z"),
    ("1.0", "VERSION=1.0 is not of the form x.y.z"),
    ("v1.0.0", "VERSION=v1.0.0 is not of the form x.y.z"),
    ("1.0.0-rc1", "VERSION=1.0.0-rc1 is not of the form x.y.z"),
    ("01.0.0", "VERSION=01.0.0 is not of the form x.y.z"),
    ("0.9.0", "0.9.0 is not newer than 0.9.0"),
    ("0.8.9", "0.8.9 is not newer than 0.9.0"),
    ("0.10.0", ""),  # as numbers, not as text
])
def test_a_version_must_be_newer_and_of_three_numbers(tree, version, reason):
    done = tree.release(version)
    assert done.stderr == ("release: {}; nothing was changed\n".format(reason) if reason else "")
    assert done.returncode == (1 if reason else 0)


@pytest.mark.parametrize("name", ["CHANGELOG.md", "new-file"])
def test_a_dirty_tree_is_refused(tree, name):
    (tree.folder / name).write_text("- changed\n")
    done = tree.release("1.0.0")
    assert (done.returncode, done.stderr) == (
        1, "release: the working tree has changes or unknown files (git status); nothing was changed\n")


def test_an_existing_tag_is_refused(tree):
    tree.git("tag", "v1.0.0")
    done = tree.release("1.0.0")
    assert (done.returncode, done.stderr) == (1, "release: the tag v1.0.0 exists already; nothing was changed\n")


def test_an_empty_changelog_is_refused(tree):
    (tree.folder / "CHANGELOG.md").write_text(CHANGELOG.replace("- A fault.", ""))
    tree.git("commit", "-qam", "Empty")
    done = tree.release("1.0.0")
    assert (done.returncode, done.stderr) == (1, "release: CHANGELOG.md has nothing under [Unreleased]; nothing was changed\n")


def test_a_failure_leaves_the_branch_as_it_was(tree):
    (tree.folder / "tools/rpm.sh").write_text("#!/bin/sh\nexit 7\n")
    tree.git("commit", "-qam", "A packager that fails")
    before = tree.git("rev-parse", "HEAD")
    done = tree.release("1.0.0", WITHOUT_RPM="0")
    assert done.returncode != 0 and done.stderr.endswith("release: failed; the branch is as it was\n")
    assert (tree.git("rev-parse", "HEAD"), tree.git("tag"), tree.git("status", "--porcelain")) == (before, "", "")
    assert tree.text("yum_plugin/__init__.py") == CODE
