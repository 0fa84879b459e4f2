"""How many connections, when none, and what a next hop hears of us; over real sockets."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.verdict import Temporary
from sekisho.queue.model import Bounced, BounceType, Delivered
from tests.fakes.lane import hop_to, lane_to
from tests.fakes.smtphost import CLOSE, Say, SmtpHost, serving

BUSY = Say(b"421 4.7.0 too many connections\r\n", close=True)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_FIRST_S", 0.05)
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_MAX_S", 0.2)


# How many.


async def test_a_healthy_host_has_all_its_connections_after_a_few_messages() -> None:
    host = SmtpHost(hold=asyncio.Event())
    assert host.hold is not None
    async with serving(host), lane_to([hop_to(host)]) as lane:
        lane.send(*range(30))
        await host.until(lambda: host.open == 1)
        host.hold.set()
        await lane.wait_for(16)
        host.hold.clear()
        await host.until(lambda: host.most_open == 8)
        host.hold.set()
        await lane.wait_for(30)
    assert len(lane.delivered) == 30


async def test_before_the_first_answer_there_is_one_connection() -> None:
    host = SmtpHost(hold=asyncio.Event())
    async with serving(host), lane_to([hop_to(host)]) as lane:
        lane.send(*range(30))
        await host.heard("DATA")
        lane.pool.wake()
        assert lane.pool._dialling == 0
        assert host.connections == 1


async def test_connections_stay_within_the_limit() -> None:
    async with serving(SmtpHost()) as host:
        async with lane_to([hop_to(host)], limits=ConnectionLimits(connections=3, deliveries=5)) as lane:
            lane.send(*range(200))
            await lane.wait_for(200)
        assert host.most_open == 3


async def test_a_lower_limit_ends_what_is_too_many() -> None:
    host = SmtpHost(hold=asyncio.Event())
    assert host.hold is not None
    host.hold.set()
    async with serving(host), lane_to([hop_to(host)]) as lane:
        lane.send(*range(100))
        await lane.wait_for(100)
        assert host.most_open > 2
        lane.pool.limits = ConnectionLimits(connections=2)
        await host.until(lambda: host.open == 2)
        lane.send(*range(100, 200))
        await lane.wait_for(200)
        assert host.open == 2


async def test_a_host_with_a_limit_of_its_own_gets_everything_and_few_vain_tries() -> None:
    async with serving(SmtpHost(limit=2)) as host:
        async with lane_to([hop_to(host)], limits=ConnectionLimits(deliveries=20)) as lane:
            lane.send(*range(200))
            await lane.wait_for(200)
        assert len(host.mails) == 200
        assert host.most_open <= 2 + 8
    assert len(lane.delivered) == 200
    assert lane.feed.shuts == []


async def test_a_421_to_a_second_connection_leaves_the_first_alone_and_lowers_the_window() -> None:
    async with serving(SmtpHost()) as host, serving(SmtpHost()) as backup:
        host.script("CONNECT", None, *[BUSY] * 20)
        with capture_logs() as logs:
            async with lane_to([hop_to(host), hop_to(backup, "mx2.test")]) as lane:
                lane.send(*range(100))
                await lane.wait_for(100)
        assert len(host.mails) == 100
        assert {mail.connection for mail in host.mails} == {1}
        assert backup.connections == 0
    assert lane.feed.shuts == []
    assert "delivery.connection_failed" in [line["event"] for line in logs]


# 421 in the middle.


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "CONTENT"])
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelining", "stepwise"])
async def test_a_421_ends_its_connection_and_no_other(step: str, extensions: tuple[str, ...]) -> None:
    host = SmtpHost(extensions=extensions)
    async with serving(host), lane_to([hop_to(host)], limits=ConnectionLimits(connections=2)) as lane:
        lane.send(*range(10))
        await lane.wait_for(10)
        host.script(step, Say(b"421 4.3.2 going down\r\n", close=True))
        lane.send(*range(10, 20))
        await lane.wait_for(20)
    temporary = [verdict for verdict in lane.verdicts if isinstance(verdict, Temporary)]
    assert [verdict.reply for verdict in temporary] == ["421 4.3.2 going down"]
    assert len(lane.delivered) == 19
    assert len(host.mails) == 19
    assert all(len(verdicts) == 1 for verdicts in lane.of.values())
    assert lane.feed.shuts == []


# Down, and back.


async def test_a_host_that_is_down_is_asked_with_one_connection_after_growing_pauses() -> None:
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)]) as lane:
        host.always("CONNECT", BUSY)
        with capture_logs() as logs:
            lane.send(*range(20))
            for count in range(1, 5):
                await lane.is_shut(count)
                assert host.connections == count
        assert [line["pause_s"] for line in logs if line["event"] == "delivery.host_down"] == [0.05, 0.1, 0.2, 0.2]
        assert lane.feed.probes == 3
        assert lane.verdicts == []
        host.mend()
        await lane.wait_for(20)
        assert len(lane.delivered) == 20
        assert not lane.feed.is_shut


async def test_the_pause_begins_small_again_after_an_answered_message() -> None:
    limits = ConnectionLimits(deliveries=1, connections=1)
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)], limits=limits) as lane:
        host.script("CONNECT", BUSY, BUSY, None, BUSY)
        with capture_logs() as logs:
            lane.send(1, 2)
            await lane.wait_for(2)
    assert [line["pause_s"] for line in logs if line["event"] == "delivery.host_down"] == [0.05, 0.1, 0.05]


async def test_a_host_that_is_back_is_not_run_over() -> None:
    host = SmtpHost()
    async with serving(host), lane_to([hop_to(host)]) as lane:
        lane.send(*range(50))
        await lane.wait_for(50)
        assert host.most_open > 1
        lane.pool.limits = ConnectionLimits(deliveries=1)
        host.always("CONNECT", BUSY)
        for task in tuple(host._tasks):
            task.cancel()
        lane.send(*range(50, 100))
        await lane.is_shut()
        before, host.most_open, host.hold = host.connections, 0, asyncio.Event()
        host.mend()
        await host.until(lambda: any(c == "DATA" for c in host.commands[-3:]) and host.connections > before)
        assert host.most_open == 1
        host.hold.set()
        await lane.until(lambda: len(lane.delivered) >= 95)


async def test_somebody_in_a_hurry_ends_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_FIRST_S", 1000)
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)]) as lane:
        host.script("CONNECT", BUSY)
        lane.send(1)
        await lane.is_shut()
        assert not lane.pool.is_idle
        assert lane.pool.is_over
        lane.pool.hurry()
        assert lane.feed.probes == 1
        await lane.wait_for(1)
    lane.pool.hurry()  # nothing to end


async def test_a_host_that_drops_every_first_message_is_down_after_a_few() -> None:
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)]) as lane:
        host.always("MAIL", CLOSE)
        lane.send(*range(20))
        verdict = await lane.is_shut()
        assert isinstance(verdict, Temporary)
        assert verdict.status == "4.4.2"
        assert host.connections == 3
        assert len(lane.verdicts) <= 6  # a message and the envelope behind it, three times
        # Connecting is not enough to be trusted again.
        with capture_logs() as logs:
            await lane.is_shut(2)
        assert [line["pause_s"] for line in logs if line["event"] == "delivery.host_down"] == [0.1]


# Ages and ends.


async def test_a_connection_begins_nothing_after_its_time() -> None:
    async with serving(SmtpHost()) as host:
        async with lane_to([hop_to(host)], limits=ConnectionLimits(connections=1, session_s=0.1)) as lane:
            lane.send(1)
            await lane.wait_for(1)
            await host.heard("QUIT")
            lane.send(2)
            await lane.wait_for(2)
        assert [mail.connection for mail in host.mails] == [1, 2]


async def test_a_connection_in_use_ends_after_its_time_and_loses_nothing() -> None:
    host = SmtpHost(hold=asyncio.Event())
    assert host.hold is not None
    async with serving(host):
        async with lane_to([hop_to(host)], limits=ConnectionLimits(connections=1, session_s=0.05)) as lane:
            lane.send(1, 2, 3, 4)
            await host.heard("DATA")
            (connection,) = lane.pool._connections
            await lane.until(lambda: connection._last)
            host.hold.set()
            await lane.wait_for(4)
        assert len(host.mails) == 4
        assert host.mails[0].connection < host.mails[-1].connection
        assert "QUIT" in host.commands
    assert len(lane.delivered) == 4


async def test_an_idle_pool_can_be_forgotten() -> None:
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)], limits=ConnectionLimits(idle_s=0.02)) as lane:
        lane.send(1)
        assert not lane.pool.is_idle
        await lane.wait_for(1)
        await host.until(lambda: not host.open)
        await lane.until(lambda: lane.pool.is_idle)


# Content that a host has said it does not take.


@pytest.mark.parametrize("is_old", [False, True], ids=["no 8BITMIME", "HELO only"])
async def test_eight_bit_content_bounces_where_only_seven_are_taken(is_old: bool) -> None:
    host = SmtpHost(extensions=("PIPELINING",))
    if is_old:
        host.always("EHLO", Say(b"502 5.5.1 what?\r\n"))
    async with serving(host), lane_to([hop_to(host)], limits=ConnectionLimits(connections=1)) as lane:
        lane.send(1, body="Grüße\r\n".encode(), eight_bit=True)
        lane.send(2)
        lane.send(3, body=b"\xff\r\n", eight_bit=True)
        lane.send(4)
        await lane.wait_for(4)
    for number in (1, 3):
        (verdict,) = lane.of[number]
        assert isinstance(verdict, Bounced)
        assert (verdict.status, verdict.type) == ("5.6.3", BounceType.BLOCKED)
        assert verdict.reply.startswith("554 5.6.3 ")
    for number in (2, 4):
        assert isinstance(lane.of[number][0], Delivered)
    assert host.connections == 1
    assert len(host.mails) == 2
    assert all(mail.content.isascii() for mail in host.mails)


async def test_eight_bit_content_goes_where_it_is_taken() -> None:
    async with serving(SmtpHost(extensions=("8BITMIME",))) as host, lane_to([hop_to(host)]) as lane:
        lane.send(1, body="Grüße\r\n".encode(), eight_bit=True)
        await lane.wait_for(1)
    (mail,) = host.mails
    assert "BODY=8BITMIME" in mail.parameters
    assert mail.content.endswith("Grüße\r\n".encode())
