"""Serve an ASGI application on the supervisor's socket: uvicorn, bounded, with a certificate that can change."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final, cast

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sekisho.doors.api.problems import RETRY_AFTER_S, problem
from sekisho.doors.health import Application, Message, Receive, Scope, Send
from sekisho.doors.smtp.tls import CertificateError, server_context
from sekisho.service.certificates import Certificate
from sekisho.service.config import Config
from sekisho.service.worker import WorkerContext

_log = structlog.get_logger()

HEAD_MAX_BYTES: Final = 16_384
"""Request line and header fields; nginx gives 8 KiB to each of four, h11's own default is 16 KiB."""

HEAD_TIMEOUT_S: Final = 10.0
"""Until the head has come whole, TLS aside; nginx gives 60 s, a browser sends it in one packet."""

BODY_GRACE_S: Final = 30.0
BODY_RATE_BYTES: Final = 32 * 1024
"""A body has this long, and as much longer as its octets take at this rate: who is slower holds memory for nothing."""

KEEP_ALIVE_S: Final = 5
CONNECTIONS_MAX: Final = 1000
"""Beyond it a request is answered with 503. One file descriptor each."""


class HttpsContext:
    """The context that connections are made with; a new certificate is in force from the next handshake on."""

    def __init__(self, certificate: Certificate, minimum_version: str) -> None:
        """Raises CertificateError."""
        self._current = self._make(certificate, minimum_version)
        self.context: Final = self._make(certificate, minimum_version)
        # Called in every handshake, also when the client names no server.
        self.context.sni_callback = self._choose

    def replace(self, certificate: Certificate, minimum_version: str) -> None:
        """Raises CertificateError, and leaves the old in force."""
        self._current = self._make(certificate, minimum_version)

    def _choose(self, connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    @staticmethod
    def _make(certificate: Certificate, minimum_version: str) -> ssl.SSLContext:
        return server_context(certificate.chain_pem, certificate.key_pem, minimum_version)


class HttpServer:
    """One listening socket, from ``serve`` until ``drain``."""

    def __init__(self, context: WorkerContext, app: Application) -> None:
        """Raises CertificateError."""
        config = context.config
        self._socket: Final = context.http
        self._https: Final = (
            HttpsContext(context.certificate, config.tls.minimum_version.value) if config.http.tls else None
        )
        self._server: Final = _Server(_uvicorn_config(_guarded(app), self._https, config.server.drain_s))

    async def serve(self) -> None:
        """Accept from now on; returns once drained."""
        if self._socket is None:
            message = "the web worker was handed no socket"
            raise RuntimeError(message)
        await self._server.serve(sockets=[self._socket])

    async def accepting(self) -> None:
        """Wait until the door is open."""
        await self._server.open.wait()

    def apply(self, config: Config, certificate: Certificate) -> str | None:
        """Take a new certificate; why it cannot be, None when it was."""
        if self._https is None:
            return None
        try:
            self._https.replace(certificate, config.tls.minimum_version.value)
        except CertificateError as error:
            return str(error)
        return None

    def drain(self) -> None:
        """Stop accepting, finish requests under way, then let ``serve`` return."""
        self._server.leave()


def _uvicorn_config(app: Application, https: HttpsContext | None, drain_s: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # Whose X-Forwarded-For is believed is decided where it is used, by http.trusted_proxies.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(drain_s * 0.7)),
        h11_max_incomplete_event_size=HEAD_MAX_BYTES,
        ssl_context_factory=None if https is None else lambda _config, _default: https.context,
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signals, and asleep until something happens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.open: Final = asyncio.Event()
        self._leaving: Final = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.open.set()

    async def main_loop(self) -> None:
        # A tick a second for the Date header; uvicorn's own loop wakes ten times.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), 1.0)


def _error(status: int, message: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Make head and body of an error that no application of ours answers; the vendor's shape all the same."""
    body = problem(status, message).body
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    return headers, body


async def _answer(send: Send, status: int, message: str) -> None:
    headers, body = _error(status, message)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _too_many(_scope: Scope, _receive: Receive, send: Send) -> None:
    await _answer(send, 503, "service unavailable: too many connections")


_TWO_LENGTHS: Final = {b"content-length", b"transfer-encoding"}


def _guarded(app: Application) -> Application:
    """Answer for an application that fails before it says anything, or must not be asked; in our words."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False
        if scope["type"] == "http" and {name for name, _ in scope["headers"]} >= _TWO_LENGTHS:
            # Whoever is in front of us may have read another end of it (RFC 9112 §6.3).
            await _answer(send, 400, "bad request")
            return

        async def note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await app(scope, receive, note)
        except Exception:
            if has_begun:
                raise
            _log.exception("http.fault")
            await _answer(send, 500, "internal server error")

    return run


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 with deadlines for a whole head and a whole body, and errors in our words.

    Without deadlines a peer that sends nothing, or an octet now and then, holds a place for ever.
    """

    _deadline: asyncio.TimerHandle | None = None
    _body_since_s = 0.0
    _body_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            self.app = cast("Any", _too_many)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            return
        if self.conn.their_state is not h11.SEND_BODY:
            self._stop_waiting()
            self._body_since_s = 0.0
        elif not self._body_since_s:
            self._body_since_s, self._body_bytes = self.loop.time(), 0
            self._expect_body()
        self._body_bytes += len(data)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._body_since_s = 0.0
        self._expect_head()

    def send_400_response(self, _msg: str) -> None:
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            # In the middle of an answer there is no place for another.
            self.transport.abort()
            return
        headers, body = _error(400, "bad request")
        self.conn.send(h11.Response(status_code=400, headers=headers, reason=b"Bad Request"))
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (b"".join(lines), body))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def _expect_body(self) -> None:
        """Cut the peer off when it is too slow; looked at again when what came meanwhile has earned it more time."""
        until_s = self._body_since_s + BODY_GRACE_S + self._body_bytes / BODY_RATE_BYTES
        self._stop_waiting()
        if self.loop.time() >= until_s:
            self.transport.abort()
        else:
            self._deadline = self.loop.call_at(until_s, self._expect_body)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
