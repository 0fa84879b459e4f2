"""Stands between a client and a server, and can be cut or fall silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

_CHUNK_BYTES: Final = 1 << 16


class TcpProxy:
    """Listens on loopback in a thread of its own; ``target`` is a path of a socket, or a host and port."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._target: Final = target
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._passing: Final = asyncio.Event()
        self._passing.set()
        self._refusing = False
        self._open: Final[set[asyncio.StreamWriter]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def cut(self) -> None:
        """Close every connection, and each new one at once."""
        self._do(self._cut)

    def mute(self) -> None:
        """Pass nothing on, and say nothing of it."""
        self._do(self._passing.clear)

    def restore(self) -> None:
        """Be of use again; what was said meanwhile is passed on."""
        self._do(self._restore)

    def _do(self, step: Callable[[], None]) -> None:
        async def run() -> None:  # to be done on the loop
            step()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    # On the loop.

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        self._restore()
        self._refusing = True
        self._abort()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _cut(self) -> None:
        self._refusing = True
        self._abort()

    def _abort(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def _restore(self) -> None:
        self._refusing = False
        self._passing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        match self._target:
            case str(path):
                inner_reader, inner_writer = await asyncio.open_unix_connection(path)
            case (host, port):
                inner_reader, inner_writer = await asyncio.open_connection(host, port)
        pair = {writer, inner_writer}
        self._open.update(pair)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, inner_writer))
                group.create_task(self._pass(inner_reader, writer))
        except* OSError:
            pass
        finally:
            self._open.difference_update(pair)
            for one in pair:
                one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()
