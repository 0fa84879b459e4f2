"""Outcomes become events: what one settlement adds to the outbox, as the bytes that are stored there.

Runs once per recipient on the hot path, inside the spool's own batch: pure, and nothing but the two encodings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from sekisho.events.model import Event, EventKind
from sekisho.queue.model import (
    NOWHERE,
    Bounced,
    BounceType,
    Deferred,
    Delivered,
    Delivery,
    Dropped,
    Expired,
    Outcome,
    Remote,
)
from sekisho.queue.spool import Settlement

__all__ = ["NotAnEvent", "decode", "encode"]

_MESSAGE_ID_BYTES: Final = 16
_INTEGER_MAX: Final = 2**63 - 1
_SMALL_MAX: Final = 2**31 - 1
_AT_MAX_MS: Final = 253_402_300_799_999
"""The end of the year 9999: later has no date to be shown by."""
_KEY_ID_MAX: Final = 22
_EMAIL_MAX: Final = 320
"""The width of its column."""

# One encoder for the process: encode() is called by one thread at a time, the spool's.
_write: Final = msgspec.msgpack.Encoder().encode
_read: Final = msgspec.msgpack.Decoder(Event).decode


def encode(settlement: Settlement) -> Sequence[bytes]:
    """Encode the events of a settlement, in the order in which they happened."""
    outcome, delivery = settlement.outcome, settlement.delivery
    told = _outcome(outcome, settlement.at_ms, delivery, delivery.attempts + 1)
    if delivery.attempts or isinstance(outcome, Dropped):
        return (told,)
    # `processed` belongs to the first attempt, and tells when the message was taken, not when its turn came.
    return _event(EventKind.PROCESSED, delivery.message.accepted_ms, delivery, 1, NOWHERE), told


class NotAnEvent(ValueError):
    """Bytes that are no event of ours: damaged, foreign, or out of every range that a store keeps."""


def decode(blob: bytes) -> Event:
    """Read one event back; raises NotAnEvent, and nothing else whatever the bytes."""
    try:
        event = _read(blob)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnEvent(str(error)) from error
    if not _can_be_kept(event):
        message = "a value is out of range"
        raise NotAnEvent(message)
    return event


def _can_be_kept(event: Event) -> bool:
    """Tell whether every engine takes it for a row: one that does not would stand before all that come after it."""
    small, large = (event.recipient_index, event.attempt), (event.account_id, event.subuser_id or 0)
    return (
        len(event.message_id) == _MESSAGE_ID_BYTES
        and 0 <= event.at_ms <= _AT_MAX_MS
        and min(small + large) >= 0
        and max(small) <= _SMALL_MAX
        and max(large) <= _INTEGER_MAX
        and len(event.key_id) <= _KEY_ID_MAX
        and len(event.email) <= _EMAIL_MAX
        # PostgreSQL stores no NUL in a text.
        and "\0" not in event.key_id + event.email
    )


def _outcome(outcome: Outcome, at_ms: int, delivery: Delivery, attempt: int) -> bytes:
    match outcome:
        case Delivered(reply=reply, remote=remote):
            return _event(EventKind.DELIVERED, at_ms, delivery, attempt, remote, reply=reply)
        case Deferred(reply=reply, status=status, remote=remote):
            return _event(EventKind.DEFERRED, at_ms, delivery, attempt, remote, reply=reply, status=status)
        case Bounced(reply=reply, type=kind, status=status, remote=remote, classification=classification):
            return _event(
                EventKind.BOUNCE, at_ms, delivery, attempt, remote,
                reply=reply, status=status, reason=reply, type=kind.value,
                classification=classification.value,
            )  # fmt: skip
        case Expired(reply=reply, status=status, remote=remote, classification=classification):
            # The vendor has no event for it: the address may be good, so it is a block, and the reason says the rest.
            reason = f"expired; the last answer was: {reply}" if reply else "expired; there was no answer"
            return _event(
                EventKind.BOUNCE, at_ms, delivery, attempt, remote,
                reply=reply, status=status, reason=reason, type=BounceType.BLOCKED.value,
                classification=classification.value,
            )  # fmt: skip
        case Dropped(reason=reason):
            # No attempt was begun for it: its number is that of the attempts before, 0 when dropped at acceptance.
            return _event(EventKind.DROPPED, at_ms, delivery, delivery.attempts, NOWHERE, reason=reason)
        case _:
            assert_never(outcome)


def _event(
    kind: EventKind,
    at_ms: int,
    delivery: Delivery,
    attempt: int,
    remote: Remote,
    *,
    reply: str = "",
    status: str = "",
    reason: str = "",
    type: str = "",  # noqa: A002  # the vendor's word
    classification: str = "",
) -> bytes:
    message, recipient = delivery.message, delivery.recipient
    return _write(
        Event(
            kind=kind,
            at_ms=at_ms,
            message_id=message.id,
            recipient_index=recipient.index,
            attempt=attempt,
            email=recipient.address,
            account_id=message.account_id,
            subuser_id=message.subuser_id,
            key_id=message.key_id,
            smtp_id=message.smtp_id,
            from_domain=message.from_domain,
            categories=message.categories,
            category_is_list=message.category_is_list,
            unique_args=message.unique_args,
            reply=reply,
            status=status,
            reason=reason,
            type=type,
            classification=classification,
            remote_host=remote.host,
            remote_ip=remote.ip,
            local_ip=remote.local_ip,
            tls_version=remote.tls_version,
            tls_cipher=remote.tls_cipher,
            tls_verified=remote.tls_verified,
        )
    )
