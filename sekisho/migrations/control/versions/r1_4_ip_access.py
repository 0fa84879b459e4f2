"""The list of addresses that an account is used from, and who tried.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "1.4"
down_revision: Final = "1.3"
branch_labels: Final = None
depends_on: Final = None


ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "access_rule",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner_id", ROW_ID, nullable=False),
        sa.Column("network", sa.String(length=43), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name=op.f("fk_access_rule_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_rule")),
        sa.UniqueConstraint("owner_id", "network", name="access_rule_once"),
    )
    op.create_table(
        "access_pending",
        sa.Column("owner_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name=op.f("fk_access_pending_owner_id")),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_access_pending")),
    )
    op.create_table(
        "access_activity",
        sa.Column("owner_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("audited_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name=op.f("fk_access_activity_owner_id")),
        sa.PrimaryKeyConstraint("owner_id", "address", "method", "allowed", name=op.f("pk_access_activity")),
    )
    op.create_index("access_activity_newest", "access_activity", ["owner_id", "last_ms"], unique=False)
