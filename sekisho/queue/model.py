"""What the queue holds: a message once, a delivery per recipient, and the closed list of outcomes.

All times are integer milliseconds since the epoch (``_ms``): they are compared, stored and indexed on the hot path.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

from sekisho.credits import Bucket
from sekisho.ids import AccountId, KeyId, MessageId


@dataclass(frozen=True, slots=True)
class BodyFile:
    """A body too large for the row: a file under the spool's ``bodies`` directory, already complete."""

    path: Path
    size_bytes: int
    checksum: int | None = None
    """CRC-32 of its bytes when they were written; None: it came with an older release, which kept none."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One accepted submission, as stored. Nothing here depends on a recipient."""

    id: MessageId
    accepted_ms: int
    account_id: AccountId
    subuser_id: AccountId | None
    key_id: KeyId
    mail_from: str
    """The client's own MAIL FROM path without brackets; ``""`` is the null path. Stored, never sent."""
    from_domain: str
    """Domain of the header From, lower-case A-labels: decides who signs."""
    header: bytes
    """The complete header block as it leaves, unsigned: every line ends in CRLF, no empty line."""
    body: bytes | BodyFile
    """What follows the empty line, dots unstuffed, CRLF only."""
    eight_bit: bool
    """Some octet of header or body is over 127."""
    smtp_id: str
    """The Message-ID header's value with its brackets."""
    categories: tuple[str, ...] = ()
    category_is_list: bool = False
    """The event repeats the shape the sender used: a list, or a lone string."""
    unique_args: tuple[tuple[str, str], ...] = ()

    @property
    def sender_id(self) -> AccountId:
        return self.account_id if self.subuser_id is None else self.subuser_id

    @property
    def size_bytes(self) -> int:
        """Header, empty line and body, as transmitted but for dot stuffing."""
        body = self.body
        return len(self.header) + 2 + (body.size_bytes if isinstance(body, BodyFile) else len(body))


@dataclass(frozen=True, slots=True)
class Recipient:
    """One envelope recipient. ``index`` counts from 0 within the message and never changes."""

    index: int
    address: str
    """``local@domain``, domain lower case; the local part as given."""
    personal_to: str = ""
    """X-SMTPAPI ``to``: this recipient gets an own copy whose To header is this text; ``""`` = the common header."""

    @property
    def destination(self) -> str:
        """The domain the delivery is for: the first column of the due index."""
        return self.address.rpartition("@")[2]


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One message to one recipient: a row of the queue. Compared and hashed by identity."""

    row: int
    """The spool's own number for it."""
    message: Message
    recipient: Recipient
    attempts: int
    """Attempts finished so far."""
    due_ms: int
    faults: int = 0
    """Attempts that failed through a fault of our own, one after the other."""
    accepted_ms: int | None = None
    """When it was accepted, on the spool's own time; None where nobody asks for its age."""

    @property
    def since_ms(self) -> int:
        """What its age is counted from, on the clock that ``due_ms`` is on."""
        return self.message.accepted_ms if self.accepted_ms is None else self.accepted_ms


class BounceType(enum.StrEnum):
    """The vendor's two kinds (events sheet §4): the address is bad, or message, policy or reputation was refused."""

    BOUNCE = "bounce"
    BLOCKED = "blocked"


class Classification(enum.StrEnum):
    """What a refusal was about, in the vendor's words for ``bounce_classification`` (events sheet §4)."""

    CONTENT = "Content"
    FREQUENCY = "Frequency or Volume Too High"
    INVALID_ADDRESS = "Invalid Address"
    MAILBOX_UNAVAILABLE = "Mailbox Unavailable"
    REPUTATION = "Reputation"
    TECHNICAL = "Technical"
    UNCLASSIFIED = "Unclassified"


@dataclass(frozen=True, slots=True)
class Remote:
    """The other end of an attempt, as far as it got."""

    host: str = ""
    ip: str = ""
    local_ip: str = ""
    """Our address on that connection."""
    tls_version: str = ""
    """``TLSv1.3``; empty = clear text."""
    tls_cipher: str = ""
    tls_verified: bool = False


NOWHERE = Remote()


@dataclass(frozen=True, slots=True)
class Delivered:
    """The next hop took responsibility (2xx after the body)."""

    reply: str
    """One line, control characters escaped: ``250 2.0.0 Ok``."""
    remote: Remote = NOWHERE


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now; tried again at ``next_ms``."""

    reply: str
    next_ms: int
    status: str = ""
    """Enhanced status code ``4.4.1`` when known."""
    remote: Remote = NOWHERE
    faults: int = 0
    """Faults of our own so far, this one included; 0 when this attempt failed for another reason."""
    is_set_aside: bool = False
    """That is enough of them: it is not tried again until an operator releases it."""


@dataclass(frozen=True, slots=True)
class Bounced:
    """Permanently refused."""

    reply: str
    type: BounceType
    status: str = ""
    remote: Remote = NOWHERE
    classification: Classification = Classification.UNCLASSIFIED


@dataclass(frozen=True, slots=True)
class Dropped:
    """We decided not to send: the reason is the vendor's word where it has one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """``delivery.max_age`` passed; ``reply`` is the last answer heard."""

    reply: str
    status: str = ""
    remote: Remote = NOWHERE
    classification: Classification = Classification.UNCLASSIFIED
    """Of the last answer."""


Outcome = Delivered | Deferred | Bounced | Dropped | Expired


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits that the append itself must count, in its own transaction."""

    key_id: KeyId
    rate_count: int | None = None
    rate_window_s: int = 1
    daily: int | None = None
    credits: tuple[Bucket, ...] = ()
    """What the sender has left, and a subuser's account: beside the key's own limits, counted in all or in none."""


@dataclass(frozen=True, slots=True, eq=False)
class NewMessage:
    """What accept() hands to the spool: the message, its recipients, what to count, and what is already decided."""

    message: Message
    recipients: tuple[Recipient, ...]
    caps: Caps | None = None
    dropped_reason: str = ""
    """Set: every recipient is settled as Dropped(reason) in the append's transaction and nothing is queued."""
    temporary_file: Path | None = field(default=None)
    """Set with a BodyFile: the finished, not yet synced file to be moved to ``message.body.path`` before the commit."""
    is_held: bool = False
    """It is stored and not attempted until an operator releases it; so are all messages of one request."""
