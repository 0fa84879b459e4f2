"""The event store: append a batch from a spool's outbox exactly once, and read from a position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from sekisho.db import Database
from sekisho.events.model import Event, EventKind
from sekisho.events.record import decode
from sekisho.events.tables import BLOCKED, event, event_day, event_unreadable, mover_mark
from sekisho.ids import MessageId, last_meant
from sekisho.ports.clock import DAY_MS
from sekisho.queue.model import BounceType

__all__ = [
    "EVERYTHING",
    "Moved",
    "Page",
    "Selection",
    "Stored",
    "Unreadable",
    "append_batch",
    "before_last",
    "mark",
    "read",
]

_ERROR_MAX: Final = 500
_KEYS_PER_QUERY: Final = 500


@dataclass(frozen=True, slots=True)
class Moved:
    """An outbox row that is an event; ``payload`` is its bytes, stored as they are."""

    seq: int
    event: Event
    payload: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An outbox row that is not."""

    seq: int
    payload: bytes
    error: str
    found_ms: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An event and its place in the store."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order of arrival, and the position to read on from: nothing up to it is left to be seen."""

    events: Sequence[Stored]
    position: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events; None means all. ``account_id`` includes its subusers' events."""

    account_id: int | None = None
    subuser_id: int | None = None
    key_id: str | None = None
    message_id: bytes | None = None
    kind: EventKind | None = None


EVERYTHING: Final = Selection()


def append_batch(database: Database, spool: str, rows: Sequence[Moved | Unreadable]) -> int:
    """Store outbox rows (ascending ``seq``) of one spool; how many events were new.

    Rows, day counters and the spool's high-water mark become true together, synced; a batch may be repeated after any
    crash. Rows at or below the mark were stored before and are stored only if their happening is unknown all the same:
    a spool that was copied back from a backup numbers new events with old numbers.
    """
    if not rows:
        return 0
    with database.begin() as tx:
        before = _advance(tx, spool, rows[-1].seq)
        _set_aside(tx, spool, [row for row in rows if isinstance(row, Unreadable)])
        moved = [row for row in rows if isinstance(row, Moved)]
        return _append(tx, moved, repeated=rows[0].seq <= before)


def mark(database: Database, spool: str) -> int:
    """Outbox number up to which everything of ``spool`` is stored; 0 when nothing is."""
    with database.connect() as connection:
        return _mark(connection, spool) or 0


def read(database: Database, after: int, limit: int, selection: Selection = EVERYTHING) -> Page:
    """Read up to ``limit`` events behind position ``after``, in order of arrival."""
    query = _selected(sa.select(event.c.seq, event.c.payload), selection)
    with database.connect() as connection:
        found = connection.execute(query.where(event.c.seq > after).order_by(event.c.seq).limit(limit)).all()
        # Everything up to the end was looked at, unless the page was too small for it.
        position = found[-1].seq if len(found) == limit else max(after, _end(connection))
    return Page([Stored(row.seq, decode(row.payload)) for row in found], position)


def before_last(database: Database, count: int, selection: Selection = EVERYTHING) -> int:
    """Find the position behind which the newest ``count`` events lie."""
    query = _selected(sa.select(event.c.seq), selection).order_by(event.c.seq.desc())
    with database.connect() as connection:
        if count == 0:
            return _end(connection)
        first = connection.execute(query.limit(1).offset(count - 1)).scalar()
    return 0 if first is None else first - 1


def _end(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.max(event.c.seq))).scalar() or 0


_Query = TypeVar("_Query", bound=sa.Select[Any])


def _selected(query: _Query, selection: Selection) -> _Query:
    if selection.account_id is not None:
        query = query.where(event.c.account_id == selection.account_id)
    if selection.subuser_id is not None:
        query = query.where(event.c.subuser_id == selection.subuser_id)
    if selection.key_id is not None:
        query = query.where(event.c.key_id == selection.key_id)
    if selection.message_id is not None:
        last = last_meant(MessageId(selection.message_id))
        query = query.where(event.c.message_id.between(selection.message_id, last))
    if selection.kind is not None:
        query = query.where(event.c.kind == selection.kind.value)
    return query


def _mark(connection: sa.Connection, spool: str) -> int | None:
    return connection.execute(sa.select(mover_mark.c.seq).where(mover_mark.c.spool == spool)).scalar()


def _advance(tx: sa.Connection, spool: str, to: int) -> int:
    """Move the mark, never back; where it stood."""
    before = _mark(tx, spool)
    if before is None:
        tx.execute(sa.insert(mover_mark).values(spool=spool, seq=to))
    elif before < to:
        tx.execute(sa.update(mover_mark).where(mover_mark.c.spool == spool).values(seq=to))
    return before or 0


def _append(tx: sa.Connection, rows: Sequence[Moved], *, repeated: bool) -> int:
    if repeated:
        rows = _without_known(tx, rows)
    if not rows:
        return 0
    try:
        # The ordinary case costs no question: nothing of the batch was ever stored.
        with tx.begin_nested():
            tx.execute(sa.insert(event), [_columns(row) for row in rows])
    except sa.exc.IntegrityError:
        # The same happenings under other numbers: a salvaged spool tells under a new name what the old one told.
        rows = _without_known(tx, rows)
        if rows:
            tx.execute(sa.insert(event), [_columns(row) for row in rows])
    _count(tx, rows)
    return len(rows)


def _columns(row: Moved) -> dict[str, Any]:
    happened = row.event
    return {
        "account_id": happened.account_id,
        "subuser_id": happened.subuser_id,
        "key_id": happened.key_id,
        "message_id": happened.message_id,
        "recipient_index": happened.recipient_index,
        "attempt": happened.attempt,
        "kind": happened.kind.value,
        "at_ms": happened.at_ms,
        "email": happened.email,
        "payload": row.payload,
    }


_Key = tuple[bytes, int, int, str]


def _key(happened: Event) -> _Key:
    return happened.message_id, happened.recipient_index, happened.attempt, happened.kind.value


def _without_known(tx: sa.Connection, rows: Sequence[Moved]) -> Sequence[Moved]:
    messages = list({row.event.message_id for row in rows})
    known: set[_Key] = set()
    for start in range(0, len(messages), _KEYS_PER_QUERY):
        batch = messages[start : start + _KEYS_PER_QUERY]
        query = sa.select(event.c.message_id, event.c.recipient_index, event.c.attempt, event.c.kind)
        found = tx.execute(query.where(event.c.message_id.in_(batch)))
        known.update((row.message_id, row.recipient_index, row.attempt, row.kind) for row in found)
    new = []
    for row in rows:
        if (key := _key(row.event)) not in known:
            known.add(key)
            new.append(row)
    return new


def _count(tx: sa.Connection, rows: Sequence[Moved]) -> None:
    counts = Counter(
        (
            row.event.account_id,
            row.event.subuser_id or 0,
            row.event.at_ms // DAY_MS,
            BLOCKED if row.event.type == BounceType.BLOCKED else row.event.kind.value,
        )
        for row in rows
    )
    for (account_id, subuser_id, day, kind), count in counts.items():
        cell = (
            (event_day.c.account_id == account_id)
            & (event_day.c.subuser_id == subuser_id)
            & (event_day.c.day == day)
            & (event_day.c.kind == kind)
        )
        added = tx.execute(sa.update(event_day).where(cell).values(count=event_day.c.count + count))
        if added.rowcount == 0:
            tx.execute(
                sa.insert(event_day).values(
                    account_id=account_id, subuser_id=subuser_id, day=day, kind=kind, count=count
                )
            )


def _set_aside(tx: sa.Connection, spool: str, rows: Sequence[Unreadable]) -> None:
    table = event_unreadable
    for row in rows:
        same = (table.c.spool == spool) & (table.c.seq == row.seq) & (table.c.payload == row.payload)
        if tx.execute(sa.select(table.c.id).where(same)).first() is None:
            tx.execute(
                sa.insert(table).values(
                    spool=spool,
                    seq=row.seq,
                    at_ms=row.found_ms,
                    # The one character that PostgreSQL keeps in no text.
                    error=row.error[:_ERROR_MAX].replace("\0", "\ufffd"),
                    payload=row.payload,
                )
            )
