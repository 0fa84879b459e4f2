"""What operators see of a spool and do to it, beside a running server or without one.

Changes are made in small transactions of their own, in turn with everybody else's, so that a change to a million
deliveries stops nobody. Each leaves a row that running workers notice (watch.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from sekisho.ids import MessageId
from sekisho.ports.clock import Clock
from sekisho.queue import overview, recovery, schema, timeline, transaction
from sekisho.queue.layout import Layout
from sekisho.queue.locks import Turn
from sekisho.queue.model import BodyFile, Delivery, Dropped, Message, Recipient
from sekisho.queue.overview import DestinationStatus, QueuedDelivery, QueuedMessage
from sekisho.queue.records import read_envelope
from sekisho.queue.schema import RECIPIENT_BITS
from sekisho.queue.selection import Selection
from sekisho.queue.spool import RATE_OF, Settlement
from sekisho.queue.transaction import Numbers
from sekisho.queue.watch import ChangeKind, SpoolSuspectError

DROPPED_BY_OPERATOR: Final = "dropped by operator"

_CHUNK: Final = 500
"""Deliveries per transaction: some milliseconds of everybody's time."""

_WAL_PAGES: Final = 8000
_CHANGES_KEPT_MS: Final = 600_000
"""Workers look five times a second; whoever has not looked for ten minutes has nothing in memory."""

_SHUT: Final = f"destination IN (SELECT destination FROM shut_destination WHERE hop NOT LIKE '{RATE_OF}%')"
_MASK: Final = (1 << RECIPIENT_BITS) - 1
_pack: Final = msgspec.msgpack.Encoder().encode

Encode = Callable[[Settlement], Sequence[bytes]]


class Operator:
    """An open spool, for one command; synchronous."""

    def __init__(self, directory: Path, *, clock: Clock, encode: Encode) -> None:
        """Open the spool, making or recovering it when no server does.

        Raises:
            LockTimeoutError, SpoolTooNewError: as ``recovery.enter``.
        """
        self._layout = Layout(directory)
        self._clock = clock
        self._encode = encode
        self._usage, self.report = recovery.enter(self._layout, clock.now_ms())
        try:
            self._connection = schema.connect(self._layout.database, wal_pages=_WAL_PAGES)
            self._spool_clock = timeline.read(self._connection, clock)
        except BaseException:
            self._usage.close()
            raise
        self._turn = Turn(self._layout)

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

    # Seeing

    def status(self) -> tuple[DestinationStatus, ...]:
        """Sum up the queue by destination, the longest first."""
        return overview.status(self._connection)

    def list(self, selection: Selection, limit: int) -> tuple[QueuedDelivery, ...]:
        """List deliveries, oldest message first."""
        return overview.deliveries(self._connection, selection, limit)

    def show(self, message_id: MessageId) -> QueuedMessage | None:
        """Show one message with all that is left of it; None when it is not (or no longer) in the queue."""
        return overview.message(self._connection, message_id)

    # Doing

    def retry(self, selection: Selection) -> int:
        """Make deliveries due now; how many had to wait. What is held stays held."""
        now_ms = self._spool_clock.now_ms()

        def due(cursor: sqlite3.Cursor, rows: Sequence[int]) -> None:
            cursor.executemany("UPDATE delivery SET due_ms = ? WHERE row = ?", [(now_ms, row) for row in rows])
            # Also at a next hop that was found out of reach: the operator may know that it is back.
            for (hop,) in cursor.execute(f"SELECT DISTINCT hop FROM shut_destination {_of(rows)}").fetchall():
                transaction.forget_hop(cursor, hop)

        return self._change(selection, f"(due_ms > {now_ms} OR {_SHUT})", ChangeKind.DUE, due)

    def hold(self, selection: Selection) -> int:
        """Keep deliveries from being attempted until released; how many were not held already."""
        return self._change(selection, "held = 0", ChangeKind.HELD, _hold)

    def release(self, selection: Selection) -> int:
        """Let go on what was held or set aside, at the time it is due; how many were."""
        return self._change(selection, "held > 0", ChangeKind.RELEASED, _release)

    def drop(self, selection: Selection, *, most: int | None = None) -> int:
        """End deliveries as dropped, each with its event, about ``most`` of them; how many."""
        ended: list[Path] = []

        def drop(cursor: sqlite3.Cursor, rows: Sequence[int]) -> None:
            ended.extend(self._drop(cursor, rows))

        count = 0
        try:
            count = self._change(selection, "1", ChangeKind.DROPPED, drop, most=most)
        finally:
            for path in ended:
                with suppress(OSError):  # swept at the next start
                    path.unlink()
        return count

    def _change(
        self,
        selection: Selection,
        state: str,
        kind: ChangeKind,
        action: Callable[[sqlite3.Cursor, Sequence[int]], None],
        *,
        most: int | None = None,
    ) -> int:
        """Do ``action`` to all selected deliveries in ``state``, in order and in pieces."""
        conditions, arguments = selection.conditions()
        statement = (
            f"SELECT row, destination FROM delivery WHERE {conditions} AND {state} AND row > ? ORDER BY row LIMIT ?"
        )
        after, count = -1, 0
        while True:
            with self._transaction() as cursor:
                found = cursor.execute(statement, (*arguments, after, _CHUNK)).fetchall()
                if found:
                    rows = [row for row, _ in found]
                    action(cursor, rows)
                    self._tell(cursor, kind, rows, sorted({destination for _, destination in found}))
            count += len(found)
            if len(found) < _CHUNK or (most is not None and count >= most):
                return count
            after = found[-1][0]

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection, self._turn, self._layout)

    def _tell(self, cursor: sqlite3.Cursor, kind: ChangeKind, rows: Sequence[int], destinations: Sequence[str]) -> None:
        now_ms = self._clock.now_ms()
        cursor.execute("DELETE FROM change WHERE at_ms < ?", (now_ms - _CHANGES_KEPT_MS,))
        cursor.execute(
            "INSERT INTO change (at_ms, kind, rows, destinations) VALUES (?, ?, ?, ?)",
            (now_ms, kind.value, _pack(rows), _pack(destinations)),
        )

    def _drop(self, cursor: sqlite3.Cursor, rows: Sequence[int]) -> Sequence[Path]:
        events: list[bytes] = []
        ended: dict[int, BodyFile | None] = {}
        now_ms = self._clock.now_ms()
        for settlement in self._droppings(cursor, rows, ended, now_ms):
            cursor.execute(transaction.FINISH, (settlement.delivery.row, settlement.delivery.attempts))
            events += self._encode(settlement)
        numbers = Numbers.read(cursor)
        transaction.INSERT_EVENT(cursor, numbers.number(events))
        numbers.write(cursor)
        return transaction.end_messages(cursor, ended)

    def _droppings(
        self, cursor: sqlite3.Cursor, rows: Sequence[int], ended: dict[int, BodyFile | None], now_ms: int
    ) -> Iterator[Settlement]:
        """Make the settlements; the messages come without their content, of which events say nothing."""
        messages: dict[int, Message] = {}
        outcome = Dropped(DROPPED_BY_OPERATOR)
        for row in rows:
            number = row >> RECIPIENT_BITS
            if number not in messages:
                message_id, envelope, name, size = cursor.execute(
                    "SELECT id, envelope, body_file, body_size FROM message WHERE row = ?", (number,)
                ).fetchone()
                messages[number] = read_envelope(message_id, envelope)
                ended[number] = None if name is None else BodyFile(self._layout.bodies / name, size)
            address, personal_to, attempts, due_ms = cursor.execute(
                "SELECT address, personal_to, attempts, due_ms FROM delivery WHERE row = ?", (row,)
            ).fetchone()
            recipient = Recipient(row & _MASK, address, personal_to)
            yield Settlement(Delivery(row, messages[number], recipient, attempts, due_ms), outcome, now_ms)


class _Transaction:
    """One writing transaction in our turn: committed, or nothing of it."""

    def __init__(self, connection: sqlite3.Connection, turn: Turn, layout: Layout) -> None:
        self._connection = connection
        self._turn = turn
        self._layout = layout

    def __enter__(self) -> sqlite3.Cursor:
        self._turn.acquire()
        try:
            _must_be_good(self._layout)
            return self._connection.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._turn.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._turn.release()


def _must_be_good(layout: Layout) -> None:
    if layout.suspect.exists():
        raise SpoolSuspectError


def _hold(cursor: sqlite3.Cursor, rows: Sequence[int]) -> None:
    cursor.executemany("UPDATE delivery SET held = 1 WHERE row = ?", [(row,) for row in rows])


def _release(cursor: sqlite3.Cursor, rows: Sequence[int]) -> None:
    # What was set aside has all its tries again.
    cursor.executemany("UPDATE delivery SET held = 0, faults = 0 WHERE row = ?", [(row,) for row in rows])


def _of(rows: Sequence[int]) -> str:
    numbers = ", ".join(map(str, rows))
    return f"WHERE destination IN (SELECT destination FROM delivery WHERE row IN ({numbers}))"
