"""The batches of a download: all of it, in order, and what goes wrong in the other thread is told in this one."""
import threading

import pytest

from yum_plugin.net.writer_thread import ALONE_BYTES, BATCH_BYTES, WriterThread

CHUNK = 16 * 1024
SMALL, LARGE = ALONE_BYTES // CHUNK, 4 * ALONE_BYTES // CHUNK  # chunks


class Taker:
    """Remembers what it was given; fails at a batch if told to."""

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
def test_all_bytes_are_taken_in_order_and_a_thread_helps_with_large_files_only(count, beside):
    taker, here = Taker(), threading.current_thread()
    with WriterThread(taker) as sink:
        for chunk in chunks(count):
            sink.put(chunk)
    assert b"".join(taker.batches) == b"".join(chunks(count)) and b"" not in taker.batches
    assert all(len(batch) == BATCH_BYTES for batch in taker.batches[:-1])
    assert bool(taker.threads - {here}) == beside
    assert not any(thread.is_alive() for thread in taker.threads - {here})


@pytest.mark.parametrize("fails_at", [0, ALONE_BYTES // BATCH_BYTES + 2])
def test_what_is_wrong_with_the_bytes_is_raised_and_nothing_is_taken_after_it(fails_at):
    taker = Taker(fails_at)
    with pytest.raises(ValueError):
        with WriterThread(taker) as sink:
            for chunk in chunks(3 * LARGE):  # far more than may wait: a sink that has failed does not block
                sink.put(chunk)
    assert len(taker.batches) == fails_at


def test_what_is_wrong_with_the_last_bytes_is_raised_at_the_end():
    with pytest.raises(ValueError):
        with WriterThread(Taker(fails_at=0)) as sink:
            sink.put(b"x")


@pytest.mark.parametrize("count", [3, LARGE + 3])
def test_what_arrived_before_the_connection_broke_is_taken_and_its_error_is_the_one_that_is_told(count):
    taker = Taker()
    with pytest.raises(ConnectionError):
        with WriterThread(taker) as sink:
            for chunk in chunks(count):
                sink.put(chunk)
            raise ConnectionError("broken")
    assert sum(map(len, taker.batches)) == count * CHUNK
    with pytest.raises(ConnectionError):
        with WriterThread(Taker(fails_at=0)) as sink:
            sink.put(b"x")
            raise ConnectionError("broken")
