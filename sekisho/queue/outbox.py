"""The outbox as its mover sees it: read in order, delete what was stored elsewhere. From any process."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sekisho.queue import recovery, schema
from sekisho.queue.faults import Fault, fault_of, is_quota, mark_suspect
from sekisho.queue.layout import Layout
from sekisho.queue.locks import Turn
from sekisho.queue.watch import SpoolSuspectError

_WAL_PAGES: Final = 8000
"""A backstop: the relay's writer checkpoints far earlier, but there may be none."""


class OutboxReader:
    """Opened on a spool's directory; used by one thread at a time."""

    def __init__(self, directory: Path) -> None:
        """Open the spool, preparing it when nobody uses it.

        Raises:
            LockTimeoutError, SpoolTooNewError: as ``recovery.enter``.
        """
        self._layout = Layout(directory)
        self._usage, _ = recovery.enter(self._layout, time.time_ns() // 1_000_000)
        try:
            self._connection = schema.connect(self._layout.database, wal_pages=_WAL_PAGES)
            self._meta = schema.read_meta(self._connection)
        except BaseException:
            self._usage.close()
            raise
        self._turn = Turn(self._layout)

    @property
    def spool_id(self) -> str:
        """Names the spool that sequences belong to; a uuid."""
        return str(self._meta.spool)

    def read_outbox(self, after_seq: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Read rows in ascending order of sequence, which is the order of commits.

        Raises:
            SpoolSuspectError: storage failed; close this reader and open another.
        """
        self._must_be_good()
        with self._judging():
            return self._connection.execute(
                "SELECT seq, event FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
            ).fetchall()

    def delete_outbox(self, up_to: int) -> None:
        """Delete all rows up to and including this sequence, durably."""
        with self._turn:
            self._must_be_good()
            with self._judging():
                self._connection.execute("DELETE FROM outbox WHERE seq <= ?", (up_to,))

    @contextlib.contextmanager
    def _judging(self) -> Iterator[None]:
        """What fails under this process fails under all that use the spool: the mark has it recovered."""
        try:
            yield
        except sqlite3.Error as error:
            if fault_of(error) is Fault.SUSPECT and not is_quota(error, self._layout.root):
                mark_suspect(self._layout, f"{type(error).__name__}: {error}")
            raise

    def _must_be_good(self) -> None:
        if self._layout.suspect.exists():
            raise SpoolSuspectError

    def close(self) -> None:
        self._connection.close()
        self._turn.close()
        self._usage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
