"""Large bodies on their way in: a temporary file, written in threads, gone unless it is handed over."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from zlib import crc32

from sekisho.queue.model import BodyFile

_PREFIX = "incoming-"


def clear(directory: Path) -> None:
    """Remove what an earlier life of this worker left; nobody else may use the directory."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in directory.glob(f"{_PREFIX}*"):
        path.unlink(missing_ok=True)


class BodySpill:
    """One body. Parts are written in the order of calls; after a failure everything is swallowed."""

    def __init__(self, directory: Path, name: str) -> None:
        self._path = directory / f"{_PREFIX}{name}"
        self._lock = asyncio.Lock()
        self._descriptor = -1
        self._size_bytes = 0
        self._checksum = 0
        self.error: OSError | None = None

    async def write(self, part: bytes) -> None:
        """Append. Does not raise: ``error`` tells, and ``finish`` gives nothing then."""
        async with self._lock:
            if self.error is None and part:
                try:
                    await asyncio.to_thread(self._append, part)
                except OSError as error:
                    self.error = error

    async def finish(self) -> BodyFile | None:
        """Give the finished file, the caller's from now on; None after an error."""
        async with self._lock:
            self._close()
            return None if self.error is not None else BodyFile(self._path, self._size_bytes, self._checksum)

    async def discard(self) -> None:
        """Remove it."""
        async with self._lock:
            self._close()
            await asyncio.to_thread(self._path.unlink, missing_ok=True)

    def _append(self, part: bytes) -> None:
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags, 0o600)
        view = memoryview(part)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._size_bytes += len(part)
        self._checksum = crc32(part, self._checksum)

    def _close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
