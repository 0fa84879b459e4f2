"""An event in the vendor's words: the fields that its webhook posts, and its rule for names that collide.

The one place where events speak that dialect; commands and webhooks show what it returns.
"""

from __future__ import annotations

from typing import Final

from sekisho.events.model import Event, EventKind

__all__ = ["RESERVED", "Value", "fields"]

Value = str | int | list[str]

RESERVED: Final = frozenset(
    {
        "asm_group_id", "attempt", "bounce_classification", "category", "email", "event", "ip", "pool", "reason",
        "response", "send_at", "sg_event_id", "sg_message_id", "smtp-id", "status", "timestamp", "tls", "type",
        "url", "url_offset", "useragent",
    }
)  # fmt: skip
"""A sender's own argument of such a name is left out, also where the event has no such field (events sheet §2)."""


def fields(event: Event) -> dict[str, Value]:
    """Give the event's fields; the sender's unique arguments stand among them."""
    shown: dict[str, Value] = {name: value for name, value in event.unique_args if name not in RESERVED}
    shown |= {
        "email": event.email,
        "event": event.kind.value,
        "sg_event_id": event.sg_event_id,
        "sg_message_id": event.sg_message_id,
        "smtp-id": event.smtp_id,
        "timestamp": event.at_ms // 1000,
    }
    if event.categories:
        # The shape in which the sender gave it: a list, or one string.
        single = len(event.categories) == 1 and not event.category_is_list
        shown["category"] = event.categories[0] if single else list(event.categories)
    return shown | _of_kind(event)


def _of_kind(event: Event) -> dict[str, Value]:
    match event.kind:
        case EventKind.PROCESSED:
            return {"send_at": 0}
        case EventKind.DROPPED:
            return _given(reason=event.reason, status=event.status)
        case EventKind.DEFERRED:
            # A string of digits, in the vendor's own events too.
            return {"attempt": str(event.attempt), **_given(response=event.reply)}
        case EventKind.DELIVERED:
            return _given(response=event.reply, ip=event.local_ip) | _tls(event)
        case EventKind.BOUNCE:
            words = _given(reason=event.reason, status=event.status, type=event.type)
            return words | _given(bounce_classification=event.classification) | _tls(event)


def _given(**values: str) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value}


def _tls(event: Event) -> dict[str, Value]:
    return {"tls": 1} if event.tls_version else {}
