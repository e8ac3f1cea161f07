"""Who could change what decides, and where a path of another root leads: tables on real files."""
import os

import pytest

from yum_plugin.util import places
from yum_plugin.util.places import inside, remedy, weak_point

OTHER = 12345  # a user who is neither root nor the one of this process
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def tree(tmp_path):
    """outer/inner/file, all of this user's own, and outside/file."""
    (tmp_path / "outer" / "inner").mkdir(parents=True, mode=0o755)
    (tmp_path / "outside").mkdir(mode=0o755)
    for folder in ("outer/inner", "outside"):
        (tmp_path / folder / "file").write_bytes(b"x")
        (tmp_path / folder / "file").chmod(0o644)
    return tmp_path


def weak(tree, path="outer/inner/file", root=""):
    """The weak point, below the tree."""
    found = weak_point(str(tree / path), str(tree / root) if root else "/")
    return os.path.relpath(found, str(tree)) if found else ""


def test_what_only_root_and_this_user_can_write_has_no_weak_point(tree):
    assert weak(tree) == "" == weak_point("/") and weak(tree, "outer/inner/missing/more") == ""


@pytest.mark.parametrize("part", ["outer", "outer/inner", "outer/inner/file"])
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_file_or_folder_that_others_can_write_is_weak(tree, part, mode):
    (tree / part).chmod(mode)
    assert weak(tree) == part


@as_root
@pytest.mark.parametrize("part", ["outer", "outer/inner", "outer/inner/file"])
def test_a_file_or_folder_of_another_user_is_weak_whatever_its_mode(tree, part):
    os.chown(str(tree / part), OTHER, 0)
    assert weak(tree) == part


@pytest.mark.parametrize("path, expected", [("outer/inner/file", ""), ("outer/missing/file", "outer"), ("outer", "outer")])
def test_in_a_sticky_folder_what_is_there_is_safe_and_what_is_missing_could_be_made_by_anybody(tree, path, expected):
    (tree / "outer").chmod(0o1777)
    assert weak(tree, path) == expected


@as_root
def test_a_file_of_another_user_in_a_sticky_folder_is_weak(tree):
    (tree / "outer").chmod(0o1777)
    os.chown(str(tree / "outer/inner"), OTHER, 0)
    assert weak(tree) == "outer/inner"


def test_the_folder_that_holds_a_link_and_the_one_that_it_leads_to_count(tree):
    (tree / "outer/link").symlink_to("../outside/file")
    assert weak(tree, "outer/link") == ""
    (tree / "outside").chmod(0o777)
    assert weak(tree, "outer/link") == "outside"
    (tree / "outside").chmod(0o755)
    (tree / "outer").chmod(0o777)
    assert weak(tree, "outer/link") == "outer"


@as_root
def test_a_link_of_another_user_is_weak(tree):
    (tree / "outer/link").symlink_to("inner/file")
    os.lchown(str(tree / "outer/link"), OTHER, 0)
    assert weak(tree, "outer/link") == "outer/link"


def test_the_folders_above_an_installroot_count_too(tree):
    (tree / "outer").chmod(0o777)
    assert os.path.relpath(weak_point("/file", str(tree / "outer/inner")), str(tree)) == "outer"


def test_the_remedy_is_a_command_also_for_a_name_with_a_space():
    assert remedy("/etc/a b") == "chown root:root '/etc/a b' && chmod go-w '/etc/a b'"


# Another root's paths



@pytest.mark.parametrize("path, expected", [
    ("/var/log/x.log", "var/log/x.log"), ("var/log/x.log", "var/log/x.log"), ("/../../x", "x"), ("/..", ""), ("/", ""),
    ("/var/../../../etc/x", "etc/x"), ("//a/./b", "a/b"), ("/outer/inner/../file", "outer/file")])  # fmt: skip
def test_a_path_of_another_root_never_leaves_it(tree, path, expected):
    assert inside(str(tree), path) == os.path.join(str(tree), expected).rstrip("/")


@pytest.mark.parametrize("target, expected", [
    ("/outside", "outside/file"), ("../../../../../../../../outside", "outside/file"), ("/../..", "file"),
    ("inner/../../outside", "outside/file"), ("/missing", "missing/file")])  # fmt: skip
def test_a_link_in_another_root_leads_where_it_leads_in_that_root(tree, target, expected):
    (tree / "outer/link").symlink_to(target)
    assert inside(str(tree), "/outer/link/file") == os.path.join(str(tree), expected)


@pytest.mark.parametrize("count, ends", [(places.MAX_LINKS, True), (places.MAX_LINKS + 1, False)])
def test_no_more_links_are_followed_than_the_kernel_follows(tree, count, ends):
    os.symlink("/etc/passwd", str(tree / "link1"))
    for number in range(2, count + 1):
        os.symlink("link{}".format(number - 1), str(tree / "link{}".format(number)))
    found = inside(str(tree), "/link{}".format(count))
    assert found == str(tree / "etc/passwd") if ends else found.startswith("/dev/null/")


def test_a_link_to_itself_leads_nowhere(tree):
    (tree / "link").symlink_to("link")
    assert not os.path.exists(inside(str(tree), "/link/x")) and inside(str(tree), "/link/x").startswith("/dev/null/")


def test_a_path_of_this_host_is_the_admins_own(tree):
    (tree / "link").symlink_to("outside")
    assert inside("/", str(tree / "link/../file")) == str(tree / "link/../file")
