"""Copy what can be read of a damaged spool into a fresh one, row by row, counting what cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from sekisho.queue import schema
from sekisho.queue.records import read_envelope
from sekisho.queue.schema import RECIPIENT_BITS, Meta, NotASpoolError, SpoolTooNewError

_EVENT_LEAP: Final = 1 << 32
"""Added to the counters: sequences that were handed out, and then lost with a failed sync, are never used again."""

_MESSAGE_LEAP: Final = 1 << 20
_ROW_MAX: Final = (1 << 63) - 1

_COLUMNS: Final = {
    "message": "row, id, body_file, body_size, envelope, header, body",
    "delivery": "row, owner, held, destination, due_ms, attempts, account, sender, key, accepted_ms, address,"
    " personal_to, reply, status, tried_ms",
    "outbox": "seq, event",
    "daily": "key, day, count",
    "rate": "key, log, updated_ms",
}

_ADDED: Final = {"delivery": ("size", "faults"), "message": ("checksum", "body_checksum")}
"""Columns of later versions, with defaults: a damaged spool of before may be beyond upgrading and still be read."""

_UNREADABLE: Final = (sqlite3.Error, UnicodeDecodeError)
"""The second when the name of a column, or an error that quotes the file, is not text."""

_WAL_PAGES: Final = 8000
_COMMIT_EVERY: Final = 5000


@dataclass(slots=True)
class Salvaged:
    """What was carried over, and what is known to be lost."""

    messages: int = 0
    deliveries: int = 0
    events: int = 0
    lost_deliveries: int = 0
    """Deliveries that could be read but not their message."""
    orphan_messages: int = 0
    """Messages without any readable delivery: left in the old file."""
    damaged_places: int = 0
    """Places in the file that could not be read; each may have held any number of rows."""
    new_identity: bool = False
    """The spool's own name could not be read: it has a new one."""


def copy(old: Path, fresh: Path, now_ms: int) -> Salvaged:
    """Fill a fresh spool with what ``old`` still gives; all of it is synced when this returns."""
    salvaged = Salvaged()
    source = _open(old)
    if source is None:
        salvaged.damaged_places += 1
        salvaged.new_identity = True
        schema.create(fresh, now_ms)
        return salvaged
    with closing(source):
        identity = _read_identity(source)
        salvaged.new_identity = identity is None
        schema.create(fresh, now_ms, identity)
        with closing(schema.connect(fresh, wal_pages=_WAL_PAGES)) as target:
            # The file is synced as a whole before it gets its name.
            target.execute("PRAGMA synchronous=OFF")
            target.execute("BEGIN IMMEDIATE")
            _copy_mail(source, target, salvaged)
            _copy_events(source, target, salvaged)
            for table in ("daily", "rate"):
                _copy_unordered(source, target, table, salvaged)
            _count_on(source, target)
            _copy_clock(source, target)
            target.execute("COMMIT")
            # Everything into the one file that is renamed.
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return salvaged


def _open(old: Path) -> sqlite3.Connection | None:
    # An empty database is not opened: SQLite would delete the log beside it, which may hold the only copy.
    if not old.exists() or old.stat().st_size == 0:
        return None
    try:
        source = schema.connect(old, damaged=True)
    except _UNREADABLE:
        return None
    with suppress(*_UNREADABLE, SpoolTooNewError):
        schema.mend(source)
    return source


def _read_identity(source: sqlite3.Connection) -> Meta | None:
    try:
        with suppress(*_UNREADABLE):
            # An old schema is brought up to date first, as far as that is possible.
            schema.upgrade(source)
        return schema.read_meta(source)
    except (*_UNREADABLE, NotASpoolError):
        return None


def _columns(source: sqlite3.Connection, table: str) -> str:
    added = _ADDED.get(table, ())
    if added:
        with suppress(*_UNREADABLE):
            present = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
            return ", ".join([_COLUMNS[table], *(name for name in added if name in present)])
    return _COLUMNS[table]


def _copy_mail(source: sqlite3.Connection, target: sqlite3.Connection, salvaged: Salvaged) -> None:
    """Deliveries decide: a message is carried over with its first one, and one that has none stays behind."""
    last, present = -1, False
    columns, message_columns = _columns(source, "delivery"), _columns(source, "message")
    for delivery in _rows(source, "delivery", "row", columns, salvaged):
        number = delivery[0] >> RECIPIENT_BITS
        if number != last:
            last, present = number, _copy_message(source, target, number, message_columns)
            salvaged.messages += present
        if present and _insert(target, "delivery", columns, delivery):
            salvaged.deliveries += 1
            if not salvaged.deliveries % _COMMIT_EVERY:
                # In pieces, so that the log does not grow as large as the spool.
                target.execute("COMMIT")
                target.execute("BEGIN IMMEDIATE")
        else:
            salvaged.lost_deliveries += 1
    try:
        (messages,) = source.execute("SELECT count(*) FROM message").fetchone()
        salvaged.orphan_messages = max(0, messages - salvaged.messages)
    except _UNREADABLE:
        salvaged.damaged_places += 1


def _copy_message(source: sqlite3.Connection, target: sqlite3.Connection, number: int, columns: str) -> bool:
    try:
        message = source.execute(f"SELECT {columns} FROM message WHERE row = ?", (number,)).fetchone()
    except _UNREADABLE:
        return False
    # Its checksum goes with it, fitting or not: whoever reads it then sets it aside, where people find it.
    return message is not None and _is_sound(message) and _insert(target, "message", columns, message)


def _is_sound(message: tuple[Any, ...]) -> bool:
    """Damage can also look like data: a message must be one that the queue can read again."""
    _, message_id, body_file, _, envelope, header, body = message[:7]
    try:
        read_envelope(message_id, envelope)
    except msgspec.DecodeError:
        return False
    if body_file is not None and not isinstance(body_file, str):
        return False
    # The name becomes a path: only a plain one.
    return isinstance(header, bytes) and isinstance(body, bytes) and body_file in {None, Path(body_file or "").name}


def _copy_events(source: sqlite3.Connection, target: sqlite3.Connection, salvaged: Salvaged) -> None:
    columns = _COLUMNS["outbox"]
    for event in _rows(source, "outbox", "seq", columns, salvaged):
        salvaged.events += _insert(target, "outbox", columns, event)


def _copy_unordered(source: sqlite3.Connection, target: sqlite3.Connection, table: str, salvaged: Salvaged) -> None:
    """Counters of caps: what cannot be read is lost, and the keys concerned begin anew."""
    rows: list[tuple[Any, ...]] = []
    try:
        rows = source.execute(f"SELECT {_COLUMNS[table]} FROM {table}").fetchall()
    except _UNREADABLE:
        salvaged.damaged_places += 1
    for row in rows:
        _insert(target, table, _COLUMNS[table], row)


def _rows(
    source: sqlite3.Connection, table: str, key: str, columns: str, salvaged: Salvaged
) -> Iterator[tuple[Any, ...]]:
    """Read a table in order of its row numbers, leaping over what cannot be read: ever farther, until it can again."""
    after, leap = -1, 1
    while after < _ROW_MAX:
        try:
            for row in source.execute(
                f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}",
                (after,),
            ):
                after, leap = row[0], 1
                yield row
        except _UNREADABLE:
            if leap == 1:
                salvaged.damaged_places += 1
            after = min(after + leap, _ROW_MAX)
            leap *= 2
        else:
            return


def _insert(target: sqlite3.Connection, table: str, columns: str, row: tuple[Any, ...]) -> bool:
    """Store a row unless it breaks the schema: damage can also look like data."""
    try:
        target.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(row))})",
            row,
        )
    except (sqlite3.IntegrityError, sqlite3.DataError):
        return False
    return True


def _copy_clock(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Go on in the same time; without it what is queued counts as queued by the wall clock."""
    try:
        found = source.execute("SELECT offset_ms, seen_ms FROM clock").fetchone()
    except _UNREADABLE:
        return
    if found is not None and all(isinstance(value, int) for value in found):
        target.execute("UPDATE clock SET offset_ms = ?, seen_ms = ?", found)


def _count_on(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Set the counters beyond everything that was ever handed out, as far as can be known."""
    try:
        found = source.execute("SELECT next_message, next_event FROM counter").fetchone()
    except _UNREADABLE:
        found = None
    message, event = found or (0, 0)
    (last_delivery,) = target.execute("SELECT coalesce(max(row), 0) FROM delivery").fetchone()
    (last_event,) = target.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()
    target.execute(
        "UPDATE counter SET next_message = ?, next_event = ?",
        (
            max(message, last_delivery >> RECIPIENT_BITS) + _MESSAGE_LEAP,
            max(event, last_event) + _EVENT_LEAP,
        ),
    )
