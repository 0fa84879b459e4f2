"""Every dialogue against the session core alone: no socket, no clock, no task."""

from __future__ import annotations

import itertools
from collections.abc import Coroutine
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sekisho.doors.smtp import replies
from sekisho.doors.smtp.bounds import Limits
from sekisho.doors.smtp.replies import Stage
from sekisho.identity import Identity
from sekisho.refusal import Refused
from sekisho.secret import Secret
from sekisho.submission import Submission
from sekisho.wire.smtp.framing import Content
from sekisho.wire.smtp.grammar import Mail
from sekisho.wire.smtp.sasl import Credentials
from sekisho.wire.smtp.server import Closed, ContentRefused, Recipient, ServerSession, StartTls
from tests.dialogues import script
from tests.fakes.smtpgate import FakeGate

T = TypeVar("T")

LIMITS = Limits(message_bytes=2000, header_bytes=1000, header_fields=20, recipients=3, messages=2)


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    message = "it waited"
    raise AssertionError(message)


class Driver:
    """The smallest thing that answers a session's questions."""

    def __init__(self, *, tls: bool) -> None:
        self.gate = FakeGate()
        self.session = ServerSession("mx.test", LIMITS.session(), tls=tls)
        self.closed = False
        self._identity: Identity | None = None
        self._unread = b""

    def send(self, data: bytes) -> None:
        self.session.receive(data)
        while (event := self.session.next_event()) is not None:
            match event:
                case Credentials(username, password):
                    found = now(self.gate.authenticate(username, Secret(password), IPv4Address("192.0.2.1")))
                    if isinstance(found, Refused):
                        answer = replies.to_smtp(found, Stage.AUTH)
                        self.session.answer(answer, close=replies.closes(found, Stage.AUTH))
                    else:
                        self._identity = found
                        self.session.answer(replies.AUTHENTICATED)
                case Mail():
                    self.session.answer(replies.SENDER_OK)
                case Recipient(mailbox, already):
                    no = self.gate.recipient(self._who, mailbox, already)
                    self.session.answer(replies.RECIPIENT_OK if no is None else replies.to_smtp(no, Stage.ENVELOPE))
                case Content(header, body, eight_bit):
                    submission = Submission(self._who, "", (), header, body, b"", eight_bit)
                    took = now(self.gate.accept(submission))
                    self.session.answer(
                        replies.to_smtp(took, Stage.CONTENT)
                        if isinstance(took, Refused)
                        else replies.queued(took.message_id)
                    )
                case Closed():
                    self.closed = True
                case StartTls() | ContentRefused():
                    pass

    @property
    def _who(self) -> Identity:
        assert self._identity is not None
        return self._identity

    def line(self) -> str:
        self._unread += self.session.take_output()
        line, end, self._unread = self._unread.partition(b"\r\n")
        assert end, f"nothing said (closed: {self.closed}, unread: {line!r})"
        return line.decode()

    def quiet(self) -> bool:
        return not self._unread + self.session.take_output()


@pytest.mark.parametrize("octet_by_octet", [False, True], ids=["whole", "octets"])
@pytest.mark.parametrize("path", script.scripts(), ids=lambda path: path.stem)
def test_dialogue(path: Path, octet_by_octet: bool) -> None:
    steps = script.steps(path)
    octet_by_octet = octet_by_octet and script.Whole() not in steps
    implicit = isinstance(steps[0], script.Tls)
    driver = Driver(tls=implicit)
    for step in itertools.islice(steps, int(implicit), None):
        match step:
            case script.Send(data):
                if octet_by_octet:
                    for octet in data:
                        driver.send(bytes([octet]))
                else:
                    driver.send(data)
            case script.Expect() as expected:
                heard = driver.line()
                assert expected.fits(heard), f"{path.name}:{expected.line} {expected.text!r} != {heard!r}"
            case script.Tls():
                assert driver.quiet()
                driver.session.tls_started()
            case script.Whole():
                pass
            case script.Closed():
                assert driver.closed
                assert driver.quiet()
    assert driver.quiet(), driver.line()
