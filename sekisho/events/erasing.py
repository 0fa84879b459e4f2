"""Forget the events of a subuser that was deleted."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from sekisho.db import Database
from sekisho.events.tables import event, event_day

_BATCH: Final = 1000
"""Rows per transaction: the mover waits meanwhile."""


def erase_subuser(database: Database, account_id: int, subuser_id: int) -> int:
    """Delete its events and its day counters, some at a time; how many events."""
    mine = (event.c.account_id == account_id) & (event.c.subuser_id == subuser_id)
    total, after = 0, 0
    while True:
        with database.begin() as tx:
            query = sa.select(event.c.seq).where(mine, event.c.seq > after).order_by(event.c.seq).limit(_BATCH)
            found = tx.execute(query).scalars().all()
            if found:
                tx.execute(sa.delete(event).where(event.c.seq.in_(found)))
            if len(found) < _BATCH:
                days = (event_day.c.account_id == account_id) & (event_day.c.subuser_id == subuser_id)
                tx.execute(sa.delete(event_day).where(days))
        total += len(found)
        if len(found) < _BATCH:
            return total
        after = found[-1]
