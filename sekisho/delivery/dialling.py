"""Make connections: find what to connect to, bind, connect, and keep what TLS needs."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from sekisho.delivery.routes import Target
from sekisho.delivery.site import Hop, NoMail, Site
from sekisho.delivery.tls import TlsContexts, TlsMemory
from sekisho.delivery.verdict import of_failure
from sekisho.queue.model import Remote
from sekisho.wire.smtp.dialogue import Failure, FailureKind


class Hops(Protocol):
    """Where the addresses of sites come from: ``sites.Sites``."""

    async def hops(self, site: Site) -> Sequence[Hop] | NoMail: ...


class DialError(Exception):
    """No connection; ``failure`` says why in words for the event."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Dialler:
    """What all connections outwards share; opens TCP connections from the configured local addresses, in turn."""

    def __init__(
        self, source_addresses: Sequence[str] = (), extra_ca: Path | None = None, sites: Hops | None = None
    ) -> None:
        """``extra_ca``: a PEM file trusted beside the system's authorities. ``sites``: None = no next hop is one."""
        by_family: dict[socket.AddressFamily, list[str]] = {socket.AF_INET: [], socket.AF_INET6: []}
        for source in source_addresses:
            by_family[_family(source)].append(source)
        self._restricted = bool(source_addresses)
        self._sources = {family: itertools.cycle(found) for family, found in by_family.items() if found}
        self._sites = sites
        self.contexts = TlsContexts(extra_ca)
        self.memory = TlsMemory()

    async def hops(self, to: Target | Site, timeout_s: float) -> Sequence[Hop] | NoMail:
        """Give what to connect to, best first, without what there is no source address for; within ``timeout_s``."""
        name = to.host if isinstance(to, Target) else to.hosts[0].host
        try:
            async with asyncio.timeout(timeout_s):
                found = await (_resolved(to) if isinstance(to, Target) else self._looked_up(to))
        except TimeoutError:
            return _unreachable(name, f"{name}: its addresses were not found within {timeout_s:g} s")
        if isinstance(found, NoMail) or not self._restricted:
            return found
        usable = [hop for hop in found if _family(hop.address) in self._sources]
        return usable or _unreachable(name, f"{name}: no address of a family that there is a source address for")

    async def _looked_up(self, site: Site) -> Sequence[Hop] | NoMail:
        if self._sites is None:
            message = "a site, and nobody to look it up"
            raise RuntimeError(message)
        return await self._sites.hops(site)

    async def connect(self, hop: Hop, timeout_s: float) -> socket.socket:
        """Connect to exactly this address within ``timeout_s``.

        Raises:
            DialError: it could not be done.
        """
        where = f"{hop.host}:{hop.port} [{hop.address}]"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._connect(hop)
        except TimeoutError as error:
            raise DialError(Failure(FailureKind.CONNECT, f"{where}: no answer within {timeout_s:.3g} s")) from error
        except OSError as error:
            raise DialError(Failure(FailureKind.CONNECT, f"{where}: {said(error)}")) from error

    async def _connect(self, hop: Hop) -> socket.socket:
        family = _family(hop.address)
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            # A group of commands and the end of content are small writes that something waits for.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if family in self._sources:
                connection.bind((next(self._sources[family]), 0))
            await asyncio.get_running_loop().sock_connect(connection, (hop.address, hop.port))
        except BaseException:
            connection.close()
            raise
        return connection


async def _resolved(target: Target) -> Sequence[Hop] | NoMail:
    """Ask the system: a configured host is the operator's word, and may stand in /etc/hosts."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        return _unreachable(target.host, f"{target.host}:{target.port}: {reason}")
    return [Hop(target.host, str(address[0]), target.port) for _, _, _, _, address in found]


def _unreachable(host: str, text: str) -> NoMail:
    return NoMail(of_failure(Failure(FailureKind.CONNECT, text), Remote(host=host)))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6


def said(error: Exception) -> str:
    """An error of the operating system or of TLS in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS error"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
