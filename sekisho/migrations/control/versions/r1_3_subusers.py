"""What a subuser is given and may do: e-mail address, credits, website access.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

revision: Final = "1.3"
down_revision: Final = "1.2"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    pass
