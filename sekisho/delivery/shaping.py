"""How much a destination is given at once: the rows of ``delivery.shaping``, first match wins. No I/O and no clock.

Limits hold for the whole machine; each worker takes its part of them (``part``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sekisho.delivery.routes import RouteTls, Target, patterns
from sekisho.delivery.site import Site

NextHop = Target | Site
"""What a lane leads to."""

CONNECTIONS = 8
MESSAGES_PER_CONNECTION = 1000


@dataclass(frozen=True, slots=True)
class Shape:
    """What holds for one destination. Domains with equal sites and equal shapes share a lane."""

    connections: int = CONNECTIONS
    per_second: float | None = None
    """Deliveries; None = as fast as it goes."""
    messages_per_connection: int = MESSAGES_PER_CONNECTION
    tls: RouteTls = RouteTls.OPPORTUNISTIC
    """Only where DNS leads; a route has its own."""

    def part(self, workers: int) -> Shape:
        """Give one of ``workers`` equal parts; a connection is not divided further."""
        return replace(
            self,
            connections=max(1, self.connections // workers),
            per_second=None if self.per_second is None else self.per_second / workers,
        )


@dataclass(frozen=True, slots=True)
class ShapingRow:
    """One row: whom it concerns, and what holds there. Both patterns must match; an empty one does."""

    mx: str
    """Over the name of a best-ranked MX host, or of a route's host: ``mx.example.net``, ``*.example.net``, ``*``."""
    domain: str
    """Over the recipients' domain, the same way."""
    shape: Shape


class Shaping:
    """The table, ready to be asked. Immutable; a reload makes a new one."""

    def __init__(self, rows: Sequence[ShapingRow] = (), *, workers: int = 1) -> None:
        """``workers``: how many relay processes of this machine share the limits."""
        self._rows = [(row.mx, row.domain, row.shape.part(workers)) for row in rows]
        self._default = Shape().part(workers)
        self._asks_domain = any(row.domain not in {"", "*"} for row in rows)

    def find(self, hop: NextHop, domain: str) -> Shape:
        """What holds for mail to ``domain`` (lower case) by way of this hop."""
        if not self._rows:
            return self._default
        hosts = {pattern for host in _hosts(hop) for pattern in patterns(host)}
        domains = set(patterns(domain)) if self._asks_domain else {"*"}
        for mx, name, shape in self._rows:
            if (not mx or mx in hosts) and (not name or name in domains):
                return shape
        return self._default


def _hosts(hop: NextHop) -> list[str]:
    if isinstance(hop, Target):
        return [hop.host]
    # A backup exchanger is often somebody else's, who must not decide how the domain itself is treated.
    return [each.host for each in hop.hosts if each.rank == hop.hosts[0].rank]


class Bucket:
    """A token bucket: so many deliveries a second, at most a second's worth at once."""

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second)
        self._tokens = self._most
        self._at = now

    def wait_s(self, now: float) -> float:
        """How long until something may go; 0 = now."""
        self._fill(now)
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._per_second

    def take(self, count: int, now: float) -> None:
        """So many go. What goes together may run into debt, which later ones wait out."""
        self._fill(now)
        self._tokens -= count

    def _fill(self, now: float) -> None:
        tokens = min(self._most, self._tokens + max(0.0, now - self._at) * self._per_second)
        # A wait that was waited out must be enough, whatever floating point made of it.
        nearest = round(tokens)
        self._tokens = float(nearest) if math.isclose(tokens, nearest, abs_tol=1e-6) else tokens
        self._at = now
