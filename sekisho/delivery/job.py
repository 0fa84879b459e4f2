"""A job: deliveries that travel together, from the moment they are due until they are settled."""

from __future__ import annotations

from sekisho.preparation.model import Ready
from sekisho.queue.model import Delivery

_RECORD_BYTES = 1024
"""What a delivery costs beside its content: objects, sets, queue entries; rounded up."""


class Job:
    """One delivery; or several of one message with the same content, on a route that shares the envelope sender."""

    __slots__ = ("cost_bytes", "deliveries", "left", "ready", "returns", "started")

    def __init__(self, deliveries: tuple[Delivery, ...], sharers: int = 1) -> None:
        """``sharers``: how many jobs of this message are made at once; the content is in memory once for all."""
        message = deliveries[0].message
        body = message.body
        content_bytes = len(message.header) + (len(body) if isinstance(body, bytes) else 0)
        self.deliveries = deliveries
        self.cost_bytes = content_bytes // sharers + _RECORD_BYTES * len(deliveries)
        self.left = len(deliveries)
        """Deliveries of it that are still in memory."""
        self.ready: Ready | None = None
        self.started = False
        """An outlet has it: it ends in a settlement whatever an operator does meanwhile."""
        self.returns = 0
        """How often a connection gave it back unheard."""
