"""A mail host for tests: strict about what it is sent, and wrong in exactly the ways it is told to be.

It listens on a loopback address and an ephemeral port. ``script`` replaces the answer to a step by a fault; steps are
``CONNECT EHLO HELO STARTTLS AUTH MAIL RCPT DATA CONTENT RSET QUIT``. Whatever a client does that it should not do is in
``violations``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET


@dataclass(frozen=True, slots=True)
class Say:
    """Answer with this instead, as it is; ``close`` hangs up afterwards. The state follows the code."""

    data: bytes
    close: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Answer nothing, ever."""


@dataclass(frozen=True, slots=True)
class Close:
    """Hang up without an answer."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Hang up with a TCP RST, as a crashed host or a firewall does."""


@dataclass(frozen=True, slots=True)
class Endless:
    """Say this again and again, until the client has had enough; a byte at a time if ``drip_s`` lies in between."""

    data: bytes
    drip_s: float = 0.0


Fault = Say | Hang | Close | Reset | Endless
CLOSE, HANG, RESET = Close(), Hang(), Reset()


@dataclass(frozen=True, slots=True)
class Mail:
    """What arrived."""

    mail_from: str
    parameters: str
    recipients: tuple[str, ...]
    content: bytes
    """Dots unstuffed."""
    connection: int
    tls: bool
    user: str | None


@dataclass(slots=True)
class SmtpHost:
    """One host. Use as ``async with serving(SmtpHost(...)) as host``."""

    extensions: Sequence[str] = ("PIPELINING", "SIZE 50000000", "8BITMIME", "ENHANCEDSTATUSCODES")
    tls: ssl.SSLContext | None = None
    """Offers STARTTLS with it, unless ``implicit``."""
    implicit: bool = False
    login: tuple[str, str] | None = None
    mechanisms: str = "PLAIN LOGIN"
    mails: list[Mail] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0
    port: int = 0
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    limit: int = 1_000_000
    """Connections welcome at the same time."""
    hold: asyncio.Event | None = None
    """Set by a test: the answer to every content waits for it."""
    stall_handshakes: int = 0
    """So many times, what follows the 220 to STARTTLS is read and not answered."""
    _script: dict[str, deque[Fault | None]] = field(default_factory=dict)
    _always: dict[str, Fault] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def script(self, step: str, *faults: Fault | None) -> None:
        """The next times ``step`` comes, these happen; None = the ordinary answer."""
        self._script.setdefault(step, deque()).extend(faults)

    def always(self, step: str, fault: Fault) -> None:
        """Whenever the script has run out."""
        self._always[step] = fault

    def mend(self) -> None:
        """Behave from now on."""
        self._script.clear()
        self._always.clear()

    async def wait_for(self, count: int) -> list[Mail]:
        """Wait until so many mails have arrived."""
        await self.until(lambda: len(self.mails) >= count)
        return self.mails

    async def heard(self, command: str) -> None:
        """Wait until this command has come."""
        await self.until(lambda: command in self.commands)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something that a command, a mail, a connection or the end of one brings about."""
        async with asyncio.timeout(20):
            while not reached():
                self.happened.clear()
                await self.happened.wait()

    def _fault(self, step: str) -> Fault | None:
        queue = self._script.get(step)
        if queue:
            return queue.popleft()
        return self._always.get(step)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.happened.set()
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError, ssl.SSLError):
                await _Dialogue(self, reader, writer, self.connections).run()
        finally:
            self.open -= 1
            self.happened.set()
            self._tasks.discard(task)
            with contextlib.suppress(Exception):
                writer.close()


class _HungUpError(EOFError):
    pass


class _Dialogue:
    def __init__(self, host: SmtpHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.host = host
        self.reader = reader
        self.writer = writer
        self.number = number
        self.secured = host.implicit
        self.greeted = False
        self.user: str | None = None
        self.mail_from: str | None = None
        self.parameters = ""
        self.recipients: list[str] = []

    async def run(self) -> None:
        if self.host.open > self.host.limit:
            self.writer.write(b"421 4.7.0 too many connections\r\n")
            return
        if await self._answer("CONNECT", "220 host.test ESMTP") is None:
            return
        while True:
            line = await self._line()
            verb, _, rest = line.partition(" ")
            self.host.commands.append(line)
            self.host.happened.set()
            await self._command(verb.upper(), rest)

    async def _line(self) -> str:
        raw = await self.reader.readuntil(b"\n")
        if not raw.endswith(b"\r\n"):
            self.host.violations.append(f"bare LF: {raw!r}")
        if len(raw) > 1002:
            self.host.violations.append(f"line of {len(raw)} octets")
        return raw.rstrip(b"\r\n").decode("ascii", "backslashreplace")

    async def _answer(self, step: str, ordinary: str) -> int | None:
        """Say it, or do what the script wants; the code that was said, or None."""
        if "PIPELINING" not in self._offered() and self._pending():
            self.host.violations.append(f"commands behind {step} without PIPELINING")
        fault = self.host._fault(step)
        match fault:
            case Hang():
                await asyncio.Event().wait()
            case Close():
                raise _HungUpError
            case Reset():
                socket = self.writer.get_extra_info("socket")
                socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                self.writer.transport.abort()
                raise _HungUpError
            case Endless():
                await self._drone(fault)
            case Say(data=data, close=close):
                self.writer.write(data)
                await self.writer.drain()
                if close:
                    raise _HungUpError
                return int(data[:3]) if data[:3].isdigit() else None
            case None:
                self.writer.write(ordinary.encode() + b"\r\n")
                await self.writer.drain()
                return int(ordinary[:3])
        return None

    async def _drone(self, fault: Endless) -> None:
        pieces = [bytes([byte]) for byte in fault.data] if fault.drip_s else [fault.data * 100]
        for piece in itertools.cycle(pieces):
            self.writer.write(piece)
            await self.writer.drain()
            if self.reader.at_eof() or self.writer.is_closing():
                raise _HungUpError
            await asyncio.sleep(fault.drip_s)

    def _pending(self) -> bytes:
        return bytes(self.reader._buffer)  # type: ignore[attr-defined]

    def _offered(self) -> list[str]:
        return [extension.split(" ")[0] for extension in self.host.extensions]

    async def _command(self, verb: str, rest: str) -> None:
        match verb:
            case "EHLO" | "HELO":
                await self._hello(verb)
            case "STARTTLS" if self.host.tls is not None and not self.secured:
                await self._starttls()
            case "AUTH" if self.host.login is not None:
                await self._auth(rest)
            case "MAIL":
                await self._mail(rest)
            case "RCPT":
                await self._rcpt(rest)
            case "DATA":
                await self._data()
            case "RSET":
                await self._answer("RSET", "250 2.0.0 reset")
                self._reset()
            case "QUIT":
                await self._answer("QUIT", "221 2.0.0 bye")
                raise _HungUpError
            case _:
                self.host.violations.append(f"unknown command {verb}")
                await self._answer(verb, "500 5.5.2 what?")

    async def _hello(self, verb: str) -> None:
        if verb == "HELO":
            code = await self._answer(verb, "250 host.test")
        else:
            offers = list(self.host.extensions)
            if self.host.tls is not None and not self.secured:
                offers.append("STARTTLS")
            if self.host.login is not None and self.secured:
                offers.append(f"AUTH {self.host.mechanisms}")
            lines = ["host.test", *offers]
            ordinary = "\r\n".join(f"250{'-' if i + 1 < len(lines) else ' '}{text}" for i, text in enumerate(lines))
            code = await self._answer(verb, ordinary)
        self.greeted = code == 250
        self._reset()

    async def _starttls(self) -> None:
        if self._pending():
            self.host.violations.append("clear text behind STARTTLS")
        if await self._answer("STARTTLS", "220 2.0.0 go") != 220:
            return
        assert self.host.tls is not None
        if self.host.stall_handshakes:
            self.host.stall_handshakes -= 1
            while await self.reader.read(1024):
                pass
            raise _HungUpError
        await self.writer.start_tls(self.host.tls)
        self.secured = True
        self.greeted = False

    async def _auth(self, rest: str) -> None:
        if not self.secured:
            self.host.violations.append("AUTH in clear text")
        mechanism, _, initial = rest.partition(" ")
        if mechanism == "PLAIN":
            _, name, password = base64.b64decode(initial).decode().split("\0")
        else:
            self.writer.write(b"334 VXNlcm5hbWU6\r\n")
            name = base64.b64decode(await self._line()).decode()
            self.writer.write(b"334 UGFzc3dvcmQ6\r\n")
            password = base64.b64decode(await self._line()).decode()
        if (name, password) == self.host.login:
            if await self._answer("AUTH", "235 2.7.0 welcome") == 235:
                self.user = name
        else:
            await self._answer("AUTH", "535 5.7.8 wrong")

    async def _mail(self, rest: str) -> None:
        if not self.greeted:
            self.host.violations.append("MAIL before EHLO")
        if self.mail_from is not None:
            self.host.violations.append("MAIL within a transaction")
            await self._answer("MAIL", "503 5.5.1 nested MAIL")
            return
        path, _, parameters = rest.removeprefix("FROM:").partition("> ")
        if await self._answer("MAIL", "250 2.1.0 ok") == 250:
            self.mail_from = path.strip("<>")
            self.parameters = parameters
            self.recipients = []

    async def _rcpt(self, rest: str) -> None:
        if self.mail_from is None:
            await self._answer("RCPT", "503 5.5.1 MAIL first")
        elif await self._answer("RCPT", "250 2.1.5 ok") == 250:
            self.recipients.append(rest.removeprefix("TO:").strip("<>"))

    async def _data(self) -> None:
        if self._pending():
            self.host.violations.append("something behind DATA")
        ordinary = "354 go" if self.recipients else "554 5.5.1 no valid recipients"
        if await self._answer("DATA", ordinary) != 354:
            return
        lines: list[bytes] = []
        while (line := await self.reader.readuntil(b"\n")) != b".\r\n":
            if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
                self.host.violations.append(f"not a line: {line[:80]!r}")
            if len(line) > 1001:
                self.host.violations.append(f"content line of {len(line)} octets")
            lines.append(line.removeprefix(b"."))
        mail = Mail(
            self.mail_from or "",
            self.parameters,
            tuple(self.recipients),
            b"".join(lines),
            self.number,
            self.secured,
            self.user,
        )
        recipients = self.recipients
        self._reset()
        if self.host.hold is not None:
            await self.host.hold.wait()
        ordinary = f"250 2.0.0 taken as {len(self.host.mails)}" if recipients else "554 5.5.1 no valid recipients"
        if await self._answer("CONTENT", ordinary) == 250 and recipients:
            self.host.mails.append(mail)
            self.host.happened.set()

    def _reset(self) -> None:
        self.mail_from = None
        self.recipients = []


@contextlib.asynccontextmanager
async def serving(host: SmtpHost, address: str = "127.0.0.1") -> AsyncIterator[SmtpHost]:
    """Let the host listen (again on the same port, if it did before)."""
    server = await asyncio.start_server(
        host._serve,
        address,
        host.port,
        ssl=host.tls if host.implicit else None,
        limit=64 << 20,
    )
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
        for task in tuple(host._tasks):
            task.cancel()
        if host._tasks:
            await asyncio.wait(tuple(host._tasks))
        await server.wait_closed()
