"""A bell for the workers that deliver: whoever appends without a slot rings, and one of them claims at once.

A pipe that a server's processes share. It carries no news, only "look now": a bell that nobody hears costs the time
until the regular look (watch.py), and nothing else. A file in the spool's directory that every process could open would
be a FIFO or a socket, and those stand in the way of whoever copies the directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Final, NamedTuple

_READ_BYTES: Final = 4096


class Bell(NamedTuple):
    """Made before the processes are forked, and theirs for as long as they live."""

    reading: int
    writing: int

    @classmethod
    def make(cls) -> Bell:
        return cls(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))

    def ring(self) -> None:
        # Full: it was rung often enough, and nobody has listened yet.
        with contextlib.suppress(BlockingIOError):
            os.write(self.writing, b"\0")

    def listen(self, loop: asyncio.AbstractEventLoop, on_ring: Callable[[], None]) -> None:
        """Hear it from now on. Of several listeners one hears each ring."""
        loop.add_reader(self.reading, self._heard, on_ring)

    def stop_listening(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self.reading)

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)

    def _heard(self, on_ring: Callable[[], None]) -> None:
        with contextlib.suppress(BlockingIOError):  # another listener was faster
            os.read(self.reading, _READ_BYTES)
            on_ring()
