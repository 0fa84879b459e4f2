"""The one thread of a process that writes to the spool: group commit, and what happens when storage says no.

A message never waits for a timer. While one batch is synced, operations gather; the next batch is all of them. So
an idle spool commits at once, and a busy one shares each sync among as many as came meanwhile.

What a failure means is decided here:

- *full* or *unavailable*: the batch is rolled back; appends are refused (the client tries again), everything else is
  kept and tried again, in small pieces, after a pause or as soon as another transaction shows that there is room.
  Appends are refused before it comes to that, while the reserve (room.py) lets the rest go on.
- *suspect* (failed sync, I/O error, damage): nothing of the batch is answered, and the process ends at once.
- *ours*: the operations are carried out one by one, and the error goes to the one that has it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from sekisho.ports.clock import SteadyClock
from sekisho.queue import room, syscalls, timeline, transaction
from sekisho.queue.faults import Fault, fault_of, is_quota, mark_suspect
from sekisho.queue.layout import Layout, sync_directory
from sekisho.queue.locks import LockTimeoutError, Turn
from sekisho.queue.transaction import Append, Note, Operation, SetAside, Settle
from sekisho.refusal import Reason, Refused

_log = structlog.get_logger(__name__)

BATCH_MAX: Final = 1000
"""Operations in one transaction: bounds how long the last of a flood waits for the first."""

SETTLE_WAIT_S: Final = 0.005
"""How long outcomes alone wait: a crash meanwhile repeats at most the deliveries of so long."""

_CHECKPOINT_BYTES: Final = 8 << 20
"""Growth of the log after which it is copied into the database: two syncs per about 500 messages of 10 KiB."""

_PATIENT: Final = frozenset({Settle, Note, SetAside})
"""Operations that nobody waits for."""

_KEPT_MAX: Final = 50
"""Of what was kept, in one transaction: where there is little room, a little at a time fits."""

_TIGHT_CHECKPOINT_BYTES: Final = 512 << 10
"""The same as ``_CHECKPOINT_BYTES`` while there is no room for a longer log."""

_PLENTY_BYTES: Final = 1 << 30
_PLENTY_S: Final = 1.0
"""Where there is so much room, how often is soon enough to look again."""

_NOTE_IDLE_S: Final = 600.0

_QUIET_S: Final = 5.0
"""Without a refusal, before the log says that it is over."""

_PRUNE_MS: Final = 3_600_000

_REFUSALS: Final = {
    Fault.FULL: Refused(Reason.STORAGE_FULL),
    Fault.UNAVAILABLE: Refused(Reason.STORAGE_UNAVAILABLE),
}

Answer = Callable[[Sequence[Operation]], None]
"""Called in the writer's thread once per batch, with operations that carry their answers."""


class WriterStoppedError(Exception):
    """The spool was closed before this could be written."""


class Writer:
    """Owns one connection and one thread. ``start`` after the last fork."""

    def __init__(
        self,
        layout: Layout,
        connect: Callable[[], sqlite3.Connection],
        *,
        owner: int,
        clock: SteadyClock,
        answer: Answer,
        die: Callable[[], None],
        pause_s: float = 1.0,
        lock_wait_s: float = 10.0,
    ) -> None:
        self._layout = layout
        self._suspect = os.fsencode(layout.suspect)
        self._owner = owner
        self._clock = clock
        self._answer = answer
        self._die = die
        self._pause_s = pause_s
        self._turn = Turn(layout, lock_wait_s)
        self._queue: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._kept: list[Operation] = []
        self._retry_at = 0.0
        self._refusing: Refused | None = None
        self._look_again_at = 0.0
        self._refused_at = 0.0
        self._is_tight = False
        """New mail found the reserve touched."""
        self._closed = False
        self._stopping = False
        self._grown_bytes = 0
        self._pruned_ms = clock.now_ms()
        self._noted_ms, self._noted_offset_ms = 0, 0
        self._thread = threading.Thread(target=self._run, name="spool writer", daemon=True)
        self._connection = connect()

    def start(self) -> None:
        self._thread.start()

    def put(self, operation: Operation) -> None:
        """Hand over an operation; from any thread.

        Raises:
            WriterStoppedError: ``stop`` was called, nobody would answer.
        """
        if self._closed:
            raise WriterStoppedError
        self._queue.put(operation)

    def stop(self) -> None:
        """Carry out what was handed over so far, then end; blocks until then."""
        self._closed = True
        if self._thread.ident is None:
            self._connection.close()
            self._turn.close()
            return
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._keep_name()
            while not self._stopping:
                batch = self._gather()
                if batch:
                    self._commit(batch)
                if self._kept and (self._stopping or time.monotonic() >= self._retry_at):
                    self._retry_kept()
            if self._kept:
                self._finish(self._kept, WriterStoppedError())
        except SystemExit:
            pass
        except BaseException as error:
            # A mistake of ours outside of any transaction: nobody may wait for a writer that is gone.
            _log.critical("spool.writer_failed", exc_info=error)
            self._die()
            raise
        finally:
            self._connection.close()
            self._turn.close()

    def _keep_name(self) -> None:
        """Make the log's name durable: SQLite would, with its first sync, but takes a failure of that for success."""
        try:
            self._connection.execute("SELECT 1 FROM counter").fetchone()
            sync_directory(self._layout.root)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, OSError) or fault_of(error) is Fault.SUSPECT:
                self._end_process(error)

    def _gather(self) -> list[Operation]:
        """Wait for work, then take all there is; empty when it is time to try again what was kept."""
        if self._kept:
            try:
                first = self._queue.get(timeout=max(0.0, self._retry_at - time.monotonic()))
            except queue.Empty:
                return []
        else:
            try:
                first = self._queue.get(timeout=_NOTE_IDLE_S)
            except queue.Empty:
                # Also when nothing happens the time is noted now and then: an empty batch does it.
                self._commit(())
                return []
        batch: list[Operation] = []
        urgent = False
        # Nobody waits for an outcome to be on disk: outcomes wait a moment for messages, whose sync then serves both.
        until = time.monotonic() + SETTLE_WAIT_S
        while first is not None:
            batch.append(first)
            urgent = urgent or type(first) not in _PATIENT
            if len(batch) == BATCH_MAX:
                return batch
            try:
                if urgent:
                    first = self._queue.get_nowait()
                else:
                    first = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return batch
        self._stopping = True
        return batch

    def _commit(self, batch: Sequence[Operation]) -> None:
        try:
            if any(type(operation) is Append for operation in batch):
                # Nothing fails yet: what makes room goes on.
                batch = self._refuse_beyond_reserve(batch)
                if not batch:
                    return
            ended = self._transact(batch)
        except Exception as error:  # noqa: BLE001  # classified; what is nobody else's is the operation's own
            self._failed(batch, error)
            return
        self._done(batch, ended)

    def _done(self, batch: Sequence[Operation], ended: Sequence[Path]) -> None:
        """On disk: from here on the answers are true."""
        self._answer(batch)
        for path in ended:
            with contextlib.suppress(OSError):  # what stays is an orphan, and swept at the next start
                path.unlink()
        # There is room again, or nobody is in the way any more: no need to wait out the pause.
        self._retry_at = 0.0
        if (
            self._refusing is not None
            and time.monotonic() - self._refused_at >= _QUIET_S
            and any(type(operation) is Append for operation in batch)
        ):
            self._refusing = None
            _log.info("spool.accepting_again")
        if self._grown_bytes >= (_TIGHT_CHECKPOINT_BYTES if self._is_tight else _CHECKPOINT_BYTES):
            self._checkpoint()

    def _refuse_beyond_reserve(self, batch: Sequence[Operation]) -> Sequence[Operation]:
        """Refuse the new mail that would use up what settling the rest needs; what is left of the batch."""
        if time.monotonic() < self._look_again_at:
            return batch
        headroom_bytes = room.headroom_bytes(self._layout.root)
        if headroom_bytes > _PLENTY_BYTES:
            self._look_again_at = time.monotonic() + _PLENTY_S
        if headroom_bytes < self._grown_bytes:
            # The database may still grow by what is only in the log: that is part of what is used.
            self._checkpoint()
            headroom_bytes = room.headroom_bytes(self._layout.root)
        self._is_tight = headroom_bytes < 0
        if not self._is_tight:
            return batch
        # A database does not shrink: what was settled left room within.
        (pages,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
        fits_within = headroom_bytes + pages * page_bytes >= 0
        return self._refuse_new(
            batch,
            _REFUSALS[Fault.FULL],
            "little room is left, and kept for the queue",
            lambda operation: fits_within and operation.news[0].temporary_file is None,
        )

    def _transact(self, batch: Sequence[Operation]) -> Sequence[Path]:
        """Commit a batch or leave no trace of it."""
        connection = self._connection
        with self._turn:
            if syscalls.exists(self._suspect):
                # Another process saw storage fail: what this one would be told by the same file is worth nothing.
                raise _SuspectError
            connection.execute("BEGIN IMMEDIATE")
            try:
                now_ms = self._clock.now_ms()
                wall_ms = now_ms - self._clock.offset_ms
                try:
                    applied = transaction.apply(connection, batch, owner=self._owner, now_ms=now_ms, wall_ms=wall_ms)
                except transaction.SomeGone:
                    connection.execute("ROLLBACK")
                    connection.execute("BEGIN IMMEDIATE")
                    applied = transaction.apply(
                        connection, batch, owner=self._owner, now_ms=now_ms, wall_ms=wall_ms, one_by_one=True
                    )
                if not 0 <= now_ms - self._pruned_ms < _PRUNE_MS:
                    self._pruned_ms = now_ms
                    transaction.prune(connection, now_ms, wall_ms)
                if now_ms - self._noted_ms >= timeline.NOTE_MS or self._clock.offset_ms != self._noted_offset_ms:
                    self._noted_ms, self._noted_offset_ms = now_ms, self._clock.offset_ms
                    timeline.note(connection, self._clock, now_ms)
                connection.execute("COMMIT")
            except BaseException:
                # Some errors have rolled back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        self._grown_bytes += applied.written_bytes
        return applied.ended_bodies

    def _failed(self, batch: Sequence[Operation], error: Exception) -> None:
        fault = Fault.SUSPECT if isinstance(error, _SuspectError) else fault_of(error)
        if is_quota(error, self._layout.root):
            fault = Fault.FULL
        match fault:
            case Fault.SUSPECT:
                self._end_process(error)
            case Fault.OURS if len(batch) == 1:
                _log.error("spool.operation_failed", exc_info=error)
                self._finish(batch, error)
            case Fault.OURS:
                for operation in batch:
                    self._commit((operation,))
            case Fault.FULL | Fault.UNAVAILABLE:
                self._refuse(batch, _REFUSALS[fault], error)

    def _refuse(self, batch: Sequence[Operation], refusal: Refused, error: Exception) -> None:
        """Refuse what is new, keep the rest. Without the new messages the rest may fit, so that is tried soon."""
        self._tell_refusing(refusal, str(error))
        kept = self._refuse_new(batch, refusal, str(error))
        self._kept += kept
        if not self._retry_at:
            self._retry_at = time.monotonic() + (0.0 if len(kept) < len(batch) else self._pause_s)

    def _refuse_new(
        self,
        batch: Sequence[Operation],
        refusal: Refused,
        why: str,
        fits: Callable[[Append], bool] = lambda _: False,
    ) -> list[Operation]:
        """Answer the appends of a batch that do not fit with a refusal; the rest of it."""
        new: list[Operation] = []
        rest: list[Operation] = []
        for operation in batch:
            if isinstance(operation, Append) and not fits(operation):
                operation.answer = refusal
                new.append(operation)
            else:
                rest.append(operation)
        if new:
            self._tell_refusing(refusal, why)
            self._answer(new)
        return rest

    def _tell_refusing(self, refusal: Refused, why: str) -> None:
        """Once, and not for each that is refused among others that fit: logs must not fill the disk further."""
        self._refused_at = time.monotonic()
        if self._refusing != refusal:
            self._refusing = refusal
            _log.error("spool.refusing", reason=refusal.reason.value, error=why)

    def _retry_kept(self) -> None:
        kept, self._kept = self._kept, []
        # Set before the try: a failure finds it there, and only the end of the pause tries again.
        self._retry_at = time.monotonic() + self._pause_s
        for start in range(0, len(kept), _KEPT_MAX):
            self._commit(kept[start : start + _KEPT_MAX])

    def _finish(self, batch: Sequence[Operation], error: Exception) -> None:
        for operation in batch:
            operation.error = error
        self._answer(batch)

    def _checkpoint(self) -> None:
        """Copy the log into the database, so that it starts over. In our turn: nobody writes meanwhile."""
        self._grown_bytes = 0
        try:
            with self._turn:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except (sqlite3.Error, LockTimeoutError) as error:
            if fault_of(error) is Fault.SUSPECT and not is_quota(error, self._layout.root):
                self._end_process(error)
            _log.warning("spool.checkpoint_failed", error=str(error))

    def _end_process(self, error: BaseException) -> None:
        _log.critical("spool.suspect", error=str(error) or type(error).__name__, exc_info=error)
        mark_suspect(self._layout, f"{type(error).__name__}: {error}")
        self._die()
        # Only tests survive die(); the thread must not go on with a connection that lies.
        raise SystemExit


class _SuspectError(sqlite3.Error):
    """The marker was found."""
