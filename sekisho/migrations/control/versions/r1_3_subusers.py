"""What a subuser is given and may do: e-mail address, credits, website access; and people who log in.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "1.3"
down_revision: Final = "1.2"
branch_labels: Final = None
depends_on: Final = None

ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("account", sa.Column("website_disabled_ms", sa.BigInteger(), nullable=True))
    op.add_column("account", sa.Column("credits", sa.Text(), nullable=True))
    op.add_column("account", sa.Column("erased_ms", sa.BigInteger(), nullable=True))
    op.create_table(
        "user",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("account_id", ROW_ID, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_user_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sqlite_autoincrement=True,
    )
    op.create_index("user_account", "user", ["account_id"], unique=False)
