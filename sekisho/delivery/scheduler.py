"""The scheduler: what is due goes to the lane of its route, and what comes back is settled.

What was just committed comes in by ``offer`` straight from memory. Memory is bounded (ledger.py); what does not fit
stays in the spool and is read when there is room, oldest first, in rotation over destinations (backlog.py). What is
deferred leaves memory and is read again when due. Nothing here polls: settlements, commits, operators and one timer
for the next due time wake the reader.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.backlog import Backlog
from sekisho.delivery.capture import CaptureOutlet, CaptureStore
from sekisho.delivery.dialling import Dialler
from sekisho.delivery.feed import Feed, Outlet
from sekisho.delivery.job import Job
from sekisho.delivery.ledger import Ledger, MemoryLimits
from sekisho.delivery.pool import Pool
from sekisho.delivery.routes import Routes, Target
from sekisho.delivery.settling import Settling
from sekisho.delivery.tasks import Tasks
from sekisho.delivery.verdict import NO_ROUTE
from sekisho.ports.clock import Clock
from sekisho.preparation.model import Preparer
from sekisho.queue.model import Deferred, Delivery, Outcome
from sekisho.queue.retry import RetryPolicy
from sekisho.queue.spool import HeldSenders, Spool
from sekisho.queue.watch import ChangeKind, SpoolChange

_log = structlog.get_logger(__name__)

READ_MAX = 256
"""Deliveries read from the spool at once."""
WAKE_AFTER = 64
"""Settlements after which it is worth while to look whether there is room for more."""
RECIPIENTS_MAX = 100
"""In one transaction: what every host must take (RFC 5321 §4.5.3.1.8)."""
SWEEP_S = 1.0
QUIT_S = 1.0
"""How long a drain waits for hosts to answer QUIT."""
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 60.0
"""Between two sums over the spool that nobody asked for, and after a read that failed."""
TIMER_MAX_S = 60.0
"""The wall clock may be set: due times are looked at this often at least."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A feed and where it leads."""

    feed: Feed
    outlet: Outlet
    shares_sender: bool
    """The route has ``verp = false``."""


class Scheduler:
    """Made and used on the loop. ``start``, then ``offer`` and the like, then ``drain``."""

    def __init__(
        self,
        spool: Spool,
        preparer: Preparer,
        *,
        clock: Clock,
        hostname: str,
        routes: Routes,
        holds: Callable[[], HeldSenders],
        retry: RetryPolicy,
        capture: CaptureStore | None = None,
        memory: MemoryLimits | None = None,
        connections: ConnectionLimits | None = None,
        source_addresses: Sequence[str] = (),
        extra_ca: Path | None = None,
        read_ahead: int = 64,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``capture``: everything ends there, whatever the routes. ``read_ahead``: jobs prepared ahead in each lane."""
        self._spool = spool
        self._preparer = preparer
        self._clock = clock
        self._hostname = hostname
        self._routes = routes
        self._holds = holds
        self._connections = connections or ConnectionLimits()
        self._read_ahead = read_ahead
        self._ledger = Ledger(memory or MemoryLimits())
        self._backlog = Backlog()
        self._settling = Settling(
            spool, self._ledger, clock=clock, retry=retry, chance=chance, on_settled=self._settled
        )
        self._dialler = Dialler(source_addresses, extra_ca)
        self._tasks = Tasks()
        self._loop = asyncio.get_running_loop()
        self._hungry = asyncio.Event()
        self._lanes: dict[Target | None, Lane] = {}
        self._retired: list[Outlet] = []
        self._capture = capture
        if capture is not None:
            self._lanes[None] = self._capture_lane(capture)
        self._scan_wanted = False
        self._scan_pause_s = PAUSE_FIRST_S
        self._scan_timer: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._since_wake = 0
        self._draining = False
        self._rested = asyncio.Event()

    # What others call.

    def start(self) -> None:
        """Begin to deliver: first what the spool has."""
        self._tasks.spawn(self._read_spool(), "spool reader")
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        self.rescan()

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Take what was just committed, all of one message; what does not fit is read from the spool later."""
        if not self._draining:
            self._take(deliveries)

    def rescan(self) -> None:
        """The spool may hold more than is known here: adopted, claimed, released, restored."""
        self._scan_pause_s = PAUSE_FIRST_S
        self._scan()

    def changed(self, change: SpoolChange) -> None:
        """An operator or another process changed deliveries."""
        if change.kind in (ChangeKind.DROPPED, ChangeKind.HELD):
            self.forget(change.rows)
        else:
            self._ledger.reinstate(change.rows)
            for destination in change.destinations:
                self._backlog.now(destination)
            self._hungry.set()
            if change.kind is ChangeKind.RELEASED:
                # It may be due later, and held mail has no timer.
                self.rescan()

    def forget(self, rows: Iterable[int]) -> None:
        """These rows are no longer to be attempted; those being attempted right now are settled all the same."""
        self._ledger.forget(rows)
        self._hungry.set()

    def holds_changed(self) -> None:
        """Senders are held or released: held ones are set aside as they come up, released ones must be found."""
        self.rescan()

    def use_routes(self, routes: Routes) -> None:
        """Reload: what is waiting goes by the new table; connections that no route leads to any more are ended."""
        self._routes = routes
        if self._capture is not None or self._draining:
            return
        waiting: list[Job] = []
        for target, lane in tuple(self._lanes.items()):
            waiting += lane.feed.take_all()
            if target not in routes.targets:
                del self._lanes[target]
                self._retired.append(lane.outlet)
                lane.feed.divert(self._reroute)
                lane.outlet.retire()
        for job in waiting:
            self._reroute(job)

    async def drain(self, deadline_s: float) -> None:
        """Start nothing more, finish what is under way, write every outcome; what takes longer is cut off.

        What was cut off stays in the spool as it was and is attempted again after the next start.
        """
        self._draining = True
        for timer in (self._timer, self._sweeper, self._scan_timer):
            if timer is not None:
                timer.cancel()
        for lane in self._lanes.values():
            lane.feed.stop()
            lane.outlet.retire()
        try:
            async with asyncio.timeout(deadline_s):
                await self._until(lambda: not self._under_way)
                async with asyncio.timeout(QUIT_S):
                    await self._until(lambda: all(outlet.is_over for outlet in self._outlets()))
        except TimeoutError:
            if self._under_way:
                _log.warning("delivery.drain_cut_off", under_way=self._under_way)
        for outlet in self._outlets():
            outlet.abandon()
        await self._tasks.close()

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._rested.clear()
            await self._rested.wait()

    @property
    def in_memory(self) -> int:
        """Deliveries that memory holds."""
        return len(self._ledger)

    @property
    def _under_way(self) -> int:
        return sum(outlet.busy for outlet in self._outlets()) + self._settling.unwritten

    def _outlets(self) -> list[Outlet]:
        return [*(lane.outlet for lane in self._lanes.values()), *self._retired]

    # Into lanes.

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        fitting: list[Delivery] = []
        for delivery in deliveries:
            if self._ledger.has(delivery):
                continue  # a read of the spool that began after the commit was faster than whoever offers it
            destination = delivery.recipient.destination
            # What is older goes first: while the spool has something due there, the new one waits in the spool too.
            if self._backlog.is_wanting(destination) or self._ledger.room(destination) <= len(fitting):
                self._backlog.now(destination)
                self._hungry.set()
            else:
                fitting.append(delivery)
        self._admit(fitting)

    def _admit(self, deliveries: Sequence[Delivery]) -> None:
        """Form jobs, put them into the ledger and then into their lanes."""
        formed: list[tuple[Lane | None, list[Delivery]]] = []
        batches: dict[tuple[int, bytes, str], list[Delivery]] = {}
        sharers: dict[bytes, int] = {}
        for delivery in deliveries:
            message = delivery.message
            lane = self._lane(delivery)
            if lane is not None and lane.shares_sender:
                key = (id(lane), message.id, delivery.recipient.personal_to)
                batch = batches.get(key)
                if batch is not None and len(batch) < RECIPIENTS_MAX:
                    batch.append(delivery)
                    continue
                batches[key] = batch = [delivery]
            else:
                batch = [delivery]
            formed.append((lane, batch))
            sharers[message.id] = sharers.get(message.id, 0) + 1
        for lane, batch in formed:
            job = Job(tuple(batch), sharers[batch[0].message.id])
            self._ledger.admit(job)
            if lane is not None:
                lane.feed.put(job)
            else:
                self._unroutable(job)

    def _reroute(self, job: Job) -> None:
        """A job of a lane that is gone: form it anew by the table in force."""
        remaining = self._ledger.remaining(job)
        for delivery in remaining:
            self._ledger.release(delivery)
        self._admit(remaining)

    def _unroutable(self, job: Job) -> None:
        # The gate refuses such recipients; the table may have changed since.
        job.started = True
        for delivery in job.deliveries:
            self._settling.conclude(delivery, NO_ROUTE)

    def _lane(self, delivery: Delivery) -> Lane | None:
        if self._capture is not None:
            return self._lanes[None]
        message = delivery.message
        route = self._routes.find(delivery.recipient.destination, message.account_id, message.subuser_id)
        if route is None:
            return None
        lane = self._lanes.get(route.target)
        if lane is None:
            lane = self._lanes[route.target] = self._pool_lane(route.target)
        return lane

    def _feed(self) -> Feed:
        return Feed(
            self._preparer,
            self._ledger,
            self._settling.conclude,
            self._holds,
            self._read_ahead,
            on_room=self._hungry.set,
        )

    def _pool_lane(self, target: Target) -> Lane:
        feed = self._feed()
        outlet = Pool(
            target,
            feed,
            self._settling.conclude,
            self._dialler,
            self._connections,
            hostname=self._hostname,
            tasks=self._tasks,
            on_rest=self._rested.set,
        )
        feed.outlet = outlet
        return Lane(feed, outlet, shares_sender=not target.verp)

    def _capture_lane(self, store: CaptureStore) -> Lane:
        feed = self._feed()
        feed.outlet = outlet = CaptureOutlet(store, feed, self._settling.conclude, self._clock, self._tasks)
        return Lane(feed, outlet, shares_sender=False)

    # Out of lanes.

    def _settled(self, delivery: Delivery, outcome: Outcome) -> None:
        if isinstance(outcome, Deferred):
            self._backlog.later(delivery.recipient.destination, outcome.next_ms, self._clock.now_ms())
            self._set_timer()
        if self._draining:
            self._rested.set()
            return
        self._since_wake += 1
        if self._backlog.wanting and (self._since_wake >= WAKE_AFTER or len(self._ledger) < WAKE_AFTER):
            self._since_wake = 0
            self._hungry.set()

    # From the spool.

    async def _read_spool(self) -> None:
        pause_s = PAUSE_FIRST_S
        while not self._draining:
            await self._hungry.wait()
            self._hungry.clear()
            try:
                await self._read_what_fits()
                pause_s = PAUSE_FIRST_S
            except Exception as error:  # noqa: BLE001  # whatever it was, mail in the spool must not be left there
                _log.error("delivery.read_failed", exc_info=error, pause_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
                self._hungry.set()

    async def _read_what_fits(self) -> None:
        if self._scan_wanted:
            self._scan_wanted = False
            try:
                sums = await self._spool.destinations(self._clock.now_ms())
            except BaseException:
                self._scan_wanted = True
                raise
            self._backlog.learn(sums, self._clock.now_ms())
        self._backlog.ripen(self._clock.now_ms())
        self._set_timer()
        while not self._draining and (found := self._choose()) is not None:
            await self._read(*found)

    def _choose(self) -> tuple[str, int] | None:
        """Give the next destination in the rotation that there is room for, and how much."""
        for _ in range(self._backlog.wanting):
            destination = self._backlog.first
            room = self._ledger.room(destination)
            if room <= 0 and not self._ledger.count(destination):
                return None  # nothing fits at all
            if room > 0 and self._ledger.count(destination) < READ_MAX:
                return destination, min(room, READ_MAX)
            self._backlog.turned(destination)
        return None

    async def _read(self, destination: str, limit: int) -> None:
        now_ms = self._clock.now_ms()
        known = self._ledger.known(destination)
        # Its turn is over whatever comes of it: a destination that cannot be read must not be all that is tried.
        self._backlog.turned(destination)
        self._backlog.reading(destination)
        found = await self._spool.due(destination, now_ms, limit, known, self._holds())
        if self._draining:
            return
        if not found:
            if self._backlog.drained(destination):
                self._scan_later()
            return
        # What was offered while the read was under way is here already.
        self._admit([delivery for delivery in found if not self._ledger.has(delivery)])

    def _scan(self) -> None:
        if self._scan_timer is not None:
            self._scan_timer.cancel()
            self._scan_timer = None
        self._scan_wanted = True
        self._hungry.set()

    def _scan_later(self) -> None:
        if self._scan_timer is None:
            self._scan_timer = self._loop.call_later(self._scan_pause_s, self._scan)
            self._scan_pause_s = min(self._scan_pause_s * 2, PAUSE_MAX_S)

    # Timers.

    def _set_timer(self) -> None:
        next_ms = self._backlog.next_ms
        if next_ms is None or self._draining:
            return
        wait_s = min(max(0.0, (next_ms - self._clock.now_ms()) / 1000), TIMER_MAX_S)
        when = self._loop.time() + wait_s
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._hungry.set()

    def _sweep(self) -> None:
        now = self._loop.time()
        self._settling.refresh()
        for outlet in self._outlets():
            outlet.sweep(now)
        self._retired = [outlet for outlet in self._retired if not outlet.is_over]
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
