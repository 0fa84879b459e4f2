"""Keys that are held, and compromised ones whose queue was let go.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "1.2"
down_revision: Final = "1.1"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    op.add_column("api_key", sa.Column("held_ms", sa.BigInteger(), nullable=True))
    op.add_column("api_key", sa.Column("held_reason", sa.String(length=20), nullable=True))
    op.add_column("api_key", sa.Column("held_text", sa.String(length=500), nullable=True))
    op.add_column("api_key", sa.Column("let_go_ms", sa.BigInteger(), nullable=True))
