"""Threads that run the transfers of ``download.py``."""
import queue
import threading
import time
from typing import Callable, Dict, List, Optional, Tuple

from ..errors import MirrorsError, TrustError
from .file_download import FileDownload
from .items import EARLIER
from .partial_file import disk_error
from .session import Session
from .transfer import Transfer


class Workers:
    """The threads; each has its own session, whose connections are used for several files.

    Args:
        open_session: makes a session.
        on_wrong: called by one thread at a time with a file of wrong bytes, before they are discarded.
    """

    def __init__(self, open_session: Callable[[], Session], on_wrong: Callable[[FileDownload, TrustError], None]) -> None:
        self.results: "queue.Queue[Tuple[Transfer, Optional[Exception]]]" = queue.Queue()
        self._open = open_session
        self._jobs: "queue.Queue[Optional[Transfer]]" = queue.Queue()
        self._on_wrong = on_wrong
        self._wrong_lock = threading.Lock()
        self._sessions: Dict[threading.Thread, Session] = {}
        self._threads: List[threading.Thread] = []
        self._stopped = False
        self._usable = 0  # threads that take the next transfer

    def provide(self, count: int) -> None:
        """Make sure that so many transfers can run at once.

        Raises:
            UsageError: no session can be opened: the TLS settings cannot be used, or the process that opens them has died.
        """
        while self._usable < count:
            thread = threading.Thread(target=self._work, args=(self._open(),), daemon=True)
            self._usable += 1
            self._threads.append(thread)
            thread.start()

    def give_up(self) -> None:
        """Count one thread less: its transfer was abandoned, and it ends whenever it can."""
        self._usable -= 1

    def start(self, transfer: Transfer) -> None:
        """Let the next free thread run a transfer, which ends up in ``results``."""
        self._jobs.put(transfer)

    def stop(self) -> None:
        """End all threads: idle ones by an empty job, reading ones by ending their connection."""
        self._stopped = True
        for _ in self._threads:
            self._jobs.put(None)
        for session in list(self._sessions.values()):
            session.abort()

    def join(self, seconds: float) -> None:
        """Wait for the threads to end, at most so long for all of them."""
        ends_at = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _work(self, first: Session) -> None:
        session: Optional[Session] = first
        while session is not None:
            with session:
                self._sessions[threading.current_thread()] = session
                if self._serve(session):
                    return
            session = self._next_session()

    def _next_session(self) -> Optional[Session]:
        """Open another session; if that fails, report the error for every waiting transfer and return None."""
        try:
            return self._open()
        except MirrorsError as error:
            for transfer in iter(self._jobs.get, None):
                self.results.put((transfer, error))
            return None

    def _serve(self, session: Session) -> bool:
        """Run transfers until one fails, which makes its connection unusable; return True if there are no more."""
        while True:
            transfer = self._jobs.get()
            if transfer is None or self._stopped:
                return True
            error = self._run(transfer, session)
            if transfer.abandoned:
                return True  # another thread is added in place of this one
            self.results.put((transfer, error))
            if error is not None or transfer.stopped or transfer.cut_short:
                return False

    def _run(self, transfer: Transfer, session: Session) -> Optional[Exception]:
        try:
            transfer.run(session)
        except TrustError as error:
            return self._discard(transfer, error)
        except OSError as error:
            return disk_error(error, transfer.file.partial.path)
        except Exception as error:  # the scheduler raises it in the caller's thread
            return error
        return None

    def _discard(self, transfer: Transfer, wrong: TrustError) -> Exception:
        """Discard what may be wrong: the bytes of one mirror, if others can send them again, else all."""
        file = transfer.file
        transfer.wrong_origins = file.suspects()
        try:
            if EARLIER not in transfer.wrong_origins:
                with self._wrong_lock:
                    self._on_wrong(file, wrong)
            suspect = file.next_suspect()
            if suspect:
                file.replace(suspect)
            else:
                file.single_source = file.single_source or len(transfer.wrong_origins) > 1
                file.discard()
        except Exception as error:  # as in _run
            return error
        return wrong
