"""How the queue is shown: as documents for programs and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sekisho.doors.cli.acting import moment
from sekisho.doors.cli.common import table
from sekisho.ids import AccountId, message_id_text
from sekisho.queue.overview import DestinationStatus, QueuedDelivery, QueuedMessage
from sekisho.queue.spool import HeldSenders
from sekisho.queue.transaction import SET_ASIDE

Names = Mapping[AccountId, str]

_REPLY_MAX: Final = 60


def _state(delivery: QueuedDelivery, held: HeldSenders) -> str:
    if delivery.held:
        return "set aside" if delivery.held == SET_ASIDE else "held"
    if delivery.sender in held.senders:
        return "sender disabled"
    if delivery.key in held.keys:
        return "key compromised"
    return "deferred" if delivery.attempts else "queued"


def status_document(each: DestinationStatus, now_ms: int) -> dict[str, object]:
    return {
        "destination": each.destination,
        "count": each.count,
        "size_bytes": each.size_bytes,
        "held": each.held,
        "set_aside": each.set_aside,
        "oldest": moment(each.oldest_ms),
        "next_try": moment(each.next_ms),
        "why": _why(each, now_ms),
        "waits_for": None if each.shut is None else each.shut.hop,
        "last_reply": each.last_reply,
    }


def _why(each: DestinationStatus, now_ms: int) -> str:
    """Say what the next try waits for."""
    if each.next_ms is None:
        return "set aside" if not each.held else "held"
    if each.shut is not None:
        what = "is used up" if each.shut.is_rate else "is out of reach"
        return f"{each.shut.hop} {what}: {each.shut.reply}"
    return "due" if each.next_ms <= now_ms else "deferred"


def delivery_document(each: QueuedDelivery, whose: Names, held: HeldSenders) -> dict[str, object]:
    account = AccountId(each.account)
    sender = AccountId(each.sender)
    return {
        "id": f"{message_id_text(each.message_id)}.{each.index}",
        "message_id": message_id_text(each.message_id),
        "recipient": each.address,
        "account": whose.get(account),
        "subuser": whose.get(sender) if sender != account else None,
        "api_key_id": each.key,
        "accepted": moment(each.accepted_ms),
        "state": _state(each, held),
        "attempts": each.attempts,
        "next_try": moment(each.due_ms),
        "last_try": moment(each.tried_ms),
        "last_reply": each.reply,
        "last_status": each.status,
    }


def message_document(found: QueuedMessage, whose: Names) -> dict[str, object]:
    message = found.message
    return {
        "message_id": message_id_text(message.id),
        "smtp_id": message.smtp_id,
        "accepted": moment(message.accepted_ms),
        "account": whose.get(message.account_id),
        "subuser": None if message.subuser_id is None else whose.get(message.subuser_id),
        "api_key_id": message.key_id,
        "mail_from": message.mail_from,
        "from_domain": message.from_domain,
        "size_bytes": found.size_bytes,
        "categories": list(message.categories),
        "unique_args": dict(message.unique_args),
    }


def message_lines(found: QueuedMessage, whose: Names) -> str:
    rows = [
        (name, ", ".join(str(item) for item in value) if isinstance(value, list) else value)
        for name, value in message_document(found, whose).items()
        if value not in (None, [], {})
    ]
    # The first line of a table is its heads; here every line is a pair.
    return table([str(cell) for cell in rows[0]], rows[1:])


def status_table(found: Sequence[DestinationStatus], now_ms: int) -> str:
    rows = [
        (
            each.destination,
            each.count,
            _size(each.size_bytes),
            each.held,
            each.set_aside,
            _span(now_ms - each.oldest_ms),
            "never" if each.next_ms is None else _until(each.next_ms, now_ms),
            _short(_why(each, now_ms)),
            _short(each.last_reply),
        )
        for each in found
    ]
    return table(("DESTINATION", "COUNT", "SIZE", "HELD", "ASIDE", "OLDEST", "NEXT", "WHY", "LAST REPLY"), rows)


def delivery_table(found: Sequence[QueuedDelivery], whose: Names, held: HeldSenders, now_ms: int) -> str:
    rows = [
        (
            f"{message_id_text(each.message_id)}.{each.index}",
            each.address,
            whose.get(AccountId(each.sender)),
            _span(now_ms - each.accepted_ms),
            each.attempts,
            _state(each, held),
            _until(each.due_ms, now_ms),
            _short(each.reply),
        )
        for each in found
    ]
    return table(("ID", "TO", "FROM", "AGE", "TRIED", "STATE", "NEXT", "LAST REPLY"), rows)


def recipient_table(found: Sequence[QueuedDelivery], held: HeldSenders, now_ms: int) -> str:
    rows = [
        (
            each.index,
            each.address,
            _state(each, held),
            each.attempts,
            _until(each.due_ms, now_ms),
            moment(each.tried_ms),
            each.reply,
        )
        for each in found
    ]
    return table(("#", "TO", "STATE", "TRIED", "NEXT", "LAST", "REPLY"), rows)


def _short(reply: str | None) -> str | None:
    return reply if reply is None or len(reply) <= _REPLY_MAX else f"{reply[: _REPLY_MAX - 1]}…"


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 10_000:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.0f} GiB"


def _until(at_ms: int, now: int) -> str:
    return "now" if at_ms <= now else f"in {_span(at_ms - now)}"


def _span(milliseconds: int) -> str:
    seconds = max(0, milliseconds) // 1000
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
