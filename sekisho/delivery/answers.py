"""Whom a refusal is about, and what for: pure, and the same for every answer of every host.

In this order:

1. **Stage.** What was said before a recipient was named, or behind a content that several recipients share, is never
   about one of them.
2. **Enhanced status** (RFC 3463, RFC 5248, RFC 7505), where it says something.
3. **Basic code**, where there is no such status. Only 551 is about the recipient by itself: 550 and 553 are also
   "command rejected for policy reasons" (RFC 5321 §4.2.2, §4.2.3).
4. **Text**, which corrects the two, since hosts lie. A phrase about us always does; one about the recipient only where
   status and code leave it open.

What is left open is ours: a wrong suppression loses mail for ever, a wrong block costs one attempt.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sekisho.delivery.wordings import WORDINGS, Wordings
from sekisho.queue.model import BounceType, Classification
from sekisho.wire.smtp.dialogue import Answer, Stage
from sekisho.wire.smtp.reply import Reply

READ_MAX = 2048
"""Characters of a reply that are looked at; beyond them nobody tells reasons."""


class _Says(enum.Enum):
    """What a status says about whom it is about."""

    RECIPIENT = "recipient"
    US = "us"
    NOTHING = "nothing"  # the text decides


@dataclass(frozen=True, slots=True)
class Reading:
    """What was understood of a refusal."""

    type: BounceType
    classification: Classification


_WITH_CONTENT = frozenset({Stage.DATA, Stage.CONTENT})

_C = Classification
_STATUS: dict[str, tuple[_Says, Classification]] = {
    "1.1": (_Says.RECIPIENT, _C.INVALID_ADDRESS),  # no such mailbox
    "1.2": (_Says.RECIPIENT, _C.INVALID_ADDRESS),  # no such domain
    "1.3": (_Says.RECIPIENT, _C.INVALID_ADDRESS),  # syntax
    "1.4": (_Says.RECIPIENT, _C.INVALID_ADDRESS),  # ambiguous
    "1.6": (_Says.RECIPIENT, _C.INVALID_ADDRESS),  # moved, and nobody knows where to
    "1.7": (_Says.US, _C.TECHNICAL),  # the sender's address
    "1.8": (_Says.US, _C.TECHNICAL),  # the sender's domain
    "1.9": (_Says.US, _C.TECHNICAL),
    "1.10": (_Says.RECIPIENT, _C.INVALID_ADDRESS),  # null MX
    "2.0": (_Says.NOTHING, _C.MAILBOX_UNAVAILABLE),
    "2.1": (_Says.RECIPIENT, _C.MAILBOX_UNAVAILABLE),  # disabled
    "2.2": (_Says.US, _C.MAILBOX_UNAVAILABLE),  # full: the address is good
    "2.3": (_Says.US, _C.CONTENT),  # too long for this mailbox
    "2.4": (_Says.US, _C.TECHNICAL),  # mailing list trouble
    "3.0": (_Says.NOTHING, _C.TECHNICAL),
    "3.4": (_Says.US, _C.CONTENT),  # too big
    "4.0": (_Says.NOTHING, _C.TECHNICAL),
    "4.1": (_Says.NOTHING, _C.TECHNICAL),  # Outlook's word for an unknown recipient, too
    "5.0": (_Says.NOTHING, _C.TECHNICAL),  # the same
    "5.3": (_Says.US, _C.FREQUENCY),  # too many recipients
    "7.0": (_Says.NOTHING, _C.UNCLASSIFIED),
    "7.1": (_Says.NOTHING, _C.UNCLASSIFIED),  # the commonest of all, for anything
    "7.4": (_Says.US, _C.TECHNICAL),
    "7.5": (_Says.US, _C.TECHNICAL),
    "7.8": (_Says.US, _C.TECHNICAL),
    "7.9": (_Says.US, _C.REPUTATION),  # Yahoo: policy; RFC 5248: mechanism too weak
    "7.10": (_Says.US, _C.TECHNICAL),
    "7.11": (_Says.US, _C.TECHNICAL),
    "7.20": (_Says.US, _C.REPUTATION),  # no passing DKIM signature; up to 7.22
    "7.21": (_Says.US, _C.REPUTATION),
    "7.22": (_Says.US, _C.REPUTATION),
    "7.23": (_Says.US, _C.REPUTATION),  # SPF
    "7.24": (_Says.US, _C.TECHNICAL),  # SPF could not be looked up
    "7.25": (_Says.US, _C.REPUTATION),  # reverse DNS
    "7.26": (_Says.US, _C.REPUTATION),  # several checks failed, DMARC
    "7.27": (_Says.US, _C.TECHNICAL),  # the sender's null MX
    "7.28": (_Says.US, _C.FREQUENCY),  # mail flood
    "7.29": (_Says.US, _C.REPUTATION),  # ARC
}
"""By ``subject.detail``; a status that is not here goes by its subject."""

_SUBJECT: dict[str, tuple[_Says, Classification]] = {
    "1": (_Says.NOTHING, _C.UNCLASSIFIED),  # 1.0 is used of senders as well
    "2": (_Says.US, _C.MAILBOX_UNAVAILABLE),
    "3": (_Says.US, _C.TECHNICAL),
    "4": (_Says.US, _C.TECHNICAL),
    "5": (_Says.US, _C.TECHNICAL),
    "6": (_Says.US, _C.CONTENT),
    "7": (_Says.US, _C.UNCLASSIFIED),
}

_CODE: dict[int, tuple[_Says, Classification]] = {
    421: (_Says.NOTHING, _C.TECHNICAL),
    551: (_Says.RECIPIENT, _C.INVALID_ADDRESS),  # not local
    552: (_Says.NOTHING, _C.MAILBOX_UNAVAILABLE),  # exceeded storage; Yahoo has it for unknown users
}
"""For replies without a status that says something; any other code says nothing."""


def read(answer: Answer, *, shared: bool) -> Reading:
    """Understand a refusal. ``shared``: the transaction had other recipients as well."""
    says, classification = _of_numbers(answer.reply)
    type_ = BounceType.BOUNCE if says is _Says.RECIPIENT else BounceType.BLOCKED
    found = _wording(words(answer.reply))
    if found is not None and (found.type is BounceType.BLOCKED or says is not _Says.US):
        type_, classification = found.type, found.classification
    if type_ is BounceType.BOUNCE and not _may_be_about_a_recipient(answer, shared=shared):
        return Reading(BounceType.BLOCKED, Classification.UNCLASSIFIED)
    return Reading(type_, classification)


def means_later(answer: Answer, *, shared: bool) -> bool:
    """Tell whether a 5xx is a "not now" all the same: too many recipients, and no other.

    RFC 5321 §4.5.3.1.10: RFC 821 had 552 for it, and clients should treat that as temporary. Where the transaction
    has one recipient, a bare 552 is what it says, a full mailbox.
    """
    reply = answer.reply
    if answer.stage is not Stage.RCPT or not reply.is_permanent:
        return False
    if reply.enhanced == "5.5.3" or "too many recipients" in words(reply):
        return True
    return shared and reply.code == 552 and not reply.enhanced


def words(reply: Reply) -> str:
    """Give what phrases are looked for in: one line, lower case, without the addresses, which anybody may choose."""
    text = f"{reply.code} {reply.enhanced} {reply.text[:READ_MAX]}".lower()
    return " ".join(word for word in text.split() if "@" not in word)


def _of_numbers(reply: Reply) -> tuple[_Says, Classification]:
    _, _, status = reply.enhanced.partition(".")
    subject = status.partition(".")[0]
    if subject in _SUBJECT:
        return _STATUS.get(status) or _SUBJECT[subject]
    return _CODE.get(reply.code, (_Says.NOTHING, _C.UNCLASSIFIED))


def _wording(text: str) -> Wordings | None:
    return next((row for row in WORDINGS if any(phrase in text for phrase in row.phrases)), None)


def _may_be_about_a_recipient(answer: Answer, *, shared: bool) -> bool:
    if answer.stage is Stage.RCPT:
        return True
    # Some hosts look a recipient up when they have the content. A policy's status there is about the content.
    return answer.stage in _WITH_CONTENT and not shared and not answer.reply.enhanced.startswith("5.7.")
