"""Capture mode: the last hop is a local mailbox, everything before it is real.

The mailbox is one SQLite file, bounded by count and size: the newest stay. A delivery that comes twice (a crash between
capturing and settling) is stored once. The outlet takes what is prepared in batches, each one commit in a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from sekisho.delivery.feed import Conclude, Feed
from sekisho.delivery.job import Job
from sekisho.delivery.tasks import Tasks
from sekisho.delivery.verdict import Temporary
from sekisho.ids import message_id_text
from sekisho.ports.clock import Clock
from sekisho.preparation.model import Ready
from sekisho.queue import bodies
from sekisho.queue.bodies import BodyDamagedError
from sekisho.queue.model import BodyFile, Delivered, Remote

_log = structlog.get_logger(__name__)

FILE_NAME = "captured.db"
"""In the data directory."""
KEPT_MESSAGES = 10_000
KEPT_BYTES = 1 << 30
_PRUNE_AFTER_BYTES = 16 << 20
"""Captured content after which the size is added up again; the bound may be exceeded by so much in between."""
_PRUNE_AFTER = 500
BATCH = 64
BATCH_BYTES = 16 << 20
"""Large bodies are in memory while they are stored: this and one message more."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS captured (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    recipient_index INTEGER NOT NULL,
    mail_from TEXT NOT NULL,
    recipient TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    header BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (message_id, recipient_index)
)
"""
_INSERT = """
INSERT INTO captured (at_ms, message_id, recipient_index, mail_from, recipient, size_bytes, header, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (message_id, recipient_index) DO UPDATE SET at_ms = excluded.at_ms
RETURNING number
"""
_PRUNE = """
DELETE FROM captured WHERE number <= (
    SELECT number FROM (
        SELECT number, row_number() OVER newest AS place, sum(size_bytes) OVER newest AS total
        FROM captured WINDOW newest AS (ORDER BY number DESC)
    ) WHERE place > ? OR (total > ? AND place > 1) ORDER BY number DESC LIMIT 1
)
"""


@dataclass(frozen=True, slots=True)
class Captured:
    """One captured copy, as listed."""

    number: int
    at_ms: int
    message_id: str
    mail_from: str
    recipient: str
    size_bytes: int
    header: bytes


_LISTED = "number, at_ms, message_id, mail_from, recipient, size_bytes, header"

Copy = tuple[int, str, int, str, str, int, bytes, bytes | BodyFile]
"""A row to be written, in the order of the insert; the body perhaps still in its file."""


class CaptureStore:
    """The mailbox. Every method blocks: call from a thread, or from a command."""

    def __init__(self, path: Path, *, messages: int = KEPT_MESSAGES, size_bytes: int = KEPT_BYTES) -> None:
        self._path = path
        self._messages = messages
        self._size_bytes = size_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._since_prune = 0
        self._bytes_since_prune = 0

    def capture(self, copies: Sequence[Copy]) -> list[int]:
        """Store copies durably; give their numbers."""
        # Files are read before the transaction: a slow disk must not hold the write lock meanwhile.
        rows = [(*copy[:-1], _content(copy[-1])) for copy in copies]
        with self._writing() as connection:
            numbers = [int(connection.execute(_INSERT, row).fetchone()[0]) for row in rows]
            self._since_prune += len(rows)
            self._bytes_since_prune += sum(copy[5] for copy in copies)
            if self._since_prune >= _PRUNE_AFTER or self._bytes_since_prune >= _PRUNE_AFTER_BYTES:
                self._since_prune = self._bytes_since_prune = 0
                connection.execute(_PRUNE, (self._messages, self._size_bytes))
        return numbers

    def newest(self, limit: int) -> list[Captured]:
        """List the newest copies, newest first."""
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {_LISTED} FROM captured ORDER BY number DESC LIMIT ?", (limit,))  # noqa: S608
            return [Captured(*row) for row in rows]

    def find(self, number: int) -> tuple[Captured, bytes] | None:
        """Give one copy and its whole content, exactly as it would have been sent, dots unstuffed."""
        with self._reading() as connection:
            row = connection.execute(
                f"SELECT {_LISTED}, body FROM captured WHERE number = ?",  # noqa: S608
                (number,),
            ).fetchone()
        if row is None:
            return None
        found = Captured(*row[:-1])
        return found, found.header + b"\r\n" + row[-1]

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._opened()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(_SCHEMA)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _content(body: bytes | BodyFile) -> bytes:
    if not isinstance(body, BodyFile):
        return body
    with bodies.reading(body) as file:
        return file.read(body.size_bytes) + file.read(1)


_HERE = Remote(host="captured")


class CaptureOutlet:
    """Implements ``feed.Outlet``: one batch at a time, each as large as what became ready during the last."""

    def __init__(self, store: CaptureStore, feed: Feed, conclude: Conclude, clock: Clock, tasks: Tasks) -> None:
        self._store = store
        self._feed = feed
        self._conclude = conclude
        self._clock = clock
        self._tasks = tasks
        self._writing = False
        self.busy = 0

    def wake(self) -> None:
        if not self._writing:
            self._writing = True
            self._tasks.spawn(self._write_all(), "capture")

    def hurry(self) -> None:
        """There are no pauses here."""

    def retire(self) -> None:
        """A running batch ends by itself."""

    def abandon(self) -> None:
        """A running batch is in its thread; what it stores is stored once, also when it comes again."""

    def sweep(self, now: float) -> None:
        """Nothing here takes long."""

    @property
    def is_idle(self) -> bool:
        return not self.busy

    @property
    def is_over(self) -> bool:
        return not self._writing

    async def _write_all(self) -> None:
        try:
            while batch := self._pull():
                await self._write(batch)
        finally:
            self._writing = False

    def _pull(self) -> list[Job]:
        batch: list[Job] = []
        size_bytes = 0
        while len(batch) < BATCH and size_bytes < BATCH_BYTES and (job := self._feed.pull()) is not None:
            batch.append(job)
            if job.ready is not None:
                size_bytes += _size(job.ready)
        self.busy += len(batch)
        return batch

    async def _write(self, batch: Sequence[Job]) -> None:
        now_ms = self._clock.now_ms()
        deliveries = [(delivery, job.ready) for job in batch for delivery in job.deliveries]
        copies: list[Copy] = [
            (
                now_ms,
                message_id_text(delivery.message.id),
                delivery.recipient.index,
                ready.mail_from,
                delivery.recipient.address,
                len(ready.header) + 2 + _size(ready),
                ready.header,
                ready.body,
            )
            for delivery, ready in deliveries
            if ready is not None
        ]
        try:
            numbers = await asyncio.to_thread(self._store.capture, copies)
        except (OSError, BodyDamagedError, sqlite3.Error) as error:
            _log.error("delivery.capture_failed", error=str(error))
            for delivery, _ in deliveries:
                self._conclude(delivery, Temporary("4.3.0 the capture mailbox can't be written", "4.3.0"))
        else:
            for (delivery, _), number in zip(deliveries, numbers, strict=True):
                self._conclude(delivery, Delivered(f"250 2.0.0 captured as {number}", _HERE))
        finally:
            self.busy -= len(batch)


def _size(ready: Ready) -> int:
    return ready.body.size_bytes if isinstance(ready.body, BodyFile) else len(ready.body)
