"""The first schema of control data: accounts, keys, domains, audit log, change feed.

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
        "account",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("parent_id", ROW_ID, nullable=True),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("folded_name", sa.String(length=64), nullable=False),
        sa.Column("owner_email", sa.String(length=254), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("disabled_ms", sa.BigInteger(), nullable=True),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["account.id"], name=op.f("fk_account_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "account_name_once",
        "account",
        ["folded_name"],
        unique=True,
        sqlite_where=sa.text("deleted_ms IS NULL"),
        postgresql_where=sa.text("deleted_ms IS NULL"),
    )
    op.create_index("account_parent", "account", ["parent_id"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_account", "audit", ["account_id", "id"], unique=False)
    op.create_table(
        "feed",
        sa.Column("position", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_feed")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("account_id", ROW_ID, nullable=False),
        sa.Column("subuser_id", ROW_ID, nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=True),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("imported", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("compromised", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_api_key_account_id")),
        sa.ForeignKeyConstraint(["subuser_id"], ["account.id"], name=op.f("fk_api_key_subuser_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )
    op.create_index("api_key_owner", "api_key", ["account_id", "subuser_id"], unique=False)
    op.create_table(
        "domain",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("account_id", ROW_ID, nullable=False),
        sa.Column("subuser_id", ROW_ID, nullable=True),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("return_path", sa.String(length=255), nullable=False),
        sa.Column("valid", sa.Boolean(), nullable=False),
        sa.Column("overridden", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("checked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_domain_account_id")),
        sa.ForeignKeyConstraint(["subuser_id"], ["account.id"], name=op.f("fk_domain_subuser_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain")),
        sa.UniqueConstraint("account_id", "name", name="domain_claimed_once"),
        sqlite_autoincrement=True,
    )
    op.create_index("domain_subuser", "domain", ["subuser_id"], unique=False)
    op.create_index(
        "domain_valid_once",
        "domain",
        ["name"],
        unique=True,
        sqlite_where=sa.text("valid"),
        postgresql_where=sa.text("valid"),
    )
    op.create_table(
        "domain_assignment",
        sa.Column("domain_id", ROW_ID, nullable=False),
        sa.Column("subuser_id", ROW_ID, nullable=False),
        sa.Column("assigned_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domain.id"], name=op.f("fk_domain_assignment_domain_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["subuser_id"], ["account.id"], name=op.f("fk_domain_assignment_subuser_id")),
        sa.PrimaryKeyConstraint("domain_id", "subuser_id", name=op.f("pk_domain_assignment")),
    )
    op.create_index("domain_assignment_subuser", "domain_assignment", ["subuser_id"], unique=False)
    op.create_table(
        "domain_key",
        sa.Column("domain_id", ROW_ID, nullable=False),
        sa.Column("record", sa.String(length=20), nullable=False),
        sa.Column("selector", sa.String(length=63), nullable=False),
        sa.Column("algorithm", sa.String(length=20), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_domain_key_domain_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("domain_id", "record", name=op.f("pk_domain_key")),
    )
    op.create_table(
        "domain_record",
        sa.Column("domain_id", ROW_ID, nullable=False),
        sa.Column("record", sa.String(length=20), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("seen", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domain.id"], name=op.f("fk_domain_record_domain_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("domain_id", "record", name=op.f("pk_domain_record")),
    )
