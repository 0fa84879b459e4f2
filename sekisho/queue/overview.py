"""The queue as people see it: sums by destination, deliveries, one message."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from sekisho.ids import MessageId
from sekisho.queue.model import Message
from sekisho.queue.records import read_envelope
from sekisho.queue.schema import RECIPIENT_BITS
from sekisho.queue.selection import Selection

_MASK: Final = (1 << RECIPIENT_BITS) - 1


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """One destination's part of the queue."""

    destination: str
    count: int
    held: int
    """Held by an operator, by id."""
    oldest_ms: int
    next_ms: int | None
    """None: all of it is held."""
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
    """1: by an operator, by id."""
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


_QUEUED: Final = (
    "SELECT delivery.row, message.id, delivery.row & ?, address, account, sender, key, accepted_ms, due_ms, attempts,"
    " held, reply, status, tried_ms FROM delivery JOIN message ON message.row = delivery.row >> ?"
)


def status(connection: sqlite3.Connection) -> tuple[DestinationStatus, ...]:
    """Sum up the queue by destination, the longest first."""
    replies: dict[str, str] = {
        destination: reply
        # SQLite: with max(), the bare column comes from the row that has the maximum.
        for destination, reply, _ in connection.execute(
            "SELECT destination, reply, max(tried_ms) FROM delivery WHERE tried_ms IS NOT NULL GROUP BY destination"
        )
    }
    return tuple(
        DestinationStatus(destination, count, held, oldest_ms, next_ms, replies.get(destination))
        for destination, count, held, oldest_ms, next_ms in connection.execute(
            "SELECT destination, count(*) AS deliveries, sum(held), min(accepted_ms),"
            " min(CASE WHEN held = 0 THEN due_ms END)"
            " FROM delivery GROUP BY destination ORDER BY deliveries DESC, destination"
        )
    )


def deliveries(connection: sqlite3.Connection, selection: Selection, limit: int) -> tuple[QueuedDelivery, ...]:
    """List what is selected, oldest message first."""
    conditions, arguments = selection.conditions()
    statement = f"{_QUEUED} WHERE {conditions} ORDER BY delivery.row LIMIT ?"
    found = connection.execute(statement, (_MASK, RECIPIENT_BITS, *arguments, limit))
    return tuple(QueuedDelivery(*columns) for columns in found)


def message(connection: sqlite3.Connection, message_id: MessageId) -> QueuedMessage | None:
    """Show one message with all that is left of it; None when it is not in the queue."""
    found = connection.execute(
        "SELECT envelope, length(header) + 2 + coalesce(body_size, length(body)) FROM message WHERE id = ?",
        (message_id,),
    ).fetchone()
    if found is None:
        return None
    envelope, size_bytes = found
    left = deliveries(connection, Selection(message_id), _MASK + 1)
    return QueuedMessage(read_envelope(message_id, envelope), size_bytes, left)
