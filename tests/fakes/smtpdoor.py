"""A real SMTP door on loopback, on a loop of its own in a thread, so that ordinary blocking clients can talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from structlog.testing import capture_logs

from sekisho.doors.smtp.admission import SharedCounts
from sekisho.doors.smtp.bounds import Limits
from sekisho.doors.smtp.listener import Listener, TlsMode
from sekisho.doors.smtp.tls import server_context
from sekisho.ports.clock import SystemClock
from sekisho.secret import Secret
from tests.acceptance.certificates import Certificate, make_certificate
from tests.fakes.smtpgate import FakeGate

T = TypeVar("T")

QUICK = Limits(failure_delay_ms=1, failure_delay_max_ms=2, linger_s=2)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


class SteppedClock(SystemClock):
    """The machine's clock, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@dataclass
class Door:
    """What a test can do with it."""

    gate: FakeGate
    listener: Listener
    loop: asyncio.AbstractEventLoop
    certificate: Certificate
    spill_directory: Path
    starttls_port: int
    implicit_port: int
    clock: SteppedClock
    logged: Sequence[MutableMapping[str, Any]]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def do(self, action: Callable[[], T]) -> T:
        async def call() -> T:
            return action()

        return self.run(call())

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate.chain))

    def port(self, *, implicit: bool) -> int:
        return self.implicit_port if implicit else self.starttls_port

    def connect(self, *, implicit: bool = False) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", self.port(implicit=implicit)), timeout=20)
        return self.client_context().wrap_socket(raw, server_hostname="localhost") if implicit else raw


def _bound() -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", 0))
    return listening


@contextlib.contextmanager
def open_door(
    folder: Path, *, limits: Limits = QUICK, gate: FakeGate | None = None, loop_kind: str = "uvloop"
) -> Iterator[Door]:
    """Open it; nothing of it is left afterwards."""
    certificate = make_certificate(folder / "tls")
    gate = gate or FakeGate()
    starttls, implicit = _bound(), _bound()
    loop = LOOPS[loop_kind]()
    clock = SteppedClock()
    thread = threading.Thread(target=loop.run_forever, name="door")
    thread.start()

    async def start() -> Listener:
        listener = Listener(
            [(starttls, TlsMode.STARTTLS), (implicit, TlsMode.IMPLICIT)],
            gate,
            hostname="mx.test",
            tls=server_context(certificate.chain.read_bytes(), Secret(certificate.key.read_bytes())),
            limits=limits,
            counts=SharedCounts(1),
            worker=0,
            spill_directory=folder / "spill",
            clock=clock,
        )
        await listener.start()
        return listener

    async def finish() -> None:
        await loop.shutdown_default_executor()

    ports = starttls.getsockname()[1], implicit.getsockname()[1]
    with capture_logs() as logged:
        try:
            listener = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
            door = Door(gate, listener, loop, certificate, folder / "spill", *ports, clock, logged)
            try:
                yield door
            finally:
                door.run(listener.stop())
        finally:
            asyncio.run_coroutine_threadsafe(finish(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(30)
            loop.close()
