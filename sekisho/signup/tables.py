"""New accounts on probation as stored."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Table

from sekisho.db import control

probation = Table(
    "probation",
    control,
    # An account that somebody opened himself: its credits are tight until its reputation lifts them.
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("since_ms", BigInteger, nullable=False),
    # NULL: still on probation.
    Column("lifted_ms", BigInteger, nullable=True),
)
