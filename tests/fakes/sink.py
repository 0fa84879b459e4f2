"""A strict next hop on loopback: an SMTP server in a thread that keeps every message and notes breaches of RFC 5321."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_LINE_MAX = 1000  # RFC 5321 §4.5.3.1.6, CRLF included
_PATH = re.compile(
    rb"(?:MAIL FROM|RCPT TO):<([\x21-\x7e]*)>((?: [A-Z0-9-]+(?:=[\x21-\x3c\x3e-\x7e]+)?)*)", re.IGNORECASE
)
_SEQUENCE = re.compile(rb"^X-Test-Seq: (\d+)\r$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message that this host answered with 250."""

    mail_from: str
    recipients: tuple[str, ...]
    data: bytes
    """As received: CRLF lines, dots unstuffed."""
    at: float
    over_tls: bool
    login: tuple[str, str] | None

    @property
    def sequence(self) -> int | None:
        found = _SEQUENCE.search(self.data.partition(b"\r\n\r\n")[0] + b"\r\n")
        return int(found[1]) if found else None


Answer = Callable[[str, str], str | None]
"""(verb or ``"."``, argument) -> the reply instead of the usual one; ``"close"`` hangs up, ``"stall"`` is silent."""


def usual(_verb: str, _argument: str) -> str | None:
    return None


@dataclass(slots=True)
class _Dialogue:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    secure: bool = False
    login: tuple[str, str] | None = None
    mail_from: str | None = None
    recipients: list[str] = field(default_factory=list)


class Sink:
    """Start with ``with``; ``letters`` and ``faults`` may be read at any time from the test's thread."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        users: dict[str, str] | None = None,
        answer: Answer = usual,
        body_delay_s: float = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.letters: list[Letter] = []
        self.faults: list[str] = []
        self.connections = 0
        self.answer = answer
        self.body_delay_s = body_delay_s
        self.host = host
        self.port = 0
        self._tls = tls
        self._users = users
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def wait_for(self, count: int, timeout_s: float = 30) -> list[Letter]:
        """Return all letters once there are ``count``; a loud failure when they do not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.letters) >= count, timeout_s):
                message = f"{len(self.letters)} of {count} letters came in {timeout_s} s; faults: {self.faults[:3]}"
                raise AssertionError(message)
            return list(self.letters)

    def copies(self) -> Counter[tuple[int, str]]:
        """How often each (X-Test-Seq, recipient) arrived."""
        with self._changed:
            return Counter(
                (sequence, recipient)
                for letter in self.letters
                if (sequence := letter.sequence) is not None
                for recipient in letter.recipients
            )

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, self.host, self.port, limit=64 * 1024)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - a callback of start_server always runs in one
            return
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._converse(_Dialogue(reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # peers that are killed hang up anywhere: that is what many tests are about
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(self, dialogue: _Dialogue) -> None:
        await self._say(dialogue, "220 sink.test ESMTP")
        while True:
            line = await dialogue.reader.readuntil(b"\n")
            if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line or len(line) > 512:
                self._fault(f"command line {line[:80]!r}")
            text = line.rstrip(b"\r\n")
            verb, _, argument = text.decode("latin-1").partition(" ")
            verb = verb.upper()
            match self.answer(verb, argument):
                case None:
                    if await self._obey(dialogue, verb, text):
                        return
                case "close":
                    return
                case "stall":
                    await asyncio.sleep(3600)
                case reply:
                    await self._say(dialogue, reply)

    async def _obey(self, dialogue: _Dialogue, verb: str, text: bytes) -> bool:
        match verb:
            case "EHLO":
                offers = ["8BITMIME", "PIPELINING", "SIZE 52428800", "ENHANCEDSTATUSCODES"]
                if self._tls and not dialogue.secure:
                    offers.append("STARTTLS")
                if self._users and (dialogue.secure or not self._tls):
                    offers.append("AUTH PLAIN LOGIN")
                await self._say(
                    dialogue, *("250-" + offer for offer in ("sink.test", *offers[:-1])), "250 " + offers[-1]
                )
            case "STARTTLS" if self._tls and not dialogue.secure:
                await self._say(dialogue, "220 2.0.0 Go")
                await dialogue.writer.start_tls(self._tls)
                dialogue.secure = True
            case "AUTH" if self._users:
                await self._login(dialogue, text)
            case "MAIL" | "RCPT":
                await self._path(dialogue, verb, text)
            case "DATA" if dialogue.recipients:
                await self._say(dialogue, "354 Go on")
                await self._content(dialogue)
            case "RSET" | "NOOP":
                if verb == "RSET":
                    dialogue.mail_from, dialogue.recipients = None, []
                await self._say(dialogue, "250 2.0.0 Ok")
            case "QUIT":
                await self._say(dialogue, "221 2.0.0 Bye")
                return True
            case _:
                # A pipelining client may send DATA after every recipient was refused: that is no breach.
                if verb != "DATA":
                    self._fault(f"command {text[:80]!r}")
                await self._say(dialogue, "503 5.5.1 Not now")
        return False

    async def _login(self, dialogue: _Dialogue, text: bytes) -> None:
        _, _, user, password = (
            b"\0" + base64.b64decode(text.split(b" ")[2]) if text.upper().startswith(b"AUTH PLAIN ") else b"\0\0\0"
        ).split(b"\0")
        name, word = user.decode(), password.decode()
        if self._users and self._users.get(name) == word:
            dialogue.login = (name, word)
            await self._say(dialogue, "235 2.7.0 Ok")
        else:
            await self._say(dialogue, "535 5.7.8 No")

    async def _path(self, dialogue: _Dialogue, verb: str, text: bytes) -> None:
        found = _PATH.fullmatch(text)
        if found is None:
            self._fault(f"path {text[:80]!r}")
            await self._say(dialogue, "501 5.5.4 Syntax")
            return
        path = found[1].decode()
        if verb == "MAIL":
            if self._users and dialogue.login is None:
                await self._say(dialogue, "530 5.7.0 Authentication required")
                return
            dialogue.mail_from, dialogue.recipients = path, []
        elif dialogue.mail_from is None:
            await self._say(dialogue, "503 5.5.1 MAIL first")
            return
        else:
            dialogue.recipients.append(path)
        await self._say(dialogue, "250 2.1.0 Ok")

    async def _content(self, dialogue: _Dialogue) -> None:
        lines: list[bytes] = []
        while (line := await dialogue.reader.readuntil(b"\n")) != b".\r\n":
            if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line or len(line) > _LINE_MAX + 1:
                self._fault(f"content line of {len(line)} octets {line[:80]!r}")
            lines.append(line[1:] if line.startswith(b".") else line)
        if self.body_delay_s:
            await asyncio.sleep(self.body_delay_s)
        data = b"".join(lines)
        special = self.answer(".", data.decode("latin-1"))
        if special == "close":
            dialogue.writer.transport.abort()
            raise ConnectionAbortedError
        if special is None or special.startswith("2"):
            letter = Letter(
                mail_from=dialogue.mail_from or "",
                recipients=tuple(dialogue.recipients),
                data=data,
                at=time.monotonic(),
                over_tls=dialogue.secure,
                login=dialogue.login,
            )
            # Taken before it is answered: a relay that is killed here has delivered, whether it learns so or not.
            with self._changed:
                self.letters.append(letter)
                self._changed.notify_all()
        dialogue.mail_from, dialogue.recipients = None, []
        await self._say(dialogue, special or "250 2.0.0 Ok: taken")

    async def _say(self, dialogue: _Dialogue, *lines: str) -> None:
        dialogue.writer.write("".join(line + "\r\n" for line in lines).encode("latin-1"))
        await dialogue.writer.drain()

    def _fault(self, what: str) -> None:
        with self._changed:
            self.faults.append(what)
