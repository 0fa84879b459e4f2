"""Who changed what, whose, and when: one row per change, in the change's own transaction."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence

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

Detail = str | int | bool | None | Sequence[str]


def record(
    tx: Connection,
    *,
    actor: str,
    action: str,
    account_id: int | None,
    subject: str,
    now_ms: int,
    details: Mapping[str, Detail] | None = None,
) -> None:
    """Write the row; commits and vanishes together with the change that it tells of."""
    tx.execute(
        insert(audit).values(
            at_ms=now_ms,
            actor=actor,
            action=action,
            account_id=account_id,
            subject=subject,
            details=msgspec.json.encode(dict(details or {}), order="deterministic").decode(),
        )
    )


def operator() -> str:
    """Name the person at the command line: who logged in, also behind sudo."""
    name = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    try:
        return f"operator:{name or getpass.getuser()}"
    except (KeyError, OSError):  # a uid without a name, as in containers
        return f"operator:uid{os.getuid()}"
