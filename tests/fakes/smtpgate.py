"""A gate whose answers are written in the question: what a dialogue says decides what it hears.

The password names a Reason of login (``auth.disabled``), the domain of a recipient one of RCPT
(``limit.rate.example``), a ``Refuse:`` header field one of the end of content.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sekisho.identity import Identity, IPAddress, KeyPolicy
from sekisho.ids import AccountId, KeyId, MessageId
from sekisho.refusal import Reason, Refused
from sekisho.secret import Secret
from sekisho.submission import Accepted, Submission
from sekisho.wire.mail.address import Mailbox

GOOD = b"good"
MESSAGE_ID = MessageId(bytes(16))

_REASONS = {reason.value: reason for reason in Reason}


def identity(key: str = "k" * 22) -> Identity:
    return Identity(AccountId(1), None, KeyId(key), frozenset({"mail.send"}), KeyPolicy())


@dataclass
class FakeGate:
    """Implements ``doors.smtp.session.Gate``."""

    submissions: list[Submission] = field(default_factory=list)
    logins: list[tuple[bytes, IPAddress]] = field(default_factory=list)
    ended: Refused | None = None
    """What ``admits`` says from now on."""
    open: asyncio.Event | None = None
    """Set it to let ``accept`` finish; None: it does at once."""
    error: Exception | None = None

    async def authenticate(self, username: bytes, password: Secret[bytes], address: IPAddress) -> Identity | Refused:
        self.logins.append((username, address))
        if self.error is not None:
            raise self.error
        if username != b"apikey":
            return Refused(Reason.AUTH_BAD_USERNAME)
        word = password.reveal()
        if word.startswith(GOOD):
            return identity(word.decode().ljust(22, "k"))
        return Refused(_REASONS.get(word.decode("ascii", "replace"), Reason.AUTH_BAD_KEY), "nothing for strangers")

    def admits(self, identity: Identity) -> Refused | None:  # noqa: ARG002 - the port's
        return self.ended

    def recipient(self, identity: Identity, recipient: Mailbox, already: int) -> Refused | None:  # noqa: ARG002
        if recipient.domain.startswith("["):
            return Refused(Reason.RECIPIENT_LITERAL, recipient.domain)
        reason = _REASONS.get(recipient.domain.removesuffix(".example"))
        return None if reason is None else Refused(reason)

    async def accept(self, submission: Submission) -> Accepted | Refused:
        if self.open is not None:
            await self.open.wait()
        if self.error is not None:
            raise self.error
        for line in submission.header.split(b"\r\n"):
            if line.startswith(b"Refuse: "):
                name, _, detail = line[8:].decode().partition(" ")
                return Refused(_REASONS[name], detail)
        self.submissions.append(submission)
        return Accepted(MESSAGE_ID)
