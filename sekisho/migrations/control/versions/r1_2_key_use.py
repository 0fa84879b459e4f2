"""Who used a key, when and from where; keys that are held.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

revision: Final = "1.2"
down_revision: Final = "1.1"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    pass
