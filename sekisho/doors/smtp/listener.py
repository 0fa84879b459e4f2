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
from sekisho.doors.smtp.admission import Admission, SharedCounts, plain_address
from sekisho.doors.smtp.bounds import Limits
from sekisho.doors.smtp.memory import SessionMemory
from sekisho.doors.smtp.session import Connection, Gate, Premises, tls_failure
from sekisho.doors.smtp.spill import clear
from sekisho.identity import Identity, IPAddress
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
        self._accepting: list[asyncio.Task[None]] = []
        self._arriving: set[asyncio.Task[None]] = set()
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
        for listening, mode in self._sockets:
            listening.setblocking(False)
            listening.listen(_BACKLOG)
            self._accepting.append(asyncio.create_task(self._accept(listening, mode), name="smtp accept"))

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
        await self._stop_accepting()
        for connection in tuple(self._connections):
            connection.end(replies.SHUTTING_DOWN, at_once=True, why="drained")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._empty.wait()
        await self.stop()

    async def stop(self) -> None:
        """Cut everything. What was handed to the gate is still waited for: it may be on disk already."""
        await self._stop_accepting()
        for connection in tuple(self._connections):
            connection.abort()
        await self._empty.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
            self._sweeper = None

    async def _stop_accepting(self) -> None:
        # One after the other, with a turn of the loop between: a task that never began could give nothing back.
        for stopping in (self._accepting, self._arriving):
            for task in stopping:
                task.cancel()
            if stopping:
                await asyncio.wait(tuple(stopping))
            await asyncio.sleep(0)
        for listening, _ in self._sockets:
            listening.close()
        self._accepting.clear()

    async def _accept(self, listening: socket.socket, mode: TlsMode) -> None:
        # Not loop.create_server: with implicit TLS it would tell us of a client only after the handshake, and
        # connections that never finish one would be counted by nobody.
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(listening)
            except ConnectionAbortedError:
                continue
            except OSError as error:
                # EMFILE and its kin: the client stays in the backlog, and we do not spin.
                log.warning("cannot accept", error=str(error))
                await asyncio.sleep(_TICK_S)
                continue
            address = plain_address(peer[0])
            if self._premises.admission.connect(address):
                task = self._spawn(self._arrive(accepted, address, mode))
                self._arriving.add(task)
                task.add_done_callback(self._arriving.discard)
            else:
                _turn_away(accepted, mode)

    async def _arrive(self, accepted: socket.socket, address: IPAddress, mode: TlsMode) -> None:
        connection = Connection(self._premises, address)
        self._connections.add(connection)
        self._empty.clear()
        implicit, limits = mode is TlsMode.IMPLICIT, self._premises.limits
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._premises.tls if implicit else None,
                ssl_handshake_timeout=limits.handshake_s if implicit else None,
                ssl_shutdown_timeout=limits.linger_s if implicit else None,
            )
        except OSError as error:
            connection.over(tls_failure(error))
        except BaseException:
            connection.over("stopped")
            raise
        if not connection.has_begun:
            connection.over("TLS: not finished")

    def _over(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

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


def _turn_away(accepted: socket.socket, mode: TlsMode) -> None:
    with accepted, contextlib.suppress(OSError):
        accepted.setblocking(False)
        if mode is TlsMode.STARTTLS:  # inside TLS it could not be read
            accepted.send(bytes(replies.TOO_MANY_CONNECTIONS))


def raise_descriptor_limit() -> int:
    """Use all the descriptors that we may; give their number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def within_descriptors(limits: Limits, descriptors: int) -> Limits:
    """Lower the connections so that deliveries and files still find descriptors: EMFILE is never reached."""
    most = max(descriptors - limits.descriptors_reserve, 1)
    return limits if limits.connections <= most else replace(limits, connections=most)
