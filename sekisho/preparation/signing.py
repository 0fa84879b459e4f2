"""A few threads that hash and sign: RSA is two thirds of a message's cost and releases the interpreter lock.

Jobs go through one queue; results come back to the loop in batches, so that a busy worker pays one wake-up for many
signatures (a wake-up per message costs as much as all the Python of signing it).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    work: Callable[[], T]
    future: asyncio.Future[T]


class SigningThreads:
    """Run small CPU-bound jobs in ``count`` threads. Made, used and closed on one event loop."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._done: deque[tuple[asyncio.Future[object], object, BaseException | None]] = deque()
        self._woken = False
        self._threads = [threading.Thread(target=self._run, name=f"sign-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have a thread do ``work``; the future finishes on the loop with its result or exception."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(work, future))  # type: ignore[arg-type]  # one queue for jobs of any result
        return future

    def close(self) -> None:
        """Let the threads finish what is queued, and join them."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                result, error = job.work(), None
            except BaseException as fault:  # noqa: BLE001  # whatever it is belongs to whoever awaits the future
                result, error = None, fault
            self._done.append((job.future, result, error))
            del job  # an idle thread must not keep the last message alive
            # A stale read of the flag costs one spare wake-up, never a lost one: the loop clears it before it drains.
            if not self._woken:
                self._woken = True
                self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        self._woken = False
        done = self._done
        while done:
            future, result, error = done.popleft()
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
