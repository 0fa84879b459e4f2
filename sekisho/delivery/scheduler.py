"""The scheduler: what is due goes to the lane of its next hop, and what comes back is settled.

What was just committed comes in by ``offer`` straight from memory. Memory is bounded (ledger.py); what does not fit
stays in the spool and is read when there is room, oldest first, in rotation over destinations (refill.py). What is
deferred leaves memory and is read again when due. While a next hop is out of reach (feed.py) what waits for it stays in
the spool, where people and the next start find out why.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.backlog import Backlog
from sekisho.delivery.capture import CaptureOutlet, CaptureStore
from sekisho.delivery.dialling import Dialler
from sekisho.delivery.feed import Feed, Gate, Outlet, is_held
from sekisho.delivery.job import Holding, Job
from sekisho.delivery.lanes import Lane, Lanes
from sekisho.delivery.ledger import Ledger, MemoryLimits
from sekisho.delivery.lookups import Lookups, SiteFinder
from sekisho.delivery.pool import Pool
from sekisho.delivery.quarantine import Quarantine
from sekisho.delivery.refill import Refill
from sekisho.delivery.routes import Routes, Target
from sekisho.delivery.settling import FAULTS_MAX, Settling
from sekisho.delivery.shaping import NextHop, Shape, Shaping
from sekisho.delivery.site import NoMail, Site
from sekisho.delivery.tasks import Tasks
from sekisho.delivery.verdict import Temporary, Verdict
from sekisho.ports.clock import Clock
from sekisho.preparation.model import Preparer
from sekisho.queue.flights import Flights
from sekisho.queue.model import Bounced, Deferred, Delivery, Outcome
from sekisho.queue.retry import RetryPolicy
from sekisho.queue.spool import RATE_OF, HeldSenders, OpenHop, ShutHop, Spool
from sekisho.queue.watch import ChangeKind, SpoolChange

_log = structlog.get_logger(__name__)

WAKE_AFTER = 64
"""Settlements after which it is worth while to look whether there is room for more."""
RECIPIENTS_MAX = 100
"""In one transaction: what every host must take (RFC 5321 §4.5.3.1.8)."""
SWEEP_S = 1.0
QUIT_S = 1.0
"""How long a drain waits for hosts to answer QUIT."""
RATE_NOTE_S = 5.0
"""Where the next may go later than this, people are told anew when it is."""
RATE_NOTED_MAX = 1000
"""Destinations of one lane, about: a lane may be busy for days, and domains are the clients' choice."""
BLAME_S = 5.0
"""How long the outcomes of a fault may take to be written before the process ends all the same."""
KILLED = Temporary(
    f"4.3.0 a worker process of this server ended {FAULTS_MAX} times while it was sending this message",
    "4.3.0",
    is_fault=True,
)
_LOOKUP_SHARE = 4
"""A quarter of memory at most waits for DNS: ten thousand dead domains must not stand before others."""


class Scheduler:
    """Made and used on the loop. ``start``, then ``offer`` and the like, then ``drain``. Implements ``lanes.Yard``."""

    def __init__(
        self,
        spool: Spool,
        preparer: Preparer,
        *,
        clock: Clock,
        wall: Clock | None = None,
        hostname: str,
        routes: Routes,
        holds: Callable[[], HeldSenders],
        retry: RetryPolicy,
        sites: SiteFinder | None = None,
        shaping: Shaping | None = None,
        capture: CaptureStore | None = None,
        flights: Flights | None = None,
        memory: MemoryLimits | None = None,
        connections: ConnectionLimits | None = None,
        source_addresses: Sequence[str] = (),
        extra_ca: Path | None = None,
        read_ahead: int = 64,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``sites``: where mail goes that no route leads anywhere; None = nowhere.

        ``capture``: everything ends there, whatever the routes. ``flights``: what was under way when workers died, and
        where to write down what is; None = nobody will ask. ``connections``: their times; how many there are and
        for how much, ``shaping`` says. ``read_ahead``: jobs prepared ahead in each lane.
        """
        self._spool = spool
        self._preparer = preparer
        self._clock = clock
        self._wall = wall or clock
        self._hostname = hostname
        self._holds = holds
        self._connections = connections or ConnectionLimits()
        self._read_ahead = read_ahead
        self._memory = memory or MemoryLimits()
        self._ledger = Ledger(self._memory, flights)
        self._backlog = Backlog()
        self._settling = Settling(
            spool,
            self._ledger,
            clock=clock,
            wall=wall or clock,
            retry=retry,
            chance=chance,
            on_settled=self._settled,
        )
        self._dialler = Dialler(source_addresses, extra_ca, sites)
        self._tasks = Tasks()
        self._quarantine = Quarantine()
        self._loop = asyncio.get_running_loop()
        self._lanes = Lanes(routes, shaping or Shaping(), sites, self._pool_lane)
        self._lookups = None if sites is None else Lookups(sites, self._tasks, self._looked_up)
        self._unsent = Holding()
        """What is concluded without any lane."""
        self._capture = None if capture is None else self._capture_lane(capture)
        self._refill = Refill(
            spool,
            self._ledger,
            self._backlog,
            self._lanes,
            clock=clock,
            holds=holds,
            max_age_ms=round(retry.max_age_s * 1000),
            room=self._room,
            admit=self._admit_read,
        )
        self._retired: list[Outlet] = []
        self._shut_before: dict[str, ShutHop] = {}
        """Next hops that another process found out of reach."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._swept_at = self._loop.time()
        self._since_wake = 0
        self._draining = False
        self._rested = asyncio.Event()

    # What others call.

    def start(self) -> None:
        """Begin to deliver: first what the spool has."""
        self._tasks.spawn(self._run(), "spool reader")
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    async def _run(self) -> None:
        try:
            self._shut_before = {each.hop: each for each in await self._spool.shut_hops()}
            for each in self._shut_before.values():
                if each.is_rate:  # of a worker that never came to say that it is over
                    self._spool.note(OpenHop(each.hop))
        except Exception as error:  # noqa: BLE001  # every host is asked anew, then
            _log.warning("delivery.shut_hops_unread", error=repr(error))
        self._refill.list_anew()
        await self._refill.run()

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Take what was just committed, all of one message; what does not fit is read from the spool later."""
        if not self._draining:
            self._take(deliveries)

    def rescan(self) -> None:
        """The spool may hold more than is known here: adopted, claimed, released, restored."""
        self._refill.list_anew()

    def changed(self, change: SpoolChange) -> None:
        """An operator or another process changed deliveries."""
        if change.kind in (ChangeKind.DROPPED, ChangeKind.HELD):
            self.forget(change.rows)
            return
        self._ledger.reinstate(change.rows)
        for destination in change.destinations:
            self._backlog.now(destination)
        if change.kind is ChangeKind.DUE:
            self._hurry(change.destinations)
        self._refill.wake()
        if change.kind is ChangeKind.RELEASED:
            # It may be due later, and held mail has no timer.
            self.rescan()

    def forget(self, rows: Iterable[int]) -> None:
        """These rows are no longer to be attempted; those being attempted right now are settled all the same."""
        self._ledger.forget(rows)
        self._refill.wake()

    def holds_changed(self) -> None:
        """Senders are held or released: held ones are set aside as they come up, released ones must be found."""
        self.rescan()

    def use_routes(self, routes: Routes) -> None:
        """Reload: what is waiting goes by the new table; connections that no route leads to any more are ended."""
        self._use(routes, None)

    def use_shaping(self, shaping: Shaping) -> None:
        """Reload: other limits from now on, over the same connections."""
        self._use(None, shaping)

    async def blame_preparing(self) -> None:
        """A signing process died: what it had counts as a fault of ours, on disk when this returns.

        For the end of a worker: nothing is sent after this. Without it, the message that kills its signer would kill
        the next one as well, for ever.
        """
        self._draining = True
        for lane in self._all_lanes():
            lane.feed.stop()
        # The answers that will not come are known by now; they tell preparation in this turn and the feeds in the next.
        for _ in range(3):
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(BLAME_S):
                await self._until(lambda: not self._settling.unwritten)
        except TimeoutError:
            _log.warning("delivery.blame_unwritten", unwritten=self._settling.unwritten)
        self._ledger.flights.rest_all()

    async def drain(self, deadline_s: float) -> None:
        """Start nothing more, finish what is under way, write every outcome; what takes longer is cut off.

        What was cut off stays in the spool as it was and is attempted again after the next start.
        """
        self._draining = True
        self._refill.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for lane in self._all_lanes():
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
        self._ledger.flights.rest_all()
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

    def _all_lanes(self) -> list[Lane]:
        return [*self._lanes] if self._capture is None else [self._capture]

    def _outlets(self) -> list[Outlet]:
        return [*(lane.outlet for lane in self._all_lanes()), *self._retired]

    # Into lanes.

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        fitting: list[Delivery] = []
        taken: dict[Lane | None, int] = {}
        for delivery in deliveries:
            if self._ledger.has(delivery):
                continue  # a read of the spool that began after the commit was faster than whoever offers it
            destination = delivery.recipient.destination
            way = self._way(delivery)
            lane = way if isinstance(way, Lane) else None
            room = min(self._room(destination, lane) - taken.get(lane, 0), self._ledger.free - len(fitting))
            # What is older goes first: while the spool has something due there, the new one waits in the spool too.
            if self._backlog.is_wanting(destination) or room <= 0:
                self._backlog.now(destination)
                self._refill.wake()
            else:
                fitting.append(delivery)
                taken[lane] = taken.get(lane, 0) + 1
        self._admit(fitting)

    def _room(self, destination: str, lane: Lane | None) -> int:
        """How many more deliveries for a destination may come into memory; ``lane`` None = not known."""
        if lane is not None:
            return self._ledger.room(destination, lane.holding)
        room = self._ledger.room(destination, None)
        if self._lookups is None:
            return room
        return min(room, self._memory.deliveries // _LOOKUP_SHARE - self._lookups.holding.count)

    def _way(self, delivery: Delivery, found: Site | NoMail | None = None) -> Lane | NoMail | None:
        return self._lanes.of(delivery, found) if self._capture is None else self._capture

    def _admit_read(self, deliveries: Sequence[Delivery]) -> None:
        """Take what was read from the spool: deaths of workers count as faults that nobody could write down."""
        innocent: list[Delivery] = []
        for delivery in deliveries:
            deaths = self._ledger.flights.deaths(delivery)
            if not deaths:
                innocent.append(delivery)
            elif delivery.faults + deaths < FAULTS_MAX:
                innocent.append(replace(delivery, faults=delivery.faults + deaths))
            else:
                self._set_aside(replace(delivery, faults=FAULTS_MAX - 1))
        self._admit(innocent)

    def _set_aside(self, delivery: Delivery) -> None:
        job = Job((delivery,), self._unsent)
        self._ledger.admit(job)
        self._conclude_unsent(job, KILLED)

    def _admit(self, deliveries: Sequence[Delivery], found: Site | NoMail | None = None) -> None:
        """Form jobs, put them into the ledger and then on their way. ``found``: what a look-up of theirs came to."""
        formed: list[tuple[Lane | NoMail | None, list[Delivery]]] = []
        batches: dict[tuple[int, bytes, str], list[Delivery]] = {}
        sharers: dict[bytes, int] = {}
        for delivery in deliveries:
            message = delivery.message
            way = self._way(delivery, found)
            # One that a fault of ours befell travels alone: it must not take others with it.
            if isinstance(way, Lane) and way.shares_sender and not delivery.faults:
                key = (id(way), message.id, delivery.recipient.personal_to)
                batch = batches.get(key)
                if batch is not None and len(batch) < RECIPIENTS_MAX:
                    batch.append(delivery)
                    continue
                batches[key] = batch = [delivery]
            else:
                batch = [delivery]
            formed.append((way, batch))
            sharers[message.id] = sharers.get(message.id, 0) + 1
        for way, batch in formed:
            job = Job(tuple(batch), self._holding(way), sharers[batch[0].message.id])
            self._ledger.admit(job)
            if isinstance(way, Lane):
                way.feed.put(job)
            elif way is not None:
                self._conclude_unsent(job, way.verdict)
            elif self._lookups is not None:
                self._lookups.put(batch[0].recipient.destination, job)

    def _holding(self, way: Lane | NoMail | None) -> Holding:
        if isinstance(way, Lane):
            return way.holding
        return self._lookups.holding if way is None and self._lookups is not None else self._unsent

    def _looked_up(self, jobs: list[Job], found: Site | NoMail) -> None:
        for job in jobs:
            self._reroute(job, found)
        self._refill.wake()

    def _reroute(self, job: Job, found: Site | NoMail | None = None) -> None:
        """A job whose way is another now, or known now: form it anew."""
        remaining = self._ledger.remaining(job)
        for delivery in remaining:
            self._ledger.release(delivery)
        if not self._draining:
            self._admit(remaining, found)

    def _conclude_unsent(self, job: Job, verdict: Verdict) -> None:
        if is_held(self._holds(), job.deliveries[0].message):
            for delivery in job.deliveries:
                self._ledger.release(delivery)
            return
        job.started = True
        for delivery in job.deliveries:
            self._settling.conclude(delivery, verdict)

    def _use(self, routes: Routes | None, shaping: Shaping | None) -> None:
        gone, jobs = self._lanes.use(routes, shaping)
        if self._capture is not None or self._draining:
            return
        if self._lookups is not None:
            jobs += self._lookups.take_all()
        for lane in gone:
            self._end_lane(lane)
        for job in jobs:
            self._reroute(job)

    # Lanes.

    def _new_feed(self, lane: Lane) -> Feed:
        return Feed(
            self._preparer,
            self._ledger,
            self._settling.conclude,
            holds=self._holds,
            read_ahead=self._read_ahead,
            keeper=lane,
            quarantine=self._quarantine,
            per_second=lane.shape.per_second,
        )

    def _pool_lane(self, hop: NextHop, shape: Shape, domain: str) -> Lane:
        lane = Lane(self, hop, shape, domain)
        lane.feed = feed = self._new_feed(lane)
        lane.outlet = feed.outlet = pool = Pool(
            hop,
            feed,
            self._settling.conclude,
            self._dialler,
            self._limits(shape),
            hostname=self._hostname,
            tls=hop.tls if isinstance(hop, Target) else shape.tls,
            tasks=self._tasks,
            on_rest=self._rested.set,
        )
        lane.reshape = partial(self._reshape, lane, pool)
        before = self._shut_before.pop(lane.name, None)
        wait_s = 0.0 if before is None else (before.until_ms - self._clock.now_ms()) / 1000
        if before is not None and wait_s > 0:
            lane.is_noted = True
            feed.remember(Temporary(before.reply, before.status), self._loop.time() + wait_s)
        return lane

    def _limits(self, shape: Shape) -> ConnectionLimits:
        return replace(self._connections, connections=shape.connections, deliveries=shape.messages_per_connection)

    def _reshape(self, lane: Lane, pool: Pool, shape: Shape) -> None:
        pool.limits = self._limits(shape)
        lane.feed.use_rate(shape.per_second)

    def _capture_lane(self, store: CaptureStore) -> Lane:
        lane = Lane(self, None, Shape(), "")
        lane.feed = feed = self._new_feed(lane)
        lane.outlet = feed.outlet = CaptureOutlet(store, feed, self._settling.conclude, self._wall, self._tasks)
        return lane

    def _hurry(self, destinations: Sequence[str]) -> None:
        """An operator wants these tried now, whatever is known of their next hops."""
        self._shut_before.clear()
        for lane in self._all_lanes():
            if lane.feed.gate is Gate.SHUT and not lane.parked.isdisjoint(destinations):
                lane.feed.hurry()

    def _end_lane(self, lane: Lane) -> None:
        """Nothing leads there any more."""
        self._retired.append(lane.outlet)
        self._unpark(lane)
        self._note_open(lane)
        self._forget_rate(lane)
        lane.feed.divert(self._reroute)
        lane.outlet.retire()

    # What lanes say (lanes.Yard).

    def lane_has_room(self) -> None:
        self._refill.wake()

    def lane_shut(self, lane: Lane, verdict: Temporary | Bounced, until: float) -> None:
        if isinstance(verdict, Temporary):
            lane.outage = verdict
            lane.until_ms = self._clock.now_ms() + max(0, round((until - self._loop.time()) * 1000))
            self._note_shut(lane)
        self._refill.wake()

    def lane_looks_again(self, lane: Lane) -> None:
        for destination in lane.parked:
            self._backlog.now(destination)
        self._refill.wake()

    def lane_reopened(self, lane: Lane) -> None:
        self._unpark(lane)
        self._note_open(lane)

    def must_wait(self, delivery: Delivery) -> bool:
        return (
            delivery.attempts > 0
            and not self._settling.is_expired(delivery)
            and not self._lanes.routes.splits(delivery.recipient.destination)
        )

    def _unpark(self, lane: Lane) -> None:
        self.lane_looks_again(lane)
        lane.parked.clear()

    def _note_shut(self, lane: Lane) -> None:
        fresh = tuple(lane.unnoted)
        lane.noted |= lane.unnoted
        lane.unnoted.clear()
        lane.is_noted = True
        self._spool.note(ShutHop(lane.name, lane.until_ms, lane.outage.reply, lane.outage.status, fresh))

    def _note_open(self, lane: Lane) -> None:
        if lane.is_noted:
            lane.is_noted = False
            lane.noted.clear()
            lane.unnoted.clear()
            self._spool.note(OpenHop(lane.name))

    def _note_rate(self, lane: Lane) -> None:
        """Tell people that mail waits for its rate: once it did so at two looks, until nothing does."""
        wait_s, noted = lane.feed.rate_wait_s, lane.rate_note
        if wait_s is None:
            self._forget_rate(lane)
        elif noted is not None or (lane.was_limited and wait_s):
            now_ms = self._clock.now_ms()
            told = noted.destinations if noted else ()
            fresh = lane.feed.destinations.difference(told) if len(told) < RATE_NOTED_MAX else set()
            if noted is None or fresh or (wait_s > RATE_NOTE_S and noted.until_ms < now_ms):
                reply = f"delivery.shaping lets {lane.shape.per_second:g} a second go from each worker"
                note = ShutHop(RATE_OF + lane.name, now_ms + round(wait_s * 1000), reply, "", tuple(fresh))
                self._spool.note(note)
                lane.rate_note = replace(note, destinations=(*told, *fresh))
        lane.was_limited = bool(wait_s)

    def _forget_rate(self, lane: Lane) -> None:
        if lane.rate_note is not None:
            lane.rate_note = None
            self._spool.note(OpenHop(RATE_OF + lane.name))

    # Out of lanes.

    def _settled(self, delivery: Delivery, outcome: Outcome) -> None:
        if isinstance(outcome, Deferred) and not outcome.is_set_aside:
            self._backlog.later(delivery.recipient.destination, outcome.next_ms, self._clock.now_ms())
            self._refill.set_timer()
        if self._draining:
            self._rested.set()
            return
        self._since_wake += 1
        if self._backlog.wanting and (self._since_wake >= WAKE_AFTER or len(self._ledger) < WAKE_AFTER):
            self._since_wake = 0
            self._refill.wake()

    def _sweep(self) -> None:
        now = self._loop.time()
        elapsed_s, self._swept_at = max(now - self._swept_at, 0.001), now
        self._settling.refresh()
        for outlet in self._outlets():
            outlet.sweep(now)
        self._retired = [outlet for outlet in self._retired if not outlet.is_over]
        for lane in self._all_lanes():
            lane.holding.tick(elapsed_s)
            if lane.unnoted and lane.feed.gate is Gate.SHUT:
                self._note_shut(lane)
            self._note_rate(lane)
        for lane in self._lanes.forget_idle(now):
            self._end_lane(lane)
        if self._backlog.wanting:
            # A slow lane has room again long before so many settlements have come that it would be looked for.
            self._refill.wake()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
