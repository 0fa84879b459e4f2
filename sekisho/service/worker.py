"""A worker's side of the service: what it is handed, and the loop that listens to its supervisor.

A role's main is ``def run_relay(context) -> int: return run(context, main)`` with ``async def main(context, channel)``:
it builds its parts, calls ``channel.listen(...)``, opens its doors, says ``channel.ready()``, and returns its exit
status once it has drained.
"""

from __future__ import annotations

import asyncio
import enum
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
import uvloop

from sekisho.queue.wake import Bell
from sekisho.service import control, telemetry
from sekisho.service.certificates import Certificate
from sekisho.service.config import Config, in_force, parse
from sekisho.service.control import Drain, Reload
from sekisho.service.datadir import DataDir
from sekisho.service.sockets import BoundListener
from sekisho.service.telemetry import LogFormat

ORPHANED: Final = 70
"""Exit status of a worker whose supervisor is gone (EX_SOFTWARE); nobody is left to see it but a tracer."""

_log = structlog.get_logger()


class Role(enum.StrEnum):
    """What a worker does."""

    RELAY = "relay"
    WEB = "web"


class SharedTable(Protocol):
    """Memory that the relay workers share, made before they are forked; only the wiring knows what is in it."""

    def forget(self, worker_index: int) -> None:
        """A relay worker is gone: what it had counted no longer counts."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """All that a worker is handed by its supervisor."""

    role: Role
    index: int
    """Its place among the workers of its role, from 0; the same after a restart."""
    worker_count: int
    """How many relay workers there are."""
    has_web: bool
    """A web worker runs beside: background work is its."""
    config: Config
    directory: DataDir
    certificate: Certificate
    listeners: tuple[BoundListener, ...]
    """This relay worker's own listening sockets; empty for other roles."""
    http: socket.socket | None
    """The listening HTTP socket; the web worker's alone."""
    shared: SharedTable | None
    channel: socket.socket
    """To the supervisor; see Channel."""
    death: int
    """A descriptor that reads as ended once the supervisor is gone."""
    log_format: LogFormat
    bell: Bell | None = None
    """The web worker tells the relay workers by it that there is something to claim."""

    @property
    def name(self) -> str:
        return f"{self.role.value}-{self.index}"


OnReload = Callable[[Config, Certificate], None]
OnDrain = Callable[[float], None]
Main = Callable[[WorkerContext, "Channel"], Awaitable[int]]


class Channel:
    """The worker's end of the line to its supervisor, on the worker's loop."""

    def __init__(self, context: WorkerContext, loop: asyncio.AbstractEventLoop) -> None:
        self._context: Final = context
        self._loop: Final = loop
        self._config = context.config
        self._buffer = bytearray()
        self._on_reload: OnReload | None = None
        self._on_drain: OnDrain | None = None
        context.channel.setblocking(False)

    def listen(self, *, on_reload: OnReload, on_drain: OnDrain) -> None:
        """Hear orders from now on (those that came before were kept).

        ``on_reload`` gets the configuration in force (keys that need a restart keep their value; the log level is
        applied already) and the certificate. ``on_drain`` gets the seconds that are left; it is called once.
        """
        self._on_reload, self._on_drain = on_reload, on_drain
        # systemd tells every process of the service; ours may come before the supervisor's order.
        self._loop.add_signal_handler(signal.SIGTERM, self._terminate)
        self._loop.add_reader(self._context.channel, self._hear)

    def ready(self) -> None:
        """Tell the supervisor that the doors are open."""
        # A few bytes into an empty socket buffer: it cannot block.
        self._context.channel.send(control.encode_ready())

    def _hear(self) -> None:
        try:
            chunk = self._context.channel.recv(1 << 16)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            chunk = b""
        if not chunk:
            _orphaned()
        self._buffer += chunk
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            match control.decode_order(line):
                case Drain(deadline_s=deadline_s):
                    self._drain(deadline_s)
                case Reload() as order:
                    self._reload(order)

    def _reload(self, order: Reload) -> None:
        self._config, _waiting = in_force(self._config, parse(order.source))
        telemetry.configure(self._context.log_format, self._config.server.log_level, self._context.name)
        if self._on_reload is not None:
            self._on_reload(self._config, order.certificate)

    def _terminate(self) -> None:
        self._drain(self._config.server.drain_s * control.WORKERS_SHARE)

    def _drain(self, deadline_s: float) -> None:
        on_drain, self._on_drain = self._on_drain, None
        if on_drain is not None:
            on_drain(deadline_s)


def run(context: WorkerContext, main: Main) -> int:
    """Run a worker's main on a uvloop of its own until it returns; its exit status.

    The process ends at once when the supervisor is gone: what was promised is on disk, and nobody would restart or
    drain this worker any more.
    """

    async def body() -> int:
        loop = asyncio.get_running_loop()
        loop.add_reader(context.death, _orphaned)
        telemetry.gather(loop)
        try:
            return await main(context, Channel(context, loop))
        finally:
            telemetry.finish()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(body())


def _orphaned() -> None:
    _log.warning("worker.orphaned")
    os._exit(ORPHANED)
