"""The durable seam between accepting and delivering.

``append`` and ``settle`` return asyncio futures that finish once the batch that holds them is on disk (group commit:
whatever arrives while one sync runs forms the next batch). All calls are made from the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

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
    """One destination with stored deliveries of this worker, and when the first is due."""

    destination: str
    next_ms: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the scheduler would take of one destination."""

    destination: str
    limit: int
    known: Collection[int] = ()
    """Rows to leave out."""
    tried_after_ms: int | None = None
    """Leave out what was tried before, unless it was accepted at this time or earlier; None = leave out nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there was."""

    destination: str
    deliveries: Sequence[Delivery]
    """Oldest first."""
    has_more: bool
    """There may be more that is due."""
    later_ms: int | None
    """The first due time that lies ahead, if any."""


RATE_OF: Final = "rate of "
"""Begins the name of what waits for a next hop's rate, not for the next hop."""


@dataclass(frozen=True, slots=True)
class ShutHop:
    """A next hop that is out of reach, or given as much as it may have: what people and the next start are told."""

    hop: str
    """Its name, behind RATE_OF when its rate is used up."""
    until_ms: int
    """It is not asked before."""
    reply: str
    status: str
    destinations: tuple[str, ...] = ()
    """Mail for these waits for it; added to those noted before."""

    @property
    def is_rate(self) -> bool:
        """Nothing is wrong with it."""
        return self.hop.startswith(RATE_OF)


@dataclass(frozen=True, slots=True)
class OpenHop:
    """A next hop that is back."""

    hop: str


HopState = ShutHop | OpenHop


class Spool(Protocol):
    """What the SMTP door and the scheduler ask of the queue's storage."""

    def append(self, *news: NewMessage) -> asyncio.Future[tuple[Delivery, ...] | Refused]:
        """Make the messages durable, all or none; the deliveries this created, or why not (caps, full disk).

        Several are of one request: of one identity, whose caps the first one names for all, and with one large body
        between them if any. An empty tuple means accepted with nothing to attempt (``dropped_reason``, ``is_held``).
        """

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        """Record an outcome with its events; False when the row was gone (dropped by an operator meanwhile)."""

    async def destinations(self, after: str, limit: int) -> Sequence[DestinationDue]:
        """List destinations with deliveries of this worker that are not held by id, in order of name.

        The next ones after ``after`` (``""`` = from the first); fewer than ``limit`` = these were the last.
        """

    async def due(self, wanted: Sequence[Wanted], now_ms: int, limit: int, held: HeldSenders) -> Sequence[Found]:
        """Read due deliveries, oldest first by destination, leaving out held senders'; about ``limit`` in all.

        Answers for the first one wanted, and for those behind it as long as ``limit`` is not reached.
        """

    def note(self, state: HopState) -> None:
        """Write down what became of a next hop, soon: a courtesy to people, nothing depends on it."""

    async def shut_hops(self) -> Sequence[ShutHop]:
        """Read what was noted last, without the destinations."""


@dataclass(frozen=True, slots=True)
class HeldSenders:
    """Whose queued mail waits: a predicate over control data, not rows in the spool."""

    senders: frozenset[int] = frozenset()
    """Disabled accounts and subusers (ids); an account's hold covers its subusers, which are listed here too."""
    keys: frozenset[str] = frozenset()
    """Keys revoked as compromised."""
