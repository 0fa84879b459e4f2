"""Lanes by DNS, next hops out of reach, limits and memory: the scheduler among pools and hosts without a network."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sekisho.delivery.ledger import CROWDED_MAX, STALLED_MAX, MemoryLimits
from sekisho.delivery.lookups import LOOKUPS_MAX
from sekisho.delivery.quarantine import GROUP
from sekisho.delivery.routes import Route, Routes, RouteTls, Target
from sekisho.delivery.settling import FAULTS_MAX
from sekisho.delivery.shaping import Shape, Shaping, ShapingRow
from sekisho.delivery.site import NoMail
from sekisho.delivery.verdict import Temporary
from sekisho.ids import AccountId
from sekisho.ports.clock import SystemClock
from sekisho.preparation.model import Prepared
from sekisho.preparation.signers import DamagedBodyError
from sekisho.queue.model import Bounced, BounceType, Deferred, Delivered, Delivery, Expired
from sekisho.queue.retry import RetryPolicy
from sekisho.queue.spool import Found, HeldSenders, OpenHop, ShutHop, Wanted
from sekisho.queue.watch import ChangeKind, SpoolChange
from tests.fakes.pool import DOWN, TAKEN, Host, World
from tests.fakes.preparer import FakePreparer, plain
from tests.fakes.sites import FakeSites, site
from tests.fakes.spool import MemorySpool, make_message, recipients
from tests.unit.delivery.conftest import Relay, relaying

LATER = Temporary("451 4.3.0 later", "4.3.0")
NOWHERE = NoMail(Bounced("5.1.2 no such domain", BounceType.BOUNCE, "5.1.2"))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr("sekisho.delivery.scheduler.Pool", made.pool)
    return made


@pytest.fixture(autouse=True)
def complaints(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Reading the spool never fails here, and what fails is tried again: only its complaint would show."""
    found: list[str] = []

    class Log:
        def error(self, event: str, **more: object) -> None:
            found.append(f"{event} {more}")

    monkeypatch.setattr("sekisho.delivery.refill._log", Log())
    yield found
    assert found == []


@asynccontextmanager
async def by_mx(sites: FakeSites | None = None, routes: Routes | None = None, **more: Any) -> AsyncIterator[Relay]:
    """Start a scheduler that asks ``sites``; ``more`` is for ``relaying`` and for the scheduler."""
    known = {"preparer", "spool", "retry", "shaping", "limits", "drain_s"}
    ours = {name: value for name, value in more.items() if name not in known}

    def adjust(arguments: dict[str, Any]) -> None:
        arguments.update(ours, sites=sites or FakeSites())

    theirs = {name: value for name, value in more.items() if name in known}
    async with relaying(routes or Routes(), adjust=adjust, **theirs) as relay:
        yield relay


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # many things bring it about, none of which has an event
            await asyncio.sleep(0.005)


def kinds(relay: Relay) -> set[type]:
    return {type(outcome) for outcome in relay.spool.outcomes}


# Where it goes.


async def test_without_a_route_mail_goes_where_dns_says(world: World) -> None:
    sites = FakeSites({"a.test": site("mx.test"), "b.test": site("mx.test"), "c.test": site("mx.test", "backup.test")})
    async with by_mx(sites) as relay:
        for number, name in enumerate(("a", "b", "c", "d", "a")):
            relay.send(f"r@{name}.test", number=number)
        await relay.spool.wait_for(5)
    # Domains with the same hosts share a lane; another set of hosts is another lane.
    assert sorted(pool.name for pool in world.pools) == ["d.test", "mx.test", "mx.test"]
    assert len(world["mx.test"].mails) == 4
    assert sites.asked == {"a.test": 1, "b.test": 1, "c.test": 1, "d.test": 1}
    assert {pool.tls for pool in world.pools} == {RouteTls.OPPORTUNISTIC}


async def test_a_route_is_before_dns(world: World) -> None:
    sites = FakeSites()
    routes = Routes([Route("a.test", Target("smart.test", 25, RouteTls.OFF))])
    async with by_mx(sites, routes) as relay:
        relay.send("r@a.test", "r@b.test")
        await relay.spool.wait_for(2)
    assert [len(world[name].mails) for name in ("smart.test", "b.test")] == [1, 1]
    assert sites.asked == {"b.test": 1}


@pytest.mark.usefixtures("world")
async def test_what_dns_says_ends_or_defers_the_delivery() -> None:
    sites = FakeSites({"gone.test": NOWHERE, "lame.test": NoMail(LATER)})
    async with by_mx(sites) as relay:
        relay.send("r@gone.test", "r@lame.test")
        relay.send("r@gone.test", number=2)
        await relay.spool.wait_for(3)
    by_domain = {s.delivery.recipient.destination: s.outcome for s in relay.spool.settlements}
    assert by_domain["gone.test"] == NOWHERE.verdict
    assert isinstance(by_domain["lame.test"], Deferred)
    assert relay.scheduler.in_memory == 0


@pytest.mark.usefixtures("world")
async def test_a_fault_while_looking_up_defers() -> None:
    sites = FakeSites()

    async def find(_: str) -> NoMail:
        message = "a mistake of ours"
        raise RuntimeError(message)

    sites.find = find  # type: ignore[assignment,method-assign]
    async with by_mx(sites) as relay:
        relay.send("r@a.test")
        await relay.spool.wait_for(1)
    assert kinds(relay) == {Deferred}


async def test_dead_domains_stand_before_nobody(world: World) -> None:
    sites = FakeSites()
    sites.gate = asyncio.Event()
    routes = Routes([Route("routed.test", Target("smart.test", 25, RouteTls.OFF))])
    async with by_mx(sites, routes, memory=MemoryLimits(deliveries=800)) as relay:
        for number in range(1000):
            relay.send(f"r@dead{number}.test", number=number)
        assert relay.scheduler.in_memory == 200
        for number in range(300):
            relay.send("r@routed.test", number=2000 + number)
        await relay.spool.wait_for(300)
        assert len(world["smart.test"].mails) == 300
        assert sites.most_at_once <= LOOKUPS_MAX
        sites.gate.set()
        await relay.spool.wait_for(1300)
    assert set(world.arrived.values()) == {1}


async def test_what_waits_for_dns_follows_a_new_route(world: World) -> None:
    sites = FakeSites()
    sites.gate = asyncio.Event()
    async with by_mx(sites) as relay:
        relay.send("r@a.test")
        relay.scheduler.use_routes(Routes([Route("*", Target("smart.test", 25, RouteTls.OFF))]))
        await relay.spool.wait_for(1)
        sites.gate.set()
        await asyncio.sleep(0.01)
    assert len(world["smart.test"].mails) == 1


async def test_what_was_dropped_or_held_while_dns_was_asked_is_not_sent(world: World) -> None:
    sites = FakeSites({"b.test": NOWHERE})
    sites.gate = asyncio.Event()
    async with by_mx(sites) as relay:
        (dropped,) = relay.send("r@a.test", number=1)
        relay.send("r@b.test", number=2, key="held")
        await asyncio.sleep(0.01)
        relay.scheduler.changed(SpoolChange(ChangeKind.DROPPED, (dropped.row,), ("a.test",)))
        relay.held = HeldSenders(keys=frozenset({"held"}))
        sites.gate.set()
        await reached(lambda: relay.scheduler.in_memory == 0)
    assert relay.spool.outcomes == []
    assert not world.arrived


async def test_a_lane_that_is_idle_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.lanes.IDLE_S", 0.02)
    async with by_mx() as relay:
        relay.send(*(f"r@d{number}.test" for number in range(50)))
        await relay.spool.wait_for(50)
        await reached(lambda: len(relay.scheduler._lanes) == 0)
        assert relay.scheduler._lanes._recent == {}
        relay.send("r@d1.test", number=2)
        await relay.spool.wait_for(51)
    assert all(pool.retired for pool in world.pools)


# Limits.


async def test_shaping_divides_and_limits(world: World) -> None:
    rows = [ShapingRow("", "b.test", Shape(connections=2, tls=RouteTls.REQUIRED)), ShapingRow("mx.test", "", Shape(5))]
    sites = FakeSites({"a.test": site("mx.test"), "b.test": site("mx.test"), "c.test": site("mx.test")})
    async with by_mx(sites, shaping=Shaping(rows)) as relay:
        relay.send("r@a.test", "r@b.test", "r@c.test")
        await relay.spool.wait_for(3)
    assert sorted((pool.limits.connections, pool.tls) for pool in world.pools) == [
        (2, RouteTls.REQUIRED),
        (5, RouteTls.OPPORTUNISTIC),
    ]


async def test_a_rate_holds_for_what_waits(world: World) -> None:
    shaping = Shaping([ShapingRow("", "*", Shape(per_second=50))])
    async with by_mx(shaping=shaping) as relay:
        begun = asyncio.get_running_loop().time()
        for number in range(60):
            relay.send("r@a.test", number=number)
        await relay.spool.wait_for(50)
        assert len(world["a.test"].mails) < 60  # a second's worth at once, the rest in time
        await relay.spool.wait_for(60)
        assert asyncio.get_running_loop().time() - begun >= 0.19


async def test_new_limits_keep_connections(world: World) -> None:
    world["a.test"].reply_s = 0.05
    async with by_mx(shaping=Shaping([ShapingRow("", "*", Shape(connections=1, per_second=1))])) as relay:
        for number in range(3):
            relay.send("r@a.test", number=number)
        await reached(lambda: world.pools != [] and world.pools[0].busy == 1)
        relay.scheduler.use_shaping(Shaping([ShapingRow("", "*", Shape(connections=3))]))
        (pool,) = world.pools
        assert (pool.limits.connections, pool.retired) == (3, False)
        await relay.spool.wait_for(3)
        # TLS that was optional until now: nothing more goes over connections without.
        relay.scheduler.use_shaping(Shaping([ShapingRow("", "*", Shape(connections=3, tls=RouteTls.REQUIRED))]))
        assert pool.retired
        relay.send("r@a.test", number=4)
        await relay.spool.wait_for(4)
    assert [each.tls for each in world.pools] == [RouteTls.OPPORTUNISTIC, RouteTls.REQUIRED]


async def test_lanes_that_become_alike_become_one(world: World) -> None:
    sites = FakeSites({"a.test": site("mx.test"), "b.test": site("mx.test")})
    async with by_mx(sites, shaping=Shaping([ShapingRow("", "a.test", Shape(3))])) as relay:
        relay.send("r@a.test", "r@b.test")
        await relay.spool.wait_for(2)
        relay.scheduler.use_shaping(Shaping())
        assert sorted(pool.retired for pool in world.pools) == [False, True]
        relay.send("r@a.test", "r@b.test", number=2)
        await relay.spool.wait_for(4)
    assert len(world.pools) == 2


# Out of reach.


async def test_a_dead_host_defers_each_once_and_then_lets_them_wait(world: World) -> None:
    world["dead.test"].trouble = DOWN
    retry = RetryPolicy(first_s=0.01, max_s=0.02)
    async with by_mx(retry=retry, memory=MemoryLimits(deliveries=200)) as relay:
        for number in range(600):
            relay.send("r@dead.test", number=number)
        await relay.spool.wait_for(600)
        await reached(lambda: world["dead.test"].dials >= 6)
        # One event for each, whatever the pauses; and little is read for them.
        assert len(relay.spool.settlements) == 600
        assert relay.scheduler.in_memory <= 1
        asked = relay.spool.asked["read"]
        dials = world["dead.test"].dials
        await reached(lambda: world["dead.test"].dials >= dials + 5)
        assert relay.spool.asked["read"] - asked <= 7
        world["dead.test"].trouble = None
        await relay.spool.wait_for(1200)
    assert kinds(relay) == {Deferred, Delivered}
    assert set(world.arrived.values()) == {1}
    assert len(world.arrived) == 600
    assert {delivery.attempts for delivery in world["dead.test"].mails} == {1}


async def test_after_an_outage_the_oldest_go_first(world: World) -> None:
    world["a.test"].trouble = DOWN
    spool = MemorySpool()
    for number in range(40):
        (delivery,) = spool.store(make_message(number), recipients("r@a.test"), due_ms=40 - number)
        spool.rows[delivery.row] = replace(delivery, attempts=1)
    async with by_mx(spool=spool, limits=None) as relay:
        await reached(lambda: world["a.test"].dials >= 2)
        assert spool.settlements == []
        world["a.test"].trouble = None
        await spool.wait_for(40)
    due = [delivery.due_ms for delivery in world["a.test"].mails]
    assert due == sorted(due)
    assert kinds(relay) == {Delivered}


async def test_mail_expires_although_its_host_never_returns(world: World) -> None:
    world["a.test"].trouble = DOWN
    retry = RetryPolicy(first_s=0.02, max_s=0.02, max_age_s=0.3)
    async with by_mx(retry=retry) as relay:
        for number in range(100):
            relay.send("r@a.test", number=number)
        await relay.spool.until(lambda: not relay.spool.rows)
    ends = [outcome for outcome in relay.spool.outcomes if not isinstance(outcome, Deferred)]
    assert {type(outcome) for outcome in ends} == {Expired}
    assert len(ends) == 100
    assert len(relay.spool.outcomes) == 200
    assert all(isinstance(outcome, Expired) and outcome.reply.startswith(DOWN.reply) for outcome in ends)


async def test_nothing_to_reach_ends_everything(world: World) -> None:
    world["a.test"].trouble = Bounced("5.4.4 no address", BounceType.BLOCKED, "5.4.4")
    async with by_mx() as relay:
        for number in range(300):
            relay.send("r@a.test", number=number)
        await relay.spool.until(lambda: not relay.spool.rows)
    assert kinds(relay) == {Bounced}
    assert relay.spool.notes == []


async def test_another_destination_does_not_notice(world: World) -> None:
    world["dead.test"].trouble = DOWN
    async with by_mx(memory=MemoryLimits(deliveries=300)) as relay:
        for number in range(500):
            relay.send("r@dead.test", number=number)
            relay.send("r@alive.test", number=1000 + number)
        await reached(lambda: len(world["alive.test"].mails) == 500)


async def test_only_the_mail_of_a_dead_route_waits(world: World) -> None:
    """The same domain takes two ways, and one of them is dead."""
    world["dead.test"].trouble = DOWN
    routes = Routes(
        [
            Route("a.test", Target("dead.test", 25, RouteTls.OFF), account=AccountId(1)),
            Route("a.test", Target("alive.test", 25, RouteTls.OFF)),
        ]
    )
    world["alive.test"].answer = lambda delivery: LATER if delivery.attempts < 3 else TAKEN
    async with by_mx(routes=routes, retry=RetryPolicy(first_s=0.02, max_s=0.03)) as relay:
        for number in range(20):
            relay.send("r@a.test", number=number, sender=1)
            relay.send("r@a.test", number=100 + number, sender=2)
        await reached(lambda: len(world["alive.test"].mails) == 20)
        assert not world["dead.test"].mails
        # Those of the dead route are deferred each time: left unwritten they would be read for ever.
        dead = {row for row, delivery in relay.spool.rows.items() if delivery.message.account_id == 1}
        settled = [each.delivery.row for each in relay.spool.settlements]
        await reached(lambda: sum(s.delivery.row in dead for s in relay.spool.settlements) >= len(dead) * 3)
        assert sum(row in dead for row in settled) >= len(dead)
        world["dead.test"].trouble = None
        await relay.spool.until(lambda: not relay.spool.rows)
    assert set(world.arrived.values()) == {1}


async def test_the_spool_is_told_once_per_change(world: World) -> None:
    world["mx.test"].trouble = DOWN
    sites = FakeSites({"a.test": site("mx.test"), "b.test": site("mx.test")})
    async with by_mx(sites, retry=RetryPolicy(first_s=0.01, max_s=0.02)) as relay:
        relay.send("r@a.test")
        await relay.spool.wait_for(1)
        relay.send("r@b.test", number=2)
        await relay.spool.wait_for(2)
        await reached(lambda: world["mx.test"].dials >= 10)
        told = [note for note in relay.spool.notes if isinstance(note, ShutHop)]
        assert {note.hop for note in told} == {"mx.test"}
        assert len(told) <= world["mx.test"].dials + 2
        assert sorted(name for note in told for name in note.destinations) == ["a.test", "b.test"]
        assert told[0].reply == DOWN.reply
        assert 0 < told[-1].until_ms - SystemClock().now_ms() <= 20
        world["mx.test"].trouble = None
        await relay.spool.wait_for(4)
        await reached(lambda: relay.spool.notes[-1] == OpenHop("mx.test"))


async def test_a_restart_does_not_ask_what_was_out_of_reach(world: World) -> None:
    spool = MemorySpool()
    now_ms = SystemClock().now_ms()
    spool.shut_before = [
        ShutHop("a.test", now_ms + 200, "4.4.1 no answer", "4.4.1"),
        ShutHop("b.test", now_ms - 1, "4.4.1 no answer", "4.4.1"),
    ]
    for number in range(20):
        for name in ("a.test", "b.test"):
            (delivery,) = spool.store(make_message(number), recipients(f"r@{name}"))
            spool.rows[delivery.row] = replace(delivery, attempts=1)
    async with by_mx(spool=spool):
        await spool.wait_for(20)
        assert not world["a.test"].mails
        await spool.wait_for(40)
    assert [len(world[name].mails) for name in ("a.test", "b.test")] == [20, 20]
    assert OpenHop("a.test") in spool.notes


async def test_an_operator_ends_a_pause(world: World) -> None:
    world.pause_s = 1000
    world["a.test"].trouble = DOWN
    async with by_mx(retry=RetryPolicy(first_s=0.01, max_s=0.01)) as relay:
        deliveries = [relay.send("r@a.test", number=number)[0] for number in range(10)]
        await relay.spool.wait_for(10)
        await reached(lambda: relay.scheduler.in_memory == 0)
        world["a.test"].trouble = None
        rows = tuple(delivery.row for delivery in deliveries)
        relay.scheduler.changed(SpoolChange(ChangeKind.DUE, rows, ("a.test",)))
        await relay.spool.wait_for(20)
    assert len(world["a.test"].mails) == 10


async def test_what_comes_due_behind_a_dead_host_is_found_when_it_is_back(world: World) -> None:
    """Another domain of the same host: nothing of it was turned away, it only came up while the host was down."""
    sites = FakeSites({"a.test": site("mx.test"), "b.test": site("mx.test")})
    async with by_mx(sites) as relay:
        relay.send("r@b.test")
        await relay.spool.wait_for(1)
        world["mx.test"].trouble = DOWN
        relay.send("r@a.test", number=2)
        await relay.spool.wait_for(2)
        (delivery,) = relay.spool.store(make_message(3), recipients("r@b.test"))
        relay.spool.rows[delivery.row] = replace(delivery, attempts=1)
        relay.scheduler.rescan()
        await reached(lambda: relay.scheduler._backlog.wanting == 0)
        world["mx.test"].trouble = None
        await relay.spool.wait_for(3)
    assert relay.spool.settlements[-1].delivery.row == delivery.row


async def test_a_host_that_comes_back_while_the_spool_is_read(world: World) -> None:
    spool = _Slow()
    sites = FakeSites({"a.test": site("mx.test"), "b.test": site("mx.test")})
    async with by_mx(sites, spool=spool) as relay:
        relay.send("r@b.test")
        await spool.wait_for(1)
        world.pause_s = 1000
        world["mx.test"].trouble = DOWN
        relay.send("r@a.test", number=2)
        await spool.wait_for(2)
        (delivery,) = spool.store(make_message(3), recipients("r@b.test"))
        spool.rows[delivery.row] = replace(delivery, attempts=1)
        spool.gate.clear()
        relay.scheduler.rescan()
        await reached(lambda: spool.waiting)
        # The answer leaves out what was tried before, since the host is down; and by now it is not.
        world["mx.test"].trouble = None
        (lane,) = relay.scheduler._lanes
        lane.feed.reopened()
        world.pools[0].hurry()
        spool.gate.set()
        await spool.wait_for(3)


class _Slow(MemorySpool):
    """Keeps answers back until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = False

    async def due(self, wanted: Sequence[Wanted], now_ms: int, limit: int, held: HeldSenders) -> Sequence[Found]:
        found = await super().due(wanted, now_ms, limit, held)
        self.waiting = not self.gate.is_set()
        await self.gate.wait()
        return found


async def test_a_probe_that_is_held_is_followed_by_another(world: World) -> None:
    world["a.test"].trouble = DOWN
    spool = MemorySpool()
    for number in range(6):
        (delivery,) = spool.store(make_message(number, key=f"k{number % 2}"), recipients("r@a.test"))
        spool.rows[delivery.row] = replace(delivery, attempts=1)
    async with by_mx(spool=spool) as relay:
        await reached(lambda: world["a.test"].dials >= 1)
        relay.held = HeldSenders(keys=frozenset({"k0"}))
        world["a.test"].trouble = None
        await spool.wait_for(3)
        await asyncio.sleep(0.05)
        assert len(world["a.test"].mails) == 3


# Memory.


async def test_slow_hosts_leave_room_for_a_fast_one(world: World) -> None:
    for number in range(12):
        world[f"slow{number}.test"].reply_s = 1000.0
    async with by_mx(drain_s=0.01) as relay:
        for number in range(1000):
            for slow in range(12):
                relay.send(f"r@slow{slow}.test", number=slow * 1000 + number)
        assert relay.scheduler.in_memory <= 12 * STALLED_MAX
        for number in range(1000):
            relay.send("r@fast.test", number=100_000 + number)
        await reached(lambda: len(world["fast.test"].mails) == 1000)
        await reached(lambda: all(world.hosts.get(f"slow{number}.test") for number in range(12)))
        held = [lane.holding.count for lane in relay.scheduler._lanes if lane.name.startswith("slow")]
        assert max(held) <= STALLED_MAX
        assert sum(held) <= 3000 + 12 * CROWDED_MAX


# Faults of our own.


@pytest.mark.usefixtures("world")
async def test_what_cannot_be_prepared_is_set_aside_after_a_few_tries() -> None:
    def answer(delivery: Delivery) -> Prepared:
        if delivery.recipient.address == "poison@a.test":
            message = "a mistake of ours"
            raise RuntimeError(message)
        return plain(delivery)

    async with by_mx(preparer=FakePreparer(answer), retry=RetryPolicy(first_s=0.01, max_s=0.01)) as relay:
        relay.send("poison@a.test", "good@a.test")
        await reached(lambda: bool(relay.spool.aside))
        relay.send("good@a.test", number=2)
        await relay.spool.wait_for(FAULTS_MAX + 2)
        await asyncio.sleep(0.05)
    outcomes = [s.outcome for s in relay.spool.settlements if s.delivery.recipient.address == "poison@a.test"]
    assert [outcome.faults for outcome in outcomes if isinstance(outcome, Deferred)] == [1, 2, 3, 4, 5]
    assert [outcome.is_set_aside for outcome in outcomes if isinstance(outcome, Deferred)] == [False] * 4 + [True]
    assert relay.spool.asked["settle"] == FAULTS_MAX + 2


@pytest.mark.usefixtures("world")
async def test_what_cannot_get_better_is_set_aside_at_once() -> None:
    def answer(delivery: Delivery) -> Prepared:
        if delivery.recipient.address == "damaged@a.test":
            message = "the checksum does not match"
            raise DamagedBodyError(message)
        return plain(delivery)

    async with by_mx(preparer=FakePreparer(answer)) as relay:
        relay.send("damaged@a.test", "good@a.test")
        await relay.spool.wait_for(2)
    (outcome,) = [s.outcome for s in relay.spool.settlements if s.delivery.recipient.address == "damaged@a.test"]
    assert isinstance(outcome, Deferred)
    assert (outcome.is_set_aside, outcome.faults, outcome.reply) == (True, 1, "4.3.0 the stored body is damaged")


async def test_another_failure_in_between_clears_the_count(world: World) -> None:
    asked = 0

    def answer(delivery: Delivery) -> Prepared:
        nonlocal asked
        asked += 1
        if asked in {1, 2}:
            message = "a mistake of ours"
            raise RuntimeError(message)
        return plain(delivery)

    world["a.test"].answer = lambda delivery: LATER if delivery.attempts == 2 else TAKEN
    async with by_mx(preparer=FakePreparer(answer), retry=RetryPolicy(first_s=0.01, max_s=0.01)) as relay:
        relay.send("r@a.test")
        await relay.spool.wait_for(4)
    faults = [outcome.faults for outcome in relay.spool.outcomes if isinstance(outcome, Deferred)]
    assert faults == [1, 2, 0]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("faults", "together"), [(1, GROUP), (2, 1)])
async def test_suspects_are_prepared_a_few_at_a_time_and_then_alone(faults: int, together: int) -> None:
    spool = MemorySpool()
    for number in range(20):
        (delivery,) = spool.store(make_message(number), recipients(f"r@d{number % 3}.test"))
        spool.rows[delivery.row] = replace(delivery, attempts=1, faults=faults)
    preparer = _Patient()
    async with by_mx(spool=spool, preparer=preparer) as relay:
        for number in range(5):
            relay.send("r@a.test", number=100 + number)
        await spool.wait_for(25)
    assert preparer.most_suspects == together
    assert preparer.most > 1


class _Patient(FakePreparer):
    """Takes a while, and sees who is there meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.suspects = self.here = self.most_suspects = self.most = 0

    def prepare(self, delivery: Delivery) -> asyncio.Future[Prepared]:
        future: asyncio.Future[Prepared] = asyncio.get_running_loop().create_future()
        suspect = delivery.faults > 0
        self.here += 1
        self.suspects += suspect
        self.most, self.most_suspects = max(self.most, self.here), max(self.most_suspects, self.suspects)
        asyncio.get_running_loop().call_later(0.002, self._over, delivery, future, suspect)
        return future

    def _over(self, delivery: Delivery, future: asyncio.Future[Prepared], suspect: bool) -> None:
        self.here -= 1
        self.suspects -= suspect
        future.set_result(plain(delivery))


@pytest.mark.usefixtures("world")
async def test_what_a_dying_signer_had_is_blamed_on_disk() -> None:
    futures: list[asyncio.Future[Prepared]] = []

    class Dying(FakePreparer):
        def prepare(self, delivery: Delivery) -> asyncio.Future[Prepared]:  # noqa: ARG002
            futures.append(asyncio.get_running_loop().create_future())
            return futures[-1]

    async with by_mx(preparer=Dying()) as relay:
        for number in range(4):
            relay.send("r@a.test", number=number)
        await reached(lambda: len(futures) == 4)
        for future in futures[:2]:
            future.set_exception(RuntimeError("the signing process ended"))
        await relay.scheduler.blame_preparing()
        assert len(relay.spool.settlements) == 2
        assert all(isinstance(o, Deferred) and o.faults == 1 for o in relay.spool.outcomes)
        for future in futures[2:]:
            future.cancel()


# Everything at once.


@pytest.mark.parametrize("seed", range(4))
async def test_everything_arrives_exactly_once_whatever_hosts_and_dns_do(world: World, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # reproducible on purpose
    names = [f"mx{number}.test" for number in range(5)]
    sites = FakeSites({f"d{number}.test": site(names[number % 5]) for number in range(12)})
    shaping = Shaping([ShapingRow("mx1.test", "", Shape(per_second=400)), ShapingRow("", "d2.test", Shape(1))])

    def answer(_: Delivery) -> Any:
        return LATER if chance.random() < 0.2 else TAKEN

    for name in names:
        world[name].answer = answer
        world[name].reply_s = chance.choice((0.0, 0.002))
    retry = RetryPolicy(first_s=0.01, max_s=0.05, max_age_s=1000)
    async with by_mx(sites, retry=retry, shaping=shaping, memory=MemoryLimits(deliveries=60)) as relay:
        mischief = asyncio.create_task(_mischief(world, sites, relay, names, chance))
        for number in range(300):
            picked = chance.sample(range(12), 3)
            relay.send(*(f"r@d{each}.test" for each in picked), number=number)
            if number % 20 == 0:
                await asyncio.sleep(0.01)
        await mischief
        await relay.spool.until(lambda: not relay.spool.rows)
    assert set(world.arrived.values()) == {1}
    assert len(world.arrived) == 900
    assert kinds(relay) <= {Delivered, Deferred}
    attempts: dict[int, list[int]] = {}
    for settlement in relay.spool.settlements:
        attempts.setdefault(settlement.delivery.row, []).append(settlement.delivery.attempts)
    assert all(found == list(range(len(found))) for found in attempts.values())
    assert relay.scheduler.in_memory == 0


async def _mischief(world: World, sites: FakeSites, relay: Relay, names: list[str], chance: random.Random) -> None:
    for _ in range(60):
        await asyncio.sleep(0.01)
        host: Host = world[chance.choice(names)]
        host.trouble = None if host.trouble else DOWN
        match chance.randrange(8):
            case 0:
                sites.forget()
            case 1:
                sites.table["d3.test"] = chance.choice((NoMail(LATER), site("mx4.test"), site("mx4.test", "mx0.test")))
                sites.forget()
            case 2:
                relay.scheduler.rescan()
            case 3:
                relay.scheduler.use_shaping(Shaping([ShapingRow("", "d1.test", Shape(chance.randint(1, 4)))]))
            case 4:
                target = Target("mx2.test", 25, RouteTls.OFF, verp=chance.random() < 0.5)
                relay.scheduler.use_routes(Routes([Route("d5.test", target)] if chance.random() < 0.5 else []))
            case 5:
                due = [row for row, delivery in relay.spool.rows.items() if delivery.attempts][:5]
                where = tuple({relay.spool.rows[row].recipient.destination for row in due})
                relay.scheduler.changed(SpoolChange(ChangeKind.DUE, tuple(due), where))
            case _:
                pass
    sites.table["d3.test"] = site("mx4.test")
    sites.forget()
    for name in names:
        world[name].trouble = None
