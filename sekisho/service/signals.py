"""Signals as something that poll can wait for: a set of what came, and a pipe that wakes the loop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Self


class Signals:
    """Collect signals while entered; the previous handlers come back at the end. Main thread only."""

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = tuple(numbers)
        self._came: set[signal.Signals] = set()
        self._before: dict[signal.Signals, signal._HANDLER] = {}
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def fileno(self) -> int:
        """Readable when something came."""
        return self._reader

    def __enter__(self) -> Self:
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._note)
        # The interpreter writes here from the C handler, so that one that comes just before poll still wakes it.
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.close()

    def close(self) -> None:
        """Close the pipe; in a forked child, which has no use for it."""
        os.close(self._reader)
        os.close(self._writer)

    def take(self) -> frozenset[signal.Signals]:
        """What came since the last call."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, 512):
                pass
        came = frozenset(self._came)
        self._came -= came
        return came

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.add(signal.Signals(number))
