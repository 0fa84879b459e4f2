"""What was under way when workers died, from the spool to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sekisho.preparation.model import Prepared
from sekisho.queue.flights import SIZE, Flights, image, parse
from sekisho.queue.model import Deferred, Delivered, Delivery
from tests.fakes.preparer import FakePreparer, plain
from tests.fakes.smtphost import SmtpHost, serving
from tests.fakes.spool import MemorySpool, make_message, recipients
from tests.unit.delivery.conftest import relaying, routes_to


def left_behind(deaths: dict[int, int]) -> bytearray:
    """The file of a worker that died, by message number."""
    return bytearray(image({(make_message(number).id, 0): count for number, count in deaths.items()}))


def using(memory: bytearray) -> Callable[[dict[str, Any]], None]:
    return lambda more: more.update(flights=Flights(memory))


def stored(*numbers: int) -> MemorySpool:
    spool = MemorySpool()
    for number in numbers:
        spool.store(make_message(number), recipients("r@mx.test"))
    return spool


@pytest.mark.parametrize("deaths", [1, 2, 4])
async def test_a_suspect_that_goes_out_is_none_any_more(deaths: int) -> None:
    memory = left_behind({1: deaths})
    async with (
        serving(SmtpHost()) as host,
        relaying(routes_to(host), spool=stored(1, 2), adjust=using(memory)) as relay,
    ):
        await relay.spool.wait_for(2)
    assert all(isinstance(outcome, Delivered) for outcome in relay.spool.outcomes)
    assert not list(parse(memory))


async def test_what_saw_five_workers_die_is_set_aside_untried() -> None:
    memory = left_behind({1: 5, 2: 1})
    async with (
        serving(SmtpHost()) as host,
        relaying(routes_to(host), spool=stored(1, 2), adjust=using(memory)) as relay,
    ):
        await relay.spool.wait_for(2)
    assert relay.preparer.asked == len(host.mails) == 1
    (outcome,) = (outcome for outcome in relay.spool.outcomes if isinstance(outcome, Deferred))
    assert (outcome.is_set_aside, outcome.faults, outcome.status) == (True, 5, "4.3.0")
    assert "ended 5 times" in outcome.reply
    assert not list(parse(memory))


@pytest.mark.parametrize(("deaths", "is_set_aside"), [(3, False), (4, True)])
async def test_deaths_and_other_faults_are_counted_together(deaths: int, *, is_set_aside: bool) -> None:
    def fail(_: Delivery) -> Prepared:
        raise ZeroDivisionError

    async with (
        serving(SmtpHost()) as host,
        relaying(
            routes_to(host),
            spool=stored(1),
            preparer=FakePreparer(fail),
            adjust=using(left_behind({1: deaths})),
        ) as relay,
    ):
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert (outcome.faults, outcome.is_set_aside) == (deaths + 1, is_set_aside)


async def test_what_is_with_a_host_is_in_flight_until_the_process_ends_in_good_order() -> None:
    memory = bytearray(SIZE)
    async with (
        serving(SmtpHost(hold=asyncio.Event())) as host,
        relaying(routes_to(host), drain_s=0.05, adjust=using(memory)) as relay,
    ):
        relay.send("r@mx.test")
        await host.heard("DATA")
        assert [entry.in_flight for entry in parse(memory)] == [True]
    assert [entry.in_flight for entry in parse(memory)] == [False]


async def test_suspects_that_wait_for_their_turn_do_not_stop_their_lane() -> None:
    numbers = range(1, 101)

    class Slow(FakePreparer):
        def prepare(self, delivery: Delivery) -> asyncio.Future[Prepared]:
            if not delivery.faults:
                return super().prepare(delivery)
            self.asked += 1
            return asyncio.get_running_loop().create_future()

    async with (
        serving(SmtpHost()) as host,
        relaying(
            routes_to(host),
            spool=stored(*numbers),
            preparer=Slow(plain),
            adjust=using(left_behind(dict.fromkeys(numbers, 2))),
        ) as relay,
    ):
        for _ in range(10_000):
            if relay.scheduler.in_memory == len(numbers):
                break
            await asyncio.sleep(0)
        relay.send("new@mx.test", number=1000)
        (settlement,) = await relay.spool.wait_for(1)
    assert settlement.delivery.message.id == make_message(1000).id
    assert relay.preparer.asked == 2  # the new one, and one suspect alone
