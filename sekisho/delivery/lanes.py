"""The lanes: one per next hop and shape, made when something goes that way and forgotten when nothing does any more.

Which lane a delivery takes is decided here: its route, else where DNS says that its domain's mail goes. Domains with
equal sites share a lane (roll-up), unless shaping treats them differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Protocol

from sekisho.delivery.feed import Feed, Gate, Outlet
from sekisho.delivery.job import Holding, Job
from sekisho.delivery.lookups import SiteFinder
from sekisho.delivery.routes import Routes, Target
from sekisho.delivery.shaping import NextHop, Shape, Shaping
from sekisho.delivery.site import NoMail, Site
from sekisho.delivery.verdict import NO_ROUTE, Temporary
from sekisho.queue.model import Bounced, Delivery
from sekisho.queue.spool import ShutHop

IDLE_S = 60.0
"""A lane that nothing goes through is kept for so long: connections are kept shorter, a burst comes back sooner."""
_RECENT_MAX = 20_000
"""Destinations whose lane is remembered. Recipient domains are the clients' choice: this must not grow with them."""


class Yard(Protocol):
    """Whom lanes tell what concerns the spool: the scheduler."""

    def lane_has_room(self) -> None:
        """Deliveries left memory without a settlement."""

    def lane_shut(self, lane: Lane, verdict: Temporary | Bounced, until: float) -> None:
        """See ``feed.Keeper.shut``."""

    def lane_looks_again(self, lane: Lane) -> None:
        """What is parked for this lane in the spool may be wanted."""

    def lane_reopened(self, lane: Lane) -> None:
        """See ``feed.Keeper.reopened``."""

    def must_wait(self, delivery: Delivery) -> bool:
        """See ``feed.Keeper.must_wait``."""


class Lane:
    """A feed, where it leads, and what waits for it elsewhere. Implements ``feed.Keeper``."""

    def __init__(self, yard: Yard, hop: NextHop | None, shape: Shape, domain: str) -> None:
        """``hop`` None: into the capture store. ``domain``: one of those that it was made for."""
        self._yard = yard
        self.hop = hop
        self.shape = shape
        self.domain = domain
        self.name = "" if hop is None else name_of(hop)
        self.holding = Holding()
        self.parked: set[str] = set()
        """Destinations with due mail that waits in the spool until the next hop is back."""
        self.parkings = 0
        """How often something was let go of to wait there: a read that began before does not know of it."""
        self.outage = Temporary("")
        """Why it was shut last."""
        self.until_ms = 0
        """Until when."""
        self.is_noted = False
        """The spool was told that it is shut."""
        self.noted: set[str] = set()
        """Destinations that the spool was told of in this outage."""
        self.unnoted: set[str] = set()
        """Those that it is to be told of."""
        self.was_limited = False
        """Its rate held mail back at the last look."""
        self.rate_note: ShutHop | None = None
        """What the spool was told last of mail that waits for the rate, with all destinations."""
        self.idle_since: float | None = None
        self.feed: Feed
        self.outlet: Outlet
        self.reshape: Callable[[Shape], None] = lambda _: None
        """Hands other limits to the outlet."""

    @property
    def shares_sender(self) -> bool:
        """The route has ``verp = false``."""
        return isinstance(self.hop, Target) and not self.hop.verp

    def room(self) -> None:
        self._yard.lane_has_room()

    def shut(self, verdict: Temporary | Bounced, until: float) -> None:
        self._yard.lane_shut(self, verdict, until)

    def probing(self) -> None:
        self._yard.lane_looks_again(self)

    def reopened(self) -> None:
        self._yard.lane_reopened(self)

    def parked_at(self, destination: str) -> None:
        self.parked.add(destination)
        self.parkings += 1
        if destination not in self.noted:
            self.unnoted.add(destination)

    def must_wait(self, delivery: Delivery) -> bool:
        return self._yard.must_wait(delivery)


def name_of(hop: NextHop) -> str:
    """Name a next hop for people, the same at every start."""
    if isinstance(hop, Target):
        login = f"{hop.username}@" if hop.username else ""
        return f"{login}{hop.host}:{hop.port}"
    best = hop.hosts[0].host
    return best if len(hop.hosts) == 1 else f"{best} and {len(hop.hosts) - 1} more ({_digest(hop)})"


def _digest(site: Site) -> str:
    text = " ".join(f"{each.rank} {each.host}" for each in site.hosts)
    return hashlib.blake2s(text.encode(), digest_size=4).hexdigest()


class Lanes:
    """All lanes of a worker but that of the capture store."""

    def __init__(
        self, routes: Routes, shaping: Shaping, sites: SiteFinder | None, make: Callable[[NextHop, Shape, str], Lane]
    ) -> None:
        """``sites`` None: there are only routes."""
        self.routes = routes
        self._shaping = shaping
        self._sites = sites
        self._make = make
        self._lanes: dict[tuple[NextHop, Shape], Lane] = {}
        self._recent: dict[str, Lane] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    def recent(self, destination: str) -> Lane | None:
        """Give the lane that mail for a destination took last, if it is remembered."""
        return self._recent.get(destination)

    def of(self, delivery: Delivery, found: Site | NoMail | None = None) -> Lane | NoMail | None:
        """Give a delivery's lane; None = its domain is to be looked up. ``found``: what that came to."""
        message, destination = delivery.message, delivery.recipient.destination
        route = self.routes.find(destination, message.account_id, message.subuser_id)
        hop: NextHop
        if route is not None:
            hop = route.target
        elif self._sites is None:
            return NoMail(NO_ROUTE)
        else:
            found = found or self._sites.known(destination)
            if found is None or isinstance(found, NoMail):
                return found
            hop = found
        lane = self._recent.get(destination)
        if lane is None or lane.hop is not hop:
            lane = self._recall(hop, destination)
        return lane

    def _recall(self, hop: NextHop, destination: str) -> Lane:
        shape = self._shaping.find(hop, destination)
        lane = self._lanes.get((hop, shape))
        if lane is None:
            lane = self._lanes[hop, shape] = self._make(hop, shape, destination)
        if len(self._recent) >= _RECENT_MAX:
            self._recent.clear()
        self._recent[destination] = lane
        return lane

    def use(self, routes: Routes | None, shaping: Shaping | None) -> tuple[list[Lane], list[Job]]:
        """Follow other tables (None = the same): lanes that nothing leads to any more, and what must be lined up anew.

        Lanes that stay keep their connections, with other limits.
        """
        self.routes = routes or self.routes
        self._shaping = shaping or self._shaping
        self._recent.clear()
        jobs = [job for lane in self for job in lane.feed.take_all()]
        lanes, self._lanes = self._lanes, {}
        shapes = {lane: self._shaping.find(lane.hop, lane.domain) for lane in lanes.values() if lane.hop is not None}
        gone: list[Lane] = []
        # First those that are as they were: another that becomes like them gives way.
        for lane, shape in sorted(shapes.items(), key=lambda each: each[0].shape != each[1]):
            assert lane.hop is not None  # noqa: S101  # the capture lane is not among these
            key = (lane.hop, shape)
            leads_nowhere = isinstance(lane.hop, Target) and lane.hop not in self.routes.targets
            if leads_nowhere or key in self._lanes or lane.shape.tls is not shape.tls:
                gone.append(lane)
                continue
            self._lanes[key] = lane
            if lane.shape != shape:
                lane.shape = shape
                lane.reshape(shape)
        return gone, jobs

    def forget_idle(self, now: float) -> list[Lane]:
        """Let go of lanes that nothing has gone through for a while; which."""
        gone = []
        for key, lane in tuple(self._lanes.items()):
            if lane.holding.count or not lane.feed.is_empty or lane.feed.gate is Gate.SHUT or not lane.outlet.is_idle:
                lane.idle_since = None
            elif lane.idle_since is None:
                lane.idle_since = now
            elif now - lane.idle_since >= IDLE_S:
                del self._lanes[key]
                gone.append(lane)
        if gone:
            forgotten = set(gone)
            self._recent = {name: lane for name, lane in self._recent.items() if lane not in forgotten}
        return gone
