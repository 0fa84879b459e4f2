"""The queue as people see it: sums by destination, deliveries, one message."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sekisho.ids import MessageId, last_meant
from sekisho.queue.model import Message
from sekisho.queue.records import read_envelope
from sekisho.queue.schema import RECIPIENT_BITS
from sekisho.queue.selection import Selection
from sekisho.queue.spool import ShutHop
from sekisho.queue.timeline import AHEAD
from sekisho.queue.transaction import SET_ASIDE

_MASK: Final = (1 << RECIPIENT_BITS) - 1


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """One destination's part of the queue."""

    destination: str
    count: int
    size_bytes: int
    """To be sent: a message counts for each recipient."""
    held: int
    """Held by an operator, by id."""
    set_aside: int
    """Not tried any more after faults of our own."""
    oldest_ms: int
    next_ms: int | None
    """When the first is tried again; None: all of it is held or set aside."""
    shut: ShutHop | None
    """The next hop that it waits for."""
    last_reply: str | None


@dataclass(frozen=True, slots=True)
class QueuedDelivery:
    """One delivery, for people."""

    row: int
    message_id: MessageId
    index: int
    address: str
    account: int
    sender: int
    key: str
    accepted_ms: int
    due_ms: int
    attempts: int
    held: int
    """1: by an operator, by id; 2: set aside after faults of our own."""
    reply: str | None
    status: str | None
    tried_ms: int | None


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """One message, for people: the envelope, how large it is, and what is left of it."""

    message: Message
    """Without its content."""
    size_bytes: int
    deliveries: tuple[QueuedDelivery, ...]


# People read the time of the wall.
_QUEUED: Final = (
    "SELECT delivery.row, message.id, delivery.row & ?, address, account, sender, key,"
    f" accepted_ms - {AHEAD}, due_ms - {AHEAD}, attempts,"
    " held, reply, status, tried_ms FROM delivery JOIN message ON message.row = delivery.row >> ?"
)


# Both of these read the index alone, in its order; the few groups of each are put together here.
_SUMS: Final = (
    "SELECT destination, held, count(*), sum(size), min(accepted_ms), min(due_ms) FROM delivery"
    " GROUP BY owner, held, destination"
)
# SQLite: with max(), the bare column comes from the row that has the maximum.
_LAST: Final = "SELECT destination, max(tried_ms), row FROM delivery GROUP BY owner, held, destination"


def status(connection: sqlite3.Connection) -> tuple[DestinationStatus, ...]:
    """Sum up the queue by destination, the longest first."""
    last: dict[str, tuple[int, int]] = {}
    for destination, tried_ms, row in connection.execute(_LAST):
        if tried_ms is not None:
            last[destination] = max((tried_ms, row), last.get(destination, (0, 0)))
    shut = _shut(connection)
    parts: dict[str, list[_Part]] = {}
    (ahead_ms,) = connection.execute("SELECT offset_ms FROM clock").fetchone()
    for destination, held, count, size_bytes, oldest_ms, next_ms in connection.execute(_SUMS):
        part = _Part(held, count, size_bytes, oldest_ms - ahead_ms, next_ms - ahead_ms)
        parts.setdefault(destination, []).append(part)
    found = [
        _destination(destination, each, shut.get(destination), _reply(connection, last.get(destination)))
        for destination, each in parts.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.count, each.destination)))


class _Part(NamedTuple):
    """What one owner has for a destination, held in one way."""

    held: int
    deliveries: int
    size_bytes: int
    oldest_ms: int
    next_ms: int


def _destination(
    destination: str, parts: Sequence[_Part], shut: ShutHop | None, last_reply: str | None
) -> DestinationStatus:
    next_ms = min((part.next_ms for part in parts if not part.held), default=None)
    if shut is not None and next_ms is not None:
        next_ms = max(next_ms, shut.until_ms)
    return DestinationStatus(
        destination,
        sum(part.deliveries for part in parts),
        sum(part.size_bytes for part in parts),
        sum(part.deliveries for part in parts if part.held == 1),
        sum(part.deliveries for part in parts if part.held == SET_ASIDE),
        min(part.oldest_ms for part in parts),
        next_ms,
        shut,
        last_reply,
    )


def _reply(connection: sqlite3.Connection, last: tuple[int, int] | None) -> str | None:
    found = None if last is None else connection.execute("SELECT reply FROM delivery WHERE row = ?", last[1:])
    row = None if found is None else found.fetchone()
    return None if row is None else row[0]


def _shut(connection: sqlite3.Connection) -> dict[str, ShutHop]:
    """What each destination waits for; of several next hops, the one that is asked first."""
    found = connection.execute(
        f"SELECT destination, shut.hop, until_ms - {AHEAD}, reply, status FROM shut_destination JOIN shut USING (hop)"
        " ORDER BY until_ms DESC"
    )
    return {destination: ShutHop(*columns) for destination, *columns in found}


def deliveries(connection: sqlite3.Connection, selection: Selection, limit: int) -> tuple[QueuedDelivery, ...]:
    """List what is selected, oldest message first."""
    conditions, arguments = selection.conditions()
    statement = f"{_QUEUED} WHERE {conditions} ORDER BY delivery.row LIMIT ?"
    found = connection.execute(statement, (_MASK, RECIPIENT_BITS, *arguments, limit))
    return tuple(QueuedDelivery(*columns) for columns in found)


def message(connection: sqlite3.Connection, message_id: MessageId) -> QueuedMessage | None:
    """Show one message with all that is left of it, and of its request; None when it is not in the queue."""
    found = connection.execute(
        "SELECT envelope, length(header) + 2 + coalesce(body_size, length(body)) FROM message"
        " WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1",
        (message_id, last_meant(message_id)),
    ).fetchone()
    if found is None:
        return None
    envelope, size_bytes = found
    left = deliveries(connection, Selection(message_id), _MASK + 1)
    return QueuedMessage(read_envelope(message_id, envelope), size_bytes, left)
