"""What an answer or a failed connection means for a recipient: done, never, or not now.

The two types of bounce are the vendor's (events sheet §4): ``bounce`` says that the address is bad and will be bad
tomorrow, so it may be suppressed; ``blocked`` says that this message, its sender or its host was refused. Which of
the two a refusal is, ``sekisho.delivery.answers`` reads from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.delivery import answers
from sekisho.queue.model import NOWHERE, Bounced, Classification, Delivered, Remote
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
    classification: Classification = Classification.UNCLASSIFIED
    is_fault: bool = False
    """The fault is our own, with this one message: after a few of them it is set aside (settling.py)."""
    is_lasting: bool = False
    """Such a fault that no further attempt can mend: it is set aside at once."""


Verdict = Delivered | Bounced | Temporary


def of_answer(answer: Answer, remote: Remote, *, shared: bool = False) -> Verdict:
    """Judge the reply that decided a recipient's fate. ``shared``: its transaction had other recipients as well."""
    reply = answer.reply
    text = one_line(str(reply))
    if answer.stage is Stage.CONTENT and reply.is_positive:
        return Delivered(text, remote)
    reading = answers.read(answer, shared=shared)
    if not reply.is_permanent:
        return Temporary(text, reply.enhanced, remote, reading.classification)
    if answers.means_later(answer, shared=shared):
        return Temporary(text, "4.5.3", remote, Classification.FREQUENCY)
    return Bounced(text, reading.type, reply.enhanced, remote, reading.classification)


_FAILURE_STATUS: dict[FailureKind, str] = {
    FailureKind.CERTIFICATE: "4.7.5",
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
    status, reply = _FAILURE_STATUS[failure.kind], failure.reply
    if reply is None:
        is_fault = failure.kind is FailureKind.OURS
        return Temporary(one_line(f"{status} {failure.text}"), status, remote, Classification.TECHNICAL, is_fault)
    reading = answers.read(Answer(Stage.GREETING, reply), shared=False)
    status = reply.enhanced if reply.is_temporary else status
    return Temporary(one_line(failure.text), status, remote, reading.classification)


NO_ROUTE = Temporary("4.4.4 no route for this recipient's domain", "4.4.4")


def one_line(text: str) -> str:
    """Bound and escape what a stranger said, for events and logs."""
    text = printable(text[:REPLY_MAX])
    return text if len(text) <= REPLY_MAX else text[: REPLY_MAX - 1] + "…"
