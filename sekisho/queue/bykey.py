"""What one key has in the queue, read from outside of the spool's writer."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sekisho.db import DatabaseUnavailable
from sekisho.queue import schema
from sekisho.queue.layout import Layout
from sekisho.queue.schema import RECIPIENT_BITS


@dataclass(frozen=True, slots=True)
class Queued:
    """Mail of one key that is queued for one domain."""

    domain: str
    messages: int
    recipients: int


def queued_by(directory: Path, key_id: str) -> tuple[Queued, ...]:
    """Read it, most recipients first; walks the whole queue of this node. Nothing before the spool's first start.

    Raises:
        DatabaseUnavailable: it cannot be read now.
    """
    database = Layout(directory).database
    if not database.exists():
        return ()
    try:
        with closing(schema.connect(database, read_only=True)) as connection:
            rows = connection.execute(
                f"SELECT destination, count(DISTINCT row >> {RECIPIENT_BITS}), count(*) FROM delivery"
                " WHERE key = ? GROUP BY destination ORDER BY count(*) DESC, destination",
                (key_id,),
            ).fetchall()
    except sqlite3.Error as error:
        message = f"the spool cannot be read: {error}"
        raise DatabaseUnavailable(message) from error
    return tuple(Queued(*row) for row in rows)
