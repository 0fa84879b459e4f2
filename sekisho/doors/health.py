"""The health door: is the process there (``/healthz``), can it do its work (``/readyz``). ASGI, no framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec
import structlog

_log = structlog.get_logger()

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

StorageFault = Callable[[], str | None]
"""Ask the storage; why it cannot be used, None when it can. Blocks, and is called in a thread."""

_PATIENCE_S: Final = 2.0
"""A storage that takes longer is not ready to be sent work."""


class Health:
    """Answers GET and HEAD; errors have the vendor's body."""

    def __init__(self, storage_fault: StorageFault) -> None:
        self._storage_fault: Final = storage_fault
        self._asking: asyncio.Task[str | None] | None = None

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, body = await self._answer(scope["method"], scope["path"])
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, method: str, path: str) -> tuple[int, bytes]:
        if path not in {"/healthz", "/readyz"}:
            return 404, _error("not found")
        if method not in {"GET", "HEAD"}:
            return 405, _error("method not allowed")
        if path == "/healthz":
            return 200, _OK
        fault = await self._ask()
        return (200, _OK) if fault is None else (503, _error(fault))

    async def _ask(self) -> str | None:
        """Ask the storage once at a time: however many look, one thread is busy with it."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(self._in_thread), name="storage check")
        try:
            # Shielded: a caller who gives up takes nothing away from the others.
            return await asyncio.wait_for(asyncio.shield(self._asking), _PATIENCE_S)
        except TimeoutError:
            return f"storage did not answer within {_PATIENCE_S:g} s"

    def _in_thread(self) -> str | None:
        try:
            return self._storage_fault()
        except Exception:  # noqa: BLE001 - a fault of ours: logged with its traceback, answered without
            _log.exception("health.fault")
            return "storage check failed"


_OK: Final = b'{"status":"ok"}'


def _error(message: str) -> bytes:
    return msgspec.json.encode({"errors": [{"message": message, "field": None, "help": None}]})
