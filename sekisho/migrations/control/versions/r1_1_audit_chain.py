"""The audit log becomes a chain.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

revision: Final = "1.1"
down_revision: Final = "1.0"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    pass
