"""Asking other people's web servers: bounded in time and size, to hosts of the world alone, redirected by nobody."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx

from sekisho.ports.addresses import fault
from sekisho.secret import Secret

TIMEOUT_S: Final = 10.0
"""A whole question, from the name to the last octet of the answer: a person waits for it."""

ANSWER_MAX_BYTES: Final = 256 * 1024
"""Discovery documents have 3 KiB, key sets 10 KiB."""

QUESTIONS_MAX: Final = 8
"""Under way at once; a further one waits for its turn, within its own time."""

_ADDRESSES_MAX: Final = 3
"""Tried of one host."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says; any status."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there is none: unreachable, too slow, too large, not to be connected to. For an operator's eyes."""

    reason: str


@dataclass(frozen=True, slots=True)
class Question:
    """One request: a GET, or a POST of ``form``."""

    url: str
    form: Mapping[str, str] | None = None
    basic: tuple[str, Secret[str]] | None = None
    """RFC 7617: a user and his password."""
    bearer: Secret[str] | None = None
    """RFC 6750: a token."""
    may_be_private: bool = False
    """Whether the host may be at a private or loopback address: an operator's own servers are."""


class Web(Protocol):
    """Servers that are asked over HTTP."""

    async def ask(self, question: Question) -> Answer | NoAnswer: ...


class WebClient:
    """Web over the network. A redirect is an answer like any other, and followed by nobody."""

    def __init__(self) -> None:
        # The system's authorities, as for mail: an operator adds his own there.
        self._context: Final = ssl.create_default_context()
        self._room: Final = asyncio.Semaphore(QUESTIONS_MAX)

    async def ask(self, question: Question) -> Answer | NoAnswer:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._room:
                return await self._ask(question)
        except TimeoutError:
            return NoAnswer(f"no answer within {TIMEOUT_S:.0f} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return NoAnswer(str(error) or type(error).__name__)

    async def _ask(self, question: Question) -> Answer | NoAnswer:
        parts = urlsplit(question.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        addresses = await _addresses(host, port, may_be_private=question.may_be_private)
        if isinstance(addresses, NoAnswer):
            return addresses
        # A client of its own for each question: they are rare, and nothing of one is left for the next. What the
        # environment says of proxies is not followed: it would connect past the judgement of addresses.
        transport = httpx.AsyncHTTPTransport(verify=self._context, trust_env=False)
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=TIMEOUT_S) as client:
            last: httpx.ConnectError | None = None
            for address in addresses[:_ADDRESSES_MAX]:
                try:
                    return await _exchange(client, question, address)
                except httpx.ConnectError as error:
                    last = error
            return NoAnswer(f"cannot be connected to: {last}")


async def _addresses(host: str, port: int, *, may_be_private: bool) -> list[str] | NoAnswer:
    """Resolve a host, and judge the very addresses that are connected to: a second look might find others."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    faults = {address: fault(address, allow_private=may_be_private) for address in addresses}
    good = [address for address, wrong in faults.items() if wrong is None]
    return good or NoAnswer(f"{host} is at {next(iter(faults.values()), 'no address')}")


async def _exchange(client: httpx.AsyncClient, question: Question, address: str) -> Answer | NoAnswer:
    url = httpx.URL(question.url)
    literal = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    headers = {"Host": url.netloc.decode("ascii"), "Accept": "application/json", "Accept-Encoding": "identity"}
    if question.bearer is not None:
        headers["Authorization"] = f"Bearer {question.bearer.reveal()}"
    auth = None if question.basic is None else httpx.BasicAuth(question.basic[0], question.basic[1].reveal())
    request = client.build_request(
        "GET" if question.form is None else "POST",
        url.copy_with(host=literal),
        data=question.form,
        headers=headers,
        # The certificate is the name's, whatever address it was found at.
        extensions={"sni_hostname": url.host},
    )
    response = await client.send(request, auth=auth, stream=True, follow_redirects=False)
    try:
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > ANSWER_MAX_BYTES:
                return NoAnswer(f"its answer is larger than {ANSWER_MAX_BYTES} bytes")
        return Answer(response.status_code, bytes(body))
    finally:
        await response.aclose()
