"""Where mail goes, by a table instead of DNS."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from sekisho.delivery.site import Hop, MxHost, NoMail, Site


def site(*hosts: str) -> Site:
    return Site(tuple(MxHost(rank, host) for rank, host in enumerate(hosts)))


class FakeSites:
    """Implements ``lookups.SiteFinder``. A domain that the table does not name is its own host."""

    def __init__(self, table: dict[str, Site | NoMail] | None = None) -> None:
        self.table = table or {}
        self.asked: Counter[str] = Counter()
        self.gate: asyncio.Event | None = None
        """Answers wait for it."""
        self.at_once = 0
        self.most_at_once = 0
        self.ports: dict[str, int] = {}
        """Of hosts on loopback."""
        self._known: dict[str, Site | NoMail] = {}

    def known(self, domain: str) -> Site | NoMail | None:
        return self._known.get(domain)

    def forget(self) -> None:
        """Everything is to be asked again."""
        self._known.clear()

    async def hops(self, asked: Site) -> Sequence[Hop] | NoMail:
        await asyncio.sleep(0)
        return [Hop(each.host, "127.0.0.1", self.ports[each.host]) for each in asked.hosts]

    async def find(self, domain: str) -> Site | NoMail:
        self.asked[domain] += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.at_once -= 1
        found = self._known[domain] = self.table.get(domain) or site(domain)
        return found
