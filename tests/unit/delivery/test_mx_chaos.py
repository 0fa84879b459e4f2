"""Mail to domains by DNS, over real sockets, to hosts that do something else every few steps; then it is counted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.routes import Routes
from sekisho.delivery.sites import Sites
from sekisho.ports.clock import SystemClock
from sekisho.ports.dns import Absent, Addresses, Exchanger, Exchangers, NoSuchName
from sekisho.queue.model import Deferred, Delivered
from sekisho.queue.retry import RetryPolicy
from tests.fakes.certificates import Authority
from tests.fakes.smtphost import CLOSE, HANG, RESET, Endless, Fault, Say, SmtpHost, serving
from tests.unit.delivery.conftest import relaying

MESSAGES = 60
HOSTS = {"mx1.test": "127.0.0.2", "mx2.test": "127.0.0.3"}
STEPS = ("CONNECT", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "CONTENT", "RSET", "QUIT")
# None of these takes a message without saying so: whatever arrives twice was sent twice by us.
FAULTS: tuple[Fault, ...] = (
    HANG,
    CLOSE,
    RESET,
    Say(b"421 4.3.2 bye\r\n", close=True),
    Say(b"451 4.3.0 later\r\n"),
    Say(b"what?\r\n"),
    Endless(b"451-4.3.0 more\r\n"),
)
LIMITS = ConnectionLimits(opening_s=0.2, envelope_s=0.2, content_s=20, idle_s=0.05, session_s=0.3)


class Table:
    """Both domains have the same hosts, the second the other way round."""

    async def exchangers(self, name: str) -> Exchangers | Absent:
        await asyncio.sleep(0)
        first, second = HOSTS if name == "a.test" else reversed(HOSTS)
        return Exchangers((Exchanger(10, first), Exchanger(20, second)), 300)

    async def addresses(self, name: str) -> Addresses | Absent:
        await asyncio.sleep(0)
        return Addresses((HOSTS[name],), 300) if name in HOSTS else NoSuchName(300)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelining", "stepwise"])
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "clear"])
async def test_everything_arrives_exactly_once_at_one_of_the_hosts(
    seed: int, extensions: tuple[str, ...], tls: bool, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_FIRST_S", 0.02)
    monkeypatch.setattr("sekisho.delivery.pool.PAUSE_MAX_S", 0.05)
    monkeypatch.setattr("sekisho.delivery.attempt.RECIPIENT_S", 0.0)
    chance = random.Random(seed)  # noqa: S311  # reproducible on purpose
    hosts = [SmtpHost(extensions=extensions, tls=authority.server(name) if tls else None) for name in HOSTS]
    for host in hosts:
        for step in STEPS:
            faults = FAULTS[1:2] + FAULTS[3:6] if step == "CONTENT" else FAULTS
            host.script(step, *(chance.choice(faults) if chance.random() < 0.15 else None for _ in range(40)))
    async with AsyncExitStack() as stack:
        for host, address in zip(hosts, HOSTS.values(), strict=True):
            host.port = hosts[0].port  # one port for all, as in the world
            await stack.enter_async_context(serving(host, address))

        def by_dns(more: dict[str, Any]) -> None:
            more["sites"] = Sites(
                Table(), port=hosts[0].port, allow_private=True, chance=chance.random, clock=SystemClock()
            )

        retry = RetryPolicy(first_s=0.02, max_s=0.1, max_age_s=1000)
        relay = await stack.enter_async_context(
            relaying(Routes(), limits=LIMITS, retry=retry, extra_ca=authority.file, adjust=by_dns)
        )
        for number in range(MESSAGES):
            relay.send("r@a.test", "s@b.test", number=number)
        await relay.spool.until(lambda: not relay.spool.rows)
    arrived = Counter(
        (mail.mail_from, recipient) for host in hosts for mail in host.mails for recipient in mail.recipients
    )
    assert set(arrived.values()) == {1}
    assert len(arrived) == 2 * MESSAGES
    assert all(host.mails for host in hosts)
    assert {type(outcome) for outcome in relay.spool.outcomes} <= {Delivered, Deferred}
    delivered = [outcome.remote for outcome in relay.spool.outcomes if isinstance(outcome, Delivered)]
    assert {(remote.host, remote.ip) for remote in delivered} == set(HOSTS.items())
    # Clear text only where STARTTLS was refused.
    assert all(remote.tls_verified for remote in delivered if remote.tls_version)
    assert any(remote.tls_version for remote in delivered) is tls
