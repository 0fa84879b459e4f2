"""Locks between processes: files under flock, which the kernel frees however their holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from sekisho.queue import syscalls
from sekisho.queue.layout import Layout

_PAUSE_FIRST_S = 0.0002
_PAUSE_MAX_S = 0.005


class LockTimeoutError(Exception):
    """Another process held a lock for longer than anybody should."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path.name} is held by another process")


class FileLock:
    """One flock on a file description of its own, so that it also excludes within the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_exclusive(self) -> bool:
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Take it shared; from exclusive this steps down."""
        return self._try(fcntl.LOCK_SH)

    def _try(self, kind: int) -> bool:
        try:
            syscalls.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        syscalls.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file, which frees the lock; may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def wait_for(attempt: Callable[[], bool], lock: FileLock, wait_s: float) -> None:
    """Repeat ``attempt`` until it succeeds.

    Polled with short pauses, because a blocking flock cannot be given a deadline in a thread. Only those who really
    wait for another process ever pause.

    Raises:
        LockTimeoutError: when ``wait_s`` has passed.
    """
    if attempt():
        return
    deadline = time.monotonic() + wait_s
    pause_s = _PAUSE_FIRST_S
    while True:
        time.sleep(pause_s)
        if attempt():
            return
        if time.monotonic() >= deadline:
            raise LockTimeoutError(lock.path)
        pause_s = min(pause_s * 2, _PAUSE_MAX_S)


class Turn:
    """The right to write, fair between processes: ``with turn: …`` around every writing transaction.

    Two locks make it fair. Whoever wants to write first becomes *next*, then waits for the writer; so a writer that
    wants to write again at once finds the place of the next taken and cannot overtake. SQLite's own busy handler
    starves one of several busy writers for half a second.
    """

    def __init__(self, layout: Layout, wait_s: float = 10.0) -> None:
        self._next = FileLock(layout.next_lock)
        self._write = FileLock(layout.write_lock)
        self._wait_s = wait_s

    def acquire(self) -> None:
        """Wait for our turn.

        Raises:
            LockTimeoutError: another process does not let go of it.
        """
        wait_for(self._next.try_exclusive, self._next, self._wait_s)
        try:
            wait_for(self._write.try_exclusive, self._write, self._wait_s)
        finally:
            self._next.release()

    def release(self) -> None:
        self._write.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def close(self) -> None:
        self._next.close()
        self._write.close()
