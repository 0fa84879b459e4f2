"""Settlements and events for tests of the event store, told in few words."""

from __future__ import annotations

from typing import Any

from sekisho.events.mover import Outbox
from sekisho.ids import AccountId, KeyId, MessageId
from sekisho.queue.model import Delivered, Delivery, Message, Outcome, Recipient, Remote
from sekisho.queue.spool import Settlement

ACCEPTED_MS = 1_700_000_000_000
DAY = ACCEPTED_MS // 86_400_000
REMOTE = Remote("mx.example.com", "192.0.2.1", "192.0.2.9", "TLSv1.3", "TLS_AES_256_GCM_SHA384", tls_verified=True)
DELIVERED = Delivered("250 2.0.0 Ok", REMOTE)


def message(number: int = 1, **changed: Any) -> Message:
    facts: dict[str, Any] = {
        "id": MessageId(number.to_bytes(16, "big")),
        "accepted_ms": ACCEPTED_MS,
        "account_id": AccountId(1),
        "subuser_id": None,
        "key_id": KeyId("k" * 22),
        "mail_from": "sender@example.test",
        "from_domain": "example.test",
        "header": b"From: a@example.test\r\n",
        "body": b"hi\r\n",
        "eight_bit": False,
        "smtp_id": f"<{number}@example.test>",
    }
    return Message(**(facts | changed))


def settled(
    outcome: Outcome = DELIVERED, *, of: Message | None = None, index: int = 0, attempts: int = 0, later_ms: int = 5
) -> Settlement:
    delivery = Delivery(1, of or message(), Recipient(index, "bob@example.com"), attempts, ACCEPTED_MS)
    return Settlement(delivery, outcome, ACCEPTED_MS + later_ms)


class MemoryOutbox:
    """A spool's outbox that forgets when the test ends; numbers are never given twice."""

    def __init__(self, spool_id: str = "spool-1", first_seq: int = 1) -> None:
        self.spool_id = spool_id
        self.rows: dict[int, bytes] = {}
        self.closed = 0
        self._next = first_seq

    def put(self, *blobs: bytes) -> None:
        for blob in blobs:
            self.rows[self._next] = blob
            self._next += 1

    def read_outbox(self, after_seq: int, limit: int) -> list[tuple[int, bytes]]:
        return [(seq, self.rows[seq]) for seq in sorted(self.rows) if seq > after_seq][:limit]

    def delete_outbox(self, up_to: int) -> None:
        for seq in [seq for seq in self.rows if seq <= up_to]:
            del self.rows[seq]

    def close(self) -> None:
        self.closed += 1


_fits: Outbox = MemoryOutbox()
