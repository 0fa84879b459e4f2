"""TLS outwards: the contexts, and what is remembered of each host's TLS.

Opportunistic (RFC 7435) means that mail matters more than protection, so each host is tried at three levels, the best
first, and where it failed is remembered for a while::

    VERIFIED ──certificate not accepted──▶ UNVERIFIED ──handshake fails──▶ CLEAR
        └───────────────────────handshake fails───────────────────────────▶ CLEAR

``required`` knows only the first, and remembers nothing.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from sekisho.delivery.routes import RouteTls
from sekisho.wire.smtp.dialogue import FailureKind

_log = structlog.get_logger(__name__)

UNVERIFIED_S: Final = 6 * 3600.0
"""How long a host whose certificate was not accepted is not asked to show a better one: that costs a connection."""
CLEAR_TEXT_S: Final = 3600.0
"""How long a host whose handshake failed is talked to in clear text."""
REMEMBERED_MAX: Final = 4096
"""Hosts; the one that was remembered first is forgotten first."""


class Level(enum.Enum):
    """How well a connection is protected."""

    VERIFIED = "verified"
    """The chain leads to an authority that is trusted, and the name is the host's."""
    UNVERIFIED = "unverified"
    """Against listeners, not against impostors."""
    CLEAR = "clear text"


@dataclass(frozen=True, slots=True)
class Protection:
    """What one connection is to have."""

    level: Level
    implicit: bool = False
    """TLS from the first byte."""


class TlsMemory:
    """Which hosts did not manage which level, shared by all that connect. Opportunistic connections only."""

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[Level, float]] = {}

    def level(self, host: str, now: float) -> Level:
        """Give the best level that is worth a try."""
        found = self._hosts.get(host)
        if found is None:
            return Level.VERIFIED
        level, until = found
        if now < until:
            return level
        del self._hosts[host]
        return Level.VERIFIED

    def remember(self, host: str, level: Level, now: float) -> None:
        """This is the best that ``host`` manages."""
        self._hosts.pop(host, None)
        while len(self._hosts) >= REMEMBERED_MAX:
            del self._hosts[next(iter(self._hosts))]
        self._hosts[host] = (level, now + (CLEAR_TEXT_S if level is Level.CLEAR else UNVERIFIED_S))

    def __len__(self) -> int:
        return len(self._hosts)


def weaker(tls: RouteTls, level: Level, kind: FailureKind, *, implicit: bool) -> Level | None:
    """Give the level at which a host is asked once more after this failure; None = not at all."""
    if tls is not RouteTls.OPPORTUNISTIC or level is Level.CLEAR:
        return None
    if kind is FailureKind.CERTIFICATE and level is Level.VERIFIED:
        return Level.UNVERIFIED
    if kind in (FailureKind.CERTIFICATE, FailureKind.TLS) and not implicit:
        return Level.CLEAR
    return None


class AuthoritiesError(OSError):
    """The authorities can't be read: nobody's certificate can be verified."""


class TlsContexts:
    """The two client contexts, each made once, when first needed, and in a thread.

    Reading all authorities of a system takes 50 ms and 2.4 MiB (2026-11-24, 144 of them).
    """

    def __init__(self, extra_ca: Path | None = None) -> None:
        """``extra_ca``: a PEM file trusted beside the system's authorities."""
        self._extra_ca = extra_ca
        self._made: dict[Level, asyncio.Future[ssl.SSLContext]] = {}

    async def get(self, level: Level) -> ssl.SSLContext:
        """Give the context for ``level``, which is not CLEAR.

        Raises:
            AuthoritiesError: they can't be read; it is tried again the next time.
        """
        made = self._made.get(level)
        if made is None:
            make: Callable[[], ssl.SSLContext] = self._verifying if level is Level.VERIFIED else _unverifying
            made = self._made[level] = asyncio.ensure_future(asyncio.to_thread(make))
        try:
            # Whoever asked first may be cancelled; the others still want it.
            return await asyncio.shield(made)
        except OSError as error:
            self._made.pop(level, None)
            _log.error("delivery.authorities_unreadable", error=str(error))
            message = "the authorities that certificates are verified with can't be read"
            raise AuthoritiesError(message) from error

    def _verifying(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._extra_ca is not None:
            context.load_verify_locations(cafile=self._extra_ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _unverifying() -> ssl.SSLContext:
    # RFC 7435: some protection against listeners where none was asked for; who the host is stays unknown.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
