"""A mirror kept right by rsync: whole at every moment, whatever the source does, and whenever the sync is killed."""
import ctypes
import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import threading
import time

import pytest

from tests.lab.keys import OTHER
from tests.lab.rsyncd import free_port
from tests.support.judges import need
from tests.support.mirrored import FOLDERS, ISO, UPDATES, Mirrored
from tests.support.waiting import wait_until
from yum_plugin.errors import FetchError, UsageError
from yum_plugin.operators.rsync import RsyncAddress
from yum_plugin.operators.sync import exchange, staging
from yum_plugin.operators.sync.destination import open_destination
from yum_plugin.operators.sync.plan import WORK, DeletionLimits
from yum_plugin.operators.sync.rsync_source import RsyncSource, plain_folders
from yum_plugin.trust.openpgp import verify_detached

AGENT = UPDATES + "/Packages/lab-agent-{}-1.noarch.rpm"


@pytest.fixture
def site(lab, tmp_path):
    site = Mirrored(lab, tmp_path)
    yield site
    site.close()


@pytest.fixture
def synced(site):
    """The site after a first sync of the old state; the new one is published."""
    site.write("README.txt", "welcome")
    site.sync()
    site.publish("new")
    return site


# Good days.


def test_a_mirror_is_made_kept_and_cleaned_and_looks_like_its_source(site):
    site.write("README.txt", "welcome")
    os.makedirs(os.path.join(site.source, "netinstall/8.3"))
    os.symlink("8.3", os.path.join(site.source, "netinstall/latest"))
    site.write("netinstall/8.3/.treeinfo", "[general]")
    report = site.sync()
    assert set(site.outcomes(report).values()) == {"switched"} and report.unsigned == ("README.txt", "netinstall/8.3/.treeinfo")
    assert site.same() and site.problems(stray_too=True) == []
    report = site.sync()
    assert set(site.outcomes(report).values()) == {"unchanged"} and report.files == 0 and report.unsigned == ()
    site.publish("new")
    report = site.sync()
    assert set(site.outcomes(report).values()) == {"switched"} and site.version() == "new" and site.problems() == []
    assert report.deletions.later == 14 and os.path.exists(os.path.join(site.dest, AGENT.format("1.0"))), "who has old metadata still finds all"
    assert len(site.sync().deletions.paths) == 14
    assert site.same() and site.problems(stray_too=True) == [] and report.atomic and not os.path.exists(os.path.join(site.dest, WORK))


@pytest.mark.dnf
def test_dnf_updates_from_the_synced_tree(synced, tmp_path):
    host = synced.lab.installroot(str(tmp_path / "host"), plugins=False)
    with open(os.path.join(host.repos, "xcp-ng.repo"), "w") as stream:
        stream.write("[updates]\nname=updates\nbaseurl=file://{}\nrepo_gpgcheck=1\ngpgcheck=1\ngpgkey=file://{}\n".format(
            os.path.join(synced.dest, UPDATES), synced.lab.key_file))
    assert host.dnf("-y", "install", "lab-agent").returncode == 0 and host.version("lab-agent") == "1.0"
    synced.sync()
    done = host.dnf("-y", "--refresh", "update")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stdout + done.stderr


def test_files_get_plain_modes_and_the_times_of_the_source(site):
    path = site.write("README", "read me\n")
    os.chmod(path, 0o6755)
    os.utime(path, (1000000000, 1000000000))
    site.sync()
    status = os.stat(os.path.join(site.dest, "README"))
    assert stat.S_IMODE(status.st_mode) == 0o644 and status.st_mtime == 1000000000
    modes = {stat.S_IMODE(os.stat(place).st_mode) for place, _, _ in os.walk(site.dest)}
    assert modes == {0o755}
    path = os.path.join(site.dest, AGENT.format("1.0"))
    os.utime(path, (5, 5))
    site.sync()
    assert site.same(), "a wrong time of a proven file is mended, and costs no transfer"


def test_what_was_proven_is_not_read_again_until_it_changes_or_that_is_asked_for(site):
    site.sync()
    package = os.path.join(site.dest, AGENT.format("1.0"))
    status = os.stat(package)
    with open(package, "r+b") as stream:
        stream.seek(3000)
        stream.write(b"rotten")
    os.utime(package, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert site.sync().files == 0 and site.problems(), "the rule's price: rot that shows in nothing is not seen"
    assert site.sync(verify_all=True).files == 1 and site.problems() == []
    os.utime(package, (6, 6))
    with open(package, "r+b") as stream:
        stream.write(b"rotten")
    assert site.sync().files == 1 and site.problems() == []


def test_a_mirror_that_plain_rsync_has_made_is_taken_over_without_a_transfer(site):
    subprocess.run(["rsync", "-rlpt", site.url, site.dest], check=True)
    report = site.sync()
    assert report.files == 0 and set(site.outcomes(report).values()) == {"unchanged"} and site.same()
    site.publish("new")
    site.sync()
    assert len(site.sync().deletions.paths) == 14 and site.same()


def test_one_repository_alone(synced):
    report = synced.sync(repos=(UPDATES,))
    assert synced.outcomes(report) == {UPDATES: "switched"} and synced.version() == "new" and synced.problems() == []
    report = synced.sync(repos=("8/8.3/*",))
    assert synced.outcomes(report) == {FOLDERS[0]: "switched", UPDATES: "unchanged"}
    with pytest.raises(UsageError) as refused:
        synced.sync(repos=("8/9.0",))
    assert refused.value.reference == "no-repository"


@pytest.mark.parametrize("named, folders", [
    (["8/8.3/updates/x86_64"], ["8/8.3/updates/x86_64"]), (["/8/8.3/", "8/8.3/base", "isos/8.3"], ["8/8.3", "isos/8.3"]), (["8/8.3", "8/8.3-x"], ["8/8.3", "8/8.3-x"]),
    (["8/*"], []), (["updates"], []), (["8/8.3", "*/x"], []), (["8/../x"], []), (["8/a b"], []), (["a/{}".format(n) for n in range(5)], []), ([], []),
])
def test_a_few_folders_named_without_wildcards_are_listed_alone(named, folders):
    assert plain_folders(named) == folders


def test_who_wants_one_repository_does_not_let_the_daemon_list_them_all(synced):
    source = synced.sync_source()
    found = source.catalogue((), (UPDATES, "isos/8.3", "8/none"))
    assert {path for path in synced.names(synced.source) if path.startswith((UPDATES + "/", "isos/"))} == set(found.files)
    assert found.complete and not found.left_out
    for name in ("new\nline", "bad\udcff"):
        synced.write(UPDATES + "/" + name, "x")
    assert {path for path, _ in source.catalogue((), (UPDATES,)).left_out} == {UPDATES + "/new\nline", UPDATES + "/bad\udcff"}


def test_what_is_excluded_is_neither_fetched_nor_deleted(site):
    site.write("testing/README", "x")
    site.sync(excludes=("isos",))
    assert not os.path.exists(os.path.join(site.dest, "isos")) and os.path.exists(os.path.join(site.dest, "testing/README"))
    shutil.rmtree(os.path.join(site.source, "testing"))
    assert site.sync(excludes=("isos", "testing")).deletions.paths == ()
    assert site.sync(excludes=("isos",)).deletions.paths == ("testing/README",)


def test_a_part_of_a_repository_cannot_be_excluded(synced):
    report = synced.sync(excludes=("*.rpm",))
    assert synced.outcomes(report)[UPDATES] == "rsync-partial" and "--exclude" in report.units[1].error.what
    assert synced.version() == "old" and synced.problems() == []


def test_a_dry_run_touches_nothing(synced):
    before = synced.names(), os.stat(synced.dest).st_mtime_ns
    report = synced.sync(dry_run=True)
    assert set(synced.outcomes(report).values()) == {"waiting"} and report.files == 24 and report.bytes > 300000
    assert (synced.names(), os.stat(synced.dest).st_mtime_ns) == before and synced.version() == "old"


def test_two_at_once_the_second_says_so(site):
    references = []

    def meanwhile(name, detail):
        if name == "files":
            with pytest.raises(UsageError) as refused:
                Mirrored.sync(other)
            references.append(refused.value.reference)

    other = Mirrored.__new__(Mirrored)
    other.__dict__ = dict(site.__dict__)
    site.sync(meanwhile)
    assert references == ["busy"] and site.same()


# Killed.


def restore(site, folder):
    """Bring DEST and what is remembered back to a copy."""
    for name in ("dest", "state"):
        shutil.rmtree(os.path.join(site.folder, name))
        shutil.copytree(os.path.join(folder, name), os.path.join(site.folder, name), symlinks=True)


def saved(site):
    folder = os.path.join(site.folder, "saved")
    for name in ("dest", "state"):
        shutil.copytree(os.path.join(site.folder, name), os.path.join(folder, name), symlinks=True)
    return folder


def test_a_kill_before_any_step_leaves_readers_a_whole_mirror_and_the_next_run_ends_it(synced):
    folder = saved(synced)
    synced.copy()
    steps = list(synced.steps)
    assert {"start", "list", "heads", "metadata", "files", "place", "switch", "exchange", "clean", "end"} <= {name for name, _ in steps}
    seen = set()
    for number in range(len(steps)):
        restore(synced, folder)
        assert synced.killed_at(number), steps[number]
        assert synced.problems() == [], steps[number]
        seen.add(synced.version())
        synced.copy()
        assert synced.problems() == [] and synced.version() == "new" and not os.path.exists(os.path.join(synced.dest, WORK)), steps[number]
    assert seen == {"old", "new"}


def test_a_kill_amid_deletions_leaves_a_whole_mirror(synced):
    synced.copy()
    folder = saved(synced)
    report = synced.copy()
    count = [number for number, (name, _) in enumerate(synced.steps) if name == "delete"]
    assert len(count) == len(report.deletions.paths) == 14
    for number in (count[0], count[7], count[13]):
        restore(synced, folder)
        assert synced.killed_at(number) and synced.problems() == []
        synced.copy()
        assert synced.same()


@pytest.mark.dnf
@pytest.mark.parametrize("step, version", [("exchange", "1.0"), ("clean", "2.0")])
def test_dnf_installs_from_a_mirror_whose_sync_was_killed(step, version, synced, tmp_path):
    folder = saved(synced)
    synced.copy()
    number = max(number for number, (name, _) in enumerate(synced.steps) if name == step) if step == "clean" else next(
        number for number, found in enumerate(synced.steps) if found == (step, UPDATES))
    restore(synced, folder)
    assert synced.killed_at(number)
    host = synced.lab.installroot(str(tmp_path / "host"), plugins=False)
    with open(os.path.join(host.repos, "xcp-ng.repo"), "w") as stream:
        stream.write("[updates]\nname=updates\nbaseurl=file://{}\nrepo_gpgcheck=1\ngpgcheck=1\ngpgkey=file://{}\n".format(
            os.path.join(synced.dest, UPDATES), synced.lab.key_file))
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, version), done.stdout + done.stderr


def test_where_folders_cannot_be_exchanged_the_next_run_puts_right_what_a_kill_left(synced, monkeypatch):
    monkeypatch.setattr(exchange, "exchange", lambda one, other: False)
    folder = saved(synced)
    report = synced.copy()
    assert not report.atomic and synced.problems() == [] and synced.version() == "new"
    steps = list(synced.steps)
    for name in ("exchange", "first-rename", "second-rename", "renamed"):
        restore(synced, folder)
        assert synced.killed_at(steps.index((name, UPDATES)))
        missing = not os.path.exists(os.path.join(synced.dest, UPDATES, "repodata"))
        assert missing == (name == "second-rename")
        nobody = RsyncSource(RsyncAddress("127.0.0.1", free_port(), "repo", ""))
        with pytest.raises(FetchError):
            synced.sync(source=nobody)
        assert synced.problems() == [], "put right even before the source is asked"
        synced.copy()
        assert synced.problems() == [] and synced.version() == "new"


class OldLibrary:
    """A C library that has no function for it, as CentOS 7's; whatever its kernel can do."""

    def __init__(self, code=0):
        self._code = code

    def syscall(self, *arguments):
        if self._code:
            ctypes.set_errno(self._code)
            return -1
        return ctypes.CDLL(None, use_errno=True).syscall(*arguments)


@pytest.mark.parametrize("library", [None, OldLibrary()])
def test_two_folders_are_exchanged_in_one_step(library, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name / name).mkdir(parents=True)
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    assert exchange.exchange(one, other, library)
    assert (os.listdir(one), os.listdir(other)) == (["other"], ["one"])
    with pytest.raises(FileNotFoundError):
        exchange.exchange(one, str(tmp_path / "none"), library)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL])
def test_a_kernel_or_file_system_that_cannot_exchange_is_told_from_an_error(code, tmp_path):
    assert not exchange.exchange(str(tmp_path), str(tmp_path), OldLibrary(code))
    assert not exchange.exchange(str(tmp_path), str(tmp_path), object())


@pytest.mark.parametrize("new, live", [("{outside}/new", "{dest}/live"), ("{dest}/.xcpng-mirrors-sync/next", "{outside}/live"), ("", "")])
def test_a_note_that_speaks_of_somewhere_else_moves_nothing(new, live, tmp_path):
    places = {"outside": str(tmp_path / "outside"), "dest": str(tmp_path / "dest")}
    (tmp_path / "outside" / "new").mkdir(parents=True)
    work = tmp_path / "dest" / WORK
    (work / "next").mkdir(parents=True)
    (work / exchange.NOTE).write_text("{}\0{}".format(new, live).format(**places))
    assert not exchange.recover(str(work), places["dest"])
    assert os.listdir(places["outside"]) == ["new"] and os.listdir(places["dest"]) == [WORK]


def test_who_reads_meanwhile_never_misses_metadata_and_sees_pairs_that_fit(synced):
    """A reader that opens the folder once, as a web server does for a client's keep-alive requests at best."""
    folder = os.path.join(synced.dest, UPDATES, "repodata")
    ended, seen, problems = threading.Event(), set(), []

    def read():
        while not ended.is_set():
            try:
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    raw, signature = (open(os.open(name, os.O_RDONLY, dir_fd=handle), "rb").read() for name in ("repomd.xml", "repomd.xml.asc"))
                finally:
                    os.close(handle)
            except FileNotFoundError as error:
                if error.filename == folder:
                    problems.append(error)
                continue  # this folder was thrown away between two of its files: the next one is there already
            seen.add((raw, signature))

    reader = threading.Thread(target=read)
    reader.start()
    for state in ("new", "old") * 4:
        synced.publish(state)
        synced.copy(accept_rollback=True)
    ended.set()
    reader.join()
    assert not problems and len(seen) == 2
    for raw, signature in seen:
        verify_detached(raw, signature, synced.keys, int(time.time()))


def test_a_killed_transfer_ends_its_rsync_and_goes_on_where_it_stopped(site):
    site.sync()
    with open(os.path.join(site.source, "large"), "wb") as stream:
        stream.write(os.urandom(3000000))
    child = os.fork()
    if child == 0:
        try:
            site.sync(source=site.sync_source(bytes_per_second=1000000), includes=("large",))
        finally:
            os._exit(0)
    stage = os.path.join(site.dest, WORK, "stage")

    def arrived():
        with_sizes = [os.path.getsize(os.path.join(stage, name)) for name in os.listdir(stage) if "large" in name] if os.path.isdir(stage) else []
        return sum(with_sizes)

    assert wait_until(lambda: arrived() > 500000)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert wait_until(lambda: not locked(site))
    part = os.path.join(stage, ".xcpng-part", "large")
    assert 500000 < os.path.getsize(part) < 3000000
    log = os.path.join(site.daemon.folder, "log")
    before = os.path.getsize(log)
    site.sync(includes=("large",))
    assert site.same()
    with open(log) as stream:
        stream.seek(before)
        sent = [int(line.split("sent ")[1].split()[0]) for line in stream if " sent " in line and "total size" in line]
    assert 0 < max(sent) < 3000000, "only the rest was sent"


def locked(site):
    try:
        with open_destination(site.dest).locked():
            return False
    except UsageError:
        return True


# No space.


@pytest.fixture
def small_disk(synced, tmp_path, disk):
    """A function that moves DEST to a file system of its own with so many bytes of free space."""
    first = synced.dest

    def move(free_bytes):
        size = sum(-(-os.path.getsize(os.path.join(first, name)) // 4096) * 4096 for name in synced.names(first)) + free_bytes
        folder = str(tmp_path / "disk{}".format(free_bytes))
        disk(folder, size)
        synced.dest = os.path.join(folder, "dest")
        shutil.copytree(first, synced.dest, symlinks=True)

    return move


def test_a_disk_without_room_is_told_before_anything_is_fetched(synced, small_disk):
    small_disk(200000)
    with pytest.raises(UsageError) as refused:
        synced.sync()
    assert refused.value.reference == "state" and "are needed" in refused.value.what and "df -h" in refused.value.hint
    assert synced.problems() == [] and synced.version() == "old"


def test_a_disk_that_fills_up_while_rsync_writes_leaves_the_old_state_whole(synced, small_disk, monkeypatch):
    monkeypatch.setattr(staging, "require_space", lambda files: None)
    small_disk(200000)
    with pytest.raises(UsageError) as refused:
        synced.sync()
    assert refused.value.reference == "state" and "No space left" in refused.value.what
    assert synced.problems() == [] and synced.version() == "old"


def test_at_whatever_moment_a_disk_fills_up_the_mirror_is_whole(synced, small_disk, monkeypatch):
    monkeypatch.setattr(staging, "require_space", lambda files: None)
    outcomes = []
    for free_bytes in range(8192, 600000, 49152):
        small_disk(free_bytes)
        try:
            synced.copy()
            outcomes.append("done")
        except UsageError as error:
            outcomes.append(error.reference)
        assert synced.problems() == [], free_bytes
    assert outcomes[0] == "state" and outcomes[-1] == "done" and set(outcomes) == {"state", "done"}


def test_a_file_that_may_not_grow_is_told_and_nothing_published(synced):
    """RLIMIT_FSIZE: the same where nothing can be mounted; rsync meets the limit, not we."""
    with open(os.path.join(synced.source, "large"), "wb") as stream:
        stream.write(b"x" * 2000000)
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000)); from yum_plugin.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script] + synced.words("--include", "large"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert synced.problems() == [] and synced.version() == "old"
    synced.sync()
    assert synced.problems() == [] and synced.version() == "new"


# A source that changes, lies, or is none.


def test_a_source_that_is_published_anew_in_the_middle_is_read_once_more(site):
    done = []

    def meanwhile(name, detail):
        if name == "metadata" and not done:
            done.append(name)
            site.publish("new")

    report = site.sync(meanwhile)
    assert done and set(site.outcomes(report).values()) == {"switched"} and site.version() == "new" and site.problems() == []


@pytest.mark.parametrize("step", ["heads", "metadata", "files"])
def test_a_source_that_goes_away_in_the_middle_leaves_the_old_state(step, synced):
    def meanwhile(name, detail):
        if name == step:
            synced.close()

    with pytest.raises(FetchError) as refused:
        synced.sync(meanwhile)
    assert refused.value.reference == "unreachable" and synced.problems() == [] and synced.version() == "old"
    synced.copy()
    assert synced.problems() == [] and synced.version() == "new" and not os.path.exists(os.path.join(synced.dest, WORK))


def test_a_source_that_does_not_come_to_rest_leaves_the_old_state(synced):
    def meanwhile(name, detail):
        if name == "files":
            os.unlink(os.path.join(synced.source, AGENT.format("2.0")))
        if name == "list":
            synced.publish("new")

    report = synced.sync(meanwhile)
    assert synced.outcomes(report)[UPDATES] == "rsync-partial" and [name for name, _ in synced.steps].count("list") == 2
    assert synced.version() == "old" and synced.problems() == [] and report.deletions.paths == ()
    synced.publish("new")
    synced.sync()
    assert synced.version() == "new" and synced.problems() == []


@pytest.mark.parametrize("spoil, reference", [
    (lambda lab, tree: os.unlink(tree + "/repodata/repomd.xml.asc"), "signature-missing"),
    (lambda lab, tree: open(tree + "/repodata/repomd.xml", "a").write(" "), "signature-invalid"),
    (lambda lab, tree: sign(lab, tree, OTHER), "unknown-key"),
    (lambda lab, tree: spoil_package(tree), "payload-mismatch"),
    (lambda lab, tree: os.unlink(tree + "/Packages/lab-agent-2.0-1.noarch.rpm"), "rsync-partial"),
    (lambda lab, tree: [open(os.path.join(tree, "repodata", name), "ab").write(b"x") for name in os.listdir(tree + "/repodata") if "primary.xml" in name],
     "payload-mismatch"),
    (lambda lab, tree: [os.unlink(os.path.join(tree, "repodata", name)) for name in os.listdir(tree + "/repodata") if "filelists" in name], "rsync-partial"),
])
def test_a_repository_that_is_not_as_it_was_signed_stays_as_it_is_and_the_others_go_on(spoil, reference, synced):
    spoil(synced.lab, os.path.join(synced.source, UPDATES))
    report = synced.sync()
    found = synced.outcomes(report)
    assert found.pop(UPDATES) == reference and set(found.values()) == {"switched"}
    assert synced.version() == "old" and synced.problems() == [] and report.deletions.paths == ()
    synced.publish("new")
    assert synced.outcomes(synced.sync())[UPDATES] == "switched" and synced.problems() == []


def sign(lab, tree, owner):
    with open(tree + "/repodata/repomd.xml", "rb") as document, open(tree + "/repodata/repomd.xml.asc", "wb") as stream:
        stream.write(lab.keys.sign(document.read(), owner))


def spoil_package(tree):
    path = tree + "/Packages/lab-agent-2.0-1.noarch.rpm"
    status = os.stat(path)
    with open(path, "r+b") as stream:
        stream.seek(4000)
        stream.write(b"wrong")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_an_image_that_is_not_the_signed_one_never_gets_its_name(synced):
    with open(os.path.join(synced.source, ISO), "r+b") as stream:
        stream.seek(100000)
        stream.write(b"wrong")
    report = synced.sync()
    assert synced.outcomes(report)["isos/8.3"] == "payload-mismatch" and synced.problems() == []
    assert open(os.path.join(synced.dest, ISO), "rb").read() == open(os.path.join(synced.lab.trees.path("old"), ISO), "rb").read()


def test_a_repository_that_nobody_signs_is_taken_only_if_that_is_allowed(synced):
    old = os.path.join(synced.source, "7/base")
    shutil.copytree(os.path.join(synced.lab.trees.path("old"), FOLDERS[0]), old)
    os.unlink(old + "/repodata/repomd.xml.asc")
    report = synced.copy()
    assert synced.outcomes(report)["7/base"] == "signature-missing" and not os.path.exists(os.path.join(synced.dest, "7"))
    assert "--unsigned" in [result for result in report.units if result.error][0].error.hint
    report = synced.copy(unsigned=("7",))
    assert "7/base" not in synced.outcomes(report) and os.path.exists(os.path.join(synced.dest, "7/base/repodata/repomd.xml"))
    os.unlink(os.path.join(synced.source, UPDATES, "repodata/repomd.xml.asc"))
    assert synced.outcomes(synced.copy(unsigned=("7",)))[UPDATES] == "signature-missing"


def test_a_rollback_is_refused_by_name_unless_it_is_accepted(synced):
    synced.sync()
    synced.publish("old")
    report = synced.sync()
    assert set(synced.outcomes(report).values()) == {"rollback"} and synced.version() == "new" and synced.problems() == []
    assert "--accept-rollback" in report.units[0].error.hint
    report = synced.sync(accept_rollback=True)
    assert set(synced.outcomes(report).values()) == {"switched"} and synced.version() == "old" and synced.problems() == []


@pytest.mark.parametrize("has_library", [True, False])
def test_zstd_metadata_is_mirrored_with_a_library_and_left_and_told_without(has_library, synced, monkeypatch):
    need("zstd")
    if has_library:
        pytest.importorskip("zstandard")
    else:
        monkeypatch.setitem(sys.modules, "zstandard", None)
        monkeypatch.setitem(sys.modules, "compression", None)
    synced.publish("zstd")
    report = synced.sync()
    outcomes = synced.outcomes(report)
    if has_library:
        assert set(outcomes.values()) == {"switched"} and synced.problems() == []
        assert any(name.endswith("primary.xml.zst") for name in os.listdir(os.path.join(synced.dest, UPDATES, "repodata")))
        return
    assert {outcomes[folder] for folder in FOLDERS[:2]} == {"unsupported"} and synced.version() == "old" and synced.problems() == []
    error = next(result.error for result in report.units if result.error)
    assert error.exit_code == 3 and "python3-zstandard" in error.hint


def test_a_list_of_checksums_in_another_form_with_a_bad_line_and_folders_is_mirrored(synced):
    folder = os.path.join(synced.source, os.path.dirname(ISO))
    with open(os.path.join(folder, "SHA256SUMS"), "rb") as stream:
        digest = stream.read(64).decode("ascii")
    synced.write(os.path.dirname(ISO) + "/extra/a b.iso", "content")
    content = hashlib.sha256(b"content").hexdigest()
    text = "# images\r\n\r\nSHA256 (./{}) = {}\r\n?\r\n{}  ../outside.iso\r\n{} *extra/a b.iso\r\n{}  extra/.hidden\r\n".format(
        os.path.basename(ISO), digest, digest, content.upper(), digest)
    synced.write(os.path.dirname(ISO) + "/extra/.hidden", "hidden")
    synced.write(os.path.dirname(ISO) + "/SHA256SUMS", text)
    with open(os.path.join(folder, "SHA256SUMS.asc"), "wb") as stream:
        stream.write(synced.lab.keys.sign(text.encode()))
    report = synced.sync()
    assert synced.outcomes(report)[os.path.dirname(ISO)] == "switched"
    published = os.path.join(synced.dest, os.path.dirname(ISO))
    assert sorted(os.listdir(published + "/extra")) == ["a b.iso"] and os.path.basename(ISO) in os.listdir(published)
    with open(os.path.join(folder, "extra/a b.iso"), "w") as stream:
        stream.write("changed")
    assert synced.outcomes(synced.sync())[os.path.dirname(ISO)] == "unchanged"
    with open(published + "/extra/a b.iso") as stream:
        assert stream.read() == "content", "what is proven here stays"


def test_a_mirror_whose_own_signature_is_damaged_is_mended(synced):
    synced.publish("old")
    path = os.path.join(synced.dest, UPDATES, "repodata/repomd.xml.asc")
    with open(path, "r+b") as stream:
        stream.seek(100)
        stream.write(b"wrong")
    assert synced.outcomes(synced.sync())[UPDATES] == "switched" and synced.problems() == []


@pytest.mark.parametrize("make", ["empty", "files-only", "subtree"])
def test_a_source_that_is_another_one_does_not_cost_the_mirror(make, synced):
    before = synced.names()
    if make == "subtree":
        os.rename(os.path.join(synced.source, "8/8.3"), os.path.join(synced.source, "8.3"))
        shutil.rmtree(os.path.join(synced.source, "8"))
    else:
        shutil.rmtree(os.path.join(synced.source, "8"))
        shutil.rmtree(os.path.join(synced.source, "isos"))
        if make == "empty":
            os.unlink(os.path.join(synced.source, "README.txt"))
    if make == "subtree":
        report = synced.sync()
        assert set(synced.outcomes(report).values()) == {"gone", "switched"} and report.deletions.paths == ()
    else:
        with pytest.raises(FetchError) as refused:
            synced.sync()
        assert refused.value.reference == "bad-answer"
    assert set(before) <= set(synced.names()) and synced.version() == "old"


def test_nothing_is_taken_of_a_mirror_of_something_else(synced):
    for folder, name in ((FOLDERS[0] + "/repodata", "repomd.xml"), (UPDATES + "/repodata", "repomd.xml"), ("8", "SHA256SUMS"), ("isos/8.3", "SHA256SUMS")):
        path = os.path.join(synced.source, folder, name)
        with open(path, "rb") as document, open(path + ".asc", "wb") as stream:
            stream.write(synced.lab.keys.sign(document.read(), OTHER))
    synced.write("README.txt", "another welcome")
    synced.write("debian/pool/a.deb", "x")
    before = synced.names()
    report = synced.copy()
    assert set(synced.outcomes(report).values()) == {"unknown-key"} and [name for name, _ in synced.steps].count("files") == 0
    assert synced.names() == before and open(os.path.join(synced.dest, "README.txt")).read() == "welcome" and synced.problems() == []


def test_a_repository_that_has_gone_is_deleted_when_it_is_named(synced):
    synced.sync()
    synced.sync()
    shutil.rmtree(os.path.join(synced.source, FOLDERS[0]))
    for limits in (DeletionLimits(), DeletionLimits(100, delete_foreign=True), DeletionLimits(units=("8/8.3",))):
        report = synced.sync(deletion_limits=limits)
        assert synced.outcomes(report)[FOLDERS[0]] == "gone" and report.deletions.paths == ()
    with pytest.raises(UsageError) as refused:
        synced.sync(deletion_limits=DeletionLimits(units=(UPDATES,)))
    assert "still has" in refused.value.what
    report = synced.sync(deletion_limits=DeletionLimits(units=(FOLDERS[0],)))
    assert synced.outcomes(report)[FOLDERS[0]] == "deleted" and len(report.deletions.paths) == 9
    assert not os.path.exists(os.path.join(synced.dest, "8/8.3/base")) and FOLDERS[0] not in synced.outcomes(synced.sync())


def test_a_listing_that_is_not_whole_deletes_nothing(site, monkeypatch):
    site.write("README", "x")
    site.sync()
    os.unlink(os.path.join(site.source, "README"))
    source = site.sync_source()
    whole = source.catalogue
    monkeypatch.setattr(source, "catalogue", lambda excludes, named: whole(excludes, named)._replace(complete=False))
    report = site.sync(source=source)
    assert report.deletions.paths == () and report.deletions.postponed == 1 and not report.complete
    assert site.sync().deletions.paths == ("README",)


# Hostile sources, strange destinations.


def test_what_a_hostile_source_names_touches_nothing_outside_and_is_told(site):
    outside = site.write("passwd", "mine", where=os.path.join(site.folder, "outside"))
    for name in ("new\nline", "esc\x1b[2J", "bad\udcff"):
        site.write(name, "x")
    os.symlink("/etc/passwd", os.path.join(site.source, "absolute"))
    os.symlink("../../outside", os.path.join(site.source, "out"))
    os.symlink("8", os.path.join(site.source, "in"))
    os.mkfifo(os.path.join(site.source, "fifo"))
    if os.geteuid() == 0:
        os.mknod(os.path.join(site.source, "device"), stat.S_IFBLK | 0o666, os.makedev(7, 99))
    report = site.sync(includes=("*",))
    left = {path for path, _ in report.left_out}
    assert {"new\nline", "esc\x1b[2J", "bad\udcff", "absolute", "out", "fifo"} <= left and "in" not in left
    assert not left & set(site.names()) and os.readlink(os.path.join(site.dest, "in")) == "8"
    assert open(outside).read() == "mine" and site.problems() == []
    kinds = {stat.S_IFMT(os.lstat(os.path.join(site.dest, name)).st_mode) for name in site.names()}
    assert kinds == {stat.S_IFREG, stat.S_IFLNK}


def test_a_link_in_dest_is_not_followed_where_the_source_has_a_folder(synced, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(os.path.join(synced.dest, UPDATES), str(elsewhere))
    os.symlink(str(elsewhere), os.path.join(synced.dest, UPDATES))
    before = synced.names(str(elsewhere))
    report = synced.sync()
    found = synced.outcomes(report)
    assert found.pop(UPDATES) == "in-the-way" and set(found.values()) == {"switched"}
    assert synced.names(str(elsewhere)) == before and os.path.islink(os.path.join(synced.dest, UPDATES))


@pytest.mark.parametrize("folder, unit", [(UPDATES + "/repodata", UPDATES), ("isos/8.3", "isos/8.3")])
def test_a_link_in_the_place_of_a_folder_that_is_exchanged_stays(folder, unit, synced, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(os.path.join(synced.dest, folder), str(elsewhere))
    os.symlink(str(elsewhere), os.path.join(synced.dest, folder))
    before = synced.names(str(elsewhere))
    assert synced.outcomes(synced.copy())[unit] == "in-the-way"
    assert synced.names(str(elsewhere)) == before and os.readlink(os.path.join(synced.dest, folder)) == str(elsewhere)


def test_a_file_where_the_source_has_a_folder_and_the_other_way_round(site):
    site.write("a/x", "x")
    site.write("b", "x")
    os.mkdir(site.dest)
    site.write("a", "mine", where=site.dest)
    site.write("b/mine", "mine", where=site.dest)
    report = site.sync(includes=("a", "b"))
    assert [problem.reference for problem in report.problems] == ["in-the-way"] * 2 and site.problems() == []
    assert open(os.path.join(site.dest, "a")).read() == "mine" and os.path.exists(os.path.join(site.dest, "b/mine"))


def test_foreign_files_in_dest_stay_until_that_is_asked_for(site):
    os.mkdir(site.dest)
    site.write("robots.txt", "mine", where=site.dest)
    site.write("isos/8.3/mine.iso", "mine", where=site.dest)
    site.write(UPDATES + "/repodata/mine.xml", "mine", where=site.dest)
    assert site.sync().deletions.foreign == 3
    site.publish("new")
    site.sync()
    assert site.sync().deletions.foreign == 3
    assert {"robots.txt", "isos/8.3/mine.iso", UPDATES + "/repodata/mine.xml"} <= set(site.names())
    assert len(site.sync(deletion_limits=DeletionLimits(delete_foreign=True)).deletions.paths) == 3 and site.same()


def test_dest_may_be_a_link_and_is_followed_once(site, tmp_path):
    os.mkdir(str(tmp_path / "disk"))
    os.symlink(str(tmp_path / "disk"), site.dest)
    site.sync()
    assert os.path.islink(site.dest) and site.problems() == []


@pytest.mark.parametrize("path", ["/", "/etc", "/etc/mirror", "/usr", "/proc/1", "~", "~/..", "/var/lib"])
def test_a_folder_of_the_system_or_a_home_is_no_dest(path):
    with pytest.raises(UsageError) as refused:
        open_destination(os.path.expanduser(path))
    assert refused.value.reference == "usage"


def test_dest_that_others_can_change_or_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").write_text("")
    for name in ("open", "file", "none/below"):
        with pytest.raises(UsageError):
            open_destination(str(tmp_path / name))


def test_a_memory_that_cannot_be_written_is_told_and_spoils_nothing(site):
    site.write("state", "a file", where=site.folder)
    report = site.copy()
    assert [problem.reference for problem in report.problems] == ["state"] and "--state-dir" in report.problems[0].hint
    assert site.problems() == [] and set(site.outcomes(report).values()) == {"switched"}


def test_a_dry_run_makes_no_dest(site):
    with pytest.raises(UsageError):
        open_destination(site.dest, make=False)
    assert not os.path.exists(site.dest)


def test_a_link_in_the_place_of_our_own_folder_is_replaced(synced, tmp_path):
    (tmp_path / "trap").mkdir()
    os.symlink(str(tmp_path / "trap"), os.path.join(synced.dest, WORK))
    synced.sync()
    assert os.listdir(str(tmp_path / "trap")) == [] and synced.version() == "new"
