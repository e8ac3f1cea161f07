"""The package manager's cache after a fill, on good days and bad ones: read as dnf and yum read it.

``read_as`` does what both do before they use a cache without a request (libdnf repo/Repo.cpp:loadCache, yumRepo.py:
_groupLoadRepoXML), and is stricter than either: every file that repomd.xml names and that a run may read must be there and
match, or the cache is a mixture.
"""
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import tempfile
from types import SimpleNamespace

import pytest

from tests.support import craft
from tests.support.file_faults import MORE_STEPS, killed_at, plant
from tests.support.world import DEFAULTS, NOW
from yum_plugin.errors import FetchError, MirrorsError, UsageError
from yum_plugin.host.keyring import load_keys, pinned_packets
from yum_plugin.model import REPOMD, Mirror, Repository
from yum_plugin.net.translate import status_error
from yum_plugin.resolve import metadata_cache
from yum_plugin.resolve.cache_age import renew
from yum_plugin.resolve.metadata_cache import DNF, YUM, MetadataCache, fill, read_cache, valid_sha256
from yum_plugin.resolve.resolution import Resolution
from yum_plugin.state.memory import Memory
from yum_plugin.trust.keyfile import read_key_file
from yum_plugin.trust.metadata import RepomdProver
from yum_plugin.trust.repomd import MAX_FILES, parse_repomd

from .simulator import Reply, SimulatedSession, SimulatedStream, stamp_of

ID = "xcp-ng-updates"
KEY = "ab" * 32
URL, OTHER_URL = "https://m1.test/updates/", "https://m2.test/updates/"
TYPES = ("primary", "filelists", "updateinfo")
SIGNATURE = REPOMD + ".asc"
OLD, NEW, NEWER = 1, 2, 3
NOTHING = "nothing"
LAYOUTS = pytest.mark.parametrize("layout", [DNF, YUM])
# What "clean all" removes: dnf/repo.py:CACHE_FILES; yum/__init__.py:cleanMetadata and cleanSqlite.
CLEANED = {DNF: r".*((xml|yaml)(\.gz|\.xz|\.bz2|.zck)?|asc|cachecookie)$",
           YUM: r"[^/]*(\.xml|\.xml\.gz|cachecookie|mirrorlist\.txt|\.asc|\.sqlite|\.sqlite\.bz2)$"}


class Published:
    """A signed snapshot with its files.

    Args:
        version: of everything in it.
        types: of its files.
        href: makes the path of a file from its type and checksum.
        sizes: whether repomd.xml gives them.
    """

    def __init__(self, version, types=TYPES, href="repodata/{checksum}-{type}.xml.gz", sizes=True):
        self.version, stamp = version, stamp_of(version)
        self.contents, entries = {}, []
        for kind in types:
            content = "{} of version {}".format(kind, version).encode() * 50
            checksum = hashlib.sha256(content).hexdigest()
            path = href.get(kind, "repodata/{type}.xml.gz") if isinstance(href, dict) else href
            path = path.format(checksum=checksum, type=kind)
            self.contents[path] = content
            entries.append('<data type="{}"><checksum type="sha256">{}</checksum><location href="{}"/><timestamp>{}</timestamp>{}'
                           "</data>".format(kind, checksum, path, stamp, "<size>{}</size>".format(len(content)) if sizes else ""))
        self.repomd = ('<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>{}</revision>{}</repomd>'.format(
            stamp, "\n".join(entries))).encode()
        pair = craft.rsa_key("pinned")
        hashed = craft.created(stamp + 60) + craft.issuer_fingerprint(pair)
        self.signature = craft.armor(craft.signature(pair, document=self.repomd, hashed=hashed))


class Session(SimulatedSession):
    """A session with the bytes of a range, which a download continues with at the next mirror."""

    def open(self, url, limits, headers=None, accept=(200,)):
        match = re.match("bytes=([0-9]+)-", (headers or {}).get("Range", ""))
        stream = super().open(url, limits, {}, accept)
        if match:
            whole = b"".join(stream.chunks())
            start = int(match.group(1))
            content_range = "bytes {}-{}/{}".format(start, len(whole) - 1, len(whole))
            stream = SimulatedStream(Reply(0.01, whole[start:], 206, headers={"content-range": content_range}))
            if start >= len(whole):
                raise status_error(416, url)
        return stream


class Host:
    """A host, and mirrors that serve ``served``: contents by URL; None: no answer."""

    def __init__(self, folder, layout, types=TYPES, cache_folder=""):
        self.layout = layout
        self.key_path = os.path.join(folder, "key.asc")
        self.beside = os.path.join(folder, "state", ID, "new")
        key = craft.rsa_key("pinned")
        with open(self.key_path, "wb") as stream:
            stream.write(craft.armor(craft.key_packets(key), "PUBLIC KEY BLOCK"))
        self.cache = MetadataCache(cache_folder or os.path.join(folder, "cache", ID), layout, types, KEY)
        self.repository = Repository(ID, ("http://origin.test/updates/",), "", (self.key_path,), (key.fingerprint,))
        self.prover = RepomdProver(load_keys((self.key_path,), (key.fingerprint,)), NOW)
        self.served, self.asked, self.events = {}, [], []
        self.clock = SimpleNamespace(now=0.0)

    def answer(self, url, at, accept, limits):
        """See Simulator: of SimulatedSession."""
        self.asked.append(url)
        content = self.served.get(url)
        if content is None:
            return Reply(0.01, error=FetchError("unreachable", "refused", where=url))
        return Reply(0.01, content)

    def serve(self, published, *urls):
        self.served = {url + path: content for url in urls or (URL, OTHER_URL) for path, content in published.contents.items()}

    def fill(self, published, serves=True, local_folder="", now=NOW, reused=False):
        """Fill the cache; ``reused``: the last resolution still holds, and has no raw repomd.xml."""
        if serves:
            self.serve(published)
        self.asked, self.events = [], []
        proven = self.prover.prove(published.repomd, published.signature).snapshot
        memory = Memory(signature=published.signature.decode("latin-1") if reused else "")
        proven = proven._replace(raw=b"", signature=b"") if reused else proven
        resolution = Resolution(self.repository, proven, mirrors=(Mirror(URL), Mirror(OTHER_URL)), memory=memory,
                                local_folder=local_folder)
        return fill(resolution, self.cache, self.beside, DEFAULTS._replace(timeout=30), now,
                    lambda network, seconds: Session(self, seconds), lambda *event: self.events.append(event))

    def path(self, name=""):
        return os.path.join(self.cache.folder, name)

    def read(self, *known):
        """Return the version that the package manager goes on from, or NOTHING."""
        cookie, repomd = self.path("cachecookie"), self.cache.path(REPOMD)
        if self.layout == YUM and not os.path.exists(cookie):
            return NOTHING
        try:
            with open(repomd, "rb") as stream:
                raw = stream.read()
            content = parse_repomd(raw)
        except (OSError, MirrorsError):
            assert self.layout == DNF or not known, "yum would end with an error"
            return NOTHING
        for file in content.files:
            if file.type in self.cache.types and not self.cache.is_own(self.cache.path(file.href)):
                with open(self.cache.path(file.href), "rb") as stream:
                    assert hashlib.sha256(stream.read()).hexdigest() == file.checksum, "a mixture: " + file.href
        try:
            with open(self.cache.path(SIGNATURE), "rb") as stream:
                self.prover.prove(raw, stream.read())
            if self.layout == DNF:
                with open(self.path("pubring/pubring.gpg"), "rb") as stream:
                    assert stream.read() == read_key_file(craft.key_packets(craft.rsa_key("pinned")))[0].encoded()
        except OSError:
            return NOTHING
        return next(each.version for each in known if each.repomd == raw)

    def names(self):
        """All files of the cache, relative."""
        return sorted(os.path.relpath(os.path.join(folder, name), self.cache.folder)
                      for folder, _, files in os.walk(self.cache.folder) for name in files)

    def not_cleaned(self):
        """What the package manager's "clean all" leaves."""
        return [name for name in self.names() if not re.match(CLEANED[self.layout], name)]


@pytest.fixture
def host(request, tmp_path, layout):
    return Host(str(tmp_path), layout)


OLDER, LATEST = Published(OLD), Published(NEW)
PLAIN = "repodata/{type}.xml.gz"  # names without a checksum, as createrepo_c --simple-md-filenames gives them


# Rule 1.


@LAYOUTS
def test_metadata_cache_rule_1_exactly_what_is_signed_and_asked_for_gets_in(host):
    published = Published(NEW, TYPES + ("other", "prestodelta"))
    done = host.fill(published)
    assert done.error is None and host.read(published) == NEW and not any("other" in name for name in host.names())
    assert {attempt.mirror for attempt in done.attempts} <= {URL, OTHER_URL} and len(done.attempts) == len(TYPES)
    assert host.names() == sorted([os.path.relpath(host.cache.path(path), host.cache.folder) for path in published.contents
                                   if not path.endswith(("-other.xml.gz", "-prestodelta.xml.gz"))]
                                  + [os.path.relpath(host.cache.path(each), host.cache.folder) for each in (REPOMD, SIGNATURE)]
                                  + ["cachecookie"] + ["pubring/pubring.gpg"] * (host.layout == DNF))
    assert not os.path.exists(host.beside)


@pytest.mark.parametrize("wrong", [b"", b"another file", b"x" * 5000, None], ids=["empty", "another", "larger", "missing"])
@pytest.mark.parametrize("sizes", [True, False], ids=["with sizes", "without"])
@LAYOUTS
def test_metadata_cache_rule_1_a_wrong_file_never_gets_in_and_the_old_state_stays(host, wrong, sizes):
    published = Published(NEW, sizes=sizes)
    assert host.fill(OLDER).error is None
    before = host.names()
    host.serve(published)
    host.served.update({url: wrong for url in host.served if "filelists" in url})
    done = host.fill(published, serves=False)
    assert isinstance(done.error, MirrorsError) and len(done.attempts) >= 2
    assert host.read(OLDER, published) == OLD and host.names() == before and not os.path.exists(host.beside)


@LAYOUTS
def test_metadata_cache_rule_1_a_wrong_file_of_one_mirror_is_had_from_the_next(host):
    host.serve(LATEST)
    host.served.update({url: b"wrong" for url in host.served if url.startswith(URL)})
    assert host.fill(LATEST, serves=False).error is None and host.read(LATEST) == NEW


@LAYOUTS
def test_metadata_cache_rule_1_types_that_repomd_xml_does_not_name_are_no_error(tmp_path, layout):
    host, published = Host(str(tmp_path), layout, TYPES + ("modules", "group_gz")), Published(NEW, ("primary",))
    assert host.fill(published).error is None and host.read(published) == NEW


@LAYOUTS
def test_metadata_cache_rule_1_as_many_files_as_a_repomd_xml_may_name(tmp_path, layout):
    types = tuple("type{}".format(number) for number in range(MAX_FILES))
    host, published = Host(str(tmp_path), layout, types), Published(NEW, types)
    assert host.fill(published).error is None and host.read(published) == NEW
    assert len(host.names()) == MAX_FILES + 3 + (layout == DNF)


# The state that a pool has agreed on (rule 1): its files lie in the host's state.


@pytest.mark.parametrize("damage", ["", "missing", "damaged", "link", "directory", "fifo", "no folder"])
@LAYOUTS
def test_metadata_cache_rule_1_a_pinned_snapshot_comes_from_the_state_and_what_is_damaged_there_from_mirrors(host, tmp_path, damage):
    folder = tmp_path / "pinned"
    for path, content in OLDER.contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    spoilt = folder / next(path for path in OLDER.contents if "filelists" in path)
    if damage == "no folder":
        shutil.rmtree(str(folder))
    elif damage:
        spoilt.unlink()
    if damage == "damaged":
        spoilt.write_bytes(b"damaged")
    elif damage in ("link", "directory", "fifo"):
        plant(spoilt, damage)
    host.fill(LATEST)
    assert host.fill(OLDER, local_folder=str(folder)).error is None and host.read(OLDER, LATEST) == OLD
    assert len(host.asked) == {"": 0, "no folder": len(TYPES)}.get(damage, 1)


@LAYOUTS
def test_metadata_cache_rule_1_a_pinned_snapshot_that_nobody_has_any_more_leaves_the_cache_as_it_was(host, tmp_path):
    host.fill(LATEST)
    done = host.fill(OLDER, local_folder=str(tmp_path / "gone"), serves=False)
    assert isinstance(done.error, FetchError) and host.read(OLDER, LATEST) == NEW


# Rule 2.


@LAYOUTS
def test_metadata_cache_rule_2_what_is_there_and_matches_is_not_fetched_again(host):
    assert host.fill(LATEST).error is None and len(host.asked) == len(TYPES)
    assert {event[0] for event in host.events} == set(LATEST.contents)
    assert host.fill(LATEST).error is None and host.asked == host.events == []
    assert host.fill(LATEST, reused=True).error is None and host.asked == [] and host.read(LATEST) == NEW


@pytest.mark.parametrize("damage", ["damaged", "missing", "empty", "link", "dangling link", "fifo", "directory", "huge"])
@LAYOUTS
def test_metadata_cache_rule_2_what_does_not_match_is_fetched_again(host, tmp_path, damage):
    host.fill(LATEST)
    path = tmp_path / host.cache.path(next(path for path in LATEST.contents if "primary" in path))
    path.unlink()
    if damage in ("damaged", "empty"):
        path.write_bytes(b"x" * 1000 if damage == "damaged" else b"")
    elif damage != "missing":
        plant(path, damage)
    assert host.fill(LATEST).error is None and len(host.asked) == 1 and host.read(LATEST) == NEW and not path.is_symlink()


@LAYOUTS
def test_metadata_cache_rule_2_types_that_the_cache_had_before_are_filled_too(host):
    published, newer = Published(NEW, TYPES + ("other", "other_db", "comps")), Published(NEWER, TYPES + ("other", "other_db", "comps"))
    assert host.fill(published).error is None
    path = host.cache.path("repodata/{}-other.xml.gz".format("0" * 64))
    with open(path, "wb") as stream:
        stream.write(b"as the package manager fetched it for a changelog")
    assert host.fill(newer).error is None and host.read(published, newer) == NEWER
    assert [url for url in host.asked if url.endswith("-other.xml.gz")] and len(host.asked) == len(TYPES) + 1


# Rule 3: at whatever moment it is killed.


def other_disk():
    """A folder on another file system than the temporary ones; skips where there is none."""
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(tempfile.gettempdir()).st_dev:
        pytest.skip("there is no second file system")
    return tempfile.mkdtemp(prefix="metadata-cache-", dir="/dev/shm")


@pytest.fixture(params=["one file system", "two file systems"])
def place(request, tmp_path):
    """Where the cache is: beside the state, or on another file system."""
    if request.param == "one file system":
        yield str(tmp_path / "cache")
        return
    folder = other_disk()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("href", ["repodata/{checksum}-{type}.xml.gz", PLAIN], ids=["names with checksums", "plain names"])
@LAYOUTS
def test_metadata_cache_rule_3_killed_at_any_moment_old_new_or_nothing_is_valid(tmp_path, layout, place, href):
    host, older, latest = Host(str(tmp_path), layout, cache_folder=place + "/xcp"), Published(OLD, href=href), Published(NEW, href=href)
    assert host.fill(older).error is None
    saved = str(tmp_path / "saved")
    shutil.copytree(host.cache.folder, saved)
    seen, step = [], 1
    while killed_at(step, lambda: host.fill(latest), MORE_STEPS):
        seen.append(host.read(older, latest))
        assert set(host.not_cleaned()) <= {"pubring/pubring.gpg"}
        if step % 3 == 0:  # the next run repairs all of it
            assert host.fill(latest).error is None and host.read(older, latest) == NEW and not os.path.exists(host.beside)
        shutil.rmtree(host.cache.folder)
        shutil.copytree(saved, host.cache.folder)
        step += 1
    assert seen[0] == OLD and set(seen) >= {OLD, NOTHING}
    assert host.read(older, latest) == NEW


@LAYOUTS
def test_metadata_cache_rule_3_killed_while_nothing_but_the_key_changes_the_state_stays_valid(host):
    host.fill(LATEST)
    host.cache, step = host.cache._replace(key="cd" * 32), 1
    while killed_at(step, lambda: host.fill(LATEST), MORE_STEPS):
        assert host.read(LATEST) == NEW or (host.layout, os.path.exists(host.path("cachecookie"))) == (YUM, False)
        step += 1
    assert step > 5 and host.read(LATEST) == NEW and valid_sha256(host.cache)


@LAYOUTS
def test_metadata_cache_rule_3_all_that_is_new_is_complete_before_the_first_old_file_goes(host, monkeypatch):
    """So that a full disk, a damaged key file or a slow mirror costs nothing of the old state."""
    host.fill(OLDER)
    seen = []
    original = metadata_cache._remove

    def watched(path):
        if path.startswith(host.cache.folder) and not seen:
            seen.extend(sorted(name for name in os.listdir(host.beside)))
        original(path)

    monkeypatch.setattr(metadata_cache, "_remove", watched)
    assert host.fill(LATEST).error is None
    assert seen == ["cachecookie", "file-0", "file-1", "file-2", "repomd.xml", "repomd.xml.asc"]


@pytest.mark.parametrize("what", ["beside is a file", "beside is a link", "state is a file", "key file gone"])
@LAYOUTS
def test_metadata_cache_rule_3_whatever_is_wrong_beside_the_cache_the_old_state_stays_or_the_new_one_comes(host, tmp_path, what):
    host.fill(OLDER)
    folder = os.path.dirname(host.beside)
    if what == "beside is a file":
        open(host.beside, "w").close()
    elif what == "beside is a link":
        os.symlink(str(tmp_path), host.beside)
    elif what == "state is a file":
        shutil.rmtree(folder)
        open(folder, "w").close()
    else:
        os.rename(host.key_path, host.key_path + ".away")
    done = host.fill(LATEST)
    if what == "state is a file":
        assert done.error.reference == "state" and host.read(OLDER, LATEST) == OLD
    else:
        assert done.error is None and host.read(OLDER, LATEST) == NEW and os.path.isdir(str(tmp_path))


# No space, no permission.


@pytest.fixture
def small_disk(disk, tmp_path):
    """A function that mounts a file system with so many bytes, and returns its folder."""
    numbers = itertools.count()

    def make(size):
        folder = str(tmp_path / "disk{}".format(next(numbers)))
        disk(folder, size)
        return folder

    return make


def fill_small_disks(tmp_path, layout, small_disk, which):
    """Fill with more and more space; return what the package manager goes on from each time, and the errors."""
    found, errors = [], []
    for pages in range(2, 30):
        disk = small_disk(pages * 4096)
        folder = str(tmp_path / "host{}".format(pages))
        os.mkdir(folder)
        host = Host(folder, layout, cache_folder=disk + "/cache" if which != "state" else "")
        if which != "cache":
            host.beside = disk + "/state/new"
        host.beside, beside = os.path.join(folder, "first"), host.beside
        if host.fill(OLDER).error is not None:
            continue
        host.beside = beside
        error = host.fill(LATEST).error
        found.append(host.read(OLDER, LATEST))
        errors.append(error)
        assert error is None or (error.reference, "df -h" in error.hint) == ("state", True), error
        assert error is not None or found[-1] == NEW
    return found, errors


@pytest.mark.parametrize("which", ["state", "cache", "both on one"])
@LAYOUTS
def test_metadata_cache_rule_3_where_space_is_short_the_old_state_stays(tmp_path, layout, small_disk, which):
    found, errors = fill_small_disks(tmp_path, layout, small_disk, which)
    assert set(found) == {OLD, NEW} and found == [NEW if error is None else OLD for error in errors]


@LAYOUTS
def test_metadata_cache_rule_3_where_somebody_else_takes_the_space_meanwhile_nothing_is_mixed(tmp_path, layout, small_disk, monkeypatch):
    monkeypatch.setattr(metadata_cache, "require_space", lambda files: None)
    found, _ = fill_small_disks(tmp_path, layout, small_disk, "cache")
    assert found[0] == NOTHING and found[-1] == NEW


@LAYOUTS
def test_metadata_cache_rule_3_a_read_only_cache_stays_as_it_is_and_is_told(tmp_path, layout, small_disk):
    host = Host(str(tmp_path), layout, cache_folder=small_disk(1 << 20) + "/cache")
    host.fill(OLDER)
    subprocess.run(["mount", "-o", "remount,ro", os.path.dirname(host.cache.folder)], check=True)
    done = host.fill(LATEST)
    assert done.error.reference == "state" and host.read(OLDER, LATEST) == OLD


# Rule 4.


@pytest.mark.parametrize("change,good", [
    ({}, True), ({"key": "cd" * 32}, False), ({"cookie": b""}, False), ({"cookie": None}, False),
    ({"cookie": b"xcpng-mirrors " + KEY.encode()}, False), ({"cookie": b"\xff\xfe"}, False), ({"cookie": b"x" * 5000}, False),
    ({"repomd": b"<repomd/>"}, False), ({"repomd": None}, False), ({"repomd": b" " * (1 << 21)}, False),
    ({"link": REPOMD}, False), ({"link": "cachecookie"}, False),
])
@LAYOUTS
def test_metadata_cache_rule_4_a_cache_is_good_for_its_key_and_its_repomd_xml_alone(host, change, good):
    host.fill(LATEST)
    cache = host.cache._replace(key=change.get("key", KEY))
    for name, path in (("cookie", host.path("cachecookie")), ("repomd", host.cache.path(REPOMD))):
        if name in change:
            os.unlink(path)
            if change[name] is not None:
                with open(path, "wb") as stream:
                    stream.write(change[name])
    if "link" in change:
        path = host.path("cachecookie") if change["link"] == "cachecookie" else host.cache.path(REPOMD)
        os.rename(path, path + ".real")
        os.symlink(path + ".real", path)
    assert valid_sha256(cache) == (hashlib.sha256(LATEST.repomd).hexdigest() if good else "")


@LAYOUTS
def test_metadata_cache_rule_4_cookie_and_files_have_the_age_of_the_fill(host):
    host.fill(LATEST, now=NOW)
    assert host.fill(LATEST, now=NOW + 900).error is None
    for name in host.names():
        if name not in ("pubring/pubring.gpg",) and not name.endswith(".asc"):
            assert os.stat(host.path(name)).st_mtime == NOW + 900, name


@LAYOUTS
def test_metadata_cache_rule_4_a_repomd_xml_that_changed_since_it_was_proven_is_not_taken_for_it(host):
    host.fill(OLDER)
    done = host.fill(LATEST, reused=True)
    assert done.error.reference == "state" and host.read(OLDER, LATEST) == OLD


@LAYOUTS
def test_metadata_cache_rule_4_a_signature_that_was_damaged_is_mended_from_memory(host):
    host.fill(LATEST)
    with open(host.cache.path(SIGNATURE), "wb") as stream:
        stream.write(b"damaged")
    assert host.fill(LATEST, reused=True).error is None and host.read(LATEST) == NEW


@pytest.mark.parametrize("values", [None, [], {}, {"folder": "relative"}, {"layout": "apt"}, {"key": "../x"}, {"key": "a" * 129}, {"key": ""},
                                    {"types": 5}, {"folder": 5}])
def test_metadata_cache_rule_4_what_a_plugin_says_about_a_cache_is_checked(values):
    good = {"folder": "/var/cache/x", "layout": "dnf", "types": ["primary"], "key": KEY}
    assert read_cache(good) == MetadataCache("/var/cache/x", DNF, ("primary",), KEY)
    with pytest.raises(UsageError):
        read_cache(dict(good, **values) if values else values)


# Rule 5.


PLANTED = ["repodata", "repodata/repomd.xml", "repodata/repomd.xml.asc", "cachecookie", "pubring", "pubring/pubring.gpg",
           "pubring/pubring.kbx", "data", "repodata/.repomd.xml.new", ".cachecookie.new"]


@pytest.mark.parametrize("kind", ["link", "dangling link", "link to a folder", "fifo", "directory", "full directory", "huge", "file"])
@pytest.mark.parametrize("name", PLANTED)
@LAYOUTS
def test_metadata_cache_rule_5_whatever_is_planted_in_the_cache_is_neither_followed_nor_in_the_way(host, tmp_path, name, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    (outside / "target").write_bytes(b"{}")
    data = "repodata/" + os.path.basename(next(path for path in LATEST.contents if "primary" in path))
    relative = data if name == "data" else name
    path = tmp_path / host.path(relative if host.layout == DNF else os.path.basename(relative))
    host.fill(OLDER)
    if path.is_dir():
        shutil.rmtree(str(path))
    elif os.path.lexists(str(path)):
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        path.symlink_to(outside / "target")
    elif kind == "link to a folder":
        path.symlink_to(outside)
    elif kind == "full directory":
        path.mkdir()
        (path / "full").write_bytes(b"")
    elif kind == "file":
        path.write_bytes(b"{}")
    else:
        plant(path, kind)
    assert host.fill(LATEST).error is None and host.read(OLDER, LATEST) == NEW
    assert sorted(os.listdir(str(outside))) == ["precious", "target"] and (outside / "target").read_bytes() == b"{}"
    assert host.fill(LATEST).error is None and host.asked == [], "and it is settled"


@LAYOUTS
def test_metadata_cache_rule_5_a_hard_link_to_a_file_of_the_cache_keeps_its_content(tmp_path, layout, place):
    host = Host(str(tmp_path), layout, cache_folder=place + "/xcp")
    older, latest = Published(OLD, href=PLAIN), Published(NEW, href=PLAIN)
    host.fill(older)
    backup = place + "/backup"
    os.link(host.cache.path("repodata/primary.xml.gz"), backup)
    assert host.fill(latest).error is None and host.read(older, latest) == NEW
    with open(backup, "rb") as stream:
        assert stream.read() == older.contents["repodata/primary.xml.gz"]


@LAYOUTS
def test_metadata_cache_rule_5_the_folder_itself_may_be_a_link_of_the_admin_or_missing(tmp_path, layout):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    for folder in (tmp_path / "link", tmp_path / "link" / "a" / "b", tmp_path / "missing" / "c"):
        host = Host(str(tmp_path), layout, cache_folder=str(folder))
        assert host.fill(LATEST).error is None and host.read(LATEST) == NEW
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("kind", ["file", "dangling link"])
@LAYOUTS
def test_metadata_cache_rule_5_what_is_no_folder_is_told(host, tmp_path, kind):
    os.makedirs(os.path.dirname(host.cache.folder))
    if kind == "file":
        open(host.cache.folder, "w").close()
    else:
        os.symlink("nowhere", host.cache.folder)
    assert host.fill(LATEST).error.reference == "state" and host.read() == NOTHING and os.path.lexists(host.cache.folder)


@LAYOUTS
def test_metadata_cache_rule_5_clean_all_leaves_nothing_but_the_keys(host):
    for published in (OLDER, LATEST):
        host.fill(published)
    assert host.not_cleaned() == ["pubring/pubring.gpg"] * (host.layout == DNF)


def test_metadata_cache_rule_5_old_files_do_not_pile_up_in_dnfs_folder(tmp_path):
    host = Host(str(tmp_path), DNF)
    for version in range(1, 6):
        assert host.fill(Published(version)).error is None
    assert len(host.names()) == len(TYPES) + 4


@LAYOUTS
def test_files_that_are_not_of_this_repomd_xml_do_not_disturb(host):
    """dnf's own folder is emptied as dnf does it; yum's is shared with packages/, gen/ and what plugins keep there."""
    host.fill(OLDER)
    for name in ("gen/primary.xml.sqlite", "packages/a.rpm", "mirrorlist.txt", "timedhosts.txt", "repodata/strange", "x.solv"):
        os.makedirs(os.path.dirname(host.path(name)), exist_ok=True)
        open(host.path(name), "w").close()
    assert host.fill(LATEST).error is None and host.read(OLDER, LATEST) == NEW
    assert set(host.names()) >= {"gen/primary.xml.sqlite", "packages/a.rpm", "mirrorlist.txt", "timedhosts.txt", "x.solv"}


# Paths that real repositories do not have.


@pytest.mark.parametrize("href", [{"primary": "primary.xml.gz", "filelists": "a/b/filelists.xml.gz"},
                                  {"primary": "repodata/sub/primary.xml.gz", "filelists": "repodata/sub/filelists.xml.gz"},
                                  {"primary": "a%2Bb/primary.xml.gz"}],
                         ids=["outside repodata", "deeper", "escaped"])
@LAYOUTS
def test_files_at_other_places_than_repodata(host, href):
    older, latest = Published(OLD, href=href), Published(NEW, href=href)
    assert host.fill(older).error is None and host.read(older, latest) == OLD
    host.served = {}
    assert host.fill(older, serves=False).error is None, "nothing is missing"
    assert host.fill(latest).error is None and host.read(older, latest) == NEW


@LAYOUTS
def test_two_files_of_one_name_in_yums_flat_folder_are_had_one_after_the_other_as_in_stock(host):
    published = Published(NEW, href={"primary": "a/data.xml.gz", "filelists": "b/data.xml.gz"})
    assert host.fill(published).error is None
    if host.layout == DNF:
        assert host.read(published) == NEW
    else:
        with open(host.path("data.xml.gz"), "rb") as stream:
            assert stream.read() in published.contents.values()


@pytest.mark.parametrize("target", ["repodata/repomd.xml", "repodata/repomd.xml.asc", "cachecookie", "pubring/pubring.gpg", "pubring/x",
                                    "cachecookie/x", "a/cachecookie", "b/repomd.xml"])
@LAYOUTS
def test_a_file_in_the_place_of_our_own_ones_is_left_to_the_package_manager(host, target):
    published = Published(NEW, href={"updateinfo": target})
    assert host.fill(published).error is None and host.read(published) == NEW and valid_sha256(host.cache)


def test_two_files_with_the_same_content(tmp_path):
    host, published = Host(str(tmp_path), DNF, ("a", "b")), Published(NEW, ("a",))
    entry = re.search(rb"<data.*</data>", published.repomd).group(0)
    published.repomd = published.repomd.replace(entry, entry + entry.replace(b'"a"', b'"b"').replace(b"repodata/", b"repodata/x/"))
    pair = craft.rsa_key("pinned")
    hashed = craft.created(stamp_of(NEW) + 60) + craft.issuer_fingerprint(pair)
    published.signature = craft.armor(craft.signature(pair, document=published.repomd, hashed=hashed))
    [(path, content)] = published.contents.items()
    published.contents[path.replace("repodata/", "repodata/x/")] = content
    assert host.fill(published).error is None and host.read(published) == NEW


# dnf's keys.


@pytest.mark.parametrize("box", [None, "with the key", "without it", "with an older state of it", "link", "huge"])
def test_dnfs_own_key_ring_stays_if_it_has_the_key(tmp_path, box):
    host = Host(str(tmp_path), DNF)
    keybox = tmp_path / host.path("pubring/pubring.kbx")
    if box:
        keybox.parent.mkdir(parents=True)
    [key] = read_key_file(pinned_packets(host.repository.key_paths, host.repository.fingerprints))
    bodies = [key.primary] + [body for _, body in key.following]
    kept = {"with the key": bodies, "with an older state of it": bodies[:-1]}
    if box in ("link", "huge"):
        plant(keybox, box)
    elif box:
        keybox.write_bytes(b"KBXf" + b"".join(kept.get(box, [])))
    host.fill(LATEST)
    assert os.path.lexists(str(keybox)) == (box == "with the key")
    assert os.path.exists(host.path("pubring/pubring.gpg")) == (box != "with the key")
    if box != "with the key":
        assert host.read(LATEST) == NEW and os.stat(host.path("pubring/pubring.gpg")).st_mode & 0o777 == 0o600
        assert os.stat(host.path("pubring")).st_mode & 0o77 == 0 or box


def test_a_key_that_was_pinned_since_comes_into_the_key_ring_that_dnf_has_made(tmp_path):
    """Else librepo refuses what the new key alone has signed, and asks for the key in the middle of an update."""
    host = Host(str(tmp_path), DNF)
    new = craft.rsa_key("new")
    [old] = read_key_file(pinned_packets(host.repository.key_paths, host.repository.fingerprints))
    (tmp_path / "new").write_bytes(craft.key_packets(new, digest="sha256"))
    keybox = tmp_path / host.path("pubring/pubring.kbx")
    keybox.parent.mkdir(parents=True)
    keybox.write_bytes(b"KBXf" + b"".join([old.primary] + [body for _, body in old.following]))
    host.repository = host.repository._replace(key_paths=host.repository.key_paths + (str(tmp_path / "new"),),
                                               fingerprints=host.repository.fingerprints + (new.fingerprint,))
    host.fill(LATEST)
    with open(host.path("pubring/pubring.gpg"), "rb") as stream:
        assert [key.fingerprint for key in read_key_file(stream.read())] == [old.fingerprint, new.fingerprint]
    assert not keybox.exists()


# cache_age.py: a look that has found nothing new.


def state_of(host):
    """What is in the cache: content and age by name."""
    found = {}
    for name in host.names():
        with open(host.path(name), "rb") as stream:
            found[name] = (stream.read(), os.lstat(host.path(name)).st_mtime)
    return found


def snapshot_of(host, published):
    return host.prover.prove(published.repomd, published.signature).snapshot._replace(raw=b"", signature=b"")


@pytest.mark.parametrize("sizes", [True, False], ids=["with sizes", "without"])
@LAYOUTS
def test_cache_age_rule_2_times_change_and_nothing_else(host, sizes):
    published = Published(NEW, sizes=sizes)
    host.fill(published, now=NOW - 900)
    before = state_of(host)
    assert renew(host.cache, snapshot_of(host, published), NOW) is True
    after = state_of(host)
    assert {name: content for name, (content, _) in after.items()} == {name: content for name, (content, _) in before.items()}
    unchanged = {os.path.relpath(host.cache.path(SIGNATURE), host.cache.folder), "pubring/pubring.gpg"}
    assert {name for name, (_, at) in after.items() if at == NOW} == set(after) - unchanged
    assert host.read(published) == NEW and valid_sha256(host.cache) == snapshot_of(host, published).sha256


@pytest.mark.parametrize("damage", [
    "repodata/repomd.xml", "repodata/repomd.xml.asc", "cachecookie", "primary", "filelists", "pubring/pubring.gpg"])
@pytest.mark.parametrize("kind", ["missing", "other", "link", "directory"])
@LAYOUTS
def test_cache_age_rule_1_whatever_is_missing_or_not_what_it_was_it_is_filled(host, damage, kind, tmp_path):
    if damage.startswith("pubring") and (host.layout == YUM or kind == "other"):
        pytest.skip("yum has none; the content of it is the package manager's business")
    host.fill(LATEST, now=NOW - 900)
    href = next((path for path in LATEST.contents if damage in path), damage)
    path = host.path(damage) if damage.startswith(("cachecookie", "pubring")) else host.cache.path(href)
    with open(path, "rb") as stream:
        content = stream.read()
    os.unlink(path)
    if kind == "other":
        with open(path, "wb") as stream:
            stream.write(content + b" ")
    elif kind == "link":
        (tmp_path / "target").write_bytes(content)
        os.symlink(str(tmp_path / "target"), path)
    elif kind == "directory":
        os.mkdir(path)
    is_harmless = kind == "other" and damage in ("repodata/repomd.xml.asc", "cachecookie")  # looked at by others
    assert renew(host.cache, snapshot_of(host, LATEST), NOW) is is_harmless
    assert host.fill(LATEST, reused=damage != "repodata/repomd.xml").error is None and host.read(LATEST) == NEW


@LAYOUTS
def test_cache_age_rule_1_a_run_that_reads_more_than_the_ones_before_fills_it(host):
    published = Published(NEW, TYPES + ("other",))
    host.fill(published)
    assert renew(host.cache._replace(types=TYPES + ("other",)), snapshot_of(host, published), NOW) is False
    assert renew(host.cache._replace(types=TYPES + ("modules",)), snapshot_of(host, published), NOW) is True, "it has none"


@LAYOUTS
def test_cache_age_rule_1_a_cache_of_another_snapshot_is_not_renewed(host):
    host.fill(OLDER)
    assert renew(host.cache, snapshot_of(host, LATEST), NOW) is False


def test_cache_age_rule_1_no_file_is_looked_for_behind_a_link(tmp_path):
    host = Host(str(tmp_path), DNF)
    host.fill(LATEST)
    os.rename(host.path("repodata"), str(tmp_path / "elsewhere"))
    os.symlink(str(tmp_path / "elsewhere"), host.path("repodata"))
    assert renew(host.cache, snapshot_of(host, LATEST), NOW) is False
