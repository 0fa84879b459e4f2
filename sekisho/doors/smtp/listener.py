"""The SMTP door of one worker: its sockets, its connections, its sweeper, and how it closes."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from sekisho.doors.smtp import replies
from sekisho.doors.smtp.admission import Admission, SharedCounts
from sekisho.doors.smtp.bounds import Limits
from sekisho.doors.smtp.memory import SessionMemory
from sekisho.doors.smtp.session import Connection, Gate, Premises
from sekisho.doors.smtp.spill import clear
from sekisho.identity import Identity
from sekisho.ports.clock import Clock

log = structlog.get_logger()

_TICK_S = 1.0
_BACKLOG = 1024


class TlsMode(enum.StrEnum):
    """How TLS begins on a socket."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Listener:
    """Accepts on bound sockets from ``start`` until ``drain`` or ``stop``."""

    def __init__(
        self,
        sockets: Sequence[tuple[socket.socket, TlsMode]],
        gate: Gate,
        *,
        hostname: str,
        tls: ssl.SSLContext,
        limits: Limits,
        counts: SharedCounts,
        worker: int,
        spill_directory: Path,
        clock: Clock,
    ) -> None:
        """``spill_directory`` is this worker's alone: ``start`` empties it. ``counts`` is the host's."""
        self._sockets = sockets
        self._clock = clock
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._premises = Premises(
            hostname=hostname,
            gate=gate,
            admission=Admission(counts, worker, limits),
            memory=SessionMemory(limits.session_memory_bytes),
            clock=clock,
            spill_directory=spill_directory,
            limits=limits,
            session_limits=limits.session(),
            tls=tls,
            spawn=self._spawn,
            over=self._over,
            now_s=clock.monotonic(),
        )

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        """Accept from now on."""
        await asyncio.to_thread(clear, self._premises.spill_directory)
        self._sweeper = asyncio.create_task(self._sweep(), name="smtp sweeper")
        loop = asyncio.get_running_loop()
        for bound, mode in self._sockets:
            factory = self._factory(implicit_tls=mode is TlsMode.IMPLICIT)
            self._servers.append(await loop.create_server(factory, sock=bound, backlog=_BACKLOG))

    def apply(self, limits: Limits) -> None:
        """Put new limits in force: for new sessions in full, for open ones from their next step as far as time goes."""
        self._premises.limits = limits
        self._premises.session_limits = limits.session()
        self._premises.admission.limits = limits
        self._premises.memory.limit_bytes = limits.session_memory_bytes

    def apply_tls(self, context: ssl.SSLContext) -> None:
        """Use another certificate from the next handshake on."""
        self._premises.tls = context

    def expel(self, select: Callable[[Identity], bool]) -> int:
        """Tell sessions of these identities 421 at their next command; give their number."""
        found = [one for one in self._connections if one.identity is not None and select(one.identity)]
        for connection in found:
            connection.end(replies.EXPELLED, at_once=False, why="expelled")
        return len(found)

    async def drain(self, deadline_s: float) -> None:
        """Stop accepting, end idle sessions with 421, let transactions finish; cut what is left in the end."""
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.end(replies.SHUTTING_DOWN, at_once=True, why="drained")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._empty.wait()
        await self.stop()

    async def stop(self) -> None:
        """Cut everything. What was handed to the gate is still waited for: it may be on disk already."""
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.abort()
        await self._empty.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        self._servers.clear()

    def _factory(self, *, implicit_tls: bool) -> Callable[[], Connection]:
        def make() -> Connection:
            connection = Connection(self._premises, implicit_tls=implicit_tls)
            self._connections.add(connection)
            self._empty.clear()
            return connection

        return make

    def _over(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("session task failed", exc_info=error)

    async def _sweep(self) -> None:
        """Look at all deadlines once a second: no timer per command, and nothing that a slow peer can outlive."""
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = self._premises.now_s = self._clock.monotonic()
            for connection in [one for one in self._connections if one.deadline_s <= now_s]:
                try:
                    connection.check()
                except Exception:
                    # One broken session must not keep the others from being watched.
                    log.exception("session not checked")
                    connection.abort()


def raise_descriptor_limit() -> int:
    """Use all the descriptors that we may; give their number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def within_descriptors(limits: Limits, descriptors: int) -> Limits:
    """Lower the connections so that deliveries and files still find descriptors: EMFILE is never reached."""
    most = max(descriptors - limits.descriptors_reserve, 1)
    return limits if limits.connections <= most else replace(limits, connections=most)
