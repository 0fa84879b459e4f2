"""One feed alone, between a keeper and an outlet that only note what they are told."""

from __future__ import annotations

import asyncio

from sekisho.delivery.feed import REFUSED_AT_ONCE, Feed, Gate
from sekisho.delivery.job import Holding, Job
from sekisho.delivery.ledger import Ledger, MemoryLimits
from sekisho.delivery.quarantine import Quarantine
from sekisho.delivery.verdict import Temporary, Verdict
from sekisho.queue.model import Bounced, BounceType, Delivery, Dropped
from sekisho.queue.spool import HeldSenders
from tests.fakes.preparer import FakePreparer
from tests.fakes.spool import make_message, recipients

DOWN = Temporary("4.4.1 no answer", "4.4.1")


class Keeper:
    """Notes everything; what was tried before waits."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.waiting: list[str] = []

    def room(self) -> None:
        self.told.append("room")

    def shut(self, verdict: Temporary | Bounced, until: float) -> None:
        self.told.append(f"shut {verdict.reply} {until:.0f}")

    def probing(self) -> None:
        self.told.append("probing")

    def reopened(self) -> None:
        self.told.append("reopened")

    def parked_at(self, destination: str) -> None:
        self.waiting.append(destination)

    def must_wait(self, delivery: Delivery) -> bool:
        return delivery.attempts > 0


class Outlet:
    """Pulls when it is told to by the test."""

    def __init__(self) -> None:
        self.woken = self.hurried = self.busy = 0
        self.is_idle = self.is_over = True

    def wake(self) -> None:
        self.woken += 1

    def hurry(self) -> None:
        self.hurried += 1

    def sweep(self, now: float) -> None: ...

    def retire(self) -> None: ...

    def abandon(self) -> None: ...


class Lane:
    """A feed with all around it."""

    def __init__(self, per_second: float | None = None, preparer: FakePreparer | None = None) -> None:
        self.keeper, self.outlet = Keeper(), Outlet()
        self.ledger = Ledger(MemoryLimits())
        self.preparer = preparer or FakePreparer(at_once=True)
        self.concluded: list[tuple[int, Verdict | Dropped]] = []
        self.feed = Feed(
            self.preparer,
            self.ledger,
            self._conclude,
            holds=HeldSenders,
            read_ahead=4,
            keeper=self.keeper,
            quarantine=Quarantine(),
            per_second=per_second,
        )
        self.feed.outlet = self.outlet
        self._row = 0

    def _conclude(self, delivery: Delivery, verdict: Verdict | Dropped) -> None:
        self.concluded.append((delivery.row, verdict))
        self.ledger.release(delivery)

    def put(self, *, attempts: int = 0, destination: str = "a.test") -> int:
        self._row += 1
        (recipient,) = recipients(f"r@{destination}")
        job = Job((Delivery(self._row, make_message(self._row), recipient, attempts, 0),), Holding())
        self.ledger.admit(job)
        self.feed.put(job)
        return self._row


async def test_what_waits_when_the_next_hop_is_lost_hears_why_or_waits_unwritten() -> None:
    lane = Lane()
    first, tried = lane.put(), lane.put(attempts=1, destination="b.test")
    lane.feed.shut(DOWN, 100)
    assert lane.keeper.told == ["shut 4.4.1 no answer 100"]
    assert lane.concluded == [(first, DOWN)]
    assert lane.keeper.waiting == ["a.test", "b.test"]
    assert len(lane.ledger) == 0
    later = lane.put()
    assert lane.concluded[1:] == [(later, Temporary("4.4.1 no answer (not asked again yet)", "4.4.1"))]
    assert tried not in dict(lane.concluded)
    assert lane.feed.gate is Gate.SHUT
    assert lane.feed.is_empty


async def test_where_there_is_nothing_to_reach_all_ends() -> None:
    lane = Lane()
    verdict = Bounced("5.4.4 no address", BounceType.BLOCKED, "5.4.4")
    rows = [lane.put(), lane.put(attempts=3)]
    lane.feed.shut(verdict, 100)
    assert lane.concluded == [(row, verdict) for row in rows]
    assert lane.keeper.waiting == []


async def test_thousands_are_turned_away_a_few_at_a_time() -> None:
    lane = Lane()
    for _ in range(2 * REFUSED_AT_ONCE + 1):
        lane.put()
    lane.feed.shut(DOWN, 100)
    assert len(lane.concluded) == REFUSED_AT_ONCE
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(lane.concluded) == 2 * REFUSED_AT_ONCE + 1
    assert {verdict for _, verdict in lane.concluded} == {DOWN}


async def test_a_probe_is_one_job() -> None:
    lane = Lane()
    lane.feed.shut(DOWN, 100)
    lane.feed.probe()
    assert lane.feed.wants_probe
    for _ in range(3):
        lane.put(attempts=1)
    assert (lane.feed.prepared, lane.preparer.asked, lane.feed.wants_probe) == (1, 1, False)
    assert lane.feed.pull() is not None
    lane.outlet.busy = 1
    assert (lane.feed.prepared, lane.feed.pull()) == (0, None)
    lane.feed.reopened()
    assert lane.feed.prepared == 2
    assert lane.keeper.told[1:] == ["probing", "reopened"]
    assert lane.concluded == []


async def test_a_probe_that_fails_shuts_again() -> None:
    lane = Lane()
    lane.feed.shut(DOWN, 100)
    lane.feed.probe()
    lane.put(attempts=1)
    lane.put(attempts=1)
    lane.feed.shut(DOWN, 200)
    assert len(lane.ledger) == 0
    assert lane.concluded == []
    assert lane.feed.gate is Gate.SHUT


async def test_a_probe_that_says_nothing_is_followed_by_another() -> None:
    lane = Lane(preparer=FakePreparer(lambda _: Dropped("x"), at_once=True))
    lane.feed.shut(DOWN, 100)
    lane.feed.probe()
    row = lane.put(attempts=1)
    assert lane.concluded == [(row, Dropped("x"))]
    assert lane.keeper.told[1:] == ["probing", "probing"]
    assert lane.feed.wants_probe


async def test_what_another_process_found_is_believed_until_its_time() -> None:
    lane = Lane()
    lane.feed.remember(DOWN, asyncio.get_running_loop().time() + 1000)
    assert lane.keeper.told == []
    row = lane.put()
    assert lane.concluded == [(row, Temporary("4.4.1 no answer (not asked again yet)", "4.4.1"))]
    lane.feed.hurry()
    assert lane.feed.gate is Gate.PROBING
    assert lane.outlet.hurried == 0


async def test_a_hurry_is_the_outlet_s_to_carry_out() -> None:
    lane = Lane()
    lane.feed.shut(DOWN, 100)
    lane.feed.hurry()
    assert lane.outlet.hurried == 1


async def test_nothing_is_told_to_be_ready_beyond_the_rate() -> None:
    lane = Lane(per_second=1 / 1000)
    for _ in range(3):
        lane.put()
    assert lane.feed.prepared == 3
    assert lane.feed.pull() is not None
    # An outlet that were told otherwise would ask again, and again.
    assert (lane.feed.prepared, lane.feed.pull()) == (0, None)
    lane.feed.use_rate(None)
    assert lane.feed.prepared == 2
    lane.feed.stop()


async def test_a_stopped_feed_gives_nothing() -> None:
    lane = Lane()
    lane.put()
    assert lane.feed.prepared == 1
    lane.feed.stop()
    # An outlet that goes on pulling while something seems to be there would never end.
    assert lane.feed.prepared == 0
    assert lane.feed.pull() is None
    lane.feed.shut(DOWN, 100)
    assert lane.concluded == []
