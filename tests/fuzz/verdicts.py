"""What a host's answer means: from any bytes to a verdict, and from that to an event that is stored and read back.

Only a positive answer to the content delivers; a 5xx bounces (or means later), all else waits. What is kept of the
text is one bounded line. Only what may be about a recipient says that the address is bad, and an address within the
text, which anybody may choose, changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from sekisho.delivery import answers
from sekisho.delivery.verdict import REPLY_MAX, Temporary, of_answer
from sekisho.events import record
from sekisho.ids import AccountId, KeyId, MessageId
from sekisho.queue.model import (
    NOWHERE,
    Bounced,
    BounceType,
    Deferred,
    Delivered,
    Delivery,
    Message,
    Outcome,
    Recipient,
)
from sekisho.queue.spool import Settlement
from sekisho.wire.smtp.dialogue import Answer, Stage
from sekisho.wire.smtp.reply import Reply, ReplyParser
from tests.fuzz.drawing import Draw

TOKENS = (
    b"550 5.1.1 ", b"550 5.7.1 ", b"552 ", b"421 4.7.0 ", b"451 ", b"250 2.0.0 ", b"554-5.7.26 ", b"\r\n", b" ", b"@",
    b"user unknown", b"does not exist", b"mailbox full", b"blocklist", b"spamhaus", b"too many recipients", b"policy",
    b"dmarc", b"rate limit", b"\xc4\xb0", b"\xff", b"\x1b[0m", b"\xe2\x80\xae", b"\0", b"x" * 600, b"5.5.3", b"554 ",
)  # fmt: skip

_STAGES = tuple(Stage)
_MESSAGE = Message(
    id=MessageId(bytes(16)),
    accepted_ms=1,
    account_id=AccountId(1),
    subuser_id=None,
    key_id=KeyId("k" * 22),
    mail_from="",
    from_domain="example.test",
    header=b"",
    body=b"",
    eight_bit=False,
    smtp_id="<1@example.test>",
)
_DELIVERY = Delivery(1, _MESSAGE, Recipient(0, "a@b.example"), 0, 1)


def target(data: bytes) -> None:
    draw = Draw(data)
    stage, shared = _STAGES[draw.octet() % len(_STAGES)], draw.flag()
    for heard in ReplyParser().feed(draw.rest()):
        if isinstance(heard, Reply):
            _check(Answer(stage, heard), shared=shared)


def _check(answer: Answer, *, shared: bool) -> None:
    reply = answer.reply
    verdict = of_answer(answer, NOWHERE, shared=shared)
    assert len(verdict.reply) <= REPLY_MAX
    assert verdict.reply.isprintable()
    outcome: Outcome
    match verdict:
        case Delivered():
            assert reply.is_positive
            assert answer.stage is Stage.CONTENT
            outcome = verdict
        case Bounced(type=kind, status=status):
            assert reply.is_permanent
            assert status[:1] in ("", "5")
            if kind is BounceType.BOUNCE:
                assert answer.stage in (Stage.RCPT, Stage.DATA, Stage.CONTENT)
                assert answer.stage is Stage.RCPT or not shared
            outcome = verdict
        case Temporary(status=status):
            assert not reply.is_positive or answer.stage is not Stage.CONTENT
            assert not reply.is_permanent or answers.means_later(answer, shared=shared)
            outcome = Deferred(verdict.reply, 2, status)
    last = record.decode(record.encode(Settlement(_DELIVERY, outcome, 2))[-1])
    assert last.reply == verdict.reply
    named = replace(reply, lines=(*reply.lines[:-1], reply.lines[-1] + " <user-unknown.spamhaus@too-many-recipients>"))
    assert answers.read(Answer(answer.stage, named), shared=shared) == answers.read(answer, shared=shared)
