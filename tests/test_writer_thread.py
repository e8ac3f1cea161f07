"""The batches of a download: all bytes, in order, and an error of the writing thread is raised in the reading one."""
import threading

import pytest

from yum_plugin.net.writer_thread import ALONE_BYTES, BATCH_BYTES, WriterThread

CHUNK = 16 * 1024
SMALL, LARGE = ALONE_BYTES // CHUNK, 4 * ALONE_BYTES // CHUNK  # chunks


class Recorder:
    """Records its batches; fails at the one of a given number."""

    def __init__(self, fails_at=None):
        self.batches, self.threads, self._fails_at = [], set(), fails_at

    def __call__(self, batch):
        if len(self.batches) == self._fails_at:
            raise ValueError("wrong bytes")
        self.batches.append(batch)
        self.threads.add(threading.current_thread())


def chunks(count):
    return [bytes([number % 251]) * CHUNK for number in range(count)]


@pytest.mark.parametrize("count, beside", [(0, False), (1, False), (SMALL, False), (LARGE, True)])
def test_all_bytes_are_written_in_order_and_a_thread_is_used_for_large_files_only(count, beside):
    recorder, here = Recorder(), threading.current_thread()
    with WriterThread(recorder) as writer:
        for chunk in chunks(count):
            writer.put(chunk)
    assert b"".join(recorder.batches) == b"".join(chunks(count)) and b"" not in recorder.batches
    assert all(len(batch) == BATCH_BYTES for batch in recorder.batches[:-1])
    assert bool(recorder.threads - {here}) == beside
    assert not any(thread.is_alive() for thread in recorder.threads - {here})


@pytest.mark.parametrize("fails_at", [0, ALONE_BYTES // BATCH_BYTES + 2])
def test_an_error_is_raised_and_nothing_is_written_after_it(fails_at):
    recorder = Recorder(fails_at)
    with pytest.raises(ValueError):
        with WriterThread(recorder) as writer:
            for chunk in chunks(3 * LARGE):  # far more than may wait: a writer that has failed does not block
                writer.put(chunk)
    assert len(recorder.batches) == fails_at


def test_an_error_in_the_last_bytes_is_raised_at_the_end():
    with pytest.raises(ValueError):
        with WriterThread(Recorder(fails_at=0)) as writer:
            writer.put(b"x")


@pytest.mark.parametrize("count", [3, LARGE + 3])
def test_bytes_before_a_broken_connection_are_written_and_its_error_is_the_one_that_is_raised(count):
    recorder = Recorder()
    with pytest.raises(ConnectionError):
        with WriterThread(recorder) as writer:
            for chunk in chunks(count):
                writer.put(chunk)
            raise ConnectionError("broken")
    assert sum(map(len, recorder.batches)) == count * CHUNK
    with pytest.raises(ConnectionError):
        with WriterThread(Recorder(fails_at=0)) as writer:
            writer.put(b"x")
            raise ConnectionError("broken")
