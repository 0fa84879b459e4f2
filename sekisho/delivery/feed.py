"""One lane's queue: destinations in rotation, prepared some way ahead of the outlet.

Preparing (signing above all) runs in other processes, so the feed keeps a bounded number of jobs in preparation or
prepared; an outlet pulls the next prepared one whenever it is free. Everything here happens on the loop.

The next hop as a whole may be out of reach. The outlet says so and the feed is *shut*: what has not been tried before
is deferred with the reason, so that its owner hears of it; all else leaves memory and waits in the spool, unwritten.
When the outlet would try again, it *probes*: a single job is let through. Then it is *reopened*, or shut again::

    OPEN ──shut──▶ SHUT ──probe──▶ PROBING ──reopened──▶ OPEN
                     ▲                │
                     └──────shut──────┘
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog

from sekisho.delivery.job import Job
from sekisho.delivery.ledger import Ledger
from sekisho.delivery.quarantine import Quarantine
from sekisho.delivery.shaping import Bucket
from sekisho.delivery.verdict import Temporary, Verdict, one_line
from sekisho.preparation.model import NotNow, Prepared, Preparer, Ready
from sekisho.preparation.signers import DamagedBodyError
from sekisho.queue.model import Bounced, Delivery, Dropped, Message
from sekisho.queue.spool import HeldSenders

_log = structlog.get_logger(__name__)


REFUSED_AT_ONCE = 100
"""A host that goes down turns thousands away at a stroke; sessions are served in between."""


class Outlet(Protocol):
    """The last hop of a lane."""

    def wake(self) -> None:
        """Prepared jobs are waiting: pull them."""

    def hurry(self) -> None:
        """Somebody asks for a try now: end a pause, with ``probe``."""

    @property
    def busy(self) -> int:
        """Jobs pulled and not yet concluded or given back."""

    @property
    def is_idle(self) -> bool:
        """Nothing is open, nothing is being opened, there is no pause to remember: the lane can be forgotten."""

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


class Keeper(Protocol):
    """Whom a feed tells what concerns more than its own jobs."""

    def room(self) -> None:
        """Deliveries left memory without a settlement."""

    def shut(self, verdict: Temporary | Bounced, until: float) -> None:
        """Nothing is tried before loop time ``until``."""

    def probing(self) -> None:
        """One job would be let through."""

    def reopened(self) -> None:
        """Everything may come again."""

    def parked_at(self, destination: str) -> None:
        """Deliveries of this destination wait in the spool although they are due, or were deferred unheard."""

    def must_wait(self, delivery: Delivery) -> bool:
        """Whether a due delivery that was tried before stays unwritten in the spool while the feed is shut."""


class Gate(enum.Enum):
    """What is let through; the module's picture has the arrows."""

    OPEN = enum.auto()
    PROBING = enum.auto()
    SHUT = enum.auto()


class Feed:
    """The waiting jobs of one lane."""

    def __init__(
        self,
        preparer: Preparer,
        ledger: Ledger,
        conclude: Conclude,
        *,
        holds: Callable[[], HeldSenders],
        read_ahead: int,
        keeper: Keeper,
        quarantine: Quarantine,
        per_second: float | None = None,
    ) -> None:
        """``per_second``: how many deliveries may be pulled; None = any number."""
        self._preparer = preparer
        self._ledger = ledger
        self._conclude = conclude
        self._holds = holds
        self._read_ahead = read_ahead
        self._keeper = keeper
        self._quarantine = quarantine
        self._loop = asyncio.get_running_loop()
        self._bucket = None if per_second is None else Bucket(per_second, self._loop.time())
        self._queues: dict[str, deque[Job]] = {}
        self._rotation: deque[str] = deque()
        self._preparing = 0
        self._quarantined = 0
        """Suspects that wait for their turn, which may take long: they are not of what is prepared ahead."""
        self._prepared: deque[Job] = deque()
        self._gate = Gate.OPEN
        self._reason: Temporary | Bounced | None = None
        """Why it is shut, for what waits; None while OPEN."""
        self._afterwards: Temporary | Bounced | None = None
        """The same, for what comes later."""
        self._turning_away = False
        self._probe_came = False
        self._probe_timer: asyncio.TimerHandle | None = None
        self._token_timer: asyncio.TimerHandle | None = None
        self._elsewhere: Callable[[Job], None] | None = None
        self._stopped = False
        self.outlet: Outlet | None = None

    @property
    def gate(self) -> Gate:
        return self._gate

    @property
    def prepared(self) -> int:
        """Jobs that could be pulled now."""
        if self._stopped:
            return 0
        if self._bucket is not None and self._bucket.wait_s(self._loop.time()):
            return 0
        return len(self._prepared)

    @property
    def rate_wait_s(self) -> float | None:
        """How long the rate still holds back what is ready; None = nothing waits for it."""
        if self._bucket is None or not self._prepared or self._gate is not Gate.OPEN or self._stopped:
            return None
        return self._bucket.wait_s(self._loop.time())

    @property
    def destinations(self) -> set[str]:
        """What waits here is for these."""
        return {*self._queues, *(job.deliveries[0].recipient.destination for job in self._prepared)}

    @property
    def is_empty(self) -> bool:
        """Nothing waits and nothing is being prepared."""
        return not (self._rotation or self._preparing or self._quarantined or self._prepared)

    @property
    def wants_probe(self) -> bool:
        """A job is wanted to find out with whether the next hop is back."""
        return self._gate is Gate.PROBING and self.is_empty and not self._pulled

    @property
    def _pulled(self) -> int:
        return self.outlet.busy if self.outlet is not None else 0

    def put(self, job: Job) -> None:
        """Queue an admitted job."""
        destination = job.deliveries[0].recipient.destination
        queue = self._queues.get(destination)
        if queue is None:
            self._queues[destination] = deque((job,))
            self._rotation.append(destination)
        else:
            queue.append(job)
        self._probe_came = True
        self._advance()

    def pull(self) -> Job | None:
        """Give the next job, its attempt beginning now; None when nothing is ready, or the rate is used up."""
        found: Job | None = None
        bucket = self._bucket
        if bucket is None or not bucket.wait_s(self._loop.time()):
            while self._prepared and not self._stopped:
                job = self._prepared.popleft()
                # What was held or dropped while it waited here is not attempted.
                if self._may_start(job):
                    job.started = True
                    for delivery in job.deliveries:
                        self._ledger.flights.begin(delivery)
                    found = job
                    break
        if bucket is not None:
            if found is not None:
                bucket.take(len(found.deliveries), self._loop.time())
            self._rouse_later()
        if found is None or self._gate is Gate.OPEN:  # one probe at a time
            self._advance()
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
            self._keeper.room()

    def use_rate(self, per_second: float | None) -> None:
        """Follow another rate from now on."""
        self._bucket = None if per_second is None else Bucket(per_second, self._loop.time())
        self._rouse()

    def stop(self) -> None:
        """Give out nothing more; what waits stays in the spool."""
        self._stopped = True
        for timer in (self._probe_timer, self._token_timer):
            if timer is not None:
                timer.cancel()

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

    # The next hop as a whole.

    def shut(self, verdict: Temporary | Bounced, until: float) -> None:
        """It can't be reached, or there is nothing to reach; no job is pulled before loop time ``until``."""
        if self._elsewhere is not None or self._stopped:
            return
        self._close(verdict)
        self._keeper.shut(verdict, until)
        self._advance()

    def remember(self, verdict: Temporary, until: float) -> None:
        """Another process found it so before: do not ask again before ``until``."""
        self._close(verdict)
        self._reason = self._afterwards
        self._probe_timer = self._loop.call_at(until, self.probe)

    def probe(self) -> None:
        """The outlet would try one job now."""
        self._cancel_probe()
        if self._gate is Gate.SHUT and not self._stopped:
            self._gate = Gate.PROBING
            self._probe_came = False
            self._keeper.probing()
            self._advance()

    def reopened(self) -> None:
        """A connection is open: everything may flow."""
        if self._gate is Gate.OPEN:
            return
        self._cancel_probe()
        self._gate = Gate.OPEN
        self._reason = self._afterwards = None
        self._keeper.reopened()
        self._advance()

    def hurry(self) -> None:
        """An operator wants a try now."""
        if self._probe_timer is not None:
            self.probe()
        elif self.outlet is not None:
            self.outlet.hurry()

    def _close(self, verdict: Temporary | Bounced) -> None:
        self._cancel_probe()
        self._gate = Gate.SHUT
        if isinstance(verdict, Temporary):
            # Whoever's fault it is, it is not that of any one message.
            verdict = replace(verdict, is_fault=False)
        self._reason = verdict
        self._afterwards = replace(verdict, reply=one_line(f"{verdict.reply} (not asked again yet)"))

    def _cancel_probe(self) -> None:
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None

    # Preparing.

    def _advance(self) -> None:
        if self._stopped:
            return
        match self._gate:
            case Gate.OPEN:
                self._prepare_up_to(self._read_ahead)
            case Gate.PROBING:
                if not self._pulled:
                    self._prepare_up_to(1)
                if self._probe_came and self.wants_probe:
                    # It was held, or dropped, or could not be prepared: it says nothing about the next hop.
                    self._probe_came = False
                    self._keeper.probing()
            case Gate.SHUT:
                self._turn_away()

    def _prepare_up_to(self, ahead: int) -> None:
        while self._preparing + len(self._prepared) < ahead:
            job = self._next()
            if job is None:
                return
            if self._may_start(job):
                self._prepare(job)

    def _turn_away(self) -> None:
        """Nothing that waits can go: a few at a time, so that others get their turn on the loop."""
        if self._turning_away:
            return
        for _ in range(REFUSED_AT_ONCE):
            job = self._prepared.popleft() if self._prepared else self._next()
            if job is None:
                self._reason = self._afterwards
                return
            if self._may_start(job):
                self._refuse(job)
        self._turning_away = True
        self._loop.call_soon(self._turn_more_away)

    def _turn_more_away(self) -> None:
        self._turning_away = False
        self._advance()

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
        if job.faults:
            self._quarantined += 1
            self._quarantine.enter(job.faults, partial(self._begin_suspect, job))
        else:
            self._begin(job)

    def _begin_suspect(self, job: Job, leave: Callable[[], None]) -> None:
        self._quarantined -= 1
        if self._stopped:
            return
        if not self._may_start(job):
            leave()
            return
        job.on_left = leave
        self._begin(job)

    def _begin(self, job: Job) -> None:
        self._preparing += 1
        waiting = _Preparation(job, len(job.deliveries))
        for position, delivery in enumerate(job.deliveries):
            self._ledger.flights.begin(delivery)
            try:
                future = self._preparer.prepare(delivery)
            except Exception as fault:  # noqa: BLE001  # ours, and this message's alone: the lane goes on
                future = self._loop.create_future()
                future.set_exception(fault)
            if future.done():
                self._prepared_one(waiting, position, future)
            else:
                future.add_done_callback(partial(self._prepared_late, waiting, position))

    def _prepared_late(self, waiting: _Preparation, position: int, future: asyncio.Future[Prepared]) -> None:
        self._prepared_one(waiting, position, future)
        self._advance()

    def _prepared_one(self, waiting: _Preparation, position: int, future: asyncio.Future[Prepared]) -> None:
        waiting.results[position] = _result(future)
        waiting.missing -= 1
        if waiting.missing:
            return
        self._preparing -= 1
        job = waiting.job
        for delivery, result in zip(job.deliveries, waiting.results, strict=True):
            match result:
                case Ready():
                    job.ready = result
                case Temporary():
                    self._conclude_waiting(job, delivery, result)
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
        if job.deliveries and not self._stopped:
            self._offer(job)

    def _offer(self, job: Job, *, first: bool = False) -> None:
        for delivery in job.deliveries:
            self._ledger.flights.rest(delivery)
        if self._elsewhere is not None:
            self._elsewhere(job)
            return
        if first:
            self._prepared.appendleft(job)
        else:
            self._prepared.append(job)
        if self._gate is Gate.SHUT:
            self._turn_away()
        else:
            self._rouse()

    # Waking the outlet, no faster than the rate allows.

    def _rouse(self) -> None:
        if self.outlet is not None and self.prepared:
            self.outlet.wake()
        else:
            self._rouse_later()

    def _rouse_later(self) -> None:
        if self._bucket is None or not self._prepared or self._token_timer is not None or self._stopped:
            return
        wait_s = self._bucket.wait_s(self._loop.time())
        if wait_s:
            self._token_timer = self._loop.call_later(wait_s, self._token_came)

    def _token_came(self) -> None:
        self._token_timer = None
        self._rouse()

    # Deciding.

    def _may_start(self, job: Job) -> bool:
        """Drop what an operator took away meanwhile; set aside what is held: the spool keeps it."""
        remaining = self._ledger.remaining(job)
        if is_held(self._holds(), job.deliveries[0].message):
            for delivery in remaining:
                self._ledger.release(delivery)
            self._keeper.room()
            return False
        job.deliveries = remaining
        return bool(remaining)

    def _conclude_waiting(self, job: Job, delivery: Delivery, verdict: Verdict | Dropped) -> None:
        if delivery in self._ledger.remaining(job):
            self._conclude(delivery, verdict)

    def _refuse(self, job: Job) -> None:
        """Turn one job away: its owner hears why, or has heard and it waits."""
        verdict = self._reason
        assert verdict is not None  # noqa: S101  # only while shut
        job.started = True
        destination = job.deliveries[0].recipient.destination
        for delivery in job.deliveries:
            if isinstance(verdict, Temporary) and self._keeper.must_wait(delivery):
                self._ledger.release(delivery)
            else:
                self._conclude(delivery, verdict)
        if isinstance(verdict, Temporary):
            self._keeper.parked_at(destination)


def is_held(holds: HeldSenders, message: Message) -> bool:
    """Whether this sender's mail is not to be attempted now."""
    if not holds.senders and not holds.keys:
        return False
    return (
        message.key_id in holds.keys
        or message.account_id in holds.senders
        or (message.subuser_id is not None and message.subuser_id in holds.senders)
    )


class _Preparation:
    """A job whose recipients' copies are being prepared."""

    __slots__ = ("job", "missing", "results")

    def __init__(self, job: Job, missing: int) -> None:
        self.job = job
        self.missing = missing
        self.results: list[Prepared | Temporary | None] = [None] * missing


def _result(future: asyncio.Future[Prepared]) -> Prepared | Temporary:
    if future.cancelled():
        return NotNow("preparation was interrupted")
    error = future.exception()
    if isinstance(error, DamagedBodyError):
        _log.error("delivery.body_damaged", error=str(error))
        return Temporary("4.3.0 the stored body is damaged", "4.3.0", is_fault=True, is_lasting=True)
    if error is not None:
        # A mistake of ours: nothing is sent without knowing what to send.
        _log.error("delivery.preparation_failed", exc_info=error)
        return Temporary("4.3.0 internal error", "4.3.0", is_fault=True)
    return future.result()
