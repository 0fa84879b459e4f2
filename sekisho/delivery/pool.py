"""The connections to one next hop: opened on demand, kept for a while, backed off when nobody answers.

What a failure means here:

- *no connection is open and none can be opened*: the next hop is down, and the feed is shut with the reason. Nothing
  is tried before a pause is over, which doubles each time; then a single connection is.
- *others were open when it was tried*: the host limits connections (window.py). Those that are open go on.
- *hosts that take connections and drop each at its first message* are down as well after a few of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from sekisho.delivery.attempt import Connection, ConnectionLimits, Owner
from sekisho.delivery.dialling import Dialler
from sekisho.delivery.feed import Conclude
from sekisho.delivery.job import Job
from sekisho.delivery.opening import NotOpened, Opener, Opens, tell
from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.site import Hop, Site
from sekisho.delivery.tasks import Tasks
from sekisho.delivery.tls import Protection
from sekisho.delivery.verdict import Temporary, Verdict, of_failure
from sekisho.delivery.window import Window
from sekisho.queue.model import Bounced, Classification, Delivery
from sekisho.wire.smtp.client import ClientSession
from sekisho.wire.smtp.dialogue import Failure, FailureKind

PAUSE_FIRST_S = 5.0
PAUSE_MAX_S = 300.0
"""Of a next hop that is down. Each delivery has its own retry time beside it."""
_FRUITLESS_MAX = 3
"""Connections in a row that open and then answer nothing."""
_MISTAKE = NotOpened(
    Temporary("4.3.0 internal error", "4.3.0", classification=Classification.TECHNICAL),
)
"""The task that was to open a connection failed: it is logged there."""


class Source(Protocol):
    """What a pool asks of its feed: see ``feed.Feed``."""

    @property
    def prepared(self) -> int: ...

    def pull(self) -> Job | None: ...

    def give_back(self, job: Job) -> None: ...

    def shut(self, verdict: Temporary | Bounced, until: float) -> None: ...

    def probe(self) -> None: ...

    def reopened(self) -> None: ...


class Pool(Owner, Opens):
    """Implements ``feed.Outlet`` for a next hop on the network."""

    def __init__(
        self,
        hop: Target | Site,
        feed: Source,
        conclude: Conclude,
        dialler: Dialler,
        limits: ConnectionLimits,
        *,
        hostname: str,
        tls: RouteTls,
        tasks: Tasks,
        on_rest: Callable[[], None],
    ) -> None:
        """``on_rest`` is called whenever a job or a connection is done with."""
        self._feed = feed
        self._conclude = conclude
        self._dialler = dialler
        self._limits = limits
        self._tasks = tasks
        self._on_rest = on_rest
        self._to = hop
        self._name = hop.host if isinstance(hop, Target) else hop.hosts[0].host
        self._verp = hop.verp if isinstance(hop, Target) else True
        self._opener = Opener(hop, dialler, limits, hostname=hostname, tls=tls)
        self._window = Window(limits.connections)
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._resting: list[Connection] = []
        self._dialling = 0
        self._open = 0
        self._fruitless = 0
        self._pause_s = 0.0
        self._reopening: asyncio.TimerHandle | None = None
        self._retired = False
        self.busy = 0
        """Jobs pulled and not yet concluded or given back."""

    # Outlet: the lane's side.

    def wake(self) -> None:
        # Each at most once: one that gets nothing rests again at once.
        for connection in reversed(self._resting.copy()):
            if not self._feed.prepared:
                break
            self._resting.remove(connection)
            connection.serve()
        if self._retired or self._reopening is not None:
            return
        # One connection for each prepared job that nobody is on the way to; the first one shows whether the host is up.
        limit = self._window.size(self._loop.time()) if self._open else 1
        while self._feed.prepared > self._dialling and self._open + self._dialling < limit:
            self._dialling += 1
            self._tasks.spawn(self._dial(), f"connection to {self._name}")

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
            is_late = connection.deadline <= now
            if not is_late and connection.ends_at > now:
                continue
            if connection in self._resting:
                self._resting.remove(connection)
            if is_late:
                connection.expire()
            else:
                connection.begin_no_more()

    @property
    def is_idle(self) -> bool:
        return self.is_over and self._reopening is None

    @property
    def is_over(self) -> bool:
        return not self._connections and not self._dialling

    @property
    def limits(self) -> ConnectionLimits:
        """What holds for connections that are opened from now on; fewer of them end those that are too many."""
        return self._limits

    @limits.setter
    def limits(self, limits: ConnectionLimits) -> None:
        self._limits = self._opener.limits = limits
        self._window.resize(limits.connections)
        for connection in list(self._connections)[limits.connections :]:
            if connection in self._resting:
                self._resting.remove(connection)
            connection.begin_no_more()

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
            self._pause_s = 0.0
            if self._window.answered():
                self._loop.call_soon(self.wake)

    def opened(self, connection: Connection) -> None:  # noqa: ARG002
        self._open += 1
        self._window.opened(self._open, self._loop.time())
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        self._feed.reopened()

    def rested(self, connection: Connection) -> None:
        if self._retired:
            connection.quit()
        else:
            self._resting.append(connection)

    def ended(self, connection: Connection, failure: Failure | None) -> None:
        self._connections.discard(connection)
        if connection in self._resting:
            self._resting.remove(connection)
        if not connection.is_open:
            return  # whoever opens it goes on
        self._open -= 1
        # Content of ours that cannot be read says nothing about the host.
        is_hosts = failure is not None and failure.kind is not FailureKind.OURS
        if failure is not None and is_hosts and connection.taken and not connection.served:
            self._was_fruitless(connection, failure)
        if self._retired:
            self._on_rest()
        else:
            self.wake()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.spawn(work, name)

    # Opens: the opener's side.

    def begin(self, session: ClientSession[Job], hop: Hop, protection: Protection) -> Connection:
        connection = Connection(
            session,
            hop,
            protection,
            self,
            self._limits,
            contexts=self._dialler.contexts,
            verp=self._verp,
            loop=self._loop,
        )
        self._connections.add(connection)
        return connection

    def serves(self, hop: Hop) -> bool:
        return any(connection.is_open and connection.hop == hop for connection in self._connections)

    @property
    def is_wanted(self) -> bool:
        return not self._retired

    # Failures.

    async def _dial(self) -> None:
        beside = self._open > 0
        missed: NotOpened | None = _MISTAKE
        try:
            missed = await self._opener.open(self)
        finally:
            self._dialling -= 1
            if self._retired:
                self._on_rest()
            else:
                if missed is not None:
                    self._missed(missed, beside=beside)
                self.wake()

    def _missed(self, missed: NotOpened, *, beside: bool) -> None:
        if self._open or beside:
            # What it met says nothing about the next hop as a whole.
            self._window.refused(self._open, self._loop.time())
            tell(self._to, "delivery.connection_failed", host=self._name, reason=missed.verdict.reply)
        else:
            self._down(missed)

    def _was_fruitless(self, connection: Connection, failure: Failure) -> None:
        self._fruitless += 1
        self._opener.avoid(connection.hop)
        if self._open:
            self._window.refused(self._open, self._loop.time())
        elif self._fruitless >= _FRUITLESS_MAX:
            self._down(NotOpened(of_failure(failure, connection.remote)))

    def _down(self, missed: NotOpened) -> None:
        self._fruitless = 0
        self._window.lost()
        # Twice as long as the last time, unless it has answered a message since.
        self._pause_s = min(self._pause_s * 2 or PAUSE_FIRST_S, PAUSE_MAX_S)
        until = self._loop.time() + self._pause_s
        if self._reopening is not None:
            self._reopening.cancel()
        self._reopening = self._loop.call_at(until, self._reopen)
        verdict = missed.verdict
        tell(
            self._to,
            "delivery.host_down",
            host=self._name,
            reason=verdict.reply,
            pause_s=self._pause_s,
            tried=missed.tried,
        )
        self._feed.shut(verdict, until)

    def _reopen(self) -> None:
        self._reopening = None
        self._feed.probe()
        self.wake()
