"""What has been counted in a spool, read from outside of its writer."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from sekisho.credits import Bucket
from sekisho.queue import schema
from sekisho.queue.caps import read_count
from sekisho.queue.layout import Layout


def used_of(directory: Path, bucket: Bucket) -> int:
    """Read how many credits of a bucket were used on this node; 0 before the spool's first start."""
    database = Layout(directory).database
    if not database.exists():
        return 0
    with closing(schema.connect(database, read_only=True)) as connection:
        return read_count(connection, bucket.key, bucket.until_day)


def has_queued(directory: Path, sender_id: int) -> bool:
    """Whether mail of an account or subuser is still queued on this node."""
    database = Layout(directory).database
    if not database.exists():
        return False
    with closing(schema.connect(database, read_only=True)) as connection:
        query = "SELECT 1 FROM delivery WHERE sender = ? LIMIT 1"
        return connection.execute(query, (sender_id,)).fetchone() is not None
