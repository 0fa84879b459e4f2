"""The tables of the event store."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from sekisho import db

BLOCKED: Final = "blocked"
"""In day counters a bounce of type ``blocked`` counts under this word: the two mean different things to a sender."""

event: Final = sa.Table(
    "event",
    db.events,
    # Order of arrival in this store, which readers keep their place by. Never given out twice.
    sa.Column("seq", db.ROW_ID, primary_key=True, autoincrement=True),
    sa.Column("account_id", sa.BigInteger, nullable=False),
    sa.Column("subuser_id", sa.BigInteger, nullable=True),
    sa.Column("key_id", sa.String(22), nullable=False),
    # 16 bytes; as bytes they sort by time of acceptance.
    sa.Column("message_id", sa.LargeBinary(16), nullable=False),
    sa.Column("recipient_index", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("email", sa.String(320), nullable=False),
    # The whole event as events.record encoded it; the columns beside it are what rows are found by.
    sa.Column("payload", sa.LargeBinary, nullable=False),
    # What makes a happening one happening, wherever it comes from a second time.
    sa.UniqueConstraint("message_id", "recipient_index", "attempt", "kind", name="event_once"),
    sa.Index("event_account", "account_id"),
    sqlite_autoincrement=True,
)

event_day: Final = sa.Table(
    "event_day",
    db.events,
    sa.Column("account_id", sa.BigInteger, primary_key=True, autoincrement=False),
    # 0: the account itself; a primary key holds no NULL.
    sa.Column("subuser_id", sa.BigInteger, primary_key=True, autoincrement=False),
    # UTC days since 1970-01-01, of the event's own time.
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    # The event's kind, or BLOCKED.
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)

mover_mark: Final = sa.Table(
    "mover_mark",
    db.events,
    sa.Column("spool", sa.String(64), primary_key=True),
    # Everything of that spool up to this outbox number is in this store.
    sa.Column("seq", sa.BigInteger, nullable=False),
)

event_unreadable: Final = sa.Table(
    "event_unreadable",
    db.events,
    # Outbox rows that are no event, set aside as they were found: a person decides, nothing waits behind them.
    sa.Column("id", db.ROW_ID, primary_key=True, autoincrement=True),
    sa.Column("spool", sa.String(64), nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("error", sa.String(500), nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)
