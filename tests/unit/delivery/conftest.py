from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.routes import Route, Routes, RouteTls, Target
from sekisho.delivery.scheduler import Scheduler
from sekisho.delivery.shaping import Shape, Shaping, ShapingRow
from sekisho.ports.clock import SystemClock
from sekisho.queue.model import BodyFile, Delivery
from sekisho.queue.retry import RetryPolicy
from sekisho.queue.spool import HeldSenders
from sekisho.secret import Secret
from tests.fakes.certificates import Authority
from tests.fakes.preparer import FakePreparer
from tests.fakes.smtphost import SmtpHost
from tests.fakes.spool import MemorySpool, make_message, recipients


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Everything here runs on the loop of production and on the plain one."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _swift_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines are looked at often: the tests wait for them."""
    monkeypatch.setattr("sekisho.delivery.scheduler.SWEEP_S", 0.02)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@dataclass
class Relay:
    """A scheduler with everything around it in memory."""

    spool: MemorySpool
    preparer: FakePreparer
    scheduler: Scheduler
    held: HeldSenders = field(default_factory=HeldSenders)

    def send(
        self, *addresses: str, number: int = 1, body: bytes | BodyFile = b"Hello.\r\n", **more: Any
    ) -> tuple[Delivery, ...]:
        """Commit a message and hand it over, as the door does."""
        deliveries = self.spool.store(make_message(number, body, **more), recipients(*addresses))
        self.scheduler.offer(deliveries)
        return deliveries


def target_of(
    host: SmtpHost,
    tls: RouteTls = RouteTls.OFF,
    *,
    name: str = "127.0.0.1",
    login: tuple[str, str] | None = None,
    verp: bool = True,
) -> Target:
    password = Secret(login[1]) if login else None
    return Target(name, host.port, tls, login[0] if login else "", password, verp)


def routes_to(host: SmtpHost, **more: Any) -> Routes:
    return Routes([Route("*", target_of(host, **more))])


@asynccontextmanager
async def relaying(
    routes: Routes,
    *,
    preparer: FakePreparer | None = None,
    spool: MemorySpool | None = None,
    limits: ConnectionLimits | None = None,
    shaping: Shaping | None = None,
    retry: RetryPolicy | None = None,
    extra_ca: Path | None = None,
    drain_s: float = 10,
    adjust: Callable[[dict[str, Any]], None] = lambda _: None,
) -> AsyncIterator[Relay]:
    """Start a scheduler and drain it at the end."""
    spool = spool or MemorySpool()
    preparer = preparer or FakePreparer()
    limits = limits or ConnectionLimits()
    more: dict[str, Any] = {}
    adjust(more)
    held: list[Relay] = []
    scheduler = Scheduler(
        spool,
        preparer,
        clock=SystemClock(),
        hostname="relay.test",
        routes=routes,
        holds=lambda: held[0].held,
        retry=retry or RetryPolicy(),
        connections=limits,
        extra_ca=extra_ca,
        chance=lambda: 0.5,
        shaping=shaping or Shaping([ShapingRow("", "", Shape(limits.connections, None, limits.deliveries))]),
        **more,
    )
    relay = Relay(spool, preparer, scheduler)
    held.append(relay)
    scheduler.start()
    try:
        yield relay
    finally:
        await scheduler.drain(drain_s)
