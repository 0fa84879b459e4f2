"""People as stored."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table

from sekisho.db import ROW_ID, control

user = Table(
    "user",
    control,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    # The account or subuser that this person logs in to.
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("email", String(254), nullable=False),
    # Argon2id in PHC form: algorithm, costs, salt and digest in one text.
    Column("password", String(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

Index("user_account", user.c.account_id)
