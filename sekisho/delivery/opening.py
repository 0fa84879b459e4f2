"""From a next hop to an open connection: one address after the other, until one takes us.

An address is passed over for the next one after everything that can go wrong before the first transaction: no
connection, a greeting that says no, a refused EHLO or login, TLS that is required and not to be had, silence. Which
ones failed is remembered for a while, so that the next connection begins with those that did not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from sekisho.delivery.attempt import Connection, ConnectionLimits, handshake_failure
from sekisho.delivery.dialling import DialError, Dialler
from sekisho.delivery.job import Job
from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.site import Hop, NoMail, Site
from sekisho.delivery.tls import Level, Protection, weaker
from sekisho.delivery.verdict import Temporary, of_failure, one_line
from sekisho.queue.model import Bounced, Remote
from sekisho.wire.smtp.client import ClientSession
from sekisho.wire.smtp.dialogue import Failure, FailureKind, Login, TlsWish

_log = structlog.get_logger(__name__)

IMPLICIT_TLS_PORT = 465
"""RFC 8314 §7.3: TLS from the first byte."""
AVOIDED_S: Final = 300.0
"""How long an address that failed is tried after all others."""
AVOIDED_MAX: Final = 64
"""Addresses remembered as such; a site has a dozen at most."""
_LOGGED_CHARACTERS: Final = 200
"""Of what each address failed with."""
_TELLING: Final = (
    FailureKind.REFUSED,
    FailureKind.CERTIFICATE,
    FailureKind.NO_TLS,
    FailureKind.NO_AUTH,
    FailureKind.TLS,
    FailureKind.GARBAGE,
    FailureKind.CLOSED,
    FailureKind.TIMEOUT,
    FailureKind.OURS,
    FailureKind.CONNECT,
)
"""What a sender learns most from, first: a host that says no says more than one that says nothing."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An address, and why it came to nothing."""

    hop: Hop
    failure: Failure
    remote: Remote


@dataclass(frozen=True, slots=True)
class NotOpened:
    """No connection: what that means for what waits for one."""

    verdict: Temporary | Bounced
    tried: tuple[str, ...] = ()
    """What each address failed with, in words."""


class Opens(Protocol):
    """For whom connections are opened."""

    def begin(self, session: ClientSession[Job], hop: Hop, protection: Protection) -> Connection:
        """Make a connection, and keep an eye on its deadline."""

    def serves(self, hop: Hop) -> bool:
        """Whether another connection to this address is open."""

    @property
    def is_wanted(self) -> bool:
        """Whether a connection is still of use."""


class Opener:
    """Opens the connections of one next hop."""

    def __init__(
        self, to: Target | Site, dialler: Dialler, limits: ConnectionLimits, *, hostname: str, tls: RouteTls
    ) -> None:
        self._to = to
        self._dialler = dialler
        self.limits = limits
        self._hostname = hostname
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._avoided: dict[Hop, float] = {}

    async def open(self, whom: Opens) -> NotOpened | None:
        """Open a connection for ``whom``; None = there is one."""
        until = self._loop.time() + self.limits.reach_s
        hops = await self._dialler.hops(self._to, self.limits.connect_s)
        if isinstance(hops, NoMail):
            return NotOpened(hops.verdict)
        all_tried: list[Tried] = []
        for hop in self._in_order(hops):
            if not whom.is_wanted or self._loop.time() >= until:
                break
            tried = await self._try(whom, hop, until)
            if tried is None:
                self._log_skipped(all_tried)
                self._avoided.pop(hop, None)
                return None
            all_tried.append(tried)
            if whom.serves(hop):
                break  # it has enough of us: no reason to go to its backups, nor to avoid it
        if not all_tried:
            return NotOpened(of_failure(Failure(FailureKind.CONNECT, "no address could be tried in time"), Remote()))
        for tried in all_tried:
            if not whom.serves(tried.hop):
                self.avoid(tried.hop)
        told = min(all_tried, key=lambda tried: _TELLING.index(tried.failure.kind))
        return NotOpened(of_failure(told.failure, told.remote), _in_words(all_tried))

    def avoid(self, hop: Hop) -> None:
        """Try this address after all others for a while."""
        self._avoided.pop(hop, None)
        while len(self._avoided) >= AVOIDED_MAX:
            del self._avoided[next(iter(self._avoided))]
        self._avoided[hop] = self._loop.time() + AVOIDED_S

    def _in_order(self, hops: Sequence[Hop]) -> list[Hop]:
        now = self._loop.time()
        return sorted(hops, key=lambda hop: self._avoided.get(hop, 0.0) > now)

    def _log_skipped(self, all_tried: Sequence[Tried]) -> None:
        """Say why it became a later address than the first; once for each address while it is avoided."""
        now = self._loop.time()
        fresh = [tried for tried in all_tried if self._avoided.get(tried.hop, 0.0) <= now]
        for tried in all_tried:
            self.avoid(tried.hop)
        if fresh:
            tell(self._to, "delivery.address_skipped", host=fresh[0].hop.host, tried=_in_words(fresh))

    # One address.

    async def _try(self, whom: Opens, hop: Hop, until: float) -> Tried | None:
        """Open a connection to this address at the best level of TLS that it manages."""
        protection = self._protection(hop)
        because: Failure | None = None
        while True:
            tried = await self._try_at(whom, hop, protection, until)
            if tried is None:
                if because is not None:
                    self._weakened(hop, protection.level, because)
                return None
            because = tried.failure
            level = weaker(self._tls, protection.level, because.kind, implicit=protection.implicit)
            if level is None or not whom.is_wanted or self._loop.time() >= until:
                return tried
            protection = Protection(level, protection.implicit)

    def _weakened(self, hop: Hop, level: Level, because: Failure) -> None:
        """Remember it, now that it is known to help: a host may as well have gone away in the middle of a handshake."""
        self._dialler.memory.remember(hop.host, level, self._loop.time())
        if level is Level.CLEAR:
            tell(self._to, "delivery.tls_fallback", host=hop.host, ip=hop.address, reason=because.text)
        else:
            _log.info("delivery.tls_unverified", host=hop.host, ip=hop.address, reason=because.text)

    def _protection(self, hop: Hop) -> Protection:
        match self._tls:
            case RouteTls.OFF:
                return Protection(Level.CLEAR)
            case RouteTls.OPPORTUNISTIC:
                level = self._dialler.memory.level(hop.host, self._loop.time())
            case RouteTls.REQUIRED:
                level = Level.VERIFIED
        return Protection(level, implicit=hop.port == IMPLICIT_TLS_PORT and level is not Level.CLEAR)

    async def _try_at(self, whom: Opens, hop: Hop, protection: Protection, until: float) -> Tried | None:
        left_s = max(0.0, until - self._loop.time())
        try:
            sock = await self._dialler.connect(hop, min(self.limits.connect_s, left_s))
        except DialError as error:
            return Tried(hop, error.failure, Remote(host=hop.host, ip=hop.address))
        connection = whom.begin(self._session(protection.level), hop, protection)
        try:
            context = await self._dialler.contexts.get(protection.level) if protection.implicit else None
            await self._loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=context,
                server_hostname=hop.host if protection.implicit else None,
                ssl_handshake_timeout=self.limits.opening_s if protection.implicit else None,
            )
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate can have
            sock.close()
            connection.give_up(handshake_failure(error))
        except BaseException:
            sock.close()
            raise
        failure = await connection.opening
        return None if failure is None else Tried(hop, failure, connection.remote)

    def _session(self, level: Level) -> ClientSession[Job]:
        if level is Level.CLEAR:
            return ClientSession(self._hostname, TlsWish.NEVER)
        if self._tls is RouteTls.OPPORTUNISTIC:
            return ClientSession(self._hostname, TlsWish.IF_OFFERED)
        to = self._to
        login = Login(to.username, to.password) if isinstance(to, Target) and to.password is not None else None
        return ClientSession(self._hostname, TlsWish.ALWAYS, login)


def tell(to: Target | Site, event: str, **details: object) -> None:
    """Log trouble with a next hop: a warning where an operator chose it, who may mend it; else it is the world's."""
    (_log.warning if isinstance(to, Target) else _log.info)(event, **details)


def _in_words(all_tried: Iterable[Tried]) -> tuple[str, ...]:
    return tuple(
        one_line(f"{tried.hop.host} [{tried.hop.address}]: {tried.failure.text}"[:_LOGGED_CHARACTERS])
        for tried in all_tried
    )
