"""DNS answers: whatever a server sends, over UDP or TCP, becomes one of the typed answers or "try later".

The bytes go through the real resolver; only its sockets are ours. Answers are bounded and sorted, names and addresses
fit to be used as such; what was sent with another id changes nothing; nothing is absent, and no mail bounces, unless
an answer to the question said so; no address that may not be connected to comes out of it.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import dns.asyncbackend
import dns.entropy
import dns.exception
from dns._asyncbackend import Backend, DatagramSocket, StreamSocket

from sekisho.delivery.site import NoMail
from sekisho.delivery.sites import Sites
from sekisho.delivery.verdict import REPLY_MAX, Temporary
from sekisho.ports.dns import (
    ALIASES_MAX,
    RECORDS_MAX,
    Addresses,
    Exchangers,
    NoRecords,
    NoSuchName,
    Resolver,
    Texts,
    TryLater,
)
from tests.fuzz.drawing import Draw
from tests.fuzz.running import run

NAME = "b.example"
_QUESTION_AT = b"\xc0\x0c"
_IN = b"\0\1\0\0\0\x3c"

TOKENS = (
    _QUESTION_AT, _IN, b"\0\x0f" + _IN, b"\0\1" + _IN + b"\0\4\x08\x08\x08\x08", b"\0\1" + _IN + b"\0\4\x7f\0\0\1",
    b"\0\x1c" + _IN + b"\0\x10" + b"\x20\1\x48\x60" + bytes(11) + b"\1", b"\0\x05" + _IN, b"\0\6" + _IN,
    b"\0\2" + _IN, _QUESTION_AT + b"\0\x0f" + _IN + b"\0\4\0\x0a" + _QUESTION_AT,
    _QUESTION_AT + b"\0\x0f" + _IN + b"\0\3\0\0\0", _QUESTION_AT + b"\0\5" + _IN + b"\0\2" + _QUESTION_AT,
    b"\1a\7example\0", b"\0\x10" + _IN + b"\0\6\5v=xyz", b"\xff\xff\xff\xff", b"\x81\x80", b"\x81\x83", b"\x81\x82",
    b"\x83\x80", b"\0\0\x29\x10\0\0\0\0\0\0\0", b"\x3f" + b"x" * 63,
)  # fmt: skip

_SERVER = ("127.0.0.1", 53)


class _Clock:
    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0


@dataclass(frozen=True)
class _Datagram:
    """What is sent in answer to whatever is asked; ``shaped``: with the header and question of an answer to that."""

    shaped: bool
    wrong_id: bool
    wrong_length: int
    flags: bytes
    counts: bytes
    data: bytes

    def wire(self, query: bytes) -> bytes:
        number = bytes((query[0] ^ self.wrong_id, query[1]))
        if not self.shaped:
            return number + self.data
        answers, authority, more = self.counts
        counts = bytes((0, 1, 0, answers, 0, authority, 0, more))
        return number + self.flags + counts + _question(query) + self.data


def _question(query: bytes) -> bytes:
    return query[12 : query.index(b"\0", 12) + 5]


class _Network(Backend):
    """Every socket leads to the same server, which sends its datagrams one after the other."""

    def __init__(self, datagrams: list[_Datagram], *, noisy: bool) -> None:
        self._datagrams = list(datagrams)
        self._noisy = noisy
        self.sockets = 0
        self.delivered: list[tuple[bytes, bytes]] = []

    def name(self) -> str:
        return "fuzz"

    async def make_socket(self, af: int, socktype: int, *_more: Any, **_named: Any) -> Any:
        self.sockets += 1
        return (_Datagrams if socktype == socket.SOCK_DGRAM else _Stream)(af, socktype, self)

    async def sleep(self, interval: float) -> None:
        del interval
        # Nobody waits here: the time for the question is over.
        raise dns.exception.Timeout

    def next(self, query: bytes) -> tuple[bytes, _Datagram]:
        if not self._datagrams:
            raise dns.exception.Timeout
        datagram = self._datagrams.pop(0)
        wire = datagram.wire(query)
        self.delivered.append((query, wire))
        return wire, datagram

    def noise(self) -> bool:
        return self._noisy and bool(self._datagrams)

    @property
    def said_something(self) -> bool:
        """Something came that has the id of a question and is marked as an answer."""
        return any(wire[:2] == query[:2] and wire[2:3] >= b"\x80" for query, wire in self.delivered)


class _Datagrams(DatagramSocket):
    def __init__(self, family: int, kind: int, network: _Network) -> None:
        super().__init__(family, kind)
        self._network = network
        self._query = b""
        self._quiet = False

    async def sendto(self, what: bytes, *_to_and_until: Any) -> int:
        self._query = what
        return len(what)

    async def recvfrom(self, *_size_and_until: Any) -> tuple[bytes, tuple[str, int]]:
        self._quiet = not self._quiet
        if self._quiet and self._network.noise():
            # Somebody guesses: the right form, the right question, all of it absent; only the id is wrong.
            query = self._query
            return bytes((query[0] ^ 1, query[1])) + b"\x81\x83\0\1\0\0\0\0\0\0" + _question(query), _SERVER
        return self._network.next(self._query)[0], _SERVER


class _Stream(StreamSocket):
    def __init__(self, family: int, kind: int, network: _Network) -> None:
        super().__init__(family, kind)
        self._network = network
        self._query = b""
        self._unread: bytes | None = None

    async def sendall(self, what: bytes, *_until: Any) -> None:
        self._query = what[2:]

    async def recv(self, size: int, *_until: Any) -> bytes:
        if self._unread is None:
            wire, datagram = self._network.next(self._query)
            self._unread = (len(wire) + datagram.wrong_length).to_bytes(2, "big") + wire
        piece, self._unread = self._unread[:size], self._unread[size:]
        return piece


def target(data: bytes) -> None:
    draw = Draw(data)
    question = draw.octet() % 5
    datagrams = [_datagram(draw) for _ in range(draw.octet() % 5)]
    network, answer = _ask(question, datagrams, noisy=False)
    _, noisy = _ask(question, datagrams, noisy=True)
    assert answer == noisy
    assert network.sockets <= 4 * ALIASES_MAX * 2
    _check(answer, network)


def _datagram(draw: Draw) -> _Datagram:
    marks = draw.octet()
    return _Datagram(
        shaped=not marks & 1,
        wrong_id=bool(marks & 2),
        wrong_length=marks >> 2 & 3,
        flags=draw.piece(2).ljust(2, b"\0"),
        counts=draw.piece(3).ljust(3, b"\0"),
        data=draw.piece(draw.number(2) % 1200),
    )


def _ask(question: int, datagrams: list[_Datagram], *, noisy: bool) -> tuple[_Network, Any]:
    network = _Network(datagrams, noisy=noisy)
    resolver = Resolver([_SERVER], 60.0)
    # A name in an answer may begin in its id, so that has to be the same each time.
    with (
        patch.object(dns.asyncbackend, "_default_backend", network),
        patch.object(dns.entropy, "random_16", lambda: 0x1234),
    ):
        match question:
            case 0:
                return network, run(resolver.texts(NAME))
            case 1:
                return network, run(resolver.exchangers(NAME))
            case 2:
                return network, run(resolver.addresses(NAME))
            case 3:
                return network, run(resolver.pointers("192.0.2.1"))
            case _:
                return network, run(_hops(resolver))


async def _hops(resolver: Resolver) -> Any:
    sites = Sites(resolver, port=25, allow_private=False, chance=lambda: 0.5, clock=_Clock())
    site = await sites.find(NAME)
    assert sites.known(NAME) is not None or isinstance(site, NoMail)
    return site if isinstance(site, NoMail) else await sites.hops(site)


def _check(answer: Any, network: _Network) -> None:
    match answer:
        case Texts(values):
            assert len(values) <= RECORDS_MAX
            assert all(isinstance(value, str) for value in values)
        case Exchangers(values, ttl_s):
            assert 0 < len(values) <= RECORDS_MAX
            assert list(values) == sorted(values, key=lambda each: (each.preference, each.host))
            assert all(0 <= each.preference <= 65535 and _is_clean(each.host) for each in values)
            assert 0 <= ttl_s < 2**31
        case Addresses(values, ttl_s):
            assert 0 < len(values) <= 2 * RECORDS_MAX
            assert all(ipaddress.ip_address(value) for value in values)
            assert 0 <= ttl_s < 2**31
        case NoSuchName():
            assert any(wire[3] & 15 == 3 for _, wire in network.delivered if len(wire) > 3)
            assert network.said_something
        case NoRecords():
            assert network.said_something
        case TryLater(reason):
            assert reason.isprintable()
            assert len(reason) < REPLY_MAX
        case NoMail(verdict):
            assert verdict.reply.isprintable()
            assert len(verdict.reply) <= REPLY_MAX
            assert isinstance(verdict, Temporary) or network.said_something
        case names_or_hops:
            for each in names_or_hops:
                if isinstance(each, str):
                    assert _is_clean(each)
                else:
                    # Not asked of our own table: Python has another.
                    assert ipaddress.ip_address(each.address).is_global
                    assert _is_clean(each.host)


def _is_clean(host: str) -> bool:
    return host.isascii() and host.isprintable() and host == host.lower() and not host.endswith(".")
