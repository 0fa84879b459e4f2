"""From hops to an open connection, over real sockets: what is tried, passed over, remembered, and told."""

from __future__ import annotations

import asyncio
import socket

import pytest
from structlog.testing import capture_logs

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.opening import AVOIDED_MAX
from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.site import Hop, NoMail
from sekisho.delivery.verdict import Temporary
from sekisho.queue.model import Bounced, BounceType
from tests.fakes.lane import hop_to, lane_to
from tests.fakes.smtphost import CLOSE, HANG, RESET, Endless, Fault, Say, SmtpHost, serving

HASTY = ConnectionLimits(deliveries=1, opening_s=0.5)
CLEAR = RouteTls.OFF


async def test_mail_goes_to_the_first_address() -> None:
    async with serving(SmtpHost()) as first, serving(SmtpHost()) as second:
        async with lane_to([hop_to(first), hop_to(second, "mx2.test")]) as lane:
            lane.send(1)
            await lane.wait_for(1)
        assert (len(first.mails), second.connections) == (1, 0)
    (delivered,) = lane.delivered
    assert (delivered.remote.host, delivered.remote.ip) == ("mx1.test", "127.0.0.1")
    assert first.mails[0].mail_from == "bounces+1.0@relay.test"


DOES_NOT_TAKE_US: list[tuple[str, Fault]] = [
    ("CONNECT", Say(b"421 4.3.2 busy\r\n", close=True)),
    ("CONNECT", Say(b"554 5.7.1 not you\r\n")),
    ("CONNECT", Say(b"SSH-2.0-x\r\n")),
    ("CONNECT", CLOSE),
    ("CONNECT", RESET),
    ("CONNECT", HANG),
    ("CONNECT", Endless(b"220-wait\r\n")),
    ("CONNECT", Endless(b"220-wait", drip_s=0.01)),
    ("EHLO", Say(b"421 4.3.2 busy\r\n", close=True)),
    ("EHLO", Say(b"451 4.7.1 not now\r\n")),
    ("EHLO", Say(b"hello?\r\n")),
    ("EHLO", CLOSE),
    ("EHLO", RESET),
    ("EHLO", HANG),
    ("EHLO", Endless(b"250-x\r\n")),
]


@pytest.mark.parametrize(("step", "fault"), DOES_NOT_TAKE_US)
async def test_an_address_that_does_not_take_us_is_passed_over_and_remembered(step: str, fault: Fault) -> None:
    async with serving(SmtpHost()) as first, serving(SmtpHost()) as second:
        first.always(step, fault)
        hops = [hop_to(first), hop_to(second, "mx2.test")]
        async with lane_to(hops, limits=HASTY, tls=CLEAR) as lane:
            with capture_logs() as logs:
                lane.send(1)
                await lane.wait_for(1)
                lane.send(2)
                await lane.wait_for(2)
        assert (first.connections, second.connections) == (1, 2)
    assert [delivered.remote.host for delivered in lane.delivered] == ["mx2.test"] * 2
    assert lane.feed.shuts == []
    (skipped,) = [line for line in logs if line["event"] == "delivery.address_skipped"]
    assert len(skipped["tried"]) == 1
    assert skipped["tried"][0].startswith("mx1.test [127.0.0.1]: ")
    assert len(skipped["tried"][0]) <= 200


async def test_an_address_that_nobody_listens_at_is_passed_over() -> None:
    async with serving(SmtpHost()) as gone:
        pass
    async with serving(SmtpHost()) as host, lane_to([hop_to(gone), hop_to(host, "mx2.test")]) as lane:
        lane.send(1)
        await lane.wait_for(1)
        assert len(host.mails) == 1


async def test_an_address_that_drops_its_first_message_is_tried_last_from_then_on() -> None:
    async with serving(SmtpHost()) as first, serving(SmtpHost()) as second:
        first.always("MAIL", CLOSE)
        async with lane_to([hop_to(first), hop_to(second, "mx2.test")]) as lane:
            lane.send(1)
            await lane.wait_for(1)
            lane.send(2)
            await lane.wait_for(2)
        assert isinstance(lane.verdicts[0], Temporary)
        assert [delivered.remote.host for delivered in lane.delivered] == ["mx2.test"]
        assert first.connections == 1


async def test_addresses_that_failed_are_tried_all_the_same_when_there_is_no_other() -> None:
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)]) as lane:
        host.script("MAIL", CLOSE)
        lane.send(1)
        await lane.wait_for(1)
        lane.send(2)
        await lane.wait_for(2)
        assert len(lane.delivered) == 1


async def test_what_is_remembered_of_addresses_is_bounded() -> None:
    async with lane_to([]) as lane:
        opener = lane.pool._opener
        for number in range(AVOIDED_MAX + 10):
            opener.avoid(Hop("mx.test", f"192.0.2.{number}", 25))
        assert len(opener._avoided) == AVOIDED_MAX


# Nobody takes us.


async def test_trouble_is_a_warning_only_where_an_operator_chose_the_host() -> None:
    async with serving(SmtpHost()) as gone:
        pass
    levels = []
    for to in (Target("127.0.0.1", gone.port, CLEAR), [hop_to(gone)]):
        async with lane_to(to, tls=CLEAR) as lane:
            with capture_logs() as logs:
                lane.send(1)
                await lane.is_shut()
        levels += [(line["event"], line["log_level"]) for line in logs]
    assert levels == [("delivery.host_down", "warning"), ("delivery.host_down", "info")]


async def test_when_all_fail_the_feed_is_shut_with_the_most_telling_reason() -> None:
    async with serving(SmtpHost()) as gone:
        pass
    async with serving(SmtpHost()) as silent, serving(SmtpHost()) as refusing:
        silent.always("CONNECT", CLOSE)
        refusing.always("CONNECT", Say(b"554 5.7.1 listed at bl.test\r\n", close=True))
        hops = [hop_to(gone), hop_to(silent, "mx2.test"), hop_to(refusing, "mx3.test")]
        async with lane_to(hops, limits=HASTY) as lane:
            with capture_logs() as logs:
                lane.send(1)
                verdict = await lane.is_shut()
    assert isinstance(verdict, Temporary)
    assert verdict.reply == "554 5.7.1 listed at bl.test"
    assert verdict.remote.host == "mx3.test"
    assert lane.verdicts == []  # what becomes of it is the feed's choice
    (down,) = [line for line in logs if line["event"] == "delivery.host_down"]
    assert [text.partition(" ")[0] for text in down["tried"]] == ["mx1.test", "mx2.test", "mx3.test"]


@pytest.mark.parametrize(
    "verdict",
    [
        Temporary("4.4.3 mx1.test could not be looked up: time-out", "4.4.3"),
        Bounced("5.4.4 no mail exchanger has an address: mx1.test", BounceType.BLOCKED, "5.4.4"),
    ],
)
async def test_a_site_without_hops_shuts_the_feed_with_the_reason(verdict: Temporary | Bounced) -> None:
    async with lane_to(NoMail(verdict)) as lane:
        before = asyncio.get_running_loop().time()
        lane.send(1)
        assert await lane.is_shut() == verdict
        assert lane.feed.shuts[0][1] > before
        assert lane.pool.is_over


async def test_all_addresses_together_have_an_end() -> None:
    limits = ConnectionLimits(opening_s=0.1, reach_s=0.15)
    async with serving(SmtpHost()) as host:
        host.always("CONNECT", HANG)
        hops = [hop_to(host, f"mx{number}.test") for number in range(12)]
        async with lane_to(hops, limits=limits) as lane:
            lane.send(1)
            verdict = await lane.is_shut()
        assert host.connections < 4
    assert isinstance(verdict, Temporary)
    assert verdict.reply == "4.4.2 the host took too long"


async def test_a_pool_that_is_no_longer_wanted_tries_no_further_address() -> None:
    async with serving(SmtpHost()) as first, serving(SmtpHost()) as second:
        first.always("CONNECT", HANG)
        limits = ConnectionLimits(opening_s=0.1)
        async with lane_to([hop_to(first), hop_to(second, "mx2.test")], limits=limits) as lane:
            lane.send(1)
            await first.until(lambda: first.connections == 1)
            lane.pool.retire()
            await lane.until(lambda: lane.pool.is_over)
        assert second.connections == 0
    assert len(lane.feed.jobs) == 1
    assert lane.feed.shuts == []


async def test_a_mistake_of_ours_shuts_the_feed_and_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lane_to([Hop("mx1.test", "127.0.0.1", 25)]) as lane:

        async def broken(*_: object) -> None:
            raise RuntimeError("broken")  # noqa: EM101

        monkeypatch.setattr(lane.dialler, "hops", broken)
        with capture_logs() as logs:
            lane.send(1)
            verdict = await lane.is_shut()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert verdict.reply == "4.3.0 internal error"
    assert "delivery.task_failed" in [line["event"] for line in logs]
    assert lane.pool.is_over


async def test_addresses_that_are_never_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lane_to([], limits=ConnectionLimits(connect_s=0.05)) as lane:

        async def silent(_: object) -> list[Hop]:
            await asyncio.Event().wait()
            return []

        monkeypatch.setattr(lane.dialler._sites, "hops", silent)
        lane.send(1)
        verdict = await lane.is_shut()
    assert isinstance(verdict, Temporary)
    assert verdict.reply == "4.4.1 mx1.test: its addresses were not found within 0.05 s"


# Targets.


async def test_a_host_of_a_route_is_resolved_by_the_system_and_not_checked() -> None:
    async with serving(SmtpHost()) as host, lane_to(Target("localhost", host.port, CLEAR), tls=CLEAR) as lane:
        lane.send(1)
        await lane.wait_for(1)
    (delivered,) = lane.delivered
    assert (delivered.remote.host, delivered.remote.ip) == ("localhost", "127.0.0.1")


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 70 + ".test"])
async def test_a_host_that_is_not_to_be_found(name: str) -> None:
    async with lane_to(Target(name, 25, CLEAR), tls=CLEAR) as lane:
        lane.send(1)
        verdict = await lane.is_shut()
    assert isinstance(verdict, Temporary)
    assert verdict.status == "4.4.1"
    assert name in verdict.reply
    assert verdict.remote.host == name


# Families and source addresses.


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")


@needs_ipv6
async def test_ipv6() -> None:
    async with serving(SmtpHost(), "::1") as host, lane_to([hop_to(host, address="::1")]) as lane:
        lane.send(1)
        await lane.wait_for(1)
    (delivered,) = lane.delivered
    assert (delivered.remote.ip, delivered.remote.local_ip) == ("::1", "::1")


@needs_ipv6
@pytest.mark.parametrize(("source", "reached"), [("127.0.0.2", "four"), ("::1", "six")])
async def test_a_family_without_a_source_address_is_skipped(source: str, reached: str) -> None:
    async with serving(SmtpHost()) as four, serving(SmtpHost(), "::1") as six:
        hops = [hop_to(six, address="::1"), hop_to(four)]
        hops = hops if reached == "four" else hops[::-1]
        async with lane_to(hops, source_addresses=[source]) as lane:
            lane.send(1)
            await lane.wait_for(1)
        assert (four.connections, six.connections) == ((1, 0) if reached == "four" else (0, 1))
    assert lane.delivered[0].remote.local_ip == source


async def test_without_an_address_of_a_family_that_there_is_a_source_for() -> None:
    async with lane_to([Hop("mx1.test", "127.0.0.1", 25)], source_addresses=["::1"]) as lane:
        lane.send(1)
        verdict = await lane.is_shut()
    assert "source address" in verdict.reply


async def test_source_addresses_take_turns() -> None:
    sources = ["127.0.0.2", "127.0.0.3"]
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)], source_addresses=sources, limits=HASTY) as lane:
        for number in range(4):
            lane.send(number)
            await lane.wait_for(number + 1)
    assert [delivered.remote.local_ip for delivered in lane.delivered] == ["127.0.0.2", "127.0.0.3"] * 2


async def test_a_source_address_that_is_not_ours_is_told() -> None:
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)], source_addresses=["192.0.2.1"]) as lane:
        lane.send(1)
        verdict = await lane.is_shut()
    assert "Cannot assign requested address" in verdict.reply
