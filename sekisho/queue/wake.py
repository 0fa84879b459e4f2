"""A bell for the workers that deliver: whoever appends without a slot rings, and one of them claims at once.

A FIFO in the spool's directory, which any process of the machine that uses the spool can open. It carries no news, only
"look now": a bell that is not heard (no worker runs, the pipe is full, the file system has no FIFOs) costs the time
until the regular look (watch.py), and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Final

import structlog

from sekisho.queue.layout import Layout

_log = structlog.get_logger(__name__)

_READ_BYTES: Final = 4096


class Bell:
    """One end of it, in a process that listens or in one that rings."""

    def __init__(self, layout: Layout) -> None:
        self._path: Final = layout.bell
        self._descriptor = -1

    def listen(self, loop: asyncio.AbstractEventLoop, on_ring: Callable[[], None]) -> None:
        """Hear it from now on. Of several listeners one hears each ring."""
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(self._path, 0o600)
            # For both directions: with a writer of its own, the pipe never reads as ended.
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            loop.add_reader(self._descriptor, self._heard, on_ring)
        except OSError as error:
            _log.warning("spool.bell_failed", error=str(error))

    def ring(self) -> None:
        """Ring; nothing happens when nobody listens."""
        with contextlib.suppress(OSError):
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._descriptor, b"\0")
            return
        # The listeners may be others by now, or have made the pipe since: the next ring opens it anew.
        self.close()

    def stop_listening(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the loop, before ``close``."""
        if self._descriptor >= 0:
            loop.remove_reader(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _heard(self, on_ring: Callable[[], None]) -> None:
        with contextlib.suppress(BlockingIOError):  # another listener was faster
            if os.read(self._descriptor, _READ_BYTES):
                on_ring()
