"""How ``sekisho events`` shows an event: a JSON document, or one line for people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from sekisho.events import vendor
from sekisho.events.model import Event, EventKind
from sekisho.ids import AccountId, MessageId, message_id_text

__all__ = ["Names", "document", "line"]

Names = Mapping[AccountId, str]


def document(event: Event, names: Names) -> dict[str, object]:
    """Give the vendor's fields, and ours beside them; ours win over a sender's argument of the same name.

    So every name here can be relied on; what the sender gave stands unharmed under ``unique_args``.
    """
    return {
        **vendor.fields(event),
        "account": _name(event.account_id, names),
        "account_id": event.account_id,
        "api_key_id": event.key_id,
        "at_ms": event.at_ms,
        "attempt": str(event.attempt),
        "categories": list(event.categories),
        "from_domain": event.from_domain,
        "local_ip": event.local_ip,
        "message_id": message_id_text(MessageId(event.message_id)),
        "recipient_index": event.recipient_index,
        "remote_host": event.remote_host,
        "remote_ip": event.remote_ip,
        "response": event.reply,
        "status": event.status,
        "subuser": None if event.subuser_id is None else _name(event.subuser_id, names),
        "subuser_id": event.subuser_id,
        "tls_cipher": event.tls_cipher,
        "tls_verified": event.tls_verified,
        "tls_version": event.tls_version,
        "unique_args": dict(event.unique_args),
    }


def line(event: Event, names: Names) -> str:
    """Write when, what, to whom, which message, whose, where to and why; nothing in it can move the cursor."""
    kind = event.type if event.kind is EventKind.BOUNCE and event.type else event.kind.value
    whose = _name(event.account_id, names)
    if event.subuser_id is not None:
        whose += "/" + _name(event.subuser_id, names)
    parts = [
        _moment(event.at_ms),
        f"{kind:<9}",
        event.email,
        f"{message_id_text(MessageId(event.message_id))}.{event.recipient_index}",
        whose,
    ]
    if event.attempt > 1:
        parts.append(f"attempt {event.attempt}")
    if event.remote_host or event.remote_ip:
        parts.append(f"{event.remote_host or event.remote_ip} ({event.tls_version or 'no TLS'})")
    if words := event.reason or event.reply:
        parts.append(words)
    return "".join(character if character.isprintable() else "�" for character in "  ".join(parts))


def _name(tenant: int, names: Names) -> str:
    return names.get(AccountId(tenant), f"#{tenant}")


def _moment(at_ms: int) -> str:
    # Arithmetic on integers: a float would round some milliseconds away.
    at = dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC).replace(microsecond=at_ms % 1000 * 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
