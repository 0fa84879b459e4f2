"""Reads deliveries from the spool when they are due and there is room for them.

Destinations take turns, several in one read. Nothing here polls: settlements, commits, operators and one timer for the
next due time wake the reader. What is parked behind a next hop that is out of reach is looked at all the same, for what
has its end now: what nobody has tried yet is deferred with the reason, what is too old expires. The rest is left there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from sekisho.delivery.backlog import Backlog
from sekisho.delivery.feed import Gate
from sekisho.delivery.lanes import Lane, Lanes
from sekisho.delivery.ledger import Ledger
from sekisho.ports.clock import Clock
from sekisho.queue.model import Delivery
from sekisho.queue.spool import Found, HeldSenders, Spool, Wanted

_log = structlog.get_logger(__name__)

READ_MAX = 256
"""Deliveries read from the spool at once."""
DESTINATIONS_MAX = 64
"""Destinations in one read."""
LOOKS_MAX = 256
"""Destinations looked at for one read: most may have no room."""
UNKNOWN_MAX = 32
"""Read of a destination whose lane is not known: it may be one that holds enough already, or one to be looked up."""
LIST_MAX = 1000
"""Destinations listed at once when the spool is gone through."""
TIMER_MAX_S = 60.0
"""A clock that is being slewed runs apart from the loop's: due times are looked at this often at least."""
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 60.0
"""After a read that failed."""


class Refill:
    """The one reader of a scheduler."""

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        backlog: Backlog,
        lanes: Lanes,
        *,
        clock: Clock,
        holds: Callable[[], HeldSenders],
        max_age_ms: int,
        room: Callable[[str, Lane | None], int],
        admit: Callable[[Sequence[Delivery]], None],
    ) -> None:
        """``room`` says how much more of a destination fits; ``admit`` takes what was read and is not known."""
        self._spool = spool
        self._ledger = ledger
        self._backlog = backlog
        self._lanes = lanes
        self._clock = clock
        self._holds = holds
        self._max_age_ms = max_age_ms
        self._room = room
        self._admit = admit
        self._loop = asyncio.get_running_loop()
        self._hungry = asyncio.Event()
        self._listed: str | None = None
        """The last destination listed; None = no list is wanted."""
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        """When the timer is set; the handle need not know (uvloop gives a plain one for a wait under a millisecond)."""
        self._stopped = False

    def wake(self) -> None:
        """There may be something to read, or room for it."""
        self._hungry.set()

    def list_anew(self) -> None:
        """The spool may hold what nobody here knows of."""
        self._listed = ""
        self._hungry.set()

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    async def run(self) -> None:
        """Read until cancelled or stopped."""
        pause_s = PAUSE_FIRST_S
        while not self._stopped:
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
        while not self._stopped:
            if self._listed is not None:
                await self._list(self._listed)
            self._backlog.ripen(self._clock.now_ms())
            self.set_timer()
            wanted = self._choose()
            if wanted:
                await self._read(wanted)
            elif self._listed is None:
                return

    async def _list(self, after: str) -> None:
        """Learn of some more destinations; between two parts of the list mail is read."""
        found = await self._spool.destinations(after, LIST_MAX)
        self._backlog.learn(found, self._clock.now_ms())
        if self._listed == after:  # else somebody wants it from the start
            self._listed = found[-1].destination if len(found) == LIST_MAX else None

    def _choose(self) -> list[Wanted]:
        """Give the next destinations in the rotation that there is room for, and how much of each."""
        wanted: list[Wanted] = []
        seen: set[str] = set()
        for _ in range(min(self._backlog.wanting, LOOKS_MAX)):
            destination = self._backlog.rotate()
            if destination in seen:  # once around
                break
            seen.add(destination)
            each = self._wish(destination)
            if each is not None:
                wanted.append(each)
                if len(wanted) == DESTINATIONS_MAX:
                    break
        return wanted

    def _wish(self, destination: str) -> Wanted | None:
        lane = self._lanes.recent(destination)
        room = min(self._room(destination, lane), READ_MAX)
        if room <= 0 or self._ledger.count(destination) >= READ_MAX:
            return None
        known = self._ledger.known(destination)
        if lane is None:
            return Wanted(destination, min(room, UNKNOWN_MAX), known)
        if lane.feed.wants_probe:
            return Wanted(destination, 1, known)
        if lane.feed.gate is not Gate.OPEN and not self._lanes.routes.splits(destination):
            return Wanted(destination, room, known, tried_after_ms=self._clock.now_ms() - self._max_age_ms)
        return Wanted(destination, room, known)

    async def _read(self, wanted: Sequence[Wanted]) -> None:
        now_ms = self._clock.now_ms()
        self._backlog.reading()
        lanes = [self._lanes.recent(wish.destination) for wish in wanted]
        before = [(lane, 0 if lane is None else lane.parkings) for lane in lanes]
        limit = max(1, min(READ_MAX, self._ledger.free))
        found = await self._spool.due(wanted, now_ms, limit, self._holds())
        if self._stopped:
            return
        self._backlog.read(found, now_ms)
        self._backlog.unread([each.destination for each in wanted[len(found) :]])
        for wish, each, (lane, parkings) in zip(wanted, found, before, strict=False):
            self._note_parked(wish, each, lane, parkings)
        # What was offered while the read was under way is here already.
        has = self._ledger.has
        self._admit([delivery for each in found for delivery in each.deliveries if not has(delivery)])

    def _note_parked(self, wish: Wanted, found: Found, before: Lane | None, parkings: int) -> None:
        """Take in what a read says of what is parked; ``before``: its lane when the read began, and its parkings."""
        destination = wish.destination
        lane = self._lanes.recent(destination)
        if wish.tried_after_ms is not None:
            if lane is None or lane.feed.gate is Gate.OPEN or lane.feed.wants_probe:
                # That came about while the read was under way: what it left out may go now.
                self._backlog.now(destination)
            else:
                lane.parked.add(destination)
        elif lane is None or found.deliveries or found.has_more:
            pass
        # What memory held when the read began was left out of it, and may have been parked since.
        elif lane is before and lane.parkings == parkings:
            lane.parked.discard(destination)

    # The timer.

    def set_timer(self) -> None:
        """Be woken when the next due time comes."""
        next_ms = self._backlog.next_ms
        if next_ms is None or self._stopped:
            return
        wait_s = min(max(0.0, (next_ms - self._clock.now_ms()) / 1000), TIMER_MAX_S)
        when = self._loop.time() + wait_s
        if self._timer is not None:
            if self._rings_at <= when:
                return
            self._timer.cancel()
        self._rings_at = when
        self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._hungry.set()
