"""What a worker reads from the spool: where something is due, and what."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

from sekisho.queue.model import Delivery, Message, Recipient
from sekisho.queue.records import MESSAGE_COLUMNS, read_message
from sekisho.queue.schema import RECIPIENT_BITS
from sekisho.queue.spool import DestinationDue, HeldSenders

READ_BYTES_MAX: Final = 32 << 20
"""Content that one answer of ``due`` holds in memory at most (but always one message)."""

_DUE: Final = (
    "SELECT row, due_ms, attempts, address, personal_to FROM delivery"
    " WHERE owner = ? AND held = 0 AND destination = ? AND due_ms <= ?"
)
# The held senders are compared inside SQLite, which lets the loop run meanwhile: a held account may have a long queue.
_NOT_HELD: Final = " AND sender NOT IN (SELECT value FROM json_each(?)) AND key NOT IN (SELECT value FROM json_each(?))"
_ORDER: Final = " ORDER BY due_ms, row"
_MESSAGE: Final = f"SELECT {MESSAGE_COLUMNS} FROM message WHERE row = ?"

_MASK: Final = (1 << RECIPIENT_BITS) - 1

_Row = tuple[int, int, int, str, str]


def destinations(connection: sqlite3.Connection, owners: Iterable[int], now_ms: int) -> tuple[DestinationDue, ...]:
    """Sum up, per destination, what the owners have that no operator holds."""
    found: dict[str, DestinationDue] = {}
    for owner in owners:
        for row in connection.execute(
            "SELECT destination, count(*), min(due_ms), min(CASE WHEN due_ms > ?1 THEN due_ms END)"
            " FROM delivery WHERE owner = ?2 AND held = 0 GROUP BY destination",
            (now_ms, owner),
        ):
            one = DestinationDue(*row)
            other = found.get(one.destination)
            found[one.destination] = one if other is None else _together(one, other)
    return tuple(found.values())


def _together(one: DestinationDue, other: DestinationDue) -> DestinationDue:
    later = [each.later_ms for each in (one, other) if each.later_ms is not None]
    return DestinationDue(
        one.destination, one.count + other.count, min(one.next_ms, other.next_ms), min(later, default=None)
    )


def due(
    connection: sqlite3.Connection,
    *,
    owners: Sequence[int],
    destination: str,
    now_ms: int,
    limit: int,
    known: Collection[int],
    held: HeldSenders,
    bodies: Path,
) -> tuple[Delivery, ...]:
    """Read due deliveries of one destination, oldest first; those of one message share it.

    May be fewer than ``limit`` although more are due, when they are large.
    """
    deliveries: list[Delivery] = []
    messages: dict[int, Message | None] = {}
    size_bytes = 0
    for row, due_ms, attempts, address, personal_to in _rows(connection, owners, destination, now_ms, held):
        if row in known:
            continue
        number = row >> RECIPIENT_BITS
        if number not in messages:
            if size_bytes >= READ_BYTES_MAX:
                break
            message = messages[number] = _read_message(connection, number, bodies)
            if message is not None and isinstance(message.body, bytes):
                size_bytes += len(message.body) + len(message.header)
        message = messages[number]
        # None: settled by another connection since the row was read; the delivery is gone too.
        if message is not None:
            deliveries.append(Delivery(row, message, Recipient(row & _MASK, address, personal_to), attempts, due_ms))
            if len(deliveries) == limit:
                break
    return tuple(deliveries)


def _rows(
    connection: sqlite3.Connection, owners: Sequence[int], destination: str, now_ms: int, held: HeldSenders
) -> Iterator[_Row]:
    statement = _DUE
    arguments: tuple[str, ...] = ()
    if held.senders or held.keys:
        statement += _NOT_HELD
        arguments = (json.dumps(list(held.senders)), json.dumps(list(held.keys)))
    statement += _ORDER
    streams = [connection.execute(statement, (owner, destination, now_ms, *arguments)) for owner in owners]
    return iter(streams[0]) if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(1, 0))


def _read_message(connection: sqlite3.Connection, number: int, bodies: Path) -> Message | None:
    found = connection.execute(_MESSAGE, (number,)).fetchone()
    return None if found is None else read_message(bodies, found)


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
