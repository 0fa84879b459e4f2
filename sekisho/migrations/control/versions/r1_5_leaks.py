"""Who used a key, when and from where; canary keys; what owners are told.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "1.5"
down_revision: Final = "1.4"
branch_labels: Final = None
depends_on: Final = None

ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("api_key", sa.Column("canary", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "key_use",
        sa.Column("key_id", sa.String(length=22), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_address", sa.String(length=45), nullable=False),
        sa.Column("trusted_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name=op.f("fk_key_use_key_id")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_key_use")),
    )
    op.create_table(
        "key_address",
        sa.Column("key_id", sa.String(length=22), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("network", sa.String(length=43), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("recipients", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name=op.f("fk_key_address_key_id")),
        sa.PrimaryKeyConstraint("key_id", "address", name=op.f("pk_key_address")),
    )
    op.create_table(
        "key_from_domain",
        sa.Column("key_id", sa.String(length=22), nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("recipients", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name=op.f("fk_key_from_domain_key_id")),
        sa.PrimaryKeyConstraint("key_id", "domain", name=op.f("pk_key_from_domain")),
    )
    op.create_table(
        "key_hour",
        sa.Column("key_id", sa.String(length=22), nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("recipients", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name=op.f("fk_key_hour_key_id")),
        sa.PrimaryKeyConstraint("key_id", "hour", name=op.f("pk_key_hour")),
    )
    op.create_table(
        "notice",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("owner_id", ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("mailed_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name=op.f("fk_notice_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sqlite_autoincrement=True,
    )
    op.create_index("notice_owner", "notice", ["owner_id", "id"], unique=False)
    op.create_index("notice_mailed", "notice", ["mailed_ms"], unique=False)
