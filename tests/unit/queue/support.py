"""What the queue's tests share: a clock, messages, an encoder of events, a look into the file."""

from __future__ import annotations

import itertools
import secrets
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sekisho.ids import AccountId, KeyId, MessageId, new_message_id
from sekisho.queue.local import LocalSpool
from sekisho.queue.model import BodyFile, Caps, Delivery, Dropped, Message, NewMessage, Recipient
from sekisho.queue.spool import HeldSenders, Settlement, Wanted
from sekisho.refusal import Refused

NOW_MS = 1_800_000_000_000
NOBODY = HeldSenders()

# Ids of several processes must differ.
_chance = itertools.count(secrets.randbits(62))


class FakeClock:
    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic(self) -> float:
        return self.time_ms / 1000


async def due(
    spool: LocalSpool,
    destination: str,
    now_ms: int,
    limit: int,
    known: Collection[int] = (),
    *,
    held: HeldSenders = NOBODY,
) -> tuple[Delivery, ...]:
    """Read what is due of one destination."""
    (found,) = await spool.due([Wanted(destination, limit, known)], now_ms, limit, held)
    return tuple(found.deliveries)


def encode(settlement: Settlement) -> Sequence[bytes]:
    delivery, outcome = settlement.delivery, settlement.outcome
    reason = outcome.reason if isinstance(outcome, Dropped) else ""
    name = type(outcome).__name__.lower()
    return (f"{name} {delivery.recipient.address} {delivery.attempts} {reason}".strip().encode(),)


def make_message(**changes: Any) -> Message:
    values: dict[str, Any] = {
        "id": new_message_id(NOW_MS, 7, next(_chance)),
        "accepted_ms": NOW_MS,
        "account_id": AccountId(1),
        "subuser_id": None,
        "key_id": KeyId("key-1"),
        "mail_from": "sender@client.example",
        "from_domain": "client.example",
        "header": b"Subject: hello\r\n",
        "body": b"body\r\n",
        "eight_bit": False,
        "smtp_id": "<1@client.example>",
    }
    return Message(**{**values, **changes})


def make(
    *addresses: str,
    caps: Caps | None = None,
    dropped_reason: str = "",
    temporary_file: Path | None = None,
    **changes: Any,
) -> NewMessage:
    recipients = tuple(Recipient(index, address) for index, address in enumerate(addresses or ("a@dest.example",)))
    return NewMessage(make_message(**changes), recipients, caps, dropped_reason, temporary_file)


def accepted(answer: tuple[Delivery, ...] | Refused) -> tuple[Delivery, ...]:
    assert not isinstance(answer, Refused), answer
    return answer


def large_body(spool_incoming: Path, path_of: Any, content: bytes = b"large\r\n" * 1000) -> dict[str, Any]:
    """Arguments for ``make``: a message whose body lies in a finished temporary file."""
    message_id = MessageId(new_message_id(NOW_MS, 7, next(_chance)))
    temporary = spool_incoming / f"{next(_chance)}.tmp"
    temporary.write_bytes(content)
    return {"id": message_id, "body": BodyFile(path_of(message_id), len(content)), "temporary_file": temporary}


def rows(directory: Path, statement: str, *arguments: object) -> list[Any]:
    """Ask the file itself; single columns come bare."""
    with closing(sqlite3.connect(directory / "spool.db")) as connection:
        found = connection.execute(statement, arguments).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


def events(directory: Path) -> list[str]:
    return [event.decode() for event in rows(directory, "SELECT event FROM outbox ORDER BY seq")]
