"""The operations on a spool, and how a batch of them is carried out inside one transaction.

Everything that can fail in Python (encoding, checking) was done when the operation was made: here is only SQL, and
what it raises concerns the transaction as a whole.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.ports.clock import DAY_MS
from sekisho.queue import caps
from sekisho.queue.caps import Ledger
from sekisho.queue.model import BodyFile, Deferred, Delivery, Message, NewMessage
from sekisho.queue.multirow import Insert, WithRows
from sekisho.queue.records import checksum
from sekisho.queue.schema import RECIPIENT_BITS
from sekisho.queue.spool import HopState, OpenHop, Settlement
from sekisho.refusal import Refused

INSERT_MESSAGE: Final = Insert(
    "message", "row, id, body_file, body_size, envelope, header, body, checksum, body_checksum"
)
INSERT_DELIVERY: Final = Insert(
    "delivery",
    "row, owner, held, destination, due_ms, attempts, account, sender, key, accepted_ms, address, personal_to, size",
    "?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?",
)
INSERT_EVENT: Final = Insert("outbox", "seq, event")
SET_ASIDE: Final = 2
"""``held``: not by an operator, but after faults of our own."""
_SHUT_KEPT_MS: Final = DAY_MS
"""Longer than any pause: what was noted so long ago is of a worker that never came to say that the hop was back."""
FINISH: Final = "DELETE FROM delivery WHERE row = ? AND attempts = ?"
_FINISH_MANY: Final = WithRows("DELETE FROM delivery WHERE attempts = ? AND row IN ({rows})")
_DEFER: Final = (
    "UPDATE delivery SET attempts = attempts + 1, due_ms = ?, reply = ?, status = ?, tried_ms = ?, faults = ?,"
    f" held = CASE WHEN ? THEN {SET_ASIDE} ELSE held END WHERE row = ? AND attempts = ?"
)
_SET_ASIDE: Final = WithRows(
    f"UPDATE delivery SET held = {SET_ASIDE}, reply = ?, status = ?, tried_ms = ? WHERE held = 0 AND row IN ({{rows}})"
)
_END_MESSAGES: Final = WithRows(
    "DELETE FROM message WHERE row IN ({rows})"
    " AND NOT EXISTS (SELECT 1 FROM delivery"
    f" WHERE delivery.row >= message.row << {RECIPIENT_BITS} AND delivery.row < (message.row + 1) << {RECIPIENT_BITS})"
)
_CLAIM: Final = (
    "UPDATE delivery SET owner = ? WHERE row IN"
    " (SELECT row FROM delivery WHERE owner = 0 AND held = 0 LIMIT ?) RETURNING row, destination"
)


class Append:
    """Store messages with their deliveries, or count them against their caps and refuse them: all or none."""

    __slots__ = ("answer", "envelopes", "error", "events", "future", "news")

    def __init__(
        self,
        news: tuple[NewMessage, ...],
        envelopes: tuple[bytes, ...],
        events: Sequence[bytes],
        future: asyncio.Future[tuple[Delivery, ...] | Refused],
    ) -> None:
        self.news = news
        self.envelopes = envelopes
        self.events = events
        self.future = future
        self.answer: tuple[Delivery, ...] | Refused | None = None
        self.error: Exception | None = None


class Settle:
    """Record what an attempt came to, with its events."""

    __slots__ = ("answer", "error", "events", "future", "settlement")

    def __init__(self, settlement: Settlement, events: Sequence[bytes], future: asyncio.Future[bool]) -> None:
        self.settlement = settlement
        self.events = events
        self.future = future
        self.answer = False
        self.error: Exception | None = None


class Claim:
    """Take over a few deliveries that were appended by processes without a slot."""

    __slots__ = ("answer", "error", "limit", "slot")

    def __init__(self, slot: int, limit: int) -> None:
        self.slot = slot
        self.limit = limit
        self.answer: Sequence[tuple[int, str]] = ()
        self.error: Exception | None = None


class Note:
    """Write down what became of a next hop."""

    __slots__ = ("error", "state")

    def __init__(self, state: HopState) -> None:
        self.state = state
        self.error: Exception | None = None


class SetAside:
    """Keep deliveries from being tried, and say why: their message is not what was accepted any more."""

    __slots__ = ("error", "reply", "rows", "status")

    def __init__(self, rows: Sequence[int], reply: str, status: str) -> None:
        self.rows = rows
        self.reply = reply
        self.status = status
        self.error: Exception | None = None


Operation = Append | Settle | Claim | Note | SetAside


@dataclass(slots=True)
class Numbers:
    """The counters of the spool while a transaction uses them."""

    next_message: int
    next_event: int
    changed: bool = False

    @classmethod
    def read(cls, cursor: sqlite3.Cursor) -> Numbers:
        return cls(*cursor.execute("SELECT next_message, next_event FROM counter").fetchone())

    def write(self, cursor: sqlite3.Cursor) -> None:
        if self.changed:
            cursor.execute("UPDATE counter SET next_message = ?, next_event = ?", (self.next_message, self.next_event))

    def take_message(self) -> int:
        self.changed = True
        self.next_message += 1
        return self.next_message - 1

    def number(self, events: Iterable[bytes]) -> list[tuple[int, bytes]]:
        """Give events their places in the outbox."""
        self.changed = True
        rows = list(enumerate(events, self.next_event))
        self.next_event += len(rows)
        return rows


class SomeGone(Exception):
    """Not all that is to be settled was there; which, only settling one by one can tell."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What the caller does once the transaction is committed."""

    ended_bodies: tuple[Path, ...]
    """Files whose message is gone."""
    written_bytes: int
    """About how much the log grew: says when to checkpoint."""


def apply(
    connection: sqlite3.Connection,
    batch: Sequence[Operation],
    *,
    owner: int,
    now_ms: int,
    wall_ms: int,
    one_by_one: bool = False,
) -> Applied:
    """Carry out a batch inside an open transaction, leaving each operation's answer in it.

    ``now_ms`` is the spool's own time, ``wall_ms`` the wall clock's. May be called again for the same operations after
    a rollback. Raises SomeGone, unless ``one_by_one``.
    """
    cursor = connection.cursor()
    numbers = Numbers.read(cursor)
    appends: list[Append] = []
    settles: list[Settle] = []
    for operation in batch:
        if type(operation) is Append:
            appends.append(operation)
        elif type(operation) is Settle:
            settles.append(operation)
        elif type(operation) is Claim:
            cursor.execute(_CLAIM, (operation.slot, operation.limit))
            operation.answer = cursor.fetchall()
        elif type(operation) is Note:
            _note(cursor, operation.state, now_ms)
        elif type(operation) is SetAside:
            _SET_ASIDE(cursor, operation.rows, operation.reply, operation.status, wall_ms)
    events: list[bytes] = []
    # First what leaves: its pages are used again by what comes, in the same commit.
    ended = _settle(cursor, settles, events, one_by_one=one_by_one)
    written = _append(cursor, appends, events, numbers, owner=owner, now_ms=now_ms, wall_ms=wall_ms)
    if events:
        INSERT_EVENT(cursor, numbers.number(events))
    numbers.write(cursor)
    return Applied(ended, written + 2048 * len(batch))


def _settle(
    cursor: sqlite3.Cursor, settles: Sequence[Settle], events: list[bytes], *, one_by_one: bool
) -> tuple[Path, ...]:
    finals: dict[int, list[Settle]] = {}
    ended: dict[int, BodyFile | None] = {}
    for operation in settles:
        delivery, outcome = operation.settlement.delivery, operation.settlement.outcome
        if type(outcome) is Deferred:
            cursor.execute(
                _DEFER,
                (
                    outcome.next_ms,
                    outcome.reply,
                    outcome.status,
                    operation.settlement.at_ms,
                    outcome.faults,
                    outcome.is_set_aside,
                    delivery.row,
                    delivery.attempts,
                ),
            )
            operation.answer = cursor.rowcount == 1
        else:
            finals.setdefault(delivery.attempts, []).append(operation)
    for attempts, operations in finals.items():
        _finish(cursor, operations, attempts, one_by_one=one_by_one)
    for operation in settles:
        if operation.answer:
            events += operation.events
            if type(operation.settlement.outcome) is not Deferred:
                delivery = operation.settlement.delivery
                body = delivery.message.body
                ended[delivery.row >> RECIPIENT_BITS] = body if type(body) is BodyFile else None
    return end_messages(cursor, ended)


def _finish(cursor: sqlite3.Cursor, operations: Sequence[Settle], attempts: int, *, one_by_one: bool) -> None:
    """Remove deliveries that are over; each operation's answer says whether its own was there."""
    rows = [operation.settlement.delivery.row for operation in operations]
    if one_by_one:
        for operation, row in zip(operations, rows, strict=True):
            cursor.execute(FINISH, (row, attempts))
            operation.answer = cursor.rowcount == 1
        return
    # Seldom has somebody dropped one meanwhile: no savepoint is paid for that, the whole batch is done again.
    if len(set(rows)) != len(rows) or _FINISH_MANY(cursor, rows, attempts) != len(rows):
        raise SomeGone
    for operation in operations:
        operation.answer = True


def end_messages(cursor: sqlite3.Cursor, ended: dict[int, BodyFile | None]) -> tuple[Path, ...]:
    """Remove those of the messages that have no delivery left; the body files that may go after the commit."""
    _END_MESSAGES(cursor, [row for row, body in ended.items() if body is None])
    files = []
    for row, body in ended.items():
        if body is not None and _END_MESSAGES(cursor, [row]) == 1:
            files.append(body.path)
    return tuple(files)


def _append(
    cursor: sqlite3.Cursor,
    appends: Sequence[Append],
    events: list[bytes],
    numbers: Numbers,
    *,
    owner: int,
    now_ms: int,
    wall_ms: int,
) -> int:
    ledger: Ledger | None = None
    messages: list[tuple[object, ...]] = []
    deliveries: list[tuple[object, ...]] = []
    written = 0
    for operation in appends:
        # What is handed in together is of one identity, and counted at once.
        counted = operation.news[0].caps
        if counted is not None:
            if ledger is None:
                ledger = Ledger(cursor, now_ms, wall_ms)
            refused = ledger.admit(counted, sum([len(new.recipients) for new in operation.news]))
            if refused is not None:
                operation.answer = refused
                continue
        events += operation.events
        made: list[Delivery] = []
        for new, envelope in zip(operation.news, operation.envelopes, strict=True):
            if not new.dropped_reason:
                row = numbers.take_message()
                message = _message_row(row, new.message, envelope)
                messages.append(message)
                written += len(message[5]) + len(message[6])
                _add_deliveries(row, new, deliveries, made, owner=owner, now_ms=now_ms)
        operation.answer = tuple(made)
    if messages:
        INSERT_MESSAGE(cursor, messages)
        INSERT_DELIVERY(cursor, deliveries)
    if ledger is not None:
        ledger.write()
    return written + 256 * len(deliveries)


_MessageRow = tuple[int, bytes, str | None, int | None, bytes, bytes, bytes, int, int | None]


def _message_row(row: int, message: Message, envelope: bytes) -> _MessageRow:
    """What INSERT_MESSAGE is given."""
    header, body = message.header, message.body
    if type(body) is bytes:
        return row, message.id, None, None, envelope, header, body, checksum(envelope, header, body), None
    assert isinstance(body, BodyFile)  # noqa: S101  # the union has no third member
    written_as = checksum(envelope, header, b"", body)
    return row, message.id, body.path.name, body.size_bytes, envelope, header, b"", written_as, body.checksum


def _add_deliveries(
    row: int,
    new: NewMessage,
    rows: list[tuple[object, ...]],
    made: list[Delivery],
    *,
    owner: int,
    now_ms: int,
) -> None:
    """Add what INSERT_DELIVERY is given, and the deliveries that it stands for, unless they are held."""
    message = new.message
    first = row << RECIPIENT_BITS
    account, sender, key, size_bytes = message.account_id, message.sender_id, message.key_id, message.size_bytes
    held = 1 if new.is_held else 0
    for recipient in new.recipients:
        number = first + recipient.index
        address = recipient.address
        destination = address[address.rfind("@") + 1 :]
        rows.append(
            (
                number,
                owner,
                held,
                destination,
                now_ms,
                account,
                sender,
                key,
                now_ms,
                address,
                recipient.personal_to,
                size_bytes,
            )
        )
        if not held:
            made.append(Delivery(number, message, recipient, 0, now_ms, accepted_ms=now_ms))


def _note(cursor: sqlite3.Cursor, state: HopState, now_ms: int) -> None:
    if isinstance(state, OpenHop):
        forget_hop(cursor, state.hop)
        return
    old = cursor.execute("SELECT hop FROM shut WHERE until_ms < ?", (now_ms - _SHUT_KEPT_MS,)).fetchall()
    for (hop,) in old:
        forget_hop(cursor, hop)
    cursor.execute(
        "INSERT OR REPLACE INTO shut (hop, until_ms, reply, status) VALUES (?, ?, ?, ?)",
        (state.hop, state.until_ms, state.reply, state.status),
    )
    cursor.executemany(
        "INSERT OR IGNORE INTO shut_destination (destination, hop) VALUES (?, ?)",
        [(destination, state.hop) for destination in state.destinations],
    )


def forget_hop(cursor: sqlite3.Cursor, hop: str) -> None:
    """A next hop is no longer out of reach, as far as anybody knows."""
    cursor.execute("DELETE FROM shut_destination WHERE hop = ?", (hop,))
    cursor.execute("DELETE FROM shut WHERE hop = ?", (hop,))


def prune(connection: sqlite3.Connection, now_ms: int, wall_ms: int) -> None:
    """Housekeeping inside an open transaction, now and then."""
    caps.prune(connection.cursor(), now_ms, wall_ms)
