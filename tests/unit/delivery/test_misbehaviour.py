"""A next hop that does something wrong at each step: what becomes of the message, and that the next one arrives.

Every case runs over real sockets with short limits. Whatever the host does, each message has exactly one verdict for
each attempt, none is delivered twice, and afterwards the pool works as if nothing had been.
"""

from __future__ import annotations

import pytest

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.verdict import Temporary
from sekisho.queue.model import Bounced, Delivered
from sekisho.secret import Secret
from tests.fakes.certificates import Authority
from tests.fakes.lane import Lane, hop_to, lane_to
from tests.fakes.smtphost import CLOSE, HANG, RESET, Endless, Fault, Say, SmtpHost, serving

LIMITS = ConnectionLimits(connections=1, opening_s=0.5, envelope_s=0.5, content_s=0.5, quit_s=0.1)

REFUSES = Say(b"451 4.3.0 not now\r\n")
CLOSING = Say(b"421 4.3.2 closing\r\n", close=True)
GARBAGE = Say(b"\xff\xfe\x00what\r\n")
MIXED = Say(b"451-one\r\n250 two\r\n")
HALF = Say(b"45", close=True)
WRONG = Say(b"334 go on\r\n")
ENDLESS = Endless(b"250-and\r\n")
LONG_LINE = Endless(b"2" * 1000)
DRIP = Endless(b"250-and", drip_s=0.01)
FAULTS: dict[str, tuple[Fault, str]] = {
    "refuses": (REFUSES, "4.3.0"),
    "421": (CLOSING, "4.3.2"),
    "closes": (CLOSE, "4.4.2"),
    "resets": (RESET, "4.4.2"),
    "stalls": (HANG, "4.4.2"),
    "garbage": (GARBAGE, "4.5.0"),
    "mixed codes": (MIXED, "4.5.0"),
    "half a line": (HALF, "4.4.2"),
    "wrong kind": (WRONG, "4.5.0"),
    "endless": (ENDLESS, "4.5.0"),
    "endless line": (LONG_LINE, "4.5.0"),
    "drips": (DRIP, "4.4.2"),
}
"""By name: what the host does, and the status of what waits for it."""
EVERY_FAULT = pytest.mark.parametrize("name", FAULTS)


@pytest.fixture(autouse=True)
def _no_time_for_recipients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.attempt.RECIPIENT_S", 0.0)


async def _healthy(lane: Lane, host: SmtpHost) -> None:
    """The host behaves again: so does the pool, with what is still there and with what comes."""
    host.mend()
    verdicts, delivered, waiting = len(lane.verdicts), len(lane.delivered), len(lane.feed.jobs)
    lane.pool.hurry()
    lane.send(101, 102, 103)
    await lane.wait_for(verdicts + waiting + 3)
    assert len(lane.delivered) == delivered + waiting + 3
    assert all(len(verdicts) == 1 for verdicts in lane.of.values())
    senders = [mail.mail_from for mail in host.mails]
    assert len(senders) == len(set(senders)) == len(lane.delivered)
    assert host.violations == []
    assert lane.pool.busy == 0


@EVERY_FAULT
@pytest.mark.parametrize("step", ["CONNECT", "EHLO"])
async def test_before_the_first_transaction(step: str, name: str) -> None:
    fault, status = FAULTS[name]
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)], limits=LIMITS, tls=RouteTls.OFF) as lane:
        host.always(step, fault)
        lane.send(1)
        verdict = await lane.is_shut()
        assert isinstance(verdict, Temporary)
        assert verdict.status == status
        assert verdict.reply.isprintable()
        assert lane.verdicts == []
        await _healthy(lane, host)


@EVERY_FAULT
@pytest.mark.parametrize("tls", [RouteTls.OPPORTUNISTIC, RouteTls.REQUIRED])
async def test_starttls(authority: Authority, tls: RouteTls, name: str) -> None:
    fault, status = FAULTS[name]
    host = SmtpHost(tls=authority.server("mx1.test"))
    async with serving(host), lane_to([hop_to(host)], limits=LIMITS, tls=tls, extra_ca=authority.file) as lane:
        host.always("STARTTLS", fault)
        lane.send(1)
        if tls is RouteTls.OPPORTUNISTIC and name == "refuses":
            await lane.wait_for(1)
            assert not lane.delivered[0].remote.tls_version
        else:
            verdict = await lane.is_shut()
            assert verdict.status == ("4.7.4" if name == "refuses" else status)
            assert host.mails == []
        await _healthy(lane, host)
        # Nothing of this is a reason to ask for less protection.
        assert len(lane.dialler.memory) == 0


@EVERY_FAULT
async def test_auth(authority: Authority, name: str) -> None:
    fault, status = FAULTS[name]
    host = SmtpHost(tls=authority.server("127.0.0.1"), login=("user", "geheim"))
    async with serving(host):
        to = Target("127.0.0.1", host.port, RouteTls.REQUIRED, "user", Secret("geheim"))
        async with lane_to(to, limits=LIMITS, tls=to.tls, extra_ca=authority.file) as lane:
            host.always("AUTH", fault)
            lane.send(1)
            verdict = await lane.is_shut()
            assert verdict.status == status
            assert "geheim" not in verdict.reply
            assert not any(command.startswith("MAIL") for command in host.commands)
            await _healthy(lane, host)


@EVERY_FAULT
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "CONTENT"])
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelining", "stepwise"])
async def test_in_a_transaction(step: str, extensions: tuple[str, ...], name: str) -> None:
    fault, status = FAULTS[name]
    host = SmtpHost(extensions=extensions)
    async with serving(host), lane_to([hop_to(host)], limits=LIMITS) as lane:
        host.script(step, fault)
        lane.send(1)
        (verdict,) = await lane.wait_for(1)
        assert isinstance(verdict, Temporary)
        assert verdict.status == status
        assert verdict.reply.isprintable()
        assert host.mails == []
        # A garbled answer leaves lines of ours unread, and a host may well complain of them.
        host.violations.clear()
        await _healthy(lane, host)


@EVERY_FAULT
async def test_in_the_second_transaction_of_a_connection(name: str) -> None:
    fault, status = FAULTS[name]
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)], limits=LIMITS) as lane:
        host.script("CONTENT", None, fault)
        lane.send(1, 2, 3)
        await lane.wait_for(3)
        verdicts = [lane.of[number][0] for number in (1, 2, 3)]
        assert isinstance(verdicts[0], Delivered)
        assert isinstance(verdicts[1], Temporary)
        assert verdicts[1].status == status
        # The third envelope was on its way: unless it was heard of, it goes over another connection.
        assert isinstance(verdicts[2], Delivered)
        host.violations.clear()
        await _healthy(lane, host)


@EVERY_FAULT
async def test_rset_after_everybody_was_refused(name: str) -> None:
    fault, _ = FAULTS[name]
    async with serving(SmtpHost(extensions=())) as host, lane_to([hop_to(host)], limits=LIMITS) as lane:
        host.script("RCPT", Say(b"550 5.1.1 who?\r\n"))
        host.script("RSET", fault)
        lane.send(1, 2)
        await lane.wait_for(2)
        first, second = lane.of[1][0], lane.of[2][0]
        assert isinstance(first, Bounced)
        assert isinstance(second, Delivered)
        await _healthy(lane, host)


@EVERY_FAULT
async def test_quit(name: str) -> None:
    fault, _ = FAULTS[name]
    limits = ConnectionLimits(connections=1, deliveries=1, quit_s=0.1)
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)], limits=limits) as lane:
        host.always("QUIT", fault)
        lane.send(1, 2, 3)
        await lane.wait_for(3)
        assert len(lane.delivered) == 3
        assert lane.feed.shuts == []
        await _healthy(lane, host)


async def test_a_host_that_takes_the_content_and_resets_is_asked_again_later() -> None:
    # The one duplicate that SMTP cannot avoid: whether it was taken, nobody can know.
    async with serving(SmtpHost()) as host, lane_to([hop_to(host)], limits=LIMITS) as lane:
        host.script("CONTENT", RESET)
        lane.send(1)
        (verdict,) = await lane.wait_for(1)
        assert isinstance(verdict, Temporary)
        assert verdict.status == "4.4.2"
