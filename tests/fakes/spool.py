"""A spool in memory: what ``queue.spool.Spool`` promises, with a commit one turn of the loop later."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from sekisho.ids import AccountId, KeyId, MessageId
from sekisho.ports.clock import Clock, SystemClock
from sekisho.queue.model import (
    BodyFile,
    Deferred,
    Delivery,
    Message,
    NewMessage,
    Outcome,
    Recipient,
)
from sekisho.queue.spool import DestinationDue, HeldSenders, Settlement
from sekisho.refusal import Refused


class MemorySpool:
    """Rows, settlements, and a count of everything asked."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.rows: dict[int, Delivery] = {}
        self.settlements: list[Settlement] = []
        self.asked: Counter[str] = Counter()
        self.failing = 0
        """So many settlements fail before one succeeds."""
        self._clock = clock or SystemClock()
        self._changed = asyncio.Event()
        self._next_row = 1

    def store(self, message: Message, recipients: Iterable[Recipient], due_ms: int = 0) -> tuple[Delivery, ...]:
        """Put deliveries in as a process did before this one."""
        made = []
        for recipient in recipients:
            delivery = Delivery(self._next_row, message, recipient, 0, due_ms)
            self.rows[delivery.row] = delivery
            self._next_row += 1
            made.append(delivery)
        return tuple(made)

    def append(self, new: NewMessage) -> asyncio.Future[tuple[Delivery, ...] | Refused]:
        future: asyncio.Future[tuple[Delivery, ...] | Refused] = asyncio.get_running_loop().create_future()
        future.set_result(self.store(new.message, new.recipients))
        return future

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        self.asked["settle"] += 1
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._commit, settlement, future)
        return future

    def _commit(self, settlement: Settlement, future: asyncio.Future[bool]) -> None:
        if self.failing:
            self.failing -= 1
            future.set_exception(OSError("disk full"))
            return
        row = settlement.delivery.row
        known = row in self.rows
        if known:
            self.settlements.append(settlement)
            match settlement.outcome:
                case Deferred(next_ms=next_ms):
                    stored = self.rows[row]
                    self.rows[row] = replace(stored, attempts=stored.attempts + 1, due_ms=next_ms)
                case _:
                    del self.rows[row]
        future.set_result(known)
        self._changed.set()

    async def destinations(self, now_ms: int) -> Sequence[DestinationDue]:
        self.asked["destinations"] += 1
        await asyncio.sleep(0)
        found: dict[str, DestinationDue] = {}
        for delivery in self.rows.values():
            name = delivery.recipient.destination
            before = found.get(name)
            later = [delivery.due_ms] if delivery.due_ms > now_ms else []
            if before is not None and before.later_ms is not None:
                later.append(before.later_ms)
            found[name] = DestinationDue(
                name,
                1 + (before.count if before else 0),
                min(delivery.due_ms, before.next_ms) if before else delivery.due_ms,
                min(later, default=None),
            )
        return tuple(found.values())

    async def due(
        self, destination: str, now_ms: int, limit: int, known: Collection[int], held: HeldSenders
    ) -> Sequence[Delivery]:
        self.asked["due"] += 1
        await asyncio.sleep(0)
        found = sorted(
            (
                d
                for d in self.rows.values()
                if d.recipient.destination == destination
                and d.due_ms <= now_ms
                and d.row not in known
                and d.message.key_id not in held.keys
                and d.message.sender_id not in held.senders
            ),
            key=lambda d: (d.due_ms, d.row),
        )
        return tuple(found[:limit])

    @property
    def outcomes(self) -> list[Outcome]:
        return [settlement.outcome for settlement in self.settlements]

    async def wait_for(self, count: int) -> list[Settlement]:
        """Wait until so many settlements are written."""
        await self.until(lambda: len(self.settlements) >= count)
        return self.settlements

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something that settlements bring about."""
        async with asyncio.timeout(30):
            while not reached():
                self._changed.clear()
                await self._changed.wait()


def make_message(
    number: int = 1, body: bytes | BodyFile = b"Hello.\r\n", *, sender: int = 1, key: str = "key", accepted_ms: int = 0
) -> Message:
    """A plain message; ``number`` makes its id."""
    return Message(
        id=MessageId(number.to_bytes(16, "big")),
        accepted_ms=accepted_ms or SystemClock().now_ms(),
        account_id=AccountId(sender),
        subuser_id=None,
        key_id=KeyId(key),
        mail_from="client@us.test",
        from_domain="us.test",
        header=f"From: a@us.test\r\nSubject: message {number}\r\n".encode(),
        body=body,
        eight_bit=False,
        smtp_id=f"<{number}@us.test>",
    )


def recipients(*addresses: str) -> tuple[Recipient, ...]:
    return tuple(Recipient(index, address) for index, address in enumerate(addresses))
