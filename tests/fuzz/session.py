"""The server's session against any client.

However the stream is cut the same is heard and said (but where the protocol itself looks at what came along: behind
STARTTLS and behind a refused DATA). Nothing is asked for before a login, no login in clear text; every reply is well
formed and shows nothing that is not printable; memory is bounded; the end is said once.
"""

from __future__ import annotations

import re

from sekisho.wire.smtp import answers
from sekisho.wire.smtp.framing import Content, ContentLimits
from sekisho.wire.smtp.grammar import AUTH_LINE_MAX_BYTES, Mail
from sekisho.wire.smtp.reply import Reply, reply
from sekisho.wire.smtp.sasl import Credentials
from sekisho.wire.smtp.server import (
    Closed,
    ContentRefused,
    Event,
    Recipient,
    ServerSession,
    SessionLimits,
    StartTls,
    State,
)
from tests.fuzz.drawing import Draw

TOKENS = (
    b"EHLO a\r\n", b"HELO a\r\n", b"STARTTLS\r\n", b"AUTH PLAIN AGFwaWtleQBrZXk=\r\n", b"AUTH LOGIN\r\n",
    b"YXBpa2V5\r\n", b"AUTH PLAIN AGFwaWtleQBubw==\r\n", b"*\r\n", b"MAIL FROM:<a@b.example>\r\n",
    b"RCPT TO:<c@d.example>\r\n", b"RCPT TO:<c@[127.0.0.1]>\r\n", b"MAIL FROM:<no@b.example>\r\n", b"DATA\r\n",
    b"A: b\r\n\r\nbody\r\n", b".\r\n", b"\r\n.\r\n", b"\n.\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"BDAT 3\r\n",
    b"GET / HTTP/1.1\r\n", b"\0", b"\r", b"\n", b"VRFY x\r\n", b"HELP\r\n", b"\xff", b"x" * 1100,
    b"RCPT TO:<gone@d.example>\r\n",
)  # fmt: skip

LIMITS = SessionLimits(ContentLimits(4000, 1000, 20), recipients=3, messages=4, errors=5, logins=2, idle_commands=10)
OK = reply(250, "2.0.0", "Ok")
NO = reply(550, "5.7.1", "No")
GONE = reply(421, "4.7.0", "Gone")
_CHUNK_MAX_BYTES = 4096

_line = re.compile(rb"(?:[2-5][0-9]{2}[ -][ -~]*|334 [A-Za-z0-9+/=]*)\r\n").fullmatch


def target(data: bytes) -> None:
    draw = Draw(data)
    welcome, tls = draw.flag(), draw.flag()
    chunks = draw.chunks()
    first = _Dialogue(welcome=welcome, tls=tls)
    for chunk in chunks:
        first.hear(chunk)
    whole = _Dialogue(welcome=welcome, tls=tls)
    whole.hear(b"".join(chunks))
    if not first.looked_behind and not whole.looked_behind:
        assert first.events == whole.events
        assert _alike(first.said) == _alike(whole.said)
    assert first.session.messages <= LIMITS.messages


class _Dialogue:
    """One session with a driver that answers at once and checks as it goes."""

    def __init__(self, *, welcome: bool, tls: bool) -> None:
        self.session = ServerSession("mx.test", LIMITS, tls=tls or welcome)
        self.events: list[object] = []
        self.said = self.session.take_output()
        self.looked_behind = False
        self._authenticated = False
        if welcome:
            self.hear(b"EHLO a\r\nAUTH PLAIN AGFwaWtleQBrZXk=\r\n")
            assert self._authenticated

    def hear(self, chunk: bytes) -> None:
        session = self.session
        session.receive(chunk)
        while (event := session.next_event()) is not None:
            assert not any(isinstance(before, Closed) for before in self.events)
            self.events.append(_plain(event))
            self._act(event)
        said = session.take_output()
        assert all(_line(line) for line in said.splitlines(keepends=True))
        self.said += said
        assert session.held_bytes <= max(AUTH_LINE_MAX_BYTES, LIMITS.content.size_bytes) + _CHUNK_MAX_BYTES
        assert session.authenticated == (self._authenticated and session.tls)
        assert session.recipients <= LIMITS.recipients
        if session.state is State.CLOSED:
            assert isinstance(self.events[-1], Closed)
            assert session.held_bytes == 0

    def _act(self, event: Event) -> None:
        session = self.session
        match event:
            case StartTls():
                assert not session.tls
                self.looked_behind = True
                self.said += session.take_output()
                session.tls_started()
                assert session.client_name == ""
            case Credentials(_, password):
                assert session.tls
                self._authenticated = password == b"key"
                session.answer(OK if self._authenticated else NO)
            case Mail(path):
                assert self._authenticated
                session.answer(_answer(path))
            case Recipient(mailbox, already):
                assert self._authenticated
                assert already == session.recipients < LIMITS.recipients
                session.answer(NO if mailbox.domain.startswith("[") else _answer(mailbox.local))
            case Content() as content:
                assert self._authenticated
                assert session.recipients
                assert content.size_bytes <= LIMITS.content.size_bytes
                session.answer(OK)
            case ContentRefused():
                assert self._authenticated
            case Closed(why):
                self.looked_behind |= "behind" in why


def _answer(name: str) -> Reply:
    return NO if name.startswith("no") else GONE if name.startswith("gone") else OK


def _alike(said: bytes) -> bytes:
    """Which of several faults of a content is named depends on what was there to be seen."""
    for fault in answers.CONTENT.values():
        said = said.replace(bytes(fault), b"554 5.6.0 some fault\r\n")
    return said


def _plain(event: Event) -> object:
    if isinstance(event, Content):
        return event.header, event.body, event.eight_bit, event.size_bytes
    return ContentRefused if isinstance(event, ContentRefused) else event
