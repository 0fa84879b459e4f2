"""Bind what the configuration names: one socket for each listener and relay worker, one for HTTP.

Done once, by the supervisor (as root for ports under 1024), which keeps the sockets: a worker that is started again
gets the very sockets of the one that died, and connections made meanwhile wait in their backlog.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sekisho.service.config import Endpoint, Listener, ListenerTls, Purpose

# Connections that wait while a worker is busy or being started again; the kernel lowers it to its own limit.
_BACKLOG: Final = 1024


class BindProblem(Exception):
    """An address cannot be bound; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class BoundListener:
    """A listening SMTP socket and what the configuration says of it."""

    socket: socket.socket
    address: Endpoint
    """With the real port."""
    tls: ListenerTls
    accept: tuple[Purpose, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """Everything that was bound."""

    relays: tuple[tuple[BoundListener, ...], ...]
    """One row for each relay worker, its listeners in the order of the configuration."""
    http: socket.socket | None

    @property
    def smtp(self) -> tuple[BoundListener, ...]:
        """Each listener once, to tell where they are."""
        return self.relays[0] if self.relays else ()

    @property
    def http_address(self) -> Endpoint | None:
        return None if self.http is None else _name_of(self.http)

    def close(self) -> None:
        """Let go of all; what only the supervisor held is refused by the kernel from here on."""
        for row in self.relays:
            for listener in row:
                listener.socket.close()
        if self.http is not None:
            self.http.close()


def bind(listeners: Sequence[Listener], relay_workers: int, http: Endpoint | None) -> tuple[Bound, tuple[str, ...]]:
    """Bind and listen; raises BindProblem, with nothing left open.

    The second value names the listeners that were left out: a wildcard ``[::]`` on a machine without IPv6, when the
    same port is bound on ``0.0.0.0``.
    """
    rows: list[list[BoundListener]] = [[] for _ in range(relay_workers)]
    skipped: list[str] = []
    with contextlib.ExitStack() as undo:
        for listener in listeners if relay_workers else ():
            if _is_spare(listener, listeners):
                skipped.append(str(listener.address))
                continue
            shared = _bind_for_all(listener.address, relay_workers, undo)
            for row, one in zip(rows, shared, strict=True):
                row.append(BoundListener(one, _name_of(one), listener.tls, listener.accept))
        web = None if http is None else _listening(http, undo, shared=False)
        undo.pop_all()
    return Bound(tuple(tuple(row) for row in rows), web), tuple(skipped)


def _bind_for_all(address: Endpoint, workers: int, undo: contextlib.ExitStack) -> list[socket.socket]:
    if workers == 1:
        return [_listening(address, undo, shared=False)]
    # SO_REUSEPORT would also share the port with a stranger's socket of the same user: look without it first.
    if address.port:
        try_out(address)
    first = _listening(address, undo, shared=True)
    real = _name_of(first)
    return [first, *(_listening(real, undo, shared=True) for _ in range(workers - 1))]


def _listening(address: Endpoint, undo: contextlib.ExitStack, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if address.address.version == 6 else socket.AF_INET
    try:
        one = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # So that [::] and 0.0.0.0 are two sockets, and IPv4 clients never look like ::ffff:….
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setblocking(False)
        one.bind((str(address.address), address.port))
        one.listen(_BACKLOG)
    except OSError as error:
        message = f"cannot listen on {address}: {_why(error, address)}"
        raise BindProblem(message) from None
    return one


def _why(error: OSError, address: Endpoint) -> str:
    if error.errno == errno.EACCES and address.port < 1024 and os.geteuid() != 0:
        return "ports under 1024 need root (or CAP_NET_BIND_SERVICE)"
    return error.strerror or str(error)


def try_out(address: Endpoint) -> None:
    """See whether an address could be listened on now; raises BindProblem."""
    with contextlib.ExitStack() as undo:
        _listening(address, undo, shared=False)


def has_ipv6() -> bool:
    """Whether this machine can bind an IPv6 socket at all."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def _is_spare(listener: Listener, all_listeners: Iterable[Listener]) -> bool:
    address = listener.address
    if address.address.version != 6 or not address.address.is_unspecified:
        return False
    twin = any(
        other.address.port == address.port
        and other.address.address.version == 4
        and other.address.address.is_unspecified
        for other in all_listeners
    )
    return twin and not has_ipv6()


def _name_of(one: socket.socket) -> Endpoint:
    host, port = one.getsockname()[:2]
    return Endpoint(ipaddress.ip_address(host.partition("%")[0]), port)
