"""Processes that sign: each holds DKIM keys, takes a header and a body, and gives the signatures.

Canonicalising, hashing and RSA are most of a message's cost. In threads of the relay worker RSA gives the interpreter
lock up and wants it back, and the waiting and waking cost more than the signatures (measured: 0.97 ms of CPU per
message in threads, 0.4 ms here). A process shares no lock, and leaves the worker's one loop to the dialogues.

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
from pathlib import Path
from typing import Final, NoReturn, cast

import msgspec

from sekisho.queue import bodies
from sekisho.queue.bodies import BodyDamagedError
from sekisho.queue.model import BodyFile
from sekisho.wire.dkim import keys
from sekisho.wire.dkim.canonical import BodyHash, body_hash
from sekisho.wire.dkim.signature import Algorithm, Signer, sign

KEYS_MAX: Final = 4_000
"""Keys that each process remembers: about 10 KiB each in OpenSSL's hands. The least used is forgotten."""

_AHEAD: Final = 8
"""Jobs that a process has been sent: while it has so many, further ones gather and go in one write."""

_AHEAD_GIVING_WAY: Final = 1
"""The same while clients go first: signing goes on, one after the other."""

_BUSY: Final = 48
"""Jobs, sent or gathered, from which on the next process helps: about what one signs in 20 ms."""

_ANSWER_AFTER: Final = 4
"""Signatures sent back at once: few enough that connections are not kept waiting, many enough to save wake-ups."""

_LENGTH: Final = struct.Struct("!I")
_READ_BYTES: Final = 1 << 18


class NotSignedError(Exception):
    """A signing process could not sign, and why; or it ended."""


class DamagedBodyError(NotSignedError):
    """It would not sign: the stored body is not the one that was accepted, and never will be again."""


Done = Callable[[bytes | NotSignedError], None]
"""Called on the loop with the DKIM-Signature fields, or why there are none."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be signed, and as whom."""

    header: bytes
    """A block that ``headers.parse`` accepts."""
    body: bytes | BodyFile
    domain: str
    signers: tuple[Signer, ...]
    at_s: int
    expires_s: int


class _Learn(msgspec.Struct, frozen=True, array_like=True, tag=0):
    number: int
    selector: str
    algorithm: Algorithm
    der: bytes

    def __repr__(self) -> str:
        return f"_Learn(number={self.number})"


class _Forget(msgspec.Struct, frozen=True, array_like=True, tag=1):
    number: int


class _Sign(msgspec.Struct, frozen=True, array_like=True, tag=2):
    job: int
    header: bytes
    body: bytes
    body_file: str
    """Not empty: the body is there."""
    body_file_bytes: int
    """How long it was when it was accepted."""
    body_file_checksum: int | None
    domain: str
    numbers: tuple[int, ...]
    """The keys, in the order of their signatures."""
    at_s: int
    expires_s: int


_Request = _Learn | _Forget | _Sign


class _Signed(msgspec.Struct, frozen=True, array_like=True):
    job: int
    fields: bytes
    fault: str
    """Empty when there are fields."""
    is_damaged: bool = False
    """The fault is with the stored body."""


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
        self._gives_way: Callable[[], bool] = lambda: False

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

    async def connect(self, on_lost: Callable[[], None], *, gives_way: Callable[[], bool] = lambda: False) -> None:
        """Begin to talk to them; ``on_lost`` is called when one is gone that was not closed.

        While ``gives_way`` says so one of them gets one job at a time, and the processors are left to others.
        """
        self._gives_way = gives_way
        loop = asyncio.get_running_loop()
        for _, one in self._forked:
            _, process = await loop.create_unix_connection(lambda: _Process(loop, on_lost, gives_way), sock=one)
            self._processes.append(process)

    def sign(self, wish: Wish, done: Done) -> None:
        """Have this signed."""
        # The first that is not busy yet: a process more than needed takes its slices from the dialogues.
        for process in self._processes:
            if len(process) < _BUSY or self._gives_way():
                break
        else:
            process = min(self._processes, key=_Process.__len__)
        process.sign(wish, done)

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

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], None], gives_way: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._gives_way = gives_way
        self._transport: asyncio.Transport | None = None
        self._pending: list[_Request] = []
        self._waiting = 0
        """Jobs among the pending requests."""
        self._flushing = False
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

    def sign(self, wish: Wish, done: Done) -> None:
        numbers = tuple([self._number(signer) for signer in wish.signers])
        body = wish.body
        job = self._next_job
        self._next_job += 1
        self._jobs[job] = done
        self._request(
            _Sign(
                job,
                wish.header,
                b"" if isinstance(body, BodyFile) else body,
                str(body.path) if isinstance(body, BodyFile) else "",
                body.size_bytes if isinstance(body, BodyFile) else 0,
                body.checksum if isinstance(body, BodyFile) else None,
                wish.domain,
                numbers,
                wish.at_s,
                wish.expires_s,
            )
        )
        self._waiting += 1

    def _number(self, signer: Signer) -> int:
        number = self._numbers.get(signer)
        if number is not None:
            self._numbers.move_to_end(signer)
            return number
        number = self._numbers[signer] = self._next_number
        self._next_number += 1
        self._request(_Learn(number, signer.selector, signer.algorithm, keys.to_der(signer.key)))
        if len(self._numbers) > KEYS_MAX:
            _, forgotten = self._numbers.popitem(last=False)
            self._request(_Forget(forgotten))
        return number

    def _request(self, request: _Request) -> None:
        self._pending.append(request)
        if not self._flushing:
            # Everything that comes up in this turn of the loop goes in one write.
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        gives_way = self._gives_way()
        # It has enough to do: what comes until it answers goes together.
        if len(self._jobs) - self._waiting >= (_AHEAD_GIVING_WAY if gives_way else _AHEAD) or not self._pending:
            return
        count = self._up_to_a_job() if gives_way else len(self._pending)
        sent, self._pending = self._pending[:count], self._pending[count:]
        self._waiting = self._waiting - 1 if self._pending else 0
        if self._transport is not None:
            self._transport.write(_frame(sent))

    def _up_to_a_job(self) -> int:
        """How many pending requests there are up to and with the first job; all when there is none."""
        for count, request in enumerate(self._pending, 1):
            if type(request) is _Sign:
                return count
        return len(self._pending)

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            for answer in _answers.decode(body):
                self._jobs.pop(answer.job)(_refusal(answer) if answer.fault else answer.fields)
        self._flush()

    def close(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        jobs, self._jobs = self._jobs, {}
        for done in jobs.values():
            done(NotSignedError("the signing process ended"))
        self.closed.set_result(None)
        if not self._closing:
            self._on_lost()


def _refusal(answer: _Signed) -> NotSignedError:
    return DamagedBodyError(answer.fault) if answer.is_damaged else NotSignedError(answer.fault)


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
    known: dict[int, Signer] = {}
    frames = _Frames()
    while data := channel.recv(_READ_BYTES):
        for frame in frames.feed(data):
            answers: list[_Signed] = []
            for request in _requests.decode(frame):
                match request:
                    case _Sign():
                        answers.append(_answer(known, request))
                        if len(answers) == _ANSWER_AFTER:
                            channel.sendall(_frame(answers))
                            answers = []
                    case _Learn(number=number):
                        known[number] = Signer(request.selector, request.algorithm, keys.load(request.der))
                    case _Forget(number=number):
                        del known[number]
            if answers:
                channel.sendall(_frame(answers))


def _answer(known: dict[int, Signer], request: _Sign) -> _Signed:
    try:
        return _Signed(request.job, _fields(known, request), "")
    except BodyDamagedError as error:
        return _Signed(request.job, b"", str(error), is_damaged=True)
    except Exception as error:  # noqa: BLE001  # the worker says so and defers the message; other jobs go on
        return _Signed(request.job, b"", f"{type(error).__name__}: {error}")


def _fields(known: dict[int, Signer], request: _Sign) -> bytes:
    file = request.body_file
    return sign(
        request.header,
        _file_hash(BodyFile(Path(file), request.body_file_bytes, request.body_file_checksum))
        if file
        else body_hash(request.body),
        domain=request.domain,
        signers=[known[number] for number in request.numbers],
        at_s=request.at_s,
        expires_s=request.expires_s,
    )


def _file_hash(body: BodyFile) -> bytes:
    """Hash what is in the file, if it is what was written: else it would be damage that vouches for itself."""
    found = BodyHash()
    with bodies.reading(body) as file:
        while chunk := file.read(_READ_BYTES):
            found.update(chunk)
    return found.digest()
