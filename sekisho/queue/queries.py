"""What a worker reads from the spool: where something is due, and what."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from sekisho.ids import MessageId
from sekisho.queue.model import Delivery, Message, Recipient
from sekisho.queue.records import MESSAGE_COLUMNS, DamagedError, read_message
from sekisho.queue.schema import RECIPIENT_BITS
from sekisho.queue.spool import DestinationDue, Found, HeldSenders, ShutHop, Wanted

READ_BYTES_MAX: Final = 32 << 20
"""Content that one answer of ``due`` holds in memory at most (but always one message)."""

_DUE: Final = (
    "SELECT row, due_ms, attempts, address, personal_to, faults, accepted_ms FROM delivery"
    " WHERE owner = ? AND held = 0 AND destination = ? AND due_ms <= ?"
)
_LATER: Final = "SELECT min(due_ms) FROM delivery WHERE owner = ? AND held = 0 AND destination = ? AND due_ms > ?"
_NEXT_DESTINATION: Final = (
    "SELECT destination, due_ms FROM delivery WHERE owner = ? AND held = 0 AND destination > ?"
    " ORDER BY destination, due_ms LIMIT 1"
)
_UNTRIED: Final = " AND (attempts = 0 OR accepted_ms <= ?)"
# The held senders are compared inside SQLite, which lets the loop run meanwhile: a held account may have a long queue.
_NOT_HELD: Final = " AND sender NOT IN (SELECT value FROM json_each(?)) AND key NOT IN (SELECT value FROM json_each(?))"
_ORDER: Final = " ORDER BY due_ms"
"""And, as the index has it, those tried least first, then the oldest."""
_MESSAGE: Final = f"SELECT {MESSAGE_COLUMNS} FROM message WHERE row = ?"

_MASK: Final = (1 << RECIPIENT_BITS) - 1

_Row = tuple[int, int, int, str, str, int, int]


class Damaged(NamedTuple):
    """What is due of a message that is not what was written any more."""

    message_id: MessageId
    rows: list[int]


class Due(NamedTuple):
    """What there was, and what must not be sent: nobody else is told of that."""

    found: list[Found]
    damaged: list[Damaged]


def destinations(
    connection: sqlite3.Connection, owners: Iterable[int], *, after: str, limit: int
) -> tuple[DestinationDue, ...]:
    """List where the owners have something that no operator holds: the ``limit`` next names after ``after``.

    One step in the index for each, however long its queue.
    """
    found: dict[str, int] = {}
    for owner in owners:
        last = after
        for _ in range(limit):
            row = connection.execute(_NEXT_DESTINATION, (owner, last)).fetchone()
            if row is None:
                break
            last, next_ms = row
            found[last] = min(next_ms, found.get(last, next_ms))
    return tuple(DestinationDue(name, found[name]) for name in sorted(found, key=_as_sqlite)[:limit])


def _as_sqlite(name: str) -> bytes:
    """SQLite's order of texts is that of their bytes."""
    return name.encode()


def due(
    connection: sqlite3.Connection,
    *,
    owners: Sequence[int],
    wanted: Iterable[Wanted],
    now_ms: int,
    limit: int,
    held: HeldSenders,
    bodies: Path,
) -> Due:
    """Read due deliveries of one destination after the other until there are ``limit``; at least of the first."""
    answer: list[Found] = []
    reading = _Reading(connection, owners, now_ms, held, bodies)
    for each in wanted:
        answer.append(reading.read(each))
        limit -= len(answer[-1].deliveries)
        if limit <= 0 or reading.is_full:
            break
    return Due(answer, list(reading.damaged.values()))


class _Reading:
    """One answer in the making: deliveries of one message share it, and all share one bound of bytes."""

    def __init__(
        self, connection: sqlite3.Connection, owners: Sequence[int], now_ms: int, held: HeldSenders, bodies: Path
    ) -> None:
        self._connection = connection
        self._owners = owners
        self._now_ms = now_ms
        self._bodies = bodies
        self._condition = ""
        self._arguments: tuple[str, ...] = ()
        if held.senders or held.keys:
            self._condition = _NOT_HELD
            self._arguments = (json.dumps(list(held.senders)), json.dumps(list(held.keys)))
        self._messages: dict[int, Message | None] = {}
        self.damaged: dict[int, Damaged] = {}
        self._size_bytes = 0

    @property
    def is_full(self) -> bool:
        return self._size_bytes >= READ_BYTES_MAX

    def read(self, wanted: Wanted) -> Found:
        deliveries: list[Delivery] = []
        destination, known = wanted.destination, wanted.known
        has_more = False
        for row, due_ms, attempts, address, personal_to, faults, accepted_ms in self._rows(wanted):
            if row in known:
                continue
            number = row >> RECIPIENT_BITS
            if len(deliveries) == wanted.limit or (number not in self._messages and self.is_full):
                has_more = True
                break
            message = self._message(number)
            if message is not None:
                recipient = Recipient(row & _MASK, address, personal_to)
                deliveries.append(Delivery(row, message, recipient, attempts, due_ms, faults, accepted_ms))
            elif number in self.damaged:
                self.damaged[number].rows.append(row)
            # Else: settled by another connection since the row was read; the delivery is gone too.
        return Found(destination, deliveries, has_more, None if has_more else self._later(destination))

    def _rows(self, wanted: Wanted) -> Iterator[_Row]:
        arguments: tuple[int | str, ...]
        if wanted.tried_after_ms is None:
            statement, arguments = _DUE + self._condition, self._arguments
        else:
            statement, arguments = _DUE + _UNTRIED + self._condition, (wanted.tried_after_ms, *self._arguments)
        statement += _ORDER
        streams = [
            self._connection.execute(statement, (owner, wanted.destination, self._now_ms, *arguments))
            for owner in self._owners
        ]
        return iter(streams[0]) if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(1))

    def _message(self, number: int) -> Message | None:
        if number not in self._messages:
            message = None
            found = self._connection.execute(_MESSAGE, (number,)).fetchone()
            if found is not None:
                try:
                    message = read_message(self._bodies, found)
                except DamagedError:
                    self.damaged[number] = Damaged(MessageId(found[0]), [])
            self._messages[number] = message
            if message is not None and isinstance(message.body, bytes):
                self._size_bytes += len(message.body) + len(message.header)
        return self._messages[number]

    def _later(self, destination: str) -> int | None:
        times = [
            self._connection.execute(_LATER, (owner, destination, self._now_ms)).fetchone()[0] for owner in self._owners
        ]
        return min((time for time in times if time is not None), default=None)


def shut_hops(connection: sqlite3.Connection) -> tuple[ShutHop, ...]:
    """Read what was noted of next hops, without the destinations."""
    return tuple(ShutHop(*row) for row in connection.execute("SELECT hop, until_ms, reply, status FROM shut"))


def owners_present(connection: sqlite3.Connection) -> tuple[int, ...]:
    """List the owners that have deliveries: one step per owner, however many deliveries there are."""
    owners = []
    (owner,) = connection.execute("SELECT min(owner) FROM delivery").fetchone()
    while owner is not None:
        owners.append(owner)
        (owner,) = connection.execute("SELECT min(owner) FROM delivery WHERE owner > ?", (owner,)).fetchone()
    return tuple(owners)


def is_unclaimed(connection: sqlite3.Connection) -> bool:
    """Tell whether there are deliveries that no worker has claimed yet."""
    found = connection.execute("SELECT 1 FROM delivery WHERE owner = 0 AND held = 0 LIMIT 1").fetchone()
    return found is not None
