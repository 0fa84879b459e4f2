"""What was found of leaked keys, and what owners are told.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

revision: Final = "1.5"
down_revision: Final = "1.4"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    pass
