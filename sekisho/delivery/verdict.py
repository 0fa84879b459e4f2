"""What an answer or a failed connection means for a recipient: tables, no state.

The two types of bounce are the vendor's (events sheet §4): ``bounce`` says that the address is bad and will be bad
tomorrow, so it may be suppressed; ``blocked`` says that this message, its sender or its host was refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.queue.model import NOWHERE, Bounced, BounceType, Delivered, Remote
from sekisho.wire.smtp.dialogue import Answer, Failure, FailureKind, Stage
from sekisho.wire.smtp.reply import printable

REPLY_MAX = 512
"""Characters of a remote's answer that are kept: RFC 5321 §4.5.3.1.5's reply line."""


@dataclass(frozen=True, slots=True)
class Temporary:
    """Not now. The queue decides whether that means Deferred or, by age, Expired."""

    reply: str
    status: str = ""
    remote: Remote = NOWHERE


Verdict = Delivered | Bounced | Temporary


_BY_STATUS: tuple[tuple[str, BounceType], ...] = (
    ("5.1.7", BounceType.BLOCKED),  # the sender's address, not the recipient's
    ("5.1.8", BounceType.BLOCKED),  # the same
    ("5.1.", BounceType.BOUNCE),  # no such mailbox, no such domain, moved without address
    ("5.2.1", BounceType.BOUNCE),  # mailbox disabled
    ("5.2.", BounceType.BLOCKED),  # mailbox full (5.2.2), message too long for it
    ("5.3.", BounceType.BLOCKED),  # the host's system
    ("5.4.", BounceType.BLOCKED),  # network and routing
    ("5.5.", BounceType.BLOCKED),  # protocol
    ("5.6.", BounceType.BLOCKED),  # content
    ("5.7.", BounceType.BLOCKED),  # policy, reputation, authentication
)
"""Longest prefix first. Class 5.0 says nothing; the code decides then, as without any status."""

_BAD_ADDRESS_CODES = frozenset({550, 551, 553})
"""RFC 5321 §4.2.3: mailbox unavailable, not local, name not allowed. Only after RCPT is that the recipient's."""


def of_answer(answer: Answer, remote: Remote) -> Verdict:
    """Judge the reply that decided a recipient's fate."""
    reply = answer.reply
    text = one_line(str(reply))
    if answer.stage is Stage.CONTENT and reply.is_positive:
        return Delivered(text, remote)
    if reply.is_permanent:
        return Bounced(text, _bounce_type(answer.stage, reply.code, reply.enhanced), reply.enhanced, remote)
    return Temporary(text, reply.enhanced, remote)


def _bounce_type(stage: Stage, code: int, status: str) -> BounceType:
    if stage is Stage.MAIL:
        return BounceType.BLOCKED  # whatever it says, it was said before the host knew a recipient
    for prefix, kind in _BY_STATUS:
        if status.startswith(prefix):
            return kind
    return BounceType.BOUNCE if stage is Stage.RCPT and code in _BAD_ADDRESS_CODES else BounceType.BLOCKED


_FAILURE_STATUS: dict[FailureKind, str] = {
    FailureKind.CLOSED: "4.4.2",
    FailureKind.CONNECT: "4.4.1",
    FailureKind.GARBAGE: "4.5.0",
    FailureKind.NO_AUTH: "4.7.0",
    FailureKind.NO_TLS: "4.7.4",
    FailureKind.OURS: "4.3.0",
    FailureKind.REFUSED: "",  # the reply's own, if any
    FailureKind.TIMEOUT: "4.4.2",
    FailureKind.TLS: "4.7.5",
}


def of_failure(failure: Failure, remote: Remote) -> Temporary:
    """Judge a connection that came to nothing: never a reason to bounce, since nobody refused the message.

    That covers 5xx greetings and refused logins as well: they are about us, and the operator can mend them.
    """
    status = _FAILURE_STATUS[failure.kind]
    if failure.reply is not None and failure.reply.is_temporary:
        status = failure.reply.enhanced
    text = failure.text if failure.reply is not None else f"{status} {failure.text}"
    return Temporary(one_line(text), status, remote)


NO_ROUTE = Temporary("4.4.4 no route for this recipient's domain", "4.4.4")


def one_line(text: str) -> str:
    """Bound and escape what a stranger said, for events and logs."""
    text = printable(text[:REPLY_MAX])
    return text if len(text) <= REPLY_MAX else text[: REPLY_MAX - 1] + "…"
