"""What has been counted in a spool, read from outside of its writer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sekisho.credits import Bucket
from sekisho.queue import outside
from sekisho.queue.caps import read_count


def used_of(directory: Path, bucket: Bucket) -> int:
    """Read how many credits of a bucket were used on this node. Raises DatabaseUnavailable."""
    return outside.read(directory, lambda connection: read_count(connection, bucket.key, bucket.until_day), 0)


def has_queued(directory: Path, sender_id: int) -> bool:
    """Whether mail of an account or subuser is still queued on this node. Raises DatabaseUnavailable."""

    def query(connection: sqlite3.Connection) -> bool:
        found = connection.execute("SELECT 1 FROM delivery WHERE sender = ? LIMIT 1", (sender_id,))
        return found.fetchone() is not None

    return outside.read(directory, query, empty=False)
