from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import MutableMapping
from typing import Any

import pytest

from sekisho.doors import health
from sekisho.doors.health import Health


async def ask(app: Health, path: str, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path}, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


def fine() -> None:
    return None


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_all_is_well(path: str) -> None:
    status, headers, body = await ask(Health(fine), path)
    assert (status, body) == (200, b'{"status":"ok"}')
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"content-length"] == b"15"


async def test_a_process_is_healthy_while_its_storage_is_not() -> None:
    app = Health(lambda: "control.db cannot be found")
    assert (await ask(app, "/healthz"))[0] == 200
    status, _, body = await ask(app, "/readyz")
    assert status == 503
    assert json.loads(body) == {"errors": [{"message": "control.db cannot be found", "field": None, "help": None}]}


async def test_head_has_the_length_and_no_body() -> None:
    status, headers, body = await ask(Health(fine), "/healthz", "HEAD")
    assert (status, headers[b"content-length"], body) == (200, b"15", b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/healthz", 405), ("DELETE", "/readyz", 405), ("GET", "/", 404), ("POST", "/v3/mail/send", 404)],
)
async def test_nothing_else_is_there(method: str, path: str, status: int) -> None:
    found, headers, body = await ask(Health(fine), path, method)
    assert found == status
    assert set(json.loads(body)["errors"][0]) == {"message", "field", "help"}
    assert (b"allow" in headers) == (status == 405)


async def test_a_fault_of_the_check_says_nothing_of_its_inside(capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> str | None:
        message = "inside"
        raise RuntimeError(message)

    status, _, body = await ask(Health(broken), "/readyz")
    assert status == 503
    assert b"inside" not in body
    assert "inside" in "".join(capfd.readouterr())


async def test_a_storage_that_hangs_is_not_ready_and_asked_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_PATIENCE_S", 0.01)
    release, asked = threading.Event(), []

    def hang() -> None:
        asked.append(1)
        release.wait(30)

    app = Health(hang)
    answers = await asyncio.gather(*(ask(app, "/readyz") for _ in range(20)))
    assert {status for status, _, _ in answers} == {503}
    assert len(asked) == 1
    release.set()
    assert app._asking is not None
    await app._asking
    monkeypatch.setattr(health, "_PATIENCE_S", 30)
    assert (await ask(app, "/readyz"))[0] == 200
    assert len(asked) == 2
