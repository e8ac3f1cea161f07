"""What arrives of a large file is written and checked by a thread of its own, beside the network's."""
import queue
import threading
from typing import Any, Callable, List, Optional

BATCH_BYTES = 256 * 1024  # a TLS record has 16 KiB: too little to make a system call and a hash call for
ALONE_BYTES = 2 * 1024 * 1024  # up to here no thread is worth its start: most packages are smaller
MAX_WAITING = 8  # batches


class WriterThread:
    """Hands bytes on in batches; a context manager, after which all are taken.

    Args:
        take: called with each batch, in their order, in one thread at a time. What it raises is raised by a later ``put`` or
            at the end; nothing is taken after that.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._batch: List[bytes] = []
        self._held = 0  # bytes in the batch
        self._passed = 0  # bytes of earlier batches
        self._waiting: "queue.Queue[Optional[bytes]]" = queue.Queue(MAX_WAITING)
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[Exception] = None

    def put(self, chunk: bytes) -> None:
        """Take the next bytes; waits while too many batches are on their way."""
        self._batch.append(chunk)
        self._held += len(chunk)
        if self._held >= BATCH_BYTES:
            self._pass_on()

    def __enter__(self) -> "WriterThread":
        return self

    def __exit__(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        """Take the rest: also of a connection that broke, for its bytes need not come again."""
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
        batch, self._batch, self._held = b"".join(self._batch), [], 0
        self._passed += len(batch)
        if self._thread is None and self._passed > ALONE_BYTES:
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
            except Exception as error:  # handed to the network's thread
                self._error = error
