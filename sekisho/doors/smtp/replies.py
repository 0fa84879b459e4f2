"""How a refusal sounds in SMTP: one table from Reason to reply.

The vendor's recorded texts (reference sheet §3-4) stand behind an enhanced code; where nothing is recorded the
wording is the RFCs'.
"""

from __future__ import annotations

import enum
from typing import Final

from sekisho.ids import MessageId, message_id_text
from sekisho.refusal import Reason, Refused
from sekisho.wire.smtp.reply import Reply, printable, reply

AUTHENTICATED: Final = reply(235, "2.7.0", "Authentication successful")
SENDER_OK: Final = reply(250, "2.1.0", "Sender address accepted")
RECIPIENT_OK: Final = reply(250, "2.1.5", "Recipient address accepted")

TOO_MANY_CONNECTIONS: Final = reply(421, "4.7.0", "Too many connections, try again later")
SHUTTING_DOWN: Final = reply(421, "4.3.2", "Service shutting down, closing connection")
TIMEOUT: Final = reply(421, "4.4.2", "Timeout, closing connection")
NO_MEMORY: Final = reply(421, "4.3.1", "Insufficient system resources, try again later")
EXPELLED: Final = reply(421, "4.7.0", "Credentials are no longer valid, closing connection")
OUR_FAULT_CLOSING: Final = reply(421, "4.3.0", "Local error in processing, closing connection")

_DETAIL_KEPT_CHARS = 200


class Stage(enum.Enum):
    """Where in the dialogue the question was asked; a few reasons sound different there."""

    AUTH = enum.auto()
    ENVELOPE = enum.auto()
    CONTENT = enum.auto()


_SENDER_IDENTITY: Final = reply(
    550,
    "5.7.1",
    "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved."
    " Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the Sender Identity"
    " requirements",
)
"""The vendor's answer to every From that is not the sender's own; what exactly is wrong stands behind it."""

_TABLE: Final[dict[Reason, Reply]] = {
    Reason.AUTH_REQUIRED: reply(550, "5.7.1", "Unauthenticated senders not allowed"),
    Reason.AUTH_BAD_USERNAME: reply(535, "5.7.8", "Authentication failed: Bad username / password"),
    Reason.AUTH_BAD_KEY: reply(
        535, "5.7.8", "Authentication failed: The provided authorization grant is invalid, expired, or revoked"
    ),
    # No text is recorded for a disabled account; it must not say more to a stranger than a revoked key does.
    Reason.AUTH_DISABLED: reply(
        535, "5.7.8", "Authentication failed: The provided authorization grant is invalid, expired, or revoked"
    ),
    # Temporary: its owner may release it, and what waits with the client is not lost.
    Reason.AUTH_HELD: reply(451, "4.7.1", "Authentication failed: this API key is held, its owner can release it"),
    Reason.AUTH_UNSCOPED: reply(550, "5.7.1", "Authenticated user is not authorized to send mail"),
    Reason.AUTH_ADDRESS: reply(451, "4.7.1", "Authentication failed: Could not authenticate"),
    Reason.AUTH_ENDED: EXPELLED,
    Reason.AUTH_UNAVAILABLE: reply(454, "4.7.0", "Temporary authentication failure"),
    Reason.AUTH_THROTTLED: reply(421, "4.7.0", "Too many failed logins, try again later"),
    Reason.FROM_MISSING: _SENDER_IDENTITY,
    Reason.FROM_MALFORMED: _SENDER_IDENTITY,
    Reason.FROM_UNVERIFIED: _SENDER_IDENTITY,
    Reason.FROM_NOT_ALLOWED: _SENDER_IDENTITY,
    Reason.HEADER_MALFORMED: reply(554, "5.6.0", "Malformed message header"),
    Reason.HEADER_DUPLICATE: reply(554, "5.6.0", "A header field that may stand once stands twice"),
    Reason.MESSAGE_LOOP: reply(554, "5.4.6", "Too many hops"),
    Reason.SMTPAPI_UNSUPPORTED: reply(550, "5.6.0", "X-SMTPAPI is not supported in full"),
    Reason.RECIPIENT_MALFORMED: reply(550, "5.1.3", "Bad recipient address syntax"),
    Reason.RECIPIENT_LITERAL: reply(550, "5.1.2", "Recipients at addresses or local names are not accepted"),
    Reason.RECIPIENTS_TOO_MANY: reply(452, "4.5.3", "Too many recipients"),
    Reason.RATE_EXCEEDED: reply(451, "4.7.1", "Rate limit of this key exceeded"),
    Reason.DAILY_EXCEEDED: reply(451, "4.7.1", "Daily limit of this key exceeded"),
    # The vendor's text, at the end of the message: credits are counted with it.
    Reason.CREDITS_EXCEEDED: reply(451, "4.7.1", "Authentication failed: Maximum credits exceeded"),
    Reason.STORAGE_FULL: reply(452, "4.3.1", "Insufficient system storage"),
    Reason.STORAGE_UNAVAILABLE: reply(451, "4.3.0", "Requested action aborted: storage is not available"),
}

# Control data too old to trust (architecture §5): at AUTH 454, in an open session the session ends.
_AFTER_LOGIN: Final[dict[Reason, Reply]] = {
    Reason.AUTH_UNAVAILABLE: reply(421, "4.7.0", "Credentials cannot be checked now, closing connection"),
    Reason.AUTH_BAD_KEY: EXPELLED,
    Reason.AUTH_DISABLED: EXPELLED,
    Reason.AUTH_HELD: EXPELLED,
    Reason.AUTH_ADDRESS: EXPELLED,
}

# At RCPT the rest may be sent in another transaction (RFC 5321 §4.5.3.1.10). A message that names too many itself
# (X-SMTPAPI ``to``) will never name fewer.
_AFTER_CONTENT: Final[dict[Reason, Reply]] = {
    Reason.RECIPIENTS_TOO_MANY: reply(550, "5.5.3", "Too many recipients"),
}

# The vendor closes behind these.
_CLOSING: Final = frozenset({Reason.AUTH_ADDRESS})


# Where the vendor's text is recorded it stands alone; and a refused login is told nothing beyond its text.
_DETAILED: Final = (
    frozenset(Reason) - {reason for reason in Reason if reason.name.startswith("AUTH_")} - {Reason.FROM_UNVERIFIED}
)


def to_smtp(refused: Refused, stage: Stage) -> Reply:
    """Give the reply for a refusal."""
    answer = _TABLE[refused.reason]
    if stage is not Stage.AUTH:
        answer = _AFTER_LOGIN.get(refused.reason, answer)
    if stage is Stage.CONTENT:
        answer = _AFTER_CONTENT.get(refused.reason, answer)
    if not refused.detail or refused.reason not in _DETAILED:
        return answer
    detail = printable(refused.detail)[:_DETAIL_KEPT_CHARS].encode("ascii", "backslashreplace").decode("ascii")
    return Reply(answer.code, answer.enhanced, (f"{answer.lines[0]}: {detail}",))


def closes(refused: Refused, stage: Stage) -> bool:
    """Tell whether the connection ends behind the reply."""
    return stage is Stage.AUTH and refused.reason in _CLOSING


def queued(message_id: MessageId) -> Reply:
    return Reply(250, "2.0.0", (f"Ok: queued as {message_id_text(message_id)}",))
