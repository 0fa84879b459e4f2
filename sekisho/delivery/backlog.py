"""Where the spool holds more than memory does, and when to look there: bookkeeping, no I/O and no clock.

Nothing here is needed for safety: it is rebuilt from the spool at any time. It is bounded by the number of
destinations, not of deliveries: due times are kept in buckets that are as coarse as the wait is long.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from sekisho.queue.spool import DestinationDue, Found

_FINENESS = 5
"""A bucket is at most 1/16 of the wait: a retry comes that much late at most, and a destination has few buckets."""


class Backlog:
    """Destinations to read now, in rotation, and destinations to read later."""

    def __init__(self) -> None:
        self._wanting: OrderedDict[str, None] = OrderedDict()
        self._heap: list[tuple[int, str]] = []
        self._buckets: set[tuple[int, str]] = set()
        self._came: set[str] | None = None
        """What became due since a read began; None while there is no read."""

    def is_wanting(self, destination: str) -> bool:
        """Something due there is in the spool and not in memory."""
        return destination in self._wanting

    @property
    def wanting(self) -> int:
        """How many destinations are to be read."""
        return len(self._wanting)

    @property
    def next_ms(self) -> int | None:
        """When the next bucket is due."""
        return self._heap[0][0] if self._heap else None

    def now(self, destination: str) -> None:
        """Something there is due."""
        self._wanting.setdefault(destination)
        if self._came is not None:
            self._came.add(destination)

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

    def rotate(self) -> str:
        """Give the next destination, which goes to the end of the rotation; only while ``wanting``."""
        destination = next(iter(self._wanting))
        self._wanting.move_to_end(destination)
        return destination

    def reading(self) -> None:
        """A read begins: what becomes due from here on may not be in its answer."""
        self._came = set()

    def unread(self, destinations: Sequence[str]) -> None:
        """The answer does not speak of these: they are still first."""
        for name in reversed(destinations):
            if name in self._wanting:
                self._wanting.move_to_end(name, last=False)

    def read(self, found: Iterable[Found], now_ms: int) -> None:
        """Take in what a read says."""
        came, self._came = self._came or set(), None
        for each in found:
            if not each.has_more and each.destination not in came:
                self._wanting.pop(each.destination, None)
            if each.later_ms is not None:
                self.later(each.destination, each.later_ms, now_ms)

    def learn(self, due: Iterable[DestinationDue], now_ms: int) -> None:
        """Take in the spool's list. What is due may be in memory already: a read that finds nothing new says so."""
        for each in due:
            self.later(each.destination, each.next_ms, now_ms)
