"""Our side of a delivery against any host.

Nothing raises. All that is said is our own commands, whole, in an order that makes sense: no octet of a reply comes
back out, a content is only sent once for each 354, credentials only inside TLS. Every transaction finishes exactly
once with an answer per recipient, nobody counts as delivered whose content was not sent, and a host that answers line
by line is understood however its lines are cut.
"""

from __future__ import annotations

import re

from sekisho.secret import Secret
from sekisho.wire.smtp.client import ClientSession
from sekisho.wire.smtp.dialogue import (
    Envelope,
    Event,
    Failed,
    Finished,
    Idle,
    Login,
    SendContent,
    Stage,
    StartTls,
    TlsWish,
)
from tests.fuzz.drawing import Draw

TOKENS = (
    b"220 mx\r\n", b"250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n",
    b"250 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"250-mx\r\n250-SIZE 9\r\n250 PIPELINING\r\n",
    b"250-mx\r\n250 AUTH=LOGIN\r\n", b"250 2.0.0 Ok\r\n", b"354 go\r\n", b"334 VXNlcm5hbWU6\r\n", b"235 2.7.0 in\r\n",
    b"550 5.1.1 no\r\n", b"451 later\r\n", b"421 bye\r\n", b"221 bye\r\n", b"502 what\r\n", b"250-", b"\r\n", b"\n",
    b"\r", b"QUIT\r\n", b"MAIL FROM:<evil@x>\r\n", b"299 x\r\n", b"399 x\r\n", b"250 ok\r\n" * 5,
)  # fmt: skip

_CONTENT = b"Subject: x\r\n\r\n..hello\r\n.\r\n"
_SAID = re.compile(
    rb"(?:(EHLO us\.test|HELO us\.test|STARTTLS|AUTH PLAIN AG1lAHNlY3JldA==|AUTH LOGIN|bWU=|c2VjcmV0"
    rb"|MAIL FROM:<b@us\.test>(?: SIZE=500)?(?: BODY=8BITMIME)?|RCPT TO:<r[01]@x\.test>|DATA|RSET|QUIT|\.)\r\n"
    rb"|(" + re.escape(_CONTENT) + rb"))"
)
_SECRETS = (b"AUTH PLAIN AG1lAHNlY3JldA==", b"bWU=", b"c2VjcmV0")


def target(data: bytes) -> None:
    draw = Draw(data)
    settings = draw.octet()
    chunks = draw.chunks()
    _Driver(settings).run(chunks)
    # Lines that come one at a time, each whole or in two halves, are the same dialogue.
    lines = [line + b"\n" for line in b"".join(chunks).split(b"\n")[:-1]]
    halves = [half for line in lines for half in (line[: len(line) // 2], line[len(line) // 2 :]) if half]
    by_lines, by_halves = _Driver(settings), _Driver(settings)
    by_lines.run(lines)
    by_halves.run(halves)
    assert by_lines.events == by_halves.events
    assert by_lines.said == by_halves.said


class _Driver:
    """Does as the pool does: begins whenever it may, sends whatever is asked for, and keeps the books."""

    def __init__(self, settings: int) -> None:
        self._wish = list(TlsWish)[settings % 3]
        login = Login("me", Secret("secret")) if settings & 4 and self._wish is TlsWish.ALWAYS else None
        self._recipients = 1 + (settings >> 3 & 1)
        self._ahead = bool(settings & 16)
        self._quits_after = 1 + (settings >> 5 & 3)
        self._eight_bit = bool(settings & 128)
        self._session: ClientSession[int] = ClientSession("us.test", self._wish, login)
        self._protected = False
        self._begun = 0
        self._sent: list[int] = []
        self.events: list[Event[int]] = []
        self.said = b""

    def run(self, chunks: list[bytes]) -> None:
        session = self._session
        for chunk in chunks:
            over = session.is_over
            heard = session.receive(chunk)
            assert not over or not heard
            self._act(heard)
            self._take_output()
        self._act(session.closed())
        self._take_output()
        assert session.is_over
        self._check()

    def _act(self, heard: list[Event[int]]) -> None:
        session = self._session
        sent_before = set(self._sent)
        for event in heard:
            self.events.append(event)
            match event:
                case Finished(tag, answers):
                    # An acceptance counts only if it was said after the whole content had been.
                    accepted = any(answer and answer.reply.is_positive for answer in answers)
                    assert not accepted or tag in sent_before
                case StartTls():
                    assert not self._protected
                    self._take_output()
                    self._protected = True
                    session.tls_started()
                case SendContent(tag):
                    assert tag not in self._sent
                    self._sent.append(tag)
                    session.send_content(b"Subject: x\r\n", b".hello\r\n")
                    if self._ahead and session.can_begin:
                        self._begin()
                case Idle():
                    assert self._wish is not TlsWish.ALWAYS or self._protected
                    if self._begun >= self._quits_after:
                        session.quit()
                    else:
                        self._begin()
                case _:
                    pass

    def _begin(self) -> None:
        recipients = tuple(f"r{number}@x.test" for number in range(self._recipients))
        envelope = Envelope("b@us.test", recipients, 500, eight_bit=self._eight_bit)
        if self._session.objection(envelope) is None:
            self._session.begin(envelope, self._begun)
            self._begun += 1

    def _take_output(self) -> None:
        said = self._session.output()
        at = 0
        while at < len(said):
            found = _SAID.match(said, at)
            assert found is not None, said[at:]
            assert found[1] not in _SECRETS or self._protected
            at = found.end()
        self.said += said

    def _check(self) -> None:
        finished = [event for event in self.events if isinstance(event, Finished)]
        assert [event.tag for event in finished] == list(range(self._begun))
        failed = [number for number, event in enumerate(self.events) if isinstance(event, Failed)]
        assert len(failed) <= 1
        for number, event in enumerate(self.events):
            if not isinstance(event, Finished):
                continue
            assert len(event.answers) == self._recipients
            for answer in event.answers:
                assert answer is not None or (failed and failed[0] < number)
                if answer is not None and answer.reply.is_positive:
                    assert answer.stage is Stage.CONTENT
        assert self.said.count(_CONTENT) <= len(self._sent)
