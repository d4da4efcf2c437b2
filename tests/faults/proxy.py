"""A TCP proxy in a thread of its own that can cut, delay and swallow what passes between a server and its store."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self


@dataclass
class _Direction:
    """What happens to bytes that go one way. Swallowed bytes arrive after ``heal``, as TCP would send them again."""

    delay: float = 0.0
    open: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """Forwards connections to ``port`` of the loopback from a port of its own. Every method may be called from any
    thread, and has worked when it returns."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._to_store, self._from_store = _Direction(), _Direction()
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._refusing = False
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.heal()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = server.result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *failure: object) -> None:
        async def end() -> None:
            self._server.close()
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Reset every connection. New ones can be made."""

        def abort() -> None:
            for writers in self._connections.values():
                for writer in writers:
                    writer.transport.abort()

        self._do(abort)

    def refuse(self) -> None:
        """``cut``, and close every new connection at once until ``heal``."""
        self._do(lambda: setattr(self, "_refusing", True))
        self.cut()

    def delay(self, to_store: float, from_store: float) -> None:
        """Hold bytes back, in seconds for each way."""

        def hold() -> None:
            self._to_store.delay, self._from_store.delay = to_store, from_store

        self._do(hold)

    def blackhole(self, *, to_store: bool = True, from_store: bool = True) -> None:
        """Let nothing through any more, without a sign of it."""

        def close() -> None:
            if to_store:
                self._to_store.open.clear()
            if from_store:
                self._from_store.open.clear()

        self._do(close)

    def heal(self) -> None:
        """Let everything pass at once again."""

        def mend() -> None:
            self._refusing = False
            for direction in (self._to_store, self._from_store):
                direction.delay = 0.0
                direction.open.set()

        self._do(mend)

    def _do(self, action: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self._refusing:
                writer.transport.abort()
                return
            self._connections[task] = (writer,)
            store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._connections[task] = (writer, store_writer)
            try:
                await asyncio.gather(
                    _pump(reader, store_writer, self._to_store), _pump(store_reader, writer, self._from_store)
                )
            finally:
                store_writer.transport.abort()
        writer.transport.abort()
        self._connections.pop(task, None)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: _Direction) -> None:
    """Forward in order, each chunk no earlier than its delay after it came. The end of one way ends both."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1000)

    async def send() -> None:
        while True:
            came, chunk = await waiting.get()
            await asyncio.sleep(max(0.0, came + direction.delay - loop.time()) if direction.delay else 0)
            await direction.open.wait()
            writer.write(chunk)
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        while chunk := await reader.read(65536):
            await waiting.put((loop.time(), chunk))
        raise ConnectionResetError
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
