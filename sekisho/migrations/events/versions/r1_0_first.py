"""The first schema of the event store: events, day counters, the mover's marks, what could not be read.

Before the code switch: there is nothing to be compatible with yet.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "1.0"
down_revision: Final = None
branch_labels: Final = None
depends_on: Final = None

ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "event",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("subuser_id", sa.BigInteger(), nullable=True),
        sa.Column("key_id", sa.String(length=22), nullable=False),
        sa.Column("message_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("recipient_index", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_event")),
        sa.UniqueConstraint("message_id", "recipient_index", "attempt", "kind", name="event_once"),
        sqlite_autoincrement=True,
    )
    op.create_index("event_account", "event", ["account_id"], unique=False)
    op.create_table(
        "event_day",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subuser_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "subuser_id", "day", "kind", name=op.f("pk_event_day")),
    )
    op.create_table(
        "event_unreadable",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(length=500), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_unreadable")),
    )
    op.create_table(
        "mover_mark",
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("spool", name=op.f("pk_mover_mark")),
    )
