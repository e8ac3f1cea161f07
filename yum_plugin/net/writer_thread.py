"""A thread that writes and checks the bytes of a large file while the next ones arrive."""
import queue
import threading
from typing import Any, Callable, List, Optional

BATCH_BYTES = 256 * 1024  # a TLS record has 16 KiB at most: too few for a system call and a hash call each
ALONE_BYTES = 2 * 1024 * 1024  # a smaller file, as most packages are, is done before a thread would pay
MAX_WAITING = 8  # batches: so much memory at most, if the disk is slower than the network


class WriterThread:
    """Passes bytes on in batches; a context manager, at whose end all have been passed on.

    Args:
        take: called with each batch, in order, by one thread at a time. An exception of it is raised by a later ``put`` or at
            the end; it is not called again after that.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._batch: List[bytes] = []
        self._batch_bytes = 0  # bytes in the batch
        self._passed_bytes = 0  # bytes of earlier batches
        self._waiting: "queue.Queue[Optional[bytes]]" = queue.Queue(MAX_WAITING)
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[Exception] = None

    def put(self, chunk: bytes) -> None:
        """Pass on the next bytes; waits while MAX_WAITING batches are not written yet."""
        self._batch.append(chunk)
        self._batch_bytes += len(chunk)
        if self._batch_bytes >= BATCH_BYTES:
            self._pass_on()

    def __enter__(self) -> "WriterThread":
        return self

    def __exit__(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        """Pass on the rest, also after a broken connection: what has arrived need not be fetched again."""
        try:
            self._pass_on()
        except Exception:
            if error is None:
                raise
        finally:
            if self._thread is not None:
                self._waiting.put(None)
                self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _pass_on(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._batch:
            return
        batch, self._batch, self._batch_bytes = b"".join(self._batch), [], 0
        self._passed_bytes += len(batch)
        if self._thread is None and self._passed_bytes > ALONE_BYTES:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        if self._thread is not None:
            self._waiting.put(batch)
        else:
            self._take(batch)

    def _work(self) -> None:
        for batch in iter(self._waiting.get, None):
            try:
                if self._error is None:
                    self._take(batch)
            except Exception as error:  # raised in the thread that reads from the network
                self._error = error
