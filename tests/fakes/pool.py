"""Next hops without a network: what the scheduler sees of pools, for many messages in little time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.feed import Conclude, Feed
from sekisho.delivery.job import Job
from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.shaping import NextHop
from sekisho.delivery.verdict import Temporary, Verdict
from sekisho.queue.model import Bounced, Delivered, Delivery

DOWN = Temporary("4.4.1 no answer", "4.4.1")
TAKEN = Delivered("250 2.0.0 Ok")


@dataclass
class Host:
    """One next hop. ``trouble``: nobody can connect, for this reason."""

    trouble: Temporary | Bounced | None = None
    answer: Callable[[Delivery], Verdict] = lambda _: TAKEN
    reply_s: float = 0.0
    mails: list[Delivery] = field(default_factory=list)
    dials: int = 0


class World:
    """All next hops by name of the (best) host, and the pools that were made for them."""

    def __init__(self, pause_s: float = 0.02) -> None:
        self.hosts: dict[str, Host] = {}
        self.pools: list[FakePool] = []
        self.pause_s = pause_s

    def __getitem__(self, name: str) -> Host:
        return self.hosts.setdefault(name, Host())

    def pool(self, *arguments: Any, **more: Any) -> FakePool:
        """Stands for ``pool.Pool``."""
        made = FakePool(self, *arguments, **more)
        self.pools.append(made)
        return made

    @property
    def arrived(self) -> Counter[int]:
        """How often each delivery, by row, was taken."""
        return Counter(delivery.row for host in self.hosts.values() for delivery in host.mails)


class FakePool:
    """Implements ``feed.Outlet``: connects at once or not at all, serves each job after the host's time."""

    def __init__(
        self,
        world: World,
        hop: NextHop,
        feed: Feed,
        conclude: Conclude,
        _dialler: object,
        limits: ConnectionLimits,
        *,
        hostname: str,  # noqa: ARG002
        tls: RouteTls,
        tasks: object,  # noqa: ARG002
        on_rest: Callable[[], None],
    ) -> None:
        self.hop = hop
        self.tls = tls
        self.limits = limits
        self.name = hop.host if isinstance(hop, Target) else hop.hosts[0].host
        self.retired = False
        self.busy = 0
        self._world = world
        self._host = world[self.name]
        self._feed = feed
        self._conclude = conclude
        self._on_rest = on_rest
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        if self._pause is not None or self.retired or not self._feed.prepared:
            return
        if self._host.trouble is not None:
            if not self.busy:
                self._host.dials += 1
                self._pause = self._loop.call_later(self._world.pause_s, self._reopen)
                self._feed.shut(self._host.trouble, self._loop.time() + self._world.pause_s)
            return
        self._feed.reopened()
        while self.busy < self.limits.connections and (job := self._feed.pull()) is not None:
            self.busy += 1
            self._loop.call_later(self._host.reply_s, self._serve, job)

    def _serve(self, job: Job) -> None:
        self.busy -= 1
        if self._host.trouble is not None and not self.retired:
            self._feed.give_back(job)
        else:
            for delivery in job.deliveries:
                verdict = self._host.answer(delivery)
                if isinstance(verdict, Delivered):
                    self._host.mails.append(delivery)
                self._conclude(delivery, verdict)
        self._on_rest()
        self.wake()

    def _reopen(self) -> None:
        self._pause = None
        self._feed.probe()
        self.wake()

    def hurry(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._reopen()

    @property
    def is_idle(self) -> bool:
        return not self.busy and self._pause is None

    @property
    def is_over(self) -> bool:
        return not self.busy

    def sweep(self, now: float) -> None:
        pass

    def retire(self) -> None:
        self.retired = True

    def abandon(self) -> None:
        self.retired = True
        if self._pause is not None:
            self._pause.cancel()
