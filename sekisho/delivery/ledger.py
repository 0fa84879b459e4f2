"""Which deliveries are in memory, within bounds of count and bytes.

A delivery is in here from the moment it is taken in until its settlement is on disk, so that nothing is read from the
spool and attempted while it is being attempted or its outcome being written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sekisho.delivery.job import Holding, Job
from sekisho.queue.flights import Flights
from sekisho.queue.model import Delivery


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """What the accepted-but-not-attempted backlog may take of one worker's memory."""

    deliveries: int = 4000
    bytes: int = 64 << 20


STALLED_MAX = 256
"""Deliveries that a lane may hold beyond those it lets go of in MOVES_S: a few times what is prepared ahead."""
MOVES_S = 2.0
CROWDED_MAX = 16
"""The same when memory is three quarters full: what is left is for lanes that move."""

_NOTHING: frozenset[int] = frozenset()


class Ledger:
    """Deliveries by row, and rows by destination."""

    def __init__(self, limits: MemoryLimits, flights: Flights | None = None) -> None:
        """``flights``: where it is written down what is under way; None = nowhere."""
        self._limits = limits
        self.flights = flights or Flights()
        self._jobs: dict[int, Job] = {}
        self._rows: dict[str, set[int]] = {}
        self._settling: set[int] = set()
        self._withdrawn: set[int] = set()
        """To be forgotten, but under way: settled if a host hears of them, else released when they come back."""
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def free(self) -> int:
        """How many more deliveries fit at all."""
        return 0 if self._bytes >= self._limits.bytes else max(0, self._limits.deliveries - len(self._jobs))

    def room(self, destination: str, holding: Holding | None) -> int:
        """How many more deliveries for this destination may come in.

        A destination may fill half of what is free when it comes, so a flood for one leaves room for all others. And a
        lane (``holding``; None = not known yet) holds little more than it lets go of, so that a slow host, or ten, do
        not sit on the memory that others need.
        """
        room = self.free - len(self._rows.get(destination, _NOTHING))
        if holding is not None:
            stalled = CROWDED_MAX if self._is_crowded else STALLED_MAX
            need = max(stalled, int(holding.per_second * MOVES_S) + holding.settled)
            room = min(room, need - holding.count)
        return max(0, room)

    @property
    def _is_crowded(self) -> bool:
        return 4 * len(self._jobs) >= 3 * self._limits.deliveries or 4 * self._bytes >= 3 * self._limits.bytes

    def count(self, destination: str) -> int:
        """How many deliveries of one destination are here."""
        return len(self._rows.get(destination, _NOTHING))

    def has(self, delivery: Delivery) -> bool:
        """It is here, or its outcome is not on disk yet."""
        return delivery.row in self._jobs

    def admit(self, job: Job) -> None:
        self._bytes += job.cost_bytes
        job.holding.count += len(job.deliveries)
        for delivery in job.deliveries:
            self._jobs[delivery.row] = job
            destination = delivery.recipient.destination
            rows = self._rows.get(destination)
            if rows is None:
                self._rows[destination] = {delivery.row}
            else:
                rows.add(delivery.row)

    def settling(self, delivery: Delivery) -> None:
        """Its outcome is on the way to disk."""
        self._settling.add(delivery.row)
        self.flights.over(delivery)
        job = self._jobs.get(delivery.row)
        if job is not None:
            job.holding.settled += 1

    def release(self, delivery: Delivery) -> None:
        """Settled or set aside: the spool alone knows it now."""
        self._settling.discard(delivery.row)
        self._withdrawn.discard(delivery.row)
        self.flights.left(delivery)
        job = self._jobs.pop(delivery.row, None)
        if job is None:
            return
        destination = delivery.recipient.destination
        rows = self._rows[destination]
        rows.discard(delivery.row)
        if not rows:
            del self._rows[destination]
        job.left -= 1
        job.holding.count -= 1
        if not job.left:
            self._bytes -= job.cost_bytes
            if job.on_left is not None:
                job.on_left()

    def forget(self, rows: Iterable[int]) -> None:
        """Release what has not been started; what has will be settled, and must not be read again before."""
        for row in rows:
            job = self._jobs.get(row)
            if job is None or row in self._settling:
                continue
            if job.started:
                self._withdrawn.add(row)
                continue
            for delivery in job.deliveries:
                if delivery.row == row:
                    self.release(delivery)

    def reinstate(self, rows: Iterable[int]) -> None:
        """These are to be attempted after all: what is under way may come back and go on."""
        self._withdrawn.difference_update(rows)

    def withdraw(self, job: Job) -> bool:
        """Release those of a job's deliveries that were to be forgotten while it was under way; whether there were."""
        found = [delivery for delivery in job.deliveries if delivery.row in self._withdrawn]
        for delivery in found:
            self.release(delivery)
        return bool(found)

    def remaining(self, job: Job) -> tuple[Delivery, ...]:
        """What is left of a job after others were forgotten."""
        jobs, deliveries = self._jobs, job.deliveries
        if len(deliveries) == 1 and jobs.get(deliveries[0].row) is job:
            return deliveries
        return tuple(delivery for delivery in deliveries if jobs.get(delivery.row) is job)

    def known(self, destination: str) -> frozenset[int]:
        """A copy of the rows of a destination, for a query in another thread."""
        return frozenset(self._rows.get(destination, _NOTHING))
