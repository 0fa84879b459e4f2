"""What can happen to a message: one flat record per recipient and happening, as stored and as shown."""

from __future__ import annotations

import base64
import enum

import msgspec

from sekisho.ids import MessageId, message_id_text, request_of


class EventKind(enum.StrEnum):
    """The vendor's event words (events sheet §1) that this version produces."""

    BOUNCE = "bounce"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    DROPPED = "dropped"
    PROCESSED = "processed"


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One happening. Fields that do not apply to a kind keep their empty default."""

    kind: EventKind
    at_ms: int
    message_id: bytes
    recipient_index: int
    attempt: int
    """Attempts begun, this one included: the first attempt is 1; 0 where there was none."""
    email: str
    account_id: int
    subuser_id: int | None = None
    key_id: str
    smtp_id: str
    from_domain: str = ""
    categories: tuple[str, ...] = ()
    category_is_list: bool = False
    unique_args: tuple[tuple[str, str], ...] = ()
    reply: str = ""
    """deferred, delivered, bounce: the remote's answer, one line, control characters escaped."""
    status: str = ""
    """Enhanced status code."""
    reason: str = ""
    """dropped, bounce: why."""
    type: str = ""
    """bounce: ``bounce`` or ``blocked``."""
    classification: str = ""
    """bounce: the vendor's ``bounce_classification``; empty in events of versions before it."""
    remote_host: str = ""
    remote_ip: str = ""
    local_ip: str = ""
    tls_version: str = ""
    tls_cipher: str = ""
    tls_verified: bool = False

    @property
    def sg_event_id(self) -> str:
        """A function of (message, recipient, attempt, kind): the same happening always has the same id."""
        sender = self.account_id if self.subuser_id is None else self.subuser_id
        text = (
            f"{self.kind.value}-{sender}-{message_id_text(MessageId(self.message_id))}"
            f"-{self.recipient_index}-{self.attempt}"
        )
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    @property
    def sg_message_id(self) -> str:
        """``<X-Message-Id>.<...>.<recipient index>``: everything before the first dot is the id of the request."""
        request, part = request_of(MessageId(self.message_id))
        return f"{message_id_text(request)}.sekisho-{part}.{self.recipient_index}"
