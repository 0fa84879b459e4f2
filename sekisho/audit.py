"""Who changed what, whose, and when: one row per change, in the change's own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, String, Table, Text, insert

from sekisho.db import ROW_ID, control

audit = Table(
    "audit",
    control,
    # Never reused (AUTOINCREMENT): a gap at the end would hide a removed row.
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    # "operator:<unix user>" for commands.
    Column("actor", String(200), nullable=False),
    # "key.revoke": subject.action.
    Column("action", String(60), nullable=False),
    # Whose it is: the account or subuser concerned. No foreign key, the row outlives everything it names.
    Column("account_id", BigInteger, nullable=True),
    # The thing itself: a key id, a domain, a name.
    Column("subject", String(255), nullable=False),
    # JSON object; never a secret.
    Column("details", Text, nullable=False),
    sqlite_autoincrement=True,
)

Index("audit_account", audit.c.account_id, audit.c.id)


@dataclass(frozen=True, slots=True)
class By:
    """Who does it, and when: what every change is told by its caller."""

    actor: str
    at_ms: int


Detail = str | int | bool | None | Sequence[str]


def record(
    tx: Connection,
    *,
    by: By,
    action: str,
    account_id: int | None,
    subject: str,
    details: Mapping[str, Detail] | None = None,
) -> None:
    """Write the row; commits and vanishes together with the change that it tells of."""
    tx.execute(
        insert(audit).values(
            at_ms=by.at_ms,
            actor=by.actor,
            action=action,
            account_id=account_id,
            subject=subject,
            details=msgspec.json.encode(dict(details or {}), order="deterministic").decode(),
        )
    )
