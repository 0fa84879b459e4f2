"""Migrations: two histories, ``control`` and ``events``, and the newest revision of each.

A revision is named ``<release>.<step>``: the number of the schema generation that a release ships, and the step within
it. Release N runs on the schemas of N and N+1, so a step of N+1 may add but not take away what N uses; what is to go
goes in N+2. Kept as constants so that a worker can check its schema without loading Alembic; a test compares them.
"""

from __future__ import annotations

from typing import Final

HEADS: Final = {"control": "1.6", "events": "1.0"}
