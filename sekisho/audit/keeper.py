"""Signs the head of every chain each hour and puts it where database administrators do not write: a file, and the log.

The file is worth as much as its distance from the database: ship it, or the log lines, to another machine.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

from sekisho.audit.chain import Head
from sekisho.audit.reading import heads
from sekisho.audit.signed import LINE_MAX_BYTES, Signer, decode, read_heads
from sekisho.db import Database, DatabaseUnavailable

_log = structlog.get_logger(__name__)

EVERY_S: Final = 3600.0
_RETRY_S: Final = 60.0
_TAIL_BYTES: Final = 1 << 20


class HeadKeeper:
    """A thread of its own: once at the start, then each hour, what has grown since."""

    def __init__(
        self,
        database: Database,
        signer: Signer,
        path: Path,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._database: Final = database
        self._signer: Final = signer
        self._path: Final = path
        self._now_ms: Final = now_ms
        self._written: dict[int, int] | None = None
        """Chain → seq of the last head in the file; None: the file has not been looked at."""
        self._stopping: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name="audit heads", daemon=True)

    def start(self) -> None:
        """Begin; called once, after the last fork."""
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def keep(self) -> int:
        """Sign and write what has grown; how many heads. Raises DatabaseUnavailable or OSError, nothing written."""
        written = self._written if self._written is not None else _last_of(self._path)
        with self._database.connect() as tx:
            grown = [head for head in heads(tx) if written.get(head.chain, 0) < head.seq]
        if grown:
            now_ms = self._now_ms()
            _append(self._path, b"".join(self._signer.sign(head, now_ms) for head in grown))
            for head in grown:
                _log.info("audit.head", chain=head.chain, seq=head.seq, hash=head.hash.hex())
        self._written = {**written, **{head.chain: head.seq for head in grown}}
        return len(grown)

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopping.wait(wait_s):
            try:
                self.keep()
                wait_s = EVERY_S
            except (DatabaseUnavailable, OSError) as error:
                _log.warning("audit.heads_not_kept", error=str(error))
                wait_s = _RETRY_S


def trusted(path: Path, public_key: str) -> Iterator[Head]:
    """Read the heads of a file; raises audit.signed.BadHead or OSError."""
    with path.open("rb") as file:
        lines = iter(lambda: file.readline(LINE_MAX_BYTES), b"")
        for signed in read_heads(lines, public_key):
            yield signed.head


def _last_of(path: Path) -> dict[int, int]:
    """What the end of the file says; what is further back may be signed once more, which does no harm."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    found: dict[int, int] = {}
    for line in lines:
        for signed in _whole(line):
            found[signed.chain] = max(found.get(signed.chain, 0), signed.seq)
    return found


def _whole(line: bytes) -> Iterator[Head]:
    try:
        yield decode(line).head
    except ValueError:  # the first of a tail, or one that a crash cut short
        return


def _append(path: Path, lines: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        # A line cut short by a crash must not swallow the next one.
        size = os.fstat(descriptor).st_size
        if size:
            with path.open("rb") as file:
                file.seek(size - 1)
                lines = lines if file.read(1) == b"\n" else b"\n" + lines
        view = memoryview(lines)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
