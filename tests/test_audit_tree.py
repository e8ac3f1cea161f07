"""The whole tree of a mirror: index pages, listings, what is missing, what is too much, what is wrong; hostile names."""
import os
import random
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.mirror import NOT_FOUND, Fault
from tests.lab.rsyncd import RsyncDaemon
from tests.lab.wire import document
from tests.support.auditing import found, subject_of, verdicts, words
from tests.support.nginx import Nginx, site
from yum_plugin.errors import FetchError
from yum_plugin.operators.audit import image_bytes, images, listings, repositories, tree
from yum_plugin.operators.audit.indexpage import MAX_ENTRIES, IndexEntry, parse_index
from yum_plugin.operators.audit.inventory import FILE, FOLDER, LINK, RepositoryContent, TreeEntry, compare, first_lines
from yum_plugin.operators.audit.listings import by_rsync
from yum_plugin.operators.audit.model import AuditOptions, Budget, Cost
from yum_plugin.operators.audit.sampling import choose_sample
from yum_plugin.operators.audit.unexpected_files import find_unexpected, leaves
from yum_plugin.trust.primary import PrimaryPackage
from yum_plugin.trust.repomd import Repomd

UPDATES = "8/8.3/updates/x86_64/"
PACKAGE = UPDATES + "Packages/lab-agent-2.0-1.noarch.rpm"

# Index pages


NGINX_PAGE = b"""<html>
<head><title>Index of /d/</title></head>
<body>
<h1>Index of /d/</h1><hr><pre><a href="../">../</a>
<a href="sub/">sub/</a>                                               26-Nov-2026 03:02                   -
<a href="a%20b%26c.txt">a b&amp;c.txt</a>                                          26-Nov-2026 03:02                   0
<a href="big.rpm">big..&gt;</a>                                            26-Nov-2026 03:02             1234567
</pre><hr></body>
</html>
"""
APACHE_PAGE = b"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /d</title></head><body><h1>Index of /d</h1>
<table><tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/">Parent Directory</a></td><td>&nbsp;</td><td align="right">  - </td></tr>
<tr><td><a href="sub/">sub/</a></td><td align="right">2026-11-26 03:02  </td><td align="right">  - </td></tr>
<tr><td><a href="big.rpm">big.rpm</a></td><td align="right">2026-11-26 03:02  </td><td align="right">1.2M</td></tr>
<tr><td><a href="small">small</a></td><td align="right">2026-11-26 03:02  </td><td align="right">315 </td><td>text</td></tr>
</table></body></html>
"""
LIGHTTPD_PAGE = b"""<title>Index of /d/</title><table><tr class="d"><td class="n"><a href="../">..</a>/</td><td class="m">&nbsp;</td></tr>
<tr><td class="n"><a href="big.rpm">big.rpm</a></td><td class="m">2026-Nov-26 03:02:01</td><td class="s">1.2M</td>
<td class="t">application/x-rpm</td></tr></table>"""


@pytest.mark.parametrize("page, names", [
    (NGINX_PAGE, [IndexEntry("sub", True, None), IndexEntry("a b&c.txt", False, 0), IndexEntry("big.rpm", False, 1234567)]),
    (APACHE_PAGE, [IndexEntry("sub", True, None), IndexEntry("big.rpm", False, None), IndexEntry("small", False, 315)]),
    (LIGHTTPD_PAGE, [IndexEntry("big.rpm", False, None)]),
], ids=["nginx", "Apache", "lighttpd"])
def test_an_index_page_is_read_with_the_sizes_that_are_exact(page, names):
    assert parse_index(page) == names


@pytest.mark.parametrize("href", [
    "../", "..", "./", "/etc/", "/etc/passwd", "%2e%2e/", "..%2fetc", "a/b", "a%2fb", "http://elsewhere.test/x", "?C=N;O=D", "#top", ""])
def test_a_link_that_leads_out_of_its_folder_is_no_name(href):
    page = '<title>Index of /</title><a href="{}">x</a><a href="good">good</a>'.format(href).encode()
    assert [each.name for each in parse_index(page)] == ["good"]


def test_bytes_that_are_no_utf_8_in_a_name_stay_apart():
    assert parse_index(b'<title>Index of /</title><a href="a%ff%0ab">x</a>')[0].name == "a\udcff\nb"


@pytest.mark.parametrize("page", [b"", b"<html><title>Welcome</title><a href=x>x</a>", b"\0\xff" * 100, b"<" + b"a=b " * 40000],
                         ids=["empty", "another page", "bytes", "endless tag"])
def test_a_page_that_is_no_index_is_told(page):
    with pytest.raises(FetchError) as refused:
        parse_index(page)
    assert refused.value.reference == "bad-answer"


def test_an_index_of_too_many_names_is_not_read_to_its_end():
    page = b"<title>Index of /</title>" + b"".join(b'<a href="%d">n</a>\n' % number for number in range(MAX_ENTRIES + 2))
    with pytest.raises(FetchError) as refused:
        parse_index(page)
    assert refused.value.reference == "too-large"


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(
    [b"<title>Index of /</title>", b'<a href="', b'">', b"</a>", b"../", b"%2e%2e/", b"%00", b"%ff", b"<pre>", b"26-Nov-2026 03:02 12\n"])),
    max_size=40))
def test_whatever_a_page_holds_its_names_stay_within_their_folder(pieces):
    try:
        listed = parse_index(b"".join(pieces))
    except FetchError:
        return
    assert all("/" not in each.name and each.name not in ("", ".", "..") for each in listed)


# What is there, and what should not be


def test_missing_and_wrong_and_unsized_files_are_told_apart():
    completeness = compare({"a": 1, "b": 2, "c": 3, "d": None}, {"a": 1, "b": 9, "c": None, "x": 5})
    assert (completeness.missing, completeness.wrong, completeness.unsized, completeness.found) == (("d",), (("b", 2, 9),), 1, 2)
    assert not completeness.is_complete and compare({"a": 1}, {"a": 1}).is_complete


def test_a_long_list_is_told_by_its_first_entries():
    assert first_lines("missing", ["a", "b", "c"], 2) == ["missing: a", "missing: b", "missing: 1 more"]


@pytest.mark.parametrize("entry, kind", [
    (TreeEntry(PACKAGE, FILE), None),
    (TreeEntry(UPDATES + "Packages/lab-agent-1.0-1.noarch.rpm", FILE), "earlier"),
    (TreeEntry(UPDATES + "repodata/" + 64 * "0" + "-primary.xml.gz", FILE), "earlier"),
    (TreeEntry(UPDATES + "Packages/setup.exe", FILE), "unknown"),
    (TreeEntry(UPDATES + "Packages", FOLDER), None),
    (TreeEntry("README", FILE), None),
    (TreeEntry(UPDATES + "repodata/.repomd.xml.a1B2c3", FILE), "leftover"),
    (TreeEntry("8/.~tmp~", FOLDER), "leftover"),
    (TreeEntry("8/x.rpm~", FILE), "leftover"),
    (TreeEntry("8/#x#", FILE), "leftover"),
    (TreeEntry("8/sync.lock", FILE), "leftover"),
    (TreeEntry("8/.vimrc.swp", FILE), "leftover"),
    (TreeEntry("8/.htpasswd", FILE), "dot-file"),
    (TreeEntry("8/.git", FOLDER), "dot-file"),
    (TreeEntry("8/a\nb", FILE), "misleading"),
    (TreeEntry("8/a\udcffb", FILE), "misleading"),
    (TreeEntry("8/../x", FILE), "misleading"),
    (TreeEntry("/8/x", FILE), "misleading"),
    (TreeEntry("8\\x", FILE), "misleading"),
    (TreeEntry("8/pipe", "special"), "special"),
    (TreeEntry("8/disk", "device"), "special"),
    (TreeEntry("8/latest", LINK, None, "8.3"), None),
    (TreeEntry("8/out", LINK, None, "../../etc"), "leaving"),
], ids=lambda value: repr(value.path) if isinstance(value, TreeEntry) else str(value))
def test_each_kind_of_stray_is_told_by_its_name(entry, kind):
    unexpected = find_unexpected([entry], {PACKAGE}, (UPDATES,))
    assert [(group.kind, group.number, group.paths) for group in unexpected] == ([(kind, 1, (entry.path,))] if kind else [])


@pytest.mark.parametrize("path, target, out", [
    ("a", "b", False), ("8/a", "../b", False), ("8/a", "../../b", True), ("a", "..", True), ("8/a", "/etc/passwd", True), ("a", "", True),
    ("8/a", "x/../../../b", True), ("8/a", "/rsyncd-munged/8.3", False), ("8/a", "/rsyncd-munged//etc", True),
])
def test_a_link_out_of_the_tree_is_told_by_where_it_leads(path, target, out):
    assert leaves(path, target) is out


def packages(*sizes):
    return tuple(PrimaryPackage("p{}".format(number), 0, "1", "1", "noarch", "p{}.rpm".format(number), size, "sha256", 64 * "0")
                 for number, size in enumerate(sizes))


def test_the_same_seed_chooses_the_same_sample_and_none_takes_more_than_there_is_room_for():
    contents = [RepositoryContent("a/", Repomd(0, 1, ()), packages(*range(1, 101)))]
    chosen = [choose_sample(contents, random.Random(seed), 300, most=10) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(sum(picked.package.size for picked in each) <= 300 and 0 < len(each) <= 10 for each in chosen)
    assert choose_sample(contents, random.Random(1), 0) == []


# A mirror of the lab


GOOD = {"metadata": "ok", "packages": "ok", "stray-files": "unknown", "package-bytes": "ok"}


@pytest.mark.parametrize("fault, changed, said", [
    ("", {}, ""),
    ("stale", {}, ""),
    ("no-asc", {"metadata": "problem", "packages": "unknown", "stray-files": None, "package-bytes": None}, "signature-missing"),
    ("bad-signature", {"metadata": "problem", "packages": "unknown", "stray-files": None, "package-bytes": None}, "signature-invalid"),
    ("half-synced", {"metadata": "problem", "packages": "problem", "package-bytes": "unknown"}, "missing: 8/8.3/"),
    ("packages-404", {"packages": "problem", "package-bytes": "problem"}, "missing: " + PACKAGE),
    ("truncated-packages", {"packages": "problem", "package-bytes": "problem"}, "wrong size: " + PACKAGE),
    ("corrupt-packages", {"package-bytes": "problem"}, PACKAGE + ": payload-mismatch"),
    ("other-key-packages", {"package-bytes": "problem"}, PACKAGE + ": unknown-key"),
    ("unsigned-packages", {"package-bytes": "problem"}, PACKAGE + ": unsigned"),
])
def test_what_is_wrong_with_a_tree_is_found(lab, tmp_path, fault, changed, said):
    mirror = lab.add_mirror("m", fault)
    findings = tree.run(subject_of(lab, mirror.url, tmp_path))
    assert verdicts(findings) == {name: verdict for name, verdict in dict(GOOD, **changed).items() if verdict}
    assert said in "\n".join(words(finding) for finding in findings)
    assert all(bool(finding.remedy) == (finding.verdict == "problem") for finding in findings if finding.check != "package-bytes")


def test_without_a_key_nothing_is_said_about_what_is_signed(lab, tmp_path):
    subject = subject_of(lab, lab.add_mirror("m").url, tmp_path, keys=(), keys_problem="no such file")
    for check in (tree, images):
        [finding] = check.run(subject)
        assert finding.verdict == "unknown" and "no such file" in words(finding)


def test_a_mirror_that_is_synced_while_it_is_read_is_not_called_broken(lab, tmp_path):
    lab.publish("old")
    mirror = lab.add_mirror("m")

    def answer(served, request):
        if request.method == "HEAD" and request.path.endswith(".rpm"):
            lab.publish("new")  # what was named is gone, and so is the repomd.xml that named it
            return NOT_FOUND
        return None

    mirror.faults = (Fault("deletes", "deletes packages while they are looked at", answer),)
    findings = found(tree.run(subject_of(lab, mirror.url, tmp_path)))
    assert findings["packages"].verdict == "unknown"
    assert "was synced during the audit" in words(findings["packages"])


def test_a_metadata_file_that_takes_too_much_is_left_unread_and_told(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(tree, "MAX_METADATA_BYTES", 1000)
    findings = found(tree.run(subject_of(lab, lab.add_mirror("m").url, tmp_path)))
    assert findings["metadata"].verdict == "ok" and "files not read, to spare the mirror" in words(findings["metadata"])
    assert findings["packages"].verdict == "ok"


# Repositories


def test_a_repository_that_the_origin_has_and_the_mirror_lacks_is_told(lab, tmp_path):
    mirror = lab.add_mirror("m")
    mirror.faults = (Fault("partial", "lacks base", lambda served, request: NOT_FOUND if "/base/" in request.path else None),)
    discovered = repositories.run(subject_of(lab, mirror.url, tmp_path))
    assert discovered.subject.repositories == (UPDATES,)
    assert discovered.finding.verdict == "problem" and "missing: 8/8.3/base/x86_64/ (not found)" in words(discovered.finding)
    assert discovered.finding.remedy.startswith("rsync ")


def test_a_repository_that_the_origin_does_not_sign_is_no_fault_of_the_mirror(lab, tmp_path):
    lab.origin.faults = (Fault("unsigned", "", lambda served, request: NOT_FOUND if "base/x86_64/repodata/repomd.xml.asc" in request.path else None),)
    discovered = repositories.run(subject_of(lab, lab.add_mirror("m", "no-asc").url, tmp_path))
    assert discovered.subject.repositories == (UPDATES,) and discovered.finding.verdict == "ok"
    assert "not signed at the origin, therefore not examined: 8/8.3/base/x86_64/" in words(discovered.finding)


def test_without_an_origin_what_the_mirror_has_is_examined_and_told(lab, tmp_path):
    subject = subject_of(lab, lab.add_mirror("m").url, tmp_path)
    subject = subject._replace(settings=subject.settings._replace(fallbacks=("https://127.0.0.1:9/",)))
    discovered = repositories.run(subject)
    assert set(discovered.subject.repositories) == {UPDATES, "8/8.3/base/x86_64/"}
    assert discovered.finding.verdict == "warning" and "the origin could not be reached: unreachable" in words(discovered.finding)


def test_repositories_that_are_named_are_the_only_ones_that_are_looked_for(lab, tmp_path):
    mirror = lab.add_mirror("m")
    repositories.run(subject_of(lab, mirror.url, tmp_path, repositories=(UPDATES,)))
    assert [entry.path for entry in lab.log.requests("m")] == ["/pub/xcp-ng/" + UPDATES + "repodata/repomd.xml"]


# Listings by a web server and by rsync


@pytest.fixture
def copy(lab, tmp_path):
    """A mirror's tree of its own, to spoil."""
    target = tmp_path / "copy"
    shutil.copytree(lab.trees.path("new"), str(target))
    return target


def nginx_of(lab, folder, root):
    return Nginx(folder, lambda http, https: site(root, ["127.0.0.1:{}".format(http)], more="autoindex on;"))


def test_index_pages_spare_a_request_for_each_file(lab, tmp_path, copy):
    with nginx_of(lab, tmp_path / "nginx", copy) as server:
        subject = subject_of(lab, "http://127.0.0.1:{}/".format(server.http_port), tmp_path)
        (copy / UPDATES / "Packages" / "notes.txt~").write_text("")
        os.truncate(str(copy / PACKAGE), 100)
        findings = found(tree.run(subject))
        assert "HEAD" not in server.requests
    assert findings["packages"].evidence[0].endswith("(index pages)")
    assert findings["packages"].verdict == "problem" and "{}: 100 bytes instead of".format(PACKAGE) in words(findings["packages"])
    assert findings["stray-files"].verdict == "problem" and "notes.txt~" in words(findings["stray-files"])
    assert "such a list has no hidden names and no links" in words(findings["stray-files"])


@pytest.fixture
def served(lab, tmp_path, copy):
    """The copy, by nginx and by rsync."""
    with nginx_of(lab, tmp_path / "nginx", copy) as server, RsyncDaemon(tmp_path / "rsyncd", {"repo": copy}) as daemon:
        yield subject_of(lab, "http://127.0.0.1:{}/".format(server.http_port), tmp_path, rsync_url=daemon.url("repo/"))


def test_one_rsync_listing_tells_names_sizes_and_strays(served):
    findings = tree.run(served)
    assert verdicts(findings) == {"metadata": "ok", "rsync-tree": "ok", "packages": "ok", "stray-files": "ok", "package-bytes": "ok"}
    assert found(findings)["rsync-tree"].evidence[0].endswith("(rsync)")
    assert "hidden names" not in words(found(findings)["stray-files"])


def test_a_file_that_rsync_lists_with_another_size_is_told(served, copy):
    os.truncate(str(copy / PACKAGE), 100)
    finding = found(tree.run(served))["rsync-tree"]
    assert finding.verdict == "problem" and "wrong size: {}: 100 bytes instead of".format(PACKAGE) in words(finding)


def test_hostile_names_are_told_and_cannot_mislead(served, copy):
    names = [b"a\nPROBLEM  all: is well", b"bad\xff\xfe", b"back\\#012slash", b"..x", b".htpasswd", b".repomd.xml.Xy12Z9"]
    for name in names:
        with open(os.path.join(os.fsencode(str(copy)), b"8", name), "wb"):
            pass
    os.symlink("../../../etc/passwd", str(copy / "8" / "out"))
    os.symlink("8.3", str(copy / "8" / "latest"))
    os.mkfifo(str(copy / "8" / "pipe"))
    finding = found(tree.run(served))["stray-files"]
    assert finding.verdict == "problem"
    kinds = {kind: value["count"] for kind, value in finding.values.items()}
    assert kinds == {"misleading": 3, "dot-file": 2, "leftover": 1, "leaving": 1, "special": 1}


def test_a_repository_that_nobody_looked_for_is_named_and_not_judged(served, copy):
    other = copy / "8" / "8.1" / "base" / "x86_64"
    (other / "repodata").mkdir(parents=True)
    (other / "repodata" / "repomd.xml").write_text("")
    (other / "anything").write_text("")
    finding = found(tree.run(served))["stray-files"]
    assert finding.verdict == "ok" and "not examined: 8/8.1/base/x86_64/" in words(finding)


def test_rsync_that_serves_another_tree_than_the_web_server_is_told(served, copy, lab, tmp_path):
    (copy / PACKAGE).unlink()
    with RsyncDaemon(tmp_path / "other", {"repo": lab.trees.path("new")}) as daemon:
        findings = tree.run(served._replace(rsync_url=daemon.url("repo/")))
    assert (verdicts(findings)["rsync-tree"], verdicts(findings)["packages"]) == ("ok", "problem")


def test_a_module_of_something_else_lacks_everything(served, tmp_path):
    (tmp_path / "debian" / "dists").mkdir(parents=True)
    with RsyncDaemon(tmp_path / "other", {"repo": tmp_path / "debian"}) as daemon:
        finding = found(tree.run(served._replace(rsync_url=daemon.url("repo/"))))["rsync-tree"]
    assert finding.verdict == "problem" and finding.values["found"] == 0


def test_a_folder_that_the_daemon_cannot_read_does_not_end_the_listing(served, copy, tmp_path):
    if os.geteuid() == 0:  # then the daemon's children are nobody, as rsyncd.conf's default has it
        (copy / "8" / "secret").mkdir(mode=0o700)
        with RsyncDaemon(tmp_path / "nobody", {"repo": copy}, uid="nobody") as daemon:
            finding = found(tree.run(served._replace(rsync_url=daemon.url("repo/"))))["rsync-tree"]
        assert finding.verdict == "warning" and "the list ended early: rsync-partial" in words(finding)
    else:
        pytest.skip("only root can start a daemon that may not read")


_ENDLESS = """exec awk 'BEGIN { while (1) for (n = 0; n < 10000; n++)
printf "-rw-r--r--        100 2026/01/01 00:00:00 8/f%d-@\\n", n }'
""".replace("@", 40 * "x")


def test_a_listing_without_end_is_ended_and_told(served, rsync_stand_in):
    """However many names there are, none but the wanted ones are kept, and the list is left at a bound."""
    rsync_stand_in(_ENDLESS)
    for subject, most in ((served, 20000), (served._replace(budget=Budget(Cost(9, 10**6), 60.0)), 10**9)):
        seen = tree.summarize_listing(by_rsync(subject, most), {PACKAGE: 1}, (UPDATES,))
        assert seen.problem.reference == "too-large" and 5000 < seen.names <= 20000
        assert tree.completeness_finding(seen, []).verdict == "unknown"
        assert tree.unexpected_finding(seen).verdict == "unknown"


# Images


def test_images_are_held_against_the_signed_list_and_the_origins_sizes(lab, tmp_path):
    [finding] = images.run(subject_of(lab, lab.add_mirror("m").url, tmp_path))
    assert finding.verdict == "ok" and "isos/8.3/SHA256SUMS: signed, 1 of 1 files are there" in words(finding)


@pytest.mark.parametrize("fault, said", [
    ("stale", "the origin has a newer list"), ("half-synced", "isos/8.3/SHA256SUMS: http-status: HTTP 404"),
    ("packages-404", "missing: isos/8.3/xcp-ng-8.3.0.iso"), ("truncated-packages", "wrong size: isos/8.3/xcp-ng-8.3.0.iso"),
])
def test_what_is_wrong_with_images_is_found(lab, tmp_path, fault, said):
    [finding] = images.run(subject_of(lab, lab.add_mirror("m", fault).url, tmp_path))
    assert finding.verdict == "problem" and said in words(finding)
    assert words(finding).count(said) == (2 if fault == "stale" else 1)  # of both lists, though the origin has no third


@pytest.mark.parametrize("fault, verdict", [("", "ok"), ("corrupt-packages", "problem"), ("no-asc", "ok")])
def test_images_are_read_whole_on_request(lab, tmp_path, fault, verdict):
    [finding] = image_bytes.run(subject_of(lab, lab.add_mirror("m", fault).url, tmp_path, options=AuditOptions(yes=True)))
    assert finding.verdict == verdict
    assert ("payload-mismatch" in words(finding)) == (verdict == "problem")


def test_an_image_that_is_larger_than_what_may_be_read_is_left_and_told(lab, tmp_path):
    subject = subject_of(lab, lab.add_mirror("m").url, tmp_path, budget=Budget(Cost(5, 100000), 60.0))
    [finding] = image_bytes.run(subject)
    assert finding.verdict == "unknown" and image_bytes.UNREAD in words(finding) and subject.budget.spent.bytes < 100000


def test_a_list_that_is_synced_between_it_and_its_signature_is_asked_for_once_more(lab, tmp_path):
    mirror = lab.add_mirror("m")
    lab.publish("old")
    serve = mirror.serve

    def synced_meanwhile(request, state="", variant=""):
        answer = serve(request, state, variant)
        if request.path.endswith("SHA256SUMS"):
            lab.publish("new")
        return answer

    mirror.serve = synced_meanwhile
    assert images.run(subject_of(lab, mirror.url, tmp_path))[0].verdict == "ok"


@pytest.mark.parametrize("page, verdict", [
    ('<title>Index of /</title><a href="{name}">{name}</a> 2026-11-26 03:02 1.2M', "ok"),  # Apache: a rounded size
    ("<title>Welcome</title>", "ok"),  # a page of their own: this folder is asked for by name
])
def test_where_an_index_tells_too_little_the_files_are_asked_for_by_name(lab, tmp_path, page, verdict):
    mirror = lab.add_mirror("m")
    folder = UPDATES + "Packages/"

    def answer(served, request):
        if request.path.endswith("/") and request.path != "/pub/xcp-ng/" + folder:
            names = os.listdir(os.path.join(lab.trees.path("new"), served.relative(request)))
            return document("<title>Index of /</title>{}".format("".join('<a href="{}">x</a>'.format(name) for name in names)).encode(), "")
        if request.path.endswith("/"):
            return document(page.format(name=os.path.basename(PACKAGE)).encode(), "text/html")
        return None

    mirror.faults = (Fault("index", "has index pages", answer),)
    finding = found(tree.run(subject_of(lab, mirror.url, tmp_path)))["packages"]
    assert finding.verdict == verdict and finding.values["source"] == "index pages"
    assert [entry.path for entry in lab.log.requests("m") if entry.method == "HEAD" and entry.path.endswith(PACKAGE)]


def test_a_size_that_the_index_rounds_is_asked_for_and_found_wrong(lab, tmp_path):
    mirror = lab.add_mirror("m", "truncated-packages")

    def answer(served, request):
        if not request.path.endswith("/"):
            return None
        names = os.listdir(os.path.join(lab.trees.path("new"), served.relative(request)))
        return document("<title>Index of /</title>{}".format("".join('<a href="{}">x</a> 1K'.format(name) for name in names)).encode(), "")

    mirror.faults = (Fault("index", "has index pages", answer),) + mirror.faults
    finding = found(tree.run(subject_of(lab, mirror.url, tmp_path)))["packages"]
    assert finding.verdict == "problem" and "wrong size: " + PACKAGE in words(finding)


def test_a_tree_of_too_many_files_is_sampled_and_that_is_told(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(listings, "MAX_HEADS", 5)
    finding = found(tree.run(subject_of(lab, lab.add_mirror("m").url, tmp_path)))["packages"]
    assert finding.evidence[0] == (
        "5 of 5 files that signed metadata names are there (HEAD requests), a random sample of the 18 that are named")


def test_what_was_found_before_the_budget_was_spent_is_told(lab, tmp_path):
    budget = Budget(Cost(2, 10**6), 60.0)  # one for the metadata, one for the names, none for the sample
    findings = tree.run(subject_of(lab, lab.add_mirror("m").url, tmp_path, budget=budget))
    assert verdicts(findings) == dict(GOOD, **{"package-bytes": "unknown"})
    assert "stopped: it may open only 2 connections" in words(findings[-1])


def test_a_server_that_refuses_head_says_nothing_about_its_files(lab, tmp_path):
    mirror = lab.add_mirror("m")
    refuse = document(b"", "text/plain", 405)
    mirror.faults = (Fault("no-head", "", lambda served, request: refuse if request.method == "HEAD" else None),)
    finding = found(tree.run(subject_of(lab, mirror.url, tmp_path)))["packages"]
    assert finding.verdict == "unknown" and "the list ended early: http-status: HTTP 405" in words(finding)
