"""One lane's queue: destinations in rotation, prepared some way ahead of the outlet.

Preparing (signing above all) runs in threads, so the feed keeps a bounded number of jobs in preparation or prepared;
an outlet pulls the next prepared one whenever it is free. Everything here happens on the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from sekisho.delivery.job import Job
from sekisho.delivery.ledger import Ledger
from sekisho.delivery.verdict import Temporary, Verdict, one_line
from sekisho.preparation.model import NotNow, Prepared, Preparer, Ready
from sekisho.queue.model import Delivery, Dropped
from sekisho.queue.spool import HeldSenders

_log = structlog.get_logger(__name__)


REFUSED_AT_ONCE = 100
"""A host that goes down defers thousands at a stroke; sessions are served in between."""


class Outlet(Protocol):
    """The last hop of a lane."""

    def wake(self) -> None:
        """Prepared jobs are waiting: pull them."""

    @property
    def busy(self) -> int:
        """Jobs pulled and not yet concluded or given back."""

    @property
    def is_over(self) -> bool:
        """Nothing is pulled, and nothing of the outlet is open any more."""

    def sweep(self, now: float) -> None:
        """Look at deadlines; called once a second with the loop's time."""

    def retire(self) -> None:
        """Nothing more will come: finish what was pulled, then let go of the other side."""

    def abandon(self) -> None:
        """Stop at once; what was pulled stays unsettled and is attempted again after the next start."""


Conclude = Callable[[Delivery, Verdict | Dropped], None]


class Feed:
    """The waiting jobs of one lane."""

    def __init__(
        self,
        preparer: Preparer,
        ledger: Ledger,
        conclude: Conclude,
        holds: Callable[[], HeldSenders],
        read_ahead: int = 64,
        *,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_room`` is called when deliveries leave memory without a settlement."""
        self._preparer = preparer
        self._ledger = ledger
        self._conclude = conclude
        self._holds = holds
        self._read_ahead = read_ahead
        self._on_room = on_room
        self._queues: dict[str, deque[Job]] = {}
        self._rotation: deque[str] = deque()
        self._preparing = 0
        self._prepared: deque[Job] = deque()
        self._unavailable: Temporary | None = None
        self._afterwards: Temporary | None = None
        self._elsewhere: Callable[[Job], None] | None = None
        self._stopped = False
        self.outlet: Outlet | None = None

    @property
    def prepared(self) -> int:
        """Jobs that could be pulled now."""
        return len(self._prepared)

    def put(self, job: Job) -> None:
        """Queue an admitted job."""
        destination = job.deliveries[0].recipient.destination
        queue = self._queues.get(destination)
        if queue is None:
            self._queues[destination] = deque((job,))
            self._rotation.append(destination)
        else:
            queue.append(job)
        self._prepare_ahead()

    def pull(self) -> Job | None:
        """Give the next job, its attempt beginning now; None when nothing is ready."""
        found: Job | None = None
        while self._prepared and not self._stopped:
            job = self._prepared.popleft()
            # What was held or dropped while it waited here is not attempted.
            if self._may_start(job):
                job.started = True
                found = job
                break
        self._prepare_ahead()
        return found

    def give_back(self, job: Job) -> None:
        """Take back a job that no host has heard of; it is still prepared, and first in line."""
        job.started = False
        job.returns += 1
        # What an operator dropped or held while a connection had it does not go to the next one.
        if self._ledger.withdraw(job):
            job.deliveries = self._ledger.remaining(job)
        if job.deliveries:
            self._offer(job, first=True)
        else:
            self._on_room()

    def shut(self, verdict: Temporary, afterwards: Temporary) -> None:
        """The lane's host can't be reached: what waits is deferred for this reason, what comes for the other."""
        self._unavailable = verdict
        self._afterwards = afterwards
        while self._prepared:
            self._refuse(self._prepared.popleft(), verdict)
        self._prepare_ahead()

    def reopen(self) -> None:
        """Let jobs through again."""
        self._unavailable = self._afterwards = None

    def stop(self) -> None:
        """Give out nothing more; what waits stays in the spool."""
        self._stopped = True

    def take_all(self) -> list[Job]:
        """Take out everything that waits; what is in preparation stays."""
        jobs = [*self._prepared, *(job for queue in self._queues.values() for job in queue)]
        self._prepared.clear()
        self._queues.clear()
        self._rotation.clear()
        return jobs

    def divert(self, elsewhere: Callable[[Job], None]) -> None:
        """Hand everything that no outlet has to ``elsewhere``, and whatever is still to come back here."""
        self._elsewhere = elsewhere
        for job in self.take_all():
            elsewhere(job)

    # Preparing.

    def _prepare_ahead(self) -> None:
        refused = 0
        while not self._stopped and self._preparing + len(self._prepared) < self._read_ahead:
            if refused == REFUSED_AT_ONCE:
                asyncio.get_running_loop().call_soon(self._prepare_ahead)
                return
            job = self._next()
            if job is None:
                self._unavailable = self._afterwards
                return
            if self._may_start(job):
                if self._unavailable is not None:
                    self._refuse(job, self._unavailable)
                    refused += 1
                else:
                    self._prepare(job)

    def _next(self) -> Job | None:
        """One destination after the other: a long queue for one never stands in front of others."""
        if not self._rotation:
            return None
        destination = self._rotation[0]
        queue = self._queues[destination]
        job = queue.popleft()
        if queue:
            self._rotation.rotate(-1)
        else:
            self._rotation.popleft()
            del self._queues[destination]
        return job

    def _prepare(self, job: Job) -> None:
        self._preparing += 1
        waiting = _Preparation(job, len(job.deliveries))
        for position, delivery in enumerate(job.deliveries):
            try:
                future = self._preparer.prepare(delivery)
            except Exception as fault:  # noqa: BLE001  # ours, and this message's alone: the lane goes on
                future = asyncio.get_running_loop().create_future()
                future.set_exception(fault)
            if future.done():
                self._prepared_one(waiting, position, future)
            else:
                future.add_done_callback(partial(self._prepared_late, waiting, position))

    def _prepared_late(self, waiting: _Preparation, position: int, future: asyncio.Future[Prepared]) -> None:
        self._prepared_one(waiting, position, future)
        self._prepare_ahead()

    def _prepared_one(self, waiting: _Preparation, position: int, future: asyncio.Future[Prepared]) -> None:
        waiting.results[position] = _result(future)
        waiting.missing -= 1
        if waiting.missing:
            return
        self._preparing -= 1
        if self._stopped:
            return
        job = waiting.job
        for delivery, result in zip(job.deliveries, waiting.results, strict=True):
            match result:
                case Ready():
                    job.ready = result
                case NotNow(reason=reason):
                    self._conclude_waiting(job, delivery, Temporary(one_line(f"4.3.0 {reason}"), "4.3.0"))
                case Dropped():
                    self._conclude_waiting(job, delivery, result)
                case None:  # cannot be: nothing is missing
                    pass
        job.deliveries = tuple(
            delivery
            for delivery, result in zip(job.deliveries, waiting.results, strict=True)
            if isinstance(result, Ready)
        )
        if job.deliveries:
            self._offer(job)

    def _offer(self, job: Job, *, first: bool = False) -> None:
        if self._elsewhere is not None:
            self._elsewhere(job)
        elif self._unavailable is not None:
            self._refuse(job, self._unavailable)
        else:
            if first:
                self._prepared.appendleft(job)
            else:
                self._prepared.append(job)
            if self.outlet is not None:
                self.outlet.wake()

    # Deciding.

    def _may_start(self, job: Job) -> bool:
        """Drop what an operator took away meanwhile; set aside what is held: the spool keeps it."""
        remaining = self._ledger.remaining(job)
        holds = self._holds()
        if holds.senders or holds.keys:
            message = job.deliveries[0].message
            if (
                message.key_id in holds.keys
                or message.account_id in holds.senders
                or (message.subuser_id is not None and message.subuser_id in holds.senders)
            ):
                for delivery in remaining:
                    self._ledger.release(delivery)
                self._on_room()
                return False
        job.deliveries = remaining
        return bool(remaining)

    def _conclude_waiting(self, job: Job, delivery: Delivery, verdict: Verdict | Dropped) -> None:
        if delivery in self._ledger.remaining(job):
            self._conclude(delivery, verdict)

    def _refuse(self, job: Job, verdict: Temporary) -> None:
        remaining = self._ledger.remaining(job)
        job.started = True
        for delivery in remaining:
            self._conclude(delivery, verdict)


class _Preparation:
    """A job whose recipients' copies are being prepared."""

    __slots__ = ("job", "missing", "results")

    def __init__(self, job: Job, missing: int) -> None:
        self.job = job
        self.missing = missing
        self.results: list[Prepared | None] = [None] * missing


def _result(future: asyncio.Future[Prepared]) -> Prepared:
    if future.cancelled():
        return NotNow("preparation was interrupted")
    error = future.exception()
    if error is not None:
        # A mistake of ours: nothing is sent without knowing what to send.
        _log.error("delivery.preparation_failed", exc_info=error)
        return NotNow("internal error")
    return future.result()
