"""What one key has in the queue, read from outside of the spool's writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.queue import outside
from sekisho.queue.schema import RECIPIENT_BITS

Purge = Callable[[str, int], int]
"""Drop about so many of a key's queued recipients, each with its event; how many. Blocks."""

PURGED_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Queued:
    """Mail of one key that is queued for one domain."""

    domain: str
    messages: int
    recipients: int


def queued_by(directory: Path, key_id: str) -> tuple[Queued, ...]:
    """Read it, most recipients first; walks the whole queue of this node. Raises DatabaseUnavailable."""

    def query(connection: sqlite3.Connection) -> tuple[Queued, ...]:
        rows = connection.execute(
            f"SELECT destination, count(DISTINCT row >> {RECIPIENT_BITS}), count(*) FROM delivery"
            " WHERE key = ? GROUP BY destination ORDER BY count(*) DESC, destination",
            (key_id,),
        )
        return tuple(Queued(*row) for row in rows)

    return outside.read(directory, query, ())
