"""Which deliveries an operator means."""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.ids import MessageId, last_meant, parse_message_id
from sekisho.queue.schema import RECIPIENT_BITS
from sekisho.queue.timeline import AHEAD


@dataclass(frozen=True, slots=True)
class Selection:
    """All conditions that are set must hold; none set means everything."""

    message_id: MessageId | None = None
    """One message, or all messages of a request when it is a request's id and no recipient is given."""
    recipient: int | None = None
    """One recipient of that message, by index."""
    key: str | None = None
    account: int | None = None
    """Mail of the account and of its subusers."""
    subuser: int | None = None
    domain: str | None = None
    """The recipients' domain: where it goes."""
    accepted_before_ms: int | None = None

    def conditions(self) -> tuple[str, tuple[int | str | bytes, ...]]:
        """Say it in SQL, over the columns of ``delivery``; with its arguments."""
        parts: list[str] = []
        arguments: list[int | str | bytes] = []
        for part, argument in (
            ("key = ?", self.key),
            ("account = ?", self.account),
            ("sender = ?", self.subuser),
            ("destination = ?", self.domain),
            (f"accepted_ms < ? + {AHEAD}", self.accepted_before_ms),
        ):
            if argument is not None:
                parts.append(part)
                arguments.append(argument)
        if self.message_id is not None:
            # A message's deliveries are a range of row numbers (schema.py).
            row = "(SELECT {}(m.row) FROM message AS m WHERE m.id BETWEEN ? AND ?)"
            first, last = (f"({row.format(end)} << {RECIPIENT_BITS})" for end in ("min", "max"))
            if self.recipient is not None:
                parts.append(f"delivery.row = {first} + ?")
                arguments += [self.message_id, self.message_id, self.recipient]
            else:
                # The messages of a request stand side by side: they were appended in one step.
                parts.append(f"delivery.row BETWEEN {first} AND {last} + {(1 << RECIPIENT_BITS) - 1}")
                arguments += [self.message_id, last_meant(self.message_id)] * 2
        return " AND ".join(parts) or "1", tuple(arguments)


def parse_id(text: str) -> tuple[MessageId, int | None] | None:
    """Read ``ID`` or ``ID.INDEX``, as shown: message and recipient; None when it is neither."""
    name, dot, index = text.partition(".")
    message_id = parse_message_id(name)
    if message_id is None:
        return None
    if not dot:
        return message_id, None
    # Seven digits: more than any message has recipients.
    if not (index.isascii() and index.isdigit() and len(index) <= 7):
        return None
    number = int(index)
    return (message_id, number) if number >> RECIPIENT_BITS == 0 else None
