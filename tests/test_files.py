"""Files on bad days: full disks, links, kills. The old content or the new, never a part, never somebody else's file."""
import errno
import os
import resource
import signal
import subprocess
import threading

import pytest

from tests.support.file_faults import in_child, killed_at, plant
from tests.support.waiting import LONG_SECONDS
from yum_plugin.errors import UsageError
from yum_plugin.util import files
from yum_plugin.util.files import locked, read_capped, read_trusted, write_whole


def test_a_kill_at_any_moment_leaves_the_old_content_or_the_new_and_no_litter(tmp_path):
    path = tmp_path / "folder" / "file"
    write_whole(str(path), b"old")
    step = 1
    while killed_at(step, lambda: write_whole(str(path), b"new" * 1000)):
        assert path.read_bytes() in (b"old", b"new" * 1000)
        write_whole(str(path), b"old")
        assert os.listdir(str(path.parent)) == ["file"], "what a killed writer left is in the next one's way or stays for ever"
        step += 1
    assert step > 5 and path.read_bytes() == b"new" * 1000


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_we_go_on(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "rename"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *arguments, name=name, original=original: done.append(name) or original(*arguments))
    write_whole(str(tmp_path / "file"), b"new")
    assert done == ["fsync", "rename", "fsync"]


def test_a_file_grown_too_large_for_the_disk_leaves_the_old_one_and_no_litter(tmp_path):
    path = tmp_path / "file"
    write_whole(str(path), b"old")

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        write_whole(str(path), b"x" * 5000)

    assert in_child(limited) == errno.EFBIG
    assert path.read_bytes() == b"old" and os.listdir(str(tmp_path)) == ["file"]


@pytest.fixture
def full_disk(tmp_path):
    """A file system without a free block."""
    place = tmp_path / "mount"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(place)], stderr=subprocess.DEVNULL)
    if done.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        write_whole(str(place / "file"), b"old")
        with pytest.raises(OSError):
            with open(str(place / "filler"), "wb", buffering=0) as stream:
                while stream.write(b"x" * 4096):
                    continue
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_the_old_file_and_no_litter(full_disk):
    with pytest.raises(OSError) as refusal:
        write_whole(str(full_disk / "file"), b"x" * 5000)
    assert refusal.value.errno == errno.ENOSPC
    assert (full_disk / "file").read_bytes() == b"old" and sorted(os.listdir(str(full_disk))) == ["file", "filler"]


@pytest.mark.parametrize("trap", ["file", ".file.new"])
def test_a_link_planted_at_the_target_or_the_temporary_name_is_replaced_not_followed(tmp_path, trap):
    """CVE-2021-35937 to 35939."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / trap).symlink_to(victim)
    write_whole(str(folder / "file"), b"new")
    assert victim.read_bytes() == b"precious" and not (folder / "file").is_symlink()
    assert (folder / "file").read_bytes() == b"new"


def test_files_are_readable_by_all_and_writable_by_their_owner_alone(tmp_path):
    write_whole(str(tmp_path / "file"), b"new")
    assert os.stat(str(tmp_path / "file")).st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "directory", "huge"])
def test_anything_but_a_small_regular_file_is_an_error_at_once(tmp_path, kind):
    plant(tmp_path / "file", kind)
    with pytest.raises(OSError):
        read_capped(str(tmp_path / "file"), 1000)


def test_reading_leaves_no_descriptor_open(tmp_path):
    before = os.listdir("/proc/self/fd")
    plant(tmp_path / "file", "directory")
    for _ in range(3):
        with pytest.raises(OSError):
            read_capped(str(tmp_path / "file"), 1000)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_file_of_exactly_the_cap_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert read_capped(str(tmp_path / "file"), 10) == b"x" * 10
    with pytest.raises(OSError):
        read_capped(str(tmp_path / "file"), 9)


def test_a_key_may_be_reached_through_links_as_distributions_install_them(tmp_path):
    (tmp_path / "key").write_bytes(b"key")
    (tmp_path / "link").symlink_to("key")
    assert read_trusted(str(tmp_path / "link"), 100) == b"key"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_key_that_others_can_change_is_not_trusted(tmp_path, mode):
    (tmp_path / "key").write_bytes(b"key")
    os.chmod(str(tmp_path / "key"), mode)
    with pytest.raises(UsageError) as refusal:
        read_trusted(str(tmp_path / "key"), 100)
    assert refusal.value.reference == "key-file" and "chown root:root" in refusal.value.hint


def test_a_key_in_a_folder_that_others_can_change_is_not_trusted(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/key").write_bytes(b"key")
    (tmp_path / "link").symlink_to("folder/key")
    os.chmod(str(tmp_path / "folder"), 0o777)
    for path in ("folder/key", "link"):
        with pytest.raises(UsageError) as refusal:
            read_trusted(str(tmp_path / path), 100)
        assert refusal.value.hint.endswith("chmod go-w " + str(tmp_path / "folder"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_that_belongs_to_another_user_is_not_trusted(tmp_path):
    (tmp_path / "key").write_bytes(b"key")
    os.chown(str(tmp_path / "key"), 12345, 0)
    with pytest.raises(UsageError):
        read_trusted(str(tmp_path / "key"), 100)


@pytest.mark.parametrize("kind", ["missing", "dangling link", "fifo", "directory", "huge"])
def test_a_key_that_cannot_be_read_is_reported_with_its_path(tmp_path, kind):
    plant(tmp_path / "key", kind)
    with pytest.raises(UsageError) as refusal:
        read_trusted(str(tmp_path / "key"), 100)
    assert refusal.value.where == str(tmp_path / "key")


def test_the_second_waits_for_the_lock_until_the_first_is_done(tmp_path, monkeypatch):
    path = str(tmp_path / "folder" / ".lock")
    waiting, release, order = threading.Event(), threading.Event(), []
    monkeypatch.setattr(files.time, "sleep", lambda seconds: waiting.set() or release.wait(LONG_SECONDS))

    def second():
        with locked(path, LONG_SECONDS) as held:
            order.append(("second", held))

    with locked(path, 0) as held:
        assert held
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(LONG_SECONDS), "the second did not meet the lock"
        order.append(("first", held))
    release.set()
    thread.join(LONG_SECONDS)
    assert order == [("first", True), ("second", True)]


def test_a_slow_holder_of_a_lock_is_not_waited_for_longer_than_given(tmp_path):
    path = str(tmp_path / ".lock")
    with locked(path, 0):
        with locked(path, 0.06) as held:
            assert not held


def test_the_lock_of_a_killed_holder_is_free(tmp_path):
    path = str(tmp_path / ".lock")

    def hold_and_die():
        with locked(path, 0):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(hold_and_die) == -signal.SIGKILL
    with locked(path, 0) as held:
        assert held


def test_a_lock_that_cannot_be_made_is_not_held(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with locked(str(tmp_path / "file" / ".lock"), 0) as held:
        assert not held


def test_an_error_inside_the_block_frees_the_lock_and_goes_on(tmp_path):
    path = str(tmp_path / ".lock")
    with pytest.raises(KeyError):
        with locked(path, 0):
            raise KeyError("x")
    with locked(path, 0) as held:
        assert held
