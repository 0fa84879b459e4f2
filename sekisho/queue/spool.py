"""The durable seam between accepting and delivering.

``append`` and ``settle`` return asyncio futures that finish once the batch that holds them is on disk (group commit:
whatever arrives while one sync runs forms the next batch). All calls are made from the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from sekisho.queue.model import Delivery, NewMessage, Outcome
from sekisho.refusal import Refused


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one attempt came to."""

    delivery: Delivery
    outcome: Outcome
    at_ms: int


@dataclass(frozen=True, slots=True)
class DestinationDue:
    """One destination with stored deliveries of this worker: how many, and when the first is due."""

    destination: str
    count: int
    next_ms: int
    later_ms: int | None = None
    """The first due time that lies ahead; None when all are due."""


class Spool(Protocol):
    """What the SMTP door and the scheduler ask of the queue's storage."""

    def append(self, new: NewMessage) -> asyncio.Future[tuple[Delivery, ...] | Refused]:
        """Make the message durable; the deliveries it created, or why not (caps, full disk).

        An empty tuple means accepted with nothing queued (``dropped_reason``).
        """

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        """Record an outcome with its events; False when the row was gone (dropped by an operator meanwhile)."""

    async def destinations(self, now_ms: int) -> Sequence[DestinationDue]:
        """All destinations with deliveries owned by this worker that are not held by id, as of ``now_ms``."""

    async def due(
        self, destination: str, now_ms: int, limit: int, known: Collection[int], held: HeldSenders
    ) -> Sequence[Delivery]:
        """Read up to ``limit`` due deliveries, oldest first, leaving out rows in ``known`` and held senders' rows."""


@dataclass(frozen=True, slots=True)
class HeldSenders:
    """Whose queued mail waits: a predicate over control data, not rows in the spool."""

    senders: frozenset[int] = frozenset()
    """Disabled accounts and subusers (ids); an account's hold covers its subusers, which are listed here too."""
    keys: frozenset[str] = frozenset()
    """Keys revoked as compromised."""
