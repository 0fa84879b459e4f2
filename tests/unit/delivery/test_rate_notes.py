"""People are told what waits for its rate."""

from __future__ import annotations

from sekisho.delivery.shaping import Shape, Shaping, ShapingRow
from sekisho.queue.spool import OpenHop, ShutHop
from tests.fakes.smtphost import SmtpHost, serving
from tests.fakes.spool import MemorySpool
from tests.unit.delivery.conftest import relaying, routes_to


def at(per_second: float) -> Shaping:
    return Shaping([ShapingRow("", "", Shape(per_second=per_second))])


async def test_what_waits_for_its_rate_is_noted_once_and_until_nothing_does() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host), shaping=at(4)) as relay:
        for number in range(6):
            relay.send(f"r@{'ab'[number % 2]}.test", number=number)
        await relay.spool.wait_for(6)
        await relay.spool.until(lambda: len(relay.spool.notes) > 1)
    shut, opened = relay.spool.notes
    assert isinstance(shut, ShutHop)
    assert (shut.hop, shut.is_rate) == (f"rate of 127.0.0.1:{host.port}", True)
    assert set(shut.destinations) == {"a.test", "b.test"}
    assert "4 a second" in shut.reply
    assert opened == OpenHop(shut.hop)


async def test_what_goes_at_once_is_not_noted() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host), shaping=at(100)) as relay:
        for number in range(6):
            relay.send("r@a.test", number=number)
        await relay.spool.wait_for(6)
    assert relay.spool.notes == []


async def test_a_note_of_a_worker_that_is_gone_is_taken_back_and_stops_nothing() -> None:
    async with serving(SmtpHost()) as host:
        spool = MemorySpool()
        left = ShutHop(f"rate of 127.0.0.1:{host.port}", 1 << 50, "x", "")
        spool.shut_before = [left]
        async with relaying(routes_to(host), spool=spool) as relay:
            relay.send("r@a.test")
            await spool.wait_for(1)
    assert spool.notes == [OpenHop(left.hop)]
