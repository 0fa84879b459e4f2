"""The one thread of a process that reads the spool: queries for the scheduler, and a regular look at others."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import structlog

_log = structlog.get_logger(__name__)

T = TypeVar("T")

TICK_S: Final = 0.2


class Reader:
    """Owns one read-only connection and one thread. ``start`` after the last fork."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        loop: asyncio.AbstractEventLoop,
        tick: Callable[[sqlite3.Connection], None],
        on_error: Callable[[Exception], None],
        tick_s: float = TICK_S,
    ) -> None:
        """``tick`` is called in the reader's thread; ``on_error`` hears what it or a query raised, before others do."""
        self._connection = connection
        self._loop = loop
        self._tick = tick
        self._on_error = on_error
        self._tick_s = tick_s
        self._queue: queue.SimpleQueue[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="spool reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, query: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Run a query in the reader's thread; call from the loop."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((query, future))
        return future

    def stop(self) -> None:
        """Finish what was asked, then end; blocks until then."""
        if self._thread.ident is None:
            self._connection.close()
            return
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            next_tick = time.monotonic()
            while True:
                wait_s = next_tick - time.monotonic()
                if wait_s <= 0:
                    next_tick = time.monotonic() + self._tick_s
                    self._look()
                    continue
                try:
                    asked = self._queue.get(timeout=wait_s)
                except queue.Empty:
                    continue
                if asked is None:
                    return
                self._answer(*asked)
        finally:
            self._connection.close()

    def _look(self) -> None:
        try:
            self._tick(self._connection)
        except Exception as error:  # noqa: BLE001  # the next look may succeed
            _log.warning("spool.look_failed", error=str(error))
            self._on_error(error)

    def _answer(self, query: Callable[[sqlite3.Connection], T], future: asyncio.Future[T]) -> None:
        try:
            found = query(self._connection)
        except Exception as error:  # noqa: BLE001  # goes to whoever asked
            self._on_error(error)
            self._post(_fail, future, error)
        else:
            self._post(_succeed, future, found)

    def _post(self, deliver: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(deliver, *arguments)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            _log.debug("spool.answer_unheard")


def _succeed(future: asyncio.Future[T], found: T) -> None:
    if not future.done():
        future.set_result(found)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
