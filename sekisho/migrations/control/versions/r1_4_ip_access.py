"""The list of addresses that an account is used from, and who tried.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

revision: Final = "1.4"
down_revision: Final = "1.3"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    pass
