"""A long line: a TCP proxy on loopback that delays what it carries, as a line of that round-trip time would.

Rules, in order:
    1. Each byte goes on half a round trip after it has come, in either direction and in its order; so does the end.
    2. A new connection costs a round trip: what a client sends goes on as if it had been sent a round trip after its
       connect(), which the kernel answers at once on loopback. With TLS and HTTP, where the client speaks first, each answer
       comes when it would come on a real line; only a client that takes the time of connect() alone sees no distance.
    3. The bandwidth has no limit and nothing is lost, so there is no slow start. A real line is slower where much is sent.
"""
import asyncio
import socket
import threading
from typing import Any, Coroutine, List, Set, Tuple

PIECE_BYTES = 1 << 18
END_SECONDS = 20.0

Piece = Tuple[float, bytes]  # when it goes on, in the loop's time; b"" is the end


class Relay:
    """All lines of a lab, of one round-trip time; a context manager. One thread carries everything.

    Args:
        rtt_seconds: the round-trip time.
    """

    def __init__(self, rtt_seconds: float) -> None:
        self.rtt_seconds = rtt_seconds
        self._loop = asyncio.new_event_loop()
        self._listeners: List[Any] = []
        self._tasks: Set["asyncio.Task[None]"] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lab-relay", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, address: str, server: Tuple[str, int]) -> int:
        """Begin to carry connections to a server.

        Args:
            address: to listen on.
            server: address and port at the other end of the line.

        Returns:
            The port to connect to.
        """
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._carry_both(reader, writer, server))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        listener = self._do(asyncio.start_server(accepted, address, 0, family=socket.AF_INET))
        self._listeners.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    def close(self) -> None:
        """End every connection at once; may be called twice."""
        if self._loop.is_closed():
            return
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_SECONDS)
        self._loop.close()

    def _do(self, work: "Coroutine[Any, Any, Any]") -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(END_SECONDS)

    async def _end(self) -> None:
        for listener in self._listeners:
            listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Tuple[str, int]) -> None:
        established_at = self._loop.time() + self.rtt_seconds
        writers = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(*server, limit=PIECE_BYTES)
            writers.append(far_writer)
            await asyncio.gather(self._carry(reader, far_writer, established_at), self._carry(far_reader, writer, 0.0))
        except OSError:
            pass  # the server refuses connections, or one end was shut down hard: so is the other
        finally:
            for each in writers:
                each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, established_at: float) -> None:
        """Carry one direction to its end."""
        pieces: "asyncio.Queue[Piece]" = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

        delivery = asyncio.ensure_future(deliver())
        try:
            data = b"-"
            while data:
                data = await reader.read(PIECE_BYTES)
                pieces.put_nowait((max(self._loop.time(), established_at) + self.rtt_seconds / 2, data))
            await delivery
        finally:
            delivery.cancel()
