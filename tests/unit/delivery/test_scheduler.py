"""The whole delivery side, from a commit in memory to a real host on loopback and back to the spool."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.ledger import MemoryLimits
from sekisho.delivery.routes import Route, Routes, RouteTls
from sekisho.delivery.verdict import Temporary
from sekisho.ports.clock import SystemClock
from sekisho.preparation.model import NotNow, Prepared, Ready
from sekisho.queue.model import (
    BodyFile,
    Bounced,
    BounceType,
    Classification,
    Deferred,
    Delivered,
    Delivery,
    Dropped,
    Expired,
    Recipient,
)
from sekisho.queue.retry import RetryPolicy
from sekisho.queue.spool import HeldSenders
from sekisho.queue.watch import ChangeKind, SpoolChange
from tests.fakes.certificates import Authority
from tests.fakes.preparer import FakePreparer, plain
from tests.fakes.smtphost import CLOSE, HANG, Fault, Say, SmtpHost, serving
from tests.fakes.spool import MemorySpool, make_message, recipients
from tests.unit.delivery.conftest import relaying, routes_to, target_of

HASTY = RetryPolicy(first_s=0.05, max_s=0.1, max_age_s=1000)


# Delivering.


async def test_a_message_arrives_as_it_was_prepared() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host)) as relay:
        relay.send("r@mx.test", body=b"..two\r\n.\r\nend\r\n")
        ((settlement),) = await relay.spool.wait_for(1)
    assert host.violations == []
    (mail,) = host.mails
    assert mail.content == (b"DKIM-Signature: x\r\nFrom: a@us.test\r\nSubject: message 1\r\n\r\n..two\r\n.\r\nend\r\n")
    assert (mail.mail_from, mail.recipients) == ("bounces+1.0@relay.test", ("r@mx.test",))
    outcome = settlement.outcome
    assert isinstance(outcome, Delivered)
    assert outcome.reply == "250 2.0.0 taken as 0"
    assert (outcome.remote.host, outcome.remote.ip, outcome.remote.local_ip) == ("127.0.0.1",) * 3
    assert outcome.remote.tls_version == ""
    assert host.commands[-1] == "QUIT"


@pytest.mark.parametrize("at_once", [True, False])
async def test_many_messages_share_few_connections(at_once: bool) -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host), preparer=FakePreparer(at_once=at_once)) as relay:
        for number in range(300):
            relay.send("r@mx.test", number=number)
        await relay.spool.wait_for(300)
    assert host.violations == []
    assert all(isinstance(outcome, Delivered) for outcome in relay.spool.outcomes)
    assert len({mail.content for mail in host.mails}) == 300
    assert host.connections <= 8
    assert relay.spool.rows == {}
    assert relay.scheduler.in_memory == 0


async def test_a_host_without_extensions() -> None:
    async with serving(SmtpHost(extensions=())) as host, relaying(routes_to(host)) as relay:
        for number in range(20):
            relay.send("r1@mx.test", "r2@mx.test", number=number)
        await relay.spool.wait_for(40)
    assert host.violations == []
    assert len(host.mails) == 40


async def test_a_connection_ends_after_its_share() -> None:
    limits = ConnectionLimits(connections=1, deliveries=10)
    async with serving(SmtpHost()) as host, relaying(routes_to(host), limits=limits) as relay:
        for number in range(35):
            relay.send("r@mx.test", number=number)
        await relay.spool.wait_for(35)
        assert host.connections == 4
    assert [mail.connection for mail in host.mails] == [1] * 10 + [2] * 10 + [3] * 10 + [4] * 5
    assert host.commands.count("QUIT") == 4


async def test_a_large_body_comes_from_its_file(tmp_path: Path) -> None:
    content = (b".line with a dot in front\r\n" + b"x" * 900 + b"\r\n") * 2000
    path = tmp_path / "body"
    path.write_bytes(content)
    async with serving(SmtpHost()) as host, relaying(routes_to(host)) as relay:
        relay.send("r1@mx.test", "r2@mx.test", body=BodyFile(path, len(content)))
        relay.send("r@mx.test", number=2)
        await relay.spool.wait_for(3)
    assert host.violations == []
    assert sorted(mail.content.partition(b"\r\n\r\n")[2] for mail in host.mails) == sorted(
        [content, content, b"Hello.\r\n"]
    )


@pytest.mark.parametrize("reply", [b"354 go\r\n552 5.3.4 too big\r\n", b"354 go\r\n"])
async def test_a_host_that_hangs_up_on_a_large_body(tmp_path: Path, reply: bytes) -> None:
    content = b"x" * 70 + b"\r\n"
    path = tmp_path / "body"
    path.write_bytes(content * 100_000)
    async with serving(SmtpHost()) as host, relaying(routes_to(host)) as relay:
        host.script("DATA", Say(reply, close=True))
        relay.send("r@mx.test", body=BodyFile(path, len(content) * 100_000))
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert host.mails == []
    if b"552" in reply and isinstance(outcome, Bounced):  # or the reset was faster than the reply
        assert outcome.status == "5.3.4"
    else:
        assert isinstance(outcome, Deferred)


async def test_half_a_message_is_never_ended(tmp_path: Path) -> None:
    missing = BodyFile(tmp_path / "gone", 1000)
    async with serving(SmtpHost()) as host, relaying(routes_to(host)) as relay:
        relay.send("r@mx.test", body=missing)
        await relay.spool.wait_for(1)
    assert host.mails == []
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.status == "4.3.0"


async def test_what_cannot_be_read_is_its_own_fault_and_nobody_else_s(tmp_path: Path) -> None:
    missing = BodyFile(tmp_path / "gone", 1000)
    limits = ConnectionLimits(connections=1)
    async with serving(SmtpHost()) as host, relaying(routes_to(host), limits=limits) as relay:
        for number in range(10):
            relay.send("r@mx.test", number=number, body=missing if number % 2 else b"Hello.\r\n")
        await relay.spool.wait_for(10)
    assert len(host.mails) == 5
    faults = {s.delivery.message.body is missing: s.outcome for s in relay.spool.settlements}
    assert isinstance(faults[False], Delivered)
    assert isinstance(faults[True], Deferred)
    assert [outcome.faults for outcome in relay.spool.outcomes if isinstance(outcome, Deferred)] == [1] * 5


# Recipients.


async def test_recipients_of_a_shared_sender_travel_together() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host, verp=False)) as relay:
        host.script("RCPT", None, Say(b"550 5.1.1 who?\r\n"), Say(b"452 4.2.2 full\r\n"))
        relay.send("a@mx.test", "b@mx.test", "c@other.test", "d@mx.test")
        await relay.spool.wait_for(4)
    (mail,) = host.mails
    assert mail.mail_from == "bounces+1@relay.test"
    assert mail.recipients == ("a@mx.test", "d@mx.test")
    by_index = {s.delivery.recipient.index: s.outcome for s in relay.spool.settlements}
    assert isinstance(by_index[0], Delivered)
    assert by_index[1] == Bounced(
        "550 5.1.1 who?", BounceType.BOUNCE, "5.1.1", by_index[0].remote, Classification.INVALID_ADDRESS
    )
    assert isinstance(by_index[2], Deferred)
    assert isinstance(by_index[3], Delivered)


async def test_a_transaction_has_at_most_a_hundred_recipients() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host, verp=False)) as relay:
        relay.send(*(f"r{i}@mx.test" for i in range(250)))
        await relay.spool.wait_for(250)
    assert sorted(len(mail.recipients) for mail in host.mails) == [50, 100, 100]


async def test_different_content_is_not_shared() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host, verp=False)) as relay:
        named = [Recipient(i, f"r{i}@mx.test", personal_to=f"r{i % 2}") for i in range(4)]
        relay.scheduler.offer(relay.spool.store(make_message(), named))
        await relay.spool.wait_for(4)
    assert sorted(mail.recipients for mail in host.mails) == [
        ("r0@mx.test", "r2@mx.test"),
        ("r1@mx.test", "r3@mx.test"),
    ]


async def test_with_verp_every_recipient_has_a_transaction() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host)) as relay:
        relay.send("a@mx.test", "b@mx.test")
        await relay.spool.wait_for(2)
    assert sorted((mail.mail_from, mail.recipients) for mail in host.mails) == [
        ("bounces+1.0@relay.test", ("a@mx.test",)),
        ("bounces+1.1@relay.test", ("b@mx.test",)),
    ]


# Faults at each command.


@pytest.mark.parametrize(
    ("step", "fault", "status"),
    [
        ("CONNECT", Say(b"421 4.3.2 busy\r\n", close=True), "4.3.2"),
        ("CONNECT", Say(b"554 5.7.1 we don't like you\r\n", close=True), ""),
        ("CONNECT", Say(b"SSH-2.0-x\r\n"), "4.5.0"),
        ("CONNECT", CLOSE, "4.4.2"),
        ("CONNECT", HANG, "4.4.2"),
        ("EHLO", Say(b"421 4.3.2 busy\r\n", close=True), "4.3.2"),
        ("EHLO", CLOSE, "4.4.2"),
        ("EHLO", HANG, "4.4.2"),
        ("MAIL", Say(b"451 4.3.0 later\r\n"), "4.3.0"),
        ("MAIL", Say(b"421 4.3.2 bye\r\n", close=True), "4.3.2"),
        ("MAIL", CLOSE, "4.4.2"),
        ("MAIL", HANG, "4.4.2"),
        ("MAIL", Say(b"\xff\xfe\r\n"), "4.5.0"),
        ("RCPT", Say(b"450 4.2.1 greylisted\r\n"), "4.2.1"),
        ("RCPT", Say(b"421 4.3.2 bye\r\n", close=True), "4.3.2"),
        ("RCPT", CLOSE, "4.4.2"),
        ("RCPT", HANG, "4.4.2"),
        ("DATA", Say(b"451 4.3.0 later\r\n"), "4.3.0"),
        ("DATA", Say(b"250 sure\r\n"), "4.5.0"),
        ("DATA", CLOSE, "4.4.2"),
        ("DATA", HANG, "4.4.2"),
        ("CONTENT", Say(b"451 4.7.1 greylisted\r\n"), "4.7.1"),
        ("CONTENT", Say(b"421 4.3.2 bye\r\n", close=True), "4.3.2"),
        ("CONTENT", Say(b"x" * 70_000), "4.5.0"),
        ("CONTENT", CLOSE, "4.4.2"),
        ("CONTENT", HANG, "4.4.2"),
    ],
)
@pytest.mark.parametrize("extensions", [("PIPELINING", "8BITMIME"), ()], ids=["pipelining", "stepwise"])
async def test_a_fault_defers_and_the_next_attempt_delivers(
    step: str, fault: Fault, status: str, extensions: tuple[str, ...]
) -> None:
    limits = ConnectionLimits(opening_s=0.1, envelope_s=-2.9, content_s=0.1)
    async with (
        serving(SmtpHost(extensions=extensions)) as host,
        relaying(routes_to(host), limits=limits, retry=HASTY) as relay,
    ):
        host.always(step, fault)
        relay.send("r@mx.test")
        (settlement,) = await relay.spool.wait_for(1)
        assert isinstance(settlement.outcome, Deferred)
        assert settlement.outcome.status == status
        assert settlement.outcome.reply.isprintable()
        host.mend()
    assert host.mails == []


@pytest.mark.parametrize(
    ("step", "reply", "kind"),
    [
        ("MAIL", b"550 5.7.1 not you\r\n", BounceType.BLOCKED),
        ("RCPT", b"550 5.1.1 who?\r\n", BounceType.BOUNCE),
        ("RCPT", b"550 no such user\r\n", BounceType.BOUNCE),
        ("DATA", b"554 no\r\n", BounceType.BLOCKED),
        ("CONTENT", b"550 5.7.1 spam\r\n", BounceType.BLOCKED),
    ],
)
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelining", "stepwise"])
async def test_a_refusal_bounces_and_the_connection_goes_on(
    step: str, reply: bytes, kind: BounceType, extensions: tuple[str, ...]
) -> None:
    limits = ConnectionLimits(connections=1)
    async with serving(SmtpHost(extensions=extensions)) as host, relaying(routes_to(host), limits=limits) as relay:
        host.script(step, None, Say(reply), None)
        for number in range(3):
            relay.send("r@mx.test", number=number)
        await relay.spool.wait_for(3)
        assert host.connections == 1
    assert host.violations == []
    first, second, third = relay.spool.outcomes
    assert isinstance(first, Delivered)
    assert isinstance(second, Bounced)
    assert second.type is kind
    assert second.reply == reply.decode().strip()
    assert isinstance(third, Delivered)


async def test_eight_bit_content_is_not_sent_where_it_is_not_taken() -> None:
    def eight_bit(delivery: Delivery) -> Prepared:
        ready = plain(delivery)
        assert isinstance(ready, Ready)
        return Ready(ready.mail_from, ready.shared_mail_from, ready.header, b"\xe4\r\n", eight_bit=True)

    async with (
        serving(SmtpHost(extensions=("PIPELINING",))) as host,
        relaying(routes_to(host), preparer=FakePreparer(eight_bit)) as relay,
    ):
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Bounced)
    assert (outcome.type, outcome.status) == (BounceType.BLOCKED, "5.6.3")
    assert "MAIL" not in "".join(host.commands)


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: x",
        b"Subject: x\r\nX: y\n\r\n",
        b"Subject: x\r\r\n",
        b"X: \0\r\n",
        b"X: " + b"x" * 996 + b"\r\n",
        b"\r\n",
    ],
)
async def test_an_unsound_header_never_leaves(header: bytes) -> None:
    def unsound(_: Delivery) -> Prepared:
        return Ready("b@relay.test", "b@relay.test", header, b"x\r\n", eight_bit=False)

    async with serving(SmtpHost()) as host, relaying(routes_to(host), preparer=FakePreparer(unsound)) as relay:
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.faults == 1
    assert host.violations == []
    assert "MAIL" not in "".join(host.commands)


async def test_an_address_that_is_a_command_never_leaves() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host, verp=False)) as relay:
        relay.send("a@mx.test>\r\nRCPT TO:<evil@mx.test", "b@mx.test")
        await relay.spool.wait_for(2)
    first, second = relay.spool.outcomes
    assert isinstance(first, Bounced)
    assert first.status == "5.1.3"
    assert isinstance(second, Deferred)
    assert host.mails == []
    assert not any("evil" in command for command in host.commands)


# A connection that ends in between.


async def test_a_message_that_no_host_heard_of_goes_over_another_connection() -> None:
    # The host hangs up after each answer to content: the envelope behind it was sent and never read.
    limits = ConnectionLimits(connections=1)
    async with serving(SmtpHost()) as host, relaying(routes_to(host), limits=limits) as relay:
        host.always("CONTENT", Say(b"421 4.3.2 one is enough\r\n", close=True))
        relay.send("r@mx.test", number=1)
        relay.send("r@mx.test", number=2)
        await relay.spool.wait_for(2)
        assert host.connections == 2


async def test_a_connection_that_ends_between_messages_defers_nobody() -> None:
    limits = ConnectionLimits(connections=1)
    async with serving(SmtpHost()) as host, relaying(routes_to(host), limits=limits) as relay:
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
        for task in tuple(host._tasks):
            task.cancel()
        await asyncio.sleep(0.01)
        relay.send("r@mx.test", number=2)
        await relay.spool.wait_for(2)
    assert all(isinstance(outcome, Delivered) for outcome in relay.spool.outcomes)


async def test_an_idle_connection_is_ended() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host), limits=ConnectionLimits(idle_s=0.01)) as relay:
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
        await host.until(lambda: not host.open)
    assert host.commands[-1] == "QUIT"


# A host that is down.


async def test_a_dead_host_defers_what_waits_without_a_connection_for_each() -> None:
    dead, alive = SmtpHost(), SmtpHost()
    async with serving(dead):
        pass
    async with serving(alive):
        routes = Routes([Route("dead.test", target_of(dead)), Route("*", target_of(alive))])
        async with relaying(routes) as relay:
            for number in range(500):
                relay.send("r@dead.test", number=number)
                relay.send("r@alive.test", number=number)
            await relay.spool.wait_for(1000)
    deferred = [outcome for outcome in relay.spool.outcomes if isinstance(outcome, Deferred)]
    assert len(deferred) == 500
    assert {(outcome.status, "Connection refused" in outcome.reply) for outcome in deferred} == {("4.4.1", True)}
    assert len(alive.mails) == 500


async def test_a_host_that_drops_everything_is_left_alone_after_a_few() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host), limits=ConnectionLimits(connections=2)) as relay:
        host.always("MAIL", CLOSE)
        for number in range(200):
            relay.send("r@mx.test", number=number)
        await relay.spool.wait_for(200)
    assert all(isinstance(outcome, Deferred) for outcome in relay.spool.outcomes)
    assert host.connections < 20


async def test_what_was_deferred_is_tried_again_and_arrives() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host), retry=HASTY) as relay:
        host.script("RCPT", Say(b"450 4.2.1 greylisted\r\n"), Say(b"450 4.2.1 greylisted\r\n"))
        relay.send("r@mx.test")
        await relay.spool.wait_for(3)
    assert [type(outcome) for outcome in relay.spool.outcomes] == [Deferred, Deferred, Delivered]
    assert [s.delivery.attempts for s in relay.spool.settlements] == [0, 1, 2]
    assert len(host.mails) == 1


async def test_after_max_age_it_expires() -> None:
    retry = RetryPolicy(first_s=0.05, max_s=0.1, max_age_s=0.12)
    async with serving(SmtpHost()) as host, relaying(routes_to(host), retry=retry) as relay:
        host.always("RCPT", Say(b"450 4.2.1 greylisted\r\n"))
        relay.send("r@mx.test")
        while not relay.spool.outcomes or not isinstance(relay.spool.outcomes[-1], Expired):
            await relay.spool.wait_for(len(relay.spool.outcomes) + 1)
    last = relay.spool.outcomes[-1]
    assert isinstance(last, Expired)
    assert last.reply == "450 4.2.1 greylisted"
    assert relay.spool.rows == {}


async def test_a_host_that_limits_connections_still_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_FIRST_S", 0.05)
    limits = ConnectionLimits(connections=4, deliveries=10)
    async with serving(SmtpHost(limit=1)) as host, relaying(routes_to(host), limits=limits) as relay:
        for number in range(50):
            relay.send("r@mx.test", number=number)
        await relay.spool.wait_for(50)
    assert all(isinstance(outcome, Delivered) for outcome in relay.spool.outcomes)
    assert len(host.mails) == 50


async def test_what_comes_while_a_host_is_down_says_so_and_the_pause_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_FIRST_S", 0.2)
    host = SmtpHost()
    async with serving(host):
        pass
    async with relaying(routes_to(host), retry=RetryPolicy(first_s=0.3)) as relay:
        relay.send("r@mx.test", number=1)
        await relay.spool.wait_for(1)
        relay.send("r@mx.test", number=2)
        await relay.spool.wait_for(2)
        first, second = relay.spool.outcomes
        assert isinstance(first, Deferred)
        assert isinstance(second, Deferred)
        assert second.reply == f"{first.reply} (not asked again yet)"
        async with serving(host):
            await relay.spool.wait_for(4)
            assert len(host.mails) == 2


# TLS and AUTH.


async def test_required_tls_with_login(authority: Authority) -> None:
    host = SmtpHost(tls=authority.server("127.0.0.1"), login=("user", "geheim"))
    async with serving(host):
        routes = routes_to(host, tls=RouteTls.REQUIRED, login=("user", "geheim"))
        async with relaying(routes, extra_ca=authority.file) as relay:
            for number in range(10):
                relay.send("r@mx.test", number=number)
            await relay.spool.wait_for(10)
    assert host.violations == []
    assert {(mail.tls, mail.user) for mail in host.mails} == {(True, "user")}
    outcome = relay.spool.outcomes[0]
    assert isinstance(outcome, Delivered)
    assert outcome.remote.tls_version.startswith("TLSv1.")
    assert outcome.remote.tls_verified
    assert outcome.remote.tls_cipher


async def test_login_mechanism(authority: Authority) -> None:
    host = SmtpHost(tls=authority.server("127.0.0.1"), login=("user", "geheim"), mechanisms="LOGIN")
    async with serving(host):
        routes = routes_to(host, tls=RouteTls.REQUIRED, login=("user", "geheim"))
        async with relaying(routes, extra_ca=authority.file) as relay:
            relay.send("r@mx.test")
            await relay.spool.wait_for(1)
    assert host.mails[0].user == "user"


@pytest.mark.parametrize("names", [("other.test",), ("127.0.0.2",)])
async def test_required_tls_needs_the_right_name(authority: Authority, names: tuple[str, ...]) -> None:
    host = SmtpHost(tls=authority.server(*names))
    async with serving(host), relaying(routes_to(host, tls=RouteTls.REQUIRED), extra_ca=authority.file) as relay:
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.status == "4.7.5"
    assert "certificate" in outcome.reply
    assert host.mails == []


async def test_required_tls_needs_a_trusted_issuer(authority: Authority) -> None:
    host = SmtpHost(tls=authority.server("127.0.0.1"))
    async with serving(host), relaying(routes_to(host, tls=RouteTls.REQUIRED)) as relay:
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.status == "4.7.5"


async def test_required_tls_is_not_to_be_had() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host, tls=RouteTls.REQUIRED)) as relay:
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.status == "4.7.4"


async def test_opportunistic_tls_does_not_look_at_names(authority: Authority) -> None:
    host = SmtpHost(tls=authority.server("other.test"))
    async with serving(host), relaying(routes_to(host, tls=RouteTls.OPPORTUNISTIC)) as relay:
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Delivered)
    assert outcome.remote.tls_version
    assert not outcome.remote.tls_verified


async def test_opportunistic_tls_falls_back_to_clear_text() -> None:
    host = SmtpHost(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # no certificate: every handshake fails
    async with serving(host), relaying(routes_to(host, tls=RouteTls.OPPORTUNISTIC)) as relay:
        for number in range(3):
            relay.send("r@mx.test", number=number)
        await relay.spool.wait_for(3)
    assert host.commands.count("STARTTLS") == 1
    assert [mail.tls for mail in host.mails] == [False] * 3
    assert all(isinstance(outcome, Delivered) for outcome in relay.spool.outcomes)


async def test_implicit_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    host = SmtpHost(tls=authority.server("127.0.0.1"), implicit=True, login=("user", "geheim"))
    async with serving(host):
        monkeypatch.setattr("sekisho.delivery.opening.IMPLICIT_TLS_PORT", host.port)
        routes = routes_to(host, tls=RouteTls.REQUIRED, login=("user", "geheim"))
        async with relaying(routes, extra_ca=authority.file) as relay:
            relay.send("r@mx.test")
            await relay.spool.wait_for(1)
    assert "STARTTLS" not in host.commands
    assert [(mail.tls, mail.user) for mail in host.mails] == [(True, "user")]
    outcome = relay.spool.outcomes[0]
    assert isinstance(outcome, Delivered)
    assert outcome.remote.tls_verified


async def test_implicit_tls_with_the_wrong_certificate(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    host = SmtpHost(tls=authority.server("other.test"), implicit=True)
    async with serving(host):
        monkeypatch.setattr("sekisho.delivery.opening.IMPLICIT_TLS_PORT", host.port)
        async with relaying(routes_to(host, tls=RouteTls.REQUIRED), extra_ca=authority.file) as relay:
            relay.send("r@mx.test")
            await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.status == "4.7.5"
    assert "certificate" in outcome.reply


async def test_bytes_behind_starttls_are_never_read(authority: Authority) -> None:
    host = SmtpHost(tls=authority.server("127.0.0.1"))
    async with serving(host), relaying(routes_to(host, tls=RouteTls.REQUIRED), extra_ca=authority.file) as relay:
        host.script("STARTTLS", Say(b"220 go\r\n250-evil\r\n250 PIPELINING\r\n"))
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.status == "4.5.0"


async def test_a_refused_login_defers_and_tells_no_secret(authority: Authority) -> None:
    host = SmtpHost(tls=authority.server("127.0.0.1"), login=("user", "geheim"))
    async with serving(host):
        routes = routes_to(host, tls=RouteTls.REQUIRED, login=("user", "falsch"))
        async with relaying(routes, extra_ca=authority.file) as relay:
            relay.send("r@mx.test")
            await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.reply == "535 5.7.8 wrong"
    assert host.mails == []


# Preparation's answers.


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_preparation_drops_or_cannot_do(at_once: bool) -> None:
    answers: dict[int, Prepared] = {0: Dropped("Bounced Address"), 1: NotNow("no keys")}

    def answer(delivery: Delivery) -> Prepared:
        if delivery.recipient.index == 2:
            message = "a mistake of ours"
            raise RuntimeError(message)
        return answers.get(delivery.recipient.index) or plain(delivery)

    async with (
        serving(SmtpHost()) as host,
        relaying(routes_to(host, verp=False), preparer=FakePreparer(answer, at_once=at_once)) as relay,
    ):
        relay.send(*(f"r{i}@mx.test" for i in range(5)))
        await relay.spool.wait_for(5)
    by_index = {s.delivery.recipient.index: s.outcome for s in relay.spool.settlements}
    assert by_index[0] == Dropped("Bounced Address")
    for index, reply in ((1, "4.3.0 no keys"), (2, "4.3.0 internal error")):
        outcome = by_index[index]
        assert isinstance(outcome, Deferred)
        assert outcome.reply == reply
    assert host.mails[0].recipients == ("r3@mx.test", "r4@mx.test")


@pytest.mark.parametrize("at_once", [True, False])
async def test_thousands_dropped_in_a_row(at_once: bool) -> None:
    preparer = FakePreparer(lambda _: Dropped("Unsubscribed Address"), at_once=at_once)
    async with serving(SmtpHost()) as host, relaying(routes_to(host), preparer=preparer) as relay:
        relay.send(*(f"r{i}@mx{i % 7}.test" for i in range(3000)))
        await relay.spool.wait_for(3000)
    assert host.connections == 0


# Routes.


async def test_without_a_route_it_is_deferred() -> None:
    async with relaying(Routes()) as relay:
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.status == "4.4.4"


async def test_a_reload_moves_what_waits_to_the_new_route() -> None:
    old, new = SmtpHost(hold=asyncio.Event()), SmtpHost()
    async with serving(old), serving(new), relaying(routes_to(old), limits=ConnectionLimits(connections=1)) as relay:
        for number in range(50):
            relay.send("r@mx.test", number=number)
        await old.heard("DATA")
        relay.scheduler.use_routes(routes_to(new))
        await relay.spool.wait_for(40)
        assert old.hold is not None
        old.hold.set()
        await relay.spool.wait_for(50)
    assert len(old.mails) + len(new.mails) == 50
    assert 1 <= len(old.mails) <= 2
    assert old.violations == []


# Bounds of memory, and what the spool has.


async def test_what_does_not_fit_is_read_from_the_spool_and_nothing_twice() -> None:
    def small(more: dict[str, object]) -> None:
        more["memory"] = MemoryLimits(deliveries=20)

    async with serving(SmtpHost()) as host, relaying(routes_to(host), adjust=small) as relay:
        for number in range(500):
            relay.send("r@mx.test", number=number)
            assert relay.scheduler.in_memory <= 20
            if number % 50 == 0:
                await asyncio.sleep(0)
        await relay.spool.wait_for(500)
    assert len(host.mails) == 500
    assert len({mail.mail_from for mail in host.mails}) == 500
    assert relay.preparer.asked == 500


async def test_a_flood_for_one_destination_does_not_stand_in_front_of_others() -> None:
    def small(more: dict[str, object]) -> None:
        more["memory"] = MemoryLimits(deliveries=100)
        more["read_ahead"] = 4

    limits = ConnectionLimits(connections=1)
    async with serving(SmtpHost()) as host, relaying(routes_to(host), adjust=small, limits=limits) as relay:
        for number in range(1000):
            relay.send("r@flood.test", number=number)
        relay.send("r@other.test", number=2000)
        await relay.spool.wait_for(50)
        assert any(mail.recipients == ("r@other.test",) for mail in host.mails[:20])


async def test_what_the_spool_had_before_the_start_is_delivered() -> None:
    spool = MemorySpool()
    for number in range(600):
        spool.store(make_message(number), recipients(f"r@mx{number % 3}.test"))
    async with serving(SmtpHost()) as host, relaying(routes_to(host), spool=spool):
        await spool.wait_for(600)
    assert len(host.mails) == 600
    assert len({mail.mail_from for mail in host.mails}) == 600


async def test_later_due_times_of_a_former_process_are_found() -> None:
    spool = MemorySpool()
    async with serving(SmtpHost()) as host, relaying(routes_to(host), spool=spool) as relay:
        now_ms = relay.scheduler._clock.now_ms()
        for number in range(4):
            spool.store(make_message(number), recipients("r@mx.test"), due_ms=now_ms + 200 * number)
        relay.scheduler.rescan()
        await spool.wait_for(4)
    assert len(host.mails) == 4


async def test_what_a_read_found_before_it_was_offered_is_delivered_once() -> None:
    host = SmtpHost(hold=asyncio.Event())
    async with serving(host), relaying(routes_to(host)) as relay:
        deliveries = relay.spool.store(make_message(), recipients("a@mx.test", "b@mx.test"))
        relay.scheduler.rescan()
        await host.heard("DATA")
        relay.scheduler.offer(deliveries)
        assert host.hold is not None
        host.hold.set()
        await relay.spool.wait_for(2)
        await asyncio.sleep(0.02)
    assert len(host.mails) == 2
    assert relay.preparer.asked == 2


async def test_a_settlement_that_fails_is_written_again_and_the_mail_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sekisho.delivery.settling.RETRY_SETTLE_S", 0.01)
    async with serving(SmtpHost()) as host, relaying(routes_to(host)) as relay:
        relay.spool.failing = 5
        relay.send("r@mx.test")
        await relay.spool.wait_for(1)
    assert len(host.mails) == 1
    assert isinstance(relay.spool.outcomes[0], Delivered)


# Holds and operators.


@pytest.mark.parametrize("held", [HeldSenders(senders=frozenset({1})), HeldSenders(keys=frozenset({"key"}))])
async def test_held_senders_wait_and_others_do_not(held: HeldSenders) -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host)) as relay:
        relay.held = held
        relay.send("r@mx.test", number=1)
        relay.send("r@mx.test", number=2, sender=5, key="other")
        await relay.spool.wait_for(1)
        await asyncio.sleep(0.02)
        assert len(host.mails) == 1
        assert relay.scheduler.in_memory == 0
        relay.held = HeldSenders()
        relay.scheduler.holds_changed()
        await relay.spool.wait_for(2)
    assert [type(outcome) for outcome in relay.spool.outcomes] == [Delivered, Delivered]


async def test_a_hold_reaches_what_is_prepared_already() -> None:
    host = SmtpHost(hold=asyncio.Event())
    limits = ConnectionLimits(connections=1)
    async with serving(host), relaying(routes_to(host), limits=limits) as relay:
        for number in range(10):
            relay.send("r@mx.test", number=number)
        await host.heard("DATA")
        relay.held = HeldSenders(keys=frozenset({"key"}))
        assert host.hold is not None
        host.hold.set()
        await relay.spool.wait_for(1)
        await asyncio.sleep(0.02)
    assert len(host.mails) in (1, 2)  # one in its content, perhaps one in its envelope behind it
    assert len(relay.spool.rows) == 10 - len(host.mails)


async def test_a_dropped_row_is_not_attempted() -> None:
    host = SmtpHost(hold=asyncio.Event())
    async with serving(host), relaying(routes_to(host), limits=ConnectionLimits(connections=1)) as relay:
        sent = [relay.send("r@mx.test", number=number)[0] for number in range(10)]
        await host.heard("DATA")
        rows = tuple(delivery.row for delivery in sent[5:])
        for row in rows:
            del relay.spool.rows[row]
        relay.scheduler.changed(SpoolChange(ChangeKind.DROPPED, rows, ("mx.test",)))
        assert host.hold is not None
        host.hold.set()
        await relay.spool.wait_for(5)
        await asyncio.sleep(0.02)
    assert len(host.mails) == 5


async def test_what_an_operator_makes_due_is_tried_at_once() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host)) as relay:
        (delivery,) = relay.spool.store(make_message(), recipients("r@mx.test"), due_ms=2**50)
        relay.scheduler.rescan()
        await asyncio.sleep(0.02)
        assert host.connections == 0
        relay.spool.rows[delivery.row] = Delivery(delivery.row, delivery.message, delivery.recipient, 0, 0)
        relay.scheduler.changed(SpoolChange(ChangeKind.DUE, (delivery.row,), ("mx.test",)))
        await relay.spool.wait_for(1)


async def test_what_is_released_before_it_is_due_is_tried_when_it_is() -> None:
    async with serving(SmtpHost()) as host, relaying(routes_to(host)) as relay:
        (delivery,) = relay.spool.store(make_message(), recipients("r@mx.test"), due_ms=SystemClock().now_ms() + 300)
        # As after a restart: it was held then, so nobody knows of it.
        relay.scheduler.changed(SpoolChange(ChangeKind.RELEASED, (delivery.row,), ("mx.test",)))
        await relay.spool.wait_for(1)


async def test_what_is_due_later_does_not_hide_behind_what_is_in_memory() -> None:
    host = SmtpHost(hold=asyncio.Event())
    async with serving(host), relaying(routes_to(host)) as relay:
        relay.send("a@mx.test", number=1)
        await host.heard("DATA")
        relay.spool.store(make_message(2), recipients("b@mx.test"), due_ms=SystemClock().now_ms() + 300)
        relay.scheduler.rescan()
        await asyncio.sleep(0.1)
        assert host.hold is not None
        host.hold.set()
        await relay.spool.wait_for(2)


# Ending.


async def test_a_drain_finishes_what_is_under_way_and_starts_nothing() -> None:
    host = SmtpHost(hold=asyncio.Event())
    async with serving(host), relaying(routes_to(host), limits=ConnectionLimits(connections=1)) as relay:
        for number in range(10):
            relay.send("r@mx.test", number=number)
        await host.heard("DATA")
        draining = asyncio.create_task(relay.scheduler.drain(10))
        await asyncio.sleep(0.01)
        assert not draining.done()
        assert host.hold is not None
        host.hold.set()
        await draining
    assert host.commands[-1] == "QUIT"
    assert len(host.mails) == len(relay.spool.settlements)
    assert len(host.mails) in (1, 2)  # one in its content, perhaps one in its envelope behind it
    assert len(relay.spool.rows) == 10 - len(host.mails)


async def test_a_drain_cuts_off_what_takes_too_long_and_settles_nothing_for_it() -> None:
    async with serving(SmtpHost(hold=asyncio.Event())) as host, relaying(routes_to(host), drain_s=0.05) as relay:
        relay.send("r@mx.test")
        await host.heard("DATA")
    assert relay.spool.settlements == []
    assert len(relay.spool.rows) == 1


def test_a_temporary_verdict_has_no_time_of_its_own() -> None:
    assert not hasattr(Temporary("x"), "next_ms")
