"""A job: deliveries that travel together, from the moment they are due until they are settled."""

from __future__ import annotations

from collections.abc import Callable

from sekisho.preparation.model import Ready
from sekisho.queue.model import Delivery

_RECORD_BYTES = 1024
"""What a delivery costs beside its content: objects, sets, queue entries; rounded up."""


class Holding:
    """What one lane holds in memory, and how fast it lets go of it."""

    __slots__ = ("count", "per_second", "settled")

    def __init__(self) -> None:
        self.count = 0
        """Deliveries in memory."""
        self.settled = 0
        """Since the last ``tick``."""
        self.per_second = 0.0

    def tick(self, elapsed_s: float) -> None:
        """Take the time: called about once a second."""
        self.per_second = (self.per_second + self.settled / elapsed_s) / 2
        self.settled = 0


class Job:
    """One delivery; or several of one message with the same content, on a route that shares the envelope sender."""

    __slots__ = ("cost_bytes", "deliveries", "holding", "left", "on_left", "ready", "returns", "started")

    def __init__(self, deliveries: tuple[Delivery, ...], holding: Holding, sharers: int = 1) -> None:
        """``sharers``: how many jobs of this message are made at once; the content is in memory once for all."""
        message = deliveries[0].message
        body = message.body
        content_bytes = len(message.header) + (len(body) if isinstance(body, bytes) else 0)
        self.deliveries = deliveries
        self.holding = holding
        self.cost_bytes = content_bytes // sharers + _RECORD_BYTES * len(deliveries)
        self.left = len(deliveries)
        """Deliveries of it that are still in memory."""
        self.on_left: Callable[[], None] | None = None
        """Called when none is."""
        self.ready: Ready | None = None
        self.started = False
        """An outlet has it: it ends in a settlement whatever an operator does meanwhile."""
        self.returns = 0
        """How often a connection gave it back unheard."""

    @property
    def faults(self) -> int:
        """How often our own fault befell it before: the next may take others with it."""
        return max(delivery.faults for delivery in self.deliveries)
