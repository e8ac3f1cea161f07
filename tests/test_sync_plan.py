"""What a sync decides before it touches anything: what is left out, what belongs together, what is deleted."""
import contextlib
import os
import random

import pytest

from yum_plugin.errors import TrustError
from yum_plugin.operators.rsync import RsyncEntry, parse_entry
from yum_plugin.operators.sync.admission import is_earlier, reason_against_link, reason_against_name, reason_against_unsigned
from yum_plugin.operators.sync.identity import Neighbours, refuse_other_content, refuse_other_place
from yum_plugin.operators.sync.plan import (
    FEW_FILES,
    MAX_DELETE,
    Catalogue,
    DeletionLimits,
    DestinationFiles,
    ListedFile,
    RunOutcome,
    Unit,
    UnitIndex,
    deletions,
    filter_listing,
    find_units,
    is_excluded,
    link_stays_inside,
)
from yum_plugin.operators.sync.signed_unit import Head
from yum_plugin.operators.sync.source import SyncSource
from yum_plugin.operators.sync.survey import KnownUnits, Selection, survey

UPDATES, BASE = Unit("8/8.3/updates/x86_64", True), Unit("8/8.3/base/x86_64", True)
IMAGES = Unit("isos/8.3", False)


def entry(path, kind="file", target=""):
    return RsyncEntry(path, kind, 1, 1000, "rw-r--r--", target)


@pytest.mark.parametrize("path, kind, target, reason", [
    ("a", "file", "", ""), ("d/a", "file", "", ""), ("l", "link", "a", ""), ("a b", "file", "", ""), ("é", "file", "", ""),
    ("a.rpm", "file", "", ""), ("right\u202eto-left", "file", "", "control"), ("zero\u200bwidth", "file", "", "control"), ("nel\x85", "file", "", "control"),
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
                  entry("d/.~tmp~/y"), entry("d/z"), entry("d/.a.rpm.Xy12aB")])
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


def decide(gone, ours=None, proven=(), complete=True, vouched=(BASE, UPDATES), unsigned=(), switched=(), deletion_limits=DeletionLimits()):
    before = DestinationFiles(list(gone) + ["kept"], set(gone if ours is None else ours) | {"kept"}, set(proven))
    index = UnitIndex([BASE, UPDATES, IMAGES])
    return deletions(before, RunOutcome({"kept"}, complete, index.unit_of, set(vouched), set(unsigned), switched), deletion_limits)


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
    gone = [UPDATES.folder + "/Packages/old.rpm", "README.txt"]
    result = decide(gone, switched=[UPDATES])
    assert result.paths == ("README.txt",) and result.later == 1


@pytest.mark.parametrize("name", ["/Packages/{}.rpm", "/{}.iso", "/repodata/{}.xml", "/{}"])
@pytest.mark.parametrize("count, most, deleted", [
    (MAX_DELETE, None, True), (MAX_DELETE + 1, None, False), (MAX_DELETE + 1, MAX_DELETE + 1, True), (2, 1, False), (1, 0, False),
])
def test_more_than_may_be_deleted_is_not_deleted_at_all_whatever_kind_of_file_it_is(count, most, deleted, name):
    result = decide([UPDATES.folder + name.format(number) for number in range(count)], deletion_limits=DeletionLimits(most))
    assert len(result.paths) == (count if deleted else 0) and bool(result.refusal) == (not deleted)


@pytest.mark.parametrize("count, others, most, deleted", [
    (FEW_FILES, 0, None, True), (FEW_FILES + 1, 0, None, False), (FEW_FILES + 1, FEW_FILES, None, True), (FEW_FILES + 1, 0, 100, True),
])
def test_a_source_without_what_nobody_signs_does_not_wipe_it(count, others, most, deleted):
    """One of the files that stay is "kept"; those that never came from the source do not count."""
    gone = ["netinstall/8.3/boot/{}".format(number) for number in range(count)]
    stay = ["netinstall/8.2/boot/{}".format(number) for number in range(others)]
    before = DestinationFiles(gone + stay + ["kept"] + ["mine/{}".format(number) for number in range(99)], set(gone + stay + ["kept"]), set())
    outcome = RunOutcome({"kept"} | set(stay), True, UnitIndex([BASE]).unit_of, {BASE}, set())
    result = deletions(before, outcome, DeletionLimits(most))
    assert len(result.paths) == (count if deleted else 0) and ("nothing signs" in result.refusal) == (not deleted)


@pytest.mark.parametrize("unit", [BASE, IMAGES])
def test_a_whole_unit_whose_list_the_source_lacks_goes_by_name_only_and_its_list_first(unit):
    gone = [unit.folder + "/a.iso", unit.folder + "/Packages/a.rpm"][:1 + unit.is_repository] + list(unit.heads)
    for limits in (DeletionLimits(), DeletionLimits(10), DeletionLimits(delete_foreign=True), DeletionLimits(units=(UPDATES.folder, "8", ""))):
        for ours in (gone, []):
            assert decide(gone, ours, vouched=[UPDATES], deletion_limits=limits).paths == ()
    named = DeletionLimits(0, units=(unit.folder,))
    for ours in (gone, []):
        assert decide(gone, ours, vouched=[UPDATES], deletion_limits=named).paths[0] == unit.head
    assert decide(gone, vouched=[UPDATES], complete=False, deletion_limits=named).paths == ()


def test_what_was_proven_once_and_belongs_to_nothing_signed_now_stays():
    gone = ["9/a.iso", "9/README"]
    result = decide(gone, proven=gone[:1])
    assert result.paths == ("9/README",) and result.kept == 1
    assert decide(gone, proven=gone[:1], deletion_limits=DeletionLimits(units=("9",))).paths == ("9/README", "9/a.iso")


def test_of_a_repository_that_is_accepted_unsigned_goes_what_the_source_lacks():
    gone = [BASE.folder + "/Packages/a.rpm", BASE.folder + "/Packages/b.rpm"]
    result = decide(gone, proven=gone[:1], vouched=[UPDATES], unsigned=[BASE])
    assert result.paths == (gone[1],), "but for what was proven"


# Names, and who vouches for them.


@pytest.mark.parametrize("path", """
    .htaccess .HTACCESS 8/.htpasswd .well-known/acme-challenge/token .user.ini .git/config 8/8.3/.hidden/a.rpm ..a .treeinfo/x .TreeInfo
    index.php INDEX.PhP a.php.txt a.iso.php7 a.phtml a.phar a.php. a.php~ php.d/x.php/y index.html index.htm README.html HEADER.html
    a.shtml a.stm a.cgi cgi-bin/a CGI-BIN/a a.pl a.py a.rb a.lua a.sh a.fcgi a.asp a.aspx a.ashx web.config Web.Config a.cer a.jsp
    WEB-INF/web.xml a.cfm a.do a.html.var a.iso.var a.asis a.svg a.js a.xhtml a.xsl a.swf
    """.split())
@pytest.mark.parametrize("signed", [False, True])
def test_nothing_that_a_web_server_or_a_browser_runs_gets_in_whoever_signed_it(path, signed):
    reason = reason_against_name(path)
    assert reason and not reason_against_name(path, [path]), "but for what --include names"
    folder = UPDATES.folder + "/"
    found = survey(Listed([*UPDATES.heads, folder + path]), KnownUnits(set(), set(), set()), Selection())
    assert set(found.catalogue.files) == set(UPDATES.heads) and dict(found.catalogue.left_out) == {folder + path: reason}


class Listed(SyncSource):
    """A source that has these files."""

    lists, url = True, "rsync://lab/"

    def __init__(self, paths):
        self._paths = paths

    def catalogue(self, excludes, named=()):
        return Catalogue({path: ListedFile(1, 1) for path in self._paths if not is_excluded(path, excludes)}, {})

    def fetch(self, wants, stage, on_progress, lock):
        raise AssertionError("nothing is fetched")


@pytest.mark.parametrize("path", """
    perl-CGI-4.54-1.el8.noarch.rpm php-8.0.1-1.x86_64.rpm python3-pyyaml-5.1-1.x86_64.rpm ntp-4.2.6p5-29.el7.x86_64.rpm repodata/repomd.xml
    js-1.8.5-19.el7.x86_64.rpm lua-5.1.4-15.el7.x86_64.rpm bash-4.2.46-34.el7.x86_64.rpm html2ps-1.0b7-2.noarch.rpm xcp-ng-8.3.repo
    xcp-ng-8.3.0.iso SHA256SUMS.asc netinstall/8.3/.treeinfo netinstall/8.3/.discinfo boot/grub/x86_64-efi/lua.mod
    """.split())
def test_a_good_name_is_not_taken_for_a_program(path):
    assert not reason_against_name(path)


@pytest.mark.parametrize("path, taken", [
    ("README.txt", True), ("README", True), ("isos/8.3/README.md", True), ("netinstall/8.3/.treeinfo", True), ("netinstall/8.2.1/install.img", True),
    ("netinstall/8.3/EULA", True), ("netinstall/8.3/RPM-GPG-KEY-xcpng", True), ("netinstall/8.3/boot/vmlinuz", True), ("netinstall/8.3/boot/alt/vmlinuz", True),
    ("netinstall/8.3/EFI/xenserver/grubx64.efi", True), ("netinstall/8.3/boot/isolinux/isolinux.cfg", True), ("netinstall/8.3/boot/grub/x86_64-efi/a.mod", True),
    ("isos/8.3/xcp-ng-8.3.0.iso", False), ("8/xcp-ng-8.3.repo", False), ("8/8.3/updates/x86_64/Packages/a.rpm", False), ("RPM-GPG-KEY-xcpng", False),
    ("netinstall/8.3/Packages/a.rpm", False), ("netinstall/install.img", False), ("NETINSTALL/8.3/install.img", False), ("README.txt\n", False), ("x.txt", False),
    ("robots.txt", False), (".treeinfo", False), ("isos/8.3/.treeinfo", False), ("a/b/c/d/README", False), ("netinstall/../README", True),
])
def test_of_what_nobody_signs_only_the_documented_tree_is_taken(path, taken):
    """".." is refused before, by the listing."""
    assert (not reason_against_unsigned(path)) == taken and not reason_against_unsigned(path, [path])


@pytest.mark.parametrize("path, taken", [("netinstall/latest", True), ("isos/latest", True), ("8/8.3/updates", False), ("latest", False), ("netinstall/8.3/EFI/x", False)])
def test_a_link_can_make_one_repository_another_so_only_the_documented_ones_are_taken(path, taken):
    assert (not reason_against_link(path)) == taken and not reason_against_link(path, [path])


@pytest.mark.parametrize("path, unit, earlier", [
    (BASE.folder + "/Packages/a-0.9.rpm", BASE, True), (BASE.folder + "/drpms/a.drpm", BASE, True), (BASE.folder + "/repodata/0-primary.xml.gz", BASE, True),
    ("repodata/0-primary.xml.gz", Unit("", True), True), (BASE.folder + "/x.iso", BASE, False), ("isos/8.3/a.rpm", IMAGES, False), (BASE.folder + "/EULA", BASE, False),
])
def test_packages_and_metadata_of_earlier_revisions_are_no_reason_for_a_complaint(path, unit, earlier):
    assert is_earlier(path, unit) == earlier


def found_units(paths, known=(), proven=None, ours=None, **selection):
    everything = KnownUnits(set(known), set(known if proven is None else proven), set(known if ours is None else ours))
    return survey(Listed(paths), everything, Selection(**selection))


@pytest.mark.parametrize("dropped", [BASE.heads, BASE.heads[:1], [*BASE.heads, BASE.folder + "/Packages/a.rpm"]])
def test_a_source_that_leaves_out_the_signed_list_cannot_make_its_files_anybodys(dropped):
    paths = [path for path in [*BASE.heads, BASE.folder + "/Packages/a.rpm", *UPDATES.heads] if path not in dropped]
    for outer in ([], Unit("8", True).heads, Unit("", True).heads, Unit("8/8.3", False).heads):
        found = found_units([*paths, *outer], [BASE])
        assert found.missing == [BASE] and found.units_index.unit_of(BASE.folder + "/Packages/a.rpm") == BASE
        assert UPDATES in found.units and BASE not in found.units


def test_a_source_that_leaves_out_the_signature_has_a_unit_that_cannot_be_proven_even_if_unsigned_ones_are_accepted():
    paths = [BASE.head, *UPDATES.heads]
    assert found_units(paths, [BASE], unsigned=("8",)).units == [BASE, UPDATES]
    found = found_units(paths, [BASE], proven=(), unsigned=("8",))
    assert found.units == [UPDATES] and found.unsigned == {BASE} and found.missing == []


def test_units_of_dest_that_are_nobodys_or_out_of_scope_are_not_missed():
    assert found_units(UPDATES.heads, [BASE], proven=(), ours=()).missing == []
    assert found_units(UPDATES.heads, [BASE], repos=(UPDATES.folder,)).missing == []
    assert found_units(UPDATES.heads, [BASE], excludes=("base",)).missing == []
    for paths in (UPDATES.heads, []):
        assert found_units(paths, [BASE], repos=(BASE.folder,)).missing == [BASE]


# One key signs many repositories.


def head(name, age=1):
    raw = name.encode()
    return Head(raw, b"", (age,), 1, age, "", {})


def judged(offers, published=None, had=None, voice=None, unit=UPDATES):
    """Return what rules 1 to 3 say of a unit: "believed", "undecided" or the reason against it."""
    digests = {each: head(name).sha256 for each, name in (published or {}).items()}
    known = {each: {head(name).sha256 for name in names} for each, names in (had or {}).items()}
    offered = {each: head(*value) for each, value in offers.items()}
    neighbours = Neighbours(digests, known, {each: value.sha256 for each, value in offered.items()})
    try:
        return "believed" if refuse_other_place(unit, offered[unit], neighbours, voice and head(*voice)) else "undecided"
    except TrustError as error:
        assert error.reference == "wrong-repository"
        return error.what


CROSS = "offers here is that of " + BASE.folder


@pytest.mark.parametrize("row, verdict", [
    (dict(offers={UPDATES: ("u2",), BASE: ("b1",)}, published={UPDATES: "u1", BASE: "b1"}), "undecided"),
    # base in the place of updates: in DEST, and at the source at its own place, too, or not
    (dict(offers={UPDATES: ("b1",), BASE: ("b1",)}, published={UPDATES: "u1", BASE: "b1"}), CROSS),
    (dict(offers={UPDATES: ("b1",)}, published={UPDATES: "u1", BASE: "b1"}), CROSS),
    (dict(offers={UPDATES: ("b1",)}, published={BASE: "b1"}), CROSS),
    # what base had earlier; what the source has of it now and DEST does not yet; what it has for the first time
    (dict(offers={UPDATES: ("b1",)}, published={UPDATES: "u1", BASE: "b2"}, had={BASE: {"b1", "b2"}}), CROSS),
    (dict(offers={UPDATES: ("b2",), BASE: ("b2",)}, published={UPDATES: "u1", BASE: "b1"}), CROSS),
    (dict(offers={UPDATES: ("b1",), BASE: ("b1",)}), CROSS),
    # the origin names it for this place: empty repositories that were made in one second; not even then if it names another
    (dict(offers={UPDATES: ("b1",), BASE: ("b1",)}, published={UPDATES: "u1", BASE: "b1"}, voice=("b1",)), "believed"),
    (dict(offers={UPDATES: ("b1",), BASE: ("b1",)}, published={UPDATES: "u1", BASE: "b1"}, voice=("u2",)), CROSS),
    # nobody is ahead of the origin; a source may lag behind it
    (dict(offers={UPDATES: ("t9", 9)}, published={UPDATES: "u1"}, voice=("u1", 1)), "the origin has an older one here"),
    (dict(offers={UPDATES: ("u2", 2)}, published={UPDATES: "u1"}, voice=("u3", 3)), "undecided"),
    (dict(offers={UPDATES: ("u2", 2)}, published={UPDATES: "u1"}, voice=("u2", 2)), "believed"),
    (dict(offers={UPDATES: ("u2", 2)}, published={UPDATES: "u1"}, voice=("x2", 2)), "undecided"),
    # this place's own earlier state (a rollback has its own rule); twins may stay twins
    (dict(offers={UPDATES: ("u1",)}, published={UPDATES: "u2"}, had={UPDATES: {"u1", "u2"}}), "believed"),
    (dict(offers={UPDATES: ("x2",), BASE: ("x2",)}, published={UPDATES: "x1", BASE: "x1"}), "undecided"),
])
def test_another_repositorys_signed_metadata_is_not_believed_because_one_source_offers_it(row, verdict):
    assert verdict in judged(**row)


def names(*packages):
    return {"Packages/{}.rpm".format(package): package.rsplit("-", 1)[0] for package in packages}


MANY = ["{}-1".format(letter) for letter in "abcdefghijklmnopqrst"]


@pytest.mark.parametrize("before, after, refused", [
    (names(), names("a-1"), False), (names("a-1"), names("a-2"), False), (names("a-1", "b-1"), names("a-2"), False), (names("a-1"), names("b-1"), True),
    (names("a-1", "b-1", "c-1"), names("c-1", "d-1"), True), (names("a-1"), names(), True), (names(*MANY), names(*MANY, "u-1"), False),
    (names(*MANY), names(*MANY[:10]), False), (names(*MANY), names(*MANY[:9]), True), (names(*MANY), names(*[each + "1" for each in MANY]), True),
    (names(*MANY[:10]), names(*[each + "1" for each in MANY[:10]]), False),
    (names(*MANY, "u-1", "v-1"), names(*MANY[:11], *[each + "1" for each in (*MANY[11:], "u-1", "v-1")]), False),
    (names(*MANY, "u-1", "v-1"), names(*MANY[:10], *[each + "1" for each in (*MANY[10:], "u-1", "v-1")]), True),
])
def test_what_looks_like_another_repository_is_not_believed_where_nobody_else_names_it(before, after, refused):
    if not refused:
        refuse_other_content(UPDATES, before, after)
        return
    with pytest.raises(TrustError) as error:
        refuse_other_content(UPDATES, before, after)
    assert error.value.reference == "unconfirmed" and "--accept " + UPDATES.folder in error.value.hint
