"""The blast radius of a key: what it can have done, and what of it is still queued here. Of three stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sekisho.apikeys.model import ApiKey
from sekisho.apikeys.used import Uses, uses
from sekisho.db import DatabaseUnavailable
from sekisho.doors.http.store import Overloaded, Store
from sekisho.events.bykey import Sent, sent_by
from sekisho.queue.bykey import Queued, queued_by


@dataclass(frozen=True, slots=True)
class Radius:
    """What is known."""

    used: Uses | None
    """None: never."""
    queued: Sequence[Queued] | None
    """By domain, most recipients first. None: the spool cannot be read now."""
    sent: Sent | None
    """None: the event store cannot be read now."""

    @property
    def queued_recipients(self) -> int | None:
        return None if self.queued is None else sum(one.recipients for one in self.queued)

    @property
    def queued_messages(self) -> int | None:
        return None if self.queued is None else sum(one.messages for one in self.queued)


async def radius_of(key: ApiKey, *, store: Store, event_store: Store, spool: Path) -> Radius:
    """Count it. Whoever has just stopped the key must not be kept from seeing that by what cannot be counted now."""
    used = await store.read(lambda tx: uses(tx, key.id))
    try:
        queued: Sequence[Queued] | None = await store.in_thread(lambda: queued_by(spool, key.id))
    except (Overloaded, DatabaseUnavailable):
        queued = None
    try:
        sent: Sent | None = await event_store.read(lambda tx: sent_by(tx, key.account_id, key.id))
    except (Overloaded, DatabaseUnavailable):
        sent = None
    return Radius(used, queued, sent)
