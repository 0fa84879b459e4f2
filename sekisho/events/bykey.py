"""What became of one key's mail, out of the event store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from sekisho.events.model import EventKind
from sekisho.events.tables import event


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages that were begun, and recipients by outcome (one may be deferred and then delivered)."""

    messages: int
    delivered: int
    deferred: int
    bounced: int
    dropped: int


def sent_by(tx: sa.Connection, account_id: int, key_id: str) -> Sent:
    """Count it; walks all events of the account."""
    mine = (event.c.account_id == account_id) & (event.c.key_id == key_id)
    by_kind = sa.select(event.c.kind, sa.func.count()).where(mine).group_by(event.c.kind)
    counts: Mapping[str, int] = {row[0]: row[1] for row in tx.execute(by_kind)}
    messages = tx.execute(sa.select(sa.func.count(sa.distinct(event.c.message_id))).where(mine)).scalar_one()
    return Sent(
        messages=messages,
        delivered=counts.get(EventKind.DELIVERED.value, 0),
        deferred=counts.get(EventKind.DEFERRED.value, 0),
        bounced=counts.get(EventKind.BOUNCE.value, 0),
        dropped=counts.get(EventKind.DROPPED.value, 0),
    )
