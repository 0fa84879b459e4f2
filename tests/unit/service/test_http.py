"""The HTTP door on a real socket: bounds, certificate, drain."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sekisho.doors.health import Application, Health, Receive, Scope, Send
from sekisho.secret import Secret
from sekisho.service import http
from sekisho.service.certificates import Certificate, load, make_self_signed
from sekisho.service.config import Config, Source, parse
from sekisho.service.datadir import DataDir
from sekisho.service.http import HttpServer
from sekisho.service.telemetry import LogFormat
from sekisho.service.worker import Role, WorkerContext

GET = b"GET /healthz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"


def configured(tls: bool) -> Config:
    text = f"[server]\ndrain_s = 1\n[http]\ntls = {str(tls).lower()}\n"
    return parse(Source(text, "", Path("/"), {}, None))


def certificate(folder: Path) -> Certificate:
    chain, key = make_self_signed(("localhost",), time.time_ns() // 1_000_000)
    (folder / "c").write_bytes(chain)
    (folder / "k").write_bytes(key.reveal())
    found = load(folder / "c", folder / "k")
    assert isinstance(found, Certificate)
    return found


@contextlib.asynccontextmanager
async def serving(
    folder: Path, *, tls: bool = False, app: Application | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    context = WorkerContext(
        role=Role.WEB,
        index=0,
        worker_count=1,
        has_web=True,
        config=configured(tls),
        directory=DataDir(folder),
        certificate=certificate(folder),
        listeners=(),
        http=listening,
        shared=None,
        channel=listening,
        death=-1,
        log_format=LogFormat.JSON,
    )
    server = HttpServer(context, app or Health(lambda: None))
    task = asyncio.create_task(server.serve())
    await server.accepting()
    try:
        yield server, listening.getsockname()[1]
    finally:
        server.drain()
        await task


async def exchange(port: int, request: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    name = "localhost" if tls else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_it_answers_and_does_not_say_what_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, port):
        answer = await exchange(port, GET)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"status":"ok"}')
    assert b"uvicorn" not in answer.lower()


async def test_a_head_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, port):
        answer = await exchange(port, b"GET / HTTP/1.1\r\nX: " + b"x" * 2 * http.HEAD_MAX_BYTES)
    assert answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost"])
async def test_whoever_never_finishes_a_head_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(http, "HEAD_TIMEOUT_S", 0.05)
    async with serving(tmp_path) as (_, port):
        assert await exchange(port, start) == b""


async def test_drain_waits_for_nobody_who_is_idle(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"close", b"keep-alive"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert (await reader.read()).endswith(b'{"status":"ok"}')
    writer.close()
    await writer.wait_closed()
    with pytest.raises(ConnectionError):
        await exchange(port, GET)


async def test_a_new_certificate_is_used_from_the_next_handshake_on(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=True) as (server, port):
        old = ssl.create_default_context(cafile=str(tmp_path / "c"))
        assert (await exchange(port, GET, old)).startswith(b"HTTP/1.1 200")
        fresh = certificate(tmp_path)
        new = ssl.create_default_context(cafile=str(tmp_path / "c"))
        assert server.apply(configured(tls=True), fresh) is None
        assert (await exchange(port, GET, new)).startswith(b"HTTP/1.1 200")
        with pytest.raises(ssl.SSLCertVerificationError):
            await exchange(port, GET, old)


async def test_an_unusable_certificate_leaves_the_old_in_force(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=True) as (server, port):
        trust = ssl.create_default_context(cafile=str(tmp_path / "c"))
        broken = Certificate(b"x", Secret(b"y"), (), 0, 0, self_signed=True)
        fault = server.apply(configured(tls=True), broken)
        assert fault is not None
        assert (await exchange(port, GET, trust)).startswith(b"HTTP/1.1 200")


async def test_what_no_application_answers_has_the_vendors_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as (_, port):
        garbage = await exchange(port, b"NONSENSE\r\n\r\n")
        monkeypatch.setattr(http, "CONNECTIONS_MAX", 0)
        crowded = await exchange(port, GET)
    assert garbage.startswith(b"HTTP/1.1 400")
    assert garbage.endswith(b'{"errors":[{"message":"bad request","field":null,"help":null}]}')
    assert crowded.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 5" in crowded.lower()
    assert b'{"errors":[{"message":"service unavailable' in crowded


@pytest.mark.parametrize("drip", [b"", b"x"])
async def test_a_body_that_comes_too_slowly_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drip: bytes
) -> None:
    monkeypatch.setattr(http, "BODY_GRACE_S", 0.05)

    async def reads(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    async with serving(tmp_path, app=reads) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 1000\r\n\r\n" + drip)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_an_application_that_fails_is_answered_for(tmp_path: Path) -> None:
    async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError

    async with serving(tmp_path, app=fails) as (_, port):
        answer = await exchange(port, GET)
    assert answer.startswith(b"HTTP/1.1 500")
    assert answer.endswith(b'{"errors":[{"message":"internal server error","field":null,"help":null}]}')
