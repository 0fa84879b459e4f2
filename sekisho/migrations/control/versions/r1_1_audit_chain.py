"""The audit log becomes a chain per account: what stood in it so far is chained as it is.

Before the code switch. The old table goes with this step: no release has used it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

import msgspec
import sqlalchemy as sa
from alembic import op

revision: Final = "1.1"
down_revision: Final = "1.0"
branch_labels: Final = None
depends_on: Final = None

ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BATCH: Final = 1000


def upgrade() -> None:
    entry = op.create_table(
        "audit_entry",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=True),
        sa.Column("address", sa.String(length=45), nullable=True),
        sa.Column("personal", sa.Text(), nullable=True),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=True),
        sa.Column("commitment", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_chain_seq", "audit_entry", ["chain", "seq"], unique=True)
    chain = op.create_table(
        "audit_chain",
        sa.Column("chain", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_audit_chain")),
    )
    _copy(entry, chain)
    op.drop_index("audit_account", table_name="audit")
    op.drop_table("audit")


def _copy(entry: sa.Table, chain: sa.Table) -> None:
    names = ("id", "at_ms", "actor", "action", "account_id", "subject", "details")
    old = sa.table("audit", *(sa.column(name) for name in names))
    tx = op.get_bind()
    heads: dict[int, tuple[int, bytes]] = {}
    after = 0
    while True:
        rows = tx.execute(sa.select(old).where(old.c.id > after).order_by(old.c.id).limit(_BATCH)).all()
        if not rows:
            break
        tx.execute(sa.insert(entry), [_chained(row, heads) for row in rows])
        after = rows[-1].id
    if heads:
        tx.execute(sa.insert(chain), [{"chain": key, "seq": seq, "hash": last} for key, (seq, last) in heads.items()])


def _chained(row: sa.Row, heads: dict[int, tuple[int, bytes]]) -> dict[str, object]:  # type: ignore[type-arg]
    """The first version of sekisho.audit.chain, as it was when this was written."""
    key = row.account_id or 0
    seq, previous = heads.get(key, (0, bytes(32)))
    seq += 1
    details = msgspec.json.decode(row.details, type=dict[str, object])
    private = {name: value for name, value in details.items() if "@" in str(value)}
    subject = row.subject
    if "@" in subject:
        private, subject = {**private, "subject": subject}, ""
    plain = _text({name: value for name, value in details.items() if name not in private})
    personal = _text(private) if private else None
    salt = secrets.token_bytes(16)
    committed = b"sekisho audit personal 1\0" + msgspec.json.encode([row.actor, None, personal])
    commitment = hmac.digest(salt, committed, hashlib.sha256)
    covered = msgspec.json.encode([key, seq, row.at_ms, row.action, subject, plain, commitment.hex()])
    hashed = hashlib.sha256(b"sekisho audit entry 1\0" + previous + covered).digest()
    heads[key] = (seq, hashed)
    return {
        "chain": key,
        "seq": seq,
        "at_ms": row.at_ms,
        "action": row.action,
        "subject": subject,
        "details": plain,
        "actor": row.actor,
        "address": None,
        "personal": personal,
        "salt": salt,
        "commitment": commitment,
        "hash": hashed,
    }


def _text(details: dict[str, object]) -> str:
    return msgspec.json.encode(details, order="deterministic").decode()
