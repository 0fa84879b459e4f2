"""What stands around a pool: a feed of jobs that are ready, the hops of a site, and the outcomes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.dialling import Dialler
from sekisho.delivery.job import Holding, Job
from sekisho.delivery.pool import Pool
from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.site import Hop, MxHost, NoMail, Site
from sekisho.delivery.tasks import Tasks
from sekisho.delivery.verdict import Temporary, Verdict
from sekisho.preparation.model import Ready
from sekisho.queue.model import Bounced, Delivered, Delivery, Dropped
from tests.fakes.preparer import plain
from tests.fakes.smtphost import SmtpHost
from tests.fakes.spool import make_message, recipients

SITE = Site((MxHost(0, "mx1.test"), MxHost(1, "mx2.test")))
SWEEP_S = 0.01


def hop_to(host: SmtpHost, name: str = "mx1.test", address: str = "127.0.0.1") -> Hop:
    return Hop(name, address, host.port)


class FakeHops:
    """Gives the same hops each time."""

    def __init__(self, found: Sequence[Hop] | NoMail) -> None:
        self.found = found
        self.asked = 0

    async def hops(self, site: Site) -> Sequence[Hop] | NoMail:  # noqa: ARG002
        self.asked += 1
        await asyncio.sleep(0)
        return self.found


class ReadyFeed:
    """Jobs that are prepared, and what the pool says of its next hop; keeps all jobs while it is shut."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.shuts: list[tuple[Temporary | Bounced, float]] = []
        self.probes = 0
        self.is_shut = False
        self.changed = asyncio.Event()

    @property
    def prepared(self) -> int:
        return 0 if self.is_shut else len(self.jobs)

    def pull(self) -> Job | None:
        return self.jobs.popleft() if self.prepared else None

    def give_back(self, job: Job) -> None:
        job.returns += 1
        self.jobs.appendleft(job)

    def shut(self, verdict: Temporary | Bounced, until: float) -> None:
        self.shuts.append((verdict, until))
        self.is_shut = True
        self.changed.set()

    def probe(self) -> None:
        self.probes += 1
        self.is_shut = False

    def reopened(self) -> None:
        self.is_shut = False


class Lane:
    """A pool with everything around it."""

    def __init__(
        self,
        to: Target | Site,
        sites: FakeHops | None,
        limits: ConnectionLimits,
        *,
        tls: RouteTls,
        extra_ca: Path | None,
        source_addresses: Sequence[str],
    ) -> None:
        self.feed = ReadyFeed()
        self.tasks = Tasks()
        self.verdicts: list[Verdict | Dropped] = []
        self.of: dict[int, list[Verdict | Dropped]] = {}
        """By the number of the message."""
        self.dialler = Dialler(source_addresses, extra_ca, sites)
        self.pool = Pool(
            to,
            self.feed,
            self._conclude,
            self.dialler,
            limits,
            hostname="relay.test",
            tls=tls,
            tasks=self.tasks,
            on_rest=lambda: None,
        )

    def send(self, *numbers: int, body: bytes = b"Hello.\r\n", eight_bit: bool = False) -> None:
        """Have a message ready for each number."""
        for number in numbers:
            self.feed.jobs.append(_job(number, body, eight_bit=eight_bit))
        self.pool.wake()

    def _conclude(self, delivery: Delivery, verdict: Verdict | Dropped) -> None:
        self.verdicts.append(verdict)
        self.of.setdefault(delivery.row, []).append(verdict)
        self.feed.changed.set()

    async def wait_for(self, count: int) -> list[Verdict | Dropped]:
        """Wait until so many deliveries are concluded."""
        await self.until(lambda: len(self.verdicts) >= count)
        return self.verdicts

    async def is_shut(self, times: int = 1) -> Temporary | Bounced:
        """Wait until the pool has shut the feed so many times; give the last reason."""
        await self.until(lambda: len(self.feed.shuts) >= times)
        return self.feed.shuts[-1][0]

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something about the pool or its outcomes."""
        async with asyncio.timeout(20):
            while not reached():
                self.feed.changed.clear()
                await self.feed.changed.wait()

    @property
    def delivered(self) -> list[Delivered]:
        return [verdict for verdict in self.verdicts if isinstance(verdict, Delivered)]


def _job(number: int, body: bytes, *, eight_bit: bool) -> Job:
    (recipient,) = recipients("r@mx.test")
    delivery = Delivery(number, make_message(number, body), recipient, 0, 0)
    job = Job((delivery,), Holding())
    ready = plain(delivery)
    assert isinstance(ready, Ready)
    job.ready = Ready(ready.mail_from, ready.shared_mail_from, ready.header, ready.body, eight_bit=eight_bit)
    return job


@asynccontextmanager
async def lane_to(
    to: Target | Sequence[Hop] | NoMail,
    *,
    limits: ConnectionLimits | None = None,
    tls: RouteTls = RouteTls.OPPORTUNISTIC,
    extra_ca: Path | None = None,
    source_addresses: Sequence[str] = (),
) -> AsyncIterator[Lane]:
    """A pool for a target, or for SITE whose hops are given; ended cleanly or cut off."""
    target = to if isinstance(to, Target) else None
    sites = None if isinstance(to, Target) else FakeHops(to)
    lane = Lane(
        target or SITE,
        sites,
        limits or ConnectionLimits(),
        tls=tls,
        extra_ca=extra_ca,
        source_addresses=source_addresses,
    )
    loop = asyncio.get_running_loop()
    sweeper: asyncio.TimerHandle

    def sweep() -> None:
        nonlocal sweeper
        lane.pool.sweep(loop.time())
        lane.feed.changed.set()
        sweeper = loop.call_later(SWEEP_S, sweep)

    sweeper = loop.call_later(SWEEP_S, sweep)
    try:
        yield lane
    finally:
        sweeper.cancel()
        lane.pool.abandon()
        await lane.tasks.close()
