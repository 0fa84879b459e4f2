"""Allow lists and who tried, as stored."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from sekisho.db import control

access_rule = Table(
    "access_rule",
    control,
    # Random: a number that counts would tell how many lists others keep.
    Column("id", Integer, primary_key=True, autoincrement=False),
    # The account or subuser whose keys and people it is about.
    Column("owner_id", ForeignKey("account.id"), nullable=False),
    # "192.0.2.0/24": what the vendor shows too.
    Column("network", String(43), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    UniqueConstraint("owner_id", "network", name="access_rule_once"),
)

# A list that was changed on trial: unless it is confirmed, the one before it comes back.
access_pending = Table(
    "access_pending",
    control,
    Column("owner_id", ForeignKey("account.id"), primary_key=True, autoincrement=False),
    Column("until_ms", BigInteger, nullable=False),
    # JSON: the last list that was confirmed (reading.Rule).
    Column("previous", Text, nullable=False),
)

access_activity = Table(
    "access_activity",
    control,
    Column("owner_id", ForeignKey("account.id"), primary_key=True, autoincrement=False),
    Column("address", String(45), primary_key=True),
    # activity.Method.
    Column("method", String(8), primary_key=True),
    Column("allowed", Boolean, primary_key=True),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    # When a refusal was last written to the audit log; NULL: never.
    Column("audited_ms", BigInteger, nullable=True),
)

Index("access_activity_newest", access_activity.c.owner_id, access_activity.c.last_ms)
