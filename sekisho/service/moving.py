"""The event mover of a data directory, put together."""

from __future__ import annotations

from sekisho.db import Database
from sekisho.events.mover import Mover
from sekisho.queue.layout import Layout
from sekisho.queue.outbox import OutboxReader
from sekisho.service.datadir import DataDir


def mover(directory: DataDir, events: Database) -> Mover:
    """Make the mover from this spool to an event store; ``start`` it after the last fork."""
    return Mover(
        Layout(directory.spool).database,
        lambda: OutboxReader(directory.spool),
        events,
        lock_path=directory.mover_lock,
    )
