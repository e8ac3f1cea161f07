"""What a sync decides before it touches anything: what is left out, what belongs together, what is deleted."""
import contextlib
import os
import random

import pytest

from yum_plugin.operators.rsync import RsyncEntry, parse_entry
from yum_plugin.operators.sync.plan import (
    MAX_DELETE,
    DeletionLimits,
    DestinationFiles,
    RunOutcome,
    Unit,
    UnitIndex,
    deletions,
    filter_listing,
    find_units,
    is_excluded,
    link_stays_inside,
)

UPDATES, BASE = Unit("8/8.3/updates/x86_64", True), Unit("8/8.3/base/x86_64", True)


def entry(path, kind="file", target=""):
    return RsyncEntry(path, kind, 1, 1000, "rw-r--r--", target)


@pytest.mark.parametrize("path, kind, target, reason", [
    ("a", "file", "", ""), ("d/a", "file", "", ""), ("l", "link", "a", ""), ("a b", "file", "", ""), ("é", "file", "", ""),
    ("new\nline", "file", "", "control"), ("esc\x1b[2J", "file", "", "control"), ("../a", "file", "", "dot segments"),
    ("d/../../a", "file", "", "dot segments"), ("/etc/cron.d/x", "file", "", "absolute"), ("bad\udcff", "file", "", "UTF-8"),
    ("x" * 256, "file", "", "too long"), ("/".join(["d"] * 1600), "file", "", "too long"), ("sda", "device", "", "a device"),
    ("fifo", "special", "", "a special"), ("out", "link", "/etc/passwd", "out of the tree"), ("out", "link", "../x", "out of the tree"),
    ("none/a", "file", "", "its parent is not a folder"), ("link/a", "file", "", "its parent is not a folder"), ("file/a", "file", "", "its parent is not a folder"),
    ("file", "file", "", "twice"),
])  # fmt: skip
def test_what_is_dangerous_is_left_out_and_told(path, kind, target, reason):
    there = [entry("d", "folder"), entry("link", "link", "d"), entry("file")]
    found = filter_listing(there + [entry(path, kind, target)])
    assert (reason in dict(found.left_out).get(path, "")) if reason else not found.left_out
    assert set(found.files) | set(found.links) <= {"link", "file"} | (set() if reason else {path})


@pytest.mark.parametrize("path, target, inside", [
    ("l", "a", True), ("l", "a/b", True), ("d/l", "../a", True), ("d/e/l", "../../a", True), ("l", "", False), ("l", "/a", False),
    ("l", "..", False), ("d/l", "../..", False), ("d/l", "../../a", False), ("d/l", "a/../b", False), ("d/l", "./a", False),
    ("l", "a//b", False), ("l", "a\nb", False), ("l", ".xcpng-mirrors-sync/stage", False), ("d/l", "../.xcpng-mirrors-sync", False),
])
def test_a_link_stays_inside_also_behind_other_links(path, target, inside):
    assert link_stays_inside(path, target) == inside


def test_the_work_of_others_and_ours_is_no_part_of_a_tree():
    found = filter_listing([entry(".xcpng-mirrors-sync", "folder"), entry(".xcpng-mirrors-sync/x"), entry("d", "folder"), entry("d/.~tmp~", "folder"),
                  entry("d/.~tmp~/y"), entry("d/z")])
    assert set(found.files) == {"d/z"} and not found.left_out


@pytest.mark.parametrize("pattern, path, excluded", [
    ("*.iso", "isos/8.3/x.iso", True), ("isos", "isos/8.3/x.iso", True), ("8.3", "isos/8.3/x.iso", True), ("/isos", "isos/x", True),
    ("/8.3", "isos/8.3/x.iso", False), ("isos/8.3", "isos/8.3/x.iso", True), ("isos/8.3/", "isos/8.3/x.iso", True), ("isos/8", "isos/8.3/x", False),
    ("8/*/testing", "8/8.3/testing/x86_64/a", True), ("*/Source", "8/8.3/base/Source/a", True), ("testing", "8/8.3/testing-not/a", False),
])
def test_a_pattern_means_a_name_anywhere_or_a_path_from_the_root(pattern, path, excluded):
    assert is_excluded(path, [pattern]) == excluded


def test_repositories_and_lists_of_checksums_are_found_and_own_their_files():
    paths = ["8/SHA256SUMS", "8/8.3/base/x86_64/repodata/repomd.xml", "repodata/repomd.xml", "x/repomd.xml", "isos/8.3/SHA256SUMS"]
    units = find_units(paths)
    assert units == [BASE, Unit("8", False), Unit("isos/8.3", False), Unit("", True)]
    index = UnitIndex(units)
    owners = {"8/8.3/base/x86_64/Packages/a/b.rpm": BASE, "8/xcp-ng.repo": Unit("8", False), "isos/8.3/x.iso": Unit("isos/8.3", False),
              "isos/8.3/sub/x": Unit("", True), "index.html": Unit("", True)}
    assert {path: index.unit_of(path) for path in owners} == owners
    assert UnitIndex([BASE]).unit_of("index.html") is None


def test_no_random_listing_gets_a_dangerous_path_past_the_plan():
    """Lines that begin as rsync's and are damaged at random places; the seed is fixed, so that a failure can be had again."""
    dice = random.Random(2026)
    good = [b"-rw-r--r--           1 2026/11/26 03:03:31 d/%s", b"drwxr-xr-x        4096 2026/11/26 03:03:31 d", b"lrwxrwxrwx 1 2026/11/26 03:03:31 l -> %s"]
    pieces = [b"a", b"..", b"/", b".", b"\\#012", b"\\#377", b"\\#057", b" -> ", b"d", b"\xff", b"x" * 300]
    for _ in range(5000):
        entries = [entry("d", "folder")]
        for _ in range(3):
            line = bytearray(dice.choice(good).replace(b"%s", b"".join(dice.choice(pieces) for _ in range(dice.randrange(1, 6)))))
            if dice.random() < 0.3:
                line[dice.randrange(len(line))] = dice.randrange(256)
            with contextlib.suppress(ValueError):
                entries.append(parse_entry(bytes(line)))
        found = filter_listing(entries)
        for path in list(found.files) + list(found.links):
            assert os.path.normpath(os.path.join("/dest", path)) == "/dest/" + path and path.isprintable() and path.encode("utf-8")
        for path, target in found.links.items():
            assert os.path.normpath(os.path.join("/dest", os.path.dirname(path), target)).startswith("/dest/")


# Deletions.


def decide(gone, ours=None, complete=True, switched=(), deletion_limits=DeletionLimits()):
    before = DestinationFiles(list(gone) + ["kept"], set(gone if ours is None else ours) | {"kept"})
    return deletions(before, RunOutcome({"kept"}, complete, switched), deletion_limits)


def test_what_the_source_has_no_longer_is_deleted():
    assert decide(["a", "b"]).paths == ("a", "b")


def test_what_was_never_the_sources_stays_unless_that_is_asked_for():
    result = decide(["a", "mine"], ours=["a"])
    assert result.paths == ("a",) and result.foreign == 1
    assert decide(["a", "mine"], ours=["a"], deletion_limits=DeletionLimits(delete_foreign=True)).paths == ("a", "mine")


def test_nothing_is_deleted_after_a_run_that_was_not_all_right():
    result = decide(["a", "b"], complete=False)
    assert result.paths == () and result.postponed == 2


def test_what_the_old_metadata_names_stays_until_the_next_run():
    gone = [UPDATES.folder + "/Packages/old.rpm", "index.html"]
    result = decide(gone, switched=[UPDATES])
    assert result.paths == ("index.html",) and result.later == 1


@pytest.mark.parametrize("count, most, deleted", [
    (MAX_DELETE, None, True), (MAX_DELETE + 1, None, False), (MAX_DELETE + 1, MAX_DELETE + 1, True), (2, 1, False), (1, 0, False),
])
def test_more_than_may_be_deleted_is_not_deleted_at_all(count, most, deleted):
    result = decide(["f{}".format(number) for number in range(count)], deletion_limits=DeletionLimits(most))
    assert len(result.paths) == (count if deleted else 0) and bool(result.refusal) == (not deleted)


def test_a_whole_repository_is_deleted_on_request_only_and_its_metadata_first():
    gone = [BASE.folder + "/Packages/a.rpm"] + list(BASE.heads)
    result = decide(gone)
    assert result.paths == () and BASE.folder in result.refusal
    assert decide(gone, deletion_limits=DeletionLimits(10)).paths[0] == BASE.head
