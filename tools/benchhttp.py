"""A small HTTP load: kept connections on a raw protocol, so that it is not what limits."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from tools.benchlib import Document, Unfit

_length = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE).search


@dataclass
class Load:
    """What came of it."""

    requests: int
    make: Callable[[int], bytes]
    took_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    first_error: str = ""
    sent: int = 0
    answered: int = 0


class _Client(asyncio.Protocol):
    def __init__(self, load: Load, over: asyncio.Future[None]) -> None:
        self._load = load
        self._over = over
        self._transport: asyncio.Transport | None = None
        self._heard = b""
        self._since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def next(self) -> None:
        load = self._load
        if self._transport is None:
            return
        if load.sent == load.requests:
            self._transport.close()
            return
        request = load.make(load.sent)
        load.sent += 1
        self._since_s = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if not end:
            return
        length = _length(head + b"\r\n")
        if len(body) < int(length[1] if length else 0):
            return
        load = self._load
        load.took_ms.append((time.perf_counter() - self._since_s) * 1000)
        status = int(head[9:12])
        load.statuses[status] += 1
        if status >= 400 and not load.first_error:
            load.first_error = self._heard.decode("utf-8", "replace")
        self._heard = b""
        load.answered += 1
        if load.answered == load.requests and not self._over.done():
            self._over.set_result(None)
        self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over.done() and self._load.sent < self._load.requests:
            self._over.set_exception(Unfit(f"the server hung up: {exc}"))


def run(port: int, make: Callable[[int], bytes], *, conns: int, requests: int, within_s: float = 300.0) -> Document:
    """Make so many requests, one after the other on each connection; times in ms from first octet to last."""
    return asyncio.run(_run(port, Load(requests, make), conns, within_s))


async def _run(port: int, load: Load, conns: int, within_s: float) -> Document:
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    clients = [(await loop.create_connection(lambda: _Client(load, over), "127.0.0.1", port))[1] for _ in range(conns)]
    started_s, used_s = time.monotonic(), time.process_time()
    for client in clients:
        client.next()
    async with asyncio.timeout(within_s):
        await over
    ended_s = time.monotonic()
    cuts = statistics.quantiles(load.took_ms, n=100)
    return {
        "requests": load.requests,
        "conns": conns,
        "per_s": round(load.requests / (ended_s - started_s), 1),
        "p50_ms": round(cuts[49], 3),
        "p99_ms": round(cuts[98], 3),
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
        "first_error": load.first_error,
        "t_start": started_s,
        "client_cpu_s": round(time.process_time() - used_s, 3),
    }
