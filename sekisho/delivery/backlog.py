"""Where the spool holds more than memory does, and when to look there: bookkeeping, no I/O and no clock.

Nothing here is needed for safety: it is rebuilt from the spool's own sums at any time. It is bounded by the number of
destinations, not of deliveries: due times are kept in buckets that are as coarse as the wait is long.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from sekisho.queue.spool import DestinationDue

_FINENESS = 5
"""A bucket is at most 1/16 of the wait: a retry comes that much late at most, and a destination has few buckets."""


class Backlog:
    """Destinations to read now, in rotation, and destinations to read later."""

    def __init__(self) -> None:
        self._wanting: dict[str, None] = {}
        self._heap: list[tuple[int, str]] = []
        self._buckets: set[tuple[int, str]] = set()
        self._opaque: set[str] = set()
        self._reading: str | None = None
        self._came_meanwhile = False

    def is_wanting(self, destination: str) -> bool:
        """Something due there is in the spool and not in memory."""
        return destination in self._wanting

    @property
    def wanting(self) -> int:
        """How many destinations are to be read."""
        return len(self._wanting)

    @property
    def first(self) -> str:
        """The one to be read next; only while ``wanting``."""
        return next(iter(self._wanting))

    @property
    def next_ms(self) -> int | None:
        """When the next bucket is due."""
        return self._heap[0][0] if self._heap else None

    def now(self, destination: str) -> None:
        """Something there is due."""
        self._wanting.setdefault(destination)
        if destination == self._reading:
            self._came_meanwhile = True

    def reading(self, destination: str) -> None:
        """A read begins: what becomes due from here on may not be in its answer."""
        self._reading, self._came_meanwhile = destination, False

    def later(self, destination: str, due_ms: int, now_ms: int) -> None:
        """Something there is due at ``due_ms``."""
        if due_ms <= now_ms:
            self.now(destination)
            return
        shift = max(0, (due_ms - now_ms).bit_length() - _FINENESS)
        bucket = (-(-due_ms >> shift) << shift, destination)
        if bucket not in self._buckets:
            self._buckets.add(bucket)
            heapq.heappush(self._heap, bucket)

    def ripen(self, now_ms: int) -> None:
        """Move what has become due to ``wanting``."""
        while self._heap and self._heap[0][0] <= now_ms:
            bucket = heapq.heappop(self._heap)
            self._buckets.discard(bucket)
            self.now(bucket[1])

    def turned(self, destination: str) -> None:
        """It was read and may have more: to the end of the rotation."""
        if destination in self._wanting:
            del self._wanting[destination]
            self._wanting[destination] = None

    def drained(self, destination: str) -> bool:
        """Nothing due was found there. True: there may be more later of which nothing is known; sum up again."""
        if destination == self._reading and self._came_meanwhile:
            # Something came while the answer was on its way, and left to the spool: read once more.
            self._came_meanwhile = False
            self.turned(destination)
            return False
        self._wanting.pop(destination, None)
        if destination in self._opaque:
            self._opaque.discard(destination)
            return True
        return False

    def learn(self, sums: Iterable[DestinationDue], now_ms: int) -> None:
        """Take the spool's sums in.

        What is due may be in memory already: a read that finds nothing new says so. What is due later never is, so its
        time is kept apart: it must not hide behind that of something in memory.
        """
        self._opaque.clear()
        for due in sums:
            if due.next_ms <= now_ms:
                self.now(due.destination)
            if due.later_ms is not None:
                self.later(due.destination, due.later_ms, now_ms)
                if due.count > 1:
                    self._opaque.add(due.destination)
