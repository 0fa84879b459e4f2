"""Processes that sign: each holds DKIM keys and turns digests into signatures, and does nothing else.

RSA is most of a message's cost. In threads of the relay worker it gives the interpreter lock up and wants it back three
times per message, and the waiting and waking cost more than the signatures (measured: 0.97 ms of CPU per message in
threads, 0.35 ms here). A process shares no lock; what crosses is 32 bytes there and a signature back, many at a time.

Forked before the worker has threads or a loop. A signer ends when its socket does; a worker whose signer ends ends too,
and both are started again by the supervisor.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, cast

import msgspec

from sekisho.wire.dkim import keys
from sekisho.wire.dkim.keys import PrivateKey
from sekisho.wire.dkim.signature import Signer, sign_digest

KEYS_MAX: Final = 4_000
"""Keys that each process remembers: about 10 KiB each in OpenSSL's hands. The least used is forgotten."""

_ANSWER_AFTER: Final = 4
"""Signatures sent back at once: few enough that connections are not kept waiting, many enough to save wake-ups."""

_LENGTH: Final = struct.Struct("!I")
_READ_BYTES: Final = 1 << 16

Done = Callable[[Sequence[bytes] | None], None]
"""Called on the loop with one signature per key; None when they could not be made."""


class _Learn(msgspec.Struct, frozen=True, array_like=True, tag=0):
    number: int
    der: bytes

    def __repr__(self) -> str:
        return f"_Learn(number={self.number})"


class _Forget(msgspec.Struct, frozen=True, array_like=True, tag=1):
    number: int


class _Sign(msgspec.Struct, frozen=True, array_like=True, tag=2):
    job: int
    wanted: tuple[tuple[int, bytes], ...]
    """Key number and digest."""


_Request = _Learn | _Forget | _Sign


class _Signed(msgspec.Struct, frozen=True, array_like=True):
    job: int
    signatures: tuple[bytes, ...] | None


_encoder: Final = msgspec.msgpack.Encoder()
_requests: Final = msgspec.msgpack.Decoder(list[_Request])
_answers: Final = msgspec.msgpack.Decoder(list[_Signed])


class SignerLost(Exception):
    """A signing process is gone: the worker must end, and be started again with new ones."""


class Signers:
    """The signing processes of one worker. ``fork`` before anything else, ``connect`` on the loop, then ``sign``."""

    def __init__(self, forked: Sequence[tuple[int, socket.socket]]) -> None:
        """``forked``: pid and our end of the line, of each."""
        self._forked: Final = forked
        self._processes: list[_Process] = []

    @classmethod
    def fork(cls, count: int) -> Signers:
        """Start the processes. To be called while this one has a single thread and no loop."""
        forked: list[tuple[int, socket.socket]] = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            gc.freeze()
            pid = os.fork()
            if pid == 0:
                _sign_until_closed(theirs)
            theirs.close()
            ours.setblocking(False)
            forked.append((pid, ours))
        return cls(forked)

    async def connect(self, on_lost: Callable[[], None]) -> None:
        """Begin to talk to them; ``on_lost`` is called when one is gone that was not closed."""
        loop = asyncio.get_running_loop()
        for _, one in self._forked:
            _, process = await loop.create_unix_connection(lambda: _Process(loop, on_lost), sock=one)
            self._processes.append(process)

    def sign(self, signers: Sequence[Signer], digests: Sequence[bytes], done: Done) -> None:
        """Have one digest signed by each key; the process with the least to do does it."""
        min(self._processes, key=_Process.__len__).sign(signers, digests, done)

    async def close(self) -> None:
        """Let them end; what was asked and not answered is answered with None."""
        for process in self._processes:
            process.close()
        for process in self._processes:
            await process.closed
        for pid, _ in self._forked:
            await asyncio.to_thread(os.waitpid, pid, 0)


class _Process(asyncio.Protocol):
    """The worker's end of one signing process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], None]) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._pending: list[_Request] = []
        self._jobs: dict[int, Done] = {}
        self._next_job = 0
        self._numbers: OrderedDict[Signer, int] = OrderedDict()
        self._next_number = 0
        self._frames = _Frames()
        self._closing = False
        self.closed: asyncio.Future[None] = loop.create_future()

    def __len__(self) -> int:
        """Jobs under way."""
        return len(self._jobs)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def sign(self, signers: Sequence[Signer], digests: Sequence[bytes], done: Done) -> None:
        wanted = tuple((self._number(signer), digest) for signer, digest in zip(signers, digests, strict=True))
        job = self._next_job
        self._next_job += 1
        self._jobs[job] = done
        if not self._pending:
            # Everything that comes up in this turn of the loop goes in one write.
            self._loop.call_soon(self._flush)
        self._pending.append(_Sign(job, wanted))

    def _number(self, signer: Signer) -> int:
        number = self._numbers.get(signer)
        if number is not None:
            self._numbers.move_to_end(signer)
            return number
        if not self._pending:
            self._loop.call_soon(self._flush)
        number = self._numbers[signer] = self._next_number
        self._next_number += 1
        self._pending.append(_Learn(number, keys.to_der(signer.key)))
        if len(self._numbers) > KEYS_MAX:
            _, forgotten = self._numbers.popitem(last=False)
            self._pending.append(_Forget(forgotten))
        return number

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if self._transport is not None and pending:
            self._transport.write(_frame(pending))

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            for answer in _answers.decode(body):
                self._jobs.pop(answer.job)(answer.signatures)

    def close(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        jobs, self._jobs = self._jobs, {}
        for done in jobs.values():
            done(None)
        self.closed.set_result(None)
        if not self._closing:
            self._on_lost()


@dataclass(slots=True)
class _Frames:
    """Length-prefixed frames out of a stream."""

    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[bytes]:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            end = _LENGTH.size + length
            if len(buffer) < end:
                return
            body = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            yield body


def _frame(content: Sequence[_Request] | Sequence[_Signed]) -> bytes:
    body = _encoder.encode(content)
    return _LENGTH.pack(len(body)) + body


# The other process.


def _sign_until_closed(channel: socket.socket) -> NoReturn:
    """Everything that a signing process does."""
    status = 1
    try:
        # A signal to the group is for the worker: what it has under way still needs signatures.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # Listening sockets, locks, the supervisor's line: none of it may live on here.
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        _serve(channel)
        status = 0
    finally:
        os._exit(status)


def _serve(channel: socket.socket) -> None:
    known: dict[int, PrivateKey] = {}
    frames = _Frames()
    while data := channel.recv(_READ_BYTES):
        for body in frames.feed(data):
            answers: list[_Signed] = []
            for request in _requests.decode(body):
                match request:
                    case _Sign(job=job, wanted=wanted):
                        answers.append(_Signed(job, _signatures(known, wanted)))
                        if len(answers) == _ANSWER_AFTER:
                            channel.sendall(_frame(answers))
                            answers = []
                    case _Learn(number=number, der=der):
                        known[number] = keys.load(der)
                    case _Forget(number=number):
                        del known[number]
            if answers:
                channel.sendall(_frame(answers))


def _signatures(known: dict[int, PrivateKey], wanted: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...] | None:
    try:
        return tuple(sign_digest(known[number], digest) for number, digest in wanted)
    except Exception:  # noqa: BLE001  # the worker defers the message and says so; other jobs go on
        return None
