"""Many messages against a host that does something else every few steps; then everything is counted."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.ledger import MemoryLimits
from sekisho.delivery.routes import Routes
from sekisho.queue.model import Bounced, Deferred, Delivered
from sekisho.queue.retry import RetryPolicy
from tests.fakes.sites import FakeSites, site
from tests.fakes.smtphost import CLOSE, HANG, Fault, Mail, Say, SmtpHost, serving
from tests.unit.delivery.conftest import relaying, routes_to

STEPS = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT", "RSET", "QUIT")
FAULTS: tuple[Fault, ...] = (
    # The first two are not for the content: a timeout there leaves open whether it was taken.
    HANG,
    Say(b"45"),
    CLOSE,
    Say(b"421 4.3.2 bye\r\n", close=True),
    Say(b"421 4.3.2 bye\r\n"),
    Say(b"451 4.3.0 later\r\n"),
    Say(b"what?\r\n"),
    Say(b"451-4.3.0 more\r\n" * 150),
    Say(b"451 later\r\n451 later\r\n"),
)
MESSAGES = 60
LIMITS = ConnectionLimits(connections=3, deliveries=15, opening_s=0.1, envelope_s=0.1, content_s=20, idle_s=0.05)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelining", "stepwise"])
@pytest.mark.parametrize("verp", [True, False])
async def test_everything_arrives_exactly_once_whatever_the_host_does(
    seed: int, extensions: tuple[str, ...], verp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None of these faults takes a message without saying so: whatever is sent twice, is sent twice by us.
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_FIRST_S", 0.02)
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_MAX_S", 0.05)
    monkeypatch.setattr("sekisho.delivery.attempt.RECIPIENT_S", 0.0)
    chance = random.Random(seed)  # noqa: S311  # reproducible on purpose
    host = SmtpHost(extensions=extensions)
    for step in STEPS:
        faults = FAULTS[2:] if step == "CONTENT" else FAULTS
        host.script(step, *(chance.choice(faults) if chance.random() < 0.15 else None for _ in range(40)))

    def small(more: dict[str, Any]) -> None:
        more["memory"] = MemoryLimits(deliveries=30)

    retry = RetryPolicy(first_s=0.02, max_s=0.1, max_age_s=1000)
    async with serving(host), relaying(routes_to(host, verp=verp), limits=LIMITS, retry=retry, adjust=small) as relay:
        for number in range(MESSAGES):
            relay.send("a@mx.test", "b@mx.test", "c@other.test", number=number)
        await relay.spool.until(lambda: not relay.spool.rows)
    # A host that answers twice makes us answer too early; but no line of ours is ever broken.
    assert not [violation for violation in host.violations if "behind" not in violation]
    arrived = Counter((_number(mail), recipient) for mail in host.mails for recipient in mail.recipients)
    assert set(arrived.values()) == {1}
    assert len(arrived) == 3 * MESSAGES
    assert {type(outcome) for outcome in relay.spool.outcomes} <= {Delivered, Deferred}
    # Each delivery's attempts are numbered without a gap, and only the last one delivered.
    attempts: dict[int, list[int]] = {}
    for settlement in relay.spool.settlements:
        attempts.setdefault(settlement.delivery.row, []).append(settlement.delivery.attempts)
    assert all(found == list(range(len(found))) for found in attempts.values())


@pytest.mark.parametrize("seed", range(3))
async def test_everything_arrives_exactly_once_by_mx(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hosts, each first of one domain and second of another, and each has its faults."""
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_FIRST_S", 0.02)
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_MAX_S", 0.05)
    monkeypatch.setattr("sekisho.delivery.attempt.RECIPIENT_S", 0.0)
    chance = random.Random(seed)  # noqa: S311  # reproducible on purpose
    names = ["mx0.test", "mx1.test", "mx2.test"]
    sites = FakeSites({f"d{number}.test": site(names[number], names[(number + 1) % 3]) for number in range(3)})
    hosts = [SmtpHost() for _ in names]
    for host in hosts:
        for step in STEPS:
            faults = FAULTS[2:] if step == "CONTENT" else FAULTS
            host.script(step, *(chance.choice(faults) if chance.random() < 0.15 else None for _ in range(30)))

    def small(more: dict[str, Any]) -> None:
        more["memory"] = MemoryLimits(deliveries=30)
        more["sites"] = sites

    retry = RetryPolicy(first_s=0.02, max_s=0.1, max_age_s=1000)
    async with AsyncExitStack() as stack:
        for host, name in zip(hosts, names, strict=True):
            await stack.enter_async_context(serving(host))
            sites.ports[name] = host.port
        relay = await stack.enter_async_context(relaying(Routes(), limits=LIMITS, retry=retry, adjust=small))
        for number in range(MESSAGES):
            relay.send("a@d0.test", "b@d1.test", "c@d2.test", number=number)
        await relay.spool.until(lambda: not relay.spool.rows)
    mails = [mail for host in hosts for mail in host.mails]
    arrived = Counter((_number(mail), recipient) for mail in mails for recipient in mail.recipients)
    assert set(arrived.values()) == {1}
    assert len(arrived) == 3 * MESSAGES
    assert {type(outcome) for outcome in relay.spool.outcomes} <= {Delivered, Deferred}


def _number(mail: Mail) -> str:
    """The message's number, which the fake preparer put into the envelope sender."""
    return mail.mail_from.partition("+")[2].partition("@")[0].partition(".")[0]


@pytest.mark.parametrize("seed", range(3))
async def test_every_recipient_gets_its_own_answer(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # reproducible on purpose
    host = SmtpHost()
    answers: list[Fault | None] = [
        chance.choice((None, Say(b"550 5.1.1 who?\r\n"), Say(b"452 4.2.2 full\r\n"))) for _ in range(50)
    ]
    host.script("RCPT", *answers)
    async with serving(host), relaying(routes_to(host, verp=False), limits=ConnectionLimits(connections=1)) as relay:
        relay.send(*(f"r{i}@mx.test" for i in range(50)))
        await relay.spool.wait_for(50)
    kinds: dict[Fault | None, type] = {
        None: Delivered,
        Say(b"550 5.1.1 who?\r\n"): Bounced,
        Say(b"452 4.2.2 full\r\n"): Deferred,
    }
    for settlement in relay.spool.settlements:
        assert type(settlement.outcome) is kinds[answers[settlement.delivery.recipient.index]]
