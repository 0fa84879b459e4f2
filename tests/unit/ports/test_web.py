"""What a hostile or broken web server can do to us: nothing but give no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from sekisho.ports import web
from sekisho.ports.web import ANSWER_MAX_BYTES, Answer, NoAnswer, Question, WebClient
from sekisho.secret import Secret


@dataclass
class Host:
    """Answers everything with ``said``; None: says nothing at all."""

    said: bytes | None = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    heard: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/x?y=1"


class Connection(asyncio.Protocol):
    """One client of the host's."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, _, body = self._read.partition(b"\r\n\r\n")
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if not data.startswith(b"\x16") and (head == self._read or len(body) < sum(map(int, lengths))):
            return
        self._host.heard.append(self._read)
        if self._host.said is not None:
            self._transport.write(self._host.said)
            self._transport.close()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(host), "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    async with server:
        yield host


async def ask(host: Host, **given: object) -> Answer | NoAnswer:
    return await WebClient().ask(Question(host.url, may_be_private=True, **given))  # type: ignore[arg-type]


async def test_an_answer_is_its_status_and_its_octets(host: Host) -> None:
    host.said = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n\xff{}"
    assert await ask(host) == Answer(404, b"\xff{}")
    assert host.heard[0].startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert b"\r\nHost: localhost:%d\r\n" % host.port in host.heard[0]


async def test_forms_and_passwords_go_as_the_standards_say(host: Host) -> None:
    await ask(host, form={"code": "a b"}, basic=("me", Secret("pass")))
    assert host.heard[0].startswith(b"POST ")
    assert host.heard[0].endswith(b"\r\n\r\ncode=a+b")
    assert b"Authorization: Basic bWU6cGFzcw==\r\n" in host.heard[0]
    await ask(host, bearer=Secret("token"))
    assert b"Authorization: Bearer token\r\n" in host.heard[1]


async def test_a_redirect_is_not_followed(host: Host) -> None:
    host.said = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    assert await ask(host) == Answer(302, b"")
    assert len(host.heard) == 1


async def test_a_private_host_is_not_even_connected_to(host: Host) -> None:
    found = await WebClient().ask(Question(host.url))
    assert isinstance(found, NoAnswer)
    assert "loopback" in found.reason
    assert host.heard == []


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_MAX_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000,
    ],
)
async def test_half_an_answer_nonsense_and_too_much_are_none(host: Host, said: bytes) -> None:
    host.said = said
    assert isinstance(await ask(host), NoAnswer)


async def test_whoever_says_nothing_is_waited_for_only_so_long(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT_S", 0.1)
    host.said = None
    assert await ask(host) == NoAnswer("no answer within 0 s")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/",
        "http:///x",
        "ftp://localhost/",
        "http://" + "a" * 70 + ".test/",
        "http://loc\x00alhost/",
    ],
)
async def test_where_nobody_is_there_is_no_answer(url: str) -> None:
    assert isinstance(await WebClient().ask(Question(url, may_be_private=True)), NoAnswer)


async def test_a_certificate_must_be_the_host_s(host: Host) -> None:
    found = await WebClient().ask(Question(host.url.replace("http:", "https:"), may_be_private=True))
    assert isinstance(found, NoAnswer)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment would be asked instead, if it were followed."""
    monkeypatch.setenv("http_proxy", "http://localhost:1")
    monkeypatch.setenv("https_proxy", "http://localhost:1")
