"""Where passwords are worked on: few threads, and a bound on how much may wait for them.

Argon2 is meant to be dear, so whoever can cause it to run without end could stop the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

THREADS: Final = 2

WAITING_MAX: Final = 24
"""Under way or waiting: a second's worth on the slowest machine. What comes beyond is told to come back."""


class HasherBusy(Exception):
    """Too much waits already; nothing was begun. Doors say 503."""


class Hasher:
    """The threads of one process. Make it after the last fork."""

    def __init__(self, *, threads: int = THREADS, waiting_max: int = WAITING_MAX) -> None:
        self._threads: Final = ThreadPoolExecutor(threads, thread_name_prefix="hasher")
        self._waiting_max: Final = waiting_max
        self._waiting = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Do it in a thread; raises HasherBusy."""
        self.check()
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._done)
        # Shielded: whoever asked may go, but a thread cannot be stopped, and its place is taken until it is done.
        return await asyncio.shield(future)

    def check(self) -> None:
        """Raise HasherBusy when ``run`` would, before anything is done that would be in vain."""
        if self._waiting >= self._waiting_max:
            message = "too many passwords wait to be checked"
            raise HasherBusy(message)

    def close(self) -> None:
        """End, after what is under way."""
        self._threads.shutdown(cancel_futures=True)

    def _done(self, future: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # whoever waited may have gone; then nobody else looks
