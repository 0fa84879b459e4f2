"""The connections to one target: opened on demand, kept for a while, backed off when the host does not answer.

What a failure means here:

- *no connection is open and one can't be opened*: the host is down. Whatever waits for it is deferred with the reason,
  and so is what comes during a pause that doubles each time. Nothing tries the host before the pause is over, and
  then a single connection does.
- *others were open when it was tried*: the host may limit connections. No more are opened for a while; those that are
  open go on.
- *hosts that take connections and drop each at its first message* are down as well after a few of them.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from sekisho.delivery.attempt import Connection, ConnectionLimits, Owner
from sekisho.delivery.dialling import DialError, Dialler, said
from sekisho.delivery.feed import Conclude, Feed
from sekisho.delivery.job import Job
from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.shaping import NextHop
from sekisho.delivery.tasks import Tasks
from sekisho.delivery.verdict import Temporary, Verdict, of_failure
from sekisho.queue.model import Delivery, Remote
from sekisho.wire.smtp.client import ClientSession
from sekisho.wire.smtp.dialogue import Failure, FailureKind, Login, TlsWish

_log = structlog.get_logger(__name__)

IMPLICIT_TLS_PORT = 465
"""RFC 8314 §7.3: TLS from the first byte."""
PAUSE_FIRST_S = 5.0
PAUSE_MAX_S = 300.0
"""Of a host that is down. Each delivery has its own retry time beside it."""
CLEAR_TEXT_S = 3600.0
"""How long an opportunistic target whose handshake failed is talked to in clear text."""
_FRUITLESS_MAX = 3
"""Connections in a row that open and then answer nothing."""


class Pool(Owner):
    """Implements ``feed.Outlet`` for a target on the network."""

    def __init__(
        self,
        hop: NextHop,
        feed: Feed,
        conclude: Conclude,
        dialler: Dialler,
        limits: ConnectionLimits,
        *,
        hostname: str,
        tls: RouteTls,  # noqa: ARG002
        tasks: Tasks,
        on_rest: Callable[[], None],
    ) -> None:
        """``on_rest`` is called whenever a job or a connection is done with."""
        assert isinstance(hop, Target)  # noqa: S101
        self._target = hop
        self._feed = feed
        self._conclude = conclude
        self._dialler = dialler
        self.limits = limits
        self._hostname = hostname
        self._tasks = tasks
        self._on_rest = on_rest
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._resting: list[Connection] = []
        self._dialling = 0
        self._open = 0
        self._fruitless = 0
        self._pause_s = 0.0
        self._no_more_until = 0.0
        self._reopening: asyncio.TimerHandle | None = None
        self._clear_until = 0.0
        self._retired = False
        self.busy = 0
        """Jobs pulled and not yet concluded or given back."""

    # Outlet: the lane's side.

    def wake(self) -> None:
        while self._feed.prepared and self._resting:
            self._resting.pop().serve()
        # One connection for each prepared job that nobody is on the way to; the first one shows whether the host is up.
        limit = self.limits.connections if self._open else 1
        while (
            self._feed.prepared > self._dialling
            and len(self._connections) + self._dialling < limit
            and not self._retired
            and self._loop.time() >= self._no_more_until
        ):
            self._dialling += 1
            self._tasks.spawn(self._dial(), f"connection to {self._target.host}")

    def hurry(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopen()

    def retire(self) -> None:
        self._retired = True
        for connection in tuple(self._resting):
            connection.quit()
        self._resting.clear()

    def abandon(self) -> None:
        self._retired = True
        for connection in tuple(self._connections):
            connection.abandon()
        self._connections.clear()
        if self._reopening is not None:
            self._reopening.cancel()

    def sweep(self, now: float) -> None:
        """Once a second: end what has taken too long."""
        for connection in tuple(self._connections):
            if connection.deadline <= now:
                if connection in self._resting:
                    self._resting.remove(connection)
                connection.expire()

    @property
    def is_idle(self) -> bool:
        return not self._connections and not self._dialling and self._reopening is None

    @property
    def is_over(self) -> bool:
        return not self._connections and not self._dialling

    # Owner: the connections' side.

    def pull(self) -> Job | None:
        if self._retired:
            return None
        job = self._feed.pull()
        if job is not None:
            self.busy += 1
        return job

    def give_back(self, job: Job) -> None:
        self.busy -= 1
        self._feed.give_back(job)
        self._on_rest()

    def conclude(self, delivery: Delivery, verdict: Verdict) -> None:
        self._conclude(delivery, verdict)

    def finished(self, job: Job, *, served: bool) -> None:  # noqa: ARG002  # other owners may want the job
        self.busy -= 1
        if served:
            self._fruitless = 0

    def opened(self, connection: Connection) -> None:  # noqa: ARG002
        self._open += 1
        self._pause_s = 0.0
        self._feed.reopened()
        self._loop.call_soon(self.wake)  # there may be work for more than one

    def rested(self, connection: Connection) -> None:
        if self._retired:
            connection.quit()
        else:
            self._resting.append(connection)

    def ended(self, connection: Connection, failure: Failure | None) -> None:
        self._connections.discard(connection)
        if connection in self._resting:
            self._resting.remove(connection)
        if connection.is_open:
            self._open -= 1
        if failure is not None and not connection.is_open:
            self._opening_failed(failure, connection.remote, beside=connection.beside)
        elif failure is not None and connection.taken and not connection.served:
            self._fruitless += 1
            if self._fruitless >= _FRUITLESS_MAX and not self._open:
                self._down(of_failure(failure, connection.remote))
        if self._retired:
            self._on_rest()
        else:
            self.wake()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.spawn(work, name)

    # Opening.

    async def _dial(self) -> None:
        target, limits = self._target, self.limits
        beside = self._open > 0
        clear = target.tls is RouteTls.OFF or (
            target.tls is RouteTls.OPPORTUNISTIC and self._loop.time() < self._clear_until
        )
        implicit = target.port == IMPLICIT_TLS_PORT and not clear
        context = functools.partial(self._dialler.context, target.tls)
        try:
            sock = await self._dialler.connect(target.host, target.port, limits.connect_s)
        except DialError as error:
            self._dialling -= 1
            self._opening_failed(error.failure, Remote(host=target.host), beside=beside)
            return
        except BaseException:
            self._dialling -= 1
            raise
        connection = Connection(
            self._session(clear=clear),
            target,
            self,
            limits,
            context=context,
            verified=target.tls is RouteTls.REQUIRED,
            implicit=implicit,
            beside=beside,
            loop=self._loop,
        )
        self._connections.add(connection)
        try:
            await self._loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=context() if implicit else None,
                server_hostname=target.host if implicit else None,
                ssl_handshake_timeout=limits.opening_s if implicit else None,
            )
        except (OSError, TimeoutError) as error:
            sock.close()
            connection.give_up(Failure(FailureKind.TLS, f"TLS handshake failed: {said(error)}"))
        except BaseException:
            sock.close()
            raise
        finally:
            self._dialling -= 1

    def _session(self, *, clear: bool) -> ClientSession[Job]:
        target = self._target
        if clear:
            return ClientSession(self._hostname, TlsWish.NEVER)
        if target.tls is RouteTls.OPPORTUNISTIC:
            return ClientSession(self._hostname, TlsWish.IF_OFFERED)
        login = Login(target.username, target.password) if target.password is not None else None
        return ClientSession(self._hostname, TlsWish.ALWAYS, login)

    def _opening_failed(self, failure: Failure, remote: Remote, *, beside: bool) -> None:
        if (
            failure.kind is FailureKind.TLS
            and self._target.tls is RouteTls.OPPORTUNISTIC
            and self._target.port != IMPLICIT_TLS_PORT
        ):
            # Opportunistic means that mail matters more: the next connection asks for no TLS (RFC 7435 §3).
            self._clear_until = self._loop.time() + CLEAR_TEXT_S
            _log.warning("delivery.tls_fallback", host=self._target.host, reason=failure.text)
            self._loop.call_soon(self.wake)
            return
        if self._retired:
            return
        if self._open or beside:
            self._pause()
            _log.warning("delivery.connection_failed", host=self._target.host, reason=failure.text)
            return
        self._down(of_failure(failure, remote))

    def _down(self, verdict: Temporary) -> None:
        self._pause()
        self._fruitless = 0
        _log.warning("delivery.host_down", host=self._target.host, reason=verdict.reply, pause_s=self._pause_s)
        self._feed.shut(verdict, self._no_more_until)

    def _pause(self) -> None:
        """Open nothing for a while, twice as long as the last time."""
        self._pause_s = min(self._pause_s * 2 or PAUSE_FIRST_S, PAUSE_MAX_S)
        self._no_more_until = self._loop.time() + self._pause_s
        if self._reopening is not None:
            self._reopening.cancel()
        self._reopening = self._loop.call_later(self._pause_s, self._reopen)

    def _reopen(self) -> None:
        self._reopening = None
        self._no_more_until = 0.0
        self._feed.probe()
        self.wake()
