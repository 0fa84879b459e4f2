"""Deliveries whose way DNS still has to tell: they wait here by domain, a few domains being looked up at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from sekisho.delivery.dialling import Hops
from sekisho.delivery.job import Holding, Job
from sekisho.delivery.site import NoMail, Site
from sekisho.delivery.tasks import Tasks
from sekisho.delivery.verdict import Temporary

_log = structlog.get_logger(__name__)

LOOKUPS_MAX = 128
"""Domains at once. A dead name server takes seconds to be found dead; many of them must not stand before others."""


class SiteFinder(Hops, Protocol):
    """Where mail for a domain goes, by DNS: ``sites.Sites``."""

    def known(self, domain: str) -> Site | NoMail | None:
        """Give what is known without asking; None = ``find``."""

    async def find(self, domain: str) -> Site | NoMail:
        """Look it up."""


class Lookups:
    """Jobs by domain, until their domain's answer is there."""

    def __init__(self, sites: SiteFinder, tasks: Tasks, on_found: Callable[[list[Job], Site | NoMail], None]) -> None:
        self._sites = sites
        self._tasks = tasks
        self._on_found = on_found
        self._waiting: dict[str, list[Job]] = {}
        self._queue: deque[str] = deque()
        self._running = 0
        self.holding = Holding()
        """What waits here, as the ledger counts it."""

    def put(self, domain: str, job: Job) -> None:
        """Let an admitted job wait for its domain."""
        jobs = self._waiting.get(domain)
        if jobs is not None:
            jobs.append(job)
            return
        self._waiting[domain] = [job]
        self._queue.append(domain)
        self._start()

    def take_all(self) -> list[Job]:
        """Take out everything that waits; answers that are on the way are for nobody then."""
        jobs = [job for waiting in self._waiting.values() for job in waiting]
        for waiting in self._waiting.values():
            waiting.clear()
        return jobs

    def _start(self) -> None:
        while self._queue and self._running < LOOKUPS_MAX:
            self._running += 1
            domain = self._queue.popleft()
            self._tasks.spawn(self._look(domain), f"MX of {domain}")

    async def _look(self, domain: str) -> None:
        try:
            found = await self._sites.find(domain)
        except Exception as error:  # noqa: BLE001  # ours; the mail must not be left here
            _log.error("delivery.lookup_failed", domain=domain, exc_info=error)
            found = NoMail(Temporary("4.3.0 internal error", "4.3.0"))
        finally:
            self._running -= 1
        jobs = self._waiting.pop(domain)
        self._start()
        if jobs:
            self._on_found(jobs, found)
