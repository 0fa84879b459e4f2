"""Make connections to next hops: resolve, bind, connect, and the two ways of TLS."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from sekisho.delivery.routes import RouteTls
from sekisho.wire.smtp.dialogue import Failure, FailureKind


class DialError(Exception):
    """No connection; ``failure`` says why in words for the event."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Dialler:
    """Opens TCP connections from the configured local addresses, one after the other."""

    def __init__(self, source_addresses: Sequence[str] = (), extra_ca: Path | None = None) -> None:
        """``extra_ca``: a PEM file trusted beside the system's authorities."""
        by_family: dict[socket.AddressFamily, list[str]] = {socket.AF_INET: [], socket.AF_INET6: []}
        for source in source_addresses:
            by_family[socket.AF_INET if ip_address(source).version == 4 else socket.AF_INET6].append(source)
        self._restricted = bool(source_addresses)
        self._sources = {family: itertools.cycle(found) for family, found in by_family.items() if found}
        self._extra_ca = extra_ca
        self._verified: ssl.SSLContext | None = None
        self._unverified: ssl.SSLContext | None = None

    def context(self, tls: RouteTls) -> ssl.SSLContext:
        """The client side of TLS; made when first needed, since reading all authorities takes a while."""
        if tls is RouteTls.REQUIRED:
            if self._verified is None:
                self._verified = _verifying(self._extra_ca)
            return self._verified
        if self._unverified is None:
            self._unverified = _unverifying()
        return self._unverified

    async def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """Connect to the first address of ``host`` that answers; the whole of it within ``timeout_s``.

        Raises:
            DialError: none did.
        """
        where = f"{host}:{port}"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._try_all(where, host, port)
        except TimeoutError as error:
            raise DialError(Failure(FailureKind.CONNECT, f"{where}: no answer within {timeout_s:g} s")) from error

    async def _try_all(self, where: str, host: str, port: int) -> socket.socket:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a host name"
            raise DialError(Failure(FailureKind.CONNECT, f"{where}: {reason}")) from error
        last = Failure(FailureKind.CONNECT, f"{where}: no address of a family that there is a source address for")
        for family, _, _, _, address in found:
            if self._restricted and family not in self._sources:
                continue
            try:
                return await self._try(loop, socket.AddressFamily(family), address)
            except OSError as error:
                last = Failure(FailureKind.CONNECT, f"{where} [{address[0]}]: {said(error)}")
        raise DialError(last)

    async def _try(
        self, loop: asyncio.AbstractEventLoop, family: socket.AddressFamily, address: tuple[object, ...]
    ) -> socket.socket:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            # A group of commands and the end of content are small writes that something waits for.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if family in self._sources:
                connection.bind((next(self._sources[family]), 0))
            await loop.sock_connect(connection, address)
        except BaseException:
            connection.close()
            raise
        return connection


def _verifying(extra_ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if extra_ca is not None:
        context.load_verify_locations(cafile=extra_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _unverifying() -> ssl.SSLContext:
    # RFC 7435: some protection against listeners where none was asked for; who the host is stays unknown.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def said(error: OSError) -> str:
    """An error of the operating system or of TLS in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS error"
    if error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
